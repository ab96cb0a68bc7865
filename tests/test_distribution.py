"""KLDivLoss, PoissonNLLLoss and GaussianNLLLoss: numbers, limits and refusals of these alone."""

import numpy as np
import pytest
from scipy import special, stats

import lossfast as lf
import lossfast.functional as F

inf, nan = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=("f32", "f64"))


def pointwise(loss, arrays, wrt, dtype=np.float64):
    """Value and gradients at one point."""
    value, grads = loss.value_and_grad(*(np.array([a], dtype) for a in arrays), wrt=wrt)
    return value[0], *(g[0] for g in grads)


# ---- Kullback-Leibler divergence ------------------------------------------------------------------------------------

P = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
Q = np.array([[0.9, 0.05, 0.05], [0.1, 0.7, 0.2]])


@each_dtype
def test_kl_numbers(dtype, isa):
    input, target = np.log(P).astype(dtype), Q.astype(dtype)
    expected = [[0.52901, -0.08959, -0.06931], [-0.06931, 0.59311, -0.18326]]
    np.testing.assert_allclose(lf.KLDivLoss(reduction="none")(input, target), expected, atol=1e-5)
    assert lf.KLDivLoss()(input, target) == pytest.approx(0.11844, abs=1e-5)
    assert lf.KLDivLoss(reduction="batchmean")(input, target) == pytest.approx(0.35532, abs=1e-5)
    assert F.kl_div(input, np.log(target), log_target=True, reduction="batchmean") == pytest.approx(0.35532, abs=1e-5)
    grad = F.kl_div.grad(input, target, reduction="batchmean")
    np.testing.assert_allclose(grad, -Q / 2, rtol=1e-6)
    by_target = F.kl_div.grad(input, target, reduction="none", wrt="target")
    np.testing.assert_allclose(by_target, np.log(Q / P) + 1, rtol=2e-6)


