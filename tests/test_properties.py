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
from lossfast._loss import REGISTRY

from .cases import (
    CASES,
    DTYPES,
    ELEMENTWISE,
    METHODS,
    ONE_EACH,
    ROWWISE,
    assert_bits,
    assert_ulps,
    duplicate,
    wide,
)


def near(value, eps):
    """Equal to some units of rounding."""
    return pytest.approx(float(value), rel=float(8 * eps), nan_ok=True)


def assert_near(case, actual, expected, dtype):
    """Equal to some ULP, of the greatest element where terms cancel."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    finite = np.abs(expected[np.isfinite(expected)])
    eps = 8 * np.finfo(dtype).eps
    floor = 0 if case.hard or not finite.size else eps * finite.max()
    np.testing.assert_allclose(actual, expected, rtol=eps, atol=max(floor, np.finfo(dtype).smallest_normal))


each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_elementwise = pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
each_rowwise = pytest.mark.parametrize("case", ROWWISE, ids=str)
one_of_each = pytest.mark.parametrize("case", ONE_EACH, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))

ROOT = Path(__file__).parent.parent
CURVATURES = ("exact", "psd", "fisher", "majorizer", "unit")


# ---- one declaration ------------------------------------------------------------------------------------------------

#: Kernels that serve a loss beside its own, or a function that is no loss.
AUXILIARY = {"bce_with_logits_weighted"}


def test_every_kernel_is_declared_and_every_declaration_has_its_kernel():
    table = runtime.kernels()
    kernels = set(table["elementwise"]) | set(table["rowwise"]) | set(table["maps"])
    declared = {cls.kernel for cls in REGISTRY.values()}
    assert len(declared) == len(REGISTRY)
    assert kernels == declared | set(_activations.__all__) | AUXILIARY
    for cls in REGISTRY.values():
        assert cls.kernel in {**table["elementwise"], **table["rowwise"]}


def test_registry_is_what_the_package_offers():
    assert {name for name in lf.__all__ if name.endswith("Loss")} == set(REGISTRY)
    assert all(getattr(lf, name) is cls for name, cls in REGISTRY.items())
    assert sorted(F.__all__) == sorted(cls.function for cls in REGISTRY.values())
    assert sorted(lf.__all__) == sorted(set(lf.__all__))
    assert all(hasattr(lf, name) for name in lf.__all__)


def test_type_stub_of_the_functions_is_complete():
    stub = Path(F.__file__).with_suffix(".pyi").read_text()
    missing = [cls.function for cls in REGISTRY.values() if not re.search(rf"\b{cls.function}\b", stub)]
    assert missing == []


@pytest.mark.parametrize("cls", list(REGISTRY.values()), ids=list(REGISTRY))
def test_docstring_is_complete(cls):
    text = inspect.getdoc(cls)  # CPython 3.13 takes the indentation away itself
    for part in (".. math::", "Parameters\n", "reduction :", "Notes\n", "Arrays:", "Curvatures:", "Accuracy: "):
        assert part in text, part
    for name in cls().parameters:
        assert re.search(rf"^{name} : ", text, re.MULTILINE), name
    stated = text.partition("Curvatures:")[2].partition("Accuracy")[0]
    assert {c for c in CURVATURES if re.search(rf"\b{c}\b", stated)} == set(cls.curvatures)


def test_hand_written_documentation_that_lists_losses_lists_all():
    pages = [page.read_text() for page in (ROOT / "docs").glob("api.*") if page.suffix in {".md", ".rst"}]
    listing = [page for page in pages if "autosummary" not in page and "HuberLoss" in page]
    assert [name for page in listing for name in REGISTRY if name not in page] == []


# ---- the value and its definition -----------------------------------------------------------------------------------


def spread(case, arrays):
    """How far logits are apart in each row: rounding x - max is worth as many ULP of its exponential."""
    input = arrays[0].astype(np.longdouble)
    return np.ptp(input, axis=min(1, input.ndim - 1))


def value_bound(case, arrays):
    """ULP of the exact value: 4, and what the rounding of the arguments of exponentials adds."""
    return 4 if case.elementwise or case.cls is lf.NLLLoss else 4 + spread(case, arrays)


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
        assert_ulps(value, exact, dtype, value_bound(case, arrays), scale=floor, message=str(case))


@each_case
@each_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions_sum_the_unreduced_loss(case, dtype, reduction, isa, rng):
    arrays = case.arrays(rng, 5000, dtype)
    loss, share = case.reduced(reduction), case.loss.definition(*wide(*arrays))[1]
    value = loss(*arrays)
    each = case.loss(*arrays).astype(np.longdouble)
    count = np.broadcast_to(share, each.shape).sum(dtype=np.longdouble) if reduction == "mean" else 1
    assert type(value) is float
    assert value == near(each.sum() / count, np.finfo(dtype).eps)
    assert value == pytest.approx(float(loss.reference(*wide(*arrays))), rel=1e-5 if dtype == np.float32 else 1e-13)


@each_case
@each_dtype
def test_all_methods_agree_bit_by_bit(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    for reduction in case.cls.reductions:
        loss = case.reduced(reduction)
        value, grad, hess = loss.value_grad_hess(*arrays)
        assert_bits(loss(*arrays), value)
        assert_bits(loss.value_and_grad(*arrays), (value, grad))
        assert_bits(loss.grad(*arrays), grad)
        assert_bits(loss.grad_hess(*arrays), (grad, hess))
        # asking for a default takes the general way
        assert_bits(loss.value_and_grad(*arrays, wrt="input"), (value, grad))
        assert_bits(loss.value_and_grad(*arrays, wrt=("input",)), (value, grad))
        assert_bits(loss.value_grad_hess(*arrays, curvature="exact"), (value, grad, hess))
        for curvature in case.cls.curvatures:
            assert_bits(loss.value_grad_hess(*arrays, curvature=curvature)[:2], (value, grad))
        if "target" in case.differentiable:
            both = loss.value_and_grad(*arrays, wrt=("input", "target"))
            assert_bits(both[0], value)
            assert_bits(both[1][0], grad)
            assert_bits(loss.grad(*arrays, wrt="target"), both[1][1])
            swapped = loss.value_and_grad(*arrays, wrt=("target", "input"))
            assert_bits(swapped[1], both[1][::-1])


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
                none.value_grad_hess(*arrays),
                mean.value_and_grad(*arrays),
                mean(*arrays),
                mean.value_grad_hess(*arrays, sample_weight=weight),
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


def shifted(function, x, axis, classes):
    """`h -> function(x + h)`, element by element or, along a class axis, for one class after the other."""
    if axis is None:
        return lambda h: function(x + h)

    def result(h):
        rows = []
        for c in classes:
            moved = np.moveaxis(x.copy(), axis, 0)
            moved[c] += h
            outcome = function(np.moveaxis(moved, 0, axis))
            rows.append(outcome if outcome.ndim < x.ndim else np.take(outcome, c, axis))
        return np.stack(rows, axis)

    return result


def some_classes(case, arrays):
    """Where the class axis is, and classes enough: all of a few; of many those of the labels and the first ones."""
    if case.elementwise:
        return None, None
    axis = min(1, arrays[0].ndim - 1)
    classes = range(arrays[0].shape[axis])
    if len(classes) > 100 and case.labelled:
        return axis, sorted({*range(20), *(int(t) for t in arrays[1].ravel() if t in classes)})
    return axis, list(classes)


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


def target_of(case, arrays, name):
    """The function of one argument that the loss is, and that argument."""
    position = case.cls.arrays.index(name)

    def function(x, evaluate):
        return evaluate(*arrays[:position], x, *arrays[position + 1 :])

    return function, arrays[position]


@each_case
@each_dtype
def test_gradient_is_the_derivative_of_the_reference(case, dtype, isa, rng):
    arrays = case.arrays(rng, 40, dtype)
    if case.cls is lf.BCELoss:  # near 0 and 1 its gradient is that of another function, as PyTorch's is
        arrays = tuple(np.where(a == np.rint(a), 0.5, a) if i == 0 else a for i, a in enumerate(arrays))
    exact = wide(*arrays)
    for name in case.differentiable:
        function, x = target_of(case, exact, name)
        axis, classes = some_classes(case, arrays)
        along = shifted(lambda x, f=function: f(x, case.loss.reference), x, axis, classes)
        actual = case.loss.grad(*arrays, wrt=name)
        assert actual.dtype == dtype
        assert actual.shape == x.shape
        rtol = 1e-11 if dtype == np.float64 else 1e-5
        actual = actual if axis is None else np.take(actual, classes, axis)
        check_derivative(actual, along, h=np.longdouble(2.0**-11), rtol=rtol, case=case, name=name)


@each_case
def test_hessian_is_the_derivative_of_the_gradient(case, isa, rng):
    arrays = case.arrays(rng, 60)
    if case.cls is lf.BCELoss:
        arrays = (np.clip(arrays[0], 0.05, 0.95), arrays[1])
    curved = [name for name in case.cls.curved if name in case.differentiable]
    for name in curved:
        function, x = target_of(case, arrays, name)
        axis, classes = some_classes(case, arrays)
        along = shifted(lambda x, f=function, n=name: f(x, lambda *a: clean_grad(case, a, n)), x, axis, classes)
        grad, hess = case.loss.grad_hess(*arrays, wrt=name)
        assert_bits(grad, case.loss.grad(*arrays, wrt=name))
        hess = hess if axis is None else np.take(hess, classes, axis)
        check_derivative(hess, along, h=2.0**-9, rtol=1e-8, case=case, name=name)


def clean_grad(case, arrays, name):
    """The gradient, NaN where a difference left the domain."""
    try:
        return case.loss.grad(*arrays, wrt=name)
    except ValueError:
        inside = [
            np.clip(a, i.low, i.high)
            for a, i in zip(arrays, (case.cls.domains[n] for n in case.cls.arrays), strict=True)
        ]
        outside = np.any([a != b for a, b in zip(arrays, inside, strict=True)], axis=0)
        return np.where(outside, np.nan, case.loss.grad(*inside, wrt=name))


@each_case
def test_float32_derivatives_are_those_of_float64(case, isa, rng):
    narrow = case.arrays(rng, 300, np.float32)
    double = tuple(a.astype(np.float64) if a.dtype.kind == "f" else a for a in narrow)
    for curvature in case.cls.curvatures:
        if curvature == "psd":  # its floor is another
            continue
        names = [name for name in case.cls.curved if name in case.differentiable]
        for name in names:
            grads = case.loss.grad_hess(*narrow, wrt=name, curvature=curvature)
            exact = case.loss.grad_hess(*double, wrt=name, curvature=curvature)
            for k, (a, b) in enumerate(zip(grads, exact, strict=True)):
                assert a.dtype == np.float32
                bound = 12 if case.elementwise else 12 + 2 * spread(case, double).max()
                terms = 0.0
                if case.cls is lf.BCEWithLogitsLoss:  # w sigmoid(x) - v t cancels for soft targets
                    terms = np.abs(case.loss.grad_hess(*double, wrt="input", curvature="majorizer")[1])
                elif not case.hard or (k == 1 and not case.elementwise):  # p (1 - p), as p nears 1
                    terms = np.abs(b).max()
                told = np.ones(a.shape, bool)
                if curvature == "majorizer" and case.cls in (lf.L1Loss, lf.SmoothL1Loss):
                    told = narrow[0] != narrow[1]  # else 1 / eps of either dtype
                terms = np.broadcast_to(terms, a.shape)[told]
                assert_ulps(a[told], b[told], np.float32, bound, scale=terms, message=f"{case} {curvature} by {name}")


@each_case
@each_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_derivatives_of_a_reduction_are_scaled_unreduced_ones(case, dtype, reduction, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    share = case.loss.definition(*wide(*arrays))[1]
    scale = 1.0
    if reduction == "mean":
        scale = float(1 / np.broadcast_to(share, case.loss(*arrays).shape).sum())
    each, reduced = case.loss.grad_hess(*arrays), case.reduced(reduction).grad_hess(*arrays)
    for a, b in zip(reduced, each, strict=True):
        assert_near(case, a, b * scale, dtype)
    by_all = case.reduced(reduction).grad(*arrays, wrt=case.differentiable)
    each_by_all = case.loss.grad(*arrays, wrt=case.differentiable)
    for a, b in zip(np.atleast_1d(by_all), np.atleast_1d(each_by_all), strict=True):
        assert_near(case, a, b * scale, dtype)


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if "weight" in c.cls.differentiable and c.loss.weight is not None and not c.labelled],
    ids=str,
)
def test_gradient_by_the_weight(case, isa, rng):
    arrays = case.arrays(rng, 60)
    weight, exact = case.loss.weight, wide(*arrays)
    cotangent = rng.random(case.loss(*arrays).shape)
    grad = case.loss.grad(*arrays, wrt="weight", grad_output=cotangent)
    assert grad.shape == weight.shape
    places = rng.choice(weight.size, 7, replace=False)
    for place in places:
        step = np.zeros(weight.size)
        step[place] = 1  # the loss is linear in its weights
        one = type(case.loss)(**{**case.parameters, "weight": step.reshape(weight.shape), "reduction": "none"})
        assert grad.flat[place] == pytest.approx(float((one.reference(*exact) * cotangent).sum()), rel=1e-13)
    for reduction in ("mean", "sum"):
        loss = case.reduced(reduction)
        value, grads = loss.value_and_grad(*arrays, wrt=("input", "weight"))
        assert_bits((value, grads[0]), loss.value_and_grad(*arrays))
        for place in places:

            def moved(h, place=place, reduction=reduction):
                shifted = weight.astype(np.longdouble)
                shifted.flat[place] += h
                other = type(case.loss)(**{**case.parameters, "weight": shifted.astype(float), "reduction": reduction})
                return other.reference(*exact)

            assert grads[1].flat[place] == pytest.approx(
                float(central(moved, np.longdouble(2.0**-9))), rel=1e-9, abs=1e-12
            )


# ---- sample weights, cotangents -------------------------------------------------------------------------------------


def over_classes(case, per_element, array):
    """One number per unreduced loss element, laid against an array that may have a class axis."""
    if case.elementwise or np.ndim(per_element) == 0:
        return per_element
    return np.expand_dims(per_element, min(1, array.ndim - 1))


@each_case
@each_dtype
def test_sample_weight_multiplies(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    shape = case.loss(*arrays).shape
    eps = np.finfo(dtype).eps
    weight = rng.integers(1, 9, shape) / 4
    for reduction in ("none", "sum"):
        loss = case.reduced(reduction)
        parts, each = loss.value_grad_hess(*arrays, sample_weight=weight), case.loss.value_grad_hess(*arrays)
        weighted = each[0].astype(np.longdouble) * weight
        if reduction == "none":
            assert_ulps(parts[0], weighted, dtype, 3)
        else:
            assert parts[0] == near(weighted.sum(), eps)
        for a, b in zip(parts[1:], each[1:], strict=True):
            assert_near(case, a, b * over_classes(case, weight, b), dtype)
        assert_bits(loss(*arrays, sample_weight=weight), parts[0])
        assert_bits(loss.value_and_grad(*arrays, sample_weight=weight), parts[:2])


@each_case
@each_dtype
def test_mean_is_divided_by_the_weighted_denominator(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    eps = np.finfo(dtype).eps
    value, grad, hess = case.loss.value_grad_hess(*arrays)
    weight = rng.integers(1, 9, value.shape) / 4
    share = np.broadcast_to(case.loss.definition(*wide(*arrays))[1], value.shape)
    denominator = (share * weight).sum()
    mean = case.reduced("mean")
    parts = mean.value_grad_hess(*arrays, sample_weight=weight)
    assert parts[0] == near((value.astype(np.longdouble) * weight).sum() / denominator, eps)
    for a, b in zip(parts[1:], (grad, hess), strict=True):
        assert_near(case, a, b * over_classes(case, weight, b) / float(denominator), dtype)
    assert_bits(mean(*arrays, sample_weight=weight), parts[0])
    # a constant weight leaves a mean alone; of two, bit by bit
    assert_bits(mean.value_and_grad(*arrays, sample_weight=2.0)[0], mean(*arrays))
    assert_near(case, mean.grad(*arrays, sample_weight=2), mean.grad(*arrays), dtype)
    # and its dtype does not matter
    for kind in (np.float32, np.int8, ">f8"):
        whole = (4 * weight).astype(kind)
        assert_bits(mean(*arrays, sample_weight=whole), mean(*arrays, sample_weight=4 * weight))


@each_case
@each_dtype
def test_cotangent_multiplies_derivatives_alone(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    value, grad, hess = case.loss.value_grad_hess(*arrays)
    cotangent = np.rint(8 * rng.standard_normal(value.shape)) / 4 + 0.125
    parts = case.loss.value_grad_hess(*arrays, grad_output=cotangent)
    assert_bits(parts[0], value)
    for a, b in zip(parts[1:], (grad, hess), strict=True):
        assert_near(case, a, b * over_classes(case, cotangent, b), dtype)
    weight = rng.integers(1, 9, value.shape) / 4
    both = case.loss.grad(*arrays, grad_output=cotangent, sample_weight=weight)
    assert_near(case, both, grad * over_classes(case, cotangent * weight, grad), dtype)
    for reduction in ("mean", "sum"):
        loss = case.reduced(reduction)
        a, b = loss.value_and_grad(*arrays, grad_output=-2.5), loss.value_and_grad(*arrays)
        assert a[0] == b[0]
        assert_near(case, a[1], -2.5 * b[1], dtype)
        assert_near(case, loss.grad(*arrays, grad_output=np.float32(-2.5)), -2.5 * b[1], dtype)


# ---- curvatures -----------------------------------------------------------------------------------------------------


def softmax_hessian(case, x, t):
    axis = min(1, x.ndim - 1)
    p = special.softmax(x, axis=axis)
    weight = np.ones(x.shape[axis]) if case.loss.weight is None else case.loss.weight
    weight = weight.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    smoothing = case.loss.label_smoothing
    if not case.labelled:
        mass = (weight * ((1 - smoothing) * t + smoothing / x.shape[axis])).sum(axis, keepdims=True)
    else:
        kept = t != case.loss.ignore_index
        own = np.take(weight, np.where(kept, t, 0))
        mass = kept * ((1 - smoothing) * own + smoothing * weight.mean())
        mass = np.expand_dims(mass, axis)
    return {"exact": mass * p * (1 - p), "fisher": mass * p * (1 - p), "majorizer": mass / 2 + 0 * p}


def expected_curvatures(case, x, t):
    """Hessian diagonals in closed form, before weights of the elements, where the loss has a row in the table.

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
    if name == "BCELoss":
        with np.errstate(divide="ignore", invalid="ignore"):
            hit = np.where(t == 0, 0, t / x**2) + np.where(t == 1, 0, (1 - t) / (1 - x) ** 2)
            return {"exact": hit, "fisher": 1 / (x * (1 - x))}
    if name == "BCEWithLogitsLoss":
        mass = 1 - t + t * (1 if loss.pos_weight is None else loss.pos_weight)
        hess = mass * special.expit(x) * special.expit(-x)
        return {"exact": hess, "fisher": hess, "majorizer": mass / 4}
    if name == "NLLLoss":
        return {"exact": 0 * x}
    if name == "CrossEntropyLoss":
        return softmax_hessian(case, x, t)
    return {}


