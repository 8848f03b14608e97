"""From JSON lines to the two tables: against the pickle floor, and against the best peer.

python -m benchmarks.peers.table RESULTS.jsonl
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.roster import OWN, PEERS
from benchmarks.peers.worker import FIGURES

__all__ = ["Ratios", "collect", "number", "render", "tables"]

Ratios = dict[str, dict[str, list[float]]]
"""By peer and figure, the ratios of all rounds."""


def collect(lines: Sequence[Mapping[str, Any]]) -> Ratios:
    """The ratios of value to floor, by peer and figure."""
    found: Ratios = {}
    for line in lines:
        ratios = found.setdefault(line["peer"], {})
        for name, figure in line["figures"].items():
            if figure is not None:
                ratios.setdefault(name, []).append(figure[0] / figure[1])
    return found


def number(value: float) -> str:
    """Three digits, or as many as stand before the point."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004


def _cell(values: list[float] | None) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def tables(ratios: Ratios) -> tuple[str, str]:
    """Both tables: against the floor, and against the best peer."""
    head = ["", "durable", *FIGURES]
    rows = [head]
    for key, peer in PEERS.items():
        if key in ratios:
            durable = "yes" if peer.durable else "no"
            cells = [_cell(ratios[key].get(name)) for name in FIGURES]
            rows.append([peer.name, durable, *cells])
    return _markdown(rows), _markdown(_against_best(ratios))


def render(ratios: Ratios, skipped: Mapping[str, str]) -> str:
    """Both tables as text, with what their columns mean."""
    against_floor, against_best = tables(ratios)
    parts = ["Ratios, median (min–max) of the rounds:", ""]
    parts += [f"  {name:<13} {meaning}" for name, meaning in FIGURES.items()]
    parts += [
        "",
        against_floor,
        "",
        "Against the best peer in each figure (median ÷ median):",
        "",
    ]
    parts.append(against_best)
    parts += ["", *(f"{PEERS[key].name}: SKIPPED: {why}" for key, why in skipped.items())]
    return "\n".join(parts).rstrip()


def _against_best(ratios: Ratios) -> list[list[str]]:
    own = [key for key in OWN if key in ratios]
    rows = [["figure", "best peer", *(OWN[key].name for key in own)]]
    for name in FIGURES:
        rivals = {
            key: statistics.median(found[name])
            for key, found in ratios.items()
            if key not in OWN and name in found and not PEERS[key].subset
        }
        if not rivals:
            continue
        best = min(rivals, key=lambda key: rivals[key])
        cells = [
            number(statistics.median(ratios[key][name]) / rivals[best])
            if name in ratios[key]
            else "-"
            for key in own
        ]
        rows.append([name, f"{PEERS[best].name} {number(rivals[best])}", *cells])
    return rows


def main() -> None:
    """Print the tables of a file of results."""
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    print(render(collect(lines), {}))


if __name__ == "__main__":
    main()
