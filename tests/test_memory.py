"""What calls allocate: their results, and beside them nothing of the size of their arguments."""

import json
from pathlib import Path

import numpy as np
import pytest

from lossfast._bench.workloads import axis_of
from lossfast._loss import REGISTRY

from .test_threads import python

#: Resets what Linux says of the most memory that a process had.
RESET = Path("/proc/self/clear_refs")
#: Predictions of a call, and bytes that it may take beside its results: scratch memory (of two threads, for 256 rows of
#: 110 classes in lanes), labels of a block, Python's. An array of bytes would be more.
SIZE, SLACK = 1_000_000, 600_000
#: A linear layer keeps a tile of its logits, and sequences their states.
NAMES = [name for name in REGISTRY if axis_of(name) in ("element", "classes", "features")]

CODE = """
import gc, json, sys
import numpy as np, lossfast as lf
from lossfast._bench.workloads import arrays_for, usual_shape
from lossfast._loss import REGISTRY

size, dtype, *names = sys.argv[1:]

def resident(which):
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith(which))

def total(result):
    return sum(map(total, result)) if isinstance(result, tuple) else getattr(result, "nbytes", 0)

def peak(method, arrays, options):
    gc.collect()
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = resident("VmRSS")
    result = method(*arrays, **options)
    return resident("VmHWM") - before, total(result)

lf.set_kept_memory(0)
lf.set_num_threads(2)
found = {}
for name in names:
    loss, none = REGISTRY[name](), REGISTRY[name](reduction="none")
    few = arrays_for(name, usual_shape(name, 1000, 10), dtype)
    arrays = arrays_for(name, usual_shape(name, int(size)), dtype)
    weight, weights = (np.ones(none(*own).shape, dtype) for own in (few, arrays))
    calls = [(loss, "__call__", False), (none, "__call__", False), (loss, "value_and_grad", False)]
    calls += [(none, "grad", False), (loss, "value_and_grad", True), (loss, "reference", False)]
    calls += [(loss, "grad_hess", False)] if loss.curved else []
    for own, method, given in calls:
        call = getattr(own, method)
        for weighted in (False, True):
            call(*few, **({"sample_weight": weight} if weighted else {}))  # threads and imports are there
            options = {"sample_weight": weights} if weighted else {}
            if given:
                options["out"] = loss.grad(*arrays)
            most, results = peak(call, arrays, options)
            what = (name, own.reduction, method, "out" * given, "weighted" * weighted)
            found[" ".join(filter(None, what))] = (most, 0 if given else results)
            options = None
print(json.dumps(found))
"""


@pytest.mark.skipif(not RESET.exists(), reason="needs Linux")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_calls_allocate_their_results_alone(dtype, tmp_path):
    """A value takes nothing, a gradient its own size; with weights as without."""
    # every array in pages of its own, which go back when it is freed
    done = python("", tmp_path, arguments=("-c", CODE, str(SIZE), dtype, *NAMES), MALLOC_MMAP_THRESHOLD_="65536")
    found = json.loads(done.stdout)
    for call, (most, results) in found.items():
        if "reference" not in call:
            assert most <= results + SLACK, call
    gradient = SIZE * np.dtype(dtype).itemsize
    for name in NAMES:
        assert found[f"{name} mean __call__"][1] == 0
        assert found[f"{name} mean value_and_grad"][1] == pytest.approx(gradient, rel=1e-2)
        # that a temporary array would be seen, shows in NumPy's definitions
        if axis_of(name) == "element":
            assert found[f"{name} mean reference"][0] > 2 * SLACK, name
