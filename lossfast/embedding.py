"""Embeddings: losses of rows of features that should be near to each other or far apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossfast import _arrays
from lossfast._arrays import Array
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, Request, Result, _never, caller_arrays, flag, number, result_dtype
from lossfast._pairwise import PairwiseLoss
from lossfast._signatures import AnchorPositiveNegativeLoss, InputPairTargetLoss, InputTargetLoss
from lossfast.margin import MarginRankingLoss

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lossfast._arrays import Shape


__all__ = [
    "ContrastiveLoss",
    "CosineEmbeddingLoss",
    "DistanceContrastiveLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]

#: From two arrays of embeddings to their distances and the derivatives of these by the embeddings.
DistanceFunction = Callable[[Array, Array], tuple[Any, Any, Any]]

#: What PyTorch adds to squared norms, in every precision.
_COSINE_EPS = float(np.float32(1e-12))
#: The least norm of PyTorch's cosine_similarity, and what its PairwiseDistance adds to differences.
_SIMILARITY_EPS, _DISTANCE_EPS = 1e-8, 1e-6


def _norm(difference: Array, p: float) -> Array:
    """The p-norm along the last axis, for any real p; that of no features is 0."""
    size = np.abs(difference)
    if not size.shape[-1]:
        return np.zeros(size.shape[:-1], size.dtype)
    if np.isinf(p):
        extreme: Array = size.max(-1) if p > 0 else size.min(-1)
        return extreme
    if p == 0:
        counted: Array = np.where(np.isnan(size), size, size != 0).sum(-1)
        return counted
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        power: Array = (size**p).sum(-1) ** (1 / size.dtype.type(p))
    return power


# ---- pairs ---------------------------------------------------------------------------------------------------------


class CosineEmbeddingLoss(InputPairTargetLoss, PairwiseLoss):
    r"""Similar pairs (target 1) lose one minus their cosine, others (target -1) what it is above a margin.

    .. math::
        \ell = \begin{cases} 1 - c & t = 1 \\ \max(0, c - m) & t = -1 \end{cases}, \qquad
        c = \frac{x_1 \cdot x_2}{\sqrt{(|x_1|^2 + \epsilon)(|x_2|^2 + \epsilon)}}, \qquad
        \partial_{x_1} c = \frac{x_2}{\sqrt{\dots}} - \frac{c\,x_1}{|x_1|^2 + \epsilon}

    Parameters
    ----------
    margin : float
        The margin m; between 0 and 0.5, usually.
    reduction : {"mean", "sum", "none"}
        The mean is over the pairs.

    Raises
    ------
    ValueError
        If the inputs are not both (N, D) or both (D,), or the target has an axis too many.

    Notes
    -----
    Arrays: ``input1`` and ``input2`` of shape (N, D) and ``target`` of shape (N,), or (D,) and (); N may be 1 in one of
    them. Another target than 1 and -1 gives 0. ε is :math:`10^{-12}` rounded to float32, in every precision: two equal
    unit vectors lose :math:`10^{-12}`, a zero vector has the cosine 0 and a gradient of the size :math:`10^6`. The
    derivative at the kink is that of :math:`c - m`. Squares that overflow are avoided (PyTorch's cosine is 0 there);
    infinite features give the direction that they are the greatest of, equal to each other. A NaN gives a NaN value
    and NaN gradients in its row. No derivative by the target. Curvatures: none.

    Accuracy: the value within 4 ULP of 1, gradients within 4 ULP of the greatest term.
    """

    kernel = "cosine_embedding"
    trailing_axes = False
    function = "cosine_embedding_loss"
    meaning: ClassVar = {"target": "signs"}
    differentiable = ("input1", "input2")
    kernel_parameters = ("margin",)

    margin: float = number(default=0.0)

    def _shape(self, embeddings: dict[str, Array]) -> Shape:
        first, second = embeddings.values()
        for name, array in embeddings.items():
            if array.ndim not in (1, 2) or array.ndim != first.ndim:
                raise ValueError(
                    f"{name} has shape {array.shape}; expected (N, D) with targets (N,), or (D,) with one target, for "
                    f"both inputs (of shapes {first.shape} and {second.shape}): use {name}.reshape(-1, D)"
                )
        return super()._shape(embeddings)

    def _rows(self, target: Array, rows: Shape) -> Shape:
        if target.ndim != len(rows):
            _arrays.same_shape("target", target.shape, rows, "one for each row of features")
        return super()._rows(target, rows)

    def definition(self, input1: Array, input2: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        squares = ((x * x).sum(-1) + _COSINE_EPS for x in (input1, input2))
        cosine = (input1 * input2).sum(-1) / np.sqrt(np.prod(np.broadcast_arrays(*squares), axis=0))
        apart = np.maximum(cosine - self.margin, 0)
        loss = np.where(target == 1, 1 - cosine, np.where(target == -1, apart, cosine * 0))
        return np.where(np.isnan(target), target, loss), np.ones((), loss.dtype)


class ContrastiveLoss(InputPairTargetLoss, PairwiseLoss):
    r"""Similar pairs (target 1) lose their squared distance, others (target 0) that to a margin.

    .. math::
        \ell = f\,(t\,d^2 + (1 - t)\,h^2), \quad d = |x_1 - x_2|, \quad h = \max(0, m - d), \qquad
        \partial_{x_1} \ell = 2 f\,\Bigl(t - (1 - t)\,\frac hd\Bigr)(x_1 - x_2)

    Parameters
    ----------
    margin : float
        The margin m; not negative.
    factor : float
        The factor f; ½ is that of the paper.
    squared : bool
        False: of d and h themselves, with the derivative :math:`f\,(t - (1 - t)\,[d \le m])` times :math:`(x_1 - x_2) /
        d`.
    reduction : {"mean", "sum", "none"}
        The mean is over the pairs.

    Raises
    ------
    ValueError
        If the features differ in number, or a target is outside of [0, 1].

    Notes
    -----
    Arrays: ``input1`` and ``input2`` of shape (..., D) and ``target`` of the shape without D; they may broadcast to one
    of them. The target is **1 for similar** pairs and 0 for others; what is between mixes them. At the distance 0 the
    gradient is 0; the derivative at the kink of h is that of :math:`m - d`. Squares neither overflow nor vanish.
    An infinite distance has an infinite value for similar pairs and 0 for others. A NaN gives a NaN value and NaN
    gradients in its row. The derivative by the target is that of the formula. Curvatures: none.

    Accuracy: the value and gradients within 4 ULP of the greatest term.

    References
    ----------
    .. [1] R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR 2006,
       :doi:`10.1109/CVPR.2006.100`.
    """

    kernel = "contrastive"
    function = "contrastive_loss"
    meaning: ClassVar = {"target": "shares"}
    differentiable = ("input1", "input2", "target")
    domains: ClassVar = {"target": Interval(0.0, 1.0)}
    domain_hint = ": it is 1 for similar pairs and 0 for others"
    kernel_parameters = ("margin", "factor", "squared")

    margin: float = number(default=1.0, domain=Interval(low=0.0))
    factor: float = number(default=0.5)
    squared: bool = flag(default=True)

    def definition(self, input1: Array, input2: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        return _contrastive(self, _norm(input1 - input2, 2.0), target)


class DistanceContrastiveLoss(InputTargetLoss, ElementwiseLoss):
    r"""The contrastive loss of given distances: of similar pairs (target 1) their square, of others that to a margin.

    .. math::
        \ell(d, t) = f\,(t\,d^2 + (1 - t)\,h^2), \quad h = \max(0, m - d), \qquad
        \partial_d \ell = 2 f\,(t\,d - (1 - t)\,h), \quad \partial_d^2 \ell = 2 f\,(t + (1 - t)\,[d \le m])

    Parameters
    ----------
    margin : float
        The margin m; not negative.
    factor : float
        The factor f; the paper has ½, implementations on distances 1.
    squared : bool
        False: of d and h themselves, with the derivative :math:`f\,(t - (1 - t)\,[d \le m])`.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements of the broadcast loss.

    Raises
    ------
    ValueError
        If a target is outside of [0, 1].

    Notes
    -----
    Arrays: ``input``, the distances d, and ``target``; one may broadcast to the other. The target is **1 for similar**
    pairs and 0 for others; what is between mixes them. The derivative at the kink is that of :math:`m - d`; that by the
    target is :math:`f\,(d^2 - h^2)`. A NaN gives a NaN value and gradient. Curvatures: exact (0 if not squared), psd,
    unit.

    Accuracy: the value and derivatives within 4 ULP, of the greatest term for targets between 0 and 1.

    References
    ----------
    .. [1] R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR 2006,
       :doi:`10.1109/CVPR.2006.100`.
    """

    kernel = "distance_contrastive"
    function = "distance_contrastive_loss"
    meaning: ClassVar = {"target": "shares"}
    curved = ("input",)
    domains: ClassVar = {"target": Interval(0.0, 1.0)}
    domain_hint = ": it is 1 for similar pairs and 0 for others"
    kernel_parameters = ("margin", "factor")

    margin: float = number(default=1.0, domain=Interval(low=0.0))
    factor: float = number(default=1.0)
    squared: bool = flag(default=True)

    def _kernel_name(self) -> str:
        return self.kernel + "_squared" * self.squared

    def definition(self, input: Array, target: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        return _contrastive(self, input, target)


def _contrastive(
    loss: ContrastiveLoss | DistanceContrastiveLoss, distance: Array, target: Array
) -> tuple[Array, Array]:
    apart = np.maximum(loss.margin - distance, 0)
    with np.errstate(over="ignore"):
        near, far = (distance**2, apart**2) if loss.squared else (distance, apart)
    unreduced = loss.factor * (_times(target, near) + _times(1 - target, far))
    return unreduced, np.ones((), unreduced.dtype)


def _times(factor: Array, x: Array) -> Array:
    """0 where the factor 0 says that the term is absent, however great."""
    with np.errstate(invalid="ignore"):
        return np.where((factor == 0) & ~np.isnan(x), 0, factor * x)


# ---- triplets ------------------------------------------------------------------------------------------------------
class _TripletLoss(AnchorPositiveNegativeLoss, PairwiseLoss):
    """A loss of the distances of triplets."""

    differentiable: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")

    margin: float = number(default=1.0, domain=Interval(low=0.0, low_inclusive=False))
    swap: bool = flag(default=False)

    def _shape(self, embeddings: dict[str, Array]) -> Shape:
        anchor = next(iter(embeddings.values()))
        for name, array in embeddings.items():
            if array.ndim != anchor.ndim:
                raise ValueError(
                    f"{name} has shape {array.shape}; expected {anchor.ndim} dimensions, as anchor of shape "
                    f"{anchor.shape} has: use {name}[np.newaxis] or so for one that is to be repeated"
                )
        return _arrays.joint_shape(embeddings)

    def _distance(self, u: Array, v: Array) -> Array:
        """For the definition: the distances along the last axis."""
        raise NotImplementedError

    def definition(self, anchor: Array, positive: Array, negative: Array) -> tuple[Array, Array]:
        """Compute the unreduced loss."""
        if not anchor.ndim:
            anchor, positive, negative = (np.reshape(a, 1) for a in (anchor, positive, negative))
        near, far = self._distance(anchor, positive), self._distance(anchor, negative)
        if self.swap:
            far = np.minimum(far, self._distance(positive, negative))
        with np.errstate(invalid="ignore"):
            loss = np.asarray(np.maximum(self.margin + near - far, 0))
        return loss, np.ones((), loss.dtype)


class TripletMarginLoss(_TripletLoss):
    r"""An anchor should be nearer to a positive than to a negative example, by a margin.

    .. math::
        \ell = \max(0, z), \quad z = m + D(a, p) - D(a, n), \quad D(u, v) = \Vert u - v + \epsilon \Vert_p, \qquad
        \partial_{u_i} D = \operatorname{sign}(e_i)\,\Bigl(\frac{|e_i|}{D}\Bigr)^{p - 1}, \; e = u - v + \epsilon

    Parameters
    ----------
    margin : float
        The margin m; positive.
    p : float
        The norm's degree; any real number or infinity. 0 counts the features that differ.
    eps : float
        ε, added to every difference.
    swap : bool
        Compare the negative with the nearer of anchor and positive: :math:`\min(D(a, n), D(p, n))` (Balntas et al.).
    reduction : {"mean", "sum", "none"}
        The mean is over the triplets.

    Raises
    ------
    ValueError
        If the arrays differ in their number of dimensions, or do not broadcast to one of them.

    Notes
    -----
    Arrays: ``anchor``, ``positive`` and ``negative`` of shape (..., D), of the same number of dimensions; they may
    broadcast to one of them, features included, where a distance is over the features that its two arrays have.
    Derivatives as PyTorch has them: that at the kink is that of z; at the distance 0, and by a feature that does not
    differ, it is 0; for infinite p the features that differ most share it, and with ``swap`` two equal distances do.
    Squares that overflow or vanish are avoided. A difference that is infinite is the direction of its distance,
    together with others; two infinite distances make NaN. A NaN gives a NaN value and NaN gradients in its row.
    Curvatures: none.

    Accuracy: the value and gradients within 4 ULP of the greatest term for p of 1, 2 and infinity. For another p the
    feature i of a gradient loses :math:`|(p - 1) \log(|e_i| / \max |e|)|` ULP more (the minimum for negative p).

    References
    ----------
    .. [1] V. Balntas, E. Riba, D. Ponsa, K. Mikolajczyk, "Learning local feature descriptors with triplets and shallow
       convolutional neural networks", BMVC 2016, :doi:`10.5244/C.30.119`.
    """

    kernel = "triplet_margin"
    function = "triplet_margin_loss"
    kernel_parameters = ("margin", "p", "eps", "swap")

    p: float = number(default=2.0)
    eps: float = number(default=1e-6)

    def _distance(self, u: Array, v: Array) -> Array:
        return _norm(u - v + self.eps, self.p)


class TripletMarginWithDistanceLoss(_TripletLoss):
    r"""The loss of triplets with a distance of your choice.

    .. math::
        \ell = \max(0, m + D(a, p) - D(a, n)), \qquad
        \partial_a \ell = [\ell \ge 0]\,(\partial_u D(a, p) - \partial_u D(a, n)), \quad \dots

    Parameters
    ----------
    distance_function : str or callable, optional
        ``"euclidean"`` (with PyTorch's ε of :math:`10^{-6}` added to every difference; the default), ``"manhattan"``,
        ``"chebyshev"``, ``"sqeuclidean"`` or ``"cosine"`` (one minus the cosine, of norms of at least
        :math:`10^{-8}`). Or a function of two arrays u and v, alike in shape, that returns ``(distances, grad_u,
        grad_v)``: distances of the shape of u without its last axes, or with axes of length 1, and the derivatives of
        each distance by the elements of u and v that it is of, in their shape. A function of a module can be pickled
        with the loss.
    margin : float
        The margin m; positive.
    swap : bool
        Compare the negative with the nearer of anchor and positive: :math:`\min(D(a, n), D(p, n))` (Balntas et al.).
    reduction : {"mean", "sum", "none"}
        The mean is over the distances of a pair of arrays.

    Raises
    ------
    ValueError
        If the arrays differ in their number of dimensions, or do not broadcast to one of them; if no distance has that
        name, or what the function returns has another shape.
    TypeError
        If the function returns anything else.

    Notes
    -----
    Arrays: ``anchor``, ``positive`` and ``negative`` of shape (..., D), of the same number of dimensions; they may
    broadcast to one of them. A function is given them broadcast, in the precision of the computation. Kinks, ties,
    infinities and NaN are treated as by `TripletMarginLoss`, which also has the distances of any norm. Curvatures:
    none.

    Accuracy: the value and gradients within 4 ULP of the greatest term, beside what a function of yours loses.

    References
    ----------
    .. [1] V. Balntas, E. Riba, D. Ponsa, K. Mikolajczyk, "Learning local feature descriptors with triplets and shallow
       convolutional neural networks", BMVC 2016, :doi:`10.5244/C.30.119`.
    """

    kernel = "triplet_margin_with_distance"
    function = "triplet_margin_with_distance_loss"

    distance_function: str | DistanceFunction | None = None

    #: p and eps of the distances that are norms.
    _NORMS: ClassVar = {"euclidean": (2.0, _DISTANCE_EPS), "manhattan": (1.0, 0.0), "chebyshev": (np.inf, 0.0)}
    _OTHERS: ClassVar = ("sqeuclidean", "cosine")

    def _name(self) -> str:
        return "euclidean" if self.distance_function is None else str(self.distance_function)

    def _kernel_call(self) -> tuple[str, tuple[float, ...]]:
        if self._name() in self._NORMS:
            p, eps = self._NORMS[self._name()]
            return TripletMarginLoss.kernel, (self.margin, p, eps, float(self.swap))
        return self.kernel, (self.margin, float(self.swap), float(self._name() == "cosine"))

    def _bind(self) -> None:
        if callable(self.distance_function):
            object.__setattr__(self, "_quick", _never)
            return
        names = (*self._NORMS, *self._OTHERS)
        if self._name() not in names:
            raise ValueError(
                f"distance_function = {self.distance_function!r} is not one of {', '.join(map(repr, names))}, and no "
                "function"
            )
        super()._bind()

    def _distance(self, u: Array, v: Array) -> Array:
        if callable(self.distance_function):
            return self._checked(*np.broadcast_arrays(u, v))[0]
        name = self._name()
        if name in self._NORMS:
            p, eps = self._NORMS[name]
            return _norm(u - v + eps, p)
        if name == "sqeuclidean":
            return np.asarray(((u - v) ** 2).sum(-1))
        norms = (np.maximum(np.sqrt((x * x).sum(-1)), _SIMILARITY_EPS) for x in np.broadcast_arrays(u, v))
        return np.asarray(1 - (u * v).sum(-1) / np.prod(tuple(norms), axis=0))

    # ---- a distance function of the caller's -----------------------------------------------------------------------

    def _checked(self, u: Array, v: Array) -> tuple[Array, Array, Array]:
        """What the distance function says of two arrays of the same shape; distances have as many axes as these."""
        function: Any = self.distance_function
        name = getattr(function, "__name__", repr(function))
        returned = function(u, v)
        if not isinstance(returned, tuple | list) or len(returned) != 3:
            what = f"{len(returned)} items" if isinstance(returned, tuple | list) else f"{type(returned).__name__}"
            raise TypeError(f"{name} returned {what}; expected (distances, grad_u, grad_v)")
        parts = zip(("distances", "grad_u", "grad_v"), returned, strict=True)
        distances, *grads = (_arrays.as_operand(a, f"{part} of {name}") for part, a in parts)
        fits = distances.ndim <= u.ndim and all(d in (1, n) for d, n in zip(distances.shape, u.shape, strict=False))
        if not fits:
            raise ValueError(
                f"{name} returned distances of shape {distances.shape}; expected {u.shape[:-1]}, one for each row of "
                f"arrays of shape {u.shape}, or fewer axes of these"
            )
        for part, grad in zip(("grad_u", "grad_v"), grads, strict=True):
            if grad.shape != u.shape:
                raise ValueError(
                    f"{name} returned {part} of shape {grad.shape}; expected {u.shape}, that of its arrays"
                )
        return distances, grads[0], grads[1]

    def _evaluate(self, arrays: tuple[ArrayLike, ...], request: Request) -> Any:
        if not callable(self.distance_function):
            return super()._evaluate(arrays, request)
        originals = {name: _arrays.as_array(a, name) for name, a in zip(self.arrays, arrays, strict=True)}
        joint = self._shape(originals)
        itemsize = _arrays.item_size(list(originals.values()))
        dtype = result_dtype(itemsize, originals.values())
        wrt = self._resolve_wrt(request.wrt, self.differentiable)
        anchor, positive, negative = (
            np.broadcast_to(a.astype(f"f{itemsize}", copy=False), joint) for a in originals.values()
        )
        near, far = self._checked(anchor, positive), self._checked(anchor, negative)
        swapped = self._checked(positive, negative) if self.swap else far
        shape = near[0].shape
        for distances, *_ in (far, swapped):
            _arrays.same_shape("distances", distances.shape, shape, "that of the others")
        share: Any = 1.0
        if self.swap:
            share = np.where(far[0] < swapped[0], 1.0, np.where(far[0] > swapped[0], 0.0, 0.5))

        value = self._value_array(request, shape, dtype)
        grads = {
            name: Result(originals[name], out, joint, None)
            for name, out in zip(wrt, request.outs(wrt)[0], strict=True)
            if request.order
        }
        caller_arrays(request, value, grads.values())
        # of given distances it is a loss of their ranking
        ranking = MarginRankingLoss(margin=self.margin, reduction=self.reduction)
        scores = (near[0].astype(anchor.dtype), np.minimum(far[0], swapped[0]).astype(anchor.dtype))
        second = np.broadcast_to(anchor.dtype.type(-1), shape)
        if not request.order:
            answer = ranking(*scores, second, sample_weight=request.sample_weight)
        else:
            answer, (by_near, by_far) = ranking.value_and_grad(
                *scores, second, sample_weight=request.sample_weight, grad_output=request.grad_output
            )
            chains = (
                ("anchor", "positive", by_near, near),
                ("anchor", "negative", by_far * share, far),
                ("positive", "negative", by_far * (1 - share), swapped),
            )
            totals = {
                name: sum(
                    _chained(by, grad)
                    for u, v, by, (_, grad_u, grad_v) in chains
                    for which, grad in ((u, grad_u), (v, grad_v))
                    if which == name
                )
                for name in grads
            }
            for name, total in totals.items():  # which may replace what a function returned as its gradient
                grads[name].array[...] = total
        if value is not None:
            value[...] = answer
            answer = value
        return request.answer(answer, grads, {})


def _chained(by_distance: Array, grad: Array) -> Array:
    """The derivatives of distances times those by them; where these are 0 a distance does not count."""
    by = by_distance.reshape(by_distance.shape + (1,) * (grad.ndim - by_distance.ndim))
    with np.errstate(invalid="ignore"):
        return np.where(by == 0, 0, by * grad)
