"""Any layout, byte order and dtype gives what the plain contiguous arrays give."""

import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest

import lossfast as lf

from .cases import CASES, DTYPES, ELEMENTWISE, ONE_EACH, ROWWISE, SHAPED_WEIGHT, assert_bits, assert_ulps, named

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))
one_of_each = pytest.mark.parametrize("case", ONE_EACH, ids=str)


def strided(a):
    """Every second element of a larger array."""
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def every_third_row(a):
    return np.repeat(a, 3, axis=0)[1::3] if a.ndim else a


def f_order(a):
    return np.asfortranarray(a) if a.ndim else a


def permuted(a):
    """The axes rotated in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0) if a.ndim > 1 else a


def class_last(a):
    """Axis 1 innermost, as in images that keep their channels last."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 1 else a


def reversed_memory(a):
    return np.flip(np.flip(a).copy())


def one_axis_reversed(a):
    return a[..., ::-1].copy()[..., ::-1] if a.ndim else a


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


def misaligned(a):
    return np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


def in_a_record(a):
    """A field of packed records: swapped, misaligned and strided at once."""
    record = np.zeros(a.shape, [("flag", "i1"), ("value", a.dtype.newbyteorder())])
    record["value"] = a
    return record["value"]


LAYOUTS = (
    strided,
    every_third_row,
    f_order,
    permuted,
    class_last,
    reversed_memory,
    one_axis_reversed,
    read_only,
    byte_swapped,
    misaligned,
    in_a_record,
)


def values_bound(case, arrays):
    """ULP between two orders of summation: a few, and what the argument of an exponential adds."""
    return 4 if case.elementwise else 8 + np.ptp(arrays[0])


def assert_same(case, actual, expected, arrays, message):
    """Bit by bit where the walk cannot differ, else to a few ULP of the greatest term."""
    few = case.elementwise or arrays[0].shape[min(1, arrays[0].ndim - 1)] <= 64
    for a, e in zip(actual, expected, strict=True):
        if few:
            assert_bits(np.asarray(a), np.asarray(e), message)
        else:
            scale = np.abs(e).max() if np.ndim(e) else 0.0
            assert_ulps(a, e, e.dtype.type, values_bound(case, arrays), scale=scale, message=message)


@each_case
@each_dtype
def test_layout_does_not_change_the_result(case, dtype, each_isa, rng):
    arrays = case.arrays(rng, 700, dtype)
    mean = case.reduced("mean")
    for isa in each_isa():
        plain, plain_mean = case.loss.value_grad_hess(*arrays), mean.value_and_grad(*arrays)
        for layout in LAYOUTS:
            rest = [*arrays[1:]]
            variants = [(layout(arrays[0]), *rest), (arrays[0], *map(layout, rest)), tuple(map(layout, arrays))]
            for given in variants:
                message = f"{layout.__name__} on {isa}"
                assert all(np.array_equal(a, b) for a, b in zip(given, arrays, strict=True))
                got = case.loss.value_grad_hess(*given)
                assert_same(case, got, plain, arrays, message)
                assert got[1].dtype.isnative
                assert case.loss(*given).dtype == dtype
                value, grad = mean.value_and_grad(*given)
                assert value == pytest.approx(plain_mean[0], rel=1e-5 if dtype == np.float32 else 1e-13)
                assert_same(case, (grad,), plain_mean[1:], arrays, message)
                assert value == mean(*given)


@each_case
@each_dtype
def test_layout_of_out_and_weights(case, dtype, rng):
    arrays = case.arrays(rng, 700, dtype)
    value, grad, hess = case.loss.value_grad_hess(*arrays)
    weight = rng.random(value.shape)
    expected = case.loss.value_grad_hess(*arrays, sample_weight=weight, grad_output=weight)
    for layout in LAYOUTS:
        got = case.loss.value_grad_hess(*arrays, sample_weight=layout(weight), grad_output=layout(weight))
        assert_bits(got, expected, layout.__name__)
        if layout in (read_only, misaligned) and not layout(grad).flags.writeable:
            continue
        outs = layout(grad), layout(hess)
        for out in outs:
            out[...] = 77
        got = case.loss.value_grad_hess(*arrays, out=outs)
        assert got[1] is outs[0]
        assert_same(case, got, (value, grad, hess), arrays, f"out {layout.__name__}")
        own = layout(np.zeros_like(value))
        if value.ndim:
            case.loss(*arrays, out=own)
            assert_bits(np.ascontiguousarray(own.astype(dtype)), value, layout.__name__)
    buffer = bytearray(grad.nbytes + 1)
    out = np.frombuffer(buffer, dtype, offset=1).reshape(grad.shape)
    case.loss.grad(*arrays, out=out)
    assert_bits(out.copy(), grad)


