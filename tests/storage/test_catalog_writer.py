"""A write transaction reads a ref once: nobody else changes it meanwhile."""

from __future__ import annotations

from pathlib import Path

from n4a_store.settings import Durability
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.rows import RefRow

OID = bytes(32)
FIRST = RefRow("refs/tags/first", 1, OID, 1)


def test_a_writer_reads_a_ref_once_and_knows_what_it_makes_of_it(tmp_path: Path) -> None:
    Catalog.create(tmp_path / "catalog.db")
    catalog = Catalog(tmp_path / "catalog.db", tmp_path / "commit.lock", Durability.FULL)
    with catalog.write() as writer:
        writer.put(FIRST)
    name = FIRST.name
    moved = RefRow(name, 1, OID, 2)
    with catalog.write() as writer:
        writer.expect_refs({name, "refs/tags/none"})
        assert writer.ref(name) == FIRST
        assert writer.ref("refs/tags/none") is None
        writer.put(moved, replaced=FIRST)
        assert writer.ref(name) == moved
        writer.delete(moved)
        assert writer.ref(name) is None
        new = RefRow("refs/tags/none", 1, OID, 2)
        writer.put(new)
        assert writer.ref(new.name) == new
        many = [f"refs/tags/many{number}" for number in range(300_000)]
        writer.expect_refs(many)  # more than one statement takes, however SQLite was built
        assert writer.ref(many[0]) is None
    catalog.close()