@each_case
def test_curvatures_are_those_of_the_table(case, isa, rng):
    arrays = case.arrays(rng, 300)
    multiplier = 1.0
    if case.elementwise and case.cls.multiplier and getattr(case.loss, case.cls.multiplier) is not None:
        multiplier = getattr(case.loss, case.cls.multiplier)
    expected = expected_curvatures(case, *arrays)
    assert not expected or set(expected) | {"psd", "unit"} == set(case.cls.curvatures)
    for curvature, table in expected.items():
        grad, hess = case.loss.grad_hess(*arrays, curvature=curvature)
        assert_bits(grad, case.loss.grad(*arrays))
        np.testing.assert_allclose(hess, table * multiplier, rtol=1e-12, atol=1e-300)
    kept = np.ones(arrays[0].shape)
    if case.labelled:
        kept = over_classes(case, arrays[1] != case.loss.ignore_index, kept) * kept
    unit = case.loss.grad_hess(*arrays, curvature="unit")[1]
    np.testing.assert_array_equal(unit, kept * multiplier)
    scale = 2.0 / 8  # powers of two: no rounding
    unit = case.loss.grad_hess(*arrays, curvature="unit", grad_output=scale)[1]
    np.testing.assert_array_equal(unit, kept * multiplier * scale)
    floor = np.finfo(np.float64).eps
    psd, exact = (case.loss.grad_hess(*arrays, curvature=c)[1] for c in ("psd", "exact"))
    np.testing.assert_allclose(psd, np.maximum(exact, floor * kept * multiplier), rtol=1e-15)
    assert np.all(psd[kept != 0] > 0)
    narrow = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
    psd = case.loss.grad_hess(*narrow, curvature="psd")[1]
    least = np.finfo(np.float32).eps * kept * multiplier
    assert np.all(psd >= least)
    assert np.all(psd[kept != 0] > 0)


