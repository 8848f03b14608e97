"""A kit that checks a serializer: one line in a third party's test suite.

::

    from n4a_store.testing.serializers import check_serializer

    def test_mine():
        check_serializer(MySerializer(), [fitted, another], same=lambda a, b: a.equals(b))

It raises ``AssertionError`` that says which law was broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from n4a_store.artifacts.serializers.base import Payload, Serializer
from n4a_store.errors import StoreError

__all__ = ["check_serializer"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def check_serializer(
    serializer: Serializer,
    objects: Iterable[Any],
    *,
    same: Callable[[Any, Any], bool],
    deterministic: bool = True,
    reload_identical: bool = True,
) -> None:
    """Check a serializer against the laws of :mod:`n4a_store.artifacts.serializers.base`.

    Args:
        serializer: What is checked.
        objects: Objects that it must handle; small and large ones.
        same: Whether an object that came back is the one that went in.
        deterministic: Whether serialising twice must give equal bytes.
        reload_identical: Whether what was loaded must serialise to the same bytes again.

    Raises:
        AssertionError: A law is broken; the message says which.
    """
    _require(isinstance(serializer, Serializer), "it lacks a member of Serializer")
    _require(bool(_NAME.fullmatch(serializer.format)), f"format {serializer.format!r} is no name")
    _require(serializer.extension.isalnum(), f"extension {serializer.extension!r} is no name")
    _require(isinstance(serializer.needs_trust, bool), "needs_trust is not said")
    for stranger in (None, 3, "text", object()):
        handled = serializer.handles(stranger)
        _require(isinstance(handled, bool), "handles() gives no bool")
    for obj in objects:
        name = type(obj).__qualname__
        _require(serializer.handles(obj), f"it does not handle a {name}")
        for threshold in (1, 4096, 2**40):
            payload = serializer.dumps(obj, threshold=threshold)
            _check_payload(payload, threshold, name)
            for kind in (bytes, bytearray):
                loaded = _load(serializer, payload, kind)
                _require(type(loaded) is type(obj), f"a {name} came back as {type(loaded)}")
                _require(same(obj, loaded), f"a {name} came back changed")
            if deterministic:
                again = serializer.dumps(obj, threshold=threshold)
                _require(_raw(again) == _raw(payload), f"a {name} twice gives two payloads")
            if deterministic and reload_identical:
                reloaded = serializer.dumps(loaded, threshold=threshold)
                _require(_raw(reloaded) == _raw(payload), f"a {name} that was loaded gives another")
        _check_damage(serializer, serializer.dumps(obj), name)


def _load(serializer: Serializer, payload: Payload, kind: type) -> Any:
    return serializer.loads(payload.skeleton, [kind(part.data) for part in payload.buffers])


def _raw(payload: Payload) -> list[bytes]:
    return [payload.skeleton, *(bytes(buffer.data) for buffer in payload.buffers)]


def _check_payload(payload: Payload, threshold: int, name: str) -> None:
    _require(type(payload.skeleton) is bytes, "the skeleton is not bytes")
    for buffer in payload.buffers:
        view = buffer.data
        _require(
            view.contiguous and view.format == "B" and view.ndim == 1,
            f"a buffer of a {name} is not contiguous unsigned bytes",
        )
        _require(view.nbytes >= threshold, f"a buffer of a {name} is below the threshold")
    total = len(payload.skeleton) + sum(buffer.data.nbytes for buffer in payload.buffers)
    _require(payload.size == total, "size is not the sum of the parts")


def _check_damage(serializer: Serializer, payload: Payload, name: str) -> None:
    """A payload that is not one raises the store's own errors and nothing else."""
    buffers = [bytearray(buffer.data) for buffer in payload.buffers]
    for broken in (b"", payload.skeleton[: len(payload.skeleton) // 2], b"\xff" * 40):
        try:
            serializer.loads(broken, buffers)
        except StoreError:
            continue
        except Exception as error:
            raise AssertionError(
                f"damage to a {name} raises {type(error).__name__}, not a StoreError"
            ) from error
        raise AssertionError(f"damage to a {name} goes unseen")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
