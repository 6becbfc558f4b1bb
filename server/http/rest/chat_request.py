"""``POST /v1/chat/completions``: its body, and what a language model is asked for it. Pure.

What cannot be honoured is refused with the name of the field, never taken and left without effect.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pipelines.interfaces.llm import (
    UNABLE,
    ChatRequest,
    Image,
    JsonFormat,
    LanguageModel,
    Message,
    Scaled,
    Tool,
    ToolCall,
    ToolChoice,
    adapters_of,
    lacking,
    takes_images,
    takes_tools,
)
from pipelines.models.weights.adapters import LARGEST_SCALE, MOST_AT_ONCE
from pipelines.text import unknown
from pipelines.tools.server_tool import ServerTool
from server.http.errors import HttpError
from server.http.json_input import JsonInputError, read_json_object
from server.http.rest.requests import Body, refuse

ALL = "*"
"""Every tool of the server."""
DEFAULT_TOKENS = 2048
"""Of an answer whose length nobody bounds."""
LARGEST_IMAGE = 4 << 20
"""Bytes of a picture."""
MOST_IMAGES = 16
"""Pictures in one request."""
_STEP = 1 << 18
"""Characters of base64, a multiple of four."""
_DATA_URI = re.compile(r"data:(image/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


class _Url(Body):
    url: str
    detail: Literal["auto"] = "auto"


class _Text(Body):
    type: Literal["text"]
    text: str


class _Picture(Body):
    type: Literal["image_url"]
    image_url: Annotated[
        _Url,
        BeforeValidator(
            lambda value: {"url": value} if isinstance(value, str) else value, json_schema_input_type=_Url | str
        ),
    ]


Part = Annotated[_Text | _Picture, Field(discriminator="type")]


class _Called(Body):
    name: str = Field(min_length=1, max_length=64)
    arguments: str


class _Call(Body):
    id: str = Field(min_length=1, max_length=200)
    type: Literal["function"] = "function"
    function: _Called


class ChatMessage(Body):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[
        tuple[Part, ...],
        BeforeValidator(
            lambda value: [{"type": "text", "text": value}] if isinstance(value, str) else value or (),
            json_schema_input_type=str | tuple[Part, ...],
        ),
    ] = ()
    tool_calls: tuple[_Call, ...] | None = None
    tool_call_id: str | None = None
    name: None = None
    refusal: None = None
    audio: None = None
    annotations: tuple[()] | None = None
    function_call: None = None


class _Function(Body):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] = Field({"type": "object", "properties": {}})
    strict: Literal[False] | None = None


class _Tool(Body):
    type: Literal["function"]
    function: _Function


class _StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class _Schema(Body):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    json_schema: dict[str, Any] = Field(alias="schema")
    strict: bool = False


class _ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Named(Body):
    name: str


class _Choice(Body):
    type: Literal["none", "auto", "required", "function"]
    function: _Named | None = None


_Stop = Annotated[str, Field(min_length=1, max_length=200)]


class _Scale(Body):
    id: str = Field(min_length=1, max_length=64)
    scale: float = Field(1.0, ge=-LARGEST_SCALE, le=LARGEST_SCALE)


class ChatBody(Body):
    """The body. What is typed with the one legal value cannot be anything else here."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=2000)
    model: str
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    max_tokens: int | None = Field(None, ge=1, le=32_768)
    max_completion_tokens: int | None = Field(None, ge=1, le=32_768)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[
        tuple[_Stop, ...],
        BeforeValidator(
            lambda value: [value] if isinstance(value, str) else value,
            json_schema_input_type=_Stop | Annotated[tuple[_Stop, ...], Field(max_length=4)],
        ),
        Field(max_length=4),
    ] = ()
    tools: tuple[_Tool, ...] = Field((), max_length=128)
    tool_choice: Annotated[
        _Choice, BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value)
    ] = _Choice(type="auto")
    parallel_tool_calls: bool = True
    server_tools: Annotated[
        tuple[str, ...], BeforeValidator(lambda value: [ALL] if value == "all" else value), Field(max_length=128)
    ] = ()
    """Ours: names of tools that the server runs itself, or ``all``; none unless they are asked for."""
    lora: tuple[_Scale, ...] = Field((), max_length=MOST_AT_ONCE)
    """llama.cpp's field: adapters by name, each with how strongly it is applied; goes with the model's own name."""
    n: Literal[1] = 1
    presence_penalty: Annotated[float, Field(ge=0, le=0)] = 0
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] = 0
    logit_bias: dict[str, float] = Field({}, max_length=0)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)
    response_format: _ResponseFormat | None = None
    modalities: tuple[Literal["text"], ...] = ("text",)
    store: Literal[False] = False
    service_tier: Literal["auto", "default"] = "auto"
    user: str = ""
    """Labels a request for its sender's own accounts, as the next two; nothing is kept here."""
    metadata: dict[str, str] = Field({})
    safety_identifier: str = ""
    prompt_cache_key: str = ""


