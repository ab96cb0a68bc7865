"""The benchmarks of asv, which are plain classes: they take every loss of the registry, and their calls compute."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from lossfast._loss import REGISTRY

FOLDER = Path(__file__).parents[1] / "asv_benchmarks" / "benchmarks"


def load(name):
    module = sys.modules.get(f"asv_benchmarks.{name}".rstrip("."))
    if module is None:
        path = FOLDER / f"{name or '__init__'}.py"
        spec = importlib.util.spec_from_file_location(f"asv_benchmarks.{name}".rstrip("."), path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module


load("")  # the package, for the relative imports of the others
instructions, times, tracks = (load(name) for name in ("instructions", "times", "tracks"))


def benchmarks(module):
    return [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]


def test_every_loss_is_timed_once():
    named = [cls.params[0] for cls in (times.Elementwise, times.Rowwise, times.Embeddings, times.Sequences)]
    assert sorted(itertools.chain(*named)) == sorted(REGISTRY)


@pytest.mark.parametrize("module", [times, tracks], ids=["times", "tracks"])
def test_benchmarks_take_the_whole_registry(module):
    kinds = (times.Elementwise, times.Rowwise, times.Embeddings, times.Sequences, times.Activations, tracks.Size)
    for cls in benchmarks(module):
        if not cls.__name__.startswith("_") and cls not in kinds:
            assert list(cls.params[0]) == sorted(REGISTRY), cls
            assert len(cls.params) == len(cls.param_names), cls


@pytest.mark.parametrize("name", REGISTRY)
def test_operations_agree(name):
    workloads = instructions.load_workloads()
    arrays = workloads.arrays_for(name, workloads.usual_shape(name, 200), "float64")
    loss = REGISTRY[name]()
    results = {}
    for operation in times.METHODS:
        function = instructions.function_of(loss, operation, arrays)
        assert (function is None) == (operation == "value_grad_hess" and not loss.curved)
        if function is not None:
            results[operation] = function(*arrays)
    value, expected = results["value_and_grad"]
    assert results.pop("value") == value
    for result in results.values():
        assert result[0] == value
        for grad, same in zip(listed(result[1]), listed(expected), strict=True):
            np.testing.assert_array_equal(grad, same)


def listed(grads):
    return grads if isinstance(grads, tuple) else (grads,)


def test_counted_calls_have_names_of_their_own():
    counted = list(instructions.calls(["HuberLoss", "NLLLoss"]))
    names = [name.split() for name, _, _ in counted]
    assert len(set(map(tuple, names))) == len(names)
    assert {(loss, columns) for loss, _, columns, _ in names} == {
        *(("HuberLoss", "10"), ("NLLLoss", "10"), ("NLLLoss", "1000")),
    }
    assert {predictions for _, predictions, _ in counted} == {instructions.SIZE}


def test_changes_are_found_in_either_direction():
    before = {"same": 2.0, "a little": 1.0, "more": 1.0, "less": 1.0, "gone": 1.0}
    after = {"same": 2.0, "a little": 1.009, "more": 1.02, "less": 0.98, "new": 1.0}
    assert instructions.changed(before, after) == {"more": 1.02, "less": 0.98}
