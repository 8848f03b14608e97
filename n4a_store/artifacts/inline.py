"""A payload as one file that its own library reads: buffers put back into the skeleton.

A pickle with out-of-band buffers asks for them by opcode (PEP 574); each request is replaced by
the bytes themselves, as a `bytearray`, so that arrays come back writable. Nothing is unpickled.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence

from n4a_store.artifacts.serializers.base import FileSerializer
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike

__all__ = ["inline_buffers"]

_BYTEARRAY8 = b"\x96"


def inline_buffers(format_name: str, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> bytes:
    """The bytes of a file.

    Args:
        format_name: The record's format.

    Raises:
        CorruptionError: The skeleton is not of the format, or asks for more or fewer buffers.
    """
    serializer = default_table().known(format_name)
    if isinstance(serializer, FileSerializer):
        return serializer.file_bytes(skeleton, buffers)
    head = bytes(skeleton)
    if format_name != "pickle5":
        # A plain array is a header followed by its data; formats without buffers are whole.
        return b"".join([head, *(bytes(buffer) for buffer in buffers)])
    waiting = list(buffers)
    parts: list[bytes] = []
    start = 0
    try:
        for opcode, _, at in pickletools.genops(head):
            if at is None or opcode.name not in ("NEXT_BUFFER", "READONLY_BUFFER"):
                continue
            parts.append(head[start:at])
            start = at + 1
            if opcode.name == "NEXT_BUFFER":
                data = bytes(waiting.pop(0))
                parts.append(_BYTEARRAY8 + len(data).to_bytes(8, "little") + data)
    except (ValueError, IndexError) as error:
        raise CorruptionError(f"not a pickle with its buffers: {error}") from error
    if waiting:
        raise CorruptionError(f"a pickle that leaves {len(waiting)} of its buffers unused")
    return b"".join([*parts, head[start:]])
