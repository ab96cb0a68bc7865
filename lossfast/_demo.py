"""The demonstration: a classifier and a robust regression on real data, in plain NumPy around lossfast's gradients."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize

from lossfast._config import config
from lossfast.classification import CrossEntropyLoss
from lossfast.regression import HuberLoss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lossfast._arrays import Array

#: What the extra `demo` brings, by the name to import.
REQUIREMENTS = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "tqdm": "tqdm"}

HIDDEN, EPOCHS, BATCH, RATE, L2, SMOOTHING = 128, 60, 32, 2e-3, 1e-4, 0.1
#: scikit-learn's default for HuberRegressor: 95 % efficiency under Gaussian noise of scale 1.
EPSILON = 1.35


def missing_requirements() -> list[str]:
    """Packages that the demonstration needs and that are not installed."""
    return [package for module, package in REQUIREMENTS.items() if importlib.util.find_spec(module) is None]


# ---- handwritten digits ----------------------------------------------------------------------------------------------


class Perceptron:
    """A multilayer perceptron in float32: a ReLU between two layers, trained with Adam."""

    def __init__(self, inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> None:
        self.parameters: list[Array] = []
        for fan_in, fan_out in ((inputs, hidden), (hidden, outputs)):
            scale = np.float32(np.sqrt(2 / fan_in))
            self.parameters += [rng.standard_normal((fan_in, fan_out), np.float32) * scale]
            self.parameters += [np.zeros(fan_out, np.float32)]
        self.first = [np.zeros_like(p) for p in self.parameters]
        self.second = [np.zeros_like(p) for p in self.parameters]
        self.steps = 0

    def forward(self, x: Array) -> Array:
        """Logits; what the backward pass needs is kept."""
        w1, b1, w2, b2 = self.parameters
        self.x = x
        self.active = np.maximum(x @ w1 + b1, 0)
        logits: Array = self.active @ w2 + b2
        return logits

    def backward(self, grad: Array) -> list[Array]:
        """The gradients of the parameters, from that of the logits."""
        hidden = grad @ self.parameters[2].T * (self.active > 0)
        return [self.x.T @ hidden, hidden.sum(0), self.active.T @ grad, grad.sum(0)]

    def update(self, grads: list[Array], rate: float) -> None:
        """One step of Adam, with decoupled weight decay."""
        self.steps += 1
        rate *= float(np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps))
        for p, g, m, v in zip(self.parameters, grads, self.first, self.second, strict=True):
            m[...] += 0.1 * (g - m)
            v[...] += 0.001 * (g * g - v)
            p[...] -= rate * (m / (np.sqrt(v) + 1e-8) + L2 * p)


@dataclass
class Run:
    """What a training left behind."""

    score: float = 0.0  # held out: the accuracy, or the mean absolute error
    seconds: float = 0.0
    seconds_in_loss: float = 0.0
    steps: int = 0
    curves: dict[str, list[float]] = field(default_factory=dict)


def train_digits(split: tuple[Array, Array, Array, Array], seed: int, tick: Callable[[], Any]) -> Run:
    """Train the perceptron on lossfast's gradients."""
    x, x_held_out, y, y_held_out = split
    rng = np.random.default_rng(seed)
    model = Perceptron(x.shape[1], HIDDEN, 10, rng)
    loss = CrossEntropyLoss(label_smoothing=SMOOTHING)
    run = Run(curves={"training": [], "held out": []})
    for epoch in range(EPOCHS):
        total, rate = 0.0, RATE * (1 - epoch / EPOCHS)
        for rows in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
            inputs, labels = x[rows], y[rows]
            start = perf_counter()
            logits = model.forward(inputs)
            before = perf_counter()
            value, grad = loss.value_and_grad(logits, labels)
            after = perf_counter()
            model.update(model.backward(grad), rate)
            run.seconds += perf_counter() - start
            run.seconds_in_loss += after - before
            run.steps += 1
            total += value * len(rows)
        run.curves["training"].append(total / len(x))
        run.curves["held out"].append(loss(model.forward(x_held_out), y_held_out))
        tick()
    run.score = float(np.mean(model.forward(x_held_out).argmax(1) == y_held_out))
    return run


