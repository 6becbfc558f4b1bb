"""What was observed of a scenario, and the figures and verdicts that follow from it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from server.evaluation.scenario import Heard, Said, Scenario, Stopped, Words

UNITS = "zero one two three four five six seven eight nine ten eleven twelve".split()


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
    """A conversation as the client saw and heard it."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    spoken: list[Spoken | None] = field(default_factory=list)
    """Of each turn; ``None``: its moment never came."""

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
        kind = "conversation.item.input_audio_transcription.completed"
        return " ".join(e["transcript"] for _, e in self.events if e["type"] == kind and e["item_id"] in items).strip()

    def answered(self, turn: int) -> str:
        """What the server says to a turn, whether or not all of it was heard."""
        ids = {event["response"]["id"] for _, event in self.during(turn, "response.created")}
        kinds = ("response.output_audio_transcript.delta", "response.output_text.delta")
        return "".join(e["delta"] for _, e in self.events if e["type"] in kinds and e["response_id"] in ids).strip()

    def first_sound(self, turn: int) -> Sound | None:
        """The first that began to sound in a turn."""
        start, end = self.window(turn)
        return next((sound for sound in self.sounds if start < sound.start < end), None)

    def latency_ms(self, turn: int) -> float | None:
        """From the last voiced sample of a turn to the first sound; negative when it came before."""
        said, sound = self.spoken[turn], self.first_sound(turn)
        return None if said is None or sound is None else 1000 * (sound.start - said.last)

    def stop_ms(self, turn: int) -> float | None:
        """From the first voiced sample of a turn until what was sounding is silent; ``None``: nothing was."""
        said = self.spoken[turn]
        sounding = [s for s in self.sounds if said is not None and s.start < said.first < s.end]
        return 1000 * (sounding[-1].end - said.first) if sounding and said is not None else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation."""

    turn: int
    expected: str
    passed: bool
    kind: str = ""
    """Of failure: ``misheard``, ``wrong_words``, ``no_answer``, ``late``, ``early``, ``cut_off``, ``not_stopped``,
    ``stopped``, ``taken_for_turn``, ``no_moment``."""
    message: str = ""
    judge: str = "text/1"


def normalized(text: str) -> list[str]:
    """Words in lower case; numbers up to twelve as digits.

    >>> normalized("Two plus three: FIVE!")
    ['2', 'plus', '3', '5']
    """
    words = re.findall(r"[\w']+", text.lower().replace("’", "'"))
    return [str(UNITS.index(word)) if word in UNITS else word for word in words]


def word_error_rate(reference: str, heard: str) -> float:
    """Levenshtein distance of words over the length of ``reference``."""
    wanted, got = normalized(reference), normalized(heard)
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1] / max(1, len(wanted))


def holds(text: str, part: str) -> bool:
    """Whether the words of ``part`` stand in ``text``, one after the other."""
    return f" {' '.join(normalized(part))} " in f" {' '.join(normalized(text))} "


def wrong_words(text: str, words: Words) -> str:
    """Why ``text`` is not as ``words`` say; empty when it is."""
    if missing := [part for part in words.contains if not holds(text, part)]:
        return f"{text!r} lacks {', '.join(missing)}"
    if there := [part for part in words.not_contains if holds(text, part)]:
        return f"{text!r} has {', '.join(there)}"
    if words.any_of and not any(holds(text, part) for part in words.any_of):
        return f"{text!r} has none of {', '.join(words.any_of)}"
    if words.matches and not re.search(words.matches, text, re.IGNORECASE):
        return f"{text!r} does not match {words.matches}"
    return ""


def judged(scenario: Scenario, observed: Observed) -> list[Verdict]:
    """A verdict for each expectation, in their order."""
    verdicts = []
    for number, turn in enumerate(scenario.turns):
        for word, given in turn.expect:
            name = f"not {given}" if word == "not" else word
            if number >= len(observed.spoken) or observed.spoken[number] is None:
                verdicts.append(Verdict(number, name, False, "no_moment", "nothing sounded that it waits for"))
                continue
            kind, message = _failure(observed, number, turn.say or "", word, given)
            judge = "samples/1" if word in ("stopped", "not") or kind in ("late", "early") else "text/1"
            verdicts.append(Verdict(number, name, not kind, kind, message, judge))
    return verdicts


def _failure(observed: Observed, turn: int, said: str, word: str, given: Any) -> tuple[str, str]:
    match word, given:
        case "heard", Heard():
            text = observed.understood(turn)
            rate = word_error_rate(said.replace("...", " "), text)
            if given.wer_max is not None and rate > given.wer_max:
                return "misheard", f"{rate:.0%} of the words are wrong: {text!r}"
            message = wrong_words(text, given)
            return ("misheard", message) if message else ("", "")
        case "reply", Said():
            return _wrong_answer(observed, turn, given)
        case "stopped", Stopped():
            stop = observed.stop_ms(turn)
            if stop is None:
                return "no_moment", "nothing was sounding when it began"
            return ("not_stopped", f"it went on for {stop:.0f} ms") if stop > given.within_ms else ("", "")
        case "no_turn", _:
            kind = "conversation.item.input_audio_transcription.completed"
            taken = [event["transcript"] for _, event in observed.during(turn, kind)]
            return ("taken_for_turn", f"it was answered as {taken[0]!r}") if taken else ("", "")
        case "not", "reply":
            text = observed.answered(turn)
            return ("taken_for_turn", f"it was answered: {text!r}") if text else ("", "")
        case "not", "stopped":
            cleared = observed.during(turn, "output_audio_buffer.cleared")
            return ("stopped", "the response was given up") if cleared else ("", "")
        case "not", "early_reply":
            return _cut_off(observed, turn)
    raise AssertionError(word)


def _wrong_answer(observed: Observed, turn: int, wanted: Said) -> tuple[str, str]:
    text, latency = observed.answered(turn), observed.latency_ms(turn)
    if not text:
        return "no_answer", "nothing was answered"
    if wanted.starts_within_ms is not None:
        if latency is None:
            return "no_answer", "nothing was heard"
        if latency > wanted.starts_within_ms:
            return "late", f"the first sound came after {latency:.0f} ms, not {wanted.starts_within_ms:.0f}"
    if len(text.split()) < wanted.words_min:
        return "wrong_words", f"{text!r} has fewer than {wanted.words_min} words"
    message = wrong_words(text, wanted)
    return ("wrong_words", message) if message else ("", "")


def _cut_off(observed: Observed, turn: int) -> tuple[str, str]:
    said, latency = observed.spoken[turn], observed.latency_ms(turn)
    if latency is not None and latency < 0:
        return "early", f"it sounded {-latency:.0f} ms before the end of the turn"
    assert said is not None
    cuts = [time for time, _ in observed.during(turn, "input_audio_buffer.committed") if time < said.last]
    if cuts:
        return "cut_off", f"the turn was ended {1000 * (said.last - cuts[0]):.0f} ms before its last word"
    return "", ""
