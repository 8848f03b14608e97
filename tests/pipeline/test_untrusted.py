"""What was imported without trust neither runs nor takes the place of one's own, by any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from n4a_store import ArtifactRegistry, InvalidInputError, UntrustedError, Workspace
from n4a_store.artifacts.bundle import export_bundle, import_bundle
from n4a_store.artifacts.subject import identify
from n4a_store.artifacts.tags import set_tag
from n4a_store.errors import NotFoundError
from n4a_store.pipeline import lookup
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.transfer import transfer_model
from n4a_store.repo.gc import collect
from n4a_store.repo.history import RunEntry
from n4a_store.repo.store import Store

X = np.zeros((2, 3))


class Fuse:
    """Loading it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def model(value: float) -> DummyRegressor:
    return DummyRegressor(strategy="constant", constant=value).fit(X, np.zeros(2))


def trained(place: Workspace, pipeline: str, obj: Any) -> tuple[Store, str]:
    """A store in which a pipeline has been trained, and the run."""
    with ArtifactRegistry(place, "corn") as registry, registry.run() as run:
        registry.register(obj, f"{pipeline}:0:all", "model")
        registry.complete_pipeline(pipeline)
    return place.store("corn"), run.id


def bundle(store: Store, path: Path, *names: str) -> Path:
    export_bundle(
        store,
        [(name, identify(store, store.resolve_entry(name), name)) for name in names],
        "corn",
        path,
    )
    return path


def test_what_came_with_a_bundle_is_not_run_by_its_own_id(tmp_path: Path) -> None:
    """The manifest that came says that all of it was made here; beside it is one that does not."""
    fuse = tmp_path / "exploded"
    theirs, run = trained(Workspace(tmp_path / "theirs"), "0001_pls", Fuse(fuse))
    manifest = theirs.ref("refs/pipelines/0001_pls").oid
    run_object = theirs.ref(f"refs/runs/{run}").oid
    file = bundle(theirs, tmp_path / "m.n4b", run)
    place = Workspace(tmp_path / "mine")
    mine = place.create("corn")
    import_bundle(mine, file)
    assert mine.has(manifest)
    assert mine.has(run_object)
    names = [
        "0001_pls",
        run,
        None,
        f"{run}:0001_pls",
        "0001_pls:0:all",
        *(form for oid in (manifest, run_object) for form in (oid.hex, oid.short(12))),
        f"{manifest}:0:all",
    ]
    for name in names:
        with Predictor(place, "corn") as predictor, pytest.raises(UntrustedError):
            predictor.predict(name, X)
    with pytest.raises(UntrustedError):
        transfer_model(place, "corn", manifest.hex, "other")
    for oid in (manifest, run_object):
        with pytest.raises(UntrustedError, match="nothing tells where it came from"):
            set_tag(mine, "production", oid.hex)
    assert mine.find_ref("refs/tags/production") is None
    assert not fuse.exists()
    with Predictor(place, "corn", trust=True) as predictor, pytest.raises(Exception):  # noqa: B017, PT011
        predictor.predict(manifest.hex, X)
    assert fuse.exists()


def test_a_manifest_where_an_artifact_should_be_is_not_believed(tmp_path: Path) -> None:
    fuse = tmp_path / "exploded"
    theirs, _ = trained(Workspace(tmp_path / "theirs"), "evil", Fuse(fuse))
    manifest = theirs.ref("refs/pipelines/evil").oid
    place = Workspace(tmp_path / "mine")
    mine, _ = trained(place, "p", model(1))
    import_bundle(mine, bundle(theirs, tmp_path / "m.n4b", "evil"))
    with mine.transaction("by hand") as txn:
        own = txn.adopt_path("refs/pipelines/p").oid
        entries = dict(mine.get_tree(own).entries)
        inner = mine.get_tree(entries["artifacts"].oid).entries
        tree = txn.put_tree({**inner, "1:all": mine.resolve_entry(manifest.hex)})
        txn.set_ref("refs/tags/nested", txn.put_tree({**entries, "artifacts": tree}))
    with Predictor(place, "corn") as predictor, pytest.raises((UntrustedError, InvalidInputError)):
        predictor.predict("nested:artifacts/1:all", X)
    assert not fuse.exists()


