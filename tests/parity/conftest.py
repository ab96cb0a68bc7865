"""The stage that compares lossfast with PyTorch, collected only where that is installed: `pip install .[parity]`."""

import importlib.util
import sys

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


def pytest_terminal_summary(terminalreporter):
    """Print how much was compared, and how close it was."""
    tally = next((m.tally for name, m in sys.modules.items() if name.endswith("parity.oracle")), None)
    if not tally:
        return
    terminalreporter.section("parity with PyTorch")
    terminalreporter.write_line(f"{'loss':<22}{'comparisons':>12}{'entries':>10}  worst error / tolerance")
    for name, (comparisons, entries, worst) in sorted(tally.items()):
        terminalreporter.write_line(f"{name:<22}{comparisons:>12}{entries:>10}  {worst:.2f}")
