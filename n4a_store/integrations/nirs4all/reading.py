"""Loading what a row of nirs4all's catalog names, straight from the store.

A new object each time, because upstream's callers may change what they get. The row says which
content it means; anything else under its address is an error, and never a :class:`KeyError`:
upstream goes on without an artifact that raises one, and would predict without a fold.
"""

from __future__ import annotations

import os
from typing import Any

from n4a_store.artifacts.loading import load_payload
from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.queries import View
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.artifacts.types import HASH_PREFIX
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import CorruptionError, NotFoundError
from n4a_store.integrations.nirs4all.addresses import Address

__all__ = ["DatasetReader"]


class DatasetReader:
    """The artifacts of one dataset, by their addresses.

    Args:
        workspace: The workspace that upstream works in.
        dataset: The store's name of the dataset.

    Raises:
        StoreNotFoundError: There is no such dataset.
    """

    def __init__(self, workspace: str | os.PathLike[str], dataset: str) -> None:
        self._store = store = Workspace(workspace).store(dataset)
        self._view = View(lambda: store, lambda: None)

    def load(self, address: Address, content: str = "") -> Any:
        """The object at an address.

        Args:
            address: Where.
            content: The content hash that its row declares; empty for whatever is there.

        Raises:
            CorruptionError: It is gone, is something else now, or is damaged.
            UntrustedError: It was imported from elsewhere.
        """
        name = address.artifact_id
        with self._store.session():
            try:
                found = self._view.get(name)
            except NotFoundError as error:
                raise gone(address) from error
            stored = StoredArtifact.read(found.reader, found.tree, name)
            if content and content != HASH_PREFIX + stored.payload.oid.hex:
                raise gone(address)
            return load_payload(
                found.reader,
                stored.payload,
                name,
                stored.blob.format,
                default_table(),
                library=stored.blob.library,
                origin=found.origin,
            )

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def gone(address: Address) -> CorruptionError:
    """The error for an artifact that a row names and the store no longer has."""
    return CorruptionError(
        f"artifact {address.artifact_id} of {address.dataset} is no longer in the store",
        hint="'n4a-store artifacts undo' brings back what was deleted lately",
    )