def test_kl_is_the_relative_entropy(rng):
    p, q = rng.dirichlet(np.ones(5), (2, 40))
    expected = special.rel_entr(q, p).sum() / 40
    loss = lf.KLDivLoss(reduction="batchmean")
    assert loss(np.log(p), q) == pytest.approx(expected, rel=1e-13)
    assert loss(np.log(p), p) == pytest.approx(0, abs=1e-15)
    value, grads = lf.KLDivLoss(reduction="none").value_and_grad(np.log(p), q, wrt=("input", "target"))
    logs = lf.KLDivLoss(log_target=True, reduction="none").value_and_grad(np.log(p), np.log(q), wrt=("input", "target"))
    np.testing.assert_allclose(logs[0], value, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(logs[1][0], grads[0], rtol=1e-14)
    np.testing.assert_allclose(logs[1][1], q * grads[1], rtol=1e-11, atol=1e-14)  # the chain rule


#: input, target, value, gradient by input, gradient by target
KL_LIMITS = [
    (-2, 0, 0, 0, -inf),
    (-inf, 0, 0, 0, -inf),
    (inf, 0, 0, 0, -inf),
    (-inf, 0.5, inf, -0.5, inf),
    (inf, 0.5, -inf, -0.5, -inf),
    (-2, inf, inf, -inf, inf),
    (-inf, inf, inf, -inf, inf),
    (-2, -1, nan, 1, nan),
    (nan, 0.5, nan, nan, nan),
    (nan, 0, nan, nan, nan),
    (-2, nan, nan, nan, nan),
]
KL_LOG_LIMITS = [
    (-2, -inf, 0, 0, 0),
    (-inf, -inf, 0, 0, 0),
    (inf, -inf, 0, 0, 0),
    (-inf, -1, inf, -np.exp(-1), inf),
    (-inf, -2000, inf, 0, inf),  # where the mass underflows
    (inf, -1, -inf, -np.exp(-1), -inf),
    (-2, inf, inf, -inf, inf),
    (2000, 2000, 0, -inf, inf),  # where it overflows
    (nan, -1, nan, nan, nan),
    (nan, -inf, nan, nan, nan),
    (-2, nan, nan, nan, nan),
]


@each_dtype
@pytest.mark.parametrize(
    ("log_target", "limit"), [(False, row) for row in KL_LIMITS] + [(True, row) for row in KL_LOG_LIMITS], ids=str
)
def test_kl_limits(log_target, limit, dtype, isa):
    loss = lf.KLDivLoss(log_target=log_target, reduction="none")
    found = pointwise(loss, limit[:2], ("input", "target"), dtype)
    np.testing.assert_allclose(found, limit[2:], rtol=1e-6)
    if abs(limit[1]) != 2000:  # the definition goes by the mass
        np.testing.assert_allclose(loss.reference(*np.array(limit[:2])), limit[2])


@each_dtype
def test_kl_hessians(dtype, isa):
    x, t = np.array([-1, -2, -3, -inf], dtype), np.array([0.5, 0, -1, 0.25], dtype)
    grads, hesses = lf.KLDivLoss(reduction="none").grad_hess(x, t, wrt=("input", "target"))
    np.testing.assert_array_equal(grads[0], -t)
    np.testing.assert_array_equal(hesses, [[0, 0, 0, 0], [2, inf, nan, 4]])
    t = np.array([-1, -inf, 0, -2], dtype)
    hess = lf.KLDivLoss(log_target=True, reduction="none").grad_hess(x, t, wrt=("input", "target"))[1]
    np.testing.assert_allclose(hess, [[0, 0, 0, 0], [2 * np.exp(-1), 0, 5, inf]], rtol=1e-6)
    _, psd = lf.KLDivLoss(reduction="none").grad_hess(x, t, curvature="psd")
    np.testing.assert_array_equal(psd, np.full(4, np.finfo(dtype).eps)[: len(psd)] + 0 * psd)


BATCHES = [((4,), (4,)), ((4, 3), (4, 3)), ((2, 3, 5), (2, 3, 5)), ((1, 3), (4, 3)), ((4, 3), (1, 3)), ((4, 3), (3,))]


@each_dtype
@pytest.mark.parametrize("shapes", BATCHES, ids=str)
def test_batchmean_divides_by_the_batch(shapes, dtype, rng):
    input, target = (rng.random(shape).astype(dtype) for shape in shapes)
    none, batchmean = lf.KLDivLoss(reduction="none"), lf.KLDivLoss(reduction="batchmean")
    each = none(input, target)
    rows = each.shape[0]
    eps = float(np.finfo(dtype).eps)
    assert batchmean(input, target) == pytest.approx(each.sum(dtype=float) / rows, rel=4 * eps)
    assert batchmean.reference(input, target) == pytest.approx(each.sum(dtype=float) / rows, rel=1e-5)
    for name, argument in (("input", input), ("target", target)):
        value, grad = batchmean.value_and_grad(input, target, wrt=name)
        assert value == batchmean(input, target)
        scale = np.broadcast_to(argument, each.shape).size / argument.size
        np.testing.assert_allclose(grad, none.grad(input, target, wrt=name) / rows, rtol=8 * eps * scale)
    np.testing.assert_allclose(
        batchmean.grad(input, target, grad_output=-3.0), -3 * batchmean.grad(input, target), rtol=4 * eps
    )
    if len(shapes[0]) == 1:
        assert batchmean(input, target) == lf.KLDivLoss()(input, target)


def test_batchmean_is_divided_by_what_the_batch_weighs(rng):
    input, target = rng.random((2, 4, 3))
    loss = lf.KLDivLoss(reduction="batchmean")
    per_row = lf.KLDivLoss(reduction="none")(input, target).sum(1)
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    expected = (weight * per_row).sum() / weight.sum()
    assert loss(input, target, sample_weight=weight[:, np.newaxis]) == pytest.approx(expected, rel=1e-14)
    assert loss.reference(input, target, sample_weight=weight[:, np.newaxis]) == pytest.approx(expected, rel=1e-14)
    grad = loss.grad(input, target, sample_weight=weight[:, np.newaxis])
    np.testing.assert_allclose(grad, -target * weight[:, np.newaxis] / weight.sum(), rtol=1e-14)
    assert loss(input, target, sample_weight=2) == pytest.approx(loss(input, target), rel=1e-15)
    assert np.isnan(loss(input, target, sample_weight=0))


def test_batchmean_of_few_elements():
    loss = lf.KLDivLoss(reduction="batchmean")
    value, grad = loss.value_and_grad(np.float64(-1), 0.5)
    assert value == pytest.approx(0.5 * (np.log(0.5) + 1), rel=1e-15)  # without axes nothing divides
    assert grad == -0.5
    assert grad.shape == ()
    assert loss(np.float64(-1), 0.5, sample_weight=4) == 4 * value
    assert loss(np.zeros(()), np.array(0.5)) == loss.reference(np.zeros(()), np.array(0.5))
    for shape, expected in (((0,), nan), ((0, 3), nan), ((3, 0), 0)):
        value, grad = loss.value_and_grad(np.zeros(shape), np.zeros(shape))
        assert value == pytest.approx(expected, nan_ok=True)
        assert grad.shape == shape
        assert loss(np.zeros(shape), np.zeros(shape), sample_weight=2.0) == pytest.approx(expected, nan_ok=True)
        assert loss.reference(np.zeros(shape), np.zeros(shape)) == pytest.approx(expected, nan_ok=True)


def test_batchmean_is_of_kl_alone():
    for cls in (lf.MSELoss, lf.PoissonNLLLoss, lf.GaussianNLLLoss, lf.CrossEntropyLoss):
        with pytest.raises(ValueError, match="reduction = 'batchmean' is not one of 'mean', 'sum', 'none'"):
            cls(reduction="batchmean")
    with pytest.raises(ValueError, match="'none', 'batchmean'"):
        lf.KLDivLoss(reduction="batch")


@pytest.mark.parametrize("value", [1, 0, "True", None, 1.0])
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (lf.KLDivLoss, "log_target"),
        (lf.PoissonNLLLoss, "log_input"),
        (lf.PoissonNLLLoss, "full"),
        (lf.GaussianNLLLoss, "full"),
    ],
)
def test_flags_are_true_or_false(cls, name, value):
    with pytest.raises(TypeError, match=f"{name} = {value!r} is of type .*; expected True or False"):
        cls(**{name: value})
    assert cls(**{name: np.True_}) == cls(**{name: True})


