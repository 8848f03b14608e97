"""What a transaction makes of names and expectations before anything is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import InvalidInputError, Store


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
