"""Weighted sums of losses, and losses of several tasks."""

import copy
import dataclasses
import pickle

import ml_dtypes
import numpy as np
import pytest

import lossfast as lf
from lossfast._loss import Loss

from .cases import CASES, METHODS, assert_bits

MSE, L1, HUBER = lf.MSELoss(), lf.L1Loss(), lf.HuberLoss(delta=0.5)
TOTAL = 0.7 * MSE + 0.3 * HUBER
#: Pairs of losses of the same arrays, and those arrays.
PAIRS = {
    "regression": (MSE, HUBER),
    "binary": (lf.BCEWithLogitsLoss(), lf.MSELoss()),
    "classes": (lf.CrossEntropyLoss(label_smoothing=0.1), lf.NLLLoss()),
    "pairs": (lf.MarginRankingLoss(margin=0.5), lf.MarginRankingLoss(margin=2.0)),
}


def arrays_of(name, rng, dtype=np.float64):
    """Arrays that both losses of a pair take."""
    logits = (2 * rng.standard_normal((30, 5))).astype(dtype)
    if name == "classes":
        return lf.log_softmax(logits), rng.integers(0, 5, 30)
    other = rng.standard_normal((30, 5)).astype(dtype)
    if name == "pairs":
        return logits, other, rng.choice([-1.0, 1.0], (30, 5)).astype(dtype)
    return logits, other


def combined(parts):
    """0.7 times the first result and -1.3 times the second, member by member."""
    first, second = parts
    if isinstance(first, tuple):
        return tuple(combined(pair) for pair in zip(first, second, strict=True))
    return 0.7 * first - 1.3 * second


def assert_close(actual, expected, rtol=1e-12):
    if isinstance(expected, tuple):
        assert isinstance(actual, tuple)
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, rtol)
    else:
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


# ---- the object -----------------------------------------------------------------------------------------------------


def test_a_sum_reads_as_it_is_written():
    assert repr(TOTAL) == "0.7 * MSELoss() + 0.3 * HuberLoss(delta=0.5)"
    assert repr(2 * (MSE - L1 / 4)) == "2.0 * MSELoss() - 0.5 * L1Loss()"
    assert repr(-MSE + L1) == "-MSELoss() + L1Loss()"
    assert repr(MSE * 1) == "1.0 * MSELoss()"
    assert repr(-L1) == "-L1Loss()"
    for loss in (TOTAL, 2 * (MSE - L1 / 4), -MSE + L1, MSE * 1, -L1, L1 / -3):
        assert eval(repr(loss), vars(lf)) == loss


def test_sums_are_flat_and_compare_by_their_terms():
    assert (MSE + L1) + HUBER == MSE + (L1 + HUBER) == sum([MSE, L1, HUBER])
    assert 0.5 * (2 * MSE + 4 * L1) == MSE * 1 + 2 * L1
    assert MSE - L1 == MSE + -L1
    assert np.float64(0.7) * MSE + np.float32(0.5) * HUBER == 0.7 * MSE + 0.5 * HUBER
    assert (0.7 * MSE).terms == ((0.7, MSE),)
    assert TOTAL != 0.7 * MSE + 0.4 * HUBER
    assert 0.7 * MSE + 0.3 * lf.HuberLoss() != TOTAL
    assert TOTAL != MSE
    assert MSE != MSE * 1
    assert sum([MSE]) == MSE
    assert isinstance(TOTAL, Loss)


