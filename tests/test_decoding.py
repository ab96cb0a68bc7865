"""CTC decoders: against the enumeration of all paths, and against plain Python."""

import itertools
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossfast as lf

from .cases import DTYPES, assert_bits
from .layouts import LAYOUTS

inf, nan = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))


def collapse(path, blank):
    """Repetitions away, then blanks."""
    return tuple(int(c) for c, _ in itertools.groupby(path) if c != blank)


def log_probs(rng, *shape, dtype=np.float64):
    return lf.log_softmax(2 * rng.standard_normal(shape)).astype(dtype)


def all_labellings(x, blank):
    """The log-probabilities of all paths, by the labelling that they collapse to."""
    frames, classes = x.shape
    paths = np.array(list(itertools.product(range(classes), repeat=frames))).reshape(-1, frames)
    found = {}
    for path, score in zip(paths, x[np.arange(frames), paths].sum(1), strict=True):
        found.setdefault(collapse(path, blank), []).append(score)
    return found


def viterbi(x, labels, blank):
    """Log-probability of the best path, and that path, of states in a loop over frames."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    skips = np.r_[False, False, (states[2:] != states[:-2]) & (states[2:] != blank)][: len(states)]
    value = np.where(np.arange(len(states)) < 2, x[0, states], -inf)
    back = np.zeros((len(x), len(states)), np.int8)
    for t in range(1, len(x)):
        ways = np.full((3, len(states)), -inf)
        ways[0], ways[1, 1:] = value, value[:-1]
        ways[2, 2:] = np.where(skips[2:], value[:-2], -inf)
        back[t] = ways.argmax(0)  # the first of equals: the nearest
        value = ways.max(0) + x[t, states]
    last = len(states) - 1
    state = last if last == 0 or value[last] > value[last - 1] else last - 1
    best, path = value[state], []
    for t in reversed(range(len(x))):
        path.append(states[state])
        state -= int(back[t, state])
    return best, path[::-1]


def prefix_beam_search(x, beam, blank):
    """The same in Python: a dictionary of prefixes, and a stable sort."""
    prefixes = {(): (0.0, -inf)}
    for frame in x:
        candidates = []
        for prefix, (ends_blank, ends_label) in prefixes.items():
            as_label = -inf
            if prefix:
                as_label = ends_label + frame[prefix[-1]]
                parent = prefix[:-1]
                if parent in prefixes:
                    of_blank, of_label = prefixes[parent]
                    joining = of_blank if parent[-1:] == prefix[-1:] else np.logaddexp(of_blank, of_label)
                    as_label = np.logaddexp(as_label, joining + frame[prefix[-1]])
            candidates.append((prefix, np.logaddexp(ends_blank, ends_label) + frame[blank], as_label))
        for c in range(len(frame)):
            for prefix, (ends_blank, ends_label) in prefixes.items():
                total = ends_blank if prefix[-1:] == (c,) else np.logaddexp(ends_blank, ends_label)
                if c != blank and (*prefix, c) not in prefixes and total + frame[c] > -inf:
                    candidates.append(((*prefix, c), -inf, total + frame[c]))
        candidates.sort(key=lambda candidate: -np.logaddexp(*candidate[1:]))
        prefixes = {prefix: ends for prefix, *ends in candidates[:beam]}
    return [(prefix, np.logaddexp(*ends)) for prefix, ends in prefixes.items()]


def assert_same_labellings(found, expected, rtol=1e-11):
    assert [tuple(labels.tolist()) for labels, _ in found] == [tuple(labels) for labels, _ in expected]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], rtol=rtol, atol=1e-12)


# ---- forced alignment ----------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_alignment_is_the_best_of_all_paths(dtype, classes, isa, rng):
    for frames in range(1, 7):
        blank = frames % classes
        x = log_probs(rng, frames, classes, dtype=dtype)
        scores = {y: max(found) for y, found in all_labellings(x.astype(float), blank).items() if len(y) <= 3}
        targets = np.zeros((len(scores), 3), int)
        for row, y in zip(targets, scores, strict=True):
            row[: len(y)] = y
        lengths = [len(y) for y in scores]
        batch = np.broadcast_to(x[:, np.newaxis], (frames, len(scores), classes))
        labels, got = lf.ctc_forced_align(batch, targets, [frames] * len(scores), lengths, blank)
        assert labels.dtype == np.int64
        assert got.dtype == dtype
        assert [collapse(path, blank) for path in labels] == list(scores)
        assert_bits(got, np.ascontiguousarray(x[np.arange(frames), labels]))
        np.testing.assert_allclose(
            got.sum(1, dtype=float), list(scores.values()), rtol=1e-6 if dtype == np.float32 else 1e-14
        )


@each_dtype
def test_alignment_of_mixed_lengths(dtype, each_isa, each_threads, rng):
    count, frames, classes = 17, 90, 23
    x = log_probs(rng, frames, count, classes, dtype=dtype)
    targets = rng.integers(0, classes - 1, (count, 40))
    targets += targets >= 5
    targets[::3, 1::2] = targets[::3, ::2]  # repetitions
    target_lengths = rng.integers(0, 41, count)
    target_lengths[:2] = 0, 40
    input_lengths = np.maximum(rng.integers(60, 91, count), 2 * target_lengths)
    input_lengths[0] = 0
    expected = [
        viterbi(x[:t, n].astype(float), targets[n, :length], 5) if t else (0, [])
        for n, (t, length) in enumerate(zip(input_lengths, target_lengths, strict=True))
    ]
    results = []
    for _ in itertools.product(each_isa(), each_threads()):
        labels, scores = lf.ctc_forced_align(x, targets, input_lengths, target_lengths, blank=5)
        for n, (best, path) in enumerate(expected):
            t = input_lengths[n]
            assert labels[n, :t].tolist() == path
            assert (labels[n, t:] == -1).all()
            assert (scores[n, t:] == 0).all()
            assert scores[n].sum(dtype=float) == pytest.approx(best, rel=1e-5)
        results.append((labels, scores))
        joined = np.concatenate([y[:length] for y, length in zip(targets, target_lengths, strict=True)])
        again = lf.ctc_forced_align(x, joined, input_lengths, target_lengths, blank=5)
        np.testing.assert_array_equal(again[0], labels)
    for labels, scores in results[1:]:
        np.testing.assert_array_equal(labels, results[0][0])
        assert_bits(scores, results[0][1])


def test_alignment_beyond_the_memory_for_all_rows(isa, rng):
    frames, labels = 4100, 640  # 41 MiB of rows
    x = log_probs(rng, frames, 7)
    y = rng.integers(1, 7, labels)
    best, path = viterbi(x, y, 0)
    got, scores = lf.ctc_forced_align(x, y, frames, labels)
    assert got.tolist() == path
    assert scores.sum() == pytest.approx(best, rel=1e-12)


def test_alignment_in_float32_does_not_lose_the_sum_of_a_long_sequence(isa, rng):
    # a sum of -10^6, whose neighbours in float32 are 1/16 apart
    frames, labels = 5000, 400
    x = (log_probs(rng, frames, 12) - 200).astype(np.float32)
    y = rng.integers(1, 12, labels)
    best, _ = viterbi(x.astype(float), y, 0)
    got, scores = lf.ctc_forced_align(x, y, frames, labels)
    assert collapse(got, 0) == tuple(y)
    assert scores.sum(dtype=float) == pytest.approx(best, abs=1e-3)


def test_equal_paths(isa):
    # the end is in the label; back from there, a state is left as late as possible, and a blank is not left out
    labels, _ = lf.ctc_forced_align(np.zeros((6, 3)), [1, 2], 6, 2)
    assert labels.tolist() == viterbi(np.zeros((6, 3)), [1, 2], 0)[1] == [1, 2, 2, 2, 2, 2]
    labels, _ = lf.ctc_forced_align(np.zeros((6, 3)), [1, 1], 6, 2)
    assert labels.tolist() == [1, 0, 1, 1, 1, 1]


@each_dtype
def test_alignment_through_masked_classes(dtype, isa):
    for masked in (-inf, nan):
        x = np.full((5, 1, 3), masked, dtype)
        labels, scores = lf.ctc_forced_align(x, [[1, 1]], [5], [2])
        assert collapse(labels[0], 0) == (1, 1)
        assert_bits(scores, np.full((1, 5), masked, dtype))
        x[:, 0, 0] = x[[0, 4], 0, 1] = -1
        labels, scores = lf.ctc_forced_align(x, [[1, 1]], [5], [2])
        assert labels.tolist() == [[1, 0, 0, 0, 1]]
        assert scores.tolist() == [[-1] * 5]
    x = np.full((6, 1, 3), -1.0, dtype)
    x[2, 0, 1], x[3, 0, 0] = inf, -np.finfo(dtype).max
    labels, scores = lf.ctc_forced_align(x, [[1, 2]], [6], [2])
    assert labels[0, 2] == 1
    assert labels[0, 3] != 0
    assert scores[0, 2] == inf


def test_what_cannot_be_aligned():
    x, targets, lengths = np.zeros((4, 3, 3)), [[1, 2], [1, 1], [2, 2]], [2, 2, 2]
    frames = [2, 3, 2]
    with pytest.raises(ValueError, match=r"sequence 2 has .* = 2 frames.* = 2 labels.*CTCLoss\.feasible"):
        lf.ctc_forced_align(x, targets, frames, lengths)
    assert lf.CTCLoss().feasible(x, targets, frames, lengths).tolist() == [True, True, False]
    lf.ctc_forced_align(x, targets, [2, 3, 3], lengths)
    with pytest.raises(ValueError, match=r"the sequence has .* = 0 frames"):
        lf.ctc_forced_align(x[:, 0], [1], 0, 1)


# ---- the best class of every frame ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8])
@pytest.mark.parametrize("classes", [1, 2, 7, 15, 16, 17, 64, 200])
def test_greedy_takes_the_classes_of_argmax(dtype, classes, each_isa, each_threads, rng):
    count, frames, blank = 3, 600, classes // 2
    x = rng.integers(-3, 4, (frames, count, classes)).astype(dtype)  # many are equal
    if np.dtype(dtype).kind != "i":
        x[rng.random(x.shape) < 0.1 / classes] = nan
        x[rng.random(x.shape[:2]) < 0.1] = -inf
    lengths = [frames, 511, 0]
    expected = [collapse(x[:t, n].astype(float).argmax(-1), blank) for n, t in enumerate(lengths)]
    for _ in itertools.product(each_isa(), each_threads()):
        got = lf.ctc_greedy_decode(x, lengths, blank)
        assert [tuple(labels.tolist()) for labels in got] == expected
        assert all(labels.dtype == np.int64 for labels in got)
        alone = lf.ctc_greedy_decode(x[:, 1], 511, blank)
        assert tuple(alone.tolist()) == expected[1]


def test_greedy_across_the_parts_of_a_sequence(isa):
    # parts of 256 frames: a repetition across their border is one label, and a blank there parts two
    x = np.zeros((520, 1, 3))
    x[250:262, 0, 2] = 1
    assert lf.ctc_greedy_decode(x, [520])[0].tolist() == [2]
    x[256, 0] = 0
    assert lf.ctc_greedy_decode(x, [520])[0].tolist() == [2, 2]
    x[255, 0] = 0
    x[256, 0, 2] = 1
    assert lf.ctc_greedy_decode(x, [520])[0].tolist() == [2, 2]


# ---- beam search ---------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_widest_beam_finds_all_labellings(dtype, classes, isa, rng):
    for frames in range(1, 7):
        blank = frames % classes
        x = log_probs(rng, frames, classes, dtype=dtype)
        exact = {y: np.logaddexp.reduce(found) for y, found in all_labellings(x.astype(float), blank).items()}
        beam = 2 * len(exact)
        found = lf.ctc_beam_search(x, frames, beam=beam, n_best=beam, blank=blank)
        assert_same_labellings(found, sorted(exact.items(), key=lambda item: -item[1]))
        for labels, log_prob in found[:10]:
            assert labels.dtype == np.int64
            assert type(log_prob) is float
            loss = lf.CTCLoss(blank=blank, reduction="sum")(x.astype(float), labels, frames, len(labels))
            assert log_prob == pytest.approx(-loss, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5, 70])
@pytest.mark.parametrize("beam", [1, 2, 3, 5, 16, 40])
def test_narrow_beams_against_python(beam, classes, isa, rng):
    for repetition in range(4):
        frames, blank = (40, 8 + 3 * repetition)[classes == 70], repetition % classes
        # repetitions and blanks alternate: prefixes leave the beam and come back while longer ones stay
        x = lf.log_softmax(rng.uniform(0.5, 4) * rng.standard_normal((frames, classes)))
        assert_same_labellings(lf.ctc_beam_search(x, frames, beam, beam, blank), prefix_beam_search(x, beam, blank))


def test_beam_search_of_mixed_lengths(each_isa, each_threads, rng):
    x = log_probs(rng, 30, 9, 12)
    lengths = [30, 1, 0, 17, 30, 2, 5, 30, 29]
    expected = [prefix_beam_search(x[:t, n], 10, 11)[:4] for n, t in enumerate(lengths)]
    results = []
    for _ in itertools.product(each_isa(), each_threads()):
        found = lf.ctc_beam_search(x, lengths, beam=10, n_best=4, blank=11)
        for own, wanted in zip(found, expected, strict=True):
            assert_same_labellings(own, wanted)
        assert found[2][0][0].shape == (0,)
        assert found[2][0][1] == 0.0
        assert len(found[2]) == 1
        results.append([log_prob for own in found for _, log_prob in own])
    for k in range(0, len(results), 3):  # three numbers of threads
        assert results[k] == results[k + 1] == results[k + 2]


def test_equal_prefixes_keep_the_order_of_their_discovery(isa):
    for frames, classes in ((1, 3), (1, 40), (2, 3), (2, 40), (3, 2)):
        x = np.zeros((frames, classes))
        for beam in (1, 2, 3, 4, 7, 100):
            found = lf.ctc_beam_search(x, frames, beam, beam)
            assert_same_labellings(found, prefix_beam_search(x, beam, 0))


def test_log_probabilities_of_any_size(isa, rng):
    # nothing underflows, neither beside what is far more probable nor over a long sequence
    x = log_probs(rng, 6, 3) * 2000
    exact = {y: np.logaddexp.reduce(found) for y, found in all_labellings(x, 0).items()}
    assert_same_labellings(lf.ctc_beam_search(x, 6, 200, 200), sorted(exact.items(), key=lambda item: -item[1]))
    x = log_probs(rng, 3000, 4) - 50
    found = lf.ctc_beam_search(x, 3000, beam=3)
    assert_same_labellings(found, prefix_beam_search(x, 3, 0)[:1])
    assert found[0][1] < -150_000


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (8, 0), (3, -100)])
def test_beam_search_against_long_double(scale, shift, isa, rng):
    frames = 300
    x = lf.log_softmax(scale * rng.standard_normal((frames, 5))) + shift
    exact = prefix_beam_search(x.astype(np.longdouble), 5, 0)
    for (labels, log_prob), (prefix, expected) in zip(lf.ctc_beam_search(x, frames, 5, 5), exact, strict=True):
        assert tuple(labels.tolist()) == prefix
        assert abs(log_prob - expected) <= 1e-15 * frames * max(1, abs(expected))  # what the docstring says


@each_dtype
def test_impossible_labellings_are_left_out(dtype, isa):
    x = np.full((3, 4), -inf, dtype)
    x[:, 2] = -1
    [(labels, log_prob)] = lf.ctc_beam_search(x, 3, n_best=5)
    assert labels.tolist() == [2]
    assert log_prob == -3
    x[1] = -inf  # nothing is possible any more: the best of before
    [(labels, log_prob)] = lf.ctc_beam_search(x, 3, n_best=5)
    assert log_prob == -inf


@each_dtype
@pytest.mark.parametrize("bad", [nan, inf])
@pytest.mark.parametrize("classes", [5, 64, 70])
def test_what_is_no_probability_makes_none(dtype, bad, classes, isa, rng):
    x = log_probs(rng, 6, 3, classes, dtype=dtype)
    expected = lf.ctc_beam_search(x, [6, 3, 6], n_best=3)
    for at in (0, 1, classes - 1):
        y = x.copy()
        y[4, 0:2, at] = bad  # beyond the second sequence
        found = lf.ctc_beam_search(y, [6, 3, 6], n_best=3)
        assert np.isnan([log_prob for _, log_prob in found[0]]).all()
        for own, wanted in zip(found[1:], expected[1:], strict=True):
            assert_same_labellings(own, wanted)
        y[4, 0, at] = -inf
        barred = lf.ctc_beam_search(y, [6, 3, 6], n_best=3)[0]
        assert [labels.tolist() for labels, _ in found[0]] == [labels.tolist() for labels, _ in barred]


# ---- arguments -----------------------------------------------------------------------------------------------------

DECODERS = {
    "align": lambda x, lengths: lf.ctc_forced_align(x, [[1, 2, 2], [4, 0, 0], [3, 1, 4]], lengths, [3, 1, 3]),
    "greedy": lf.ctc_greedy_decode,
    "beam": lambda x, lengths: lf.ctc_beam_search(x, lengths, n_best=3),
}
each_decoder = pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)


def assert_same(a, b):
    """Of whatever the decoders return."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, list | tuple):
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


