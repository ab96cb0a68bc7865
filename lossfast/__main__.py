"""``python -m lossfast`` prints the configuration, ``demo`` trains two small models, ``bench`` measures every loss."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lossfast import _demo
from lossfast._bench import command as bench
from lossfast._config import __version__, show_config

#: Formats of the picture that need nothing beyond matplotlib.
_FORMATS = (".png", ".pdf", ".svg")


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in _FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a file name that ends in {', '.join(_FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {str(path.parent)!r}")
    return path


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 to 2**32 - 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lossfast",
        description="Without a command: print version, instruction set, OpenMP and threads.",
    )
    parser.add_argument("--version", action="version", version=f"lossfast {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="train two small models on real data, beside scikit-learn's",
        description="Train a perceptron on handwritten digits with CrossEntropyLoss and a linear model on the diabetes "
        "data with HuberLoss. Print held-out accuracy and error beside those of scikit-learn's estimators and the time "
        "spent in the loss, and save a picture of the loss curves. Takes a few seconds and the extra lossfast[demo].",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument(
        "--output", metavar="PATH", type=_picture, default="lossfast-demo.png", help="picture of the loss curves"
    )
    demo.add_argument("--seed", metavar="N", type=_seed, default=0, help="of the split, the weights and the batches")
    bench.add_arguments(
        commands.add_parser(
            "bench",
            help="measure losses on this machine, beside PyTorch, JAX and scikit-learn where installed",
            description="Time value, value with gradient (a new array, and one given as out=) and Hessian diagonal of "
            "losses from 16 predictions to 20 million, beside whatever peers are installed and the limits of this "
            "machine: each contender in a process of its own, in turns. Print times per element, how many times as "
            "long the peers take and what is reached of the limit; write a file of results and a picture. Takes a few "
            "minutes unless told otherwise; quiet machines give better answers.",
        )
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    options = _parser().parse_args(arguments)
    if options.command is None:
        show_config()
        return 0
    if options.command == "bench":
        return bench.run(options)
    missing = _demo.missing_requirements()
    if missing:
        print(
            f"lossfast demo needs {' and '.join(missing)}, not installed here. Install the extra with\n"
            '    pip install "lossfast[demo]"\n'
            'or, in a clone of the repository, pip install ".[demo]".',
            file=sys.stderr,
        )
        return 2
    _demo.demo(options.output, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
