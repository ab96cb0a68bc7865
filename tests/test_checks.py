"""Finite differences, the diagnosis of arrays, and gradients held in bounds."""

import inspect
import re

import ml_dtypes
import numpy as np
import pytest

import lossfast as lf
from lossfast import _diagnosis

from .cases import CASES, ONE_EACH


def healthy(case, rng, size=300):
    """Arrays as a loss usually gets them, away from the ends of its domain."""
    arrays = []
    for name, array in zip(case.names, case.arrays(rng, size), strict=True):
        meaning, domain = _diagnosis._meaning(case.bare("mean"), name), case.cls.domains.get(name)
        if meaning == "log-probabilities" or (name == "log_probs" and not case.loss.from_logits):
            arrays.append(lf.log_softmax(array, axis=-1 if case.sequences else min(1, array.ndim - 1)))
        elif case.cls is lf.KLDivLoss and name == "target":
            arrays.append(np.where(array == 0, 0.1, array))  # where entropies have no slope
        elif domain is not None and name in case.cls.predictions:
            arrays.append(0.1 + 0.8 * array)
        else:
            arrays.append(array)
    return arrays


def doubt(case):
    """Distances bend without bound as embeddings meet: what a step that is not small beside them leaves open."""
    return 1e-6 if case.pairwise else 0.0


# ---- check_grad -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_gradient_is_that_of_finite_differences(case, rng):
    arrays = healthy(case, rng, 60)
    for reduction in ("mean", "none"):
        assert 0 <= lf.check_grad(case.bare(reduction), *arrays, atol=doubt(case)) <= 1e-6
    if case.differentiable != case.predictions:
        lf.check_grad(case.bare("mean"), *arrays, wrt=case.differentiable, atol=doubt(case))


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_gradients_of_great_arrays(case, rng):
    arrays = healthy(case, rng, 20_000)
    for reduction in ("mean", "none"):
        assert lf.check_grad(case.bare(reduction), *arrays, atol=doubt(case)) <= 1e-6


def test_gradients_by_weights_and_with_sample_weights(rng):
    x, t, weight = rng.standard_normal((3, 6, 4))
    error = lf.check_grad(lf.MSELoss(weight=weight**2), x, t, wrt=("weight", "input"))
    assert type(error) is float
    lf.check_grad(lf.L1Loss(weight=weight**2, reduction="none"), x, t, wrt="weight")
    lf.check_grad(lf.CrossEntropyLoss(), x, t**2, wrt=("target", "input"), sample_weight=[1.0, 2, 0, 3, 1, 1])
    lf.check_grad(lf.CrossEntropyLoss(weight=[1.0, 2, 3, 4]), x, t**2, wrt="weight")
    lf.check_grad(0.5 * lf.MSELoss(weight=weight**2) - 2 * lf.HuberLoss(), x, t)


def test_great_sums_with_different_denominators(rng):
    x, t, weight = rng.standard_normal((3, 50, 40))
    lf.check_grad(0.5 * lf.MSELoss(weight=weight**2) - 2 * lf.HuberLoss() + lf.L1Loss(), x, t)


def test_points_at_and_near_kinks():
    at = np.array([0, 1e-9, -1e-7, 1e-5, -1e-3, 0.5, -0.5, 0.5 + 1e-8, 0.5 - 1e-4, 1.0, -1.0, 1.0 + 1e-6, 3.0])
    zero = np.zeros_like(at)
    for loss in (lf.L1Loss(), lf.HuberLoss(delta=0.5), lf.SmoothL1Loss(beta=0.5), lf.SmoothL1Loss(beta=0.0)):
        assert lf.check_grad(loss, at, zero) <= 1e-6
    for target in (zero + 1, zero - 1):
        assert lf.check_grad(lf.HingeEmbeddingLoss(), at, target) <= 1e-6
        assert lf.check_grad(lf.MarginRankingLoss(margin=0.5), at, zero, target) <= 1e-6


