"""fsck: is everything still what was written, and if not, whom does it hurt?

It reads, it never mends, and it never stops at the first finding. Quick: the catalog row by row,
every pack's footer and index, and that everything reachable is present. Full: every byte of every
pack, every object against its id, every tree and run for its one canonical encoding.

It holds a reader's lease: what a concurrent repack or gc takes away in the meantime is told from
damage by asking the catalog again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from n4a_store.errors import BackendError, CorruptionError, StoreError
from n4a_store.objects.codec import decode_run
from n4a_store.objects.oid import Kind
from n4a_store.objects.trees import check_node
from n4a_store.packs.reader import PackReader
from n4a_store.packs.sweep import read_all
from n4a_store.repo import way_on
from n4a_store.repo.hurt import find_hurt
from n4a_store.repo.mark import Marker
from n4a_store.repo.roots import Root, living_roots, undo_roots
from n4a_store.storage.files import list_folder
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.storage.rows import PackRow, PackState
from n4a_store.storage.system import is_broken

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from n4a_store.repo.store import Store

__all__ = ["FsckReport", "Problem", "Severity", "fsck"]

_CHECKED = (PackState.LIVE, PackState.HELD)
_PACK_CODES = ("pack-missing", "pack-damaged", "index-damaged")


class Severity(enum.StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something that was stored cannot be trusted or is gone."""

    WARNING = "warning"
    """Nothing is lost yet, but somebody should look."""

    NOTE = "note"
    """Normal after a crash; gc tidies it up."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Args:
        severity: How bad it is.
        code: What kind, for programs: ``object-damaged``, ``object-missing``,
            ``object-not-canonical``, ``pack-damaged``, ``pack-missing``, ``index-damaged``,
            ``catalog-damaged``, ``catalog-older``, ``unlisted-pack``.
        subject: The object id, pack id or file that it is about.
        message: What is wrong.
        hurts: Which refs and which paths below them can no longer be read whole.
        hint: What to do.
    """

    severity: Severity
    code: str
    subject: str
    message: str
    hurts: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was checked and what was found.

    Args:
        full: Whether every byte was read.
        packs: Packs checked.
        objects: Objects in them.
        stored_bytes: Bytes of the packs.
        roots: Refs, pins and reflog values from which reachability was checked.
        reachable: Objects reachable from them.
        problems: The findings, worst first.
    """

    full: bool
    packs: int
    objects: int
    stored_bytes: int
    roots: int
    reachable: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)


@dataclass(slots=True)
class _Checked:
    """What the check of the packs gathers on its way."""

    packs: int = 0
    objects: int = 0
    stored_bytes: int = 0


def fsck(
    store: Store, *, full: bool = False, progress: Callable[[int, int], None] | None = None
) -> FsckReport:
    """Check a store.

    Args:
        store: The store; it stays in use by others meanwhile.
        full: Read every byte, not only the indexes and the trees.
        progress: Called by a full check after each pack, with the bytes checked so far and the
            bytes in all.

    Raises:
        BackendError: Something could not be looked at: no permission, or too many open files.
    """
    try:
        report = _check(store, full, progress)
        if not report.ok and store.sessions.is_blind:
            # No lease kept gc from dropping what was being looked at. Damage is still there now.
            report = _check(store, full, progress)
        return report
    except CorruptionError as error:
        # What holds everything together cannot be read: there is no list of packs or roots to
        # go by, and that is the finding.
        return FsckReport(full, 0, 0, 0, 0, 0, (_catalog_problem(store, error),))


def _check(store: Store, full: bool, progress: Callable[[int, int], None] | None) -> FsckReport:
    problems: list[Problem] = []
    with store.session():
        rows, roots = _check_catalog(store, problems)
        checked = _Checked()
        readers: list[tuple[str, PackReader]] = []
        for row in rows:
            reader = _check_pack(store, row, problems)
            if reader is None:
                continue
            readers.append((row.id, reader))
            checked.packs += 1
            checked.objects += len(reader)
            checked.stored_bytes += row.stored_bytes
        marker = Marker(readers, is_strict=full)
        unreachable = list(_check_reachability(marker, roots))
        if full:
            problems.extend(_check_all_bytes(marker, readers, progress))
        # What a pack's bytes say comes with a way on: it stands before what the walk says of them.
        problems.extend(unreachable)
        _check_files(store, rows, problems)
        problems = find_hurt_of(marker, roots, problems)
    order = list(Severity)
    # What an object lacks comes of its pack: that stands first.
    problems.sort(
        key=lambda problem: (
            order.index(problem.severity),
            problem.code.startswith("object-"),
            problem.code,
        )
    )
    return FsckReport(
        full,
        checked.packs,
        checked.objects,
        checked.stored_bytes,
        len(roots),
        marker.marked,
        tuple(problems),
    )


def _check_catalog(store: Store, problems: list[Problem]) -> tuple[list[PackRow], list[Root]]:
    """Verify the catalog; what of its packs and roots can be read at all."""
    rows: list[PackRow] = []
    roots: list[Root] = []
    with ExitStack() as looks:
        try:
            reader = looks.enter_context(store.catalog.snapshot())
        except StoreError:
            # What cannot be copied may still be read in part.
            reader = looks.enter_context(store.catalog.read())
        try:
            reader.verify()
        except CorruptionError as error:
            problems.append(_catalog_problem(store, error))
        for gather, into in (
            (lambda: iter(reader.packs(_CHECKED)), rows),
            (lambda: living_roots(reader), roots),
            (lambda: undo_roots(reader), roots),
        ):
            try:
                into.extend(gather())  # type: ignore[arg-type]
            except CorruptionError as error:
                problems.append(_catalog_problem(store, error))
    noted, sequence = store.catalog.age()
    if noted is not None and noted > sequence:
        problems.append(
            Problem(
                Severity.ERROR,
                "catalog-older",
                store.layout.catalog.name,
                f"the catalog is at operation {sequence}, and the store had come to operation "
                f"{noted} before: it was put back from a backup, or lost by the disk",
                hint="nothing is deleted until this is settled: see docs/howto/backup.md",
            )
        )
    return rows, roots


def _catalog_problem(store: Store, error: CorruptionError) -> Problem:
    return Problem(
        Severity.ERROR,
        "catalog-damaged",
        store.layout.catalog.name,
        str(error),
        hint="restore catalog.db from a backup: see docs/howto/backup.md",
    )


def _check_pack(store: Store, row: PackRow, problems: list[Problem]) -> PackReader | None:
    """Open one pack; None when it cannot be used or has been taken away by gc meanwhile.

    Raises:
        BackendError: It could not be looked at, which says nothing about what is in it.
    """
    try:
        reader = store.odb.reader(row.id)
        found = (len(reader.data), len(reader), reader.footer.raw_bytes)
        if found != (row.stored_bytes, row.objects, row.raw_bytes):
            raise CorruptionError(f"pack {row.id} is not the one that the catalog lists")
    except StoreError as error:
        if isinstance(error, BackendError) and not is_broken(error):
            raise
        with store.catalog.read() as catalog:
            now = catalog.pack(row.id)
        if now is None or now.state not in _CHECKED:
            return None
        missing = not store.layout.pack(row.id).exists()
        code = "pack-missing" if missing else "pack-damaged"
        hint = (way_on.for_missing_pack if missing else way_on.for_damaged_pack)(row.id)
        problems.append(Problem(Severity.ERROR, code, row.id, str(error), hint=hint))
        return None
    try:
        reader.verify_index()
    except CorruptionError as error:
        hint = way_on.for_damaged_index(row.id)
        problems.append(Problem(Severity.ERROR, "index-damaged", row.id, str(error), hint=hint))
        return None
    return reader


def _check_all_bytes(
    marker: Marker,
    readers: list[tuple[str, PackReader]],
    progress: Callable[[int, int], None] | None,
) -> Iterator[Problem]:
    total, done = sum(len(reader.data) for _, reader in readers), 0
    for pack_id, reader in readers:
        yield from _check_bytes(pack_id, reader, marker.sound(pack_id))
        done += len(reader.data)
        if progress is not None:
            progress(done, total)


def _check_bytes(pack_id: str, reader: PackReader, sound: NDArray[np.bool_]) -> Iterator[Problem]:
    """Every object of a pack that is not known to be sound, and every byte of the file."""
    damaged = False
    for position, kind, data in read_all(reader, sound):
        if isinstance(data, CorruptionError):
            damaged = True
            oid = reader.index.oid_at(position).hex()
            hint = way_on.for_damaged_object(pack_id)
            yield Problem(Severity.ERROR, "object-damaged", oid, str(data), hint=hint)
            continue
        if kind == Kind.BLOB:
            continue
        try:
            if kind == Kind.TREE:
                check_node(data)
            else:
                decode_run(data)
        except CorruptionError as error:
            oid = reader.index.oid_at(position).hex()
            yield Problem(
                Severity.ERROR,
                "object-not-canonical",
                oid,
                f"object {oid[:12]}: {error}",
                hint="it was written by another program: do not trust what it holds",
            )
    try:
        reader.verify_bytes()
    except CorruptionError as error:
        if not damaged:
            # The damage is in padding, a header or the index: every object still reads whole.
            yield Problem(
                Severity.ERROR,
                "pack-damaged",
                pack_id,
                f"{error}; every object in it can still be read",
                hint="run: n4a-store repack",
            )


def _check_reachability(marker: Marker, roots: Iterable[Root]) -> Iterator[Problem]:
    names = {root.oid: root.name for root in roots}
    marker.mark((root.kind, root.oid) for root in roots)
    seen: set[bytes] = set()
    for missing in marker.missing:
        if missing.oid in seen:
            continue
        seen.add(missing.oid)
        text = missing.oid.hex()
        if missing.reason == "missing":
            parent = missing.parent.hex()[:12] if missing.parent else names.get(missing.oid, "?")
            yield Problem(
                Severity.ERROR,
                "object-missing",
                text,
                f"object {text[:12]} is missing; {parent} refers to it",
            )
        else:
            yield Problem(Severity.ERROR, "object-damaged", text, missing.reason)


def _check_files(store: Store, rows: Iterable[PackRow], problems: list[Problem]) -> None:
    with store.catalog.read() as reader:
        listed = {row.id for row in reader.packs()}
    listed.update(row.id for row in rows)
    for name in list_folder(store.layout.packs):
        pack_id = name.removesuffix(PACK_SUFFIX)
        if pack_id not in listed:
            problems.append(
                Problem(
                    Severity.NOTE,
                    "unlisted-pack",
                    name,
                    f"pack {name} is not in the catalog: left by a writer that died before its "
                    "commit, or still being committed",
                    hint="gc removes it when its writer is dead",
                )
            )


def find_hurt_of(marker: Marker, roots: Iterable[Root], problems: list[Problem]) -> list[Problem]:
    """The same problems, one for each subject, with what each of them hurts."""
    merged: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        merged.setdefault((problem.code, problem.subject), problem)
    bad: set[bytes] = set()
    for problem in merged.values():
        if problem.code.startswith("object-"):
            bad.add(bytes.fromhex(problem.subject))
    if not bad:
        return list(merged.values())
    hurt = find_hurt(marker, roots, bad)
    found = [
        replace(problem, hurts=tuple(hurt.get(bytes.fromhex(problem.subject), ())))
        if problem.code.startswith("object-")
        else problem
        for problem in merged.values()
    ]
    # gc asks for everything that is reachable: the way on must take all that is lost together.
    lost = [problem for problem in found if problem.hint is None]
    hint = way_on.for_lost_objects({path for problem in lost for path in problem.hurts})
    if any(problem.code in _PACK_CODES for problem in found):
        hint = way_on.AFTER_THE_PACKS
    return [replace(problem, hint=problem.hint or hint) for problem in found]
