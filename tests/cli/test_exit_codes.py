"""Each error of the tree has the exit code that the contract with scripts gives it."""

import pytest

from n4a_store import errors
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode, exit_code_for
from n4a_store.cli.program import report

CODES = {
    errors.StoreError: 1,
    errors.NotFoundError: 13,
    errors.ObjectNotFoundError: 13,
    errors.RefNotFoundError: 13,
    errors.ArtifactNotFoundError: 13,
    errors.AmbiguousNameError: 13,
    errors.StoreNotFoundError: 10,
    errors.CorruptionError: 4,
    errors.ConflictError: 14,
    errors.LockedError: 11,
    errors.InvalidInputError: 2,
    errors.InvalidNameError: 2,
    errors.TransactionClosedError: 2,
    errors.UnsupportedFormatError: 15,
    errors.SerializationError: 1,
    errors.UntrustedError: 12,
    errors.BackendError: 1,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_every_error_has_its_code(kind: type[errors.StoreError], code: int) -> None:
    assert exit_code_for(kind("x")) == code


def test_no_error_is_left_out() -> None:
    named = {getattr(errors, name) for name in errors.__all__}
    assert named == set(CODES)


def test_what_is_not_ours() -> None:
    assert exit_code_for(KeyboardInterrupt()) == int(ExitCode.INTERRUPTED) == 130
    assert exit_code_for(BrokenPipeError()) == int(ExitCode.BROKEN_PIPE) == 141
    assert exit_code_for(OSError("disk")) == 1
    assert exit_code_for(RuntimeError("bug")) == 1


def _raised_from(cause: BaseException) -> RuntimeError:
    error = RuntimeError("Error calling __set_name__")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (_raised_from(KeyboardInterrupt()), 130, "error: interrupted\n"),
        (_raised_from(ValueError()), 1, "error: this is a bug in n4a-store: RuntimeError"),
        (MemoryError(), 1, "error: out of memory\nhint: free some"),
        (ImportError("\n\nPLEASE READ THIS\nmore"), 1, "error: a library cannot be loaded: PLEASE"),
        (ModuleNotFoundError("No module named 'x'"), 1, "error: a library cannot be loaded: No m"),
    ],
)
def test_what_is_no_fault_of_the_program_is_called_none(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, App()) == code
    assert capsys.readouterr().err.startswith(said)
