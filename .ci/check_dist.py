"""Hold the distributions to what they are to be: `check_dist.py SDIST WHEEL`."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

LARGEST_WHEEL = 13 << 18  # 3.25 MiB
#: What a wheel holds beside modules, by suffix: their declarations for type checkers, for Cython and for C.
SUFFIXES = {".py", ".pyi", ".typed", ".pxd", ".h", ".so", ".pyd"}
DECLARATIONS = {"lossfast/capi.pxd", "lossfast/include/lossfast.h", "lossfast/py.typed", "lossfast/functional.pyi"}


def check_sdist(path: Path) -> None:
    """Every file of the repository is in it."""
    with tarfile.open(path) as archive:
        held = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    missing = {Path(name) for name in tracked.split("\0") if name} - held
    assert not missing, f"{path.name} lacks {sorted(map(str, missing))}"
    print(f"{path.name}: {path.stat().st_size / 2**20:.2f} MiB, {len(held)} files and folders")


def check_wheel(path: Path) -> None:
    """It is small, can be installed elsewhere and holds nothing that is not used at run time."""
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
    package = {name for name in sizes if name.startswith("lossfast/")}
    unfit = {name for name in package if Path(name).suffix not in SUFFIXES}
    unfit |= {name for name in package - DECLARATIONS if Path(name).suffix in {".pxd", ".h"}}
    assert not unfit, f"{path.name} holds {sorted(unfit)}"
    assert package >= DECLARATIONS, f"{path.name} lacks {sorted(DECLARATIONS - package)}"
    others = {name.partition("/")[0] for name in sizes} - {"lossfast", "lossfast.libs"}
    assert all(name.endswith(".dist-info") for name in others), f"{path.name} holds {sorted(others)}"
    assert any(name.endswith("licenses/LICENSE") for name in sizes), f"{path.name} lacks its licence"
    assert "-linux_" not in path.name, f"{path.name} is for this machine alone"
    size = path.stat().st_size
    assert size <= LARGEST_WHEEL, f"{path.name} has {size} bytes; the budget is {LARGEST_WHEEL}"
    print(f"{path.name}: {size / 2**20:.2f} MiB")
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if Path(name).suffix in {".so", ".pyd"} or ".so." in name:
            print(f"    {sizes[name] / 2**10:7.0f} KiB {name}")


if __name__ == "__main__":
    check_sdist(Path(sys.argv[1]))
    check_wheel(Path(sys.argv[2]))
