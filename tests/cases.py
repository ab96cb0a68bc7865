"""Every registered loss as test cases, and random data drawn from its declaration.

A new loss is tested as it is declared; a line in `VARIANTS` adds parameters to test it with.
"""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np

from lossfast._drivers import runtime
from lossfast._loss import REGISTRY, Interval, Loss

#: Names of the kernels of one element at a time.
ELEMENTWISE_KERNELS = frozenset(runtime.kernels()["elementwise"])

DTYPES = (np.float32, np.float64)

#: The length of the last axis of elementwise data, so that a weight of this length broadcasts to it.
COLUMNS = 7
#: Exact in every dtype.
WEIGHT = np.array([0.5, 1.0, 2.0, 0.25, 3.0, 1.5, 0.75])
OTHER_WEIGHT = np.array([2.0, 0.5, 1.0, 4.0, 0.125, 1.0, 2.5])
#: For losses whose weight has the shape of the input, which it then decides.
SHAPED_WEIGHT = WEIGHT * (1 + np.arange(140)[:, np.newaxis] % 4)

#: Parameters to test each loss with; those without an entry are tested as they are by default.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "MSELoss": [{}, {"weight": SHAPED_WEIGHT}],
    "L1Loss": [{}, {"weight": SHAPED_WEIGHT}],
    "HuberLoss": [{"delta": 0.5}, {}, {"delta": 3.0}, {"delta": 0.5, "weight": SHAPED_WEIGHT}],
    "SmoothL1Loss": [{"beta": 0.0}, {"beta": 0.3}, {}],
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
}

#: What an argument usually holds, where a loss accepts more than its accuracy is promised for.
USUAL = {"BCEWithLogitsLoss": {"target": Interval(0.0, 1.0)}}


@dataclasses.dataclass(frozen=True)
class Form:
    """The shape of rowwise data: classes, what follows the class axis, and what the target holds."""

    classes: int = COLUMNS
    spatial: tuple[int, ...] = ()
    batched: bool = True
    probabilities: bool = False

    def __str__(self) -> str:
        shape = ["N"] * self.batched + [str(self.classes)] + [str(d) for d in self.spatial]
        return "x".join(shape) + "-probabilities" * self.probabilities


