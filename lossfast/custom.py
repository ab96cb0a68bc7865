"""Losses of your own: bodies in NumPy, and compiled functions that run like the library's kernels."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import LowLevelCallable

from lossfast import _arrays
from lossfast._drivers.elementwise import Compiled
from lossfast._drivers.runtime import weight_sum
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, Request, _checked_parameter, caller_arrays, result_dtype
from lossfast._signatures import InputTargetLoss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from lossfast._arrays import Array

__all__ = ["CustomLoss", "custom_loss"]


# ---- NumPy bodies --------------------------------------------------------------------------------------------------

#: Elements that a body gets at once: few enough for its temporaries to stay in the cache, so many that the calls cost
#: nothing. Two million float64 elements of two bodies take half the time that they take in one piece.
_CHUNK = 1 << 16
#: How the checks of a parameter follow from its annotation.
_CHECKS: Mapping[Any, Mapping[str, Any]] = {
    **{annotation: {"domain": Interval()} for annotation in (float, "float")},
    **{annotation: {"integer": True} for annotation in (int, "int")},
}


class CustomLoss(InputTargetLoss):
    r"""A loss whose value and derivative are written in NumPy.

    .. math:: \ell(x, t) = \mathtt{value}(x, t), \qquad \partial_x \ell = \mathtt{derivative}(x, t)

    A subclass states its parameters as annotated class attributes and defines ``value(self, input, target)``,
    ``derivative(self, input, target)`` and, for Hessians, ``second_derivative(self, input, target)``. Reductions,
    sample weights, cotangents, broadcasting, dtypes, layouts and ``out=`` follow, and the result is a loss as all
    others: immutable, comparable, picklable where its class is, part of sums and of multi-task losses.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Raises
    ------
    TypeError
        If a body is missing that a call needs, or returns something else than an array of real numbers.
    ValueError
        If a body returns an array of another shape.

    Notes
    -----
    Arrays: ``input`` and ``target`` of any shape; one may broadcast to the other.

    The bodies work element by element: they get two read-only arrays of one axis and one length, with a part of the
    elements, both of the precision that the predictions ask for (float32, or float64), and return as many numbers. A
    NaN in an argument gives a NaN, whatever the bodies make of it; floating-point warnings are off inside of them.
    Parameters annotated ``float`` and ``int`` are checked, arrays are kept as read-only copies.

    Curvatures: exact, psd, both from ``second_derivative``, and unit, which needs none.

    Accuracy: that of the bodies; sums are formed in float64.

    Examples
    --------
    >>> import numpy as np, lossfast as lf
    >>> class LinEx(lf.CustomLoss):
    ...     a: float = 1.0
    ...
    ...     def value(self, input, target):
    ...         d = self.a * (input - target)
    ...         return np.expm1(d) - d
    ...
    ...     def derivative(self, input, target):
    ...         return self.a * np.expm1(self.a * (input - target))
    >>> value, grad = LinEx(a=0.5).value_and_grad([1.0, 2.0], [0.0, 2.0])
    >>> round(value, 6), grad.round(6).tolist()
    (0.074361, [0.16218, 0.0])
    """

    differentiable: ClassVar[tuple[str, ...]] = ("input",)
    curved: ClassVar[tuple[str, ...]] = ("input",)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not field.metadata and field.type in _CHECKS:
                value = _checked_parameter(field.name, value, _CHECKS[field.type])
            elif isinstance(value, np.ndarray):
                value = value.copy()
                value.flags.writeable = False
            object.__setattr__(self, field.name, value)
        super().__post_init__()

    def _bind(self) -> None:
        """The bodies are methods already."""

    # ---- the bodies ------------------------------------------------------------------------------------------------

    def value(self, input: Any, target: Any) -> Any:
        """The loss of every element; to be defined."""
        raise self._missing("value", "the loss of every element")

    def derivative(self, input: Any, target: Any) -> Any:
        """The derivative of every element by its input; to be defined for gradients."""
        raise self._missing("derivative", "a gradient")

    def second_derivative(self, input: Any, target: Any) -> Any:
        """The second derivative of every element by its input; to be defined for exact Hessians."""
        raise self._missing("second_derivative", "the curvatures 'exact' and 'psd'; 'unit' does without")

    def _missing(self, body: str, purpose: str) -> TypeError:
        return TypeError(f"{type(self).__name__} defines no {body}(self, input, target), needed for {purpose}")

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss by its own body."""
        shape = np.broadcast_shapes(input.shape, target.shape)
        flat = (np.broadcast_to(a, shape).reshape(-1) for a in (input, target))
        loss = np.asarray(self.value(*flat)).reshape(shape)
        return loss, np.ones((), loss.dtype)

    # ---- the call --------------------------------------------------------------------------------------------------

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        originals = {name: _arrays.as_array(a, name) for name, a in zip(self.arrays, arrays, strict=True)}
        named = {name: _arrays.as_operand(a, name) for name, a in originals.items()}
        shape = _arrays.joint_shape(named)
        predictions = [originals["input"]]
        itemsize = _arrays.item_size(predictions)
        dtype = result_dtype(itemsize, predictions)
        floor, _ = self._resolve_curvature(request.curvature, dtype)
        wrt = self._resolve_wrt(request.wrt, self.curved if request.order == 2 else self.differentiable)
        sample_weight, cotangent = request.weights(shape)
        value = self._value_array(request, shape, dtype)
        grads, hesses = request.results(wrt, originals, shape)
        outs = caller_arrays(request, value, (*grads.values(), *hesses.values()))
        if outs:
            named = {name: _arrays.separated(a, outs, elementwise=a.shape == shape) for name, a in named.items()}
            sample_weight, cotangent = (_arrays.separated(a, outs) for a in (sample_weight, cotangent))
        size = math.prod(shape)
        denominator = 1.0
        if self.reduction == "mean":
            denominator = float(size if sample_weight is None or not size else weight_sum((sample_weight,), shape))
        scale, cotangents = self._scale(denominator, cotangent)
        total = 0.0
        if size:
            operands = {**named, "weight": sample_weight, "cotangent": cotangents[0] if cotangents else None}
            written = (value, *(result.array for results in (grads, hesses) for result in results.values()))
            total = self._walk(operands, written, itemsize, request, scale=scale, floor=floor)
        answer = self._reduced(total, denominator) if self.reduction != "none" else value
        return request.answer(answer, grads, hesses)

    def _walk(
        self,
        operands: dict[str, Array | None],
        written: tuple[Array | None, ...],
        itemsize: int,
        request: Request,
        *,
        scale: float,
        floor: float,
    ) -> float:
        """Compute part by part and write value, gradient and Hessian, those that there is an array for.

        Returns the sum of the weighted values, if the call asks for a reduced one.
        """
        read = {name: a for name, a in operands.items() if a is not None}
        outputs = {k: a for k, a in enumerate(written) if a is not None}
        summed = request.value and self.reduction != "none"
        sums = []
        nditer: Any = np.nditer
        iterator = nditer(
            [*read.values(), *outputs.values()],
            flags=["external_loop", "buffered"],
            op_flags=[["readonly"]] * len(read) + [["writeonly"]] * len(outputs),
            op_dtypes=[np.dtype(f"f{itemsize}")] * (len(read) + len(outputs)),
            casting="unsafe",  # to and from the dtypes of arguments and results
            buffersize=_CHUNK,
        )
        with np.errstate(all="ignore"), iterator:
            for parts in iterator:
                results = self._part(dict(zip(read, parts, strict=False)), request, scale, floor)
                if summed:
                    sums.append(results[0].sum(dtype=np.float64))
                for k, out in zip(outputs, parts[len(read) :], strict=True):
                    out[...] = results[k]
            return float(np.sum(sums))

    def _part(self, part: dict[str, Array], request: Request, scale: float, floor: float) -> tuple[Any, Any, Any]:
        """Value, gradient and Hessian, as many as are asked for, of some elements, weighted and scaled.

        None of them shares memory with an argument but the value, which is used before anything is written.
        """
        input, target, weight, cotangent = (part.get(name) for name in ("input", "target", "weight", "cotangent"))
        unit = request.curvature == "unit"
        value = grad = hess = None
        if request.value or unit:
            value = self._body("value", input, target)
        if request.order > 0:
            grad = _times(self._body("derivative", input, target) * scale, weight, cotangent)
        if request.order > 1:
            if value is not None and unit:
                hess = np.where(np.isnan(value), value, value.dtype.type(1))
            else:
                hess = np.maximum(self._body("second_derivative", input, target), floor)
            hess = _times(hess * scale, weight, cotangent)
        return _times(value, weight), grad, hess

    def _body(self, name: str, input: Any, target: Any) -> Any:
        """What a body returns, checked; NaN where an argument is."""
        result = np.asarray(getattr(self, name)(input, target))
        where = f"{type(self).__name__}.{name}"
        if result.dtype.kind not in "fiub":
            raise TypeError(f"{where} returned dtype {result.dtype}; expected real numbers like its arguments")
        if result.shape != input.shape:
            raise ValueError(
                f"{where} returned shape {result.shape}; expected {input.shape}, one number per element: a body does "
                "not reduce or reshape"
            )
        result = result.astype(input.dtype, copy=False)
        nan = np.isnan(input) | np.isnan(target)
        return np.where(nan, input.dtype.type(math.nan), result) if nan.any() else result


