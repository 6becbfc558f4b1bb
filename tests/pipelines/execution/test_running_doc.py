"""The limits that docs/explain/pipelines-running.md tells are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.execution import context, pipe, replay
from pipelines.routing.stage_types import STAGE_TYPES

PAGE = " ".join((Path(__file__).parents[3] / "docs" / "explain" / "pipelines-running.md").read_text("utf-8").split())


@pytest.mark.parametrize(
    "words",
    [
        f"at most {pipe.MOST_ITEMS} pieces or {pipe.MOST_BYTES >> 20} MiB wait",
        f"up to {pipe.MOST_HELD >> 20} MiB are kept for that",
        f"is kept, up to {pipe.MOST_WAITING >> 20} MiB",
        f"newest {context.MOST_MESSAGES} messages or {context.MOST_CHARACTERS:,} characters",
        f"for {context.TTL_SECONDS / 60:.0f} minutes after",
        f"more than {context.MOST_CONTEXTS:,} conversations",
        f"{replay.MOST_BYTES >> 20} MiB are kept for {replay.TTL_SECONDS / 60:.0f} minutes",
    ],
)
def test_limits_are_told(words: str) -> None:
    assert words in PAGE


@pytest.mark.parametrize("kind", STAGE_TYPES)
def test_what_every_type_gives_streamed_is_told(kind: str) -> None:
    assert f"`{kind}`" in PAGE
