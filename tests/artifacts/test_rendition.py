"""The YAML rendition: it reads back as it was, and no character in it acts unseen."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.artifacts.rendition import manifest_document, render, render_records
from n4a_store.artifacts.types import (
    ArtifactRecord,
    ArtifactType,
    Ids,
    MetaModelConfig,
    SourceModelRef,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", '"plain"'),
        ("öl \u7389\u7c73 \U0001f33d", '"öl \u7389\u7c73 \U0001f33d"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("\u2066x\u2069", '"\\u2066x\\u2069"'),
        ("\u200f\u200b\u3164", '"\\u200f\\u200b\\u3164"'),
        ("\U000e0041", '"\\U000e0041"'),
        ("\x1b[2J\x9b", '"\\u001b[2J\\u009b"'),
        ("\u2028\ufeff", '"\\u2028\\ufeff"'),
    ],
)
def test_what_would_act_unseen_is_escaped(text: str, shown: str) -> None:
    page = render({"name": text, "items": [{"params": {text: [text]}}]})
    assert page.splitlines()[0] == f"name: {shown}"
    assert yaml.safe_load(page) == {"name": text, "items": [{"params": {text: [text]}}]}


@given(st.text())
def test_any_text_reads_back_and_shows_itself(text: str) -> None:
    page = render({"name": text, "items": []})
    assert yaml.safe_load(page)["name"] == text
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not hidden & {unicodedata.category(ch) for ch in page.replace("\n", "")}


texts = st.text(alphabet='a"\\\x7f\u2028', max_size=4) | st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), max_size=8
)
values = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts)


@st.composite
def records(draw: st.DrawFn) -> ArtifactRecord:
    branch, fold, sub = draw(
        st.sampled_from([((), None, None), ((0,), 3, None), ((1, 2), None, 4), ((0,), 0, 7)])
    )
    parts = ["p", *map(str, branch), "5", "all" if fold is None else str(fold)]
    if sub is not None:
        parts[-2] += f".{sub}"
    source = SourceModelRef("p:1:all", 0)
    return ArtifactRecord(
        artifact_id=":".join(parts),
        content_hash="blake3:" + draw(texts),
        path=draw(texts),
        pipeline_id="p",
        branch_path=branch,
        step_index=5,
        fold_id=fold,
        sub_index=sub,
        artifact_type=draw(st.sampled_from(ArtifactType)),
        class_name=draw(texts),
        depends_on=Ids(draw(st.lists(texts, max_size=3))),
        format_version=draw(texts),
        size_bytes=draw(st.integers(0, 2**40)),
        created_at=draw(texts),
        params=draw(st.dictionaries(texts, values, max_size=3)),
        meta_config=draw(st.sampled_from([None, MetaModelConfig((source,), ("a", "b"))])),
        version=draw(st.integers(1, 9)),
    )


@given(st.lists(records(), max_size=3), st.dictionaries(texts, texts, max_size=2))
def test_what_a_commit_writes_is_what_is_printed_again(
    held: list[ArtifactRecord], branches: dict[str, str]
) -> None:
    stated: dict[str, Any] = {
        "dataset": "corn",
        "run_id": "r",
        "pipeline_id": "p",
        "created_at": None,
        "manifest": "0a",
        "branches": branches,
    }
    bare = manifest_document(**stated, records=())
    whole = manifest_document(**stated, records=held)
    assert render_records(bare, held) == render(whole)
    assert list(whole)[-1] == "items"
