"""Which models a name means: from a ref, a run, a pipeline, a branch or a fold to artifacts.

Selecting reads manifests and records, never a payload. Where a name leaves several models, the
best one is meant, by the scores that were stored with the training; where none were stored and
several are left, it is an error that lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from n4a_store.artifacts.execution_path import ExecutionPath, parse_key
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.types import ArtifactRecord, ArtifactType
from n4a_store.artifacts.vouching import whence_manifest
from n4a_store.errors import (
    AmbiguousNameError,
    ArtifactNotFoundError,
    NotFoundError,
)
from n4a_store.objects.oid import ObjectId
from n4a_store.pipeline.lookup import artifact_named, manifest_of_score, manifests_of, spelled
from n4a_store.pipeline.model_facts import ModelFacts
from n4a_store.pipeline.orchestrator import PREDICTIONS
from n4a_store.pipeline.results import ModelScore, ResultRow, rank_models
from n4a_store.pipeline.run_result import RunResult
from n4a_store.repo.store import Store

__all__ = [
    "Choice",
    "Head",
    "Reference",
    "Wish",
    "called",
    "choose",
    "find_facts",
    "find_heads",
]

Reference = str | RunResult | ModelScore | None
"""How a model is named; see :func:`choose`."""

_MODELS = (ArtifactType.MODEL, ArtifactType.META_MODEL)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asks for besides the ref; None leaves it open.

    Args:
        pipeline: A pipeline of the run.
        branch: Indices or names, outermost first.
        model: The model's name in the results, or its class.
        fold: One fold's model instead of the average.
        step: The step of the model; only a score says it.
    """

    pipeline: str | None = None
    branch: Sequence[int | str] | None = None
    model: str | None = None
    fold: int | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The artifacts of one model step on one branch.

    Args:
        folds: The keys of the fold models, by fold.
        whole: The key of the model that was fitted on all rows, if there is one.
        is_source: Whether a meta-model of this pipeline is fed by it.
        facts: What was stored with it.
        predictions: The keys of its stored predictions, ``val`` and ``test``.
    """

    branch_path: tuple[int, ...]
    step_index: int
    class_name: str
    folds: Mapping[int, str] = field(default_factory=dict)
    whole: str | None = None
    is_source: bool = False
    facts: ModelFacts | None = None
    predictions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the results call it."""
        return self.class_name if self.facts is None else self.facts.model

    def keys(self, fold: int | None) -> tuple[str, ...]:
        """What predicts: one fold's model, the model of all rows, else all folds in order.

        Raises:
            ArtifactNotFoundError: There is no model of that fold.
        """
        if fold is not None:
            if fold not in self.folds:
                known = ", ".join(map(str, sorted(self.folds))) or "none"
                raise ArtifactNotFoundError(
                    f"{self.name} has no model of fold {fold}", hint=f"its folds: {known}"
                )
            return (self.folds[fold],)
        if self.whole is not None:
            return (self.whole,)
        return tuple(self.folds[at] for at in sorted(self.folds))


@dataclass(frozen=True, slots=True)
class Choice:
    """The models that predict.

    Args:
        manifest: The manifest they stand in.
        keys: Their keys, in order of folds.
        head: The step they belong to; None for an artifact that was named itself.
        run_id: The run that was asked for, or that made the manifest.
        origin: Where all of it came from, when the manifest cannot be believed; else empty.
    """

    manifest: PipelineManifest
    keys: tuple[str, ...]
    head: Head | None
    run_id: str
    origin: str

    def origin_of(self, artifact_id: str, tree: ObjectId) -> str:
        """Where an artifact came from, known by id and tree; empty when it was made here."""
        links = self.manifest.links.keys
        pipeline_id, _, key = artifact_id.partition(":")
        own = pipeline_id == self.manifest.pipeline_id and key in links
        if self.origin:
            return self.origin
        if own and self.manifest.artifacts[key].oid == tree:
            return links[key].origin
        # A dependency from elsewhere is trusted no more than what depends on it.
        return next(
            (
                origin
                for one in links.values()
                for origin in (one.origin, one.foreign.get(tree.hex, ""))
                if origin
            ),
            "",
        )


