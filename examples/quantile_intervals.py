"""Intervals by a loss of one's own
================================

The pinball loss is not among lossfast's. Written in NumPy, it gets weights, reductions, gradients and checks like any
other. SciPy fits the 10 %, 50 % and 90 % quantiles of the course of diabetes by it: an interval that should hold 80 %
of new patients. Needs scikit-learn, for the data.
"""

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import lossfast as lf

# %%
# Two bodies are all. Around 0 the loss is quadratic over a width that is small beside the noise, so that a method for
# smooth functions gets along with it.


class SmoothPinballLoss(lf.CustomLoss):
    """Its mean is least at a quantile."""

    q: float = 0.5
    width: float = 1.0

    def value(self, input: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The tilted absolute error, with a rounded tip."""
        d = (target - input) / self.width
        return self.width * (self.q * d + np.logaddexp(0, -d))

    def derivative(self, input: np.ndarray, target: np.ndarray) -> np.ndarray:
        """By the input."""
        return lf.sigmoid((input - target) / self.width) - self.q


lf.check_grad(SmoothPinballLoss(q=0.9), np.linspace(-3, 3, 20), np.zeros(20))

# %%
# Standardised features, and a fifth of the patients held out.

x, y = load_diabetes(return_X_y=True, scaled=False)
x = np.column_stack([(x - x.mean(0)) / x.std(0), np.ones(len(x))])
x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=1)


def fit(q: float) -> np.ndarray:
    """The weights of a linear model of the quantile."""
    loss = SmoothPinballLoss(q=q, width=2.0)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = loss.value_and_grad(x @ w, y)
        return value, x.T @ grad

    start = np.zeros(x.shape[1])
    start[-1] = np.quantile(y, q)
    return minimize(objective, start, method="L-BFGS-B", jac=True).x


# %%
# What is below the predicted quantile should be a share q of the patients.

predictions = {q: x_test @ fit(q) for q in (0.1, 0.5, 0.9)}
for q, predicted in predictions.items():
    print(f"below the {q:.0%} quantile: {np.mean(y_test < predicted):.0%} of the held-out patients")
inside = np.mean((predictions[0.1] <= y_test) & (y_test <= predictions[0.9]))
width = np.mean(predictions[0.9] - predictions[0.1])
print(f"in the interval between 10% and 90%: {inside:.0%}, which is {width:.0f} wide")
