"""Subtitles: whose words, when, and when they go."""

from __future__ import annotations

from pipelines.errors import LLMError
from pipelines.vision.captions import FADE_SECONDS, HOLD_SECONDS, Caption, Captions
from pipelines.voice.events import (
    PartialTranscript,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    UserTurn,
)

GONE = HOLD_SECONDS + FADE_SECONDS + 0.01


def test_words_of_the_user_are_shown_while_they_are_recognised() -> None:
    captions = Captions()
    captions.take(PartialTranscript("i1", "what is"), 0.0)
    assert captions.at(0.0) == (Caption("user", "what is", False),)
    captions.take(UserTurn("i1", "What is it?", True), 1.0)
    assert captions.at(1.0) == (Caption("user", "What is it?"),)


def test_they_stand_and_fade() -> None:
    captions = Captions()
    captions.take(UserTurn("i1", "hello", True), 0.0)
    assert captions.at(HOLD_SECONDS)[0].opacity == 1
    assert 0 < captions.at(HOLD_SECONDS + FADE_SECONDS / 2)[0].opacity < 1
    assert captions.at(GONE) == ()


def test_of_an_answer_is_shown_what_has_been_heard() -> None:
    captions = Captions()
    captions.take(UserTurn("i1", "hello", True), 0.0)
    captions.take(ResponseStarted("r1", "i2", True), 1.0)
    captions.take(ResponseText("r1", "I am here."), 1.1)
    captions.take(ResponseGenerated("r1", "I am here."), 1.2)
    assert [caption.speaker for caption in captions.at(1.2)] == ["user"]
    captions.heard("I am", 1.5)
    assert captions.at(1.5)[-1] == Caption("assistant", "I am")
    assert captions.at(1.5 + GONE)[-1] == Caption("assistant", "I am"), "it is still being said"
    captions.heard("I am here.", 9.0)
    captions.take(ResponseAudioStopped("r1"), 9.5)
    captions.heard("", 9.6)
    assert captions.at(10.0) == (Caption("assistant", "I am here."),)
    assert captions.at(9.5 + GONE) == ()


def test_of_an_answer_that_failed_what_is_still_heard_is_still_shown() -> None:
    captions = Captions()
    captions.take(ResponseStarted("r1", "i2", True), 0.0)
    captions.take(ResponseFailed("r1", LLMError("llm_timeout", "stopped"), "one two three"), 0.1)
    captions.heard("one two three", 1.0)
    assert captions.at(1.0) == (Caption("assistant", "one two three"),)
    captions.take(ResponseAudioStopped("r1"), 1.5)
    assert captions.at(1.5 + GONE) == ()


def test_an_interrupted_answer_ends_where_it_was_cut_off() -> None:
    captions = Captions()
    captions.take(ResponseStarted("r1", "i2", True), 0.0)
    captions.heard("one two three", 1.0)
    captions.take(ResponseInterrupted("r1", "turn_detected", "one two", 0.5), 1.1)
    captions.heard("one two three", 1.2)
    assert captions.at(1.2) == (Caption("assistant", "one two"),)


def test_an_answer_without_a_voice_is_shown_as_it_is_written() -> None:
    captions = Captions()
    captions.take(ResponseStarted("r1", "i2", False), 0.0)
    captions.take(ResponseText("r1", "One."), 0.1)
    captions.take(ResponseText("r1", "Two."), 0.2)
    assert captions.at(0.2) == (Caption("assistant", "One. Two."),)


def test_who_began_first_stands_first() -> None:
    captions = Captions()
    captions.take(ResponseStarted("r1", "i1", True), 0.0)
    captions.heard("well", 0.1)
    captions.take(PartialTranscript("i2", "stop"), 1.0)
    assert [caption.speaker for caption in captions.at(1.0)] == ["assistant", "user"]


def test_a_long_text_is_kept_at_its_end() -> None:
    captions = Captions()
    captions.take(UserTurn("i1", "word " * 5000 + "end", True), 0.0)
    text = captions.at(0.0)[0].text
    assert len(text) < 300
    assert text.endswith("word end")
