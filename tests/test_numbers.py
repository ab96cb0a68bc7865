"""Numbers that people have published or worked out by hand."""

import numpy as np
import pytest
from scipy import special

import lossfast as lf
import lossfast.functional as F

A, B = [1.0, 2.0, 3.0], [1.0, 2.0, 5.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, None])
def test_mean_squared_error(dtype, isa):
    predicted, true = np.array([2.5, 5, 3], dtype), np.array([3, 5, 2.5], dtype)
    assert lf.MSELoss()(predicted, true) == pytest.approx(1 / 6, rel=1e-7)  # 0.0833 in print is wrong
    assert lf.L1Loss()(predicted, true) == pytest.approx(1 / 3, rel=1e-7)  # and so is 0.25
    assert F.mse_loss(predicted, true) == pytest.approx(1 / 6, rel=1e-7)
    assert F.l1_loss(predicted, true) == pytest.approx(1 / 3, rel=1e-7)
    grad = lf.MSELoss().grad(predicted, true)
    np.testing.assert_allclose(grad, [-1 / 3, 0, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 3)])
def test_absolute_error(shape, isa):
    a, b = np.reshape(A, shape), np.reshape(B, shape)
    assert lf.L1Loss()(a, b) == pytest.approx(2 / 3, rel=1e-15)
    assert lf.L1Loss(reduction="sum")(a, b) == 2
    assert lf.MSELoss()(a, b) == pytest.approx(4 / 3, rel=1e-15)
    np.testing.assert_array_equal(lf.L1Loss(reduction="none")(a, b), np.reshape([0, 0, 2], shape))
    np.testing.assert_allclose(lf.L1Loss().grad(a, b), np.reshape([0, 0, -1 / 3], shape), rtol=1e-15)


def test_unreduced_errors():
    ones = np.ones((2, 2))
    np.testing.assert_array_equal(F.l1_loss(ones, 3 * ones, reduction="none"), np.full((2, 2), 2))
    np.testing.assert_array_equal(F.mse_loss(ones, 3 * ones, reduction="none"), np.full((2, 2), 4))


def test_integers_promote():
    value, grad = lf.L1Loss().value_and_grad(np.array([1, 2, 3]), np.array([1, 2, 5]))
    assert value == pytest.approx(2 / 3, rel=1e-15)
    assert grad.dtype == np.float64
    assert lf.MSELoss()(np.array([True, False]), [False, False]) == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy(dtype, isa):
    logits = np.array([[1.5, 2, 0.5], [0.5, 1, 1.5]], dtype)
    assert lf.CrossEntropyLoss()(logits, [1, 2]) == pytest.approx(0.64220, abs=1e-5)
    assert lf.CrossEntropyLoss()(np.array([[0.1, 0.2, 0.3]], dtype), [1]) == pytest.approx(1.10194, abs=1e-5)
    log_p = lf.log_softmax(logits, axis=1)
    assert lf.NLLLoss()(log_p, [1, 2]) == pytest.approx(0.64220, abs=1e-5)
    grad = lf.CrossEntropyLoss().grad(logits, [1, 2])
    expected = (special.softmax(logits.astype(float), axis=1) - np.eye(3)[[1, 2]]) / 2
    np.testing.assert_allclose(grad, expected, rtol=1e-5)
    onehot = np.eye(3, dtype=dtype)[[1, 2]]
    assert lf.CrossEntropyLoss()(logits, onehot) == pytest.approx(0.64220, abs=1e-5)


def test_cross_entropy_is_nll_of_log_softmax(rng):
    x, t = rng.standard_normal((20, 6)), rng.integers(0, 6, 20)
    for parameters in ({}, {"weight": np.arange(6) + 1.0}, {"ignore_index": 2}):
        both = (lf.CrossEntropyLoss(**parameters)(x, t), lf.NLLLoss(**parameters)(lf.log_softmax(x, axis=1), t))
        assert both[0] == pytest.approx(both[1], rel=1e-14)


