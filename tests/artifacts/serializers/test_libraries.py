"""Serializers of other libraries, through their own formats and with their real objects.

The extra ``[test]`` brings the libraries whose wheels are light; catboost's is not, and its test
is marked. What was measured stands in docs/reference/storage-api.md.
"""

from __future__ import annotations

import struct
import sys
from importlib import metadata, util
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from n4a_store.artifacts.serializers.arrays import ArraySerializer
from n4a_store.artifacts.serializers.boosting import (
    CatBoostSerializer,
    LightGbmSerializer,
    XgboostSerializer,
)
from n4a_store.artifacts.serializers.frames import ArrowSerializer, PolarsSerializer
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.artifacts.serializers.soft_import import OfLibrary
from n4a_store.artifacts.serializers.table import SerializerTable, default_table
from n4a_store.artifacts.serializers.torch_archive import TorchStateSerializer
from n4a_store.errors import (
    CorruptionError,
    InvalidInputError,
    SerializationError,
    UnsupportedFormatError,
)
from n4a_store.objects.codec import encode_value
from n4a_store.testing.serializers import check_serializer

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(60, 6))
TARGET = ROWS[:, 0] * 2 + ROWS[:, 1]
CLASSES = (TARGET > 0).astype(int)


def same_predictions(a: Any, b: Any) -> bool:
    return np.array_equal(np.asarray(a.predict(ROWS)), np.asarray(b.predict(ROWS)))


def test_arrays_pass_the_kit() -> None:
    base = np.arange(24.0).reshape(4, 6)
    arrays = [
        base,
        np.asfortranarray(base),
        np.zeros((0, 3)),
        np.array(3.5),
        np.arange(3000, dtype=">i2"),
        np.array(["a", "éé"]),
        np.array([b"x", b"yy"]),
        np.array(["2026-01-02"], dtype="M8[D]"),
        np.array([True, False]),
        RNG.normal(size=2000) + 1j,
        np.full((600, 3), np.nan),
    ]

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        equal = np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        return equal and a.dtype == b.dtype and a.flags.fnc == b.flags.fnc and a.shape == b.shape

    check_serializer(ArraySerializer(), arrays, same=same)


def test_pickle_passes_the_kit() -> None:
    objects = [{"a": np.arange(3000.0), "b": [1, "x"]}, "text", None]
    check_serializer(Pickle5Serializer(), objects, same=lambda a, b: repr(a) == repr(b))


def test_a_small_array_is_a_file_that_numpy_reads(tmp_path: Any) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    payload = ArraySerializer().dumps(array)
    (tmp_path / "a.npy").write_bytes(payload.skeleton)
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), array)
    large = ArraySerializer().dumps(np.arange(1000.0))
    (tmp_path / "b.npy").write_bytes(large.skeleton + bytes(large.buffers[0].data))
    assert np.array_equal(np.load(tmp_path / "b.npy", allow_pickle=False), np.arange(1000.0))


def npy(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "skeleton",
    [
        b"",
        b"\x93NUMPY\x01\x00\xff\xff",
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
        npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}"),
        npy("{'descr': '<f8', 'fortran_order': 1, 'shape': (1,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**9,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,)}"),
        npy("{'descr': '<q99', 'fortran_order': False, 'shape': ()}"),
        npy("{'descr': '<f7', 'fortran_order': False, 'shape': ()}"),
        npy("__import__('os').system('true')"),
        npy("[" * 2000),
    ],
)
def test_an_array_never_needs_trust_or_allocates_on_a_word(skeleton: bytes) -> None:
    """A "numpy" artifact that holds a pickle is damage, not an object array."""
    with pytest.raises(CorruptionError):
        ArraySerializer().loads(skeleton, [])


@pytest.mark.parametrize(
    ("descr", "shape", "data"),
    [
        ("<f8", (0, 10**28), b""),
        ("<f8", (0, 2**62, 16), b""),
        ("<f8", (0, 2**63), b""),
        ("<f8", (1,) * 70, bytes(8)),
        ("<f8", (0,) + (1,) * 70, b""),
        ("|S0", (2 * 10**15,), b""),
        ("|S0", (2 * 10**9,), b""),
        ("<U0", (65_537,), b""),
        ("<U0", (257, 256), b""),
    ],
)
def test_a_shape_that_no_array_has_is_damage(
    descr: str, shape: tuple[int, ...], data: bytes
) -> None:
    skeleton = npy(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}")
    with pytest.raises(CorruptionError, match="an array of"):
        ArraySerializer().loads(skeleton + data, [])


