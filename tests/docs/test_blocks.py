"""Every fenced block is run by a test of its page, is judged here, or says why not."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server.dialects.openai.settings import offered_session
from tests.docs.blocks import (
    FENCE,
    PAGES,
    READ,
    ROOT,
    RUN_BY,
    SHOWN,
    blocks,
    commands,
    judge_yaml,
    name,
    wrong_command,
    wrong_variables,
)

JUDGED = [page for page in PAGES if name(page) not in RUN_BY]


@pytest.mark.parametrize("page", RUN_BY)
def test_a_page_that_is_run_is_named_where_it_is_run(page: str) -> None:
    assert Path(page).name in (ROOT / RUN_BY[page]).read_text("utf-8")


@pytest.mark.parametrize("page", JUDGED, ids=name)
def test_every_kind_of_block_is_judged_or_says_why_not(page: Path) -> None:
    strange = {kind for kind, _ in blocks(page)} - READ - SHOWN
    assert not strange


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_comment_is_left_that_excuses_nothing(page: Path) -> None:
    text = page.read_text("utf-8")
    excused = [found for found in FENCE.finditer(text) if found["why"]]
    assert len(excused) == len(re.findall(r"^<!-- not run: ", text, re.MULTILINE))


@pytest.mark.parametrize("page", JUDGED, ids=name)
def test_commands_are_ones_that_there_are(page: Path) -> None:
    wrong = []
    for kind, text in blocks(page):
        if kind != "sh":
            continue
        read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert not read.returncode, read.stderr
        wrong += [said for words in commands(text) if (said := wrong_command(words))]
        wrong_variables(text)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_of_data_and_programs_can_be_read(page: Path) -> None:
    for kind, text in blocks(page):
        if kind == "json":
            read = json.loads(text)
            if isinstance(read, dict) and read.get("type") == "session.update":
                offered_session(read["session"])
        elif kind == "python":
            compile(text, name(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", JUDGED, ids=name)
def test_files_of_yaml_would_be_taken(page: Path, tmp_path: Path) -> None:
    for kind, text in blocks(page):
        if kind == "yaml":
            judge_yaml(text, tmp_path)


def test_scripts_are_scripts(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on this machine")
    files = []
    for page in PAGES:
        for kind, text in blocks(page):
            inside = re.findall(r"<script[^>]*>\n(.*?)</script>", text, re.DOTALL) if kind == "html" else [text]
            if kind in ("js", "html"):
                for script in filter(str.strip, inside):
                    files.append(tmp_path / f"{page.stem}{len(files)}.mjs")
                    files[-1].write_text(script, "utf-8")
    assert files
    for file in files:
        read = subprocess.run([node, "--check", str(file)], capture_output=True, text=True, check=False)
        assert not read.returncode, read.stderr
