"""The five methods of a loss: what each computes, the keywords that it takes and what its documentation says.

Each set of arrays states the methods with its own positional arguments, in `_signatures`; the rest is here, once.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike


class ValueOptions(TypedDict, total=False):
    """The keywords of a call."""

    sample_weight: ArrayLike | None
    out: Any


class GradientOptions(ValueOptions, total=False):
    """The keywords of the methods that differentiate."""

    wrt: str | tuple[str, ...] | None
    grad_output: ArrayLike | None


class HessianOptions(GradientOptions, total=False):
    """The keywords of the methods that differentiate twice."""

    curvature: str


#: Every keyword with its default, in the order in which they are shown.
DEFAULTS: Mapping[str, Any] = {
    "sample_weight": None,
    "wrt": None,
    "grad_output": None,
    "out": None,
    "curvature": "exact",
}


@dataclass(frozen=True)
class Method:
    """What a method computes, its keywords and its documentation."""

    value: bool
    order: int  # 0: value, 1: gradient, 2: and Hessian
    options: type
    documentation: str

    @cached_property
    def keywords(self) -> dict[str, str]:
        """The keywords with their annotations as text."""
        annotations = inspect.get_annotations(self.options)
        for base in getattr(self.options, "__orig_bases__", ()):
            if base is not TypedDict:
                annotations |= inspect.get_annotations(base)
        return {name: getattr(annotations[name], "__forward_arg__", "Any") for name in DEFAULTS if name in annotations}


#: What every method says of its arguments and of what may be wrong with them.
_GRADIENT_PARAMETERS = """{arrays} : array_like
    As the class says.
sample_weight : array_like, optional
    One weight per unreduced loss; a mean is divided by their sum.
wrt : str or tuple of str, optional
    What to differentiate by; one name gives one array, several a tuple. Default: {predictions}.
grad_output : array_like, optional
    With ``reduction="none"`` the cotangent, else a number; default ones.
"""
_HESSIAN_PARAMETERS = """out : tuple, optional
    ``(grad, hess)``, where to put them; each as in `value_and_grad`.
curvature : {{"exact", "psd", "fisher", "majorizer", "unit"}}
    The second derivative itself; clipped to stay positive; its expectation under the model; that of a quadratic
    upper bound; one. Losses define some of them.
"""
_VALUE = """float or ndarray
    The reduced loss, summed in float64, or with ``reduction="none"`` all of them.
"""
_GRADIENT = """ndarray or tuple of ndarray
    Of the shape and the dtype of what it is by (float64 for integers): the derivative of the reduced loss, or with
    ``reduction="none"`` of each loss times ``grad_output``.
"""
_HESSIAN = """ndarray or tuple of ndarray
    The diagonal of the Hessian of the same, in the same form.
"""
_RAISES = """
Raises
------
TypeError, ValueError, IndexError
    If an argument does not fit. The message names it, what is wrong with it and how to mend it.
"""

METHODS: Mapping[str, Method] = {
    "__call__": Method(
        True,
        0,
        ValueOptions,
        f"""The loss; no gradient work is done.

Parameters
----------
{{arrays}} : array_like
    As the class says.
sample_weight : array_like, optional
    One weight per unreduced loss; a mean is divided by their sum.
out : ndarray, optional
    Where to put an unreduced loss.

Returns
-------
{_VALUE}{_RAISES}""",
    ),
    "value_and_grad": Method(
        True,
        1,
        GradientOptions,
        f"""The loss and its gradient, from one pass over memory.

Parameters
----------
{_GRADIENT_PARAMETERS}out : ndarray or tuple of ndarray, optional
    Where to put the gradient; may be an argument itself.

Returns
-------
value : {_VALUE}grad : {_GRADIENT}{_RAISES}""",
    ),
    "grad": Method(
        False,
        1,
        GradientOptions,
        f"""The gradient alone.

Parameters
----------
{_GRADIENT_PARAMETERS}out : ndarray or tuple of ndarray, optional
    Where to put the gradient; may be an argument itself.

Returns
-------
{_GRADIENT}{_RAISES}""",
    ),
    "grad_hess": Method(
        False,
        2,
        HessianOptions,
        f"""The gradient and the diagonal of the Hessian.

Parameters
----------
{_GRADIENT_PARAMETERS}{_HESSIAN_PARAMETERS}
Returns
-------
grad : {_GRADIENT}hess : {_HESSIAN}{_RAISES}""",
    ),
    "value_grad_hess": Method(
        True,
        2,
        HessianOptions,
        f"""The loss, its gradient and the diagonal of its Hessian, from one pass over memory.

Parameters
----------
{_GRADIENT_PARAMETERS}{_HESSIAN_PARAMETERS}
Returns
-------
value : {_VALUE}grad : {_GRADIENT}hess : {_HESSIAN}{_RAISES}""",
    ),
}


#: The method that gives the value or not, and so many derivatives.
METHOD_NAMES = {(method.value, method.order): name for name, method in METHODS.items()}


def describe(function: Callable[..., Any], arrays: tuple[str, ...], predictions: tuple[str, ...]) -> None:
    """Give a method its documentation, and a signature that shows the keywords by name."""
    method = METHODS[function.__name__]
    function.__doc__ = method.documentation.format(arrays=", ".join(arrays), predictions=", ".join(predictions))
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind != inspect.Parameter.VAR_KEYWORD]
    shown = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[name], annotation=annotation)
        for name, annotation in method.keywords.items()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
