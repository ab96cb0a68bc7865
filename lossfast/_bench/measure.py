"""The parent of the workers: one workload at a time, all contenders in turn, again and again.

A load that comes and goes hits all contenders alike, because every round gives each of their calls one short turn, in
an order that is drawn anew. A worker that dies or hangs loses its workload and is started again for the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast._bench.machine import available_memory, describe, exponential_share, processors
from lossfast._bench.peers import CONTENDERS
from lossfast._bench.workloads import Workload, usual_shape
from lossfast._config import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The form of the document; a change of what a field means counts it up.
FORMAT = 1
#: Seconds: to start and to compile, and for one turn.
PREPARE_TIMEOUT, TURN_TIMEOUT = 600.0, 120.0
#: After so many failures a contender is left out.
MOST_FAILURES = 3


@dataclass(frozen=True)
class Situation:
    """How the calls of a turn come about."""

    mode: str  # of the worker
    operations: tuple[str, ...]  # none: all of them
    seconds: float = 0.0  # of a turn
    pause: float = 0.0  # before a call …
    count: int = 0  # … of so many in a turn
    rounds: tuple[int, int] = (5, 60)
    busy: bool = False


_GRADIENTS = ("value_and_grad", "value_and_grad_out")
SITUATIONS = {
    "hot": Situation("hot", (), seconds=0.01),
    "idle": Situation("idle", _GRADIENTS, pause=0.1, count=2, rounds=(10, 20)),
    "busy": Situation("single", _GRADIENTS, seconds=0.03, busy=True),
}


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    losses: tuple[str, ...]
    peers: tuple[str, ...]
    threads: tuple[int, ...]
    sizes: tuple[int, ...]
    dtypes: tuple[str, ...]
    situations: tuple[str, ...]
    seconds: float

    @property
    def workloads(self) -> list[Workload]:
        """Each once, though several sizes may have the same shape."""
        found = {
            Workload(loss, usual_shape(loss, size), dtype): None
            for loss in self.losses
            for dtype in self.dtypes
            for size in sorted(self.sizes)
        }
        return list(found)

    @property
    def cells(self) -> int:
        """Workloads in situations."""
        return len(self.workloads) * len(self.situations)


class FailureError(Exception):
    """A worker that does not answer."""


# ---- one worker ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _only(cpus: list[int]) -> Iterator[None]:
    """Processes that are started here may run on these processors."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A contender with so many threads; one that only counts processors sees the last of them, as many."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.buffer, self.stopped = b"", False
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOSSFAST_NUM_THREADS")
        environment = os.environ | dict.fromkeys(variables, str(threads)) | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
        environment |= CONTENDERS[name].environment.get(threads, {})
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        seen = processors()
        with _only(seen[-threads:] if CONTENDERS[name].counts_processors else seen):
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lossfast._bench.worker", name, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=environment,
                start_new_session=True,  # an interrupt is the parent's; what it starts ends with it
            )

    def send(self, request: dict[str, Any]) -> None:
        """Ask for something."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise FailureError(self._end()) from error

    def receive(self, timeout: float) -> dict[str, Any]:
        """The answer; `FailureError` if there is none, or if it is an error."""
        assert self.process.stdout is not None
        descriptor, deadline = self.process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.stop()
                raise FailureError(f"no answer within {timeout:g} s")
            received = os.read(descriptor, 1 << 16)
            if not received:
                raise FailureError(self._end())
            self.buffer += received
        line, _, self.buffer = self.buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise FailureError(answer["error"])
        return answer

    def _end(self) -> str:
        """How the process ended."""
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.stop()
            return "closed its output"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        self.stop()
        return f"{how}: {lines[-1]}" if lines else how

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it, and whatever it has started."""
        if self.stopped:
            return
        self.stopped = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@contextlib.contextmanager
