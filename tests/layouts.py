"""The same numbers in memory of every kind."""

import numpy as np


def strided(a):
    """Every second element of a larger array."""
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def every_third_row(a):
    return np.repeat(a, 3, axis=0)[1::3] if a.ndim else a


def f_order(a):
    return np.asfortranarray(a) if a.ndim else a


def permuted(a):
    """The axes rotated in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0) if a.ndim > 1 else a


def class_last(a):
    """Axis 1 innermost, as in images that keep their channels last."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 1 else a


def reversed_memory(a):
    return np.flip(np.flip(a).copy())


def one_axis_reversed(a):
    return a[..., ::-1].copy()[..., ::-1] if a.ndim else a


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


def misaligned(a):
    return np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


def in_a_record(a):
    """A field of packed records: swapped, misaligned and strided at once."""
    record = np.zeros(a.shape, [("flag", "i1"), ("value", a.dtype.newbyteorder())])
    record["value"] = a
    return record["value"]


LAYOUTS = (
    strided,
    every_third_row,
    f_order,
    permuted,
    class_last,
    reversed_memory,
    one_axis_reversed,
    read_only,
    byte_swapped,
    misaligned,
    in_a_record,
)
