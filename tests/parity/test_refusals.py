"""What PyTorch refuses, lossfast refuses too, with ValueError, TypeError or IndexError."""

import numpy as np
import pytest
import torch
import torch.nn.functional as tF

import lossfast as lf

from . import oracle

nan = np.nan
REGRESSION = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]
WEIGHTED = ["mse_loss", "l1_loss", "huber_loss"]
BINARY = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]
OVER_CLASSES = ["nll_loss", "cross_entropy"]
o, z = np.ones, np.zeros


def labels(*shape, fill=0):
    """Class indices."""
    return np.full(shape, fill, np.int64)


CASES = [
    # shapes that do not broadcast
    *((f, (o(2), o(3)), {}) for f in REGRESSION + BINARY),
    *((f, (o((2, 3)), o((3, 2))), {}) for f in REGRESSION + BINARY),
    *((f, (o((2, 3)), o((2, 3, 1, 4))), {}) for f in REGRESSION + BINARY),
    # binary losses do not broadcast at all
    *((f, (o((2, 3)), o(3)), {}) for f in BINARY),
    *((f, (o((2, 1)), o((2, 3))), {}) for f in BINARY),
    *((f, (o(2), o((1, 2))), {}) for f in BINARY),
    *((f, (o(()), o(1)), {}) for f in BINARY),
    # reductions
    *((f, (o(2), o(2)), {"reduction": r}) for f in REGRESSION + BINARY for r in ("avg", "Mean", "batchmean", "")),
    *((f, (z((2, 3)), labels(2)), {"reduction": r}) for f in OVER_CLASSES for r in ("avg", "batchmean")),
    # the weight has the size of the input
    *(
        (f, (o((2, 3)), z((2, 3))), {"weight": w})
        for f in WEIGHTED
        for w in (o(3), o((1, 3)), o((2, 1)), o(()), o(6), o((3, 2)), o((1, 2, 3)), o(1))
    ),
    *((f, (o(3), z((2, 3))), {"weight": o((2, 3))}) for f in WEIGHTED),
    *((f, (o((2, 3)), z(3)), {"weight": o(3)}) for f in WEIGHTED),
    *(("smooth_l1_loss", (o(2), z(2)), {"beta": b}) for b in (-1.0, -1e-300, -np.inf, nan)),
    *(("huber_loss", (o(2), z(2)), {"delta": d}) for d in (0.0, -0.0, -1.0, -np.inf, nan)),
    ("smooth_l1_loss", (o(2), z(2)), {"beta": "1"}),
    ("huber_loss", (o(2), z(2)), {"delta": "1"}),
    # domains
    *(("binary_cross_entropy", (np.array([0.5, x]), z(2)), {}) for x in (-1e-9, 1.0000001, -np.inf, np.inf, 2.0)),
    *(("binary_cross_entropy", (o(2), np.array([0.5, t])), {}) for t in (-1e-9, 1.0000001, -np.inf, np.inf, 2.0)),
    # weights broadcast to the input and not further
    *(
        (f, (o((2, 3)), z((2, 3))), {"weight": w})
        for f in BINARY
        for w in (o(2), o((3, 1)), o((4, 2, 3)), o((1, 2, 4)))
    ),
    *((f, (o(2), z(2)), {"weight": o((3, 2))}) for f in BINARY),
    *((f, (o((2, 1)), z((2, 1))), {"weight": o(3)}) for f in BINARY),
    *(
        ("binary_cross_entropy_with_logits", (o((2, 3)), z((2, 3))), {"pos_weight": w})
        for w in (o(2), o((3, 1)), o((4, 2, 3)), o(4))
    ),
    ("binary_cross_entropy_with_logits", (o((2, 1)), z((2, 1))), {"pos_weight": o(3)}),
    # labels
    *((f, (z((2, 3)), labels(2, fill=y)), {}) for f in OVER_CLASSES for y in (3, -1, 1000, -101, 2**40, -(2**62))),
    *((f, (z((2, 3)), labels(2, fill=-100)), {"ignore_index": 1}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4)), labels(2, 4, fill=3)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4, 5)), labels(2, 4, 5, fill=-2)), {}) for f in OVER_CLASSES),
    *((f, (z(3), labels(fill=3)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 0)), labels(2)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3)), labels(2).astype(d)), {}) for f in OVER_CLASSES for d in (np.float64, np.float32, np.bool_)),
    # shapes over classes
    *((f, (z((2, 3)), labels(n)), {}) for f in OVER_CLASSES for n in (3, 1, 0)),
    *((f, (z(3), labels(k)), {}) for f in OVER_CLASSES for k in (2, 0)),
    *((f, (z((2, 3)), labels(2, 2)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3)), labels(2, 1)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3)), labels(1, 2)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3)), labels()), {}) for f in OVER_CLASSES),
    *((f, (z(()), labels()), {}) for f in OVER_CLASSES),
    ("cross_entropy", (z(()), z(())), {}),
    *((f, (z((2, 3, 4)), labels(2, 5)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4)), labels(2)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4)), labels(2, 4, 1)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4, 5)), labels(2, 5, 4)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4, 5)), labels(2, 20)), {}) for f in OVER_CLASSES),
    *((f, (z((2, 3, 4, 5, 6)), labels(2, 4, 5, 7)), {}) for f in OVER_CLASSES),
    *(
        (f, (z((2, 3)), labels(2)), {"weight": w})
        for f in OVER_CLASSES
        for w in (o(2), o(4), o((1, 3)), o((3, 1)), o(()), o(1), o(0))
    ),
    # probabilities
    ("cross_entropy", (z((2, 3)), labels(2, 3)), {}),
    ("cross_entropy", (z((2, 3)), z((2, 3), bool)), {}),
    ("cross_entropy", (z(3), labels(3)), {}),
    ("cross_entropy", (z((2, 3)), z((2, 4))), {}),
    ("cross_entropy", (z((2, 3)), z((3, 2))), {}),
    ("cross_entropy", (z((2, 3)), z((2, 3))), {"ignore_index": 1}),
    ("cross_entropy", (z((2, 3)), z((2, 3))), {"ignore_index": 0}),
    ("cross_entropy", (z((2, 3)), z((2, 3))), {"weight": o(2)}),
    ("nll_loss", (z((2, 3)), z((2, 3))), {}),
    *(("cross_entropy", (z((2, 3)), labels(2)), {"label_smoothing": s}) for s in (1.0001, 2, np.inf)),
    *(("cross_entropy", (z((2, 3)), z((2, 3))), {"label_smoothing": s}) for s in (1.0001, 2, np.inf)),
    # parameters of another type or name
    *((f, (z((2, 3)), labels(2)), {"ignore_index": i}) for f in OVER_CLASSES for i in (1.5, "1")),
    ("cross_entropy", (z((2, 3)), labels(2)), {"label_smoothing": "0.1"}),
    *((f, (o(2), z(2)), {"gamma": 1.0}) for f in REGRESSION + BINARY),
    ("smooth_l1_loss", (o(2), z(2)), {"weight": o(2)}),
    ("binary_cross_entropy", (o(2), z(2)), {"pos_weight": o(2)}),
    *((f, (o(2),), {}) for f in REGRESSION + BINARY + OVER_CLASSES),
    # complex numbers; PyTorch takes them in l1_loss alone
    *((f, (o(2, complex), z(2)), {}) for f in ("smooth_l1_loss", "huber_loss", *BINARY)),
    *((f, (z((2, 3), complex), labels(2)), {}) for f in OVER_CLASSES),
]


