"""The loop around a model that calls the server's tools: rounds, limits, what is told, and when it may act."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.numpy_chat import load_numpy_chat
from pipelines.interfaces.llm import ChatRequest, Cut, Image, Message, Piece, Tool, ToolCall, takes_tools
from pipelines.models.residency import Kept
from pipelines.tools.calling import MOST_CALLS, MOST_ROUNDS, CallingModel, CallWatch
from pipelines.tools.server_tool import ServerTool, ToolLimits, ToolResult
from pipelines.voice.visual_context import LookingModel, Sight
from tests.fakes.tiny_llama import save_tiny_llama
from tests.pipelines.tools import house

Make = Callable[..., ServerTool]
ASKED = ChatRequest((Message("user", "Is it warm in Paris?"),))
CLOCK = Tool("clock", "Tells the time, at the client.")


class Caller:
    """A language model that answers with the next list of pieces; records what it was asked."""

    name = "caller"

    def __init__(self, *answers: Sequence[Piece], tools: bool = True, images: bool = False) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []
        self.takes_tools = tools
        self.takes_choice = True
        self.takes_images = images

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self.answers.pop(0) if self.answers else ("Yes.",):
            yield piece

    async def close(self) -> None:
        pass


def call(name: str, arguments: object = None, call_id: str = "c1") -> ToolCall:
    return ToolCall(call_id, name, json.dumps({} if arguments is None else arguments))


class Told:
    """What the watch is told, in order."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def allowed(self) -> None:
        self.asked.set()
        await self.gate.wait()
        self.lines.append("allowed")

    @property
    def watch(self) -> CallWatch:
        return CallWatch(
            self.allowed,
            lambda name, call_id, arguments: self.lines.append((name, call_id, arguments)),
            lambda call_id, result, failed: self.lines.append((call_id, result, failed)),
        )


async def answer(model: Caller, tools: Sequence[ServerTool], request: ChatRequest = ASKED, told: Told | None = None):
    calling = CallingModel(model, lambda: tools, told.watch if told else None)
    return [piece async for piece in calling.stream(request)]


PARIS = '{"city":"Paris","degrees":20,"unit":"C"}'


async def test_a_call_is_run_and_the_model_goes_on_with_its_result(function: Make) -> None:
    model, told = Caller(["Let me see.", call("weather", {"city": "Paris"})], ["It is", " warm."]), Told()
    assert await answer(model, [function("weather")], told=told) == ["Let me see.", " It is", " warm."]
    first, second = model.requests
    assert [tool.name for tool in first.tools] == ["weather"]
    assert second.messages[1:] == (
        Message("assistant", "Let me see.", (call("weather", {"city": "Paris"}),)),
        Message("tool", PARIS, tool_call_id="c1"),
    )
    assert told.lines == ["allowed", ("weather", "c1", '{"city": "Paris"}'), ("c1", PARIS, False)]


async def test_nothing_is_run_before_it_is_allowed(function: Make) -> None:
    model, told = Caller(["Well,", call("light", {"room": "hall"})], ["done."]), Told()
    told.gate.clear()
    task = asyncio.create_task(answer(model, [function("light")], told=told))
    await told.asked.wait()
    assert not house.calls and not told.lines
    told.gate.set()
    assert await task == ["Well,", " done."]
    assert len(house.calls) == 1


async def test_several_calls_are_run_side_by_side_and_told_in_their_order() -> None:
    meeting = asyncio.Barrier(2)

    async def meet(arguments: dict[str, Any]) -> ToolResult:
        await meeting.wait()  # never passed by one alone
        return ToolResult(str(arguments["n"]))

    tool = ServerTool(Tool("meet", "Meets."), meet, "a test")
    model = Caller([call("meet", {"n": 1}, "a"), call("meet", {"n": 2}, "b")])
    await answer(model, [tool])
    assert [message.content for message in model.requests[1].messages[2:]] == ["1", "2"]


async def test_failures_are_told_to_the_model(function: Make) -> None:
    calls = [call("light", {}, "a"), call("broken", {}, "b"), call("forever", {}, "c"), ToolCall("d", "light", "{")]
    model, told = Caller(calls), Told()
    tools = [function("light"), function("broken"), function("forever", seconds=0.01)]
    assert await answer(model, tools, told=told) == ["Yes."]
    results = {message.tool_call_id: message.content for message in model.requests[1].messages[2:]}
    assert results["a"] == "Error: wrong arguments: room: Field required"
    assert results["b"] == "Error: broken failed unexpectedly (RuntimeError)"
    assert results["c"] == "Error: forever did not answer within 0.01 seconds"
    assert results["d"] == "Error: the arguments must be one JSON object"
    assert sum(line[-1] is True for line in told.lines if line != "allowed") == 4


