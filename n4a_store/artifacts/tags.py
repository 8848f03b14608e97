"""Tags on results: a tag vouches for what it names."""

from __future__ import annotations

from functools import partial

from n4a_store.artifacts.vouching import refuse_doubtful
from n4a_store.refs.refs import Ref
from n4a_store.repo.store import Store
from n4a_store.repo.tags import point_tag

__all__ = ["set_tag"]


def set_tag(store: Store, tag: str, target: str, *, move: bool = False) -> Ref:
    """Give a run, a pipeline, an artifact or any other object a name that keeps it whole.

    Args:
        tag: Such as ``production``.
        target: Whatever names the result: an id, a short one, another tag, ``production@{1}``.
        move: Whether the tag may exist already, or take the name of a pipeline or a run.

    Raises:
        InvalidInputError: The tag exists and is not to be moved; or its name is another's.
        NotFoundError: `target` names nothing.
        UntrustedError: Nothing tells where it came from, and its tag would make it trusted.
        ConflictError: Somebody else moved the tag meanwhile.
    """
    check = partial(refuse_doubtful, store, target)
    return point_tag(store, tag, target, move=move, check=check)
