"""Bundles from elsewhere: nothing in them is run unasked, and they set only what they may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from n4a_store import (
    ArtifactLoader,
    ArtifactRegistry,
    BackendError,
    ConflictError,
    UntrustedError,
    Workspace,
)
from n4a_store.artifacts.bundle import check_bundle, export_bundle, import_bundle, open_bundle
from n4a_store.artifacts.links import Links, encode_links
from n4a_store.artifacts.subject import identify
from n4a_store.errors import (
    CorruptionError,
    InvalidInputError,
    UnsupportedFormatError,
)
from n4a_store.objects.codec import decode_value, encode_value
from n4a_store.objects.model import Run, RunStatus, TreeEntry
from n4a_store.objects.oid import Kind
from n4a_store.repo.store import Store
from n4a_store.storage import system

HEAD = 16
HASH = 32


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def theirs(workspace: Workspace, tmp_path: Path) -> ArtifactRegistry:
    """A registry of the same dataset in somebody else's workspace."""
    return ArtifactRegistry(Workspace(tmp_path / "theirs", settings=workspace.settings), "corn")


def sent(store: Store, path: Path, *names: str) -> Path:
    """A bundle of what is called so."""
    subjects = [(name, identify(store, store.resolve_entry(name), name)) for name in names]
    export_bundle(store, subjects, "corn", path)
    return path


def header_end(data: bytes) -> int:
    return HEAD + int.from_bytes(data[HEAD - 4 : HEAD], "little")


