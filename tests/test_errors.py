"""What is refused, in which words, and that nothing is written then."""

import itertools
import re

import ml_dtypes
import numpy as np
import pytest

import lossfast as lf
import lossfast.functional as F

from .cases import CASES, EQUAL_DIMENSIONS, METHODS, ONE_EACH, Form, by_position

GRADIENTS = ("value_and_grad", "grad", "grad_hess", "value_grad_hess")
X23 = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


def methods_of(loss, among=METHODS):
    """Those that a loss has: without a Hessian, not all of them."""
    return among if loss.curved else [method for method in among if "hess" not in method]


def refused(loss, error, message, *arrays, **keywords):
    """Every method of the class and of the function refuses, in these words."""
    function = by_position(getattr(F, loss.function), type(getattr(loss, "of", loss)))
    for method, (of, own) in itertools.product(
        methods_of(loss), ((loss, keywords), (function, {**keywords, **loss.parameters}))
    ):
        if method == "__call__" and keywords.keys() & {"wrt", "grad_output"}:
            continue
        with pytest.raises(error) as caught:
            getattr(of, method)(*arrays, **own)
        assert type(caught.value) is error
        assert re.search(message, str(caught.value)), str(caught.value)


def refused_and_unwritten(loss, error, message, *arrays, **keywords):
    """And whatever is given for a result keeps its content."""
    refused(loss, error, message, *arrays, **keywords)
    cls = type(getattr(loss, "of", loss))
    shapes = [np.shape(a) for name, a in zip(cls.arrays, arrays, strict=False) if name in cls.predictions]
    for reduction in ("none", "mean"):
        other = by_position(cls(**{**loss.parameters, "reduction": reduction}), cls)
        for method in methods_of(loss, GRADIENTS):
            outs = [[np.full(shape, 77.0) for shape in shapes] for _ in range(2)]
            packed = tuple(group[0] if len(group) == 1 else tuple(group) for group in outs)
            with pytest.raises(error, match=message):
                getattr(other, method)(*arrays, **keywords, out=packed if "hess" in method else packed[0])
            assert all(np.all(o == 77) for o in itertools.chain(*outs))


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_reductions_that_do_not_exist(case, rng):
    arrays = case.arrays(rng, 30)
    stated = ", ".join(map(repr, case.cls.reductions))
    for bad in {"avg", "elementwise_mean", "batchmean", "", None, 3, "Mean"} - set(case.cls.reductions):
        with pytest.raises((ValueError, TypeError), match=f"reduction = {bad!r} is not one of {stated}"):
            case.cls(reduction=bad)
        with pytest.raises((ValueError, TypeError), match="reduction"):
            case.function(*arrays, reduction=bad)
    for legacy in ("size_average", "reduce"):
        with pytest.raises(TypeError, match=legacy):
            case.cls(**{legacy: True})
        with pytest.raises(TypeError, match=legacy):
            case.function(*arrays, **{legacy: True})
    with pytest.raises(TypeError):
        case.cls("mean")


@pytest.mark.parametrize(
    ("cls", "name", "bad", "error", "message"),
    [
        (lf.HuberLoss, "delta", 0, ValueError, r"delta = 0 is outside \(0, inf\]"),
        (lf.HuberLoss, "delta", -1.5, ValueError, r"delta = -1\.5 is outside"),
        (lf.HuberLoss, "delta", np.nan, ValueError, r"delta = nan is outside"),
        (lf.HuberLoss, "delta", "1", TypeError, r"delta = '1' is of type str; expected a real number"),
        (lf.HuberLoss, "delta", None, TypeError, r"delta = None"),
        (lf.HuberLoss, "delta", True, TypeError, r"delta = True"),
        (lf.HuberLoss, "delta", 1j, TypeError, r"delta = 1j"),
        (lf.SmoothL1Loss, "beta", -0.5, ValueError, r"beta = -0\.5 is outside \[0, inf\]"),
        (lf.SmoothL1Loss, "beta", np.nan, ValueError, r"beta = nan is outside"),
        (lf.SmoothL1Loss, "beta", [1.0], TypeError, r"beta = \[1\.0\]"),
        (lf.CrossEntropyLoss, "label_smoothing", 1.5, ValueError, r"label_smoothing = 1\.5 is outside \[0, 1\]"),
        (lf.CrossEntropyLoss, "label_smoothing", -0.1, ValueError, r"label_smoothing = -0\.1 is outside \[0, 1\]"),
        (lf.CrossEntropyLoss, "label_smoothing", np.nan, ValueError, r"label_smoothing = nan"),
        (
            lf.CrossEntropyLoss,
            "ignore_index",
            1.0,
            TypeError,
            r"ignore_index = 1\.0 is of type float; expected an integer",
        ),
        (lf.NLLLoss, "ignore_index", None, TypeError, r"ignore_index = None"),
        (lf.NLLLoss, "ignore_index", True, TypeError, r"ignore_index = True"),
        (lf.CrossEntropyLoss, "weight", [[1.0, 2.0]], ValueError, r"weight has 2 dimensions; expected 1"),
        (lf.NLLLoss, "weight", 2.0, ValueError, r"weight has 0 dimensions; expected 1"),
        (lf.MSELoss, "weight", "heavy", TypeError, r"weight"),
        (
            lf.BCEWithLogitsLoss,
            "pos_weight",
            [1j],
            TypeError,
            r"pos_weight has dtype complex128; expected real numbers",
        ),
    ],
)
def test_parameters_out_of_their_domain(*, cls, name, bad, error, message):
    with pytest.raises(error, match=message) as caught:
        cls(**{name: bad})
    assert type(caught.value) is error