async def test_calls_of_the_clients_tools_are_passed_on_and_end_the_answer(function: Make) -> None:
    request = ChatRequest(ASKED.messages, tools=(CLOCK,))
    model = Caller([call("clock", call_id="x"), "Moment."])
    assert await answer(model, [function("weather")], request) == [call("clock", call_id="x"), "Moment."]
    assert [tool.name for tool in model.requests[0].tools] == ["clock", "weather"]

    model, told = Caller([call("clock", call_id="x"), call("weather", {"city": "Paris"}, "y")]), Told()
    assert await answer(model, [function("weather")], request, told) == [call("clock", call_id="x")]
    assert len(model.requests) == 1, "the client's result is needed first"
    assert told.lines[-1] == ("y", PARIS, False)


async def test_a_tool_of_the_clients_hides_the_servers(function: Make) -> None:
    request = ChatRequest(ASKED.messages, tools=(Tool("light", "The client's."),))
    model = Caller([call("light", {"room": "hall"})])
    assert await answer(model, [function("light")], request) == [call("light", {"room": "hall"})]
    assert [tool.description for tool in model.requests[0].tools] == ["The client's."]
    assert not house.calls


async def test_rounds_come_to_an_end(function: Make) -> None:
    model = Caller(*[["So", call("nothing"), Cut()]] * 99)
    said = await answer(model, [function("nothing")])
    assert said == ["So", *[" So"] * MOST_ROUNDS, Cut()]
    assert len(model.requests) == MOST_ROUNDS + 1
    assert model.requests[-1].tools == ()


async def test_too_many_calls_at_a_time_are_not_run(function: Make) -> None:
    model = Caller([call("light", {"room": str(n)}, f"c{n}") for n in range(MOST_CALLS + 3)])
    await answer(model, [function("light")])
    assert len(house.calls) == MOST_CALLS
    assert model.requests[1].messages[-1].content == f"Error: not run: {MOST_CALLS} calls at a time are"


async def test_a_call_that_had_to_be_made_is_made_once(function: Make) -> None:
    model = Caller([call("light", {"room": "hall"})])
    request = ChatRequest(ASKED.messages, tools=(CLOCK,), tool_choice="required")
    await answer(model, [function("light")], request)
    assert [request.tool_choice for request in model.requests] == ["required", "auto"]


async def test_a_model_that_takes_no_tools_is_offered_none(function: Make) -> None:
    model = Caller(tools=False)
    assert await answer(model, [function("light")]) == ["Yes."]
    assert model.requests[0].tools == ()
    assert not takes_tools(CallingModel(model, tuple))


async def test_giving_the_answer_up_ends_what_is_run() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(arguments: dict[str, Any]) -> ToolResult:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ToolResult("never")

    tool = ServerTool(Tool("hang", "Hangs."), hang, "a test", ToolLimits(seconds=600.0))
    task = asyncio.create_task(answer(Caller([call("hang")]), [tool]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_pictures_that_come_with_a_result_are_shown_to_models_that_see() -> None:
    picture = Image(b"\xff\xd8\xff")

    async def draw(arguments: dict[str, Any]) -> ToolResult:
        return ToolResult("[a picture]", images=(picture,))

    tool = ServerTool(Tool("draw", "Draws."), draw, "a test", ToolLimits())
    for sees in (True, False):
        model = Caller([call("draw")], images=sees)
        await answer(model, [tool])
        shown = [message.images for message in model.requests[1].messages if message.images]
        assert shown == ([(picture,)] if sees else [])


async def test_a_model_with_eyes_looks_and_calls(function: Make) -> None:
    async def see(source: str) -> Image:
        return Image(b"\xff\xd8\xff")

    inner = Caller([call("look", {"source": "camera"})], [call("light", {"room": "hall"})], ["Done."], images=True)
    looking = LookingModel(inner, Sight(sources=lambda: ("camera",), picture=see))
    calling = CallingModel(looking, lambda: [function("light")])
    assert [piece async for piece in calling.stream(ASKED)] == ["Done."]
    assert [tool.name for tool in inner.requests[0].tools] == ["light", "look"]
    assert len(house.calls) == 1


async def test_a_real_model_that_has_to_call_is_answered(function: Make, tmp_path: Any) -> None:
    """Random weights: the call is begun for it; what it makes of the arguments is nonsense, and told so."""
    chat = LocalChat(Kept("tiny", load_numpy_chat(save_tiny_llama(tmp_path, context=2048))))
    told = Told()
    request = ChatRequest(ASKED.messages, max_tokens=30, tools=(CLOCK,), tool_choice=function("light").tool, seed=1)
    try:
        async for _ in CallingModel(chat, lambda: [function("light")], told.watch).stream(request):
            pass
    except Exception as error:  # noqa: BLE001 - it may not even be a call
        assert getattr(error, "code", "") == "tool_call_invalid"
    else:
        assert told.lines[1][0] == "light"
    await chat.close()