def test_a_kink_leaves_no_more_open_than_its_two_sides():
    class Slope(lf.CustomLoss):
        at_kink: float = 0.0

        def value(self, input, target):
            return np.abs(input - target)

        def derivative(self, input, target):
            return np.where(input == target, self.at_kink, np.sign(input - target))

    for right in (-1.0, 0.0, 0.3, 1.0):
        lf.check_grad(Slope(at_kink=right), [0.0, 1.0], [0.0, 0.0])
    for wrong in (-1.001, 1.001, 5.0):
        with pytest.raises(AssertionError, match=rf"by input\[0\] is {wrong / 2:g}"):
            lf.check_grad(Slope(at_kink=wrong), [0.0, 1.0], [0.0, 0.0])


def test_points_at_and_near_the_ends_of_a_domain():
    inside = np.array([1e-6, 1e-3, 0.3, 0.999, 1 - 1e-6])
    assert lf.check_grad(lf.BCELoss(), inside, [1.0, 0.0, 0.5, 1.0, 0.0]) <= 1e-6
    # towards the target the derivative by it is a constant
    assert lf.check_grad(lf.BCELoss(), inside, [0.0, 1.0, 0.0, 1.0, 1e-7], wrt="target") <= 1e-6
    great = np.full(2000, 0.25)
    assert lf.check_grad(lf.BCELoss(), great, np.arange(2000) % 2.0, wrt="target") <= 1e-6
    with pytest.raises(AssertionError, match=r"by input\[1\]"):  # PyTorch's gradient, which is not the derivative
        lf.check_grad(lf.BCELoss(), [0.5, 0.0], [1.0, 1.0])


def test_masked_logits(rng):
    logits = rng.standard_normal((6, 4))
    logits[:, 2] = -np.inf
    lf.check_grad(lf.CrossEntropyLoss(), logits, [0, 1, 3, 0, 1, 3])


def test_float32_arrays_lists_and_labels(rng):
    x, t = rng.standard_normal((2, 7)).astype(np.float32)
    assert lf.check_grad(lf.HuberLoss(), x, t) <= 1e-6
    assert lf.check_grad(lf.HuberLoss(), x.tolist(), 3) <= 1e-6
    assert lf.check_grad(lf.MSELoss(), np.arange(5), np.arange(5)[::-1]) <= 1e-6
    assert lf.check_grad(lf.MSELoss(), 1.5, 0.5) <= 1e-6
    assert lf.check_grad(lf.CrossEntropyLoss(), rng.standard_normal(5), 3) <= 1e-6
    assert lf.check_grad(lf.MSELoss(reduction="sum"), [], []) == 0


def layers(rng, features=5):
    """A linear layer of 6 classes; an adaptive softmax of 9 classes in two clusters, with its nested weights."""
    input, labels = rng.standard_normal((12, features)), np.arange(12)
    linear = rng.standard_normal((6, features)), rng.standard_normal(6)
    sizes = ((3, 2), (3, 4))
    tails = [(rng.standard_normal((h, features)), rng.standard_normal((n, h))) for n, h in sizes]
    head = rng.standard_normal((5, features)), rng.standard_normal(5)
    adaptive = lf.AdaptiveLogSoftmaxWithLoss(n_classes=9, cutoffs=[3, 6])
    return (
        (lf.LinearCrossEntropyLoss(), (input, linear[0], labels % 6, linear[1])),
        (adaptive, (input, labels % 9, head[0], tails, head[1])),
    )


def test_gradients_by_nested_weights(rng):
    for loss, arrays in layers(rng):
        assert lf.check_grad(loss, *arrays) <= 1e-6
        assert lf.check_grad(0.5 * loss, *arrays[:-1]) <= 1e-6
    assert lf.check_grad(loss, *arrays, wrt="tail_weights") <= 1e-6
    loss, arrays = layers(rng, features=300)[1]
    assert lf.check_grad(loss, *arrays) <= 1e-6

    class Spoilt(lf.AdaptiveLogSoftmaxWithLoss):
        def grad(self, *arrays, **options):
            grads = super().grad(*arrays, **options)
            grads[2][1][0][2, 0] *= 2
            return grads

    with pytest.raises(AssertionError, match=r"by tail_weights\[1\]\[0\]\[2, 0\] is"):
        lf.check_grad(Spoilt(n_classes=9, cutoffs=[3, 6]), *layers(rng)[1][1])


class Wrong(lf.CustomLoss):
    """A loss with a derivative that is wrong by a factor, a sign, a term, or in one place."""

    factor: float = 1.0
    missing: float = 0.0
    place: int = -1

    def value(self, input, target):
        d = input - target
        return d**2 + np.sin(d)

    def derivative(self, input, target):
        d = input - target
        grad = self.factor * (2 * d + np.cos(d)) - self.missing * np.cos(d)
        if self.place >= 0:
            grad[self.place] *= 1.5
        return grad


