"""Which attribute of an object cannot be serialised: the path to it, for the error message.

Runs only after a failure, so it may try: it goes down from the object into the first child that
fails by itself until none does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["describe_failure"]

_MAX_DEPTH = 32
_MAX_CHILDREN = 10_000


def describe_failure(obj: Any, error: Exception, fails: Callable[[Any], Exception | None]) -> str:
    """One sentence with the class, the attribute path and the reason.

    Args:
        obj: What could not be serialised.
        error: Why.
        fails: Tries to serialise a part; gives the failure, or None.
    """
    path, culprit, reason = "", obj, error
    for _ in range(_MAX_DEPTH):
        found = _failing_child(culprit, fails)
        if found is None:
            break
        step, culprit, reason = found
        path += step
    name = type(obj).__qualname__
    why = f"{type(reason).__name__}: {reason}"
    if not path:
        return f"{name} cannot be serialised: {why}"
    return f"{name}: attribute {path.lstrip('.')} ({_class(culprit)}) cannot be serialised: {why}"


def _failing_child(
    obj: Any, fails: Callable[[Any], Exception | None]
) -> tuple[str, Any, Exception] | None:
    for count, (step, child) in enumerate(_children(obj)):
        if count >= _MAX_CHILDREN:
            return None
        failure = fails(child)
        if failure is not None:
            return step, child, failure
    return None


def _children(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, Mapping):
        for key, value in obj.items():
            yield f"[{key!r:.40}]", value
    elif isinstance(obj, list | tuple | set | frozenset):
        for place, value in enumerate(obj):
            yield f"[{place}]", value
    else:
        for name, value in _state(obj).items():
            yield f".{name}", value


def _state(obj: Any) -> dict[str, Any]:
    if isinstance(obj, type):
        return {}
    state = dict(getattr(obj, "__dict__", {}))
    for cls in type(obj).__mro__:
        for name in getattr(cls, "__slots__", ()):
            if isinstance(name, str) and hasattr(obj, name):
                state.setdefault(name, getattr(obj, name))
    return state


def _class(obj: Any) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}"
