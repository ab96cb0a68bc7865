"""What may come of a call: a result or an error that names an argument, and nothing written but results."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .hostile import Sabotage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .calls import Call, World

#: What a call may raise, whatever it is given.
ERRORS = (ValueError, TypeError, IndexError)


class Failure(AssertionError):
    """A call that did what it must not."""


def judge(call: Call, world: World) -> str:
    """Call, and say what came of it; raise where that must not be."""
    dice, arena = world.dice, world.arena
    twin = plain_twin(call) if dice.chance(0.4) else None
    reference = plain_arguments(call) if call.reference is not None and dice.chance(0.5) else None
    arena.remember()
    try:
        result = call.function(*call.arguments, **call.keywords)
    except Sabotage:
        check_memory(call, world, ())
        return "error of an argument's own"
    except (*ERRORS, *call.raises) as error:
        check_error(call, error)
        check_memory(call, world, call.writable if unspecified(call, error) else ())
        return type(error).__name__
    except MemoryError:
        if not any(length >= 1 << 31 for a in arrays_of(call) for length in a.shape):
            raise
        return "MemoryError"
    except Exception as error:
        raise Failure(f"raised {type(error).__name__}: {error}") from error
    check_memory(call, world, call.writable)
    if twin is not None:
        compare(list(flat(result)), list(flat(call.function(*twin[0], **twin[1]))), "plain arrays")
    if reference is not None:
        with np.errstate(all="ignore"):
            expected = call.reference(*reference)
        compare(list(flat(result))[:1], [np.asarray(expected)], "the reference", 1e-3)
    return "result"


# ---- errors --------------------------------------------------------------------------------------------------------


def check_error(call: Call, error: BaseException) -> None:
    message = str(error)
    if call.sound:
        raise Failure(f"refused: {type(error).__name__}: {message}")
    if not any(word in message for word in call.words):
        raise Failure(f"names no argument: {type(error).__name__}: {message}")


def unspecified(call: Call, error: BaseException) -> bool:
    """Whether an error comes from the pass that writes results: from numbers that leave a domain."""
    pattern = rf"({'|'.join(call.domains)})(\[[\d, ]*\])? = \S+ is outside"
    late = bool(call.domains) and isinstance(error, ValueError) and bool(re.match(pattern, str(error)))
    return late and not any(np.may_share_memory(a, b) for a in arrays_of(call) for b in call.writable)


def arrays_of(call: Call) -> list[Any]:
    """The arrays that are read."""
    given = (*call.arguments, *(v for k, v in call.keywords.items() if k != "out"))
    return [a.view(np.ndarray) for a in given if isinstance(a, np.ndarray)]


def check_memory(call: Call, world: World, allowed: Any) -> None:
    changed = world.arena.changed(allowed)
    if changed:
        raise Failure(f"wrote where no result belongs: {len(changed)} of {len(world.arena.used)} slots")


# ---- the same of plain arrays --------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The same numbers in memory of its own; Sabotage where there is no saying what the numbers are."""
    if isinstance(value, np.ndarray):
        if type(value) is not np.ndarray:
            value = value.view(np.ndarray)
        return np.array(value.astype(value.dtype.newbyteorder("=")), order="C")
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "__array__") or hasattr(value, "__dlpack__") or hasattr(value, "__array_interface__"):
        raise Sabotage
    return copy.copy(value) if isinstance(value, memoryview | bytes) else value


def plain_twin(call: Call) -> Any:
    """Arguments that have to give the same; None where there are none."""
    if call.entry.startswith("clip_grad") or any(a.size > 1 << 20 for a in arrays_of(call)):  # in place; giant
        return None
    try:
        return plain(call.arguments), {k: plain(v) for k, v in call.keywords.items() if k != "out"}
    except (Sabotage, TypeError):
        return None


def plain_arguments(call: Call) -> list[Any] | None:
    """The arrays in plain memory and float64, for a reference; None if they hold more than usual numbers."""
    if not all(type(a) is np.ndarray and a.dtype.kind in "fiub" and a.size for a in call.arguments):
        return None
    with np.errstate(all="ignore"):
        if not all((np.abs(a.astype(np.float64)) < 1e3).all() for a in call.arguments):
            return None
    return [np.array(a, np.float64 if a.dtype.kind == "f" else a.dtype.newbyteorder("=")) for a in call.arguments]


def flat(result: Any) -> Iterator[Any]:
    """The numbers of a result."""
    if isinstance(result, np.ndarray | np.generic | float | int):
        yield np.asarray(result)
    elif isinstance(result, tuple | list):
        for member in result:
            yield from flat(member)
    elif isinstance(result, dict):
        yield from flat(list(result.values()))


def compare(results: list[Any], expected: list[Any], of: str, loose: float = 0.0) -> None:
    """Results agree but for rounding, relative to the greatest number among them."""
    for k, (a, e) in enumerate(zip(results, expected, strict=True)):
        if a.shape != e.shape:
            raise Failure(f"result {k} has shape {a.shape}, from {of} {e.shape}")
        if a.dtype.kind not in "fV" or not a.size:
            continue
        rounding = 2.0**-5 if a.dtype.itemsize == 2 else 1024 * np.finfo(a.dtype).eps
        with np.errstate(all="ignore"):
            a, e = a.astype(np.float64), e.astype(a.dtype).astype(np.float64)  # noqa: PLW2901
            size = np.max(np.abs(e), initial=0, where=np.isfinite(e))
            allowed = max(loose, rounding) * (np.abs(e) + size + (loose > 0))
            wrong = ~((a == e) | (np.isnan(a) & np.isnan(e)) | (np.abs(a - e) <= allowed))
            wrong &= np.isfinite(e) | (loose == 0)  # the definition leaves limits open
        if wrong.any():
            raise Failure(f"result {k} is {a[wrong][:3]}, from {of} {e[wrong][:3]}")
