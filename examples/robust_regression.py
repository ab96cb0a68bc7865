"""Regression with wrong records
=============================

Linear models of the course of diabetes by four losses, fitted with SciPy, where one patient in ten was recorded
wrongly. Needs scikit-learn, for the data.
"""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import lossfast as lf

x, y = load_diabetes(return_X_y=True, scaled=False)
x = np.column_stack([(x - x.mean(0)) / x.std(0), np.ones(len(x))])
x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
wrong = np.random.default_rng(0).choice(len(y), len(y) // 10, replace=False)
y[wrong] *= 10  # a slipped decimal point

# %%
# :func:`scipy.optimize.minimize` wants the value and the gradient by the weights. The loss gives the gradient by the
# predictions; the transposed design matrix does the rest.


def fit(loss: lf.MSELoss | lf.L1Loss | lf.HuberLoss | lf.SmoothL1Loss) -> np.ndarray:
    """The weights that minimise the mean loss."""

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = loss.value_and_grad(x @ w, y)
        return value, x.T @ grad

    start = np.zeros(x.shape[1])
    start[-1] = np.median(y)
    return minimize(objective, start, method="L-BFGS-B", jac=True).x


# %%
# The squared error follows the wrong records. ``delta`` is about the size of the noise; the absolute error needs none.

print(f"{'loss':<24}{'held-out mean absolute error':>30}")
for loss in (lf.MSELoss(), lf.HuberLoss(delta=70.0), lf.SmoothL1Loss(beta=10.0), lf.L1Loss()):
    error = lf.L1Loss()(x_test @ fit(loss), y_test)
    print(f"{loss!r:<24}{error:>30.1f}")
