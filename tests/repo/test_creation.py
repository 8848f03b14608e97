"""Creating a store: whole under another name, then renamed; or nothing at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import BackendError, InvalidInputError, StoreNotFoundError
from n4a_store.repo.store import Store
from n4a_store.settings import Settings
from n4a_store.storage import filesystem, system


class Steps:
    """The steps a protocol takes; raises in place of the one numbered ``fail_at``."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.seen: list[tuple[str, str]] = []
        self._fail_at = fail_at

    def __call__(self, name: str, path: str) -> None:
        self.seen.append((name, Path(path).name))
        if len(self.seen) - 1 == self._fail_at and not name.startswith("catalog"):
            raise OSError(28, "No space left on device")


@pytest.fixture
def watch() -> Iterator[type[Steps]]:
    yield Steps
    system.observe(None)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_new_store_is_synced_before_it_has_its_name(tmp_path: Path, watch: type[Steps]) -> None:
    steps = watch()
    system.observe(steps)
    Store.init(tmp_path / "a" / "b" / "store").close()
    system.observe(None)
    seen = [(step, name.partition(".tmp")[0]) for step, name in steps.seen]
    published = seen.index(("rename", "store"))
    before, after = seen[:published], seen[published + 1 :]
    for name in ("leases", "txn", "packs", "catalog.db"):
        assert ("fsync", name) in before
    assert any(step == "fsync" and name.startswith(".format.") for step, name in before)
    assert ("rename", "format") in before
    assert before[-1][0] == "fsync"  # the draft's own folder, after all that is in it
    # Then the names: the store in b, b in a, a in the folder that was there before.
    assert after[:3] == [("fsync", "b"), ("fsync", tmp_path.name), ("fsync", "a")]


def test_a_failure_at_any_step_leaves_nothing_or_the_whole_store(
    tmp_path: Path, watch: type[Steps]
) -> None:
    fail_at = 0
    while True:
        home = tmp_path / str(fail_at)
        home.mkdir()
        steps = watch(fail_at)
        system.observe(steps)
        try:
            Store.init(home / "new" / "store").close()
        except BackendError:
            pass
        else:
            break
        finally:
            system.observe(None)
        if ("rename", "store") in steps.seen[:fail_at]:
            Store.open(home / "new" / "store").close()
        else:
            assert names(home) == set()
        fail_at += 1
    assert fail_at > 15  # every step up to the last fsync


def test_parents_are_made_and_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "b" / "c", tmp_path / "empty"):
        with Store.init(path) as store:
            assert store.refs() == []


@pytest.mark.parametrize("what", ["file", "full", "store", "dangling"])
def test_what_is_there_is_not_touched(tmp_path: Path, what: str) -> None:
    path = tmp_path / "there"
    if what == "file":
        path.write_text("mine")
    elif what == "full":
        path.mkdir()
        (path / "mine").write_text("mine")
    elif what == "store":
        Store.init(path).close()
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = names(tmp_path)
    with pytest.raises(InvalidInputError, match="there"):
        Store.init(path)
    assert names(tmp_path) == before


@pytest.mark.parametrize("place", ["x" * 300, "file/store", "a\0b"])
def test_an_impossible_place_is_a_clear_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((BackendError, InvalidInputError)):
        Store.init(tmp_path / place)
    assert names(tmp_path) == {"file"}
    with pytest.raises((BackendError, StoreNotFoundError)):
        Store.open(tmp_path / place)


def test_a_refused_file_system_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("21 1 0:5 / / rw - nfs4 host:/export rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    with pytest.raises(BackendError, match="nfs4"):
        Store.init(tmp_path / "new" / "store")
    assert names(tmp_path) == {"mountinfo"}
    allowed = Settings(allow_network_filesystem=True)
    Store.init(tmp_path / "new" / "store", settings=allowed).close()
    with pytest.raises(BackendError, match="nfs4") as caught:
        Store.open(tmp_path / "new" / "store")
    assert "N4A_STORE_ALLOW_NETWORK_FILESYSTEM" in str(caught.value.hint)


@pytest.mark.parametrize("shared", [False, True])
def test_a_shared_store_belongs_to_the_group_whatever_the_umask(
    tmp_path: Path, shared: bool
) -> None:
    old = os.umask(0o027)
    try:
        with Store.init(tmp_path / "s", settings=Settings(shared_group=shared)) as store:
            with store.transaction() as txn:
                txn.set_ref("refs/tags/a", txn.put_blob(b"x"))
            with store.session(), store.transaction() as txn:
                txn.put_blob(b"y")
                paths = [tmp_path / "s", *(tmp_path / "s").rglob("*")]
                modes = {path: path.stat().st_mode & 0o7777 for path in paths}
    finally:
        os.umask(old)
    wanted = (0o2775, 0o664) if shared else (0o750, 0o640)
    assert {path.name: oct(modes[path]) for path in paths} == {
        path.name: oct(wanted[0] if path.is_dir() or path.parent.name == "txn" else wanted[1])
        for path in paths
    }


def test_what_was_left_of_an_old_attempt_goes_with_the_next(tmp_path: Path) -> None:
    """One that is young may be going on."""
    young, other = ".corn.1111aaaa.new", ".rye.0000aaaa.new"
    for name in (".corn.0000aaaa.new", young, other):
        (tmp_path / name / "packs").mkdir(parents=True)
        if name != young:
            os.utime(tmp_path / name, (1, 1))
    Store.init(tmp_path / "corn").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [young, other, "corn"]


def test_what_is_only_called_like_an_attempt_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "packs").mkdir(parents=True)
    (kept / "packs" / "best.pkl").write_bytes(b"model")
    (tmp_path / ".corn.0000aaaa.new").symlink_to(kept)
    for name in (".corn.backup-of-may.new", ".corn.1111aaaa.new", ".xcorn.2222aaaa.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "models").mkdir()
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    os.utime(kept, (1, 1))
    before = sorted(tmp_path.rglob("*"))
    Store.init(tmp_path / "corn").close()
    assert set(before) <= set(tmp_path.rglob("*"))
    assert (kept / "packs" / "best.pkl").read_bytes() == b"model"
