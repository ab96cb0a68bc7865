"""Typical calls of every registered loss, of any size; a new loss is measured by being declared.

Needs nothing of lossfast but the registry and what a declaration says, because the benchmarks of `asv_benchmarks` load
this file by its path, beside other versions of the package too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

#: Classes, labels or features of a row, by the least number of predictions that has so many.
COLUMNS = {0: 4, 100: 10, 100_000: 100, 1_000_000: 1000}
#: Frames, sequences, classes and labels, likewise.
SEQUENCES = {0: (4, 1, 4, 1), 1_000: (150, 1, 28, 40), 100_000: (500, 32, 80, 100), 10_000_000: (1500, 8, 5000, 60)}
#: Features of a linear layer, by its number of logits, and its classes where a shape does not say.
FEATURES, CLASSES = {0: 4, 100: 64, 1_000_000: 256}, 2000
#: Labels of a row that takes several.
LABELS = 5


def axis_of(name: str) -> str:
    """What one loss is made of: an "element", a row of "classes" or of "features", a "layer", "frames"."""
    cls = REGISTRY[name]
    if "linear_weight" in cls.arrays:
        return "layer"
    if "input_lengths" in cls.arrays:
        return "frames"
    bases = {base.__name__ for base in cls.__mro__}
    if "RowwiseLoss" in bases:
        return "classes"
    return "element" if "ElementwiseLoss" in bases else "features"


def usual_shape(name: str, size: int, columns: int | None = None) -> tuple[int, ...]:
    """The shape of a typical call with about so many predictions; `columns`: of classes or features, if there are any.

    That of a linear layer is its rows, features and classes, that of sequences frames, sequences, classes and labels.
    """
    axis, cls = axis_of(name), REGISTRY[name]
    if axis == "frames":
        frames: tuple[int, ...] = _by_size(SEQUENCES, size)
        return frames
    if axis == "element":
        if not getattr(cls, "averages_last_axis", False):
            rows = max(1, size // len(cls.predictions))
            return (rows,)
        axis = "classes"
    columns = columns or _by_size(COLUMNS, size)
    if axis == "layer":
        return max(1, size // columns), _by_size(FEATURES, size), columns
    arrays = len(cls.predictions) if axis == "features" else 1
    return max(1, size // (arrays * columns)), columns


def arrays_for(name: str, shape: tuple[int, ...], dtype: str) -> tuple[Array, ...]:
    """Arrays in the domain of a loss, the same for the same arguments; those that may be left out are."""
    rng, axis = np.random.default_rng(0), axis_of(name)
    if axis == "frames":
        return _sequences(shape, dtype, rng)
    if axis == "layer":
        rows, features, classes = (*shape, CLASSES)[:3]
        input, weight = (_numbers(rng, "", (n, features), dtype) for n in (rows, classes))
        return input, weight, rng.integers(0, classes, rows)
    cls = REGISTRY[name]
    meaning: dict[str, str] = dict(getattr(cls, "meaning", {}))
    arrays = []
    for argument in cls.arrays:
        if argument in cls.predictions:
            what = "positive" if argument in cls.domains else meaning.get(argument, "")
            arrays.append(_numbers(rng, what, shape, dtype))
        elif axis == "classes":
            arrays.append(_labels(cls, shape, rng))
        else:
            what = meaning.get(argument, "positive")
            arrays.append(_numbers(rng, what, shape[:-1] if axis == "features" else shape, dtype))
    return tuple(arrays)


def _by_size(table: dict[int, Any], size: int) -> Any:
    return table[max(least for least in table if least <= size)]


def _numbers(rng: np.random.Generator, what: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Random numbers that mean this; float32 ones are drawn, which are as good and twice as quick."""
    if what == "signs":
        return (2 * rng.integers(0, 2, shape, np.int8) - 1).astype(dtype)
    if what == "shares":
        return rng.integers(0, 2, shape, np.int8).astype(dtype)
    if what in ("positive", "probabilities"):  # not quite to 0 and 1, where logarithms are special
        drawn = rng.random(shape, np.float32)
        return np.add(np.multiply(drawn, 0.9, out=drawn), 0.05, out=drawn).astype(dtype, copy=False)
    drawn = rng.standard_normal(shape, np.float32)
    if what == "log-probabilities":
        np.negative(np.abs(drawn, out=drawn), out=drawn)
    return drawn.astype(dtype, copy=False)


def _labels(cls: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """One label for each row of classes, or a list of different ones, which a -1 ends."""
    rows, classes = (shape[0], *shape[2:]), shape[1]
    if not getattr(cls, "takes_label_lists", False):
        return rng.integers(0, classes, rows)
    labels = np.full(shape, -1)
    count = min(LABELS, max(1, classes // 2))
    labels[:, :count] = (rng.integers(0, classes, (shape[0], 1)) + np.arange(count)) % classes
    return labels


def _sequences(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> tuple[Array, ...]:
    """Log-probabilities by frame, sequence and class, and as many labels for every sequence; class 0 is the blank."""
    frames, sequences, classes, labels = shape
    log_probs = rng.standard_normal(shape[:3], np.float32).astype(dtype, copy=False)
    for t in range(frames):  # a frame at a time: no second array of the size of the first
        log_probs[t] -= np.log(np.exp(log_probs[t]).sum(-1, keepdims=True))
    lengths = (np.full(sequences, n) for n in (frames, labels))
    return log_probs, rng.integers(1, classes, (sequences, labels)), *lengths


@dataclass(frozen=True)
class Workload:
    """One loss on arrays of one shape and precision."""

    loss: str
    shape: tuple[int, ...]
    dtype: str

    def arrays(self) -> tuple[Array, ...]:
        """The arrays of the call."""
        return arrays_for(self.loss, self.shape, self.dtype)

    @property
    def elements(self) -> int:
        """Predictions, one entry of a gradient for each; of a linear layer its logits."""
        axis = axis_of(self.loss)
        if axis == "layer":
            return self.shape[0] * self.shape[2]
        arrays = len(REGISTRY[self.loss].predictions) if axis in ("element", "features") else 1
        return arrays * math.prod(self.shape[:3] if axis == "frames" else self.shape)

    @property
    def traffic(self) -> int | None:
        """Bytes that value and gradient read and write at least; None where arithmetic is all, as in a linear layer."""
        axis, cls = axis_of(self.loss), REGISTRY[self.loss]
        if axis == "layer":
            return None
        itemsize = np.dtype(self.dtype).itemsize
        predictions = 2 * self.elements * itemsize
        if axis == "element":
            return predictions + (len(cls.arrays) - len(cls.predictions)) * math.prod(self.shape) * itemsize
        if axis == "classes":
            labels = math.prod(self.shape)
            if not getattr(cls, "takes_label_lists", False):
                labels //= self.shape[1]
            return predictions + labels * np.dtype(np.intp).itemsize
        return predictions  # targets are one number for many features or frames