def test_sums_are_immutable_and_picklable():
    for same in (pickle.loads(pickle.dumps(TOTAL)), copy.copy(TOTAL), copy.deepcopy(TOTAL)):
        assert same == TOTAL
        assert hash(same) == hash(TOTAL)
        assert_bits(same.value_and_grad([1.0], [3.0]), TOTAL.value_and_grad([1.0], [3.0]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        TOTAL.terms = ()


def test_replacing_the_reduction_replaces_that_of_every_loss():
    each = dataclasses.replace(TOTAL, reduction="none")
    assert each == 0.7 * lf.MSELoss(reduction="none") + 0.3 * lf.HuberLoss(delta=0.5, reduction="none")
    assert TOTAL.reduction == "mean"


@pytest.mark.parametrize("other", [1, 1.5, "loss", None, np.ones(3), True])
def test_only_losses_are_added(other):
    for add in (lambda a, b: a + b, lambda a, b: b + a, lambda a, b: a - b, lambda a, b: b - a):
        with pytest.raises(TypeError):
            add(MSE, other)


@pytest.mark.parametrize("other", [MSE, "2", None, np.ones(3), True, 1j])
def test_only_numbers_multiply(other):
    for multiply in (lambda a, b: a * b, lambda a, b: b * a, lambda a, b: a / b):
        with pytest.raises(TypeError):
            multiply(L1, other)


@pytest.mark.parametrize("factor", [np.inf, -np.inf, np.nan])
def test_factors_are_finite(factor):
    with pytest.raises(ValueError, match=r"times a loss: expected a finite number"):
        factor * MSE
    with pytest.raises(ZeroDivisionError):
        MSE / 0


def test_losses_of_other_arrays_are_not_added():
    with pytest.raises(
        TypeError, match=r"MSELoss takes \(input, target\) and MarginRankingLoss takes \(input1, input2"
    ):
        MSE + lf.MarginRankingLoss()


def test_reductions_have_to_agree():
    with pytest.raises(ValueError, match="MSELoss has reduction='mean' and L1Loss has reduction='sum'"):
        MSE + lf.L1Loss(reduction="sum")


# ---- values and derivatives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_everything_is_the_weighted_sum_of_what_the_losses_give(name, reduction, isa, rng):
    first, second = (dataclasses.replace(loss, reduction=reduction) for loss in PAIRS[name])
    total, arrays = 0.7 * first - 1.3 * second, arrays_of(name, rng)
    weight = rng.random(len(arrays[0]) if name == "classes" else arrays[0].shape)
    for method in METHODS:
        options = {} if method == "__call__" else {"grad_output": 2.5}
        for keywords in ({}, {"sample_weight": weight}, options):
            parts = [getattr(loss, method)(*arrays, **keywords) for loss in (first, second)]
            assert_close(getattr(total, method)(*arrays, **keywords), combined(parts))
    assert total.reference(*arrays) == pytest.approx(total(*arrays), rel=1e-12)
    assert total.reference(*arrays, sample_weight=weight) == pytest.approx(total(*arrays, sample_weight=weight))
    lf.check_grad(total, *arrays)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sum_of_one_loss_with_itself_is_a_multiple_of_it(case, rng):
    arrays = case.arrays(rng, 60)
    for reduction in case.cls.reductions:
        loss, bare = case.reduced(reduction), case.bare(reduction)
        total = 0.25 * bare + bare - 0.5 * bare
        for method in case.methods:
            expected = scaled(getattr(loss, method)(*arrays), 0.75)
            assert_close_nested(getattr(total, method)(*arrays), expected)
        if not case.cls.curved:
            with pytest.raises(TypeError, match="has no Hessian diagonal"):
                total.grad_hess(*arrays)


def scaled(result, factor):
    if isinstance(result, tuple | list):
        return type(result)(scaled(member, factor) for member in result)
    return result * factor if isinstance(result, float) else np.asarray(result * factor)


def assert_close_nested(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, tuple | list):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_close_nested(a, e)
    else:
        # an infinity less another is NaN
        both = np.where(np.isinf(expected) & np.isnan(actual), expected, actual)
        np.testing.assert_allclose(both, expected, rtol=1e-13, atol=1e-15)


def test_unreduced_sums(rng):
    total = 0.7 * lf.MSELoss(reduction="none") + 0.3 * lf.HuberLoss(delta=0.5, reduction="none")
    x, t, go = rng.standard_normal((3, 6, 5))
    value, grad = total.value_and_grad(x, t, grad_output=go)
    d = x - t
    huber = np.where(abs(d) < 0.5, d * d / 2, 0.5 * (abs(d) - 0.25))
    np.testing.assert_allclose(value, 0.7 * d * d + 0.3 * huber, rtol=1e-12)
    np.testing.assert_allclose(grad, go * (1.4 * d + 0.3 * np.clip(d, -0.5, 0.5)), rtol=1e-12)
    np.testing.assert_allclose(total.reference(x, t), value, rtol=1e-12)
    lf.check_grad(total, x, t, wrt=("input", "target"))
    for scalar in (total(1.0, 3.0), total(np.float64(1.0), 3.0)):
        assert scalar == pytest.approx(0.7 * 4 + 0.3 * 0.875)


def test_unreduced_losses_of_different_shapes_are_refused(rng):
    total = lf.CrossEntropyLoss(reduction="none") + lf.MSELoss(reduction="none")
    logits, shares = rng.standard_normal((4, 3)), rng.random((4, 3))
    with pytest.raises(ValueError, match=r"have the shapes \(4,\) and \(4, 3\): reduce them"):
        total(logits, shares)
    reduced = dataclasses.replace(total, reduction="mean")
    assert reduced(logits, shares) == pytest.approx(lf.CrossEntropyLoss()(logits, shares) + MSE(logits, shares))


def test_methods_agree_bit_by_bit(rng):
    x, t = rng.standard_normal((2, 1000)).astype(np.float32)
    for reduction in ("mean", "sum", "none"):
        total = dataclasses.replace(TOTAL, reduction=reduction)
        value, grad, hess = total.value_grad_hess(x, t)
        assert_bits(total(x, t), value)
        assert_bits(total.value_and_grad(x, t), (value, grad))
        assert_bits(total.grad(x, t), grad)
        assert_bits(total.grad_hess(x, t), (grad, hess))


def test_several_names_and_arrays_by_name(rng):
    x, t = rng.standard_normal((2, 9))
    by_input, by_target = TOTAL.grad(x, t, wrt=("input", "target"))
    np.testing.assert_allclose(by_target, -by_input)
    assert_bits(TOTAL.value_and_grad(target=t, input=x), TOTAL.value_and_grad(x, t))
    assert_bits(TOTAL(x, target=t), TOTAL(x, t))
    with pytest.raises(ValueError, match="wrt = 'weight'"):
        TOTAL.grad(x, t, wrt="weight")
    with pytest.raises(TypeError, match="'target'"):
        TOTAL(x)
    with pytest.raises(TypeError, match=r"takes \(input, target\), but 3 arrays were given"):
        TOTAL(x, t, t)
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        TOTAL.grad(x, t, weight=t)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.longdouble, ">f4"])
def test_dtypes_of_the_predictions_decide(dtype, rng):
    x, t = rng.standard_normal((2, 40))
    x = x.astype(dtype)
    exact = TOTAL.value_and_grad(x.astype(np.float64), t)
    value, grad = TOTAL.value_and_grad(x, t)
    assert type(value) is float
    assert grad.dtype == x.dtype.newbyteorder("=")
    eps = 2.0**-7 if dtype is ml_dtypes.bfloat16 else max(np.finfo(x.dtype).eps, 1e-15)
    assert value == pytest.approx(exact[0], rel=1e-6)
    np.testing.assert_allclose(grad.astype(np.float64), exact[1], rtol=4 * eps, atol=eps / 40)
    each = dataclasses.replace(TOTAL, reduction="none")
    assert each(x, t).dtype == dataclasses.replace(MSE, reduction="none")(x, t).dtype


