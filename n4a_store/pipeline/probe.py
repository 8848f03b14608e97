"""Two models asked about the same rows: how far apart are their predictions?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.predictor import Predictor

__all__ = ["ProbeResult", "compare_predictions"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How predictions differ.

    Args:
        rows: How many rows were predicted.
        identical: How many predictions are the same to the bit.
        max_abs, rms: The largest and the root mean square difference; of labels, the share of
            rows whose labels differ.
    """

    rows: int
    identical: int
    max_abs: float
    rms: float


def compare_predictions(
    workspace: str | os.PathLike[str] | Workspace,
    old: tuple[str, str],
    new: tuple[str, str],
    rows: str | os.PathLike[str],
    *,
    trust: bool = False,
) -> ProbeResult:
    """Predict the rows of a `.npy` file with both and compare.

    Args:
        old, new: A dataset, and a name that its predictor knows.
        rows: The file; (n, p) numbers. It is read without pickle.

    Raises:
        InvalidInputError: The file is no such array, or the predictions cannot be compared.
        NotFoundError: A name leads to no model.
        UntrustedError: A model came from elsewhere and `trust` is not given.
    """
    X = _load(Path(rows))
    sides = []
    for dataset, name in (old, new):
        with Predictor(workspace, dataset, trust=trust) as predictor:
            sides.append(np.asarray(predictor.predict(name, X)))
    before, after = sides
    if before.shape != after.shape:
        raise InvalidInputError(
            f"predictions of shape {before.shape} and {after.shape} cannot be compared"
        )
    same = (before == after).reshape(len(before), -1).all(axis=1)
    if before.dtype.kind not in "biuf" or after.dtype.kind not in "biuf":
        share = float(1 - same.mean()) if len(same) else 0.0
        return ProbeResult(len(same), int(same.sum()), share, share)
    apart = np.abs(after.astype(float) - before.astype(float))
    rms = float(np.sqrt(np.mean(apart**2))) if apart.size else 0.0
    return ProbeResult(len(same), int(same.sum()), float(apart.max(initial=0.0)), rms)


def _load(path: Path) -> np.ndarray:
    try:
        X = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as an array: {error}", hint="write it with numpy.save"
        ) from error
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        raise InvalidInputError(f"{path} holds no table of rows and features")
    return X
