"""What docs/tasks/pictures.md says of tasks and their parameters is what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.tasks.image import ocr
from pipelines.tasks.image.edit import EditParameters
from pipelines.tasks.image.florence import WORDS
from pipelines.tasks.registry import TASKS, spec_of
from pipelines.tools.assistant import ASSISTANT_TOOLS, TASKS_OF

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "tasks/pictures.md").read_text("utf-8")


def test_every_task_with_pictures_has_its_row_and_no_other():
    rows = set(re.findall(r"^\| `([\w-]+)` \|.*\|.*\|.*\|$", PAGE, re.MULTILINE))
    assert rows == {name for name, place in TASKS.items() if ".image." in place}


def test_the_answer_of_ocr_is_as_it_is_shown():
    request, answer = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    ocr.OcrParameters.model_validate(request["parameters"])
    assert set(request["inputs"]) == set(ocr.SPEC.inputs.model_fields)
    ocr.OcrOutput.model_validate(answer)


@pytest.mark.parametrize("name", [*(set(EditParameters.model_fields) - {"prompt"}), *WORDS])
def test_parameters_are_named(name):
    assert f"`{name}`" in PAGE


def test_tools_are_named_with_their_tasks():
    page = (DOCS / "tools.md").read_text("utf-8")
    for name in ASSISTANT_TOOLS:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        for task in TASKS_OF[name]:
            assert f"`{task}`" in row
            assert spec_of(task).name == task
