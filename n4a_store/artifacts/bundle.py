"""Bundles: one file with all that some results need, for another store.

::

    "N4BUNDLE" u8 version u8[3]  u32 LE header length
    header: canonical msgpack {"schema", "dataset", "created_at", "refs": {name: kind byte + id}}
    blake3(all bytes above)
    a pack

An artifact travels in a manifest of its own pipeline that holds just it and what it depends on,
so that it keeps its id. Import verifies every byte before a ref is set. What came from elsewhere
says so in its manifest's links, outside of any artifact's id, and loading it asks for trust.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from n4a_store.artifacts.environment import now
from n4a_store.artifacts.graph import closure
from n4a_store.artifacts.links import Links, decode_links, encode_links
from n4a_store.artifacts.manifest_tree import (
    ARTIFACTS,
    LINKS,
    MEASURES,
    PIPELINES,
    PipelineManifest,
)
from n4a_store.artifacts.measures import encode_measures
from n4a_store.artifacts.subject import (
    ArtifactSubject,
    ObjectSubject,
    PipelineSubject,
    RunSubject,
    Subject,
)
from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    UnsupportedFormatError,
)
from n4a_store.objects.codec import decode_value, encode_value, pack_entry, unpack_entry
from n4a_store.objects.model import TreeEntry, Value
from n4a_store.objects.oid import Kind, ObjectId, hash_object
from n4a_store.objects.trees import encode_tree
from n4a_store.refs.names import check_ref_name, namesakes
from n4a_store.repo.exchange import ASK_AGAIN, Received, read_whole, receive_pack, write_pack
from n4a_store.repo.history import RUN_REFS, reach
from n4a_store.repo.revision import object_called
from n4a_store.repo.store import Store
from n4a_store.repo.tags import TAGS
from n4a_store.repo.transaction import Transaction
from n4a_store.storage.clock import fits_in_utc
from n4a_store.storage.files import (
    AppendFile,
    map_file,
    move_file,
    remove_file,
    sync_folder,
)

__all__ = [
    "Bundle",
    "Exported",
    "Imported",
    "check_bundle",
    "export_bundle",
    "import_bundle",
    "open_bundle",
]

MAGIC = b"N4BUNDLE"
VERSION = 1
SCHEMA = 1
_HEAD = struct.Struct("<8sB3xI")
_HASH_BYTES = 32
_MOST_HEADER = 64 * 1024 * 1024
_SPACES = (TAGS, PIPELINES, RUN_REFS)
_KINDS = {PIPELINES: Kind.TREE, RUN_REFS: Kind.RUN}  # a tag names either
_Extra = tuple[Kind, bytes, ObjectId]


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: what its header says, and the pack, not yet verified."""

    dataset: str
    created_at: str
    refs: Mapping[str, TreeEntry]
    pack: memoryview


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: str
    refs: tuple[str, ...]
    objects: int
    size: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read.

    Args:
        refs: The refs that were set or were there already.
        trusted: Whether all of it loads without asking for trust.
    """

    refs: tuple[str, ...]
    received: Received
    trusted: bool


# --- writing --------------------------------------------------------------------------------


def export_bundle(
    store: Store,
    subjects: Iterable[tuple[str, Subject]],
    dataset: str,
    path: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a bundle of runs, pipelines and artifacts, with all that they need.

    Args:
        subjects: What to export, each with the name that led to it; a tag travels too.
        path: A file that does not exist yet.
        progress: Called after each object with the bytes written so far and the bytes in all,
            uncompressed.

    Raises:
        InvalidInputError: The file exists, or a subject is a plain object.
        CorruptionError: Something to export is damaged: nothing was written.
    """
    refs: dict[str, TreeEntry] = {}
    extra: list[_Extra] = []
    with store.session():
        for name, subject in subjects:
            refs.update(_refs_of(store, name, subject, extra))
        made = {oid for _, _, oid in extra}
        roots = [entry for entry in refs.values() if entry.oid not in made]
        oids = [found.oid for found in reach(store, [*roots, *_outside(extra, made)])]
        packed: dict[str, Any] = {name: pack_entry(entry) for name, entry in refs.items()}
        header = encode_value(
            {"schema": SCHEMA, "dataset": dataset, "created_at": now(), "refs": packed}
        )
        head = _HEAD.pack(MAGIC, VERSION, len(header)) + header
        if path.exists():
            raise InvalidInputError(f"{path} exists already", hint="choose another name")
        if not path.absolute().parent.is_dir():
            raise InvalidInputError(f"there is no folder {path.parent}", hint="create it first")
        # Under another name until it is whole: a torn bundle never has the name asked for.
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        file = AppendFile(draft)
        try:
            file.write(head + blake3(head).digest())
            step = None if progress is None else _against(store, oids, progress)
            objects = write_pack(store, oids, file.write, extra, step)
            file.sync()
            move_file(draft, path)
            sync_folder(path.absolute().parent)
        finally:
            file.close()
            remove_file(draft)
    return Exported(str(path), tuple(refs), objects, path.stat().st_size)


