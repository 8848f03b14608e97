"""Content ids of data and of estimators' definitions: equal means the same, by construction.

``data_id`` hashes an array's type, shape, memory order and bytes. :class:`Describer` turns an
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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blake3 import blake3

from n4a_store.artifacts.serializers.libraries import library_of
from n4a_store.artifacts.serializers.main_module import MAIN_MODULES
from n4a_store.errors import InvalidInputError
from n4a_store.objects.codec import encode_value
from n4a_store.pipeline.estimators import params_of

__all__ = ["Describer", "Uncertain", "data_id", "digest", "library_version"]

_RANDOM = (np.random.RandomState, np.random.Generator, np.random.BitGenerator)


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


@dataclass(frozen=True, slots=True)
class Describer:
    """Turns definitions into canonical values.

    Args:
        strict: Raise :class:`Uncertain` where nothing certain can be said. Otherwise the
            class's name stands there: good for a label, never for a decision.
        versions: Whether the libraries' versions are part of it.
        known: What has been described, by identity; nobody may change it meanwhile.
    """

    strict: bool = True
    versions: bool = True
    known: dict[int, tuple[Any, dict[str, Any]]] = field(default_factory=dict, compare=False)

    def estimator(self, obj: Any) -> dict[str, Any]:
        """An unfitted estimator: its class and its parameters."""
        kept = self.known.get(id(obj))
        if kept is None:
            # With the object itself, so that no other can come to its address.
            kept = self.known[id(obj)] = (obj, self._estimator(obj))
        return kept[1]

    def _estimator(self, obj: Any) -> dict[str, Any]:
        kind = type(obj)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if self.strict and ("<locals>" in name or kind.__module__ in MAIN_MODULES):
            raise Uncertain(f"{name} may mean something else tomorrow")
        params = params_of(obj)
        if params is None:
            # A splitter of scikit-learn keeps its parameters as attributes, without get_params.
            if self.strict and not hasattr(obj, "__dict__"):
                raise Uncertain(f"{name} does not tell its parameters")
            params = dict(getattr(obj, "__dict__", {}))
        described = {"class": name, "params": self.params(params)}
        if self.versions:
            described["library"] = self._version(kind.__module__)
        return described

    def params(self, params: Mapping[Any, Any]) -> dict[str, Any]:
        """A map of parameters, nested estimators and arrays included."""
        return {str(key): self.value(value) for key, value in params.items()}

    def value(self, value: Any) -> Any:
        """One parameter, or one part of a step."""
        if value is None or isinstance(value, bool) or type(value) is str:
            return value
        if type(value) in (int, float):
            return ["int", str(value)] if isinstance(value, int) else value
        if isinstance(value, np.generic):
            return ["numpy", value.dtype.str, value.tobytes()]
        if isinstance(value, (list, tuple)):
            return [type(value).__name__, [self.value(item) for item in value]]
        if isinstance(value, Mapping):
            return ["map", self.params(value)]
        try:
            return self._other(value)
        except Uncertain:
            if self.strict:
                raise
            return ["?", f"{type(value).__module__}.{type(value).__qualname__}"]

    def _other(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return ["array", data_id(value)]
        if isinstance(value, enum.Enum):
            return ["enum", f"{type(value).__module__}.{value}"]
        if isinstance(value, _RANDOM):
            raise Uncertain("a random generator changes each time it is used")
        if callable(getattr(value, "get_params", None)) and not isinstance(value, type):
            return ["estimator", self.estimator(value)]
        if callable(getattr(value, "split", None)) and hasattr(value, "__dict__"):
            return ["estimator", self.estimator(value)]
        if callable(value):
            module, name = _importable(value)
            return ["function", f"{module}.{name}", self._version(module) if self.versions else ""]
        raise Uncertain(f"no canonical form for {type(value).__name__}")

    def _version(self, module: str) -> str:
        try:
            return library_version(module)
        except Uncertain:
            if self.strict:
                raise
            return ""


def _importable(function: Any) -> tuple[str, str]:
    """Module and name of a function or class that an import by name would give again."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if isinstance(function, np.ufunc):
        module, name = "numpy", function.__name__
    if not isinstance(module, str) or module in MAIN_MODULES:
        raise Uncertain(f"{function!r} may mean something else tomorrow")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise Uncertain(f"{function!r} cannot be imported by its name")
    return module, name


@functools.cache
def library_version(module: str) -> str:
    """``scikit-learn==1.9.1`` or the like for the library that ``module`` is part of.

    Raises:
        Uncertain: It declares no version.
    """
    top = module.partition(".")[0]
    version = library_of(type("_Probe", (), {"__module__": module}))
    if version.startswith("python==") and top != "builtins" and top not in sys.stdlib_module_names:
        raise Uncertain(f"{top} declares no version")
    return version
