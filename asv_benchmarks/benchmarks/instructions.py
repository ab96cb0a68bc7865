"""How many instructions each loss takes, which no other load on the machine changes: counted by Valgrind's callgrind.

    python -P asv_benchmarks/benchmarks/instructions.py --save before.json       # of what is installed
    python -P asv_benchmarks/benchmarks/instructions.py --against before.json    # and what has changed since

Takes the AVX2 kernels, since Valgrind hides AVX-512, on one thread. A number counts whole calls, per prediction, with
the Python around the kernel. It says nothing of memory, and an instruction is not always worth an instruction: where
counts agree and times do not, measure (`bench`, asv).
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DTYPES = ("float32", "float64")
#: Classes or features of a row: rows in lanes, and vectors along the row.
COLUMNS = (10, 1000)
OPERATIONS = ("value", "value_and_grad_out", "value_grad_hess")
#: Predictions; sequences, which compute far more for each, have fewer.
SIZE, FRAMES_SIZE = 100_000, 1_000
#: Calls before the one that is counted: by then the interpreter has adapted itself, and all memory is there.
WARM_CALLS = 2
#: A greater change is one of the code: runs of the same calls agree to a tenth of this.
THRESHOLD = 0.01
#: Called between the calls that are counted, and nowhere else: callgrind writes down what it has, and begins anew.
MARKER = "getppid"


def load_workloads() -> ModuleType:
    """The arrays of a call, as this file's revision makes them, whichever revision of the package is measured."""
    path = Path(__file__).parents[2] / "lossfast" / "_bench" / "workloads.py"
    spec = spec_from_file_location("lossfast_workloads", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    return module


def function_of(loss: Any, operation: str, arrays: tuple[Any, ...]) -> Any:
    """What one operation calls with the arrays; the array of `out=` exists beforehand. None: the loss has no such."""
    if operation == "value_and_grad_out":
        given = zip(loss.arrays, arrays, strict=False)
        outs = tuple(array.copy() for argument, array in given if argument in loss.predictions)
        return functools.partial(loss.value_and_grad, out=outs if len(outs) > 1 else outs[0])
    if operation == "value_grad_hess" and not loss.curved:
        return None
    return loss.__call__ if operation == "value" else getattr(loss, operation)


# ---- inside Valgrind -----------------------------------------------------------------------------------------------


def calls(losses: list[str]) -> Iterator[tuple[str, int, Any]]:
    """Name, predictions and call of everything that is counted."""
    from lossfast._loss import REGISTRY  # noqa: PLC0415  # of the environment that is measured

    workloads = load_workloads()
    for name in losses or sorted(REGISTRY):
        axis = workloads.axis_of(name)
        size = FRAMES_SIZE if axis == "frames" else SIZE
        for dtype in DTYPES:
            for columns in COLUMNS if axis in ("classes", "features", "layer") else COLUMNS[:1]:
                work = workloads.Workload(name, workloads.usual_shape(name, size, columns), dtype)
                arrays = work.arrays()
                for operation in OPERATIONS:
                    function = function_of(REGISTRY[name](), operation, arrays)
                    if function is not None:
                        call = functools.partial(function, *arrays)
                        yield key(name, dtype, columns, operation), work.elements, call


def key(name: str, dtype: str, columns: int, operation: str) -> str:
    """What a count goes by."""
    return f"{name} {dtype} {columns} {operation}"


def child(losses: list[str]) -> None:
    """Make all calls, each between two markers, and print what they are."""
    mark = getattr(os, MARKER)
    gc.disable()
    for name, elements, call in calls(losses):
        for _ in range(WARM_CALLS):
            call()
        mark()
        call()
        mark()
        print(json.dumps([name, elements]), flush=True)


# ---- outside -------------------------------------------------------------------------------------------------------


def count(python: str = sys.executable, losses: list[str] | None = None) -> dict[str, float]:
    """Instructions per prediction of the package that this interpreter imports, by `key`."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise FileNotFoundError("valgrind is not installed: it counts the instructions")
    settings = {"PYTHONHASHSEED": "0", "LOSSFAST_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if "avx2" in Path("/proc/cpuinfo").read_text().split():
        settings["LOSSFAST_ISA"] = "avx2"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "counts"
        tool = [valgrind, "--tool=callgrind", f"--dump-before={MARKER}", f"--callgrind-out-file={output}"]
        command = [*tool, python, "-P", str(Path(__file__).resolve()), "--child", *(losses or [])]
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        counted = {}
        for k, line in enumerate(done.stdout.splitlines()):  # files are numbered from 1, every second one is a call
            name, elements = json.loads(line)
            counted[name] = total(output.with_name(f"{output.name}.{2 * k + 2}")) / elements
    return counted


def total(path: Path) -> int:
    """The instructions of one of callgrind's files."""
    found = re.search(r"^totals: (\d+)$", path.read_text(), re.MULTILINE)
    assert found is not None, path
    return int(found[1])


def changed(before: dict[str, float], after: dict[str, float], threshold: float = THRESHOLD) -> dict[str, float]:
    """What has become more or less by this share, and is in both: the ratios of after to before."""
    ratios = {name: after[name] / before[name] for name in before if name in after}
    return {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > threshold}


def main() -> int:
    """Count and print; 1 where something takes more instructions than it did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("losses", metavar="LOSS", nargs="*", help="classes; all of the registry by default")
    parser.add_argument("--python", default=sys.executable, help="the interpreter whose package is taken")
    parser.add_argument("--save", metavar="FILE", type=Path, help="where to write the counts, JSON")
    parser.add_argument("--against", metavar="FILE", type=Path, help="counts to compare with")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.losses)
        return 0
    counts = count(options.python, options.losses)
    if options.save:
        options.save.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    if options.against is None:
        for name, number in counts.items():
            print(f"{number:10.3f}  {name}")
        return 0
    before = json.loads(options.against.read_text(encoding="utf-8"))
    ratios = changed(before, counts)
    for name, ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        print(f"{before[name]:10.3f} → {counts[name]:10.3f}  {ratio:6.3f}  {name}")
    print(f"{len(ratios)} of {len(counts)} changed by more than {THRESHOLD:.0%}")
    return int(any(ratio > 1 for ratio in ratios.values()))


if __name__ == "__main__":
    sys.exit(main())
