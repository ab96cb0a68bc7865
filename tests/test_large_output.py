"""Linear cross entropy and adaptive softmax: the losses of logits that nobody stores."""

import concurrent.futures
import inspect
import itertools
import pickle
import re
import threading
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

import lossfast as lf
import lossfast.functional as F
from lossfast import _linear, large_output
from lossfast._drivers import linear as linear_driver
from lossfast._loss import REGISTRY, _never

from .cases import assert_bits, wide

EPS = {np.float32: float(np.finfo(np.float32).eps), np.float64: float(np.finfo(np.float64).eps)}
HALVES = (np.float16, ml_dtypes.bfloat16)
REDUCTIONS = ("mean", "sum", "none")
CLASSES = 6
WEIGHT = np.array([0.5, 1.0, 2.0, 0.25, 3.0, 1.5])
LINEAR = [
    {},
    {"weight": WEIGHT},
    {"ignore_index": 2},
    {"label_smoothing": 0.125},
    {"weight": WEIGHT, "ignore_index": 2, "label_smoothing": 0.5},
]
#: Two clusters, of which the last has an empty inner layer in some tests.
ADAPTIVE = {"n_classes": 11, "cutoffs": (4, 7)}


def linear(rng, *, rows=7, features=3, classes=CLASSES, probabilities=False, bias=True, dtype=np.float64):
    """The arrays of a linear layer of classes, by name."""
    lead = () if rows is None else (rows,)
    arrays = {
        "input": rng.standard_normal((*lead, features)).astype(dtype),
        "linear_weight": rng.standard_normal((classes, features)).astype(dtype),
        "target": np.array(rng.integers(0, classes, lead)),
    }
    if probabilities:
        arrays["target"] = rng.dirichlet(np.full(classes, 0.5), lead).astype(dtype)
    if bias:
        arrays["linear_bias"] = rng.standard_normal(classes).astype(dtype)
    return arrays


def adaptive(rng, *, rows=9, features=3, inner=(2, 1), bias=True, dtype=np.float64):
    """The arrays of an adaptive softmax of 11 classes, every one of which is a label if there are as many rows."""
    lead = () if rows is None else (rows,)
    arrays = {
        "input": rng.standard_normal((*lead, features)).astype(dtype),
        "target": np.array(rng.integers(0, 11)) if rows is None else rng.permutation(np.arange(rows) * 2 % 11),
        "head_weight": rng.standard_normal((6, features)).astype(dtype),
        "tail_weights": [
            tuple(rng.standard_normal(shape).astype(dtype) for shape in ((h, features), (n, h)))
            for h, n in zip(inner, (3, 4), strict=True)
        ],
    }
    if bias:
        arrays["head_bias"] = rng.standard_normal(6).astype(dtype)
    return arrays


def mapped(function, arrays):
    """A function of every array, in the same nesting."""
    if isinstance(arrays, dict):
        return {name: mapped(function, a) for name, a in arrays.items()}
    if isinstance(arrays, list | tuple):
        return type(arrays)(mapped(function, a) for a in arrays)
    return function(arrays)


def flat(nested):
    """All arrays of a nesting, in order."""
    return [a for member in nested for a in flat(member)] if isinstance(nested, list | tuple) else [nested]


def predictions(loss, arrays):
    return [name for name in loss.predictions if name in arrays]


def differences(loss, arrays, name, cotangent=None):
    """The gradient by one argument, by central differences of the definition in long double."""
    exact = mapped(lambda a: wide(a)[0].copy(), arrays)
    step = np.longdouble(2.0**-10)
    gradients = []
    for array in flat(exact[name]):
        gradient = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            start, values = array[place], {}
            for k in (1, 2, 4):
                for sign in (1, -1):
                    array[place] = start + sign * k * step
                    value = loss.reference(**exact)
                    values[sign * k] = value.sum() if cotangent is None else (value * cotangent).sum()
            array[place] = start
            slopes = [(values[k] - values[-k]) / (2 * k * step) for k in (1, 2, 4)]
            gradient[place] = (64 * slopes[0] - 20 * slopes[1] + slopes[2]) / 45  # Richardson's, of the sixth order
        gradients.append(gradient)
    return gradients


def close(actual, expected, dtype, factor=64):
    """Every array within rounding, of its greatest element."""
    actual, expected = flat(actual), flat(expected)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert np.shape(a) == np.shape(e)
        size = np.abs(np.asarray(e, np.float64))
        scale = max(1.0, float(size[np.isfinite(size)].max(initial=0)))
        np.testing.assert_allclose(
            np.asarray(a, np.float64), np.asarray(e, np.float64), rtol=0, atol=factor * EPS[dtype] * scale
        )


@pytest.fixture(params=["one block", "groups", "tiles"])
def tiles(request, monkeypatch):
    """All rows at once, groups of two rows, or tiles of two rows, of which two classes are taken at a time."""
    sizes = {"rows": 2, "many_rows": 2, "least_classes": 2, "most_classes": 2, "tile_bytes": 0}
    if request.param == "groups":
        del sizes["tile_bytes"]
    if request.param == "tiles":
        sizes["small_weight"] = -1
    before = linear_driver.set_sizes(**(sizes if request.param != "one block" else {}))
    if request.param != "one block":
        monkeypatch.setattr(large_output, "_TILE_BYTES", 0)
        monkeypatch.setattr(large_output, "_WIDE_ELEMENTS", 0)
    yield request.param
    linear_driver.set_sizes(**before)


PROBLEMS = {
    **{
        f"linear-{number}-{'probabilities' if soft else 'labels'}{'' if bias else '-plain'}": (
            lambda rng, number=number, soft=soft, bias=bias, **k: (
                lf.LinearCrossEntropyLoss(**LINEAR[number]),
                linear(rng, probabilities=soft, bias=bias, **k),
            )
        )
        for number, soft, bias in itertools.product(range(len(LINEAR)), (False, True), (False, True))
        if not (soft and "ignore_index" in LINEAR[number])
    },
    **{
        f"adaptive-{inner}{'' if bias else '-plain'}": (
            lambda rng, inner=inner, bias=bias, **k: (
                lf.AdaptiveLogSoftmaxWithLoss(**ADAPTIVE),
                adaptive(rng, inner=inner, bias=bias, **k),
            )
        )
        for inner, bias in (((2, 1), True), ((2, 1), False), ((1, 0), True))
    },
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))
each_dtype = pytest.mark.parametrize("dtype", (np.float32, np.float64), ids=("f32", "f64"))
each_loss = pytest.mark.parametrize("problem", (PROBLEMS["linear-0-labels"], PROBLEMS["adaptive-(2, 1)"]))


def reduced(loss, reduction):
    return type(loss)(**{**loss.parameters, "reduction": reduction})


# ---- value and gradients --------------------------------------------------------------------------------------------


@each_problem
@each_dtype
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_and_gradients_are_those_of_the_definition(problem, dtype, reduction, tiles, rng):
    loss, arrays = problem(rng, dtype=dtype)
    loss = reduced(loss, reduction)
    value, grads = loss.value_and_grad(**arrays)
    expected = loss.reference(**mapped(lambda a: wide(a)[0], arrays))
    close(value, expected, dtype)
    if reduction == "none":
        assert value.dtype == dtype
    else:
        assert type(value) is float
    names = predictions(loss, arrays)
    assert len(grads) == len(names)
    for name, grad in zip(names, grads, strict=True):
        assert all(g.dtype == dtype for g in flat(grad))
        close(grad, differences(loss, arrays, name), dtype)


