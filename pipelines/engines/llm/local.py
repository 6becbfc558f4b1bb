"""A language model in this process, shared by all sessions: everyone's answer advances a token at a time, in turn.

One thread steps the answers. A request that joins is served at its first turn instead of waiting for the end of other
answers; one that is given up is noticed before the next step. What a step is depends on the model (see
:mod:`pipelines.engines.llm.transformers_chat` and :mod:`pipelines.engines.llm.numpy_chat`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pipelines.engines.llm.model import ChatModel, Sampling
from pipelines.engines.llm.text import AnswerText, Detokenizer
from pipelines.engines.llm.thoughts import Begins, opens_thought
from pipelines.errors import EngineBusyError, LLMError, PipelineError
from pipelines.interfaces.llm import ChatRequest, Cut, Piece, ToolCall, Usage, adapters_asked, insist
from pipelines.models.memory import is_out_of_memory
from pipelines.models.residency import Resident
from pipelines.models.weights.adapters import Adapters
from pipelines.runtime.worker import session

log = logging.getLogger(__name__)

_PROMPT_END = 16
"""Tokens at the end of a prompt that show whether its template has begun a thought."""
Item = Piece | Usage | PipelineError | None
"""What a caller is told; ``None`` is the end."""


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """How many are served."""

    answers: int = 4
    """Answers that advance in turn; their caches are in memory at the same time."""
    waiting: int = 32
    """Requests that may wait for that; one more is refused."""


@dataclass(eq=False, slots=True)
class _Asked:
    """One request on its way."""

    request: ChatRequest
    session: str
    loop: asyncio.AbstractEventLoop
    items: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    given_up: bool = False
    answer: Any = None
    """The model's."""
    words: Detokenizer | None = None
    text: AnswerText | None = None
    prompt: int = 0
    """Tokens."""
    said: int = 0
    limit: int = 0
    retried: bool = False
    """Whether memory has run out for it once."""
    served: int = 0
    """When it last had a turn."""

    def tell(self, *items: Item) -> None:
        """From the thread to the caller, unless its loop has ended."""
        try:
            for item in items:
                self.loop.call_soon_threadsafe(self.items.put_nowait, item)
        except RuntimeError:
            self.given_up = True


