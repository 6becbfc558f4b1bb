"""One answer of a model server on its way: how far its stream has come, and what of it may be read. No network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from pipelines.engines.llm.openai.chunks import Chunk, error_in, read_chunk, read_json, short
from pipelines.engines.llm.openai.options import THINKING_ROOM
from pipelines.engines.llm.openai.stream import Event
from pipelines.engines.llm.text import AnswerText
from pipelines.engines.llm.thoughts import Begins
from pipelines.engines.llm.tools import ToolCallPieces
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, ToolCall

DECIDE_SECONDS = 0.5
"""How long the first words of a model that is not known yet may be kept to see whether they are thoughts …"""
_CHARACTERS_PER_TOKEN = 64
"""An answer with more than that, thoughts included, has no end: the server does not heed the limit that it got."""
DECIDE_CHARACTERS = 60
"""… and how many of them: a dozen words show it."""
_LIMIT_REACHED = ("length", "max_tokens", "model_length")
"""How servers say that an answer ends at its limit of tokens, or at that of the model."""
_TOKENS_PER_CHARACTER = 4
"""At most: a character has no more bytes."""


class Reading:
    """How far one answer has come."""

    def __init__(self, name: str) -> None:
        self.begun = self.finished = self.done = False
        """Whether the model has made something; has said why its answer ends; whether the stream is at its end."""
        self._name = name
        self._odd = ""
        """Something it sent that is no chunk."""

    def take(self, events: Iterator[Event]) -> Iterator[Chunk]:
        """Yield the chunks that bring something. Raises :class:`LLMError` for an error that the server tells."""
        for event in events:
            data = event.data.strip()
            if data.upper() == b"[DONE]":
                self.done = True
                return
            if event.kind == "error" or data.startswith(b"{"):
                yield from self._chunk(event, data)
            elif data:  # a sign of life such as "ping"; if nothing else comes, it tells what was wrong
                self._odd = self._odd or short(data.decode("utf-8", "replace"))

    def _chunk(self, event: Event, data: bytes) -> Iterator[Chunk]:
        if not data.startswith(b"{"):
            raise self._error(short(data.decode("utf-8", "replace")))
        value = read_json(data, self._name)
        chunk = read_chunk(value, begun=self.begun)
        self.begun = self.begun or chunk.alive
        self.finished = self.finished or bool(chunk.finish)
        if chunk.alive or chunk.finish or chunk.usage is not None:
            yield chunk
        if (message := error_in(value, event.kind)) is not None:
            raise self._error(message)
        if chunk.finish == "error":
            raise self._error("it ended its answer with an error")

    def end(self) -> None:
        """The connection has been closed. Raises :class:`LLMError` if the answer was not complete."""
        if not self.finished and not self.done:
            odd = f", with: {self._odd}" if self._odd else ""
            told = f"{self._name} ended its answer early"
            raise LLMError("llm_bad_stream", f"{told}{odd}", told)
        self.done = True

    def _error(self, message: str) -> LLMError:
        return LLMError("llm_http_error", f"{self._name}: {message}", f"{self._name} sent an error in its answer")


class Answer:
    """One answer as it is read."""

    def __init__(self, request: ChatRequest, begins: Begins) -> None:
        self.finish = ""
        """Why it ended."""
        self.said = self.likely = False
        """Whether there was anything to read, or a call; whether it was told how likely its tokens were."""
        self._text_came = self._else_came = False
        """Whether the model has made text, or anything else: mostly thoughts in a place of their own."""
        self.text = AnswerText([tool.name for tool in request.tools], begins)
        self._calls = ToolCallPieces() if request.tools else None
        self._begins = begins
        self._whole = False
        self._decide_at: float | None = None
        self._tiny = request.max_tokens < _TOKENS_PER_CHARACTER
        self._room = _CHARACTERS_PER_TOKEN * (request.max_tokens + THINKING_ROOM)

    async def pieces(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[str | ToolCall, None]:
        """Yield what may be read and the calls. What fails in the middle is raised once all words have been yielded."""
        failure: LLMError | None = None
        try:
            async for chunk in chunks:
                for piece in self._take(chunk):
                    yield piece
        except LLMError as error:
            failure = error
        for piece in self._rest() if failure is None else self._said_of(self.text.break_off()):
            yield piece
        if failure is not None:
            raise failure
        self._whole = True

    def _take(self, chunk: Chunk) -> Iterator[str | ToolCall]:
        self._room -= len(chunk.text)
        if self._room < 0:
            raise LLMError("llm_bad_stream", "the language model did not end its answer where it was told to")
        self.finish = chunk.finish or self.finish
        self.likely = self.likely or bool(chunk.logprobs)
        self._text_came = self._text_came or bool(chunk.text)
        self._else_came = self._else_came or (chunk.alive and not chunk.text)
        if self._calls is not None:
            self._calls.push(chunk.calls)
        yield from self._said_of(self.text.push(chunk.text))
        if self.text.undecided:
            now = asyncio.get_running_loop().time()
            self._decide_at = self._decide_at or now + DECIDE_SECONDS
            if self.text.undecided >= DECIDE_CHARACTERS or now >= self._decide_at or not chunk.alive:
                yield from self._said_of(self.text.decide())

    def _said_of(self, pieces: list[str | ToolCall]) -> list[str | ToolCall]:
        self.said = self.said or bool(pieces)
        return pieces

    @property
    def cut(self) -> bool:
        """Whether it stopped because of its limit of tokens."""
        return self.finish.lower() in _LIMIT_REACHED

    @property
    def cut_before_a_word(self) -> bool:
        """Whether it was cut so early that there is nothing to read yet: a gap, or a part of a character."""
        thought = self.text.thought or self._else_came
        return self.cut and not self.said and not thought and (self._text_came or self._tiny)

    @property
    def lesson(self) -> Begins:
        """What the next answer may be expected to begin with."""
        if self.text.unannounced:
            return Begins.THOUGHT
        if self._whole and self.said:
            return Begins.ANSWER if self._begins is not Begins.THOUGHT else Begins.UNKNOWN
        return self._begins

    @property
    def nothing(self) -> str:
        """What is to be said of an answer in which nothing was said."""
        reason = f" (finish_reason {short(self.finish)})" if self.finish not in ("", "stop") else ""
        return f"{'thought, but gave no answer' if self.text.thought else 'ended its answer without a word'}{reason}"

    def _rest(self) -> Iterator[str | ToolCall]:
        yield from self._said_of(self.text.flush(cut=self.cut))
        if self._calls is not None:
            yield from self._said_of([*self._calls.flush()])