@each_decoder
@each_dtype
def test_layouts(decode, dtype, each_isa, rng):
    x, lengths = log_probs(rng, 11, 3, 5, dtype=dtype), np.array([11, 6, 9])
    for _ in each_isa():
        expected = decode(x, lengths)
        for layout in LAYOUTS:
            assert_same(decode(layout(x), lengths), expected)
            assert_same(decode(x, layout(lengths)), expected)
        assert_same(decode(x.tolist(), lengths.tolist()), decode(x.astype(float), lengths))
        assert_same(decode(np.swapaxes(np.swapaxes(x, 0, 1).copy(), 0, 1), lengths.astype(np.uint8)), expected)


@each_decoder
def test_dtypes(decode, each_isa, rng):
    x, lengths = np.rint(4 * log_probs(rng, 11, 3, 5)), np.array([11, 6, 9])
    for _ in each_isa():
        expected = decode(x, lengths)
        for dtype in (np.int8, ">i4", np.longdouble):
            assert_same(decode(x.astype(dtype), lengths), expected)
        single = decode(x.astype(np.float32), lengths)
        for dtype in (np.float16, ml_dtypes.bfloat16, ">f2"):
            half = x.astype(dtype)
            got = decode(half, lengths)
            if isinstance(got, tuple):
                assert got[1].dtype == half.dtype.newbyteorder("=")
                got = got[0], got[1].astype(np.float32)
            assert_same(got, single)


