"""Sphinx settings. The pages of the reference and what is measured are written here, from the registry and a run."""

import doctest
import importlib.resources
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# the source folder has no compiled modules: documented is what is installed
sys.path = [str(HERE), *(entry for entry in sys.path if Path(entry).resolve() != HERE.parent)]

import drawing  # noqa: E402
import reference  # noqa: E402
import speed  # noqa: E402
from gallery_scripts import Arguments, Pictures  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import lossfast as lf  # noqa: E402

project = "lossfast"
version = release = lf.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.extlinks",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "generated"]
default_role = "py:obj"
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"
# not Sphinx's own default, which leaves the words of errors unread
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

html_theme = "pydata_sphinx_theme"
html_title = "lossfast"
html_show_sourcelink = False
html_use_index = False  # search finds as much
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"*": []}  # of pages without others below them
toc_object_entries_show_parents = "hide"
html_css_files = ["lossfast.css"]
# MathJax as one file of this site: pages are read without a network too
mathjax = importlib.resources.files("sphinx-mathjax-offline") / "static" / "mathjax" / "tex-svg.js"
html_static_path = ["_static", str(mathjax)]
mathjax_path = "tex-svg.js"

os.environ["TQDM_DISABLE"] = "1"  # the bars of the examples
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "image_scrapers": (Pictures(),),
    "reset_argv": Arguments(),
    "download_all_examples": False,
    "default_thumb_file": str(HERE / "generated" / "thumbnail.png"),
    "notebook_extensions": set(),
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
}

reference.write_reference(HERE / "api")
speed.write_pages(HERE / "generated")
drawing.write_thumbnail(HERE / "generated" / "thumbnail.png")


def setup(app: Sphinx) -> None:
    """After numpydoc, whose priority is the default one, 500."""
    app.connect("autodoc-process-docstring", reference.lay_out, priority=600)
