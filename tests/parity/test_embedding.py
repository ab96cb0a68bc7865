"""Cosine and triplet losses of embeddings, their kinks and how their arrays broadcast."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

from . import oracle
from .oracle import DTYPES, REDUCTIONS, compare, tensor, upstream

TRIPLET = ("anchor", "positive", "negative")
PAIR = ("input1", "input2")
DEGREES = [0.5, 1.0, 1.5, 2.0, 3.0, 7.25, np.inf, -np.inf, -1.0, -2.5]
SHAPES = [(5,), (1,), (3, 1), (7, 8), (6, 33), (4, 256), (2, 3, 20), (2, 1, 4, 5)]

#: Distances of TripletMarginWithDistanceLoss as PyTorch computes them.
DISTANCES = {
    None: None,
    "euclidean": torch.nn.PairwiseDistance(),
    "manhattan": lambda u, v: (u - v).abs().sum(-1),
    "chebyshev": lambda u, v: torch.linalg.vector_norm(u - v, torch.inf, -1),
    "sqeuclidean": lambda u, v: ((u - v) ** 2).sum(-1),
    "cosine": lambda u, v: 1 - tF.cosine_similarity(u, v, -1),
}


def answers(loss, arrays, parameters, reduction, wrt, cotangent):  # noqa: PLR0917
    """PyTorch's answer and ours, for a loss whose parameters may not be PyTorch's."""
    theirs = parameters
    if "distance_function" in parameters:
        theirs = parameters | {"distance_function": DISTANCES[parameters["distance_function"]]}
    leaves = {
        name: tensor(a, leaf=name in wrt) for name, a in zip(getattr(oracle.lf, loss).arrays, arrays, strict=True)
    }
    value = getattr(tF, getattr(oracle.lf, loss).function)(*leaves.values(), **theirs, reduction=reduction)
    if value.requires_grad:
        value.backward(torch.ones_like(value) * tensor(np.asarray(cotangent, np.float64)))
    grads = {
        name: np.zeros(leaves[name].shape) if leaves[name].grad is None else leaves[name].grad.numpy() for name in wrt
    }
    expected = oracle.Answer(value.detach().numpy(), grads)
    return expected, oracle.our_answer(loss, arrays, parameters, reduction, wrt, grad_output=cotangent)


def check(loss, arrays, parameters=None, *, wrt=None, reductions=REDUCTIONS, ulps=oracle.ULPS, size=None):
    """Value and all gradients under every reduction; `size`: greatest terms of the value and of each gradient."""
    parameters = parameters or {}
    wrt = wrt or (PAIR if loss == "CosineEmbeddingLoss" else TRIPLET)
    arrays = tuple(np.asarray(a) for a in arrays)
    dtype = arrays[0].dtype.type
    rng = np.random.default_rng(7)
    named = dict(zip(getattr(oracle.lf, loss).arrays, arrays, strict=True))
    reference = getattr(oracle.lf, loss)(**parameters, reduction="none").reference(
        *(a.astype(np.float64) for a in arrays)
    )
    terms, slopes = size(named, parameters) if size else (sizes(loss, named, parameters))
    terms = np.broadcast_to(terms, reference.shape)
    for reduction in reductions:
        cotangent = upstream(rng, reference.shape, dtype) if reduction == "none" else -1.75
        expected, got = answers(loss, arrays, parameters, reduction, wrt, cotangent)
        what = f"{oracle.described(parameters)} {reduction} {[a.shape for a in arrays]}"
        divisor = max(1, reference.size) if reduction == "mean" else 1
        value_size = terms if reduction == "none" else terms.sum() / divisor
        compare(loss, got.value, expected.value, dtype, terms=value_size, floor=value_size, ulps=ulps, what=what)
        assert got.value.dtype == dtype if reduction == "none" else type(got.value) is float, what
        for name in wrt:
            assert got.grads[name].dtype == named[name].dtype, what
            share = np.expand_dims(np.broadcast_to(np.abs(cotangent), reference.shape), -1) / divisor
            joint = (*reference.shape, *np.broadcast_shapes(*(named[n].shape[-1:] or (1,) for n in wrt)))
            scaled = oracle.sum_to(np.broadcast_to(slopes[name] * share, joint), named[name].shape)
            compare(
                loss, got.grads[name], expected.grads[name], dtype,
                terms=scaled, floor=scaled, ulps=ulps, what=f"gradient by {name} {what}",
            )  # fmt: skip


def slope_of(u, v, p, eps):
    """Sizes of the distance and of its derivatives before they cancel."""
    e = np.abs(np.atleast_1d(u) - np.atleast_1d(v) + eps)
    size = np.abs(np.atleast_1d(u)) + np.abs(np.atleast_1d(v)) + eps if p == 2 else e
    with np.errstate(all="ignore"):
        if np.isinf(p) or p in (0, 1):
            norm, by = {0: (e > 0).sum(-1), 1: e.sum(-1)}.get(p, e.max(-1, initial=0)), np.ones_like(e)
        else:
            norm = (e**p).sum(-1) ** (1 / p)
            by = size ** (p - 1) * norm[..., None] ** (1 - p)
            if p != 2:  # |log| ULP of a power, as many as PyTorch's own
                by = by * (1 + np.abs((p - 1) * np.log(e / norm[..., None])))
    return norm, oracle.bounded(by)


def sizes(loss, named, parameters):
    """The greatest terms of the value and of each gradient, row by row."""
    if loss == "CosineEmbeddingLoss":
        x, y = (named[name].astype(np.float64) for name in PAIR)
        norms = [np.sqrt((a * a).sum(-1, keepdims=True) + 1e-12) for a in (x, y)]
        size = abs(parameters.get("margin", 0.0)) + 1
        both = 1 / (norms[0] * norms[1])
        return size, {
            "input1": np.abs(y) * both + np.abs(x) / norms[0] ** 2,
            "input2": np.abs(x) * both + np.abs(y) / norms[1] ** 2,
        }
    arrays = {name: a.astype(np.float64) for name, a in named.items()}
    a, b, c = arrays.values()
    distance = parameters.get("distance_function", 0)
    p, eps = parameters.get("p", 2.0), parameters.get("eps", 1e-6)
    if distance != 0:
        p, eps = {"manhattan": (1, 0), "chebyshev": (np.inf, 0)}.get(distance, (2.0, 1e-6))
    found = [slope_of(u, v, p, eps) for u, v in ((a, b), (a, c), (b, c))]
    if distance == "sqeuclidean":
        found = [
            (norm**2, 2 * np.abs(np.atleast_1d(u) - v))
            for (norm, _), (u, v) in zip(found, ((a, b), (a, c), (b, c)), strict=True)
        ]
    if distance == "cosine":
        found = []
        for u, v in ((a, b), (a, c), (b, c)):
            n, m = (np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-8) for x in (u, v))
            found.append((np.ones(()), (np.abs(u) / n + np.abs(v) / m) * (1 / n + 1 / m)))
    if not parameters.get("swap"):
        found.pop()
    value = parameters.get("margin", 1.0) + sum(norm for norm, _ in found)
    by = sum(np.broadcast_arrays(*(slope for _, slope in found)))
    return value, dict.fromkeys(TRIPLET, by)


def triplet(shape, dtype, seed=0, others=None):
    """Three arrays; in a tenth of the rows two of them are alike."""
    rng = np.random.default_rng(seed)
    shapes = (shape, *(others or (shape, shape)))
    a, p, n = (rng.normal(size=s).astype(dtype) for s in shapes)
    if others is None and len(shape) > 1:
        same = rng.random(shape[:-1]) < 0.1
        p = np.where(same[..., None], a, p)
    return a, p, n


def pair(shape, dtype, seed=0, other=None, labels=None):
    """Two arrays and labels 1, -1 and some that are neither."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=shape).astype(dtype), rng.normal(size=shape if other is None else other).astype(dtype)
    rows = np.broadcast_shapes(x.shape, y.shape)[:-1] if labels is None else labels
    return x, y, np.asarray(rng.choice([1, -1, 1, -1, 0], rows), dtype)


