"""Losses of one's own: NumPy bodies, and compiled functions of C, Cython, numba and ctypes."""

import copy
import ctypes
import dataclasses
import gc
import importlib.util
import itertools
import pickle
import subprocess
import sys
import sysconfig
import threading
import weakref

import ml_dtypes
import numba
import numpy as np
import pytest
from scipy import LowLevelCallable

import lossfast as lf
from lossfast import custom
from lossfast._loss import REGISTRY

from .cases import METHODS, assert_bits
from .toolchain import COMPILER


class LinEx(lf.CustomLoss):
    """Zellner's asymmetric loss, in full."""

    a: float = 1.0

    def value(self, input, target):
        d = self.a * (input - target)
        return np.expm1(d) - d

    def derivative(self, input, target):
        return self.a * np.expm1(self.a * (input - target))

    def second_derivative(self, input, target):
        return self.a**2 * np.exp(self.a * (input - target))


class Square(lf.CustomLoss):
    """The mean squared error once more, to be compared."""

    def value(self, input, target):
        return (input - target) ** 2

    def derivative(self, input, target):
        return 2 * (input - target)

    def second_derivative(self, input, target):
        return np.full(input.shape, 2)


class WithoutSecond(lf.CustomLoss):
    def value(self, input, target):
        return np.abs(input - target)

    def derivative(self, input, target):
        return np.sign(input - target)


class Forward(lf.CustomLoss):
    def value(self, input, target):
        return np.maximum(input, target)


class Identity(lf.CustomLoss):
    """Bodies that return their arguments themselves."""

    def value(self, input, target):
        return input

    def derivative(self, input, target):
        return target

    def second_derivative(self, input, target):
        return input


class Scaled(Square):
    """Parameters of every kind."""

    factor: float
    power: int = 2
    name: str = "scaled"
    table: np.ndarray | None = None


# ---- NumPy bodies: the object ---------------------------------------------------------------------------------------


def test_custom_losses_are_losses_but_not_of_the_library():
    assert not {"LinEx", "Square", "CustomLoss", "CompiledLoss"} & set(REGISTRY)
    loss = LinEx(a=0.5, reduction="sum")
    assert repr(loss) == "LinEx(a=0.5, reduction='sum')"
    assert loss == LinEx(reduction="sum", a=0.5)
    assert hash(loss) == hash(LinEx(reduction="sum", a=0.5))
    assert loss != LinEx(a=0.5)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert dataclasses.replace(loss, a=2.0).a == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.a = 3.0


def test_parameters_are_checked_by_their_annotation():
    assert Scaled(factor=1).factor == 1.0
    assert type(Scaled(factor=np.float32(1)).factor) is float
    with pytest.raises(TypeError, match="factor"):
        Scaled()
    with pytest.raises(TypeError, match=r"factor = 'a' is of type str; expected a real number"):
        Scaled(factor="a")
    with pytest.raises(TypeError, match=r"power = 1\.5 is of type float; expected an integer"):
        Scaled(factor=1.0, power=1.5)
    with pytest.raises(ValueError, match="reduction = 'avg' is not one of 'mean', 'sum', 'none'"):
        Scaled(factor=1.0, reduction="avg")
    table = np.arange(3.0)
    loss = Scaled(factor=1.0, table=table)
    table[0] = 7
    assert loss.table.tolist() == [0, 1, 2]
    assert not loss.table.flags.writeable
    assert loss == Scaled(factor=1.0, table=np.arange(3.0)) == pickle.loads(pickle.dumps(loss))
    assert loss != Scaled(factor=1.0)


# ---- NumPy bodies: what comes for free ------------------------------------------------------------------------------


def assert_same(actual, expected, rtol):
    """Alike in type, shape and dtype, and near in value."""
    assert type(actual) is type(expected)
    if isinstance(expected, tuple):
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e, rtol)
    else:
        assert np.shape(actual) == np.shape(expected)
        assert np.asarray(actual).dtype == np.asarray(expected).dtype
        greatest = np.max(np.abs(np.asarray(expected, np.float64)), initial=1e-30)  # where terms of this size cancel
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * greatest if np.isfinite(greatest) else 0)