def test_class_weights_divide_a_mean():
    """Σ w[y] l / Σ w[y], by hand; label smoothing does not change the denominator."""
    x, t, w = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]), np.array([0, 2]), np.array([1.0, 2.0, 3.0])
    l0, l1 = -np.log(0.5), -np.log(0.1)
    assert lf.CrossEntropyLoss(weight=w)(x, t) == pytest.approx((l0 + 3 * l1) / 4, rel=1e-14)
    assert lf.NLLLoss(weight=w)(x, t) == pytest.approx((l0 + 3 * l1) / 4, rel=1e-14)
    assert lf.NLLLoss(weight=w, reduction="sum")(x, t) == pytest.approx(l0 + 3 * l1, rel=1e-14)
    assert lf.NLLLoss(weight=w, ignore_index=2)(x, t) == pytest.approx(l0, rel=1e-14)
    smooth = -(0.3 / 3) * (x * w).sum(1)
    expected = (0.7 * l0 + smooth[0] + 0.7 * 3 * l1 + smooth[1]) / 4
    assert lf.CrossEntropyLoss(weight=w, label_smoothing=0.3)(x, t) == pytest.approx(expected, rel=1e-14)
    # with probabilities, the rows are counted
    soft = np.array([[0.5, 0.5, 0], [0, 0, 1.0]])
    expected = -((soft * w * x).sum()) / 2
    assert lf.CrossEntropyLoss(weight=w)(x, soft) == pytest.approx(expected, rel=1e-14)
    expected = -(((0.7 * soft + 0.1) * w * x).sum()) / 2
    assert lf.CrossEntropyLoss(weight=w, label_smoothing=0.3)(x, soft) == pytest.approx(expected, rel=1e-14)
    # and sample weights multiply numerator and denominator
    both = lf.CrossEntropyLoss(weight=w)(x, t, sample_weight=[2, 0.5])
    assert both == pytest.approx((2 * l0 + 1.5 * l1) / 3.5, rel=1e-14)


def test_element_weights_by_hand():
    x, t, w = np.array([1.0, 3.0]), np.array([0.0, 0.0]), np.array([1.0, 3.0])
    assert lf.MSELoss(weight=w)(x, t) == (1 + 27) / 4
    assert lf.L1Loss(weight=w)(x, t) == (1 + 9) / 4
    assert lf.HuberLoss(weight=w)(x, t) == (0.5 + 3 * 2.5) / 2
    assert lf.MSELoss(weight=w, reduction="sum")(x, t) == 28
    np.testing.assert_array_equal(lf.MSELoss(weight=w, reduction="none")(x, t), [1, 27])
    np.testing.assert_array_equal(lf.MSELoss(weight=w).grad(x, t), [0.5, 4.5])
    np.testing.assert_array_equal(lf.HuberLoss(weight=w).grad(x, t), [0.5, 1.5])
    p = np.array([0.5, 0.25])
    expected = (np.log(2) + 3 * np.log(4)) / 2
    assert lf.BCELoss(weight=w)(p, np.ones(2)) == pytest.approx(expected, rel=1e-15)
    assert lf.BCEWithLogitsLoss(weight=w)(special.logit(p), np.ones(2)) == pytest.approx(expected, rel=1e-14)
    assert lf.BCEWithLogitsLoss(pos_weight=w)(special.logit(p), np.ones(2)) == pytest.approx(expected, rel=1e-14)
    assert lf.BCEWithLogitsLoss(pos_weight=w)(special.logit(1 - p), np.zeros(2)) == pytest.approx(
        (np.log(2) + np.log(4)) / 2, rel=1e-14
    )
    # PyTorch's own example: weights summed before they are broadcast
    assert lf.MSELoss(weight=np.full((3, 1), 2.0))(np.ones((3, 1)), np.zeros((3, 4))) == 4.0


