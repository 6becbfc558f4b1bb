"""A conversation as the client saw and heard it, and what of it belongs to which turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from server.evaluation.judging.acoustics import Pieces, ducked_ms

COMPLETED = "conversation.item.input_audio_transcription.completed"
_TEXT = ("response.output_audio_transcript.delta", "response.output_text.delta")
_LONGEST_DUCK = 2.0
"""Seconds that are looked at."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """When a turn was voiced, in seconds on the client's clock; for typed ones the moment of sending."""

    first: float
    last: float


@dataclass(slots=True)
class Sound:
    """A run of sound that came back, without a pause of a quarter of a second."""

    start: float
    end: float


@dataclass(slots=True)
class Observed:
    """All that was seen and heard."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    spoken: list[Spoken | None] = field(default_factory=list)
    """Of each turn; ``None``: its moment never came."""
    texts: dict[int, str] = field(default_factory=dict)
    """The words of turns that are recordings."""
    pieces: Pieces = field(default_factory=Pieces)
    """The sound that came back."""
    refused: str = ""
    """What the server said to the scenario's settings; empty when it took them."""
    lost: tuple[int, str] | None = None
    """The turn in which the line was lost, and why."""
    hearing: dict[int, str] = field(default_factory=dict)
    """What the client's recogniser heard in the sound of a turn."""
    heard_before: dict[int, str] = field(default_factory=dict)
    """The same of the response that a turn interrupted, until it was silent."""
    hearer: str = ""
    """Name and version of that recogniser; empty when there is none."""
    opinions: dict[tuple[int, str], list[bool]] = field(default_factory=dict)
    """What the server's model said of a turn and a claim."""

    def window(self, turn: int) -> tuple[float, float]:
        """From the beginning of a turn to that of the next one."""
        said = self.spoken[turn]
        later = [one.first for one in self.spoken[turn + 1 :] if one is not None]
        return (said.first if said else 0.0), (later[0] if later else float("inf"))

    def during(self, turn: int, *kinds: str) -> list[tuple[float, dict[str, Any]]]:
        """Events of these types between the beginning of a turn and that of the next one."""
        start, end = self.window(turn)
        return [(time, event) for time, event in self.events if start <= time < end and event["type"] in kinds]

    def understood(self, turn: int) -> str:
        """What the server took for the words of a turn."""
        items = {event["item_id"] for _, event in self.during(turn, "input_audio_buffer.speech_started")}
        if (going_on := self._open_at(self.window(turn)[0])) is not None:
            items.add(going_on)  # who goes on before the turn is over has not begun another one
        return " ".join(
            e["transcript"] for _, e in self.events if e["type"] == COMPLETED and e["item_id"] in items
        ).strip()

    def _open_at(self, moment: float) -> str | None:
        """The item of the user's whose speech had begun and was not over."""
        item: str | None = None
        for time, event in self.events:
            if time >= moment:
                break
            if event["type"] == "input_audio_buffer.speech_started":
                item = event["item_id"]
            elif event["type"] == "input_audio_buffer.committed" and event["item_id"] == item:
                item = None
        return item

    def responses(self, turn: int) -> list[tuple[float, str]]:
        """When those that a turn brought about began, and their ids."""
        return [(time, event["response"]["id"]) for time, event in self.during(turn, "response.created")]

    def answered(self, turn: int) -> str:
        """What the server says to a turn, whether or not all of it was heard."""
        return self._text({name for _, name in self.responses(turn)})

    def _text(self, ids: set[str]) -> str:
        return "".join(e["delta"] for _, e in self.events if e["type"] in _TEXT and e["response_id"] in ids).strip()

    def own_sounds(self, turn: int) -> list[Sound]:
        """Those that began in a turn and are no rest of a response that had begun before it."""
        start, end = self.window(turn)
        begun = [time for time, event in self.events if event["type"] == "response.created"]
        since = min((time for time in begun if start <= time < end), default=end if begun else start)
        if self._sounding_at(start) is None:
            since = start
        return [sound for sound in self.sounds if max(start, since) < sound.start < end]

    def first_sound(self, turn: int) -> Sound | None:
        """The first of them."""
        return next(iter(self.own_sounds(turn)), None)

    def latency_ms(self, turn: int) -> float | None:
        """From the last voiced sample of a turn to the first sound; negative when it came before."""
        said, sound = self.spoken[turn], self.first_sound(turn)
        return None if said is None or sound is None else 1000 * (sound.start - said.last)

    def interrupted(self, turn: int) -> str | None:
        """The id of the response that was sounding when a turn began, by the server's word."""
        said = self.spoken[turn]
        return None if said is None else self._sounding_at(said.first)

    def _sounding_at(self, moment: float) -> str | None:
        sounding = None
        for time, event in self.events:
            if time >= moment:
                break
            if event["type"] == "output_audio_buffer.started":
                sounding = str(event.get("response_id", ""))
            elif event["type"] in ("output_audio_buffer.stopped", "output_audio_buffer.cleared"):
                sounding = None
        return sounding

    def stop_ms(self, turn: int) -> float | None:
        """From the first voiced sample of a turn until what was sounding is silent; ``None``: nothing was."""
        said = self.spoken[turn]
        if said is None:
            return None
        old = [sound for sound in self.sounds if sound.start < said.first]
        if old and old[-1].end > said.first:
            end = old[-1].end
        elif self.interrupted(turn) is not None:
            end = said.first  # between two of its sentences
        else:
            return None
        if self.interrupted(turn) is not None:
            new = {id(sound) for sound in self.own_sounds(turn)}
            later = [s.end for s in self.sounds if said.first <= s.start < self.window(turn)[1] and id(s) not in new]
            end = max([end, *later])
        return 1000 * (end - said.first)

    def duck_ms(self, turn: int) -> float | None:
        """From the first voiced sample of a turn until what was sounding is lower."""
        said = self.spoken[turn]
        if said is None:
            return None
        before = self.pieces.timeline(said.first - 1.0, said.first)
        return ducked_ms(before, self.pieces.timeline(said.first, said.first + _LONGEST_DUCK))

    def remembered(self, turn: int) -> tuple[str, str] | None:
        """What the history holds of the response that a turn interrupted, and what that response was to say."""
        name = self.interrupted(turn)
        if name is None:
            return None
        start, _ = self.window(turn)
        items = {
            event["item"]["id"]
            for _, event in self.events
            if event["type"] == "response.output_item.added" and event["response_id"] == name
        }
        told: str | None = None
        for time, event in self.events:
            if time >= start and event["type"] == "conversation.item.truncated" and event["item_id"] in items:
                told = event.get("transcript", told)
            elif event["type"] == "conversation.item.retrieved" and event["item"]["id"] in items:
                parts = event["item"].get("content") or []
                told = " ".join(str(part.get("transcript") or part.get("text") or "") for part in parts).strip()
        return None if told is None else (told, self._text({name}))