@each_case
def test_gradient_has_the_order_of_its_argument(case, rng):
    arrays = case.arrays(rng, 700)
    for layout in (f_order, permuted, class_last):
        given = tuple(map(layout, arrays))
        grad = case.loss.grad(*given)
        assert grad.shape == arrays[0].shape
        assert grad.strides == given[0].strides


# ---- empty, 0-d -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
@each_dtype
@pytest.mark.parametrize("shape", [(0,), (0, 7), (3, 0), (2, 0, 7)])
def test_nothing_elementwise(case, dtype, shape):
    parameters = {k: v for k, v in case.parameters.items() if np.ndim(v) < 2 and (np.ndim(v) == 0 or shape[-1] == 7)}
    x = np.empty(shape, dtype)
    check_nothing(type(case.loss), parameters, (x, x), x.shape, dtype)


@pytest.mark.parametrize("case", named(ROWWISE, "NLLLoss", "CrossEntropyLoss"), ids=str)
@each_dtype
def test_nothing_rowwise(case, dtype):
    classes = case.form.classes
    for rows, spatial in (((0,), ()), ((0,), (4,)), ((3,), (0,)), ((3,), (4, 0))):
        shape = (*rows, classes, *spatial)
        x = np.empty(shape, dtype)
        t = np.empty(shape, dtype) if case.form.probabilities else np.empty((*rows, *spatial), np.int64)
        check_nothing(type(case.loss), case.parameters, (x, t), (*rows, *spatial), dtype)


def check_nothing(cls, parameters, arrays, shape, dtype):
    none, total, mean = (cls(**parameters, reduction=r) for r in ("none", "sum", "mean"))
    value, grad, hess = none.value_grad_hess(*arrays)
    assert value.shape == shape
    assert value.dtype == grad.dtype == hess.dtype == dtype
    assert grad.shape == hess.shape == arrays[0].shape
    assert none(*arrays).shape == shape
    assert total(*arrays) == 0
    assert total.value_and_grad(*arrays)[1].shape == arrays[0].shape
    assert np.isnan(mean(*arrays))
    assert np.isnan(mean.value_and_grad(*arrays)[0])
    assert np.isnan(mean(*arrays, sample_weight=np.ones(shape)))
    out = np.empty_like(grad)
    assert none.grad(*arrays, out=out) is out


def test_rows_without_classes():
    x = np.empty((0, 0))
    value, grad = lf.CrossEntropyLoss(reduction="sum").value_and_grad(x, np.empty(0, np.int64))
    assert value == 0
    assert grad.shape == (0, 0)
    with pytest.raises(IndexError, match=r"target\[0\] = 0 is outside \[0, 0\)"):
        lf.CrossEntropyLoss()(np.empty((2, 0)), [0, 0])
    assert lf.CrossEntropyLoss(reduction="none")(np.empty((2, 0)), np.empty((2, 0))).tolist() == [0, 0]


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
@each_dtype
def test_one_number(case, dtype, each_isa, rng):
    arrays = case.arrays(rng, 7, dtype)
    loss = type(case.loss)(**{k: v for k, v in case.parameters.items() if np.ndim(v) == 0}, reduction="none")
    for _ in each_isa():
        many = loss.value_grad_hess(*arrays)
        for k in range(5):
            numbers = tuple(np.asarray(a[0, k]) for a in arrays)
            one = loss.value_grad_hess(*numbers)
            for a, b in zip(one, many, strict=True):
                assert np.shape(a) == ()
                assert_bits(np.asarray(a), np.asarray(b[0, k]))
            scalars = loss.value_and_grad(*(float(n) for n in numbers))
            assert scalars[0] == pytest.approx(float(one[0]), rel=1e-6)
            assert scalars[1].dtype == np.float64
            out = np.empty((), dtype)
            loss.grad(*numbers, out=out)
            assert_bits(out, np.asarray(one[1]))
            mean = type(loss)(**{**loss.parameters, "reduction": "mean"})
            assert type(mean(*numbers)) is float
            assert mean(*numbers) == one[0]


