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
from lossfast._loss import REGISTRY, Loss  # noqa: E402

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

html_theme = "pydata_sphinx_theme"
html_title = "lossfast"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}

METHODS = ("__call__", "value_and_grad", "grad", "grad_hess", "value_grad_hess", "reference")
#: Titles of the pages of functions, which bear the name of the module that lists them; the last takes the rest.
FUNCTIONS = {
    "activations": "Building blocks",
    "custom": "Compiled losses",
    "checks": "Checks and clipping",
    "decoding": "CTC decoding",
    "sequence": "CTC occupancy",
    "settings": "Threads and configuration",
}


def plain(signature: inspect.Signature) -> str:
    """A signature without annotations, `reduction` last among the parameters of a loss."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n\n"


def methods_of(name: str, cls: type) -> str:
    """Those of every loss that it has, and those that it alone has."""
    own = [m for m in METHODS if hasattr(cls, m) and (getattr(cls, "curved", True) or "hess" not in m)]
    own += [m for m, f in vars(cls).items() if inspect.isfunction(f) and m[0] != "_" and not hasattr(Loss, m)]
    return "".join(f".. automethod:: {name}.{m}\n\n" for m in dict.fromkeys(own))


def loss_page(name: str) -> str:
    cls = REGISTRY[name]
    parameters = sorted(inspect.signature(cls).parameters.values(), key=lambda p: p.name == "reduction")
    function = getattr(F, cls.function)
    return (
        heading(name)
        + f".. currentmodule:: lossfast\n\n.. autoclass:: {name}{plain(inspect.Signature(parameters))}\n\n"
        + methods_of(name, cls)
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


def class_page(name: str) -> str:
    """What is no function too: a loss made of others, say."""
    return (
        heading(name)
        + f".. currentmodule:: lossfast\n\n.. autoclass:: {name}\n\n"
        + methods_of(name, getattr(lf, name))
    )


def write_reference() -> None:
    """One page per loss, by family, and one for the functions of each module."""
    public = {name: getattr(lf, name) for name in lf.__all__}
    families: dict[str, list[str]] = {}
    for name, member in public.items():
        if inspect.isclass(member):
            families.setdefault(member.__module__.rpartition(".")[2], []).append(name)
    pages = {
        name: loss_page(name) if name in REGISTRY else class_page(name) for names in families.values() for name in names
    }
    functions = {name for name, member in public.items() if inspect.isfunction(member)}
    for page, title in FUNCTIONS.items():
        listed = {"activations": _activations}.get(page, getattr(lf, page, None))
        names = functions & set(listed.__all__) if listed else functions
        functions = functions - names
        pages[page] = heading(title) + "\n".join(f".. autofunction:: lossfast.{name}\n" for name in sorted(names))
    index = heading("Reference")
    for family, names in families.items():
        toc = "".join(f"   {name}\n" for name in names)
        title = family.capitalize().replace("_", " ")
        index += f".. toctree::\n   :caption: {title}\n   :maxdepth: 1\n\n{toc}\n"
    index += ".. toctree::\n   :caption: More\n   :maxdepth: 1\n\n" + "".join(f"   {page}\n" for page in FUNCTIONS)
    for stale in (HERE / "api").glob("*.rst"):
        if stale.stem not in {*pages, "index"}:
            stale.unlink()
    for page, text in (*pages.items(), ("index", index)):
        write(HERE / "api" / f"{page}.rst", text)


write_reference()