def choose(store: Store, ref: Reference, wish: Wish) -> Choice:
    """The models that a name means.

    Args:
        ref: A tag, a run, a pipeline, an artifact id, any name that the store resolves to a run,
            a pipeline's manifest or an artifact; what a training gave back; None for the newest
            run.

    Raises:
        NotFoundError: There is no such thing, or nothing in it that fits the wish.
        AmbiguousNameError: Several models fit, and no scores tell them apart.
        InvalidInputError: The name means something that cannot predict, or is no name.
    """
    if isinstance(ref, ModelScore):
        found = [manifest_of_score(store, ref)]
        wish = _narrowed(wish, ref)
        ref = called(ref, "")
    else:
        ref = spelled(ref)
        named = None if ref is None else artifact_named(store, ref)
        if named is not None:
            return _artifact(store, *named, wish)
        found = manifests_of(store, ref)
    manifests = [
        manifest
        for manifest in found
        if wish.pipeline is None or manifest.pipeline_id == wish.pipeline
    ]
    if not manifests:
        which = f"pipeline {wish.pipeline!r}" if wish.pipeline is not None else "complete pipeline"
        raise NotFoundError(f"{ref or 'the newest run'} has no {which}")
    fitting = [
        (manifest, head)
        for manifest in manifests
        for head in _fitting(find_heads(store, manifest), wish)
    ]
    if not fitting:
        said = _said(wish)
        raise ArtifactNotFoundError(
            f"{ref or 'the newest run'} has no model" + (f" that fits: {said}" if said else ""),
            hint="without branch=, model= and fold= the best one predicts"
            if said
            else "'n4a-store artifacts show' lists what it holds: none is of type model",
        )
    manifest, head = _best(fitting)
    origin = whence_manifest(store, ref, manifest)
    return Choice(manifest, head.keys(wish.fold), head, manifest.run_id, origin)


def called(ref: Reference, otherwise: str) -> str:
    """``ref`` in a message: what a training gave back by its id; None as ``otherwise`` says."""
    if isinstance(ref, ModelScore):
        return f"{ref.run_id}:{ref.pipeline_id}"
    return spelled(ref) or otherwise


def _narrowed(wish: Wish, score: ModelScore) -> Wish:
    """What the caller asks for, and for the rest the model that was scored, not one of its name."""
    if wish.branch is not None or wish.model is not None:
        branch = score.branch_path if wish.branch is None else wish.branch
        return replace(wish, branch=branch, model=wish.model or score.model)
    return replace(wish, branch=score.branch_path, model=score.model, step=score.step_index)


def _artifact(store: Store, manifest: PipelineManifest, key: str, name: str, wish: Wish) -> Choice:
    path = parse_key(manifest.pipeline_id, key)
    if path.key not in manifest.artifacts:
        raise ArtifactNotFoundError(
            f"pipeline {manifest.pipeline_id} has no artifact {key}",
            hint=f"n4a-store artifacts show {manifest.pipeline_id}",
        )
    if wish != Wish() and not _is_wished(store, manifest, path, wish):
        raise ArtifactNotFoundError(
            f"{path} is one artifact, and it is not what was asked for: {_said(wish)}",
            hint="an artifact id says it all: leave the others out",
        )
    origin = whence_manifest(store, name, manifest)
    return Choice(manifest, (path.key,), None, manifest.run_id, origin)


def _is_wished(store: Store, manifest: PipelineManifest, path: ExecutionPath, wish: Wish) -> bool:
    if wish.pipeline not in (None, manifest.pipeline_id) or wish.fold not in (None, path.fold_id):
        return False
    if wish.branch is None and wish.model is None:
        return True
    place = (path.branch_path, path.step_index)
    return any(
        _on_branch(head, wish.branch) and wish.model in (None, head.name, head.class_name)
        for head in find_heads(store, manifest)
        if (head.branch_path, head.step_index) == place
    )


