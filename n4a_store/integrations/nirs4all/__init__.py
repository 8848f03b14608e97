"""nirs4all on this store: train, predict, stack and export as before, with no file per artifact.

::

    from n4a_store.integrations import nirs4all as n4a
    n4a.install()                      # or: with n4a.installed(): …
    nirs4all.run(pipeline, dataset, engine="legacy", workspace_path="ws")

From then on each artifact of the legacy engine is in the store of its dataset, at
``ws/binaries/<dataset>``. A version of nirs4all that has not been tested is refused, and then
nothing is changed. Nothing else in this package imports nirs4all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from n4a_store.integrations.nirs4all.versions import TESTED, check_version

__all__ = ["TESTED", "hook", "install", "installed", "is_installed", "uninstall"]

_VARIABLE = "N4A_STORE_NIRS4ALL"
_lock = threading.RLock()
_replaced: list[tuple[Any, str, Any]] = []


def _forget_parents_threads() -> None:
    global _lock  # noqa: PLW0603 - one installation, one lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_parents_threads)


def install() -> None:
    """Let nirs4all keep its artifacts in stores, in this process. Twice is once.

    Worker processes of ``n_jobs`` do so by themselves.

    Raises:
        InvalidInputError: nirs4all is not installed.
        UnsupportedFormatError: Its version has not been tested; nothing was changed.
    """
    check_version()
    from n4a_store.integrations.nirs4all.seams import SEAMS

    with _lock:
        if _replaced:
            return
        for seam in SEAMS:
            seam.check()
        for seam in SEAMS:
            was = vars(seam.owner)[seam.name]
            setattr(seam.owner, seam.name, seam.replacement(was))
            _replaced.append((seam.owner, seam.name, was))


def uninstall() -> None:
    """Put nirs4all back as it was. Does nothing when it is."""
    with _lock:
        while _replaced:
            owner, name, was = _replaced.pop()
            setattr(owner, name, was)


def is_installed() -> bool:
    """Whether nirs4all keeps its artifacts here in this process."""
    return bool(_replaced)


@contextmanager
def installed() -> Iterator[None]:
    """Installed for a ``with`` block; what was installed before stays so.

    Raises:
        As :func:`install`.
    """
    before = is_installed()
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()


def hook() -> None:
    """Install when the environment asks for it with ``N4A_STORE_NIRS4ALL=1``.

    One line for a ``sitecustomize.py`` or the top of a program::

        import n4a_store.integrations.nirs4all as n4a; n4a.hook()

    Raises:
        As :func:`install`, when it is asked for.
    """
    if os.environ.get(_VARIABLE) == "1":
        install()
