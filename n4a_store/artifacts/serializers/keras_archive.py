"""keras models, as the members of the ``.keras`` file that keras writes.

The skeleton holds the small members by name, and the weights are a buffer; put together again
they are a ``.keras`` file. What chance left in it is taken out: the moment at which keras wrote
it, and memory addresses, by which it numbers objects that a model holds twice. So a refit that
keras names alike gives equal bytes. A model that was loaded shares less, and gives other ones.

A ``.keras`` file names the classes and functions that reading it calls, and may carry a lambda's
code: it can run what it likes, as a pickle can, and one that was imported needs trust. With that
decided, it is read with ``safe_mode=False``, or models with lambdas could be stored and not read.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, BufferView, Payload
from n4a_store.artifacts.serializers.soft_import import OfLibrary, imported, reading
from n4a_store.errors import CorruptionError, SerializationError
from n4a_store.objects.codec import decode_value, encode_value
from n4a_store.objects.oid import BytesLike

__all__ = ["KerasSerializer"]

_WEIGHTS = "model.weights.h5"
_METADATA = "metadata.json"
_CONFIG = "config.json"
_SHARED = "shared_object_id"
_ITEM_SIZE = 4  # weights are float32 nearly always; it guides compression and nothing else


class KerasSerializer(OfLibrary):
    """See the module."""

    library = "keras"
    format = "keras"
    extension = "keras"
    needs_trust = True

    def handles(self, obj: Any) -> bool:
        """A model of keras 3."""
        model = getattr(imported(self.library), "Model", None)
        return isinstance(model, type) and isinstance(obj, model)

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a model.

        Raises:
            SerializationError: keras cannot save it.
        """
        try:
            # keras writes its format to files only.
            with tempfile.TemporaryDirectory(prefix="n4a_store-") as folder:
                path = os.path.join(folder, "model.keras")
                obj.save(path)
                with zipfile.ZipFile(path) as archive:
                    members = {name: archive.read(name) for name in archive.namelist()}
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise SerializationError(
                f"{type(obj).__qualname__} cannot be saved by keras: "
                f"{type(error).__name__}: {error}",
                hint="its layers need get_config(); see keras.saving",
            ) from error
        metadata = json.loads(members[_METADATA])
        del metadata["date_saved"]
        members[_METADATA] = json.dumps(metadata, sort_keys=True).encode()
        config = json.loads(members[_CONFIG])
        _renumber(config, {})
        members[_CONFIG] = json.dumps(config).encode()
        weights = members[_WEIGHTS]
        if len(weights) < threshold:
            return Payload(encode_value({"members": members}))
        del members[_WEIGHTS]
        view = memoryview(weights)
        return Payload(encode_value({"members": members}), (BufferView(view, _ITEM_SIZE),))

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The model.

        Raises:
            SerializationError: keras, or a class that the model names, is missing or refuses it.
            CorruptionError: The payload is not of this format.
        """
        data = self.file_bytes(skeleton, buffers)
        with (
            reading(self.library, self.format) as keras,
            tempfile.TemporaryDirectory(prefix="n4a_store-") as folder,
        ):
            path = os.path.join(folder, "model.keras")
            with open(path, "wb") as file:
                file.write(data)
            return keras.saving.load_model(path, safe_mode=False)

    def file_bytes(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> bytes:
        """A ``.keras`` file.

        Raises:
            CorruptionError: The payload is not of this format.
        """
        parts = decode_value(skeleton)
        members = parts.get("members") if isinstance(parts, dict) else None
        if (
            not isinstance(members, dict)
            or not all(isinstance(data, bytes) for data in members.values())
            or len(buffers) + (_WEIGHTS in members) != 1
        ):
            raise CorruptionError("not a payload of format keras")
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in (*members.items(), *((_WEIGHTS, bytes(part)) for part in buffers)):
                # Without a clock: the same model is the same file.
                archive.writestr(zipfile.ZipInfo(name), data)
        return stream.getvalue()


def _renumber(value: Any, numbers: dict[int, int]) -> None:
    """Give shared objects numbers in the order in which they appear."""
    if isinstance(value, dict):
        if isinstance(value.get(_SHARED), int):
            value[_SHARED] = numbers.setdefault(value[_SHARED], len(numbers) + 1)
        for item in value.values():
            _renumber(item, numbers)
    elif isinstance(value, list):
        for item in value:
            _renumber(item, numbers)
