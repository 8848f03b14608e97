"""What a pickled estimator holds, read without running any of its code.

Pickle can name any function. Here every name gets an inert stand-in that keeps what it was
called with; only arrays, dtypes and numpy scalars are rebuilt, by code of this module. So `show`
and `diff` can tell the shapes and values inside a model that nobody has decided to trust.

The result is flat: attribute paths (`coef_`, `estimators_[3].tree_.nodes`) to leaves, each an
array, a plain value, or the qualified name of a class.
"""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike

__all__ = ["Leaf", "skim", "skim_array"]

log = logging.getLogger(__name__)

Leaf = "np.ndarray[Any, Any] | None | bool | int | float | complex | str | bytes"
"""What stands at the end of a path."""

MAX_LEAVES = 20_000
MAX_DEPTH = 60


class _StandIn:
    """An object of a class that is not imported: its arguments and its state, nothing more."""

    qualified = ""
    args: tuple[object, ...]
    kwargs: dict[str, object]
    items: list[object]
    pairs: dict[str, object]
    state: Any

    def __new__(cls, *args: object, **kwargs: object) -> _StandIn:
        self = super().__new__(cls)
        self.args, self.kwargs = args, kwargs
        self.items, self.pairs, self.state = [], {}, None
        return self

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> _StandIn:
        return _StandIn(self, *args, **kwargs)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def append(self, item: object) -> None:
        self.items.append(item)

    def extend(self, items: Sequence[object]) -> None:
        self.items.extend(items)

    def __setitem__(self, key: object, value: object) -> None:
        self.pairs[str(key)] = value

    def parts(self) -> Iterator[tuple[str, object]]:
        """What it holds, by attribute, item or argument."""
        state = self.state
        pair = 2  # objects with slots: (their dict, their slots)
        if isinstance(state, tuple) and len(state) == pair and isinstance(state[1], dict):
            state = {**(state[0] or {}), **state[1]}
        if isinstance(state, Mapping):
            yield from ((f".{name}", value) for name, value in state.items())
        elif state is not None:
            yield ".state", state
        for kind, values in (("args", self.args), ("", self.items)):
            yield from ((f".{kind}[{i}]" if kind else f"[{i}]", v) for i, v in enumerate(values))
        for source in (self.kwargs, self.pairs):
            yield from ((f"[{name}]", value) for name, value in source.items())


class _ShapelessArray:
    """What `_reconstruct` gives: an array that gets shape, dtype and bytes by its state."""

    array: np.ndarray[Any, Any] | None = None
    contents: object = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, data = state[-4:]
        if isinstance(data, bytes | bytearray):
            self.array = _from_buffer(data, dtype, shape, "F" if fortran else "C")
        else:
            self.contents = data  # an array of objects: its items are looked at one by one


def _make_type(*args: object) -> type[_StandIn]:
    """What cloudpickle calls to make a class, which the pickle then makes objects of."""
    name = next((arg for arg in args if isinstance(arg, str)), "class")
    return type(name, (_StandIn,), {"qualified": name})


def _from_buffer(
    data: BytesLike, dtype: object, shape: tuple[int, ...], order: str
) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(data, _plain_dtype(dtype))
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> _ShapelessArray:
    return _ShapelessArray()


def _scalar(dtype: object, data: object = b"") -> object:
    if isinstance(data, bytes):
        return np.frombuffer(data, _plain_dtype(dtype))[0]
    return str(data)


def _plain_dtype(dtype: object) -> np.dtype[Any]:
    plain = dtype.dtype() if isinstance(dtype, _Dtype) else np.dtype(cast(Any, dtype))
    if plain.hasobject:
        raise ValueError("an array of objects has no bytes of its own")
    return plain


