"""Taking over an existing workspace of flat artifact files with manifests of schema 2.0.

``binaries/<dataset>/<type>_<class>_<hash>.joblib`` beside ``runs/**/manifest.yaml``. Nothing is
ever unpickled here: a file is verified against the SHA-256 that its manifest declares and kept
as opaque bytes, with its declared format and its origin, so that loading it later asks for
trust. The source's files are only read. What cannot be taken is reported, item by item.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n4a_store.artifacts.drafted import NewArtifact
from n4a_store.artifacts.execution_path import ExecutionPath, parse_artifact_id
from n4a_store.artifacts.graph import ArtifactNode
from n4a_store.artifacts.incoming import artifact_ids, meta_part, with_sources
from n4a_store.artifacts.manifest import check_schema, load_yaml, read_text
from n4a_store.artifacts.params import canonical_params
from n4a_store.artifacts.record_blob import RecordBlob
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.types import MetaModelConfig, register_artifact_type
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    StoreError,
    StoreNotFoundError,
    UnsupportedFormatError,
)
from n4a_store.objects.model import RunStatus
from n4a_store.refs.names import check_name_component
from n4a_store.settings import CommitEach
from n4a_store.storage.foreign import read_verified

__all__ = ["ImportReport", "Refused", "check_legacy", "import_flat_workspace"]

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_FORMAT = re.compile(r"[a-z][a-z0-9_]{0,39}")
_UNSAFE = re.compile(r"[/\\:\x00-\x1f\x7f]|^\.")
_LEGACY = {
    "metadata.json": "a run with metadata.json instead of a manifest",
    "_binaries": "a run with a folder _binaries of its own",
    "objects": "a folder artifacts/objects",
}
_WAY_OUT = (
    "open it once with the program that wrote it and let that convert it to manifests of schema "
    "2.0, or train again"
)


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was not taken, and why.

    Args:
        damaged: Whether it is there and not what its manifest declares.
    """

    where: str
    reason: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Args:
        taken: The ids of the artifacts that were taken, by dataset.
        runs: The runs that were made, one for each run folder of the source.
        bytes: Bytes of the files that were taken.
        refused: What was not taken, files that no manifest names among it: whoever deletes the
            source afterwards loses nothing but that.
    """

    taken: Mapping[str, tuple[str, ...]]
    runs: tuple[str, ...]
    bytes: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class _Item:
    """A manifest's item, checked but for its file, which is read when its turn comes."""

    path: ExecutionPath
    fields: Mapping[str, Any]
    type: str
    format: str
    meta: MetaModelConfig | None
    deps: tuple[str, ...]
    where: str

    @property
    def hash(self) -> str:
        return str(self.fields.get("content_hash"))


def check_legacy(folder: str | os.PathLike[str]) -> None:
    """Recognise layouts that are too old to be taken.

    Raises:
        UnsupportedFormatError: The folder, or one below it, is of such a layout; says which and
            the way out.
    """
    for path, reason in _legacy(Path(folder)):
        raise UnsupportedFormatError(f"{path}: {reason} is not read", hint=_WAY_OUT)


def _legacy(folder: Path) -> Iterator[tuple[Path, str]]:
    for where, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            if name in _LEGACY and (name != "objects" or Path(where).name == "artifacts"):
                yield Path(where, name), _LEGACY[name]
        # What a legacy folder holds says nothing more.
        folders[:] = sorted(set(folders) - _LEGACY.keys())


