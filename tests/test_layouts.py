"""Any layout, byte order and dtype gives what the plain contiguous arrays give."""

import dataclasses
import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest

import lossfast as lf
from lossfast._loss import epsilon

from .cases import (
    CASES,
    DTYPES,
    ELEMENTWISE,
    EQUAL_DIMENSIONS,
    ONE_EACH,
    SHARED,
    Form,
    assert_bits,
    assert_ulps,
    named,
)
from .layouts import LAYOUTS, class_last, f_order, permuted, strided

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))
one_of_each = pytest.mark.parametrize("case", ONE_EACH, ids=str)


def assert_same(case, actual, expected, arrays, message):
    """Bit by bit where the walk cannot differ, else to a few ULP of the greatest term."""
    few = case.elementwise or case.linear or case.form.length <= 64
    bound = 8 + np.max(case.spread(arrays))
    for a, e in zip(actual, expected, strict=True):
        if few:
            assert_bits(np.asarray(a), np.asarray(e), message)
        else:
            scale = np.abs(e).max() if np.ndim(e) else 0.0
            assert_ulps(a, e, e.dtype.type, bound, scale=scale, message=message)


def flat(result):
    """(value, gradients, Hessians) as one tuple of arrays."""
    value, grads, hesses = result
    return (value, *grads, *hesses)


@each_case
@each_dtype
def test_layout_does_not_change_the_result(case, dtype, each_isa, rng):
    arrays = case.arrays(rng, 700, dtype)
    mean = case.reduced("mean")
    weight = np.asarray(rng.integers(1, 9, case.loss(*arrays).shape) / 4)  # of an exact sum
    for isa in each_isa():
        plain = flat(case.compute(case.loss, arrays))
        plain_mean = flat(case.compute(mean, arrays, sample_weight=weight))
        for layout in LAYOUTS:
            rest = [*arrays[1:]]
            variants = [(layout(arrays[0]), *rest), (arrays[0], *map(layout, rest)), tuple(map(layout, arrays))]
            for given in variants:
                message = f"{layout.__name__} on {isa}"
                assert all(np.array_equal(a, b) for a, b in zip(given, arrays, strict=True))
                got = flat(case.compute(case.loss, given))
                assert_same(case, got, plain, arrays, message)
                assert all(a.dtype.isnative for a in got[1:])
                assert case.loss(*given).dtype == dtype
                value, *derivatives = flat(case.compute(mean, given, sample_weight=layout(weight)))
                assert value == pytest.approx(plain_mean[0], rel=1e-5 if dtype == np.float32 else 1e-13)
                assert_same(case, derivatives, plain_mean[1:], arrays, message)
                assert value == mean(*given, sample_weight=layout(weight))


@each_case
@each_dtype
def test_layout_of_out_and_weights(case, dtype, rng):
    arrays = case.arrays(rng, 700, dtype)
    plain = value, grads, hesses = case.compute(case.loss, arrays)
    weight = rng.random(value.shape)
    expected = case.compute(case.loss, arrays, sample_weight=weight, grad_output=weight)
    for layout in LAYOUTS:
        got = case.compute(case.loss, arrays, sample_weight=layout(weight), grad_output=layout(weight))
        assert_bits(got, expected, layout.__name__)
        if not layout(grads[0]).flags.writeable:
            continue
        outs = tuple(tuple(layout(a) for a in group) for group in (grads, hesses)[: 1 + bool(hesses)])
        for out in itertools.chain(*outs):
            out[...] = 77
        got = case.compute(case.loss, arrays, out=outs)
        assert all(a is b for mine, own in zip(got[1:], outs, strict=False) for a, b in zip(mine, own, strict=True))
        assert_same(case, flat(got), flat(plain), arrays, f"out {layout.__name__}")
        own = layout(np.zeros_like(value))
        if value.ndim:
            case.loss(*arrays, out=own)
            assert_bits(np.ascontiguousarray(own.astype(dtype)), value, layout.__name__)
    for name, grad in zip(case.predictions, grads, strict=True):
        out = np.frombuffer(bytearray(grad.nbytes + 1), dtype, offset=1).reshape(grad.shape)
        case.loss.grad(*arrays, wrt=name, out=out)
        assert_bits(out.copy(), grad)


