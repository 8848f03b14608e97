"""Mutants of writers: what they rely on, when, and in which order things reach the disk."""

# ruff: noqa: ISC004 - an edit is a pair of texts, each of them long

from __future__ import annotations

from tests.mutation.mutant import (
    AGAIN,
    AGAIN_PLANNED,
    CATALOG,
    EXPLORER,
    GC,
    ORDER,
    REUSE,
    RULES,
    Mutant,
    one,
)

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
        "        if waiting and self._durable:\n            sync_folder(self._layout.packs)\n",
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
        "                if durable:\n                    system.fsync(fd, temporary)\n",
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
        "repo/seat.py",
        (
            ("        self.lease = Lease(", "        self._take = lambda: Lease("),
            ("        self.lease.claim()\n", ""),
            (
                "        self.lease.publish(generation, epoch)\n",
                "        self.lease = self._take()\n"
                "        self.lease.publish(generation, epoch)\n",
            ),
        ),
        (RULES, EXPLORER),
    ),
    one(
        "publish-before-reading",
        "the lease says something before the generation has been read",
        "repo/seat.py",
        "        self.lease.claim()\n",
        "        self.lease.publish(2**62, bytes(8))\n",
        RULES,
        EXPLORER,
    ),
    one(
        "rested-lease-still-rests",
        "a seat's next transaction reads the catalog while its lease pins nothing",
        "repo/seat.py",
        "        self.lease.claim()\n",
        "",
        RULES,
    ),
    one(
        "packs-before-generation",
        "live packs are read before the generation, in another transaction",
        "repo/seat.py",
        "        with catalog.read() as reader:\n"
        "            # The generation first: a pack that is condemned in between is then newer.\n"
        "            generation, epoch = reader.generation(), reader.epoch()\n"
        "            packs = reader.live_packs()\n",
        "        with catalog.read() as reader:\n"
        "            packs = reader.live_packs()\n"
        "        with catalog.read() as reader:\n"
        "            generation, epoch = reader.generation(), reader.epoch()\n",
        RULES,
        EXPLORER,
        listed=True,
    ),
    one(
        "lease-ends-before-the-commit",
        "the writer gives up its lease, then commits",
        "repo/transaction.py",
        "            attempts = 1\n",
        "            attempts = 1\n            self.seat.leave()\n",
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
        "    return all(store.odb.find(oid, live) is not None for oid in split_ids(oids))\n",
        "    return any(store.odb.find(oid, live) is not None for oid in split_ids(oids))\n",
        RULES,
    ),
    one(
        "elsewhere-may-be-condemned",
        "an object counts as moved when it stands in any pack known",
        "repo/commit.py",
        "    return all(store.odb.find(oid, live) is not None for oid in split_ids(oids))\n",
        "    return all(store.odb.find(oid) is not None for oid in split_ids(oids))\n",
        GC,
    ),
    one(
        "rely-on-any-pack",
        "a writer relies on packs outside its snapshot",
        "repo/putting.py",
        "        pack_id = self._store.odb.find_pack(oid, self._live)\n",
        "        pack_id = self._store.odb.find_pack(oid, set(self._store.odb.pack_ids))\n",
        RULES,
    ),
    one(
        "reuse-without-relying",
        "a tree that is reused by its id may be dropped before the commit",
        "repo/putting.py",
        "            if not self._rely(oid.raw):\n                return False\n",
        "            if self._store.odb.find_pack(oid.raw, self._live) is None:\n"
        "                return False\n",
        REUSE,
    ),
    one(
        "reuse-whatever-was-known",
        "a tree is reused by its id wherever it stood once",
        "repo/putting.py",
        "            if not self._rely(oid.raw):\n                return False\n",
        "            self._rely(oid.raw)\n",
        REUSE,
    ),
    one(
        "reuse-the-root-of-shards",
        "the root of a large tree that is reused is taken for its shards",
        "artifacts/repeated_trees.py",
        "    if len(entries) > FANOUT_LIMIT:\n"
        "        return txn.put_tree(_unpacked(entries))\n"
        "    # No name is empty or holds a NUL, so two of them end the names.\n",
        "    if len(entries) > FANOUT_LIMIT:\n"
        "        txn.put_packed = lambda entries: txn.put_tree(_unpacked(entries))\n",
        AGAIN,
    ),
    one(
        "moved-and-come-back-vouches",
        "a ref that held two values while they were adopted vouches for the one it holds at last",
        "repo/planned_refs.py",
        '            self._plan.adopted[name] = b""\n',
        "            pass\n",
        "tests/repo/test_seen_refs.py",
    ),
    one(
        "put-parts-without-relying",
        "a part that stands in another's pack may be dropped before the commit",
        "repo/putting.py",
        "                    self._plan.rely(pack_id, oid)\n",
        "                    pass\n",
        REUSE,
    ),
    one(
        "find-parts-in-any-pack",
        "a part is found in a pack outside the snapshot",
        "repo/putting.py",
        "            found = self._store.odb.find_packs(unknown, self._live)",
        "            found = self._store.odb.find_packs(unknown, set(self._store.odb.pack_ids))",
        REUSE,
    ),
    one(
        "packed-trees-name-anything",
        "a tree of encoded entries names what was neither put nor adopted",
        "repo/putting.py",
        "            if known(packed[1:]) != packed[0]:\n",
        "            if False:\n",
        REUSE,
    ),
    one(
        "present-is-complete",
        "a tree that is present is taken for complete",
        "repo/transaction.py",
        "            waiting.extend(raw_children(kind, data))\n",
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
        "planned-again-without-the-packs-before",
        "a commit that plans again names only the packs that it has put since",
        "repo/packing.py",
        "        return list(self._sealed)\n",
        "        return list(waiting)\n",
        AGAIN_PLANNED,
        EXPLORER,
    ),
    one(
        "given-up-and-left",
        "the packs of a commit that is given up stay in their place",
        "repo/transaction.py",
        "                self._packs.retract()  # it is certain that no row names them\n",
        "                pass\n",
        AGAIN_PLANNED,
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
                "        written = Path(self._path(pack_id))\n"
                "        digest = blake3(written.read_bytes()).hexdigest()[:32]\n"
                '        pack_id = f"{self._owner[:16]}-{digest}-0"\n'
                "        written.rename(self._path(pack_id))\n"
                "        self._sealed.append(\n            PackRow(\n                pack_id,",
            ),
            (
                "            if os.path.lexists(target):\n",
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
        "            first=self._done.written,\n",
        "            first=0,\n",
        "tests/repo/test_packing.py",
    ),
    one(
        "rename-over-a-pack",
        "a pack may be renamed over another",
        "repo/packing.py",
        "            if os.path.lexists(target):\n",
        "            if False:\n",
        "tests/repo/test_packing.py",
    ),
)
