"""The three kinds of objects as frozen values.

A :class:`Blob` is bytes. A :class:`Tree` maps names to children and knows each child's kind, so
that a walk never has to look up a leaf. A :class:`Run` is what a commit is to git: one tree of
pipelines plus the facts of one execution (clock, host, environment), which stand nowhere else.

Values are valid once constructed; what cannot be encoded canonically is refused here or by
``codec``, never repaired silently.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from n4a_store.errors import InvalidInputError
from n4a_store.objects.frozen import FrozenMap
from n4a_store.objects.oid import Kind, ObjectId

__all__ = ["Blob", "Object", "Run", "RunStatus", "Tree", "TreeEntry", "Value"]

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"
"""What the canonical encoding can hold."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes without meaning."""

    data: bytes


@dataclass(frozen=True, slots=True, order=True)
class TreeEntry:
    """A child of a tree: its kind and its id."""

    kind: Kind
    oid: ObjectId


@dataclass(frozen=True, slots=True)
class Tree:
    """Names to children, with optional small attributes.

    Args:
        entries: The children by name. Names are non-empty strings.
        attrs: Facts about the tree itself, as canonical values. Only pipeline manifests use
            them: a tree of artifacts has none, so that equal artifacts stay one object.
    """

    entries: Mapping[str, TreeEntry]
    attrs: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Python orders text by code point, which is the order of its UTF-8 bytes.
        ordered = {name: self.entries[name] for name in sorted(self.entries)}
        object.__setattr__(self, "entries", FrozenMap.of(ordered))
        object.__setattr__(self, "attrs", FrozenMap.of(self.attrs))

    def __getitem__(self, name: str) -> TreeEntry:
        return self.entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __hash__(self) -> int:
        return hash(tuple(self.entries.items()))


class RunStatus(enum.StrEnum):
    """How far a run came. A change of status is a new run object."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Shown for a run that is stored as running while its process is gone; never stored."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution: which pipelines it holds and the facts true only of it.

    Args:
        pipelines: The id of the tree from pipeline ids to pipeline manifests.
        dataset: The dataset it ran on.
        created_at: When it began, ISO 8601 in UTC.
        status: How far it came.
        parents: Earlier runs, as recorded ids. Nothing follows them: a parent may be gone.
        environment: Python, platform and library versions; host and user only if configured.
        message: Free text.
        details: What a runner wants to keep beside it, as canonical values.
    """

    pipelines: ObjectId
    dataset: str
    created_at: str
    status: RunStatus
    parents: tuple[ObjectId, ...] = ()
    environment: Mapping[str, Value] = field(default_factory=dict)
    message: str = ""
    details: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # What cannot be read back must not be written.
        for name in ("dataset", "created_at", "message"):
            if type(getattr(self, name)) is not str:
                raise InvalidInputError(f"the {name} of a run is text")
        try:
            object.__setattr__(self, "status", RunStatus(self.status))
        except ValueError:
            raise InvalidInputError(f"no status of a run: {self.status!r}") from None
        if self.status is RunStatus.INTERRUPTED:
            raise InvalidInputError(
                "a run is not stored as interrupted", hint="store it as running or failed"
            )
        object.__setattr__(self, "parents", tuple(self.parents))
        object.__setattr__(self, "environment", FrozenMap.of(self.environment))
        object.__setattr__(self, "details", FrozenMap.of(self.details))

    def __hash__(self) -> int:
        return hash((self.pipelines, self.dataset, self.created_at, self.status))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from n4a_store.objects.html import facts_html

        facts: list[tuple[str, object]] = [
            ("dataset", self.dataset),
            ("status", self.status),
            ("created", self.created_at),
            ("message", self.message),
            ("pipelines", self.pipelines),
            *(("parent", parent) for parent in self.parents),
        ]
        return facts_html("Run", facts)


Object: TypeAlias = Blob | Tree | Run
