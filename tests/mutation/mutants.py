"""The mutants: the protocol with one thing wrong, as patches of the source that fit exactly once.

A mutant is a reading of the protocol that somebody could have had. Those of the design's own list
of wrong readings have ``listed=True``. ``killers`` are the tests to ask first, as arguments of
pytest; every suite that answers for the protocol is asked when these have not noticed anything.
"""

# ruff: noqa: ISC004 - an edit is a pair of texts, each of them long

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CI", "MUTANTS", "QUICK", "SUITES", "Mutant"]

EXPLORER = "tests/protocol/test_orders.py"
GC = "tests/repo/test_gc.py"
HELD = "tests/repo/test_held.py"
REPACK = "tests/repo/test_repack.py"
ORDER = "tests/repo/test_durable_order.py"
LEASES = "tests/storage/test_leases.py"
FORK = "tests/storage/test_catalog_fork.py"
CATALOG = "tests/storage/test_catalog.py"
RULES = "tests/protocol/test_rules.py"

QUICK = (RULES, EXPLORER)
SUITES = ("tests/storage", "tests/packs", "tests/refs", "tests/repo", "tests/protocol")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutant.

    Args:
        name: What it is called.
        wrong: What is wrong with it.
        file: The module, below ``n4a_store/``.
        edits: Pairs of old and new text; each old text occurs exactly once.
        killers: Who should notice.
        listed: Whether the design lists it among the readings that failed.
    """

    name: str
    wrong: str
    file: str
    edits: tuple[tuple[str, str], ...]
    killers: tuple[str, ...]
    listed: bool = False


def one(
    name: str, wrong: str, file: str, old: str, new: str, *killers: str, listed: bool = False
) -> Mutant:
    """A mutant of a single edit."""
    return Mutant(name, wrong, file, ((old, new),), killers, listed)


DURABILITY = (
    one(
        "no-fsync-of-the-pack",
        "a pack is renamed before its bytes are on the disk",
        "repo/packing.py",
        "        if self._durable:\n            self._file.sync()\n",
        "",
        ORDER,
    ),
    one(
        "no-fsync-of-packs-at-commit",
        "the catalog names a pack whose name is not on the disk",
        "repo/packing.py",
        "        if self._sealed and self._durable:\n            sync_folder(self._layout.packs)\n",
        "",
        ORDER,
    ),
    one(
        "no-fsync-of-packs-at-drop",
        "rows go before the unlinking is on the disk: a power cut brings files without rows back",
        "repo/sweep.py",
        "        remove_file(store.layout.pack(row.id))\n    sync_folder(store.layout.packs)\n",
        "        remove_file(store.layout.pack(row.id))\n",
        ORDER,
    ),
    one(
        "no-fsync-of-the-new-catalog",
        "a new store gets its name before its catalog is on the disk",
        "repo/creation.py",
        "        sync_file(draft.catalog)\n",
        "",
        "tests/repo/test_creation.py",
    ),
    one(
        "no-fsync-of-small-files",
        "a file that is replaced whole gets its name before its bytes are on the disk",
        "storage/files.py",
        "                if durable:\n                    system.fsync(fd, str(temporary))\n",
        "",
        "tests/repo/test_creation.py",
    ),
    one(
        "no-fsync-of-the-new-name",
        "a store is said to be there before its name is on the disk",
        "repo/creation.py",
        "    for folder in (root.parent, *(path.parent for path in made)):\n"
        "        sync_folder(folder)\n",
        "",
        "tests/repo/test_creation.py",
    ),
    one(
        "no-fsync-of-commits",
        "SQLite is told not to wait for the disk",
        "storage/catalog.py",
        'Durability.FULL: "FULL"',
        'Durability.FULL: "OFF"',
        CATALOG,
        RULES,
    ),
    one(
        "journal-mode-delete",
        "a crash after the commit can resurrect the journal",
        "storage/catalog.py",
        "                if not self._read_only:\n"
        '                    connection.execute(f"PRAGMA synchronous='
        '{_SYNCHRONOUS[self._durability]}")\n'
        '                    connection.execute("PRAGMA journal_mode=TRUNCATE")\n',
        "                if not self._read_only:\n"
        '                    connection.execute(f"PRAGMA synchronous='
        '{_SYNCHRONOUS[self._durability]}")\n'
        '                    connection.execute("PRAGMA journal_mode=DELETE")\n',
        CATALOG,
        RULES,
    ),
)

WRITERS = (
    Mutant(
        "catalog-before-lease",
        "the writer reads the catalog and takes its lease afterwards",
        "repo/transaction.py",
        (
            (
                "        self._lease = Lease(\n            store.layout.leases, LeaseRole.WRITER,",
                "        with store.catalog.read() as reader:\n"
                "            generation, epoch = reader.generation(), reader.epoch()\n"
                "            rows = reader.packs((PackState.LIVE,))\n"
                "        self._lease = Lease(\n            store.layout.leases, LeaseRole.WRITER,",
            ),
            (
                "            with store.catalog.read() as reader:\n"
                "                # The generation first: a pack that is condemned in between is "
                "then newer.\n"
                "                generation, epoch = reader.generation(), reader.epoch()\n"
                "                rows = reader.packs((PackState.LIVE,))\n",
                "",
            ),
        ),
        (RULES, EXPLORER),
    ),
    one(
        "publish-before-reading",
        "the lease says something before the generation has been read",
        "repo/transaction.py",
        "            with store.catalog.read() as reader:\n"
        "                # The generation first",
        "            self._lease.publish(2**62, bytes(8))\n"
        "            with store.catalog.read() as reader:\n"
        "                # The generation first",
        RULES,
        EXPLORER,
    ),
    one(
        "packs-before-generation",
        "live packs are read before the generation, in another transaction",
        "repo/transaction.py",
        "            with store.catalog.read() as reader:\n"
        "                # The generation first: a pack that is condemned in between is then "
        "newer.\n"
        "                generation, epoch = reader.generation(), reader.epoch()\n"
        "                rows = reader.packs((PackState.LIVE,))\n",
        "            with store.catalog.read() as reader:\n"
        "                rows = reader.packs((PackState.LIVE,))\n"
        "            with store.catalog.read() as reader:\n"
        "                generation, epoch = reader.generation(), reader.epoch()\n",
        RULES,
        EXPLORER,
        listed=True,
    ),
    one(
        "lease-ends-before-the-commit",
        "the writer gives up its lease, then commits",
        "repo/transaction.py",
        "            op = None\n            if rows or not self._plan.is_empty:\n",
        "            op = None\n            self._lease.release()\n"
        "            if rows or not self._plan.is_empty:\n",
        EXPLORER,
    ),
    one(
        "no-validation-at-commit",
        "what was condemned meanwhile is not brought back",
        "repo/commit.py",
        "            _bring_back(store, writer, plan)\n",
        "",
        GC,
        listed=True,
    ),
    one(
        "no-resurrection-of-what-is-adopted",
        "only packs that were deduplicated against are brought back",
        "repo/commit.py",
        "    if not all(_still_holds(writer, ref, root) for ref, root in plan.adopted.items()):\n",
        "    if False:\n",
        GC,
        EXPLORER,
    ),
    one(
        "any-value-vouches",
        "a ref that has moved since still vouches for what it reached",
        "repo/commit.py",
        "    return row is not None and row.oid == root\n",
        "    return row is not None\n",
        GC,
        RULES,
    ),
    one(
        "rely-on-what-is-dropped",
        "a pack that is being dropped may be relied upon without a word",
        "repo/commit.py",
        "        if not sound:\n",
        "        if False:\n",
        RULES,
    ),
    one(
        "elsewhere-is-anywhere",
        "an object counts as moved when any of those relied on stands in a live pack",
        "repo/commit.py",
        "    return all(store.odb.find(oid, live) is not None for oid in oids)\n",
        "    return any(store.odb.find(oid, live) is not None for oid in oids)\n",
        RULES,
    ),
    one(
        "elsewhere-may-be-condemned",
        "an object counts as moved when it stands in any pack known",
        "repo/commit.py",
        "    return all(store.odb.find(oid, live) is not None for oid in oids)\n",
        "    return all(store.odb.find(oid) is not None for oid in oids)\n",
        GC,
    ),
    one(
        "rely-on-any-pack",
        "a writer relies on packs outside its snapshot",
        "repo/transaction.py",
        "        pack_id = self._store.odb.find_pack(oid, self._live)\n",
        "        pack_id = self._store.odb.find_pack(oid, set(self._store.odb.pack_ids))\n",
        RULES,
    ),
    one(
        "present-is-complete",
        "a tree that is present is taken for complete",
        "repo/transaction.py",
        "            waiting.extend(child for _, child in raw_children(kind, data))\n",
        "",
        GC,
    ),
    one(
        "no-compare-and-swap",
        "a ref is set whatever it holds",
        "refs/refs.py",
        "            if found != change.expect:\n",
        "            if False:\n",
        "tests/refs/test_refs.py",
    ),
    one(
        "undo-of-what-has-expired",
        "undo does not look whether its entry is still there",
        "repo/commit.py",
        "            _check_undo(writer, plan)\n",
        "",
        "tests/repo/test_undo.py",
        EXPLORER,
    ),
    one(
        "lost-answer-is-a-failure",
        "a commit whose answer was lost is reported as failed",
        "repo/commit.py",
        "    return None if op is None else op.op\n",
        "    return None\n",
        RULES,
    ),
    Mutant(
        "ids-from-content",
        "a pack is named after its content, so that an identical one takes a condemned one's name",
        "repo/packing.py",
        (
            (
                "        self._sealed.append(\n            PackRow(\n                pack_id,",
                "        from blake3 import blake3\n"
                "        written = self.folder / self._path(pack_id)\n"
                "        digest = blake3(written.read_bytes()).hexdigest()[:32]\n"
                '        pack_id = f"{self._owner[:16]}-{digest}-0"\n'
                "        written.rename(self.folder / self._path(pack_id))\n"
                "        self._sealed.append(\n            PackRow(\n                pack_id,",
            ),
            (
                "            if self._layout.pack(row.id).exists():\n",
                "            if False:\n",
            ),
        ),
        (RULES,),
        listed=True,
    ),
    one(
        "pack-number-used-twice",
        "a second batch of one gc begins at a number that the first has used",
        "repo/gc.py",
        "                first=self._done.written,\n",
        "                first=0,\n",
        "tests/repo/test_packing.py",
    ),
    one(
        "rename-over-a-pack",
        "a pack may be renamed over another",
        "repo/packing.py",
        "            if self._layout.pack(row.id).exists():\n",
        "            if False:\n",
        "tests/repo/test_packing.py",
    ),
)

COLLECTORS = (
    one(
        "no-reflog-roots",
        "gc does not mark from the reflog",
        "repo/reachability.py",
        "(second, living + undo)",
        "(second, living)",
        GC,
    ),
    one(
        "no-pins",
        "gc does not mark from pins",
        "repo/roots.py",
        '        yield Root(pin.kind, pin.oid, f"pin {pin.name}")\n\n\ndef undo_roots',
        "        pass\n\n\ndef undo_roots",
        GC,
    ),
    one(
        "no-held-roots",
        "gc does not mark from what workers hold for a living run",
        "repo/reachability.py",
        "        mark_held(marker, store, held)\n",
        "",
        HELD,
    ),
    one(
        "held-packs-are-no-news",
        "what a worker commits while gc marks is no root",
        "repo/gc.py",
        "        mark_held(found.kept, store, [row for row in fresh if row.state is "
        "PackState.HELD])\n",
        "",
        HELD,
        EXPLORER,
    ),
    one(
        "held-packs-name-only-what-they-hold",
        "a worker's pack does not list what it relied on in packs of others",
        "repo/commit.py",
        "    if plan.held_for and relied:\n",
        "    if False:\n",
        HELD,
    ),
    one(
        "held-by-the-dead",
        "the packs of a dead run are roots for ever",
        "repo/reachability.py",
        "        if row.owner in alive:\n",
        "        if True:\n",
        HELD,
    ),
    one(
        "news-are-not-marked",
        "what was committed since the mark is not marked before packs are condemned",
        "repo/gc.py",
        "            found.kept.mark(news)\n            refuse_missing(found.kept)\n",
        "            refuse_missing(found.kept)\n",
        GC,
        EXPLORER,
    ),
    one(
        "skip-only-what-became-live",
        "of the packs to condemn only those are skipped that a commit has made live again",
        "repo/gc.py",
        "[now[pack_id] for pack_id in dead if not found.kept.marks(pack_id).any()]",
        "[now[pack_id] for pack_id in dead]",
        GC,
        listed=True,
    ),
    one(
        "copies-are-complete",
        "a sparse pack goes although something in it was marked after it had been copied",
        "repo/gc.py",
        "                if not (found.kept.marks(pack_id) & ~positions).any():\n",
        "                if True:\n",
        RULES,
        EXPLORER,
    ),
    one(
        "old-generation",
        "condemned packs are stamped with the generation before",
        "repo/gc.py",
        "                generation = writer.next_generation()\n",
        "                generation = writer.next_generation() - 1\n",
        GC,
        listed=True,
    ),
    one(
        "old-generation-in-repack",
        "merged packs are stamped with the generation before",
        "repo/repack.py",
        "            generation = writer.next_generation()\n",
        "            generation = writer.next_generation() - 1\n",
        REPACK,
        EXPLORER,
        listed=True,
    ),
    one(
        "what-is-missing-is-no-reason-to-stop",
        "gc goes on although something reachable cannot be read",
        "repo/reachability.py",
        "    if marker.missing:\n",
        "    if False:\n",
        GC,
    ),
    one(
        "unreadable-lease-pins-nothing",
        "a lease that cannot be read is passed over",
        "repo/sweep.py",
        "        generation = -1 if info.generation is None else info.generation\n",
        "        if info.generation is None:\n"
        "            continue\n"
        "        generation = info.generation\n",
        GC,
    ),
    one(
        "newest-lease-counts",
        "the newest living lease decides, not the oldest",
        "repo/sweep.py",
        "min(lowest, generation)",
        "max(lowest, generation)",
        RULES,
    ),
    one(
        "the-dead-pin",
        "leases of the dead keep packs for ever",
        "repo/sweep.py",
        "        if info.alive and info.role is not LeaseRole.RUN\n",
        "        if info.role is not LeaseRole.RUN\n",
        RULES,
        EXPLORER,
    ),
    Mutant(
        "leases-before-the-condemnation",
        "gc looks at the leases before its condemnation is committed",
        "repo/gc.py",
        (
            (
                "                sequence = self._condemn(found, sequence, dead, copied, rows)\n",
                "                floor = lease_floor(self._store)\n"
                "                sequence = self._condemn(found, sequence, dead, copied, rows)\n",
            ),
            ("            self._drop(rows)\n", "            self._drop(rows, floor)\n"),
            (
                "    def _drop(self, rows: list[PackRow]) -> None:\n"
                "        dropped = drop_condemned(self._store)\n",
                "    def _drop(self, rows, floor):\n"
                "        from n4a_store.repo import sweep\n"
                "        real, sweep.lease_floor = sweep.lease_floor, lambda store: floor\n"
                "        try:\n"
                "            dropped = drop_condemned(self._store)\n"
                "        finally:\n"
                "            sweep.lease_floor = real\n",
            ),
        ),
        (RULES, EXPLORER),
    ),
    one(
        "drop-what-is-newer",
        "a pack condemned one generation after a living lease may go",
        "repo/sweep.py",
        "row.gc_gen <= self.generation",
        "row.gc_gen <= self.generation + 1",
        GC,
    ),
    one(
        "never-drop-beside-a-lease",
        "a pack condemned at the very generation of a living lease must stay",
        "repo/sweep.py",
        "row.gc_gen <= self.generation",
        "row.gc_gen < self.generation",
        RULES,
    ),
    Mutant(
        "unlink-before-dropping",
        "files are unlinked before the commit that says so",
        "repo/sweep.py",
        (
            (
                "    dropping = []\n    with store.catalog.write() as writer:\n",
                "    dropping = []\n"
                "    for row in candidates:\n"
                "        remove_file(store.layout.pack(row.id))\n"
                "    with store.catalog.write() as writer:\n",
            ),
        ),
        (EXPLORER, ORDER),
    ),
    one(
        "drop-without-a-second-look",
        "a pack that a commit has brought back since the look at the leases is dropped",
        "repo/sweep.py",
        "            if now == row:\n",
        "            if now is not None:\n",
        RULES,
        EXPLORER,
    ),
    one(
        "dropping-rows-stay",
        "what a dead gc had begun to drop is left",
        "repo/gc.py",
        "        done.dropped += finish_dropping(store)\n",
        "",
        GC,
        listed=True,
    ),
    one(
        "every-rowless-file-goes",
        "files without a row are removed although their owner lives",
        "repo/sweep.py",
        'if name in listed or match is None or match["owner"] in alive:',
        "if name in listed or match is None:",
        GC,
        listed=True,
    ),
    Mutant(
        "rows-before-leases",
        "the rows are read before the leases are looked at: a commit in between is lost",
        "repo/sweep.py",
        (
            (
                "    leases = list_leases(store.layout.leases)\n"
                "    alive = {info.lease_id for info in leases if info.alive}\n"
                "    with store.catalog.read() as reader:\n"
                "        listed =",
                "    with store.catalog.read() as reader:\n        listed =",
            ),
            (
                "        epoch = reader.epoch().hex()\n    packs = []\n",
                "        epoch = reader.epoch().hex()\n"
                "    leases = list_leases(store.layout.leases)\n"
                "    alive = {info.lease_id for info in leases if info.alive}\n"
                "    packs = []\n",
            ),
        ),
        (EXPLORER,),
    ),
    one(
        "packs-of-another-history",
        "packs of another epoch are taken for orphans",
        "repo/sweep.py",
        '        if match["epoch"] != epoch:\n',
        "        if False:\n",
        RULES,
    ),
    Mutant(
        "expire-by-ignoring",
        "expired reflog entries are ignored and stay",
        "repo/gc.py",
        (
            (
                "            self._done.expired = expire_reflog(writer, cutoff)\n",
                "            pass\n",
            ),
            ("_SEARCHED, None), sequence", "_SEARCHED, cutoff), sequence"),
        ),
        ("tests/repo/test_undo.py", EXPLORER),
    ),
    one(
        "older-catalog-is-believed",
        "gc deletes by a catalog that was put back from a backup",
        "repo/gc.py",
        "    if noted is not None and noted > sequence:\n",
        "    if False:\n",
        GC,
    ),
    one(
        "copies-are-not-verified",
        "what is copied is not checked against its id",
        "repo/copying.py",
        "        reader.read_at(position)  # verifies it against its id, or raises\n",
        "",
        REPACK,
    ),
    one(
        "marked-and-condemned",
        "a condemned pack in which something reachable is found stays condemned",
        "repo/gc.py",
        "if row.state is PackState.CONDEMNED and found.kept.marks(pack_id).any():\n",
        "if False:\n",
        RULES,
    ),
)

READERS_AND_PROCESSES = (
    one(
        "reader-replaces-its-list",
        "a reader that looks again forgets the packs it had promised from",
        "repo/session.py",
        "                rows += [row for row in condemned if row.gc_gen > pinned]\n"
        "        self._odb.add(rows)\n",
        "                rows += [row for row in condemned if row.gc_gen > pinned]\n"
        "        self._odb.add(rows)\n"
        "        self._odb.retain({row.id for row in rows if row.gc_gen == 0})\n",
        RULES,
        EXPLORER,
        listed=True,
    ),
    one(
        "reader-forgets-the-condemned",
        "a reader that looks again does not learn of packs condemned meanwhile",
        "repo/session.py",
        "                rows += [row for row in condemned if row.gc_gen > pinned]\n",
        "                pass\n",
        "tests/repo/test_session.py",
        RULES,
        EXPLORER,
    ),
    one(
        "reader-without-a-generation",
        "a reader's lease pins nothing",
        "repo/session.py",
        "                lease.publish(generation, epoch)\n",
        "                lease.publish(2**62, epoch)\n",
        GC,
    ),
    one(
        "lease-without-its-name",
        "a lease that gc has removed before it was locked is believed in",
        "storage/leases.py",
        "                    linked = os.fstat(fd).st_nlink > 0\n",
        "                    linked = True\n",
        LEASES,
        EXPLORER,
    ),
    one(
        "remove-living-leases",
        "a lease is removed without its lock",
        "storage/leases.py",
        "            if not alive and remove_dead:\n",
        "            if remove_dead:\n",
        LEASES,
        EXPLORER,
    ),
    one(
        "lock-un",
        "a child that drops its copy of a lease unlocks it for its parent as well",
        "storage/leases.py",
        "                    log.warning(\"lease %s could not be removed: %s\", self.path, error)\n"
        "        finally:\n            os.close(fd)\n",
        "                    log.warning(\"lease %s could not be removed: %s\", self.path, error)\n"
        "        finally:\n            import fcntl\n"
        "            fcntl.flock(fd, fcntl.LOCK_UN)\n            os.close(fd)\n",
        LEASES,
        RULES,
    ),
    one(
        "children-keep-leases",
        "a child keeps its parent's leases alive",
        "storage/leases.py",
        "os.register_at_fork(after_in_child=_close_in_child)\n",
        "",
        LEASES,
        RULES,
    ),
    one(
        "child-closes-the-catalog",
        "a child closes the connection it has inherited, and with it its parent's journal",
        "storage/catalog.py",
        "            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))\n",
        "            connection.close()\n",
        FORK,
    ),
    one(
        "child-keeps-the-lock",
        "a child keeps the lock that its parent held",
        "storage/locks.py",
        "        lock._close_in_child()\n",
        "        pass\n",
        FORK,
        "tests/storage/test_locks.py",
    ),
    one(
        "rows-without-checksums",
        "a changed row of the catalog is believed",
        "storage/catalog_access.py",
        "                if row_sum(kind.TABLE, fields) != stored_sum:\n",
        "                if False:\n",
        CATALOG,
        GC,
    ),
    one(
        "vanished-rows",
        "a row that vanished from the catalog is not missed",
        "storage/catalog_access.py",
        "            if found != self.summary(kind.TABLE):\n",
        "            if False:\n",
        CATALOG,
        GC,
    ),
    one(
        "objects-without-hashes",
        "an object's bytes are not checked against its id",
        "packs/reader.py",
        "    if raw_hash(header.kind, raw) != header.oid:\n",
        "    if False:\n",
        "tests/packs/test_reader.py",
        "tests/repo",
    ),
    one(
        "index-without-a-check",
        "an index is believed when it does not know an object",
        "packs/reader.py",
        "            if blake3(self.data[start : start + length]).digest() != "
        "self.footer.index_hash:\n",
        "            if False:\n",
        "tests/packs/test_reader.py",
        "tests/repo",
    ),
)

MUTANTS = (*DURABILITY, *WRITERS, *COLLECTORS, *READERS_AND_PROCESSES)

CI = (
    "no-fsync-of-the-pack",
    "no-validation-at-commit",
    "no-reflog-roots",
    "old-generation",
    "every-rowless-file-goes",
    "no-compare-and-swap",
)
"""A handful that is tried in CI."""
