"""What a process that may be killed at any moment said before it went on.

A ledger is a text file that one process appends to, each line with one ``write`` on a descriptor
opened with ``O_APPEND``: a kill leaves it whole up to some line. Before a commit the writer states
what it intends; when the commit has returned it says so, and only then goes on. Whoever reads the
ledger afterwards knows what was acknowledged and which single intention may have gone either way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Ledger", "Standing", "read_ledger"]

Refs = dict[str, str]
"""Ref names with the hex ids that they hold."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a ledger says.

    Args:
        refs: What every ref of its writer must hold by all that was acknowledged.
        pending: The changes of an intention without an answer (None: deleted), or None.
        commits: How many commits were acknowledged.
        unsure: How many intentions were settled only after their writer had died.
    """

    refs: Refs
    pending: dict[str, str | None] | None
    commits: int
    unsure: int

    def allowed(self) -> list[Refs]:
        """Every state in which the refs may be: the acknowledged one, or with the intention."""
        if self.pending is None:
            return [self.refs]
        return [self.refs, changed(self.refs, self.pending)]


def changed(refs: Refs, changes: Mapping[str, str | None]) -> Refs:
    """``refs`` after ``changes``."""
    after = {**refs, **{name: oid for name, oid in changes.items() if oid is not None}}
    return {name: oid for name, oid in after.items() if changes.get(name, oid) is not None}


class Ledger:
    """A ledger that is being written."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def say(self, say: str, **more: Any) -> None:
        """Append one line."""
        line = (json.dumps({"say": say, **more}) + "\n").encode()
        if os.write(self._fd, line) != len(line):
            raise OSError(f"a ledger line of {len(line)} bytes was cut short")

    def intend(self, changes: Mapping[str, str | None]) -> None:
        """Say what the next commit is going to change."""
        self.say("intend", changes=dict(changes))

    def acknowledge(self) -> None:
        """Say that the commit has returned."""
        self.say("done")

    def withdraw(self) -> None:
        """Say that the commit was refused, and that nothing changed."""
        self.say("refused")

    def settle(self, happened: bool) -> None:
        """Say what became of an intention whose writer died before the answer."""
        self.say("settled", happened=happened)


def read_ledger(path: Path) -> Standing:
    """What the ledger at ``path`` says; an empty standing when there is none."""
    refs: Refs = {}
    pending: dict[str, str | None] | None = None
    commits = unsure = 0
    text = path.read_text() if path.exists() else ""
    for line in text.splitlines():
        entry = json.loads(line)
        say = entry["say"]
        if say == "intend":
            pending = entry["changes"]
            continue
        if pending is not None and (say == "done" or (say == "settled" and entry["happened"])):
            refs = changed(refs, pending)
            commits += 1
        unsure += say == "settled"
        if say in ("done", "settled", "refused"):
            pending = None
    return Standing(refs, pending, commits, unsure)