@pytest.mark.parametrize("size", [20, 5000])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    "wrong", [{"factor": 1.0001}, {"factor": -1.0}, {"factor": 0.0}, {"missing": 1.0}, {"missing": 1e-4}, {"place": 7}]
)
def test_wrong_derivatives_are_found(size, reduction, wrong, rng):
    x, t = rng.standard_normal((2, size))
    assert lf.check_grad(Wrong(reduction=reduction), x, t) <= 1e-6
    with pytest.raises(AssertionError, match=r"the derivative .* by finite differences it is") as caught:
        lf.check_grad(Wrong(**wrong, reduction=reduction), x, t)
    assert "greater than rtol=1e-06" in str(caught.value)


def test_the_message_names_the_worst_entry(rng):
    x, t = rng.standard_normal((2, 3, 4))
    loss = Wrong(place=7, reduction="none")
    exact = Wrong(reduction="sum").grad(x, t)[1, 3]
    with pytest.raises(AssertionError) as caught:
        lf.check_grad(loss, x, t)
    message = str(caught.value)
    named = re.match(
        r"Wrong\(place=7, reduction='none'\): the derivative by input\[1, 3\] is (\S+), "
        r"by finite differences it is (\S+): a relative error of (\S+), greater than rtol=1e-06$",
        message,
    )
    assert named, message
    analytic, numeric, error = map(float, named.groups())
    assert analytic / numeric == pytest.approx(1.5, rel=1e-6)
    assert 0.5 <= numeric / exact <= 1.5  # times the cotangent
    assert error == pytest.approx(1 / 3, rel=0.1)


def test_tolerances():
    x, t = [1.0, 2.0], [0.5, 0.5]
    nearly = Wrong(factor=1 + 1e-4)
    assert lf.check_grad(nearly, x, t, rtol=1e-3) == pytest.approx(1e-4, rel=0.01)
    assert lf.check_grad(nearly, x, t, rtol=0, atol=1e-3) == 0
    with pytest.raises(AssertionError):
        lf.check_grad(nearly, x, t, rtol=9e-5)


def test_what_cannot_be_checked():
    with pytest.raises(ValueError, match=r"MSELoss\(\) is not finite at these arrays"):
        lf.check_grad(lf.MSELoss(), [1.0, np.nan], [0.0, 0.0])
    with pytest.raises(ValueError, match="wrt = 'output'"):
        lf.check_grad(lf.MSELoss(), [1.0], [0.0], wrt="output")
    with pytest.raises(TypeError, match="takes the arrays input, target, but 3 were given"):
        lf.check_grad(lf.MSELoss(), [1.0], [0.0], [0.0])
    with pytest.raises(TypeError, match="takes the arrays input, target, but 1 were given"):
        lf.check_grad(lf.MSELoss(), [1.0])
    with pytest.raises(TypeError, match="expected a loss, or one task of several"):
        lf.check_grad(lf.MultiTaskLoss(a=(lf.MSELoss(), 1.0)), [1.0], [0.0])


# ---- diagnose -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_healthy_arrays_have_no_findings(case, dtype, rng):
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in healthy(case, rng)]
    for reduction in case.cls.reductions:
        report = lf.diagnose(case.bare(reduction), *arrays)
        assert report.findings == (), str(report)
        assert re.fullmatch(rf"{case.cls.__name__}.*: nothing found", str(report))


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_what_is_not_finite_is_found_in_every_loss(case, rng):
    for position, name in enumerate(case.names):
        for code, value in (("nan", np.nan), ("infinite", np.inf)):
            arrays = healthy(case, rng)
            if arrays[position].dtype.kind != "f":
                continue
            arrays[position].flat[[5, 9]] = value
            (finding,) = (f for f in lf.diagnose(case.bare("mean"), *arrays).findings if f.code == code)
            first = tuple(map(int, np.unravel_index(5, arrays[position].shape)))
            assert finding.evidence == {"argument": name, "count": 2, "index": first}
            assert f"2 of {arrays[position].size} elements of {name} are" in finding.message
            assert f"first {name}[{', '.join(map(str, first))}] = " in finding.message