@pytest.mark.parametrize("kind", ["U", "S"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (70_000,), (300, 300)])
def test_text_of_no_width_comes_back_as_numpy_widens_it(kind: str, shape: tuple[int, ...]) -> None:
    odd = np.ndarray(shape, f"{kind}0")
    assert odd.itemsize == 0
    payload = ArraySerializer().dumps(odd)
    again = ArraySerializer().loads(payload.skeleton, [one.data for one in payload.buffers])
    assert again.shape == shape
    assert again.dtype == np.dtype(f"{kind}1")
    assert not any(again.tobytes())
    before = npy(f"{{'descr': '<{kind}0', 'fortran_order': False, 'shape': (3,)}}")
    assert ArraySerializer().loads(before, []).tolist() == [odd.dtype.type()] * 3


@pytest.mark.parametrize("descr", ["'|O'", "[('a', '|O')]", "'|O8'", "[('a', '<f8')]"])
def test_an_array_of_objects_is_refused_whatever_data_comes_with_it(descr: str) -> None:
    skeleton = npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}")
    with pytest.raises(CorruptionError, match="header with"):
        ArraySerializer().loads(skeleton + bytes(8), [])
    with pytest.raises(CorruptionError, match="header with"):
        ArraySerializer().loads(skeleton, [bytearray(8)])


def test_the_table_chooses_by_object() -> None:
    table = default_table()
    assert table.for_object(np.arange(3)).format == "npy"
    for odd in (
        np.array([None, 1], dtype=object),
        np.zeros(2, dtype=[("a", "f8")]),
        np.ma.array([1, 2]),
        np.zeros(2, dtype=np.dtype("f8", metadata={"unit": "nm"})),
        np.float64(1),
        [1],
    ):
        assert table.for_object(odd).format == "pickle5"
    with pytest.raises(UnsupportedFormatError, match="'nope' has no serializer") as caught:
        table.for_format("nope")
    assert "npy" in str(caught.value.hint)
    with pytest.raises(InvalidInputError, match="two serializers"):
        SerializerTable((ArraySerializer(), ArraySerializer()))
    with pytest.raises(InvalidInputError, match="no serializer handles"):
        SerializerTable((ArraySerializer(),)).for_object("x")


def test_nobody_is_asked_for_a_library_that_is_not_imported(monkeypatch: Any) -> None:
    class Soft(Pickle5Serializer, OfLibrary):
        library, format = "nobodys_library", "soft"

    table = SerializerTable((Soft(), Pickle5Serializer()))
    assert table.for_object([1]).format == "pickle5"
    monkeypatch.setitem(sys.modules, "nobodys_library", ModuleType("nobodys_library"))
    assert table.for_object([1]).format == "soft"


def test_the_kit_finds_what_is_wrong() -> None:
    class Careless(ArraySerializer):
        format = "careless"

        def loads(self, skeleton: Any, buffers: Any) -> Any:
            return super().loads(skeleton, buffers).astype("f4")

    def check(serializer: Any) -> None:
        check_serializer(serializer, [np.arange(9.0)], same=np.array_equal)

    check(ArraySerializer())
    with pytest.raises(AssertionError, match=r"not a StoreError|came back|another"):
        check(Careless())
    with pytest.raises(AssertionError, match="lacks a member"):
        check(object())

    class Random(ArraySerializer):
        format = "random"

        def dumps(self, obj: Any, *, threshold: int = 4096) -> Any:
            return super().dumps(obj + RNG.normal() * 0, threshold=threshold)

        def handles(self, obj: Any) -> Any:
            return 1 if obj is None else super().handles(obj)

    with pytest.raises(AssertionError, match="gives no bool"):
        check(Random())


class TestXgboost:
    @pytest.fixture
    def xgboost(self) -> Any:
        return pytest.importorskip("xgboost")

    def test_estimators(self, xgboost: Any) -> None:
        regressor = xgboost.XGBRegressor(n_estimators=5, max_depth=2).fit(ROWS, TARGET)
        classifier = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(ROWS, CLASSES)
        check_serializer(
            XgboostSerializer(),
            [regressor, classifier],
            same=same_predictions,
            reload_identical=False,
        )
        assert default_table().for_object(regressor).format == "xgb_ubj"
        again = XgboostSerializer().loads(XgboostSerializer().dumps(classifier).skeleton, [])
        assert repr(again.get_params()) == repr(classifier.get_params())
        assert list(again.classes_) == [0, 1]

    def test_boosters(self, xgboost: Any) -> None:
        data = xgboost.DMatrix(ROWS, TARGET)
        booster = xgboost.train({"max_depth": 2}, data, num_boost_round=4)

        def same(a: Any, b: Any) -> bool:
            return np.array_equal(a.predict(data), b.predict(data))

        check_serializer(XgboostSerializer(), [booster], same=same)

    def test_a_refit_is_identical(self, xgboost: Any) -> None:
        made = [
            XgboostSerializer().dumps(
                xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(ROWS, TARGET)
            )
            for _ in range(2)
        ]
        assert made[0].skeleton == made[1].skeleton

    def test_what_is_unfitted_or_odd_goes_to_pickle(self, xgboost: Any) -> None:
        assert default_table().for_object(xgboost.XGBRegressor()).format == "pickle5"
        odd = xgboost.XGBRegressor(n_estimators=2, objective=lambda y, p: (p - y, np.ones(len(y))))
        assert default_table().for_object(odd.fit(ROWS, TARGET)).format == "pickle5"


