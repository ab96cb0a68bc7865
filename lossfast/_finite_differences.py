"""Gradients compared with finite differences."""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lossfast import _arrays
from lossfast._arguments import by_name, leaves, mapped, title
from lossfast._loss import Loss
from lossfast.composition import WeightedSum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike

    from lossfast._arrays import Array

#: Differences are formed over these parts of an element's size, the greatest that the loss is smooth over.
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
#: From this step on a kink in the middle is one at the point itself.
_NO_NEARER = 1e-5
#: Rounding of a loss, in units of its last place.
_ROUNDING = 16 * float(np.finfo(np.float64).eps)
#: A difference is good if halving its step changes it by less.
_SETTLED = 3e-7
#: Arrays of so many elements are checked one by one; of greater ones, so many elements and directions.
_WHOLE, _SAMPLE, _DIRECTIONS = 1000, 250, 4


def check_grad(
    loss: Loss,
    *arrays: Any,
    wrt: str | tuple[str, ...] | None = None,
    sample_weight: ArrayLike | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    seed: int = 0,
) -> float:
    """Compare the gradient of a loss with finite differences.

    Parameters
    ----------
    loss : Loss
        Any loss: of the library, a sum, a `CustomLoss`, or one of compiled functions.
    *arrays : array_like
        Its arrays, at which the loss has to be finite. Floating ones are checked in float64, whatever they are.
    wrt : str or tuple of str, optional
        What to differentiate by: arrays, or an array parameter such as ``"weight"``. Default: what the loss
        differentiates by itself.
    sample_weight : array_like, optional
        As in a call.
    rtol, atol : float
        A derivative may differ from the difference by ``atol + rtol * size``, with the greater size of the two, and by
        what the difference itself leaves open: its rounding errors and its last change.
    seed : int
        Of the elements and directions that great arrays are checked by.

    Returns
    -------
    float
        The greatest relative error that was found, where an absolute error that is allowed counts in proportion.

    Raises
    ------
    AssertionError
        If a derivative differs; the message names the worst one, with both numbers.
    ValueError
        If the loss is not finite at the point, or has no derivative by a name.

    Notes
    -----
    Arrays of up to 1000 elements are checked one element at a time; greater ones by 250 elements, and by the slopes
    along 4 random directions, in which every element takes part.

    Slopes are central differences of two steps, extrapolated (Richardson), with the greatest step that the loss is
    smooth over. At a kink the slopes of both sides are formed: a derivative is right if it is one of them or lies
    between, which is all that a kink says. Where an element is at the end of the loss's domain, the side that is inside
    counts. `BCELoss` is expected to fail at 0 and 1, where its gradient is PyTorch's and not the derivative.

    `CTCLoss` with the gradient of the logits is taken as the function of the logits that it is the derivative of, so
    that its log-probabilities have to be normalised.

    With ``reduction="none"`` the check is of the gradient for a random cotangent.
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"{loss!r} is of type {type(loss).__name__}; expected a loss, or one task of several")
    with np.errstate(over="ignore", invalid="ignore"):  # a step from the greatest numbers leads beyond them
        check = _GradientCheck(loss, arrays, wrt, sample_weight, np.random.default_rng(seed))
        compared = (_compare(where, slope, expected, rtol, atol) for where, slope, expected in check.slopes())
        worst = max(compared, key=lambda comparison: comparison.ratio, default=None)
    if worst is None:
        return 0.0
    if worst.ratio > 1:
        raise AssertionError(
            f"{title(loss)}: the derivative {worst.where} is {worst.analytic:.9g}, by finite differences it is "
            f"{worst.numeric:.9g}: a relative error of {worst.error:.2g}, greater than rtol={rtol:g}"
        )
    return float(rtol * worst.ratio)


class _Slope(NamedTuple):
    """What differences say of a derivative: between what it lies, for at a kink that is all that can be said.

    `doubt`: what is uncertain about both ends; `spread`: the size of the terms of a sum before they cancelled.
    """

    low: float
    high: float
    doubt: float
    spread: float = 0.0


@dataclass(frozen=True)
class _Comparison:
    """A derivative and its difference; `ratio`: of the error to what is allowed."""

    where: str
    analytic: float
    numeric: float
    error: float
    ratio: float


def _compare(where: str, analytic: float, slope: _Slope, rtol: float, atol: float) -> _Comparison:
    low, high = min(slope.low, slope.high), max(slope.low, slope.high)
    distance = abs(analytic - min(max(analytic, low), high))
    if not math.isfinite(low + high + distance):
        return _Comparison(where, analytic, low if math.isfinite(high) else high, math.inf, math.inf)
    numeric = low if abs(analytic - low) <= abs(analytic - high) else high
    size = max(abs(analytic), abs(numeric), slope.spread)
    allowed = rtol * size + atol + slope.doubt
    ratio = distance / allowed if allowed else math.inf if distance else 0.0
    return _Comparison(where, analytic, numeric, distance / size if size else 0.0, ratio)


class _GradientCheck:
    """The point that a gradient is checked at, and the gradient there."""

    def __init__(
        self, loss: Any, arrays: tuple[Any, ...], wrt: Any, sample_weight: Any, rng: np.random.Generator
    ) -> None:
        self.loss, self.primitive = loss._checkable()
        self.rng = rng
        self.options: dict[str, Any] = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.named = by_name(loss, arrays)
        asked = (wrt,) if isinstance(wrt, str) else wrt
        names = [name for name in loss.predictions if self.named.get(name) is not None] if asked is None else asked
        probe = self._gradients(asked, names)  # which of the arguments are nested
        for name, given in self.named.items():
            if isinstance(probe.get(name), tuple | list):
                self.named[name] = mapped(_in_float64, given)
            elif name in probe or (not _is_constant(given) and np.asarray(given).dtype.kind == "f"):
                self.named[name] = _in_float64(given)
        value = self.primitive(**self.named, **self.options)
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{title(loss)} is not finite at these arrays, where it has no finite differences")
        self.cotangent = None if isinstance(value, float) else rng.uniform(0.5, 1.5, np.shape(value))
        self.grads = self._gradients(asked, names, grad_output=self.cotangent)

    def _gradients(self, asked: Any, names: Sequence[str], **options: Any) -> dict[str, Any]:
        answer = self.loss.grad(**self.named, **self.options, wrt=asked, **options)
        # a constant variance is a prediction without a gradient: then there is one array for two names
        return dict(zip(names, answer if isinstance(answer, tuple) and len(names) > 1 else (answer,), strict=False))

    def slopes(self) -> Iterator[tuple[str, float, _Slope]]:
        """Every element or direction that is compared: its name, the derivative and the difference."""
        for name, grad in self.grads.items():
            point = self.named[name] if name in self.named else _in_float64(getattr(self.loss, name))
            for (path, leaf), (_, analytic) in zip(leaves(point, name), leaves(grad, name), strict=True):
                exact = np.asarray(analytic, np.float64)
                whole = leaf.size <= _WHOLE
                entries = np.arange(leaf.size) if whole else self.rng.choice(leaf.size, _SAMPLE, replace=False)
                yield from self._by_element(path, _Place(self, name, point, leaf), exact, entries)
                if not whole and name in self.named:
                    yield from self._by_direction(path, _Place(self, name, point, leaf), exact)

    def _by_element(self, path: str, place: _Place, grad: Array, entries: Array) -> Iterator[tuple[str, float, _Slope]]:
        parts = [(self.primitive, 1.0)]
        base = place.terms(parts, place.leaf)
        for entry in entries:
            size, inside = float(place.unit.flat[entry]), bool(place.at_end.flat[entry])

            def terms(distance: float, entry: int = entry, size: float = size) -> Array:
                moved = place.leaf.copy()
                moved.flat[entry] += distance * size
                return place.terms(parts, moved)

            low, high, doubt = _slopes(terms, base, place.coarseness(entry), inside=inside)
            slope = _Slope(low.sum() / size, high.sum() / size, float(doubt.sum() / abs(size)))
            yield f"by {_arrays.locate(path, place.leaf, entry).partition(' = ')[0]}", float(grad.flat[entry]), slope

    def _by_direction(self, path: str, place: _Place, grad: Array) -> Iterator[tuple[str, float, _Slope]]:
        parts = list(_unreduced(self.primitive, self.named, self.options))
        base = place.terms(parts, place.leaf)
        for number in range(_DIRECTIONS):
            direction = place.unit * np.where(place.at_end, 1.0, self.rng.choice([-1.0, 1.0], place.leaf.shape))

            def terms(distance: float, direction: Array = direction) -> Array:
                return place.terms(parts, place.leaf + distance * direction)

            low, high, doubt = _slopes(terms, base, place.coarseness(), inside=bool(place.at_end.any()))
            # errors of many terms add up as random numbers do
            spread, doubts = (math.sqrt(float(np.sum(a * a))) for a in (np.maximum(abs(low), abs(high)), doubt))
            slope = _Slope(float(low.sum()), float(high.sum()), 4 * doubts, spread)
            where = f"along random direction {number} of all {place.leaf.size} elements of {path}"
            yield where, float(np.sum(grad * direction)), slope


class _Place:
    """One array of the point, from which to step."""

    def __init__(self, check: _GradientCheck, name: str, point: Any, leaf: Array) -> None:
        self.check, self.name, self.point, self.leaf = check, name, point, leaf
        size = np.maximum(1.0, np.abs(np.where(np.isfinite(leaf), leaf, 1.0)))
        domains = [domain for _, loss in WeightedSum.terms_of(check.loss) if (domain := loss.domains.get(name))]
        low = max((domain.low for domain in domains), default=-math.inf)
        high = min((domain.high for domain in domains), default=math.inf)
        below = leaf - low if math.isfinite(low) else np.full(leaf.shape, math.inf)
        above = high - leaf if math.isfinite(high) else np.full(leaf.shape, math.inf)
        #: where a step to one side only stays in the domain
        self.at_end = np.minimum(below, above) <= 0
        room = np.where(self.at_end, np.maximum(below, above), np.minimum(below, above))
        #: the size of a step for every element; with its sign, at the end
        self.unit = np.minimum(size, room) * np.where(self.at_end & (below > above), -1.0, 1.0)

    def terms(self, parts: Sequence[tuple[Any, float]], moved: Array) -> Array:
        """The terms of the loss, which is that of parts times factors, with `moved` in the place of the array."""
        check = self.check
        tree = mapped(lambda member: moved if member is self.leaf else member, self.point)
        values = []
        for loss, factor in parts:
            if self.name in check.named:
                value = loss(**{**check.named, self.name: tree}, **check.options)
            else:
                value = dataclasses.replace(loss, **{self.name: tree})(**check.named, **check.options)
            if check.cotangent is not None:
                value = value * check.cotangent
            values.append(np.ravel(value if factor == 1 else value * factor))
        return values[0] if len(values) == 1 else np.concatenate(values)

    def coarseness(self, entry: int | None = None) -> float:
        """How many steps the rounding of an element is worth, at most."""
        sizes = (
            np.abs(self.leaf / self.unit) if entry is None else np.abs(self.leaf.flat[entry] / self.unit.flat[entry])
        )
        return float(np.finfo(np.float64).eps * np.max(sizes, where=np.isfinite(sizes), initial=1.0))


def _slopes(
    terms: Callable[[float], Array], base: Array, coarseness: float, *, inside: bool
) -> tuple[Array, Array, Array]:
    """The least and the greatest slope of every term, which differ at kinks, and what is uncertain about them.

    `base`: the terms at distance 0; `coarseness`: rounding of the point, in its steps; `inside`: steps go ahead only.
    """
    moving: Any = slice(None)
    if base.size > 1:  # the others are constant
        ends = [sign * step for step in (_STEPS[0], _STEPS[-1]) for sign in ((1,) if inside else (1, -1))]
        moving = np.flatnonzero(np.any([terms(end) != base for end in ends], axis=0))
    base = base[moving]
    low, high, doubt = (np.full(base.shape, math.nan) for _ in range(3))
    unsettled = np.ones(base.shape, bool)
    for step in _STEPS:
        ahead = [(terms(part * step)[moving] - base) / (part * step) for part in (1, 0.5, 0.25)]
        if inside:
            first, left = 2 * ahead[1] - ahead[0], 2 * ahead[2] - ahead[1]
            slope, change, right = left + (left - first) / 3, np.abs(left - first), left
            bends = [np.zeros(base.shape)] * 2
        else:
            behind = [(base - terms(-part * step)[moving]) / (part * step) for part in (1, 0.5, 0.25)]
            wide, narrow, last = ((a + b) / 2 for a, b in zip(ahead, behind, strict=True))
            slope = last + (last - narrow) / 3
            # two changes, because many kinks together pass one by chance
            change = np.maximum(np.abs(narrow - wide), np.abs(last - narrow))
            left, right = (2 * near - far for _, far, near in (behind, ahead))
            bends = [np.abs(a - b) for a, b in zip(ahead[1:], behind[1:], strict=True)]
        steepest = np.maximum.reduce([np.abs(slope), *map(np.abs, ahead)])  # around a minimum the slope is none
        rounding = (_ROUNDING * np.abs(base) + coarseness * steepest) / step
        # the bend of what is curved halves with the step; that of a kink does not, and stays whole in its middle
        kink = (bends[1] > 0.75 * bends[0]) & (bends[1] > 8 * rounding)
        middle = kink & (np.abs(bends[1] - bends[0]) < 1e-3 * bends[0]) & (step <= _NO_NEARER)
        settled = unsettled & ~kink & (change <= _SETTLED * np.abs(slope) + rounding)
        unsettled &= ~settled
        for array, smooth, kinked in (
            (low, slope, np.minimum(left, right)),
            (high, slope, np.maximum(left, right)),
            (doubt, change + rounding, rounding),
        ):
            np.copyto(array, smooth, where=settled)
            np.copyto(array, kinked, where=unsettled)
        unsettled &= ~middle
        if not unsettled.any():
            break
    return low, high, doubt


def _unreduced(loss: Loss, named: dict[str, Any], options: dict[str, Any]) -> Iterator[tuple[Loss, float]]:
    """Unreduced losses and factors whose elements add up to the loss."""
    if isinstance(loss, WeightedSum) and loss.reduction != "none":
        for factor, member in loss.terms:
            yield from ((part, factor * share) for part, share in _unreduced(member, named, options))
        return
    if loss.reduction == "mean" and not loss.uniform_mean:
        yield loss, 1.0
        return
    changes: dict[str, Any] = {"reduction": "none"}
    whole: Any = loss
    each: Any = dataclasses.replace(loss, **changes)
    total = float(np.sum(each(**named, **options)))
    yield each, float(np.sum(whole(**named, **options))) / total if total else 1.0


def _is_constant(given: Any) -> bool:
    return given is None or isinstance(given, numbers.Real)


def _in_float64(given: Any) -> Any:
    return None if given is None else np.array(_arrays.as_array(given, "array"), np.float64, order="C")
