"""Language models behind any OpenAI-compatible server: Ollama, vLLM, llama.cpp, LM Studio, a hosted one.

``POST {base_url}/chat/completions`` answers with a stream of chunks of a completion
(https://platform.openai.com/docs/api-reference/chat-streaming). What servers make of that is taken as it comes: the
bytes in :mod:`~pipelines.engines.llm.openai.stream`, the chunks in :mod:`~pipelines.engines.llm.openai.chunks`,
thoughts and calls in :mod:`~pipelines.engines.llm.text`; what they refuse is learned in
:mod:`~pipelines.engines.llm.openai.refusals`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import aiohttp

from pipelines.engines.llm.openai.answer import DECIDE_SECONDS, Answer, Reading
from pipelines.engines.llm.openai.chunks import Chunk, short
from pipelines.engines.llm.openai.connection import discover, http_error, open_session, unreachable
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.engines.llm.openai.refusals import PLAIN, REFUSALS, Refusal, after
from pipelines.engines.llm.openai.request import Abilities
from pipelines.engines.llm.openai.stream import EventStream
from pipelines.engines.llm.thoughts import Begins
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Cut, Message, Piece, ToolCall, Usage, insist

log = logging.getLogger(__name__)

__all__ = ["ChatOptions", "OpenAIChat", "discover"]

_LONGEST_EVENT = 1 << 20
"""Bytes of one event; a server that sends more is broken."""
_DRAIN_SECONDS = 0.01
"""What keeping a connection may cost at the end of an answer."""
_TAIL_SECONDS = 0.25
"""How long a server may take to say that it is done, after it has said why the answer ends."""
_MOST_TRIES = 8
"""How often one request may be mended."""
_OF_CHOICE = re.compile(r"tool|function", re.IGNORECASE)
_OF_FORMAT = re.compile(r"response_?format|json|schema|structured|grammar", re.IGNORECASE)
_OF_LOGPROBS = re.compile(r"log_?prob", re.IGNORECASE)
_JSON = re.compile(r'\s*($|[{\["0-9-]|true|false|null)')
"""How a JSON value begins."""


class OpenAIChat:
    """A model of an OpenAI-compatible server; connections are kept and shared by all sessions.

    ``server`` is what people call it (``ollama``). ``on_usage`` is told what each answer cost, where the server says
    so; ``on_learned`` in words what is done differently because the server has refused something. Proxies and other
    settings of the environment are not followed.
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
        on_learned: Callable[[str], None] | None = None,
    ) -> None:
        self.name = f"{server} {short(model)}"
        self.server = server
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._api_key = api_key
        self._options = options or ChatOptions()
        self._on_usage = on_usage
        self._on_learned = on_learned
        self._abilities = Abilities.of(model, self._options)
        self._begins = Begins.UNKNOWN
        """What its answers begin with where no mark tells: not known before the first one."""
        self._says_done = True
        """Whether it ends its streams with ``[DONE]``."""
        self._session: aiohttp.ClientSession | None = None

    @property
    def takes_images(self) -> bool:
        """Whether the model looks at pictures, as far as is known."""
        return self._abilities.images

    @property
    def takes_tools(self) -> bool:
        """Whether it can be offered tools: until the server has refused them."""
        return self._abilities.tools

    @property
    def takes_choice(self) -> bool:
        """Whether it can be made to call one, by one way or another; a server that knows none shows in its answer."""
        return self._abilities.tools

    @property
    def takes_format(self) -> bool:
        """Whether answers can be held to JSON; a server that cannot refuses the request."""
        return True

    @property
    def takes_logprobs(self) -> bool:
        """Whether it tells how likely its tokens were; one that does not shows in its answer."""
        return True

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those that an answer can be asked for with."""
        return tuple(self._options.adapters)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer and its tool calls, without what the model thinks to itself.

        Closing the generator closes the connection at once, which makes the server stop. Whatever fails in the middle,
        the words that have come are yielded first. Raises :class:`~pipelines.errors.LLMError`: ``llm_unreachable``
        (no connection, or it broke), ``llm_timeout``, ``llm_refused`` (the server does not take this request),
        ``llm_http_error`` (it answered with an error, also in
        the middle of the stream), ``llm_bad_stream`` (what it sent is no such stream, or ends early),
        ``llm_no_answer`` (it ended without a word), ``tool_call_invalid``, ``tool_choice_unsupported``,
        ``response_format_unsupported`` (the server does not know it, or not this schema).
        """
        insist(self, request)
        trial: Abilities | None = None
        while True:
            known, calls, begun = trial or self._abilities, 0, False
            held = known.in_words(request) and request.must_call
            answer = Answer(request, Begins.ANSWER if held else self._begins)
            async with aclosing(self._chunks(request, trial)) as chunks, aclosing(answer.pieces(chunks)) as pieces:
                async for piece in pieces:
                    if _fits(piece, request, calls):
                        calls += isinstance(piece, ToolCall)
                        begun = begun or self._begins_as_asked(piece, request)
                        yield piece
            self._begins = self._begins if held else answer.lesson
            if request.must_call and not calls and not answer.cut:
                trial = self._other_way_to_call(known, held=held)
                continue
            if trial is not None and calls:
                self._learned(replace(self._abilities, choice=trial.choice), "calls are asked for as JSON")
            if answer.said or answer.cut_before_a_word:
                if request.top_logprobs is not None and not answer.likely:
                    message = f"logprobs: {self.name} does not tell how likely its tokens were"
                    raise LLMError("logprobs_unsupported", message)
                if answer.cut:
                    yield Cut()
                return
            if not answer.cut or not answer.text.thought or not self._may_think_longer():
                raise LLMError("llm_no_answer", f"{self.name} {answer.nothing}")

    async def probe(self) -> None:
        """Find out whether it answers at present, with a request of a few tokens. Raises as :meth:`stream`."""
        async with aclosing(self._chunks(ChatRequest((Message("user", "Hi"),), max_tokens=16))) as chunks:
            async for chunk in chunks:
                if chunk.alive or chunk.finish:
                    return
        raise LLMError("llm_no_answer", f"{self.name} ended its answer without a word")

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _begins_as_asked(self, piece: Piece, request: ChatRequest) -> bool:
        """Whether an answer that begins with ``piece`` is what it has to be, as far as that shows.

        Some servers pass ``response_format`` over; llama.cpp does with schemas that it cannot keep to.
        """
        if request.response_format is not None and isinstance(piece, str) and not _JSON.match(piece):
            message = f"response_format: {self.name} does not keep to it, or not to this schema"
            raise LLMError("response_format_unsupported", message)
        return not isinstance(piece, str) or bool(piece.strip())

    def _other_way_to_call(self, known: Abilities, *, held: bool) -> Abilities:
        """After words where there had to be a call: some servers pass ``tool_choice`` over."""
        if held:
            raise LLMError("tool_choice_unsupported", f"tool_choice: {self.name} called no tool though it had to")
        return replace(known, choice="schema")

    def _may_think_longer(self) -> bool:
        longer = self._abilities.after_thoughts_only()
        if longer is None:
            return False
        self._learned(longer, "it spends all its tokens on thoughts, and gets more of them")
        return True

    def _learned(self, abilities: Abilities, words: str) -> None:
        self._abilities = abilities
        log.warning("%s: %s", self.name, words)
        if self._on_learned is not None:
            self._on_learned(words)

    # ------------------------------------------------------------------------------------------------ the request

    async def _chunks(self, request: ChatRequest, trial: Abilities | None = None) -> AsyncGenerator[Chunk, None]:
        """Yield what the server sends that matters; an empty chunk now and then while it sends nothing."""
        deadline = asyncio.get_running_loop().time() + self._options.first_token_seconds
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    response = await self._ask(request, trial)
            except TimeoutError as error:
                raise self._too_late(begun=False) from error
            try:
                async with aclosing(self._read(response, deadline, request)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            finally:
                response.close()  # not release(): the rest of the answer is not wanted
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self._base_url, error) from error

    async def _ask(self, request: ChatRequest, trial: Abilities | None) -> aiohttp.ClientResponse:
        """The beginning of an answer. What a server refuses is mended, and remembered if that has helped.

        If what helped in the end is a matter of this request alone, what was tried before has helped nothing.
        """
        known, lasting, words, tries = trial or self._abilities, dict[str, Any](), list[str](), 0
        while True:
            payload = known.payload(request, self._model, usage=self._wants_usage(request))
            payload |= known.lora(request, self._options)
            response = await self._post(payload)
            if response.status == 200:
                if (learned := replace(self._abilities, **lasting)) != self._abilities:
                    self._learned(learned, "; ".join(words))
                return response
            error = await http_error(response, self.name)
            status = response.status
            response.close()
            lesson = after(known, Refusal(status, error.message, request, payload))
            if lesson is None or tries == _MOST_TRIES or lesson.applied(known).gives_up(request):
                raise _of_field(error, status, request)
            if lesson.about is not None and not await self._refuses(known, lesson.about):
                lesson = lesson.once()
            lasting, words = (lasting, words) if lesson.changes else ({}, [])
            lasting |= lesson.changes
            words.append(f"{lesson.words}, for it refused (HTTP {status})")
            log.debug("%s: %s", self.name, words[-1])
            known, tries = lesson.applied(known), tries + 1

    async def _refuses(self, known: Abilities, what: str) -> bool:
        """Whether it refuses a plain request with that, too: it is not the content of one that it complains of."""
        plain = PLAIN[what]
        response = await self._post(known.payload(plain, self._model) | known.lora(plain, self._options))
        response.close()
        return response.status in REFUSALS

    async def _post(self, payload: dict[str, Any]) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = open_session(self._api_key, self._options.connect_seconds)
        url = f"{self._base_url}/chat/completions"
        try:
            return await self._session.post(url, json=payload, allow_redirects=False)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # a kept connection may be closed by the server just as it is used again; a new one tells
            return await self._session.post(url, json=payload, allow_redirects=False)

    # ------------------------------------------------------------------------------------------------ the answer

    async def _read(
        self, response: aiohttp.ClientResponse, deadline: float, request: ChatRequest
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of one answer until it is complete. Time in which nobody asks for one does not count."""
        loop, events, reading = asyncio.get_running_loop(), EventStream(), Reading(self.name)
        while not reading.done:
            try:
                data = await _some(response, min(deadline, loop.time() + DECIDE_SECONDS))
            except aiohttp.ClientError:
                if not reading.finished:
                    raise
                return  # what was left is of no matter
            if data is None:
                yield Chunk()
            else:
                for chunk in reading.take(events.push(data) if data else events.flush()):
                    self._tell(chunk, request)
                    yield chunk
                    deadline = loop.time() + self._options.between_tokens_seconds
            if data == b"":
                reading.end()
            elif events.pending > _LONGEST_EVENT:
                raise LLMError("llm_bad_stream", f"{self.name} sent an event of more than {_LONGEST_EVENT} bytes")
            elif reading.finished and data is not None:
                deadline = min(deadline, loop.time() + self._tail(request))
            if loop.time() >= deadline and not reading.done:
                if not reading.finished:
                    raise self._too_late(begun=reading.begun)
                self._says_done = False
                return
        self._says_done = True
        await _drain(response)

    def _tell(self, chunk: Chunk, request: ChatRequest) -> None:
        for tell in filter(None, (self._on_usage, request.on_usage)):
            if chunk.usage is not None:
                tell(chunk.usage)
        if chunk.logprobs and request.on_logprobs is not None:
            request.on_logprobs(list(chunk.logprobs))

    def _wants_usage(self, request: ChatRequest) -> bool:
        return self._on_usage is not None or request.on_usage is not None

    def _too_late(self, *, begun: bool) -> LLMError:
        if begun:
            what, seconds = (
                "stopped in the middle of its answer and did not go on",
                self._options.between_tokens_seconds,
            )
        else:
            what, seconds = "did not begin to answer", self._options.first_token_seconds
        return LLMError("llm_timeout", f"{self.name} {what} within {seconds:g} s")

    def _tail(self, request: ChatRequest) -> float:
        return _TAIL_SECONDS if self._says_done or self._wants_usage(request) else 0.0


def _fits(piece: Piece, request: ChatRequest, calls: int) -> bool:
    """Whether ``piece`` may be in the answer after so many calls, for servers that pass over what they are told."""
    if not isinstance(piece, ToolCall):
        return not request.must_call
    wanted = not request.must_call or any(tool.name == piece.name for tool in request.callable)
    return wanted and (request.parallel_tool_calls or not calls)


def _of_field(error: LLMError, status: int, request: ChatRequest) -> LLMError:
    """``error``, or what it means for the field of the request that the server complains of."""
    for wanted, name, words in (
        (request.must_call, "tool_choice", _OF_CHOICE),
        (request.response_format is not None, "response_format", _OF_FORMAT),
        (request.top_logprobs is not None, "logprobs", _OF_LOGPROBS),
    ):
        if wanted and 400 <= status < 500 and words.search(error.message):
            return LLMError(f"{name}_unsupported", f"{name}: {error.message}")
    return error


async def _some(response: aiohttp.ClientResponse, deadline: float) -> bytes | None:
    """The next bytes; empty at the end, ``None`` when there are none by ``deadline``."""
    try:
        async with asyncio.timeout_at(deadline):
            return await response.content.readany()
    except TimeoutError:
        return None


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of a complete answer, so that its connection can be kept; a server may leave it open instead."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await response.content.read()
