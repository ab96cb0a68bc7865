"""Margin losses: numbers by hand, kinks, what is refused."""

import numpy as np
import pytest

import lossfast as lf

inf, nan = np.inf, np.nan
X = np.array([[0.1, 0.2, 0.7], [0.2, 0.5, 0.3]])


def test_multi_margin_by_hand():
    loss = lf.MultiMarginLoss(reduction="none")
    np.testing.assert_allclose(loss(X, [1, 2]), [0.8, 0.7])
    # z = 1 - x_y + x_c over the other classes, divided by all three
    np.testing.assert_allclose(loss.grad(X, [1, 2]), np.array([[1, -2, 1], [1, 1, -2]]) / 3)
    squared = lf.MultiMarginLoss(p=2, reduction="none")
    np.testing.assert_allclose(squared(X, [1, 2]), [(0.9**2 + 1.5**2) / 3, (0.9**2 + 1.2**2) / 3])
    np.testing.assert_allclose(squared.grad(X[:1], [1]), [np.array([1.8, -4.8, 3.0]) / 3])
    np.testing.assert_allclose(squared.grad_hess(X[:1], [1])[1], [np.array([2.0, 4.0, 2.0]) / 3])
    weighted = lf.MultiMarginLoss(weight=[1.0, 2.0, 3.0])
    assert weighted(X, [1, 2]) == pytest.approx((2 * 0.8 + 3 * 0.7) / 2)  # weights are not in the denominator


def test_multi_margin_counts_nothing_at_the_kink(isa):
    value, grad = lf.MultiMarginLoss(reduction="none").value_and_grad([[1.0, 0.0]], [0])
    assert value == 0
    np.testing.assert_array_equal(grad, [[0, 0]])


@pytest.mark.parametrize("classes", [3, 300])
def test_multi_margin_at_infinity(classes, isa):
    loss = lf.MultiMarginLoss(reduction="none")
    x = np.zeros((2, classes))
    x[0, 1], x[1, 2] = inf, inf
    value, grad = loss.value_and_grad(x, [1, 1])
    np.testing.assert_array_equal(value, [0, inf])
    assert not grad[0].any()
    assert grad[1, 2] == 1 / classes
    x[0, 0] = nan
    value, grad = loss.value_and_grad(x, [1, 1])
    assert np.isnan(value[0])
    assert np.isnan(grad[0]).all()


def test_multi_margin_shapes():
    loss = lf.MultiMarginLoss(reduction="none")
    assert loss(X[0], 1).shape == ()
    assert loss(X[0], [1]).shape == (1,)
    assert loss(X[0], 1) == pytest.approx(0.8)
    empty = np.empty((0, 3))
    assert np.isnan(lf.MultiMarginLoss()(empty, np.empty(0, int)))
    assert lf.MultiMarginLoss(reduction="sum")(empty, np.empty(0, int)) == 0


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ((X, [1, 3]), IndexError, r"target\[1\] = 3 is outside \[0, 3\)"),
        ((X, [-100, 1]), IndexError, r"target\[0\] = -100 is outside"),
        ((X, [1, 2, 0]), ValueError, r"target has shape \(3,\); expected \(2,\)"),
        ((X, [[1], [2]]), ValueError, r"target has shape \(2, 1\); expected \(2,\).*squeeze"),
        ((X, [1.0, 2.0]), TypeError, r"target has dtype float64; expected integer class indices"),
        ((X[None], [[1, 2]]), ValueError, r"input has shape"),
    ],
)
def test_multi_margin_refuses(arrays, error, message):
    for method in ("__call__", "value_and_grad", "grad_hess"):
        with pytest.raises(error, match=message):
            getattr(lf.MultiMarginLoss(), method)(*arrays)


@pytest.mark.parametrize("p", [0, 3, 1.5, nan])
def test_multi_margin_knows_two_powers(p):
    with pytest.raises(ValueError, match="p = "):
        lf.MultiMarginLoss(p=p)
    assert lf.MultiMarginLoss(p=1.0) == lf.MultiMarginLoss(p=1)


def test_multi_margin_weight_of_another_length():
    with pytest.raises(ValueError, match=r"weight has shape \(2,\); expected \(3,\)"):
        lf.MultiMarginLoss(weight=[1.0, 2.0])(X, [1, 2])


def pairs(x, labels):
    """The definition, pair by pair."""
    value, grad, classes = 0.0, np.zeros(len(x)), len(x)
    for j in labels:
        for c in set(range(classes)) - set(labels):
            z = 1 - x[j] + x[c]
            if z > 0:
                value += z / classes
                grad[c] += 1 / classes
                grad[j] -= 1 / classes
    return value, grad