def named(case):
    """The call in short."""
    function, arrays, keywords = case
    shapes = ", ".join(f"{a.dtype.char}{list(a.shape)}" for a in arrays)
    short = {k: list(v.shape) if isinstance(v, np.ndarray) else v for k, v in keywords.items()}
    return f"{function}({shapes}; {short})"


@pytest.mark.parametrize("case", CASES, ids=named)
def test_both_refuse(case):
    """By the function, by the gradient too, and here with the errors of api.md."""
    function, arrays, keywords = case
    tensors = [torch.from_numpy(np.array(a)) for a in arrays]
    options = {k: torch.from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for k, v in keywords.items()}
    with pytest.raises((RuntimeError, ValueError, IndexError, TypeError)):  # includes NotImplementedError
        oracle.quietly(getattr(tF, function), *tensors, **options)
    ours = getattr(lf.functional, function)
    for method in (ours, ours.value_and_grad, ours.grad, ours.value_grad_hess):
        with pytest.raises((ValueError, TypeError, IndexError)):
            method(*arrays, **keywords)


@pytest.mark.parametrize("function", OVER_CLASSES)
def test_labels_out_of_range_are_index_errors(function):
    """In both, and ours says where."""
    x, y = np.zeros((3, 4)), np.array([0, 9, 1])
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        getattr(tF, function)(torch.from_numpy(x), torch.from_numpy(y))
    with pytest.raises(IndexError, match=r"target\[1\] = 9 is outside \[0, 4\)"):
        getattr(lf.functional, function)(x, y)


def test_not_differentiable():
    """Where PyTorch has no derivative, `wrt` is refused."""
    p, logits, y = np.full((2, 3), 0.5), np.zeros((2, 3)), np.array([0, 1])
    for loss, x, t, name in [
        (lf.BCELoss(weight=np.ones(3)), p, p, "weight"),
        (lf.BCEWithLogitsLoss(weight=np.ones(3)), logits, p, "weight"),
        (lf.BCEWithLogitsLoss(pos_weight=np.ones(3)), logits, p, "pos_weight"),
        (lf.NLLLoss(weight=np.ones(3)), logits, y, "weight"),
        (lf.CrossEntropyLoss(weight=np.ones(3)), logits, y, "weight"),
        (lf.NLLLoss(), logits, y, "target"),
        (lf.CrossEntropyLoss(), logits, y, "target"),
        (lf.MSELoss(), logits, p, "weight"),
    ]:
        keywords = {name: torch.ones(3, dtype=torch.float64, requires_grad=True)} if "weight" in name else {}
        if keywords and not isinstance(loss, lf.MSELoss):
            with pytest.raises(RuntimeError, match=r"not differentiable|does not require grad|derivative"):
                getattr(tF, loss.function)(torch.from_numpy(x), torch.from_numpy(t), **keywords).backward()
        with pytest.raises(ValueError, match="wrt"):
            loss.grad(x, t, wrt=name)
