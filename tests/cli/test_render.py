"""Data to stdout, the rest to stderr, nothing raw, and tables that give way."""

import io
import json
from dataclasses import dataclass

import pytest

from n4a_store.cli.render import Column, Literal, Output, Span, plain
from n4a_store.objects.oid import Kind, ObjectId


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Output:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    output = Output()
    output.stdout, output.stderr = Terminal(), Terminal()
    return output


def text(stream: object) -> str:
    assert isinstance(stream, Terminal)
    return stream.getvalue()


def test_every_part_is_made_safe_and_only_our_style_is_raw(out: Output) -> None:
    out.line("a\x1b[2J", Span("b\u202e", "red"))
    assert text(out.stdout) == "a\\x1b[2J\x1b[31mb\\u202e\x1b[0m\n"


def test_no_color_is_obeyed_and_the_option_is_stronger(
    out: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out.line(Span("plain", "red"))
    forced = Output(color="always")
    forced.stdout = Terminal()
    forced.line(Span("red", "red"))
    assert text(out.stdout) == "plain\n"
    assert text(forced.stdout) == "\x1b[31mred\x1b[0m\n"


def test_quiet_drops_narration_but_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Output(quiet=True, color="never")
    quiet.stdout, quiet.stderr = Terminal(), Terminal()
    quiet.note("narration")
    quiet.warning("careful", "mend it")
    quiet.error("broken", "fix it")
    assert text(quiet.stderr) == ("warning: careful\nhint: mend it\nerror: broken\nhint: fix it\n")


def test_a_table_gives_way_in_its_flexible_columns_only(out: Output) -> None:
    columns = [Column("ID"), Column("MESSAGE", flexible=True), Column("SIZE", right=True)]
    out.table(columns, [["12345678", "m" * 100, "1.0 MiB"], ["87654321", "short", "12 B"]])
    lines = text(out.stdout).replace("\x1b[2m", "").replace("\x1b[0m", "").splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].startswith("12345678  mmm")
    assert lines[1].endswith("…  1.0 MiB")
    assert lines[2].endswith("     12 B")


def test_plumbing_fields_are_safe_and_templates_are_literal(out: Output) -> None:
    out.fields("a\tb", Literal("\t"), "c", separator="")
    assert text(out.stdout) == "a\\tb\tc\n"


@dataclass(frozen=True, slots=True)
class Report:
    oid: ObjectId
    kind: Kind
    worst: float
    data: bytes
    names: frozenset[str]


def test_json_has_an_envelope_and_no_raw_character(out: Output) -> None:
    report = Report(
        ObjectId(b"\1" * 32), Kind.TREE, float("inf"), b"\xff", frozenset({"b", "a\u202e"})
    )
    out.json("artifacts stats", {"report": report})
    assert text(out.stdout).isascii()
    assert json.loads(text(out.stdout)) == {
        "schema": 1,
        "command": "artifacts stats",
        "report": {
            "oid": "01" * 32,
            "kind": "tree",
            "worst": "inf",
            "data": {"base64": "/w=="},
            "names": ["a\u202e", "b"],
        },
    }


def test_plain_numbers_stay_numbers() -> None:
    assert plain({"a": 1, "b": [1.5, None, True]}) == {"a": 1, "b": [1.5, None, True]}
