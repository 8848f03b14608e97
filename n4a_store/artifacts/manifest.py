"""Manifests read from files: checked before anything is believed.

A manifest may have been edited by hand, torn, or made to do harm. YAML tags, more parts than any
real manifest has (aliases written out), wrong types, ids and names that break their rules are
each an :class:`InvalidInputError`; another schema is an :class:`UnsupportedFormatError` that says
the way out. Nothing in a manifest is ever used as a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from n4a_store.artifacts.execution_path import check_pipeline_id
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.rendition import SCHEMA_VERSION, render
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    StoreError,
    StoreNotFoundError,
    UnsupportedFormatError,
)
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.refs.names import check_name_component
from n4a_store.repo.store import Store

__all__ = [
    "CheckedManifest",
    "check_against",
    "check_manifest",
    "check_schema",
    "find_workspace",
    "load_yaml",
    "read_manifest_file",
]

MAX_BYTES = 64 * 1024 * 1024
MAX_PARTS = 1_000_000
MAX_SEPARATORS = 500_000
MAX_DEPTH = 64
MAX_ITEMS = 100_000
MAX_LARGE_KEYS = 1_000
_LARGE = re.compile(r"[-+]?(0x[0-9a-fA-F_]{16,}|[0-9][0-9_:]{17,}|0b[01_]{61,})")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WAY_OUT = (
    "write it again with schema 2.0: retrain, or convert it with the program that wrote it; then "
    "n4a-store artifacts import takes it"
)


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """A manifest of schema 2.0 whose every field has been checked.

    Args:
        run_id: The run it belongs to; None when it does not say.
        pipeline_id: The pipeline; None when its items are of several.
        manifest: The tree that it shows, when it says so.
    """

    dataset: str
    run_id: str | None
    pipeline_id: str | None
    created_at: str
    records: tuple[ArtifactRecord, ...]
    manifest: ObjectId | None = None


def load_yaml(text: str, what: str) -> Any:
    """Plain values from YAML.

    Raises:
        InvalidInputError: It is not YAML, or uses tags, or is too large.
    """
    if text.count(",") + text.count("\n") > MAX_SEPARATORS:
        raise InvalidInputError(f"{what} has more than {MAX_SEPARATORS} lines and items")
    try:
        _check_events(text, what)
        return yaml.load(text, Loader=_LOADER)  # a safe loader: plain values only
    except yaml.YAMLError as error:
        raise InvalidInputError(
            f"{what} is not YAML: {' '.join(str(error).split())}",
            hint="was it torn or edited by hand? the store can print it again",
        ) from error
    except (ValueError, RecursionError) as error:
        # Dates that do not exist, numbers too long, nesting without end.
        if isinstance(error, StoreError):
            raise
        raise InvalidInputError(f"{what} holds a malformed value: {error}") from error


def _check_events(text: str, what: str) -> None:
    """Look at the stream before anything is built from it: it may be small and mean much.

    An alias counts as all that it stands for. YAML writers make them of any value that occurs
    twice, so they are not refused as such.
    """
    total = 0  # parts, aliases written out
    open_since: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    keys = _Keys()
    for event in yaml.parse(text, Loader=_LOADER):
        total += 1
        if keys.count(event) > MAX_LARGE_KEYS:
            raise InvalidInputError(f"{what} has more than {MAX_LARGE_KEYS} keys of many digits")
        anchor: str | None = getattr(event, "anchor", None)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise InvalidInputError(f"{what} uses a YAML tag {tag!r}: {_place(event)}")
        if isinstance(event, yaml.AliasEvent):
            if anchor not in sizes:
                raise InvalidInputError(f"{what} holds a value inside itself: {_place(event)}")
            total += sizes[anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_since.append((anchor, total))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, start = open_since.pop()
            if anchor is not None:
                sizes[anchor] = total - start
        elif anchor is not None:
            sizes[anchor] = 1
        if total > MAX_PARTS:
            raise InvalidInputError(f"{what} has more than {MAX_PARTS} parts")
        if len(open_since) > MAX_DEPTH:
            raise InvalidInputError(f"{what} is nested deeper than {MAX_DEPTH} levels")


class _Keys:
    """Counts the keys of maps that are integers of many digits.

    Their hashes can be made to collide, so that each is compared with all before it. No manifest
    has any: its keys are names.
    """

    def __init__(self) -> None:
        self._turns: list[int | None] = []  # of each open collection; None in a list
        self._large = 0

    def count(self, event: Any) -> int:
        """How many there were, this event included."""
        if isinstance(event, yaml.CollectionEndEvent):
            self._turns.pop()
        elif isinstance(event, yaml.NodeEvent):
            turn = self._turns[-1] if self._turns else None
            if turn is not None:
                self._turns[-1] = turn + 1
                if turn % 2 == 0 and isinstance(event, yaml.ScalarEvent):
                    self._large += event.implicit[0] and bool(_LARGE.fullmatch(event.value))
            if isinstance(event, yaml.CollectionStartEvent):
                self._turns.append(0 if isinstance(event, yaml.MappingStartEvent) else None)
        return self._large


def _place(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def read_manifest_file(path: Path, dataset: str | None = None) -> CheckedManifest:
    """Read and check a manifest's file; see :func:`check_manifest`.

    Raises:
        StoreNotFoundError: There is no such file.
        InvalidInputError: It is malformed; the message names the file and the place.
        UnsupportedFormatError: It is of another schema.
    """
    return check_manifest(load_yaml(read_text(path), str(path)), str(path), dataset)


def read_text(path: Path) -> str:
    """The text of a file of bounded size.

    Raises:
        StoreNotFoundError: There is no such file.
        InvalidInputError: It is too large or not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInputError(f"{path} is larger than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreNotFoundError(f"there is no manifest {path}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise BackendError(f"cannot read {path}: {error}") from error


def check_schema(document: Any, what: str = "manifest") -> Mapping[str, Any]:
    """The part of a manifest that has ``schema_version`` and ``items``.

    That is the manifest itself, or its ``artifacts`` section.

    Raises:
        InvalidInputError: It is no manifest at all.
        UnsupportedFormatError: It is of schema 1, or of one that came later.
    """
    if not isinstance(document, Mapping):
        raise InvalidInputError(f"{what} is a map, not {type(document).__name__}")
    section = document
    if "items" not in document and "artifacts" in document:
        section = document["artifacts"]
        if isinstance(section, list):
            raise UnsupportedFormatError(
                f"{what} is of schema 1: its artifacts are a flat list", hint=_WAY_OUT
            )
        if not isinstance(section, Mapping):
            raise InvalidInputError(f"{what}: artifacts is a map with items")
    version = section.get("schema_version", document.get("schema_version"))
    if version is None:
        raise InvalidInputError(f"{what} has no schema_version", hint="a manifest begins with it")
    if str(version) != SCHEMA_VERSION:
        raise UnsupportedFormatError(
            f"{what} is of schema {str(version)!r:.40}; this program reads {SCHEMA_VERSION!r}",
            hint=_WAY_OUT,
        )
    return section


def check_manifest(
    document: Any, what: str = "manifest", dataset: str | None = None
) -> CheckedManifest:
    """Check a manifest of schema 2.0 field by field.

    Args:
        document: What was read.
        what: What errors call it.
        dataset: Of which dataset it is where it does not say so, as one that is no more than its
            ``schema_version`` and ``items``.

    Raises:
        InvalidInputError: Something in it is malformed; says where.
        UnsupportedFormatError: It is of another schema or holds a format of the past.
    """
    section = check_schema(document, what)
    items = section.get("items")
    if not isinstance(items, list):
        raise InvalidInputError(f"{what}: items is a list")
    if len(items) > MAX_ITEMS:
        raise InvalidInputError(f"{what} has {len(items)} items; at most {MAX_ITEMS} are read")
    named = document.get("dataset", dataset)
    if named is None:
        raise InvalidInputError(f"{what} names no dataset")
    dataset = check_name_component(named, what="dataset")
    run_id = document.get("run_id")
    if run_id is not None:
        run_id = check_name_component(run_id, what="run id")
    records = tuple(_item(item, place, what) for place, item in enumerate(items))
    seen: set[str] = set()
    for record in records:
        if record.artifact_id in seen:
            raise InvalidInputError(f"{what} lists {record.artifact_id} twice")
        seen.add(record.artifact_id)
    pipelines = {record.pipeline_id for record in records}
    stated = document.get("pipeline_id")
    if stated is not None:
        stated = check_pipeline_id(stated)
        if pipelines - {stated}:
            raise InvalidInputError(f"{what} of pipeline {stated} lists artifacts of others")
    elif len(pipelines) == 1:
        stated = pipelines.pop()
    created_at = document.get("created_at", "")
    shown = document.get("manifest")
    oid = None if shown is None else ObjectId.from_hex(shown)
    return CheckedManifest(dataset, run_id, stated, str(created_at), records, oid)


def check_against(store: Store, checked: CheckedManifest) -> None:
    """Refuse a manifest that lists other artifacts than the tree that it says it shows.

    A tree that the store no longer has proves nothing either way.

    Raises:
        InvalidInputError: It was cut short or edited, or the tree is no manifest.
    """
    if checked.manifest is None or checked.pipeline_id is None or not store.has(checked.manifest):
        return
    what = f"the manifest of pipeline {checked.pipeline_id}"
    if store.kind(checked.manifest) is not Kind.TREE:
        raise InvalidInputError(f"{what} says that it shows {checked.manifest.short(12)}, no tree")
    try:
        stored = PipelineManifest.read(store, checked.pipeline_id, checked.manifest)
    except CorruptionError as error:
        raise InvalidInputError(f"{what} shows what is no manifest: {error}") from error
    held = _as_text(stored.record(store, path.key) for path in stored.paths())
    listed = _as_text(checked.records)
    if held != listed:
        differ = sorted(name for name in held.keys() | listed if held.get(name) != listed.get(name))
        raise InvalidInputError(
            f"{what} does not list what {checked.manifest.short(12)} holds: {differ[0]}"
            + (f" and {len(differ) - 1} more" if len(differ) > 1 else ""),
            hint="it was torn or edited: 'n4a-store artifacts manifest' prints it again; without "
            "its line 'manifest:' it stands for itself",
        )


def _as_text(records: Iterable[ArtifactRecord]) -> dict[str, str]:
    """Records by id as a file shows them, where a NaN is a NaN and bytes are text.

    In which order a map names its values says nothing: another program may have written it again.
    """
    return {at.artifact_id: render({"items": [_in_order(at.to_dict())]}) for at in records}


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: str(item[0]))
        return {name: _in_order(item) for name, item in items}
    return [_in_order(item) for item in value] if isinstance(value, list | tuple) else value


def _item(item: Any, place: int, what: str) -> ArtifactRecord:
    try:
        if isinstance(item, Mapping) and item.get("format") == "legacy_pickle":
            raise UnsupportedFormatError("format 'legacy_pickle' is not read", hint=_WAY_OUT)
        return ArtifactRecord.from_dict(item)
    except UnsupportedFormatError as error:
        raise UnsupportedFormatError(f"{what}, item {place}: {error}", hint=error.hint) from error
    except InvalidInputError as error:
        raise InvalidInputError(f"{what}, item {place}: {error}", hint=error.hint) from error


def find_workspace(folder: str | os.PathLike[str]) -> Path:
    """The workspace that a folder lies in: the nearest that has ``binaries``.

    Raises:
        StoreNotFoundError: There is none.
    """
    start = Path(folder).absolute()
    for candidate in (start, *start.parents):
        if (candidate / "binaries").is_dir():
            return candidate
    raise StoreNotFoundError(
        f"there is no workspace around {start}", hint="a workspace has a folder 'binaries'"
    )
