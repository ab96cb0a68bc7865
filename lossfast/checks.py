"""Checks of a loss and of what it is given: finite differences, a diagnosis, and gradients held in bounds."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast import _arrays
from lossfast._arguments import leaves
from lossfast._diagnosis import diagnose
from lossfast._drivers.runtime import readable
from lossfast._finite_differences import check_grad
from lossfast._norms import joint_norm, norm

if TYPE_CHECKING:
    from lossfast._arrays import Array

__all__ = ["check_grad", "clip_grad_norm", "clip_grad_value", "diagnose"]


def clip_grad_norm(grads: Any, max_norm: float, *, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> float:
    """Scale gradients down, in place, until the norm of all of them together is at most `max_norm`.

    .. math:: g \\leftarrow g \\cdot \\min\\left(1, \\frac{c}{\\lVert g \\rVert + 10^{-6}}\\right)

    Parameters
    ----------
    grads : ndarray, or a list, tuple or dict of them, also nested
        Gradients of floating dtypes; None stands for one that there is not.
    max_norm : float
        The greatest norm c, not negative.
    norm_type : float
        The p of the norm: positive, or infinity for the greatest absolute value.
    error_if_nonfinite : bool
        Raise where the norm is infinite or NaN.

    Returns
    -------
    float
        The norm before clipping, formed in float64 and without overflow.

    Raises
    ------
    ValueError
        If an array is read-only or shares memory with another or itself, or if the norm is not finite and
        `error_if_nonfinite` asks; nothing is written then.
    TypeError
        If something is not an array of a floating dtype.

    Notes
    -----
    As `torch.nn.utils.clip_grad_norm_`, the 1e-6 included, but for a norm that is not finite: there the gradients stay
    as they are, where PyTorch makes them NaN or 0. No scaling mends them: look at the norm, and skip the step.
    """
    limit = _checked_number("max_norm", max_norm, 0.0)
    power = _checked_number("norm_type", norm_type, 0.0)
    if power == 0:
        raise ValueError("norm_type = 0 is outside (0, inf]")
    arrays = _writable(grads)
    total = joint_norm([norm(array, power) for array in arrays], power)
    if not math.isfinite(total):
        if error_if_nonfinite:
            raise ValueError(f"the norm of the gradients is {total}: lossfast.diagnose says where they are not finite")
        return total
    factor = limit / (total + 1e-6)
    if factor < 1:
        for array in arrays:
            # in float64 where the dtype would round the factor itself
            exact = array.dtype.itemsize < 4 or factor < np.finfo(np.float32).smallest_normal
            with np.errstate(under="ignore"):
                np.multiply(array, np.float64(factor) if exact else factor, out=array, casting="same_kind")
    return total


def clip_grad_value(grads: Any, limit: float) -> None:
    """Hold every element of gradients in [-limit, limit], in place; NaN stays.

    Parameters
    ----------
    grads : ndarray, or a list, tuple or dict of them, also nested
        Gradients of floating dtypes; None stands for one that there is not.
    limit : float
        The greatest absolute value, not negative.

    Raises
    ------
    ValueError
        If an array is read-only or shares memory with another or itself; nothing is written then.
    TypeError
        If something is not an array of a floating dtype.
    """
    bound = _checked_number("limit", limit, 0.0)
    for array in _writable(grads):
        with np.errstate(over="ignore"):
            high = array.dtype.type(bound)
        if float(high) > bound:  # rounded up
            high = np.nextafter(high, array.dtype.type(0))
        np.minimum(array, high, out=array)
        np.maximum(array, -high, out=array)


def _checked_number(name: str, value: Any, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected a real number")
    real = _arrays.as_float(value, name)
    if not real >= low:
        raise ValueError(f"{name} = {value} is outside [{low:g}, inf]")
    return real


def _writable(grads: Any) -> list[Array]:
    """The arrays, every one of them fit to be changed in place."""
    named = list(leaves(grads, "grads"))
    for name, array in named:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} is of type {type(array).__name__}; expected a NumPy array, changed in place")
        _arrays.refuse_mask(array, name)
        real = readable(array.dtype) or array.dtype.newbyteorder("=") == np.longdouble
        if array.dtype.kind in "biu" or not real:
            raise TypeError(f"{name} has dtype {array.dtype}; expected floating-point numbers")
        _arrays.checked_out(array.view(np.ndarray), name, array.shape, array.dtype.newbyteorder("="))
    by_start = sorted(((*_extent(array), name, array) for name, array in named if array.size), key=lambda a: a[:2])
    for index, (_, end, name, array) in enumerate(by_start):
        for start, _, other_name, other in by_start[index + 1 :]:
            if start >= end:
                break
            if _arrays.overlap(array, other):
                raise ValueError(f"{name} and {other_name} share memory, which would be changed twice")
    return [array for _, array in named]


def _extent(array: Array) -> tuple[int, int]:
    """The addresses that an array lies between."""
    start = array.__array_interface__["data"][0]
    spans = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
    return start + sum(s for s in spans if s < 0), start + sum(s for s in spans if s > 0) + array.itemsize
