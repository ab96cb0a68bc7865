"""Write `functional.pyi`: what `lossfast.functional` makes from the registry, stated for type checkers and editors.

``python -m lossfast._stubs`` prints it, ``--write PATH`` writes it, ``--check PATH`` fails if a file is stale.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lossfast import functional
from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from lossfast._loss import Loss

#: Where the names come from that annotations use; builtins need no mention.
_IMPORTS = {"Any": "typing", "Literal": "typing", "ArrayLike": "numpy.typing", "Array": "lossfast._arrays"}
_IMPORTS |= {"DistanceFunction": "lossfast.embedding"}
_BUILTINS = ("bool", "dict", "float", "int", "list", "str", "tuple")
#: What a function does: be called, and the methods of its class.
_METHODS = ("__call__", *(name for name in vars(functional.LossFunction) if not name.startswith("_")))
_WIDTH = 120


def _default(value: object) -> str:
    """A default as source text; one that has none is left to the reader."""
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "..."
    return f'"{value}"' if isinstance(value, str) else "..."


def _annotation(annotation: object, where: str, used: set[str]) -> str:
    """An annotation as source text; the names in it are added to `used`."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Name) and node.id not in _BUILTINS:
            if node.id not in _IMPORTS:
                raise SystemExit(f"{where}: where does {node.id!r} come from? Add it to _IMPORTS in _stubs.py")
            used.add(node.id)
    return text


def _arguments(cls: type[Loss], method: str) -> list[inspect.Parameter]:
    """The arrays, then the loss's own parameters with `reduction` last, then the keywords of the method."""
    _, *own = inspect.signature(getattr(cls, method)).parameters.values()
    arrays: list[inspect.Parameter] = []
    for p in own:
        if p.kind == p.VAR_POSITIONAL:  # the reference takes what the loss takes
            arrays += [p.replace(name=name, kind=p.POSITIONAL_OR_KEYWORD) for name in cls.arrays]
        elif p.kind != p.KEYWORD_ONLY:
            arrays.append(p)
    parameters = sorted(inspect.signature(cls).parameters.values(), key=lambda p: p.name == "reduction")
    return [*arrays, *parameters, *(p for p in own if p.kind == p.KEYWORD_ONLY)]


def _function(cls: type[Loss], used: set[str]) -> list[str]:
    """The class of one function; a runtime `LossFunction` has these methods with these keywords."""
    lines = [f"class _{cls.__name__}(LossFunction):", f"    loss: type[{cls.__name__}]"]
    for method in (name for name in _METHODS if hasattr(cls, name)):
        where = f"{cls.__name__}.{method}"
        lines += [f"    def {method}(", "        self,"]
        keyword_only = False
        for p in _arguments(cls, method):
            if p.kind == p.KEYWORD_ONLY and not keyword_only:
                keyword_only = True
                lines += ["        *,"]
            default = "" if p.default is p.empty else f" = {_default(p.default)}"
            lines += [f"        {p.name}: {_annotation(p.annotation, where, used)}{default},"]
        returned = inspect.signature(getattr(cls, method)).return_annotation
        lines += [f"    ) -> {_annotation(returned, where, used)}: ..."]
    return lines


def _import(module: str, names: set[str]) -> str:
    line = f"from {module} import {', '.join(sorted(names))}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in sorted(names)), ")"])


def stub() -> str:
    """The text of `functional.pyi`."""
    losses = sorted(REGISTRY.values(), key=lambda cls: cls.function)
    used: set[str] = set()
    classes = [_function(cls, used) for cls in losses]
    origins = {"lossfast._loss": {"Loss"}}
    for name in used:
        origins.setdefault(_IMPORTS[name], set()).add(name)
    for cls in losses:
        origins.setdefault(cls.__module__, set()).add(cls.__name__)
    groups = (
        [_import(module, names) for module, names in sorted(origins.items()) if module == "typing"],
        [_import(module, names) for module, names in sorted(origins.items()) if module.startswith("numpy")],
        [_import(module, names) for module, names in sorted(origins.items()) if module.startswith("lossfast")],
    )
    parts = [
        "# Generated from the registry: python -m lossfast._stubs --write lossfast/functional.pyi",
        *("\n".join(group) for group in groups if group),
        "__all__ = [\n" + "".join(f'    "{name}",\n' for name in sorted(functional.__all__)) + "]",
        "class LossFunction:\n    loss: type[Loss]\n    def __init__(self, cls: type[Loss]) -> None: ...",
        *("\n".join(lines) for lines in classes),
        "\n".join(f"{cls.function}: _{cls.__name__}" for cls in losses),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lossfast._stubs", description="Write lossfast/functional.pyi.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", metavar="PATH", type=Path, help="write the file")
    action.add_argument("--check", metavar="PATH", type=Path, help="fail if the file is not up to date")
    options = parser.parse_args(arguments)
    text = stub()
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    elif options.check:
        if not options.check.exists() or options.check.read_text(encoding="utf-8") != text:
            command = f"python -m lossfast._stubs --write {options.check}"
            print(f"{options.check} is not what the registry says: run {command}", file=sys.stderr)
            return 1
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