# ---- Poisson --------------------------------------------------------------------------------------------------------


@each_dtype
def test_poisson_by_hand(dtype, isa, rng):
    x, t = rng.standard_normal(200).astype(dtype), rng.poisson(3, 200).astype(dtype)
    value, (by_input, by_target) = lf.PoissonNLLLoss(reduction="none").value_and_grad(x, t, wrt=("input", "target"))
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(value, np.exp(x) - t * x, rtol=rtol, atol=rtol * 20)
    np.testing.assert_allclose(by_input, np.exp(x) - t, rtol=rtol, atol=rtol * 20)
    np.testing.assert_array_equal(by_target, -x)
    rate = np.exp(x)
    value, (by_input, by_target) = lf.PoissonNLLLoss(log_input=False, reduction="none").value_and_grad(
        rate, t, wrt=("input", "target")
    )
    logs = np.log(rate.astype(np.longdouble) + 1e-8).astype(float)
    np.testing.assert_allclose(value, rate - t * logs, rtol=rtol, atol=rtol * 20)
    np.testing.assert_allclose(by_input, 1 - t / (rate + 1e-8), rtol=rtol, atol=rtol * (1 + t / rate).max())
    np.testing.assert_allclose(by_target, -logs, rtol=rtol)


def test_poisson_is_the_log_likelihood(rng):
    """Stirling's formula misses log t! by less than 1/(12 t)."""
    x, t = rng.standard_normal(300), rng.poisson(20, 300).astype(float)
    full = lf.PoissonNLLLoss(full=True, reduction="none")(x, t)
    exact = -stats.poisson.logpmf(t, np.exp(x))
    assert np.all(np.abs(full - exact)[t > 1] <= 1 / (12 * t[t > 1]) + 1e-12)
    plain = lf.PoissonNLLLoss(reduction="none")(x, t)
    np.testing.assert_array_equal(full[t <= 1], plain[t <= 1])
    rates = lf.PoissonNLLLoss(log_input=False, full=True, eps=0.0, reduction="none")(np.exp(x), t)
    np.testing.assert_allclose(rates, full, rtol=1e-11, atol=1e-11)


