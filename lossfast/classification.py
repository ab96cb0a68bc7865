"""Classification: binary, and over a class axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import special

from lossfast import _arrays
from lossfast._activations import log_softmax
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, array, integer, number
from lossfast._rowwise import RowwiseLoss
from lossfast._signatures import InputTargetLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array


__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"]


class BCELoss(InputTargetLoss, ElementwiseLoss):
    r"""Binary cross entropy of probabilities; for logits, `BCEWithLogitsLoss` is faster and never saturates.

    .. math::
        \ell(x, t) = -w\,[t \max(\log x, -100) + (1 - t) \max(\log(1 - x), -100)], \qquad
        \partial_x \ell = w\,\frac{x - t}{\max(x (1 - x), 10^{-12})}

    Parameters
    ----------
    weight : array_like, optional
        Multiplies the loss; broadcasts to ``input``. Does not enter the denominator of a mean.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements.

    Raises
    ------
    ValueError
        If a probability or a target is outside of [0, 1], or the shapes differ.

    Notes
    -----
    Arrays: ``input``, probabilities in [0, 1], and ``target`` in [0, 1], of one shape. As PyTorch does, the value
    holds logarithms above -100 and the gradient its denominator above float32(1e-12): near 0 and 1 the gradient is
    not that of the clamped value. By the target the gradient is :math:`w (\log(1 - x) - \log x)`, unclamped. NaN is
    inside the domain and gives NaN. Curvatures: exact (:math:`t / x^2 + (1 - t) / (1 - x)^2`), psd, fisher (:math:`1
    / (x (1 - x))`), unit.

    Accuracy: value and gradient within 4 ULP for targets 0 and 1, of the greater term for soft ones.
    """

    kernel = "bce"
    function = "binary_cross_entropy"
    meaning: ClassVar = {"input": "probabilities", "target": "shares"}
    curvatures = ("exact", "psd", "fisher", "unit")
    domains: ClassVar = {"input": Interval(0.0, 1.0), "target": Interval(0.0, 1.0)}
    domain_hint = ": BCELoss takes probabilities, BCEWithLogitsLoss takes logits"
    broadcasts = False
    multiplier = "weight"

    weight: ArrayLike | None = array(default=None)

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x, log_rest = np.log(input), np.log1p(-input)
        # np.maximum and np.where keep NaN
        loss = -(target * np.maximum(log_x, -100) + (1 - target) * np.maximum(log_rest, -100))
        return self._weighted(loss)


class BCEWithLogitsLoss(InputTargetLoss, ElementwiseLoss):
    r"""Binary cross entropy of logits: a sigmoid and the cross entropy in one, without the overflow of either.

    .. math::
        \ell(x, t) = w\,[(1 - t) \log(1 + e^{x}) + v\,t \log(1 + e^{-x})], \qquad
        \partial_x \ell = w\,[(1 - t)\,\sigma(x) - v\,t\,\sigma(-x)]

    Parameters
    ----------
    weight : array_like, optional
        Multiplies the loss; broadcasts to ``input``. Does not enter the denominator of a mean.
    pos_weight : array_like, optional
        The weight v of positive targets; broadcasts to ``input``, so one per class for ``(N, C)`` logits.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements.

    Raises
    ------
    ValueError
        If the shapes of ``input`` and ``target`` differ, or a weight would enlarge them.

    Notes
    -----
    Arrays: ``input``, any logits, and ``target`` of one shape; targets are usually in [0, 1] but not held to it.
    Infinite logits take the limit, 0 or infinity (PyTorch gives NaN). Curvatures: exact (:math:`w (1 - t + v
    t)\,\sigma(x)\,\sigma(-x)`), psd, fisher (the same), majorizer (:math:`w (1 - t + v t) / 4`, Böhning's bound),
    unit.

    Accuracy: value and gradient within 4 ULP for targets 0 and 1, of the greatest term for soft ones.

    References
    ----------
    .. [1] D. Böhning, "Multinomial logistic regression algorithm", Ann. Inst. Statist. Math. 44 (1992),
       :doi:`10.1007/BF00048682`.
    """

    kernel = "bce_with_logits"
    function = "binary_cross_entropy_with_logits"
    meaning: ClassVar = {"input": "binary logits", "target": "shares"}
    curvatures = ("exact", "psd", "fisher", "majorizer", "unit")
    broadcasts = False
    multiplier = "weight"

    weight: ArrayLike | None = array(default=None)
    pos_weight: ArrayLike | None = array(default=None)

    def _kernel_name(self) -> str:
        return self.kernel if self.pos_weight is None else "bce_with_logits_weighted"

    def _parameter_operands(self) -> dict[str, Array]:
        return {} if self.pos_weight is None else {"pos_weight": np.asarray(self.pos_weight)}

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        positive = target * (1 if self.pos_weight is None else self.pos_weight)
        zero = np.zeros((), input.dtype)
        with np.errstate(invalid="ignore"):
            # a term of weight 0 is absent, also where its logarithm is infinite
            loss = np.where(target == 1, 0, (1 - target) * np.logaddexp(zero, input))
            loss = loss + np.where(positive == 0, 0, positive * np.logaddexp(zero, -input))
        return self._weighted(loss)


class NLLLoss(InputTargetLoss, RowwiseLoss):
    r"""Negative log likelihood of log-probabilities.

    .. math:: \ell(x, y) = -w_y\,x_y, \qquad \partial_{x_c} \ell = -w_y\,[c = y]

    Parameters
    ----------
    weight : array_like, optional
        One weight per class.
    ignore_index : int
        A label that counts nothing; it need not be a class.
    reduction : {"mean", "sum", "none"}
        The mean is divided by the summed weights of the labels that count; NaN, with a gradient of zeros, if none does.

    Raises
    ------
    IndexError
        If a label is outside of [0, C).
    TypeError
        If the labels are not integers.

    Notes
    -----
    Arrays: ``input``, log-probabilities of shape (C,), (N, C) or (N, C, d1, ...), and ``target``, class indices of
    shape (), (N,) or (N, d1, ...) in any integer dtype. Only the log-probability at the label is read: one of -inf
    gives an infinite loss, a NaN makes the loss and that entry of the gradient NaN. Curvatures: exact (0), psd, unit.

    Accuracy: value and gradient within 2 ULP.
    """

    kernel = "nll"
    function = "nll_loss"
    meaning: ClassVar = {"input": "log-probabilities", "target": "labels"}
    multiplier = "weight"
    multiplier_in_mean = True

    weight: ArrayLike | None = array(default=None, ndim=1)
    ignore_index: int = integer(default=-100)

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        rows, labels, kept = _rows_and_labels(input, target, self.ignore_index)
        weight = _class_weight(self.weight, rows)[labels]
        picked = np.take_along_axis(rows, labels[..., np.newaxis], -1)[..., 0]
        return np.where(kept, -weight * picked, 0), np.where(kept, weight, 0)


class CrossEntropyLoss(InputTargetLoss, RowwiseLoss):
    r"""Cross entropy of logits: log-softmax and negative log likelihood in one pass.

    .. math::
        \ell(x) = -\sum_c q_c \log p_c, \quad p = \operatorname{softmax}(x), \quad
        q_c = w_c \left[(1 - \epsilon)\,t_c + \frac{\epsilon}{C}\right], \qquad
        \partial_{x_c} \ell = S\,p_c - q_c, \quad \partial_{x_c}^2 \ell = S\,p_c (1 - p_c), \quad S = \sum_c q_c

    With labels, :math:`t_c = [c = y]` and :math:`w_y` multiplies the label's own part.

    Parameters
    ----------
    weight : array_like, optional
        One weight per class.
    ignore_index : int
        A label that counts nothing; it need not be a class.
    label_smoothing : float
        The share :math:`\epsilon` of the target that is spread over all classes, in [0, 1].
    reduction : {"mean", "sum", "none"}
        With labels the mean is divided by the summed weights of those that count (NaN, with a gradient of zeros, if
        none does); with probabilities by the number of rows.

    Raises
    ------
    IndexError
        If a label is outside of [0, C).
    TypeError
        If the labels are neither integers nor probabilities of the shape of ``input``.

    Notes
    -----
    Arrays: ``input``, logits of shape (C,), (N, C) or (N, C, d1, ...); no softmax goes before this loss. ``target``,
    class indices of shape (), (N,) or (N, d1, ...) in any integer dtype, or floating class probabilities of the shape
    of ``input``; those are not held to sum to 1. A logit of -inf masks its class; at the label, or with label
    smoothing anywhere, the loss is infinite and the gradient finite. A logit of +inf, a NaN, or a row of -inf gives
    NaN for its row. With probabilities, gradients exist by ``target`` and ``weight`` too. Curvatures: exact, psd,
    fisher (the same as exact), majorizer (:math:`S / 2`), unit.

    Accuracy: as the label's probability goes to 1, value and gradient keep their relative accuracy.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016,
       :doi:`10.1109/CVPR.2016.308` (label smoothing).
    """

    kernel = "cross_entropy"
    function = "cross_entropy"
    meaning: ClassVar = {"input": "logits", "target": "labels"}
    differentiable = ("input", "target", "weight")
    curvatures = ("exact", "psd", "fisher", "majorizer", "unit")
    takes_probabilities = True
    multiplier = "weight"
    multiplier_in_mean = True
    kernel_parameters = ("label_smoothing",)

    weight: ArrayLike | None = array(default=None, ndim=1)
    ignore_index: int = integer(default=-100)
    label_smoothing: float = number(default=0.0, domain=Interval(0.0, 1.0))

    def _weight_gradient(self, input: Array, target: Array, axis: int, factors: list[Any]) -> Array:
        """Add up -t log p over all rows, for every class."""
        smoothing = self.label_smoothing
        with np.errstate(all="ignore"):  # infinities and NaN are results like others
            targets = np.asarray(target, np.float64) * (1 - smoothing) + smoothing / input.shape[axis]
            terms = np.moveaxis(targets * log_softmax(input.astype(np.float64), axis=axis), axis, -1)
            terms = np.where(np.moveaxis(targets, axis, -1) == 0, 0, terms)
            rows = math.prod(factors[1:], start=np.full(terms.shape[:-1], factors[0]))
            gradient: Array = -np.tensordot(rows, terms, axes=terms.ndim - 1)
        return gradient

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        smoothing = self.label_smoothing
        axis = min(1, input.ndim - 1)
        log_p = special.log_softmax(input, axis=axis)
        if target.shape == input.shape:
            rows, targets = np.moveaxis(log_p, axis, -1), np.moveaxis(target, axis, -1)
            mass = _class_weight(self.weight, rows) * (targets * (1 - smoothing) + smoothing / input.shape[axis])
            return _expected(mass, rows), np.ones((), rows.dtype)
        rows, labels, kept = _rows_and_labels(log_p, target, self.ignore_index)
        weight = _class_weight(self.weight, rows)
        picked = np.take_along_axis(rows, labels[..., np.newaxis], -1)[..., 0]
        loss = -(1 - smoothing) * weight[labels] * picked if smoothing < 1 else np.zeros_like(picked)
        if smoothing:
            loss = loss + _expected(np.broadcast_to(weight * (smoothing / rows.shape[-1]), rows.shape), rows)
        return np.where(kept, loss, 0), np.where(kept, weight[labels], 0)


def _expected(mass: Array, log_p: Array) -> Array:
    """Sum of -mass · log p over the classes; a class of no mass counts nothing, also where log p is infinite."""
    with np.errstate(invalid="ignore"):
        terms: Array = np.where(mass == 0, 0, -mass * log_p).sum(-1)
    return terms


def _class_weight(weight: ArrayLike | None, rows: Array) -> Array:
    return np.ones(rows.shape[-1], rows.dtype) if weight is None else np.asarray(weight).astype(rows.dtype)


def _rows_and_labels(input: Array, target: Array, ignore_index: int) -> tuple[Array, Array, Array]:
    """The classes on the last axis, labels that can be indexed with, and which of them count."""
    labels = _arrays.as_labels(target, "target")
    rows = np.moveaxis(input, min(1, input.ndim - 1), -1)
    kept = labels != ignore_index
    return rows, np.where(kept, labels, 0), kept
