"""What was defined in the script itself, which no other process can import.

Python calls the module that a program was started with ``__main__``. A process that
:mod:`multiprocessing` starts afresh (spawn, forkserver) runs the same file again and calls it
``__mp_main__``. Under neither name does another process find what was defined there, so a pickle
may not name it: it goes by value, with :mod:`cloudpickle`, which knows the first name by itself
and has to be told of the second.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MAIN_MODULES", "mains_by_value", "names_main"]

MAIN_MODULES = frozenset({"__main__", "__mp_main__"})
_WORKERS = "__mp_main__"
_COMMON = b"_main__"  # one search for both, of all the bytes that are pickled
_NAMES = tuple(name.encode() for name in sorted(MAIN_MODULES))
_alone = threading.RLock()


def names_main(pickled: bytes) -> bool:
    """Whether a pickle may name something of the script by reference."""
    return _COMMON in pickled and any(name in pickled for name in _NAMES)


@contextmanager
def mains_by_value() -> Iterator[None]:
    """A block in which cloudpickle takes by value what is of the script, in a worker too."""
    import cloudpickle

    script = sys.modules.get(_WORKERS)
    # Elsewhere than in a worker it is absent, or the same module as __main__.
    if script is None or script.__name__ != _WORKERS:
        yield
        return
    with _alone:  # what one thread registers, no other may take back meanwhile
        known = _WORKERS in cloudpickle.list_registry_pickle_by_value()
        if not known:
            cloudpickle.register_pickle_by_value(script)
        try:
            yield
        finally:
            if not known:
                cloudpickle.unregister_pickle_by_value(script)
