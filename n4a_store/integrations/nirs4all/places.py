"""Where the artifacts of a catalog were made, worked out from the chains that name them.

A catalog does not hold chain paths, only their hash; its chain rows say which artifact stands at
which step, for which fold and, with several sources, for which of them. An artifact that several
chains name belongs to the branch that they have in common. ``final`` and ``all`` models were
fitted on everything: no fold. What no chain names, although its id says which pipeline it is of,
stands at step 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from n4a_store.artifacts.execution_path import BranchPath, ExecutionPath
from n4a_store.integrations.nirs4all.catalog import ChainRow
from n4a_store.integrations.nirs4all.chains import (
    STRIDE,
    ChainNode,
    component,
    parse_foreign_id,
)

__all__ = ["CHAINS", "FOLD", "Placed", "places"]

CHAINS, FOLD = "nirs4all.chains", "nirs4all.fold"


@dataclass(slots=True)
class Placed:
    """An artifact of one pipeline, and what its chains say of it."""

    artifact_id: str
    step: int
    fold: str
    source: int | None
    sub: int | None
    branch_path: tuple[int, ...]
    chains: list[str] = field(default_factory=list)

    @property
    def fold_id(self) -> int | None:
        """The number of the fold; None for what was fitted on everything."""
        number = self.fold.removeprefix("fold_")
        return int(number) if number.isdecimal() else None

    @property
    def notes(self) -> dict[str, str]:
        """What the manifest keeps of it."""
        notes = {CHAINS: " ".join(self.chains)} if self.chains else {}
        if self.fold and self.fold_id is None:
            notes[FOLD] = self.fold
        return notes


def places(
    pipeline_id: str, chains: Iterable[ChainRow], others: Iterable[str] = ()
) -> list[tuple[ExecutionPath, Placed]]:
    """The paths of one pipeline's artifacts, each with its own key.

    Args:
        pipeline_id: The pipeline.
        chains: Its chains.
        others: Ids of artifacts of this pipeline, whether chains name them or not.
    """
    found: dict[str, Placed] = {}
    for chain in chains:
        for placed in _named(chain):
            known = found.setdefault(placed.artifact_id, placed)
            if known is not placed:
                known.branch_path = _common(known.branch_path, placed.branch_path)
            if chain.chain_id not in known.chains:
                known.chains.append(chain.chain_id)
    for place, name in enumerate(name for name in others if name not in found):
        found[name] = Placed(name, 0, _fold_of(name), None, place, ())
    taken: set[str] = set()
    paths = []
    for placed in found.values():
        node = ChainNode(placed.step, "", placed.branch_path, placed.source, placed.sub)
        path = ExecutionPath(
            component(pipeline_id, "pipeline"),
            BranchPath(placed.branch_path),
            placed.step,
            placed.fold_id,
            node.sub_index,
        )
        while path.key in taken:
            path = path._replace(sub_index=(path.sub_index or 0) + STRIDE)
        taken.add(path.key)
        paths.append((path, placed))
    return paths


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """The branch that both lie in."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(branch for branch, _ in same)


def _named(chain: ChainRow) -> Iterator[Placed]:
    for step, names in chain.shared.items():
        sources = chain.sources.get(step, {})
        of_source = {
            name: (source, place)
            for source, listed in sources.items()
            for place, name in enumerate(listed)
        }
        for place, name in enumerate(names):
            source, sub = of_source.get(name, (None, place))
            yield Placed(name, step, _fold_of(name), source, sub, chain.branch_path)
    for fold, name in chain.folds.items():
        yield Placed(name, chain.model_step, fold, None, None, chain.branch_path)


def _fold_of(artifact_id: str) -> str:
    if "$" not in artifact_id:
        return ""
    fold = parse_foreign_id(artifact_id).fold
    return "" if fold is None else str(fold)