@each_problem
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_and_cotangents(problem, reduction, tiles, rng):
    loss, arrays = problem(rng)
    loss = reduced(loss, reduction)
    rows = len(arrays["input"])
    for weight in (rng.random(rows), rng.integers(0, 3, rows), np.float32(0.5)):
        cotangent = rng.standard_normal(rows) if reduction == "none" else -1.75
        value, grads = loss.value_and_grad(**arrays, sample_weight=weight, grad_output=cotangent)
        exact = mapped(lambda a: wide(a)[0], arrays)
        close(value, loss.reference(**exact, sample_weight=np.asarray(weight, np.longdouble)), np.float64)

        class Weighted:
            @staticmethod
            def reference(weight=weight, **a):
                return loss.reference(**a, sample_weight=np.asarray(weight, np.longdouble))

        for name, grad in zip(predictions(loss, arrays), grads, strict=True):
            close(grad, differences(Weighted, arrays, name, cotangent), np.float64)


@each_problem
@each_dtype
def test_methods_agree_bit_by_bit(problem, dtype, tiles, rng):
    loss, arrays = problem(rng, dtype=dtype)
    names = tuple(predictions(loss, arrays))
    for reduction in REDUCTIONS:
        loss = reduced(loss, reduction)
        value, grads = loss.value_and_grad(**arrays)
        assert_bits(loss(**arrays), value)
        assert_bits(loss.grad(**arrays), grads)
        for chosen in itertools.chain.from_iterable(itertools.permutations(names, n) for n in range(1, len(names) + 1)):
            some = tuple(grads[names.index(name)] for name in chosen)
            assert_bits(loss.value_and_grad(**arrays, wrt=chosen), (value, some if len(some) > 1 else some[0]))
        assert_bits(loss.grad(**arrays, wrt=names[1]), grads[1])


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("classes", [CLASSES, 20 * CLASSES])
@each_dtype
def test_gradients_by_probabilities_and_class_weights(number, reduction, classes, dtype, tiles):
    rng = np.random.default_rng(classes)
    parameters = {**LINEAR[number], "reduction": reduction}
    if "weight" in parameters:
        parameters["weight"] = np.tile(WEIGHT, classes // CLASSES)
    arrays = linear(rng, probabilities=True, classes=classes, dtype=dtype)
    cotangent = rng.standard_normal(7) if reduction == "none" else -1.75
    given = {"sample_weight": rng.random(7), "grad_output": cotangent}
    loss, stored = lf.LinearCrossEntropyLoss(**parameters), lf.CrossEntropyLoss(**parameters)
    value, (by_target, by_input) = loss.value_and_grad(**arrays, **given, wrt=("target", "input"))
    assert_bits((value, by_input), loss.value_and_grad(**arrays, **given, wrt="input"))
    assert_bits(loss.grad(**arrays, **given, wrt="target"), by_target)
    logits = arrays["input"].astype(float) @ arrays["linear_weight"].astype(float).T + arrays["linear_bias"]
    close(by_target, stored.grad(logits, arrays["target"].astype(float), **given, wrt="target"), dtype)
    assert by_target.dtype == dtype
    if "weight" in parameters:
        by_weight, again = loss.grad(**arrays, **given, wrt=("weight", "target"))
        assert_bits(again, by_target)
        close(by_weight, stored.grad(logits, arrays["target"].astype(float), **given, wrt="weight"), dtype)


def test_is_the_cross_entropy_of_the_logits_for_real_shapes(rng):
    """Several tiles and blocks of the sizes in use, against logits that are stored."""
    x, weight = rng.standard_normal((300, 24), np.float32), rng.standard_normal((70_000, 24), np.float32)
    bias, labels = rng.standard_normal(70_000, np.float32), rng.integers(0, 70_000, 300)
    value, (by_input, by_weight, by_bias) = lf.LinearCrossEntropyLoss().value_and_grad(
        x, weight, labels, linear_bias=bias
    )
    logits = x.astype(float) @ weight.astype(float).T + bias
    expected, slopes = lf.CrossEntropyLoss().value_and_grad(logits, labels)
    assert value == pytest.approx(expected, rel=1e-6)
    close(by_input, slopes @ weight, np.float32, 16)
    close(by_weight, slopes.T @ x, np.float32, 16)
    close(by_bias, slopes.sum(0), np.float32, 16)


@each_loss
def test_threads_and_instruction_sets(problem, tiles, each_isa, each_threads, rng):
    loss, arrays = problem(rng, rows=50, features=5)
    expected = loss.reference(**mapped(lambda a: wide(a)[0], arrays))
    first = loss.value_and_grad(**arrays)
    for _ in each_isa():
        for _ in each_threads():
            value, grads = loss.value_and_grad(**arrays)
            close(value, expected, np.float64)
            close(grads, first[1], np.float64)


#: Around the sizes of vectors, of their tiles and of blocks, and what is shared out in several strips and chunks.
SHAPES = [
    *((n, 1 + n % 5, 1 + n % 7) for n in (1, 2, 15, 16, 17, 47, 48, 49, 143, 145, 300)),
    *((5, features, 3) for features in (7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 64, 80, 100, 130)),
    *((20, 20, classes) for classes in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 40, 255, 257, 600)),
    *((1300, 64, 10), (500, 130, 65), (400, 33, 300)),
]


@pytest.mark.parametrize("way", ["small", "tiles"])
@each_dtype
def test_every_shape(way, dtype, isa, each_threads):
    """As the logits that are stored, with the same bits for any number of threads."""
    sizes = {"small_weight": -1, "tile_bytes": 1 << 16, "least_strip": 16} if way == "tiles" else {}
    before = linear_driver.set_sizes(**sizes)
    try:
        for rows, features, classes in SHAPES:
            rng = np.random.default_rng(rows)
            arrays = linear(rng, rows=rows, features=features, classes=classes, dtype=dtype)
            exact = [wide(a)[0] for a in arrays.values()]
            logits = exact[0] @ exact[1].T + exact[3]
            value, slopes = lf.CrossEntropyLoss().value_and_grad(logits.astype(float), arrays["target"])
            for number in each_threads():
                answer = lf.LinearCrossEntropyLoss().value_and_grad(**arrays)
                if number == 1:
                    first = answer
                assert_bits(answer, first, f"{rows} x {features} x {classes}, {number} threads")
            close(first[0], value, dtype)
            close(first[1], (slopes @ exact[1], slopes.T @ exact[0], slopes.sum(0)), dtype)
    finally:
        linear_driver.set_sizes(**before)


@pytest.fixture
def straight(monkeypatch):
    """A method that raises where it does not go straight to the driver."""

    def refuse(self, arrays, request):
        raise GeneralWay

    def call(loss, method, arrays, options):
        with monkeypatch.context() as patch:
            patch.setattr(type(loss), "_evaluate", refuse)
            return getattr(loss, method)(**arrays, **options)

    return call


class GeneralWay(Exception):
    """A call did not go straight to the driver."""


def generally(loss, method, arrays, options):
    """What the general way gives."""
    own = loss._quick
    object.__setattr__(loss, "_quick", _never)
    try:
        return getattr(loss, method)(**arrays, **options)
    finally:
        object.__setattr__(loss, "_quick", own)


