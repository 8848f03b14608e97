"""Ctrl-C where Python cannot raise it, as in the callbacks of imports, is not lost."""

from __future__ import annotations

import io
import sys
import weakref
from types import SimpleNamespace

import pytest

from n4a_store.cli.bulk import records
from n4a_store.cli.interrupts import keep_interrupts, raise_kept_interrupt


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    keep_interrupts()


def raised_where_nobody_catches(error: type[BaseException]) -> None:
    def callback(_: object) -> None:
        raise error

    class Held:
        pass

    held = Held()
    reference = weakref.ref(held, callback)
    del held
    assert reference() is None


@pytest.mark.parametrize(("nul", "typed"), [(False, b"a\nb\n"), (True, b"a\0b\0")])
def test_it_is_raised_before_the_next_wait(
    nul: bool,
    typed: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(typed)))
    raised_where_nobody_catches(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        list(records(nul=nul))
    assert capsys.readouterr().err == ""
    assert list(records(nul=nul)) == ["a", "b"]  # once, and nothing had been read


def test_other_errors_are_reported_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    raised_where_nobody_catches(ZeroDivisionError)
    raise_kept_interrupt()
    assert "ZeroDivisionError" in capsys.readouterr().err
