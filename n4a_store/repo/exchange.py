"""Objects from store to store as one pack: written, read back, verified.

A pack in transit is an ordinary pack: it has its own index, and every object in it hashes to its
id. Reading one puts blobs first and trees after what they hold, in transactions of bounded size;
what an interrupted attempt has put is found again by the next, unless gc came between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from n4a_store.errors import CorruptionError
from n4a_store.objects.children import raw_children
from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.packs.reader import PackReader
from n4a_store.packs.writer import PackWriter
from n4a_store.repo.copying import changed_on_disk
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction

__all__ = ["ASK_AGAIN", "Received", "put_objects", "read_whole", "receive_pack", "write_pack"]

ASK_AGAIN = "the file was damaged on its way: get it again"
BATCH_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """What came of reading a pack.

    Args:
        objects: Objects in it.
        added: Those of them that the store did not have.
        size: Bytes of the objects, uncompressed.
    """

    objects: int
    added: int
    size: int


def write_pack(
    store: Store,
    oids: Iterable[ObjectId],
    sink: Callable[[BytesLike], object],
    extra: Iterable[tuple[Kind, bytes, ObjectId]] = (),
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write objects as one pack; each once, in the order given.

    Args:
        sink: Takes the pack's bytes, piece by piece.
        extra: Objects that the store need not have.
        progress: Called after each object of the store with the bytes of those so far.

    Returns:
        How many objects it holds.

    Raises:
        ObjectNotFoundError: The store does not have one of them.
        CorruptionError: One of them is damaged: it is not passed on.
    """
    writer = PackWriter(lambda data: _ignore(sink(data)))
    size = 0
    with store.session():
        for oid in oids:
            if oid.raw not in writer:
                kind, data = store.read(oid.raw)
                if not writer.add(oid.raw, kind, data, store.info(oid).item_size):
                    raise changed_on_disk(oid.raw)
                size += len(data)
                if progress is not None:
                    progress(size)
        for extra_kind, payload, oid in extra:
            if oid.raw not in writer:
                writer.add(oid.raw, extra_kind, payload)
        writer.seal()
    return len(writer)


def _ignore(_: object) -> None:
    """A file's `write` returns a number that a pack writer's sink must not."""


def receive_pack(
    store: Store,
    data: memoryview,
    name: str,
    finish: Callable[[Transaction], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Received:
    """Put every object of a pack into a store, each verified against its id.

    Args:
        data: The pack's bytes.
        name: What errors call it.
        finish: Called with the last transaction before it commits, to set refs.
        progress: Called after each object with the bytes put so far and the bytes in all.

    Raises:
        CorruptionError: The pack or an object in it is damaged; no ref was set.
        ObjectNotFoundError: A tree names an object that neither the pack nor the store has.
    """
    return put_objects(store, read_whole(data, name), finish, progress)


def read_whole(data: memoryview, name: str) -> PackReader:
    """A pack that came from elsewhere, with every byte of it verified.

    Raises:
        CorruptionError: It is damaged or cut short.
    """
    try:
        reader = PackReader(data, name)
        reader.verify_index()
        reader.verify_bytes()
    except CorruptionError as error:
        # Checking the store, as for a pack of its own, would find nothing.
        error.hint = ASK_AGAIN
        raise
    return reader


def put_objects(
    store: Store,
    reader: PackReader,
    finish: Callable[[Transaction], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Received:
    """Put the objects of a pack that has been verified; see `receive_pack`."""
    order = _children_first(reader)
    most = min(BATCH_BYTES, store.settings.pack_max_bytes)
    added = size = batch = 0
    # The lease of this session keeps what earlier batches have put, though no ref reaches it.
    with store.session():
        txn = store.transaction("receive objects", action="import")
        try:
            for position in order:
                kind, payload = reader.read_at(position)
                added += not store.has(ObjectId(reader.index.oid_at(position)))
                if batch and batch + len(payload) > most:
                    txn.commit()
                    txn = store.transaction("receive objects", action="import")
                    batch = 0
                item_size = reader.header_at(position).item_size
                oid = txn.put(Kind(kind), bytes(payload), item_size=max(item_size, 1))
                if oid.raw != reader.index.oid_at(position):
                    raise CorruptionError(f"object {oid.short()} is not what the pack says")
                size += len(payload)
                batch += len(payload)
                if progress is not None:
                    progress(size, reader.footer.raw_bytes)
            if finish is not None:
                finish(txn)
            txn.commit()
        except BaseException:
            txn.abort()
            raise
    return Received(len(order), added, size)


def _children_first(reader: PackReader) -> list[int]:
    """Positions in an order in which nothing comes before what it holds."""
    kinds = reader.index.kinds
    order = [at for at in range(len(reader)) if kinds[at] == Kind.BLOB]
    done = bytearray(len(reader))
    for start in range(len(reader)):
        if kinds[start] == Kind.BLOB:
            continue
        stack = [(start, False)]
        while stack:
            at, ready = stack.pop()
            if done[at]:
                continue
            if ready:
                done[at] = 1
                order.append(at)
                continue
            stack.append((at, True))
            kind, payload = reader.read_at(at)
            for child_kind, child in raw_children(kind, payload):
                place = reader.find(child) if child_kind != Kind.BLOB else -1
                if place >= 0 and not done[place]:
                    stack.append((place, False))
    return order
