"""Figures as a part of a page: as SVG, with text and axes in the colour that the page has, light or dark."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

import lossfast as lf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Of text and axes; as all greys, it becomes the colour of the page's text.
INK = "#333333"
#: Of curves and bars: readable on white and on black, and told apart by the colour-blind.
COLOURS = ("#3b82d0", "#dd7420", "#2b9d77", "#b06ac8")
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")


@contextmanager
def style(*, dashes: bool = True) -> Iterator[None]:
    """Figures that are made and drawn within look alike; dashes show a curve that lies below another."""
    from cycler import cycler  # noqa: PLC0415  # comes with matplotlib

    settings: dict[str, Any] = dict.fromkeys(_INKED, INK)
    cycle = cycler(color=COLOURS)
    if dashes:
        cycle += cycler(linestyle=("-", (0, (4, 2)), (0, (6, 2, 1, 2)), (0, (1, 1.5))))
    settings |= {"axes.prop_cycle": cycle, "lines.linewidth": 1.8}
    settings |= {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(settings):
        yield


def svg(figure: Figure, title: str) -> str:
    """A figure as an element of a page, the same for the same figure; `title` is what a screen reader says."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"#([0-9a-f]{2})\1\1\b", "currentColor", buffer.getvalue())
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def beside(panels: Iterable[str]) -> str:
    """Pictures side by side, where there is room for them."""
    return '<div class="lf-panels">\n' + "\n".join(panels) + "\n</div>\n"


def write_thumbnail(path: Path) -> None:
    """Of examples without a picture: three losses of one error."""
    x = np.linspace(-3, 3, 201)
    with style(dashes=False):
        figure = Figure(figsize=(4, 2.8), layout="constrained")
        axes = figure.subplots()
        for loss in (lf.MSELoss(reduction="none"), lf.L1Loss(reduction="none"), lf.TukeyBiweightLoss(reduction="none")):
            axes.plot(x, loss(x, 0 * x), linewidth=4)
        axes.set(ylim=(0, 3), xticks=[], yticks=[])
        figure.savefig(path, dpi=100)