@each_dtype
@pytest.mark.parametrize("log_input", [False, True])
def test_derivatives_of_stirlings_formula(log_input, dtype, isa):
    """They are there where it is, beyond 1; PyTorch's is NaN for t of 0 and less."""
    above = np.nextafter(dtype(1), dtype(2))
    t = np.array([-3, -0.5, 0, 0.25, 1, above, 2, 30, 1e6], dtype)
    x = np.full_like(t, 1 if log_input else np.e)
    arguments = {"log_input": log_input, "eps": 0.0, "reduction": "none"}
    plain, full = (lf.PoissonNLLLoss(full=f, **arguments) for f in (False, True))
    inside = t > 1
    sizes = np.where(inside, t, 2).astype(float)
    expected = np.where(inside, sizes * np.log(sizes) - sizes + np.log(2 * np.pi * sizes) / 2, 0)
    found = full(x, t).astype(float) - plain(x, t)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-6)
    grads, hesses = full.grad_hess(x, t, wrt=("input", "target"))
    np.testing.assert_array_equal(grads[0], plain.grad(x, t))
    slope = np.where(inside, np.log(sizes) + 0.5 / sizes, 0) - 1
    np.testing.assert_allclose(grads[1], slope, rtol=1e-5, atol=4 * np.finfo(dtype).eps)
    bend = np.where(inside, 1 / sizes - 0.5 / sizes**2, 0)
    np.testing.assert_allclose(hesses[1], bend, rtol=4 * np.finfo(dtype).eps)


#: log_input, full, input, target, value, gradient by input, gradient by target
POISSON_LIMITS = [
    (True, False, -inf, 0, 0, 0, inf),
    (True, True, -inf, 0, 0, 0, inf),
    (True, False, -inf, 2, inf, -2, inf),
    (True, False, -inf, -2, -inf, 2, inf),
    (True, False, inf, 2, inf, inf, -inf),
    (True, False, inf, 0, inf, inf, -inf),
    (True, True, inf, 2, inf, inf, -inf),
    (True, False, 2000, 3, inf, inf, -2000),
    (True, False, 1, inf, -inf, -inf, -1),
    (True, False, -1, inf, inf, -inf, 1),
    (True, False, 0, inf, 1, -inf, 0),
    (True, True, 1, inf, inf, -inf, inf),
    (True, False, inf, inf, nan, nan, -inf),
    (False, False, 0, 0, 0, 1, -np.log(1e-8)),
    (False, False, inf, 2, inf, 1, -inf),
    (False, False, inf, 0, inf, 1, -inf),
    (False, True, inf, 2, inf, 1, -inf),
    (False, False, 1e30, 0, 1e30, 1, -30 * np.log(10)),
    (False, False, 2, inf, -inf, -inf, -np.log(2)),
    (False, False, 0.5, inf, inf, -inf, np.log(2)),
    (False, True, 2, inf, inf, -inf, inf),
    (False, False, -1, 3, nan, 4, nan),  # below -eps
    (False, False, -1, 0, nan, 1, nan),
    (True, False, nan, 0, nan, nan, nan),
    (True, False, 1, nan, nan, nan, nan),
    (True, True, nan, 3, nan, nan, nan),
    (True, True, 1, nan, nan, nan, nan),
    (False, False, nan, 0, nan, nan, nan),
    (False, False, nan, 3, nan, nan, nan),
    (False, True, 1, nan, nan, nan, nan),
]


@each_dtype
@pytest.mark.parametrize("limit", POISSON_LIMITS, ids=str)
def test_poisson_limits(limit, dtype, isa):
    log_input, full, *point = limit
    loss = lf.PoissonNLLLoss(log_input=log_input, full=full, reduction="none")
    found = pointwise(loss, point[:2], ("input", "target"), dtype)
    np.testing.assert_allclose(found, point[2:], rtol=1e-6)


@each_dtype
def test_poisson_at_a_rate_of_minus_eps(dtype, isa):
    """The logarithm is -inf there; without a count it does not matter, and without eps that is a rate of 0."""
    for x, eps in ((-0.5, 0.5), (0.0, 0.0)):
        loss = lf.PoissonNLLLoss(log_input=False, eps=eps, reduction="none")
        np.testing.assert_array_equal(pointwise(loss, (x, 3), ("input", "target"), dtype), [inf, -inf, inf])
        np.testing.assert_array_equal(pointwise(loss, (x, 0), ("input", "target"), dtype), [x, 1, inf])


