"""What docs/reference/pictures.md and the pages of the picture tasks say of them is what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.tasks.image import ocr
from pipelines.tasks.image.florence import WORDS
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.tools.assistant import ASSISTANT_TOOLS, TASKS_OF

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "reference" / "pictures.md").read_text("utf-8")


def page_of(task: str) -> str:
    return (DOCS / "reference" / "tasks" / f"{task}.md").read_text("utf-8")


def test_every_task_with_pictures_has_its_row_and_no_other():
    rows = set(re.findall(r"^\| \[`([\w-]+)`\]\(tasks/\1\.md\) \|", PAGE, re.MULTILINE))
    assert rows == {name for name, place in TASKS.items() if ".image." in place}


def test_the_answer_of_ocr_is_as_it_is_shown():
    request, answer = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", page_of("ocr"), re.DOTALL))
    ocr.OcrParameters.model_validate(request["parameters"])
    assert set(request["inputs"]) == set(ocr.SPEC.inputs.model_fields)
    ocr.OcrOutput.model_validate(answer)


@pytest.mark.parametrize("task", [name for name, place in TASKS.items() if ".image." in place])
def test_parameters_are_named(task):
    spec = spec_of(task)
    page = page_of(task) + page_of("text-to-image") * (task == "text-to-video")
    names = {*spec.parameters.model_fields} - {"max_new_tokens", "num_beams"}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("word", WORDS)
def test_the_words_of_florence_are_named(word):
    assert f"`{word}`" in page_of("florence")


def test_tools_are_named_with_their_tasks():
    page = (DOCS / "how-to" / "tools.md").read_text("utf-8")
    for name in ASSISTANT_TOOLS:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        for task in TASKS_OF[name]:
            assert f"`{task}`" in row
            assert spec_of(task).name == task