@each_case
def test_gradient_has_the_order_of_its_argument(case, rng):
    arrays = case.arrays(rng, 700)
    for layout in (f_order, permuted, class_last):
        given = tuple(map(layout, arrays))
        for name, grad in zip(case.predictions, case.compute(case.loss, given)[1], strict=True):
            argument = given[case.names.index(name)]
            assert grad.shape == argument.shape
            assert grad.strides == argument.strides


# ---- empty, 0-d -----------------------------------------------------------------------------------------------------


def empty_shapes(case):
    """Shapes of all arrays without a loss, or with losses of no elements where a declaration allows for it."""
    usual = case.shapes()
    if case.elementwise:
        shapes = [(0,), (0, 7), (3, 0), (2, 0, 7)]
        return [dict.fromkeys(case.names, shape) for shape in shapes]
    if not case.form.batched or case.sequences:  # which have to be some
        return []
    if case.linear:
        return [{n: (0, *shape[1:]) if n in ("input", "target") else shape for n, shape in usual.items()}]
    inners = [((0,), ()), ((0,), (4,)), ((3,), (0,)), ((3,), (4, 0))]
    if not getattr(case.cls, "trailing_axes", True):
        inners = inners[:1]
    length = case.form.length
    shapes = []
    for rows, inner in inners:
        own = (*rows, length, *inner) if case.rowwise else (*rows, *inner, length)
        with_own = {n for n, shape in usual.items() if len(shape) > len(case.form.inner) + case.form.batched}
        shapes.append({n: own if n in with_own else (*rows, *inner) for n in case.names})
    return shapes


@each_case
@each_dtype
def test_nothing(case, dtype):
    for shapes in empty_shapes(case):
        parameters = case.parameters
        if case.elementwise:  # weights that fit
            last = next(iter(shapes.values()))[-1]
            kept = {k: v for k, v in parameters.items() if np.ndim(v) == 0 or v.shape == (last,)}
            parameters = kept
        arrays = tuple(np.empty(shape, np.int64 if name in case.integral else dtype) for name, shape in shapes.items())
        check_nothing(type(case)(case.cls, parameters, case.form), arrays, dtype)


def check_nothing(case, arrays, dtype):
    with np.errstate(invalid="ignore"):  # the mean of a row of nothing
        expected = case.loss.reference(*arrays)
    value, *groups = case.compute(case.loss, arrays)
    assert value.dtype == dtype
    np.testing.assert_array_equal(value, expected)
    given = [arrays[case.names.index(name)] for name in case.predictions]
    for group in groups:
        for argument, result in zip(given, group, strict=bool(group)):
            assert result.dtype == dtype
            assert result.shape == argument.shape
            assert not result.any()
    assert case.loss(*arrays).shape == value.shape
    total, mean = case.reduced("sum"), case.reduced("mean")
    nothing = np.nan if value.size and case.averages else 0.0
    np.testing.assert_equal(total(*arrays), nothing)
    np.testing.assert_equal(total.value_and_grad(*arrays)[0], nothing)
    for options in ({}, {"sample_weight": np.ones(value.shape)}):
        assert np.isnan(mean(*arrays, **options)) or value.size
        assert np.isnan(mean.value_and_grad(*arrays, **options)[0]) or value.size
    outs = tuple(tuple(map(np.empty_like, group)) for group in groups if group)
    got = case.compute(case.loss, arrays, out=outs)[1]
    assert all(a is b for a, b in zip(got, outs[0], strict=True))


def test_rows_without_classes():
    x = np.empty((0, 0))
    value, grad = lf.CrossEntropyLoss(reduction="sum").value_and_grad(x, np.empty(0, np.int64))
    assert value == 0
    assert grad.shape == (0, 0)
    with pytest.raises(IndexError, match=r"target\[0\] = 0 is outside \[0, 0\)"):
        lf.CrossEntropyLoss()(np.empty((2, 0)), [0, 0])
    assert lf.CrossEntropyLoss(reduction="none")(np.empty((2, 0)), np.empty((2, 0))).tolist() == [0, 0]


