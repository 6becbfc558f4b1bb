"""Which questions ask to have something read, what is then answered, and what the model is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, Image, Message, Piece
from pipelines.interfaces.task import TaskError
from pipelines.voice.reading import (
    FAILED,
    LONGEST_READ,
    MORE,
    NOTHING,
    Eyes,
    ReadingModel,
    answer_with,
    as_scene,
    asks_to_read,
    source_of,
    spoken_rows,
)
from pipelines.voice.visual_context import Sight, Source
from tests.fakes.engines import FakeModel

ASKING = """
What does it say?
What does this say?
what does that say
What does it say here?
What does this say, please?
So what does it say?
Okay, what does it say exactly?
What's it say?
What's this say?
What do these words say?
What does the sign say?
What does this label say?
What does the small label say?
What does the paper say?
What does my letter say?
What does the paper in my hand say?
What does the text say?
What does the text on this bottle say?
What does it read?
What is it saying?
Hey, what does this piece of paper say?
What does the note I'm holding say?
What does the label on the bottle say?
What is written here?
What's written on it?
What is written on this paper?
What is written on the sign?
What's printed on the box?
What is written there?
What is written in my hand?
What is written?
Tell me what it says.
Can you tell me what this says?
Could you tell me what the sign says?
I can't read it. Can you see what it says?
Do you know what this says?
Can you make out what that says?
Can you read that?
Can you read this?
Can you read this for me?
Could you please read this to me?
Read this to me.
Read it.
Read it out loud, please.
Please read that aloud.
Read me this.
Read out the label.
Read the text.
Read the text on the screen.
Read this page to me please.
Please read the letter to me.
Would you read this out for me?
Read what is written here.
Read what's on this paper.
Can you read what it says?
Can you read what's written on the label?
I would like you to read this to me.
What text do you see?
What text is this?
Is there any text in the picture?
Do you see any writing on it?
Can you read the small print?
Now read it again.
What does the screen say?
What does it say to me?
"""
OTHERS = """
What does he say?
What does she say about it?
What do you say?
What do you say to that?
What does the Bible say about love?
What does the weather forecast say?
What does the fox say?
What did I just say?
What did you say?
What does it say about the economy?
What does it mean?
What is this?
What do you see?
What am I holding?
Can you see me?
What is on my screen?
Can you read?
Can you read my mind?
Can you read music?
Do you like to read?
I like to read books.
I read this book last year.
Have you read this book?
Should I read this book?
Did you read the news today?
Read me a story.
Read me a poem.
Tell me a story.
Please don't read that.
Do not read it to me.
Stop reading this.
Read that back to me.
Read it back.
I already read it.
I can't read this.
My teacher told me to read this.
Who wrote this?
Write this down.
Say that again.
What time is it?
What's the weather like?
Who says that?
It says hello.
Is it written in Python?
What is the writing system of Japan?
How do you say bread in French?
The sign says stop.
I know what I want.
What is the text length limit?
What language is this?
Nice to see you.
Remind me to read the contract.
You read my letter.

"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("question", lines(ASKING))
def test_it_is_asked_to_read(question: str) -> None:
    assert asks_to_read(question)
    assert asks_to_read(question.lower().rstrip("?."))  # recognisers write no signs


@pytest.mark.parametrize("question", lines(OTHERS))
def test_it_is_not_asked_to_read(question: str) -> None:
    assert not asks_to_read(question)


def test_a_very_long_utterance_is_judged_at_once() -> None:
    assert not asks_to_read("what does the " * 20_000)


@pytest.mark.parametrize(
    ("text", "sources", "source"),
    [
        ("What does it say?", ("camera", "screen"), "camera"),
        ("What does the screen say?", ("camera", "screen"), "screen"),
        ("What does the screen say?", ("camera",), "camera"),
        ("What does it say?", ("screen",), "screen"),
        ("What does it say?", (), None),
    ],
)
def test_where_is_looked(text: str, sources: tuple[Source, ...], source: Source | None) -> None:
    assert source_of(text, sources) == source


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("EMERGENCY EXIT\nKeep this door closed", "EMERGENCY EXIT. Keep this door closed"),
        ("the train leaves at\n8:45 from platform\ntwelve.", "the train leaves at 8:45 from platform twelve."),
        ("Milk\nTwo loaves of bread\nEggs", "Milk. Two loaves of bread. Eggs"),
        ("KEEP THIS DOOR\nCLOSED", "KEEP THIS DOOR CLOSED"),
        ("  Total: \n\n $12.50 ", "Total: $12.50"),
        ("", ""),
    ],
)
def test_rows_are_said_as_they_are_meant(rows: str, said: str) -> None:
    assert spoken_rows(rows) == said