#: Around every decision of the driver: few and many classes, more than one block of them, rows side by side or not.
FORMS = (
    Form(batched=False),
    Form(classes=1),
    Form(classes=70),
    Form(classes=1300),
    Form(spatial=(3,)),
    Form(spatial=(4, 5)),
    Form(classes=70, spatial=(3,)),
    Form(classes=70, spatial=(20,)),
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One loss with its parameters (``reduction="none"``) and the form of its data."""

    name: str
    loss: Loss
    form: Form | None

    def __str__(self) -> str:
        return self.name

    @property
    def cls(self) -> type[Loss]:
        return type(self.loss)

    @property
    def elementwise(self) -> bool:
        return self.cls.kernel in ELEMENTWISE_KERNELS

    @property
    def labelled(self) -> bool:
        """Whether the target holds class indices."""
        return not self.elementwise and not self.form.probabilities

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arrays that have a gradient (a weight, which is a parameter, may have one too)."""
        return ("input",) if self.labelled else tuple(n for n in self.cls.differentiable if n in self.cls.arrays)

    @property
    def hard(self) -> bool:
        """Whether no derivative is a difference of greater terms."""
        return self.elementwise or (self.labelled and not self.loss.parameters.get("label_smoothing"))

    @property
    def parameters(self) -> dict[str, Any]:
        return {k: v for k, v in self.loss.parameters.items() if k != "reduction"}

    def reduced(self, reduction: str) -> Loss:
        return type(self.loss)(**self.parameters, reduction=reduction)

    def arrays(self, rng: np.random.Generator, size: int = 300, dtype: type = np.float64) -> tuple[np.ndarray, ...]:
        """About `size` elements of each array."""
        if not self.elementwise:
            return _rows(self.loss, self.form, rng, size, dtype)
        shape = (max(1, size // COLUMNS), COLUMNS)
        weight = self.loss.parameters.get("weight")
        if weight is not None and weight.ndim == 2:
            shape = weight.shape
        domains = {**self.cls.domains, **USUAL.get(self.cls.__name__, {})}
        drawn = [_draw(domains.get(name, Interval()), rng, shape) for name in self.cls.arrays]
        if len(drawn) == 2 and not domains:
            # exactly on the kinks of losses of a difference
            kinks = np.array([0, 0.5, 1, 3, -0.5, -1, -3])
            on_kink = rng.random(shape) < 0.3
            drawn[1] = np.where(on_kink, np.rint(drawn[1]), drawn[1])
            drawn[0] = np.where(on_kink, drawn[1] + rng.choice(kinks, shape), drawn[0])
        return tuple(a.astype(dtype) for a in drawn)


def _draw(domain: Interval, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if np.isfinite(domain.low) and np.isfinite(domain.high):
        inside = rng.uniform(domain.low, domain.high, shape)
        ends = np.where(rng.random(shape) < 0.5, domain.low, domain.high)
        return np.where(rng.random(shape) < 0.3, ends, inside)
    return np.clip(3 * rng.standard_normal(shape), domain.low, domain.high)


def _rows(loss: Loss, form: Form, rng: np.random.Generator, size: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rows = max(2, size // (form.classes * int(np.prod(form.spatial, dtype=int))))
    outer, inner = ((rows,) if form.batched else ()), form.spatial
    input = (3 * rng.standard_normal((*outer, form.classes, *inner))).astype(dtype)
    if form.probabilities:
        target = rng.dirichlet(np.full(form.classes, 0.5), (*outer, *inner))
        target = np.moveaxis(np.where(target < 0.01, 0, target), -1, len(outer))
        return input, target.astype(dtype)
    labels = rng.integers(0, form.classes, (*outer, *inner))
    labels[rng.random(labels.shape) < 0.15] = loss.ignore_index
    kept = [c for c in range(form.classes) if c != loss.ignore_index]
    labels[(0,) * labels.ndim] = kept[-1]
    return input, labels


def _rowwise_forms(cls: type[Loss], parameters: dict[str, Any]) -> list[Form]:
    forms = [Form()]
    if not parameters:
        forms += FORMS
    elif "label_smoothing" in parameters:
        forms += [Form(classes=COLUMNS, spatial=(4, 5))]
        if "weight" not in parameters:
            forms += [Form(classes=70), Form(classes=1300)]
    if getattr(cls, "takes_probabilities", False) and "ignore_index" not in parameters:
        forms += [Form(probabilities=True)]
        if not parameters:
            forms += [
                Form(probabilities=True, batched=False),
                Form(probabilities=True, spatial=(4, 5)),
                Form(probabilities=True, classes=70),
                Form(probabilities=True, classes=70, spatial=(3,)),
            ]
    return forms


def _name(cls: type[Loss], parameters: dict[str, Any], form: Form | None) -> str:
    shown = [f"{k}={v}" if np.ndim(v) == 0 else k for k, v in parameters.items()]
    return "-".join([cls.__name__, *shown, *([str(form)] if form else [])])


def _cases() -> list[Case]:
    cases = []
    for cls in REGISTRY.values():
        for parameters in VARIANTS.get(cls.__name__, [{}]):
            forms = [None] if cls.kernel in ELEMENTWISE_KERNELS else _rowwise_forms(cls, parameters)
            cases += [Case(_name(cls, parameters, f), cls(**parameters, reduction="none"), f) for f in forms]
    return cases


CASES = _cases()
ELEMENTWISE = [case for case in CASES if case.elementwise]
ROWWISE = [case for case in CASES if not case.elementwise]
#: One case of each class, for what does not depend on parameters.
ONE_EACH = [next(case for case in CASES if case.cls is cls) for cls in REGISTRY.values()]
METHODS = ("__call__", "value_and_grad", "grad", "grad_hess", "value_grad_hess")


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


def duplicate(loss: Loss) -> Loss:
    """An equal loss by way of pickle."""
    return pickle.loads(pickle.dumps(loss))
