"""Values and gradients against 50 digits, where formulas in float64 would cancel or overflow."""

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

import lossfast as lf

DTYPES = (np.float32, np.float64)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


def error(actual, exact, dtype):
    """Units in the last place of the exact number; subnormal results may be flushed to zero."""
    exact = mpf(exact)
    if exact == 0:
        return 0.0 if actual == 0 else np.inf
    info = np.finfo(dtype)
    exponent = max(mpmath.frexp(abs(exact))[1] - 1, info.minexp)
    unit = mpmath.ldexp(1, exponent - info.nmant)
    if abs(exact) < float(info.smallest_normal):
        return float(abs(mpf(float(actual)) - exact) / float(info.smallest_normal))
    return float(abs(mpf(float(actual)) - exact) / unit)


def worst(actual, exact, dtype):
    errors = [error(a, e, dtype) for a, e in zip(np.ravel(actual), exact, strict=True)]
    return max(errors), int(np.argmax(errors))


def assert_within(bound, actual, exact, dtype, of):
    largest, at = worst(actual, exact, dtype)
    assert largest <= bound, (
        f"{largest:.2f} ULP at {at}: {np.ravel(actual)[at]!r}, exactly {mpmath.nstr(exact[at], 20)}"
    )


def logits(dtype, rng):
    """To where the exponential leaves the normal numbers, with more around 0, and where softplus changes its form."""
    far = 80 if dtype == np.float32 else 700
    return np.concatenate(
        [rng.uniform(-far, far, 200), rng.standard_normal(200), rng.uniform(-20, 20, 200), np.linspace(-1e-3, 1e-3, 21)]
    ).astype(dtype)


def log1p_exp(x):
    return mpmath.log1p(mpmath.exp(x))


@each_dtype
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("pos_weight", [None, 3.0])
def test_binary_cross_entropy_of_logits(*, dtype, label, pos_weight, isa, rng):
    x = logits(dtype, rng)
    loss = lf.BCEWithLogitsLoss(pos_weight=pos_weight, reduction="none")
    value, grad, hess = loss.value_grad_hess(x, np.full_like(x, label))
    weight = mpf(pos_weight or 1) if label else mpf(1)
    sign = 1 if label else -1
    exact = [
        (weight * log1p_exp(-sign * mpf(float(a))), -sign * weight / (1 + mpmath.exp(sign * mpf(float(a))))) for a in x
    ]
    assert_within(4, value, [v for v, _ in exact], dtype, "value")
    assert_within(4, grad, [g for _, g in exact], dtype, "gradient")
    curvatures = [weight / ((1 + mpmath.exp(a)) * (1 + mpmath.exp(-a))) for a in map(mpf, map(float, x))]
    assert_within(6, hess, curvatures, dtype, "Hessian")


@each_dtype
@pytest.mark.parametrize("label", [-1, 1])
def test_soft_margin(dtype, label, isa, rng):
    """And the terms of the mean over a row, which are those of binary cross entropy: one label, one term."""
    x = logits(dtype, rng)
    value, grad, hess = lf.SoftMarginLoss(reduction="none").value_grad_hess(x, np.full_like(x, label))
    terms = [(log1p_exp(-label * a), -label / (1 + mpmath.exp(label * a))) for a in map(mpf, map(float, x))]
    curvatures = [1 / ((1 + mpmath.exp(a)) * (1 + mpmath.exp(-a))) for a in map(mpf, map(float, x))]
    assert_within(4, value, [v for v, _ in terms], dtype, "value")
    assert_within(4, grad, [g for _, g in terms], dtype, "gradient")
    assert_within(6, hess, curvatures, dtype, "Hessian")
    row = lf.MultiLabelSoftMarginLoss(reduction="none")
    single = row.value_grad_hess(x[:, np.newaxis], np.full((x.size, 1), label > 0, dtype))
    assert_within(4, single[0], [v for v, _ in terms], dtype, "value")
    assert_within(4, single[1], [g for _, g in terms], dtype, "gradient")
    assert_within(6, single[2], curvatures, dtype, "Hessian")
    value, grad = row.value_and_grad(x, np.full_like(x, label > 0))
    assert error(value, mpmath.fsum(v for v, _ in terms) / x.size, dtype) <= 4
    assert_within(5, grad, [g / x.size for _, g in terms], dtype, "gradient")


