"""How many artifacts of each type a manifest names, and their bytes: counters kept per commit.

They stand in the attributes of the manifest's tree, `{type: [names, bytes]}`, so that statistics
over any number of artifacts read manifests alone. Bytes are payloads before compression.
"""

from __future__ import annotations

from collections.abc import Mapping

from n4a_store.errors import CorruptionError
from n4a_store.objects.model import Value

__all__ = ["Totals", "changed", "decode_totals", "encode_totals"]

Totals = Mapping[str, tuple[int, int]]
"""Names and bytes by artifact type."""

_PAIR = 2


def changed(totals: Totals, type_name: str, names: int, size: int) -> Totals:
    """The totals with so many names and bytes more, or less; a type without names goes."""
    had_names, had_size = totals.get(type_name, (0, 0))
    now = {**totals, type_name: (had_names + names, had_size + size)}
    return {name: pair for name, pair in now.items() if pair[0]}


def encode_totals(totals: Totals) -> dict[str, Value]:
    """As canonical values."""
    return {name: list(pair) for name, pair in totals.items()}


def decode_totals(value: object) -> Totals:
    """The totals with these canonical values.

    Raises:
        CorruptionError: They are not totals.
    """
    if not isinstance(value, dict):
        raise CorruptionError("it says nothing of its totals")
    totals: dict[str, tuple[int, int]] = {}
    for name, pair in value.items():
        if not (
            isinstance(pair, list)
            and len(pair) == _PAIR
            and all(type(number) is int and number >= 0 for number in pair)
        ):
            raise CorruptionError(f"its totals of {name!r:.80} are malformed")
        totals[name] = (pair[0], pair[1])
    return totals
