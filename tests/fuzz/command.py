"""Run cases in processes of their own, and say what came of them."""

from __future__ import annotations

import argparse
import collections
import faulthandler
import itertools
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import lossfast as lf
from lossfast._drivers import runtime

from .calls import LOSS_CALLS, Call, World, loss_call
from .giants import giant_call
from .hostile import Dice, File
from .judge import Failure, judge
from .memory import Arena
from .others import OTHERS

#: Seconds at one case after which a process hangs; only those count in which the overseer runs too.
PATIENCE = 600
#: Where a process says which case it is at.
PROGRESS = struct.Struct("q")
MAKERS = [lambda w, of=of: loss_call(*of, w) for of in LOSS_CALLS] + list(itertools.chain(*OTHERS.values()))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--case", type=int, help="run this one alone, and show it")
    parser.add_argument("--giants", type=int, default=50_000, help="one of so many is giant; 0: none (%(default)s)")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds for one case (%(default)s)")
    parser.add_argument("--most-failures", type=int, default=20, help="after which a run ends (%(default)s)")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        return work(given)
    if given.case is not None:
        return show(given)
    return oversee(given)


# ---- cases ---------------------------------------------------------------------------------------------------------


class Cases:
    """The cases of a seed, each by its number."""

    def __init__(self, seed: int, giants: int) -> None:
        self.seed, self.giants = seed, giants
        self._arena, self._file = Arena(), File()
        self._isas = runtime.available_isas()

    def make(self, number: int) -> tuple[Call, World]:
        dice = Dice(f"{self.seed}:{number}")
        self._arena.reset()
        world = World(dice, self._arena, self._file, np.random.Generator(np.random.SFC64(dice.getrandbits(64))))
        runtime.use_isa(dice.pick(self._isas))
        lf.set_num_threads(dice.pick((1, 1, 2, 3)))
        if self.giants and number % self.giants == self.giants // 2:
            runtime.set_thresholds(50e3, 500e3)
            return giant_call(world), world
        runtime.set_thresholds(*dice.pick(((0, 0), (50e3, 500e3))))
        return dice.pick(MAKERS)(world), world

    def run(self, number: int) -> tuple[str, str]:
        """The entry point of a case and what came of it."""
        call, world = self.make(number)
        try:
            return call.entry, judge(call, world)
        except Failure as failure:
            raise Failure(f"{call.entry} {failure}") from failure


def prepare() -> None:
    """A crash shows where it was; a warning is an error, as nothing warns of numbers."""
    faulthandler.enable()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="the matrix subclass")


def show(given: argparse.Namespace) -> int:
    """Run one case, with what it calls."""
    prepare()
    call, world = Cases(given.seed, given.giants).make(given.case)
    print(call.entry, "" if call.sound else "(may be refused)", flush=True)
    for name, value in (*enumerate(call.arguments), *call.keywords.items()):
        kind = ""
        if isinstance(value, np.ndarray):
            place = value.__array_interface__["data"][0]
            kind = f" {value.dtype} {value.shape} strides {value.strides} at {place:#x}"
        print(f"  {name}: {type(value).__name__}{kind}\n    {repr(value)[:300]}", flush=True)
    print(f"  {lf.get_num_threads()} threads, {runtime.active_isa()}", flush=True)
    print(judge(call, world))
    return 0


def work(given: argparse.Namespace) -> int:
    """Run every JOBS-th case from FIRST on; what came of them goes to standard output, the failures one by one."""
    prepare()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    cases, failures = Cases(given.seed, given.giants), 0
    with given.worker.open("r+b") as file, mmap.mmap(file.fileno(), PROGRESS.size) as progress:
        for number in range(given.first, given.cases, given.jobs):
            PROGRESS.pack_into(progress, 0, number)
            try:
                counts[cases.run(number)] += 1
            except Exception as error:  # whatever it is, it is to be told
                detail = "" if isinstance(error, Failure) else traceback.format_exc()
                _tell({"case": number, "failure": f"{error}{detail}"})
                failures += 1
                if failures == given.most_failures:
                    break
            if number // given.jobs % 200 == 0:
                _tell({"counts": [[*key, count] for key, count in counts.items()]})
                counts.clear()
        PROGRESS.pack_into(progress, 0, given.cases)
    _tell({"counts": [[*key, count] for key, count in counts.items()]})
    return 0


