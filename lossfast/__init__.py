"""Every loss function, its gradient and its Hessian, on NumPy arrays.

>>> import numpy as np, lossfast as lf
>>> loss = lf.CrossEntropyLoss(label_smoothing=0.1)
>>> value, grad = loss.value_and_grad(np.array([[1.5, 2.0, 0.5]]), [1])
"""

try:
    import lossfast._drivers.runtime
except ModuleNotFoundError as error:
    raise ImportError(
        "lossfast is imported from its source folder, which has no compiled modules: leave that folder, or run "
        "python -P, which does not look there"
    ) from error

from lossfast import (
    checks,
    classification,
    composition,
    custom,
    decoding,
    distribution,
    embedding,
    focal,
    functional,
    large_output,
    margin,
    regression,
    sequence,
)
from lossfast._activations import log_sigmoid, log_softmax, logsumexp, sigmoid, softmax, softplus
from lossfast._config import (
    __version__,
    config,
    get_include,
    get_kept_memory,
    get_num_threads,
    openmp_enabled,
    set_kept_memory,
    set_num_threads,
    show_config,
)
from lossfast.checks import *
from lossfast.classification import *
from lossfast.composition import *
from lossfast.custom import *
from lossfast.decoding import *
from lossfast.distribution import *
from lossfast.embedding import *
from lossfast.focal import *
from lossfast.large_output import *
from lossfast.margin import *
from lossfast.regression import *
from lossfast.sequence import *

__all__ = [
    "__version__",
    "config",
    "functional",
    "get_include",
    "get_kept_memory",
    "get_num_threads",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "openmp_enabled",
    "set_kept_memory",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "softmax",
    "softplus",
]
# a family names its losses, once
__all__ += checks.__all__
__all__ += classification.__all__
__all__ += composition.__all__
__all__ += custom.__all__
__all__ += decoding.__all__
__all__ += distribution.__all__
__all__ += embedding.__all__
__all__ += focal.__all__
__all__ += large_output.__all__
__all__ += margin.__all__
__all__ += regression.__all__
__all__ += sequence.__all__
