"""Margin losses: values and every gradient, over shapes, parameters, reductions and edge values."""

import numpy as np
import pytest

import lossfast as lf

from . import oracle
from .oracle import DTYPES, REDUCTIONS, compare


def check(name, arrays, parameters, reduction, wrt, dtype, *, terms=4.0):  # noqa: PLR0917
    """Both answers, with integer arrays as they are."""
    mine = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    theirs = oracle.torch_answer(
        name, mine, parameters, reduction, wrt, grad_output=1.0 if reduction != "none" else None
    )
    loss = getattr(lf, name)(**parameters, reduction=reduction)
    value, grads = loss.value_and_grad(*mine, wrt=tuple(wrt))
    floor = terms * arrays[0].size  # PyTorch adds the terms up one after the other
    compare(name, value, theirs.value, dtype, terms=terms, floor=floor, what=f"value {parameters}")
    for grad, argument in zip(grads if len(wrt) > 1 else (grads,), wrt, strict=True):
        compare(name, grad, theirs.grads[argument], dtype, terms=terms, floor=floor, what=f"{argument} {parameters}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("margin", [1.0, 0.25, 0.0])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("shape", [(5,), (1, 1), (9, 4), (40, 10), (7, 70), (3, 1500)], ids=str)
def test_multi_margin(shape, p, margin, reduction, dtype):
    rng = np.random.default_rng(7)
    x, t = rng.integers(-8, 9, shape) / 4, rng.integers(0, shape[-1], shape[:-1])  # quarters: kinks are met
    for weight in (None, rng.integers(1, 9, shape[-1]) / 4):
        parameters = {"p": p, "margin": margin}
        if weight is not None:
            parameters["weight"] = weight
        check("MultiMarginLoss", (x, t), parameters, reduction, ("input",), dtype, terms=32.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (9, 4), (40, 10), (7, 70), (3, 1500)], ids=str)
def test_multilabel_margin(shape, reduction, dtype):
    rng = np.random.default_rng(7)
    x = rng.integers(-8, 9, shape) / 4
    t = rng.integers(-1, shape[-1], shape)
    t[..., min(6, shape[-1] - 1) :] = -1
    check("MultiLabelMarginLoss", (x, t), {}, reduction, ("input",), dtype, terms=8.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (7,), (300,), (4, 5), (2, 3, 4)], ids=str)
def test_elementwise(shape, reduction, dtype):
    rng = np.random.default_rng(7)
    x, y = rng.integers(-8, 9, (2, *shape)) / 4
    sign = rng.choice([-1.0, 1.0], shape)
    any_label = rng.choice([-1.0, 1.0, 0.0, 0.5], shape)
    check("SoftMarginLoss", (x, sign), {}, reduction, ("input",), dtype)
    check("SoftMarginLoss", (x, any_label), {}, reduction, ("input",), dtype)
    for margin in (0.0, 1.0, -0.5):
        wrt = ("input1", "input2", "target")
        check("MarginRankingLoss", (x, y, sign), {"margin": margin}, reduction, wrt, dtype)
        check("MarginRankingLoss", (x, y, any_label), {"margin": margin}, reduction, wrt, dtype)
        check("HingeEmbeddingLoss", (x, any_label), {"margin": margin}, reduction, ("input",), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4), (2, 3000)], ids=str)
def test_multilabel_soft_margin(shape, reduction, dtype):
    rng = np.random.default_rng(7)
    x, t = 3 * rng.standard_normal(shape), rng.random(shape)
    check("MultiLabelSoftMarginLoss", (x, t), {}, reduction, ("input", "target"), dtype)
    weight = rng.integers(1, 9, shape[-1:]) / 4
    check("MultiLabelSoftMarginLoss", (x, t), {"weight": weight}, reduction, ("input", "target", "weight"), dtype)
