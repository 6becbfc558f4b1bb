"""Verdicts on conversations that are written down here."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from server.evaluation.judging.observed import Observed, Sound, Spoken
from server.evaluation.judging.verdicts import judged
from server.evaluation.judging.words import holds, word_error_rate
from server.evaluation.results import Result, figures, json_lines, junit, result_of
from server.evaluation.scenario import Scenario
from server.evaluation.statistics import wilson


def scenario(*turns):
    return Scenario.model_validate({"version": 1, "name": "one", "turns": list(turns)})


def conversation(text="hello there", answer="Five, I think.", sound=2.5, committed=2.2):
    """A turn from 1.0 to 2.0 s and what came of it."""
    done = "conversation.item.input_audio_transcription.completed"
    events = [
        (1.1, {"type": "input_audio_buffer.speech_started", "item_id": "a"}),
        (committed, {"type": "input_audio_buffer.committed", "item_id": "a"}),
        (2.3, {"type": done, "item_id": "a", "transcript": text}),
        (2.4, {"type": "response.created", "response": {"id": "r"}}),
        (2.5, {"type": "response.output_audio_transcript.delta", "response_id": "r", "delta": answer}),
    ]
    return Observed(events, [Sound(sound, sound + 3)], [Spoken(1.0, 2.0)])


def verdict(expectation, observed, **turn):
    (one,) = judged(scenario({"say": "hello there", "expect": [expectation], **turn}), observed)
    return one.kind


@pytest.mark.parametrize(
    ("expectation", "given", "kind"),
    [
        ({"heard": {"wer_max": 0.1}}, {}, ""),
        ({"heard": {"wer_max": 0.4}}, {"text": "yellow there"}, "misheard"),
        ({"heard": {"contains": ["hello"]}}, {"text": "yellow there"}, "misheard"),
        ({"reply": {"matches": r"\b(five|5)\b", "words_min": 3}}, {}, ""),
        ({"reply": {"contains": ["5"]}}, {}, ""),
        ({"reply": {"any_of": ["six", "seven"]}}, {}, "wrong_words"),
        ({"reply": {"not_contains": ["five"]}}, {}, "wrong_words"),
        ({"reply": {"words_min": 9}}, {}, "wrong_words"),
        ({"reply": {}}, {"answer": ""}, "no_answer"),
        ({"reply": {"starts_within_ms": 600}}, {}, ""),
        ({"reply": {"starts_within_ms": 600}}, {"sound": 2.7}, "late"),
        ({"not": "early_reply"}, {}, ""),
        ({"not": "early_reply"}, {"sound": 1.8}, "early"),
        ({"not": "early_reply"}, {"committed": 1.5}, "cut_off"),
        ({"not": "reply"}, {}, "taken_for_turn"),
        ({"no_turn": True}, {}, "taken_for_turn"),
        ({"stopped": {"within_ms": 400}}, {}, "no_moment"),
    ],
)
def test_each_expectation_fails_as_what_it_is(expectation, given, kind):
    assert verdict(expectation, conversation(**given)) == kind


def interrupted(end, *kinds):
    return Observed([(5.2, {"type": kind}) for kind in kinds], [Sound(3.0, end)], [Spoken(1, 2), Spoken(5, 6)])


def test_stopping_is_measured_on_the_sound():
    asked = scenario({"type": "talk"}, {"say": "stop", "expect": [{"stopped": {"within_ms": 400}}]})
    assert judged(asked, interrupted(5.3))[0].passed
    assert judged(asked, interrupted(5.6))[0].kind == "not_stopped"
    cough = scenario({"type": "talk"}, {"play": "cough", "expect": [{"not": "stopped"}]})
    assert judged(cough, interrupted(9.0))[0].passed
    assert judged(cough, interrupted(5.3, "output_audio_buffer.cleared"))[0].kind == "stopped"


def test_a_moment_that_never_came_fails_all_of_its_turn():
    asked = scenario({"type": "talk"}, {"say": "stop", "expect": [{"stopped": {"within_ms": 400}}]})
    assert judged(asked, Observed([], [], [Spoken(1, 2), None]))[0].kind == "no_moment"


def test_words_are_compared_as_they_sound():
    assert word_error_rate("What is two plus three?", "what is 2 plus three") == 0
    assert word_error_rate("one two three four", "one three four five") == 0.5
    assert word_error_rate("one", "") == 1
    assert holds("It's Five.", "5") and not holds("fifty five", "fifty fiv")


def test_results_are_told_in_figures_lines_and_xml():
    asked = scenario({"say": "hello there", "expect": [{"reply": {"starts_within_ms": 600}}]})
    good, late = (result_of(asked, conversation(sound=sound), 1) for sound in (2.5, 2.7))
    told = figures([good, late])
    assert (told["passed"], told["scenarios"], told["early"]) == (1, 2, 0)
    assert told["voice_to_voice_ms"] == {"median": 600.0, "p95": 700.0, "worst": 700.0, "n": 2}
    assert json_lines([good, late]).count("\n") == 2
    (failure,) = ElementTree.fromstring(junit([good, late])).iter("failure")
    assert failure.get("type") == "late"


def test_the_interval_of_a_rate():
    low, high = wilson(9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)
    assert wilson(0, 0) == (0.0, 1.0)


def test_what_sounded_before_the_end_of_the_turn_is_early_and_no_latency():
    told = figures([Result("one", 1, (), (400.0, -700.0), (), (), ())])
    assert (told["early"], told["voice_to_voice_ms"]["n"], told["voice_to_voice_ms"]["median"]) == (1, 1, 400.0)