def test_empty_arrays():
    assert np.isnan(TOTAL([], []))
    assert dataclasses.replace(TOTAL, reduction="sum")([], []) == 0
    value, grad = TOTAL.value_and_grad(np.empty((0, 3)), np.empty((0, 3)))
    assert np.isnan(value)
    assert grad.shape == (0, 3)


# ---- out= -----------------------------------------------------------------------------------------------------------


def test_results_in_the_callers_arrays(rng):
    x, t = rng.standard_normal((2, 50)).astype(np.float32)
    grad, hess = TOTAL.grad_hess(x, t)
    mine = np.empty_like(x), np.empty_like(x)
    value, own = TOTAL.value_and_grad(x, t, out=mine[0])
    assert own is mine[0]
    assert_bits(own, grad)
    assert value == TOTAL(x, t)
    result = TOTAL.grad_hess(x, t, out=mine)
    assert all(a is b for a, b in zip(result, mine, strict=True))
    assert_bits(result, (grad, hess))
    both = np.empty_like(x), np.empty_like(t)
    assert TOTAL.grad(x, t, wrt=("input", "target"), out=both)[1] is both[1]
    assert_bits(both, TOTAL.grad(x, t, wrt=("input", "target")))
    each, buffer = dataclasses.replace(TOTAL, reduction="none"), np.empty_like(x)
    assert each(x, t, out=buffer) is buffer
    assert_bits(buffer, each(x, t))
    for total in (TOTAL, each, lf.BCEWithLogitsLoss() - 2 * MSE):
        for curvature in total.curvatures:
            expected = total.value_grad_hess(x, t, curvature=curvature)
            for order in (1, -1):
                in_place = x.copy(), np.empty_like(x)
                given = in_place[::order]
                result = total.value_grad_hess(in_place[0], t, curvature=curvature, out=given)
                assert result[1] is given[0]
                assert result[2] is given[1]
                assert_bits(result, expected)
    in_place = x.copy()
    assert TOTAL.grad(in_place, t, out=in_place) is in_place
    assert_bits(in_place, grad)
    strided = np.zeros((50, 3), np.float32)
    TOTAL.grad(x, t, out=strided[:, 1])
    assert_bits(strided[:, 1].copy(), grad)
    assert not strided[:, [0, 2]].any()


