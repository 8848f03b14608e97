"""n4a_store below its registry: objects, a tree a pipeline and a ref, as key-value stores are used.

What is left out is what a registry adds: parameters, library versions, dependencies, versions of an
id, runs, and the manifest that people read. What stays is what the store is for: equal parts are
stored once, every byte is checked when it is read, a commit is whole and durable, what nothing
names any more is collected, and a deletion can be undone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Peer
from benchmarks.peers.workload import Registration
from n4a_store import Store
from n4a_store.artifacts.payload import put_payload, read_payload
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.objects.model import TreeEntry
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.transaction import Transaction

__all__ = ["Objects", "OwnStore"]

_TAGS = "refs/tags/"


class OwnStore(Peer):
    """What is asked of a store, whatever stands above it."""

    @property
    @abstractmethod
    def store(self) -> Store:
        """The store."""

    def fsck(self) -> None:
        """Every byte against its id."""
        report = fsck(self.store, full=True)
        if not report.ok:
            raise AssertionError(f"fsck found damage: {report}")

    def gc(self) -> None:
        """Without the days in which a deletion can be undone."""
        collect(self.store, expire_now=True)


class Objects(OwnStore):
    """One transaction a pipeline, one seat for all of them."""

    name = "n4a_store, objects only"
    durable = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._own = Store.init(folder / "store")
        self._fresh = Store.open(self.store.path)
        self._seat = self.store.seat()
        self._serializer = Pickle5Serializer()
        self._txn: Transaction | None = None
        self._entries: dict[str, TreeEntry] = {}

    @property
    def store(self) -> Store:
        """The one that is written to."""
        return self._own

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Put its payload."""
        if self._txn is None:
            self._txn = self.store.transaction(pipeline, seat=self._seat)
        self._entries[at.artifact] = put_payload(self._txn, self._serializer.dumps(obj))

    def commit(self, pipeline: str) -> None:
        """Let a tag name the pipeline's artifacts."""
        assert self._txn is not None
        self._txn.set_ref(_TAGS + pipeline, self._txn.put_tree(self._entries))
        self._txn.commit()
        self._txn, self._entries = None, {}

    def load(self, artifact: str) -> Any:
        """By the tag and the name in its tree, writable."""
        return self._load(self.store, artifact)

    def load_pipeline(self, pipeline: str, artifacts: Sequence[str]) -> list[Any]:
        """By a store that has read nothing of this pipeline yet."""
        del pipeline
        return [self._load(self._fresh, artifact) for artifact in artifacts]

    def load_readonly(self, artifact: str) -> Any:
        """Over the mapped pack."""
        return self._load(self.store, artifact, mmap=True)

    def _load(self, store: Store, artifact: str, *, mmap: bool = False) -> Any:
        ref = store.known_ref(_TAGS + artifact.partition(":")[0])
        assert ref is not None
        with store.session():
            entry = store.get_entry(ref.oid, artifact)
            assert entry is not None
            return read_payload(store, entry, self._serializer, mmap=mmap)

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Delete the tag."""
        del artifacts
        with self.store.transaction(f"delete {pipeline}") as txn:
            txn.delete_ref(_TAGS + pipeline)

    def close(self) -> None:
        """Close the store."""
        self._seat.leave()
        self._fresh.close()
        self.store.close()
