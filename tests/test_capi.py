"""The C interface: extensions as others would write them, built against what is installed, compute the same bits."""

import importlib.util
import itertools
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lossfast as lf

from .cases import DTYPES, ELEMENTWISE, ONE_EACH, Form, assert_bits, named
from .toolchain import COMPILER

SOURCES = Path(__file__).parent / "capi"
#: All elementwise losses, with parameters that are no arrays.
SCALAR = [c for c in ELEMENTWISE if c.form == Form() and not any(np.ndim(v) for v in c.parameters.values())]
#: Less than a block, a block of the drivers, and more.
SIZES = (1, 21, 2048, 7000)
each_scalar = pytest.mark.parametrize("case", SCALAR, ids=str)


def build(source, folder, *, include=None):
    """Compile an extension and import it."""
    include = Path(lf.get_include()) if include is None else include
    module = folder / f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = ["-Wall", "-Wextra", "-Werror"]
    if source.suffix == ".pyx":
        # where Cython finds lossfast/capi.pxd, also if an editable install keeps it off sys.path
        where = ["-I", str(Path(lf.get_include()).parents[1]), "-o", str(folder / f"{source.stem}.c")]
        subprocess.run([sys.executable, "-P", "-m", "cython", *where, str(source)], check=True)
        source, flags = folder / f"{source.stem}.c", ["-DCYTHON_WITHOUT_ASSERTIONS"]
    folders = (f"-I{path}" for path in (include, sysconfig.get_path("include")))
    subprocess.run([*COMPILER, "-shared", "-fPIC", *flags, *folders, str(source), "-o", str(module)], check=True)
    spec = importlib.util.spec_from_file_location(source.stem, module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return build(SOURCES / "plain.c", tmp_path_factory.mktemp("plain"))


def compute(plain, loss, arrays, *, curvature="exact", value=None, grads=(), hesses=()):
    """The sum, after what is the same for every loss."""
    count, invalid, total = plain.compute(loss, curvature, tuple(arrays), value, tuple(grads), tuple(hesses))
    assert count == len(arrays)
    assert not invalid
    return total


def operands(case, rng, size, dtype):
    """Arrays of one axis."""
    drawn = case.arrays(rng, size + case.form.length, dtype)
    return tuple(np.ascontiguousarray(a.reshape(-1)[:size], dtype=dtype) for a in drawn)


def of_python(case, arrays, **options):
    """What the object itself makes of them: unreduced losses, gradients and Hessians, each by all that have them."""
    shaped = tuple(a[np.newaxis] for a in arrays) if case.averages else arrays
    value = case.bare("none")(*shaped)
    _, grads, _ = case.compute(case.bare("none"), shaped, wrt=case.differentiable)
    hesses = case.compute(case.bare("none"), shaped, wrt=case.curved, **options)[2] if case.curved else ()
    return value, *(tuple(a.reshape(-1) for a in group) for group in (grads, hesses))


@each_scalar
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_elementwise_loss_has_the_bits_of_its_object(case, dtype, plain, isa, rng):
    for size, curvature in itertools.product(SIZES, case.curvatures or ("exact",)):
        arrays = operands(case, rng, size, dtype)
        options = {"curvature": curvature} if case.curved else {}
        values, grads, hesses = of_python(case, arrays, **options)
        made = [  # None where Python has no derivative
            [np.full_like(arrays[0], 77) if name in names else None for name in case.names]
            for names in (case.differentiable, case.curved)
        ]
        value = np.empty_like(arrays[0])
        total = compute(
            plain, case.bare("sum"), arrays, curvature=curvature, value=value, grads=made[0], hesses=made[1]
        )
        by_name = [dict(zip(case.names, group, strict=True)) for group in made]
        message = f"{case} {size} {curvature}"
        assert_bits(tuple(by_name[0][name] for name in case.differentiable), grads, message)
        assert_bits(tuple(by_name[1][name] for name in case.curved), hesses, message)
        shaped = tuple(a[np.newaxis] for a in arrays) if case.averages else arrays
        assert_bits(total, case.bare("sum")(*shaped), message)
        if case.averages:
            np.testing.assert_allclose(value.mean(dtype=np.float64), values[0], rtol=1e-5)
        else:
            assert_bits(value, values, message)


@each_scalar
def test_what_is_not_wanted_changes_nothing(case, plain, rng):
    arrays = operands(case, rng, 5000, np.float64)
    loss, count = case.bare("none"), len(arrays)
    everything = {
        group: [np.empty_like(arrays[0]) if name in names else None for name in case.names]
        for group, names in (("grads", case.differentiable), ("hesses", case.curved))
    }
    value = np.empty_like(arrays[0])
    total = compute(plain, loss, arrays, value=value, **everything)
    assert_bits(compute(plain, loss, arrays), total)
    alone = np.empty_like(value)
    assert_bits(compute(plain, loss, arrays, value=alone), total)
    assert_bits(alone, value)
    for group, k in itertools.product(("grads", "hesses"), range(count)):
        if everything[group][k] is None:
            continue
        alone = [np.empty_like(arrays[0]) if other == k else None for other in range(count)]
        assert_bits(compute(plain, loss, arrays, **{group: alone}), total)
        assert_bits(alone[k], everything[group][k], f"{group} by {case.names[k]}")


@each_scalar
def test_results_may_replace_the_arrays(case, plain, rng):
    arrays = operands(case, rng, 5000, np.float32)
    loss = case.bare("sum")
    _, grads, _ = of_python(case, arrays)
    expected = dict(zip(case.differentiable, grads, strict=True))
    own = tuple(a.copy() for a in arrays)
    total = compute(
        plain, loss, own, grads=[a if n in expected else None for n, a in zip(case.names, own, strict=True)]
    )
    for name, array, before in zip(case.names, own, arrays, strict=True):
        assert_bits(array, expected.get(name, before), name)
    first = arrays[0].copy()  # one gradient and the sum: a loop of its own
    alone = compute(plain, loss, (first, *arrays[1:]), grads=(first,))
    assert_bits(first, expected.get(case.names[0], arrays[0]))
    assert_bits(alone, total)


def test_no_elements(plain):
    assert compute(plain, lf.MSELoss(reduction="sum"), [np.empty(0)] * 2) == 0
    assert np.isnan(compute(plain, lf.MultiLabelSoftMarginLoss(reduction="sum"), [np.empty(0)] * 2))


def test_the_domain_is_told(plain):
    half = np.full(3000, 0.5)
    for bad, outside in ((1.5, 1), (-1e-9, 1), (np.nan, 0), (1.0, 0)):
        input = half.copy()
        input[2500] = bad
        assert plain.compute(lf.BCELoss(reduction="sum"), "exact", (input, half), None, (), ())[1] == outside


@pytest.mark.parametrize(
    ("given", "curvature", "error", "message"),
    [
        (None, "exact", TypeError, "None is no elementwise loss"),
        (lf.MSELoss, "exact", TypeError, "is no elementwise loss"),
        (lf.CrossEntropyLoss(reduction="sum"), "exact", TypeError, "is no elementwise loss"),
        (lf.MSELoss() + lf.L1Loss(), "exact", TypeError, "is no elementwise loss"),
        (lf.BCELoss(weight=[1.0], reduction="sum"), "exact", TypeError, "a parameter is an array"),
        (lf.BCEWithLogitsLoss(pos_weight=[1.0], reduction="sum"), "exact", TypeError, "a parameter is an array"),
        (lf.MSELoss(), "exact", ValueError, "MSELoss.*expected reduction='sum' or 'none'"),
        (lf.KLDivLoss(reduction="batchmean"), "exact", ValueError, "expected reduction='sum' or 'none'"),
        (lf.SmoothL1Loss(reduction="sum"), "fisher", ValueError, "curvature = 'fisher' is not defined"),
        (lf.SmoothL1Loss(reduction="sum"), "steep", ValueError, "curvature = 'steep' is not defined"),
    ],
)
def test_other_objects_are_refused(given, curvature, error, message, plain):
    with pytest.raises(error, match=message):
        plain.compute(given, curvature, (np.zeros(3), np.zeros(3)), None, (), ())


def test_every_other_loss_is_refused(plain):
    for case in ONE_EACH:
        if not case.elementwise:
            with pytest.raises(TypeError, match="is no elementwise loss"):
                plain.compute(case.bare("sum"), "exact", (np.zeros(3),) * len(case.names), None, (), ())


def test_any_threads_may_call_at_once(plain, rng):
    (case,) = named(SCALAR, "SoftMarginLoss")
    arrays, loss = operands(case, rng, 20_000, np.float32), case.bare("sum")
    grads = [np.empty_like(arrays[0]) for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(lambda grad: compute(plain, loss, arrays, grads=(grad,)), grads))
    assert set(totals) == {loss(*arrays)}
    for grad in grads:
        assert_bits(grad, loss.grad(*arrays))


def test_a_cython_extension(tmp_path, rng):
    groups = build(SOURCES / "cythonised.pyx", tmp_path).Groups(lf.HuberLoss(delta=0.5, reduction="sum"))
    input, target = rng.standard_normal((2, 10_000))
    starts = np.array([0, 0, 10, 4000, 10_000])
    sums, grad = np.empty(4), np.empty(10_000)
    groups.compute(input, target, starts, sums, grad)
    loss = lf.HuberLoss(delta=0.5, reduction="sum")
    for k, (start, end) in enumerate(itertools.pairwise(starts)):
        value, expected = loss.value_and_grad(input[start:end], target[start:end])
        assert sums[k] == value
        assert_bits(grad[start:end], expected)
    with pytest.raises(ValueError, match="reduction='sum' or 'none'"):
        type(groups)(lf.HuberLoss())


def test_another_version_of_the_interface_is_refused(tmp_path):
    header = (Path(lf.get_include()) / "lossfast.h").read_text(encoding="utf-8")
    define = "#define LOSSFAST_ABI 1\n"
    assert define in header
    (tmp_path / "lossfast.h").write_text(header.replace(define, "#define LOSSFAST_ABI 77\n"), encoding="utf-8")
    with pytest.raises(ImportError, match=r"version 77 .* the one installed is 1: compile it again"):
        build(SOURCES / "plain.c", tmp_path, include=tmp_path)
