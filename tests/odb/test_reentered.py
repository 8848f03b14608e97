"""A signal handler that reads in the midst of a read finds what there is, and so does that."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from n4a_store.artifacts.cache import ObjectCache
from n4a_store.odb.database import ObjectDatabase
from n4a_store.odb.kept import KeptBlobs, KeptNodes
from n4a_store.storage.layout import StoreLayout
from tests.odb.test_database import blob, write_pack
from tests.storage.test_catalog_reentered import at_moment

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
