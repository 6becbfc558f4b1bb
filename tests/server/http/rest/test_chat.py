"""``/v1/chat/completions`` and ``/v1/models`` with the stock ``openai`` client."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import openai
import pytest

from pipelines.errors import EngineBusyError, LLMError
from pipelines.interfaces.llm import Cut, Image, JsonFormat, Message, Tool, ToolCall
from pipelines.tools.server_tool import ServerTool, ToolResult
from tests.conftest import fake_engines
from tests.server.http.rest.clients import CALL, HELLO, TOOLS, WEATHER, HangingModel, ScriptedModel, client_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


BROKEN_CALL = [
    {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "x"}}]}
]


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def seen(url: str) -> list[dict]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]}
    ]


async def test_engines_are_listed_under_their_names_and_found_by_what_clients_call_them(rest):
    client = await rest()
    listed = (await client.models.list()).data
    assert [model.id for model in listed] == ["fake-llm", "fake-stt", "fake-tts"]
    assert {model.object for model in listed} == {"model"}
    for alias, engine in (("gpt-4o-mini", "fake-llm"), ("whisper-1", "fake-stt"), ("tts-1", "fake-tts")):
        found = await client.models.retrieve(alias)
        assert (found.id, found.root) == (alias, engine)
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


async def test_an_answer_as_one_object(rest):
    model = ScriptedModel("Hello ", "there.")
    client = await rest(llm=model)
    answer = await client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            *HELLO,
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "are you?"}]},
        ],
        max_completion_tokens=99,
        temperature=0.5,
        top_p=0.9,
        seed=7,
    )
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hello there.", "stop")
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 3, 14)
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    assert answer.model == "scripted"
    (asked,) = model.requests
    assert asked.messages == (
        Message("system", "Be brief.\n\nBe kind."),
        Message("user", "Hello?"),
        Message("assistant", "Yes?"),
        Message("user", "How\nare you?"),
    )
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.seed) == (99, 0.5, 0.9, 7)


async def test_the_cost_is_estimated_where_the_engine_does_not_tell_it(rest):
    model = ScriptedModel("One two three four.")
    model.usage = None
    answer = await (await rest(llm=model)).chat.completions.create(model="scripted", messages=HELLO)
    assert answer.usage is not None and answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens == 5


async def test_an_answer_as_it_streams(rest):
    client = await rest(llm=ScriptedModel("Hello ", "there."))
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert deltas[0].delta.role == "assistant"
    assert [one.delta.content for one in deltas[1:3]] == ["Hello ", "there."]
    assert [one.finish_reason for one in deltas] == [None, None, None, "stop"]
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 14
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_end_of_an_answer_that_was_cut(rest):
    client = await rest(llm=ScriptedModel("Hello", Cut()))
    answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=1)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello", "length")


async def test_stop_sequences_end_the_answer_wherever_its_pieces_are_cut(rest):
    model = ScriptedModel("One, t", "wo, #", "#", "# three", ", four")
    client = await rest(llm=model)
    answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stop=["###", "five"])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("One, two, ", "stop")
    answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stop="####")
    assert answer.choices[0].message.content == "One, two, ### three, four"


async def test_calls_of_tools_and_their_results(rest):
    model = ScriptedModel(CALL, ToolCall("call_2", "weather", "{}"))
    client = await rest(llm=model)
    answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=TOOLS, tool_choice="auto")
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and message.content is None and message.tool_calls
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("call_1", "weather", '{"city": "Paris"}'),
        ("call_2", "weather", "{}"),
    ]
    assert [tool.name for tool in model.requests[0].tools] == ["weather"]

    history = [
        *HELLO,
        message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": f"call_{n}", "content": "20 °C"} for n in (1, 2)),
    ]
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=history, tools=TOOLS, stream=True, parallel_tool_calls=False
    )
    chunks = [chunk.choices[0] async for chunk in stream]
    calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert [(call.index, call.id) for call in calls] == [(0, "call_1")], "only one at a time"
    assert chunks[-1].finish_reason == "tool_calls"
    assert model.requests[1].messages[1].tool_calls[0] == CALL
    assert model.requests[1].messages[2] == Message("tool", "20 °C", tool_call_id="call_1")

    await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=TOOLS, tool_choice="none")
    assert model.requests[2].tools == ()


async def test_an_answer_may_have_to_be_a_call_or_json(rest):
    model = ScriptedModel(CALL)
    client = await rest(llm=model)
    for choice, asked in (("required", "required"), (named("weather"), WEATHER)):
        answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=TOOLS, tool_choice=choice)
        assert answer.choices[0].finish_reason == "tool_calls"
        assert model.requests[-1].tool_choice == asked
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    for given, asked in (
        (wanted, JsonFormat(schema, "place", strict=True)),
        ({"type": "json_object"}, JsonFormat()),
        ({"type": "text"}, None),
    ):
        await client.chat.completions.create(
            model="gpt-4o", messages=HELLO, response_format=given, parallel_tool_calls=False
        )
        assert model.requests[-1].response_format == asked
        assert not model.requests[-1].parallel_tool_calls


async def test_what_the_model_cannot_be_held_to_is_refused(rest):
    client = await rest(llm=ScriptedModel("Hello.", held=False))
    for param, fields in {
        "tool_choice": {"tools": TOOLS, "tool_choice": "required"},
        "response_format": {"response_format": {"type": "json_object"}},
        "logprobs": {"logprobs": True},
    }.items():
        with pytest.raises(openai.BadRequestError, match=f"{param}: scripted ") as caught:
            await client.chat.completions.create(model="gpt-4o", messages=HELLO, **fields)
        assert caught.value.param == param
    client = await rest(llm=ScriptedModel(LLMError("response_format_unsupported", "response_format: odd schema")))
    with pytest.raises(openai.BadRequestError, match="odd schema"):
        await client.chat.completions.create(model="gpt-4o", messages=HELLO, response_format={"type": "json_object"})


async def test_how_likely_the_tokens_were_is_told_where_the_engine_tells_it(rest):
    client = await rest(llm=ScriptedModel("Hel", "lo"))
    asked = {"model": "gpt-4o", "messages": HELLO, "logprobs": True, "top_logprobs": 1}
    answer = await client.chat.completions.create(**asked)
    assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.content is not None
    assert [(one.token, one.logprob) for one in answer.choices[0].logprobs.content] == [("Hel", -0.5), ("lo", -0.5)]
    stream = await client.chat.completions.create(**asked, stream=True)
    chunks = [chunk.choices[0] async for chunk in stream]
    told = [
        (chunk.delta.content, [one.token for one in chunk.logprobs.content or ()]) for chunk in chunks if chunk.logprobs
    ]
    assert [one for one in told if one[1]] == [("Hel", ["Hel"]), ("lo", ["lo"])]
    plain = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert plain.choices[0].logprobs is None


async def test_tools_of_the_server_are_offered_only_to_those_who_ask(rest):
    async def run(arguments: dict[str, Any]) -> ToolResult:
        return ToolResult("done")

    weather, light = (ServerTool(Tool(name, "Does something."), run, "a test") for name in ("weather", "light"))
    model = ScriptedModel("Hello.")
    client = await rest(llm=model, tools=lambda: (weather, light))

    async def ask(**fields: Any) -> list[str]:
        await client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **fields})
        return [tool.name for tool in model.requests[-1].tools]

    assert await ask() == []
    assert await ask(extra_body={"server_tools": ["light"]}) == ["light"]
    assert await ask(extra_body={"server_tools": "all"}, tools=TOOLS) == ["weather", "light"], "the client's hides one"
    assert await ask(extra_body={"server_tools": "all"}, tool_choice="none") == []
    assert await ask(extra_body={"server_tools": "all"}, tool_choice=named("light")) == ["weather", "light"]
    assert model.requests[-1].tool_choice == light.tool
    for fields, param in (
        ({"server_tools": ["lihgt"]}, "server_tools.0"),
        ({"server_tools": "some"}, "server_tools"),
        ({"server_tools": ["light"], "tool_choice": named("clock")}, "tool_choice.function.name"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(extra_body=fields)
        assert caught.value.param == param
    dull = await rest(llm=ScriptedModel("Hello.", tools=False), tools=lambda: (light,))
    with pytest.raises(openai.BadRequestError, match="server_tools: scripted takes none"):
        await dull.chat.completions.create(model="gpt-4o", messages=HELLO, extra_body={"server_tools": "all"})


async def test_pictures_reach_a_model_that_takes_them(rest):
    model = ScriptedModel("A dot.", images=True)
    client = await rest(llm=model)
    await client.chat.completions.create(model="gpt-4o", messages=seen(data_uri(PNG)))
    (image,) = model.requests[0].messages[0].images
    assert (image.data, image.kind) == (Image(PNG, "image/png").data, "image/png")


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages.0.name"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.tool_call_id"),
    ({"messages": BROKEN_CALL}, "messages.0.tool_calls.0.function.arguments"),
    ({"messages": seen("https://example.org/a.png")}, "messages.0.content.1.image_url.url"),
    ({"messages": seen("data:image/png;base64,%%%")}, "messages.0.content.1.image_url.url"),
    ({"messages": seen(data_uri(b"GIF89a", "image/gif"))}, "messages.0.content.1.image_url.url"),
    ({"temperature": 2.5}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"n": 2}, "n"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"presence_penalty": 1}, "presence_penalty"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "text", "json_schema": {"name": "a", "schema": {}}}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, "response_format.json_schema.schema"),
    ({"tools": TOOLS, "tool_choice": "never"}, "tool_choice.type"),
    ({"tools": TOOLS, "tool_choice": "function"}, "tool_choice.function"),
    ({"tools": TOOLS, "tool_choice": named("whether")}, "tool_choice.function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": ""}, "stop.0"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"store": True}, "store"),
    ({"extra_body": {"mirostat": 2}}, "mirostat"),
)
"""Fields that cannot be honoured, and the place that the error names."""


async def test_what_cannot_be_honoured_is_refused_by_its_name(rest):
    model = ScriptedModel("Hello.", images=True)
    client = await rest(llm=model)
    for fields, param in REFUSED:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **fields})
        assert caught.value.param == param
        assert param in caught.value.message
    assert not model.requests


async def test_what_the_model_cannot_take_is_refused_by_its_name(rest):
    client = await rest(llm=ScriptedModel("Hello.", images=False, tools=False))
    with pytest.raises(openai.BadRequestError, match="takes no pictures"):
        await client.chat.completions.create(model="gpt-4o", messages=seen(data_uri(PNG)))
    with pytest.raises(openai.BadRequestError, match="takes none"):
        await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=TOOLS)
    with pytest.raises(openai.NotFoundError, match="legal values are scripted"):
        await client.chat.completions.create(model="llama-99", messages=HELLO)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EngineBusyError("engine_busy", "too many wait"), 503),
        (LLMError("llm_unavailable", "it is being started"), 503),
        (LLMError("llm_context_full", "too long"), 400),
        (LLMError("llm_failed", "broken"), 500),
    ],
)
async def test_a_model_that_fails_before_its_first_word_is_told_by_the_status(rest, error, status):
    client = await rest(llm=ScriptedModel(error))
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, error.code)
        assert ("Retry-After" in caught.value.response.headers) == (status == 503)


async def test_a_model_that_fails_in_the_middle_of_a_stream_is_told_as_its_last_event(rest):
    client = await rest(llm=ScriptedModel("Hello ", LLMError("llm_failed", "it fell over")))
    stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
    said = []
    with pytest.raises(openai.APIError, match="it fell over"):
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content)  # noqa: PERF401 - what came before counts
    assert said == ["", "Hello "]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_model(rest, stream):
    model = HangingModel()
    client = await rest(llm=model)
    asking = asyncio.create_task(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=stream))
    await model.asked.wait()
    asking.cancel()
    await client.close()
    await model.stopped.wait()


async def test_the_key_is_asked_for(serve, tmp_path):
    url, _ = await serve(api_key="secretsecret", cache=tmp_path)
    async with client_of(url, "secretsecret") as client:
        assert (await client.models.list()).data
    async with client_of(url, "wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_pages_that_may_use_the_api_can_read_what_streams(serve, tmp_path):
    url, _ = await serve(fake_engines(llm=ScriptedModel("Hello.")), cache=tmp_path, allowed_origins="https://a.example")
    page = {"Origin": "https://a.example"}
    asks = {**page, "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang"}
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    async with aiohttp.ClientSession(f"{url}/v1/") as http:
        preflight = await http.options("chat/completions", headers=asks)
        allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
        assert set(asks["Access-Control-Request-Headers"].split(",")) <= set(allowed.split(", "))
        odd = await http.options("chat/completions", headers={**page, "Access-Control-Request-Headers": "a;b"})
        assert odd.headers["Access-Control-Allow-Headers"].startswith("Authorization, Content-Type, ")
        answer = await http.post("chat/completions", headers=page, json=body)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert (await answer.text()).endswith("data: [DONE]\n\n")
