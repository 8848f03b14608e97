"""Pickle 5: what comes back is what went in, and equal objects are equal bytes."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from n4a_store.artifacts.serializers import pickle5
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.errors import SerializationError

S = Pickle5Serializer()


def spectra() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(40, 300))
    return X, X[:, :3].sum(axis=1) + 0.1 * rng.normal(size=40)


def reload(payload: Payload, *, writable: bool = True) -> Any:
    make = bytearray if writable else bytes
    return S.loads(payload.skeleton, [make(buffer.data) for buffer in payload.buffers])


def raw(payload: Payload) -> tuple[bytes, ...]:
    return (payload.skeleton, *(bytes(buffer.data) for buffer in payload.buffers))


FAMILIES = {
    "scaler": StandardScaler,
    "pls": lambda: PLSRegression(4),
    "pca": lambda: PCA(4),
    "incremental pca": lambda: IncrementalPCA(4),
    "forest": lambda: RandomForestRegressor(4, random_state=0),
    "ridge": Ridge,
    "svr": SVR,
    "knn": KNeighborsRegressor,
    "pipeline": lambda: Pipeline([("scaler", StandardScaler()), ("pls", PLSRegression(2))]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_round_trip_and_identity_of_real_estimators(name: str) -> None:
    X, y = spectra()
    fitted = FAMILIES[name]().fit(X, y)
    payload = S.dumps(fitted)
    loaded = reload(payload)
    method = "predict" if hasattr(fitted, "predict") else "transform"
    assert np.array_equal(getattr(loaded, method)(X), getattr(fitted, method)(X))
    assert payload.pickler == "pickle"
    assert raw(S.dumps(fitted)) == raw(payload), "twice in a row"
    assert raw(S.dumps(FAMILIES[name]().fit(X, y))) == raw(payload), "after a refit"
    assert raw(S.dumps(loaded)) == raw(payload), "after a load"
    read_only = reload(payload, writable=False)
    assert raw(S.dumps(read_only)) == raw(payload), "after a read-only load"


def test_a_refit_in_another_process_is_identical() -> None:
    code = (
        "import hashlib, test_pickle5 as t\n"
        "X, y = t.spectra()\n"
        "for name, make in t.FAMILIES.items():\n"
        "    print(hashlib.sha256(b'|'.join(t.raw(t.S.dumps(make().fit(X, y))))).hexdigest())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={"PYTHONHASHSEED": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    x, y = spectra()
    here = [
        hashlib.sha256(b"|".join(raw(S.dumps(make().fit(x, y))))).hexdigest()
        for make in FAMILIES.values()
    ]
    assert dict(zip(FAMILIES, there, strict=True)) == dict(zip(FAMILIES, here, strict=True))
    assert len(set(here)) == len(FAMILIES)


def test_large_buffers_are_out_of_band_and_aligned_with_the_threshold() -> None:
    small, large = np.arange(511.0), np.arange(512.0)
    payload = S.dumps({"small": small, "large": large})
    assert [buffer.data.nbytes for buffer in payload.buffers] == [4096]
    assert payload.buffers[0].item_size == 8
    assert S.dumps([small], threshold=1).buffers
    assert not S.dumps([large], threshold=10**9).buffers
    assert payload.size == len(payload.skeleton) + 4096


def test_without_buffers_the_skeleton_is_a_plain_pickle() -> None:
    payload = S.dumps({"a": [1, "x"], "b": np.arange(3)})
    plain = pickle.loads(payload.skeleton)
    assert plain["a"] == [1, "x"]
    assert plain["b"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [3, 1000])
@pytest.mark.parametrize("writeable", [True, False])
def test_arrays_come_back_writable_and_in_their_order(n: int, writeable: bool) -> None:
    arrays = [
        np.arange(2.0 * n).reshape(2, n),
        np.asfortranarray(np.arange(2.0 * n).reshape(2, n)),
        np.arange(4.0 * n).reshape(2, 2 * n)[:, ::2],
        np.arange(n).astype(">i4"),
        np.zeros(n, dtype="M8[s]"),
        np.array(["é"] * n),
        np.zeros(n, dtype=[("a", "i1"), ("b", "f8")]),
    ]
    for array in arrays:
        array.flags.writeable = writeable
    loaded = reload(S.dumps(arrays))
    for before, after in zip(arrays, loaded, strict=True):  # type: ignore[call-overload]
        assert after.dtype == before.dtype
        assert np.array_equal(after, before)
        assert after.flags.writeable
        assert after.flags.f_contiguous == before.flags.f_contiguous or not before.flags.forc


def test_rows_of_a_matrix_in_f_order_multiply_as_before() -> None:
    """As the components of an IncrementalPCA: another order gives other last bits."""
    rng = np.random.default_rng(3)
    whole = np.asfortranarray(rng.normal(size=(21, 200)))
    views = [whole[:8], whole[:, ::2], whole.T[:, :8], rng.normal(size=(9, 50))[:, ::2]]
    views += [rng.normal(size=(4, 5, 6)).transpose(0, 2, 1)]
    loaded = reload(S.dumps(views))
    for before, after in zip(views, loaded, strict=True):
        assert np.array_equal(before, after)
    flags = [(after.flags.c_contiguous, after.flags.f_contiguous) for after in loaded]
    in_c, in_f = (True, False), (False, True)
    assert flags == [in_f, in_f, in_c, in_c, in_c]
    X = rng.normal(size=(300, 200))
    assert (X @ views[0].T).tobytes() == (X @ loaded[0].T).tobytes()


DTYPES = [
    "f8",
    "f4",
    "f2",
    "?",
    "i1",
    "u2",
    ">i4",
    ">f8",
    "c8",
    "c16",
    "g",
    ">g",
    ">G",
    "M8[s]",
    "S3",
    "U2",
    "V5",
]
STRUCTURED = np.dtype([("a", "i1"), ("b", "f8")])


@given(
    st.sampled_from([*map(np.dtype, DTYPES), STRUCTURED, np.dtype("O")]),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(["C", "F", "K", "stride"]),
    st.booleans(),
    st.sampled_from([1, 20, 4096]),
)
def test_arrays_are_written_as_numpy_writes_them(
    dtype: np.dtype, shape: tuple[int, ...], order: str, writeable: bool, threshold: int
) -> None:
    array = np.zeros(shape, dtype)
    if order == "F":
        array = np.asfortranarray(array)
    elif order == "K":
        array = array.transpose(np.roll(range(array.ndim), 1))
    elif order == "stride":
        array = np.zeros((*shape, 2), dtype)[..., 0]
    array.flags.writeable = writeable
    obj = [array, {"again": array, "view": array.view()}, pickle.loads(pickle.dumps(array, 5))]
    payload = S.dumps(obj, threshold=threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickle5, "_plain", frozenset())
        slow = S.dumps(obj, threshold=threshold)
    assert raw(payload) == raw(slow)
    assert [one.item_size for one in payload.buffers] == [one.item_size for one in slow.buffers]
    assert np.array_equal(reload(payload)[0], array)


def test_most_arrays_do_not_go_through_numpys_own_reduction() -> None:
    ways = [np.zeros(3), np.zeros((2, 3)), np.zeros((2, 3)).T, np.zeros((2, 3))[:, ::2]]
    names: list[str] = []
    sys.setprofile(lambda frame, event, arg: names.append(getattr(arg, "__name__", "")))
    try:
        reduced = [pickle5._reduce_array(one) for one in ways]
    finally:
        sys.setprofile(None)
    assert [args[-1] for _, args in reduced] == ["C", "C", "F", "C"]
    assert names.count("__reduce_ex__") == 2 * 2, "called and returned from for the last two"


ARGS = (None, np.dtype("f8"), (1,), "C")


@pytest.mark.parametrize("reduction", [(dict, ()), (dict, (*ARGS, 0)), (dict, ARGS, {})])
def test_a_numpy_that_writes_arrays_in_another_way_is_left_to_do_so(
    monkeypatch: pytest.MonkeyPatch, reduction: tuple
) -> None:
    class Other:
        dtype = np.dtype("f8")

        def __reduce_ex__(self, protocol: int) -> tuple:
            return reduction

    monkeypatch.setattr(np, "zeros", lambda size: Other())
    assert pickle5._plain_reduction() == (None, frozenset())


def test_read_only_buffers_give_read_only_arrays_without_a_copy() -> None:
    payload = S.dumps([np.arange(1000.0)])
    data = bytes(payload.buffers[0].data)
    (array,) = S.loads(payload.skeleton, [data])
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(data))


def test_an_array_of_objects_that_was_loaded_is_as_one_that_is_made() -> None:
    """An estimator that was loaded makes new ones, of labels and column names, when it is used."""
    labels = np.array(["a", None], dtype=object)
    payload = S.dumps([labels, labels.dtype, labels[:1].copy()])
    loaded, dtype, _ = reload(payload)
    assert loaded.tolist() == ["a", None]
    assert dtype is np.dtype("O")
    assert raw(S.dumps([loaded, labels.dtype, labels[:1].copy()])) == raw(payload)


def test_an_array_of_objects_that_numpy_wrote_keeps_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they were all written once."""
    labels = np.array(["a", None], dtype=object)
    with monkeypatch.context() as before:
        before.delitem(pickle5._CANONICAL, type(labels.dtype))
        payload = S.dumps([labels, labels.dtype])
    loaded = reload(payload)
    assert loaded[0].tolist() == ["a", None]
    assert raw(S.dumps(loaded)) == raw(payload) != raw(S.dumps([labels, labels.dtype]))


