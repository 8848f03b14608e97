"""Content ids of data and of estimators' definitions: equal means the same, by construction.

``data_id`` hashes an array's type, shape, memory order and bytes. ``describe`` turns an
unfitted estimator into a canonical value (class, library version, parameters) or says with
:class:`Uncertain` that it cannot: a lambda, a live random generator, an object that does not
tell its parameters, a library without a version. Nobody may treat an uncertain thing as equal
to another.
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from blake3 import blake3

from n4a_store.errors import InvalidInputError
from n4a_store.objects.codec import encode_value
from n4a_store.pipeline.estimators import params_of

__all__ = ["Uncertain", "data_id", "describe", "describe_params", "digest", "library_version"]


class Uncertain(Exception):
    """Nothing can be said about the identity of this value."""


def digest(value: Any) -> str:
    """64 hex digits of a canonical value."""
    return blake3(encode_value(value), derive_key_context="n4a_store v1 definition").hexdigest()


def data_id(array: Any) -> str:
    """64 hex digits of an array's content; the memory order counts, since sums depend on it.

    Raises:
        Uncertain: It is no plain array (sparse, or of objects that have no canonical bytes).
    """
    if not isinstance(array, np.ndarray):
        raise Uncertain(f"{type(array).__name__} is not a plain array")
    fortran = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
    head: list[Any] = [array.dtype.str, list(array.shape), fortran]
    hasher = blake3(derive_key_context="n4a_store v1 data")
    if array.dtype.hasobject:
        try:
            hasher.update(encode_value([*head, array.tolist()]))
        except InvalidInputError as error:
            raise Uncertain("an array of arbitrary objects") from error
        return hasher.hexdigest()
    hasher.update(encode_value(head))
    flat = array.T if fortran else array
    hasher.update(np.ascontiguousarray(flat).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def describe(obj: Any) -> dict[str, Any]:
    """The canonical definition of an unfitted estimator.

    Raises:
        Uncertain: It does not tell all that its behaviour depends on.
    """
    kind = type(obj)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if "<locals>" in name or kind.__module__ == "__main__":
        raise Uncertain(f"{name} may mean something else tomorrow")
    params = params_of(obj)
    if params is None:
        # A splitter of scikit-learn keeps its parameters as attributes and has no get_params.
        params = dict(vars(obj)) if hasattr(obj, "__dict__") else {}
        if not params and not hasattr(obj, "__dict__"):
            raise Uncertain(f"{name} does not tell its parameters")
    return {
        "class": name,
        "library": library_version(kind.__module__),
        "params": describe_params(params),
    }


def describe_params(params: Mapping[Any, Any]) -> dict[str, Any]:
    """Parameters as canonical values, nested estimators and arrays included."""
    return {_key(key): _param(value) for key, value in params.items()}


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Uncertain(f"a parameter is called {key!r}")
    return key


def _param(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, enum.Enum) else repr(value)
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        return ["int", str(value)] if isinstance(value, int) else value
    if isinstance(value, np.generic):
        return ["numpy", value.dtype.str, value.tobytes()]
    if isinstance(value, np.ndarray):
        return ["array", data_id(value)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [_param(item) for item in value]]
    if isinstance(value, Mapping):
        return ["map", describe_params(value)]
    if isinstance(value, (np.random.RandomState, np.random.Generator, np.random.BitGenerator)):
        raise Uncertain("a random generator changes each time it is used")
    if callable(value) and not hasattr(value, "get_params"):
        return ["function", *_importable(value)]
    if callable(getattr(value, "get_params", None)) and not isinstance(value, type):
        return ["estimator", describe(value)]
    raise Uncertain(f"no canonical form for a parameter of type {type(value).__name__}")


def _importable(function: Any) -> list[str]:
    """Name and library version of a function that an import by name would give again."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if isinstance(function, np.ufunc):
        module, name = "numpy", function.__name__
    if not isinstance(module, str) or module == "__main__":
        raise Uncertain(f"{function!r} may mean something else tomorrow")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise Uncertain(f"{function!r} cannot be imported by its name")
    return [f"{module}.{name}", library_version(module)]


@functools.cache
def library_version(module: str) -> str:
    """``scikit-learn==1.9.1`` or the like for the library that ``module`` is part of.

    Raises:
        Uncertain: It declares no version.
    """
    top = module.partition(".")[0]
    if top == "builtins" or top in sys.stdlib_module_names:
        return f"python=={sys.version_info.major}.{sys.version_info.minor}"
    version = getattr(sys.modules.get(top), "__version__", None)
    if not isinstance(version, str):
        raise Uncertain(f"{top} declares no version")
    return f"{top}=={version}"
