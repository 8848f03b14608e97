"""The record blob: its bytes stay what they are, and damage raises one error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.artifacts.execution_path import parse_artifact_id
from n4a_store.artifacts.links import KeyLinks
from n4a_store.artifacts.manifest_tree import make_record
from n4a_store.artifacts.record_blob import MetaPart, RecordBlob, decode_record, encode_record
from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.objects.codec import encode_value
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId

GOLDEN = RecordBlob(
    "sklearn.linear_model._ridge.Ridge",
    "meta_model",
    "pickle5",
    "scikit-learn==1.9.1",
    431,
    {"alpha": 1.0},
    "pickle",
    MetaPart((0, 1), ("a", "b"), {"note": None}),
)
GOLDEN_HEX = (
    "89a5636c617373d921736b6c6561726e2e6c696e6561725f6d6f64656c2e5f72696467652e5269646765a6666f72"
    "6d6174a77069636b6c6535a76c696272617279b37363696b69742d6c6561726e3d3d312e392e31a46d65746183a7"
    "636f6c756d6e7392a161a162a5657874726181a46e6f7465c0a7696e6465786573920001a6706172616d7381a561"
    "6c706861cb3ff0000000000000a77069636b6c6572a67069636b6c65a6736368656d6101a473697a65cd01afa474"
    "797065aa6d6574615f6d6f64656c"
)

texts = st.text(max_size=20)
records = st.builds(
    RecordBlob,
    class_path=texts,
    type=texts,
    format=texts,
    library=texts,
    size=st.integers(0, 2**40),
    params=st.dictionaries(texts, st.integers(-9, 9) | texts | st.none(), max_size=3),
    pickler=st.sampled_from(["", "pickle", "cloudpickle"]),
    meta=st.none()
    | st.builds(
        MetaPart,
        st.lists(st.integers(0, 9)).map(tuple),
        st.lists(texts).map(tuple),
        st.dictionaries(texts, st.booleans()),
    ),
)


def test_the_golden_bytes() -> None:
    assert encode_record(GOLDEN).hex() == GOLDEN_HEX
    assert decode_record(bytes.fromhex(GOLDEN_HEX)) == GOLDEN
    assert GOLDEN.class_name == "Ridge"


@given(records)
def test_round_trip(record: RecordBlob) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.integers(0, len(GOLDEN_HEX) // 2 - 1), st.integers(1, 255))
def test_a_flipped_byte_is_another_record_or_corruption(place: int, flip: int) -> None:
    data = bytearray.fromhex(GOLDEN_HEX)
    data[place] ^= flip
    with contextlib.suppress(CorruptionError, UnsupportedFormatError):
        assert decode_record(data) != GOLDEN


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"schema": "1"},
        {"schema": 1},
        {"schema": 1, "class": 1, "type": "", "format": "", "library": "", "size": 0, "params": {}},
    ],
)
def test_what_is_no_record(value: object) -> None:
    with pytest.raises(CorruptionError, match="not an artifact's record"):
        decode_record(encode_value(value))  # type: ignore[arg-type]


def test_a_record_of_a_later_version() -> None:
    with pytest.raises(UnsupportedFormatError, match="schema 2"):
        decode_record(encode_value({"schema": 2}))


@given(st.binary(max_size=60))
def test_noise_raises_one_error(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_record(data)


def test_a_stored_meta_model_that_cannot_be_is_corruption() -> None:
    """A column before the first decodes as a number, and is no place for a source."""
    blob = GOLDEN._replace(meta=MetaPart((-1,), ("a",), {}))
    with pytest.raises(CorruptionError, match="feature_index -1 is no column"):
        make_record(
            parse_artifact_id("p:1:all"),
            blob,
            TreeEntry(Kind.BLOB, ObjectId(b"\1" * 32)),
            KeyLinks(since=1, deps=("p:0:all",), sources=("p:0:all",)),
            version=1,
            created_at="",
        )
