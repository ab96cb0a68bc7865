"""SigmoidFocalLoss: numbers, limits and refusals of it alone."""

import itertools
import pickle

import numpy as np
import pytest
from scipy import special

import lossfast as lf
import lossfast.functional as F

inf, nan = np.inf, np.nan
GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.3)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=("f32", "f64"))
each_gamma = pytest.mark.parametrize("gamma", GAMMAS)


def published(x, t, gamma, positive, negative):
    """The weighted power of 1 - p_t times the binary cross entropy."""
    p = special.expit(x)
    p_t = p * t + (1 - p) * (1 - t)
    entropy = -(t * special.log_expit(x) + (1 - t) * special.log_expit(-x))
    return (positive * t + negative * (1 - t)) * (1 - p_t) ** gamma * entropy


@each_dtype
@each_gamma
def test_both_forms(gamma, dtype, isa, rng):
    """The weight of negative labels: 1 - α as published, or α as well; mean by default."""
    x, t = (2 * rng.standard_normal(300)).astype(dtype), rng.integers(0, 2, 300).astype(dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-13
    for soft in (t, rng.random(300).astype(dtype)):
        for parameters, weights in (
            ({}, (0.25, 0.75)),
            ({"alpha_mode": "constant"}, (0.25, 0.25)),
            ({"alpha": 0.9}, (0.9, 0.1)),
            ({"alpha": None}, (1, 1)),
            ({"alpha": -1}, (1, 1)),
            ({"alpha": 1}, (1, 0)),
            ({"alpha": 0}, (0, 1)),
        ):
            expected = published(x.astype(float), soft.astype(float), gamma, *weights)
            found = F.sigmoid_focal_loss(x, soft, gamma=gamma, **parameters, reduction="none")
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-300)
            mean = F.sigmoid_focal_loss(x, soft, gamma=gamma, **parameters)
            assert mean == pytest.approx(expected.mean(), rel=rtol)


@each_dtype
def test_focal_by_hand(dtype, isa):
    """A logit of 0 is right by half: a · (1/2)^γ · log 2, with the slope -a (1/2)^γ (1/2 + γ/2 · log 2)."""
    x = np.zeros(2, dtype)
    value, grad = lf.SigmoidFocalLoss(reduction="none").value_and_grad(x, np.array([1, 0], dtype))
    np.testing.assert_allclose(value, np.array([0.25, 0.75]) * np.log(2) / 4, rtol=1e-6)
    np.testing.assert_allclose(grad, np.array([-0.25, 0.75]) * (0.5 + np.log(2)) / 4, rtol=1e-6)
    value, grad = lf.SigmoidFocalLoss(gamma=3.0, reduction="none").value_and_grad(x, np.array([1, 0], dtype))
    np.testing.assert_allclose(value, np.array([0.25, 0.75]) * np.log(2) / 8, rtol=1e-6)
    np.testing.assert_allclose(grad, np.array([-0.25, 0.75]) * (0.5 + 1.5 * np.log(2)) / 8, rtol=1e-6)
    # the mean, in float32 beside float64
    assert lf.SigmoidFocalLoss()(x, [1, 0]) == pytest.approx(np.log(2) / 8, rel=1e-6)
    assert lf.SigmoidFocalLoss(alpha_mode="constant", reduction="sum")(x, [1, 0]) == pytest.approx(
        np.log(2) / 8, rel=1e-6
    )


