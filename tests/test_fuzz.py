"""The fuzz itself: it reaches everything public, a few thousand cases of it pass, and it finds what it should."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lossfast as lf
from lossfast._loss import REGISTRY
from lossfast._methods import METHODS

from .fuzz.calls import LOSS_CALLS, Call, World
from .fuzz.command import Cases
from .fuzz.hostile import Dice, File, place
from .fuzz.judge import Failure, judge
from .fuzz.memory import PAGE, SLOTS, Arena
from .fuzz.others import OTHERS, TAKE_NOTHING

FOLDER = Path(__file__).parent / "fuzz"


def fuzz(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-P", str(FOLDER), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_few_cases():
    done = fuzz("--cases", "6000", "--seed", "7", "--jobs", "2", "--giants", "0")
    assert done.returncode == 0, done.stderr + done.stdout
    cases, entries = map(int, re.search(r"(\d+) cases of (\d+) entry points", done.stdout).groups())
    assert cases == 6000
    assert entries > len(REGISTRY) * len(METHODS)


def test_everything_public_is_reached():
    assert {cls for cls, _, _ in LOSS_CALLS} == set(REGISTRY.values())
    assert {method for _, method, _ in LOSS_CALLS} == set(METHODS)
    public = {name for name in lf.__all__ if not name.startswith("_")}
    assert public - REGISTRY.keys() - OTHERS.keys() == TAKE_NOTHING
    assert {cls.function for cls in REGISTRY.values()} == set(lf.functional.__all__)


def test_a_case_is_the_same_each_time():
    def described(cases, number):  # at once: the next case takes the memory
        call, _ = cases.make(number)
        arrays = [a for a in call.arguments if type(a) is np.ndarray and a.dtype.kind in "fiub"]
        return (
            call.entry,
            call.sound,
            list(call.keywords),
            [(a.dtype, a.strides, repr(a.tolist())) for a in arrays],
        )  # no padding

    first, second = Cases(3, 0), Cases(3, 0)
    for number in range(40):
        assert described(first, number) == described(second, number)


# ---- what it finds --------------------------------------------------------------------------------------------------


@pytest.fixture
def world():
    return World(Dice(0), Arena(), File())


def found(world, function, *arguments, sound=True, writable=(), **keywords):
    """What a judge has against a function."""
    call = Call("it", function, list(arguments), keywords, ("input",), sound, list(writable))
    with pytest.raises(Failure) as failure:
        for _ in range(20):  # it does not check everything each time
            judge(call, world)
    return str(failure.value)


def test_an_argument_that_is_written(world):
    x = place(np.ones(5), world.arena, world.dice)
    assert "wrote" in found(world, lambda input: input.fill(np.nan), x)


def test_a_byte_beside_a_result(world):
    out = place(np.ones((3, 4)), world.arena, world.dice)
    slot = world.arena.slot_of(out)

    def function(out):
        beside = np.ones(slot.size, bool)
        offset = out.__array_interface__["data"][0] - slot.ctypes.data
        np.ndarray((3, 4, 8), bool, beside, offset, (*out.strides, 1))[...] = False
        slot[np.flatnonzero(beside)[0]] ^= 1

    assert "wrote" in found(world, function, out=out, writable=[out])


def test_a_result_that_an_error_leaves(world):
    out = place(np.zeros(5), world.arena, world.dice)

    def function(out):
        out[0] += 1
        raise ValueError("input")

    assert "wrote" in found(world, function, sound=False, out=out, writable=[out])


@pytest.mark.parametrize(
    "error", [ValueError("what"), KeyError("input"), RuntimeWarning("input"), SystemError("input")]
)
def test_an_error_that_says_nothing(error, world):
    def function():
        raise error

    assert str(error) in found(world, function, sound=False)


def test_a_call_that_is_refused(world):
    def function():
        raise ValueError("input")

    assert "refused" in found(world, function)


def test_a_result_that_depends_on_strides(world):
    x = place(np.arange(1.0, 7).reshape(2, 3), world.arena, Dice(1), plain=0)
    assert not x.flags.c_contiguous
    assert "plain arrays" in found(world, lambda input: float(input.strides[0]), x)


@pytest.mark.parametrize("beside", [-1, 0])
def test_a_read_beside_an_array_ends_the_process(beside, tmp_path):
    code = f"""
import ctypes, faulthandler, sys
sys.path.append({str(FOLDER.parents[1])!r})
from tests.fuzz.memory import Arena
faulthandler.enable()

class Ends:
    def below(self, n):
        return {0 if beside == 0 else 3}

taken = Arena().take(80, Ends())
print(ctypes.string_at(taken.ctypes.data, 80) == bytes(taken), flush=True)
ctypes.string_at(taken.ctypes.data + {beside if beside else 80}, 1)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "True\n"
    assert done.returncode != 0
    assert "Segmentation fault" in done.stderr or "SEGV" in done.stderr


def test_a_hang_is_found():
    """As everything is to who has no patience."""
    done = fuzz("--cases", "1", "--giants", "0", "--patience", "0")
    assert done.returncode == 1
    assert "case 0: hangs" in done.stderr


def test_slots_are_as_large_as_they_say():
    arena, dice = Arena(), Dice(0)
    for size, count in SLOTS:
        taken = [arena.take(size, dice) for _ in range(count)]
        assert all(slot.size == size and slot.ctypes.data % PAGE == 0 for slot in taken)
    assert arena.slot_of(arena.take(10 * size, dice)) is None
