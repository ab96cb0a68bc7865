"""PyTorch's float64 autograd as the oracle, and the comparison in ULP.

An error is allowed as ``ULPS · eps(dtype) · max(|oracle|, terms)``, plus ``ORACLE_ULPS · eps(float64) · floor`` for
what the oracle itself loses. `terms` is the largest term where the exact result comes out of a cancellation that cannot
be written away (soft targets), and `floor` that of PyTorch's own formula, which cancels more (hard targets: σ(x) - 1).
Non-finite entries must be the same.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as tF

import lossfast as lf

ULPS = 4.0
ORACLE_ULPS = 16.0
EPS64 = float(np.finfo(np.float64).eps)
DTYPES = [np.float32, np.float64]
REDUCTIONS = ["none", "mean", "sum"]
#: What PyTorch says, correctly, about shapes that broadcast.
BROADCAST_WARNING = r"Using a target size .* that is different to the input size"

torch.set_num_threads(1)

#: Loss → comparisons, entries compared, worst error as a share of its tolerance.
tally: dict[str, list[float]] = {}


def compare(name, got, expected, dtype, *, terms=0.0, floor=0.0, ulps=ULPS, what=""):
    """Assert that `got`, computed in `dtype`, is the oracle's result."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{name} {what}: shape {got.shape}, PyTorch's is {expected.shape}"
    limits = np.finfo(dtype)
    with np.errstate(over="ignore"):
        rounded = expected.astype(dtype).astype(np.float64)  # overflows where a result of this dtype has to
    finite = np.isfinite(rounded)
    same = np.where(finite, True, (got == rounded) | (np.isnan(got) & np.isnan(rounded)))
    with np.errstate(invalid="ignore"):
        error = np.abs(got - expected)
    size = np.maximum(np.abs(expected), np.broadcast_to(terms, expected.shape))
    allowed = ulps * float(limits.eps) * size + ORACLE_ULPS * EPS64 * np.broadcast_to(floor, expected.shape)
    allowed = allowed + 2 * float(limits.smallest_subnormal)
    good = same & np.where(finite, error <= allowed, True)
    count = tally.setdefault(name, [0, 0, 0.0])
    count[0] += 1
    count[1] += got.size
    if not good.all():
        at = tuple(int(i) for i in np.argwhere(~good)[0])
        raise AssertionError(
            f"{name} {what} in {np.dtype(dtype).name}: {(~good).sum()} of {got.size} entries differ, first at {at}: "
            f"lossfast {got[at]!r}, PyTorch {expected[at]!r}, allowed error {allowed[at]:.3g}"
        )
    if finite.any():
        count[2] = max(count[2], float((error[finite] / allowed[finite]).max()))


def tensor(array, *, leaf=False):
    """A float64 (or int64) tensor of its own memory."""
    array = np.asarray(array)
    return torch.from_numpy(
        np.array(array, np.int64 if array.dtype.kind in "iu" else np.float64, order="C")
    ).requires_grad_(leaf)


def in_dtype(array, *, leaf=False):
    """A tensor of the array's own dtype."""
    return torch.from_numpy(np.array(array)).requires_grad_(leaf)


def quietly(function, *args, **kwargs):
    """Call PyTorch without its word on broadcasting."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=BROADCAST_WARNING, category=UserWarning)
        return function(*args, **kwargs)


@dataclass
class Answer:
    """A value and the gradients by name."""

    value: Any
    grads: dict[str, Any]


def torch_answer(loss, arrays, parameters, reduction, wrt, *, grad_output=None, convert=tensor):
    """PyTorch's value and gradients; `wrt` may name an array parameter."""
    names = getattr(lf, loss).arrays
    leaves = {name: convert(a, leaf=name in wrt) for name, a in zip(names, arrays, strict=True)}
    keywords = {
        name: convert(p, leaf=name in wrt) if isinstance(p, np.ndarray) else p for name, p in parameters.items()
    }
    function = getattr(tF, getattr(lf, loss).function)
    value = quietly(function, *leaves.values(), **keywords, reduction=reduction)
    if wrt:
        upstream = torch.ones_like(value) if grad_output is None else convert(np.asarray(grad_output, np.float64))
        value.backward(upstream.to(value.dtype))
    every = leaves | keywords
    return Answer(value.detach().numpy(), {name: every[name].grad.numpy() for name in wrt})


