"""Stable, threaded building blocks: the softmax family over an axis, the sigmoid and the softplus of every element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast import _arrays
from lossfast._drivers.elementwise import map_array
from lossfast._drivers.rowwise import Rowwise
from lossfast._drivers.runtime import empty_like

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array

__all__ = ["log_sigmoid", "log_softmax", "logsumexp", "sigmoid", "softmax", "softplus"]


def _result(original: Array, x: Array, out: Any) -> tuple[Array, Array]:
    """The input, apart from the result, and the array to write."""
    dtype = _arrays.gradient_dtype(original.dtype)
    if dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    if out is None:
        return x, empty_like(x, dtype)
    _arrays.checked_out(out, "out", x.shape, dtype)
    return _arrays.separated(x, [out], elementwise=True), out


def _map(name: str, input: ArrayLike, out: Any) -> Array:
    original = _arrays.as_array(input, "input")
    x, result = _result(original, _arrays.as_operand(original, "input"), out)
    if x.size:
        map_array(name, x, result, _arrays.item_size([x]))
    return result


def _over_axis(kernel: str, input: ArrayLike, axis: int, out: Any) -> Array:
    original = _arrays.as_array(input, "input")
    axis = _arrays.axis_index(axis, original.ndim)
    x, result = _result(original, _arrays.as_operand(original, "input"), out)
    if x.size:
        size = _arrays.item_size([x])
        Rowwise(kernel).run(x, axis, size, None, None, (), (), 1.0, -math.inf, 0, None, result, None, None)
    return result


def sigmoid(input: ArrayLike, *, out: Any = None) -> Array:
    r"""The logistic function of every element.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}, \qquad \sigma'(x) = \sigma(x)\,\sigma(-x)

    Parameters
    ----------
    input : array_like
        Any real numbers; integers compute in float64.
    out : ndarray, optional
        Where to put the result; may be ``input``.

    Returns
    -------
    ndarray
        Of the shape and the dtype of ``input``, float64 for integers.

    Notes
    -----
    It neither overflows nor loses digits where it is close to 0. NaN gives NaN.

    Accuracy: within 2 ULP.
    """
    return _map("sigmoid", input, out)


def log_sigmoid(input: ArrayLike, *, out: Any = None) -> Array:
    r"""The logarithm of the logistic function, of every element.

    .. math:: \log \sigma(x) = -\log(1 + e^{-x}), \qquad (\log \sigma)'(x) = \sigma(-x)

    Parameters
    ----------
    input : array_like
        Any real numbers; integers compute in float64.
    out : ndarray, optional
        Where to put the result; may be ``input``.

    Returns
    -------
    ndarray
        Of the shape and the dtype of ``input``, float64 for integers.

    Notes
    -----
    No intermediate result overflows: -inf gives -inf, +inf gives 0. NaN gives NaN.

    Accuracy: within 2 ULP.
    """
    return _map("log_sigmoid", input, out)


def softplus(input: ArrayLike, *, out: Any = None) -> Array:
    r"""The softplus of every element.

    .. math:: \operatorname{softplus}(x) = \log(1 + e^x), \qquad \operatorname{softplus}'(x) = \sigma(x)

    Parameters
    ----------
    input : array_like
        Any real numbers; integers compute in float64.
    out : ndarray, optional
        Where to put the result; may be ``input``.

    Returns
    -------
    ndarray
        Of the shape and the dtype of ``input``, float64 for integers.

    Notes
    -----
    No intermediate result overflows: -inf gives 0, +inf gives +inf. NaN gives NaN.

    Accuracy: within 2 ULP.
    """
    return _map("softplus", input, out)


def softmax(input: ArrayLike, *, axis: int = -1, out: Any = None) -> Array:
    r"""The softmax along an axis.

    .. math:: p_c = \frac{e^{x_c}}{\sum_k e^{x_k}}, \qquad \partial_{x_k} p_c = p_c\,([c = k] - p_k)

    Parameters
    ----------
    input : array_like
        Any real numbers; integers compute in float64. -inf has probability 0; +inf, NaN or nothing but -inf gives NaN.
    axis : int
        The axis of the classes.
    out : ndarray, optional
        Where to put the result; may be ``input``.

    Returns
    -------
    ndarray
        Of the shape and the dtype of ``input``, float64 for integers.

    Raises
    ------
    ValueError
        If there is no such axis.

    Notes
    -----
    Accuracy: within 4 ULP, and as many more as the numbers span, since differences from the greatest are rounded.
    """
    return _over_axis("softmax", input, axis, out)


def log_softmax(input: ArrayLike, *, axis: int = -1, out: Any = None) -> Array:
    r"""The logarithm of the softmax along an axis.

    .. math:: \log p_c = x_c - \log \sum_k e^{x_k}, \qquad \partial_{x_k} \log p_c = [c = k] - p_k

    Parameters
    ----------
    input : array_like
        Any real numbers; integers compute in float64. -inf has probability 0; +inf, NaN or nothing but -inf gives NaN.
    axis : int
        The axis of the classes.
    out : ndarray, optional
        Where to put the result; may be ``input``.

    Returns
    -------
    ndarray
        Of the shape and the dtype of ``input``, float64 for integers.

    Raises
    ------
    ValueError
        If there is no such axis.

    Notes
    -----
    Where a probability is close to 1 its logarithm keeps its digits.

    Accuracy: within 4 ULP of the greater term of the difference.
    """
    return _over_axis("log_softmax", input, axis, out)


def logsumexp(input: ArrayLike, *, axis: int | None = -1, keepdims: bool = False, out: Any = None) -> Any:
    r"""The logarithm of the sum of exponentials along an axis, or of all elements.

    .. math:: \operatorname{logsumexp}(x) = \log \sum_k e^{x_k}, \qquad \partial_{x_k} \operatorname{logsumexp} = p_k

    with the softmax p.

    Parameters
    ----------
    input : array_like
        Any real numbers; integers compute in float64. Nothing but -inf, or nothing at all, gives -inf; +inf gives +inf.
    axis : int or None
        The axis to sum over; None sums over all elements.
    keepdims : bool
        Keep that axis, with length 1.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray or float
        Of the shape of ``input`` without the axis, or with length 1 there; a number where no axis is left.

    Raises
    ------
    TypeError
        If ``axis`` is no integer.
    ValueError
        If there is no such axis.

    Notes
    -----
    Accuracy: within 8 ULP of the greater of the result and half the greatest input.
    """
    original = _arrays.as_array(input, "input")
    x = _arrays.as_operand(original, "input")
    kept = (1,) * x.ndim
    if axis is not None and not isinstance(axis, int | np.integer):
        raise TypeError(f"axis = {axis!r}: expected an integer, or None for all elements")
    if axis is None:
        x, axis = x.reshape(-1), 0
    else:
        axis = _arrays.axis_index(axis, x.ndim)
        kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    rows = x.shape[:axis] + x.shape[axis + 1 :]
    shape, dtype = (kept if keepdims else rows), _arrays.gradient_dtype(x.dtype)
    result = np.empty(shape, dtype) if out is None else _arrays.checked_out(out, "out", shape, dtype)
    if out is not None:
        x = _arrays.separated(x, [out])
    flat = np.empty(rows, dtype) if keepdims else result
    if x.size:
        size = _arrays.item_size([x])
        Rowwise("logsumexp").run(x, axis, size, None, None, (), (), 1.0, -math.inf, 0, flat, None, None, None)
    else:
        flat[...] = -math.inf
    if keepdims:
        result[...] = flat.reshape(shape)
    return result if result.ndim or out is not None else result[()]