@pytest.mark.parametrize("case", [c for c in ELEMENTWISE if not c.averages and c.form.batched], ids=str)
@each_dtype
def test_one_number(case, dtype, each_isa, rng):
    arrays = case.arrays(rng, 7, dtype)
    scalar = type(case)(case.cls, {k: v for k, v in case.parameters.items() if np.ndim(v) == 0}, case.form)
    loss, mean = scalar.loss, scalar.reduced("mean")
    for _ in each_isa():
        many = flat(scalar.compute(loss, arrays))
        for k in range(5):
            numbers = tuple(np.asarray(a[0, k]) for a in arrays)
            one = flat(scalar.compute(loss, numbers))
            for a, b in zip(one, many, strict=True):
                assert np.shape(a) == ()
                assert_bits(np.asarray(a), np.asarray(b[0, k]))
            value, scalars, _ = scalar.compute(loss, tuple(float(n) for n in numbers))
            assert value == pytest.approx(float(one[0]), rel=1e-6, abs=1e-6)
            assert all(a.dtype == np.float64 for a in scalars)
            for name, grad in zip(case.predictions, one[1:], strict=False):
                out = np.empty((), dtype)
                loss.grad(*numbers, wrt=name, out=out)
                assert_bits(out, np.asarray(grad))
            assert type(mean(*numbers)) is float
            assert mean(*numbers) == one[0]


@pytest.mark.parametrize("case", [c for c in CASES if c.form.batched and not c.form.inner], ids=str)
def test_one_row(case, rng):
    """A row by itself is the row of its batch."""
    arrays = case.arrays(rng, 300)
    if not case.averages and case.elementwise:
        return  # test_one_number
    whole = case.compute(case.loss, arrays)
    for row in range(min(2, len(whole[0]))):
        given = tuple(case.row(name, a, row) for name, a in zip(case.names, arrays, strict=True))
        value, *groups = case.compute(case.loss, given)
        assert_same(case, [value], [whole[0][row]], arrays, f"row {row}")
        for group, batch in zip(groups, whole[1:], strict=True):
            for name, a, b in zip(case.predictions, group, batch, strict=bool(group)):
                if name not in SHARED:
                    assert_same(case, [a], [case.row(name, b, row)], arrays, f"row {row} by {name}")


@pytest.mark.parametrize("case", [c for c in CASES if c.labels and not c.lists and c.form == Form()], ids=str)
def test_a_label_in_brackets_makes_a_batch_of_one(case, rng):
    arrays = case.arrays(rng, 300)
    value, grads, _ = case.compute(case.loss, arrays)
    at = case.names.index("target")
    given = [a if name in SHARED else a[0] for name, a in zip(case.names, arrays, strict=True)]
    for label in (arrays[at][:1], int(arrays[at][0])):
        given[at] = label
        again, others, _ = case.compute(case.loss, tuple(given))
        assert np.shape(again) == np.shape(label)
        assert_same(case, [np.reshape(again, ())], [value[0]], arrays, "value")
        assert others[0].shape == given[0].shape
        assert_same(case, others[:1], [grads[0][0]], arrays, "gradient")


# ---- broadcasting ---------------------------------------------------------------------------------------------------

#: What an argument of shape (6, 5, 7) may be broadcast from.
SMALL = [(), (1,), (7,), (5, 1), (5, 7), (6, 1, 1), (1, 5, 1), (6, 5, 1)]


def summed(array, shape):
    """What a derivative by a broadcast argument is."""
    extra = array.ndim - len(shape)
    axes = tuple(a for a in range(array.ndim) if a < extra or shape[a - extra] == 1)
    return array.sum(axis=axes, dtype=np.longdouble).reshape(shape)


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in ELEMENTWISE
        if c.cls.broadcasts
        and c.form == Form()
        and all(np.ndim(v) == 0 for v in c.parameters.values())
        and "var" not in c.names  # whose shape goes by that of the input
    ],
    ids=str,
)
@each_dtype
def test_broadcast_arguments(case, dtype, each_isa, rng):
    full = {name: case.draw(name, rng, (6, 5, 7)).astype(dtype) for name in case.names}
    shapes = [shape for shape in SMALL if len(shape) == 3 or case.cls.__name__ not in EQUAL_DIMENSIONS]
    for isa, name, shape in itertools.product(each_isa(), case.names, shapes):
        small = case.draw(name, rng, shape).astype(dtype)
        given = tuple({**full, name: small}.values())
        plain = tuple({**full, name: np.broadcast_to(small, (6, 5, 7)).copy()}.values())
        # a mean over the last axis is divided by the length that the input's has
        factor = 7 if case.averages and name == "input" and shape[-1:] != (7,) else 1
        for loss in (case.loss, case.reduced("mean")):
            value, *groups = case.compute(loss, given, wrt=case.differentiable)
            expected, *wanted = case.compute(loss, plain, wrt=case.differentiable)
            if loss is case.loss and factor == 1:
                assert_bits(value, expected, isa)
            np.testing.assert_allclose(value, expected * factor, rtol=1e-5 if dtype == np.float32 else 1e-12)
            for group, full_group in zip(groups, wanted, strict=True):
                for by, narrow, whole in zip(case.differentiable, group, full_group, strict=bool(group)):
                    if by != name:
                        np.testing.assert_allclose(narrow, whole * factor, rtol=1e-6 if factor > 1 else 0)
                        continue
                    assert narrow.shape == shape
                    assert narrow.dtype == dtype
                    scale = factor * np.abs(whole).sum(dtype=np.float64)
                    # float64 sums are rounded in NumPy's order
                    assert_ulps(narrow, factor * summed(whole, shape), dtype, 8, scale=scale, message=isa)
            if name in case.differentiable:
                out = np.full(shape, 77, dtype)
                assert loss.grad(*given, wrt=name, out=out) is out
                assert_bits(out, loss.grad(*given, wrt=name))