def our_answer(loss, arrays, parameters, reduction, wrt, *, grad_output=None):
    """The answer of lossfast, through the class and through the function, which must agree bit by bit."""
    instance = getattr(lf, loss)(**parameters, reduction=reduction)
    function = getattr(lf.functional, instance.function)
    plain = instance(*arrays)
    keywords = {} if grad_output is None else {"grad_output": grad_output}
    names = tuple(wrt)
    value, grads = instance.value_and_grad(*arrays, wrt=names if len(names) > 1 else names[0], **keywords)
    np.testing.assert_array_equal(np.asarray(value), np.asarray(plain))
    np.testing.assert_array_equal(np.asarray(function(*arrays, **parameters, reduction=reduction)), np.asarray(plain))
    return Answer(value, dict(zip(names, grads if len(names) > 1 else (grads,), strict=True)))


def described(parameters):
    """The parameters in few words."""
    short = {k: v.shape if isinstance(v, np.ndarray) and v.size > 4 else v for k, v in parameters.items()}
    return ", ".join(f"{k}={v}" for k, v in short.items())


def upstream(rng, shape, dtype):
    """A cotangent of both signs, away from 0."""
    return (rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)).astype(dtype)


def bounded(array):
    """Absolute values, with 0 for what is not finite."""
    array = np.abs(np.asarray(array, np.float64))
    return np.where(np.isfinite(array), array, 0.0)


def check_elementwise(
    loss, input, target, parameters=None, *, wrt=("input", "target"), reductions=REDUCTIONS, soft=False, ulps=ULPS
):
    """Value and gradients of an elementwise loss under every reduction, against the oracle.

    With `soft` the largest term of PyTorch's formula counts at the arrays' own precision, otherwise at the oracle's.
    """
    parameters = parameters or {}
    rng = np.random.default_rng(7)
    dtype = input.dtype.type
    shape = np.broadcast_shapes(input.shape, target.shape)
    value_terms, grad_terms = elementwise_terms(loss, input, target, parameters)
    value_terms, grad_terms = (
        np.broadcast_to(value_terms, shape),
        {k: np.broadcast_to(v, shape) for k, v in grad_terms.items()},
    )
    for reduction in reductions:
        cotangent = upstream(rng, shape, dtype) if reduction == "none" else -1.75
        expected = torch_answer(loss, (input, target), parameters, reduction, wrt, grad_output=cotangent)
        got = our_answer(loss, (input, target), parameters, reduction, wrt, grad_output=cotangent)
        divisor = 1.0
        if reduction == "mean":
            weighted = loss in ("L1Loss", "MSELoss") and parameters.get("weight") is not None
            divisor = abs(float(np.sum(parameters["weight"], dtype=np.float64))) if weighted else math.prod(shape)
            divisor = divisor or 1.0
        size = value_terms if reduction == "none" else value_terms.sum() / divisor
        what = f"{described(parameters)} {reduction} {input.shape}, {target.shape}"
        compare(loss, got.value, expected.value, dtype, terms=size * soft, floor=size, ulps=ulps, what=f"value {what}")
        if reduction == "none":
            assert got.value.dtype == dtype, what
        else:
            assert type(got.value) is float, what
            again = getattr(lf, loss)(**parameters, reduction=reduction).value_and_grad(input, target, wrt="input")[1]
            plain = torch_answer(loss, (input, target), parameters, reduction, ("input",)).grads["input"]
            size = sum_to(grad_terms["input"] / divisor, input.shape)
            compare(loss, again, plain, dtype, terms=size, floor=size, ulps=ulps, what=f"gradient {what}")
        for name in wrt:
            argument = {"input": input, "target": target, **parameters}[name]
            assert got.grads[name].dtype == argument.dtype, (name, what)
            scaled = grad_terms[name] * np.abs(cotangent) / divisor
            if name == "weight" and divisor != 1.0:  # the quotient's own derivative
                scaled = scaled + float(bounded(expected.value)) * abs(cotangent) / divisor
            size = sum_to(scaled, argument.shape)
            # a sum over broadcast axes cancels whatever its terms are, and so do the two logarithms of BCELoss
            broadcast = argument.shape != shape or name == "weight" or (loss, name) == ("BCELoss", "target")
            compare(
                loss, got.grads[name], expected.grads[name], dtype,
                terms=size * (soft or broadcast), floor=size, ulps=ulps, what=f"gradient by {name} {what}",
            )  # fmt: skip


