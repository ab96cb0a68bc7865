"""Gradient boosting with second derivatives
=========================================

Boosting adds trees, each of which is a step of Newton's method in the space of predictions. It asks a loss for its
gradient and for a positive Hessian diagonal, and for nothing else: any loss will do. Here it tells malignant from
benign tumours, and the same lines fit a robust regression. Needs scikit-learn, for the data and the trees.
"""

from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

import lossfast as lf

# %%
# The minimum of the quadratic with gradient g and Hessian h is at -g / h. A tree that is fitted to that, weighted by h,
# has in each leaf the step -sum(g) / sum(h).


class Boosting:
    """Trees, one after the other."""

    def __init__(self, loss: Any, trees: int, rate: float, curvature: str = "psd") -> None:
        self.loss, self.trees, self.rate, self.curvature = loss, trees, rate, curvature

    def fit(self, x: np.ndarray, y: np.ndarray, start: float = 0.0) -> "Boosting":
        """Let each tree mend what those before it have left."""
        self.start, self.steps = start, []
        scores = np.full(len(y), start)
        for seed in range(self.trees):
            grad, hess = self.loss.grad_hess(scores, y, curvature=self.curvature)
            tree = DecisionTreeRegressor(max_depth=3, min_samples_leaf=5, random_state=seed)
            self.steps.append(tree.fit(x, -grad / hess, sample_weight=hess))
            scores += self.rate * tree.predict(x)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The scores: logits of a classification, predictions of a regression."""
        return self.start + self.rate * sum(tree.predict(x) for tree in self.steps)


# %%
# A classification, by logits.

x, x_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), test_size=0.3, random_state=0)
model = Boosting(lf.BCEWithLogitsLoss(reduction="none"), trees=60, rate=0.1).fit(x, y.astype(float))
print(f"tumours: {np.mean((model.predict(x_test) > 0) == y_test):.1%} right")

# %%
# A regression where one patient in ten was recorded wrongly. Huber's loss is flat of curvature where it is linear, so
# the second derivative will not do: its majorizer, the curvature of a parabola above the loss, never takes too long a
# step.

x, x_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), test_size=0.3, random_state=0)
wrong = np.random.default_rng(0).choice(len(y), len(y) // 10, replace=False)
y[wrong] *= 10
for loss in (lf.MSELoss(reduction="none"), lf.HuberLoss(delta=30.0, reduction="none")):
    model = Boosting(loss, trees=60, rate=0.1, curvature="majorizer").fit(x, y, start=float(np.median(y)))
    print(f"diabetes, {type(loss).__name__}: mean absolute error {lf.L1Loss()(model.predict(x_test), y_test):.0f}")
