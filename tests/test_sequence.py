"""CTC: enumeration of all paths, lengths and labels of every kind, memory, accuracy of long sequences."""

import functools
import itertools
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import special

import lossfast as lf
import lossfast.functional as F

from .cases import DTYPES, assert_bits

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))
inf, nan = np.inf, np.nan


def draw(rng, frames, classes, labels, *, scale=1.0, dtype=np.float64, blanks=(0,)):
    """Log-probabilities, targets and lengths of sequences with so many frames and labels each."""
    count, most = len(frames), max(labels)
    log_probs = special.log_softmax(scale * rng.standard_normal((max(frames), count, classes)), axis=-1)
    targets = rng.choice([c for c in range(classes) if c not in blanks], (count, max(1, most)))
    return log_probs.astype(dtype), targets, np.array(frames), np.array(labels)


def one_after_the_other(targets, lengths):
    return np.concatenate([row[:length] for row, length in zip(targets, lengths, strict=True)])


# ---- enumeration ----------------------------------------------------------------------------------------------------

FRAMES, LABELS = 6, 3


@functools.cache
def paths(frames, classes):
    """Every path, one per row."""
    return np.indices((classes,) * frames).reshape(frames, classes**frames).T


@functools.cache
def explained(frames, classes, blank):
    """What each path says, repetitions and then blanks taken away, as one number."""
    numbers, before = np.zeros(classes**frames, int), np.full(classes**frames, blank)
    for place in paths(frames, classes).T:
        said = (place != blank) & (place != before)
        numbers, before = np.where(said, number_of((place,), classes, numbers), numbers), place
    return numbers


def number_of(labels, classes, start=0):
    """A number of its own for every sequence of labels."""
    for label in labels:
        start = start * (classes + 1) + label + 1
    return start


def enumerated(log_probs, labels, blank):
    """The loss and the occupancy of one sequence."""
    frames, classes = log_probs.shape
    own = paths(frames, classes)[explained(frames, classes, blank) == number_of(labels, classes)]
    scores = log_probs[np.arange(frames), own].sum(1)
    greatest = scores.max(initial=-inf)
    if greatest == -inf:
        return inf, np.full((frames, classes), nan)
    shares = np.exp(scores - greatest)
    occupancy = np.stack([np.bincount(place, shares, classes) for place in own.T] or [np.empty(classes)])[:frames]
    return -np.log(shares.sum()) - greatest, occupancy / shares.sum()


@functools.cache
def every_sequence(classes, blank, masked):
    """A batch of all lengths and labels, with what enumeration says: loss, occupancy."""
    rng = np.random.default_rng([classes, blank, masked])
    symbols = [c for c in range(classes) if c != blank]
    labels = [own for length in range(LABELS + 1) for own in itertools.product(symbols, repeat=length)]
    batch = list(itertools.product(range(FRAMES + 1), labels))
    log_probs = rng.normal(-1, 2, (FRAMES, len(batch), classes)).astype(np.float32)
    if masked:
        barred = rng.random(log_probs.shape) < 0.25
        barred[..., rng.integers(classes)] = False  # so that a softmax is defined
        log_probs[barred] = -inf
    frames, lengths = (np.array(a) for a in zip(*((t, len(own)) for t, own in batch), strict=True))
    targets = np.full((len(batch), LABELS), -9)
    losses, occupancies = np.empty(len(batch)), np.zeros(log_probs.shape)
    for n, (t, own) in enumerate(batch):
        targets[n, : len(own)] = own
        losses[n], occupancies[:t, n] = enumerated(log_probs[:t, n].astype(float), own, blank)
    return (log_probs, targets, frames, lengths), losses, occupancies


def assert_near(actual, expected, dtype, scale=1.0):
    """Within some units of rounding of a scale, and of the number itself."""
    assert actual.dtype == dtype
    eps = 8 * np.finfo(dtype).eps
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    error = np.abs(actual[finite] - expected[finite])
    allowed = eps * np.maximum(np.abs(expected), scale)[finite]
    assert np.all(error <= allowed), (error / allowed).max()