def test_what_does_not_fit_is_refused_before_anything_is_written(rng):
    x, t = rng.standard_normal((2, 5))
    buffer = np.full(5, 7.0)
    locked = buffer.copy()
    locked.flags.writeable = False
    both, each = {"wrt": ("input", "target")}, dataclasses.replace(TOTAL, reduction="none")
    for loss in (TOTAL, each):
        for keywords, error, message in (
            ({"out": np.empty(4)}, ValueError, r"out has shape \(4,\)"),
            ({"out": np.empty(5, np.float32)}, TypeError, "out has dtype float32"),
            ({"out": locked}, ValueError, "read-only"),
            ({"out": [buffer] * 2}, TypeError, "NumPy array"),
            ({**both, "out": (buffer, locked)}, ValueError, "read-only"),
            ({**both, "out": buffer}, TypeError, "out: expected"),
            ({**both, "out": (buffer, buffer)}, ValueError, "share memory"),
            ({"sample_weight": np.ones(4), "out": buffer}, ValueError, r"sample_weight has shape \(4,\)"),
        ):
            with pytest.raises(error, match=message):
                loss.grad(x, t, **keywords)
            assert np.all(buffer == 7)
        with pytest.raises(ValueError, match=r"target has shape \(4,\)"):
            loss.grad(x, t[:4], out=buffer)
        with pytest.raises(TypeError, match="out: expected"):
            loss.grad_hess(x, t, out=buffer)
        with pytest.raises(ValueError, match="share memory"):
            loss.grad_hess(x, t, out=(buffer, buffer))
        assert np.all(buffer == 7)
    with pytest.raises(ValueError, match="the loss is a float with reduction='mean'"):
        TOTAL(x, t, out=buffer)
    # what one loss takes and another refuses, whatever the order
    two = np.full((4, 3), 7.0)
    logits, shares, wide = rng.standard_normal((4, 3)), rng.random((4, 3)), rng.random((1, 3))
    for total, arrays, error in (
        (lf.BCEWithLogitsLoss() + MSE, (logits, wide), r"target has shape \(1, 3\)"),
        (MSE + lf.BCEWithLogitsLoss(), (logits, wide), r"target has shape \(1, 3\)"),
        (lf.BCELoss() + MSE, (logits + 9, shares), r"outside \[0, 1\]"),
        (lf.CrossEntropyLoss(reduction="none") + lf.MSELoss(reduction="none"), (logits, shares), "have the shapes"),
        (lf.MSELoss(reduction="none") + lf.CrossEntropyLoss(reduction="none"), (logits, shares), "have the shapes"),
    ):
        with pytest.raises(ValueError, match=error):
            total.value_and_grad(*arrays, out=two)
        assert np.all(two == 7)


# ---- curvature ------------------------------------------------------------------------------------------------------


def test_curvatures_of_a_sum(rng):
    x, t = rng.standard_normal((2, 40))
    d, n = x - t, 40
    inside = np.abs(d) <= 0.5
    assert TOTAL.curvatures == ("exact", "psd", "majorizer", "unit")
    np.testing.assert_allclose(TOTAL.grad_hess(x, t)[1], (1.4 + 0.3 * inside) / n)
    np.testing.assert_allclose(TOTAL.grad_hess(x, t, curvature="unit")[1], np.ones(n) / n)
    majorizer = (1.4 + 0.3 * np.minimum(1, 0.5 / np.abs(d))) / n
    np.testing.assert_allclose(TOTAL.grad_hess(x, t, curvature="majorizer")[1], majorizer)
    with pytest.raises(
        ValueError, match=r"curvature = 'fisher' is not defined for .*'exact', 'psd', 'majorizer', 'unit'"
    ):
        TOTAL.grad_hess(x, t, curvature="fisher")