def test_a_numpy_scalar_stays_a_numpy_scalar() -> None:
    value = reload(S.dumps(np.float64(0.1)))
    assert type(value) is np.float64
    assert value == 0.1


def test_a_form_that_is_remembered_is_the_form_that_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "criterion" * 3
    twice = [text, "".join(list(text)), {"a": np.arange(2000.0)}]
    once = [text, text, {"a": np.arange(2000.0)}]
    first = S.dumps(twice)
    assert raw(first) == raw(S.dumps(once))
    monkeypatch.setattr(pickle5, "by_value", None)
    monkeypatch.setattr(pickle5, "unframe", None)
    assert raw(S.dumps(twice)) == raw(first)
    with pytest.raises(SerializationError):
        S.dumps([*twice, "something else"])


def test_sharing_inside_one_object_survives() -> None:
    shared, array = [1, 2], np.arange(1000.0)
    a, b = reload(S.dumps([{"x": shared, "z": array}, {"y": shared, "z": array}]))
    assert a["x"] is b["y"]
    assert a["z"] is b["z"]


@pytest.mark.parametrize("obj", [None, False, 0, "", (), b"", [], {}, float("nan")])
def test_falsy_objects(obj: object) -> None:
    loaded = reload(S.dumps(obj))
    assert repr(loaded) == repr(obj)


