"""How a loss is declared, and what follows from the declaration.

A loss is a frozen dataclass: its fields are the parameters, its class variables say which arrays it takes and which
derivatives it has, `definition` is the mathematics in plain NumPy, and `kernel` names the body in `kernels/`.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import numpy as np

from lossfast import _arrays
from lossfast._arrays import Array, Shape
from lossfast._drivers.elementwise import Elementwise, weight_sum
from lossfast._drivers.rowwise import Rowwise, scan_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike

#: Every public loss by class name, filled by declaring it.
REGISTRY: dict[str, type[Loss]] = {}

CURVATURES = ("exact", "psd", "fisher", "majorizer", "unit")


# ---- parameters --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """The real numbers from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf
    low_inclusive: bool = True
    high_inclusive: bool = True

    def __contains__(self, x: float) -> bool:
        above = x >= self.low if self.low_inclusive else x > self.low
        return above and (x <= self.high if self.high_inclusive else x < self.high)

    def __str__(self) -> str:
        left, right = "[" if self.low_inclusive else "(", "]" if self.high_inclusive else ")"
        return f"{left}{self.low:g}, {self.high:g}{right}"


def number(default: float, domain: Interval = Interval()) -> Any:
    """Declare a real parameter, checked against its domain when a loss is made."""
    return dataclasses.field(default=default, metadata={"domain": domain})


def integer(default: int) -> Any:
    """Declare an integer parameter."""
    return dataclasses.field(default=default, metadata={"integer": True})


def array(ndim: int | None = None) -> Any:
    """Declare an optional array parameter, kept as a read-only copy."""
    return dataclasses.field(default=None, metadata={"array": True, "ndim": ndim})


def _checked_parameter(name: str, value: Any, metadata: Mapping[str, Any]) -> Any:
    if metadata.get("array"):
        if value is None:
            return None
        kept = np.array(_arrays.as_operand(value, name))
        if metadata["ndim"] is not None and kept.ndim != metadata["ndim"]:
            raise ValueError(f"{name} has {kept.ndim} dimensions; expected {metadata['ndim']}")
        kept.flags.writeable = False
        return kept
    if metadata.get("integer"):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected an integer")
        return int(value)
    if "domain" in metadata:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected a real number")
        if float(value) not in metadata["domain"]:
            raise ValueError(f"{name} = {value} is outside {metadata['domain']}")
        return float(value)
    return value


def _never(*arrays: Any) -> None:
    """The quick entry of a loss that has none."""


