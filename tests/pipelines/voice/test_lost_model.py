"""A model that ends in the midst of its answer: another one takes over, and one answer is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Piece, Tool, ToolCall
from pipelines.interfaces.tts import Speech
from pipelines.routing.routes.llm import GO_ON, FallbackModel
from pipelines.tools.server_tool import ServerTool, ToolResult
from pipelines.voice.events import ResponseFailed, ResponseGenerated, ResponseStarted
from pipelines.voice.settings import ConversationSettings
from tests.fakes.engines import FakeModel, FakeVoice
from tests.fakes.failures import Failures
from tests.pipelines.voice.test_conversation import scene

GONE = LLMError("llm_unreachable", "the replica is gone")


class Dies(FakeModel):
    """Says ``pieces`` and fails once ``go`` is set."""

    def __init__(self, *pieces: Piece) -> None:
        super().__init__()
        self.name = "remote"
        self.pieces = pieces
        self.go = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self.pieces:
            yield piece
        await self.go.wait()
        raise GONE


class DiesLater(Dies):
    """Says ``before`` and does the same when it is asked again."""

    def __init__(self, before: tuple[Piece, ...], *pieces: Piece) -> None:
        super().__init__(*pieces)
        self.before = before

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        if self.requests:
            async for piece in super().stream(request):
                yield piece
            return
        self.requests.append(request)
        for piece in self.before:
            yield piece


class Patient(FakeVoice):
    """Speaks once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        await self.may.wait()
        async for piece in super().synthesize(text, voice, speed):
            yield piece


def route(*models: FakeModel) -> FallbackModel:
    return FallbackModel(models, Failures())


async def test_another_begins_anew_while_nothing_has_been_given_to_the_voice():
    remote, local = Dies("Paris is the"), FakeModel("It is Paris.")
    async with scene("what is the capital", llm=route(remote, local)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.tts.said == []
        remote.go.set()
        await s.hush(0.1)
        assert s.tts.said == ["It is Paris."]
        assert local.requests[0].messages == remote.requests[0].messages, "it is asked the same"
        assert s.last(ResponseGenerated).text == "It is Paris."
        s.out.playouts[0].play(60)
        await s.hush(0.1)
        assert s.remembered[1] == ("assistant", "It is Paris.")


async def test_another_goes_on_behind_what_has_been_given_to_the_voice():
    remote, local = Dies("That is a long story. ", "Once upon a"), FakeModel("A king lived here.")
    async with scene("a story", llm=route(remote, local)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.tts.said == ["That is a long story."]
        remote.go.set()
        await s.hush(0.1)
        assert s.tts.said == ["That is a long story.", "A king lived here."], "no word twice, and none of the lost ones"
        *before, stays, told = local.requests[0].messages
        assert tuple(before) == remote.requests[0].messages
        assert (stays.role, stays.content) == ("assistant", "That is a long story.")
        assert (told.role, told.content) == ("user", GO_ON)
        assert s.kinds().count(ResponseStarted) == 1
        assert s.last(ResponseGenerated).text == "That is a long story. A king lived here."
        assert len(s.out.playouts) == 1


async def test_what_waits_behind_the_voice_is_taken_back_with_the_rest():
    remote, local = Dies("One is first here. ", "Two is next here. ", "Three is"), FakeModel("Four.")
    voice = Patient()
    async with scene("count", llm=route(remote, local), tts=voice) as s:
        await s.say(1.0)
        await s.hush(0.8)
        remote.go.set()
        await s.hush(0.1)
        voice.may.set()
        await s.hush(0.1)
        assert s.tts.said == ["One is first here.", "Four."]


@pytest.mark.parametrize("second", ["Two is next here. ", "Two is next "])
async def test_what_was_said_before_a_call_of_a_tool_stays(second: str) -> None:
    async def tell(arguments: dict[str, Any]) -> ToolResult:
        return ToolResult("It is noon.")

    tools = (ServerTool(Tool("clock", "Tells the time."), tell, "a test"),)
    remote = DiesLater(("One is first here. ", second, ToolCall("call_1", "clock", "{}")), "Three is")
    local, voice = FakeModel("Four is last."), Patient()
    async with scene("count", llm=route(remote, local), tts=voice, tools=tools) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert len(remote.requests) == 2
        remote.go.set()
        await s.hush(0.1)
        voice.may.set()
        await s.hush(0.1)
        assert " ".join(s.tts.said) == f"One is first here. {second}Four is last."
        assert local.requests[0].messages == remote.requests[1].messages, "it is asked what the other one was"


async def test_the_last_one_to_fail_ends_the_answer():
    remote, local = Dies("That is a long story. ", "Once upon a"), FakeModel(LLMError("llm_failed", "no"))
    async with scene("a story", llm=route(remote, local)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        remote.go.set()
        await s.hush(0.1)
        failed = s.last(ResponseFailed)
        assert (failed.error.code, failed.heard) == ("llm_failed", "That is a long story. Once upon a"), (
            "what is there is said"
        )


async def test_nothing_is_said_in_the_place_of_a_model_that_has_called_a_tool():
    call = ToolCall("call_1", "look", "{}")
    remote, local = Dies("Let me look there. ", call), FakeModel("Hello.")
    settings = ConversationSettings(tools=(Tool("look", "looks"),))
    async with scene("look", llm=route(remote, local), settings=settings) as s:
        await s.say(1.0)
        await s.hush(0.8)
        remote.go.set()
        await s.hush(0.1)
        assert s.last(ResponseFailed).error.code == "llm_unreachable"
        assert not local.requests


@pytest.mark.parametrize("stays", ["", "One two "])
async def test_the_route_asks_what_stays_once_for_each_loss(stays: str) -> None:
    models = [Dies("One two ", "three "), Dies("four "), FakeModel("five")]
    for model in models[:2]:
        model.go.set()
    asked: list[str] = []

    def lost(said: str) -> str:
        asked.append(said)
        return stays

    request = ChatRequest((), on_lost=lost)
    said = "".join([str(piece) async for piece in route(*models).stream(request)])
    assert asked == ["One two three ", f"{stays} four " if stays else "four "]
    assert said.split() == ["One", "two", "three", "four", "five"]
