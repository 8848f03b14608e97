"""The house stands: imports go down only, pure rooms stay pure, one module knows each secret.

The rules are data at the top of this file; ``violations`` reads every module with ``ast`` and
answers in sentences. The second half proves that each rule bites, on sources made for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "n4a_store"

FLOORS = {
    "errors": 0,
    "settings": 0,
    "objects": 1,
    "packs": 2,
    "storage": 2,
    "odb": 3,
    "refs": 3,
    "repo": 4,
    "artifacts": 5,
    "pipeline": 6,
    "remotes": 6,
    "demo": 6,
    "integrations": 6,
    "cli": 7,
    "__main__": 8,
    "testing": 8,
}

# Rooms on one floor that may see each other, in this direction.
SIBLINGS = {("settings", "errors"), ("integrations", "pipeline"), ("demo", "pipeline")}

# Rooms that must not see each other although the floors would allow it.
STRANGERS = {("storage", "objects"), ("packs", "settings")}

# A pure room computes values from values: no file, no clock, no chance, no machine.
PURE_ROOMS = {"errors", "settings", "objects", "packs"}
IMPURE_MODULES = {
    "datetime", "fcntl", "getpass", "glob", "io", "mmap", "os", "pathlib", "platform", "random",
    "secrets", "shutil", "socket", "sqlite3", "subprocess", "tempfile", "time", "uuid",
}  # fmt: skip

# Modules of others and the only places that may import them.
RESERVED_MODULES = {
    "click": {"cli"},
    "fcntl": {"storage"},
    "sqlite3": {"storage", "integrations"},  # integrations: other programs' catalogs
    "msgpack": {"objects", "storage"},  # storage: checksums of catalog rows, no objects
    "zstandard": {"packs"},
    # gc, log and show never unpickle; skim reads pickles with stand-ins for every class; of
    # what cannot be sent to another process, the pool knows the error.
    "pickle": {"artifacts.serializers", "artifacts.skim", "integrations", "pipeline.pool"},
    "cloudpickle": {"artifacts.serializers"},
    "joblib": {"artifacts.serializers", "integrations"},
    "sklearn": {"cli", "pipeline", "demo", "integrations"},
    "pytest": set[str](),
    "hypothesis": set[str](),
}

# What makes bytes durable or visible is done in one room, where it can be read and tested.
STORAGE_CALLS = {
    "open", "rename", "replace", "fsync", "fdatasync", "unlink", "remove", "rmdir", "link",
}  # fmt: skip

# File names of the store, known to storage/layout.py alone.
STORE_NAMES = {"catalog.db", "commit.lock", "gc.lock", ".n4p"}
LAYOUT = "storage.layout"

NAMELESS_ROOMS = {"utils", "util", "helpers", "common", "misc"}
LONGEST_FILE = 450


@dataclass(frozen=True, slots=True)
class Import:
    """One import: who, what, on which line, and whether it runs when the module is imported."""

    module: str
    target: str
    line: int
    eager: bool


def room_of(module: str) -> str:
    """``n4a_store.packs.reader`` -> ``packs``; the package itself -> the empty string."""
    return module.removeprefix(PACKAGE).lstrip(".").split(".")[0]


def within(module: str, places: set[str]) -> bool:
    """Whether a module stands in one of the places, given as dotted paths under the package."""
    inner = module.removeprefix(PACKAGE + ".")
    return any(inner == place or inner.startswith(place + ".") for place in places)


def imports_of(module: str, tree: ast.Module, known: Mapping[str, object]) -> Iterator[Import]:
    """Every import of a module, except those under TYPE_CHECKING that no interpreter follows."""

    def visit(node: ast.AST, eager: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, eager)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    target = full if full in known or base == PACKAGE else base
                    yield Import(module, target, child.lineno, eager)
            deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, eager and not deferred)

    return visit(tree, True)


def floor_violation(found: Import) -> str | None:
    """Whether an import within the house goes the wrong way."""
    here, there = room_of(found.module), room_of(found.target)
    where = f"{found.module}:{found.line}"
    if here in ("", there):  # the package's own __init__ is the facade: it names everything
        return None
    if found.target == f"{PACKAGE}.__version__":
        return None
    if there not in FLOORS:
        return f"{where} imports {found.target}, which stands on no floor"
    if there == "testing":
        return f"{where} imports the test kit"
    if (here, there) in STRANGERS:
        return f"{where}: {here} must not know {there}"
    if FLOORS[here] < FLOORS[there]:
        return f"{where}: {here} imports upwards, from {there}"
    if FLOORS[here] == FLOORS[there] and (here, there) not in SIBLINGS:
        return f"{where}: {here} imports its neighbour {there}"
    return None


def foreign_violation(found: Import) -> str | None:
    """Whether a module of others is imported where it does not belong."""
    here, top = room_of(found.module), found.target.split(".")[0]
    where = f"{found.module}:{found.line}"
    if here in PURE_ROOMS and top in IMPURE_MODULES:
        return f"{where}: {here} is pure and must not import {top}"
    places = RESERVED_MODULES.get(top)
    if places is not None and here != "testing" and not within(found.module, places):
        return f"{where}: {top} belongs to {sorted(places) or 'the tests'}"
    return None


def body_violations(module: str, tree: ast.Module) -> Iterator[str]:
    """What a module does, rather than imports, that belongs elsewhere."""
    room = room_of(module)
    for node in ast.walk(tree):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "print" and room != "cli":
                yield f"{where} prints; a library logs"
            if called == "open" and room in PURE_ROOMS:
                yield f"{where}: {room} is pure and must not open files"
            owner, _, name = called.rpartition(".")
            harmless = "os.devnull" in map(ast.unparse, node.args)  # a closed pipe needs a sink
            touches = owner == "os" and name in STORAGE_CALLS and not harmless
            if touches and room not in ("storage", "testing"):
                yield f"{where} calls {called}, which belongs to storage"
        told = isinstance(node, ast.Constant) and node.value in STORE_NAMES
        if told and not within(module, {LAYOUT, "testing"}):
            yield f"{where} knows {ast.unparse(node)}, a file name that belongs to {LAYOUT}"


def cycles(edges: Mapping[str, set[str]]) -> list[str]:
    """The cycles among modules, each as a path that ends where it began."""
    found: list[str] = []
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            found.append(" -> ".join((*path[path.index(module) :], module)))
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                walk(target, (*path, module))
            done.add(module)

    for module in sorted(edges):
        walk(module, ())
    return found


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every broken rule in a package given as module name -> source text."""
    broken: list[str] = []
    edges: dict[str, set[str]] = {module: set() for module in sources}
    for module, source in sorted(sources.items()):
        tree = ast.parse(source, filename=module)
        room, last = room_of(module), module.rpartition(".")[2]
        if room and room not in FLOORS:
            broken.append(f"{module} stands on no floor")
            continue
        if last in NAMELESS_ROOMS:
            broken.append(f"{module}: {last} says nothing about what is inside")
        if source.count("\n") > LONGEST_FILE:
            broken.append(f"{module} has {source.count(chr(10))} lines, more than {LONGEST_FILE}")
        for found in imports_of(module, tree, sources):
            inside = found.target.split(".")[0] == PACKAGE
            said = floor_violation(found) if inside else foreign_violation(found)
            if said is not None:
                broken.append(said)
            if inside and found.eager and found.target != module:
                edges[module].add(found.target)
        broken.extend(body_violations(module, tree))
    broken.extend(f"import cycle: {cycle}" for cycle in cycles(edges))
    return broken