def test_unbatched(isa, rng):
    x = log_probs(rng, 9, 5)
    labels, scores = lf.ctc_forced_align(x[:, np.newaxis], [[1, 3]], [7], [2])
    for lengths in ((7, 2), ([7], [2])):
        alone = lf.ctc_forced_align(x, [1, 3], *lengths)
        assert alone[0].shape == alone[1].shape == (9,)
        assert_same(alone, (labels[0], scores[0]))
    assert_same(lf.ctc_greedy_decode(x, 7), lf.ctc_greedy_decode(x[:, np.newaxis], [7])[0])
    assert_same(lf.ctc_beam_search(x, 7, n_best=4), lf.ctc_beam_search(x[:, np.newaxis], [7], n_best=4)[0])


def test_sequences_without_frames_or_labels(isa, rng):
    x = log_probs(rng, 3, 2, 4)
    labels, scores = lf.ctc_forced_align(x, np.empty((2, 0), int), [0, 3], [0, 0])
    assert labels.tolist() == [[-1] * 3, [0] * 3]
    assert_bits(scores, np.stack([np.zeros(3), x[:, 1, 0]]))
    assert [y.tolist() for y in lf.ctc_greedy_decode(x, [0, 0])] == [[], []]
    assert_same(lf.ctc_beam_search(x, [0, 0], n_best=2), [[(np.empty(0, np.int64), 0.0)]] * 2)


