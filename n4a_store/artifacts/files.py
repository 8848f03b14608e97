"""Export to readable files: `<type>_<class>_<hash>.<ext>`, one for each different artifact.

The files are what other tools expect: a pickle that `pickle.load` or `joblib.load` reads, an
`.npy` that `np.load` reads. Each file's name says its content's hash; a file that is there
already is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from n4a_store.artifacts.inline import inline_buffers
from n4a_store.artifacts.manifest_tree import PipelineManifest, StoredArtifact
from n4a_store.artifacts.payload import payload_parts
from n4a_store.errors import InvalidNameError
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
        BackendError: The disk refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    with store.session():
        for manifest, key in wanted:
            record = manifest.record(store, key)
            name = record.path
            if Path(name).name != name or name in ("", ".", ".."):
                raise InvalidNameError(f"{name!r} cannot name a file")
            names.setdefault(name, []).append(record.artifact_id)
            if name in sizes:
                continue
            stored = StoredArtifact.read(store, manifest.artifacts[key].oid, record.artifact_id)
            data = inline_buffers(stored.blob.format, *payload_parts(store, stored.payload))
            if not (folder / name).exists():
                replace_file(folder / name, data)
            sizes[name] = len(data)
    return [ExportedFile(str(folder / n), tuple(ids), sizes[n]) for n, ids in names.items()]
