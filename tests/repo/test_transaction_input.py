"""What a transaction makes of names and expectations before anything is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import InvalidInputError, ObjectNotFoundError, Store


def test_one_text_is_one_name_in_a_tree(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    with Store.init(tmp_path / "names") as store, store.transaction() as txn:
        blob = txn.put_blob(b"x")
        assert txn.put_tree({composed: blob}) == txn.put_tree({decomposed: blob})
        with pytest.raises(InvalidInputError, match="encoding"):
            txn.put_tree({composed: blob, decomposed: blob})


@pytest.mark.parametrize("expect", ["", "0" * 64, b"x", 0, False])
def test_what_a_ref_is_expected_to_hold_is_an_id(tmp_path: Path, expect: object) -> None:
    with Store.init(tmp_path / "expect") as store, store.transaction() as txn:
        blob = txn.put_blob(b"x")
        with pytest.raises(InvalidInputError, match="expect"):
            txn.set_ref("refs/tags/x", blob, expect=expect)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["ab12", "0" * 64, None, b"x" * 32, 7])
def test_what_is_no_object_id_is_refused_by_name(tmp_path: Path, wrong: object) -> None:
    with Store.init(tmp_path / "ids") as store, store.transaction() as txn:
        asked = (store.get, store.view, store.has, store.info, store.kind, store.get_tree)
        for ask in (*asked, store.get_run, store.get_value, store.node, txn.get):
            with pytest.raises(InvalidInputError, match="ObjectId"):
                ask(wrong)  # type: ignore[operator]
        with pytest.raises(InvalidInputError, match="ObjectId"):
            txn.put_tree({"a": wrong})  # type: ignore[dict-item]
        with pytest.raises(InvalidInputError, match="ObjectId"):
            txn.set_ref("refs/tags/a", wrong)  # type: ignore[arg-type]


def test_what_is_not_whole_cannot_be_named_the_second_time_either(tmp_path: Path) -> None:
    """A tree whose child is gone; the first attempt has walked through the tree already."""
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            blob = txn.put_blob(b"goes")
        with store.transaction() as txn:
            tree = txn.put_tree({"a": txn.put_blob(b"goes")})
        pack = store.info(blob).pack
        with store.catalog.write() as writer:
            row = writer.pack(pack)
            assert row is not None
            writer.delete(row)
        store.layout.pack(pack).unlink()
    with Store.open(store.path) as again, again.transaction() as txn:
        for _ in range(2):
            with pytest.raises(ObjectNotFoundError):
                txn.set_ref("refs/tags/torn", tree)
    with Store.open(store.path) as again:
        assert again.refs() == []
