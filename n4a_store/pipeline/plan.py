"""What a run is going to train: each pipeline with its id, parsed before the first fit.

A pipeline id reads ``<number>_<name>_<six hex digits of the definition>``: the number keeps the
order of the sweep, the digits keep two definitions apart. The same definition at the same place
has the same id in every run, so that training it again adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.controllers import CONTROLLERS, Controller
from n4a_store.pipeline.data import TrainingData
from n4a_store.pipeline.fingerprint import Describer, Uncertain, data_id, digest
from n4a_store.pipeline.generators import expand
from n4a_store.pipeline.steps import Program, parse_pipeline

__all__ = ["PipelinePlan", "data_identity", "plan_pipelines"]

_DIGITS = 4
_LONGEST_NAME = 40
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """One pipeline of a run.

    Args:
        pipeline_id: Its id.
        program: Its steps.
        definition: The content id of its definition with the libraries' versions; empty when
            nothing certain can be said about it.
    """

    pipeline_id: str
    program: Program
    definition: str


def plan_pipelines(
    pipeline: Sequence[Any] | Mapping[str, Any],
    name: str | None = None,
    controllers: Sequence[Controller] = CONTROLLERS,
) -> list[PipelinePlan]:
    """Every pipeline that a definition stands for, in the order of training.

    Raises:
        InvalidInputError: The definition has a mistake; the message names the step.
    """
    if name is not None and not isinstance(name, str):
        raise InvalidInputError(f"name is text, not {name!r:.80}")
    variants = expand(pipeline)
    width = max(_DIGITS, len(str(len(variants))))
    plans = []
    # Variants share most of their steps: one description of each is enough.
    loose, strict = Describer(strict=False, versions=False), Describer()
    for number, steps in enumerate(variants, start=1):
        try:
            program = parse_pipeline(steps, controllers)
        except InvalidInputError as error:
            if len(variants) > 1:
                error.add_note(f"in variant {number} of {len(variants)}")
            raise
        label = digest(loose.value(steps))[:6]
        pipeline_id = f"{number:0{width}d}_{_slug(name or _main_model(program))}_{label}"
        plans.append(PipelinePlan(pipeline_id, program, _definition(steps, strict)))
    return plans


def _definition(steps: Sequence[Any], describer: Describer) -> str:
    try:
        return digest(describer.value(list(steps)))
    except Uncertain:
        return ""


def _main_model(program: Program) -> str:
    """The name of the last step that trains: what the pipeline is for."""
    named = [step.name for step in program.walk() if step.keyword in ("model", "stack")]
    return named[-1] if named else "pipeline"


def _slug(name: str) -> str:
    return _UNFIT.sub("-", name).strip("-_")[:_LONGEST_NAME] or "pipeline"


def data_identity(data: TrainingData) -> str:
    """The content id of all that a run trains and scores on; empty when it has none."""
    parts: dict[str, Any] = {"X": data.X, "y": data.y, "groups": data.groups}
    parts |= {"X_test": data.X_test, "y_test": data.y_test}
    try:
        ids = {name: None if p is None else data_id(p) for name, p in parts.items()}
        # The same numbers under other names are other data: what predicts must know these names.
        return digest(ids if data.columns is None else ids | {"columns": data.columns.digest})
    except Uncertain:
        return ""
