"""From what a person typed to an object of a store; the store resolves, this explains.

A name that leads nowhere gets a hint with the names near it; one that could never lead anywhere
(a malformed name or artifact id) is told apart from one that is merely unknown, because scripts
treat the two differently (exit 2 and 13).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from n4a_store import errors
from n4a_store.cli.suggest import closest
from n4a_store.refs.names import NAMESPACES

if TYPE_CHECKING:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.objects.oid import ObjectId
    from n4a_store.repo.store import Store

_ARTIFACTS = "artifacts"  # the entry that tells a pipeline's manifest from other trees
_MOST = 8  # names in a hint


def resolve(store: Store, name: str) -> ObjectId:
    """The id of the object that `name` names.

    Raises:
        NotFoundError: Nothing has this name; the hint lists near ones.
        AmbiguousNameError: A short id fits several objects; the hint lists them.
        InvalidInputError: It cannot be a name at all.
    """
    return resolve_entry(store, name).oid


def resolve_entry(store: Store, name: str) -> TreeEntry:
    """The kind and id of the object that `name` names; raises as `resolve` does."""
    try:
        return store.resolve_entry(name)
    except errors.AmbiguousNameError:
        raise
    except errors.NotFoundError as error:
        _check_well_formed(store, name)
        error.hint = hint_for(store, name) or error.hint
        raise


def _check_well_formed(store: Store, name: str) -> None:
    """Raise InvalidInputError for a name that nothing could ever have."""
    from n4a_store.refs.names import check_ref_name

    base, colon, path = name.partition(":")
    head = base.split("@{", maxsplit=1)[0]
    if not _is_hex(head):  # a full id that is not there is unknown, not malformed
        check_ref_name(head if head.startswith("refs/") else f"refs/tags/{head}")
    if colon and "/" not in path and _is_pipeline(store, head):
        from n4a_store.artifacts.execution_path import parse_artifact_id

        parse_artifact_id(f"{head.rpartition('/')[2]}:{path}")


def _is_hex(text: str) -> bool:
    return bool(text) and all(ch in "0123456789abcdef" for ch in text)


def _is_pipeline(store: Store, name: str) -> bool:
    full = name if name.startswith("refs/") else f"refs/pipelines/{name}"
    ref = store.find_ref(full)
    return ref is not None and store.get_entry(ref.oid, _ARTIFACTS) is not None


def hint_for(store: Store, name: str) -> str | None:
    """Names of `store` near `name`, as a hint; None where the error's own says more."""
    base, colon, key = name.partition(":")
    if colon:
        keys = _keys(store, base)
        if not keys:
            return _near_refs(store, base)
        meant = closest(key, keys, show=lambda found: f"'{base}:{found}'")
        more = ", …" if len(keys) > _MOST else ""
        listed = f"'{base}' holds: {', '.join(keys[:_MOST])}{more}"
        return f"did you mean {meant}?" if meant else listed
    if _is_hex(base):
        return None
    ref, moved, _ = base.partition("@{")
    if moved and (ref.startswith("refs/") or _is_ref(store, ref)):
        return f"'n4a-store reflog {ref}' lists its moves"
    return _near_refs(store, ref)


def _is_ref(store: Store, name: str) -> bool:
    """Whether `name` is a ref's, in full or in short."""
    from n4a_store.repo.revision import expand_ref

    return expand_ref(store, name) is not None


@contextmanager
def hinted(store: Store, name: str, *, tag: bool = False) -> Iterator[None]:
    """Names near `name` as the hint of a NotFoundError that comes out of the block.

    Args:
        store: Where to look for them.
        name: What was asked for.
        tag: Whether only a tag can have been meant.
    """
    try:
        yield
    except errors.AmbiguousNameError:
        raise
    except errors.NotFoundError as error:
        error.hint = (_near_tags if tag else hint_for)(store, name) or error.hint
        raise


@contextmanager
def advised(hint: str) -> Iterator[None]:
    """`hint` for an error of the block that has none of its own."""
    try:
        yield
    except errors.StoreError as error:
        error.hint = error.hint or hint
        raise


def short_ref(name: str) -> str:
    """A ref's name as people type it: without `refs/tags/` and its like."""
    for prefix in NAMESPACES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _near_refs(store: Store, name: str) -> str | None:
    if removed := _removed(store, name):
        return removed
    names = [ref.name for ref in store.refs()]
    if not names:
        return "there are no refs yet: training a pipeline, or 'n4a-store update-ref', makes them"
    meant = closest(name, names, show=lambda found: f"'{short_ref(found)}'")
    return f"did you mean {meant}?" if meant else "'n4a-store show-ref' lists the refs"


def _removed(store: Store, name: str) -> str | None:
    """How to get a ref back that was called so and is gone, as long as the reflog remembers."""
    for full in (name,) if name.startswith("refs/") else tuple(n + name for n in NAMESPACES):
        try:
            moves = store.reflog(full)
        except errors.InvalidNameError:
            continue
        if moves and moves[0].new is None:
            return f"it was removed: 'n4a-store artifacts undo --op {moves[0].op}' brings it back"
    return None


def _near_tags(store: Store, name: str) -> str:
    if removed := _removed(store, NAMESPACES[0] + name):
        return removed
    tags = [ref.name for ref in store.refs(NAMESPACES[0])]
    if not tags:
        return "there are no tags yet: 'n4a-store artifacts tag NAME TARGET' sets one"
    if NAMESPACES[0] + name in tags:  # it is its history that is too short
        return f"'n4a-store artifacts tag --history {name}' lists its moves"
    meant = closest(name, tags, show=lambda found: f"'{short_ref(found)}'")
    return f"did you mean {meant}?" if meant else "'n4a-store artifacts tag' lists the tags"


def _keys(store: Store, pipeline: str) -> list[str]:
    try:
        return list(store.get_tree(store.resolve(f"{pipeline}:{_ARTIFACTS}")))
    except errors.StoreError:
        return []
