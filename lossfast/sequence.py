"""Losses of sequences whose frames and labels are not aligned."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import numpy as np
from scipy import special

from lossfast import _arrays
from lossfast._drivers.sequence import CTC, Sequences, added
from lossfast._loss import Loss, Request, caller_arrays, choice, flag, integer, result_dtype
from lossfast._signatures import FramesLabelsLoss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape


__all__ = ["CTCLoss", "SparseGradient", "ctc_occupancy"]


class SparseGradient(NamedTuple):
    """A gradient at the columns of some classes: ``values[t, n, k]`` is that by class ``columns[0, n, k]``.

    Parameters
    ----------
    columns : ndarray of int64, (1, N, K) or (1, K)
        The classes. Where a sequence has fewer than others the rest are repetitions of its first.
    values : ndarray, (T, N, K) or (T, K)
        The derivatives by them, 0 at repetitions. The axes are those of ``log_probs``, N before T with ``batch_first``.
    """

    columns: Array
    values: Array

    def to_dense(self, classes: int) -> Array:
        """The same as an array of all classes, with zeros elsewhere.

        Parameters
        ----------
        classes : int
            How many there are.

        Returns
        -------
        ndarray, (T, N, classes) or (T, classes)
            In the dtype of ``values``.
        """
        dense = np.zeros((*self.values.shape[:-1], classes), self.values.dtype)
        everywhere = np.broadcast_to(self.columns, self.values.shape)
        for k in range(self.values.shape[-1]):
            column = everywhere[..., k : k + 1]
            here = np.take_along_axis(dense, column, -1)
            np.put_along_axis(dense, column, here + self.values[..., k : k + 1], -1)
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

    uniform_mean: ClassVar[bool] = False
    _kernel: ClassVar[Any] = None  # set by _bind

    def _bind(self) -> None:
        if self.from_logits and self.gradient == "log_probs":
            raise ValueError(
                "gradient = 'log_probs' needs log-probabilities; with from_logits=True it is that by the logits"
            )
        kernel = CTC(
            blank=self.blank if 0 <= self.blank < 2**31 else -1,  # refused once the classes are known
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
            logits=self.from_logits,
            of_logits=self.gradient == "logits",
            batch_first=self.batch_first,
            sparse=self.sparse,
        )
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick)

    def _checkable(self) -> tuple[Loss, Loss]:
        dense = dataclasses.replace(self, sparse=False)
        return dense, dense if self.gradient == "log_probs" else dataclasses.replace(dense, from_logits=True)

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
        _, sequences, shape = self._sequences((log_probs, targets, input_lengths, target_lengths))
        return np.asarray(sequences.feasible).reshape(shape)

    def occupancy(
        self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike
    ) -> Array:
        """The share of the paths that are in each class at each frame; see `ctc_occupancy`.

        Parameters
        ----------
        log_probs, targets, input_lengths, target_lengths
            As in a call.

        Returns
        -------
        ndarray
            Of the shape of ``log_probs``.
        """
        input, sequences, _ = self._sequences((log_probs, targets, input_lengths, target_lengths))
        itemsize = _arrays.item_size([input])
        result = np.empty(input.shape, result_dtype(itemsize, [input]))
        readable = _arrays.as_operand(input, "log_probs")
        self._kernel.run(
            readable, itemsize, sequences, grad=result, scale=np.full(sequences.count, -1.0), of_logits=False
        )
        return result

    # ---- the call --------------------------------------------------------------------------------------------------

    def _sequences(self, arrays: tuple[ArrayLike, ...]) -> tuple[Array, Sequences, Shape]:
        """The arguments, checked: ``log_probs``, what there is to each sequence, the shape of the unreduced loss."""
        input = _arrays.as_array(arrays[0], "log_probs")
        if input.ndim not in (2, 3):
            order = "(N, T, C)" if self.batch_first else "(T, N, C)"
            raise ValueError(f"log_probs has shape {input.shape}; expected {order} or (T, C)")
        if input.size == 0:
            raise ValueError(f"log_probs has shape {input.shape}; expected at least one frame, sequence and class")
        classes = input.shape[-1]
        frames = input.shape[1 if input.ndim == 3 and self.batch_first else 0]
        shape = () if input.ndim == 2 else (input.shape[0 if self.batch_first else 1],)
        if not 0 <= self.blank < classes:
            raise ValueError(f"blank = {self.blank} is outside [0, {classes}), the classes of log_probs")
        targets = _integers(arrays[1], "targets")
        count = math.prod(shape)
        if targets.ndim != 1 and (targets.ndim != 2 or targets.shape[0] != count):
            raise ValueError(
                f"targets has shape {targets.shape}; expected ({count}, S), or 1 axis with the labels of one sequence "
                "after the other"
            )
        input_lengths = _lengths(arrays[2], "input_lengths", shape)
        target_lengths = _lengths(arrays[3], "target_lengths", shape)
        sequences = Sequences(targets, input_lengths, target_lengths, frames, classes, self.blank)
        if sequences.fault is not None:
            given = {"targets": targets, "input_lengths": input_lengths, "target_lengths": target_lengths}
            _refuse(sequences, given, self.blank)
        return input, sequences, shape

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        original, sequences, shape = self._sequences(arrays)
        input = _arrays.as_operand(original, "log_probs")
        itemsize = _arrays.item_size([input])
        dtype = result_dtype(itemsize, [original])
        wrt = self._resolve_wrt(request.wrt, self.differentiable)
        sample_weight, cotangent = request.weights(shape)
        # what multiplies the loss of each sequence
        share = np.ones(sequences.count)
        denominator = 1.0
        if self.reduction == "mean":
            share /= np.maximum(sequences.lengths, 1)
            denominator = float(sequences.count)
        if sample_weight is not None:
            weight = np.broadcast_to(sample_weight, shape).reshape(-1).astype(np.float64)
            share *= weight
            denominator = added(weight) if self.reduction == "mean" else 1.0
        value = self._value_array(request, shape, dtype)
        if request.order == 0:
            losses = self._kernel.run(input, itemsize, sequences)
            return request.answer(self._answer(losses, share, value, denominator), {}, {})

        scale, cotangents = self._scale(denominator, cotangent)
        with np.errstate(invalid="ignore"):  # weights that are all 0 leave an infinite scale
            scales = share * scale
            for factor in cotangents:
                scales *= np.broadcast_to(factor, shape).reshape(-1)
        if self.sparse:
            if request.out is not None:
                raise ValueError("out: a sparse gradient has the shape of its columns; expected None with sparse=True")
            places, classes = _columns(sequences)
            columns = classes.astype(np.int64)
            if original.ndim == 3:
                columns = np.expand_dims(columns, 1 if self.batch_first else 0)
            grad = np.empty((*original.shape[:-1], classes.shape[1]), dtype)
            losses = self._kernel.run(
                input, itemsize, sequences, grad=grad, scale=scales, columns=places, column_classes=classes
            )
            sparse = SparseGradient(columns, grad)
            return (self._answer(losses, share, value, denominator), sparse) if request.value else sparse
        grads, _ = request.results(wrt, {"log_probs": original}, None)
        outs = caller_arrays(request, value, grads.values())
        if outs:
            input = _arrays.separated(input, outs, elementwise=True)
        losses = self._kernel.run(input, itemsize, sequences, grad=grads["log_probs"].array, scale=scales)
        return request.answer(self._answer(losses, share, value, denominator), grads, {})

    def _answer(self, losses: Array, share: Array, unreduced: Array | None, denominator: float) -> Any:
        with np.errstate(invalid="ignore"):  # an infinite loss that weighs nothing
            losses *= share
        if self.reduction != "none":
            return self._reduced(added(losses), denominator)
        if unreduced is None:
            return None
        with np.errstate(over="ignore"):
            unreduced[...] = losses.reshape(unreduced.shape)
        return unreduced

    # ---- the definition --------------------------------------------------------------------------------------------

    def reference(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The recursion over logarithms in plain NumPy, in the precision of ``log_probs``."""
        input, sequences, shape = self._sequences(arrays)
        weight = np.ones(()) if sample_weight is None else np.asarray(sample_weight)
        weight = np.broadcast_to(weight, shape).reshape(-1)
        if input.dtype.kind in "biu":  # which compute in float64
            input = input.astype(np.float64)
        by_sequence = input[np.newaxis] if not shape else input if self.batch_first else input.swapaxes(0, 1)
        if self.from_logits:
            by_sequence = special.log_softmax(by_sequence, axis=-1)
        ends = np.cumsum(sequences.lengths + 1) - 1
        labels = [sequences.labels[end - length : end] for end, length in zip(ends, sequences.lengths, strict=True)]
        losses = np.array(
            [
                _negative_log_likelihood(frames[:t], own, self.blank)
                for frames, t, own in zip(by_sequence, sequences.frames, labels, strict=True)
            ]
        )
        if self.zero_infinity:
            losses = np.where(np.isinf(losses), 0, losses)
        if self.reduction == "none":
            return (losses * weight).reshape(shape)
        if self.reduction == "sum":
            return (losses * weight).sum()
        return (losses / np.maximum(sequences.lengths, 1) * weight).sum() / weight.sum()


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


