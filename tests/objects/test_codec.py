"""Canonical bytes: one value, one encoding; whatever else there is, is damage."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import Mapping
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError, InvalidInputError
from n4a_store.objects import codec
from n4a_store.objects.codec import (
    MAX_DEPTH,
    decode_object,
    decode_run,
    decode_value,
    encode_run,
    encode_value,
    pack_entry,
    unpack_entry,
)
from n4a_store.objects.model import Blob, Run, RunStatus, Tree, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.objects.weight import MAX_VALUES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=True),
    TEXT,
    st.binary(max_size=40),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
OIDS = st.binary(min_size=32, max_size=32).map(ObjectId)
RUNS = st.builds(
    Run,
    pipelines=OIDS,
    dataset=TEXT,
    created_at=st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    status=st.sampled_from([RunStatus.RUNNING, RunStatus.COMPLETE, RunStatus.FAILED]),
    parents=st.lists(OIDS, max_size=3).map(tuple),
    environment=st.dictionaries(TEXT, TEXT, max_size=3),
    message=TEXT,
    details=st.dictionaries(TEXT, VALUES, max_size=3),
)


def same(left: Any, right: Any) -> bool:
    """Equality that keeps apart what Python mixes up: 1, 1.0 and True; 0.0 and −0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (
            struct.pack(">d", left) == struct.pack(">d", right)
        )
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(VALUES)
@example(-0.0)
@example([1, 1.0, True])
@example({"\uffff": 1, "\U00010000": 2})  # UTF-16 would order these two the other way round
def test_round_trip(value: Any) -> None:
    data = encode_value(value)
    assert same(decode_value(data), value)
    assert encode_value(decode_value(data)) == data


@given(st.dictionaries(TEXT, SCALARS, max_size=8), st.randoms())
def test_the_order_in_which_a_map_was_filled_does_not_show(
    value: dict[str, Any], random: Any
) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert encode_value(dict(items)) == encode_value(value)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "c0"),
        (False, "c2"),
        (True, "c3"),
        (0, "00"),
        (127, "7f"),
        (128, "cc80"),
        (256, "cd0100"),
        (65536, "ce00010000"),
        (2**32, "cf0000000100000000"),
        (2**64 - 1, "cf" + "ff" * 8),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-129, "d1ff7f"),
        (-(2**63), "d3" + "80" + "00" * 7),
        (0.0, "cb" + "00" * 8),
        (-0.0, "cb80" + "00" * 7),
        (1.0, "cb3ff0" + "00" * 6),
        (math.nan, "cb7ff8" + "00" * 6),
        (-math.nan, "cb7ff8" + "00" * 6),
        (math.inf, "cb7ff0" + "00" * 6),
        ("", "a0"),
        ("é", "a2c3a9"),
        (b"", "c400"),
        (b"\0", "c40100"),
        ([], "90"),
        ({}, "80"),
        ({"b": 1, "a": [None]}, "82a16191c0a16201"),
    ],
)
def test_golden_bytes(value: Any, encoded: str) -> None:
    assert encode_value(value).hex() == encoded
    assert same(decode_value(bytes.fromhex(encoded)), value)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "c1",
        "cc01",  # 1 in two bytes
        "d001",
        "cd0001",
        "d9" + "0161",  # a string header longer than need be
        "c5000100",  # a bytes header longer than need be
        "dc0000",  # an array header longer than need be
        "de0000",
        "ca3f800000",  # float32
        "cb7ff8000000000001",  # another NaN
        "cbfff8000000000000",
        "82a16201a16102",  # keys out of order
        "82a16101a16102",  # a key twice
        "810101",  # a key that is a number
        "81c4016101",  # a key that is bytes
        "a1ff",  # not UTF-8
        "d40100",  # an extension
        "c7000100",
        "d6ff00000000",  # a timestamp
        "0000",  # two values
        "dd",
        "ddffffffff",
        "dfffffffff",
        "c6ffffffff00",
        "91" * 65 + "c0",
        "91" * 5000 + "c0",
        "a3eda080",  # an encoded surrogate
    ],
)
def test_every_other_spelling_is_damage(encoded: str) -> None:
    for decode in (decode_value, decode_run, lambda data: decode_object(Kind.TREE, data)):
        with pytest.raises(CorruptionError):
            decode(bytes.fromhex(encoded))


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1},
        {1: 2},
        {b"a": 1},
        2**64,
        -(2**63) - 1,
        1j,
        object(),
        bytearray(b"x"),
        "\ud800",
        {"\ud800": 1},
        [["x", {"deep": [2**70]}]],
        type("Text", (str,), {})("x"),
        type("Number", (int,), {})(3),
        Kind.BLOB,
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        encode_value(value)


@given(VALUES)
def test_what_is_packed_as_it_stands_is_in_normal_form(value: Any) -> None:
    normal = codec._normal(value, 0, "value")
    packed = codec.pack_normal(normal)
    assert encode_value(value) == packed
    assert encode_value(normal) == packed, "and so when nothing is left to be put in order"


@pytest.mark.parametrize("value", [{"a": -math.nan}, [[-math.nan]], {"a": {"b": [1, -math.nan]}}])
def test_there_is_one_nan_at_every_depth(value: Any) -> None:
    assert encode_value(value).hex().endswith("cb7ff8" + "00" * 6)


@pytest.mark.parametrize("value", [["x" * 5000, 2**64], {"a": "x" * 5000, "b": "\ud800"}])
def test_what_was_refused_leaves_nothing_behind(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        encode_value(value)
    assert encode_value({"a": 1}).hex() == "81a16101"


def test_depth_is_bounded_on_both_sides() -> None:
    value: Any = None
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode_value(encode_value(value)) == value
    with pytest.raises(InvalidInputError, match="deeper"):
        encode_value([value])
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidInputError, match="deeper"):
        encode_value(loop)


