"""The pages of the documentation hold together: links, anchors, the index, sizes, and what their blocks say."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import pytest
import yaml

from pipelines.voice.turn import Eagerness, TurnSettings, eager
from server.cli.commands import _parser
from server.dialects.openai.settings import offered_session
from server.http.doc_pages import anchor
from tools.doc_tables import DOCS, filled
from tools.error_codes import codes, section_of

ROOT = DOCS.parent
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
_FENCE = re.compile(r"(<!-- not run: [^\n]+ -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
_TITLE = re.compile(r"#+ (.+)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[tuple[str, str]]:
    return [(kind, text) for excuse, kind, text in _FENCE.findall(path.read_text("utf-8")) if not excuse]


def prose(path: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", path.read_text("utf-8")))


def anchors(path: Path) -> set[str]:
    titles = _TITLE.findall(_FENCE.sub("", path.read_text("utf-8")))
    return {anchor(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).replace("`", "")) for title in titles}


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without variables before it and what it is piped or written to."""
    text = re.sub(r"\$\([^)]*\)", "SAID", text.replace("\\\n", " "))
    begun = ""
    for line in text.splitlines():
        begun += line + "\n"
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        begun = ""
        end = next((place for place, word in enumerate(words) if re.match(r"[|;&<>]", word)), len(words))
        yield list(dropwhile(re.compile(r"[A-Z_]+=").match, words[:end]))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    dead = []
    for target, fragment in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
            dead.append(f"{target}#{fragment}")
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_short_and_its_tables_are_those_of_the_code(page):
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    assert filled(text) == text, "python -m tools.doc_tables"


@pytest.mark.parametrize("index", ["index.md", "llms.txt"])
def test_the_index_names_every_page(index):
    named = {target for target, _ in _LINK.findall((DOCS / index).read_text("utf-8"))}
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"} <= named


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_data_and_programs_can_be_read(page):
    for kind, text in blocks(page):
        if kind == "json":
            json.loads(text)
        elif kind == "yaml":
            list(yaml.safe_load_all(text))
        elif kind == "python":
            compile(text, name(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_ones_that_there_are(page):
    for kind, text in blocks(page):
        if kind != "sh":
            continue
        read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert not read.returncode, read.stderr
        for words in commands(text):
            if words[:1] == ["visavis"]:
                _parser().parse_args(words[1:])


def test_session_updates_are_taken():
    text = (DOCS / "how-to/tune-turn-taking.md").read_text("utf-8")
    updates = [json.loads(block) for _, kind, block in _FENCE.findall(text) if kind == "json"]
    assert len(updates) == 3
    for update in updates:
        offered_session(update["session"])


def test_the_pauses_are_those_of_the_code():
    text = (DOCS / "how-to/tune-turn-taking.md").read_text("utf-8")
    for eagerness in (Eagerness.HIGH, Eagerness.MEDIUM, Eagerness.LOW):
        turn = eager(TurnSettings(), eagerness)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{eagerness.value}`"))
        told = [float(value) for value in re.findall(r"([\d.]+) s", row)]
        assert told == pytest.approx([turn.min_delay_seconds, turn.silence_seconds, turn.max_delay_seconds])


def test_every_code_leads_to_a_cure():
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    parts = {part.splitlines()[0].lstrip("# "): part for part in re.split(r"\n(?=#)", text)}
    assert len(codes()) > 150
    assert not [code for code in codes() if section_of(code) not in parts]
    told = [part for title, part in parts.items() if "**Symptom:**" in part]
    assert all("**Check:**" in part and "**Cure:**" in part for part in told)
    assert {section_of(code) for code in codes()} <= {title for title, part in parts.items() if part in told}
