"""Who takes part, and what each of them calls for a loss: stated once per contender, compared before it is timed.

A contender makes the calls of a workload from the same arrays. Where it has no such loss it sits out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast._bench.machine import difference_arrays, exponential_numbers
from lossfast._bench.workloads import axis_of
from lossfast._config import set_num_threads
from lossfast._drivers.limits import exponentials, subtract
from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from lossfast._arrays import Array
    from lossfast._bench.workloads import Workload

#: What is timed of a loss, in the order of the tables.
OPERATIONS = ("value", "value_and_grad", "value_and_grad_out", "value_grad_hess")


@dataclass(frozen=True)
class Call:
    """What is timed: `function(*arguments)`."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Contender:
    """One library, with so many threads, in a process of its own."""

    #: What has to be installed, by the name to import.
    packages: ClassVar[dict[str, str]] = {}
    #: Whether it has as many threads as the process sees processors, for lack of a setting.
    counts_processors: ClassVar[bool] = False
    #: What restrains its threads further, in the environment of the process.
    environment: ClassVar[dict[int, dict[str, str]]] = {}

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.start()

    @classmethod
    def missing(cls) -> list[str]:
        """Packages that are not installed."""
        return [package for module, package in cls.packages.items() if find_spec(module) is None]

    def versions(self) -> dict[str, str]:
        """Of the packages."""
        return {package: version(package) for package in self.packages.values()}

    def start(self) -> None:
        """Import the library and set its threads."""

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """The calls by operation; none where the library has no such loss."""
        raise NotImplementedError

    def answer(self) -> tuple[float, list[Array]] | None:
        """Value and gradients by the predictions of what was prepared; None for what is no loss."""
        return None

    def release(self) -> None:
        """Forget the arrays."""
        vars(self).pop("prepared", None)


def _predictions(workload: Workload, arrays: tuple[Any, ...]) -> list[int]:
    """Which of the arrays are differentiated by."""
    cls = REGISTRY[workload.loss]
    return [k for k, name in enumerate(cls.arrays[: len(arrays)]) if name in cls.predictions]


# ---- this package, and the limits ----------------------------------------------------------------------------------


class Lossfast(Contender):
    """The losses of this package."""

    packages: ClassVar = {"lossfast": "lossfast"}

    def start(self) -> None:
        """Set the threads."""
        set_num_threads(self.threads)

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """All four operations, without a Hessian where a loss has none."""
        loss: Any = REGISTRY[workload.loss]()
        outs = tuple(np.empty_like(arrays[k]) for k in _predictions(workload, arrays))
        out = outs[0] if len(outs) == 1 else outs
        functions = {
            "value": loss.__call__,
            "value_and_grad": loss.value_and_grad,
            "value_and_grad_out": functools.partial(loss.value_and_grad, out=out),
        }
        if loss.curved:
            functions["value_grad_hess"] = loss.value_grad_hess
        self.prepared = {operation: Call(function, arrays) for operation, function in functions.items()}
        return self.prepared

    def answer(self) -> tuple[float, list[Array]]:
        """Of a call that makes a new gradient."""
        call = self.prepared["value_and_grad"]
        value, grads = call.function(*call.arguments)
        return value, list(grads) if isinstance(grads, tuple) else [grads]


class Limits(Contender):
    """What the machine allows: the traffic of a workload without its arithmetic, and exponentials from the cache."""

    packages: ClassVar = {}

    def start(self) -> None:
        """Set the threads."""
        set_num_threads(self.threads)

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """A difference over as many bytes as the workload moves, stored in either way; exponentials of one block."""
        three = difference_arrays(workload)
        if three is None:
            return {}
        numbers, times = exponential_numbers(workload)
        self.prepared = {
            "difference": Call(subtract, (*three, False)),
            "difference_around_cache": Call(subtract, (*three, True)),
            "exponentials": Call(exponentials, (numbers, times)),
        }
        return self.prepared


# ---- PyTorch -------------------------------------------------------------------------------------------------------


def _torch_sigmoid_focal(functional: Any, x: Any, t: Any) -> Any:
    entropy = functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    p = x.sigmoid()
    other = p * (1 - t) + (1 - p) * t
    return ((0.25 * t + 0.75 * (1 - t)) * other**2 * entropy).mean()