def test_what_was_made_here_is_loaded_by_its_id_as_ever(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    store, run = trained(place, "p", model(1))
    first = store.ref("refs/pipelines/p").oid
    run_object = store.ref(f"refs/runs/{run}").oid
    set_tag(store, "kept", "p")
    trained(place, "p", model(2))
    with Predictor(place, "corn") as predictor:
        for name in (first.hex, first.short(12), "p@{1}", run, run_object.hex, "kept"):
            assert predictor.predict(name, X).tolist() == [1, 1], name
    # It is in no run and under no name any more, but undo could bring it back.
    with store.transaction("remove") as txn:
        txn.delete_ref(f"refs/runs/{run}")
        txn.delete_ref("refs/tags/kept")
    with Predictor(place, "corn") as predictor:
        assert predictor.predict(first.hex, X).tolist() == [1, 1]
    # Only a tag is left: neither the run, nor the pipeline's history.
    set_tag(store, "kept", first.hex)
    collect(store, expire_now=True)
    with Predictor(place, "corn") as predictor:
        for name in ("kept", first.hex):
            assert predictor.predict(name, X).tolist() == [1, 1], name
    set_tag(store, "other", "kept")


def test_an_import_does_not_change_what_a_name_means(tmp_path: Path) -> None:
    place, elsewhere = Workspace(tmp_path / "mine"), Workspace(tmp_path / "theirs")
    mine, run = trained(place, "prod", model(1))
    set_tag(mine, "best", "prod")
    theirs, other = trained(elsewhere, "theirs", [666])
    first_digits = mine.ref("refs/pipelines/prod").oid.short()
    for number, tag in enumerate(("prod", run, first_digits)):
        set_tag(theirs, tag, "theirs", move=True)
        file = bundle(theirs, tmp_path / f"{number}.n4b", f"refs/tags/{tag}")
        with pytest.raises(InvalidInputError, match=f"would be called like .*{tag}"):
            import_bundle(mine, file)
        assert mine.find_ref(f"refs/tags/{tag}") is None
        with theirs.transaction("delete") as txn:
            txn.delete_ref(f"refs/tags/{tag}")
    file = bundle(theirs, tmp_path / "run.n4b", other)
    import_bundle(mine, file)
    with Predictor(place, "corn") as predictor:
        # None: one's own newest run, whoever came since.
        for name in ("prod", "best", run, first_digits, None):
            assert predictor.predict(name, X).tolist() == [1, 1], name
    import_bundle(mine, bundle(theirs, tmp_path / "tag.n4b", "theirs"), replace_refs=True)


def test_the_newest_run_is_found_without_looking_into_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each prediction read the manifests of all runs: 70 ms with 300 of them, for 11."""
    place = Workspace(tmp_path)
    for value in (1, 2, 3):
        trained(place, "p", model(value))
    looked: list[RunEntry] = []
    known = lookup._is_imported

    def look(store: Store, at: RunEntry) -> bool:
        looked.append(at)
        return known(store, at)

    monkeypatch.setattr(lookup, "_is_imported", look)
    with Predictor(place, "corn") as predictor:
        assert predictor.predict(None, X).tolist() == [3, 3]
    assert len(looked) == 1


def test_a_tag_does_not_take_a_name_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Workspace(tmp_path)
    store, run = trained(place, "p", model(1))
    trained(place, "q", model(2))
    for tag in ("p", run):
        with pytest.raises(InvalidInputError, match="is the name of refs/"):
            set_tag(store, tag, "q")
    set_tag(store, "p", "q", move=True)
    caplog.clear()
    with Predictor(place, "corn") as predictor:
        assert predictor.predict("p", X).tolist() == [2, 2]
        assert "'p' is ambiguous: refs/tags/p is meant" in caplog.text
        caplog.clear()
        assert predictor.predict("refs/pipelines/p", X).tolist() == [1, 1]
        assert predictor.predict("q", X).tolist() == [2, 2]
        assert not caplog.text


def test_a_tag_on_an_artifact_predicts(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    store, _ = trained(place, "p", model(1))
    set_tag(store, "production", "p:0:all")
    trained(place, "q", model(2))
    set_tag(store, "production", "q:0:all", move=True)
    with Predictor(place, "corn") as predictor:
        assert predictor.predict("production", X).tolist() == [2, 2]
        assert predictor.predict("production@{1}", X).tolist() == [1, 1]
        assert predictor.predict("production@{2099-01-01T10:00}", X).tolist() == [2, 2]
        with store.transaction("remove") as txn:
            for ref in store.refs():
                if not ref.name.startswith("refs/tags/"):
                    txn.delete_ref(ref.name)
        with pytest.raises(NotFoundError, match="no pipeline of this dataset holds"):
            predictor.predict("production", X)
