"""What the user has said, written down in its order and answered: by itself, or when the client asks for it."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Callable

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

    def __init__(self, around: Surroundings, responses: Responses, hearing: Callable[[], bool], decided: Event) -> None:
        self._emit = around.emit
        self._clock = around.clock
        self._sight = around.sight
        self._responses = responses
        self._history = responses.history
        self._hearing = hearing
        self._decided = decided
        self._turns: Channel[SpokenTurn] = Channel(PENDING_TURNS)
        self._unwritten = 0
        """Turns whose words are not in the history yet."""
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
        if len(self._turns) >= PENDING_TURNS:
            busy = EngineBusyError("stt_busy", f"{PENDING_TURNS} turns already wait for the recogniser")
            self._emit(TranscriptFailed(turn.item_id, busy))
            return False
        self._turns.put(turn)
        self._unwritten += 1
        self._history.add(Item(turn.item_id, "user", "", spoken=True))  # what comes later stands behind it
        return True

    @property
    def asked(self) -> bool:
        """Whether a response that the client has asked for waits for the words of the turns before it."""
        return self._wish is not None

    def respond(self, wish: Wish) -> None:
        """Answer because the client asks for it, once all that has been said by now is written down."""
        self._wish = wish
        self._fulfil()

    def withdraw(self) -> bool:
        """Forget what the client has asked for, if it has not begun; ``False`` when nothing waits."""
        withdrawn, self._wish = self._wish is not None, None
        return withdrawn

    async def run(self) -> None:
        """Transcripts are taken in the order of the turns, and only the newest turn is answered."""
        async for turn in self._turns:
            understood = await self._write_down(turn)
            self._unwritten -= 1
            if self._wish is not None:
                turn.discard_pause()
                self._fulfil()
            elif understood:
                await self._respond_to(turn)

    async def _write_down(self, turn: SpokenTurn) -> bool:
        """Put the words of a turn into its place in the history; ``False`` when the recogniser failed."""
        try:
            transcript = await turn.transcript()
        except PipelineError as error:
            self._history.complete(turn.item_id, "")
            self._emit(TranscriptFailed(turn.item_id, error))
            return False
        if turn.times.transcript is None:
            turn.times.transcript = self._clock.now()
        self._history.complete(turn.item_id, transcript.text)
        self._emit(UserTurn(turn.item_id, transcript.text, True, turn.samples / VAD_RATE))
        if transcript.text:
            self._responses.language = transcript.language
            self._awaits_response = True
            self._times = turn.times
        return True

    def _fulfil(self) -> None:
        if self._wish is None or self._unwritten:
            return
        wish, self._wish = self._wish, None
        times = self._times if self._awaits_response else None
        self._awaits_response = False
        self._responses.respond(times, wish)

    async def _respond_to(self, turn: SpokenTurn) -> None:
        """Reply to what has been said, unless the user goes on speaking: then that turn will be answered."""
        wanted = self._awaits_response and turn.asks
        if not wanted or self._goes_on or not await self._is_looked_at(turn) or not await self._may_speak():
            turn.discard_pause()
            return
        self._awaits_response = False
        if turn.pause is not None and turn.pause.prepared is not None:
            self._responses.give(turn.pause.prepared)
        else:
            self._responses.respond(turn.times)

    @property
    def _goes_on(self) -> bool:
        return self.waiting or self._hearing()

    async def _may_speak(self) -> bool:
        """Wait for the end of the running reply: speech that may not interrupt is answered after it.

        ``False`` when the user speaks by then, or when the client has asked for the answer meanwhile. A voice of which
        it is not known yet whether it is a turn is waited for, too: one that comes to nothing must not cost the answer.
        """
        given = self._responses.given
        while self._responses.active or not self._decided.is_set():
            await self._responses.finished()
            await self._decided.wait()
        if self._responses.given != given:
            self._awaits_response = False
        return self._awaits_response and not self._goes_on

    async def _is_looked_at(self, turn: SpokenTurn) -> bool:
        """Wait a while for a face that is turned away; ``False`` when it stays away: it meant somebody else."""
        if self._sight.attentive() is not False:
            return True
        self._emit(ResponseHeld(turn.item_id, "waiting"))
        looked = await look_back(self._sight, self._clock, lambda: self._goes_on)
        self._awaits_response = looked or self._goes_on
        self._emit(ResponseHeld(turn.item_id, "given" if looked else "dropped"))
        return looked
