"""Putting manifests: serial and versions are counted on from the manifest before.

Which one that is, is certain only when the pipeline's ref moves: a commit that finds another one
there puts its manifest once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from n4a_store.artifacts.links import KeyLinks, Links, encode_links
from n4a_store.artifacts.manifest_tree import ARTIFACTS, LINKS, MEASURES, PipelineManifest
from n4a_store.objects.model import Tree, TreeEntry, Value
from n4a_store.objects.oid import Kind
from n4a_store.repo.transaction import Transaction

__all__ = ["Numbering"]


@dataclass(frozen=True, slots=True)
class Numbering:
    """Counts on from a manifest.

    Args:
        before: The last completed manifest of the pipeline, or None.
    """

    before: PipelineManifest | None

    @property
    def serial(self) -> int:
        """The serial of the next manifest."""
        return 1 if self.before is None else self.before.serial + 1

    def last(self, key: str) -> int:
        """The last version of a key so far; 0 if it never existed."""
        return 0 if self.before is None else self.before.last_version(key)

    def since(self, key: str, versions: int) -> int:
        """The ``since`` of a key that has got so many new versions."""
        return self.serial - (self.last(key) + versions) + 1

    def put(
        self,
        txn: Transaction,
        pipeline_id: str,
        run_id: str,
        created_at: str,
        artifacts: Tree,
        links: Links,
        measured: Value,
    ) -> PipelineManifest:
        """Put the next manifest; retired keys are added to its links."""
        links = replace(links, retired=self._retired(links.keys))
        oid = txn.put_tree(
            {
                ARTIFACTS: TreeEntry(Kind.TREE, txn.put_tree(artifacts.entries)),
                LINKS: TreeEntry(Kind.BLOB, txn.put_blob(encode_links(links))),
            },
            {
                "serial": self.serial,
                "created_at": created_at,
                "run": run_id,
                MEASURES: measured,
            },
        )
        return PipelineManifest(
            pipeline_id, oid, self.serial, created_at, run_id, artifacts, links, measured
        )

    def put_again(
        self, txn: Transaction, made: PipelineManifest, versions: Mapping[str, int]
    ) -> PipelineManifest:
        """Put a manifest that was counted on from another one.

        Args:
            versions: How many new versions of each key it brings; one, where a key is missing.
        """
        keys = {
            key: replace(links, since=self.since(key, versions.get(key, 1)))
            for key, links in made.links.keys.items()
        }
        return self.put(
            txn,
            made.pipeline_id,
            made.run_id,
            made.created_at,
            made.artifacts,
            Links(keys, made.links.branches),
            made.measured,
        )

    def _retired(self, keys: Mapping[str, KeyLinks]) -> dict[str, int]:
        """The last versions of the keys that the next manifest no longer has."""
        if self.before is None:
            return {}
        last = dict(self.before.links.retired)
        last.update((key, self.before.version(key)) for key in self.before.artifacts)
        return {key: version for key, version in last.items() if key not in keys}
