"""Pickle protocol 5, large buffers out of band: the serializer for everything else.

Laws:

- By reference with :mod:`pickle` wherever that works. :mod:`cloudpickle` takes over only for
  what pickle cannot name from another process (something of the script, see ``main_module``; a
  lambda, a local class or function) or does not take at all, as a module. The payload says which
  was used, and the order of an object's attributes has no say in it.
- Equal objects give equal bytes, as far as pickle allows: see ``canonical`` for the stream. Two
  things that numpy lets vary between equal objects are fixed here: a dtype that was itself
  unpickled is another object than the built-in one and would be written again, and an array
  over read-only memory would be written as read-only. Arrays always come back as writable as
  the buffers that are handed in.
- Memory that is not contiguous is copied in the order of its axes, so that a product with it goes
  the same way, to the last bit, before and after; into C order where that leaves gaps. F order
  stays F order.
- A failure names the class and the attribute path that cannot be pickled. There is no fallback, and
  an open file is a failure, unless it is the standard output or error of the process.

A skeleton without out-of-band buffers is a plain pickle: ``pickle.loads`` reads it.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, BufferView, Payload
from n4a_store.artifacts.serializers.canonical import by_value, unframe
from n4a_store.artifacts.serializers.culprit import describe_failure
from n4a_store.artifacts.serializers.extensions import EXTENSIONS
from n4a_store.artifacts.serializers.main_module import mains_by_value, names_main
from n4a_store.errors import SerializationError
from n4a_store.objects.oid import BytesLike, Kind, raw_hash
from n4a_store.odb.kept import KeptBlobs

__all__ = ["Pickle5Serializer"]

PROTOCOL = 5
_MAX_ITEM = 16  # the largest item that bytes are shuffled by
# TypeError is what pickle says of a module, which cloudpickle takes: by its name.
_BY_REFERENCE_ERRORS = (pickle.PicklingError, AttributeError, TypeError)
_Reduced = tuple[Any, ...]
_Reducer = Callable[[Any], "_Reduced | str"]


def _reduce_dtype(dtype: np.dtype[Any]) -> _Reduced:
    # numpy's own reduction makes a new dtype object at each load; np.dtype("<f8") gives the
    # built-in one, so that what was loaded pickles like what was fitted.
    if dtype.metadata is None and dtype.isbuiltin == 1:
        return (np.dtype, (sys.intern(dtype.str),))
    return dtype.__reduce__()  # type: ignore[return-value]


def _plain_reduction() -> tuple[Any, frozenset[type]]:
    """What numpy's own reduction calls, and of which dtypes that is written out below.

    Of none, where this numpy does it in another way.
    """
    sample = np.zeros(1)
    from_buffer, args, *rest = tuple(sample.__reduce_ex__(PROTOCOL))
    if not rest and args[1:] == (sample.dtype, (1,), "C"):
        return from_buffer, frozenset(_NUMBERS)
    return None, frozenset()


_NUMBERS = tuple(type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDG")
_from_buffer, _plain = _plain_reduction()


def _reduce_array(array: np.ndarray[Any, Any]) -> _Reduced:
    dtype = array.dtype
    flags = array.flags
    if type(dtype) in _plain and dtype.isnative and flags.c_contiguous and flags.writeable:
        # As numpy's own reduction, which looks up two modules for every array: a sixth of its time.
        buffer = pickle.PickleBuffer(array)  # type: ignore[arg-type]
        return _from_buffer, (buffer, dtype, array.shape, "C")
    if not dtype.hasobject:
        if not flags.forc:
            # A view of some rows of an F-ordered matrix is what BLAS takes as a transposed one.
            kept = array.copy(order="K")
            array = kept if kept.flags.forc else array.copy(order="C")
        elif not flags.writeable:
            array = array.copy(order="A")
    return array.__reduce_ex__(PROTOCOL)  # type: ignore[return-value]


def _reduce_memmap(array: np.memmap[Any, Any]) -> _Reduced:
    # Where the numbers happened to be mapped from is nothing to remember.
    return _reduce_array(np.asarray(array))


_CANONICAL: dict[type, _Reducer] = {
    **dict.fromkeys((*_NUMBERS, type(np.dtype("O"))), _reduce_dtype),
    np.ndarray: _reduce_array,
    np.memmap: _reduce_memmap,
}


def _reduce_text_file(file: io.TextIOWrapper) -> _Reduced:
    # cloudpickle reads what is in a file and stores that, as a StringIO: another type, which never
    # reaches the disk again, and content that nobody meant to give away with a model.
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise pickle.PicklingError("an open file cannot be stored")


_BY_VALUE: dict[type, _Reducer] = {**_CANONICAL, io.TextIOWrapper: _reduce_text_file}


# Streams in canonical form, by the hash of what pickle wrote. Branches and folds fit the same
# scaler to the same rows again and again, and finding its form takes as long as pickling it.
# None of them names the script, so that need not be looked for again either.
_canonical = KeptBlobs(16 * 1024 * 1024)


class Pickle5Serializer:
    """See the module."""

    format = "pickle5"
    extension = EXTENSIONS["pickle5"]
    needs_trust = True

    def handles(self, obj: Any) -> bool:  # noqa: ARG002
        """Everything: it stands last in the table."""
        return True

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of ``obj``.

        Raises:
            SerializationError: Something in it cannot be pickled.
        """
        try:
            payload = _dump(_by_name, obj, threshold)
        except _BY_REFERENCE_ERRORS:
            payload = None
        except Exception as error:
            # __reduce__ and __getstate__ are other people's code: anything may come out.
            raise _failure(obj, error) from error
        return self._dump_by_value(obj, threshold) if payload is None else payload

    def _dump_by_value(self, obj: Any, threshold: int) -> Payload:
        try:
            return _by_value(obj, threshold)
        except Exception as error:
            raise _failure(obj, error) from error

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The object.

        Raises:
            SerializationError: Its class cannot be imported here or refuses its state.
        """
        try:
            return pickle.loads(skeleton, buffers=buffers)
        except ModuleNotFoundError as error:
            raise SerializationError(
                f"cannot be unpickled: the module {error.name!r} is not installed here",
                hint="put its folder on PYTHONPATH where it is a module of your own, or install "
                "its library: the record's format_version may name it",
            ) from error
        except MemoryError:
            raise
        except Exception as error:
            raise SerializationError(
                f"cannot be unpickled: {type(error).__name__}: {error}",
                hint="is the library of the same version as the record's format_version?",
            ) from error


def _by_name(stream: io.BytesIO, keep: Callable[[pickle.PickleBuffer], bool]) -> Any:
    engine = pickle.Pickler(stream, PROTOCOL, buffer_callback=keep)
    # Libraries register with copyreg when they are imported, which may be at any time.
    engine.dispatch_table = {**copyreg.dispatch_table, **_CANONICAL}
    return engine


def _by_content(stream: io.BytesIO, keep: Callable[[pickle.PickleBuffer], bool]) -> Any:
    return _cloud_pickler()(stream, PROTOCOL, buffer_callback=keep)


@functools.cache
def _cloud_pickler() -> Any:
    import cloudpickle

    # A table of the class, as its own is: one that is set on an object of it is never looked at.
    table = ChainMap(_BY_VALUE, cloudpickle.Pickler.dispatch_table)
    return type("CanonicalPickler", (cloudpickle.Pickler,), {"dispatch_table": table})


def _dump(
    make: Callable[[io.BytesIO, Callable[[pickle.PickleBuffer], bool]], Any],
    obj: Any,
    threshold: int,
    *,
    by_reference: bool = True,
) -> Payload | None:
    """The payload; None where it would name something of the script by reference."""
    large: list[BufferView] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        # Called for every array, nine times an artifact: a function costs half of a method here.
        raw = buffer.raw()
        if raw.nbytes < threshold:
            return True  # in band
        size = memoryview(buffer).itemsize
        # Structured items hold fields of several sizes: nothing to shuffle by.
        large.append(BufferView(raw, size if size <= _MAX_ITEM else 1))
        return False

    stream = io.BytesIO()
    engine = make(stream, keep)
    engine.dump(obj)
    written = stream.getvalue()
    key = raw_hash(Kind.BLOB, written)
    skeleton = _canonical.get(key)
    if skeleton is None:
        skeleton = by_value(unframe(written), engine.memo.copy())
        if not names_main(skeleton):
            _canonical.put(key, skeleton)
        elif by_reference:
            return None
    return Payload(bytes(skeleton), tuple(large), "pickle" if by_reference else "cloudpickle")


def _by_value(obj: Any, threshold: int) -> Payload:
    with mains_by_value():
        payload = _dump(_by_content, obj, threshold, by_reference=False)
    assert payload is not None
    return payload


def _failure(obj: Any, error: Exception) -> SerializationError:
    def fails(part: Any) -> Exception | None:
        try:
            _by_value(part, DEFAULT_THRESHOLD)
        except Exception as failure:  # noqa: BLE001 - this is the question asked
            return failure
        return None

    if isinstance(error, RecursionError):
        return SerializationError(
            f"{type(obj).__qualname__} is nested too deeply to be pickled "
            f"(recursion limit {sys.getrecursionlimit()})"
        )
    return SerializationError(
        describe_failure(obj, error, fails),
        hint="leave it out in __getstate__, or hold what is needed to make it again",
    )
