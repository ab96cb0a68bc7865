"""Forks and pools of processes, memory that runs out, signals: each in a process of its own."""

import json
import sys

import pytest

from lossfast._loss import REGISTRY

from .test_threads import python

PREPARE = """
    import os, sys
    import numpy as np
    import lossfast as lf
    from lossfast._drivers import runtime
    lf.set_num_threads(3)
    runtime.set_thresholds(0, 0)
    x = np.random.default_rng(1).standard_normal((20000, 10))
    t = np.arange(20000) % 10
    def work():
        return lf.CrossEntropyLoss().value_and_grad(x, t), lf.MSELoss().value_and_grad(x, x + 1)
    def same(a, b):
        return all(np.array_equal(p, q) for m, n in zip(a, b) for p, q in zip(m, n))
    expected = work()
"""


def test_forked_child_works(tmp_path):
    code = (
        PREPARE
        + """
    import threading
    for again in range(20):
        child = os.fork()
        if child == 0:
            good = all(same(work(), expected) for _ in range(5))
            others = []
            thread = threading.Thread(target=lambda: others.append(same(work(), expected)))
            thread.start(); thread.join()
            os._exit(0 if good and others == [True] else 3)
        assert same(work(), expected)  # the parent, at the same time
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, status
    print("done")
    """
    )
    assert python(code, tmp_path).stdout == "done\n"


def test_forked_pool_works(tmp_path):
    code = (
        PREPARE
        + """
    import multiprocessing
    def task(k):
        return same(work(), expected)
    if __name__ == "__main__":
        with multiprocessing.get_context("fork").Pool(3) as pool:
            print(pool.map_async(task, range(12)).get(timeout=60))
        assert same(work(), expected)
    """
    )
    assert python(code, tmp_path).stdout == f"{[True] * 12}\n"


def test_fork_while_others_compute(tmp_path):
    code = (
        PREPARE
        + """
    import threading
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            work()
    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    codes = []
    for again in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if same(work(), expected) else 3)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for thread in threads:
        thread.join()
    print(codes)
    """
    )
    assert python(code, tmp_path).stdout == f"{[0] * 10}\n"


# ---- pools ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_pools_of_processes(start, tmp_path):
    """Losses go to the children by pickle; the parent has computed in parallel before, and does meanwhile."""
    code = (
        PREPARE
        + f"""
    import multiprocessing
    if __name__ == "__main__":
        calls = [(lf.CrossEntropyLoss().value_and_grad, (x, t)), (lf.MSELoss().value_and_grad, (x, x + 1))] * 4
        with multiprocessing.get_context({start!r}).Pool(3) as pool:
            waiting = [pool.apply_async(method, arrays) for method, arrays in calls]
            assert same(work(), expected)
            results = [w.get(timeout=100) for w in waiting]
        print([same([r], [e]) for r, e in zip(results, expected * 4)])
    """
    )
    assert python(code, tmp_path).stdout == f"{[True] * 8}\n"


def test_joblib(tmp_path):
    """Its processes have a limit of threads each, which is obeyed."""
    code = (
        PREPARE
        + """
    import joblib
    if __name__ == "__main__":
        calls = [(lf.CrossEntropyLoss().value_and_grad, (x, t)), (lf.MSELoss().value_and_grad, (x, x + 1))] * 2
        results = joblib.Parallel(2)(joblib.delayed(method)(*arrays) for method, arrays in calls)
        print([same([r], [e]) for r, e in zip(results, expected * 2)])
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            print(joblib.Parallel(2)(joblib.delayed(lf.get_num_threads)() for _ in range(2)))
    """
    )
    assert python(code, tmp_path).stdout == f"{[True] * 4}\n[1, 1]\n"


def test_threadpoolctl_limits_a_child(tmp_path):
    code = (
        PREPARE
        + """
    import threadpoolctl
    child = os.fork()
    if child == 0:
        with threadpoolctl.threadpool_limits(1):
            os._exit(0 if lf.get_num_threads() == 1 and same(work(), expected) else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lf.get_num_threads())
    """
    )
    assert python(code, tmp_path).stdout == "0 3\n"


# ---- memory runs out ------------------------------------------------------------------------------------------------

SHORT_OF_MEMORY = """
    import json, resource, sys
    import numpy as np, lossfast as lf
    from lossfast._bench.workloads import arrays_for, usual_shape
    from lossfast._loss import REGISTRY

    lf.set_kept_memory(0)
    lf.set_num_threads(2)
    found = {}

    def leaves(tree):
        return [leaf for member in tree for leaf in leaves(member)] if isinstance(tree, tuple) else [tree]

    def limit(spare):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY if spare is None else used + spare, -1))

    for name, cls in REGISTRY.items():
        arrays = arrays_for(name, usual_shape(name, 400_000), "f8")
        loss = cls()
        expected = value, grads = loss.value_and_grad(*arrays)
        outs = [np.full_like(grad, 7) for grad in leaves(grads)]
        whole = [grad.tobytes() for grad in leaves(grads)]
        untouched = [out.tobytes() for out in outs]
        refused = {"new": 0, "out": 0}
        for spare in (0, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 24):
            for way, options in (("new", {}), ("out", {"out": tuple(outs) if len(outs) > 1 else outs[0]})):
                limit(spare)
                try:
                    again, result = loss.value_and_grad(*arrays, **options)
                except MemoryError:
                    again = None
                limit(None)
                if again is None:
                    refused[way] += 1
                    assert [out.tobytes() for out in outs] == untouched, f"{name}: out was written, {spare} spare"
                else:
                    assert again == value, name
                    assert [grad.tobytes() for grad in leaves(result)] == whole, name
                for out in outs:
                    out[...] = 7
        assert loss.value_and_grad(*arrays)[0] == value
        found[name] = refused
    print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: elsewhere nothing limits memory")
def test_out_of_memory(tmp_path):
    """A MemoryError, and what the caller gave for results is as it was; then the call succeeds."""
    done = python(SHORT_OF_MEMORY, tmp_path, MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="65536")
    found = json.loads(done.stdout)
    assert len(found) == len(REGISTRY)
    assert all(refused["new"] for refused in found.values()), found
    assert any(refused["out"] for refused in found.values()), found


# ---- signals --------------------------------------------------------------------------------------------------------


def test_an_interrupt_comes_behind_the_call(tmp_path):
    """Kernels are not interrupted: results are whole when KeyboardInterrupt is raised."""
    code = """
        import os, signal, threading, time
        import numpy as np, lossfast as lf
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background does not inherit
        lf.set_num_threads(2)
        x = np.random.default_rng(0).standard_normal(8_000_000)
        out = np.zeros_like(x)
        loss = lf.BCEWithLogitsLoss(reduction="sum")
        ones = np.ones_like(x)
        expected = loss.grad(x, ones)
        during, started = [], threading.Event()
        for _ in range(12):
            out[...] = 7
            started.clear()
            def interrupt():
                started.wait()
                time.sleep(0.002)
                os.kill(os.getpid(), signal.SIGINT)
            thread = threading.Thread(target=interrupt)
            thread.start()
            finished = False
            try:
                started.set()
                loss.grad(x, ones, out=out)
                finished = True
                thread.join()
                time.sleep(1)
            except KeyboardInterrupt:
                pass
            thread.join()
            whole, untouched = np.array_equal(out, expected), bool((out == 7).all())
            assert whole or untouched, "half written"
            during.append(whole and not finished)
        print(any(during))
    """
    assert python(code, tmp_path).stdout == "True\n"