@pytest.mark.parametrize("masked", [False, True], ids=("", "masked"))
@pytest.mark.parametrize(("classes", "blank"), [(c, b) for c in range(1, 5) for b in range(c)])
@each_dtype
def test_every_short_sequence(*, dtype, classes, blank, masked, each_isa):
    (x, *rest), losses, occupancies = every_sequence(classes, blank, masked)
    x, (_, frames, _) = x.astype(dtype), rest
    wide, counted = x.astype(float), (np.arange(FRAMES)[:, np.newaxis] < frames)[..., np.newaxis]
    infeasible = counted & np.isinf(losses)[:, np.newaxis]
    # roundings of all that is added up
    scale = 1 + np.where(counted & np.isfinite(wide), np.abs(wide), 0).sum((0, 2))
    probabilities = {"log_probs": 0.0, "logits": np.exp(wide)}
    for _, (gradient, given) in itertools.product(each_isa(), probabilities.items()):
        loss = lf.CTCLoss(blank=blank, gradient=gradient, reduction="none")
        value, grad = loss.value_and_grad(x, *rest)
        assert_near(value, losses, dtype, scale)
        assert_near(grad, np.where(counted, given - occupancies, 0), dtype, 1 + given)
        # what nothing explains counts nothing
        zeroed = lf.CTCLoss(blank=blank, gradient=gradient, zero_infinity=True, reduction="none")
        again, zeros = zeroed.value_and_grad(x, *rest)
        assert_bits(again, np.where(np.isinf(value), dtype(0), value))
        assert_bits(zeros, np.where(infeasible, dtype(0), grad))
        assert_near(lf.ctc_occupancy(x, *rest, blank=blank), occupancies, dtype)
        # every path passes one class of each frame: a softmax divides them all alike
        sums = special.logsumexp(wide, axis=-1)
        logits = lf.CTCLoss(blank=blank, from_logits=True, reduction="none")
        value, grad = logits.value_and_grad(x, *rest)
        assert_near(value, losses + np.where(counted[..., 0], sums, 0).sum(0), dtype, 2 * scale)
        assert_near(grad, np.where(counted, special.softmax(wide, axis=-1) - occupancies, 0), dtype, 4.0)
        assert_near(lf.ctc_occupancy(x, *rest, blank=blank, from_logits=True), occupancies, dtype, 2.0)
    assert lf.CTCLoss(blank=blank).feasible(x, *rest).tolist() == [
        bool(np.any(explained(t, classes, blank) == number_of(own[:length], classes)))
        for t, own, length in zip(frames, rest[0], rest[2], strict=True)
    ]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_reference_is_what_enumeration_says(classes):
    """And so are sums and means, whose denominators are the numbers of labels."""
    for masked in (False, True):
        (x, *rest), losses, _ = every_sequence(classes, 1, masked)
        x = x.astype(np.longdouble)
        np.testing.assert_allclose(
            lf.CTCLoss(blank=1, reduction="none").reference(x, *rest), losses, rtol=1e-13, atol=1e-13
        )
        losses, labels = np.where(np.isinf(losses), 0, losses), np.maximum(rest[2], 1)
        weight = np.arange(len(losses)) % 5
        for reduction, share, count in (("sum", 1, 1), ("mean", labels, len(losses))):
            loss = lf.CTCLoss(blank=1, zero_infinity=True, reduction=reduction)
            for of in (loss.reference, loss):
                assert float(of(x, *rest)) == pytest.approx((losses / share).sum() / count, rel=1e-13)
                total = weight.sum() if reduction == "mean" else 1
                weighted = (weight * losses / share).sum() / total
                assert float(of(x, *rest, sample_weight=weight)) == pytest.approx(weighted, rel=1e-13)


def test_numbers_of_the_documentation_of_others(isa):
    """A usual batch: 50 frames of 20 classes, 16 sequences of 10 to 30 labels."""
    rng = np.random.default_rng(0)
    log_probs = special.log_softmax(rng.standard_normal((50, 16, 20)), axis=-1)
    targets, frames = rng.integers(1, 20, (16, 30)), np.full(16, 50)
    lengths = rng.integers(10, 31, 16)
    for reduction in ("none", "sum", "mean"):
        loss = lf.CTCLoss(reduction=reduction)
        assert loss.feasible(log_probs, targets, frames, lengths).all()
        value = loss(log_probs, targets, frames, lengths)
        assert np.isfinite(value).all()
        np.testing.assert_allclose(value, loss.reference(log_probs, targets, frames, lengths), rtol=1e-13)
        narrow = loss(log_probs.astype(np.float32), targets, frames, lengths)
        np.testing.assert_allclose(narrow, value, rtol=1e-6)
        assert_bits(F.ctc_loss(log_probs, targets, frames, lengths, reduction=reduction), value)


# ---- lengths --------------------------------------------------------------------------------------------------------


@each_dtype
def test_a_sequence_without_labels(dtype, isa):
    """The one path is blank throughout; targets may have no column then."""
    x = special.log_softmax(np.arange(24.0).reshape(4, 2, 3) % 5, axis=-1).astype(dtype)
    loss = lf.CTCLoss(blank=1, reduction="none")
    for targets in (np.empty((2, 0), int), np.empty(0, int), [], [[], []], [[7], [-3]]):
        value, grad = loss.value_and_grad(x, targets, [4, 2], [0, 0])
        np.testing.assert_allclose(value, [-x[:, 0, 1].sum(), -x[:2, 1, 1].sum()], rtol=1e-6)
        expected = np.exp(x) - [0, 1, 0]
        expected[2:, 1] = 0
        np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-6)
        mean = lf.CTCLoss(blank=1)(x, targets, [4, 2], [0, 0])  # divided by 1
        assert mean == pytest.approx(float(value.mean()), rel=1e-6)


@each_dtype
def test_a_sequence_without_frames(dtype, isa):
    x = np.zeros((3, 2, 3), dtype)
    value, grad = lf.CTCLoss(reduction="none").value_and_grad(x, [[1], [1]], [0, 0], [0, 1])
    assert_bits(value, np.array([0, inf], dtype))
    assert_bits(grad, np.zeros_like(x))
    value, grad = lf.CTCLoss(reduction="none", zero_infinity=True).value_and_grad(x, [[1], [1]], [0, 0], [0, 1])
    assert_bits(value, np.zeros(2, dtype))
    assert_bits(grad, np.zeros_like(x))


