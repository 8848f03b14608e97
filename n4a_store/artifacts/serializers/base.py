"""What a serializer is, and the payload it makes.

A payload is a skeleton of bytes and any number of large buffers that stand beside it, each of
which becomes an object of its own: a training matrix that twenty models carry is stored once.
A serializer touches no path, clock or environment, and gives equal bytes for equal objects as
far as the library allows.

A third-party serializer is a class with these members, named in the entry-point group
``n4a_store.serializers``; see CONTRIBUTING. ``n4a_store.testing`` holds a kit that checks one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from n4a_store.objects.oid import BytesLike

__all__ = ["DEFAULT_THRESHOLD", "BufferView", "FileSerializer", "Payload", "Serializer"]

DEFAULT_THRESHOLD = 4096
"""Bytes from which a buffer leaves the skeleton, unless the store's settings say otherwise."""


@dataclass(frozen=True, slots=True)
class BufferView:
    """One large buffer: contiguous unsigned bytes, and the size of its items for compression."""

    data: memoryview
    item_size: int = 1


@dataclass(frozen=True, slots=True)
class Payload:
    """A serialised object.

    Args:
        skeleton: Everything but the large buffers.
        buffers: The large buffers, in the order in which the skeleton asks for them.
        pickler: Which pickler made the skeleton, ``pickle`` or ``cloudpickle``; empty when
            reading it back runs no pickle at all.
    """

    skeleton: bytes
    buffers: tuple[BufferView, ...] = ()
    pickler: str = ""

    @property
    def size(self) -> int:
        """Bytes in all, before compression."""
        size = len(self.skeleton)
        for buffer in self.buffers:
            size += buffer.data.nbytes
        return size


@runtime_checkable
class Serializer(Protocol):
    """How objects of some kind become bytes and come back.

    Attributes:
        format: The name in records, ``pickle5``. Never reused for other bytes.
        extension: What an exported file ends in, without a dot.
        needs_trust: Whether a payload that was made to do harm can do it when it is read, or
            when what came out of it is used: by naming code to run, or through a library that
            believes what it reads and leaves its memory. Such a payload from an untrusted source
            is not loaded. False only for what checks every count and offset before it uses it.
    """

    format: str
    extension: str
    needs_trust: bool

    def handles(self, obj: Any) -> bool:
        """Whether this is the serializer for ``obj``, decided by its type and never by trying.

        It must be cheap, and import nothing: an object of a library that nobody has imported
        does not exist.
        """
        ...

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of ``obj``, buffers from ``threshold`` bytes on out of band.

        Raises:
            SerializationError: It cannot be serialised; the message names class and attribute.
        """
        ...

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The object. Arrays over ``buffers`` are writable when the buffers are.

        Raises:
            SerializationError: The library is missing or does not understand the payload.
        """
        ...


@runtime_checkable
class FileSerializer(Serializer, Protocol):
    """A serializer whose payload can be put into a file that the library itself reads.

    Of one that is not, an exported file is the skeleton with the buffers after it.
    """

    def file_bytes(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> bytes:
        """The bytes of the file.

        Raises:
            CorruptionError: The payload is not of this format.
        """
        ...
