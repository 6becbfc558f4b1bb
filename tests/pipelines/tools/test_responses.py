"""The server's tools in a conversation: run once a response is given, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pipelines.tools.server_tool import ServerTool
from pipelines.voice.events import ResponseGenerated, VoiceEvent
from pipelines.voice.history import Item
from pipelines.voice.response import TurnTimes
from pipelines.voice.responses import Responses, Surroundings
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeRecognizer, FakeVoice, LoudnessVad
from tests.pipelines.tools import house
from tests.pipelines.tools.test_calling import Caller, call

ITEM = Item("i1", "user", "Put the light on in the hall.")


class Asked(Caller):
    """Tells when it has been asked for its first answer, to the end."""

    def __init__(self, *answers: Sequence[object]) -> None:
        super().__init__(*answers)  # type: ignore[arg-type]
        self.done = asyncio.Event()

    async def stream(self, request):  # type: ignore[no-untyped-def]
        async for piece in super().stream(request):
            yield piece
        self.done.set()


def made(model: Caller, tool: ServerTool, events: list[VoiceEvent]) -> Responses:
    engines = VoiceEngines(LoudnessVad(), FakeRecognizer(), model, FakeVoice(), tools=lambda: (tool,))
    return Responses(Surroundings(engines, None, events.append, FakeClock()), ConversationSettings())


async def test_a_response_that_is_only_prepared_runs_nothing(function: Callable[..., ServerTool]) -> None:
    events: list[VoiceEvent] = []
    model = Asked(["Well.", call("light", {"room": "hall"})], ["It is on."])
    responses = made(model, function("light"), events)
    async with asyncio.TaskGroup() as group:
        responses.start(group)
        prepared = responses.prepare(TurnTimes(), ITEM)
        await model.done.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not house.calls and not events and len(model.requests) == 1
        responses.history.add(ITEM)
        responses.give(prepared)
        await responses.finished()
    assert len(house.calls) == 1
    (told,) = (event for event in events if isinstance(event, ResponseGenerated))
    assert (told.text, told.calls) == ("Well. It is on.", ())

    model.answers, model.done = [[call("light", {"room": "hall"})]], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        responses.start(group)
        prepared = responses.prepare(TurnTimes(), ITEM)
        await model.done.wait()
        prepared.discard()
    assert len(house.calls) == 1


@pytest.mark.parametrize("choice", ["auto", "required", "none"])
async def test_a_response_that_is_asked_for_runs_them_at_once(function: Callable[..., ServerTool], choice: str) -> None:
    model = Asked(["So."] if choice == "none" else ["So.", call("light", {"room": "hall"})], ["It is on."])
    responses = made(model, function("light"), [])
    responses.settings = replace(responses.settings, tool_choice=choice)
    responses.history.add(ITEM)
    async with asyncio.TaskGroup() as group:
        responses.start(group)
        responses.respond()
        await responses.finished()
    assert len(house.calls) == (choice != "none")
    assert [tool.name for tool in model.requests[0].tools] == (["light"] if choice != "none" else [])
    assert model.requests[0].must_call == (choice == "required")
