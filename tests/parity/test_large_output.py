"""LinearCrossEntropyLoss and AdaptiveLogSoftmaxWithLoss: semantics.md sections 3.3 and 8.

The oracle rounds its matrix products too, and adds them up in another order: errors are counted in ULP of the largest
sums of absolute values.
"""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf
import lossfast.functional as F

from .oracle import DTYPES, REDUCTIONS, compare, tensor, upstream

#: Rows (None: unbatched), features, classes: few classes and many, one of everything.
SHAPES = [(None, 4, 6), (1, 1, 1), (5, 3, 4), (33, 16, 70), (300, 8, 1300)]
LINEAR, ADAPTIVE = "LinearCrossEntropyLoss", "AdaptiveLogSoftmaxWithLoss"


def layer(rows, features, classes, dtype, *, seed=0, soft=False, bias=True):
    """Arrays by name."""
    rng = np.random.default_rng(seed)
    lead = () if rows is None else (rows,)
    arrays = {
        "input": rng.normal(size=(*lead, features)),
        "linear_weight": rng.normal(size=(classes, features)),
        "target": np.asarray(rng.integers(0, classes, lead)),
    }
    if soft:
        arrays["target"] = rng.dirichlet(np.full(classes, 0.5), lead)
    if bias:
        arrays["linear_bias"] = rng.normal(size=classes)
    return {name: a.astype(dtype) if a.dtype.kind == "f" else a for name, a in arrays.items()}


def class_weights(classes, dtype):
    return np.random.default_rng(50).uniform(0.1, 3, classes).astype(dtype)


def wide(array):
    return np.asarray(array, np.float64)


def random_walk(terms):
    """How far the rounding errors of so many terms lead, where there are more than cancel unnoticed."""
    return max(1.0, terms**0.5 / 8)


def linear_terms(arrays, parameters, reduction, share):
    """Sizes of the sums behind value and gradients; `share` is what a row's gradient is multiplied by."""
    x, weight = np.atleast_2d(wide(arrays["input"])), wide(arrays["linear_weight"])
    bias = wide(arrays.get("linear_bias", 0.0))
    logits, size = x @ weight.T + bias, np.abs(x) @ np.abs(weight).T + np.abs(bias)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    w, eps = wide(parameters.get("weight", np.ones(len(weight)))), parameters.get("label_smoothing", 0.0)
    target = np.asarray(arrays["target"])
    if target.dtype.kind == "f":
        hot = np.atleast_2d(wide(target))
    else:
        labels = np.atleast_1d(target)
        hot = np.eye(len(weight))[np.where(labels == parameters.get("ignore_index", -100), 0, labels)]
    mass = w * ((1 - eps) * hot + eps / len(weight))
    total = mass.sum(1, keepdims=True)
    spread = 2 * (1 + size.max(1, keepdims=True))
    slope = np.atleast_1d(np.abs(share))[:, np.newaxis] * (total * p + mass) * spread
    value = (total * spread)[:, 0]
    return {
        "value": value.reshape(np.shape(share)) if reduction == "none" else (value * np.abs(share)).sum(),
        "input": random_walk(len(weight)) * (slope @ np.abs(weight)).reshape(np.shape(arrays["input"])),
        "linear_weight": random_walk(len(x)) * (slope.T @ np.abs(x)),
        "linear_bias": random_walk(len(x)) * slope.sum(0),
    }


