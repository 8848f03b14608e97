"""Did you mean: the known names nearest to one that was mistyped."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Up to `limit` of `known` that look like `name`, best first.

    The last component counts as well as the whole name, so that `prodution` finds
    `refs/tags/production`.
    """
    from difflib import get_close_matches

    by_form: dict[str, str] = {}
    for full in known:
        by_form.setdefault(full.lower(), full)
        by_form.setdefault(full.rpartition("/")[2].lower(), full)
    typed = name.lower()
    # Swapped letters are the commonest slip, and half of what a short name has.
    swapped = [form for form in by_form if form != typed and sorted(form) == sorted(typed)]
    close = [*swapped, *get_close_matches(typed, by_form, n=limit * 2, cutoff=0.66)]
    return list(dict.fromkeys(by_form[form] for form in close))[:limit]


def closest(
    name: str, known: Iterable[str], *, show: Callable[[str], str] = lambda found: f"'{found}'"
) -> str | None:
    """The nearest names as `'a', 'b' or 'c'`, or None when nothing is near."""
    found = [show(candidate) for candidate in nearest(name, known)]
    if not found:
        return None
    head, last = found[:-1], found[-1]
    return f"{', '.join(head)} or {last}" if head else last
