"""Losses of linear layers with very many classes, whose logits are never held all at once."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import special

from lossfast import _arrays
from lossfast._activations import log_softmax
from lossfast._drivers.linear import Linear
from lossfast._drivers.rowwise import Rowwise
from lossfast._drivers.runtime import weight_sum
from lossfast._linear import fitting, per_row, store
from lossfast._loss import Interval, Loss, Result, array, caller_arrays, integer, integers, number, result_dtype
from lossfast.classification import CrossEntropyLoss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Unpack

    from numpy.typing import ArrayLike

    from lossfast._arrays import Array, Shape
    from lossfast._loss import Request
    from lossfast._methods import GradientOptions, HessianOptions, ValueOptions

__all__ = ["AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss"]


#: Elements that are converted to float64 at a time.
_WIDE_ELEMENTS = 1 << 19
#: Log-probabilities that are computed at a time.
_TILE_BYTES = 44 << 20


def _check_matrix(name: str, matrix: Array, rows: int | str, columns: int, meaning: str) -> None:
    """Refuse a weight of another shape; `rows` may be a letter, for any number of them."""

    def fits(shape: Shape) -> bool:
        return len(shape) == 2 and shape[1] == columns and (isinstance(rows, str) or shape[0] == rows)

    if not fits(matrix.shape):
        mend = f": use {name}.T" if fits(matrix.shape[::-1]) else ""
        raise ValueError(f"{name} has shape {matrix.shape}; expected ({rows}, {columns}), {meaning}{mend}")


# ---- linear cross entropy ------------------------------------------------------------------------------------------


class LinearCrossEntropyLoss(Loss):
    r"""Cross entropy of the logits of a linear layer, computed a few rows at a time and never stored as a whole.

    .. math::
        \ell(x, W, b) = \ell_\text{cross entropy}(z), \quad z = W x + b, \quad g = \partial_z \ell, \qquad
        \partial_x \ell = W^\top g, \quad \partial_W \ell = g\,x^\top, \quad \partial_b \ell = g

    Parameters
    ----------
    weight : array_like, optional
        One weight per class.
    ignore_index : int
        A label that counts nothing; it need not be a class.
    label_smoothing : float
        The share of the target that is spread over all classes, in [0, 1].
    reduction : {"mean", "sum", "none"}
        With labels the mean is divided by the summed weights of those that count (NaN, with a gradient of zeros, if
        none does); with probabilities by the number of rows.

    Raises
    ------
    IndexError
        If a label is outside of [0, C).
    TypeError
        If the labels are neither integers nor probabilities of the shape of the logits.
    ValueError
        If the shapes do not belong together.

    Notes
    -----
    Arrays: ``input`` of shape (F,) or (N, F), ``linear_weight`` (C, F), ``target``, class indices of shape () or (N,)
    in any integer dtype or floating class probabilities (C,) or (N, C), and ``linear_bias`` (C,) or None. Value and
    gradients by the three predictions come from one pass; with probabilities, gradients exist by ``target`` and
    ``weight`` too. Labels, masked classes, NaN and infinities count as in `CrossEntropyLoss`. Curvatures: none.

    Memory: less than 64 MiB beside the arguments and the gradients for up to 700 000 classes in float32, and the logits
    of 16 rows for more. A gradient by ``linear_weight`` in half precision, in another precision than that of the
    computation or for an ``out`` with gaps is added up in an array of its own, and ``linear_weight`` is copied if a
    gradient replaces it.

    Accuracy: that of `CrossEntropyLoss`, for logits and sums of products in the precision of the computation.

    References
    ----------
    .. [1] E. Wijmans et al., "Cut your losses in large-vocabulary language models", ICLR 2025,
       :doi:`10.48550/arXiv.2411.09009`.
    """

    kernel = "cross_entropy"
    function = "linear_cross_entropy"
    arrays = ("input", "linear_weight", "target", "linear_bias")
    predictions = ("input", "linear_weight", "linear_bias")
    meaning: ClassVar = {"target": "labels"}
    differentiable = ("input", "linear_weight", "linear_bias", "target", "weight")
    curved = ()
    curvatures = ()

    takes_probabilities: ClassVar[bool] = True
    _of_logits: ClassVar[Any] = None  # the loss of the logits and …
    _linear: ClassVar[Any] = None  # … of the layer; set by _bind

    weight: ArrayLike | None = array(default=None, ndim=1)
    ignore_index: int = integer(default=-100)
    label_smoothing: float = number(default=0.0, domain=Interval(0.0, 1.0))

    def __call__(
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        **options: Unpack[ValueOptions],
    ) -> Any:
        return self._run("__call__", (input, linear_weight, target, linear_bias), options)

    def value_and_grad(
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        **options: Unpack[GradientOptions],
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("value_and_grad", (input, linear_weight, target, linear_bias), options)
        return result

    def grad(
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        **options: Unpack[GradientOptions],
    ) -> Any:
        return self._run("grad", (input, linear_weight, target, linear_bias), options)

    def grad_hess(
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        **options: Unpack[HessianOptions],
    ) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self._run("grad_hess", (input, linear_weight, target, linear_bias), options)
        return result

    def value_grad_hess(
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        **options: Unpack[HessianOptions],
    ) -> tuple[Any, Any, Any]:
        arrays = (input, linear_weight, target, linear_bias)
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", arrays, options)
        return result

    def definition(
        self, input: Array, linear_weight: Array, target: Array, linear_bias: Array | None = None
    ) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        logits = input @ linear_weight.T + (0 if linear_bias is None else linear_bias)
        loss: tuple[Array, Array] = self._of_logits.definition(logits, target)
        return loss

    def reference(  # type: ignore[override]
        self,
        input: ArrayLike,
        linear_weight: ArrayLike,
        target: ArrayLike,
        linear_bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """The plain NumPy definition, in the precision of the arrays: slow, and what the kernels are tested against."""
        bias = () if linear_bias is None else (linear_bias,)
        return super().reference(input, linear_weight, target, *bias, sample_weight=sample_weight)

    def _bind(self) -> None:
        object.__setattr__(self, "_of_logits", CrossEntropyLoss(**self.parameters))
        object.__setattr__(self, "_linear", Linear(self._of_logits._kernel))
        object.__setattr__(self, "_quick", self._linear.quick)

    def _checked(self, arrays: tuple[ArrayLike, ...]) -> dict[str, Array]:
        """The arrays by name, of shapes that belong together, but for the target's."""
        named = {
            name: _arrays.as_array(a, name)
            for name, a in zip(self.arrays, arrays, strict=True)
            if a is not None or name != "linear_bias"
        }
        input, weight = named["input"], named["linear_weight"]
        if input.ndim not in (1, 2):
            raise ValueError(f"input has shape {input.shape}; expected (F,) or (N, F)")
        _check_matrix("linear_weight", weight, "C", input.shape[-1], "the features of every class")
        if len(weight) > np.iinfo(np.int32).max:
            raise ValueError(f"linear_weight has {len(weight)} classes; expected fewer than 2**31")
        if "linear_bias" in named:
            _arrays.same_shape("linear_bias", named["linear_bias"].shape, (len(weight),), "one number for each class")
        if named["target"].size == 0 and isinstance(arrays[2], list | tuple):
            named["target"] = named["target"].astype(np.int64)  # an empty list has no dtype of its own
        return named

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        originals = self._checked(arrays)
        classes, given = len(originals["linear_weight"]), originals["target"]
        shape = originals["input"].shape[:-1]
        if not shape:
            request = dataclasses.replace(request, shown={"input": originals["input"].shape, "target": given.shape})
            originals["input"] = originals["input"][np.newaxis]
            if given.shape == (1,) != (classes,):
                shape = (1,)  # one row and one label in brackets are a batch of one
        labels, target = self._of_logits._targets((*shape, classes), given, "the logits")
        predictions = {name: originals[name] for name in self.predictions if name in originals}
        itemsize = _arrays.item_size(list(predictions.values()))
        available = (*predictions, "target", "weight") if target is not None else tuple(predictions)
        if self.weight is None:
            available = tuple(name for name in available if name != "weight")
        wrt = tuple(predictions) if request.wrt is None else self._resolve_wrt(request.wrt, available)
        self._of_logits._check_factors(classes)
        row_weight, cotangent = request.weights(shape)
        rows = math.prod(shape)
        denominator = self._of_logits._denominator(labels, classes, shape, row_weight)

        value = self._value_array(request, shape, result_dtype(itemsize, predictions.values()))
        if target is not None:
            target = target.reshape(rows, classes)
        class_weights = None if self.weight is None else np.asarray(self.weight)  # in the dtype that they were given in
        targets = None if target is None else given.reshape(rows, classes)  # likewise
        grads, _ = request.results(wrt, {**predictions, "target": targets, "weight": class_weights}, None)
        outs = caller_arrays(request, value, grads.values())
        operands = {name: _arrays.as_operand(a, name) for name, a in predictions.items()}
        # rows of the input are read for the last time before their gradient is written: that may replace them
        replacing = [r.own for name, r in grads.items() if name == "input" and r.own is not None]
        operands["input"] = _arrays.separated(operands["input"], replacing, elementwise=True)
        others = [out for out in outs if not any(out is own for own in replacing)]
        operands = {n: _arrays.separated(a, others if n == "input" else outs) for n, a in operands.items()}
        labels, target, row_weight, cotangent = (
            _arrays.separated(a, outs) for a in (labels, target, row_weight, cotangent)
        )

        total = 0.0
        scale, cotangents = self._scale(denominator, cotangent)
        multipliers, cotangents = per_row((row_weight,), shape), per_row(cotangents, shape)
        if rows and classes:
            by = {name: result.array for name, result in grads.items()}
            if "weight" in by:  # before a result overwrites an argument
                factors = [scale, *multipliers, *cotangents]
                store(self._by_class_weight(operands, target, factors, np.dtype(f"f{itemsize}")), by["weight"])
            total = self._linear.run(
                operands["input"],
                operands["linear_weight"],
                operands.get("linear_bias"),
                itemsize,
                None if labels is None else labels.reshape(rows),
                target,
                multipliers,
                cotangents,
                scale,
                None if value is None else value.reshape(rows),
                by.get("input"),
                by.get("linear_weight"),
                by.get("linear_bias"),
                by.get("target"),
            )
        else:  # no rows, or rows without classes, whose loss is an empty sum
            for written in (value, *(result.array for result in grads.values())):
                if written is not None:
                    written[...] = 0
        answer = self._reduced(total, denominator) if self.reduction != "none" else value
        return request.answer(answer, grads, {})

    def _by_class_weight(
        self, operands: Mapping[str, Array], target: Array | None, factors: list[Any], dtype: np.dtype[Any]
    ) -> Array:
        """The gradient by the class weights, from the logits of a few rows at a time."""
        assert target is not None  # labels leave the class weights without a gradient
        input, weight = operands["input"], operands["linear_weight"]
        rows, classes = (max(1, _WIDE_ELEMENTS // max(1, n)) for n in reversed(weight.shape))
        total = np.zeros(len(weight))
        with np.errstate(all="ignore"):  # infinities and NaN are results like others
            for start in range(0, len(input), rows):
                some = slice(start, start + rows)
                x = fitting(input[some], dtype)
                logits = np.concatenate(
                    [x @ fitting(weight[k : k + classes], dtype).T for k in range(0, len(weight), classes)], axis=1
                )
                if "linear_bias" in operands:
                    logits += operands["linear_bias"].astype(dtype)
                own = [factors[0], *(a[some] for a in factors[1:])]
                total += self._of_logits._weight_gradient(logits, target[some], 1, own)
        return total


# ---- adaptive softmax ----------------------------------------------------------------------------------------------


class AdaptiveLogSoftmaxWithLoss(Loss):
    r"""Cross entropy of a softmax in two steps: frequent classes at once, rare ones in clusters of a smaller layer.

    .. math::
        \ell(x, t) = -\log p_t, \qquad \log p_t = \begin{cases}
        \operatorname{log\,softmax}(H x + b)_t & t < c_0 \\
        \operatorname{log\,softmax}(H x + b)_{c_0 + i} + \operatorname{log\,softmax}(W_{i2} W_{i1} x)_{t - c_i} &
        c_i \le t < c_{i+1} \end{cases}

    The gradient is that of the cross entropy of H over all rows and of every cluster over its own.

    Parameters
    ----------
    n_classes : int
        The number of classes, most frequent ones first.
    cutoffs : sequence of int
        Where the clusters begin, :math:`c_0 < c_1 < \ldots`, in [1, n_classes - 1]: those before the first are the
        frequent classes, and the last cluster ends with the classes.
    reduction : {"mean", "sum", "none"}
        The mean is over all rows.

    Raises
    ------
    IndexError
        If a label is outside of [0, n_classes).
    TypeError
        If the labels are not integers.
    ValueError
        If the shapes do not belong together.

    Notes
    -----
    Arrays: ``input`` of shape (F,) or (N, F), ``target``, class indices of shape () or (N,) in any integer dtype,
    ``head_weight`` (c0 + K, F) for K cutoffs, ``tail_weights``, K pairs of arrays (h_i, F) and (n_i, h_i) for a cluster
    of n_i classes, and ``head_bias`` (c0 + K,) or None. h_i may be 0: all classes of that cluster are as likely.
    Gradients by ``tail_weights`` are nested as they are, in tuples. PyTorch's module holds the weights itself, and
    returns log p beside the mean: here that is minus the loss with ``reduction="none"``. A NaN or an infinity in a
    row gives what `CrossEntropyLoss` says of its logits. Curvatures: none.

    Memory: as `LinearCrossEntropyLoss`, for the head and for each cluster in turn, and the input of the cluster's rows.

    Threads: the products with the inner layers are those of NumPy's BLAS, whose threads threadpoolctl sets, and which
    does not promise the same bits for any number of them.

    Accuracy: that of `CrossEntropyLoss`, for logits and sums of products in the precision of the computation.

    References
    ----------
    .. [1] E. Grave et al., "Efficient softmax approximation for GPUs", ICML 2017, :doi:`10.48550/arXiv.1609.04309`.
    """

    arrays = ("input", "target", "head_weight", "tail_weights", "head_bias")
    predictions = ("input", "head_weight", "tail_weights", "head_bias")
    meaning: ClassVar = {"target": "labels"}
    differentiable = ("input", "head_weight", "tail_weights", "head_bias")
    curved = ()
    curvatures = ()

    _linear: ClassVar[Any] = None  # set by _bind

    n_classes: int = integer(kw_only=False)
    cutoffs: Sequence[int] = integers(kw_only=False)

    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
        **options: Unpack[ValueOptions],
    ) -> Any:
        return self._run("__call__", (input, target, head_weight, tail_weights, head_bias), options)

    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
        **options: Unpack[GradientOptions],
    ) -> tuple[Any, Any]:
        arrays = (input, target, head_weight, tail_weights, head_bias)
        result: tuple[Any, Any] = self._run("value_and_grad", arrays, options)
        return result

    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
        **options: Unpack[GradientOptions],
    ) -> Any:
        return self._run("grad", (input, target, head_weight, tail_weights, head_bias), options)

    def grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
        **options: Unpack[HessianOptions],
    ) -> tuple[Any, Any]:
        arrays = (input, target, head_weight, tail_weights, head_bias)
        result: tuple[Any, Any] = self._run("grad_hess", arrays, options)
        return result

    def value_grad_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
        **options: Unpack[HessianOptions],
    ) -> tuple[Any, Any, Any]:
        arrays = (input, target, head_weight, tail_weights, head_bias)
        result: tuple[Any, Any, Any] = self._run("value_grad_hess", arrays, options)
        return result

    def log_prob(
        self,
        input: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
    ) -> Array:
        """The log-probabilities of all classes.

        Parameters
        ----------
        input, head_weight, tail_weights, head_bias : array_like
            As the class says.

        Returns
        -------
        ndarray, (N, n_classes) or (n_classes,)
            In the precision of the computation; its exponentials sum to 1 over the classes.
        """
        model = self._checked(input, head_weight, tail_weights, head_bias)
        fitted = self._fitted(model)
        x = fitted["input"]
        result = np.empty((len(x), self.n_classes), result_dtype(x.dtype.itemsize, model.values()))
        with np.errstate(all="ignore"):
            for rows in self._tiles(x):
                result[rows] = self._log_prob(x[rows], fitted)
        return result.reshape(*model["input"].shape[:-1], self.n_classes)

    def predict(
        self,
        input: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
    ) -> Any:
        """The most likely class of each row, the first of equals.

        Parameters
        ----------
        input, head_weight, tail_weights, head_bias : array_like
            As the class says.

        Returns
        -------
        ndarray of int64, (N,) or ()
            The classes. A cluster is only looked into where it may hold the one.
        """
        model = self._checked(input, head_weight, tail_weights, head_bias)
        fitted = self._fitted(model)
        x = fitted["input"]
        result = np.empty(len(x), np.int64)
        with np.errstate(all="ignore"):
            for rows in self._tiles(x):
                classes = self._head(x[rows], fitted).argmax(-1)
                # no class of a cluster is likelier than the cluster
                rest = np.flatnonzero(classes >= self.cutoffs[0])
                classes[rest] = self._log_prob(x[rows][rest], fitted).argmax(-1)
                result[rows] = classes
        return result if model["input"].ndim == 2 else result[0]

    def definition(
        self,
        input: Array,
        target: Array,
        head_weight: Array,
        tail_weights: Sequence[Sequence[Array]],
        head_bias: Array | None = None,
    ) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        head = special.log_softmax(input @ head_weight.T + (0 if head_bias is None else head_bias), axis=-1)
        first = self.cutoffs[0]
        parts = [head[..., :first]]
        for i, (inner, outer) in enumerate(tail_weights):
            tail = special.log_softmax(input @ inner.T @ outer.T, axis=-1)
            parts.append(head[..., first + i, np.newaxis] + tail)
        picked = np.take_along_axis(np.concatenate(parts, -1), target[..., np.newaxis], -1)[..., 0]
        return -picked, np.ones((), picked.dtype)

    def reference(  # type: ignore[override]
        self,
        input: ArrayLike,
        target: ArrayLike,
        head_weight: ArrayLike,
        tail_weights: Sequence[Sequence[ArrayLike]],
        head_bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """The plain NumPy definition, in the precision of the arrays: slow, and what the kernels are tested against."""
        input, target, head_weight = (np.asarray(a) for a in (input, target, head_weight))
        tails = [[np.asarray(a) for a in pair] for pair in tail_weights]
        bias = None if head_bias is None else np.asarray(head_bias)
        return self._reduced_plainly(*self.definition(input, target, head_weight, tails, bias), sample_weight)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.n_classes < 2**31:
            raise ValueError(f"n_classes = {self.n_classes} is outside [2, 2**31)")
        if not self.cutoffs:
            raise ValueError("cutoffs is empty; expected at least one class at which a cluster begins")
        for i, cutoff in enumerate(self.cutoffs):
            if not 1 <= cutoff < self.n_classes:
                raise ValueError(f"cutoffs[{i}] = {cutoff} is outside [1, {self.n_classes - 1}]")
            if i and cutoff <= self.cutoffs[i - 1]:
                raise ValueError(f"cutoffs[{i}] = {cutoff} does not exceed cutoffs[{i - 1}] = {self.cutoffs[i - 1]}")

    def _bind(self) -> None:
        object.__setattr__(self, "_linear", Linear(Rowwise("cross_entropy")))

    # ---- the model -------------------------------------------------------------------------------------------------

    @property
    def _clusters(self) -> list[slice]:
        """The classes of each cluster."""
        ends = (*self.cutoffs[1:], self.n_classes)
        return [slice(low, high) for low, high in zip(self.cutoffs, ends, strict=True)]

    def _names(self, argument: str) -> tuple[str, ...]:
        """An argument's arrays, by the names that errors give them."""
        if argument != "tail_weights":
            return (argument,)
        return tuple(f"tail_weights[{i}][{k}]" for i in range(len(self.cutoffs)) for k in (0, 1))

    def _tail_members(self, tail_weights: Any, name: str) -> list[Any]:
        """The arrays of all pairs, one after the other."""
        try:
            pairs = [tuple(pair) for pair in tail_weights]
        except TypeError as error:
            raise TypeError(f"{name} is of type {type(tail_weights).__name__}; expected pairs of arrays") from error
        if len(pairs) != len(self.cutoffs) or any(len(pair) != 2 for pair in pairs):
            raise ValueError(
                f"{name} has members of lengths {[len(pair) for pair in pairs]}; expected {len(self.cutoffs)} pairs of "
                "arrays, one for each cutoff"
            )
        return [member for pair in pairs for member in pair]

    def _checked(
        self, input: ArrayLike, head_weight: ArrayLike, tail_weights: Any, head_bias: ArrayLike | None
    ) -> dict[str, Array]:
        """The predictions by name, of shapes that belong together."""
        tails = self._tail_members(tail_weights, "tail_weights")
        given = [("input", input), ("head_weight", head_weight), *zip(self._names("tail_weights"), tails, strict=True)]
        if head_bias is not None:
            given.append(("head_bias", head_bias))
        model = {name: _arrays.as_array(a, name) for name, a in given}
        if model["input"].ndim not in (1, 2):
            raise ValueError(f"input has shape {model['input'].shape}; expected (F,) or (N, F)")
        features, entries = model["input"].shape[-1], self.cutoffs[0] + len(self.cutoffs)
        _check_matrix("head_weight", model["head_weight"], entries, features, "the features of classes and clusters")
        for i, classes in enumerate(self._clusters):
            inner, outer = f"tail_weights[{i}][0]", f"tail_weights[{i}][1]"
            _check_matrix(inner, model[inner], "h", features, "what the cluster computes from the features")
            _check_matrix(
                outer, model[outer], classes.stop - classes.start, len(model[inner]), "one row for each of its classes"
            )
        if head_bias is not None:
            _arrays.same_shape(
                "head_bias", model["head_bias"].shape, (entries,), "one number for each class or cluster"
            )
        return model

    def _fitted(self, model: Mapping[str, Array]) -> dict[str, Array]:
        """The predictions in the precision to compute in, the input as rows."""
        dtype = np.dtype(f"f{_arrays.item_size(list(model.values()))}")
        operands = {name: np.atleast_2d(_arrays.as_operand(a, name)) for name, a in model.items()}
        return {name: fitting(a, dtype) for name, a in operands.items()}

    def _tiles(self, x: Array) -> Iterator[slice]:
        step = max(1, _TILE_BYTES // (2 * x.itemsize * self.n_classes))
        return (slice(start, start + step) for start in range(0, len(x), step))

    def _head(self, x: Array, fitted: Mapping[str, Array]) -> Array:
        """Log-probabilities of the frequent classes and of the clusters."""
        logits = np.matmul(x, fitted["head_weight"].T)
        if "head_bias" in fitted:
            logits += fitted["head_bias"]
        return log_softmax(logits, out=logits)

    def _log_prob(self, x: Array, fitted: Mapping[str, Array]) -> Array:
        head, first = self._head(x, fitted), self.cutoffs[0]
        result = np.empty((len(x), self.n_classes), x.dtype)
        result[:, :first] = head[:, :first]
        for i, classes in enumerate(self._clusters):
            part = result[:, classes]
            hidden = np.matmul(x, fitted[f"tail_weights[{i}][0]"].T)
            np.matmul(hidden, fitted[f"tail_weights[{i}][1]"].T, out=part)
            log_softmax(part, out=part)
            part += head[:, first + i, np.newaxis]
        return result

    # ---- the call --------------------------------------------------------------------------------------------------

    def _labels(self, target: ArrayLike, shape: Shape) -> Array:
        given = _arrays.as_array(target, "target")
        if given.size == 0 and isinstance(target, list | tuple):
            given = given.astype(np.int64)  # an empty list has no dtype of its own
        _arrays.same_shape("target", given.shape, shape, "that of input without its features")
        labels = _arrays.as_labels(given, "target")
        outside = np.flatnonzero((labels < 0) | (labels >= self.n_classes))
        if outside.size:
            place = _arrays.locate("target", labels, outside[0])
            raise IndexError(f"{place} is outside [0, {self.n_classes}): labels count from 0")
        return labels.astype(np.int64).reshape(-1)

    def _results(self, wrt: tuple[str, ...], model: Mapping[str, Array], request: Request) -> dict[str, Result]:
        """The gradients, by the names of the arrays."""
        outs: Any = (None,) * len(wrt)
        if request.out is not None:
            alone = len(wrt) == 1 and (wrt[0] == "tail_weights" or not isinstance(request.out, tuple))
            outs = (request.out,) if alone else request.out
            if not isinstance(outs, tuple) or len(outs) != len(wrt):
                raise TypeError(f"out: expected one for each of {', '.join(wrt)}")
        results = {}
        for argument, out in zip(wrt, outs, strict=True):
            names = self._names(argument)
            whole = len(names) == 1 or out is None
            members = [out] * len(names) if whole else self._tail_members(out, "the out of tail_weights")
            for name, member in zip(names, members, strict=True):
                results[name] = Result(model[name], member, None, request.shown.get(name))
        return results

    def _evaluate(self, arrays: tuple[Any, ...], request: Request) -> Any:
        input, target, *weights = arrays
        model = self._checked(input, *weights)
        shape = model["input"].shape[:-1]
        labels = self._labels(target, shape)
        if not shape:
            request = request.batched(model["input"].shape)
            model["input"] = model["input"][np.newaxis]
        itemsize, rows = _arrays.item_size(list(model.values())), len(labels)
        dtype = np.dtype(f"f{itemsize}")
        available = tuple(name for name in self.predictions if name != "head_bias" or name in model)
        wrt = available if request.wrt is None else self._resolve_wrt(request.wrt, available)
        row_weight, cotangent = request.weights(shape)
        denominator = float(rows) if row_weight is None or not rows else weight_sum((row_weight,), shape)

        value = self._value_array(request, shape, result_dtype(itemsize, model.values()))
        results = self._results(wrt, model, request) if request.order else {}
        outs = caller_arrays(request, value, results.values())
        operands = {name: _arrays.separated(_arrays.as_operand(a, name), outs) for name, a in model.items()}
        row_weight, cotangent = (_arrays.separated(a, outs) for a in (row_weight, cotangent))

        scale, cotangents = self._scale(denominator, cotangent)
        multipliers, cotangents = per_row((row_weight,), shape), per_row(cotangents, shape)
        values = None if value is None else np.empty(rows, dtype)
        by = {name: result.array for name, result in results.items()}
        total = 0.0
        with np.errstate(all="ignore"):  # infinities and NaN are results like others
            if rows:
                total = self._add_up(
                    operands,
                    labels,
                    dtype=dtype,
                    multipliers=multipliers,
                    cotangents=cotangents,
                    scale=scale,
                    values=values,
                    by=by,
                )
            else:
                for written in by.values():
                    written[...] = 0
            if value is not None and values is not None:
                store(values, value.reshape(rows))
        answer: Any = self._reduced(total, denominator) if self.reduction != "none" else value
        if not request.order:
            return answer
        gradients = tuple(self._nested(argument, results) for argument in wrt)
        gradient = gradients[0] if len(gradients) == 1 else gradients
        return (answer, gradient) if request.value else gradient

    def _nested(self, argument: str, results: Mapping[str, Result]) -> Any:
        """The gradient by an argument, in its form."""
        finished = [results[name].finish() for name in self._names(argument)]
        return tuple(zip(finished[::2], finished[1::2], strict=True)) if argument == "tail_weights" else finished[0]

    def _add_up(
        self,
        operands: Mapping[str, Array],
        labels: Array,
        *,
        dtype: np.dtype[Any],
        multipliers: tuple[Array, ...],
        cotangents: tuple[Array, ...],
        scale: float,
        values: Array | None,
        by: Mapping[str, Array],
    ) -> float:
        """The summed loss of all rows; writes the unreduced one and the gradients that are wanted."""
        input, first = operands["input"], self.cutoffs[0]
        clusters = np.searchsorted(self.cutoffs, labels, side="right")  # 0 for a frequent class
        by_input = by.get("input")
        if by_input is not None and by_input.dtype != dtype:
            by_input = np.empty(input.shape, dtype)
        total: float = self._linear.run(
            input,
            operands["head_weight"],
            operands.get("head_bias"),
            dtype.itemsize,
            np.where(clusters == 0, labels, first - 1 + clusters),
            None,
            multipliers,
            cotangents,
            scale,
            values,
            by_input,
            by.get("head_weight"),
            by.get("head_bias"),
            None,
        )
        for i, classes in enumerate(self._clusters):
            inner, outer = f"tail_weights[{i}][0]", f"tail_weights[{i}][1]"
            rows = np.flatnonzero(clusters == i + 1)
            if not rows.size:
                for name in {inner, outer} & by.keys():
                    by[name][...] = 0
                continue
            x, weight = fitting(input[rows], dtype), fitting(operands[inner], dtype)
            hidden = np.matmul(x, weight.T)
            by_hidden = np.empty_like(hidden) if inner in by or by_input is not None else None
            tail_values = None if values is None else np.empty(len(rows), dtype)
            total += self._linear.run(
                hidden,
                operands[outer],
                None,
                dtype.itemsize,
                labels[rows] - classes.start,
                None,
                tuple(a[rows] for a in multipliers),
                tuple(a[rows] for a in cotangents),
                scale,
                tail_values,
                by_hidden,
                by.get(outer),
                None,
                None,
            )
            if values is not None:
                values[rows] += tail_values
            if by_hidden is not None and inner in by:
                store(np.matmul(by_hidden.T, x), by[inner])
            if by_hidden is not None and by_input is not None:
                by_input[rows] += np.matmul(by_hidden, weight)
        if by_input is not None and by_input is not by["input"]:
            store(by_input, by["input"])
        return total