def reheaded(bundle: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The bundle with another header, as its maker could have written it."""
    data = bundle.read_bytes()
    end = header_end(data)
    fields = decode_value(data[HEAD:end])
    change(fields)
    header = encode_value(fields)
    head = data[: HEAD - 4] + len(header).to_bytes(4, "little") + header
    bundle.write_bytes(head + blake3(head).digest() + data[end + HASH :])
    return bundle


def assert_not_run(workspace: Workspace, fuse: Path, *names: str) -> None:
    for name in names:
        with ArtifactLoader(workspace, "corn") as loader, pytest.raises(UntrustedError):
            loader.load_with_dependencies(name)
        assert not fuse.exists()


def test_nothing_below_an_imported_artifact_is_run(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    fuse = tmp_path / "exploded"
    with theirs.run():
        theirs.register(Bomb(fuse), "p:0:all", "transformer")
        theirs.register("model", "p:1:all", "model", depends_on=["p:0:all"])
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    import_bundle(workspace.create("corn"), bundle)
    registry = ArtifactRegistry(workspace, "corn")
    registry.register("mine", "q:0:all", "model", depends_on=["p:1:all"])
    assert_not_run(workspace, fuse, "p:1:all", "q:0:all")


def test_a_format_whose_library_believes_it_needs_trust_when_it_was_imported(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    """A booster of xgboost: loaded where it was made, and elsewhere when somebody says so."""
    xgboost = pytest.importorskip("xgboost")
    rows = np.arange(40.0).reshape(10, 4)
    model = xgboost.XGBRegressor(n_estimators=2, max_depth=2).fit(rows, rows[:, 0])
    record = theirs.register(model, "p:0:all", "model")
    assert record.format == "xgb_ubj"
    assert np.array_equal(theirs.load_artifact(record).predict(rows), model.predict(rows))
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    import_bundle(workspace.create("corn"), bundle)
    with (
        ArtifactLoader(workspace, "corn") as loader,
        pytest.raises(UntrustedError, match="can run code or damage the process"),
    ):
        loader.load_by_id("p:0:all")
    with ArtifactLoader(workspace, "corn", trust=True) as loader:
        assert np.array_equal(loader.load_by_id("p:0:all").predict(rows), model.predict(rows))


def test_what_the_sender_did_not_trust_says_nothing_of_the_rest(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    """Their links name one dependency as imported; all of them have come from elsewhere here."""
    fuse = tmp_path / "exploded"
    first = ArtifactRegistry(Workspace(tmp_path / "first", settings=workspace.settings), "corn")
    first.register("first", "o:0:all", "model")
    bundle = sent(first.store, tmp_path / "o.n4b", "refs/pipelines/o")
    import_bundle(theirs.workspace.create("corn"), bundle)
    with theirs.run():
        theirs.register(Bomb(fuse), "p:0:all", "transformer")
        theirs.register("model", "p:1:all", "model", depends_on=["p:0:all", "o:0:all"])
    import_bundle(
        workspace.create("corn"), sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    )
    registry = ArtifactRegistry(workspace, "corn")
    registry.register("mine", "q:0:all", "model", depends_on=["p:1:all"])
    assert_not_run(workspace, fuse, "p:1:all", "q:0:all")


def test_an_open_run_that_goes_on_remembers_what_was_imported(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    fuse = tmp_path / "exploded"
    theirs.register(Bomb(fuse), "p:0:all", "transformer")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    import_bundle(workspace.create("corn"), bundle)
    registry = ArtifactRegistry(workspace, "corn")
    with registry.run():
        registry.register("mine", "q:0:all", "model", depends_on=["p:0:all"])
        registry.complete_pipeline("q")
        registry.register("more", "q:1:all", "model")  # from here on q is unfinished again
        registry.delete_pipeline_artifacts("p")
        (below,) = registry.resolve_dependencies("q:0:all")
        with pytest.raises(UntrustedError, match="was imported from bundle"):
            registry.load_artifact(below)
    assert not fuse.exists()


def test_every_changed_byte_of_a_header_is_noticed(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    theirs.register("x", "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    store, good = workspace.create("corn"), bundle.read_bytes()
    for place in range(HEAD, header_end(good) + HASH):
        data = bytearray(good)
        data[place] ^= 1
        bundle.write_bytes(data)
        with pytest.raises(CorruptionError, match="its header is damaged"):
            import_bundle(store, bundle, trusted=True)
    bundle.write_bytes(good[:8] + b"\2" + good[9:])
    with pytest.raises(UnsupportedFormatError, match="version 2"):
        import_bundle(store, bundle)
    assert store.refs() == []


@pytest.mark.parametrize("name", ["refs/heads/p", "refs/meta/p", "refs/pipelines", "p"])
def test_a_bundle_sets_no_other_refs(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path, name: str
) -> None:
    theirs.register("x", "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    reheaded(bundle, lambda header: header.update(refs={name: header["refs"]["refs/pipelines/p"]}))
    store = workspace.create("corn")
    with pytest.raises(InvalidInputError):
        import_bundle(store, bundle, trusted=True)
    assert store.refs() == []


def test_the_pipelines_of_an_imported_run_are_trusted_no_more_than_others(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    fuse = tmp_path / "exploded"
    with theirs.run() as run:
        theirs.register(Bomb(fuse), "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "run.n4b", f"refs/runs/{run.id}")
    import_bundle(workspace.create("corn"), bundle)
    with ArtifactLoader(workspace, "corn", run=run.id) as loader, pytest.raises(UntrustedError):
        loader.load_by_id("p:0:all")
    assert not fuse.exists()


def test_an_artifact_that_is_no_manifest_cannot_say_where_it_came_from(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    theirs.register("x", "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    tree = theirs.store.resolve("refs/pipelines/p:artifacts/0:all")
    reheaded(bundle, lambda header: header["refs"].update({"refs/tags/x": b"\2" + tree.raw}))
    store = workspace.create("corn")
    with pytest.raises(InvalidInputError, match="refs/tags/x names no run or pipeline"):
        import_bundle(store, bundle)
    assert store.refs() == []


def test_an_artifact_takes_along_no_later_version_of_what_it_depends_on(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    theirs.register("old", "p:0:all", "transformer")
    theirs.register("model", "p:1:all", "model", depends_on=["p:0:all"])
    theirs.register("new", "p:0:all", "transformer")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "p:1:all")
    import_bundle(workspace.create("corn"), bundle, trusted=True)
    with ArtifactLoader(workspace, "corn") as loader:
        assert [record.artifact_id for record in loader.get_all_records()] == ["p:1:all"]
        assert loader.load_with_dependencies("p:1:all") == {"p:0:all": "old", "p:1:all": "model"}


def test_a_ref_that_somebody_else_sets_meanwhile_is_not_replaced(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    theirs.register("x", "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    store = workspace.create("corn")
    mine = ArtifactRegistry(workspace, "corn")

    def meanwhile(step: str, _: str) -> None:
        if step == "rename":  # of the pack: the refs have been planned
            system.observe(None)
            mine.register("mine", "p:0:all", "model")

    system.observe(meanwhile)
    try:
        with pytest.raises(ConflictError):
            import_bundle(store, bundle)
    finally:
        system.observe(None)
    with ArtifactLoader(workspace, "corn") as loader:
        assert loader.load_by_id("p:0:all") == "mine"


def test_a_bundle_has_its_name_when_it_is_on_the_disk_and_leaves_nothing_when_it_fails(
    theirs: ArtifactRegistry, tmp_path: Path
) -> None:
    theirs.register("x" * 5000, "p:0:all", "model")
    (tmp_path / "out").mkdir()
    bundle = tmp_path / "out" / "p.n4b"
    seen: list[tuple[str, str]] = []
    full = False

    def watch(step: str, path: str) -> None:
        if "out" in Path(path).parts:
            seen.append((step, Path(path).suffix))
            if full and step == "fsync":
                raise OSError(28, "No space left on device")

    system.observe(watch)
    try:
        sent(theirs.store, bundle, "refs/pipelines/p")
        done = [step for step in seen if step[0] in ("fsync", "rename")]
        assert done == [("fsync", ".part"), ("rename", ".n4b"), ("fsync", "")]
        bundle.unlink()
        full = True
        with pytest.raises(BackendError):
            sent(theirs.store, bundle, "refs/pipelines/p")
    finally:
        system.observe(None)
    assert list(bundle.parent.iterdir()) == []


def test_a_manifest_whose_links_are_not_those_of_its_artifacts_is_not_taken(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    theirs.register("x", "p:0:all", "model")
    store = theirs.store
    with store.transaction() as txn:
        manifest = txn.get_tree(txn.adopt_path("refs/pipelines/p").oid)
        links = txn.put_blob(encode_links(Links()))
        bad = txn.put_tree({"artifacts": manifest["artifacts"], "links": links}, manifest.attrs)
        run = Run(txn.put_tree({"p": bad}), "corn", "now", RunStatus.COMPLETE)
        txn.set_ref("refs/runs/bad", txn.put_run(run))
    bundle = sent(store, tmp_path / "run.n4b", "refs/runs/bad")
    mine = workspace.create("corn")
    with pytest.raises(CorruptionError, match="its links are not those of its artifacts"):
        import_bundle(mine, bundle)
    assert mine.refs() == []


BEYOND = ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"]


@pytest.mark.parametrize("stamp", BEYOND)
@pytest.mark.parametrize("trusted", [True, False])
def test_what_is_of_a_day_that_utc_does_not_have_is_not_taken(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path, stamp: str, trusted: bool
) -> None:
    """Whoever shows it, or sorts by it, would stumble over it."""
    theirs.register("x", "p:0:all", "model")
    store = theirs.store
    with store.transaction() as txn:
        manifest = txn.get_tree(txn.adopt_path("refs/pipelines/p").oid)
        odd = txn.put_tree(manifest.entries, {**manifest.attrs, "created_at": stamp})
        txn.set_ref("refs/pipelines/q", TreeEntry(Kind.TREE, odd))
        run = Run(txn.put_tree({}), "corn", stamp, RunStatus.COMPLETE)
        txn.set_ref("refs/runs/r", txn.put_run(run))
    mine = workspace.create("corn")
    for name in ("refs/pipelines/q", "refs/runs/r"):
        bundle = sent(store, tmp_path / f"{name[5:8]}.n4b", name)
        with pytest.raises(CorruptionError, match=f"{name} is of .*, which UTC does not have"):
            import_bundle(mine, bundle, trusted=trusted)
    assert mine.refs() == []


@pytest.mark.parametrize("stamp", BEYOND)
def test_a_bundle_of_a_day_that_utc_does_not_have_is_damaged(
    theirs: ArtifactRegistry, tmp_path: Path, stamp: str
) -> None:
    theirs.register("x", "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    with pytest.raises(CorruptionError, match="which UTC does not have"):
        check_bundle(reheaded(bundle, lambda header: header.update(created_at=stamp)))


def test_a_bundle_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"b\.n4b: no such file"):
        open_bundle(tmp_path / "b.n4b")
    (tmp_path / "b.n4b").touch()
    with pytest.raises(InvalidInputError, match="is not a bundle"):
        open_bundle(tmp_path / "b.n4b")


def test_every_byte_of_a_bundle_is_checked_before_anything_is_made(
    theirs: ArtifactRegistry, tmp_path: Path
) -> None:
    theirs.register("x" * 3000, "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    good = bundle.read_bytes()
    check_bundle(bundle)
    for place in range(header_end(good), len(good), 37):
        data = bytearray(good)
        data[place] ^= 1
        bundle.write_bytes(data)
        with pytest.raises((CorruptionError, UnsupportedFormatError)):
            check_bundle(bundle)


def test_an_import_that_is_refused_leaves_nothing_behind(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    theirs.register("x", "p:0:all", "model")
    bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
    ArtifactRegistry(workspace, "corn").register("mine", "p:0:all", "model")
    store = workspace.store("corn")
    store.sessions.drop_idle()
    with pytest.raises(InvalidInputError, match="exists already") as caught:
        import_bundle(store, bundle)
    store.sessions.drop_idle()
    left = [store.layout.transactions, store.layout.leases]
    assert caught.value.__traceback__ is not None  # which keeps what was going on alive
    assert [list(folder.iterdir()) for folder in left] == [[], []]


def test_a_ref_names_what_is_named_in_its_place(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    """A run in the place of a pipeline was taken, and every listing of the dataset failed by it."""
    with theirs.run() as run:
        theirs.register("x", "p:0:all", "model")
    store = workspace.create("corn")
    name = f"refs/runs/{run.id}"
    for wrong in (
        lambda refs: {"refs/pipelines/q": refs[name]},
        lambda refs: {name: refs["refs/pipelines/p"]},
    ):
        bundle = sent(theirs.store, tmp_path / "p.n4b", name, "refs/pipelines/p")
        reheaded(bundle, lambda header, wrong=wrong: header.update(refs=wrong(header["refs"])))
        for trusted in (False, True):
            with pytest.raises(InvalidInputError, match="would let refs/"):
                import_bundle(store, bundle, trusted=trusted)
        bundle.unlink()
    assert store.refs() == []


def test_trust_does_not_take_what_is_no_manifest(
    theirs: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    with theirs.run() as run:
        theirs.register("x", "p:0:all", "model")
    name = f"refs/runs/{run.id}"
    tree = theirs.store.resolve("refs/pipelines/p:artifacts/0:all")
    pipelines = theirs.store.get_run(theirs.store.ref(name).oid)
    with theirs.store.transaction() as txn:
        txn.adopt_path(name)
        wrong = txn.put_run(replace(pipelines, pipelines=txn.put_tree({"p": tree})))
        txn.set_ref(name, wrong)
    store = workspace.create("corn")
    for at, bad in ((name, b"\3" + wrong.raw), ("refs/pipelines/p", b"\2" + tree.raw)):
        bundle = sent(theirs.store, tmp_path / "p.n4b", "refs/pipelines/p")
        subjects = [(name, identify(theirs.store, theirs.store.resolve_entry(name), name))]
        bundle.unlink()
        export_bundle(theirs.store, subjects, "corn", bundle)
        reheaded(bundle, lambda header, at=at, bad=bad: header.update(refs={at: bad}))
        with pytest.raises(CorruptionError):
            import_bundle(store, bundle, trusted=True)
        bundle.unlink()
    assert store.refs() == []
