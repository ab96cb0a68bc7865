"""Threads, the instruction set, and what the build is: settings of the process."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version as _installed_version
from pathlib import Path

import numpy as np

from lossfast._drivers.runtime import (
    active_isa,
    available_isas,
    built_isas,
    kept_bytes,
    openmp_version,
    set_kept_bytes,
    set_thread_count,
    thread_count,
    use_isa,
)

__version__ = _installed_version("lossfast")


#: More than any machine has; each one takes scratch memory.
MOST_THREADS = 4096


def set_num_threads(n: int | None) -> None:
    """Use so many threads for large arrays from now on.

    Parameters
    ----------
    n : int or None
        From 1 to 4096; obeyed to the letter, also above the number of processors. None goes back to the default:
        OpenMP's setting or the processors that the process may run on, whichever is less.

    Raises
    ------
    ValueError
        If it is no such number.

    Notes
    -----
    Small work stays on the calling thread whatever is set here, and results have the same bits for any number. The
    environment variable ``LOSSFAST_NUM_THREADS`` does the same at import.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MOST_THREADS):
        raise ValueError(f"n = {n!r}: expected an integer from 1 to {MOST_THREADS}, or None for the default")
    set_thread_count(0 if n is None else int(n))


def get_num_threads() -> int:
    """Tell how many threads a large enough call uses now.

    Returns
    -------
    int
        By `set_num_threads`, ``LOSSFAST_NUM_THREADS``, OpenMP or threadpoolctl; 1 in a serial build.
    """
    threads: int = thread_count()
    return threads


def set_kept_memory(most: int) -> None:
    """Keep at most so many bytes of freed results for the next ones.

    Parameters
    ----------
    most : int
        Bytes, 0 or more; 0 keeps none.

    Raises
    ------
    ValueError
        If it is no such number.

    Notes
    -----
    A result of a great array costs more in page faults than its computation does, so its memory is used again. By
    default 256 MiB at most are kept; pages of the greater results the system may take back whenever it needs them.
    The environment variable ``LOSSFAST_KEPT_MEMORY`` does the same.
    """
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or not 0 <= most < 2**63:
        raise ValueError(f"most = {most!r}: expected a number of bytes, 0 or more")
    set_kept_bytes(int(most))


def get_kept_memory() -> tuple[int, int]:
    """Tell how much memory of freed results is kept.

    Returns
    -------
    now, most : int
        Bytes that are kept now, and that are at most.
    """
    now, most = kept_bytes()
    return now, most


def openmp_enabled() -> bool:
    """Tell whether this build has threads at all.

    Returns
    -------
    bool
        False for a build without OpenMP, whose results are the same.
    """
    return bool(openmp_version())


def config() -> dict[str, object]:
    """Tell version, instruction sets, threads and memory, as `show_config` prints them.

    Returns
    -------
    dict
        By what is told, in words.
    """
    specification = openmp_version()
    return {
        "version": __version__,
        "instruction set": active_isa(),
        "available": available_isas(),
        "built": built_isas(),
        "OpenMP": str(specification) if specification else "none (serial build)",
        "threads": get_num_threads(),
        "kept memory": f"{get_kept_memory()[1]} bytes at most",
        "machine": platform.machine(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
    }


def show_config() -> None:
    """Print version, instruction set in use and available, OpenMP, threads and memory."""
    for name, value in config().items():
        print(f"{name + ':':<17} {', '.join(value) if isinstance(value, list) else value}")


def get_include() -> str:
    """Folder of ``lossfast.h``, with which other extensions call the elementwise losses without the GIL.

    Cython finds the same declarations in ``lossfast.capi``.

    Returns
    -------
    str
        A path, for the compiler's ``-I``.
    """
    return str(Path(__file__).parent / "include")


def _apply_environment() -> None:
    """Obey the environment variables LOSSFAST_*; a value that cannot be obeyed stops the import."""
    isa = os.environ.get("LOSSFAST_ISA")
    available = available_isas()
    if isa and isa not in available:
        raise ImportError(
            f"LOSSFAST_ISA = {isa!r} is not available here: choose one of {', '.join(available)}, or unset it"
        )
    use_isa(isa or available[-1])
    threads = os.environ.get("LOSSFAST_NUM_THREADS")
    if threads:
        if not threads.isdecimal() or not 1 <= int(threads) <= MOST_THREADS:
            raise ImportError(
                f"LOSSFAST_NUM_THREADS = {threads!r}: expected an integer from 1 to {MOST_THREADS}, or unset it"
            )
        set_thread_count(int(threads))
    memory = os.environ.get("LOSSFAST_KEPT_MEMORY")
    if memory:
        if not memory.isdecimal() or int(memory) >= 2**63:
            raise ImportError(f"LOSSFAST_KEPT_MEMORY = {memory!r}: expected a number of bytes, 0 or more, or unset it")
        set_kept_bytes(int(memory))


_apply_environment()
