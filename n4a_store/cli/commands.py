"""The table of commands: where each one lives and its one-line summary.

The summaries stand here, not in the commands' modules, so that `--help` imports none of them.
A test keeps a summary and the first line of its command's help the same.
"""

from __future__ import annotations

from n4a_store.cli.command import Entry

COMPLETE_VARIABLE = "_N4A_STORE_COMPLETE"  # set by a shell that asks what to offer


def _entry(package: str, name: str, summary: str) -> Entry:
    module = name.replace("-", "_") + "_" * (name == "import")  # a keyword names no module
    return Entry(f"n4a_store.cli.{package}.{module}", summary)


def _table(package: str, summaries: dict[str, str]) -> dict[str, Entry]:
    return {name: _entry(package, name, summary) for name, summary in summaries.items()}


_FIRST = _table(
    "porcelain",
    {
        "completion": "Print the script for completion in a shell.",
        "demo": "Train real models on real spectra, and look at what was stored.",
    },
) | {
    "artifacts": Entry(
        "n4a_store.cli.program", "Look after the artifacts of a workspace.", "artifacts"
    ),
}

_PLUMBING = _table(
    "plumbing",
    {
        "cat-file": "Show an object's kind, size or content.",
        "check-ref-format": "Say whether a name is good for a ref.",
        "commit-run": "Make a run object and say its id.",
        "count-objects": "Count objects and packs, and the bytes they take.",
        "for-each-ref": "List refs in a format of your own.",
        "fsck": "Check that a store is whole.",
        "hash-object": "Compute the id of an object, and store it with -w.",
        "index-pack": "Rebuild the index of a damaged pack.",
        "init": "Create an empty store.",
        "ls-tree": "List the entries of a tree.",
        "mktree": "Make a tree of entries read from stdin.",
        "pack-objects": "Write objects as one pack.",
        "prune": "Drop what nothing reaches any more.",
        "reflog": "Show where refs have pointed before.",
        "repack": "Merge packs so that few remain.",
        "rev-list": "List runs and, with --objects, all that refs reach.",
        "rev-parse": "Turn names into object ids.",
        "show-ref": "List refs and the objects they name.",
        "unpack-objects": "Put the objects of a pack into the store.",
        "update-ref": "Move, create or delete refs, safely.",
        "verify-pack": "Check packs and list their objects.",
    },
)

TOP = {"Start here": _FIRST, "Plumbing": _PLUMBING}

_QUERIES = _table(
    "porcelain",
    {
        "stats": "Say what is stored, what it takes, and what sharing saves.",
        "log": "List runs, newest first.",
        "show": "Show a run, a pipeline, an artifact or any object.",
    },
)

_EXPLAIN = _table(
    "porcelain",
    {
        "diff": "Say what changed between two runs, pipelines or models.",
        "find": "Find artifacts by what they are.",
        "graph": "Draw what a result was made from.",
        "why": "Say what keeps an object.",
        "du": "Say what deleting would free.",
        "manifest": "Print a pipeline's manifest as YAML.",
        "verify": "Check every byte of results and of all that they need.",
    },
)

_KEEP = _table(
    "porcelain",
    {
        "tag": "Name a result, list names, or look at and undo their moves.",
        "rm": "Remove runs, pipelines and tags.",
        "undo": "Take back an operation that changed refs.",
    },
)

_RECLAIM = _table(
    "porcelain",
    {
        "gc": "Drop what nothing reaches any more.",
        "list-orphaned": "List artifacts that no ref reaches.",
        "cleanup": "Delete the orphaned artifacts of a dataset.",
        "purge": "Remove all runs, pipelines and tags of one dataset.",
    },
)

_EXCHANGE = _table(
    "porcelain",
    {
        "export": "Write results with all that they need into one file.",
        "import": "Take a bundle into a dataset.",
        "import-workspace": "Take over a workspace of nirs4all, or one of flat files.",
        "export-workspace": "Write a workspace that nirs4all itself predicts from.",
    },
)

PORCELAIN = {
    "Look": _QUERIES,
    "Explain": _EXPLAIN,
    "Keep and remove": _KEEP,
    "Reclaim": _RECLAIM,
    "Exchange": _EXCHANGE,
}

# What people type without `artifacts`, and where it is.
ELSEWHERE = {name: f"artifacts {name}" for section in PORCELAIN.values() for name in section}
