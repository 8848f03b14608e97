"""Two registries of one dataset against plain dicts: any sequence of calls, one outcome.

One registry has runs that stay open over many steps; the other one, as a second process would,
completes and deletes pipelines in between. The model knows nothing of objects, refs or packs: a
manifest is a dict of artifacts, a run a dict of manifests, and deleting takes keys out of dicts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from n4a_store import (
    ArtifactLoader,
    ArtifactRegistry,
    ArtifactType,
    CommitEach,
    Durability,
    Settings,
    Workspace,
)
from n4a_store.errors import ArtifactNotFoundError, InvalidInputError, RefNotFoundError
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.undo import undo

_PIPELINES = ("a", "b")
_KEYS = ("0:all", "1:all", "0:1:0")
_IDS = [f"{name}:{key}" for name in _PIPELINES for key in _KEYS]
PIPELINES = st.sampled_from(_PIPELINES)
KEYS = st.sampled_from(_KEYS)
VALUES = st.integers(0, 5)


@dataclass(frozen=True)
class Made:
    """An artifact: what was registered, which version of its id, on what it was built."""

    value: int
    version: int
    deps: tuple[tuple[str, Made], ...]

    def closure(self) -> Iterator[tuple[str, Made]]:
        for name, dep in self.deps:
            yield from dep.closure()
            yield name, dep


@dataclass
class Manifest:
    """A completed pipeline: its artifacts, and the last version of every key that it ever had."""

    artifacts: dict[str, Made]
    last: dict[str, int]


@dataclass
class Draft:
    """An unfinished pipeline. What it keeps was completed earlier by its own run."""

    kept: dict[str, Made]
    added: dict[str, tuple[int, int, tuple[tuple[str, Made], ...]]] = field(default_factory=dict)

    def get(self, key: str) -> Made | None:
        if key in self.added:
            value, _, deps = self.added[key]
            return Made(value, 0, deps)
        return self.kept.get(key)


@dataclass
class Going:
    """The open run."""

    run_id: str
    each: CommitEach
    drafts: dict[str, Draft] = field(default_factory=dict)
    waiting: dict[str, Draft] = field(default_factory=dict)
    completed: dict[str, Manifest] = field(default_factory=dict)
    before: dict[str, Manifest | None] = field(default_factory=dict)


def thing(value: int) -> Any:
    """What is registered for a number: half of them have a buffer of their own."""
    return {"value": value, "rows": np.full(900, value)} if value % 2 else ["value", value]


def number(loaded: Any) -> int:
    if isinstance(loaded, list):
        return int(loaded[1])
    assert (loaded["rows"] == loaded["value"]).all()
    return int(loaded["value"])


class RegistryMachine(RuleBasedStateMachine):
    """A dataset, and dicts that say what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        quick = Settings(durability=Durability.NONE)
        self.workspace = Workspace(self.folder / "w", settings=quick)
        self.workspace.create("d").close()
        self.ours = ArtifactRegistry(self.workspace, "d")
        self.theirs = ArtifactRegistry(self.workspace, "d")
        self.current: dict[str, Manifest] = {}
        self.runs: dict[str, dict[str, Manifest]] = {}
        self.going: Going | None = None

    def teardown(self) -> None:
        self.ours.close()
        self.theirs.close()
        shutil.rmtree(self.folder)

    # --- the model ------------------------------------------------------------------------------

    def _open_draft(self, name: str) -> Draft | None:
        if self.going is None:
            return None
        return self.going.drafts.get(name) or self.going.waiting.get(name)

    def _seen(self, artifact_id: str) -> Made | None:
        """What our registry finds: unfinished, else completed in the open run, else the last."""
        name, _, key = artifact_id.partition(":")
        draft = self._open_draft(name)
        found = None if draft is None else draft.get(key)
        if found is None and self.going is not None and draft is None:
            held = self.runs.get(self.going.run_id, {}).get(name)
            if held is not None:
                return held.artifacts.get(key) or self._last(name, key)
        return found or self._last(name, key)

    def _last(self, name: str, key: str) -> Made | None:
        return self.current[name].artifacts.get(key) if name in self.current else None

    def _completed(self, name: str, draft: Draft) -> Manifest:
        before = self.current.get(name)
        last = dict(before.last) if before is not None else {}
        made: dict[str, Made] = {}
        for key, kept in draft.kept.items():
            if key not in draft.added:
                version = last.get(key, 0)
                made[key] = Made(kept.value, version + (version != kept.version), kept.deps)
        for key, (value, bumps, deps) in draft.added.items():
            made[key] = Made(value, last.get(key, 0) + bumps, deps)
        last.update((key, one.version) for key, one in made.items())
        return Manifest(made, last)

    def _commit(self, run_id: str, name: str, draft: Draft) -> Manifest:
        manifest = self._completed(name, draft)
        going = self.going
        if going is not None and going.run_id == run_id:
            before = self.current.get(name)
            if name not in going.completed or going.completed[name] is not before:
                going.before[name] = before
            going.completed[name] = manifest
        self.current[name] = manifest
        self.runs.setdefault(run_id, {})[name] = manifest
        return manifest

    def _deleted(self, name: str) -> None:
        del self.current[name]
        for held in self.runs.values():
            held.pop(name, None)

    # --- a run ----------------------------------------------------------------------------------

    @precondition(lambda self: self.going is None)
    @rule(each=st.sampled_from(CommitEach))
    def start_run(self, each: CommitEach) -> None:
        self.going = Going(self.ours.start_run(commit_each=each).id, each)

    @precondition(lambda self: self.going is not None)
    @rule(name=PIPELINES, key=KEYS, value=VALUES, data=st.data())
    def register(self, name: str, key: str, value: int, data: st.DataObject) -> None:
        going = self._going()
        artifact_id = f"{name}:{key}"
        deps = self._some_deps(artifact_id, data)
        draft = going.drafts.get(name)
        again = draft.added.get(key) if draft is not None else None
        if draft is None and name in going.waiting:
            again = going.waiting[name].added.get(key)
        cycle = any(artifact_id == at for _, dep in deps for at, _ in dep.closure())
        if cycle:
            return
        record = self._register(self.ours, artifact_id, value, deps)
        assert record.depends_on == tuple(dep for dep, _ in deps)
        if draft is None:
            waiting = going.waiting.get(name)
            if waiting is not None:
                draft = Draft(dict(waiting.kept), dict(waiting.added))
            else:
                held = self.runs.get(going.run_id, {}).get(name)
                mine = held is not None and name in going.completed
                draft = Draft(dict(held.artifacts) if held is not None and mine else {})
            going.drafts[name] = draft
        draft.added[key] = (value, 1 if again is None else again[1] + 1, deps)
        if going.each is CommitEach.ARTIFACT:
            self._commit(going.run_id, name, going.drafts.pop(name))

    def _going(self) -> Going:
        assert self.going is not None
        return self.going

    def _some_deps(self, artifact_id: str, data: st.DataObject) -> tuple[tuple[str, Made], ...]:
        there = [one for one in _IDS if one != artifact_id and self._seen(one) is not None]
        if not there:
            return ()
        chosen = data.draw(st.lists(st.sampled_from(there), unique=True, max_size=2))
        return tuple((one, found) for one in chosen if (found := self._seen(one)) is not None)

    def _register(
        self,
        registry: ArtifactRegistry,
        artifact_id: str,
        value: int,
        deps: tuple[tuple[str, Made], ...] = (),
    ) -> Any:
        return registry.register(
            thing(value), artifact_id, ArtifactType.MODEL, depends_on=[name for name, _ in deps]
        )

    @precondition(lambda self: self.going is not None)
    @rule(name=PIPELINES)
    def complete_pipeline(self, name: str) -> None:
        going = self._going()
        if name not in going.drafts:
            if name not in going.waiting and name not in going.completed:
                with pytest.raises(InvalidInputError):
                    self.ours.complete_pipeline(name)
            return
        self.ours.complete_pipeline(name)
        draft = going.drafts.pop(name)
        if going.each is CommitEach.RUN:
            going.waiting[name] = draft
        else:
            self._commit(going.run_id, name, draft)

    @precondition(lambda self: self.going is not None)
    @rule(name=PIPELINES)
    def discard_pipeline(self, name: str) -> None:
        draft = self._going().drafts.pop(name, None)
        assert self.ours.discard_pipeline(name) == (0 if draft is None else len(draft.added))

    @precondition(lambda self: self.going is not None)
    @rule()
    def checkpoint(self) -> None:
        self.ours.checkpoint()
        going = self._going()
        for name, draft in self._take_waiting().items():
            manifest = self._commit(going.run_id, name, draft)
            again = going.drafts.get(name)
            if again is not None:
                more = {
                    key: (value, bumps - draft.added.get(key, (0, 0, ()))[1], deps)
                    for key, (value, bumps, deps) in again.added.items()
                    if draft.added.get(key) != (value, bumps, deps)
                }
                going.drafts[name] = Draft(dict(manifest.artifacts), more)

    def _take_waiting(self) -> dict[str, Draft]:
        going = self._going()
        waiting, going.waiting = going.waiting, {}
        return waiting

    @precondition(lambda self: self.going is not None)
    @rule()
    def end_run(self) -> None:
        self.ours.end_run()
        going = self._going()
        ending = going.waiting | going.drafts
        for name, draft in ending.items():
            self._commit(going.run_id, name, draft)
        self.runs.setdefault(going.run_id, {})
        self.going = None

    @precondition(lambda self: self.going is not None)
    @rule(completed=st.booleans())
    def cleanup_failed_run(self, completed: bool) -> None:
        self.ours.cleanup_failed_run(completed=completed)
        going = self._going()
        if not completed:
            for name, draft in self._take_waiting().items():
                self._commit(going.run_id, name, draft)
        else:
            for name, manifest in going.completed.items():
                before = going.before[name]
                if self.current.get(name) is not manifest:
                    continue
                if before is None:
                    del self.current[name]
                else:
                    self.current[name] = before
            self.runs[going.run_id] = {}
        self.going = None

    # --- outside of runs ------------------------------------------------------------------------

    @precondition(lambda self: self.going is None)
    @rule(name=PIPELINES, key=KEYS, value=VALUES, data=st.data())
    def register_alone(self, name: str, key: str, value: int, data: st.DataObject) -> None:
        artifact_id = f"{name}:{key}"
        deps = self._some_deps(artifact_id, data)
        if any(artifact_id == at for _, dep in deps for at, _ in dep.closure()):
            return
        record = self._register(self.ours, artifact_id, value, deps)
        kept = self.current[name].artifacts if name in self.current else {}
        manifest = self._completed(name, Draft(dict(kept), {key: (value, 1, deps)}))
        assert record.version == manifest.artifacts[key].version
        self.current[name] = manifest

    @rule(name=PIPELINES, keys=st.dictionaries(KEYS, VALUES, min_size=1))
    def another_process_trains(self, name: str, keys: dict[str, int]) -> None:
        with self.theirs.run() as run:
            for key, value in keys.items():
                self._register(self.theirs, f"{name}:{key}", value)
            draft = Draft({}, {key: (value, 1, ()) for key, value in keys.items()})
            self.theirs.complete_pipeline(name)
        self._commit(run.id, name, draft)

    @rule(name=PIPELINES, ours=st.booleans(), take_back=st.booleans())
    def delete(self, name: str, ours: bool, take_back: bool) -> None:
        registry = self.ours if ours else self.theirs
        if ours and self._open_draft(name) is not None:
            with pytest.raises(InvalidInputError):
                registry.delete_pipeline_artifacts(name)
            return
        if name not in self.current:
            with pytest.raises(ArtifactNotFoundError):
                registry.delete_pipeline_artifacts(name)
            return
        count = registry.delete_pipeline_artifacts(name)
        assert count == len(self.current[name].artifacts)
        if take_back and self.going is None:
            undo(self.theirs.store)
            return
        self._deleted(name)
        if ours and self.going is not None:
            self.going.completed.pop(name, None)

    @rule(now=st.booleans())
    def collect_garbage(self, now: bool) -> None:
        collect(self.theirs.store, expire_now=now, thorough=True)

    @rule(mode=st.sampled_from(RepackMode))
    def repack(self, mode: RepackMode) -> None:
        repack(self.theirs.store, mode)

    @precondition(lambda self: self.going is None)
    @rule()
    def reopen(self) -> None:
        self.ours.close()
        self.ours = ArtifactRegistry(self.workspace, "d")

    # --- what must always hold ------------------------------------------------------------------

    @invariant()
    def others_see_what_is_completed(self) -> None:
        found = {
            name: {r.artifact_id.partition(":")[2]: r for r in self._records(name)}
            for name in _PIPELINES
        }
        for name, records in found.items():
            said = self.current[name].artifacts if name in self.current else {}
            assert {key: r.version for key, r in records.items()} == {
                key: made.version for key, made in said.items()
            }
            for key, made in said.items():
                assert number(self.theirs.load_artifact(records[key])) == made.value
                assert records[key].depends_on == tuple(dep for dep, _ in made.deps)

    def _records(self, name: str) -> list[Any]:
        try:
            return self.theirs.get_all_records(name)
        except ArtifactNotFoundError:
            return []

    @invariant()
    def runs_hold_what_they_completed(self) -> None:
        for run_id, held in self.runs.items():
            try:
                records = self.theirs.get_all_records(run=run_id)
            except RefNotFoundError:
                assert not held  # a run that never needed its store leaves no trace
                continue
            assert {record.artifact_id: record.version for record in records} == {
                f"{name}:{key}": made.version
                for name, manifest in held.items()
                for key, made in manifest.artifacts.items()
            }

    @invariant()
    def an_open_run_reads_its_own_writes(self) -> None:
        for artifact_id in _IDS:
            said = self._seen(artifact_id)
            record = self.ours.resolve(artifact_id)
            assert (record is None) == (said is None), artifact_id
            if record is not None and said is not None:
                assert number(self.ours.load_artifact(record)) == said.value

    @invariant()
    def what_it_was_built_on_comes_along(self) -> None:
        with ArtifactLoader(self.workspace, "d", cache_size=0) as loader:
            for name, manifest in self.current.items():
                for key, made in manifest.artifacts.items():
                    closure = list(made.closure())
                    if len({at for at, _ in closure}) < len({id(dep) for _, dep in closure}):
                        continue  # built on two versions of one id: that is another test
                    loaded = loader.load_with_dependencies(f"{name}:{key}")
                    said = {at: dep.value for at, dep in closure} | {f"{name}:{key}": made.value}
                    assert {at: number(one) for at, one in loaded.items()} == said

    @invariant()
    def the_store_is_sound(self) -> None:
        report = fsck(self.theirs.store, full=True)
        assert report.ok, report.problems


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