def test_parameters_at_the_ends_of_their_domain():
    assert lf.HuberLoss(delta=np.inf).delta == np.inf
    assert lf.SmoothL1Loss(beta=0).beta == 0
    assert lf.CrossEntropyLoss(label_smoothing=1).label_smoothing == 1
    assert lf.CrossEntropyLoss(label_smoothing=np.float32(0.5)).label_smoothing == 0.5
    assert lf.NLLLoss(ignore_index=np.int8(-1)).ignore_index == -1


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_keywords_that_do_not_exist(case, rng):
    arrays = case.arrays(rng, 30)
    loss, function = case.bare("none"), getattr(F, case.cls.function)
    for method in methods_of(loss):
        for of in (loss, function):
            with pytest.raises(TypeError, match="wieght"):
                getattr(of, method)(*arrays, wieght=1)
            with pytest.raises(TypeError, match=case.names[1]):
                getattr(of, method)(arrays[0])
            with pytest.raises(TypeError):
                getattr(of, method)(*arrays, *[None] * (len(case.cls.arrays) - len(arrays)), np.ones(3))
    with pytest.raises(TypeError, match="wieght"):
        case.cls(wieght=1)


# ---- arguments of every method --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_names_that_have_no_derivative(case, rng):
    arrays = case.arrays(rng, 30)
    first = case.predictions[0]
    for method in methods_of(case.loss, GRADIENTS):
        for bad in ("output", "sample_weight", (first, "output"), (), (first, first)):
            with pytest.raises(ValueError, match="wrt") as caught:
                getattr(case.loss, method)(*arrays, wrt=bad)
            assert repr(bad) in str(caught.value) or "'output'" in str(caught.value)
            assert first in str(caught.value)
        available = case.curved if "hess" in method else case.differentiable
        for name in set(case.cls.arrays) - set(available):
            with pytest.raises(ValueError, match=f"wrt = '{name}'"):
                getattr(case.loss, method)(*arrays, wrt=name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_and_cotangents_that_do_not_fit(case, rng):
    arrays = case.arrays(rng, 70)
    shape = case.loss(*arrays).shape
    for name in ("sample_weight", "grad_output"):
        for bad in ((*shape, 2), (2, *shape), tuple(n + 1 for n in shape) or (3,)):
            message = (
                rf"{name} has shape {re.escape(str(bad))}; expected one that broadcasts to {re.escape(str(shape))}"
            )
            refused_and_unwritten(case.loss, ValueError, message, *arrays, **{name: np.ones(bad)})
        for bad, dtype in (([1j], "complex128"), (["a"], "<U1"), ([None], "object")):
            refused(case.loss, TypeError, rf"{name} has dtype {dtype}", *arrays, **{name: bad})
    for reduction in set(case.cls.reductions) - {"none"}:
        loss = case.reduced(reduction)
        with pytest.raises(
            ValueError, match=r"grad_output has shape .*reduction='none'" if shape else "grad_output has shape"
        ):
            loss.grad(*arrays, grad_output=np.ones((*shape[:-1], 1) if shape else (1,)))


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_what_is_not_a_number_is_refused(case, rng):
    arrays = case.arrays(rng, 70)
    for k, name in enumerate(case.names):
        before, after = arrays[:k], arrays[k + 1 :]
        for kind in (complex, str, object, "M8[s]", "m8[s]") if name in case.floating else ():
            bad = arrays[k].astype(kind)
            message = rf"{name} has dtype {re.escape(str(bad.dtype))}; expected real numbers"
            refused(case.loss, TypeError, message, *before, bad, *after)
        refused(case.loss, TypeError, name, *before, None, *after)
        ragged = [[1.0, 2.0], [3.0]]
        refused(case.loss, TypeError, f"{name} .*cannot be read as an array", *before, ragged, *after)
        masked = np.ma.masked_array(arrays[k])
        refused(case.loss, TypeError, f"{name} is a masked array.*sample_weight", *before, masked, *after)


# ---- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in ONE_EACH if c.elementwise], ids=str)
def test_shapes_of_elementwise_losses(case):
    half, first = np.full((64,), 0.5), case.names[0]
    for k, name in list(enumerate(case.names))[1:]:
        if name == "var":  # has shapes of its own
            continue
        for x, other, words in (
            (half, half[:, None], rf"expected \(64,\), that of {first}: use {name}\.squeeze\(1\)"),
            (half[:, None], half, rf"expected \(64, 1\), that of {first}: use {name}\.reshape\(\(64, 1\)\)"),
            (half, half[:63], rf"expected \(64,\), that of {first}$"),
            (half.reshape(8, 8), half.reshape(4, 16), r"expected \(8, 8\)"),
            (half.reshape(8, 8, 1), half.reshape(1, 8, 8), r"expected \(8, 8, 1\)"),
        ):
            arrays = [x] * len(case.names)
            arrays[k] = other
            message = rf"{name} has shape {re.escape(str(other.shape))}; {words}"
            if case.cls.__name__ in EQUAL_DIMENSIONS and x.ndim != other.ndim:
                message = rf"differ in their number of dimensions: .*{name} {re.escape(str(other.shape))}"
            refused_and_unwritten(case.loss, ValueError, message, *arrays)
        for other in () if case.cls.broadcasts else (half[:1], np.array(0.5)):
            arrays = [half] * len(case.names)
            arrays[k] = other
            message = rf"{name} has shape {re.escape(str(other.shape))}; expected \(64,\)"
            refused_and_unwritten(case.loss, ValueError, message, *arrays)


def test_shapes_of_element_weights():
    x = np.full((4, 3), 0.5)
    for cls in (lf.BCELoss, lf.BCEWithLogitsLoss):
        for shape in ((4,), (2, 4, 3), (4, 3, 1)):
            message = rf"weight has shape {re.escape(str(shape))}; expected one that broadcasts to \(4, 3\)"
            refused_and_unwritten(cls(weight=np.ones(shape)), ValueError, message, x, x)
    loss = lf.BCEWithLogitsLoss(pos_weight=np.ones(4))
    refused_and_unwritten(
        loss, ValueError, r"pos_weight has shape \(4,\); expected one that broadcasts to \(4, 3\)", x, x
    )
    for cls in (lf.MSELoss, lf.L1Loss, lf.HuberLoss):
        for shape in ((3,), (4, 1), (12,)):
            message = rf"weight has shape {re.escape(str(shape))}; expected \(4, 3\), that of input"
            refused_and_unwritten(cls(weight=np.ones(shape)), ValueError, message, x, x)


@pytest.mark.parametrize("cls", [lf.CrossEntropyLoss, lf.NLLLoss])
def test_shapes_of_rowwise_losses(cls):
    loss, x = cls(), np.zeros((64, 5))
    labels = np.zeros(64, int)
    image, map_ = np.zeros((2, 5, 3, 4)), np.zeros((2, 3, 4), int)
    for input, target, words in (
        (x, labels[:, None], r"target has shape \(64, 1\); expected \(64,\).*: use target\.squeeze\(1\)"),
        (x, labels[None], r"target has shape \(1, 64\); expected \(64,\).*: use target\.squeeze\(0\)"),
        (x, labels[:63], r"target has shape \(63,\); expected \(64,\)"),
        (x, 0, r"target has shape \(\); expected \(64,\)"),
        (x[0], labels[:2], r"target has shape \(2,\); expected \(\)"),
        (image, map_[:1], r"target has shape \(1, 3, 4\); expected \(2, 3, 4\)"),
        (image, map_[:, None], r"target has shape \(2, 1, 3, 4\); expected \(2, 3, 4\).*: use target\.squeeze\(1\)"),
        (image, map_.transpose(0, 2, 1), r"target has shape \(2, 4, 3\); expected \(2, 3, 4\)"),
        (image, map_[:, :, :3], r"target has shape \(2, 3, 3\); expected \(2, 3, 4\)"),
        (np.zeros(()), 0, r"input has shape \(\); expected \(C,\), \(N, C\) or \(N, C, d1, \.\.\.\)"),
    ):
        refused_and_unwritten(loss, ValueError, words, input, target)
    for length in (4, 6):
        message = rf"weight has shape \({length},\); expected \(5,\), one weight per class"
        refused_and_unwritten(cls(weight=np.ones(length)), ValueError, message, x, labels)


def test_probabilities_of_another_shape():
    x = np.zeros((64, 5))
    message = r"target has shape \(64, 4\); expected .*\(64,\).* or class probabilities of shape \(64, 5\)"
    refused_and_unwritten(lf.CrossEntropyLoss(), ValueError, message, x, np.ones((64, 4)) / 4)


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [lf.CrossEntropyLoss, lf.NLLLoss])
@pytest.mark.parametrize("classes", [10, 100])
def test_labels_out_of_range(cls, classes, threads):
    x = np.zeros((300, classes))
    for place, bad in (
        (17, 12 if classes == 10 else 100),
        (0, classes),
        (299, -1),
        (150, 2**62),
        (150, -(2**62)),
        (5, -99),
    ):
        labels = np.zeros(300, np.int64)
        labels[place] = bad
        message = rf"target\[{place}\] = {bad} is outside \[0, {classes}\)"
        for given in (labels, labels[:, None].repeat(2, 1)[:, 1], labels.astype(">i8")):
            refused_and_unwritten(cls(), IndexError, message, x, given)
        refused_and_unwritten(cls(weight=np.ones(classes)), IndexError, message, x, labels)
    labels = np.zeros(300, np.uint64)
    labels[7] = 2**64 - 100  # not -100
    refused_and_unwritten(cls(), IndexError, rf"target\[7\] = {2**64 - 100} is outside", x, labels)
    labels = np.zeros(300, np.int64)
    labels[[20, 40]] = -1, -2  # the first is named
    refused(cls(), IndexError, r"target\[20\] = -1", x, labels)
    labels = np.full(300, 200, np.uint8)
    refused_and_unwritten(cls(), IndexError, r"target\[0\] = 200", x, labels)
    # an ignored label may be anything, every other one may not
    ignoring = cls(ignore_index=200)
    assert np.isnan(ignoring(x, labels))
    labels[3] = 201
    refused_and_unwritten(ignoring, IndexError, r"target\[3\] = 201", x, labels)


