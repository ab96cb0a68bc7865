# Generated from the registry: python -m lossfast._stubs --write lossfast/functional.pyi

from typing import Any

from numpy.typing import ArrayLike

from lossfast._loss import Loss
from lossfast.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from lossfast.margin import HingeEmbeddingLoss, MarginRankingLoss, MultiLabelSoftMarginLoss, SoftMarginLoss
from lossfast.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge_embedding_loss",
    "huber_loss",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
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

class _HingeEmbeddingLoss(LossFunction):
    loss: type[HingeEmbeddingLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 1.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 1.0,
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
        margin: float = 1.0,
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
        margin: float = 1.0,
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
        margin: float = 1.0,
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
        margin: float = 1.0,
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

class _MarginRankingLoss(LossFunction):
    loss: type[MarginRankingLoss]
    def __call__(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 0.0,
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

class _MultiLabelSoftMarginLoss(LossFunction):
    loss: type[MultiLabelSoftMarginLoss]
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

class _SoftMarginLoss(LossFunction):
    loss: type[SoftMarginLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
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
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

binary_cross_entropy: _BCELoss
binary_cross_entropy_with_logits: _BCEWithLogitsLoss
cross_entropy: _CrossEntropyLoss
hinge_embedding_loss: _HingeEmbeddingLoss
huber_loss: _HuberLoss
l1_loss: _L1Loss
margin_ranking_loss: _MarginRankingLoss
mse_loss: _MSELoss
multilabel_soft_margin_loss: _MultiLabelSoftMarginLoss
nll_loss: _NLLLoss
smooth_l1_loss: _SmoothL1Loss
soft_margin_loss: _SoftMarginLoss