def test_positive_curvature_is_that_of_the_sum_and_not_of_the_losses(rng):
    x, t, go, weight = rng.standard_normal((4, 40))
    total = lf.HuberLoss(delta=0.5, reduction="none") - 0.25 * lf.MSELoss(reduction="none")
    exact = (np.abs(x - t) <= 0.5) - 0.5
    eps = np.finfo(np.float64).eps * 1.25
    np.testing.assert_allclose(total.grad_hess(x, t)[1], exact)
    np.testing.assert_allclose(total.grad_hess(x, t, curvature="psd")[1], np.maximum(exact, eps))
    np.testing.assert_allclose(total.grad_hess(x, t, curvature="unit")[1], np.full(40, 1.25))
    held = total.grad_hess(x, t, curvature="psd", grad_output=go, sample_weight=weight**2)[1]
    np.testing.assert_allclose(held, np.maximum(exact, eps) * go * weight**2)
    assert total.curvatures == ("exact", "psd", "unit")  # what is subtracted bounds nothing from above
    x[3] = np.nan
    assert np.isnan(total.grad_hess(x, t, curvature="psd")[1][3])
    half = total.grad_hess(x.astype(np.float16), t, curvature="psd")[1]
    assert half.dtype == np.float16
    assert np.nanmin(half) > 0


# ---- several tasks --------------------------------------------------------------------------------------------------

MULTI = lf.MultiTaskLoss(box=(lf.SmoothL1Loss(), 1.0), cls=(lf.CrossEntropyLoss(), 0.5))


def task_arrays(rng, dtype=np.float64):
    pred, true = rng.standard_normal((2, 8, 4)).astype(dtype)
    return {"box": (pred, true), "cls": (rng.standard_normal((8, 3)).astype(dtype), rng.integers(0, 3, 8))}


def test_multi_task_loss_adds_up_its_tasks(rng):
    arrays = task_arrays(rng)
    box, by_box = lf.SmoothL1Loss().value_and_grad(*arrays["box"])
    cls, by_cls = lf.CrossEntropyLoss().value_and_grad(*arrays["cls"])
    value, values, grads = MULTI.value_and_grad(**arrays)
    assert value == pytest.approx(box + 0.5 * cls, rel=1e-14)
    assert values == {"box": box, "cls": cls} == MULTI.values(**arrays)
    assert list(grads) == ["box", "cls"]
    assert_bits(grads["box"], by_box)
    np.testing.assert_allclose(grads["cls"], 0.5 * by_cls, rtol=1e-14)
    assert MULTI(**arrays) == value
    assert MULTI.reference(**arrays) == pytest.approx(value, rel=1e-12)
    assert_bits(MULTI.grad(**arrays)["cls"], grads["cls"])


def test_the_seed_materials_multi_task_loss(rng):
    """α times the squared error and 1 - α times the cross entropy, and free weights."""
    alpha = 0.3
    multi = lf.MultiTaskLoss(value=(lf.MSELoss(), alpha), label=(lf.CrossEntropyLoss(), 1 - alpha))
    arrays = {
        "value": ([2.5, 5.0, 3.0], [3.0, 5.0, 2.5]),
        "label": ([[1.5, 2.0, 0.5], [0.5, 1.0, 1.5]], [1, 2]),
    }
    value, values, grads = multi.value_and_grad(**arrays)
    assert values["value"] == pytest.approx(0.16667, abs=1e-5)
    assert values["label"] == pytest.approx(0.64220, abs=1e-5)
    assert value == pytest.approx(0.3 * 0.5 / 3 + 0.7 * values["label"], rel=1e-12)
    np.testing.assert_allclose(grads["value"], 0.3 * 2 / 3 * np.array([-0.5, 0, 0.5]))
    np.testing.assert_allclose(grads["label"], 0.7 * lf.CrossEntropyLoss().grad(*arrays["label"]))


