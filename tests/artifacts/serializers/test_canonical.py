"""The stream of a pickle, without what chance left in it."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

from n4a_store.artifacts.serializers.canonical import by_value, unframe
from n4a_store.errors import SerializationError

objects = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet="ab", max_size=3)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(alphabet="ab", max_size=2), inner)
        | st.tuples(inner, inner)
        | st.builds(bytearray, st.binary())
    ),
    max_leaves=30,
)


def fresh(text: str) -> str:
    """Another string object of the same value."""
    return text.encode().decode()


def pickled(obj: object) -> tuple[bytes, dict[int, tuple[int, Any]]]:
    """What pickle writes, without frames, and the memo that it leaves."""
    stream = io.BytesIO()
    engine = pickle.Pickler(stream, 5)
    engine.dump(obj)
    return unframe(stream.getvalue()), engine.memo.copy()


def form(obj: object) -> bytes:
    return by_value(*pickled(obj))


def read_slowly(stream: bytes) -> bytes:
    """The same form, one opcode after the other, by what :mod:`pickletools` says they are."""
    ops = [(op.name, arg, at) for op, arg, at in pickletools.genops(stream)]
    ends = [at for _, _, at in ops[1:]] + [len(stream)]
    out: list[bytes] = []
    places: list[int] = []
    known: dict[str, int] = {}
    new = 0
    text = None
    for (name, arg, at), end in zip(ops, ends, strict=True):
        if name == "MEMOIZE" and text is not None and text in known:
            places.append(known[text])
            out[-1] = get(known[text])
        elif name == "MEMOIZE":
            if text is not None:
                known[text] = new
            places.append(new)
            new += 1
            out.append(stream[at:end])
        elif name in ("BINGET", "LONG_BINGET"):
            out.append(get(places[arg]))
        else:
            out.append(stream[at:end])
        text = arg if "UNICODE" in name else None
    return b"".join(out)


def get(place: int) -> bytes:
    return b"h%c" % place if place < 256 else b"j" + place.to_bytes(4, "little")


@given(objects)
def test_the_same_object_comes_out(obj: object) -> None:
    assert pickle.loads(unframe(pickle.dumps(obj, 5))) == obj
    assert pickle.loads(form(obj)) == obj
    assert form(obj) == read_slowly(pickled(obj)[0])
    strings = [arg for op, arg, _ in pickletools.genops(form(obj)) if "UNICODE" in op.name]
    assert len(set(strings)) == len(strings)


@given(st.lists(st.text(alphabet="abcdé", min_size=2, max_size=4), max_size=40))
def test_identity_of_strings_makes_no_difference(words: list[str]) -> None:
    shared = {word: word for word in words}
    one = [shared[word] for word in words]
    other = [fresh(word) for word in words]
    assert form(one) == form(other)


TEXTS = ["again", "\ud800\ud800", "é" * 127 + "-", "é" * 128, "x" * 70_000]


@pytest.mark.parametrize("before", [0, 13, 15, 16, 17, 60, 64, 100, 240, 252, 253, 254, 255, 300])
@pytest.mark.parametrize("text", TEXTS)
def test_places_move_wherever_the_repeated_string_stands(before: int, text: str) -> None:
    lists: list[list[int]] = [[] for _ in range(before)]
    after: list[list[str]] = [[] for _ in range(300)]
    again = ["".join(list(text)) for _ in range(3)]  # each a string of its own
    obj = [lists, again[0], lists, again[1], after, lists, after, again, fresh("bb"), fresh("bb")]
    stream, memo = pickled(obj)
    found = by_value(stream, memo)
    assert found == read_slowly(stream)
    assert len(found) < len(stream)
    assert pickle.loads(found) == obj


@pytest.mark.parametrize("make", [RandomForestRegressor, GradientBoostingRegressor])
def test_forests_that_were_loaded(make: Any) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 4))
    fitted = make(n_estimators=20, max_depth=4, random_state=np.random.RandomState(1)).fit(
        X, X[:, 0]
    )
    stream, memo = pickled(pickle.loads(pickle.dumps(fitted, 5)))
    found = by_value(stream, memo)
    assert found == read_slowly(stream) != stream
    assert np.array_equal(pickle.loads(found).predict(X), fitted.predict(X))


def test_more_than_256_strings_and_their_sharing_with_lists() -> None:
    names = [f"name {i}" for i in range(600)]
    shared = [1]
    obj = [names, shared, [fresh(name) for name in reversed(names)], shared, {"k": shared}]
    assert form(obj) == read_slowly(pickled(obj)[0])
    result = pickle.loads(form(obj))
    assert result == obj
    assert result[1] is result[3] is result[4]["k"]


@pytest.mark.parametrize(
    "obj",
    [
        [b"x" * 70_000, "y" * 70_000, bytearray(70_000), 1, b"z" * 70_000],
        list(range(100_000)),
        [["y" * 70_000, "y" * 70_000], b"", b"x" * 200_000],
        [2**70, -(2**3000), 1.5, True, None, {1, 2}, frozenset({3}), (1,), (1, 2, 3, 4), {}],
        0,
    ],
    ids=["between frames", "many frames", "tiny parts", "all opcodes", "no frame"],
)
def test_frames_are_removed_wherever_they_stand(obj: object) -> None:
    stream = unframe(pickle.dumps(obj, 5))
    assert not any(op.name == "FRAME" for op, _, _ in pickletools.genops(stream))
    assert pickle.loads(stream) == obj
    assert pickle.loads(form(obj)) == obj
    assert pickle.loads(form([obj, ["a b"], [fresh("a b")]]))[0] == obj


def test_a_stream_without_repetitions_is_not_looked_at() -> None:
    stream, memo = pickled(["a b", "c d"])
    assert by_value(b"no pickle at all", memo) == b"no pickle at all"
    assert by_value(stream, memo) is stream


def test_a_string_that_was_not_memoised_stays() -> None:
    stream = b"\x80\x05(\x8c\x02aa\x94\x8c\x02aa\x94\x8c\x02bbh\x010\x8c\x02aa\x94t."
    memo = {1: (0, "aa"), 2: (1, fresh("aa")), 3: (2, fresh("aa"))}
    assert by_value(stream, memo) == b"\x80\x05(\x8c\x02aa\x94h\x00\x8c\x02bbh\x000h\x00t."


def test_another_protocol_is_refused() -> None:
    memo = pickled(["a b", fresh("a b")])[1]
    with pytest.raises(SerializationError, match="not one of protocol 5"):
        by_value(pickle.dumps(["a b"], 0), memo)