def _busy_processor() -> Iterator[None]:
    """The first processor has other work."""
    with _only(processors()[:1]):
        spinner = subprocess.Popen(
            [sys.executable, "-P", "-m", "lossfast._bench.worker", "--spin"],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    with spinner:  # which waits for it and closes the pipe
        try:
            assert spinner.stdout is not None
            spinner.stdout.readline()
            yield
        finally:
            spinner.kill()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


# ---- all of them ---------------------------------------------------------------------------------------------------


class Session:
    """The workers, and what they have measured."""

    def __init__(self, plan: Plan, tick: Callable[[str], None]) -> None:
        """`tick` hears of every workload and situation before it is measured."""
        self.plan, self.tick = plan, tick
        self.names = ("limits", "lossfast", *plan.peers)
        self.processes: dict[tuple[str, int], Process] = {}
        self.failures: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}
        self.results: list[dict[str, Any]] = []
        self.differences: list[dict[str, Any]] = []
        self.random = random.Random(0)

    def run(self) -> dict[str, Any]:
        """Measure everything; an interrupt, or the end of the terminal, leaves what there is."""
        started, interrupted = time.time(), False
        before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            for workload in self.plan.workloads:
                self._measure(workload)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            for process in self.processes.values():
                process.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
        return {
            "format": FORMAT,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "duration": time.time() - started,
            "interrupted": interrupted,
            "lossfast": config(),
            "versions": self.versions,
            "machine": describe(),
            "plan": asdict(self.plan),
            "results": self.results,
            "differences": self.differences,
            "failures": self.failures,
        }

    # ---- workers -----------------------------------------------------------------------------------------------------

    def _failed(self, key: tuple[str, int], workload: Workload | None, reason: object) -> None:
        name, threads = key
        place: dict[str, Any] = {} if workload is None else {"loss": workload.loss, "elements": workload.elements}
        self.failures.append({"contender": name, "threads": threads, **place, "reason": str(reason)})

    def _start(self) -> None:
        """Start the workers that do not run, as long as they have not failed too often."""
        begun = []
        for key in ((name, threads) for threads in self.plan.threads for name in self.names):
            if key in self.processes:
                continue
            failed = [f for f in self.failures if (f["contender"], f["threads"]) == key]
            if len(failed) < MOST_FAILURES:
                self.processes[key] = Process(*key)
                begun.append(key)
        for key in begun:
            try:
                self.versions |= self.processes[key].receive(PREPARE_TIMEOUT)["versions"]
            except FailureError as error:
                self._failed(key, None, error)
                self.processes.pop(key).stop()

    def _prepare(self, workload: Workload) -> list[tuple[tuple[str, int], str]]:
        """What can be timed: worker and operation."""
        self._start()
        request = {"do": "prepare", "loss": workload.loss, "shape": workload.shape, "dtype": workload.dtype}
        asked, turns = [], []
        for key, process in self.processes.items():
            try:
                process.send(request)
                asked.append(key)
            except FailureError as error:
                self._failed(key, workload, error)
        for key in asked:
            try:
                answer = self.processes[key].receive(PREPARE_TIMEOUT)
            except FailureError as error:
                self._failed(key, workload, error)
                continue
            turns += [(key, operation) for operation in answer["operations"]]
            if answer["difference"] is not None and key[0] != "lossfast":
                place = {"contender": key[0], "threads": key[1], **_place(workload)}
                self.differences.append({**place, **answer["difference"]})
        self._drop_dead()
        return turns

    def _drop_dead(self) -> None:
        for key in [key for key, process in self.processes.items() if not process.alive]:
            self.processes.pop(key).stop()

    def _fits(self, workload: Workload) -> bool:
        """Whether the arrays of all workers, and the temporary ones of the greediest, have room."""
        free = available_memory()
        if workload.traffic is None or free is None:
            return True
        count = len(self.plan.threads) * len(self.names)
        need = (count + 8) * workload.traffic
        if need > free:
            reason = f"takes about {need / 1e9:.1f} GB in {count} processes, and {free / 1e9:.1f} GB are free"
            self._failed(("all", 0), workload, f"{reason}: ask for smaller sizes, fewer peers or threads")
        return need <= free

    # ---- measuring ---------------------------------------------------------------------------------------------------

    def _measure(self, workload: Workload) -> None:
        """One workload in all situations."""
        self.tick(f"{workload.loss} {'x'.join(map(str, workload.shape))}")
        if not self._fits(workload):
            return
        turns = self._prepare(workload)
        for name in self.plan.situations:
            situation = SITUATIONS[name]
            wanted = [
                (key, operation)
                for key, operation in turns
                if key in self.processes and (not situation.operations or operation in situation.operations)
            ]
            with _busy_processor() if situation.busy else contextlib.nullcontext():
                samples = self._rounds(workload, situation, wanted)
            for (key, operation), seconds in samples.items():
                if seconds:
                    self.results.append(_result(workload, name, key, operation, seconds))
        for key, process in self.processes.items():
            try:
                process.send({"do": "release"})
                process.receive(TURN_TIMEOUT)
            except FailureError as error:
                self._failed(key, workload, error)
        self._drop_dead()

    def _rounds(
        self, workload: Workload, situation: Situation, turns: list[tuple[tuple[str, int], str]]
    ) -> dict[tuple[tuple[str, int], str], list[float]]:
        """Samples by worker and operation; a round gives one turn to each."""
        samples: dict[tuple[tuple[str, int], str], list[float]] = {turn: [] for turn in turns}
        least, most = situation.rounds
        start, done = time.monotonic(), 0
        while done < least or (
            done < most and (time.monotonic() - start) * (done + 1) / done < self.plan.seconds / self.plan.cells
        ):
            order = list(samples)
            self.random.shuffle(order)
            for key, operation in order:
                if key not in self.processes:
                    continue
                request: dict[str, Any] = {"do": "time", "operation": operation, "mode": situation.mode}
                request |= {"seconds": situation.seconds, "pause": situation.pause, "count": situation.count}
                try:
                    self.processes[key].send(request)
                    samples[key, operation] += self.processes[key].receive(TURN_TIMEOUT)["seconds"]
                except FailureError as error:
                    self._failed(key, workload, error)
                    self.processes.pop(key).stop()
            done += 1
        return samples


def _place(workload: Workload) -> dict[str, Any]:
    return {
        "loss": workload.loss,
        "dtype": workload.dtype,
        "shape": list(workload.shape),
        "elements": workload.elements,
        "traffic": workload.traffic,
        "exponentials": exponential_share(workload.loss) * workload.elements,
    }


def _result(
    workload: Workload, situation: str, key: tuple[str, int], operation: str, seconds: list[float]
) -> dict[str, Any]:
    lower, median, upper, ninth = np.quantile(seconds, [0.25, 0.5, 0.75, 0.9]).tolist()
    return {
        **_place(workload),
        "situation": situation,
        "contender": key[0],
        "threads": key[1],
        "operation": operation,
        "samples": len(seconds),
        "median": median,
        "lower_quartile": lower,
        "upper_quartile": upper,
        "ninth_decile": ninth,
    }
