"""NLLLoss and CrossEntropyLoss: semantics.md sections 3.1 and 3.2."""

import numpy as np
import pytest

from . import oracle
from .oracle import DTYPES, REDUCTIONS, check_rowwise, compare, torch_answer

LOSSES = ["NLLLoss", "CrossEntropyLoss"]
CE = "CrossEntropyLoss"
SHAPES = [(3,), (1,), (1, 1), (5, 1), (1, 3), (33, 2), (7, 10), (4, 64), (5, 65), (3, 130), (2, 1000), (40, 17)]
SPATIAL = [(2, 3, 4), (1, 5, 1), (3, 2, 33), (2, 3, 4, 5), (2, 70, 3, 2), (1, 4, 2, 3, 2)]
SMOOTHINGS = [0.0, 0.1, 1.0]


def rows_of(shape):
    """The shape without its class axis."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def labelled(loss, shape, dtype, seed=0, scale=3.0):
    """Logits, or logarithms of probabilities, and labels."""
    rng = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    x = rng.normal(size=shape) * scale
    if loss == "NLLLoss":
        x = x - np.logaddexp.reduce(x, axis, keepdims=True)
    return x.astype(dtype), np.asarray(rng.integers(0, shape[axis], rows_of(shape)))


def probabilities(shape, dtype, seed=0):
    """Class probabilities, some of them 0."""
    rng = np.random.default_rng(seed + 100)
    axis = min(1, len(shape) - 1)
    t = rng.uniform(0.01, 1, shape) * (rng.random(shape) < 0.8)
    return (t / np.maximum(t.sum(axis, keepdims=True), 0.01)).astype(dtype)


def class_weights(classes, dtype, seed=0):
    """One weight per class."""
    return np.random.default_rng(seed + 50).uniform(0.1, 3, classes).astype(dtype)


# ---- class indices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weight"])
@pytest.mark.parametrize("shape", SHAPES + SPATIAL, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_labels(loss, shape, weighted, dtype):
    """Unbatched, batched and spatial; with and without class weights and smoothing."""
    x, y = labelled(loss, shape, dtype)
    for smoothing in SMOOTHINGS if loss == CE else [None]:
        parameters = {} if smoothing is None else {"label_smoothing": smoothing}
        if weighted:
            parameters["weight"] = class_weights(shape[min(1, len(shape) - 1)], dtype)
        check_rowwise(loss, x, y, parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ignore_index", [-100, 0, 2, -1, 77])
@pytest.mark.parametrize("shape", [(9, 3), (6, 70), (2, 3, 8), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_labels(loss, shape, ignore_index, dtype):
    """An ignored row counts nothing, whether its label is a class or not."""
    x, y = labelled(loss, shape, dtype)
    y[np.random.default_rng(1).random(y.shape) < 0.4] = ignore_index
    for smoothing in SMOOTHINGS if loss == CE else [None]:
        parameters = {"ignore_index": ignore_index} | ({} if smoothing is None else {"label_smoothing": smoothing})
        check_rowwise(loss, x, y, parameters)
        check_rowwise(loss, x, y, parameters | {"weight": class_weights(shape[1], dtype)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weight"])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 3, 5), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_all_rows_ignored(loss, shape, weighted, reduction, dtype):
    """The mean is NaN, every gradient 0: deviation 12 is PyTorch's own behaviour."""
    x, y = labelled(loss, shape, dtype)
    y = np.full_like(y, -100)
    for smoothing in SMOOTHINGS if loss == CE else [None]:
        parameters = {} if smoothing is None else {"label_smoothing": smoothing}
        if weighted:
            parameters["weight"] = class_weights(shape[min(1, len(shape) - 1)], dtype)
        expected = torch_answer(loss, (x, y), parameters, reduction, ("input",))
        assert not expected.grads["input"].any()
        assert np.isnan(expected.value).all() == (reduction == "mean")
        check_rowwise(loss, x, y, parameters, reductions=[reduction])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("weight", [[0.0, 1.0, 2.0], [-1.0, 2.0, 0.5], [0.0, 0.0, 1.0]], ids=str)
