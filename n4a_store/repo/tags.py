"""Tags: names that people give to results, with their history.

A tag is a ref under `refs/tags/`. Moving one is a compare-and-swap with an entry in the reflog,
so that every earlier value can be listed and, within the undo window, brought back.
"""

from __future__ import annotations

from collections.abc import Callable

from n4a_store.errors import InvalidInputError, RefNotFoundError
from n4a_store.objects.model import TreeEntry
from n4a_store.refs.names import check_ref_name, namesakes
from n4a_store.refs.refs import Ref, ReflogEntry
from n4a_store.repo.revision import expand_ref
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction

__all__ = [
    "TAGS",
    "adopt_name",
    "delete_tag",
    "list_tags",
    "point_tag",
    "roll_back",
    "tag_history",
    "tag_ref",
]

TAGS = "refs/tags/"


def list_tags(store: Store) -> list[Ref]:
    """All tags, sorted by name."""
    return store.refs(TAGS)


def tag_ref(tag: str) -> str:
    """The ref of a tag, which may be called by its ref as well: ``refs/tags/production``.

    Raises:
        InvalidNameError: No tag can be called so.
    """
    return check_ref_name(TAGS + tag.removeprefix(TAGS))


def point_tag(
    store: Store,
    tag: str,
    target: str,
    *,
    move: bool = False,
    check: Callable[[TreeEntry], None] | None = None,
) -> Ref:
    """Point a tag at what `target` names.

    For a result, :func:`n4a_store.artifacts.tags.set_tag` asks first where it came from.

    Args:
        move: Whether the tag may exist already, or take the name of a pipeline or a run.
        check: Is given what `target` stands for, and raises where that is to have no tag.

    Raises:
        InvalidInputError: The tag exists and is not to be moved; or its name is another's.
        NotFoundError: `target` names nothing.
        ConflictError: Somebody else moved the tag meanwhile.
    """
    name = tag_ref(tag)
    tag = name.removeprefix(TAGS)
    now = store.find_ref(name)
    if now is not None and not move:
        raise InvalidInputError(
            f"the tag '{tag}' exists already, at {now.oid.short()}",
            hint="--force moves it; its history keeps where it was",
        )
    for other in namesakes(name):
        if now is None and not move and store.find_ref(other) is not None:
            raise InvalidInputError(
                f"'{tag}' is the name of {other}: from then on it would mean the tag",
                hint="choose another name; --force takes this one",
            )
    with store.transaction(f"tag {tag} -> {target}", action="tag") as txn:
        entry = adopt_name(store, txn, target)
        if check is not None:
            check(entry)
        txn.set_ref(name, entry, expect=None if now is None else now.oid)
    return Ref(name, entry.kind, entry.oid)


def tag_history(store: Store, tag: str) -> list[ReflogEntry]:
    """Where a tag has pointed, newest first; also of a tag that is gone.

    gc forgets moves after the undo window, so that a tag may stand and have none.

    Raises:
        RefNotFoundError: No tag is or was called so.
    """
    name = tag_ref(tag)
    moves = store.reflog(name)
    if not moves and store.find_ref(name) is None:
        raise RefNotFoundError(f"no tag is or was called '{tag}'")
    return moves


def roll_back(store: Store, tag: str, steps: int = 1) -> Ref:
    """Point a tag where it pointed `steps` moves ago; that is a move of its own.

    Raises:
        RefNotFoundError: It has no history that long, or did not exist then.
        ConflictError: Somebody else moved the tag meanwhile.
    """
    name = tag_ref(tag)
    now = store.find_ref(name)
    tag_history(store, tag)
    entry = store.resolve_entry(f"{name}@{{{steps}}}")
    with store.transaction(f"roll {tag} back by {steps}", action="tag") as txn:
        txn.set_ref(name, entry, expect=None if now is None else now.oid)
    return Ref(name, entry.kind, entry.oid)


def delete_tag(store: Store, tag: str) -> Ref:
    """Delete a tag; what it pointed at stays as long as anything else reaches it.

    Raises:
        RefNotFoundError: There is no such tag.
        ConflictError: Somebody else moved it meanwhile.
    """
    ref = store.ref(tag_ref(tag))
    with (
        store.ballast.room_to_delete(),
        store.transaction(f"delete tag {tag}", action="tag") as txn,
    ):
        txn.delete_ref(ref.name, expect=ref.oid)
    return ref


def adopt_name(store: Store, txn: Transaction, name: str) -> TreeEntry:
    """What `name` stands for, allowed in `txn`.

    A name that begins at a ref is adopted by walking from it, which costs nothing; for any
    other the transaction proves the object's closure by reading it.

    Raises:
        NotFoundError: It stands for nothing.
    """
    entry = store.resolve_entry(name)
    base, _, path = name.partition(":")
    full = expand_ref(store, base)
    if full is None:
        return entry
    steps = [part for part in path.split("/") if part]
    for parts in (steps, ["artifacts", *steps]):
        try:
            found = txn.adopt_path(full, *parts)
        except KeyError:  # every NotFoundError: the path is of the other form
            continue
        if found == entry:
            return found
    return entry
