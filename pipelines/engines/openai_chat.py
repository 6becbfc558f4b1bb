"""Language models behind any OpenAI-compatible server: Ollama, vLLM, llama.cpp, LM Studio, a hosted one.

``POST {base_url}/chat/completions`` answers with server-sent events
(https://html.spec.whatwg.org/multipage/server-sent-events.html) whose data are chunks of a completion
(https://platform.openai.com/docs/api-reference/chat-streaming).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from pipelines.engines.chat_images import Abilities, as_content
from pipelines.engines.chat_messages import as_dict, tool_as_dict, with_surroundings
from pipelines.engines.chat_stream import EventStream
from pipelines.engines.chat_text import AnswerText
from pipelines.engines.chat_tools import ToolCallPieces
from pipelines.errors import ThinkError
from pipelines.ports import ChatRequest, ToolCall, Usage

log = logging.getLogger(__name__)

OLLAMA_URL = "http://127.0.0.1:11434/v1"
"""Where Ollama listens unless it was told otherwise."""

_LONGEST_EVENT = 1 << 20
"""Bytes of one event; a server that sends more is broken."""
_LONGEST_ERROR = 300
"""Characters of a server's error message that are passed on."""
_DRAIN_SECONDS = 0.01
"""What keeping a connection may cost at the end of an answer."""
_KEPT_SECONDS = 60.0
"""How long an idle connection is kept, so that the next turn need not open one."""
_TOKENS = ("content", "reasoning_content", "reasoning", "tool_calls")
"""Where servers put the text of a token: what is said, what is thought, what is to be done."""
_NOT_CHAT = ("embed", "minilm", "rerank", "bge-")
"""Parts of the names of models that do not chat."""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How the model is asked."""

    temperature: float | None = None
    """Randomness; ``None`` leaves it to the server."""
    max_tokens: int | None = None
    """Upper bound on what a request may ask for."""
    first_token_seconds: float = 15.0
    """How long the server may take to begin its answer, connecting included."""
    between_tokens_seconds: float = 15.0
    """How long it may pause within its answer."""
    images: bool | None = None
    """Whether the model takes pictures; ``None``: as its name tells, until the server refuses one."""


class OpenAIChat:
    """A model of an OpenAI-compatible server; connections are kept and shared by all sessions.

    ``server`` is what people call it (``ollama``). ``on_usage`` is told what each answer cost, where the server says
    so. Proxies and other settings of the environment are not followed.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        server: str = "openai",
        options: ChatOptions | None = None,
        on_usage: Callable[[Usage], None] | None = None,
    ) -> None:
        self.name = f"{server} {model}"
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._api_key = api_key
        self._options = options or ChatOptions()
        self._on_usage = on_usage
        self._abilities = Abilities(model, self._options.images)
        self._session: aiohttp.ClientSession | None = None

    @property
    def takes_images(self) -> bool:
        """Whether the model looks at pictures, as far as is known."""
        return self._abilities.images

    @property
    def takes_tools(self) -> bool:
        """Whether it can be offered tools: until the server has refused them."""
        return self._abilities.tools

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Yield pieces of the answer and its tool calls, without what the model thinks to itself.

        Closing the generator closes the connection at once, which makes the server stop. Raises
        :class:`~pipelines.errors.ThinkError`: ``llm_unreachable`` (no connection, or it broke), ``llm_timeout``,
        ``llm_http_error`` (the server answered with an error, also in the middle of the stream), ``llm_bad_stream``
        (what it sent is no such stream, or ends early), ``tool_call_invalid``.
        """
        text, calls = AnswerText([tool.name for tool in request.tools]), ToolCallPieces()
        async with (
            aclosing(self._deltas(request, calls)) as deltas,
            aclosing(_timed(deltas, self._options, self.name)) as timed,
        ):
            async for delta in timed:
                for piece in text.push(delta):
                    yield piece
        for piece in (*text.flush(), *(calls.flush() if request.tools else ())):
            yield piece

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _deltas(self, request: ChatRequest, calls: ToolCallPieces) -> AsyncGenerator[str, None]:
        """Yield each token's text as the server sends it; empty for a token that is not meant to be read."""
        try:
            response = await self._ask(request)
            try:
                async with aclosing(_read(response, self.name, calls, self._on_usage)) as deltas:
                    async for delta in deltas:
                        yield delta
            finally:
                response.close()  # not release(): the rest of the answer is not wanted
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(self._base_url, error) from error

    async def _ask(self, request: ChatRequest) -> aiohttp.ClientResponse:
        """The beginning of an answer. What a server refuses to take is left out, now and from then on."""
        while True:
            payload = _payload(request, self._model, self._options, self._abilities)
            if self._on_usage is not None:
                payload["stream_options"] = {"include_usage": True}
            response = await self._post(payload)
            if response.status == 200:
                return response
            error = await _http_error(response, self.name)
            response.close()
            if not self._abilities.learn(response.status, error.message, request):
                raise error
            log.warning("%s; going on without what it refuses", error.message)

    async def _post(self, payload: dict[str, Any]) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = _open_session(self._api_key)
        url = f"{self._base_url}/chat/completions"
        try:
            return await self._session.post(url, json=payload, allow_redirects=False)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # a kept connection may be closed by the server just as it is used again; a new one tells
            return await self._session.post(url, json=payload, allow_redirects=False)


