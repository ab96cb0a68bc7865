"""The loops of the kernels stay vector loops, and the tests compile them as the build does.

A loop under `#pragma omp simd` is held to what it asks for; what is to stay scalar does not ask. The compiler is given
the text as its preprocessor leaves it, with a line for every loop: where a macro makes several of them, they all stand
on one line of the source, and the least of them would pass for the others.
"""

import bisect
import functools
import itertools
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .toolchain import COMPILER, FLAGS, INSTRUCTION_SETS, KERNELS, VECTORISING, WIDTH

#: Value, value and gradient, those and the Hessian, gradients by all operands, everything; and, whole and in part, the
#: two that add the values up.
LOOPS = {"ELEMENTWISE": 5 + 2 * 2, "MAP": 1}
PRAGMA = "#pragma omp simd"
#: What a compiler names as the place of a loop may stand in a function that the loop begins with.
BEGINNING = re.compile(r"(?=\b(?:for|while) \(|\bstatic )")
#: Rows that are too short for all lanes have fewer, which no vector of the longest may hold.
FEWER_LANES = re.compile(r"< \(\w+ / \d+\)")

each_precision = pytest.mark.parametrize("bits", [32, 64])
each_isa = pytest.mark.parametrize("name", VECTORISING)


@dataclass
class Beginning:
    """Of a loop or of a function in the preprocessed text."""

    file: str
    line: int  # of the source
    text: str
    asks: bool
    widths: list[int] = field(default_factory=list)  # bytes of a vector, 0 for scalar; one for each copy of a loop

    @property
    def is_function(self):
        return self.text.startswith("static")

    def __str__(self):
        return f"{self.file}:{self.line}: {self.text.strip()[:100]} {self.widths}"


def statements():
    """(file, line, kind, kernel) of what makes loops of a body."""
    for header in sorted(KERNELS.glob("*.h")):
        for number, line in enumerate(header.read_text(encoding="utf-8").splitlines(), start=1):
            found = re.match(r"(ELEMENTWISE|ROWWISE|PAIRWISE|MAP)\((\w+)", line)
            if found:
                yield header.name, number, found[1], found[2]


def split(preprocessed):
    """Lines with a beginning each at most, and where they stand in the source."""
    lines, places, file, number = [], [], "", 0
    for line in preprocessed.splitlines():
        marker = re.match(r'# (\d+) "(.*?)"', line)
        if marker:
            number, file = int(marker[1]), Path(marker[2]).name
            continue
        for part in BEGINNING.split(line):
            lines.append(part)
            places.append((file, number))
        number += 1
    return lines, places


