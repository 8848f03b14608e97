"""The dependencies of an artifact as a graph of named trees.

An artifact's tree holds its dependencies' trees, so the graph is what the objects say; ids are
only its names. A node is frozen and its children exist before it: a cycle cannot be built.
Walks use an explicit stack, because a chain may be longer than Python's recursion limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from n4a_store.errors import AmbiguousNameError, InvalidInputError
from n4a_store.objects.oid import ObjectId

__all__ = ["MAX_DEPTH", "ArtifactNode", "build_node", "closure", "one_of_each", "walk"]

MAX_DEPTH = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class ArtifactNode:
    """An artifact with what it depends on.

    Args:
        artifact_id: Its name.
        tree: The id of its tree.
        children: What it depends on, in order.
        depth: The length of the longest chain below it; 0 without dependencies.
        foreign: Where it and what is below it came from, by tree id in hex; what was made here
            is left out.
    """

    artifact_id: str
    tree: ObjectId
    children: tuple[ArtifactNode, ...] = ()
    depth: int = 0
    foreign: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def over(
        cls, artifact_id: str, tree: ObjectId, children: Iterable[ArtifactNode], origin: str = ""
    ) -> ArtifactNode:
        """A node with its depth worked out, and what came from elsewhere.

        Raises:
            InvalidInputError: The chain would be too long.
        """
        below = tuple(children)
        if not below and not origin:
            return cls(artifact_id, tree)
        depth = check_depth(artifact_id, below)
        foreign = {name: at for child in below for name, at in child.foreign.items()}
        if origin:
            foreign[tree.hex] = origin
        return cls(artifact_id, tree, below, depth, foreign)

    def came_from(self, origin: str, foreign: Mapping[str, str]) -> ArtifactNode:
        """The same node, known to come from ``origin``, and parts of it as ``foreign`` says.

        What an imported artifact depends on came along with it.
        """
        if origin:
            foreign = {at.tree.hex: origin for at in walk(self)}
        return replace(self, foreign=foreign) if foreign else self


def check_depth(artifact_id: str, children: Iterable[ArtifactNode]) -> int:
    """The depth of a node over ``children``.

    Raises:
        InvalidInputError: It is above :data:`MAX_DEPTH`.
    """
    depth = max([child.depth + 1 for child in children], default=0)
    if depth > MAX_DEPTH:
        raise InvalidInputError(
            f"{artifact_id}: a chain of more than {MAX_DEPTH} dependencies",
            hint="an artifact depends on what it needs directly, not on all that came before",
        )
    return depth


def closure(node: ArtifactNode) -> list[ArtifactNode]:
    """Everything that ``node`` depends on, each once, dependencies before dependents.

    Among equals the order is the one in which they were given. ``node`` itself is left out.
    """
    # The same artifact may be reached through two node objects.
    unique = {(at.artifact_id, at.tree): at for at in walk(node)[:-1]}
    return list(unique.values())


def one_of_each(node: ArtifactNode) -> list[ArtifactNode]:
    """As :func:`closure`, for whoever tells artifacts by id: no id stands for two of them.

    An earlier version of ``node`` itself can be among what it depends on. It is left out: the id
    is this one's.

    Raises:
        AmbiguousNameError: Two versions of one id are below ``node``. Each was fitted into what
            lies above it, and neither may stand in for the other.
    """
    nodes = [at for at in closure(node) if at.artifact_id != node.artifact_id]
    named: dict[str, ArtifactNode] = {}
    for at in nodes:
        if named.setdefault(at.artifact_id, at).tree != at.tree:
            raise AmbiguousNameError(
                f"{node.artifact_id} depends on two versions of {at.artifact_id}",
                candidates=[
                    other.tree.hex for other in nodes if other.artifact_id == at.artifact_id
                ],
                hint="resolve_dependencies() lists both records, and load_artifact() takes each",
            )
    return nodes


def walk(node: ArtifactNode) -> list[ArtifactNode]:
    """Every node object from ``node`` on down, children before parents, ``node`` last."""
    done: dict[int, ArtifactNode] = {}
    stack: list[tuple[ArtifactNode, bool]] = [(node, False)]
    while stack:
        at, expanded = stack.pop()
        if id(at) in done:
            continue
        if expanded:
            done[id(at)] = at
            continue
        stack.append((at, True))
        stack.extend((child, False) for child in reversed(at.children) if id(child) not in done)
    return list(done.values())


def build_node(
    artifact_id: str,
    tree: ObjectId,
    children_of: Callable[[str, ObjectId], list[tuple[str, ObjectId]]],
) -> ArtifactNode:
    """The graph below an artifact, from a function that lists the children of one.

    Raises:
        InvalidInputError: A chain is longer than :data:`MAX_DEPTH`.
    """
    built: dict[tuple[str, ObjectId], ArtifactNode] = {}
    listed: dict[tuple[str, ObjectId], list[tuple[str, ObjectId]]] = {}
    root = (artifact_id, tree)
    stack = [root]
    while stack:
        at = stack[-1]
        if at in built:
            stack.pop()
            continue
        if at not in listed:
            listed[at] = children_of(*at)
        waiting = [child for child in listed[at] if child not in built]
        if waiting:
            stack.extend(reversed(waiting))
            continue
        built[at] = ArtifactNode.over(at[0], at[1], [built[child] for child in listed[at]])
        stack.pop()
    return built[root]