# ---- cosine ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("margin", [0.0, 0.3, -0.25, 1.0])
@pytest.mark.parametrize("shape", [(5,), (1,), (1, 1), (1, 7), (7, 1), (9, 8), (6, 33), (5, 100), (3, 1031)], ids=str)
def test_cosine_shapes(shape, margin, dtype):
    check("CosineEmbeddingLoss", pair(shape, dtype), {"margin": margin})
    x, y, t = pair(shape, dtype, 1)
    for kind in (np.int64, np.int8, np.float64):
        check("CosineEmbeddingLoss", (x, y, t.astype(kind)), {"margin": margin}, reductions=["mean"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ((1, 6), (4, 6), (4,)),
        ((4, 6), (1, 6), (4,)),
        ((4, 6), (4, 6), (1,)),
        ((1, 6), (4, 6), (1,)),
        ((1, 6), (1, 6), (4,)),
    ],
    ids=str,
)
def test_cosine_broadcasting(first, second, labels, dtype):
    """Gradients of what is broadcast are sums; the mean is over the broadcast pairs."""
    check("CosineEmbeddingLoss", pair(first, dtype, 0, second, labels), {"margin": 0.1})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_cosine_of_special_vectors(margin, dtype):
    """Zero vectors, equal ones, opposite ones, unit ones, a cosine on the margin, and great and small ones."""
    rows = np.array(
        [
            [0, 0, 0],
            [1, 0, 0],
            [0, 1, 0],
            [-1, 0, 0],
            [3, 4, 0],
            [1e-7, 0, 0],
            [1e-30, 0, 0],
            [1e12, 1, -1e12],
            [-0.0, 2, 5],
        ],
        dtype,
    )
    x, y = (np.array(a) for a in zip(*itertools.product(rows, rows), strict=True))
    for label in (1, -1, 0, 2):
        check("CosineEmbeddingLoss", (x, y, np.full(len(x), label, dtype)), {"margin": margin})


