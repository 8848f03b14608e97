"""hash-object, mktree and commit-run: making objects by hand, the way git's plumbing does."""

from pathlib import Path

import pytest

from n4a_store.objects.oid import Kind, hash_object
from tests.cli.conftest import Cli, SmallStore


def test_a_run_made_by_hand(executable: Cli, tmp_path: Path) -> None:
    at = ("--store", tmp_path / "store")
    executable("init", tmp_path / "store").ok()
    blob = executable(*at, "hash-object", "-w", "--stdin", stdin=b"data").ok().out.strip()
    tree = executable(*at, "mktree", stdin=f"blob {blob}\tmodel\n").ok().out.strip()
    top = executable(*at, "mktree", stdin=f"tree {tree}\t0001_pls\n").ok().out.strip()
    run = executable(*at, "commit-run", top, "-m", "by hand").ok().out.strip()
    executable(*at, "update-ref", "refs/runs/20261123_a1b2c3", run).ok()
    assert executable(*at, "cat-file", "-p", f"{run}:0001_pls/model").ok().out == "data"


def test_hashing_needs_no_store(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    expected = hash_object(Kind.BLOB, b"abc").hex
    assert cli("hash-object", file, cwd=tmp_path).ok().out == f"{expected}\n"
    assert cli("hash-object", "--stdin", stdin=b"abc").ok().out == f"{expected}\n"
    assert cli("hash-object", "--stdin-paths", stdin=f"{file}\n{file}\n").ok().lines == [
        expected, expected,
    ]  # fmt: skip
    assert cli("hash-object", file, "--json").ok().json["oids"] == [expected]
    assert list(tmp_path.iterdir()) == [file]


def test_trees_and_runs_are_checked_before_they_are_stored(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    from n4a_store.repo.store import Store

    with Store.open(own.path) as store:
        run = store.get(store.resolve("20261122_a1b2c3"))
        tree = store.get(store.resolve("production"))
    for kind, data, oid in (("run", run, own.first), ("tree", tree, own.pipeline)):
        written = cli(*at, "hash-object", "-w", "-t", kind, "--stdin", stdin=data).ok()
        assert written.out.strip() == oid
    cli(*at, "hash-object", "-w", "-t", "tree", "--stdin", stdin=b"junk").failed(2, "no tree")
    missing = tree.replace(bytes.fromhex(own.greeting), b"\0" * 32)
    cli(*at, "hash-object", "-w", "-t", "tree", "--stdin", stdin=missing).failed(13, "no object")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "nothing to hash"),
        (["--stdin", "--stdin-paths"], "exclude each other"),
        (["-t", "bolb", "--stdin"], "unknown object kind"),
    ],
)
def test_hash_object_refuses(cli: Cli, argv: list[str], said: str) -> None:
    cli("hash-object", *argv).failed(2, said)


def test_a_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    cli("hash-object", tmp_path / "gone").failed(1, "no such file", "gone")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("greeting", 2, "line 1 is not an entry"),
        (f"bolb {'0' * 64}\tx", 2, "unknown object kind"),
        (f"blob {'0' * 64}\tx", 13, "no object"),
        (f"blob {'0' * 64}\ta/b", 2, "holds no '/'"),
    ],
)
def test_mktree_refuses(cli: Cli, small: SmallStore, line: str, code: int, said: str) -> None:
    if "a/b" in line:
        line = f"blob {small.greeting}\ta/b"
    cli("mktree", "--store", small.path, stdin=f"{line}\n").failed(code, said)


def test_mktree_reads_what_ls_tree_writes(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    listed = cli(*at, "ls-tree", "-l", "production").ok().out
    assert cli(*at, "mktree", stdin=listed).ok().out.strip() == own.pipeline
    assert cli(*at, "mktree", "--json", stdin="").ok().json["entries"] == 0
    doubled = cli(*at, "ls-tree", "production").out * 2
    cli(*at, "mktree", stdin=doubled).failed(2, "is there twice")


def test_commit_run_records_what_it_is_told(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    made = cli(
        *at, "commit-run", own.pipelines, "-p", "20261122_a1b2c3", "--status", "failed",
        "--created-at", "2026-11-23T10:00:00+02:00", "--json",
    ).ok().json  # fmt: skip
    assert made["run"]["parents"] == [own.first]
    assert made["run"]["created_at"] == "2026-11-23T08:00:00+00:00"
    assert made["run"]["status"] == "failed"
    cli(*at, "commit-run", own.greeting).failed(2, "is a blob, not a tree")
    beyond = ("--created-at", "0001-01-01T00:00:00+14:00")
    cli(*at, "commit-run", own.pipelines, *beyond).failed(2, "is no time")
    cli(*at, "commit-run", own.pipelines, "--created-at", "soon").failed(2, "'soon' is no time")
    cli(*at, "commit-run", "prodction").failed(13, "did you mean 'production'?")


def test_many_trees_at_once(executable: Cli, cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path, "mktree")
    one, two = (f"blob {own.greeting}\t{name}\n" for name in ("one", "two"))
    alone = [cli(*at, stdin=entries).ok().out for entries in (one, "", one + two)]
    together = executable(*at, "--batch", stdin=f"{one}\n\n{one}{two}\n").ok().out
    assert together == "".join(alone)
    assert cli(*at, "--batch", stdin=f"{one}\n\n{one}{two}").ok().out == together
    assert cli(*at, "--batch", stdin="").ok().out == ""
    inner = alone[0].strip()
    nested = f"{one}\ntree {inner}\tinner\n"
    trees = cli(*at, "--batch", "--json", stdin=nested).ok().json["trees"]
    assert [tree["entries"] for tree in trees] == [1, 1]
    cli(*at, "--batch", stdin=f"{one}\njunk\n").failed(2, "line 3 is not an entry")


def test_a_tree_that_cannot_be_has_a_hint(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path, "mktree")
    cli(*at, stdin=f"tree {own.greeting}\tx\n").failed(2, "is a blob, not a tree", "hint: an entry")
    cli(*at, stdin=f"blob {own.greeting}\ta/b\n").failed(2, "'a/b'", "hint: an entry reads")