def server_tools(body: ChatBody, there: Sequence[ServerTool]) -> tuple[ServerTool, ...]:
    """Those of the tools that are ``there`` that the body asks for. Raises :class:`HttpError` (400) for others."""
    names = [tool.name for tool in there]
    for n, name in enumerate(body.server_tools):
        if name != ALL and name not in names:
            raise refuse(f"server_tools.{n}", unknown("tool of the server", name[:64], names), "invalid_value")
    return tuple(tool for tool in there if ALL in body.server_tools or tool.name in body.server_tools)


def chat_request(body: ChatBody, model: LanguageModel, own: Sequence[Tool] = (), adapter: str = "") -> ChatRequest:
    """What ``model`` is asked, where it is offered the server's ``own`` tools, too; ``adapter`` is in the model's name.

    Raises :class:`HttpError` (400) naming what it cannot do.
    """
    tools = tuple(Tool(one.function.name, one.function.description, one.function.parameters) for one in body.tools)
    choice = _choice(body, (*tools, *own))
    if body.tool_choice.type == "none":
        tools = own = ()
    for param, offered in {"tools": tools, "server_tools": tuple(own)}.items():
        if offered and not takes_tools(model):
            raise refuse(param, f"{model.name} takes none; leave them out")
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise refuse("max_tokens", "is the old name of max_completion_tokens: give one of them")
    if body.top_logprobs and not body.logprobs:
        raise refuse("top_logprobs", "is for logprobs: true alone", "invalid_value")
    request = ChatRequest(
        _messages(body.messages, sees=takes_images(model), name=model.name),
        max_tokens=body.max_completion_tokens or body.max_tokens or DEFAULT_TOKENS,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=_format(body.response_format),
        temperature=body.temperature,
        top_p=body.top_p,
        top_logprobs=body.top_logprobs if body.logprobs else None,
        adapters=_adapters(body, model, adapter),
        seed=None if body.seed is None else body.seed % 2**32,
    )
    if param := lacking(model, replace(request, tools=(*tools, *own))):
        raise refuse(param, f"{model.name} {UNABLE[param]}")
    return request


def _adapters(body: ChatBody, model: LanguageModel, named: str) -> Scaled:
    if named and body.lora:
        raise refuse("lora", f"the model names the adapter {named} already: leave one of them out", "invalid_value")
    for n, one in enumerate(body.lora):
        if one.id not in (there := adapters_of(model)):
            raise refuse(f"lora.{n}.id", unknown("adapter", one.id, there), "invalid_value")
    return ((named, 1.0),) if named else tuple((one.id, one.scale) for one in body.lora)


def _choice(body: ChatBody, tools: Sequence[Tool]) -> ToolChoice:
    choice = body.tool_choice
    if (choice.function is None) == (choice.type == "function"):
        raise refuse("tool_choice.function", "goes with the type function, and only with it", "invalid_value")
    if choice.type in ("none", "auto"):
        return "auto"
    if not tools:
        raise refuse("tool_choice", "needs tools, of which one is to be called", "invalid_value")
    if choice.function is None:
        return "required"
    wanted = choice.function.name
    found = next((tool for tool in tools if tool.name == wanted), None)
    if found is None:
        message = unknown("tool", wanted[:64], [tool.name for tool in tools])
        raise refuse("tool_choice.function.name", message, "invalid_value")
    return found


