"""What a command is given: its options, its output, and the store or stores it works on.

Queries never create anything: a workspace, dataset or store that is not there is an error
(exit 10) that says how to get one.

What happens to one dataset keeps no command from the others: where a command goes over all of
them, one that fails is reported, the others are done, and the exit code is 3.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from n4a_store import errors
from n4a_store.cli.exit_codes import ExitCode, exit_code_for
from n4a_store.cli.render import Output

if TYPE_CHECKING:
    from pathlib import Path

    from n4a_store.artifacts.workspace import Workspace
    from n4a_store.repo.store import Store

DEFAULT_WORKSPACE = "workspace"
# A command in a hint that works on a store; what makes one, or only explains, needs no place.
_ADVICE = re.compile(r"\bn4a-store (?=[a-z])(?!demo\b|init\b|completion\b)(?![^']*--help)")
_MAKE_ONE = "'n4a-store demo' makes one; -w PATH or $N4A_WORKSPACE names another"
_MANY = 50  # datasets, that are open at once

_FROM_BACKUP = (
    "put it back from a backup (docs/howto/backup.md); "
    "'n4a-store verify-pack FILE' tells whether a pack is whole"
)


@dataclass(frozen=True, slots=True)
class Options:
    """The global options; None where an option was not given."""

    workspace: str | None = None
    dataset: str | None = None
    store: str | None = None
    verbose: bool | None = None
    quiet: bool | None = None
    json: bool | None = None
    color: str | None = None

    def merged(self, later: Options) -> Options:
        """These options, overridden by what `later` sets."""
        values = {f.name: getattr(later, f.name) for f in fields(self)}
        kept = {name: getattr(self, name) if v is None else v for name, v in values.items()}
        return Options(**kept)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset's name and its open store."""

    name: str
    store: Store


