"""From whatever the caller has to NumPy arrays, and the checks that name an argument, its value and the mend."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from lossfast._drivers.runtime import apart, identical, readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def as_array(value: ArrayLike, name: str) -> Array:
    """`value` as an array of real numbers, without a copy where it is one already."""
    if type(value) is not np.ndarray:
        refuse_mask(value, name)
        try:
            exchanged: Any = value
            if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
                exchanged = np.from_dlpack(exchanged)
            value = np.asarray(exchanged)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            raise TypeError(f"{name} of type {type(value).__name__} cannot be read as an array: {error}") from error
    if not readable(value.dtype) and value.dtype.newbyteorder("=") != np.longdouble:
        raise TypeError(f"{name} has dtype {value.dtype}; expected real numbers: convert it with astype(np.float64)")
    return value


def refuse_mask(value: object, name: str) -> None:
    """Refuse a masked array."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost: fill it, and give what is masked the sample_weight 0"
        )


def as_arrays(values: Sequence[ArrayLike], names: Sequence[str]) -> dict[str, Array]:
    """The same of several, by their names."""
    return {name: as_array(values[place], name) for place, name in enumerate(names)}


def as_operand(value: ArrayLike, name: str) -> Array:
    """As `as_array`, in a dtype that the kernels read; only exotic ones (long double) are converted."""
    array = as_array(value, name)
    if readable(array.dtype):
        return array
    with np.errstate(all="ignore"):  # what is beyond float64 is infinite
        return array.astype(np.float64)


def as_operands(arrays: dict[str, Array]) -> dict[str, Array]:
    """The same of arrays."""
    for array in arrays.values():
        if array.dtype.itemsize > 8:  # a long double: as_array refuses what else is not read
            return {name: as_operand(a, name) for name, a in arrays.items()}
    return arrays


def as_labels(value: ArrayLike, name: str) -> Array:
    """Class indices: any integer dtype."""
    array = as_array(value, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}; expected integer class indices: use {name}.astype(np.int64)")
    return array


def as_float(value: Any, name: str) -> float:
    """A real number of any type; Python's integers may be too great."""
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name} is greater than every float64; expected a number that is not") from error


def item_size(predictions: Sequence[Array]) -> int:
    """Bytes of the precision to compute in: float64 as soon as one prediction is float64, an integer or a bool."""
    for prediction in predictions:
        dtype = prediction.dtype
        if dtype.itemsize >= 8 or dtype.kind in "biu":
            return 8
    return 4


def gradient_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A floating argument's own dtype, float64 for the rest."""
    if dtype.kind in "biu":
        return FLOAT64
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def broadcast_shape(*shapes: Shape) -> Shape | None:
    """The shape that these broadcast to; None if they do not, or have more axes than NumPy broadcasts."""
    try:
        return np.broadcast_shapes(*shapes)
    except (ValueError, RuntimeError):
        return None


def joint_shape(arrays: dict[str, Array]) -> Shape:
    """The shape that the arrays broadcast to, which has to be one of theirs."""
    shapes: list[Shape] = [array.shape for array in arrays.values()]
    lead = shapes[0]
    if shapes.count(lead) == len(shapes):
        return lead
    joint = broadcast_shape(*shapes)
    if joint is not None and joint in shapes:
        return joint
    first, *_ = arrays
    culprit, shape = next((name, array.shape) for name, array in arrays.items() if array.shape != lead)
    raise ValueError(f"{culprit} has shape {shape}; expected {lead}, that of {first}{_mend(culprit, shape, lead)}")


def same_shape(name: str, shape: Shape, expected: Shape, of: str) -> None:
    """Refuse a shape other than the expected one."""
    if shape != expected:
        raise ValueError(f"{name} has shape {shape}; expected {expected}, {of}{_mend(name, shape, expected)}")


def _mend(name: str, shape: Shape, expected: Shape) -> str:
    """What to write instead, where a shape is off by axes of length 1 alone."""
    if math.prod(shape) != math.prod(expected):
        return ""
    extra = [axis for axis in range(len(shape)) if shape[axis] == 1 and shape[:axis] + shape[axis + 1 :] == expected]
    if extra:
        return f": use {name}.squeeze({extra[-1]})"
    return f": use {name}.reshape({expected})"


