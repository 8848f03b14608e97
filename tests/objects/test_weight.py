"""How many values an encoding holds, without decoding it."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.objects import weight
from n4a_store.objects.weight import holds_too_many

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=300))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text("ab"), inner, max_size=20),
    max_leaves=40,
)


def number_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + number_of(item) for item in value.values())
    return 1 + sum(map(number_of, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@given(value=VALUES)
def test_every_value_counts_once(kind: type, value: Any) -> None:
    data = kind(msgpack.packb(value))
    number = number_of(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight, "MAX_VALUES", number)
        assert not holds_too_many(data)
        patch.setattr(weight, "MAX_VALUES", number - 1)
        assert holds_too_many(data)


@pytest.mark.parametrize(
    "large", [b"x" * 70_000, "x" * 70_000, msgpack.ExtType(1, b"\xc6\xff\xff\xff\xff" * 20_000)]
)
def test_nothing_hides_behind_what_is_long(monkeypatch: pytest.MonkeyPatch, large: Any) -> None:
    data = msgpack.packb([large, *[{}] * 100])
    monkeypatch.setattr(weight, "MAX_VALUES", 102)
    assert not holds_too_many(data)
    monkeypatch.setattr(weight, "MAX_VALUES", 101)
    assert holds_too_many(data)


@given(st.binary(max_size=60))
def test_any_bytes_can_be_counted(data: bytes) -> None:
    assert not holds_too_many(data)