@each_dtype
def test_sequences_that_do_not_fit(dtype, isa):
    """They leave the others alone, and make a mean infinite; what is zeroed still counts in its denominator."""
    x = np.log(np.full((4, 3, 3), 1 / 3, dtype))
    arrays = ([[1, 2, 1], [1, 1, 1], [2, 2, 1]], [4, 4, 2], [3, 3, 2])
    loss, zeroed = (lf.CTCLoss(reduction="none", zero_infinity=z) for z in (False, True))
    assert loss.feasible(x, *arrays).tolist() == [True, False, False]
    value, grad = loss.value_and_grad(x, *arrays)
    alone = loss.value_and_grad(x[:, :1], [[1, 2, 1]], [4], [3])
    assert_bits((value[:1], grad[:, :1]), alone)
    assert value[1:].tolist() == [inf, inf]
    assert np.isnan(grad[:, 1]).all()
    assert np.isnan(grad[:2, 2]).all()
    assert not grad[2:, 2].any()
    again, zeros = zeroed.value_and_grad(x, *arrays)
    assert_bits((again[:1], zeros[:, :1]), alone)
    assert not again[1:].any()
    assert not zeros[:, 1:].any()
    assert lf.CTCLoss()(x, *arrays) == inf
    assert lf.CTCLoss(reduction="sum")(x, *arrays) == inf
    assert lf.CTCLoss(zero_infinity=True)(x, *arrays) == pytest.approx(float(value[0]) / 3 / 3, rel=1e-6)


def test_feasible_counts_blanks_between_equal_labels():
    x = np.zeros((5, 4, 3))
    for zero_infinity in (False, True):
        loss = lf.CTCLoss(zero_infinity=zero_infinity)
        got = loss.feasible(x, [[1, 1, 1], [1, 2, 1], [1, 1, 2], [2, 2, 2]], [5, 3, 3, 4], [3, 3, 3, 3])
        assert got.dtype == bool
        assert got.tolist() == [True, True, False, False]
    assert lf.CTCLoss().feasible(x[:, 0], [1, 1, 1], 5, 3).shape == ()
    assert bool(lf.CTCLoss().feasible(x[:, 0], [1, 1, 1], 5, 3))


# ---- masks, NaN, infinities -----------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("settings", [{}, {"gradient": "log_probs"}, {"from_logits": True}], ids=str)
def test_a_masked_class_has_no_gradient(settings, dtype, isa, rng):
    """Not where no label uses it, and not where paths would need it at one frame."""
    x, *rest = draw(rng, [9, 7], 6, [3, 2], dtype=dtype)
    rest[0] = np.array([[1, 2, 3], [4, 4, 1]])
    loss = lf.CTCLoss(reduction="none", **settings)
    for n, t, c in ((0, 4, 5), (0, 4, 2), (1, 6, 0), (1, slice(None), 5)):
        masked = x.copy()
        masked[t, n, c] = -inf
        value, grad = loss.value_and_grad(masked, *rest)
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()
        assert not grad[t, n, c].any()
        far = x.copy()
        far[t, n, c] = -1e5
        expected = loss.value_and_grad(far, *rest)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6)
        np.testing.assert_allclose(grad, expected[1], rtol=1e-5, atol=1e-6)
    # all ways barred: a loss of infinity, whatever the frames would allow
    barred = x.copy()
    barred[:, 0, 2] = -inf
    assert loss.feasible(barred, *rest).all()
    value, grad = loss.value_and_grad(barred, *rest)
    assert value[0] == inf
    assert np.isnan(grad[:, 0]).all()
    assert_bits(
        (value[1:], grad[:, 1]),
        tuple(part[..., 1:] if part.ndim == 1 else part[:, 1] for part in loss.value_and_grad(x, *rest)),
    )


@each_dtype
def test_what_is_not_a_number(dtype, isa, rng):
    """At a class that the sequence uses it spoils the sequence; at another, the gradient there; beyond, nothing."""
    x, *rest = draw(rng, [9, 7], 6, [3, 2], dtype=dtype)
    rest[0] = np.array([[1, 2, 3], [4, 4, 1]])
    for settings, bad in itertools.product(({}, {"gradient": "log_probs"}, {"zero_infinity": True}), (nan, inf)):
        loss = lf.CTCLoss(reduction="none", **settings)
        clean = loss.value_and_grad(x, *rest)
        for t, c in ((0, 0), (3, 4), (6, 0)):
            soiled = x.copy()
            soiled[t, 1, c] = bad
            value, grad = loss.value_and_grad(soiled, *rest)
            assert np.isnan(loss(soiled, *rest)[1])
            assert np.isnan(value[1])
            assert np.isnan(grad[:7, 1]).all()
            assert not grad[7:, 1].any()
            assert_bits((value[0], grad[:, 0]), (clean[0][0], clean[1][:, 0]))
        soiled = x.copy()
        soiled[2, 1, 5] = bad
        soiled[7:, 1] = bad
        value, grad = loss.value_and_grad(soiled, *rest)
        assert_bits(value, clean[0])
        expected = clean[1].copy()
        if loss.gradient == "logits":
            expected[2, 1, 5] = bad
        assert_bits(grad, expected)
    logits = lf.CTCLoss(reduction="none", from_logits=True)
    for bad in (nan, inf):
        soiled = x.copy()
        soiled[2, 1, 5] = bad
        value, grad = logits.value_and_grad(soiled, *rest)
        np.testing.assert_array_equal(np.isnan(value), [False, True])
        assert np.isnan(grad[:7, 1]).all()
        assert np.isfinite(grad[:, 0]).all()


