"""Memory of results: where it begins, that it is used again, and that it is given back."""

import itertools
import threading
import tracemalloc

import numpy as np
import pytest

import lossfast as lf

from .test_threads import python

MIB = 1 << 20


@pytest.fixture(autouse=True)
def limit():
    before = lf.get_kept_memory()[1]
    lf.set_kept_memory(0)  # what other tests left
    lf.set_kept_memory(64 * MIB)
    yield
    lf.set_kept_memory(0)
    lf.set_kept_memory(before)


def gradient(size, dtype=np.float32):
    x = np.linspace(-3, 3, size, dtype=dtype)
    return lf.MSELoss(reduction="sum").grad(x, np.zeros_like(x))


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("size", [20_000, 100_003, 3_000_000])
def test_a_result_begins_on_a_cache_line(size):
    for loss, arrays in (
        (lf.MSELoss(), (np.ones(size, np.float32), np.zeros(size))),
        (lf.CrossEntropyLoss(), (np.ones((size // 10, 10), np.float32), np.zeros(size // 10, int))),
        (lf.CosineEmbeddingLoss(), (np.ones((size // 10, 10)), np.ones((size // 10, 10)), np.ones(size // 10))),
    ):
        grads = loss.grad(*arrays)
        for grad in grads if isinstance(grads, tuple) else (grads,):
            assert address(grad) % 64 == 0
            assert grad.flags.owndata
            assert grad.flags.writeable


@pytest.mark.parametrize("size", [20_000, 3_000_000])
def test_freed_memory_is_used_again(size):
    first = gradient(size)
    where, expected = address(first), first.copy()
    del first
    kept, most = lf.get_kept_memory()
    assert 4 * size <= kept <= 4 * size + 8192
    assert most == 64 * MIB
    second = gradient(size)
    assert address(second) == where
    np.testing.assert_array_equal(second, expected)
    assert lf.get_kept_memory()[0] == 0


def test_living_results_are_different():
    grads = [gradient(100_000 + k % 3) for k in range(40)]
    places = sorted((address(g), g.nbytes) for g in grads)
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(places))
    for g in grads:
        np.testing.assert_array_equal(g, gradient(g.size))


def test_the_limit_holds():
    for _ in range(3):
        grads = [gradient(2_000_000 + 1024 * k) for k in range(20)]
        del grads
        assert 0 < lf.get_kept_memory()[0] <= 64 * MIB
    lf.set_kept_memory(10 * MIB)
    assert lf.get_kept_memory()[0] <= 10 * MIB
    huge = gradient(5_000_000)
    before = lf.get_kept_memory()[0]
    del huge  # more than the limit by itself
    assert lf.get_kept_memory()[0] == before
    lf.set_kept_memory(0)
    assert lf.get_kept_memory() == (0, 0)
    gradient(100_000)
    assert lf.get_kept_memory() == (0, 0)


def test_a_result_is_an_array_as_any():
    grad = gradient(100_000)
    expected = grad.copy()
    grad.resize(150_000, refcheck=False)
    np.testing.assert_array_equal(grad, np.concatenate([expected, np.zeros(50_000, np.float32)]))
    grad.resize(50_000, refcheck=False)
    np.testing.assert_array_equal(grad, expected[:50_000])
    grad.shape = (250, 200)
    view = grad.T[::2]
    del grad
    gradient(50_000)
    np.testing.assert_array_equal(view, expected[:50_000].reshape(250, 200).T[::2])


def test_what_numpy_allocates_is_its_own():
    gradient(100_000)
    kept = lf.get_kept_memory()[0]
    array = np.empty(100_000, np.float32)
    del array
    assert lf.get_kept_memory()[0] == kept


def test_tracemalloc_counts_results():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        grad = gradient(1_000_000)
        assert tracemalloc.get_traced_memory()[0] - before >= grad.nbytes
        del grad
        assert tracemalloc.get_traced_memory()[0] - before < MIB
    finally:
        tracemalloc.stop()


def test_many_threads_allocate_and_free():
    expected = {size: gradient(size) for size in (20_000, 100_000, 2_000_000)}
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        held = []
        for _ in range(60):
            size = int(rng.choice(list(expected)))
            held.append(gradient(size))
            if len(held) > 3:
                grad = held.pop(int(rng.integers(len(held))))
                if not np.array_equal(grad, expected[grad.size]):
                    wrong.append(grad.size)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert lf.get_kept_memory()[0] <= 64 * MIB


@pytest.mark.parametrize("bad", [-1, 1.5, True, "1", 2**63])
def test_bad_limits(bad):
    with pytest.raises(ValueError, match=r"most = .*expected a number of bytes"):
        lf.set_kept_memory(bad)
    assert lf.get_kept_memory()[1] == 64 * MIB


def test_environment(tmp_path):
    shown = python("import lossfast as lf; print(lf.get_kept_memory())", tmp_path, LOSSFAST_KEPT_MEMORY="12345")
    assert shown.stdout == "(0, 12345)\n"
    done = python("import lossfast", tmp_path, check=False, LOSSFAST_KEPT_MEMORY="1G")
    assert done.returncode
    assert "ImportError: LOSSFAST_KEPT_MEMORY = '1G'" in done.stderr


def test_resident_memory_is_bounded(tmp_path):
    """Ten sizes, one after the other, do not add up."""
    code = """
        import resource
        import numpy as np, lossfast as lf
        lf.set_kept_memory(32 << 20)
        x = np.zeros(8_000_000, np.float32)
        def grad(n):
            return lf.L1Loss().grad(x[:n], x[:n])
        grad(6_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for n in range(6_000_000, 8_000_000, 200_000):
            grad(n)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    assert int(python(code, tmp_path).stdout) < 64
