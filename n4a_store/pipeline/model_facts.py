"""What is written beside a model's predictions: its name and scores, and what it came from.

The facts are the same in every run that trains the same pipeline on the same data, so that the
record that holds them is one object. They are what a later run reads to resume a sweep, to
reuse a fit and to find the best model, without loading anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from n4a_store.errors import CorruptionError
from n4a_store.pipeline.results import ResultRow, Scores

if TYPE_CHECKING:
    from n4a_store.pipeline.context import RuntimeContext
    from n4a_store.pipeline.evaluation import TrainedModel

__all__ = ["ModelFacts"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about one trained model.

    Args:
        model, class_name, task, step_index, branch_names: See :class:`ResultRow`.
        scores: Its numbers.
        definition: The content id of the pipeline's definition; empty when it has none.
        data: The content id of what it was trained on; empty when it has none.
        n_features: The number of features that the user's X had.
        feeds_stack: Whether a meta-model is fed by it.
        fits: Fits of the pipeline's transformers: key to the artifact's key in the manifest.
    """

    model: str
    class_name: str
    task: str
    step_index: int
    branch_names: tuple[str, ...]
    scores: tuple[Scores, ...]
    definition: str = ""
    data: str = ""
    n_features: int = 0
    feeds_stack: bool = False
    fits: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        context: RuntimeContext,
        fits: Mapping[str, str],
        *,
        feeds_stack: bool,
    ) -> ModelFacts:
        """The facts about a model that has just been trained."""
        prefix = len(context.pipeline_id) + 1
        return cls(
            model.name,
            model.class_name,
            model.task,
            model.selector.step_index or 0,
            model.selector.branch_names,
            model.scores,
            str(context.facts.get("definition", "")),
            str(context.facts.get("data", "")),
            int(context.training.X.shape[1]),
            feeds_stack,
            # Keys, not ids: the facts of two equal pipelines under two names are equal.
            {key: artifact_id[prefix:] for key, artifact_id in fits.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """As canonical values."""
        facts = asdict(self)
        facts["branch_names"] = list(self.branch_names)
        facts["scores"] = [asdict(scores) for scores in self.scores]
        facts["fits"] = dict(self.fits)
        return {"facts": facts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> ModelFacts:
        """The inverse of :meth:`to_dict`.

        Raises:
            CorruptionError: The record at ``where`` states something else.
        """
        try:
            facts = dict(data["facts"])
            facts["branch_names"] = tuple(facts["branch_names"])
            facts["scores"] = tuple(Scores(**scores) for scores in facts["scores"])
            return cls(**facts)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptionError(f"{where}: its facts cannot be read: {error}") from error

    def rows(self, run_id: str, pipeline_id: str, branch_path: Sequence[int]) -> list[ResultRow]:
        """The scores as rows of results."""
        return [
            ResultRow(
                run_id,
                pipeline_id,
                tuple(branch_path),
                self.branch_names,
                self.step_index,
                self.model,
                self.class_name,
                self.task,
                scores.fold_id,
                scores.partition,
                scores.n,
                scores.rmse,
                scores.r2,
                scores.accuracy,
                self.feeds_stack,
            )
            for scores in self.scores
        ]
