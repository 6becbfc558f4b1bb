"""What the assistant does by itself: it greets, speaks up when nobody says anything, and in the end waits no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from media.clock import Clock
from pipelines.assistant.events import Event, SessionOver
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import SpeechDropped, SpeechStarted, SpeechStopped, UserTurn
from pipelines.voice.responses import Wish

LOOK_SECONDS = 0.5
"""How often is looked whether it has been silent for too long."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How a conversation is begun, and how its end is found."""

    greeting: str = ""
    """What is said first; empty: nothing."""
    idle_prompt_seconds: float = 0.0
    """Silence after which the assistant speaks up, once until the user says something; 0: never."""
    idle_prompt: str = ""
    """What it says then; empty: what the language model thinks of."""
    idle_end_minutes: float = 0.0
    """Without a word of the user for so long the session ends; 0: never."""


class Host:
    """Behaves by ``manners`` in one conversation; :meth:`take` is told what happens in the session."""

    def __init__(
        self, manners: Manners, conversation: Conversation, clock: Clock, emit: Callable[[Event], object]
    ) -> None:
        self._manners = manners
        self._conversation = conversation
        self._clock = clock
        self._emit = emit
        self._heard_at = self._quiet_since = clock.now()
        self._speaking = False
        self._prompted = False
        self._greeted = not manners.greeting
        self._over = False

    def take(self, event: Event) -> None:
        """The next event of the session."""
        match event:
            case SpeechStarted():
                self._speaking = True
            case SpeechStopped() | SpeechDropped():
                self._speaking = False
            case UserTurn():
                self._prompted = self._prompted and not (event.text or event.images)  # noise says nothing
            case _:
                return
        self._heard_at = self._quiet_since = self._clock.now()

    async def run(self) -> None:
        """Greet, and then look after the silence, until cancelled."""
        await self._conversation.running.wait()
        if self._conversation.settings.listens_only:
            return
        self._heard_at = self._quiet_since = self._clock.now()
        if not self._greeted:
            self._greeted = True  # once, whatever becomes of it
            self._conversation.respond(Wish(says=self._manners.greeting))
        if self._manners.idle_prompt_seconds or self._manners.idle_end_minutes:
            await self._watch()

    async def _watch(self) -> NoReturn:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            now, conversation = self._clock.now(), self._conversation
            speaking = self._speaking or conversation.voiced  # who presses a button to speak is not told of
            if speaking or conversation.unwritten or conversation.answering or conversation.responses.active:
                self._quiet_since = now
                if speaking:
                    self._heard_at = now
                continue
            after, minutes = self._manners.idle_prompt_seconds, self._manners.idle_end_minutes
            if minutes and now - self._heard_at >= 60 * minutes:
                self._end(minutes)
            elif after and not self._prompted and now - self._quiet_since >= after:
                self._prompted = True
                self._speak_up(now - self._quiet_since)

    def _speak_up(self, seconds: float) -> None:
        words = self._manners.idle_prompt
        note = "" if words else f"[The user has been silent for {seconds:.0f} seconds.]"
        self._conversation.respond(Wish(says=words, note=note))

    def _end(self, minutes: float) -> None:
        if not self._over:
            self._over = True
            unit = "minute" if minutes == 1 else "minutes"
            self._emit(SessionOver(f"nothing was said for {minutes:g} {unit}"))