# ---- the base ----------------------------------------------------------------------------------------------------------


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=False, field_specifiers=(number, integer, array))
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Loss:
    """What all losses share: parameters, the five methods and how a reduction is taken."""

    #: Name of the body in the kernel table; empty for a class that is not a loss itself.
    kernel: ClassVar[str] = ""
    #: Name of the function in `lossfast.functional`.
    function: ClassVar[str] = ""
    #: Names of the positional arrays.
    arrays: ClassVar[tuple[str, ...]] = ("input", "target")
    #: Those that a model produces: they decide the precision and are differentiated by default.
    predictions: ClassVar[tuple[str, ...]] = ("input",)
    #: Those that have a gradient.
    differentiable: ClassVar[tuple[str, ...]] = ("input", "target")
    #: Those that have a Hessian.
    curved: ClassVar[tuple[str, ...]] = ("input", "target")
    #: Curvatures that the loss defines.
    curvatures: ClassVar[tuple[str, ...]] = ("exact", "psd", "unit")
    #: Domains of arrays, where they are less than all real numbers.
    domains: ClassVar[Mapping[str, Interval]] = {}
    #: What to say to someone who left the domain.
    domain_hint: ClassVar[str] = ""
    #: Values of `reduction`.
    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")

    reduction: str = "mean"

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
        if cls.kernel:
            REGISTRY[cls.__name__] = cls

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            checked = _checked_parameter(field.name, getattr(self, field.name), field.metadata)
            object.__setattr__(self, field.name, checked)
        if self.reduction not in self.reductions:
            raise ValueError(f"reduction = {self.reduction!r} is not one of {', '.join(map(repr, self.reductions))}")
        self._bind()

    # ---- the object --------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by name, `reduction` last."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in [*(n for n in names if n != "reduction"), "reduction"]}

    def __repr__(self) -> str:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        shown = [f"{k}={v!r}" for k, v in self.parameters.items() if v is not None and not _same(v, defaults[k])]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self.parameters, other.parameters
        return all(_same(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        keys = (v.tobytes() if isinstance(v, np.ndarray) else v for v in self.parameters.values())
        return hash((type(self), *keys))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.parameters)

    # ---- what a shape of loss provides --------------------------------------------------------------------------------

    def _bind(self) -> None:
        """Prepare the kernel and the quick entry."""
        raise NotImplementedError

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        raise NotImplementedError

    def definition(self, *arrays: Array) -> tuple[Array, Array]:
        """The unreduced loss in plain NumPy, and the weight of each element in the denominator of a mean."""
        raise NotImplementedError

    # ---- the methods -------------------------------------------------------------------------------------------------

    def reference(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The plain NumPy definition, in the precision of the arrays: slow, and what the kernels are tested against."""
        loss, share = self.definition(*(np.asarray(a) for a in arrays))
        share = np.broadcast_to(share, loss.shape)
        if sample_weight is not None:
            loss, share = loss * np.asarray(sample_weight), share * np.asarray(sample_weight)
        if self.reduction == "none":
            return loss
        total = loss.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            return total / share.sum() if self.reduction == "mean" else total

    def _resolve_wrt(self, wrt: str | tuple[str, ...] | None, available: Sequence[str]) -> tuple[str, ...]:
        if wrt is None:
            return self.predictions
        names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        for name in names:
            if name not in available:
                raise ValueError(f"wrt = {name!r}: {type(self).__name__} has derivatives by {', '.join(available)}")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"wrt = {wrt!r}: expected different names out of {', '.join(available)}")
        return names

    def _resolve_curvature(self, curvature: str) -> str:
        if curvature not in self.curvatures:
            raise ValueError(
                f"curvature = {curvature!r} is not defined for {type(self).__name__}: "
                f"choose one of {', '.join(map(repr, self.curvatures))}"
            )
        return curvature

    def _scale(self, denominator: float, grad_output: Array | None) -> tuple[float, tuple[Array, ...]]:
        """What multiplies every derivative, and the arrays that do so element by element."""
        scale = 1.0
        if self.reduction not in ("none", "sum"):
            scale = 1.0 / denominator if denominator != 0 else math.inf
        if grad_output is None:
            return scale, ()
        if self.reduction == "none":
            return scale, (grad_output,)
        if grad_output.ndim:
            raise ValueError(
                f"grad_output has shape {grad_output.shape}; expected a number, since reduction={self.reduction!r} "
                "gives one value: use reduction='none' for a cotangent per element"
            )
        return scale * float(grad_output), ()

    def _reduced(self, total: float, denominator: float) -> float:
        if self.reduction == "sum":
            return total
        return total / denominator if denominator != 0 else total * math.inf if total != 0 else math.nan


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        alike = isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype
        return alike and np.array_equal(a, b, equal_nan=True)
    return bool(a == b)


def _restore(cls: type[Loss], parameters: dict[str, Any]) -> Loss:
    return cls(**parameters)


@dataclass(frozen=True, slots=True)
class Request:
    """What one call asks for."""

    value: bool
    order: int  # 0: value, 1: gradient, 2: and Hessian
    sample_weight: ArrayLike | None = None
    wrt: str | tuple[str, ...] | None = None
    grad_output: ArrayLike | None = None
    out: Any = None
    curvature: str = "exact"

    def outs(self, names: tuple[str, ...]) -> list[list[Any]]:
        """The caller's result arrays: those of the gradients, then those of the Hessians; None where there is none."""
        if self.out is None:
            return [[None] * len(names)] * 2
        groups = (self.out,) if self.order < 2 else self.out
        if self.order == 2 and (not isinstance(groups, tuple) or len(groups) != 2):
            raise TypeError("out: expected (grad, hess)")
        result = []
        for group in groups:
            members = (group,) if len(names) == 1 and not isinstance(group, tuple) else group
            if not isinstance(members, tuple) or len(members) != len(names):
                raise TypeError(f"out: expected one array for each of {', '.join(names)}")
            result.append(list(members))
        return [*result, [None] * len(names)][:2]

    def answer(self, value: Any, grads: list[Array], hesses: list[Array]) -> Any:
        """Values, gradients and Hessians in the form of the method that was called."""
        parts = [value] if self.value else []
        for group in (grads, hesses)[: self.order]:
            parts.append(group[0] if len(group) == 1 else tuple(group))
        return parts[0] if len(parts) == 1 else tuple(parts)


class InputTargetLoss(Loss):
    """The methods of every loss of one prediction and one target."""

    _quick: ClassVar[Callable[..., Any]] = staticmethod(_never)

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, sample_weight: ArrayLike | None = None, out: Any = None
    ) -> Any:
        """The loss: a float, or with ``reduction="none"`` an array; no gradient work is done.

        Parameters
        ----------
        input, target : array_like
            See the class.
        sample_weight : array_like, optional
            One weight per element of the unreduced loss; a mean is divided by the weights' sum.
        out : ndarray, optional
            With ``reduction="none"``, where to put the loss.
        """
        if sample_weight is None and out is None:
            value = self._quick(input, target, 0)
            if value is not None:
                return value
        return self._evaluate((input, target), Request(True, 0, sample_weight, out=out))

    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> tuple[Any, Any]:
        """The loss and its gradient, from one pass over memory.

        Parameters
        ----------
        input, target, sample_weight
            As in a call.
        wrt : str or tuple of str, optional
            What to differentiate by; one name gives one array, several a tuple. Default: the predictions.
        grad_output : array_like, optional
            With ``reduction="none"`` the cotangent, else a number; default ones.
        out : ndarray or tuple of ndarray, optional
            Where to put the gradient; may be ``input`` itself.
        """
        if sample_weight is None and wrt is None and grad_output is None and out is None:
            pair: tuple[Any, Array] | None = self._quick(input, target, 1)
            if pair is not None:
                return pair
        result: tuple[Any, Any] = self._evaluate(
            (input, target), Request(True, 1, sample_weight, wrt, grad_output, out)
        )
        return result

    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
    ) -> Any:
        """The gradient alone; arguments as in `value_and_grad`."""
        if sample_weight is None and wrt is None and grad_output is None and out is None:
            pair = self._quick(input, target, 1)
            if pair is not None:
                return pair[1]
        return self._evaluate((input, target), Request(False, 1, sample_weight, wrt, grad_output, out))

    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any]:
        """The gradient and the diagonal of the Hessian.

        Parameters
        ----------
        input, target, sample_weight, wrt, grad_output
            As in `value_and_grad`.
        out : tuple, optional
            ``(grad, hess)``.
        curvature : {"exact", "psd", "fisher", "majorizer", "unit"}
            The second derivative itself; clipped to stay positive; its expectation under the model; that of a quadratic
            upper bound; one. Losses define some of them.
        """
        if sample_weight is None and wrt is None and grad_output is None and out is None and curvature == "exact":
            triple: tuple[Any, Array, Array] | None = self._quick(input, target, 2)
            if triple is not None:
                return triple[1:]
        result: tuple[Any, Any] = self._evaluate(
            (input, target), Request(False, 2, sample_weight, wrt, grad_output, out, curvature)
        )
        return result

    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        wrt: str | tuple[str, ...] | None = None,
        grad_output: ArrayLike | None = None,
        out: Any = None,
        curvature: str = "exact",
    ) -> tuple[Any, Any, Any]:
        """The loss, its gradient and the diagonal of its Hessian; arguments as in `grad_hess`."""
        if sample_weight is None and wrt is None and grad_output is None and out is None and curvature == "exact":
            triple: tuple[Any, Array, Array] | None = self._quick(input, target, 2)
            if triple is not None:
                return triple
        result: tuple[Any, Any, Any] = self._evaluate(
            (input, target), Request(True, 2, sample_weight, wrt, grad_output, out, curvature)
        )
        return result


