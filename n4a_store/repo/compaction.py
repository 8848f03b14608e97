"""Compaction: write a batch of packs anew as small as it gets, near-duplicates as deltas.

Models that were fitted alike share bytes without being equal: PLS with 8 and with 10 components
share the leading ones, nearest-neighbour models share training rows, forests share trees. Objects
are taken largest first, so that a base comes before what is written against it; the base is the
earlier object that shares the most features (``packs.delta.sketch``); the delta is kept only when
it saves a tenth of what the object takes now. What is hot never becomes one. Ids never change.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from n4a_store.objects.oid import Kind
from n4a_store.packs.delta import DeltaEncoder, sketch
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import PackReader
from n4a_store.repo.copying import copy_objects
from n4a_store.repo.hot import Hot
from n4a_store.repo.packing import PackBuilder

__all__ = ["compact_objects"]

_SMALLEST = 1_024
_FEWEST_SHARED = 2
_CANDIDATES = 2
_KEEP = 0.9
_GOOD_ENOUGH = 0.5
_KEPT_BYTES = 64 * 1024 * 1024
_MOST_OF_A_FEATURE = 64


@dataclass(slots=True)
class _Bases:
    """Objects that later ones may be written against, found by the features they share.

    They stand in the pack that is being written, so there are never more than it may hold.
    """

    places: list[tuple[PackReader, int]] = field(default_factory=list)
    by_feature: dict[int, list[int]] = field(default_factory=dict)
    kept: OrderedDict[bytes, DeltaEncoder] = field(default_factory=OrderedDict)
    kept_bytes: int = 0

    def encoder(self, reader: PackReader, position: int) -> DeltaEncoder:
        """An object, verified, as a base; those used lately are kept, within a bound."""
        oid = reader.index.oid_at(position)
        encoder = self.kept.get(oid)
        if encoder is not None:
            self.kept.move_to_end(oid)
            return encoder
        encoder = self.kept[oid] = DeltaEncoder(reader.read_at(position)[1])
        self.kept_bytes += encoder.size
        while self.kept_bytes > _KEPT_BYTES and len(self.kept) > 1:
            self.kept_bytes -= self.kept.popitem(last=False)[1].size
        return encoder

    def add(self, features: Iterable[int], place: tuple[PackReader, int]) -> None:
        number = len(self.places)
        self.places.append(place)
        for feature in features:
            numbers = self.by_feature.setdefault(feature, [])
            # A feature of everything (a page of zeros) tells nothing.
            if len(numbers) < _MOST_OF_A_FEATURE:
                numbers.append(number)

    def forget(self) -> None:
        """The pack is full: nothing in it can be a base any more."""
        self.places.clear()
        self.by_feature.clear()

    def like(self, features: Iterable[int]) -> list[tuple[PackReader, int]]:
        """The objects that share the most of ``features``, best first."""
        found = (self.by_feature.get(feature, ()) for feature in features)
        best = Counter(chain.from_iterable(found)).most_common(_CANDIDATES)
        return [self.places[number] for number, count in best if count >= _FEWEST_SHARED]


def compact_objects(builder: PackBuilder, readers: Iterable[PackReader], hot: Hot) -> int:
    """Write all objects of ``readers`` into new packs, near-duplicates as deltas.

    Args:
        hot: What does not become a delta, whatever that would save. Others may become deltas
            against it.

    Returns:
        How many became deltas.

    Raises:
        CorruptionError: One of them is damaged; what has been written so far must not be used.
    """
    large: list[tuple[int, PackReader, int]] = []
    for reader in readers:
        small = []
        for position in range(len(reader)):
            header = reader.header_at(position)
            if header.kind == Kind.BLOB and header.raw_length >= _SMALLEST:
                large.append((header.raw_length, reader, position))
            else:
                small.append(position)
        copy_objects(builder, reader, small)
    large.sort(key=lambda item: -item[0])
    kept = hot.among([reader.index.oid_at(position) for _, reader, position in large])
    bases = _Bases()
    return sum(
        _write(builder, bases, reader, position, is_hot=place in kept)
        for place, (_, reader, position) in enumerate(large)
        if not builder.holds(reader.index.oid_at(position))
    )


def _write(
    builder: PackBuilder, bases: _Bases, reader: PackReader, position: int, *, is_hot: bool
) -> bool:
    """Write one object; whether it became a delta."""
    if builder.is_between_packs:
        bases.forget()
    entry = reader.stored_at(position)
    header = entry.header
    kind, raw = reader.read_at(position)
    features = sketch(raw)
    # What it takes without a delta; one that is a delta already must be found a base again.
    plain = header.stored_length if header.codec != Codec.DELTA else header.raw_length
    best: tuple[bytes, bytes] | None = None
    for base_reader, base_position in () if is_hot else bases.like(features):
        base_oid = base_reader.index.oid_at(base_position)
        delta = bases.encoder(base_reader, base_position).encode(raw)
        if len(delta) < _KEEP * plain and (best is None or len(delta) < len(best[0])):
            best = (delta, base_oid)
        if len(delta) < _GOOD_ENOUGH * plain:
            break  # a second candidate would cost as much again and gain little
    if best is not None:
        builder.add_delta(header, *best)
        return True
    if header.codec == Codec.DELTA:
        builder.add(header.oid, kind, raw, max(header.item_size, 1))
    else:
        builder.add_stored(entry)
    bases.add(features, (reader, position))
    return False
