# Generated from the registry: python -m lossfast._stubs --write lossfast/functional.pyi

from typing import Any

from numpy.typing import ArrayLike

from lossfast._loss import Loss
from lossfast.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from lossfast.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

class LossFunction:
    loss: type[Loss]
    def __init__(self, cls: type[Loss]) -> None: ...

class _BCELoss(LossFunction):
    loss: type[BCELoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _BCEWithLogitsLoss(LossFunction):
    loss: type[BCEWithLogitsLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _CrossEntropyLoss(LossFunction):
    loss: type[CrossEntropyLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _HuberLoss(LossFunction):
    loss: type[HuberLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        delta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        delta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        delta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        delta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        delta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        delta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _L1Loss(LossFunction):
    loss: type[L1Loss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _MSELoss(LossFunction):
    loss: type[MSELoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _NLLLoss(LossFunction):
    loss: type[NLLLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _SmoothL1Loss(LossFunction):
    loss: type[SmoothL1Loss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        beta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        beta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        beta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        beta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        beta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        beta: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

binary_cross_entropy: _BCELoss
binary_cross_entropy_with_logits: _BCEWithLogitsLoss
cross_entropy: _CrossEntropyLoss
huber_loss: _HuberLoss
l1_loss: _L1Loss
mse_loss: _MSELoss
nll_loss: _NLLLoss
smooth_l1_loss: _SmoothL1Loss
