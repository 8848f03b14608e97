"""A lineage as text, Mermaid, Graphviz DOT or SVG. Pure: from a graph to lines.

Every label passes through `safe`, and each format then quotes what it treats as syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING

from n4a_store.cli.terminal import human_size, safe

if TYPE_CHECKING:
    from n4a_store.artifacts.lineage import Lineage, LineageNode
    from n4a_store.objects.oid import ObjectId

_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 220, 54, 28, 46, 12
_SHOWN_NAMES = 2
_CHARACTERS = 30  # what fits into a box of the SVG
_FILL = {
    "model": "#dbeafe",
    "transformer": "#dcfce7",
    "splitter": "#fef9c3",
    "encoder": "#fae8ff",
    "meta_model": "#fee2e2",
}


def as_text(lineage: Lineage) -> Iterator[str]:
    """A tree that reads downwards from a result to what it was made from.

    A node that was drawn before is named again and not unfolded twice.
    """
    drawn: set[ObjectId] = set()
    for root in lineage.roots:
        yield from _branch(lineage, root, drawn)


def _branch(lineage: Lineage, root: ObjectId, drawn: set[ObjectId]) -> Iterator[str]:
    stack = [(root, "", "")]
    while stack:
        tree, lead, below = stack.pop()
        node = lineage.nodes[tree]
        again = tree in drawn
        mark = "  (drawn above)" if again and node.sources else "  (shared)" if again else ""
        yield f"{lead}{_names(node)}  {_what(node)}{mark}"
        if again:
            continue
        drawn.add(tree)
        last = len(node.sources) - 1
        for place, source in reversed(list(enumerate(node.sources))):
            fork, line = ("└─ ", "   ") if place == last else ("├─ ", "│  ")
            stack.append((source, below + fork, below + line))


_MERMAID = str.maketrans(
    {"#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "`": "#96;"}
)


def as_mermaid(lineage: Lineage) -> Iterator[str]:
    """A Mermaid flowchart."""
    ids = _short_ids(lineage)
    yield "flowchart LR"
    for tree, node in lineage.nodes.items():
        yield f'  {ids[tree]}["{_mermaid(_names(node))}<br/>{_mermaid(node.class_name)}"]'
    for source, target in lineage.edges():
        yield f"  {ids[source]} --> {ids[target]}"


def as_dot(lineage: Lineage) -> Iterator[str]:
    """A Graphviz digraph."""
    ids = _short_ids(lineage)
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, style="rounded,filled", fontname="sans-serif"];'
    for tree, node in lineage.nodes.items():
        first, second = (_quoted(text) for text in (_names(node), _what(node)))
        fill = _FILL.get(node.type, "#f3f4f6")
        yield f'  {ids[tree]} [label="{first}\\n{second}", fillcolor="{fill}"];'
    for source, target in lineage.edges():
        yield f"  {ids[source]} -> {ids[target]};"
    yield "}"


def as_svg(lineage: Lineage) -> Iterator[str]:
    """An SVG with results on the right and what they were made from to their left."""
    places = _places(lineage)
    columns = max((column for column, _ in places.values()), default=0) + 1
    rows = max((row for _, row in places.values()), default=0) + 1
    width = columns * (_BOX_WIDTH + _GAP_X) - _GAP_X + 2 * _MARGIN
    height = rows * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    )
    for source, target in lineage.edges():
        yield _curve(places[source], places[target])
    for tree, node in lineage.nodes.items():
        x, y = _corner(places[tree])
        fill = _FILL.get(node.type, "#f3f4f6")
        yield (
            f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" '
            f'fill="{fill}" stroke="#374151"><title>{_xml(", ".join(node.names))}</title></rect>'
        )
        yield f'<text x="{x + 10}" y="{y + 22}">{_xml(_cut(_names(node)))}</text>'
        yield f'<text x="{x + 10}" y="{y + 41}" fill="#4b5563">{_xml(_cut(_what(node)))}</text>'
    yield "</svg>"


FORMATS: dict[str, Callable[[Lineage], Iterator[str]]] = {
    "text": as_text,
    "mermaid": as_mermaid,
    "dot": as_dot,
    "svg": as_svg,
}


def _names(node: LineageNode) -> str:
    more = len(node.names) - _SHOWN_NAMES
    return ", ".join(node.names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _what(node: LineageNode) -> str:
    return f"{node.type} {node.class_name} {human_size(node.size)}"


def _short_ids(lineage: Lineage) -> dict[ObjectId, str]:
    return {tree: f"n{number}" for number, tree in enumerate(lineage.nodes)}


def _quoted(text: str) -> str:
    return safe(text).replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(text: str) -> str:
    # Mermaid takes labels for HTML, and writes entities its own way.
    return safe(text).translate(_MERMAID)


def _xml(text: str) -> str:
    return escape(safe(text))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _places(lineage: Lineage) -> dict[ObjectId, tuple[int, int]]:
    """Column and row of each node: a column right of everything it needs."""
    columns: dict[ObjectId, int] = {}
    for tree, node in lineage.nodes.items():  # sources come first
        columns[tree] = max((columns[source] + 1 for source in node.sources), default=0)
    used: dict[int, int] = {}
    places: dict[ObjectId, tuple[int, int]] = {}
    for tree, column in columns.items():
        places[tree] = (column, used.get(column, 0))
        used[column] = used.get(column, 0) + 1
    return places


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return _MARGIN + column * (_BOX_WIDTH + _GAP_X), _MARGIN + row * (_BOX_HEIGHT + _GAP_Y)


def _curve(source: tuple[int, int], target: tuple[int, int]) -> str:
    x1, y1 = _corner(source)
    x2, y2 = _corner(target)
    x1, y1, y2 = x1 + _BOX_WIDTH, y1 + _BOX_HEIGHT // 2, y2 + _BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return (
        f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}" '
        'fill="none" stroke="#9ca3af"/>'
    )
