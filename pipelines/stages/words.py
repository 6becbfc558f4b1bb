"""Results of stages in words, for language models. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 2_000
"""Characters of one result."""


def in_words(value: Mapping[str, Any]) -> str:
    """What a model understands best: the scene of a picture as a sentence with its time, all else as JSON."""
    if isinstance(scene := value.get("scene"), str):
        time = value.get("time")
        return f"At {time:.1f} s: {scene}" if isinstance(time, int | float) else scene
    return json.dumps(dict(value), ensure_ascii=False, default=str)[:LONGEST]
