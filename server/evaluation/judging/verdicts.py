"""A verdict for each expectation of a scenario. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.evaluation import expectations as expected
from server.evaluation.judging import acoustics
from server.evaluation.judging.observed import Observed
from server.evaluation.judging.words import holds, normalized, word_error_rate, words_reached, wrong_words
from server.evaluation.scenario import Scenario
from server.evaluation.steps import PAUSE_MARK

FAILURES = (
    "refused", "lost", "no_moment", "misheard", "no_answer", "wrong_words", "late", "early", "cut_off", "not_stopped",
    "not_ducked", "stopped", "taken_for_turn", "wrong_history", "wrong_call", "not_seen", "no_event", "not_silent",
    "bad_sound", "misspoken", "no_ear", "disliked",
)  # fmt: skip
"""Kinds of failure."""
Failure = tuple[str, str]
_FINE: Failure = ("", "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation."""

    turn: int
    expected: str
    passed: bool
    kind: str = ""
    """Of :data:`FAILURES`."""
    message: str = ""
    judge: str = "text/1"
    """Who says so: ``samples/1`` measures sound, ``events/1`` reads the server's events."""
    soft: bool = False
    """Told, but it fails nothing."""


def judged(scenario: Scenario, observed: Observed) -> list[Verdict]:
    """A verdict for each expectation, in their order."""
    if observed.refused:
        return [Verdict(0, "session", False, "refused", observed.refused, "events/1")]
    if observed.lost is not None:
        number, reason = observed.lost
        return [Verdict(number, "session", False, "lost", reason, "events/1")]
    verdicts = []
    for number, turn in enumerate(scenario.turns):
        for word, given in turn.expect:
            name = f"not {given}" if word == "not" else word
            if number >= len(observed.spoken) or observed.spoken[number] is None:
                verdicts.append(Verdict(number, name, False, "no_moment", "nothing sounded that it waits for"))
                continue
            said = observed.texts.get(number, turn.words or "").replace(PAUSE_MARK, " ")
            kind, message = _JUDGES[word](_Case(observed, number, said), given)
            judge = _judge(word, kind, observed)
            verdicts.append(Verdict(number, name, not kind, kind, message, judge, word == "judge"))
    return verdicts


def _judge(word: str, kind: str, observed: Observed) -> str:
    if word in ("spoken", "history") and observed.hearer:
        return observed.hearer
    if word == "judge":
        return "the server's own model, majority of 3"
    if word in ("stopped", "not", "silence", "acoustic") or kind in ("late", "early"):
        return "samples/1"
    return "events/1" if word in ("tool", "vision", "event", "no_turn") else "text/1"


@dataclass(frozen=True, slots=True)
class _Case:
    """One turn of what was observed."""

    observed: Observed
    turn: int
    said: str

    @property
    def first(self) -> float:
        said = self.observed.spoken[self.turn]
        assert said is not None
        return said.first

    @property
    def last(self) -> float:
        said = self.observed.spoken[self.turn]
        assert said is not None
        return said.last


def _heard(case: _Case, wanted: expected.Heard) -> Failure:
    text = case.observed.understood(case.turn)
    rate = word_error_rate(case.said, text)
    if wanted.wer_max is not None and rate > wanted.wer_max:
        return "misheard", f"{rate:.0%} of the words are wrong: {text!r}"
    message = wrong_words(text, wanted)
    return ("misheard", message) if message else _FINE


def _answer(case: _Case, wanted: expected.Said) -> Failure:
    text, latency = case.observed.answered(case.turn), case.observed.latency_ms(case.turn)
    if not text:
        return "no_answer", "nothing was answered"
    if wanted.starts_within_ms is not None:
        if latency is None:
            return "no_answer", "nothing was heard"
        if latency > wanted.starts_within_ms:
            return "late", f"the first sound came after {latency:.0f} ms, not {wanted.starts_within_ms:.0f}"
    number = len(text.split())
    if number < wanted.words_min:
        return "wrong_words", f"{text!r} has fewer than {wanted.words_min} words"
    if wanted.words_max is not None and number > wanted.words_max:
        return "wrong_words", f"{text!r} has more than {wanted.words_max} words"
    message = wrong_words(text, wanted)
    return ("wrong_words", message) if message else _FINE


