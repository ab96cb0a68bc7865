"""Margin losses: how far a score keeps from the wrong side of its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import array, number
from lossfast._signatures import InputPairTargetLoss, InputTargetLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array


__all__ = ["HingeEmbeddingLoss", "MarginRankingLoss", "MultiLabelSoftMarginLoss", "SoftMarginLoss"]


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
    differentiable = ("input",)
    curved = ("input",)
    curvatures = ("exact", "psd", "fisher", "majorizer", "unit")

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        loss = np.logaddexp(0, -target * input)
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
