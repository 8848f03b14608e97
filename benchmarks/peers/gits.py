"""git and what writes its format: a pickle is a blob, a pipeline a commit with its own ref."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

from benchmarks.peers.base import Peer, needs_command, needs_module
from benchmarks.peers.workload import Registration

__all__ = ["Dulwich", "Git", "GitRepacked"]


def _ref(pipeline: str) -> str:
    return f"refs/pipelines/{pipeline}"


class Git(Peer):
    """``git fast-import``, the fastest way in, and ``git cat-file --batch``, the fastest out.

    It syncs once, at its end; its blobs are zlib level 1.
    """

    name = "git fast-import"
    level: ClassVar[str] = "1"

    @classmethod
    def missing(cls) -> str | None:
        """The program."""
        return needs_command("git")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._git("init", "-q", "--bare", ".")
        self._git("config", "pack.compression", self.level)
        self._git("config", "core.compression", self.level)
        self._git("config", "gc.auto", "0")
        self.entries: list[str] = []
        self.count = 0
        self.importer: subprocess.Popen[bytes] | None = None
        self.reader: subprocess.Popen[bytes] | None = None

    def _git(self, *words: str) -> None:
        subprocess.run(
            ["git", *words], cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _import(self) -> IO[bytes]:
        if self.importer is None:
            self.importer = subprocess.Popen(
                ["git", "fast-import", "--quiet"], cwd=self.folder, stdin=subprocess.PIPE
            )
        assert self.importer.stdin is not None
        return self.importer.stdin

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """A blob command."""
        del pipeline
        data = pickle.dumps(obj, 5)
        self.count += 1
        self._import().write(b"blob\nmark :%d\ndata %d\n" % (self.count, len(data)))
        self._import().write(data)
        self._import().write(b"\n")
        self.entries.append(f"M 100644 :{self.count} {at.artifact}\n")

    def commit(self, pipeline: str) -> None:
        """A commit command."""
        head = f"commit {_ref(pipeline)}\ncommitter b <b@b> 0 +0000\ndata 0\n"
        self._import().write((head + "".join(self.entries) + "\n").encode())
        self._import().flush()
        self.entries.clear()

    def finish(self) -> None:
        """The importer writes its pack when it ends."""
        if self.importer is not None:
            self.importer.communicate()
            if self.importer.returncode:
                raise AssertionError("git fast-import failed")
            self.importer = None
        self._stop_reading()

    def load(self, artifact: str) -> Any:
        """Ask for ``ref:path``."""
        if self.reader is None:
            self.reader = subprocess.Popen(
                ["git", "cat-file", "--batch"],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self.reader.stdin is not None
        assert self.reader.stdout is not None
        pipeline = artifact.partition(":")[0]
        self.reader.stdin.write(f"{_ref(pipeline)}:{artifact}\n".encode())
        self.reader.stdin.flush()
        size = int(self.reader.stdout.readline().split()[2])
        data = self.reader.stdout.read(size + 1)
        return pickle.loads(memoryview(data)[:size])

    def _stop_reading(self) -> None:
        if self.reader is not None:
            self.reader.communicate()
            self.reader = None

    def fsck(self) -> None:
        """``git fsck --full``."""
        self._git("fsck", "--full")

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Drop the ref."""
        del artifacts
        self._git("update-ref", "-d", _ref(pipeline))

    def gc(self) -> None:
        """``git gc --prune=now``."""
        self._stop_reading()
        self._git("gc", "-q", "--prune=now")

    def close(self) -> None:
        """End the programs."""
        self.finish()


class GitRepacked(Git):
    """The same, then the best that git can do for size."""

    name = "git repack -f window 50"
    heavy = True

    def settle(self) -> None:
        """Search deltas anew."""
        self._git("repack", "-adfq", "--window=50")


class Dulwich(Peer):
    """git's format from Python: loose objects, one commit a pipeline."""

    name = "dulwich"
    heavy = True

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("dulwich", "bench")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from dulwich.repo import Repo

        self.repo: Any = Repo.init_bare(str(folder))
        self.tree: Any = None

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """A loose blob."""
        del pipeline
        from dulwich.objects import Blob, Tree

        blob = Blob.from_string(pickle.dumps(obj, 5))
        if blob.id not in self.repo.object_store:
            self.repo.object_store.add_object(blob)
        if self.tree is None:
            self.tree = Tree()
        self.tree.add(at.artifact.encode(), 0o100644, blob.id)

    def commit(self, pipeline: str) -> None:
        """Tree, commit, ref."""
        from dulwich.objects import Commit

        self.repo.object_store.add_object(self.tree)
        commit = Commit()
        commit.tree = self.tree.id
        commit.author = commit.committer = b"b <b@b>"
        commit.author_time = commit.commit_time = 0
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = pipeline.encode()
        self.repo.object_store.add_object(commit)
        self.repo.refs[_ref(pipeline).encode()] = commit.id
        self.tree = None

    def load(self, artifact: str) -> Any:
        """Ref, commit, tree, blob."""
        commit = self.repo[self.repo.refs[_ref(artifact.partition(":")[0]).encode()]]
        _, oid = self.repo[commit.tree][artifact.encode()]
        return pickle.loads(self.repo[oid].data)

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Drop the ref."""
        del artifacts
        del self.repo.refs[_ref(pipeline).encode()]

    def gc(self) -> None:
        """Its own collector."""
        from dulwich.gc import garbage_collect

        garbage_collect(self.repo, prune=True, grace_period=None)

    def close(self) -> None:
        """Close it."""
        self.repo.close()
