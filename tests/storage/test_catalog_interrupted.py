"""A Ctrl-C as a catalog transaction begins leaves none open: nobody would get in any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store.settings import Durability
from n4a_store.storage import catalog as catalog_module
from n4a_store.storage.catalog import Catalog


@pytest.mark.parametrize("name", ["CatalogReader", "CatalogWriter"])
def test_an_interrupt_as_a_transaction_begins_leaves_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Catalog.create(tmp_path / "catalog.db")
    catalog, other = (
        Catalog(tmp_path / "catalog.db", tmp_path / "commit.lock", Durability.FULL)
        for _ in range(2)
    )
    begin = catalog.read if name == "CatalogReader" else catalog.write

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalog_module, name, interrupted)
        with pytest.raises(KeyboardInterrupt), begin():
            pass
    for one in (other, catalog):
        with one.write() as writer:
            assert writer.generation() == 0
        one.close()
