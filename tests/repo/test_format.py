"""The format file: read only when every byte is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import BackendError, CorruptionError, StoreError, UnsupportedFormatError
from n4a_store.repo.format import StoreFormat, read_format
from n4a_store.repo.store import Store
from n4a_store.storage.layout import StoreLayout

GOLDEN = """\
n4a_store 1
hash blake3
required_read packs-1 catalog-1
required_write leases-1
required_gc generations-1
optional
checksum aadae05ac284f932
"""

FEATURE = st.sampled_from(["packs-1", "packs-2", "leases-1", "x-9"])


@given(*([st.lists(FEATURE, max_size=3).map(tuple)] * 4))
def test_round_trip(
    read: tuple[str, ...], write: tuple[str, ...], gc: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    form = StoreFormat(1, "blake3", read, write, gc, optional)
    assert StoreFormat.decode(form.encode()) == form


def test_golden_text() -> None:
    assert StoreFormat().encode() == GOLDEN
    assert StoreFormat.decode(GOLDEN) == StoreFormat()


def test_every_changed_byte_of_the_file_is_noticed(tmp_path: Path) -> None:
    layout = StoreLayout(tmp_path)
    sound = StoreFormat().encode().encode()
    for position in range(len(sound)):
        for bit in range(8):
            damaged = bytearray(sound)
            damaged[position] ^= 1 << bit
            layout.format.write_bytes(damaged)
            with pytest.raises((CorruptionError, UnsupportedFormatError)) as caught:
                read_format(layout)
            if isinstance(caught.value, UnsupportedFormatError):
                assert position == len("n4a_store ")  # the version number alone may pass for later
            assert caught.value.hint


@pytest.mark.parametrize("keep", [0, 1, 11, 12, 40, len(GOLDEN) - 1])
def test_a_file_cut_short_is_damage(keep: int) -> None:
    with pytest.raises(CorruptionError):
        StoreFormat.decode(GOLDEN[:keep])


@given(st.text(max_size=200))
def test_any_other_text_is_damage(text: str) -> None:
    for candidate in (text, "n4a_store " + text, "n4a_store 1\n" + text):
        with pytest.raises((CorruptionError, UnsupportedFormatError)):
            StoreFormat.decode(candidate)


@pytest.mark.parametrize("number", ["0", "01", "-1", "1.0", "²", "٣", "9" * 5000])
def test_a_version_is_a_plain_number(number: str) -> None:
    with pytest.raises(CorruptionError):
        StoreFormat.decode(f"n4a_store {number}\n")


def test_a_later_version_is_believed_by_its_first_line_alone() -> None:
    with pytest.raises(UnsupportedFormatError, match="version 7") as caught:
        StoreFormat.decode("n4a_store 7\nwhatever {may} follow\0")
    assert caught.value.hint == "upgrade n4a_store"


def test_unknown_features_are_refused_where_they_matter_and_named() -> None:
    StoreFormat(optional=("sparkle-1",)).check_read()
    reads = StoreFormat(required_read=("packs-1", "packs-2"))
    writes = StoreFormat(required_write=("leases-9",))
    collects = StoreFormat(required_gc=("tricolour-1",))
    writes.check_read()
    collects.check_read()
    collects.check_write()
    for check, name in (
        (reads.check_read, "packs-2"),
        (writes.check_write, "leases-9"),
        (collects.check_gc, "tricolour-1"),
        (StoreFormat(hash="sha256").check_read, "sha256"),
    ):
        with pytest.raises(UnsupportedFormatError, match=name):
            check()


def test_no_file_is_no_store_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert read_format(StoreLayout(tmp_path)) is None
    assert read_format(StoreLayout(tmp_path / "missing")) is None
    (tmp_path / "format").mkdir()
    with pytest.raises(BackendError):
        read_format(StoreLayout(tmp_path))
    with pytest.raises(StoreError):
        read_format(StoreLayout(tmp_path / ("x" * 300)))


def test_a_store_that_has_lost_its_file_is_not_taken_for_none(tmp_path: Path) -> None:
    """'There is no store', it said of one with all its packs; init and demo were the advice."""
    layout = StoreLayout(tmp_path / "store")
    Store.init(layout.root).close()
    Store.init(tmp_path / "other").close()
    layout.format.unlink()
    with pytest.raises(CorruptionError, match="whose file 'format' is missing"):
        Store.open(layout.root)
    layout.format.write_bytes((tmp_path / "other" / "format").read_bytes())
    Store.open(layout.root).close()
