"""Run `python -P tests/fuzz`; -P keeps Python from taking the source folder for the installed package."""

import sys
from pathlib import Path

if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules are those of a package
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # behind the installed package
    from tests.fuzz.command import main

    sys.exit(main())
