"""Call every loss of the lossfast that is installed, and compare with its definition: `smoke.py threads|serial`."""

import sys
import sysconfig

import numpy as np

import lossfast as lf
from lossfast._loss import REGISTRY
from lossfast._pairwise import PairwiseLoss
from lossfast._rowwise import RowwiseLoss
from lossfast._signatures import FramesLabelsLoss

ROWS, CLASSES = 4000, 4


def arguments(cls: type) -> list[np.ndarray]:
    """Arrays that a loss takes."""
    labels = np.arange(ROWS) % CLASSES
    named = {argument: np.full((ROWS, CLASSES), 0.25) for argument in cls.arrays if argument != "linear_bias"}
    named |= {"target": np.ones((ROWS, CLASSES)), "linear_weight": np.eye(CLASSES)}
    if getattr(cls, "takes_label_lists", False):
        named["target"] = np.stack([labels, *[np.full(ROWS, -1)] * 3], axis=1)
    elif issubclass(cls, RowwiseLoss) or "linear_weight" in cls.arrays:
        named["target"] = labels
    elif issubclass(cls, PairwiseLoss):
        named["target"] = np.ones(ROWS)
    elif issubclass(cls, FramesLabelsLoss):
        named |= {"log_probs": np.full((9, 400, 4), np.log(0.25)), "targets": 1 + np.arange(1600).reshape(400, 4) % 3}
        named |= {"input_lengths": np.full(400, 9), "target_lengths": labels[:400]}
    return [named[argument] for argument in cls.arrays if argument in named]


def main(expected: str) -> None:
    """Raise if the build has no threads where it should, or has them, or if a loss is wrong."""
    assert lf.openmp_enabled() == (expected == "threads"), lf.config()
    if sysconfig.get_config_var("Py_GIL_DISABLED"):  # the lock is back if a module does not do without
        assert not sys._is_gil_enabled()
    assert expected == "threads" or lf.get_num_threads() == 1
    for name, cls in REGISTRY.items():
        loss, arrays = cls(), arguments(cls)
        np.testing.assert_allclose(loss(*arrays), loss.reference(*arrays), rtol=1e-12, err_msg=name)
        value, _ = loss.value_and_grad(*arrays)
        assert value == loss(*arrays), name
    print(f"{len(REGISTRY)} losses compute ({expected}); {lf.config()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
