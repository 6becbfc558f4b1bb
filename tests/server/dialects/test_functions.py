"""Function calls, responses of their own input or outside of the conversation, truncation, and an idle user: the events
that a client of OpenAI Realtime sends and gets, over a real conversation with fake engines."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from pipelines.interfaces.llm import ChatRequest, Message, Piece, Tool, ToolCall, Usage
from pipelines.tools.server_tool import ServerTool, ToolResult
from pipelines.voice import responses
from pipelines.voice.history import NO_RESULT
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.turn import TurnMode, TurnSettings
from tests.fakes.engines import FakeModel
from tests.pipelines.voice.test_conversation import scene, settle
from tests.server.dialects.test_realtime_client import HELLO, Client, codes, types

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
MANUAL = ConversationSettings(turn=TurnSettings(TurnMode.MANUAL), spoken=False)
PARIS = ToolCall("call_1", "weather", '{"city": "Paris"}')
ROME = ToolCall("call_2", "weather", '{"city": "Rome"}')


class Caller(FakeModel):
    """Answers with what it is given: words, and calls."""

    takes_choice = True

    def __init__(self, *answers: tuple[Piece, ...]) -> None:
        super().__init__()
        self.pieces = list(answers)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        if request.on_usage is not None:
            request.on_usage(Usage(7, 2, 3))
        for piece in self.pieces.pop(0):
            await self.gate.wait()
            yield piece


def create(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "conversation.item.create", "item": item} for item in items]


def result(call_id: str, output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def of(sent: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in sent if event["type"] == kind]


async def test_a_function_is_called_and_its_result_is_answered():
    llm = Caller((PARIS,), ("It is ", "sunny."))
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        updated = await client.say({"type": "session.update", "session": {"tools": [WEATHER]}})
        assert updated[0]["session"]["tools"] == [WEATHER]
        sent = await client.say(*create(HELLO), {"type": "response.create"})
        assert types(sent)[2:] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        begun, whole = sent[3]["item"], sent[-2]["item"]
        assert (begun["status"], begun["arguments"], begun["name"]) == ("in_progress", "", "weather")
        assert (whole["status"], whole["arguments"], whole["call_id"]) == ("completed", PARIS.arguments, "call_1")
        done = sent[-1]["response"]
        assert (done["status"], done["output"]) == ("completed", [whole])
        assert (done["usage"]["total_tokens"], done["usage"]["input_token_details"]["cached_tokens"]) == (10, 2)
        assert llm.requests[0].tools == (Tool("weather", "Tells the weather.", WEATHER["parameters"]),)

        sent = await client.say(*create(result("call_1", '{"sky": "clear"}')), {"type": "response.create"})
        assert types(sent)[:3] == ["conversation.item.added", "conversation.item.done", "response.created"]
        assert sent[0]["item"]["output"] == '{"sky": "clear"}'
        assert sent[0]["previous_item_id"] == whole["id"]
        assert sent[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "It is sunny."}]
        *_, asked, told = llm.requests[1].messages
        assert asked == Message("assistant", "", (PARIS,))
        assert told == Message("tool", '{"sky": "clear"}', tool_call_id="call_1")
        sent = await client.say({"type": "conversation.item.retrieve", "item_id": whole["id"]})
        assert sent[0]["item"] == whole


async def test_words_before_calls_are_told_before_them_and_calls_made_at_a_time_belong_together():
    llm = Caller(("One moment.", PARIS, ROME), ("Both fine.",))
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        await client.say({"type": "session.update", "session": {"tools": [WEATHER]}})
        sent = await client.say(*create(HELLO), {"type": "response.create"})
        output = sent[-1]["response"]["output"]
        assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
        assert [event["output_index"] for event in of(sent, "response.output_item.done")] == [0, 1, 2]
        done = [event["item"]["id"] for event in of(sent, "conversation.item.done")[1:]]
        assert done == [item["id"] for item in output]
        await client.say(*create(result("call_2", "rain"), result("call_1", "sun")), {"type": "response.create"})
        assert llm.requests[1].messages[-3:] == (
            Message("assistant", "One moment.", (PARIS, ROME)),
            Message("tool", "sun", tool_call_id="call_1"),
            Message("tool", "rain", tool_call_id="call_2"),
        )


async def test_the_answer_to_a_result_is_heard_after_what_was_being_said():
    llm = Caller(("Let me have a look.", PARIS), ("It is sunny.",))
    async with scene("the weather", llm=llm) as s:
        client = Client(s)
        await client.say({"type": "session.update", "session": {"tools": [WEATHER]}})
        await s.say(1.0)
        await s.hush(1.0)
        s.out.playouts[0].play(0.2)
        sent = await client.say(*create(result("call_1", "sunny")), {"type": "response.create"})
        assert codes(sent) == []
        assert of(sent, "response.done")[-1]["response"]["status"] == "completed"
        assert len(s.out.playouts) == 1 and not s.out.playouts[0].ended.is_set()
        s.out.playouts[0].play(60)
        assert "output_audio_buffer.stopped" in types(await client.say())
        s.out.playouts[1].play(0.1)
        assert "output_audio_buffer.started" in types(await client.say())


async def test_who_interrupts_a_call_leaves_the_history_right():
    llm = Caller(("Let me have a look.", PARIS), ("Rome, then.",))
    async with scene("the weather in paris", "no in rome", llm=llm) as s:
        client = Client(s)
        await client.say({"type": "session.update", "session": {"tools": [WEATHER]}})
        await s.say(1.0)
        await s.hush(1.0)
        s.out.playouts[0].play(0.3)
        await s.say(1.0)
        await s.hush(1.0)
        sent = await client.say()
        assert "output_audio_buffer.cleared" in types(sent)
        assert [m for m in llm.requests[-1].messages if m.role != "system"] == [
            Message("user", "the weather in paris"),
            Message("assistant", "Let —", (PARIS,)),
            Message("tool", NO_RESULT, tool_call_id="call_1"),
            Message("user", "no in rome"),
        ]
        sent = await client.say(*create(result("call_1", "late")))
        assert types(sent) == ["conversation.item.added", "conversation.item.done"]


@pytest.mark.parametrize(
    ("choice", "tools", "wanted"),
    [("none", 0, "auto"), ("required", 1, "required"), ({"type": "function", "name": "weather"}, 1, "weather")],
)
async def test_the_choice_reaches_the_model_and_is_told(choice, tools, wanted):
    llm = Caller(("Fine.",))
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        session = {"tools": [WEATHER], "tool_choice": choice}
        sent = await client.say({"type": "session.update", "session": session})
        assert sent[0]["session"]["tool_choice"] == choice
        await client.say(*create(HELLO), {"type": "response.create"})
        request = llm.requests[0]
        assert len(request.tools) == tools
        named = request.tool_choice.name if isinstance(request.tool_choice, Tool) else request.tool_choice
        assert named == wanted
        sent = await client.say({"type": "session.update", "session": {"tools": []}})
        if wanted == "weather":
            assert sent[0]["session"]["tool_choice"] == "auto"


async def test_whether_one_answer_may_call_several_reaches_the_model_and_is_told():
    llm = Caller(("Fine.",), ("Well.",))
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        sent = await client.say({"type": "session.update", "session": {"parallel_tool_calls": False}})
        assert sent[0]["session"]["parallel_tool_calls"] is False
        await client.say(*create(HELLO), {"type": "response.create"})
        await client.say({"type": "response.cancel"})
        await client.say({"type": "response.create", "response": {"parallel_tool_calls": True}})
        assert [request.parallel_tool_calls for request in llm.requests] == [False, True]
        sent = await client.say({"type": "session.update", "session": {"parallel_tool_calls": None}})
        assert sent[0]["session"]["parallel_tool_calls"] is True


async def test_a_model_that_calls_nothing_says_so_and_the_session_goes_on():
    class Plain(FakeModel):
        takes_tools = False

    async with scene(llm=Plain("Hi."), settings=MANUAL) as s:
        client = Client(s)
        sent = await client.say({"type": "session.update", "session": {"tools": [WEATHER]}})
        assert codes(sent) == ["tools_not_taken"] and "session.updated" in types(sent)
        assert "response.done" in types(await client.say(*create(HELLO), {"type": "response.create"}))


async def test_results_of_nothing_are_refused():
    async with scene(settings=MANUAL) as s:
        sent = await Client(s).say(*create(result("call_9", "x")))
        assert (sent[0]["type"], sent[0]["error"]["param"]) == ("error", "item.call_id")


async def test_a_response_while_one_is_being_generated_is_refused_and_harms_nothing():
    llm = Caller(("One.",), ("Two.",))
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        llm.gate.clear()
        await client.say(*create(HELLO), {"type": "response.create"})
        sent = await client.say({"type": "response.create", "event_id": "second"})
        assert codes(sent) == ["conversation_already_has_active_response"]
        assert sent[0]["error"]["event_id"] == "second"
        llm.gate.set()
        assert of(await client.say(), "response.done")[0]["response"]["status"] == "completed"
        assert len(llm.requests) == 1


async def test_a_response_aside_neither_waits_nor_is_remembered():
    llm = Caller(("The main answer.",), ("A title",), ("Next.",))
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        sent = await client.say(*create(HELLO))
        llm.gate.clear()
        await client.say({"type": "response.create"})
        words = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Name this."}]}
        items = [{"type": "item_reference", "id": sent[0]["item"]["id"]}, words]
        aside = {"conversation": "none", "input": items, "metadata": {"topic": "title"}, "instructions": "Be short."}
        sent = await client.say({"type": "response.create", "response": aside})
        assert codes(sent) == []
        llm.gate.set()
        done = {
            d["response"]["metadata"]["topic"] if "metadata" in d["response"] else "": d["response"]
            for d in of(await client.say(), "response.done")
        }
        assert done["title"]["conversation_id"] is None
        assert done["title"]["output"][0]["content"][0]["text"] == "A title"
        assert done[""]["conversation_id"].startswith("conv_")
        messages = next(r.messages for r in llm.requests if "Name this." in r.messages[-1].content)
        assert [m.content for m in messages] == ["Be short.", "hello\nName this."]
        await client.say({"type": "response.create"})
        assert "A title" not in json.dumps([m.content for m in llm.requests[-1].messages])


async def test_one_aside_can_be_cancelled_and_there_are_only_so_many():
    llm = Caller(*[("Words.",)] * 9)
    async with scene(llm=llm, settings=MANUAL) as s:
        client = Client(s)
        llm.gate.clear()
        ask = {"type": "response.create", "response": {"conversation": "none"}}
        sent = await client.say(*create(HELLO), *[ask] * 5)
        assert codes(sent) == ["too_many_responses"]
        first = of(sent, "response.created")[0]["response"]["id"]
        sent = await client.say({"type": "response.cancel", "response_id": first})
        assert of(sent, "response.done")[0]["response"]["status"] == "cancelled"
        assert codes(await client.say(ask)) == []
        assert codes(await client.say({"type": "response.cancel"})) == ["response_cancel_not_active"]


async def test_a_client_that_plays_the_sound_itself_says_what_was_heard():
    async with scene("a story", "go on", answers=("Once upon a time there was a king.", "Yes.")) as s:
        client = Client(s)
        await s.say(1.0)
        await s.hush(1.0)
        s.out.playouts[0].play(60)
        sent = await client.say()
        answer = of(sent, "response.done")[0]["response"]["output"][0]["id"]
        cut = {"type": "conversation.item.truncate", "item_id": answer, "content_index": 0}
        sent = await client.say({**cut, "audio_end_ms": 1000})
        assert [(e["type"], e["audio_end_ms"], e["transcript"]) for e in sent] == [
            ("conversation.item.truncated", 1000, "Once upon a time")
        ]
        sent = await client.say({**cut, "audio_end_ms": 99_000})  # more than there is is all there is
        assert sent[0]["audio_end_ms"] == 2000
        await client.say({**cut, "audio_end_ms": 500})
        await s.say(1.0)
        await s.hush(1.5)
        assert [m.content for m in s.llm.requests[-1].messages if m.role == "assistant"] == ["Once upon —"]
        user = of(await client.say(), "conversation.item.added")[0]["item"]["id"]
        sent = await client.say({**cut, "item_id": user, "audio_end_ms": 5})
        assert codes(sent) == ["item_truncate_invalid_item_id"]


async def test_an_idle_user_is_spoken_to_once_after_each_answer():
    settings = ConversationSettings(turn=TurnSettings(TurnMode.SERVER_VAD, silence_seconds=0.5, idle_seconds=5.0))
    async with scene("hello", answers=("Hi.", "Are you still there?"), settings=settings) as s:
        client = Client(s)
        await s.hush(7.0)
        assert await client.say() == [], "before anything has been said there is nothing to wait for"
        await s.say(1.0)
        await s.hush(1.0)
        s.out.playouts[0].play(60)
        await s.hush(4.8)
        assert "input_audio_buffer.timeout_triggered" not in types(await client.say())
        await s.hush(0.5)
        sent = await client.say()
        start = types(sent).index("input_audio_buffer.timeout_triggered")
        assert types(sent)[start : start + 5] == [
            "input_audio_buffer.timeout_triggered",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        timeout = sent[start]
        assert timeout["audio_end_ms"] - timeout["audio_start_ms"] == pytest.approx(5000, abs=40)
        assert "silent for 5 seconds" in s.llm.requests[1].messages[-1].content
        assert all("silent" not in text for _, text in s.remembered)


async def test_what_the_server_runs_itself_is_told_and_remembered_in_front_of_the_answer():
    async def call(arguments: dict[str, Any]) -> ToolResult:
        return ToolResult(f"{arguments['city']}: 21 degrees")

    tool = ServerTool(Tool("weather", "Tells the weather.", WEATHER["parameters"]), call, "a test")
    llm = Caller((PARIS,), ("It is 21 degrees.",), ("You are welcome.",))
    async with scene(llm=llm, settings=MANUAL, tools=(tool,)) as s:
        client = Client(s)
        sent = await client.say(*create(HELLO), {"type": "response.create"})
        items = [event["item"]["type"] for event in of(sent, "conversation.item.done")]
        assert items == ["message", "function_call", "function_call_output", "message"]
        output = of(sent, "response.done")[0]["response"]["output"]
        assert [item["type"] for item in output] == ["message"], "a client must not run it again"
        await client.say(*create({**HELLO, "id": "thanks"}), {"type": "response.create"})
        assert [m for m in llm.requests[-1].messages if m.role != "system"] == [
            Message("user", "hello"),
            Message("assistant", "", (PARIS,)),
            Message("tool", "Paris: 21 degrees", tool_call_id="call_1"),
            Message("assistant", "It is 21 degrees."),
            Message("user", "hello"),
        ]


async def test_the_same_call_again_is_not_run_again():
    ran: list[str] = []

    async def call(arguments: dict[str, Any]) -> ToolResult:
        ran.append(arguments["city"])
        return ToolResult("mild")

    tool = ServerTool(Tool("weather", "Tells the weather.", WEATHER["parameters"]), call, "a test")
    again = [ToolCall(f"again_{n}", PARIS.name, PARIS.arguments) for n in range(2)]
    llm = Caller((PARIS, again[0]), (ROME, again[1]), ("Mild in both.",))
    async with scene(llm=llm, settings=MANUAL, tools=(tool,)) as s:
        sent = await Client(s).say(*create(HELLO), {"type": "response.create"})
        assert ran == ["Paris", "Rome"]
        results = [e["item"]["output"] for e in of(sent, "conversation.item.done") if "output" in e["item"]]
        assert results == ["mild"] * 4, "every call has its result"


async def test_a_call_that_has_failed_can_be_tried_again():
    results = [ToolResult("the line is busy", failed=True), ToolResult("mild")]

    async def call(arguments: dict[str, Any]) -> ToolResult:
        return results.pop(0)

    tool = ServerTool(Tool("weather", "Tells the weather.", WEATHER["parameters"]), call, "a test")
    again = ToolCall("again", PARIS.name, PARIS.arguments)
    async with scene(llm=Caller((PARIS,), (again,), ("Mild.",)), settings=MANUAL, tools=(tool,)) as s:
        sent = await Client(s).say(*create(HELLO), {"type": "response.create"})
        outputs = [e["item"]["output"] for e in of(sent, "conversation.item.done") if "output" in e["item"]]
        assert outputs == ["the line is busy", "mild"]


async def test_a_model_that_cannot_be_made_to_call_refuses_that_and_keeps_what_was():
    class Free(Caller):
        takes_choice = False

    async with scene(llm=Free(("Hi.",)), settings=MANUAL) as s:
        client = Client(s)
        sent = await client.say({"type": "session.update", "session": {"tools": [WEATHER], "tool_choice": "required"}})
        assert codes(sent) == ["tool_choice_unsupported"]
        assert s.conversation.settings.tools == ()


@pytest.mark.parametrize(
    "arguments", ['{"a":' * 5_000 + "1" + "}" * 5_000, '{"a": NaN}', '{"a": "\\ud800"}', "[]", "{"], ids=len
)
async def test_arguments_that_are_no_json_are_refused(arguments: str):
    async with scene(settings=MANUAL) as s:
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
        (told,) = await Client(s).say(*create(call))
        assert (told["error"]["code"], told["error"]["param"]) == ("invalid_value", "item.arguments")
        assert "must be the text of a JSON object" in told["error"]["message"]


async def test_a_time_that_no_arithmetic_takes_is_refused():
    async with scene(llm=FakeModel("One two.")) as s:
        client = Client(s)
        await client.say(*create(HELLO), {"type": "response.create"})
        cut = {"type": "conversation.item.truncate", "item_id": s.conversation.history.items[-1].id}
        (told,) = await client.say({**cut, "content_index": 0, "audio_end_ms": 10**400})
        assert (told["error"]["code"], told["error"]["param"]) == ("invalid_value", "audio_end_ms")


async def test_only_so_many_responses_wait_to_be_heard(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(responses, "MOST_TO_BE_HEARD", 3)
    async with scene(llm=FakeModel(*["Yes."] * 9)) as s:
        client = Client(s)
        for _ in range(3):
            assert codes(await client.say({"type": "response.create"})) == []
        assert codes(await client.say({"type": "response.create"})) == ["too_many_responses"]
        s.out.playouts[0].play(9.0)
        await settle()
        assert codes(await client.say({"type": "response.create"})) == []
