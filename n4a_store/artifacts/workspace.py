"""A workspace: one store for each dataset, and nothing that touches two of them.

Looking never creates anything; :meth:`Workspace.create` is the only door that does. A dataset's
name is checked before any path is built from it.
"""

from __future__ import annotations

import os
from pathlib import Path

from n4a_store.errors import InvalidInputError, InvalidNameError, StoreNotFoundError
from n4a_store.refs.names import check_name_component
from n4a_store.repo.format import read_config
from n4a_store.repo.store import Store
from n4a_store.settings import Settings
from n4a_store.storage.layout import StoreLayout, WorkspaceLayout

__all__ = ["Workspace"]


class Workspace:
    """The folder that holds the stores of all datasets.

    Args:
        path: The folder; it need not exist before something is written.
        settings: For the stores opened through it; None reads each store's own.
    """

    def __init__(
        self, path: str | os.PathLike[str] | Workspace, *, settings: Settings | None = None
    ) -> None:
        folder = path.path if isinstance(path, Workspace) else path
        if not isinstance(folder, str | os.PathLike):
            raise InvalidInputError(f"a workspace is a folder's path, not {folder!r:.80}")
        if settings is None and isinstance(path, Workspace):
            settings = path.settings
        self.path: Path = Path(folder).absolute()
        self.settings: Settings | None = settings
        self.layout = WorkspaceLayout(self.path)

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"

    def datasets(self) -> list[str]:
        """The datasets that have a store, sorted.

        Raises:
            StoreNotFoundError: There is no workspace here.
        """
        self._check_exists()
        if not self.layout.binaries.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.layout.binaries.iterdir()
            # A name with a dot in front is a store that is being created, or was.
            if not entry.name.startswith(".") and _is_store(entry)
        )

    def store(self, dataset: str) -> Store:
        """Open the store of a dataset.

        Raises:
            InvalidNameError: That cannot be the name of a dataset.
            StoreNotFoundError: There is no such workspace or dataset; nothing is created.
        """
        name = check_name_component(dataset, what="dataset")
        self._check_exists()
        folder = self.layout.store(name)
        if not _is_store(folder):
            known = ", ".join(self.datasets())
            raise StoreNotFoundError(
                f"workspace {self.path} has no dataset {name!r}",
                hint=f"it has {known}" if known else "it has no datasets yet",
            )
        return Store.open(folder, settings=self.settings)

    def is_new(self, dataset: str) -> bool:
        """Whether nothing stands yet where the store of a dataset would: it can be begun.

        Raises:
            InvalidNameError: That cannot be the name of a dataset.
        """
        return not os.path.lexists(self.layout.store(check_name_component(dataset, what="dataset")))

    def settings_of(self, dataset: str) -> Settings:
        """The settings that the store of a dataset has, or will have when it is created.

        Raises:
            InvalidNameError: That cannot be the name of a dataset.
            InvalidInputError: Its ``config`` or the environment holds what is not allowed.
        """
        if self.settings is not None:
            return self.settings
        layout = StoreLayout(self.layout.store(check_name_component(dataset, what="dataset")))
        return Settings.load(read_config(layout), os.environ)

    def create(self, dataset: str) -> Store:
        """Open the store of a dataset, and create it, with the workspace, when there is none.

        Raises:
            InvalidNameError: That cannot be the name of a dataset.
            BackendError: It cannot be created.
        """
        name = check_name_component(dataset, what="dataset")
        folder = self.layout.store(name)
        if _is_store(folder):
            return Store.open(folder, settings=self.settings)
        self._refuse_twin(name)
        try:
            return Store.init(folder, settings=self.settings)
        except InvalidInputError:
            # Another process may have created it between the look and the attempt.
            if _is_store(folder):
                return Store.open(folder, settings=self.settings)
            raise

    def _check_exists(self) -> None:
        if not self.path.is_dir():
            raise StoreNotFoundError(
                f"there is no workspace at {self.path}",
                hint="the first run writes one; is the path right?",
            )

    def _refuse_twin(self, name: str) -> None:
        """Refuse a dataset that only case tells from another: elsewhere both are one folder."""
        if not self.layout.binaries.is_dir():
            return
        for other in self.datasets():
            if other != name and other.casefold() == name.casefold():
                raise InvalidNameError(
                    f"dataset {name!r} differs only in case from {other!r}",
                    hint=f"use {other!r}, or another name",
                )


def _is_store(folder: Path) -> bool:
    """Whether there is a store in a folder, or what cannot be told from one without permission.

    One that has lost its format file is listed and refused, or else it would be taken for gone.
    """
    layout = StoreLayout(folder)
    try:
        return layout.format.is_file() or layout.catalog.is_file()
    except PermissionError:
        return True
