"""Properties that every registered loss has, for both precisions, every instruction set and any number of threads."""

import copy
import inspect
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import special

import lossfast as lf
import lossfast.functional as F
from lossfast import _activations
from lossfast._drivers import runtime
from lossfast._loss import REGISTRY, Loss

from .cases import (
    CASES,
    DTYPES,
    ELEMENTWISE,
    ONE_EACH,
    SHARED,
    Form,
    assert_bits,
    assert_ulps,
    duplicate,
    noise,
    wide,
)


def near(value, eps, scale=0.0):
    """Equal to some units of rounding, of `scale` where that is greater."""
    return pytest.approx(float(value), rel=float(8 * eps), abs=float(8 * eps * scale), nan_ok=True)


def assert_near(case, actual, expected, dtype):
    """Equal to some ULP, of the greatest element where terms cancel."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    finite = np.abs(expected[np.isfinite(expected)])
    eps = 8 * np.finfo(dtype).eps
    floor = 0 if case.hard or not finite.size else eps * finite.max()
    np.testing.assert_allclose(actual, expected, rtol=eps, atol=max(floor, np.finfo(dtype).smallest_normal))


each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_curved = pytest.mark.parametrize("case", [c for c in CASES if c.curved], ids=str)
one_of_each = pytest.mark.parametrize("case", ONE_EACH, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))

ROOT = Path(__file__).parent.parent
CURVATURES = ("exact", "psd", "fisher", "majorizer", "unit")


# ---- one declaration ------------------------------------------------------------------------------------------------

#: Kernels that serve a loss beside its own, or a function that is no loss.
AUXILIARY = {
    "bce_with_logits_weighted",
    "copy",
    "distance_contrastive_squared",
    "exp_nonpositive",
    "kl_div_log_target",
    "poisson_nll_full",
    "poisson_nll_rate",
    "poisson_nll_rate_full",
    "sigmoid_focal_2",
}
#: Kernels in none of the lists, as no other has their shape.
SINGLE = {"ctc"}


def test_every_kernel_is_declared_and_every_declaration_has_its_kernel():
    table = runtime.kernels()
    kernels = SINGLE.union(*table.values())
    declared = {cls.kernel for cls in REGISTRY.values()} - {""}  # a loss may be made of others
    assert declared <= kernels
    assert kernels == declared | set(_activations.__all__) | AUXILIARY


def test_registry_is_what_the_package_offers():
    offered = {name: getattr(lf, name) for name in lf.__all__}
    losses = {name: cls for name, cls in offered.items() if inspect.isclass(cls) and issubclass(cls, Loss)}
    assert {name: cls for name, cls in losses.items() if cls.function} == REGISTRY
    assert sorted(F.__all__) == sorted(cls.function for cls in REGISTRY.values())
    assert sorted(lf.__all__) == sorted(set(lf.__all__))


def test_type_stub_of_the_functions_is_complete():
    stub = Path(F.__file__).with_suffix(".pyi").read_text()
    missing = [cls.function for cls in REGISTRY.values() if not re.search(rf"\b{cls.function}\b", stub)]
    assert missing == []


@each_case
def test_declaration_is_consistent(case):
    """What the tests, the drivers and the documentation conclude from it."""
    cls = case.cls
    assert set(cls.predictions) <= set(cls.arrays)
    assert set(cls.predictions) <= set(cls.differentiable)
    assert set(cls.curved) <= set(cls.differentiable)
    assert set(cls.differentiable) <= {*cls.arrays, *cls().parameters}
    assert not cls.curved or set(cls.predictions) <= set(cls.curved)
    assert set(cls.domains) <= set(cls.arrays)
    assert not cls.curved or {"exact", "psd", "unit"} <= set(cls.curvatures) <= set(CURVATURES)
    assert {"mean", "sum", "none"} <= set(cls.reductions)


# ---- the value and its definition -----------------------------------------------------------------------------------


def value_bound(case, arrays):
    """ULP of the exact value: as documented, or 4 and what the rounding of the arguments of exponentials adds."""
    if case.bound:
        return case.bound + (np.ndim(case.multiplier) > 0)
    return 4 + case.spread(arrays) + case.excess(arrays)


@each_case
@each_dtype
def test_value_is_that_of_the_reference(case, dtype, isa, rng):
    for size in (3, 300, 5000):
        arrays = case.arrays(rng, size, dtype)
        exact = case.loss.reference(*wide(*arrays))
        value = case.loss(*arrays)
        assert value.dtype == dtype
        # the long double of the reference is only that much more precise
        floor = 8 * np.finfo(np.longdouble).eps * (1 + np.abs(arrays[0]).max()) / np.finfo(dtype).eps
        bound = value_bound(case, arrays)
        if not case.bound:
            bound = bound + 4 * noise(case, case.loss.reference, arrays, dtype) / unit_of(exact, dtype)
        floor = np.maximum(floor, case.terms(arrays))
        assert_ulps(value, exact, dtype, bound, scale=floor, message=str(case))


def unit_of(exact, dtype):
    """The last place of a number."""
    size = np.minimum(np.abs(exact), np.finfo(dtype).max / 2).astype(dtype)
    return np.maximum(np.spacing(size), np.finfo(dtype).smallest_normal * np.finfo(dtype).eps)


@each_case
@each_dtype
def test_reductions_sum_the_unreduced_loss(case, dtype, isa, rng):
    arrays = case.arrays(rng, 5000, dtype)
    each = case.loss(*arrays).astype(np.longdouble)
    for reduction in case.cls.reductions:
        if reduction == "none":
            continue
        loss, count = case.reduced(reduction), case.denominator(reduction, arrays)
        value, reference = loss(*arrays), float(loss.reference(*wide(*arrays)))
        counted = each * case.share(reduction, arrays)
        terms = float(np.abs(counted).sum() / abs(count))
        assert type(value) is float
        assert value == near(counted.sum() / count, np.finfo(dtype).eps, terms)
        rtol = 1e-5 if dtype == np.float32 else 1e-13
        assert value == pytest.approx(reference, rel=rtol, abs=rtol * terms)


def picked(result, method):
    """Of (value, grad) or (value, grad, hess): what a method returns."""
    return {
        "__call__": result[0],
        "value_and_grad": result[:2],
        "grad": result[1],
        "grad_hess": result[1:],
        "value_grad_hess": result,
    }[method]


@each_case
@each_dtype
def test_all_methods_agree_bit_by_bit(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    names = case.predictions
    for reduction in case.cls.reductions:
        loss = case.reduced(reduction)
        full = getattr(loss, case.methods[-1] if case.curved else "value_and_grad")(*arrays)
        for method in case.methods:
            assert_bits(getattr(loss, method)(*arrays), picked(full, method), method)
            # asking for a default changes nothing
            if method != "__call__":
                assert_bits(getattr(loss, method)(*arrays, wrt=names), picked(full, method), method)
        value, grads, hesses = case.compute(loss, arrays)
        if len(names) == 1:
            assert_bits(loss.value_and_grad(*arrays, wrt=names[0]), (value, grads[0]))
        for curvature in case.curvatures:
            again = case.compute(loss, arrays, curvature=curvature)
            assert_bits(again[:2], (value, grads))
            if curvature == "exact":
                assert_bits(again[2], hesses)
        for order in (case.differentiable, case.differentiable[::-1]):
            several = case.compute(loss, arrays, wrt=order)
            assert_bits(several[0], value)
            for name, grad in zip(order, several[1], strict=True):
                assert_bits(loss.grad(*arrays, wrt=name), grad, name)
                if name in names:
                    assert_bits(grad, grads[names.index(name)], name)
        for name, hess in zip(names, hesses, strict=bool(hesses)):
            assert_bits(loss.grad_hess(*arrays, wrt=name)[1], hess, name)


@each_case
@each_dtype
def test_bits_do_not_depend_on_the_number_of_threads(case, dtype, isa, each_threads, rng):
    results = []
    arrays = case.arrays(rng, 20000, dtype)
    none, mean = case.loss, case.reduced("mean")
    weight = rng.random(none(*arrays).shape)
    for _ in each_threads():
        results.append(
            (
                case.compute(none, arrays),
                mean.value_and_grad(*arrays),
                mean(*arrays),
                case.compute(mean, arrays, sample_weight=weight),
                none(*arrays, sample_weight=weight),
                mean.grad(*arrays, wrt=case.differentiable),
            )
        )
    assert_bits(results[1], results[0], "2 threads")
    assert_bits(results[2], results[0], "5 threads")


@each_case
def test_threads_compute_what_the_reference_says(case, threads, rng):
    arrays = case.arrays(rng, 20000)
    assert lf.get_num_threads() == threads
    np.testing.assert_allclose(case.loss(*arrays), case.loss.reference(*arrays), rtol=1e-12, atol=1e-13)


# ---- derivatives ----------------------------------------------------------------------------------------------------


def some(length, labels=()):
    """Places along the axis of one loss: all of a few; of many the ends, what is around blocks, those of the labels."""
    if length <= 20:
        return list(range(length))
    around = (place + step for place in range(2048, length, 2048) for step in (-1, 0))
    return sorted({c for c in (*range(5), *around, length - 2, length - 1, *labels) if 0 <= c < length})


def probe(case, arrays, name, evaluate, cotangent):
    """For elements of an argument: `h -> what becomes of the loss` if each is moved by h, and how to pick them.

    `evaluate` gives one number per unreduced loss, or per element of the argument.
    """
    position = case.names.index(name)
    x = arrays[position]

    def at(moved):
        return np.asarray(evaluate(*arrays[:position], moved, *arrays[position + 1 :]))

    if name in SHARED:
        places = list(np.ndindex(x.shape))

        def by_place(h):
            sums = []
            for place in places:
                moved = x.copy()
                moved[place] += h
                sums.append((at(moved) * cotangent).sum())
            return np.array(sums)

        return by_place, lambda array: np.array([array[place] for place in places])
    labels = arrays[case.names.index("target")].ravel().tolist() if case.labels else ()
    elements = case.losses_first(name, np.arange(x.size).reshape(x.shape))
    indices = some(elements.shape[-1], labels)

    def along(h):
        rows = []
        for index in indices:
            moved = x.copy()
            moved.reshape(-1)[elements[..., index]] += h
            outcome = at(moved)
            rows.append(outcome if outcome.ndim < x.ndim else case.losses_first(name, outcome)[..., index])
        return np.stack(rows, -1)

    return along, lambda array: case.losses_first(name, array)[..., indices]


def central(function, h):
    """4th-order central difference."""
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def derivative(function, h):
    """The derivative by differences, how far estimates of it differ, and how far it bends: much, at a kink."""
    with np.errstate(all="ignore"):
        coarse, fine, finest = (central(function, h / k) for k in (1, 2, 3))
        best = (16 * fine - coarse) / 15
        bend = np.abs(function(h) - 2 * function(0 * h) + function(-h)) / h
        return best, np.maximum(np.abs(fine - best), np.abs(finest - best)), bend


def check_derivative(actual, function, *, h, rtol, case, name):
    expected, doubt, bend = derivative(function, h)
    size = np.abs(expected)
    least = 1e-2 if case.hard else max(1e-2, np.nanmax(size))
    size = np.maximum(size, least)
    with np.errstate(invalid="ignore"):
        # not beside a kink, and not outside of the domain
        sure = (doubt < 1e-6 * size) & (bend < 0.1 * size)
    assert sure.mean() > 0.4, f"{case} by {name}: too few points away from kinks"
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.longdouble) - expected) / size
    worst = np.where(sure, error - 4 * doubt / size, 0).max()
    assert worst <= rtol, f"{case} by {name}: off by {float(worst):.3g}, relative"


@each_case
@each_dtype
def test_gradient_is_the_derivative_of_the_reference(case, dtype, isa, rng):
    arrays = case.arrays(rng, 40, dtype)
    if case.cls is lf.BCELoss:  # near 0 and 1 its gradient is that of another function, as PyTorch's is
        arrays = tuple(np.where(a == np.rint(a), 0.5, a) if i == 0 else a for i, a in enumerate(arrays))
    exact = wide(*arrays)
    cotangent = rng.random(case.loss(*arrays).shape)
    for name in case.differentiable:
        function, pick = probe(case, exact, name, case.antiderivative, cotangent)
        options = {"grad_output": cotangent} if name in SHARED else {}
        actual = case.loss.grad(*arrays, wrt=name, **options)
        assert actual.dtype == dtype
        assert actual.shape == arrays[case.names.index(name)].shape
        rtol = 1e-11 if dtype == np.float64 else 1e-5
        check_derivative(pick(actual), function, h=np.longdouble(2.0**-11), rtol=rtol, case=case, name=name)


@each_curved
def test_hessian_is_the_derivative_of_the_gradient(case, isa, rng):
    arrays = case.arrays(rng, 60)
    if case.cls is lf.BCELoss:
        arrays = (np.clip(arrays[0], 0.05, 0.95), arrays[1])
    for name in case.curved:
        function, pick = probe(case, arrays, name, lambda *a, n=name: clean_grad(case, a, n), None)
        grad, hess = case.loss.grad_hess(*arrays, wrt=name)
        assert_bits(grad, case.loss.grad(*arrays, wrt=name))
        check_derivative(pick(hess), function, h=2.0**-9, rtol=1e-8, case=case, name=name)


def clean_grad(case, arrays, name):
    """The gradient, NaN where a difference left the domain."""
    domains = [case.cls.domains.get(n) for n in case.names]
    inside = [a if i is None else np.clip(a, i.low, i.high) for a, i in zip(arrays, domains, strict=True)]
    outside = np.any([a != b for a, b in zip(arrays, inside, strict=True) if a.dtype.kind == "f"], axis=0)
    return np.where(outside, np.nan, case.loss.grad(*inside, wrt=name))


@each_case
def test_float32_derivatives_are_those_of_float64(case, isa, rng):
    narrow = case.arrays(rng, 300, np.float32)
    double = tuple(a.astype(np.float64) if a.dtype.kind == "f" else a for a in narrow)
    told = np.ones(narrow[0].shape, bool)
    for curvature in case.curvatures or ("exact",):
        if curvature == "psd":  # its floor is another
            continue
        if curvature == "majorizer" and case.cls in (lf.L1Loss, lf.SmoothL1Loss):
            told = narrow[0] != narrow[1]  # else 1 / eps of either dtype
        for name in case.curved or case.differentiable:
            options = {"curvature": curvature} if case.curved else {}
            _, *groups = case.compute(case.loss, narrow, wrt=(name,), **options)
            _, *exact = case.compute(case.loss, double, wrt=(name,), **options)
            for k, (mine, theirs) in enumerate(zip(groups, exact, strict=True)):
                for a, b in zip(mine, theirs, strict=True):
                    assert a.dtype == np.float32
                    terms, slack = 0.0, 0.0
                    if case.cancels or not case.hard or (k == 1 and not case.elementwise):  # p (1 - p), as p nears 1
                        terms = np.abs(b).max()
                    if not case.bound:

                        def again(*arrays, k=k, name=name, options=options):
                            double = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays)
                            return case.compute(case.loss, tuple(double), wrt=(name,), **options)[1 + k][0]

                        slack = 4 * noise(case, again, double, np.float32) / unit_of(np.abs(b), np.float32)
                    bound = np.broadcast_to(12 + 2 * np.max(case.spread(double)) + slack, a.shape)
                    keep = told if told.shape == a.shape else np.ones(a.shape, bool)
                    message = f"{case} {curvature} by {name}"
                    assert_ulps(a[keep], b[keep], np.float32, bound[keep], scale=terms, message=message)


@each_case
@each_dtype
def test_derivatives_of_a_reduction_are_scaled_unreduced_ones(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    _, *each = case.compute(case.loss, arrays)
    each_by_all = case.compute(case.loss, arrays, wrt=case.differentiable)[1]
    for reduction in case.cls.reductions:
        scale, loss = 1 / case.denominator(reduction, arrays), case.reduced(reduction)
        _, *groups = case.compute(loss, arrays)
        by_all = case.compute(loss, arrays, wrt=case.differentiable)[1]
        share, names = case.share(reduction, arrays), (case.predictions, case.predictions, case.differentiable)
        for own, mine, theirs in zip(names, (*groups, by_all), (*each, each_by_all), strict=True):
            for name, a, b in zip(own, mine, theirs, strict=bool(mine)):
                assert_near(case, a, case.multiplied(arrays, name, b, share) * scale, dtype)


@pytest.mark.parametrize("case", [c for c in CASES if c.weights], ids=str)
def test_gradient_by_the_weight(case, isa, rng):
    arrays = case.arrays(rng, 60)
    exact = wide(*arrays)
    cotangent = rng.random(case.loss(*arrays).shape)

    def with_weight(name, weight, reduction):
        return type(case)(case.cls, {**case.parameters, name: weight}, case.form).reduced(reduction)

    for name in case.weights:
        weight = case.parameters[name]
        grad = case.loss.grad(*arrays, wrt=name, grad_output=cotangent)
        assert grad.shape == weight.shape
        places = rng.choice(weight.size, 7, replace=False)
        for place in places:
            step = np.zeros(weight.size)
            step[place] = 1  # the loss is linear in its weights
            one = with_weight(name, step.reshape(weight.shape), "none")
            assert grad.flat[place] == pytest.approx(float((one.reference(*exact) * cotangent).sum()), rel=1e-13)
        for reduction in ("mean", "sum"):
            loss = case.reduced(reduction)
            value, grads = loss.value_and_grad(*arrays, wrt=(*case.predictions, name))
            assert_bits((value, grads[:-1]), case.compute(loss, arrays)[:2])
            for place in places:

                def moved(h, place=place, reduction=reduction, name=name, weight=weight):
                    shifted = weight.astype(np.longdouble)
                    shifted.flat[place] += h
                    return with_weight(name, shifted.astype(float), reduction).reference(*exact)

                assert grads[-1].flat[place] == pytest.approx(
                    float(central(moved, np.longdouble(2.0**-9))), rel=1e-9, abs=1e-12
                )


# ---- sample weights, cotangents -------------------------------------------------------------------------------------


def assert_multiplied(case, arrays, actual, each, *, factors, dtype, divisor=1.0):
    """Gradients and Hessians of predictions, against those of unit factors."""
    for mine, theirs in zip(actual, each, strict=True):
        for name, a, b in zip(case.predictions, mine, theirs, strict=bool(mine)):
            assert_near(case, a, case.multiplied(arrays, name, b, factors) / divisor, dtype)


@each_case
@each_dtype
def test_sample_weight_multiplies(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    each, *derivatives = case.compute(case.loss, arrays)
    eps = np.finfo(dtype).eps
    weight = rng.integers(1, 9, each.shape) / 4
    weighted = each.astype(np.longdouble) * weight
    for reduction in ("none", "sum"):
        loss = case.reduced(reduction)
        value, *groups = case.compute(loss, arrays, sample_weight=weight)
        if reduction == "none":
            assert_ulps(value, weighted, dtype, 3)
        else:
            assert value == near(weighted.sum(), eps, np.abs(weighted).sum())
        assert_multiplied(case, arrays, groups, derivatives, factors=weight, dtype=dtype)
        assert_bits(loss(*arrays, sample_weight=weight), value)
        assert_bits(
            loss.grad(*arrays, sample_weight=weight, wrt=case.predictions),
            groups[0] if len(groups[0]) > 1 else groups[0][0],
        )


@each_case
@each_dtype
def test_mean_is_divided_by_the_weighted_denominator(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    eps = np.finfo(dtype).eps
    value, *derivatives = case.compute(case.loss, arrays)
    weight = rng.integers(1, 9, value.shape) / 4
    weighted = value.astype(np.longdouble) * weight
    for reduction in set(case.cls.reductions) - {"none", "sum"}:
        denominator, share = case.denominator(reduction, arrays, weight), case.share(reduction, arrays)
        mean = case.reduced(reduction)
        actual, *groups = case.compute(mean, arrays, sample_weight=weight)
        terms = weighted * share
        assert actual == near(terms.sum() / denominator, eps, np.abs(terms).sum() / abs(denominator))
        assert_multiplied(case, arrays, groups, derivatives, factors=weight * share, dtype=dtype, divisor=denominator)
        assert_bits(mean(*arrays, sample_weight=weight), actual)
        # a constant weight leaves a mean alone; of two, bit by bit
        plain, *groups = case.compute(mean, arrays)
        doubled, *again = case.compute(mean, arrays, sample_weight=2.0)
        assert_bits(doubled, plain)
        assert_multiplied(case, arrays, again, groups, factors=1.0, dtype=dtype)
        # and its dtype does not matter
        for kind in (np.float32, np.int8, ">f8"):
            whole = (4 * weight).astype(kind)
            assert_bits(mean(*arrays, sample_weight=whole), mean(*arrays, sample_weight=4 * weight))


@each_case
@each_dtype
def test_cotangent_multiplies_derivatives_alone(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    value, *derivatives = case.compute(case.loss, arrays)
    cotangent = np.rint(8 * rng.standard_normal(value.shape)) / 4 + 0.125
    again, *groups = case.compute(case.loss, arrays, grad_output=cotangent)
    assert_bits(again, value)
    assert_multiplied(case, arrays, groups, derivatives, factors=cotangent, dtype=dtype)
    weight = rng.integers(1, 9, value.shape) / 4
    _, *groups = case.compute(case.loss, arrays, grad_output=cotangent, sample_weight=weight)
    assert_multiplied(case, arrays, groups, derivatives, factors=cotangent * weight, dtype=dtype)
    for reduction in set(case.cls.reductions) - {"none"}:
        loss = case.reduced(reduction)
        value, *derivatives = case.compute(loss, arrays)
        for number in (-2.5, np.float32(-2.5)):
            again, *groups = case.compute(loss, arrays, grad_output=number)
            assert again == value
            assert_multiplied(case, arrays, groups, derivatives, factors=-2.5, dtype=dtype)
    for name in case.differentiable:  # of what is no prediction, too
        each = case.loss.grad(*arrays, wrt=name)
        by_name = case.loss.grad(*arrays, wrt=name, grad_output=cotangent, sample_weight=weight)
        assert_near(case, by_name, case.multiplied(arrays, name, each, cotangent * weight), dtype)


# ---- curvatures -----------------------------------------------------------------------------------------------------


def softmax_hessian(case, x, t):
    axis = min(1, x.ndim - 1)
    p = special.softmax(x, axis=axis)
    weight = np.ones(x.shape[axis]) if case.loss.weight is None else case.loss.weight
    weight = weight.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    smoothing = case.loss.label_smoothing
    if not case.labels:
        mass = (weight * ((1 - smoothing) * t + smoothing / x.shape[axis])).sum(axis, keepdims=True)
    else:
        kept = t != case.loss.ignore_index
        own = np.take(weight, np.where(kept, t, 0))
        mass = kept * ((1 - smoothing) * own + smoothing * weight.mean())
        mass = np.expand_dims(mass, axis)
    return {"exact": mass * p * (1 - p), "fisher": mass * p * (1 - p), "majorizer": mass / 2 + 0 * p}


def expected_curvatures(case, x, t, *_):
    """Hessian diagonals by the first prediction in closed form, before weights, where the loss has a row in the table.

    Every other loss is held to the differences of its gradient, and its majorizer to what makes it one.
    """
    name, loss, d = case.cls.__name__, case.loss, np.abs(x - t) if t.shape == x.shape else None
    if name == "MSELoss":
        return dict.fromkeys(("exact", "fisher", "majorizer"), np.full(x.shape, 2.0))
    if name == "L1Loss":
        return {"exact": 0 * d, "majorizer": 1 / np.maximum(d, np.finfo(float).eps)}
    if name == "HuberLoss":
        inside = d <= loss.delta
        return {"exact": 1.0 * inside, "majorizer": np.where(inside, 1, loss.delta / np.where(inside, 1, d))}
    if name == "SmoothL1Loss" and loss.beta == 0:
        return {"exact": 0 * d, "majorizer": 1 / np.maximum(d, np.finfo(float).eps)}
    if name == "SmoothL1Loss":
        return {"exact": (d <= loss.beta) / loss.beta, "majorizer": 1 / np.maximum(d, loss.beta)}
    if name == "TukeyBiweightLoss":
        u = (d / loss.c) ** 2
        return {"exact": np.where(u < 1, (1 - u) * (1 - 5 * u), 0), "majorizer": np.where(u < 1, (1 - u) ** 2, 0)}
    if name == "BCELoss":
        with np.errstate(divide="ignore", invalid="ignore"):
            hit = np.where(t == 0, 0, t / x**2) + np.where(t == 1, 0, (1 - t) / (1 - x) ** 2)
            return {"exact": hit, "fisher": 1 / (x * (1 - x))}
    if name in ("BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"):
        pos_weight = case.parameters.get("pos_weight", 1)
        mass = (1 - t + t * pos_weight) / (x.shape[-1] if case.averages else 1)
        hess = mass * special.expit(x) * special.expit(-x)
        return {"exact": hess, "fisher": hess, "majorizer": mass / 4}
    if name == "SoftMarginLoss":
        hess = t**2 * special.expit(t * x) * special.expit(-t * x)
        return {"exact": hess, "fisher": hess, "majorizer": t**2 / 4}
    if name in ("NLLLoss", "MarginRankingLoss", "HingeEmbeddingLoss", "MultiLabelMarginLoss"):
        return {"exact": 0 * x}
    if name == "CrossEntropyLoss":
        return softmax_hessian(case, x, t)
    return {}


def scale_of_curvature(case, arrays, name):
    """What the Hessian of an element is multiplied by: its weight, its part in a mean over a row, 0 where ignored."""
    array = arrays[case.names.index(name)]
    scale = np.broadcast_to(case.multiplier, array.shape) * case.per_loss(case.kept(arrays), name, array)
    return scale / array.shape[-1] if case.averages else scale


@each_curved
def test_curvatures_are_those_of_the_table(case, isa, rng):
    arrays = case.arrays(rng, 300)
    expected = expected_curvatures(case, *arrays)
    assert not expected or set(expected) | {"psd", "unit"} == set(case.curvatures)
    for curvature, table in expected.items():
        _, grads, hesses = case.compute(case.loss, arrays, curvature=curvature)
        assert_bits(grads, case.compute(case.loss, arrays)[1])
        np.testing.assert_allclose(hesses[0], table * case.multiplier, rtol=1e-12, atol=1e-300)


@each_curved
def test_positive_and_unit_curvature(case, isa, rng):
    arrays = case.arrays(rng, 300)
    narrow = tuple(a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays)
    scales = [scale_of_curvature(case, arrays, name) for name in case.predictions]
    factor = 2.0 / 8  # powers of two: no rounding
    units = case.compute(case.loss, arrays, curvature="unit")[2]
    small_units = case.compute(case.loss, arrays, curvature="unit", grad_output=factor)[2]
    exacts = case.compute(case.loss, arrays)[2]
    psds = case.compute(case.loss, arrays, curvature="psd")[2]
    small_psds = case.compute(case.loss, narrow, curvature="psd")[2]
    for scale, unit, small_unit, exact, psd, small_psd in zip(
        scales, units, small_units, exacts, psds, small_psds, strict=True
    ):
        np.testing.assert_allclose(unit, scale, rtol=1e-15)
        np.testing.assert_array_equal(small_unit, unit * factor)
        np.testing.assert_allclose(psd, np.maximum(exact, np.finfo(np.float64).eps * unit), rtol=1e-15)
        assert np.all(psd[scale != 0] > 0)
        assert np.all(small_psd >= np.finfo(np.float32).eps * scale * (1 - 1e-6))
        assert np.all(small_psd[scale != 0] > 0)


@one_of_each
def test_missing_curvature_names_those_that_exist(case, rng):
    arrays = case.arrays(rng, 30)
    missing = [c for c in CURVATURES if c not in case.curvatures] + ["positive"]
    for curvature, method in itertools.product(missing, ("grad_hess", "value_grad_hess")):
        if not case.curved:
            with pytest.raises(TypeError, match=f"{case.cls.__name__} has no Hessian.*value_and_grad"):
                getattr(case.loss, method)(*arrays, curvature=curvature)
            continue
        with pytest.raises(ValueError, match="curvature") as caught:
            getattr(case.loss, method)(*arrays, curvature=curvature)
        assert all(repr(c) in str(caught.value) for c in (curvature, *case.curvatures))


#: That of MultiMarginLoss is defined as the exact one, which bounds no term that is not violated yet.
MAJORIZED = [c for c in CASES if "majorizer" in c.curvatures and c.cls is not lf.MultiMarginLoss]


@pytest.mark.parametrize("case", MAJORIZED, ids=str)
def test_majorizer_lies_above_the_loss(case, rng):
    arrays = case.arrays(rng, 300)
    for name in case.predictions:
        value, (grad,), (hess,) = case.compute(case.loss, arrays, wrt=(name,), curvature="majorizer")
        position = case.names.index(name)
        for size in (1e-3, 0.1, 1, 10):
            step = size * rng.standard_normal(grad.shape)
            terms = case.losses_first(name, grad * step + 0.5 * hess * step**2)
            above = value + terms.sum(-1)
            moved = case.loss(*arrays[:position], arrays[position] + step, *arrays[position + 1 :])
            assert np.all(moved <= above + 1e-12 * (1 + np.abs(above)))


# ---- kinks ----------------------------------------------------------------------------------------------------------

#: (loss, distance of the kink, left of it: gradient and Hessian, on it, right of it)
KINKS = [
    (lf.L1Loss, {}, 0, (-1, 0), (0, 0), (1, 0)),
    (lf.SmoothL1Loss, {"beta": 0.0}, 0, (-1, 0), (0, 0), (1, 0)),
    (lf.SmoothL1Loss, {"beta": 0.5}, 0.5, (1, 2), (1, 2), (1, 0)),
    (lf.SmoothL1Loss, {"beta": 0.5}, -0.5, (-1, 0), (-1, 2), (-1, 2)),
    (lf.SmoothL1Loss, {"beta": 1.0}, 1, (1, 1), (1, 1), (1, 0)),
    (lf.HuberLoss, {"delta": 1.0}, 1, (1, 1), (1, 1), (1, 0)),
    (lf.HuberLoss, {"delta": 0.5}, -0.5, (-0.5, 0), (-0.5, 1), (-0.5, 1)),
    (lf.HuberLoss, {"delta": 3.0}, 3, (3, 1), (3, 1), (3, 0)),
]


@pytest.mark.parametrize(("cls", "parameters", "kink", "left", "on", "right"), KINKS)
@each_dtype
def test_kinks_to_the_ulp(*, cls, parameters, kink, left, on, right, dtype, isa):
    loss = cls(**parameters, reduction="none")
    kink = dtype(kink)
    x = np.array([np.nextafter(kink, dtype(-np.inf)), kink, np.nextafter(kink, dtype(np.inf))])
    if kink == 0:  # the smallest normal: arithmetic on subnormals is nobody's promise
        tiny = np.finfo(dtype).smallest_normal
        x = np.array([-tiny, 0, tiny], dtype)
    zero = np.zeros(3, dtype)
    value, grad, hess = loss.value_grad_hess(x, zero)
    for k, (slope, curvature) in enumerate((left, on, right)):
        assert grad[k] == pytest.approx(slope, rel=2 * float(np.finfo(dtype).eps), abs=0)
        assert hess[k] == curvature
    assert_ulps(value, loss.reference(*wide(x, zero)), dtype, 4)
    by_input, by_target = loss.grad(x, zero, wrt=("input", "target"))
    np.testing.assert_array_equal(by_target, -by_input)


# ---- NaN and infinities ---------------------------------------------------------------------------------------------


def some_losses(case, arrays):
    """A few of the unreduced losses, the first and the last among them."""
    chosen = np.zeros(case.loss(*arrays).shape, bool)
    flat = chosen.reshape(-1)
    flat[[place for place in (0, 5, 100) if place < flat.size] + [-1]] = True
    return chosen


def assert_soiled(case, parts, before, names, *, bad, rest, message):
    """Losses that are bad have a NaN somewhere in the derivatives, the rest have the bits they had."""
    for name, part, clean in zip(names, parts, before, strict=True):
        if name in SHARED:
            assert np.isnan(part).any() == bad.any(), message
            continue
        rows, clean_rows = case.losses_first(name, part), case.losses_first(name, clean)
        assert np.isnan(rows).any(-1)[bad].all(), f"{message} by {name}"
        assert_bits(rows[rest], clean_rows[rest], f"{message} by {name}")


@each_case
@each_dtype
def test_nan_stays_in_its_loss(case, dtype, isa, rng):
    """A NaN in everything that one loss reads of an argument."""
    arrays = case.arrays(rng, 900, dtype)
    kept = case.kept(arrays)
    clean = case.compute(case.loss, arrays)
    for name in case.floating:
        position = case.names.index(name)
        losses = np.ones(kept.shape, bool) if name in SHARED else some_losses(case, arrays)
        soiled = arrays[position].copy()
        if name in SHARED:
            soiled[...] = np.nan
        else:
            np.copyto(soiled, np.nan, where=case.per_loss(losses, name, soiled))
        given = (*arrays[:position], soiled, *arrays[position + 1 :])
        bad = losses & kept
        rest = np.zeros(bad.shape, bool) if name in SHARED else ~bad
        for curvature in case.curvatures or ("exact",):
            options = {"curvature": curvature} if case.curved else {}
            value, grads, hesses = case.compute(case.loss, given, **options)
            message = f"{case} {curvature} with NaN in {name}"
            np.testing.assert_array_equal(np.isnan(value), bad, err_msg=message)
            assert_bits(value[~bad], clean[0][~bad], message)
            assert_soiled(case, grads, clean[1], case.predictions, bad=bad, rest=rest, message=message)
            if curvature == "unit" and not (case.elementwise or name in case.predictions):
                continue  # knows nothing of the target
            for again, part in zip(hesses, case.predictions[: len(hesses)], strict=True):
                assert np.isnan(case.losses_first(part, again)).any(-1)[bad].all(), message
        for other in case.differentiable:
            if case.parameters.get("label_smoothing") == 1 and other == "target":
                continue  # it counts nothing
            if name in case.predictions or other in case.predictions:
                grad, before = (case.loss.grad(*a, wrt=other) for a in (given, arrays))
                assert_soiled(case, [grad], [before], [other], bad=bad, rest=rest, message=f"{case} with NaN in {name}")
        for reduction in set(case.cls.reductions) - {"none"}:
            loss = case.reduced(reduction)
            assert np.isnan(loss(*given)) == bad.any()
            assert np.isnan(loss.value_and_grad(*given)[0]) == bad.any()


@each_case
@each_dtype
def test_nan_gives_a_nan_at_its_element(case, dtype, isa, rng):
    """A NaN in one element, of those that one loss reads."""
    arrays = case.arrays(rng, 900, dtype)
    kept = case.kept(arrays)
    for name in case.predictions:
        if not case.axes(name, arrays[case.names.index(name)]):
            continue  # as above
        position = case.names.index(name)
        bad = some_losses(case, arrays) & kept
        soiled = arrays[position].copy()
        elements = case.losses_first(name, np.arange(soiled.size).reshape(soiled.shape))
        place = rng.integers(0, elements.shape[-1], bad.shape)
        if case.cls is lf.NLLLoss:  # reads nothing but the label's entry
            place = np.where(kept, arrays[1], 0)
        elif case.sequences:  # reads the blank of the first frame
            place = np.full(bad.shape, case.loss.blank)
        at = np.zeros(soiled.shape, bool)
        at.reshape(-1)[np.take_along_axis(elements, place[..., np.newaxis], -1)[..., 0][bad]] = True
        soiled[at] = np.nan
        value, grads, hesses = case.compute(
            case.loss, (*arrays[:position], soiled, *arrays[position + 1 :]), wrt=(name,)
        )
        np.testing.assert_array_equal(np.isnan(value), bad)
        for part in (*grads, *hesses):
            assert np.isnan(part[at]).all()


@pytest.mark.parametrize("case", [c for c in CASES if c.labels and "ignore_index" in c.cls().parameters], ids=str)
@each_dtype
def test_what_is_ignored_may_hold_anything(case, dtype, isa, rng):
    arrays = case.arrays(rng, 900, dtype)
    kept = case.kept(arrays)
    for reduction in case.cls.reductions:
        loss = case.reduced(reduction)
        clean = case.compute(loss, arrays)
        for bad in (np.nan, np.inf, -np.inf):
            soiled = arrays[0].copy()
            np.copyto(soiled, bad, where=case.per_loss(~kept, "input", soiled))
            value, *groups = case.compute(loss, (soiled, *arrays[1:]))
            assert_bits(value, clean[0], f"{bad}")
            for group, before in zip(groups, clean[1:], strict=True):
                for name, a, b in zip(case.predictions, group, before, strict=bool(group)):
                    assert_bits(a, b, f"{bad} by {name}")


inf, nan = np.inf, np.nan
#: loss, input, target, value, gradient
LIMITS = [
    (lf.MSELoss(reduction="none"), inf, 0, inf, inf),
    (lf.MSELoss(reduction="none"), -inf, 0, inf, -inf),
    (lf.MSELoss(reduction="none"), 0, inf, inf, -inf),
    (lf.MSELoss(reduction="none"), inf, inf, nan, nan),
    (lf.L1Loss(reduction="none"), inf, 0, inf, 1),
    (lf.L1Loss(reduction="none"), -inf, 0, inf, -1),
    (lf.L1Loss(reduction="none"), 0, -inf, inf, 1),
    (lf.L1Loss(reduction="none"), inf, inf, nan, nan),
    (lf.L1Loss(reduction="none"), nan, 0, nan, nan),
    (lf.HuberLoss(delta=0.5, reduction="none"), inf, 0, inf, 0.5),
    (lf.HuberLoss(delta=0.5, reduction="none"), -inf, 0, inf, -0.5),
    (lf.HuberLoss(delta=0.5, reduction="none"), -inf, -inf, nan, nan),
    (lf.HuberLoss(delta=inf, reduction="none"), 3, 0, 4.5, 3),
    (lf.HuberLoss(delta=inf, reduction="none"), inf, 0, nan, inf),
    (lf.SmoothL1Loss(beta=0.5, reduction="none"), inf, 0, inf, 1),
    (lf.SmoothL1Loss(beta=0.5, reduction="none"), -inf, 0, inf, -1),
    (lf.SmoothL1Loss(beta=0.0, reduction="none"), nan, 0, nan, nan),
    (lf.SmoothL1Loss(beta=inf, reduction="none"), 3, 0, 0, 0),
    (lf.BCEWithLogitsLoss(reduction="none"), inf, 1, 0, 0),
    (lf.BCEWithLogitsLoss(reduction="none"), -inf, 0, 0, 0),
    (lf.BCEWithLogitsLoss(reduction="none"), -inf, 1, inf, -1),
    (lf.BCEWithLogitsLoss(reduction="none"), inf, 0, inf, 1),
    (lf.BCEWithLogitsLoss(reduction="none"), 800, 1, 0, 0),
    (lf.BCEWithLogitsLoss(reduction="none"), 800, 0, 800, 1),
    (lf.BCEWithLogitsLoss(reduction="none"), -800, 1, 800, -1),
    (lf.BCEWithLogitsLoss(pos_weight=2.0, reduction="none"), -inf, 1, inf, -2),
    (lf.BCEWithLogitsLoss(pos_weight=2.0, reduction="none"), inf, 1, 0, 0),
    (lf.BCEWithLogitsLoss(pos_weight=2.0, reduction="none"), inf, 0, inf, 1),
    (lf.BCELoss(reduction="none"), 0, 1, 100, -1 / np.float64(np.float32(1e-12))),
    (lf.BCELoss(reduction="none"), 1, 0, 100, 1 / np.float64(np.float32(1e-12))),
    (lf.BCELoss(reduction="none"), 1, 1, 0, 0),
    (lf.BCELoss(reduction="none"), 0, 0, 0, 0),
]


@pytest.mark.parametrize(("loss", "x", "t", "value", "grad"), LIMITS, ids=str)
@each_dtype
def test_limits_of_elementwise_losses(*, loss, x, t, value, grad, dtype, isa):
    # alone, and in every lane of a vector
    for shape in ((), (37,)):
        x_array, t_array = np.full(shape, x, dtype), np.full(shape, t, dtype)
        got = loss.value_and_grad(x_array, t_array)
        np.testing.assert_array_equal(got[0], np.full(shape, value, dtype))
        np.testing.assert_allclose(got[1], np.full(shape, grad, dtype), rtol=1e-6 if dtype == np.float32 else 1e-15)
        by_sum = type(loss)(**{**loss.parameters, "reduction": "sum"})(x_array, t_array)
        np.testing.assert_allclose(by_sum, value * max(1, x_array.size), rtol=1e-6)


@each_dtype
def test_bce_gradient_by_target_is_not_clamped(dtype, isa):
    x, t = np.array([0, 1, 0.25], dtype), np.array([0, 1, 1], dtype)
    by_target = lf.BCELoss(reduction="none").grad(x, t, wrt="target")
    np.testing.assert_allclose(by_target, [inf, -inf, np.log(3)], rtol=1e-6)


@pytest.mark.parametrize("case", [c for c in ELEMENTWISE if c.cls.domains and c.form == Form()], ids=str)
@each_dtype
def test_minus_zero_is_zero(case, dtype, each_isa):
    """At the end of a domain, where logarithms begin."""
    zeros, targets = np.zeros((6, 7), dtype), np.linspace(0, 1, 42).reshape(6, 7).astype(dtype)
    for name in case.cls.domains:
        plus = [zeros if n == name else targets for n in case.names]
        minus = [-zeros if n == name else targets for n in case.names]
        for _ in each_isa():
            for a, e in zip(case.compute(case.loss, minus), case.compute(case.loss, plus), strict=True):
                for x, y in zip(a, e, strict=True) if isinstance(a, tuple) else [(a, e)]:
                    np.testing.assert_array_equal(x, y)


#: logits, label, value, gradient, with p = softmax(1, 2)
P = special.softmax([1.0, 2.0])
ROWS = [
    ([-inf, 1, 2], 1, -np.log(P[0]), [0, P[0] - 1, P[1]]),
    ([-inf, 1, 2], 0, inf, [-1, *P]),
    ([inf, 1, 2], 1, nan, [nan, nan, nan]),
    ([-inf, -inf, -inf], 1, nan, [nan, nan, nan]),
    ([nan, 1, 2], 1, nan, [nan, nan, nan]),
    ([1e4, 0, -inf], 1, 1e4, [1, -1, 0]),
    ([1e4, 0, -inf], 0, 0, [0, 0, 0]),
    ([-1e30, 1, 2], 2, -np.log(P[1]), [0, P[0], P[1] - 1]),
]


@pytest.mark.parametrize(("logits", "label", "value", "grad"), ROWS)
@each_dtype
def test_limits_of_cross_entropy(*, logits, label, value, grad, dtype, isa):
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    loss, onehot = lf.CrossEntropyLoss(reduction="none"), np.eye(3, dtype=dtype)[label]
    for classes in (3, 100):  # in lanes, and along the row
        more = classes - 3
        for shape in ((classes,), (20, classes)):
            x = np.full(shape, -inf, dtype)
            x[..., :3] = logits
            expected = np.broadcast_to(np.r_[grad, np.full(more, nan if np.isnan(value) else 0)], shape)
            for t in (np.full(shape[:-1], label), np.broadcast_to(np.r_[onehot, np.zeros(more)], shape)):
                # a probability of 0 at a logit of -inf counts nothing
                got = loss.value_and_grad(x, t)
                np.testing.assert_allclose(got[0], np.full(shape[:-1], value), rtol=rtol, atol=1e-300)
                np.testing.assert_allclose(got[1], expected, rtol=rtol, atol=1e-300)
                single = lf.CrossEntropyLoss(reduction="sum").value_and_grad(x, t)
                np.testing.assert_allclose(single[1], expected, rtol=rtol, atol=1e-300)


@each_dtype
def test_smoothing_a_masked_class_is_infinitely_wrong(dtype, isa):
    for classes in (3, 100):
        x = np.zeros((2, classes), dtype)
        x[0, 1] = -inf
        value, grad = lf.CrossEntropyLoss(label_smoothing=0.1, reduction="none").value_and_grad(x, [0, 1])
        assert value[0] == inf
        assert np.isfinite(value[1])
        assert np.isfinite(grad).all()
        np.testing.assert_allclose(grad.sum(1), 0, atol=1e-6)


@each_dtype
def test_rows_that_are_ignored_count_nothing(dtype, isa, rng):
    for loss_type, classes in itertools.product((lf.CrossEntropyLoss, lf.NLLLoss), (5, 100)):
        for parameters in ({}, {"label_smoothing": 0.25}):
            if parameters and loss_type is lf.NLLLoss:
                continue
            x, t = rng.standard_normal((6, classes)).astype(dtype), np.array([1, -100, 3, -100, 0, -100])
            for weight in (None, rng.random(classes)):
                loss = loss_type(**parameters, weight=weight)
                value, grad, hess = loss.value_grad_hess(x, t)
                shorter = loss.value_grad_hess(x[::2], t[::2])
                assert value == pytest.approx(shorter[0], rel=1e-6)
                assert not grad[1::2].any()
                assert not hess[1::2].any()
                np.testing.assert_allclose(grad[::2], shorter[1], rtol=1e-5)
                # nothing left: PyTorch's NaN, and a gradient of zeros
                value, grad, hess = loss.value_grad_hess(x, np.full(6, -100))
                assert np.isnan(value)
                assert not grad.any()
                assert not hess.any()
                total = loss_type(**parameters, weight=weight, reduction="sum")
                assert total(x, np.full(6, -100)) == 0
                # an ignored row may hold anything
                soiled = x.copy()
                soiled[1] = nan
                assert_bits(loss.value_and_grad(soiled, t), loss.value_and_grad(x, t))


@each_dtype
def test_weights_that_sum_to_zero(dtype, isa):
    x = np.array([[1.0, 2.0, 3.0]], dtype)
    value, grad = lf.CrossEntropyLoss(weight=[0, 1, 1]).value_and_grad(x, [0])
    assert np.isnan(value)
    assert np.isnan(grad).all()
    value, grad = lf.NLLLoss(weight=[0, 1, 1]).value_and_grad(x, [0])
    assert np.isnan(value)
    np.testing.assert_array_equal(grad, [[nan, 0, 0]])
    value, grad = lf.MSELoss(weight=[0.0, 0.0, 0.0]).value_and_grad(x[0], x[0] + 1)
    assert np.isnan(value)
    assert np.isnan(grad).all()


# ---- out= -----------------------------------------------------------------------------------------------------------


def filled_like(array):
    return np.full_like(array, 77)


def one_or_all(group):
    """One array by itself, several as a tuple."""
    return group[0] if len(group) == 1 else tuple(group)


@each_case
@each_dtype
def test_out_holds_the_bits_of_a_fresh_result(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    for reduction in case.cls.reductions:
        loss = case.reduced(reduction)
        value, *groups = case.compute(loss, arrays, sample_weight=1.5)
        outs = [tuple(map(filled_like, group)) for group in groups]
        again, *got = case.compute(loss, arrays, sample_weight=1.5, out=outs)
        assert all(a is b for mine, own in zip(got, outs, strict=True) for a, b in zip(mine, own, strict=True))
        assert_bits((again, *outs), (value, *groups))
        grads = one_or_all(groups[0])
        for layout in (
            filled_like,
            lambda grad: np.full(grad.shape[::-1], 77, dtype).T,
            lambda grad: np.full((*grad.shape, 2), 77, np.dtype(dtype).newbyteorder())[..., 1],
        ):
            out = one_or_all([layout(grad) for grad in groups[0]])
            loss.grad(*arrays, sample_weight=1.5, out=out)
            assert_bits(out, grads)
            out = one_or_all([layout(grad) for grad in groups[0]])
            again = loss.value_and_grad(*arrays, sample_weight=1.5, out=out)[0]
            assert_bits(out, grads)
            np.testing.assert_allclose(again, value, rtol=1e-6 if dtype == np.float32 else 1e-14)
    value = case.loss(*arrays)
    out = filled_like(value)
    if value.ndim:
        assert case.loss(*arrays, out=out) is out
        assert_bits(out, value)
    fresh = case.compute(case.loss, arrays, wrt=case.differentiable)[1]
    outs = tuple(map(filled_like, fresh))
    got = case.compute(case.loss, arrays, wrt=case.differentiable, out=(outs, tuple(map(filled_like, fresh))))[1]
    assert all(a is b for a, b in zip(got, outs, strict=True))
    assert_bits(outs, fresh)


@each_case
def test_out_beside_a_cotangent_that_is_a_number(case, rng):
    arrays = case.arrays(rng, 300)
    loss = case.reduced("mean")
    grads = loss.grad(*arrays, grad_output=-1.75)
    out = tuple(map(filled_like, grads)) if isinstance(grads, tuple) else filled_like(grads)
    assert loss.grad(*arrays, grad_output=-1.75, out=out) is not None
    assert_bits(out, grads)


@each_case
@each_dtype
def test_out_may_be_what_is_read(case, dtype, isa, rng, parallel):
    lf.set_num_threads(2)
    arrays = case.arrays(rng, 9000, dtype)
    weight = rng.random(case.loss(*arrays).shape)
    floating = [case.names.index(name) for name in case.floating]
    for options in ({}, {"sample_weight": weight}):
        fresh = case.compute(case.loss, arrays, **options)
        value, *groups = fresh
        for which, group in enumerate(groups):
            for place, k in itertools.product(range(len(group)), floating):
                if arrays[k].shape != group[place].shape:
                    continue
                copies = tuple(a.copy() for a in arrays)
                outs = [list(map(filled_like, g)) for g in groups]
                outs[which][place] = copies[k]
                got = case.compute(case.loss, copies, out=tuple(map(tuple, outs)), **options)
                assert got[1 + which][place] is copies[k]
                assert_bits(got, fresh, f"{case.names[k]} replaced")
    for k in floating:
        if arrays[k].shape == value.shape and value.ndim:
            copies = tuple(a.copy() for a in arrays)
            assert case.loss(*copies, out=copies[k]) is copies[k]
            assert_bits(copies[k], case.loss(*arrays))
    # all of them at once, each in every place; of a mean too
    for loss in (case.loss, case.reduced("mean")):
        value, grads, _ = case.compute(loss, arrays, wrt=case.differentiable)
        for order in itertools.permutations(floating, len(grads)):
            if all(arrays[k].shape == grad.shape for k, grad in zip(order, grads, strict=True)):
                copies = tuple(a.copy() for a in arrays)
                out = one_or_all([copies[k] for k in order])
                assert_bits(loss.value_and_grad(*copies, wrt=case.differentiable, out=out), (value, one_or_all(grads)))


@each_case
@each_dtype
def test_out_may_overlap_what_is_read(case, dtype, isa, rng, parallel):
    lf.set_num_threads(2)
    arrays = case.arrays(rng, 9000, dtype)
    value, grads, _ = case.compute(case.loss, arrays)
    room = 8
    for place, name in enumerate(case.predictions):
        position = case.names.index(name)
        x = arrays[position]

        def check(source, out, place=place, position=position):
            outs = [out if k == place else filled_like(grad) for k, grad in enumerate(grads)]
            given = (*arrays[:position], source, *arrays[position + 1 :])
            assert_bits(case.loss.value_and_grad(*given, out=one_or_all(outs)), (value, one_or_all(grads)))

        for shift, backwards in itertools.product((1, 3, room), (False, True)):
            buffer = np.zeros(x.size + room, dtype)
            source = buffer[: x.size] if backwards else buffer[shift : x.size + shift]
            sink = buffer[shift : x.size + shift] if backwards else buffer[: x.size]
            source = source.reshape(x.shape)
            source[...] = x
            check(source, sink.reshape(x.shape))
        # the same memory from its other end
        buffer = x.ravel().copy()
        out = buffer[::-1].reshape(x.shape) if x.ndim == 1 else np.flip(buffer.reshape(x.shape))
        check(buffer.reshape(x.shape), out)
        if value.ndim and name not in SHARED:
            # transposed memory, and weights in it
            weight = rng.random((*value.shape, 2)).astype(dtype)[..., 0]
            _, expected, _ = case.compute(case.loss, arrays, sample_weight=weight, grad_output=weight)
            big = np.zeros((*x.shape, 2), dtype)
            view = case.first_elements(name, big[..., 0])
            view[...] = weight
            outs = [big[..., 0] if k == place else filled_like(grad) for k, grad in enumerate(grads)]
            got = case.loss.grad(*arrays, sample_weight=view, grad_output=view, out=one_or_all(outs))
            assert_bits(got, one_or_all(expected))


@one_of_each
def test_out_that_does_not_fit_is_refused_and_left_alone(case, rng):
    arrays = case.arrays(rng, 70, np.float32)
    _, *groups = case.compute(case.loss, arrays)
    for which, place in ((w, p) for w, group in enumerate(groups) for p in range(len(group))):
        grad = groups[which][place]
        locked = filled_like(grad)
        locked.flags.writeable = False
        wrong = [
            (ValueError, r"shape", np.full((*grad.shape, 1), 77, np.float32)),
            (ValueError, r"shape", np.full((*grad.shape[:-1], grad.shape[-1] + 1), 77, np.float32)),
            (ValueError, r"shape", np.full(grad[:-1].shape, 77, np.float32)),
            (TypeError, r"dtype float64", np.full(grad.shape, 77, np.float64)),
            (TypeError, r"dtype int32", np.full(grad.shape, 77, np.int32)),
            (TypeError, r"dtype float16", np.full(grad.shape, 77, np.float16)),
            (ValueError, r"read-only", locked),
            (TypeError, r"list", grad.tolist()),
        ]
        for (error, message, out), reduction in itertools.product(wrong, ("none", "mean")):
            before = copy.deepcopy(out)
            outs = [list(map(filled_like, group)) for group in groups]
            outs[which][place] = out
            with pytest.raises(error, match=message) as caught:
                case.compute(case.reduced(reduction), arrays, out=tuple(map(tuple, outs)))
            assert "out" in str(caught.value)
            np.testing.assert_array_equal(out, before)
            assert all(np.all(o == 77) for group in outs for o in group if o is not out)
            if which == 0:
                with pytest.raises(error, match=message):
                    case.reduced(reduction).grad(*arrays, out=one_or_all(outs[0]))
    grads = groups[0]
    if case.curved:
        one = one_or_all(grads)
        for method, given in itertools.product(("grad_hess", "value_grad_hess"), (grads[0], (one,), [one, one])):
            with pytest.raises(TypeError, match="out"):
                getattr(case.loss, method)(*arrays, out=given)
    with pytest.raises(TypeError, match="out"):
        case.loss.grad(*arrays, out=tuple(map(filled_like, (*grads, grads[0]))))
    shared = [tuple(map(filled_like, group)) for group in groups]
    if case.curved:
        shared[1] = (shared[0][0], *shared[1][1:])
    else:
        shared[0] = tuple(
            shared[0][0] if grad.shape == grads[0].shape else mine for grad, mine in zip(grads, shared[0], strict=True)
        )
    if case.curved or len({id(out) for out in shared[0]}) < len(grads):
        with pytest.raises(ValueError, match="share memory"):
            case.compute(case.loss, arrays, out=shared)
        assert np.all(shared[0][0] == 77)
    with pytest.raises(ValueError, match="out"):
        case.reduced("mean")(*arrays, out=np.empty(()))


# ---- the object -----------------------------------------------------------------------------------------------------


@each_case
def test_a_loss_is_a_value(case):
    loss = case.bare("none")
    for other in (duplicate(loss), copy.copy(loss), copy.deepcopy(loss), type(loss)(**loss.parameters)):
        assert type(other) is type(loss)
        assert other == loss
        assert hash(other) == hash(loss)
        assert repr(other) == repr(loss)
    assert case.bare("mean") != loss
    assert loss != type(loss).__name__
    namespace = {**vars(lf), "array": np.array, "inf": np.inf}
    with np.printoptions(threshold=10_000):  # all of a long weight
        assert eval(repr(loss), namespace) == loss
    for name in loss.parameters:
        with pytest.raises(AttributeError):
            setattr(loss, name, None)
        with pytest.raises(AttributeError):
            delattr(loss, name)
    with pytest.raises(AttributeError):
        loss.anything = 1


def test_different_losses_are_different():
    losses = [case.bare(r) for case in CASES for r in case.cls.reductions]
    distinct = {loss: repr(loss) for loss in losses}
    assert len(distinct) == len(set(distinct.values()))
    different = {(case.cls, repr(case.bare("none"))) for case in CASES}
    assert len(distinct) == sum(len(cls.reductions) for cls, _ in different)


def test_array_parameters_are_the_losses_own():
    weight = np.array([1.0, 2.0])
    loss = lf.MSELoss(weight=weight)
    before = loss([1.0, 2.0], [0.0, 0.0])
    weight[:] = 100
    assert loss([1.0, 2.0], [0.0, 0.0]) == before
    with pytest.raises(ValueError, match="read-only"):
        loss.weight[0] = 5
    assert loss != lf.MSELoss(weight=weight)
    assert lf.MSELoss(weight=[1, 2]) == lf.MSELoss(weight=[1, 2])


@each_case
def test_function_and_class_agree(case, rng):
    function = case.function
    arrays = case.arrays(rng, 70)
    for reduction in case.cls.reductions:
        loss, parameters = case.reduced(reduction), {**case.parameters, "reduction": reduction}
        for method in case.methods:
            assert_bits(getattr(function, method)(*arrays, **parameters), getattr(loss, method)(*arrays))
            weighted = getattr(function, method)(*arrays, **parameters, sample_weight=2.0)
            assert_bits(weighted, getattr(loss, method)(*arrays, sample_weight=2.0))
        assert_bits(function(*arrays, **parameters), loss(*arrays))
        assert_bits(function.reference(*arrays, **parameters), loss.reference(*arrays))
        keywords = dict(zip(case.names, arrays, strict=True))
        plain = getattr(F, case.cls.function)
        assert_bits(plain.value_and_grad(**keywords, **parameters), loss.value_and_grad(*arrays))
        assert_bits(case.bare(reduction).value_and_grad(**keywords), loss.value_and_grad(*arrays))
    default = type(case)(case.cls, {}, case.form)
    arrays = default.arrays(rng, 70)
    assert_bits(function(*arrays), default.reduced("mean")(*arrays))
    plain = getattr(F, case.cls.function)
    assert duplicate(plain) is plain
    assert plain.__name__ == case.cls.function
    assert plain.__doc__ == case.cls.__doc__


@pytest.mark.parametrize("columns", [5, 100])
def test_a_nan_log_probability_spoils_its_hessian(columns):
    x = np.zeros((2, columns))
    x[1, 3] = np.nan
    for order in "CF":
        hess = lf.NLLLoss().grad_hess(np.asarray(x, order=order), [3, 3])[1]
        np.testing.assert_array_equal(np.isnan(hess), np.isnan(x))


# ---- gradients by the weights ---------------------------------------------------------------------------------------

WEIGHTED = [lf.MSELoss, lf.L1Loss, lf.HuberLoss]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cls", WEIGHTED)
def test_gradient_by_a_broadcast_weight(cls, weighted, reduction, rng):
    x, t, weight = rng.normal(size=(3, 1)), rng.normal(size=(3, 4)), rng.uniform(1, 2, (3, 1))
    sample_weight = rng.uniform(1, 2, (3, 4)) if weighted else None
    grad = cls(weight=weight, reduction=reduction).grad(x, t, wrt="weight", sample_weight=sample_weight)
    for row in range(3):
        step = np.zeros((3, 1))
        step[row] = 1e-4
        above, below = (
            cls(weight=weight + sign * step, reduction=reduction)(x, t, sample_weight=sample_weight) for sign in (1, -1)
        )
        assert grad[row, 0] == pytest.approx((above - below) / 2e-4, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("cls", WEIGHTED)
def test_sample_weights_of_one_change_nothing(cls, rng):
    x, t, weight = rng.normal(size=(3, 1)), rng.normal(size=(3, 4)), rng.uniform(1, 2, (3, 1))
    loss = cls(weight=weight)
    assert loss(x, t) == pytest.approx(loss.reference(x, t), rel=1e-14)
    assert loss(x, t, sample_weight=1.0) == pytest.approx(loss(x, t), rel=1e-14)


@pytest.mark.parametrize("cls", WEIGHTED)
def test_gradient_by_the_weight_of_a_half_precision_loss(cls):
    x = np.full(3, 300, np.float16)
    weight = np.ones(3)
    grad = cls(weight=weight, reduction="sum").grad(x, np.zeros(3), wrt="weight")
    np.testing.assert_allclose(grad, cls(reduction="none")(x.astype(np.float64), np.zeros(3)), rtol=1e-6)


@pytest.mark.parametrize("overwritten", [0, 1])
@pytest.mark.parametrize("cls", WEIGHTED)
def test_gradient_by_the_weight_beside_one_in_place(cls, overwritten, rng):
    arrays, weight = [rng.normal(size=50), rng.normal(size=50)], rng.uniform(1, 2, 50)
    expected = cls(weight=weight).grad(*arrays, wrt=("input", "weight"))
    out = (arrays[overwritten], np.empty(50))
    assert_bits(cls(weight=weight).grad(*arrays, wrt=("input", "weight"), out=out), expected)


# ---- functions ------------------------------------------------------------------------------------------------------


class Changing:
    """Something that NumPy can read and that changes."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_functions_read_a_changed_weight_again(rng):
    weight, x, labels = Changing(np.array([1.0, 2.0, 3.0])), rng.normal(size=(4, 3)), [0, 1, 2, 0]
    before = F.cross_entropy(x, labels, weight=weight)
    weight.array[0] = 100
    after = F.cross_entropy(x, labels, weight=weight)
    assert after != before
    assert after == lf.CrossEntropyLoss(weight=weight.array)(x, labels)
