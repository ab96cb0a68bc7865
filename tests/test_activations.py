"""The softmax family and the sigmoid: against SciPy and long double."""

import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest
from scipy import special

import lossfast as lf

from .cases import DTYPES, assert_bits, assert_ulps

inf, nan = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("f32", "f64"))
FAMILY = (lf.softmax, lf.log_softmax)
MAPS = (lf.sigmoid, lf.log_sigmoid, lf.softplus)
EVERY = (*FAMILY, *MAPS, lf.logsumexp)


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(np.longdouble(0), x)


REFERENCES = {lf.sigmoid: sigmoid, lf.softplus: softplus, lf.log_sigmoid: lambda x: -softplus(-x)}


@pytest.mark.parametrize("function", MAPS)
@each_dtype
def test_maps_against_long_double(function, dtype, isa, rng):
    far = 85 if dtype == np.float32 else 700
    x = np.concatenate(
        [rng.uniform(-far, far, 3000), 5 * rng.standard_normal(3000), [0.0, -0.0, 1e-30, -1e-30]]
    ).astype(dtype)
    exact = REFERENCES[function](x.astype(np.longdouble))
    assert_ulps(function(x), exact, dtype, 2, message=function.__name__)
    np.testing.assert_array_equal(function(x.reshape(4, -1)).ravel(), function(x))


@pytest.mark.parametrize("function", MAPS)
@each_dtype
def test_maps_at_the_ends(function, dtype, isa):
    x = np.array([-inf, inf, nan, -1e30, 1e30, -200 if dtype == np.float32 else -2000], dtype)
    expected = {
        lf.sigmoid: [0, 1, nan, 0, 1, 0],
        lf.softplus: [0, inf, nan, 0, dtype(1e30), 0],
        lf.log_sigmoid: [-inf, 0, nan, -dtype(1e30), 0, x[-1]],
    }[function]
    np.testing.assert_array_equal(function(x), np.array(expected, dtype))
    np.testing.assert_array_equal(function(np.tile(x, 20)), np.tile(np.array(expected, dtype), 20))


def close(actual, exact, x, dtype, axis):
    """Relative to a few ULP, and to what the rounding of x - max adds."""
    with np.errstate(invalid="ignore"):
        spread = np.nanmax(np.where(np.isfinite(x), x, nan)) - np.nanmin(np.where(np.isfinite(x), x, nan))
    assert_ulps(actual, exact, dtype, 4 + spread)


@each_dtype
@pytest.mark.parametrize(
    "shape", [(5,), (1,), (100,), (3000,), (40, 7), (40, 1), (7, 100), (3, 4, 5), (2, 70, 20), (3, 2, 4, 33)]
)
def test_softmax_family_over_every_axis(dtype, shape, isa, rng):
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    wide = x.astype(np.longdouble)
    for axis in range(-x.ndim, x.ndim):
        for given in (x, np.asfortranarray(x), np.repeat(x, 2, -1)[..., ::2], x[..., ::-1].copy()[..., ::-1]):
            close(lf.softmax(given, axis=axis), special.softmax(wide, axis=axis), x, dtype, axis)
            exact = special.logsumexp(wide, axis=axis, keepdims=True)
            # a difference: exact to units of its greater term
            scale = np.maximum(np.abs(wide), np.abs(exact)).max()
            assert_ulps(lf.log_softmax(given, axis=axis), wide - exact, dtype, 4, scale=scale)
            for keepdims in (False, True):
                got = lf.logsumexp(given, axis=axis, keepdims=keepdims)
                wanted = exact if keepdims else exact.squeeze(axis)
                assert np.shape(got) == wanted.shape
                assert_ulps(got, wanted, dtype, 6, scale=np.abs(wide).max() * 0.5)
    assert_bits(lf.softmax(x), lf.softmax(x, axis=-1))
    assert_bits(lf.log_softmax(x), lf.log_softmax(x, axis=-1))
    everything = lf.logsumexp(x, axis=None)
    assert np.shape(everything) == ()
    assert_ulps(everything, special.logsumexp(wide), dtype, 8)
    assert lf.logsumexp(x, axis=None, keepdims=True).shape == (1,) * x.ndim
    np.testing.assert_allclose(lf.softmax(x).sum(-1, dtype=np.float64), 1, rtol=1e-6)


@each_dtype
@pytest.mark.parametrize("classes", [3, 100, 3000])
def test_softmax_family_of_special_rows(dtype, classes, isa):
    rows = {
        (0, 0, -inf): ([0.5, 0.5, 0], [-np.log(2), -np.log(2), -inf], np.log(2)),
        (5, -inf, -inf): ([1, 0, 0], [0, -inf, -inf], 5),
        (-inf, -inf, -inf): ([nan] * 3, [nan] * 3, -inf),
        (nan, 1, 2): ([nan] * 3, [nan] * 3, nan),
        (nan, inf, 2): ([nan] * 3, [nan] * 3, nan),
        (1, -inf, nan): ([nan] * 3, [nan] * 3, nan),
        (inf, 1, 2): ([nan] * 3, [nan] * 3, inf),
        (1e4, 0, -1e4): ([1, 0, 0], [0, -1e4, -2e4], 1e4),
        (-1e4, -1e4, -inf): ([0.5, 0.5, 0], [-np.log(2), -np.log(2), -inf], -1e4 + np.log(2)),
    }
    x = np.full((len(rows), classes), -inf, dtype)
    x[:, :3] = list(rows)
    rest = classes - 3
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    for axis, given in ((1, x), (0, x.T.copy()), (-1, x.repeat(2, 1)[:, ::2])):
        soft, log = lf.softmax(given, axis=axis), lf.log_softmax(given, axis=axis)
        total = lf.logsumexp(given, axis=axis)
        for k, (p, log_p, lse) in enumerate(rows.values()):
            bad = np.isnan(p[0])
            got = [np.take(a, k, 1 if axis == 0 else 0) for a in (soft, log)]
            np.testing.assert_allclose(got[0], p + [nan if bad else 0] * rest, rtol=rtol)
            np.testing.assert_allclose(got[1], log_p + [nan if bad else -inf] * rest, rtol=rtol, atol=1e-12)
            np.testing.assert_allclose(total[k], lse, rtol=rtol)