class App:
    """One run of the program. Stores opened through it are closed when it ends."""

    def __init__(self) -> None:
        self.options = Options()
        self.out = Output()
        self.exit_code = 0
        self.silent = False  # about damaged datasets, while somebody types
        self._open = ExitStack()
        self._opened: dict[str, Dataset | None] = {}  # of all datasets; None where that failed
        self._failed: dict[str, ExitCode] = {}

    def update(self, options: Options) -> None:
        """Fold in the options given at one level of the command line."""
        self.options = self.options.merged(options)
        for option in ("workspace", "dataset", "store"):
            # An empty shell variable must not silently mean "here", or "all datasets".
            if getattr(self.options, option) == "":
                raise errors.InvalidInputError(
                    f"--{option} is empty", hint=f"name one, or leave --{option} away"
                )
        self.out = Output(color=self.options.color or "auto", quiet=bool(self.options.quiet))

    def close(self) -> None:
        """Close every store that was opened."""
        self._open.close()

    @property
    def json(self) -> bool:
        """Whether the answer is to be JSON."""
        return bool(self.options.json)

    @property
    def verbose(self) -> bool:
        """Whether to say more."""
        return bool(self.options.verbose)

    def located(self, advice: str, dataset: str | None = None) -> str:
        """`advice` whose commands work on the store that this one works on, wherever we are.

        Args:
            advice: A hint such as "run: n4a-store fsck".
            dataset: The dataset that is meant; default: the one that `-d` names, if any.
        """
        options = self.options
        place = {"--store": options.store}
        if options.store is None:
            place = {"-w": options.workspace, "-d": dataset or options.dataset}
        words = [f"{flag} {shlex.quote(value)} " for flag, value in place.items() if value]
        return _ADVICE.sub(lambda command: command[0] + "".join(words), advice)

    def workspace_path(self) -> Path:
        """The workspace folder; it need not exist.

        In order: `--workspace`, `$N4A_WORKSPACE`, the nearest folder above that is a workspace,
        `./workspace`.
        """
        from pathlib import Path

        from n4a_store.storage.layout import WorkspaceLayout

        named = self.options.workspace or os.environ.get("N4A_WORKSPACE")
        if named:
            return Path(named)
        here = _here()
        for folder in (here, *here.parents):
            if WorkspaceLayout(folder).binaries.is_dir():
                return folder
        return Path(DEFAULT_WORKSPACE)

    def workspace(self) -> Workspace:
        """The workspace; StoreNotFoundError where there is none."""
        path = self.workspace_path()
        if not path.is_dir():
            raise errors.StoreNotFoundError(
                f"no workspace at '{path}'", hint=_near_workspaces(path) or _MAKE_ONE
            )
        from n4a_store.artifacts.workspace import Workspace

        workspace = Workspace(path)
        binaries = workspace.layout.binaries
        if not binaries.is_dir():
            raise errors.StoreNotFoundError(
                f"'{path}' is not a workspace: it has no folder '{binaries.name}'",
                hint=_near_workspaces(path) or _MAKE_ONE,
            )
        return workspace

    def store(self) -> Store:
        """The one store that plumbing works on.

        `--store`, else the dataset that `-d` names, else the workspace's only dataset; inside a
        store's own folder and with nothing named, that store.
        """
        return self.dataset().store

    def dataset(self) -> Dataset:
        """The one dataset that a command works on, with its store (see `store`)."""
        from pathlib import Path

        options = self.options
        if options.store is not None:
            if options.dataset is not None or options.workspace is not None:
                raise errors.InvalidInputError(
                    "--store names the store: -w and -d have no meaning beside it",
                    hint="pass either --store PATH, or -w PATH and -d NAME",
                )
            return self._standalone(Path(options.store))
        if options.workspace is None and options.dataset is None:
            around = _store_around(_here())
            if around is not None and not os.environ.get("N4A_WORKSPACE"):
                return self._standalone(around)
        workspace = self.workspace()
        if options.dataset is not None:
            return self._named(workspace, options.dataset)
        names = workspace.datasets()
        if not names:
            raise _empty(workspace)
        if len(names) > 1:
            raise errors.InvalidInputError(
                f"the workspace '{workspace.path}' holds {len(names)} datasets: {', '.join(names)}",
                hint="choose one with -d NAME",
            )
        return self._named(workspace, names[0])

    def datasets(self, *, diagnose: bool = False) -> list[Dataset]:
        """The datasets that porcelain works on: the one `-d` names, else all, by name.

        Of several, one that cannot be opened is reported and left out.

        Args:
            diagnose: See `attempt`.
        """
        named = self.options.dataset or self.options.store
        if named is not None or self._is_in_a_lone_store():
            one: list[Dataset] = []
            with self.attempt(named or "", diagnose=diagnose):
                one.append(self.dataset())
            return one
        if not self._opened:
            workspace = self.workspace()
            self._opened = dict.fromkeys(workspace.datasets())
            if len(self._opened) > _MANY:
                from n4a_store.storage.system import allow_more_files

                allow_more_files()  # each has its catalog open, and a lease or two
            for name in self._opened:
                with self.attempt(name, diagnose=diagnose):
                    try:
                        self._opened[name] = self._named(workspace, name)
                    except errors.InvalidInputError as error:
                        # A mistake in its config, and not in what was asked.
                        if len(self._opened) == 1:
                            raise
                        self.report(name, error)
            if not self._opened:
                raise _empty(workspace)
        found = self._opened.items()
        return [held for name, held in found if held is not None and name not in self._failed]

    def _is_in_a_lone_store(self) -> bool:
        """Whether we stand in a store's own folder, with no workspace around or named."""

        if self.options.workspace or os.environ.get("N4A_WORKSPACE"):
            return False
        return not self.workspace_path().is_dir() and _store_around(_here()) is not None

    @contextmanager
    def attempt(self, name: str, *, diagnose: bool = False) -> Iterator[None]:
        """Work on one of several datasets: what goes wrong is reported, and the others go on.

        Where there is no other, it is an error like any; a mistake in what was asked always is.

        Args:
            diagnose: Corruption is an answer, not an end, where there is no other either.
        """
        try:
            yield
        except errors.InvalidInputError:
            raise
        except errors.StoreError as error:
            answers = diagnose and isinstance(error, errors.CorruptionError)
            if answers and "n4a-store fsck" in (error.hint or ""):
                error.hint = _FROM_BACKUP  # whoever asks fsck is not helped by its name
            if len(self._opened) <= 1 and not answers:
                raise
            self.report(name, error)

    def report(self, name: str, error: errors.StoreError) -> None:
        """Say what is wrong with one of several datasets, and remember it for the exit code."""
        self._failed[name] = exit_code_for(error)
        hint = self.located(error.hint, name) if error.hint else None
        if not self.silent:
            where = f"dataset '{name}': " if len(self._opened) > 1 else ""
            self.out.failed(name, where, error.message, hint)

    @property
    def failed(self) -> frozenset[str]:
        """The datasets on which something has failed."""
        return frozenset(self._failed)

    def code(self) -> int:
        """The exit code: the command's own, else what became of the datasets."""
        if self.exit_code or not self._failed:
            return self.exit_code
        if len(self._failed) < len(self._opened):
            return ExitCode.PARTIAL
        return next(iter(self._failed.values()))

    def find_damage(self) -> None:
        """A dataset that is too damaged to be looked at is a finding too (exit 4)."""
        if ExitCode.FINDINGS in self._failed.values():
            self.exit_code = ExitCode.FINDINGS

    def named_dataset(self, name: str) -> Dataset:
        """A dataset of the workspace by its name."""
        return self._named(self.workspace(), name)

    def opened(self, store: Store) -> Store:
        """A store that was opened elsewhere, to be closed when the program ends."""
        return self._open.enter_context(store)

    def _named(self, workspace: Workspace, name: str) -> Dataset:
        try:
            store = workspace.store(name)
        except errors.StoreNotFoundError as error:
            from n4a_store.cli.suggest import closest

            names = workspace.datasets()
            meant = closest(name, names)
            listed = f"the workspace holds: {', '.join(names)}" if names else _MAKE_ONE
            error.hint = f"did you mean {meant}?" if meant else listed
            raise
        return Dataset(name, self._open.enter_context(store))

    def _standalone(self, path: Path) -> Dataset:
        from n4a_store.repo.store import Store

        try:
            store = self._open.enter_context(Store.open(path))
        except errors.StoreNotFoundError as error:
            raise _no_store(path) from error
        return Dataset(path.resolve().name, store)


