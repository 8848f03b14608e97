"""What a mutant is, and who is asked about it."""

from __future__ import annotations

from dataclasses import dataclass

EXPLORER = "tests/protocol/test_orders.py"
GC = "tests/repo/test_gc.py"
HELD = "tests/repo/test_held.py"
REPACK = "tests/repo/test_repack.py"
ORDER = "tests/repo/test_durable_order.py"
LEASES = "tests/storage/test_leases.py"
FORK = "tests/storage/test_catalog_fork.py"
CATALOG = "tests/storage/test_catalog.py"
RULES = "tests/protocol/test_rules.py"
REUSE = "tests/repo/test_reuse.py"
AGAIN = "tests/artifacts/test_again.py"
AGAIN_PLANNED = "tests/repo/test_commit_again.py"

QUICK = (RULES, EXPLORER)
SUITES = ("tests/storage", "tests/packs", "tests/refs", "tests/repo", "tests/protocol")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutant.

    Args:
        name: What it is called.
        wrong: What is wrong with it.
        file: The module, below ``n4a_store/``.
        edits: Pairs of old and new text; each old text occurs exactly once.
        killers: Who should notice.
        listed: Whether the design lists it among the readings that failed.
    """

    name: str
    wrong: str
    file: str
    edits: tuple[tuple[str, str], ...]
    killers: tuple[str, ...]
    listed: bool = False


def one(
    name: str, wrong: str, file: str, old: str, new: str, *killers: str, listed: bool = False
) -> Mutant:
    """A mutant of a single edit."""
    return Mutant(name, wrong, file, ((old, new),), killers, listed)
