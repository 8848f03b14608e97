"""What the pages on formats state as facts is compared with the code."""

from __future__ import annotations

import re

from n4a_store.objects.codec import encode_value
from n4a_store.objects.oid import Kind, hash_object
from n4a_store.repo.format import KNOWN_FEATURES, StoreFormat
from n4a_store.storage.rows import SCHEMA, TABLES, PackState, row_sum
from tests.docs.markdown import ROOT, blocks

FORMATS = ROOT / "docs" / "reference" / "formats"


def text(page: str) -> str:
    return (FORMATS / page).read_text(encoding="utf-8")


def test_the_schema_on_the_page_is_the_schema() -> None:
    (block,) = [block for block in blocks(text("catalog.md")) if block.info == "sql"]
    assert block.text.splitlines() == list(SCHEMA)
    for kind in TABLES:
        assert f"| `{kind.TABLE}` |" in text("catalog.md")
    for state in PackState:
        assert f"| {int(state)} {state.name.lower()} |" in text("catalog.md")


def test_the_checksum_on_the_page_is_true() -> None:
    (shown,) = re.findall(r"in `meta` is `([0-9a-f]+)`", text("catalog.md"))
    assert shown == row_sum("meta", ["version", 1]).hex()


def test_the_format_file_on_the_page_is_the_one_that_is_written() -> None:
    (block,) = [block for block in blocks(text("store.md")) if block.info == "text"]
    assert block.text == StoreFormat().encode()
    for feature in KNOWN_FEATURES:
        assert f"`{feature}`" in text("store.md")


def test_the_ids_on_the_page_are_true() -> None:
    examples = re.findall(r"\| (blob|tree) \| `([0-9a-f]{64})` \|", text("objects.md"))
    payloads = [b"", b"n4a", encode_value({"entries": {}})]
    assert len(examples) == len(payloads)
    for (label, shown), payload in zip(examples, payloads, strict=True):
        assert hash_object(Kind.from_label(label), payload).hex == shown
    assert encode_value({"entries": {}}).hex(" ") in text("objects.md")
