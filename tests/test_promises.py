"""The page of promises names tests: they exist, and they run."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids="::".join)
def test_a_promise_has_its_test(path, name):
    """Read, not imported: what compares with PyTorch needs PyTorch."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert found, f"docs/promises.md names {path}::{name}, which does not exist"
    marks = " ".join(ast.unparse(decorator) for decorator in found[0].decorator_list)
    assert "xfail" not in marks
    assert "skip" not in marks or "needs Linux" in marks


def test_every_promise_has_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
    assert len(rows) > 20
    for row in rows:
        promise, tests = row.strip("| ").rsplit(" | ", 1)
        named = re.findall(r"`tests/[\w/]+\.py::test_\w+`", tests)
        assert promise
        assert named, row
        assert not tests.translate({ord(c): None for c in "` "}).replace("".join(named).replace("`", ""), ""), row
