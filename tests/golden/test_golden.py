"""A store that an earlier version wrote is read by this one, object by object.

The archive is never made again for a released format. A later format adds another archive and
another line below; none is ever taken away.
"""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.objects.model import RunStatus, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.fsck import fsck
from n4a_store.repo.store import Store
from tests.golden.make import contents

ARCHIVES = ("store-v1.tar.xz",)
IDS = {
    "base": "5f9deef73d354b3b6d2efa4af8e3af2cb0d32ed19c9c2fc922c8e2a80eaea4e3",
    "delta": "a37a67fcfaa219e3d40f1d980a6ec1f6831bbd11b6ff990bff2f000b4f2b9008",
    "empty": "c3c9454d78198120ff25100c3f8f9fa7f35fe0076937abdf413d978c441b95aa",
    "raw": "4f6c303167d831627819ed02281ddc37677a299c6cadfb786432a963f9cfaca8",
    "short": "30e04c33730be49ca91c439a81bf65ece453e3fdfb70211ff595b162750e74aa",
    "shuffle": "a7f8a6ac6231b563d0d84448b76ea280be32ad39bb54f350e5a4fda7472c2f10",
    "text": "7f5ab62ee7045955dadee340fb2258be0463d5f4280ab675781d04513f7bf63c",
    "value": "830862c35dd458adf058ea30a51f1cfa62ed568c17f9b3acfaf1495112f09690",
    "tree": "05e4734f3530f1c9be61112e49d3fe331e5e6cf52b82eb63c858cf06d0a4eb2d",
    "wide": "18740e52645e4203ab3c97a23af2eb591b3418ed918bbd4cdf4e615a72941d0b",
    "pipelines": "aa1fa1e9c4d79068a4738327608a1f0dc36b455b182c79006d0d40a2fb6bf87d",
    "run": "4b99e998d65bb13174d306b4312e4f2d893e20ac662172b15147b8cabf58d99a",
}


@pytest.fixture(params=ARCHIVES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    # A copy: to open a store is to write a lease into it.
    with (
        lzma.open(Path(__file__).with_name(request.param)) as file,
        tarfile.open(fileobj=file) as tar,
    ):
        for member in tar.getmembers():
            target = tmp_path / "store" / member.name
            if member.isdir():
                target.mkdir(parents=True)
            else:
                target.parent.mkdir(exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                target.write_bytes(content.read())
    with Store.open(tmp_path / "store") as opened:
        yield opened


def oid(name: str) -> ObjectId:
    return ObjectId.from_hex(IDS[name])


def test_it_is_whole(store: Store) -> None:
    report = fsck(store, full=True)
    assert report.problems == ()
    assert report.ok
    assert report.reachable == len(list(store.objects()))


def test_every_payload_and_every_codec(store: Store) -> None:
    for name, (data, _) in contents().items():
        assert store.get(oid(name)) == data
        assert store.kind(oid(name)) is Kind.BLOB
    codecs = {name: store.info(oid(name)).codec for name in (*contents(), "base", "delta")}
    assert {codecs["raw"], codecs["text"], codecs["shuffle"]} == {"raw", "zstd", "shuffle+zstd"}
    assert {codecs["base"], codecs["delta"]} == {"raw", "delta"}
    assert store.get(oid("delta")).replace(b"changed", b"") == store.get(oid("base"))
    assert store.get_value(oid("value"))["a"] == [1, 1.0, None, True, b"x", "é"]


def test_trees_and_runs(store: Store) -> None:
    tree = store.get_tree(oid("tree"))
    assert list(tree) == sorted([*contents(), "größe"])
    assert tree.attrs == {"serial": 1}
    assert tree["text"] == TreeEntry(Kind.BLOB, oid("text"))
    assert len(store.get_tree(tree["größe"].oid)) == 0
    wide = store.get_tree(oid("wide"))
    assert len(wide) == 1025
    assert store.node(oid("wide")).is_shard
    assert store.get_entry(oid("wide"), "entry-0777") == wide["entry-0777"]
    run = store.get_run(oid("run"))
    assert (run.pipelines, run.dataset, run.status) == (
        oid("pipelines"),
        "golden",
        RunStatus.COMPLETE,
    )
    assert (run.created_at, run.message) == ("2026-11-23T09:00:00+00:00", "a run")
    assert run.environment == {"python": "3.11"}


def test_refs_and_their_history(store: Store) -> None:
    assert {ref.name: (ref.kind, ref.oid) for ref in store.refs()} == {
        "refs/runs/20261123_000001": (Kind.RUN, oid("run")),
        "refs/tags/alike0": (Kind.BLOB, oid("base")),
        "refs/tags/alike7": (Kind.BLOB, oid("delta")),
        "refs/tags/first": (Kind.TREE, oid("tree")),
        "refs/tags/moved": (Kind.TREE, oid("wide")),
    }
    moved = store.reflog("refs/tags/moved")
    assert [(entry.old and entry.old.oid, entry.new and entry.new.oid) for entry in moved] == [
        (oid("tree"), oid("wide")),
        (None, oid("tree")),
    ]
    assert [entry.message for entry in moved] == ["the second commit", "the first commit"]
    gone = store.reflog("refs/tags/gone")
    assert [entry.new is None for entry in gone] == [True, False]
    assert store.resolve("moved@{1}") == oid("tree")
    assert store.resolve("20261123_000001:0001_pls/text") == oid("text")


def test_it_can_be_written_to(store: Store) -> None:
    with store.transaction("a later commit") as txn:
        assert txn.put_blob(contents()["text"][0]) == oid("text")
        txn.set_ref("refs/tags/first", txn.put_blob(b"new"), expect=oid("tree"))
    assert fsck(store, full=True).problems == ()
