"""What the documentation says of the settings is what the settings are."""

from __future__ import annotations

from pathlib import Path

from server.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def test_every_setting_is_documented():
    text = (DOCS / "settings.md").read_text("utf-8")
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert rows == set(Settings.model_fields)