@pytest.mark.parametrize("problem", [p for name, p in PROBLEMS.items() if "linear" in name])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_both_ways_give_the_same_bits(problem, reduction, tiles, straight, rng):
    loss, arrays = problem(rng, rows=50, dtype=np.float32)
    loss, names = reduced(loss, reduction), predictions(loss, arrays)
    cotangent = rng.standard_normal(50) if reduction == "none" else -1.75
    weight = rng.random(50)
    for method in ("__call__", "value_and_grad", "grad"):
        for options in ({}, {"sample_weight": weight}):
            assert_bits(straight(loss, method, arrays, options), generally(loss, method, arrays, options))
        if method == "__call__":
            continue
        chosen = [(*names[:n],) for n in range(1, len(names) + 1)] + [names[::-1], names[1]]
        for options in ({"grad_output": cotangent, "sample_weight": weight}, *({"wrt": wrt} for wrt in chosen)):
            expected = generally(loss, method, arrays, options)
            assert_bits(straight(loss, method, arrays, options), expected, str(options.keys()))
            grads = expected[1] if method == "value_and_grad" else expected
            out = mapped(lambda g: np.full_like(g, 77), grads)
            assert_bits(straight(loss, method, arrays, {**options, "out": out}), expected, str(options.keys()))
            assert_bits(out, grads)


@each_dtype
def test_any_layout_and_dtype_goes_straight_to_the_driver(dtype, straight, rng):
    loss, arrays = lf.LinearCrossEntropyLoss(), linear(rng, rows=50, dtype=dtype)
    for layout in (np.asfortranarray, strided, rows_apart, reversed_memory, read_only):
        given = mapped(layout, arrays)
        assert_bits(straight(loss, "value_and_grad", given, {}), generally(loss, "value_and_grad", given, {}))
    for name, other in itertools.product(loss.predictions, (np.float16, np.float32, np.float64)):
        given = {**arrays, name: arrays[name].astype(other)}
        assert_bits(straight(loss, "value_and_grad", given, {}), generally(loss, "value_and_grad", given, {}))
    for other in (np.int8, np.uint16, np.int64):
        given = {**arrays, "target": arrays["target"].astype(other)}
        assert_bits(straight(loss, "value_and_grad", given, {}), loss.value_and_grad(**arrays))
    given = {**arrays, "input": arrays["input"].copy()}
    expected = loss.grad(**given)
    out = (given["input"], *(np.empty_like(g) for g in expected[1:]))
    assert_bits(straight(loss, "grad", given, {"out": out}), expected)


def test_other_calls_take_the_general_way(rng):
    """What is not usual, and what is refused."""
    loss, arrays = lf.LinearCrossEntropyLoss(), linear(rng)

    def quick(options=None, order=1, loss=loss, **changed):
        given = {**arrays, **changed}
        return loss._quick(tuple(given[name] for name in loss.arrays), True, order, options or {})

    x, weight, target, bias = (arrays[name] for name in loss.arrays)
    assert quick() is not None
    for name, others in (
        ("input", (x.astype(">f8"), x.astype(int), x[0], x[:0], x[:, :0], x.tolist(), x.astype(HALVES[1]))),
        ("linear_weight", (weight.astype(">f8"), weight[:, :2], weight[:0], weight.astype(np.longdouble), None)),
        ("target", (target[:3], target + CLASSES, np.full(7, -100), target.tolist(), target.astype(float))),
        ("target", (np.eye(7, 5), np.eye(7, CLASSES, dtype=int), np.eye(7, CLASSES, dtype=">f8"))),
        ("linear_bias", (bias[:3], bias[np.newaxis], bias.tolist())),
    ):
        for other in others:
            assert quick(**{name: other}) is None, (name, other)
    fresh = [np.empty_like(a) for a in (x, weight, bias)]
    outs = [fresh[0], fresh, fresh[:2], (x[::-1], *fresh[1:]), (fresh[0], weight, fresh[2])]
    outs += [(*fresh[:2], fresh[0].ravel()[:CLASSES]), (np.empty_like(x, np.float32), *fresh[1:])]
    for out in outs:
        assert quick({"out": out if out is fresh[0] or out is fresh else tuple(out)}) is None
    for options in ({"wrt": "target"}, {"wrt": ()}, {"sample_weight": 2}, {"sample_weight": np.ones(3)}):
        assert quick(options) is None
    assert quick({"wrt": "linear_bias"}, linear_bias=None) is None
    assert quick({"out": np.empty(7)}, order=0) is None
    assert quick(loss=lf.LinearCrossEntropyLoss(weight=np.ones(5))) is None
    assert quick(loss=lf.LinearCrossEntropyLoss(ignore_index=2), target=np.full((7, CLASSES), 1 / 6)) is None


@each_loss
def test_many_python_threads_at_once(problem, rng):
    loss, arrays = problem(rng, rows=400, features=30)
    expected = loss.value_and_grad(**arrays)
    barrier = threading.Barrier(6)

    def work():
        barrier.wait()
        return [loss.value_and_grad(**arrays) for _ in range(10)]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for results in [f.result() for f in [pool.submit(work) for _ in range(6)]]:
            for value, grads in results:
                assert value == pytest.approx(expected[0], rel=1e-13)
                close(grads, expected[1], np.float64)


def test_matrices_reach_blas_in_a_form_that_it_takes(rng):
    """NumPy computes the product of others in loops of its own, at a hundredth of the speed."""
    a, dtype = rng.standard_normal((6, 8)), np.dtype(np.float64)
    for good in (a, a.T, a[:, :5], a[1:4], a[::2], a[:5].T):
        assert _linear.fitting(good, dtype) is good
    for bad in (a[::-1], a[:, ::-1], a[:, ::2], np.broadcast_to(a[0], (6, 8)), misaligned(a), byte_swapped(a)):
        copy = _linear.fitting(bad, dtype)
        assert copy.flags.c_contiguous
        assert copy.flags.aligned
        assert_bits(copy, bad.astype(dtype))


# ---- adaptive softmax: all classes ----------------------------------------------------------------------------------


@each_dtype
def test_log_prob_and_predict(dtype, tiles, rng):
    loss = lf.AdaptiveLogSoftmaxWithLoss(**ADAPTIVE, reduction="none")
    for inner, bias in (((2, 1), True), ((1, 0), False)):
        arrays = adaptive(rng, rows=400, inner=inner, bias=bias, dtype=dtype)
        arrays["tail_weights"] = mapped(lambda a: 4 * a, arrays["tail_weights"])
        target = arrays.pop("target")
        log_p = loss.log_prob(**arrays)
        assert (log_p.shape, log_p.dtype) == ((400, 11), dtype)
        np.testing.assert_allclose(np.exp(log_p.astype(float)).sum(1), 1, rtol=8 * EPS[dtype])
        exact = mapped(lambda a: wide(a)[0], arrays)
        for label in range(11):
            close(log_p[:, label], -loss.reference(target=np.full(400, label), **exact), dtype)
        close(log_p[np.arange(400), target], -loss(target=target, **arrays), dtype)
        predicted = loss.predict(**arrays)
        assert predicted.dtype == np.int64
        np.testing.assert_array_equal(predicted, log_p.argmax(1))
        assert predicted.min() < 4 <= predicted.max()  # of the head and of a cluster

        one = {**arrays, "input": arrays["input"][3]}
        close(loss.log_prob(**one), log_p[3], dtype)
        assert loss.log_prob(**one).shape == (11,)
        assert loss.predict(**one) == predicted[3]
        assert np.ndim(loss.predict(**one)) == 0
        none = {**arrays, "input": arrays["input"][:0]}
        assert loss.log_prob(**none).shape == (0, 11)
        assert loss.predict(**none).shape == (0,)