@each_dtype
def test_poisson_curvatures(dtype, isa):
    x, t = np.array([0.5, 1, 2, 4], dtype), np.array([0, 1, 2, 7], dtype)
    loss = lf.PoissonNLLLoss(reduction="none")
    for curvature in ("exact", "fisher", "psd"):
        np.testing.assert_allclose(loss.grad_hess(x, t, curvature=curvature)[1], np.exp(x), rtol=1e-6)
    loss = lf.PoissonNLLLoss(log_input=False, eps=0.5, reduction="none")
    np.testing.assert_allclose(loss.grad_hess(x, t)[1], t / (x + 0.5) ** 2, rtol=1e-6)
    np.testing.assert_allclose(loss.grad_hess(x, t, curvature="fisher")[1], 1 / (x + 0.5), rtol=1e-6)
    psd = loss.grad_hess(x, t, curvature="psd")[1]
    assert psd[0] == np.finfo(dtype).eps
    assert np.all(psd > 0)
    np.testing.assert_array_equal(loss.grad_hess(x, t, curvature="unit")[1], np.ones(4))
    for curvature in ("exact", "fisher"):
        by_target = lf.PoissonNLLLoss(full=True, reduction="none").grad_hess(x, t, wrt="target", curvature=curvature)[1]
        np.testing.assert_allclose(by_target, [0, 0, 1 / 2 - 1 / 8, 1 / 7 - 1 / 98], rtol=1e-6)
    with pytest.raises(ValueError, match="'majorizer' is not defined for PoissonNLLLoss"):
        loss.grad_hess(x, t, curvature="majorizer")


@pytest.mark.parametrize("cls", [lf.PoissonNLLLoss, lf.GaussianNLLLoss])
def test_eps_is_not_negative(cls):
    for eps in (-1e-9, -inf, nan):
        with pytest.raises(ValueError, match=r"eps = .* is outside \[0, inf\]"):
            cls(eps=eps)
    with pytest.raises(TypeError, match="expected a real number"):
        cls(eps="1")


# ---- normal ---------------------------------------------------------------------------------------------------------


@each_dtype
def test_gaussian_by_hand(dtype, isa, rng):
    x, t, var = (a.astype(dtype) for a in (*rng.standard_normal((2, 200)), rng.uniform(0.1, 3, 200)))
    loss = lf.GaussianNLLLoss(full=True, reduction="none")
    value, (by_input, by_target, by_var) = loss.value_and_grad(x, t, var, wrt=("input", "target", "var"))
    wide = [a.astype(float) for a in (x, t, var)]
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(value, -stats.norm.logpdf(wide[1], wide[0], np.sqrt(wide[2])), rtol=rtol, atol=rtol * 10)
    np.testing.assert_allclose(by_input, (wide[0] - wide[1]) / wide[2], rtol=rtol)
    np.testing.assert_array_equal(by_target, -by_input)
    d, v = wide[0] - wide[1], wide[2]
    np.testing.assert_allclose(by_var, (1 / v - d**2 / v**2) / 2, rtol=rtol, atol=rtol * 100)
    constant = np.log(2 * np.pi) / 2
    plain = lf.GaussianNLLLoss(reduction="none")
    np.testing.assert_allclose(value - plain(x, t, var), constant, rtol=1e-5)
    for curvature, of_mean, of_var in (
        ("exact", 1 / v, d**2 / v**3 - 1 / (2 * v**2)),
        ("fisher", 1 / v, 1 / (2 * v**2)),
        ("unit", np.ones(200), np.ones(200)),
    ):
        grads, hesses = plain.grad_hess(x, t, var, wrt=("input", "target", "var"), curvature=curvature)
        np.testing.assert_array_equal(grads, (by_input, by_target, by_var))
        np.testing.assert_allclose(hesses[0], of_mean, rtol=rtol)
        np.testing.assert_array_equal(hesses[0], hesses[1])
        np.testing.assert_allclose(hesses[2], of_var, rtol=rtol, atol=rtol * (curvature == "exact") * 1e3)
    default = plain.grad_hess(x, t, var)
    assert [len(part) for part in default] == [2, 2]
    np.testing.assert_array_equal(default[1][1], plain.grad_hess(x, t, var, wrt="var")[1])
    psd = plain.grad_hess(x, t, var, curvature="psd")[1]
    assert min(part.min() for part in psd) == np.finfo(dtype).eps


