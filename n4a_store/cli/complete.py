"""What the shell offers on Tab: datasets, refs, and artifact ids of the store in question.

Completion answers from the catalog and manifests alone, and says nothing when anything is
wrong: an error in the middle of somebody's typing helps nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.context import App, Options
from n4a_store.cli.terminal import safe

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from n4a_store.repo.store import Store

Completer = Callable[[click.Context, click.Parameter, str], list[str]]
_PATIENCE_SECONDS = 0.5  # what has been found by then is offered
_MOST = 500  # a shell that asks before listing more is slower than one more letter


def datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Names of datasets of the workspace."""
    return _offered(_datasets(_app(ctx)), incomplete)


def refs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Full names of refs."""
    return _offered(_refs(_app(ctx)), incomplete)


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Anything that resolves: refs in their short form, then artifact ids, then object ids."""
    return _offered(_names(_app(ctx), incomplete), incomplete)


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Ids of runs."""
    return _offered(_below(_app(ctx), "refs/runs/"), incomplete)


def pipelines(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Ids of pipelines."""
    return _offered(_below(_app(ctx), "refs/pipelines/"), incomplete)


def types(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Types of artifacts."""
    from n4a_store.artifacts.types import ArtifactType

    return _offered(iter([str(type_) for type_ in ArtifactType]), incomplete)


def classes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Classes of artifacts that are stored."""
    return _offered(_classes(_app(ctx)), incomplete)


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """What the shell itself offers for a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """What the shell itself offers for a folder."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


def _offered(found: Iterator[str], incomplete: str) -> list[str]:
    try:
        # Two datasets may have one. One that needs escaping cannot be completed safely.
        offered = dict.fromkeys(
            name for name in found if name.startswith(incomplete) and safe(name) == name
        )
    except (errors.StoreError, OSError):
        return []
    if len(offered) <= _MOST:
        return list(offered)
    # The shell types what all that it is offered have in common: that must be true of those left
    # out as well, so the first and the last of them are among those offered.
    ordered = sorted(offered)
    return [*ordered[:: len(ordered) // _MOST + 1], ordered[-1]]


def _app(ctx: click.Context) -> App:
    """An `App` with the options typed so far: no command has run to fold them in."""
    chain: list[click.Context] = []
    level: click.Context | None = ctx
    while level is not None:
        chain.append(level)
        level = level.parent
    app = App()
    app.silent = True
    for level in reversed(chain):
        given = {name: level.params.get(name) for name in ("workspace", "dataset", "store")}
        app.update(Options(**given))
    return app


def _datasets(app: App) -> Iterator[str]:
    yield from app.workspace().datasets()


def _refs(app: App) -> Iterator[str]:
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            yield from (ref.name for ref in dataset.store.refs())


def _below(app: App, prefix: str) -> Iterator[str]:
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            yield from (ref.name.removeprefix(prefix) for ref in dataset.store.refs(prefix))


def _classes(app: App) -> Iterator[str]:
    from n4a_store.artifacts.manifest_tree import PipelineManifest, StoredArtifact
    from n4a_store.artifacts.subject import all_manifests

    until = time.monotonic() + _PATIENCE_SECONDS
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            store, found = dataset.store, set()
            for pipeline, oid, _ in all_manifests(store):
                held = PipelineManifest.read(store, pipeline, oid).artifacts.entries
                for key, child in held.items():
                    found.add(StoredArtifact.read(store, child.oid, key).blob.class_name)
                if time.monotonic() > until:
                    break
            yield from sorted(found)


def _names(app: App, incomplete: str) -> Iterator[str]:
    from n4a_store.cli.resolve import short_ref

    pipeline, colon, _ = incomplete.partition(":")
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            store = dataset.store
            if colon:
                keys = store.get_tree(store.resolve(f"{pipeline}:artifacts")).entries
                yield from (f"{pipeline}:{key}" for key in keys)
                continue
            yield from (short_ref(ref.name) for ref in store.refs())
            if incomplete.startswith("refs/"):
                yield from (ref.name for ref in store.refs())
            yield from _ids(store, incomplete)


def _ids(store: Store, incomplete: str) -> Iterator[str]:
    fewest = 4  # digits, as for any short id
    if len(incomplete) >= fewest and all(ch in "0123456789abcdef" for ch in incomplete):
        yield from (oid.hex for oid, _ in store.objects_with_prefix(incomplete))
