"""Matrices and rows on their way to products and to the linear driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast import _arrays
from lossfast._drivers.elementwise import map_array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lossfast._arrays import Array, Shape


def _fits(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether BLAS takes a matrix as it stands: native numbers side by side along one axis."""
    if array.dtype != dtype or not array.flags.aligned:
        return False
    return any(
        inner == dtype.itemsize and outer % inner == 0 and outer >= length * inner
        for inner, outer, length in (
            (array.strides[1], array.strides[0], array.shape[1]),
            (array.strides[0], array.strides[1], array.shape[0]),
        )
    )


def fitting(array: Array, dtype: np.dtype[Any]) -> Array:
    """A matrix for BLAS, copied where it has to be."""
    if _fits(array, dtype):
        return array
    copy = np.empty(array.shape, dtype)
    store(array, copy)
    return copy


def store(array: Array, out: Array) -> None:
    """Convert as the kernels do: where half precision is subnormal, NumPy takes 100 ns for an element."""
    if array.size:
        map_array("copy", array, out, _arrays.item_size([array, out]))


def per_row(arrays: Iterable[Array | None], shape: Shape) -> tuple[Array, ...]:
    """Those arrays that there are, with one element for each row."""
    return tuple(np.broadcast_to(a, shape).reshape(math.prod(shape)) for a in arrays if a is not None)
