"""The mutants: the protocol with one thing wrong, as patches of the source that fit exactly once.

A mutant is a reading of the protocol that somebody could have had. Those of the design's own list
of wrong readings have ``listed=True``. ``killers`` are the tests to ask first, as arguments of
pytest; every suite that answers for the protocol is asked when these have not noticed anything.
"""

from __future__ import annotations

from tests.mutation.mutant import QUICK, SUITES, Mutant
from tests.mutation.of_collectors import COLLECTORS
from tests.mutation.of_readers import READERS_AND_PROCESSES
from tests.mutation.of_writers import DURABILITY, WRITERS

__all__ = ["CI", "MUTANTS", "QUICK", "SUITES", "Mutant"]

MUTANTS = (*DURABILITY, *WRITERS, *COLLECTORS, *READERS_AND_PROCESSES)

CI = (
    "no-fsync-of-the-pack",
    "no-validation-at-commit",
    "no-reflog-roots",
    "old-generation",
    "every-rowless-file-goes",
    "no-compare-and-swap",
)
"""A handful that is tried in CI."""
