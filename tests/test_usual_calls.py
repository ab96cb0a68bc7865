"""Usual calls go straight from the method to the driver, with the results of the general way."""

import itertools

import numpy as np
import pytest

import lossfast as lf
from lossfast._loss import _never

from .cases import CASES, DTYPES, METHODS, assert_bits
from .layouts import f_order, permuted, read_only, reversed_memory, strided

#: The general way is that of sequences with weights; linear layers have tests of their own.
USUAL = [case for case in CASES if not case.linear and not case.sequences]

each_case = pytest.mark.parametrize("case", USUAL, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))


class GeneralWay(Exception):
    """A call did not go straight to the driver."""


def refuse(self, arrays, request):
    raise GeneralWay


def generally(loss, method, arrays, options):
    """What the general way gives."""
    own = loss._quick
    object.__setattr__(loss, "_quick", _never)
    try:
        return getattr(loss, method)(*arrays, **options)
    finally:
        object.__setattr__(loss, "_quick", own)


@pytest.fixture
def straight(monkeypatch):
    """A method that raises where it does not go straight to the driver."""

    def call(loss, method, arrays, options):
        with monkeypatch.context() as patch:
            patch.setattr(type(loss), "_evaluate", refuse)
            return getattr(loss, method)(*arrays, **options)

    return call


def arrays_of(case, rng, size, dtype):
    return tuple(np.asarray(a) for a in case.arrays(rng, size, dtype))


def copies_for(grads):
    return tuple(np.full_like(g, 77) for g in grads) if isinstance(grads, tuple) else np.full_like(grads, 77)


@each_case
@each_dtype
def test_both_ways_give_the_same_bits(case, dtype, isa, straight, rng):
    arrays = arrays_of(case, rng, 300, dtype)
    shape = np.shape(case.loss(*arrays))
    weights = (rng.random(shape), rng.random(shape).astype(np.float32), rng.integers(1, 4, shape, np.int8))
    for reduction in case.cls.reductions:
        loss = case.bare(reduction)
        keywords = [{}, *({"sample_weight": np.asarray(w)} for w in weights)]
        for method in case.methods:
            for options in keywords:
                expected = generally(loss, method, arrays, options)
                assert_bits(straight(loss, method, arrays, options), expected, f"{method} {list(options)}")
        cotangent = rng.standard_normal(shape).astype(dtype) if reduction == "none" else -2.5
        for options in ({"grad_output": cotangent}, {"grad_output": cotangent, "sample_weight": weights[0]}):
            expected = generally(loss, "value_and_grad", arrays, options)
            assert_bits(straight(loss, "value_and_grad", arrays, options), expected, str(list(options)))


@each_case
@each_dtype
def test_results_in_arrays_of_the_caller(case, dtype, straight, rng):
    arrays = arrays_of(case, rng, 300, dtype)
    for reduction in case.cls.reductions:
        loss = case.bare(reduction)
        for weight in (None, rng.random(np.shape(case.loss(*arrays)))):
            options = {} if weight is None else {"sample_weight": weight}
            for method in case.methods[1:]:
                expected = generally(loss, method, arrays, options)
                results = expected[1:] if method.startswith("value") else expected
                if method == "value_and_grad":
                    (results,) = results
                if method in ("grad_hess", "value_grad_hess"):
                    out = tuple(map(copies_for, results))
                else:
                    out = copies_for(results)
                got = straight(loss, method, arrays, {**options, "out": out})
                assert_bits(got, expected, method)
                assert_bits(out, results, method)
    value = case.loss(*arrays)
    out = np.full_like(value, 77)
    assert straight(case.loss, "__call__", arrays, {"out": out}) is out
    assert_bits(out, value)


