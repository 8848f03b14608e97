"""polars and arrow tables as Arrow IPC, uncompressed: the store compresses.

Handled are ``polars.DataFrame`` and ``Series``, and pyarrow's ``Table`` and ``RecordBatch``.
The payload is one IPC file or stream after a word that says what it was; nothing in it names code
to run. The libraries are never imported here unless they are already, or a payload asks for them.

arrow's tables are checked whole when they are read, every offset and every text, so one that was
imported loads without trust: unless this pyarrow runs pickles that a schema holds
(CVE-2023-47248). polars has no such check, and a damaged file can end the process: what was
imported needs trust.
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Sequence
from importlib import metadata, util
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, BufferView, Payload
from n4a_store.artifacts.serializers.soft_import import OfLibrary, imported, reading
from n4a_store.errors import CorruptionError, SerializationError
from n4a_store.objects.oid import BytesLike

__all__ = ["ArrowSerializer", "PolarsSerializer"]


_SAFE = (14, 0, 1)


def _runs_no_pickle() -> bool:
    """Whether the pyarrow that is here leaves pickles in a schema alone (CVE-2023-47248)."""
    try:
        version = metadata.version("pyarrow")
    except metadata.PackageNotFoundError:
        return util.find_spec("pyarrow") is None  # a copy that says nothing may be old
    return tuple(map(int, re.findall(r"\d+", version)[:3])) >= _SAFE


class _Frames(OfLibrary):
    """What both have in common: a skeleton of a word, and the IPC bytes beside it or after it."""

    format = ""
    extension = "arrow"
    words: tuple[bytes, ...] = ()

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The table.

        Raises:
            SerializationError: The library is missing or does not understand the data.
            CorruptionError: The payload is not of this format.
        """
        word, data = self._parts(skeleton, buffers)
        with reading(self.library, self.format) as library:
            return self._read(library, word, data)

    def file_bytes(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> bytes:
        """The IPC bytes alone.

        Raises:
            CorruptionError: The payload is not of this format.
        """
        return bytes(self._parts(skeleton, buffers)[1])

    def _parts(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> tuple[bytes, BytesLike]:
        word, _, inline = bytes(skeleton).partition(b"\n")
        if word not in self.words or len(buffers) > 1 or (buffers and inline):
            raise CorruptionError(f"not a payload of format {self.format}")
        return word, buffers[0] if buffers else inline

    def _read(self, library: Any, word: bytes, data: BytesLike) -> Any:
        raise NotImplementedError


def _payload(word: bytes, data: memoryview, threshold: int) -> Payload:
    if data.nbytes < threshold:
        return Payload(word + b"\n" + data.tobytes())
    return Payload(word + b"\n", (BufferView(data),))


class PolarsSerializer(_Frames):
    """See the module."""

    library = "polars"
    format = "polars_ipc"
    needs_trust = True
    words = (b"frame", b"series")

    def handles(self, obj: Any) -> bool:
        """A frame or a series that holds no Python objects."""
        polars = imported(self.library)
        if polars is None or type(obj) not in (polars.DataFrame, polars.Series):
            return False
        dtypes = obj.dtypes if type(obj) is polars.DataFrame else [obj.dtype]
        return polars.Object not in dtypes

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a frame or series."""
        is_frame = hasattr(obj, "columns")
        stream = io.BytesIO()
        # One chunk: how a frame was put together is nothing to remember.
        frame = (obj if is_frame else obj.to_frame()).rechunk()
        frame.write_ipc(stream, compression="uncompressed")
        return _payload(b"frame" if is_frame else b"series", stream.getbuffer(), threshold)

    def _read(self, library: Any, word: bytes, data: BytesLike) -> Any:
        frame = library.read_ipc(io.BytesIO(data))
        return frame if word == b"frame" else frame.to_series(0)


class ArrowSerializer(_Frames):
    """See the module."""

    library = "pyarrow"
    format = "arrow_ipc"
    words = (b"table", b"batch")

    def __init__(self) -> None:
        self.needs_trust = not _runs_no_pickle()

    def handles(self, obj: Any) -> bool:
        """A table or a record batch."""
        pyarrow = imported(self.library)
        return pyarrow is not None and type(obj) in (pyarrow.Table, pyarrow.RecordBatch)

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a table or batch, as one chunk.

        Raises:
            SerializationError: It is not sound, and could not be read back: text that is no
                UTF-8, offsets beyond its data.
        """
        pyarrow = importlib.import_module("pyarrow")
        try:
            obj.validate(full=True)
        except pyarrow.ArrowInvalid as error:
            raise SerializationError(
                f"a {type(obj).__name__} that is not sound: {error}",
                hint="its validate(full=True) says so too; a column that is no text is binary",
            ) from error
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, obj.schema) as writer:
            writer.write(obj.combine_chunks() if type(obj) is pyarrow.Table else obj)
        word = b"table" if type(obj) is pyarrow.Table else b"batch"
        return _payload(word, memoryview(sink.getvalue()).cast("B"), threshold)

    def _read(self, library: Any, word: bytes, data: BytesLike) -> Any:
        with library.ipc.open_stream(library.py_buffer(data)) as reader:
            read = reader.read_all() if word == b"table" else reader.read_next_batch()
        # Reading takes offsets and lengths as they are: used unchecked, they lead out of memory.
        read.validate(full=True)
        return read