class _Dtype:
    """A dtype in the making: numpy's own constructor takes more than names."""

    def __init__(self, code: object = "", *_: object) -> None:
        self._code = str(code)
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def dtype(self) -> np.dtype[Any]:
        """The dtype; only fields and byte order are taken from the state."""
        order, names, fields = "=", None, None
        if len(self._state) >= 5:  # noqa: PLR2004 - version, order, subarray, names, fields
            order, names, fields = self._state[1], self._state[3], self._state[4]
        if names and fields:
            formats = [_plain_dtype(fields[name][0]) for name in names]
            offsets = [fields[name][1] for name in names]
            spec: dict[str, Any] = {"names": list(names), "formats": formats, "offsets": offsets}
            if self._code.startswith("V") and self._code[1:].isdecimal():
                spec["itemsize"] = int(self._code[1:])
            structured: np.dtype[Any] = np.dtype(cast(Any, spec))
            return structured
        plain: np.dtype[Any] = np.dtype(self._code)
        return plain.newbyteorder(cast(Any, order)) if order in ("<", ">") else plain


_REBUILT: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _ShapelessArray,
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in ("numpy._core", "numpy.core")},
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct
       for core in ("numpy._core", "numpy.core")},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in ("numpy._core", "numpy.core")},
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("collections", "OrderedDict"): dict,
    **{(f"cloudpickle.{part}", name): _make_type
       for part in ("cloudpickle", "cloudpickle_fast")
       for name in ("_builtin_type", "_make_skeleton_class", "_make_skeleton_enum")},
}  # fmt: skip


class _Skimmer(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        rebuilt = _REBUILT.get((module_name, global_name))
        if rebuilt is not None:
            return rebuilt
        qualified = f"{module_name}.{global_name}"
        return type(global_name, (_StandIn,), {"qualified": qualified})


def skim(skeleton: BytesLike, buffers: Sequence[BytesLike]) -> dict[str, Any]:
    """The leaves of a pickled object by path; at most `MAX_LEAVES` of them.

    Empty for one that asks for what no stand-in can do: it is sound, and can only be loaded.

    Args:
        skeleton: A pickle, whose bytes have been verified.
        buffers: Its out-of-band buffers, in order.
    """
    try:
        root = _Skimmer(io.BytesIO(bytes(skeleton)), buffers=list(buffers)).load()
    except Exception as error:  # noqa: BLE001 - whatever pickle or numpy says about it
        # The bytes have been verified: it is these stand-ins that were not enough.
        log.info("a pickle that cannot be looked into: %r", error)
        return {}
    leaves: dict[str, Any] = {}
    _flatten(root, "", leaves, set(), 0)
    return leaves


def skim_array(skeleton: BytesLike, buffers: Sequence[BytesLike]) -> dict[str, Any]:
    """The one leaf of a plain `.npy` payload."""
    try:
        data = io.BytesIO(b"".join([bytes(skeleton), *(bytes(b) for b in buffers)]))
        return {"": np.load(data, allow_pickle=False)}
    except ValueError as error:
        raise CorruptionError(f"not an array: {error}") from error


def _flatten(value: object, path: str, leaves: dict[str, Any], above: set[int], depth: int) -> None:
    if len(leaves) >= MAX_LEAVES:
        return
    if isinstance(value, _ShapelessArray):
        value = value.contents if value.array is None else value.array
    where = path.removeprefix(".")
    parts = None if depth >= MAX_DEPTH or id(value) in above else _parts(value)
    if parts is None:
        leaves[where] = value if _is_plain(value) else type(value).__name__
        return
    if isinstance(value, _StandIn):
        leaves[where] = type(value).qualified
    for name, part in parts:
        _flatten(part, path + name, leaves, above | {id(value)}, depth + 1)


def _parts(value: object) -> Iterator[tuple[str, object]] | None:
    """What is inside of `value`, None for a leaf."""
    if isinstance(value, _StandIn):
        return value.parts()
    if isinstance(value, dict):
        return ((f"[{key}]", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{i}]", item) for i, item in enumerate(value))
    return None


def _is_plain(value: object) -> bool:
    plain = (np.ndarray, np.generic, bool, int, float, complex, str, bytes)
    return value is None or isinstance(value, plain)
