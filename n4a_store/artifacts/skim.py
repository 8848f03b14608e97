"""What a pickled estimator holds, read without running any of its code.

Pickle can name any function. Here every name gets an inert stand-in that keeps what it was
called with; only arrays, dtypes and numpy scalars are rebuilt, by code of this module. So `show`
and `diff` can tell the shapes and values inside a model that nobody has decided to trust. What
would take more than its share of memory, stack or time is not looked into: `pickle_bounds` says so
before anything is made, and here what is made and what is shown are bounded.

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

from n4a_store.artifacts.pickle_bounds import check_pickle
from n4a_store.artifacts.serializers.arrays import ArraySerializer
from n4a_store.objects.oid import BytesLike

__all__ = ["Leaf", "skim", "skim_array"]

log = logging.getLogger(__name__)

Leaf = "np.ndarray[Any, Any] | None | bool | int | float | complex | str | bytes"
"""What stands at the end of a path."""

MAX_LEAVES = 20_000
MAX_DEPTH = 60
MAX_VISITS = 10 * MAX_LEAVES  # of what is empty, and gives no leaf
MAX_PATH = 2_000
MAX_CLASSES = 10_000
MAX_COPIED = 64 * 1024 * 1024
MAX_FIELDS = 10_000
_MAX_NAME = 200
_MAX_ITEMS = 20
_TOO_MUCH = "a pickle that makes too many {}"


def _text(value: object) -> str:
    """A name as it is, another plain key as Python shows it; cut where that is long."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, tuple):
        text = f"({', '.join(map(_shown, value[:_MAX_ITEMS]))}{',' * (len(value) == 1)})"
        if len(value) > _MAX_ITEMS:
            text += "…"
    else:
        text = _shown(value)
    return text if len(text) <= _MAX_NAME else text[:_MAX_NAME] + "…"


def _shown(value: object) -> str:
    if isinstance(value, str | bytes):
        return repr(value[:_MAX_NAME])
    if value is None or isinstance(value, bool | int | float | complex | np.number | np.bool_):
        return str(value)
    return type(value).__name__


class _StandIn:
    """An object of a class that is not imported: its arguments and its state, nothing more."""

    __slots__ = ("args", "items", "kwargs", "pairs", "state")
    qualified = ""
    args: tuple[object, ...]
    kwargs: dict[str, object]
    items: list[object] | None
    pairs: dict[str, object] | None
    state: Any

    def __new__(cls, *args: object, **kwargs: object) -> _StandIn:
        self = super().__new__(cls)
        self.args, self.kwargs = args, kwargs
        self.items = self.pairs = self.state = None
        return self

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> _StandIn:
        return _StandIn(self, *args, **kwargs)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def append(self, item: object) -> None:
        self.extend((item,))

    def extend(self, items: Sequence[object]) -> None:
        if self.items is None:
            self.items = []
        self.items.extend(items)

    add = append

    def __setitem__(self, key: object, value: object) -> None:
        if self.pairs is None:
            self.pairs = {}
        self.pairs[_text(key)] = value

    def parts(self) -> Iterator[tuple[str, object]]:
        """What it holds, by attribute, item or argument."""
        state = self.state
        pair = 2  # objects with slots: (their dict, their slots)
        if isinstance(state, tuple) and len(state) == pair and isinstance(state[1], dict):
            state = {**(state[0] or {}), **state[1]}
        if isinstance(state, Mapping):
            yield from ((f".{_text(name)}", value) for name, value in state.items())
        elif state is not None:
            yield ".state", state
        for kind, values in (("args", self.args), ("", self.items or ())):
            yield from ((f".{kind}[{i}]" if kind else f"[{i}]", v) for i, v in enumerate(values))
        for source in (self.kwargs, self.pairs or {}):
            yield from ((f"[{_text(name)}]", value) for name, value in source.items())


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


def _type(name: str, qualified: str) -> type[_StandIn]:
    return type(name, (_StandIn,), {"qualified": qualified, "__slots__": ()})


_SetOfItems = _type("set", "builtins.set")
_FrozenItems = _type("frozenset", "builtins.frozenset")
_Ordered = _type("OrderedDict", "collections.OrderedDict")
_Bytes = _type("bytearray", "builtins.bytearray")


def _ordered(*args: object) -> object:
    return _Ordered(*args) if args else {}


def _from_buffer(
    data: BytesLike, dtype: object, shape: tuple[int, ...], order: str
) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(data, _plain_dtype(dtype))
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> _ShapelessArray:
    return _ShapelessArray()


def _plain_dtype(dtype: object) -> np.dtype[Any]:
    if isinstance(dtype, _Dtype):
        plain = dtype.dtype()
    elif isinstance(dtype, str) and len(dtype) <= _MAX_NAME:
        plain = np.dtype(dtype)
    else:
        raise ValueError("an array of an odd type")
    if plain.hasobject:
        raise ValueError("an array of objects has no bytes of its own")
    return plain


