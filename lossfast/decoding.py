"""From frames to labels: the decoders of connectionist temporal classification."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast import _arrays
from lossfast._drivers.decoding import beam_search, forced_align, greedy_decode
from lossfast._loss import result_dtype
from lossfast.sequence import CTCLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape

__all__ = ["ctc_beam_search", "ctc_forced_align", "ctc_greedy_decode"]

#: Nodes of the tree of prefixes, of which there are as many as prefixes in the beam and frames, have 32-bit numbers.
_MAX_PREFIXES = 2**31 - 2


def ctc_forced_align(
    log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike, blank: int = 0
) -> tuple[Array, Array]:
    r"""The most probable path through the labels of each sequence: a class, label or blank, for every frame.

    .. math:: \hat\pi = \arg\max_{\pi \to y} \sum_t x_t(\pi_t)

    over the paths :math:`\pi` that give the labels y once repetitions and then blanks are taken away (Viterbi).

    Parameters
    ----------
    log_probs : array_like
        ``(T, N, C)`` or unbatched ``(T, C)``; need not be normalised.
    targets, input_lengths, target_lengths : array_like
        Integers, as `CTCLoss` takes them: ``targets`` ``(N, S)`` or one sequence after the other, lengths ``(N,)``.
    blank : int
        The class that stands for no label.

    Returns
    -------
    labels : ndarray of int64, (N, T) or (T,)
        The class at each frame, the blank included; -1 from ``input_lengths`` on.
    scores : ndarray, (N, T) or (T,)
        ``log_probs`` at that class, 0 from ``input_lengths`` on; in the dtype of ``log_probs``, float64 for integers.

    Raises
    ------
    IndexError
        If a label is outside of the classes, or is the blank.
    ValueError
        If lengths and shapes do not go together, or if a sequence has too few frames for its labels and a blank between
        equal ones; see `CTCLoss.feasible`.

    Notes
    -----
    Among equal paths the one is taken that is, from the last frame back, in the label rather than in the blank behind
    it at the end, and then stays in its state rather than coming from the one before, and that rather than leaving out
    a blank. -inf and NaN count as -1e30, all else as what it is within ±1e30: a path leads through a masked class only
    if there is no other, and its scores show it.

    Memory: 8 (S + 24) bytes per frame in float32, twice that in float64, and 32 MiB at most for rows of states; a
    sequence that would need more is computed twice, with rows of :math:`2 \sqrt T` frames.

    Accuracy: sums are rounded in the precision of the computation, relative to the best path of the last 16 frames and
    not to the sum since the beginning. In float32 the path is the best up to about 1e-7 of that difference per frame.

    References
    ----------
    .. [1] A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, "Connectionist temporal classification", ICML 2006,
       :doi:`10.1145/1143844.1143891`.
    .. [2] A. J. Viterbi, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", IEEE
       Transactions on Information Theory 13, 1967, :doi:`10.1109/TIT.1967.1054010`.
    """
    original, sequences, shape = CTCLoss(blank=blank)._sequences((log_probs, targets, input_lengths, target_lengths))
    infeasible = np.flatnonzero(~sequences.feasible)
    if infeasible.size:
        n = int(infeasible[0])
        which = f"sequence {n}" if shape else "the sequence"
        raise ValueError(
            f"{which} has input_lengths = {sequences.frames[n]} frames, too few for its target_lengths = "
            f"{sequences.lengths[n]} labels and a blank between equal ones: leave out what CTCLoss.feasible refuses"
        )
    input, itemsize = _as_batch(original)
    frames, count, _ = input.shape
    labels = np.empty((count, frames), np.int64)
    scores = np.empty((count, frames), result_dtype(itemsize, [original]))
    order = _longest_first(sequences.frames * (2 * sequences.lengths + 1))
    forced_align(input, itemsize, sequences.labels, sequences.frames, sequences.lengths, order, labels, scores)
    return labels.reshape(*shape, frames), scores.reshape(*shape, frames)


def ctc_greedy_decode(log_probs: ArrayLike, input_lengths: ArrayLike, blank: int = 0) -> Any:
    """The labels of the most probable class of every frame, without repetitions and then without blanks.

    Parameters
    ----------
    log_probs : array_like
        ``(T, N, C)`` or unbatched ``(T, C)``: log-probabilities, logits or whatever else is in their order.
    input_lengths : array_like
        Integers ``(N,)``, or one where unbatched.
    blank : int
        The class that stands for no label.

    Returns
    -------
    list of ndarray of int64, or one where unbatched
        The labels of each sequence.

    Raises
    ------
    ValueError
        If lengths and shapes do not go together.

    Notes
    -----
    Of equal classes the first counts, and NaN as the greatest, as in `numpy.argmax`. This is the labelling of the most
    probable path, which is not always the most probable labelling: see `ctc_beam_search`.

    References
    ----------
    .. [1] A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, "Connectionist temporal classification", ICML 2006,
       :doi:`10.1145/1143844.1143891`.
    """
    original, frames, shape = _frames(log_probs, input_lengths, blank)
    found: list[Array] = greedy_decode(*_as_batch(original), frames, blank)
    return found if shape else found[0]


def ctc_beam_search(
    log_probs: ArrayLike, input_lengths: ArrayLike, beam: int = 16, n_best: int = 1, blank: int = 0
) -> Any:
    r"""The most probable labellings of each sequence, found by prefix beam search.

    .. math:: \hat y = \arg\max_y \log \sum_{\pi \to y} \prod_t e^{x_t(\pi_t)}

    over all labellings y, whose paths :math:`\pi` are those of `CTCLoss`. After every frame the ``beam`` most probable
    prefixes are kept; with as many as there are, the result is exact.

    Parameters
    ----------
    log_probs : array_like
        ``(T, N, C)`` or unbatched ``(T, C)``; need not be normalised.
    input_lengths : array_like
        Integers ``(N,)``, or one where unbatched.
    beam : int
        How many prefixes are kept, at least 1.
    n_best : int
        How many labellings are wanted, from 1 to ``beam``.
    blank : int
        The class that stands for no label.

    Returns
    -------
    list of list of (ndarray of int64, float), or one such list where unbatched
        For each sequence the labels and the log-probability of the best labellings, the best first. There are fewer
        than ``n_best`` where the search has found fewer that are possible, and one at least; that of no frames is the
        empty one, with a log-probability of 0.

    Raises
    ------
    MemoryError
        If there is not enough memory for ``beam``.
    TypeError
        If ``beam`` or ``n_best`` is no integer.
    ValueError
        If lengths and shapes do not go together, or ``beam`` or ``n_best`` is out of range.

    Notes
    -----
    The log-probability of a labelling is that of the paths which the beam has kept, at most the one that `CTCLoss`
    gives. Every class of a frame prolongs every prefix, none is left out for being improbable by itself. Of equal
    prefixes those come first that the beam held before, by rank, then those with the smaller last label, then those
    with the better prefix before it. -inf bars a class; so do NaN and +inf, and with one of these among the frames of a
    sequence all its log-probabilities are NaN.

    Memory: 20 bytes for each frame and prefix of the beam, touched as far as needed, and 12 for each class, for one
    sequence per thread.

    Accuracy: logarithms in float64, whatever the input; within :math:`10^{-15} T \max(1, |\log p|)`.

    References
    ----------
    .. [1] A. Y. Hannun, A. L. Maas, D. Jurafsky and A. Y. Ng, "First-pass large vocabulary continuous speech
       recognition using bi-directional recurrent DNNs", 2014, `arXiv:1408.2873 <https://arxiv.org/abs/1408.2873>`_.
    .. [2] A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, "Connectionist temporal classification", ICML 2006,
       :doi:`10.1145/1143844.1143891`.
    """
    beam, n_best = _count("beam", beam), _count("n_best", n_best)
    if n_best > beam:
        raise ValueError(
            f"n_best = {n_best} is more than beam = {beam}, the labellings that are kept: use a wider beam"
        )
    original, frames, shape = _frames(log_probs, input_lengths, blank)
    longest = int(frames.max())
    if beam * max(longest, 1) > _MAX_PREFIXES:
        raise ValueError(
            f"beam = {beam} is outside [1, {_MAX_PREFIXES // max(longest, 1)}], as sequences of {longest} frames allow"
        )
    input, _ = _as_batch(original)
    found: list[list[tuple[Array, float]]] = beam_search(input, frames, blank, beam, n_best, _longest_first(frames))
    return found if shape else found[0]


# ---- arguments -----------------------------------------------------------------------------------------------------


def _frames(log_probs: ArrayLike, input_lengths: ArrayLike, blank: int) -> tuple[Array, Array, Shape]:
    """The arguments of a decoder that is given no labels, checked as those of a loss with none."""
    array = _arrays.as_array(log_probs, "log_probs")
    count = array.shape[1] if array.ndim == 3 else 1
    none = (np.empty((count, 0), np.int64), np.zeros(count, np.int64))
    array, sequences, shape = CTCLoss(blank=blank)._sequences((array, none[0], input_lengths, none[1]))
    return array, sequences.frames, shape


def _as_batch(array: Array) -> tuple[Array, int]:
    """(T, N, C) in a dtype that the kernels read, and the bytes of the precision to compute in."""
    readable = _arrays.as_operand(array, "log_probs")
    return (readable if readable.ndim == 3 else readable[:, np.newaxis]), _arrays.item_size([readable])


def _count(name: str, value: int) -> int:
    """A number of things, at least one."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected an integer")
    if value < 1:
        raise ValueError(f"{name} = {value}; expected 1 or more")
    return int(value)


def _longest_first(cost: Array) -> Array:
    return np.argsort(-cost, kind="stable")
