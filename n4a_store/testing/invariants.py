"""What must hold after each step of a store's processes, and once all of them are over.

* A lease that somebody writes into still has its name.
* A pack file goes only when its row says ``dropping``, or when it has no row and its owner is
  dead; a foreign lease goes only when its owner is dead.
* ``fsck`` is clean: nothing that a ref, a pin or the reflog reaches is missing.
* Every acknowledged value of a ref is there, unless a later operation replaced it.
* One gc afterwards leaves neither an unreachable object nor a stray file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.reachability import preview
from n4a_store.repo.store import Store
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.storage.rows import PackState
from n4a_store.testing.scenario import Mind
from n4a_store.testing.sight import Disk
from n4a_store.testing.stepping import Process

__all__ = ["Broken", "check_end", "check_step", "files_of"]


class Broken(Exception):
    """An invariant does not hold."""


def files_of(store: Store) -> tuple[tuple[str, ...], ...]:
    """The names in the folders of a store."""
    return tuple(tuple(sorted(os.listdir(folder))) for folder in store.layout.folders())


def check_step(disk: Disk, actor: Mind, minds: Iterable[Mind]) -> None:
    """Check that the step which a process is about to take destroys nothing of others.

    Raises:
        Broken: It does.
    """
    step = actor.at
    if step.name == "write" and disk.value(step.path) is None:
        raise Broken(f"{actor.name} believes in {step.path}, which has lost its name")
    if step.name != "unlink" or disk.value(step.path) is None:
        return  # a name that has gone already takes nothing along: none is ever used again
    name = os.path.basename(step.path)
    if step.room == "leases":
        if name not in actor.leases and _owner_lives(name, actor, minds):
            raise Broken(f"{actor.name} is about to remove the living lease {name}")
        return
    pack_id = name.removesuffix(PACK_SUFFIX)
    owner = pack_id.split("-")[1]
    if owner in actor.leases:
        return
    state = disk.packs.state_of(pack_id)
    if state is None:
        if disk.is_locked(f"leases/{owner}"):
            raise Broken(f"{actor.name} is about to remove {name}, whose owner lives")
    elif state is not PackState.DROPPING:
        raise Broken(f"{actor.name} is about to remove {name}, which is {state.name}")


def _owner_lives(lease: str, but: Mind, minds: Iterable[Mind]) -> bool:
    # The lock tells nothing here: who removes a lease holds it. One that its owner has created
    # and not locked yet may go: the owner will notice and take another.
    for mind in minds:
        if mind is not but and lease in mind.leases and not mind.over:
            return not (mind.at.name == "lock" and mind.at.path.endswith(lease))
    return False


def check_end(store: Store, processes: Sequence[Process]) -> None:
    """Check the store that all processes have left.

    Raises:
        Broken: Something is missing, or something is left.
    """
    _check_whole(store, "at the end")
    _check_acknowledged(store, processes)
    _check_nothing_left(store)


def _check_whole(store: Store, when: str) -> None:
    report = fsck(store, full=True)
    if not report.ok:
        raise Broken(f"fsck {when}: {report.problems[0].message}")


def _check_acknowledged(store: Store, processes: Sequence[Process]) -> None:
    """A process says ``("will", ref, oid)`` before and ``("did", ref, oid, op)`` after."""
    did: dict[str, tuple[int, object]] = {}
    perhaps: dict[str, list[object]] = {}
    for process in processes:
        for number, (what, *rest) in enumerate(process.said):
            if what == "did":
                ref, oid, op = rest
                did[ref] = max(did.get(ref, (0, None)), (op, oid), key=lambda pair: pair[0])
            elif what == "will" and process.killed and number == len(process.said) - 1:
                perhaps.setdefault(rest[0], []).append(rest[1])
    for ref, (op, oid) in did.items():
        found = store.find_ref(ref)
        value = None if found is None else found.oid
        if value != oid and value not in perhaps.get(ref, ()):
            raise Broken(f"{ref} holds {value}, but operation {op} set it to {oid}")


def _check_nothing_left(store: Store) -> None:
    store.sessions.drop_idle()
    collect(store, expire_now=True, thorough=True)
    store.sessions.drop_idle()
    collect(store, expire_now=True, thorough=True)
    _check_whole(store, "after gc")
    with store.session():
        garbage, undoable = preview(store).totals()
    store.sessions.drop_idle()
    if garbage.objects or undoable.objects:
        raise Broken(f"gc left {garbage.objects} unreachable objects")
    with store.catalog.read() as reader:
        listed = tuple(sorted(row.id + PACK_SUFFIX for row in reader.packs()))
        states = {row.state for row in reader.packs()}
    if states - {PackState.LIVE}:
        raise Broken(f"gc left packs that are {states}")
    leases, folders, packs = files_of(store)
    if leases or folders or packs != listed:
        raise Broken(f"gc left files: {leases + folders}, {set(packs) ^ set(listed)}")
