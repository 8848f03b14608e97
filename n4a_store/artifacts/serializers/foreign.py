"""Reading what other programs wrote, kept as the bytes they wrote: never chosen for writing.

An imported file is stored as it is, with the name that its manifest gave the format. All of
these can run code that the file chooses, so they load on trust only.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, Payload
from n4a_store.errors import SerializationError
from n4a_store.objects.oid import BytesLike

__all__ = ["ForeignJoblib", "ForeignPickle", "foreign_serializers"]


class ForeignPickle:
    """A whole pickle in one file.

    Args:
        name: What manifests call the format.
    """

    extension = "pkl"
    needs_trust = True

    def __init__(self, name: str) -> None:
        self.format = name

    def handles(self, obj: Any) -> bool:  # noqa: ARG002
        """Nothing: it only reads."""
        return False

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """Always an error: it only reads.

        Raises:
            SerializationError: Always.
        """
        del obj, threshold
        raise SerializationError(f"format {self.format!r} is only read")

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The object.

        Raises:
            SerializationError: Its classes are not here or refuse its state.
        """
        del buffers
        try:
            return self._read(skeleton)
        except MemoryError:
            raise
        except Exception as error:
            # Unpickling runs other people's code: anything may come out.
            raise SerializationError(
                f"cannot be read as {self.format}: {type(error).__name__}: {error}",
                hint="is the library of the same version as the record's format_version?",
            ) from error

    def _read(self, skeleton: BytesLike) -> Any:
        return pickle.loads(skeleton)


class ForeignJoblib(ForeignPickle):
    """A file of ``joblib.dump``, compressed or not."""

    extension = "joblib"

    def _read(self, skeleton: BytesLike) -> Any:
        import joblib

        return joblib.load(io.BytesIO(skeleton))


def foreign_serializers() -> tuple[ForeignPickle, ...]:
    """One for each format of the past that is still read."""
    pickles = ("pickle", "pkl", "cloudpickle", "sklearn_pickle")
    return (ForeignJoblib("joblib"), *(ForeignPickle(name) for name in pickles))
