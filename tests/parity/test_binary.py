"""BCELoss and BCEWithLogitsLoss: semantics.md sections 4.1 and 4.2."""

import itertools

import numpy as np
import pytest

from . import oracle
from .oracle import DTYPES, REDUCTIONS, check_elementwise, compare, torch_answer

SHAPES = [(), (1,), (13,), (300,), (4, 3), (2, 3, 4, 5)]
BOTH = ("input", "target")


def binary(loss, shape, dtype, soft, seed=0):
    """Probabilities or logits, and targets of 0 and 1 or between."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, shape) if loss == "BCELoss" else rng.normal(size=shape) * 6
    t = rng.uniform(0, 1, shape)
    return np.asarray(x, dtype), np.asarray(t if soft else t > 0.5, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("loss", ["BCELoss", "BCEWithLogitsLoss"])
def test_shapes(loss, shape, soft, dtype):
    """Value and both gradients, all reductions; relative accuracy for hard targets."""
    x, t = binary(loss, shape, dtype, soft)
    check_elementwise(loss, x, t, soft=soft)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", ["BCELoss", "BCEWithLogitsLoss"])
def test_weight(loss, reduction, soft, dtype):
    """It broadcasts to the input and stays out of the denominator."""
    rng = np.random.default_rng(2)
    x, t = binary(loss, (4, 3, 5), dtype, soft)
    for shape in [(4, 3, 5), (5,), (3, 1), (1,), (), (4, 1, 1)]:
        for weight in (rng.uniform(0, 2, shape), np.zeros(shape), -rng.uniform(0.5, 1, shape)):
            check_elementwise(loss, x, t, {"weight": np.asarray(weight, dtype)}, reductions=[reduction], soft=soft)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_pos_weight(reduction, soft, dtype):
    """It broadcasts to the input, and may be negative."""
    rng = np.random.default_rng(2)
    x, t = binary("BCEWithLogitsLoss", (4, 3, 5), dtype, soft)
    for shape in [(4, 3, 5), (5,), (3, 1), (1,), ()]:
        for pos_weight in (rng.uniform(0, 4, shape), np.ones(shape), np.zeros(shape), -rng.uniform(0.5, 1, shape)):
            parameters = {"pos_weight": np.asarray(pos_weight, dtype)}
            check_elementwise("BCEWithLogitsLoss", x, t, parameters, reductions=[reduction], soft=True)
    parameters = {
        "pos_weight": rng.uniform(0, 4, 5).astype(dtype),
        "weight": rng.uniform(0, 2, (4, 1, 1)).astype(dtype),
    }
    check_elementwise("BCEWithLogitsLoss", x, t, parameters, reductions=[reduction], soft=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["BCELoss", "BCEWithLogitsLoss"])
def test_layouts(loss, dtype):
    """Strided, reversed, transposed and Fortran-ordered arrays."""
    x, t = binary(loss, (12, 14), dtype, soft=False)
    for view in (lambda a: a[::2, 1::3], lambda a: a[::-1, ::-1], lambda a: a.T, np.asfortranarray):
        check_elementwise(loss, view(x), view(t))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)], ids=str)
@pytest.mark.parametrize("loss", ["BCELoss", "BCEWithLogitsLoss"])
def test_empty(loss, shape, dtype):
    """None is empty, sum 0, mean NaN; the gradients are empty."""
    check_elementwise(loss, np.empty(shape, dtype), np.empty(shape, dtype))


def products(dtype, *values):
    """Every combination, as one array for each factor."""
    return [np.array(a, dtype) for a in zip(*itertools.product(*values), strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_at_the_ends(reduction, dtype):
    """Logarithms are held above -100 in the value, the gradient's denominator above float32(1e-12)."""
    tiny = np.finfo(dtype)
    ends = [0.0, 1.0, 4096 * tiny.tiny, 1e-30, 1e-13, 1e-12, 1e-10, 1e-5, tiny.eps, 0.5, 1 - tiny.epsneg, 1 - 1e-5]
    x, t = products(dtype, ends, [0.0, 1.0])
    if reduction == "none":  # by the target some are infinite
        expected = torch_answer("BCELoss", (x, t), {}, "none", BOTH)
        assert np.isinf(expected.grads["target"]).sum() == 4
    check_elementwise("BCELoss", x, t, reductions=[reduction])
    x, t = products(dtype, ends, [0.0, 0.25, 0.7, 1.0])
    check_elementwise("BCELoss", x, t, reductions=[reduction], soft=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bce_documented_numbers(dtype):
    """The gradient at x = 0, t = 1; log1p keeps small probabilities; equal ends have no gradient."""
    expected = torch_answer(
        "BCELoss", (np.zeros(1, dtype), np.ones(1, dtype)), {}, "sum", ("input",), convert=oracle.in_dtype
    )
    got = oracle.our_answer("BCELoss", (np.zeros(1, dtype), np.ones(1, dtype)), {}, "sum", ("input",))
    assert got.value == float(expected.value) == 100.0
    number = -999999995904.0 if dtype is np.float32 else -1000000003995.8
    np.testing.assert_allclose([got.grads["input"][0], expected.grads["input"][0]], number, rtol=1e-13)
    small = oracle.our_answer("BCELoss", (np.array([1e-10], dtype), np.zeros(1, dtype)), {}, "none", ("input",))
    np.testing.assert_allclose(small.value, 1e-10, rtol=2e-7)
    for end in (0.0, 1.0):
        same = oracle.our_answer("BCELoss", (np.array([end], dtype), np.array([end], dtype)), {}, "none", ("input",))
        assert same.value[0] == same.grads["input"][0] == 0


LOGITS = [0.0, -0.0, 1e-30, 0.5, 3.0, 17.0, 40.0, 90.0, 104.0, 750.0, 800.0, 1e4, 1e30]
TARGETS = [0.0, 1.0, 0.1, 0.5, -1.0, 2.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("pos_weight", [None, 0.0, 0.5, 1.0, 3.0, -1.0])
def test_logits_of_all_sizes(pos_weight, reduction, dtype):
    """Large logits neither overflow nor lose the small loss; targets are not held to [0, 1]."""
    logits = [s * x for x in LOGITS for s in (1, -1)]
    parameters = {} if pos_weight is None else {"pos_weight": np.asarray(pos_weight, dtype)}
    if pos_weight is None:
        x, t = products(dtype, logits, [0.0, 1.0])
        check_elementwise("BCEWithLogitsLoss", x, t, parameters, reductions=[reduction])
    x, t = products(dtype, logits, TARGETS)
    check_elementwise("BCEWithLogitsLoss", x, t, parameters, reductions=[reduction], soft=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pos_weight", [None, 0.5, 3.0])
def test_gradients_at_infinite_logits(pos_weight, dtype):
    """They are finite and right in PyTorch as well; of the values see test_deviations."""
    x, t = products(dtype, [np.inf, -np.inf], [0.0, 1.0, 0.25, 0.5])
    parameters = {} if pos_weight is None else {"pos_weight": np.asarray(pos_weight, dtype)}
    expected = torch_answer("BCEWithLogitsLoss", (x, t), parameters, "none", ("input",))
    assert np.isfinite(expected.grads["input"]).all()
    got = oracle.our_answer("BCEWithLogitsLoss", (x, t), parameters, "none", ("input",))
    compare(
        "BCEWithLogitsLoss", got.grads["input"], expected.grads["input"], dtype, terms=4.0, what="at infinite logits"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("where", ["input", "target"])
@pytest.mark.parametrize("pos_weight", [None, 3.0])
def test_nan(where, reduction, pos_weight, dtype):
    """A NaN logit or target gives NaN at its element."""
    x, t = binary("BCEWithLogitsLoss", (9,), dtype, soft=False)
    (x if where == "input" else t)[4] = np.nan
    parameters = {} if pos_weight is None else {"pos_weight": np.asarray(pos_weight, dtype)}
    expected = torch_answer("BCEWithLogitsLoss", (x, t), parameters, reduction, ("input",))
    assert np.isnan(expected.grads["input"][4])
    got = oracle.our_answer("BCEWithLogitsLoss", (x, t), parameters, reduction, ("input",))
    floor = np.full(9, 4.0)
    compare("BCEWithLogitsLoss", got.value, expected.value, dtype, terms=20.0, what="with NaN")
    compare(
        "BCEWithLogitsLoss", got.grads["input"], expected.grads["input"], dtype, floor=floor, what="gradient with NaN"
    )


@pytest.mark.parametrize("loss", ["BCELoss", "BCEWithLogitsLoss"])
def test_float64_targets_of_float32_predictions(loss):
    """Deviation 16: the prediction's precision decides, each gradient has the dtype of its argument."""
    x, t = binary(loss, (50,), np.float32, soft=True)
    check_elementwise(loss, x, t.astype(np.float64), soft=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["BCELoss", "BCEWithLogitsLoss"])
def test_large_reductions(loss, dtype):
    """Above the threading threshold, with an odd length."""
    x, t = binary(loss, (100_003,), dtype, soft=False)
    check_elementwise(loss, x, t, reductions=["mean"])
