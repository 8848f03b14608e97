"""A store: one content-addressed repository in one folder.

A ``Store`` opens, reads and begins transactions; whatever else can be done with a store is a
function elsewhere in this room that takes one. Every byte it returns has been checked against
its object's id. It may be shared by threads and survives a fork: the child takes leases and a
catalog connection of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    ObjectNotFoundError,
    RefNotFoundError,
    StoreNotFoundError,
)
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.odb.database import Location, ObjectDatabase, PackGoneError
from n4a_store.odb.listing import ids_with_prefix, iter_ids
from n4a_store.refs.names import check_ref_name
from n4a_store.refs.refs import Ref, ReflogEntry, from_row, read_reflog
from n4a_store.repo.caching import CachingReader
from n4a_store.repo.creation import create_store
from n4a_store.repo.format import StoreFormat, read_config, read_format, refuse_links
from n4a_store.repo.known_refs import KnownRefs
from n4a_store.repo.object_info import ObjectInfo
from n4a_store.repo.reading import need_id
from n4a_store.repo.seat import Seat
from n4a_store.repo.session import ReadSessions, run_lease
from n4a_store.repo.transaction import Transaction
from n4a_store.settings import Settings
from n4a_store.storage.ballast import Ballast
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.filesystem import check_filesystem, is_read_only, may_write
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.leases import Lease
from n4a_store.storage.watch import CatalogWatch

__all__ = ["ObjectInfo", "Store"]

log = logging.getLogger(__name__)

_Read = Callable[[Location], tuple[int, BytesLike]]


class Store(CachingReader):
    """An open store. Use :meth:`open` or :meth:`init`.

    ::

        store = Store.open(path)
        with store.transaction("first model") as txn:
            tree = txn.put_tree({"weights": txn.put_blob(b"...")})
            txn.set_ref("refs/tags/first", tree, expect=None)
    """

    def __init__(
        self, layout: StoreLayout, settings: Settings, form: StoreFormat, *, read_only: bool
    ) -> None:
        self.layout = layout
        self.settings = settings
        self.format = form
        self.read_only = read_only
        self.catalog = Catalog(
            layout.catalog,
            layout.commit_lock,
            settings.durability,
            read_only=not may_write(layout.root, layout.catalog),
            immutable=read_only,
            shared_group=settings.shared_group,
        )
        self.odb = ObjectDatabase(layout)
        self.ballast = Ballast(layout, settings.ballast_bytes, settings.shared_group)
        self.sessions = ReadSessions(layout, self.catalog, self.odb, settings, leaseless=read_only)
        self._known_refs = KnownRefs(CatalogWatch(layout.catalog, layout.commit_lock), self.catalog)
        self._closed = False
        super().__init__(self.odb.kept)

    @classmethod
    def init(cls, path: str | os.PathLike[str], *, settings: Settings | None = None) -> Store:
        """Create a store in the folder ``path``, which must not exist or be empty.

        Raises:
            InvalidInputError: There is something in that folder.
            BackendError: It cannot be created; nothing is left of the attempt.
        """
        layout = StoreLayout(Path(path).absolute())
        chosen = settings if settings is not None else Settings.load(None, os.environ)
        create_store(layout, chosen)
        return cls.open(path, settings=settings)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, settings: Settings | None = None) -> Store:
        """Open the store in the folder ``path``.

        Raises:
            StoreNotFoundError: There is none.
            UnsupportedFormatError: It needs a later version of this program.
            CorruptionError: Its ``format`` file or its catalog is damaged.
            BackendError: It stands on a file system whose locks are not known to hold, or one of
                its folders, or its catalog, is a link.
        """
        layout = StoreLayout(Path(path).absolute())
        form = read_format(layout)
        if form is None:
            raise StoreNotFoundError(
                f"there is no store in {layout.root}", hint="'n4a-store init' creates one"
            )
        form.check_read()
        refuse_links(layout)
        if settings is None:
            settings = Settings.load(read_config(layout), os.environ, config=str(layout.config))
        read_only = is_read_only(layout.root)
        if read_only:
            log.warning("%s is on a read-only disk: reading it without a lease", layout.root)
        else:
            check_filesystem(layout.root, allow=settings.allow_network_filesystem)
        return cls(layout, settings, form, read_only=read_only)

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self.layout.root

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from n4a_store.repo.stats import store_stats

        return store_stats(self).html(f"Store {self.path}")

    def close(self) -> None:
        """Give up leases and the catalog. Views and arrays handed out stay valid."""
        if not self._closed:
            self._closed = True
            self.sessions.close()
            self.catalog.close()
            self.odb.close()
            self.forget()
            self._known_refs.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInputError(f"the store {self.path} has been closed")

    # --- reading ------------------------------------------------------------------------------

    def session(self) -> AbstractContextManager[None]:
        """A read session: what could be read at its beginning can be read until its end."""
        self._check_open()
        return self.sessions.session()

    def _locate(self, oid: bytes) -> Location:
        location = self.odb.find(oid)
        if location is None:
            self.sessions.refresh()
            location = self.odb.find(oid)
        if location is None:
            self._prove_absent(oid)
            location = self.odb.find(oid)  # in a pack that came in the place of one that went
        if location is None:
            raise ObjectNotFoundError(
                f"no object {oid.hex()[:12]} in {self.path}",
                hint=self.sessions.hint_when_absent,
            )
        return location

    def _prove_absent(self, oid: bytes) -> None:
        """A damaged index or an unreadable pack must not pass for "there is no such object"."""

        def verify() -> None:
            try:
                self.odb.verify_indexes()
            except PackGoneError:
                raise
            except CorruptionError as error:
                raise CorruptionError(
                    f"object {oid.hex()[:12]} cannot be looked up: {error}", hint=error.hint
                ) from error

        self.sessions.past_gone(oid, verify)

    def _attempt(self, oid: bytes, read: _Read) -> tuple[int, BytesLike]:
        location = self._locate(oid)
        try:
            return read(location)
        except PackGoneError:
            raise
        except CorruptionError:
            for other in self.odb.find_all(oid):
                if other != location:
                    try:
                        found = read(other)
                    except CorruptionError:
                        continue
                    log.warning(
                        "object %s is damaged in pack %s; pack %s has a sound copy",
                        oid.hex()[:12],
                        location.pack_id,
                        other.pack_id,
                    )
                    return found
            raise

    def read(self, oid: bytes) -> tuple[int, BytesLike]:
        """The kind and the verified bytes of the object whose id has the bytes ``oid``.

        Raw payloads come as a read-only view into their pack, others as bytes.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: It is damaged.
        """
        return self._read(oid, own=False)

    def copy(self, oid: bytes) -> tuple[int, BytesLike]:
        """As :meth:`read`, in memory of its own: raw payloads as a ``bytearray`` to write to."""
        return self._read(oid, own=True)

    def _read(self, oid: bytes, *, own: bool) -> tuple[int, BytesLike]:
        if self._closed:
            self._check_open()
        # Not ``with self.session()``: nobody forks within a single read.
        use = self.sessions.enter()
        try:
            return self.odb.fetch(oid, own=own) or self._find(oid, own=own)
        finally:
            self.sessions.leave(use)

    def copies(self, oids: Sequence[bytes]) -> list[tuple[int, BytesLike]]:
        """As :meth:`copy`, of several objects."""
        self._check_open()
        use = self.sessions.enter()
        try:
            fetched = zip(oids, self.odb.fetch_each(oids, own=True), strict=True)
            return [found or self._find(oid, own=True) for oid, found in fetched]
        finally:
            self.sessions.leave(use)

    def _find(self, oid: bytes, *, own: bool) -> tuple[int, BytesLike]:
        """An object in a pack that is not known yet, or has gone, or that is damaged somewhere."""
        read = self.odb.copy if own else self.odb.read
        return self.sessions.past_gone(oid, lambda: self._attempt(oid, read))

    def info(self, oid: ObjectId) -> ObjectInfo:
        """Kind and sizes of an object; its payload is not read.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: Its header is damaged.
        """
        raw = need_id(oid).raw

        def look() -> ObjectInfo:
            location = self._locate(raw)
            return ObjectInfo.of(self.odb.header(location), location.pack_id)

        with self.session():
            return self.sessions.past_gone(raw, look)

    def kind(self, oid: ObjectId) -> Kind:
        """The kind of an object.

        Raises:
            ObjectNotFoundError: There is no such object.
        """
        return self.info(oid).kind

    def has(self, oid: ObjectId) -> bool:
        """Whether the object is present. Present is not complete: its children may be gone.

        Raises:
            CorruptionError: It cannot be told, because a pack is damaged.
        """
        try:
            with self.session():
                self._locate(need_id(oid).raw)
        except ObjectNotFoundError:
            return False
        return True

    def objects(self) -> Iterator[tuple[ObjectId, Kind]]:
        """All objects that are present, reachable or not, sorted by id."""
        with self.session():
            self.sessions.open_packs()
            for oid, kind in iter_ids(self.odb):
                yield ObjectId(oid), Kind(kind)

    def objects_with_prefix(self, prefix: str) -> list[tuple[ObjectId, Kind]]:
        """The objects whose id begins with the hex digits ``prefix``.

        Raises:
            InvalidInputError: It is not made of lower-case hex digits.
        """
        if not set(prefix) <= set("0123456789abcdef"):
            raise InvalidInputError(f"not the beginning of an object id: {prefix!r:.80}")
        with self.session():
            self.sessions.open_packs()
            return [(ObjectId(oid), Kind(kind)) for oid, kind in ids_with_prefix(self.odb, prefix)]

    # --- refs ---------------------------------------------------------------------------------

    def ref(self, name: str) -> Ref:
        """The ref with this full name.

        Raises:
            InvalidNameError: It cannot be the name of a ref.
            RefNotFoundError: There is none.
        """
        found = self.find_ref(name)
        if found is None:
            raise RefNotFoundError(f"no ref {name}", hint="'n4a-store show-ref' lists them")
        return found

    def find_ref(self, name: str) -> Ref | None:
        """The ref with this full name, or None."""
        self._check_open()
        return self._known_refs.find(name)

    def known_ref(self, name: str) -> Ref | None:
        """As :meth:`find_ref`, without asking the catalog again before something is committed.

        For whoever asks for the same ref a thousand times: what another process has committed
        and nobody has been told of yet may be seen a moment later.
        """
        if self._closed:
            self._check_open()
        return self._known_refs.get(name)

    def refs(self, prefix: str = "") -> list[Ref]:
        """The refs whose full name begins with ``prefix``, sorted."""
        self._check_open()
        if not prefix.isprintable():  # no name of a ref begins so, and SQLite takes no surrogates
            return []
        with self.catalog.read() as reader:
            return [from_row(row) for row in reader.refs(prefix)]

    def reflog(self, name: str | None = None) -> list[ReflogEntry]:
        """The changes of one ref, or of all, newest first; those of a deleted ref as well."""
        self._check_open()
        checked = None if name is None else check_ref_name(name)
        with self.catalog.read() as reader:
            return read_reflog(reader, checked)

    def resolve(self, name: str) -> ObjectId:
        """The object that ``name`` stands for; see :mod:`n4a_store.repo.revision`.

        Raises:
            NotFoundError: It stands for nothing.
            AmbiguousNameError: It could stand for several objects, which are listed.
        """
        return self.resolve_entry(name).oid

    def resolve_entry(self, name: str) -> TreeEntry:
        """As :meth:`resolve`, with the kind."""
        from n4a_store.repo.revision import resolve

        return resolve(self, name)

    # --- writing ------------------------------------------------------------------------------

    def transaction(
        self,
        message: str = "",
        *,
        action: str = "commit",
        hold_for: str = "",
        seat: Seat | None = None,
        look_at: Collection[str] = (),
    ) -> Transaction:
        """Begin a transaction; use it as a context manager.

        Args:
            message: What the reflog will say.
            action: What kind of operation it is, for the reflog.
            hold_for: The id of a run's lock, in a worker of that run: what is committed is held
                for the run, which adopts it (:meth:`Transaction.adopt_held`), and is garbage
                when the run dies first.
            seat: One that this process holds and no other transaction uses, for a writer of many
                transactions: a lease and a folder are made once. None takes one of its own.
            look_at: Refs, by full name, whose value at its beginning the transaction is to know:
                see :meth:`Transaction.seen_ref` and :meth:`Transaction.adopt_seen`.

        Raises:
            BackendError: The store is read-only, or no lease can be taken.
        """
        self._check_open()
        self.format.check_write()
        return Transaction(
            self, message, action=action, hold_for=hold_for, seat=seat, look_at=look_at
        )

    def seat(self) -> Seat:
        """Take a seat for one transaction after another; whoever takes it must leave it.

        Raises:
            BackendError: The store is read-only, or no lease can be taken.
        """
        self._check_open()
        self.format.check_write()
        if self.read_only:
            raise BackendError(f"{self.path} is on a read-only disk")
        return Seat(self.layout, self.settings)

    def lock_run(self) -> Lease:
        """Take the lock of a run: as long as this process holds it, its workers' packs stay.

        It pins nothing else. Its ``lease_id`` is what workers pass as ``hold_for``.

        Raises:
            BackendError: No lease can be taken.
        """
        self._check_open()
        self.format.check_write()
        return run_lease(self.layout, self.catalog, self.settings)
