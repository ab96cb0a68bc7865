"""Norms of whole arrays, in float64 whatever their dtype."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lossfast import _arrays
from lossfast._drivers.runtime import weight_sum

if TYPE_CHECKING:
    from lossfast._arrays import Array

#: Sums of squares between these lost no precision to under- and overflow.
_PRECISE = (1e-280, 1e300)


def norm(array: Array, power: float) -> float:
    """The p-norm of all elements in float64, also where powers of them overflow."""
    if not array.size:
        return 0.0
    if power == 2:
        operand = _arrays.as_operand(array, "array")
        squares = weight_sum((operand, operand), operand.shape)
        if _PRECISE[0] < squares < _PRECISE[1]:
            return math.sqrt(squares)
    size = np.abs(array).astype(np.float64)
    greatest = float(size.max())
    if power == math.inf or greatest == 0 or not math.isfinite(greatest):
        return greatest
    return float(greatest * np.sum((size / greatest) ** power) ** (1 / power))


def joint_norm(norms: list[float], power: float) -> float:
    """The p-norm of everything that these are the norms of."""
    greatest = float(np.max(norms, initial=0.0))
    if power == math.inf or greatest == 0 or not math.isfinite(greatest):
        return greatest
    return float(greatest * np.sum((np.asarray(norms) / greatest) ** power) ** (1 / power))