@pytest.mark.parametrize("case", ROWWISE, ids=str)
def test_one_row(case, rng):
    """A row by itself is the row of its batch; a label in brackets makes a batch of one."""
    x, t = case.arrays(rng, 300)
    if not case.form.batched or case.form.spatial or case.form.classes == 1:
        x, t = rng.standard_normal((4, 9)), np.array([1, 0, 8, 3])
    loss = type(case.loss)(**{k: v for k, v in case.parameters.items() if np.ndim(v) == 0}, reduction="none")
    value, grad, hess = loss.value_grad_hess(x, t)
    for row in range(2):
        single = loss.value_grad_hess(x[row], t[row])
        for a, b in zip(single, (value[row], grad[row], hess[row]), strict=True):
            assert_bits(np.asarray(a), np.asarray(b))
        if t.ndim == 1:
            again = loss.value_grad_hess(x[row], t[row : row + 1])
            assert_bits(np.asarray(again[1]), grad[row])
            assert float(again[0].item()) == value[row]
            assert_bits(loss.grad(x[row], int(t[row])), grad[row])


# ---- broadcasting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in ELEMENTWISE if c.cls.broadcasts and "weight" not in c.name], ids=str)
@each_dtype
def test_broadcast_arguments(case, dtype, each_isa, rng):
    big = rng.standard_normal((6, 5, 7)).astype(dtype)
    for isa, shape in itertools.product(each_isa(), [(), (1,), (7,), (5, 1), (5, 7), (6, 1, 1), (1, 5, 1), (6, 5, 1)]):
        small = rng.standard_normal(shape).astype(dtype)
        full = np.broadcast_to(small, big.shape).copy()
        for swap in (False, True):
            given, plain = ((small, big), (full, big)) if swap else ((big, small), (big, full))
            for reduction in ("none", "mean"):
                loss = case.reduced(reduction)
                value, grads = loss.value_and_grad(*given, wrt=("input", "target"))
                expected = loss.value_and_grad(*plain, wrt=("input", "target"))
                if reduction == "none":
                    assert_bits(value, expected[0], isa)
                assert np.mean(value) == pytest.approx(np.mean(expected[0]), rel=1e-5)
                hess = loss.grad_hess(*given, wrt=("input", "target"))[1]
                plain_hess = loss.grad_hess(*plain, wrt=("input", "target"))[1]
                for group, wanted in ((grads, expected[1]), (hess, plain_hess)):
                    narrow, wide = (group[0], group[1]) if swap else (group[1], group[0])
                    narrow_wanted, wide_wanted = (wanted[0], wanted[1]) if swap else (wanted[1], wanted[0])
                    assert_bits(wide, wide_wanted, isa)
                    assert narrow.shape == shape
                    assert narrow.dtype == dtype
                    axes = tuple(a for a in range(3) if a < 3 - len(shape) or shape[a - 3 + len(shape)] == 1)
                    summed = narrow_wanted.sum(axis=axes, dtype=np.longdouble).reshape(shape)
                    scale = np.abs(narrow_wanted).sum(dtype=np.float64)
                    assert_ulps(narrow, summed, dtype, 4, scale=scale, message=isa)
                out = np.full(small.shape, 77, dtype)
                name = "input" if swap else "target"
                assert loss.grad(*given, wrt=name, out=out) is out
                assert_bits(out, loss.grad(*given, wrt=name))


def test_views_of_one_number_are_read_as_what_they_show(rng):
    x = rng.standard_normal((40, 7))
    repeated = np.broadcast_to(x[0], x.shape)
    for case in ONE_EACH:
        if case.elementwise:
            probabilities = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-repeated))
            assert_bits(case.loss(*probabilities), case.loss(probabilities[0], probabilities[1].copy()))
        else:
            labels = np.arange(40) % 7
            assert_bits(case.loss.value_and_grad(repeated, labels), case.loss.value_and_grad(repeated.copy(), labels))


def test_weights_broadcast(rng):
    x, t = rng.standard_normal((2, 5, 7))
    for shape in ((), (1,), (7,), (5, 1), (1, 7), (1, 1)):
        weight = rng.random(shape)
        full = np.broadcast_to(weight, x.shape).copy()
        for loss in (lf.MSELoss(), lf.HuberLoss(reduction="none")):
            a, b = loss.value_and_grad(x, t, sample_weight=weight), loss.value_and_grad(x, t, sample_weight=full)
            np.testing.assert_allclose(a[0], b[0], rtol=1e-15)
            np.testing.assert_allclose(a[1], b[1], rtol=1e-15)
        loss = lf.BCEWithLogitsLoss(weight=weight, pos_weight=weight)
        full_loss = lf.BCEWithLogitsLoss(weight=full, pos_weight=full)
        p = 1 / (1 + np.exp(-t))
        assert loss(x, p) == pytest.approx(full_loss(x, p), rel=1e-14)
        np.testing.assert_allclose(loss.grad(x, p), full_loss.grad(x, p), rtol=1e-14)


