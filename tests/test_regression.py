"""TukeyBiweightLoss: numbers, limits and refusals of it alone."""

import numpy as np
import pytest

import lossfast as lf
import lossfast.functional as F

inf, nan = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=("f32", "f64"))


@each_dtype
@pytest.mark.parametrize("c", [4.685, 1.0, 0.3, 20.0])
def test_biweight_by_hand(c, dtype, isa):
    r = np.linspace(-1.5 * c, 1.5 * c, 401).astype(dtype)
    t = np.full_like(r, 0.5)
    d = (r + t).astype(np.longdouble) - t
    u = (d / dtype(c)) ** 2
    inside = u <= 1
    value, grads, _ = F.tukey_biweight_loss.value_grad_hess(r + t, t, c=c, reduction="none", wrt=("input", "target"))
    tolerance = 32 * np.finfo(dtype).eps
    expected = c**2 / 6 * np.where(inside, 1 - (1 - u) ** 3, 1)
    np.testing.assert_allclose(value, expected.astype(float), rtol=tolerance, atol=1e-18 * c**2)
    np.testing.assert_allclose(grads[0], np.where(inside, d * (1 - u) ** 2, 0).astype(float), atol=tolerance * c)
    np.testing.assert_array_equal(grads[1], -grads[0])
    loss = lf.TukeyBiweightLoss(c=c, reduction="none")
    hess = loss.grad_hess(r + t, t)[1]
    np.testing.assert_allclose(hess, np.where(inside, (1 - u) * (1 - 5 * u), 0).astype(float), atol=tolerance)
    weight = loss.grad_hess(r + t, t, curvature="majorizer")[1]
    np.testing.assert_allclose(weight, np.where(inside, (1 - u) ** 2, 0).astype(float), atol=tolerance)
    np.testing.assert_allclose(
        weight * d.astype(float), grads[0], atol=tolerance * c
    )  # that of reweighted least squares
    assert hess.min() < 0
    assert loss.grad_hess(r + t, t, curvature="psd")[1].min() == np.finfo(dtype).eps


@each_dtype
def test_biweight_numbers(dtype, isa):
    """With c = 2: r = 1 has u = 1/4, so 2/3 · (1 - 27/64), (3/4)^2 and (3/4)(1 - 5/4)."""
    r, zero = np.array([0, 1, -1, 2, -2, 3, 100], dtype), np.zeros(7, dtype)
    value, grad, hess = lf.TukeyBiweightLoss(c=2.0, reduction="none").value_grad_hess(r, zero)
    one, flat = 2 / 3 * 37 / 64, 2 / 3
    np.testing.assert_allclose(value, [0, one, one, flat, flat, flat, flat], rtol=1e-6)
    np.testing.assert_allclose(grad, [0, 9 / 16, -9 / 16, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(hess, [1, -3 / 16, -3 / 16, 0, 0, 0, 0], rtol=1e-6)
    assert lf.TukeyBiweightLoss()(r[-1:], [0]) == pytest.approx(4.685**2 / 6, rel=1e-6)
    assert lf.TukeyBiweightLoss(c=2.0)(r[:4], zero[:4]) == pytest.approx((2 * one + flat) / 4, rel=1e-6)


@each_dtype
def test_near_0_it_is_half_the_square(dtype, isa):
    r = np.geomspace(1e-10, 1e-3, 50).astype(dtype)
    value, grad = lf.TukeyBiweightLoss(reduction="none").value_and_grad(r, np.zeros_like(r))
    np.testing.assert_allclose(value, r.astype(float) ** 2 / 2, rtol=1e-6 if dtype == np.float32 else 1e-7)
    np.testing.assert_allclose(grad, r, rtol=1e-6)


@each_dtype
def test_biweight_at_its_edge(dtype, isa):
    c = dtype(3)
    r = np.array([np.nextafter(c, dtype(0)), c, np.nextafter(c, dtype(9))])
    loss = lf.TukeyBiweightLoss(c=3.0, reduction="none")
    value, grad, hess = loss.value_grad_hess(r, np.zeros_like(r))
    np.testing.assert_array_equal(value, np.full(3, 1.5, dtype))
    np.testing.assert_array_equal(grad[1:], [0, 0])
    np.testing.assert_array_equal(hess[1:], [0, 0])
    assert 0 <= grad[0] < 1e-12
    assert -1e-5 < hess[0] <= 0


@each_dtype
def test_biweight_limits(dtype, isa):
    x, t = np.array([inf, -inf, 0, inf, nan, 1, 1e30], dtype), np.array([0, 0, inf, inf, 0, nan, 0], dtype)
    loss = lf.TukeyBiweightLoss(c=3.0, reduction="none")
    value, (by_input, by_target) = loss.value_and_grad(x, t, wrt=("input", "target"))
    np.testing.assert_array_equal(value, [1.5, 1.5, 1.5, nan, nan, nan, 1.5])
    np.testing.assert_array_equal(by_input, [0, 0, 0, nan, nan, nan, 0])
    np.testing.assert_array_equal(by_target, -by_input)
    for curvature in ("exact", "majorizer"):
        hess = loss.grad_hess(x, t, curvature=curvature)[1]
        np.testing.assert_array_equal(hess, [0, 0, 0, nan, nan, nan, 0])


@pytest.mark.parametrize("c", [0, 0.0, -1, -inf, inf, nan])
def test_c_is_positive(c):
    with pytest.raises(ValueError, match=r"c = .* is outside \(0, inf\)"):
        lf.TukeyBiweightLoss(c=c)


def test_c_is_a_number():
    for c in ("1", None, True, [1]):
        with pytest.raises(TypeError, match=r"c = .*; expected a real number"):
            lf.TukeyBiweightLoss(c=c)
    with pytest.raises(ValueError, match="'fisher' is not defined for TukeyBiweightLoss"):
        lf.TukeyBiweightLoss().grad_hess([0.0], [1.0], curvature="fisher")


def test_the_definition_of_integers_is_that_of_their_floats():
    for loss in (lf.HuberLoss(delta=0.5), lf.HuberLoss(delta=np.inf), lf.SmoothL1Loss(beta=0.5)):
        assert loss.reference([1, 2], [0, 0]) == loss([1, 2], [0, 0])
