"""What the user has said, written down in its order and answered: by itself, or when the client asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from media.channel import Channel
from pipelines.errors import EngineBusyError, PipelineError
from pipelines.interfaces.vad import VAD_RATE
from pipelines.voice.events import ResponseHeld, TranscriptFailed, UserTurn
from pipelines.voice.history import Item
from pipelines.voice.response import TurnTimes
from pipelines.voice.responses import Responses, Surroundings, Wish
from pipelines.voice.speculation import SpokenTurn
from pipelines.voice.visual_context import look_back

PENDING_TURNS = 8
"""Turns that may wait for their transcript; each holds a decoder or waits for one."""


class TurnQueue:
    """The turns of one session that are over. ``hearing`` tells whether another one is under way."""

    def __init__(
        self, around: Surroundings, responses: Responses, hearing: Callable[[], bool], decided: asyncio.Event
    ) -> None:
        self._emit = around.emit
        self._clock = around.clock
        self._sight = around.sight
        self._responses = responses
        self._history = responses.history
        self._hearing = hearing
        self._decided = decided
        self._turns: Channel[SpokenTurn] = Channel(PENDING_TURNS)
        self.unwritten = 0
        """Turns whose words are not in the history yet."""
        self._settled = asyncio.Event()
        """Set when it is known what has come of a turn that was under way."""
        self._awaits_response = False
        self._times: TurnTimes | None = None
        """Of the newest turn that was understood."""
        self._wish: Wish | None = None
        """A response that the client has asked for."""

    @property
    def waiting(self) -> bool:
        """Whether turns wait for those before them."""
        return len(self._turns) > 0

    def put(self, turn: SpokenTurn) -> bool:
        """A turn is over; ``False`` when too many wait already, which is told."""
        self._history.add(Item(turn.item_id, "user", "", spoken=True))  # what comes later stands behind it
        if len(self._turns) >= PENDING_TURNS:
            busy = EngineBusyError("stt_busy", f"{PENDING_TURNS} turns already wait for the recogniser")
            self._emit(TranscriptFailed(turn.item_id, busy))
            return False
        self._turns.put(turn)
        self.unwritten += 1
        self._settled.set()
        return True

    def dropped(self) -> None:
        """The turn that was under way has come to nothing: what was said before it may be answered."""
        self._settled.set()

    @property
    def asked(self) -> bool:
        """Whether a response that the client has asked for waits for the words of the turns before it."""
        return self._wish is not None

    def respond(self, wish: Wish) -> None:
        """Answer because the client asks for it, once all that has been said by now is written down.

        Takes the place of what has been asked for before, if that still waits.
        """
        self.withdraw()
        self._wish = wish
        self._fulfil()

    def withdraw(self) -> bool:
        """Call off what the client has asked for, if it has not begun; ``False`` when nothing waits."""
        withdrawn, self._wish = self._wish, None
        if withdrawn is not None:
            self._responses.call_off(withdrawn)
        return withdrawn is not None

    async def run(self) -> None:
        """Transcripts are taken in the order of the turns, and only the newest turn is answered."""
        async for turn in self._turns:
            await self._write_down(turn)
            self.unwritten -= 1
            if self._wish is not None:
                if not self._wish.says:
                    turn.discard_pause()
                self._fulfil()
            await self._respond_to(turn)

    async def _write_down(self, turn: SpokenTurn) -> None:
        """Put the words of a turn into its place in the history, or tell that the recogniser failed."""
        try:
            transcript = await turn.transcript()
        except PipelineError as error:
            self._history.complete(turn.item_id, "")
            self._emit(TranscriptFailed(turn.item_id, error))
            return
        if turn.times.transcript is None:
            turn.times.transcript = self._clock.now()
        self._history.complete(turn.item_id, transcript.text)
        self._emit(UserTurn(turn.item_id, transcript.text, True, turn.samples / VAD_RATE))
        if transcript.text:
            self._responses.language = transcript.language
            self._awaits_response = True
            self._times = turn.times

    def _fulfil(self) -> None:
        if self._wish is None or self.unwritten:
            return
        wish, self._wish = self._wish, None
        times = None
        if not wish.says:  # a fixed sentence answers nothing
            times = self._times if self._awaits_response else None
            self._awaits_response = False
        self._responses.respond(times, wish)

    async def _respond_to(self, turn: SpokenTurn) -> None:
        """Answer what has been said, unless the user goes on speaking: then that turn will be answered."""
        while self._awaits_response and turn.asks and await self._is_last(turn):
            if await self._is_looked_at(turn) and await self._may_speak():
                self._awaits_response = False
                if (prepared := turn.prepared()) is not None:
                    self._responses.give(prepared)
                else:
                    self._responses.respond(turn.times)
                return
        turn.discard_pause()

    @property
    def _goes_on(self) -> bool:
        """Whether there is another turn. A voice is none before it is known to be one."""
        return self.waiting or (self._hearing() and self._decided.is_set())

    async def _is_last(self, turn: SpokenTurn) -> bool:
        """Wait for what comes of a turn that is under way: if nothing does, this one is to be answered.

        ``False`` when the other one is answered instead, or when the client has asked for the answer meanwhile.
        """
        while self._goes_on and not self.waiting:
            turn.discard_pause()
            self._settled.clear()
            await self._settled.wait()
        return self._awaits_response and not self.waiting

    async def _may_speak(self) -> bool:
        """Wait for the end of the running reply: speech that may not interrupt is answered after it.

        ``False`` when the user speaks by then, or when the client has asked for the answer meanwhile. A voice of which
        it is not known yet whether it is a turn is waited for, too: one that comes to nothing must not cost the answer.
        A turn that is over is not kept waiting: its words are to be written down, and it is answered instead.
        """
        given = self._responses.given
        while not self.waiting and (self._responses.active or not self._decided.is_set()):
            self._settled.clear()
            await _first_of(self._quiet(), self._settled.wait())
        if self._responses.given != given:
            self._awaits_response = False
        return self._awaits_response and not self._goes_on

    async def _quiet(self) -> None:
        await self._responses.finished()
        await self._decided.wait()

    async def _is_looked_at(self, turn: SpokenTurn) -> bool:
        """Wait a while for a face that is turned away; ``False`` when it stays away: it meant somebody else.

        ``False`` also when the user goes on, or when the client has asked for the answer meanwhile.
        """
        if self._sight.attentive() is not False:
            return True
        self._emit(ResponseHeld(turn.item_id, "waiting"))
        looked = await look_back(self._sight, self._clock, lambda: self._goes_on or not self._awaits_response)
        answered = not self._awaits_response
        self._awaits_response = not answered and (looked or self._goes_on)
        self._emit(ResponseHeld(turn.item_id, "given" if looked or answered else "dropped"))
        return looked and not answered


async def _first_of(*ways: Coroutine[Any, Any, object]) -> None:
    """Wait until one of ``ways`` has come to its end; the others are given up."""
    waits = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
