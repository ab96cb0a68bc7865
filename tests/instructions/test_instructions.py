"""A kernel that is slowed down on purpose is noticed by its instructions, and nothing else is.

A stage of its own: it builds the package once more, and needs Valgrind.
"""

import shutil
import subprocess
import sys
import venv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from lossfast._loss import REGISTRY

ROOT = Path(__file__).parents[2]
#: One more multiplication for each vector, by a one that the compiler cannot know.
FAST, SLOW = "const REAL d = input - target,", "const REAL d = (input - target) * (delta / delta),"
LOSS = "HuberLoss"


def load():
    spec = spec_from_file_location("instructions", ROOT / "asv_benchmarks" / "benchmarks" / "instructions.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


instructions = load()


@pytest.fixture(scope="module")
def slowed(tmp_path_factory):
    """An interpreter that imports the slower package, and everything else from where this one does."""
    folder = tmp_path_factory.mktemp("slowed")
    source = folder / "source"
    for name in ("lossfast", "licenses"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "meson.build", "meson.options", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    header = source / "lossfast" / "kernels" / "regression.h"
    before, statement, body = header.read_text(encoding="utf-8").partition("ELEMENTWISE(huber,")
    assert FAST in body
    header.write_text(before + statement + body.replace(FAST, SLOW, 1), encoding="utf-8")
    venv.create(folder / "env")
    python = folder / "env" / "bin" / "python"
    packages = next((folder / "env" / "lib").glob("python*/site-packages"))
    shared = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "shared.pth").write_text("\n".join(shared), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(source)], check=True)
    return str(python)


@pytest.fixture(scope="module")
def counts():
    return instructions.count()


def test_every_loss_is_counted(counts):
    assert {name.split()[0] for name in counts} == set(REGISTRY)
    for name, cls in REGISTRY.items():
        cells = [cell.split() for cell in counts if cell.split()[0] == name]
        assert {dtype for _, dtype, _, _ in cells} == set(instructions.DTYPES)
        expected = set(instructions.OPERATIONS) - (set() if cls.curved else {"value_grad_hess"})
        assert {operation for *_, operation in cells} == expected
    assert min(counts.values()) > 0.05  # NLL reads one of a row's thousand log-probabilities


def test_the_same_build_takes_the_same():
    first, second = (instructions.count(losses=[LOSS]) for _ in range(2))
    assert instructions.changed(first, second, threshold=instructions.THRESHOLD / 10) == {}


def test_a_slower_kernel_is_flagged_and_no_other(counts, slowed):
    after = instructions.count(slowed)
    assert after.keys() == counts.keys()
    flagged = instructions.changed(counts, after)
    assert set(flagged) == {name for name in counts if name.split()[0] == LOSS}, flagged
    assert all(1 + instructions.THRESHOLD < ratio < 1.25 for ratio in flagged.values()), flagged