# ---- how labels and frames are given --------------------------------------------------------------------------------


def settings_of_all():
    return ({}, {"gradient": "log_probs"}, {"from_logits": True, "blank": 3})


@each_dtype
@pytest.mark.parametrize("settings", settings_of_all(), ids=str)
def test_padded_concatenated_and_batch_first_labels(settings, dtype, isa, rng):
    x, targets, frames, lengths = draw(rng, [30, 17, 30, 4], 9, [8, 6, 0, 2], dtype=dtype, blanks=(0, 3))
    for reduction in ("none", "mean", "sum"):
        loss = lf.CTCLoss(**settings, reduction=reduction)
        first = lf.CTCLoss(**settings, reduction=reduction, batch_first=True)
        value, grad = loss.value_and_grad(x, targets, frames, lengths)
        joined = one_after_the_other(targets, lengths)
        # what stands behind the labels is never read
        garbage = np.where(
            np.arange(targets.shape[1]) < lengths[:, np.newaxis], targets, rng.integers(-99, 99, targets.shape)
        )
        for given in (
            joined,
            garbage,
            joined.tolist(),
            garbage.astype(">i2"),
            np.asfortranarray(garbage),
            np.c_[garbage, garbage],
        ):
            assert_bits(loss.value_and_grad(x, given, frames, lengths), (value, grad))
            assert_bits(loss(x, given, frames.tolist(), lengths.tolist()), value)
        for given in (np.swapaxes(x, 0, 1), np.swapaxes(x, 0, 1).copy()):
            again, swapped = first.value_and_grad(given, joined, frames, lengths)
            assert_bits((again, swapped.swapaxes(0, 1)), (value, grad))
            assert swapped.strides == given.strides
        frames_first = lf.ctc_occupancy(x, targets, frames, lengths, blank=loss.blank, from_logits=loss.from_logits)
        occupancy = first.occupancy(np.swapaxes(x, 0, 1), joined, frames, lengths)
        assert_bits(occupancy.swapaxes(0, 1), frames_first)


@each_dtype
@pytest.mark.parametrize("settings", settings_of_all(), ids=str)
def test_one_sequence_by_itself(settings, dtype, isa, rng):
    x, targets, frames, lengths = draw(rng, [21, 14, 9], 7, [5, 4, 0], dtype=dtype, blanks=(0, 3))
    for n, reduction in itertools.product(range(3), ("none", "mean", "sum")):
        loss, own = lf.CTCLoss(**settings, reduction=reduction), slice(n, n + 1)
        value, grad = loss.value_and_grad(x[:, own], targets[own], frames[own], lengths[own])
        labels, t, length = targets[n, : lengths[n]], int(frames[n]), int(lengths[n])
        for given in ((labels, t, length), (targets[own], [t], [length]), (labels.tolist(), np.array(t), (length,))):
            again, alone = loss.value_and_grad(x[:, n], *given)
            assert np.shape(again) == ()
            assert_bits((np.asarray(again), alone), (np.reshape(value, ()), grad[:, 0]))
            assert loss.feasible(x[:, n], *given).shape == ()
            first = lf.CTCLoss(**settings, reduction=reduction, batch_first=True)
            assert_bits(np.asarray(first(x[:, n], *given)), np.reshape(value, ()))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_integers_of_every_kind(kind, rng):
    x, *rest = draw(rng, [12, 10], 6, [4, 3])
    loss = lf.CTCLoss(reduction="none")
    expected = loss.value_and_grad(x, *rest)
    for given in (
        [a.astype(kind) for a in rest],
        [a.astype(np.dtype(kind).newbyteorder()) for a in rest],
        [np.repeat(a.astype(kind), 2, axis=-1)[..., ::2] for a in rest],
    ):
        assert_bits(loss.value_and_grad(x, *given), expected)


def test_more_classes_than_a_label_of_16_bits(rng):
    x, *rest = draw(rng, [6], 70_000, [2], dtype=np.float32)
    rest[0] = np.array([[69_999, 40_000]])
    value, grad = lf.CTCLoss(reduction="none").value_and_grad(x, *rest)
    np.testing.assert_allclose(value, lf.CTCLoss(reduction="none").reference(x.astype(float), *rest), rtol=1e-6)
    few = lf.CTCLoss(reduction="none").grad(x[..., [0, 40_000, 69_999]], [[2, 1]], *rest[1:])
    np.testing.assert_array_equal(grad[..., [0, 40_000, 69_999]], few)


@each_dtype
def test_log_probabilities_that_are_not_normalised(dtype, isa, rng):
    """A constant added to a frame is one subtracted from the loss; occupancies do not know of it."""
    x, *rest = draw(rng, [12, 9], 6, [4, 3], dtype=np.float64)
    x = x.astype(dtype)
    shift = np.rint(4 * rng.standard_normal((12, 2, 1)))
    moved = (x + shift).astype(dtype)
    loss = lf.CTCLoss(gradient="log_probs", reduction="none")
    value, grad = loss.value_and_grad(x, *rest)
    again, same = loss.value_and_grad(moved, *rest)
    total = np.where(np.arange(12)[:, np.newaxis] < rest[1], shift[..., 0], 0).sum(0)
    np.testing.assert_allclose(again, value - total, rtol=1e-5)
    np.testing.assert_allclose(same, grad, rtol=1e-4, atol=1e-6)
    torch_way = lf.CTCLoss(reduction="none").grad(moved, *rest)
    counted = (np.arange(12)[:, np.newaxis] < rest[1])[..., np.newaxis]
    np.testing.assert_allclose(torch_way, np.where(counted, np.exp(moved) + same, 0), rtol=1e-4, atol=1e-5)


