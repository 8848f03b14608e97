"""torch, in the archive that ``torch.save`` writes, cut at its large tensors.

==========================================  ============  =========  ========================
object                                      format        trust      what the archive holds
==========================================  ============  =========  ========================
a tensor, a parameter, or maps and lists    torch_state   no         tensors and plain values
of tensors and plain values: a state dict,
a checkpoint
a whole ``torch.nn.Module``                 torch_module  **yes**    a pickle of the module
==========================================  ============  =========  ========================

A state is read with ``weights_only=True``: torch's own restricted unpickler, which knows tensors
and plain values and nothing else, so it loads without trust wherever it came from. A whole module
is a pickle, by reference to the module's class, or with the class itself by cloudpickle where no
other process could import it; what was imported therefore needs trust. Whoever wants a payload
that runs nothing registers the ``state_dict()``.

Tensors leave the archive as buffers: two networks over one frozen backbone store it once. All
come back on the CPU. Scripted and traced modules are refused, as torch refuses to pickle them.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import pickle
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD, BufferView, Payload
from n4a_store.artifacts.serializers.culprit import describe_failure
from n4a_store.artifacts.serializers.main_module import mains_by_value, names_main
from n4a_store.artifacts.serializers.soft_import import OfLibrary, imported, reading
from n4a_store.errors import CorruptionError, SerializationError
from n4a_store.objects.codec import decode_value, encode_value
from n4a_store.objects.oid import BytesLike

__all__ = ["TorchModuleSerializer", "TorchStateSerializer"]

_MAX_DEPTH = 32
_ITEM_SIZE = 4  # nearly all weights are float32; it guides compression and nothing else
_LOCAL_HEADER = 30
_SAFE = (2, 6)


def _holds_to_weights() -> bool:
    """Whether the torch that is here reads weights only when it is told to (CVE-2025-32434)."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return importlib.util.find_spec("torch") is None  # a copy that says nothing may be old
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    return numbers > _SAFE or (numbers == _SAFE and "dev" not in version)