def test_an_empty_inner_layer_makes_its_classes_equally_likely(rng):
    loss, arrays = lf.AdaptiveLogSoftmaxWithLoss(**ADAPTIVE), adaptive(rng, rows=11, inner=(0, 0))
    log_p = loss.log_prob(**{k: a for k, a in arrays.items() if k != "target"})
    np.testing.assert_allclose(log_p[:, 4:7], log_p[:, 4:5] + np.zeros(3))
    value, grads = loss.value_and_grad(**arrays)
    assert value == pytest.approx(float(loss.reference(**arrays)))
    assert [[a.shape for a in pair] for pair in grads[2]] == [[(0, 3), (3, 0)], [(0, 3), (4, 0)]]


def test_clusters_without_rows_have_a_gradient_of_zeros(rng):
    loss, arrays = lf.AdaptiveLogSoftmaxWithLoss(**ADAPTIVE), adaptive(rng)
    arrays["target"] = np.array([0, 1, 2, 3, 4, 5, 6, 4, 5])
    _, tails = loss.grad(**arrays, wrt=("input", "tail_weights"))
    assert all(np.any(a != 0) for a in tails[0])
    assert all(np.all(a == 0) for a in tails[1])
    out = mapped(lambda a: np.full_like(a, 77), arrays["tail_weights"])
    loss.grad(**arrays, wrt="tail_weights", out=out)
    assert_bits(mapped(np.asarray, tuple(tuple(pair) for pair in out)), tails)


def test_no_cluster_reads_the_rows_of_others(rng):
    """A NaN stays in its row, and where that row has a part."""
    loss, arrays = lf.AdaptiveLogSoftmaxWithLoss(**ADAPTIVE, reduction="none"), adaptive(rng)
    arrays["target"] = np.array([0, 1, 2, 3, 4, 5, 6, 4, 5])
    arrays["input"][4, 0] = np.nan
    value, (by_input, by_head, tails, _) = loss.value_and_grad(**arrays)
    assert np.flatnonzero(np.isnan(value)).tolist() == [4]
    assert np.flatnonzero(np.isnan(by_input).any(1)).tolist() == [4]
    assert np.isnan(by_head).any()
    assert np.isnan(tails[0][0]).any()
    assert not any(np.isnan(a).any() for a in tails[1])


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_all_labels_ignored(tiles, rng):
    arrays = linear(rng)
    arrays["target"][...] = -100
    value, grads = lf.LinearCrossEntropyLoss().value_and_grad(**arrays)
    assert np.isnan(value)
    assert all(np.all(g == 0) for g in grads)
    value, grads = lf.LinearCrossEntropyLoss(reduction="sum").value_and_grad(**arrays)
    assert value == 0
    assert all(np.all(g == 0) for g in grads)


def test_a_total_weight_of_zero_is_nan(rng):
    arrays = linear(rng)
    loss = lf.LinearCrossEntropyLoss(weight=np.zeros(CLASSES))
    value, grads = loss.value_and_grad(**arrays)
    stored = lf.CrossEntropyLoss(weight=np.zeros(CLASSES)).value_and_grad(np.ones((7, CLASSES)), arrays["target"])
    assert np.isnan(value) == np.isnan(stored[0])
    assert np.isnan(grads[2]).all() == np.isnan(stored[1]).any()
    assert np.isnan(loss(**arrays))
    for problem in (PROBLEMS["linear-0-labels"], PROBLEMS["adaptive-(2, 1)"]):
        assert np.isnan(problem(rng)[0](**problem(rng)[1], sample_weight=0.0))


def test_nan_and_infinities(tiles, rng):
    """As the cross entropy of the logits, without a warning."""
    loss, arrays = lf.LinearCrossEntropyLoss(reduction="none"), linear(rng)
    arrays["linear_bias"][1] = -np.inf
    arrays["target"][:] = [0, 2, 3, 4, 5, 0, 1]
    arrays["input"][2, 1] = np.nan
    value, (by_input, _, by_bias) = loss.value_and_grad(**arrays)
    with np.errstate(invalid="ignore"):
        logits = arrays["input"] @ arrays["linear_weight"].T + arrays["linear_bias"]
    stored, slopes = lf.CrossEntropyLoss(reduction="none").value_and_grad(logits, arrays["target"])
    np.testing.assert_allclose(value, stored, rtol=1e-13)
    assert np.isnan(value[2])
    assert value[6] == np.inf
    assert np.isfinite(value[[0, 1, 3, 4, 5]]).all()
    assert np.flatnonzero(np.isnan(by_input).any(1)).tolist() == [2]
    np.testing.assert_allclose(by_bias, slopes.sum(0), rtol=1e-12)
    huge = linear(rng, dtype=np.float32)
    huge["input"] *= np.float32(1e30)
    huge["linear_weight"] *= np.float32(1e30)
    assert not np.isfinite(loss(**huge)).all()


def test_one_class_no_rows_no_features_no_classes(tiles, rng):
    arrays = linear(rng, classes=1)
    value, grads = lf.LinearCrossEntropyLoss().value_and_grad(**arrays)
    assert value == 0
    assert all(np.all(g == 0) for g in grads)

    for problem in PROBLEMS.values():
        loss, arrays = problem(rng, rows=0)
        for reduction, empty in (("mean", np.nan), ("sum", 0.0)):
            value, grads = reduced(loss, reduction).value_and_grad(**arrays)
            np.testing.assert_equal(value, empty)
            for name, grad in zip(predictions(loss, arrays), grads, strict=True):
                assert [g.shape for g in flat(grad)] == [np.shape(a) for a in flat(arrays[name])]
                assert all(np.all(g == 0) for g in flat(grad))
        assert reduced(loss, "none")(**arrays).shape == (0,)

    arrays = linear(rng, features=0)
    value, grads = lf.LinearCrossEntropyLoss().value_and_grad(**arrays)
    expected, slopes = lf.CrossEntropyLoss().value_and_grad(np.tile(arrays["linear_bias"], (7, 1)), arrays["target"])
    assert value == pytest.approx(expected)
    assert (grads[0].shape, grads[1].shape) == ((7, 0), (CLASSES, 0))
    close(grads[2], slopes.sum(0), np.float64)

    arrays = linear(rng, classes=0, probabilities=False, rows=0)
    assert np.isnan(lf.LinearCrossEntropyLoss()(**arrays))
    nothing = {"input": np.ones((2, 3)), "linear_weight": np.ones((0, 3))}
    value, grads = lf.LinearCrossEntropyLoss(reduction="none").value_and_grad(**nothing, target=np.ones((2, 0)))
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(grads[0], np.zeros((2, 3)))
    with pytest.raises(IndexError, match=r"target\[0\] = 0 is outside \[0, 0\)"):
        lf.LinearCrossEntropyLoss()(**nothing, target=[0, 0])


