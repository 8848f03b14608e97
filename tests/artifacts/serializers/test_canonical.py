"""The stream of a pickle, without what chance left in it."""

from __future__ import annotations

import io
import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.artifacts.serializers.canonical import by_value, has_repeated_strings, unframe
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


@given(objects)
def test_the_same_object_comes_out(obj: object) -> None:
    stream = unframe(pickle.dumps(obj, 5))
    assert pickle.loads(stream) == obj
    assert pickle.loads(by_value(stream)) == obj
    assert by_value(by_value(stream)) == by_value(stream)


@given(st.lists(st.text(alphabet="abcdé", min_size=2, max_size=4), max_size=40))
def test_identity_of_strings_makes_no_difference(words: list[str]) -> None:
    shared = {word: word for word in words}
    one = [shared[word] for word in words]
    other = [fresh(word) for word in words]
    assert by_value(unframe(pickle.dumps(one, 5))) == by_value(unframe(pickle.dumps(other, 5)))


def test_more_than_256_strings_and_their_sharing_with_lists() -> None:
    names = [f"name {i}" for i in range(600)]
    shared = [1]
    obj = [names, shared, [fresh(name) for name in reversed(names)], shared, {"k": shared}]
    result = pickle.loads(by_value(unframe(pickle.dumps(obj, 5))))
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
    assert pickle.loads(by_value(stream)) == obj


def test_repeated_strings_are_seen_in_the_memo() -> None:
    for obj, repeated in [(["criterion", fresh("criterion")], True), (["a b", "c d"], False)]:
        engine = pickle.Pickler(io.BytesIO(), 5)
        engine.dump(obj)
        assert has_repeated_strings(engine.memo.copy()) is repeated


def test_another_protocol_is_refused() -> None:
    with pytest.raises(SerializationError, match="not one of protocol 5"):
        by_value(pickle.dumps(["x"], 0))