def _format(wanted: _ResponseFormat | None) -> JsonFormat | None:
    """What the text has to be. Raises :class:`HttpError` where the schema is missing, or there for nothing."""
    if wanted is None:
        return None
    if (wanted.json_schema is None) == (wanted.type == "json_schema"):
        raise refuse("response_format.json_schema", "goes with the type json_schema, and only with it", "invalid_value")
    if (given := wanted.json_schema) is not None:
        return JsonFormat(given.json_schema, given.name, given.description, given.strict)
    return JsonFormat() if wanted.type == "json_object" else None


def _messages(given: Sequence[ChatMessage], *, sees: bool, name: str) -> tuple[Message, ...]:
    """The messages, those of the system in front as one."""
    rules: list[str] = []
    messages: list[Message] = []
    called: set[str] = set()
    pictures = 0
    for n, one in enumerate(given):
        place = f"messages.{n}"
        images = _images(one, place, sees=sees, name=name)
        pictures += len(images)
        if pictures > MOST_IMAGES:
            raise refuse(f"{place}.content", f"a request may have {MOST_IMAGES} pictures")
        text = "\n".join(part.text for part in one.content if isinstance(part, _Text))
        _check_role(one, place, called)
        if one.role == "system" or one.role == "developer":
            rules.append(text)
            continue
        calls = tuple(_call(call, f"{place}.tool_calls.{k}") for k, call in enumerate(one.tool_calls or ()))
        called |= {call.id for call in calls}
        messages.append(Message(one.role, text, calls, one.tool_call_id or "", images))
    if not messages:
        raise refuse("messages", "there must be a message of the user", "missing_parameter")
    return (*([Message("system", "\n\n".join(rules))] if rules else []), *messages)


def _check_role(one: ChatMessage, place: str, called: set[str]) -> None:
    if one.tool_calls and one.role != "assistant":
        raise refuse(f"{place}.tool_calls", "only an assistant's message has calls", "invalid_value")
    if (one.tool_call_id is not None) != (one.role == "tool"):
        raise refuse(f"{place}.tool_call_id", "a tool's message has it, and no other", "invalid_value")
    if one.tool_call_id is not None and one.tool_call_id not in called:
        raise refuse(f"{place}.tool_call_id", "no message before it has a call of that id", "invalid_value")
    if not one.content and not one.tool_calls:
        raise refuse(f"{place}.content", "is missing", "missing_parameter")


def _call(call: _Call, place: str) -> ToolCall:
    try:
        read_json_object(call.function.arguments, "they")
    except JsonInputError as error:
        raise HttpError(
            400, "invalid_value", f"{place}.function.arguments: {error}", f"{place}.function.arguments"
        ) from None
    return ToolCall(call.id, call.function.name, call.function.arguments)


def _images(one: ChatMessage, place: str, *, sees: bool, name: str) -> tuple[Image, ...]:
    images = []
    for n, part in enumerate(one.content):
        if not isinstance(part, _Picture):
            continue
        param = f"{place}.content.{n}.image_url"
        if one.role != "user":
            raise refuse(param, "only a user's message has pictures", "invalid_value")
        if not sees:
            raise refuse(param, f"{name} takes no pictures: send text alone")
        images.append(_image(part.image_url.url, f"{param}.url"))
    return tuple(images)


def _decoded(text: str) -> bytes:
    """Base64 in steps, between which other threads get their turn."""
    steps = range(0, len(text), _STEP)
    return b"".join(binascii.a2b_base64(text[at : at + _STEP], strict_mode=True) for at in steps)


def _image(url: str, param: str) -> Image:
    found = _DATA_URI.match(url)
    if found is None:
        raise refuse(param, "must be a data URI, data:image/jpeg;base64,… or image/png: addresses are never fetched")
    if len(url) > LARGEST_IMAGE * 4 // 3 + 100:
        raise refuse(param, f"a picture may have {LARGEST_IMAGE:,} bytes", "invalid_value")
    try:
        data = _decoded(url[found.end() :])
    except (binascii.Error, ValueError):
        raise refuse(param, "is no base64", "invalid_value") from None
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return Image(data, "image/png" if kind == "image/png" else "image/jpeg")
    raise refuse(param, "must hold a JPEG or a PNG", "invalid_value")
