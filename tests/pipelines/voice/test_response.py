"""How a reply ends when something in it fails or stalls: told once, with what was said heard and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from pipelines.errors import LLMError, PipelineError
from pipelines.interfaces.llm import ChatRequest, Cut, Piece
from pipelines.interfaces.tts import Speech
from pipelines.voice.events import ResponseAudioStopped, ResponseFailed, ResponseGenerated, ResponseText
from pipelines.voice.llm import STALL_SECONDS
from pipelines.voice.settings import ConversationSettings
from tests.fakes.engines import FakeModel, FakePlayout, FakeVoice
from tests.pipelines.voice.test_conversation import scene, settle


class Defective(FakeVoice):
    """Raises what no engine should."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        if len(self.said) >= self.after:
            raise ZeroDivisionError
        async for piece in super().synthesize(text, voice, speed):
            yield piece


async def test_whatever_raises_in_a_reply_its_end_is_told_and_what_was_said_is_heard(caplog):
    async with scene("hello", "again", answers=("One two three. Four five six.", "Hi."), tts=Defective(1)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        failed = s.last(ResponseFailed)
        assert (failed.error.code, failed.heard) == ("tts_failed", "One two three.")
        assert s.conversation.responses.active, "it is being heard"
        s.out.playouts[0].play(60)
        await settle()
        assert s.kinds()[-1] is ResponseAudioStopped
        assert s.remembered[1] == ("assistant", "One two three.")
        s.tts.after = 9
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(ResponseGenerated).text == "Hi."
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("broken", ["started", "write", "finish"])
async def test_a_playout_that_breaks_ends_the_reply_and_not_the_conversation(broken, monkeypatch):
    """Where a reply is played is no engine; its defects end in the same one place."""

    def fails(self: FakePlayout, *arguments: object) -> None:
        raise ZeroDivisionError

    made = property(fails, lambda self, value: None) if broken == "started" else fails
    monkeypatch.setattr(FakePlayout, broken, made, raising=False)
    async with scene("hello", "again", answers=("One two three.", "Hi.")) as s:
        await s.say(1.0)
        await s.hush(0.8)
        outcomes = [kind for kind in s.kinds() if kind in (ResponseFailed, ResponseGenerated)]
        assert len(outcomes) == 1
        assert ResponseAudioStopped in s.kinds()
        assert not s.conversation.responses.active
        monkeypatch.undo()
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(ResponseText).text == "Hi."


class Stalls(FakeModel):
    """Says ``pieces``; then nothing, until ``go`` is set; then ``rest``, or fails."""

    def __init__(self, *pieces: str, rest: str | PipelineError = "") -> None:
        super().__init__()
        self.pieces, self.rest = pieces, rest
        self.go = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        self.requests.append(request)
        for piece in self.pieces:
            yield piece
        await self.go.wait()
        if isinstance(self.rest, PipelineError):
            raise self.rest
        yield self.rest


async def test_a_model_that_stalls_in_the_middle_of_a_clause_does_not_keep_its_words():
    model = Stalls("I think that ", "it mi", rest="ght rain.")
    async with scene("will it rain", llm=model) as s:
        await s.say(1.0)
        await s.hush(0.5 + STALL_SECONDS)
        assert s.tts.said == ["I think that it"]
        model.go.set()
        await s.hush(0.1)
        assert s.tts.said == ["I think that it", "might rain."]
        assert s.last(ResponseGenerated).text == "I think that it might rain."


async def test_a_model_that_stalls_while_it_is_heard_may_finish_its_clause():
    model = Stalls("That is a long story. ", "Once there", rest=" was a king.")
    async with scene("a story", llm=model) as s:
        await s.say(1.0)
        await s.hush(1.0 + STALL_SECONDS)
        model.go.set()
        await s.hush(0.1)
        assert s.tts.said == ["That is a long story.", "Once there was a king."]


@pytest.mark.parametrize("spoken", [True, False])
@pytest.mark.parametrize("words", ["Once there was a", ""])
async def test_an_answer_that_ended_at_its_limit_is_told_and_remembered_as_cut(spoken, words):
    class Limited(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
            yield words
            yield Cut()

    settings = ConversationSettings(instructions="", spoken=spoken)
    async with scene("tell me a story", llm=Limited(), settings=settings) as s:
        await s.say(1.0)
        await s.hush(0.8)
        told = s.last(ResponseGenerated)
        assert (told.text, told.cut) == (words, True)
        for playout in s.out.playouts:
            playout.play(60)
        await settle()
        assert [item.interrupted for item in s.conversation.history.items] == [False, True]


async def test_words_that_came_before_a_failure_are_said_and_remembered_and_the_failure_told():
    model = Stalls("It is four. ", "And five", rest=LLMError("llm_unreachable", "the connection broke"))
    async with scene("two and two", llm=model) as s:
        await s.say(1.0)
        await s.hush(0.4)
        model.go.set()
        await s.hush(0.4)
        assert s.tts.said == ["It is four.", "And five"]
        assert s.last(ResponseFailed).error.code == "llm_unreachable"
        s.out.playouts[0].play(60)
        await settle()
        assert s.remembered[-1] == ("assistant", "It is four. And five")
