"""Plays one scenario to a server on a line of its own, and keeps what it saw and heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from media.clock import Clock
from media.frames import Samples
from server.cli.talk import Transcript
from server.evaluation.judging.observed import Observed, Spoken
from server.evaluation.materials import Materials
from server.evaluation.playing.camera import Camera, Shown, shown
from server.evaluation.playing.ear import Ear
from server.evaluation.playing.line import Line, line_to
from server.evaluation.playing.mouth import Mouth
from server.evaluation.playing.tools import ToolAnswers
from server.evaluation.playing.utterances import room_of, sounds_of
from server.evaluation.scenario import SHIPPED, Scenario
from server.evaluation.steps import MOMENTS, Turn
from server.headless.call import Address

QUIET_SECONDS, ANSWER_SECONDS, LONGEST_SECONDS = 0.7, 15.0, 60.0
"""Of silence before the next turn; within which an answer must begin, and end."""
_NO_ANSWER_SECONDS = 2.5
_POLL = 0.02
_DONE = ("completed", "incomplete")


class _LostError(Exception):
    """The line is lost."""


class Player:
    """Raises :class:`~server.settings.SettingsError` when there is no server."""

    def __init__(self, scenario: Scenario, address: Address, clock: Clock, materials: Materials | None = None) -> None:
        self.observed = Observed()
        self._scenario, self._address, self._clock = scenario, address, clock
        self._materials = materials or Materials((SHIPPED,))
        self._ear = Ear(clock, self.observed)
        self._transcript = Transcript()
        self._tools = ToolAnswers(scenario.tools, lambda event: self._line.send(event))
        self._mouth: Mouth
        self._line: Line
        self._camera: Camera | None = None

    async def play(self) -> Observed:
        """From the offer to the end of the last turn."""
        scenario, materials = self._scenario, self._materials
        sounds = await sounds_of(scenario, materials)
        pictures = {
            n: await asyncio.to_thread(shown, materials.file(turn.video))
            for n, turn in enumerate(scenario.turns)
            if turn.video is not None
        }
        self._camera = Camera(self._clock) if pictures else None
        self.observed.texts = {n: materials.words_of(t.audio) for n, t in enumerate(scenario.turns) if t.audio}
        room = room_of(scenario, materials, sounds)
        self._mouth = Mouth(self._clock, scenario.user.noise_db, room)
        line = line_to(self._address, self._mouth, self._ear, self._take, scenario.network, self._clock, self._camera)
        async with line as self._line:
            number = 0
            try:
                await self._set()
                if not self.observed.refused:
                    for number, turn in enumerate(scenario.turns):
                        await self._turn(number, turn, sounds[number], pictures.get(number))
            except _LostError:
                self.observed.lost = (number, line.over_because)
                self.observed.spoken.clear()  # half a conversation is judged by nothing else
        return self.observed

    async def _set(self) -> None:
        """What the scenario wants of the session."""
        settings = self._scenario.settings
        if not settings:
            return
        self._line.send({"type": "session.update", "session": {"type": "realtime", **settings}})
        await self._until(lambda: self._has("session.updated", "error"), ANSWER_SECONDS)
        told = [event for _, event in self.observed.events if event["type"] == "error"]
        if told:
            self.observed.refused = str(told[0]["error"].get("message", told[0]["error"]))
        elif not self._has("session.updated"):
            self.observed.refused = "the server did not answer session.update"

    async def _turn(self, number: int, turn: Turn, sound: Samples | None, picture: Shown | None) -> None:
        if not await self._moment(number, turn):
            self.observed.spoken.append(None)
            return
        if picture is not None and self._camera is not None:
            self._camera.show(picture)
        await self._do(turn, sound)
        following = self._scenario.turns[number + 1 : number + 2]
        if following and following[0].moment is not None:
            return
        if turn.is_answered:
            await self._until(lambda: self._answered(number), ANSWER_SECONDS)
        else:
            silences = [given.at_least_ms / 1000 for word, given in turn.expect if word == "silence"]
            sights = [(given.after_ms + given.within_ms) / 1000 for word, given in turn.expect if word == "vision"]
            if turn.wait_ms is None or silences or sights:
                await self._until(lambda: False, max([*silences, *sights], default=_NO_ANSWER_SECONDS))
        try:
            await self._until(self._quiet, LONGEST_SECONDS)
        except _LostError:
            if following or turn.wants("history"):
                raise
            return  # after the last answer a server may hang up
        if turn.wants("history"):
            await self._ask_what_is_remembered(number)

    async def _moment(self, number: int, turn: Turn) -> bool:
        """Wait for it; ``False`` when it does not come."""
        if turn.moment is None:
            await self._until(self._quiet, LONGEST_SECONDS)
            return True
        name, milliseconds = turn.moment
        sounds, before = self.observed.sounds, self.observed.spoken[number - 1]
        since = before.last if before is not None else self._clock.now()
        start = since
        if name == MOMENTS[0]:
            if not await self._until(lambda: any(s.start > since for s in sounds), ANSWER_SECONDS):
                return False
            start = next(s.start for s in sounds if s.start > since)
        await self._clock.sleep(start + milliseconds / 1000 - self._clock.now())  # to the moment, unlike _until
        return True

    async def _do(self, turn: Turn, sound: Samples | None) -> None:
        now = self._clock.now()
        if turn.type is not None:
            content = [{"type": "input_text", "text": turn.type}]
            item = {"type": "message", "role": "user", "content": content}
            self._line.send({"type": "conversation.item.create", "item": item})
            self._line.send({"type": "response.create"})
        elif sound is not None:
            self.observed.spoken.append(self._mouth.say(sound))
            await self._until(lambda: self._mouth.silent, LONGEST_SECONDS)
            return
        self.observed.spoken.append(Spoken(now, now))
        if turn.wait_ms is not None:
            await self._until(lambda: False, turn.wait_ms / 1000)

    async def _ask_what_is_remembered(self, number: int) -> None:
        name = self.observed.interrupted(number)
        items = [
            event["item"]["id"]
            for _, event in self.observed.events
            if event["type"] == "response.output_item.added"
            and event["response_id"] == name
            and event["item"]["type"] == "message"
        ]
        if items:
            self._line.send({"type": "conversation.item.retrieve", "item_id": items[0]})
            await self._until(lambda: self._has("conversation.item.retrieved", "error"), ANSWER_SECONDS)

    def _answered(self, number: int) -> bool:
        """Whether an answer to the turn has been generated and, if it has a sound, has been heard to its end: there may
        be a second between the last word that is written and the first that sounds."""
        said = self.observed.spoken[number]
        if said is None or not self._tools.idle:
            return False
        for time, event in self.observed.during(number, "response.done"):
            response = event["response"]
            if time <= said.last or all(one.get("type") == "function_call" for one in response.get("output") or [{}]):
                continue
            if response.get("status") not in _DONE or not self._sounds(response["id"]):
                return True
            over = ("output_audio_buffer.stopped", "output_audio_buffer.cleared")
            if any(one["response_id"] == response["id"] for _, one in self.observed.during(number, *over)):
                return True
        return False

    def _sounds(self, response: str) -> bool:
        kind = "response.output_audio_transcript.delta"
        return any(e["type"] == kind and e["response_id"] == response for _, e in self.observed.events)

    def _quiet(self) -> bool:
        sounds = self.observed.sounds
        recent = sounds and self._clock.now() - sounds[-1].end < QUIET_SECONDS
        return not recent and self._transcript.idle and self._mouth.silent and self._tools.idle

    def _has(self, *kinds: str) -> bool:
        return any(event["type"] in kinds for _, event in self.observed.events)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether it came about in time. Raises :class:`_LostError` where it cannot any more."""
        end = self._clock.now() + seconds
        while not condition() and self._clock.now() < end:
            if self._line.over.is_set():
                raise _LostError
            await self._clock.sleep(_POLL)
        return condition()

    def _take(self, message: str) -> None:
        event: Any = json.loads(message)
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            self.observed.events.append((self._clock.now(), event))
            self._transcript.take(event)
            self._tools.take(event)
