"""Exact Hessian diagonals, semantics.md section 13, against PyTorch's double backward."""

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf

from . import oracle
from .oracle import DTYPES, REDUCTIONS, compare, upstream

CASES = [
    ("MSELoss", {}, "real"),
    ("L1Loss", {}, "real"),
    ("SmoothL1Loss", {"beta": 0.3}, "real"),
    ("SmoothL1Loss", {"beta": 0.0}, "real"),
    ("HuberLoss", {"delta": 1.5}, "real"),
    ("BCELoss", {}, "probability"),
    ("BCEWithLogitsLoss", {}, "real"),
    ("MSELoss", {"weight": True}, "real"),
    ("HuberLoss", {"weight": True}, "real"),
    ("BCELoss", {"weight": True}, "probability"),
    ("BCEWithLogitsLoss", {"weight": True, "pos_weight": True}, "real"),
]


def double_backward(loss, arrays, parameters, reduction, cotangent, *, name):
    """Second derivatives of every element by itself: the sum of an elementwise gradient differentiated again."""
    leaves = [oracle.tensor(a, leaf=n == name) for n, a in zip(("input", "target"), arrays, strict=True)]
    keywords = {k: oracle.tensor(p) if isinstance(p, np.ndarray) else p for k, p in parameters.items()}
    value = getattr(tF, getattr(lf, loss).function)(*leaves, **keywords, reduction=reduction)
    leaf = leaves[("input", "target").index(name)]
    (grad,) = torch.autograd.grad(value, leaf, oracle.tensor(cotangent), create_graph=True)
    if not grad.requires_grad:  # constant
        return np.zeros(leaf.shape)
    (hess,) = torch.autograd.grad(grad.sum(), leaf, allow_unused=True)
    return np.zeros(leaf.shape) if hess is None else hess.numpy(force=True)  # a lazy zero


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["input", "target"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_elementwise(case, name, reduction, dtype):
    """By the input and by the target, for a cotangent of both signs."""
    loss, parameters, kind = case
    rng = np.random.default_rng(0)
    shape = (6, 17)
    x = (rng.uniform(0.02, 0.98, shape) if kind == "probability" else rng.normal(size=shape) * 3).astype(dtype)
    parameters = {k: rng.uniform(0.2, 2, shape).astype(dtype) if v is True else v for k, v in parameters.items()}
    for t in (rng.uniform(0, 1, shape).astype(dtype), rng.integers(0, 2, shape).astype(dtype)):
        cotangent = upstream(rng, shape, dtype) if reduction == "none" else np.asarray(-1.75, dtype)
        expected = double_backward(loss, (x, t), parameters, reduction, cotangent, name=name)
        grad, hess = getattr(lf, loss)(**parameters, reduction=reduction).grad_hess(
            x, t, wrt=name, grad_output=cotangent
        )
        size = np.abs(expected) + np.abs(np.asarray(cotangent, np.float64)) * 16 * (loss == "BCEWithLogitsLoss")
        if loss == "BCELoss" and name == "input":  # PyTorch adds 1e-12 to x(1 - x) before it divides
            wide = x.astype(np.float64)
            size = size + size * (2.5e-12 / (oracle.ORACLE_ULPS * oracle.EPS64)) / (wide * (1 - wide))
        what = f"Hessian by {name} {reduction}"
        compare(loss, hess, expected, dtype, terms=np.abs(expected), floor=size, ulps=6.0, what=what)
        alone = getattr(lf, loss)(**parameters, reduction=reduction).grad(x, t, wrt=name, grad_output=cotangent)
        np.testing.assert_array_equal(grad, alone)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 70)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "probabilities", "NLL"])
def test_class_axis(kind, smoothing, shape, reduction, dtype):
    """The diagonal of PyTorch's full Hessian."""
    rng = np.random.default_rng(0)
    axis = min(1, len(shape) - 1)
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    x = (rng.normal(size=shape) * 2).astype(dtype)
    target = (
        rng.uniform(0, 1, shape).astype(dtype)
        if kind == "probabilities"
        else np.asarray(rng.integers(0, shape[axis], rows))
    )
    parameters = {"weight": rng.uniform(0.2, 2, shape[axis]).astype(dtype)}
    loss = "NLLLoss" if kind == "NLL" else "CrossEntropyLoss"
    if kind != "NLL":
        parameters["label_smoothing"] = smoothing
    cotangent = upstream(rng, rows, dtype) if reduction == "none" else np.asarray(-1.75, dtype)

    def total(leaf):
        keywords = {k: oracle.tensor(p) if isinstance(p, np.ndarray) else p for k, p in parameters.items()}
        value = getattr(tF, getattr(lf, loss).function)(leaf, oracle.tensor(target), **keywords, reduction=reduction)
        return (value * oracle.tensor(cotangent)).sum()

    full = torch.autograd.functional.hessian(total, oracle.tensor(x)).numpy().reshape(x.size, x.size)
    grad, hess = getattr(lf, loss)(**parameters, reduction=reduction).grad_hess(x, target, grad_output=cotangent)
    compare(
        loss, hess, np.diagonal(full).reshape(shape), dtype, floor=20.0, ulps=8.0, what=f"Hessian {kind} {reduction}"
    )
    np.testing.assert_array_equal(
        grad, getattr(lf, loss)(**parameters, reduction=reduction).grad(x, target, grad_output=cotangent)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_at_the_kink(dtype):
    """Ours is that of the quadratic side; PyTorch's is stated, so that a change is noticed."""
    for loss, parameters, quadratic, theirs in [
        ("HuberLoss", {"delta": 1.5}, 1.0, 0.0),
        ("SmoothL1Loss", {"beta": 0.5}, 2.0, 0.0),
    ]:
        border = next(iter(parameters.values()))
        x = np.array([border, -border, border * 1.001, -border * 1.001, border * 0.999], dtype)
        t = np.zeros_like(x)
        observed = double_backward(loss, (x, t), parameters, "sum", np.ones(()), name="input")
        np.testing.assert_allclose(observed, [theirs, theirs, 0, 0, quadratic])
        _, hess = getattr(lf, loss)(**parameters, reduction="sum").grad_hess(x, t)
        np.testing.assert_allclose(hess, [quadratic, quadratic, 0, 0, quadratic])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ignored_rows_and_masked_logits(smoothing, dtype):
    """Neither has curvature."""
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    x[2, 1] = -np.inf
    y = np.array([0, -100, 2, 1])
    _, hess = lf.CrossEntropyLoss(label_smoothing=smoothing, reduction="sum").grad_hess(x, y)
    p = torch.softmax(oracle.tensor(x), 1)
    expected = (p * (1 - p)).numpy()
    expected[1] = 0
    compare("CrossEntropyLoss", hess, expected, dtype, floor=16.0, ulps=8.0, what="Hessian of ignored and masked")
    assert not hess[1].any()
    assert hess[2, 1] == 0
