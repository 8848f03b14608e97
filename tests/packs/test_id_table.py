"""A table of ids answers as a dictionary would, and stays small."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.packs import id_table
from n4a_store.packs.id_table import IdTable, _Run

HEADS = [bytes(8), b"samehead", b"\xff" * 8]
TAILS = [bytes(24), b"\x00" * 23 + b"\x01", b"\xff" * 24, b"b" * 24]
OIDS = [head + tail for head in HEADS for tail in TAILS]


@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.sampled_from(OIDS) | st.lists(st.sampled_from(OIDS), max_size=4),
            st.integers(0, 2**64 - 1),
        )
    ),
)
def test_it_answers_as_a_dictionary_also_where_ids_share_their_head(
    recent: int, pairs: list[tuple[bytes | list[bytes], int]]
) -> None:
    table, plain = IdTable(recent), dict[bytes, int]()
    for oid, value in pairs:
        if isinstance(oid, bytes):
            table[oid] = plain[oid] = value
        else:
            table.set_all(oid, value)
            plain.update(dict.fromkeys(oid, value))
        for other in OIDS:
            assert table.get(other) == plain.get(other)
            assert (other in table) == (other in plain)
        for some in (OIDS, OIDS * 4, OIDS[:1], []):  # by numpy where they are many
            assert table.lacking(some) == [other for other in some if other not in plain]


def test_many_ids_with_later_values_for_some_of_them() -> None:
    source = random.Random(1)
    table, plain = IdTable(100), dict[bytes, int]()
    oids = [source.randbytes(32) for _ in range(3_000)]
    for number, oid in enumerate(oids + oids[::7]):
        table[oid] = plain[oid] = number
    assert all(table[oid] == value for oid, value in plain.items())
    assert not any(source.randbytes(32) in table for _ in range(1_000))
    assert len(table._runs) <= 6, "runs are merged as they pile up"


def test_an_id_without_a_number_is_a_key_error_and_is_added_once() -> None:
    table = IdTable(2)
    with pytest.raises(KeyError):
        table[bytes(32)]
    assert table.add(bytes(32))
    assert not table.add(bytes(32))
    assert table.add(b"\x01" * 32)
    assert not table.add(bytes(32))
    assert table[bytes(32)] == 0


def test_it_takes_less_than_half_of_what_a_dictionary_takes() -> None:
    def size_of(table: IdTable | dict[bytes, int]) -> int:
        source = random.Random(2)
        tracemalloc.start()
        for _ in range(40_000):
            table[source.randbytes(32)] = 1
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    # 40,000 ids and 2,000 of them in the dictionary that is within.
    assert size_of(IdTable(2_000)) * 2 <= size_of({})


def test_ids_that_were_chosen_to_share_their_head_are_found_by_bisection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    real = _Run.__getitem__

    def count(run: _Run, at: int) -> bytes:
        nonlocal looked
        looked += 1
        return real(run, at)

    monkeypatch.setattr(_Run, "__getitem__", count)
    table = IdTable(4_096)
    chosen = [b"samehead" + number.to_bytes(24, "big") for number in range(4_096)]
    for number, oid in enumerate(chosen):
        table[oid] = number
    looked = 0
    assert [table[oid] for oid in chosen[::64]] == list(range(0, 4_096, 64))
    assert b"samehead" + b"\xff" * 24 not in table
    assert looked < 65 * 16


def test_an_error_while_ids_are_sorted_forgets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(3)
    oids = [source.randbytes(32) for _ in range(100)]
    table = IdTable(10)

    def refuse(ids: object) -> None:
        raise MemoryError

    for number, oid in enumerate(oids):
        if len(table.recent) == 9:
            with monkeypatch.context() as patch:
                patch.setattr(id_table, "sorted_places", refuse)
                with pytest.raises(MemoryError):
                    table[oid] = number
            assert [table[known] for known in oids[: number + 1]] == list(range(number + 1))
        else:
            table[oid] = number
    assert [table[oid] for oid in oids] == list(range(100))
