"""Looking into a pickle runs nothing of it, whatever it names."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store.artifacts.skim import skim, skim_array
from n4a_store.errors import CorruptionError


class Calls:
    """Unpickling it calls something."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.called = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.called


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    "function", [os.mkdir, os.makedirs, os.system, open, eval, exec, Path.touch, getattr]
)
def test_nothing_that_a_pickle_names_is_called(
    function: Callable[..., object], protocol: int, tmp_path: Path
) -> None:
    fuse = tmp_path / "exploded"
    args: dict[object, tuple[object, ...]] = {
        os.system: (f"touch {fuse}",),
        open: (str(fuse), "w"),
        eval: (f"open({str(fuse)!r}, 'w')",),
        exec: (f"open({str(fuse)!r}, 'w')",),
        Path.touch: (fuse,),
        getattr: (fuse, "parent"),
    }
    forged = pickle.dumps(Calls(function, *args.get(function, (str(fuse),))), protocol)
    leaves = skim(forged, ())
    assert list(tmp_path.iterdir()) == []
    assert all(type(leaf) in (str, int, type(None)) for leaf in leaves.values())


def test_an_array_of_objects_is_no_plain_array() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptionError, match="not an array"):
        skim_array(stream.getvalue(), ())