def _against(
    store: Store, oids: Iterable[ObjectId], progress: Callable[[int, int], None]
) -> Callable[[int], None]:
    """Progress as bytes done against the bytes of all `oids`."""
    total = sum(store.info(oid).size for oid in oids)
    return lambda done: progress(done, total)


def _refs_of(
    store: Store, name: str, subject: Subject, extra: list[_Extra]
) -> dict[str, TreeEntry]:
    refs: dict[str, TreeEntry] = {}
    if isinstance(subject, ObjectSubject):
        raise InvalidInputError(
            f"'{name}' is a plain object",
            hint="export runs, pipelines, artifacts or tags; pack-objects takes any object",
        )
    if isinstance(subject, RunSubject):
        refs[RUN_REFS + subject.entry.run_id] = TreeEntry(Kind.RUN, subject.entry.oid)
        held = store.get_tree(subject.entry.run.pipelines).entries
        refs |= {PIPELINES + pipeline: entry for pipeline, entry in held.items()}
        target = refs[RUN_REFS + subject.entry.run_id]
    elif isinstance(subject, PipelineSubject):
        target = TreeEntry(Kind.TREE, subject.manifest.oid)
        refs[PIPELINES + subject.manifest.pipeline_id] = target
    else:
        if subject.manifest is None or subject.key is None:
            raise InvalidInputError(
                f"'{name}' has no id any more", hint="export an artifact by its id"
            )
        # A tag of an artifact stays at home: it could not say where the artifact came from.
        return {PIPELINES + subject.manifest.pipeline_id: _alone(store, subject, extra)}
    tag = name if name.startswith(TAGS) else TAGS + name
    if ":" not in name and "@" not in name and "/" not in tag.removeprefix(TAGS):
        ref = store.find_ref(tag)
        if ref is not None:
            refs[tag] = target
    return refs


def _alone(store: Store, subject: ArtifactSubject, extra: list[_Extra]) -> TreeEntry:
    """A manifest with one artifact and what it depends on, added to `extra`."""
    manifest, key = subject.manifest, subject.key
    assert manifest is not None and key is not None  # noqa: PT018
    prefix = f"{manifest.pipeline_id}:"
    keys = {key}
    for node in closure(manifest.node(store, key)):
        own = node.artifact_id.removeprefix(prefix)
        held = manifest.artifacts.entries.get(own)
        if node.artifact_id.startswith(prefix) and held is not None and held.oid == node.tree:
            keys.add(own)
    artifacts = {name: entry for name, entry in manifest.artifacts.entries.items() if name in keys}
    links = Links(
        {name: links for name, links in manifest.links.keys.items() if name in keys},
        manifest.links.branches,
    )

    measures = manifest.measures()

    def emit(kind: Kind, data: bytes) -> ObjectId:
        oid = hash_object(kind, data)
        extra.append((kind, data, oid))
        return oid

    blob = TreeEntry(Kind.BLOB, emit(Kind.BLOB, encode_links(links)))
    tree = encode_tree(artifacts, {}, lambda data: emit(Kind.TREE, data))
    attrs: dict[str, Value] = {
        "serial": manifest.serial,
        "created_at": manifest.created_at,
        "run": manifest.run_id,
        MEASURES: encode_measures({name: measures[name] for name in artifacts}),
    }
    entries = {ARTIFACTS: TreeEntry(Kind.TREE, tree), LINKS: blob}
    return TreeEntry(Kind.TREE, encode_tree(entries, attrs, lambda data: emit(Kind.TREE, data)))


