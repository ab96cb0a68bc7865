"""Distribution losses: the divergence of two distributions, and the likelihoods of counts and of normal variables."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, flag, number
from lossfast._signatures import InputTargetLoss, InputTargetVarLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape
    from lossfast._loss import Request


__all__ = ["GaussianNLLLoss", "KLDivLoss", "PoissonNLLLoss"]


class KLDivLoss(InputTargetLoss, ElementwiseLoss):
    r"""Kullback-Leibler divergence of log-probabilities from the probabilities of a target, term by term.

    .. math:: \ell(x, t) = t\,(\log t - x), \qquad \partial_x \ell = -t, \qquad \partial_t \ell = \log t + 1 - x

    With ``log_target`` the target holds logarithms too:

    .. math:: \ell(x, t) = e^t (t - x), \qquad \partial_x \ell = -e^t, \qquad \partial_t \ell = e^t (t - x + 1)

    Parameters
    ----------
    log_target : bool
        Whether ``target`` holds log-probabilities.
    reduction : {"mean", "sum", "none", "batchmean"}
        The mean is over all elements of the broadcast loss. The divergence itself is ``"batchmean"``: the sum divided
        by the length of the first axis of the broadcast loss, or by the sum of the ``sample_weight`` of the batch. An
        array without axes is not divided.

    Notes
    -----
    Arrays: ``input``, log-probabilities, and ``target``, probabilities or their logarithms, of any shape; one may
    broadcast to the other. Neither is held to sum to 1. A probability of 0 counts nothing, also where the input is
    -inf, and its gradient by ``target`` is the limit, -inf or with ``log_target`` 0 (PyTorch gives NaN). Below 0 the
    value is NaN. Other infinities take the limit, a NaN gives a NaN value and gradient. Curvatures: exact (0; by
    ``target`` :math:`1 / t`, with ``log_target`` :math:`e^t (t - x + 2)`), psd, unit.

    Accuracy: value and gradient within 4 ULP of their greatest term.

    References
    ----------
    .. [1] S. Kullback and R. A. Leibler, "On information and sufficiency", Ann. Math. Statist. 22 (1951),
       :doi:`10.1214/aoms/1177729694`.
    """

    kernel = "kl_div"
    function = "kl_div"
    meaning: ClassVar = {"input": "log-probabilities", "target": "probabilities"}
    reductions = ("mean", "sum", "none", "batchmean")

    log_target: bool = flag(default=False)

    def _kernel_name(self) -> str:
        return "kl_div_log_target" if self.log_target else self.kernel

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mass, log_mass = (np.exp(target), target) if self.log_target else (target, np.log(target))
            loss = np.where((mass == 0) & ~np.isnan(input), 0, mass * (log_mass - input))
        return loss, np.ones((), loss.dtype)


class PoissonNLLLoss(InputTargetLoss, ElementwiseLoss):
    r"""Negative log likelihood of counts under a Poisson distribution, of the logarithm of its rate.

    .. math:: \ell(x, t) = e^x - t\,x + S(t), \qquad \partial_x \ell = e^x - t, \qquad \partial_t \ell = S'(t) - x

    Without ``log_input`` it is of the rate:

    .. math::
        \ell(x, t) = x - t \log(x + \epsilon) + S(t), \qquad \partial_x \ell = 1 - \frac{t}{x + \epsilon}, \qquad
        \partial_t \ell = S'(t) - \log(x + \epsilon)

    With ``full``, S is Stirling's formula for :math:`\log t!` where t > 1, else it is 0:

    .. math:: S(t) = t \log t - t + \tfrac12 \log(2 \pi t), \qquad S'(t) = \log t + \frac{1}{2 t}

    Parameters
    ----------
    log_input : bool
        Whether ``input`` holds logarithms of rates.
    full : bool
        Whether to add S, which does not depend on the input.
    eps : float
        Added to a rate before its logarithm is taken; not negative.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Notes
    -----
    Arrays: ``input``, log-rates or rates, and ``target``, counts, of any shape; one may broadcast to the other. Neither
    is held to its domain: below ``-eps`` a rate has the value NaN. The derivatives of S are 0 where S is (PyTorch's is
    NaN for t of 0 or less). Infinities take the limit, so a count of 0 at a log-rate of -inf has the loss 0 (PyTorch
    gives NaN); a NaN gives a NaN value and gradient. Curvatures: exact (:math:`e^x`, for rates :math:`t / (x +
    \epsilon)^2`; by ``target`` :math:`S''(t)`), psd, fisher (:math:`e^x`, for rates :math:`1 / (x + \epsilon)`; by
    ``target`` the exact one), unit.

    Accuracy: value and gradient within 4 ULP of their greatest term.
    """

    kernel = "poisson_nll"
    function = "poisson_nll_loss"
    curvatures = ("exact", "psd", "fisher", "unit")

    log_input: bool = flag(default=True)
    full: bool = flag(default=False)
    eps: float = number(default=1e-8, domain=Interval(low=0.0))

    def _kernel_name(self) -> str:
        return self.kernel + "_rate" * (not self.log_input) + "_full" * self.full

    def _kernel_parameters(self) -> tuple[float, ...]:
        return () if self.log_input else (self.eps,)

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rate, log_rate = (np.exp(input), input) if self.log_input else (input, np.log(input + self.eps))
            # no counts, no second term, also where the logarithm is infinite
            loss = rate - np.where((target == 0) & ~np.isnan(log_rate), 0, target * log_rate)
            if self.full:
                stirling = target * np.log(target) - target + np.log(2 * np.pi * target) / 2
                loss = loss + np.where(target > 1, stirling, 0)
        return loss, np.ones((), loss.dtype)


class GaussianNLLLoss(InputTargetVarLoss, ElementwiseLoss):
    r"""Negative log likelihood under a normal distribution, of its mean and its variance.

    .. math::
        \ell(x, t, \sigma^2) = \tfrac12 \left(\log v + \frac{d^2}{v}\right) + C, \qquad
        v = \max(\sigma^2, \epsilon), \quad d = x - t

        \partial_x \ell = \frac{d}{v}, \qquad \partial_t \ell = -\frac{d}{v}, \qquad
        \partial_{\sigma^2} \ell = \tfrac12 \left(\frac1v - \frac{d^2}{v^2}\right)

    With ``full`` the constant C is :math:`\tfrac12 \log 2 \pi`, else 0.

    Parameters
    ----------
    full : bool
        Whether to add the constant.
    eps : float
        The least variance that is computed with; not negative.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Raises
    ------
    ValueError
        If a variance is negative, or ``var`` has another shape.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other. ``var``, variances: of the shape of
    ``input``; of that without its last axis; of that with 1 for one of its axes; or a number. A number is a constant,
    and then gradients are by ``input`` alone by default; else they are by ``input`` and ``var``. The gradient by
    ``var`` has its shape and is that at v, below ``eps`` too, as PyTorch's. A NaN gives a NaN value and gradient;
    infinities take the limit. Curvatures: exact (:math:`1 / v`; by ``var`` :math:`d^2 / v^3 - 1 / (2 v^2)`), psd,
    fisher (:math:`1 / v`; by ``var`` :math:`1 / (2 v^2)`), unit.

    Accuracy: value and gradient within 4 ULP of their greatest term.

    References
    ----------
    .. [1] D. A. Nix and A. S. Weigend, "Estimating the mean and variance of the target probability distribution",
       ICNN 1994, :doi:`10.1109/ICNN.1994.374138`.
    """

    kernel = "gaussian_nll"
    function = "gaussian_nll_loss"
    differentiable = ("input", "target", "var")
    curved = ("input", "target", "var")
    curvatures = ("exact", "psd", "fisher", "unit")
    domains: ClassVar = {"var": Interval(low=0.0)}
    domain_hint = ": a variance is not negative; let the model predict its logarithm"
    kernel_parameters = ("eps", "full")
    takes_row_predictions = True
    _of_constant: ClassVar[Any] = None  # the kernel where the variance is a number; set by _bind

    full: bool = flag(default=False)
    eps: float = number(default=1e-6, domain=Interval(low=0.0))

    def _bind(self) -> None:
        super()._bind()
        object.__setattr__(self, "_of_constant", self._bound(("input",)))

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        input, target, var = arrays
        input = _arrays.as_array(input, "input")
        if isinstance(var, numbers.Real):  # a constant, in the precision of the input
            wrt = "input" if request.wrt is None else request.wrt
            if "var" in (wrt if isinstance(wrt, tuple | list) else (wrt,)):
                raise ValueError(f"wrt = {wrt!r}: var is a number, a constant: give an array to differentiate by it")
            with np.errstate(over="ignore"):  # in float32
                constant = np.asarray(_arrays.as_float(var, "var"), f"f{_arrays.item_size([input])}")
            request.wrt = wrt
            result = self._usual(self._of_constant.quick, (input, target, constant), request)
            return super()._evaluate((input, target, constant), request) if result is None else result
        var = _arrays.as_array(var, "var")
        laid_out = var.reshape(_var_shape(var.shape, input.shape))
        if laid_out.shape != var.shape:
            request.shown = {"var": var.shape}
        return super()._evaluate((input, target, laid_out), request)

    def definition(self, input: Array, target: Array, var: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        if var.ndim:  # else it broadcasts as it is
            var = var.reshape(_var_shape(var.shape, input.shape))
        v = np.maximum(var, self.eps)
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = (np.log(v) + (input - target) ** 2 / v) / 2
        if self.full:
            loss = loss + math.log(2 * math.pi) / 2
        return loss, np.ones((), loss.dtype)


def _var_shape(var: Shape, input: Shape) -> Shape:
    """The shape in which variances broadcast to the input; refuses what PyTorch does."""
    if var == input:
        return var
    if var == input[:-1]:
        return (*var, 1)
    if len(var) == len(input):
        differing = [length for length, expected in zip(var, input, strict=True) if length != expected]
        if differing == [1]:
            return var
    hint = f": use np.broadcast_to(var, {input})" if _arrays.broadcast_shape(var, input) == input else ""
    raise ValueError(
        f"var has shape {var}; expected {input}, that of input, or {input[:-1]}, or {input} with 1 for one length{hint}"
    )