def test_binary_cross_entropy_by_hand(isa):
    assert lf.BCELoss()([0.9, 0.1], [1.0, 0.0]) == pytest.approx(-np.log(0.9), rel=1e-14)
    assert lf.BCELoss()([0.9, 0.1], [0, 1]) == pytest.approx(-np.log(0.1), rel=1e-14)
    assert lf.BCELoss(reduction="none")(np.float32([1e-10]), [0.0]) == np.float32(1e-10)
    np.testing.assert_allclose(lf.BCELoss(reduction="none").grad([0.25], [1.0]), [-4], rtol=1e-15)
    assert lf.BCEWithLogitsLoss()([0.0], [0.5]) == pytest.approx(np.log(2), rel=1e-15)
    np.testing.assert_array_equal(lf.BCEWithLogitsLoss().grad([0.0, 0.0], [1.0, 0.0]), [-0.25, 0.25])


def test_smooth_l1_lies_below_l1(isa):
    """The picture of the text: below L1 everywhere, with the same slope beyond 1."""
    x, zero = np.linspace(-3, 3, 500), np.zeros(500)
    smooth, plain = (
        loss.value_and_grad(x, zero) for loss in (lf.SmoothL1Loss(reduction="none"), lf.L1Loss(reduction="none"))
    )
    assert np.all(smooth[0] < plain[0])
    beyond = np.abs(x) > 1
    np.testing.assert_array_equal(smooth[1][beyond], plain[1][beyond])
    np.testing.assert_allclose(plain[0][beyond] - smooth[0][beyond], 0.5, rtol=1e-14)
    inside = ~beyond
    np.testing.assert_allclose(smooth[0][inside], x[inside] ** 2 / 2, rtol=1e-14)


