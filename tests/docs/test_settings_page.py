"""The table of settings in the reference is the one that the code holds."""

from n4a_store.settings import Settings
from tests.docs.markdown import ROOT


def test_the_table_shows_every_setting_as_it_is() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    table = page[: page.index("## ")]
    shown = [line for line in table.splitlines() if line.startswith("| `")]
    assert shown == [
        f"| `{s.key}` | `{s.default}` | {s.allowed} | {s.meaning} |" for s in Settings.describe()
    ]