def layouts(x, t):
    """Pairs of arrays in every layout that one of the driver's decisions depends on."""
    swapped = x.astype(x.dtype.newbyteorder())
    return (
        *((x, t), (x.T, t.T), (x, t.T.copy().T), (x[::-2, ::2], t[1::2, :2]), (swapped, t), (x, t.astype(np.float16))),
        *((x, t[0]), (x[:, :1], t), (x, t[:, :1]), (x, 0.25), (x[0, 0], t[0, 0]), (x[:0], t[:0]), (x.tolist(), t)),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_everything_is_as_of_the_librarys_own_loss(dtype, reduction, rng):
    own, builtin = Square(reduction=reduction), lf.MSELoss(reduction=reduction)
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    for x, t in layouts(*rng.standard_normal((2, 70, 3)).astype(dtype)):
        shape = np.broadcast_shapes(np.shape(x), np.shape(t))
        each, row = rng.random(shape), rng.random(shape[-1:])
        go = each if reduction == "none" else -1.5
        for method in METHODS:
            options = [{}, {"sample_weight": each}, {"sample_weight": row}, {"sample_weight": 0.5}]
            if method != "__call__":
                options += [{"grad_output": go}, {"grad_output": go, "sample_weight": row}]
            if method.endswith("hess"):
                options += [{"curvature": "psd"}, {"curvature": "unit"}, {"curvature": "unit", "sample_weight": row}]
            for keywords in options:
                expected = getattr(builtin, method)(x, t, **keywords)
                assert_same(getattr(own, method)(x, t, **keywords), expected, rtol)
    assert_same(own.reference(x, t), builtin.reference(x, t), rtol)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.int32, bool, np.longdouble])
def test_other_dtypes_of_predictions(dtype, rng):
    x, t = (3 * rng.standard_normal(50)).astype(dtype), rng.standard_normal(50)
    for method in METHODS:
        for reduction in ("mean", "none"):
            own, builtin = Square(reduction=reduction), lf.MSELoss(reduction=reduction)
            assert_same(getattr(own, method)(x, t), getattr(builtin, method)(x, t), 2.0**-7)


def test_more_elements_than_a_body_gets_at_once(monkeypatch, rng):
    x, t = rng.standard_normal((2, 100, 37))
    whole = [getattr(LinEx(a=0.5), method)(x, t) for method in METHODS]
    monkeypatch.setattr(custom, "_CHUNK", 64)
    for method, expected in zip(METHODS, whole, strict=True):
        assert_same(getattr(LinEx(a=0.5), method)(x, t), expected, 1e-13)
    assert_same(LinEx(a=0.5).grad(x.T[::-1], t.T[::-1]), whole[METHODS.index("grad")].T[::-1], 1e-13)


def test_methods_agree_bit_by_bit(rng):
    x, t = rng.standard_normal((2, 200_000)).astype(np.float32)
    for reduction in ("mean", "none"):
        loss = LinEx(a=0.5, reduction=reduction)
        value, grad, hess = loss.value_grad_hess(x, t)
        assert_bits(loss(x, t), value)
        assert_bits(loss.value_and_grad(x, t), (value, grad))
        assert_bits(loss.grad_hess(x, t, curvature="exact"), (grad, hess))
        assert_bits(loss.value_grad_hess(x, t, curvature="unit")[:2], (value, grad))


def test_gradients_are_those_of_the_value(rng):
    x, t = rng.standard_normal((2, 20))
    for loss in (LinEx(a=0.5), Square(), WithoutSecond(), 0.5 * LinEx() + 2 * lf.MSELoss()):
        assert lf.check_grad(loss, x, t) < 1e-6
    multi = lf.MultiTaskLoss(mine=(LinEx(), 2.0))
    assert multi(mine=(x, t)) == pytest.approx(2 * LinEx().reference(x, t))


