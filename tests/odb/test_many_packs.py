"""n4a_store.odb.database with hundreds of packs: what is open stays so, within what may be."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from n4a_store.errors import BackendError, CorruptionError
from n4a_store.odb import database
from n4a_store.odb.database import Location, ObjectDatabase
from n4a_store.packs.format import FOOTER_BYTES
from n4a_store.storage.files import map_file
from n4a_store.storage.system import as_backend_error
from tests.odb.test_database import blob, build, write_pack

Maps = list[str]


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> Maps:
    """What is mapped, by name."""
    mapped: Maps = []

    def note(name: str) -> memoryview:
        mapped.append(Path(name).stem)
        return map_file(name)

    monkeypatch.setattr(database, "map_file", note)
    return mapped


def limit(monkeypatch: pytest.MonkeyPatch, odb: ObjectDatabase, most: int, number: int) -> None:
    """Let only so many packs be mapped at once."""

    def refuse(name: str) -> memoryview:
        if len(odb._readers) >= most:
            error = OSError(number, "no more")
            raise as_backend_error(f"read {name}", error) from error
        return map_file(name)

    monkeypatch.setattr(database, "map_file", refuse)


def spoil_index(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-FOOTER_BYTES - 8] ^= 1
    path.write_bytes(data)


def test_packs_are_opened_once(tmp_path: Path, maps: Maps) -> None:
    layout, odb = build(tmp_path, [[number] for number in range(300)])
    odb.verify_indexes()
    assert len(maps) == 300
    maps.clear()
    odb.verify_indexes()
    odb.add([write_pack(layout, "new", [300])])
    assert odb.find(blob(999)[0]) is None
    odb.verify_indexes()
    assert maps == ["new"]


def test_indexes_are_verified_again_when_they_have_been_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_OPEN_PACKS", 2)
    layout, odb = build(tmp_path, [[number] for number in range(5)])
    odb.verify_indexes()
    spoil_index(layout.pack("p0"))
    with pytest.raises(CorruptionError, match="p0"):
        odb.verify_indexes()


@pytest.mark.parametrize("forget", ["retain", "close"])
def test_a_pack_that_comes_back_is_verified_again(tmp_path: Path, forget: str) -> None:
    layout, odb = build(tmp_path, [[1], [2]])
    odb.verify_indexes()
    odb.retain({"p1"}) if forget == "retain" else odb.close()
    row = write_pack(layout, "p0", [3])
    odb.verify_indexes()
    spoil_index(layout.pack("p0"))
    odb.add([row])
    with pytest.raises(CorruptionError, match="p0"):
        odb.verify_indexes()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_where_no_more_can_be_mapped_other_packs_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    layout, odb = build(tmp_path, [[n] for n in range(30)])
    limit(monkeypatch, odb, 10, number)
    odb.verify_indexes()
    spoil_index(layout.pack("p0"))
    with pytest.raises(CorruptionError, match="p0"):
        odb.verify_indexes()
    assert [odb.find(blob(n)[0]) for n in range(1, 30)] == [
        Location(f"p{n}", 0) for n in range(1, 30)
    ]


@pytest.mark.parametrize(("most", "number"), [(0, errno.EMFILE), (1, errno.EACCES)])
def test_what_no_room_can_help_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, number: int
) -> None:
    _, odb = build(tmp_path, [[1], [2]])
    limit(monkeypatch, odb, most, number)
    with pytest.raises(BackendError, match="no more"):
        odb.verify_indexes()