def test_options_by_task(rng):
    arrays = task_arrays(rng)
    weight = rng.random(8)
    value, values, grads = MULTI.value_and_grad(
        **arrays, sample_weight={"cls": weight}, wrt={"box": ("input", "target")}
    )
    assert values["cls"] == lf.CrossEntropyLoss()(*arrays["cls"], sample_weight=weight)
    assert values["box"] == lf.SmoothL1Loss()(*arrays["box"])
    assert value == MULTI(**arrays, sample_weight={"cls": weight})
    assert [g.shape for g in grads["box"]] == [(8, 4), (8, 4)]
    np.testing.assert_allclose(grads["box"][1], -grads["box"][0])
    assert MULTI.reference(**arrays, sample_weight={"cls": weight}) == pytest.approx(value)


def test_tasks_of_sums_and_of_several_predictions(rng):
    multi = lf.MultiTaskLoss(
        rank=(lf.MarginRankingLoss(margin=1.0), 2.0), level=(0.5 * MSE + 0.5 * L1, 1), none=(lf.MSELoss(), 0.0)
    )
    x, y = rng.standard_normal((2, 6))
    arrays = {"rank": [x, y, np.sign(x)], "level": (x, y), "none": (x, y)}
    value, values, grads = multi.value_and_grad(**arrays)
    assert value == pytest.approx(2 * values["rank"] + values["level"])
    assert [g.shape for g in grads["rank"]] == [(6,), (6,)]
    assert not grads["none"].any()


def test_tasks_are_immutable_comparable_and_picklable():
    same = pickle.loads(pickle.dumps(MULTI))
    assert same == MULTI
    assert hash(same) == hash(MULTI)
    assert repr(MULTI) == "MultiTaskLoss(box=(SmoothL1Loss(), 1.0), cls=(CrossEntropyLoss(), 0.5))"
    assert eval(repr(MULTI), vars(lf)) == MULTI
    assert lf.MultiTaskLoss(box=(MSE, 1.0)) != lf.MultiTaskLoss(box=(MSE, 2.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        MULTI.weights = ()
    learned = lf.UncertaintyWeightedLoss(box=MSE, cls=lf.CrossEntropyLoss())
    assert pickle.loads(pickle.dumps(learned)) == learned
    assert repr(learned) == "UncertaintyWeightedLoss(box=MSELoss(), cls=CrossEntropyLoss())"
    assert learned.tasks == ("box", "cls")


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ({}, TypeError, "needs a task"),
        ({"box": MSE}, TypeError, r"box = MSELoss\(\); expected a pair of a loss and its weight"),
        ({"box": (MSE, 1.0, 2.0)}, TypeError, "expected a pair"),
        ({"box": (1.0, MSE)}, TypeError, "box: weight .* expected a real number"),
        ({"box": (MSE, True)}, TypeError, "expected a real number"),
        ({"box": (MSE, np.inf)}, ValueError, "box: weight inf is not finite"),
        ({"box": ("mse", 1.0)}, TypeError, "box = 'mse' is of type str; expected a loss"),
        ({"box": (lf.MSELoss(reduction="none"), 1.0)}, ValueError, "box: .* use reduction='mean' or 'sum'"),
        ({"wrt": (MSE, 1.0)}, ValueError, "'wrt' cannot name a task"),
        ({"a b": (MSE, 1.0)}, ValueError, "'a b' cannot name a task"),
    ],
)
def test_tasks_that_are_refused(tasks, error, message):
    with pytest.raises(error, match=message):
        lf.MultiTaskLoss(**tasks)


def test_errors_name_the_task(rng):
    arrays = task_arrays(rng)
    for bad, error, message in (
        (
            {"cls": (arrays["cls"][0], arrays["cls"][1][:, np.newaxis])},
            ValueError,
            r"task 'cls': target .*squeeze\(1\)",
        ),
        ({"cls": (arrays["cls"][0], arrays["cls"][1] + 3)}, IndexError, r"task 'cls': target\[\d\] = \d is outside"),
        ({"box": (arrays["box"][0],)}, TypeError, "task 'box': .*target"),
        (
            {"box": arrays["box"][0]},
            TypeError,
            r"box is of type ndarray; expected a tuple of the arrays \(input, target\)",
        ),
        ({"depth": arrays["box"]}, TypeError, "'depth' is no task; the tasks are box, cls"),
    ):
        with pytest.raises(error, match=message) as caught:
            MULTI.value_and_grad(**{**arrays, **bad})
        assert type(caught.value) is error
    with pytest.raises(TypeError, match="nothing is given for 'cls'; the tasks are box, cls"):
        MULTI(box=arrays["box"])
    with pytest.raises(TypeError, match="sample_weight: 'depth' is no task"):
        MULTI(**arrays, sample_weight={"depth": 1})
    with pytest.raises(TypeError, match=r"sample_weight: .*expected a dict by task"):
        MULTI(**arrays, sample_weight=np.ones(8))


