"""Whose turn is it? Pure: voice events and audio time in, decisions out; no clock, no tasks, no models.

**The end of a turn** is decided by how long the pause has lasted, and how long it must last by what is known of the
turn: a model's judgement of the sound, and the words. Until something is known it must last ``silence_seconds``.

**An interruption takes two steps.** Voice during a reply lowers the reply at once; it becomes an interruption when the
recogniser hears a word that is more than a listener's "mhm", or when the voice lasts. Otherwise the reply comes back.

How long it must last is a trade. A listener's "mhm" or "yeah, right" takes 0.2–0.6 s (Ward and Tsukahara 2000), so a
threshold below that takes some of them for interruptions, and one above it lets the reply run on that long. Where the
recogniser shows words as they are spoken, they decide, nearly always before the length does: it may be generous
(``interrupt_wordless_seconds``), and voice that pauses before is held until its words are known, so that a single
"stop" stops. Where no words can be expected, length is all there is: ``interrupt_seconds`` stops the reply as fast as
coughs and clicks allow, and a long "mhm" stops it, too.

With a camera, **lips** can have a say: as long as a face is seen whose lips rest, voice during a reply is somebody
else's, or a radio's. It lowers the reply for a moment only (lips are seen later than a voice is heard) and does not
interrupt; it is a turn like any other, answered after the reply. Lips that move once in it make it the user's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from pipelines.voice.endpointing import Evidence, is_backchannel, pause_needed
from pipelines.voice.vad import Voice, VoiceStarted


class TurnMode(Enum):
    """Who decides that a turn has ended. The values are the words of the protocol."""

    SEMANTIC_VAD = "semantic_vad"
    """A pause whose length depends on what was said and how."""
    SERVER_VAD = "server_vad"
    """Silence of a fixed length."""
    MANUAL = "none"
    """The client, by committing. Voice interrupts nothing then, and nothing is answered unasked."""


class Eagerness(Enum):
    """How soon a turn is taken to be over with ``SEMANTIC_VAD``. The values are the words of the protocol."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"
    """As ``MEDIUM``."""


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Times are audio seconds."""

    mode: TurnMode = TurnMode.SEMANTIC_VAD
    silence_seconds: float = 0.6
    """Silence that ends a turn: always with ``SERVER_VAD``, and else as long as nothing is known of the turn."""
    min_delay_seconds: float = 0.125
    """With ``SEMANTIC_VAD``, the pause after what is surely complete: four windows. The turn detector's answer takes as
    long, and shorter pauses are stop consonants (``tests/benchmarks/cutoffs.py``)."""
    max_delay_seconds: float = 1.28
    """With ``SEMANTIC_VAD``, the pause after what surely is not: less than 1.2 s after the last sound, for breath and
    windows come on top."""
    eagerness: Eagerness = Eagerness.AUTO
    """What these three were chosen by: see :func:`eager`."""
    prefix_padding_seconds: float = 0.3
    """Audio kept from before the first voice."""
    interrupt_seconds: float = 0.19
    """Voice during a reply that lasts this long (six windows) interrupts it, if no words can be expected. As a pause
    takes two windows to be noticed, the voice itself may be as short as 0.16 s."""
    interrupt_wordless_seconds: float = 0.7
    """The same if the recogniser shows words while they are spoken, and has shown none but a listener's so far."""
    lips_seconds: float = 0.5
    """With a camera that has a say, how long a voice without lip movement keeps the reply lowered."""
    doubt_seconds: float = 0.4
    """How long such a voice is held after it has paused, until its words are known; then it was nothing."""
    longest_turn_seconds: float = 60.0
    """A turn is ended after this, however long the user goes on; what follows is a turn of its own. With ``MANUAL`` it
    goes on, but what was said so far is put aside (:class:`TurnShelved`)."""
    shelve_seconds: float = 1.0
    """With ``MANUAL``, a pause after which the same is done: who is silent needs no recogniser."""
    idle_seconds: float | None = None
    """With ``SERVER_VAD``, silence after an answer has been heard at which the assistant speaks up; ``None``: never."""
    create_response: bool = True
    """Answer by itself when a turn ends."""
    interrupt_response: bool = True
    """Whether speech may interrupt a reply at all; if not, it is answered after the reply."""


def eager(settings: TurnSettings, eagerness: Eagerness) -> TurnSettings:
    """The settings with the pauses of ``SEMANTIC_VAD`` that belong to an eagerness: ``LOW`` waits twice as long as
    ``MEDIUM``, ``HIGH`` half as long (as with the service: 8, 4 and 2 s at most)."""
    usual = TurnSettings()
    factor = {Eagerness.LOW: 2.0, Eagerness.HIGH: 0.5}.get(eagerness, 1.0)
    return replace(
        settings,
        eagerness=eagerness,
        silence_seconds=usual.silence_seconds * factor,
        min_delay_seconds=usual.min_delay_seconds * max(1.0, factor),
        max_delay_seconds=usual.max_delay_seconds * factor,
    )


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """Start recognising from media time ``time`` (pre-roll included)."""

    time: float


