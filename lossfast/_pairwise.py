"""Losses of embeddings that are compared with each other: from a call's arrays to the pairwise driver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from lossfast import _arrays
from lossfast._drivers.pairwise import Pairwise
from lossfast._drivers.runtime import weight_sum
from lossfast._loss import Loss, Request, Result, caller_arrays, result_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape


class PairwiseLoss(Loss):
    """A loss of one row of embeddings at a time, whose features are on the last axis.

    The predictions are the embeddings. Their other axes broadcast, and so does a target, one number for each row.
    """

    _kernel: ClassVar[Any] = None  # set by _bind
    curved: ClassVar[tuple[str, ...]] = ()
    curvatures: ClassVar[tuple[str, ...]] = ()
    #: Names of the parameters that the kernel takes, in its order.
    kernel_parameters: ClassVar[tuple[str, ...]] = ()
    #: Whether embeddings may have more axes than those of rows and features.
    trailing_axes: ClassVar[bool] = True

    # ---- for a family to override ----------------------------------------------------------------------------------

    def _kernel_call(self) -> tuple[str, tuple[float, ...]]:
        """Name of the kernel and its parameters."""
        return self.kernel, tuple(float(getattr(self, name)) for name in self.kernel_parameters)

    def _shape(self, embeddings: dict[str, Array]) -> Shape:
        """The shape that the embeddings broadcast to, features last."""
        (first, lead), *others = embeddings.items()
        if lead.ndim == 0:
            raise ValueError(f"{first} has shape (); expected (..., D), with the features on the last axis")
        for name, other in others:
            if other.shape[-1:] != lead.shape[-1:]:
                raise ValueError(
                    f"{name} has shape {other.shape}; expected {lead.shape[-1]} features on the last axis, as {first} "
                    f"of shape {lead.shape} has"
                )
        return _arrays.joint_shape(embeddings)

    # ---- the call --------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        name, parameters = self._kernel_call()
        kernel = Pairwise(
            name,
            parameters,
            differentiable={name: place for place, name in enumerate(self.predictions)},
            most_axes=64 if self.trailing_axes else 2,
            has_domain=bool(self.domains),
            reduction=self.reduction,
        )
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick)

    def _rows(self, target: Array, rows: Shape) -> Shape:
        """The shape of the unreduced loss, which is that of the rows of embeddings or that of the targets."""
        joint = _arrays.broadcast_shape(target.shape, rows)
        if joint not in (rows, target.shape):
            _arrays.same_shape("target", target.shape, rows, "one for each row of features")
        return target.shape if joint is None else joint

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        originals = _arrays.as_arrays(arrays, self.arrays)
        result = self._retried(arrays, originals, request)
        if result is not None:
            return result
        named = _arrays.as_operands(originals)
        embeddings = {name: named[name] for name in self.predictions}
        target = named.get("target")
        *rows, features = self._shape(embeddings) or (1,)
        shape: Shape = tuple(rows)
        if target is not None:
            shape = self._rows(target, shape)
        joint = (*shape, features)
        predictions = [originals[name] for name in self.predictions]
        itemsize = _arrays.item_size(predictions)
        dtype = result_dtype(itemsize, predictions)
        wrt = self._resolve_wrt(request.wrt, self.differentiable)
        sample_weight, cotangent = request.weights(shape)
        for name, domain in self.domains.items():
            _arrays.refuse_outside(name, originals[name], domain.low, domain.high, self.domain_hint)

        value = self._value_array(request, shape, dtype)
        grads = {
            name: Result(originals[name], out, shape if name == "target" else joint, None)
            for name, out in zip(wrt, request.outs(wrt)[0], strict=True)
            if request.order
        }
        outs = caller_arrays(request, value, grads.values())
        if outs:
            embeddings = {
                name: _arrays.separated(a, outs, elementwise=a.shape == joint) for name, a in embeddings.items()
            }
            target, sample_weight, cotangent = (_arrays.separated(a, outs) for a in (target, sample_weight, cotangent))

        total, denominator = 0.0, float(self.reduction != "mean")
        if self.reduction == "mean" and math.prod(shape) > 0:
            losses: int = math.prod(shape)
            denominator = float(losses) if sample_weight is None else weight_sum((sample_weight,), shape)
        scale, cotangents = self._scale(denominator, cotangent)
        if math.prod(shape):
            total = self._kernel.run(
                tuple(a.reshape(1) if a.ndim == 0 else a for a in embeddings.values()),
                joint,
                itemsize,
                target,
                () if sample_weight is None else (sample_weight,),
                cotangents,
                scale,
                value,
                tuple(grads[name].array if name in grads else None for name in embeddings),
                grads["target"].array if "target" in grads else None,
            )
        else:
            for result in grads.values():
                result.array[...] = 0
        answer = self._reduced(total, denominator) if self.reduction != "none" else value
        return request.answer(answer, grads, {})