# ---- sparse gradients, occupancies ----------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("settings", settings_of_all(), ids=str)
def test_sparse_gradients_are_columns_of_the_dense(settings, dtype, isa, rng):
    x, targets, frames, lengths = draw(rng, [30, 17, 30, 4], 9, [8, 6, 0, 2], dtype=dtype, blanks=(0, 3))
    targets[1] = targets[1, 0]  # one label, again and again
    arrays = targets, frames, lengths
    for reduction, batch_first in itertools.product(("none", "mean"), (False, True)):
        options = settings | {"reduction": reduction, "batch_first": batch_first}
        dense, sparse = lf.CTCLoss(**options), lf.CTCLoss(**options, sparse=True)
        given = x.swapaxes(0, 1) if batch_first else x
        weight = {"sample_weight": rng.random(4)}
        value, grad = dense.value_and_grad(given, *arrays, **weight)
        again, some = sparse.value_and_grad(given, *arrays, **weight)
        assert_bits(again, value)
        assert isinstance(some, lf.SparseGradient)
        assert some.values.dtype == dtype
        assert_bits(tuple(sparse.grad(given, *arrays, **weight)), tuple(some))
        assert_bits(sparse(given, *arrays, **weight), value)
        columns = some.columns.reshape(4, -1)
        values = some.values.swapaxes(0, 1) if batch_first else some.values
        by_sequence = grad.swapaxes(0, 1) if batch_first else grad
        for n in range(4):
            own = sorted({dense.blank, *targets[n, : lengths[n]].tolist()})
            assert columns[n, : len(own)].tolist() == own
            assert_bits(values[:, n, : len(own)], by_sequence[:, n, own])
            assert (columns[n, len(own) :] == own[0]).all()
            assert not values[:, n, len(own) :].any()
        back = some.to_dense(9)
        assert back.shape == grad.shape
        assert back.dtype == dtype
        np.testing.assert_array_equal(np.where(back != 0, grad, 0), back)
        one = sparse.grad(x[:, 0], targets[0], 30, 8)
        assert one.to_dense(9).shape == (30, 9)


def test_sparse_gradients_have_no_place_to_go(rng):
    x, *rest = draw(rng, [6], 5, [2])
    with pytest.raises(ValueError, match=r"out: a sparse gradient .*expected None with sparse=True"):
        lf.CTCLoss(sparse=True).grad(x, *rest, out=np.empty_like(x))


@each_dtype
def test_occupancies_add_up(dtype, isa, rng):
    x, *rest = draw(rng, [30, 17, 30], 9, [8, 6, 0], dtype=dtype)
    occupancy = lf.ctc_occupancy(x, *rest)
    assert occupancy.dtype == dtype
    assert (occupancy >= 0).all()
    counted = np.arange(30)[:, np.newaxis] < rest[1]
    np.testing.assert_allclose(occupancy.sum(-1), counted, rtol=1e-5 if dtype == np.float32 else 1e-13)
    np.testing.assert_allclose(occupancy, -lf.CTCLoss(gradient="log_probs", reduction="none").grad(x, *rest), rtol=1e-6)
    assert (occupancy[:, 2, 0] == 1).all()
    for half in (np.float16, ml_dtypes.bfloat16):
        assert lf.ctc_occupancy(x.astype(half), *rest).dtype == half
    assert lf.ctc_occupancy(np.zeros((2, 3), int), [1], 2, 1).dtype == np.float64
    assert np.isnan(lf.ctc_occupancy(x[:3, 0], [1, 1, 1], 3, 3)).all()


# ---- far and long ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "classes", "labels", "scale"),
    [(2000, 30, 300, 22.0), (300, 30, 40, 200.0), (4000, 900, 60, 15.0), (5000, 60, 2400, 8.0), (20_000, 8, 30, 3.0)],
)
def test_far_magnitudes(frames, classes, labels, scale, isa, rng):  # noqa: PLR0917
    """A probability of e^-100000 has as many digits as one of e^-1: what the documentation promises of float32."""
    x, *rest = draw(rng, [frames], classes, [labels], scale=scale, dtype=np.float32)
    for settings in ({}, {"gradient": "log_probs"}, {"from_logits": True}):
        loss = lf.CTCLoss(reduction="none", **settings)
        value, grad = loss.value_and_grad(x, *rest)
        exact, slopes = loss.value_and_grad(x.astype(np.float64), *rest)
        assert 1e4 < exact[0] < 3e5
        assert abs(value[0] / exact[0] - 1) <= 1e-6
        assert np.abs(grad - slopes).max() <= 1e-5 * np.abs(slopes).max()
    expected = loss.reference(x.astype(np.float64), *rest)
    np.testing.assert_allclose(exact, expected, rtol=1e-12)


#: Sequences of the first lengths beside one whose rows do not all fit into what is kept.
LONG = 10_000, 300