@pytest.mark.parametrize("method", ["__call__", "value_and_grad", "grad_hess"])
def test_axes_of_length_one_in_front(method):
    """Which one argument has and the other has not, where neither is repeated."""
    x, t = np.arange(3.0), np.ones((1, 3))
    for loss in (lf.MSELoss(), lf.SoftMarginLoss(reduction="none")):
        expected = getattr(loss, method)(x[np.newaxis], t)
        for given in ((x, t), (x.astype(">f8"), t), (x[np.newaxis], t[0])):
            result = getattr(loss, method)(*given)
            for a, e in zip(result, expected, strict=True) if isinstance(result, tuple) else [(result, expected)]:
                np.testing.assert_array_equal(np.ravel(a), np.ravel(e))


@each_case
def test_views_of_one_row_are_read_as_what_they_show(case, rng):
    arrays = case.arrays(rng, 300)
    for k, array in enumerate(arrays):
        if array.ndim:
            repeated = np.broadcast_to(array[:1], array.shape)
            given, plain = ((*arrays[:k], a, *arrays[k + 1 :]) for a in (repeated, repeated.copy()))
            got, expected = (flat(case.compute(case.loss, a)) for a in (given, plain))
            assert_same(case, got, expected, arrays, case.names[k])


@one_of_each
def test_sample_weights_broadcast(case, rng):
    arrays = case.arrays(rng, 300)
    shape = case.loss(*arrays).shape
    for small in {(), (1,), shape[-1:], (1, *shape[1:]), (*shape[:-1], 1), (1,) * len(shape)}:
        weight = rng.random(small)
        full = np.broadcast_to(weight, shape).copy()
        for reduction in case.cls.reductions:
            loss = case.reduced(reduction)
            got, expected = (flat(case.compute(loss, arrays, sample_weight=w)) for w in (weight, full))
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)