def elementwise_terms(loss, input, target, parameters):
    """Sizes of the largest terms in PyTorch's formulas for the value and each gradient, unreduced."""
    x, t = np.asarray(input, np.float64), np.asarray(target, np.float64)
    w = np.asarray(parameters.get("weight", 1.0), np.float64)
    pw = np.asarray(parameters.get("pos_weight", 1.0), np.float64)
    with np.errstate(all="ignore"):
        if loss == "BCEWithLogitsLoss":
            sp = np.maximum(-x, 0) + np.log1p(np.exp(-np.abs(x)))
            coefficient = 1 + np.abs(pw - 1) * np.abs(t)
            value = np.abs(1 - t) * np.abs(x) + coefficient * sp
            by_input = np.abs(1 - t) + coefficient
            by_target = np.abs(x)
            if "pos_weight" in parameters:  # PyTorch's log σ(-x) - pw log σ(x) cancels near 0
                by_target = by_target + (1 + np.abs(pw)) * sp
            return bounded(w * value), {"input": bounded(w * by_input), "target": bounded(w * by_target)}
        if loss == "BCELoss":
            logs = bounded(np.log(x)), bounded(np.log1p(-x))
            value = np.maximum(-(t * np.maximum(np.log(x), -100)), -(1 - t) * np.maximum(np.log1p(-x), -100))
            slope = bounded((x - t) / np.maximum(x * (1 - x), 1e-12))
            return bounded(w * value), {"input": bounded(w) * slope, "target": bounded(w) * (logs[0] + logs[1])}
        leaf = tensor(np.asarray(x - t)).requires_grad_()
        bare = {k: v for k, v in parameters.items() if k != "weight"}
        value = getattr(tF, getattr(lf, loss).function)(leaf, torch.zeros_like(leaf), **bare, reduction="none")
        value.sum().backward()
        slope = bounded(w * leaf.grad.numpy())
        return bounded(w * value.detach().numpy()), {
            "input": slope,
            "target": slope,
            "weight": bounded(value.detach().numpy()),
        }


def sum_to(array, shape):
    """Sum over the axes along which an argument of `shape` was broadcast."""
    extra = array.ndim - len(shape)
    array = array.sum(axis=tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and array.shape[i] != 1)
    return array.sum(axis=axes, keepdims=True)


def check_rowwise(loss, input, target, parameters=None, *, wrt=("input",), reductions=REDUCTIONS, ulps=ULPS):
    """Value and gradients of a loss over a class axis under every reduction, against the oracle."""
    parameters = parameters or {}
    rng = np.random.default_rng(7)
    dtype = input.dtype.type
    rows = input.shape[:1] + input.shape[2:] if input.ndim > 1 else ()
    value_terms, value_floor, slope, slope_floor, by_target, by_weight, divisors = rowwise_terms(
        loss, input, target, parameters
    )
    axis = min(1, input.ndim - 1)
    for reduction in reductions:
        cotangent = upstream(rng, rows, dtype) if reduction == "none" else -1.75
        expected = torch_answer(loss, (input, target), parameters, reduction, wrt, grad_output=cotangent)
        got = our_answer(loss, (input, target), parameters, reduction, wrt, grad_output=cotangent)
        divisor = (abs(divisors) or 1.0) if reduction == "mean" else 1.0
        what = f"{described(parameters)} {reduction} {input.shape}, {np.shape(target)}"
        terms, floor = (a if reduction == "none" else a.sum() / divisor for a in (value_terms, value_floor))
        compare(loss, got.value, expected.value, dtype, terms=terms, floor=floor, ulps=ulps, what=f"value {what}")
        if reduction == "none":
            assert got.value.dtype == dtype, what
        else:
            assert type(got.value) is float, what
        share = np.abs(np.expand_dims(np.broadcast_to(cotangent, rows), axis)) / divisor
        sizes = {"input": (slope, slope_floor), "target": (by_target, by_target), "weight": (by_weight, by_weight)}
        for name in wrt:
            argument = {"input": input, "target": target, **parameters}[name]
            assert got.grads[name].dtype == argument.dtype, (name, what)
            terms, floor = (a * share for a in sizes[name])
            if name == "weight":
                terms, floor = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1).sum(1) for a in (terms, floor))
            compare(
                loss, got.grads[name], expected.grads[name], dtype,
                terms=terms, floor=floor, ulps=ulps, what=f"gradient by {name} {what}",
            )  # fmt: skip


