"""The answers of one conversation: at most one is heard at a time, and only what was heard is remembered."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from media.clock import Clock
from pipelines.interfaces.llm import ChatRequest
from pipelines.voice.events import Reason, ResponseInterrupted, ResponseStarted, VoiceEvent
from pipelines.voice.history import History, Item
from pipelines.voice.response import Response, TurnTimes
from pipelines.voice.settings import LONGEST_RESPONSE_TOKENS, ConversationSettings, VoiceEngines
from pipelines.voice.tts import VoiceOut
from pipelines.voice.visual_context import LookingModel, Sight


class Gate:
    """Holds events back until it is opened; after :meth:`discard` they are dropped."""

    def __init__(self, emit: Callable[[VoiceEvent], None]) -> None:
        self._emit = emit
        self._held: list[VoiceEvent] | None = []
        self._discarded = False

    def __call__(self, event: VoiceEvent) -> None:
        """Pass an event on, now or later."""
        if self._discarded:
            return
        if self._held is None:
            self._emit(event)
        else:
            self._held.append(event)

    def open(self) -> None:
        """Let out what was held, in order, and everything from now on."""
        held, self._held = self._held or [], None
        for event in held:
            self._emit(event)

    def discard(self) -> None:
        """Drop what was held and what is still to come."""
        self._discarded = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer behind its gate: generated, synthesised, and neither heard, told nor remembered."""

    response: Response
    task: asyncio.Task[None]
    gate: Gate

    def discard(self) -> None:
        """It will never be heard."""
        self.gate.discard()
        self.task.cancel()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a conversation is connected to."""

    engines: VoiceEngines
    out: VoiceOut[Any] | None
    """Where answers sound; ``None`` for text only."""
    emit: Callable[[VoiceEvent], None]
    """Is given every event, on the event loop, in order."""
    clock: Clock
    scene: Callable[[], str] = str
    """What the camera shows, in words."""
    sight: Sight = field(default_factory=Sight)
    """What else it offers."""
    time: Callable[[], str] = str
    """Time and date, in words; empty where the model is not to know."""
    audible: Callable[[], bool] = lambda: True
    """Whether anybody would hear the voice now; otherwise the answer is text."""


class Responses:
    """Makes answers and knows the one that is being given. Tasks belong to the group given to :meth:`start`."""

    def __init__(self, around: Surroundings, settings: ConversationSettings) -> None:
        self.settings = settings
        self.history = History()
        self.language: str | None = None
        """Code of what the user spoke last, if that is known."""
        self.given = 0
        """How many answers have been begun to be given."""
        self._around = around
        self._current: Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run answers as tasks of ``group`` from now on."""
        self._group = group

    @property
    def active(self) -> bool:
        """Whether an answer is being generated or played."""
        return self._current is not None

    @property
    def current(self) -> Response | None:
        """The answer that is being generated or played."""
        return self._current

    async def finished(self) -> None:
        """Wait for the end of the answer that is being given, if any."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def respond(
        self,
        times: TurnTimes | None = None,
        settings: ConversationSettings | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Answer the conversation as it stands, after cutting off a running answer; returns the response's id.

        ``settings`` hold for this answer only; ``metadata`` is told back with it.
        """
        settings = settings or self.settings
        response = self._new(times or TurnTimes(), self._around.emit, settings, self.language)
        self._give(response, self._spawn(response, self._request(settings)), metadata)
        return response.id

    def prepare(self, times: TurnTimes, message: Item, language: str | None = None) -> Prepared:
        """Begin to answer ``message`` in ``language``, which is not in the history yet, behind a gate."""
        gate = Gate(self._around.emit)
        response = self._new(times, gate, self.settings, language)
        return Prepared(response, self._spawn(response, self._request(self.settings, message)), gate)

    def give(self, prepared: Prepared) -> None:
        """Let a prepared answer be heard."""
        self._give(prepared.response, prepared.task)
        prepared.gate.open()

    def interrupt(self, reason: Reason) -> bool:
        """Cut off the running answer and remember only what was heard; ``False`` when there was none."""
        response, task = self._current, self._task
        if response is None or task is None:
            return False
        self._current = self._task = None
        heard, seconds = response.heard()
        task.cancel()
        self.history.truncate(response.item_id, heard)
        self._around.emit(ResponseInterrupted(response.id, reason, heard, seconds))
        return True

    @property
    def heard(self) -> str:
        """The words of the running answer that have been heard so far; empty without one."""
        response = self._current
        if response is None or response.playout is None:
            return ""
        return response.script.heard(response.playout.heard_seconds)

    def duck(self, decibels: float) -> None:
        """Lower the voice; 0 restores it."""
        if self._around.out is not None:
            self._around.out.duck(decibels)

    def _new(
        self,
        times: TurnTimes,
        emit: Callable[[VoiceEvent], None],
        settings: ConversationSettings,
        language: str | None,
    ) -> Response:
        around = self._around
        is_spoken = settings.spoken and around.audible()
        playout = around.out.prepare() if around.out is not None and is_spoken else None
        engines, ids = around.engines, (new_id("resp"), new_id("item"))
        model = LookingModel(engines.llm, around.sight)
        voice = replace(settings.voice, language=language)
        return Response(*ids, model, engines.tts, voice, playout, emit, around.clock, times)

    def _give(self, response: Response, task: asyncio.Task[None], metadata: Mapping[str, str] | None = None) -> None:
        self.interrupt("client_cancelled")
        self._current, self._task = response, task
        self.given += 1
        self.history.add(Item(response.item_id, "assistant", "", spoken=response.playout is not None))
        self._around.emit(ResponseStarted(response.id, response.item_id, response.playout is not None, metadata or {}))
        if self._around.out is not None and response.playout is not None:
            self._around.out.play(response.playout)
        if task.done():
            self._ended(response)

    def _request(self, settings: ConversationSettings, tentative: Item | None = None) -> ChatRequest:
        messages = self.history.messages(settings.instructions, tentative)
        if not settings.preserve_context:
            messages = tuple(m for m in messages if m.role == "system") + messages[-1:]
        around = self._around
        return ChatRequest(messages, around.scene(), settings.max_tokens or LONGEST_RESPONSE_TOKENS, time=around.time())

    def _spawn(self, response: Response, request: ChatRequest) -> asyncio.Task[None]:
        assert self._group is not None, "start() first"
        return self._group.create_task(self._run(response, request), name=response.id)

    async def _run(self, response: Response, request: ChatRequest) -> None:
        try:
            await response.run(request)
        finally:
            self._ended(response)

    def _ended(self, response: Response) -> None:
        if self._current is response:
            self._current = self._task = None
            self.history.complete(response.item_id, response.text, cut=response.cut)
            self.duck(0.0)


def new_id(kind: str) -> str:
    """An id such as ``item_4f1c…``, unique for all practical purposes."""
    return f"{kind}_{secrets.token_hex(8)}"