def test_a_long_text_is_read_to_a_limit_and_that_is_said() -> None:
    answer = answer_with("word " * 1_000)
    assert len(answer) < LONGEST_READ + 100
    assert answer.endswith(f"word… {MORE}")


def test_a_model_is_told_what_can_be_read_beside_the_scene() -> None:
    assert as_scene("A person.", "HELLO\nyou") == 'A person. Text that can be read: "HELLO you"'
    assert as_scene("", "") == "No text can be read."


# ------------------------------------------------------------------------------------------------ around a model


class Capable(FakeModel):
    calls_unasked = True


class Seeing(FakeModel):
    takes_images = True


def sight(sources: tuple[Source, ...] = ("camera",), picture: bytes | None = b"picture") -> Sight:
    async def whole(source: Source) -> Image | None:
        return None if picture is None else Image(picture + source.encode())

    return Sight(sources=lambda: sources, whole=whole)


class Reader:
    def __init__(self, result: str | PipelineError = "EXIT") -> None:
        self.result, self.seen = result, list[bytes]()

    async def __call__(self, picture: bytes) -> str:
        self.seen.append(picture)
        if isinstance(self.result, PipelineError):
            raise self.result
        return self.result


async def answer(model: FakeModel, reader: Reader | None, said: str, of: Sight | None = None, **request: Any) -> str:
    around = ReadingModel(model, Eyes(of or sight(), lambda: reader))
    asked = ChatRequest((Message("system", "Be kind."), Message("user", said)), "A person.", **request)
    pieces: AsyncGenerator[Piece, None] = around.stream(asked)
    return "".join([str(piece) async for piece in pieces]).strip()


async def test_what_is_read_is_the_answer_of_a_model_that_calls_nothing() -> None:
    model, reader = FakeModel(), Reader("EXIT")
    assert await answer(model, reader, "What does it say?") == "It says: EXIT"
    assert model.requests == []
    assert reader.seen == [b"picturecamera"]


@pytest.mark.parametrize("kind", [Capable, Seeing])
async def test_a_model_that_can_make_something_of_it_is_told(kind: type[FakeModel]) -> None:
    model = kind("An exit sign.")
    assert await answer(model, Reader("EXIT"), "What does it say?") == "An exit sign."
    assert model.requests[0].scene == 'A person. Text that can be read: "EXIT"'


@pytest.mark.parametrize("kind", [FakeModel, Capable])
async def test_where_there_is_no_text_that_is_said(kind: type[FakeModel]) -> None:
    assert await answer(kind(), Reader(""), "What does it say?") == NOTHING


async def test_a_failure_to_read_is_said_and_is_none_of_the_model() -> None:
    assert await answer(FakeModel(), Reader(TaskError("task_failed", "out of ink")), "Read this.") == FAILED


@pytest.mark.parametrize(
    ("said", "of", "reader"),
    [
        ("How are you?", sight(), Reader()),
        ("What does it say?", sight(()), Reader()),
        ("What does it say?", sight(picture=None), Reader()),
        ("What does it say?", sight(), None),
    ],
    ids=["another question", "no camera", "a camera that has just stopped", "no reader"],
)
async def test_otherwise_the_model_is_asked_as_it_is(said: str, of: Sight, reader: Reader | None) -> None:
    model = FakeModel("Well.")
    assert await answer(model, reader, said, of) == "Well."
    assert model.requests[0].scene == "A person."
    assert reader is None or reader.seen == []


async def test_only_the_last_words_of_the_user_count() -> None:
    model, reader = FakeModel("Hm."), Reader()
    around = ReadingModel(model, Eyes(sight(), lambda: reader))
    messages = (Message("user", "What does it say?"), Message("assistant", "It says: EXIT"), Message("user", "Thanks"))
    assert [piece async for piece in around.stream(ChatRequest(messages))] == ["Hm. "]
    assert reader.seen == []
