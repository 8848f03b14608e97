"""From a record to its object: every byte checked, and trust decided, before any is interpreted."""

from __future__ import annotations

from typing import Any

from n4a_store.artifacts.payload import ObjectReader, read_payload
from n4a_store.artifacts.serializers.base import Serializer
from n4a_store.artifacts.serializers.libraries import how_to_get
from n4a_store.artifacts.serializers.table import SerializerTable
from n4a_store.artifacts.types import HASH_PREFIX, ArtifactRecord
from n4a_store.errors import (
    CorruptionError,
    ObjectNotFoundError,
    SerializationError,
    UnsupportedFormatError,
    UntrustedError,
)
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import ObjectId

__all__ = ["load_payload", "load_record"]


def load_record(
    reader: ObjectReader,
    record: ArtifactRecord,
    table: SerializerTable,
    *,
    origin: str = "",
    mmap: bool = False,
    trust: bool = False,
) -> Any:
    """The object of a record.

    Raises:
        CorruptionError: Stored bytes are missing or damaged; names the artifact.
        UntrustedError: It came from elsewhere and its format needs trust.
        UnsupportedFormatError: No serializer here reads its format.
        SerializationError: Its library is not here or refuses it.
    """
    name = record.artifact_id
    try:
        oid = ObjectId.from_hex(record.content_hash.removeprefix(HASH_PREFIX))
        entry = TreeEntry(reader.kind(oid), oid)
    except ObjectNotFoundError as error:
        raise CorruptionError(
            f"artifact {name}: its payload is missing: {error}", hint=error.hint
        ) from error
    except CorruptionError as error:
        raise CorruptionError(f"artifact {name}: {error}", hint=error.hint) from error
    return load_payload(
        reader,
        entry,
        name,
        record.format,
        table,
        library=record.format_version,
        origin=origin,
        mmap=mmap,
        trust=trust,
    )


def load_payload(  # noqa: PLR0913 - what is stored, then how to load it, by name
    reader: ObjectReader,
    entry: TreeEntry,
    name: str,
    form: str,
    table: SerializerTable,
    *,
    library: str = "",
    origin: str = "",
    mmap: bool = False,
    trust: bool = False,
) -> Any:
    """The object of a payload in format ``form``, of the artifact called ``name``.

    What is missing of its ``library`` is named in the version that the record names.

    Raises:
        As :func:`load_record`.
    """
    try:
        serializer = table.for_format(form)
        if origin:
            _check_trust(serializer, name, origin, trust=trust)
        return read_payload(reader, entry, serializer, mmap=mmap)
    except CorruptionError as error:
        raise CorruptionError(
            f"artifact {name}: {error}", hint=error.hint or "n4a-store fsck --full says more"
        ) from error
    except SerializationError as error:
        hint = _where_from(error.__cause__, library) or error.hint
        raise SerializationError(f"artifact {name} {error}", hint=hint) from error
    except UnsupportedFormatError as error:
        raise UnsupportedFormatError(f"artifact {name}: {error}", hint=error.hint) from error


def _where_from(cause: BaseException | None, library: str) -> str:
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        return how_to_get(cause.name, library)
    return ""


def _check_trust(serializer: Serializer, name: str, origin: str, *, trust: bool) -> None:
    if origin and serializer.needs_trust and not trust:
        raise UntrustedError(
            f"artifact {name} was imported from {origin}, and loading it can run code or damage "
            "the process",
            hint="pass trust=True (--trust) when you know who made it",
        )
