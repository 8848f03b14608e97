"""Key-value stores and flat files, used as somebody would who wants equal objects stored once.

The value stores hold whole pickles by their hash (BLAKE3, the fastest there is), and the hash by
artifact id. Flat files hold one file an artifact, as joblib users write them.
"""

from __future__ import annotations

import pickle
import sqlite3
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from blake3 import blake3

from benchmarks.peers.base import Peer, needs_module
from benchmarks.peers.workload import Registration

__all__ = ["DiskCache", "Flat", "FlatCompressed", "Lmdb", "PickleByHash", "Sqlite"]


class PickleByHash(Peer):
    """Whole pickles by their hash, hashes by artifact id; the rest is the peer's."""

    @abstractmethod
    def has(self, digest: bytes) -> bool:
        """Whether a pickle is stored."""

    @abstractmethod
    def write(self, digest: bytes, data: bytes) -> None:
        """Store a pickle that is not there."""

    @abstractmethod
    def name_it(self, artifact: str, digest: bytes) -> None:
        """Let an artifact id stand for a pickle."""

    @abstractmethod
    def read(self, artifact: str) -> Any:
        """The pickle that an artifact id stands for."""

    @abstractmethod
    def pickles(self) -> Iterator[tuple[bytes, Any]]:
        """All hashes with their pickles."""

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Pickle, hash, write what is new."""
        del pipeline
        data = pickle.dumps(obj, 5)
        digest = blake3(data).digest()
        if not self.has(digest):
            self.write(digest, data)
        self.name_it(at.artifact, digest)

    def load(self, artifact: str) -> Any:
        """Read and unpickle. Nothing checks the bytes."""
        return pickle.loads(self.read(artifact))

    def fsck(self) -> None:
        """Hash everything again."""
        for digest, data in self.pickles():
            if blake3(data).digest() != digest:
                raise AssertionError(f"{digest.hex()} is damaged")


class Lmdb(PickleByHash):
    """One memory-mapped B-tree, one synced transaction a pipeline."""

    name = "LMDB"
    durable = True

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("lmdb", "bench")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import lmdb

        self.env = lmdb.open(str(folder), map_size=1 << 36, max_dbs=2)
        self.values = self.env.open_db(b"values")
        self.names = self.env.open_db(b"names")
        self.txn: Any = None
        self.view: Any = None

    def _writing(self) -> Any:
        if self.txn is None:
            if self.view is not None:
                self.view.abort()
                self.view = None
            self.txn = self.env.begin(write=True)
        return self.txn

    def has(self, digest: bytes) -> bool:
        """Look it up in the open transaction."""
        return self._writing().get(digest, db=self.values) is not None

    def write(self, digest: bytes, data: bytes) -> None:
        """Put it."""
        self._writing().put(digest, data, db=self.values)

    def name_it(self, artifact: str, digest: bytes) -> None:
        """Put it."""
        self._writing().put(artifact.encode(), digest, db=self.names)

    def commit(self, pipeline: str) -> None:
        """Commit, which syncs."""
        del pipeline
        if self.txn is not None:
            self.txn.commit()
            self.txn = None

    def read(self, artifact: str) -> Any:
        """A view into the map."""
        if self.view is None:
            self.view = self.env.begin(buffers=True)
        digest = self.view.get(artifact.encode(), db=self.names)
        return self.view.get(digest, db=self.values)

    def pickles(self) -> Iterator[tuple[bytes, Any]]:
        """Walk the values."""
        with self.env.begin(db=self.values) as txn:
            yield from txn.cursor()

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Take the names away; which values nothing names, LMDB cannot tell."""
        for artifact in artifacts:
            self._writing().delete(artifact.encode(), db=self.names)
        self.commit(pipeline)

    def close(self) -> None:
        """Close the environment."""
        self.commit("")
        if self.view is not None:
            self.view.abort()
        self.env.close()


