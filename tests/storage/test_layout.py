"""Paths: spelt in one place, never leaving their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store.errors import InvalidNameError
from n4a_store.storage.layout import StoreLayout, WorkspaceLayout

STORE = StoreLayout(Path("/s"))
WORKSPACE = WorkspaceLayout(Path("/w"))


def test_where_everything_stands() -> None:
    names = ("format", "config", "catalog", "commit_lock", "gc_lock", "leases", "packs")
    assert [str(getattr(STORE, name)) for name in names] == [
        "/s/format", "/s/config", "/s/catalog.db", "/s/commit.lock", "/s/gc.lock", "/s/leases",
        "/s/packs",
    ]  # fmt: skip
    assert str(STORE.pack("p-0")) == "/s/packs/p-0.n4p"
    assert str(STORE.transaction("t")) == "/s/txn/t"
    assert str(STORE.lease("l")) == "/s/leases/l"
    assert str(WORKSPACE.store("d")) == "/w/binaries/d"
    assert str(WORKSPACE.manifest("d", "r", "p")) == "/w/runs/d/r/p/manifest.yaml"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", "a\0"])
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    for path in (STORE.lease, STORE.transaction, WORKSPACE.store):
        with pytest.raises(InvalidNameError):
            path(name)
    for arguments in ((name, "r", "p"), ("d", name, "p"), ("d", "r", name)):
        with pytest.raises(InvalidNameError):
            WORKSPACE.manifest(*arguments)
    if "/" in name or "\\" in name or "\0" in name:
        with pytest.raises(InvalidNameError):
            STORE.pack(name)
