"""Parameters as canonical values: what a record may hold, by one written rule.

=============================================  ===============================================
given                                          kept
=============================================  ===============================================
None, bool, int of 64 bits, float, str, bytes  itself; text in Unicode NFC; one NaN
an integer beyond 64 bits                      its decimal digits as text
a numpy scalar                                 the plain value of the same kind
a complex, ``longdouble`` or date scalar       its text
a list, tuple or range                         a list
a set                                          a list in canonical order
a map                                          a map in the order of its keys; a key that is no
                                               text becomes its text
an array of at most 64 items                   nested lists
a larger array                                 ``ndarray(shape, dtype, digest)`` as text
an estimator (has ``get_params``)              ``{"class": …, "params": …}``, one level at a time
an enum member                                 ``Class.NAME``
a class or a function                          its qualified name
a path                                         its text, with "/"
anything else                                  its ``repr``, unless that shows an address:
                                               then ``<module.Class>``
=============================================  ===============================================

Nothing depends on a memory address, on hash order or on the process: the same training gives
the same record. What has no such form (a cycle, two keys with one text, text with lone
surrogates, more than 32 levels) is an :class:`InvalidInputError` that names the parameter.
"""

from __future__ import annotations

import enum
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from n4a_store.artifacts.serializers.libraries import qualified_name
from n4a_store.artifacts.serializers.main_module import MAIN_MODULES
from n4a_store.errors import InvalidInputError, SerializationError
from n4a_store.objects.codec import encode_value
from n4a_store.objects.oid import Kind, hash_object

__all__ = ["canonical_map", "canonical_params", "estimator_params"]

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_MAX_DEPTH = 32
_MAX_ITEMS = 64
_MAX_REPR = 1_000
_DIGEST = 16
_ADDRESS = re.compile(r"\bat 0x[0-9A-Fa-f]+|\bobject at \d+")
_PLAIN = frozenset((float, bool, bytes, type(None)))
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, np.ufunc)

_INSTEAD = "pass params= to say what to record instead"

_param_names: dict[type, tuple[str, ...]] = {}


def canonical_params(params: Mapping[str, Any] | None, obj: Any) -> dict[str, Any]:
    """The parameters of a record.

    Args:
        params: What the caller states; None asks the object itself.
        obj: The artifact.

    Raises:
        InvalidInputError: Something in them has no canonical form.
        SerializationError: ``get_params`` of the object fails.
    """
    if params is not None:
        return canonical_map(params, "params")
    try:
        return canonical_map(estimator_params(obj), "params")
    except InvalidInputError as error:
        raise InvalidInputError(error.message, hint=error.hint or _INSTEAD) from None


