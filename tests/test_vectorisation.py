"""The loops of the elementwise losses stay vector loops, and the tests compile them as the build does."""

import re
import subprocess
import sys

import pytest

from .toolchain import COMPILER, FLAGS, INSTRUCTION_SETS, KERNELS, VECTORISING, WIDTH

#: Value, value and gradient, those and the Hessian, gradients by all operands, everything.
LOOPS = 5


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", VECTORISING)
def test_every_elementwise_loop_is_a_vector_loop(name, bits, tmp_path):
    headers = [
        h for h in sorted(KERNELS.glob("*.h")) if re.search(r"^(ELEMENTWISE|MAP)\(", h.read_text(), re.MULTILINE)
    ]
    index = tmp_path / "kernel_index.h"
    subprocess.run([sys.executable, str(KERNELS / "list_kernels.py"), str(index), *map(str, headers)], check=True)
    flags, _ = INSTRUCTION_SETS[name]
    options = ["-Wno-unused-function", "-Wno-unused-parameter", "-DLF_ISA=test", f"-DLF_REAL_BITS={bits}"]
    command = [*COMPILER, *FLAGS, *flags, *options, f"-I{KERNELS}", f"-I{tmp_path}", "-fopt-info-vec-optimized", "-c"]
    done = subprocess.run(
        [*command, str(KERNELS / "kernels.dispatch.c"), "-o", str(tmp_path / "kernels.o")],
        capture_output=True,
        text=True,
        check=True,
    )
    message = r"/(\w+\.h):(\d+):\d+: optimized: loop vectorized using (\d+) byte vectors"
    vectorised = [
        (file, int(line)) for file, line, width in re.findall(message, done.stderr) if int(width) == WIDTH[name]
    ]
    for header in headers:
        for number, line in enumerate(header.read_text(encoding="utf-8").splitlines(), start=1):
            statement = re.match(r"(ELEMENTWISE|MAP)\((\w+)", line)
            if statement:
                loops = LOOPS if statement[1] == "ELEMENTWISE" else 1
                assert vectorised.count((header.name, number)) >= loops, f"{statement[2]}, {name}, {bits} bits"


def test_flags_are_those_of_the_build():
    build = (KERNELS.parent / "meson.build").read_text(encoding="utf-8")
    warnings = {"-Wall", "-Wextra", "-Werror"}  # of meson's warning_level and of the gate
    language = {"-std=gnu11"}  # of the project's c_std
    wanted = {*FLAGS, *(flag for flags, _ in INSTRUCTION_SETS.values() for flag in flags)} - warnings - language
    assert {flag for flag in wanted if f"'{flag}'" not in build} == set()
