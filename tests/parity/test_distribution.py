"""KLDivLoss, PoissonNLLLoss, GaussianNLLLoss: semantics.md section 5, and the deviations 10, 13, 18 and 21."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf

from . import oracle
from .oracle import DTYPES, bounded, compare, our_answer, sum_to, torch_answer, upstream

# of kl_div, whose mean is not the divergence
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")

inf, nan = np.inf, np.nan
BOTH, THREE = ("input", "target"), ("input", "target", "var")
KL = [("KLDivLoss", {}), ("KLDivLoss", {"log_target": True})]
POISSON = [
    ("PoissonNLLLoss", {"log_input": log_input, "full": full, **eps})
    for log_input in (True, False)
    for full in (False, True)
    for eps in ({}, {"eps": 0.25})
]
GAUSSIAN = [("GaussianNLLLoss", {"full": full, **eps}) for full in (False, True) for eps in ({}, {"eps": 0.5})]
PAIRS = KL + POISSON
SHAPES = [(), (1,), (7,), (1031,), (5, 1), (3, 17), (2, 3, 4, 5)]
BROADCASTS = [
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (3, 4)),
    ((2, 3, 4), (1, 3, 1)),
    ((), (5,)),
    ((5,), ()),
    ((1, 1), (2, 2)),
]


def arrays_of(loss, parameters, shapes, dtype, seed=0):
    """Arguments inside of their domains, zeros among the targets."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=shapes[0]), rng.random(shapes[1])
    if loss == "KLDivLoss":
        target = np.log(t) if parameters.get("log_target") else t
        return tuple(np.asarray(a, dtype) for a in (-np.abs(x) * 2, target))
    if loss == "PoissonNLLLoss":
        x = x * 2 if parameters["log_input"] else np.exp(x)
        least = 0.25 * parameters["full"]  # without counts PyTorch's gradient of Stirling's formula is NaN
        return np.asarray(x, dtype), np.maximum(rng.poisson(3, shapes[1]) + (t > 0.6) * t, least).astype(dtype)
    return tuple(np.asarray(a, dtype) for a in (x * 3, rng.normal(size=shapes[1]), rng.uniform(0, 3, shapes[2])))


def terms_of(loss, parameters, arrays):
    """The greatest terms of the value and of the gradients by each argument, unreduced."""
    arrays = [np.asarray(a, np.float64) for a in arrays]
    with np.errstate(all="ignore"):
        if loss == "KLDivLoss":
            x, t = arrays
            mass, log = (np.exp(t), t) if parameters.get("log_target") else (t, np.log(t))
            by_target = 1 + np.maximum(np.abs(x), bounded(log))
            value = np.abs(mass) * np.maximum(np.abs(x), bounded(log))
            return value, (np.abs(mass), by_target * (mass if parameters.get("log_target") else 1))
        if loss == "PoissonNLLLoss":
            x, t = arrays
            rate, log = (np.exp(x), x) if parameters["log_input"] else (x, np.log(x + parameters.get("eps", 1e-8)))
            more = np.where(parameters["full"] & (t > 1), 1 + bounded(np.log(t)), 0)
            by_input = rate + t if parameters["log_input"] else 1 + t / (rate + parameters.get("eps", 1e-8))
            return np.abs(rate) + t * np.abs(log) + t * more, (by_input, np.abs(log) + more)
        x, t, var = arrays
        v, d = np.maximum(var, parameters.get("eps", 1e-6)), np.abs(x - t)
        return np.abs(np.log(v)) / 2 + d**2 / v + parameters["full"], (d / v, d / v, 1 / v + d**2 / v**2)


def lost_by_pytorch(loss, parameters, arrays):
    """What a rounded x + eps turns the logarithm of a rate near 1 into, times its factor: value, and by the target."""
    if loss == "PoissonNLLLoss" and not parameters["log_input"]:
        return np.abs(np.asarray(arrays[1], np.float64)), 1.0
    return 0.0, 0.0


