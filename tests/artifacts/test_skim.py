"""Looking into a pickle runs nothing of it, whatever it names."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store.artifacts import pickle_bounds
from n4a_store.artifacts import skim as skimming
from n4a_store.artifacts.pickle_bounds import check_pickle
from n4a_store.artifacts.skim import MAX_LEAVES, MAX_PATH, skim, skim_array
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


def doubling(levels: int, pair: bytes, bottom: bytes) -> bytes:
    """Of each level there are two, which are one: 2 to the power of the levels in all."""
    steps = [b"q%c" % at + b"h%c" % at + pair for at in range(levels)]
    return bottom + b"".join(steps)


PROTO = b"\x80\x05"
HUGE = b"\x8b" + struct.pack("<i", 4000) + b"\x01" * 4000
MERSENNE = (1 << 61) - 1


@pytest.mark.parametrize(
    "forged",
    [
        b"}" + b"N" + b"\x85" * 300_000 + b"Ns.",  # hashed by recursion
        b"}" + doubling(60, b"\x86", b"N") + b"Ns.",  # hashed two to the power of 60 times
        b"\x8f(" + doubling(60, b"\x86", b"N") + b"\x90.",
        b"(" + doubling(60, b"\x86", b"N") + b"\x91.",
        b"(" + doubling(60, b"\x86", b"N") + b"Nd.",
        b"}" + HUGE + b"Ns.",
        HUGE + b".",
        b"Nr" + struct.pack("<I", 0x02FFFFFF) + b".",
        b"\x96" + struct.pack("<Q", 1 << 34) + b".",
        b"cbuiltins\nbytearray\nJ" + struct.pack("<i", 1_000_000_000) + b"\x85R.",
        b"cbuiltins\nset\n](" + doubling(60, b"\x86", b"N") + b"e\x85R.",
        b"ccollections\nOrderedDict\n](" + doubling(60, b"\x86", b"N") + b"N\x86e\x85R.",
        b"ca\nb\n)\x81" + doubling(60, b"\x86", b"N") + b"Ns.",
        b"ca\nb\n)\x81" + doubling(60, b"l", b"(N").replace(b"q", b"(q") + b"Ns.",
        doubling(60, b"\x86", b")") + b".",  # nothing at all, and no end of it
        b"]q\x00]q\x01(h\x00h\x00e" * 1 + b".",
        b"2.",
        b"(.",
        b"e.",
        b"h\x05.",
        b"s.",
        b"R.",
        b"",
    ],
)
def test_a_pickle_that_asks_for_much_gets_little(forged: bytes) -> None:
    tracemalloc.start()
    try:
        leaves = skim(PROTO + forged, ())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(leaves) <= MAX_LEAVES
    assert peak < 4 * len(forged) + 64 * 1024 * 1024


def test_nothing_that_is_held_twice_at_every_level_takes_for_ever() -> None:
    nested: list[Any] = []
    for _ in range(40):
        nested = [nested, nested]
    assert skim(pickle.dumps(nested, 5), ()) == {}


def test_keys_that_collide_are_not_looked_up() -> None:
    """Each is compared with all before it: a million of them would take days."""
    some = {at * MERSENNE: None for at in range(1, 5_000)}
    assert len(skim(pickle.dumps(some, 5), ())) == len(some)
    with pytest.raises(ValueError, match="in time"):
        check_pickle(pickle.dumps({at * MERSENNE: None for at in range(1, 10_100)}, 5))


def test_what_is_copied_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One text in the pickle, and a copy for each time that it is asked for."""
    monkeypatch.setattr(skimming, "MAX_COPIED", 10_000)
    for kind, protocol in ((np.bytes_, 5), (bytearray, 4)):
        some = [kind(b"x" * 399 + bytes((at,))) for at in range(1, 27)]
        assert len(skim(pickle.dumps(some[:24], protocol), ())) == 24
        assert skim(pickle.dumps(some, protocol), ()) == {}


@pytest.mark.parametrize("name", ["MAX_CLASSES", "MAX_FIELDS"])
def test_what_is_made_is_counted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fields = np.zeros(2, dtype=[(f"f{at}", "f4") for at in range(20)])
    forged = {
        "MAX_CLASSES": b"".join(b"cm\nc%d\n0" % at for at in range(20)) + b"N.",
        "MAX_FIELDS": pickle.dumps(fields, 5),
    }[name]
    assert skim(forged, ()) != {}
    monkeypatch.setattr(skimming, name, 10)
    assert skim(forged, ()) == {}


def test_opcodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_bounds, "MAX_OPCODES", 100)
    assert len(skim(pickle.dumps(list(range(50)), 5), ())) == 50
    assert skim(pickle.dumps(list(range(100)), 5), ()) == {}


def test_paths_stay_short() -> None:
    nested: Any = 1
    for _ in range(50):
        nested = {"k" * 5_000: nested}
    (path,) = skim(pickle.dumps(nested, 5), ())
    assert len(path) < 2 * MAX_PATH


def test_keys_are_shown_as_they_are() -> None:
    keys = [1, "a", (1, "b"), (1,), (), None, 2.5, b"c", ((1, 2), 3), frozenset((1,))]
    found = list(skim(pickle.dumps(dict.fromkeys(keys), 5), ()))
    assert found == [
        "[1]", "[a]", "[(1, 'b')]", "[(1,)]", "[()]", "[None]", "[2.5]", "[b'c']",
        "[(tuple, 3)]", "[frozenset]",
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_what_programs_pickle_is_looked_into(protocol: int) -> None:
    """The bounds follow each opcode that a pickler writes."""
    shared = [1, 2]
    loop: list[Any] = [1]
    loop.append(loop)
    value: dict[Any, Any] = {
        "plain": [None, True, 3, 1 << 40, 1 << 80, -(1 << 70), 2.5, 1j, "é", b"x", bytearray(b"y")],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "sets": [{1, 2}, frozenset((3, 4)), set()],
        "shared": [shared, shared, {"a": shared}],
        "loop": loop,
        "path": Path("a/b"),
        "array": np.arange(5.0),
        "scalar": np.float32(2),
        "many": {f"k{at}": at for at in range(2_000)},
        (1, 2): range(3),
    }
    data = pickle.dumps(value, protocol)
    check_pickle(data)
    leaves = skim(data, ())
    assert leaves["[plain][2]"] == 3
    assert leaves["[shared][2][a][1]"] == 2
    assert leaves["[many][k1999]"] == 1999
    assert leaves["[loop][0]"] == 1
    if protocol > 2:  # before, arrays went through an encoding of text
        assert np.array_equal(leaves["[array]"], np.arange(5.0))
        assert leaves["[scalar]"] == np.float32(2)
