"""A disk that may lose power: what was synced stays, what was not may be there in part.

The model is stricter than any journaling file system, so that what survives it survives them:

- a file's content is what its last fsync saw; each write and truncation since then may have
  reached the disk wholly, not at all, or in any subset of its 512-byte sectors;
- a folder's names are what its last fsync saw; each creation, rename, link and removal since then
  may have reached the disk or not, independently of the others and of any file's content;
- fsync of a file says nothing about its name;
- a rename is atomic; it is durable when either of its folders has been synced.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from n4a_store.testing.recorder import Call

__all__ = ["Choice", "Disk", "Image"]

SECTOR = 512

Image = dict[str, bytes | None]
"""A crashed disk: content by relative path; None for a folder."""


@dataclass(slots=True)
class _File:
    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: truncated there


@dataclass(slots=True)
class _Folder:
    durable: dict[str, _Node] = field(default_factory=dict)
    now: dict[str, _Node] = field(default_factory=dict)


_Node = _File | _Folder


@dataclass(slots=True)
class _Naming:
    """Names that one call changed at once: put (a node) or taken (None)."""

    changes: list[tuple[_Folder, str, _Node | None]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of the pending changes.

    Args:
        names: Whether the n-th pending naming has reached the disk.
        content: The content of a file with pending writes.
    """

    names: Callable[[int, int], bool]
    content: Callable[[_File], bytes]


def _apply(data: bytearray, at: int, piece: bytes | None) -> None:
    if piece is None:
        del data[at:]
        data.extend(bytes(at - len(data)))
    else:
        data.extend(bytes(max(0, at + len(piece) - len(data))))
        data[at : at + len(piece)] = piece


def _lost(file: _File) -> bytes:
    return file.durable


def _kept(file: _File) -> bytes:
    data = bytearray(file.durable)
    for at, piece in file.pending:
        _apply(data, at, piece)
    return bytes(data)


def _torn(rng: random.Random) -> Callable[[_File], bytes]:
    share = rng.choice((0.2, 0.5, 0.8))

    def content(file: _File) -> bytes:
        data = bytearray(file.durable)
        for at, piece in file.pending:
            if piece is None:
                if rng.random() < share:
                    _apply(data, at, None)
                continue
            begin = at
            while begin < at + len(piece):
                end = min(at + len(piece), (begin // SECTOR + 1) * SECTOR)
                if rng.random() < share:
                    _apply(data, begin, piece[begin - at : end - at])
                begin = end
        return bytes(data)

    return content


def _prefix(rng: random.Random) -> Callable[[_File], bytes]:
    def content(file: _File) -> bytes:
        data = bytearray(file.durable)
        for at, piece in file.pending[: rng.randint(0, len(file.pending))]:
            _apply(data, at, piece)
        return bytes(data)

    return content


class Disk:
    """The disk as a recorded program leaves it, call by call.

    Args:
        root: The folder that was recorded; it exists, durably, and is empty.
    """

    def __init__(self, root: str) -> None:
        self._root = PurePosixPath(root)
        self._top = _Folder()
        self._inodes: dict[int, _Node] = {}
        self._pending: list[_Naming] = []

    # --- following the program ----------------------------------------------------------------

    def _parent(self, path: str) -> tuple[_Folder, str]:
        parts = PurePosixPath(path).relative_to(self._root).parts
        folder = self._top
        for part in parts[:-1]:
            below = folder.now[part]
            assert isinstance(below, _Folder), path
            folder = below
        return folder, parts[-1]

    def _name(self, *changes: tuple[_Folder, str, _Node | None]) -> None:
        for folder, name, node in changes:
            if node is None:
                folder.now.pop(name, None)
            else:
                folder.now[name] = node
        self._pending.append(_Naming(list(changes)))

    def follow(self, call: Call) -> None:
        """Let one recorded call happen."""
        if call.kind == "W":
            self._file(call).pending.append((call.at, call.a))
        elif call.kind == "T":
            self._file(call).pending.append((call.at, None))
        elif call.kind == "F":
            self._sync(call.inode)
        elif call.kind in "CM":
            node: _Node = _File() if call.kind == "C" else _Folder()
            self._inodes[call.inode] = node
            self._name((*self._parent(call.path), node))
        elif call.kind in "UD":
            self._name((*self._parent(call.path), None))
        elif call.kind in "RL":
            source, target = self._parent(call.path), self._parent(call.target)
            node = source[0].now[source[1]]
            moved = [(*target, node)]
            gone = [(*source, None)] if call.kind == "R" else []
            self._name(*gone, *moved)

    def _file(self, call: Call) -> _File:
        node = self._inodes[call.inode]
        assert isinstance(node, _File)
        return node

    def _sync(self, inode: int) -> None:
        node = self._inodes.get(inode, self._top)  # the recorded folder itself was there before
        if isinstance(node, _File):
            node.durable = _kept(node)
            node.pending.clear()
            return
        waiting: list[_Naming] = []
        for naming in self._pending:
            if not any(folder is node for folder, _, _ in naming.changes):
                waiting.append(naming)
                continue
            for folder, name, child in naming.changes:
                if child is None:
                    folder.durable.pop(name, None)
                else:
                    folder.durable[name] = child
                for earlier in waiting:  # they can no longer undo what came after them
                    earlier.changes = [
                        change
                        for change in earlier.changes
                        if not (change[0] is folder and change[1] == name)
                    ]
        self._pending = [naming for naming in waiting if naming.changes]

    # --- losing power -------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether nothing is pending, so that every choice gives the same image."""
        files = (node for node in self._inodes.values() if isinstance(node, _File))
        return not self._pending and not any(file.pending for file in files)

    def choices(self, rng: random.Random, random_ones: int) -> Iterator[Choice]:
        """All kept (a kill), all lost, names and content each lost alone, then random ones."""
        for names in (True, False):
            for content in (_kept, _lost):
                yield Choice(lambda _at, _of, names=names: names, content)  # type: ignore[misc]
        for number in range(random_ones):
            share = rng.choice((0.3, 0.5, 0.8))
            if number % 2:
                cut = rng.random()
                yield Choice(lambda at, of, cut=cut: at < cut * of, _prefix(rng))  # type: ignore[misc]
            else:
                yield Choice(
                    lambda _at, _of, share=share: rng.random() < share,  # type: ignore[misc]
                    _torn(rng),
                )

    def crash(self, choice: Choice) -> Image:
        """What is on the disk when the power comes back."""
        durable: dict[int, dict[str, _Node]] = {}

        def names(folder: _Folder) -> dict[str, _Node]:
            return durable.setdefault(id(folder), dict(folder.durable))

        for number, naming in enumerate(self._pending):
            if choice.names(number, len(self._pending)):
                for folder, name, node in naming.changes:
                    if node is None:
                        names(folder).pop(name, None)
                    else:
                        names(folder)[name] = node
        image: Image = {}
        contents: dict[int, bytes] = {}

        def walk(folder: _Folder, prefix: str) -> None:
            for name, node in sorted(names(folder).items()):
                if isinstance(node, _Folder):
                    image[prefix + name] = None
                    walk(node, f"{prefix}{name}/")
                else:
                    if id(node) not in contents:
                        contents[id(node)] = choice.content(node)
                    image[prefix + name] = contents[id(node)]

        walk(self._top, "")
        return image