def rowwise_terms(loss, input, target, parameters):
    """Sizes of the largest terms: value, its floor, gradient, its floor, by target, by weight; and the mean's divisor.

    A difference of logits rounds to its own ULP, so that a probability of e^-d has d ULP of e^-d: `spread` counts it.
    """
    axis = min(1, input.ndim - 1)
    x = np.moveaxis(np.asarray(input, np.float64), axis, -1)
    classes = x.shape[-1]
    w = np.asarray(parameters.get("weight", np.ones(classes)), np.float64)
    smoothing = parameters.get("label_smoothing", 0.0)
    hard = np.shape(target) != input.shape or np.asarray(target).dtype.kind in "iu"
    with np.errstate(all="ignore"):
        top = np.max(bounded(x), -1, keepdims=True, initial=0.0)
        if loss == "CrossEntropyLoss":
            lp = bounded(x - np.logaddexp.reduce(x, -1, keepdims=True)) if classes else x
            gap = np.max(x, -1, keepdims=True, initial=-np.inf) - x
        else:
            lp, gap = bounded(x), np.zeros_like(x)
        p = np.where(np.isfinite(x), np.exp(-lp), 0.0)
        spread = 1 + bounded(gap) / 4
        if hard:
            labels = np.asarray(target)
            kept = labels != parameters.get("ignore_index", -100)
            onehot = np.eye(classes)[np.where(kept, labels, 0)] * kept[..., None]
            if input.ndim == 1 and labels.shape == (1,):
                onehot = onehot[0]
            q = w * ((1 - smoothing) * onehot + smoothing / classes * np.asarray(kept)[..., None])
            divisor = float((w * onehot).sum())
        else:
            t = np.moveaxis(np.asarray(target, np.float64), axis, -1)
            smooth = t * (1 - smoothing) + smoothing / classes
            q = w * smooth
            divisor = float(math.prod(x.shape[:-1]))
        mass = np.abs(q).sum(-1, keepdims=True)
        if loss == "NLLLoss":
            value = np.abs(q * lp).sum(-1)
            back = np.moveaxis(np.abs(q), -1, axis)
            return value, value, back, back, back, back, divisor
        # the loss of a confident row is the sum of the other probabilities, each with its own spread
        value = (np.abs(q) * lp * (1 + np.where(lp < 1, spread.max(-1, keepdims=True, initial=0), 0))).sum(-1)
        floor = (mass * (1 + top))[..., 0]
        pure = hard and smoothing == 0
        slope = mass * p * spread
        if pure:  # the label's own entry is minus the sum of the others
            slope = np.where(q != 0, mass * np.minimum(1 - p, 1) * spread.max(-1, keepdims=True, initial=0), slope)
        else:
            slope = np.maximum(slope, np.abs(q))
        by_target = np.abs(w) * (1 - smoothing) * (lp + 1)
        by_weight = (np.abs(smooth) * (lp + 1)) if not hard else np.zeros_like(x)
        back = [
            np.moveaxis(np.broadcast_to(a, x.shape), -1, axis) for a in (slope, mass * (1 + top), by_target, by_weight)
        ]
    return value, floor, *back, divisor


def in_dtype_or_labels(array, *, leaf=False):
    """A tensor of the array's own dtype; labels as int64."""
    array = np.asarray(array)
    return tensor(array) if array.dtype.kind in "iu" else in_dtype(array, leaf=leaf)
