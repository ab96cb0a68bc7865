"""Reading lines of handwritten digits
===================================

A convolutional network in plain NumPy learns to read them by CTC.

scikit-learn's digits, 8x8 pixels each, stand in lines of 4 to 8, some apart and some overlapping. Every column of
pixels is a frame. The network is told which digits a line holds, in order, and never where they are.
No image of a digit is in both training and test lines. Needs the extra `demo`.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import lossfast as lf

BATCH, RATE, NOISE, EVERY = 32, 5e-3, 0.1, 50  # measured every so many steps
BLANK = 10  # behind the digits, so that a digit is its class
WIDTHS, CHANNELS = (7, 5, 5), (8, 64, 128, BLANK + 1)
Lines = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_lines(digits: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> Lines:
    """Random lines ``(T, N, 8)``, their targets ``(N, 8)``, input lengths and target lengths: arguments of the loss."""
    target_lengths = rng.integers(4, 9, count)
    chosen = rng.integers(len(digits), size=(count, 8))
    starts = np.cumsum(rng.integers(7, 12, (count, 8)), axis=1) - 7  # by -1 to 3 columns apart
    input_lengths = starts[np.arange(count), target_lengths - 1] + 8 + rng.integers(4, size=count)
    lines = np.zeros((input_lengths.max(), count, 8), np.float32)
    for n in range(count):
        for start, digit in zip(starts[n, : target_lengths[n]], digits[chosen[n]], strict=False):
            ink = lines[start : start + 8, n]
            np.maximum(ink, digit, out=ink)
    return lines, labels[chosen], input_lengths, target_lengths


class Convolution:
    """A convolution over time as the product of patches and a matrix, and a ReLU if wanted."""

    def __init__(self, inputs: int, outputs: int, width: int, relu: bool, rng: np.random.Generator) -> None:
        scale = np.float32(np.sqrt(2 / (width * inputs)))
        self.weight = rng.standard_normal((width * inputs, outputs), np.float32) * scale
        self.bias = np.zeros(outputs, np.float32)
        self.width, self.relu = width, relu

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(T, N, inputs) to (T - width + 1, N, outputs); what the backward pass needs is kept."""
        self.shape, frames = x.shape, len(x) - self.width + 1
        patches = np.concatenate([x[k : k + frames] for k in range(self.width)], axis=2)
        self.patches = patches.reshape(-1, len(self.weight))
        self.y = self.patches @ self.weight + self.bias
        if self.relu:
            np.maximum(self.y, 0, out=self.y)
        return self.y.reshape(frames, x.shape[1], -1)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient by the input, from that by the output; those by the parameters are kept."""
        frames, grad = len(grad), grad.reshape(self.y.shape)
        if self.relu:
            grad = grad * (self.y > 0)
        self.grads = self.patches.T @ grad, grad.sum(0)
        by_patches = (grad @ self.weight.T).reshape(frames, self.shape[1], self.width, -1)
        by_input = np.zeros(self.shape, grad.dtype)
        for k in range(self.width):
            by_input[k : k + frames] += by_patches[:, :, k]
        return by_input


class Network:
    """Convolutions that see 15 columns around each frame, trained with Adam."""

    def __init__(self, rng: np.random.Generator) -> None:
        shapes = zip(CHANNELS, CHANNELS[1:], WIDTHS, (True, True, False), strict=False)
        self.layers = [Convolution(*shape, rng) for shape in shapes]
        self.parameters = [p for layer in self.layers for p in (layer.weight, layer.bias)]
        self.first, self.second = ([np.zeros_like(p) for p in self.parameters] for _ in range(2))
        self.steps = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The logits (T, N, classes) of lines (T, N, 8), around which the paper is white."""
        margin = (sum(WIDTHS) - len(WIDTHS)) // 2
        x = np.pad(x, ((margin, margin), (0, 0), (0, 0)))
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad: np.ndarray) -> list[np.ndarray]:
        """The gradients of the parameters, from that of the logits."""
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return [g for layer in self.layers for g in layer.grads]

    def update(self, grads: list[np.ndarray], rate: float) -> None:
        """One step of Adam."""
        self.steps += 1
        rate *= float(np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps))
        for p, g, m, v in zip(self.parameters, grads, self.first, self.second, strict=True):
            m[...] += 0.1 * (g - m)
            v[...] += 0.001 * (g * g - v)
            p[...] -= rate * m / (np.sqrt(v) + 1e-8)


