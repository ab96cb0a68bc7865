"""The loops of the kernels stay vector loops, and the tests compile them as the build does."""

import bisect
import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .toolchain import COMPILER, FLAGS, INSTRUCTION_SETS, KERNELS, VECTORISING, WIDTH

#: Value, value and gradient, those and the Hessian, gradients by all operands, everything.
LOOPS = 5
#: Headers whose every `#pragma omp simd` is held to what it asks for.
BY_PRAGMA = ["sequence.h"]

each_precision = pytest.mark.parametrize("bits", [32, 64])
each_isa = pytest.mark.parametrize("name", VECTORISING)


def elementwise_headers():
    """Those that the build lists."""
    bodies = re.compile(r"^(ELEMENTWISE|MAP)\(", re.MULTILINE)
    return [header for header in sorted(KERNELS.glob("*.h")) if bodies.search(header.read_text(encoding="utf-8"))]


@functools.cache
def said_of_loops(name, bits):
    """What the compiler says of loops: (header, line, bytes of a vector), with 0 for one that stays scalar.

    A loop that is compiled several times, because a function is inlined, has a line for each.
    """
    flags, _ = INSTRUCTION_SETS[name]
    options = ["-Wno-unused-function", "-Wno-unused-parameter", "-DLF_ISA=test", f"-DLF_REAL_BITS={bits}"]
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "kernel_index.h"
        headers = map(str, elementwise_headers())
        subprocess.run([sys.executable, str(KERNELS / "list_kernels.py"), str(index), *headers], check=True)
        command = [
            *COMPILER,
            *FLAGS,
            *flags,
            *options,
            f"-I{KERNELS}",
            f"-I{folder}",
            "-fopt-info-vec-optimized-missed",
        ]
        done = subprocess.run(
            [*command, "-c", str(KERNELS / "kernels.dispatch.c"), "-o", str(index.with_suffix(".o"))],
            capture_output=True,
            text=True,
            check=True,
        )
    vector = r"optimized: loop vectorized using (\d+) byte vectors"
    message = rf"/(\w+\.h):(\d+):\d+: (?:{vector}|missed: couldn't vectorize loop)"
    return [(file, int(line), int(width or 0)) for file, line, width in re.findall(message, done.stderr)]


@each_precision
@each_isa
def test_every_elementwise_loop_is_a_vector_loop(name, bits):
    vectorised = [(file, line) for file, line, width in said_of_loops(name, bits) if width == WIDTH[name]]
    for header in elementwise_headers():
        for number, line in enumerate(header.read_text(encoding="utf-8").splitlines(), start=1):
            statement = re.match(r"(ELEMENTWISE|MAP)\((\w+)", line)
            if statement:
                loops = LOOPS if statement[1] == "ELEMENTWISE" else 1
                assert vectorised.count((header.name, number)) >= loops, f"{statement[2]}, {name}, {bits} bits"


@pytest.mark.parametrize("file", BY_PRAGMA)
@each_precision
@each_isa
def test_loops_that_ask_for_vectors_are_vector_loops(name, bits, file):
    """Every copy of them, whole: what the compiler splits off and leaves scalar, it says so of."""
    lines = (KERNELS / file).read_text(encoding="utf-8").splitlines()
    loops = [number for number, line in enumerate(lines, start=1) if re.search(r"\b(for|while) \(", line)]
    asking = [number for number in loops if lines[number - 2].lstrip().startswith("#pragma omp simd")]
    assert len(asking) == sum(line.lstrip().startswith("#pragma omp simd") for line in lines)
    said = {number: [] for number in loops}
    for header, line, width in said_of_loops(name, bits):
        if header == file:  # a line of the loop's head or of its body
            said[loops[bisect.bisect(loops, line) - 1]].append(width)
    for number in asking:
        what = f"{file}:{number}, {name}, {bits} bits: {lines[number - 1].strip()} {said[number]}"
        assert WIDTH[name] in said[number], what
        assert 0 not in said[number], what


def test_flags_are_those_of_the_build():
    build = (KERNELS.parent / "meson.build").read_text(encoding="utf-8")
    warnings = {"-Wall", "-Wextra", "-Werror"}  # of meson's warning_level and of the gate
    language = {"-std=gnu11"}  # of the project's c_std
    wanted = {*FLAGS, *(flag for flags, _ in INSTRUCTION_SETS.values() for flag in flags)} - warnings - language
    assert {flag for flag in wanted if f"'{flag}'" not in build} == set()
