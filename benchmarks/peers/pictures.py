"""From JSON lines to pictures: one SVG a figure, a bar a peer, made of nothing but text.

    python -m benchmarks.peers.pictures RESULTS.jsonl FOLDER

writes ``ingest.svg``, ``load.svg`` and ``bytes.svg``. Times have a logarithmic axis, because the
peers are a thousand times apart; bytes have a linear one. The same lines give the same files.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.peers.roster import OWN, PEERS
from benchmarks.peers.table import Ratios, collect, number

__all__ = ["PICTURES", "Picture", "draw"]

_WIDTH, _LABEL, _VALUE, _BAR, _GAP, _TOP = 720, 210, 70, 16, 8, 46
_OWN_COLOUR, _PEER_COLOUR, _TEXT = "#1f77b4", "#9aa5b1", "#57606a"


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture shows.

    Args:
        figure: The figure's name in the results.
        title: What stands above it.
        logarithmic: Whether ten times as much is one step to the right.
    """

    figure: str
    title: str
    logarithmic: bool


PICTURES = (
    Picture("ingest", "Storing: time ÷ pickle.dumps (less is better, log scale)", True),
    Picture("load", "Loading by id: time ÷ pickle.loads (less is better, log scale)", True),
    Picture("bytes", "On disk: bytes ÷ distinct pickles (less is better)", False),
)


def draw(picture: Picture, ratios: Ratios) -> str:
    """The picture as SVG: peers from the best to the worst, medians of the rounds."""
    bars = sorted(
        (statistics.median(found[picture.figure]), key)
        for key, found in ratios.items()
        if picture.figure in found and not PEERS[key].subset
    )
    scale = _scale([value for value, _ in bars], logarithmic=picture.logarithmic)
    height = _TOP + len(bars) * (_BAR + _GAP) + 6
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'font-family="sans-serif" font-size="13" fill="{_TEXT}" role="img" '
            f'aria-label="{escape(picture.title)}">'
        ),
        f'<text x="8" y="22" font-size="15">{escape(picture.title)}</text>',
    ]
    for place, (value, key) in enumerate(bars):
        top = _TOP + place * (_BAR + _GAP)
        long = scale(value)
        colour = _OWN_COLOUR if key in OWN else _PEER_COLOUR
        weight = ' font-weight="bold"' if key in OWN else ""
        lines += [
            (
                f'<text x="{_LABEL - 8}" y="{top + 13}" text-anchor="end"{weight}>'
                f"{escape(PEERS[key].name)}</text>"
            ),
            (
                f'<rect x="{_LABEL}" y="{top}" width="{long:.1f}" height="{_BAR}" rx="2" '
                f'fill="{colour}"/>'
            ),
            f'<text x="{_LABEL + long + 6:.1f}" y="{top + 13}">{number(value)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _scale(values: list[float], *, logarithmic: bool) -> Callable[[float], float]:
    room = _WIDTH - _LABEL - _VALUE
    most = max(values, default=1.0)
    if not logarithmic:
        return lambda value: room * value / most
    # A bar of the least value is still to be seen.
    least = min(values, default=1.0) / 1.5
    whole = math.log(most / least) or 1.0
    return lambda value: room * math.log(value / least) / whole


def main() -> None:
    """Draw the pictures of a file of results."""
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        path = folder / f"{picture.figure}.svg"
        path.write_text(draw(picture, collect(lines)), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
