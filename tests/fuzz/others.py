"""Calls of what is public beside the methods of registered losses, by the name that it has in `lossfast`."""

from __future__ import annotations

import ctypes
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

import lossfast as lf
from lossfast import _arrays
from lossfast._loss import REGISTRY

from ..cases import Case, Form
from .calls import ODD, Call, any_case, argument, disturbed, made_and_called, result_array
from .hostile import REAL, SPECIAL, UNREADABLE, cast, named_dtype, nonsense, place, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from .calls import World


def anything(world: World, call: Call, *, most_axes: int = 4) -> Any:
    """An array of any shape, dtype and layout."""
    dice = world.dice
    shape = tuple(dice.pick((1, 2, 3, 7, 0, 65)) for _ in range(dice.below(most_axes)))
    values = np.asarray(3 * world.rng.standard_normal(shape))
    if values.size and dice.chance(0.3):
        values[tuple(dice.below(n) for n in shape)] = dice.pick(SPECIAL)
    placed = place(cast(values, dice.pick(REAL)), world.arena, dice)
    if dice.chance(0.1):
        call.sound = False
        return disturbed(placed, world)
    return placed


def spoil(call: Call, world: World, *names: str) -> None:
    """Give a keyword now and then what it should not be."""
    if world.dice.chance(0.06):
        call.keywords[world.dice.pick(names)] = world.dice.pick(ODD)
        call.sound = False


# ---- activations ---------------------------------------------------------------------------------------------------


def activation(name: str, world: World) -> Call:
    dice = world.dice
    call = Call(name, getattr(lf, name), words=("input", "axis", "out", "keepdims", "argument"))
    array = anything(world, call)
    call.arguments = [array]
    over_axis = name in ("softmax", "log_softmax", "logsumexp")
    ndim = np.ndim(array) if isinstance(array, np.ndarray) else 0
    if over_axis:
        call.sound = call.sound and ndim > 0
        if dice.chance(0.6) and ndim:
            call.keywords["axis"] = dice.below(2 * ndim) - ndim
    if name != "logsumexp" and dice.chance(0.3) and isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
        dtype = _arrays.gradient_dtype(array.dtype)
        dtype = np.dtype(np.float64) if dtype.itemsize > 8 else dtype
        call.keywords["out"] = out = result_array(array, dtype, [array], world, call)
        call.writable = [out] if isinstance(out, np.ndarray) else []
    elif name == "logsumexp" and dice.chance(0.3):
        call.keywords["keepdims"] = True
    if not call.keywords and call.sound:
        call.arguments = [wrapped(array, dice, world.file)]
    spoil(call, world, *(("axis", "out") if over_axis else ("out",)))
    return call


# ---- sequences -----------------------------------------------------------------------------------------------------


def sequences(function: Callable[..., Any], names: tuple[str, ...], world: World, entry: str, **more: Any) -> Call:
    """A function of frames, and of labels and lengths if these are among the names."""
    dice = world.dice
    call = Call(entry, function, words=(*REGISTRY["CTCLoss"].arrays, *more, "blank", "sequence", "argument"))
    while True:
        case, shapes = any_case(REGISTRY["CTCLoss"], world)
        if not case.parameters["batch_first"]:
            break
    given = {name: argument(case, name, shapes[name], world, call) for name in case.names if name in names}
    for name, kind in list(given.items()):
        if dice.chance(0.1):
            given[name] = disturbed(kind, world) if dice.chance(0.5) else wrapped(kind, dice, world.file)
            call.sound = False
    call.arguments = list(given.values())
    call.keywords = {
        "blank": case.parameters["blank"],
        **{k: dice.pick(v) for k, v in more.items() if dice.chance(0.5)},
    }
    if "targets" in names or more:  # labels may need more frames than there are; more labellings than the beam keeps
        call.sound = False
    spoil(call, world, *call.keywords)
    return call


def method_of_ctc(name: str) -> Callable[..., Any]:
    return lambda *arrays, **parameters: getattr(lf.CTCLoss(**parameters), name)(*arrays)


# ---- losses of other kinds -----------------------------------------------------------------------------------------