class _Dtype:
    """A dtype in the making: numpy's own constructor takes more than names."""

    def __init__(self, code: object = "", *_: object) -> None:
        self._code = _text(code)
        self._state: tuple[Any, ...] = ()
        self._made: np.dtype[Any] | None = None
        self.fields = 1  # in all, those of fields too

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def dtype(self) -> np.dtype[Any]:
        """The dtype; only fields and byte order are taken from the state."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> np.dtype[Any]:
        order, names, fields = "=", None, None
        if len(self._state) >= 5:  # noqa: PLR2004 - version, order, subarray, names, fields
            order, names, fields = self._state[1], self._state[3], self._state[4]
        if names and fields:
            if not all(isinstance(name, str) for name in names):
                raise ValueError("a field whose name is no text")
            formats = [_plain_dtype(fields[name][0]) for name in names]
            parts = (fields[name][0] for name in names)
            self.fields += sum(part.fields for part in parts if isinstance(part, _Dtype))
            if self.fields > MAX_FIELDS:
                raise ValueError(_TOO_MUCH.format("fields"))
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
    ("builtins", "set"): _SetOfItems,
    ("builtins", "frozenset"): _FrozenItems,
    ("builtins", "complex"): complex,
    ("collections", "OrderedDict"): _ordered,
}  # fmt: skip


class _Skimmer(pickle.Unpickler):
    """Reads one pickle, and counts what it makes."""

    def __init__(self, data: bytes, buffers: Sequence[BytesLike]) -> None:
        super().__init__(io.BytesIO(data), buffers=list(buffers))
        self._classes: dict[str, Any] = {}
        self._made = 0
        self._copied = 0
        self._rebuilt: dict[tuple[str, str], Any] = {
            **_REBUILT,
            **{(f"{core}.multiarray", "scalar"): self._scalar
               for core in ("numpy._core", "numpy.core")},
            ("builtins", "bytearray"): self._bytearray,
            **{(f"cloudpickle.{part}", name): self._make_type
               for part in ("cloudpickle", "cloudpickle_fast")
               for name in ("_builtin_type", "_make_skeleton_class", "_make_skeleton_enum")},
        }  # fmt: skip

    def find_class(self, module_name: str, global_name: str) -> Any:
        rebuilt = self._rebuilt.get((module_name, global_name))
        if rebuilt is not None:
            return rebuilt
        qualified = f"{module_name}.{global_name}"
        found = self._classes.get(qualified)
        if found is None:
            found = self._classes[qualified] = self._type(global_name, qualified)
        return found

    def _type(self, name: str, qualified: str) -> type[_StandIn]:
        self._made += 1
        if self._made > MAX_CLASSES:
            raise ValueError(_TOO_MUCH.format("classes"))
        return _type(name, qualified)

    def _make_type(self, *args: object) -> type[_StandIn]:
        """What cloudpickle calls to make a class, which the pickle then makes objects of."""
        name = next((arg for arg in args if isinstance(arg, str)), "class")
        return self._type(name, name)

    def _scalar(self, dtype: object, data: object = b"") -> object:
        if isinstance(data, bytes):
            plain = _plain_dtype(dtype)
            self._copy(plain.itemsize)
            return np.frombuffer(data, plain, count=1)[0]
        return _text(data)

    def _bytearray(self, data: object = b"", *more: object) -> object:
        if not isinstance(data, bytes | bytearray):
            return _Bytes(data, *more)
        self._copy(len(data))
        return bytearray(data)

    def _copy(self, size: int) -> None:
        self._copied += size
        if self._copied > MAX_COPIED:
            raise ValueError(_TOO_MUCH.format("copies"))


def skim(skeleton: BytesLike, buffers: Sequence[BytesLike]) -> dict[str, Any]:
    """The leaves of a pickled object by path; at most `MAX_LEAVES` of them.

    Empty for one that asks for what no stand-in can do, or for too much: it can only be loaded.

    Args:
        skeleton: A pickle, whose bytes have been verified.
        buffers: Its out-of-band buffers, in order.
    """
    data = bytes(skeleton)
    try:
        check_pickle(data)
        found = _Leaves()
        found.add(_Skimmer(data, buffers).load(), "", set(), 0)
    except Exception as error:  # noqa: BLE001 - whatever pickle or numpy says about it
        # The bytes have been verified: it is these stand-ins that were not enough.
        log.info("a pickle that cannot be looked into: %r", error)
        return {}
    return found.leaves


def skim_array(skeleton: BytesLike, buffers: Sequence[BytesLike]) -> dict[str, Any]:
    """The one leaf of a plain `.npy` payload.

    Raises:
        CorruptionError: It is no array, or one of objects.
    """
    return {"": ArraySerializer().loads(skeleton, buffers)}


class _Leaves:
    def __init__(self) -> None:
        self.leaves: dict[str, Any] = {}
        self._visits = 0

    def add(self, value: object, path: str, above: set[int], depth: int) -> None:
        """Put down what is at and below ``path``, as long as there is room."""
        self._visits += 1
        if len(self.leaves) >= MAX_LEAVES or self._visits > MAX_VISITS:
            return
        if isinstance(value, _ShapelessArray):
            value = value.contents if value.array is None else value.array
        where = path.removeprefix(".")
        far = depth >= MAX_DEPTH or len(path) > MAX_PATH
        parts = None if far or id(value) in above else _parts(value)
        if parts is None:
            self.leaves[where] = value if _is_plain(value) else type(value).__name__
            return
        if isinstance(value, _StandIn):
            self.leaves[where] = type(value).qualified
        for name, part in parts:
            if self._visits > MAX_VISITS:
                return
            self.add(part, path + name, above | {id(value)}, depth + 1)


def _parts(value: object) -> Iterator[tuple[str, object]] | None:
    """What is inside of `value`, None for a leaf."""
    if isinstance(value, _StandIn):
        return value.parts()
    if isinstance(value, dict):
        return ((f"[{_text(key)}]", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{i}]", item) for i, item in enumerate(value))
    return None


def _is_plain(value: object) -> bool:
    plain = (np.ndarray, np.generic, bool, int, float, complex, str, bytes)
    return value is None or isinstance(value, plain)