def check_linear(arrays, parameters, oracle=tF.linear_cross_entropy):
    """Value and all gradients under every reduction."""
    rng = np.random.default_rng(7)
    dtype = arrays["input"].dtype.type
    rows = arrays["input"].shape[:-1]
    wrt = tuple(name for name in ("input", "linear_weight", "linear_bias") if name in arrays)
    for reduction in REDUCTIONS:
        cotangent = upstream(rng, rows, dtype) if reduction == "none" else -1.75
        leaves = {name: tensor(a, leaf=name in wrt) for name, a in arrays.items()}
        settings = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in parameters.items()}
        expected = oracle(**leaves, **settings, reduction=reduction)
        expected.backward(torch.as_tensor(np.asarray(cotangent, np.float64)).expand(expected.shape))
        loss = getattr(lf, LINEAR)(**parameters, reduction=reduction)
        value, grads = loss.value_and_grad(**arrays, grad_output=cotangent)
        again = F.linear_cross_entropy(**arrays, **parameters, reduction=reduction)
        np.testing.assert_array_equal(value, again)
        divisor = 1.0
        if reduction == "mean":
            counted = np.atleast_1d(arrays["target"])
            weight = parameters.get("weight", np.ones(len(arrays["linear_weight"])))
            kept = counted != parameters.get("ignore_index", -100)
            divisor = len(counted) if counted.dtype.kind == "f" else wide(weight)[counted[kept]].sum()
        share = np.broadcast_to(np.asarray(cotangent, np.float64) / divisor, rows)
        terms = linear_terms(arrays, parameters, reduction, share)
        what = f"{sorted(parameters)} {reduction} {arrays['input'].shape} {arrays['linear_weight'].shape}"
        compare(LINEAR, value, expected.detach().numpy(), dtype, terms=terms["value"], what=f"value {what}")
        for name, grad in zip(wrt, grads, strict=True):
            assert grad.dtype == dtype
            oracles = leaves[name].grad.numpy()
            compare(LINEAR, grad, oracles, dtype, terms=terms[name], what=f"gradient by {name} {what}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_labels(shape, bias, dtype):
    """Every parameter and every combination of them, on every shape."""
    arrays = layer(*shape, dtype, bias=bias)
    for smoothing in (0.0, 0.1, 1.0):
        for weighted in (False, True):
            parameters = {"label_smoothing": smoothing}
            if weighted:
                parameters["weight"] = class_weights(shape[2], dtype)
            check_linear(arrays, parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] and s[2] > 1], ids=str)