def _times(array: Any, *factors: Array | None) -> Any:
    """The product with the factors that there are; None of None."""
    for factor in factors:
        if array is not None and factor is not None:
            array = array * factor
    return array


# ---- compiled functions --------------------------------------------------------------------------------------------

_EXPECTED = (
    "void (ptrdiff_t n, const double *input, const double *target, double *value, double *grad, void *user_data)"
)
#: C's names of integers with their sizes: those of the size of a pointer can count elements.
_INTEGERS = {
    **dict.fromkeys(("ptrdiff_t", "Py_ssize_t", "ssize_t", "intptr_t", "npy_intp"), ctypes.sizeof(ctypes.c_void_p)),
    **dict.fromkeys(("int", "int32_t"), ctypes.sizeof(ctypes.c_int)),
    **dict.fromkeys(("long", "long int"), ctypes.sizeof(ctypes.c_long)),
    **dict.fromkeys(("long long", "long long int", "longlong", "int64_t"), ctypes.sizeof(ctypes.c_longlong)),
}
_COUNTS = {name for name, size in _INTEGERS.items() if size == ctypes.sizeof(ctypes.c_void_p)}
#: C's names of the two precisions.
_REALS = {
    "double": ("double", "float64_t", "npy_float64", "npy_double"),
    "float": ("float", "float32_t", "npy_float32", "npy_float"),
}