def import_flat_workspace(
    source: str | os.PathLike[str],
    workspace: str | os.PathLike[str] | Workspace,
    dataset: str | None = None,
    *,
    trusted: bool = False,
) -> ImportReport:
    """Take over a workspace of flat files; into another folder, because it touches no file.

    Args:
        source: The workspace with ``binaries`` and ``runs``.
        workspace: Where the stores are or will be.
        dataset: Only this one.
        trusted: Load what is taken like what was trained here, without asking for trust.

    Raises:
        StoreNotFoundError: The source is no workspace, or has no such dataset.
        UnsupportedFormatError: It holds nothing but layouts that are too old.
        InvalidInputError: A store cannot be made where the source's own files are.
        BackendError: The target cannot be written; runs taken before stay.
    """
    root, target = Path(source).absolute(), Workspace(workspace)
    manifests = sorted(_manifests(root))
    if not manifests:
        check_legacy(root)
        raise StoreNotFoundError(
            f"{root} holds no manifests", hint="a workspace has runs/**/manifest.yaml"
        )
    refused = [Refused(str(path), f"{reason}; {_WAY_OUT}") for path, reason in _legacy(root)]
    taker = _Taker(root, target, refused, "" if trusted else f"flat files in {root}")
    for folder in dict.fromkeys(path.parent.parent for path in manifests):
        taker.take_run([path for path in manifests if path.parent.parent == folder], dataset)
    if dataset is not None and dataset not in taker.seen:
        raise StoreNotFoundError(f"{root} has no dataset {dataset!r}")
    taker.refuse_unnamed(dataset)
    return ImportReport(
        {name: tuple(ids) for name, ids in taker.taken.items()},
        tuple(taker.runs),
        taker.bytes,
        tuple(taker.refused),
    )


def _manifests(root: Path) -> Iterator[Path]:
    # os.walk follows no links to folders; a link to a file is refused when it is read.
    for where, folders, files in os.walk(root / "runs"):
        folders.sort()
        if "manifest.yaml" in files:
            yield Path(where, "manifest.yaml")


