"""The environment of a run, and the clock and the chance that name it.

Everything that differs between two executions of the same training comes from here, and goes
into run objects and manifest attributes only.
"""

from __future__ import annotations

import functools
import getpass
import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib import metadata

from n4a_store import __version__
from n4a_store.settings import Settings

__all__ = ["PRODUCER", "environment", "new_run_id", "now"]

PRODUCER = f"n4a_store=={__version__}"
_LIBRARIES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "pandas": "pandas",
    "torch": "torch",
    "keras": "keras",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "nirs4all": "nirs4all",
}


def now() -> str:
    """The time, ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_run_id() -> str:
    """A name for a run: the day and six random hex digits."""
    return f"{datetime.now(UTC):%Y%m%d}_{os.urandom(3).hex()}"


@functools.cache
def _version(distribution: str) -> str | None:
    # Reading metadata takes milliseconds, and nothing is installed twice in one process.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def environment(settings: Settings) -> dict[str, str]:
    """Python, platform and the versions of the libraries that are imported.

    Host and user only when ``identify_host`` is set.
    """
    facts = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "n4a_store": __version__,
    }
    for module, distribution in _LIBRARIES.items():
        if module in sys.modules:
            version = _version(distribution)
            if version is not None:
                facts[distribution] = version
    if settings.identify_host:
        facts["host"] = socket.gethostname()
        try:
            facts["user"] = getpass.getuser()
        except (KeyError, OSError):  # no such user in this container
            facts["user"] = str(os.getuid())
    return dict(sorted(facts.items()))  # as they are stored
