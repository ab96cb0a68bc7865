"""What the documentation says of speed, from a run of ``python -m lossfast bench`` that lies beside it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import drawing
from matplotlib.figure import Figure

from lossfast._bench import report
from lossfast._bench.peers import PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossfast._bench.report import Cell

DATA = Path(__file__).with_name("bench.json")
NOTE = (
    "Nanoseconds per element in a loop, and how many times as long others take for value and gradient; a dash where "
    "nothing comparable exists. See :doc:`/benchmarks`."
)


@cache
def document() -> dict[str, Any]:
    """The run."""
    measured: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return measured


@cache
def cells() -> list[Cell]:
    """What was measured in a loop."""
    return report.cells(document(), "hot")


def peers() -> list[str]:
    """Those that something was compared with."""
    return [peer for peer in PEERS if any(cell.ratio(peer) is not None for cell in cells())]


def machine() -> str:
    """What it ran on, in general terms."""
    described, ours = document()["machine"], document()["lossfast"]
    others = [f"{name} {version}" for name, version in document()["versions"].items() if name != "lossfast"]
    where = f"{described['processors']} processors with {ours['instruction set'].upper()}"
    return ", ".join([where, f"lossfast {ours['version']}", f"NumPy {ours['NumPy']}", *others])


def _ratio(cell: Cell, peer: str) -> str:
    ratio = None if peer in cell.wrong else cell.ratio(peer)
    return "—" if ratio is None else f"{ratio:.{1 if ratio < 100 else 0}f}×"


def _row(cell: Cell) -> list[str]:
    elements = next(iter(cell.rows.values()))["elements"]
    times = []
    for operation in ("value", "value_and_grad", "value_grad_hess"):
        seconds = cell.seconds("lossfast", operation)
        times.append("—" if seconds is None else f"{seconds / elements * 1e9:.3g}")
    shape = "×".join(f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") for n in cell.shape)
    return [shape, cell.dtype, str(cell.threads), *times, *(_ratio(cell, peer) for peer in peers())]


HEADING = ("shape", "dtype", "threads", "value", "and gradient", "and Hessian")


def table_of(name: str) -> list[Sequence[str]]:
    """The rows of one loss behind a heading; nothing where it was not measured."""
    rows = [_row(cell) for cell in cells() if cell.loss == name]
    return [[*HEADING, *peers()], *rows] if rows else []


def pictures() -> str:
    """Speed beside the limits of the machine, and the times of peers as multiples."""
    found = cells()
    losses = list(dict.fromkeys(cell.loss for cell in found))
    panels = []
    with drawing.style(dashes=False):
        figure = Figure(figsize=(4.5, 4), layout="constrained")
        axes = figure.subplots()
        report.draw_roofline(axes, found)
        axes.set_title("value and gradient, out=")
        panels.append(drawing.svg(figure, "bytes per second of value and gradient beside the limit of the machine"))
        if peers():
            figure = Figure(figsize=(4.5, 0.8 + 0.15 * len(losses) * (1 + len(peers()))), layout="constrained")
            axes = figure.subplots()
            report.draw_ratios(axes, found, losses, peers())
            axes.set(title="value and gradient", xlabel="times as long as lossfast")
            panels.append(drawing.svg(figure, "times of others as multiples of lossfast's, by loss"))
    return drawing.beside(panels)


def tables() -> str:
    """All losses, in the form of Markdown."""
    text = ""
    for name in dict.fromkeys(cell.loss for cell in cells()):
        heading, *rows = table_of(name)
        lines = [heading, ["---"] * len(heading), *rows]
        text += f"### {name}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
    return text


def write_pages(folder: Path) -> None:
    """The pieces that the page of benchmarks includes."""
    folder.mkdir(exist_ok=True)
    pieces = {
        "machine": f"*{machine()}*\n",
        "pictures": f"```{{raw}} html\n{pictures()}```\n",
        "verdict": "".join(f"{'  ' * line.startswith(' ')}- {line.strip()}\n" for line in report.verdict(document())),
        "tables": tables(),
    }
    for name, text in pieces.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