@one_of_each
def test_missing_curvature_names_those_that_exist(case, rng):
    arrays = case.arrays(rng, 30)
    missing = [c for c in CURVATURES if c not in case.cls.curvatures] + ["positive"]
    for curvature, method in itertools.product(missing, ("grad_hess", "value_grad_hess")):
        with pytest.raises(ValueError, match="curvature") as caught:
            getattr(case.loss, method)(*arrays, curvature=curvature)
        assert all(repr(c) in str(caught.value) for c in (curvature, *case.cls.curvatures))


@pytest.mark.parametrize("case", [c for c in CASES if "majorizer" in c.cls.curvatures], ids=str)
def test_majorizer_lies_above_the_loss(case, rng):
    x, t = case.arrays(rng, 300)
    value, grad, hess = case.loss.value_grad_hess(x, t, curvature="majorizer")
    axis = min(1, x.ndim - 1)
    for size in (1e-3, 0.1, 1, 10):
        step = size * rng.standard_normal(x.shape)
        terms = grad * step + 0.5 * hess * step**2
        above = value + (terms if case.elementwise else terms.sum(axis))
        assert np.all(case.loss(x + step, t) <= above + 1e-12 * (1 + np.abs(above)))


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


@each_elementwise
@each_dtype
def test_nan_stays_at_its_element(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    clean = case.loss.value_grad_hess(*arrays)
    for k in range(len(arrays)):
        soiled = [a.copy() for a in arrays]
        # the lone ends of vectors too
        places = np.zeros(arrays[0].size, bool)
        places[[0, 5, 100, -1]] = True
        soiled[k].reshape(-1)[places] = np.nan
        places = places.reshape(arrays[0].shape)
        for curvature in case.cls.curvatures:
            parts = case.loss.value_grad_hess(*soiled, curvature=curvature)
            for part in parts:
                np.testing.assert_array_equal(np.isnan(part) & places, places, err_msg=f"{curvature} of {case}")
            for part, before in zip(parts[:2], clean, strict=False):
                assert_bits(part[~places], before[~places])
        for name in case.differentiable:
            if k == 0 or name == "input":
                assert np.isnan(case.loss.grad(*soiled, wrt=name)[places]).all()
        assert np.isnan(case.reduced("mean")(*soiled))
        assert np.isnan(case.reduced("sum")(*soiled))
        assert np.isnan(case.reduced("sum").value_and_grad(*soiled)[0])


@each_rowwise
@each_dtype
def test_nan_stays_in_its_row(case, dtype, isa, rng):
    x, t = case.arrays(rng, 3000, dtype)
    axis = min(1, x.ndim - 1)
    clean = case.loss.value_grad_hess(x, t)
    rows = np.zeros(clean[0].shape, bool)
    rows.reshape(-1)[[0, -1]] = True
    kept = t != case.loss.ignore_index if case.labelled else np.ones(rows.shape, bool)
    soiled = np.moveaxis(x.copy(), axis, -1)
    if case.cls is lf.NLLLoss:  # reads nothing but the label's entry
        for row in np.argwhere(rows & kept):
            soiled[tuple(row)][t[tuple(row)]] = np.nan
    else:
        soiled[rows, 0] = np.nan
    parts = case.loss.value_grad_hess(np.moveaxis(soiled, -1, axis), t)
    bad = np.isnan(parts[0])
    np.testing.assert_array_equal(bad, rows & kept)
    for after, before in zip(parts[1:], clean[1:], strict=True):
        moved, still = np.moveaxis(after, axis, -1), np.moveaxis(before, axis, -1)
        if case.cls is not lf.NLLLoss:
            assert np.isnan(moved[bad]).all()
        assert_bits(moved[~bad], still[~bad])
    if case.cls is lf.NLLLoss:
        assert np.isnan(np.moveaxis(parts[1], axis, -1)[bad]).any(-1).all()
    assert not np.isnan(np.moveaxis(parts[1], axis, -1)[rows & ~kept]).any()
    assert np.isnan(case.reduced("sum").value_and_grad(np.moveaxis(soiled, -1, axis), t)[0])


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


@each_case
@each_dtype
def test_out_holds_the_bits_of_a_fresh_result(case, dtype, isa, rng):
    arrays = case.arrays(rng, 300, dtype)
    for reduction in ("none", "mean"):
        loss = case.reduced(reduction)
        value, grad, hess = loss.value_grad_hess(*arrays, sample_weight=1.5)
        outs = filled_like(grad), filled_like(hess)
        got = loss.value_grad_hess(*arrays, sample_weight=1.5, out=outs)
        assert got[1] is outs[0]
        assert got[2] is outs[1]
        assert_bits((got[0], *outs), (value, grad, hess))
        out = filled_like(grad)
        assert loss.grad(*arrays, sample_weight=1.5, out=out) is out
        assert_bits(out, grad)
        # in another layout
        out = np.full(grad.shape[::-1], 77, dtype).T
        loss.value_and_grad(*arrays, sample_weight=1.5, out=out)
        assert_bits(out, grad)
        out = np.full((*grad.shape, 2), 77, np.dtype(dtype).newbyteorder())[..., 1]
        loss.value_and_grad(*arrays, sample_weight=1.5, out=out)
        assert_bits(out, grad)
    value = case.loss(*arrays)
    out = filled_like(value)
    if value.ndim:
        assert case.loss(*arrays, out=out) is out
        assert_bits(out, value)
    names = case.differentiable
    if len(names) > 1:
        fresh = case.loss.grad(*arrays, wrt=names)
        outs = tuple(filled_like(g) for g in fresh)
        got = case.loss.grad(*arrays, wrt=names, out=outs)
        assert all(a is b for a, b in zip(got, outs, strict=True))
        assert_bits(outs, fresh)


@each_case
@each_dtype
def test_out_may_be_what_is_read(case, dtype, isa, rng, parallel):
    lf.set_num_threads(2)
    arrays = case.arrays(rng, 9000, dtype)
    floating = [k for k, a in enumerate(arrays) if a.dtype == dtype and a.shape == arrays[0].shape]
    fresh = case.loss.value_grad_hess(*arrays)
    for k in floating:
        copies = [a.copy() for a in arrays]
        got = case.loss.value_and_grad(*copies, out=copies[k])
        assert got[1] is copies[k]
        assert_bits(got, fresh[:2])
        copies = [a.copy() for a in arrays]
        other = filled_like(fresh[2])
        case.loss.grad_hess(*copies, out=(copies[k], other))
        assert_bits((copies[k], other), fresh[1:])
        copies = [a.copy() for a in arrays]
        other = filled_like(fresh[1])
        case.loss.grad_hess(*copies, out=(other, copies[k]))
        assert_bits((other, copies[k]), fresh[1:])
        if case.elementwise:
            copies = [a.copy() for a in arrays]
            case.loss(*copies, out=copies[k])
            assert_bits(copies[k], fresh[0])
        mean, copies = case.reduced("mean"), [a.copy() for a in arrays]
        assert_bits(mean.value_and_grad(*copies, out=copies[k]), mean.value_and_grad(*arrays))
    if len(floating) > 1 and len(case.differentiable) > 1:
        fresh = case.loss.value_and_grad(*arrays, wrt=("input", "target"))
        for order in ((0, 1), (1, 0)):
            copies = [a.copy() for a in arrays]
            got = case.loss.value_and_grad(*copies, wrt=("input", "target"), out=tuple(copies[k] for k in order))
            assert_bits(got, fresh)


@each_case
@each_dtype
def test_out_may_overlap_what_is_read(case, dtype, isa, rng, parallel):
    lf.set_num_threads(2)
    arrays = case.arrays(rng, 9000, dtype)
    x, t = arrays
    fresh = case.loss.value_grad_hess(*arrays)
    room = 8
    for shift in (1, 3, room):
        for backwards in (False, True):
            buffer = np.zeros(x.size + room, dtype)
            source = buffer[: x.size] if backwards else buffer[shift : x.size + shift]
            sink = buffer[shift : x.size + shift] if backwards else buffer[: x.size]
            source = source.reshape(x.shape)
            source[...] = x
            out = sink.reshape(x.shape)
            assert_bits(case.loss.value_and_grad(source, t, out=out), fresh[:2])
    # the same memory from its other end
    buffer = x.ravel().copy()
    out = buffer[::-1].reshape(x.shape) if x.ndim == 1 else np.flip(buffer.reshape(x.shape))
    assert_bits(case.loss.value_and_grad(buffer.reshape(x.shape), t, out=out)[1], fresh[1])
    if case.elementwise or case.form.batched:
        # transposed memory, and weights in it
        side = rng.random((*fresh[0].shape, 2)).astype(dtype)
        weight = side[..., 0]
        expected = case.loss.grad(x, t, sample_weight=weight, grad_output=weight)
        big = np.zeros((*x.shape, 2), dtype)
        view = big[..., 0] if case.elementwise else np.moveaxis(big[..., 0], 1, -1)[..., 0]
        view[...] = weight
        got = case.loss.grad(x, t, sample_weight=view, grad_output=view, out=big[..., 0])
        assert_bits(got, expected)


@one_of_each
def test_out_that_does_not_fit_is_refused_and_left_alone(case, rng):
    arrays = case.arrays(rng, 70, np.float32)
    grad = case.loss.grad(*arrays)
    locked = filled_like(grad)
    locked.flags.writeable = False
    wrong = [
        (ValueError, r"shape", np.full((*grad.shape, 1), 77, np.float32)),
        (ValueError, r"shape", np.full(grad.shape[::-1], 77, np.float32)),
        (ValueError, r"shape", np.full(grad[:-1].shape, 77, np.float32)),
        (TypeError, r"dtype float64", np.full(grad.shape, 77, np.float64)),
        (TypeError, r"dtype int32", np.full(grad.shape, 77, np.int32)),
        (TypeError, r"dtype float16", np.full(grad.shape, 77, np.float16)),
        (ValueError, r"read-only", locked),
        (TypeError, r"list", grad.tolist()),
    ]
    for error, message, out in wrong:
        before = copy.deepcopy(out)
        fine = filled_like(grad)
        for reduction in ("none", "mean"):
            loss = case.reduced(reduction)
            for method, given in (
                ("grad", out),
                ("value_and_grad", out),
                ("grad_hess", (out, fine)),
                ("value_grad_hess", (fine, out)),
            ):
                with pytest.raises(error, match=message) as caught:
                    getattr(loss, method)(*arrays, out=given)
                assert "out" in str(caught.value)
                np.testing.assert_array_equal(out, before)
                assert np.all(fine == 77)
    for method, given in itertools.product(("grad_hess", "value_grad_hess"), (grad, (grad,), [grad, grad])):
        with pytest.raises(TypeError, match="out"):
            getattr(case.loss, method)(*arrays, out=given)
    with pytest.raises(TypeError, match="out"):
        case.loss.grad(*arrays, out=(filled_like(grad), filled_like(grad)))
    shared = filled_like(grad)
    with pytest.raises(ValueError, match="share memory"):
        case.loss.grad_hess(*arrays, out=(shared, shared))
    assert np.all(shared == 77)
    with pytest.raises(ValueError, match="out"):
        case.reduced("mean")(*arrays, out=np.empty(()))


# ---- the object -----------------------------------------------------------------------------------------------------


@each_case
def test_a_loss_is_a_value(case):
    loss = case.loss
    for other in (duplicate(loss), copy.copy(loss), copy.deepcopy(loss), type(loss)(**loss.parameters)):
        assert type(other) is type(loss)
        assert other == loss
        assert hash(other) == hash(loss)
        assert repr(other) == repr(loss)
    assert case.reduced("mean") != loss
    assert loss != type(loss).__name__
    namespace = {**vars(lf), "array": np.array}
    assert eval(repr(loss), namespace) == loss
    for name in loss.parameters:
        with pytest.raises(AttributeError):
            setattr(loss, name, None)
        with pytest.raises(AttributeError):
            delattr(loss, name)
    with pytest.raises(AttributeError):
        loss.anything = 1


def test_different_losses_are_different():
    losses = [case.reduced(r) for case in CASES for r in case.cls.reductions]
    distinct = {loss: repr(loss) for loss in losses}
    assert len(distinct) == len(set(distinct.values()))
    assert len(distinct) == len({(type(c.loss), repr(c.loss)) for c in CASES}) * 3


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
    function = getattr(F, case.cls.function)
    arrays = case.arrays(rng, 70)
    for reduction in case.cls.reductions:
        loss, parameters = case.reduced(reduction), {**case.parameters, "reduction": reduction}
        for method in METHODS:
            assert_bits(getattr(function, method)(*arrays, **parameters), getattr(loss, method)(*arrays))
            weighted = getattr(function, method)(*arrays, **parameters, sample_weight=2.0)
            assert_bits(weighted, getattr(loss, method)(*arrays, sample_weight=2.0))
        assert_bits(function(*arrays, **parameters), loss(*arrays))
        assert_bits(function.reference(*arrays, **parameters), loss.reference(*arrays))
        keywords = dict(zip(case.cls.arrays, arrays, strict=True))
        assert_bits(function.value_and_grad(**keywords, **parameters), loss.value_and_grad(*arrays))
    assert_bits(function(*arrays), case.cls()(*arrays))
    assert duplicate(function) is function
    assert function.__name__ == case.cls.function
    assert function.__doc__ == case.cls.__doc__


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
