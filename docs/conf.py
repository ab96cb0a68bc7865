"""Sphinx settings; the pages of the reference are written here, from the registry."""

import inspect
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# the source folder has no compiled modules: documented is what is installed
sys.path = [entry for entry in sys.path if Path(entry).resolve() != HERE.parent]

import lossfast as lf  # noqa: E402
import lossfast.functional as F  # noqa: E402
from lossfast import _activations  # noqa: E402
from lossfast._loss import REGISTRY  # noqa: E402

project = "lossfast"
version = release = lf.__version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.extlinks", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
default_role = "py:obj"
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_preserve_defaults = True

html_theme = "pydata_sphinx_theme"
html_title = "lossfast"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}

METHODS = ("__call__", "value_and_grad", "grad", "grad_hess", "value_grad_hess", "reference")


def plain(signature: inspect.Signature) -> str:
    """A signature without annotations, `reduction` last among the parameters of a loss."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n\n"


def loss_page(name: str) -> str:
    cls = REGISTRY[name]
    parameters = sorted(inspect.signature(cls).parameters.values(), key=lambda p: p.name == "reduction")
    methods = "".join(f".. automethod:: {name}.{method}\n\n" for method in METHODS if hasattr(cls, method))
    function = getattr(F, cls.function)
    return (
        heading(name)
        + f".. currentmodule:: lossfast\n\n.. autoclass:: {name}{plain(inspect.Signature(parameters))}\n\n"
        + methods
        + ".. rubric:: As a function\n\n"
        + f".. py:function:: lossfast.functional.{cls.function}{plain(inspect.signature(function))}\n\n"
        + f"   `{name}` with its parameters as keywords; it has the methods of the class,\n"
        + f"   such as ``{cls.function}.value_and_grad``.\n"
    )


def write(path: Path, text: str) -> None:
    """Leave an unchanged page alone, so that Sphinx does not read it again."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_reference() -> None:
    """One page per loss, by family, and one for everything else."""
    families: dict[str, list[str]] = {}
    for name, cls in REGISTRY.items():
        families.setdefault(cls.__module__.rpartition(".")[2], []).append(name)
    pages = {name: loss_page(name) for name in REGISTRY}
    others = [n for n in lf.__all__ if inspect.isfunction(getattr(lf, n)) and n not in _activations.__all__]
    for page, title, names in (
        ("activations", "Building blocks", _activations.__all__),
        ("settings", "Threads and configuration", others),
    ):
        blocks = [f".. autofunction:: lossfast.{name}\n" for name in sorted(names)]
        pages[page] = heading(title) + "\n".join(blocks)
    index = heading("Reference")
    for family, names in families.items():
        toc = "".join(f"   {name}\n" for name in names)
        index += f".. toctree::\n   :caption: {family.capitalize()}\n   :maxdepth: 1\n\n{toc}\n"
    index += ".. toctree::\n   :caption: More\n   :maxdepth: 1\n\n   activations\n   settings\n"
    for stale in (HERE / "api").glob("*.rst"):
        if stale.stem not in {*pages, "index"}:
            stale.unlink()
    for page, text in (*pages.items(), ("index", index)):
        write(HERE / "api" / f"{page}.rst", text)


write_reference()
