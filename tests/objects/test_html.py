"""What a notebook shows is whole, escaped HTML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from n4a_store.artifacts.overview import artifact_stats
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.types import ArtifactType
from n4a_store.objects.html import facts_html, size_text, table_html
from n4a_store.repo.history import list_runs


def test_everything_is_escaped_and_nothing_can_reorder() -> None:
    shown = facts_html("<b>", [("a&b", "<script>x</script>\u202e\x1b")])
    assert "<script>" not in shown
    assert "\\u202e\\x1b" in shown
    ET.fromstring(shown)
    ET.fromstring(table_html("t", ("<a>",), [("<b>",)]))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**5, "5120.0 TiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_store_a_run_a_record_and_statistics_show_themselves(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with registry.run(message="first <run>"):
        record = registry.register(
            {"a": 1}, "0001:0:all", ArtifactType.ENCODER, params={"alpha": 0.5}
        )
        registry.complete_pipeline("0001")
    store = registry.store
    for shown, said in (
        (store, "packs"),
        (list_runs(store)[0], "first <run>"),
        (record, "param alpha"),
        (artifact_stats(store), "encoder"),
        (artifact_stats(store).store, "on disk"),
    ):
        page = ET.fromstring(shown._repr_html_())  # type: ignore[attr-defined]
        assert said in "".join(page.itertext())
    registry.close()
