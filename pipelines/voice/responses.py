"""The responses of one conversation: one is heard at a time, and only what was heard is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from media.clock import Clock
from pipelines.errors import EngineBusyError
from pipelines.foresight.asking import ForeseeingModel
from pipelines.interfaces.llm import ChatRequest, ToolCall
from pipelines.runtime.relief import Easing
from pipelines.tools.assistant import Shown
from pipelines.tools.calling import CallingModel, CallWatch
from pipelines.tools.server_tool import ServerTool
from pipelines.voice.events import (
    FunctionAdded,
    ItemTruncated,
    Reason,
    ResponseInterrupted,
    ResponseStarted,
    VoiceEvent,
)
from pipelines.voice.history import FunctionCall, FunctionResult, History, HistoryItem, Item, messages_of, new_id
from pipelines.voice.llm import Recital
from pipelines.voice.reading import Eyes, ReadingModel
from pipelines.voice.response import Response, TurnTimes
from pipelines.voice.settings import LONGEST_RESPONSE_TOKENS, ConversationSettings, VoiceEngines
from pipelines.voice.speculation import Gate, Prepared
from pipelines.voice.tts import Playout, VoiceOut
from pipelines.voice.visual_context import LookingModel, Sight

MOST_ASIDE = 4
"""Responses that do not belong to the conversation and are generated at a time."""
MOST_TO_BE_HEARD = 16
"""Responses of which the sound waits for its turn; a client that asks for more is told to wait."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A response that the client asks for. What is not given is as in the conversation."""

    settings: ConversationSettings | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Told back with it."""
    input: Sequence[HistoryItem] | None = None
    """What it answers instead of the conversation."""
    aside: bool = False
    """Whether it stays out of the conversation, which it neither waits for nor changes."""
    says: str = ""
    """What it says, word for word; empty: what the model answers."""
    note: str = ""
    """What the model is told for this time, as if the user had said it."""


@dataclass(slots=True)
class _Given:
    """A response that the client knows of, and that is being generated or is still to be heard."""

    response: Response
    task: asyncio.Task[None]
    kept: bool
    written: bool = False
    """Whether the history has all of it."""


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
    easing: Easing = field(default_factory=Easing)
    """What is given up while the machine has too much to do."""


class Responses:
    """Makes responses and knows those that are being given: one is generated at a time, and those whose sound is still
    to be heard wait for each other. Tasks belong to the group given to :meth:`start`.
    """

    def __init__(self, around: Surroundings, settings: ConversationSettings) -> None:
        self.settings = settings
        self.history = History()
        self.language: str | None = None
        """Code of what the user spoke last, if that is known."""
        self.given = 0
        """How many answers of the conversation have been begun to be given; fixed sentences are none."""
        self._around = around
        self._queue: list[_Given] = []
        """In the order in which they are heard."""
        self._aside: list[_Given] = []
        """Those in text that stay out of the conversation."""
        self._prepared: Prepared | None = None
        """The newest, unless it has been given."""
        self._sounding: Playout | None = None
        self._group: asyncio.TaskGroup | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run responses as tasks of ``group`` from now on."""
        self._group = group

    @property
    def active(self) -> bool:
        """Whether a response is being generated or played."""
        return bool(self._queue)

    @property
    def current(self) -> Response | None:
        """The newest response of the conversation that is being generated or played."""
        return next((given.response for given in reversed(self._queue) if given.kept), None)

    def gives(self, item_id: str) -> bool:
        """Whether the response with this item is being generated or played."""
        return any(given.response.item_id == item_id for given in self._queue)

    @property
    def generating(self) -> bool:
        """Whether a response of the conversation is being generated: another one has to wait for it."""
        return self.current is not None and not self.current.told

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Ids of the responses that are being generated."""
        return tuple(given.response.id for given in (*self._queue, *self._aside) if not given.response.told)

    @property
    def is_full(self) -> bool:
        """Whether so many wait to be heard that no other should be asked for."""
        return len(self._queue) >= MOST_TO_BE_HEARD

    @property
    def heard(self) -> str:
        """The words of the response that is being heard, as far as they have been; empty without one."""
        response = next((given.response for given in self._queue if given.response.playout is not None), None)
        if response is None or response.playout is None:
            return ""
        return response.script.heard(response.playout.heard_seconds)

    async def finished(self) -> None:
        """Wait for the end of the responses that are being given, if any."""
        if self._queue:
            await asyncio.wait([given.task for given in self._queue])

    # ------------------------------------------------------------------------------------------------ giving

    def respond(self, times: TurnTimes | None = None, wish: Wish | None = None) -> str:
        """Answer the conversation as it stands; returns the response's id.

        One that is being generated is cut off, one that is being heard is heard to its end before. Raises
        :class:`~pipelines.errors.EngineBusyError` for one aside when too many are on their way.
        """
        wish = wish or Wish()
        if wish.aside and sum(not given.kept for given in (*self._queue, *self._aside)) >= MOST_ASIDE:
            message = f"{MOST_ASIDE} responses outside of the conversation are being generated already"
            raise EngineBusyError("too_many_responses", message)
        if not wish.aside and self.generating:
            self.interrupt("client_cancelled")
        settings = wish.settings or self.settings
        response = self._new(times or TurnTimes(), self._around.emit, settings, self.language, wish.says)
        tentative = Item(new_id("item"), "user", wish.note) if wish.note else None
        task = self._spawn(response, self._request(settings, tentative, wish.input))
        self.given += not (wish.aside or wish.says)
        self._give(_Given(response, task, kept=not wish.aside), settings, wish.metadata)
        return response.id

    def prepare(self, times: TurnTimes, message: Item, language: str | None = None) -> Prepared:
        """Begin to answer ``message`` in ``language``, which is not in the history yet, behind a gate."""
        gate = Gate(self._around.emit)
        response = self._new(times, gate, self.settings, language)
        task = self._spawn(response, self._request(self.settings, message))
        self._prepared = Prepared(response, task, gate)
        return self._prepared

    def outdate(self) -> None:
        """What the newest prepared response goes by has changed: it will not be given."""
        if self._prepared is not None:
            self._prepared.discard()
            self._prepared = None

    def give(self, prepared: Prepared) -> None:
        """Let a prepared response be heard."""
        self._prepared = None
        if self.generating:
            self.interrupt("client_cancelled")
        self.given += 1
        self._give(_Given(prepared.response, prepared.task, kept=True), self.settings)
        prepared.gate.open()

    def interrupt(self, reason: Reason, among: Container[str] | None = None) -> bool:
        """Cut off what is being given and remember only what was heard: all of it, or ``among`` these responses, by
        id; ``False`` when there was nothing."""
        cut = [given for given in self._queue if among is None or given.response.id in among]
        self._queue = [given for given in self._queue if given not in cut]
        for given in cut:
            self._cut(given, reason)
        self._play_next()
        return bool(cut)

    def cancel(self, response_id: str) -> bool:
        """Cut off this one response; ``False`` when it is not being given."""
        for given in [one for one in self._aside if one.response.id == response_id]:
            self._aside.remove(given)
            self._cut(given, "client_cancelled")
            return True
        return self.interrupt("client_cancelled", (response_id,))

    def cancel_item(self, item_id: str) -> bool:
        """Cut off the response with this item, and no other; ``False`` when it is not being given."""
        responses = [given.response.id for given in self._queue if given.response.item_id == item_id]
        return self.interrupt("client_cancelled", responses)

    def truncate(self, item_id: str, seconds: float | None) -> bool:
        """The user has heard only ``seconds`` of this spoken answer: stop it, and remember no more than that.

        Clients that play the sound themselves know it (more than there is counts as all of it); ``None``: it is known
        here. ``False``: there is no such answer.
        """
        item = self.history.find(item_id)
        if not isinstance(item, Item) or (script := item.script) is None:
            return False
        self.cancel_item(item_id)
        if seconds is not None:
            seconds = min(seconds, script.seconds)
            heard = script.heard(seconds)
            self.history.truncate(item_id, heard)
            self.outdate()
            self._around.emit(ItemTruncated(item_id, heard, seconds))
        return True

    def call_off(self, wish: Wish) -> None:
        """Tell of a response that has been asked for and will not be given, so that nobody waits for it."""
        settings, response_id = wish.settings or self.settings, new_id("resp")
        about = (wish.metadata, not wish.aside, settings.max_tokens, settings.voice.voice)
        spoken = self._around.out is not None and settings.spoken
        self._around.emit(ResponseStarted(response_id, new_id("item"), spoken, *about))
        self._around.emit(ResponseInterrupted(response_id, "client_cancelled", "", 0.0))

    def duck(self, decibels: float) -> None:
        """Lower the voice; 0 restores it."""
        if self._around.out is not None:
            self._around.out.duck(decibels)

    # ------------------------------------------------------------------------------------------------ inside

    def _new(
        self,
        times: TurnTimes,
        emit: Callable[[VoiceEvent], None],
        settings: ConversationSettings,
        language: str | None,
        says: str = "",
    ) -> Response:
        around = self._around
        playout = around.out.prepare() if around.out is not None and settings.spoken else None
        engines, ids = around.engines, (new_id("resp"), new_id("item"))
        watch = CallWatch(on_call=partial(self._called, ids[1]), on_result=partial(self._returned, ids[1]))
        if isinstance(emit, Gate):
            watch = replace(watch, allowed=emit.opened)  # nothing is run speculatively
        tools = self._tools if settings.tool_choice != "none" else tuple
        eyes = Eyes(around.sight, lambda: engines.assistant.reader)
        reads = ReadingModel(LookingModel(engines.llm, around.sight), eyes)
        thinks = CallingModel(ForeseeingModel(reads, around.sight, watch.allowed), tools, watch)
        model = Recital(says) if says else thinks
        voice = replace(settings.voice, language=language)
        return Response(*ids, model, engines.tts, voice, playout, emit, around.clock, times)

    def _tools(self) -> tuple[ServerTool, ...]:
        """The assistant's own and the operator's, which count where both have the same name."""
        sight, engines = self._around.sight, self._around.engines
        return (*engines.assistant.offered(Shown(sight.sources, sight.whole)), *engines.tools())

    def _called(self, item_id: str, name: str, call_id: str, arguments: str) -> None:
        """The server runs one of its own tools for the response with this item."""
        self._remember_before(item_id, FunctionCall(new_id("item"), ToolCall(call_id, name, arguments)))

    def _returned(self, item_id: str, call_id: str, result: str, failed: bool) -> None:
        self._remember_before(item_id, FunctionResult(new_id("item"), call_id, result))

    def _remember_before(self, item_id: str, item: FunctionCall | FunctionResult) -> None:
        """What a response of the conversation is based on stands in front of it."""
        if any(given.kept and given.response.item_id == item_id for given in self._queue):
            place = self.history.before(item_id)
            self.history.add(item, place)
            self._around.emit(FunctionAdded(item, place))

    def _give(self, given: _Given, settings: ConversationSettings, metadata: Mapping[str, str] | None = None) -> None:
        response = given.response
        spoken = response.playout is not None
        (self._queue if given.kept or spoken else self._aside).append(given)
        if given.kept:
            script = response.script if spoken else None
            self.history.add(Item(response.item_id, "assistant", "", spoken=spoken, script=script))
        about = (metadata or {}, given.kept, settings.max_tokens, settings.voice.voice)
        self._around.emit(ResponseStarted(response.id, response.item_id, spoken, *about))
        self._play_next()
        if response.told:
            self._write_down(given)
        if given.task.done():
            self._ended(response)

    def _play_next(self) -> None:
        """Let the first response be heard, unless it is already."""
        playout = next((given.response.playout for given in self._queue if given.response.playout is not None), None)
        if self._around.out is not None and playout is not None and playout is not self._sounding:
            self._sounding = playout
            self._around.out.play(playout)

    def _cut(self, given: _Given, reason: Reason) -> None:
        """Silence a response that is in no list any more."""
        response = given.response
        heard, seconds = response.heard()
        given.task.cancel()
        if given.kept:
            self.outdate()
            if response.text or response.told:
                self.history.truncate(response.item_id, heard)
            else:  # nobody has been told of its item
                self.history.remove(response.item_id)
        self._around.emit(ResponseInterrupted(response.id, reason, heard, seconds))

    def _request(
        self,
        settings: ConversationSettings,
        tentative: Item | None = None,
        items: Sequence[HistoryItem] | None = None,
    ) -> ChatRequest:
        if items is None:
            messages = self.history.messages(settings.instructions, tentative)
        else:
            messages = messages_of(items, settings.instructions)
        if not settings.preserve_context:
            last = max((n for n, message in enumerate(messages) if message.role == "user"), default=0)
            messages = tuple(m for m in messages[:last] if m.role == "system") + messages[last:]
        around = self._around
        choice = settings.tool_choice
        return ChatRequest(
            messages,
            around.scene(),
            settings.max_tokens or LONGEST_RESPONSE_TOKENS,
            tools=settings.tools if choice != "none" else (),
            tool_choice=choice if choice != "none" else "auto",
            parallel_tool_calls=settings.parallel_tool_calls,
            time=around.time(),
            adapters=settings.adapters,
            adapters_needed=False,
        )

    def _spawn(self, response: Response, request: ChatRequest) -> asyncio.Task[None]:
        assert self._group is not None, "start() first"
        return self._group.create_task(self._run(response, request), name=response.id)

    async def _run(self, response: Response, request: ChatRequest) -> None:
        try:
            await response.run(request, lambda: self._generated(response))
        finally:
            self._ended(response)

    def _generated(self, response: Response) -> None:
        for given in self._queue:
            if given.response is response:
                self._write_down(given)

    def _write_down(self, given: _Given) -> None:
        """Remember a response once all of it has been generated; what is not heard of it is taken back later."""
        if not given.kept or given.written:
            return
        given.written = True
        response = given.response
        for call in reversed(response.calls):
            self.history.add(call, response.item_id)
        if response.calls and not response.text:
            self.history.remove(response.item_id)  # its calls are all that is told of it
        else:
            self.history.complete(response.item_id, response.text, cut=response.cut)

    def _ended(self, response: Response) -> None:
        """Its task is over; ``response`` may have been cut off, or never been given."""
        self._aside = [given for given in self._aside if given.response is not response]
        for given in self._queue:
            if given.response is response:
                self._queue.remove(given)
                self._write_down(given)
                self._play_next()
                break
        if not self._queue:
            self.duck(0.0)
