"""Undo takes back one operation, whole, and only what is still there to go back to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_store import ConflictError, NotFoundError, Store
from n4a_store.repo.gc import collect
from n4a_store.repo.transaction import Transaction
from n4a_store.repo.undo import newest_undoable, undo
from n4a_store.storage import system
from tests.repo.objects import tag


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.init(tmp_path / "store")
    for name in ("a", "b"):
        tag(store, name)
    return store


def values(store: Store) -> dict[str, str]:
    return {ref.name: ref.oid.hex for ref in store.refs()}


def test_several_refs_come_back_together(store: Store) -> None:
    before = values(store)
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
        txn.set_ref("refs/tags/b", store.resolve("a"))
    done = undo(store)
    assert values(store) == before
    assert [name for name, _, _ in done.refs] == ["refs/tags/a", "refs/tags/b"]


def test_an_undo_can_be_undone(store: Store) -> None:
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
    after = values(store)
    undo(store)
    assert values(store) != after
    undo(store)
    assert values(store) == after


def test_a_preview_changes_nothing(store: Store) -> None:
    before = values(store)
    preview = undo(store, dry_run=True)
    assert preview.by is None
    assert values(store) == before
    assert undo(store).refs == preview.refs


def test_a_creation_is_undone_by_deleting(store: Store) -> None:
    undo(store)
    assert list(values(store)) == ["refs/tags/a"]


def test_a_ref_that_moved_on_is_not_touched(store: Store) -> None:
    op = newest_undoable(store, "refs/tags/b")
    tag(store, "b")
    before = values(store)
    with pytest.raises(ConflictError, match="refs/tags/b"):
        undo(store, op)
    assert values(store) == before


def test_what_gc_has_expired_cannot_be_undone(store: Store) -> None:
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
    op = newest_undoable(store)
    collect(store, expire_now=True)
    with pytest.raises(NotFoundError, match="too old"):
        undo(store, op)
    with pytest.raises(NotFoundError):
        newest_undoable(store)


def test_an_entry_that_expires_between_the_look_and_the_commit(store: Store) -> None:
    """gc comes between the undo's look at the reflog and its commit: the commit must notice."""
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
    other = Store.open(store.path)
    seen: list[str] = []

    def expire_first(name: str, subject: str) -> None:
        if name == "lock" and subject.endswith("commit.lock") and not seen:
            seen.append(subject)
            system.observe(None)
            collect_elsewhere(other)

    from n4a_store.repo import undo as module
    from n4a_store.repo.transaction import Transaction

    real = Transaction.commit

    def late(txn: Transaction):  # type: ignore[no-untyped-def]
        seen.append("commit")
        collect_elsewhere(other)
        return real(txn)

    patch = pytest.MonkeyPatch()
    try:
        patch.setattr(Transaction, "commit", late)
        with pytest.raises(ConflictError, match="expired"):
            module.undo(store)
    finally:
        patch.undo()
    assert seen == ["commit"]
    assert list(values(store)) == ["refs/tags/b"]


def collect_elsewhere(store: Store) -> None:
    collect(store, expire_now=True)


def test_an_unknown_operation(store: Store) -> None:
    with pytest.raises(NotFoundError, match="999"):
        undo(store, 999)


def test_what_is_set_while_an_undo_is_planned_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(store, "x")
    tag(store, "x")
    waiting = [lambda: tag(Store.open(store.path), "x")]
    commit = Transaction.commit

    def late(txn: Transaction, again: Callable[[], None] | None = None) -> object:
        while waiting:
            waiting.pop()()
        return commit(txn, again)

    monkeypatch.setattr(Transaction, "commit", late)
    with pytest.raises(ConflictError):
        undo(store)
    assert len(store.reflog("refs/tags/x")) == 3
