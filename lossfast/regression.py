"""Regression: losses of the difference between a prediction and a target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, array, number
from lossfast._signatures import InputTargetLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array


__all__ = ["HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss", "TukeyBiweightLoss"]


class _WeightedRegressionLoss(InputTargetLoss, ElementwiseLoss):
    """With PyTorch's functional ``weight``, one per element of the input."""

    differentiable = ("input", "target", "weight")
    multiplier = "weight"
    multiplier_broadcasts = False

    weight: ArrayLike | None = array(default=None)


class MSELoss(_WeightedRegressionLoss):
    r"""Squared error.

    .. math:: \ell(x, t) = w\,(x - t)^2, \qquad \partial_x \ell = 2 w\,(x - t), \qquad \partial_x^2 \ell = 2 w

    Parameters
    ----------
    weight : array_like, optional
        One weight per element, of the shape of ``input``; a mean is divided by their sum.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other. No factor ½. A NaN gives a NaN
    value and a NaN gradient at its element; an infinite difference gives an infinite value and gradient. Curvatures:
    exact, psd, fisher, majorizer (all 2), unit.

    Accuracy: value and gradient within 4 ULP.
    """

    kernel = "mse"
    function = "mse_loss"
    curvatures = ("exact", "psd", "fisher", "majorizer", "unit")
    multiplier_in_mean = True

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        return self._weighted((input - target) ** 2)


class L1Loss(_WeightedRegressionLoss):
    r"""Absolute error.

    .. math:: \ell(x, t) = w\,|x - t|, \; \partial_x \ell = w\,\operatorname{sign}(x - t), \; \partial_x^2 \ell = 0

    Parameters
    ----------
    weight : array_like, optional
        One weight per element, of the shape of ``input``; a mean is divided by their sum.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other. The derivative at the kink is 0. A
    NaN gives a NaN value and a NaN gradient (PyTorch's gradient is 0 there); an infinite difference gives ±1.
    Curvatures: exact (0), psd, majorizer (:math:`1 / \max(|x - t|, \epsilon)`, the weight of iteratively reweighted
    least squares), unit.

    Accuracy: value and gradient within 1 ULP.
    """

    kernel = "l1"
    function = "l1_loss"
    curvatures = ("exact", "psd", "majorizer", "unit")
    multiplier_in_mean = True

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        return self._weighted(np.abs(input - target))


class HuberLoss(_WeightedRegressionLoss):
    r"""Huber's loss: quadratic near zero, linear beyond ``delta``.

    .. math::
        \ell(x, t) = w \begin{cases}
            \tfrac12 d^2 & |d| < \delta \\ \delta\,(|d| - \tfrac12 \delta) & \text{else}
        \end{cases},
        \qquad \partial_x \ell = w \operatorname{clip}(d, -\delta, \delta), \qquad d = x - t

    Parameters
    ----------
    delta : float
        Where the loss turns linear; positive.
    weight : array_like, optional
        One weight per element, of the shape of ``input``; a mean is still divided by the number of elements, as
        PyTorch's is.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other. The second derivative at ``|d| =
    delta`` is that of the quadratic side, 1. A NaN gives a NaN value and gradient; an infinite difference gives an
    infinite value and a gradient of ``±delta``. Curvatures: exact, psd, majorizer (:math:`\min(1, \delta / |d|)`),
    unit.

    Accuracy: value and gradient within 4 ULP.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964),
       :doi:`10.1214/aoms/1177703732`.
    """

    kernel = "huber"
    function = "huber_loss"
    curvatures = ("exact", "psd", "majorizer", "unit")
    kernel_parameters = ("delta",)

    delta: float = number(default=1.0, domain=Interval(low=0.0, low_inclusive=False))

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        distance = np.abs(input - target)
        delta = distance.dtype.type(self.delta)
        quadratic, linear = distance * distance / 2, delta * (distance - delta / 2)
        return self._weighted(np.where(distance < delta, quadratic, linear))


class SmoothL1Loss(InputTargetLoss, ElementwiseLoss):
    r"""Huber's loss divided by ``beta``: the slope beyond ``beta`` is 1 whatever ``beta`` is.

    .. math::
        \ell(x, t) = \begin{cases} \tfrac12 d^2 / \beta & |d| < \beta \\ |d| - \tfrac12 \beta & \text{else} \end{cases},
        \quad \partial_x \ell = \begin{cases} d / \beta & |d| < \beta \\ \operatorname{sign} d & \text{else} \end{cases}

    Parameters
    ----------
    beta : float
        Where the loss turns linear; not negative, and 0 is the absolute error.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other. A NaN gives a NaN value and
    gradient, also with ``beta=0`` (PyTorch's gradient is 0 there); an infinite difference gives an infinite value and
    ±1. Curvatures: exact, psd, majorizer (:math:`\min(1 / \beta, 1 / |d|)`), unit.

    Accuracy: value and gradient within 4 ULP.

    References
    ----------
    .. [1] R. Girshick, "Fast R-CNN", ICCV 2015, :doi:`10.1109/ICCV.2015.169`.
    """

    kernel = "smooth_l1"
    function = "smooth_l1_loss"
    curvatures = ("exact", "psd", "majorizer", "unit")
    kernel_parameters = ("beta",)

    beta: float = number(default=1.0, domain=Interval(low=0.0))

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        distance = np.abs(input - target)
        beta = distance.dtype.type(self.beta)
        with np.errstate(divide="ignore", invalid="ignore"):
            quadratic = distance * (distance / beta) / 2
        return self._weighted(np.where(distance < beta, quadratic, distance - beta / 2))


class TukeyBiweightLoss(InputTargetLoss, ElementwiseLoss):
    r"""Tukey's biweight: quadratic near zero, constant beyond ``c``, so that far outliers have no influence.

    .. math::
        \ell(x, t) = \frac{c^2}{6} \begin{cases}
            1 - (1 - u)^3 & u \le 1 \\ 1 & \text{else}
        \end{cases},
        \qquad \partial_x \ell = \begin{cases} d\,(1 - u)^2 & u \le 1 \\ 0 & \text{else} \end{cases},
        \qquad d = x - t, \; u = d^2 / c^2

    Parameters
    ----------
    c : float
        Where the loss turns constant; positive. In units of the noise, 4.685 is 95 % as efficient as the squared error
        where the noise is normal.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other. A NaN gives a NaN value and gradient;
    an infinite difference gives :math:`c^2 / 6` and 0. Curvatures: exact (:math:`(1 - u)(1 - 5 u)`, negative from
    :math:`c / \sqrt 5` on, and 0 outside), psd, majorizer (:math:`(1 - u)^2`, the weight of iteratively reweighted
    least squares, and 0 outside), unit.

    Accuracy: value within 4 ULP; gradient within 4 ULP of the difference.

    References
    ----------
    .. [1] A. E. Beaton and J. W. Tukey, "The fitting of power series, meaning polynomials, illustrated on
       band-spectroscopic data", Technometrics 16 (1974), :doi:`10.1080/00401706.1974.10489171`.
    """

    kernel = "tukey_biweight"
    function = "tukey_biweight_loss"
    curvatures = ("exact", "psd", "majorizer", "unit")
    kernel_parameters = ("c",)

    c: float = number(default=4.685, domain=Interval(0.0, math.inf, low_inclusive=False, high_inclusive=False))

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        distance = np.abs(input - target)
        c = distance.dtype.type(self.c)
        u = np.minimum(distance / c, 1) ** 2  # np.minimum keeps NaN
        return c * c / 2 * (u * (1 - u * (1 - u / 3))), np.ones((), distance.dtype)