@each_problem
def test_one_row_without_a_batch(problem, tiles, rng):
    loss, arrays = problem(rng, rows=None)
    batch = {**arrays, "input": arrays["input"][np.newaxis], "target": arrays["target"][np.newaxis]}
    cotangent = 1.5
    for reduction in REDUCTIONS:
        loss = reduced(loss, reduction)
        value, grads = loss.value_and_grad(**arrays, sample_weight=2.0, grad_output=cotangent)
        expected = loss.value_and_grad(**batch, sample_weight=[2.0], grad_output=cotangent)
        assert np.shape(value) == ()
        close(value, np.squeeze(expected[0]), np.float64)
        assert grads[0].shape == arrays["input"].shape
        assert_bits((grads[0][np.newaxis], *grads[1:]), expected[1])
        if reduction == "none":
            out = np.full((), 77.0)
            assert loss(**arrays, out=out) is out
            close(out, np.squeeze(loss(**batch)), np.float64)


def test_one_label_in_brackets_is_a_batch_of_one(rng):
    arrays, loss = linear(rng, rows=None), lf.LinearCrossEntropyLoss(reduction="none")
    value, grads = loss.value_and_grad(**{**arrays, "target": [int(arrays["target"])]}, grad_output=[2.0])
    assert value.shape == (1,)
    assert grads[0].shape == (3,)
    close(value[0], loss(**arrays), np.float64)
    close(grads, loss.grad(**arrays, grad_output=2.0), np.float64)
    soft = linear(rng, rows=None, probabilities=True)
    out = np.full(2 * CLASSES, 77.0)[::2]
    assert lf.LinearCrossEntropyLoss().grad(**soft, wrt="target", out=out) is out
    logits = soft["input"] @ soft["linear_weight"].T + soft["linear_bias"]
    close(out, lf.CrossEntropyLoss().grad(logits, soft["target"], wrt="target"), np.float64)


# ---- dtypes and layouts ---------------------------------------------------------------------------------------------


@each_loss
def test_predictions_decide_the_precision(problem, tiles, rng):
    loss, arrays = problem(rng)
    names = predictions(loss, arrays)
    for chosen in itertools.product((np.float32, np.float64, np.int8, np.float16, np.longdouble), repeat=2):
        given, exact, double = ({"target": arrays["target"]} for _ in range(3))
        for name, dtype in zip(names, itertools.cycle(chosen), strict=False):
            given[name] = mapped(lambda a, dtype=dtype: (4 * a).astype(dtype), arrays[name])
            exact[name] = mapped(lambda a: a.astype(np.longdouble), given[name])
            double[name] = mapped(lambda a: a.astype(np.float64), given[name])
        coarse = all(dtype in (np.float32, np.float16) for dtype in chosen)
        precision = np.float32 if coarse else np.float64
        value = reduced(loss, "none")(**given)
        if not coarse or len(set(chosen)) == 1:
            assert value.dtype == (chosen[0] if coarse else np.float64)
        limit = max(64 * EPS[precision], float(np.finfo(value.dtype).eps))
        expected = reduced(loss, "none").reference(**exact)
        np.testing.assert_allclose(value.astype(np.longdouble), expected, rtol=limit, atol=limit)
        for name, grad, full in zip(names, loss.grad(**given), loss.grad(**double), strict=True):
            for g, a, e in zip(flat(grad), flat(given[name]), flat(full), strict=True):
                assert g.dtype == (np.float64 if a.dtype.kind == "i" else a.dtype)
                limit = max(64 * EPS[precision], float(np.finfo(g.dtype).eps))
                np.testing.assert_allclose(g.astype(float), e, rtol=limit, atol=limit * max(1, np.abs(e).max()))


@each_loss
@pytest.mark.parametrize("half", HALVES, ids=("float16", "bfloat16"))
def test_half_precision(problem, half, tiles, rng):
    loss, arrays = problem(rng)
    given = mapped(lambda a: a.astype(half) if a.dtype.kind == "f" else a, arrays)
    single = mapped(lambda a: a if a.dtype.kind == "i" else a.astype(np.float32), given)
    names = predictions(loss, arrays)
    for reduction in REDUCTIONS:
        value, grads = reduced(loss, reduction).value_and_grad(**given)
        expected, exact = reduced(loss, reduction).value_and_grad(**single)
        if reduction == "none":
            assert value.dtype == half
            assert_bits(value, expected.astype(half))
        else:
            assert value == expected
        for name, grad, full in zip(names, grads, exact, strict=True):
            assert all(g.dtype == half for g in flat(grad)), name
            for g, e in zip(flat(grad), flat(full), strict=True):
                np.testing.assert_allclose(g.astype(float), e, rtol=2.0**-7, atol=1e-3)
    outs = [mapped(np.empty_like, given[name]) for name in names]
    assert_bits(loss.grad(**given, out=tuple(outs)), loss.grad(**given))
    if "log_prob" in dir(loss):
        rest = {k: a for k, a in given.items() if k != "target"}
        assert loss.log_prob(**rest).dtype == half
        assert loss.predict(**rest).shape == (9,)


def test_half_precision_overflows_to_infinity(rng):
    arrays = mapped(lambda a: a.astype(np.float16) if a.dtype.kind == "f" else a, linear(rng))
    grads = lf.LinearCrossEntropyLoss(reduction="sum").grad(**arrays, grad_output=1e6)
    assert all(np.isinf(g).any() for g in grads)


def strided(a):
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def rows_apart(a):
    """Every row native and contiguous, with a gap between them, as in a slice of columns."""
    return np.concatenate([a, a], -1)[..., : a.shape[-1]] if a.ndim > 1 else a


def reversed_memory(a):
    return np.flip(np.flip(a).copy())


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


def misaligned(a):
    return np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


@each_problem
@pytest.mark.parametrize(
    "layout", [strided, rows_apart, np.asfortranarray, reversed_memory, read_only, byte_swapped, misaligned]
)
@each_dtype
def test_any_layout(problem, layout, dtype, tiles, rng):
    loss, arrays = problem(rng, dtype=dtype)
    expected, exact = loss.value_and_grad(**arrays)
    value, grads = loss.value_and_grad(**mapped(layout, arrays))
    close(value, expected, dtype)
    close(list(grads), list(exact), dtype)
    names = predictions(loss, arrays)
    for name in names:
        given = {**arrays, name: mapped(layout, arrays[name])}
        value, grads = loss.value_and_grad(**given)
        close(value, expected, dtype)
        close(list(grads), list(exact), dtype)
        assert all(g.dtype == dtype for g in flat(grads))


def test_broadcast_arrays(rng):
    loss = lf.LinearCrossEntropyLoss()
    arrays = {
        "input": np.broadcast_to(rng.standard_normal(3), (7, 3)),
        "linear_weight": np.broadcast_to(rng.standard_normal((CLASSES, 1)), (CLASSES, 3)),
        "linear_bias": np.broadcast_to(0.5, CLASSES),
        "target": np.broadcast_to(2, 7),
    }
    copies = mapped(np.array, arrays)
    close(loss.value_and_grad(**arrays), loss.value_and_grad(**copies), np.float64)
    close(loss.grad(**arrays, sample_weight=3.0), loss.grad(**copies), np.float64)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, ">i4"])
@each_loss
def test_labels_of_any_integer_dtype(problem, dtype, tiles, rng):
    loss, arrays = problem(rng)
    expected = loss.value_and_grad(**arrays)
    assert_bits(loss.value_and_grad(**{**arrays, "target": arrays["target"].astype(dtype)}), expected)
    assert_bits(loss.value_and_grad(**{**arrays, "target": arrays["target"].tolist()}), expected)


