"""What a peer must answer to take part; whatever it cannot do raises :class:`CannotError`."""

from __future__ import annotations

import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peers.workload import Registration

__all__ = ["CannotError", "Peer", "bytes_below", "needs_command", "needs_module"]


class CannotError(Exception):
    """This peer has no such operation; the table prints "-"."""


class Peer(ABC):
    """One way to keep fitted objects.

    Args:
        folder: An empty folder of its own.

    Attributes:
        name: What the table calls it.
        heavy: Slow, or large to install: it takes part in the full form only.
        durable: Whether an acknowledged commit survives a power cut.
        subset: Only so many pipelines are stored, because more would take hours; 0 for all.
    """

    name: ClassVar[str]
    heavy: ClassVar[bool] = False
    durable: ClassVar[bool] = False
    subset: ClassVar[int] = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot take part here, or None."""
        return None

    @abstractmethod
    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Store one object under its id."""

    @abstractmethod
    def load(self, artifact: str) -> Any:
        """The object of an id, made anew."""

    def commit(self, pipeline: str) -> None:  # noqa: B027 - not every peer has it
        """Make a pipeline visible; durable where the peer can."""

    def finish(self) -> None:  # noqa: B027
        """The end of all training: what still has to be written is written now."""

    def load_pipeline(self, pipeline: str, artifacts: Sequence[str]) -> list[Any]:
        """All objects of a pipeline, as somebody who wants to predict with it loads them."""
        return [self.load(artifact) for artifact in artifacts]

    def load_readonly(self, artifact: str) -> Any:
        """As :meth:`load`; arrays may be read-only."""
        raise CannotError

    def settle(self) -> None:
        """Make what is stored as small as it gets."""
        raise CannotError

    def stats(self) -> int:
        """Bytes on disk."""
        return bytes_below(self.folder)

    def fsck(self) -> None:
        """Check every stored byte; raise when one is wrong."""
        raise CannotError

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Forget a pipeline."""
        raise CannotError

    def gc(self) -> None:
        """Give back the space of what nothing names any more."""
        raise CannotError

    def close(self) -> None:  # noqa: B027
        """Let go of files."""


def bytes_below(folder: Path) -> int:
    """The sizes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def needs_module(module: str, extra: str) -> str | None:
    """Why a peer that is a Python package is missing, or None."""
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed: pip install -e '.[{extra}]'"
    return None


def needs_command(command: str) -> str | None:
    """Why a peer that is a program is missing, or None."""
    return None if shutil.which(command) else f"{command} is not on PATH"
