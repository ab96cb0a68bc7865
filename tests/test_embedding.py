"""Losses of embeddings: numbers by hand, kinks, degenerate pairs, what is refused."""

import numpy as np
import pytest

import lossfast as lf

inf, nan = np.inf, np.nan
A, B = np.array([[0.3, 0.5, 0.7], [0.3, 0.5, 0.7]]), np.array([[0.1, 0.3, 0.5], [0.1, 0.3, 0.5]])


def test_cosine_by_hand():
    loss = lf.CosineEmbeddingLoss(reduction="none")
    np.testing.assert_allclose(loss(A, B, [1, -1]), [0.01666, 0.98334], atol=1e-5)
    assert loss(A[0], B[0], 0) == 0  # a label that is neither counts nothing


def test_vectors_of_length_zero(isa):
    value, (first, second) = lf.CosineEmbeddingLoss(reduction="none").value_and_grad(np.zeros((1, 3)), A[:1], [1])
    assert value == 1
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(second, np.zeros((1, 3)))


def test_great_vectors_have_a_cosine(isa):
    x = np.array([[1e20, 2e20]], np.float32)
    assert lf.CosineEmbeddingLoss()(x, x, [1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((A, B, [[1], [1]]), "target has shape"),
        ((A, B, 1), "target has shape"),
        ((A, B, [1, 1, 1]), "target has shape"),
        ((A, B[:, :2], [1, 1]), "shape"),
        ((A[None], B[None], [1]), "input1 has shape"),
    ],
)
def test_cosine_refuses(arrays, message):
    with pytest.raises(ValueError, match=message):
        lf.CosineEmbeddingLoss()(*arrays)


def test_triplet_by_hand():
    assert lf.TripletMarginLoss(p=1.0)([[1.0]], [[2.0]], [[0.5]]) == pytest.approx(1.5, abs=1e-5)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, inf])
def test_equal_points_have_no_slope(p, isa):
    x = np.ones((2, 4))
    value, grads = lf.TripletMarginLoss(p=p, eps=0.0, reduction="none").value_and_grad(x, x, x)
    np.testing.assert_array_equal(value, [1, 1])
    for grad in grads:
        np.testing.assert_array_equal(grad, np.zeros((2, 4)))


def test_swap_takes_the_nearer_negative(isa):
    a, p, n = np.array([[0.0]]), np.array([[2.0]]), np.array([[3.0]])
    loss = lf.TripletMarginLoss(margin=5.0, eps=0.0, swap=True, reduction="none")
    value, (by_a, by_p, by_n) = loss.value_and_grad(a, p, n)
    assert value == 5 + 2 - 1  # the negative is nearer to the positive
    assert (by_a.item(), by_p.item(), by_n.item()) == (-1, 2, -1)
    # as near to both: half of each
    value, (by_a, by_p, by_n) = loss.value_and_grad(a, p, np.array([[1.0]]))
    assert (by_a.item(), by_p.item(), by_n.item()) == (-0.5, 0.5, 0.0)


@pytest.mark.parametrize("margin", [0, -1.0, nan])
def test_margins_of_triplets_are_positive(margin):
    for cls in (lf.TripletMarginLoss, lf.TripletMarginWithDistanceLoss):
        with pytest.raises(ValueError, match="margin = "):
            cls(margin=margin)


def test_triplets_of_different_dimensions():
    with pytest.raises(ValueError, match=r"dimensions|shape"):
        lf.TripletMarginLoss()(A[0], A, A)


@pytest.mark.parametrize("name", [None, "euclidean", "manhattan", "chebyshev", "sqeuclidean", "cosine"])
def test_named_distances(name, rng, isa):
    a, p, n = rng.standard_normal((3, 5, 9))
    loss = lf.TripletMarginWithDistanceLoss(distance_function=name, margin=3.0, reduction="none")
    np.testing.assert_allclose(loss(a, p, n), loss.reference(a, p, n), rtol=1e-12)
    lf.check_grad(loss, a, p, n, atol=1e-7)


def halved(u, v):
    """Half the squared distance, with its gradients."""
    return 0.5 * ((u - v) ** 2).sum(-1), u - v, v - u


def test_a_distance_of_ones_own(rng):
    a, p, n = rng.standard_normal((3, 5, 9))
    own = lf.TripletMarginWithDistanceLoss(distance_function=halved, margin=3.0, reduction="none")
    d = [0.5 * ((a - b) ** 2).sum(-1) for b in (p, n)]
    np.testing.assert_allclose(own(a, p, n), np.maximum(3 + d[0] - d[1], 0), rtol=1e-12)
    lf.check_grad(own, a, p, n)
    with pytest.raises(TypeError, match=r"returned ndarray; expected \(distances, grad_u, grad_v\)"):
        lf.TripletMarginWithDistanceLoss(distance_function=np.subtract)(a, p, n)
    with pytest.raises((TypeError, ValueError), match="distance_function"):
        lf.TripletMarginWithDistanceLoss(distance_function="hamming")


def product(u, v):
    """The inner product; its gradients are the arguments themselves."""
    return (u * v).sum(-1), v, u


def test_gradients_that_are_the_arguments_are_read_before_they_are_replaced(rng):
    a, p, n = rng.standard_normal((3, 5, 4))
    loss = lf.TripletMarginWithDistanceLoss(distance_function=product, margin=9.0)
    fresh = loss.grad(a, p, n)
    arrays = a.copy(), p.copy(), n.copy()
    loss.grad(*arrays, out=arrays)
    for got, expected in zip(arrays, fresh, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_contrastive_by_hand(isa):
    x, y = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[0.3, 0.4], [0.3, 0.4]])
    np.testing.assert_allclose(lf.ContrastiveLoss(reduction="none")(x, y, [1, 0]), [0.125, 0.125])
    unsquared = lf.ContrastiveLoss(factor=1.0, squared=False, margin=2.0, reduction="none")
    np.testing.assert_allclose(unsquared(x, y, [1, 0]), [0.5, 1.5])
    of_distances = lf.DistanceContrastiveLoss(margin=2.0, reduction="none")
    np.testing.assert_allclose(of_distances([0.5, 0.5], [1, 0]), [0.25, 2.25])
    np.testing.assert_allclose(of_distances.grad([0.5, 0.5], [1, 0]), [1.0, -3.0])


def test_pairs_that_coincide_have_no_slope(isa):
    x = np.ones((2, 3))
    for squared in (True, False):
        value, grads = lf.ContrastiveLoss(squared=squared, factor=1.0, reduction="none").value_and_grad(x, x, [1, 0])
        np.testing.assert_array_equal(value, [0, 1])
        for grad in grads:
            np.testing.assert_array_equal(grad, np.zeros((2, 3)))


@pytest.mark.parametrize("loss", [lf.CosineEmbeddingLoss(), lf.ContrastiveLoss(), lf.TripletMarginLoss()], ids=repr)
def test_embeddings_have_no_hessian(loss):
    arrays = (A, B, A) if isinstance(loss, lf.TripletMarginLoss) else (A, B, [1, 1])
    for method in ("grad_hess", "value_grad_hess"):
        with pytest.raises(TypeError, match="no Hessian"):
            getattr(loss, method)(*arrays)


def test_labels_of_contrastive_losses_are_shares():
    with pytest.raises(ValueError, match=r"target\[1\] = -1"):
        lf.ContrastiveLoss()(A, B, [1.0, -1.0])