def _tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


# ---- many ----------------------------------------------------------------------------------------------------------


class Worker:
    """A process that runs a share of the cases, and is started again behind one that ended it."""

    def __init__(self, given: argparse.Namespace, share: int, folder: Path) -> None:
        self._given, self._share, self._folder = given, share, folder
        self.file = folder / f"progress{share}"
        self.output, self.errors = folder / f"output{share}", folder / f"errors{share}"
        self.start(share)

    def start(self, first: int) -> None:
        given = self._given
        self.file.write_bytes(PROGRESS.pack(first))
        command = [sys.executable, "-P", str(Path(__file__).parent), "--worker", str(self.file), "--first", str(first)]
        for option in ("cases", "seed", "jobs", "giants", "most_failures"):
            command += [f"--{option.replace('_', '-')}", str(getattr(given, option))]
        self.at, self.patience = first, given.patience
        with self.output.open("ab") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stdout=output, stderr=errors, env=os.environ)

    def look(self, seconds: float) -> str | None:
        """How the process failed, if it did since the last look so many seconds ago."""
        (at,) = PROGRESS.unpack(self.file.read_bytes())
        code = self.process.poll()
        if code is None and _stopped(self.process.pid):
            return None
        if code is None:
            self.patience = self._given.patience if at != self.at else self.patience - seconds
            self.at = at
            if self.patience > 0:
                return None
            self.process.send_signal(signal.SIGABRT)  # which shows where it is
            code = self.process.wait()
        self.at = at
        if code == 0:
            return None
        hang = " hangs," if self.patience <= 0 else ""
        return f"case {at}:{hang} exit code {code}\n{self.errors.read_text(errors='replace')[-4000:]}"


def _stopped(pid: int) -> bool:
    """Whether somebody has stopped a process, which then does not hang."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "Tt"
    except OSError:  # elsewhere nobody knows
        return False


def oversee(given: argparse.Namespace) -> int:
    """Run all cases and sum up; 1 if one of them failed."""
    started, step = time.monotonic(), 0.25
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        workers = [Worker(given, share, Path(name)) for share in range(given.jobs)]
        shown = 0.0
        running = workers
        while running and len(failures) < given.most_failures:
            time.sleep(step)
            for worker in running:
                failed = worker.look(step)
                if failed is not None:
                    failures.append(failed)
                    print(failed, file=sys.stderr, flush=True)
                    if worker.at + given.jobs < given.cases:
                        worker.start(worker.at + given.jobs)
            running = [worker for worker in workers if worker.process.poll() is None]
            if time.monotonic() - shown > 30:
                shown = time.monotonic()
                at = min(worker.at for worker in workers)
                print(f"{shown - started:6.0f} s: case {at} of {given.cases}, {len(failures)} ended", flush=True)
        for worker in running:
            worker.process.kill()
        for worker in workers:
            worker.process.wait()
            for line in worker.output.read_text().splitlines():
                message = json.loads(line)
                if "failure" in message:
                    failures.append(f"case {message['case']}: {message['failure']}")
                    print(failures[-1], file=sys.stderr, flush=True)
                for entry, outcome, count in message.get("counts", ()):
                    counts[entry][outcome] += count
    summary(counts, failures, time.monotonic() - started, given.seed)
    return 1 if failures else 0


def summary(counts: dict[str, collections.Counter[str]], failures: list[str], seconds: float, seed: int) -> None:
    """How many cases of every entry point ended how."""
    outcomes = sorted({outcome for of in counts.values() for outcome in of}, key=lambda o: (o != "result", o))
    print(f"{'':58}" + "".join(f"{outcome[:10]:>12}" for outcome in outcomes))
    for entry in sorted(counts):
        print(f"{entry:58}" + "".join(f"{counts[entry][outcome]:12d}" for outcome in outcomes))
    total = sum(sum(of.values()) for of in counts.values())
    print(f"{total} cases of {len(counts)} entry points, seed {seed}, {seconds:.0f} s: {len(failures)} failures")