def test_size_is_bounded_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_BYTES", 1000)
    monkeypatch.setattr(codec, "MAX_VALUES", 1000)
    assert decode_value(encode_value(bytes(990))) == bytes(990)
    with pytest.raises(InvalidInputError, match="at most 1000"):
        encode_value(bytes(1001))
    with pytest.raises(CorruptionError, match="at most 1000"):
        decode_value(msgpack.packb(bytes(1001)))


def test_the_number_of_values_is_bounded_on_both_sides(most_values: int) -> None:
    most: list[None] = [None] * (most_values - 1)
    assert len(decode_value(encode_value(most))) == len(most)
    for value in ([*most, None], {"a": most}, [most]):
        with pytest.raises(InvalidInputError, match=f"holds more than {most_values} others"):
            encode_value(value)
    assert MAX_VALUES == 4_194_304, "as the specification says"


def test_what_swells_when_it_is_decoded_is_refused_before(swelling: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError, match=r"holds more than \d+ others"):
            decode_value(swelling)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(swelling)


def test_a_small_input_that_declares_much_takes_little_memory() -> None:
    hostile = [
        b"\xdd\xff\xff\xff\xff" * 100,
        b"\xdf\xff\xff\xff\xff" * 100,
        b"\xdd\x00\x00\x01\xf4" * 100,
        b"\xc6\xff\xff\xff\xff" + bytes(500),
    ]
    tracemalloc.start()
    try:
        for data in hostile:
            with pytest.raises(CorruptionError):
                decode_value(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@given(VALUES, st.data())
def test_damaged_bytes_raise_corruption_or_are_another_value(
    value: Any, data: st.DataObject
) -> None:
    encoded = bytearray(encode_value(value))
    where = data.draw(st.integers(0, len(encoded) - 1))
    encoded[where] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_value(encoded)
    except CorruptionError:
        return
    # Another value has another encoding, so its id differs: that is how the change is found.
    assert encode_value(found) == encoded


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_corruption_or_are_canonical(data: bytes) -> None:
    for decode in (decode_value, decode_run, unpack_entry):
        try:
            decode(data)
        except CorruptionError:
            continue
        assert decode is unpack_entry or encode_value(decode_value(data)) == data


@given(RUNS)
def test_runs_round_trip(run: Run) -> None:
    again = decode_run(encode_run(run))
    assert encode_run(again) == encode_run(run)
    assert (again.pipelines, again.dataset, again.parents) == (
        run.pipelines,
        run.dataset,
        run.parents,
    )
    assert again.status is run.status
    assert encode_run(decode_object(Kind.RUN, encode_run(run))) == encode_run(run)  # NaN != NaN


def test_golden_run() -> None:
    run = Run(ObjectId(bytes(32)), "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE)
    assert encode_run(run).hex() == (
        "88aa" + b"created_at".hex() + "b4" + b"2026-11-23T00:00:00Z".hex()
        + "a7" + b"dataset".hex() + "a164"
        + "a7" + b"details".hex() + "80"
        + "ab" + b"environment".hex() + "80"
        + "a7" + b"message".hex() + "a0"
        + "a7" + b"parents".hex() + "90"
        + "a9" + b"pipelines".hex() + "c420" + "00" * 32
        + "a6" + b"status".hex() + "a8" + b"complete".hex()
    )  # fmt: skip


RUN_FIELDS: dict[str, Any] = {
    "created_at": "2026-11-23T00:00:00Z",
    "dataset": "d",
    "details": {},
    "environment": {},
    "message": "",
    "parents": [],
    "pipelines": bytes(32),
    "status": "complete",
}


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": None},
        {"dataset": 1},
        {"details": []},
        {"environment": "x"},
        {"environment": []},
        {"message": b""},
        {"parents": {}},
        {"parents": [bytes(31)]},
        {"parents": ["0" * 32]},
        {"pipelines": bytes(33)},
        {"pipelines": "0" * 32},
        {"status": "interrupted"},
        {"status": "done"},
        {"status": 1},
        {"extra": 1},
    ],
)
def test_a_run_with_a_wrong_field_is_damage(change: Mapping[str, Any]) -> None:
    assert decode_run(encode_value(RUN_FIELDS)).dataset == "d"
    with pytest.raises(CorruptionError, match="not a run object"):
        decode_run(encode_value({**RUN_FIELDS, **change}))


@pytest.mark.parametrize("missing", RUN_FIELDS)
def test_a_run_without_a_field_is_damage(missing: str) -> None:
    fields = {name: value for name, value in RUN_FIELDS.items() if name != missing}
    with pytest.raises(CorruptionError, match="not a run object"):
        decode_run(encode_value(fields))


def test_tree_entries_are_33_bytes() -> None:
    entry = TreeEntry(Kind.RUN, ObjectId(bytes(range(32))))
    assert pack_entry(entry) == b"\x03" + bytes(range(32))
    assert unpack_entry(pack_entry(entry)) == entry
    for damaged in (b"", bytes(33), b"\x04" + bytes(32), b"\x01" + bytes(31), "x" * 33, None, 7):
        with pytest.raises(CorruptionError):
            unpack_entry(damaged)


def test_objects_of_each_kind() -> None:
    assert decode_object(Kind.BLOB, memoryview(b"x")) == Blob(b"x")
    assert decode_object(Kind.TREE, encode_value({"entries": {}})) == Tree({})
