"""Fits that need not be made again, found by what went into them.

The key of a fit is the content of its training data, the class, the library's version and the
parameters. It exists only where the outcome is a function of these; any doubt (a parameter that
has no canonical form, ``random_state=None``, a library without a version) means no key, and no
key means fit. Two places are asked, in this order:

- the memory of this process, bounded by bytes, which also keeps the transformed rows;
- earlier runs of the dataset, for a transformer whose ``fit_transform`` is ``fit`` and then
  ``transform``: then the loaded one gives the same bits as a new fit would.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from n4a_store.pipeline.controllers.transform import fit_transform
from n4a_store.pipeline.data import table_bytes
from n4a_store.pipeline.estimators import params_of
from n4a_store.pipeline.fingerprint import Describer, Uncertain, data_id, digest

__all__ = ["FitCache", "FitReport", "StoredFits", "fit_key"]

_log = logging.getLogger(__name__)

DEFAULT_BYTES = 128 * 1024 * 1024

# A fit that takes less is not worth a word in the run object.
_WORTH_NOTING = 0.001
_MOST_NOTED = 1_000


class StoredFits(Protocol):
    """Where fits of earlier runs are found."""

    def load(self, key: str) -> Any | None:
        """The fitted transformer, or None."""

    def seconds(self, key: str) -> float:
        """How long it took to fit."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the transformers of a run came to be.

    Args:
        fitted: How many were fitted.
        reused: How many were found in memory, fitted earlier in this run.
        loaded: How many were loaded from earlier runs.
        seconds_fitting: The time that fitting took.
        seconds_saved: The time that the reused and loaded ones took when they were fitted. Of
            the loaded ones only the slower fits are counted, which their run has noted.
    """

    fitted: int = 0
    reused: int = 0
    loaded: int = 0
    seconds_fitting: float = 0.0
    seconds_saved: float = 0.0

    def plus(self, other: FitReport) -> FitReport:
        """Both together."""
        return FitReport(
            self.fitted + other.fitted,
            self.reused + other.reused,
            self.loaded + other.loaded,
            self.seconds_fitting + other.seconds_fitting,
            self.seconds_saved + other.seconds_saved,
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    fitted: Any
    transformed: Any
    seconds: float
    size: int


class FitCache:
    """The fits of one process.

    Args:
        index: The fits of earlier runs; None asks nobody.
        max_bytes: How much transformed data to keep; 0 keeps nothing.
    """

    def __init__(
        self,
        index: StoredFits | None = None,
        max_bytes: int = DEFAULT_BYTES,
    ) -> None:
        self._index = index
        self._describer = Describer()
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self.made: dict[str, str] = {}
        """The fits of the current pipeline: key to artifact id."""
        self.slow: dict[str, float] = {}
        """How long the slower fits of this process took, by key."""
        self.report = FitReport()

    def reset_report(self) -> None:
        """Count from nothing again; what is kept is kept."""
        self.report, self.slow = FitReport(), {}

    def begin(self) -> None:
        """Start the list of a new pipeline's fits."""
        self.made = {}

    def take(self, made: Mapping[str, str], slow: Mapping[str, float], report: FitReport) -> None:
        """Count in what a worker has fitted of the current pipeline."""
        for key, artifact_id in made.items():
            self.made[key] = min(artifact_id, self.made.get(key, artifact_id))
        self.slow.update(slow)
        self.report = self.report.plus(report)

    def fit_transform(self, operator: Any, X: Any, y: Any, artifact_id: str) -> tuple[Any, Any]:
        """A fitted copy of ``operator`` and ``X`` as it transforms it."""
        key = fit_key(operator, X, y, self._describer)
        if key is None:
            return self._fit(operator, X, y)[:2]
        # Of several equal ones the first by name: branches may train in any order.
        self.made[key] = min(artifact_id, self.made.get(key, artifact_id))
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self._count(reused=1, seconds_saved=kept.seconds)
            return kept.fitted, kept.transformed
        loaded = self._load(key, operator)
        if loaded is not None:
            transformed, seconds = loaded.transform(X), self._stored_seconds(key)
            self._count(loaded=1, seconds_saved=seconds)
            fitted = loaded
        else:
            fitted, transformed, seconds = self._fit(operator, X, y)
            if seconds > _WORTH_NOTING and len(self.slow) < _MOST_NOTED:
                self.slow[key] = seconds
        self._keep(key, _Kept(fitted, transformed, seconds, table_bytes(transformed)))
        return fitted, transformed

    def _fit(self, operator: Any, X: Any, y: Any) -> tuple[Any, Any, float]:
        begun = time.perf_counter()
        fitted, transformed = fit_transform(operator, X, y)
        seconds = time.perf_counter() - begun
        self._count(fitted=1, seconds_fitting=seconds)
        return fitted, transformed, seconds

    def _load(self, key: str, operator: Any) -> Any | None:
        if self._index is None or not _fit_then_transform(operator):
            return None
        found = self._index.load(key)
        if found is not None and type(found) is not type(operator):
            _log.warning("the fit %.8s is stored as %s: fitting anew", key, type(found).__name__)
            return None
        return found

    def _stored_seconds(self, key: str) -> float:
        return 0.0 if self._index is None else self._index.seconds(key)

    def _keep(self, key: str, kept: _Kept) -> None:
        if kept.size > self._max_bytes:
            return
        self._kept[key] = kept
        self._bytes += kept.size
        while self._bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.size

    def _count(self, **more: Any) -> None:
        self.report = self.report.plus(FitReport(**more))


def fit_key(operator: Any, X: Any, y: Any, describer: Describer | None = None) -> str | None:
    """The identity of a fit, or None when there is any doubt about it."""
    if _has_chance(operator):
        return None
    described = Describer() if describer is None else describer
    try:
        return digest({"operator": described.estimator(operator), "X": data_id(X), "y": data_id(y)})
    except Uncertain as doubt:
        _log.debug("no fit key for %s: %s", type(operator).__name__, doubt)
        return None


def _has_chance(operator: Any) -> bool:
    """Whether a seed is left open, in the operator or in an estimator inside it."""
    params = params_of(operator)
    if params is None:
        return True  # it does not tell
    for name, value in params.items():
        if value is None and name.endswith("random_state"):
            return True
        parts = value if isinstance(value, (list, tuple)) else [value]
        flat = [p for part in parts for p in (part if isinstance(part, tuple) else [part])]
        for part in flat:
            inside = callable(getattr(part, "get_params", None)) and not isinstance(part, type)
            if inside and _has_chance(part):
                return True
    return False


def _fit_then_transform(operator: Any) -> bool:
    """Whether ``fit_transform`` is nothing but ``fit`` and ``transform``, as scikit-learn's
    mixin has it; a class with its own may give other bits (PCA does)."""
    method = getattr(type(operator), "fit_transform", None)
    return method is None or method.__qualname__ == "TransformerMixin.fit_transform"
