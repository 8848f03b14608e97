"""Files of others: no link, no pipe, and no memory before the hash is right."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import BackendError, InvalidInputError
from n4a_store.storage.foreign import open_foreign, read_verified
from tests.descriptors import open_files


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """A little more than is used now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1000, 20 << 20])
def test_a_file_is_read_when_its_hash_is_right(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    before = open_files()
    assert read_verified(tmp_path / "f", digest(data)) == data
    assert read_verified(tmp_path / "f", digest(b"other")) is None
    assert open_files() <= before


def test_only_a_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = open_files()
    for name in ("link", "folder", "pipe"):
        with pytest.raises(InvalidInputError, match="no regular file"):
            open_foreign(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_foreign(tmp_path / "missing")
    with pytest.raises(BackendError, match="cannot read"):
        read_verified(tmp_path / "missing", digest(b""))
    assert open_files() <= before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit that holds")
@pytest.mark.usefixtures("_little_memory")
def test_a_large_file_takes_no_memory_before_its_hash_is_right(tmp_path: Path) -> None:
    size = 256 << 20
    with (tmp_path / "f").open("wb") as file:
        file.truncate(size)
    assert read_verified(tmp_path / "f", digest(b"")) is None
    whole = hashlib.sha256()
    for _ in range(size >> 20):
        whole.update(bytes(1 << 20))
    with pytest.raises(InvalidInputError, match="does not fit into memory"):
        read_verified(tmp_path / "f", whole.hexdigest())
