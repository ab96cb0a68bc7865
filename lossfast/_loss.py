"""How a loss is declared, and what follows from the declaration.

A loss is a frozen dataclass: its fields are the parameters, its class variables say which arrays it takes and which
derivatives it has, `definition` is the mathematics in plain NumPy, and `kernel` names the body in `kernels/`.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import numpy as np

from lossfast import _arrays
from lossfast._arrays import Array, Shape
from lossfast._drivers.runtime import CURVATURES, empty_like
from lossfast._methods import DEFAULTS, METHODS, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from lossfast.composition import WeightedSum

#: Every public loss by class name, filled by declaring it.
REGISTRY: dict[str, type[Loss]] = {}


# ---- parameters ----------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class OneOf:
    """These real numbers and no others."""

    numbers: tuple[float, ...]

    def __contains__(self, x: float) -> bool:
        return x in self.numbers

    def __str__(self) -> str:
        return f"{{{', '.join(f'{x:g}' for x in self.numbers)}}}"


def number(*, default: float, domain: Interval | OneOf = Interval(), optional: bool = False) -> Any:
    """Declare a real parameter, checked against its domain when a loss is made; `optional`: it may be None."""
    return dataclasses.field(default=default, metadata={"domain": domain, "optional": optional})


def integer(*, default: Any = dataclasses.MISSING, kw_only: bool = True) -> Any:
    """Declare an integer parameter, which has to be given if it has no default."""
    return dataclasses.field(default=default, kw_only=kw_only, metadata={"integer": True})


def integers(*, kw_only: bool = True) -> Any:
    """Declare a parameter of several integers, kept as a tuple."""
    return dataclasses.field(kw_only=kw_only, metadata={"integers": True})


def flag(*, default: bool) -> Any:
    """Declare a parameter that is True or False."""
    return dataclasses.field(default=default, metadata={"flag": True})


def choice(*, default: str, among: tuple[str, ...]) -> Any:
    """Declare a parameter that is one of some words."""
    return dataclasses.field(default=default, metadata={"among": among})


def array(*, default: None = None, ndim: int | None = None, or_number: bool = False) -> Any:
    """Declare an optional array parameter, kept as a read-only copy; type checkers want the default spelt out.

    `or_number`: a number is kept as one.
    """
    return dataclasses.field(default=default, metadata={"array": True, "ndim": ndim, "or_number": or_number})


def _checked_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected an integer")
    if not -(2**63) <= int(value) < 2**63:
        raise ValueError(f"{name} = {value} is outside [-2**63, 2**63)")
    return int(value)


def _checked_parameter(name: str, value: Any, metadata: Mapping[str, Any]) -> Any:
    if metadata.get("array"):
        if value is None:
            return None
        if metadata.get("or_number") and np.ndim(value) == 0:
            number = value[()] if isinstance(value, np.ndarray) else value
            return _checked_parameter(name, number, {"domain": Interval()})
        kept = np.array(_arrays.as_operand(value, name))
        if metadata["ndim"] is not None and kept.ndim != metadata["ndim"]:
            raise ValueError(f"{name} has {kept.ndim} dimensions; expected {metadata['ndim']}")
        kept.flags.writeable = False
        return kept
    if metadata.get("integer"):
        return _checked_integer(name, value)
    if metadata.get("integers"):
        try:
            members = list(value)
        except TypeError as error:
            raise TypeError(
                f"{name} = {value!r} is of type {type(value).__name__}; expected a sequence of integers"
            ) from error
        return tuple(_checked_integer(f"{name}[{i}]", member) for i, member in enumerate(members))
    if metadata.get("flag"):
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected True or False")
        return bool(value)
    if "among" in metadata:
        if not isinstance(value, str) or value not in metadata["among"]:
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(map(repr, metadata['among']))}")
        return value
    if "domain" in metadata:
        if value is None and metadata["optional"]:
            return None
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} = {value!r} is of type {type(value).__name__}; expected a real number")
        real = _arrays.as_float(value, name)
        if real not in metadata["domain"]:
            raise ValueError(f"{name} = {value} is outside {metadata['domain']}")
        return real
    return value


def _never(*arguments: Any) -> None:
    """The quick entry of a loss that has none."""


# ---- the base ------------------------------------------------------------------------------------------------------


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    eq_default=False,
    field_specifiers=(number, integer, integers, flag, choice, array),
)
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Loss:
    """What all losses share: parameters, how a method runs and how a reduction is taken.

    The methods themselves, which differ in the arrays that they take, are those of `_signatures`.
    """

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
    #: What arrays usually hold, where a loss takes more: "logits" (by class), "binary logits", "probabilities",
    #: "log-probabilities", "labels" (class indices), "shares" (targets in [0, 1]), "signs" (-1 and 1). See `diagnose`.
    meaning: ClassVar[Mapping[str, str]] = {}
    #: What to say to someone who left the domain.
    domain_hint: ClassVar[str] = ""
    #: Whether a mean is a multiple of the sum of the unreduced losses.
    uniform_mean: ClassVar[bool] = True
    #: Values of `reduction`.
    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")
    #: The way of a usual call, from the arrays, whether the value is wanted, the order and the keywords that were given
    #: to what the method gives; None where there is more to do. Set by `_bind`.
    _quick: ClassVar[Any] = staticmethod(_never)

    reduction: str = "mean"

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
        for name in METHODS.keys() & vars(cls).keys():
            describe(vars(cls)[name], cls.arrays, cls.predictions)
        if cls.kernel:
            REGISTRY[cls.__name__] = cls

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            checked = _checked_parameter(field.name, getattr(self, field.name), field.metadata)
            object.__setattr__(self, field.name, checked)
        if not isinstance(self.reduction, str) or self.reduction not in self.reductions:
            raise ValueError(f"reduction = {self.reduction!r} is not one of {', '.join(map(repr, self.reductions))}")
        self._bind()

    # ---- the object ------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by name, `reduction` last."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in [*(n for n in names if n != "reduction"), "reduction"]}

    def __repr__(self) -> str:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        shown = [f"{k}={v!r}" for k, v in self.parameters.items() if not _same(v, defaults[k])]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self.parameters, other.parameters
        return all(_same(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        # not the elements: 0.0 equals -0.0
        keys = (v.shape if isinstance(v, np.ndarray) else v for v in self.parameters.values())
        return hash((type(self), *keys))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.parameters)

    # ---- weighted sums, see `composition` --------------------------------------------------------------------------

    #: NumPy's numbers leave products to `__rmul__`, where they would take the loss for an array of one object.
    __array_ufunc__: ClassVar[None] = None

    def __add__(self, other: object) -> WeightedSum:
        return _sums().added(self, other)  # type: ignore[no-any-return]  # or NotImplemented

    def __sub__(self, other: Loss) -> WeightedSum:
        return self + -other if isinstance(other, Loss) else NotImplemented

    def __mul__(self, factor: float) -> WeightedSum:
        return _sums().scaled(self, factor)  # type: ignore[no-any-return]

    def __truediv__(self, divisor: float) -> WeightedSum:
        return _sums().scaled(self, divisor, divide=True)  # type: ignore[no-any-return]

    def __neg__(self) -> WeightedSum:
        return self * -1

    __radd__, __rmul__ = __add__, __mul__

    # ---- what a shape of loss provides -----------------------------------------------------------------------------

    def _bind(self) -> None:
        """Prepare the kernel and the quick entry."""
        raise NotImplementedError

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        raise NotImplementedError

    def definition(self, *arrays: Any, **keywords: Any) -> tuple[Array, Array]:
        """The unreduced loss in plain NumPy, and the weight of each element in the denominator of a mean."""
        raise NotImplementedError

    def _checkable(self) -> tuple[Loss, Loss]:
        """A loss with this one's gradient, as arrays, and the loss that it is the derivative of: itself, mostly."""
        return self, self

    # ---- the methods -----------------------------------------------------------------------------------------------

    def _run(self, method: str, arrays: tuple[Any, ...], options: Any) -> Any:
        """What a method does: the quick way where it leads there, else the general one."""
        asked = METHODS[method]
        if asked.order == 2 and not self.curved:
            raise TypeError(f"{type(self).__name__} has no Hessian diagonal: use value_and_grad or grad")
        if options and not options.keys() <= asked.keywords.keys():
            unknown = next(name for name in options if name not in asked.keywords)
            raise TypeError(
                f"{type(self).__name__}.{method}() got an unexpected keyword argument {unknown!r}: it takes "
                f"{', '.join((*self.arrays, *asked.keywords))}"
            )
        if not isinstance(options.get("curvature", ""), str):
            raise TypeError(f"curvature = {options['curvature']!r}: expected one of {', '.join(map(repr, CURVATURES))}")
        result = None
        if asked.order < 2 or options.get("curvature", "exact") in self.curvatures:
            result = self._quick(arrays, asked.value, asked.order, options)
        return self._evaluate(arrays, Request(asked.value, asked.order, **options)) if result is None else result

    def reference(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The plain NumPy definition, in the precision of the arrays: slow, and what the kernels are tested against."""
        given = [np.asarray(a) for a in arrays]
        for k, name in enumerate(self.arrays[: len(given)]):
            if name in self.predictions and given[k].dtype.kind in "biu":  # which compute in float64
                given[k] = given[k].astype(np.float64)
        return self._reduced_plainly(*self.definition(*given), sample_weight)

    def _reduced_plainly(self, loss: Array, share: Array, sample_weight: ArrayLike | None) -> Any:
        """Weights and reduction of a definition."""
        share = np.broadcast_to(share, loss.shape)
        if sample_weight is not None:
            loss, share = loss * np.asarray(sample_weight), share * np.asarray(sample_weight)
        if self.reduction == "none":
            return loss
        total = loss.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.reduction == "batchmean":
                return total / batch_weight(share.sum(), share.shape)
            return total / share.sum() if self.reduction == "mean" else total

    # ---- what the shapes share -------------------------------------------------------------------------------------

    def _retried(self, arrays: tuple[ArrayLike, ...], converted: Mapping[str, Array], request: Request) -> Any:
        """What the quick way gives once arguments are arrays; None if they were before, or there is more to do."""
        usual = tuple(converted.values())
        return None if all(map(operator.is_, arrays, usual)) else self._usual(self._quick, usual, request)

    def _usual(self, quick: Any, arrays: tuple[Any, ...], request: Request) -> Any:
        """What a quick way gives; None where there is more to do."""
        if request.order == 2 and request.curvature not in self.curvatures:
            return None
        return quick(arrays, request.value, request.order, {name: getattr(request, name) for name in DEFAULTS})

    def _resolve_wrt(self, wrt: str | tuple[str, ...] | None, available: Sequence[str]) -> tuple[str, ...]:
        if wrt is None:
            return self.predictions
        if not isinstance(wrt, str | tuple | list):
            raise TypeError(f"wrt = {wrt!r}: expected a name or a tuple of names out of {', '.join(available)}")
        names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        for name in names:
            if name not in available:
                raise ValueError(f"wrt = {name!r}: {type(self).__name__} has derivatives by {', '.join(available)}")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"wrt = {wrt!r}: expected different names out of {', '.join(available)}")
        return names

    def _resolve_curvature(self, curvature: str, dtype: np.dtype[Any]) -> tuple[float, int]:
        """The least Hessian of this dtype before scaling, and the kernels' number for the curvature."""
        if curvature not in self.curvatures:
            raise ValueError(
                f"curvature = {curvature!r} is not defined for {type(self).__name__}: "
                f"choose one of {', '.join(map(repr, self.curvatures))}"
            )
        return epsilon(dtype) if curvature == "psd" else -math.inf, CURVATURES[curvature]

    def _value_array(self, request: Request, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
        """Where the unreduced loss goes; None where none is kept."""
        own = request.out if request.order == 0 else None
        if self.reduction != "none":
            if own is not None:
                raise ValueError(f"out: the loss is a float with reduction={self.reduction!r}; expected None")
            return None
        if not request.value:
            return None
        return np.empty(shape, dtype) if own is None else _arrays.checked_out(own, "out", shape, dtype)

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


def _sums() -> Any:
    from lossfast.composition import WeightedSum  # noqa: PLC0415  # it is a loss itself

    return WeightedSum


def _restore(cls: type[Loss], parameters: dict[str, Any]) -> Loss:
    return cls(**parameters)


@dataclass(slots=True)
class Request:
    """What one call asks for."""

    value: bool
    order: int  # 0: value, 1: gradient, 2: and Hessian
    sample_weight: ArrayLike | None = None
    wrt: str | tuple[str, ...] | None = None
    grad_output: ArrayLike | None = None
    out: Any = None
    curvature: str = "exact"
    #: Shapes in which the caller knows an argument, where it is not the one that is computed with.
    shown: Mapping[str, Shape] = dataclasses.field(default_factory=dict)

    def weights(self, shape: Shape) -> tuple[Array | None, Array | None]:
        """The sample weights and the cotangent, which broadcast to the unreduced loss."""
        weight, cotangent = self.sample_weight, self.grad_output
        if weight is not None:
            weight = _arrays.broadcastable(_arrays.as_operand(weight, "sample_weight"), "sample_weight", shape)
        if cotangent is not None:
            cotangent = _arrays.broadcastable(_arrays.as_operand(cotangent, "grad_output"), "grad_output", shape)
        return weight, cotangent

    def outs(self, names: tuple[str, ...]) -> list[list[Any]]:
        """The caller's result arrays: those of the gradients, then those of the Hessians; None where there is none."""
        if self.out is None or self.order == 0:
            nothing = [None] * len(names)
            return [nothing, nothing]
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

    def results(
        self,
        wrt: tuple[str, ...],
        arguments: Mapping[str, Any],
        shape: Shape | None,
        inner: Mapping[str, int] = MappingProxyType({}),
    ) -> tuple[dict[str, Result], dict[str, Result]]:
        """Gradients and Hessians by name, each with the array that the kernel writes; for the rest see `Result`."""
        outs = self.outs(wrt)
        grads: dict[str, Result] = {}
        hesses: dict[str, Result] = {}
        for group, results in enumerate((grads, hesses)[: self.order]):
            for place, name in enumerate(wrt):
                out, shown = outs[group][place], self.shown.get(name)
                results[name] = Result(arguments[name], out, shape, shown, inner.get(name, 0))
        return grads, hesses

    def batched(self, shape: Shape) -> Request:
        """The same request for a batch of one whose input had this shape."""
        return dataclasses.replace(self, shown={"input": shape})

    def answer(self, value: Any, grads: dict[str, Result], hesses: dict[str, Result]) -> Any:
        """Values, gradients and Hessians in the form of the method that was called."""
        parts = [value] if self.value else []
        for group in (grads, hesses)[: self.order]:
            finished = [result.finish() for result in group.values()]
            parts.append(finished[0] if len(finished) == 1 else tuple(finished))
        return parts[0] if len(parts) == 1 else tuple(parts)


# ---- results -------------------------------------------------------------------------------------------------------


class Result:
    """One derivative: the array that the kernel writes, and how it becomes the one that the caller gets."""

    __slots__ = ("array", "dtype", "own", "shape", "shown")

    def __init__(self, argument: Array, out: Any, shape: Shape | None, shown: Shape | None, inner: int = 0) -> None:
        """`shape`: that of the unreduced loss, if the derivative is summed from there; `shown`: the caller's own.

        `inner`: how many of its last axes the kernel sums over for an argument that is repeated along them.
        """
        self.dtype = _arrays.gradient_dtype(argument.dtype)
        self.shape = argument.shape
        self.shown = self.shape if shown is None else shown
        #: the caller's
        self.own: Array | None = None if out is None else _arrays.checked_out(out, "out", self.shown, self.dtype)
        written = self.shape if shape is None else shape
        if inner and self.dtype.itemsize in (4, 8) and _arrays.repeated_axes([argument], written) == inner:
            written = self.shape
        if written != self.shape or self.dtype.itemsize > 8:  # summed or converted at the end
            self.array = np.empty(written, np.float64)
        elif self.own is not None:
            self.array = self.own.reshape(self.shape)
        else:
            self.array = empty_like(argument, self.dtype)

    def finish(self) -> Array:
        """The array that the caller gets."""
        result = self.array
        if result.shape != self.shape or self.dtype.itemsize > 8:
            result = _arrays.sum_to(result, self.shape, self.dtype)
            if self.own is not None:
                self.own[...] = result.reshape(self.shown)
        if self.own is not None:
            return self.own
        return result if result.shape == self.shown else result.reshape(self.shown)


def written_arrays(results: Mapping[str, Result], names: Iterable[str]) -> tuple[Array | None, ...]:
    """What the kernel writes for arguments, None for those without a result; nothing if there are no results."""
    return tuple([results[name].array if name in results else None for name in names]) if results else ()


def caller_arrays(request: Request, value: Array | None, results: Iterable[Result]) -> list[Array]:
    """The caller's own arrays that are written, checked for sharing memory with each other."""
    if request.out is None:
        return []
    outs = [result.own for result in results if result.own is not None]
    if value is not None and request.order == 0 and request.out is not None:
        outs.append(value)
    _arrays.refuse_overlap(outs)
    return outs


def batch_weight(total: float, shape: Shape) -> float:
    """What a batchmean is divided by where the elements weigh `total`: of weight 1, the length of the first axis."""
    if not shape:
        return 1.0
    return total * shape[0] / math.prod(shape) if math.prod(shape) else float(shape[0])


def epsilon(dtype: np.dtype[Any]) -> float:
    """The spacing of numbers at 1."""
    if dtype.itemsize == 2 and dtype.kind != "f":  # bfloat16, which np.finfo does not know
        return 2.0**-7
    return float(np.finfo(dtype).eps)


def result_dtype(itemsize: int, predictions: Iterable[Array]) -> np.dtype[Any]:
    """The dtype of unreduced losses: that of the computation, or the half precision that all predictions have."""
    dtype, *others = [_arrays.gradient_dtype(prediction.dtype) for prediction in predictions]
    if dtype.itemsize == 2 and all(other == dtype for other in others):
        return dtype
    return _arrays.FLOAT32 if itemsize == 4 else _arrays.FLOAT64
