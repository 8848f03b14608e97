"""Object ids: the BLAKE3 hash of an object's canonical bytes, kept apart by kind.

An id is ``blake3(payload, derive_key_context="n4a_store v1 <kind>")``: 32 bytes, shown as 64
hex digits. The kind is part of the derivation, so a blob that happens to hold the bytes of a
tree is another object. Ids are of uncompressed bytes: recompressing never renames.

Source of the hash: the BLAKE3 paper, section 2.3 (``derive_key`` mode). A plain ``b3sum`` of
the same bytes prints another value.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from n4a_store.errors import InvalidInputError

__all__ = [
    "BLOB_SEED",
    "OID_BYTES",
    "BytesLike",
    "Kind",
    "ObjectId",
    "begin_hash",
    "hash_object",
    "raw_hash",
    "split_ids",
]

BytesLike = bytes | bytearray | memoryview

OID_BYTES = 32
_HEX = re.compile(r"[0-9a-f]{64}")


class Kind(enum.IntEnum):
    """What an object is; stored as one byte in packs and tree entries."""

    BLOB = 1
    TREE = 2
    RUN = 3

    @property
    def label(self) -> str:
        """The name people and plumbing commands use."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> Kind:
        """The kind called ``label``.

        Raises:
            InvalidInputError: ``label`` is not blob, tree or run.
        """
        for kind in cls:
            if kind.label == label:
                return kind
        known = ", ".join(kind.label for kind in cls)
        raise InvalidInputError(f"unknown object kind {label!r}", hint=f"one of: {known}")


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """The id of an object: 32 bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if type(self.raw) is not bytes or len(self.raw) != OID_BYTES:
            raise InvalidInputError(f"an object id has {OID_BYTES} bytes, not {self.raw!r}")

    @classmethod
    def from_hex(cls, text: str) -> ObjectId:
        """The id written as 64 lower-case hex digits.

        Raises:
            InvalidInputError: ``text`` is anything else.
        """
        if not isinstance(text, str) or _HEX.fullmatch(text) is None:
            raise InvalidInputError(f"not an object id: {text!r}", hint="64 hex digits, lower case")
        return cls(bytes.fromhex(text))

    @property
    def hex(self) -> str:
        """All 64 hex digits."""
        return self.raw.hex()

    def short(self, digits: int = 8) -> str:
        """The first ``digits`` hex digits, for people."""
        return self.raw.hex()[:digits]

    def __str__(self) -> str:
        return self.raw.hex()

    def __repr__(self) -> str:
        return f"ObjectId({self.raw.hex()[:12]}…)"


# One prepared hasher per kind: deriving the context key costs more than hashing a small payload.
_SEEDS: dict[int, blake3] = {
    int(kind): blake3(derive_key_context=f"n4a_store v1 {kind.label}") for kind in Kind
}
BLOB_SEED = _SEEDS[Kind.BLOB]
"""To be copied where blobs are hashed in a loop, as :func:`raw_hash` does; never to be updated."""


def raw_hash(kind: int, payload: BytesLike) -> bytes:
    """The 32 id bytes of ``payload`` (contiguous unsigned bytes) as an object of ``kind``."""
    hasher = _SEEDS[kind].copy()
    hasher.update(payload)
    return hasher.digest()


def begin_hash(kind: int) -> blake3:
    """What gives the 32 id bytes of an object of ``kind`` once it has been fed its payload."""
    return _SEEDS[kind].copy()


def split_ids(packed: BytesLike) -> Iterator[bytes]:
    """The id bytes that stand one after the other in ``packed``."""
    for at in range(0, len(packed), OID_BYTES):
        yield bytes(packed[at : at + OID_BYTES])


def hash_object(kind: Kind, payload: BytesLike) -> ObjectId:
    """The id of ``payload`` as an object of ``kind``."""
    return ObjectId(raw_hash(kind, memoryview(payload).cast("B")))