@each_dtype
def test_binary_cross_entropy_of_logits_with_soft_targets(dtype, isa, rng):
    x = logits(dtype, rng)
    t = rng.random(x.size).astype(dtype)
    value, (grad, by_target) = lf.BCEWithLogitsLoss(reduction="none").value_and_grad(x, t, wrt=("input", "target"))
    for k in range(0, x.size, 3):
        a, b = mpf(float(x[k])), mpf(float(t[k]))
        assert error(value[k], (1 - b) * log1p_exp(a) + b * log1p_exp(-a), dtype) <= 4
        positive, negative = b / (1 + mpmath.exp(a)), (1 - b) / (1 + mpmath.exp(-a))
        unit = float(np.spacing(dtype(max(positive, negative))))
        assert abs(mpf(float(grad[k])) - (negative - positive)) <= 4 * unit
        assert by_target[k] == -x[k]


@each_dtype
@pytest.mark.parametrize("label", [0, 1])
def test_binary_cross_entropy_of_probabilities(*, dtype, label, isa, rng):
    eps = np.finfo(dtype).eps
    x = np.concatenate([rng.random(300), 10.0 ** -rng.uniform(0, 5, 100), 1 - eps * np.arange(1, 50), [0.5]]).astype(
        dtype
    )
    loss = lf.BCELoss(reduction="none")
    value, grad, hess = loss.value_grad_hess(x, np.full_like(x, label))
    exact = [mpf(float(a)) if label else 1 - mpf(float(a)) for a in x]
    assert_within(4, value, [-mpmath.log(p) for p in exact], dtype, "value")
    # above the bound on x (1 - x)
    slopes = [
        (-1 if label else 1) / p if p * (1 - p) > 1e-11 else mpf(float(g)) for p, g in zip(exact, grad, strict=True)
    ]
    assert_within(4, grad, slopes, dtype, "gradient")
    assert_within(4, hess, [1 / p**2 for p in exact], dtype, "Hessian")


@each_dtype
@pytest.mark.parametrize("edge", [0.3, 1.0, 2.5])
def test_losses_of_a_difference(*, dtype, edge, isa, rng):
    x = (5 * rng.standard_normal(400)).astype(dtype)
    t = np.concatenate([5 * rng.standard_normal(200), x[200:] * (1 + 1e-3 * rng.standard_normal(200))]).astype(dtype)
    d = [mpf(float(a)) - mpf(float(b)) for a, b in zip(x, t, strict=True)]
    edge_exact = mpf(float(dtype(edge)))
    inside = [abs(a) < edge_exact for a in d]
    signs = [mpmath.sign(a) for a in d]
    value, grad = lf.HuberLoss(delta=edge, reduction="none").value_and_grad(x, t)
    exact = [a * a / 2 if i else edge_exact * (abs(a) - edge_exact / 2) for a, i in zip(d, inside, strict=True)]
    assert_within(4, value, exact, dtype, "value")
    assert_within(
        4, grad, [a if i else s * edge_exact for a, i, s in zip(d, inside, signs, strict=True)], dtype, "gradient"
    )
    value, grad = lf.SmoothL1Loss(beta=edge, reduction="none").value_and_grad(x, t)
    assert_within(4, value, [e / edge_exact for e in exact], dtype, "value")
    assert_within(
        4, grad, [a / edge_exact if i else s for a, i, s in zip(d, inside, signs, strict=True)], dtype, "gradient"
    )
    value, grad = lf.MSELoss(reduction="none").value_and_grad(x, t)
    assert_within(4, value, [a * a for a in d], dtype, "value")
    assert_within(4, grad, [2 * a for a in d], dtype, "gradient")
    value, grad = lf.L1Loss(reduction="none").value_and_grad(x, t)
    assert_within(1, value, [abs(a) for a in d], dtype, "value")
    assert_within(0, grad, signs, dtype, "gradient")


def softmax_exactly(row):
    """log(sum exp) less each logit, and probabilities, without cancellation."""
    row = [mpf(float(a)) for a in row]
    powers = [mpmath.exp(a - max(row)) for a in row]
    total = mpmath.fsum(powers)
    return row, powers, total


