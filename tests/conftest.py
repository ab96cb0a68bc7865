"""What the tests share: instruction sets, threads, random numbers."""

import numpy as np
import pytest

import lossfast as lf
from lossfast._drivers import runtime

ISAS = runtime.available_isas()
THREADS = (1, 2, 5)
#: Nanoseconds of serial work from which the library goes parallel, after use of the team and after a rest.
THRESHOLDS = (40e3, 100e3)


@pytest.fixture(params=ISAS)
def isa(request):
    """Every instruction set that this machine has."""
    before = runtime.active_isa()
    runtime.use_isa(request.param)
    yield request.param
    runtime.use_isa(before)


@pytest.fixture
def each_isa():
    """Call it to run over the instruction sets within one test."""
    before = runtime.active_isa()

    def over():
        for name in ISAS:
            runtime.use_isa(name)
            yield name

    yield over
    runtime.use_isa(before)


@pytest.fixture
def parallel():
    """Small arrays go parallel too."""
    runtime.set_thresholds(0, 0)
    yield
    runtime.set_thresholds(*THRESHOLDS)
    lf.set_num_threads(None)


@pytest.fixture(params=THREADS)
def threads(request, parallel):
    """One thread, two, and more than most machines of a test have processors."""
    lf.set_num_threads(request.param)
    return request.param


@pytest.fixture
def each_threads(parallel):
    """Run over the numbers of threads in one test."""

    def over():
        for number in THREADS:
            lf.set_num_threads(number)
            yield number

    return over


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)