def broadcastable(array: Array, name: str, shape: Shape) -> Array:
    """Refuse what does not broadcast to `shape` without growing it."""
    if array.shape != shape and broadcast_shape(array.shape, shape) != shape:
        raise ValueError(
            f"{name} has shape {array.shape}; expected one that broadcasts to {shape}, the shape of the unreduced "
            f"loss{_mend(name, array.shape, shape)}"
        )
    return array


def checked_out(out: Any, name: str, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """A result array of the caller's, which must fit as it is."""
    if type(out) is not np.ndarray:
        raise TypeError(
            f"{name} is of type {type(out).__name__}; expected a NumPy array of shape {shape} and dtype {dtype}"
        )
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}; expected {shape}")
    if out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}; expected {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only; expected an array that can be written")
    if out.size and not _own_elements(out):
        raise ValueError(f"{name} is a view whose elements share memory; expected an array of its own")
    return out


def _own_elements(array: Array) -> bool:
    """Whether every step along an axis leads behind all that lies between the elements of the shorter steps."""
    reach = array.itemsize
    for step, length in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if length > 1:
            if step < reach:
                return False
            reach += step * (length - 1)
    return True


def overlap(a: Array, b: Array) -> bool:
    """Whether two arrays share a byte; as good as yes where that takes long to find out."""
    if not a.size or not b.size or apart(a, b):
        return False
    effort: Any = 10_000
    try:
        return np.shares_memory(a, b, max_work=effort)
    except np.exceptions.TooHardError:
        return True


@overload
def separated(array: Array, outs: Sequence[Array], *, elementwise: bool = False) -> Array: ...
@overload
def separated(array: Array | None, outs: Sequence[Array], *, elementwise: bool = False) -> Array | None: ...
def separated(array: Array | None, outs: Sequence[Array], *, elementwise: bool = False) -> Array | None:
    """`array`, or a copy of it where a result would be written over what is still to be read.

    An elementwise result may replace the very array that it comes from, memory cell by memory cell.
    """
    if array is None:
        return None
    for out in outs:
        if not (elementwise and identical(out, array)) and overlap(out, array):
            return array.copy()
    return array


def refuse_overlap(outs: Sequence[Array]) -> None:
    """Two results cannot share memory."""
    for index, out in enumerate(outs):
        for other in outs[:index]:
            if overlap(out, other):
                raise ValueError("two arrays of out share memory; expected one array for each result")


def refuse_outside(name: str, array: Array, low: float, high: float, hint: str) -> None:
    """Raise with the first element outside of [low, high]; NaN is inside."""
    with np.errstate(all="ignore"):
        values = np.asarray(array, dtype=np.float64)
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
        raise ValueError(f"{locate(name, array, outside[0])} is outside [{low:g}, {high:g}]{hint}")


def axis_index(axis: int, ndim: int) -> int:
    """An axis counted from the front; NumPy has this function in other places from version to version."""
    try:
        index = operator.index(axis)
    except TypeError as error:
        raise TypeError(f"axis = {axis!r}: expected an integer") from error
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(index, ndim)
    return index % ndim


def locate(name: str, array: Array, flat: int) -> str:
    """`name[i, j] = value` for the element at a flat index in C order."""
    index = np.unravel_index(flat, array.shape)
    where = f"[{', '.join(str(int(i)) for i in index)}]" if array.ndim else ""
    return f"{name}{where} = {array[index]}"


def repeated_axes(arrays: Iterable[Array], shape: Shape) -> int:
    """How many of the last axes of a shape repeat an array that broadcasts to it; 0 if none is, or other axes are too.

    Of several such arrays the first counts.
    """
    for array in arrays:
        own = (1,) * (len(shape) - array.ndim) + array.shape
        if own != shape:
            kept = next(axis for axis, length in enumerate(shape) if own[axis] != length)
            return len(shape) - kept if math.prod(own[kept:]) == 1 else 0
    return 0


def sum_to(array: Array, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Sum over the axes along which an argument of `shape` was broadcast."""
    extra = array.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis for axis, length in enumerate(shape) if length == 1 and array.shape[extra + axis] != 1
    )
    wide = np.longdouble if dtype == np.longdouble else np.float64
    with np.errstate(all="ignore"):  # sums may be beyond the dtype
        return np.asarray(array.sum(axis=axes, dtype=wide)).reshape(shape).astype(dtype)
