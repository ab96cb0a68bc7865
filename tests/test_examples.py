"""The examples run from anywhere, draw their pictures and do what they say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import lossfast as lf

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
#: Settings that keep the test short, and what a run leaves in its folder.
SETTINGS = {"train_ctc_lines.py": ("--steps", "30", "--save-emissions", "line.npz")}
LEFT = {
    "align_ctc.py": {"align_ctc.png"},
    "class_imbalance.py": {"class_imbalance.png"},
    "train_ctc_lines.py": {"line.npz", "train_ctc_lines.png"},
}
BLANK = 10


def run(script, folder, *settings):
    """What the script prints. Its own warnings are errors, those of the packages it imports are not."""
    command = [sys.executable, "-W", "error:::__main__", EXAMPLES / script, *settings]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Run a script, once: its folder and what it printed."""
    runs = {}

    def of(script):
        if script not in runs:
            folder = tmp_path_factory.mktemp(script)
            runs[script] = folder, run(script, folder, *SETTINGS.get(script, ()))
        return runs[script]

    return of


@pytest.fixture(scope="module")
def train_ctc_lines():
    """The training script as a module."""
    spec = importlib.util.spec_from_file_location("train_ctc_lines", EXAMPLES / "train_ctc_lines.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def line():
    """The emissions that lie beside the examples."""
    with np.load(EXAMPLES / "data" / "digit_line.npz") as data:
        return dict(data)


@pytest.mark.parametrize("script", SCRIPTS)
def test_runs(script, example):
    folder, printed = example(script)
    assert printed
    assert {path.name for path in folder.iterdir()} == LEFT.get(script, set())
    for picture in folder.glob("*.png"):
        pixels = imread(picture)
        assert min(pixels.shape[:2]) > 400
        assert pixels[..., :3].mean() > 0.7  # on a light ground
        assert pixels[..., :3].std() > 0.05  # not empty


def test_training_lowers_the_loss(example):
    _, printed = example("train_ctc_lines.py")
    first, last = map(float, re.search(r"loss per label ([\d.]+) -> ([\d.]+)", printed).groups())
    assert last < first / 2


def test_training_saves_what_the_alignment_reads(example, line, tmp_path):
    folder, _ = example("train_ctc_lines.py")
    with np.load(folder / "line.npz") as saved:
        assert {name: (array.dtype, array.ndim) for name, array in saved.items()} == {
            name: (array.dtype, array.ndim) for name, array in line.items()
        }
        labels = saved["labels"]
    printed = run("align_ctc.py", tmp_path, "--emissions", folder / "line.npz")
    assert re.search(rf"truth +{' '.join(map(str, labels))}\n", printed)


def test_backpropagation(train_ctc_lines):
    rng = np.random.default_rng(0)
    network = train_ctc_lines.Network(rng)
    for layer in network.layers:
        layer.weight = layer.weight.astype(np.float64)
        layer.bias = rng.standard_normal(layer.bias.shape)
    lines, *truth = train_ctc_lines.make_lines(rng.random((20, 8, 8)), np.arange(20) % 10, 3, rng)
    loss = lf.CTCLoss(blank=BLANK, from_logits=True)

    def value():
        return loss(network.forward(lines.astype(np.float64)), *truth)

    grads = network.backward(loss.grad(network.forward(lines.astype(np.float64)), *truth))
    parameters = [p for layer in network.layers for p in (layer.weight, layer.bias)]
    for parameter, grad in zip(parameters, grads, strict=True):
        step = 1e-6 * rng.standard_normal(parameter.shape)
        parameter += step  # noqa: PLW2901  # in place
        above = value()
        parameter -= 2 * step  # noqa: PLW2901
        below = value()
        parameter += step  # noqa: PLW2901
        np.testing.assert_allclose((above - below) / 2, (grad * step).sum(), rtol=1e-5)


def test_edit_distance(train_ctc_lines):
    for a, b, distance in (("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("abcd", "bcde", 2)):
        assert train_ctc_lines.edit_distance(a, b) == distance


def test_bundled_line(line):
    log_probs, labels = line["log_probs"], line["labels"]
    frames = len(log_probs)
    assert (EXAMPLES / "data" / "digit_line.npz").stat().st_size < 50_000
    assert log_probs.dtype == np.float32
    assert line["image"].shape == (8, frames)
    np.testing.assert_allclose(lf.logsumexp(log_probs, axis=1), 0, atol=1e-5)
    np.testing.assert_array_equal(lf.ctc_greedy_decode(log_probs, frames, blank=BLANK), labels)
    [(read, log_prob)] = lf.ctc_beam_search(log_probs, frames, beam=500, blank=BLANK)
    np.testing.assert_array_equal(read, labels)
    loss = lf.CTCLoss(blank=BLANK, reduction="sum")(log_probs, labels, frames, len(labels))
    np.testing.assert_allclose(log_prob, -loss, rtol=1e-5)
    path, scores = lf.ctc_forced_align(log_probs, labels, frames, len(labels), blank=BLANK)
    np.testing.assert_array_equal(path[(np.diff(path, prepend=BLANK) != 0) & (path != BLANK)], labels)
    np.testing.assert_array_equal(scores, log_probs[np.arange(frames), path])
    assert -scores.sum() > loss  # one path of many