# ---- triplet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", DEGREES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_triplet_shapes(shape, p, swap, dtype):
    for margin in (1.0, 0.25, 30.0):
        check("TripletMarginLoss", triplet(shape, dtype), {"p": p, "swap": swap, "margin": margin})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, np.inf])
def test_triplet_of_numbers(p, swap, dtype):
    """Arrays without axes have one feature."""
    check("TripletMarginLoss", triplet((), dtype), {"p": p, "swap": swap})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("distance", ["p", "sqeuclidean", "cosine"])
@pytest.mark.parametrize(
    ("anchor", "positive", "negative"),
    [
        ((1, 6), (4, 6), (4, 6)),
        ((4, 6), (1, 6), (4, 6)),
        ((1, 6), (1, 6), (4, 6)),
        ((2, 1, 5), (1, 3, 5), (2, 3, 5)),
        ((4, 1), (4, 6), (4, 6)),
        ((4, 6), (1, 1), (4, 6)),
        ((4, 1), (4, 1), (4, 6)),
        ((4, 1), (4, 6), (4, 1)),
        ((1, 6), (4, 1), (4, 1)),
    ],
    ids=str,
)
def test_triplet_broadcasting(*, anchor, positive, negative, distance, p, swap, dtype):
    """Also of features: a distance is over those that its two arrays have."""
    if anchor == (1, 6) and positive == (4, 1):
        anchor = (4, 6)
    arrays = triplet(anchor, dtype, 0, (positive, negative))
    if distance == "p":
        check("TripletMarginLoss", arrays, {"p": p, "swap": swap, "margin": 5.0})
    elif p == 2.0:
        check("TripletMarginWithDistanceLoss", arrays, {"distance_function": distance, "swap": swap, "margin": 5.0})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.5, -0.25])
@pytest.mark.parametrize("p", [*DEGREES, 0.0])
def test_triplet_of_equal_rows(p, eps, dtype):
    """At the distance 0 there is no gradient, and features that do not differ have none."""
    rng = np.random.default_rng(5)
    a, p_, n = (rng.integers(-2, 3, (60, 4)).astype(dtype) for _ in range(3))
    a[:10] = p_[:10]
    a[10:20] = n[10:20]
    p_[20:30] = n[20:30]
    a[30:40] = p_[30:40] = n[30:40]
    p_[40:50] = a[40:50] + np.array([[0, 0, 0, 1]], dtype)
    check("TripletMarginLoss", (a, p_, n), {"p": p, "eps": eps})
    if eps != 1e-6 and p in (0, 1, 2, np.inf, -np.inf):  # else sums in another order are no ties
        check("TripletMarginLoss", (a, p_, n), {"p": p, "eps": eps, "swap": True})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.0, 2.0, np.inf, 3.0])
def test_triplet_on_the_kink(p, dtype):
    """Where margin + near = far the derivative is that of the sum, 1; two equal distances share it with swap."""
    anchor = np.zeros((4, 3), dtype)
    positive = np.array([[1, 0, 0], [-1, 0, 0], [0, 2, 0], [1, 0, 0]], dtype)
    negative = np.array([[3, 0, 0], [0, 3, 0], [0, 0, 4], [0.5, 0, 0]], dtype)
    for swap in (False, True):
        check("TripletMarginLoss", (anchor, positive, negative), {"p": p, "eps": 0.0, "swap": swap, "margin": 2.0})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 3), (0, 0)], ids=str)
