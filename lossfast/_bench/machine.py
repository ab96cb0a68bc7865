"""The machine: what it is, what it has free, and the least time that it needs for a workload.

The limit of a workload is the longer of two times, both measured in the same run and with as many threads: that of a
difference c = a - b of three float32 arrays which together have the bytes that value and gradient move, with plain or
non-temporal stores, whichever is quicker; and that of one exponential per element where the loss takes any.
"""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast._bench.workloads import Workload, axis_of, usual_shape
from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from lossfast._arrays import Array

#: How many exponentials one task takes, see `_drivers.limits`.
BLOCK = 1024
#: Tasks that one call has, so that all threads have work: as many as 4 million elements would need.
MOST_BLOCKS = 4096
#: Functions that cost an exponential or more.
_TRANSCENDENTAL = {"exp", "exp2", "expm1", "log", "log1p", "log2", "logaddexp", "tanh", "expit", "xlogy"}


def processors() -> list[int]:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe() -> dict[str, Any]:
    """Processor, caches and memory, as far as the system tells."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = next(iter(names), model)
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        caches[f"L{level} {kind.lower()}"] = size
    return {"processor": model, "processors": len(processors()), "caches": caches, "memory": _memory("MemTotal")}


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else "?"


def _memory(what: str) -> int | None:
    """A line of /proc/meminfo, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    found = [int(line.split()[1]) << 10 for line in lines if line.startswith(f"{what}:")]
    return found[0] if found else None


def available_memory() -> int | None:
    """Bytes that may be used without swapping; None where the system does not tell."""
    return _memory("MemAvailable")


# ---- limits --------------------------------------------------------------------------------------------------------


def difference_arrays(workload: Workload) -> tuple[Array, Array, Array] | None:
    """Three float32 arrays that together have the bytes that a workload moves."""
    if workload.traffic is None:
        return None
    n = difference_size(workload.traffic)
    a, b, c = (_from_a_line(n) for _ in range(3))
    for array in (a, b, c):
        array[:] = 1
    return a, b, c


def _from_a_line(n: int) -> Array:
    """Float32 numbers that begin with a cache line."""
    longer = np.empty(n + 16, np.float32)
    start = -longer.ctypes.data % 64 // 4
    return longer[start : start + n]


def difference_size(traffic: int) -> int:
    """The elements of each."""
    return max(1, traffic // 12)


def exponential_numbers(workload: Workload) -> tuple[Array, int]:
    """Numbers to take the exponentials of, and how often, for about as many as the workload has elements."""
    numbers = -np.abs(np.random.default_rng(0).standard_normal(BLOCK)).astype(workload.dtype)
    return numbers, exponential_blocks(workload.elements)


def exponential_blocks(elements: int) -> int:
    """How often `BLOCK` exponentials are taken."""
    return min(MOST_BLOCKS, max(1, elements // BLOCK))


class _Watched(np.ndarray[Any, Any]):
    """An array that notes which functions are applied to it."""

    seen: set[str]

    def __array_finalize__(self, parent: Any) -> None:
        self.seen = getattr(parent, "seen", set())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        self.seen.add(ufunc.__name__)
        plain = [np.asarray(a) if isinstance(a, _Watched) else a for a in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        if not isinstance(result, np.ndarray):
            return result
        watched = result.view(_Watched)
        watched.seen = self.seen
        return watched


@functools.cache
def exponential_share(name: str) -> float:
    """Exponentials, or functions that cost as much, per prediction at least: 0 where the definition has none."""
    cls = REGISTRY[name]
    if axis_of(name) in ("frames", "layer") or any("logits" in what for what in cls.meaning.values()):
        return 1.0
    arrays, seen = Workload(name, usual_shape(name, 16), "float64").arrays(), set[str]()
    for k, array in enumerate(arrays):
        if array.dtype.kind == "f":
            watched = array.view(_Watched)
            watched.seen = seen
            arrays = (*arrays[:k], watched, *arrays[k + 1 :])
    cls().definition(*arrays)
    predictions = len(cls.predictions) if axis_of(name) == "element" else 1
    return 1 / predictions if seen & _TRANSCENDENTAL else 0.0
