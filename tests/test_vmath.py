"""The accuracy and the vectorisation of lossfast/kernels/vmath.h, with the flags the library is built with."""

import platform
import re
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parent / "lossfast" / "kernels"

#: The compiler Python was built with, if it is here.
COMPILER = next(
    command
    for command in (shlex.split(sysconfig.get_config_var("CC") or "cc"), ["cc"])
    if command == ["cc"] or shutil.which(command[0])
)

#: The flags of lossfast/meson.build: those of every kernel, those of each instruction set, and the CPU features (as
#: Linux names them) that it takes to run the latter.
FLAGS = [
    *("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fopenmp-simd"),
    *("-Wall", "-Wextra", "-Wdouble-promotion", "-Werror"),
]
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [f"-mavx512{part}" for part in ("f", "cd", "bw", "dq", "vl")]
INSTRUCTION_SETS = {"baseline": ([], set())}
if platform.machine() in {"x86_64", "AMD64"}:
    INSTRUCTION_SETS |= {
        "avx2": (AVX2, {"avx2", "fma"}),
        "avx512": (
            [*AVX2, *AVX512, "-mprefer-vector-width=512"],
            {"avx2", "fma", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
        ),
    }

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


def runnable():
    """Return the instruction sets this machine can run."""
    cpuinfo = Path("/proc/cpuinfo")
    features = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return [name for name, (_, needed) in INSTRUCTION_SETS.items() if needed <= features]


def compiler_is_gcc():
    """Return whether the compiler defines what gcc does and clang does not."""
    command = [*COMPILER, "-dM", "-E", "-x", "c", "-"]
    macros = subprocess.run(command, input="", capture_output=True, text=True, check=False).stdout
    return "__GNUC__" in macros and "__clang__" not in macros


#: Only gcc names the loops it vectorises in the form read below; what it should do is known for x86-64.
VECTORISING = list(INSTRUCTION_SETS) if len(INSTRUCTION_SETS) > 1 and compiler_is_gcc() else []


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
    functions = set(re.findall(r"^static inline \w+ lf_(\w+)\(", text, re.MULTILINE))
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
    width = {"baseline": 16, "avx2": 32, "avx512": 64}[name]
    found = re.findall(r"loops\.c:(\d+):\d+: optimized: loop vectorized using (\d+) byte vectors", done.stderr)
    assert {loops[int(line)] for line, bytes_ in found if int(bytes_) == width} == set(cards())
