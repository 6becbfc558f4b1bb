"""The spoken conversation of one session: the async shell around the pure parts. Owns every task it starts.

Audio goes through voice activity and the turn machine window by window; what they decide is carried out here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from media.channel import Channel
from media.clock import Clock
from media.frames import AudioChunk
from media.rechunk import Rechunker
from media.ring import AudioRing
from pipelines.errors import EngineBusyError, PipelineError
from pipelines.ports import (
    VAD_RATE,
    VAD_WINDOW,
    ChatRequest,
    LanguageModel,
    SpeechProbability,
    SpeechToText,
    TextToSpeech,
)
from pipelines.voice.events import (
    PartialTranscript,
    Problem,
    Reason,
    ReplyInterrupted,
    ReplyStarted,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    UserTurn,
    VoiceEvent,
)
from pipelines.voice.history import History, Item
from pipelines.voice.reply import Reply, TurnTimes
from pipelines.voice.stt import Utterance
from pipelines.voice.tts import VoiceOut, VoiceSettings
from pipelines.voice.turn import (
    Decision,
    DuckReply,
    RestoreReply,
    TurnBegan,
    TurnConfirmed,
    TurnDropped,
    TurnEnded,
    TurnMachine,
    TurnSettings,
)
from pipelines.voice.vad import Segmenter, SegmenterSettings

log = logging.getLogger(__name__)

DUCK_DECIBELS = 14.0
"""How far a reply is lowered while it is not clear whether the user interrupts."""
PENDING_TURNS = 8
"""Turns that may wait for their transcript; each holds a decoder or waits for one."""


@dataclass(frozen=True, slots=True)
class VoiceEngines:
    """The engines a conversation uses; shared by all sessions."""

    vad: SpeechProbability
    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech


@dataclass(slots=True)
class ConversationSettings:
    """What a session may change while it runs."""

    instructions: str = ""
    voice: VoiceSettings = field(default_factory=VoiceSettings)
    turn: TurnSettings = field(default_factory=TurnSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    max_tokens: int = 256
    preserve_context: bool = True
    """Whether earlier turns are shown to the language model."""


@dataclass(slots=True)
class _Spoken:
    """A turn of the user from its first voice to its transcript."""

    item_id: str
    utterance: Utterance
    began: float
    times: TurnTimes = field(default_factory=TurnTimes)


class Conversation:
    """One session's conversation.

    ``out`` is where replies sound, or ``None`` for text only; ``scene`` tells what the camera shows. Events are given
    to ``emit`` on the event loop, in order.
    """

    def __init__(
        self,
        engines: VoiceEngines,
        settings: ConversationSettings,
        out: VoiceOut | None,
        emit: Callable[[VoiceEvent], None],
        clock: Clock,
        scene: Callable[[], str] = str,
    ) -> None:
        self.settings = settings
        self.history = History()
        self._engines = engines
        self._out = out
        self._emit = emit
        self._clock = clock
        self._scene = scene
        self._segmenter = Segmenter(settings.segmenter)
        self._machine = TurnMachine(settings.turn)
        self._ring = AudioRing(settings.turn.prefix_padding_seconds + settings.segmenter.start_seconds + 0.1)
        self._turn: _Spoken | None = None
        self._turns: Channel[_Spoken] = Channel(PENDING_TURNS)
        self._reply: Reply | None = None
        self._reply_task: asyncio.Task[None] | None = None
        self._unanswered = False
        self._now = 0.0
        self._group: asyncio.TaskGroup | None = None

    # ------------------------------------------------------------------------------------------------ tasks

    async def run(self, audio: Channel[AudioChunk] | None) -> None:
        """Converse until cancelled; ``None`` for a session without a microphone."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._take_turns(), name="turns")
            if audio is not None:
                await self._listen(audio)

    async def _listen(self, audio: Channel[AudioChunk]) -> None:
        vad = self._engines.vad.open()
        rechunker = Rechunker(VAD_WINDOW)
        async for chunk in audio:
            for window in rechunker.push(chunk):
                self._now = window.end
                self._ring.push(window)
                if self._turn is not None:
                    self._turn.utterance.push(window.samples)
                voice = self._segmenter.process(vad.probability(window.samples), window.time, window.end)
                decisions = [] if voice is None else self._machine.voice(voice)
                self._carry_out([*decisions, *self._machine.tick(window.end)])

    async def _take_turns(self) -> None:
        """Transcripts are finished in the order of the turns, and only the newest turn is answered."""
        async for turn in self._turns:
            try:
                transcript = await turn.utterance.finish()
            except PipelineError as error:
                self._emit(TranscriptFailed(turn.item_id, error))
                continue
            turn.times.transcript = self._clock.now()
            self._emit(UserTurn(turn.item_id, transcript.text, True, turn.utterance.samples / VAD_RATE))
            if transcript.text:
                self.history.add(Item(turn.item_id, "user", transcript.text))
                self._unanswered = True
            await self._answer(turn.times)

    async def _answer(self, times: TurnTimes) -> None:
        """Reply to what has been said, unless the user goes on speaking: then that turn will be answered."""
        if not self._unanswered or not self.settings.turn.create_response or len(self._turns) or self._machine.hearing:
            return
        if self._reply_task is not None:  # speech that may not interrupt waits for the end of the reply
            await asyncio.wait([self._reply_task])
        self.respond(times)

    # ------------------------------------------------------------------------------------------------ decisions

    def _carry_out(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case TurnBegan(time):
                    self._begin(time)
                case TurnConfirmed(interrupts):
                    self._confirm(interrupts)
                case TurnEnded():
                    self._end(decision)
                case TurnDropped():
                    self._drop()
                case DuckReply():
                    self._duck(DUCK_DECIBELS)
                case RestoreReply():
                    self._duck(0.0)

    def _begin(self, time: float) -> None:
        assert self._group is not None
        item_id = new_id("item")
        utterance = Utterance(self._engines.stt, lambda text: self._partial(item_id, text))
        utterance.start(self._group)
        utterance.push(self._ring.since(time))
        self._turn = _Spoken(item_id, utterance, time)

    def _confirm(self, interrupts: bool) -> None:
        assert self._turn is not None
        self._duck(0.0)
        self._emit(SpeechStarted(self._turn.item_id, self._turn.began))
        if interrupts:
            self.interrupt("turn_detected")

    def _end(self, ended: TurnEnded) -> None:
        turn, self._turn = self._turn, None
        assert turn is not None
        self._emit(SpeechStopped(turn.item_id, ended.speech_end))
        turn.times.endpoint = self._clock.now()
        turn.times.speech_end = turn.times.endpoint - (ended.decided - ended.speech_end)
        if len(self._turns) < PENDING_TURNS:
            self._turns.put(turn)
        else:
            self._forget(turn)
            busy = EngineBusyError("stt_busy", f"{PENDING_TURNS} turns already wait for the recogniser")
            self._emit(TranscriptFailed(turn.item_id, busy))

    def _drop(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            self._forget(turn)

    def _forget(self, turn: _Spoken) -> None:
        assert self._group is not None
        self._group.create_task(turn.utterance.cancel(), name="forget")

    def _partial(self, item_id: str, text: str) -> None:
        if self._turn is not None and self._turn.item_id == item_id:
            self._carry_out(self._machine.words(text))
        self._emit(PartialTranscript(item_id, text))

    def _duck(self, decibels: float) -> None:
        if self._out is not None:
            self._out.duck(decibels)

    # ------------------------------------------------------------------------------------------------ replies

    @property
    def replying(self) -> bool:
        """Whether an answer is being generated or played."""
        return self._reply is not None

    def respond(self, times: TurnTimes | None = None, instructions: str | None = None) -> str:
        """Answer the conversation as it stands, after cutting off a running answer; returns the response's id."""
        assert self._group is not None, "run() first"
        self.interrupt("client_cancelled")
        playout = self._out.open() if self._out is not None else None
        reply = Reply(
            new_id("resp"),
            new_id("item"),
            self._engines.llm,
            self._engines.tts,
            self.settings.voice,
            playout,
            self._emit,
            self._clock,
            times or TurnTimes(),
        )
        self._reply, self._machine.replying, self._unanswered = reply, True, False
        self._emit(ReplyStarted(reply.id, reply.item_id, playout is not None))
        request = self._request(instructions if instructions is not None else self.settings.instructions)
        self._reply_task = self._group.create_task(self._run(reply, request), name=reply.id)
        return reply.id

    def _request(self, instructions: str) -> ChatRequest:
        messages = self.history.messages(instructions)
        if not self.settings.preserve_context:
            messages = tuple(m for m in messages if m.role == "system") + messages[-1:]
        return ChatRequest(messages, self._scene(), self.settings.max_tokens)

    async def _run(self, reply: Reply, request: ChatRequest) -> None:
        self.history.add(Item(reply.item_id, "assistant", ""))
        try:
            await reply.run(request)
            self._remember(reply)
        except Exception:
            # A defect in one reply must not end the session; it is logged with its traceback and told as an event.
            log.exception("the reply %s failed", reply.id)
            self._emit(Problem(PipelineError("internal_error", "the reply failed for an unexpected reason")))
        finally:
            if self._reply is reply:
                self._reply, self._machine.replying = None, False
                self._duck(0.0)

    def interrupt(self, reason: Reason) -> bool:
        """Cut off the running answer and remember only what was heard; ``False`` when there was none."""
        reply, task = self._reply, self._reply_task
        if reply is None or task is None:
            return False
        self._reply, self._reply_task, self._machine.replying = None, None, False
        heard, seconds = reply.heard()
        task.cancel()
        self.history.truncate(reply.item_id, heard)
        self._emit(ReplyInterrupted(reply.id, reason, heard, seconds))
        return True

    def _remember(self, reply: Reply) -> None:
        for item in self.history.items:
            if item.id == reply.item_id:
                item.text = reply.text

    # ------------------------------------------------------------------------------------------------ the client

    def add_text(self, text: str, item_id: str | None = None) -> str:
        """A message the user typed; returns its item id."""
        item = self.history.add(Item(item_id or new_id("item"), "user", text))
        self._emit(UserTurn(item.id, text, False))
        return item.id

    def commit(self) -> bool:
        """End the running turn of the user now; ``False`` when nobody was speaking."""
        decisions = self._machine.commit(self._now)
        self._carry_out(decisions)
        return bool(decisions)

    def clear(self) -> None:
        """Forget what is being said in the running turn."""
        self._carry_out(self._machine.clear())

    def configure(self, settings: ConversationSettings) -> None:
        """Change the settings; they hold from the next window, reply or turn on."""
        self.settings = settings
        self._segmenter.settings = settings.segmenter
        self._machine.settings = settings.turn
        self._ring.seconds = settings.turn.prefix_padding_seconds + settings.segmenter.start_seconds + 0.1


def new_id(kind: str) -> str:
    """An id such as ``item_4f1c…``, unique for all practical purposes."""
    return f"{kind}_{secrets.token_hex(8)}"