def rows_of_logits(dtype, classes, rng):
    """Rows in which the label's probability goes to 1 in steps, to 0, and neither; the differences are exact.

    Whole and half logits: x - max then has no rounding of its own, which its exponential would multiply.
    """
    far = 80 if dtype == np.float32 else 700
    gaps = np.unique(np.concatenate([np.linspace(0, far, 24), np.linspace(0, 40, 12)]).round())
    x = np.rint(2 * rng.standard_normal((3 * gaps.size, classes))) / 2
    labels = rng.integers(0, classes, x.shape[0])
    rows = np.arange(gaps.size)
    top = x.max(axis=1)
    x[rows, labels[rows]] = top[rows] + gaps
    x[gaps.size + rows, labels[gaps.size + rows]] = top[gaps.size + rows] - gaps
    return x.astype(dtype), labels


@each_dtype
@pytest.mark.parametrize("classes", [2, 5, 64, 65, 200])
def test_cross_entropy(*, dtype, classes, isa, rng):
    """Relative accuracy of the value and of every class's gradient, also as the label's probability goes to 1.

    The gradient p is an exponential (1 ULP), a total of such (1.5), a quotient and a product (0.5 each), and an ULP is
    worth up to twice as much of a number below a power of two as of one above it: 6. Measured: value 1.7, gradient 4.1.
    """
    x, labels = rows_of_logits(dtype, classes, rng)
    value, grad = lf.CrossEntropyLoss(reduction="none").value_and_grad(x, labels)
    for k, label in enumerate(labels):
        _, powers, total = softmax_exactly(x[k])
        rest = mpmath.fsum(p for c, p in enumerate(powers) if c != label)
        exact = mpmath.log1p(rest / powers[label])
        assert error(value[k], exact, dtype) <= 4, f"value of row {k}"
        slopes = [-rest / total if c == label else p / total for c, p in enumerate(powers)]
        assert_within(6, grad[k], slopes, dtype, f"gradient of row {k}")


@each_dtype
@pytest.mark.parametrize("classes", [2, 5, 70])
def test_cross_entropy_of_any_logits(*, dtype, classes, isa, rng):
    """X - max is rounded to half an ULP, which its exponential turns into |x - max| times that, relative."""
    x, labels = (4 * rng.standard_normal((60, classes))).astype(dtype), rng.integers(0, classes, 60)
    value, grad = lf.CrossEntropyLoss(reduction="none").value_and_grad(x, labels)
    soft = rng.dirichlet(np.ones(classes), 60).astype(dtype)
    soft_value, soft_grad = lf.CrossEntropyLoss(reduction="none").value_and_grad(x, soft)
    for k, label in enumerate(labels):
        row, powers, total = softmax_exactly(x[k])
        rest = mpmath.fsum(p for c, p in enumerate(powers) if c != label)
        distance = float(max(row) - min(row))
        assert error(value[k], mpmath.log1p(rest / powers[label]), dtype) <= 4 + distance
        slopes = [-rest / total if c == label else p / total for c, p in enumerate(powers)]
        assert_within(4 + distance, grad[k], slopes, dtype, f"gradient of row {k}")
        target = [mpf(float(a)) for a in soft[k]]
        mass = mpmath.fsum(target)
        exact = mpmath.fsum(q * (max(row) - a) for q, a in zip(target, row, strict=True)) + mass * mpmath.log(total)
        assert error(soft_value[k], exact, dtype) <= 4 + distance
        for c, (q, p) in enumerate(zip(target, powers, strict=True)):
            unit = float(np.spacing(dtype(max(q, mass * p / total))))
            assert abs(mpf(float(soft_grad[k, c])) - (mass * p / total - q)) <= (4 + distance) * unit


@each_dtype
def test_label_smoothing(dtype, isa, rng):
    x, labels = rows_of_logits(dtype, 7, rng)
    value, grad = lf.CrossEntropyLoss(label_smoothing=0.125, reduction="none").value_and_grad(x, labels)
    for k, label in enumerate(labels):
        row, powers, total = softmax_exactly(x[k])
        q = [mpf(1) / 8 / 7 + (mpf(7) / 8 if c == label else 0) for c in range(7)]
        exact = mpmath.fsum(b * (max(row) - a) for a, b in zip(row, q, strict=True)) + mpmath.log(total)
        assert error(value[k], exact, dtype) <= 4
        for c, (b, p) in enumerate(zip(q, powers, strict=True)):
            unit = float(np.spacing(dtype(max(b, p / total))))
            assert abs(mpf(float(grad[k, c])) - (p / total - b)) <= 4 * unit


