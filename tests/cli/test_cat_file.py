"""cat-file."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, SmallStore


def test_kind_size_and_content(executable: Cli, small: SmallStore) -> None:
    at = ("--store", small.path, "cat-file")
    assert executable(*at, "-t", "production").ok().out == "tree\n"
    assert executable(*at, "-s", small.greeting).ok().out == "6\n"
    assert executable(*at, "-p", small.binary[:12]).ok().stdout == bytes(range(256)) * 3


@pytest.mark.parametrize("both", [("-t", "-s"), ("-p", "-e"), ("-p", "--batch")])
def test_an_object_is_shown_in_one_way_at_a_time(
    cli: Cli, small: SmallStore, both: tuple[str, str]
) -> None:
    cli("cat-file", *both, small.greeting, "--store", small.path).failed(
        2, "one way at a time", "choose one of"
    )


def test_trees_and_runs_are_text(cli: Cli, small: SmallStore) -> None:
    tree = cli("cat-file", "-p", "0001_pls", "--store", small.path).ok()
    assert tree.lines == [f"blob {small.binary}\tbinary", f"blob {small.greeting}\tgreeting"]
    run = cli("cat-file", "-p", "20261122_a1b2c3", "--store", small.path).ok()
    assert run.lines == [
        f"pipelines {small.pipelines}",
        "dataset corn",
        "created_at 2026-11-22T08:00:00+00:00",
        "status complete",
        "environment python=3.11.7",
        "",
        "the first",
        "of two",
    ]
    assert (
        f"parent {small.first}"
        in cli("cat-file", "-p", "20261123_d4e5f6", "--store", small.path).lines
    )


def test_existence_is_the_exit_code(cli: Cli, small: SmallStore) -> None:
    known = cli("cat-file", "-e", small.greeting, "--store", small.path)
    gone = cli("cat-file", "-e", "0" * 64, "--store", small.path)
    assert (known.code, known.out, known.err) == (0, "", "")
    assert (gone.code, gone.out, gone.err) == (13, "", "")


def test_batch_answers_every_name_in_order(executable: Cli, small: SmallStore) -> None:
    names = f"{small.greeting}\nnowhere\n{small.greeting[:5]}\na b\n"
    result = executable("--store", small.path, "cat-file", "--batch", stdin=names).ok()
    found = f"{small.greeting} blob 6\nhello\n\n"
    assert result.out == f"{found}nowhere missing\n{found}a b missing\n"


def test_batch_check_takes_nul_and_all_objects(cli: Cli, small: SmallStore) -> None:
    one = cli("cat-file", "--batch-check", "-z", "--store", small.path, stdin="production\0")
    assert one.ok().out.startswith(f"{small.pipeline} tree ")
    everything = cli("cat-file", "--batch-check", "--batch-all-objects", "--store", small.path)
    ids = [line.split()[0] for line in everything.ok().lines]
    assert ids == sorted(ids)
    assert len(ids) == 6


def test_json(cli: Cli, small: SmallStore) -> None:
    def content(name: str) -> object:
        return cli("cat-file", "-p", name, "--json", "--store", small.path).ok().json["content"]

    assert content(small.greeting) == {"text": "hello\n"}
    assert list(content(small.binary)) == ["base64"]  # type: ignore[call-overload]
    assert content("0001_pls:greeting") == {"text": "hello\n"}
    tree = cli("cat-file", "-t", "production", "--json", "--store", small.path).ok().json
    assert (tree["kind"], tree["oid"]) == ("tree", small.pipeline)


def test_a_batch_in_json_is_one_document(cli: Cli, small: SmallStore) -> None:
    names = "production\nnowhere\n\n"
    said = cli("--json", "--store", small.path, "cat-file", "--batch-check", stdin=names).ok().json
    found, *lost = said["objects"]
    one = cli("--json", "--store", small.path, "cat-file", "-p", "production").ok().json
    assert (found["name"], found["status"]) == ("production", "found")
    assert {key: found[key] for key in ("oid", "kind", "size")}.items() <= one.items()
    assert lost == [{"name": name, "status": "missing"} for name in ("nowhere", "")]
    whole = cli("--json", "--store", small.path, "cat-file", "--batch", stdin=names).ok().json
    assert whole["objects"][0]["content"] == one["content"]


def test_an_empty_store(cli: Cli, empty: Path) -> None:
    result = cli("cat-file", "--batch-check", "--batch-all-objects", "--store", empty).ok()
    assert result.out == ""


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["-t", "prodution"], 13, "did you mean 'production'?"),
        (["-t", "0" * 64], 13, "no object 000000000000"),
        (["-t", "a b"], 2, "white space"),
        (["-t", "0001_pls:greting"], 13, "nothing at '0001_pls:greting'"),
        (["production"], 2, "choose one of -t, -s, -p, -e"),
        (["-t"], 2, "missing argument 'OBJECT'"),
        (["--batch", "production"], 2, "leave OBJECT out"),
    ],
)
def test_bad_input(cli: Cli, small: SmallStore, argv: list[str], code: int, said: str) -> None:
    cli("cat-file", *argv, "--store", small.path).failed(code, said)


def test_what_can_be_no_name_ends_no_batch(executable: Cli, small: SmallStore) -> None:
    names = "\nproduction@{x}\nproduction\n:\na..b\n"
    result = executable("--store", small.path, "cat-file", "--batch-check", stdin=names).ok()
    missing, moved, found, *others = result.lines
    assert (missing, moved) == (" missing", "production@{x} missing")
    assert found.startswith(small.pipeline)
    assert others == [": missing", "a..b missing"]
