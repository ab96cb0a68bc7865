"""Arguments of losses: by name, and in nested lists, tuples and dictionaries as weights and gradients come."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lossfast._loss import Loss


def title(loss: Loss) -> str:
    """How a message names a loss: by its class alone where parameters would fill lines."""
    text = repr(loss)
    return text if "\n" not in text else type(loss).__name__


def by_name(loss: Loss, arrays: tuple[Any, ...]) -> dict[str, Any]:
    """The arrays of a loss by their names, neither too many nor too few."""
    names = loss.arrays
    takes = inspect.signature(type(loss).__call__).parameters
    missing = [
        name for name in names[len(arrays) :] if name in takes and takes[name].default is inspect.Parameter.empty
    ]
    if missing or len(arrays) > len(names):
        raise TypeError(f"{title(loss)} takes the arrays {', '.join(names)}, but {len(arrays)} were given")
    return dict(zip(names, arrays, strict=False))


def leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What is nested, by a name that finds it, without what is None."""
    if isinstance(tree, Mapping):
        for key, member in tree.items():
            yield from leaves(member, f"{name}[{key!r}]")
    elif isinstance(tree, list | tuple):
        for index, member in enumerate(tree):
            yield from leaves(member, f"{name}[{index}]")
    elif tree is not None:
        yield name, tree


def mapped(function: Callable[..., Any], first: Any, *rest: Any) -> Any:
    """The same nesting of what a function makes of the leaves of trees that are nested alike."""
    if not isinstance(first, tuple | list):
        return function(first, *rest)
    return type(first)(mapped(function, *members) for members in zip(first, *rest, strict=True))
