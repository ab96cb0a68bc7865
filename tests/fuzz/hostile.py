"""Arrays of every kind: the same numbers in memory of any layout, and what cannot be taken for numbers."""

import array
import mmap
import random
import tempfile

import ml_dtypes
import numpy as np

#: Numbers that formulas trip over.
SPECIAL = (
    *(np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0**-24, 1.0 - 2.0**-24, 1e4, -88.0, 710.0, 1e15, -1e30, 1e37),
    *(5e-324, -1e-310, 1e-45, -1e-40, np.finfo("f4").max, -np.finfo("f8").max, np.finfo("f8").tiny),
)
#: dtypes of real numbers, with those that predictions usually have more often.
REAL = (*("f4", "f8") * 4, "f2", ">f4", ">f8", ">f2", "i1", "i2", "i8", ">i4", "u1", "u8", "?", "g", "bfloat16")
INTEGER = ("i8", "i8", "i4", "i2", "i1", ">i8", ">i2", "u1", "u2", "u8", ">u4")
#: … of no real numbers, or of some that no kernel reads.
UNREADABLE = (
    *("c8", "c16", "O", "S3", "U2", "V5", "M8[s]", "m8[ns]", "float8_e5m2", "int4"),
    *([("a", "f4"), ("b", "f4")], ("f4", (2,))),
)
#: Labels and lengths that lie anywhere.
INTEGERS = (-1, -2, -100, 7, 1000, 2**31 - 1, 2**31, -(2**31), 2**32 + 1, 2**63 - 1, -(2**63), 2**62)


class Sabotage(Exception):
    """What an argument of ours raises; it may come through as it is."""


class Dice(random.Random):
    """Decisions of a case."""

    def chance(self, share):
        return self.random() < share

    def below(self, n):
        return int(self.random() * n)

    def pick(self, choices):
        return choices[int(self.random() * len(choices))]


def cast(values, kind):
    """Numbers in another dtype, those beyond it at its ends."""
    dtype = named_dtype(kind)
    if dtype == values.dtype:
        return values
    with np.errstate(all="ignore"):
        if dtype.kind in "iub" and values.dtype.kind in "fV":
            ends = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            # the greatest int64 is no float64
            values = np.clip(np.nan_to_num(np.rint(values)), ends[0], min(ends[1], 2**62))
        elif dtype.kind in "iu":
            values = np.clip(values, max(np.iinfo(dtype).min, -(2**63)), min(np.iinfo(dtype).max, 2**63 - 1))
        return values.astype(dtype)


def named_dtype(kind):
    return np.dtype(getattr(ml_dtypes, kind, kind)) if isinstance(kind, str) else np.dtype(kind)


def place(values, arena, dice, *, plain=0.3):
    """An array of these numbers in guarded memory, with strides of any kind; its elements are apart."""
    values = np.asarray(values)
    if values.dtype.hasobject:  # pointers cannot lie just anywhere
        return values.copy()
    order = list(range(values.ndim))
    steps = [1] * values.ndim
    shift = 0
    if not dice.chance(plain):
        if dice.chance(0.4):
            dice.shuffle(order)
        steps = [dice.pick((1, 1, 1, 2, 3, -1, -2)) for _ in order]
        shift = dice.pick((0, 0, 0, 1, 2, 3))
    strides, step = [0] * values.ndim, values.itemsize
    for axis in reversed(order):
        strides[axis] = step * steps[axis]
        step *= max(1, values.shape[axis]) * abs(steps[axis])
    return lay(values, strides, arena, dice, shift)


def lay(values, strides, arena, dice, shift=0):
    """An array with these strides in guarded memory, as far from its start as it takes and `shift` bytes more."""
    spans = [(n - 1) * stride for n, stride in zip(values.shape, strides, strict=True) if n] if values.size else []
    before = -sum(span for span in spans if span < 0)
    extent = before + sum(span for span in spans if span > 0) + values.itemsize * bool(values.size)
    memory = arena.take(extent + shift, dice)
    if not values.size:
        return np.ndarray(values.shape, values.dtype, memory) if memory.size else np.empty(values.shape, values.dtype)
    result = np.ndarray(values.shape, values.dtype, memory, shift * dice.below(2) + before, strides)
    result[...] = values
    return result


def overlapping(values, arena, dice):
    """An array whose elements share memory with each other: strides of 0, or less than an element."""
    values = np.asarray(values)
    strides = list(values.strides)
    for axis in range(values.ndim):
        if dice.chance(0.6):
            strides[axis] = dice.pick((0, 0, 1, 2, values.itemsize, -values.itemsize))
    return lay(values, strides, arena, dice)


class Subclass(np.ndarray):
    """An array that minds being looked at."""

    def __array_finalize__(self, parent):
        if parent is not None and type(parent) is Subclass:
            raise Sabotage("__array_finalize__")

    def __array_wrap__(self, *arguments, **keywords):
        raise Sabotage("__array_wrap__")

    def __array_ufunc__(self, *arguments, **keywords):
        raise Sabotage("__array_ufunc__")

    def __array_function__(self, *arguments, **keywords):
        raise Sabotage("__array_function__")


