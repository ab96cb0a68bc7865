"""Focal losses: semantics.md section 4.5, and the deviations 7 and 24.

Torchvision, which has the loss, is not needed: its formula is written out below, from its documentation.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf

from . import oracle
from .oracle import DTYPES, REDUCTIONS, compare, upstream

inf, nan = np.inf, np.nan
PARAMETERS = [
    {"gamma": gamma, **weights}
    for gamma in (0.0, 0.5, 1.0, 2.0, 3.3, 5.0)
    for weights in ({}, {"alpha": 0.9}, {"alpha": None}, {"alpha_mode": "constant"})
]


def naive(x, t, *, gamma=2.0, alpha=0.25, alpha_mode="balanced", reduction="none"):
    """The formula as it stands, on tensors."""
    p = torch.sigmoid(x)
    p_t = p * t + (1 - p) * (1 - t)
    loss = tF.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** gamma
    if alpha is not None:
        loss = loss * (alpha * t + (1 - alpha) * (1 - t) if alpha_mode == "balanced" else alpha)
    return loss if reduction == "none" else getattr(loss, reduction)()


def theirs(x, t, parameters, reduction, cotangent):
    """Value, gradients by logit and label."""
    leaves = [oracle.tensor(a, leaf=True) for a in (x, t)]
    value = naive(*leaves, **parameters, reduction=reduction)
    value.backward(torch.as_tensor(np.asarray(cotangent), dtype=torch.float64).expand(value.shape))
    return value.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


def power(parameters, x, t):
    """ULP of a value: 4, and what the power loses of its base."""
    p, gamma = 1 / (1 + np.exp(-x.astype(np.float64))), parameters["gamma"]
    u = np.where(t == 1, 1 / (1 + np.exp(x.astype(np.float64))), p * (1 - t) + (1 - p) * t)
    hard = (t == 0) | (t == 1)
    return 4 + gamma * np.where(hard, 1, 2 * (1 + np.abs(np.log(np.maximum(u, 1e-300)))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("shape", [(), (1,), (300,), (4, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_shapes(parameters, shape, soft, reduction, dtype):
    """Value and both gradients of logits to ±9, where 1 - p_t keeps its digits in float64."""
    rng = np.random.default_rng(1)
    x = np.asarray(rng.uniform(-9, 9, shape), dtype)
    t = np.asarray(rng.random(shape) if soft else rng.integers(0, 2, shape), dtype)
    cotangent = upstream(rng, shape, dtype) if reduction == "none" else np.asarray(-1.75)
    expected, slopes = theirs(x, t, parameters, reduction, cotangent)
    loss = lf.SigmoidFocalLoss(**parameters, reduction=reduction)
    value, grads = loss.value_and_grad(x, t, wrt=("input", "target"), grad_output=cotangent)
    ulps, wide = power(parameters, x, t), np.abs(x.astype(np.float64))
    size = np.abs(np.asarray(cotangent, np.float64)) / (x.size if reduction == "mean" else 1)
    what = f"{parameters} {reduction}"
    if reduction == "none":
        compare("SigmoidFocalLoss", value, expected, dtype, ulps=ulps, floor=10 * wide, what=f"value {what}")
    else:
        compare("SigmoidFocalLoss", value, expected, dtype, ulps=ulps.max(), floor=10 * wide.sum(), what=what)
    terms = (1 + parameters["gamma"]) * (1 + wide) * size
    for name, grad, slope, soft_terms in zip(("input", "target"), grads, slopes, (terms * soft, terms), strict=True):
        compare(
            "SigmoidFocalLoss", grad, slope, dtype,
            ulps=ulps, terms=soft_terms, floor=1e4 * terms, what=f"gradient by {name} {what}",
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_hessians(parameters, reduction, dtype):
    """By the logits, against PyTorch's double backward."""
    rng, shape = np.random.default_rng(0), (6, 17)
    x = rng.uniform(-6, 6, shape).astype(dtype)
    for t in (rng.random(shape).astype(dtype), rng.integers(0, 2, shape).astype(dtype)):
        cotangent = upstream(rng, shape, dtype) if reduction == "none" else np.asarray(-1.75, dtype)
        leaf = oracle.tensor(x, leaf=True)
        value = naive(leaf, oracle.tensor(t), **parameters, reduction=reduction)
        (grad,) = torch.autograd.grad(value, leaf, oracle.tensor(cotangent), create_graph=True)
        (hess,) = torch.autograd.grad(grad.sum(), leaf)
        _, ours = lf.SigmoidFocalLoss(**parameters, reduction=reduction).grad_hess(x, t, grad_output=cotangent)
        size = np.abs(np.asarray(cotangent, np.float64)) / (x.size if reduction == "mean" else 1)
        terms = (1 + parameters["gamma"]) ** 2 * (1 + np.abs(x)) * size
        compare(
            "SigmoidFocalLoss", ours, hess.numpy(), dtype,
            ulps=2 + power(parameters, x, t), terms=terms, floor=1e4 * terms, what=f"Hessian {parameters} {reduction}",
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_7_saturated_logits(dtype):
    """Powers below 1 of a vanished probability: NaN from the formula, 0 here. Infinite logits: NaN, and the limits."""
    x, t = np.array([800, -800], dtype), np.array([1, 0], dtype)
    for gamma in (0.5, 2.0):
        _, (slope, _) = theirs(x, t, {"gamma": gamma}, "none", 1.0)
        assert np.isnan(slope).all() == (gamma < 1)
        loss = lf.SigmoidFocalLoss(gamma=gamma, reduction="none")
        np.testing.assert_array_equal(loss.value_and_grad(x, t), np.zeros((2, 2)))
    x, t = np.array([inf, -inf, -inf, inf], dtype), np.array([1, 0, 1, 0], dtype)
    value, _ = theirs(x, t, {"gamma": 2.0}, "none", 1.0)
    assert np.isnan(value[:3]).all()
    value, grad = lf.SigmoidFocalLoss(reduction="none").value_and_grad(x, t)
    np.testing.assert_array_equal(value, [0, 0, inf, inf])
    np.testing.assert_allclose(grad, [0, 0, -0.25, 0.75], rtol=1e-7)


def test_7_digits_of_a_confident_label():
    """The formula's 1 - p_t has lost half of its digits at a logit of 20, in float64."""
    x, t = np.array([20.0]), np.array([1.0])
    s = np.exp(-20.0) / (1 + np.exp(-20.0))
    exact = s**2 * np.log1p(np.exp(-20.0))
    value, _ = theirs(x, t, {"gamma": 2.0, "alpha": None}, "none", 1.0)
    assert 1e-9 < abs(value[0] / exact - 1) < 1e-6
    ours = lf.SigmoidFocalLoss(alpha=None, reduction="none")(x, t)
    assert ours[0] == pytest.approx(exact, rel=1e-14)


def test_24_the_mean_is_the_default():
    """Torchvision's default is none."""
    x, t = np.array([0.5, -1.0]), np.array([1.0, 0.0])
    assert lf.SigmoidFocalLoss()(x, t) == pytest.approx(float(naive(*map(oracle.tensor, (x, t))).mean()), rel=1e-14)


# ---- over a class axis ----------------------------------------------------------------------------------------------


def softmax_focal(x, q, gamma):
    """The formula as it stands: -Σ q (1 - p)^γ log p along axis 1."""
    log_p = tF.log_softmax(x, 1)
    return -(q * (1 - log_p.exp()) ** gamma * log_p).sum(1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.3])
