"""The spoken conversation of one session: the async shell around the pure parts. Owns every task it starts.

Audio goes through voice activity and the turn machine window by window; what they decide is carried out here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container

from media.channel import Channel
from media.frames import AudioChunk, AudioRing, Rechunker, rms
from pipelines.errors import EngineBusyError, PipelineError, STTError, foreign_errors
from pipelines.interfaces.llm import LanguageModel
from pipelines.interfaces.stt import Transcript, streams_partials
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW
from pipelines.voice.endpointing import Evidence, words
from pipelines.voice.events import (
    IdleTimedOut,
    MessageRemoved,
    PartialTranscript,
    Problem,
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    added,
)
from pipelines.voice.history import History, HistoryItem, Item, new_id
from pipelines.voice.responses import Responses, Surroundings, Wish
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.speculation import Pause, SpokenTurn
from pipelines.voice.stt import Utterance
from pipelines.voice.turn import (
    Decision,
    DuckResponse,
    IdleEnded,
    RestoreResponse,
    TurnBegan,
    TurnConfirmed,
    TurnContinued,
    TurnDropped,
    TurnEnded,
    TurnMachine,
    TurnMode,
    TurnPaused,
    TurnResumed,
    TurnShelved,
)
from pipelines.voice.turn_queue import TurnQueue
from pipelines.voice.vad import LastingActivity, QuietSkipped, Segmenter

log = logging.getLogger(__name__)

DUCK_DECIBELS = 14.0
"""How far a reply is lowered while it is not clear whether the user interrupts."""
RING_SECONDS = 8.5
"""Audio kept for the pre-roll and for the turn detector, which looks at 8 s."""
SECOND_JUDGEMENT_SECONDS = 0.3
"""When a pause has lasted this long, the turn detector is asked again: it is surer after some silence."""


class Conversation:
    """One session's conversation."""

    def __init__(self, around: Surroundings, settings: ConversationSettings) -> None:
        self.settings = settings
        self.responses = Responses(around, settings)
        self._engines = around.engines
        self._emit = around.emit
        self._clock = around.clock
        self._sight, self._easing = around.sight, around.easing
        self._segmenter = Segmenter(settings.segmenter)
        self._machine = TurnMachine(settings.turn, streams_partials(around.engines.stt), awaits_words=True)
        self._ring = AudioRing(RING_SECONDS)
        self._turn: SpokenTurn | None = None
        self._decided = asyncio.Event()
        """Cleared while there is a voice of which it is not known yet whether it is a turn."""
        self._decided.set()
        self._turn_queue = TurnQueue(around, self.responses, lambda: self._machine.hearing, self._decided)
        self._now = 0.0
        self._group: asyncio.TaskGroup | None = None
        self.running = asyncio.Event()
        """Set once :meth:`run` has begun: from then on the client may be heard."""

    @property
    def history(self) -> History:
        """What is remembered."""
        return self.responses.history

    # ------------------------------------------------------------------------------------------------ tasks

    async def run(self, audio: Channel[AudioChunk] | None) -> None:
        """Converse until cancelled; ``None`` for a session without a microphone."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.responses.start(group)
            group.create_task(self._turn_queue.run(), name="turns")
            self.running.set()
            if audio is not None:
                await self._listen(audio)

    async def _listen(self, audio: Channel[AudioChunk]) -> None:
        vad = QuietSkipped(LastingActivity(self._engines.vad, lambda error: self._emit(Problem(error))))
        rechunker = Rechunker(VAD_WINDOW)
        async for chunk in audio:
            if chunk.rate != VAD_RATE:
                raise ValueError(f"audio comes at {chunk.rate} Hz, not at {VAD_RATE}: media.resample changes that")
            for window in rechunker.push(chunk.silenced if self.settings.muted else chunk):
                self._now = window.end
                self._ring.push(window)
                self._machine.responding, self._machine.lips = self.responses.active, self._sight.lips()
                if self._turn is not None and not self._turn.shelved:
                    self._turn.utterance.push(window.samples)
                level = rms(window.samples)
                probability = vad.probability(window.samples, level)
                voice = self._segmenter.process(probability, level, window.time, window.end)
                decisions = [] if voice is None else self._machine.voice(voice)
                self._carry_out([*decisions, *self._machine.tick(window.end)])
                self._judge_again()

    # ------------------------------------------------------------------------------------------------ decisions

    def _carry_out(self, decisions: list[Decision]) -> None:  # noqa: C901 - a flat table of cases
        for decision in decisions:
            match decision:
                case TurnBegan(time):
                    self._begin(time)
                case TurnConfirmed(interrupts):
                    self._confirm(interrupts)
                case TurnPaused(time):
                    self._pause(time)
                case TurnResumed():
                    self._resume()
                case TurnShelved():
                    self._shelve()
                case TurnContinued(time):
                    self._continue(time)
                case TurnEnded():
                    self._end(decision)
                case TurnDropped():
                    self._drop()
                case DuckResponse():
                    self.responses.duck(DUCK_DECIBELS)
                case RestoreResponse():
                    self.responses.duck(0.0)
                case IdleEnded():
                    self._speak_up(decision)

    def _begin(self, time: float) -> None:
        item_id = new_id("item")
        self._turn = SpokenTurn(item_id, self._recognise(item_id, time), time)
        self._decided.clear()

    def _confirm(self, interrupts: bool) -> None:
        assert self._turn is not None
        self._decided.set()
        self.responses.duck(0.0)
        if self.settings.turn.mode is not TurnMode.MANUAL:
            self._turn.told = True
            self._emit(SpeechStarted(self._turn.item_id, self._turn.began))
        if interrupts:
            self.responses.interrupt("turn_detected")

    def _end(self, ended: TurnEnded) -> None:
        turn, self._turn = self._turn, None
        assert turn is not None
        self._segmenter.forget_tail()
        self._emit(SpeechStopped(turn.item_id, ended.speech_end, turn.told))
        turn.asks = self.settings.answers_unasked
        turn.times.endpoint = self._clock.now()
        turn.times.speech_end = turn.times.endpoint - (ended.decided - ended.speech_end)
        if not self._turn_queue.put(turn):
            turn.discard_pause()
            self._forget(turn)

    def _drop(self) -> None:
        self._decided.set()
        self._segmenter.forget_tail()
        turn, self._turn = self._turn, None
        if turn is not None:
            self._forget(turn)
            if turn.told:
                self._emit(SpeechDropped(turn.item_id, self._now))
        self._turn_queue.dropped()

    def _forget(self, turn: SpokenTurn) -> None:
        assert self._group is not None
        turn.discard_pause()
        for utterance in turn.utterances:
            self._group.create_task(utterance.cancel(), name="forget")

    def _speak_up(self, idle: IdleEnded) -> None:
        """The user's silence counts as an empty turn, which the assistant answers."""
        item_id = new_id("item")
        self.history.add(Item(item_id, "user", "", spoken=True))
        self._emit(IdleTimedOut(item_id, idle.start, idle.end))
        self._turn_queue.respond(Wish(note=f"[The user has been silent for {idle.end - idle.start:.0f} seconds.]"))

    def _recognise(self, item_id: str, time: float) -> Utterance:
        """Recognise what is said from media time ``time`` on."""
        assert self._group is not None
        utterance = Utterance(self._engines.stt, lambda text: self._partial(item_id, text), self.settings.language)
        utterance.start(self._group)
        utterance.push(self._ring.since(time))
        return utterance

    def _shelve(self) -> None:
        turn = self._turn
        assert turn is not None and self._group is not None
        if turn.shelved:  # it has become too long
            return
        turn.shelve(self._group)
        if turn.is_full:
            message = "the turn has become too long: what is said from now on is not heard until it is committed"
            self._emit(Problem(STTError("input_audio_buffer_full", message)))

    def _continue(self, time: float) -> None:
        if self._turn is not None and not self._turn.is_full:
            self._turn.go_on(self._recognise(self._turn.item_id, time))

    # ------------------------------------------------------------------------------------------------ pauses

    def _pause(self, time: float) -> None:
        turn = self._turn
        assert turn is not None and self._group is not None
        if turn.shelved:
            return
        turn.pause = pause = Pause(time)
        turn.times.prepared_since = self._clock.now()
        pause.work = self._group.create_task(self._prepare(turn, pause), name="prepare")
        self._ask_detector(turn, pause)

    def _resume(self) -> None:
        if self._turn is not None and not self._turn.shelved:
            self._turn.discard_pause()
            self._turn.utterance.resume()

    async def _prepare(self, turn: SpokenTurn, pause: Pause) -> None:
        try:
            transcript = await turn.utterance.settle()
        except PipelineError as error:
            pause.transcript = error
            return
        if transcript.better is not None:
            assert self._group is not None
            work = self._reconsider(turn, pause, transcript, transcript.better)
            pause.doubting = self._group.create_task(work, name="reconsider")
        pause.transcript = transcript
        if not transcript.lost:
            self._use(turn, pause, transcript)

    def _use(self, turn: SpokenTurn, pause: Pause, transcript: Transcript) -> None:
        """Go by what has been said before a pause: for the end of the turn, and to prepare the answer."""
        pause.transcript = transcript
        turn.times.transcript = self._clock.now()
        if self._turn is turn:
            self._machine.judge(Evidence(text=transcript.text))
        elif self._machine.hearing:  # the next turn is under way and will be answered instead
            return
        settings = self.settings
        wanted = settings.speculate and settings.answers_unasked and transcript.text and turn.is_whole
        others = self._turn_queue.unwritten - (self._turn is not turn)  # their words belong to the question
        if wanted and not (self.responses.active or others) and self._easing.may_speculate():
            message = Item(turn.item_id, "user", transcript.text)
            pause.prepared = self.responses.prepare(turn.times, message, transcript.language)

    async def _reconsider(
        self, turn: SpokenTurn, pause: Pause, transcript: Transcript, asked: asyncio.Task[Transcript | None]
    ) -> None:
        """Go by what is better than ``transcript``, if that comes in time and differs in its words."""
        await asyncio.wait([asked])
        better = None if asked.cancelled() else asked.result()
        if better is None:
            if transcript.lost:
                self._use(turn, pause, transcript)
        elif not transcript.lost and words(better.text) == words(transcript.text):
            pause.transcript = better  # what is prepared answers it, too
        else:
            turn.discard_prepared()
            self._use(turn, pause, better)

    def _ask_detector(self, turn: SpokenTurn, pause: Pause) -> None:
        detector = self._engines.turn
        if detector is not None and self.settings.turn.mode is TurnMode.SEMANTIC_VAD and self._group is not None:
            pause.judging = self._group.create_task(self._judge(detector, turn, pause), name="judge")

    async def _judge(self, detector: TurnDetector, turn: SpokenTurn, pause: Pause) -> None:
        try:
            with foreign_errors(STTError, "turn_failed", detector.name):
                judged = Evidence(sound=await detector.completeness(self._ring.since(turn.began)))
        except PipelineError as error:  # the words and the length of the pause decide without it
            judged = Evidence(unjudged=True)
            if not isinstance(error, EngineBusyError):
                log.warning("the turn detector failed: %s", error)
        if self._turn is turn and turn.pause is pause:
            turn.times.unjudged = judged.unjudged
            self._machine.judge(judged)
            self._carry_out(self._machine.tick(self._now))  # not at the next window: that is up to 32 ms away

    def _judge_again(self) -> None:
        pause = self._turn.pause if self._turn is not None else None
        if self._turn is not None and pause is not None and pause.is_due(self._now - SECOND_JUDGEMENT_SECONDS):
            pause.judged_again = True
            self._ask_detector(self._turn, pause)

    def _partial(self, item_id: str, text: str) -> None:
        if self._turn is not None and self._turn.item_id == item_id:
            self._carry_out(self._machine.words(text))
            text = f"{self._turn.said_before} {text}".strip()
        self._emit(PartialTranscript(item_id, text))

    # ------------------------------------------------------------------------------------------------ the client

    @property
    def llm(self) -> LanguageModel:
        """The language model."""
        return self._engines.llm

    def add(self, item: HistoryItem, after: str | None = None) -> None:
        """An item that the client puts into the conversation; ``after`` as in :meth:`History.add`."""
        self.history.add(item, after)
        self.responses.outdate()
        self._emit(added(item, after))

    def remove(self, item_id: str) -> None:
        """Take an item out of the conversation; an answer that is being given is cut off first."""
        self.responses.cancel_item(item_id)
        self.history.remove(item_id)
        self.responses.outdate()
        self._emit(MessageRemoved(item_id))

    @property
    def voiced(self) -> bool:
        """Whether a voice is heard right now, be it a turn or not."""
        return self._segmenter.speaking

    @property
    def unwritten(self) -> bool:
        """Whether the words of a turn that is over are still awaited."""
        return self._turn_queue.unwritten > 0

    @property
    def answering(self) -> bool:
        """Whether a response of the conversation is being generated, or has been asked for."""
        return self.responses.generating or self._turn_queue.asked

    def respond(self, wish: Wish | None = None) -> None:
        """Answer, for the client asks for it.

        Raises :class:`~pipelines.errors.EngineBusyError` as :meth:`Responses.respond` does.
        """
        if wish is not None and wish.aside:
            self.responses.respond(wish=wish)
        else:
            self._turn_queue.respond(wish or Wish())

    def cancel(self, response_id: str | None, among: Container[str] | None = None) -> bool:
        """Cut off what is being given and what has been asked for, or the one response with this id; ``among``: of
        those given none but these. ``False``: there is none."""
        if response_id is not None:
            return (among is None or response_id in among) and self.responses.cancel(response_id)
        withdrawn = self._turn_queue.withdraw()
        return self.responses.interrupt("client_cancelled", among) or withdrawn

    def commit(self) -> bool:
        """End the running turn of the user now; ``False`` when nobody was speaking."""
        decisions = self._machine.commit(self._now)
        self._carry_out(decisions)
        return bool(decisions)

    def clear(self) -> None:
        """Forget what is being said in the running turn."""
        self._carry_out(self._machine.clear(self._now))

    def configure(self, settings: ConversationSettings) -> None:
        """Change the settings; they hold from the next window, reply or turn on."""
        if not settings.answers_like(self.settings):
            self.responses.outdate()
        self.settings = self.responses.settings = settings
        self._segmenter.settings = settings.segmenter
        self._machine.settings = settings.turn
