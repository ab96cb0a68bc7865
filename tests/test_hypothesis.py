"""Whatever a declaration allows: any parameters, shape, dtype, layout and number, NaN, infinities and huge ones too."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossfast._loss import REGISTRY, Interval, OneOf

from .cases import UNIT, USUAL, Case, Form, assert_bits, noise, wide
from .layouts import LAYOUTS

#: Numbers that formulas trip over; those beyond a dtype become infinities or zeros of it.
SPECIAL = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 100.0, -100.0),
    *(1e-310, -1e-40, 1e-30, 2.0**-24, 1.0 - 2.0**-24, 1e4, -88.0, 710.0, 1e15, -1e30, 1e37, 1e300),
)
PREDICTION_DTYPES = ("f4", "f8", "f2", ">f4", ">f8", "i2", "g")
OTHER_DTYPES = (*PREDICTION_DTYPES, "u1", "?")


def value_of(field):
    """A value for a parameter, from its declaration."""
    default, facts = field.default, field.metadata
    choices = [st.just(default)]
    if field.name == "reduction" or facts.get("array"):
        return choices[0]
    if isinstance(facts.get("domain"), OneOf):
        choices.append(st.sampled_from(facts["domain"].numbers))
    elif "domain" in facts:
        domain = facts["domain"]
        low, high = max(domain.low, -100.0), min(domain.high, 100.0)
        inside = st.floats(low, high, exclude_min=low not in domain, exclude_max=high not in domain)
        choices += [inside, *(st.just(end) for end in (domain.low, domain.high) if end in domain)]
        if facts.get("optional"):
            choices.append(st.none())
    elif facts.get("integer"):
        choices.append(st.integers(-2, 6))
    elif facts.get("flag"):
        choices.append(st.booleans())
    elif "among" in facts:
        choices.append(st.sampled_from(facts["among"]))
    return st.one_of(choices)


@st.composite
def forms(draw, cls):
    """The shape of data; many of its facts mean something to some losses only."""
    case = Case(cls, {}, Form())
    length = draw(st.sampled_from((7, 1, 2, 3, 17, 64, 65, 2049)))
    inner, batched = (), draw(st.sampled_from((True, True, False)))
    if batched and (case.rowwise or case.pairwise) and getattr(cls, "trailing_axes", True):
        inner = draw(st.sampled_from(((), (2,), (1, 3))))
    return Form(
        length=length,
        inner=inner,
        batched=batched,
        probabilities=(getattr(cls, "takes_probabilities", False) or case.linear) and draw(st.booleans()),
        bias=case.linear and draw(st.booleans()),
    )


@st.composite
def weights(draw, shape):
    """Nothing, a number, or an array that broadcasts to a shape."""
    kept = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    small = tuple(n if keep else 1 for n, keep in zip(shape, kept, strict=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(("f8", "f4", "i2", ">f8")))
    return draw(st.sampled_from((None, 2.0, np.asarray(rng.integers(0, 9, small) / 4).astype(kind))))


@st.composite
def losses(draw, cls):
    """A loss with parameters from their domains, and weights of the classes or elements."""
    form = draw(forms(cls))
    parameters = {field.name: draw(value_of(field)) for field in dataclasses.fields(cls)}
    reduction = draw(st.sampled_from(cls.reductions))
    del parameters["reduction"]
    if form.probabilities and parameters.get("ignore_index", -1) >= 0:
        parameters["ignore_index"] = -100
    if "blank" in parameters:
        parameters["blank"] %= form.length
        parameters["sparse"] = False  # its gradient has a shape of its own
        if parameters["from_logits"]:
            parameters["gradient"] = "logits"
    case = Case(cls, parameters, form)
    count = draw(st.integers(1 if case.sequences else 0, 6))
    shapes = case.shapes_of(count)
    for field in dataclasses.fields(cls):
        if field.metadata.get("array") and draw(st.integers(0, 3)) == 0:
            one_per_class = not case.elementwise
            shape = (form.length,) if one_per_class else shapes[case.names[0]]
            parameters[field.name] = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, shape) / 4
    return Case(cls, parameters, form), reduction, shapes


@st.composite
def arguments(draw, case, shapes):
    """Numbers as they usually are with a few that are not, in some dtype and layout."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    arrays = []
    for name, shape in shapes.items():
        array = case.draw(name, rng, shape)
        if name in case.integral:
            kind = draw(st.sampled_from(("i8", "i2", ">i4")))
        else:
            kind = draw(st.sampled_from(PREDICTION_DTYPES if name in case.cls.predictions else OTHER_DTYPES))
            if array.size:
                for special in draw(st.lists(st.sampled_from(SPECIAL) | st.floats(width=32), max_size=4)):
                    array[tuple(rng.integers(0, n) for n in array.shape)] = special
            if case.sequences:  # which take a log-probability below -5e29 for -inf
                array = np.where(np.abs(array) > 1e28, np.copysign(np.inf, array), array)
            if form_is_probability(case, name):
                kind = "f8" if np.dtype(kind).kind in "iub" else kind
            if np.dtype(kind).kind in "iub":
                array = np.clip(np.nan_to_num(np.rint(array)), 0 if kind in ("u1", "?") else -99, 99)
        with np.errstate(all="ignore"):
            arrays.append(draw(st.sampled_from(LAYOUTS))(np.asarray(array).astype(kind)))
    return tuple(arrays)


