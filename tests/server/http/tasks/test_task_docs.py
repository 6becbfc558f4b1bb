"""The pages about tasks: their table is that of the code, and what they show works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.tasks.registry import TASKS
from tests.fakes.programs import fences, printed
from tools.doc_tables import DOCS, filled

PAGES = sorted((DOCS / "reference" / "tasks").glob("*.md"))


def test_the_table_is_that_of_the_code() -> None:
    text = (DOCS / "reference/tasks/README.md").read_text("utf-8")
    assert "<!-- table tasks -->" in text
    assert filled(text) == text, "python -m tools.doc_tables"


def test_every_text_task_has_a_page_and_every_page_a_task() -> None:
    text_tasks = {task for task, place in TASKS.items() if ".tasks.text." in place}
    assert text_tasks <= {page.stem for page in PAGES} <= {*TASKS, "README"}


async def test_what_the_pages_show_works(ask: Callable[..., Any]) -> None:
    for page in PAGES:
        fences = re.findall(r"^```http\nPOST (\S+)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        if page.stem == "README" or ".tasks.text." in TASKS[page.stem]:
            assert fences, page
        for path, body in fences:
            status, answer, headers = await ask(path, json.loads(body))
            assert status == 200, f"{page}: {answer}"
            assert path == "/detect" or headers["X-Model"]


async def test_the_program_of_the_page_on_migrating_runs(door: str, tmp_path: Path):
    (program,) = fences((DOCS / "migrate" / "from-transformers-pipelines.md").read_text("utf-8"), "python")
    assert program.count("http://127.0.0.1:8080") == 1
    (tmp_path / "program.py").write_text(program.replace("http://127.0.0.1:8080", door), "utf-8")
    assert "TextClassificationOutputElement(label=" in await printed(tmp_path / "program.py")
