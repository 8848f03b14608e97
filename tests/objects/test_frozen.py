"""Maps in frozen values: a dict to read, never to change."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from unittest import mock

import pytest

from n4a_store.objects.frozen import FrozenMap

VALUE = FrozenMap({"b": [1, 2], "a": {"c": None}})


@pytest.mark.parametrize(
    "change",
    [
        lambda at: at.update(a=1),
        lambda at: at.pop("a"),
        lambda at: at.popitem(),
        lambda at: at.clear(),
        lambda at: at.setdefault("d", 1),
        lambda at: at.__setitem__("a", 1),
        lambda at: at.__delitem__("a"),
        lambda at: at.__ior__({"a": 1}),
    ],
)
def test_nothing_changes_it(change: Callable[[FrozenMap[str, object]], object]) -> None:
    with pytest.raises(TypeError, match="frozen"):
        change(VALUE)
    assert VALUE == {"b": [1, 2], "a": {"c": None}}


def test_it_goes_where_a_dict_goes() -> None:
    assert json.loads(json.dumps(VALUE)) == VALUE
    assert pickle.loads(pickle.dumps(VALUE)) == VALUE
    copied = copy.deepcopy(VALUE)
    assert (copied, type(copied)) == (VALUE, FrozenMap)
    assert copied["b"] is not VALUE["b"]
    assert type(VALUE.copy()) is dict
    assert type(VALUE | {"d": 1}) is dict
    assert FrozenMap.of(VALUE) is VALUE


def test_a_nan_equals_the_nan_that_was_read_back() -> None:
    value = FrozenMap({"a": float("nan"), "b": [{"c": float("nan")}, 1]})
    for copied in (pickle.loads(pickle.dumps(value)), json.loads(json.dumps(value))):
        assert value == copied
        assert (value != copied) is False
    assert value != {"a": float("nan"), "b": [{"c": float("nan")}, 2]}
    assert value != {"a": float("nan")}
    assert value != {**value, "b": None}
    assert value != 3
    assert FrozenMap({"a": FrozenMap({})}) != {"a": 3}


def test_what_is_no_map_decides_itself_whether_it_is_equal() -> None:
    assert FrozenMap({"a": 1}) == mock.ANY
    assert (FrozenMap({"a": 1}) != mock.ANY) is False