CE, NLL, BCE, BCEL, MSE = lf.CrossEntropyLoss(), lf.NLLLoss(), lf.BCELoss(), lf.BCEWithLogitsLoss(), lf.MSELoss()
RNG = np.random.default_rng(7)
LOGITS = 2 * RNG.standard_normal((60, 4))
LABELS = np.arange(60) % 4
RARE = np.where(np.arange(60) < 57, 0, np.arange(60) - 56)
X, T = RNG.standard_normal((2, 40))
SHARES = (X > 0).astype(float)
PAIR = np.where(X > 0, 1.0, -1.0)


class Steep(lf.CustomLoss):
    """Finite, with a gradient that is not."""

    def value(self, input, target):
        return np.sqrt(np.abs(input - target))

    def derivative(self, input, target):
        return 0.5 * np.sign(input - target) / np.sqrt(np.abs(input - target))


#: What is wrong, the codes of all that is found, and what the message of the first says.
MISTAKES = {
    "text": (MSE, (["a", "b"], [1, 2]), ["unreadable"], "input has dtype"),
    "complex": (MSE, (X * 1j, T), ["unreadable"], "complex128"),
    "masked": (MSE, (np.ma.masked_array(X), T), ["unreadable"], "masked array"),
    "nan": (
        MSE,
        ([1, np.nan, np.nan], [1, 2, 3]),
        ["nan"],
        r"2 of 3 elements of input are NaN, first input\[1\] = nan",
    ),
    "infinity": (
        CE,
        ([[1, 2, np.inf]], [0]),
        ["infinite"],
        r"1 of 3 elements of input are infinite, first input\[0, 2\]",
    ),
    "nothing": (MSE, ([], []), ["empty", "empty"], r"input has shape \(0,\)"),
    "lengths": (MSE, (X, T[:3]), ["shape-mismatch"], r"target has shape \(3,\); expected \(40,\), that of input$"),
    "outer": (
        MSE,
        (X, T[:, np.newaxis]),
        ["shape-mismatch"],
        r"target has shape \(40, 1\).*use target.squeeze\(1\); broadcasting would make it \(40, 40\)$",
    ),
    "stretched": (MSE, (LOGITS, LOGITS[:1]), ["broadcast"], r"target is repeated to fill \(60, 4\)"),
    "prediction": (MSE, (LOGITS[:, :1], LOGITS), ["broadcast"], r"input is repeated to fill \(60, 4\)"),
    "strict": (BCEL, (X, SHARES[:1]), ["shape-mismatch"], r"target has shape \(1,\)"),
    "columns": (CE, (LOGITS, LABELS[:, np.newaxis]), ["column-labels"], r"shape \(60, 1\); .* use target.squeeze\(1\)"),
    "column": (NLL, (lf.log_softmax(LOGITS), LABELS[:, np.newaxis]), ["column-labels"], r"target.squeeze\(1\)"),
    "transposed": (CE, (LOGITS, LABELS[:7]), ["shape-mismatch"], r"shape \(7,\); expected \(60,\)"),
    "one-hot": (CE, (LOGITS, np.eye(4)[LABELS]), ["one-hot-labels"], r"use target.argmax\(1\)"),
    "one-hot-int": (CE, (LOGITS, np.eye(4, dtype=int)[LABELS]), ["one-hot-labels"], r"shape \(60, 4\) and is one-hot"),
    "one-hot-nll": (NLL, (lf.log_softmax(LOGITS), np.eye(4)[LABELS]), ["one-hot-labels"], "class indices"),
    "floats": (CE, (LOGITS, LABELS * 1.0), ["float-labels"], r"dtype float64: use target.astype\(np.int64\)"),
    "halves": (CE, (LOGITS, LABELS + 0.5), ["float-labels"], "dtype float64"),
    "beyond": (
        CE,
        (LOGITS, LABELS + 2),
        ["label-out-of-range"],
        r"30 of 60 .* outside \[0, 4\), first target\[2\] = 4.*2 and 5",
    ),
    "padding": (
        CE,
        (LOGITS, np.where(LABELS == 3, -1, LABELS)),
        ["label-out-of-range"],
        "ignore_index=-1 leaves these",
    ),
    "from-one": (CE, (LOGITS, LABELS + 1), ["one-based-labels"], "use target - 1"),
    "ignored": (
        CE,
        (LOGITS, np.where(LABELS < 9, -100, 0)),
        ["ignored-labels"],
        "100% of target .* -100: the mean is NaN",
    ),
    "nearly": (CE, (LOGITS, np.where(np.arange(60) < 55, -100, LABELS)), ["ignored-labels"], "92% of target .* -100$"),
    "rare": (CE, (LOGITS, RARE), ["class-imbalance"], "from 1 to 57 elements"),
    "absent": (
        CE,
        (LOGITS, LABELS % 3),
        ["missing-classes", "class-imbalance"],
        "1 of 4 classes are not in target, first 3",
    ),
    "negatives": (BCEL, (X, (np.arange(40) == 3) * 1.0), ["class-imbalance"], "from 1 to 39 elements"),
    "softmax": (CE, (lf.softmax(LOGITS), LABELS), ["probabilities-as-logits"], "outputs of a softmax"),
    "softmax-f16": (CE, (lf.softmax(LOGITS).astype(np.float16), LABELS), ["probabilities-as-logits"], "softmax"),
    "softmax-row": (CE, (lf.softmax([[1.0, 2, 3]]), [0]), ["probabilities-as-logits"], "softmax"),
    "softmax-axis": (
        CE,
        (lf.softmax(LOGITS.reshape(5, 4, 12), axis=1), LABELS.reshape(5, 12)),
        ["probabilities-as-logits"],
        "softmax",
    ),
    "sigmoid": (BCEL, (lf.sigmoid(X), SHARES), ["probabilities-as-logits"], "outputs of a sigmoid"),
    "sigmoid-margin": (lf.SoftMarginLoss(), (lf.sigmoid(X), PAIR), ["probabilities-as-logits"], "sigmoid"),
    "logits": (BCE, (X, SHARES), ["logits-as-probabilities"], r"outside of \[0, 1\], first .* lossfast.sigmoid"),
    "logits-nll": (NLL, (LOGITS, LABELS), ["logits-as-log-probabilities"], "are above 0"),
    "scores-nll": (NLL, (-np.abs(LOGITS), LABELS), ["logits-as-log-probabilities"], "of row .* do not add up to 1"),
    "softmax-nll": (NLL, (lf.softmax(LOGITS), LABELS), ["probabilities-as-log-probabilities"], "lossfast.log_softmax"),
    "targets": (BCEL, (X, 2 * SHARES), ["out-of-domain"], r"target are outside of \[0, 1\]"),
    "targets-bce": (BCE, (lf.sigmoid(X), -SHARES), ["out-of-domain"], "outside"),
    "probabilities": (CE, (LOGITS, LOGITS), ["out-of-domain"], "are no probabilities"),
    "zero-one": (lf.SoftMarginLoss(), (X, SHARES), ["zero-one-signs"], r"use 2 \* target - 1"),
    "zero-one-int": (lf.HingeEmbeddingLoss(), (X, SHARES.astype(int)), ["zero-one-signs"], "wants -1 and 1"),
    "signs": (lf.MarginRankingLoss(), (X, T, 2 * PAIR), ["not-signs"], "40 of 40 elements of target are neither"),
    "saturated": (CE, (40 * LOGITS, LABELS), ["saturated-logits"], "% of the rows of input"),
    "saturated-binary": (BCEL, (100 * X, SHARES), ["saturated-logits"], "% of the elements of input"),
    "overflow": (
        MSE,
        (np.float32([1e30]), [0]),
        ["nonfinite-loss", "exploding-gradient"],
        "mean loss of finite arrays is inf",
    ),
    "steep": (Steep(), ([1.0, 2.0], [1.0, 1.0]), ["nonfinite-gradient"], r"first grad\[0\] = nan"),
    "exploding": (MSE, (1e5 * X, T), ["exploding-gradient"], r"has norm .* lossfast.clip_grad_norm\(grads, 1.0\)"),
    "flat": (lf.HingeEmbeddingLoss(margin=-1.0), (X * 0 + 5, -(PAIR**2)), [], ""),
    "level": (lf.MarginRankingLoss(margin=2.0), (X, X, 0 * PAIR), ["zero-one-signs", "zero-gradient"], "0 and 1"),
    "weight": (lf.MSELoss(weight=[1.0, 2.0]), (X, T), ["refused"], r"weight has shape \(2,\)"),
    "body": (lf.CustomLoss(), (X, T), ["refused"], "defines no value"),
    "sum": (CE + 0.1 * NLL, (lf.softmax(LOGITS), LABELS), None, "outputs of a softmax"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found(name):
    loss, arrays, codes, message = MISTAKES[name]
    report = lf.diagnose(loss, *arrays)
    if codes is None:
        codes = ["probabilities-as-logits", "probabilities-as-log-probabilities"]
    assert list(report.codes) == codes, str(report)
    for finding in report.findings:
        assert f"  {finding.code}: {finding.message}" in str(report).splitlines()
    if codes:
        assert re.search(message, report.findings[0].message), str(report)


def test_codes_are_documented_and_every_one_is_found_here():
    table = inspect.getdoc(lf.diagnose).partition("code  ")[2]
    documented = re.findall(r"^([a-z]+(?:-[a-z]+)*) +\S", table.partition("Examples")[0], re.MULTILINE)
    found = {code for loss, arrays, _, _ in MISTAKES.values() for code in lf.diagnose(loss, *arrays).codes}
    assert sorted(documented) == sorted(found)
    assert found >= _diagnosis._REFUSED


def test_labels_of_layers(rng):
    for position, (loss, given) in zip((2, 1), layers(rng), strict=True):
        arrays, labels = list(given), given[position]
        assert lf.diagnose(loss, *arrays).findings == ()
        arrays[0] = np.full_like(arrays[0], np.nan)
        assert lf.diagnose(loss, *arrays).codes == ("nan",)
        arrays[0] = np.zeros_like(arrays[0])
        classes = int(labels.max()) + 1
        for wrong, code in (
            (labels + 1, "one-based-labels"),
            (labels[:, np.newaxis], "column-labels"),
            (labels * 1.0, "float-labels"),
            (np.eye(classes)[labels], "one-hot-labels"),
            (labels - 5, "label-out-of-range"),
        ):
            arrays[position] = wrong
            assert lf.diagnose(loss, *arrays).codes == (code,), str(lf.diagnose(loss, *arrays))
    loss, arrays = layers(rng)[1]
    arrays[3][1][0][1, 2] = np.inf
    (finding,) = (f for f in lf.diagnose(loss, *arrays).findings if f.code == "infinite")
    assert finding.evidence == {"argument": "tail_weights[1][0]", "count": 1, "index": (1, 2)}


def test_evidence_is_in_numbers():
    (finding,) = lf.diagnose(CE, LOGITS, RARE).findings
    assert finding.evidence == {"argument": "target", "most": 57, "least": 1, "ratio": 57.0}
    (finding,) = lf.diagnose(MSE, 1e5 * X, T).findings
    assert finding.evidence["norm"] == pytest.approx(np.linalg.norm(MSE.grad(1e5 * X, T)))
    # the mean loss is what is looked at, whatever the reduction
    assert lf.diagnose(lf.MSELoss(reduction="sum"), 1e5 * X, T).findings == (finding,)
    (finding,) = lf.diagnose(CE, LOGITS, LABELS + 1).findings
    assert finding.evidence == {"argument": "target", "min": 1, "max": 4}
    assert str(finding) == f"one-based-labels: {finding.message}"


def test_what_chance_explains_is_no_finding(rng):
    for _ in range(200):
        assert lf.diagnose(CE, LOGITS[:12], rng.integers(0, 4, 12)).findings == ()
        assert lf.diagnose(BCEL, X, (rng.random(40) < 0.5) * 1.0).findings == ()
    assert lf.diagnose(CE, np.zeros((60, 4)), LABELS).findings == ()  # before training
    assert lf.diagnose(BCEL, np.zeros(40), SHARES).findings == ()
    assert lf.diagnose(lf.CrossEntropyLoss(ignore_index=1), LOGITS, LABELS).findings == ()
    assert lf.diagnose(NLL, lf.log_softmax([[0.0, -np.inf], [1.0, 1.0]]), [0, 1]).findings == ()


def test_diagnoses_that_are_refused():
    with pytest.raises(TypeError, match="takes the arrays input, target, but 1 were given"):
        lf.diagnose(CE, LOGITS)
    with pytest.raises(TypeError, match="takes the arrays input, target, but 3 were given"):
        lf.diagnose(CE, LOGITS, LABELS, LABELS)
    with pytest.raises(TypeError, match="expected a loss, or one task of several"):
        lf.diagnose("loss", LOGITS, LABELS)


def test_arrays_are_left_alone():
    logits, labels = 1e6 * LOGITS, LABELS + 1
    before = logits.copy(), labels.copy()
    lf.diagnose(CE, logits, labels)
    lf.check_grad(CE, LOGITS, LABELS)
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(labels, before[1])


# ---- clipping -------------------------------------------------------------------------------------------------------


def gradients(dtype=np.float64):
    rng = np.random.default_rng(3)
    return [np.asarray(3 * rng.standard_normal(shape)).astype(dtype) for shape in ((40, 30), (7,), ())]


def test_norms_are_clipped_together_and_in_place():
    grads, before = gradients(), gradients()
    norm = np.sqrt(sum(np.sum(g**2) for g in before))
    assert lf.clip_grad_norm(grads, 1.0) == pytest.approx(norm, rel=1e-14)
    for g, b in zip(grads, before, strict=True):
        np.testing.assert_allclose(g, b / (norm + 1e-6), rtol=1e-14)
    assert lf.clip_grad_norm(grads, 1.0) == pytest.approx(1, abs=1e-6)
    kept = [g.copy() for g in grads]
    lf.clip_grad_norm(grads, 2.0)
    lf.clip_grad_norm(grads, np.inf)
    for g, b in zip(grads, kept, strict=True):
        np.testing.assert_array_equal(g, b)
    assert lf.clip_grad_norm(grads, 0) == pytest.approx(1, abs=1e-6)
    assert not any(g.any() for g in grads)


def test_nested_gradients():
    a, b, c = gradients()
    nested = {"box": a, "tails": [(b, None), [c]], "none": None, "empty": np.empty((0, 3))}
    norm = lf.clip_grad_norm(nested, 1.0)
    assert norm == pytest.approx(lf.clip_grad_norm(gradients(), np.inf), rel=1e-14)
    np.testing.assert_allclose(b, gradients()[1] / (norm + 1e-6))
    alone = gradients()[0]
    assert lf.clip_grad_norm(alone, 1.0) == pytest.approx(np.linalg.norm(gradients()[0]), rel=1e-14)
    assert lf.clip_grad_norm([], 1.0) == lf.clip_grad_norm(None, 1.0) == 0.0
    value, grad = lf.MultiTaskLoss(a=(MSE, 1.0)).value_and_grad(a=(X, T))[::2]
    assert type(value) is type(lf.clip_grad_norm(grad, 0.1)) is float
    assert np.linalg.norm(grad["a"]) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("power", [1, 2, 3, 0.5, np.inf])
def test_other_norms(power):
    grads, whole = gradients(), np.concatenate([g.ravel() for g in gradients()])
    expected = np.abs(whole).max() if power == np.inf else np.sum(np.abs(whole) ** power) ** (1 / power)
    assert lf.clip_grad_norm(grads, 1.0, norm_type=power) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(grads[0], gradients()[0] / (expected + 1e-6))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, ">f8", np.longdouble])
