"""Alignment of a line of handwritten digits
=========================================

What a line says, how sure that is, and at which columns of pixels each digit is seen.

The line and its log-probabilities are a test line of `train_ctc_lines.py`, as its `--save-emissions` wrote them. CTC
asks for no more than the order of the labels, so the network names a digit as soon as, or only when, it is sure, in
one or two columns near the digit. Needs the extra `demo`, for the picture.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import lossfast as lf

BLANK = 10
DATA = Path(__file__).parent / "data" / "digit_line.npz"


def spans(path: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each label of a path: its runs of one class, without those of the blank."""
    changes = np.flatnonzero(path[1:] != path[:-1]) + 1
    first, last = np.r_[0, changes], np.r_[changes, len(path)] - 1
    return [(int(a), int(b)) for a, b in zip(first, last, strict=True) if path[a] != BLANK]


def draw(image: np.ndarray, log_probs: np.ndarray, labels: np.ndarray, path: np.ndarray, picture: Path) -> None:
    """The line and its aligned labels, above log-probabilities and occupancy with the path through them."""
    frames = len(path)
    occupancy = lf.ctc_occupancy(log_probs, labels, frames, len(labels), blank=BLANK)
    figure = Figure(figsize=(11, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(1.1, 1.5, 1.5))
    top.imshow(image, cmap="gray_r", aspect="auto")
    top.set(yticks=[], ylabel="line")
    for label, (first, last) in zip(labels, spans(path), strict=True):
        top.axvspan(first - 0.5, last + 0.5, color="tab:orange", alpha=0.35, linewidth=0)
        top.annotate(
            str(label), ((first + last) / 2, 1.03), xycoords=("data", "axes fraction"), ha="center", color="tab:orange"
        )
    for axes, values, name, colours, low, high in (
        (middle, log_probs, "log-probability", "Blues", -10, 0),
        (bottom, occupancy, "occupancy, given the labels", "Greens", 0, 1),
    ):
        heat = axes.imshow(values.T, cmap=colours, vmin=low, vmax=high, aspect="auto")
        figure.colorbar(heat, ax=axes, pad=0.01, extend="min" if low < 0 else "neither")
        axes.step(range(frames), path, where="mid", color="tab:orange", linewidth=1.2, label="alignment")
        axes.set_yticks(range(BLANK + 1), [*map(str, range(BLANK)), "blank"])
        axes.set_ylabel(name)
    middle.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    bottom.set_xlabel("frame")
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Decode, align, report and draw."""
    about = __doc__.split("=\n\n")[-1]
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--emissions", type=Path, default=DATA)
    parser.add_argument("--picture", type=Path, default=Path("align_ctc.png"))
    options = parser.parse_args()
    with np.load(options.emissions) as data:
        image, labels, log_probs = data["image"], data["labels"], data["log_probs"]

    print("truth            ", *labels)
    print("most probable path", *lf.ctc_greedy_decode(log_probs, len(log_probs), blank=BLANK))
    print("beam search, with log-probabilities")
    for hypothesis, log_prob in lf.ctc_beam_search(log_probs, len(log_probs), n_best=4, blank=BLANK):
        print(f"  {log_prob:8.3f} ", *hypothesis)
    path, scores = lf.ctc_forced_align(log_probs, labels, len(log_probs), len(labels), blank=BLANK)
    print("label  frames   mean log-probability")
    for label, (first, last) in zip(labels, spans(path), strict=True):
        print(f"{label:5d}  {first:2d} - {last:2d}  {scores[first : last + 1].mean():8.3f}")
    draw(image, log_probs, labels, path, options.picture)


if __name__ == "__main__":
    main()
