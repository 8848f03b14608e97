"""What a run says when it is over: scores, what failed and why, what was reused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.fit_cache import FitReport
from n4a_store.pipeline.results import ModelScore, Results, rank_models

__all__ = ["Outcome", "PipelineOutcome", "RunResult"]


_SHOWN = 10


class Outcome(StrEnum):
    """How one pipeline of a run ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    RESUMED = "resumed"
    """It was complete already, and was not trained again."""


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    """One pipeline of a run.

    Args:
        error: Why it failed; empty unless it did.
        seconds: How long it took.
    """

    pipeline_id: str
    outcome: Outcome
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that is over.

    Args:
        run_id: The run, as ``refs/runs/<run_id>`` has it.
        dataset: What it trained on.
        outcomes: Every pipeline, in the order of training.
        results: The scores of those that are complete.
        fits: How many transformers were fitted, and how many reused.
        seconds: How long all of it took.
    """

    run_id: str
    dataset: str
    outcomes: tuple[PipelineOutcome, ...]
    results: Results
    fits: FitReport = field(default_factory=FitReport)
    seconds: float = 0.0

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run_id

    @property
    def pipelines(self) -> tuple[str, ...]:
        """The ids of the pipelines that are complete."""
        return tuple(o.pipeline_id for o in self.outcomes if o.outcome is not Outcome.FAILED)

    @property
    def failures(self) -> Mapping[str, str]:
        """Why each failed pipeline failed."""
        return {o.pipeline_id: o.error for o in self.outcomes if o.outcome is Outcome.FAILED}

    def _repr_html_(self) -> str:
        """What a notebook shows: the best models, and what failed."""
        from n4a_store.objects.html import facts_html, table_html

        facts: list[tuple[str, object]] = [
            ("dataset", self.dataset),
            ("complete", len(self.pipelines)),
            ("seconds", f"{self.seconds:.1f}"),
            *((f"failed: {pipeline}", why) for pipeline, why in self.failures.items()),
        ]
        try:
            ranked = self.ranking()[:_SHOWN]
        except InvalidInputError:  # regressors and classifiers: nothing says which is better
            ranked = []
        best = [
            (at.pipeline_id, "/".join(map(str, at.branch_path)), at.model, f"{at.score:.4g}")
            for at in ranked
        ]
        head = ("pipeline", "branch", "model", "score")
        return facts_html(f"Run {self.run_id}", facts) + table_html("Best models", head, best)

    def ranking(self) -> list[ModelScore]:
        """All models, best first."""
        return rank_models(self.results)

    @property
    def best(self) -> ModelScore:
        """The best model of the run.

        Raises:
            InvalidInputError: No pipeline is complete; the message says why the first failed.
        """
        ranked = self.ranking()
        if not ranked:
            said = next((f": {p}: {why}" for p, why in self.failures.items()), "")
            raise InvalidInputError(f"no pipeline of run {self.run_id} is complete{said}")
        return ranked[0]
