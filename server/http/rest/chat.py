"""``POST /v1/chat/completions``: the language model of the conversations, as JSON or as it streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from aiohttp import web

from pipelines.interfaces.llm import LanguageModel, ToolCall, adapter_asked
from pipelines.runtime.worker import Worker
from pipelines.tools.calling import CallingModel
from pipelines.tools.server_tool import ServerTool
from server.http.bodies import json_body
from server.http.rest.chat_answer import ChatAnswer, call_json
from server.http.rest.chat_request import ChatBody, chat_request, server_tools
from server.http.rest.engine_names import check_name
from server.http.rest.requests import refuse, validated
from server.http.rest.serving import Places, event_stream


class Chat:
    """The handler. Two answers are given at a time: engines that take four keep room for conversations."""

    def __init__(self, model: LanguageModel, reader: Worker, tools: Callable[[], Sequence[ServerTool]] = tuple) -> None:
        self.places = Places(2, 32)
        self._model = model
        self._reader = reader
        self._tools = tools

    async def prepared(self, body: ChatBody) -> ChatAnswer:
        """The answer that a body asks for, to be given at one of the :attr:`places`. Raises :class:`HttpError`."""
        adapter = adapter_asked(self._model, body.model)
        if not adapter:
            check_name("llm", self._model.name, body.model)
        own = server_tools(body, self._tools())
        own = () if body.tool_choice.type == "none" else own
        asked = await self._reader.run(chat_request, body, self._model, [tool.tool for tool in own], adapter)  # long
        model = CallingModel(self._model, lambda: own) if own else self._model
        return ChatAnswer(model, asked, body.stop, parallel=body.parallel_tool_calls)

    @property
    def name(self) -> str:
        """Who answers."""
        return self._model.name

    async def post(self, request: web.Request) -> web.StreamResponse:
        """An answer to the messages of the body."""
        body = validated(ChatBody, await json_body(request))
        if body.stream_options.include_usage and not body.stream:
            raise refuse("stream_options", "is for stream: true alone")
        answer = await self.prepared(body)
        async with self.places.place(), aclosing(answer.pieces()) as pieces:
            if body.stream:
                return await _stream(request, answer, pieces, usage=body.stream_options.include_usage)
            texts: list[str] = []
            calls: list[ToolCall] = []
            async for piece in pieces:
                calls.append(piece) if isinstance(piece, ToolCall) else texts.append(piece)
        return web.json_response(answer.completion("".join(texts), calls))


async def _stream(
    request: web.Request, answer: ChatAnswer, pieces: AsyncGenerator[str | ToolCall, None], *, usage: bool
) -> web.StreamResponse:
    piece: str | ToolCall | None = await anext(pieces, None)  # what fails before it has a status of its own
    calls = 0
    async with event_stream(request) as events:
        await events.send(answer.chunk({"role": "assistant", "content": "", "refusal": None}))
        while piece is not None:
            if isinstance(piece, ToolCall):
                await events.send(answer.chunk({"tool_calls": [{"index": calls, **call_json(piece)}]}))
                calls += 1
            else:
                await events.send(answer.chunk({"content": piece}))
            piece = await anext(pieces, None)
        await events.send(answer.chunk({}, answer.finish))
        if usage:
            await events.send(answer.last_chunk())
        await events.write("[DONE]")
    return events.response