@each_loss
def test_lists(problem, rng):
    loss, arrays = problem(rng)
    value, grads = loss.value_and_grad(**mapped(lambda a: a.tolist(), arrays))
    expected = loss.value_and_grad(**arrays)
    close(value, expected[0], np.float64)
    close(list(grads), list(expected[1]), np.float64)
    empty = {**problem(rng, rows=0)[1], "target": []}
    assert np.isnan(loss(**empty))


# ---- out ------------------------------------------------------------------------------------------------------------


def f_ordered(a):
    return np.full(a.shape, 77, a.dtype, order="F")


def with_gaps(a):
    return np.full((*a.shape[:-1], 2 * a.shape[-1]), 77, a.dtype)[..., ::2]


def swapped(a):
    return np.full(a.shape, 77, a.dtype.newbyteorder())


@each_problem
@pytest.mark.parametrize("make", [np.empty_like, f_ordered, with_gaps, swapped])
@each_dtype
def test_out_receives_the_gradients(problem, make, dtype, tiles, rng):
    loss, arrays = problem(rng, dtype=dtype)
    names = predictions(loss, arrays)
    expected, exact = loss.value_and_grad(**arrays)
    outs = tuple(mapped(make, arrays[name]) for name in names)
    value, grads = loss.value_and_grad(**arrays, out=outs)
    assert value == expected
    assert all(g is o for g, o in zip(flat(grads), flat(outs), strict=True))
    close(list(grads), list(exact), dtype)
    for name, full in zip(names, exact, strict=True):
        out = mapped(make, arrays[name])
        assert all(g is o for g, o in zip(flat(loss.grad(**arrays, wrt=name, out=out)), flat(out), strict=True))
        close(out, full, dtype)
    unreduced = reduced(loss, "none")
    out = make(unreduced(**arrays))
    assert unreduced(**arrays, out=out) is out
    close(out, unreduced(**arrays), dtype)


@each_problem
@each_dtype
def test_gradients_may_replace_the_arguments(problem, dtype, tiles, rng):
    loss, arrays = problem(rng, dtype=dtype)
    names = predictions(loss, arrays)
    expected = loss.value_and_grad(**arrays)
    own = mapped(np.copy, arrays)
    value, grads = loss.value_and_grad(**own, out=tuple(own[name] for name in names))
    assert all(
        a is b for name, g in zip(names, grads, strict=True) for a, b in zip(flat(g), flat(own[name]), strict=True)
    )
    assert_bits((value, mapped(np.asarray, grads)), expected)


def test_results_in_the_memory_of_other_arguments(tiles, rng):
    loss, arrays = lf.LinearCrossEntropyLoss(), linear(rng, rows=CLASSES, probabilities=True)
    expected = dict(zip(predictions(loss, arrays), loss.grad(**arrays), strict=True))
    expected["target"] = loss.grad(**arrays, wrt="target")
    for name, other in itertools.product(expected, arrays):
        own = mapped(np.copy, arrays)
        if own[name].shape == own[other].shape:
            assert_bits(loss.grad(**own, wrt=name, out=own[other]), expected[name], f"{name} into {other}")
    own = mapped(np.copy, arrays)
    own["input"] = np.concatenate([own["input"], np.zeros((1, 3))])
    shifted = own["input"][1:]
    own["input"] = own["input"][:-1]
    assert_bits(loss.grad(**own, wrt="input", out=shifted), expected["input"])
    own = mapped(np.copy, arrays)
    outs = np.empty_like(own["input"]), own["target"]
    assert_bits(loss.grad(**own, wrt=("input", "target"), out=outs), (expected["input"], expected["target"]))


@each_loss
def test_results_in_the_memory_of_labels_weights_and_cotangents(problem, tiles, rng):
    loss, arrays = problem(rng, rows=9)
    loss = reduced(loss, "none")
    factors = rng.random(9), rng.random(9)
    expected = loss.grad(**arrays, sample_weight=factors[0], grad_output=factors[1], wrt="input")
    for place in range(3):
        memory = np.empty((9, 3))
        first = memory.reshape(-1)[:9]
        labels, weight, cotangent = (a.copy() for a in (arrays["target"], *factors))
        if place == 0:
            labels = first.view(np.int64)
            labels[:] = arrays["target"]
        else:
            weight, cotangent = (first, cotangent) if place == 1 else (weight, first)
            first[:] = factors[place - 1]
        given = {**arrays, "target": labels}
        loss.grad(**given, sample_weight=weight, grad_output=cotangent, wrt="input", out=memory)
        assert_bits(memory, expected)
    value = loss(**arrays, sample_weight=factors[0])
    own = factors[0].copy()
    assert_bits(loss(**arrays, sample_weight=own, out=own), value)


def test_arrays_that_cannot_receive(rng):
    for problem in (PROBLEMS["linear-0-labels"], PROBLEMS["adaptive-(2, 1)"]):
        loss, arrays = problem(rng)
        names = predictions(loss, arrays)
        good = [mapped(lambda a: np.full_like(a, 77), arrays[name]) for name in names]
        read = good[1].copy()
        read.flags.writeable = False
        for bad, error, message in (
            (good[1].T, ValueError, "out has shape"),
            (good[1].astype(np.float32), TypeError, "out has dtype float32; expected float64"),
            (good[1].tolist(), TypeError, "out is of type list"),
            (read, ValueError, "out is read-only"),
            (np.broadcast_to(77.0, good[1].shape), ValueError, "out is"),
        ):
            with pytest.raises(error, match=message):
                loss.grad(**arrays, out=(good[0], bad, *good[2:]))
        shared = np.full(100, 77.0)
        overlapping = shared[: good[0].size].reshape(good[0].shape), shared[3 : 3 + good[1].size].reshape(good[1].shape)
        with pytest.raises(ValueError, match="two arrays of out share memory"):
            loss.grad(**arrays, out=(*overlapping, *good[2:]))
        for wrong in (good[0], tuple(good[:2]), list(good)):
            with pytest.raises(TypeError, match="out: expected one"):
                loss.grad(**arrays, out=wrong)
        with pytest.raises(ValueError, match="out: the loss is a float with reduction='mean'"):
            loss(**arrays, out=np.empty(()))
        assert all(np.all(a == 77) for a in (*flat(good), shared))
    tails = good[2]
    for wrong, error, message in (
        (tails[:1], ValueError, r"the out of tail_weights has members of lengths \[2\]; expected 2 pairs of arrays"),
        (tails[0], ValueError, "the out of tail_weights has members"),
        (3, TypeError, "the out of tail_weights is of type int; expected pairs of arrays"),
    ):
        with pytest.raises(error, match=message):
            loss.grad(**arrays, wrt="tail_weights", out=wrong)


# ---- errors ---------------------------------------------------------------------------------------------------------


