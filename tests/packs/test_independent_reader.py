"""A second implementation, written from docs/reference/formats alone, reads what the first wrote.

The reader below imports nothing of ours. Where it and the library disagree, the page is wrong or
the library is.
"""

from __future__ import annotations

import bisect
import random
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import msgpack
import zstandard
from blake3 import blake3

from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, hash_object, raw_hash
from n4a_store.objects.trees import encode_tree
from n4a_store.packs.delta import DeltaEncoder
from n4a_store.packs.entry import Codec
from n4a_store.packs.writer import PackWriter

KINDS = {1: "blob", 2: "tree", 3: "run"}


def derive(context: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=f"n4a_store v1 {context}").digest()


class Pack:
    """A pack by the book."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        foot = data[-136:]
        self.count, self.index, length, self.raw, self.bits = struct.unpack_from("<QQQQB", foot)
        assert data[:8] == b"N4PK\x01\0\0\0"
        assert foot[33:36] == bytes(3)
        assert foot[104:] == bytes(24) + b"N4PKEND\n"
        assert zlib.crc32(foot[:36]) == int.from_bytes(foot[36:40], "little")
        assert self.index + length + 136 == len(data)
        assert self.index % 64 == 0
        assert blake3(data[self.index : -136]).digest() == foot[40:72]
        assert blake3(data[: -136 + 72]).digest() == foot[72:104]
        at, n = self.index, self.count
        self.fan = struct.unpack_from(f"<{1 << self.bits}I", data, at)
        at += 4 << self.bits
        self.keys = struct.unpack_from(f"<{n}Q", data, at)
        self.tails = [data[at + 8 * n + 24 * i :][:24] for i in range(n)]
        self.offsets = struct.unpack_from(f"<{n}Q", data, at + 32 * n)
        self.lengths = struct.unpack_from(f"<{n}Q", data, at + 40 * n)
        self.kinds = data[at + 48 * n : at + 49 * n]
        assert at + 49 * n == len(data) - 136

    def find(self, oid: bytes) -> int | None:
        slot = int.from_bytes(oid[:2], "big") >> (16 - self.bits)
        low, high = (self.fan[slot - 1] if slot else 0), self.fan[slot]
        key = int.from_bytes(oid[:8], "big")
        at = bisect.bisect_left(self.keys, key, low, high)
        while at < high and self.keys[at] == key:
            if self.tails[at] == oid[8:]:
                return at
            at += 1
        return None

    def entry(self, at: int) -> tuple[int, bytes, bytes]:
        """The end of the entry at an offset, its id and its object."""
        head = self.data[at : at + 52]
        stored_length, kind, codec, item, padding, raw_length, oid = struct.unpack(
            "<QBBBBQ32s", head
        )
        assert zlib.crc32(head) == int.from_bytes(self.data[at + 52 : at + 56], "little")
        at += 56
        base = None
        if codec == 3:
            base, at = self.get(self.data[at : at + 32]), at + 32
        assert self.data[at : at + padding] == bytes(padding)
        at += padding
        raw = self.data[at : at + stored_length]
        if codec == 3:
            assert base is not None
            words = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            raw = zstandard.ZstdDecompressor(dict_data=words).decompress(raw)
        elif codec in (1, 2):
            raw = zstandard.decompress(raw)
        if codec == 2:
            whole = len(raw) // item * item
            n = whole // item
            raw = bytes(raw[i % item * n + i // item] for i in range(whole)) + raw[whole:]
        assert len(raw) == raw_length
        assert derive(KINDS[kind], raw) == oid
        return at + stored_length, oid, raw

    def get(self, oid: bytes) -> bytes:
        position = self.find(oid)
        assert position is not None
        offset, length = self.offsets[position], self.lengths[position]
        end, found, raw = self.entry(offset)
        assert (found, end) == (oid, offset + length)
        return raw


def read_tree(pack: Pack, oid: bytes, depth: int = 0) -> dict[str, bytes]:
    node: dict[str, Any] = msgpack.unpackb(pack.get(oid))
    if "depth" not in node:
        return dict(node["entries"])
    assert node["depth"] == depth
    found: dict[str, bytes] = {}
    for digit, entry in node["entries"].items():
        assert entry[0] == 2
        below = read_tree(pack, entry[1:], depth + 1)
        assert {derive("shard", name.encode()).hex()[depth] for name in below} == {digit}
        found |= below
    assert len(found) == node["total"] > 1024
    return found


def write(payloads: dict[bytes, tuple[int, bytes, int]]) -> bytes:
    out = bytearray()
    writer = PackWriter(out.extend)
    for oid, (kind, payload, item_size) in payloads.items():
        writer.add(oid, kind, payload, item_size)
    writer.seal()
    return bytes(out)


def test_every_codec_and_a_scan_without_the_index() -> None:
    source = random.Random(5)
    numbers = struct.pack("<1001q", *(source.getrandbits(30) for _ in range(1001))) + b"end"
    contents = [b"", b"hi", source.randbytes(5000), b"text " * 900, numbers]
    payloads = {
        raw_hash(1, payload): (1, payload, 8 if payload is numbers else 1) for payload in contents
    }
    payloads[raw_hash(3, b"run")] = (3, b"run", 1)
    data = write(payloads)
    pack = Pack(data)
    assert pack.count == len(payloads)
    assert pack.raw == sum(len(payload) for _, payload, _ in payloads.values())
    for oid, (kind, payload, _) in payloads.items():
        position = pack.find(oid)
        assert position is not None
        assert pack.kinds[position] == kind
        assert pack.get(oid) == payload
    codecs = set()
    at, scanned = 8, []
    while len(scanned) < pack.count:
        codecs.add(data[at + 9])
        at, oid, _ = pack.entry(at)
        scanned.append(oid)
    assert scanned == list(payloads)
    assert codecs == {0, 1, 2}
    assert data[at : pack.index] == bytes(pack.index - at)


def test_a_delta() -> None:
    source = random.Random(6)
    base = source.randbytes(20_000)
    child = base[:9_000] + b"changed" + base[9_000:]
    out = bytearray()
    writer = PackWriter(out.extend)
    writer.add(raw_hash(1, base), 1, base)
    stored, oid = DeltaEncoder(base).encode(child), raw_hash(1, child)
    assert len(stored) < 200
    writer.add_stored(oid, 1, Codec.DELTA, 0, stored, len(child), raw_hash(1, base))
    writer.seal()
    assert Pack(bytes(out)).get(oid) == child


def test_a_large_pack_has_the_wide_fan_out() -> None:
    payloads = {raw_hash(1, b"%d" % n): (1, b"%d" % n, 1) for n in range(16_384)}
    pack = Pack(write(payloads))
    assert pack.bits == 16
    for n in range(0, 16_384, 501):
        assert pack.get(raw_hash(1, b"%d" % n)) == b"%d" % n
    assert pack.find(bytes(32)) is None


def test_a_sharded_tree() -> None:
    payloads: dict[bytes, tuple[int, bytes, int]] = {}

    def emit(data: bytes) -> ObjectId:
        oid = hash_object(Kind.TREE, data)
        payloads[oid.raw] = (2, data, 1)
        return oid

    entries = {
        f"n{n}": TreeEntry(Kind.BLOB, ObjectId(bytes(31) + bytes([n % 256]))) for n in range(20_000)
    }
    root = encode_tree(entries, {"serial": 3}, emit)
    pack = Pack(write(payloads))
    assert read_tree(pack, root.raw) == {
        name: b"\x01" + entry.oid.raw for name, entry in entries.items()
    }
    assert msgpack.unpackb(pack.get(root.raw))["attrs"] == {"serial": 3}


def test_the_example_on_the_page_is_true() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/reference/formats/pack.md"
    text = page.read_text(encoding="utf-8").partition("## Example")[2]
    data = write({raw_hash(1, b"hi"): (1, b"hi", 1)})
    assert f"{len(data):,} bytes" in text
    lines = re.findall(r"^([0-9a-f]{8})  ([0-9a-f ]+?)(?:   .*| tail .*)?$", text, re.MULTILINE)
    assert len(lines) == 6
    for offset, shown in lines:
        expected = bytes.fromhex(shown.replace(" ", ""))
        assert data[int(offset, 16) :].startswith(expected), offset
    assert data[0x480 + 32 :][:17].hex() == "0800000000000000" + "3a00000000000000" + "01"
    assert len(data) - 136 == 0x4B1
