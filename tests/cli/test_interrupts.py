"""Ctrl-C where Python cannot raise it, as in the callbacks of imports, is not lost."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import threading
import weakref
from types import SimpleNamespace

import pytest

from n4a_store.cli.bulk import records
from n4a_store.cli.interrupts import keep_interrupts, raise_kept_interrupt, wait_for_input


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


def send_soon(number: int) -> None:
    """Send a signal to a thread of its own: the main thread's wait is not cut short by it."""
    threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), number)).start()


def test_a_signal_ends_the_wait_for_a_line() -> None:
    """Also one that Python only looks at when the wait is over."""
    master, slave = pty.openpty()
    before = signal.signal(signal.SIGUSR1, lambda *_: os.write(master, b"typed\n"))
    try:
        send_soon(signal.SIGINT)
        late = threading.Timer(5.0, os.write, (master, b"nothing but this ended the wait\n"))
        late.start()
        with pytest.raises(KeyboardInterrupt):
            wait_for_input(slave)  # and not until that line was typed
        late.cancel()
        # Another signal does not: there is nothing to read yet when it comes, and then there is.
        send_soon(signal.SIGUSR1)
        wait_for_input(slave)
        assert os.read(slave, 100) == b"typed\n"
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(master)
        os.close(slave)
    assert signal.set_wakeup_fd(-1) == -1
