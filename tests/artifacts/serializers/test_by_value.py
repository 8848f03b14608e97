"""What cloudpickle takes by value keeps the laws of what pickle takes by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.errors import SerializationError

S = Pickle5Serializer()


def reload(payload: Payload) -> Any:
    return S.loads(payload.skeleton, [bytearray(view.data) for view in payload.buffers])


def local() -> Any:
    """An object of a class that no other process can name."""

    class Holder:
        array: Any = None
        to: Any = None

    return Holder()


@pytest.mark.parametrize("length", [3, 3000])  # within the pickle, and a buffer of its own
def test_arrays_come_back_writable_in_their_order(length: int, tmp_path: Path) -> None:
    frozen = np.arange(float(length))
    frozen.flags.writeable = False
    mapped = np.memmap(tmp_path / "rows.bin", dtype=np.float64, mode="w+", shape=(length,))
    rows = np.asfortranarray(np.ones((length, 4)))[: length // 2]
    holder = local()
    holder.array = (frozen, mapped, rows)
    payload = S.dumps(holder)
    assert payload.pickler == "cloudpickle"
    back = reload(payload).array
    assert all(np.array_equal(new, old) for new, old in zip(back, holder.array, strict=True))
    assert [type(new) for new in back] == [np.ndarray] * 3
    assert all(new.flags.writeable for new in back)
    assert back[2].flags.f_contiguous
    assert back[0].dtype is np.dtype(np.float64)


def test_what_was_loaded_in_part_is_stored_as_what_was_fitted() -> None:
    holder = local()
    holder.array = (np.arange(3.0), np.arange(4.0))
    once = S.dumps(holder)
    back = reload(once)
    back.array = (back.array[0], np.arange(4.0))
    assert S.dumps(back).skeleton == once.skeleton


def test_an_open_file_is_refused_and_not_read(tmp_path: Path) -> None:
    holder = local()
    for mode in ("w", "r", "a+"):
        with (tmp_path / "log.txt").open(mode) as file:
            holder.to = file
            with pytest.raises(SerializationError, match=r"Holder: attribute to .*an open file"):
                S.dumps(holder)
            with pytest.raises(SerializationError, match="an open file"):
                S.dumps([file])


def test_an_open_stream_of_the_process_is_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    holder = local()
    with (tmp_path / "out.txt").open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        holder.to = file
        assert reload(S.dumps(holder)).to is file