@pytest.mark.parametrize("cls", [lf.CrossEntropyLoss, lf.NLLLoss])
def test_labels_out_of_range_in_space(cls):
    x, labels = np.zeros((2, 5, 3, 4)), np.zeros((2, 3, 4), int)
    labels[1, 2, 0] = 5
    for layout in (np.ascontiguousarray, np.asfortranarray):
        refused_and_unwritten(cls(), IndexError, r"target\[1, 2, 0\] = 5 is outside \[0, 5\)", x, layout(labels))
    refused_and_unwritten(cls(), IndexError, r"target = 7 is outside \[0, 5\)", np.zeros(5), 7)


@pytest.mark.parametrize("cls", [lf.CrossEntropyLoss, lf.NLLLoss])
def test_labels_in_place_of_which_results_go(cls):
    """Bad labels are found before a result is written over them."""
    memory = np.zeros((6, 4))
    labels = memory.view(np.int64)[:, 1]
    labels[3] = 9
    before = memory.copy()
    with pytest.raises(IndexError, match=r"target\[3\] = 9"):
        cls().grad(np.zeros((6, 4)), labels, out=memory)
    np.testing.assert_array_equal(memory, before)
    labels[3] = 2
    kept = labels.copy()
    got = cls().grad(X := np.random.default_rng(3).standard_normal((6, 4)), labels, out=memory)
    np.testing.assert_array_equal(got, cls().grad(X, kept))