# ---- elementwise losses ------------------------------------------------------------------------------------------------

_KERNEL_CURVATURE = {"exact": 0, "psd": 0, "fisher": 1, "majorizer": 2, "unit": 3}


def _floor(curvature: str, itemsize: int) -> float:
    """The least Hessian, before scaling."""
    if curvature != "psd":
        return -math.inf
    return float(np.finfo(np.float32 if itemsize == 4 else np.float64).eps)


class ElementwiseLoss(InputTargetLoss):
    """A loss of one element at a time."""

    #: Names of the parameters that the kernel takes, in its order.
    kernel_parameters: ClassVar[tuple[str, ...]] = ()
    #: Whether `input` and `target` may broadcast against each other.
    broadcasts: ClassVar[bool] = True
    #: Name of an array parameter that multiplies the loss, and whether it enters the denominator of a mean.
    multiplier: ClassVar[str] = ""
    multiplier_in_mean: ClassVar[bool] = False

    def _bind(self) -> None:
        name, _ = self._kernel_and_operands()
        parameters = tuple(getattr(self, name) for name in self.kernel_parameters)
        kernel = Elementwise(name, parameters, reduction=self.reduction)
        object.__setattr__(self, "_kernel", kernel)
        plain = self._multiplier() is None and len(self._kernel_and_operands()[1]) == 0
        object.__setattr__(self, "_quick", kernel.quick if plain else _never)

    def _kernel_and_operands(self) -> tuple[str, tuple[Array, ...]]:
        """The kernel, and array parameters that it takes behind the arrays of the call."""
        return self.kernel, ()

    def _multiplier(self) -> Array | None:
        return getattr(self, self.multiplier) if self.multiplier else None

    def _shape(self, named: dict[str, Array]) -> Shape:
        """The shape of the unreduced loss."""
        if self.broadcasts:
            return _arrays.joint_shape(named)
        (first, lead), *others = named.items()
        for name, other in others:
            _arrays.same_shape(name, other.shape, lead.shape, f"that of {first}")
        return lead.shape

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        originals = {name: _arrays.as_array(a, name) for name, a in zip(self.arrays, arrays, strict=True)}
        named = {name: _arrays.as_operand(a, name) for name, a in originals.items()}
        shape = self._shape(named)
        itemsize = _arrays.item_size([named[name] for name in self.predictions])
        curvature = self._resolve_curvature(request.curvature)
        wrt = self._resolve_wrt(request.wrt, self.curved if request.order == 2 else self._differentiable())
        extra = tuple(
            _arrays.broadcastable(a, name, shape) for name, a in self._named_extra_operands(shape).items()
        )
        weight, sample_weight, cotangent = self._multiplier(), None, None
        if weight is not None:
            self._check_multiplier(weight, named, shape)
        if request.sample_weight is not None:
            sample_weight = _arrays.as_operand(request.sample_weight, "sample_weight")
            _arrays.broadcastable(sample_weight, "sample_weight", shape)
        if request.grad_output is not None:
            cotangent = _arrays.as_operand(request.grad_output, "grad_output")
            _arrays.broadcastable(cotangent, "grad_output", shape)

        # results, and what they must not overwrite before it is read
        result_dtype = np.dtype(np.float64 if itemsize == 8 else np.float32)
        halves = {originals[name].dtype for name in self.predictions if originals[name].dtype.itemsize == 2}
        if itemsize == 4 and len(halves) == 1:
            result_dtype = _arrays.gradient_dtype(halves.pop())
        value, grads, hesses = None, {}, {}
        if request.order == 0:
            if self.reduction == "none":
                value = self._value_array(request.out, shape, result_dtype)
            elif request.out is not None:
                raise ValueError(f"out: the loss is a float with reduction={self.reduction!r}; expected None")
        else:
            if self.reduction == "none" and request.value:
                value = np.empty(shape, result_dtype)
            given = request.outs(wrt)
            arguments = {**originals, self.multiplier: weight}
            for name, grad_out, hess_out in zip(wrt, *given, strict=True):
                grads[name] = Result(arguments[name], "out", grad_out, shape)
                if request.order == 2:
                    hesses[name] = Result(arguments[name], "out", hess_out, shape)
        outs = [r.own for r in (*grads.values(), *hesses.values()) if r.own is not None]
        if request.order == 0 and request.out is not None:
            outs.append(request.out)
        if outs:
            _arrays.refuse_overlap(outs)
            named = {
                name: _arrays.separated(a, name, outs, elementwise=a.shape == shape) for name, a in named.items()
            }
            extra = tuple(_arrays.separated(a, "", outs, elementwise=False) for a in extra)
            if sample_weight is not None:
                sample_weight = _arrays.separated(sample_weight, "sample_weight", outs, elementwise=False)
            if cotangent is not None:
                cotangent = _arrays.separated(cotangent, "grad_output", outs, elementwise=False)

        if math.prod(shape) == 0:
            total, denominator = 0.0, 0.0
            for result in (*grads.values(), *hesses.values()):
                result.array[...] = 0
        else:
            multipliers = tuple(m for m in (weight, sample_weight) if m is not None)
            denominator = self._denominator(weight, sample_weight, shape)
            scale, cotangents = self._scale(denominator, cotangent)
            operands = (*named.values(), *extra)
            call = (operands, shape, itemsize, multipliers)
            if outs and self.domains and any(np.may_share_memory(o, a) for o in outs for a in named.values()):
                if self._kernel.run(*call, (), 1.0, -math.inf, 0, None, (None,) * 4, (None,) * 4, False)[1]:
                    self._refuse_domain(originals)
            total, invalid = self._kernel.run(
                *call,
                cotangents,
                scale,
                _floor(curvature, itemsize),
                _KERNEL_CURVATURE[curvature],
                value,
                tuple(grads[name].array if name in grads else None for name in self.arrays),
                tuple(hesses[name].array if name in hesses else None for name in self.arrays),
                self.reduction != "none",
            )
            if invalid:
                self._refuse_domain(originals)
            if weight is not None and self.multiplier in grads:
                factors = [scale, *(a for a in (sample_weight, *cotangents) if a is not None)]
                mean = total / denominator if self.reduction == "mean" and denominator else 0.0
                grads[self.multiplier].array[...] = self._multiplier_gradient(named, factors, mean)
        if self.reduction != "none":
            value = self._reduced(total, denominator)
        return request.answer(value, *([group[name].finish() for name in wrt if name in group] for group in (grads, hesses)))

    def _differentiable(self) -> tuple[str, ...]:
        return tuple(name for name in self.differentiable if name != self.multiplier or self._multiplier() is not None)

    def _check_multiplier(self, weight: Array, named: dict[str, Array], shape: Shape) -> None:
        _arrays.broadcastable(weight, self.multiplier, shape)

    def _multiplier_gradient(self, named: dict[str, Array], factors: list[Any], mean: float) -> Array:
        """The derivative of the loss by its weights: the loss of weight one, less the mean where they are its divisor."""
        unweighted = dataclasses.replace(self, **{self.multiplier: None, "reduction": "none"})
        gradient: Array = unweighted(*named.values()).astype(np.float64)
        if self.multiplier_in_mean:
            gradient -= mean
        return math.prod(factors[1:], start=gradient * factors[0])

    def _named_extra_operands(self, shape: Shape) -> dict[str, Array]:
        return {}

    def _denominator(self, weight: Array | None, sample_weight: Array | None, shape: Shape) -> float:
        if self.reduction != "mean":
            return 1.0
        if weight is not None and self.multiplier_in_mean:
            if sample_weight is None:
                shape = weight.shape  # unbroadcast, as in PyTorch
            weights = tuple(a for a in (weight, sample_weight) if a is not None)
        else:
            weights = () if sample_weight is None else (sample_weight,)
        if not weights:
            return float(math.prod(shape))
        total: float = weight_sum(weights, shape)
        return total

    def _value_array(self, out: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return np.empty(shape, dtype) if out is None else _arrays.checked_out(out, "out", shape, dtype)

    def _refuse_domain(self, arrays: dict[str, Array]) -> None:
        for name, interval in self.domains.items():
            _arrays.refuse_outside(name, arrays[name], interval.low, interval.high, self.domain_hint)


class Result:
    """One derivative: the array that the kernel writes, and how it becomes the one that the caller gets."""

    def __init__(self, argument: Array, name: str, out: Any, shape: Shape) -> None:
        self.dtype = _arrays.gradient_dtype(argument.dtype)
        self.shape = argument.shape
        #: the caller's
        self.own = None if out is None else _arrays.checked_out(out, name, argument.shape, self.dtype)
        exotic = self.dtype.itemsize > 8
        if argument.shape != shape or exotic:  # summed over the broadcast axes, or converted, at the end
            self.array = np.empty(shape, np.float64)
        else:
            self.array = self.own if self.own is not None else _arrays.empty_like(argument, shape, self.dtype)

    def finish(self) -> Array:
        result = self.array
        if result.shape != self.shape or result.dtype.newbyteorder("=") != self.dtype:
            result = _arrays.sum_to(result, self.shape, self.dtype)
            if self.own is not None:
                self.own[...] = result
        return result if self.own is None else self.own


# ---- losses over a class axis --------------------------------------------------------------------------------------------


class RowwiseLoss(InputTargetLoss):
    """A loss of one row of classes at a time: axis 1, or the only axis of an unbatched input."""

    differentiable = ("input",)
    curved = ("input",)
    #: Whether a floating target of the shape of `input` holds class probabilities.
    takes_probabilities: ClassVar[bool] = False

    weight: ArrayLike | None = array(ndim=1)
    ignore_index: int = integer(-100)

    def _bind(self) -> None:
        kernel = Rowwise(
            self.kernel,
            smoothing=getattr(self, "label_smoothing", 0.0),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick if self.weight is None else _never)

    def _targets(self, input: Array, target: ArrayLike) -> tuple[Array, Array | None, Array | None]:
        """The input, and labels or probabilities; a single row with a single label in brackets becomes a batch of one."""
        if input.ndim == 0:
            raise ValueError("input has shape (); expected (C,), (N, C) or (N, C, d1, ...)")
        raw = _arrays.as_array(target, "target")
        if raw.shape == input.shape and self.takes_probabilities:
            if raw.dtype.kind in "biu":
                raise TypeError(
                    f"target has the shape of input, {raw.shape}, and dtype {raw.dtype}; expected class indices of shape "
                    f"{_without_axis(input.shape)}: use target.argmax({min(1, input.ndim - 1)}) for one-hot labels, or "
                    "target.astype(np.float32) for class probabilities"
                )
            if self.ignore_index >= 0:
                raise ValueError(f"ignore_index = {self.ignore_index} needs class indices; target holds probabilities")
            return input, None, _arrays.as_operand(raw, "target")
        if input.ndim == 1 and raw.shape == (1,):
            input = input[np.newaxis]
        expected = _without_axis(input.shape)
        if raw.dtype.kind not in "iu" and raw.size and raw.shape != expected and self.takes_probabilities:
            raise ValueError(
                f"target has shape {raw.shape}; expected class indices of shape {expected} or class probabilities of shape "
                f"{input.shape}{_arrays._mend('target', raw.shape, expected)}"
            )
        _arrays.same_shape("target", raw.shape, expected, "input without its class axis")
        return input, _arrays.as_labels(target, "target"), None

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        original = _arrays.as_array(arrays[0], "input")
        input, labels, target = self._targets(_arrays.as_operand(original, "input"), arrays[1])
        axis = min(1, input.ndim - 1)
        classes, shape = input.shape[axis], _without_axis(input.shape)
        if classes > np.iinfo(np.int32).max:
            raise ValueError(f"input has {classes} classes; expected fewer than 2**31")
        itemsize = _arrays.item_size([input])
        curvature = self._resolve_curvature(request.curvature)
        differentiable = self._differentiable(target)
        wrt = self._resolve_wrt(request.wrt, self.curved if request.order == 2 else differentiable)
        if self.weight is not None and self.weight.shape != (classes,):
            raise ValueError(f"weight has shape {self.weight.shape}; expected ({classes},), one weight per class")
        row_weight, cotangent = None, None
        if request.sample_weight is not None:
            row_weight = _arrays.as_operand(request.sample_weight, "sample_weight")
            _arrays.broadcastable(row_weight, "sample_weight", shape)
        if request.grad_output is not None:
            cotangent = _arrays.as_operand(request.grad_output, "grad_output")
            _arrays.broadcastable(cotangent, "grad_output", shape)

        rows, kept_weight = math.prod(shape), 0.0
        if labels is not None:
            class_weight = None if self.weight is None else np.ascontiguousarray(self.weight, np.float64)
            outside, kept_weight = scan_labels(labels, classes, self.ignore_index, class_weight, row_weight)
            if outside >= 0:
                raise IndexError(
                    f"{_arrays.locate('target', labels, outside)} is outside [0, {classes}): labels count from 0, and "
                    f"ignore_index={self.ignore_index} marks those to leave out"
                )
        elif self.reduction == "mean" and rows:
            kept_weight = float(rows) if row_weight is None else weight_sum((row_weight,), shape)

        result_dtype = np.dtype(np.float64 if itemsize == 8 else np.float32)
        if itemsize == 4 and original.dtype.itemsize == 2:
            result_dtype = _arrays.gradient_dtype(original.dtype)
        value, grads, hesses = None, {}, {}
        if request.order == 0 and request.out is not None and self.reduction != "none":
            raise ValueError(f"out: the loss is a float with reduction={self.reduction!r}; expected None")
        if self.reduction == "none" and request.value:
            own = request.out if request.order == 0 else None
            value = np.empty(shape, result_dtype) if own is None else _arrays.checked_out(own, "out", shape, result_dtype)
        if request.order:
            given = request.outs(wrt)
            arguments = {"input": original.reshape(input.shape), "target": target, "weight": self.weight}
            for name, grad_out, hess_out in zip(wrt, *given, strict=True):
                argument = arguments[name]
                grad_out = _reshaped(grad_out, original.shape, input.shape)
                grads[name] = Result(argument, "out", grad_out, argument.shape)
                if request.order == 2:
                    hess_out = _reshaped(hess_out, original.shape, input.shape)
                    hesses[name] = Result(argument, "out", hess_out, argument.shape)
        outs = [r.own for r in (*grads.values(), *hesses.values()) if r.own is not None]
        if request.order == 0 and request.out is not None:
            outs.append(request.out)
        if outs:
            _arrays.refuse_overlap(outs)
            # the gradient of the target reads the input after that of the input is written
            input = _arrays.separated(input, "input", outs, elementwise="target" not in grads)
            others = (labels, target, row_weight, cotangent)
            labels, target, row_weight, cotangent = (
                None if a is None else _arrays.separated(a, "", outs, elementwise=False) for a in others
            )

        total = 0.0
        denominator = kept_weight if self.reduction == "mean" else 1.0
        scale, cotangents = self._scale(denominator, cotangent)
        results = (*grads.values(), *hesses.values())
        if rows and classes:
            real = np.float64 if itemsize == 8 else np.float32
            grad, hess, target_grad = (g[k].array if k in g else None for g, k in ((grads, "input"), (hesses, "input"), (grads, "target")))
            if "weight" in grads:  # before a result can overwrite the input
                factors = [scale, *(a for a in (row_weight, *cotangents) if a is not None)]
                grads["weight"].array[...] = self._weight_gradient(input, target, axis, factors)
            total = self._kernel.run(
                input,
                axis,
                itemsize,
                labels,
                target,
                None if self.weight is None else np.ascontiguousarray(self.weight, real),
                () if row_weight is None else (row_weight,),
                cotangents,
                scale,
                _floor(curvature, itemsize),
                _KERNEL_CURVATURE[curvature],
                value,
                grad,
                hess,
                target_grad,
            )
        else:  # no rows, or rows without classes, whose loss is an empty sum
            for result in results:
                result.array[...] = 0
            if value is not None:
                value[...] = 0
        if self.reduction != "none":
            value = self._reduced(total, denominator)
        shaped = [[_reshaped(g[n].finish(), input.shape, original.shape) for n in wrt if n in g] for g in (grads, hesses)]
        return request.answer(value, *shaped)

    def _differentiable(self, target: Array | None) -> tuple[str, ...]:
        """Labels have no derivative; class weights have one with probabilities."""
        if target is None:
            return ("input",)
        return tuple(name for name in self.differentiable if name != "weight" or self.weight is not None)

    def _weight_gradient(self, input: Array, target: Array | None, axis: int, factors: list[Any]) -> Array:
        raise NotImplementedError


def _without_axis(shape: Shape) -> Shape:
    """The shape without its class axis."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def _reshaped(array: Any, shape: Shape, wanted: Shape) -> Any:
    """A view in another shape, for a batch of one row; anything else as it is."""
    return array.reshape(wanted) if isinstance(array, np.ndarray) and shape != wanted and array.shape == shape else array
