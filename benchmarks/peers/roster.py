"""Everybody who takes part, by the key that the command line knows."""

from __future__ import annotations

from benchmarks.peers import archives, gits, keyed, own, own_objects, platforms
from benchmarks.peers.base import Peer

__all__ = ["OWN", "PEERS"]

OWN: dict[str, type[Peer]] = {
    "fast": own.Fast,
    "balanced": own.Balanced,
    "dense": own.Dense,
    "compact": own.Compact,
    "once": own.Once,
    "objects": own_objects.Objects,
}

PEERS: dict[str, type[Peer]] = {
    **OWN,
    "lmdb": keyed.Lmdb,
    "sqlite": keyed.Sqlite,
    "diskcache": keyed.DiskCache,
    "joblib": keyed.Flat,
    "joblib3": keyed.FlatCompressed,
    "git": gits.Git,
    "git-repacked": gits.GitRepacked,
    "dulwich": gits.Dulwich,
    "disk-objectstore": platforms.DiskObjectStore,
    "dvc-data": platforms.DvcData,
    "metaflow": platforms.Metaflow,
    "mlflow": platforms.MLflow,
    "nirs4all": platforms.Nirs4all,
    "restic": archives.Restic,
    "borg": archives.Borg,
}