@pytest.mark.parametrize("classes", [4, 17, 600])
def test_multilabel_margin_is_a_sum_over_pairs(classes, isa, rng):
    x = rng.standard_normal((6, classes))
    t = np.full((6, classes), -1)
    for row, count in enumerate((0, 1, 2, 3, 3, 4)):
        t[row, :count] = rng.choice(classes, count, replace=False)
    t[4, :2] = t[4, 0]  # twice the same label counts twice
    t[5, 2] = -1  # and what follows the first -1 counts nothing
    value, grad = lf.MultiLabelMarginLoss(reduction="none").value_and_grad(x, t)
    for row in range(6):
        stop = list(t[row]).index(-1) if -1 in t[row] else classes
        expected = pairs(x[row], list(t[row, :stop]))
        assert value[row] == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(grad[row], expected[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([[0, 3, -1], [0, -1, -1]], IndexError, r"target\[0, 1\] = 3 is outside"),
        ([[0, -1, 7], [0, -1, -1]], IndexError, r"target\[0, 2\] = 7 is outside"),
        ([[0, -2, -1], [0, -1, -1]], IndexError, r"target\[0, 1\] = -2 is outside"),
        ([[0, -1], [0, -1]], ValueError, r"target has shape \(2, 2\); expected \(2, 3\)"),
        ([[0.0, 1.0, 2.0]] * 2, TypeError, r"target has dtype float64"),
    ],
)
def test_multilabel_margin_refuses(target, error, message):
    for method in ("__call__", "value_and_grad"):
        with pytest.raises(error, match=message):
            getattr(lf.MultiLabelMarginLoss(), method)(X, target)


def test_a_nan_logit_spoils_its_row(isa):
    x = X.copy()
    x[0, 2] = nan
    value, grad = lf.MultiLabelMarginLoss(reduction="none").value_and_grad(x, [[0, -1, -1]] * 2)
    assert np.isnan(value[0])
    assert np.isnan(grad[0]).any()
    assert np.isfinite(value[1])
    assert np.isfinite(grad[1]).all()


def test_soft_margin_never_overflows(isa):
    for dtype, far in ((np.float32, 1e30), (np.float64, 1e300)):
        value, grad = lf.SoftMarginLoss(reduction="none").value_and_grad(np.array([-far, far, -800], dtype), [1, 1, 1])
        np.testing.assert_array_equal(value, np.array([far, 0, 800], dtype))
        np.testing.assert_array_equal(grad, [-1, 0, -1])


def test_margin_ranking_at_the_kink_and_beyond(isa):
    loss = lf.MarginRankingLoss(margin=1.0, reduction="none")
    value, (first, second) = loss.value_and_grad([1.0, 2.0, inf, nan], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(value, [0, 0, 0, nan])
    np.testing.assert_array_equal(first, [-1, 0, 0, nan])  # at the kink as PyTorch's clamp
    np.testing.assert_array_equal(second, [1, 0, 0, nan])
    with pytest.raises(ValueError, match="number of dimensions"):
        loss([1.0, 2.0], [[1.0, 2.0]], [1.0, 1.0])


def test_hinge_embedding_takes_both_terms_of_other_labels(isa):
    loss = lf.HingeEmbeddingLoss(reduction="none")
    value, grad = loss.value_and_grad([0.25, 0.25, 0.25, 1.0, -inf], [1, -1, 0, -1, 0])
    np.testing.assert_array_equal(value, [0.25, 0.75, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(grad, [1, -1, 0, -1, 0])
    with pytest.raises(ValueError, match="wrt = 'target'"):
        loss.grad([1.0], [1.0], wrt="target")


@pytest.mark.parametrize("length", [1, 7, 2048, 2049, 5000])
def test_rows_of_multilabel_soft_margin(length, isa, threads, rng):
    x, t = rng.standard_normal((5, length)), rng.random((5, length))
    weight = rng.random(5)
    loss = lf.MultiLabelSoftMarginLoss(reduction="none")
    expected = lf.BCEWithLogitsLoss(reduction="none")(x, t).mean(-1)
    np.testing.assert_allclose(loss(x, t), expected, rtol=1e-13)
    np.testing.assert_allclose(loss(x, t, sample_weight=weight), weight * expected, rtol=1e-13)
    np.testing.assert_allclose(loss(x[0], t[0]), expected[0], rtol=1e-13)
    mean = lf.MultiLabelSoftMarginLoss()(x, t, sample_weight=weight)
    assert mean == pytest.approx((weight * expected).sum() / weight.sum())
    with pytest.raises(ValueError, match=r"input has shape \(\)"):
        loss(1.0, 1.0)