class _Taker:
    """One import as it goes on."""

    def __init__(self, root: Path, target: Workspace, refused: list[Refused], origin: str) -> None:
        self.root = root
        self.target = target
        self.refused = refused
        self.origin = origin
        self.taken: dict[str, list[str]] = {}
        self.runs: list[str] = []
        self.seen: set[str] = set()
        self.named: set[tuple[str, str]] = set()
        self.bytes = 0

    def take_run(self, paths: list[Path], only: str | None) -> None:
        """Take the manifests of one run folder, as one run for each dataset."""
        items: dict[str, dict[str, _Item]] = {}
        for path in paths:
            try:
                document = load_yaml(read_text(_regular(path)), str(path))
                section = check_schema(document, str(path))
                name = check_name_component(document.get("dataset", ""), what="dataset")
                listed = section.get("items")
                if not isinstance(listed, list):
                    raise InvalidInputError(f"{path}: items is a list")
            except StoreError as error:
                self._refuse(str(path), error)
                continue
            self.seen.add(name)
            if only not in (None, name):
                continue
            for place, item in enumerate(listed):
                where = f"{path}, item {place}"
                if isinstance(item, Mapping):
                    self.named.add((name, str(item.get("path"))))
                try:
                    checked = _check_item(item, where)
                except StoreError as error:
                    self._refuse(where, error)
                    continue
                by_id = items.setdefault(name, {})
                before = by_id.get(str(checked.path))
                if before is not None and before.hash != checked.hash:
                    reason = f"{checked.path} stands again in {where}, and the last is taken"
                    self.refused.append(Refused(before.where, reason))
                by_id[str(checked.path)] = checked
        for name, by_id in items.items():
            self._register(name, by_id, paths[0].parent.parent)

    def refuse_unnamed(self, only: str | None) -> None:
        """Report the files that no manifest names, of all datasets or of one."""
        folder = self.root / "binaries"
        for where, folders, files in os.walk(folder, onerror=self._refuse_folder):
            folders.sort()
            dataset = Path(where).relative_to(folder).parts[:1]
            if not dataset or only not in (None, dataset[0]):
                continue
            for name in sorted(files):
                if (dataset[0], name) not in self.named and not name.startswith("."):
                    reason = "no manifest that can be read names it"
                    self.refused.append(Refused(str(Path(where, name)), reason))

    def _refuse_folder(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._refuse(str(error.filename), error)

    def _refuse(self, where: str, error: Exception) -> None:
        self.refused.append(Refused(where, str(error), isinstance(error, CorruptionError)))
        log.info("not imported: %s: %s", where, error)

    def _new(self, dataset: str, item: _Item) -> NewArtifact:
        fields = item.fields
        data = self._content(dataset, fields)
        blob = RecordBlob(
            class_path=_text(fields, "class_name"),
            type=item.type,
            format=item.format,
            library=str(fields.get("format_version", "")),
            size=len(data),
            params=canonical_params(fields.get("params") or {}, None),
            meta=meta_part(item.meta),
        )
        producer = fields.get("producer_version") or fields.get("nirs4all_version")
        return NewArtifact(
            item.path,
            Payload(data),
            blob,
            () if item.meta is None else tuple(item.meta.source_ids),
            "" if producer is None else str(producer),
            origin=self.origin,
        )

    def _content(self, dataset: str, item: Mapping[str, Any]) -> bytes:
        """The bytes of an item's file, verified."""
        declared = _SHA256.fullmatch(str(item.get("content_hash", "")))
        if declared is None:
            raise InvalidInputError("content_hash is not 'sha256:' and 64 hex digits")
        name = _text(item, "path")
        if _UNSAFE.search(name):
            raise InvalidInputError(f"path {name!r:.80} is not one file name")
        file = _regular(self.root / "binaries" / dataset / name)
        data = read_verified(file, declared[1])
        if data is None:
            raise CorruptionError(f"{file} is not what its manifest declares (SHA-256 differs)")
        return data

    def _register(self, dataset: str, items: dict[str, _Item], folder: Path) -> None:
        if self.target.path == self.root:
            raise InvalidInputError(
                f"the flat files of {dataset} are in {self.root} themselves",
                hint="import into another workspace: files of the source are never touched",
            )
        run = OpenRun(
            lambda: self.target.create(dataset),
            dataset,
            message=f"imported from {folder}",
            commit_each=CommitEach.RUN,  # of thousands of pipelines: one pack, and one commit
        )
        try:
            for item in self._in_order(items):
                self._take(run, dataset, item)
            for pipeline_id in list(run.drafts):
                run.complete(pipeline_id)
        except BaseException:
            run.drop_waiting()
            run.end(RunStatus.FAILED)
            raise
        if run.end(RunStatus.COMPLETE):
            self.runs.append(run.id)
        log.info("imported run %s of %s from %s", run.id, dataset, folder)

    def _take(self, run: OpenRun, dataset: str, item: _Item) -> None:
        try:
            nodes = [self._node(run, name) for name in item.deps]
            new = self._new(dataset, item)
        except (StoreError, OSError) as error:
            self._refuse(item.where, error)
            return
        run.draft(item.path.pipeline_id).add(new, nodes)
        self.taken.setdefault(dataset, []).append(str(item.path))
        self.bytes += new.payload.size

    def _node(self, run: OpenRun, name: str) -> ArtifactNode:
        path = parse_artifact_id(name)
        draft = run.drafts.get(path.pipeline_id)
        if draft is None or path.key not in draft:
            raise InvalidInputError(f"it depends on {name}, which was not taken")
        return draft.node(path.key)

    def _in_order(self, items: dict[str, _Item]) -> list[_Item]:
        """Items after what they depend on; what waits for itself comes last and is refused."""
        done: dict[str, _Item] = {}
        waiting = dict(items)
        while ready := [
            name
            for name, item in waiting.items()
            if all(dep in done or dep not in items for dep in item.deps)
        ]:
            done.update((name, waiting.pop(name)) for name in ready)
        return [*done.values(), *waiting.values()]


def _check_item(item: Any, where: str) -> _Item:
    if not isinstance(item, Mapping):
        raise InvalidInputError("it is no map")
    path = parse_artifact_id(item.get("artifact_id", ""))
    form = item.get("format", "joblib")
    if form == "legacy_pickle":
        raise UnsupportedFormatError(f"format 'legacy_pickle' is not read; {_WAY_OUT}")
    if not isinstance(form, str) or not _FORMAT.fullmatch(form):
        raise InvalidInputError(f"format {form!r:.80} is no name")
    config = item.get("meta_config")
    meta = None if config is None else MetaModelConfig.from_dict(config)
    deps = artifact_ids(item.get("depends_on"), "depends_on")
    deps = with_sources(deps, () if meta is None else meta.source_ids)
    kind = str(register_artifact_type(item.get("artifact_type", "")))
    return _Item(path, item, kind, form, meta, tuple(deps), where)


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 1000:  # noqa: PLR2004
        raise InvalidInputError(f"{name} is missing or no text")
    return value


def _regular(path: Path) -> Path:
    """``path``, when it is a regular file and no link.

    Raises:
        InvalidInputError: It is something else.
        StoreNotFoundError: There is nothing.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise BackendError(f"cannot look at {path}: {error}") from error
    if not stat.S_ISREG(mode):
        raise InvalidInputError(f"{path} is no regular file")
    return path