class _Torch(OfLibrary):
    """``torch.save``'s archive: what lies between the large members, and those."""

    library = "torch"
    format = ""
    extension = "pt"
    weights_only = True

    def loads(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> Any:
        """The object, on the CPU.

        Raises:
            SerializationError: torch is missing or does not understand the archive.
            CorruptionError: The payload is not of this format.
        """
        archive = io.BytesIO(self.file_bytes(skeleton, buffers))
        with reading(self.library, self.format) as torch:
            return torch.load(archive, map_location="cpu", weights_only=self.weights_only)

    def file_bytes(self, skeleton: BytesLike, buffers: Sequence[BytesLike]) -> bytes:
        """The archive as ``torch.save`` wrote it.

        Raises:
            CorruptionError: The payload is not of this format.
        """
        parts = decode_value(skeleton)
        pieces = parts.get("pieces") if isinstance(parts, dict) else None
        if (
            not isinstance(pieces, list)
            or not all(isinstance(piece, bytes) for piece in pieces)
            or len(pieces) != len(buffers) + 1
        ):
            raise CorruptionError(f"not a payload of format {self.format}")
        together = zip(pieces, (*buffers, b""), strict=True)
        return b"".join(part for pair in together for part in pair)


def _payload(data: bytes, threshold: int, pickler: str = "") -> Payload:
    pieces, buffers = _cut(data, threshold)
    return Payload(encode_value({"pieces": pieces}), buffers, pickler)


def _cut(data: bytes, threshold: int) -> tuple[list[bytes], tuple[BufferView, ...]]:
    """An archive of stored members as what lies between the large ones, and those."""
    view = memoryview(data)
    pieces: list[bytes] = []
    buffers: list[BufferView] = []
    done = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    for member in members:
        if member.file_size < max(threshold, 1) or member.compress_type != zipfile.ZIP_STORED:
            continue
        head = view[member.header_offset : member.header_offset + _LOCAL_HEADER]
        # The directory's copy of the name and the extra field may differ in length from this.
        name, extra = (int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
        start = member.header_offset + _LOCAL_HEADER + name + extra
        pieces.append(bytes(view[done:start]))
        done = start + member.file_size
        buffers.append(BufferView(view[start:done], _ITEM_SIZE))
    pieces.append(bytes(view[done:]))
    return pieces, tuple(buffers)


class TorchStateSerializer(_Torch):
    """See the module."""

    format = "torch_state"

    def __init__(self) -> None:
        self.needs_trust = not _holds_to_weights()

    def handles(self, obj: Any) -> bool:
        """A tensor or parameter, or maps and lists of them and of plain values."""
        torch = imported(self.library)
        if torch is None or not hasattr(torch, "Tensor"):
            return False
        return _tensors(obj, (torch.Tensor, torch.nn.Parameter), 0) > 0

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a state.

        Raises:
            SerializationError: torch cannot save one of the tensors.
        """
        torch = importlib.import_module("torch")
        stream = io.BytesIO()
        try:
            torch.save(_without_bases(torch, obj), stream)
        except MemoryError:
            raise
        except Exception as error:
            raise SerializationError(
                f"a state of torch cannot be saved: {type(error).__name__}: {error}"
            ) from error
        return _payload(stream.getvalue(), threshold)


def _without_bases(torch: Any, obj: Any) -> Any:
    """``obj`` without the memory that a view looks into: torch would save all of it.

    Where two tensors look into one memory they stay as they are, so that they still share it.
    """
    if type(obj) is torch.Tensor:
        return _copied(obj) if _excess(torch, obj) else obj
    tensors = {id(tensor): tensor for tensor in _leaves(obj)}
    shared = Counter(
        tensor.untyped_storage().data_ptr()
        for tensor in tensors.values()
        if tensor.layout is torch.strided
    )
    copies = {
        place: _copied(tensor)
        for place, tensor in tensors.items()
        if type(tensor) is torch.Tensor
        and _excess(torch, tensor) > 0
        and shared[tensor.untyped_storage().data_ptr()] == 1
    }
    return copy.deepcopy(obj, {**tensors, **copies}) if copies else obj


def _copied(tensor: Any) -> Any:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _excess(torch: Any, tensor: Any) -> int:
    """The bytes of memory that a tensor does not need; below 0 where it repeats some."""
    if tensor.layout is not torch.strided:
        return 0
    size: int = tensor.numel() * tensor.element_size()
    held: int = tensor.untyped_storage().nbytes()
    return held - size


def _leaves(obj: Any) -> Iterator[Any]:
    """The tensors in what ``_tensors`` has counted."""
    if isinstance(obj, dict | list | tuple):
        for item in obj.values() if isinstance(obj, dict) else obj:
            yield from _leaves(item)
    elif hasattr(obj, "untyped_storage"):
        yield obj


def _tensors(obj: Any, types: tuple[type, ...], depth: int) -> int:
    """The number of tensors in what holds tensors and plain values; below 0 for anything else."""
    kind = type(obj)
    if kind in types:
        return 1
    if obj is None or kind in (bool, int, float, str):
        return 0
    if depth > _MAX_DEPTH:
        return -1
    if kind in (list, tuple):
        items = list(obj)
    elif kind in (dict, OrderedDict):
        if not all(type(key) in (str, int) for key in obj):
            return -1
        items = list(obj.values())
    else:
        return -1
    counts = [_tensors(item, types, depth + 1) for item in items]
    return -1 if any(count < 0 for count in counts) else sum(counts)


class TorchModuleSerializer(_Torch):
    """See the module."""

    format = "torch_module"
    weights_only = False
    needs_trust = True

    def handles(self, obj: Any) -> bool:
        """A whole module, its class included by reference."""
        torch = imported(self.library)
        nn = getattr(torch, "nn", None)
        return nn is not None and isinstance(obj, nn.Module) and not isinstance(obj, type)

    def dumps(self, obj: Any, *, threshold: int = DEFAULT_THRESHOLD) -> Payload:
        """The payload of a module.

        Raises:
            SerializationError: Something in it cannot be pickled; names the attribute.
        """
        torch = importlib.import_module("torch")
        try:
            data = _saved(torch, obj, pickle)
            if not names_main(_pickled(data)):
                return _payload(data, threshold, "pickle")
        except (pickle.PicklingError, AttributeError, TypeError):
            pass  # what pickle cannot name from another process; the rule is pickle5's
        except MemoryError:
            raise
        except Exception as error:
            raise _describe(torch, obj, error) from error
        try:
            return _payload(_saved_by_value(torch, obj), threshold, "cloudpickle")
        except MemoryError:
            raise
        except Exception as error:
            raise _describe(torch, obj, error) from error


def _saved(torch: Any, obj: Any, pickler: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(obj, stream, pickle_module=pickler)
    return stream.getvalue()


def _saved_by_value(torch: Any, obj: Any) -> bytes:
    import cloudpickle

    with mains_by_value():
        return _saved(torch, obj, cloudpickle)


def _pickled(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        return archive.read(name)


def _describe(torch: Any, obj: Any, error: Exception) -> SerializationError:
    def fails(part: Any) -> Exception | None:
        try:
            _saved_by_value(torch, part)
        except Exception as failure:  # noqa: BLE001 - this is the question asked
            return failure
        return None

    return SerializationError(
        describe_failure(obj, error, fails),
        hint="register its state_dict(), or leave the attribute out in __getstate__",
    )