def test_weights_broadcast(rng):
    x, t = rng.standard_normal((2, 5, 7))
    for shape in ((), (1,), (7,), (5, 1), (1, 7), (1, 1)):
        weight = rng.random(shape)
        full = np.broadcast_to(weight, x.shape).copy()
        loss = lf.BCEWithLogitsLoss(weight=weight, pos_weight=weight)
        full_loss = lf.BCEWithLogitsLoss(weight=full, pos_weight=full)
        p = 1 / (1 + np.exp(-t))
        assert loss(x, p) == pytest.approx(full_loss(x, p), rel=1e-14)
        np.testing.assert_allclose(loss.grad(x, p), full_loss.grad(x, p), rtol=1e-14)
        loss, full_loss = (lf.MultiLabelSoftMarginLoss(weight=w, reduction="none") for w in (weight, full))
        for a, b in zip(loss.value_and_grad(x, p), full_loss.value_and_grad(x, p), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


# ---- what arrays are made from --------------------------------------------------------------------------------------


def nested(array):
    """As tuples of Python's integers."""
    return tuple(map(nested, array)) if array.ndim else int(array)


@one_of_each
def test_lists_and_integers_compute_in_float64(case, rng):
    far = [8 if case.pairwise and name in case.predictions else 1 for name in case.names]
    arrays = [
        a if a.dtype.kind == "i" else np.rint(k * a) + 0.0 for k, a in zip(far, case.arrays(rng, 70), strict=True)
    ]
    bits = [a if a.dtype.kind == "i" else np.abs(a) % 2 for a in arrays]
    expected, expected_bits = (case.loss.value_and_grad(*given) for given in (arrays, bits))
    for k in (case.names.index(name) for name in case.floating):
        for kinds, plain, wanted in (
            ((np.int8, np.int16, np.int32, np.int64, ">i4"), arrays, expected),
            ((bool, np.uint8, np.uint16, np.uint32, np.uint64), bits, expected_bits),
        ):
            for kind in kinds:
                assert_bits(case.loss.value_and_grad(*plain[:k], plain[k].astype(kind), *plain[k + 1 :]), wanted)
    assert_bits(case.loss.value_and_grad(*(a.tolist() for a in arrays)), expected)
    assert_bits(case.loss.value_and_grad(*map(nested, arrays)), expected)
    for name in case.differentiable:
        grad = case.loss.grad(*(a.astype(np.int64) for a in arrays), wrt=name)
        assert_bits(grad, case.loss.grad(*arrays, wrt=name))


@each_case
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_computes_in_float32(case, half, rng):
    arrays = tuple(a.astype(half) if a.dtype.kind == "f" else a for a in case.arrays(rng, 300, np.float32))
    single = tuple(a.astype(np.float32) if a.dtype == half else a for a in arrays)
    results = case.compute(case.loss, single)
    got = case.compute(case.loss, arrays)
    with warnings.catch_warnings():  # NumPy's own overflow of the cast
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = [a.astype(half).astype(np.float32) for a in flat(results)]
    for k, (a, b) in enumerate(zip(flat(got), expected, strict=True)):
        assert a.dtype == half
        if k == 0 and case.sequences:  # rounded once, from float64
            np.testing.assert_allclose(a.astype(np.float64), b, rtol=epsilon(a.dtype))
        else:
            assert_bits(a.astype(np.float32), b)
    mean = case.reduced("mean")
    assert mean(*arrays) == pytest.approx(mean(*single), rel=1e-6)
    for name, wanted in zip(case.predictions, expected[1:], strict=False):
        position = case.names.index(name)
        out = np.zeros(arrays[position].shape, half)
        assert case.loss.grad(*arrays, wrt=name, out=out) is out
        assert_bits(out.astype(np.float32), wanted)
        # in place
        own = tuple(a.copy() for a in arrays)
        case.loss.grad(*own, wrt=name, out=own[position])
        assert_bits(own[position].astype(np.float32), wanted)


@one_of_each
def test_predictions_decide_the_precision(case, rng):
    arrays = case.arrays(rng, 70)
    positions = [case.names.index(name) for name in case.floating]
    choices = [
        (np.float32, np.float64) if name in case.predictions else (np.float16, np.float32, np.float64, np.longdouble)
        for name in case.floating
    ]
    for kinds in itertools.product(*choices):
        given = list(arrays)
        for k, kind in zip(positions, kinds, strict=True):
            given[k] = given[k].astype(kind)
        chosen = dict(zip(case.floating, kinds, strict=True))
        computed = np.result_type(*(chosen[name] for name in case.predictions))
        plain = [a.astype(computed) if a.dtype.kind == "f" else a for a in given]
        value, grads, _ = case.compute(case.loss, given, wrt=case.differentiable)
        expected, wanted, _ = case.compute(case.loss, plain, wrt=case.differentiable)
        assert_bits(value, expected, str(kinds))
        for name, grad, full in zip(case.differentiable, grads, wanted, strict=True):
            assert grad.dtype == chosen[name]
            with np.errstate(over="ignore"):
                np.testing.assert_array_equal(grad, full.astype(chosen[name]), f"{name} of {kinds}")
    for name in case.predictions:
        k = case.names.index(name)
        grad = case.loss.grad(*arrays[:k], arrays[k].astype(np.longdouble), *arrays[k + 1 :], wrt=name)
        assert grad.dtype == np.longdouble
        np.testing.assert_allclose(grad, case.loss.grad(*arrays, wrt=name), rtol=1e-14)


class Dlpack:
    """Another library's array: nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@one_of_each
def test_other_array_types(case, rng):
    arrays = case.arrays(rng, 70, np.float32)
    expected = case.loss.value_and_grad(*arrays)
    assert_bits(case.loss.value_and_grad(*map(Dlpack, arrays)), expected)
    assert_bits(case.loss.value_and_grad(*map(memoryview, arrays)), expected)

    class Subclass(np.ndarray):
        """A class of someone's own."""

    value, grads, _ = case.compute(case.loss, tuple(a.view(Subclass) for a in arrays))
    plain_value, plain_grads, _ = case.compute(case.loss, arrays)
    np.testing.assert_array_equal(np.asarray(value), plain_value)
    for a, b in zip(grads, plain_grads, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in CASES if c.labels], ids=str)