def _torch_softmax_focal(functional: Any, x: Any, y: Any) -> Any:
    log_p = functional.log_softmax(x, 1).gather(1, y[:, None])[:, 0]
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


def _torch_distance_contrastive(functional: Any, d: Any, t: Any) -> Any:
    return (t * d**2 + (1 - t) * functional.relu(1 - d) ** 2).mean()


def _torch_contrastive(functional: Any, a: Any, b: Any, t: Any) -> Any:
    return 0.5 * _torch_distance_contrastive(functional, (a - b).norm(dim=1), t)


def _torch_tukey(functional: Any, x: Any, t: Any) -> Any:
    c = 4.685
    return (c**2 / 6 * (1 - functional.relu(1 - ((x - t) / c) ** 2) ** 3)).mean()


#: What is written on top of PyTorch where `torch.nn.functional` does not have the loss.
TORCH: dict[str, Callable[..., Any]] = {
    "SigmoidFocalLoss": _torch_sigmoid_focal,
    "SoftmaxFocalLoss": _torch_softmax_focal,
    "ContrastiveLoss": _torch_contrastive,
    "DistanceContrastiveLoss": _torch_distance_contrastive,
    "TukeyBiweightLoss": _torch_tukey,
}


class Torch(Contender):
    """PyTorch's eager mode: `torch.nn.functional`, and `backward` for the gradient."""

    packages: ClassVar = {"torch": "torch"}

    def start(self) -> None:
        """The threads of one operator, and none beside them for several."""
        self.load()
        self.torch.set_num_threads(self.threads)
        self.torch.set_num_interop_threads(1)

    def load(self) -> None:
        """Import it."""
        self.torch: Any = import_module("torch")

    def function(self, workload: Workload) -> Any:
        """The loss as a function of tensors, or None."""
        functional = self.torch.nn.functional
        if workload.loss in TORCH:
            return functools.partial(TORCH[workload.loss], functional)
        return getattr(functional, REGISTRY[workload.loss].function, None)

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """The value without a graph, and value and gradient with one."""
        function = self.function(workload)
        if function is None:
            return {}
        tensors = tuple(self.torch.from_numpy(a) for a in arrays)
        by = _predictions(workload, arrays)
        arguments = tuple(t.detach().requires_grad_() if k in by else t for k, t in enumerate(tensors))
        self.leaves = [arguments[k] for k in by]
        leaves = self.leaves

        def value_and_grad(*arguments: Any) -> Any:
            for leaf in leaves:
                leaf.grad = None
            value = function(*arguments)
            value.backward()
            return value

        self.prepared = {"value": Call(function, tensors), "value_and_grad": Call(value_and_grad, arguments)}
        return self.prepared

    def answer(self) -> tuple[float, list[Array]]:
        """The gradients that the leaves hold."""
        call = self.prepared["value_and_grad"]
        return call.function(*call.arguments).item(), [leaf.grad.numpy() for leaf in self.leaves]

    def release(self) -> None:
        """Forget the tensors."""
        vars(self).pop("leaves", None)
        super().release()


class Compiled(Torch):
    """`torch.compile` of the same functions, forward and backward."""

    def function(self, workload: Workload) -> Any:
        """Compile for these shapes alone."""
        function = super().function(workload)
        if function is None:
            return None
        self.torch.compiler.reset()
        return self.torch.compile(function, dynamic=False)

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """Value and gradient; a value alone would have to be compiled once more."""
        calls = super().prepare(workload, arrays)
        calls.pop("value", None)
        return calls


# ---- JAX -----------------------------------------------------------------------------------------------------------


def _jax_of_labels(j: Any, x: Any, y: Any) -> Any:
    return j.np.take_along_axis(x, y[:, None], 1)


def _jax_softmax_focal(j: Any, x: Any, y: Any) -> Any:
    log_p = _jax_of_labels(j, j.nn.log_softmax(x), y)
    return -((1 - j.np.exp(log_p)) ** 2 * log_p).mean()


def _jax_multi_margin(j: Any, x: Any, y: Any) -> Any:
    return ((j.nn.relu(1 - _jax_of_labels(j, x, y) + x).sum(1) - 1) / x.shape[1]).mean()