# ---- learned weights ------------------------------------------------------------------------------------------------

LEARNED = lf.UncertaintyWeightedLoss(box=lf.SmoothL1Loss(), cls=lf.CrossEntropyLoss())


def test_learned_weights_follow_the_formula(rng):
    arrays = task_arrays(rng)
    logs = np.array([-0.4, 1.1])
    values = LEARNED.values(**arrays)
    value, grads, by_logs = LEARNED.value_and_grad(logs, **arrays)
    terms = [np.exp(-s) * v + s for s, v in zip(logs, values.values(), strict=True)]
    assert value == pytest.approx(sum(terms), rel=1e-14)
    assert value == LEARNED(logs, **arrays)
    assert value == pytest.approx(LEARNED.reference(logs, **arrays), rel=1e-12)
    np.testing.assert_allclose(grads["cls"], np.exp(-1.1) * lf.CrossEntropyLoss().grad(*arrays["cls"]), rtol=1e-14)
    for k, h in ((0, 1e-5), (1, 1e-5)):
        step = h * np.eye(2)[k]
        slope = (LEARNED(logs + step, **arrays) - LEARNED(logs - step, **arrays)) / (2 * h)
        assert by_logs[k] == pytest.approx(slope, rel=1e-8)


def test_descending_along_the_gradient_finds_the_uncertainties(rng):
    arrays, logs = task_arrays(rng), np.zeros(2)
    for _ in range(300):
        logs -= 0.2 * LEARNED.value_and_grad(logs, **arrays)[2]
    np.testing.assert_allclose(np.exp(logs), list(LEARNED.values(**arrays).values()), rtol=1e-6)


def test_log_variances_in_other_forms(rng):
    arrays = task_arrays(rng)
    value, grads, by_logs = LEARNED.value_and_grad([0.5, 0], **arrays)
    same, _, by_name = LEARNED.value_and_grad({"cls": 0, "box": 0.5}, **arrays)
    assert same == value
    assert by_name == {"box": by_logs[0], "cls": by_logs[1]}
    single = LEARNED.value_and_grad(np.array([0.5, 0], np.float32), **arrays)[2]
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, by_logs, rtol=1e-6)
    assert LEARNED.value_and_grad(np.array([0, 0]), **arrays)[2].dtype == np.float64
    np.testing.assert_array_equal(LEARNED.value_and_grad([0.5, 0.0], **arrays)[1]["box"], grads["box"])


def test_extreme_log_variances(rng):
    arrays = task_arrays(rng)
    assert LEARNED([-1000.0, 0.0], **arrays) == np.inf
    value, grads, by_logs = LEARNED.value_and_grad([np.nan, 1000.0], **arrays)
    assert np.isnan(value)
    assert np.isnan(by_logs[0])
    assert np.isnan(grads["box"]).all()
    assert by_logs[1] == 1
    assert not grads["cls"].any()


def test_log_variances_that_are_refused(rng):
    arrays = task_arrays(rng)
    for logs, error, message in (
        ([0.0], ValueError, r"log_variances has shape \(1,\); expected \(2,\)"),
        (np.zeros((2, 1)), ValueError, r"log_variances has shape \(2, 1\); expected \(2,\).*squeeze\(1\)"),
        ({"box": 0.0}, TypeError, "log_variances: nothing is given for 'cls'"),
        ("zero", TypeError, "log_variances"),
    ):
        with pytest.raises(error, match=message):
            LEARNED.value_and_grad(logs, **arrays)
    with pytest.raises(ValueError, match="'log_variances' cannot name a task"):
        lf.UncertaintyWeightedLoss(log_variances=MSE)
    with pytest.raises(TypeError, match=r"box = .* expected a loss"):
        lf.UncertaintyWeightedLoss(box=(MSE, 1.0))
