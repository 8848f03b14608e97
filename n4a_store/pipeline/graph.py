"""Predicting from stored artifacts alone: dependencies are the data flow, and are walked.

A model depends on its transformers, in order, and then on its y-processing; a meta-model on the
models that feed it, in the order of its columns. Nothing else is asked: no pipeline definition,
no order of execution, and no name: what an artifact depends on is found by content, so a model
predicts even when the pipeline that its scaler came from has been deleted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from n4a_store.artifacts.execution_path import parse_artifact_id
from n4a_store.artifacts.graph import ArtifactNode
from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.payload import ObjectReader
from n4a_store.artifacts.serializers.libraries import library_of
from n4a_store.artifacts.types import ArtifactType
from n4a_store.errors import InvalidInputError
from n4a_store.objects.oid import ObjectId
from n4a_store.pipeline.columns import TrainedColumns, check_names
from n4a_store.pipeline.data import frozen
from n4a_store.pipeline.finite import named_bad_numbers
from n4a_store.pipeline.predictions import Prediction, as_columns, average, predict

__all__ = ["ModelGraph", "VersionMismatchWarning"]


class VersionMismatchWarning(UserWarning):
    """An artifact was written by another version of its library than the one installed."""


@dataclass(slots=True)
class _Call:
    """The work that the models of one call share."""

    X: Any
    names: tuple[str, ...] | None
    tables: dict[tuple[ObjectId, ...], Any] = field(default_factory=dict)
    said: dict[ObjectId, Prediction] = field(default_factory=dict)


class ModelGraph:
    """Predicts with stored models.

    Args:
        reader: Where the artifacts' trees are read.
        load: Gives the object of an artifact, verified.
        warned: The versions that the caller has been warned of.
    """

    def __init__(
        self,
        reader: ObjectReader,
        load: Callable[[StoredArtifact, str], Any],
        warned: set[str],
    ) -> None:
        self._reader = reader
        self._load_stored = load
        self._warned = warned

    def predict(
        self,
        models: Iterable[ArtifactNode],
        X: Any,
        weights: list[float] | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Prediction:
        """What some models say about the rows of ``X``, whose columns may have names, averaged.

        Raises:
            CorruptionError: A stored artifact is damaged; nothing of it was deserialised.
            InvalidInputError: ``X`` is not what a model was fitted on or holds a number that it
                does not take, or one is no model.
        """
        call = _Call(X, names, {(): X})
        return average([self._one(node, call) for node in models], weights)

    def _one(self, node: ArtifactNode, call: _Call) -> Prediction:
        if node.tree not in call.said:
            stored = self._read(node)
            if stored.blob.type == ArtifactType.META_MODEL:
                said = self._meta(node, stored, call)
            elif stored.blob.type == ArtifactType.MODEL:
                said = self._model(node, stored, call)
            else:
                raise InvalidInputError(
                    f"{node.artifact_id} is a {stored.blob.type}, and only models predict"
                )
            call.said[node.tree] = said
        return call.said[node.tree]

    def _model(self, node: ArtifactNode, stored: StoredArtifact, call: _Call) -> Prediction:
        chain: list[ArtifactNode] = []
        encoders: list[Any] = []
        for child in node.children:
            kind = self._read(child).blob.type
            if kind == ArtifactType.TRANSFORMER:
                chain.append(child)
            elif kind == ArtifactType.ENCODER:
                encoder = self._load(child, self._read(child))
                encoders.append(_able(child, encoder, "inverse_transform"))
        table = self._transformed(chain, call)
        model = _able(node, self._load(node, stored), "predict")
        _check_columns(node, stored, model, table, call)
        with named_bad_numbers(call.X, table, _called(node, model)):
            return predict(model, frozen(table), encoders)

    def _meta(self, node: ArtifactNode, stored: StoredArtifact, call: _Call) -> Prediction:
        sources: dict[tuple[Any, ...], list[ArtifactNode]] = {}
        for child in node.children:
            at = parse_artifact_id(child.artifact_id)
            place = (at.pipeline_id, tuple(at.branch_path), at.step_index, at.sub_index)
            sources.setdefault(place, []).append(child)
        blocks = [
            as_columns(average([self._one(child, call) for child in folds]), node.artifact_id)
            for folds in sources.values()
        ]
        model = _able(node, self._load(node, stored), "predict")
        columns = np.hstack(blocks)
        _check_columns(node, stored, model, columns, call)
        with named_bad_numbers(call.X, columns, _called(node, model)):
            return predict(model, columns, ())

    def _transformed(self, chain: list[ArtifactNode], call: _Call) -> Any:
        """The rows behind a chain of transformers; chains that begin alike share their work."""
        key = tuple(node.tree for node in chain)
        if key not in call.tables:
            before = self._transformed(chain[:-1], call)
            stored = self._read(chain[-1])
            transformer = self._load(chain[-1], stored)
            _able(chain[-1], transformer, "transform")
            _check_columns(chain[-1], stored, transformer, before, call)
            with named_bad_numbers(call.X, before, _called(chain[-1], transformer)):
                call.tables[key] = frozen(transformer.transform(frozen(before)))
        return call.tables[key]

    def _read(self, node: ArtifactNode) -> StoredArtifact:
        return StoredArtifact.read(self._reader, node.tree, node.artifact_id)

    def _load(self, node: ArtifactNode, stored: StoredArtifact) -> Any:
        loaded = self._load_stored(stored, node.artifact_id)
        written, here = stored.blob.library, library_of(type(loaded))
        if written and written != here and written not in self._warned:
            self._warned.add(written)
            warnings.warn(
                f"{node.artifact_id} was written with {written}, and {here} is installed: "
                "its predictions may differ",
                VersionMismatchWarning,
                stacklevel=2,
            )
        return loaded


def _called(node: ArtifactNode, fitted: Any) -> str:
    return f"{node.artifact_id} ({type(fitted).__name__})"


def _able(node: ArtifactNode, fitted: Any, verb: str) -> Any:
    """The object, which can do what its type says: anything can be stored as a model."""
    if not callable(getattr(fitted, verb, None)):
        raise InvalidInputError(
            f"{_called(node, fitted)} has no {verb}()",
            hint="it was stored as one that has; ask for another artifact",
        )
    return fitted


def _check_columns(
    node: ArtifactNode, stored: StoredArtifact, fitted: Any, table: Any, call: _Call
) -> None:
    """A clear error before the estimator's own, where it or its record says what it expects.

    None was fitted on nothing: a 0 is what a model of catboost says after it was loaded. Names
    are those of ``X`` alone; behind a transformer there are none.
    """
    expected = getattr(fitted, "n_features_in_", None)
    if isinstance(expected, int) and 0 < expected != table.shape[1]:
        raise InvalidInputError(
            f"{_called(node, fitted)} was fitted on {expected} features, "
            f"and was given {table.shape[1]}",
            hint="predict on spectra of the same wavelengths, in the same order",
        )
    if table is call.X and call.names is not None:
        known = getattr(fitted, "feature_names_in_", None)
        named = None if known is None else tuple(map(str, known))
        check_names(call.names, named, f"{_called(node, fitted)} was fitted on other columns")
        meta = stored.blob.meta
        trained = None if meta is None else TrainedColumns.from_meta(meta.extra)
        if trained is not None:
            trained.check(call.names, _called(node, fitted))