@pytest.mark.parametrize("cls", [lf.CrossEntropyLoss, lf.NLLLoss])
def test_labels_that_are_no_integers(cls):
    for bad in (np.array([0.0, 1.0]), [0.0, 1.0], np.array([True, False]), np.array([0, 1], np.float16)):
        dtype = np.asarray(bad).dtype
        refused_and_unwritten(
            cls(), TypeError, rf"target has dtype {dtype}; .*use target\.astype\(np\.int64\)", X23, bad
        )


def test_one_hot_labels():
    for kind in (np.int64, np.uint8, bool):
        onehot = np.eye(3)[[0, 2]].astype(kind)
        refused_and_unwritten(lf.CrossEntropyLoss(), TypeError, r"target\.argmax\(1\) for one-hot labels", X23, onehot)
    refused_and_unwritten(lf.CrossEntropyLoss(), TypeError, r"target\.argmax\(0\)", X23[0], np.array([0, 1, 0]))
    refused(lf.NLLLoss(), ValueError, r"target has shape \(2, 3\); expected \(2,\)", X23, np.eye(3)[[0, 2]].astype(int))


def test_probabilities_and_ignored_labels():
    soft = np.full((2, 3), 1 / 3)
    for index in (0, 2, 255):
        message = rf"ignore_index = {index} needs class indices; target holds probabilities"
        refused_and_unwritten(lf.CrossEntropyLoss(ignore_index=index), ValueError, message, X23, soft)
    assert lf.CrossEntropyLoss(ignore_index=-1)(X23, soft) == lf.CrossEntropyLoss()(X23, soft)


