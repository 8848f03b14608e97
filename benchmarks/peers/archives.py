"""Backup programs: pickles in a folder, the folder in a deduplicated archive.

They are made for files that stand somewhere already, so what is timed is a pickle file each and
one archive of all; single objects come back through the program.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from abc import abstractmethod
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Peer, bytes_below, needs_command
from benchmarks.peers.workload import Registration

__all__ = ["Borg", "Restic"]


class _Archive(Peer):
    """A folder of pickles that is archived at the end."""

    heavy = True
    subset = 4

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.repository = folder / "repository"
        self.staged = folder / "staged"
        self.staged.mkdir()
        self.sessions = 0
        self.where: dict[str, int] = {}
        self.create()

    @abstractmethod
    def create(self) -> None:
        """Make the repository."""

    @abstractmethod
    def archive(self, number: int) -> None:
        """Archive the staged folder."""

    @abstractmethod
    def dump(self, number: int, name: str) -> bytes:
        """One file of an archive."""

    def run(self, *words: str) -> bytes:
        """Run the program in the staged folder; what it prints."""
        secret = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.repository)}
        quiet = {"BORG_REPO": str(self.repository), "BORG_BASE_DIR": str(self.folder)}
        done = subprocess.run(
            words, cwd=self.staged, check=True, capture_output=True,
            env={**os.environ, **secret, **quiet},
        )  # fmt: skip
        return done.stdout

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """A pickle file."""
        del pipeline
        name = at.artifact.replace(":", "_")
        (self.staged / name).write_bytes(pickle.dumps(obj, 5))
        self.where[at.artifact] = self.sessions

    def finish(self) -> None:
        """Archive the folder and empty it."""
        self.archive(self.sessions)
        self.sessions += 1
        shutil.rmtree(self.staged)
        self.staged.mkdir()

    def load(self, artifact: str) -> Any:
        """One file out of its archive."""
        return pickle.loads(self.dump(self.where[artifact], artifact.replace(":", "_")))

    def stats(self) -> int:
        """The repository alone."""
        return bytes_below(self.repository)


class Restic(_Archive):
    """restic: encrypted, chunked by content."""

    name = "restic (subset)"

    @classmethod
    def missing(cls) -> str | None:
        """The program."""
        return needs_command("restic")

    def create(self) -> None:
        """Make the repository."""
        self.run("restic", "init", "--quiet")

    def archive(self, number: int) -> None:
        """A snapshot, tagged with its number."""
        self.run("restic", "backup", "--quiet", "--tag", str(number), ".")

    def dump(self, number: int, name: str) -> bytes:
        """One file of the latest snapshot with that tag."""
        return self.run("restic", "dump", "--quiet", "--tag", str(number), "latest", f"/{name}")

    def fsck(self) -> None:
        """Read everything."""
        self.run("restic", "check", "--quiet", "--read-data")


class Borg(_Archive):
    """borg: chunked by content, lz4."""

    name = "borg (subset)"

    @classmethod
    def missing(cls) -> str | None:
        """The program."""
        return needs_command("borg")

    def create(self) -> None:
        """Make the repository."""
        self.run("borg", "init", "--encryption=none")

    def archive(self, number: int) -> None:
        """An archive called by its number."""
        self.run("borg", "create", f"::{number}", ".")

    def dump(self, number: int, name: str) -> bytes:
        """One file."""
        return self.run("borg", "extract", "--stdout", f"::{number}", name)

    def fsck(self) -> None:
        """Read everything."""
        self.run("borg", "check", "--verify-data")