class LocalChat:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel` on a model held by ``resident``.

    ``sampling`` replaces what the model's makers recommend. ``on_usage`` is called on the event loop after each answer
    that was not cut off; ``adapters`` are those that the model was given. The model is leased while anyone is being
    answered, and its name is the resident's.
    A call that has to be made is begun for the model: its arguments are its own.
    """

    takes_choice = True

    def __init__(
        self,
        resident: Resident[ChatModel],
        *,
        sampling: Sampling | None = None,
        limits: ChatLimits | None = None,
        on_usage: Callable[[Usage], None] | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self.name = resident.name
        self._resident = resident
        self._sampling = sampling
        self._limits = limits or ChatLimits()
        self._on_usage = on_usage
        self._adapters = adapters
        self._changed = threading.Condition()
        self._waiting: list[_Asked] = []
        self._active: list[_Asked] = []
        """Only the thread touches it."""
        self._turns = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="chat", daemon=True)
        self._thread.start()

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those that an answer can be asked for with."""
        return self._adapters.names("peft") if self._adapters is not None else ()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer and its tool calls, without what the model thinks to itself.

        Closing the generator stops generation before the next token. Raises
        :class:`~pipelines.errors.LLMError` (``llm_context_full``, ``llm_template``, ``tool_call_invalid``,
        ``response_format_unsupported``, ``llm_failed``, or the code with which the model could not be loaded) and
        :class:`~pipelines.errors.EngineBusyError`.
        """
        insist(self, request)
        asked = _Asked(request, session.get() or f"request-{id(request)}", asyncio.get_running_loop())
        self._ask(asked)
        try:
            while (item := await asked.items.get()) is not None:
                if isinstance(item, PipelineError):
                    raise item
                if not isinstance(item, Usage):
                    yield item
                    if isinstance(item, ToolCall) and not request.parallel_tool_calls:
                        return
                    continue
                for tell in filter(None, (self._on_usage, request.on_usage)):
                    tell(item)
        finally:
            with self._changed:
                asked.given_up = True
                if asked in self._waiting:
                    self._waiting.remove(asked)

    async def close(self) -> None:
        """Refuse those who wait, stop answers after the token in hand, end the thread. Idempotent; does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _ask(self, asked: _Asked) -> None:
        with self._changed:
            if self._closed:
                raise self._closed_error()
            if len(self._waiting) >= self._limits.waiting:
                raise EngineBusyError("engine_busy", f"{len(self._waiting)} requests already wait for {self.name}")
            self._waiting.append(asked)
            self._changed.notify()

    def _closed_error(self) -> EngineBusyError:
        return EngineBusyError("engine_closed", f"{self.name} has been closed")

    # ------------------------------------------------------------------------------------------------ on the thread

    def _work(self) -> None:
        while self._asked():
            try:
                with self._resident.lease() as model:
                    try:
                        while self._step(model):
                            pass
                    finally:
                        for asked in self._active:
                            model.end(asked.answer)
            except Exception as error:  # noqa: BLE001 - fails those who asked, not those who will
                self._refuse(_as_llm_error(error, self.name))
        self._refuse(self._closed_error())

    def _asked(self) -> bool:
        """Wait for a request; ``False`` when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return not self._closed

    def _refuse(self, error: PipelineError) -> None:
        with self._changed:
            refused, self._waiting = [*self._active, *self._waiting], []
        self._active = []
        for asked in refused:
            asked.tell(error)

    def _step(self, model: ChatModel) -> bool:
        """Give the next ones their turn; ``False`` when nobody is left."""
        for asked in [asked for asked in self._active if asked.given_up]:
            self._end(model, asked)
        for asked in self._admitted():
            self._begin(model, asked)
        if not self._active:
            return False
        batch = self._next(model.max_batch)
        for asked, token in zip(batch, model.step([asked.answer for asked in batch]), strict=True):
            if isinstance(token, Exception):
                if is_out_of_memory(token) and not asked.said and not asked.retried:
                    self._begin_with_more_room(model, asked, token)
                else:
                    self._end(model, asked, _as_llm_error(token, self.name))
            elif token is not None:
                self._said(model, asked, token)
        return True

    def _admitted(self) -> list[_Asked]:
        """Those whose answers may begin; sessions that are not being answered go first."""
        admitted: list[_Asked] = []
        with self._changed:
            if self._closed:
                raise self._closed_error()
            while self._waiting and len(self._active) + len(admitted) < self._limits.answers:
                served = [asked.session for asked in (*self._active, *admitted)]
                first = min(self._waiting, key=lambda asked: served.count(asked.session))
                self._waiting.remove(first)
                admitted.append(first)
        return admitted

    def _begin(self, model: ChatModel, asked: _Asked) -> None:
        request = asked.request
        try:
            prompt = model.template.encode(request, model.context)
            asked.limit = max(1, min(request.max_tokens, model.context - len(prompt.ids)))
            sampling = (self._sampling or model.sampling).asked(request)
            asked.answer = model.begin(prompt, sampling, asked.limit, asked.session, adapters_asked(self, request))
        except Exception as error:  # noqa: BLE001 - a request that cannot be begun fails alone
            asked.tell(_as_llm_error(error, self.name))
            return
        asked.prompt = len(prompt.ids)
        asked.words = Detokenizer(model.template.decode)
        thinks = opens_thought(model.template.decode(prompt.ids[-_PROMPT_END:]))
        begins = Begins.THOUGHT if thinks and not prompt.starts else Begins.ANSWER
        asked.text = AnswerText([tool.name for tool in request.tools], begins)
        self._active.append(asked)

    def _begin_with_more_room(self, model: ChatModel, asked: _Asked, error: Exception) -> None:
        """Once more, with what is not in use unloaded: before that, no other model is asked."""
        asked.retried = True
        with suppress(Exception), self._resident.lease():
            raise error  # which the lease takes for a computation that has run out of memory
        self._active.remove(asked)
        model.end(asked.answer)
        self._begin(model, asked)

    def _next(self, most: int) -> Sequence[_Asked]:
        """The ``most`` answers whose sessions have waited longest for a turn."""
        latest: dict[str, int] = {}
        for asked in self._active:
            latest[asked.session] = max(latest.get(asked.session, 0), asked.served)
        batch = sorted(self._active, key=lambda asked: (latest[asked.session], asked.served))[:most]
        for asked in batch:
            self._turns += 1
            asked.served = self._turns
        return batch

    def _said(self, model: ChatModel, asked: _Asked, token: int) -> None:
        assert asked.words is not None and asked.text is not None, "begun"
        asked.said += 1
        last = token in model.stops
        try:
            cut = False
            if not last:
                asked.tell(*asked.text.push(asked.words.push(token)))
                last = cut = asked.said >= asked.limit
            if last:
                rest = [*asked.text.push(asked.words.flush()), *asked.text.flush(cut=cut)]
                ends: list[Item] = [Usage(asked.prompt, asked.answer.cached, asked.said), None]
                self._end(model, asked, *rest, *([Cut()] if cut else []), *ends)
        except LLMError as error:
            self._end(model, asked, error)

    def _end(self, model: ChatModel, asked: _Asked, *items: Item) -> None:
        self._active.remove(asked)
        model.end(asked.answer)
        asked.tell(*items)


def _as_llm_error(error: Exception, name: str) -> PipelineError:
    if isinstance(error, LLMError | EngineBusyError):
        return error
    if isinstance(error, PipelineError):
        return LLMError(error.code, error.message)
    if is_out_of_memory(error):
        return LLMError("out_of_memory", f"{name} ran out of memory")
    log.error("%s failed", name, exc_info=error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return LLMError("llm_failed", f"{name}: {lines[0]}")
