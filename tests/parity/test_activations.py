"""softmax, log_softmax, logsumexp, sigmoid, log_sigmoid, softplus."""

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf

from . import oracle
from .oracle import DTYPES, compare

SHAPES = [(7,), (5, 3), (4, 64), (3, 130), (2, 1000), (2, 3, 5), (2, 3, 4, 5)]
OVER_AN_AXIS = {"softmax": torch.softmax, "log_softmax": torch.log_softmax, "logsumexp": torch.logsumexp}
ELEMENTWISE = {"sigmoid": torch.sigmoid, "log_sigmoid": tF.logsigmoid, "softplus": tF.softplus}
NON_FINITE = [
    [np.inf, 0, 1],
    [-np.inf, 0, 1],
    [-np.inf] * 3,
    [np.nan, 0, 1],
    [np.inf, np.inf, 0],
    [np.inf, np.nan, 0],
    [np.inf, -np.inf, 0],
]


def over_an_axis(name, x, axis):
    """Compare with PyTorch; a difference of logits rounds to its own ULP, which a probability loses that many times."""
    expected = OVER_AN_AXIS[name](oracle.tensor(x), axis).numpy()
    got = getattr(lf, name)(x, axis=axis)
    assert got.dtype == x.dtype
    wide = x.astype(np.float64)
    top = np.max(wide, axis, keepdims=True)
    with np.errstate(invalid="ignore"):
        gap = oracle.bounded(top - wide)
    size = oracle.bounded(expected)
    if name == "softmax":
        size = size * (1 + gap / 4)
    elif name == "log_softmax":  # near 0 it is the sum of the other probabilities
        size = size * (1 + np.where(size < 1, gap.max(axis, keepdims=True), 0) / 4)
    else:  # max + log(sum) may cancel
        size = size + oracle.bounded(np.squeeze(top, axis))
    floor = (1 + oracle.bounded(wide).max(initial=0)) * (size if name == "softmax" else 1)
    compare(name, got, expected, x.dtype.type, terms=size, floor=floor, what=f"{x.shape} axis {axis}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OVER_AN_AXIS)
def test_over_each_axis(name, shape, dtype):
    """Every axis, counted from either end, of contiguous and other arrays."""
    x = (np.random.default_rng(0).normal(size=shape) * 5).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        over_an_axis(name, x, axis)
        over_an_axis(name, np.asfortranarray(x), axis)
        over_an_axis(name, x[::-1], axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OVER_AN_AXIS)
def test_extremes_over_an_axis(name, dtype):
    """Non-finite, large, and far apart; NaN and inf as PyTorch has them."""
    over_an_axis(name, np.array(NON_FINITE, dtype), 1)
    over_an_axis(name, np.ascontiguousarray(np.array(NON_FINITE, dtype).T), 0)
    over_an_axis(name, np.repeat(np.array(NON_FINITE, dtype), 40, 1), 1)
    over_an_axis(name, np.array([[1e4, 0, 1], [-1e4, -1e4, -1e4], [1e30, -1e30, 0], [88, -15, 0], [0, 0, 0]], dtype), 1)
    over_an_axis(name, np.zeros((3, 1), dtype), 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_over_an_axis(dtype):
    """No rows, or rows of nothing."""
    for name, function in OVER_AN_AXIS.items():
        for shape in [(0, 3), (3, 0), (0,)]:
            x = np.empty(shape, dtype)
            compare(name, getattr(lf, name)(x), function(oracle.tensor(x), -1).numpy(), dtype, what=f"empty {shape}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_logsumexp_of_all_and_keepdims(dtype):
    """As PyTorch's `dim` of every axis and `keepdim`."""
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)
    compare("logsumexp", lf.logsumexp(x, axis=None), torch.logsumexp(oracle.tensor(x), (0, 1)).numpy(), dtype, floor=8)
    for axis in (0, 1):
        kept = torch.logsumexp(oracle.tensor(x), axis, keepdim=True).numpy()
        compare("logsumexp", lf.logsumexp(x, axis=axis, keepdims=True), kept, dtype, floor=8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, dtype):
    """A dense grid, the ends of the exponential, infinities and NaN."""
    special = [0.0, -0.0, 1e-30, 17, 20, 20.1, 37, 87, 88.5, 104, 708, 745, 800, 1e4, 1e30, np.inf, np.nan]
    x = np.concatenate(
        [np.linspace(-110, 110, 5003), np.random.default_rng(0).normal(size=1000), special, np.negative(special)]
    )
    x = x.astype(dtype)
    # PyTorch's softplus turns linear at 20, and overflows where it does not
    function = (lambda a: torch.logaddexp(a, torch.zeros_like(a))) if name == "softplus" else ELEMENTWISE[name]
    for layout in (x, x[::-1], np.resize(x, (60, 100)).T, np.asarray(x[5]), x[:0]):
        wanted = function(oracle.tensor(layout)).numpy()
        got = getattr(lf, name)(layout)
        assert got.dtype == dtype
        compare(name, got, wanted, dtype, floor=oracle.bounded(wanted), what=str(layout.shape))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softplus_beyond_the_threshold(dtype):
    """PyTorch returns x itself beyond 20; the difference is below 3e-9."""
    x = np.array([20.5, 25, 30], dtype)
    shortcut = tF.softplus(oracle.tensor(x)).numpy()
    np.testing.assert_array_equal(shortcut, x)
    np.testing.assert_allclose(lf.softplus(x), shortcut, rtol=1e-9 if dtype is np.float64 else 1e-7)
