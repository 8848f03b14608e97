"""Artifact ids and chains of nirs4all beside ours: a second parser, and the way between them.

The grammar, as found in 1.4.10::

    id         = pipeline "$" hash ":" fold          hash: 12 hex digits of sha256(chain)
    fold       = "all" | number
    chain      = node { ">" node }
    node       = "s" step "." class [ "[" part { "," part } "]" ]
    part       = "br=" number { "." number } | "src=" number | "sub=" number

The last node of a chain says where its artifact was made. Ours is the same place: the branch
path, the step and the fold as they are; source and sub-step share our one sub-step index,
``source * 100_000 + sub``. Two chains of one pipeline may end in the same place, for what came
before differs; the later one then stands :data:`STRIDE` further, and the notes in the manifest,
which hold the whole chain, tell them apart. An id is stored only where pipeline, chain and fold
do not make it again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from dataclasses import dataclass

from n4a_store.artifacts.execution_path import BranchPath, ExecutionPath, parse_artifact_id
from n4a_store.errors import InvalidInputError, InvalidNameError
from n4a_store.refs.names import check_name_component

__all__ = [
    "CHAIN",
    "ID",
    "NAME",
    "ChainNode",
    "ForeignId",
    "chain_id",
    "component",
    "last_node",
    "notes_of",
    "parse_foreign_id",
    "place",
]

CHAIN, NAME, ID = "nirs4all.chain", "nirs4all.name", "nirs4all.id"
SOURCE_STRIDE = 100_000
STRIDE = 1_000_000_000
_NODE = re.compile(r"s(\d+)\.(\w+)(?:\[([^\]]*)\])?")
_HASH_DIGITS = 12
_SUFFIX = 8
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class ForeignId:
    """A parsed ``<pipeline>$<hash of chain>:<fold>``."""

    pipeline: str
    chain_hash: str
    fold: int | None


@dataclass(frozen=True, slots=True)
class ChainNode:
    """One operator of a chain, and where in the pipeline it stands."""

    step: int
    operator: str
    branch_path: tuple[int, ...] = ()
    source: int | None = None
    sub: int | None = None

    @property
    def sub_index(self) -> int | None:
        """Source and sub-step in one number; None when it has neither."""
        if self.source is None and self.sub is None:
            return None
        return (self.source or 0) * SOURCE_STRIDE + (self.sub or 0)


def parse_foreign_id(text: str) -> ForeignId:
    """The parts of an id.

    Raises:
        InvalidInputError: It is not one of nirs4all's.
    """
    pipeline, dollar, rest = text.partition("$")
    chain_hash, colon, fold = rest.rpartition(":")
    if not (pipeline and dollar and chain_hash and colon and (fold == "all" or fold.isdecimal())):
        raise InvalidInputError(
            f"{text!r:.120} is no nirs4all artifact id",
            hint="they read <pipeline>$<hash of chain>:<fold|all>",
        )
    return ForeignId(pipeline, chain_hash, None if fold == "all" else int(fold))


def chain_id(pipeline: str, chain: str, fold: int | None) -> str:
    """The id of what ``chain`` made in ``pipeline``."""
    digest = hashlib.sha256(chain.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{pipeline}${digest}:{'all' if fold is None else fold}"


def last_node(chain: str) -> ChainNode:
    """Where a chain ends.

    Raises:
        InvalidInputError: It is malformed.
    """
    text = chain.rpartition(">")[2]
    found = _NODE.fullmatch(text)
    if found is None:
        raise InvalidInputError(f"malformed chain {chain!r:.120}: at {text!r:.60}")
    parts = dict(part.split("=", 1) for part in (found[3] or "").split(",") if "=" in part)
    try:
        branches = tuple(int(number) for number in parts.get("br", "").split(".") if number)
        source = int(parts["src"]) if "src" in parts else None
        sub = int(parts["sub"]) if "sub" in parts else None
    except ValueError as error:
        raise InvalidInputError(f"malformed chain {chain!r:.120}: {error}") from error
    return ChainNode(int(found[1]), found[2], branches, source, sub)


def place(artifact_id: str, chain: str, taken: Container[str]) -> ExecutionPath:
    """The path under which an artifact of nirs4all is kept here.

    Args:
        artifact_id: Its id there, of either form.
        chain: Its chain; may be empty.
        taken: The keys of its pipeline that other artifacts have.

    Raises:
        InvalidInputError: The id or the chain is malformed.
    """
    if "$" in artifact_id:
        foreign = parse_foreign_id(artifact_id)
        node = last_node(chain) if chain else ChainNode(0, "")
        path = ExecutionPath(
            component(foreign.pipeline, "pipeline"),
            BranchPath(node.branch_path),
            node.step,
            foreign.fold,
            node.sub_index,
        )
    else:
        path = parse_artifact_id(artifact_id)
    while path.key in taken:
        path = path._replace(sub_index=(path.sub_index or 0) + STRIDE)
    return path


def notes_of(artifact_id: str, chain: str, path: ExecutionPath, name: str = "") -> dict[str, str]:
    """What a manifest keeps of it, so that nirs4all's own id can be found again."""
    notes = {CHAIN: chain, NAME: name}
    if artifact_id not in (chain_id(path.pipeline_id, chain, path.fold_id), path.artifact_id):
        notes[ID] = artifact_id
    return {key: text for key, text in notes.items() if text}


def component(name: str, what: str = "dataset") -> str:
    """A name that a store takes: the name itself, or one made from it and from its hash."""
    try:
        return check_name_component(name, what=what)
    except InvalidNameError:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:_LONGEST]
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_SUFFIX]
        return f"{plain or what}-{digest}"
