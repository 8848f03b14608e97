"""Parameters become canonical values by one written rule."""

from __future__ import annotations

import decimal
import enum
import gc
import math
import pathlib
import subprocess
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from n4a_store.artifacts import params
from n4a_store.artifacts.params import canonical_params
from n4a_store.errors import InvalidInputError, SerializationError
from n4a_store.objects.codec import decode_value, encode_value


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Opaque:
    """Its repr shows an address."""


def kept(value: object) -> object:
    return canonical_params({"p": value}, None)["p"]


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        ("e\u0301", "\u00e9"),
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float32(0.5), 0.5),
        (np.str_("rbf"), "rbf"),
        (np.longdouble(1) / 4, "0.25"),
        (np.datetime64("2026-01-02"), "datetime.date(2026, 1, 2)"),
        (1 + 2j, "(1+2j)"),
        ((1, (2.0, "x")), [1, [2.0, "x"]]),
        (range(3), [0, 1, 2]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ({1: "x", (2, 3): "y"}, {"1": "x", "[2, 3]": "y"}),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (Color.RED, "Color.RED"),
        (Level.HIGH, "Level.HIGH"),
        (f_regression, "sklearn.feature_selection._univariate_selection.f_regression"),
        (np.log1p, "numpy.log1p"),
        (len, "len"),
        (StandardScaler, "sklearn.preprocessing._data.StandardScaler"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (decimal.Decimal("1.50"), "Decimal('1.50')"),
        (np.dtype("f4"), "dtype('float32')"),
        (slice(1, 2), "slice(1, 2, None)"),
    ],
)
def test_the_rule(given_value: object, expected: object) -> None:
    result = kept(given_value)
    assert result == expected
    assert type(result) is type(expected)


def test_floats_keep_their_sign_and_their_nan() -> None:
    assert math.copysign(1, kept(-0.0)) == -1.0  # type: ignore[arg-type]
    assert math.isnan(kept(float("nan")))  # type: ignore[arg-type]
    assert kept(np.float64(0.1)) == 0.1


def test_an_object_with_an_address_becomes_its_class() -> None:
    assert kept(Opaque()) == f"<{__name__}.Opaque>"
    assert kept(np.random.RandomState(3)) == "<numpy.random.mtrand.RandomState>"


def test_a_large_array_becomes_shape_dtype_and_digest() -> None:
    array = np.arange(1000.0)
    assert kept(array) == kept(array.copy())
    assert str(kept(array)).startswith("ndarray(1000, <f8, ")
    assert kept(array) != kept(array + 1)
    assert kept(array.reshape(10, 100)) != kept(array)


def test_estimators_give_their_own_parameters_one_level_at_a_time() -> None:
    own = canonical_params(None, PLSRegression(n_components=7))
    assert own["n_components"] == 7
    assert own["scale"] is True
    nested = canonical_params(None, Pipeline([("s", StandardScaler()), ("m", Ridge(alpha=2.0))]))
    name, ridge = nested["steps"][1]
    assert name == "m"
    assert ridge["class"] == "sklearn.linear_model._ridge.Ridge"
    assert ridge["params"]["alpha"] == 2.0
    chosen = canonical_params(None, SelectKBest(f_regression, k=3))
    assert chosen["score_func"].endswith("f_regression")


def test_stated_parameters_win_over_the_estimators() -> None:
    assert canonical_params({"why": "x"}, Ridge()) == {"why": "x"}
    assert canonical_params({}, Ridge()) == {}


def test_names_are_in_normal_form_and_once() -> None:
    assert canonical_params({"e\u0301": 1}, None) == {"\u00e9": 1}
    with pytest.raises(InvalidInputError, match="params: two keys read"):
        canonical_params({"e\u0301": 1, "\u00e9": 2}, None)
    with pytest.raises(InvalidInputError, match=r"params\.deep\.bad: text with lone surrogates"):
        canonical_params({"deep": {"bad": "\ud800"}}, None)


def test_what_is_no_estimator_has_no_parameters() -> None:
    assert canonical_params(None, [1, 2]) == {}
    assert canonical_params(None, Ridge) == {}


def test_the_names_of_parameters_are_remembered_and_keep_no_local_class_alive() -> None:
    class Local(Ridge):
        pass

    for alpha in (1.0, 2.0):
        assert canonical_params(None, Local(alpha))["alpha"] == alpha
        assert canonical_params(None, Ridge(alpha))["alpha"] == alpha
    assert params._param_names[Ridge] == tuple(sorted(Ridge().get_params()))
    gone = weakref.ref(Local)
    del Local
    gc.collect()
    assert gone() is None


def test_a_failing_get_params_is_named() -> None:
    class Broken:
        def get_params(self, deep: bool = True) -> dict:
            raise RuntimeError("no")

    with pytest.raises(SerializationError, match=r"get_params of a .*Broken failed: RuntimeError"):
        canonical_params(None, Broken())

    class Hiding:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(f"no {name}")

    with pytest.raises(SerializationError, match=r"Hiding failed: RuntimeError: no get_params"):
        canonical_params(None, Hiding())


def cycle() -> list:
    loop: list = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1: 0, "1": 0}}, r"params\.p\.a: two keys read '1'"),
        ("\ud800", r"params\.p: text with lone surrogates"),
        (cycle(), r"in a circle"),
    ],
)
def test_what_has_no_canonical_form_is_named(value: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        canonical_params({"p": value}, None)


def test_a_parameter_without_a_form_is_no_dead_end() -> None:
    """The estimator is as good as any: what is recorded of it may be said instead."""
    looped = Ridge(alpha=cycle())
    with pytest.raises(InvalidInputError, match="in a circle") as caught:
        canonical_params(None, looped)
    assert caught.value.hint == "pass params= to say what to record instead"
    assert canonical_params({}, looped) == {}


def test_params_are_a_map() -> None:
    with pytest.raises(InvalidInputError, match="params is a map"):
        canonical_params([1], None)  # type: ignore[arg-type]


def test_the_record_does_not_depend_on_the_process() -> None:
    code = (
        "from sklearn.preprocessing import FunctionTransformer\n"
        "from n4a_store.artifacts.params import canonical_params\n"
        "from n4a_store.objects.codec import encode_value\n"
        "import numpy as np\n"
        "step = FunctionTransformer(np.log1p, kw_args={'s': {'x', 'y', 'z'}})\n"
        "print(encode_value(canonical_params(None, step)).hex())\n"
    )
    step = FunctionTransformer(np.log1p, kw_args={"s": {"x", "y", "z"}})
    here = encode_value(canonical_params(None, step)).hex()
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.complex_numbers()
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers() | st.text("abc"), inner, max_size=4)
        | st.sets(st.integers(), max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_whatever_comes_out_can_be_encoded_and_is_stable(value: object) -> None:
    try:
        once = canonical_params({"p": value}, None)
    except InvalidInputError:
        return
    data = encode_value(once)
    assert encode_value(canonical_params(decode_value(data), None)) == data
