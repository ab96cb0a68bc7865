"""Numbers of every registered loss that are no times; asv takes less as better, of all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lossfast as lf
from lossfast._drivers import runtime
from lossfast._loss import REGISTRY

from .instructions import COLUMNS, DTYPES, OPERATIONS, count, function_of, key, load_workloads

workloads = load_workloads()

#: In the first-level cache and in the last one.
SIZES = [3_000, 700_000]
#: Those of `bench` that compile nothing first, by what has to be installed.
PEERS = {"torch": "torch", "sklearn": "sklearn"}


class Instructions:
    """By callgrind, which no other load disturbs: a change of 1 % is one of the code (`asv compare -f 1.01`)."""

    params = [sorted(REGISTRY), DTYPES, COLUMNS, OPERATIONS]
    param_names = ["loss", "dtype", "columns", "method"]
    unit = "instructions/prediction"

    def setup_cache(self) -> dict[str, float]:
        if shutil.which("valgrind") is None or os.environ.get("LOSSFAST_NUM_THREADS", "1") != "1":
            return {}  # counted in one of the environments
        return count()

    setup_cache.timeout = 1200

    def setup(self, counts: dict[str, float], *parameters: Any) -> None:
        if key(*parameters) not in counts:
            raise NotImplementedError("no such call of this loss, no valgrind, or not the environment of one thread")

    def track_instructions(self, counts: dict[str, float], *parameters: Any) -> float:
        return counts[key(*parameters)]


class Ratios:
    """Value and gradient: our time over that of a peer, where it is installed beside lossfast and has the loss.

    From one run of `bench`: every contender is a process of its own, and they take turns.
    """

    params = [sorted(REGISTRY), DTYPES, SIZES]
    param_names = ["loss", "dtype", "size"]
    unit = "of the peer's time"

    def setup_cache(self) -> dict[tuple[str, str, int, str], float]:
        peers = [peer for peer, module in PEERS.items() if find_spec(module) is not None]
        if not peers or find_spec("lossfast._bench") is None:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-P", "-m", "lossfast", "bench", "--loss", "all", "--json", "results.json"]
            command += ["--peers", ",".join(peers), "--dtype", ",".join(DTYPES), "--size", *map(str, SIZES)]
            command += ["--threads", str(lf.get_num_threads())]
            subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
            results = json.loads(Path(folder, "results.json").read_text())["results"]
        medians = {
            (row["loss"], row["dtype"], tuple(row["shape"]), row["contender"]): row["median"]
            for row in results
            if row["operation"] == "value_and_grad"
        }
        ratios = {}
        for name in REGISTRY:
            for dtype in DTYPES:
                for size in SIZES:
                    place = (name, dtype, tuple(workloads.usual_shape(name, size)))
                    for peer in peers:
                        if (*place, peer) in medians:
                            ratio = medians[(*place, "lossfast")] / medians[(*place, peer)]
                            ratios[name, dtype, size, peer] = ratio
        return ratios

    setup_cache.timeout = 3600

    def track_ratio_to_torch(self, ratios: dict[tuple[str, str, int, str], float], *parameters: Any) -> float:
        return ratios.get((*parameters, "torch"), float("nan"))

    def track_ratio_to_sklearn(self, ratios: dict[tuple[str, str, int, str], float], *parameters: Any) -> float:
        return ratios.get((*parameters, "sklearn"), float("nan"))


class Allocated:
    """Memory that a call needs beside its arrays, at most: none for a value, the gradient for value and gradient."""

    params = [sorted(REGISTRY), ["value", "value_and_grad"]]
    param_names = ["loss", "method"]
    unit = "bytes/prediction"

    def setup(self, name: str, method: str) -> None:
        if not Path("/proc/self/clear_refs").exists():
            raise NotImplementedError("only Linux tells the peak of a moment")
        lf.set_kept_memory(0)
        loss = REGISTRY[name]()
        small = workloads.arrays_for(name, workloads.usual_shape(name, 16), "float32")
        function_of(loss, method, small)(*small)  # what is loaded and made once
        shape = workloads.usual_shape(name, 10_000_000, 500)
        self.work = workloads.Workload(name, shape, "float32")
        self.arrays = self.work.arrays()
        self.call = function_of(loss, method, self.arrays)

    def track_additional_memory(self, name: str, method: str) -> float:
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        result = self.call(*self.arrays)
        peak = _memory("VmHWM")
        del result
        return max(0, peak - before) / self.work.elements


def _memory(what: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{what}:"))


class Size:
    """What is installed."""

    unit = "bytes"

    def track_libraries(self) -> int:
        return sum(path.stat().st_size for path in Path(runtime.__file__).parent.glob("*.so"))