def _outside(extra: list[_Extra], made: set[ObjectId]) -> list[TreeEntry]:
    """What the made objects hold and the store has."""
    from n4a_store.objects.children import raw_children

    return [
        TreeEntry(Kind(child_kind), ObjectId(child))
        for kind, data, _ in extra
        for child_kind, child in raw_children(kind, data)
        if ObjectId(child) not in made
    ]


# --- reading --------------------------------------------------------------------------------


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and check its header.

    Raises:
        BackendError: There is no such file.
        InvalidInputError: The file is no bundle.
        CorruptionError: It is one, and damaged.
        UnsupportedFormatError: It is of a later version.
    """
    try:
        data = map_file(path)
    except FileNotFoundError as error:
        raise BackendError(f"{path}: no such file", hint="check the path") from error
    if bytes(data[: len(MAGIC)]) != MAGIC or len(data) < _HEAD.size:
        raise InvalidInputError(
            f"{path} is not a bundle", hint="'n4a-store artifacts export' writes one"
        )
    _, version, length = _HEAD.unpack(data[: _HEAD.size])
    if version != VERSION:
        raise UnsupportedFormatError(f"{path} is a bundle of version {version}")
    end = _HEAD.size + length
    if length > _MOST_HEADER or len(data) < end + _HASH_BYTES:
        raise CorruptionError(f"bundle {path}: it is cut short", hint=ASK_AGAIN)
    if blake3(data[:end]).digest() != bytes(data[end : end + _HASH_BYTES]):
        raise CorruptionError(f"bundle {path}: its header is damaged", hint=ASK_AGAIN)
    return _decode_header(path, decode_value(data[_HEAD.size : end]), data[end + _HASH_BYTES :])


def _decode_header(path: Path, header: object, pack: memoryview) -> Bundle:
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise UnsupportedFormatError(f"{path} is a bundle of an unknown schema")
    dataset, created_at, packed = (header.get(key) for key in ("dataset", "created_at", "refs"))
    if not (isinstance(dataset, str) and isinstance(created_at, str) and isinstance(packed, dict)):
        raise CorruptionError(f"bundle {path}: its header has wrong fields")
    _check_moment(f"bundle {path}", created_at)
    refs: dict[str, TreeEntry] = {}
    for name, entry in packed.items():
        if not check_ref_name(name).startswith(_SPACES):
            raise InvalidInputError(f"bundle {path} would set {name}")
        refs[name] = target = unpack_entry(entry)
        kind = next((kind for space, kind in _KINDS.items() if name.startswith(space)), target.kind)
        if target.kind is not kind:
            raise InvalidInputError(
                f"bundle {path} would let {name} name a {target.kind.label}, not a {kind.label}"
            )
    return Bundle(dataset, created_at, refs, pack)


def check_bundle(path: Path) -> Bundle:
    """Open a bundle and verify every byte of it; raises as `open_bundle` does."""
    bundle = open_bundle(path)
    read_whole(bundle.pack, path.name)
    return bundle


def import_bundle(
    store: Store,
    path: Path,
    *,
    replace_refs: bool = False,
    trusted: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Take a bundle into a store.

    Args:
        replace_refs: Whether refs that stand elsewhere may be moved, and names may come to mean
            something else; undo brings them back.
        trusted: Whether its artifacts may be loaded like one's own.
        progress: Called after each object with the bytes put so far and the bytes in all.

    Raises:
        InvalidInputError: It is no bundle, a ref stands elsewhere, or a name that means something
            here would mean something else; no ref was set.
        CorruptionError: It is damaged; no ref was set.
    """
    bundle = open_bundle(path)
    origin = "" if trusted else f"bundle {path.name}"
    taken: list[str] = []

    def finish(txn: Transaction) -> None:
        marked: dict[ObjectId, TreeEntry] = {}
        # Tags last: they follow what they name to its marked form.
        for name, entry in sorted(bundle.refs.items(), key=lambda item: item[0].startswith(TAGS)):
            now_at = store.find_ref(name)
            if now_at is not None and now_at.oid == entry.oid:
                marked[entry.oid] = entry  # it stands here as it is, and is trusted as it was
                continue
            target = marked.get(entry.oid) or _mark(txn, name, entry, origin)
            marked[entry.oid] = target
            if now_at is not None and now_at.oid != target.oid and not replace_refs:
                raise InvalidInputError(
                    f"{name} exists already, at another object; no ref was set",
                    hint="--force replaces it, and undo brings it back",
                )
            if now_at is None and not replace_refs:
                _refuse_another_meaning(store, name)
            txn.set_ref(name, target, expect=None if now_at is None else now_at.oid)
            taken.append(name)

    received = receive_pack(store, bundle.pack, path.name, finish, progress)
    return Imported(tuple(bundle.refs), received, trusted or not taken)


