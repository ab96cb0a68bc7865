"""Threads, environment variables, what the package says of itself."""

import os
import re
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

import lossfast as lf
from lossfast._drivers import runtime

from .cases import CASES, assert_bits

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
#: Seconds that no child of these tests needs.
PATIENCE = 120


def python(code, tmp_path, *, arguments=("-c",), check=True, **environment):
    """Run code in a process of its own, outside of the source tree, with nothing set but what is given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOSSFAST_", "OMP_"))}
    command = [sys.executable, *arguments, *([textwrap.dedent(code)] if code else [])]
    done = subprocess.run(
        command, cwd=tmp_path, env=kept | environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def default_threads():
    lf.set_num_threads(None)
    yield
    lf.set_num_threads(None)


# ---- how many -------------------------------------------------------------------------------------------------------


def test_set_and_get(default_threads):
    for n in (1, 2, 3, 64, np.int64(5)):  # to the letter, above the number of processors too
        lf.set_num_threads(n)
        assert lf.get_num_threads() == n
        assert lf.config()["threads"] == n
    lf.set_num_threads(None)
    assert 1 <= lf.get_num_threads() <= max(1, int(os.environ.get("OMP_NUM_THREADS", PROCESSORS)))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2", [2]])
def test_numbers_of_threads_that_make_no_sense(bad, default_threads):
    lf.set_num_threads(3)
    with pytest.raises((ValueError, TypeError), match=re.escape(repr(bad))):
        lf.set_num_threads(bad)
    assert lf.get_num_threads() == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, PROCESSORS),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"LOSSFAST_NUM_THREADS": "4"}, 4),
        ({"LOSSFAST_NUM_THREADS": "4", "OMP_NUM_THREADS": "3"}, 4),
        ({"LOSSFAST_NUM_THREADS": "1", "OMP_NUM_THREADS": "3"}, 1),
    ],
)
def test_environment_says_how_many(environment, expected, tmp_path):
    assert lf.openmp_enabled()
    assert (
        python("import lossfast; print(lossfast.get_num_threads())", tmp_path, **environment).stdout == f"{expected}\n"
    )


@pytest.mark.parametrize("bad", ["0", "-2", "many", "1.5"])
def test_environment_that_makes_no_sense(bad, tmp_path):
    done = python("import lossfast", tmp_path, check=False, LOSSFAST_NUM_THREADS=bad)
    assert done.returncode != 0
    assert f"ImportError: LOSSFAST_NUM_THREADS = {bad!r}" in done.stderr


def test_threadpoolctl_is_obeyed(default_threads):
    lf.set_num_threads(4)
    with threadpoolctl.threadpool_limits(1):
        assert lf.get_num_threads() == 1
    assert lf.get_num_threads() == 4
    lf.set_num_threads(None)
    before = lf.get_num_threads()
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert lf.get_num_threads() == 1
    assert lf.get_num_threads() == before


def test_affinity_mask_is_obeyed(tmp_path):
    code = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import lossfast
        print(lossfast.get_num_threads())
    """
    assert python(code, tmp_path).stdout == "1\n"


# ---- at once --------------------------------------------------------------------------------------------------------


#: Python threads that call at once.
CALLERS = 16