def test_dtypes_and_layouts_of_gradients(dtype):
    for view in (lambda g: g, lambda g: g.T, lambda g: g[::-2, ::3]):
        whole = gradients()[0].astype(dtype)
        before = view(whole).astype(np.float64)
        norm = lf.clip_grad_norm(view(whole), 0.5)
        assert norm == pytest.approx(np.linalg.norm(before), rel=1e-12)
        rtol = 2.0**-7 if dtype == ml_dtypes.bfloat16 else 2 * float(np.finfo(np.dtype(dtype)).eps)
        np.testing.assert_allclose(
            view(whole).astype(np.float64), before * (0.5 / (norm + 1e-6)), rtol=max(rtol, 1e-15), atol=1e-7
        )
        lf.clip_grad_value(view(whole), 0.001)
        assert np.abs(view(whole)).max() <= 0.001


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e30), (np.float64, 1e200), (np.float64, 1e-200), (np.float32, 1e-40)]
)
def test_norms_neither_overflow_nor_underflow(dtype, size):
    grads = [np.full(9, size, dtype), np.full(16, -size, dtype)]
    size = float(grads[0][0])
    assert lf.clip_grad_norm(grads, 1.0) == pytest.approx(5 * size, rel=1e-14)
    if size > 1:
        np.testing.assert_allclose(grads[0], 0.2, rtol=1e-6)


