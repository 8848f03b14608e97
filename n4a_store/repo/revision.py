"""What a name stands for.

In this order: a full object id; the exact name of a ref; ``refs/`` and the name; ``refs/tags/``,
``refs/pipelines/`` or ``refs/runs/`` and the name; an object id cut short to at least 4 hex
digits. Then suffixes:

``name@{n}``
    what the ref held n changes ago (0: now)
``name@{2026-11-23}``, ``name@{2026-11-23T14:00}``
    what the ref held at that time; times without a zone are UTC
``name:path/in/tree``
    the object at that path; a run steps into its pipelines
``pipeline:key``
    an artifact: when there is no such path, ``artifacts/key`` is tried, so that an artifact id
    such as ``0001_pls:3:all`` is a name like any other
"""

from __future__ import annotations

import difflib
import logging
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from n4a_store.errors import (
    AmbiguousNameError,
    InvalidInputError,
    InvalidNameError,
    NotFoundError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.refs.names import NAMESPACES, REF_ROOT, check_ref_name, namesakes

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["expand_ref", "object_called", "resolve", "split_name"]

log = logging.getLogger(__name__)

MIN_SHORT = 4
_HASH_PREFIX = "blake3:"
_FULL = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{4,63}")
# The colon that begins a path is the first one outside of @{…}, where times have colons.
_SPLIT = re.compile(r"((?:@\{[^}]*\}|[^:])*)(:?)(.*)", re.DOTALL)
_AT = re.compile(r"(?P<base>.+)@\{(?P<when>[^{}]*)\}")
_STEPS = re.compile(r"[0-9]{1,18}")
_SHOWN_CANDIDATES = 10


def resolve(store: Store, name: str) -> TreeEntry:
    """The object that ``name`` stands for.

    Raises:
        InvalidInputError: ``name`` could never stand for anything.
        NotFoundError: It stands for nothing; the hint suggests names that are like it.
        AmbiguousNameError: It is a short id that fits several objects.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidInputError(
            f"not a name: {name!r:.80}", hint="'n4a-store show-ref' lists the refs"
        )
    # Content hashes are shown with their algorithm, and should be good for pasting.
    name = name.removeprefix(_HASH_PREFIX)
    base, colon, path = _SPLIT.fullmatch(name).groups()  # type: ignore[union-attr]
    with store.session():
        entry = _resolve_base(store, base)
        return _walk(store, entry, path, name) if colon else entry


def split_name(name: str) -> tuple[str, str]:
    """What a name begins with, and its path, which is empty where there is none."""
    base, _, path = _SPLIT.fullmatch(name).groups()  # type: ignore[union-attr]
    return base, path


def _resolve_base(store: Store, base: str) -> TreeEntry:
    at = _AT.fullmatch(base)
    if at is not None:
        return _resolve_at(store, at["base"], at["when"])
    if _FULL.fullmatch(base):
        oid = ObjectId.from_hex(base)
        return TreeEntry(store.kind(oid), oid)
    full = expand_ref(store, base)
    if full is not None:
        if full not in (base, f"{REF_ROOT}/{base}"):
            for other in namesakes(full):
                if store.find_ref(other) is not None:
                    log.warning("%r is ambiguous: %s is meant, and %s is there", base, full, other)
        return store.ref(full).entry
    if _SHORT.fullmatch(base):
        return _resolve_short(store, base)
    raise RefNotFoundError(f"{base!r} names no ref or object", hint=_suggest(store, base))


def expand_ref(store: Store, name: str) -> str | None:
    """The full name of the ref that ``name`` is short for, or None."""
    for candidate in _candidates(name):
        if store.find_ref(candidate) is not None:
            return candidate
    return None


def _candidates(name: str) -> Iterator[str]:
    """The refs that ``name`` may be short for, the whole name first, as git has it."""
    for candidate in (name, f"{REF_ROOT}/{name}", *(space + name for space in NAMESPACES)):
        try:
            yield check_ref_name(candidate)
        except InvalidNameError:
            continue


def object_called(store: Store, ref: str) -> str | None:
    """The object that the short name of ``ref`` means as long as there is no such ref, or None.

    Refs go before the first digits of an id.
    """
    space = next((space for space in NAMESPACES if ref.startswith(space)), "")
    digits = ref.removeprefix(space)
    found = store.objects_with_prefix(digits) if _SHORT.fullmatch(digits) else []
    return f"object {found[0][0].short(16)}" if len(found) == 1 else None


def _resolve_short(store: Store, digits: str) -> TreeEntry:
    found = store.objects_with_prefix(digits)
    if not found:
        raise ObjectNotFoundError(
            f"{digits!r} names no ref or object", hint=_suggest(store, digits)
        )
    if len(found) > 1:
        lines = [f"{oid.short(16)} {kind.label}" for oid, kind in found]
        shown = ", ".join(lines[:_SHOWN_CANDIDATES])
        more = len(lines) - _SHOWN_CANDIDATES
        raise AmbiguousNameError(
            f"{digits!r} fits {len(found)} objects: {shown}" + (f" and {more} more" * (more > 0)),
            candidates=[oid.hex for oid, _ in found],
            hint="give more digits",
        )
    oid, kind = found[0]
    return TreeEntry(kind, oid)


def _resolve_at(store: Store, base: str, when: str) -> TreeEntry:
    full = expand_ref(store, base) or _deleted_ref(store, base)
    if full is None:
        raise RefNotFoundError(f"{base!r} names no ref", hint=_suggest(store, base))
    log = store.reflog(full)
    # The first move of a ref comes from nothing: where none is known to, gc has dropped some.
    forgotten = not log or log[-1].old is not None
    if _STEPS.fullmatch(when):
        steps = int(when)
        # Entry n holds what came n changes ago; the oldest entry's old side is one step further.
        known = [change.new for change in log]
        values = [*known, log[-1].old] if log else [_standing(store, full)]
        if steps >= len(values):
            raise RefNotFoundError(
                f"the reflog of {full} goes back to @{{{len(values) - 1}}}, not @{{{steps}}}"
                + ("; gc has forgotten what was before" if forgotten else "")
            )
        entry = values[steps]
    else:
        now = datetime.now(UTC)
        moment = _parse_moment(when)
        past = [change for change in log if change.at <= moment]
        if past:
            entry = past[0].new
        elif not log and moment >= now:
            entry = _standing(store, full)
        elif forgotten:  # it may have moved in between, and another model would be given
            since = f"since {log[-1].at:%Y-%m-%d %H:%M} (UTC)" if log else "no more"
            raise RefNotFoundError(
                f"where {full} pointed at @{{{when}}} is forgotten: its moves are known {since}",
                hint=f"{base}@{{{len(log)}}} is the earliest that is known",
            )
        else:
            entry = None
    if entry is None:
        raise RefNotFoundError(f"{full} did not exist at @{{{when}}}")
    return entry


def _standing(store: Store, full: str) -> TreeEntry | None:
    """What a ref holds whose moves are all forgotten."""
    ref = store.find_ref(full)
    return None if ref is None else TreeEntry(ref.kind, ref.oid)


def _deleted_ref(store: Store, base: str) -> str | None:
    """The full name of a ref that is gone but that the reflog remembers."""
    return next((name for name in _candidates(base) if store.reflog(name)), None)


def _parse_moment(text: str) -> datetime:
    if text in ("yesterday", "now"):
        return datetime.now(UTC) - timedelta(days=text == "yesterday")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(
            f"{text!r} is neither a number nor a date", hint="such as @{1} or @{2026-11-23T14:00}"
        ) from None
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        moment += timedelta(days=1, microseconds=-1)  # a day means its end
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _walk(store: Store, entry: TreeEntry, path: str, name: str) -> TreeEntry:
    found = _step(store, entry, path)
    if found is None and path:
        artifacts = _step(store, entry, "artifacts")
        if artifacts is not None:
            found = _step(store, artifacts, path)
    if found is None:
        raise ObjectNotFoundError(f"there is nothing at {name!r}", hint=_inside(store, entry))
    return found


def _step(store: Store, entry: TreeEntry, path: str) -> TreeEntry | None:
    """Walk ``path`` down from ``entry``; an empty path is the entry itself."""
    for part in (part for part in unicodedata.normalize("NFC", path).split("/") if part):
        if entry.kind is Kind.RUN:
            entry = TreeEntry(Kind.TREE, store.get_run(entry.oid).pipelines)
        if entry.kind is not Kind.TREE:
            return None
        child = store.get_entry(entry.oid, part)
        if child is None:
            return None
        entry = child
    return entry


def _inside(store: Store, entry: TreeEntry) -> str | None:
    try:
        if entry.kind is Kind.RUN:
            entry = TreeEntry(Kind.TREE, store.get_run(entry.oid).pipelines)
        names = list(store.get_tree(entry.oid)) if entry.kind is Kind.TREE else []
    except NotFoundError:
        return None
    return f"it holds: {', '.join(names[:_SHOWN_CANDIDATES])}" if names else None


def _suggest(store: Store, name: str) -> str:
    names: dict[str, str] = {}
    for ref in store.refs():
        short = ref.name.split("/", 2)[2]
        names.setdefault(short, short)
        names.setdefault(ref.name, ref.name)
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "'n4a-store show-ref' lists the refs"