def _jax_cosine(j: Any, a: Any, b: Any, t: Any) -> Any:
    cosine = j.optax.cosine_similarity(a, b)
    return j.np.where(t == 1, 1 - cosine, j.nn.relu(cosine)).mean()


def _jax_distance_contrastive(j: Any, d: Any, t: Any) -> Any:
    return (t * d**2 + (1 - t) * j.nn.relu(1 - d) ** 2).mean()


def _jax_gaussian(j: Any, x: Any, t: Any, var: Any) -> Any:
    return 0.5 * (j.np.log(j.np.maximum(var, 1e-6)) + (x - t) ** 2 / j.np.maximum(var, 1e-6)).mean()


def _jax_tukey(j: Any, x: Any, t: Any) -> Any:
    c = 4.685
    return (c**2 / 6 * (1 - j.nn.relu(1 - ((x - t) / c) ** 2) ** 3)).mean()


#: optax's function where it has the loss, a line of JAX elsewhere; `j` holds both.
JAX: dict[str, Callable[..., Any]] = {
    "MSELoss": lambda j, x, t: j.optax.squared_error(x, t).mean(),
    "L1Loss": lambda j, x, t: j.np.abs(x - t).mean(),
    "SmoothL1Loss": lambda j, x, t: j.optax.huber_loss(x, t).mean(),
    "HuberLoss": lambda j, x, t: j.optax.huber_loss(x, t).mean(),
    "TukeyBiweightLoss": _jax_tukey,
    "BCELoss": lambda j, x, t: -(t * j.np.log(x) + (1 - t) * j.np.log1p(-x)).mean(),
    "BCEWithLogitsLoss": lambda j, x, t: j.optax.sigmoid_binary_cross_entropy(x, t).mean(),
    "MultiLabelSoftMarginLoss": lambda j, x, t: j.optax.sigmoid_binary_cross_entropy(x, t).mean(),
    "SoftMarginLoss": lambda j, x, t: j.nn.softplus(-t * x).mean(),
    "SigmoidFocalLoss": lambda j, x, t: j.optax.sigmoid_focal_loss(x, t, alpha=0.25).mean(),
    "NLLLoss": lambda j, x, y: -_jax_of_labels(j, x, y).mean(),
    "CrossEntropyLoss": lambda j, x, y: j.optax.softmax_cross_entropy_with_integer_labels(x, y).mean(),
    "SoftmaxFocalLoss": _jax_softmax_focal,
    "MultiMarginLoss": _jax_multi_margin,
    "KLDivLoss": lambda j, x, t: j.optax.kl_divergence(x, t).sum() / x.size,
    "PoissonNLLLoss": lambda j, x, t: (j.np.exp(x) - t * x).mean(),
    "GaussianNLLLoss": _jax_gaussian,
    "HingeEmbeddingLoss": lambda j, x, t: j.np.where(t == 1, x, j.nn.relu(1 - x)).mean(),
    "MarginRankingLoss": lambda j, x1, x2, t: j.nn.relu(-t * (x1 - x2)).mean(),
    "DistanceContrastiveLoss": _jax_distance_contrastive,
    "ContrastiveLoss": lambda j, a, b, t: 0.5 * _jax_distance_contrastive(j, j.np.sqrt(((a - b) ** 2).sum(1)), t),
    "CosineEmbeddingLoss": _jax_cosine,
    "TripletMarginLoss": lambda j, a, p, n: j.optax.triplet_margin_loss(a, p, n).mean(),
    "LinearCrossEntropyLoss": lambda j, x, w, y: j.optax.softmax_cross_entropy_with_integer_labels(x @ w.T, y).mean(),
    "CTCLoss": lambda j, x, frames, labels, padding, lengths: (
        j.optax.ctc_loss(x, frames, labels, padding) / lengths
    ).mean(),
}