def package_sources() -> dict[str, str]:
    sources = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def test_the_house_stands() -> None:
    sources = package_sources()
    assert "n4a_store.errors" in sources  # the walk found the package at all
    assert violations(sources) == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_no_file_outside_the_package_is_too_long_either(folder: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_every_room_of_the_package_is_a_real_package() -> None:
    # A folder without __init__.py is left out of a wheel, which no test in the tree would notice.
    folders = {path.parent for path in (ROOT / PACKAGE).rglob("*.py")}
    assert [str(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("objects.codec", "import n4a_store.repo.store", "imports upwards"),
        ("objects.codec", "from n4a_store.storage import files", "imports upwards"),
        ("repo.store", "def f():\n    from n4a_store.artifacts import types", "imports upwards"),
        ("packs.reader", "from n4a_store.storage.files import sync", "neighbour storage"),
        ("refs.refs", "from n4a_store.odb.database import Database", "neighbour odb"),
        ("storage.files", "from n4a_store.objects.oid import ObjectId", "must not know objects"),
        ("cli.main", "from n4a_store.testing.faults import Fault", "test kit"),
        ("cli.main", "from n4a_store.attic import chest", "no floor"),
        ("attic.chest", "", "stands on no floor"),
        ("repo.store", "from n4a_store import Store", "no floor"),
        ("objects.oid", "import os.path", "objects is pure"),
        ("objects.oid", "from time import time_ns", "objects is pure"),
        ("packs.writer", "def f():\n    import io", "packs is pure"),
        ("packs.writer", "open('x')", "must not open files"),
        ("settings", "import os", "settings is pure"),
        ("repo.store", "import sqlite3", "sqlite3 belongs to"),
        ("odb.database", "import fcntl", "fcntl belongs to"),
        ("artifacts.registry", "import click", "click belongs to"),
        ("artifacts.registry", "import pickle", "pickle belongs to"),
        ("repo.gc", "import cloudpickle", "cloudpickle belongs to"),
        ("repo.gc", "import hypothesis", "belongs to the tests"),
        ("repo.gc", "import os\nos.unlink('x')", "os.unlink, which belongs to storage"),
        ("repo.gc", "x = root / 'catalog.db'", "a file name that belongs"),
        ("storage.catalog", "x = f'{name}.n4p'", "a file name that belongs"),
        ("repo.gc", "print('done')", "prints"),
        ("repo.utils", "", "says nothing"),
        ("repo.gc", "\n" * 451, "has 451 lines"),
    ],
)
def test_each_rule_bites(module: str, source: str, said: str) -> None:
    broken = violations({f"{PACKAGE}.{module}": source})
    assert len(broken) == 1, broken
    assert said in broken[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("", "from n4a_store.repo.store import Store"),
        ("settings", "from n4a_store.errors import StoreError"),
        ("objects.codec", "import math\nimport msgpack"),
        ("packs.reader", "import blake3, zstandard\nfrom n4a_store.objects.oid import ObjectId"),
        ("storage.catalog", "import os, sqlite3\nos.open('x', 0)"),
        ("storage.layout", "x = 'catalog.db'"),
        ("artifacts.types", "from n4a_store import __version__"),
        ("artifacts.serializers.pickle5", "import pickle, cloudpickle"),
        ("cli.main", "import click\nprint('x')"),
        ("cli.main", "import os\nos.open(os.devnull, os.O_WRONLY)"),
        ("odb.database", "if TYPE_CHECKING:\n    from n4a_store.repo.store import Store"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations({f"{PACKAGE}.{module}".rstrip("."): source}) == []


def test_a_cycle_of_modules_is_shown_as_a_path() -> None:
    broken = violations(
        {
            "n4a_store.repo.a": "import n4a_store.repo.b",
            "n4a_store.repo.b": "from n4a_store.repo import c",
            "n4a_store.repo.c": "from n4a_store.repo.a import x",
        }
    )
    assert broken == [
        "import cycle: n4a_store.repo.a -> n4a_store.repo.b -> n4a_store.repo.c -> n4a_store.repo.a"
    ]