@each_dtype
def test_gamma_0_is_the_weighted_cross_entropy(dtype, isa, rng):
    x, t = (9 * rng.standard_normal(500)).astype(dtype), rng.random(500).astype(dtype)
    arrays, wrt = (x, t), ("input", "target")
    plain = lf.BCEWithLogitsLoss(reduction="none")
    focal = lf.SigmoidFocalLoss(gamma=0.0, alpha=None, reduction="none")
    rtol = 8 * np.finfo(dtype).eps
    for found, expected in zip(focal.value_grad_hess(*arrays), plain.value_grad_hess(*arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(focal.grad(*arrays, wrt=wrt), plain.grad(*arrays, wrt=wrt), rtol=rtol, atol=rtol)
    half = lf.SigmoidFocalLoss(gamma=0.0, alpha=0.5, reduction="none")
    np.testing.assert_allclose(half.grad(*arrays), plain.grad(*arrays) / 2, rtol=rtol, atol=rtol)


@each_dtype
@each_gamma
def test_gamma_in_both_kernels(gamma, dtype, isa, rng):
    """That of γ = 2 multiplies, the other takes exponentials: they meet at 2."""
    x, t = (4 * rng.standard_normal(500)).astype(dtype), rng.integers(0, 2, 500).astype(dtype)
    near = np.nextafter(2.0, 3)
    exact, other = (lf.SigmoidFocalLoss(gamma=g, reduction="none") for g in (2.0, near))
    assert exact._kernel.name == "sigmoid_focal_2"
    assert other._kernel.name == "sigmoid_focal"
    rtol = 30 * np.finfo(dtype).eps
    wrt = ("input", "target")
    for a, b in zip(exact.value_grad_hess(x, t), other.value_grad_hess(x, t), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(a).max())
    np.testing.assert_allclose(
        exact.grad(x, t, wrt=wrt), other.grad(x, t, wrt=wrt), rtol=rtol, atol=rtol * np.abs(exact.grad(x, t)).max()
    )


@each_dtype
@each_gamma
@pytest.mark.parametrize("alpha", [0.25, None, 0.0, 1.0])
def test_every_finite_logit_has_finite_derivatives(gamma, alpha, dtype, isa):
    huge = float(np.finfo(dtype).max) / 8
    sizes = [0, 1e-30, 1, 40, 87, 88, 104, 400, 709, 746, 1000, 1e4, 1e30, huge]
    x, t = (
        np.array(a, dtype)
        for a in zip(*itertools.product([s * a for a in sizes for s in (1, -1)], [0, 1, 0.5, 0.125, 1e-7]), strict=True)
    )
    loss = lf.SigmoidFocalLoss(gamma=gamma, alpha=alpha, reduction="none")
    value, grads = loss.value_and_grad(x, t, wrt=("input", "target"))
    for part in (value, *grads, loss.grad_hess(x, t)[1]):
        assert np.isfinite(part).all()
    assert np.all(value >= 0)
    saturated = (t == (x > 0)) & (np.abs(x) >= 1000)
    assert not value[saturated].any()
    assert not grads[0][saturated].any()
    # far on the wrong side: the weight times the logit, with a slope of the weight
    wrong = (t == (x < 0)) & (np.abs(x) >= 1000)
    weight = np.where(t == 1, 1 if alpha is None else alpha, 1 if alpha is None else 1 - alpha)[wrong]
    np.testing.assert_allclose(value[wrong], weight * np.abs(x[wrong]), rtol=1e-6)
    np.testing.assert_allclose(grads[0][wrong], weight * np.sign(x[wrong]), rtol=1e-6)


@each_dtype
@each_gamma
def test_focal_limits(gamma, dtype, isa):
    """At an infinite logit: 0 on the right side, on the wrong one infinite with the slope of the weight."""
    x, t = np.array([inf, -inf, -inf, inf, inf, -inf], dtype), np.array([1, 0, 1, 0, 0.5, 0.5], dtype)
    loss = lf.SigmoidFocalLoss(gamma=gamma, reduction="none")
    value, (by_input, by_target) = loss.value_and_grad(x, t, wrt=("input", "target"))
    _, hess = loss.grad_hess(x, t)
    half = 0.5 * 0.5**gamma * 0.5
    np.testing.assert_array_equal(value, [0, 0, inf, inf, inf, inf])
    np.testing.assert_allclose(by_input, [0, 0, -0.25, 0.75, half, -half], rtol=1e-6)
    np.testing.assert_array_equal(hess, np.zeros(6))
    right = inf if gamma == 0 else 0  # -x of the cross entropy, which any power turns to 0
    # on the wrong side (2α - 1) u + a (1 + γ) decides, times |x|: with γ = 0 of t = 1 that is α - 1 + α < 0
    rate = 0.25 * (1 + gamma) - 0.5
    wrong = inf if rate > 0 else -inf if rate < 0 else 0
    np.testing.assert_array_equal(by_target[:3], [-right, right, wrong])
    assert by_target[3] == -inf  # -1/2 - 3/4 (1 + γ) < 0
    assert by_target[4] == -inf
    assert by_target[5] == inf
    # the limits are those of large logits
    far = np.where(x > 0, 1e4, -1e4).astype(dtype)
    near = loss.value_and_grad(far, t, wrt=("input", "target"))
    np.testing.assert_allclose(near[1][0], by_input, rtol=1e-6)
    np.testing.assert_array_equal(np.sign(near[1][1]), np.sign(by_target))
    for weightless in (0.0, 1.0):  # a weight of 0 also where the entropy is infinite
        label = 1 - weightless
        one = lf.SigmoidFocalLoss(alpha=weightless, gamma=gamma, reduction="none")
        for logit in (inf, -inf):
            value, grad = one.value_and_grad(np.array([logit], dtype), np.array([label], dtype))
            assert value[0] == 0
            assert grad[0] == 0


@each_dtype
@each_gamma
def test_nan(gamma, dtype, isa):
    x, t = np.array([nan, nan, 1, nan, inf], dtype), np.array([0, 1, nan, 0.5, nan], dtype)
    loss = lf.SigmoidFocalLoss(gamma=gamma, reduction="none")
    value, grads = loss.value_and_grad(x, t, wrt=("input", "target"))
    assert np.isnan([value, *grads, *loss.grad_hess(x, t)]).all()
    assert np.isnan(loss.grad_hess(x, t, curvature="unit")[1]).all()


@each_dtype
@each_gamma
def test_saturated_labels_keep_their_digits(gamma, dtype, isa):
    """The value is e^(-(1 + γ) z) to first order, and so is the slope, down to the smallest normal number."""
    smallest = -np.log(np.finfo(dtype).tiny)
    z = np.linspace(17, smallest / (1 + gamma) - 1, 60).astype(dtype)
    wide, power = z.astype(np.longdouble), np.longdouble(dtype(gamma))  # the kernel's own
    for sign, label in ((1, 1), (-1, 0)):
        value, grad = lf.SigmoidFocalLoss(gamma=gamma, alpha=None, reduction="none").value_and_grad(
            sign * z, np.full_like(z, label)
        )
        softplus, u = np.log1p(np.exp(-wide)), np.exp(-wide) / (1 + np.exp(-wide))
        np.testing.assert_allclose(value, (u**power * softplus).astype(float), rtol=8 * np.finfo(dtype).eps)
        slope = -sign * u**power * (u + power * (1 - u) * softplus)
        np.testing.assert_allclose(grad, slope.astype(float), rtol=8 * np.finfo(dtype).eps)


@each_gamma
def test_hessian_is_that_of_the_label(gamma, isa, rng):
    """With z = ±x, s = σ(-z): a s^γ (1 - s) [s + 2 γ s + γ softplus(-z) (γ (1 - s) - s)], negative where concave."""
    x = np.concatenate([5 * rng.standard_normal(300), [0.0]])
    for label, weight in ((1, 0.25), (0, 0.75)):
        z = x if label else -x
        s, softplus = special.expit(-z), -special.log_expit(z)
        p = 1 - s
        bracket = s + 2 * gamma * s + gamma * softplus * (gamma * p - s)
        expected = weight * s**gamma * p * bracket
        loss = lf.SigmoidFocalLoss(gamma=gamma, reduction="none")
        _, hess = loss.grad_hess(x, np.full_like(x, label))
        np.testing.assert_allclose(hess, expected, rtol=1e-11, atol=1e-14)
        assert (hess.min() < 0) == (gamma > 0)
        psd = loss.grad_hess(x, np.full_like(x, label), curvature="psd")[1]
        np.testing.assert_array_equal(psd, np.maximum(hess, np.finfo(float).eps))


def test_targets_outside_of_0_and_1(isa, rng):
    """They are not refused. Then u may be negative, whose powers are numbers for integers γ only."""
    x, t = 2 * rng.standard_normal(400), rng.uniform(-2, 3, 400)
    u = special.expit(x) * (1 - t) + special.expit(-x) * t
    assert (u < 0).any()
    for gamma in (0.0, 1.0, 2.0, 3.0, 4.0):
        found = lf.SigmoidFocalLoss(gamma=gamma, reduction="none").value_and_grad(x, t)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[0], published(x, t, gamma, 0.25, 0.75), rtol=1e-9, atol=1e-9)
    value, grad = lf.SigmoidFocalLoss(gamma=1.5, reduction="none").value_and_grad(x, t)
    np.testing.assert_array_equal(np.isnan(value), u < 0)
    np.testing.assert_array_equal(np.isnan(grad), u < 0)


def test_shapes_must_agree():
    loss = lf.SigmoidFocalLoss()
    with pytest.raises(ValueError, match=r"target has shape \(2,\); expected \(3, 2\), that of input"):
        loss(np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match=r"use target\.squeeze\(1\)"):
        loss.grad(np.zeros(3), np.zeros((3, 1)))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, -2, nan, inf])
