"""Predicts in a process of its own: ``python -m n4a_store.demo.fresh_process WORKSPACE``.

Writes one line of JSON for each dataset: the content id of the predictions that the
pipeline tagged `best` gives. Two processes that write the same line predicted the same bits.
"""

from __future__ import annotations

import json
import os
import sys

from n4a_store.demo.sweeps import SWEEPS
from n4a_store.demo.undoing import BEST
from n4a_store.pipeline.fingerprint import data_id
from n4a_store.pipeline.predictor import Predictor

__all__ = ["main", "prediction_ids"]


def prediction_ids(workspace: str | os.PathLike[str]) -> dict[str, str]:
    """The content id of what the pipeline tagged `best` predicts for each dataset."""
    ids = {}
    for sweep in SWEEPS:
        _, _, _, X = sweep.make()
        with Predictor(workspace, sweep.dataset) as predictor:
            ids[sweep.dataset] = data_id(predictor.predict(BEST, X))
    return ids


def main(arguments: list[str]) -> int:
    """Write the ids for the workspace that the one argument names."""
    sys.stdout.write(json.dumps(prediction_ids(arguments[0])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
