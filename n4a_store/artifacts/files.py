"""Export to readable files: `<type>_<class>_<hash>.<ext>`, one for each different artifact.

The files are what other tools expect: a pickle that `pickle.load` or `joblib.load` reads, an
`.npy` that `np.load` reads, a model of another library in that library's own format. The hash in
a name is short, for people, and never decides: where the name stands for other content already,
among these artifacts or in the folder, the whole hash takes its place. A file that is there
already with the same bytes is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from n4a_store.artifacts.inline import inline_buffers
from n4a_store.artifacts.manifest_tree import PipelineManifest, StoredArtifact
from n4a_store.artifacts.payload import payload_parts
from n4a_store.artifacts.types import HASH_PREFIX, ArtifactRecord
from n4a_store.errors import InvalidInputError, InvalidNameError
from n4a_store.repo.store import Store
from n4a_store.storage.files import replace_file

__all__ = ["ExportedFile", "export_files"]


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file, and the artifacts that it holds the content of."""

    path: str
    artifact_ids: tuple[str, ...]
    size: int


def export_files(
    store: Store, wanted: Iterable[tuple[PipelineManifest, str]], folder: Path
) -> list[ExportedFile]:
    """Write artifacts as files into `folder`, which is created.

    Args:
        wanted: Manifests and keys.

    Raises:
        CorruptionError: An artifact is damaged; files written before it stay.
        InvalidInputError: `folder` is a file, or other files are in the way; none is overwritten.
        BackendError: The disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InvalidInputError(
            f"{folder} is a file, not a folder", hint="name a folder, which is made if need be"
        ) from None
    files: dict[str, tuple[str, list[str], int]] = {}
    taken: set[str] = set()
    with store.session():
        for manifest, key in wanted:
            record = manifest.record(store, key)
            # Equal content may be two files: a class of one name and another type, or format.
            same = f"{record.path} {record.content_hash}"
            if same in files:
                files[same][1].append(record.artifact_id)
                continue
            stored = StoredArtifact.read(store, manifest.artifacts[key].oid, record.artifact_id)
            data = inline_buffers(stored.blob.format, *payload_parts(store, stored.payload))
            path = _write(folder, record, data, taken)
            taken.add(path.name)
            files[same] = (str(path), [record.artifact_id], len(data))
    return [ExportedFile(path, tuple(ids), size) for path, ids, size in files.values()]


def _write(folder: Path, record: ArtifactRecord, data: bytes, taken: set[str]) -> Path:
    whole = record.content_hash.removeprefix(HASH_PREFIX)
    for name in (record.path, record.path.replace(record.short_hash, whole)):
        if Path(name).name != name or name in ("", ".", ".."):
            raise InvalidNameError(f"{name!r} cannot name a file")
        path = folder / name
        if name in taken:
            continue
        if not path.exists():
            replace_file(path, data)
            return path
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return path
    raise InvalidInputError(
        f"{folder} holds other files where {record.artifact_id} would go: {record.path}",
        hint="export into an empty folder",
    )
