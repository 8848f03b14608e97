"""What a runner holds of an open run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from n4a_store.artifacts.manifest_files import write_renditions
from n4a_store.artifacts.manifest_tree import RUNS
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import InvalidInputError
from n4a_store.refs.names import check_name_component

if TYPE_CHECKING:
    from n4a_store.artifacts.registry import ArtifactRegistry
    from n4a_store.artifacts.workers import Handover, WorkerTicket

__all__ = ["RunHandle", "RunName", "run_id_of"]


class RunHandle:
    """An open run, as ``with registry.run() as run`` gives it."""

    def __init__(self, registry: ArtifactRegistry, run: OpenRun) -> None:
        self._registry = registry
        self._run = run

    @property
    def id(self) -> str:
        """The run's id, ``20261123_a1b2c3``; its ref is ``refs/runs/<id>``."""
        return self._run.id

    @property
    def created_at(self) -> str:
        """When it began."""
        return self._run.created_at

    @property
    def is_open(self) -> bool:
        """Whether it can still be registered into."""
        return self._run.is_open

    @property
    def completed(self) -> list[str]:
        """The pipelines that it has completed, in that order."""
        return list(dict.fromkeys((*self._run.completed, *self._run.waiting)))

    def __enter__(self) -> RunHandle:
        """For a run that :meth:`ArtifactRegistry.start_run` began; ends as ``run()`` does."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.is_open:
            return
        if error is None:
            self._registry.end_run()
        else:
            self._registry._fail_run(error)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from n4a_store.objects.html import facts_html

        facts: list[tuple[str, object]] = [
            ("state", "open" if self.is_open else "ended"),
            ("began", self.created_at),
            *(("completed", pipeline) for pipeline in self.completed),
        ]
        return facts_html(f"Run {self.id}", facts)

    def __reduce__(self) -> NoReturn:
        raise InvalidInputError(
            f"run {self.id} is open in this process and cannot be sent to another",
            hint="send run.worker_ticket(); there, with WorkerRegistry(ticket) as registry: …",
        )

    def __repr__(self) -> str:
        return f"<run {self.id}, {'open' if self.is_open else 'ended'}>"

    def __str__(self) -> str:
        return self.id

    def register(self, obj: Any, artifact_id: str, *args: Any, **kwargs: Any) -> ArtifactRecord:
        """As :meth:`ArtifactRegistry.register`, into this run and no other.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.check_open()
        return self._registry.register(obj, artifact_id, *args, **kwargs)

    def adopt_pipelines(self, pipeline_ids: Iterable[str]) -> None:
        """Hold pipelines that earlier runs completed, as they are: the run goes on from there.

        Raises:
            RefNotFoundError: One of them is not complete.
            TransactionClosedError: The run has ended.
        """
        wanted = list(pipeline_ids)
        self._run.adopt(wanted)
        store, kept = self._run.store, self._registry
        pipelines = store.get_tree(store.get_run(store.ref(self._run.ref).oid).pipelines)
        manifests = {name: pipelines[name].oid for name in wanted}
        write_renditions(kept.workspace.layout, kept.dataset, store, self.id, manifests)

    def worker_ticket(self) -> WorkerTicket:
        """What another process needs to register into this run.

        ::

            def train(ticket, at):
                with WorkerRegistry(ticket) as registry:
                    registry.register(fit(at), f"p{at}:0:all", "model")
                    return registry.hand_over()

            with registry.run() as run:
                ticket = run.worker_ticket()
                for made in Parallel(n_jobs=2)(delayed(train)(ticket, at) for at in range(20)):
                    run.adopt(made)

        Workers may share a pipeline, a fold each: what they made of it comes together. They see
        what is committed, so complete what they depend on before they begin.

        Raises:
            TransactionClosedError: The run has ended.
        """
        from n4a_store.artifacts.workers import worker_ticket

        self._run.check_open()
        return worker_ticket(self._registry)

    def adopt(self, handovers: Iterable[Handover]) -> None:
        """Complete, in one commit, the pipelines that workers of this run have handed over.

        What several workers made of one pipeline comes together, as if it had been registered
        here in that order; so does what the run has of it already.

        Raises:
            InvalidInputError: That is not what workers of this run have handed over.
            ObjectNotFoundError: A manifest was not made by a worker of this run.
            TransactionClosedError: The run has ended.
        """
        from n4a_store.artifacts.workers import adopt_handovers

        self._run.check_open()
        adopt_handovers(self._registry, handovers)

    def note(self, details: Mapping[str, Any]) -> None:
        """Add values to the run object's details, kept from the next commit on.

        A run that registers nothing and has a note is kept for the note when it ends.

        They are kept by the rule for parameters: a numpy scalar becomes the plain value, a tuple a
        list.

        Raises:
            InvalidInputError: They are no map, or one of them has no canonical form.
            TransactionClosedError: The run has ended.
        """
        self._run.note(details)

    def checkpoint(self) -> None:
        """As :meth:`ArtifactRegistry.checkpoint`.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.check_open()
        self._registry.checkpoint()

    def complete_pipeline(self, pipeline_id: str) -> None:
        """As :meth:`ArtifactRegistry.complete_pipeline`.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.check_open()
        self._registry.complete_pipeline(pipeline_id)


RunName = str | RunHandle
"""A run: by its id, by its ref, or as a registry gave it."""


def run_id_of(run: RunName) -> str:
    """The id of a run.

    Raises:
        InvalidNameError: It cannot be one.
    """
    text = run.id if isinstance(run, RunHandle) else run
    if isinstance(text, str):
        text = text.removeprefix(RUNS)
    return check_name_component(text, what="run id")
