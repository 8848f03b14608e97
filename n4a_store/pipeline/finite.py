"""Which number of a table is none: what an estimator refused, said so that it can be found.

Whether NaN is fine is for the estimator alone to say, since imputers and boosted trees take it:
it is asked first, and only where it refuses is the table looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from n4a_store.errors import InvalidInputError, StoreError
from n4a_store.pipeline.data import is_sparse

__all__ = ["first_bad_number", "named_bad_numbers"]


def first_bad_number(table: Any) -> tuple[int, int, float] | None:
    """Row, column and value of the first NaN or infinity, row by row; None when there is none."""
    if is_sparse(table):
        entries = table.tocoo()
        bad = np.flatnonzero(~np.isfinite(entries.data))
        if not bad.size:
            return None
        first = bad[np.lexsort((entries.col[bad], entries.row[bad]))[0]]
        return int(entries.row[first]), int(entries.col[first]), float(entries.data[first])
    values = np.asarray(table)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        return None
    rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if not rows.size:
        return None
    row = int(rows[0])
    column = int(np.flatnonzero(~np.isfinite(values[row]))[0])
    return row, column, float(values[row, column])


@contextmanager
def named_bad_numbers(X: Any, table: Any, what: str) -> Iterator[None]:
    """Let an estimator's refusal of a table that holds NaN or infinity say where it stands.

    Args:
        X: The rows as the user gave them.
        table: What has become of them when the estimator gets them.
        what: How messages call the estimator.

    Raises:
        InvalidInputError: It refused, and there is such a number. Any other error passes.
    """
    try:
        yield
    except StoreError:
        raise
    except ValueError as error:
        found = first_bad_number(table)
        if found is None:
            raise
        given = first_bad_number(X)
        row, column, value = found if given is None else given
        where = "X" if given is not None else f"what {what} is given"
        raise InvalidInputError(
            f"{where} holds {value} in row {row}, column {column}, which {what} does not take",
            hint="leave such rows out, or train a pipeline that begins with SimpleImputer()"
            if given is not None
            else "a step before it makes that of finite numbers",
        ) from error
