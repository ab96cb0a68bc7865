"""What a run says: tables and a verdict on the terminal, and a picture. All of it comes from the document alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossfast._bench.machine import BLOCK, difference_size, exponential_blocks
from lossfast._bench.peers import OPERATIONS, PEERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Results that differ by more than this, relative to the greatest entry, are not the same numbers. What is less is
#: rounding: PyTorch's float32 CTC is off by up to 2e-2.
SAME = {"float32": 5e-2, "float64": 1e-6}
#: More threads may be so much slower than one before it is worth a word.
SLOWER = 1.05
_HEADINGS = dict(zip(OPERATIONS, ("value", "v+grad", "out=", "hess"), strict=True))


@dataclass(frozen=True)
class Cell:
    """All contenders on one workload, with so many threads, in one situation."""

    loss: str
    dtype: str
    shape: tuple[int, ...]
    threads: int
    situation: str
    rows: dict[tuple[str, str], dict[str, Any]]  # by contender and operation
    #: Peers whose numbers are not the same.
    wrong: frozenset[str]

    @property
    def place(self) -> str:
        """In words."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.loss} {'x'.join(map(str, self.shape))} {self.dtype}, {threads}"

    def seconds(self, contender: str, operation: str, what: str = "median") -> float | None:
        """Of a call, if it was measured."""
        row = self.rows.get((contender, operation))
        return None if row is None else float(row[what])

    def ratio(self, peer: str, operation: str = "value_and_grad", what: str = "median") -> float | None:
        """How many times as long a peer takes."""
        theirs, ours = (self.seconds(name, operation, what) for name in (peer, "lossfast"))
        return None if theirs is None or ours is None else theirs / ours

    @property
    def limit(self) -> float | None:
        """The least seconds of value and gradient, by the traffic and the exponentials; None where it is unknown."""
        plain, around, exponentials = (
            self.seconds("limits", operation) for operation in ("difference", "difference_around_cache", "exponentials")
        )
        if plain is None or around is None or exponentials is None:
            return None
        row = self.rows["limits", "difference"]
        traffic: float = min(plain, around) * row["traffic"] / (12 * difference_size(row["traffic"]))
        arithmetic: float = exponentials * row["exponentials"] / (BLOCK * exponential_blocks(row["elements"]))
        return max(traffic, arithmetic)

    @property
    def share_of_limit(self) -> float | None:
        """The limit as a fraction of what value and gradient take, into an existing array."""
        seconds = self.seconds("lossfast", "value_and_grad_out")
        return None if self.limit is None or seconds is None else self.limit / seconds


def cells(document: dict[str, Any], situation: str) -> list[Cell]:
    """By loss, precision, size and threads."""
    found: dict[Any, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in document["results"]:
        if row["situation"] == situation:
            key = (row["loss"], row["dtype"], tuple(row["shape"]), row["threads"])
            found.setdefault(key, {})[row["contender"], row["operation"]] = row
    wrong: dict[Any, set[str]] = {}
    for row in document["differences"]:
        if not max(row["value"], row["gradient"]) <= SAME[row["dtype"]]:
            wrong.setdefault((row["loss"], row["dtype"], tuple(row["shape"]), row["threads"]), set()).add(
                row["contender"]
            )
    return [
        Cell(loss, dtype, shape, threads, situation, rows, frozenset(wrong.get((loss, dtype, shape, threads), ())))
        for (loss, dtype, shape, threads), rows in found.items()
    ]


def geometric_mean(numbers: Iterable[float]) -> float:
    """Of positive numbers, at least one."""
    logarithms = [math.log(x) for x in numbers]
    return math.exp(sum(logarithms) / len(logarithms))


# ---- text ----------------------------------------------------------------------------------------------------------


def text(document: dict[str, Any]) -> str:
    """Everything that is printed."""
    lines = [*_head(document)]
    for situation in document["plan"]["situations"]:
        found = cells(document, situation)
        if found:
            lines += ["", *(_hot_table(document, found) if situation == "hot" else _tail_table(document, found))]
    return "\n".join([*lines, "", *verdict(document)])


def _head(document: dict[str, Any]) -> Iterator[str]:
    machine, ours = document["machine"], document["lossfast"]
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items() if "instruction" not in name)
    yield f"{machine['processor']}, {machine['processors']} processors{', ' * bool(caches)}{caches}"
    peers = [f"{name} {version}" for name, version in document["versions"].items() if name != "lossfast"]
    yield ", ".join([f"lossfast {ours['version']}", str(ours["instruction set"]), *peers])
    for threads in document["plan"]["threads"]:
        limits = [cell for cell in cells(document, "hot") if cell.threads == threads and cell.limit is not None]
        if limits:
            largest = max(limits, key=lambda cell: cell.rows["limits", "difference"]["traffic"])
            row = largest.rows["limits", "difference"]
            seconds = min(
                s for o in ("difference", "difference_around_cache") if (s := largest.seconds("limits", o)) is not None
            )
            exponential = largest.seconds("limits", "exponentials") or math.nan
            yield (
                f"limits with {threads} thread{'s' * (threads > 1)}: "
                f"{12 * difference_size(row['traffic']) / seconds / 1e9:.1f} GB/s over {row['traffic'] / 1e6:.3g} MB, "
                f"{exponential / (BLOCK * exponential_blocks(row['elements'])) * 1e9:.3f} ns for an exponential in "
                f"{largest.dtype}"
            )


