"""Cross entropy of a linear layer: its logits a tile of rows at a time, from matrix products to the rowwise driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast import _arrays
from lossfast._drivers.elementwise import map_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lossfast._arrays import Array, Shape
    from lossfast._drivers.rowwise import Rowwise

#: The logits of as many rows as this holds are kept at a time.
TILE_BYTES = 44 << 20
#: … but of so many at least, because the products of few rows are slow, and not of more than pay.
_LEAST_ROWS, _MOST_ROWS = 64, 4096
#: A product with a weight takes so much of it at a time: converted or added up while it is in the cache.
_BLOCK_BYTES = 4 << 20


class LinearLayer:
    """The logits ``input @ weight.T + bias`` by tiles of rows, and the gradients that go back through them.

    `by_input`, `by_weight` and `by_bias` are the arrays for the gradients that are wanted; `kept` says which rows
    count, if not all do. The tiles follow from shapes and precision alone: every method sees the same products.
    """

    def __init__(
        self,
        input: Array,
        weight: Array,
        bias: Array | None,
        dtype: np.dtype[Any],
        *,
        kept: Array | None = None,
        by_input: Array | None,
        by_weight: Array | None,
        by_bias: Array | None,
    ) -> None:
        self.by_input, self.by_weight, self.by_bias = by_input, by_weight, by_bias
        self.input, self.weight, self.dtype, self.kept = input, weight, dtype, kept
        self.bias = None if bias is None else bias.astype(dtype)
        (rows, features), classes = input.shape, len(weight)
        row_bytes = dtype.itemsize * (classes + 3 * features)  # with the copies and sums of its input
        self.rows = min(max(TILE_BYTES // row_bytes, _LEAST_ROWS), _MOST_ROWS, rows)
        self.tile = np.empty((self.rows, classes), dtype)
        step = max(_BLOCK_BYTES // (dtype.itemsize * max(features, 1)), _LEAST_ROWS)
        self.blocks = [slice(start, min(start + step, classes)) for start in range(0, classes, step)]

        if by_input is not None:
            self.input_sum, self.input_term = (np.empty((self.rows, features), dtype) for _ in range(2))
        if by_weight is not None:
            self.weight_sum = by_weight if _fits(by_weight, dtype) else np.empty(weight.shape, dtype)
            self.weight_term = np.empty((min(step, classes), features), dtype)
        if by_bias is not None:
            self.bias_sum = np.zeros(classes)
            self.ones = np.ones(self.rows, dtype)

    def __iter__(self) -> Iterator[slice]:
        return (slice(start, start + self.rows) for start in range(0, len(self.input), self.rows))

    def logits(self, rows: slice) -> Array:
        """The logits of some rows, until those of the next."""
        self.x = fitting(self.input[rows], self.dtype)
        ignored = None if self.kept is None else ~self.kept[rows]
        if ignored is not None and not np.isfinite(self.x[ignored]).all():  # their gradient of 0 times NaN would be NaN
            self.x = np.where(ignored[:, np.newaxis], 0, self.x).astype(self.dtype, copy=False)
        tile = self.tile[: len(self.x)]
        for block in self.blocks:
            np.matmul(self.x, fitting(self.weight[block], self.dtype).T, out=tile[:, block])
            if self.bias is not None:
                tile[:, block] += self.bias[block]
        return tile

    def backward(self, rows: slice, by_logits: Array) -> None:
        """Take in the gradient by the logits of these rows, the last that were computed."""
        n, first = len(by_logits), rows.start == 0
        for block in self.blocks:
            part = by_logits[:, block]
            if self.by_bias is not None:
                self.bias_sum[block] += self.ones[:n] @ part
            if self.by_weight is not None:
                term = self.weight_sum[block] if first else self.weight_term[: part.shape[1]]
                np.matmul(part.T, self.x, out=term)
                if not first:
                    self.weight_sum[block] += term
            if self.by_input is not None:
                term = (self.input_sum if block.start == 0 else self.input_term)[:n]
                np.matmul(part, fitting(self.weight[block], self.dtype), out=term)
                if block.start:
                    self.input_sum[:n] += term
        if self.by_input is not None:  # last: it may be the input itself
            store(self.input_sum[:n], self.by_input[rows])

    def finish(self) -> None:
        """Write the gradients that all rows add to."""
        if self.by_weight is not None and self.weight_sum is not self.by_weight:
            store(self.weight_sum, self.by_weight)
        if self.by_bias is not None:
            store(self.bias_sum, self.by_bias)


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


def cross_entropy(
    kernel: Rowwise,
    layer: LinearLayer,
    *,
    labels: Array | None,
    target: Array | None = None,
    multipliers: tuple[Array, ...],
    cotangents: tuple[Array, ...],
    scale: float,
    value: Array | None,
    by_target: Array | None = None,
    look: Callable[[slice, Array], None] | None = None,
) -> float:
    """The summed loss of all rows, and the gradients that `layer` wants; `look` sees each tile of logits."""
    wanted = any(array is not None for array in (layer.by_input, layer.by_weight, layer.by_bias))
    total = 0.0
    with np.errstate(all="ignore"):  # infinities and NaN are results like others
        for rows in layer:
            logits = layer.logits(rows)
            if look is not None:
                look(rows, logits)
            by_logits = None
            if wanted:  # in place of the logits, unless they are read again
                by_logits = logits if by_target is None else np.empty_like(logits)
            total += kernel.run(
                logits,
                1,
                layer.dtype.itemsize,
                None if labels is None else labels[rows],
                None if target is None else target[rows],
                tuple(a[rows] for a in multipliers),
                tuple(a[rows] for a in cotangents),
                scale,
                -math.inf,
                0,
                None if value is None else value[rows],
                by_logits,
                None,
                None if by_target is None else by_target[rows],
            )
            if by_logits is not None:
                layer.backward(rows, by_logits)
        layer.finish()
    return total


def per_row(arrays: Iterable[Array | None], shape: Shape) -> tuple[Array, ...]:
    """Those arrays that there are, with one element for each row."""
    return tuple(np.broadcast_to(a, shape).reshape(math.prod(shape)) for a in arrays if a is not None)