@pytest.mark.parametrize("number", [1, 3])
def test_many_callers_at_once(number, parallel, rng):
    lf.set_num_threads(number)
    work = [
        (getattr(case.reduced(r), case.methods[-1]), case.arrays(rng, 9000))
        for case in CASES[::3]
        for r in ("none", "mean")
    ]
    expected = [method(*arrays) for method, arrays in work]
    gate = threading.Barrier(CALLERS)

    def everything(start):
        gate.wait()
        order = [*range(start, len(work)), *range(start)]
        return [(k, work[k][0](*work[k][1])) for k in order]

    with ThreadPoolExecutor(CALLERS) as pool:
        for results in pool.map(everything, [k * len(work) // CALLERS for k in range(CALLERS)]):
            for k, result in results:
                assert_bits(result, expected[k], f"call {k}")


def test_callers_share_one_loss_and_its_function(rng):
    x, t = rng.standard_normal((2, 5000))
    deltas = [0.5 + k / 16 for k in range(200)]  # more than the functions keep
    expected = [lf.HuberLoss(delta=d)(x, t) for d in deltas]
    with ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(3):
            assert list(pool.map(lambda d: lf.functional.huber_loss(x, t, delta=d), deltas)) == expected


def test_other_threads_run_during_large_work(default_threads):
    """With a switch interval that never ends, another thread runs only if the call gives the lock away."""
    x = np.zeros(4_000_000, np.float32)
    lf.set_num_threads(1)
    interval = sys.getswitchinterval()

    def observed():
        entered, finished = threading.Event(), threading.Event()

        def work():
            entered.set()
            lf.MSELoss(reduction="sum")(x, x)
            finished.set()

        worker = threading.Thread(target=work)
        worker.start()
        entered.wait()
        early = not finished.is_set()
        worker.join()
        return early

    sys.setswitchinterval(1000)
    try:
        assert any(observed() for _ in range(50))
    finally:
        sys.setswitchinterval(interval)


# ---- instruction sets, what the package says ------------------------------------------------------------------------


@pytest.mark.parametrize("isa", runtime.available_isas())
def test_environment_chooses_the_instruction_set(isa, tmp_path):
    code = "import lossfast; print(lossfast.config()['instruction set'])"
    assert python(code, tmp_path, LOSSFAST_ISA=isa).stdout == f"{isa}\n"


def test_default_is_the_best_available(tmp_path):
    code = "import lossfast; c = lossfast.config(); print(c['instruction set'] == c['available'][-1])"
    assert python(code, tmp_path).stdout == "True\n"
    assert python(code, tmp_path, LOSSFAST_ISA="").stdout == "True\n"


@pytest.mark.parametrize("bad", ["sse9", "AVX2", "avx1024"])
def test_instruction_set_that_is_not_available(bad, tmp_path):
    done = python("import lossfast", tmp_path, check=False, LOSSFAST_ISA=bad)
    assert done.returncode != 0
    assert f"ImportError: LOSSFAST_ISA = {bad!r}" in done.stderr
    assert "baseline" in done.stderr
    with pytest.raises(ValueError, match="baseline"):
        runtime.use_isa(bad)


def test_instruction_sets_agree(each_isa, rng):
    """Not bit by bit (a fused multiply-add rounds once), but closely."""
    for case in CASES:
        arrays = case.arrays(rng, 2000)
        results = [case.compute(case.loss, arrays) for _ in each_isa()]
        for other in results[1:]:
            np.testing.assert_allclose(other[0], results[0][0], rtol=1e-12, atol=1e-13)
            for group, first in zip(other[1:], results[0][1:], strict=True):
                for a, b in zip(group, first, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_show_config(capsys, isa):
    lf.show_config()
    printed = capsys.readouterr().out
    for value in (lf.__version__, isa, str(lf.get_num_threads()), ", ".join(runtime.available_isas()), np.__version__):
        assert value in printed
    assert re.search(r"(?i)openmp", printed)
    assert lf.config()["instruction set"] == isa
    assert set(lf.config()["available"]) <= set(lf.config()["built"])


def test_the_module_prints_the_configuration(tmp_path):
    printed = python("", tmp_path, arguments=("-m", "lossfast")).stdout
    assert lf.__version__ in printed
    assert runtime.available_isas()[-1] in printed
    assert re.search(r"(?i)threads", printed)


def test_import_is_small(tmp_path):
    """Nothing of the extras is imported, and no thread is started, before it is needed."""
    code = """
        import sys, threading
        import lossfast
        print(sorted({"sklearn", "matplotlib", "torch", "tqdm", "mpmath"} & set(sys.modules)), threading.active_count())
    """
    assert python(code, tmp_path).stdout == "[] 1\n"
