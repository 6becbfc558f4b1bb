"""What is prepared in a pause, before it is known whether the turn is over.

Recognition, the model and the first clause of speech run behind a gate: the end of the turn opens it, resumed speech
closes it for good, and nothing of a closed one is ever heard, told or remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pipelines.errors import PipelineError
from pipelines.interfaces.stt import Transcript
from pipelines.voice.events import VoiceEvent
from pipelines.voice.response import Response, TurnTimes
from pipelines.voice.stt import Utterance

MOST_PARTS = 100
"""Of a turn that only the client ends; what is said after them is not heard."""


class Gate:
    """Holds events back until it is opened; after :meth:`discard` they are dropped."""

    def __init__(self, emit: Callable[[VoiceEvent], None]) -> None:
        self._emit = emit
        self._held: list[VoiceEvent] | None = []
        self._opened = asyncio.Event()
        self.discarded = False
        """Whether it stays closed for good."""

    def __call__(self, event: VoiceEvent) -> None:
        """Pass an event on, now or later."""
        if self.discarded:
            return
        if self._held is None:
            self._emit(event)
        else:
            self._held.append(event)

    def open(self) -> None:
        """Let out what was held, in order, and everything from now on."""
        held, self._held = self._held or [], None
        self._opened.set()
        for event in held:
            self._emit(event)

    async def opened(self) -> None:
        """Wait until it is open."""
        await self._opened.wait()

    def discard(self) -> None:
        """Drop what was held and what is still to come."""
        self.discarded = True


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


@dataclass(slots=True)
class Pause:
    """One pause of a turn, and what is prepared in it."""

    time: float
    """Media time at which the voice ended."""
    work: asyncio.Task[None] | None = None
    """Finds out what was said and prepares the reply."""
    judging: asyncio.Task[None] | None = None
    """Asks the turn detector."""
    doubting: asyncio.Task[None] | None = None
    """Waits for a better transcript where the recogniser doubts its own."""
    judged_again: bool = False
    transcript: Transcript | PipelineError | None = None
    prepared: Prepared | None = None

    def is_due(self, before: float) -> bool:
        """Whether it began ``before`` this media time, and the turn detector is to be asked once more."""
        return not self.judged_again and self.time <= before and self.judging is not None and self.judging.done()

    def discard(self) -> None:
        """Nothing of this comes to light."""
        for task in (self.work, self.judging, self.doubting):
            if task is not None:
                task.cancel()
        if self.prepared is not None:
            self.prepared.discard()


@dataclass(slots=True)
class SpokenTurn:
    """A turn of the user from its first voice to its transcript."""

    item_id: str
    utterance: Utterance
    """What is being recognised; with :attr:`shelved`, what was recognised last."""
    began: float
    """Media time at which its audio begins."""
    times: TurnTimes = field(default_factory=TurnTimes)
    pause: Pause | None = None
    told: bool = False
    """Whether the client knows that the user speaks."""
    asks: bool = True
    """Whether it is to be answered without the client's asking; known when it is over."""
    shelved: bool = False
    """Whether all that has been said was put aside: nothing is to be recognised until the user speaks again."""
    _earlier: list[tuple[Utterance, asyncio.Task[Transcript | PipelineError]]] = field(default_factory=list)

    def prepared(self) -> Prepared | None:
        """The answer that was prepared, if there is one and it may still be given."""
        prepared = self.pause.prepared if self.pause is not None else None
        if prepared is None or not prepared.gate.discarded:
            return prepared
        self.discard_prepared()
        return None

    def discard_prepared(self) -> None:
        """Void the answer that was prepared, and the times of its steps; what was understood stays."""
        if self.pause is not None and self.pause.prepared is not None:
            self.pause.prepared.discard()
            self.pause.prepared = None
            self.times = replace(self.times, first_token=None, first_clause=None, first_audio=None)

    def discard_pause(self) -> None:
        """Void what was prepared."""
        if self.pause is not None:
            self.pause.discard()
            self.pause = None
            self.times = TurnTimes()

    @property
    def samples(self) -> int:
        """Samples of audio (16 kHz) in all its parts."""
        return sum(utterance.samples for utterance in self.utterances)

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """All its parts."""
        earlier = [utterance for utterance, _ in self._earlier]
        return (*earlier,) if self.shelved else (*earlier, self.utterance)

    @property
    def is_whole(self) -> bool:
        """Whether no part of it was put aside."""
        return not self._earlier

    @property
    def is_full(self) -> bool:
        """Whether it has as many parts as a turn may have."""
        return len(self._earlier) >= MOST_PARTS

    @property
    def said_before(self) -> str:
        """The words of the parts that have been put aside, as far as they are known."""
        done = [task.result() for _, task in self._earlier if task.done() and not task.cancelled()]
        return " ".join(part.text for part in done if isinstance(part, Transcript) and part.text)

    def shelve(self, group: asyncio.TaskGroup) -> None:
        """Have recognised what has been said so far; its decoder is free then, and the turn goes on."""
        self.discard_pause()
        self._earlier.append((self.utterance, group.create_task(_finished(self.utterance), name="shelved")))
        self.shelved = True

    def go_on(self, utterance: Utterance) -> None:
        """The user speaks again."""
        self.utterance, self.shelved = utterance, False

    async def transcript(self) -> Transcript:
        """What was said, once it is known. Raises :class:`PipelineError` when nothing of it could be recognised."""
        for _, task in self._earlier:
            await asyncio.wait([task])
        parts = [task.result() for _, task in self._earlier]
        if not self.shelved:
            parts.append(await self._last())
        understood = [part for part in parts if isinstance(part, Transcript) and part.text]
        if not understood:
            for part in parts:
                if isinstance(part, PipelineError):
                    raise part
        if len(parts) == 1 and isinstance(parts[0], Transcript):
            return parts[0]
        language = understood[-1].language if understood else None
        return Transcript(" ".join(part.text for part in understood), language=language)

    async def _last(self) -> Transcript | PipelineError:
        pause = self.pause
        if pause is None or pause.work is None:
            return await _finished(self.utterance)
        await asyncio.wait([pause.work])
        if pause.doubting is not None:
            if isinstance(pause.transcript, Transcript) and pause.transcript.lost:
                await asyncio.wait([pause.doubting])
            else:  # the turn is over: the answer is not to come later for it
                pause.doubting.cancel()
        if isinstance(pause.transcript, PipelineError):
            return pause.transcript
        await _finished(self.utterance)
        assert pause.transcript is not None
        return pause.transcript


async def _finished(utterance: Utterance) -> Transcript | PipelineError:
    """Raised in a task of the session's group, the error would end all others."""
    try:
        return await utterance.finish()
    except PipelineError as error:
        return error
