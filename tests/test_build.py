"""What the compiler made: no kernel can run on a machine without its instructions, nothing is left to the linker."""

import itertools
import platform
import re
import shutil
import subprocess

import pytest

from lossfast._drivers import elementwise, rowwise, runtime

DRIVERS = (runtime, elementwise, rowwise)
#: What may be undefined and weak: hooks of the C runtime.
HOOKS = re.compile(r"__cxa_finalize|__gmon_start__|_ITM_\w+")
X86 = platform.machine() in {"x86_64", "AMD64"}
#: The widest registers that code for an instruction set may name, and those that it surely does.
WIDEST = {"baseline": "xmm", "avx2": "ymm", "avx512": "zmm"}


def run(tool, *arguments):
    assert shutil.which(tool), f"{tool} comes with binutils, as the compiler's assembler does"
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout


def functions(path):
    """(source file, name) of every function of a shared library, by address; local symbols follow their file's name."""
    found, source = {}, None
    for line in run("readelf", "-sW", path).splitlines():
        fields = line.split()
        if len(fields) < 7 or not fields[0].rstrip(":").isdigit():
            continue
        value, _, kind, binding = fields[1:5]
        if kind == "FILE":
            source = (fields[7] if len(fields) > 7 else "", int(fields[0][:-1]))
        elif kind == "FUNC" and fields[6] not in {"UND", "0"}:
            place = source if binding == "LOCAL" else None
            found[int(value, 16)] = (place, fields[7])
    return found


def disassembly(path):
    """(source file, name, instructions) of every function."""
    found = functions(path)
    text = run("objdump", "-d", "--no-show-raw-insn", "-w", path)
    for block in re.split(r"\n\n(?=[0-9a-f]+ <)", text):
        head = re.match(r"([0-9a-f]+) <([^>]+)>:\n", block)
        if head:
            place, name = found.get(int(head[1], 16), (None, head[2]))
            yield place, name, [line.partition("\t")[2] for line in block[head.end() :].splitlines()]


def kind_of(instructions):
    """The least instruction set that has them all."""
    text = "\n".join(instructions)
    if re.search(r"%zmm|%k[1-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b", text):
        return "avx512"
    return "avx2" if re.search(r"%ymm|^v\w+", text, re.MULTILINE) else "baseline"


@pytest.mark.parametrize("driver", DRIVERS if X86 else (), ids=lambda m: m.__name__.rpartition(".")[2])
def test_no_code_for_a_newer_processor_outside_of_its_kernels(driver):
    """Each of the kernels' objects uses what its name says; everything else runs everywhere."""
    objects = {}
    for place, name, instructions in disassembly(driver.__file__):
        if place and "kernels.dispatch" in place[0]:
            objects.setdefault(place, set()).add(kind_of(instructions))
        else:
            assert kind_of(instructions) == "baseline", f"{name} of {place}"
    widest = [max(kinds, key=list(WIDEST).index) for kinds in objects.values()]
    # float32 and float64 of every instruction set; an object of the baseline with a wider instruction would not be one
    expected = [isa for isa in runtime.built_isas() for _ in range(2)] if driver is runtime else []
    assert sorted(widest) == sorted(expected)


@pytest.mark.parametrize("driver", DRIVERS if X86 else (), ids=lambda m: m.__name__.rpartition(".")[2])
def test_nothing_is_chosen_by_the_linker(driver):
    """A weak function exists once for all objects: the linker might keep the one for AVX-512."""
    symbols = [line.split()[-2:] for line in run("nm", driver.__file__).splitlines()]
    weak = [name for kind, name in symbols if kind in "WVwvu"]
    assert [name for name in weak if not HOOKS.fullmatch(name.partition("@")[0])] == []
    exported = [line.split()[-1] for line in run("nm", "-D", "--defined-only", driver.__file__).splitlines()]
    short = driver.__name__.rpartition(".")[2]
    assert [name for name in exported if name not in {f"PyInit_{short}", "_init", "_fini"}] == []


@pytest.mark.parametrize(("isa", "bits"), list(itertools.product(runtime.built_isas() if X86 else (), (32, 64))))
def test_one_table_for_each_build(isa, bits):
    names = [line.split()[-1] for line in run("nm", runtime.__file__).splitlines()]
    assert len([name for name in names if re.fullmatch(rf"lf_\w*{isa}\w*{bits}\w*", name)]) == 1