def _sounded(case: _Case, wanted: expected.Sounded) -> Failure:
    text = case.observed.hearing.get(case.turn)
    if text is None:
        return "no_ear", "there is no recogniser on the client's side: visavis models pull whisper-base"
    rate = word_error_rate(case.observed.answered(case.turn), text)
    if wanted.wer_max is not None and rate > wanted.wer_max:
        return "misspoken", f"{rate:.0%} of the words are heard otherwise: {text!r}"
    message = wrong_words(text, wanted)
    return ("misspoken", message) if message else _FINE


def _stopped(case: _Case, wanted: expected.Stopped) -> Failure:
    stop = case.observed.stop_ms(case.turn)
    if stop is None:
        return "no_moment", "nothing was sounding when it began"
    if stop > wanted.within_ms:
        return "not_stopped", f"it went on for {stop:.0f} ms"
    if wanted.ducked_within_ms is not None:
        duck = case.observed.duck_ms(case.turn)
        if duck is None or duck > wanted.ducked_within_ms:
            return "not_ducked", f"it was lowered after {'all' if duck is None else f'{duck:.0f} ms'}"
    return _FINE


def _history(case: _Case, wanted: expected.Remembered) -> Failure:
    found = case.observed.remembered(case.turn)
    if found is None:
        return "no_moment", "no response was interrupted, or the server does not tell what it remembers of it"
    kept, whole = normalized(found[0]), normalized(found[1])
    if kept != whole[: len(kept)]:
        return "wrong_history", f"{found[0]!r} is not how {found[1]!r} begins"
    heard = case.observed.heard_before.get(case.turn)
    if heard is None:
        return _FINE
    number = words_reached(found[1], heard)
    if abs(number - len(kept)) > wanted.tolerance_words:
        return "wrong_history", f"{len(kept)} words are remembered, {number} were heard: {found[0]!r}, {heard!r}"
    return _FINE


def _tool(case: _Case, wanted: expected.Called) -> Failure:
    called = case.observed.during(case.turn, "response.function_call_arguments.done")
    named = [event for _, event in called if event.get("name") == wanted.name]
    if len(named) != wanted.times:
        names = ", ".join(str(event.get("name")) for _, event in called) or "nothing"
        return "wrong_call", f"{wanted.name} was called {len(named)} times, not {wanted.times}; called was {names}"
    for event in named:
        try:
            given = json.loads(event["arguments"])
        except ValueError:
            return "wrong_call", f"its arguments are no JSON: {event['arguments']!r}"
        for name, value in wanted.arguments.items():
            if not _is(given.get(name), value):
                return "wrong_call", f"{name} is {given.get(name)!r}, not {value!r}"
    return _FINE


