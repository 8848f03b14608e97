"""Whether a pickle can be read with stand-ins within bounds, told from its opcodes alone.

A pickle of some bytes can ask for much before a single function is named: a place in the memo
that makes the table before it, a number of megabytes, a tuple in a tuple in a tuple that becomes
a key and is hashed by recursion, or that holds itself twice at every level and takes for ever.
Here the opcodes are followed without making anything, and what goes too far is a ValueError.
"""

from __future__ import annotations

import pickletools
from typing import Any, NamedTuple

__all__ = ["MAX_OPCODES", "check_pickle"]

MAX_OPCODES = 2_000_000
MAX_KEY_DEPTH = 200
MAX_KEY_COST = 10_000_000
MAX_INT = 1 << 8192  # below the number of digits that Python turns into text
_SURELY_APART = (1 << 61) - 1  # smaller integers have hashes of their own
_COSTLY = 1_000


class _Shape(NamedTuple):
    """How deep a value is, and what it costs to look it up as a key.

    Text has secret hashes. What is made of numbers can be made to collide, so that each key is
    compared with each other one, and therefore costs more.
    """

    depth: int
    cost: int


_LEAF = _Shape(0, 1)
_OTHER = _Shape(0, _COSTLY)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_INTS = frozenset(("INT", "BININT", "LONG", "LONG1", "LONG4"))
# What these give is hashed by its value, in little time, or with a secret.
_PLAIN = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if not opcode.stack_before
    and {kind.name for kind in opcode.stack_after}
    <= {"int", "bytes", "str", "bytes_or_str", "None", "bool", "float", "tuple"}
)
# How many values they take, 0 for all down to the mark.
_IN_PLACE = {"APPEND": 1, "BUILD": 1, "SETITEM": 2, "APPENDS": 0, "SETITEMS": 0, "ADDITEMS": 0}
_TO_MARK = frozenset(("TUPLE", "LIST", "DICT", "FROZENSET", "INST", "OBJ", "POP_MARK"))


def check_pickle(data: bytes) -> None:
    """Refuse a pickle that would take more than its share of memory, stack or time.

    Raises:
        ValueError: It would, or it is no pickle.
    """
    machine = _Machine()
    for number, (opcode, arg, _) in enumerate(pickletools.genops(data)):
        if number >= MAX_OPCODES:
            raise ValueError(f"a pickle of more than {MAX_OPCODES} opcodes")
        machine.follow(opcode, arg, number)


class _Machine:
    def __init__(self) -> None:
        self.stack: list[_Shape] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Shape] = {}
        self.cost = 0

    def follow(self, opcode: pickletools.OpcodeInfo, arg: Any, number: int) -> None:
        """Do with shapes what a pickle's reader does with values."""
        name = opcode.name
        if name in _PUTS:
            # A pickler numbers its places one by one.
            place = len(self.memo) if name == "MEMOIZE" else arg
            if not 0 <= place <= number:
                raise ValueError(f"a pickle with a memo of {place} places")
            self.memo[place] = self.top()
        elif name in _GETS:
            if arg not in self.memo:
                raise ValueError(f"a pickle that asks for place {arg} of its memo")
            self.stack.append(self.memo[arg])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in _IN_PLACE:
            self.change(name)
        elif name in _TO_MARK:
            self.collect(name, self.take_to_mark())
        elif name in _TUPLES:
            self.stack.append(_tuple_of(self.take(_TUPLES[name])))
        elif name == "DUP":
            self.stack.append(self.top())
        else:
            # Those that are left take and give values, and no marks.
            self.take(len(opcode.stack_before))
            shape = _shape_of(arg) if name in _INTS else _LEAF if name in _PLAIN else _OTHER
            self.stack.extend([shape] * len(opcode.stack_after))

    def change(self, name: str) -> None:
        """What puts something into the value below it, which stays what it is."""
        taken = self.take(_IN_PLACE[name]) if _IN_PLACE[name] else self.take_to_mark()
        if name in {"SETITEM", "SETITEMS"}:
            self.look_up(taken[::2])
        elif name == "ADDITEMS":
            self.look_up(taken)
        self.top()

    def collect(self, name: str, taken: list[_Shape]) -> None:
        if name == "POP_MARK":
            return
        if name == "DICT":
            self.look_up(taken[::2])
        elif name == "FROZENSET":
            self.look_up(taken)
        self.stack.append(_tuple_of(taken) if name == "TUPLE" else _OTHER)

    def top(self) -> _Shape:
        self.need(1)
        return self.stack[-1]

    def need(self, count: int) -> None:
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise ValueError("a pickle that takes more than it has put")

    def take(self, count: int) -> list[_Shape]:
        self.need(count)
        start = len(self.stack) - count
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def take_to_mark(self) -> list[_Shape]:
        if not self.marks:
            raise ValueError("a pickle that asks for a mark it has not put")
        return self.take(len(self.stack) - self.marks.pop())

    def look_up(self, keys: list[_Shape]) -> None:
        for key in keys:
            self.cost += key.cost
            if key.depth > MAX_KEY_DEPTH or self.cost > MAX_KEY_COST:
                raise ValueError("a pickle whose keys cannot be looked up in time")


def _shape_of(number: int) -> _Shape:
    if abs(number) >= MAX_INT:
        raise ValueError("a pickle with an integer of thousands of digits")
    return _LEAF if abs(number) < _SURELY_APART else _OTHER


def _tuple_of(items: list[_Shape]) -> _Shape:
    if not items:
        return _OTHER
    cost = _COSTLY + sum(item.cost for item in items)
    return _Shape(1 + max(item.depth for item in items), min(cost, 2 * MAX_KEY_COST))
