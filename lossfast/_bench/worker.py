"""One contender in a process of its own: ``python -P -m lossfast._bench.worker NAME THREADS``.

Requests come as lines of JSON on the standard input, and each has one line as its answer; the end of the input ends the
process. What libraries print goes to the standard error.

    {"do": "prepare", "loss": …, "shape": …, "dtype": …}  {"operations": […], "difference": {"value": …, "gradient": …}}
    {"do": "time", "operation": …, "mode": …, …}          {"seconds": [per call, …]}
    {"do": "release"}                                     {}

An error is answered by {"error": …}. ``--spin`` instead keeps a processor busy until the parent is gone.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast._bench.peers import CONTENDERS, Call, Contender
from lossfast._bench.workloads import Workload
from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from lossfast._arrays import Array

#: One sample of a hot loop takes at least so long, so that the clock does not count.
SAMPLE_SECONDS = 1e-3
#: Before a hot loop the call is repeated for so long: caches, clock frequency, threads that are awake.
WARM_SECONDS = 3e-3
#: Threads of some libraries look out for more work before they sleep; the next contender's turn comes after that.
REST_SECONDS = 5e-3
#: Samples of one turn.
MOST_SAMPLES = 200


def time_calls(call: Call, number: int) -> float:
    """Seconds per call."""
    function, arguments = call.function, call.arguments
    start = time.perf_counter()
    for _ in repeat(None, number):
        function(*arguments)
    return (time.perf_counter() - start) / number


def hot(call: Call, seconds: float, single: bool) -> list[float]:
    """Samples of calls that follow each other, for about so long; `single`: each call is one."""
    estimate, start = time_calls(call, 1), time.perf_counter()
    while time.perf_counter() - start < WARM_SECONDS:
        estimate = time_calls(call, 1)
    number = 1 if single else max(1, round(SAMPLE_SECONDS / max(estimate, 1e-9)))
    samples: list[float] = []
    start = time.perf_counter()
    while not samples or (time.perf_counter() - start < seconds and len(samples) < MOST_SAMPLES):
        samples.append(time_calls(call, number))
    return samples


def after_idling(call: Call, pause: float, count: int) -> list[float]:
    """The first calls after pauses."""
    samples = []
    for _ in range(count):
        time.sleep(pause)
        samples.append(time_calls(call, 1))
    return samples


def difference(contender: Contender, workload: Workload, arrays: tuple[Array, ...]) -> dict[str, float] | None:
    """How far value and gradient are from this package's, relative to the greatest entry."""
    answer = contender.answer()
    if answer is None:
        return None
    value, grads = answer
    loss: Any = REGISTRY[workload.loss]()
    expected, own = loss.value_and_grad(*arrays)
    worst = 0.0
    for grad, right in zip(grads, own if isinstance(own, tuple) else (own,), strict=True):
        if grad.shape != right.shape:
            raise ValueError(f"a gradient has shape {grad.shape}; expected {right.shape}")
        if right.size:
            worst = max(worst, float(np.abs(grad - right).max()) / float(np.abs(right).max() or 1))
    return {"value": abs(value - expected) / (abs(expected) or 1), "gradient": worst}


class Worker:
    """What the requests work on."""

    def __init__(self, name: str, threads: int) -> None:
        self.contender = CONTENDERS[name](threads)
        self.calls: dict[str, Call] = {}

    def prepare(self, loss: str, shape: list[int], dtype: str) -> dict[str, Any]:
        """Make the arrays and the calls; compare the results with this package's."""
        self.release()
        workload = Workload(loss, tuple(shape), dtype)
        arrays = workload.arrays()
        self.calls = self.contender.prepare(workload, arrays)
        if not self.calls:
            return {"operations": [], "difference": None}
        found = difference(self.contender, workload, arrays)
        del arrays
        for call in self.calls.values():
            call.function(*call.arguments)
        gc.collect()
        return {"operations": list(self.calls), "difference": found}

    def time(self, operation: str, mode: str, seconds: float, pause: float, count: int) -> dict[str, Any]:
        """Time one operation; `mode`: "hot", "single" calls one by one, or "idle" for the first ones after a pause."""
        call = self.calls[operation]
        gc.disable()
        try:
            samples = after_idling(call, pause, count) if mode == "idle" else hot(call, seconds, mode == "single")
        finally:
            gc.enable()
        time.sleep(REST_SECONDS)
        return {"seconds": samples}

    def release(self) -> dict[str, Any]:
        """Forget arrays and calls."""
        self.calls = {}
        self.contender.release()
        gc.collect()
        return {}


def spin() -> None:
    """Keep a processor busy, and say when it is."""
    parent = os.getppid()
    print("busy", flush=True)
    while os.getppid() == parent:
        for _ in repeat(None, 1_000_000):
            pass


def serve(name: str, threads: int) -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(name, threads)

    does: dict[str, Callable[..., dict[str, Any]]] = {
        "prepare": worker.prepare,
        "time": worker.time,
        "release": worker.release,
    }

    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    answer({"versions": worker.contender.versions()})
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        try:
            answer(does[do](**request))
        except Exception as error:  # whatever a library raises is the answer
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    if sys.argv[1] == "--spin":
        spin()
    else:
        serve(sys.argv[1], int(sys.argv[2]))
