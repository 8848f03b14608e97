"""An unfinished pipeline: artifacts that only this process can see, until one commit.

Each draft has a transaction, hence packs, of its own: dropping one costs the others nothing, and
dropping means doing nothing. A dependency from another unfinished pipeline is copied in, so that
it holds whatever becomes of that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace

from n4a_store.artifacts.closures import copy_closure
from n4a_store.artifacts.drafted import DraftArtifact, NewArtifact
from n4a_store.artifacts.execution_path import ExecutionPath, parse_artifact_id, parse_key
from n4a_store.artifacts.graph import ArtifactNode, check_depth, closure
from n4a_store.artifacts.inner_names import InnerNames
from n4a_store.artifacts.links import KeyLinks, Links
from n4a_store.artifacts.manifest_tree import (
    DEPS,
    PAYLOAD,
    RECORD,
    PipelineManifest,
    make_record,
)
from n4a_store.artifacts.measures import Measure, encode_measures
from n4a_store.artifacts.numbering import Numbering
from n4a_store.artifacts.payload import ObjectReader, ordered_key, put_payload
from n4a_store.artifacts.record_blob import encode_record
from n4a_store.artifacts.repeated_trees import put_again
from n4a_store.artifacts.types import ArtifactRecord, Ids
from n4a_store.errors import ArtifactNotFoundError, InvalidInputError
from n4a_store.objects.codec import pack_child, pack_entry
from n4a_store.objects.model import Tree, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.transaction import Transaction

__all__ = ["PipelineDraft"]


class PipelineDraft:
    """A pipeline that is being trained.

    Args:
        txn: Its own transaction, which the draft commits or aborts.
        pipeline_id: Its id.
        run_id: The run it belongs to.
        created_at: When it began.
        current: The last completed manifest of this pipeline, whose versions are counted on.
        kept: A manifest whose artifacts stay: registering adds to them. Its artifacts must
            have been adopted by ``txn``.
        known: Records of it, that need not be read.
    """

    def __init__(
        self,
        txn: Transaction,
        pipeline_id: str,
        run_id: str,
        created_at: str,
        *,
        current: PipelineManifest | None = None,
        kept: PipelineManifest | None = None,
        known: Iterable[ArtifactRecord] = (),
    ) -> None:
        self.txn = txn
        self.pipeline_id = pipeline_id
        self.run_id = run_id
        self.created_at = created_at
        self.current = current
        self.kept = kept
        self._known = {record.artifact_id: record for record in known}
        self.artifacts: dict[str, DraftArtifact] = {}
        self.replaced: set[tuple[str, str]] = set()
        """Keys and contents that were registered here and have been registered again since."""
        self._deps: dict[bytes, bytes] = {}
        self.branches: dict[str, str] = dict(kept.links.branches) if kept else {}

    @property
    def oid(self) -> None:
        """The id of its manifest: an unfinished pipeline has none."""

    def __contains__(self, key: str) -> bool:
        return key in self.artifacts or (self.kept is not None and key in self.kept.artifacts)

    @property
    def adds_nothing(self) -> bool:
        """Whether it holds nothing, or only what it keeps, as that was.

        So it is when what was to be registered was refused.
        """
        if self.artifacts:
            return False
        kept = self.kept
        return kept is None or not kept.artifacts or self.branches == kept.links.branches

    @property
    def reader(self) -> ObjectReader:
        """Where its objects are: its transaction reads its own writes."""
        return self.txn

    def paths(self) -> list[ExecutionPath]:
        """Where its artifacts were made, those it keeps included, in order of execution."""
        kept = self.kept.artifacts if self.kept is not None else ()
        paths = [parse_key(self.pipeline_id, key) for key in kept if key not in self.artifacts]
        paths += [parse_artifact_id(one.record.artifact_id) for one in self.artifacts.values()]
        return sorted(paths, key=lambda path: path.order)

    def origin(self, key: str) -> str:
        """Where an artifact came from; empty when it was made here."""
        if key in self.artifacts:
            return self.artifacts[key].origin
        return "" if self.kept is None else self.kept.links.keys[key].origin

    def foreign(self, key: str) -> Mapping[str, str]:
        """Where dependencies of an artifact came from, by tree; those made here are left out."""
        if key in self.artifacts:
            return self.artifacts[key].node.foreign
        return {} if self.kept is None else self.kept.links.keys[key].foreign

    def notes(self, key: str) -> Mapping[str, str]:
        """What the runner calls the artifact under ``key``, which the draft holds."""
        if key in self.artifacts:
            return self.artifacts[key].notes
        assert self.kept is not None
        return self.kept.links.keys[key].notes

    def record(self, key: str) -> ArtifactRecord:
        """The record under ``key``, which the draft holds."""
        if key in self.artifacts:
            return self.artifacts[key].record
        assert self.kept is not None
        known = self._known.get(f"{self.pipeline_id}:{key}")
        if known is not None and known.version == self.kept.version(key):
            return known
        return self.kept.record(self.txn, key)

    def deps(self, key: str) -> tuple[str, ...]:
        """The ids that the artifact under ``key``, which the draft holds, depends on."""
        return tuple(self.record(key).depends_on)

    def records(self) -> list[ArtifactRecord]:
        """All records that it holds, in order of execution."""
        if self.kept is not None:
            return [self.record(path.key) for path in self.paths()]
        found = [one.record for one in self.artifacts.values()]
        return sorted(found, key=lambda record: parse_artifact_id(record.artifact_id).order)

    def tree(self, key: str) -> ObjectId:
        """The id of the tree under ``key``, which the draft holds."""
        if key in self.artifacts:
            return self.artifacts[key].node.tree
        assert self.kept is not None
        return self.kept.artifacts[key].oid

    def node(self, key: str) -> ArtifactNode:
        """The artifact under ``key``, which the draft holds, with what it depends on."""
        if key in self.artifacts:
            return self.artifacts[key].node
        assert self.kept is not None
        return self.kept.node(self.txn, key)

    def own(self, artifact_id: str) -> ArtifactNode | None:
        """An artifact that was registered in this draft, by its id; None when it was not."""
        pipeline_id, _, key = artifact_id.partition(":")
        artifact = self.artifacts.get(key) if pipeline_id == self.pipeline_id else None
        return None if artifact is None else artifact.node

    # --- registering --------------------------------------------------------------------------

    def add(self, new: NewArtifact, deps: Sequence[ArtifactNode]) -> ArtifactRecord:
        """Put an artifact. The closures of ``deps`` must be in or adopted by the transaction.

        Raises:
            InvalidInputError: The chain of dependencies would be too long, or a cycle: it
                would hold what this replaces.
        """
        path = new.path
        name = path.artifact_id
        key = name[len(path.pipeline_id) + 1 :]
        check_depth(name, deps)
        before = self.artifacts.get(key)
        if before is not None:
            for dep in deps:
                if any(at.artifact_id == name for at in closure(dep)):
                    raise InvalidInputError(
                        f"{name} cannot depend on {dep.artifact_id}: that is a cycle"
                    )
        payload = put_payload(self.txn, new.payload)
        blob = TreeEntry(Kind.BLOB, self.txn.put_blob(encode_record(new.blob)))
        node = self._put_tree(name, blob, payload, deps, new.origin)
        if before is not None:
            self.replaced.add((key, before.record.content_hash))
        bumps = 1 if before is None else before.bumps + 1
        links = KeyLinks(
            since=0,
            deps=tuple(dep.artifact_id for dep in deps),
            sources=new.sources,
            producer=new.producer,
        )
        record = make_record(
            path,
            new.blob,
            payload,
            links,
            version=self._last_version(key) + bumps,
            created_at=self.created_at,
        )
        self.artifacts[key] = DraftArtifact(
            record, node, payload, blob, new.sources, bumps, new.origin, new.notes
        )
        return record

    def name_existing(
        self,
        path: ExecutionPath,
        record: ArtifactRecord,
        node: ArtifactNode,
        links: KeyLinks,
        versions: int = 1,
    ) -> ArtifactRecord:
        """Name an artifact that stands already, adopted by the transaction.

        Args:
            path: Where it is to be.
            record: Its record in the place where it stands.
            node: It, with what it depends on.
            links: Its links in that place: sources, origin and notes come along.
            versions: How many versions that is.
        """
        entries = self.txn.get_tree(node.tree).entries
        named = replace(
            record,
            artifact_id=path.artifact_id,
            **path._asdict(),
            created_at=self.created_at,
            version=self._last_version(path.key) + versions,
        )
        self.artifacts[path.key] = DraftArtifact(
            named,
            replace(node, artifact_id=path.artifact_id),
            entries[PAYLOAD],
            entries[RECORD],
            links.sources,
            versions,
            links.origin,
            links.notes,
        )
        return named

    def _last_version(self, key: str) -> int:
        return 0 if self.current is None else self.current.last_version(key)

    def _put_tree(
        self,
        artifact_id: str,
        blob: TreeEntry,
        payload: TreeEntry,
        deps: Sequence[ArtifactNode],
        origin: str,
    ) -> ArtifactNode:
        entries = {PAYLOAD: pack_entry(payload), RECORD: pack_entry(blob)}
        if deps:
            below = b"".join([dep.tree.raw for dep in deps])
            # The folds of a step depend on the same things: one tree, put once.
            if below not in self._deps:
                numbered = {
                    ordered_key(place): pack_child(Kind.TREE, dep.tree.raw)
                    for place, dep in enumerate(deps)
                }
                self._deps[below] = pack_child(Kind.TREE, put_again(self.txn, numbered).raw)
            entries = {DEPS: self._deps[below], **entries}
        tree = put_again(self.txn, entries)
        return ArtifactNode.over(artifact_id, tree, deps, origin)

    def add_dependency(self, key: str, dep: ArtifactNode) -> ArtifactRecord:
        """Let an artifact of this draft depend on one more, and rebuild all that depend on it.

        Raises:
            ArtifactNotFoundError: It was not registered in this draft.
            InvalidInputError: The dependency depends on the artifact, or the chain is too long.
        """
        artifact = self.artifacts.get(key)
        if artifact is None:
            raise ArtifactNotFoundError(
                f"{self.pipeline_id}:{key} is not in the open pipeline",
                hint="dependencies are added before complete_pipeline; register it again",
            )
        name = artifact.record.artifact_id
        if dep.artifact_id == name or any(at.artifact_id == name for at in closure(dep)):
            raise InvalidInputError(
                f"{name} cannot depend on {dep.artifact_id}: that is a cycle",
            )
        if any(child.artifact_id == dep.artifact_id for child in artifact.node.children):
            return artifact.record
        rebuilt = self._with_deps(artifact, (*artifact.node.children, dep))
        self._replace(key, artifact.node, rebuilt)
        return rebuilt.record

    def _with_deps(self, artifact: DraftArtifact, deps: Sequence[ArtifactNode]) -> DraftArtifact:
        record = artifact.record
        name, origin = record.artifact_id, artifact.origin
        node = self._put_tree(name, artifact.blob, artifact.payload, deps, origin)
        names = Ids(dep.artifact_id for dep in deps)
        return replace(artifact, node=node, record=replace(record, depends_on=names))

    def _replace(self, key: str, old: ArtifactNode, new: DraftArtifact) -> None:
        """Put ``new`` in the place of ``old``, below everything in this draft that holds it."""
        planned = {key: new}
        swapped = {id(old): new.node}
        # What an artifact depends on is less deep than itself: it comes before it.
        for other, at in sorted(self.artifacts.items(), key=lambda item: item[1].node.depth):
            if other == key or not any(id(child) in swapped for child in at.node.children):
                continue
            deps = [swapped.get(id(child), child) for child in at.node.children]
            planned[other] = self._with_deps(at, deps)
            swapped[id(at.node)] = planned[other].node
        self.artifacts.update(planned)

    def annotate(self, key: str, notes: Mapping[str, str]) -> None:
        """Keep notes with an artifact of this draft, in the place of those it had.

        Raises:
            ArtifactNotFoundError: It was not registered in this draft.
        """
        artifact = self.artifacts.get(key)
        if artifact is None:
            raise ArtifactNotFoundError(
                f"{self.pipeline_id}:{key} is not in the open pipeline",
                hint="notes are made before complete_pipeline",
            )
        self.artifacts[key] = replace(artifact, notes=dict(notes))

    def again(self) -> PipelineDraft:
        """A draft in the same transaction that goes on from here and leaves this one as it is."""
        other = copy(self)
        other.artifacts, other.replaced = dict(self.artifacts), set(self.replaced)
        other.branches, other._deps = dict(self.branches), {}
        return other

    def move_to(self, txn: Transaction) -> None:
        """Go on in another transaction: all that was put is put again."""
        done: set[ObjectId] = set()
        if self.kept is not None:
            copy_closure(self.txn, txn, self.kept.oid, done)
        for artifact in self.artifacts.values():
            copy_closure(self.txn, txn, artifact.node.tree, done)
        self._deps.clear()
        self.txn = txn

    def keep(self, manifest: PipelineManifest) -> None:
        """Let the artifacts of another manifest stay: the last completed one, and adopted."""
        self.current = self.kept = manifest
        self._known = {}

    def go_on_from(self, done: PipelineDraft, manifest: PipelineManifest) -> None:
        """Keep what ``done``, from which this came :meth:`again`, has been committed with."""
        self.keep(manifest)
        for key, before in done.artifacts.items():
            artifact = self.artifacts[key]
            if artifact is before:
                del self.artifacts[key]
            else:
                self.artifacts[key] = replace(artifact, bumps=artifact.bumps - before.bumps)

    # --- the end ------------------------------------------------------------------------------

    def finish(self, current: PipelineManifest | None) -> PipelineManifest:
        """Put the manifest.

        Args:
            current: The last completed manifest as of now; another process may have completed
                this pipeline since the draft began.
        """
        numbering = Numbering(current)
        kept = self.kept
        children = dict(kept.artifacts.entries) if kept is not None else {}
        children.update(
            (key, TreeEntry(Kind.TREE, artifact.node.tree))
            for key, artifact in self.artifacts.items()
        )
        return numbering.put(
            self.txn,
            self.pipeline_id,
            self.run_id,
            self.created_at,
            Tree(children),
            Links(self._links(numbering, children), dict(self.branches)),
            encode_measures(self._measures()),
        )

    def _measures(self) -> dict[str, Measure]:
        """What statistics are made from: each artifact's type and size, without reading any."""
        measures = {} if self.kept is None else dict(self.kept.measures())
        for key, artifact in self.artifacts.items():
            record = artifact.record
            measures[key] = Measure(str(record.artifact_type), record.size_bytes)
        return measures

    def _links(
        self, numbering: Numbering, children: Mapping[str, TreeEntry]
    ) -> dict[str, KeyLinks]:
        names = InnerNames(self.pipeline_id, children)
        keys: dict[str, KeyLinks] = {}
        kept = self.kept
        for key, links in () if kept is None else kept.links.keys.items():
            if kept is None or key in self.artifacts:
                continue
            # What it depends on may be replaced by this draft and then needs a name of its own.
            inner = names.missing(kept.node(self.txn, key)) if links.deps else {}
            since = links.since + 1  # the same version, one manifest later
            if numbering.before is not kept and numbering.last(key) != kept.version(key):
                # Another process has completed the pipeline since: this replaces what it made.
                since = numbering.since(key, 1)
            keys[key] = replace(links, since=since, inner=inner)
        for key, artifact in sorted(self.artifacts.items(), key=lambda item: item[1].node.depth):
            keys[key] = KeyLinks(
                since=numbering.since(key, artifact.bumps),
                deps=tuple(artifact.record.depends_on),
                inner=names.missing(artifact.node),
                sources=artifact.sources,
                producer=artifact.record.producer_version,
                origin=artifact.origin,
                foreign={} if artifact.origin else artifact.node.foreign,
                notes=artifact.notes,
            )
        return keys