@dataclass(frozen=True, slots=True)
class TurnConfirmed:
    """The voice is a turn and not a cough: ``interrupts`` tells whether it cuts off a reply."""

    interrupts: bool


@dataclass(frozen=True, slots=True)
class TurnPaused:
    """The user may have finished: find out, and prepare the answer. ``time`` is where the voice ended."""

    time: float


@dataclass(frozen=True, slots=True)
class TurnResumed:
    """The user had not finished: what was prepared since :class:`TurnPaused` is void."""


@dataclass(frozen=True, slots=True)
class TurnShelved:
    """The turn goes on, but what has been said so far need not wait for its end to be recognised."""


@dataclass(frozen=True, slots=True)
class TurnContinued:
    """After :class:`TurnShelved`, the user speaks (on): recognise from media time ``time``."""

    time: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The user has finished."""

    speech_end: float
    """Media time of the last voice."""
    decided: float
    """Media time of this decision."""


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """It was no turn: forget what was recognised since :class:`TurnBegan`."""


@dataclass(frozen=True, slots=True)
class DuckResponse:
    """Lower the reply while it is not clear whether this is an interruption."""


@dataclass(frozen=True, slots=True)
class RestoreResponse:
    """It was none: bring the reply back."""


@dataclass(frozen=True, slots=True)
class IdleEnded:
    """The user has not spoken since ``start``, when the last answer had been heard, and that is long enough."""

    start: float
    end: float


Decision = (
    TurnBegan
    | TurnConfirmed
    | TurnPaused
    | TurnResumed
    | TurnShelved
    | TurnContinued
    | TurnEnded
    | TurnDropped
    | DuckResponse
    | RestoreResponse
    | IdleEnded
)


class TurnMachine:
    """One session's turn-taking. Feed it in audio order: :meth:`voice`, then :meth:`tick`, for every window."""

    def __init__(self, settings: TurnSettings | None = None, expect_words: bool = False, awaits_words: bool = False):
        self.settings, self._awaits_words = settings or TurnSettings(), awaits_words  # the text of every pause comes
        self.expect_words = expect_words
        """Whether :meth:`words` is called while the user speaks, and :meth:`judge` with the text of every pause."""
        self.responding = False
        """Whether there is a reply to interrupt; the owner sets it."""
        self.lips: bool | None = None
        """Whether the lips of a face that is seen move; ``None`` when that is not known or shall not matter. The owner
        sets it before each window."""
        self._lips_moved = self._restored = False
        self._worded = False
        """Whether the turn has words that are no listener's."""
        self._began: float | None = None
        self._unshelved_since = 0.0
        self._shelved = False
        """Whether the pause of the running turn is so long that all before it was put aside."""
        self._voice_since: float | None = None
        self._speech_end = 0.0
        self._confirmed = False
        self._evidence = Evidence()
        self._responded = False
        """Whether there was a reply at the last window."""
        self._idle_since: float | None = None

    @property
    def hearing(self) -> bool:
        """Whether a turn of the user is under way."""
        return self._began is not None

    @property
    def pause_needed(self) -> float:
        """Seconds the running pause must last to end the turn, by what is known now."""
        settings = self.settings
        if settings.mode is not TurnMode.SEMANTIC_VAD:
            return settings.silence_seconds
        limits = (settings.min_delay_seconds, settings.silence_seconds, settings.max_delay_seconds)
        return pause_needed(self._evidence, *limits, awaits_words=self._awaits_words)

    def voice(self, event: Voice) -> list[Decision]:
        """Speech started or paused."""
        if isinstance(event, VoiceStarted):
            self._voice_since = event.time
            if not self.hearing:
                return self._begin(event.time)
            self._evidence = Evidence()
            return self._resume(event.time)
        since, self._voice_since = self._voice_since, None
        self._speech_end = event.time
        if not self.hearing:
            return []
        confirmed: list[Decision] = []
        if not self._confirmed and not self.expect_words:
            lasted = since is not None and event.time - since >= self.settings.interrupt_seconds
            if not (lasted and self._is_of_others):
                return self._drop()
            confirmed = self._confirm()
        self._evidence = Evidence()
        return [*confirmed, TurnPaused(event.time)]

    def tick(self, now: float) -> list[Decision]:
        """Audio time has come to ``now``."""
        if self._began is None:
            return self._idle(now)
        self._idle_since = None
        decisions: list[Decision] = []
        self._lips_moved = self._lips_moved or self.lips is True
        manual = self.settings.mode is TurnMode.MANUAL
        if not self._confirmed:
            decisions += self._confirm() if manual else self._resolve(now)
        if manual:
            decisions += self._shelve(now)
        elif self._is_over(now):
            decisions += self._end(now)
        return decisions

    def words(self, text: str) -> list[Decision]:
        """The recogniser's text of the running turn so far."""
        if not self.hearing or self._confirmed or is_backchannel(text):
            return []
        self._worded = True
        return [] if self._is_of_others and self.responding else self._confirm()

    def judge(self, evidence: Evidence) -> None:
        """Something has become known about the running pause; what is ``None`` stays as it was."""
        if self.hearing and self._voice_since is None:
            self._evidence = self._evidence.with_(evidence)

    def commit(self, now: float) -> list[Decision]:
        """The client says that the turn is over."""
        if self._began is None:
            return []
        return self._end(now)

    def clear(self, now: float) -> list[Decision]:
        """The client takes back what was said in the running turn. With ``MANUAL``, who speaks on begins another one:
        a button is often pressed after the first word."""
        if self._began is None:
            return []
        dropped = self._drop()
        if self._voice_since is None or self.settings.mode is not TurnMode.MANUAL:
            return dropped
        return [*dropped, *self._begin(now + self.settings.prefix_padding_seconds)]

    def _idle(self, now: float) -> list[Decision]:
        """Nobody speaks: has that lasted too long since the last answer?"""
        responded, self._responded = self._responded, self.responding
        if self.responding:
            self._idle_since = None
        elif responded:
            self._idle_since = now
        longest, since = self.settings.idle_seconds, self._idle_since
        armed = longest is not None and self.settings.mode is TurnMode.SERVER_VAD
        if not armed or since is None or now - since < (longest or 0.0) - 1e-6:
            return []
        self._idle_since = None
        return [IdleEnded(since, now)]

    def _begin(self, time: float) -> list[Decision]:
        self._began = self._unshelved_since = max(0.0, time - self.settings.prefix_padding_seconds)
        self._shelved = False
        self._confirmed = self._restored = self._worded = False
        self._lips_moved = self.lips is True
        began: list[Decision] = [TurnBegan(self._began)]
        if self._may_interrupt:
            return [*began, DuckResponse()]
        return [*began, *self._confirm()]

    def _resume(self, time: float) -> list[Decision]:
        if not self._shelved:
            return [TurnResumed()]
        self._shelved = False
        self._unshelved_since = max(0.0, time - self.settings.prefix_padding_seconds)
        return [TurnContinued(self._unshelved_since)]

    def _shelve(self, now: float) -> list[Decision]:
        """In a turn without end, put aside what has been said: in every longer pause, or after a minute without one."""
        if self._began is None or self._shelved:
            return []
        if self._voice_since is None:
            self._shelved = now - self._speech_end >= self.settings.shelve_seconds - 1e-6
            return [TurnShelved()] if self._shelved else []
        if now - self._unshelved_since < self.settings.longest_turn_seconds:
            return []
        self._unshelved_since = now
        return [TurnShelved(), TurnContinued(now)]

    def _confirm(self) -> list[Decision]:
        self._confirmed = True
        return [TurnConfirmed(self._may_interrupt and not self._is_of_others)]

    @property
    def _may_interrupt(self) -> bool:
        """Whether there is a reply that voice may cut off."""
        settings = self.settings
        return self.responding and settings.interrupt_response and settings.mode is not TurnMode.MANUAL

    @property
    def _is_of_others(self) -> bool:
        """Whether the voice belongs to nobody whose face is seen."""
        return self.lips is False and not self._lips_moved

    def _drop(self) -> list[Decision]:
        restored: list[Decision] = [] if self._confirmed else [RestoreResponse()]
        self._began = None
        return [*restored, TurnDropped()]

    def _resolve(self, now: float) -> list[Decision]:
        """Decide, if it can be decided yet, whether what is heard during a reply interrupts it."""
        settings, text = self.settings, self._evidence.text
        if self._voice_since is not None:
            needed = settings.interrupt_wordless_seconds if self.expect_words else settings.interrupt_seconds
            if self._is_of_others and self.responding:
                return self._restore(now)
            lasted = now - self._voice_since >= needed - 1e-6
            return self._confirm() if lasted or not self.responding else []
        if self._worded or (text is not None and not is_backchannel(text)):
            wait = self._is_of_others and self.responding and now - self._speech_end < settings.doubt_seconds
            return [] if wait else self._confirm()  # lips may still prove that it was the user's
        if text is not None or now - self._speech_end >= settings.doubt_seconds:
            return self._drop()
        return []

    def _restore(self, now: float) -> list[Decision]:
        """Bring the reply back beside a voice that is not the user's."""
        assert self._voice_since is not None
        if self._restored or now - self._voice_since < self.settings.lips_seconds - 1e-6:
            return []
        self._restored = True
        return [RestoreResponse()]

    def _is_over(self, now: float) -> bool:
        if self._began is None:
            return False
        if now - self._began >= self.settings.longest_turn_seconds:
            return True
        if self._voice_since is not None or not self._confirmed:
            return False
        return now - self._speech_end >= self.pause_needed - 1e-6

    def _end(self, now: float) -> list[Decision]:
        still_speaking = self._voice_since is not None
        confirmed = [] if self._confirmed else self._confirm()
        ended = TurnEnded(now if still_speaking else self._speech_end, now)
        self._began = None
        self._responded = False
        if not still_speaking:
            return [*confirmed, ended]
        return [*confirmed, ended, *self._begin(now + self.settings.prefix_padding_seconds)]