class CompiledLoss(InputTargetLoss, ElementwiseLoss):
    """What `custom_loss` makes."""

    differentiable: ClassVar[tuple[str, ...]] = ("input",)
    curved: ClassVar[tuple[str, ...]] = ()
    curvatures: ClassVar[tuple[str, ...]] = ("exact",)

    functions: tuple[LowLevelCallable, ...]

    def _bind(self) -> None:
        capsules: dict[str, Any] = dict.fromkeys(_REALS)
        for function in self.functions:
            precision = _precision(function.signature)
            if capsules[precision] is not None:
                raise TypeError(f"two functions of {precision}: expected one, or one of double and one of float")
            capsules[precision] = tuple.__getitem__(function, 0)  # as SciPy's ccallback.h finds it
        if not self.functions:
            raise TypeError("no function: expected a function of double, of float, or both")
        kernel = Compiled(capsules["float"], capsules["double"], reduction=self.reduction)
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_quick", kernel.quick)

    def _computed_in(self, itemsize: int) -> int:
        single, _, double, _ = self._kernel.addresses
        if itemsize == 4 and not single:
            return 8
        if itemsize == 8 and not double:
            raise TypeError(
                "input computes in float64, and the loss has a function of float alone: give custom_loss one of double "
                "too, or use input.astype(np.float32)"
            )
        return itemsize

    def __repr__(self) -> str:
        reduction = "" if self.reduction == "mean" else f", reduction={self.reduction!r}"
        return f"custom_loss({', '.join(map(repr, self.functions))}{reduction})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CompiledLoss):
            return NotImplemented
        mine, theirs = (self._kernel.addresses, self.reduction), (other._kernel.addresses, other.reduction)
        return bool(mine == theirs)

    def __hash__(self) -> int:
        return hash((self._kernel.addresses, self.reduction))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a loss of a compiled function cannot be pickled: the function is an address of this process. Make the "
            "loss where it is used"
        )

    def __copy__(self) -> CompiledLoss:
        return self

    def __deepcopy__(self, memo: object) -> CompiledLoss:
        return self

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss by one call of the function, without the driver."""
        single, single_data, double, double_data = self._kernel.addresses
        address, data, dtype = (double, double_data, np.float64) if double else (single, single_data, np.float32)
        call = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, *[ctypes.c_void_p] * 5)(address)
        operands = [np.array(a, dtype) for a in np.broadcast_arrays(input, target)]
        loss = np.empty(operands[0].shape, dtype)
        call(loss.size, *(a.ctypes.data for a in (*operands, loss)), None, data or None)
        return loss, np.ones((), dtype)


def custom_loss(*functions: Any, reduction: str = "mean") -> CompiledLoss:
    """A loss of compiled functions, run as the kernels of the library are: in blocks, on all threads, without the GIL.

    A function computes a block of elements::

        void f(ptrdiff_t n, const double *input, const double *target, double *value, double *grad, void *user_data)

    It writes ``value[i]``, the loss of element i, and, unless ``grad`` is NULL, its derivative by ``input[i]`` to
    ``grad[i]``. All arrays are contiguous and none overlaps another. Reductions, sample weights, cotangents,
    broadcasting, dtypes, layouts and ``out=`` follow.

    Parameters
    ----------
    *functions : scipy.LowLevelCallable, or a ctypes, cffi or numba function
        One function of ``double``, a twin of ``float``, or both in any order. ``user_data`` comes from a
        `scipy.LowLevelCallable`; the functions are kept alive by the loss.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Returns
    -------
    Loss
        A loss with gradients by ``input``: immutable and comparable. It has no Hessian and cannot be pickled.

    Raises
    ------
    TypeError
        If a signature is another, or two functions have the same precision.

    Notes
    -----
    Without a twin, float32 predictions are converted block by block, computed in float64 and their results rounded.
    float64 predictions need a function of double.

    The function is called by several threads at once, none of which holds the GIL: it may change nothing that another
    call reads. A Python function behind `ctypes.CFUNCTYPE` takes the GIL itself; it works, slowly, and an exception in
    it is printed and leaves its block undefined. Names that count as ``ptrdiff_t`` in a signature are the C integers of
    its size with a sign.

    Examples
    --------
    With numba::

        from numba import cfunc, carray, types

        real, block = types.float64, types.CPointer(types.float64)

        @cfunc(types.void(types.intp, block, block, block, block, types.voidptr))
        def squared(n, input, target, value, grad, user_data):
            x, t, v = carray(input, n), carray(target, n), carray(value, n)
            for i in range(n):
                v[i] = (x[i] - t[i]) ** 2
            if grad:
                g = carray(grad, n)
                for i in range(n):
                    g[i] = 2 * (x[i] - t[i])

        loss = lf.custom_loss(squared)
    """
    return CompiledLoss(functions=tuple(map(_low_level, functions)), reduction=reduction)


def _low_level(function: Any) -> LowLevelCallable:
    """A function of any origin as SciPy describes it."""
    if isinstance(function, LowLevelCallable):
        return function
    if hasattr(function, "ctypes") and hasattr(function, "address"):  # a numba cfunc
        function = function.ctypes
    if getattr(function, "argtypes", ()) is None:  # of ctypes
        raise TypeError(f"{function!r} has no argtypes: set its argtypes and restype=None; expected {_EXPECTED}")
    try:
        return LowLevelCallable(function)
    except ValueError as error:
        raise TypeError(
            f"{function!r} of type {type(function).__name__}: expected a compiled function, as scipy.LowLevelCallable, "
            "ctypes, cffi or a numba cfunc give it; bodies in Python make a subclass of CustomLoss"
        ) from error


def _precision(signature: str) -> str:
    """The precision that a signature is of: "double" or "float"."""
    returned, _, inside = re.sub(r"\(\s*\*\s*\w*\s*\)", " ", signature).partition("(")
    arguments = [_bare(argument) for argument in inside.rpartition(")")[0].split(",")]
    if _bare(returned) == "void" and len(arguments) == 6 and arguments[0] in _COUNTS and arguments[5] == "void *":
        for precision, names in _REALS.items():
            if all(argument in {f"{name} *" for name in names} for argument in arguments[1:5]):
                return precision
    raise TypeError(f"a function has the signature {signature!r}; expected {_EXPECTED!r}, or the same of float")


def _bare(declared: str) -> str:
    """A C type without const, spaces and the name of the argument: "double *" of "double const *input"."""
    text = re.sub(r"\b(const|restrict|__restrict|noexcept|nogil|__pyx_t_\d+numpy_)", " ", declared)
    words, stars = re.findall(r"\w+", text), "*" * text.count("*")
    known = {"void", *_INTEGERS, *(name for names in _REALS.values() for name in names)}
    if len(words) > 1 and " ".join(words) not in known:
        words.pop()
    return " ".join([*words, *([stars] if stars else [])])
