"""Margin losses: how far a score keeps from the wrong side of its label."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import OneOf, array, number
from lossfast._rowwise import RowwiseLoss
from lossfast._signatures import InputPairTargetLoss, InputTargetLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array


__all__ = [
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
]


class SoftMarginLoss(InputTargetLoss, ElementwiseLoss):
    r"""Logistic loss of a score and a label ±1.

    .. math:: \ell(x, t) = \log(1 + e^{-t x}), \qquad \partial_x \ell = -t\,\sigma(-t x)

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input``, any scores, and ``target``, usually ±1 but not held to it; one may broadcast to the other. It is
    softplus of :math:`-t x`, which never overflows (PyTorch's formula does, to an infinite value and a NaN gradient).
    No derivative by the target. Curvatures: exact (:math:`t^2 \sigma(t x)\,\sigma(-t x)`), psd, fisher (the same),
    majorizer (:math:`t^2 / 4`, Böhning's bound), unit.

    Accuracy: value and gradient within 4 ULP for targets ±1; else the rounding of :math:`t x` adds as many ULP as its
    size.

    References
    ----------
    .. [1] D. Böhning, "Multinomial logistic regression algorithm", Ann. Inst. Statist. Math. 44 (1992),
       :doi:`10.1007/BF00048682`.
    """

    kernel = "soft_margin"
    function = "soft_margin_loss"
    meaning: ClassVar = {"input": "binary logits", "target": "signs"}
    differentiable = ("input",)
    curved = ("input",)
    curvatures = ("exact", "psd", "fisher", "majorizer", "unit")

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        loss = np.logaddexp(0, -(target * input))
        return loss, np.ones((), loss.dtype)


class MultiLabelSoftMarginLoss(InputTargetLoss, ElementwiseLoss):
    r"""Binary cross entropy of the logits of C labels, averaged over the labels of a row.

    .. math::
        \ell(x, t) = \frac1C \sum_c w_c\,[t_c \log(1 + e^{-x_c}) + (1 - t_c) \log(1 + e^{x_c})], \qquad
        \partial_{x_c} \ell = \frac{w_c}{C}\,(\sigma(x_c) - t_c)

    Parameters
    ----------
    weight : array_like, optional
        Multiplies the terms; broadcasts to the arrays, so one per label. Does not enter the denominator of a mean.
    reduction : {"mean", "sum", "none"}
        The mean is over the rows: all axes but the last.

    Raises
    ------
    ValueError
        If ``input`` has no axis, or a weight would enlarge it.

    Notes
    -----
    Arrays: ``input``, any logits, and ``target``, usually 0 or 1 but not held to it, with the labels on the last axis;
    one may broadcast to the other. C is the length of that axis of ``input``. Infinite logits take the limit, 0 or
    infinity (PyTorch gives NaN). Rows without labels are NaN, a mean over nothing. Curvatures: exact (:math:`w_c\,
    \sigma(x_c)\,\sigma(-x_c) / C`), psd, fisher (the same), majorizer (:math:`w_c / 4C`, Böhning's bound), unit.

    Accuracy: terms and gradient within 4 ULP for targets 0 and 1, of the greatest term for soft ones.

    References
    ----------
    .. [1] D. Böhning, "Multinomial logistic regression algorithm", Ann. Inst. Statist. Math. 44 (1992),
       :doi:`10.1007/BF00048682`.
    """

    kernel = "bce_with_logits"  # its terms
    function = "multilabel_soft_margin_loss"
    meaning: ClassVar = {"input": "binary logits", "target": "shares"}
    differentiable = ("input", "target", "weight")
    curvatures = ("exact", "psd", "fisher", "majorizer", "unit")
    multiplier = "weight"
    averages_last_axis = True

    weight: ArrayLike | None = array(default=None)

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        positive, negative = np.logaddexp(0, -input), np.logaddexp(0, input)
        with np.errstate(invalid="ignore"):
            terms = np.where(target == 0, 0, target * positive) + np.where(target == 1, 0, (1 - target) * negative)
            loss = self._weighted(terms)[0].sum(-1) / np.asarray(input.shape[-1], terms.dtype)
        return loss, np.ones((), loss.dtype)


class MarginRankingLoss(InputPairTargetLoss, ElementwiseLoss):
    r"""Two scores, the greater of which should be the first (target 1) or the second (-1), by a margin.

    .. math::
        \ell(x_1, x_2, t) = \max(0, z), \quad z = m - t\,(x_1 - x_2), \qquad
        \partial_{x_1} \ell = -t\,[z \ge 0], \quad \partial_{x_2} \ell = t\,[z \ge 0]

    Parameters
    ----------
    margin : float
        The margin m; any number.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input1``, ``input2`` and ``target`` of the same number of dimensions; they may broadcast to one of them.
    The target is usually ±1 but not held to it. The derivative at the kink is that of :math:`z`, as PyTorch's is; that
    by the target is :math:`-(x_1 - x_2)\,[z \ge 0]`. A NaN gives a NaN value and NaN gradients (PyTorch's are 0).
    Curvatures: exact (0), psd, unit.

    Accuracy: value and gradient within 4 ULP of the greatest term.
    """

    kernel = "margin_ranking"
    function = "margin_ranking_loss"
    meaning: ClassVar = {"target": "signs"}
    differentiable = ("input1", "input2", "target")
    curved = ("input1", "input2", "target")
    kernel_parameters = ("margin",)

    margin: float = number(default=0.0)

    def _shape(self, named: dict[str, Array]) -> tuple[int, ...]:
        dimensions = {name: a.ndim for name, a in named.items()}
        if len(set(dimensions.values())) > 1:
            shapes = ", ".join(f"{name} {a.shape}" for name, a in named.items())
            raise ValueError(f"the arrays differ in their number of dimensions: {shapes}; expected one number for all")
        return super()._shape(named)

    def definition(self, input1: Array, input2: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        z = input1.dtype.type(self.margin) - target * (input1 - input2)
        return np.maximum(z, 0), np.ones((), z.dtype)


class HingeEmbeddingLoss(InputTargetLoss, ElementwiseLoss):
    r"""Distances of similar pairs (target 1) and how far those of dissimilar ones (-1) are below a margin.

    .. math::
        \ell(x, t) = \begin{cases} x & t = 1 \\ \max(0, m - x) & t = -1 \end{cases}, \qquad
        \partial_x \ell = \begin{cases} 1 & t = 1 \\ -[x \le m] & t = -1 \end{cases}

    Parameters
    ----------
    margin : float
        The margin m; any number.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input``, distances, and ``target``, 1 or -1; one may broadcast to the other. Any other target takes both
    terms, as PyTorch does. No derivative by the target. The derivative at the kink is that of :math:`m - x`. A NaN
    gives a NaN value and gradient (PyTorch's gradient is 0). Curvatures: exact (0), psd, unit.

    Accuracy: value and gradient within 1 ULP.
    """

    kernel = "hinge_embedding"
    function = "hinge_embedding_loss"
    meaning: ClassVar = {"target": "signs"}
    differentiable = ("input",)
    curved = ("input",)
    kernel_parameters = ("margin",)

    margin: float = number(default=1.0)

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        margin = input.dtype.type(self.margin)
        similar, dissimilar, both = input, np.maximum(margin - input, 0), np.maximum(input, margin)
        loss = np.where(target == 1, similar, np.where(target == -1, dissimilar, both))
        return np.where(np.isnan(target), target, loss), np.ones((), loss.dtype)


class MultiMarginLoss(InputTargetLoss, RowwiseLoss):
    r"""Multi-class hinge loss: the score of the label should be above every other one by a margin.

    .. math::
        \ell(x, y) = \frac{w_y}{C} \sum_{c \ne y} \max(0, z_c)^p, \quad z_c = m - x_y + x_c, \qquad
        \partial_{x_c} \ell = \frac{w_y}{C}\,p\,z_c^{p - 1}\,[z_c > 0], \quad
        \partial_{x_y} \ell = -\sum_{c \ne y} \partial_{x_c} \ell

    Parameters
    ----------
    p : float
        The exponent, 1 or 2.
    margin : float
        The margin m; any number.
    weight : array_like, optional
        One weight per class; that of the label multiplies the loss. Does not enter the denominator of a mean.
    reduction : {"mean", "sum", "none"}
        The mean is over the rows.

    Raises
    ------
    IndexError
        If a label is outside of [0, C); none is ignored.
    TypeError
        If the labels are not integers.
    ValueError
        If ``input`` has more than two axes or no class.

    Notes
    -----
    Arrays: ``input``, scores of shape (N, C), (C,) or (), and ``target``, class indices of shape (N,), () or (1,) in
    any integer dtype. The divisor C counts the label's class. A hinge exactly at its kink counts nothing, in the value
    and in every derivative. A NaN score makes the value and the gradient of its row NaN (PyTorch drops it); a
    difference of two equal infinities counts nothing, as in PyTorch. The mean of no rows is NaN, their sum 0.
    Curvatures: exact (0 for p = 1; for p = 2 :math:`2 w_y / C` for every class with :math:`z_c > 0`, and their sum at
    the label), psd, majorizer (p = 2 only, the same as exact, so for steps that leave the set of violations alone),
    unit.

    Accuracy: gradient within 4 ULP of the greatest :math:`z_c`'s share, value within 4 ULP where no :math:`z_c`
    cancels.

    References
    ----------
    .. [1] J. Weston and C. Watkins, "Support vector machines for multi-class pattern recognition", ESANN 1999.
    .. [2] K. Crammer and Y. Singer, "On the algorithmic implementation of multiclass kernel-based vector machines",
       JMLR 2 (2001), :doi:`10.1162/15324430260185628` (the greatest hinge instead of their sum).
    """

    kernel = "multi_margin"
    function = "multi_margin_loss"
    meaning: ClassVar = {"input": "scores", "target": "labels"}
    curvatures = ("exact", "psd", "majorizer", "unit")
    kernel_parameters = ("p", "margin")
    multiplier = "weight"
    trailing_axes = False

    p: float = number(default=1.0, domain=OneOf((1.0, 2.0)))
    margin: float = number(default=1.0)
    weight: ArrayLike | None = array(default=None, ndim=1)

    def _bind(self) -> None:
        super()._bind()
        if self.p == 1:  # the hinge has no quadratic above it that touches it at its kink
            object.__setattr__(self, "curvatures", ("exact", "psd", "unit"))

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        rows, given = self._rows(input, target)
        labels = _arrays.as_labels(given, "target")[..., np.newaxis]
        with np.errstate(invalid="ignore"):
            z = rows.dtype.type(self.margin) - np.take_along_axis(rows, labels, -1) + rows
        terms = np.where(z > 0, z**self.p, 0)
        np.put_along_axis(terms, labels, 0, -1)
        loss = terms.sum(-1) / np.asarray(rows.shape[-1], rows.dtype)
        if self.weight is not None:
            loss = loss * np.asarray(self.weight).astype(rows.dtype)[labels[..., 0]]
        return np.where(np.isnan(rows).any(-1), np.nan, loss), np.ones((), rows.dtype)


class MultiLabelMarginLoss(InputTargetLoss, RowwiseLoss):
    r"""Multi-class multi-label hinge loss: the scores of a row's labels should be above all others by a margin of 1.

    .. math::
        \ell(x, y) = \frac1C \sum_{j \in y} \sum_{c \notin y} \max(0, z_{jc}), \quad z_{jc} = 1 - x_j + x_c, \qquad
        \partial_{x_c} \ell = \frac1C \sum_{j \in y} [z_{jc} > 0], \quad
        \partial_{x_j} \ell = -\frac1C \sum_{c \notin y} [z_{jc} > 0]

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean is over the rows.

    Raises
    ------
    IndexError
        If an entry of ``target``, also one behind the end of its list, is outside of [-1, C).
    TypeError
        If the labels are not integers.
    ValueError
        If the shapes differ, or ``input`` has more than two axes or no class.

    Notes
    -----
    Arrays: ``input``, scores of shape (N, C) or (C,), and ``target`` of the same shape in any integer dtype, which
    holds the labels of each row before the first -1 of the row. A label that is listed twice counts twice; a row
    without labels has the loss 0. A hinge exactly at its kink counts nothing. A NaN score makes the value and the
    gradient of its row NaN (PyTorch drops it); a difference of two equal infinities counts nothing, as in PyTorch. The
    mean of no rows is NaN, their sum 0. Curvatures: exact (0), psd, unit.

    Accuracy: gradient within 2 ULP, value within 4 ULP where no :math:`z_{jc}` cancels.
    """

    kernel = "multilabel_margin"
    function = "multilabel_margin_loss"
    takes_label_lists = True
    trailing_axes = False

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        rows, given = self._rows(input, target)
        labels = _arrays.as_labels(given, "target")
        listed = np.logical_and.accumulate(labels >= 0, axis=-1)
        classes = rows.shape[-1]
        other = np.ones(rows.shape, bool)
        for place in range(classes):
            other &= ~(listed[..., place, np.newaxis] & (labels[..., place, np.newaxis] == np.arange(classes)))
        loss = np.zeros(rows.shape[:-1], rows.dtype)
        for place in range(listed.sum(-1).max(initial=0)):
            label, counts = labels[..., place, np.newaxis], listed[..., place, np.newaxis]
            with np.errstate(invalid="ignore"):
                z = 1 - np.take_along_axis(rows, np.where(counts, label, 0), -1) + rows
            loss = loss + np.where(counts & other & (z > 0), z, 0).sum(-1)
        loss = loss / np.asarray(classes, rows.dtype)
        return np.where(np.isnan(rows).any(-1), np.nan, loss), np.ones((), rows.dtype)
