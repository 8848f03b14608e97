"""Where the content of a record came from, also when its id means something else by now.

A record that somebody kept may be of an earlier version, or of a pipeline that was deleted. Its
content is then looked for under its id in every run, and among what other artifacts depend on.
What nothing here holds any more cannot be vouched for: it counts as imported.
"""

from __future__ import annotations

from collections.abc import Iterator

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.graph import closure
from n4a_store.artifacts.manifest_tree import RUNS, StoredArtifact
from n4a_store.artifacts.payload import ObjectReader
from n4a_store.artifacts.queries import Found, View
from n4a_store.artifacts.types import HASH_PREFIX, ArtifactRecord
from n4a_store.artifacts.vouching import UNKNOWN
from n4a_store.objects.oid import Kind
from n4a_store.repo.store import Store

__all__ = ["whence"]


def whence(view: View, store: Store, record: ArtifactRecord) -> tuple[ObjectReader, str]:
    """What reads the content of a record, and where it came from; empty when it was made here."""
    found = view.find(record.artifact_id)
    if found is not None and found.record.content_hash == record.content_hash:
        return found.reader, found.origin
    pipeline = view.pipeline(record.pipeline_id)
    key = record.artifact_id.partition(":")[2]
    if isinstance(pipeline, PipelineDraft) and (key, record.content_hash) in pipeline.replaced:
        return pipeline.reader, ""
    for at in _everywhere(view, store):
        same = at.path.artifact_id == record.artifact_id
        if same and at.record.content_hash == record.content_hash:
            return at.reader, at.origin
        for node in closure(at.node):
            if node.artifact_id == record.artifact_id:
                stored = StoredArtifact.read(at.reader, node.tree, node.artifact_id)
                if HASH_PREFIX + stored.payload.oid.hex == record.content_hash:
                    return at.reader, at.origin_of(node.tree)
    return store, UNKNOWN


def _everywhere(view: View, store: Store) -> Iterator[Found]:
    runs = [ref.name.removeprefix(RUNS) for ref in store.refs(RUNS) if ref.kind is Kind.RUN]
    for run in (None, *reversed(runs)):
        for pipeline in view.pipelines(run=run):
            for path in pipeline.paths():
                yield Found.at(pipeline, path)