class Sqlite(PickleByHash):
    """Two tables; one transaction a pipeline with ``synchronous=FULL``."""

    name = "sqlite3"
    durable = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.db = sqlite3.connect(folder / "store.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=TRUNCATE")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE pickles (hash BLOB PRIMARY KEY, data BLOB)")
        self.db.execute("CREATE TABLE names (artifact TEXT PRIMARY KEY, hash BLOB)")

    def _writing(self) -> sqlite3.Connection:
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")
        return self.db

    def has(self, digest: bytes) -> bool:
        """Look it up."""
        found = self._writing().execute("SELECT 1 FROM pickles WHERE hash=?", (digest,))
        return found.fetchone() is not None

    def write(self, digest: bytes, data: bytes) -> None:
        """Insert it."""
        self._writing().execute("INSERT INTO pickles VALUES (?, ?)", (digest, data))

    def name_it(self, artifact: str, digest: bytes) -> None:
        """Insert it."""
        self._writing().execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (artifact, digest))

    def commit(self, pipeline: str) -> None:
        """Commit, which syncs."""
        del pipeline
        if self.db.in_transaction:
            self.db.execute("COMMIT")

    def read(self, artifact: str) -> Any:
        """One join."""
        rows = self.db.execute(
            "SELECT data FROM names JOIN pickles USING (hash) WHERE artifact=?", (artifact,)
        )
        return rows.fetchone()[0]

    def pickles(self) -> Iterator[tuple[bytes, Any]]:
        """Scan the table."""
        yield from self.db.execute("SELECT hash, data FROM pickles")

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Take the names away."""
        rows = [(artifact,) for artifact in artifacts]
        self._writing().executemany("DELETE FROM names WHERE artifact=?", rows)
        self.commit(pipeline)

    def gc(self) -> None:
        """Delete what has no name, and give the space back."""
        self._writing().execute("DELETE FROM pickles WHERE hash NOT IN (SELECT hash FROM names)")
        self.commit("")
        self.db.execute("VACUUM")

    def close(self) -> None:
        """Close it."""
        self.db.close()


class DiskCache(PickleByHash):
    """diskcache: SQLite for what is small, a file each for the rest. It does not sync files."""

    name = "diskcache"

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("diskcache", "bench")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import diskcache

        self.cache = diskcache.Cache(str(folder), eviction_policy="none", size_limit=1 << 40)

    def has(self, digest: bytes) -> bool:
        """Look it up."""
        return digest in self.cache

    def write(self, digest: bytes, data: bytes) -> None:
        """Set it."""
        self.cache.set(digest, data)

    def name_it(self, artifact: str, digest: bytes) -> None:
        """Set it."""
        self.cache.set(artifact, digest)

    def read(self, artifact: str) -> Any:
        """Two gets."""
        return self.cache[self.cache[artifact]]

    def pickles(self) -> Iterator[tuple[bytes, Any]]:
        """All keys that are hashes."""
        for key in self.cache:
            if isinstance(key, bytes):
                yield key, self.cache[key]

    def fsck(self) -> None:
        """Its own check, and every hash."""
        if self.cache.check():
            raise AssertionError("diskcache reports damage")
        super().fsck()

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Take the names away."""
        del pipeline
        for artifact in artifacts:
            del self.cache[artifact]

    def close(self) -> None:
        """Close it."""
        self.cache.close()


class Flat(Peer):
    """``joblib.dump``, one file an artifact, nothing shared, nothing synced."""

    name = "joblib files"
    level: ClassVar[int] = 0

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("joblib", "bench")

    def _path(self, artifact: str) -> Path:
        return self.folder / (artifact.replace(":", "_") + ".joblib")

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Dump."""
        del pipeline
        import joblib

        joblib.dump(obj, self._path(at.artifact), compress=self.level)

    def load(self, artifact: str) -> Any:
        """Load."""
        import joblib

        return joblib.load(self._path(artifact))

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Unlink; that is all there is to collect."""
        del pipeline
        for artifact in artifacts:
            self._path(artifact).unlink()

    def gc(self) -> None:
        """Nothing is left to do."""


class FlatCompressed(Flat):
    """The same with zlib."""

    name = "joblib files, compress=3"
    level = 3