async def discover(base_url: str, api_key: str | None = None, timeout: float = 0.5) -> list[str]:
    """Ids of the chat models of the server at ``base_url``, in its order (``timeout`` in seconds).

    Raises :class:`~pipelines.errors.ThinkError` (codes as in :meth:`OpenAIChat.stream`).
    """
    url = f"{base_url.rstrip('/')}/models"
    try:
        async with (
            asyncio.timeout(timeout),
            _open_session(api_key) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise await _http_error(response, base_url)
            models = _json(await response.read(), base_url).get("data")
    except TimeoutError as error:
        raise ThinkError("llm_timeout", f"{base_url} did not list its models within {timeout:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise _unreachable(base_url, error) from error
    listed = models if isinstance(models, list) else []
    ids = [str(model["id"]) for model in listed if isinstance(model, dict) and "id" in model]
    return [name for name in ids if not any(part in name.lower() for part in _NOT_CHAT)]


def _open_session(api_key: str | None) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=None)  # deadlines are set around each wait instead
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS)
    return aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout, trust_env=False)


def _payload(request: ChatRequest, model: str, options: ChatOptions, abilities: Abilities) -> dict[str, Any]:
    limit = request.max_tokens if options.max_tokens is None else min(request.max_tokens, options.max_tokens)
    payload: dict[str, Any] = {
        "model": model,
        "messages": [
            {**as_dict(message), "content": as_content(message, abilities.images)}
            for message in with_surroundings(request)
        ],
        "stream": True,
        "max_tokens": limit,
    }
    if request.tools and abilities.tools:
        payload["tools"] = [tool_as_dict(tool) for tool in request.tools]
    if options.temperature is not None:
        payload["temperature"] = options.temperature
    return payload


async def _timed(deltas: AsyncGenerator[str, None], options: ChatOptions, name: str) -> AsyncGenerator[str, None]:
    """Pass tokens on; raise when one is late. Time in which nobody asks for a token does not count."""
    limit, late = options.first_token_seconds, "did not begin to answer"
    while True:
        try:
            async with asyncio.timeout(limit):
                delta = await anext(deltas, None)
        except TimeoutError as error:
            raise ThinkError("llm_timeout", f"{name} {late} within {limit:g} s") from error
        if delta is None:
            return
        yield delta
        limit, late = options.between_tokens_seconds, "stopped in the middle of its answer and did not go on"


async def _read(
    response: aiohttp.ClientResponse, name: str, calls: ToolCallPieces, on_usage: Callable[[Usage], None] | None
) -> AsyncGenerator[str, None]:
    """Yield the deltas of one answer until it is complete; pieces of tool calls go to ``calls``."""
    events, finished = EventStream(), False
    async for data in response.content.iter_any():
        for event in events.push(data):
            if event.strip() == b"[DONE]":
                await _drain(response)
                return
            chunk = _json(event, name)
            if chunk.get("error"):
                raise ThinkError("llm_http_error", f"{name}: {_error_message(chunk) or 'unknown error'}")
            if on_usage is not None and (usage := _usage(chunk.get("usage"))) is not None:
                on_usage(usage)
            choice = _first(chunk.get("choices"))
            finished = finished or choice.get("finish_reason") is not None
            delta = choice.get("delta")
            if isinstance(delta, dict) and any(delta.get(key) for key in _TOKENS):
                calls.push(delta.get("tool_calls"))
                text = delta.get("content")
                yield text if isinstance(text, str) else ""
        if events.pending > _LONGEST_EVENT:
            raise ThinkError("llm_bad_stream", f"{name} sent an event of more than {_LONGEST_EVENT} bytes")
    if not finished:
        raise ThinkError("llm_bad_stream", f"{name} ended its answer early")


def _usage(value: Any) -> Usage | None:
    """What a server says that an answer cost."""
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = (value.get("prompt_tokens"), cached, value.get("completion_tokens"))
    return Usage(*(count if isinstance(count, int) else 0 for count in counts))


def _first(choices: Any) -> dict[str, Any]:
    """The first choice; there is none in a chunk that only tells the usage."""
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of a complete answer, so that its connection can be kept; a server may leave it open instead."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await response.content.read()


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ThinkError("llm_bad_stream", f"{name} sent something that is not JSON") from error
    if not isinstance(value, dict):
        raise ThinkError("llm_bad_stream", f"{name} sent JSON that is not an object")
    return value


async def _http_error(response: aiohttp.ClientResponse, name: str) -> ThinkError:
    body = await response.content.read(_LONGEST_EVENT)
    try:
        message = _error_message(json.loads(body))
    except ValueError:
        message = ""
    return ThinkError("llm_http_error", f"{name}: {message or response.reason or 'error'} (HTTP {response.status})")


def _error_message(body: Any) -> str:
    """The message in a server's error (servers differ in where they put it), on one line; empty when there is none."""
    error = body.get("error") or body.get("detail") or body.get("message") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message).split())[:_LONGEST_ERROR] if message else ""


def _unreachable(base_url: str, error: Exception) -> ThinkError:
    message = f"no answer from the language model at {base_url}: {error or 'connection lost'}"
    return ThinkError("llm_unreachable", re.sub(r"//[^/@\s]*@", "//", message))  # without a password in the address
