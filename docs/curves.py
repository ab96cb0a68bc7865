"""A loss along a line: its value, gradient and Hessian as pictures, and as a table at NaN and at the infinities.

Every number comes from calling the loss. What varies is the first prediction, or one entry of a row of it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import drawing
import numpy as np
from matplotlib.figure import Figure

from lossfast._bench.workloads import axis_of
from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lossfast._loss import Loss

    Array = np.ndarray

#: Parameters whose effect is worth a picture; other losses are drawn with their defaults, by target.
FAMILIES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "HuberLoss": ("delta", (0.5, 1.0, 2.0)),
    "SmoothL1Loss": ("beta", (0.0, 0.5, 2.0)),
    "TukeyBiweightLoss": ("c", (1.5, 3.0, 4.685)),
    "SigmoidFocalLoss": ("gamma", (0.0, 1.0, 2.0, 5.0)),
    "SoftmaxFocalLoss": ("gamma", (0.0, 1.0, 2.0, 5.0)),
    "TripletMarginLoss": ("p", (1.0, 2.0, math.inf)),
    "TripletMarginWithDistanceLoss": ("distance_function", ("euclidean", "sqeuclidean", "cosine")),
}
#: Targets of an elementwise loss, by what they mean.
TARGETS: dict[str, tuple[float, ...]] = {
    "shares": (1.0, 0.0),
    "signs": (1.0, -1.0),
    "probabilities": (0.0, 0.3, 0.9),
    "counts": (0.0, 1.0, 3.0),
    "": (0.0,),
}
#: Where an elementwise loss is drawn, by what its input means.
RANGES = {
    "probabilities": (0.08, 0.92),
    "log-probabilities": (-4.0, 0.0),
    "log-rates": (-3.0, 2.5),
    "distances": (0.0, 2.5),
    "": (-5.0, 5.0),
}
#: What the declarations leave open.
MEANINGS = {
    "PoissonNLLLoss": {"input": "log-rates", "target": "counts"},
    "DistanceContrastiveLoss": {"input": "distances"},
    "HingeEmbeddingLoss": {"input": "distances"},
}
POINTS = 241
SPECIAL = (math.nan, -math.inf, math.inf)


@dataclass(frozen=True)
class Curve:
    """One setting of a loss: what is held fixed, and how the varying numbers become its first prediction."""

    label: str
    loss: Loss
    rows: Any  # from numbers (N,) to all arrays, N losses
    entry: Any = ...  # where the varying number stands in the gradient, behind the axis of the losses

    def at(self, x: Array) -> list[Array]:
        """Value, gradient and, where there is one, Hessian by the varying number."""
        arrays = self.rows(x)
        first = self.loss.predictions[0]
        if self.loss.curved:
            value, *derivatives = self.loss.value_grad_hess(*arrays, wrt=first)
        else:
            value, *derivatives = self.loss.value_and_grad(*arrays, wrt=first)
        return [value, *(d[self.entry].reshape(x.shape) for d in derivatives)]

    def at_each(self, numbers: tuple[float, ...]) -> Iterator[list[float] | None]:
        """The same one by one; None where the loss refuses the number."""
        for number in numbers:
            try:
                yield [float(part[0]) for part in self.at(np.array([number]))]
            except ValueError:
                yield None


def _meaning(name: str, argument: str) -> str:
    cls = REGISTRY[name]
    return {**cls.meaning, **MEANINGS.get(name, {})}.get(argument, "")


def curves(name: str, *, families: bool) -> list[Curve]:
    """The loss by its targets, with its defaults; or, if `families`, by the parameter that it is drawn with."""
    of_axis = {"element": _elements, "classes": _classes, "features": _features, "layer": _layer, "frames": _frames}
    drawn, cls = of_axis[axis_of(name)], REGISTRY[name]
    if not families or name not in FAMILIES:
        return list(drawn(name, cls(reduction="none")))
    parameter, values = FAMILIES[name]
    settings = {f"{parameter} = {value}": cls(reduction="none", **{parameter: value}) for value in values}
    return [dataclasses.replace(next(drawn(name, loss)), label=label) for label, loss in settings.items()]


def span(name: str) -> tuple[float, float]:
    """From where to where a loss is drawn."""
    meaning = _meaning(name, REGISTRY[name].predictions[0])
    return RANGES.get(meaning, RANGES[""])


def varying(name: str) -> str:
    """What varies, in words."""
    first = REGISTRY[name].predictions[0]
    return {
        "element": first,
        "classes": f"the {_noun(name)} of a class",
        "features": f"a feature of {first}",
        "layer": f"a feature of {first}",
        "frames": "the logit of a label at one frame",
    }[axis_of(name)]


def _noun(name: str) -> str:
    """What a row of classes holds."""
    return "log-probability" if _meaning(name, "input") == "log-probabilities" else "score"


def _elements(name: str, loss: Loss) -> Iterator[Curve]:
    targets = TARGETS.get(_meaning(name, "target"), TARGETS[""])
    variances = (0.25, 1.0, 4.0) if "var" in loss.arrays else ()
    for fixed in [{"var": v} for v in variances] or [{"target": t} for t in targets]:

        def rows(x: Array, fixed: dict[str, float] = fixed) -> tuple[Array, ...]:
            x = x[:, np.newaxis] if getattr(loss, "averages_last_axis", False) else x
            return tuple(x if a == loss.predictions[0] else np.full_like(x, fixed.get(a, 0.0)) for a in loss.arrays)

        told = "" if len(targets) == 1 and not variances else ", ".join(f"{a} = {v:g}" for a, v in fixed.items())
        yield Curve(told, loss, rows)


def _classes(name: str, loss: Loss) -> Iterator[Curve]:
    """A score beside two others, of the label and of another class."""
    rest = 0.0 if _noun(name) == "score" else -1.0
    lists = getattr(loss, "takes_label_lists", False)
    for label, whose in enumerate(("of the label", "of another class")):

        def rows(x: Array, label: int = label) -> tuple[Array, ...]:
            labels = np.array([label, -1, -1]) if lists else np.array(label)
            scores = np.stack([x, np.full_like(x, rest), np.full_like(x, rest)], axis=1)
            return scores, np.broadcast_to(labels, (len(x), *labels.shape))

        yield Curve(whose, loss, rows, (slice(None), 0))


def _features(name: str, loss: Loss) -> Iterator[Curve]:
    """The first of two features; the other embeddings stay where they are."""
    places = {"positive": (-1.0, 0.5)}  # others are on the right
    for target in TARGETS.get(_meaning(name, "target"), TARGETS[""]):

        def rows(x: Array, target: float = target) -> tuple[Array, ...]:
            moved = np.stack([x, np.full_like(x, 0.25)], axis=1)
            others = [np.full_like(moved, places.get(a, (1.0, 0.5))) for a in loss.predictions[1:]]
            return (moved, *others, *([np.full_like(x, target)] if "target" in loss.arrays else []))

        yield Curve(f"target = {target:g}" if "target" in loss.arrays else "", loss, rows, (slice(None), 0))


def _layer(name: str, loss: Loss) -> Iterator[Curve]:
    """One feature, three classes with the weights 1, 0 and -1."""
    for label in range(3):

        def rows(x: Array, label: int = label) -> tuple[Array, ...]:
            return x[:, np.newaxis], np.array([[1.0], [0.0], [-1.0]]), np.full(len(x), label)

        yield Curve(f"class with the weight {1 - label}", loss, rows, (slice(None), 0))


def _frames(name: str, loss: Loss) -> Iterator[Curve]:
    """Two labels in four frames; all other logits are 0."""
    loss = dataclasses.replace(loss, from_logits=True)
    for frame in range(3):

        def rows(x: Array, frame: int = frame) -> tuple[Array, ...]:
            logits = np.zeros((4, len(x), 3))
            logits[frame, :, 1] = x
            return logits, np.tile([1, 2], (len(x), 1)), np.full(len(x), 4), np.full(len(x), 2)

        yield Curve(f"first of 2 labels, frame {frame + 1} of 4", loss, rows, (frame, slice(None), 1))


# ---- the picture ---------------------------------------------------------------------------------------------------


def pictures(name: str) -> str:
    """Value, gradient and, where there is one, Hessian: panels that stand side by side where there is room."""
    drawn = curves(name, families=True)
    x = np.linspace(*span(name), POINTS)
    parts = [curve.at(x) for curve in drawn]
    panels = []
    for panel, title in enumerate(("value", "gradient", "Hessian")[: len(parts[0])]):
        with drawing.style():
            figure = Figure(figsize=(2.7, 2.3), layout="constrained")
            axes = figure.subplots()
            axes.axhline(0, color=drawing.INK, linewidth=0.5, alpha=0.4)
            for curve, of_curve in zip(drawn, parts, strict=True):
                axes.plot(x, _open_at_jumps(of_curve[panel]), label=curve.label)
            axes.set(title=title, xlabel=varying(name))
            least, greatest = (f([f(p[panel]) for p in parts]) for f in (np.min, np.max))
            if least == greatest:  # else the axis would be as long as rounding errors
                axes.set_ylim(least - 1, least + 1)
            if panel == 0 and len(drawn) > 1:
                axes.legend(frameon=False, fontsize=8, handlelength=1.6)
            panels.append(drawing.svg(figure, f"{title} of {name} against {varying(name)}"))
    return drawing.beside(panels)


def _open_at_jumps(y: Array) -> Array:
    """A jump is no line: one side of it is NaN."""
    steps = np.abs(np.diff(y))
    jumps = steps > max(0.2 * np.ptp(y), 20 * np.median(steps))
    return np.where(np.r_[False, jumps], np.nan, y)


# ---- the table -----------------------------------------------------------------------------------------------------


def shown(number: float) -> str:
    """A number as it stands in a table."""
    return f"{number + 0.0:.4g}".replace("-", "−").replace("inf", "∞").replace("nan", "NaN")


def special(name: str) -> list[tuple[str, ...]]:
    """Rows of a table, the first of them its heading: what a loss gives at NaN and at the infinities."""
    drawn = curves(name, families=False)
    derivatives = ("gradient", "Hessian")[: 2 if REGISTRY[name].curved else 1]
    rows = [(varying(name), "where", "value", *derivatives)]
    for curve in drawn:
        for number, parts in zip(SPECIAL, curve.at_each(SPECIAL), strict=True):
            cells = ["``ValueError``", *["—"] * len(derivatives)] if parts is None else map(shown, parts)
            rows.append((shown(number), curve.label, *cells))
    return rows if any(row[1] for row in rows[1:]) else [(row[0], *row[2:]) for row in rows]
