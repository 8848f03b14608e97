"""Rows and their checksums: the bytes that docs/reference/formats/catalog.md promises."""

from __future__ import annotations

import msgpack
import pytest
from blake3 import blake3

from n4a_store.storage.rows import PackRow, PackState, RefRow, Summary, row_hash, row_sum

REF = RefRow("refs/tags/a", 1, bytes(32), 7)


def test_golden_checksums() -> None:
    assert row_sum("refs", REF.record()).hex() == "0887ada9ee7ec8cb"
    assert row_sum("meta", ["version", 1]).hex() == "ea520edae0ac5d88"
    plain = blake3(msgpack.packb(["refs", "refs/tags/a", 1, bytes(32), 7])).digest()
    assert row_sum("refs", REF.record()) == plain[:8]
    assert row_hash("refs", REF.record()) == plain[:16]
    assert Summary.over([plain[:16]]) == Summary(1, int.from_bytes(plain[:16], "big"))


def test_a_row_of_another_table_with_the_same_fields_has_another_sum() -> None:
    assert row_sum("refs", REF.record()) != row_sum("pins", REF.record())


def test_a_pack_row_moves_and_comes_back_as_it_was() -> None:
    row = PackRow("e-l-0", PackState.LIVE, 0, "", 1, 2, 3)
    condemned = row.moved(PackState.CONDEMNED, gc_gen=4, owner=None)
    assert condemned.record() == ("e-l-0", 1, 4, "", 1, 2, 3)
    assert PackRow.from_record(condemned.record()) == condemned
    assert type(condemned.record()[1]) is int
    with pytest.raises(ValueError, match="9"):
        PackRow.from_record(["e-l-0", 9, 0, "", 1, 2, 3])


def test_a_lease_keeps_what_was_condemned_after_its_generation_and_one_unread_keeps_all() -> None:
    condemned = PackRow("e-l-0", PackState.CONDEMNED, 4, "", 1, 2, 3)
    kept = {generation: condemned.kept_at(generation) for generation in (-1, 3, 4, 5, None)}
    assert kept == {-1: True, 3: True, 4: False, 5: False, None: True}


def test_sums_wrap_and_cancel() -> None:
    digest = b"\xff" * 16
    summary = Summary.over([digest] * 5)
    assert summary.rows == 5
    assert 0 <= summary.total < 2**128
    for _ in range(5):
        summary = summary.grown(-1, -int.from_bytes(digest, "big"))
    assert summary == Summary()