def _refuse_another_meaning(store: Store, new: str) -> None:
    """Refuse a ref beside which a short name would not mean what it does.

    Raises:
        InvalidInputError: Something of another kind is called like it here, or an object's id
            begins so.
    """
    called = [there for there in namesakes(new) if store.find_ref(there) is not None]
    for there in (*called, object_called(store, new)):
        if there is not None:
            raise InvalidInputError(
                f"{new} would be called like {there}, and a name that means that now could mean "
                "either; no ref was set",
                hint="--force takes it all the same, and undo takes it back",
            )


def _check_manifests(txn: Transaction, ref: str, entry: TreeEntry) -> None:
    """Refuse what everybody would stumble over, whoever is trusted.

    Raises:
        CorruptionError: A pipeline's ref, or a run, names something that is no manifest.
    """
    if entry.kind is Kind.RUN:
        run = txn.get_run(entry.oid)
        _check_moment(ref, run.created_at)
        for name, child in txn.get_tree(run.pipelines).entries.items():
            _check_manifests(txn, PIPELINES + name, child)
    elif ref.startswith(PIPELINES):
        manifest = PipelineManifest.read(txn, ref.removeprefix(PIPELINES), entry.oid)
        _check_moment(ref, manifest.created_at)


def _check_moment(what: str, stamp: str) -> None:
    if not fits_in_utc(stamp):
        raise CorruptionError(f"{what} is of {stamp}, which UTC does not have", hint=ASK_AGAIN)


def _mark(txn: Transaction, ref: str, entry: TreeEntry, origin: str) -> TreeEntry:
    """The same run or manifest with its origin written down."""
    if not origin:
        _check_manifests(txn, ref, entry)
        return entry
    if entry.kind is Kind.RUN:
        run = txn.get_run(entry.oid)
        _check_moment(ref, run.created_at)
        pipelines = {
            name: _mark(txn, PIPELINES + name, child, origin)
            for name, child in txn.get_tree(run.pipelines).entries.items()
        }
        return TreeEntry(Kind.RUN, txn.put_run(replace(run, pipelines=txn.put_tree(pipelines))))
    tree = txn.get_tree(entry.oid)
    if set(tree) != {ARTIFACTS, LINKS}:
        # Only a manifest can say where its artifacts came from; anything else would be trusted.
        raise InvalidInputError(
            f"{ref} names no run or pipeline", hint="--trust takes it, if you trust the sender"
        )
    manifest = PipelineManifest.read(txn, ref.removeprefix(PIPELINES), entry.oid)
    _check_moment(ref, manifest.created_at)
    links = decode_links(txn.view(tree[LINKS].oid))
    keys = {key: replace(value, origin=value.origin or origin) for key, value in links.keys.items()}
    blob = TreeEntry(Kind.BLOB, txn.put_blob(encode_links(replace(links, keys=keys))))
    entries = {ARTIFACTS: tree[ARTIFACTS], LINKS: blob}
    return TreeEntry(Kind.TREE, txn.put_tree(entries, tree.attrs))