def test_huber_is_smooth_l1_times_delta(rng):
    x, t = rng.standard_normal((2, 100))
    for delta in (0.25, 1.0, 4.0):
        huber, smooth = lf.HuberLoss(delta=delta), lf.SmoothL1Loss(beta=delta)
        assert huber(x, t) == pytest.approx(delta * smooth(x, t), rel=1e-14)
        np.testing.assert_allclose(huber.grad(x, t), delta * smooth.grad(x, t), rtol=1e-14)
    assert lf.HuberLoss(delta=2.0)([5.0, 1.0], [0.0, 0.0]) == (2 * (5 - 1) + 0.5) / 2
    assert lf.SmoothL1Loss(beta=0.0)(x, t) == lf.L1Loss()(x, t)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_soft_margin(dtype, isa):
    x, t = np.array([[0.3, 0.7], [0.5, 0.5]], dtype), [[-1, 1], [1, -1]]
    expected = [[0.85436, 0.40319], [0.47408, 0.97408]]
    np.testing.assert_allclose(F.soft_margin_loss(x, t, reduction="none"), expected, atol=1e-5)
    assert lf.SoftMarginLoss()(x, t) == pytest.approx(np.mean(expected), abs=1e-5)
    assert lf.SoftMarginLoss()([0.0], [0.0]) == pytest.approx(np.log(2), rel=1e-15)
    np.testing.assert_allclose(lf.SoftMarginLoss(reduction="sum").grad([0.0, 0.0], [1, -1]), [-0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_multilabel_soft_margin(dtype, isa):
    x, t = np.array([[0.3, 0.7, 0.8]], dtype), [[0, 1, 1]]
    assert F.multilabel_soft_margin_loss(x, t) == pytest.approx(0.54288, abs=1e-5)
    # a mean over the labels of binary cross entropies
    terms = lf.BCEWithLogitsLoss(reduction="none")(x, t)
    assert lf.MultiLabelSoftMarginLoss()(x, t) == pytest.approx(terms.mean(), rel=1e-6)
    weighted = lf.MultiLabelSoftMarginLoss(weight=[1.0, 2.0, 3.0], reduction="none")(x, t)
    np.testing.assert_allclose(weighted, (terms * [1, 2, 3]).sum(1) / 3, rtol=1e-6)
    np.testing.assert_allclose(lf.MultiLabelSoftMarginLoss().grad([[0.0, 0.0]], [[1, 0]]), [[-0.25, 0.25]], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_margin_ranking(dtype, isa):
    one, two, y = (np.array(a, dtype)[:, None] for a in ([1, 2, 3], [2, 2, 2], [1, 1, -1]))
    np.testing.assert_array_equal(F.margin_ranking_loss(one, two, y, reduction="none"), [[1], [0], [1]])
    assert lf.MarginRankingLoss()(one, two, y) == pytest.approx(2 / 3, rel=1e-7)
    np.testing.assert_array_equal(
        lf.MarginRankingLoss(margin=0.5, reduction="none")(one, two, y), [[1.5], [0.5], [1.5]]
    )
    by_one, by_two = lf.MarginRankingLoss(reduction="sum").grad(one, two, y)
    np.testing.assert_array_equal(by_one, [[-1], [-1], [1]])  # at the kink, that of the margin
    np.testing.assert_array_equal(by_two, [[1], [1], [-1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hinge_embedding(dtype, isa):
    x, y = np.array([[1, 0.8, 0.5]], dtype), [[1, 1, -1]]
    expected = np.array([[1, 0.8, 0.5]], dtype)
    np.testing.assert_array_equal(F.hinge_embedding_loss(x, y, reduction="none"), expected)
    np.testing.assert_array_equal(F.hinge_embedding_loss.grad(x, y, reduction="sum"), [[1, 1, -1]])
    np.testing.assert_array_equal(lf.HingeEmbeddingLoss(margin=0.5, reduction="none")([1.0, 0.25], [-1, -1]), [0, 0.25])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_is_stable(dtype, isa):
    x = np.array([1000, 1000, 999], dtype)
    p = np.exp([0, 0, -1.0]) / (2 + np.exp(-1.0))
    np.testing.assert_allclose(lf.softmax(x), p, rtol=1e-6)
    np.testing.assert_allclose(lf.log_softmax(x), np.log(p), rtol=1e-6)
    assert float(lf.logsumexp(x)) == pytest.approx(1000 + np.log(2 + np.exp(-1.0)), rel=1e-6)
    assert float(lf.logsumexp(-x)) == pytest.approx(-1000 + np.log(2 + np.exp(1.0)) + 0, rel=1e-6)


@pytest.mark.parametrize("weights", [(0.7, 0.3), (2.0, 5.0)])
def test_multi_task(weights):
    """α·MSE + (1 - α)·cross entropy, and free weights: the sum and the gradients."""
    x, t = np.array([[1.5, 2, 0.5], [0.5, 1, 1.5]]), [1, 2]
    loss = lf.MultiTaskLoss(box=(lf.MSELoss(), weights[0]), cls=(lf.CrossEntropyLoss(), weights[1]))
    value, values, grads = loss.value_and_grad(box=(A, B), cls=(x, t))
    assert value == pytest.approx(weights[0] * 4 / 3 + weights[1] * 0.64220, abs=5e-5)
    assert values["box"] == pytest.approx(4 / 3, rel=1e-14)
    assert values["cls"] == pytest.approx(0.64220, abs=1e-5)
    np.testing.assert_allclose(grads["box"], weights[0] * lf.MSELoss().grad(A, B), rtol=1e-14)
    np.testing.assert_allclose(grads["cls"], weights[1] * lf.CrossEntropyLoss().grad(x, t), rtol=1e-14)


def test_mistakes_that_the_texts_name():
    x = np.array([[1.5, 2, 0.5], [0.5, 1, 1.5]])
    with pytest.raises(ValueError, match=r"use target\.squeeze\(1\)"):
        lf.CrossEntropyLoss()(x, [[1], [2]])
    with pytest.raises(TypeError, match="one-hot"):
        lf.CrossEntropyLoss()(x, np.eye(3, dtype=int)[[1, 2]])
    # a softmax before the loss: another, smaller slope
    right, twice = lf.CrossEntropyLoss()(x, [1, 2]), lf.CrossEntropyLoss()(lf.softmax(x), [1, 2])
    assert twice > right
