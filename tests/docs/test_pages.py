"""The pages of the documentation hold together: links, anchors, the index, sizes, codes. Blocks: test_blocks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.voice.turn import Eagerness, TurnSettings, eager
from server.dialects.openai.settings import offered_session
from server.http.doc_pages import anchor
from tests.docs.blocks import PAGES, ROOT, blocks, name, without_blocks
from tools.doc_tables import DOCS, filled
from tools.error_codes import codes, section_of

_LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
_TITLE = re.compile(r"#+ (.+)")


def prose(path: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", without_blocks(path))


def anchors(path: Path) -> set[str]:
    titles = _TITLE.findall(without_blocks(path))
    return {anchor(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).replace("`", "")) for title in titles}


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


def test_metrics_that_are_named_are_measured():
    """Names as the code has them; ``_total``, ``_bucket`` and the like are Prometheus' own."""
    sources = [*(ROOT / "server").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]
    known = set(re.findall(r"\"((?:visavis|pipeline)_\w+)\"", "".join(file.read_text("utf-8") for file in sources)))
    for page in ("how-to/monitor.md", "how-to/many-users.md", "explain/speculation.md", "explain/vision-timing.md"):
        named = set(re.findall(r"\b((?:visavis|pipeline)_[a-z_]+)\b", (DOCS / page).read_text("utf-8")))
        strange = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in named} - known
        assert not strange, page


@pytest.mark.parametrize("index", ["index.md", "llms.txt"])
def test_the_index_names_every_page(index):
    named = {target for target, _ in _LINK.findall((DOCS / index).read_text("utf-8"))}
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"} <= named


def test_abbreviations_are_in_the_glossary():
    """Of the pages that people learn from; those that everybody knows who reads them are not explained."""
    everyday = set(
        "AMD API ARM BY CC CC0 CPU EPYC ES GA GB GET GPL GPU HTTP HTTPS ID JSON KB LM MB MIT NASA NVIDIA OBS POST REST "
        "RFC SDK SHA SSH TCP TLS UDP URL VPN XML YAML HTML CSS CSP PDF USB IP RAM DELETE PUT PNG JPEG WAV PCM AI OK "
        "CI ADDRESS FILM ONE LICENSE CHANGELOG CONTRIBUTING SECURITY README".split()
    )
    known = set(re.findall(r"[A-Z][A-Z0-9]+", (DOCS / "reference" / "glossary.md").read_text("utf-8")))
    for page in [
        ROOT / "README.md",
        *(file for part in ("start", "how-to", "explain") for file in (DOCS / part).glob("*.md")),
    ]:
        words = set(re.findall(r"\b[A-Z][A-Z0-9]+\b", _LINK.sub("]", prose(page))))
        assert not words - everyday - known, name(page)


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "index.md"], ids=name)
def test_five_questions_are_answered_by_a_link(page):
    """One click from the README, one from the index: fewer than the two that are allowed."""
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    for question in (
        "What runs where",
        "How do I make it faster",
        "from my phone",
        "How many users",
        "What leaves my mach",
    ):
        (row,) = [line for line in rows if question in line]
        assert _LINK.findall(row), question


def test_commands_are_written_one_way():
    """``visavis …`` after installing; the path of the environment only where that is explained."""
    for page in PAGES:
        shown = [line for kind, text in blocks(page) if kind == "sh" for line in text.splitlines()]
        assert not [line for line in shown if re.search(r"\.venv/bin/visavis|python3? -m (server|visavis)", line)], (
            name(page)
        )


def test_session_updates_are_taken():
    text = (DOCS / "how-to/tune-turn-taking.md").read_text("utf-8")
    updates = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
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


def test_the_explanation_of_speculation_has_the_same_pauses():
    turn = eager(TurnSettings(), Eagerness.MEDIUM)
    part = (DOCS / "explain/speculation.md").read_text("utf-8").split("## How long a pause must last")[1].split("##")[0]
    told = [float(value) for value in re.findall(r"\| ([\d.]+) s \|", part)]
    assert told == pytest.approx([turn.min_delay_seconds, turn.silence_seconds, turn.max_delay_seconds])


def test_every_code_leads_to_a_cure():
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    parts = {part.splitlines()[0].lstrip("# "): part for part in re.split(r"\n(?=#)", text)}
    assert len(codes()) > 150
    assert not [code for code in codes() if section_of(code) not in parts]
    told = [part for title, part in parts.items() if "**Symptom:**" in part]
    assert all("**Check:**" in part and "**Cure:**" in part for part in told)
    assert {section_of(code) for code in codes()} <= {title for title, part in parts.items() if part in told}
