"""Of what type and how large each artifact of a manifest is: what statistics are made from.

Every commit writes them into the attributes of the manifest's tree, beside the ids of the
artifacts. So how many different artifacts there are of each type, and what they take, is exact
and costs no record to be read. Sizes are of payloads before compression.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import NamedTuple

from n4a_store.errors import CorruptionError
from n4a_store.objects.model import Value

__all__ = ["Measure", "Measures", "decode_measures", "encode_measures"]

_EACH = struct.Struct("<HQ")  # the place of its type among "types", its size


class Measure(NamedTuple):
    """An artifact's type and the bytes of its payload."""

    type: str
    size: int


Measures = Mapping[str, Measure]
"""By key."""


def encode_measures(measures: Measures) -> dict[str, Value]:
    """As a canonical value: the types once, then each artifact in the order of the keys."""
    types = sorted({measure.type for measure in measures.values()})
    place = {name: number for number, name in enumerate(types)}
    each = [_EACH.pack(place[kind], size) for _, (kind, size) in sorted(measures.items())]
    return {"types": list(types), "each": b"".join(each)}


def decode_measures(value: object, keys: Collection[str]) -> Measures:
    """The measures of the artifacts under `keys` with this canonical value.

    Raises:
        CorruptionError: They are not theirs.
    """
    if not isinstance(value, dict):
        raise CorruptionError("it does not say how large its artifacts are")
    types, each = value.get("types"), value.get("each")
    if not (
        isinstance(types, list)
        and all(isinstance(name, str) for name in types)
        and isinstance(each, bytes)
        and len(each) == _EACH.size * len(keys)
    ):
        raise CorruptionError("its list of types and sizes is malformed")
    pairs = zip(sorted(keys), _EACH.iter_unpack(each), strict=True)
    try:
        return {key: Measure(types[place], size) for key, (place, size) in pairs}
    except IndexError as error:
        raise CorruptionError("its list of types and sizes is malformed") from error
