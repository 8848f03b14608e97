"""What is said where this process may open no file more."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from n4a_store import BackendError, Store
from n4a_store.settings import Durability
from n4a_store.storage.catalog import Catalog


@contextmanager
def no_file_more() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_open_files_are_not_called_a_lack_of_permission(tmp_path: Path) -> None:
    """SQLite says of both that it cannot open its file."""
    Store.init(tmp_path / "store").close()
    files = tmp_path / "store" / "catalog.db", tmp_path / "store" / "commit.lock"
    with no_file_more(), pytest.raises(BackendError, match="unable to open") as refused:
        Catalog(*files, Durability.NONE)
    assert "ulimit -n" in (refused.value.hint or "")
    Catalog(*files, Durability.NONE).close()