def test_results_in_the_callers_arrays(rng):
    x, t = rng.standard_normal((2, 300)).astype(np.float32)
    for loss in (LinEx(), Identity()):
        value, grad, hess = loss.value_grad_hess(x, t)
        in_place, other = x.copy(), np.empty_like(x)
        result = loss.value_grad_hess(in_place, t, out=(in_place, other))
        assert result[1] is in_place
        assert_bits(result, (value, grad, hess))
        other, in_place = np.empty_like(x), x.copy()
        assert_bits(loss.value_grad_hess(in_place, t, out=(other, in_place)), (value, grad, hess))
        shifted = np.concatenate([x, [0]]).astype(np.float32)
        loss.grad(shifted[:-1], t, out=shifted[1:])
        assert_bits(shifted[1:].copy(), grad)
    each = LinEx(reduction="none")
    in_place = x.copy()
    assert_bits(each(in_place, t, out=in_place), each(x, t))
    for bad, error in ((np.empty(3), ValueError), (np.empty(300), TypeError), (np.empty(300, np.float32)[::-1], None)):
        if error is None:
            assert_bits(LinEx().grad(x, t, out=bad).copy(), LinEx().grad(x, t))
        else:
            with pytest.raises(error, match="out has"):
                LinEx().grad(x, t, out=bad)


def test_nan_passes_whatever_the_bodies_make_of_it():
    class Deaf(lf.CustomLoss):
        def value(self, input, target):
            return np.where(input > target, 1.0, 0.0)

        def derivative(self, input, target):
            return np.where(input > target, 1.0, 0.0)

        def second_derivative(self, input, target):
            return np.zeros(input.shape)

    loss = Deaf(reduction="none")
    for curvature in ("exact", "psd", "unit"):
        results = loss.value_grad_hess([np.nan, 2.0, 1.0], [1.0, 1.0, np.nan], curvature=curvature)
        for result in results:
            assert np.isnan(result).tolist() == [True, False, True]
    assert np.isnan(Deaf()([np.nan, 2.0], [1.0, 1.0]))
    # warnings are errors in these tests: an overflow is none
    value, grad = LinEx().value_and_grad([1e4, 5.0, 0.0], [0.0, 5.0, np.inf])
    assert value == np.inf
    assert grad.tolist() == [np.inf, 0, -1 / 3]


def test_half_precision_overflows_without_a_warning():
    value = Square(reduction="none")(np.array([300, 1], np.float16), [0, 0])
    assert value.tolist() == [np.inf, 1]


def test_curvatures(rng):
    x, t = rng.standard_normal((2, 9))
    assert_same(WithoutSecond().grad_hess(x, t, curvature="unit")[1], np.full(9, 1 / 9), 1e-15)
    for curvature in ("exact", "psd"):
        with pytest.raises(TypeError, match=r"WithoutSecond defines no second_derivative.*'unit' does without"):
            WithoutSecond().grad_hess(x, t, curvature=curvature)
    with pytest.raises(ValueError, match="curvature = 'fisher' is not defined for LinEx"):
        LinEx().grad_hess(x, t, curvature="fisher")
    negative = Identity().grad_hess(-np.abs(x), t, curvature="psd")[1]
    np.testing.assert_allclose(negative, np.finfo(np.float64).eps / 9)


# ---- NumPy bodies: errors -------------------------------------------------------------------------------------------


def test_missing_bodies_are_named():
    assert Forward()([1.0, 2.0], [0.0, 5.0]) == 3
    for method in METHODS[1:]:
        with pytest.raises(
            TypeError, match=r"Forward defines no derivative\(self, input, target\), needed for a gradient"
        ):
            getattr(Forward(), method)([1.0], [0.0])
    with pytest.raises(TypeError, match=r"CustomLoss defines no value\(self, input, target\)"):
        lf.CustomLoss()([1.0], [0.0])


@pytest.mark.parametrize("body", ["value", "derivative", "second_derivative"])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (lambda x, t: (x - t).mean(), ValueError, r"returned shape \(\); expected \(6,\), one number per element"),
        (lambda x, t: (x - t)[1:], ValueError, r"returned shape \(5,\)"),
        (lambda x, t: (x - t)[:, np.newaxis], ValueError, r"returned shape \(6, 1\)"),
        (lambda x, t: (x - t) * 1j, TypeError, "returned dtype complex128; expected real numbers"),
        (lambda x, t: None, TypeError, "returned dtype object"),
    ],
)
def test_bodies_that_return_something_else(body, bad, error, message, rng):
    wrong = type("Wrong", (LinEx,), {body: lambda self, input, target: bad(input, target)})
    x, t = rng.standard_normal((2, 2, 3))
    buffer = np.full((2, 3), 7.0), np.full((2, 3), 7.0)
    with pytest.raises(error, match=f"Wrong.{body} {message}"):
        wrong().value_grad_hess(x, t, out=buffer)
    assert np.all(np.asarray(buffer) == 7)


