"""`python -m lossfast bench`: typical calls of every loss, contenders in processes of their own, what a run says."""

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from lossfast._drivers.elementwise import map_array
from lossfast._drivers.limits import exponentials, subtract

from lossfast.__main__ import main
from lossfast._bench import command, measure, report
from lossfast._bench.machine import difference_arrays, exponential_share
from lossfast._bench.measure import Plan, Session
from lossfast._bench.peers import CONTENDERS, JAX, PEERS, SCIKIT_LEARN, TORCH, Call, ScikitLearn
from lossfast._bench.worker import difference, hot, time_calls
from lossfast._bench.workloads import Workload, arrays_for, axis_of, usual_shape
from lossfast._loss import REGISTRY

SIZES = (1, 16, 3_000, 150_000)


def workload(name, size, dtype="float32"):
    return Workload(name, usual_shape(name, size), dtype)


# ---- workloads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
def test_every_loss_is_finite_on_its_typical_arrays(name):
    loss = REGISTRY[name]()
    for size in SIZES:
        for dtype in ("float32", "float64"):
            work = workload(name, size, dtype)
            arrays = work.arrays()
            value, grads = loss.value_and_grad(*arrays)
            assert math.isfinite(value), work
            grads = grads if isinstance(grads, tuple) else (grads,)
            assert all(np.isfinite(g).all() and g.dtype == dtype for g in grads), work
            assert size < 100 or all(g.any() for g in grads), work
            if axis_of(name) != "layer":
                assert sum(g.size for g in grads) == work.elements, work
            if size >= 3000 and axis_of(name) != "frames":
                assert size / 2 <= work.elements <= size, work


@pytest.mark.parametrize("name", REGISTRY)
def test_traffic_is_the_arrays_and_the_gradients(name):
    work = workload(name, 3_000, "float64")
    if axis_of(name) == "layer":  # products of matrices
        assert work.traffic is None and difference_arrays(work) is None
        return
    _, grads = REGISTRY[name]().value_and_grad(*work.arrays())
    given, written = work.arrays(), grads if isinstance(grads, tuple) else (grads,)
    moved = sum(a.nbytes for a in (*given, *written))
    assert moved * 0.9 <= work.traffic <= moved  # targets of many features count nothing
    three = difference_arrays(work)
    assert moved * 0.9 - 12 <= sum(a.nbytes for a in three) <= moved
    assert {a.dtype.name for a in three} == {"float32"}


@pytest.mark.parametrize("name", REGISTRY)
def test_arrays_are_the_same_in_every_process(name):
    shape = usual_shape(name, 200)
    for first, second in zip(arrays_for(name, shape, "float32"), arrays_for(name, shape, "float32"), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        *[("MSELoss", 0), ("MultiMarginLoss", 0), ("BCELoss", 1), ("CrossEntropyLoss", 1), ("PoissonNLLLoss", 1)],
        *[("GaussianNLLLoss", 0.5), ("CTCLoss", 1), ("TripletMarginLoss", 0)],
    ],
)
def test_exponentials_per_prediction(name, share):
    assert exponential_share(name) == share


def test_sizes_of_one_shape_are_measured_once():
    plan = Plan(("CTCLoss", "MSELoss"), (), (1,), (20, 10, 30), ("float32",), ("hot", "idle"), 1.0)
    assert [w.shape for w in plan.workloads] == [(4, 1, 4, 1), (10,), (20,), (30,)]
    assert plan.cells == 8


# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 5000])
def test_the_difference_is_one(n, dtype, isa, threads, rng):
    a, b = rng.standard_normal((2, n)).astype(dtype)
    longer = np.full(n + 64, np.nan, dtype)
    start = -longer.ctypes.data % 64 // longer.itemsize
    for around_cache, at in ((False, start), (False, start + 1), (True, start)):
        longer[:] = np.nan
        subtract(a, b, longer[at : at + n], around_cache)
        np.testing.assert_array_equal(longer[at : at + n], a - b)
        assert np.isnan(longer[:at]).all() and np.isnan(longer[at + n :]).all()
    if n:
        with pytest.raises(ValueError, match="begins with a cache line"):
            subtract(a, b, longer[start + 1 : start + 1 + n], True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_exponentials_are_ones(dtype, isa):
    x = np.linspace(-80, 0, 1024).astype(dtype)
    result = np.empty_like(x)
    map_array("exp_nonpositive", x, result, x.itemsize)
    np.testing.assert_allclose(result, np.exp(x), rtol=4 * np.finfo(dtype).eps)
    exponentials(x, 3)


def test_limits_refuse_what_they_cannot_read():
    a = np.ones(8, np.float32)
    read_only = np.ones(8, np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="b has 4 elements of float32; expected 8"):
        subtract(a, a[:4], a.copy(), False)
    with pytest.raises(ValueError, match="a: expected a contiguous array of float32 or float64"):
        subtract(a[::2], a[:4], a[:4], False)
    with pytest.raises(ValueError, match="not int64"):
        subtract(np.ones(8, np.int64), a, a, False)
    with pytest.raises(ValueError, match="c: expected a writeable array"):
        subtract(a, a, read_only, False)
    with pytest.raises(ValueError, match="x has 8 elements; expected 1024"):
        exponentials(a, 1)


# ---- contenders ------------------------------------------------------------------------------------------------------


def test_peers_are_stated_for_losses_that_exist():
    assert {*TORCH, *JAX, *SCIKIT_LEARN} <= REGISTRY.keys()


@pytest.mark.parametrize("name", SCIKIT_LEARN)
def test_scikit_learn_has_the_same_numbers(name):
    work = workload(name, 3_000, "float64")
    arrays, peer = work.arrays(), ScikitLearn(1)
    calls = peer.prepare(work, arrays)
    assert set(calls) == {"value", "value_and_grad", "value_grad_hess"}
    found = difference(peer, work, arrays)
    assert max(found.values()) < 1e-12
    peer.scale *= 2
    assert max(difference(peer, work, arrays).values()) > 0.5


def test_a_loss_that_a_peer_does_not_have_is_left_out():
    work = workload("TripletMarginLoss", 16)
    assert ScikitLearn(1).prepare(work, work.arrays()) == {}


@pytest.mark.parametrize("name", REGISTRY)
def test_this_package_answers_every_operation(name):
    work, contender = workload(name, 16), CONTENDERS["lossfast"](1)
    arrays = work.arrays()
    calls = contender.prepare(work, arrays)
    assert ("value_grad_hess" in calls) == bool(REGISTRY[name].curved)
    results = {operation: call.function(*call.arguments) for operation, call in calls.items()}
    assert results["value"] == results["value_and_grad"][0] == results["value_and_grad_out"][0]
    assert difference(contender, work, arrays) == {"value": 0.0, "gradient": 0.0}


def test_samples_are_seconds_per_call():
    call = Call(time.sleep, (0.002,))
    assert time_calls(call, 2) >= 0.002
    assert all(sample >= 0.002 for sample in hot(call, 0.0, single=True))


# ---- a run -----------------------------------------------------------------------------------------------------------

ROW = {"loss", "dtype", "shape", "elements", "traffic", "exponentials", "situation", "contender", "threads"}
ROW |= {"operation", "samples", "median", "lower_quartile", "upper_quartile", "ninth_decile"}
DOCUMENT = {"format", "started", "duration", "interrupted", "lossfast", "versions", "machine", "plan", "results"}
DOCUMENT |= {"differences", "failures"}


def test_a_run_without_peers(tmp_path):
    arguments = ["--loss", "MSELoss", "LinearCrossEntropyLoss", "--peers", "none", "--threads", "1", "--size"]
    arguments += ["3000", "--situations", "hot,busy", "--seconds", "0.1", "--json", "r.json", "--picture", "p.svg"]
    run = subprocess.run(
        [sys.executable, "-P", "-m", "lossfast", "bench", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    document = json.loads((tmp_path / "r.json").read_text())
    assert set(document) == DOCUMENT
    assert document["failures"] == [] and not document["interrupted"]
    rows = document["results"]
    assert all(set(row) == ROW for row in rows)
    assert all(0 < row["lower_quartile"] <= row["median"] <= row["upper_quartile"] for row in rows)
    assert all(row["samples"] >= 5 for row in rows)
    hot_rows = [row for row in rows if row["situation"] == "hot"]
    measured = {(r["loss"], r["elements"], r["contender"]) for r in hot_rows}
    assert measured == {("MSELoss", 3000, "lossfast"), ("MSELoss", 3000, "limits")} | {
        ("LinearCrossEntropyLoss", 3000, "lossfast")
    }
    assert {r["operation"] for r in rows if r["situation"] == "busy"} == {"value_and_grad", "value_and_grad_out"}
    assert "<svg" in (tmp_path / "p.svg").read_text()[:400]
    assert "hot loop" in run.stdout and "beside a busy processor" in run.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.svg", "r.json"]


def test_workers_that_die_or_hang_are_reported_and_started_again(monkeypatch):
    plan = Plan(("MSELoss",), (), (1,), (16, 32, 64), ("float32",), ("hot",), 0.1)
    seen, timeout = [], measure.PREPARE_TIMEOUT

    def tick(_):
        processes = {name: process.process for (name, _), process in session.processes.items()}
        seen.append(processes)
        if len(seen) == 2:
            processes["limits"].kill()
            processes["limits"].wait()
            os.kill(processes["lossfast"].pid, signal.SIGSTOP)
            monkeypatch.setattr(measure, "PREPARE_TIMEOUT", 1.0)
        else:
            monkeypatch.setattr(measure, "PREPARE_TIMEOUT", timeout)

    session = Session(plan, tick)
    document = session.run()
    reasons = {f["contender"]: (f["elements"], f["reason"]) for f in document["failures"]}
    assert reasons["limits"] == (32, "was killed by SIGKILL")
    assert reasons["lossfast"] == (32, "no answer within 1 s")
    measured = {(row["contender"], row["elements"]) for row in document["results"]}
    assert measured == {(name, elements) for name in ("limits", "lossfast") for elements in (16, 64)}
    for process in [p for step in seen for p in step.values()] + [p.process for p in session.processes.values()]:
        assert process.returncode is not None
    assert "left out: limits with 1 threads, MSELoss of 32 elements: was killed by SIGKILL" in report.text(document)


def test_a_worker_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setitem(CONTENDERS, "absent", ScikitLearn)  # unknown to the worker
    plan = Plan(("MSELoss",), ("absent",), (1,), (16,), ("float32",), ("hot",), 0.1)
    (failure,) = Session(plan, lambda _: None).run()["failures"]
    assert failure["contender"] == "absent"
    assert failure["reason"] == "ended with exit code 1: KeyError: 'absent'"


def test_an_interrupted_run_keeps_what_it_has():
    seen = []

    def tick(_):
        seen.append(list(session.processes.values()))
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    session = Session(Plan(("MSELoss",), (), (1,), (16, 32), ("float32",), ("hot",), 0.1), tick)
    document = session.run()
    assert document["interrupted"]
    assert {row["elements"] for row in document["results"]} == {16}
    assert all(process.process.returncode is not None for process in seen[1])
    assert "interrupted: this is what had been measured" in report.text(document)


def test_what_does_not_fit_is_left_out(monkeypatch):
    monkeypatch.setattr(measure, "available_memory", lambda: 1_000)
    plan = Plan(("MSELoss",), (), (1,), (16,), ("float32",), ("hot",), 0.1)
    document = Session(plan, lambda _: None).run()
    assert document["results"] == []
    assert "ask for smaller sizes" in document["failures"][0]["reason"]


# ---- what a run says -------------------------------------------------------------------------------------------------


def row(contender, operation, median, *, threads=1, situation="hot"):
    place = {"loss": "MSELoss", "dtype": "float32", "shape": [1024], "elements": 1024, "traffic": 12288}
    spread = {"lower_quartile": median * 0.99, "upper_quartile": median * 1.01, "ninth_decile": 2 * median}
    named = {"contender": contender, "operation": operation, "threads": threads, "situation": situation}
    return {**place, **named, **spread, "exponentials": 0.0, "samples": 9, "median": median}


@pytest.fixture
def document():
    rows = []
    for threads in (1, 2):
        rows += [
            row("lossfast", "value_and_grad", 2e-6, threads=threads),
            row("lossfast", "value_and_grad_out", 1e-6, threads=threads),
            row("lossfast", "value", 1e-6, threads=threads),
            row("torch", "value_and_grad", 8e-6, threads=threads),
            row("torch", "value", 0.5e-6, threads=threads),
            row("jax", "value_and_grad", 1e-6, threads=threads),
            row("limits", "difference", 0.9e-6, threads=threads),
            row("limits", "difference_around_cache", 0.6e-6, threads=threads),
            row("limits", "exponentials", 1e-6, threads=threads),
        ]
    plan = {"peers": ["torch", "jax"], "threads": [1, 2], "situations": ["hot", "idle"]}
    return {
        "plan": plan,
        "results": rows,
        "differences": [],
        "failures": [],
        "interrupted": False,
        "versions": {"torch": "2"},
        "machine": {"processor": "abacus", "processors": 2, "caches": {"L1 data": "48K"}},
        "lossfast": {"version": "0", "instruction set": "avx2"},
    }


def test_ratios_and_limits(document):
    one, two = report.cells(document, "hot")
    assert (one.threads, two.threads) == (1, 2)
    assert one.ratio("torch") == pytest.approx(4)
    assert one.limit == pytest.approx(0.6e-6)
    assert one.share_of_limit == pytest.approx(0.6)
    for entry in document["results"]:
        entry["exponentials"] = 819.2  # 0.8 µs, more than the traffic
    assert report.cells(document, "hot")[0].share_of_limit == pytest.approx(0.8)


def test_the_verdict_names_who_is_faster(document):
    text = report.text(document)
    assert "torch takes 4.0 times as long for value and gradient (geometric mean of 2), 0.50 times at least" in text
    assert "faster than lossfast: MSELoss 1024 float32, 1 thread, value, 2.00 times as fast" in text
    assert "jax takes 0.5 times as long" in text
    assert "nowhere more than 5 % slower" in text


def test_peers_with_other_numbers_are_named_and_do_not_count(document):
    place = {"loss": "MSELoss", "dtype": "float32", "shape": [1024], "elements": 1024}
    for threads in (1, 2):
        document["differences"].append(
            {"contender": "jax", "threads": threads, **place, "value": math.nan, "gradient": 0.0}
        )
    text = report.text(document)
    assert "jax has other numbers for MSELoss" in text
    assert "jax takes" not in text


def test_more_threads_that_are_slower_are_named(document):
    slow = copy.deepcopy(document)
    for entry in slow["results"]:
        if entry["threads"] == 2 and entry["operation"] == "value" and entry["contender"] == "lossfast":
            for what in ("median", "lower_quartile", "upper_quartile"):
                entry[what] *= 1.2
    slow["results"] += [
        row("lossfast", "value_and_grad", 1e-6 * threads, threads=threads, situation="idle") for threads in (1, 2)
    ]
    lines = list(report.slower_with_threads(slow))
    assert lines == [
        "MSELoss 1024 float32, 2 threads, hot, value, median: 1.2 us, with 1 1 us (+20%)",
        "MSELoss 1024 float32, 2 threads, idle, value_and_grad, median: 2 us, with 1 1 us (+100%)",
        "MSELoss 1024 float32, 2 threads, idle, value_and_grad, ninth decile: 4 us, with 1 2 us (+100%)",
    ]
    assert all(line in report.text(slow) for line in lines)
    assert list(report.slower_with_threads(document)) == []


def test_the_picture_has_everything(document, tmp_path):
    report.picture(document, tmp_path / "p.svg")
    assert (tmp_path / "p.svg").stat().st_size > 10_000
    document["results"] = [r for r in document["results"] if r["contender"] == "lossfast"]
    report.picture(document, tmp_path / "alone.png")
    assert (tmp_path / "alone.png").stat().st_size > 1_000


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss", "MSE"], "argument --loss: 'MSE' is no loss: MSELoss or"),
        (["--peers", "tensorflow"], "argument --peers: 'tensorflow': expected some of torch,compile,jax,sklearn"),
        (["--threads", "0"], "argument --threads: 0 threads: expected from 1 to"),
        (["--threads", "1,many"], "argument --threads: 'many': expected whole numbers"),
        (["--size", "0"], "argument --size: '0': expected a number of predictions from 1 to 2**40"),
        (["--size", "2.5"], "argument --size: '2.5': expected whole numbers"),
        (["--dtype", "float16"], "argument --dtype: 'float16': expected some of float32,float64"),
        (["--situations", "cold"], "argument --situations: 'cold': expected some of hot,idle,busy"),
        (["--seconds", "-1"], "argument --seconds: '-1': expected a positive number of seconds"),
        (["--seconds", "nan"], "argument --seconds: 'nan': expected a positive number"),
        (["--json", "nowhere/r.json"], "argument --json: 'nowhere/r.json': there is no folder 'nowhere'"),
        (["--json", "."], "argument --json: '.' is a folder"),
        (["--picture", "p.txt"], "argument --picture: 'p.txt': expected a file name that ends in .png, .pdf, .svg"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setattr(PEERS["jax"], "packages", {"no_such_module": "no-such-package"})
    with pytest.raises(SystemExit):
        main(["bench", "--peers", "jax"])
    assert "'jax' needs no-such-package, not installed here: pip install no-such-package" in capsys.readouterr().err
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["bench", "--peers", "none", "--picture", "p.png"])
    assert 'a picture needs matplotlib: pip install "lossfast[bench]"' in capsys.readouterr().err