def _cell_name(cell: Cell) -> str:
    return f"{cell.loss.removesuffix('Loss'):<25.25} {'x'.join(map(str, cell.shape)):>14} {cell.threads:>3}"


def _times(ratio: float | None, width: int, *, wrong: bool = False) -> str:
    shown = "-" if ratio is None else f"{ratio:.{1 if ratio < 100 else 0}f}x{'!' * wrong}"
    return f"{shown:>{width}}"


def _hot_table(document: dict[str, Any], found: list[Cell]) -> Iterator[str]:
    peers = document["plan"]["peers"]
    yield "hot loop: nanoseconds per element; how many times as long value and gradient of a peer take; limit: share of"
    yield "the machine's limit that out= reaches"
    heading = "".join(f"{h:>9}" for h in _HEADINGS.values())
    yield f"{'loss':<25} {'shape':>14} {'thr':>3}{heading}{'limit':>7}" + "".join(f"{peer:>9}" for peer in peers)
    for cell in found:
        elements = next(iter(cell.rows.values()))["elements"]
        line = _cell_name(cell)
        for operation in OPERATIONS:
            seconds = cell.seconds("lossfast", operation)
            line += f"{'-' if seconds is None else format(seconds / elements * 1e9, '.3g'):>9}"
        line += f"{'-' if cell.share_of_limit is None else format(cell.share_of_limit, '.0%'):>7}"
        yield line + "".join(_times(cell.ratio(peer), 9, wrong=peer in cell.wrong) for peer in peers)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    unit, length = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("us", 1e-6))
    return f"{seconds / length:.3g} {unit}"


def _tail_table(document: dict[str, Any], found: list[Cell]) -> Iterator[str]:
    peers = document["plan"]["peers"]
    yield {
        "idle": "first call after 100 ms of idling: value and gradient, median and 90th percentile",
        "busy": "beside a busy processor: value and gradient, median and 90th percentile",
    }[found[0].situation]
    names = ["lossfast", "out=", *peers]
    yield f"{'loss':<25} {'shape':>14} {'thr':>3}" + "".join(f"{name:>20}" for name in names)
    for cell in found:
        line = _cell_name(cell)
        for name in names:
            contender, operation = ("lossfast", "value_and_grad_out") if name == "out=" else (name, "value_and_grad")
            median, ninth = (cell.seconds(contender, operation, what) for what in ("median", "ninth_decile"))
            line += f"{_duration(median):>10}{_duration(ninth):>10}"
        yield line


def slower_with_threads(document: dict[str, Any]) -> Iterator[str]:
    """Where this package takes more than 5 % longer with more threads than with one; medians whose quartiles agree."""
    for situation in document["plan"]["situations"]:
        found = cells(document, situation)
        alone = {(c.loss, c.dtype, c.shape): c for c in found if c.threads == 1}
        for cell in found:
            one = alone.get((cell.loss, cell.dtype, cell.shape))
            if one is None or cell is one:
                continue
            for operation in OPERATIONS:
                for what in ("median",) if situation == "hot" else ("median", "ninth_decile"):
                    more, least = (c.seconds("lossfast", operation, what) for c in (cell, one))
                    if more is None or least is None or more <= SLOWER * least:
                        continue
                    if what != "median" or _apart(one, cell, operation):
                        yield (
                            f"{cell.place}, {situation}, {operation}, {what.replace('_', ' ')}: {_duration(more)}, "
                            f"with 1 {_duration(least)} ({more / least - 1:+.0%})"
                        )


def _apart(one: Cell, more: Cell, operation: str) -> bool:
    """Whether the middle halves of the samples do not touch."""
    upper = one.seconds("lossfast", operation, "upper_quartile")
    lower = more.seconds("lossfast", operation, "lower_quartile")
    return upper is not None and lower is not None and lower > upper