def canonical_map(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Values by name, each by the rule above.

    Raises:
        InvalidInputError: ``values``, which the message calls ``what``, is no map; or something in
            it has no canonical form.
    """
    if not isinstance(values, Mapping):
        raise InvalidInputError(f"{what} is a map, not {type(values).__name__}")
    return _map(values, what, 0)


def estimator_params(obj: Any) -> Mapping[str, Any]:
    """``obj.get_params(deep=False)``, or nothing when ``obj`` is no estimator.

    Raises:
        SerializationError: It has ``get_params`` and that fails.
    """
    cls = type(obj)
    try:
        names = _param_names.get(cls)
        if names is not None:
            return {name: getattr(obj, name) for name in names}
        get_params = getattr(obj, "get_params", None)
        if get_params is None or isinstance(obj, type) or not callable(get_params):
            return {}
        # scikit-learn looks at the signature of __init__ each time: 20 µs of an artifact's 100.
        if getattr(cls.get_params, "__module__", None) == "sklearn.base":
            names = tuple(cls._get_param_names())
            if _stays(cls):
                _param_names[cls] = names
            return {name: getattr(obj, name) for name in names}
        params = get_params(deep=False)
    except Exception as error:
        # get_params is other people's code, and so is looking it up: anything may come out.
        raise SerializationError(
            f"get_params of a {qualified_name(cls)} failed: {type(error).__name__}: {error}",
            hint=_INSTEAD,
        ) from error
    return params if isinstance(params, Mapping) else {}


def _stays(cls: type) -> bool:
    """Whether its module holds ``cls`` anyway: remembering a local class would keep it alive."""
    module = sys.modules.get(cls.__module__)
    return (
        module is not None
        and cls.__module__ not in MAIN_MODULES
        and module.__dict__.get(cls.__name__) is cls
    )


def _value(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else str(value)
    if kind is str:
        return _text(value, where)
    if depth > _MAX_DEPTH:
        raise InvalidInputError(f"{where}: nested deeper than {_MAX_DEPTH} levels, or in a circle")
    if kind is list or kind is tuple:
        return [_value(item, where, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return _map(value, where, depth)
    for types, rule in _RULES:
        if isinstance(value, types):
            return rule(value, where, depth)
    if callable(getattr(value, "get_params", None)):
        return _estimator(value, where, depth)
    return _repr(value, where)


def _text(value: str, where: str) -> str:
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(f"{where}: text with lone surrogates: {value!r:.80}") from None
    return unicodedata.normalize("NFC", value)


def _map(value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    before, in_order = "", True
    for key, item in value.items():
        if type(key) is str and key.isascii():
            name = key
        else:
            name = _value(key, where, depth + 1)
            name = _text(name if isinstance(name, str) else repr(name), where)
        if name in result:
            raise InvalidInputError(f"{where}: two keys read {name!r:.80}")
        in_order, before = in_order and name > before, name
        # Most items are themselves; only what can fail needs to be told where it stands.
        kind = type(item)
        if kind in _PLAIN or (
            (kind is str and item.isascii()) or (kind is int and _INT_MIN <= item <= _INT_MAX)
        ):
            result[name] = item
        else:
            result[name] = _value(item, f"{where}.{name:.80}", depth + 1)
    # As they are stored, so that a record is written alike before and after it was read back.
    return result if in_order else dict(sorted(result.items()))


def _estimator(value: Any, where: str, depth: int) -> Any:
    if isinstance(value, type):
        return qualified_name(value)
    return {
        "class": qualified_name(type(value)),
        "params": _map(estimator_params(value), where, depth + 1),
    }


def _array(value: np.ndarray[Any, Any], where: str, depth: int) -> Any:
    if value.size <= _MAX_ITEMS:
        return _value(value.tolist(), where, depth + 1)
    shape = "x".join(map(str, value.shape))
    if value.dtype.hasobject:
        return f"ndarray({shape}, {value.dtype.str})"
    digest = hash_object(Kind.BLOB, np.ascontiguousarray(value).view(np.uint8).reshape(-1).data)
    return f"ndarray({shape}, {value.dtype.str}, {digest.hex[:_DIGEST]})"


def _scalar(value: np.generic, where: str, depth: int) -> Any:
    plain = value.item()
    # longdouble and some dates have no plain counterpart and come back as themselves.
    return str(value) if isinstance(plain, np.generic) else _value(plain, where, depth + 1)


def _set(value: AbstractSet[Any], where: str, depth: int) -> list[Any]:
    return sorted((_value(item, where, depth + 1) for item in value), key=encode_value)


def _sequence(value: Any, where: str, depth: int) -> list[Any]:
    if isinstance(value, range) and len(value) > _MAX_ITEMS:
        return [repr(value)]
    return [_value(item, where, depth + 1) for item in value]


def _function(value: Any, where: str, depth: int) -> str:  # noqa: ARG001 - a rule
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "?")
    module = getattr(value, "__module__", None)
    if isinstance(value, np.ufunc) and getattr(np, str(name), None) is value:
        module = "numpy"  # before numpy 2 they did not say
    return f"{module}.{name}" if module and module != "builtins" else str(name)


# In order: the first whose types fit decides. A subclass of a plain type comes after what is
# more special (np.float64 is a float, an IntEnum an int).
_RULES: tuple[tuple[Any, Callable[[Any, str, int], Any]], ...] = (
    (enum.Enum, lambda value, *_: f"{type(value).__qualname__}.{value.name}"),
    (np.generic, _scalar),
    (np.ndarray, _array),
    (bool, lambda value, *_: bool(value)),
    (int, lambda value, where, depth: _value(int(value), where, depth)),
    (float, lambda value, *_: float(value)),
    (str, lambda value, where, _: _text(str(value), where)),
    ((bytearray, memoryview), lambda value, *_: bytes(value)),
    ((list, tuple, range), _sequence),
    (AbstractSet, _set),
    (PurePath, lambda value, where, _: _text(value.as_posix(), where)),
    (_FUNCTIONS, _function),
    (type, lambda value, *_: qualified_name(value)),
)


def _repr(value: Any, where: str) -> str:
    try:
        text = repr(value)
    except Exception as error:
        # __repr__ is other people's code as well.
        raise InvalidInputError(
            f"{where}: the repr of a {qualified_name(type(value))} failed: {error}"
        ) from error
    if len(text) > _MAX_REPR or _ADDRESS.search(text):
        return f"<{qualified_name(type(value))}>"
    return _text(text, where)
