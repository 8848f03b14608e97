"""Mutants of readers, of leases and locks over a fork, and of every check on what is read."""

from __future__ import annotations

from tests.mutation.mutant import CATALOG, EXPLORER, FORK, GC, LEASES, RULES, Mutant, one

READERS_AND_PROCESSES = (
    one(
        "reader-replaces-its-list",
        "a reader that looks again forgets the packs it had promised from",
        "repo/session.py",
        "                rows += reader.condemned_since(pinned)\n        self._odb.add(rows)\n",
        "                rows += reader.condemned_since(pinned)\n"
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
        "                rows += reader.condemned_since(pinned)\n",
        "                pass\n",
        "tests/repo/test_session.py",
        RULES,
        EXPLORER,
    ),
    one(
        "transaction-forgets-the-condemned",
        "a transaction does not look in packs that were condemned since it began",
        "repo/transaction.py",
        "            if not rows:\n                raise\n",
        "            raise\n",
        "tests/repo/test_session.py",
    ),
    one(
        "reader-without-a-generation",
        "a reader's lease pins nothing",
        "repo/session.py",
        "            lease.publish(generation, epoch)\n",
        "            lease.publish(2**62, epoch)\n",
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
        '                    log.warning("lease %s could not be removed: %s", self.path, error)\n'
        "        finally:\n            os.close(fd)\n",
        '                    log.warning("lease %s could not be removed: %s", self.path, error)\n'
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
        "an-end-cut-short-stays-open",
        "a transaction whose end a Ctrl-C cut short is not ended by the next",
        "storage/catalog.py",
        "elif not nested and (self._within is not None or connection.in_transaction):",
        "elif False:",
        "tests/storage/test_catalog_interrupted.py",
    ),
    one(
        "a-lock-cut-short-stays-held",
        "a lock that a Ctrl-C kept from being given back is held for good",
        "storage/locks.py",
        '        if getattr(self, "_turns", None):\n',
        "        if False:\n",
        "tests/storage/test_locks.py",
    ),
    one(
        "a-lease-without-an-owner",
        "a lease that a Ctrl-C met as it was taken is nobody's",
        "storage/leases.py",
        "                    self._fd = fd  # at once: a Ctrl-C must find an owner who gives it "
        "up\n"
        "                    break\n                os.close(fd)\n            else:\n"
        '                raise BackendError(f"leases in {folder} keep disappearing as they are '
        'taken")\n',
        "                    break\n                os.close(fd)\n            else:\n"
        '                raise BackendError(f"leases in {folder} keep disappearing as they are '
        'taken")\n'
        "        self._fd = fd\n",
        LEASES,
    ),
    one(
        "a-lost-use-counts-on",
        "who was cut short as he began to read counts as a reader for good",
        "repo/session.py",
        "            self._users.add(weakref.ref(use, self._users.discard))\n",
        "            self._users.add(weakref.ref(use))\n",
        "tests/repo/test_session.py",
    ),
    one(
        "read-around-a-journal",
        "a commit that was cut short is read on a read-only disk",
        "storage/catalog.py",
        "in_memory = self._immutable and is_hot(self._path)",
        "in_memory = False",
        "tests/repo/test_at_night.py",
    ),
    Mutant(
        "a-child-ends-its-parents-run",
        "a forked child marks the run of its parent as failed",
        "artifacts/runs.py",
        (
            (
                "        return not self._ended and self._pid == os.getpid()\n",
                "        return not self._ended\n",
            ),
            ("        if self._pid != os.getpid():\n", "        if False:\n"),
        ),
        ("tests/artifacts/test_workers.py",),
    ),
    one(
        "rows-without-checksums",
        "a changed row of the catalog is believed",
        "storage/catalog_access.py",
        "        if digest[:SUM_BYTES] != stored_sum:\n",
        "        if False:\n",
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
        "fetched-without-hashes",
        "bytes that are fetched in one go are not checked against their id",
        "packs/reader.py",
        "        if raw_hash(kind, raw) != oid:\n",
        "        if False:\n",
        "tests/packs/test_reader.py",
        "tests/repo",
    ),
    one(
        "distrust-forgotten-when-asked-again",
        "an artifact of a pipeline that is known already is taken for one that was made here",
        "artifacts/loader.py",
        "            origin = manifest.links.origin(key)\n",
        '            origin = ""\n',
        "tests/artifacts/test_flat_import.py",
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
