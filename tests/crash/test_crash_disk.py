"""The model of a disk that loses power: what may be lost, what may not."""

from __future__ import annotations

import random

from n4a_store.testing.crash_disk import SECTOR, Disk, Image
from n4a_store.testing.recorder import Call

FOLDER, FILE, OTHER, SUB = 1, 2, 3, 4


def call(kind: str, inode: int = 0, at: int = 0, a: bytes = b"", b: bytes = b"") -> Call:
    return Call(kind, inode, at, a, b)


def images(calls: list[Call], random_ones: int = 300) -> list[Image]:
    disk = Disk("/r")
    for each in calls:
        disk.follow(each)
    return [disk.crash(choice) for choice in disk.choices(random.Random(1), random_ones)]


CREATE = call("C", FILE, a=b"/r/f")


def test_nothing_is_certain_without_a_sync_and_a_kill_loses_nothing() -> None:
    first, *others = images([CREATE, call("W", FILE, 0, b"data")])
    assert first == {"f": b"data"}
    assert {tuple(image.items()) for image in others} >= {(), (("f", b""),), (("f", b"data"),)}


def test_a_synced_file_may_still_lose_its_name() -> None:
    found = images([CREATE, call("W", FILE, 0, b"data"), call("F", FILE)])
    assert {tuple(image.items()) for image in found} == {(), (("f", b"data"),)}


def test_a_file_and_its_folder_synced_stay() -> None:
    calls = [CREATE, call("W", FILE, 0, b"data"), call("F", FILE), call("F", FOLDER)]
    assert images(calls) == [{"f": b"data"}] * 304


def test_a_torn_write_keeps_any_sectors_and_never_touches_what_was_synced_before() -> None:
    old, new = b"o" * (4 * SECTOR), b"n" * (4 * SECTOR)
    calls = [CREATE, call("W", FILE, 0, old), call("F", FILE), call("F", FOLDER)]
    seen = {image["f"] for image in images([*calls, call("W", FILE, 0, new)], 1000)}
    assert len(seen) == 16
    assert all(
        data is not None and set(data[at : at + SECTOR]) in ({ord("o")}, {ord("n")})
        for data in seen
        for at in range(0, 4 * SECTOR, SECTOR)
    )


def test_a_truncation_may_or_may_not_have_happened() -> None:
    calls = [CREATE, call("W", FILE, 0, b"data"), call("F", FILE), call("F", FOLDER)]
    seen = {image["f"] for image in images([*calls, call("T", FILE, 0)])}
    assert seen == {b"data", b""}


def test_a_rename_over_a_file_shows_the_old_or_the_new_never_neither() -> None:
    calls = [
        CREATE,
        call("W", FILE, 0, b"old"),
        call("F", FILE),
        call("F", FOLDER),
        call("C", OTHER, a=b"/r/tmp"),
        call("W", OTHER, 0, b"new"),
        call("F", OTHER),
        call("R", a=b"/r/tmp", b=b"/r/f"),
    ]
    found = images(calls)
    assert {image["f"] for image in found} == {b"old", b"new"}
    assert images([*calls, call("F", FOLDER)]) == [{"f": b"new"}] * 304


def test_a_move_between_folders_is_durable_when_the_target_is_synced() -> None:
    calls = [
        call("M", SUB, a=b"/r/sub"),
        call("F", FOLDER),
        call("C", FILE, a=b"/r/sub/f"),
        call("W", FILE, 0, b"data"),
        call("F", FILE),
        call("R", a=b"/r/sub/f", b=b"/r/f"),
    ]
    moved = {"f": b"data", "sub": None}
    seen = {tuple(image.items()) for image in images(calls)}
    assert seen >= {tuple(moved.items()), (("sub", None),)}
    assert images([*calls, call("F", FOLDER)]) == [moved] * 304


def test_what_stands_below_a_folder_goes_with_its_name() -> None:
    calls = [
        call("M", SUB, a=b"/r/new"),
        call("C", FILE, a=b"/r/new/f"),
        call("F", SUB),
        call("R", a=b"/r/new", b=b"/r/store"),
    ]
    seen = {tuple(image.items()) for image in images(calls)}
    whole = lambda name: ((name, None), (f"{name}/f", b""))  # noqa: E731
    assert seen == {(), whole("new"), whole("store")}