def beginnings(source, options):
    """All loops and functions of a text, with what the compiler says of the loops that are left when it looks."""
    compiler = [*COMPILER, *FLAGS, *options, "-w"]
    text = subprocess.run([*compiler, "-E", str(source)], capture_output=True, text=True, check=True).stdout
    lines, places = split(text)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "preprocessed.i"
        copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [*compiler, "-fopt-info-vec-optimized-missed", "-c", str(copy), "-o", f"{folder}/preprocessed.o"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found, before = {}, ""
    for number, (line, place) in enumerate(zip(lines, places, strict=True), start=1):
        if BEGINNING.match(line):
            found[number] = Beginning(*place, line, asks=before.startswith(PRAGMA))
        before = line.strip() or before
    assert sum(beginning.asks for beginning in found.values()) == sum(line.startswith(PRAGMA) for line in lines)
    numbers = list(found)
    message = (
        r"preprocessed\.i:(\d+):\d+: (?:optimized: loop vectorized using (\d+) byte|missed: couldn't vectorize loop)"
    )
    for number, width in re.findall(message, said):
        if not lines[int(number) - 1].startswith(PRAGMA):  # where the lanes of a reduction begin and end
            found[numbers[bisect.bisect(numbers, int(number)) - 1]].widths.append(int(width or 0))
    return list(found.values())


def loop_beginnings(found):
    """Functions without a loop of their own, of which the compiler says something as if they were one."""
    for this, following in itertools.pairwise(found):
        if this.is_function and following.is_function and this.widths:
            yield this


@functools.cache
def kernels(name, bits):
    """Of everything that the build compiles for one instruction set and precision."""
    flags, _ = INSTRUCTION_SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "kernel_index.h"
        headers = dict.fromkeys(str(KERNELS / file) for file, *_ in statements())
        subprocess.run([sys.executable, str(KERNELS / "list_kernels.py"), str(index), *headers], check=True)
        options = [*flags, "-DLF_ISA=test", f"-DLF_REAL_BITS={bits}", f"-I{KERNELS}", f"-I{folder}"]
        return beginnings(KERNELS / "kernels.dispatch.c", options)


@each_precision
@each_isa
def test_loops_that_ask_for_vectors_are_vector_loops(name, bits):
    """Every copy of them, and whole: what the compiler splits off and leaves scalar, it says so of."""
    for loop in kernels(name, bits):
        if loop.asks:
            assert 0 not in loop.widths, f"{name}, {bits} bits: {loop}"
            few = FEWER_LANES.search(loop.text)
            assert not loop.widths or few or WIDTH[name] in loop.widths, f"{name}, {bits} bits: {loop}"
    for function in loop_beginnings(kernels(name, bits)):
        assert 0 not in function.widths, f"{name}, {bits} bits: a loop that begins with {function}"


@each_precision
@each_isa
def test_every_elementwise_loop_is_a_vector_loop(name, bits):
    vectorised = [(loop.file, loop.line) for loop in kernels(name, bits) if loop.asks and WIDTH[name] in loop.widths]
    for file, line, kind, kernel in statements():
        if kind in LOOPS:
            assert vectorised.count((file, line)) == LOOPS[kind], f"{kernel}, {name}, {bits} bits"


@pytest.mark.parametrize("name", VECTORISING[-1:])
def test_a_scalar_loop_is_noticed(name, tmp_path):
    """Behind a macro, beside a vector loop on the same line, and where it begins with a function."""
    source = tmp_path / "loops.c"
    source.write_text(
        """double opaque(double);
static inline __attribute__((always_inline)) double half_of(const double *x, int i) { return 0.5 * x[i]; }
#define LOOPS(BODY) \\
    _Pragma("omp simd") for (int i = 0; i < n; i++) x[i] = 2 * y[i]; \\
    _Pragma("omp simd") for (int i = 0; i < n; i++) x[i] += BODY;
static __attribute__((used)) void vectors(double *x, const double *y, int n) { LOOPS(y[i]) }
void scalar(double *x, const double *y, int n) { LOOPS(opaque(y[i])) }
void begins_elsewhere(double *x, int n) {
    #pragma omp simd
    for (int i = 0; i < n; i++)
        x[i] = half_of(x, i) + opaque(x[i]);
}
""",
        encoding="utf-8",
    )
    found = beginnings(source, INSTRUCTION_SETS[name][0])
    vector, scalar = (True, False), (False, True)
    asking = [(loop.line, (WIDTH[name] in loop.widths, 0 in loop.widths)) for loop in found if loop.asks]
    assert asking == [(6, vector), (6, vector), (7, vector), (7, scalar), (10, (False, False))]
    assert [function.line for function in loop_beginnings(found) if 0 in function.widths] == [2]


def test_flags_are_those_of_the_build():
    build = (KERNELS.parent / "meson.build").read_text(encoding="utf-8")
    warnings = {"-Wall", "-Wextra", "-Werror"}  # of meson's warning_level and of the gate
    language = {"-std=gnu11"}  # of the project's c_std
    wanted = {*FLAGS, *(flag for flags, _ in INSTRUCTION_SETS.values() for flag in flags)} - warnings - language
    assert {flag for flag in wanted if f"'{flag}'" not in build} == set()
