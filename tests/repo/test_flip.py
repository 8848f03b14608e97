"""Any single flipped byte of any pack is found, and no hurt object is ever returned."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import CorruptionError
from n4a_store.objects.model import Run, RunStatus
from n4a_store.objects.oid import ObjectId
from n4a_store.repo import compaction
from n4a_store.repo.fsck import FsckReport, fsck
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.settings import Durability, Settings

QUICK = Settings(durability=Durability.NONE)


def fill(path: Path) -> dict[ObjectId, bytes]:
    """A small store whose packs hold every codec and every kind; the objects by id."""
    near = random.Random(2).randbytes(700)
    numbers = struct.pack("<60q", *(random.Random(n).getrandbits(30) for n in range(60)))
    with Store.init(path, settings=QUICK) as store:
        with store.transaction() as txn:
            blobs = {
                "near": txn.put_blob(near),
                "nearer": txn.put_blob(near[:680] + b"!" + near[680:]),
                "numbers": txn.put_blob(numbers, item_size=8),
                "text": txn.put_blob(b"text " * 60),
                "empty": txn.put_blob(b""),
            }
            tree = txn.put_tree(blobs)
            txn.set_ref("refs/tags/t", tree)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compaction, "_SMALLEST", 100)  # so that the store stays small
            repack(store, RepackMode.COMPACT)
        with store.transaction() as txn:
            other = txn.put_tree({"t": tree, "more": txn.put_blob(b"more")})
            run = txn.put_run(Run(other, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE))
            txn.set_ref("refs/runs/r", run)
        return {oid: store.get(oid) for oid, _ in store.objects()}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[ObjectId, bytes]]:
    path = tmp_path_factory.mktemp("flip") / "store"
    return path, fill(path)


def packs(path: Path) -> list[Path]:
    return sorted((path / "packs").iterdir())


def holders(path: Path) -> dict[ObjectId, str]:
    with Store.open(path, settings=QUICK) as store:
        return {oid: store.info(oid).pack for oid, _ in store.objects()}


@pytest.fixture
def copy(pristine: tuple[Path, dict[ObjectId, bytes]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine[0], tmp_path / "store"))


def reopen_packs(store: Store) -> None:
    """Forget every open pack, as a new process would find them."""
    store.odb.retain(())
    store.sessions.refresh()


def flips(pack: Path, bit: int) -> Iterator[int]:
    """Flip one byte of ``pack`` after the other, in place; the position of each."""
    data = pack.read_bytes()
    with pack.open("r+b", buffering=0) as file:
        for position, byte in enumerate(data):
            file.seek(position)
            file.write(bytes([byte ^ bit]))
            yield position
            file.seek(position)
            file.write(bytes([byte]))
    assert pack.read_bytes() == data


def check_reads(store: Store, sound: dict[ObjectId, bytes], mine: set[ObjectId]) -> int:
    """Read everything; how many objects were refused, each by an error that names it."""
    refused = 0
    for oid, data in sound.items():
        try:
            assert store.get(oid) == data
        except CorruptionError as error:
            refusal = error
        else:
            continue
        assert oid.hex[:12] in str(refusal), refusal
        assert refusal.hint
        assert oid in mine, "damage spread to another pack"
        refused += 1
    return refused


def test_reads_never_return_what_a_flipped_byte_made(
    pristine: tuple[Path, dict[ObjectId, bytes]], copy: Path
) -> None:
    sound, pack_of = pristine[1], holders(copy)
    assert len(packs(copy)) == 2
    refusals = 0
    with Store.open(copy, settings=QUICK) as store, store.session():
        codecs = {store.info(oid).codec for oid in sound}
        assert codecs == {"raw", "zstd", "shuffle+zstd", "delta"}
        for pack in packs(copy):
            mine = {oid for oid in sound if pack_of[oid] == pack.stem}
            for _ in flips(pack, 0x10):
                reopen_packs(store)
                refusals += check_reads(store, sound, mine) > 0
        reopen_packs(store)
        assert check_reads(store, sound, set()) == 0
    assert refusals > 1000


def full_check(path: Path) -> FsckReport:
    with Store.open(path, settings=QUICK) as store:
        return fsck(store, full=True)


@pytest.mark.parametrize("which", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_fsck_full_finds_every_flipped_byte(copy: Path, which: int) -> None:
    pack = sorted(packs(copy), key=lambda path: -path.stat().st_size)[which]
    with Store.open(copy, settings=QUICK) as store, store.session():
        for position in flips(pack, 0x01):
            reopen_packs(store)
            report = fsck(store, full=True)
            assert not report.ok, f"byte {position}"
            assert any(
                problem.subject == pack.stem or problem.code.startswith("object-")
                for problem in report.problems
            )
    assert full_check(copy).ok


def test_the_damage_is_named_with_what_it_hurts(
    pristine: tuple[Path, dict[ObjectId, bytes]], copy: Path
) -> None:
    with Store.open(copy, settings=QUICK) as store:
        text = store.resolve("t:text")
        location = store.odb.find(text.raw)
        assert location is not None
        at = store.odb.header(location).payload
    pack = copy / "packs" / f"{location.pack_id}.n4p"
    data = bytearray(pack.read_bytes())
    data[at + 2] ^= 1
    pack.write_bytes(data)
    report = full_check(copy)
    (problem,) = [found for found in report.problems if found.code == "object-damaged"]
    assert problem.subject == text.hex
    assert any(hurt.startswith("refs/tags/t") for hurt in problem.hurts)
    assert any(hurt.startswith("refs/runs/r") for hurt in problem.hurts)


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "swapped"])
def test_a_whole_pack_lost(
    pristine: tuple[Path, dict[ObjectId, bytes]], copy: Path, how: str
) -> None:
    sound, pack_of = pristine[1], holders(copy)
    first, second = packs(copy)
    if how == "missing":
        first.unlink()
    elif how == "empty":
        first.write_bytes(b"")
    elif how == "cut":
        first.write_bytes(first.read_bytes()[:-200])
    else:
        shutil.copy(second, first)
    lost = {oid for oid in sound if pack_of[oid] == first.stem}
    with Store.open(copy, settings=QUICK) as store:
        assert check_reads(store, sound, lost) == len(lost) > 0
        with pytest.raises(CorruptionError):
            store.has(ObjectId(bytes(32)))  # damage must not pass for absence
    assert not full_check(copy).ok


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_sound_copy_is_read_where_another_is_damaged(tmp_path: Path, damaged: int) -> None:
    data = b"in two packs" * 10
    with Store.init(tmp_path / "store") as store:
        early = store.transaction()
        packs = []
        for txn in (store.transaction(), early):
            oid = txn.put_blob(data)
            packs += txn.commit().packs
        path = store.layout.pack(packs[damaged])
        content = bytearray(path.read_bytes())
        content[content.index(data)] ^= 1
        path.write_bytes(content)
    with Store.open(tmp_path / "store") as again:
        assert again.get(oid) == data
