"""Plain numpy arrays as ``.npy``, with no pickle in either direction.

The skeleton is the header of a version 1.0 ``.npy`` file and, for a small array, the data after
it: a payload of one blob is a file that ``np.load`` reads. A large array's data is a buffer of
its own, so that a matrix stored alone and the same matrix inside a model are one object.

Handled are exact ``ndarray`` objects (no subclasses) whose dtype a ``.npy`` header can spell:
numbers, booleans, fixed-width text and bytes, dates. Text or bytes of width 0, which numpy makes by
accident only and widens as soon as it can, are written as wide as it makes them: else a header of
some bytes would speak for any number of items. Object and structured dtypes, and dtypes
with metadata, go to pickle.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, BufferView, Payload
from n4a_store.artifacts.serializers.extensions import EXTENSIONS
from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike

__all__ = ["ArraySerializer"]

_MAGIC = b"\x93NUMPY\x01\x00"
_PREFIX = len(_MAGIC) + 2
_ALIGNMENT = 64
_MAX_HEADER = 4096
_MOST_WIDTHLESS = 65_536  # items of width 0, as development versions wrote them
_KINDS = "biufcSUMm?"
_DTYPE = re.compile(r"[<>|=][biufcSUMm?][0-9]*(\[[0-9]{0,10}[a-zA-Zμ]{1,8}\])?")


class ArraySerializer:
    """See the module."""

    format = "npy"
    extension = EXTENSIONS["npy"]
    needs_trust = False

    def handles(self, obj: Any) -> bool:
        """Exact arrays of a plain dtype."""
        return type(obj) is np.ndarray and obj.dtype.kind in _KINDS and obj.dtype.metadata is None

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of an array, in C order unless it is Fortran-contiguous."""
        array: np.ndarray[Any, Any] = obj
        if not array.itemsize:
            array = array.astype(f"{array.dtype.kind}1")
        fortran = array.flags.fnc
        if not array.flags.forc:
            array = np.ascontiguousarray(array)
        header = _header(array.dtype.str, fortran, array.shape)
        flat = (array.T if fortran else array).reshape(-1)
        data = memoryview(flat.view(np.uint8).data) if flat.nbytes else memoryview(b"")
        if data.nbytes < threshold:
            return Payload(header + data.tobytes())
        return Payload(header, (BufferView(data, array.itemsize),))

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The array, over the buffer when there is one.

        Raises:
            CorruptionError: The header is malformed or contradicts the amount of data.
        """
        dtype, fortran, shape, start = _parse(_head_of(skeleton))
        inline = memoryview(skeleton)[start:]
        if len(buffers) > 1 or (buffers and inline.nbytes):
            raise CorruptionError("an array with data in two places")
        data = buffers[0] if buffers else bytearray(inline)
        count = 1
        for length in shape:
            count *= length
        if memoryview(data).nbytes != count * dtype.itemsize or (
            count > _MOST_WIDTHLESS and not dtype.itemsize
        ):
            raise CorruptionError(f"an array of shape {shape} and {dtype} with other data")
        try:
            if not count or not dtype.itemsize:
                return np.zeros(shape, dtype, order="F" if fortran else "C")
            return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        except (ValueError, OverflowError) as error:  # more dimensions than numpy has, or larger
            raise CorruptionError(f"an array of a shape that none has: {error}") from error


def _head_of(skeleton: BytesLike) -> bytes:
    """The header alone, so that arrays of one shape and type have it in common."""
    head = bytes(skeleton[: _PREFIX + _MAX_HEADER])
    return head[: _PREFIX + int.from_bytes(head[len(_MAGIC) : _PREFIX], "little")]


def _header(descr: str, fortran: bool, shape: tuple[int, ...]) -> bytes:
    # Written here and not by numpy, whose padding has changed between versions.
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}".encode()
    padded = text.ljust(-(-(_PREFIX + len(text) + 1) // _ALIGNMENT) * _ALIGNMENT - _PREFIX - 1)
    padded += b"\n"
    return _MAGIC + len(padded).to_bytes(2, "little") + padded


@functools.lru_cache(maxsize=256)
def _parse(head: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    if not head.startswith(_MAGIC):
        raise CorruptionError("not an array: the .npy header is missing")
    size = int.from_bytes(head[len(_MAGIC) : _PREFIX], "little")
    if size > _MAX_HEADER or len(head) < _PREFIX + size:
        raise CorruptionError(f"not an array: a .npy header of {size} bytes")
    try:
        fields = ast.literal_eval(head[_PREFIX : _PREFIX + size].decode("utf-8").strip())
        descr, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise CorruptionError(f"not an array: malformed .npy header: {error}") from error
    if not (
        isinstance(fortran, bool)
        and isinstance(shape, tuple)
        and all(type(length) is int and length >= 0 for length in shape)
        and isinstance(descr, str)
        and _DTYPE.fullmatch(descr)
    ):
        raise CorruptionError(f"not an array: a .npy header with {fields!r:.80}")
    try:
        return np.dtype(descr), fortran, shape, _PREFIX + size
    except (TypeError, ValueError) as error:
        raise CorruptionError(f"not an array: unknown dtype {descr!r}") from error
