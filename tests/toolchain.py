"""The compiler, and the flags that the library is built with, for the tests that compile."""

import platform
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

#: The kernels' text.
KERNELS = Path(__file__).parent.parent / "lossfast" / "kernels"

#: The compiler Python was built with, if it is here.
COMPILER = next(
    command
    for command in (shlex.split(sysconfig.get_config_var("CC") or "cc"), ["cc"])
    if command == ["cc"] or shutil.which(command[0])
)


def compiler_is_gcc():
    """Return whether the compiler defines what gcc does and clang does not."""
    command = [*COMPILER, "-dM", "-E", "-x", "c", "-"]
    macros = subprocess.run(command, input="", capture_output=True, text=True, check=False).stdout
    return "__GNUC__" in macros and "__clang__" not in macros


#: The flags of lossfast/meson.build: those of every kernel, those of each instruction set, and the CPU features (as
#: Linux names them) that it takes to run the latter.
FLAGS = [
    *("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fopenmp-simd"),
    *(("-fno-thread-jumps", "-fschedule-insns", "-fsched-pressure") if compiler_is_gcc() else ()),
    *("-Wall", "-Wextra", "-Wdouble-promotion", "-Werror"),
]
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [f"-mavx512{part}" for part in ("f", "cd", "bw", "dq", "vl")]
#: Bytes of a vector.
WIDTH = {"baseline": 16, "avx2": 32, "avx512": 64}
INSTRUCTION_SETS = {"baseline": ([], set())}
if platform.machine() in {"x86_64", "AMD64"}:
    INSTRUCTION_SETS |= {
        "avx2": (AVX2, {"avx2", "fma"}),
        "avx512": (
            [*AVX2, *AVX512, "-mprefer-vector-width=512"],
            {"avx2", "fma", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
        ),
    }


def runnable():
    """Return the instruction sets this machine can run."""
    cpuinfo = Path("/proc/cpuinfo")
    features = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return [name for name, (_, needed) in INSTRUCTION_SETS.items() if needed <= features]


#: Only gcc names the loops it vectorises in the form read below; what it should do is known for x86-64.
VECTORISING = list(INSTRUCTION_SETS) if len(INSTRUCTION_SETS) > 1 and compiler_is_gcc() else []