# ---- domains --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in CASES if c.cls.domains and c.form == Form() and c.elementwise], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=("f32", "f64"))
def test_numbers_out_of_their_domain(case, dtype, isa, each_threads, rng):
    shape = (50, 7)
    good = tuple(case.draw(name, rng, shape).astype(dtype) for name in case.names)
    for _, (name, domain) in itertools.product(each_threads(), case.cls.domains.items()):
        ends = [(end, beyond) for end, beyond in ((domain.low, -np.inf), (domain.high, np.inf)) if np.isfinite(end)]
        outside = [np.nextafter(dtype(end), dtype(beyond)) for end, beyond in ends]
        outside += [dtype(end + np.sign(beyond) * 7) for end, beyond in ends] + [dtype(beyond) for _, beyond in ends]
        outside = [bad for bad in outside if abs(bad) >= np.finfo(dtype).smallest_normal]
        assert outside
        k = case.names.index(name)
        for (i, j), bad in itertools.product(((0, 0), (17, 3), (49, 6)), outside):
            soiled = good[k].copy()
            soiled[i, j] = bad
            number, hint = re.escape(str(float(bad))), re.escape(case.cls.domain_hint)
            message = (
                rf"{name}\[{i}, {j}\] = {number} is outside {re.escape(f'[{domain.low:g}, {domain.high:g}]')}{hint}"
            )
            for reduction, method in itertools.product(("mean", "none"), case.methods):
                with pytest.raises(ValueError, match=message):
                    getattr(case.reduced(reduction), method)(*good[:k], soiled, *good[k + 1 :])


def test_first_probability_out_of_its_domain_is_named():
    x = np.full(30, 0.5)
    x[[7, 9]] = 2.0, 3.0
    refused(lf.BCELoss(), ValueError, r"input\[7\] = 2\.0", x, np.ones(30))
    refused(lf.BCELoss(), ValueError, r"input\[7\] = 2\.0", x[:, None][:, 0], np.ones(30))
    refused(lf.BCELoss(), ValueError, r"input = 1\.5 is outside", 1.5, 1.0)
    refused(lf.BCELoss(), ValueError, r"input\[1\] = 2 is outside", np.array([0, 2]), np.array([0, 1]))
    refused(lf.BCELoss(weight=np.zeros(30)), ValueError, r"input\[7\] = 2\.0", x, np.ones(30))
    refused(lf.BCELoss(), ValueError, r"input\[7\] = 2\.0", x, np.ones(30), sample_weight=0.0)