@each_dtype
def test_nll(dtype, isa, rng):
    x = rng.standard_normal((50, 6)).astype(dtype)
    labels, weight = rng.integers(0, 6, 50), np.array([0.3, 1, 2, 0.1, 5, 7]).astype(dtype)
    value, grad = lf.NLLLoss(weight=weight, reduction="none").value_and_grad(x, labels)
    exact = [-mpf(float(weight[y])) * mpf(float(a[y])) for a, y in zip(x, labels, strict=True)]
    assert_within(1, value, exact, dtype, "value")
    np.testing.assert_array_equal(grad[np.arange(50), labels], -weight[labels])
    assert np.count_nonzero(grad) == 50


def numbers(*arrays):
    """Elements of several arrays, side by side and exact."""
    return [tuple(mpf(float(a)) for a in row) for row in zip(*arrays, strict=True)]


def assert_terms(bound, actual, terms, dtype, of):
    """Within so many ULP of the exact sum, or of its greatest term where that is greater."""
    for k, (a, row) in enumerate(zip(actual, terms, strict=True)):
        exact, size = mpmath.fsum(row), max(map(abs, row))
        at_least = np.finfo(dtype).smallest_normal
        unit = float(np.spacing(dtype(max(abs(exact), size, at_least))))
        off = float(abs(mpf(float(a)) - exact)) / unit
        allowed = bound[k] if np.ndim(bound) else bound
        assert off <= allowed, f"{of}: {off:.2f} ULP of the terms {[mpmath.nstr(t, 9) for t in row]} at {k}"


@each_dtype
def test_kullback_leibler(dtype, isa, rng):
    both = ("input", "target")
    x = (4 * rng.standard_normal(400)).astype(dtype)
    t = np.concatenate([rng.random(300), 10.0 ** -rng.uniform(0, 30, 100)]).astype(dtype)
    value, grads = lf.KLDivLoss(reduction="none").value_and_grad(x, t, wrt=both)
    points = numbers(x, t)
    assert_terms(4, value, [(b * mpmath.log(b), -b * a) for a, b in points], dtype, "value")
    np.testing.assert_array_equal(grads[0], -t)
    assert_terms(4, grads[1], [(mpmath.log(b), 1, -a) for a, b in points], dtype, "gradient by target")
    hess = lf.KLDivLoss(reduction="none").grad_hess(x, t, wrt="target")[1]
    assert_within(1, hess, [1 / b for _, b in points], dtype, "Hessian by target")
    # the difference of logarithms is exact to its last place
    loss, t = lf.KLDivLoss(log_target=True, reduction="none"), (4 * rng.standard_normal(400)).astype(dtype)
    value, grads = loss.value_and_grad(x, t, wrt=both)
    points = numbers(x, t)
    assert_within(4, value, [mpmath.exp(b) * (b - a) for a, b in points], dtype, "value of logarithms")
    assert_within(4, grads[0], [-mpmath.exp(b) for _, b in points], dtype, "gradient of logarithms")
    for part, more in ((grads[1], 1), (loss.grad_hess(x, t, wrt="target")[1], 2)):
        terms = [(mpmath.exp(b) * b, -mpmath.exp(b) * a, mpmath.exp(b) * more) for a, b in points]
        assert_terms(4, part, terms, dtype, "derivative by logarithms")


def stirling(t):
    """The terms of the formula, of its derivative, and of its second one."""
    if t <= 1:
        return (0,), (0,), 0
    log = mpmath.log(t)
    return (t * log, -t, mpmath.log(2 * mpmath.pi * t) / 2), (log, 1 / (2 * t)), 1 / t - 1 / (2 * t * t)


