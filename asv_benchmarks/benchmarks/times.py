"""Every registered loss × precision × size × method; a new loss is measured by being declared.

Peers take part where they can be imported: install torch or scikit-learn beside lossfast and run with `--python=same`.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import lossfast as lf
from lossfast._loss import REGISTRY

DTYPES = ["float32", "float64"]
METHODS = ["value", "value_and_grad", "value_and_grad_out", "value_grad_hess"]
#: In the first-level cache, in the last one, in memory.
SIZES = [2_000, 700_000, 20_000_000]
#: Few classes, many, and the layout of segmentation.
SHAPES = ["4096x10", "4096x1000", "8x21x128x128"]
#: Rows and features of embeddings, also those of a linear layer.
EMBEDDINGS = ["4096x128", "100000x32", "1024x4096"]
#: Frames, sequences, classes and labels: one line of text, a batch of utterances, one of a large vocabulary.
SEQUENCES = ["150x1x28x40", "500x32x80x100", "1500x8x5000x60"]


def _workloads() -> ModuleType:
    """The arrays of a call, as this file's revision makes them, whichever revision of the package is measured."""
    path = Path(__file__).parents[2] / "lossfast" / "_bench" / "workloads.py"
    spec = spec_from_file_location("lossfast_workloads", path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    return module


workloads = _workloads()
arrays_for, usual_shape = workloads.arrays_for, workloads.usual_shape

ELEMENTWISE, ROWWISE, LINEAR, PAIRWISE, SEQUENCE = (
    sorted(name for name in REGISTRY if workloads.axis_of(name) == axis)
    for axis in ("element", "classes", "layer", "features", "frames")
)


class _Method:
    """One call of one method; arrays and results exist beforehand."""

    def prepare(self, name: str, shape: tuple[int, ...], dtype: str, method: str) -> None:
        cls = REGISTRY[name]
        if method == "value_grad_hess" and not cls.curved:
            raise NotImplementedError(f"{name} has no Hessian")
        self.loss = cls()
        self.arrays = arrays_for(name, shape, dtype)
        given = zip(cls.arrays, self.arrays, strict=False)
        outs = tuple(np.empty_like(array) for argument, array in given if argument in cls.predictions)
        out = outs if len(outs) > 1 else outs[0]
        loss = self.loss
        self.call: Any = {
            "value": loss.__call__,
            "value_and_grad": loss.value_and_grad,
            "value_and_grad_out": lambda *arrays: loss.value_and_grad(*arrays, out=out),
            "value_grad_hess": loss.value_grad_hess,
        }[method]
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
        self.prepare(name, usual_shape(name, 16, 4), "float32", method)

    def time_hundred_calls(self, name: str, method: str) -> None:
        call, arrays = self.call, self.arrays
        for _ in range(100):
            call(*arrays)


class AfterIdle(_Method):
    """The first call after a pause, as a training loop makes it: threads have to wake up."""

    params = [["MSELoss", "CrossEntropyLoss"], [0.0, 0.1]]
    param_names = ["loss", "seconds idle"]
    number, repeat, warmup_time = 1, (10, 30, 10.0), 0.0

    def setup(self, name: str, seconds: float) -> None:
        if not hasattr(self, "call"):
            self.prepare(name, usual_shape(name, 2_000_000, 500), "float32", "value_and_grad_out")
        time.sleep(seconds)

    def time_first_call(self, name: str, seconds: float) -> None:
        self.call(*self.arrays)


class Memory(_Method):
    """The peak of the process; the arrays themselves are most of it."""

    params = [sorted(REGISTRY), METHODS]
    param_names = ["loss", "method"]

    def setup(self, name: str, method: str) -> None:
        self.prepare(name, usual_shape(name, 10_000_000, 500), "float32", method)

    def peakmem_call(self, name: str, method: str) -> None:
        self.call(*self.arrays)


class Activations:
    """The building blocks, into an existing array."""

    params = [["softmax", "log_softmax", "sigmoid", "log_sigmoid", "softplus"], DTYPES, ["4096x10", "4096x1000"]]
    param_names = ["function", "dtype", "shape"]

    def setup(self, name: str, dtype: str, shape: str) -> None:
        self.function = getattr(lf, name)
        sizes = tuple(map(int, shape.split("x")))
        self.x = np.random.default_rng(0).standard_normal(sizes, np.float32).astype(dtype)
        self.out = np.empty_like(self.x)
        self.function(self.x, out=self.out)

    def time_call(self, name: str, dtype: str, shape: str) -> None:
        self.function(self.x, out=self.out)


class _Torch:
    """PyTorch's value and gradient for the same arrays, with as many threads."""

    def prepare(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        if find_spec("torch") is None:
            raise NotImplementedError("torch is not installed")
        import torch  # noqa: PLC0415  # a peer

        cls = REGISTRY[name]
        self.function = getattr(torch.nn.functional, cls.function, None)
        if self.function is None:
            raise NotImplementedError(f"torch.nn.functional has no {cls.function}")
        torch.set_num_threads(lf.get_num_threads())
        self.arrays = [torch.from_numpy(a) for a in arrays_for(name, shape, dtype)]
        given = zip(cls.arrays, self.arrays, strict=False)
        self.leaves = [array.requires_grad_() for argument, array in given if argument in cls.predictions]
        self.call()

    def call(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None
        self.function(*self.arrays).backward()


class Torch(_Torch):
    """Losses of elements and rows."""

    params = [sorted(REGISTRY.keys() - set(SEQUENCE)), DTYPES, ["small", "large"]]
    param_names = ["loss", "dtype", "size"]

    def setup(self, name: str, dtype: str, size: str) -> None:
        columns, elements = {"small": (10, 700_000), "large": (1000, 20_000_000)}[size]
        self.prepare(name, (elements,) if name in ELEMENTWISE else (4096, columns), dtype)

    def time_value_and_grad(self, name: str, dtype: str, size: str) -> None:
        self.call()


class TorchSequences(_Torch):
    """Losses of frames and labels."""

    params = [SEQUENCE, DTYPES, SEQUENCES]
    param_names = ["loss", "dtype", "shape"]

    def setup(self, name: str, dtype: str, shape: str) -> None:
        self.prepare(name, tuple(map(int, shape.split("x"))), dtype)

    def time_value_and_grad(self, name: str, dtype: str, shape: str) -> None:
        self.call()


class ScikitLearn:
    """scikit-learn's private losses, which its linear models and boosting are built on."""

    params = [["MSELoss", "HuberLoss", "BCEWithLogitsLoss", "CrossEntropyLoss"], DTYPES]
    param_names = ["loss", "dtype"]

    def setup(self, name: str, dtype: str) -> None:
        if find_spec("sklearn") is None:
            raise NotImplementedError("scikit-learn is not installed")
        from sklearn._loss import loss as peers  # noqa: PLC0415  # a peer

        classes = {"CrossEntropyLoss": 1000}.get(name, 0)
        self.loss: Any = {
            "MSELoss": peers.HalfSquaredError,
            "HuberLoss": lambda: peers.HuberLoss(delta=1.0),
            "BCEWithLogitsLoss": peers.HalfBinomialLoss,
            "CrossEntropyLoss": lambda: peers.HalfMultinomialLoss(n_classes=classes),
        }[name]()
        input, target = arrays_for(name, (4096, classes) if classes else (700_000,), dtype)
        self.arrays = {"y_true": target.astype(dtype), "raw_prediction": input, "n_threads": lf.get_num_threads()}
        self.arrays |= {"loss_out": np.empty(len(input), dtype), "gradient_out": np.empty_like(input)}
        self.loss.loss_gradient(**self.arrays)

    def time_value_and_grad(self, name: str, dtype: str) -> None:
        self.loss.loss_gradient(**self.arrays)
