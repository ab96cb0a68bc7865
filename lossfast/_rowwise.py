"""Losses over a class axis: labels or probabilities, checked, to the rowwise driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._drivers.elementwise import weight_sum
from lossfast._drivers.rowwise import Rowwise, scan_labels
from lossfast._loss import Loss, Request, _never, array, caller_arrays, integer, result_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape


class RowwiseLoss(Loss):
    """A loss of one row of classes at a time: axis 1, or the only axis of an unbatched input."""

    _kernel: ClassVar[Any] = None  # set by _bind
    differentiable: ClassVar[tuple[str, ...]] = ("input",)
    curved: ClassVar[tuple[str, ...]] = ("input",)
    #: Whether a floating target of the shape of `input` holds class probabilities.
    takes_probabilities: ClassVar[bool] = False

    weight: ArrayLike | None = array(default=None, ndim=1)
    ignore_index: int = integer(default=-100)

    def _bind(self) -> None:
        smoothing = getattr(self, "label_smoothing", 0.0)
        kernel = Rowwise(self.kernel, smoothing=smoothing, ignore_index=self.ignore_index, reduction=self.reduction)
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick if self.weight is None else _never)

    def _differentiable(self, target: Array | None) -> tuple[str, ...]:
        """Labels have no derivative; class weights have one with probabilities."""
        if target is None:
            return ("input",)
        return tuple(name for name in self.differentiable if name != "weight" or self.weight is not None)

    def _weight_gradient(self, input: Array, target: Array, axis: int, factors: list[Any]) -> Array:
        """The gradient by the class weights, where the loss has one."""
        raise NotImplementedError

    def _class_weight(self, classes: int, dtype: str) -> Array | None:
        if self.weight is None:
            return None
        weight = np.ascontiguousarray(self.weight, dtype)
        if weight.shape != (classes,):
            raise ValueError(f"weight has shape {weight.shape}; expected ({classes},), one weight per class")
        return weight

    def _targets(self, input: Array, raw: Array) -> tuple[Array | None, Array | None]:
        """Labels or probabilities."""
        expected = _without_axis(input.shape)
        if self.takes_probabilities and raw.shape == input.shape:
            if raw.dtype.kind in "biu":
                raise TypeError(
                    f"target has the shape of input, {raw.shape}, and dtype {raw.dtype}; expected class indices of "
                    f"shape {expected}: use target.argmax({min(1, input.ndim - 1)}) for one-hot labels, or "
                    "target.astype(np.float32) for class probabilities"
                )
            if self.ignore_index >= 0:
                raise ValueError(f"ignore_index = {self.ignore_index} needs class indices; target holds probabilities")
            return None, _arrays.as_operand(raw, "target")
        alternative = f", or class probabilities of shape {input.shape}" if self.takes_probabilities else ""
        _arrays.same_shape("target", raw.shape, expected, f"that of input without its class axis{alternative}")
        return _arrays.as_labels(raw, "target"), None

    def _check_labels(self, labels: Array, classes: int, row_weight: Array | None) -> float:
        """Refuse labels outside of the classes; returns the summed weights of those that count."""
        outside, kept_weight = scan_labels(
            labels, classes, self.ignore_index, self._class_weight(classes, "f8"), row_weight
        )
        if outside >= 0:
            raise IndexError(
                f"{_arrays.locate('target', labels, outside)} is outside [0, {classes}): labels count from 0, and "
                f"ignore_index={self.ignore_index} marks those to leave out"
            )
        return float(kept_weight)

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        original = _arrays.as_array(arrays[0], "input")
        if original.ndim == 0:
            raise ValueError("input has shape (); expected (C,), (N, C) or (N, C, d1, ...)")
        unbatched = original.shape
        given = _arrays.as_array(arrays[1], "target")
        if given.size == 0 and not isinstance(arrays[1], np.ndarray):
            given = given.astype(np.int64)  # an empty list has no dtype of its own
        if original.ndim == 1 and given.shape == (1,) != original.shape:
            original = original[np.newaxis]  # one row and one label in brackets are a batch of one
        input = _arrays.as_operand(original, "input")
        labels, target = self._targets(input, given)
        axis = min(1, input.ndim - 1)
        classes, shape = input.shape[axis], _without_axis(input.shape)
        if classes > np.iinfo(np.int32).max:
            raise ValueError(f"input has {classes} classes; expected fewer than 2**31")
        itemsize = _arrays.item_size([input])
        dtype = result_dtype(itemsize, [original])
        floor, curvature = self._resolve_curvature(request.curvature, dtype)
        wrt = self._resolve_wrt(request.wrt, self.curved if request.order == 2 else self._differentiable(target))
        class_weight = self._class_weight(classes, f"f{itemsize}")
        row_weight, cotangent = request.weights(shape)
        rows = math.prod(shape)
        denominator = 1.0
        if labels is not None:
            kept_weight = self._check_labels(labels, classes, row_weight)
            denominator = kept_weight if self.reduction == "mean" else 1.0
        elif self.reduction == "mean":
            denominator = float(rows) if row_weight is None or not rows else weight_sum((row_weight,), shape)

        value = self._value_array(request, shape, dtype)
        if original.shape != unbatched:
            request = request.batched(unbatched)
        class_weights = None if self.weight is None else np.asarray(self.weight)  # in the dtype that they were given in
        arguments = {"input": original, "target": target, "weight": class_weights}
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
            if target is not None and "weight" in grads:  # before a result overwrites the input
                factors = [scale, *(a for a in (row_weight, *cotangents) if a is not None)]
                grads["weight"].array[...] = self._weight_gradient(input, target, axis, factors)
            total = self._kernel.run(
                input,
                axis,
                itemsize,
                labels,
                target,
                class_weight,
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