def test_lambdas_and_local_classes_go_to_cloudpickle() -> None:
    class Local:
        def __init__(self) -> None:
            self.double = lambda x: 2 * x
            self.table = np.arange(1000.0)

    payload = S.dumps(Local())
    assert payload.pickler == "cloudpickle"
    assert len(payload.buffers) == 1
    loaded = reload(payload)
    assert loaded.double(4) == 8  # type: ignore[attr-defined]
    assert loaded.table.flags.writeable  # type: ignore[attr-defined]


@pytest.mark.parametrize("names", [("module", "function"), ("function", "module"), ("module",)])
def test_whether_a_module_can_be_stored_is_no_question_of_order(names: tuple[str, ...]) -> None:
    """pickle refuses the one with another error than the other; cloudpickle takes both."""
    parts = {"module": np, "function": lambda x: 2 * x}
    payload = S.dumps({"deep": [{name: parts[name] for name in names}]})
    assert payload.pickler == "cloudpickle"
    loaded = reload(payload)["deep"][0]
    assert loaded["module"] is np
    assert list(loaded) == list(names)


def test_what_names_main_is_left_to_cloudpickle_each_time() -> None:
    for _ in range(3):
        assert S.dumps(["__main__", 1]).pickler == "cloudpickle"
        assert S.dumps(["__mine__", 1]).pickler == "pickle"


def test_what_lives_in_main_loads_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer\n"
        "class Mine:\n"
        "    x = 3\n"
        "payload = Pickle5Serializer().dumps(Mine())\n"
        "assert payload.pickler == 'cloudpickle', payload.pickler\n"
        "pathlib.Path(sys.argv[1]).write_bytes(payload.skeleton)\n"
    )
    out = tmp_path / "skeleton"
    subprocess.run([sys.executable, "-c", script, str(out)], check=True)
    assert S.loads(out.read_bytes(), []).x == 3


class Holder:
    def __init__(self, inner: object) -> None:
        self.fine = 1
        self.inner = inner


class Slotted:
    __slots__ = ("lock",)


def slotted() -> Slotted:
    obj = Slotted()
    obj.lock = threading.Lock()
    return obj


@pytest.mark.parametrize(
    ("inner", "path"),
    [
        (threading.Lock(), "inner"),
        ([1, {"key": threading.Lock()}], r"inner\[1\]\['key'\]"),
        (Holder(Holder(threading.Lock())), "inner.inner.inner"),
        (Pipeline([("a", Holder(threading.Lock()))]), r"inner.steps\[0\]\[1\].inner"),
        (slotted(), "inner.lock"),
        ((x for x in [1]), "inner"),
    ],
)
def test_a_failure_names_class_and_attribute(inner: object, path: str) -> None:
    with pytest.raises(SerializationError, match=rf"Holder: attribute {path} \(") as caught:
        S.dumps(Holder(inner))
    assert caught.value.hint


def test_code_that_raises_while_pickling_is_reported_and_not_replaced() -> None:
    class Stubborn:
        def __getstate__(self) -> dict:
            raise ValueError("not today")

    with pytest.raises(SerializationError, match=r"Stubborn.*ValueError: not today"):
        S.dumps(Stubborn())


def test_an_object_nested_too_deeply() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SerializationError, match="nested too deeply"):
        S.dumps(deep)


@pytest.mark.parametrize(
    ("skeleton", "message"),
    [
        (b"", "EOFError"),
        (b"\x80\x05\x8c\x07no_such\x8c\x01x\x93.", "module 'no_such' is not installed"),
        (b"\x80\x05\x8c\x08builtins\x8c\x07no_such\x93.", "AttributeError"),
        (b"\x80\x05\x97.", "UnpicklingError"),
        (b"\x80\x05K\x01", "EOFError"),
    ],
)
def test_a_payload_that_does_not_load_is_a_clear_error(skeleton: bytes, message: str) -> None:
    with pytest.raises(SerializationError, match=message) as caught:
        S.loads(skeleton, [])
    assert "format_version" in str(caught.value.hint)
