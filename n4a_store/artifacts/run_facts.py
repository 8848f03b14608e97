"""What a run object says beside its pipelines: the facts of one execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from n4a_store.artifacts.environment import environment
from n4a_store.artifacts.params import canonical_map
from n4a_store.artifacts.stored_runs import newest_run
from n4a_store.objects.model import Run, RunStatus
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.store import Store

__all__ = ["RunFacts"]


@dataclass(slots=True)
class RunFacts:
    """The facts of a run that is going on.

    Args:
        dataset: The dataset it runs on.
        created_at: When it began.
        message: Free text.
        details: What the runner wants to keep beside it.
        parents: The run before it.
        environment: Python, platform and library versions.

    Raises:
        InvalidInputError: The details have no canonical form.
    """

    dataset: str
    created_at: str
    message: str
    details: dict[str, Any]
    parents: tuple[ObjectId, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.details = canonical_map(self.details, "details")

    def learn(self, store: Store) -> None:
        """Learn which run came before it, and where it runs."""
        self.parents = newest_run(store)
        self.environment = environment(store.settings)

    def note(self, details: Mapping[str, Any]) -> None:
        """Add to the details.

        Raises:
            InvalidInputError: They are no map, or something in them has no canonical form.
        """
        self.details.update(canonical_map(details, "details"))

    def run(self, pipelines: ObjectId, status: RunStatus) -> Run:
        """The run object with these pipelines and this status."""
        return Run(
            pipelines=pipelines,
            dataset=self.dataset,
            created_at=self.created_at,
            status=status,
            parents=self.parents,
            environment=self.environment,
            message=self.message,
            details=self.details,
        )
