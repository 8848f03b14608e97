"""Exit codes, and the one place that maps an error to its code.

The codes are a contract with scripts: a number never changes its meaning.
"""

from __future__ import annotations

from enum import IntEnum

from n4a_store import errors


class ExitCode(IntEnum):
    """What a command's exit status says."""

    OK = 0
    FAILURE = 1  # failure or I/O error
    USAGE = 2  # bad usage, or a malformed name
    PARTIAL = 3  # partly done
    FINDINGS = 4  # corruption found, or differences under --exit-code
    NO_STORE = 10  # no workspace, dataset or store here
    LOCKED = 11
    UNTRUSTED = 12  # untrusted content or a bad signature
    UNKNOWN_NAME = 13  # unknown or ambiguous name
    STALE_REF = 14  # a compare-and-swap lost; try again
    UNSUPPORTED_FORMAT = 15
    INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
    BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of our output left (`| head`)


# Most specific first: the first class an error is an instance of decides.
_BY_ERROR: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (errors.StoreNotFoundError, ExitCode.NO_STORE),
    (errors.NotFoundError, ExitCode.UNKNOWN_NAME),
    (errors.LockedError, ExitCode.LOCKED),
    (errors.ConflictError, ExitCode.STALE_REF),
    (errors.CorruptionError, ExitCode.FINDINGS),
    (errors.InvalidInputError, ExitCode.USAGE),
    (errors.UnsupportedFormatError, ExitCode.UNSUPPORTED_FORMAT),
    (errors.UntrustedError, ExitCode.UNTRUSTED),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (BrokenPipeError, ExitCode.BROKEN_PIPE),
)


def exit_code_for(error: BaseException) -> ExitCode:
    """The exit code that stands for `error`; anything not named above is a plain failure."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILURE
