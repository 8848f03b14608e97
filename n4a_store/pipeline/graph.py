"""Predicting from stored artifacts alone: dependencies are the data flow, and are walked.

A model depends on its transformers, in order, and then on its y-processing; a meta-model on the
models that feed it, in the order of its columns. Nothing else is asked: no pipeline definition,
no order of execution. What several models share is loaded and computed once a call.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from n4a_store.artifacts.serializers.libraries import library_of
from n4a_store.artifacts.types import ArtifactRecord, ArtifactType
from n4a_store.errors import ArtifactNotFoundError, CorruptionError, InvalidInputError
from n4a_store.pipeline.predictions import Prediction, as_columns, average, predict

__all__ = ["Head", "ModelGraph", "VersionMismatchWarning", "find_heads"]

_MODELS = (ArtifactType.MODEL, ArtifactType.META_MODEL)


class VersionMismatchWarning(UserWarning):
    """An artifact was written by another version of its library than the one installed."""


@dataclass(frozen=True, slots=True)
class Head:
    """The artifacts of one model step on one branch.

    Args:
        folds: The fold models, by fold.
        whole: The model that was fitted on all rows, if there is one.
        is_source: Whether a meta-model is fed by it.
    """

    branch_path: tuple[int, ...]
    step_index: int
    folds: Mapping[int, str]
    whole: str | None = None
    is_source: bool = False

    @property
    def artifact_ids(self) -> tuple[str, ...]:
        """What predicts: the model of all rows, else those of the folds, in order."""
        if self.whole is not None:
            return (self.whole,)
        return tuple(self.folds[fold] for fold in sorted(self.folds))


def find_heads(records: Iterable[ArtifactRecord]) -> list[Head]:
    """The models of a pipeline by branch and step, in the order of steps."""
    folds: dict[tuple[tuple[int, ...], int], dict[int, str]] = {}
    wholes: dict[tuple[tuple[int, ...], int], str] = {}
    fed: set[str] = set()
    for record in records:
        if record.artifact_type not in _MODELS:
            continue
        place = (tuple(record.branch_path), record.step_index)
        if record.fold_id is None:
            wholes[place] = record.artifact_id
        else:
            folds.setdefault(place, {})[record.fold_id] = record.artifact_id
        if record.artifact_type is ArtifactType.META_MODEL:
            fed.update(record.depends_on)
    heads = []
    for place in sorted({*folds, *wholes}, key=lambda p: (p[1], p[0])):
        ids = {*folds.get(place, {}).values(), wholes.get(place, "")}
        heads.append(
            Head(*place, folds.get(place, {}), wholes.get(place), is_source=bool(ids & fed))
        )
    return heads


class ModelGraph:
    """Models of one manifest, ready to predict.

    Args:
        record_of: The record of an artifact by its id.
        load: The artifact itself.
    """

    def __init__(
        self, record_of: Callable[[str], ArtifactRecord], load: Callable[[ArtifactRecord], Any]
    ) -> None:
        self._record_of = record_of
        self._load_record = load
        self._warned: set[str] = set()

    def predict(
        self, artifact_ids: Iterable[str], X: Any, weights: list[float] | None = None
    ) -> Prediction:
        """What some models say about the rows of ``X``, averaged.

        Raises:
            CorruptionError: A stored artifact is damaged; nothing of it was deserialised.
            InvalidInputError: ``X`` is not what the model was fitted on.
        """
        tables: dict[tuple[str, ...], Any] = {(): X}
        return average([self._one(i, X, tables) for i in artifact_ids], weights)

    def _one(self, artifact_id: str, X: Any, tables: dict[tuple[str, ...], Any]) -> Prediction:
        record = self._record_of(artifact_id)
        if record.artifact_type is ArtifactType.META_MODEL:
            return self._meta(record, X, tables)
        if record.artifact_type is not ArtifactType.MODEL:
            raise InvalidInputError(
                f"{artifact_id} is a {record.artifact_type}, and only models predict"
            )
        chain: list[str] = []
        encoders: list[Any] = []
        for dependency in record.depends_on:
            needed = self._record_of(dependency)
            if needed.artifact_type is ArtifactType.TRANSFORMER:
                chain.append(dependency)
            elif needed.artifact_type is ArtifactType.ENCODER:
                encoders.append(self._load(needed))
        table = self._transformed(tuple(chain), tables)
        model = self._load(record)
        _check_width(record, model, table)
        return predict(model, table, encoders)

    def _meta(
        self, record: ArtifactRecord, X: Any, tables: dict[tuple[str, ...], Any]
    ) -> Prediction:
        sources: dict[tuple[Any, ...], list[str]] = {}
        for source_id in record.depends_on:
            at = self._record_of(source_id)
            sources.setdefault((tuple(at.branch_path), at.step_index), []).append(source_id)
        blocks = [
            as_columns(average([self._one(i, X, tables) for i in ids]), record.artifact_id)
            for ids in sources.values()
        ]
        model = self._load(record)
        columns = np.hstack(blocks)
        _check_width(record, model, columns)
        return predict(model, columns, ())

    def _transformed(self, chain: tuple[str, ...], tables: dict[tuple[str, ...], Any]) -> Any:
        """The rows behind a chain of transformers; chains that begin alike share their work."""
        if chain not in tables:
            before = self._transformed(chain[:-1], tables)
            record = self._record_of(chain[-1])
            transformer = self._load(record)
            _check_width(record, transformer, before)
            tables[chain] = transformer.transform(before)
        return tables[chain]

    def _load(self, record: ArtifactRecord) -> Any:
        loaded = self._load_record(record)
        written, here = record.format_version, library_of(type(loaded))
        if written and written != here and written not in self._warned:
            self._warned.add(written)
            warnings.warn(
                f"{record.artifact_id} was written with {written}, and {here} is installed: "
                "its predictions may differ",
                VersionMismatchWarning,
                stacklevel=5,
            )
        return loaded


def _check_width(record: ArtifactRecord, fitted: Any, table: Any) -> None:
    """A clear error before the estimator's own, where the estimator says what it expects."""
    expected = getattr(fitted, "n_features_in_", None)
    if isinstance(expected, int) and table.shape[1] != expected:
        raise InvalidInputError(
            f"{record.artifact_id} ({record.class_name}) was fitted on {expected} features, "
            f"and X has {table.shape[1]} there",
            hint="predict on spectra of the same wavelengths, in the same order",
        )


def require(found: ArtifactRecord | None, artifact_id: str) -> ArtifactRecord:
    """The record that a manifest names as a dependency.

    Raises:
        CorruptionError: The manifest lacks it.
    """
    if found is None:
        raise CorruptionError(
            f"the artifact {artifact_id} is missing", hint="n4a-store fsck --full"
        ) from ArtifactNotFoundError(artifact_id)
    return found
