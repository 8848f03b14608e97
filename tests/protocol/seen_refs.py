"""A transaction adopts what it saw a ref hold when it began, and others are faster."""

from __future__ import annotations

from collections.abc import Callable

from n4a_store.testing.scenario import Scenario
from n4a_store.testing.stepping import Process
from tests.protocol import scenarios as s

__all__ = ["ADOPT_SEEN"]


def adopt_seen(source: str, ref: str) -> Callable[[Process], None]:
    """Name what another ref held at the beginning, whatever has become of that since."""

    def body(process: Process) -> None:
        with process.store.transaction(look_at=(source,)) as txn:
            seen = txn.seen_ref(source)
            if seen is None or not txn.adopt_seen(source, seen.oid):
                txn.abort()
                return
            txn.set_ref(ref, seen.entry)
            s.commit(process, txn, ref, seen.oid)

    return body


ADOPT_SEEN = Scenario(
    "adopt what a ref held at the beginning",
    s.ADOPT.prepare,
    (
        s.writer("writer1", adopt_seen("refs/tags/going", "refs/tags/kept")),
        s.writer("writer2", s.delete("refs/tags/going")),
        s.collector(),
        s.reader(),
    ),
)
