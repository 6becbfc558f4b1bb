"""General questions as people speak them, for an adapter to be reminded of what its model knew before. Pure."""

from __future__ import annotations

import re
from pathlib import Path

_FILE = Path(__file__).with_name("questions.txt")


def questions() -> list[str]:
    """All of them, bare words: each pattern of the file with each of its words."""
    made: list[str] = []
    for block in re.split(r"\n(?! )", _FILE.read_text("utf-8").strip()):
        pattern, _, words = block.partition("\n")
        if not pattern.startswith("#"):
            made += [pattern.format(word) for word in " ".join(words.split()).split(", ")]
    return made