def test_ignored_labels(shape, dtype):
    arrays = layer(*shape, dtype)
    ignored = int(arrays["target"][0]) if shape[0] == 1 else int(arrays["target"][-1])
    if np.all(arrays["target"] == ignored):
        arrays["target"][0] = (ignored + 1) % shape[2]
    check_linear(arrays, {"ignore_index": ignored})
    check_linear(arrays, {"ignore_index": ignored, "label_smoothing": 0.25, "weight": class_weights(shape[2], dtype)})
    arrays["target"][::3] = -100
    if np.any(arrays["target"] >= 0):
        check_linear(arrays, {})


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_than_one_tile(dtype):
    check_linear(layer(2500, 2, 5000, dtype), {"label_smoothing": 0.1, "weight": class_weights(5000, dtype)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_probabilities(shape, dtype):
    arrays = layer(*shape, dtype, soft=True)
    for smoothing in (0.0, 0.1):
        check_linear(arrays, {"label_smoothing": smoothing})
        check_linear(arrays, {"label_smoothing": smoothing, "weight": class_weights(shape[2], dtype)})


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_the_cross_entropy_of_stored_logits(dtype):
    """The same oracle by the way that PyTorch's users went before 2.13."""

    def stored(input, linear_weight, target, linear_bias=None, **parameters):
        return tF.cross_entropy(tF.linear(input, linear_weight, linear_bias), target, **parameters)

    check_linear(layer(40, 12, 500, dtype, seed=3), {"label_smoothing": 0.1}, oracle=stored)
    check_linear(layer(40, 12, 500, dtype, seed=4, soft=True), {}, oracle=stored)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_by_probabilities_and_class_weights(weighted):
    arrays = layer(12, 5, 9, np.float64, soft=True)
    parameters = {"label_smoothing": 0.2}
    if weighted:
        parameters["weight"] = class_weights(9, np.float64)
    wrt = ("target", *parameters.keys() & {"weight"})
    leaves = {name: tensor(a, leaf=name in wrt) for name, a in arrays.items()}
    settings = {k: tensor(v, leaf=k in wrt) if isinstance(v, np.ndarray) else v for k, v in parameters.items()}
    tF.linear_cross_entropy(**leaves, **settings).backward()
    grads = lf.LinearCrossEntropyLoss(**parameters).grad(**arrays, wrt=wrt)
    for name, grad in zip(wrt, grads if len(wrt) > 1 else (grads,), strict=True):
        compare(LINEAR, grad, (leaves | settings)[name].grad.numpy(), np.float64, terms=4.0, what=f"gradient by {name}")


def test_edges():
    """All rows ignored, masked classes, NaN, one class, no rows."""
    for reduction in REDUCTIONS:
        for change in ("ignored", "masked", "nan", "one class", "no rows"):
            arrays = layer(0 if change == "no rows" else 6, 3, 1 if change == "one class" else 5, np.float64)
            if change == "ignored":
                arrays["target"][:] = -100
            elif change == "masked":
                arrays["linear_bias"][2] = -np.inf
                arrays["target"][:] = [0, 1, 3, 4, 0, 2]
            elif change == "nan":
                arrays["input"][1, 1] = np.nan
            wrt = ("input", "linear_weight", "linear_bias")
            leaves = {name: tensor(a, leaf=name in wrt) for name, a in arrays.items()}
            expected = tF.linear_cross_entropy(**leaves, reduction=reduction)
            expected.sum().backward()
            value, grads = lf.LinearCrossEntropyLoss(reduction=reduction).value_and_grad(**arrays)
            what = f"{change} {reduction}"
            compare(LINEAR, value, expected.detach().numpy(), np.float64, terms=100.0, what=f"value, {what}")
            for name, grad in zip(wrt, grads, strict=True):
                oracles = leaves[name].grad.numpy()
                compare(LINEAR, grad, oracles, np.float64, terms=100.0, what=f"gradient by {name}, {what}")


def test_what_pytorch_refuses_is_refused():
    good = layer(6, 3, 5, np.float64)
    for change in (
        {"target": np.full(6, 5)},
        {"target": np.full(6, -1)},
        {"target": np.zeros(5, int)},
        {"target": np.zeros((6, 1), int)},
        {"linear_weight": np.ones((5, 4))},
        {"linear_bias": np.ones(4)},
        {"target": np.zeros((6, 5), int)},
    ):
        arrays = {**good, **change}
        with pytest.raises((RuntimeError, IndexError, ValueError)):
            tF.linear_cross_entropy(**{name: tensor(a) for name, a in arrays.items()})
        with pytest.raises((IndexError, TypeError, ValueError)):
            lf.LinearCrossEntropyLoss()(**arrays)
    soft = layer(6, 3, 5, np.float64, soft=True)
    with pytest.raises((RuntimeError, ValueError)):
        tF.linear_cross_entropy(**{name: tensor(a) for name, a in soft.items()}, ignore_index=2)
    with pytest.raises(ValueError, match="ignore_index = 2"):
        lf.LinearCrossEntropyLoss(ignore_index=2)(**soft)
    for smoothing in (-0.1, 1.5):
        with pytest.raises((RuntimeError, ValueError)):
            torch.nn.LinearCrossEntropyLoss(3, 5, label_smoothing=smoothing)
        with pytest.raises(ValueError, match="label_smoothing"):
            lf.LinearCrossEntropyLoss(label_smoothing=smoothing)


# ---- adaptive softmax ------------------------------------------------------------------------------------------------

#: Features, classes, cutoffs, the divisor of the clusters' features: two and four clusters, one class in a cluster,
#: and clusters without features of their own.
MODELS = [(8, 11, [4, 7], 2.0), (16, 60, [10, 20, 21, 40], 2.0), (5, 4, [1], 4.0), (3, 30, [5, 12], 4.0)]


def module(model, head_bias, dtype, seed=0):
    """PyTorch's module in float64, with parameters that `dtype` has."""
    features, classes, cutoffs, divisor = model
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors is a no-op")
        made = torch.nn.AdaptiveLogSoftmaxWithLoss(
            features, classes, cutoffs, div_value=divisor, head_bias=head_bias, dtype=torch.float64
        )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.as_tensor(3 * parameter.numpy().astype(dtype)))
    return made


def weights_of(made, dtype):
    """The module's parameters as arguments."""
    arrays = {
        "head_weight": made.head.weight.detach().numpy().astype(dtype),
        "tail_weights": [tuple(part.weight.detach().numpy().astype(dtype) for part in pair) for pair in made.tail],
    }
    if made.head.bias is not None:
        arrays["head_bias"] = made.head.bias.detach().numpy().astype(dtype)
    return arrays


def size_of(array):
    return 8.0 * max(1.0, float(np.abs(array).max(initial=0)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("rows", [None, 1, 7, 200])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_adaptive_softmax(model, rows, head_bias, dtype):
    made = module(model, head_bias, dtype)
    rng = np.random.default_rng(3)
    lead = () if rows is None else (rows,)
    x = rng.normal(size=(*lead, model[0])).astype(dtype)
    y = np.asarray(rng.integers(0, model[1], lead))
    arrays = weights_of(made, dtype)
    for reduction in REDUCTIONS:
        made.zero_grad()
        leaf = tensor(x, leaf=True)
        output, mean = made(leaf, tensor(y))
        cotangent = upstream(rng, lead, dtype) if reduction == "none" else -1.75
        expected = {"none": -output, "sum": -output.sum(), "mean": mean}[reduction]
        expected.backward(torch.as_tensor(np.asarray(cotangent, np.float64)))
        loss = lf.AdaptiveLogSoftmaxWithLoss(*model[1:3], reduction=reduction)
        value, (by_input, by_head, by_tails, *by_bias) = loss.value_and_grad(x, y, **arrays, grad_output=cotangent)
        what = f"{model} {rows} {reduction}"
        exact = expected.detach().numpy()
        compare(ADAPTIVE, value, exact, dtype, terms=size_of(exact), what=f"value {what}")
        compare(ADAPTIVE, loss(x, y, **arrays), exact, dtype, terms=size_of(exact), what=f"value alone {what}")
        pairs = [(by_input, leaf.grad), (by_head, made.head.weight.grad)]
        pairs += [
            (g, part.weight.grad)
            for pair, tail in zip(by_tails, made.tail, strict=True)
            for g, part in zip(pair, tail, strict=True)
        ]
        if head_bias:
            pairs.append((by_bias[0], made.head.bias.grad))
        for grad, oracle in pairs:
            assert grad.dtype == dtype
            exact = np.zeros(grad.shape) if oracle is None else oracle.numpy()
            compare(ADAPTIVE, grad, exact, dtype, terms=size_of(exact), what=f"gradient {what}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_log_prob_and_predict(model, dtype):
    made = module(model, True, dtype)
    x = np.random.default_rng(5).normal(size=(300, model[0])).astype(dtype)
    loss, arrays = lf.AdaptiveLogSoftmaxWithLoss(*model[1:3]), weights_of(made, dtype)
    with torch.no_grad():
        log_p, classes = made.log_prob(tensor(x)).numpy(), made.predict(tensor(x)).numpy()
        one = made.log_prob(tensor(x[:1])).numpy()[0]
    compare(ADAPTIVE, loss.log_prob(x, **arrays), log_p, dtype, terms=size_of(log_p), what="log_prob")
    compare(ADAPTIVE, loss.log_prob(x[0], **arrays), one, dtype, terms=size_of(one), what="log_prob of one row")
    ordered = np.sort(log_p, 1)
    sure = ordered[:, -1] - ordered[:, -2] > 1e-4
    np.testing.assert_array_equal(loss.predict(x, **arrays)[sure], classes[sure])
    assert sure.mean() > 0.95


def test_what_pytorch_refuses_of_adaptive_softmax_is_refused():
    made, good = module(MODELS[0], False, np.float64), {"x": np.ones((6, 8)), "y": np.zeros(6, int)}
    loss, weights = lf.AdaptiveLogSoftmaxWithLoss(11, [4, 7]), weights_of(made, np.float64)
    for change in (
        {"y": np.full(6, 11)},
        {"y": np.full(6, -1)},
        {"y": np.full(6, -100)},
        {"y": np.zeros(5, int)},
        {"y": np.zeros((6, 1), int)},
        {"y": np.asarray(0)},
        {"x": np.ones((6, 7))},
        {"x": np.ones(8)},
    ):
        arrays = {**good, **change}
        with pytest.raises((RuntimeError, IndexError, ValueError)):
            made(tensor(arrays["x"]), tensor(arrays["y"]))
        with pytest.raises((IndexError, TypeError, ValueError)):
            loss(arrays["x"], arrays["y"], **weights)
    for cutoffs in ([], [0, 3], [3, 3], [5, 3], [3, 11], [3.5]):
        with pytest.raises(ValueError, match="cutoffs"):
            torch.nn.AdaptiveLogSoftmaxWithLoss(8, 11, cutoffs)
        with pytest.raises((ValueError, TypeError), match="cutoffs"):
            lf.AdaptiveLogSoftmaxWithLoss(11, cutoffs)


def test_no_rows():
    made = module(MODELS[0], True, np.float64)
    output, mean = made(torch.zeros((0, 8), dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
    arrays = weights_of(made, np.float64)
    for reduction, expected in (("none", output.detach().numpy()), ("mean", mean.detach().numpy())):
        loss = lf.AdaptiveLogSoftmaxWithLoss(11, [4, 7], reduction=reduction)
        np.testing.assert_equal(loss(np.zeros((0, 8)), np.zeros(0, int), **arrays), expected)
