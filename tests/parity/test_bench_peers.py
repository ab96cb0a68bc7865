"""What `bench` times of PyTorch is the same loss: value and gradient, for every loss that it has."""

import pytest
import torch

from lossfast._bench.peers import TORCH, Torch
from lossfast._bench.worker import difference
from lossfast._bench.workloads import Workload, usual_shape
from lossfast._loss import REGISTRY


@pytest.mark.filterwarnings("ignore:reduction. .mean. divides:UserWarning")
@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("size", [16, 20_000])
def test_the_peer_of_the_benchmarks_has_the_same_numbers(name, size, monkeypatch):
    monkeypatch.setattr(Torch, "start", Torch.load)  # the threads of this process are others' too
    work = Workload(name, usual_shape(name, size), "float64")
    arrays, peer = work.arrays(), Torch(1)
    calls = peer.prepare(work, arrays)
    assert set(calls) == {"value", "value_and_grad"}
    assert max(difference(peer, work, arrays).values()) < 1e-6, name


def test_what_pytorch_has_is_not_written_again():
    assert [name for name in TORCH if hasattr(torch.nn.functional, REGISTRY[name].function)] == []
