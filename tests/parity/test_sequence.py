"""CTC on batches of mixed lengths, in every form that PyTorch takes them, and where the two differ on purpose."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf

from .oracle import REDUCTIONS, upstream

#: Of the loss, relative, and of the greatest entry of the gradient; in float64 PyTorch loses digits of its logarithms.
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-11}
each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=("f32", "f64"))
inf = np.inf


def theirs(arrays, *, reduction="none", grad_output=None, by_logits=False, **parameters):
    """PyTorch's value and gradient in float64, also through its log-softmax."""
    x = torch.from_numpy(np.asarray(arrays[0], np.float64).copy()).requires_grad_()
    rest = [torch.from_numpy(np.asarray(a, np.int64).copy()) for a in arrays[1:]]
    value = tF.ctc_loss(x.log_softmax(-1) if by_logits else x, *rest, reduction=reduction, **parameters)
    value.backward(torch.ones_like(value) if grad_output is None else torch.from_numpy(np.asarray(grad_output)))
    return value.detach().numpy(), x.grad.numpy()


def same(got, expected, dtype):
    """Value and gradient, infinities and NaN where PyTorch has them."""
    for k, (mine, wanted) in enumerate(zip(got, expected, strict=True)):
        assert np.shape(mine) == np.shape(wanted)
        sizes = np.abs(wanted[np.isfinite(wanted)])
        scale = sizes.max(initial=0) if k else 0
        np.testing.assert_allclose(mine, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def batch(rng, dtype, *, count, frames, classes, labels, blank):
    """Sequences of mixed lengths, an empty one and some that no path explains among them."""
    logits = 2 * rng.standard_normal((frames, count, classes))
    log_probs = (logits - np.logaddexp.reduce(logits, -1, keepdims=True)).astype(dtype)
    targets = rng.choice([c for c in range(classes) if c != blank], (count, labels))
    input_lengths, target_lengths = rng.integers(0, frames + 1, count), rng.integers(0, labels + 1, count)
    input_lengths[0], target_lengths[-1] = frames, 0
    return log_probs, targets, input_lengths, target_lengths


SHAPES = [
    {"count": 9, "frames": 12, "classes": 5, "labels": 6, "blank": 0},
    {"count": 5, "frames": 40, "classes": 3, "labels": 12, "blank": 2},
    {"count": 4, "frames": 30, "classes": 200, "labels": 14, "blank": 7},
    {"count": 3, "frames": 300, "classes": 28, "labels": 70, "blank": 0},
    {"count": 1, "frames": 9, "classes": 2, "labels": 3, "blank": 1},
]


@each_dtype
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape.values())))
def test_mixed_batches(shape, reduction, zero_infinity, dtype):
    """Padded and concatenated targets, and a cotangent that is not uniform."""
    rng = np.random.default_rng(7)
    blank, parameters = shape["blank"], {"blank": shape["blank"], "zero_infinity": zero_infinity}
    for _ in range(5):
        arrays = batch(rng, dtype, **shape)
        if not zero_infinity and reduction != "none":  # an infinite loss leaves nothing to compare
            arrays[2][...] = shape["frames"]
        loss = lf.CTCLoss(**parameters, reduction=reduction)
        cotangent = upstream(rng, shape["count"], np.float64) if reduction == "none" else -1.75
        expected = theirs(arrays, reduction=reduction, grad_output=cotangent, **parameters)
        got = loss.value_and_grad(*arrays, grad_output=cotangent)
        same(got, expected, dtype)
        joined = np.concatenate([row[:n] for row, n in zip(arrays[1], arrays[3], strict=True)])
        plain = arrays[0], joined, *arrays[2:]
        same(loss.value_and_grad(*plain), theirs(plain, reduction=reduction, **parameters), dtype)
        function = lf.functional.ctc_loss
        assert np.array_equal(function(*plain, **parameters, reduction=reduction), loss(*arrays), equal_nan=True)
        # the gradient of logits, which PyTorch's log-softmax passes on
        logits = arrays[0] + rng.standard_normal((shape["frames"], shape["count"], 1)).astype(dtype)
        if zero_infinity:
            fused = lf.CTCLoss(blank=blank, zero_infinity=True, from_logits=True, reduction=reduction)
            wanted = theirs((logits, *arrays[1:]), reduction=reduction, by_logits=True, **parameters)
            same(fused.value_and_grad(logits, *arrays[1:]), wanted, dtype)


@each_dtype
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_sequence_by_itself(reduction, dtype):
    rng = np.random.default_rng(7)
    for blank, labels in itertools.product((0, 3), range(5)):
        x, targets, *_ = batch(rng, dtype, count=1, frames=11, classes=5, labels=max(1, labels), blank=blank)
        for lengths in ((11, labels), ([9], [labels])):
            for own in (targets[0, :labels], targets):
                arrays = x[:, 0], own, *lengths
                got = lf.CTCLoss(blank=blank, reduction=reduction).value_and_grad(*arrays)
                same(got, theirs(arrays, reduction=reduction, blank=blank), dtype)


