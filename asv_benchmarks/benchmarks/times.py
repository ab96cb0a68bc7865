"""Time and memory of every registered loss × precision × size × method; a new loss is measured by being declared."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import lossfast as lf
from lossfast import _activations
from lossfast._loss import REGISTRY

from .instructions import DTYPES, function_of, load_workloads

workloads = load_workloads()

METHODS = ["value", "value_and_grad", "value_and_grad_out", "value_grad_hess"]
#: In the first-level cache, in the last one, in memory.
SIZES = [2_000, 700_000, 20_000_000]
#: Few classes, many, and the layout of segmentation.
SHAPES = ["4096x10", "4096x1000", "8x21x128x128"]
#: Rows and features of embeddings, also those of a linear layer.
EMBEDDINGS = ["4096x128", "100000x32", "1024x4096"]
#: Frames, sequences, classes and labels: one line of text, a batch of utterances, one of a large vocabulary.
SEQUENCES = ["150x1x28x40", "500x32x80x100", "1500x8x5000x60"]

ELEMENTWISE, ROWWISE, LINEAR, PAIRWISE, SEQUENCE = (
    sorted(name for name in REGISTRY if workloads.axis_of(name) == axis)
    for axis in ("element", "classes", "layer", "features", "frames")
)


class _Method:
    """One call of one method; arrays and results exist beforehand."""

    def prepare(self, name: str, shape: tuple[int, ...], dtype: str, method: str) -> None:
        self.arrays = workloads.arrays_for(name, shape, dtype)
        self.call: Any = function_of(REGISTRY[name](), method, self.arrays)
        if self.call is None:
            raise NotImplementedError(f"{name} has no Hessian")
        self.call(*self.arrays)  # the threads exist from here on


class Elementwise(_Method):
    """Losses of one element at a time."""

    params = [ELEMENTWISE, DTYPES, SIZES, METHODS]
    param_names = ["loss", "dtype", "size", "method"]

    def setup(self, name: str, dtype: str, size: int, method: str) -> None:
        self.prepare(name, (size,), dtype, method)

    def time_call(self, name: str, dtype: str, size: int, method: str) -> None:
        self.call(*self.arrays)


class _Shaped(_Method):
    """Losses whose shape is a parameter."""

    param_names = ["loss", "dtype", "shape", "method"]

    def setup(self, name: str, dtype: str, shape: str, method: str) -> None:
        self.prepare(name, tuple(map(int, shape.split("x"))), dtype, method)


class Rowwise(_Shaped):
    """Losses over a class axis."""

    params = [ROWWISE, DTYPES, SHAPES, METHODS]

    def setup(self, name: str, dtype: str, shape: str, method: str) -> None:
        if shape.count("x") > 1 and not getattr(REGISTRY[name], "trailing_axes", True):
            raise NotImplementedError(f"{name} has no axes behind the classes")
        super().setup(name, dtype, shape, method)

    def time_call(self, name: str, dtype: str, shape: str, method: str) -> None:
        self.call(*self.arrays)


class Embeddings(_Shaped):
    """Losses that compare rows of embeddings, or classify them with a linear layer."""

    params = [[*PAIRWISE, *LINEAR], DTYPES, EMBEDDINGS, METHODS]

    def time_call(self, name: str, dtype: str, shape: str, method: str) -> None:
        self.call(*self.arrays)


class Sequences(_Shaped):
    """Losses of frames and labels."""

    params = [SEQUENCE, DTYPES, SEQUENCES, METHODS]

    def time_call(self, name: str, dtype: str, shape: str, method: str) -> None:
        self.call(*self.arrays)


class CallOverhead(_Method):
    """Sixteen numbers, a hundred calls: what is not the kernel."""

    params = [sorted(REGISTRY), ["value", "value_and_grad"]]
    param_names = ["loss", "method"]

    def setup(self, name: str, method: str) -> None:
        self.prepare(name, workloads.usual_shape(name, 16, 4), "float32", method)

    def time_hundred_calls(self, name: str, method: str) -> None:
        call, arrays = self.call, self.arrays
        for _ in range(100):
            call(*arrays)


class AfterIdle(_Method):
    """The first call after a pause, as a training loop makes it: threads have to wake up."""

    params = [sorted(REGISTRY), [0.0, 0.1]]
    param_names = ["loss", "seconds idle"]
    number, repeat, warmup_time = 1, (10, 30, 10.0), 0.0

    def setup(self, name: str, seconds: float) -> None:
        if not hasattr(self, "call"):
            self.prepare(name, workloads.usual_shape(name, 2_000_000, 500), "float32", "value_and_grad_out")
        time.sleep(seconds)

    def time_first_call(self, name: str, seconds: float) -> None:
        self.call(*self.arrays)


class Memory(_Method):
    """The peak of the process; the arrays themselves are most of it (`Allocated` leaves them out)."""

    params = [sorted(REGISTRY), METHODS]
    param_names = ["loss", "method"]

    def setup(self, name: str, method: str) -> None:
        self.prepare(name, workloads.usual_shape(name, 10_000_000, 500), "float32", method)

    def peakmem_call(self, name: str, method: str) -> None:
        self.call(*self.arrays)


class Activations:
    """The building blocks, into an existing array."""

    params = [_activations.__all__, DTYPES, ["4096x10", "4096x1000"]]
    param_names = ["function", "dtype", "shape"]

    def setup(self, name: str, dtype: str, shape: str) -> None:
        self.function = getattr(lf, name)
        sizes = tuple(map(int, shape.split("x")))
        self.x = np.random.default_rng(0).standard_normal(sizes, np.float32).astype(dtype)
        self.out = self.function(self.x)

    def time_call(self, name: str, dtype: str, shape: str) -> None:
        self.function(self.x, out=self.out)