class TestLightGbm:
    @pytest.fixture
    def lightgbm(self) -> Any:
        return pytest.importorskip("lightgbm")

    def test_boosters(self, lightgbm: Any) -> None:
        data = lightgbm.Dataset(ROWS, TARGET)
        options = {"verbose": -1, "num_leaves": 4, "min_data_in_leaf": 5, "num_threads": 1}
        booster = lightgbm.train(options, data, num_boost_round=5)
        check_serializer(LightGbmSerializer(), [booster], same=same_predictions)
        assert default_table().for_object(booster).format == "lgb_text"

    def test_estimators_go_to_pickle(self, lightgbm: Any) -> None:
        model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(ROWS, TARGET)
        serializer = default_table().for_object(model)
        assert serializer.format == "pickle5"
        payload = serializer.dumps(model)
        parts = [bytearray(buffer.data) for buffer in payload.buffers]
        assert same_predictions(serializer.loads(payload.skeleton, parts), model)


@pytest.mark.large
class TestCatBoost:
    def test_models(self) -> None:
        catboost = pytest.importorskip("catboost")
        options = {"iterations": 5, "depth": 2, "verbose": 0, "allow_writing_files": False}
        models = [
            catboost.CatBoostRegressor(**options).fit(ROWS, TARGET),
            catboost.CatBoostClassifier(**options).fit(ROWS, CLASSES),
        ]
        check_serializer(CatBoostSerializer(), models, same=same_predictions, deterministic=False)
        assert default_table().for_object(models[0]).format == "cbm"
        assert default_table().for_object(catboost.CatBoostRegressor()).format == "pickle5"


class TestPolars:
    def test_frames_and_series(self) -> None:
        polars = pytest.importorskip("polars")
        frame = polars.DataFrame({"a": [1, None, 3], "b": ["x", "é", None], "c": [[1.5], [], None]})
        large = polars.DataFrame({"x": np.arange(3000.0)})
        tables = [frame, large, polars.concat([large, large], rechunk=False), frame.head(0)]
        tables += [frame["b"], large["x"].rename("")]

        def same(a: Any, b: Any) -> bool:
            return a.equals(b) and getattr(a, "schema", None) == getattr(b, "schema", None)

        check_serializer(PolarsSerializer(), tables, same=same)
        assert default_table().for_object(frame).format == "polars_ipc"
        assert default_table().for_object(frame.lazy()).format == "pickle5"


class TestArrow:
    def test_tables_and_batches(self) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        table = pyarrow.table({"a": [1, None, 3], "b": ["x", "é", None]})
        table = table.replace_schema_metadata({"unit": "nm"})
        large = pyarrow.table({"x": np.arange(3000.0)})
        both = pyarrow.concat_tables([large, large])
        batch = pyarrow.RecordBatch.from_pydict({"x": [1, 2]})

        def same(a: Any, b: Any) -> bool:
            return a.equals(b, check_metadata=True)

        check_serializer(
            ArrowSerializer(), [table, large, both, batch, table.slice(0, 0)], same=same
        )
        assert default_table().for_object(batch).format == "arrow_ipc"

    @pytest.mark.parametrize("kind", ["table", "batch"])
    @pytest.mark.parametrize("offsets", [(0, 1, 2, 3, 4_000), (0, 1, 3, 2, 4), (0, 1, -7, 3, 4)])
    def test_an_offset_beyond_the_data_is_damage(self, kind: str, offsets: tuple[int]) -> None:
        """arrow takes it as it is, and then shows memory that is none of the table's."""
        pyarrow = pytest.importorskip("pyarrow")
        column = pyarrow.array(["a", "b", "c", "d"])
        sound = pyarrow.RecordBatch.from_arrays([column], ["x"])
        if kind == "table":
            sound = pyarrow.Table.from_batches([sound])
        skeleton = ArrowSerializer().dumps(sound).skeleton
        before = struct.pack("<5i", 0, 1, 2, 3, 4)
        assert skeleton.count(before) == 1
        with pytest.raises(SerializationError, match="cannot be read as arrow_ipc"):
            ArrowSerializer().loads(skeleton.replace(before, struct.pack("<5i", *offsets)), ())

    def test_text_that_is_none_is_refused_when_it_is_stored(self) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        raw = [pyarrow.py_buffer(struct.pack("<2i", 0, 2)), pyarrow.py_buffer(b"\xff\xfe")]
        odd = pyarrow.table({"x": pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, *raw])})
        with pytest.raises(SerializationError, match="a Table that is not sound"):
            ArrowSerializer().dumps(odd)
        binary = pyarrow.table({"x": odd["x"].cast(pyarrow.binary())})
        assert ArrowSerializer().loads(ArrowSerializer().dumps(binary).skeleton, ()) == binary