def adaptive(method: str, world: World) -> Call:
    """The adaptive softmax, whose arrays are nested."""
    dice = world.dice
    call = Call(f"AdaptiveLogSoftmaxWithLoss.{method}", sound=False)
    features, cutoffs = dice.pick((1, 3, 8)), dice.pick(((4,), (2, 6), (1, 2, 3)))
    classes, rows = 10, dice.pick((1, 2, 5, 40))
    ends = (*cutoffs, classes)
    form = dice.pick(((rows,), (rows,), ()))

    def random(*shape: int) -> Any:
        placed = place(cast(world.rng.standard_normal(shape), dice.pick(REAL)), world.arena, dice)
        if dice.chance(0.04):
            return disturbed(placed, world)
        return wrapped(placed, dice, world.file) if dice.chance(0.05) else placed

    labels = world.rng.integers(-(dice.chance(0.05)), classes + dice.chance(0.05), form)
    given: dict[str, Any] = {"input": random(*form, features)}
    if method not in ("log_prob", "predict"):
        given["target"] = place(labels, world.arena, dice)
    given["head_weight"] = random(cutoffs[0] + len(cutoffs), features)
    inner = [dice.pick((0, 1, 4)) for _ in cutoffs]
    given["tail_weights"] = [
        (random(h, features), random(high - low, h)) for h, low, high in zip(inner, ends, ends[1:], strict=False)
    ]
    if dice.chance(0.05):
        given["tail_weights"] = dice.pick((given["tail_weights"][:-1], 1.0, [[]], np.ones((1, 2, 3, 3)), [None], {}))
    if dice.chance(0.4):
        given["head_bias"] = random(cutoffs[0] + len(cutoffs))
    parameters: dict[str, Any] = {
        "n_classes": classes,
        "cutoffs": cutoffs,
        "reduction": dice.pick(("mean", "sum", "none")),
    }
    if dice.chance(0.04):
        parameters[dice.pick(list(parameters))] = dice.pick((*ODD, (0, 3), (3, 3), (12,), (True,)))
    call.function = functools.partial(made_and_called, lf.AdaptiveLogSoftmaxWithLoss, parameters, method)
    call.arguments = list(given.values())
    call.words = ("input", "target", "head_", "tail_weights", *parameters, "wrt", "out", "sample_weight", "argument")
    if dice.chance(0.1) and method in ("grad", "value_and_grad"):
        call.keywords["wrt"] = dice.pick(("input", ("head_weight", "input"), "tail_weights", *ODD))
    return call


class Wave(lf.CustomLoss):
    """A loss in NumPy."""

    a: float = 1.0

    def value(self, input, target):
        return 1 - np.cos(self.a * (input - target))

    def derivative(self, input, target):
        return self.a * np.sin(self.a * (input - target))

    def second_derivative(self, input, target):
        return self.a**2 * np.cos(self.a * (input - target))


@functools.cache
def compiled() -> Any:
    """A loss by a function of ctypes."""
    reals = ctypes.POINTER(ctypes.c_double)

    @ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, reals, reals, reals, reals, ctypes.c_void_p)
    def half_square(n, input, target, value, grad, _):
        for i in range(n):
            difference = input[i] - target[i]
            value[i] = difference * difference / 2
            if grad:
                grad[i] = difference

    return half_square


def input_and_target(entry: str, loss: Any, method: str, world: World) -> Call:
    """A loss of the user's own, or a sum of losses, of two arrays."""
    dice = world.dice
    call = Call(entry, getattr(loss, method), words=("input", "target", "out", "sample_weight", "wrt", "grad_output"))
    case = Case(REGISTRY["MSELoss"], {}, Form(length=dice.pick((1, 3, 7)), batched=dice.chance(0.8)))
    shapes = case.shapes_of(dice.pick((0, 1, 2, 9)))
    given = [argument(case, name, shapes[name], world, call) for name in case.names]
    if dice.chance(0.15):
        given[dice.below(2)] = disturbed(given[0], world)
        call.sound = False
    elif method in ("grad", "value_and_grad") and dice.chance(0.3):
        dtype = _arrays.gradient_dtype(given[0].dtype)
        call.keywords["out"] = out = result_array(given[0], dtype, given, world, call)
        call.writable = [out] if isinstance(out, np.ndarray) else []
    call.arguments = given
    spoil(call, world, "sample_weight", "out", *(["wrt", "grad_output"] if method != "__call__" else []))
    return call


