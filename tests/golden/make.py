"""Make the golden store: ``python tests/golden/make.py``, once for each released format.

The store is packed into a tar beside this script and never made again: what it proves is that a
later program reads the bytes that an earlier one wrote. Nothing in it depends on the machine or
the clock except what the store itself draws (pack ids, epoch, times), so the object ids that the
test expects are printed here, to be copied by hand.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import tarfile
import tempfile
from pathlib import Path

from n4a_store.objects.codec import encode_value
from n4a_store.objects.model import Run, RunStatus
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.settings import Settings

TARGET = Path(__file__).with_name("store-v1.tar.xz")


def contents() -> dict[str, tuple[bytes, int]]:
    """Payload and item size by name: one of every codec, and the edge cases."""
    numbers = struct.pack("<300q", *(random.Random(n).getrandbits(30) for n in range(300)))
    return {
        "empty": (b"", 1),
        "raw": (random.Random(1).randbytes(1100), 1),
        "short": (b"short", 1),
        "shuffle": (numbers, 8),
        "text": (b"the same line again\n" * 200, 1),
        "value": (encode_value({"a": [1, 1.0, None, True, b"x", "é"], "z": -0.0}), 1),
    }


def build(path: Path) -> dict[str, str]:
    """Build the store; the ids that the test knows by heart."""
    ids: dict[str, str] = {}
    near = random.Random(2).randbytes(6000)
    with Store.init(path, settings=Settings()) as store:
        for change in (b"", b"changed"):
            with store.transaction("near duplicates") as txn:
                alike = txn.put_blob(near[:3000] + change + near[3000:])
                txn.set_ref(f"refs/tags/alike{len(change)}", alike)
        ids["base"], ids["delta"] = (store.ref(f"refs/tags/alike{n}").oid.hex for n in (0, 7))
        repack(store, RepackMode.COMPACT)
        with store.transaction("the first commit") as txn:
            blobs = {
                name: txn.put_blob(data, item_size=size)
                for name, (data, size) in contents().items()
            }
            tree = txn.put_tree({**blobs, "größe": txn.put_tree({})}, {"serial": 1})
            txn.set_ref("refs/tags/first", tree, expect=None)
            txn.set_ref("refs/tags/moved", tree, expect=None)
        with store.transaction("the second commit") as txn:
            leaf = txn.put_blob(b"leaf")
            wide = txn.put_tree({f"entry-{n:04}": leaf for n in range(1025)})
            pipelines = txn.put_tree({"0001_pls": tree})
            run = txn.put_run(
                Run(
                    pipelines,
                    "golden",
                    "2026-11-23T09:00:00+00:00",
                    RunStatus.COMPLETE,
                    environment={"python": "3.11"},
                    message="a run",
                )
            )
            txn.set_ref("refs/runs/20261123_000001", run, expect=None)
            txn.set_ref("refs/tags/moved", wide, expect=tree)
            txn.set_ref("refs/tags/gone", leaf)
        with store.transaction("the third commit") as txn:
            txn.delete_ref("refs/tags/gone", expect=leaf)
        ids.update({name: oid.hex for name, oid in blobs.items()})
        ids.update(tree=tree.hex, wide=wide.hex, pipelines=pipelines.hex, run=run.hex)
    return ids


def pack(folder: Path, target: Path) -> None:
    """Put the store into a tar whose headers say nothing of this machine."""
    with tarfile.open(target, "w:xz", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            info = tarfile.TarInfo(str(path.relative_to(folder)))
            data = b"" if path.is_dir() else path.read_bytes()
            info.type = tarfile.DIRTYPE if path.is_dir() else tarfile.REGTYPE
            info.mode = 0o755 if path.is_dir() else 0o644
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def main() -> None:
    """Make the archive anew and print the ids."""
    with tempfile.TemporaryDirectory() as folder:
        ids = build(Path(folder) / "store")
        pack(Path(folder) / "store", TARGET)
    for name, oid in ids.items():
        sys.stdout.write(f'    "{name}": "{oid}",\n')
    sys.stdout.write(f"{TARGET.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
