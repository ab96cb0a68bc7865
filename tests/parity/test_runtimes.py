"""PyTorch's OpenMP runtime and that of lossfast in one process."""

import threading

import numpy as np
import threadpoolctl
import torch

import lossfast as lf
from lossfast._drivers import runtime


def test_two_runtimes_in_one_process(rng):
    """Both compute in parallel, by turns and at once, and each obeys its own settings and threadpoolctl's."""
    x, t = rng.standard_normal((4000, 64)), rng.integers(0, 64, 4000)
    inputs, labels = torch.tensor(x), torch.tensor(t)
    loss = lf.CrossEntropyLoss()
    before = torch.get_num_threads()
    runtime.set_thresholds(0, 0)

    def theirs():
        return torch.nn.functional.cross_entropy(inputs, labels).item()

    def ours():
        return loss.value_and_grad(x, t)

    try:
        torch.set_num_threads(3)
        lf.set_num_threads(2)
        assert len({library["filepath"] for library in threadpoolctl.threadpool_info()}) > 1
        expected, (value, grad) = theirs(), ours()
        assert abs(value - expected) < 1e-12
        wrong = []

        def alternate(first, second):
            for _ in range(20):
                for which in (first, second):
                    result = which()
                    same = abs(result - expected) < 1e-12 if which is theirs else np.array_equal(result[1], grad)
                    if not same:
                        wrong.append(which.__name__)

        alternate(theirs, ours)
        threads = [threading.Thread(target=alternate, args=pair) for pair in ((theirs, ours), (ours, theirs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert not any(thread.is_alive() for thread in threads)
        assert not wrong
        assert (torch.get_num_threads(), lf.get_num_threads()) == (3, 2)
        with threadpoolctl.threadpool_limits(1, "openmp"):
            assert lf.get_num_threads() == 1
            alternate(theirs, ours)
        assert not wrong
    finally:
        torch.set_num_threads(before)
        lf.set_num_threads(None)
        runtime.set_thresholds(50e3, 500e3)
