"""What a file of a format ends in, for records, which are read by commands that load nothing.

Nearly every artifact is a pickle or an array: these two are answered without importing numpy.
"""

from __future__ import annotations

__all__ = ["EXTENSIONS", "extension_of"]

EXTENSIONS = {"pickle5": "pkl", "npy": "npy"}


def extension_of(name: str) -> str:
    """What a file of format ``name`` ends in; "bin" when no serializer here reads it."""
    known = EXTENSIONS.get(name)
    if known is not None:
        return known
    from n4a_store.artifacts.serializers.table import default_table

    serializer = default_table().known(name)
    return "bin" if serializer is None else serializer.extension
