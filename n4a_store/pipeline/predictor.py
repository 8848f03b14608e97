"""Predicts with what a training left in a store; needs no pipeline definition.

A name is resolved to models (``selection``), the models are walked through what they depend on
(``graph``), folds are averaged, and y-processing is undone. The same bytes give the same bits,
in this process or another.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np

from n4a_store.artifacts.cache import MISSING, ObjectCache
from n4a_store.artifacts.execution_path import check_index
from n4a_store.artifacts.loading import load_payload
from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import InvalidInputError, NotFoundError
from n4a_store.pipeline.columns import column_names
from n4a_store.pipeline.data import as_table
from n4a_store.pipeline.graph import ModelGraph
from n4a_store.pipeline.predictions import Prediction
from n4a_store.pipeline.results import REGRESSION
from n4a_store.pipeline.selection import Choice, Reference, Wish, called, choose

__all__ = ["Averaging", "Predictor"]

_CACHED = 128
_CACHED_BYTES = 256 * 1024 * 1024


class Averaging(StrEnum):
    """How the models of several folds become one prediction."""

    MEAN = "mean"
    WEIGHTED = "weighted"
    """By validation score: the inverse of each fold's RMSE, or its accuracy."""


class Predictor:
    """Predicts with the models of one dataset.

    ::

        Predictor("workspace", "corn_m5").predict("production", X)

    Args:
        workspace: The folder of the workspace.
        dataset: The dataset whose store holds the models.
        trust: Load what was imported from elsewhere, although that may do harm.

    Raises:
        StoreNotFoundError: There is no such dataset; nothing is created.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | Workspace,
        dataset: str,
        *,
        trust: bool = False,
    ) -> None:
        self._workspace = Workspace(workspace)
        self._dataset = dataset
        self._store = self._workspace.store(dataset)
        self._trust = trust
        self._loaded = ObjectCache(_CACHED, _CACHED_BYTES)
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return f"Predictor({str(self._workspace.path)!r}, {self._dataset!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process: a predictor of the same place, which has loaded nothing yet."""
        return partial(type(self), self._workspace, self._dataset, trust=self._trust), ()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self._loaded.clear()
        self._store.close()

    def predict(
        self,
        ref: Reference = None,
        X: Any = None,
        *,
        pipeline: str | None = None,
        branch: Sequence[int | str] | None = None,
        model: str | None = None,
        fold: int | None = None,
        average: str = Averaging.MEAN,
    ) -> np.ndarray:
        """What a model says about the rows of ``X``, in the units of the training targets.

        Args:
            ref: A tag, a run, a pipeline or an artifact id; or the run, or the score of a model,
                that a training gave back. None means the best pipeline of the newest run: lowest
                mean validation RMSE, or highest accuracy of a classifier; ties go to the earliest.
            X: Features (n, p), as many as in training.
            pipeline, branch, model, fold: Which model, where the ref leaves several; without
                them the best. A branch is indices or names, outermost first.
            average: ``mean`` or ``weighted``, for the models of several folds.

        Returns:
            (n,) or (n, t), as the model gives them.

        Raises:
            NotFoundError: Nothing has this name, or no model of it fits.
            InvalidInputError: ``X`` does not fit the model.
            CorruptionError: A stored artifact is damaged.
        """
        wish = Wish(pipeline, _as_path(branch), model, _as_fold(fold))
        return self._predict(ref, X, wish, average).values

    def predict_proba(
        self,
        ref: Reference = None,
        X: Any = None,
        *,
        pipeline: str | None = None,
        branch: Sequence[int | str] | None = None,
        model: str | None = None,
        fold: int | None = None,
        average: str = Averaging.MEAN,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The labels a classifier knows and their probabilities, (labels,) and (n, labels).

        Takes and raises what :meth:`predict` does.
        """
        wish = Wish(pipeline, _as_path(branch), model, _as_fold(fold))
        said = self._predict(ref, X, wish, average)
        if said.labels is None or said.probabilities is None:
            raise InvalidInputError(f"{called(ref, 'the best pipeline')} gives no probabilities")
        return said.labels, said.probabilities

    def select(
        self,
        ref: Reference = None,
        *,
        pipeline: str | None = None,
        branch: Sequence[int | str] | None = None,
        model: str | None = None,
        fold: int | None = None,
    ) -> Choice:
        """Which models :meth:`predict` would ask, without loading any."""
        with self._store.session():
            return choose(self._store, ref, Wish(pipeline, _as_path(branch), model, _as_fold(fold)))

    def stored(
        self,
        ref: Reference = None,
        *,
        partition: str = "val",
        pipeline: str | None = None,
        branch: Sequence[int | str] | None = None,
        model: str | None = None,
    ) -> np.ndarray:
        """The predictions that were stored with the training.

        Args:
            partition: ``val`` for the held-out rows, one entry for each training row (NaN or
                None where a row was never held out), or ``test`` for the test rows.

        Raises:
            NotFoundError: Nothing has this name, or no such predictions were stored.
        """
        with self._store.session():
            choice = choose(self._store, ref, Wish(pipeline, _as_path(branch), model))
            found = choice.head.predictions if choice.head is not None else {}
            if partition not in found:
                known = ", ".join(found) or "none"
                raise NotFoundError(
                    f"{called(ref, 'the newest run')} has no stored predictions {partition!r}",
                    hint=f"stored: {known}",
                )
            key = found[partition]
            tree = choice.manifest.artifacts[key].oid
            name = choice.manifest.path(key).artifact_id
            stored = StoredArtifact.read(self._store, tree, name)
            return np.asarray(self._load_new(stored, name, choice))

    def _predict(self, ref: Reference, X: Any, wish: Wish, average: str) -> Prediction:
        try:
            averaging = Averaging(average)
        except ValueError:
            raise InvalidInputError(
                f"average is one of {', '.join(Averaging)}, not {average!r}"
            ) from None
        table = as_table(X, "X")
        with self._store.session():
            choice = choose(self._store, ref, wish)
            nodes = [choice.manifest.node(self._store, key) for key in choice.keys]
            weights = _weights(choice) if averaging is Averaging.WEIGHTED else None

            def load(stored: StoredArtifact, name: str) -> Any:
                return self._load(stored, name, choice)

            graph = ModelGraph(self._store, load, self._warned)
            return graph.predict(nodes, table, weights, column_names(X))

    def _load(self, stored: StoredArtifact, name: str, choice: Choice) -> Any:
        """The object of an artifact; equal artifacts are loaded once."""
        found = self._loaded.get(stored.tree)
        if found is MISSING:
            found = self._load_new(stored, name, choice)
            self._loaded.put(stored.tree, found, stored.blob.size)
        return found

    def _load_new(self, stored: StoredArtifact, name: str, choice: Choice) -> Any:
        return load_payload(
            self._store,
            stored.payload,
            name,
            stored.blob.format,
            default_table(),
            library=stored.blob.library,
            origin=choice.origin_of(name, stored.tree),
            trust=self._trust,
        )


def _as_path(branch: Sequence[int | str] | int | None) -> Sequence[int | str] | None:
    if branch is None:
        return None
    path = [branch] if isinstance(branch, (int, str)) else branch
    # Names are stored in NFC, as a training makes them.
    return [unicodedata.normalize("NFC", at) if isinstance(at, str) else at for at in path]


def _as_fold(fold: int | None) -> int | None:
    return None if fold is None else check_index(fold, "fold")


def _weights(choice: Choice) -> list[float] | None:
    """A weight for each fold's model, from its own validation score.

    Raises:
        InvalidInputError: There is no score for each of several.
    """
    if len(choice.keys) == 1:
        return None
    scores: dict[int, float] = {}
    facts = choice.head.facts if choice.head is not None else None
    for one in facts.scores if facts is not None else ():
        value = one.rmse if facts is not None and facts.task == REGRESSION else one.accuracy
        if one.partition == "val" and one.fold_id is not None and value is not None:
            scores[one.fold_id] = value
    folds = sorted(choice.head.folds) if choice.head is not None else []
    if facts is None or set(folds) != set(scores):
        raise InvalidInputError("the folds have no validation scores to weigh them by")
    unknown = [fold for fold in folds if not np.isfinite(scores[fold])]
    if unknown:
        raise InvalidInputError(
            f"fold {unknown[0]} has the validation score {scores[unknown[0]]}, which is no weight",
            hint='average="mean" weighs all folds the same; fold= asks one of them',
        )
    if facts.task == REGRESSION:
        return [1.0 / max(scores[fold], np.finfo(float).tiny) for fold in folds]
    if not any(scores.values()):
        return None
    return [scores[fold] for fold in folds]
