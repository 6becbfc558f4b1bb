"""The assistant's own tools: which are offered when, what they ask of tasks, and what they say of wrong calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.interfaces.llm import Image
from pipelines.interfaces.task import TaskError
from pipelines.tools.assistant import ASSISTANT_TOOLS, TASKS_OF, AssistantTools, Shown
from tests.fakes.tasks import FakeTasks


def shown(*sources: str) -> Shown:
    async def picture(source: str) -> Image | None:
        return Image(source.encode())

    return Shown(lambda: sources, picture)


def all_tasks() -> FakeTasks:
    return FakeTasks(
        ocr={"text": "EXIT\nonly"},
        image_text_to_text={"generated_text": "A red door."},
        translation=[{"translation_text": "Ausgang"}],
        language_detection=[{"language": "en", "confidence": 0.9}],
    )


async def call(assistant: AssistantTools, name: str, of: Shown | None = None, **arguments: Any) -> tuple[str, bool]:
    tool = next(tool for tool in assistant.offered(of or shown("camera")) if tool.name == name)
    result = await tool.run(json.dumps(arguments))
    return result.text, result.failed


def names(assistant: AssistantTools, *sources: str) -> list[str]:
    return [tool.name for tool in assistant.offered(shown(*sources))]


def test_those_are_offered_whose_task_can_be_done_and_that_have_something_to_look_at() -> None:
    assert names(AssistantTools(all_tasks()), "camera") == list(ASSISTANT_TOOLS)
    assert names(AssistantTools(all_tasks())) == ["translate_text", "detect_language"]
    assert names(AssistantTools(FakeTasks(ocr={"text": ""})), "camera") == ["read_text"]
    assert names(AssistantTools(), "camera") == []


def test_each_can_be_switched_off() -> None:
    assistant = AssistantTools(all_tasks(), ("describe_picture",))
    assert names(assistant, "camera") == ["describe_picture"]
    assert assistant.reader is None
    assert "assistant_tools" in assistant.why_not("read_text")


def test_why_one_is_not_offered() -> None:
    assistant = AssistantTools(FakeTasks(ocr={"text": ""}))
    assert assistant.why_not("read_text") == ""
    assert assistant.why_not("translate_text") == "no model for translation is here"
    assert "no tasks" in AssistantTools().why_not("read_text")


def test_every_tool_has_its_task() -> None:
    assert set(TASKS_OF) == set(ASSISTANT_TOOLS)


async def test_reading() -> None:
    tasks = all_tasks()
    assert await call(AssistantTools(tasks), "read_text", shown("camera", "screen"), source="screen") == (
        "EXIT\nonly",
        False,
    )
    assert tasks.runners["ocr"].asked == [({"image": b"screen"}, {})]
    assert await call(AssistantTools(FakeTasks(ocr={"text": ""})), "read_text") == (
        "There is no text to be seen.",
        False,
    )


async def test_describing_with_a_question_or_without() -> None:
    tasks = all_tasks()
    assert await call(AssistantTools(tasks), "describe_picture", question="What colour is it?") == (
        "A red door.",
        False,
    )
    assert tasks.runners["image-text-to-text"].asked[0][0] == {"images": [b"camera"], "text": "What colour is it?"}
    captions = FakeTasks(image_to_text=[{"generated_text": "a door"}])
    assert await call(AssistantTools(captions), "describe_picture") == ("a door", False)
    assert captions.runners["image-to-text"].asked[0][0] == {"image": b"camera"}


async def test_translating_and_telling_a_language() -> None:
    tasks = all_tasks()
    assert await call(AssistantTools(tasks), "translate_text", text="exit", to="de", **{"from": "en"}) == (
        "Ausgang",
        False,
    )
    assert tasks.runners["translation"].asked == [({"text": "exit"}, {"tgt_lang": "de", "src_lang": "en"})]
    assert await call(AssistantTools(tasks), "detect_language", text="exit") == ("en", False)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("read_text", {"source": "window"}, "source: 'window' shows nothing; what does is camera"),
        ("read_text", {"where": "camera"}, "no argument 'where'; the arguments are source"),
        ("describe_picture", {"question": " "}, "question: must be text"),
        ("describe_picture", {"question": "a" * 5_000}, "question: has 5000 characters; 4000 at most"),
        ("translate_text", {"text": "exit"}, "to: must be text"),
        ("translate_text", {"text": 7, "to": "de"}, "text: must be text"),
        ("detect_language", {}, "text: must be text"),
    ],
)
async def test_a_wrong_call_is_told(name: str, arguments: dict[str, Any], said: str) -> None:
    text, failed = await call(AssistantTools(all_tasks()), name, **arguments)
    assert failed
    assert said in text


async def test_a_task_that_fails_is_told() -> None:
    assistant = AssistantTools(FakeTasks(ocr=TaskError("task_failed", "out of ink")))
    assert await call(assistant, "read_text") == ("out of ink", True)


async def test_a_camera_that_has_just_stopped_is_told() -> None:
    async def gone(source: str) -> Image | None:
        return None

    assert await call(AssistantTools(all_tasks()), "read_text", Shown(lambda: ("camera",), gone)) == (
        "the camera shows nothing at present",
        True,
    )
