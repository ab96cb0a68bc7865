"""The accuracy and the vectorisation of lossfast/kernels/vmath.h, with the flags the library is built with."""

import re
import subprocess
from pathlib import Path

import pytest

from .toolchain import COMPILER, FLAGS, INSTRUCTION_SETS, KERNELS, VECTORISING, WIDTH, runnable

HERE = Path(__file__).parent

#: What every function is called as in the vectorisation test; a struct is reduced to a number.
CALLS = {"logistic": "l.softplus - l.softplus_neg + l.sigmoid * l.sigmoid_neg"}


def cards():
    """Return {function: {bits: promised ULP}} as written in vmath.h."""
    found = {}
    for name, bits, bound in re.findall(
        r"^#define LF_MAX_ULP_(\w+)_F(32|64) ([\d.]+)$", (KERNELS / "vmath.h").read_text(), re.MULTILINE
    ):
        found.setdefault(name.lower(), {})[int(bits)] = float(bound)
    return found


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", runnable())
def test_accuracy(name, bits, tmp_path):
    program = tmp_path / "check_vmath"
    flags, _ = INSTRUCTION_SETS[name]
    source = HERE / "vmath" / "check_vmath.c"
    include = f"-I{KERNELS}"
    subprocess.run(
        [*COMPILER, *FLAGS, *flags, f"-DLF_REAL_BITS={bits}", include, str(source), "-o", str(program), "-lm"],
        check=True,
    )
    table = str(HERE / "vmath" / "hard_cases_f64.txt")
    options = ["--stride", "4001"] if bits == 32 else ["--samples", "200000", "--hard", table]
    done = subprocess.run([str(program), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    checked = {}
    for line in done.stdout.splitlines():
        function, dtype, worst, _, bound, verdict = line.split()
        assert (dtype, verdict) == (f"float{bits}", "ok")
        assert 0.5 <= float(worst) <= float(bound)
        checked[function] = float(bound)
    # The members of the one struct are checked one by one.
    members = {function for function in checked if function.startswith("logistic_")}
    assert len(members) == 4
    assert {f for f in checked if f not in members} | {"logistic"} == set(cards())
    assert all(bound == cards()["logistic" if f in members else f][bits] for f, bound in checked.items())


def test_cards_are_complete():
    text = (KERNELS / "vmath.h").read_text()
    functions = set(re.findall(r"^static ALWAYS_INLINE \w+ lf_(\w+)\(", text, re.MULTILINE))
    assert functions == set(cards())
    assert all(set(bounds) == {32, 64} for bounds in cards().values())
    for name in functions:
        card = re.search(rf"^/\* lf_{name}: .*?\*/$", text, re.MULTILINE | re.DOTALL)
        assert card, name
        assert all(f" *   {field} " in card[0] for field in ("types", "domain", "bound", "worst", "method", "source"))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", VECTORISING)
def test_vectorisation(name, bits, tmp_path):
    lines, loops = ['#include "real.h"', '#include "vmath.h"'], {}
    for function in sorted(cards()):
        call = f"lf_{function}(x[i])"
        if function in CALLS:
            call = f"({{ LOGISTIC l = {call}; {CALLS[function]}; }})"
        lines.append(f"void run_{function}(const REAL *restrict x, REAL *restrict y, size_t n) {{")
        lines.append(f"for (size_t i = 0; i < n; i++) y[i] = {call}; }}")
        loops[len(lines)] = function
    source = tmp_path / "loops.c"
    source.write_text("\n".join(lines) + "\n")
    flags, _ = INSTRUCTION_SETS[name]
    options = [*FLAGS, *flags, f"-DLF_REAL_BITS={bits}", f"-I{KERNELS}", "-fopt-info-vec-optimized"]
    command = [*COMPILER, *options, "-S", str(source), "-o", str(tmp_path / "loops.s")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"loops\.c:(\d+):\d+: optimized: loop vectorized using (\d+) byte vectors", done.stderr)
    assert {loops[int(line)] for line, bytes_ in found if int(bytes_) == WIDTH[name]} == set(cards())