def test_gaussian_differentiates_by_what_the_model_predicts(rng):
    x, t = rng.standard_normal((2, 6, 3))
    var = rng.uniform(0.5, 2, (6, 3))
    loss = lf.GaussianNLLLoss()
    value, grads = loss.value_and_grad(x, t, var)
    assert isinstance(grads, tuple)
    by_input, by_var = grads
    np.testing.assert_array_equal(by_input, loss.grad(x, t, var, wrt="input"))
    np.testing.assert_array_equal(by_var, loss.grad(x, t, var, wrt="var"))
    np.testing.assert_array_equal(loss.grad(x, t, var, wrt=("var", "input")), (by_var, by_input))
    assert value == F.gaussian_nll_loss(x, t, var)
    # a number is a constant
    for constant in (2, 2.0, np.float64(2)):
        for method in ("value_and_grad", "grad_hess"):
            for part in getattr(loss, method)(x, t, constant)[-1:]:
                assert type(part) is np.ndarray
        value, grad = loss.value_and_grad(x, t, constant)
        expected = loss.value_and_grad(x, t, np.full((6, 3), 2.0), wrt="input")
        assert value == pytest.approx(expected[0], rel=1e-15)
        np.testing.assert_array_equal(grad, expected[1])
        np.testing.assert_array_equal(loss.grad(x, t, constant, wrt="target"), -grad)
        assert loss.reference(x, t, constant) == pytest.approx(value, rel=1e-14)
        both = loss.grad(x, t, constant, wrt=("input", "target"))
        np.testing.assert_array_equal(both, (grad, -grad))
        for wrt in ("var", ("input", "var"), ["var"]):
            with pytest.raises(ValueError, match="var is a number, a constant: give an array"):
                loss.grad(x, t, constant, wrt=wrt)
    with pytest.raises(ValueError, match="wrt = 'mean': GaussianNLLLoss has derivatives by"):
        loss.grad(x, t, 2.0, wrt="mean")


def test_precision_of_a_gaussian_loss(rng):
    """The predictions decide, the variance among them; a number does not."""
    x, t = rng.standard_normal((2, 5)).astype(np.float32)
    loss = lf.GaussianNLLLoss(reduction="none")
    assert loss(x, t, 0.1).dtype == np.float32
    assert loss.grad(x.astype(np.float16), t, 0.1).dtype == np.float16
    assert loss(x.astype(np.float64), t, 0.1)[0] == loss(x.astype(np.float64), t, np.full(5, 0.1))[0]
    assert loss(x, t, 0.1)[0] == loss(x, t, np.full(5, 0.1, np.float32))[0]
    value, (by_input, by_var) = loss.value_and_grad(x, t, np.full(5, 0.1))
    assert (value.dtype, by_input.dtype, by_var.dtype) == (np.float64, np.float32, np.float64)
    by_input, by_var = loss.grad(x, t.astype(np.float64), [1, 2, 3, 4, 5])
    assert (by_input.dtype, by_var.dtype) == (np.float32, np.float64)


#: input and what var may look like
VAR_SHAPES = [
    ((4, 2, 3), (4, 2, 3)),
    ((4, 2, 3), (4, 2)),
    ((4, 2, 3), (4, 2, 1)),
    ((4, 2, 3), (1, 2, 3)),
    ((4, 2, 3), (4, 1, 3)),
    ((5,), (5,)),
    ((5,), (1,)),
    ((5,), ()),
    ((), ()),
    ((1, 3), (1,)),
    ((3, 1), (3,)),
]


@each_dtype
@pytest.mark.parametrize(("shape", "var_shape"), VAR_SHAPES, ids=str)
def test_variances_of_every_shape(shape, var_shape, dtype, isa, rng):
    """The gradient by the variance has its shape, and is a sum where it was broadcast."""
    x, t = rng.standard_normal((2, *shape)).astype(dtype)
    x, t = np.asarray(x), np.asarray(t)
    var = np.asarray(rng.uniform(0.5, 2, var_shape).astype(dtype))
    laid_out = var.reshape((*var_shape, 1)) if var_shape == shape[:-1] and var_shape != shape else var
    whole = np.broadcast_to(laid_out, shape).copy()
    axes = tuple(k for k in range(len(shape)) if laid_out.shape[k] != shape[k])
    for reduction in ("none", "mean", "sum"):
        loss = lf.GaussianNLLLoss(reduction=reduction)
        value, (by_input, by_var), (bend, bend_var) = loss.value_grad_hess(x, t, var)
        expected = loss.value_grad_hess(x, t, whole)
        np.testing.assert_array_equal(value, expected[0])
        np.testing.assert_array_equal(by_input, expected[1][0])
        np.testing.assert_array_equal(bend, expected[2][0])
        for found, each in ((by_var, expected[1][1]), (bend_var, expected[2][1])):
            assert found.shape == var_shape
            assert found.dtype == dtype
            total = each.sum(axis=axes, dtype=float).reshape(var_shape)
            np.testing.assert_allclose(found, total, rtol=1e-5 if dtype == np.float32 else 1e-12)
        outs = np.full_like(x, 7), np.full_like(var, 7)
        got = loss.grad(x, t, var, out=outs)
        assert got[0] is outs[0]
        assert got[1] is outs[1]
        np.testing.assert_array_equal(outs[1], by_var)
        assert loss.reference(x, t, var) == pytest.approx(value, rel=1e-4 if dtype == np.float32 else 1e-12)


