"""Memory for arguments between pages that cannot be read: whoever reads beyond an array ends the process."""

import ctypes
import mmap
import sys

import numpy as np

PAGE = mmap.PAGESIZE
#: What surrounds an argument, a signaling NaN to whoever reads it as floats.
CANARY = 0xFB
#: Bytes of a slot, and how many there are of each.
SLOTS = ((8 * PAGE, 24), (256 * PAGE, 10))


class Arena:
    """Slots, each between two guard pages, for the arguments of one call at a time."""

    def __init__(self):
        total = sum((size + PAGE) * count for size, count in SLOTS) + PAGE
        self._map = mmap.mmap(-1, total)  # unreadable below: closing it would be an error
        whole = np.frombuffer(self._map, np.uint8)
        start = whole.ctypes.data
        self._free = {size: [] for size, _ in SLOTS}
        self._slots = []
        _protect(start)
        at = PAGE
        for size, count in SLOTS:
            for _ in range(count):
                self._free[size].append(whole[at : at + size])
                _protect(start + at + size)
                at += size + PAGE
        self._taken = {size: 0 for size, _ in SLOTS}
        self.used = []
        self._before = []

    def reset(self):
        """Forget what was taken."""
        self._taken = dict.fromkeys(self._taken, 0)
        self.used, self._before = [], []

    def take(self, size, dice):
        """So many bytes, most of the time with an end at a guard page; ordinary memory if there are too many."""
        for slot_size, slots in self._free.items():
            if size <= slot_size and self._taken[slot_size] < len(slots):
                slot = slots[self._taken[slot_size]]
                self._taken[slot_size] += 1
                slot[...] = CANARY
                self.used.append(slot)
                room = slot_size - size
                at = (room, room, room, 0, 0, dice.below(room + 1))[dice.below(6)]
                return slot[at : at + size]
        return np.empty(size, np.uint8)

    def slot_of(self, array):
        """The slot that an array begins in; None if it is elsewhere."""
        address = array.__array_interface__["data"][0]
        for slot in self.used:
            if slot.ctypes.data <= address < slot.ctypes.data + slot.size:
                return slot
        return None

    def remember(self):
        """Keep what every slot holds."""
        self._before = [slot.copy() for slot in self.used]

    def changed(self, allowed=()):
        """The slots with a byte that differs from what was kept, the elements of some arrays aside."""
        found = []
        for slot, before in zip(self.used, self._before, strict=True):
            if np.array_equal(slot, before):
                continue
            different = slot != before
            for array in allowed:
                if self.slot_of(array) is slot:
                    _mark(array, slot, different)
            if different.any():
                found.append(slot)
        return found


def _mark(array, slot, different):
    """Clear the bytes of an array's elements in a mask of its slot."""
    offset = array.__array_interface__["data"][0] - slot.ctypes.data
    bytes_of = np.ndarray((*array.shape, array.itemsize), bool, different, offset, (*array.strides, 1))
    bytes_of[...] = False


def _protect(address):
    """Make a page unreadable, where the system can."""
    if sys.platform == "win32":
        return
    function = ctypes.CDLL(None, use_errno=True).mprotect
    if function(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0):
        raise OSError(ctypes.get_errno(), "mprotect")