def _here() -> Path:
    """The folder we stand in."""
    from pathlib import Path

    try:
        return Path.cwd()
    except FileNotFoundError:
        raise errors.InvalidInputError(
            "the folder that this was called in is gone", hint="cd to one that is there"
        ) from None


def _near_workspaces(path: Path) -> str | None:
    """The workspaces in or beside a place that is none, of a name like it."""
    from n4a_store.cli.suggest import closest
    from n4a_store.storage.layout import WorkspaceLayout

    def inside(folder: Path) -> list[Path]:
        try:
            return [found for found in folder.iterdir() if WorkspaceLayout(found).binaries.is_dir()]
        except OSError:  # not there, or not ours to look into
            return []

    held = {str(found) for found in inside(path)}
    if len(held) == 1:
        return f"did you mean '{held.pop()}'?"
    beside = [found.name for found in inside(path.parent)]
    meant = closest(path.name, beside, show=lambda name: f"'{path.with_name(name)}'")
    return f"did you mean {meant}?" if meant else None


def _store_around(folder: Path) -> Path | None:
    """The store that `folder` lies in, if any (a workspace nearer than a store wins)."""
    from n4a_store.storage.layout import StoreLayout, WorkspaceLayout

    for candidate in (folder, *folder.parents):
        if WorkspaceLayout(candidate).binaries.is_dir():
            return None
        layout = StoreLayout(candidate)
        if layout.format.is_file() and layout.catalog.is_file():
            return candidate
    return None


def _no_store(path: Path) -> errors.StoreNotFoundError:
    """That no store is where one was named, with the stores beside that place."""
    from n4a_store.cli.suggest import closest
    from n4a_store.storage.layout import StoreLayout

    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    stores = [other.name for other in beside if StoreLayout(other).format.is_file()]
    meant = closest(path.name, stores, show=lambda name: f"'{path.with_name(name)}'")
    return errors.StoreNotFoundError(
        f"there is no store in '{path}'",
        hint=f"did you mean {meant}?" if meant else "'n4a-store init PATH' makes one",
    )


def _empty(workspace: Workspace) -> errors.StoreNotFoundError:
    return errors.StoreNotFoundError(
        f"the workspace '{workspace.path}' holds no dataset",
        hint="'n4a-store demo' fills one; training into a dataset creates it",
    )