def test_means_and_targets_of_several_shapes(rng):
    """Input and target broadcast; the variance goes by the input."""
    x, t, var = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.uniform(0.5, 2, 4)
    loss = lf.GaussianNLLLoss(reduction="sum")
    value, (by_input, by_target, by_var) = loss.value_and_grad(x, t, var, wrt=("input", "target", "var"))
    expected = loss.value_and_grad(x, np.tile(t, (4, 1)), np.repeat(var[:, np.newaxis], 3, 1), wrt=("target", "var"))
    assert value == expected[0]
    np.testing.assert_allclose(by_target, expected[1][0].sum(0), rtol=1e-13)
    np.testing.assert_allclose(by_var, expected[1][1].sum(1), rtol=1e-13)
    value, (by_input, by_var) = loss.value_and_grad(t, x, var[:3])
    expected = loss.value_and_grad(np.tile(t, (4, 1)), x, np.tile(var[:3], (4, 1)))
    assert value == expected[0]
    np.testing.assert_allclose(by_input, expected[1][0].sum(0), rtol=1e-13)
    np.testing.assert_allclose(by_var, expected[1][1].sum(0), rtol=1e-13)


@pytest.mark.parametrize(
    ("shape", "var_shape", "mend"),
    [
        ((2, 3), (3,), r"use np\.broadcast_to\(var, \(2, 3\)\)"),
        ((2, 3), (1, 1), r"use np\.broadcast_to\(var, \(2, 3\)\)"),
        ((2, 3), (), r"use np\.broadcast_to\(var, \(2, 3\)\)"),
        ((4, 2, 3), (4, 1, 1), r"use np\.broadcast_to\(var, \(4, 2, 3\)\)"),
        ((4, 2, 3), (4, 1), None),
        ((5,), (4,), None),
        ((5,), (5, 1), None),
        ((), (1,), None),
        ((2, 3), (2, 3, 1), None),
        ((2, 3), (3, 2), None),
    ],
)
def test_variances_that_do_not_fit_are_refused(shape, var_shape, mend):
    x, out = np.zeros(shape), np.full(shape, 7.0)
    loss = lf.GaussianNLLLoss()
    for call in (
        lambda var: loss(x, x, var),
        lambda var: loss.value_and_grad(x, x, var),
        lambda var: loss.grad(x, x, var, wrt="input", out=out),
    ):
        with pytest.raises(ValueError, match=r"var has shape .*; expected .*, that of input") as caught:
            call(np.ones(var_shape))
        assert str(var_shape) in str(caught.value)
        assert str(shape) in str(caught.value)
    if mend:
        assert caught.match(mend)
    else:
        assert "use " not in str(caught.value)
    assert np.all(out == 7)