def refused(loss, error, message, arrays, **keywords):
    """Every method refuses in these words, before anything is written."""
    for method in ("__call__", "value_and_grad", "grad"):
        if method == "__call__" and keywords.keys() & {"wrt", "grad_output"}:
            continue
        with pytest.raises(error) as caught:
            getattr(loss, method)(**arrays, **keywords)
        assert type(caught.value) is error
        assert re.search(message, str(caught.value)), str(caught.value)
        if method != "__call__" and "wrt" not in keywords and "out" not in keywords:
            outs = tuple(
                mapped(lambda a: np.full(np.shape(a), 77.0), arrays[name])
                for name in loss.predictions
                if arrays.get(name) is not None
            )
            with pytest.raises(error):
                getattr(loss, method)(**arrays, **keywords, out=outs)
            assert all(np.all(o == 77) for o in flat(outs))


def test_shapes_and_labels_of_linear_cross_entropy(rng):
    loss, arrays = lf.LinearCrossEntropyLoss(), linear(rng)

    def check(error, message, *, loss=loss, **changed):
        refused(loss, error, message, {**arrays, **changed})

    check(ValueError, r"input has shape \(\); expected \(F,\) or \(N, F\)", input=1.0)
    check(ValueError, r"input has shape \(1, 7, 3\); expected \(F,\) or \(N, F\)", input=arrays["input"][np.newaxis])
    for wrong in (arrays["linear_weight"].T, np.ones((CLASSES, 4)), np.ones(3), np.ones((1, CLASSES, 3))):
        message = f"linear_weight has shape {wrong.shape}; expected (C, 3), the features of every class"
        check(ValueError, re.escape(message), linear_weight=wrong)
    check(ValueError, r"expected \(C, 3\), .*: use linear_weight\.T$", linear_weight=arrays["linear_weight"].T)
    check(
        ValueError, r"linear_bias has shape \(5,\); expected \(6,\), one number for each class$", linear_bias=np.ones(5)
    )
    check(ValueError, r"linear_bias has shape .*: use linear_bias\.squeeze\(1\)", linear_bias=np.ones((6, 1)))
    check(
        ValueError,
        r"target has shape \(7, 1\); expected \(7,\), .*: use target\.squeeze\(1\)",
        target=np.zeros((7, 1), int),
    )
    check(ValueError, r"target has shape \(6,\); expected \(7,\), that of the logits without", target=np.zeros(6, int))
    check(
        TypeError,
        r"target has the shape of the logits, \(7, 6\), and dtype int64; .* use target\.argmax\(1\)",
        target=np.eye(7, 6, dtype=int),
    )
    check(
        TypeError, r"target has dtype float64; expected integer class indices: use target\.astype", target=np.zeros(7)
    )
    check(
        IndexError,
        r"target\[3\] = 6 is outside \[0, 6\): labels count from 0, and ignore_index=-100 marks",
        target=[0, 1, 2, 6, 0, 7, 0],
    )
    check(IndexError, r"target\[0\] = -1 is outside", target=[-1, 1, 2, 5, 0, 1, 0])
    check(
        ValueError,
        "ignore_index = 2 needs class indices; target holds probabilities",
        loss=lf.LinearCrossEntropyLoss(ignore_index=2),
        target=np.full((7, 6), 1 / 6),
    )
    check(
        ValueError,
        r"weight has shape \(5,\); expected \(6,\), one weight per class",
        loss=lf.LinearCrossEntropyLoss(weight=np.ones(5)),
    )
    check(TypeError, "linear_weight has dtype complex128", linear_weight=1j * arrays["linear_weight"])
    check(TypeError, "linear_bias has dtype", linear_bias=["a"] * 6)
    check(TypeError, "input is a masked array", input=np.ma.masked_array(arrays["input"]))
    check(TypeError, "input has dtype object", input=None)


def test_shapes_and_labels_of_adaptive_softmax(rng):
    loss, arrays = lf.AdaptiveLogSoftmaxWithLoss(**ADAPTIVE), adaptive(rng)
    first, second = arrays["tail_weights"]

    def check(error, message, **changed):
        refused(loss, error, message, {**arrays, **changed})
        given = {k: a for k, a in {**arrays, **changed}.items() if k != "target"}
        if changed.keys() - {"target"}:
            for method in (loss.log_prob, loss.predict):
                with pytest.raises(error, match=message):
                    method(**given)

    check(ValueError, r"input has shape \(\); expected \(F,\) or \(N, F\)", input=1.0)
    check(
        ValueError,
        r"head_weight has shape \(6, 4\); expected \(6, 3\), the features of classes and clusters$",
        head_weight=np.ones((6, 4)),
    )
    check(ValueError, r"head_weight has shape \(4, 3\); expected \(6, 3\)", head_weight=np.ones((4, 3)))
    check(ValueError, r"head_weight has shape \(3, 6\); .*: use head_weight\.T$", head_weight=np.ones((3, 6)))
    check(
        ValueError,
        r"head_bias has shape \(4,\); expected \(6,\), one number for each class or cluster",
        head_bias=np.ones(4),
    )
    check(
        ValueError,
        r"tail_weights has members of lengths \[2\]; expected 2 pairs of arrays, one for each cutoff",
        tail_weights=[first],
    )
    check(ValueError, r"tail_weights has members of lengths \[2, 1\]", tail_weights=[first, second[:1]])
    check(TypeError, "tail_weights is of type int; expected pairs of arrays", tail_weights=3)
    check(
        ValueError,
        r"tail_weights\[1\]\[0\] has shape \(1, 4\); expected \(h, 3\), what the cluster computes",
        tail_weights=[first, (np.ones((1, 4)), second[1])],
    )
    check(
        ValueError,
        r"tail_weights\[1\]\[1\] has shape \(4, 2\); expected \(4, 1\), one row for each of its classes",
        tail_weights=[first, (second[0], np.ones((4, 2)))],
    )
    check(
        ValueError,
        r"tail_weights\[0\]\[1\] has shape \(2, 3\); expected \(3, 2\), .*: use tail_weights\[0\]\[1\]\.T",
        tail_weights=[(first[0], first[1].T), second],
    )
    check(TypeError, r"tail_weights\[0\]\[0\] has dtype complex128", tail_weights=[(1j * first[0], first[1]), second])
    check(
        ValueError,
        r"target has shape \(9, 1\); expected \(9,\), that of input without its features: use target\.squeeze\(1\)",
        target=np.zeros((9, 1), int),
    )
    check(TypeError, "target has dtype float64; expected integer class indices", target=np.zeros(9))
    check(
        IndexError, r"target\[2\] = 11 is outside \[0, 11\): labels count from 0", target=[0, 1, 11, 3, 4, 5, 6, 7, 99]
    )
    check(IndexError, r"target\[0\] = -100 is outside \[0, 11\)", target=[-100] * 9)
    with pytest.raises(ValueError, match=r"target has shape \(1,\); expected \(\), .*: use target\.squeeze\(0\)"):
        loss(**{**arrays, "input": arrays["input"][0], "target": np.array([1])})


@each_loss
def test_arguments_of_the_methods(problem, rng):
    loss, arrays = problem(rng)
    for bad in ("target", "output", ("input", "output"), (), ("input", "input")):
        refused(loss, ValueError, r"wrt = .*input", arrays, wrt=bad)
    refused(loss, TypeError, "wrt = 3", arrays, wrt=3)
    refused(
        loss,
        ValueError,
        r"sample_weight has shape \(3,\); expected one that broadcasts to",
        arrays,
        sample_weight=np.ones(3),
    )
    refused(
        loss,
        ValueError,
        r"grad_output has shape .*; expected a number",
        arrays,
        grad_output=np.ones(len(arrays["input"])),
    )
    bias = loss.predictions[-1]
    refused(loss, ValueError, f"wrt = '{bias}'", {k: a for k, a in arrays.items() if k != bias}, wrt=bias)
    for method in ("__call__", "value_and_grad", "grad"):
        with pytest.raises(TypeError, match="wieght"):
            getattr(loss, method)(**arrays, wieght=1)
    for method in ("grad_hess", "value_grad_hess"):
        with pytest.raises(TypeError, match="has no Hessian diagonal: use value_and_grad or grad"):
            getattr(loss, method)(**arrays)
    with pytest.raises(TypeError, match="target"):
        loss(arrays["input"])


