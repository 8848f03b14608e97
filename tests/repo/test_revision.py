"""What a name stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from n4a_store.errors import (
    AmbiguousNameError,
    InvalidInputError,
    NotFoundError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from n4a_store.objects.model import Run, RunStatus, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store


class History(NamedTuple):
    store: Store
    first: ObjectId
    second: ObjectId
    tree: ObjectId
    run: ObjectId
    made_at: datetime


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with Store.init(tmp_path_factory.mktemp("revision") / "store") as store:
        with store.transaction() as txn:
            first = txn.put_blob(b"first")
            txn.set_ref("refs/tags/moving", first)
            txn.set_ref("refs/tags/gone", first)
        made_at = datetime.now(UTC)
        with store.transaction() as txn:
            second = txn.put_blob(b"second")
            txn.set_ref("refs/tags/moving", second)
            txn.delete_ref("refs/tags/gone")
            key = "0001_pls:3:all"
            tree = txn.put_tree({"artifacts": txn.put_tree({key: second}), "x": first})
            pipelines = txn.put_tree({"0001_pls": tree})
            run = txn.put_run(Run(pipelines, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE))
            txn.set_ref("refs/pipelines/0001_pls", tree)
            txn.set_ref("refs/runs/20261123_a1b2c3", run)
        yield History(store, first, second, tree, run, made_at)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("refs/tags/moving", "second"),
        ("moving", "second"),
        ("0001_pls", "tree"),
        ("20261123_a1b2c3", "run"),
        ("moving@{0}", "second"),
        ("moving@{1}", "first"),
        ("gone@{1}", "first"),
        ("refs/tags/gone@{1}", "first"),
        ("0001_pls:x", "first"),
        ("0001_pls:/x/", "first"),
        ("0001_pls:", "tree"),
        ("0001_pls:artifacts/0001_pls:3:all", "second"),
        ("0001_pls:0001_pls:3:all", "second"),
        ("20261123_a1b2c3:0001_pls/x", "first"),
        ("0001_pls@{0}:x", "first"),
    ],
)
def test_names(history: History, name: str, what: str) -> None:
    assert history.store.resolve(name) == getattr(history, what)


def test_ids_whole_and_short(history: History) -> None:
    store = history.store
    assert store.resolve_entry(history.tree.hex) == TreeEntry(Kind.TREE, history.tree)
    assert store.resolve(history.run.short(12)) == history.run
    assert store.resolve(f"{history.tree.hex}:x") == history.first
    with pytest.raises(NotFoundError):
        store.resolve("0" * 64)
    with pytest.raises(NotFoundError):
        store.resolve(history.run.short(3))


def test_a_short_id_that_fits_two_objects_lists_them(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store:
        seen: dict[str, ObjectId] = {}
        with store.transaction() as txn:
            for number in range(5000):
                oid = txn.put_blob(b"%d" % number)
                twin = seen.setdefault(oid.short(4), oid)
                if twin != oid:
                    break
        with pytest.raises(AmbiguousNameError) as caught:
            store.resolve(oid.short(4))
        assert set(caught.value.candidates) == {oid.hex, twin.hex}
        assert store.resolve(oid.short(16)) == oid


def test_moments(history: History) -> None:
    store, between = history.store, history.made_at
    assert store.resolve(f"moving@{{{between.isoformat()}}}") == history.first
    shifted = between.astimezone(tz=None).isoformat()
    assert store.resolve(f"moving@{{{shifted}}}") == history.first
    tomorrow = (between + timedelta(days=1)).date()
    assert store.resolve(f"moving@{{{tomorrow}}}") == history.second
    assert store.resolve("moving@{now}") == history.second
    for early in ("yesterday", "2001-01-01", "0001-01-01T00:00:00+23:59"):
        with pytest.raises(RefNotFoundError, match="did not exist"):
            store.resolve(f"moving@{{{early}}}")
    with pytest.raises(RefNotFoundError):
        store.resolve("gone@{9999-12-31}")


def test_moves_that_gc_has_forgotten_are_not_guessed(tmp_path: Path) -> None:
    """What was before the oldest known move was given for every moment before it."""
    ref = "refs/tags/moving"
    with Store.init(tmp_path / "store") as store:
        held = []
        for value in (b"first", b"second", b"third"):
            with store.transaction() as txn:
                held.append(txn.put_blob(value))
                txn.set_ref(ref, held[-1])
            if value != b"third":
                began = datetime.now(UTC)
            if value == b"second":
                collect(store, expire_now=True)
                assert not store.reflog(ref)
                for name in ("moving@{0}", "moving@{now}", "moving@{9999-12-31}"):
                    assert store.resolve(name) == held[1]
                with pytest.raises(RefNotFoundError, match=r"not @.1.; gc has forgotten"):
                    store.resolve("moving@{1}")
                with pytest.raises(RefNotFoundError, match=r"is forgotten.* no more"):
                    store.resolve("moving@{yesterday}")
        assert [store.resolve(f"moving@{{{n}}}") for n in (0, 1)] == [held[2], held[1]]
        for early in ("yesterday", began.isoformat()):
            with pytest.raises(RefNotFoundError, match=r"is forgotten.* since 20") as caught:
                store.resolve(f"moving@{{{early}}}")
            assert caught.value.hint == "moving@{1} is the earliest that is known"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", InvalidInputError),
        ("a\0b", InvalidInputError),
        ("moving@{soon}", InvalidInputError),
        ("moving@{-1}", InvalidInputError),
        ("moving@{}", InvalidInputError),
        ("moving@{" + "9" * 5000 + "}", InvalidInputError),
        ("moving@{2}", RefNotFoundError),
        ("moving@{999999999999999999}", RefNotFoundError),
        ("none", RefNotFoundError),
        ("none@{1}", RefNotFoundError),
        ("deadbeef", ObjectNotFoundError),
        ("moving:x", ObjectNotFoundError),
        ("0001_pls:none", ObjectNotFoundError),
        ("0001_pls:x/below", ObjectNotFoundError),
        ("0001_pls:\ud800", ObjectNotFoundError),
        ("\ud800", RefNotFoundError),
    ],
)
def test_names_that_stand_for_nothing(history: History, name: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        history.store.resolve(name)
    assert str(caught.value)


def test_what_was_meant_is_suggested(history: History) -> None:
    for name, meant in (("movin", "moving"), ("0001_plz", "0001_pls")):
        with pytest.raises(RefNotFoundError) as caught:
            history.store.resolve(name)
        assert meant in str(caught.value.hint)
    with pytest.raises(ObjectNotFoundError) as caught:
        history.store.resolve("0001_pls:y")
    assert "artifacts, x" in str(caught.value.hint)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.text("am@{}:/0123-T\ud800", max_size=30))
@example("@{0}")
@example("moving@{1}@{1}")
@example("moving@{0001-01-01}")
def test_any_text_is_an_answer_or_a_clear_error(history: History, name: str) -> None:
    with suppress(NotFoundError, InvalidInputError):
        history.store.resolve(name)


def test_a_content_hash_is_a_name(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            oid = txn.put_blob(b"hashed")
            txn.set_ref("refs/tags/kept", oid)
        assert store.resolve(f"blake3:{oid.hex}") == oid
        assert store.resolve(f"blake3:{oid.short(8)}") == oid
