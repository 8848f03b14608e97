"""Each error of the tree has the exit code that the contract with scripts gives it."""

import pytest

from n4a_store import errors
from n4a_store.cli.exit_codes import ExitCode, exit_code_for

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