@pytest.mark.parametrize("function", [*FAMILY, *MAPS], ids=lambda f: f.__name__)
@each_dtype
def test_out_and_in_place(function, dtype, each_isa, each_threads, rng):
    x = (3 * rng.standard_normal((300, 23))).astype(dtype)
    for _ in itertools.product(each_isa(), each_threads()):
        fresh = function(x)
        out = np.full_like(x, 77)
        assert function(x, out=out) is out
        assert_bits(out, fresh)
        own = x.copy()
        assert function(own, out=own) is own
        assert_bits(own, fresh)
        out = np.full((23, 300), 77, dtype).T
        function(x, out=out)
        assert_bits(np.ascontiguousarray(out), fresh)
        # shifted by one row, and by one element
        buffer = np.zeros(x.size + 23, dtype)
        for shift in (1, 23):
            source, sink = buffer[shift : x.size + shift].reshape(x.shape), buffer[: x.size].reshape(x.shape)
            for a, b in ((source, sink), (sink, source)):
                a[...] = x
                function(a, out=b)
                assert_bits(b.copy(), fresh)
    for bad, error in (
        (np.empty((300, 24), dtype), ValueError),
        (np.empty(x.shape, np.int32), TypeError),
        (np.empty(x.shape, np.float16), TypeError),
        (x.tolist(), TypeError),
    ):
        with pytest.raises(error, match="out"):
            function(x, out=bad)
    locked = np.zeros_like(x)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        function(x, out=locked)
    assert not locked.any()


def test_logsumexp_out(rng):
    x = rng.standard_normal((30, 8))
    for axis, keepdims in itertools.product((0, 1, -1, None), (False, True)):
        fresh = lf.logsumexp(x, axis=axis, keepdims=keepdims)
        out = np.full(np.shape(fresh), 77.0)
        assert lf.logsumexp(x, axis=axis, keepdims=keepdims, out=out) is out
        np.testing.assert_array_equal(out, fresh)
        np.testing.assert_allclose(fresh, special.logsumexp(x, axis=axis, keepdims=keepdims), rtol=1e-13)
    own = x.copy()
    fresh = lf.logsumexp(x, axis=1)
    lf.logsumexp(own, axis=1, out=own[:, 3])
    np.testing.assert_array_equal(own[:, 3], fresh)
    with pytest.raises(ValueError, match="out"):
        lf.logsumexp(x, axis=1, out=np.empty(8))


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.__name__)
def test_dtypes(function, each_isa, rng):
    x = np.rint(4 * rng.standard_normal((9, 40))) + 0.0
    for _ in each_isa():
        expected = function(x)
        for kind in (np.int8, np.int64, ">i2", ">f8"):
            got = function(x.astype(kind))
            assert got.dtype == np.float64
            assert_bits(got, expected)
        assert_bits(function(x.tolist()), expected)
        assert_bits(function((x > 0).tolist()), function((x > 0).astype(float)))
        single = function(x.astype(np.float32))
        assert single.dtype == np.float32
        assert_bits(function(x.astype(">f4")), single)
        for half in (np.float16, ml_dtypes.bfloat16):
            got = function(x.astype(half))
            assert got.dtype == half
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                assert_bits(got.astype(np.float32), single.astype(half).astype(np.float32))
    assert float(lf.sigmoid(0)) == 0.5
    assert lf.softmax([1, 1]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.__name__)
def test_nothing(function):
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 4)):
        x = np.empty(shape, np.float32)
        if function is lf.logsumexp:
            for axis in range(len(shape)):
                got = lf.logsumexp(x, axis=axis)
                assert got.shape == shape[:axis] + shape[axis + 1 :]
                assert got.dtype == np.float32
                assert np.all(got == -inf)
            assert lf.logsumexp(x, axis=None) == -inf
        else:
            got = function(x)
            assert got.shape == shape
            assert got.dtype == np.float32


@pytest.mark.parametrize("function", [*FAMILY, lf.logsumexp], ids=lambda f: f.__name__)
def test_axes_that_do_not_exist(function):
    for axis in (2, -3, 7):
        with pytest.raises(ValueError, match=f"axis {axis}"):
            function(np.zeros((2, 3)), axis=axis)
    with pytest.raises(ValueError, match="axis"):
        function(np.float64(3), axis=0)


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.__name__)
def test_what_is_not_a_number_is_refused(function):
    for bad in (["a"], [1j], [object()], None):
        with pytest.raises(TypeError, match="input"):
            function(bad)


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.__name__)
@each_dtype
def test_bits_do_not_depend_on_the_number_of_threads(function, dtype, isa, each_threads, rng):
    for shape in ((20011,), (500, 41), (40, 500), (10, 6, 333)):
        x = rng.standard_normal(shape).astype(dtype)
        for axis in range(x.ndim) if function not in MAPS else (None,):
            keywords = {} if axis is None else {"axis": axis}
            results = [np.asarray(function(x, **keywords)) for _ in each_threads()]
            assert_bits(results[1], results[0])
            assert_bits(results[2], results[0])