def check(loss, parameters, arrays, wrt, *, laid_out=None):
    """Value and gradients under every reduction."""
    rng, dtype = np.random.default_rng(7), arrays[0].dtype.type
    cls = getattr(lf, loss)
    shape = np.broadcast_shapes(*(a.shape for a in laid_out or arrays))
    value_terms, grad_terms = terms_of(loss, parameters, laid_out or arrays)
    value_terms = np.broadcast_to(value_terms, shape)
    lost, lost_by_target = lost_by_pytorch(loss, parameters, laid_out or arrays)
    lost = np.broadcast_to(lost, shape)
    for reduction in cls.reductions:
        cotangent = upstream(rng, shape, dtype) if reduction == "none" else -1.75
        expected = torch_answer(loss, arrays, parameters, reduction, wrt, grad_output=cotangent)
        got = our_answer(loss, arrays, parameters, reduction, wrt, grad_output=cotangent)
        divisor = {"mean": math.prod(shape), "batchmean": (*shape, 1)[0]}.get(reduction, 1) or 1.0
        if reduction == "batchmean" and arrays[0].shape[:1] != shape[:1]:
            continue  # deviation 10
        what = f"{parameters} {reduction} {[a.shape for a in arrays]}"
        size, floor = (a if reduction == "none" else a.sum() / divisor for a in (value_terms, value_terms + lost))
        compare(loss, got.value, expected.value, dtype, terms=size, floor=floor, what=f"value {what}")
        for name in wrt:
            k = cls.arrays.index(name)
            assert got.grads[name].dtype == arrays[k].dtype
            size, floor = (
                sum_to(np.broadcast_to(a, shape) * np.abs(cotangent) / divisor, (laid_out or arrays)[k].shape)
                for a in (grad_terms[k], grad_terms[k] + lost_by_target * (name == "target"))
            )
            size, floor = size.reshape(arrays[k].shape), floor.reshape(arrays[k].shape)
            compare(
                loss, got.grads[name], expected.grads[name], dtype,
                terms=size, floor=floor, what=f"gradient by {name} {what}",
            )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("loss", "parameters"), PAIRS + GAUSSIAN)
def test_shapes(loss, parameters, shape, dtype):
    """Value and all gradients, all reductions."""
    check(loss, parameters, arrays_of(loss, parameters, [shape] * 3, dtype), getattr(lf, loss).differentiable)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize(("loss", "parameters"), PAIRS)
def test_broadcasting(loss, parameters, shapes, dtype):
    """The gradient of a broadcast argument is summed; the mean is over the broadcast size."""
    check(loss, parameters, arrays_of(loss, parameters, shapes, dtype), BOTH)


VAR_SHAPES = [
    ((4, 2, 3), (4, 2)),
    ((4, 2, 3), (4, 2, 1)),
    ((4, 2, 3), (1, 2, 3)),
    ((4, 2, 3), (4, 1, 3)),
    ((5,), (1,)),
    ((5,), ()),
    ((1, 3), (1,)),
    ((3, 1), (3,)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "var_shape"), VAR_SHAPES, ids=str)
@pytest.mark.parametrize(("loss", "parameters"), GAUSSIAN)
def test_variances_of_every_shape(loss, parameters, shape, var_shape, dtype):
    """One per element, per row, or with one axis of length 1."""
    x, t, var = arrays_of(loss, parameters, [shape, shape, var_shape], dtype)
    laid_out = var[..., np.newaxis] if var_shape == shape[:-1] else var
    check(loss, parameters, (x, t, var), THREE, laid_out=(x, t, laid_out))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", [((4, 3), (3,), (4,)), ((3,), (4, 3), (3,)), ((3,), (4, 3), ())], ids=str)
def test_targets_that_broadcast_beside_variances(shapes, dtype):
    """Input and target broadcast, the variance goes by the shape of the input."""
    x, t, var = arrays_of("GaussianNLLLoss", {}, shapes, dtype)
    laid_out = var[..., np.newaxis] if var.shape == x.shape[:-1] else var
    check("GaussianNLLLoss", {"full": False}, (x, t, var), THREE, laid_out=(x, t, laid_out))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", oracle.REDUCTIONS)
@pytest.mark.parametrize("var", [0.25, 3.0, 0.0, nan])
def test_a_variance_that_is_a_number(var, reduction, dtype):
    """A constant in both; there it has to be a float."""
    x, t, _ = arrays_of("GaussianNLLLoss", {}, [(4, 3)] * 3, dtype)
    leaf = oracle.tensor(x, leaf=True)
    value = tF.gaussian_nll_loss(leaf, oracle.tensor(t), var, full=True, reduction=reduction)
    value.sum().backward()
    got, grad = lf.GaussianNLLLoss(full=True, reduction=reduction).value_and_grad(x, t, var)
    size = 1 + np.abs(value.detach().numpy())
    compare("GaussianNLLLoss", got, value.detach().numpy(), dtype, terms=size, what=f"var {var}")
    compare("GaussianNLLLoss", grad, leaf.grad.numpy(), dtype, floor=1.0, what=f"gradient, var {var}")
    with pytest.raises(TypeError):
        tF.gaussian_nll_loss(leaf, oracle.tensor(t), 1)
    assert lf.GaussianNLLLoss()(x, t, 1) == lf.GaussianNLLLoss()(x, t, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)], ids=str)
