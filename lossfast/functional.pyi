# Generated from the registry: python -m lossfast._stubs --write lossfast/functional.pyi

from typing import Any

from numpy.typing import ArrayLike

from lossfast._loss import Loss
from lossfast.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from lossfast.distribution import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
from lossfast.embedding import (
    ContrastiveLoss,
    CosineEmbeddingLoss,
    DistanceContrastiveLoss,
    DistanceFunction,
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
)
from lossfast.focal import SigmoidFocalLoss, SoftmaxFocalLoss
from lossfast.large_output import LinearCrossEntropyLoss
from lossfast.margin import (
    HingeEmbeddingLoss,
    MarginRankingLoss,
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    SoftMarginLoss,
)
from lossfast.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss, TukeyBiweightLoss
from lossfast.sequence import CTCLoss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "contrastive_loss",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "distance_contrastive_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax_focal_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "tukey_biweight_loss",
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

class _ContrastiveLoss(LossFunction):
    loss: type[ContrastiveLoss]
    def __call__(
        self,
        input1: ArrayLike,
        input2: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 1.0,
        factor: float = 0.5,
        squared: bool = True,
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
        margin: float = 1.0,
        factor: float = 0.5,
        squared: bool = True,
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
        margin: float = 1.0,
        factor: float = 0.5,
        squared: bool = True,
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
        margin: float = 1.0,
        factor: float = 0.5,
        squared: bool = True,
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
        margin: float = 1.0,
        factor: float = 0.5,
        squared: bool = True,
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
        margin: float = 1.0,
        factor: float = 0.5,
        squared: bool = True,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _CosineEmbeddingLoss(LossFunction):
    loss: type[CosineEmbeddingLoss]
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

class _CTCLoss(LossFunction):
    loss: type[CTCLoss]
    def __call__(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        *,
        blank: int = 0,
        zero_infinity: bool = False,
        gradient: str = "logits",
        from_logits: bool = False,
        batch_first: bool = False,
        sparse: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        *,
        blank: int = 0,
        zero_infinity: bool = False,
        gradient: str = "logits",
        from_logits: bool = False,
        batch_first: bool = False,
        sparse: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        *,
        blank: int = 0,
        zero_infinity: bool = False,
        gradient: str = "logits",
        from_logits: bool = False,
        batch_first: bool = False,
        sparse: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        *,
        blank: int = 0,
        zero_infinity: bool = False,
        gradient: str = "logits",
        from_logits: bool = False,
        batch_first: bool = False,
        sparse: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        *,
        blank: int = 0,
        zero_infinity: bool = False,
        gradient: str = "logits",
        from_logits: bool = False,
        batch_first: bool = False,
        sparse: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        *,
        blank: int = 0,
        zero_infinity: bool = False,
        gradient: str = "logits",
        from_logits: bool = False,
        batch_first: bool = False,
        sparse: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _DistanceContrastiveLoss(LossFunction):
    loss: type[DistanceContrastiveLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        margin: float = 1.0,
        factor: float = 1.0,
        squared: bool = True,
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
        factor: float = 1.0,
        squared: bool = True,
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
        factor: float = 1.0,
        squared: bool = True,
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
        factor: float = 1.0,
        squared: bool = True,
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
        factor: float = 1.0,
        squared: bool = True,
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
        factor: float = 1.0,
        squared: bool = True,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _GaussianNLLLoss(LossFunction):
    loss: type[GaussianNLLLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        var: ArrayLike,
        *,
        full: bool = False,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        var: ArrayLike,
        *,
        full: bool = False,
        eps: float = 1e-06,
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
        var: ArrayLike,
        *,
        full: bool = False,
        eps: float = 1e-06,
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
        var: ArrayLike,
        *,
        full: bool = False,
        eps: float = 1e-06,
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
        var: ArrayLike,
        *,
        full: bool = False,
        eps: float = 1e-06,
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
        var: ArrayLike,
        *,
        full: bool = False,
        eps: float = 1e-06,
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

class _KLDivLoss(LossFunction):
    loss: type[KLDivLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        log_target: bool = False,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        log_target: bool = False,
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
        log_target: bool = False,
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
        log_target: bool = False,
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
        log_target: bool = False,
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
        log_target: bool = False,
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

class _LinearCrossEntropyLoss(LossFunction):
    loss: type[LinearCrossEntropyLoss]
    def __call__(
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
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
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
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
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
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
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
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
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
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
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
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

class _MultiMarginLoss(LossFunction):
    loss: type[MultiMarginLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        p: float = 1.0,
        margin: float = 1.0,
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
        p: float = 1.0,
        margin: float = 1.0,
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
        p: float = 1.0,
        margin: float = 1.0,
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
        p: float = 1.0,
        margin: float = 1.0,
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
        p: float = 1.0,
        margin: float = 1.0,
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
        p: float = 1.0,
        margin: float = 1.0,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _MultiLabelMarginLoss(LossFunction):
    loss: type[MultiLabelMarginLoss]
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

class _PoissonNLLLoss(LossFunction):
    loss: type[PoissonNLLLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-08,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-08,
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
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-08,
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
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-08,
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
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-08,
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
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-08,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _SigmoidFocalLoss(LossFunction):
    loss: type[SigmoidFocalLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        alpha_mode: str = "balanced",
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        alpha_mode: str = "balanced",
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
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        alpha_mode: str = "balanced",
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
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        alpha_mode: str = "balanced",
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
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        alpha_mode: str = "balanced",
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
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        alpha_mode: str = "balanced",
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

class _SoftmaxFocalLoss(LossFunction):
    loss: type[SoftmaxFocalLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        alpha: ArrayLike | None = None,
        gamma: float = 2.0,
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
        alpha: ArrayLike | None = None,
        gamma: float = 2.0,
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
        alpha: ArrayLike | None = None,
        gamma: float = 2.0,
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
        alpha: ArrayLike | None = None,
        gamma: float = 2.0,
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
        alpha: ArrayLike | None = None,
        gamma: float = 2.0,
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
        alpha: ArrayLike | None = None,
        gamma: float = 2.0,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _TripletMarginLoss(LossFunction):
    loss: type[TripletMarginLoss]
    def __call__(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        p: float = 2.0,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        p: float = 2.0,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        p: float = 2.0,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        p: float = 2.0,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        p: float = 2.0,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        p: float = 2.0,
        eps: float = 1e-06,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _TripletMarginWithDistanceLoss(LossFunction):
    loss: type[TripletMarginWithDistanceLoss]
    def __call__(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        distance_function: str | DistanceFunction | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        distance_function: str | DistanceFunction | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        distance_function: str | DistanceFunction | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def grad_hess(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        distance_function: str | DistanceFunction | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]: ...
    def value_grad_hess(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        distance_function: str | DistanceFunction | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]: ...
    def reference(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        margin: float = 1.0,
        swap: bool = False,
        distance_function: str | DistanceFunction | None = None,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

class _TukeyBiweightLoss(LossFunction):
    loss: type[TukeyBiweightLoss]
    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        c: float = 4.685,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
        out: Any = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        c: float = 4.685,
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
        c: float = 4.685,
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
        c: float = 4.685,
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
        c: float = 4.685,
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
        c: float = 4.685,
        reduction: str = "mean",
        sample_weight: ArrayLike | None = None,
    ) -> Any: ...

binary_cross_entropy: _BCELoss
binary_cross_entropy_with_logits: _BCEWithLogitsLoss
contrastive_loss: _ContrastiveLoss
cosine_embedding_loss: _CosineEmbeddingLoss
cross_entropy: _CrossEntropyLoss
ctc_loss: _CTCLoss
distance_contrastive_loss: _DistanceContrastiveLoss
gaussian_nll_loss: _GaussianNLLLoss
hinge_embedding_loss: _HingeEmbeddingLoss
huber_loss: _HuberLoss
kl_div: _KLDivLoss
l1_loss: _L1Loss
linear_cross_entropy: _LinearCrossEntropyLoss
margin_ranking_loss: _MarginRankingLoss
mse_loss: _MSELoss
multi_margin_loss: _MultiMarginLoss
multilabel_margin_loss: _MultiLabelMarginLoss
multilabel_soft_margin_loss: _MultiLabelSoftMarginLoss
nll_loss: _NLLLoss
poisson_nll_loss: _PoissonNLLLoss
sigmoid_focal_loss: _SigmoidFocalLoss
smooth_l1_loss: _SmoothL1Loss
soft_margin_loss: _SoftMarginLoss
softmax_focal_loss: _SoftmaxFocalLoss
triplet_margin_loss: _TripletMarginLoss
triplet_margin_with_distance_loss: _TripletMarginWithDistanceLoss
tukey_biweight_loss: _TukeyBiweightLoss
