"""Every loss function, its gradient and its Hessian, on NumPy arrays.

>>> import numpy as np, lossfast as lf
>>> loss = lf.CrossEntropyLoss(label_smoothing=0.1)
>>> value, grad = loss.value_and_grad(np.array([[1.5, 2.0, 0.5]]), [1])
"""

from lossfast import functional
from lossfast._activations import log_sigmoid, log_softmax, logsumexp, sigmoid, softmax, softplus
from lossfast._config import __version__, config, get_num_threads, openmp_enabled, set_num_threads, show_config
from lossfast.classification import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from lossfast.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
    "__version__",
    "config",
    "functional",
    "get_num_threads",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "openmp_enabled",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "softmax",
    "softplus",
]