@each_dtype
def test_log_probabilities_that_are_not_normalised(dtype):
    rng = np.random.default_rng(7)
    x, *rest = batch(rng, dtype, **SHAPES[0])
    x = (x + rng.standard_normal(x.shape)).astype(dtype)
    same(lf.CTCLoss(reduction="none").value_and_grad(x, *rest), theirs((x, *rest)), dtype)


# ---- on purpose: semantics.md 10 ------------------------------------------------------------------------------------


def masked():
    """Class 3 barred, which no label uses, and class 1 at one frame."""
    rng = np.random.default_rng(7)
    x, *_ = batch(rng, np.float64, count=2, frames=8, classes=4, labels=2, blank=0)
    x[:, :, 3] = -inf
    x[5, 0, 1] = -inf
    return x, np.array([[1, 2], [2, 1]]), np.array([8, 6]), np.array([2, 2])


def test_masked_classes_have_no_gradient():
    """PyTorch's is NaN at every -inf; the value is the same, and so is the gradient elsewhere."""
    arrays = masked()
    barred = np.isneginf(arrays[0]) & (np.arange(8)[:, np.newaxis] < arrays[2])[..., np.newaxis]
    expected, spoiled = theirs(arrays)
    value, grad = lf.CTCLoss(reduction="none").value_and_grad(*arrays)
    assert np.isnan(spoiled[barred]).all()
    assert not grad[barred].any()
    same((value, grad), (expected, np.where(barred, 0, spoiled)), np.float64)


def test_the_derivative_itself():
    """PyTorch's gradient has the probabilities in it; without them it is minus the occupancy."""
    rng = np.random.default_rng(7)
    x, targets, *_ = batch(rng, np.float64, **SHAPES[1])
    arrays = x, targets[:, :4], np.full(5, 40), np.array([4, 3, 2, 1, 0])
    _, by_logits = theirs(arrays, blank=2)
    grad = lf.CTCLoss(blank=2, gradient="log_probs", reduction="none").grad(*arrays)
    np.testing.assert_allclose(grad, by_logits - np.exp(x), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(lf.ctc_occupancy(*arrays, blank=2), np.exp(x) - by_logits, rtol=1e-11, atol=1e-13)


def test_a_label_that_is_the_blank():
    """PyTorch takes it for one more symbol."""
    arrays = masked()[0], np.array([[1, 0], [2, 1]]), np.array([8, 6]), np.array([2, 2])
    assert np.isfinite(theirs(arrays)[0]).all()
    with pytest.raises(IndexError, match=r"targets\[0, 1\] = 0 is the blank"):
        lf.CTCLoss()(*arrays)


def test_labels_that_are_no_integers():
    """PyTorch cuts 1.7 to 1."""
    x = torch.zeros(4, 1, 3, dtype=torch.float64).log_softmax(-1)
    cut = tF.ctc_loss(x, torch.tensor([[1.7]]), torch.tensor([4]), torch.tensor([1]))
    assert torch.equal(cut, tF.ctc_loss(x, torch.tensor([[1]]), torch.tensor([4]), torch.tensor([1])))
    with pytest.raises(TypeError, match="targets has dtype float64"):
        lf.CTCLoss()(x.numpy(), [[1.7]], [4], [1])


def test_half_precision():
    """PyTorch has no CTC for it."""
    arrays = masked()
    x = np.maximum(arrays[0], -60).astype(np.float16)
    with pytest.raises(NotImplementedError):
        tF.ctc_loss(torch.from_numpy(x), *map(torch.from_numpy, arrays[1:]))
    value, grad = lf.CTCLoss().value_and_grad(x, *arrays[1:])
    assert grad.dtype == np.float16
    assert value == pytest.approx(lf.CTCLoss()(x.astype(np.float32), *arrays[1:]), rel=1e-6)


def test_weights_of_sequences():
    """A mean is divided by their sum, as those of all losses here."""
    rng = np.random.default_rng(7)
    x, targets, *_ = batch(rng, np.float64, **SHAPES[0])
    arrays = x, targets[:, :3], np.full(9, 12), rng.integers(0, 4, 9)
    weight = rng.random(9)
    value, grad = lf.CTCLoss().value_and_grad(*arrays, sample_weight=weight)
    share = weight / weight.sum() / np.maximum(arrays[3], 1)
    expected, by_each = theirs(arrays, grad_output=share)
    same((value, grad), ((expected * share).sum(), by_each), np.float64)
