"""A signal handler that reads in the midst of a read finds what there is, and so does that."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from n4a_store.artifacts.cache import ObjectCache
from n4a_store.objects.trees import TreeNode
from n4a_store.odb.database import ObjectDatabase
from n4a_store.odb.kept import KeptBlobs, KeptNodes
from n4a_store.storage.layout import StoreLayout
from tests.odb.test_database import blob, write_pack
from tests.storage.test_catalog_reentered import at_moment

NODE = TreeNode({}, 0)
PACKS = 14  # of which one at least comes into the table before the rest is searched


@pytest.mark.parametrize("wanted", [0, PACKS - 1, 99])
@pytest.mark.parametrize("looked_for", [0, 99])
def test_a_look_within_a_look(tmp_path: Path, wanted: int, looked_for: int) -> None:
    """A pack that one of them put into the table was passed over by the other, and another pack
    was dropped from the search in its place: what was in it was absent from then on."""
    layout = StoreLayout(tmp_path)
    rows = [write_pack(layout, f"p{number}", [number]) for number in range(PACKS)]
    number, total = 1, 2
    while number < total:
        odb = ObjectDatabase(layout)
        seen = []

        def look(odb: ObjectDatabase = odb, seen: list[Any] = seen) -> None:
            found = odb.find(blob(looked_for)[0])
            seen.append((found is not None) == (f"p{looked_for}" in odb))

        with at_moment(number, look, ("odb/database.py",)) as count:
            odb.add(rows)
            found = odb.find(blob(wanted)[0])
        assert (found is not None) == (wanted < PACKS), number
        assert seen == [True] * (number <= count[0])
        assert all(odb.find(blob(each)[0]) for each in range(PACKS)), number
        number, total = number + 1, count[0]
    assert number > 50


@pytest.mark.parametrize("other", [b"1", b"3", b"9"])
def test_what_is_kept_is_counted_whoever_keeps_something_in_between(other: bytes) -> None:
    number, total = 1, 2
    while number < total:
        blobs, nodes = KeptBlobs(most_bytes=400), KeptNodes(most_entries=7)
        objects = ObjectCache(3, 350)

        def keep(all_of_them: Any = (blobs, nodes, objects)) -> None:
            blobs, nodes, objects = all_of_them
            for name in (b"6", b"7", b"8", other):  # all that was there goes
                blobs.put(name, name * 100)
                nodes.put(name, NODE, 2)
            objects.put(other, "from a handler", 90)

        with at_moment(number, keep, ("odb/kept.py", "artifacts/cache.py")) as count:
            for name in (b"1", b"2", b"3", b"4", b"5", b"1", b"5"):
                blobs.put(name, name * 100)
                nodes.put(name, NODE, 2)
                objects.put(name, name, 100)
                objects.get(name)
                blobs.get(name)
                blobs.get_each([b"1", b"2", name])
        assert blobs._bytes == sum(map(len, blobs._blobs.values())) <= 400, number
        assert nodes._weights.keys() == nodes._nodes.keys(), number
        assert nodes._entries == sum(nodes._weights.values()) <= 7, number
        assert objects._bytes == sum(size for _, size in objects._items.values()) <= 350, number
        number, total = number + 1, count[0]
    assert number > 20


@pytest.mark.parametrize("kept", [KeptBlobs(), KeptNodes(), ObjectCache(2, 100)])
def test_nobody_waits_for_himself(kept: Any) -> None:
    """A handler that read while its thread kept what it had read stood still for good."""
    done = []

    def work() -> None:
        with kept._mutex:
            kept.clear()
        done.append(True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert done
