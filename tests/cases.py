"""Every registered loss as test cases, and random data drawn from its declaration.

A new loss is tested as it is declared; a line in `VARIANTS` adds parameters to test it with, one in `USUAL` says what
an argument holds where the declaration leaves that open.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np

import lossfast.functional as F
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import REGISTRY, Interval, Loss
from lossfast._rowwise import RowwiseLoss
from lossfast._signatures import FramesLabelsLoss

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = (np.float32, np.float64)
METHODS = ("__call__", "value_and_grad", "grad", "grad_hess", "value_grad_hess")

#: The usual length of the last axis, or of the class axis, so that a weight of this length broadcasts to it.
COLUMNS = 7
#: Exact in every dtype.
WEIGHT = np.array([0.5, 1.0, 2.0, 0.25, 3.0, 1.5, 0.75])
OTHER_WEIGHT = np.array([2.0, 0.5, 1.0, 4.0, 0.125, 1.0, 2.5])
#: For losses whose weight has the shape of the input, which it then decides.
SHAPED_WEIGHT = WEIGHT * (1 + np.arange(140)[:, np.newaxis] % 4)
#: Longer than a block of the drivers.
LONG_WEIGHT = np.resize(WEIGHT, 2100)

#: Parameters to test each loss with; those without an entry are tested as they are by default.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "MSELoss": [{}, {"weight": SHAPED_WEIGHT}],
    "L1Loss": [{}, {"weight": SHAPED_WEIGHT}],
    "HuberLoss": [{"delta": 0.5}, {}, {"delta": 3.0}, {"delta": 0.5, "weight": SHAPED_WEIGHT}],
    "SmoothL1Loss": [{"beta": 0.0}, {"beta": 0.3}, {}],
    "TukeyBiweightLoss": [{}, {"c": 2.0}],
    "BCELoss": [{}, {"weight": WEIGHT}],
    "BCEWithLogitsLoss": [
        {},
        {"weight": WEIGHT},
        {"pos_weight": OTHER_WEIGHT},
        {"weight": WEIGHT, "pos_weight": OTHER_WEIGHT},
    ],
    "NLLLoss": [{}, {"weight": WEIGHT}, {"ignore_index": 2}],
    "CrossEntropyLoss": [
        {},
        {"weight": WEIGHT},
        {"ignore_index": 2},
        {"label_smoothing": 0.125},
        {"label_smoothing": 0.5, "weight": WEIGHT, "ignore_index": 2},
        {"label_smoothing": 1.0},
    ],
    "LinearCrossEntropyLoss": [{}, {"weight": WEIGHT, "label_smoothing": 0.125}, {"ignore_index": 2}],
    "MultiLabelSoftMarginLoss": [{}, {"weight": WEIGHT}, {"weight": LONG_WEIGHT}],
    "MarginRankingLoss": [{}, {"margin": 0.5}],
    "HingeEmbeddingLoss": [{}, {"margin": 0.5}],
    "MultiMarginLoss": [{}, {"p": 2}, {"margin": 0.5, "weight": WEIGHT}],
    "KLDivLoss": [{}, {"log_target": True}],
    "PoissonNLLLoss": [{}, {"log_input": False}, {"full": True}, {"log_input": False, "full": True, "eps": 0.125}],
    "GaussianNLLLoss": [{}, {"full": True}],
    "SigmoidFocalLoss": [
        {},
        {"gamma": 0.0, "alpha": None},
        {"gamma": 0.5, "alpha_mode": "constant"},
        {"gamma": 3.25},
    ],
    "SoftmaxFocalLoss": [{}, {"gamma": 0.5, "alpha": WEIGHT, "ignore_index": 2}, {"label_smoothing": 0.125}],
    "CosineEmbeddingLoss": [{}, {"margin": 0.25}],
    "ContrastiveLoss": [{}, {"squared": False, "factor": 1.0}],
    "DistanceContrastiveLoss": [{}, {"squared": False, "factor": 0.5, "margin": 3.0}],
    "TripletMarginLoss": [{}, {"p": 1.0}, {"p": math.inf, "margin": 0.5}, {"p": 3.0, "swap": True}],
    "TripletMarginWithDistanceLoss": [{}, {"swap": True}],
    "CTCLoss": [
        {},
        {"gradient": "log_probs", "zero_infinity": True},
        {"from_logits": True, "blank": 2},
        {"batch_first": True, "blank": 6, "gradient": "log_probs"},
        {"batch_first": True, "from_logits": True},
    ],
}

SIGNS, BITS = (-1.0, 1.0), (0.0, 1.0)
UNIT, POSITIVE, NEGATIVE = Interval(0.0, 1.0), Interval(low=0.0), Interval(high=0.0)

#: What an argument usually holds, where a loss accepts more than its accuracy is promised for: one of some numbers, or
#: the numbers of an interval.
USUAL: dict[str, dict[str, Any]] = {
    "BCEWithLogitsLoss": {"target": UNIT},
    "MultiLabelSoftMarginLoss": {"target": UNIT},
    "SigmoidFocalLoss": {"target": UNIT},
    "SoftMarginLoss": {"target": SIGNS},
    "MarginRankingLoss": {"target": SIGNS},
    "HingeEmbeddingLoss": {"target": SIGNS},
    "CosineEmbeddingLoss": {"target": SIGNS},
    "ContrastiveLoss": {"target": BITS},
    "DistanceContrastiveLoss": {"input": POSITIVE, "target": BITS},
    "KLDivLoss": {"input": NEGATIVE, "target": lambda loss: NEGATIVE if loss.log_target else UNIT},
    "PoissonNLLLoss": {
        "input": lambda loss: Interval() if loss.log_input else Interval(low=0.0625),
        "target": tuple(map(float, range(8))),
    },
    "GaussianNLLLoss": {"var": Interval(0.0625, 16.0)},
    "CTCLoss": {"log_probs": lambda loss: Interval() if loss.from_logits else NEGATIVE},
}


def _kl_terms(loss: Loss, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    if loss.log_target:
        return np.exp(t) * np.maximum(np.abs(x), np.abs(t))
    return t * np.maximum(np.abs(x), np.abs(np.log(np.where(t > 0, t, 1))))


def _poisson_terms(loss: Loss, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    rate, log_rate = (np.exp(x), x) if loss.log_input else (x, np.log(x + loss.eps))
    factorial = np.where(loss.full & (t > 1), t * (1 + np.log(np.where(t > 1, t, 1))), 0)
    return np.maximum(rate, np.maximum(t * np.abs(log_rate), factorial))


def _gaussian_terms(loss: Loss, x: np.ndarray, t: np.ndarray, var: np.ndarray) -> np.ndarray:
    v = np.maximum(var, loss.eps)
    return np.maximum(np.abs(np.log(v)), (x - t) ** 2 / v) / 2 + loss.full


def _triplet_terms(loss: Loss, anchor: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """The margin, or a distance; no p-norm with p >= 1 is greater than the sum of the differences."""
    eps = abs(getattr(loss, "eps", 0.0))
    distances = [(np.abs(a - b) + eps).sum(-1) for a, b in ((anchor, positive), (anchor, negative))]
    return np.maximum(loss.margin, np.maximum(*distances))


#: The greatest term of losses that sum terms of both signs, whose rounding is theirs. At the minimum of such a loss
#: rounding the arguments does not show it.
TERMS: dict[str, Callable[..., np.ndarray]] = {
    "KLDivLoss": _kl_terms,
    "PoissonNLLLoss": _poisson_terms,
    "GaussianNLLLoss": _gaussian_terms,
    "TripletMarginLoss": _triplet_terms,
    "TripletMarginWithDistanceLoss": _triplet_terms,
}


def _focal_excess(loss: Loss, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """What the power multiplies: the rounding of the probability u of the other label, or of its logarithm."""
    u = (1 - t) / (1 + np.exp(-x)) + t / (1 + np.exp(x))
    hard = (t == 0) | (t == 1)
    return loss.gamma * np.where(hard, 1, 2 * (1 - np.log(np.where(hard, 1, u))))


#: ULP beyond those that elementwise values keep.
EXCESS: dict[str, Callable[..., np.ndarray]] = {"SigmoidFocalLoss": _focal_excess}

#: As in PyTorch, all arguments of these have as many axes.
EQUAL_DIMENSIONS = frozenset({"MarginRankingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"})
#: Arguments that every unreduced loss depends on.
SHARED = frozenset({"linear_weight", "linear_bias"})


@dataclasses.dataclass(frozen=True)
class Form:
    """The shape of data: how long the axis of one unreduced loss is, what else there is, what the target holds."""

    length: int = COLUMNS  # classes, labels, features, or the last axis where an element is a loss
    inner: tuple[int, ...] = ()  # behind the class axis, before that of the features
    batched: bool = True
    probabilities: bool = False
    bias: bool = False
    frames: int = 9  # of sequences

    def __str__(self) -> str:
        shape = ["N"] * self.batched + [str(self.length)] + [str(d) for d in self.inner]
        facts = ["", *["probabilities"] * self.probabilities, *["bias"] * self.bias]
        return "x".join(shape) + "-".join([*facts, *[f"{self.frames}-frames"] * (self.frames != Form.frames)])


#: Around the decisions of the elementwise driver for rows: several in a block, one, several blocks for one.
MEAN_FORMS = (
    Form(batched=False),
    Form(length=1),
    Form(length=2048),
    Form(length=2049),
    Form(length=5000),
)
#: Around every decision of the rowwise driver: few and many classes, more than one block of them, rows side by side.
ROW_FORMS = (
    Form(batched=False),
    Form(length=1),
    Form(length=70),
    Form(length=1300),
    Form(inner=(3,)),
    Form(inner=(4, 5)),
    Form(length=70, inner=(3,)),
    Form(length=70, inner=(20,)),
)
PROBABILITY_FORMS = (
    Form(probabilities=True),
    Form(probabilities=True, batched=False),
    Form(probabilities=True, inner=(4, 5)),
    Form(probabilities=True, length=70),
    Form(probabilities=True, length=70, inner=(3,)),
)
#: Embeddings: one feature, more than a vector, more than a block; none but the one row, and axes before the features.
PAIR_FORMS = (
    Form(batched=False),
    Form(length=1),
    Form(length=70),
    Form(length=2049),
    Form(inner=(3,)),
)
LINEAR_FORMS = (
    Form(bias=True),
    Form(probabilities=True),
    Form(probabilities=True, bias=True),
    Form(batched=False),
)
#: More classes than states; one label, which always repeats; many classes; more frames than between normalisations.
SEQUENCE_FORMS = (
    Form(batched=False),
    Form(length=70),
    Form(length=2),
    Form(length=2049, frames=3),
    Form(frames=40),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One loss with its parameters and the form of its data."""

    cls: type[Loss]
    parameters: dict[str, Any]  # all but `reduction`
    form: Form

    def __str__(self) -> str:
        shown = [f"{k}={v}" if np.ndim(v) == 0 else k for k, v in self.parameters.items()]
        plain = self.elementwise and self.form == Form()
        return "-".join([self.cls.__name__, *shown, *([] if plain else [str(self.form)])])

    # ---- the loss --------------------------------------------------------------------------------------------------

    def bare(self, reduction: str) -> Loss:
        """The loss itself."""
        return self.cls(**self.parameters, reduction=reduction)

    def reduced(self, reduction: str) -> Any:
        """The loss; it takes all arrays by position."""
        return by_position(self.bare(reduction), self.cls)

    @functools.cached_property
    def loss(self) -> Any:
        """With ``reduction="none"``."""
        return self.reduced("none")

    @property
    def function(self) -> Any:
        """The function of `lossfast.functional`."""
        return by_position(getattr(F, self.cls.function), self.cls)

    # ---- what the declaration says ---------------------------------------------------------------------------------

    @property
    def elementwise(self) -> bool:
        return issubclass(self.cls, ElementwiseLoss)

    @property
    def rowwise(self) -> bool:
        return issubclass(self.cls, RowwiseLoss)

    @property
    def averages(self) -> bool:
        """Whether one unreduced loss is the mean of elements."""
        return self.elementwise and self.cls.averages_last_axis

    @property
    def linear(self) -> bool:
        """Whether the logits come from a layer whose weights are arguments."""
        return not SHARED.isdisjoint(self.cls.arrays)

    @property
    def sequences(self) -> bool:
        """Whether one unreduced loss is that of a sequence of frames, whose first axis is that of time."""
        return issubclass(self.cls, FramesLabelsLoss)

    @property
    def pairwise(self) -> bool:
        """Whether rows of embeddings are compared."""
        return not (self.elementwise or self.rowwise or self.linear or self.sequences)

    @property
    def lists(self) -> bool:
        """Whether the target holds a list of labels for each row."""
        return getattr(self.cls, "takes_label_lists", False)

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that are given."""
        return tuple(name for name in self.cls.arrays if name != "linear_bias" or self.form.bias)

    @property
    def labels(self) -> frozenset[str]:
        """The arrays that hold a class index for each loss, or a list of such."""
        indices = (self.rowwise or self.linear) and not self.form.probabilities
        return frozenset({"target"} if indices else ())

    @property
    def integral(self) -> frozenset[str]:
        """The arrays that hold integers: class indices, lengths."""
        return frozenset(self.names) - set(self.cls.predictions) if self.sequences else self.labels

    @property
    def floating(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.integral)

    @property
    def predictions(self) -> tuple[str, ...]:
        """What is differentiated by default."""
        return tuple(name for name in self.cls.predictions if name in self.names)

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arrays that have a gradient."""
        return tuple(name for name in self.cls.differentiable if name in self.floating)

    @property
    def weights(self) -> tuple[str, ...]:
        """The parameters that have a gradient."""
        names = (name for name in self.cls.differentiable if name not in self.cls.arrays and not self.integral)
        return tuple(name for name in names if self.parameters.get(name) is not None)

    @property
    def curved(self) -> tuple[str, ...]:
        """The arrays that have a Hessian."""
        return tuple(name for name in self.cls.curved if name in self.differentiable)

    @property
    def curvatures(self) -> tuple[str, ...]:
        return self.loss.curvatures if self.cls.curved else ()

    @property
    def methods(self) -> tuple[str, ...]:
        return METHODS if self.cls.curved else METHODS[:3]

    @property
    def multiplier(self) -> Any:
        """What the elements of an elementwise loss are multiplied by."""
        name = getattr(self.cls, "multiplier", "") if self.elementwise else ""
        given = getattr(self.loss, name) if name else None
        return 1.0 if given is None else given

    @property
    def smoothed(self) -> bool:
        return bool(self.parameters.get("label_smoothing"))

    @property
    def hard(self) -> bool:
        """Whether no derivative is a difference of greater terms that are weighted one by one."""
        return self.elementwise or (self.rowwise and bool(self.labels) and not self.smoothed)

    @property
    def cancels(self) -> bool:
        """Whether value and derivatives are sums of greater terms."""
        return self.cls.__name__ in {*TERMS, *EXCESS, "TukeyBiweightLoss"}

    def terms(self, arrays: tuple[np.ndarray, ...]) -> Any:
        """The greatest term of each loss, where that is greater than the loss."""
        terms = TERMS.get(self.cls.__name__)
        return terms(self.loss, *wide(*arrays)) if terms else 0

    def excess(self, arrays: tuple[np.ndarray, ...]) -> Any:
        """ULP that a loss may be off, beyond what others are."""
        excess = EXCESS.get(self.cls.__name__)
        return excess(self.loss, *wide(*arrays)) if excess else 0

    @property
    def bound(self) -> int | None:
        """ULP within which the documentation promises value and gradient; None where it says more than a number."""
        text = " ".join(inspect.getdoc(self.cls).split())
        promised = re.search(r"Accuracy: value and gradient within (\d+) ULP\.", text)
        return int(promised[1]) if promised else None

    # ---- how the arrays and the losses lie ---------------------------------------------------------------------------

    def axes(self, name: str, array: np.ndarray) -> tuple[int, ...]:
        """The axes of an argument along which the elements of one loss lie; none where each is a loss of its own."""
        if self.averages:
            return (array.ndim - 1,)
        if self.elementwise or name in SHARED:
            return ()
        if self.rowwise:
            return () if name in self.labels and not self.lists else (min(1, array.ndim - 1),)
        if self.linear:
            return () if name in self.labels else (array.ndim - 1,)
        if name not in self.cls.predictions:
            return ()
        last = array.ndim - 1
        if self.sequences:
            return (0, last) if last == 1 or not self.loss.batch_first else (1, last)
        return (last,)

    def per_loss(self, numbers: Any, name: str, array: np.ndarray) -> Any:
        """One number per unreduced loss, laid against an argument."""
        return numbers if np.ndim(numbers) == 0 else np.expand_dims(numbers, self.axes(name, array))

    def losses_first(self, name: str, array: np.ndarray) -> np.ndarray:
        """An argument with the axes of the losses before one of the elements of each, which may have length 1."""
        axes = self.axes(name, array)
        own = [array.shape[axis] for axis in axes]
        moved = np.moveaxis(array, axes, range(array.ndim - len(axes), array.ndim))
        return moved.reshape(*moved.shape[: array.ndim - len(axes)], math.prod(own))

    def first_elements(self, name: str, array: np.ndarray) -> np.ndarray:
        """The first element of each loss; a view."""
        axes = self.axes(name, array)
        return array[tuple(0 if axis in axes else slice(None) for axis in range(array.ndim))]

    def row(self, name: str, array: np.ndarray, k: int) -> np.ndarray:
        """What one loss, of a batch along one axis, reads of an argument."""
        if name in SHARED:
            return array
        if self.sequences and name == "targets":
            return array[k : k + 1]  # by itself it would have to be as long as its length says
        return array[:, k] if self.sequences and array.ndim == 3 and not self.loss.batch_first else array[k]

    def spread(self, arrays: tuple[np.ndarray, ...]) -> Any:
        """How far logits are apart in each row: rounding x - max is worth as many ULP of its exponential."""
        if self.linear:
            input, weight = wide(*arrays[:2])
            return np.ptp(input @ weight.T, axis=-1) + np.abs(input).sum(-1) * np.abs(weight).max()
        if not self.rowwise:
            return 0
        input = arrays[0].astype(np.longdouble)
        return np.ptp(input, axis=min(1, input.ndim - 1))

    def kept(self, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
        """Which unreduced losses count."""
        if self.labels and not self.lists and hasattr(self.loss, "ignore_index"):
            return np.asarray(arrays[self.names.index("target")] != self.loss.ignore_index)
        return np.ones(self.loss(*arrays).shape, bool)

    def multiplied(self, arrays: tuple[np.ndarray, ...], name: str, derivative: np.ndarray, factors: Any) -> np.ndarray:
        """What a derivative becomes if every unreduced loss is multiplied by its factor."""
        if name not in SHARED or np.ndim(factors) == 0:
            return derivative * self.per_loss(factors, name, derivative)
        total = np.zeros(derivative.shape)
        for index in np.ndindex(factors.shape):
            one = np.zeros(factors.shape)
            one[index] = factors[index]
            total += self.loss.grad(*arrays, wrt=name, grad_output=one)
        return total

    def share(self, reduction: str, arrays: tuple[np.ndarray, ...]) -> Any:
        """What each unreduced loss is multiplied by before a reduction: a mean of sequences is one of their labels."""
        if not self.sequences or reduction != "mean":
            return 1.0
        return 1 / np.maximum(arrays[self.names.index("target_lengths")], 1)

    def denominator(self, reduction: str, arrays: tuple[np.ndarray, ...], weight: Any = 1.0) -> float:
        """What a reduction divides by."""
        share: Any = 1.0
        with np.errstate(all="ignore"):
            floats = (
                a if n in self.integral else a.astype(np.longdouble) for n, a in zip(self.names, arrays, strict=True)
            )
            if not self.sequences:
                share = self.loss.definition(*floats)[1]
        share = np.broadcast_to(share * np.asarray(weight), self.loss(*arrays).shape)
        if reduction == "batchmean":
            return float(share.sum() / max(1, share[:1].size)) if share.ndim else 1.0
        return float(share.sum()) if reduction == "mean" else 1.0

    def antiderivative(self, *arrays: np.ndarray) -> Any:
        """What the gradient is the derivative of: with PyTorch's of CTC, by the logits behind, more than the loss."""
        value = self.loss.reference(*arrays)
        if not self.sequences or self.loss.from_logits or self.loss.gradient == "log_probs":
            return value
        log_probs, _, frames, _ = arrays
        sums = np.exp(log_probs).sum(-1)  # of the frames, whose axis is now the first or the last
        sums = np.moveaxis(sums, 1, 0) if self.loss.batch_first and sums.ndim > 1 else sums
        counted = np.expand_dims(np.arange(len(sums)), tuple(range(1, sums.ndim))) < frames
        return value + np.where(counted, sums, 0).sum(0)

    # ---- calls -----------------------------------------------------------------------------------------------------

    def compute(
        self, loss: Any, arrays: tuple[Any, ...], *, wrt: tuple[str, ...] | None = None, out: Any = None, **options: Any
    ) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        """The value, the gradients and the Hessians (none where there are none); `out` as the latter two."""
        curved = bool(self.cls.curved) and set(wrt or ()) <= set(self.cls.curved)
        if wrt is not None:
            options["wrt"] = wrt
        if out is not None:
            packed = tuple(group[0] if len(group) == 1 else group for group in out)
            options["out"] = packed if curved else packed[0]
        value, *groups = getattr(loss, "value_grad_hess" if curved else "value_and_grad")(*arrays, **options)
        grads, hesses, *_ = (*(g if isinstance(g, tuple) else (g,) for g in groups), ())
        return value, grads, hesses

    # ---- data ------------------------------------------------------------------------------------------------------

    def shapes(self, size: int = 300) -> dict[str, tuple[int, ...]]:
        """Shapes of arrays of about `size` elements."""
        count = size // (self.form.length * math.prod(self.form.inner) * (self.form.frames if self.sequences else 1))
        return self.shapes_of(max(1 if self.elementwise else 2, count))

    def shapes_of(self, count: int) -> dict[str, tuple[int, ...]]:
        """Shapes of arrays of so many rows."""
        form = self.form
        outer = (count,) if form.batched else ()
        if self.elementwise:
            weights = (v.shape for v in self.parameters.values() if np.ndim(v) == 2)
            return dict.fromkeys(self.names, next(weights, (*outer, form.length)))
        if self.sequences:
            frames = (form.frames, *outer) if not (outer and self.loss.batch_first) else (*outer, form.frames)
            shapes = ((*frames, form.length), (*(outer or (1,)), self._most_labels + 1), outer, outer)
            return dict(zip(self.names, shapes, strict=True))
        if self.linear:
            features, classes = 5, form.length
            target = (*outer, classes) if form.probabilities else outer
            shapes = ((*outer, features), (classes, features), target, (classes,))
            return dict(zip(self.names, shapes, strict=False))
        if self.rowwise:
            rows = (*outer, form.length, *form.inner)
            return {
                name: (*outer, *form.inner) if name in self.labels and not self.lists else rows for name in self.names
            }
        losses = (*outer, *form.inner)
        return {name: (*losses, form.length) if name in self.cls.predictions else losses for name in self.names}

    def kind(self, name: str) -> Any:
        """What an argument holds: one of some numbers, or the numbers of an interval."""
        usual = USUAL.get(self.cls.__name__, {}).get(name)
        if callable(usual):
            usual = usual(self.loss)
        return self.cls.domains.get(name, Interval()) if usual is None else usual

    def draw(self, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """One argument."""
        if self.sequences and name in self.integral:
            return self._sequences(name, rng, shape)
        if name in self.labels:
            return self._label_lists(rng, shape) if self.lists else self._labels(rng, shape)
        if self.form.probabilities and name == "target":
            return self._probabilities(rng, shape)
        if self.pairwise and name in self.cls.predictions:
            # embeddings about 1 apart, as margins are
            return rng.standard_normal(shape) / math.sqrt(max(1, shape[-1]))
        return _draw(self.kind(name), rng, shape)

    def arrays(self, rng: np.random.Generator, size: int = 300, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
        """About `size` elements of each array, some of them where the loss has a kink."""
        drawn = {name: self.draw(name, rng, shape) for name, shape in self.shapes(size).items()}
        first, second, *_ = self.names
        if self.elementwise and not self.cls.domains and self.kind(first) in (Interval(), POSITIVE):
            on_kink = rng.random(drawn[first].shape) < 0.3
            base: Any = 0
            if self.kind(second) == Interval():
                base = drawn[second] = np.where(on_kink, np.rint(drawn[second]), drawn[second])
            kinks = base + rng.choice([0, 0.5, 1, 3, -0.5, -1, -3], drawn[first].shape)
            if self.kind(first) == POSITIVE:
                kinks = np.abs(kinks)
            drawn[first] = np.where(on_kink, kinks, drawn[first])
        elif self.pairwise:  # rows that coincide
            alike = rng.random(drawn[first].shape[:-1]) < 0.1
            drawn[second] = np.where(alike[..., np.newaxis], drawn[first], drawn[second])
        return tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in drawn.values())

    def _labels(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        ignored = getattr(self.loss, "ignore_index", None)
        labels = np.asarray(rng.integers(0, self.form.length, shape))
        if ignored is None or not labels.size:
            return labels
        labels[rng.random(shape) < 0.15] = ignored
        counting = [c for c in range(self.form.length) if c != ignored]
        labels[(0,) * labels.ndim] = counting[-1] if counting else ignored
        return labels

    @property
    def _least_frames(self) -> int:
        return (self.form.frames + 1) // 2

    @property
    def _most_labels(self) -> int:
        """So many that the shortest sequence has room for them and for blanks between equal ones."""
        return (self._least_frames + 1) // 2

    def _sequences(self, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Labels and lengths, each by itself so that they go together; a short sequence, and one without labels."""
        classes = [c for c in range(self.form.length) if c != self.loss.blank]
        if name == "targets":
            labels = rng.choice(classes or [77], shape)
            labels[:, -1] = 77  # never read
            return labels
        low, high = (self._least_frames, self.form.frames) if name == "input_lengths" else (0, self._most_labels)
        lengths = np.asarray(rng.integers(low, (high if classes else low) + 1, shape))
        if lengths.size > 1:
            lengths[0 if name == "input_lengths" else -1] = low
        return lengths

    def _label_lists(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Different labels, a -1 behind the last one, and anything that is allowed behind that."""
        classes = shape[-1]
        order = np.argsort(rng.random(shape), axis=-1)
        length = rng.integers(1, min(max(2, classes), 12), (*shape[:-1], 1))
        place = np.arange(classes)
        return np.where(place < length, order, np.where(place == length, -1, rng.integers(-1, classes, shape)))

    def _probabilities(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        axis = min(1, len(shape) - 1)
        rows = rng.dirichlet(np.full(shape[axis], 0.5), shape[:axis] + shape[axis + 1 :])
        return np.moveaxis(np.where(rows < 0.01, 0, rows), -1, axis)


def _draw(kind: Any, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if isinstance(kind, tuple):
        return rng.choice(kind, shape)
    if np.isfinite(kind.low) and np.isfinite(kind.high):
        inside = rng.uniform(kind.low, kind.high, shape)
        ends = np.where(rng.random(shape) < 0.5, kind.low, kind.high)
        return np.where(rng.random(shape) < 0.3, ends, inside)
    drawn = np.asarray(3 * rng.standard_normal(shape))
    if np.isfinite(kind.low):
        return kind.low + np.abs(drawn)
    return kind.high - np.abs(drawn) if np.isfinite(kind.high) else drawn


def _forms(cls: type[Loss], parameters: dict[str, Any]) -> list[Form]:
    """The shapes of data to test parameters with: many of them with those by default."""
    case = Case(cls, parameters, Form())
    plain = Form(length=next((v.size for v in parameters.values() if np.ndim(v) == 1), COLUMNS))
    if case.elementwise:
        return [plain, *(MEAN_FORMS if case.averages and not parameters else ())]
    if case.linear:
        return [plain, *(LINEAR_FORMS if not parameters else ())]
    if case.sequences:
        return [plain, *SEQUENCE_FORMS[: None if not parameters else 2]]
    if not case.rowwise:
        forms = [plain, *(PAIR_FORMS if not parameters else ())]
        if not getattr(cls, "trailing_axes", True):
            forms = [form for form in forms if not form.inner]
        # of one feature every cosine is ±1 and has no slope
        return [form for form in forms if form.length > 1 or cls.__name__ != "CosineEmbeddingLoss"]
    forms = [plain]
    if not parameters:
        forms += ROW_FORMS
    elif "label_smoothing" in parameters:
        forms += [Form(inner=(4, 5))]
        if "weight" not in parameters:
            forms += [Form(length=70), Form(length=1300)]
    if cls.takes_probabilities and "ignore_index" not in parameters:
        forms += PROBABILITY_FORMS[: None if not parameters else 1]
    if case.lists:  # the plain definition takes as long as the square of the classes
        forms = [dataclasses.replace(form, length=min(form.length, 300)) for form in forms]
    return [form for form in forms if not form.inner or getattr(cls, "trailing_axes", True)]


def _cases() -> list[Case]:
    return [
        Case(cls, parameters, form)
        for cls in REGISTRY.values()
        for parameters in VARIANTS.get(cls.__name__, [{}])
        for form in _forms(cls, parameters)
    ]


class ByPosition:
    """A loss, or its function, that takes by position even those arrays that it knows as keywords."""

    def __init__(self, of: Any, names: tuple[str, ...], keywords: frozenset[str]) -> None:
        self.of, self.names, self.keywords = of, names, keywords

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.of, name)
        return self._by_position(found) if name in (*METHODS, "reference") else found

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        return self._by_position(self.of)(*arrays, **options)

    def _by_position(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arrays: Any, **options: Any) -> Any:
            given = dict(zip(self.names, arrays, strict=False))
            plain = [array for name, array in given.items() if name not in self.keywords]
            return method(*plain, **{name: given[name] for name in self.keywords & given.keys()}, **options)

        return call


def by_position(of: Any, cls: type[Loss]) -> Any:
    """A loss or its function, as it is where all its arrays have a position."""
    parameters = inspect.signature(cls.__call__).parameters
    keywords = frozenset(n for n in cls.arrays if parameters[n].kind is inspect.Parameter.KEYWORD_ONLY)
    return ByPosition(of, cls.arrays, keywords) if keywords else of


CASES = _cases()
ELEMENTWISE = [case for case in CASES if case.elementwise]
ROWWISE = [case for case in CASES if case.rowwise]
#: One case of each class, for what does not depend on parameters.
ONE_EACH = [next(case for case in CASES if case.cls is cls) for cls in REGISTRY.values()]


def named(cases: list[Case], *names: str) -> list[Case]:
    """The cases of some classes."""
    return [case for case in cases if case.cls.__name__ in names]


# ---- comparison -----------------------------------------------------------------------------------------------------


def wide(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Floating arrays in long double, labels as they are."""
    return tuple(a.astype(np.longdouble) if a.dtype.kind == "f" else a for a in arrays)


def assert_bits(actual: Any, expected: Any, message: str = "") -> None:
    """The same type, shape and bits (and NaN where NaN is); tuples member by member."""
    assert type(actual) is type(expected), message
    if isinstance(actual, tuple):
        assert len(actual) == len(expected), message
        for a, e in zip(actual, expected, strict=True):
            assert_bits(a, e, message)
        return
    a, e = np.asarray(actual), np.asarray(expected)
    assert a.shape == e.shape, message
    assert a.dtype.newbyteorder("=") == e.dtype.newbyteorder("="), message
    same = (a == e) & (np.signbit(a) == np.signbit(e)) | (np.isnan(a) & np.isnan(e))
    assert same.all(), f"{message}: {a[~same][:5]} != {e[~same][:5]} at {np.argwhere(~same)[:5].tolist()}"


def ulps(actual: Any, exact: Any, dtype: type, scale: Any = None) -> np.ndarray:
    """The error in units in the last place of `exact`, or of `scale` where that is greater."""
    exact = np.asarray(exact, dtype=np.longdouble)
    actual = np.asarray(actual)
    size = np.abs(exact) if scale is None else np.maximum(np.abs(exact), scale)
    with np.errstate(invalid="ignore", over="ignore"):
        unit = np.spacing(np.minimum(size, np.finfo(dtype).max).astype(dtype)).astype(np.longdouble)
        unit = np.maximum(unit, np.finfo(dtype).smallest_normal * np.finfo(dtype).eps)
        error = np.abs(actual.astype(np.longdouble) - exact) / unit
    same = (actual == exact) | (np.isnan(actual) & np.isnan(exact))
    return np.where(same, 0, error).astype(np.float64)


def assert_ulps(actual: Any, exact: Any, dtype: type, bound: Any, *, scale: Any = None, message: str = "") -> None:
    error = ulps(actual, exact, dtype, scale)
    excess = np.where(np.isnan(error), np.inf, error) - bound
    if error.size and excess.max() > 0:
        at = np.unravel_index(excess.argmax(), error.shape)
        raise AssertionError(
            f"{message}: {error[at]:.2f} ULP at {at}: {np.asarray(actual)[at]!r} is not {np.asarray(exact)[at]!r}"
        )


def noise(
    case: Case, function: Callable[..., Any], arrays: tuple[np.ndarray, ...], dtype: type, draws: int = 2
) -> np.ndarray:
    """How far a result moves when its arguments are rounded to `dtype` once more: what cannot be told from it.

    On either side of a kink, the smaller of the two.
    """
    eps, rng, exact = np.finfo(dtype).eps, np.random.default_rng(0), wide(*arrays)
    base, worst = function(*exact), np.longdouble(0)
    with np.errstate(all="ignore"):
        for _ in range(draws):
            signs = [rng.choice([-1, 1], a.shape) for a in exact]
            sides = []
            for side in (eps, -eps):
                moved = []
                for name, a, sign in zip(case.names, exact, signs, strict=True):
                    domain, shifted = case.cls.domains.get(name, Interval()), a * (1 + side * sign)
                    moved.append(a if name in case.integral else np.clip(shifted, domain.low, domain.high))
                sides.append(np.abs(function(*moved) - base))
            worst = np.fmax(worst, np.fmin(*sides))
    return np.asarray(worst)


def duplicate(loss: Loss) -> Loss:
    """An equal loss by way of pickle."""
    return pickle.loads(pickle.dumps(loss))
