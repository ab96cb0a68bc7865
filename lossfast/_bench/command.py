"""The command ``python -m lossfast bench``: its arguments, its progress, and where the results go."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossfast._bench import report
from lossfast._bench.machine import processors
from lossfast._bench.measure import SITUATIONS, Plan, Session
from lossfast._bench.peers import PEERS
from lossfast._config import get_num_threads
from lossfast._loss import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: One of each kind: elements bound by memory and by arithmetic, rows of classes, rows of features.
LOSSES = ("MSELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "TripletMarginLoss")
#: What a call costs, the first-level cache, the last one, memory.
SIZES = (16, 3_000, 700_000, 20_000_000)
DTYPES = ("float32", "float64")
PICTURES = (".png", ".pdf", ".svg")
PICTURE, JSON = Path("lossfast-bench.png"), Path("lossfast-bench.json")


# ---- arguments -----------------------------------------------------------------------------------------------------


def _loss(text: str) -> str:
    if text != "all" and text not in REGISTRY:
        close = difflib.get_close_matches(text, REGISTRY, n=3, cutoff=0.3)
        raise argparse.ArgumentTypeError(f"{text!r} is no loss: {' or '.join([*close, 'all'])}?")
    return text


def _words(among: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Some of these words, with commas between them."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(text.split(",")))
        for word in words:
            if word not in among:
                raise argparse.ArgumentTypeError(f"{word!r}: expected some of {','.join(among)}")
        return words

    return parse


def _peers(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    words = _words(tuple(PEERS))(text)
    for word in words:
        missing = PEERS[word].missing()
        if missing:
            raise argparse.ArgumentTypeError(
                f"{word!r} needs {' and '.join(missing)}, not installed here: pip install {' '.join(missing)}, or "
                f"leave {word} out"
            )
    return words


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers") from None


def _threads(text: str) -> tuple[int, ...]:
    numbers, most = tuple(sorted({_whole(word) for word in text.split(",")})), len(processors())
    for number in numbers:
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{number} threads: expected from 1 to {most}, the processors that this process may run on"
            )
    return numbers


def _size(text: str) -> int:
    size = _whole(text)
    if not 1 <= size <= 2**40:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of predictions from 1 to 2**40")
    return size


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected a positive number of seconds")


def _path(text: str) -> Path:
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {str(path.parent)!r}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder: expected the name of a file")
    return path


def _picture(text: str) -> Path:
    path = _path(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a file name that ends in {', '.join(PICTURES)}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError('a picture needs matplotlib: pip install "lossfast[bench]"')
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    installed = tuple(name for name, peer in PEERS.items() if not peer.missing())
    threads = tuple(sorted({1, min(get_num_threads(), len(processors()))}))
    shown = ",".join
    parser.add_argument(
        "--loss",
        metavar="NAME",
        nargs="+",
        type=_loss,
        default=LOSSES,
        help=f"classes to measure, or all (default: {' '.join(LOSSES)})",
    )
    parser.add_argument(
        "--peers",
        metavar="NAMES",
        type=_peers,
        default=installed,
        help=f"some of {shown(PEERS)}, or none (default: those installed, {shown(installed) or 'none'})",
    )
    parser.add_argument(
        "--threads",
        metavar="NUMBERS",
        type=_threads,
        default=threads,
        help=f"numbers of threads, each measured (default: {shown(map(str, threads))})",
    )
    parser.add_argument(
        "--size",
        metavar="N",
        nargs="+",
        type=_size,
        default=SIZES,
        help=f"numbers of predictions; shapes are chosen to fit (default: {' '.join(map(str, SIZES))})",
    )
    parser.add_argument(
        "--dtype",
        metavar="NAMES",
        type=_words(DTYPES),
        default=DTYPES[:1],
        help=f"some of {shown(DTYPES)} (default: {DTYPES[0]})",
    )
    parser.add_argument(
        "--situations",
        metavar="NAMES",
        type=_words(tuple(SITUATIONS)),
        default=("hot",),
        help="some of hot, a loop; idle, the first call after 100 ms of idling; busy, beside a process that keeps one "
        "processor busy (default: hot)",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=_seconds,
        default=120.0,
        help="time for measuring, beside what starting and compiling take; everything is measured five times whatever "
        "this says (default: 120)",
    )
    parser.add_argument(
        "--json", metavar="PATH", type=_path, default=JSON, help=f"file of all results (default: {JSON})"
    )
    parser.add_argument(
        "--picture",
        metavar="PATH",
        type=_picture,
        default=None,
        help=f"picture of them, {', '.join(PICTURES)} (default: {PICTURE}, where matplotlib is installed)",
    )


# ---- the run -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """On the standard error: a bar where tqdm is installed, else a line for each step."""
    if find_spec("tqdm") is None:
        done = 0

        def step(what: str) -> None:
            nonlocal done
            done += 1
            print(f"{done}/{total} {what}", file=sys.stderr, flush=True)

        yield step
        return
    from tqdm import tqdm  # noqa: PLC0415  # of the extra `bench`

    with tqdm(total=total, unit="workload", leave=False) as bar:

        def advance(what: str) -> None:
            bar.set_description(what)
            bar.update()

        yield advance


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; the exit code."""
    plan = Plan(
        losses=tuple(REGISTRY) if "all" in options.loss else tuple(dict.fromkeys(options.loss)),
        peers=options.peers,
        threads=options.threads,
        sizes=tuple(options.size),
        dtypes=options.dtype,
        situations=options.situations,
        seconds=options.seconds,
    )
    with _progress(len(plan.workloads)) as tick:
        document = Session(plan, tick).run()
    print(report.text(document))
    print()
    options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"Results: {options.json}")
    picture: Any = options.picture
    if picture is None and find_spec("matplotlib") is not None:
        picture = PICTURE
    if picture is not None and document["results"]:
        report.picture(document, picture)
        print(f"Picture: {picture}")
    lossfast = {row["threads"] for row in document["results"] if row["contender"] == "lossfast"}
    return 0 if lossfast == set(plan.threads) else 1
