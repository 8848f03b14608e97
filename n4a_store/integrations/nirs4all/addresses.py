"""What nirs4all's catalog says about an artifact that is kept here instead of in a file.

Its rows have a column for the path of a file. For ours it reads
``n4a_store/<dataset>/<pipeline>/<key>``, which no file ever has, and which a nirs4all without
this integration names in its error.
"""

from __future__ import annotations

from dataclasses import dataclass

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import ObjectId

__all__ = ["Address", "is_address"]

_SCHEME = "n4a_store/"
_PARTS = 3
_HANDOVER = "#"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an artifact is kept.

    Args:
        dataset: The dataset's store.
        pipeline_id: The pipeline there.
        key: The key in its manifest.
        handover: In what a worker returns, the manifest that its run is to adopt.
    """

    dataset: str
    pipeline_id: str
    key: str
    handover: ObjectId | None = None

    @property
    def artifact_id(self) -> str:
        """Its id in the store."""
        return f"{self.pipeline_id}:{self.key}"

    def __str__(self) -> str:
        text = f"{_SCHEME}{self.dataset}/{self.pipeline_id}/{self.key}"
        return text if self.handover is None else f"{text}{_HANDOVER}{self.handover.hex}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """The inverse of ``str``.

        Raises:
            CorruptionError: It is no address.
        """
        where, _, handover = text.partition(_HANDOVER)
        parts = where.removeprefix(_SCHEME).split("/")
        if not is_address(text) or len(parts) != _PARTS:
            raise CorruptionError(f"nirs4all's catalog: {text!r:.120} is no place in a store")
        dataset, pipeline_id, key = parts
        manifest = ObjectId.from_hex(handover) if handover else None
        return cls(dataset, pipeline_id, key, manifest)


def is_address(path: object) -> bool:
    """Whether the path of a row or record is one of ours."""
    return isinstance(path, str) and path.startswith(_SCHEME)
