"""Rare classes
============

Which handwritten digits are an eight, where one sample in fifty is? Logistic regressions that differ in the loss
alone: plain, with positives weighted, with single samples weighted, and focal. Needs the extra ``demo``.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, precision_recall_curve, precision_score, recall_score
from sklearn.model_selection import train_test_split

import lossfast as lf

DIGIT, SHARE, DECAY = 8, 0.02, 1e-4


def load() -> tuple[np.ndarray, ...]:
    """Training and test data in which the digit is rare, with a column of ones for the bias."""
    x, y = load_digits(return_X_y=True)
    x, y = np.column_stack([x / 16, np.ones(len(x))]), (y == DIGIT).astype(float)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.5, stratify=y, random_state=0)
    others = np.count_nonzero(y == 0)
    kept = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[: round(SHARE / (1 - SHARE) * others)]]
    return x[kept], x_test, y[kept], y_test


def fit(loss: Any, x: np.ndarray, y: np.ndarray, **options: np.ndarray) -> np.ndarray:
    """The weights of the least mean loss, with a little decay."""

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = loss.value_and_grad(x @ w, y, **options)
        return value + DECAY / 2 * w @ w, x.T @ grad + DECAY * w

    return minimize(objective, np.zeros(x.shape[1]), method="L-BFGS-B", jac=True).x


def main() -> None:
    """Fit, report and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("=\n\n")[-1])
    parser.add_argument("--picture", type=Path, default=Path("class_imbalance.png"))
    options = parser.parse_args()
    x, x_test, y, y_test = load()
    ratio = np.count_nonzero(y == 0) / np.count_nonzero(y)
    models = {
        "plain": fit(lf.BCEWithLogitsLoss(), x, y),
        f"pos_weight={ratio:.0f}": fit(lf.BCEWithLogitsLoss(pos_weight=ratio), x, y),
        "sample_weight": fit(lf.BCEWithLogitsLoss(), x, y, sample_weight=np.where(y == 1, ratio, 1.0)),
        "focal": fit(lf.SigmoidFocalLoss(alpha=ratio / (1 + ratio), gamma=2.0), x, y),
    }
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    print(f"{np.count_nonzero(y)} of {len(y)} training samples are the digit")
    print(f"{'loss':<16}{'precision':>10}{'recall':>8}{'average precision':>19}")
    for name, w in models.items():
        scores = x_test @ w
        found = scores > 0
        area = average_precision_score(y_test, scores)
        print(f"{name:<16}{precision_score(y_test, found):>10.2f}{recall_score(y_test, found):>8.2f}{area:>19.3f}")
        precision, recall, _ = precision_recall_curve(y_test, scores)
        axes.step(recall, precision, where="post", label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower left", frameon=False)
    figure.savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