def form_is_probability(case, name):
    """Whether integers would be taken for labels."""
    return name == "target" and case.form.probabilities


def outside_of_domain(case, arrays):
    for name, array in zip(case.names, arrays, strict=True):
        domain = case.cls.domains.get(name, Interval())
        if np.any((array < domain.low) | (array > domain.high)):
            return True
    return False


def assert_value(case, value, arrays, dtype):
    """The value of each loss is that of the reference, where nothing that it reads is infinite or overflows."""
    with np.errstate(all="ignore"):
        rounded = [a if name in case.integral else a.astype(dtype) for name, a in zip(case.names, arrays, strict=True)]
        exact = case.loss.reference(*wide(*rounded))
        slack = noise(case, case.loss.reference, tuple(rounded), dtype) + np.finfo(dtype).smallest_normal
        eps = np.longdouble(np.finfo(value.dtype).eps if value.dtype.itemsize == 2 else np.finfo(dtype).eps)
        spread = case.spread(tuple(rounded))
        bound = (case.bound or 4 + spread) + case.excess(tuple(rounded)) + 2
        # what a half precision and the long double of the reference cannot tell
        least = np.finfo(value.dtype).smallest_subnormal + 64 * np.finfo(np.longdouble).eps * (1 + spread)
        size = np.maximum(np.abs(exact), case.terms(tuple(rounded)))
        allowed = bound * eps * size + 4 * bound * slack + least
        error = np.abs(value.astype(np.longdouble) - exact)
        told = np.isfinite(exact) & np.isfinite(allowed) & (np.abs(exact) < np.finfo(value.dtype).max / 64)
        for name, array in zip(case.names, rounded, strict=True):
            if name not in case.integral:
                told = told & np.isfinite(np.where(case.kept(arrays), magnitude(case, name, array), 0))
    # accuracy is promised for labels in [0, 1]
    if USUAL.get(case.cls.__name__, {}).get("target") is UNIT:
        inside = (rounded[1] >= 0) & (rounded[1] <= 1)
        told = told & (inside.all(-1) if case.averages else inside)
    wrong = told & ~(error <= allowed)
    assert not wrong.any(), f"{value[wrong][:3]} is not {exact[wrong][:3]}: allowed {allowed[wrong][:3]}"


def magnitude(case, name, array):
    """The greatest number that each loss reads of an argument; of a layer's weights, that all losses read."""
    if name in ("linear_weight", "linear_bias"):
        return np.abs(array).max(initial=0)
    return np.abs(case.losses_first(name, array)).max(-1, initial=0)


@pytest.mark.parametrize("cls", list(REGISTRY.values()), ids=list(REGISTRY))
def test_anything_that_is_allowed(cls):
    @settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        case, reduction, shapes = data.draw(losses(cls))
        arrays = data.draw(arguments(case, shapes))
        loss = case.reduced(reduction)
        before = tuple(np.array(a) for a in arrays)
        if outside_of_domain(case, arrays):
            with pytest.raises(ValueError, match="is outside"):
                loss.value_and_grad(*arrays)
            return
        unreduced = case.loss(*arrays)
        options = {"sample_weight": data.draw(weights(unreduced.shape))}
        value = loss(*arrays, **options)

        order = data.draw(st.permutations(case.differentiable + case.weights))
        names = tuple(order[: data.draw(st.integers(1, len(order)))])
        cotangent = data.draw(weights(unreduced.shape if reduction == "none" else ()))
        curved = bool(case.curved) and set(names) <= set(case.curved)
        if curved:
            options["curvature"] = data.draw(st.sampled_from(case.curvatures))
        again, grads, hesses = case.compute(loss, arrays, wrt=names, grad_output=cotangent, **options)

        assert_bits(again, value)
        assert_bits(tuple(np.array(a) for a in arrays), before, "arguments")
        assert type(value) is (float if reduction != "none" else np.ndarray)
        own = {**dict(zip(case.names, arrays, strict=True)), **case.parameters}
        for name, derivative in zip(names * (1 + curved), itertools.chain(grads, hesses), strict=True):
            argument = np.asarray(own[name])
            assert derivative.shape == argument.shape
            assert derivative.dtype == (
                np.float64 if argument.dtype.kind in "iub" else argument.dtype.newbyteorder("=")
            )
        predictions = [a.dtype for name, a in zip(case.names, arrays, strict=True) if name in case.cls.predictions]
        wide_ones = [d for d in predictions if d.kind in "iub" or d.itemsize >= 8]
        assert_value(case, unreduced, arrays, np.float64 if wide_ones else np.float32)
        plain = case.loss(*arrays)
        if reduction != "none" and options["sample_weight"] is None and plain.dtype.itemsize > 2:
            terms = plain.astype(np.longdouble) * case.share(reduction, before)
            count = case.denominator(reduction, before)
            with np.errstate(all="ignore"):
                expected, size = terms.sum() / count, np.abs(terms).sum() / abs(np.longdouble(count))
            if np.isfinite(size) and count:
                assert value == pytest.approx(
                    float(expected), rel=1e-5, abs=float(8 * np.finfo(plain.dtype).eps * size)
                )

    check()
