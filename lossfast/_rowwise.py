"""Losses over a class axis: labels, lists of them or probabilities, checked, to the rowwise driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._drivers.rowwise import Rowwise
from lossfast._drivers.runtime import weight_sum
from lossfast._loss import Loss, Request, caller_arrays, result_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape


class RowwiseLoss(Loss):
    """A loss of one row of classes at a time: axis 1, or the only axis of an unbatched input."""

    _kernel: ClassVar[Any] = None  # set by _bind
    differentiable: ClassVar[tuple[str, ...]] = ("input",)
    curved: ClassVar[tuple[str, ...]] = ("input",)
    #: Names of the parameters that the kernel takes, in its order.
    kernel_parameters: ClassVar[tuple[str, ...]] = ()
    #: Name of an array parameter with one factor per class, and whether that of a label is its share of a mean.
    multiplier: ClassVar[str] = ""
    multiplier_in_mean: ClassVar[bool] = False
    #: Whether a floating target of the shape of `input` holds class probabilities.
    takes_probabilities: ClassVar[bool] = False
    #: Whether the target has the shape of `input` and holds a list of labels for each row, which a -1 ends.
    takes_label_lists: ClassVar[bool] = False
    #: Whether axes may follow the class axis, and rows may be without classes.
    trailing_axes: ClassVar[bool] = True

    # ---- for a family to override ----------------------------------------------------------------------------------

    def _kernel_parameters(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.kernel_parameters)

    def _weight_gradient(self, input: Array, target: Array, axis: int, factors: list[Any]) -> Array:
        """The gradient by the class weights, where the loss has one."""
        raise NotImplementedError

    # ---- the call --------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        kernel = Rowwise(
            self.kernel,
            self._kernel_parameters(),
            ignore_index=self._ignored(),
            lists=self.takes_label_lists,
            probabilities=self.takes_probabilities,
            class_factors=self._multiplier(),
            factors_in_mean=self.multiplier_in_mean,
            most_axes=64 if self.trailing_axes else 2,
            reduction=self.reduction,
        )
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick)

    def _ignored(self) -> int | None:
        """The label that counts nothing, if the loss has one."""
        return getattr(self, "ignore_index", None)

    def _multiplier(self) -> Array | None:
        """The factors of the classes, if there are any."""
        factors = getattr(self, self.multiplier) if self.multiplier else None
        return factors if isinstance(factors, np.ndarray) else None

    def _differentiable(self, target: Array | None) -> tuple[str, ...]:
        """Labels have no derivative; class weights have one with probabilities."""
        if target is None:
            return ("input",)
        return tuple(name for name in self.differentiable if name != self.multiplier or self._multiplier() is not None)

    def _check_factors(self, classes: int) -> None:
        factors = self._multiplier()
        if factors is not None and factors.shape != (classes,):
            raise ValueError(
                f"{self.multiplier} has shape {factors.shape}; expected ({classes},), one {self.multiplier} per class"
            )

    def _rows(self, input: Array, target: Array) -> tuple[Array, Array]:
        """The arrays with their class axis; one row and one label in brackets are a batch of one."""
        if not self.trailing_axes:
            if input.ndim == 0:  # one class
                input = input[np.newaxis]
                target = target[np.newaxis] if self.takes_label_lists and target.ndim == 0 else target
            if input.ndim > 2 or not input.shape[-1]:
                raise ValueError(f"input has shape {input.shape}; expected (C,) or (N, C) with one class or more")
        elif input.ndim == 0:
            raise ValueError("input has shape (); expected (C,), (N, C) or (N, C, d1, ...)")
        may_be_a_row = self.takes_label_lists or (self.takes_probabilities and input.shape == (1,))
        if input.ndim == 1 and target.shape == (1,) and not may_be_a_row:
            input = input[np.newaxis]
        return input, target

    def _targets(self, shape: Shape, raw: Array, of: str = "input") -> tuple[Array | None, Array | None]:
        """Labels (one for each row, or lists of them) or probabilities, for logits of this shape."""
        if self.takes_label_lists:
            _arrays.same_shape("target", raw.shape, shape, f"that of {of}")
            return _arrays.as_labels(raw, "target"), None
        expected = _without_axis(shape)
        if self.takes_probabilities and raw.shape == shape:
            if raw.dtype.kind in "biu":
                raise TypeError(
                    f"target has the shape of {of}, {raw.shape}, and dtype {raw.dtype}; expected class indices of "
                    f"shape {expected}: use target.argmax({min(1, len(shape) - 1)}) for one-hot labels, or "
                    "target.astype(np.float32) for class probabilities"
                )
            ignored = self._ignored()
            if ignored is not None and ignored >= 0:
                raise ValueError(f"ignore_index = {ignored} needs class indices; target holds probabilities")
            return None, _arrays.as_operand(raw, "target")
        alternative = f", or class probabilities of shape {shape}" if self.takes_probabilities else ""
        _arrays.same_shape("target", raw.shape, expected, f"that of {of} without its class axis{alternative}")
        return _arrays.as_labels(raw, "target"), None

    def _denominator(self, labels: Array | None, classes: int, shape: Shape, row_weight: Array | None) -> float:
        """What a mean is divided by, and 1 for other reductions; labels outside of the classes are refused."""
        counted = None if labels is None else self._check_labels(labels, classes, row_weight)
        if self.reduction != "mean":
            return 1.0
        if counted is not None:
            return counted
        rows = math.prod(shape)
        return float(rows if row_weight is None or not rows else weight_sum((row_weight,), shape))

    def _check_labels(self, labels: Array, classes: int, row_weight: Array | None) -> float | None:
        """Refuse labels outside of the classes; the weight of those that count, None where every row does."""
        outside, kept_weight = self._kernel.scan(labels, classes, row_weight)
        if outside >= 0:
            ignored, low = self._ignored(), -1 if self.takes_label_lists else 0
            meaning = (
                "labels count from 0, and the first -1 of a row ends its list"
                if self.takes_label_lists
                else "labels count from 0"
                if ignored is None
                else f"labels count from 0, and ignore_index={ignored} marks those to leave out"
            )
            raise IndexError(f"{_arrays.locate('target', labels, outside)} is outside [{low}, {classes}): {meaning}")
        weight: float | None = kept_weight
        return weight

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        originals = _arrays.as_arrays(arrays, self.arrays)
        result = self._retried(arrays, originals, request)
        if result is not None:
            return result
        original, given = originals.values()
        if given.size == 0 and isinstance(arrays[1], list | tuple):
            given = given.astype(np.int64)  # an empty list has no dtype of its own
        unbatched = original.shape
        original, given = self._rows(original, given)
        input = _arrays.as_operand(original, "input")
        labels, target = self._targets(input.shape, given)
        axis = min(1, input.ndim - 1)
        classes, shape = input.shape[axis], _without_axis(input.shape)
        if classes > np.iinfo(np.int32).max:
            raise ValueError(f"input has {classes} classes; expected fewer than 2**31")
        itemsize = _arrays.item_size([input])
        dtype = result_dtype(itemsize, [original])
        floor, curvature = self._resolve_curvature(request.curvature, dtype)
        wrt = self._resolve_wrt(request.wrt, self.curved if request.order == 2 else self._differentiable(target))
        self._check_factors(classes)
        row_weight, cotangent = request.weights(shape)
        rows = math.prod(shape)
        denominator = self._denominator(labels, classes, shape, row_weight)

        value = self._value_array(request, shape, dtype)
        if original.shape != unbatched:
            request = request.batched(unbatched)
        # the factors of the classes in the dtype that they were given in
        arguments = {
            "input": original,
            "target": None if target is None else given,
            self.multiplier: self._multiplier(),
        }
        grads, hesses = request.results(wrt, arguments, None)
        outs = caller_arrays(request, value, (*grads.values(), *hesses.values()))
        if outs:
            # the gradient by the target reads the input after that by the input is written
            input = _arrays.separated(input, outs, elementwise="target" not in grads)
            labels, target, row_weight, cotangent = (
                _arrays.separated(a, outs) for a in (labels, target, row_weight, cotangent)
            )

        total = 0.0
        scale, cotangents = self._scale(denominator, cotangent)
        if rows and classes:
            if target is not None and self.multiplier in grads:  # before a result overwrites the input
                factors = [scale, *(a for a in (row_weight, *cotangents) if a is not None)]
                by_weight = self._weight_gradient(input, target, axis, factors)
                with np.errstate(over="ignore"):
                    grads[self.multiplier].array[...] = by_weight
            total = self._kernel.run(
                input,
                axis,
                itemsize,
                labels,
                target,
                () if row_weight is None else (row_weight,),
                cotangents,
                scale,
                floor,
                curvature,
                value,
                grads["input"].array if "input" in grads else None,
                hesses["input"].array if "input" in hesses else None,
                grads["target"].array if "target" in grads else None,
            )
        else:  # no rows, or rows without classes, whose loss is an empty sum
            for written in (value, *(r.array for r in (*grads.values(), *hesses.values()))):
                if written is not None:
                    written[...] = 0
        answer = self._reduced(total, denominator) if self.reduction != "none" else value
        return request.answer(answer, grads, hesses)


def _without_axis(shape: Shape) -> Shape:
    """The shape without its class axis."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()