@pytest.mark.parametrize("shape", [(9, 5), (40, 70), (3, 1500), (4, 6, 5)], ids=str)
def test_softmax_focal(shape, gamma, reduction, dtype):
    """Labels with ignored ones, smoothing and factors; class probabilities; the gradients by both."""
    rng = np.random.default_rng(3)
    x = np.asarray(2 * rng.standard_normal(shape), dtype)
    classes, rows = shape[1], (shape[0], *shape[2:])
    labels, alpha = rng.integers(0, classes, rows), rng.integers(1, 9, classes) / 8
    labels.flat[1] = -100
    kept = labels != -100
    onehot = np.moveaxis(np.eye(classes)[np.where(kept, labels, 0)] * kept[..., np.newaxis], -1, 1)
    soft = np.asarray(np.moveaxis(rng.dirichlet(np.ones(classes), rows), -1, 1), dtype)
    factors = alpha.reshape(-1, *[1] * (len(shape) - 2))
    spread = kept[:, np.newaxis] / classes
    for target, parameters, mass, count in (
        (labels, {}, onehot, kept.sum()),
        (labels, {"alpha": alpha}, factors * onehot, kept.sum()),
        (labels, {"label_smoothing": 0.25}, 0.75 * onehot + 0.25 * spread, kept.sum()),
        (soft, {}, soft, kept.size),
    ):
        logits, shares = oracle.tensor(x, leaf=True), oracle.tensor(mass, leaf=True)
        each = softmax_focal(logits, shares, gamma)
        value = {"none": each, "sum": each.sum(), "mean": each.sum() / count}[reduction]
        value.sum().backward()
        loss = lf.SoftmaxFocalLoss(gamma=gamma, reduction=reduction, **parameters)
        # the rounding of x - max is worth as many ULP as logits are apart, and that of 1 - p is raised to a power
        bounds = {"ulps": 32 + 8 * gamma, "terms": 1.0 if reduction != "sum" else kept.size, "what": str(parameters)}
        mine = loss.value_and_grad(x, target)
        compare("SoftmaxFocalLoss", mine[0], value.detach().numpy(), dtype, **bounds)
        compare("SoftmaxFocalLoss", mine[1], logits.grad.numpy(), dtype, **bounds)
        if target is soft:
            by_target = loss.grad(x, target, wrt="target")
            scale = {**bounds, "terms": 10.0}
            compare("SoftmaxFocalLoss", by_target, shares.grad.numpy(), dtype, **scale)


@pytest.mark.parametrize("classes", [3, 100])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_softmax_focal_of_certain_rows(gamma, classes):
    """Where the formula above is 0 · inf: a certain label costs nothing, a certain mistake all there is."""
    x = np.full((3, classes), -1e4)
    x[:, 0] = 1e4
    x[2, 1] = -np.inf
    value, grad = lf.SoftmaxFocalLoss(gamma=gamma, reduction="none").value_and_grad(x, [0, 2, 0])
    np.testing.assert_allclose(value, [0, 2e4, 0])
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad[1, :3], [1, 0, -1], atol=1e-12)
    assert not grad[[0, 2]].any()


def test_softmax_focal_without_focus_is_cross_entropy():
    rng = np.random.default_rng(3)
    x, labels = rng.standard_normal((30, 7)), rng.integers(0, 7, 30)
    mine = lf.SoftmaxFocalLoss(gamma=0.0).value_and_grad(x, labels)
    theirs = lf.CrossEntropyLoss().value_and_grad(x, labels)
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-14)
    np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-12, atol=1e-16)
