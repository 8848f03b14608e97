"""Where everything stands on disk. No other module spells a path.

::

    <workspace>/binaries/<dataset>/       one store
        format  config  catalog.db
        commit.lock  gc.lock  ballast
        leases/<uuid>   txn/<uuid>/<pack>   packs/<pack>.n4p   quarantine/
    <workspace>/runs/<dataset>/<run>/<pipeline>/manifest.yaml

Names that come from people are checked (``refs.names``) before they reach this module; as a last
guard, a path that would leave its folder is refused here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from n4a_store.errors import InvalidNameError

__all__ = ["PACK_SUFFIX", "StoreLayout", "WorkspaceLayout"]

PACK_SUFFIX = ".n4p"
_PACKS = "packs"


def _below(folder: Path, name: str) -> Path:
    return folder / _checked(name)


def _checked(name: str) -> str:
    if not name or name in {".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise InvalidNameError(f"{name!r} cannot name a file or folder")
    return name


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The paths inside one store."""

    root: Path

    @property
    def format(self) -> Path:
        """The text file that says which format the store has."""
        return self.root / "format"

    @property
    def config(self) -> Path:
        """Settings in TOML; may be missing."""
        return self.root / "config"

    @property
    def catalog(self) -> Path:
        """The SQLite file."""
        return self.root / "catalog.db"

    @property
    def commit_lock(self) -> Path:
        """Held while a commit changes the catalog; holds the number of the last one."""
        return self.root / "commit.lock"

    @property
    def gc_lock(self) -> Path:
        """Held by gc and repack."""
        return self.root / "gc.lock"

    @property
    def ballast(self) -> Path:
        """Room that only deletions may use; may be missing."""
        return self.root / "ballast"

    @property
    def leases(self) -> Path:
        """One file for each living writer and reader."""
        return self.root / "leases"

    @property
    def transactions(self) -> Path:
        """One folder for each transaction, for packs not yet published."""
        return self.root / "txn"

    @property
    def packs(self) -> Path:
        """The published packs."""
        return self.root / _PACKS

    @property
    def quarantine(self) -> Path:
        """Packs that the catalog does not know and that must not be deleted."""
        return self.root / "quarantine"

    def lease(self, lease_id: str) -> Path:
        """The file of a lease."""
        return _below(self.leases, lease_id)

    def transaction(self, lease_id: str) -> Path:
        """The folder of the transaction that holds a lease."""
        return _below(self.transactions, lease_id)

    def pack(self, pack_id: str) -> Path:
        """The file of a published pack."""
        return _below(self.packs, pack_id + PACK_SUFFIX)

    # As text: to join a path takes longer than the system call that it is for.

    def pack_name(self, pack_id: str) -> str:
        """The file of a published pack, as :meth:`pack` has it."""
        return f"{self.root}/{_PACKS}/{_checked(pack_id)}{PACK_SUFFIX}"

    def growing_pack_name(self, lease_id: str, pack_id: str) -> str:
        """The file of a pack that a transaction has not published yet."""
        return f"{self.root}/txn/{_checked(lease_id)}/{_checked(pack_id)}{PACK_SUFFIX}"

    def folders(self) -> tuple[Path, ...]:
        """The folders that every store has."""
        return (self.leases, self.transactions, self.packs)


@dataclass(frozen=True, slots=True)
class WorkspaceLayout:
    """The paths inside one workspace."""

    root: Path

    @property
    def binaries(self) -> Path:
        """The folder of all stores."""
        return self.root / "binaries"

    @property
    def runs(self) -> Path:
        """The folder of the readable manifests."""
        return self.root / "runs"

    def store(self, dataset: str) -> Path:
        """The store of a dataset."""
        return _below(self.binaries, dataset)

    def manifest(self, dataset: str, run_id: str, pipeline_id: str) -> Path:
        """The readable manifest of a pipeline in a run."""
        names = [_checked(name) for name in (dataset, run_id, pipeline_id)]
        return self.root.joinpath("runs", *names, "manifest.yaml")
