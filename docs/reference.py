"""The pages of the reference, written from the registry: one for each loss, one for the functions of each module."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import curves
import speed

import lossfast as lf
import lossfast.functional as F
from lossfast import _activations
from lossfast._loss import REGISTRY, Loss
from lossfast._methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: Titles of the pages of functions, which bear the name of the module that lists them; the last takes the rest.
FUNCTIONS = {
    "activations": "Building blocks",
    "custom": "Compiled losses",
    "checks": "Checks and clipping",
    "decoding": "CTC decoding",
    "sequence": "CTC occupancy",
    "settings": "Threads and configuration",
}


def heading(text: str, underline: str = "=") -> str:
    """A title of a page, or of a part of it."""
    return f"{text}\n{underline * len(text)}\n\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its heading."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if k == 0 else ' '} - {cell}".rstrip() for k, cell in enumerate(row)]
    return "\n".join(lines) + "\n\n"


def raw(html: str) -> str:
    """A piece of a page as it is."""
    return ".. raw:: html\n\n" + "".join(f"   {line}\n" if line else "\n" for line in html.splitlines()) + "\n"


def plain(signature: inspect.Signature) -> str:
    """A signature without annotations."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def lay_out(*event: Any) -> None:
    """Formulas below each other, as telephones are narrow; facts of the notes in paragraphs that begin in bold."""
    lines: list[str] = event[-1]
    text = re.sub(r"^( *)(\.\. math::)(.*(?:\n(?:\1 +.*)?$)*)", _below_each_other, "\n".join(lines), flags=re.MULTILINE)
    text = re.sub(r"(?<=[.)]) +Curvatures:|(?<=[.)])\n( *)Curvatures:", r"\n\n\1Curvatures:", text)
    text = re.sub(r"^( *)(Arrays|Curvatures|Memory|Threads|Accuracy):", r"\1**\2:**", text, flags=re.MULTILINE)
    lines[:] = text.split("\n")


def _below_each_other(found: re.Match[str]) -> str:
    """One formula to a line, where a space says that another one begins."""
    indent, directive, body = found.groups()
    lines = []
    for part in re.split(r"\n\s*\n", body.strip()):
        formulas = re.split(r"\s*\\(?:qquad|quad|;)\s+", part.strip())
        aligned = " \\\\\n".join(f"& {formula}" for formula in formulas) if len(formulas) > 1 else part
        lines += ["", *(f"{indent}    {line.strip()}" for line in aligned.splitlines())]
    return "\n".join([f"{indent}{directive}", *lines, "", ""])


def methods_of(name: str, cls: type) -> str:
    """Those of every loss that it has, and those that it alone has."""
    own = [m for m in (*METHODS, "reference") if hasattr(cls, m) and (getattr(cls, "curved", True) or "hess" not in m)]
    own += [m for m, f in vars(cls).items() if inspect.isfunction(f) and m[0] != "_" and not hasattr(Loss, m)]
    return "".join(f".. automethod:: {name}.{m}\n\n" for m in dict.fromkeys(own))


def names(words: Iterable[str]) -> str:
    """Words of the code, in a sentence."""
    return ", ".join(f"``{word}``" for word in words)


def declared(cls: type[Loss]) -> str:
    """What the class says of itself."""
    rows = [("", ""), ("arrays", names(cls.arrays)), ("predictions, the default of ``wrt``", names(cls.predictions))]
    rows += [(f"domain of ``{name}``", f"``{domain}``") for name, domain in cls.domains.items()]
    rows += [("gradients by", names(cls.differentiable))]
    if cls.curved:
        rows += [("Hessian diagonals by", names(cls.curved))]
        rows += [("``curvature``", names(f'"{c}"' for c in cls.curvatures))]
    else:
        rows += [("Hessian diagonals by", "none of them")]
    rows += [("``reduction``", names(f'"{r}"' for r in cls.reductions))]
    return table(rows).replace("   :header-rows: 1\n", "   :class: lf-declared\n").replace("   * -\n     -\n", "")