def verdict(document: dict[str, Any]) -> Iterator[str]:
    """Who is how much faster, and what went wrong."""
    found = cells(document, "hot")
    for peer in document["plan"]["peers"]:
        ratios = {
            (cell, operation): ratio
            for cell in range(len(found))
            for operation in ("value", "value_and_grad")
            if peer not in found[cell].wrong and (ratio := found[cell].ratio(peer, operation)) is not None
        }
        full = [ratio for (_, operation), ratio in ratios.items() if operation == "value_and_grad"]
        if full:
            (at, operation), least = min(ratios.items(), key=lambda item: item[1])
            yield (
                f"{peer} takes {geometric_mean(full):.1f} times as long for value and gradient (geometric mean of "
                f"{len(full)}), {least:.2f} times at least: {found[at].place}, {operation}"
            )
            for (at, operation), ratio in sorted(ratios.items(), key=lambda item: item[1]):
                if ratio < 1:
                    yield f"  faster than lossfast: {found[at].place}, {operation}, {1 / ratio:.2f} times as fast"
    slower = list(slower_with_threads(document))
    if slower:
        yield "more than 5 % slower with more threads than with 1:"
        yield from (f"  {line}" for line in slower)
    elif len(document["plan"]["threads"]) > 1 and 1 in document["plan"]["threads"]:
        yield "nowhere more than 5 % slower with more threads than with 1"
    worst: dict[tuple[str, str], dict[str, Any]] = {}
    for row in document["differences"]:
        if not max(row["value"], row["gradient"]) <= SAME[row["dtype"]]:
            worst.setdefault((row["contender"], row["loss"]), row)
    for (peer, loss), row in worst.items():
        yield (
            f"{peer} has other numbers for {loss} (marked !): the value is off by {row['value']:.1e}, the gradient by "
            f"{row['gradient']:.1e} of its greatest entry"
        )
    for failure in document["failures"]:
        where = f", {failure['loss']} of {failure['elements']} elements" if "loss" in failure else ""
        threads = f" with {failure['threads']} threads" if failure["threads"] else ""
        yield f"left out: {failure['contender']}{threads}{where}: {failure['reason']}"
    if document["interrupted"]:
        yield "interrupted: this is what had been measured"


# ---- picture -------------------------------------------------------------------------------------------------------


def picture(document: dict[str, Any], path: Path) -> None:
    """Speed beside the limit of the machine, by the bytes of a call; and the peers' times as multiples, by loss."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # of the extra `bench`

    found = cells(document, "hot")
    losses = list(dict.fromkeys(cell.loss for cell in found))
    peers = [peer for peer in PEERS if any(cell.ratio(peer) is not None for cell in found)]
    height = max(5.0, 1.2 + 0.22 * len(losses) * max(1, len(peers)))
    figure = Figure(figsize=(15, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_roofline(left, found)
    draw_ratios(right, found, losses, peers)
    machine, ours = document["machine"], document["lossfast"]
    figure.suptitle(f"lossfast {ours['version']}, {ours['instruction set']}, {machine['processor']}")
    figure.savefig(path, dpi=110)


def draw_roofline(axes: Any, found: list[Cell]) -> None:
    """Bytes per second of calls, and the limit of the machine above them."""
    for k, threads in enumerate(sorted({cell.threads for cell in found})):
        colour, points = f"C{k}", []
        roof: dict[int, list[float]] = {}
        for cell in found:
            seconds = cell.seconds("lossfast", "value_and_grad_out")
            if cell.threads != threads or seconds is None or cell.limit is None:
                continue
            traffic = cell.rows["limits", "difference"]["traffic"]
            memory = min(
                s for o in ("difference", "difference_around_cache") if (s := cell.seconds("limits", o)) is not None
            )
            roof.setdefault(traffic, []).append(12 * difference_size(traffic) / memory / 1e9)
            points.append((traffic, traffic / seconds / 1e9, traffic / cell.limit / 1e9))
        if not points:
            continue
        line = sorted((traffic, max(speeds)) for traffic, speeds in roof.items())
        named = f"{threads} thread{'s' * (threads > 1)}"
        axes.plot(*zip(*line, strict=True), color=colour, label=f"limit by traffic, {named}")
        axes.vlines(*zip(*points, strict=True), color=colour, alpha=0.3)
        axes.plot(
            [p[0] for p in points], [p[1] for p in points], "o", color=colour, markersize=4, label=f"lossfast, {named}"
        )
    axes.set(xscale="log", yscale="log", xlabel="bytes of a call", ylabel="GB/s")
    axes.set_title("value and gradient, out=; thin lines lead to the limit by traffic or exponentials")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_ratios(axes: Any, found: list[Cell], losses: list[str], peers: list[str]) -> None:
    """Times of peers as multiples, by loss."""
    thickness = 0.8 / max(1, len(peers))
    for k, peer in enumerate(peers):
        for at, loss in enumerate(losses):
            ratios = [
                ratio
                for cell in found
                if cell.loss == loss and peer not in cell.wrong and (ratio := cell.ratio(peer)) is not None
            ]
            if ratios:
                y, mean = at - 0.4 + (k + 0.5) * thickness, geometric_mean(ratios)
                axes.barh(y, mean - 1, left=1, height=thickness, color=f"C{k + 2}", label=peer if at == 0 else "")
                axes.plot([min(ratios), max(ratios)], [y, y], color="0.3", linewidth=1)
    axes.axvline(1, color="0.2", linewidth=1)
    axes.axvline(2, color="0.6", linewidth=1, linestyle="--")
    axes.set(xscale="log", xlabel="time as a multiple of lossfast's: geometric mean, least and most")
    axes.set_title("value and gradient, new arrays")
    axes.set_yticks(range(len(losses)), [loss.removesuffix("Loss") for loss in losses])
    axes.invert_yaxis()
    if peers:
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        axes.legend(named.values(), named.keys(), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