def find_heads(store: Store, manifest: PipelineManifest) -> list[Head]:
    """The models of a pipeline by branch and step, in the order of steps."""
    records = [manifest.record(store, path.key) for path in manifest.paths()]
    models = [record for record in records if record.artifact_type in _MODELS]
    facts = dict(_facts(records))
    said: dict[tuple[int | None, tuple[int, ...]], dict[str, str]] = {}
    for record in records:
        if record.artifact_type == PREDICTIONS and record.meta_config is not None:
            of_model = said.setdefault((record.sub_index, tuple(record.branch_path)), {})
            of_model[str(record.meta_config.extra.get("partition"))] = _key(record)
    fed = {
        source
        for record in models
        if record.artifact_type is ArtifactType.META_MODEL
        for source in record.depends_on
    }
    places: dict[tuple[int, tuple[int, ...]], list[ArtifactRecord]] = {}
    for record in models:
        places.setdefault((record.step_index, tuple(record.branch_path)), []).append(record)
    return [
        Head(
            branch,
            step,
            found[0].class_name,
            {r.fold_id: _key(r) for r in found if r.fold_id is not None},
            next((_key(r) for r in found if r.fold_id is None), None),
            any(r.artifact_id in fed for r in found),
            facts.get((step, branch)),
            said.get((step, branch), {}),
        )
        for (step, branch), found in sorted(places.items())
    ]


def _key(record: ArtifactRecord) -> str:
    return record.artifact_id.partition(":")[2]


def find_facts(
    store: Store, manifest: PipelineManifest
) -> list[tuple[ModelFacts, list[ResultRow]]]:
    """What was stored about each model of a pipeline, with its scores as rows."""
    # Only predictions stand at sub-steps behind the last step, fitted on all folds.
    keys = [path.key for path in manifest.paths() if path.sub_index is not None]
    records = [manifest.record(store, key) for key in keys]
    return [
        (facts, facts.rows(manifest.run_id, manifest.pipeline_id, branch))
        for (_, branch), facts in _facts(records)
    ]


def _facts(
    records: Iterable[ArtifactRecord],
) -> Iterator[tuple[tuple[int, tuple[int, ...]], ModelFacts]]:
    for record in records:
        config = record.meta_config
        is_told = record.artifact_type == PREDICTIONS and config is not None
        if is_told and config is not None and "facts" in config.extra:
            facts = ModelFacts.from_dict(config.extra, record.artifact_id)
            yield (facts.step_index, tuple(record.branch_path)), facts


def _fitting(heads: list[Head], wish: Wish) -> list[Head]:
    found = [head for head in heads if _on_branch(head, wish.branch)]
    if wish.step is not None:
        return [head for head in found if head.step_index == wish.step]
    if wish.model is not None:
        return [head for head in found if wish.model in (head.name, head.class_name)]
    if wish.fold is not None:
        found = [head for head in found if wish.fold in head.folds]
        return [head for head in found if not head.is_source] or found
    # What feeds a meta-model predicts through it.
    return [head for head in found if not head.is_source]


def _on_branch(head: Head, branch: Sequence[int | str] | None) -> bool:
    if branch is None:
        return True
    names = head.facts.branch_names if head.facts is not None else ()
    if len(branch) != len(head.branch_path):
        return False
    known = names or tuple(map(str, head.branch_path))
    return all(
        wanted == (known[level] if isinstance(wanted, str) else head.branch_path[level])
        for level, wanted in enumerate(branch)
    )


def _best(
    fitting: list[tuple[PipelineManifest, Head]],
) -> tuple[PipelineManifest, Head]:
    if len(fitting) == 1:
        return fitting[0]
    places = {(m.pipeline_id, h.branch_path, h.step_index): (m, h) for m, h in fitting}
    rows = [
        # What was asked for by name competes, also when it feeds a stack.
        replace(row, feeds_stack=False)
        for manifest, head in fitting
        if head.facts is not None
        for row in head.facts.rows(manifest.run_id, manifest.pipeline_id, head.branch_path)
    ]
    ranked = rank_models(rows)
    if not ranked:
        names = [f"{m.pipeline_id}:{h.keys(None)[0]}" for m, h in fitting]
        raise AmbiguousNameError(
            f"{len(names)} models fit, and none has scores to choose by",
            candidates=names,
            hint=f"name one: {', '.join(names[:5])}",
        )
    best = ranked[0]
    return places[best.pipeline_id, best.branch_path, best.step_index]


def _said(wish: Wish) -> str:
    parts = {
        "pipeline": wish.pipeline,
        "branch": wish.branch,
        "model": wish.model,
        "fold": wish.fold,
    }
    return ", ".join(f"{name} {value!r}" for name, value in parts.items() if value is not None)
