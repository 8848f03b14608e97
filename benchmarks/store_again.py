"""What is stored anew when models are loaded and stored again, by family.

Whoever loads a model and keeps it, say in another run, should not store it twice. Some objects do
not pickle to the same bytes after a load as after their fit. Here the bytes of new payload are
counted over the bytes of all payload, beside what whole pickles would store anew.

    python -m benchmarks.store_again [FORM] [FOLDER]
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.peers.workload import load
from n4a_store import ArtifactLoader, ArtifactRegistry, Kind, Store
from n4a_store.repo.history import reach


def payload_of(store: Store, pipeline: str) -> dict[bytes, int]:
    """The different blobs of all payloads of a pipeline, with their sizes, uncompressed."""
    found: dict[bytes, int] = {}
    for tree in store.get_tree(store.resolve(f"{pipeline}:artifacts")).entries.values():
        payload = store.get_entry(tree.oid, "payload")
        assert payload is not None
        for part in reach(store, [payload]):
            if part.kind is Kind.BLOB:
                found[part.oid.raw] = store.info(part.oid).size
    return found


def family_of(obj: Any) -> str:
    """What a row of the table is about."""
    return type(obj).__name__


def main(form: str, folder: Path) -> None:
    """Fit or read the workload, store, load, store again, and print the table."""
    workload, _ = load(form, 1, folder)
    groups: dict[str, list[Any]] = defaultdict(list)
    for obj in workload.objects:
        groups[family_of(obj)].append(obj)
    print(f"{'family':28}{'objects':>8}{'payload MB':>12}{'anew here':>11}{'whole pickles':>15}")
    all_first = all_anew = all_pickles = all_anew_pickles = 0
    for family, objects in sorted(groups.items()):
        with tempfile.TemporaryDirectory() as place, ArtifactRegistry(place, "again") as registry:
            with registry.run(commit_each="run"):
                for number, obj in enumerate(objects):
                    registry.register(obj, f"first:{number}:all", "model")
            with ArtifactLoader(place, "again", cache_size=0) as loader:
                loaded = [loader.load_by_id(f"first:{at}:all") for at in range(len(objects))]
            with registry.run(commit_each="run"):
                for number, obj in enumerate(loaded):
                    registry.register(obj, f"second:{number}:all", "model")
            old = payload_of(registry.store, "first")
            new = payload_of(registry.store, "second")
        first = sum(old.values())
        anew = sum(size for oid, size in new.items() if oid not in old)
        before = [pickle.dumps(obj, 5) for obj in objects]
        after = [pickle.dumps(pickle.loads(one), 5) for one in before]
        pickles = sum(map(len, set(before)))
        anew_pickles = sum(len(one) for one in set(after) - set(before))
        print(
            f"{family:28}{len(objects):>8}{first / 1e6:>12.2f}{anew / first:>11.2%}"
            f"{anew_pickles / pickles:>15.1%}"
        )
        all_first += first
        all_anew += anew
        all_pickles += pickles
        all_anew_pickles += anew_pickles
    print(
        f"{'all':28}{len(workload.objects):>8}{all_first / 1e6:>12.2f}{all_anew / all_first:>11.2%}"
        f"{all_anew_pickles / all_pickles:>15.1%}"
    )


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "small",
        Path(sys.argv[2]) if len(sys.argv) > 2 else Path("benchmarks/results"),  # noqa: PLR2004
    )
