"""Packs in memory, for tests that read them."""

from __future__ import annotations

from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.packs.writer import PackWriter


def write(samples: list[tuple[Kind, bytes, int]]) -> tuple[bytes, list[bytes]]:
    out = bytearray()
    writer = PackWriter(out.extend)
    oids = []
    for kind, data, item_size in samples:
        oid = raw_hash(kind, data)
        writer.add(oid, kind, data, item_size)
        oids.append(oid)
    writer.seal()
    assert writer.size == writer.flushed == len(out)
    return bytes(out), oids