X, Y = np.zeros((4, 2, 3)), [[1, 2], [1, 0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lf.ctc_forced_align(X, [[1, 3], [1, 0]], [4, 4], [2, 1]), IndexError, "targets[0, 1] = 3 is outside"),
        (
            lambda: lf.ctc_forced_align(X, [[1, 2], [0, 0]], [4, 4], [2, 1]),
            IndexError,
            "targets[1, 0] = 0 is the blank",
        ),
        (lambda: lf.ctc_forced_align(X, Y, [4, 5], [2, 1]), ValueError, "input_lengths[1] = 5 is outside [0, 4]"),
        (lambda: lf.ctc_forced_align(X, Y, [4, 4], [2, 3]), ValueError, "target_lengths[1] = 3 is outside [0, 2]"),
        (lambda: lf.ctc_forced_align(X, [1, 2], [4, 4], [2, 1]), ValueError, "targets has shape (2,)"),
        (lambda: lf.ctc_forced_align(X, Y, [4], [2, 1]), ValueError, "input_lengths has shape (1,)"),
        (lambda: lf.ctc_forced_align(X, Y, [4, 4], [2.0, 1.0]), TypeError, "target_lengths has dtype float64"),
        (lambda: lf.ctc_forced_align(X, Y, [4, 4], [2, 1], blank=3), ValueError, "blank = 3 is outside [0, 3)"),
        (lambda: lf.ctc_forced_align(X + 0j, Y, [4, 4], [2, 1]), TypeError, "log_probs has dtype complex128"),
        (lambda: lf.ctc_greedy_decode(X, [4, -1]), ValueError, "input_lengths[1] = -1 is outside [0, 4]"),
        (lambda: lf.ctc_greedy_decode(X, 4), ValueError, "input_lengths has shape ()"),
        (lambda: lf.ctc_greedy_decode(X, [4, 4.0]), TypeError, "input_lengths has dtype float64"),
        (lambda: lf.ctc_greedy_decode(X, [4, 4], blank=-1), ValueError, "blank = -1 is outside [0, 3)"),
        (lambda: lf.ctc_greedy_decode(X, [4, 4], blank=0.0), TypeError, "blank = 0.0 is of type float"),
        (lambda: lf.ctc_greedy_decode(X[0, 0], 1), ValueError, "log_probs has shape (3,)"),
        (lambda: lf.ctc_greedy_decode(X[:, :0], []), ValueError, "log_probs has shape (4, 0, 3)"),
        (lambda: lf.ctc_greedy_decode(X[:, 0, :0], 4), ValueError, "log_probs has shape (4, 0)"),
        (lambda: lf.ctc_greedy_decode([["a"]], [1]), TypeError, "log_probs"),
        (lambda: lf.ctc_beam_search(X, [5, 4]), ValueError, "input_lengths[0] = 5 is outside [0, 4]"),
        (lambda: lf.ctc_beam_search(X, [[4, 4]]), ValueError, "input_lengths has shape (1, 2)"),
        (lambda: lf.ctc_beam_search(X, [4, 4], beam=0), ValueError, "beam = 0; expected 1 or more"),
        (lambda: lf.ctc_beam_search(X, [4, 4], beam=2.0), TypeError, "beam = 2.0 is of type float"),
        (lambda: lf.ctc_beam_search(X, [4, 4], beam=True), TypeError, "beam = True is of type bool"),
        (lambda: lf.ctc_beam_search(X, [4, 4], n_best=0), ValueError, "n_best = 0; expected 1 or more"),
        (lambda: lf.ctc_beam_search(X, [4, 4], beam=3, n_best=4), ValueError, "n_best = 4 is more than beam = 3"),
        (lambda: lf.ctc_beam_search(X, [4, 4], beam=2**30), ValueError, "is outside [1, 536870911]"),
        (lambda: lf.ctc_beam_search(X, [4, 4], blank=7), ValueError, "blank = 7 is outside [0, 3)"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_nothing_crashes(data):
    """Whatever the numbers, lengths and labels: a result that fits the arguments, or an error that names one."""
    frames, count, classes = (data.draw(st.integers(1, most)) for most in (9, 3, 5))
    blank = data.draw(st.integers(0, classes - 1))
    number = st.sampled_from([-inf, inf, nan, 0.0, -1.0, -1e300, 1e300, -0.5, -2.25])
    x = np.array(data.draw(st.lists(number, min_size=frames * count * classes, max_size=frames * count * classes)))
    with np.errstate(over="ignore"):
        x = x.reshape(frames, count, classes).astype(data.draw(st.sampled_from(DTYPES)))
    input_lengths = data.draw(st.lists(st.integers(-1, frames + 1), min_size=count, max_size=count))
    target_lengths = data.draw(st.lists(st.integers(-1, 4), min_size=count, max_size=count))
    width = data.draw(st.integers(0, 4))
    targets = np.array(
        data.draw(st.lists(st.integers(-1, classes), min_size=count * width, max_size=count * width)), int
    ).reshape(count, width)
    beam = data.draw(st.integers(1, 6))
    fit = all(0 <= t <= frames for t in input_lengths)
    try:
        labels, scores = lf.ctc_forced_align(x, targets, input_lengths, target_lengths, blank)
    except (ValueError, IndexError) as error:
        assert re.search("input_lengths|target_lengths|targets", str(error))
    else:
        for n, t in enumerate(input_lengths):
            assert collapse(labels[n, :t], blank) == tuple(targets[n, : target_lengths[n]].tolist())
            assert_bits(scores[n, :t], x[np.arange(t), n, labels[n, :t]])
    for decode in (lf.ctc_greedy_decode, lf.ctc_beam_search):
        keywords = {"beam": beam, "n_best": beam} if decode is lf.ctc_beam_search else {}
        if not fit:
            with pytest.raises(ValueError, match="input_lengths"):
                decode(x, input_lengths, blank=blank, **keywords)
            continue
        for t, found in zip(input_lengths, decode(x, input_lengths, blank=blank, **keywords), strict=True):
            for y in [found] if not keywords else [labels for labels, _ in found]:
                assert len(y) <= t
                assert all(0 <= label < classes and label != blank for label in y)
            if keywords:
                assert 1 <= len(found) <= beam
                assert len({tuple(labels) for labels, _ in found}) == len(found)