def test_zero_and_negative_weights(weight, smoothing, reduction, dtype):
    """They are taken as they are."""
    parameters = {"weight": np.array(weight, dtype)}
    x, y = labelled("NLLLoss", (11, 3), dtype)
    check_rowwise("NLLLoss", x, y, parameters, reductions=[reduction])
    x, y = labelled(CE, (11, 3), dtype)
    check_rowwise(CE, x, y, parameters | {"label_smoothing": smoothing}, reductions=[reduction])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_weight_in_total(loss, dtype):
    """NaN as a mean; the gradient is NaN at the label for NLL, in the whole row for cross entropy."""
    x, y = labelled(loss, (4, 3), dtype)
    parameters = {"weight": np.zeros(3, dtype)}
    expected = torch_answer(loss, (x, y), parameters, "mean", ("input",))
    assert np.isnan(expected.value)
    assert np.isnan(expected.grads["input"]).sum() == (4 if loss == "NLLLoss" else 12)
    check_rowwise(loss, x, y, parameters)
    # weights that cancel: an infinite mean
    y = np.array([1, 2])
    parameters = {"weight": np.array([0, 1, -1], dtype)}
    expected = torch_answer(loss, (x[:2], y), parameters, "mean", ())
    assert np.isinf(expected.value)
    compare(loss, getattr(oracle.lf, loss)(**parameters)(x[:2], y), expected.value, dtype, what="weights that cancel")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_unbatched_weight_cancels(loss, dtype):
    """In the mean of one row, so that only `sum` sees it; one label in brackets is accepted."""
    x, _ = labelled(loss, (3,), dtype)
    y = np.asarray(2)
    parameters = {"weight": class_weights(3, dtype)}
    check_rowwise(loss, x, y, parameters)
    for reduction in ("mean", "sum"):
        expected = torch_answer(loss, (x, np.array([2])), parameters, reduction, ())
        got = getattr(oracle.lf, loss)(**parameters, reduction=reduction)(x, np.array([2]))
        compare(loss, got, expected.value, dtype, floor=16.0, what=f"label in brackets, {reduction}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0), (0, 3, 4), (2, 3, 0, 5)], ids=str)
def test_empty(loss, shape, dtype):
    """None is empty, sum 0, mean NaN; the gradients are empty."""
    check_rowwise(loss, np.empty(shape, dtype), np.empty(rows_of(shape), np.int64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_empty_probabilities(smoothing, dtype):
    """As for labels."""
    for shape in [(0, 3), (2, 3, 0), (0, 3, 4)]:
        check_rowwise(
            CE, np.empty(shape, dtype), np.empty(shape, dtype), {"label_smoothing": smoothing}, wrt=("input", "target")
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_layouts(loss, dtype):
    """Classes last in memory, Fortran order, strides and reversed axes."""
    x, y = labelled(loss, (12, 14), dtype)
    for view in (lambda a: a[::2, 1::3], lambda a: a[::-1, ::-1], np.asfortranarray, lambda a: a.T):
        rows, classes = view(x).shape
        check_rowwise(loss, view(x), np.resize(y, rows) % classes)
    x, y = labelled(loss, (2, 5, 6, 3), dtype)
    check_rowwise(loss, np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, 3, 1, 2), y)
    check_rowwise(loss, np.asfortranarray(x), np.asfortranarray(y))
    for classes in (5, 70):
        x, y = labelled(loss, (2, classes, 40), dtype)
        check_rowwise(loss, x[:, ::-1], y)
        check_rowwise(loss, x[::-1, :, ::-2], y[::-1, ::-2])
        if loss == CE:
            t = probabilities(x.shape, dtype)
            check_rowwise(loss, x[:, ::-1], t[:, ::-1], wrt=("input", "target"))
            check_rowwise(loss, x, np.asfortranarray(t), wrt=("input", "target"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_spatial_is_flattened_rows(smoothing, dtype):
    """PyTorch and lossfast agree that (N, C, d1, d2) is (N·d1·d2, C)."""
    x, y = labelled(CE, (2, 5, 3, 4), dtype)
    flat = np.moveaxis(x, 1, -1).reshape(-1, 5)
    loss = oracle.lf.CrossEntropyLoss(label_smoothing=smoothing)
    expected = torch_answer(CE, (flat, y.ravel()), {"label_smoothing": smoothing}, "mean", ("input",))
    value, grad = loss.value_and_grad(x, y)
    compare(CE, value, expected.value, dtype, floor=16.0, what="flattened")
    back = np.moveaxis(expected.grads["input"].reshape(2, 3, 4, 5), -1, 1)
    compare(CE, grad, back, dtype, terms=0.1 if smoothing else 0.0, floor=1.0, ulps=16.0, what="flattened gradient")


# ---- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weight"])
@pytest.mark.parametrize("shape", SHAPES + SPATIAL, ids=str)
def test_probabilities(shape, weighted, dtype):
    """By the input and by the target; the mean is over the rows whatever the weights."""
    x, _ = labelled(CE, shape, dtype)
    t = probabilities(shape, dtype)
    for smoothing in SMOOTHINGS:
        parameters = {"label_smoothing": smoothing}
        if weighted:
            parameters["weight"] = class_weights(shape[min(1, len(shape) - 1)], dtype)
        check_rowwise(CE, x, t, parameters, wrt=("input", "target"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (7, 10), (4, 70), (2, 3, 4)], ids=str)
def test_gradient_by_class_weight(shape, dtype):
    """With probabilities: the smoothed target times -log p, summed over the rows."""
    x, _ = labelled(CE, shape, dtype)
    t = probabilities(shape, dtype)
    for smoothing in SMOOTHINGS:
        parameters = {"label_smoothing": smoothing, "weight": class_weights(shape[min(1, len(shape) - 1)], dtype)}
        check_rowwise(CE, x, t, parameters, wrt=("input", "target", "weight"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_improper_probabilities(smoothing, dtype):
    """Neither sign nor sum nor range is checked; a negative ignore_index is silently unused."""
    x, _ = labelled(CE, (6, 4), dtype)
    t = np.random.default_rng(5).normal(size=(6, 4)).astype(dtype) * 2
    for target in (t, np.zeros_like(t), np.eye(4, dtype=dtype)[[0, 1, 2, 3, 0, 1]], t - t.mean(1, keepdims=True)):
        check_rowwise(CE, x, target, {"label_smoothing": smoothing, "ignore_index": -7}, wrt=("input", "target"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_probabilities(bad, dtype):
    """They spoil their row and no other."""
    x, _ = labelled(CE, (3, 4), dtype)
    t = probabilities((3, 4), dtype)
    t[1, 2] = bad
    check_rowwise(CE, x, t, wrt=("input", "target"))


def test_float64_probabilities_of_float32_logits():
    """Deviation 16: the prediction's precision decides, each gradient has the dtype of its argument."""
    x, _ = labelled(CE, (9, 7), np.float32)
    check_rowwise(CE, x, probabilities((9, 7), np.float64), wrt=("input", "target"))


# ---- extremes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 10, 80])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_masked_logits(smoothing, classes, dtype):
    """-inf has probability 0; at the label, or anywhere with smoothing, the loss is infinite, the gradient finite."""
    x, y = labelled(CE, (12, classes), dtype)
    y[:] = np.arange(12) % classes
    x[:6, 1] = -np.inf  # is the label of some rows
    x[3, :2] = -np.inf
    parameters = {"label_smoothing": smoothing}
    expected = torch_answer(CE, (x, y), parameters, "none", ("input",))
    assert np.isfinite(expected.grads["input"]).all()
    assert np.isinf(expected.value).sum() == (6 if smoothing else len([r for r in range(6) if np.isinf(x[r, y[r]])]))
    check_rowwise(CE, x, y, parameters)
    check_rowwise(CE, x, y, parameters | {"weight": class_weights(classes, dtype)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_masked_logits_with_probabilities(smoothing, dtype):
    """A positive target at -inf gives an infinite loss and a finite gradient (target 0: test_deviations)."""
    x, _ = labelled(CE, (4, 5), dtype)
    x[1, 2] = x[3, 0] = -np.inf
    t = np.full((4, 5), 0.2, dtype)
    expected = torch_answer(CE, (x, t), {"label_smoothing": smoothing}, "none", ("input",))
    assert np.isfinite(expected.grads["input"]).all()
    assert np.isinf(expected.value).tolist() == [False, True, False, True]
    check_rowwise(CE, x, t, {"label_smoothing": smoothing})
    # by the target -log p: infinite where masked
    for reduction in REDUCTIONS:
        expected = torch_answer(CE, (x, t), {}, reduction, ("target",)).grads["target"]
        got = oracle.lf.CrossEntropyLoss(reduction=reduction).grad(x, t, wrt="target")
        compare(CE, got, expected, dtype, floor=16.0, what=f"by target, masked, {reduction}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 10, 80])
@pytest.mark.parametrize("row", ["inf", "all -inf", "nan", "inf and nan", "nan at the label", "inf at the label"])
def test_rows_without_a_softmax(row, classes, dtype):
    """They are NaN in value and gradient, and spoil no other row."""
    x, y = labelled(CE, (5, classes), dtype)
    y[2] = 1
    if row == "all -inf":
        x[2] = -np.inf
    for name, value in (("inf", np.inf), ("nan", np.nan)):
        if name in row and row != "all -inf":
            x[2, 1 if "label" in row else (0 if name == "inf" else 2)] = value
    for smoothing in SMOOTHINGS:
        expected = torch_answer(CE, (x, y), {"label_smoothing": smoothing}, "none", ("input",))
        assert np.isnan(expected.grads["input"]).all(1).tolist() == [False, False, True, False, False]
        check_rowwise(CE, x, y, {"label_smoothing": smoothing})
    check_rowwise(CE, x, np.full_like(x, 1 / classes), wrt=("input", "target"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_large_logits(smoothing, dtype):
    """The greatest logit is taken out first."""
    x = np.array([[1e4, 0], [0, 1e4], [-1e4, 1e4], [1e30, -1e30], [88, -88], [104, 0], [0, 745], [1e4, 1e4]], dtype)
    for y in (np.zeros(8, int), np.ones(8, int)):
        check_rowwise(CE, x, y, {"label_smoothing": smoothing})
    assert oracle.lf.CrossEntropyLoss()(x[:1], [1]) == 10000


def test_difference_of_logits_that_overflows():
    """In float32 the loss is infinite, as PyTorch's is."""
    x = np.array([[3e38, -3e38]], np.float32)
    expected = torch_answer(CE, (x, np.array([1])), {}, "none", ("input",), convert=oracle.in_dtype_or_labels)
    got = oracle.our_answer(CE, (x, np.array([1])), {}, "none", ("input",))
    compare(CE, got.value, expected.value, np.float32, what="overflow")
    compare(CE, got.grads["input"], expected.grads["input"], np.float32, what="overflow")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 1), (1,), (2, 1, 3)], ids=str)
def test_one_class(shape, dtype):
    """The loss is 0."""
    x, y = labelled(CE, shape, dtype)
    for smoothing in SMOOTHINGS:
        check_rowwise(CE, x, y, {"label_smoothing": smoothing})
        assert not np.any(oracle.lf.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")(x, y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_confident_rows(dtype):
    """As the label's probability goes to 1."""
    x = np.zeros((30, 4), dtype)
    x[:, 1] = np.arange(30)
    check_rowwise(CE, x, np.ones(30, int))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nll_reads_the_label_alone(dtype):
    """NaN or inf elsewhere do nothing; -inf at the label is an infinite loss; 0·inf is NaN."""
    x, y = labelled("NLLLoss", (5, 3), dtype)
    y[:] = [0, 1, 2, 0, 1]
    x[0, 1], x[1, 0], x[2, 0] = np.nan, np.inf, -np.inf
    check_rowwise("NLLLoss", x, y)
    x[3, 0], x[4, 1] = -np.inf, np.inf
    check_rowwise("NLLLoss", x, y, reductions=["none"])
    check_rowwise("NLLLoss", x[:4], y[:4])
    for loss in LOSSES:
        x = np.array([[-np.inf, 1, 2], [0, 1, 2]], dtype)
        parameters = {"weight": np.array([0, 1, 1], dtype)}
        expected = torch_answer(loss, (x, np.array([0, 1])), parameters, "none", ())
        assert np.isnan(expected.value).tolist() == [True, False]
        check_rowwise(loss, x, np.array([0, 1]), parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(3001, 10), (300, 501), (3, 5, 4001)], ids=str)
def test_large_reductions(loss, shape, dtype):
    """Above the threading threshold, with odd lengths."""
    x, y = labelled(loss, shape, dtype)
    check_rowwise(loss, x, y, reductions=["mean"])
    if loss == CE:
        check_rowwise(
            loss, x, y, {"label_smoothing": 0.1, "weight": class_weights(shape[1], dtype)}, reductions=["mean"]
        )
