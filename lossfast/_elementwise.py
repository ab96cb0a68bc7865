"""Losses of one element at a time: from a call's arrays to the elementwise driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._drivers.elementwise import Elementwise
from lossfast._drivers.runtime import weight_sum
from lossfast._loss import Loss, Request, batch_weight, caller_arrays, result_dtype, written_arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape


class ElementwiseLoss(Loss):
    """A loss of one element at a time."""

    _kernel: ClassVar[Any] = None  # set by _bind

    #: Names of the parameters that the kernel takes, in its order.
    kernel_parameters: ClassVar[tuple[str, ...]] = ()
    #: Whether `input` and `target` may broadcast against each other.
    broadcasts: ClassVar[bool] = True
    #: Name of an array parameter that multiplies the loss, whether it enters the denominator of a mean, and whether it
    #: may broadcast to the input.
    multiplier: ClassVar[str] = ""
    multiplier_in_mean: ClassVar[bool] = False
    multiplier_broadcasts: ClassVar[bool] = True
    #: Whether one unreduced loss is the mean of the elements along the last axis.
    averages_last_axis: ClassVar[bool] = False
    #: Whether predictions beyond the first may be one number for each row along the last axis.
    takes_row_predictions: ClassVar[bool] = False

    # ---- for a family to override ----------------------------------------------------------------------------------

    def _kernel_name(self) -> str:
        return self.kernel

    def _kernel_parameters(self) -> tuple[float, ...]:
        """What the kernel takes, in its order."""
        return tuple(getattr(self, name) for name in self.kernel_parameters)

    def _parameter_operands(self) -> dict[str, Array]:
        """Array parameters that the kernel takes behind the arrays of the call."""
        return {}

    def _computed_in(self, itemsize: int) -> int:
        """Bytes of the kernel's precision where the predictions ask for this one."""
        return itemsize

    def _weighted(self, loss: Array) -> tuple[Array, Array]:
        """For a definition: the loss times its weights, and their part in the denominator of a mean."""
        weight = self._multiplier()
        if weight is None:
            return loss, np.ones((), loss.dtype)
        if not self.multiplier_in_mean or not loss.size:
            return loss * weight, np.ones((), loss.dtype)
        return loss * weight, weight * _unbroadcast(weight, loss.shape)

    # ---- the call --------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        kernel = self._bound(self.predictions)
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick)

    def _bound(self, predictions: tuple[str, ...]) -> Elementwise:
        """The kernel with everything that the loss knows; the predictions are those of usual calls."""
        places = {name: place for place, name in enumerate(self.arrays)}
        return Elementwise(
            self._kernel_name(),
            self._kernel_parameters(),
            predictions=tuple(places[name] for name in predictions),
            differentiable={name: places[name] for name in self.differentiable if name in places},
            curved={name: places[name] for name in self.curved},
            behind=tuple(self._parameter_operands().values()),
            weight=self._multiplier(),
            weight_in_mean=self.multiplier_in_mean,
            weight_broadcasts=self.multiplier_broadcasts,
            # further conditions on shapes are for _shape to check
            broadcasts=self.broadcasts and type(self)._shape is ElementwiseLoss._shape,
            averages=self.averages_last_axis,
            by_row=self.takes_row_predictions,
            has_domain=bool(self.domains),
            reduction=self.reduction,
        )

    def _multiplier(self) -> Array | None:
        return getattr(self, self.multiplier) if self.multiplier else None

    def _differentiable(self) -> tuple[str, ...]:
        return tuple(name for name in self.differentiable if name != self.multiplier or self._multiplier() is not None)

    def _shape(self, named: dict[str, Array]) -> Shape:
        """The shape of the unreduced loss."""
        if self.broadcasts:
            return _arrays.joint_shape(named)
        (first, lead), *others = named.items()
        for name, other in others:
            _arrays.same_shape(name, other.shape, lead.shape, f"that of {first}")
        shape: Shape = lead.shape
        return shape

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        originals = _arrays.as_arrays(arrays, self.arrays)
        result = self._retried(arrays, originals, request)
        if result is not None:
            return result
        named = _arrays.as_operands(originals)
        shape = self._shape(named)
        predictions = [originals[name] for name in self.predictions]
        unreduced, divisor, inner = shape, 1.0, _arrays.repeated_axes(predictions, shape)
        if self.averages_last_axis:
            if not shape:
                raise ValueError("input has shape (); expected (..., C), with the labels on the last axis")
            unreduced, divisor, inner = shape[:-1], float((1, *originals["input"].shape)[-1]), 1
        itemsize = _arrays.item_size(predictions)
        dtype = result_dtype(itemsize, predictions)
        itemsize = self._computed_in(itemsize)
        floor, curvature = self._resolve_curvature(request.curvature, dtype)
        wrt = self.predictions
        if request.wrt is not None:
            wrt = self._resolve_wrt(request.wrt, self.curved if request.order == 2 else self._differentiable())
        extra = self._parameter_operands()
        for name, array in extra.items():
            _arrays.broadcastable(array, name, shape)
        weight = self._multiplier()
        if weight is not None:
            if self.multiplier_broadcasts:
                _arrays.broadcastable(weight, self.multiplier, shape)
            else:
                _arrays.same_shape(self.multiplier, weight.shape, named["input"].shape, "that of input")
        sample_weight, cotangent = request.weights(unreduced)

        value = self._value_array(request, unreduced, dtype)
        arguments = {**originals, self.multiplier: weight}
        grads, hesses = request.results(wrt, arguments, shape, dict.fromkeys(self.arrays, inner) if inner else {})
        outs = caller_arrays(request, value, (*grads.values(), *hesses.values()))
        if outs:
            named = {name: _arrays.separated(a, outs, elementwise=a.shape == shape) for name, a in named.items()}
            sample_weight, cotangent = (_arrays.separated(a, outs) for a in (sample_weight, cotangent))

        total, denominator = 0.0, self._denominator(weight, sample_weight, unreduced)
        scale, cotangents = self._scale(denominator, cotangent)
        if math.prod(shape):
            scale /= divisor
            if self.averages_last_axis:
                sample_weight = None if sample_weight is None else sample_weight[..., np.newaxis]
                cotangents = tuple(a[..., np.newaxis] for a in cotangents)
            names, operands = (*named, *extra), (*named.values(), *extra.values())
            multipliers = tuple([m for m in (weight, sample_weight) if m is not None])
            nothing = (None,) * len(operands)
            call = (operands, shape, itemsize, multipliers)
            unweighted = None
            if weight is not None and self.multiplier in grads:  # before a result overwrites an argument
                unweighted = np.empty(shape)
                whole = (operands, shape, itemsize, ())
                self._kernel.run(*whole, (), 1.0, -math.inf, 0, unweighted, nothing, nothing, False)
            if self.domains and any(_arrays.overlap(out, a) for out in outs for a in originals.values()):
                _, invalid = self._kernel.run(*call, (), 1.0, -math.inf, 0, None, nothing, nothing, False)
                self._refuse_invalid(invalid, originals, request)
            total, invalid = self._kernel.run(
                *call,
                cotangents,
                scale,
                floor,
                curvature,
                value,
                written_arrays(grads, names) or nothing,
                written_arrays(hesses, names) or nothing,
                self.reduction != "none",
                inner,
                divisor,
            )
            total /= divisor
            self._refuse_invalid(invalid, originals, request)
            if weight is not None and unweighted is not None:
                factors = (a for a in (scale, sample_weight, *cotangents) if a is not None)
                with np.errstate(all="ignore"):
                    if self.reduction == "mean" and self.multiplier_in_mean:  # less what the weight adds to the divisor
                        unweighted -= _unbroadcast(weight, shape) * self._reduced(total, denominator)
                    grads[self.multiplier].array[...] = math.prod(factors, start=unweighted)
        else:
            empty = math.nan if math.prod(unreduced) else 0.0  # the mean of a row without elements
            total += empty
            for written in (value, *(r.array for r in (*grads.values(), *hesses.values()))):
                if written is not None:
                    written[...] = empty
        answer = self._reduced(total, denominator) if self.reduction != "none" else value
        return request.answer(answer, grads, hesses)

    def _denominator(self, weight: Array | None, sample_weight: Array | None, shape: Shape) -> float:
        if self.reduction in ("none", "sum"):
            return 1.0
        size, own = math.prod(shape), weight if self.multiplier_in_mean else None
        total = float(size)
        if size and (own is not None or sample_weight is not None):
            total = weight_sum(tuple([w for w in (own, sample_weight) if w is not None]), shape)
            if own is not None:
                total *= _unbroadcast(own, shape)
        return batch_weight(total, shape) if self.reduction == "batchmean" else total

    def _refuse_invalid(self, invalid: bool, arrays: dict[str, Array], request: Request) -> None:
        if invalid:
            for name, domain in self.domains.items():
                array = arrays[name].reshape(request.shown.get(name, arrays[name].shape))
                _arrays.refuse_outside(name, array, domain.low, domain.high, self.domain_hint)


def _unbroadcast(weight: Array, shape: Shape) -> float:
    """What a sum over the broadcast loss overstates that of a weight by: PyTorch adds it up as it is given."""
    return weight.size / math.prod(shape)