def tasks(name: str, method: str, world: World) -> Call:
    """Losses of several tasks."""
    dice = world.dice
    losses = {"box": lf.SmoothL1Loss(), "cls": lf.CrossEntropyLoss()}
    if dice.chance(0.05):
        losses[dice.pick(("box", "wrt"))] = dice.pick((*ODD, lf.MSELoss(reduction="none")))
    call = Call(f"{name}.{method}", sound=False)
    n = dice.pick((1, 2, 5))
    arrays = {
        "box": [3 * world.rng.standard_normal((n, 4)) for _ in range(2)],
        "cls": [world.rng.standard_normal((n, 3)), world.rng.integers(0, 3 + dice.chance(0.05), n)],
    }
    for given in arrays.values():
        given[:] = [place(a, world.arena, dice) for a in given]
        if dice.chance(0.15):
            given[0] = disturbed(given[0], world)
    if dice.chance(0.1):
        arrays[dice.pick(("box", "cls", "more"))] = dice.pick((*ODD, [np.ones(3)]))
    weights = dice.pick((1.0, 0.5, -1.0, 0.0)) if dice.chance(0.95) else dice.pick(ODD)
    leading = [dice.pick(([0.0, 0.0], np.zeros(2, "f4"), {"box": 0.0, "cls": 1.0}, *ODD))] if name[0] == "U" else []

    def function(*arguments: Any, **keywords: Any) -> Any:
        made = lf.MultiTaskLoss(**{k: (v, weights) for k, v in losses.items()}) if name[0] == "M" else None
        return getattr(made or lf.UncertaintyWeightedLoss(**losses), method)(*arguments, **keywords)

    call.function, call.arguments, call.keywords = function, leading, arrays
    call.words = ("box", "cls", "log_variances", "wrt", "sample_weight", "more", "task")
    return call


# ---- checks --------------------------------------------------------------------------------------------------------


def of_a_loss(name: str, world: World) -> Call:
    """`check_grad` or `diagnose` of any loss."""
    dice = world.dice
    cls = dice.pick([c for c in REGISTRY.values() if c.__name__ not in ("CTCLoss", "MultiLabelMarginLoss")])
    call = Call(name, getattr(lf, name), sound=False, raises=(AssertionError,) if name == "check_grad" else ())
    case = Case(cls, {}, Form(length=3))
    arrays = [argument(case, n, shape, world, call) for n, shape in case.shapes_of(2).items()]
    if dice.chance(0.2):
        at = dice.below(len(arrays))
        arrays[at] = disturbed(arrays[at], world)
    loss = dice.pick(ODD) if dice.chance(0.05) else cls()
    call.arguments = [loss, *arrays]
    call.words = (*cls.arrays, cls.__name__, "argument", "loss", "rtol", "atol", "seed", "wrt", "sample_weight")
    if name == "check_grad":
        spoil(call, world, "wrt", "sample_weight")
    return call


def clipping(name: str, world: World) -> Call:
    """Gradients changed in place."""
    dice = world.dice
    call = Call(name, getattr(lf, name), words=("grads", "max_norm", "limit", "norm_type", "the norm", "argument"))
    call.sound = False

    def leaf() -> Any:
        fault = dice.below(12)
        values = cast(
            world.rng.standard_normal(dice.pick(((), (3,), (0,), (4, 5)))), dice.pick(("f4", "f8", "f2", ">f4"))
        )
        placed = place(values, world.arena, dice)
        if fault == 0:
            return nonsense(placed, dice)
        if fault == 1:
            placed = place(np.zeros((2, 3), named_dtype(dice.pick(UNREADABLE))), world.arena, dice)
        elif fault == 2:
            placed.flags.writeable = False
        elif fault == 3:
            placed = np.broadcast_to(placed, (2, *placed.shape))
        elif fault == 4 and placed.size:
            placed[(0,) * placed.ndim] = dice.pick((np.nan, np.inf))
        elif fault == 5:
            return None
        call.writable.append(placed)
        return placed

    leaves = [leaf() for _ in range(1 + dice.below(3))]
    if dice.chance(0.05):
        leaves.append(leaves[0])
    call.arguments = [dice.pick((leaves, tuple(leaves), {"a": leaves, "b": [leaves[:0]]}, leaves[0]))]
    call.arguments.append(dice.pick((0.0, 0.5, 1e-3, 1e30, math.inf)) if dice.chance(0.9) else dice.pick(ODD))
    if name == "clip_grad_norm" and dice.chance(0.4):
        call.keywords["norm_type"] = dice.pick((1, 2.0, 3.5, math.inf)) if dice.chance(0.9) else dice.pick(ODD)
    return call


