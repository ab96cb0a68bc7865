"""Losses made of losses: weighted sums over the same arrays, and several tasks with arrays of their own."""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._arguments import mapped, title
from lossfast._drivers.elementwise import Elementwise, ElementwiseSum
from lossfast._loss import Loss, Request, epsilon
from lossfast._methods import METHOD_NAMES, METHODS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

    from lossfast._arrays import Array

__all__ = ["MultiTaskLoss", "UncertaintyWeightedLoss", "WeightedSum"]


# ---- sums ----------------------------------------------------------------------------------------------------------


class WeightedSum(Loss):
    r"""A sum of losses of the same arrays, as ``0.7 * MSELoss() + 0.3 * HuberLoss()`` makes it.

    .. math:: \ell = \sum_m c_m \ell_m, \qquad \partial \ell = \sum_m c_m\,\partial \ell_m

    Losses are multiplied and divided by numbers, added, subtracted and negated; sums of sums are flattened, and the
    built-in ``sum`` adds up a list. The result is a loss: it has the methods, the keywords and the errors of its
    members, and is immutable, comparable and picklable as they are.

    Parameters
    ----------
    terms : tuple of (float, Loss)
        The factors and the losses.
    reduction : str, optional
        Replaces the reduction of every loss; by default they have to agree.

    Raises
    ------
    TypeError
        If the losses take different arrays.
    ValueError
        If their reductions differ, or a factor is not finite.

    Notes
    -----
    Arrays: those of the losses, which all have to take the same. A mean is the sum of the members' means. With
    ``reduction="none"`` the members' losses must have one shape.

    Curvatures: exact and unit where every member has them: the sum of the members' Hessians, and of their scales times
    ``abs(c)``. psd is the exact Hessian of the sum, held above the unit one times the epsilon of the dtype. fisher and
    majorizer where every member has them and no factor is negative.
    """

    arrays: ClassVar[tuple[str, ...]] = ("arrays",)
    predictions: ClassVar[tuple[str, ...]] = ("those of the losses",)

    terms: tuple[tuple[float, Loss], ...]
    reduction: str = ""

    def __post_init__(self) -> None:
        terms = tuple((_factor(factor), loss) for factor, loss in self.terms)
        first = terms[0][1]
        for _, loss in terms[1:]:
            if (loss.arrays, loss.predictions) != (first.arrays, first.predictions):
                raise TypeError(
                    f"{_name(first)} takes ({', '.join(first.arrays)}) and {_name(loss)} takes "
                    f"({', '.join(loss.arrays)}): losses of different arrays are the tasks of a MultiTaskLoss"
                )
            if not self.reduction and loss.reduction != first.reduction:
                raise ValueError(
                    f"{_name(first)} has reduction={first.reduction!r} and {_name(loss)} has "
                    f"reduction={loss.reduction!r}: give both the same"
                )
        losses = [loss for _, loss in terms]
        facts: dict[str, Any] = {
            "arrays": first.arrays,
            "predictions": first.predictions,
            **{name: _common(losses, name) for name in ("differentiable", "curved", "reductions")},
            "curvatures": _curvatures(terms),
            "reduction": self.reduction or first.reduction,
        }
        if self.reduction:
            changes: dict[str, Any] = {"reduction": self.reduction}
            terms = tuple((factor, dataclasses.replace(loss, **changes)) for factor, loss in terms)
        for name, value in {**facts, "terms": terms}.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    def _bind(self) -> None:
        """Plain calls of losses by element take one pass over memory."""
        kernels = tuple(getattr(loss._quick, "__self__", None) for _, loss in self.terms)
        if all(isinstance(kernel, Elementwise) for kernel in kernels):
            quick = ElementwiseSum(kernels, tuple(factor for factor, _ in self.terms)).quick
            object.__setattr__(self, "_quick", quick)

    def _checkable(self) -> tuple[Loss, Loss]:
        pairs = [(factor, loss._checkable()) for factor, loss in self.terms]
        with_gradient, primitive = (
            WeightedSum(terms=tuple((factor, pair[k]) for factor, pair in pairs)) for k in (0, 1)
        )
        return with_gradient, primitive

    # ---- the object ------------------------------------------------------------------------------------------------

    @staticmethod
    def terms_of(loss: Loss) -> tuple[tuple[float, Loss], ...]:
        """The terms of a sum; a loss that is none is its own only term."""
        return loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),)

    @classmethod
    def scaled(cls, loss: Loss, factor: object, *, divide: bool = False) -> Any:
        """The loss times a number, or divided by it."""
        if isinstance(factor, bool) or not isinstance(factor, numbers.Real):
            return NotImplemented
        number = _factor(factor)
        terms = tuple((c / number if divide else c * number, member) for c, member in cls.terms_of(loss))
        return cls(terms=terms)

    @classmethod
    def added(cls, first: Loss, second: object) -> Any:
        """The sum of two; 0 is what the built-in ``sum`` begins with."""
        if isinstance(second, Loss):
            return cls(terms=cls.terms_of(first) + cls.terms_of(second))
        return first if isinstance(second, numbers.Real) and second == 0 else NotImplemented

    def __repr__(self) -> str:
        text = ""
        for factor, loss in self.terms:
            sign = ("-" if factor < 0 else "") if not text else " - " if factor < 0 else " + "
            text += f"{sign}{'' if abs(factor) == 1 else f'{abs(factor)!r} * '}{loss!r}"
        return text if len(self.terms) > 1 or self.terms[0][0] != 1 else f"1.0 * {text}"

    # ---- the methods -----------------------------------------------------------------------------------------------

    def __call__(self, *arrays: ArrayLike, **options: Any) -> Any:
        return self._run("__call__", self._gathered(arrays, options), options)

    def value_and_grad(self, *arrays: ArrayLike, **options: Any) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("value_and_grad", self._gathered(arrays, options), options)
        return result

    def grad(self, *arrays: ArrayLike, **options: Any) -> Any:
        return self._run("grad", self._gathered(arrays, options), options)

    def grad_hess(self, *arrays: ArrayLike, **options: Any) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("grad_hess", self._gathered(arrays, options), options)
        return result

    def value_grad_hess(self, *arrays: ArrayLike, **options: Any) -> tuple[Any, Any, Any]:
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", self._gathered(arrays, options), options)
        return result

    def reference(self, *arrays: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The sum of the members' plain NumPy definitions."""
        first, *rest = (factor * loss.reference(*arrays, sample_weight=sample_weight) for factor, loss in self.terms)
        return sum(rest, start=first)

    def _gathered(self, arrays: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        """The arrays in their order, those given by name too."""
        if len(arrays) > len(self.arrays):
            raise TypeError(f"{title(self)} takes ({', '.join(self.arrays)}), but {len(arrays)} arrays were given")
        for name in self.arrays[len(arrays) :]:
            if name not in options:
                break
            arrays = (*arrays, options.pop(name))
        return arrays

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        if request.curvature not in self.curvatures and request.order == 2:
            raise ValueError(
                f"curvature = {request.curvature!r} is not defined for {title(self)}: "
                f"choose one of {', '.join(map(repr, self.curvatures))}"
            )
        named = dict(zip(self.arrays, arrays, strict=False))
        with np.errstate(invalid="ignore", over="ignore"):  # infinities and half precision are no errors
            if request.order < 2 or request.curvature != "psd":
                return self._summed(named, request)
            unit = dataclasses.replace(request, value=False, out=None, curvature="unit")
            _, scale = self._summed(named, unit)
            *others, hess = self._summed(named, dataclasses.replace(request, curvature="exact"))
            return (*others, mapped(_hold_above, hess, scale))

    def _summed(self, named: dict[str, Any], request: Request) -> Any:
        """What the method gives; the curvature "unit" adds up the size of the factors.

        The last loss writes to the caller's arrays: what any other refuses is known by then, and what replaces an
        argument has been read by all.
        """
        method = METHOD_NAMES[request.value, request.order]
        options = {name: getattr(request, name) for name in METHODS[method].keywords}
        # losses that turn out to have different shapes are an error before anything is written
        kept = options.pop("out") if self.reduction == "none" else None
        total: Any = None
        for k, (factor, loss) in enumerate(self.terms):
            given = {name: value for name, value in options.items() if name != "out" or k == len(self.terms) - 1}
            part = getattr(loss, method)(**named, **given)
            parts = list(part) if request.value + request.order > 1 else [part]
            factors = [factor] * len(parts)
            if request.curvature == "unit" and request.order == 2:
                factors[-1] = abs(factor)
            before = [None] * len(parts) if total is None else total
            total = [self._added(*pair) for pair in zip(before, parts, factors, strict=True)]
        if kept is not None:
            total = _delivered(total, request.value if request.order else 0, kept if request.order == 2 else (kept,))
        return tuple(total) if len(total) > 1 else total[0]

    def _added(self, total: Any, part: Any, factor: float) -> Any:
        """The total and a part times its factor, in the memory of the part; no total is nothing."""
        if isinstance(part, float):
            return part * factor if total is None else total + part * factor
        if isinstance(part, tuple | list):
            totals = [None] * len(part) if total is None else total
            return type(part)(self._added(t, p, factor) for t, p in zip(totals, part, strict=True))
        if total is not None and total.shape != part.shape:
            raise ValueError(
                f"the unreduced losses of {title(self)} have the shapes {total.shape} and {part.shape}: reduce them, "
                "with reduction='mean' or 'sum'"
            )
        if factor != 1:
            np.multiply(part, factor, out=part, casting="same_kind")
        return part if total is None else np.add(part, total, out=part)


def _factor(value: Any) -> float:
    number = _arrays.as_float(value, "a factor")
    if not math.isfinite(number):
        raise ValueError(f"{number} times a loss: expected a finite number")
    return number


def _name(loss: Loss) -> str:
    return type(loss).__name__


def _common(losses: list[Loss], name: str) -> tuple[str, ...]:
    """What is in an attribute of every loss, in the order of the first."""
    first, *rest = (getattr(loss, name) for loss in losses)
    return tuple(member for member in first if all(member in other for other in rest))


def _curvatures(terms: tuple[tuple[float, Loss], ...]) -> tuple[str, ...]:
    common = _common([loss for _, loss in terms], "curvatures")
    bounds = ("fisher", "majorizer") if all(factor >= 0 for factor, _ in terms) else ()
    return tuple(name for name in common if name in ("exact", "psd", "unit", *bounds))


def _hold_above(hess: Array, scale: Array) -> Array:
    """Hold the Hessian above epsilon times its scale, on the scale's own side of zero, in place."""
    floor = scale * np.asarray(epsilon(hess.dtype), scale.dtype)
    hess[...] = np.where(floor < 0, np.minimum(hess, floor), np.maximum(hess, floor))
    return hess


def _delivered(results: list[Any], start: int, outs: Any) -> list[Any]:
    """Results with those from `start` on in the caller's arrays, once every one of these is known to fit."""
    pairs = list(_paired(results[start:], outs))
    for result, own in pairs:
        _arrays.checked_out(own, "out", result.shape, result.dtype)
    _arrays.refuse_overlap([own for _, own in pairs])
    for result, own in pairs:
        own[...] = result
    return [*results[:start], *outs]


def _paired(results: Any, outs: Any) -> Iterator[tuple[Array, Any]]:
    if not isinstance(results, tuple | list):
        yield results, outs
    elif not isinstance(outs, tuple) or len(outs) != len(results):
        raise TypeError(f"out: expected a tuple of {len(results)}, as the results come")
    else:
        for result, own in zip(results, outs, strict=True):
            yield from _paired(result, own)


# ---- tasks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, init=False, repr=False)
class _Tasks:
    """Named losses, each of arrays of its own."""

    #: Keywords of the methods, which no task can be called by.
    _KEYWORDS: ClassVar[tuple[str, ...]] = ("self", "log_variances", "sample_weight", "wrt")

    losses: tuple[tuple[str, Loss], ...]

    def _set_losses(self, losses: Mapping[str, Any]) -> None:
        if not losses:
            raise TypeError(f"{type(self).__name__} needs a task: give a name and its loss")
        for name, loss in losses.items():
            if not name.isidentifier() or name in self._KEYWORDS:
                raise ValueError(
                    f"{name!r} cannot name a task: expected an identifier other than {', '.join(self._KEYWORDS)}"
                )
            if not isinstance(loss, Loss):
                raise TypeError(f"{name} = {loss!r} is of type {type(loss).__name__}; expected a loss")
            if loss.reduction == "none":
                raise ValueError(
                    f"{name}: {loss!r} gives one value per element; expected a loss that gives a number: use "
                    "reduction='mean' or 'sum'"
                )
        object.__setattr__(self, "losses", tuple(losses.items()))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, in their order."""
        return tuple(name for name, _ in self.losses)

    def values(
        self, *, sample_weight: Mapping[str, ArrayLike] | None = None, **arrays: Sequence[ArrayLike]
    ) -> dict[str, float]:
        """The loss of every task by itself, not weighted: what belongs in a log.

        Parameters
        ----------
        **arrays : tuple of array_like
            For every task, by its name, the arrays of its loss.
        sample_weight : dict of array_like, optional
            Sample weights of some of the tasks, by their names.

        Returns
        -------
        dict of float
            By the names of the tasks.
        """
        return self._each("__call__", arrays, sample_weight=sample_weight)

    def _each(
        self, method: str, arrays: Mapping[str, Any], factors: Mapping[str, float] | None = None, **options: Any
    ) -> dict[str, Any]:
        """What a method gives for every task; `options` hold dictionaries by task, or None."""
        self._check_names("", arrays)
        for option, by_task in options.items():
            if by_task is not None:
                self._check_names(f"{option}: ", by_task, complete=False)
        answers = {}
        for name, loss in self.losses:
            given = arrays[name]
            if not isinstance(given, tuple | list):
                raise TypeError(
                    f"{name} is of type {type(given).__name__}; expected a tuple of the arrays "
                    f"({', '.join(loss.arrays)})"
                )
            keywords = {option: by_task[name] for option, by_task in options.items() if by_task and name in by_task}
            if factors is not None and factors[name] != 1:
                keywords["grad_output"] = factors[name]
            try:
                answers[name] = getattr(loss, method)(*given, **keywords)
            except (ValueError, TypeError, IndexError) as error:
                if type(error) not in (ValueError, TypeError, IndexError):
                    raise
                raise type(error)(f"task {name!r}: {error}") from error
        return answers

    def _check_names(self, what: str, by_task: Any, *, complete: bool = True) -> None:
        if not isinstance(by_task, dict):
            raise TypeError(f"{what}{by_task!r} is of type {type(by_task).__name__}; expected a dict by task")
        unknown = [name for name in by_task if name not in self.tasks]
        missing = [name for name in self.tasks if name not in by_task] if complete else []
        if unknown or missing:
            wrong = f"{unknown[0]!r} is no task" if unknown else f"nothing is given for {missing[0]!r}"
            raise TypeError(f"{what}{wrong}; the tasks are {', '.join(self.tasks)}")


@dataclass(frozen=True, init=False, repr=False)
class MultiTaskLoss(_Tasks):
    r"""A weighted sum of the losses of several tasks, each of arrays of its own.

    .. math:: L = \sum_i w_i L_i, \qquad \partial_{x_i} L = w_i\,\partial_{x_i} L_i

    Parameters
    ----------
    **tasks : tuple of (Loss, float)
        By the name of the task: its loss and its weight, a finite number. The loss gives a number, so its reduction is
        "mean" or "sum"; it may be a weighted sum of losses itself.

    Raises
    ------
    TypeError
        If a task is not a pair of a loss and a number.
    ValueError
        If a loss is not reduced, a weight is not finite, or a name is a keyword of the methods.

    Examples
    --------
    >>> import numpy as np, lossfast as lf
    >>> multi = lf.MultiTaskLoss(box=(lf.SmoothL1Loss(), 1.0), cls=(lf.CrossEntropyLoss(), 0.5))
    >>> boxes, logits = np.zeros((2, 4)), np.zeros((2, 3))
    >>> value, values, grads = multi.value_and_grad(box=(boxes, boxes + 1), cls=(logits, [0, 2]))
    >>> round(value, 6), round(values["cls"], 6), grads["cls"].shape
    (1.049306, 1.098612, (2, 3))
    """

    weights: tuple[float, ...]

    def __init__(self, /, **tasks: tuple[Loss, float]) -> None:
        for name, pair in tasks.items():
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError(f"{name} = {pair!r}; expected a pair of a loss and its weight")
            weight = pair[1]
            if isinstance(weight, bool) or not isinstance(weight, numbers.Real):
                raise TypeError(f"{name}: weight {weight!r} is of type {type(weight).__name__}; expected a real number")
            if not math.isfinite(_arrays.as_float(weight, f"the weight of {name}")):
                raise ValueError(f"{name}: weight {weight} is not finite")
        self._set_losses({name: loss for name, (loss, _) in tasks.items()})
        object.__setattr__(self, "weights", tuple(float(weight) for _, weight in tasks.values()))

    def __repr__(self) -> str:
        pairs = zip(self.losses, self.weights, strict=True)
        return f"MultiTaskLoss({', '.join(f'{name}=({loss!r}, {weight!r})' for (name, loss), weight in pairs)})"

    def __call__(self, *, sample_weight: Mapping[str, ArrayLike] | None = None, **arrays: Sequence[ArrayLike]) -> float:
        """The weighted sum of the losses.

        Parameters
        ----------
        **arrays : tuple of array_like
            For every task, by its name, the arrays of its loss.
        sample_weight : dict of array_like, optional
            Sample weights of some of the tasks, by their names.

        Returns
        -------
        float
            The sum of the weighted values.
        """
        return self._total(self.values(sample_weight=sample_weight, **arrays))

    def value_and_grad(
        self,
        *,
        sample_weight: Mapping[str, ArrayLike] | None = None,
        wrt: Mapping[str, str | tuple[str, ...]] | None = None,
        **arrays: Sequence[ArrayLike],
    ) -> tuple[float, dict[str, float], dict[str, Any]]:
        """The weighted sum, the loss of every task by itself, and the gradients of the weighted sum.

        Parameters
        ----------
        **arrays : tuple of array_like
            For every task, by its name, the arrays of its loss.
        sample_weight : dict of array_like, optional
            Sample weights of some of the tasks, by their names.
        wrt : dict of str or tuple of str, optional
            What to differentiate some of the tasks by. Default: the predictions of each.

        Returns
        -------
        value : float
        values : dict of float
            Not weighted, as `values` gives them.
        grads : dict
            For every task what its loss gives, times the weight: one array, or a tuple of several.
        """
        factors = dict(zip(self.tasks, self.weights, strict=True))
        answers = self._each("value_and_grad", arrays, factors, sample_weight=sample_weight, wrt=wrt)
        values = {name: value for name, (value, _) in answers.items()}
        return self._total(values), values, {name: grad for name, (_, grad) in answers.items()}

    def grad(
        self,
        *,
        sample_weight: Mapping[str, ArrayLike] | None = None,
        wrt: Mapping[str, str | tuple[str, ...]] | None = None,
        **arrays: Sequence[ArrayLike],
    ) -> dict[str, Any]:
        """The gradients of the weighted sum alone.

        Parameters
        ----------
        **arrays : tuple of array_like
            For every task, by its name, the arrays of its loss.
        sample_weight : dict of array_like, optional
            Sample weights of some of the tasks, by their names.
        wrt : dict of str or tuple of str, optional
            What to differentiate some of the tasks by. Default: the predictions of each.

        Returns
        -------
        dict
            For every task what its loss gives, times the weight: one array, or a tuple of several.
        """
        return self.value_and_grad(sample_weight=sample_weight, wrt=wrt, **arrays)[2]

    def reference(self, *, sample_weight: Mapping[str, ArrayLike] | None = None, **arrays: Any) -> Any:
        """The weighted sum of the plain NumPy definitions."""
        return self._total(self._each("reference", arrays, sample_weight=sample_weight))

    def _total(self, values: Mapping[str, float]) -> float:
        return sum(weight * value for weight, value in zip(self.weights, values.values(), strict=True))


@dataclass(frozen=True, init=False, repr=False)
class UncertaintyWeightedLoss(_Tasks):
    r"""The losses of several tasks with learned weights: the task's own (homoscedastic) uncertainty.

    .. math::
        L = \sum_i e^{-s_i} L_i + s_i, \qquad \partial_{x_i} L = e^{-s_i}\,\partial_{x_i} L_i, \qquad
        \partial_{s_i} L = 1 - e^{-s_i} L_i

    The logarithms :math:`s_i = \log \sigma_i^2` are parameters of the model like others: descend along their gradient,
    from zeros, which weigh all tasks alike. At rest :math:`e^{s_i} = L_i`.

    Parameters
    ----------
    **tasks : Loss
        By the name of the task: its loss. The loss gives a number, so its reduction is "mean" or "sum".

    Raises
    ------
    TypeError
        If a task is not a loss.
    ValueError
        If a loss is not reduced, or a name is a keyword of the methods.

    Notes
    -----
    This is twice the objective of [1]_ for regression with squared errors, :math:`\tfrac{1}{2 \sigma^2} \lVert y - f
    \rVert^2 + \log \sigma`, and what its authors' code computes for all tasks. The paper gives classification no ½,
    :math:`\tfrac{1}{\sigma^2} L + \log \sigma`: for twice that, make the task ``2 * CrossEntropyLoss()``.

    References
    ----------
    .. [1] A. Kendall, Y. Gal, R. Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and
       semantics", CVPR 2018, :doi:`10.1109/CVPR.2018.00781`.

    Examples
    --------
    >>> import numpy as np, lossfast as lf
    >>> multi = lf.UncertaintyWeightedLoss(box=lf.SmoothL1Loss(), cls=lf.CrossEntropyLoss())
    >>> boxes, logits = np.zeros((2, 4)), np.zeros((2, 3))
    >>> value, grads, slopes = multi.value_and_grad([0.0, 0.0], box=(boxes, boxes + 1), cls=(logits, [0, 2]))
    >>> round(value, 6), slopes.round(6).tolist()
    (1.598612, [0.5, -0.098612])
    """

    def __init__(self, /, **tasks: Loss) -> None:
        self._set_losses(tasks)

    def __repr__(self) -> str:
        return f"UncertaintyWeightedLoss({', '.join(f'{name}={loss!r}' for name, loss in self.losses)})"

    def __call__(
        self,
        log_variances: Mapping[str, float] | ArrayLike,
        *,
        sample_weight: Mapping[str, ArrayLike] | None = None,
        **arrays: Sequence[ArrayLike],
    ) -> float:
        """The weighted loss.

        Parameters
        ----------
        log_variances : array_like or dict of float
            One number for each task: an array of shape (tasks,) in their order, or by their names.
        **arrays : tuple of array_like
            For every task, by its name, the arrays of its loss.
        sample_weight : dict of array_like, optional
            Sample weights of some of the tasks, by their names.

        Returns
        -------
        float
            The sum of the weighted values and of the logarithms.
        """
        _, logs = self._logs(log_variances)
        return self._total(logs, self.values(sample_weight=sample_weight, **arrays))

    def value_and_grad(
        self,
        log_variances: Mapping[str, float] | ArrayLike,
        *,
        sample_weight: Mapping[str, ArrayLike] | None = None,
        wrt: Mapping[str, str | tuple[str, ...]] | None = None,
        **arrays: Sequence[ArrayLike],
    ) -> tuple[float, dict[str, Any], Any]:
        """The weighted loss, and its gradients by the tasks' arrays and by the logarithms of the variances.

        Parameters
        ----------
        log_variances : array_like or dict of float
            One number for each task: an array of shape (tasks,) in their order, or by their names.
        **arrays : tuple of array_like
            For every task, by its name, the arrays of its loss.
        sample_weight : dict of array_like, optional
            Sample weights of some of the tasks, by their names.
        wrt : dict of str or tuple of str, optional
            What to differentiate some of the tasks by. Default: the predictions of each.

        Returns
        -------
        value : float
        grads : dict
            For every task what its loss gives, times the weight: one array, or a tuple of several.
        log_variance_grad : ndarray or dict of float
            As ``log_variances`` is given.
        """
        given, logs = self._logs(log_variances)
        factors = dict(zip(self.tasks, _precisions(logs), strict=True))
        answers = self._each("value_and_grad", arrays, factors, sample_weight=sample_weight, wrt=wrt)
        values = {name: value for name, (value, _) in answers.items()}
        slopes = [1 - factors[name] * value for name, value in values.items()]
        by_logs = (
            dict(zip(self.tasks, slopes, strict=True))
            if given is None
            else np.asarray(slopes).astype(_arrays.gradient_dtype(given.dtype))
        )
        return self._total(logs, values), {name: grad for name, (_, grad) in answers.items()}, by_logs

    def reference(
        self,
        log_variances: Mapping[str, float] | ArrayLike,
        *,
        sample_weight: Mapping[str, ArrayLike] | None = None,
        **arrays: Any,
    ) -> Any:
        """The weighted loss from the plain NumPy definitions."""
        return self._total(self._logs(log_variances)[1], self._each("reference", arrays, sample_weight=sample_weight))

    def _logs(self, log_variances: Any) -> tuple[Array | None, list[float]]:
        """The array that was given, if it is one, and the numbers."""
        if isinstance(log_variances, dict):
            self._check_names("log_variances: ", log_variances)
            return None, [float(log_variances[name]) for name in self.tasks]
        given = _arrays.as_array(log_variances, "log_variances")
        _arrays.same_shape("log_variances", given.shape, (len(self.losses),), f"one number for each of {self.tasks}")
        return given, [float(s) for s in given]

    def _total(self, logs: list[float], values: Mapping[str, float]) -> float:
        terms = zip(_precisions(logs), values.values(), logs, strict=True)
        return sum(precision * value + log for precision, value, log in terms)


def _precisions(logs: list[float]) -> list[float]:
    with np.errstate(over="ignore"):
        return [float(precision) for precision in np.exp(np.negative(logs))]