def test_labels_of_every_integer_dtype(case, rng):
    arrays = case.arrays(rng, 700)
    at = case.names.index("target")
    t = arrays[at]
    t = np.asarray(np.where((t < 0) | (t >= case.form.length), 0, t) % 100)

    def compute(loss, labels):
        return loss.value_and_grad(*arrays[:at], labels, *arrays[at + 1 :])

    expected = compute(case.loss, t)
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        labels = t.astype(kind)
        assert_bits(compute(case.loss, labels.tolist()), expected)
        for layout in LAYOUTS:
            assert_bits(compute(case.loss, layout(labels)), expected, f"{kind} {layout.__name__}")
    mean = case.reduced("mean")
    assert_bits(compute(mean, t.astype(np.int8)), compute(mean, t))
    if "ignore_index" in mean.parameters:  # an ignored label of a narrow dtype
        mean = type(case)(case.cls, {**case.parameters, "ignore_index": 0}, case.form).reduced("mean")
        assert_bits(compute(mean, t.astype(np.uint8)), compute(mean, t))


@each_dtype
@pytest.mark.parametrize("classes", [1, 3, 10, 64, 65, 130])
@pytest.mark.parametrize("inner", [(5,), (16,), (3, 4), (1, 1), (5, 40)])
def test_trailing_axes_are_more_rows(dtype, classes, inner, each_isa, rng):
    x = (3 * rng.standard_normal((3, classes, *inner))).astype(dtype)
    t = rng.integers(0, classes, (3, *inner))
    soft = np.moveaxis(rng.dirichlet(np.ones(classes), (3, *inner)), -1, 1).astype(dtype)
    flat_x = np.moveaxis(x, 1, -1).reshape(-1, classes)
    flat_soft = np.moveaxis(soft, 1, -1).reshape(-1, classes)
    losses = [
        lf.CrossEntropyLoss(label_smoothing=0.1, reduction="none"),
        lf.CrossEntropyLoss(weight=np.arange(classes) + 1.0, reduction="none"),
        *(c.loss for c in ONE_EACH if c.rowwise and getattr(c.cls, "trailing_axes", True)),
    ]
    for isa, layout in itertools.product(each_isa(), (np.ascontiguousarray, f_order, class_last, strided, permuted)):
        for loss in losses:
            labels = t.copy()
            if hasattr(loss, "ignore_index"):
                labels.flat[::4] = loss.ignore_index
            for target, flat_target in ((layout(labels), labels.ravel()), (layout(soft), flat_soft)):
                if target.dtype == dtype and not loss.takes_probabilities:
                    continue
                value, grad, hess = loss.value_grad_hess(layout(x), target)
                wanted = loss.value_grad_hess(flat_x, flat_target)
                eps = (16 + 2 * float(np.ptp(x))) * np.finfo(dtype).eps
                np.testing.assert_allclose(value.ravel(), wanted[0], rtol=eps, err_msg=isa)
                for a, b in ((grad, wanted[1]), (hess, wanted[2])):
                    rows = np.moveaxis(a, 1, -1).reshape(-1, classes)
                    np.testing.assert_allclose(rows, b, rtol=0, atol=eps * max(1e-30, np.abs(b).max()), err_msg=isa)


def test_many_axes(rng):
    shape = (1,) * 20 + (2, 3) + (1,) * 10
    for case in ONE_EACH:
        if case.elementwise and all(np.ndim(v) == 0 for v in case.parameters.values()):
            arrays = tuple(case.draw(name, rng, shape) for name in case.names)
            value, grads, _ = case.compute(case.loss, arrays)
            np.testing.assert_allclose(value, case.loss.reference(*arrays), rtol=1e-12, atol=1e-13)
            assert all(grad.shape == shape for grad in grads)
    many = rng.standard_normal((2, 5) + (2,) * 15)
    labels = rng.integers(0, 5, (2,) + (2,) * 15)
    value = lf.CrossEntropyLoss(reduction="none")(many.T.copy().T, labels)
    np.testing.assert_allclose(value, lf.CrossEntropyLoss(reduction="none").reference(many, labels), rtol=1e-12)


