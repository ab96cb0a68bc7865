"""Focal losses: cross entropies that attend to what is not known yet."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import special

from lossfast import _arrays
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, array, choice, integer, number
from lossfast._rowwise import RowwiseLoss
from lossfast._signatures import InputTargetLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array


__all__ = ["SigmoidFocalLoss", "SoftmaxFocalLoss"]


class SigmoidFocalLoss(InputTargetLoss, ElementwiseLoss):
    r"""Focal loss of logits: binary cross entropy times a power of the probability of the other label.

    .. math::
        \ell(x, t) = a\,u^\gamma H, \qquad H = (1 - t) \log(1 + e^x) + t \log(1 + e^{-x}), \qquad
        u = p\,(1 - t) + (1 - p)\,t, \qquad p = \sigma(x)

        \partial_x \ell = a\,[u^\gamma (p - t) + \gamma\,u^{\gamma - 1} p\,(1 - p)(1 - 2 t) H]

        \partial_t \ell = a'\,u^\gamma H + a\,[\gamma\,u^{\gamma - 1} (1 - 2 p) H - u^\gamma x]

    The weight a of positive and negative labels is :math:`\alpha t + (1 - \alpha)(1 - t)`, with :math:`a' = 2 \alpha -
    1`, or the constant :math:`\alpha`.

    Parameters
    ----------
    alpha : float or None
        The weight of positive labels, in [0, 1]. None, or torchvision's -1: no weights, a is 1.
    gamma : float
        How much less the likely labels count; not negative, and 0 is the weighted binary cross entropy.
    alpha_mode : {"balanced", "constant"}
        Whether negative labels weigh :math:`1 - \alpha`, as published, or :math:`\alpha` too.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements (torchvision's default is ``"none"``).

    Raises
    ------
    ValueError
        If the shapes of ``input`` and ``target`` differ.

    Notes
    -----
    Arrays: ``input``, any logits, and ``target`` of one shape; targets are usually in [0, 1], soft ones too, but not
    held to it: outside u may be negative, and its power NaN where ``gamma`` is no integer. Value and derivatives are
    finite for every finite logit and every ``gamma``; infinite logits take the limit, where PyTorch gives NaN.
    Curvatures: exact (the derivative of the gradient, negative where the loss is concave), psd, unit; by ``input``
    alone.

    Accuracy: value and gradient within :math:`4 + \gamma` ULP for targets 0 and 1, within :math:`4 + 2 \gamma (1 +
    |\log u|)` ULP of the greatest term for soft ones, because a power multiplies the rounding of its base.

    References
    ----------
    .. [1] T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017, :doi:`10.1109/ICCV.2017.324`.
    """

    kernel = "sigmoid_focal"
    function = "sigmoid_focal_loss"
    meaning: ClassVar = {"input": "binary logits", "target": "shares"}
    curved = ("input",)
    broadcasts = False

    alpha: float | None = number(default=0.25, domain=Interval(0.0, 1.0), optional=True)
    gamma: float = number(default=2.0, domain=Interval(0.0, math.inf, high_inclusive=False))
    alpha_mode: str = choice(default="balanced", among=("balanced", "constant"))

    def __post_init__(self) -> None:
        if isinstance(self.alpha, numbers.Real) and self.alpha == -1:
            object.__setattr__(self, "alpha", None)
        super().__post_init__()

    def _class_weights(self) -> tuple[float, float]:
        """Of positive and of negative labels."""
        if self.alpha is None:
            return 1.0, 1.0
        return self.alpha, 1.0 - self.alpha if self.alpha_mode == "balanced" else self.alpha

    def _kernel_name(self) -> str:
        return "sigmoid_focal_2" if self.gamma == 2 else self.kernel

    def _kernel_parameters(self) -> tuple[float, ...]:
        if self.gamma == 2:
            return self._class_weights()
        sign = math.nan if self.gamma % 1 else 1.0 - 2.0 * (self.gamma % 2)
        return (*self._class_weights(), self.gamma, sign)

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        positive, negative = self._class_weights()
        zero = np.zeros((), input.dtype)
        softplus, softplus_neg = np.logaddexp(zero, input), np.logaddexp(zero, -input)
        with np.errstate(invalid="ignore", divide="ignore"):
            # a term of weight 0 is absent, also where its logarithm is infinite
            entropy = np.where(target == 1, 0, (1 - target) * softplus)
            entropy = entropy + np.where(target == 0, 0, target * softplus_neg)
            other = (1 - target) * np.exp(-softplus_neg) + target * np.exp(-softplus)
            weight = (positive * target + negative * (1 - target)) * other**self.gamma
            return np.where(weight == 0, 0, weight * entropy), np.ones((), input.dtype)


class SoftmaxFocalLoss(InputTargetLoss, RowwiseLoss):
    r"""Cross entropy of logits that counts a class the less, the more probable it is already.

    .. math::
        \ell(x) = -\sum_c a_c (1 - p_c)^\gamma \log p_c, \quad p = \operatorname{softmax}(x), \quad
        a_c = \alpha_c \left[(1 - \epsilon)\,t_c + \frac{\epsilon}{C}\right], \qquad
        \partial_{x_k} \ell = p_k \sum_c a_c s_c - a_k s_k, \quad
        s = (1 - p)^\gamma - \gamma\,p\,(1 - p)^{\gamma - 1} \log p

    With labels, :math:`t_c = [c = y]`: the loss is :math:`-\alpha_y (1 - p_y)^\gamma \log p_y`.

    Parameters
    ----------
    alpha : float or array_like, optional
        A factor for all classes, or one per class. Does not enter the denominator of a mean.
    gamma : float
        The focusing exponent :math:`\gamma \ge 0`; 0 is the cross entropy.
    ignore_index : int
        A label that counts nothing; it need not be a class.
    label_smoothing : float
        The share :math:`\epsilon` of the target that is spread over all classes, in [0, 1].
    reduction : {"mean", "sum", "none"}
        The mean is over the rows that count, whatever their :math:`\alpha`; NaN, with a gradient of zeros, if none
        does.

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
    of ``input``, by which there is a gradient too. Infinities and NaN are treated as `CrossEntropyLoss` does; a class
    whose factor is 0 counts nothing, also where its probability is 0. No power below :math:`\gamma` is taken of
    :math:`1 - p`, so that value and derivatives are finite for finite logits, also for :math:`\gamma < 1`. Curvatures:
    exact (which may be negative: the loss is not convex), psd, unit.

    Accuracy: as the label's probability goes to 1, value and gradient keep their relative accuracy, but for
    :math:`\gamma\,|\log(1 - p_y)|` ULP of the power where :math:`\gamma \ne 2`.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollár, "Focal loss for dense object detection", ICCV 2017,
       :doi:`10.1109/ICCV.2017.324`.
    """

    kernel = "softmax_focal"
    function = "softmax_focal_loss"
    meaning: ClassVar = {"input": "logits", "target": "labels"}
    differentiable = ("input", "target")
    takes_probabilities = True
    multiplier = "alpha"

    alpha: ArrayLike | None = array(default=None, ndim=1, or_number=True)
    gamma: float = number(default=2.0, domain=Interval(0.0, high_inclusive=False))
    ignore_index: int = integer(default=-100)
    label_smoothing: float = number(default=0.0, domain=Interval(0.0, 1.0))

    def _kernel_parameters(self) -> tuple[float, ...]:
        return self.label_smoothing, self.gamma, self.alpha if isinstance(self.alpha, float) else 1.0

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        axis = min(1, input.ndim - 1)
        log_p = np.moveaxis(special.log_softmax(input, axis=axis), axis, -1)
        classes, kept = log_p.shape[-1], np.ones(log_p.shape[:-1], bool)
        if target.shape == input.shape:
            targets = np.moveaxis(target, axis, -1)
        else:
            labels = _arrays.as_labels(target, "target")
            kept = labels != self.ignore_index
            targets = (labels[..., np.newaxis] == np.arange(classes)).astype(log_p.dtype)
        mass = targets * (1 - self.label_smoothing) + np.asarray(self.label_smoothing / classes, log_p.dtype)
        if self.alpha is not None:
            mass = mass * np.asarray(self.alpha).astype(log_p.dtype)
        with np.errstate(invalid="ignore"):
            terms = np.where(mass == 0, 0, mass * (-np.expm1(log_p)) ** self.gamma * -log_p)
        return np.where(kept, terms.sum(-1), 0), kept.astype(log_p.dtype)
