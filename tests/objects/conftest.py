"""Values that several tests of the codecs share."""

from __future__ import annotations

import struct

import pytest

from n4a_store.objects import children, codec, weight

MOST = 20_000


@pytest.fixture
def most_values(monkeypatch: pytest.MonkeyPatch) -> int:
    """Fewer values are allowed than really are: to count millions takes long."""
    for module in (children, codec, weight):
        monkeypatch.setattr(module, "MAX_VALUES", MOST)
    return MOST


@pytest.fixture
def swelling(most_values: int) -> bytes:
    """A tree of sorts whose entries are so many empty maps: 72 bytes of memory for each."""
    maps = struct.pack(">BI", 0xDD, most_values + 1) + b"\x80" * (most_values + 1)
    return b"\x82\xa7entries" + maps + b"\xa9pipelines\xc0"
