"""MSELoss, L1Loss, SmoothL1Loss, HuberLoss: semantics.md sections 1.4, 1.5 and 2."""

import itertools

import numpy as np
import pytest

from . import oracle
from .oracle import DTYPES, REDUCTIONS, check_elementwise, compare, torch_answer

PARAMETERS = [
    ("MSELoss", {}),
    ("L1Loss", {}),
    *(("SmoothL1Loss", {"beta": beta}) for beta in (0.0, 0.125, 0.3, 1.0, 2.5, np.inf)),
    *(("HuberLoss", {"delta": delta}) for delta in (0.125, 0.3, 1.0, 2.5, 1e3)),
]
WEIGHTED = ["MSELoss", "L1Loss", "HuberLoss"]
SHAPES = [(), (1,), (7,), (64,), (1031,), (5, 1), (3, 17), (2, 3, 4, 5)]
BROADCASTS = [
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (3, 4)),
    ((2, 3, 4), (1, 3, 1)),
    ((), (5,)),
    ((5,), ()),
    ((1, 1), (2, 2)),
    ((5, 6), (1,)),
]


def pair(shape, dtype, other=None, seed=0):
    """Arrays of a prediction and a target; a tenth of the elements of equal shapes are equal."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).astype(dtype) * 2
    t = rng.normal(size=shape if other is None else other).astype(dtype)
    return (np.where(rng.random(shape) < 0.1, t, x), t) if other is None else (x, t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS)
def test_shapes(loss, parameters, shape, dtype):
    """Value and both gradients, all reductions."""
    x, t = pair(shape, dtype)
    check_elementwise(loss, np.asarray(x), np.asarray(t), parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS[:3] + PARAMETERS[-3:])
def test_broadcasting(loss, parameters, shapes, dtype):
    """The gradient of a broadcast argument is summed; the mean is over the broadcast size."""
    x, t = pair(shapes[0], dtype, shapes[1])
    check_elementwise(loss, np.asarray(x), np.asarray(t), parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS[::2])
def test_layouts(loss, parameters, dtype):
    """Strided, reversed, transposed and Fortran-ordered arrays."""
    x, t = pair((12, 14), dtype)
    for view in (lambda a: a[::2, 1::3], lambda a: a[::-1, ::-1], lambda a: a.T, np.asfortranarray):
        check_elementwise(loss, view(x), view(t), parameters)
        check_elementwise(loss, view(x), np.ascontiguousarray(view(t)), parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)], ids=str)
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS[:4] + PARAMETERS[-1:])
def test_empty(loss, parameters, shape, dtype):
    """None is empty, sum 0, mean NaN; the gradients are empty."""
    check_elementwise(loss, np.empty(shape, dtype), np.empty(shape, dtype), parameters)


def kinks(dtype, at):
    """Distances at a kink, one ULP beside it, and well beyond."""
    at = dtype(at)
    near = [at, np.nextafter(at, dtype(0)), np.nextafter(at, dtype(np.inf)), at / 2, at * 2]
    return np.array([*near, *(-d for d in near), 0.0, -0.0], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS)
def test_kinks(loss, parameters, dtype):
    """At 0 the derivative of |d| is 0; the branches of Huber and SmoothL1 agree at their border."""
    border = next((p for p in parameters.values() if 0 < p < np.inf), 1.0)
    x = kinks(dtype, border)
    check_elementwise(loss, x, np.zeros_like(x), parameters)
    check_elementwise(loss, np.zeros_like(x), x, parameters)


EDGES = [0.0, -0.0, 1.0, -1.0, 1e-30, -3e30, 1e30, np.inf, -np.inf, np.nan]


def with_nan_gradients(answer, nan):
    """PyTorch's answer with NaN where the loss is: deviation 13."""
    for gradient in answer.grads.values():
        gradient[nan] = np.nan
    return answer


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "parameters"), [*PARAMETERS, ("HuberLoss", {"delta": 1e20}), ("SmoothL1Loss", {"beta": 1e20})]
)
def test_non_finite_and_huge(loss, parameters, dtype):
    """Every pair of edge values, element by element; the gradient at a NaN is NaN (PyTorch gives 0 for |d|)."""
    x, t = (np.array(a, dtype) for a in zip(*itertools.product(EDGES, EDGES), strict=True))
    cotangent = np.resize(np.array([1.0, -2.0, 4.0], dtype), x.shape)
    expected = torch_answer(loss, (x, t), parameters, "none", ("input", "target"), grad_output=cotangent)
    got = oracle.our_answer(loss, (x, t), parameters, "none", ("input", "target"), grad_output=cotangent)
    with np.errstate(invalid="ignore"):
        nan = np.isnan(x - t)
    if loss == "L1Loss" or parameters.get("beta") == 0:
        assert not expected.grads["input"][nan].any()
        expected = with_nan_gradients(expected, nan)
    compare(loss, got.value, expected.value, dtype, what=f"edge values {parameters}")
    for name in ("input", "target"):
        compare(loss, got.grads[name], expected.grads[name], dtype, what=f"edge gradients by {name} {parameters}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS)
def test_one_non_finite_element_in_a_reduction(loss, parameters, reduction, bad, dtype):
    """It decides the value, and only its own gradient."""
    x, t = pair((37,), dtype)
    x[5] = bad
    expected = torch_answer(loss, (x, t), parameters, reduction, ("input",))
    if loss == "L1Loss" or parameters.get("beta") == 0:
        expected = with_nan_gradients(expected, np.isnan(x))
    got = oracle.our_answer(loss, (x, t), parameters, reduction, ("input",))
    compare(loss, got.value, expected.value, dtype, what=f"{bad} {reduction} {parameters}")
    compare(
        loss, got.grads["input"], expected.grads["input"], dtype, what=f"gradient with {bad} {reduction} {parameters}"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", WEIGHTED)
def test_weight(loss, reduction, dtype):
    """The functional weight: L1 and MSE divide a mean by its sum, Huber by the number of elements."""
    for shape in [(), (1,), (9,), (4, 5), (300,)]:
        rng = np.random.default_rng(3)
        x, t = (np.asarray(a) for a in pair(shape, dtype))
        for w in (
            rng.uniform(0.1, 2, shape),
            rng.integers(0, 2, shape) + (rng.random(shape) < 0.5),
            -rng.uniform(0.5, 2, shape),
        ):
            if w.sum() == 0:
                continue
            check_elementwise(loss, x, t, {"weight": np.asarray(w, dtype)}, reductions=[reduction])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", WEIGHTED)
def test_gradient_by_weight(loss, reduction, dtype):
    """The weights of a mean are in its denominator too: (l - L) / sum(w)."""
    for shape in [(), (1,), (9,), (4, 5)]:
        x, t = (np.asarray(a) for a in pair(shape, dtype))
        w = np.asarray(np.random.default_rng(3).uniform(0.1, 2, shape).astype(dtype))
        check_elementwise(loss, x, t, {"weight": w}, wrt=("input", "target", "weight"), reductions=[reduction])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", WEIGHTED)
@pytest.mark.parametrize("target_shape", [(4,), (3, 1), (), (1, 1)], ids=str)
def test_weight_with_a_broadcast_target(loss, reduction, dtype, target_shape):
    """The weight has the shape of the input, which the target broadcasts to."""
    x, t = pair((3, 4), dtype, target_shape)
    w = np.random.default_rng(3).uniform(0.1, 2, (3, 4)).astype(dtype)
    check_elementwise(loss, x, np.asarray(t), {"weight": w}, reductions=[reduction])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", WEIGHTED)
@pytest.mark.parametrize("input_shape", [(3, 1), (4,), (), (1, 1)], ids=str)
def test_weight_with_a_broadcast_input(loss, reduction, dtype, input_shape):
    """The weight has the shape of the input; where the target is larger, a mean sums the weight unbroadcast."""
    x, t = pair(input_shape, dtype, (3, 4))
    w = np.asarray(np.random.default_rng(3).uniform(0.5, 2, input_shape).astype(dtype))
    check_elementwise(loss, np.asarray(x), t, {"weight": w}, reductions=[reduction])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", WEIGHTED)
def test_weights_without_a_sum(loss, dtype):
    """Weights of 0 give NaN as an L1 or MSE mean, value and gradients, and 0 otherwise."""
    x, t = pair((6,), dtype)
    w = np.zeros(6, dtype)
    for reduction in REDUCTIONS:
        expected = torch_answer(loss, (x, t), {"weight": w}, reduction, ("input", "target"))
        got = oracle.our_answer(loss, (x, t), {"weight": w}, reduction, ("input", "target"))
        assert np.isnan(expected.value).all() == (reduction == "mean" and loss != "HuberLoss")
        compare(loss, got.value, expected.value, dtype, what=f"zero weights {reduction}")
        for name in ("input", "target"):
            compare(
                loss, got.grads[name], expected.grads[name], dtype, what=f"gradient by {name}, zero weights {reduction}"
            )


@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS)
def test_float64_targets_of_float32_predictions(loss, parameters):
    """Deviation 16: the prediction's precision decides, each gradient has the dtype of its argument."""
    x, _ = pair((50,), np.float32)
    t = pair((50,), np.float64, seed=1)[1].astype(np.float32).astype(np.float64)
    check_elementwise(loss, x, t, parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "parameters"), PARAMETERS)
def test_large_reductions(loss, parameters, dtype):
    """Above the threading threshold, with an odd length."""
    x, t = pair((200_003,), dtype)
    check_elementwise(loss, x, t, parameters, reductions=["mean"])