def _integers(value: ArrayLike, name: str) -> Array:
    array = _arrays.as_array(value, name)
    if array.size == 0 and isinstance(value, list | tuple):
        array = array.astype(np.int64)  # an empty list has no dtype of its own
    return _arrays.as_labels(array, name)


def _lengths(value: ArrayLike, name: str, shape: Shape) -> Array:
    """Lengths, one for each sequence; one by itself where there is no batch."""
    lengths = _integers(value, name)
    if lengths.shape == shape or (shape == () and lengths.shape == (1,)):
        return lengths
    expected = f"{shape}, one for each sequence" if shape else "() or (1,), since log_probs has no batch axis"
    raise ValueError(f"{name} has shape {lengths.shape}; expected {expected}")


def _refuse(sequences: Sequences, given: Mapping[str, Array], blank: int) -> NoReturn:
    """Say what is wrong with the argument that is at fault."""
    name, at = sequences.fault, sequences.at
    targets, lengths = given["targets"], given["target_lengths"]
    if at < 0:
        raise ValueError(
            f"targets has shape {targets.shape}; expected ({int(lengths.sum())},), the sum of target_lengths, for "
            f"labels one sequence after the other, or ({lengths.size}, S)"
        )
    where = _arrays.locate(name, given[name], at)
    if name == "input_lengths":
        raise ValueError(f"{where} is outside [0, {sequences.all_frames}], the frames of log_probs")
    if name == "target_lengths":
        raise ValueError(f"{where} is outside [0, {targets.shape[-1]}], the labels of targets")
    if targets.flat[at] == blank:
        raise IndexError(f"{where} is the blank, which is no label: choose another blank or other labels")
    raise IndexError(f"{where} is outside [0, {sequences.classes}): labels count from 0, and blank={blank} is none")


def _columns(sequences: Sequences) -> tuple[Array, Array]:
    """The places of labels and blank among the columns of their sequence, and the classes of those columns."""
    ends = np.cumsum(sequences.lengths + 1)
    classes, places = [], np.empty_like(sequences.labels)
    for start, end in zip(ends - sequences.lengths - 1, ends, strict=True):
        own, places[start:end] = np.unique(sequences.labels[start:end], return_inverse=True)
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
