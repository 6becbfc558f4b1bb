"""The house itself: how large its parts are, that and the words it does not use."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for house in ("media", "pipelines", "server") for path in (ROOT / house).rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 7
"""Of a constructor."""
MOST_FILES = 18
"""In a folder."""
STOP_LIST = {
    "reply": "response",
    "replies": "response",
    "listenerror": "STTError",
    "thinkerror": "LLMError",
    "speakerror": "TTSError",
    "watcherror": "VisionError",
    "happening": "scene event",
    "happenings": "scene event",
    "lettering": "text sprite",
}
"""Words in names of ours → the field's (docs/reference/glossary.md)."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_and_folders_stay_small() -> None:
    long = [where(path) for path in SOURCES if len(path.read_text("utf-8").splitlines()) > LONGEST_FILE]
    assert not long, f"over {LONGEST_FILE} lines"
    folders = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert not [where(folder) for folder, files in folders.items() if files > MOST_FILES], f"over {MOST_FILES} files"


def test_functions_and_constructors_stay_small() -> None:
    long, wide = [], []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION:
                long.append(f"{where(path)}:{node.lineno} {node.name}")
            if node.name == "__init__" and len(node.args.args) + len(node.args.kwonlyargs) - 1 > MOST_PARAMETERS:
                wide.append(f"{where(path)}:{node.lineno}")
    assert not long
    assert not wide


def test_every_module_and_folder_says_what_it_is() -> None:
    assert not [where(path) for path in SOURCES if not ast.get_docstring(tree(path))]


def named(source: str) -> Iterator[tuple[int, str]]:
    """Names in code, without strings and comments, and the line of each."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def stopped(name: str) -> set[str]:
    """Words of ``name`` that are on the stop list."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")
    return STOP_LIST.keys() & {*words, name.lower()}


def test_a_word_is_found_however_a_name_is_written() -> None:
    assert stopped("last_reply") == stopped("ReplyHeld") == stopped("REPLY") == {"reply"}
    assert not stopped("replying_is_another_word")


@pytest.mark.parametrize("house", ["media", "pipelines", "server"])
def test_names_keep_to_the_glossary(house: str) -> None:
    found = [
        f"{where(path)}:{line} {name}: say {', '.join(STOP_LIST[word] for word in words)}"
        for path in SOURCES
        if path.is_relative_to(ROOT / house)
        for line, name in named(path.read_text("utf-8"))
        if (words := stopped(name))
    ]
    assert not found
