"""Every registered loss × precision × size × method; a new loss is measured by being declared.

Peers take part where they can be imported: install torch or scikit-learn beside lossfast and run with `--python=same`.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import numpy as np

import lossfast as lf
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import REGISTRY
from lossfast._rowwise import RowwiseLoss

DTYPES = ["float32", "float64"]
METHODS = ["value", "value_and_grad", "value_and_grad_out", "value_grad_hess"]
#: In the first-level cache, in the last one, in memory.
SIZES = [2_000, 700_000, 20_000_000]
#: Few classes, many, and the layout of segmentation.
SHAPES = ["4096x10", "4096x1000", "8x21x128x128"]

ELEMENTWISE = sorted(name for name, cls in REGISTRY.items() if issubclass(cls, ElementwiseLoss))
ROWWISE = sorted(name for name, cls in REGISTRY.items() if issubclass(cls, RowwiseLoss))


def arrays_for(name: str, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, ...]:
    """Arrays in the domain of a loss; targets are labels where there is a class axis."""
    cls, rng = REGISTRY[name], np.random.default_rng(0)
    if issubclass(cls, RowwiseLoss):
        input = rng.standard_normal(shape, np.float32).astype(dtype)
        return input, rng.integers(0, shape[1], (shape[0], *shape[2:]))
    arrays = []
    for argument in cls.arrays:
        bounded = argument in cls.domains or (name.startswith("BCE") and argument == "target")
        draw = rng.random if bounded else rng.standard_normal
        arrays.append(draw(shape, np.float32).astype(dtype))
    return tuple(arrays)


class _Method:
    """One call of one method; arrays and results exist beforehand."""

    def prepare(self, name: str, shape: tuple[int, ...], dtype: str, method: str) -> None:
        self.loss = REGISTRY[name]()
        self.arrays = arrays_for(name, shape, dtype)
        out = np.empty_like(self.arrays[0])
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


class Rowwise(_Method):
    """Losses over a class axis."""

    params = [ROWWISE, DTYPES, SHAPES, METHODS]
    param_names = ["loss", "dtype", "shape", "method"]

    def setup(self, name: str, dtype: str, shape: str, method: str) -> None:
        self.prepare(name, tuple(map(int, shape.split("x"))), dtype, method)

    def time_call(self, name: str, dtype: str, shape: str, method: str) -> None:
        self.call(*self.arrays)


class CallOverhead(_Method):
    """Sixteen numbers, a hundred calls: what is not the kernel."""

    params = [sorted(REGISTRY), ["value", "value_and_grad"]]
    param_names = ["loss", "method"]

    def setup(self, name: str, method: str) -> None:
        self.prepare(name, (4, 4) if name in ROWWISE else (16,), "float32", method)

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
            self.prepare(name, (4096, 500) if name in ROWWISE else (2_000_000,), "float32", "value_and_grad_out")
        time.sleep(seconds)

    def time_first_call(self, name: str, seconds: float) -> None:
        self.call(*self.arrays)


class Memory(_Method):
    """The peak of the process; the arrays themselves are most of it."""

    params = [sorted(REGISTRY), METHODS]
    param_names = ["loss", "method"]

    def setup(self, name: str, method: str) -> None:
        self.prepare(name, (20_000, 500) if name in ROWWISE else (10_000_000,), "float32", method)

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


class Torch:
    """PyTorch's value and gradient for the same arrays, with as many threads."""

    params = [sorted(REGISTRY), DTYPES, ["small", "large"]]
    param_names = ["loss", "dtype", "size"]

    def setup(self, name: str, dtype: str, size: str) -> None:
        if find_spec("torch") is None:
            raise NotImplementedError("torch is not installed")
        import torch  # noqa: PLC0415  # a peer

        torch.set_num_threads(lf.get_num_threads())
        shapes = (
            {"small": (4096, 10), "large": (4096, 1000)}
            if name in ROWWISE
            else {"small": (700_000,), "large": (20_000_000,)}
        )
        self.arrays = [torch.from_numpy(a) for a in arrays_for(name, shapes[size], dtype)]
        self.arrays[0].requires_grad_()
        self.loss = getattr(torch.nn, name)()
        self.loss(*self.arrays).backward()

    def time_value_and_grad(self, name: str, dtype: str, size: str) -> None:
        self.arrays[0].grad = None
        self.loss(*self.arrays).backward()


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