@pytest.mark.parametrize("case", named(ELEMENTWISE, "MSELoss", "HuberLoss", "BCEWithLogitsLoss"), ids=str)
def test_results_around_the_cache(case, rng):
    """Large results take other stores; the same bits, at any alignment."""
    loss = case.cls(**{k: v for k, v in case.parameters.items() if np.ndim(v) == 0})
    n = (33 << 20) // 4
    x = np.resize(rng.random(9973, np.float32), n)
    t = np.resize(rng.random(10007, np.float32), n)
    value, grad = loss.value_and_grad(x, t)
    memory = np.empty(n + 3, np.float32)
    out = memory[3:]
    assert_bits(loss.value_and_grad(x, t, out=out), (value, grad))
    each = type(loss)(**{**loss.parameters, "reduction": "sum"})
    for start in (0, n // 2 - 5, n - 10000):
        part = each.grad(x[start : start + 10000], t[start : start + 10000])
        np.testing.assert_allclose(grad[start : start + 10000] * np.float32(n), part, rtol=1e-6)


@pytest.mark.parametrize("case", [c for c in ONE_EACH if c.rowwise and not c.lists], ids=str)
def test_rows_around_the_cache(case, rng):
    """Large gradients of rows take other stores: the bits of some of their rows alone, at any alignment."""
    loss, classes = case.reduced("sum"), 1001
    rows = (33 << 20) // (4 * classes)
    few = dataclasses.replace(case, form=Form(length=classes)).arrays(rng, 50 * classes, np.float32)
    many = [np.resize(array, (rows, *array.shape[1:])) for array in few]
    _, expected = loss.value_and_grad(*few)
    _, grad = loss.value_and_grad(*many)
    out = np.empty(rows * classes + 3, np.float32)[3:].reshape(rows, classes)
    loss.value_and_grad(*many, out=out)
    for start in (0, rows // 100 * 50):
        assert_bits(grad[start : start + 50], expected, str(case))
    assert_bits(out, grad, str(case))


@pytest.mark.parametrize("case", [c for c in ONE_EACH if c.rowwise and not c.lists], ids=str)
@pytest.mark.parametrize("classes", [1, 15, 16, 17, 61, 64, 100, 112, 1000, 1024, 1025, 2049])
def test_rows_of_a_wider_array(case, classes, rng):
    """Gradients that begin anywhere, of whole vectors or not: nothing beside them is written."""
    loss = case.reduced("sum")
    arrays = dataclasses.replace(case, form=Form(length=classes)).arrays(rng, 37 * classes, np.float32)
    _, expected = loss.value_and_grad(*arrays)
    for start, width in ((0, classes + 16), (3, classes + 29)):
        out = np.full((37, width), np.float32(7))
        loss.value_and_grad(*arrays, out=out[:, start : start + classes])
        assert_bits(out[:, start : start + classes], expected, str(case))
        assert (out[:, :start] == 7).all()
        assert (out[:, start + classes :] == 7).all()


# ---- rows that are aligned in part, results side by side ------------------------------------------------------------


@pytest.mark.parametrize("classes", [7, 100])
def test_rows_of_a_packed_record(classes, rng):
    """The first row is aligned, the others are not."""
    records = np.zeros(40, np.dtype([("logits", "f4", (classes,)), ("label", "i1")]))
    records["logits"] = rng.normal(size=(40, classes))
    records["label"] = rng.integers(0, classes, 40)
    plain = records["logits"].copy(), records["label"].astype(np.int64)
    got = lf.CrossEntropyLoss().value_and_grad(records["logits"], records["label"])
    for a, b in zip(got, lf.CrossEntropyLoss().value_and_grad(*plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_positive_curvature_in_half_precision(dtype):
    hess = lf.L1Loss(reduction="none").grad_hess(np.ones(3, dtype), np.zeros(3), curvature="psd")[1]
    assert hess.dtype == dtype
    assert np.all(hess > 0)


def test_results_that_interleave():
    """Their bounds overlap, their elements do not."""
    both = np.empty((4, 2))
    lf.MSELoss().grad_hess(np.ones(4), np.zeros(4), out=(both[:, 0], both[:, 1]))
    np.testing.assert_array_equal(both, 0.5)
