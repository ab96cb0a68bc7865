"""Losses of sequences whose frames and labels are not aligned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from scipy import special

from lossfast import _arrays
from lossfast._drivers.sequence import ctc
from lossfast._loss import Loss, Request, caller_arrays, choice, flag, integer, result_dtype
from lossfast._signatures import FramesLabelsLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape


__all__ = ["CTCLoss", "SparseGradient", "ctc_occupancy"]


class SparseGradient(NamedTuple):
    """A gradient at the columns of some classes: ``values[t, n, k]`` is that by class ``columns[n, k]``.

    Where a sequence has fewer columns than others the rest are repetitions of its first, with values of 0.
    """

    columns: Array
    values: Array

    def to_dense(self, classes: int) -> Array:
        """The same as an array ``(T, N, classes)`` with zeros elsewhere."""
        frames, count, _ = self.values.shape
        dense = np.zeros((frames, count, classes), self.values.dtype)
        for n in range(count):
            for k, column in enumerate(self.columns[n]):
                dense[:, n, column] += self.values[:, n, k]
        return dense


class CTCLoss(FramesLabelsLoss, Loss):
    r"""Connectionist temporal classification: the labels of a sequence without their places in time.

    .. math::
        \ell = -\log \sum_{\pi \to y} \prod_t e^{x_t(\pi_t)}, \qquad
        \partial_{x_t(c)} \ell = e^{x_t(c)} - \gamma_t(c)

    over all paths :math:`\pi`, one class or blank per frame, that give the labels y once repetitions and then blanks
    are taken away; :math:`\gamma_t(c)` is the occupancy, the share of those paths that are in class c at frame t.

    Parameters
    ----------
    blank : int
        The class that stands for no label.
    zero_infinity : bool
        Whether sequences that no path explains have a loss and a gradient of 0 instead of infinity and NaN.
    gradient : {"logits", "log_probs"}
        The gradient by the logits of which ``log_probs`` is the log-softmax, :math:`e^x - \gamma`, as PyTorch has it,
        or that by ``log_probs`` themselves, :math:`-\gamma`.
    from_logits : bool
        Whether ``log_probs`` holds logits: their log-softmax, the loss and the gradient by the logits are one.
    batch_first : bool
        Whether ``log_probs`` has the shape ``(N, T, C)``.
    sparse : bool
        Whether a gradient is a `SparseGradient`, at the columns of the blank and of each sequence's labels.
    reduction : {"mean", "sum", "none"}
        A mean divides the loss of each sequence by its number of labels, or by 1 if it has none.

    Raises
    ------
    IndexError
        If a label is outside of the classes, or is the blank.
    ValueError
        If lengths and shapes do not go together.

    Notes
    -----
    Arrays: ``log_probs`` ``(T, N, C)`` or unbatched ``(T, C)``; ``targets`` ``(N, S)``, of which the first
    ``target_lengths`` labels of a row count, or all labels one sequence after the other; ``input_lengths`` and
    ``target_lengths`` ``(N,)`` integers, or one integer where unbatched. The gradient is 0 from ``input_lengths`` on.
    Log-probabilities need not be normalised. One of -inf, a masked class, has a gradient of 0 (PyTorch gives NaN);
    those below -5e29 count as -inf. A sequence is explained by no path if it has fewer frames than labels and
    repeated labels, or if -inf bars all; see `feasible`. NaN and +inf at a class that the sequence uses give NaN.
    Curvatures: none is defined.

    Probabilities are kept as mantissa and exponent, so that they neither underflow nor lose digits however long the
    sequence is. Beside the gradient a sequence needs 16 (S + 32) bytes of memory per frame in float32, 32 MiB at most.

    Accuracy: in float32 the loss is within 1e-6, relative, and the gradient within 1e-5 of its largest entry, for
    sequences to :math:`|\log p| = 10^5`.

    References
    ----------
    .. [1] A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, "Connectionist temporal classification", ICML 2006,
       :doi:`10.1145/1143844.1143891`.
    """

    kernel = "ctc"
    function = "ctc_loss"
    arrays = ("log_probs", "targets", "input_lengths", "target_lengths")
    predictions = ("log_probs",)
    differentiable = ("log_probs",)
    curved: ClassVar[tuple[str, ...]] = ()
    curvatures: ClassVar[tuple[str, ...]] = ()

    blank: int = integer(default=0)
    zero_infinity: bool = flag(default=False)
    gradient: str = choice(default="logits", among=("logits", "log_probs"))
    from_logits: bool = flag(default=False)
    batch_first: bool = flag(default=False)
    sparse: bool = flag(default=False)

    def _bind(self) -> None:
        if self.from_logits and self.gradient == "log_probs":
            raise ValueError(
                "gradient = 'log_probs' needs log-probabilities; with from_logits=True it is that by the logits"
            )

    # ---- beyond the five methods -----------------------------------------------------------------------------------

    def feasible(
        self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike
    ) -> Array:
        """Whether the frames suffice for the labels, and a blank between equal ones, of each sequence.

        Parameters
        ----------
        log_probs, targets, input_lengths, target_lengths
            As in a call.

        Returns
        -------
        ndarray of bool, (N,) or ()
        """
        batch = self._batch((log_probs, targets, input_lengths, target_lengths))
        return batch.feasible.astype(bool).reshape(batch.shape)

    def occupancy(
        self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike
    ) -> Array:
        """The share of the paths that are in each class at each frame; see `ctc_occupancy`."""
        batch = self._batch((log_probs, targets, input_lengths, target_lengths))
        original = batch.original
        result = np.empty(original.shape, result_dtype(batch.itemsize, [original]))
        self._run_kernel(batch, self._frames_first(result), np.full(len(batch.lengths), -1.0), of_logits=False)
        return result

    # ---- the call --------------------------------------------------------------------------------------------------

    def _frames_first(self, array: Array) -> Array:
        """(T, N, C), whatever the caller's order of axes."""
        if array.ndim == 2:
            return array[:, np.newaxis]
        return array.swapaxes(0, 1) if self.batch_first else array

    def _batch(self, arrays: tuple[ArrayLike, ...]) -> _Batch:
        """The arguments, checked."""
        original = _arrays.as_array(arrays[0], "log_probs")
        order = "(N, T, C)" if self.batch_first else "(T, N, C)"
        if original.ndim not in (2, 3):
            raise ValueError(f"log_probs has shape {original.shape}; expected {order} or (T, C)")
        if original.size == 0:
            raise ValueError(f"log_probs has shape {original.shape}; expected at least one frame, sequence and class")
        input = self._frames_first(_arrays.as_operand(original, "log_probs"))
        frames, count, classes = input.shape
        if not 0 <= self.blank < classes:
            raise ValueError(f"blank = {self.blank} is outside [0, {classes}), the classes of log_probs")
        shape = () if original.ndim == 2 else (count,)
        targets = _integers(arrays[1], "targets")
        input_lengths = _lengths(
            arrays[2], "input_lengths", count=count, shape=shape, most=frames, of="the frames of log_probs"
        )
        most = targets.shape[-1] if targets.ndim == 2 else targets.size
        target_lengths = _lengths(
            arrays[3], "target_lengths", count=count, shape=shape, most=most, of="the labels of targets"
        )
        labels = _labels(targets, target_lengths, count)
        _check_labels(targets, labels, target_lengths, classes, self.blank)
        ends = np.cumsum(target_lengths + 1)
        with_blanks = np.full(ends[-1], self.blank, np.int32)
        at_label = np.ones(ends[-1], bool)
        at_label[ends - 1] = False
        with_blanks[at_label] = labels
        repeated = (with_blanks[1:] == with_blanks[:-1]) & at_label[1:]  # the blanks part the sequences
        repeats = np.bincount(np.repeat(np.arange(count), target_lengths + 1)[1:], repeated, count)
        feasible = (input_lengths >= target_lengths + repeats).astype(np.uint8)
        return _Batch(original, input, shape, with_blanks, input_lengths, target_lengths, feasible)

    def _run_kernel(
        self,
        batch: _Batch,
        grad: Array | None = None,
        scale: Array | None = None,
        *,
        of_logits: bool = True,
        columns: Array | None = None,
        column_classes: Array | None = None,
    ) -> Array:
        cost = batch.frames * (2 * batch.lengths + 1)
        values: Array = ctc(
            batch.input,
            batch.itemsize,
            batch.labels,
            batch.frames,
            batch.lengths,
            batch.feasible,
            np.argsort(-cost, kind="stable"),
            logits=self.from_logits,
            zero_infinity=self.zero_infinity,
            grad=grad,
            of_logits=of_logits,
            scale=scale,
            columns=columns,
            column_classes=column_classes,
        )
        return values

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        batch = self._batch(arrays)
        original = batch.original
        dtype = result_dtype(batch.itemsize, [original])
        wrt = self._resolve_wrt(request.wrt, self.differentiable)
        sample_weight, cotangent = request.weights(batch.shape)
        # what multiplies the loss of each sequence
        share = np.ones(len(batch.lengths))
        if self.reduction == "mean":
            share /= np.maximum(batch.lengths, 1)
        weight = np.ones(()) if sample_weight is None else sample_weight.astype(np.float64)
        share *= np.broadcast_to(weight, batch.shape).reshape(-1)
        denominator = float(np.broadcast_to(weight, share.shape).sum()) if self.reduction == "mean" else 1.0
        value = self._value_array(request, batch.shape, dtype)
        if request.order == 0:
            answer = self._answer(share * self._run_kernel(batch), value, denominator, batch.shape)
            return request.answer(answer, {}, {})

        scale, cotangents = self._scale(denominator, cotangent)
        scales = share * scale
        for factor in cotangents:
            scales = scales * np.broadcast_to(factor, batch.shape).reshape(-1)
        of_logits = self.gradient == "logits"
        if self.sparse:
            if request.out is not None:
                raise ValueError("out: a sparse gradient has the shape of its columns; expected None with sparse=True")
            columns, classes = _columns(batch.labels, batch.lengths)
            grad = np.empty((batch.input.shape[0], *classes.shape), dtype)
            values = self._run_kernel(batch, grad, scales, of_logits=of_logits, columns=columns, column_classes=classes)
            answer = self._answer(share * values, value, denominator, batch.shape)
            sparse = SparseGradient(classes.astype(np.int64), grad)
            return (answer, sparse) if request.value else sparse
        grads, _ = request.results(wrt, {"log_probs": original}, None)
        outs = caller_arrays(request, value, grads.values())
        if outs:
            batch.input = _arrays.separated(batch.input, [self._frames_first(out) for out in outs], elementwise=True)
        values = self._run_kernel(batch, self._frames_first(grads["log_probs"].array), scales, of_logits=of_logits)
        return request.answer(self._answer(share * values, value, denominator, batch.shape), grads, {})

    def _answer(self, values: Array, unreduced: Array | None, denominator: float, shape: Shape) -> Any:
        if self.reduction != "none":
            return self._reduced(float(values.sum()), denominator)
        if unreduced is None:
            return None
        unreduced[...] = values.reshape(shape)
        return unreduced

    # ---- the definition --------------------------------------------------------------------------------------------

    def reference(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The recursion over logarithms in plain NumPy, in the precision of ``log_probs``."""
        batch = self._batch(arrays)
        weight = np.ones(()) if sample_weight is None else np.asarray(sample_weight)
        weight = np.broadcast_to(weight, batch.shape).reshape(-1)
        input = self._frames_first(batch.original)
        if self.from_logits:
            input = special.log_softmax(input, axis=-1)
        starts = np.cumsum(batch.lengths + 1) - batch.lengths - 1
        losses = np.array(
            [
                _negative_log_likelihood(input[:t, n], batch.labels[start : start + length], self.blank)
                for n, (t, start, length) in enumerate(zip(batch.frames, starts, batch.lengths, strict=True))
            ]
        )
        if self.zero_infinity:
            losses = np.where(np.isinf(losses), 0, losses)
        if self.reduction == "none":
            return (losses * weight).reshape(batch.shape)
        if self.reduction == "sum":
            return (losses * weight).sum()
        return (losses / np.maximum(batch.lengths, 1) * weight).sum() / weight.sum()


def ctc_occupancy(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    *,
    blank: int = 0,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Array:
    """The probability of being in each class at each frame, given the labels: the expected alignment.

    Parameters
    ----------
    log_probs, targets, input_lengths, target_lengths
        As `CTCLoss` takes them.
    blank, from_logits, batch_first
        As those of `CTCLoss`.

    Returns
    -------
    ndarray
        Of the shape of ``log_probs``: it adds up to 1 over the classes of a frame, is 0 behind the end of a sequence
        and NaN where no path explains the labels.
    """
    loss = CTCLoss(blank=blank, from_logits=from_logits, batch_first=batch_first)
    return loss.occupancy(log_probs, targets, input_lengths, target_lengths)


# ---- arguments -----------------------------------------------------------------------------------------------------


@dataclass
class _Batch:
    """What the driver takes; labels one sequence after the other, each with the blank behind."""

    original: Array
    input: Array  # (T, N, C)
    shape: Shape  # of the unreduced loss
    labels: Array
    frames: Array
    lengths: Array
    feasible: Array

    @property
    def itemsize(self) -> int:
        return _arrays.item_size([self.input])


def _integers(value: ArrayLike, name: str) -> Array:
    array = _arrays.as_array(value, name)
    if array.size == 0 and not isinstance(value, np.ndarray):
        array = array.astype(np.int64)  # an empty list has no dtype of its own
    return _arrays.as_labels(array, name)


def _lengths(value: ArrayLike, name: str, *, count: int, shape: Shape, most: int, of: str) -> Array:
    """Lengths, one for each sequence; one by itself where there is no batch."""
    lengths = _integers(value, name)
    expected = "() or (1,), since log_probs has no batch axis" if shape == () else f"({count},), one for each sequence"
    if lengths.shape != (count,) and not (shape == () and lengths.shape == ()):
        raise ValueError(f"{name} has shape {lengths.shape}; expected {expected}")
    outside = np.flatnonzero((lengths < 0) | (lengths > most))
    if outside.size:
        raise ValueError(f"{_arrays.locate(name, lengths, outside[0])} is outside [0, {most}], {of}")
    return lengths.reshape(-1).astype(np.intp)


def _labels(targets: Array, lengths: Array, count: int) -> Array:
    """The labels that count, one sequence after the other."""
    if targets.ndim == 1:
        if targets.size != lengths.sum():
            raise ValueError(
                f"targets has shape {targets.shape}; expected ({int(lengths.sum())},), the sum of target_lengths, for "
                f"labels one sequence after the other, or ({count}, S)"
            )
        return targets
    if targets.ndim != 2 or targets.shape[0] != count:
        raise ValueError(f"targets has shape {targets.shape}; expected ({count}, S), or labels one after the other")
    counted: Array = targets[np.arange(targets.shape[1]) < lengths[:, np.newaxis]]
    return counted


def _check_labels(targets: Array, labels: Array, lengths: Array, classes: int, blank: int) -> None:
    """Refuse labels outside of the classes, and the blank."""
    bad = np.flatnonzero((labels < 0) | (labels >= classes) | (labels == blank))
    if not bad.size:
        return
    at = int(bad[0])
    if targets.ndim == 2:
        row = int(np.searchsorted(np.cumsum(lengths), at, side="right"))
        at = row * targets.shape[1] + at - int(lengths[:row].sum())
    where = _arrays.locate("targets", targets, at)
    if labels[bad[0]] == blank:
        raise IndexError(f"{where} is the blank, which is no label: choose another blank or other labels")
    raise IndexError(f"{where} is outside [0, {classes}): labels count from 0, and blank={blank} is none of them")


def _columns(labels: Array, lengths: Array) -> tuple[Array, Array]:
    """The places of labels and blank among the columns of their sequence, and the classes of those columns."""
    ends = np.cumsum(lengths + 1)
    classes, places = [], np.empty_like(labels)
    for start, end in zip(ends - lengths - 1, ends, strict=True):
        own, places[start:end] = np.unique(labels[start:end], return_inverse=True)
        classes.append(own)
    width = max(map(len, classes))
    filled = np.stack([np.concatenate([own, np.full(width - len(own), own[0])]) for own in classes])
    return places, np.ascontiguousarray(filled, np.int32)


def _negative_log_likelihood(log_probs: Array, labels: Array, blank: int) -> Any:
    """The forward recursion over blank, label, blank, …, blank."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    skips = np.r_[False, False, (states[2:] != states[:-2]) & (states[2:] != blank)][: len(states)]
    alpha = np.full(len(states), -np.inf, log_probs.dtype)
    alpha[0] = 0  # before the first frame: it leads to the first blank and the first label
    for frame in log_probs:
        before = np.r_[-np.inf, alpha[:-1]]
        skipped = np.where(skips, np.r_[-np.inf, before[:-1]], -np.inf)
        with np.errstate(invalid="ignore"):
            alpha = np.logaddexp(np.logaddexp(alpha, before), skipped) + frame[states]
    return 0.0 - np.logaddexp.reduce(alpha[-2:])
