"""The arrays that losses take, by the names that torch.nn gives them: the five methods for every set of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from lossfast._loss import Loss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._methods import GradientOptions, HessianOptions, ValueOptions


class InputTargetLoss(Loss):
    """One prediction and its target."""

    arrays: ClassVar[tuple[str, ...]] = ("input", "target")
    predictions: ClassVar[tuple[str, ...]] = ("input",)

    def __call__(self, input: ArrayLike, target: ArrayLike, **options: Unpack[ValueOptions]) -> Any:
        return self._run("__call__", (input, target), options)

    def value_and_grad(
        self, input: ArrayLike, target: ArrayLike, **options: Unpack[GradientOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("value_and_grad", (input, target), options)
        return result

    def grad(self, input: ArrayLike, target: ArrayLike, **options: Unpack[GradientOptions]) -> Any:
        return self._run("grad", (input, target), options)

    def grad_hess(self, input: ArrayLike, target: ArrayLike, **options: Unpack[HessianOptions]) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("grad_hess", (input, target), options)
        return result

    def value_grad_hess(
        self, input: ArrayLike, target: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any, Any]:
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", (input, target), options)
        return result


class InputPairTargetLoss(Loss):
    """Two predictions and the label of the pair."""

    arrays: ClassVar[tuple[str, ...]] = ("input1", "input2", "target")
    predictions: ClassVar[tuple[str, ...]] = ("input1", "input2")

    def __call__(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, **options: Unpack[ValueOptions]) -> Any:
        return self._run("__call__", (input1, input2, target), options)

    def value_and_grad(
        self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, **options: Unpack[GradientOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("value_and_grad", (input1, input2, target), options)
        return result

    def grad(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, **options: Unpack[GradientOptions]) -> Any:
        return self._run("grad", (input1, input2, target), options)

    def grad_hess(
        self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("grad_hess", (input1, input2, target), options)
        return result

    def value_grad_hess(
        self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any, Any]:
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", (input1, input2, target), options)
        return result


class AnchorPositiveNegativeLoss(Loss):
    """A prediction, one that it should be near to and one that it should be far from."""

    arrays: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")
    predictions: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")

    def __call__(
        self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, **options: Unpack[ValueOptions]
    ) -> Any:
        return self._run("__call__", (anchor, positive, negative), options)

    def value_and_grad(
        self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, **options: Unpack[GradientOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("value_and_grad", (anchor, positive, negative), options)
        return result

    def grad(
        self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, **options: Unpack[GradientOptions]
    ) -> Any:
        return self._run("grad", (anchor, positive, negative), options)

    def grad_hess(
        self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("grad_hess", (anchor, positive, negative), options)
        return result

    def value_grad_hess(
        self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any, Any]:
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", (anchor, positive, negative), options)
        return result


class InputTargetVarLoss(Loss):
    """A predicted mean, the target and a predicted variance, which may be a constant."""

    arrays: ClassVar[tuple[str, ...]] = ("input", "target", "var")
    predictions: ClassVar[tuple[str, ...]] = ("input", "var")

    def __call__(self, input: ArrayLike, target: ArrayLike, var: ArrayLike, **options: Unpack[ValueOptions]) -> Any:
        return self._run("__call__", (input, target, var), options)

    def value_and_grad(
        self, input: ArrayLike, target: ArrayLike, var: ArrayLike, **options: Unpack[GradientOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("value_and_grad", (input, target, var), options)
        return result

    def grad(self, input: ArrayLike, target: ArrayLike, var: ArrayLike, **options: Unpack[GradientOptions]) -> Any:
        return self._run("grad", (input, target, var), options)

    def grad_hess(
        self, input: ArrayLike, target: ArrayLike, var: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("grad_hess", (input, target, var), options)
        return result

    def value_grad_hess(
        self, input: ArrayLike, target: ArrayLike, var: ArrayLike, **options: Unpack[HessianOptions]
    ) -> tuple[Any, Any, Any]:
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", (input, target, var), options)
        return result


class FramesLabelsLoss(Loss):
    """Log-probabilities of frames, labels, and the lengths of both."""

    arrays: ClassVar[tuple[str, ...]] = ("log_probs", "targets", "input_lengths", "target_lengths")
    predictions: ClassVar[tuple[str, ...]] = ("log_probs",)

    def __call__(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        **options: Unpack[ValueOptions],
    ) -> Any:
        return self._run("__call__", (log_probs, targets, input_lengths, target_lengths), options)

    def value_and_grad(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        **options: Unpack[GradientOptions],
    ) -> tuple[Any, Any]:
        arrays = (log_probs, targets, input_lengths, target_lengths)
        result: tuple[Any, Any] = self._run("value_and_grad", arrays, options)
        return result

    def grad(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        **options: Unpack[GradientOptions],
    ) -> Any:
        return self._run("grad", (log_probs, targets, input_lengths, target_lengths), options)

    def grad_hess(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        **options: Unpack[HessianOptions],
    ) -> tuple[Any, Any]:
        arrays = (log_probs, targets, input_lengths, target_lengths)
        result: tuple[Any, Any] = self._run("grad_hess", arrays, options)
        return result

    def value_grad_hess(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        input_lengths: ArrayLike,
        target_lengths: ArrayLike,
        **options: Unpack[HessianOptions],
    ) -> tuple[Any, Any, Any]:
        arrays = (log_probs, targets, input_lengths, target_lengths)
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", arrays, options)
        return result