@each_dtype
def test_rows_that_are_computed_twice(dtype, isa, rng):
    """The longest sequence of a batch decides, which changes no bit of the others, nor of itself in halves."""
    few = 700, 40
    x, *rest = draw(
        rng, [few[0], LONG[0], 64, 1, 0], 5, [few[1], LONG[1], 9, 1, 0], scale=2.0, dtype=dtype, blanks=(0, 3)
    )
    for settings in settings_of_all():
        loss = lf.CTCLoss(reduction="none", **settings)
        value, grad = loss.value_and_grad(x, *rest)
        kept = [0, 2, 3, 4]
        alone = loss.value_and_grad(x[:, kept], *(a[kept] for a in rest))
        assert_bits((value[kept], grad[:, kept]), alone)
        np.testing.assert_allclose(value, loss(x, *rest), rtol=0)
        if not loss.from_logits:
            sums = (np.exp(x.astype(float)) - grad if loss.gradient == "logits" else -grad.astype(float)).sum(-1)
            np.testing.assert_allclose(sums[:, 1], 1, rtol=1e-4 if dtype == np.float32 else 1e-12)


def python(code, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory is Linux's")
def test_memory_of_the_longest(tmp_path):
    """10 000 frames and 2000 labels, whose rows are 330 MB in float32."""
    code = """
        import re
        import numpy as np, lossfast as lf
        from pathlib import Path

        def resident(what):
            return int(re.search(rf"{what}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

        rng = np.random.default_rng(0)
        lf.set_num_threads(1)
        x = lf.log_softmax(4 * rng.standard_normal((10_000, 1, 32), np.float32), axis=-1)
        labels, out = rng.integers(1, 32, (1, 2000)), np.zeros_like(x)
        small = lf.CTCLoss(reduction="sum").value_and_grad(x[:8], labels[:, :2], [8], [2], out=out[:8])
        before = resident("VmRSS")
        value, _ = lf.CTCLoss(reduction="sum").value_and_grad(x, labels, [10_000], [2000], out=out)
        grown = resident("VmHWM") - before
        wide = x.astype(np.float64)
        exact, slopes = lf.CTCLoss(reduction="sum").value_and_grad(wide, labels, [10_000], [2000])
        reference = lf.CTCLoss(reduction="sum").reference(wide, labels, [10_000], [2000])
        assert abs(value / exact - 1) < 1e-6, (value, exact)
        assert abs(exact / reference - 1) < 1e-12, (exact, reference)
        assert abs(out - slopes).max() < 1e-5
        print(grown)
    """
    assert float(python(code, tmp_path)) < 32


# ---- threads --------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_halves_of_sequences(count, dtype, isa, each_threads, rng):
    """Where sequences are fewer than threads both ends of each are computed at once."""
    frames = [60, 31, 60, 2, 17, 1, 44][:count]
    x, *rest = draw(rng, frames, 11, [min(20, t // 2) for t in frames], dtype=dtype, blanks=(0, 3))
    long = draw(rng, [LONG[0]], 3, [LONG[1]], dtype=dtype)
    for settings in (*settings_of_all(), {"zero_infinity": True, "sparse": True}):
        loss = lf.CTCLoss(reduction="none", **settings)
        results = [(loss.value_and_grad(x, *rest), loss(x, *rest)) for _ in each_threads()]
        for result in results[1:]:
            assert_bits(tuple(result[0][1]), tuple(results[0][0][1]))
            assert_bits((result[0][0], result[1]), (results[0][0][0], results[0][1]))
    if count == 1:
        results = [lf.CTCLoss().value_and_grad(*long) for _ in each_threads()]
        for result in results[1:]:
            assert_bits(result, results[0])


def test_many_callers_at_once(parallel, rng):
    lf.set_num_threads(2)
    work = [
        (lf.CTCLoss(reduction="none", **settings), draw(rng, [40 + k, 20], 9, [12, 9], blanks=(0, 3)))
        for k, settings in itertools.product(range(4), settings_of_all())
    ]
    expected = [loss.value_and_grad(*arrays) for loss, arrays in work]
    with ThreadPoolExecutor(6) as pool:
        for results in pool.map(lambda _: [loss.value_and_grad(*arrays) for loss, arrays in work], range(24)):
            for result, wanted in zip(results, expected, strict=True):
                assert_bits(result, wanted)


# ---- what is refused ------------------------------------------------------------------------------------------------

X = np.log(np.full((6, 2, 4), 0.25))
GOOD = {"log_probs": X, "targets": [[1, 2, 3], [3, 2, 2]], "input_lengths": [6, 5], "target_lengths": [3, 2]}
ALONE = {"log_probs": X[:, 0], "targets": [1, 2, 3], "input_lengths": 6, "target_lengths": 3}
#: What is changed of good arguments, the error, its words.
REFUSED = [
    ({"targets": [[1, 2, 4], [3, 2, 2]]}, IndexError, r"targets\[0, 2\] = 4 is outside \[0, 4\)"),
    ({"targets": [[1, 2, 3], [-1, 2, 2]]}, IndexError, r"targets\[1, 0\] = -1 is outside \[0, 4\)"),
    ({"targets": [[1, 2, 3], [2**40, 2, 2]]}, IndexError, rf"targets\[1, 0\] = {2**40} is outside \[0, 4\)"),
    ({"targets": [[1, 2, 3], [3, 0, 2]]}, IndexError, r"targets\[1, 1\] = 0 is the blank, .*choose another blank"),
    ({"targets": [1, 2, 3, 3, 9]}, IndexError, r"targets\[4\] = 9 is outside \[0, 4\)"),
    ({"targets": [1, 2, 3, 0, 1]}, IndexError, r"targets\[3\] = 0 is the blank"),
    (
        {"targets": np.array([[2**64 - 3, 2, 3]] * 2, np.uint64)},
        IndexError,
        rf"targets\[0, 0\] = {2**64 - 3} is outside",
    ),
    ({"targets": [1, 2, 3, 3]}, ValueError, r"targets has shape \(4,\); expected \(5,\), the sum of target_lengths"),
    ({"targets": [1, 2, 3, 3, 1, 1]}, ValueError, r"targets has shape \(6,\); expected \(5,\).* or \(2, S\)"),
    ({"targets": [[1, 2, 3]]}, ValueError, r"targets has shape \(1, 3\); expected \(2, S\)"),
    ({"targets": [[[1, 2, 3]], [[3, 2, 2]]]}, ValueError, r"targets has shape \(2, 1, 3\); expected \(2, S\)"),
    ({"targets": 1}, ValueError, r"targets has shape \(\); expected \(2, S\)"),
    ({"targets": [[1.0, 2.0, 3.0], [3.0, 2.0, 2.0]]}, TypeError, r"targets has dtype float64; .*targets\.astype"),
    ({"targets": np.ones((2, 3), bool)}, TypeError, r"targets has dtype bool"),
    ({"input_lengths": [6, 7]}, ValueError, r"input_lengths\[1\] = 7 is outside \[0, 6\], the frames of log_probs"),
    ({"input_lengths": [-1, 6]}, ValueError, r"input_lengths\[0\] = -1 is outside \[0, 6\]"),
    ({"input_lengths": [6, 2**62]}, ValueError, rf"input_lengths\[1\] = {2**62} is outside \[0, 6\]"),
    ({"input_lengths": [6]}, ValueError, r"input_lengths has shape \(1,\); expected \(2,\)"),
    ({"input_lengths": [6, 6, 6]}, ValueError, r"input_lengths has shape \(3,\); expected \(2,\)"),
    ({"input_lengths": [[6, 6]]}, ValueError, r"input_lengths has shape \(1, 2\); expected \(2,\)"),
    ({"input_lengths": 6}, ValueError, r"input_lengths has shape \(\); expected \(2,\)"),
    ({"input_lengths": [6.0, 5.0]}, TypeError, r"input_lengths has dtype float64; .*input_lengths\.astype"),
    ({"target_lengths": [3, 4]}, ValueError, r"target_lengths\[1\] = 4 is outside \[0, 3\], the labels of targets"),
    ({"target_lengths": [-2, 2]}, ValueError, r"target_lengths\[0\] = -2 is outside \[0, 3\]"),
    ({"target_lengths": [3, 2**63 - 1]}, ValueError, r"target_lengths\[1\] = \d+ is outside \[0, 3\]"),
    (
        {"target_lengths": np.array([3, 2**64 - 1], np.uint64)},
        ValueError,
        rf"target_lengths\[1\] = {2**64 - 1} is outside",
    ),
    ({"target_lengths": [3]}, ValueError, r"target_lengths has shape \(1,\); expected \(2,\)"),
    ({"target_lengths": [True, False]}, TypeError, r"target_lengths has dtype bool"),
    ({"log_probs": X[0, 0]}, ValueError, r"log_probs has shape \(4,\); expected \(T, N, C\) or \(T, C\)"),
    ({"log_probs": X[np.newaxis]}, ValueError, r"log_probs has shape \(1, 6, 2, 4\); expected \(T, N, C\) or \(T, C\)"),
    *(
        (
            {"log_probs": np.empty(shape)},
            ValueError,
            rf"log_probs has shape {re.escape(str(shape))}; expected at least one",
        )
        for shape in ((0, 2, 4), (6, 0, 4), (6, 2, 0), (0, 4), (6, 0))
    ),
    ({"blank": 4}, ValueError, r"blank = 4 is outside \[0, 4\), the classes of log_probs"),
    ({"blank": -1}, ValueError, r"blank = -1 is outside \[0, 4\)"),
]
REFUSED_ALONE = [
    ({"targets": [1, 2]}, ValueError, r"target_lengths = 3 is outside \[0, 2\], the labels of targets"),
    ({"targets": [1, 2, 3, 3]}, ValueError, r"targets has shape \(4,\); expected \(3,\), the sum of target_lengths"),
    ({"targets": [[1, 2, 3], [1, 2, 3]]}, ValueError, r"targets has shape \(2, 3\); expected \(1, S\)"),
    ({"input_lengths": 7}, ValueError, r"input_lengths = 7 is outside \[0, 6\]"),
    ({"input_lengths": [7]}, ValueError, r"input_lengths\[0\] = 7 is outside \[0, 6\]"),
    ({"input_lengths": [6, 6]}, ValueError, r"input_lengths has shape \(2,\); expected \(\) or \(1,\).*no batch axis"),
    ({"target_lengths": -1}, ValueError, r"target_lengths = -1 is outside \[0, 3\]"),
    ({"target_lengths": [[3]]}, ValueError, r"target_lengths has shape \(1, 1\); expected \(\) or \(1,\)"),
]


@pytest.mark.parametrize(
    "row", [*((GOOD, *row) for row in REFUSED), *((ALONE, *row) for row in REFUSED_ALONE)], ids=lambda row: row[3]
)
@pytest.mark.parametrize("quick", [False, True], ids=("lists", "arrays"))
def test_what_is_refused_is_named(row, quick):
    """By every method, before anything is written; whether it comes the quick way or not."""
    good, change, error, message = row
    given = {**good, **change}
    blank = given.pop("blank", 0)
    if quick:
        given = {name: np.asarray(value) for name, value in given.items()}
    out = np.full(given["log_probs"].shape, 77.0)
    for loss in (
        lf.CTCLoss(blank=blank),
        lf.CTCLoss(blank=blank, reduction="none", from_logits=True),
    ):
        calls = [loss, loss.value_and_grad, loss.grad, loss.feasible, loss.occupancy, loss.reference]
        calls.append(functools.partial(loss.grad, out=out))
        calls.append(functools.partial(lf.ctc_occupancy, blank=blank))
        calls.append(functools.partial(F.ctc_loss, blank=blank))
        for call in calls:
            with pytest.raises(error, match=message) as caught:
                call(*given.values())
            assert type(caught.value) is error
    assert (out == 77).all()


def test_batch_first_says_so():
    loss = lf.CTCLoss(batch_first=True)
    with pytest.raises(ValueError, match=r"log_probs has shape \(4,\); expected \(N, T, C\) or \(T, C\)"):
        loss(X[0, 0], [1], 1, 1)
    with pytest.raises(ValueError, match=r"input_lengths\[0\] = 6 is outside \[0, 2\], the frames of log_probs"):
        loss(X, [1] * 6, [6, 1, 1, 1, 1, 1], [1] * 6)


def test_two_conventions_at_once():
    with pytest.raises(ValueError, match=r"gradient = 'log_probs' .*from_logits=True"):
        lf.CTCLoss(gradient="log_probs", from_logits=True)
    with pytest.raises(ValueError, match=r"gradient = 'logit' is not one of 'logits', 'log_probs'"):
        lf.CTCLoss(gradient="logit")


def test_labels_and_lengths_in_place_of_which_results_go():
    """They are read before a result is written over them."""
    memory = np.zeros((6, 2, 4))
    integers = memory.reshape(-1).view(np.int64)
    targets, lengths = integers[:6].reshape(2, 3), integers[8:10]
    targets[...], lengths[...] = GOOD["targets"], GOOD["input_lengths"]
    expected = lf.CTCLoss().value_and_grad(X, targets.copy(), lengths.copy(), [3, 2])
    assert_bits(lf.CTCLoss().value_and_grad(X, targets, lengths, [3, 2], out=memory), expected)


# ---- anything -------------------------------------------------------------------------------------------------------

lengths = st.integers(-2, 9) | st.integers(-(2**63), 2**63 - 1)
labels = st.integers(-3, 6) | st.integers(-(2**63), 2**63 - 1)


@hypothesis.settings(max_examples=400, derandomize=True, deadline=None, database=None)
@hypothesis.given(st.data())
def test_any_lengths_and_labels(data):
    """They raise one of three errors or mean what the reference says; nothing is read out of bounds."""
    count, frames, classes = (data.draw(st.integers(1, most)) for most in (3, 7, 5))
    batched, joined, tame = (data.draw(st.booleans()) for _ in range(3))
    most = data.draw(st.integers(0, 4))
    blank = data.draw(st.integers(0, classes - 1) if tame else st.integers(-1, classes))

    def draw_list(strategy, size):
        return np.array(data.draw(st.lists(strategy, min_size=size, max_size=size)), np.int64)

    count = count if batched else 1
    input_lengths = draw_list(st.integers(0, frames) if tame else lengths, count)
    target_lengths = draw_list(st.integers(0, most) if tame else lengths, count)
    size = (
        int(np.clip(target_lengths, 0, 9).sum()) + (0 if tame else data.draw(st.integers(-1, 1)))
        if joined
        else count * most
    )
    symbol = st.sampled_from([c for c in range(classes) if c != blank] or [77]) if tame else labels
    targets = draw_list(symbol, max(0, size))
    if not joined:
        targets = targets.reshape(count, most)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.standard_normal((frames, count, classes) if batched else (frames, classes))
    x[rng.random(x.shape) < 0.05] = -inf
    options = {name: data.draw(st.booleans()) for name in ("zero_infinity", "sparse")}
    loss = lf.CTCLoss(blank=blank, gradient="log_probs", reduction="none", **options)
    arrays = x, targets, input_lengths, target_lengths
    try:
        value, grad = loss.value_and_grad(*arrays)
    except (ValueError, IndexError) as error:
        assert not tame or (classes == 1 and target_lengths.any()), error
        with pytest.raises(type(error), match=re.escape(str(error))):
            loss.reference(*arrays)
        return
    np.testing.assert_allclose(value, loss.reference(*arrays), rtol=1e-12, atol=1e-12)
    if options["sparse"]:
        grad = grad.to_dense(classes)
    counted = (np.arange(frames)[:, np.newaxis] < input_lengths).reshape(x.shape[:-1])
    expected = np.where(counted & np.isfinite(value), -1.0, np.where(counted, nan, 0))
    if options["zero_infinity"]:
        empty = ~loss.feasible(*arrays) | (value == 0)
        expected = np.where(empty, np.where(counted, grad.sum(-1), 0), expected)
    np.testing.assert_allclose(grad.sum(-1), expected, rtol=1e-12, atol=1e-12)