def test_bodies_get_their_share_of_the_elements_and_may_not_change_it(rng):
    seen = []

    class Curious(Square):
        def value(self, input, target):
            seen.append((input, target))
            return super().value(input, target)

    x, t = rng.standard_normal((2, 50, 4000)).astype(np.float32)
    Curious()(x[:, ::2], t[:, 1::2].astype(">f8"))
    assert sum(a.size for a, _ in seen) == 100_000
    assert len(seen) > 1
    for pair in seen:
        for a in pair:
            assert a.ndim == 1
            assert a.dtype == np.float32
            assert not a.flags.writeable


def test_arguments_that_are_refused(rng):
    x, t = rng.standard_normal((2, 4))
    for call, error, message in (
        (lambda: LinEx()(x[:, np.newaxis], t), ValueError, r"target has shape \(4,\)"),
        (lambda: LinEx().grad(x, t, wrt="target"), ValueError, "wrt = 'target': LinEx has derivatives by input"),
        (lambda: LinEx()(x, t, sample_weight=np.ones(3)), ValueError, r"sample_weight has shape \(3,\)"),
        (lambda: LinEx().grad(x, t, grad_output=np.ones(4)), ValueError, "reduction='mean' gives one value"),
        (lambda: LinEx()(x * 1j, t), TypeError, "input has dtype complex128"),
        (lambda: LinEx()(x, t, weight=1), TypeError, "unexpected keyword argument 'weight'"),
    ):
        with pytest.raises(error, match=message):
            call()


# ---- compiled functions ---------------------------------------------------------------------------------------------

SOURCE = """
#include <stddef.h>

/* Huber's loss; the delta is in the user data */
#define HUBER(name, REAL)                                                                                     \\
    void name(ptrdiff_t n, const REAL *input, const REAL *target, REAL *value, REAL *grad, void *user_data) { \\
        const REAL delta = user_data ? (REAL)*(double *)user_data : (REAL)1;                                  \\
        for (ptrdiff_t i = 0; i < n; i++) {                                                                   \\
            const REAL d = input[i] - target[i], a = d < 0 ? -d : d;                                          \\
            value[i] = a < delta ? d * d / 2 : delta * (a - delta / 2);                                       \\
        }                                                                                                     \\
        if (grad)                                                                                             \\
            for (ptrdiff_t i = 0; i < n; i++) {                                                               \\
                const REAL d = input[i] - target[i];                                                          \\
                grad[i] = d < -delta ? -delta : d > delta ? delta : d;                                        \\
            }                                                                                                 \\
    }
HUBER(huber_f64, double)
HUBER(huber_f32, float)

/* Counts its calls, those without a gradient, and reads its arguments once more behind what it has written. */
void counting(ptrdiff_t n, const double *input, const double *target, double *value, double *grad, void *user_data) {
    long *counts = user_data;
    __atomic_fetch_add(&counts[0], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts[1], grad == NULL, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts[2], n, __ATOMIC_RELAXED);
    for (ptrdiff_t i = 0; grad && i < n; i++)
        grad[i] = 1000;
    for (ptrdiff_t i = 0; i < n; i++)
        value[i] = 2000;
    for (ptrdiff_t i = 0; i < n; i++)
        value[i] = (input[i] - target[i]) * (input[i] - target[i]);
    for (ptrdiff_t i = 0; grad && i < n; i++)
        grad[i] = 2 * (input[i] - target[i]);
}
"""

CYTHON = """
cdef api void squared(Py_ssize_t n, const double *input, const double *target, double *value, double *grad,
                      void *user_data) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        value[i] = (input[i] - target[i]) ** 2
        if grad != NULL:
            grad[i] = 2 * (input[i] - target[i])

cdef api double not_this(double x) noexcept nogil:
    return x
"""

