"""``visavis.v1.ChatService``: the language model of the conversations, as ``POST /v1/chat/completions`` asks it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pipelines.interfaces.llm import ToolCall
from server.grpc.field_names import chat_rules, renamed
from server.grpc.generated import chat_pb2
from server.grpc.shell import Call, bad
from server.http.json_input import JsonInputError, read_json
from server.http.rest.chat import Chat
from server.http.rest.chat_answer import ChatAnswer
from server.http.rest.chat_request import ChatBody
from server.http.rest.requests import validated

Json = dict[str, Any]

_ROLES = {
    chat_pb2.ROLE_SYSTEM: "system",
    chat_pb2.ROLE_USER: "user",
    chat_pb2.ROLE_ASSISTANT: "assistant",
    chat_pb2.ROLE_TOOL: "tool",
}
_FINISHES = {
    "stop": chat_pb2.FINISH_REASON_STOP,
    "length": chat_pb2.FINISH_REASON_LENGTH,
    "tool_calls": chat_pb2.FINISH_REASON_TOOL_CALLS,
}
_OPTIONAL = ("max_tokens", "temperature", "top_p", "seed", "parallel_tool_calls")
"""Fields that a request may leave out, and that are called the same over HTTP."""
_CHOICES = ("", "auto", "none", "required")


class ChatServicer:
    """The servicer. Answers take the same places as those over HTTP."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def chat(self, request: chat_pb2.ChatRequest, call: Call) -> AsyncGenerator[chat_pb2.ChatResponse, None]:
        """An answer, piece by piece, and what it cost."""
        with renamed(chat_rules(request)):
            answer = await self._chat.prepared(validated(ChatBody, body_of(request, self._chat.name)))
        async with self._chat.places.place(), aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, ToolCall):
                    made = chat_pb2.ToolCall(id=piece.id, name=piece.name, arguments_json=piece.arguments)
                    yield chat_pb2.ChatResponse(tool_call=made)
                else:
                    yield chat_pb2.ChatResponse(text=piece)
        yield chat_pb2.ChatResponse(done=_done(answer, self._chat.name))


def body_of(request: chat_pb2.ChatRequest, model: str) -> Json:
    """The request as HTTP has it; ``model``: who answers unless it names another. Raises
    :class:`~server.http.errors.HttpError`."""
    body: Json = {
        "model": request.model or model,
        "messages": [_message(one, f"messages.{n}") for n, one in enumerate(request.messages)],
        **{name: getattr(request, name) for name in _OPTIONAL if request.HasField(name)},
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools:
        body["tools"] = [_tool(one, f"tools.{n}.parameters_json") for n, one in enumerate(request.tools)]
    if request.tool_choice in _CHOICES:
        body["tool_choice"] = request.tool_choice or "auto"
    else:
        body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
    if request.server_tools:
        body["server_tools"] = "all" if list(request.server_tools) == ["all"] else list(request.server_tools)
    if request.HasField("response_format"):
        body["response_format"] = _format(request.response_format)
    if request.lora:
        scales = ({"scale": one.scale} if one.HasField("scale") else {} for one in request.lora)
        body["lora"] = [{"id": one.name, **scale} for one, scale in zip(request.lora, scales, strict=True)]
    return body


def _message(one: chat_pb2.ChatMessage, place: str) -> Json:
    if one.role not in _ROLES:
        legal = ", ".join(map(chat_pb2.Role.Name, _ROLES))
        raise bad(f"{place}.role", f"legal values are {legal}")
    bare = not (one.images or one.tool_calls)  # the result of a tool may be empty
    parts: list[Json] = [{"type": "text", "text": one.content}] if one.content or bare else []
    parts += [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in one.images]
    message: Json = {"role": _ROLES[one.role], "content": parts}
    if one.tool_calls:
        message["tool_calls"] = [
            {"id": made.id, "function": {"name": made.name, "arguments": made.arguments_json}}
            for made in one.tool_calls
        ]
    return {**message, "tool_call_id": one.tool_call_id} if one.tool_call_id else message


def _data_url(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _tool(one: chat_pb2.Tool, place: str) -> Json:
    function: Json = {"name": one.name, "description": one.description}
    if one.parameters_json:
        function["parameters"] = _json(one.parameters_json, place)
    return {"type": "function", "function": function}


def _format(wanted: chat_pb2.ResponseFormat) -> Json:
    if not wanted.schema_json:
        return {"type": "json_object"}
    schema = _json(wanted.schema_json, "response_format.schema_json")
    return {"type": "json_schema", "json_schema": {"name": wanted.name or "answer", "schema": schema}}


def _json(text: str, place: str) -> Any:
    try:
        return read_json(text.encode())
    except JsonInputError as error:
        raise bad(place, f"is no JSON: {error}", "invalid_json") from error


def _done(answer: ChatAnswer, model: str) -> chat_pb2.ChatDone:
    usage = answer.usage()
    return chat_pb2.ChatDone(
        finish_reason=_FINISHES[answer.finish],
        model=model,
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
        answer_tokens=usage["completion_tokens"],
    )


def text_request(text: str, parameters: Json, model: str) -> Json:
    """The body for one message of a user; ``parameters`` are fields of the body."""
    message = {"role": "user", "content": text}
    return {"model": model, **json.loads(json.dumps(parameters)), "messages": [message]}