# ---- settings ------------------------------------------------------------------------------------------------------


def setting(name: str, world: World) -> Call:
    """A number for the process, which is set back."""
    read = getattr(lf, name.replace("set_", "get_"))
    before = read()
    before = before[1] if isinstance(before, tuple) else before

    def function(number: Any) -> None:
        try:
            getattr(lf, name)(number)
        finally:
            getattr(lf, name)(before)

    call = Call(name, function, [world.dice.pick((*ODD, 1, 3))], sound=False)
    call.words = ("n =", "most =")
    return call


def _entries() -> dict[str, list[Callable[[World], Call]]]:
    made: dict[str, list[Callable[[World], Call]]] = {}
    for name in ("softmax", "log_softmax", "logsumexp", "sigmoid", "log_sigmoid", "softplus"):
        made[name] = [functools.partial(activation, name)] * 4
    everything = REGISTRY["CTCLoss"].arrays
    frames = ("log_probs", "input_lengths")
    for name, names, more in (
        ("ctc_occupancy", everything, {}),
        ("ctc_forced_align", everything, {}),
        ("ctc_greedy_decode", frames, {}),
        ("ctc_beam_search", frames, {"beam": (1, 2, 3, 16, 0, -1), "n_best": (1, 2, 5, 0)}),
    ):
        made[name] = [lambda w, n=name, a=names, m=more: sequences(getattr(lf, n), a, w, n, **m)] * 3
    made["CTCLoss"] = [
        lambda w, n=name: sequences(method_of_ctc(n), everything, w, f"CTCLoss.{n}")
        for name in ("feasible", "occupancy")
    ]
    methods = ("__call__", "value_and_grad", "grad")
    made["AdaptiveLogSoftmaxWithLoss"] = [
        functools.partial(adaptive, method) for method in (*methods, "log_prob", "predict")
    ] * 2
    made["CustomLoss"] = [
        lambda w, m=m: input_and_target(f"CustomLoss.{m}", Wave(reduction=w.dice.pick(("mean", "none"))), m, w)
        for m in (*methods, "value_grad_hess")
    ]
    made["custom_loss"] = [
        lambda w, m=m: input_and_target(f"custom_loss.{m}", lf.custom_loss(compiled()), m, w) for m in methods
    ]
    total = 0.5 * lf.MSELoss() + 2 * lf.HuberLoss()
    made["WeightedSum"] = [lambda w, m=m: input_and_target(f"WeightedSum.{m}", total, m, w) for m in methods]
    for name in ("MultiTaskLoss", "UncertaintyWeightedLoss"):
        made[name] = [functools.partial(tasks, name, method) for method in ("__call__", "value_and_grad")]
    for name in ("check_grad", "diagnose"):
        made[name] = [functools.partial(of_a_loss, name)]
    for name in ("clip_grad_norm", "clip_grad_value"):
        made[name] = [functools.partial(clipping, name)] * 3
    for name in ("set_num_threads", "set_kept_memory"):
        made[name] = [functools.partial(setting, name)]
    return made


#: What makes a call, by the public name that it is of.
OTHERS = _entries()
#: Public, and takes nothing, or is a result.
TAKE_NOTHING = frozenset(
    {
        *("config", "functional", "get_include", "get_kept_memory", "get_num_threads", "openmp_enabled", "show_config"),
        "SparseGradient",
    }
)
