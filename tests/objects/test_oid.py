"""Object ids: 32 bytes that depend on the payload and its kind, and on nothing else."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import InvalidInputError
from n4a_store.objects.oid import Kind, ObjectId, hash_object, raw_hash

GOLDEN = {
    Kind.BLOB: "8bc1f4093fa38b22057be1fab83d1e4e89b0ecf103e1324e8defbf4d84ec6be1",
    Kind.TREE: "0fd2496024614a11da9b2d5aee1da2dfc21a67384a52cb8439ec98986d68e133",
    Kind.RUN: "a6e08e7415b0b7d2eff8b03c88aa36f0d0d43b03513fc4acd445f70a2f942521",
}


@given(st.binary(max_size=300), st.sampled_from(Kind))
def test_an_id_is_the_derived_key_of_the_payload(payload: bytes, kind: Kind) -> None:
    plain = blake3(payload, derive_key_context=f"n4a_store v1 {kind.label}").digest()
    for form in (payload, bytearray(payload), memoryview(payload)):
        assert hash_object(kind, form).raw == plain
    assert raw_hash(kind, payload) == plain


def test_kinds_are_kept_apart_and_from_a_plain_hash() -> None:
    ids = {hash_object(kind, b"same bytes").raw for kind in Kind}
    assert len(ids) == len(Kind)
    assert blake3(b"same bytes").digest() not in ids


def test_golden_ids() -> None:
    assert {kind: hash_object(kind, b"n4a").hex for kind in Kind} == GOLDEN


def test_a_wide_buffer_is_hashed_by_its_bytes() -> None:
    data = bytes(range(64))
    assert hash_object(Kind.BLOB, memoryview(data).cast("d")) == hash_object(Kind.BLOB, data)


@given(st.binary(min_size=32, max_size=32))
def test_hex_round_trip(raw: bytes) -> None:
    oid = ObjectId(raw)
    assert ObjectId.from_hex(oid.hex) == oid
    assert str(oid) == oid.hex == raw.hex()
    assert oid.short(10) == raw.hex()[:10]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 63,
        "0" * 65,
        "A" * 64,
        "g" * 64,
        " " + "0" * 63,
        "0" * 64 + "\n",
        "\u0660" * 64,
        None,
    ],
)
def test_only_64_lower_case_digits_are_an_id(text: str) -> None:
    with pytest.raises(InvalidInputError, match="not an object id"):
        ObjectId.from_hex(text)


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), bytearray(32), "0" * 32, None])
def test_only_32_bytes_are_an_id(raw: bytes) -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        ObjectId(raw)


def test_kinds_by_label() -> None:
    assert [Kind.from_label(kind.label) for kind in Kind] == list(Kind)
    with pytest.raises(InvalidInputError, match="tag") as caught:
        Kind.from_label("tag")
    assert caught.value.hint == "one of: blob, tree, run"
