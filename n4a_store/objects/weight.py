"""How many values an encoding holds, counted before any of them is built.

An empty map is one byte in an encoding and 72 bytes of memory, so a size alone bounds nothing. A
value of at most :data:`MAX_VALUES` bytes cannot hold more than so many values: what is that small,
as nearly everything is, need not be counted. Nothing that holds more is stored, and nothing that
holds more is decoded: decoding takes some 300 MB at the most, beside the bytes themselves.
"""

from __future__ import annotations

from n4a_store.objects.oid import BytesLike

__all__ = ["MAX_VALUES", "holds_too_many"]

MAX_VALUES = 4 * 1024 * 1024
"""How many values, keys and containers there are in one encoded value at the most."""


_TYPED = -8  # added where a byte for the type stands after the length


def _steps() -> tuple[int, ...]:
    """By the first byte of a value, its size; or how many bytes give its length, below 0."""
    steps = [1] * 256  # small integers, nil, booleans, the heads of small arrays and maps
    for tag in range(0xA0, 0xC0):
        steps[tag] = 1 + tag - 0xA0
    fixed = {0xCA: 5, 0xCB: 9, 0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}
    integers = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    extensions = {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}
    texts = {0xC4: -1, 0xC5: -2, 0xC6: -4, 0xD9: -1, 0xDA: -2, 0xDB: -4}
    # Never canonical, but a decoder would step over them, and so must a count.
    longer = {0xC7: _TYPED - 1, 0xC8: _TYPED - 2, 0xC9: _TYPED - 4}
    for tag, step in {**fixed, **integers, **extensions, **texts, **longer}.items():
        steps[tag] = step
    return tuple(steps)


_STEPS = _steps()


def holds_too_many(data: BytesLike) -> bool:
    """Whether msgpack's ``data`` holds more than :data:`MAX_VALUES` values.

    What is malformed is counted as far as a decoder would come with it.
    """
    end, at, count = len(data), 0, 0
    while at < end:
        count += 1
        if count > MAX_VALUES:
            return True
        tag = data[at]
        step = _STEPS[tag]
        if step > 0:
            at += step
            continue
        if step < _TYPED:
            step -= _TYPED
            at += 1
            length = data[at : at - step]
        else:
            length = data[at + 1 : at + 1 - step]
        at += 1 - step + int.from_bytes(length, "big")
    return False