# ---- what arrays are made from --------------------------------------------------------------------------------------


@one_of_each
def test_lists_and_integers_compute_in_float64(case, rng):
    x, t = case.arrays(rng, 70)
    x = np.rint(x) + 0.0  # integers have no -0
    t = np.rint(t) + 0.0 if t.dtype.kind == "f" else t
    expected = case.loss.value_and_grad(x, t)
    for kind in (np.int8, np.int16, np.int32, np.int64, ">i4"):
        assert_bits(case.loss.value_and_grad(x.astype(kind), t), expected)
        if t.dtype.kind == "f":
            assert_bits(case.loss.value_and_grad(x, t.astype(kind)), expected)
    assert_bits(case.loss.value_and_grad(x.tolist(), t.tolist()), expected)
    assert_bits(case.loss.value_and_grad(tuple(map(tuple, x.astype(int).tolist())), t.tolist()), expected)
    positive = np.abs(x) % 2
    for kind in (bool, np.uint8, np.uint16, np.uint32, np.uint64):
        given = positive.astype(kind)
        assert_bits(case.loss.value_and_grad(given, t), case.loss.value_and_grad(positive, t))
        assert case.loss.grad(given, t).dtype == np.float64
        if case.elementwise:
            assert_bits(case.loss(positive, given), case.loss(positive, positive))


@each_case
@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_computes_in_float32(case, half, rng):
    arrays = tuple(a.astype(half) if a.dtype.kind == "f" else a for a in case.arrays(rng, 300, np.float32))
    single = tuple(a.astype(np.float32) if a.dtype == half else a for a in arrays)
    value, grad, hess = case.loss.value_grad_hess(*single)
    got = case.loss.value_grad_hess(*arrays)
    with warnings.catch_warnings():  # NumPy's own overflow of the cast
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = tuple(a.astype(half).astype(np.float32) for a in (value, grad, hess))
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == half
        assert_bits(a.astype(np.float32), b)
    mean = case.reduced("mean")
    assert mean(*arrays) == pytest.approx(mean(*single), rel=1e-6)
    out = np.zeros(grad.shape, half)
    assert case.loss.grad(*arrays, out=out) is out
    assert_bits(out.astype(np.float32), expected[1])
    # in place
    own = tuple(a.copy() for a in arrays)
    case.loss.grad(*own, out=own[0])
    assert_bits(own[0].astype(np.float32), expected[1])


@one_of_each
def test_predictions_decide_the_precision(case, rng):
    x, t = case.arrays(rng, 70)
    floating = t.dtype.kind == "f"
    for kind in (np.float32, np.float64):
        for other in (np.float16, np.float32, np.float64, np.longdouble) if floating else (np.int64,):
            value, grad = case.loss.value_and_grad(x.astype(kind), t.astype(other))
            assert value.dtype == grad.dtype == kind
            same = case.loss.value_and_grad(x.astype(kind), t.astype(other).astype(kind) if floating else t)
            assert_bits((value, grad), same)
    if floating:
        by_input, by_target = case.loss.grad(x.astype(np.float32), t, wrt=("input", "target"))
        assert by_input.dtype == np.float32
        assert by_target.dtype == np.float64
        by_target = case.loss.grad(x, t.astype(np.float32), wrt="target")
        assert by_target.dtype == np.float32
        np.testing.assert_allclose(by_target, case.loss.grad(x, t, wrt="target"), rtol=1e-4, atol=1e-4)
    value, grad = case.loss.value_and_grad(x.astype(np.longdouble), t)
    assert grad.dtype == np.longdouble
    np.testing.assert_allclose(grad, case.loss.grad(x, t), rtol=1e-14)


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

    views = [a.view(Subclass) for a in arrays]
    value, grad = case.loss.value_and_grad(*views)
    np.testing.assert_array_equal(np.asarray(value), expected[0])
    np.testing.assert_array_equal(np.asarray(grad), expected[1])


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in ROWWISE if c.labelled], ids=str)
def test_labels_of_every_integer_dtype(case, rng):
    x, t = case.arrays(rng, 700)
    t = np.asarray(np.where(t == case.loss.ignore_index, 0, t) % 100)
    expected = case.loss.value_and_grad(x, t)
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        for labels in (
            t.astype(kind),
            byte_swapped(t.astype(kind)),
            misaligned(t.astype(kind)),
            t.astype(kind).tolist(),
        ):
            assert_bits(case.loss.value_and_grad(x, labels), expected)
        labels = t.astype(kind)
        for layout in LAYOUTS:
            assert_bits(case.loss.value_and_grad(x, layout(labels)), expected, f"{kind} {layout.__name__}")
    mean = case.reduced("mean")
    assert_bits(mean.value_and_grad(x, t.astype(np.int8)), mean.value_and_grad(x, t))
    # an ignored label of a narrow dtype
    loss = type(case.loss)(**{**case.parameters, "ignore_index": 0}, reduction="mean")
    assert_bits(loss.value_and_grad(x, t.astype(np.uint8)), loss.value_and_grad(x, t))


