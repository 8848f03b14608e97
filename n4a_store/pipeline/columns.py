"""The columns of a frame, by name: numbers in the wrong one give predictions like any other.

A frame of polars or pandas has names; estimators are handed arrays, and forget them. What is
fitted on a frame's own columns therefore says in its record which they were, and refuses others
at prediction. Kept are a digest, the number, the first and the last: spectra have thousands of
names, which every record of every fold would repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.fingerprint import digest

__all__ = ["TrainedColumns", "check_names", "column_names", "no_numbers", "without_nulls"]

_KEY = "trained_columns"
_HINT = "give the same ones in the same order, or an array without names"


def column_names(X: Any) -> tuple[str, ...] | None:
    """The names of a frame's columns; None where ``X`` has none, or some that are no text."""
    columns = getattr(X, "columns", None)
    try:
        names = () if columns is None else tuple(columns)
    except TypeError:
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def without_nulls(X: Any, array: np.ndarray) -> np.ndarray:
    """``array``, which numpy made of ``X``; of a pandas frame of nullable numbers as numbers.

    numpy makes objects of these (``Float64``, ``Int64``, arrow's), and scikit-learn numbers with
    NaN in the gaps. Objects that somebody put into a frame or an array stay what they are.
    """
    if array.dtype != object or not callable(getattr(X, "to_numpy", None)):
        return array
    kinds = [getattr(dtype, "kind", None) for _, dtype in _dtypes(X)]
    if not kinds or not all(isinstance(kind, str) and kind in "biuf" for kind in kinds):
        return array
    return np.asarray(X.to_numpy(dtype=np.float64, na_value=np.nan))


def no_numbers(X: Any) -> str:
    """Which column of a frame holds none, as the end of a message; empty where nobody can say."""
    for name, dtype in _dtypes(X):
        kind = getattr(dtype, "kind", None)
        told = callable(getattr(dtype, "is_numeric", None))
        if (kind not in "biuf") if isinstance(kind, str) else told and not dtype.is_numeric():
            return f": column {name!r:.60} is {dtype}"
    return ""


def _dtypes(X: Any) -> list[tuple[Any, Any]]:
    """The types of the columns of a frame of pandas or polars, or of pandas' series, by name."""
    try:
        if hasattr(X, "columns"):
            return list(zip(X.columns, X.dtypes, strict=True))
        return [] if isinstance(X, np.ndarray) else [(X.name, X.dtype)]
    except (AttributeError, TypeError, ValueError):
        return []


def check_names(names: tuple[str, ...] | None, fitted: tuple[str, ...] | None, who: str) -> None:
    """Refuse columns of other names, or in another order, than those that ``who`` speaks of.

    Where one side has no names there is nothing to compare.

    Raises:
        InvalidInputError: They differ; the message names the first column that does.
    """
    if names is None or fitted is None or names == fitted:
        return
    both = enumerate(zip(names, fitted, strict=False))
    at = next((n for n, (name, other) in both if name != other), None)
    differs = "" if at is None else f": column {at} is {names[at]!r:.60}, not {fitted[at]!r:.60}"
    raise InvalidInputError(f"{who}{differs}", hint=_HINT)


@dataclass(frozen=True, slots=True)
class TrainedColumns:
    """The names of the columns that something was fitted on, as its record keeps them.

    Args:
        digest: 64 hex digits over all names in order.
        count: How many there are.
        first, last: The outermost two, cut to 60 characters.
    """

    digest: str
    count: int
    first: str
    last: str

    @classmethod
    def of(cls, names: tuple[str, ...] | None) -> TrainedColumns | None:
        """What to keep of a frame's names; None of none."""
        if names is None:
            return None
        # Half a surrogate pair has no bytes in UTF-8, and is a name to a frame all the same.
        told = [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in names]
        return cls(digest(told), len(told), told[0][:60], told[-1][:60])

    def to_meta(self) -> dict[str, Any]:
        """As a part of a record's ``meta_config``."""
        return {_KEY: asdict(self)}

    @classmethod
    def from_meta(cls, extra: Mapping[str, Any]) -> TrainedColumns | None:
        """The inverse of :meth:`to_meta`; None where a record says nothing of the kind."""
        kept = extra.get(_KEY)
        if not isinstance(kept, Mapping) or set(kept) != {"digest", "count", "first", "last"}:
            return None
        return cls(**{str(name): value for name, value in kept.items()})

    def check(self, names: tuple[str, ...] | None, who: str) -> None:
        """Refuse other names than these; an array has none, and its columns count by position.

        Raises:
            InvalidInputError: They differ.
        """
        given = TrainedColumns.of(names)
        if given is not None and given.digest != self.digest:
            same = "; the names between are others, or in another order"
            raise InvalidInputError(
                f"{who} was fitted on other columns: {self._said}, and was given {given._said}"
                + (same if given._said == self._said else ""),
                hint=_HINT,
            )

    @property
    def _said(self) -> str:
        return f"{self.count} from {self.first!r} to {self.last!r}"
