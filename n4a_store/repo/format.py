"""The ``format`` file: which store this is and what a program must know to touch it.

::

    n4a_store 1
    hash blake3
    required_read packs-1 catalog-1
    required_write leases-1
    required_gc generations-1
    optional
    checksum <16 hex digits of BLAKE3 over the lines above>

A program reads a store when it knows every ``required_read`` feature, writes when it also knows
``required_write``, collects garbage when it also knows ``required_gc``. Unknown features are
refused by name, and the file says nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from blake3 import blake3

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    UnsupportedFormatError,
)
from n4a_store.storage.files import read_text, refuse_link
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.system import backend_errors

__all__ = ["StoreFormat", "read_config", "read_format", "refuse_links"]

STORE_VERSION = 1
KNOWN_FEATURES = frozenset(("packs-1", "catalog-1", "leases-1", "generations-1"))
_PROGRAM = "n4a_store"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_KEYS = ("hash", "required_read", "required_write", "required_gc", "optional")


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """What the ``format`` file says."""

    version: int = STORE_VERSION
    hash: str = "blake3"
    required_read: tuple[str, ...] = ("packs-1", "catalog-1")
    required_write: tuple[str, ...] = ("leases-1",)
    required_gc: tuple[str, ...] = ("generations-1",)
    optional: tuple[str, ...] = ()

    def encode(self) -> str:
        """The text of the file."""
        lines = [f"{_PROGRAM} {self.version}", f"hash {self.hash}"]
        lines += [" ".join((key, *getattr(self, key))) for key in _KEYS[1:]]
        body = "\n".join(lines) + "\n"
        return f"{body}checksum {_checksum(body)}\n"

    @classmethod
    def decode(cls, text: str) -> StoreFormat:
        """What ``text`` says.

        Raises:
            CorruptionError: It is damaged.
            UnsupportedFormatError: It is of a later version; the message says which.
        """
        head, _, number = text.partition("\n")[0].partition(" ")
        if head != _PROGRAM or not _VERSION.fullmatch(number):
            raise CorruptionError("the format file is damaged", hint="restore it from a backup")
        version = int(number)
        if version > STORE_VERSION:
            # A later version may lay out the rest as it likes: believe its first line only.
            raise UnsupportedFormatError(
                f"a store of format version {version}; this program knows up to {STORE_VERSION}",
                hint="upgrade n4a_store",
            )
        body, mark, checksum = text.rpartition("checksum ")
        if not mark or checksum != _checksum(body) + "\n":
            raise CorruptionError(
                "the format file is damaged: its checksum fails", hint="restore it from a backup"
            )
        values: dict[str, tuple[str, ...]] = {}
        for line in body.splitlines()[1:]:
            key, *words = line.split(" ")
            values[key] = tuple(words)
        if set(values) != set(_KEYS) or len(values["hash"]) != 1:
            raise CorruptionError("the format file is damaged: wrong lines")
        return cls(
            version,
            values["hash"][0],
            values["required_read"],
            values["required_write"],
            values["required_gc"],
            values["optional"],
        )

    def check_read(self) -> None:
        """Refuse a store that this program cannot read.

        Raises:
            UnsupportedFormatError: It uses a feature that must be known to read it.
        """
        if self.hash != "blake3":
            raise UnsupportedFormatError(f"a store with {self.hash} ids", hint="upgrade n4a_store")
        self._check(self.required_read, "read")

    def check_write(self) -> None:
        """Refuse to write what this program cannot write safely."""
        self._check(self.required_write, "write to")

    def check_gc(self) -> None:
        """Refuse to collect garbage by rules that this program does not know."""
        self._check(self.required_gc, "collect garbage in")

    def _check(self, features: tuple[str, ...], doing: str) -> None:
        unknown = sorted(set(features) - KNOWN_FEATURES)
        if unknown:
            raise UnsupportedFormatError(
                f"to {doing} this store a program must know: {', '.join(unknown)}",
                hint="upgrade n4a_store",
            )


def _checksum(body: str) -> str:
    return blake3(body.encode()).hexdigest()[:16]


def read_format(layout: StoreLayout) -> StoreFormat | None:
    """What the ``format`` file of a store says; None where there is no store.

    Raises:
        CorruptionError: It is damaged, or missing beside a catalog.
        UnsupportedFormatError: It is of a later version.
        BackendError: It cannot be read.
    """
    with backend_errors(f"open {layout.root}"):
        if not layout.root.is_dir():
            return None
    try:
        text = read_text(layout.format)
    except BackendError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise CorruptionError(
                "the format file is damaged: it is not text", hint="restore it from a backup"
            ) from error
        raise
    if text is not None:
        return StoreFormat.decode(text)
    if layout.catalog.is_file():
        raise CorruptionError(
            f"{layout.root} is a store whose file 'format' is missing",
            hint="restore it from a backup, or copy it from another store of the same version",
        )
    return None


def read_config(layout: StoreLayout) -> str | None:
    """The text of a store's ``config`` file, which people write; None when there is none.

    Raises:
        InvalidInputError: It is not text: a mistake like any other in it.
        BackendError: It cannot be read.
    """
    try:
        return read_text(layout.config)
    except BackendError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise InvalidInputError(error.message, hint="write it anew, as UTF-8") from error
        raise


def refuse_links(layout: StoreLayout) -> None:
    """Refuse a store one of whose folders, or whose catalog, leads out of it.

    Raises:
        BackendError: One of them is a link: gc would delete what stands elsewhere, and to open a
            database is to write to it.
    """
    for part in (*layout.folders(), layout.quarantine, layout.catalog):
        refuse_link(part)
