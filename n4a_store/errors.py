"""Every error the store raises on purpose, in one tree.

The branches are cut by what a handler would do, not by where the error arose:

=========================  ====================================================
not found                  ask again with another name
corruption                 stop, run ``fsck``, restore
conflict                   retry: somebody else moved first
invalid input              mend the call
unsupported format         upgrade the program
serialization              mend the object
untrusted                  decide whether to trust the source
backend                    look at the disk
=========================  ====================================================

Each error may carry a ``hint``: one sentence that says what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AmbiguousNameError",
    "ArtifactNotFoundError",
    "BackendError",
    "ConflictError",
    "CorruptionError",
    "InvalidInputError",
    "InvalidNameError",
    "LockedError",
    "NotFoundError",
    "ObjectNotFoundError",
    "RefNotFoundError",
    "SerializationError",
    "StoreError",
    "StoreNotFoundError",
    "TransactionClosedError",
    "UnsupportedFormatError",
    "UntrustedError",
]


class StoreError(Exception):
    """The base of all errors of this library.

    Args:
        message: What happened, naming the object, ref or file.
        hint: What to do next, when there is something to do.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # a traceback shows it; the message stays as it is

    def __str__(self) -> str:
        # KeyError would show the repr of its argument: quotes and escapes.
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Workers send errors to their parent: keyword-only arguments must survive a pickle.
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[StoreError], state: dict[str, object]) -> StoreError:
    error = cls.__new__(cls, str(state["message"]))
    Exception.__init__(error, str(state["message"]))
    error.__dict__.update(state)
    return error


class NotFoundError(StoreError, KeyError):
    """A name or id leads nowhere."""


class ObjectNotFoundError(NotFoundError):
    """No object with this id is in the store."""


class RefNotFoundError(NotFoundError):
    """No ref has this name."""


class ArtifactNotFoundError(NotFoundError):
    """No artifact has this id."""


class StoreNotFoundError(NotFoundError):
    """There is no workspace, dataset or store at this place."""


class AmbiguousNameError(NotFoundError):
    """A short name fits several things; ``candidates`` lists them."""

    def __init__(
        self, message: str, *, candidates: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.candidates = tuple(candidates)


class CorruptionError(StoreError):
    """Stored bytes are not what was written. Nothing of them has been deserialised."""


class ConflictError(StoreError):
    """Somebody else moved first; a new attempt may succeed."""


class RefMovedError(ConflictError):
    """A ref does not hold what a change of it expected; nothing else is the matter."""


class LockedError(ConflictError):
    """Another process holds the lock that this operation needs."""


class InvalidInputError(StoreError, ValueError):
    """The caller passed something that can never work."""


class InvalidNameError(InvalidInputError):
    """A name breaks the rules for names."""


class TransactionClosedError(InvalidInputError):
    """The transaction or run has already ended."""


class UnsupportedFormatError(StoreError):
    """The data is of a format or uses a feature that this version does not know."""


class SerializationError(StoreError):
    """An object cannot be turned into bytes, or bytes not into an object."""


class UntrustedError(StoreError):
    """Loading this could do harm, and nobody has declared its source trusted."""


class BackendError(StoreError):
    """The file system or SQLite refused: full, read-only, an I/O error."""