@each_dtype
@pytest.mark.parametrize("full", [False, True])
def test_poisson(*, full, dtype, isa, rng):
    x = (4 * rng.standard_normal(300)).astype(dtype)
    t = np.where(rng.random(300) < 0.5, rng.poisson(3, 300), rng.uniform(0, 50, 300)).astype(dtype)
    loss = lf.PoissonNLLLoss(full=full, reduction="none")
    value, grads = loss.value_and_grad(x, t, wrt=("input", "target"))
    points = numbers(x, t)
    more = [stirling(b) if full else ((0,), (0,), 0) for _, b in points]
    terms = [(mpmath.exp(a), -b * a, *m[0]) for (a, b), m in zip(points, more, strict=True)]
    assert_terms(4, value, terms, dtype, "value")
    assert_terms(4, grads[0], [(mpmath.exp(a), -b) for a, b in points], dtype, "gradient")
    terms = [(-a, *m[1]) for (a, _), m in zip(points, more, strict=True)]
    assert_terms(4, grads[1], terms, dtype, "gradient by target")
    hesses = loss.grad_hess(x, t, wrt=("input", "target"))[1]
    assert_within(1, hesses[0], [mpmath.exp(a) for a, _ in points], dtype, "Hessian")
    assert_within(4, hesses[1], [m[2] for m in more], dtype, "Hessian by target")
    # rates, many of them around 1, where the logarithm depends on what rate + eps is rounded by
    eps = mpf(float(dtype(1e-8)))
    around = 1 + np.finfo(dtype).eps * rng.integers(-50, 50, 100)
    x = np.concatenate([np.exp(4 * rng.standard_normal(100)), 1 + 1e-3 * rng.standard_normal(100), around]).astype(
        dtype
    )
    loss = lf.PoissonNLLLoss(log_input=False, full=full, reduction="none")
    value, grads = loss.value_and_grad(x, t, wrt=("input", "target"))
    points = numbers(x, t)
    logs = [mpmath.log(a + eps) for a, _ in points]
    terms = [(a, -b * log, *m[0]) for (a, b), log, m in zip(points, logs, more, strict=True)]
    assert_terms(4, value, terms, dtype, "value of rates")
    assert_terms(4, grads[0], [(1, -b / (a + eps)) for a, b in points], dtype, "gradient of rates")
    terms = [(-log, *m[1]) for log, m in zip(logs, more, strict=True)]
    assert_terms(4, grads[1], terms, dtype, "gradient by target of rates")
    assert_within(4, loss.grad_hess(x, t)[1], [b / (a + eps) ** 2 for a, b in points], dtype, "Hessian of rates")
    fisher = loss.grad_hess(x, t, curvature="fisher")[1]
    assert_within(4, fisher, [1 / (a + eps) for a, _ in points], dtype, "Fisher information of rates")


@each_dtype
@pytest.mark.parametrize("full", [False, True])
def test_gaussian(*, full, dtype, isa, rng):
    x, t = (4 * rng.standard_normal((2, 400))).astype(dtype)
    var = np.concatenate([rng.random(200), 1 + 1e-3 * rng.standard_normal(100), 10.0 ** rng.uniform(-8, 8, 100)])
    var = var.astype(dtype)
    loss = lf.GaussianNLLLoss(full=full, reduction="none")
    value, grads = loss.value_and_grad(x, t, var)
    constant, eps = mpmath.log(2 * mpmath.pi) / 2 if full else mpf(0), mpf(float(dtype(1e-6)))
    points = [(a - b, max(v, eps)) for a, b, v in numbers(x, t, var)]
    terms = [(mpmath.log(v) / 2, d * d / v / 2, constant) for d, v in points]
    assert_terms(4, value, terms, dtype, "value")
    assert_within(4, grads[0], [d / v for d, v in points], dtype, "gradient")
    assert_terms(4, grads[1], [(1 / v / 2, -d * d / v / v / 2) for d, v in points], dtype, "gradient by variance")
    hesses = loss.grad_hess(x, t, var)[1]
    assert_within(1, hesses[0], [1 / v for _, v in points], dtype, "Hessian")
    terms = [(d * d / v**3, -1 / (2 * v * v)) for d, v in points]
    assert_terms(6, hesses[1], terms, dtype, "Hessian by variance")
    fisher = loss.grad_hess(x, t, var, curvature="fisher")[1][1]
    assert_within(4, fisher, [1 / (2 * v * v) for _, v in points], dtype, "Fisher information of variances")


@each_dtype
@pytest.mark.parametrize("c", [4.685, 0.7])
def test_biweight(*, c, dtype, isa, rng):
    """About 0, where 1 - (1 - u)^3 cancels, and up to the edge, where the gradient vanishes."""
    scale = np.concatenate([rng.uniform(-1.2, 1.2, 200), 1 - 10.0 ** -rng.uniform(0, 7, 100)])
    x = c * np.concatenate([scale, 10.0 ** -rng.uniform(0, 7, 100)]).astype(dtype)
    t = np.where(rng.random(400) < 0.5, 0, 0.1 * rng.standard_normal(400)).astype(dtype)
    loss = lf.TukeyBiweightLoss(c=c, reduction="none")
    value, grad, hess = loss.value_grad_hess(x.astype(dtype), t)
    edge = mpf(float(dtype(c)))
    points = [(a - b, min(((a - b) / edge) ** 2, mpf(1))) for a, b in numbers(x.astype(dtype), t)]
    assert_within(4, value, [edge**2 / 6 * (1 - (1 - u) ** 3) for _, u in points], dtype, "value")
    terms = [(d, d * ((1 - u) ** 2 - 1)) for d, u in points]
    assert_terms(4, grad, terms, dtype, "gradient")
    assert_terms(6, hess, [(1, (1 - u) * (1 - 5 * u) - 1) for _, u in points], dtype, "Hessian")
    weight = loss.grad_hess(x.astype(dtype), t, curvature="majorizer")[1]
    assert_terms(4, weight, [(1, (1 - u) ** 2 - 1) for _, u in points], dtype, "majorizer")


GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.3, 5.0)


@each_dtype
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal(*, gamma, label, dtype, isa, rng):
    """A power multiplies the rounding of its base by gamma; however small it is, the digits stay."""
    x = logits(dtype, rng)
    value, grad = lf.SigmoidFocalLoss(gamma=gamma, alpha=None, reduction="none").value_and_grad(
        x, np.full_like(x, label)
    )
    power, sign = mpf(float(dtype(gamma))), 1 if label else -1
    exact = []
    for (a,) in numbers(x):
        entropy, u, p = log1p_exp(-sign * a), 1 / (1 + mpmath.exp(sign * a)), 1 / (1 + mpmath.exp(-sign * a))
        exact.append((u**power * entropy, -sign * u**power * (u + power * p * entropy)))
    assert_within(4 + gamma, value, [v for v, _ in exact], dtype, "value")
    assert_within(4 + gamma, grad, [g for _, g in exact], dtype, "gradient")


@each_dtype
@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_of_soft_targets(*, gamma, dtype, isa, rng):
    x = logits(dtype, rng)[::2]
    t = rng.random(x.size).astype(dtype)
    loss = lf.SigmoidFocalLoss(gamma=gamma, reduction="none")
    value, grads = loss.value_and_grad(x, t, wrt=("input", "target"))
    hess = loss.grad_hess(x, t)[1]
    power, positive = mpf(float(dtype(gamma))), mpf(1) / 4
    bound, values, by_input, by_target, curvature = [], [], [], [], []
    for a, b in numbers(x, t):
        p, q = 1 / (1 + mpmath.exp(-a)), 1 / (1 + mpmath.exp(a))
        entropy, u = (1 - b) * log1p_exp(a) + b * log1p_exp(-a), p * (1 - b) + q * b
        weight, sign, steep = positive * b + (1 - positive) * (1 - b), 1 - 2 * b, power * u ** (power - 1)
        bound.append(4 + 2 * gamma * (1 + float(abs(mpmath.log(u)))))
        values.append((weight * u**power * entropy,))
        slope = weight * steep * p * q * sign
        by_input.append((weight * u**power * (1 - b) * p, -weight * u**power * b * q, slope * entropy))
        by_target.append(
            ((2 * positive - 1) * u**power * entropy, -weight * u**power * a, weight * steep * (q - p) * entropy)
        )
        bent = slope * (power - 1) / u * p * q * sign * entropy
        curvature.append((weight * u**power * p * q, 2 * slope * (1 - b) * p, -2 * slope * b * q, bent))
        curvature[-1] += (slope * q * entropy, -slope * p * entropy)
    assert_terms(bound, value, values, dtype, "value")
    assert_terms(bound, grads[0], by_input, dtype, "gradient")
    assert_terms(bound, grads[1], by_target, dtype, "gradient by target")
    assert_terms([b + 2 for b in bound], hess, curvature, dtype, "Hessian")


@each_dtype
def test_sums_do_not_lose_digits(dtype, isa):
    """Two million equal terms: float32 sums would be off in the third digit, a plain float64 one in the twelfth."""
    x = np.full(2_000_000, 0.1, dtype)
    exact = float(mpf(float(dtype(0.1) * dtype(0.1))) * x.size)
    total = lf.MSELoss(reduction="sum")(x, np.zeros_like(x))
    assert total == pytest.approx(exact, rel=1e-7 if dtype == np.float32 else 1e-14)
    assert lf.MSELoss()(x, np.zeros_like(x)) == pytest.approx(
        exact / x.size, rel=1e-7 if dtype == np.float32 else 1e-14
    )
