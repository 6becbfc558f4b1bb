"""Verdicts beyond words and moments: tools, sight, events, silence, sound, what is remembered, opinions."""

from __future__ import annotations

import numpy as np
import pytest

from media.opus import RATE
from server.evaluation.judging import acoustics
from server.evaluation.judging.acoustics import Piece
from server.evaluation.judging.observed import Observed, Sound, Spoken
from server.evaluation.judging.verdicts import FAILURES, judged
from server.evaluation.judging.words import normalized, words_reached
from server.evaluation.scenario import Scenario


def tone(seconds, level=8000.0):
    return (level * np.sin(np.arange(int(seconds * RATE)) * 0.06)).astype(np.int16)


def put(observed, samples, start, late=lambda n: 0.0):
    """Sound that comes back from ``start`` on, in packets of 20 ms."""
    for n in range(len(samples) // 960):
        observed.pieces.add(Piece(start + n * 0.02 + late(n), n * 0.02, samples[n * 960 : n * 960 + 960]))
    observed.sounds.append(Sound(start, start + len(samples) / RATE))


def kinds(expectation, observed, *before):
    turns = [*before, {"say": "hello there", "expect": [expectation, {"event": {"type": "x"}}]}]
    scenario = Scenario.model_validate({"version": 1, "name": "one", "turns": turns})
    one = judged(scenario, observed)[0]
    assert one.kind in ("", *FAILURES)
    return one.kind


def one_turn(*events):
    return Observed([(1.5, {"type": "response.created", "response": {"id": "r"}}), *events], [], [Spoken(1.0, 2.0)])


CALL = {"type": "response.function_call_arguments.done", "name": "weather", "arguments": '{"city": "Paris, France"}'}


@pytest.mark.parametrize(
    ("expectation", "event", "kind"),
    [
        ({"tool": {"name": "weather", "arguments": {"city": "~paris"}}}, CALL, ""),
        ({"tool": {"name": "weather", "arguments": {"city": "Paris"}}}, CALL, "wrong_call"),
        ({"tool": {"name": "weather", "times": 2}}, CALL, "wrong_call"),
        ({"tool": {"name": "clock", "times": 0}}, CALL, ""),
        ({"tool": {"name": "weather"}}, {**CALL, "arguments": "{"}, ""),
        ({"tool": {"name": "weather", "arguments": {"city": "x"}}}, {**CALL, "arguments": "{"}, "wrong_call"),
        ({"event": {"type": "a", "b.0.c": 3}}, {"type": "a", "b": [{"c": 3}]}, ""),
        ({"event": {"type": "a", "b.0.c": 4}}, {"type": "a", "b": [{"c": 3}]}, "no_event"),
        ({"event": {"type": "z"}}, {"type": "a"}, "no_event"),
        ({"vision": {"gesture": "thumbs_up", "within_ms": 800}}, {"type": "vision.gesture.started",
                                                                   "gesture": "thumbs up"}, ""),
        ({"vision": {"gesture": "thumbs_up", "within_ms": 300}}, {"type": "vision.gesture.started",
                                                                   "gesture": "thumbs up"}, "late"),
        ({"vision": {"person": "appeared", "within_ms": 800}}, {"type": "vision.person.left"}, "not_seen"),
        ({"vision": {"scene": ["person"], "within_ms": 800}}, {"type": "vision.changed", "scene": "a person"}, ""),
        ({"judge": {"model": "it is kind"}}, {"type": "a"}, "disliked"),
    ],
)  # fmt: skip
def test_events_are_held_to_what_is_expected(expectation, event, kind):
    if "arguments" in event and event["arguments"] == "{" and "arguments" not in expectation["tool"]:
        kind = "wrong_call"  # what cannot be read is never right
    assert kinds(expectation, one_turn((1.6, event))) == kind


def test_opinions_are_told_and_fail_nothing():
    observed = one_turn()
    observed.opinions[0, "it is kind"] = [True, False, True]
    assert kinds({"judge": {"model": "it is kind"}}, observed) == ""
    turns = [{"say": "hi", "expect": [{"judge": {"model": "it is kind"}}, {"no_turn": True}]}]
    scenario = Scenario.model_validate({"version": 1, "name": "one", "turns": turns})
    assert judged(scenario, one_turn())[0].soft


def test_a_refused_session_fails_as_that():
    observed = Observed(refused="no such voice")
    assert kinds({"reply": {}}, observed) == "refused"


def test_silence_is_heard():
    observed = one_turn()
    assert kinds({"silence": {"at_least_ms": 500}}, observed) == ""
    put(observed, tone(0.5), 2.3)
    assert kinds({"silence": {"at_least_ms": 500}}, observed) == "not_silent"


@pytest.mark.parametrize(
    ("limit", "spoil"),
    [
        ({"clipping_max": 0.01}, lambda sound: np.clip(sound.astype(int) * 9, -32767, 32767).astype(np.int16)),
        ({"clicks_max": 0}, lambda sound: np.where(np.arange(len(sound)) == 9600, 30_000, sound).astype(np.int16)),
        ({"gap_max_ms": 100}, lambda sound: np.where(np.abs(np.arange(len(sound)) - 24_000) < 6000, 0, sound)),
        ({"loudness_min_db": -20}, lambda sound: sound // 8),
        ({"loudness_max_db": -10}, lambda sound: (sound.astype(int) * 3).astype(np.int16)),
    ],
)
def test_bad_sound_is_told_from_good(limit, spoil):
    good, bad = one_turn(), one_turn()
    put(good, tone(1.0), 2.5)
    put(bad, spoil(tone(1.0)).astype(np.int16), 2.5)
    assert kinds({"acoustic": limit}, good) == ""
    assert kinds({"acoustic": limit}, bad) == "bad_sound"


def test_a_timeline_that_drifts_is_told():
    steady, drifting = one_turn(), one_turn()
    put(steady, tone(2.0), 2.5, late=lambda n: 0.005 * (n % 3))
    put(drifting, tone(2.0), 2.5, late=lambda n: 0.002 * n)
    assert kinds({"acoustic": {"drift_max_ms": 50}}, steady) == ""
    assert kinds({"acoustic": {"drift_max_ms": 50}}, drifting) == "bad_sound"


def barged(history, heard="one two three"):
    """A response that is interrupted at 4 s, lowered then, and silent at 4.4 s."""
    delta = {"type": "response.output_audio_transcript.delta", "response_id": "r", "delta": "One two three four five."}
    item = {"id": "i", "type": "message"}
    events = [
        (1.0, {"type": "response.created", "response": {"id": "r"}}),
        (1.0, {"type": "response.output_item.added", "response_id": "r", "item": item}),
        (1.1, delta),
        (2.0, {"type": "output_audio_buffer.started", "response_id": "r"}),
        (4.4, {"type": "output_audio_buffer.cleared", "response_id": "r"}),
    ]
    if history is not None:
        content = [{"type": "output_audio", "transcript": history}]
        events.append((6.0, {"type": "conversation.item.retrieved", "item": {**item, "content": content}}))
    observed = Observed(events, [], [Spoken(0.5, 0.5), Spoken(4.0, 5.0)])
    put(observed, np.concatenate([tone(2.1), tone(0.3, 1200.0)]), 2.0)
    observed.heard_before = {} if heard is None else {1: heard}
    return observed


BEFORE = {"type": "count"}


@pytest.mark.parametrize(
    ("history", "heard", "kind"),
    [
        ("One two three", "one two three", ""),
        ("One two three four", "one two three", ""),
        ("One two three four five.", "one two three", "wrong_history"),
        ("Two three", "one two three", "wrong_history"),
        ("One two three", None, ""),
        (None, "one", "no_moment"),
    ],
)
def test_the_history_ends_where_the_sound_did(history, heard, kind):
    expected = {"history": {"last_assistant": "heard_prefix", "tolerance_words": 1}}
    assert kinds(expected, barged(history, heard), BEFORE) == kind


def test_ducking_and_stopping_are_measured_on_the_sound():
    observed = barged("One")
    assert observed.stop_ms(1) == pytest.approx(400, abs=5)
    assert observed.duck_ms(1) == pytest.approx(100, abs=15)
    assert kinds({"stopped": {"within_ms": 500, "ducked_within_ms": 150}}, observed, BEFORE) == ""
    assert kinds({"stopped": {"within_ms": 500, "ducked_within_ms": 60}}, observed, BEFORE) == "not_ducked"
    assert kinds({"stopped": {"within_ms": 300}}, observed, BEFORE) == "not_stopped"


def test_the_rest_of_an_interrupted_response_is_no_early_answer():
    observed = barged("One")
    observed.sounds = [Sound(2.0, 3.9), Sound(4.2, 4.4)]  # a pause of its own, while it is stopped
    assert kinds({"not": "early_reply"}, observed, BEFORE) == ""
    assert observed.stop_ms(1) == pytest.approx(400, abs=5)


def test_an_answer_that_comes_late_to_the_turn_before_is_not_this_turns():
    """The next turn began before the answer sounded: what is heard then is no answer to it."""
    observed = barged("One")
    observed.events[3] = (4.3, observed.events[3][1])
    observed.sounds = [Sound(4.3, 6.0)]
    assert observed.first_sound(0) is None


def test_what_is_spoken_is_judged_by_ear_or_not_at_all():
    observed = one_turn((1.6, {"type": "response.output_text.delta", "response_id": "r", "delta": "two words"}))
    assert kinds({"spoken": {"wer_max": 0.2}}, observed) == "no_ear"
    observed.hearing = {0: "two words"}
    assert kinds({"spoken": {"wer_max": 0.2}}, observed) == ""
    observed.hearing = {0: "too birds"}
    assert kinds({"spoken": {"wer_max": 0.2}}, observed) == "misspoken"


def test_who_goes_on_before_the_turn_is_over_is_understood_with_it():
    done = "conversation.item.input_audio_transcription.completed"
    events = [
        (1.0, {"type": "input_audio_buffer.speech_started", "item_id": "a"}),
        (4.0, {"type": "input_audio_buffer.committed", "item_id": "a"}),
        (4.1, {"type": done, "item_id": "a", "transcript": "two plus three no plus four"}),
    ]
    observed = Observed(events, [], [Spoken(1.0, 2.0), Spoken(2.4, 3.5)])
    assert "four" in observed.understood(1)


def test_numbers_are_one_word_however_they_are_written():
    assert normalized("Twenty-three, ninety and nineteen") == ["23", "90", "and", "19"]
    assert words_reached("the story of paris begins long ago", "the story of Harris begins") == 5
    assert acoustics.clicks(tone(0.5)) == 0