def peer_digits(split: tuple[Array, Array, Array, Array], seed: int, tick: Callable[[], Any]) -> Run:
    """Train scikit-learn's perceptron of the same size, with the same optimiser, batches and epochs."""
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415  # of the extra `demo`

    x, x_held_out, y, y_held_out = split
    peer = MLPClassifier(HIDDEN, batch_size=BATCH, learning_rate_init=RATE, alpha=L2, random_state=seed)
    run = Run(steps=EPOCHS * (len(x) // BATCH))
    for _ in range(EPOCHS):
        start = perf_counter()
        peer.partial_fit(x, y, classes=np.arange(10))
        run.seconds += perf_counter() - start
        tick()
    run.score = float(peer.score(x_held_out, y_held_out))
    return run


# ---- diabetes --------------------------------------------------------------------------------------------------------


def fit_diabetes(split: tuple[Array, Array, Array, Array], tick: Callable[[], Any]) -> tuple[Run, HuberLoss]:
    """Fit a linear model with Huber's loss by L-BFGS; the threshold is `EPSILON` robust standard deviations."""
    x, x_held_out, y, y_held_out = (np.asarray(a, np.float64) for a in split)
    x, x_held_out = (np.column_stack([a, np.ones(len(a))]) for a in (x, x_held_out))
    residuals = y - x @ np.linalg.lstsq(x, y)[0]
    deviation = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    loss = HuberLoss(delta=EPSILON * deviation)
    run = Run(curves={"training": [], "held out": []})

    def objective(w: Array) -> tuple[float, Array]:
        start = perf_counter()
        prediction = x @ w
        before = perf_counter()
        value, grad = loss.value_and_grad(prediction, y)
        after = perf_counter()
        penalised = value + L2 * float(w[:-1] @ w[:-1])
        slope = x.T @ grad
        slope[:-1] += 2 * L2 * w[:-1]
        run.seconds += perf_counter() - start
        run.seconds_in_loss += after - before
        run.steps += 1
        return penalised, slope

    def record(w: Array) -> None:
        run.curves["training"].append(loss(x @ w, y))
        run.curves["held out"].append(loss(x_held_out @ w, y_held_out))

    start = np.zeros(x.shape[1])
    record(start)
    found = minimize(objective, start, method="L-BFGS-B", jac=True, callback=record)
    run.score = float(np.mean(np.abs(x_held_out @ found.x - y_held_out)))
    tick()
    return run, loss


def peer_diabetes(split: tuple[Array, Array, Array, Array], loss: HuberLoss, tick: Callable[[], Any]) -> Run:
    """Fit scikit-learn's HuberRegressor, which also estimates the deviation that its threshold is measured in."""
    from sklearn.linear_model import HuberRegressor  # noqa: PLC0415  # of the extra `demo`

    x, x_held_out, y, y_held_out = split
    start = perf_counter()
    peer = HuberRegressor(epsilon=EPSILON, alpha=L2, max_iter=1000).fit(x, y)
    run = Run(seconds=perf_counter() - start, steps=int(peer.n_iter_))
    predicted = peer.predict(x_held_out)
    run.score = float(np.mean(np.abs(predicted - y_held_out)))
    run.curves["held out"] = [loss(predicted, y_held_out)]
    tick()
    return run


# ---- both ------------------------------------------------------------------------------------------------------------


def _split(dataset: Any, seed: int, *, classes: bool) -> tuple[Array, Array, Array, Array]:
    """A fifth is held out; features are scaled by what the rest says of them."""
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  # of the extra `demo`

    x, y = dataset(return_X_y=True)
    x, x_held_out, y, y_held_out = train_test_split(
        x, y, test_size=0.2, random_state=seed, stratify=y if classes else None
    )
    if classes:  # pixels from 0 to 16
        x, x_held_out = (np.asarray(a / 16, np.float32) for a in (x, x_held_out))
    else:
        mean, deviation = x.mean(0), x.std(0)
        x, x_held_out = (x - mean) / deviation, (x_held_out - mean) / deviation
    return x, x_held_out, y, y_held_out


def _draw(digits: Run, diabetes: Run, peer: Run, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  # of the extra `demo`

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in (("training", "tab:blue"), ("held out", "tab:orange")):
        left.plot(range(1, EPOCHS + 1), digits.curves[name], color=colour, label=name)
        right.plot(diabetes.curves[name], color=colour, marker=".", label=name)
    right.axhline(peer.curves["held out"][0], color="0.4", linestyle="--", label="held out, HuberRegressor")
    left.set(title="Handwritten digits: cross entropy", xlabel="epoch", ylabel="loss")
    right.set(title="Diabetes: Huber's loss", xlabel="iteration of L-BFGS", ylabel="loss", yscale="log")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _cost(run: Run) -> str:
    step, loss = run.seconds / run.steps * 1e6, run.seconds_in_loss / run.steps * 1e6
    return f"{loss:.1f} µs of {step:.0f} µs per step, {loss / step:.1%}"


def demo(path: Path, seed: int) -> None:
    """Run both parts, print what came out and save the loss curves."""
    from sklearn.datasets import load_diabetes, load_digits  # noqa: PLC0415  # of the extra `demo`
    from tqdm import tqdm  # noqa: PLC0415  # of the extra `demo`

    pictures = _split(load_digits, seed, classes=True)
    patients = _split(load_diabetes, seed, classes=False)
    with tqdm(total=2 * EPOCHS + 2, desc="training", unit="epoch", leave=False) as bar:
        digits = train_digits(pictures, seed, bar.update)
        digits_peer = peer_digits(pictures, seed, bar.update)
        diabetes, huber = fit_diabetes(patients, bar.update)
        diabetes_peer = peer_diabetes(patients, huber, bar.update)
    _draw(digits, diabetes, diabetes_peer, path)

    settings = config()
    print(f"lossfast {settings['version']}, {settings['instruction set']}, {settings['threads']} threads, seed {seed}")
    print()
    print(f"Handwritten digits: {len(pictures[0])} to train, {len(pictures[1])} held out; perceptron 64-{HIDDEN}-10")
    print(f"  {'':<39}{'held-out accuracy':>18}{'seconds':>10}")
    print(f"  {f'CrossEntropyLoss(label_smoothing={SMOOTHING})':<39}{digits.score:>18.2%}{digits.seconds:>10.2f}")
    print(f"  {'scikit-learn MLPClassifier':<39}{digits_peer.score:>18.2%}{digits_peer.seconds:>10.2f}")
    print(f"  in the loss: {_cost(digits)}")
    print()
    print(f"Diabetes: {len(patients[0])} to train, {len(patients[1])} held out; linear model, {diabetes.steps} steps")
    print(f"  {'':<39}{'mean abs. error':>18}{'Huber loss':>14}")
    rows = ((f"HuberLoss(delta={huber.delta:.1f})", diabetes), ("scikit-learn HuberRegressor", diabetes_peer))
    for name, run in rows:
        print(f"  {name:<39}{run.score:>18.2f}{run.curves['held out'][-1]:>14.1f}")
    print(f"  in the loss: {_cost(diabetes)}")
    print(f"  HuberRegressor fits its own scale; delta here is {EPSILON} robust deviations, and judges both.")
    print()
    print(f"Loss curves: {path}")