def edit_distance(a: np.ndarray, b: np.ndarray) -> int:
    """How many insertions, deletions and substitutions turn one sequence into the other (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def read(network: Network, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """The log-probabilities of the lines, and how many labels of each the likeliest path gets wrong."""
    x, targets, input_lengths, target_lengths = lines
    log_probs = lf.log_softmax(network.forward(x), axis=2)
    decoded = lf.ctc_greedy_decode(log_probs, input_lengths, blank=BLANK)
    truth = (labels[:length] for labels, length in zip(targets, target_lengths, strict=True))
    return log_probs, np.array([edit_distance(a, b) for a, b in zip(decoded, truth, strict=True)])


def train(steps: int, seed: int) -> tuple[Network, Lines, list[float], dict[int, float]]:
    """The trained network, the test lines, the loss at every step and the accuracy at some."""
    digits, labels = load_digits(return_X_y=True)
    digits = (digits.reshape(-1, 8, 8).swapaxes(1, 2) / 16).astype(np.float32)  # columns first
    digits, test_digits, labels, test_labels = train_test_split(
        digits, labels, test_size=0.2, stratify=labels, random_state=seed
    )
    rng = np.random.default_rng(seed)
    test_lines = make_lines(test_digits, test_labels, 500, rng)
    network, loss = Network(rng), lf.CTCLoss(blank=BLANK, from_logits=True)
    losses, accuracies, in_loss, begin = [], {}, 0.0, perf_counter()
    with tqdm(range(1, steps + 1), unit="step") as bar:
        for step in bar:
            x, *truth = make_lines(digits, labels, BATCH, rng)
            logits = network.forward(x + NOISE * rng.standard_normal(x.shape, np.float32))
            before = perf_counter()
            value, grad = loss.value_and_grad(logits, *truth)
            in_loss += perf_counter() - before
            network.update(network.backward(grad), RATE * (1 - (step - 1) / steps))
            losses.append(value)
            if step % EVERY == 0 or step == steps:
                _, wrong = read(network, test_lines)
                accuracies[step] = 1 - wrong.sum() / test_lines[3].sum()
                bar.set_postfix(loss=f"{np.mean(losses[-EVERY:]):.3f}", accuracy=f"{accuracies[step]:.1%}")
    seconds = perf_counter() - begin
    print(f"{steps} steps in {seconds:.1f} s, {in_loss / seconds:.0%} of them in the loss")
    return network, test_lines, losses, accuracies


def draw(network: Network, lines: Lines, losses: list[float], accuracies: dict[int, float], picture: Path) -> None:
    """Three lines, one of them misread if there is any, with what the network says of each column; the curves."""
    x, targets, input_lengths, target_lengths = lines
    log_probs, wrong = read(network, lines)
    occupancy = lf.ctc_occupancy(log_probs, targets, input_lengths, target_lengths, blank=BLANK)
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    grid = figure.add_gridspec(4, 3, height_ratios=(0.8, 1, 1, 1.6))
    for column, n in enumerate(np.argsort(wrong > 0, kind="stable")[[0, 1, -1]]):
        frames = input_lengths[n]
        title = "read " + " ".join(map(str, lf.ctc_greedy_decode(log_probs[:frames, n], frames, blank=BLANK)))
        if wrong[n]:
            title += ", is " + " ".join(map(str, targets[n, : target_lengths[n]]))
        line, *maps = (figure.add_subplot(grid[row, column]) for row in range(3))
        line.imshow(x[:frames, n].T, cmap="gray_r", aspect="auto")
        line.set_title(title, color="tab:red" if wrong[n] else "black")
        line.set_axis_off()
        for axes, values, colours, name in zip(
            maps, (np.exp(log_probs), occupancy), ("Blues", "Greens"), ("probability", "occupancy"), strict=True
        ):
            axes.imshow(values[:frames, n].T, cmap=colours, vmin=0, vmax=1, aspect="auto")
            axes.set_yticks(range(BLANK + 1), [*map(str, range(BLANK)), "blank"], fontsize=7)
            axes.set(xlabel="frame" if axes is maps[1] else None, ylabel=name if column == 0 else None)
        maps[0].tick_params(labelbottom=False)
    left = figure.add_subplot(grid[3, :])
    left.semilogy(range(1, len(losses) + 1), losses, color="tab:blue", linewidth=0.8)
    left.set(xlabel="step", xlim=(0, len(losses)))
    left.set_ylabel("training loss per label", color="tab:blue")
    right = left.twinx()
    right.plot(list(accuracies), list(accuracies.values()), color="tab:orange", marker=".")
    right.set_ylim(-0.02, 1.02)
    right.set_ylabel("label accuracy on held-out lines", color="tab:orange")
    figure.savefig(picture, dpi=110)


def save_emissions(network: Network, lines: Lines, path: Path) -> None:
    """What `align_ctc.py` takes: the line, of those read without error, of which the network is least sure."""
    x, targets, input_lengths, target_lengths = lines
    log_probs, wrong = read(network, lines)
    losses = lf.CTCLoss(blank=BLANK, reduction="none")(log_probs, targets, input_lengths, target_lengths)
    n = np.where(wrong == 0, losses, -np.inf).argmax()
    frames, labels = input_lengths[n], targets[n, : target_lengths[n]]
    image = np.round(16 * x[:frames, n].T).astype(np.uint8)
    np.savez_compressed(path, image=image, labels=labels, log_probs=log_probs[:frames, n])


def main() -> None:
    """Train, report and draw."""
    about = __doc__.split("=\n\n")[-1]
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and lines")
    parser.add_argument("--picture", type=Path, default=Path("train_ctc_lines.png"))
    parser.add_argument("--save-emissions", type=Path, help="a test line with its log-probabilities, as .npz")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps {options.steps}: expected 1 or more")
    with threadpool_limits(1, user_api="blas"):  # the matrices are small: threads would mostly wait for each other
        network, test_lines, losses, accuracies = train(options.steps, options.seed)
    few = max(options.steps // 10, 1)
    print(f"training loss per label {np.mean(losses[:few]):.3f} -> {np.mean(losses[-few:]):.3f}")
    print(f"label accuracy on {len(test_lines[2])} held-out lines: {accuracies[options.steps]:.2%}")
    draw(network, test_lines, losses, accuracies, options.picture)
    if options.save_emissions:
        save_emissions(network, test_lines, options.save_emissions)


if __name__ == "__main__":
    main()
