"""Losses as objects: through every protocol of pickle and into another process, copied, alone and in compositions."""

import copy
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import lossfast as lf
import lossfast.functional as F
from lossfast import _drivers

from .cases import CASES, ONE_EACH, assert_bits, by_position
from .test_threads import python

#: One of each class, set of parameters and reduction.
LOSSES = list(dict.fromkeys(case.bare(reduction) for case in CASES for reduction in case.cls.reductions))
WAYS = {
    **{
        f"pickle-{n}": lambda thing, n=n: pickle.loads(pickle.dumps(thing, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
each_way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)


@each_way
def test_the_same_loss_comes_back(again):
    for loss in LOSSES:
        other = again(loss)
        assert type(other) is type(loss)
        assert other == loss
        assert hash(other) == hash(loss)
        assert repr(other) == repr(loss)
        for name, value in other.parameters.items():
            assert not isinstance(value, np.ndarray) or not value.flags.writeable, f"{name} of {loss}"


@each_way
def test_it_computes_the_same(again, rng):
    for case in ONE_EACH:
        arrays = case.arrays(rng, 60)
        for reduction in case.cls.reductions:
            expected = case.compute(case.reduced(reduction), arrays)
            loss = again(case.bare(reduction))
            assert_bits(case.compute(by_position(loss, case.cls), arrays), expected, str(case))


@each_way
def test_compositions_come_back(again):
    for loss in (loss for loss in LOSSES if loss.reduction == "mean"):
        tasks = lf.MultiTaskLoss(own=(loss, 0.25), other=(lf.MSELoss(), 2.0))
        for composition in (0.25 * loss - 2 * loss, tasks, lf.UncertaintyWeightedLoss(own=loss, other=lf.L1Loss())):
            other = again(composition)
            assert type(other) is type(composition)
            assert other == composition
            assert repr(other) == repr(composition)


@each_way
def test_functions_are_themselves(again):
    for name in F.__all__:
        assert again(getattr(F, name)) is getattr(F, name)


def test_another_process_reads_them(tmp_path):
    (tmp_path / "losses").write_bytes(pickle.dumps(LOSSES))
    done = python("import pickle; print(*pickle.load(open('losses', 'rb')), sep='\\n')", tmp_path)
    assert done.stdout == "".join(f"{loss}\n" for loss in LOSSES)


# ---- interpreters --------------------------------------------------------------------------------------------------


def installed(folder):
    """The package as an ordinary installation has it: an editable one runs the build, which sub-interpreters refuse."""
    here = Path(lf.__file__).parent
    package = shutil.copytree(here, folder / "lossfast", ignore=shutil.ignore_patterns("kernels"))
    libraries = here.with_name("lossfast.libs")  # of a repaired wheel
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    for module in (name for name in sys.modules if name.startswith(f"{_drivers.__name__}.")):
        shutil.copy(sys.modules[module].__file__, package / "_drivers")
    return os.pathsep.join([str(folder), *sys.path])


@pytest.mark.parametrize("first", ["main", "other"])
def test_a_second_interpreter_is_refused(first, tmp_path):
    """The first one works; NumPy, where it is stricter, lets in the main one alone."""
    code = f"""
        import warnings
        try:
            import _interpreters as interpreters
        except ImportError:  # before CPython 3.13
            import _xxsubinterpreters as interpreters

        warnings.simplefilter("ignore")  # NumPy warns of interpreters beside the main one
        attempt = '''if True:
            import warnings
            warnings.simplefilter("ignore")
            try:
                import lossfast as lf
                print(lf.MSELoss()([1.0], [3.0]), flush=True)
            except ImportError as error:
                print("refused:", error, flush=True)
        '''
        other = interpreters.create()
        run = [lambda: exec(attempt, {{}}), lambda: interpreters.run_string(other, attempt)]
        for way in run if {first!r} == "main" else reversed(run):
            way()
    """
    lines = python(code, tmp_path, arguments=("-P", "-S", "-c"), PYTHONPATH=installed(tmp_path)).stdout.splitlines()
    assert len(lines) == 2
    assert "4.0" in lines
    refused = lines[1] if lines[0] == "4.0" else lines[0]
    assert refused.startswith("refused: ")
    assert "interpreter" in refused
    assert first == "other" or lines[0] == "4.0"
