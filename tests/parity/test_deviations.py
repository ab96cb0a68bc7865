"""Where lossfast differs on purpose (semantics.md section 10, api.md): what PyTorch does, and what lossfast does.

Each test states both, so that a change on either side is noticed.
"""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf
import lossfast.functional as F

from . import oracle
from .oracle import DTYPES, in_dtype, our_answer, torch_answer

inf, nan = np.inf, np.nan
REGRESSION = ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"]
EVERY = [*REGRESSION, "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"]


def theirs(loss, x, t, parameters=None, *, reduction="none", wrt=("input",)):
    """PyTorch's value and gradients as arrays."""
    answer = torch_answer(loss, (x, t), parameters or {}, reduction, wrt)
    return answer.value, *answer.grads.values()


def ours(loss, x, t, parameters=None, *, reduction="none", wrt=("input",)):
    """The value and gradients of lossfast."""
    answer = our_answer(loss, (x, t), parameters or {}, reduction, wrt)
    return answer.value, *answer.grads.values()


def same(got, expected):
    """Equal, NaN included, to a few ULP of float32."""
    np.testing.assert_allclose(got, expected, rtol=5e-7, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_5_infinite_logits(dtype):
    """BCEWithLogits takes the limits; PyTorch gives NaN except at (+inf, t < 1)."""
    x = np.array([inf, -inf, -inf, inf, inf, -inf], dtype)
    t = np.array([1, 0, 1, 0, 0.5, 0.5], dtype)
    value, grad = theirs("BCEWithLogitsLoss", x, t)
    same(value, [nan, nan, nan, inf, inf, nan])
    same(grad, [0, 0, -1, 1, 0.5, -0.5])
    value, grad = ours("BCEWithLogitsLoss", x, t)
    same(value, [0, 0, inf, inf, inf, inf])
    same(grad, [0, 0, -1, 1, 0.5, -0.5])
    for pos_weight, by_three in ((3.0, [0, 0, inf, inf, inf, inf]), (0.0, [0, 0, 0, inf, inf, 0])):
        parameters = {"pos_weight": np.asarray(pos_weight, dtype)}
        same(theirs("BCEWithLogitsLoss", x, t, parameters)[0], [nan, nan, nan, inf, inf, nan])
        same(ours("BCEWithLogitsLoss", x, t, parameters)[0], by_three)


@pytest.mark.parametrize("dtype", DTYPES)
def test_5_gradient_by_target_at_infinite_logits(dtype):
    """-x without a pos_weight in both; with one, the limit of log σ(-x) - pw·log σ(x) in both."""
    x, t = np.array([inf, -inf], dtype), np.array([0.5, 0.5], dtype)
    for parameters in ({}, {"pos_weight": np.asarray(3, dtype)}):
        same(theirs("BCEWithLogitsLoss", x, t, parameters, wrt=("target",))[1], [-inf, inf])
        same(ours("BCEWithLogitsLoss", x, t, parameters, wrt=("target",))[1], [-inf, inf])


@pytest.mark.parametrize("dtype", DTYPES)
def test_11_target_0_at_a_masked_logit(dtype):
    """It contributes 0; PyTorch multiplies 0 by inf. The gradients are the same."""
    x, t = np.array([[-inf, 1, 2]], dtype), np.array([[0, 0.5, 0.5]], dtype)
    value, grad = theirs("CrossEntropyLoss", x, t)
    same(value, [nan])
    got, got_grad = ours("CrossEntropyLoss", x, t)
    same(got, [-0.5 * np.log(1 / (1 + np.e)) - 0.5 * np.log(np.e / (1 + np.e))])
    np.testing.assert_allclose(got_grad, grad, atol=1e-7)
    # a class of weight 0, too
    t, parameters = np.array([[0.3, 0.5, 0.5]], dtype), {"weight": np.array([0, 1, 1], dtype)}
    same(theirs("CrossEntropyLoss", x, t, parameters)[0], [nan])
    same(ours("CrossEntropyLoss", x, t, parameters)[0], got)


@pytest.mark.parametrize("dtype", DTYPES)
def test_11_smoothing_at_a_masked_logit(dtype):
    """The loss stays infinite in both, for labels and for probabilities."""
    x = np.array([[-inf, 1, 2]], dtype)
    for t in (np.array([1]), np.array([[0, 0.5, 0.5]], dtype)):
        same(theirs("CrossEntropyLoss", x, t, {"label_smoothing": 0.1})[0], [inf])
        same(ours("CrossEntropyLoss", x, t, {"label_smoothing": 0.1})[0], [inf])


@pytest.mark.parametrize("dtype", DTYPES)
def test_11_smoothing_at_a_masked_logit_of_no_weight(dtype):
    """With labels a masked class of weight 0 contributes 0; PyTorch gives NaN."""
    x, y = np.array([[-inf, 1, 2]], dtype), np.array([1])
    parameters = {"weight": np.array([0, 1, 1], dtype), "label_smoothing": 0.1}
    same(theirs("CrossEntropyLoss", x, y, parameters)[0], [nan])
    log_p = np.array([-np.log1p(np.e), -np.log1p(1 / np.e)])
    same(ours("CrossEntropyLoss", x, y, parameters)[0], [-(0.9 + 0.1 / 3) * log_p[0] - 0.1 / 3 * log_p[1]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_11_label_at_a_masked_logit_smoothed_away(dtype):
    """With label_smoothing=1 the loss is infinite as with less; PyTorch multiplies the label's own 0 by inf."""
    x, y = np.array([[-inf, 1, 2]], dtype), np.array([0])
    same(theirs("CrossEntropyLoss", x, y, {"label_smoothing": 1.0})[0], [nan])
    same(ours("CrossEntropyLoss", x, y, {"label_smoothing": 1.0})[0], [inf])
    same(theirs("CrossEntropyLoss", x, y, {"label_smoothing": 0.9})[0], [inf])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["NLLLoss", "CrossEntropyLoss"])
def test_12_all_rows_ignored(loss, dtype):
    """A NaN mean with a gradient of zeros, in both."""
    x, y = np.zeros((2, 3), dtype), np.array([-100, -100])
    for answer in (theirs, ours):
        value, grad = answer(loss, x, y, reduction="mean")
        assert np.isnan(value)
        assert not grad.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_rows_of_nan(dtype):
    """An ignored row counts nothing, whatever it holds; PyTorch's gradient through log_softmax is NaN."""
    for bad in ([nan, 1, 2], [-inf, -inf, -inf], [inf, 0, 0]):
        x, y = np.array([bad, [0, 1, 2]], dtype), np.array([-100, 0])
        value, grad = theirs("CrossEntropyLoss", x, y)
        assert value[0] == 0
        assert np.isnan(grad[0]).all()
        value, grad = ours("CrossEntropyLoss", x, y)
        assert value[0] == 0
        assert not grad[0].any()
        assert np.isfinite(grad[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "parameters"), [("L1Loss", {}), ("SmoothL1Loss", {"beta": 0.0})])
def test_13_nan_gradient_of_the_absolute_error(loss, parameters, dtype):
    """PyTorch's sign(NaN) is 0."""
    x, t = np.array([nan, 1, inf, 1], dtype), np.array([0, nan, inf, 0], dtype)
    for wrt, sign in (("input", 1), ("target", -1)):
        value, grad = theirs(loss, x, t, parameters, wrt=(wrt,))
        same(value, [nan, nan, nan, 1])
        same(grad, [0, 0, 0, sign])
        value, grad = ours(loss, x, t, parameters, wrt=(wrt,))
        same(value, [nan, nan, nan, 1])
        same(grad, [nan, nan, nan, sign])


@pytest.mark.parametrize("dtype", DTYPES)
def test_13_nan_gradient_of_nll(dtype):
    """At a NaN that is the label's; PyTorch's gradient does not read the input."""
    x, y = np.array([[nan, 1, 2], [nan, 1, 2]], dtype), np.array([0, 1])
    value, grad = theirs("NLLLoss", x, y)
    same(value, [nan, -1])
    same(grad, [[-1, 0, 0], [0, -1, 0]])
    value, grad = ours("NLLLoss", x, y)
    same(value, [nan, -1])
    same(grad, [[nan, 0, 0], [0, -1, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_13_nan_probabilities(dtype):
    """PyTorch refuses them, lossfast passes them on."""
    for pair in (([nan, 0.5], [1.0, 1.0]), ([0.5, 0.5], [nan, 1.0])):
        x, t = (np.array(a, dtype) for a in pair)
        with pytest.raises(RuntimeError, match="should be between 0 and 1"):
            theirs("BCELoss", x, t)
        value, grad = ours("BCELoss", x, t)
        assert np.isnan(value).tolist() == np.isnan(grad).tolist() == [True, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_14_clamped_gradient_of_bce(dtype):
    """Both keep max(x(1 - x), 1e-12) under the gradient, though it is not that of the clamped value."""
    x, t = np.array([0, 1, 0, 1], dtype), np.array([1, 0, 0, 1], dtype)
    for answer in (theirs, ours):
        value, grad = answer("BCELoss", x, t)
        same(value, [100, 100, 0, 0])
        same(grad, [-1e12, 1e12, 0, 0])


@pytest.mark.parametrize("loss", ["NLLLoss", "CrossEntropyLoss"])
def test_15_class_indices_of_any_integer_dtype(loss):
    """PyTorch takes int64 and uint8; both refuse floats and bools."""
    x, labels = np.log(np.full((2, 3), 1 / 3)), [2, 0]
    function = getattr(tF, getattr(lf, loss).function)
    expected = float(function(torch.from_numpy(x), torch.tensor(labels)))
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i4"):
        assert getattr(lf, loss)()(x, np.array(labels, dtype)) == pytest.approx(expected, rel=1e-15)
    assert getattr(lf, loss)()(x.tolist(), labels) == pytest.approx(expected, rel=1e-15)
    for dtype in (torch.int8, torch.int16, torch.int32):
        with pytest.raises(RuntimeError, match="expected target dtype to be Long or Byte"):
            function(torch.from_numpy(x), torch.tensor(labels, dtype=dtype))
    for dtype in (np.float64, np.bool_):
        with pytest.raises(RuntimeError):
            function(torch.from_numpy(x), torch.from_numpy(np.array(labels, dtype)))
        with pytest.raises(TypeError):
            getattr(lf, loss)()(x, np.array(labels, dtype))
    with pytest.raises((TypeError, AttributeError)):
        function(x.tolist(), labels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_15_one_label_in_brackets(dtype):
    """For unbatched logits PyTorch's loss is a scalar that cannot be differentiated, ours is the batch of one."""
    for loss in ("NLLLoss", "CrossEntropyLoss"):
        x, y = np.array([0, 1, 2], dtype), np.array([1])
        assert torch_answer(loss, (x, y), {}, "none", ()).value.shape == ()
        with pytest.raises(RuntimeError, match="size mismatch"):
            theirs(loss, x, y)
        value, grad = ours(loss, x, y)
        scalar, unbatched = ours(loss, x, np.array(1))
        assert value.shape == (1,)
        same(value[0], scalar)
        same(grad, unbatched)


@pytest.mark.parametrize("loss", [*REGRESSION, "BCELoss", "BCEWithLogitsLoss"])
def test_16_mixed_dtypes(loss):
    """PyTorch promotes, or fails for Huber's backward and BCE; here the prediction's dtype is that of its gradient."""
    x, t = np.array([0.25, 0.75], np.float32), np.array([0.0, 1.0])
    function = getattr(tF, getattr(lf, loss).function)
    leaf = in_dtype(x, leaf=True)
    if loss in ("HuberLoss", "BCELoss"):
        with pytest.raises(RuntimeError, match="Found dtype"):
            function(leaf, in_dtype(t)).backward()
    else:
        value = function(leaf, in_dtype(t))
        assert value.dtype == torch.float64
        value.backward()
        assert leaf.grad.dtype == torch.float32
    value, grad = getattr(lf, loss)(reduction="none").value_and_grad(x, t)
    assert value.dtype == grad.dtype == np.float32
    value, (grad, by_target) = getattr(lf, loss)(reduction="none").value_and_grad(x, t, wrt=("input", "target"))
    assert by_target.dtype == np.float64
    value, grad = getattr(lf, loss)(reduction="none").value_and_grad(t, x)
    assert value.dtype == grad.dtype == np.float64


@pytest.mark.parametrize("loss", EVERY)
def test_16_integers(loss):
    """PyTorch refuses integer predictions, lossfast computes in float64."""
    x = np.array([[0, 1], [1, 1]])
    t = np.array([1, 0]) if loss in ("NLLLoss", "CrossEntropyLoss") else np.array([[1, 1], [0, 1]])
    function = getattr(tF, getattr(lf, loss).function)
    with pytest.raises((RuntimeError, NotImplementedError)):
        function(torch.from_numpy(x), torch.from_numpy(t))
    wide = t if loss in ("NLLLoss", "CrossEntropyLoss") else t.astype(np.float64)
    expected = torch_answer(loss, (x.astype(np.float64), wide), {}, "mean", ("input",))
    value, grad = getattr(lf, loss)().value_and_grad(x, t)
    assert grad.dtype == np.float64
    assert value == pytest.approx(float(expected.value), rel=1e-14)
    np.testing.assert_allclose(grad, expected.grads["input"], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("loss", EVERY)
def test_17_sample_weight(loss):
    """PyTorch has none; ours is its unreduced loss, weighted, over the weighted denominator."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, (6, 3))
    rowwise = loss in ("NLLLoss", "CrossEntropyLoss")
    t = rng.integers(0, 3, 6) if rowwise else rng.integers(0, 2, (6, 3)).astype(float)
    function = getattr(tF, getattr(lf, loss).function)
    with pytest.raises(TypeError, match="sample_weight"):
        function(torch.from_numpy(x), torch.from_numpy(t), sample_weight=torch.ones(6))
    s = rng.uniform(0, 2, t.shape)
    leaf = in_dtype(x, leaf=True)
    weights = torch.from_numpy(s)
    parameters = {"weight": np.array([0.5, 1, 2])} if rowwise else {}
    keywords = {k: torch.from_numpy(v) for k, v in parameters.items()}
    own = weights * keywords["weight"][torch.from_numpy(t)] if rowwise else weights
    expected = (weights * function(leaf, torch.from_numpy(t), **keywords, reduction="none")).sum() / own.sum()
    expected.backward()
    value, grad = getattr(lf, loss)(**parameters).value_and_grad(x, t, sample_weight=s)
    assert value == pytest.approx(expected.item(), rel=1e-14)
    np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize("loss", REGRESSION)
def test_18_column_against_row(loss):
    """(N, 1) with (N,): PyTorch warns and gives (N, N), lossfast raises and names the mend."""
    x, t = np.ones((3, 1)), np.ones(3)
    function = getattr(tF, getattr(lf, loss).function)
    with pytest.warns(UserWarning, match=oracle.BROADCAST_WARNING):
        assert function(torch.from_numpy(x), torch.from_numpy(t), reduction="none").shape == (3, 3)
    with pytest.raises(ValueError, match="reshape"):
        getattr(lf, loss)()(x, t)
    with pytest.raises(ValueError, match="squeeze"):
        getattr(lf, loss)()(t, x)
    # where one has the shape of the result, PyTorch warns and lossfast is silent
    with pytest.warns(UserWarning, match=oracle.BROADCAST_WARNING):
        expected = function(torch.ones(2, 3), torch.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(lf, loss)()(np.ones((2, 3)), np.ones(3)) == expected == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_19_negative_label_smoothing(dtype):
    """PyTorch takes it for 0, lossfast refuses it; both refuse more than 1."""
    x, y = np.array([[0, 1, 2]], dtype), np.array([1])
    assert theirs("CrossEntropyLoss", x, y, {"label_smoothing": -0.1})[0] == theirs("CrossEntropyLoss", x, y)[0]
    with pytest.raises(ValueError, match="label_smoothing"):
        lf.CrossEntropyLoss(label_smoothing=-0.1)
    with pytest.raises(RuntimeError, match="label_smoothing must be between"):
        theirs("CrossEntropyLoss", x, y, {"label_smoothing": 1.5})
    with pytest.raises(ValueError, match="label_smoothing"):
        lf.CrossEntropyLoss(label_smoothing=1.5)


def test_20_float64_accumulation():
    """PyTorch rounds a float32 mean to float32; ours is a float, of the same bits for any number of threads."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 1_000_003)).astype(np.float32)
    exact = float(np.mean((x - t).astype(np.float64) ** 2))
    theirs32 = float(tF.mse_loss(torch.from_numpy(x), torch.from_numpy(t)))
    assert theirs32 == float(np.float32(theirs32))
    before = lf.get_num_threads()
    values = []
    for threads in (1, 2, 3):
        lf.set_num_threads(threads)
        values.append(F.mse_loss(x, t))
    lf.set_num_threads(before)
    assert len(set(values)) == 1
    assert values[0] != float(np.float32(values[0]))
    assert values[0] == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("loss", EVERY)
def test_legacy_reductions(loss):
    """PyTorch still takes `elementwise_mean`, `size_average` and `reduce`, with a warning; lossfast does not."""
    x = np.array([[0.25, 0.5]])
    t = np.array([1]) if loss in ("NLLLoss", "CrossEntropyLoss") else np.array([[0.0, 1.0]])
    function = getattr(tF, getattr(lf, loss).function)
    for keywords in ({"reduction": "elementwise_mean"}, {"size_average": True}, {"reduce": True}):
        if loss != "HuberLoss" or "reduction" in keywords:
            with pytest.warns(UserWarning, match="deprecated"):
                function(torch.from_numpy(x), torch.from_numpy(t), **keywords)
        with pytest.raises((TypeError, ValueError)):
            getattr(lf, loss)(**keywords)
        with pytest.raises((TypeError, ValueError)):
            getattr(F, getattr(lf, loss).function)(x, t, **keywords)


def test_probabilities_over_no_classes():
    """Rows of no classes have a loss of 0 in both; PyTorch's mean over them is NaN."""
    x = np.empty((2, 0))
    np.testing.assert_array_equal(theirs("CrossEntropyLoss", x, x)[0], [0, 0])
    assert np.isnan(theirs("CrossEntropyLoss", x, x, reduction="mean")[0])
    np.testing.assert_array_equal(ours("CrossEntropyLoss", x, x)[0], [0, 0])
    assert ours("CrossEntropyLoss", x, x, reduction="mean")[0] == 0


def test_half_precision():
    """PyTorch rounds the mean to float16, ours is a float; both return gradients in float16."""
    x, t = np.array([0.1, 0.7, 2.5], np.float16), np.array([0, 1, 0], np.float16)
    for loss in ("MSELoss", "BCEWithLogitsLoss"):
        leaf = in_dtype(x, leaf=True)
        value = getattr(tF, getattr(lf, loss).function)(leaf, in_dtype(t))
        value.backward()
        assert value.dtype == leaf.grad.dtype == torch.float16
        got, grad = getattr(lf, loss)().value_and_grad(x, t)
        assert type(got) is float
        assert grad.dtype == np.float16
        np.testing.assert_allclose(got, value.item(), rtol=2e-3)
        np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=2e-3)