def test_alpha_is_a_share(alpha):
    with pytest.raises(ValueError, match=r"alpha = .* is outside \[0, 1\]"):
        lf.SigmoidFocalLoss(alpha=alpha)


def test_other_parameters_are_refused():
    for alpha in ("0.25", [0.25], True):
        with pytest.raises(TypeError, match=r"alpha = .*; expected a real number"):
            lf.SigmoidFocalLoss(alpha=alpha)
    for gamma in (-0.5, nan, inf):
        with pytest.raises(ValueError, match=r"gamma = .* is outside \[0, inf\)"):
            lf.SigmoidFocalLoss(gamma=gamma)
    with pytest.raises(TypeError, match="gamma = None"):
        lf.SigmoidFocalLoss(gamma=None)
    for mode in ("Balanced", "", None, 1):
        with pytest.raises(ValueError, match=r"alpha_mode = .* is not one of 'balanced', 'constant'"):
            lf.SigmoidFocalLoss(alpha_mode=mode)
    with pytest.raises(ValueError, match="'fisher' is not defined for SigmoidFocalLoss"):
        lf.SigmoidFocalLoss().grad_hess([0.0], [1.0], curvature="fisher")
    with pytest.raises(ValueError, match="wrt = 'target': SigmoidFocalLoss has derivatives by input"):
        lf.SigmoidFocalLoss().grad_hess([0.0], [1.0], wrt="target")


def test_no_weights_are_shown():
    """-1 is torchvision's word for none."""
    assert lf.SigmoidFocalLoss(alpha=-1) == lf.SigmoidFocalLoss(alpha=None)
    assert lf.SigmoidFocalLoss(alpha=None) != lf.SigmoidFocalLoss()
    assert repr(lf.SigmoidFocalLoss(alpha=-1.0)) == "SigmoidFocalLoss(alpha=None)"
    assert repr(lf.SigmoidFocalLoss(gamma=1)) == "SigmoidFocalLoss(gamma=1.0)"
    again = pickle.loads(pickle.dumps(lf.SigmoidFocalLoss(alpha=None)))
    assert again == lf.SigmoidFocalLoss(alpha=None)
