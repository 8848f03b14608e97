"""A signal handler that uses a catalog in the midst of a commit never waits for itself."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from n4a_store import InvalidInputError, LockedError
from n4a_store.settings import Durability
from n4a_store.storage.catalog import Catalog

FILES = ("storage/catalog.py", "storage/locks.py")
SAFE_POINTS = ("CALL", "RESUME", "JUMP_BACKWARD")
SECONDS = 30


@contextmanager
def at_moment(
    number: int, handler: Callable[[], None], files: tuple[str, ...] = FILES
) -> Iterator[list[int]]:
    """Call `handler` once, at the `number`-th moment at which Python calls those of signals.

    Yields:
        How many such moments there were in the files.
    """
    count = [0]
    called: dict[FrameType, bool] = {}
    is_within = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal is_within
        if is_within or not frame.f_code.co_filename.endswith(files):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if called.get(frame, True):
                count[0] += 1
                if count[0] == number:
                    is_within = True
                    handler()
                    is_within = False
            called[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(SAFE_POINTS)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


def commit(catalog: Catalog) -> None:
    with catalog.write() as writer:
        writer.next_op("commit", "")


@pytest.mark.parametrize("same", [True, False], ids=["same catalog", "another one of the file"])
@pytest.mark.parametrize("doing", ["write", "read"])
def test_a_handler_never_waits_for_itself(tmp_path: Path, doing: str, same: bool) -> None:
    Catalog.create(tmp_path / "catalog.db")
    catalog, other = (
        Catalog(tmp_path / "catalog.db", tmp_path / "commit.lock", Durability.NONE)
        for _ in range(2)
    )
    used = catalog if same else other
    said: list[str] = []
    done = [0]

    def handler() -> None:
        try:
            if doing == "write":
                commit(used)
                done[0] += 1
            else:
                with used.read() as reader:
                    reader.sequence()
            said.append("")
        except (InvalidInputError, LockedError) as error:
            said.append(str(error))

    def work() -> None:
        number, total = 1, 2
        while number < total:
            with at_moment(number, handler) as count:
                commit(catalog)
            done[0] += 1
            total = count[0]
            number += 1

    # In a thread, so that a deadlock is a failure and not the end of the tests.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert len(said) > 40
    assert "" in said
    assert all("damaged" not in one for one in said)
    with catalog.read() as reader:
        assert reader.sequence() == done[0]
    catalog.close()
    other.close()