@pytest.mark.parametrize("name", ["train", "Booster2", "XGBRegressor.__init__", "core", 7, None])
def test_a_class_that_is_not_in_the_list_is_never_called(name: object) -> None:
    pytest.importorskip("xgboost")
    forged = encode_value({"class": name, "params": {}, "classes": 0, "model": b"x"})
    with pytest.raises(CorruptionError, match="of another class"):
        XgboostSerializer().loads(forged, ())


def test_what_needs_trust_is_known_of_every_format() -> None:
    """Also of those whose libraries are not here: on this depends what loads without it.

    The boosters and polars believe what a payload says of itself, and end the process.
    """
    table = default_table()
    safe = {name for name in table.formats if not table.for_format(name).needs_trust}
    assert safe == {"npy", "arrow_ipc", "torch_state"}


@pytest.mark.parametrize(
    ("version", "needs_trust"),
    [("2.5.1", True), ("2.6.0", False), ("2.10.0+cpu", False), ("1", True)],
)
def test_weights_need_trust_where_torch_lets_them_run_code(
    monkeypatch: pytest.MonkeyPatch, version: str, needs_trust: bool
) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert TorchStateSerializer().needs_trust is needs_trust


@pytest.mark.parametrize(
    ("version", "needs_trust"),
    [("14.0.0", True), ("9.0.2", True), ("14.0.1", False), ("26.0.1", False), ("15", False)],
)
def test_a_table_needs_trust_where_arrow_runs_the_pickles_of_a_schema(
    monkeypatch: pytest.MonkeyPatch, version: str, needs_trust: bool
) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert ArrowSerializer().needs_trust is needs_trust


def test_a_pyarrow_that_does_not_say_its_version_needs_trust(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    for found in (object(), None):
        monkeypatch.setattr(util, "find_spec", lambda name, found=found: found)
        assert ArrowSerializer().needs_trust is (found is not None)


FORGED: list[tuple[Any, dict[str, object]]] = [
    *(
        (made, {"class": name, "params": {}, "classes": 0, "best_iteration": 1, "model": model})
        for made, name in (
            (XgboostSerializer, "Booster"),
            (XgboostSerializer, "XGBRegressor"),
            (LightGbmSerializer, ""),
            (CatBoostSerializer, "CatBoost"),
        )
        for model in (None, b"", "", 4_000_000_000, [1], {"a": 1}, b"x" if not name else "x")
    ),
    (XgboostSerializer, {"class": "XGBRegressor", "params": [], "classes": 0, "model": b"x"}),
    (XgboostSerializer, {"class": "XGBRegressor", "params": {}, "classes": "2", "model": b"x"}),
    (XgboostSerializer, {"class": "XGBRegressor", "model": b"x"}),
    (LightGbmSerializer, {"best_iteration": None, "model": "x"}),
    (LightGbmSerializer, {"model": "x"}),
]


@pytest.mark.parametrize(("made", "parts"), FORGED)
def test_a_model_that_is_none_never_reaches_its_library(
    monkeypatch: pytest.MonkeyPatch, made: Any, parts: dict[str, object]
) -> None:
    """An empty one ends the process in xgboost; a number makes so many bytes."""

    class Library(ModuleType):
        def __getattr__(self, name: str) -> Any:
            class Model:
                def __init__(self, **given: Any) -> None:
                    if given and "n_jobs" not in given:
                        raise AssertionError("the library was asked")

                def load_model(self, *_: Any, **given: Any) -> None:
                    raise AssertionError("the library was asked")

            return Model

    monkeypatch.setitem(sys.modules, made.library, Library(made.library))
    with pytest.raises(CorruptionError, match=r"without a model|with odd|of another class"):
        made().loads(encode_value(parts), ())  # type: ignore[arg-type]
