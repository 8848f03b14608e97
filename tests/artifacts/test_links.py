"""The links blob: versions by serial number, and bytes that stay what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from n4a_store.artifacts.links import KeyLinks, Links, decode_links, encode_links
from n4a_store.errors import CorruptionError, InvalidInputError, UnsupportedFormatError
from n4a_store.objects.codec import decode_value, encode_value

GOLDEN = Links(
    {
        "0:all": KeyLinks(since=1, producer="n4a_store==0.1.0"),
        "0:1:0": KeyLinks(
            since=-2,
            deps=("p:0:all", "q:1:all"),
            inner={"ab": ("q:0:all",)},
            sources=("p:0:all",),
            origin="elsewhere",
            notes={"name": "pls"},
        ),
    },
    {"0": "snv"},
    {"9:all": 4},
)
GOLDEN_HEX = (
    "84a86272616e6368657381a130a3736e76a46b65797382a5303a313a3086a46465707392a7703a303a616c6ca771"
    "3a313a616c6ca5696e6e657281a2616291a7713a303a616c6ca56e6f74657381a46e616d65a3706c73a66f726967"
    "696ea9656c73657768657265a573696e6365fea7736f757263657391a7703a303a616c6ca5303a616c6c82a87072"
    "6f6475636572b06e34615f73746f72653d3d302e312e30a573696e636501a77265746972656481a5393a616c6c04"
    "a6736368656d6101"
)

names = st.text(max_size=8)
ids = st.lists(names, max_size=3).map(tuple)
links = st.builds(
    Links,
    st.dictionaries(
        names,
        st.builds(
            KeyLinks,
            since=st.integers(-9, 9),
            deps=ids,
            inner=st.dictionaries(names, ids, max_size=2),
            sources=ids,
            producer=names,
            origin=names,
            notes=st.dictionaries(names, names, max_size=2),
        ),
        max_size=3,
    ),
    st.dictionaries(names, names, max_size=2),
    st.dictionaries(names, st.integers(1, 9), max_size=2),
)


def test_the_golden_bytes() -> None:
    assert encode_links(GOLDEN).hex() == GOLDEN_HEX
    assert decode_links(bytes.fromhex(GOLDEN_HEX)) == GOLDEN


@given(links)
def test_round_trip(value: Links) -> None:
    assert decode_links(encode_links(value)) == value


def test_the_origin_of_a_key_is_told_without_making_its_links() -> None:
    for value in (GOLDEN, decode_links(encode_links(GOLDEN))):
        for _ in range(2):
            origins = {key: value.origin(key) for key in value.keys}
            assert origins == {"0:all": "", "0:1:0": "elsewhere"}
    with pytest.raises(KeyError):
        decode_links(encode_links(GOLDEN)).keys["9:9"]


some = st.sampled_from(["p:1:all", "p:0:all", "0:1", "", "é", "\ud800"])
usual = st.dictionaries(
    some,
    st.builds(
        KeyLinks,
        since=st.integers(-9, 9),
        deps=st.lists(some, max_size=2).map(tuple),
        producer=some,
    ),
    max_size=4,
).map(Links)


@given(usual)
@example(Links({"0:all": KeyLinks(1, ("\ud800",))}))
@example(Links({"0:all": KeyLinks(1, (), producer="\ud800")}))
@example(Links({"0:\ud800": KeyLinks(1)}))
def test_what_is_usual_has_the_same_bytes_as_everything_else(value: Links) -> None:
    """A key that is retired makes it unusual."""
    retired = "9:all"
    try:
        whole = decode_value(encode_links(replace(value, retired={retired: 1})))
    except InvalidInputError:
        with pytest.raises(InvalidInputError):
            encode_links(value)
        return
    assert whole.pop("retired") == {retired: 1}
    assert encode_links(value) == encode_value(whole)


def test_versions_count_from_since() -> None:
    assert GOLDEN.version("0:all", 3) == 3
    assert GOLDEN.version("0:1:0", 3) == 6
    assert GOLDEN.last_version("9:all", 3) == 4
    assert GOLDEN.last_version("8:all", 3) == 0


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"schema": 1},
        {"schema": 1, "keys": []},
        {"schema": 1, "keys": {"a": {}}},
        {"schema": 1, "keys": {"a": {"since": 1, "deps": "x"}}},
        {"schema": 1, "keys": {"a": {"since": 1, "deps": {}}}},
        {"schema": 1, "keys": {"a": {"since": 1, "deps": [1]}}},
        {"schema": 1, "keys": {"a": {"since": 1, "deps": None}}},
        {"schema": 1, "keys": {"a": {"since": 1, "producer": 1}}},
        {"schema": 1, "keys": {"a": {"since": True}}},
        {"schema": 1, "keys": {"a": {"since": 1, "inner": [1]}}},
        {"schema": 1, "keys": {"a": {"since": 1, "notes": {"x": 1}}}},
        {"schema": 1, "keys": {"a": {"since": 1, "origin": 0}}},  # which would pass for none
        {"schema": 1, "keys": {}, "branches": {"0": 1}},
        {"schema": 1, "keys": {}, "retired": {"0": "1"}},
        {"schema": 1, "keys": {}, "other": 1},
    ],
)
def test_what_are_no_links(value: object) -> None:
    with pytest.raises(CorruptionError, match="not the links"):
        decode_links(encode_value(value))  # type: ignore[arg-type]


def test_links_of_a_later_version() -> None:
    with pytest.raises(UnsupportedFormatError, match="schema 2"):
        decode_links(encode_value({"schema": 2}))


@given(st.binary(max_size=60))
def test_noise_raises_one_error(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_links(data)


@pytest.mark.parametrize("keys", [{"0:all": KeyLinks(since=2**64)}, {7: KeyLinks(since=1)}])
def test_links_without_a_canonical_form_are_invalid_input(keys: Any) -> None:
    with pytest.raises(InvalidInputError):
        encode_links(Links(keys))
