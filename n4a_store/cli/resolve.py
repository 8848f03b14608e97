"""From what a person typed to an object of a store, with "did you mean" when it leads nowhere.

In order: what the store itself resolves (full id, exact ref, `refs/{tags,pipelines,runs}/<name>`,
short id, `ref@{…}`, `ref:path`), then an artifact id `<pipeline>:<key>`, which is a path inside
the pipeline's manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from n4a_store import errors
from n4a_store.cli.suggest import closest

if TYPE_CHECKING:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.objects.oid import ObjectId
    from n4a_store.repo.store import Store

_ARTIFACTS = "artifacts"
_MOST = 8  # names in a hint
PREFIXES = ("refs/tags/", "refs/pipelines/", "refs/runs/")


def resolve(store: Store, name: str) -> ObjectId:
    """The id of the object that `name` names.

    Raises:
        NotFoundError: Nothing has this name; the hint lists near ones.
        AmbiguousNameError: A short id fits several objects; the hint lists them.
        InvalidNameError: It cannot be a name at all.
    """
    return resolve_entry(store, name).oid


def resolve_entry(store: Store, name: str) -> TreeEntry:
    """The kind and id of the object that `name` names; raises as `resolve` does."""
    try:
        return store.resolve_entry(name)
    except errors.AmbiguousNameError as error:
        if error.candidates:
            error.hint = f"it could be {', '.join(error.candidates[:_MOST])}; give more digits"
        raise
    except errors.NotFoundError as error:
        entry = _artifact(store, name)
        if entry is not None:
            return entry
        error.hint = hint_for(store, name) or error.hint
        raise


def hint_for(store: Store, name: str) -> str | None:
    """Names of `store` near `name`, as a hint."""
    base = name.split("@{", maxsplit=1)[0]
    head, colon, key = base.partition(":")
    if colon:
        keys = _keys(store, head)
        if keys:
            meant = closest(key, keys, show=lambda found: f"'{head}:{found}'")
            return f"did you mean {meant}?" if meant else f"'{head}' holds: {_few(keys)}"
    meant = closest(head, [ref.name for ref in store.refs()], show=lambda f: f"'{short_ref(f)}'")
    if meant:
        return f"did you mean {meant}?"
    return "'n4a-store show-ref' lists the refs"


def short_ref(name: str) -> str:
    """A ref's name as people type it: without `refs/tags/` and its like."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _artifact(store: Store, name: str) -> TreeEntry | None:
    pipeline, colon, key = name.partition(":")
    if not colon or not key:
        return None
    try:
        return store.resolve_entry(f"{pipeline}:{_ARTIFACTS}/{key}")
    except (errors.NotFoundError, errors.InvalidNameError):
        return None


def _keys(store: Store, pipeline: str) -> list[str]:
    try:
        return list(store.get_tree(store.resolve(f"{pipeline}:{_ARTIFACTS}")))
    except errors.StoreError:
        return []


def _few(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (", …" if len(names) > _MOST else "")
