"""Training a perceptron
=====================

A network in plain NumPy learns handwritten digits from lossfast's gradients. Needs scikit-learn, for the data.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lossfast as lf

EPOCHS, BATCH, RATE, MOMENTUM = 60, 32, 0.1, 0.9

x, y = load_digits(return_X_y=True)
x = (x / 16).astype(np.float32)
x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)

rng = np.random.default_rng(0)
w1 = rng.standard_normal((64, 128), np.float32) * np.float32(np.sqrt(2 / 64))
w2 = rng.standard_normal((128, 10), np.float32) * np.float32(np.sqrt(2 / 128))
parameters = [w1, np.zeros(128, np.float32), w2, np.zeros(10, np.float32)]
velocities = [np.zeros_like(p) for p in parameters]
loss = lf.CrossEntropyLoss(label_smoothing=0.1)

# %%
# The network, and a step of training: from the gradient by the logits, the chain rule is a few products of matrices.


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer and the logits."""
    w1, b1, w2, b2 = parameters
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden, hidden @ w2 + b2


for epoch in range(EPOCHS):
    rate, total = RATE * (1 - epoch / EPOCHS), 0.0
    for rows in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
        hidden, logits = forward(x[rows])
        value, grad = loss.value_and_grad(logits, y[rows])
        grad_hidden = grad @ parameters[2].T * (hidden > 0)
        grads = [x[rows].T @ grad_hidden, grad_hidden.sum(0), hidden.T @ grad, grad.sum(0)]
        for parameter, velocity, g in zip(parameters, velocities, grads, strict=True):
            velocity *= MOMENTUM  # noqa: PLW2901  # in place
            velocity -= rate * g  # noqa: PLW2901
            parameter += velocity  # noqa: PLW2901
        total += value * len(rows)
    if epoch % 10 == 9:
        accuracy = np.mean(forward(x_test)[1].argmax(1) == y_test)
        print(f"epoch {epoch + 1:2d}: training loss {total / len(x):.4f}, held-out accuracy {accuracy:.2%}")
