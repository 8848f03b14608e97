"""Files mapped for reading without a descriptor for each.

The kernel keeps a mapping when its descriptor is closed, and allows a process 65,530 of them
(``vm.max_map_count``), but often no more than 1,024 or 4,096 open files. Python's ``mmap`` keeps a
copy of the descriptor all the same, unless it is told not to, which it can be from 3.13 on. Before,
memory that is Python's own is overlaid with the file: whoever looks at it sees the file, and it
goes when the last view of it does. Where that cannot be, a mapping keeps its descriptor.
"""

from __future__ import annotations

import itertools
import mmap
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache

__all__ = ["map_descriptor"]

_FEW = 32
"""So many mappings of a process may keep theirs: who reads little need not wait for ctypes."""
_MAP_FIXED = 0x10
_Overlay = Callable[[int, int, int, int, int, int], "int | None"]
_numbers = itertools.count()
_given_up: list[mmap.mmap] = []


def map_descriptor(fd: int, size: int) -> memoryview:
    """The ``size`` bytes of an open file, which is not empty, mapped read-only.

    Raises:
        OSError: It cannot be mapped.
    """
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ, trackfd=False))
    if next(_numbers) >= _FEW:
        # No ctypes here, or no room for memory of our own: there may be some for the file.
        with suppress(ImportError, AttributeError, OSError):
            return memoryview(_overlaid(fd, size)).toreadonly()
    return memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))


def _overlaid(fd: int, size: int) -> mmap.mmap:
    """Memory that shows a file, and keeps nothing open.

    Raises:
        ImportError: Python was built without ctypes.
        AttributeError: The C library has no ``mmap`` of that name.
        OSError: The kernel refuses.
    """
    import ctypes

    overlay = _c_mmap()
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
    at = ctypes.addressof(ctypes.c_char.from_buffer(area))
    if overlay(at, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, fd, 0) != at:
        # What was there may be unmapped, and the place another's: nobody may unmap it again.
        _given_up.append(area)
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return area


@cache
def _c_mmap() -> _Overlay:
    import ctypes

    # With the interpreter's lock held: no other thread of Python maps anything meanwhile.
    found = ctypes.PyDLL(None, use_errno=True).mmap
    found.restype = ctypes.c_void_p
    number, size = ctypes.c_int, ctypes.c_size_t
    found.argtypes = (ctypes.c_void_p, size, number, number, number, ctypes.c_long)
    made: _Overlay = found
    return made