POINTERS = {
    "f64": [ctypes.c_ssize_t, *[ctypes.POINTER(ctypes.c_double)] * 4, ctypes.c_void_p],
    "f32": [ctypes.c_ssize_t, *[ctypes.POINTER(ctypes.c_float)] * 4, ctypes.c_void_p],
}


def compiled(source, library, *options):
    command = [*COMPILER, "-O2", "-shared", "-fPIC", *options, str(source), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The functions of SOURCE, by ctypes."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "functions.c").write_text(SOURCE)
    compiled(folder / "functions.c", folder / "functions.so")
    library = ctypes.CDLL(str(folder / "functions.so"))
    for name, types in (("huber_f64", "f64"), ("huber_f32", "f32"), ("counting", "f64")):
        function = getattr(library, name)
        function.argtypes, function.restype = POINTERS[types], None
    return library


@pytest.fixture(scope="module")
def cython_module(tmp_path_factory):
    """The functions of CYTHON."""
    folder = tmp_path_factory.mktemp("cythonised")
    source, module = folder / "bodies.pyx", folder / f"bodies{sysconfig.get_config_var('EXT_SUFFIX')}"
    source.write_text(CYTHON)
    subprocess.run([sys.executable, "-m", "cython", "-3", str(source)], check=True, capture_output=True, text=True)
    compiled(source.with_suffix(".c"), module, f"-I{sysconfig.get_path('include')}", "-w")
    spec = importlib.util.spec_from_file_location("bodies", module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def numba_functions():
    """Both precisions of the squared error."""

    def squared(n, input, target, value, grad, user_data):  # noqa: PLR0917  # as it is called
        x, t = numba.carray(input, n), numba.carray(target, n)
        v, g = numba.carray(value, n), numba.carray(grad, n)
        for i in range(n):
            v[i] = (x[i] - t[i]) ** 2
        if g.ctypes.data:
            for i in range(n):
                g[i] = 2 * (x[i] - t[i])

    functions = []
    for real in (numba.types.float64, numba.types.float32):
        block = numba.types.CPointer(real)
        signature = numba.types.void(numba.types.intp, *[block] * 4, numba.types.voidptr)
        functions.append(numba.cfunc(signature)(squared))
    return functions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("twins", [("huber_f64",), ("huber_f32", "huber_f64"), ("huber_f64", "huber_f32")])
def test_compiled_functions_behave_as_the_kernels_do(library, dtype, twins, isa, rng):
    delta = ctypes.c_double(0.5)
    data = ctypes.cast(ctypes.pointer(delta), ctypes.c_void_p)
    functions = [LowLevelCallable(getattr(library, name), data) for name in twins]
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    pairs = layouts(*rng.standard_normal((2, 70, 3)).astype(dtype))
    for (x, t), reduction in itertools.product(pairs, ("mean", "sum", "none")):
        own, builtin = lf.custom_loss(*functions, reduction=reduction), lf.HuberLoss(delta=0.5, reduction=reduction)
        shape = np.broadcast_shapes(np.shape(x), np.shape(t))
        each, row = rng.random(shape), rng.random(shape[-1:])
        go = each if reduction == "none" else -1.5
        for method in METHODS[:3]:
            options = [{}, {"sample_weight": each}, {"sample_weight": row}]
            if method != "__call__":
                options += [{"grad_output": go}, {"grad_output": go, "sample_weight": row}]
            for keywords in options:
                expected = getattr(builtin, method)(x, t, **keywords)
                assert_same(getattr(own, method)(x, t, **keywords), expected, rtol)
    x, t = rng.standard_normal((2, 40, 3)).astype(dtype)
    own = lf.custom_loss(*functions)
    assert own.reference(x, t) == pytest.approx(lf.HuberLoss(delta=0.5).reference(x, t), rel=1e-6)
    half = np.asarray([1.5, -3.0], np.float16)
    assert_same(own.grad(half, [0, 0]), lf.HuberLoss(delta=0.5).grad(half, [0, 0]), 1e-3)
    assert lf.check_grad(own, x, t) < 1e-6


def test_bits_do_not_depend_on_threads_or_reductions(library, each_threads, rng):
    loss = lf.custom_loss(library.huber_f64)
    x, t = rng.standard_normal((2, 60_000)).astype(np.float32)
    results = [(*loss.value_and_grad(x, t), loss(x, t, sample_weight=x**2), loss(x, t)) for _ in each_threads()]
    assert_bits(results[1], results[0])
    assert_bits(results[2], results[0])
    assert results[0][0] == results[0][3]
    x, t = x.astype(np.float64), t.astype(np.float64)
    assert_bits(loss.value_and_grad(x, t)[1], lf.HuberLoss().value_and_grad(x, t)[1])


def test_a_value_alone_asks_for_no_gradient_and_blocks_are_whole(library, threads, rng):
    counts = (ctypes.c_long * 3)()
    loss = lf.custom_loss(LowLevelCallable(library.counting, ctypes.cast(counts, ctypes.c_void_p)))
    x, t = rng.standard_normal((2, 50_000))
    assert loss(x, t) == pytest.approx(lf.MSELoss()(x, t))
    calls = counts[0]
    assert list(counts) == [calls, calls, 50_000]
    assert calls > 1
    loss.grad(x, t)
    assert list(counts) == [2 * calls, calls, 100_000]


def test_functions_never_see_an_array_twice(library, threads, rng):
    """Nor the arguments overwritten: this one writes everything before it reads it again."""
    counts = (ctypes.c_long * 3)()
    function = LowLevelCallable(library.counting, ctypes.cast(counts, ctypes.c_void_p))
    x, t = rng.standard_normal((2, 30_000))
    loss, each = (lf.custom_loss(function, reduction=reduction) for reduction in ("sum", "none"))
    expected = 2 * (x - t)
    in_place = x.copy()
    assert loss.grad(in_place, t, out=in_place) is in_place
    np.testing.assert_array_equal(in_place, expected)
    in_place = x.copy()
    np.testing.assert_array_equal(each(in_place, t, out=in_place), (x - t) ** 2)
    target = t.copy()
    np.testing.assert_array_equal(loss.grad(x, target, out=target), expected)
    np.testing.assert_array_equal(loss.grad(x, x), 0 * x)
    shifted = np.append(x, 0.0)
    np.testing.assert_array_equal(loss.grad(shifted[:-1], t, out=shifted[1:]), expected)


def test_cython_functions(cython_module, isa, threads, rng):
    loss = lf.custom_loss(LowLevelCallable.from_cython(cython_module, "squared"))
    x, t = rng.standard_normal((2, 100_001))
    assert_bits(loss.value_and_grad(x, t), lf.MSELoss().value_and_grad(x, t))
    with pytest.raises(TypeError, match=r"has the signature 'double \(double\)'; expected 'void \(ptrdiff_t n"):
        lf.custom_loss(LowLevelCallable.from_cython(cython_module, "not_this"))
    assert lf.custom_loss(cython_module.__pyx_capi__["squared"]) == loss


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numba_functions(numba_functions, dtype, isa, threads, rng):
    x, t = rng.standard_normal((2, 100_001)).astype(dtype)
    expected = lf.MSELoss().value_and_grad(x, t)
    for functions in (numba_functions, [f.ctypes for f in numba_functions], numba_functions[::-1]):
        loss = lf.custom_loss(*functions)
        assert_same(loss.value_and_grad(x, t), expected, 1e-6 if dtype == np.float32 else 1e-15)
    alone = lf.custom_loss(numba_functions[0])
    assert_same(alone.value_and_grad(x, t), expected, 1e-6 if dtype == np.float32 else 1e-15)


def test_python_functions_take_the_lock_themselves(threads, rng):
    """Called by several threads at once, each of which needs the interpreter."""
    seen = set()

    def squared(n, input, target, value, grad, user_data):  # noqa: PLR0917
        seen.add(threading.get_ident())
        x, t = np.ctypeslib.as_array(input, (n,)), np.ctypeslib.as_array(target, (n,))
        np.ctypeslib.as_array(value, (n,))[:] = (x - t) ** 2
        if grad:
            np.ctypeslib.as_array(grad, (n,))[:] = 2 * (x - t)

    loss = lf.custom_loss(ctypes.CFUNCTYPE(None, *POINTERS["f64"])(squared))
    x, t = rng.standard_normal((2, 300_000))
    expected = lf.MSELoss().value_and_grad(x, t)
    assert_bits(loss.value_and_grad(x, t), expected)
    assert_bits(loss.value_and_grad(x[:100], t[:100]), lf.MSELoss().value_and_grad(x[:100], t[:100]))
    results = [None] * 4

    def work(k):
        results[k] = loss.value_and_grad(x, t)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    for result in results:
        assert_bits(result, expected)
    assert threading.get_ident() in seen


def test_functions_and_their_data_are_kept_alive(rng):
    class Data:
        pass

    token = Data()

    def squared(n, input, target, value, grad, user_data, token=token):  # noqa: PLR0917
        for i in range(n):
            value[i] = (input[i] - target[i]) ** 2

    loss = lf.custom_loss(ctypes.CFUNCTYPE(None, *POINTERS["f64"])(squared))
    alive = weakref.ref(token)
    del token, squared
    gc.collect()
    assert alive() is not None
    assert loss([1.0, 2.0], [0.0, 0.0]) == 2.5
    each = dataclasses.replace(loss, reduction="none")
    del loss
    gc.collect()
    assert each([1.0, 2.0], [0.0, 0.0]).tolist() == [1, 4]
    del each
    gc.collect()
    assert alive() is None


def test_compiled_losses_compare_and_copy_but_do_not_travel(library):
    loss = lf.custom_loss(library.huber_f64)
    assert loss == lf.custom_loss(LowLevelCallable(library.huber_f64))
    assert hash(loss) == hash(lf.custom_loss(library.huber_f64))
    assert loss != lf.custom_loss(library.counting)
    assert loss != lf.custom_loss(library.huber_f64, reduction="sum")
    assert loss != lf.custom_loss(library.huber_f64, library.huber_f32)
    assert loss != lf.MSELoss()
    assert copy.copy(loss) is copy.deepcopy(loss) is loss
    assert repr(loss).startswith("custom_loss(LowLevelCallable(<_FuncPtr")
    assert repr(lf.custom_loss(library.huber_f64, reduction="sum")).endswith(", reduction='sum')")
    with pytest.raises(TypeError, match="cannot be pickled: the function is an address of this process"):
        pickle.dumps(loss)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.functions = ()


def test_compiled_losses_are_parts_of_sums_and_tasks(library, rng):
    x, t = rng.standard_normal((2, 30))
    loss = lf.custom_loss(library.huber_f64)
    total = 0.5 * loss + 0.5 * lf.HuberLoss()
    assert_same(total.value_and_grad(x, t), lf.HuberLoss().value_and_grad(x, t), 1e-14)
    assert lf.MultiTaskLoss(a=(loss, 2.0))(a=(x, t)) == pytest.approx(2 * lf.HuberLoss()(x, t))
    for hessian in (loss.grad_hess, total.value_grad_hess):
        with pytest.raises(TypeError, match="has no Hessian diagonal"):
            hessian(x, t)
    with pytest.raises(ValueError, match="has derivatives by input"):
        loss.grad(x, t, wrt="target")
    with pytest.raises(ValueError, match="reduction = 'avg'"):
        lf.custom_loss(library.huber_f64, reduction="avg")


def test_float_functions_alone_do_not_compute_in_double(library, rng):
    loss = lf.custom_loss(library.huber_f32)
    x, t = rng.standard_normal((2, 30))
    assert loss(x.astype(np.float32), t) == pytest.approx(lf.HuberLoss()(x, t), rel=1e-6)
    for predictions in (x, x.tolist(), np.arange(30)):
        for method in METHODS[:3]:
            with pytest.raises(TypeError, match=r"a function of float alone.*use input\.astype\(np\.float32\)"):
                getattr(loss, method)(predictions, t)


# ---- signatures -----------------------------------------------------------------------------------------------------

POINTER_SIZED = ("ptrdiff_t", "Py_ssize_t", "ssize_t", "intptr_t", "npy_intp")
SIGNATURES = (
    *(f"void ({name}, double *, double *, double *, double *, void *)" for name in POINTER_SIZED),
    "void (ptrdiff_t n, const double *input, const double *target, double *value, double *grad, void *user_data)",
    "void(Py_ssize_t,double const*,double const *,double*,double*,void*)",
    "void (*)(ptrdiff_t, const double *, const double *, double *, double *, void *)",
    "void (*f)(ptrdiff_t n, const double *restrict x, const double *t, double *v, double *g, void *data)",
    "void (Py_ssize_t, double const *, double const *, double *, double *, void *) noexcept nogil",
    "void (Py_ssize_t, __pyx_t_5numpy_float64_t *, npy_float64 *, double *, double *, void *)",
    "void (ptrdiff_t, float *, float const *, float *, float *, void *)",
)
WRONG = (
    "double (ptrdiff_t, double *, double *, double *, double *, void *)",
    "int (ptrdiff_t, double *, double *, double *, double *, void *)",
    "void (int, double *, double *, double *, double *, void *)",
    "void (size_t, double *, double *, double *, double *, void *)",
    "void (double, double *, double *, double *, double *, void *)",
    "void (ptrdiff_t *, double *, double *, double *, double *, void *)",
    "void (ptrdiff_t, double *, float *, double *, double *, void *)",
    "void (ptrdiff_t, double, double *, double *, double *, void *)",
    "void (ptrdiff_t, double **, double *, double *, double *, void *)",
    "void (ptrdiff_t, void *, void *, void *, void *, void *)",
    "void (ptrdiff_t, long double *, long double *, long double *, long double *, void *)",
    "void (ptrdiff_t, double *, double *, double *, double *)",
    "void (ptrdiff_t, double *, double *, double *, double *, void *, void *)",
    "void (ptrdiff_t, double *, double *, double *, double *, double *)",
    "void *(ptrdiff_t, double *, double *, double *, double *, void *)",
    "void ()",
    "nonsense",
    "",
)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signatures_that_say_the_same(library, signature):
    function = library.huber_f32 if "float *" in signature else library.huber_f64
    loss = lf.custom_loss(LowLevelCallable(function, signature=signature))
    assert loss(np.float32([3.0]), [0.0]) == 2.5


@pytest.mark.parametrize("signature", WRONG)
def test_wrong_signatures_are_refused_with_both(library, signature):
    with pytest.raises(TypeError) as caught:
        lf.custom_loss(LowLevelCallable(library.huber_f64, signature=signature))
    assert f"has the signature {signature!r}; expected 'void (ptrdiff_t n, const double *input" in str(caught.value)


def test_integers_of_other_sizes_do_not_count(library):
    fits = {
        name: ctypes.sizeof(kind) == ctypes.sizeof(ctypes.c_void_p)
        for name, kind in (("long", ctypes.c_long), ("long long", ctypes.c_longlong), ("int64_t", ctypes.c_int64))
    }
    for name, accepted in fits.items():
        function = LowLevelCallable(library.huber_f64, signature=SIGNATURES[0].replace("ptrdiff_t", name))
        if accepted:
            assert lf.custom_loss(function).functions == (function,)
        else:
            with pytest.raises(TypeError, match="has the signature"):
                lf.custom_loss(function)


def test_functions_that_are_refused(library, cython_module):
    untyped = ctypes.CFUNCTYPE(None)(lambda: None)
    bare = ctypes.CDLL(library._name).huber_f64
    for functions, message in (
        ((lambda x, t: x - t,), "expected a compiled function.*bodies in Python make a subclass of CustomLoss"),
        ((None,), "None of type NoneType: expected a compiled function"),
        ((untyped,), r"has the signature 'void \(\)'"),
        ((bare,), "has no argtypes: set its argtypes and restype=None"),
        (
            (library.huber_f64, library.counting),
            "two functions of double: expected one, or one of double and one of float",
        ),
        ((library.huber_f32, library.huber_f32), "two functions of float"),
        ((), "expected a function of double, of float, or both"),
    ):
        with pytest.raises(TypeError, match=message):
            lf.custom_loss(*functions)