def test_empty(shape, dtype):
    """No rows: nothing, 0 or NaN. No features: every distance is 0."""
    arrays = tuple(np.empty(shape, dtype) for _ in range(3))
    for p in (0.5, 1.0, 2.0, 0.0):
        check("TripletMarginLoss", arrays, {"p": p})
    check("TripletMarginWithDistanceLoss", arrays, {"distance_function": "sqeuclidean"})
    if len(shape) == 2:
        for label in (1, -1):
            check("CosineEmbeddingLoss", (*arrays[:2], np.full(shape[0], label, dtype)), {"margin": -0.5})


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts(dtype):
    for view in (lambda a: a[::2, 1::3], lambda a: a[::-1, ::-1], lambda a: a.T, np.asfortranarray):
        arrays = tuple(view(a) for a in triplet((12, 34), dtype))
        for p in (1.0, 2.0, 2.5, np.inf):
            check("TripletMarginLoss", arrays, {"p": p, "swap": True})
        x, y, _ = arrays
        check("CosineEmbeddingLoss", (x, y, pair(x.shape, dtype)[2][::-1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("distance", list(DISTANCES))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_distances_by_name(shape, distance, swap, dtype):
    if len(shape) == 1 and distance == "cosine":
        return  # of one feature it is 1 or -1, and a swap a tie
    for margin in (1.0, 0.25, 30.0):
        arrays = tuple(triplet(shape, dtype, seed)[0] for seed in range(3))
        check("TripletMarginWithDistanceLoss", arrays, {"distance_function": distance, "swap": swap, "margin": margin})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("swap", [False, True])
def test_cosine_distance_of_short_vectors(swap, dtype):
    """Below its least norm the derivative of a norm is that of the norm, as PyTorch's is."""
    a, p, n = triplet((6, 4), dtype)
    for scales in ((1e-9, 1, 1), (1, 1e-10, 1), (1e-9, 1e-12, 1), (0, 1, 1), (1, 0, 0)):
        arrays = tuple((x * s).astype(dtype) for x, s in zip((a, p, n), scales, strict=True))
        check("TripletMarginWithDistanceLoss", arrays, {"distance_function": "cosine", "swap": swap, "margin": 3.0})


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
def test_mixed_precision(p):
    """Deviation 16: float64 if one of the predictions is, each gradient in the dtype of its argument."""
    a, p_, n = triplet((5, 6), np.float64)
    arrays = (a.astype(np.float32), p_, n.astype(np.float32))
    leaves = [tensor(x, leaf=True) for x in arrays]
    value = tF.triplet_margin_loss(*leaves, p=p)
    value.backward()
    got, grads = oracle.lf.TripletMarginLoss(p=p).value_and_grad(*arrays)
    assert got == pytest.approx(value.item(), rel=1e-14)
    for grad, leaf, array in zip(grads, leaves, arrays, strict=True):
        assert grad.dtype == array.dtype
        compare("TripletMarginLoss", grad, leaf.grad.numpy(), array.dtype.type, terms=1.0, what="mixed precision")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, np.inf, -1.0])
@pytest.mark.parametrize("swap", [False, True])
def test_non_finite(swap, p, dtype):
    """Values are PyTorch's; a NaN gradient stands where the value is NaN (PyTorch has 0), and nowhere else."""
    edges = np.array([0.0, 1.0, -3.0, np.inf, -np.inf, np.nan], dtype)
    rows = [np.array([e, 2.0, 0.5], dtype) for e in edges]
    arrays = tuple(np.array(x) for x in zip(*itertools.product(rows, rows, rows), strict=True))
    parameters = {"p": p, "swap": swap}
    expected, got = answers("TripletMarginLoss", arrays, parameters, "none", TRIPLET, np.ones(len(arrays[0])))
    compare("TripletMarginLoss", got.value, expected.value, dtype, terms=8.0, ulps=8, what=f"edges {parameters}")
    nan = np.isnan(expected.value)
    for name in TRIPLET:
        assert (np.isnan(got.grads[name]) == nan[:, None]).all(), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["CosineEmbeddingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"])
def test_many_rows(loss, dtype):
    """Above the threading threshold, with odd numbers of rows and features."""
    if loss == "CosineEmbeddingLoss":
        check(loss, pair((5003, 37), dtype), {"margin": 0.1}, reductions=["mean"])
    else:
        extra = {"distance_function": "cosine"} if loss == "TripletMarginWithDistanceLoss" else {}
        check(loss, triplet((5003, 37), dtype), {"swap": True, **extra}, reductions=["mean"])


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_great_and_small_float32(scale):
    """Squares that float32 does not hold are no matter."""
    a, p, n = (x * np.float32(scale) for x in triplet((9, 20), np.float32))
    for degree in (1.0, 2.0, np.inf, 3.0):
        check("TripletMarginLoss", (a, p, n), {"p": degree, "eps": 0.0, "margin": 2 * scale, "swap": True})
    if scale > 1:
        check("CosineEmbeddingLoss", (a, p, np.ones(9, np.float32)))
        check("CosineEmbeddingLoss", (a, p, -np.ones(9, np.float32)), {"margin": -1.0})
