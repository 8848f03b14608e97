"""polars and arrow tables as Arrow IPC, uncompressed: the store compresses.

Handled are ``polars.DataFrame`` and ``Series``, and pyarrow's ``Table`` and ``RecordBatch``.
The payload is one IPC file or stream after a byte that says what it was; reading it runs no
code. The libraries are never imported here unless they are already, or a payload asks for them.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, BufferView, Payload
from n4a_store.artifacts.serializers.soft_import import imported, reading
from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike

__all__ = ["ArrowSerializer", "PolarsSerializer"]


class _Frames:
    """What both have in common: a skeleton of a word, and the IPC bytes beside it or after it."""

    library = ""
    format = ""
    extension = "arrow"
    runs_code = False
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
    words = (b"frame", b"series")

    def handles(self, obj: Any) -> bool:
        """A frame or a series that holds no Python objects."""
        polars = imported("polars")
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

    def handles(self, obj: Any) -> bool:
        """A table or a record batch."""
        pyarrow = imported("pyarrow")
        return pyarrow is not None and type(obj) in (pyarrow.Table, pyarrow.RecordBatch)

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a table or batch, as one chunk."""
        pyarrow = importlib.import_module("pyarrow")
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, obj.schema) as writer:
            writer.write(obj.combine_chunks() if type(obj) is pyarrow.Table else obj)
        word = b"table" if type(obj) is pyarrow.Table else b"batch"
        return _payload(word, memoryview(sink.getvalue()).cast("B"), threshold)

    def _read(self, library: Any, word: bytes, data: BytesLike) -> Any:
        with library.ipc.open_stream(library.py_buffer(data)) as reader:
            if word == b"table":
                return reader.read_all()
            return reader.read_next_batch()
