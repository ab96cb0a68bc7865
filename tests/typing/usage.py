"""What a user writes, and what type checkers say to it; mypy --strict reads it, nothing runs it.

An ignored error is one that has to be found: --strict refuses an ignore that ignores nothing.
"""

from dataclasses import dataclass
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import lossfast as lf
import lossfast.functional as F

Floats = NDArray[np.float64]

x: Floats = np.zeros((4, 3))
labels = [0, 1, 2, 0]

# ---- losses --------------------------------------------------------------------------------------------------------

loss = lf.CrossEntropyLoss(label_smoothing=0.1, weight=[1.0, 2.0, 0.5], reduction="mean")
assert_type(loss.label_smoothing, float)
assert_type(loss.reduction, str)
assert_type(loss.parameters, dict[str, Any])
assert_type(loss(x, labels), Any)
assert_type(loss.value_and_grad(x, labels, sample_weight=np.ones(4), out=np.empty((4, 3))), tuple[Any, Any])
assert_type(loss.grad(x, labels, wrt="input"), Any)
assert_type(loss.grad_hess(x, labels, curvature="psd"), tuple[Any, Any])
assert_type(loss.value_grad_hess(x, labels, grad_output=2.0), tuple[Any, Any, Any])
assert_type(loss.reference(x, labels), Any)

lf.HuberLoss(2.0)  # type: ignore[arg-type, call-arg]
lf.HuberLoss(delta="wide")  # type: ignore[arg-type]
lf.HuberLoss(slope=1.0)  # type: ignore[call-arg]
lf.MarginRankingLoss()(x, x)  # type: ignore[call-arg]
loss(x, labels, wrt="input")  # type: ignore[call-arg]
loss.grad(x, labels, curvature="psd")  # type: ignore[call-arg]
loss.reduction = "sum"  # type: ignore[misc]

# ---- functions -----------------------------------------------------------------------------------------------------

assert_type(F.huber_loss(x, x, delta=2.0, reduction="sum"), Any)
assert_type(F.huber_loss.value_and_grad(x, x, delta=2.0, sample_weight=x), tuple[Any, Any])
F.huber_loss(x, x, beta=2.0)  # type: ignore[call-arg]
F.huber(x, x)  # type: ignore[attr-defined]

assert_type(lf.softmax(x, axis=0), np.ndarray[Any, np.dtype[Any]])
assert_type(lf.sigmoid([0.5, 1.0]), np.ndarray[Any, np.dtype[Any]])
assert_type(lf.clip_grad_norm([x, x], 1.0), float)
lf.clip_grad_value([x, x], 1.0)

# ---- composition and losses of one's own ----------------------------------------------------------------------------

total = 0.7 * lf.MSELoss() + lf.HuberLoss() / 3
assert_type(total, lf.WeightedSum)
lf.MSELoss() * "2"  # type: ignore[operator]

tasks = lf.MultiTaskLoss(box=(lf.SmoothL1Loss(), 1.0), cls=(loss, 0.5))
assert_type(tasks(box=(x, x), cls=(x, labels)), float)


class LinEx(lf.CustomLoss):
    """exp(a d) - a d - 1."""

    a: float = 1.0

    def value(self, input: Floats, target: Floats) -> Floats:
        """Return the loss of each element."""
        d = self.a * (input - target)
        return np.exp(d) - d - 1

    def derivative(self, input: Floats, target: Floats) -> Floats:
        """Return its slope by the input."""
        return self.a * np.expm1(self.a * (input - target))


assert_type(LinEx(a=0.5, reduction="sum").a, float)


@dataclass
class Model:
    """A loss as anybody keeps it."""

    loss: lf.MSELoss | lf.HuberLoss

    def slope(self) -> Floats:
        """Return an array."""
        grad: Floats = self.loss.grad(x, x)
        return grad


# ---- the process ---------------------------------------------------------------------------------------------------

lf.set_num_threads(None)
assert_type(lf.get_num_threads(), int)
assert_type(lf.get_kept_memory(), tuple[int, int])
assert_type(lf.config(), dict[str, object])
assert_type(lf.get_include(), str)
assert_type(lf.__version__, str)
lf.set_num_threads(2.5)  # type: ignore[arg-type]