@pytest.mark.parametrize(("loss", "parameters"), PAIRS[::2] + GAUSSIAN[:1])
def test_empty(loss, parameters, shape, dtype):
    """None is empty, sum 0, mean NaN; a batchmean is divided by the length of the first axis."""
    check(loss, parameters, arrays_of(loss, parameters, [shape] * 3, dtype), getattr(lf, loss).differentiable)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "parameters"), PAIRS + GAUSSIAN[:2])
def test_large_reductions(loss, parameters, dtype):
    """Above the threading threshold, with an odd length."""
    check(loss, parameters, arrays_of(loss, parameters, [(100_003,)] * 3, dtype), getattr(lf, loss).differentiable)


@pytest.mark.parametrize(("loss", "parameters"), PAIRS[::3] + GAUSSIAN[:1])
def test_float64_targets_of_float32_predictions(loss, parameters):
    """Deviation 16: the predictions' precision decides, each gradient has the dtype of its argument."""
    arrays = list(arrays_of(loss, parameters, [(50,)] * 3, np.float32))
    arrays[1] = arrays[1].astype(np.float64)
    check(loss, parameters, tuple(arrays), BOTH)


# ---- infinities, NaN, and where the two part ------------------------------------------------------------------------


def answers(loss, parameters, arrays, wrt, dtype):
    """Value and gradients at some points: PyTorch's, and ours."""
    arrays = tuple(np.array(a, dtype) for a in arrays)
    return [answer(loss, arrays, parameters, "none", wrt) for answer in (torch_answer, our_answer)]


def same(answer, value, *grads):
    """Equal, NaN included, to a few ULP of float32."""
    np.testing.assert_allclose(answer.value, value, rtol=5e-7)
    for found, expected in zip(answer.grads.values(), grads, strict=True):
        np.testing.assert_allclose(found, expected, rtol=5e-7)


EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 3.0, 1e30, -1e30, inf, -inf, nan]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "parameters"), PAIRS)
def test_edge_values(loss, parameters, dtype):
    """Every pair: where PyTorch has numbers or infinities, they are ours; its NaN may be a limit here."""
    points = np.array(list(itertools.product(EDGES, EDGES)), dtype).T
    theirs, ours = answers(loss, parameters, points, BOTH, dtype)
    x, t = points.astype(np.float64)
    parts = [("value", ours.value, theirs.value)] + [(n, ours.grads[n], theirs.grads[n]) for n in BOTH]
    spoilt = np.isnan(x) | np.isnan(t)
    value_terms, grad_terms = terms_of(loss, parameters, points)
    lost, lost_by_target = lost_by_pytorch(loss, parameters, points)
    losses = (lost, 0.0, lost_by_target)
    for (part, found, expected), terms, more in zip(parts, (value_terms, *grad_terms), losses, strict=True):
        assert np.isnan(found[spoilt]).all(), part  # deviation 13
        # a term of float32 may overflow where PyTorch's float64 does not
        told = ~np.isnan(expected) & ~spoilt & ~(np.abs(expected) > np.finfo(dtype).max / 4)
        told &= ~(terms > np.finfo(dtype).max / 4) | np.isinf(expected)
        compare(
            loss, found[told], expected[told], dtype,
            terms=bounded(terms)[told], floor=bounded(terms + more)[told], what=f"{part} of {parameters}",
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_10_no_mass_counts_nothing(dtype):
    """PyTorch: 0 · inf is NaN in the value, and the gradient by the target is NaN; here they are the limits."""
    theirs, ours = answers("KLDivLoss", {}, ([-inf, -2], [0, 0]), BOTH, dtype)
    same(theirs, [nan, 0], [0, 0], [nan, nan])
    same(ours, [0, 0], [0, 0], [-inf, -inf])
    theirs, ours = answers("KLDivLoss", {"log_target": True}, ([-2, -inf], [-inf, -inf]), BOTH, dtype)
    same(theirs, [nan, nan], [0, 0], [nan, nan])
    same(ours, [0, 0], [0, 0], [0, 0])
    # mass at a log-probability of -inf is infinitely far, and negative mass has no logarithm
    for answer in answers("KLDivLoss", {}, ([-inf, -2], [0.5, -1]), BOTH, dtype):
        same(answer, [inf, nan], [-0.5, 1], [inf, nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_10_batchmean_divides_by_the_broadcast_batch(dtype):
    """PyTorch divides by the length of the input, also where the target makes the loss longer."""
    x, t = arrays_of("KLDivLoss", {}, [(1, 2), (3, 2)], dtype)
    total = float(tF.kl_div(oracle.tensor(x), oracle.tensor(t), reduction="sum"))
    assert float(tF.kl_div(oracle.tensor(x), oracle.tensor(t), reduction="batchmean")) == total
    loss = lf.KLDivLoss(reduction="batchmean")
    assert loss(x, t) == pytest.approx(total / 3, rel=1e-6)
    np.testing.assert_allclose(loss.grad(x, t), -t.sum(0, keepdims=True) / 3, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_13_nan_everywhere(dtype):
    """PyTorch's gradients by the other argument do not see a NaN."""
    theirs, ours = answers("KLDivLoss", {}, ([nan, -1], [0.5, nan]), BOTH, dtype)
    same(theirs, [nan, nan], [-0.5, nan], [nan, nan])
    same(ours, [nan, nan], [nan, nan], [nan, nan])
    theirs, ours = answers("PoissonNLLLoss", {}, ([nan, 1], [2, nan]), BOTH, dtype)
    same(theirs, [nan, nan], [nan, nan], [nan, -1])
    same(ours, [nan, nan], [nan, nan], [nan, nan])
    theirs, ours = answers("GaussianNLLLoss", {}, ([1, 1, nan], [0, nan, 0], [nan, 1, 1]), THREE, dtype)
    for answer in (theirs, ours):
        same(answer, [nan] * 3, [nan] * 3, [nan] * 3, [nan] * 3)


@pytest.mark.parametrize(("loss", "count"), [("KLDivLoss", 2), ("PoissonNLLLoss", 2)])
def test_18_a_result_greater_than_both(loss, count):
    """PyTorch broadcasts (3, 1) with (4,) to (3, 4); here that is a mistake."""
    arrays = np.ones((3, 1)), np.ones(4)
    assert getattr(tF, getattr(lf, loss).function)(*map(oracle.tensor, arrays), reduction="none").shape == (3, 4)
    with pytest.raises(ValueError, match=r"target has shape \(4,\); expected \(3, 1\)"):
        getattr(lf, loss)()(*arrays[:count])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("log_input", [True, False])
def test_21_stirling_has_no_derivative_outside_of_its_branch(log_input, dtype):
    """PyTorch's gradient by a count of 0 or less is NaN."""
    parameters, t = {"log_input": log_input, "full": True, "eps": 0.0}, [-1, 0, 0.5, 1, 4]
    theirs, ours = answers("PoissonNLLLoss", parameters, ([2.0] * 5, t), ("target",), dtype)
    slope = -2.0 if log_input else -np.log(2)
    last = slope + np.log(4) + 0.125
    same(theirs, theirs.value, [nan, nan, slope, slope, last])
    same(ours, theirs.value, [slope, slope, slope, slope, last])


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_counts_at_a_rate_of_0(dtype):
    """E^x - t x is 0 at a log-rate of -inf without counts; PyTorch gives NaN."""
    theirs, ours = answers("PoissonNLLLoss", {}, ([-inf], [0]), BOTH, dtype)
    same(theirs, [nan], [0], [inf])
    same(ours, [0], [0], [inf])
    theirs, ours = answers("PoissonNLLLoss", {"log_input": False}, ([-0.5, -0.5], [2, 0]), BOTH, dtype)
    for answer in (theirs, ours):  # below -eps
        same(answer, [nan, nan], [5, 1], [nan, nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_variances(dtype):
    """Straight through the clamp in both: the gradient by the variance is that at eps."""
    points = ([0, 1, 0.001, 2], [0, 0, 0, 0], [0, 1e-9, 1e-6, 1e-5])
    theirs, ours = answers("GaussianNLLLoss", {}, points, THREE, dtype)
    same(theirs, theirs.value, *(theirs.grads[n] for n in THREE))
    np.testing.assert_allclose(theirs.grads["var"][0], 5e5)
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-6)
    for name in THREE:
        np.testing.assert_allclose(ours.grads[name], theirs.grads[name], rtol=1e-5, atol=2e-1 * (name == "var"))


# ---- Hessians and refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", oracle.REDUCTIONS)
@pytest.mark.parametrize(("loss", "parameters"), PAIRS + GAUSSIAN)
def test_hessians(loss, parameters, reduction, dtype):
    """By each argument, for a cotangent of both signs, against PyTorch's double backward."""
    rng, shape = np.random.default_rng(3), (6, 17)
    arrays = arrays_of(loss, parameters, [shape] * 3, dtype)
    cls = getattr(lf, loss)
    if loss == "GaussianNLLLoss":  # not at the clamp, which has a gradient but no second one
        arrays = (*arrays[:2], np.maximum(arrays[2], dtype(parameters.get("eps", 0) + 0.0625)))
    elif loss == "PoissonNLLLoss":  # PyTorch's is NaN without counts
        arrays = (arrays[0], np.maximum(arrays[1], dtype(0.25)))
    cotangent = upstream(rng, shape, dtype) if reduction == "none" else np.asarray(-1.75, dtype)
    for k, name in enumerate(cls.arrays):
        leaves = [oracle.tensor(a, leaf=i == k) for i, a in enumerate(arrays)]
        value = getattr(tF, cls.function)(*leaves, **parameters, reduction=reduction)
        (grad,) = torch.autograd.grad(value, leaves[k], oracle.tensor(cotangent), create_graph=True)
        hess = np.zeros(shape)
        if grad.requires_grad:
            (second,) = torch.autograd.grad(grad.sum(), leaves[k], allow_unused=True)
            hess = hess if second is None else second.numpy(force=True)
        by, ours = cls(**parameters, reduction=reduction).grad_hess(*arrays, wrt=name, grad_output=cotangent)
        size = np.abs(np.asarray(cotangent, np.float64)) / (math.prod(shape) if reduction == "mean" else 1)
        if name == "var":
            v, d = arrays[2].astype(np.float64), (arrays[0] - arrays[1]).astype(np.float64)
            size = size * (1 / v**2 + d**2 / v**3)
        elif loss == "KLDivLoss" and name == "target" and parameters:
            size = size * np.exp(arrays[1].astype(np.float64)) * (2 + np.abs(arrays[1]) + np.abs(arrays[0]))
        else:
            size = np.abs(hess)
        compare(loss, ours, hess, dtype, terms=size, floor=size, ulps=6.0, what=f"Hessian by {name} {reduction}")
        alone = cls(**parameters, reduction=reduction).grad(*arrays, wrt=name, grad_output=cotangent)
        np.testing.assert_array_equal(by, alone)


o, z = np.ones, np.zeros
REFUSED = [
    *((f, (o(2), o(3)), {}) for f in ("kl_div", "poisson_nll_loss")),
    *((f, (o((2, 3)), o((3, 2))), {}) for f in ("kl_div", "poisson_nll_loss")),
    *(("kl_div", (o(2), o(2)), {"reduction": r}) for r in ("avg", "Batchmean", "")),
    *(("poisson_nll_loss", (o(2), o(2)), {"reduction": r}) for r in ("avg", "batchmean", "elementwise_mean")),
    *(("gaussian_nll_loss", (o(2), o(2), o(2)), {"reduction": r}) for r in ("avg", "batchmean")),
    *(("gaussian_nll_loss", (o((2, 3)), o((2, 3)), o(s)), {}) for s in ((3,), (1, 1), (), (2, 3, 1), (3, 2), (2, 2))),
    ("gaussian_nll_loss", (o((4, 2, 3)), o((4, 2, 3)), o((4, 1, 1))), {}),
    ("gaussian_nll_loss", (o(5), o(5), o((5, 1))), {}),
    ("gaussian_nll_loss", (o(5), o(4), o(5)), {}),
    *(("gaussian_nll_loss", (o(2), o(2), np.array([1, v])), {}) for v in (-1.0, -1e-30, -inf)),
    ("gaussian_nll_loss", (o(2), o(2), -0.5), {}),
    *((f, (o(2),), {}) for f in ("kl_div", "poisson_nll_loss", "gaussian_nll_loss")),
    ("gaussian_nll_loss", (o(2), o(2)), {}),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]} {[np.shape(a) for a in case[1]]} {case[2]}")
def test_both_refuse(case):
    """By the function, and here by every method, with the errors of api.md."""
    function, arrays, keywords = case
    given = [a if isinstance(a, float) else oracle.tensor(a) for a in arrays]
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        oracle.quietly(getattr(tF, function), *given, **keywords)
    ours = getattr(lf.functional, function)
    for method in (ours, ours.value_and_grad, ours.grad, ours.value_grad_hess):
        with pytest.raises((ValueError, TypeError)):
            method(*arrays, **keywords)
