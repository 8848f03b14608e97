"""Mutants of gc and repack: what they mark, when they look, and what they drop."""

# ruff: noqa: ISC004 - an edit is a pair of texts, each of them long

from __future__ import annotations

from tests.mutation.mutant import EXPLORER, GC, HELD, ORDER, REPACK, RULES, Mutant, one

COLLECTORS = (
    one(
        "no-reflog-roots",
        "gc does not mark from the reflog",
        "repo/reachability.py",
        "    second.mark(undo, count)\n",
        "",
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
        "    waiting = mark_held(first, store, held)\n",
        "    waiting: set[str] = set()\n",
        HELD,
    ),
    one(
        "held-packs-are-no-news",
        "what a worker commits while gc marks is no root",
        "repo/gc.py",
        "        mark_held(found.kept, store, [row for row in fresh if row.owner])\n",
        "",
        HELD,
        EXPLORER,
    ),
    one(
        "held-packs-name-only-what-they-hold",
        "a worker's pack does not list what it relied on in packs of others",
        "repo/commit.py",
        "    if plan.held_for and plan.relied:\n",
        "    if False:\n",
        HELD,
    ),
    one(
        "held-by-the-dead",
        "the packs of a dead run are roots for ever",
        "repo/reachability.py",
        "    return {row.id for row in owned if row.owner in alive}\n",
        "    return {row.id for row in owned}\n",
        HELD,
    ),
    one(
        "adopted-is-no-runs-any-more",
        "adopting one handover gives what nothing names of the others to gc",
        "repo/commit.py",
        "            writer.set_pack_state(held, PackState.LIVE, gc_gen=0)\n",
        '            writer.set_pack_state(held, PackState.LIVE, gc_gen=0, owner="")\n',
        HELD,
    ),
    one(
        "repack-takes-a-runs-packs",
        "a copy of a pack that waits for its run is no root, and the pack goes",
        "repo/repack.py",
        "        before = [row for row in live if row.id not in waiting]\n",
        "        before = live\n",
        HELD,
    ),
    one(
        "gc-rewrites-a-runs-packs",
        "gc copies what is marked in a pack that waits for its run, and the copy is no root",
        "repo/gc.py",
        " or marks.all() or pack_id in found.held:\n",
        " or marks.all():\n",
        HELD,
    ),
    one(
        "held-packs-are-only-copies",
        "a held pack goes when a living one has all of it too, and then that one may go",
        "repo/gc.py",
        " and pack_id not in found.held:\n",
        ":\n",
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
        "        if info.alive and (info.role is None or info.role.pins)\n",
        "        if info.role is None or info.role.pins\n",
        RULES,
        EXPLORER,
    ),
    Mutant(
        "leases-before-the-condemnation",
        "gc looks at the leases before its condemnation is committed",
        "repo/gc.py",
        (
            (
                "        dead, sparse = self._choose(found)\n",
                "        dead, sparse = self._choose(found)\n"
                "        floor = lease_floor(self._store)\n",
            ),
            ("        self._drop([])\n", "        self._drop([], floor)\n"),
            (
                "            copies = copy_batch(builder, found, batch, self._look_at)\n",
                "            copies = copy_batch(builder, found, batch, self._look_at)\n"
                "            floor = lease_floor(self._store)\n",
            ),
            ("        self._drop(copies.rows)\n", "        self._drop(copies.rows, floor)\n"),
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
        "row.kept_at(self.generation)",
        "row.kept_at(self.generation + 1)",
        GC,
    ),
    one(
        "never-drop-beside-a-lease",
        "a pack condemned at the very generation of a living lease must stay",
        "repo/sweep.py",
        "row.kept_at(self.generation)",
        "row.kept_at(self.generation - 1)",
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
            ("_SEARCHED, None, self._marking)", "_SEARCHED, cutoff, self._marking)"),
        ),
        ("tests/repo/test_undo.py", EXPLORER),
    ),
    one(
        "older-catalog-is-believed",
        "gc deletes by a catalog that was put back from a backup",
        "repo/catalog_age.py",
        "    if noted is not None and noted > sequence:\n",
        "    if False:\n",
        GC,
    ),
    one(
        "a-commit-makes-an-older-catalog-the-newest",
        "what is committed on a catalog from a backup hides that it is one",
        "storage/catalog.py",
        "        if noted is None or noted <= before:\n",
        "        if True:\n",
        "tests/repo/test_backup.py",
    ),
    Mutant(
        "an-older-catalog-is-noted-after-its-commit",
        "who dies after a commit on a catalog from a backup hides that it is one",
        "storage/catalog.py",
        (
            (
                "                    is_older = not writer.caught_up and self._keep_ahead"
                "(lock, before, sequence)\n",
                "",
            ),
            (
                "                if not is_older:\n",
                "                if writer.caught_up or not self._keep_ahead"
                "(lock, before, sequence):\n",
            ),
        ),
        ("tests/repo/test_backup.py",),
    ),
    one(
        "the-note-before-the-catalog",
        "gc beside a writer takes a catalog from a backup for the newest",
        "storage/catalog.py",
        "            with self.read() as reader:\n"
        "                sequence = reader.sequence()\n"
        "            noted = self.noted_sequence()\n",
        "            noted = self.noted_sequence()\n"
        "            with self.read() as reader:\n"
        "                sequence = reader.sequence()\n",
        "tests/repo/test_backup.py",
    ),
    one(
        "entered-beside-its-writer",
        "a pack is entered that its living writer may take back",
        "repo/repair.py",
        "        if not at_work:\n",
        "        if True:\n",
        "tests/repo/test_repair.py",
    ),
    one(
        "generations-that-readers-are-beyond",
        "what is condemned after a catalog was put back is older than a living reader",
        "repo/repair.py",
        'writer.set_meta("generation", max(writer.generation(), *seen, 0))',
        'writer.set_meta("generation", writer.generation())',
        "tests/repo/test_repair.py",
    ),
    one(
        "purge-before-looking",
        "a purge takes every ref away before it finds that something cannot be read",
        "artifacts/removal.py",
        "    refuse_unreadable(store, collects=collects, expire_now=expire_now)\n",
        "",
        "tests/artifacts/test_cleanup.py",
    ),
    one(
        "damaged-runs-hold-nothing",
        "a pipeline goes although a run cannot be read that may hold it",
        "artifacts/removal.py",
        '            raise CorruptionError(\n                f"{ref.name} cannot be read,',
        "            continue\n"
        "            raise CorruptionError(\n"
        '                f"{ref.name} cannot,',
        "tests/artifacts/test_cleanup.py",
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
        "a-delta-is-a-base",
        "a delta stays one where its base came into the new pack as a delta itself",
        "packs/writer.py",
        "        return oid in self._places and oid not in self._deltas\n",
        "        return oid in self._places\n",
        "tests/repo/test_copying.py",
    ),
    one(
        "marked-and-condemned",
        "a condemned pack in which something reachable is found stays condemned",
        "repo/gc.py",
        "if row.state is PackState.CONDEMNED and self._is_needed(found, pack_id):\n",
        "if False:\n",
        RULES,
    ),
    one(
        "gc-takes-back-its-own-condemnations",
        "a batch brings back what the one before has copied and condemned",
        "repo/gc.py",
        "return bool(marks.any() if copied is None else (marks & ~copied).any())",
        "return bool(marks.any())",
        "tests/repo/test_gc_batches.py",
    ),
    one(
        "what-gc-has-condemned-itself-never-comes-back",
        "a pack stays condemned although something else in it was marked since it was copied",
        "repo/gc.py",
        "return bool(marks.any() if copied is None else (marks & ~copied).any())",
        "return bool(marks.any() if copied is None else False)",
        "tests/repo/test_gc_batches.py",
    ),
)
