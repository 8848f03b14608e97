"""Many packs as one database: look-ups that do not depend on how objects are spread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import BackendError, CorruptionError
from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.odb import database, small_packs
from n4a_store.odb.database import Location, ObjectDatabase, PackGoneError
from n4a_store.odb.listing import ids_with_prefix, iter_ids
from n4a_store.packs.reader import PackReader
from n4a_store.packs.writer import PackWriter
from n4a_store.storage.files import map_file, read_ends
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.rows import PackRow, PackState


def blob(number: int) -> tuple[bytes, bytes]:
    data = f"object {number}".encode()
    return raw_hash(Kind.BLOB, data), data


def write_pack(layout: StoreLayout, name: str, numbers: list[int]) -> PackRow:
    layout.packs.mkdir(exist_ok=True)
    out = bytearray()
    writer = PackWriter(out.extend)
    for number in numbers:
        oid, data = blob(number)
        writer.add(oid, Kind.BLOB, data)
    footer = writer.seal()
    layout.pack(name).write_bytes(out)
    return PackRow(name, PackState.LIVE, 0, "", footer.objects, len(out), footer.raw_bytes)


def build(
    folder: Path, packs: list[list[int]], written: Container[int] = ()
) -> tuple[StoreLayout, ObjectDatabase]:
    """A database of some packs; of those that it wrote, it is told what they hold."""
    layout = StoreLayout(folder)
    odb = ObjectDatabase(layout)
    for at, numbers in enumerate(packs):
        row = write_pack(layout, f"p{at}", numbers)
        if at in written:
            odb.add_written(row, [blob(number)[0] for number in dict.fromkeys(numbers)])
        else:
            odb.add([row])
    return layout, odb


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=20),
    st.sets(st.integers(0, 19)),
    st.sets(st.integers(0, 19)),
)
def test_a_look_up_agrees_with_a_plain_list(
    tmp_path_factory: pytest.TempPathFactory,
    packs: list[list[int]],
    allow: set[int],
    written: set[int],
) -> None:
    _, odb = build(tmp_path_factory.mktemp("odb"), packs, written)
    allowed = {f"p{at}" for at in allow}
    for number in range(41):
        oid, data = blob(number)
        holders = {f"p{at}" for at, numbers in enumerate(packs) if number in numbers}
        found = odb.find(oid)
        assert (found is None) == (not holders)
        for own in (False, True):
            assert odb.fetch(oid, own=own) == ((Kind.BLOB, data) if holders else None)
        if found is not None:
            assert found.pack_id in holders
            assert odb.read(found) == (Kind.BLOB, data)
        limited = odb.find(oid, allowed)
        assert (limited is None) == (not holders & allowed)
        if limited is not None:
            assert limited.pack_id in holders & allowed
        assert {location.pack_id for location in odb.find_all(oid)} == holders
        dedupe = odb.find_pack(oid, allowed)
        assert (dedupe is None) == (not holders & allowed)
        assert dedupe is None or dedupe in holders & allowed
    ids = list(iter_ids(odb))
    assert ids == sorted({(blob(n)[0], Kind.BLOB) for numbers in packs for n in numbers})
    for prefix in ("", "0", "a1", "f", ids[0][0].hex()[:7] if ids else "00"):
        assert ids_with_prefix(odb, prefix) == [x for x in ids if x[0].hex().startswith(prefix)]


def test_packs_too_large_for_the_table_are_looked_at_for_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SMALL_OBJECTS", 2)
    _, odb = build(tmp_path, [[n, 100 + n, 200 + n, 300 + n] for n in range(5)] + [[50], [60]])
    every = {f"p{at}" for at in range(7)}
    asked: list[str] = []
    real, ids_in = ObjectDatabase.reader, ObjectDatabase._ids_in

    def note(odb: ObjectDatabase, pack_id: str) -> PackReader:
        asked.append(pack_id)
        return real(odb, pack_id)

    def note_ids(odb: ObjectDatabase, pack_id: str) -> list[bytes]:
        asked.append(pack_id)
        return ids_in(odb, pack_id)

    monkeypatch.setattr(ObjectDatabase, "reader", note)
    monkeypatch.setattr(ObjectDatabase, "_ids_in", note_ids)
    assert [odb.find_pack(blob(n)[0], every) for n in (3, 50, 201)] == ["p3", "p5", "p1"]
    assert asked == ["p6", "p5", "p4", "p3", "p2", "p1"], "the newest first, each once"
    odb.retain(every - {"p5"})
    assert odb.find_pack(blob(50)[0], every) is None
    assert odb.find_pack(blob(60)[0], every) == "p6"


def test_what_was_written_here_is_found_without_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, odb = build(tmp_path, [[1, 2]], written={0})
    half = write_pack(layout, "half", [3, 4])
    odb.add_written(half, [blob(3)[0]])  # not all of it: then it is read
    layout.pack("p0").unlink()
    assert odb.find_pack(blob(2)[0], {"p0"}) == "p0"
    assert odb.find_pack(blob(2)[0], {"half"}) is None
    assert odb.find_pack(blob(4)[0], {"half"}) == "half"
    odb.add_written(half, [blob(3)[0], blob(4)[0]])  # known already
    assert odb.pack_ids == ["p0", "half"]
    odb.retain({"half"})
    assert odb.find_pack(blob(2)[0], {"p0", "half"}) is None
    monkeypatch.setattr(database, "_TABLE_OBJECTS", 1)  # no room for two
    full = write_pack(layout, "full", [5, 6])
    odb.add_written(full, [blob(5)[0], blob(6)[0]])
    assert not odb._table
    assert odb.find_pack(blob(6)[0], {"full"}) == "full"


class Interrupting(dict[Any, Any]):
    """Is interrupted once, when so much has been put into it."""

    left = -1

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._count()

    def setdefault(self, key: Any, default: Any = None) -> Any:
        value = super().setdefault(key, default)
        self._count()
        return value

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("attribute", ["_packs", "_table"])
@pytest.mark.parametrize("after", range(1, 4))
def test_an_interrupt_while_a_pack_is_made_known_does_not_hide_it(
    tmp_path: Path, attribute: str, after: int
) -> None:
    layout, odb = build(tmp_path, [[1]])
    rows = [write_pack(layout, f"new{at}", [10 * at, 10 * at + 1, 10 * at + 2]) for at in (1, 2)]
    interrupting = Interrupting(getattr(odb, attribute))
    interrupting.left = after
    setattr(odb, attribute, interrupting)
    with suppress(KeyboardInterrupt):
        odb.add(rows[:1])
        odb.add_written(rows[1], [blob(20 + at)[0] for at in range(3)])
    known = [row.id for row in rows if row.id in odb]
    assert known
    for pack_id in known:
        for at in range(3):
            oid = blob(10 * int(pack_id[-1]) + at)[0]
            assert odb.find_pack(oid, {pack_id}) == pack_id
            assert odb.find(oid) is not None


def test_an_error_while_the_table_is_filled_makes_no_pack_disappear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, odb = build(tmp_path, [[n] for n in range(20)])
    opened = 0

    def flaky(path: Path, first: int, last: int) -> tuple[bytes, bytes, int]:
        nonlocal opened
        opened += 1
        if opened == 3:
            raise BackendError("too many open files")
        return read_ends(path, first, last)

    monkeypatch.setattr(small_packs, "read_ends", flaky)
    with pytest.raises(BackendError):
        odb.find(blob(0)[0])
    assert [odb.find(blob(n)[0]) for n in range(20)] == [Location(f"p{n}", 0) for n in range(20)]


def test_what_is_new_is_found_without_opening_what_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, odb = build(tmp_path, [[2 * n, 2 * n + 1] for n in range(40)])
    opened: list[Path] = []

    def note(path: Path, first: int, last: int) -> tuple[bytes, bytes, int]:
        opened.append(path)
        return read_ends(path, first, last)

    monkeypatch.setattr(small_packs, "read_ends", note)
    assert odb.find(blob(79)[0]) is not None
    assert len(opened) == 1
    assert odb.find(blob(60)[0]) is not None
    assert len(opened) == 10
    for number in range(60, 80):
        location = odb.find(blob(number)[0])
        assert location is not None
        assert location.pack_id == f"p{number // 2}"
    assert len(opened) == 10
    assert odb.find(blob(999)[0]) is None
    assert len(opened) == 40


def test_the_last_pack_of_a_run_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, rows = StoreLayout(tmp_path), []
    for number in range(30):
        rows.append(write_pack(layout, f"owner-{number}", [number]))
    odb = ObjectDatabase(layout)
    odb.add(sorted(rows, key=lambda row: row.id))  # as the catalog gives them: 9 after 29
    opened: list[str] = []

    def note(path: str) -> memoryview:
        opened.append(path)
        return map_file(path)

    monkeypatch.setattr(database, "map_file", note)
    assert odb.find(blob(29)[0]) == Location("owner-29", 0)
    assert opened == [layout.pack_name("owner-29")] == [str(layout.pack("owner-29"))]


COUNTED_WRONG = [("p7", 0), ("p8", 2)]


def test_the_table_is_filled_without_mapping_a_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, odb = build(tmp_path, [[n] for n in range(20)] + [list(range(100, 140))])
    # Where the catalog counts wrong, the end that is read is too short or too long.
    odb.add([replace(odb._packs[name], objects=objects) for name, objects in COUNTED_WRONG])
    mapped: list[str] = []

    def note(path: str) -> memoryview:
        mapped.append(Path(path).stem)
        return map_file(path)

    monkeypatch.setattr(database, "map_file", note)
    assert odb.find(blob(999)[0]) is None
    assert mapped == ["p7"]
    assert odb.find(blob(3)[0]) == Location("p3", 0)
    assert odb.find(blob(139)[0]) is not None
    assert all(odb.find(blob(n)[0]) == Location(f"p{n}", 0) for n in (7, 8))
    assert mapped == ["p7", "p3", "p20", "p8"]


@pytest.mark.parametrize(
    ("at", "byte"),
    [(0, b"X"), (4, b"\x09"), (-1, b"X"), (-100, b"\xff"), (None, b"longer"), (None, b"another")],
)
def test_the_table_takes_nothing_from_a_pack_that_cannot_be_opened(
    tmp_path: Path, at: int | None, byte: bytes
) -> None:
    layout, odb = build(tmp_path, [[n, 100] for n in range(20)])
    path = layout.pack("p19")
    content = bytearray(path.read_bytes())
    if byte == b"another":
        write_pack(layout, "other", [19, 100, 200])
        content[:] = layout.pack("other").read_bytes()
    elif at is None:
        content += byte
    else:
        content[at : at + 1 or None] = byte
    path.write_bytes(content)
    with pytest.raises(CorruptionError):
        odb.reader("p19")
    fresh = ObjectDatabase(layout)
    fresh.add([odb._packs[f"p{n}"] for n in range(20)])
    every = {f"p{n}" for n in range(20)}
    assert fresh.find_pack(blob(100)[0], every) == "p18", "nobody relies on a pack that is damaged"
    assert fresh.find_pack(blob(19)[0], every) is None
    assert fresh.find(blob(4)[0]) == Location("p4", 0)


def test_a_pack_may_leave_and_come_back(tmp_path: Path) -> None:
    layout, odb = build(tmp_path, [[n] for n in range(20)])
    assert odb.find(blob(3)[0]) is not None  # the table of small packs is filled now
    odb.retain({f"p{n}" for n in range(20) if n != 3})
    assert odb.find(blob(3)[0]) is None
    assert odb.find(blob(4)[0]) == Location("p4", 0)
    odb.add([write_pack(layout, "p3", [3])])
    assert odb.find(blob(3)[0]) == Location("p3", 0)
    odb.close()
    assert odb.find(blob(4)[0]) is None


@pytest.mark.parametrize("packs", [3, 20])
def test_a_missing_pack_hides_nothing_else(tmp_path: Path, packs: int) -> None:
    layout, odb = build(tmp_path, [[n, 100] for n in range(packs)])
    layout.pack("p1").unlink()
    assert odb.find(blob(1)[0]) is None
    assert odb.find(blob(2)[0]) is not None
    assert odb.find(blob(100)[0]) is not None
    with pytest.raises(PackGoneError, match="p1"):
        odb.verify_indexes()


def test_a_pack_that_was_evicted_and_then_damaged_does_not_hide_a_sound_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_OPEN_PACKS", 2)
    layout, odb = build(tmp_path, [[n, 100] for n in range(20)])
    first = odb.find(blob(100)[0])
    assert first is not None
    odb.find(blob(18)[0])
    odb.find(blob(19)[0])
    layout.pack(first.pack_id).write_bytes(b"N4PK")
    again = odb.find(blob(100)[0])
    assert again is not None
    assert again.pack_id != first.pack_id


@pytest.mark.parametrize("position", [0, 4, 6, -1, -30, -130])
def test_damage_to_head_or_foot_is_corruption_that_names_the_pack(
    tmp_path: Path, position: int
) -> None:
    layout, odb = build(tmp_path, [[1], [2]])
    data = bytearray(layout.pack("p1").read_bytes())
    data[position] ^= 1
    layout.pack("p1").write_bytes(data)
    for _ in range(3):
        with pytest.raises(CorruptionError, match="p1") as caught:
            odb.reader("p1")
        assert caught.value.hint
    # Asked again and again, the error must not drag every earlier traceback along.
    depth, trace = 0, caught.value.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth <= 3
    assert odb.find(blob(1)[0]) == Location("p0", 0)


def test_a_fan_out_that_lies_is_found_by_the_check_and_answers_no_other_object(
    tmp_path: Path,
) -> None:
    layout, odb = build(tmp_path, [[n] for n in range(20)])
    path = layout.pack("p5")
    index_offset = odb.reader("p5").footer.index_offset
    odb.close()
    data = bytearray(path.read_bytes())
    data[index_offset : index_offset + 1024] = bytes(1024)
    path.write_bytes(data)
    odb.add([PackRow("p5", PackState.LIVE, 0, "", 1, len(data), 1)])
    assert odb.find(blob(5)[0]) is None
    with pytest.raises(CorruptionError, match="p5"):
        odb.verify_indexes()


def test_nothing_is_fetched_from_a_pack_that_is_not_listed(tmp_path: Path) -> None:
    layout, odb = build(tmp_path, [[1], [2]])
    write_pack(layout, "stranger", [3])
    odb.reader("stranger")  # as fsck does
    assert odb.fetch(blob(3)[0], own=False) is None
    assert odb.fetch(blob(2)[0], own=False) == (Kind.BLOB, blob(2)[1])
    odb.retain({"p0"})
    assert odb.fetch(blob(2)[0], own=False) is None


def test_what_cannot_be_fetched_is_left_to_those_who_say_why(tmp_path: Path) -> None:
    layout, odb = build(tmp_path, [[7], [8]])
    layout.pack("p1").unlink()
    wanted = [blob(number)[0] for number in (8, 7, 9)]
    assert odb.fetch_each(wanted, own=True) == [None, (Kind.BLOB, blob(7)[1]), None]


def test_views_outlive_the_database(tmp_path: Path) -> None:
    layout, odb = build(tmp_path, [[7]])
    oid, data = blob(7)
    location = odb.find(oid)
    assert location is not None
    _, view = odb.read(location)
    odb.close()
    layout.pack("p0").unlink()
    assert bytes(view) == data


class _Interrupting(OrderedDict[str, PackReader]):
    """Opened packs; a Ctrl-C comes as the second one is forgotten."""

    def pop(self, *args: Any) -> Any:
        self.forgotten = getattr(self, "forgotten", 0) + 1
        if self.forgotten == 2:
            raise KeyboardInterrupt
        return super().pop(*args)


def test_a_ctrl_c_as_packs_are_forgotten_leaves_what_can_be_searched(tmp_path: Path) -> None:
    layout = StoreLayout(tmp_path)
    rows = [write_pack(layout, f"pack-{number}", [number]) for number in range(6)]
    odb = ObjectDatabase(layout)
    odb.add(rows)
    keep = {row.id for row in rows[3:]}
    odb._readers = _Interrupting(odb._readers)
    with pytest.raises(KeyboardInterrupt):
        odb.retain(keep)
    for attempt in range(2):
        for number in range(6):
            found = odb.find_pack(blob(number)[0], keep)
            assert found == (f"pack-{number}" if number >= 3 else None), attempt
        odb.add(rows[3:])
        odb.retain(keep)
    assert sorted(odb.pack_ids) == sorted(keep)
