"""Progress: on a terminal only, wiped at the end, with the time left."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_store.artifacts.bundle import export_bundle, import_bundle
from n4a_store.artifacts.orphans import find_orphans
from n4a_store.artifacts.removal import remove
from n4a_store.artifacts.subject import identify
from n4a_store.artifacts.workspace import Workspace
from n4a_store.cli import progress as module
from n4a_store.cli.context import App, Options
from n4a_store.cli.progress import progress, progress_text
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from tests.cli import terminals
from tests.cli.conftest import Trained


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_the_line_says_share_amounts_and_time_left() -> None:
    assert progress_text("checking", 256, 1024, 10) == "checking   25%  256 B of 1.0 KiB  0:30 left"
    assert progress_text("checking", 1024, 1024, 9) == "checking  100%  1.0 KiB of 1.0 KiB"
    assert progress_text("checking", 0, 1024, 9) == "checking    0%  0 B of 1.0 KiB"
    marked = progress_text("marking", 1500, 6000, 10, counted="objects")
    assert marked == "marking   25%  1 500 of 6 000 objects  0:30 left"


def test_drawn_over_itself_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SECONDS_BETWEEN", 0.0)
    app = App()
    app.out.stderr = Terminal()

    def work() -> None:
        with progress(app, "checking") as report:
            assert report is not None
            report(10, 100)
            report(20, 100)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    drawn = app.out.stderr.getvalue()
    assert drawn.count("\rchecking") == 2
    assert drawn.endswith("\r\x1b[K")


def test_a_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "60")
    app = App()
    app.out.stderr = Terminal()
    with progress(app, "checking " + "ä" * 70 + "\x07") as report:
        assert report is not None
        report(10, 100)
    drawn = app.out.stderr.getvalue().removesuffix("\r\x1b[K")
    assert len(drawn.removeprefix("\r").removesuffix("\x1b[K")) == 59
    assert "\x07" not in drawn


def test_the_time_left_counts_from_where_the_work_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 110.0])  # made, work begins, a quarter is done
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    app = App()
    app.out.stderr = Terminal()
    with progress(app, "pruning") as report:
        assert report is not None
        report(0, 100)
        report(25, 100)
    assert "0:30 left" in app.out.stderr.getvalue()


def test_quick_work_draws_nothing() -> None:
    app = App()
    app.out.stderr = Terminal()
    with progress(app, "checking") as report:
        assert report is not None
        report(10, 100)
    assert app.out.stderr.getvalue() == ""


@pytest.mark.parametrize("options", [Options(quiet=True), Options(json=True), Options()])
def test_silent_off_a_terminal_or_when_told(options: Options) -> None:
    app = App()
    app.update(options)
    app.out.stderr = io.StringIO() if options == Options() else Terminal()
    with progress(app, "checking") as report:
        assert report is None


def test_long_work_reports_up_to_the_whole(trained_own: Trained, tmp_path: Path) -> None:
    """Every long job hands its progress on: growing, and in the end the whole of it."""
    seen: dict[str, list[tuple[int, int]]] = {}

    def into(name: str) -> Callable[[int, int], None]:
        return lambda done, total: seen.setdefault(name, []).append((done, total))

    bundle = tmp_path / "run.n4b"
    with Workspace(trained_own.path).store("corn") as store:
        subject = identify(store, store.resolve_entry(trained_own.runs[0]), trained_own.runs[0])
        export_bundle(
            store, [(trained_own.runs[0], subject)], "corn", bundle, progress=into("export")
        )
        fsck(store, full=True, progress=into("fsck"))
        remove(store, [trained_own.runs[2]], dry_run=False)
        find_orphans(store, progress=into("preview"))
        collect(store, expire_now=True, progress=into("gc"), marking=into("mark"))
        repack(store, RepackMode.ALL, progress=into("repack"))
    with Workspace(tmp_path / "theirs").create("corn") as theirs:
        import_bundle(theirs, bundle, progress=into("import"))
    assert sorted(seen) == ["export", "fsck", "gc", "import", "mark", "preview", "repack"]
    for name, steps in seen.items():
        assert steps == sorted(steps), name
        done, total = steps[-1]
        assert done == total > 0, name
    # Drawn as it goes, not only in the end: nothing, then some of it, then the whole.
    for name in ("mark", "preview"):
        assert seen[name][0][0] == 0
        assert any(0 < done < total for done, total in seen[name])


_WITHOUT_DELAY = (
    "import sys; from n4a_store.cli import progress, main;"
    "progress._FIRST_SECONDS = progress._SECONDS_BETWEEN = 0;"
    "main.main(sys.argv[1:])"
)


@pytest.mark.parametrize(
    "words",
    [
        "artifacts gc",
        "artifacts gc --force",
        "artifacts cleanup",
        "artifacts list-orphaned",
        "artifacts stats --deep",
        "prune",
    ],
)
def test_marking_is_shown_on_a_terminal_and_not_in_a_pipe(words: str, trained_own: Trained) -> None:
    """The real program with nothing changed but its patience."""
    argv = [sys.executable, "-c", _WITHOUT_DELAY, "-w", str(trained_own.path), "-d", "corn"]
    argv += words.split()
    with terminals.Terminal(argv) as terminal:
        assert terminal.end() == 0
    drawn = re.findall(
        rb"\rmarking [a-z ]+ +(\d+)%  (\d+) of (\d+) objects([^\r\n]*)", terminal.said
    )
    assert {int(share) for share, *_ in drawn} >= {0, 100}
    assert any(b" left" in rest for *_, rest in drawn)
    assert b"\r\x1b[K" in terminal.said
    piped = subprocess.run([*argv, "-v"], capture_output=True, check=True, timeout=60)
    assert b"marking" not in piped.stdout + piped.stderr
    assert b"\r" not in piped.stdout + piped.stderr
