"""Refs and their history: compare, swap and log, all of it or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import ConflictError, CorruptionError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.refs.refs import ANY, Expect, Ref, RefChange, apply, from_row, read_reflog
from n4a_store.settings import Durability
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.rows import ReflogRow, RefRow

A, B, C = (TreeEntry(Kind.BLOB, ObjectId(bytes([n]) * 32)) for n in (1, 2, 3))
NAME = "refs/tags/a"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    path = tmp_path / "catalog.db"
    Catalog.create(path)
    catalog = Catalog(path, tmp_path / "commit.lock", Durability.NONE)
    yield catalog
    catalog.close()


def move(
    catalog: Catalog, target: TreeEntry | None, expect: Expect = ANY, *, name: str = NAME
) -> int:
    with catalog.write() as writer:
        op = writer.next_op("commit", "a test")
        return apply(writer, {name: RefChange(target, expect)}, op)


def history(catalog: Catalog) -> list[tuple[TreeEntry | None, TreeEntry | None]]:
    with catalog.read() as reader:
        return [(entry.old, entry.new) for entry in read_reflog(reader, NAME)]


def held(catalog: Catalog) -> TreeEntry | None:
    with catalog.read() as reader:
        row = reader.ref(NAME)
        return None if row is None else from_row(row).entry


def test_every_change_is_in_the_history_newest_first(catalog: Catalog) -> None:
    for target in (A, B, None, C):
        assert move(catalog, target) == 1
    assert history(catalog) == [(None, C), (B, None), (A, B), (None, A)]
    with catalog.read() as reader:
        entries = read_reflog(reader)
        assert [entry.op for entry in entries] == [4, 3, 2, 1]
        assert {entry.message for entry in entries} == {"a test"}
        reader.verify()


def test_a_change_to_what_is_there_already_is_none(catalog: Catalog) -> None:
    move(catalog, A)
    assert move(catalog, A) == 0
    assert move(catalog, None, name="refs/tags/other") == 0
    assert history(catalog) == [(None, A)]


@pytest.mark.parametrize(
    ("before", "expect", "agrees"),
    [
        (None, None, True),
        (None, ANY, True),
        (None, A.oid, False),
        (A, A.oid, True),
        (A, B.oid, False),
        (A, None, False),
        (A, ANY, True),
    ],
)
@pytest.mark.parametrize("target", [C, None])
def test_compare_and_swap(
    catalog: Catalog,
    before: TreeEntry | None,
    expect: Expect,
    agrees: bool,
    target: TreeEntry | None,
) -> None:
    if before is not None:
        move(catalog, before)
    if agrees:
        move(catalog, target, expect)
        assert held(catalog) == target
        return
    with pytest.raises(ConflictError, match=NAME) as caught:
        move(catalog, target, expect)
    assert caught.value.hint
    assert held(catalog) == before


def test_one_stale_ref_of_several_leaves_all_as_they_were(catalog: Catalog) -> None:
    move(catalog, A)
    changes = {NAME: RefChange(B), "refs/tags/z": RefChange(B, C.oid)}
    with pytest.raises(ConflictError), catalog.write() as writer:
        apply(writer, changes, writer.next_op("commit", ""))
    assert held(catalog) == A
    assert history(catalog) == [(None, A)]
    with catalog.read() as reader:
        assert reader.sequence() == 1
        reader.verify()


def test_rows_that_could_never_have_been_written_are_damage() -> None:
    for row in (
        RefRow("tags/a", 1, bytes(32), 1),
        RefRow("refs/tags/../a", 1, bytes(32), 1),
        RefRow(NAME, 9, bytes(32), 1),
        RefRow(NAME, 1, bytes(31), 1),
        RefRow(NAME, 1, "text", 1),  # type: ignore[arg-type]
    ):
        with pytest.raises(CorruptionError):
            from_row(row)
    assert from_row(RefRow(NAME, 1, A.oid.raw, 1)) == Ref(NAME, Kind.BLOB, A.oid)


def test_a_history_whose_operation_is_gone_is_damage(catalog: Catalog) -> None:
    with catalog.write() as writer:
        writer.put(ReflogRow(1, 77, NAME, None, None, 1, A.oid.raw))
    with pytest.raises(CorruptionError, match="operation 77"):
        history(catalog)