@each_case
@each_dtype
def test_results_in_place_of_what_is_read(case, dtype, straight, rng):
    """… but those of losses that check their domain first."""
    arrays = arrays_of(case, rng, 5000, dtype)
    loss = case.bare("mean")
    expected = loss.value_and_grad(*arrays)
    names = list(case.predictions)
    copies = tuple(np.array(a) for a in arrays)
    outs = tuple(copies[case.names.index(name)] for name in names)
    out = outs if len(outs) > 1 else outs[0]
    if case.cls.domains:
        with pytest.raises(GeneralWay):
            straight(loss, "value_and_grad", copies, {"out": out})
        assert_bits(copies, arrays)
    else:
        assert_bits(straight(loss, "value_and_grad", copies, {"out": out}), expected)
    # labels, other inputs and weights are not written over before they are read
    weight = np.ones(np.shape(case.loss(*arrays)), dtype)
    if weight.shape == outs[0].shape:
        target = tuple(np.full_like(o, 77) for o in outs[1:])
        out = (weight, *target) if target else weight
        with pytest.raises(GeneralWay):
            straight(loss, "value_and_grad", arrays, {"sample_weight": weight, "out": out})
        assert (weight == 1).all()


@each_case
def test_named_arguments_and_curvatures(case, straight, rng):
    arrays = arrays_of(case, rng, 300, np.float32)
    loss = case.bare("mean")
    names = [name for name in case.differentiable if case.elementwise or name in case.predictions]
    for count in range(1, len(names) + 1):
        for wrt in itertools.permutations(names, count):
            if case.rowwise and wrt != ("input",):
                continue
            for given in (wrt[0],) if count == 1 else (wrt, list(wrt)):
                expected = generally(loss, "value_and_grad", arrays, {"wrt": given})
                assert_bits(straight(loss, "value_and_grad", arrays, {"wrt": given}), expected, str(wrt))
    for curvature in case.curvatures:
        for weight in ({}, {"sample_weight": rng.random(np.shape(case.loss(*arrays)))}):
            options = {"curvature": curvature, **weight}
            expected = generally(loss, "value_grad_hess", arrays, options)
            assert_bits(straight(loss, "value_grad_hess", arrays, options), expected, curvature)


@each_case
@pytest.mark.parametrize("layout", [strided, f_order, permuted, reversed_memory, read_only], ids=lambda f: f.__name__)
def test_layouts(case, layout, straight, rng):
    arrays = tuple(np.asarray(layout(a)) for a in arrays_of(case, rng, 300, np.float32))
    for reduction in ("mean", "none"):
        loss = case.bare(reduction)
        for method in METHODS[:2]:
            expected = generally(loss, method, arrays, {})
            got = straight(loss, method, arrays, {})
            assert_bits(got, expected, method)
            if method == "value_and_grad":
                pairs = zip(np.atleast_1d(got[1]), np.atleast_1d(expected[1]), strict=True)
                assert all(a.strides == b.strides for a, b in pairs)


@each_case
def test_dtypes(case, straight, rng):
    """Predictions of half precision, or of several; targets of any."""
    arrays = arrays_of(case, rng, 300, np.float32)
    predictions = [case.names.index(name) for name in case.predictions]
    integers = (np.int64, np.int32, np.uint8) if case.labels else (np.float64, np.float16, np.int8)
    variants = [
        [a if k in predictions else a.astype(dtype) for k, a in enumerate(arrays)]
        for dtype in integers
        if case.elementwise or case.labels or case.pairwise
    ]
    variants.append([a.astype(np.float16) if k in predictions else a for k, a in enumerate(arrays)])
    if len(predictions) > 1:
        variants.append([a.astype(np.float64) if k == predictions[1] else a for k, a in enumerate(arrays)])
    for given in variants:
        for reduction in ("mean", "none"):
            loss = case.bare(reduction)
            if case.labels and given[1].dtype.kind == "u" and (arrays[1] < 0).any():
                continue
            expected = generally(loss, "value_and_grad", given, {})
            assert_bits(straight(loss, "value_and_grad", given, {}), expected, str([a.dtype for a in given]))