#: Ways to have results written over an argument.
OVER_AN_ARGUMENT = (
    lambda loss, arrays, o: loss.grad(*arrays, out=o),
    lambda loss, arrays, o: loss.value_and_grad(*arrays, out=o),
    lambda loss, arrays, o: loss.grad(*arrays, wrt="target", out=o),
    lambda loss, arrays, o: loss.grad_hess(*arrays, out=(np.empty(5000), o)),
    lambda loss, arrays, o: loss.grad(*arrays, out=o[::-1]),
    lambda loss, arrays, o: type(loss)(reduction="none")(*arrays, out=o),
)


@pytest.mark.parametrize("call", OVER_AN_ARGUMENT)
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize(("bad", "place"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_domain_is_checked_first_where_a_result_shares_memory(bad, place, reduction, call):
    arrays = [np.full(5000, 0.25), np.full(5000, 0.75)]
    arrays[bad][4999] = 1.5
    before = [a.copy() for a in arrays]
    with pytest.raises(ValueError, match=r"\[4999\] = 1\.5"):
        call(lf.BCELoss(reduction=reduction), arrays, arrays[place])
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_else_has_a_domain(rng):
    """Targets beyond [0, 1], probabilities that do not sum to one, are let through; NaN never raises."""
    assert np.isfinite(lf.BCEWithLogitsLoss()([0.5], [3.0]))
    assert np.isfinite(lf.CrossEntropyLoss()(X23, 5 * X23 - 1))
    assert np.isnan(lf.BCELoss()([np.nan], [0.5]))
    assert np.isnan(lf.BCELoss()([0.5], [np.nan]))


# ---- values and types at the edge of what Python can hand over ------------------------------------------------------


def test_numbers_too_great_to_convert():
    with pytest.raises(ValueError, match="ignore_index = 1180591620717411303424"):
        lf.NLLLoss(ignore_index=2**70)
    with pytest.raises(ValueError, match="delta"):
        lf.HuberLoss(delta=10**400)
    with pytest.raises(ValueError, match="n = 1099511627776"):
        lf.set_num_threads(2**40)
    with pytest.raises(ValueError, match="var is greater than every float64"):
        lf.GaussianNLLLoss()(np.ones(3), np.ones(3), 10**400)
    with pytest.raises(ValueError, match="the weight of a is greater than every float64"):
        lf.MultiTaskLoss(a=(lf.MSELoss(), 10**400))
    with pytest.raises(ValueError, match="a factor is greater than every float64"):
        10**400 * lf.MSELoss()
    with pytest.raises(ValueError, match="max_norm is greater than every float64"):
        lf.clip_grad_norm([np.ones(3)], 10**400)
    with pytest.raises(ValueError, match="limit is greater than every float64"):
        lf.clip_grad_value([np.ones(3)], 10**400)


def test_wrt_and_axis_of_a_wrong_type():
    with pytest.raises(TypeError, match="wrt = 5"):
        lf.MSELoss().grad(np.ones(3), np.ones(3), wrt=5)
    with pytest.raises(TypeError, match=r"axis = \(0, 1\)"):
        lf.logsumexp(np.ones((3, 3)), axis=(0, 1))
    with pytest.raises(TypeError, match=r"axis = \(0, 1\)"):
        lf.softmax(np.ones((3, 3)), axis=(0, 1))
    with pytest.raises(ValueError, match=r"wrt = \['input'\]"):
        lf.MSELoss().grad(np.ones(3), np.ones(3), wrt=(["input"],))


def test_words_that_are_arrays():
    """Which have no one truth value to compare by."""
    words = np.array(["mean", "none"])
    with pytest.raises(ValueError, match="reduction = array"):
        lf.MSELoss(reduction=words)
    with pytest.raises(TypeError, match="curvature = array"):
        lf.MSELoss().grad_hess(np.ones(3), np.ones(3), curvature=words)
    for loss, arrays in ((lf.MSELoss(), ([1.0], [1.0])), (lf.NLLLoss(), (np.ones((2, 3)), [0, 1]))):
        with pytest.raises(TypeError, match="wrt = array"):
            loss.grad(*arrays, wrt=words)
        with pytest.raises(TypeError, match="wrt = array"):
            lf.check_grad(loss, *arrays, wrt=words)


def test_results_whose_elements_share_memory():
    out = np.lib.stride_tricks.as_strided(np.zeros(1), (4,), (0,))
    with pytest.raises(ValueError, match="out is a view whose elements share memory"):
        lf.MSELoss().grad(np.ones(4), np.zeros(4), out=out)


@pytest.mark.parametrize("strides", [(8,), (4,), (-8,), (0, 8), (16, 8), (8, 8), (8, 16)])
def test_results_whose_elements_overlap(strides):
    shape = (3, 4)[: len(strides)]
    out = np.lib.stride_tricks.as_strided(np.zeros(40)[20:], shape, strides)
    arguments = (np.ones(shape), np.zeros(shape))
    if np.abs(strides).tolist() == [8]:
        lf.MSELoss().grad(*arguments, out=out)
        return
    with pytest.raises(ValueError, match="out is a view whose elements share memory"):
        lf.MSELoss().grad(*arguments, out=out)


@pytest.mark.parametrize("ndim", [33, 40])
def test_more_axes_than_numpy_broadcasts(ndim):
    many = np.ones((1,) * ndim)
    assert lf.MSELoss()(many, 0 * many) == 1
    with pytest.raises(ValueError, match=r"target has shape \(3,\)"):
        lf.MSELoss()(many, np.zeros(3))
    with pytest.raises(ValueError, match="sample_weight has shape"):
        lf.MSELoss()(np.ones(3), np.zeros(3), sample_weight=many)
    with pytest.raises(ValueError, match="target has shape"):
        lf.CosineEmbeddingLoss()(np.ones((2, 3)), np.ones((2, 3)), many)
    assert "shape-mismatch" in str([finding.code for finding in lf.diagnose(lf.MSELoss(), many, np.zeros(3)).findings])


def test_beyond_float64_is_infinite():
    """Without a warning, which the tests take for an error."""
    huge = np.array([np.finfo(np.longdouble).max, 1])
    assert lf.MSELoss(reduction="none")(huge, np.zeros(2)).tolist() == [np.inf, 1]
    assert lf.GaussianNLLLoss()(np.ones(3, np.float32), np.ones(3), 1e300) == np.inf
    logits, target = np.array([[3e38, -3e38], [np.inf, 0]], np.float32), np.full((2, 2), 0.5, np.float32)
    loss = lf.CrossEntropyLoss(weight=np.ones(2, np.float32), reduction="sum")
    assert np.isnan(loss.grad(logits, target, wrt="weight")).all()
    column = np.full((3, 1), 6e4, np.float16)
    grad = lf.MSELoss(reduction="sum").grad(column, np.zeros((3, 7)), wrt="input")
    assert grad.dtype == np.float16
    assert np.isinf(grad).all()


@pytest.mark.parametrize("dtype", ["m8[s]", "M8[s]", "S3", [("a", "f4")], ml_dtypes.float8_e5m2])
def test_gradients_that_are_no_numbers(dtype):
    for clip in (lf.clip_grad_norm, lf.clip_grad_value):
        with pytest.raises(TypeError, match="grads has dtype"):
            clip(np.zeros(3, dtype), 1.0)
        with pytest.raises(TypeError, match=r"grads\[0\] is a masked array"):
            clip([np.ma.ones(3)], 1.0)


def test_only_lists_have_no_dtype_of_their_own():
    """Empty probabilities of another type than an array are no labels."""
    loss, x = lf.CrossEntropyLoss(reduction="none"), np.ones((1, 7, 0))
    for target in (x, memoryview(x), [[]]):
        assert loss(x, target).shape == (1, 0)


@pytest.mark.parametrize("cls", [lf.MSELoss, lf.NLLLoss])
def test_cotangents_of_a_reduced_empty_loss(cls):
    arrays = (np.ones((0, 3)), np.ones((0, 3))) if cls is lf.MSELoss else (np.ones((0, 3)), np.ones(0, int))
    with pytest.raises(ValueError, match="grad_output has shape"):
        cls().grad(*arrays, grad_output=np.ones(arrays[1].shape))


def test_ragged_lists_name_the_argument():
    with pytest.raises(TypeError, match="target of type list"):
        lf.CrossEntropyLoss()([1.0, 2.0], [[1], [1, 2]])


def test_dtypes_that_no_kernel_reads():
    eighth = np.ones(4).astype(ml_dtypes.float8_e5m2)
    for call in (lf.softmax, lf.sigmoid, lambda a: lf.MSELoss().grad(a, np.zeros(4))):
        with pytest.raises(TypeError, match="float8_e5m2"):
            call(eighth)