class Convertible:
    """An object that NumPy makes an array of, another one each time."""

    def __init__(self, *given):
        self.given = given
        self.asked = 0

    def __array__(self, dtype=None, copy=None):
        given = self.given[min(self.asked, len(self.given) - 1)]
        self.asked += 1
        if isinstance(given, Exception):
            raise given
        return given


class Exchangeable:
    """An object that has DLPack alone."""

    def __init__(self, given):
        self.given = given

    def __dlpack__(self, **keywords):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return (1, 0)


class Described:
    """An object that has the array interface alone."""

    def __init__(self, interface):
        self.__array_interface__ = interface


class File:
    """A file that arrays are mapped to."""

    def __init__(self):
        with tempfile.TemporaryFile() as file:
            file.truncate(1 << 16)
            self._map = mmap.mmap(file.fileno(), 0)

    def mapped(self, values):
        if values.nbytes > len(self._map) or values.dtype.hasobject:
            return values
        result = np.ndarray.__new__(np.memmap, values.shape, values.dtype, self._map)
        result[...] = values
        return result


def wrapped(placed, dice, file):
    """The same numbers as another type that is taken for an array; a list may have another dtype."""
    kind = dice.below(10)
    native = placed.dtype.isnative and placed.dtype.kind in "fiub"
    if (
        kind == 0
        and 0 < placed.size < 500
        and native
        and placed.dtype.itemsize in (1, 4, 8)
        and placed.dtype.kind != "b"
    ):
        return placed.tolist()
    if kind == 1 and 0 < placed.size < 500 and native and placed.dtype.itemsize == 8:
        return tuple(placed.tolist()) if placed.ndim else placed.item()
    if kind == 2 and placed.ndim == 2:
        return placed.view(np.matrix)
    if kind == 3:
        return file.mapped(placed)
    if kind == 4:
        return placed.view(Subclass)
    if kind == 5:
        return Convertible(placed)
    if kind == 6 and native and placed.dtype.itemsize <= 8 and placed.flags.behaved and placed.flags.forc:
        return Exchangeable(placed)
    if kind == 7 and native and placed.dtype.itemsize <= 8:
        return memoryview(placed)
    if kind == 8 and native and placed.size:
        return Described(placed.__array_interface__ | {"keep": placed})
    if kind == 9 and placed.ndim == 1 and placed.dtype == np.float64:
        return array.array("d", placed.tolist())
    return placed


def nonsense(placed, dice):
    """What is no array of real numbers, or not the one that was meant."""
    choices = (
        lambda: np.ma.masked_array(placed, np.zeros(placed.shape, bool)),
        lambda: {"a": 1},
        object,
        lambda: "one",
        lambda: b"bytes",
        lambda: (i for i in range(3)),
        lambda: {1, 2},
        lambda: Exchangeable(BufferError("not now")),
        lambda: Described({"shape": (3,), "typestr": "<f8", "version": 3}),
        lambda: Described({"shape": (3,), "typestr": "wrong", "data": (0, True), "version": 3}),
        lambda: [[1.0], [1.0, 2.0]],
        lambda: 1j,
        lambda: None,
        lambda: ...,
        lambda: 10**400,
        lambda: [10**30],
        lambda: 1.5,
        lambda: np.float32(2),
        lambda: np.bool_(True),
        lambda: [],
        lambda: [[]],
        lambda: Convertible(Sabotage("__array__")),
        lambda: Convertible(ValueError("__array__")),
        lambda: Convertible([1.0]),
        lambda: Convertible(placed, np.zeros((*placed.shape, 2)), placed.ravel()[:0]),
        lambda: Exchangeable(Sabotage("__dlpack__")),
        lambda: np.empty((0, *placed.shape), placed.dtype),
        lambda: np.empty((0, 2**58), np.int8),
        lambda: np.empty((0, 2**31 + 5, 0), placed.dtype),
        lambda: np.empty((0,) * 40),
        lambda: np.ones((1,) * 33),
    )
    return dice.pick(choices)()


def misshapen(placed, dice, arena):
    """Another shape."""
    shape = list(placed.shape)
    change = dice.below(7)
    axis = dice.below(len(shape)) if shape else 0
    if change == 0:
        shape.insert(dice.below(len(shape) + 1), dice.pick((1, 1, 2, 0)))
    elif change == 1 and shape:
        del shape[axis]
    elif change == 2 and shape:
        shape[axis] += dice.pick((-1, 1)) if shape[axis] else 1
    elif change == 3 and shape:
        shape[axis] = dice.pick((0, 1, 2, 3))
    elif change == 4 and len(shape) > 1:
        dice.shuffle(shape)
    elif change == 5 and shape:
        shape = [*shape[:axis], int(np.prod(shape[axis:]))]
    else:
        shape = dice.pick(([], [0], [1], [3], [2, 3], [1, 1], [0, 0], [1, 2, 1, 2]))
    values = np.resize(placed, shape) if placed.size else np.zeros(shape, placed.dtype)
    return place(values, arena, dice)