@pytest.mark.parametrize(
    ("cutoffs", "error", "message"),
    [
        ([], ValueError, "cutoffs is empty; expected at least one class"),
        ([3.5], TypeError, r"cutoffs\[0\] = 3.5 is of type float; expected an integer"),
        ([3, True], TypeError, r"cutoffs\[1\] = True is of type bool"),
        (3, TypeError, "cutoffs = 3 is of type int; expected a sequence of integers"),
        ("ab", TypeError, r"cutoffs\[0\] = 'a'"),
        ([0, 3], ValueError, r"cutoffs\[0\] = 0 is outside \[1, 10\]"),
        ([3, 11], ValueError, r"cutoffs\[1\] = 11 is outside \[1, 10\]"),
        ([3, 3], ValueError, r"cutoffs\[1\] = 3 does not exceed cutoffs\[0\] = 3"),
        ([5, 3], ValueError, r"cutoffs\[1\] = 3 does not exceed cutoffs\[0\] = 5"),
    ],
)
def test_cutoffs_that_make_no_clusters(cutoffs, error, message):
    with pytest.raises(error, match=message) as caught:
        lf.AdaptiveLogSoftmaxWithLoss(11, cutoffs)
    assert type(caught.value) is error


def test_numbers_of_classes():
    for bad, error in ((1, ValueError), (2**31, ValueError), (-3, ValueError), (10.0, TypeError), (None, TypeError)):
        with pytest.raises(error, match=f"n_classes = {bad}"):
            lf.AdaptiveLogSoftmaxWithLoss(bad, [1])
    with pytest.raises(TypeError, match="cutoffs"):
        lf.AdaptiveLogSoftmaxWithLoss(10)
    with pytest.raises(ValueError, match="reduction = 'avg'"):
        lf.AdaptiveLogSoftmaxWithLoss(10, [1], reduction="avg")
    assert lf.AdaptiveLogSoftmaxWithLoss(10, [9]).cutoffs == (9,)


# ---- the objects ----------------------------------------------------------------------------------------------------


def test_objects():
    loss = lf.AdaptiveLogSoftmaxWithLoss(11, np.array([4, 7]))
    assert repr(loss) == "AdaptiveLogSoftmaxWithLoss(n_classes=11, cutoffs=(4, 7))"
    assert loss == lf.AdaptiveLogSoftmaxWithLoss(cutoffs=(4, 7), n_classes=11, reduction="mean")
    assert loss != lf.AdaptiveLogSoftmaxWithLoss(11, (4, 8))
    assert hash(loss) == hash(lf.AdaptiveLogSoftmaxWithLoss(11, [4, 7]))
    assert pickle.loads(pickle.dumps(loss)) == loss
    with pytest.raises(AttributeError):
        loss.n_classes = 3
    assert list(inspect.signature(lf.AdaptiveLogSoftmaxWithLoss).parameters) == ["n_classes", "cutoffs", "reduction"]
    assert "AdaptiveLogSoftmaxWithLoss" in lf.__all__
    assert "AdaptiveLogSoftmaxWithLoss" not in REGISTRY

    loss = lf.LinearCrossEntropyLoss(weight=WEIGHT, label_smoothing=0.25, reduction="sum")
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert repr(lf.LinearCrossEntropyLoss(ignore_index=3)) == "LinearCrossEntropyLoss(ignore_index=3)"
    for wrong in ({"label_smoothing": 1.5}, {"label_smoothing": -0.1}, {"weight": np.ones((2, 2))}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            lf.LinearCrossEntropyLoss(**wrong)
    assert REGISTRY["LinearCrossEntropyLoss"] is lf.LinearCrossEntropyLoss


def test_function(rng):
    arrays = linear(rng)
    for parameters in LINEAR:
        loss = lf.LinearCrossEntropyLoss(**parameters)
        assert_bits(F.linear_cross_entropy(**arrays, **parameters), loss(**arrays))
        assert_bits(F.linear_cross_entropy.value_and_grad(**arrays, **parameters), loss.value_and_grad(**arrays))
        assert F.linear_cross_entropy.reference(**arrays, **parameters) == loss.reference(**arrays)
    x, weight, target = (arrays[n] for n in ("input", "linear_weight", "target"))
    assert_bits(F.linear_cross_entropy(x, weight, target), lf.LinearCrossEntropyLoss()(x, weight, target))
    shown = list(inspect.signature(F.linear_cross_entropy).parameters)
    assert shown[:3] == ["input", "linear_weight", "target"]
    assert {"linear_bias", "weight", "ignore_index", "label_smoothing", "reduction", "out"} <= set(shown)


# ---- memory ---------------------------------------------------------------------------------------------------------


def extra_memory(call, *results):
    """Bytes that a call has allocated at its worst, beside its results."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1] - sum(a.nbytes for a in flat(result) if isinstance(a, np.ndarray))
    finally:
        tracemalloc.stop()


def test_memory_of_linear_cross_entropy(rng):
    """50 000 classes, 512 features: all logits of 4096 rows would be 800 MB."""
    rows, features, classes = 4096, 512, 50_000
    x, weight = (rng.standard_normal((n, features), np.float32) for n in (rows, classes))
    bias, labels = rng.standard_normal(classes, np.float32), rng.integers(0, classes, rows)
    loss = lf.LinearCrossEntropyLoss()
    assert extra_memory(lambda: loss.value_and_grad(x, weight, labels, linear_bias=bias)) <= 64 << 20
    some = x[:256], weight, labels[:256]
    assert extra_memory(lambda: loss(*some)) <= 64 << 20
    assert extra_memory(lambda: loss.grad(*some, wrt="input")) <= 64 << 20
    outs = np.empty_like(some[0]), np.empty_like(weight)
    assert extra_memory(lambda: loss.grad(*some, out=outs)) + sum(o.nbytes for o in outs) <= 64 << 20
    halves = some[0].astype(np.float16), weight.astype(np.float16), some[2]
    assert extra_memory(lambda: loss.grad(*halves, wrt="input")) <= 64 << 20


def test_memory_of_more_classes_and_of_an_adaptive_softmax(rng):
    weight = rng.standard_normal((150_000, 8), np.float32)
    x, labels = rng.standard_normal((200, 8), np.float32), rng.integers(0, 150_000, 200)
    assert extra_memory(lambda: lf.LinearCrossEntropyLoss().value_and_grad(x, weight, labels)) <= 64 << 20
    loss = lf.AdaptiveLogSoftmaxWithLoss(150_000, [2_000, 30_000])
    tails = [(weight[:4], weight[:28_000, :4]), (weight[:2], weight[:120_000, :2])]
    assert extra_memory(lambda: loss.value_and_grad(x, labels, weight[:2_002], tails)) <= 64 << 20
