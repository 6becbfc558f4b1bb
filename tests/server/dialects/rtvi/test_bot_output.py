"""How far a response has been spoken: words that are heard against words that are shown."""

from __future__ import annotations

from typing import Any

import pytest

from server.dialects.rtvi.bot_output import Segment, SpokenOutput
from tests.fakes.rtvi_shapes import check


def output(*texts: str) -> tuple[SpokenOutput, list[Segment]]:
    made = SpokenOutput()
    segments = [Segment(n, text) for n, text in enumerate(texts, 1)]
    for segment in segments:
        made.add(segment)
    return made, segments


def told(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    for message in messages:
        check(message)
    return [
        (data["segment_id"], data["spoken_status"], data["spoken_progress"]["accumulated_text"])
        for message in messages
        if message["type"] == "bot-output" and (data := message["data"])
    ]


def words(messages: list[dict[str, Any]]) -> list[str]:
    return [message["data"]["text"] for message in messages if message["type"] == "bot-tts-text"]


def test_each_word_is_told_once_and_the_rest_remains():
    made, (first, _) = output("Good day to you.", "How are you?")
    messages = made.heard("Good day")
    assert words(messages) == ["Good", "day"]
    assert told(messages) == [(1, "in-progress", "Good day")]
    assert messages[-1]["data"]["spoken_progress"]["remaining_text"] == " to you."
    assert made.heard("Good day") == []
    assert told(made.heard("Good day to you. How")) == [(1, "completed", first.text), (2, "in-progress", "How")]
    assert told(made.finish()) == [(2, "completed", "How are you?")]
    assert made.finish() == []


@pytest.mark.parametrize(
    ("shown", "heard", "spoken"),
    [
        ("It is 3 km away.", "It is three kilometres away.", "It is 3 km away."),
        ("It is 3 km away.", "It is three kilo", "It is"),
        ("It costs $3.50 – in cash.", "It costs three dollars and fifty cents in", "It costs $3.50 – in"),
        ("Well – no.", "Well", "Well –"),
        ("“Quite” so!", "quite so", "“Quite” so!"),
        ("One two", "something else entirely", ""),
    ],
)
def test_what_is_read_otherwise_than_written_is_found_again(shown, heard, spoken):
    made, (segment,) = output(shown)
    made.heard(heard)
    assert shown[: segment.spoken] == spoken


def test_a_segment_that_ends_otherwise_than_it_is_read_is_completed_with_the_next():
    made, _ = output("It costs $3.", "That is cheap.")
    assert told(made.heard("It costs three dollars")) == [(1, "in-progress", "It costs")]
    assert told(made.heard("It costs three dollars That")) == [
        (1, "completed", "It costs $3."),
        (2, "in-progress", "That"),
    ]


def test_text_without_a_voice_has_no_progress():
    message = Segment(7, "Silent.").message(spoken=False)
    check(message)
    assert message["data"]["spoken_status"] == "new"
    assert "spoken_progress" not in message["data"]


def test_a_new_segment_is_all_to_come():
    data = Segment(7, "Hello there").message()["data"]
    assert data["spoken_status"] == "new"
    assert data["spoken_progress"] == {"accumulated_text": "", "remaining_text": "Hello there"}
