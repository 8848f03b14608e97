"""Which library, in which version, an object belongs to: ``scikit-learn==1.9.1``.

The version is looked up once per top-level package and only for packages that are imported
already. An object of no distribution (``__main__``, a built-in, a loose module) belongs to
Python itself. Where the library is missing, the version that wrote the object is to be installed.
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from n4a_store.artifacts.serializers.main_module import MAIN_MODULES

__all__ = ["how_to_get", "library_of", "qualified_name"]

# Import names that differ from the name of the distribution. Others that differ are found the
# slow way, once.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML", "PIL": "pillow", "cv2": "opencv"}


def qualified_name(cls: type) -> str:
    """The class with its module, without the module for built-in ones."""
    module: str = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def library_of(cls: type) -> str:
    """``distribution==version`` of the library that defines ``cls``."""
    return _version(cls.__module__.partition(".")[0])


def how_to_get(module: str, library: str) -> str:
    """What to do where ``module`` is missing; empty where it is not of the object's ``library``."""
    package = module.partition(".")[0]
    name, written = _distribution(package), library.partition("==")[0].lower()
    if written == name or written.startswith(f"{name}-"):  # xgboost is also called xgboost-cpu
        return f"pip install {library}"
    return ""


def _distribution(package: str) -> str:
    return _DISTRIBUTIONS.get(package, package).lower().replace("_", "-")


@functools.lru_cache(maxsize=256)
def _version(package: str) -> str:
    if package not in sys.builtin_module_names and package not in sys.stdlib_module_names:
        for name in _names(package):
            try:
                return f"{name}=={metadata.version(name)}"
            except metadata.PackageNotFoundError:
                continue
        version = getattr(sys.modules.get(package), "__version__", None)
        if isinstance(version, str):
            return f"{package}=={version}"
    return f"python=={platform.python_version()}"


def _names(package: str) -> Iterator[str]:
    yield _DISTRIBUTIONS.get(package, package)
    if package not in MAIN_MODULES:
        # Reads the metadata of everything installed, hence last, and only when it is asked for.
        yield from metadata.packages_distributions().get(package, [])
