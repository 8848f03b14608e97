"""Read sessions: what has been seen stays readable until the session ends.

A session holds a reader's lease, so gc drops nothing that was reachable when the session began.
Its list of packs only grows: a pack that is compacted away stays known, because its content may
have been promised to a caller already. Single reads open a session by themselves and leave it
open for a moment, so that a loop of reads does not pay for a lease each; after
:data:`IDLE_SECONDS` without a read it is closed, so that a notebook left open pins nothing, and
the next read after :data:`IDLE_SECONDS` of reading takes a new one, so that a busy process pins
no more than that either.

A user who may not write into the store's folder reads without a lease. What gc drops under such a
reader is looked for again in the packs that there are by then.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from n4a_store.errors import BackendError, CorruptionError
from n4a_store.odb.database import ObjectDatabase, PackGoneError
from n4a_store.settings import Settings
from n4a_store.storage import forks, system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.leases import Lease, LeaseRole
from n4a_store.storage.rows import PackRow, PackState, Summary

__all__ = ["IDLE_SECONDS", "ReadSessions", "drop_idle_sessions", "run_lease"]

log = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
# A condemned pack is no place to read from: whatever a ref reaches stands in a live one.
READABLE = (PackState.LIVE, PackState.HELD)
_MEETINGS = 100  # with one pack that has gone, in one look-up
_Found = TypeVar("_Found")
_all_sessions: weakref.WeakSet[ReadSessions] = weakref.WeakSet()
_mutex = threading.RLock()
_reaper: threading.Thread | None = None


def _known_sessions() -> list[ReadSessions]:
    with _mutex:
        return list(_all_sessions)


def drop_idle_sessions() -> None:
    """End the sessions of this process that nobody is using: gc need not wait for them."""
    for sessions in _known_sessions():
        sessions.drop_idle()


# A store that nobody closed goes with its process. While the interpreter is taken apart it would be
# too late: a lease may go before the session that holds it, and would complain.
atexit.register(drop_idle_sessions)


def _watch_idle_sessions() -> None:
    """See to it that one thread ends the idle sessions of all stores of this process.

    Raises:
        RuntimeError: No thread can be started.
    """
    global _reaper  # noqa: PLW0603 - one process, one thread
    with _mutex:
        if _reaper is None:
            thread = threading.Thread(target=_reap, name="n4a_store-idle-sessions", daemon=True)
            thread.start()
            _reaper = thread


def _reap() -> None:
    global _reaper  # noqa: PLW0603 - as above
    watching = True
    while watching:
        time.sleep(IDLE_SECONDS / 4)
        # Each of them is asked, not only up to the first that is still open.
        open_still = [sessions.drop_after(IDLE_SECONDS) for sessions in _known_sessions()]
        watching = any(open_still)
    with _mutex:
        _reaper = None
    if any(sessions.holds_lease and sessions.ends_when_idle for sessions in _known_sessions()):
        # One began after it was looked at, and found the thread still there.
        _watch_idle_sessions()


class _AllBut(Container[str]):
    """All packs but one, those included that another thread learns of meanwhile."""

    def __init__(self, pack_id: str) -> None:
        self._pack_id = pack_id

    def __contains__(self, pack_id: object) -> bool:
        return pack_id != self._pack_id


class Use:
    """That somebody reads: until it is given back, or lost in a Ctrl-C, which ends it as well."""

    __slots__ = ("__weakref__",)


class _Block(AbstractContextManager[None]):
    """One use of the sessions; a class, because each single read has one."""

    __slots__ = ("_forks", "_sessions", "_use")

    def __init__(self, sessions: ReadSessions) -> None:
        self._sessions = sessions

    def __enter__(self) -> None:
        self._use = self._sessions.enter()
        self._forks = forks.behind()

    def __exit__(self, *_: object) -> None:
        if self._forks == forks.behind():  # a child that was forked in it never entered
            self._sessions.leave(self._use)


class ReadSessions:
    """The read sessions of one store in this process; they share one lease.

    Args:
        leaseless: The store stands on a read-only disk, where no lease can be written.
    """

    def __init__(
        self,
        layout: StoreLayout,
        catalog: Catalog,
        odb: ObjectDatabase,
        settings: Settings,
        *,
        leaseless: bool = False,
    ) -> None:
        self._layout = layout
        self._catalog = catalog
        self._odb = odb
        self._shared_group = settings.shared_group
        self._leaseless = leaseless
        self._mutex = threading.RLock()
        self._lease: Lease | None = None
        self._refused = False
        self._warned = False
        self._users: set[weakref.ref[Use]] = set()
        self._began = 0.0
        self._idle_since = 0.0
        self._loaded = False
        self._learnt: tuple[Summary, int | None, int] | None = None
        self.ends_when_idle = True
        """Whether a session ends by the clock; only a test that steps by hand says no."""
        with _mutex:
            _all_sessions.add(self)

    def session(self) -> AbstractContextManager[None]:
        """Hold the lease for the length of the block; blocks may nest and run in threads."""
        return _Block(self)

    def _forget_parent(self) -> None:
        """In a forked child: the lease is the parent's, and so is whoever held the lock."""
        self._mutex = threading.RLock()
        self._lease = None  # closed by the fork handler of leases
        self._refused = False
        self._users = set()
        self._loaded = False

    @property
    def holds_lease(self) -> bool:
        """Whether a session is open, in use or not."""
        return self._lease is not None

    @property
    def is_blind(self) -> bool:
        """Whether gc cannot know of this session, because no lease can be made here.

        Then a pack may vanish that a lease would have kept; whoever meets that looks again.
        """
        return self._leaseless or self._refused

    def enter(self) -> Use:
        """Begin to use the lease; :meth:`leave` must follow, in the same process."""
        with self._mutex:
            # A process that never stops reading must not pin what was garbage hours ago. Where no
            # lease can be, nothing is pinned, and there is nothing to begin anew.
            renews = not self._users and not self._leaseless
            if renews and time.monotonic() - self._began >= IDLE_SECONDS:
                self._drop()
            if not self._loaded or (self._lease is None and not self.is_blind):
                self._begin()
            use = Use()
            self._users.add(weakref.ref(use, self._users.discard))
            return use

    def _begin(self) -> None:
        lease = self._take_lease()
        try:
            if lease is not None:
                with suppress(RuntimeError):  # no thread to be had: who leaves will say so
                    self._watch()  # first: whoever is cut short from now on leaves it open
            with self._catalog.read() as reader:
                rows = reader.packs(READABLE)
                generation, epoch = reader.generation(), reader.epoch()
            if lease is not None:
                self._publish(lease, generation, epoch)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        self._odb.add(rows)
        self._odb.retain({row.id for row in rows})
        self._began = self._idle_since = time.monotonic()
        self._lease = lease
        self._loaded = True

    def _watch(self) -> None:
        """See to it that the session ends when nobody uses it.

        Raises:
            RuntimeError: No thread can be started.
        """
        if _reaper is None and self.ends_when_idle:
            _watch_idle_sessions()

    def _take_lease(self) -> Lease | None:
        """A lease, or None where this user may not make one: then others may still write."""
        if self._leaseless:
            return None
        try:
            return Lease(self._layout.leases, LeaseRole.READER, shared_group=self._shared_group)
        except BackendError as error:
            if not system.is_refusal(error) and not system.is_full(error):
                raise
            self._refused = True
            self._warn("%s: reading without a lease, unseen by gc", error)
            return None

    def _publish(self, lease: Lease, generation: int, epoch: bytes) -> None:
        """Say what the lease pins; where there is no room for that, it pins everything."""
        try:
            lease.publish(generation, epoch)
        except BackendError as error:
            if not system.is_full(error):
                raise
            lease.generation = generation  # from when on it pins, whatever others can read
            self._warn("%s: until this reader has ended, gc can drop nothing", error)

    def _warn(self, message: str, error: BackendError) -> None:
        """Say once what a reader does without."""
        if not self._warned:
            self._warned = True
            log.warning(message, error)

    def refresh(self) -> None:
        """Learn of packs committed since the session began; forget none.

        Those condemned since then count as well: a ref that was read in this session may have
        led there, and the session's lease keeps them on the disk.
        """
        lease = self._lease
        pinned = None if lease is None else lease.generation
        with self._catalog.read() as reader:
            summary = reader.summary(PackRow.TABLE)
            if (summary, pinned, self._odb.changes) == self._learnt:
                return  # the same rows, and none of them has been forgotten
            rows = reader.packs(READABLE)
            if pinned is not None:
                rows += reader.condemned_since(pinned)
        self._learnt = summary, pinned, self._odb.add(rows)

    def known_to_catalog(self, pack_id: str) -> bool:
        """Whether the catalog still promises a pack that the disk lacks."""
        with self._catalog.read() as reader:
            row = reader.pack(pack_id)
        return row is not None and row.state in READABLE

    def past_gone(self, oid: bytes, look: Callable[[], _Found]) -> _Found:
        """What ``look`` finds for an object when packs that gc has dropped are forgotten.

        Raises:
            CorruptionError: One that the catalog promises is missing.
        """
        try:
            return self._past_gone(look)
        except PackGoneError as gone:
            raise CorruptionError(
                f"object {oid.hex()[:12]} cannot be looked up: {gone}", hint=gone.hint
            ) from gone

    def _past_gone(self, look: Callable[[], _Found]) -> _Found:
        met: Counter[str] = Counter()
        while True:
            try:
                return look()
            except PackGoneError as gone:
                met[gone.pack_id] += 1
                # A thread meets what another has forgotten already, and a transaction's packs are
                # not forgotten; but nobody goes on for ever.
                if met[gone.pack_id] > _MEETINGS or not self._forget(gone.pack_id):
                    raise

    def _forget(self, pack_id: str) -> bool:
        """Forget a pack whose file is missing, and learn of what came in its place.

        Returns:
            Whether that is as it should be; False when the catalog still promises the pack.
        """
        self.refresh()
        if self.known_to_catalog(pack_id):
            return False
        self._odb.retain(_AllBut(pack_id))
        return True

    def open_packs(self) -> None:
        """Learn of all packs; without a lease open them too, and forget those that gc dropped.

        Raises:
            PackGoneError: One that the catalog promises, or a transaction counts on, is missing.
        """
        self.refresh()
        if self.is_blind:
            self._past_gone(self._open_all)

    def _open_all(self) -> None:
        for pack_id in self._odb.pack_ids:
            self._odb.reader(pack_id)

    @property
    def hint_when_absent(self) -> str:
        """What to do about an object that is in no pack."""
        if self.is_blind:
            return (
                "this reader may write nothing here and has no lease: gc may have dropped it "
                "meanwhile; try again"
            )
        return "run: n4a-store fsck, if something refers to it"

    def leave(self, use: Use) -> None:
        """End what :meth:`enter` began."""
        with self._mutex:
            self._users.discard(weakref.ref(use))
            if not self._users:
                self._idle_since = time.monotonic()
                if self._lease is not None and _reaper is None:
                    try:
                        self._watch()
                    except RuntimeError:
                        # No thread to be had: then nothing may be left open.
                        self._drop()

    def drop_after(self, seconds: float) -> bool:
        """Give up a lease that nobody has used for ``seconds``; whether one is still held."""
        if not self.ends_when_idle:
            return False
        with self._mutex:
            if not self._users and time.monotonic() - self._idle_since >= seconds:
                self._drop()
            return self._lease is not None

    def _drop(self) -> None:
        lease, self._lease = self._lease, None
        self._refused = False  # the next session asks again
        self._odb.kept.clear()
        if lease is not None:
            try:
                lease.release()
            except (BackendError, OSError) as error:
                log.warning("a read session could not end cleanly: %s", error)

    def drop_idle(self) -> None:
        """Give up the lease now, if nobody is reading."""
        with self._mutex:
            if not self._users:
                self._drop()

    def __del__(self) -> None:
        # A store that nobody closed: what its single reads left open ends with it. In a forked
        # child the lease is the parent's, and giving it up here only closes our copy.
        lease = self.__dict__.get("_lease")
        if lease is not None:
            lease.release()

    def close(self) -> None:
        """End all sessions of this process."""
        with self._mutex:
            self._drop()
            self._loaded = False


def run_lease(layout: StoreLayout, catalog: Catalog, settings: Settings) -> Lease:
    """A lease of a run, which pins nothing: see :meth:`Store.lock_run`."""
    lease = Lease(layout.leases, LeaseRole.RUN, shared_group=settings.shared_group)
    try:
        with catalog.read() as reader:
            lease.publish(reader.generation(), reader.epoch())
    except BaseException:
        lease.release()
        raise
    return lease


def _forget_parents_sessions() -> None:
    global _mutex, _reaper
    _mutex, _reaper = threading.RLock(), None
    for sessions in list(_all_sessions):
        sessions._forget_parent()


os.register_at_fork(after_in_child=_forget_parents_sessions)
