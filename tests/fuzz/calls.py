"""A call of every public entry point, made from the registry: mostly right, with some things that are not."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import lossfast.functional as F
from lossfast import _arrays
from lossfast._loss import REGISTRY, Interval, OneOf
from lossfast._methods import METHODS

from ..cases import Case, Form
from .hostile import (
    INTEGER,
    INTEGERS,
    REAL,
    SPECIAL,
    UNREADABLE,
    cast,
    misshapen,
    named_dtype,
    nonsense,
    overlapping,
    place,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hostile import Dice, File
    from .memory import Arena


@dataclass
class World:
    """What cases are made in."""

    dice: Dice
    arena: Arena
    file: File
    rng: np.random.Generator = field(default_factory=np.random.default_rng)


@dataclass
class Call:
    """A call, and what is known of it beforehand."""

    entry: str
    function: Callable[..., Any] = len
    arguments: list[Any] = field(default_factory=list)
    keywords: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # one of which a message has to have
    sound: bool = True  # has to succeed
    writable: list[Any] = field(default_factory=list)  # arrays for results
    domains: tuple[str, ...] = ()  # arguments with a domain, which is checked while results are written
    raises: tuple[type[BaseException], ...] = ()  # beyond what every call may raise
    reference: Callable[..., Any] | None = None  # the value of plain arrays


#: What no parameter or keyword should be.
ODD = (
    *(None, True, -1, 0, 7, 2**70, -(2**63), 0.5, -0.5, math.nan, math.inf, 1j, "x", b"x", "", [], [1], (), {}, ...),
    *(np.float32(0.5), np.int8(3), np.array(2.0), np.array([1.0, 2.0]), np.array(["mean", "none"]), np.bool_(False)),
    *(object(), ("input",), ["input"], ("input", "input"), (["input"],), 10**400, np.ma.masked, {"a": 1}),
)


# ---- losses --------------------------------------------------------------------------------------------------------


def parameter(of: Any, dice: Dice) -> Any:
    """A value for a declared parameter."""
    facts, domain = of.metadata, of.metadata.get("domain")
    if dice.chance(0.4) or facts.get("array") or of.name == "reduction":
        return of.default
    if isinstance(domain, OneOf):
        return dice.pick(domain.numbers)
    if domain is not None:
        if facts["optional"] and dice.chance(0.2):
            return None
        low, high = max(domain.low, -100.0), min(domain.high, 100.0)
        number = dice.pick((low, high, 0.0, 1.0, dice.uniform(low, high), dice.uniform(low, min(high, low + 2))))
        return number if number in domain else of.default
    if facts.get("integer"):
        return dice.pick((-100, -1, 0, 1, 2, 6))
    if facts.get("flag"):
        return dice.chance(0.5)
    return dice.pick(facts["among"]) if "among" in facts else of.default


def any_case(cls: type, world: World) -> tuple[Case, dict[str, tuple[int, ...]]]:
    """A loss with parameters from their domains, and shapes of its arrays."""
    dice = world.dice
    case = Case(cls, {}, Form())
    batched = dice.chance(0.85)
    trailing = batched and (case.rowwise or case.pairwise) and getattr(cls, "trailing_axes", True)
    form = Form(
        length=dice.pick((7, 7, 7, 1, 2, 3, 16, 17, 65)) if dice.chance(0.97) else dice.pick((300, 1300, 2049)),
        inner=dice.pick(((), (), (2,), (1, 3), (0,))) if trailing else (),
        batched=batched,
        probabilities=(getattr(cls, "takes_probabilities", False) or case.linear) and dice.chance(0.4),
        bias=case.linear and dice.chance(0.5),
    )
    parameters = {of.name: parameter(of, dice) for of in dataclasses.fields(cls) if of.name != "reduction"}
    if form.probabilities and parameters.get("ignore_index", -1) >= 0:
        parameters["ignore_index"] = -100
    if "blank" in parameters:
        parameters["blank"] = abs(parameters["blank"]) % form.length
        if parameters["from_logits"]:
            parameters["gradient"] = "logits"
    case = Case(cls, parameters, form)
    shapes = case.shapes_of(
        dice.pick((1, 2, 3, 5, 9)) if dice.chance(0.9) else dice.pick((int(case.sequences), 40, 300))
    )
    for of in dataclasses.fields(cls):
        if of.metadata.get("array") and dice.chance(0.3):
            shape = shapes[case.names[0]] if case.elementwise else (form.length,)
            weight = cast(world.rng.integers(0, 9, shape) / 4, dice.pick(REAL))
            parameters[of.name] = place(weight, world.arena, dice)
    return Case(cls, parameters, form), shapes


def outside(case: Case, name: str, values: Any) -> bool:
    """Whether an argument leaves its domain."""
    domain = case.cls.domains.get(name, Interval())
    return bool(np.any((values < domain.low) | (values > domain.high)))


def argument(case: Case, name: str, shape: tuple[int, ...], world: World, call: Call) -> Any:
    """One array of a loss: as it should be, as a rule, but of any dtype and layout."""
    dice = world.dice
    values = case.draw(name, world.rng, shape)
    somewhere = tuple(dice.below(n) for n in values.shape)
    if name in case.integral:
        if values.size and dice.chance(0.04):
            values[somewhere] = dice.pick(INTEGERS)
            call.sound = False
        kind = dice.pick(INTEGER)
        if not np.array_equal(cast(values, kind), values):
            kind = "i8"
    else:
        kind = dice.pick(REAL)
        if case.form.probabilities and name == "target" and named_dtype(kind).kind in "iub":
            kind = "f4"  # integers would be taken for labels
        if values.size and dice.chance(0.3):
            for _ in range(1 + dice.below(4)):
                values[tuple(dice.below(n) for n in values.shape)] = dice.pick(SPECIAL)
    values = cast(values, kind)
    if dice.chance(0.03):
        placed = overlapping(values, world.arena, dice)
        call.sound = call.sound and name in case.floating and not case.form.probabilities
    else:
        placed = place(values, world.arena, dice)
    call.sound = call.sound and not outside(case, name, placed)
    return placed


def disturbed(placed: Any, world: World) -> Any:
    """An argument with a fault."""
    dice = world.dice
    fault = dice.below(4)
    if fault == 0:
        return place(np.zeros(placed.shape, named_dtype(dice.pick(UNREADABLE))), world.arena, dice)
    if fault == 1:
        return nonsense(placed, dice)
    if fault == 2:  # floats for labels, labels for floats
        return place(cast(placed, dice.pick((*REAL, *INTEGER))), world.arena, dice)
    return misshapen(placed, dice, world.arena)


def weights(shape: tuple[int, ...], world: World, call: Call) -> Any:
    """Weights or a cotangent for losses of this shape, which they mostly broadcast to."""
    dice = world.dice
    if dice.chance(0.1):
        call.sound = False
        return dice.pick((nonsense(np.ones(3), dice), dice.pick(ODD), np.ones((*shape, 3))))
    kept = tuple(n if dice.chance(0.7) else 1 for n in shape)
    while kept[:1] == (1,) and dice.chance(0.5):
        kept = kept[1:]
    values = np.asarray(world.rng.integers(0, 9, kept) / 4)
    if values.size and dice.chance(0.1):
        values[tuple(dice.below(n) for n in kept)] = dice.pick(SPECIAL)
    return place(cast(values, dice.pick(REAL)), world.arena, dice)


def result_array(like: Any, dtype: np.dtype[Any], near: list[Any], world: World, call: Call) -> Any:
    """An array for a result of this shape, mostly fit; it may lie over one of the arguments that are near."""
    dice, shape = world.dice, like.shape
    fault = dice.below(20)
    if fault < 5:
        call.sound = False
    if fault == 0:
        return place(np.zeros((*shape, 2), dtype), world.arena, dice)
    if fault == 1:
        return place(np.zeros(shape, dice.pick(("f2", "f4", "f8", "i8", "c16", "O", "g"))), world.arena, dice)
    if fault == 2:
        result = place(np.zeros(shape, dtype), world.arena, dice)
        result.flags.writeable = False
        return result
    if fault == 3:
        return overlapping(np.zeros(shape, dtype), world.arena, dice)
    if fault == 4:
        return dice.pick((None, [0.0], "out", 1.0, (), (None,), np.zeros(shape, dtype).view(np.recarray)))
    if fault < 10 and near:
        over = dice.pick(near)
        if over.shape == shape and over.dtype == dtype and dice.chance(0.5):
            call.sound = call.sound and over.flags.writeable and _arrays._own_elements(over)
            return over
        slot, size = world.arena.slot_of(over), math.prod(shape) * dtype.itemsize
        if slot is not None and 0 < size <= slot.size:
            start = over.__array_interface__["data"][0] - slot.ctypes.data + dice.pick((-9, -8, -4, 0, 1, 4, 8, 16))
            return np.ndarray(shape, dtype, slot, min(max(start, 0), slot.size - size))
    return place(np.full(shape, 3, dtype.newbyteorder() if dice.chance(0.1) else dtype), world.arena, dice)


def gradient_outs(
    case: Case, order: int, wrt: tuple[str, ...], given: dict[str, Any], *, world: World, call: Call
) -> Any:
    """Arrays for gradients and Hessians, as `out` takes them."""
    dice, near = world.dice, list(given.values())
    groups = []
    for _ in range(order):
        own = [given[name] if name in given else getattr(case.bare("mean"), name) for name in wrt]
        groups.append([result_array(a, _arrays.gradient_dtype(a.dtype), near, world, call) for a in own])
        if dice.chance(0.05):
            call.sound, groups[-1][0] = False, groups[0][-1]
    call.writable = [a for group in groups for a in group if isinstance(a, np.ndarray)]
    if any(np.may_share_memory(a, b) for k, a in enumerate(call.writable) for b in call.writable[:k]):
        call.sound = False
    packed = [group[0] if len(group) == 1 else tuple(group) for group in groups]
    if dice.chance(0.02):
        call.sound, packed = False, [*packed, packed[0]]
    return packed[0] if len(packed) == 1 else tuple(packed)


def unreduced(case: Case, given: dict[str, Any]) -> Any:
    """The unreduced loss; None if it cannot be computed."""
    try:
        return case.loss(*given.values())
    except (ValueError, TypeError, IndexError):
        return None


def keywords(
    case: Case, method: str, reduction: str, given: dict[str, Any], *, world: World, call: Call
) -> dict[str, Any]:
    """Some of the keywords of a method."""
    dice, order = world.dice, METHODS[method].order
    options: dict[str, Any] = {}
    names = list(case.curved if order == 2 else (*case.differentiable, *case.weights))
    call.sound = call.sound and bool(names or order < 2)
    if order and names and dice.chance(0.3):
        dice.shuffle(names)
        options["wrt"] = tuple(names[: 1 + dice.below(len(names))])
    wrt = options.get("wrt", case.predictions)
    if order == 2 and names:
        call.sound = call.sound and set(wrt) <= set(names)
        options["curvature"] = dice.pick(case.curvatures)
    losses = unreduced(case, given) if dice.chance(0.4) else None
    if losses is not None and dice.chance(0.6):
        options["sample_weight"] = weights(losses.shape, world, call)
    if losses is not None and order and dice.chance(0.5):
        options["grad_output"] = weights(losses.shape if reduction == "none" else (), world, call)
    if getattr(case.bare(reduction), "sparse", False) and order:
        call.sound = call.sound and "out" not in options
    elif losses is not None and not order and dice.chance(0.5):
        call.sound = call.sound and reduction == "none"
        options["out"] = result_array(losses, losses.dtype, list(given.values()), world, call)
        call.writable = [a for a in options.values() if a is options["out"] and isinstance(a, np.ndarray)]
    elif order and dice.chance(0.3):
        options["out"] = gradient_outs(case, order, wrt, given, world=world, call=call)
    if dice.chance(0.04):
        options[dice.pick((*METHODS[method].keywords, "typo"))] = dice.pick(ODD)
        call.sound = False
    return options


def defined(case: Case, reduction: str, *arrays: Any) -> Any:
    """The value by the definition, in float64."""
    floats = (a if name in case.integral else a.astype(np.float64) for name, a in zip(case.names, arrays, strict=True))
    return case.reduced(reduction).reference(*floats)


def made_and_called(cls: Any, parameters: dict[str, Any], method: str, /, *arrays: Any, **options: Any) -> Any:
    """A method of a loss, which may refuse its parameters."""
    return getattr(cls(**parameters), method)(*arrays, **options)


def loss_call(cls: Any, method: str, functional: bool, world: World) -> Call:
    """A call of a method of a loss, or of its function."""
    dice = world.dice
    name = f"functional.{cls.function}" if functional else cls.__name__
    call = Call(name if method == "__call__" else f"{name}.{method}", domains=tuple(cls.domains))
    case, shapes = any_case(cls, world)
    given = {name: argument(case, name, shapes[name], world, call) for name in case.names}
    reduction = dice.pick(cls.reductions)
    options = keywords(case, method, reduction, given, world=world, call=call)
    if not options and METHODS[method].value and case.parameters.get("weight") is None:
        call.reference = functools.partial(defined, case, reduction)
    if dice.chance(0.25):
        chosen = dice.pick(list(given))
        if dice.chance(0.5):
            given[chosen] = disturbed(given[chosen], world)
            call.sound, call.reference = False, None
        else:
            given[chosen] = wrapped(given[chosen], dice, world.file)
            call.sound = call.sound and not options  # which were made for another dtype
    parameters = {
        name: value for name, value in case.parameters.items() if value is not cls.__dataclass_fields__[name].default
    }
    if reduction != "mean":
        parameters["reduction"] = reduction
    if dice.chance(0.04):
        parameters[dice.pick([*case.parameters, "reduction"])] = dice.pick(ODD)
        call.sound, call.reference = False, None
    signature = inspect.signature(cls.__call__).parameters
    by_name = {name: a for name, a in given.items() if signature[name].kind is inspect.Parameter.KEYWORD_ONLY}
    call.arguments = [a for name, a in given.items() if name not in by_name]
    if dice.chance(0.01):
        call.arguments = call.arguments[:-1] if dice.chance(0.5) else [*call.arguments, *call.arguments]
        call.sound, call.reference = False, None
    call.words = (
        *cls.arrays,
        *case.parameters,
        "reduction",
        *METHODS["grad_hess"].keywords,
        "positional argument",
        cls.__name__,
    )
    if functional:
        call.function = getattr(getattr(F, cls.function), method)
        call.keywords = {**by_name, **parameters, **options}
    else:
        call.function = functools.partial(made_and_called, cls, parameters, method)
        call.keywords = {**by_name, **options}
    return call


#: Every method of every loss, and of its function.
LOSS_CALLS = [
    (cls, method, functional) for cls in REGISTRY.values() for method in METHODS for functional in (False, True)
]