@each_dtype
def test_negative_variances_are_refused(dtype, isa):
    x = np.zeros((3, 2), dtype)
    loss = lf.GaussianNLLLoss()
    var = np.ones((3, 2), dtype)
    var[1, 1] = -0.5
    hint = ": a variance is not negative"
    for reduction in ("none", "mean"):
        with pytest.raises(ValueError, match=rf"var\[1, 1\] = -0\.5 is outside \[0, inf\]{hint}"):
            lf.GaussianNLLLoss(reduction=reduction).value_and_grad(x, x, var)
    with pytest.raises(ValueError, match=r"var\[1, 0\] = -1\.0 is outside"):
        loss(x, x, np.array([[1], [-1], [1]], dtype))
    with pytest.raises(ValueError, match=r"var\[2\] = -1\.0 is outside"):  # the caller's index
        loss.grad(x, x, np.array([1, 2, -1], dtype))
    with pytest.raises(ValueError, match=r"var = -2\.0 is outside"):
        loss.grad(x, x, -2)
    with pytest.raises(ValueError, match=r"var\[0, 0\] = -inf is outside"):
        loss(x, x, np.full((3, 2), -inf, dtype))
    # what would be overwritten is checked first
    inputs = x.copy(), np.ones((3, 2), dtype), var.copy()
    before = [a.copy() for a in inputs]
    with pytest.raises(ValueError, match="is outside"):
        loss.grad(*inputs, out=(inputs[0], inputs[2]))
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
    var[1, 1] = nan  # no number is negative
    value, grads = lf.GaussianNLLLoss(reduction="none").value_and_grad(x, x, var)
    assert np.isnan([value[1, 1], grads[0][1, 1], grads[1][1, 1]]).all()
    assert np.isfinite(np.delete(value.ravel(), 3)).all()
    assert np.isnan(loss(x, x, nan))
    var[1, 1] = -0.0
    assert np.isfinite(loss(x, x, var))


@each_dtype
def test_the_gradient_by_a_small_variance_is_that_at_eps(dtype, isa):
    """PyTorch's: at v = max(var, eps) and not 0 below eps."""
    x, t = np.array([0, 0, 1], dtype), np.zeros(3, dtype)
    var = np.array([0, 1e-9, 1e-7], dtype)
    loss = lf.GaussianNLLLoss(reduction="none")
    value, (by_input, by_var) = loss.value_and_grad(x, t, var)
    np.testing.assert_allclose(value, [np.log(1e-6) / 2, np.log(1e-6) / 2, (np.log(1e-6) + 1e6) / 2], rtol=1e-6)
    np.testing.assert_allclose(by_input, [0, 0, 1e6], rtol=1e-6)
    np.testing.assert_allclose(by_var, [5e5, 5e5, (1e6 - 1e12) / 2], rtol=1e-6)
    other = lf.GaussianNLLLoss(eps=0.25, reduction="none").value_and_grad(x, t, var)
    np.testing.assert_allclose(other[0], [np.log(0.25) / 2, np.log(0.25) / 2, (np.log(0.25) + 4) / 2], rtol=1e-6)
    np.testing.assert_allclose(other[1][1], [2, 2, -6], rtol=1e-6)


#: input, target, var (with eps 0), value, gradient by input, by var
GAUSSIAN_LIMITS = [
    (inf, 0, 1, inf, inf, -inf),
    (-inf, 0, 1, inf, -inf, -inf),
    (0, inf, 2, inf, -inf, -inf),
    (1, 0, inf, inf, 0, 0),
    (inf, inf, 1, nan, nan, nan),
    (inf, 0, inf, nan, nan, nan),
    (1, 0, 0, inf, inf, -inf),
    (-1, 0, 0, inf, -inf, -inf),
    (0, 0, 0, nan, nan, nan),
    (1e30, 0, 1e37, 0.5 * (37 * np.log(10) + 1e23), 1e-7, 0.5e-37 - 0.5e-14),  # d * d overflows in float32
    (nan, 0, 1, nan, nan, nan),
    (0, nan, 1, nan, nan, nan),
    (0, 0, nan, nan, nan, nan),
]


@each_dtype
@pytest.mark.parametrize("limit", GAUSSIAN_LIMITS, ids=str)
def test_gaussian_limits(limit, dtype, isa):
    loss = lf.GaussianNLLLoss(eps=0.0, reduction="none")
    found = pointwise(loss, limit[:3], ("input", "var"), dtype)
    np.testing.assert_allclose(found, limit[3:], rtol=1e-6)


def test_half_precision_and_integers():
    x, t = np.array([1, 2, 3], np.float16), np.array([0, 2, 5])
    loss = lf.GaussianNLLLoss()
    value, (by_input, by_var) = loss.value_and_grad(x, t, np.array([1, 2, 4], np.float16))
    assert by_input.dtype == by_var.dtype == np.float16
    np.testing.assert_allclose(by_var, [0, 1 / 12, 0], atol=1e-3)
    assert value == pytest.approx((np.log(2) + np.log(4) + 1 + 1) / 6, rel=1e-6)
    counts = lf.PoissonNLLLoss().grad(np.array([0, 1]), np.array([1, 0]))
    assert counts.dtype == np.float64
    np.testing.assert_allclose(counts, [0, np.e / 2], rtol=1e-14)