class Jax(Contender):
    """JAX's `jit(value_and_grad(…))`, with optax's losses."""

    packages: ClassVar = {"jax": "jax", "optax": "optax"}
    counts_processors = True
    environment: ClassVar = {1: {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}}

    def start(self) -> None:
        """Import both, on the CPU."""
        self.jax: Any = import_module("jax")
        self.jax.config.update("jax_platforms", "cpu")
        self.library = SimpleNamespace(
            np=import_module("jax.numpy"), nn=import_module("jax.nn"), optax=import_module("optax.losses")
        )

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """The value, and value and gradient, each compiled and waited for."""
        if workload.loss not in JAX:
            return {}
        jax, by = self.jax, tuple(_predictions(workload, arrays))
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        self.frames_first = axis_of(workload.loss) == "frames"
        if self.frames_first:  # for optax sequences come first, and what is behind an end is marked
            log_probs, labels, frames, lengths = arrays
            after = [
                (np.arange(end) >= ends[:, None]).astype(workload.dtype)
                for end, ends in ((len(log_probs), frames), (labels.shape[1], lengths))
            ]
            arrays = (np.ascontiguousarray(log_probs.swapaxes(0, 1)), after[0], labels, after[1], lengths)
        arguments = tuple(jax.device_put(a) for a in arrays)
        function = functools.partial(JAX[workload.loss], self.library)
        value, value_and_grad, wait = (
            jax.jit(function),
            jax.jit(jax.value_and_grad(function, by)),
            jax.block_until_ready,
        )
        self.prepared = {
            "value": Call(lambda *arguments: wait(value(*arguments)), arguments),
            "value_and_grad": Call(lambda *arguments: wait(value_and_grad(*arguments)), arguments),
        }
        return self.prepared

    def answer(self) -> tuple[float, list[Array]]:
        """With the frames first, as they were given."""
        call = self.prepared["value_and_grad"]
        value, grads = call.function(*call.arguments)
        return float(value), [np.asarray(g).swapaxes(0, 1) if self.frames_first else np.asarray(g) for g in grads]


# ---- scikit-learn --------------------------------------------------------------------------------------------------

#: Name in `sklearn._loss.loss`, arguments, and how many of it make one of ours.
SCIKIT_LEARN: dict[str, tuple[str, dict[str, Any], float]] = {
    "MSELoss": ("HalfSquaredError", {}, 2.0),
    "L1Loss": ("AbsoluteError", {}, 1.0),
    "HuberLoss": ("HuberLoss", {"delta": 1.0}, 1.0),
    "SmoothL1Loss": ("HuberLoss", {"delta": 1.0}, 1.0),
    "BCEWithLogitsLoss": ("HalfBinomialLoss", {}, 1.0),
    "PoissonNLLLoss": ("HalfPoissonLoss", {}, 1.0),
    "CrossEntropyLoss": ("HalfMultinomialLoss", {}, 1.0),
}


class ScikitLearn(Contender):
    """The private losses behind scikit-learn's linear models and boosting, which leave the mean to their callers."""

    packages: ClassVar = {"sklearn": "scikit-learn"}

    def start(self) -> None:
        """Import them; threads are an argument."""
        self.losses: Any = import_module("sklearn._loss.loss")

    def prepare(self, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, Call]:
        """The unreduced values, with gradients and with Hessians."""
        if workload.loss not in SCIKIT_LEARN:
            return {}
        name, options, self.scale = SCIKIT_LEARN[workload.loss]
        if axis_of(workload.loss) == "classes":
            options = {"n_classes": workload.shape[1]}
        loss = getattr(self.losses, name)(**options)
        given = {
            "y_true": arrays[1].astype(workload.dtype, copy=False),
            "raw_prediction": arrays[0],
            "n_threads": self.threads,
        }
        functions = {
            "value": loss.loss,
            "value_and_grad": loss.loss_gradient,
            "value_grad_hess": loss.gradient_hessian,  # it has none that computes the value too
        }
        self.prepared = {o: Call(functools.partial(function, **given), ()) for o, function in functions.items()}
        return self.prepared

    def answer(self) -> tuple[float, list[Array]]:
        """The mean that the callers take."""
        values, grad = self.prepared["value_and_grad"].function()
        return self.scale * float(values.mean(dtype=np.float64)), [self.scale / len(values) * grad]


# ---- all -----------------------------------------------------------------------------------------------------------

PEERS: dict[str, type[Contender]] = {"torch": Torch, "compile": Compiled, "jax": Jax, "sklearn": ScikitLearn}
CONTENDERS: dict[str, type[Contender]] = {"limits": Limits, "lossfast": Lossfast, **PEERS}