@pytest.mark.parametrize("case", [c for c in USUAL if c.elementwise], ids=str)
def test_what_is_repeated(case, straight, rng):
    """A target or a weight that broadcasts, where no conditions on shapes are left."""
    arrays = arrays_of(case, rng, 60, np.float32)
    if arrays[0].ndim < 2:
        return
    free = case.cls.broadcasts and case.cls.__name__ != "MarginRankingLoss"
    for reduction in ("mean", "none"):
        loss = case.bare(reduction)
        targets = [arrays[1][:1], arrays[1][:, :1], arrays[1][0]] if free and case.cls.arrays[1] == "target" else []
        for target in targets:
            given = (arrays[0], target, *arrays[2:])
            expected = generally(loss, "value_and_grad", given, {})
            assert_bits(straight(loss, "value_and_grad", given, {}), expected, str(target.shape))
        shape = np.shape(case.loss(*arrays))
        for weight in (rng.random(shape[-1:]), rng.random((*shape[:-1], 1)), rng.random(())):
            options = {"sample_weight": np.asarray(weight)}
            expected = generally(loss, "value_and_grad", arrays, options)
            assert_bits(straight(loss, "value_and_grad", arrays, options), expected, str(weight.shape))


@each_case
def test_numbers_and_lists_become_arrays_first(case, rng):
    arrays = arrays_of(case, rng, 12, np.float64)
    loss = case.bare("mean")
    assert_bits(loss.value_and_grad(*(a.tolist() for a in arrays)), loss.value_and_grad(*arrays))


def test_a_gradient_is_summed_over_the_rows_that_repeat_its_argument(straight, rng):
    """Without an array of the size of the loss; bits do not depend on what else is asked for."""
    x, t = rng.standard_normal((2, 300, 7))
    for rows in ((300, 1), (300,)):
        var = 0.1 + rng.random(rows)
        wide = np.broadcast_to(var.reshape(300, 1), x.shape).copy()
        for reduction in ("mean", "none"):
            loss = lf.GaussianNLLLoss(reduction=reduction)
            value, (by_input, by_var), (hess, var_hess) = loss.value_grad_hess(x, t, var)
            expected, (grad, each), (curvature, var_curvature) = loss.value_grad_hess(x, t, wide)
            np.testing.assert_allclose(value, expected, rtol=1e-14)
            assert_bits((by_input, hess), (grad, curvature))
            np.testing.assert_allclose(by_var, each.sum(-1).reshape(rows), rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(var_hess, var_curvature.sum(-1).reshape(rows), rtol=1e-12, atol=1e-15)
            assert_bits(loss(x, t, var), value)
            assert_bits(loss.grad(x, t, var, wrt="var"), by_var)
            out = (np.empty_like(x), np.empty_like(var))
            assert loss.grad(x, t, var, out=out)[1] is out[1]
            assert_bits(out, (by_input, by_var))


@pytest.mark.parametrize(
    ("shape", "own"),
    [
        ((4000,), ()),
        ((2, 3, 4), (2, 1, 1)),
        ((2, 3, 4), (1, 1, 1)),
        ((2, 3, 4), (2, 1, 4)),
        ((5000, 2), (1, 1)),
        ((3, 5000), (3, 1)),
        ((3, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_by_what_is_repeated(shape, own, dtype, rng):
    t = rng.standard_normal(shape)
    input = rng.standard_normal(own).astype(dtype)
    axes = tuple(axis for axis, length in enumerate(shape) if not own or own[axis] != length)
    each = 2 * (input.astype(np.float64) - t)
    for method in ("grad", "value_and_grad", "value_grad_hess"):
        result = getattr(lf.MSELoss(reduction="sum"), method)(input, t)
        grad = result if method == "grad" else result[1]
        assert grad.dtype == dtype
        eps = 4 * np.finfo(dtype).eps
        scale = np.abs(each).sum(axes).max()
        np.testing.assert_allclose(grad, each.sum(axes).reshape(own), rtol=eps, atol=eps * scale)
        if method == "value_grad_hess":
            np.testing.assert_array_equal(result[2], np.full(own, 2 * t.size / input.size, dtype))