@each_dtype
@pytest.mark.parametrize("classes", [1, 3, 10, 64, 65, 130])
@pytest.mark.parametrize("spatial", [(5,), (16,), (3, 4), (1, 1), (5, 40)])
def test_trailing_axes_are_more_rows(dtype, classes, spatial, each_isa, rng):
    x = (3 * rng.standard_normal((3, classes, *spatial))).astype(dtype)
    t = rng.integers(0, classes, (3, *spatial))
    t.flat[::4] = -100
    soft = np.moveaxis(rng.dirichlet(np.ones(classes), (3, *spatial)), -1, 1).astype(dtype)
    flat = np.moveaxis(x, 1, -1).reshape(-1, classes)
    flat_soft = np.moveaxis(soft, 1, -1).reshape(-1, classes)
    for isa, layout in itertools.product(each_isa(), (np.ascontiguousarray, f_order, class_last, strided, permuted)):
        for loss in (
            lf.CrossEntropyLoss(label_smoothing=0.1, reduction="none"),
            lf.CrossEntropyLoss(weight=np.arange(classes) + 1.0, reduction="none"),
            lf.NLLLoss(reduction="none"),
        ):
            for target, flat_target in ((layout(t), t.ravel()), (layout(soft), flat_soft)):
                if target.dtype == dtype and isinstance(loss, lf.NLLLoss):
                    continue
                value, grad, hess = loss.value_grad_hess(layout(x), target)
                wanted = loss.value_grad_hess(flat, flat_target)
                eps = (16 + 2 * float(np.ptp(x))) * np.finfo(dtype).eps
                np.testing.assert_allclose(value.ravel(), wanted[0], rtol=eps, err_msg=isa)
                for a, b in ((grad, wanted[1]), (hess, wanted[2])):
                    rows = np.moveaxis(a, 1, -1).reshape(-1, classes)
                    np.testing.assert_allclose(rows, b, rtol=0, atol=eps * max(1e-30, np.abs(b).max()), err_msg=isa)


def test_many_axes(rng):
    x = rng.random((1,) * 20 + (2, 3) + (1,) * 10)
    for case in ONE_EACH:
        if case.elementwise:
            value, grad = case.loss.value_and_grad(x, x[..., ::-1, :, :, :, :, :, :, :, :, :, :].copy())
            assert grad.shape == x.shape
    many = rng.standard_normal((2, 5) + (2,) * 15)
    labels = rng.integers(0, 5, (2,) + (2,) * 15)
    value = lf.CrossEntropyLoss(reduction="none")(many.T.copy().T, labels)
    np.testing.assert_allclose(value, lf.CrossEntropyLoss(reduction="none").reference(many, labels), rtol=1e-12)


@pytest.mark.parametrize("case", named(ELEMENTWISE, "MSELoss", "HuberLoss", "BCEWithLogitsLoss"), ids=str)
def test_results_around_the_cache(case, rng):
    """Large results take other stores; the same bits, at any alignment."""
    if "weight" in case.name:
        loss = type(case.loss)(
            **{k: v for k, v in case.parameters.items() if v is not SHAPED_WEIGHT and np.ndim(v) < 2}
        )
    else:
        loss = case.reduced("mean")
    loss = type(loss)(**{k: v for k, v in loss.parameters.items() if np.ndim(v) == 0})
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