def test_a_norm_beyond_float32_scales_exactly():
    grads = [np.full(10**4, 3e38, np.float32)]
    assert lf.clip_grad_norm(grads, 1.0) == pytest.approx(3e40, rel=1e-7)
    np.testing.assert_allclose(grads[0], 0.01, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_norms_that_are_not_finite_change_nothing(bad):
    for power in (2, 1, np.inf):
        grads = [*gradients(), np.array([1.0, bad])]
        norm = lf.clip_grad_norm(grads, 1.0, norm_type=power)
        assert np.isnan(norm) if np.isnan(bad) else norm == np.inf
        for g, b in zip(grads, [*gradients(), np.array([1.0, bad])], strict=True):
            np.testing.assert_array_equal(g, b)
        with pytest.raises(ValueError, match=r"the norm of the gradients is (nan|inf)"):
            lf.clip_grad_norm(grads, 1.0, norm_type=power, error_if_nonfinite=True)


def test_values_are_clipped_in_place():
    grads = [np.array([-3.0, 0.5, np.nan, np.inf]), {"b": np.array([[2.0, -np.inf]], np.float32)}]
    assert lf.clip_grad_value(grads, 1.5) is None
    np.testing.assert_array_equal(grads[0], [-1.5, 0.5, np.nan, 1.5])
    np.testing.assert_array_equal(grads[1]["b"], [[1.5, -1.5]])
    half = np.array([np.inf, -np.inf, 3], np.float16)
    lf.clip_grad_value(half, 1e6)
    assert half.tolist() == [65504, -65504, 3]
    single = np.array([1.0, -1.0], np.float32)
    lf.clip_grad_value(single, 0.1)
    assert float(single[0]) <= 0.1
    assert float(single[1]) >= -0.1
    lf.clip_grad_value(single, 0)
    assert single.tolist() == [0, 0]
    unbounded = np.array([np.inf, 1e300])
    lf.clip_grad_value(unbounded, np.inf)
    assert unbounded.tolist() == [np.inf, 1e300]


@pytest.mark.parametrize("clip", [lf.clip_grad_norm, lf.clip_grad_value])
def test_gradients_that_are_refused_before_anything_is_written(clip):
    good = np.full(6, 9.0)
    locked = np.ones(3)
    locked.flags.writeable = False
    for bad, error, message in (
        (locked, ValueError, r"grads\[1\] is read-only"),
        (
            np.lib.stride_tricks.as_strided(np.ones(3), (3, 2), (8, 0)),
            ValueError,
            r"grads\[1\] is a view whose elements share memory",
        ),
        (good, ValueError, r"grads\[0\] and grads\[1\] share memory"),
        (good[2:4], ValueError, "share memory"),
        (np.ones(3, int), TypeError, r"grads\[1\] has dtype int64; expected floating-point numbers"),
        (np.ones(3, complex), TypeError, "dtype complex128"),
        (np.ones(3, object), TypeError, "dtype object"),
        (1.0, TypeError, r"grads\[1\] is of type float; expected a NumPy array, changed in place"),
        ({"w": [1.0]}, TypeError, r"grads\[1\]\['w'\]\[0\] is of type float"),
    ):
        with pytest.raises(error, match=message):
            clip([good, bad], 1.0)
        assert np.all(good == 9)
    interleaved = np.full(6, 9.0)
    clip([interleaved[::2], interleaved[1::2]], 1.0)
    assert np.all(interleaved <= 1)


@pytest.mark.parametrize("bad", [-1, np.nan, "1", None, True, 1j])
def test_bounds_that_are_refused(bad):
    for call, name in (
        (lambda: lf.clip_grad_norm([X], bad), "max_norm"),
        (lambda: lf.clip_grad_norm([X], 1.0, norm_type=bad), "norm_type"),
        (lambda: lf.clip_grad_value([X], bad), "limit"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"{name} = "):
            call()
    with pytest.raises(ValueError, match="norm_type = 0 is outside"):
        lf.clip_grad_norm([X], 1.0, norm_type=0)