def loss_page(name: str) -> str:
    """Everything of one loss."""
    cls = REGISTRY[name]
    parameters = sorted(inspect.signature(cls).parameters.values(), key=lambda p: p.name == "reduction")
    function = getattr(F, cls.function)
    measured = speed.table_of(name)
    return (
        heading(name)
        + f".. currentmodule:: lossfast\n\n.. autoclass:: {name}{plain(inspect.Signature(parameters))}\n\n"
        + heading("Value, gradient, Hessian" if cls.curved else "Value and gradient", "-")
        + raw(curves.pictures(name))
        + heading("At NaN and infinity", "-")
        + "As computed, with all else as in the picture.\n\n"
        + table(curves.special(name))
        + heading("Declaration", "-")
        + declared(cls)
        + (heading("Speed", "-") + speed.NOTE + "\n\n" + table(measured) if measured else "")
        + heading("Methods", "-")
        + methods_of(name, cls)
        + heading("As a function", "-")
        + ".. currentmodule:: lossfast.functional\n\n"
        + f".. py:function:: {cls.function}{plain(inspect.signature(function))}\n\n"
        + f"   `~lossfast.{name}` with its parameters as keywords; it has the methods of the class,\n"
        + f"   such as ``{cls.function}.value_and_grad``.\n"
    )


def class_page(name: str) -> str:
    """What is no function too: a loss made of others, say."""
    return (
        heading(name)
        + f".. currentmodule:: lossfast\n\n.. autoclass:: {name}\n\n"
        + methods_of(name, getattr(lf, name))
    )


def write(path: Path, text: str) -> None:
    """Leave an unchanged page alone, so that Sphinx does not read it again."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_reference(folder: Path) -> None:
    """One page per loss, by family, and one for the functions of each module."""
    public = {name: getattr(lf, name) for name in lf.__all__}
    families: dict[str, list[str]] = {}
    for name, member in public.items():
        if inspect.isclass(member):
            families.setdefault(member.__module__.rpartition(".")[2], []).append(name)
    pages = {
        name: loss_page(name) if name in REGISTRY else class_page(name)
        for members in families.values()
        for name in members
    }
    functions = {name for name, member in public.items() if inspect.isfunction(member)}
    for page, title in FUNCTIONS.items():
        listed = {"activations": _activations}.get(page, getattr(lf, page, None))
        own = functions & set(listed.__all__) if listed else functions
        functions = functions - own
        pages[page] = heading(title) + "\n".join(f".. autofunction:: lossfast.{name}\n" for name in sorted(own))
    index = heading("Reference") + ".. currentmodule:: lossfast\n\n"
    for family, members in families.items():
        title = family.capitalize().replace("_", " ")
        rows = [(f":doc:`{name}`", summary(public[name])) for name in members]
        index += heading(title, "-") + table([("class", "what it is"), *rows]) + toctree(title, members)
    rows = [(f":doc:`{title} <{page}>`", listing(pages[page])) for page, title in FUNCTIONS.items()]
    index += heading("Functions", "-") + table([("page", "functions"), *rows]) + toctree("Functions", FUNCTIONS)
    for stale in folder.glob("*.rst"):
        if stale.stem not in {*pages, "index"}:
            stale.unlink()
    for page, text in (*pages.items(), ("index", index)):
        write(folder / f"{page}.rst", text)


def toctree(caption: str, members: Iterable[str]) -> str:
    """Pages below this one, in the sidebar alone."""
    return f".. toctree::\n   :caption: {caption}\n   :hidden:\n\n" + "".join(f"   {m}\n" for m in members) + "\n"


def summary(member: type) -> str:
    """The first line of its documentation."""
    return (inspect.getdoc(member) or "").splitlines()[0]


def listing(page: str) -> str:
    """The functions of a page."""
    found = [
        line.removeprefix(".. autofunction:: ") for line in page.splitlines() if line.startswith(".. autofunction")
    ]
    return ", ".join(f":func:`~{name}`" for name in found)