def _is(given: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one; ``~word``: the word is in it."""
    if isinstance(wanted, str) and wanted.startswith("~"):
        return holds(str(given), wanted[1:])
    return bool(given == wanted)


def _vision(case: _Case, wanted: expected.Seen) -> Failure:
    since, until = case.first + wanted.after_ms / 1000, case.first + (wanted.after_ms + wanted.within_ms) / 1000
    for time, event in case.observed.events:
        if time >= case.first + wanted.after_ms / 1000 - 0.25 and _shows(event, wanted):
            late = 1000 * (time - since)
            return _FINE if time <= until else ("late", f"it was seen after {late:.0f} ms")
    return "not_seen", f"{wanted.gesture or wanted.person or ' or '.join(wanted.scene)} was not seen"


def _shows(event: dict[str, Any], wanted: expected.Seen) -> bool:
    kind = event["type"]
    if wanted.gesture is not None:
        same = str(event.get("gesture", "")).replace("_", " ") == wanted.gesture.replace("_", " ")
        return bool(kind == "vision.gesture.started" and same)
    if wanted.person is not None:
        return bool(kind == f"vision.person.{wanted.person}")
    return bool(kind == "vision.changed") and any(holds(str(event.get("scene", "")), word) for word in wanted.scene)


def _event(case: _Case, wanted: expected.Happened) -> Failure:
    _, until = case.observed.window(case.turn)
    since = case.first if case.turn else 0.0  # what the connection itself brings about belongs to the first turn
    found = [e for time, e in case.observed.events if since <= time < until and e["type"] == wanted.type]
    if any(all(_is(_at(event, path), value) for path, value in wanted.values.items()) for event in found):
        return _FINE
    seen = f"{len(found)} of them had other values" if found else "there was none"
    return "no_event", f"{wanted.type}: {seen}"


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value


def _silence(case: _Case, wanted: expected.Silent) -> Failure:
    end = case.last + wanted.at_least_ms / 1000
    sounds = [sound for sound in case.observed.sounds if case.last < sound.start < end]
    if sounds:
        return "not_silent", f"something sounded after {1000 * (sounds[0].start - case.last):.0f} ms"
    return _FINE


def _acoustic(case: _Case, wanted: expected.Acoustic) -> Failure:
    sounds = case.observed.own_sounds(case.turn)
    if not sounds:
        return "no_answer", "nothing was heard"
    start, end = sounds[0].start - 0.02, sounds[-1].end + 0.02
    pieces = case.observed.pieces.between(start, end)
    sound = case.observed.pieces.sound(start, end)
    figures: list[tuple[float | None, float, str]] = [
        (wanted.clipping_max, acoustics.clipping(sound), "{:.2%} of the samples are at full scale"),
        (wanted.clicks_max, acoustics.clicks(sound), "{:.0f} clicks"),
        (wanted.gap_max_ms, acoustics.longest_gap_ms(sound), "a silence of {:.0f} ms in it"),
        (wanted.loudness_max_db, acoustics.loudness_db(sound), "it is as loud as {:.1f} dB"),
        (wanted.drift_max_ms, abs(acoustics.drift_ms(pieces)), "packets came {:.0f} ms later at its end"),
    ]
    wrong = [told.format(value) for most, value, told in figures if most is not None and value > most]
    if wanted.loudness_min_db is not None and acoustics.loudness_db(sound) < wanted.loudness_min_db:
        wrong.append(f"it is as low as {acoustics.loudness_db(sound):.1f} dB")
    return ("bad_sound", "; ".join(wrong)) if wrong else _FINE


def _opinion(case: _Case, wanted: expected.Opinion) -> Failure:
    votes = case.observed.opinions.get((case.turn, wanted.model), [])
    if not votes:
        return "disliked", f"the server's model could not be asked: {wanted.model}"
    if sum(votes) * 2 > len(votes):
        return _FINE
    return "disliked", f"{sum(votes)} of {len(votes)} say that it is true: {wanted.model}"


def _no_turn(case: _Case, _: Any) -> Failure:
    text = case.observed.understood(case.turn)
    return ("taken_for_turn", f"it was taken for {text!r}") if text else _FINE


def _denied(case: _Case, what: str) -> Failure:
    if what == "reply":
        text = case.observed.answered(case.turn)
        return ("taken_for_turn", f"it was answered: {text!r}") if text else _FINE
    if what == "stopped":
        cleared = case.observed.during(case.turn, "output_audio_buffer.cleared")
        return ("stopped", "the response was given up") if cleared else _FINE
    return cut_off(case.observed, case.turn)


def cut_off(observed: Observed, turn: int) -> Failure:
    """How a turn was ended before its last word; two empty texts when it was not."""
    said, latency = observed.spoken[turn], observed.latency_ms(turn)
    if said is None:
        return _FINE
    if latency is not None and latency < 0:
        return "early", f"it sounded {-latency:.0f} ms before the end of the turn"
    cuts = [time for time, _ in observed.during(turn, "input_audio_buffer.committed") if time < said.last]
    if cuts:
        return "cut_off", f"the turn was ended {1000 * (said.last - cuts[0]):.0f} ms before its last word"
    return _FINE


_JUDGES: dict[str, Callable[[_Case, Any], Failure]] = {
    "heard": _heard,
    "reply": _answer,
    "spoken": _sounded,
    "stopped": _stopped,
    "history": _history,
    "tool": _tool,
    "vision": _vision,
    "event": _event,
    "silence": _silence,
    "acoustic": _acoustic,
    "judge": _opinion,
    "no_turn": _no_turn,
    "not": _denied,
}
