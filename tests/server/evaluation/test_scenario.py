"""Scenario files: what is read, and what each mistake is told as."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import DefinitionError
from server.evaluation.materials import NOISES, SOUNDS, Materials
from server.evaluation.playing.utterances import room_of, sounds_of
from server.evaluation.scenario import SHIPPED, Scenario, load
from server.headless.sounds import write_wav

HEAD = "version: 1\nname: one\nturns:\n"
MISTAKES = {
    "  - {say: hello, expect: [{replies: {}}]}": r"line 4: turns\.0\.expect\.0\.replies: .*legal values are.*reply",
    "  - {say: hello, expect: [{reply: {word_min: 3}}]}": r"line 4: .*word_min: .*words_min",
    "  - {say: hello, expect: [{not: heard}]}": r"line 4: .*must be one of early_reply, reply, stopped",
    "  - {say: hello, expect: [{no_turn: false}]}": "no_turn: must be true",
    "  - {say: hello, expect: [reply]}": "must be one expectation",
    "  - {say: hello, expect: [{reply: {matches: '('}}]}": "is no regular expression",
    "  - {say: hello, type: hello}": "exactly one of say, inside, type, play, audio, wait_ms, or video",
    "  - {wait: 3}": "wait",
    "  - {play: sneeze}": r"line 4: turns\.0\.play: there is no file sneeze .*legal values are cough",
    "  - {audio: a.wav}": r"audio: there is no file a.wav",
    "  - {inside: hello ... you}": r"pause_ms: must be said",
    "  - {type: hello}\n  - {play: cough, during: reply, when: {said_ms: 3}}": "during: has no effect beside when",
    "  - {say: hello, expect: [{judge: {model: it is kind}}]}": "never the only gate",
    "  - {say: hello, expect: [{vision: {within_ms: 3}}]}": "exactly one of gesture, scene and person",
    "  - {say: hello, expect: [{acoustic: {}}]}": r"acoustic: must name something; legal values are clicks_max",
    "  - {say: hello, expect: [{tool: {}}]}": r"tool\.name: is missing",
    "  - {say: hello, expect: [{history: {last_assistant: all}}]}": r"last_assistant: must be 'heard_prefix'",
    "  - {say: hello}\nuser: {voice: robot}": r"line 5: user\.voice: .*legal values are",
    "  - {say: hello}\nuser: {rate: 9}": r"user\.rate: must be 0.5 to 2 times the usual speed, or 88 to 350 words",
    "  - {say: hello}\nuser: {noise: {file: rain.mp3}}": r"user\.noise\.file: there is no file rain.mp3.*white, pink",
    "  - {say: hello}\nneeds: [legs]": r"needs\.0: must be .*'voice'.*'vision'",
    "  - {say: hello}\nvariant: x": "variant: is not written in files",
    "  - {say: hello}\nmatrix: {rate: [0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4], "
    "gain_db: [0, 1, 2, 3, 4, 5, -1, -2]}": "matrix: has more than 64 combinations",
    "  - {say: hello, pause_ms: 300}": r"pause_ms: has no effect without \.\.\. in say or inside",
    "  - {say: hello, when: {started: 300}}": r"when: must be \{reply_started_ms: a number above 0, up to 60000\}",
    "  - {say: hello, when: {reply_started_ms: 300}}": "has no turn before it",
}


def test_what_ships_is_sound_and_named_as_its_file():
    shipped = load([SHIPPED])
    assert len(shipped) >= 40
    assert all(one.path.stem == one.scenario.name and one.scenario.description for one in shipped)


@pytest.mark.parametrize("turn", MISTAKES)
def test_a_mistake_is_told_with_its_place(turn, tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text(f"{HEAD}{turn}\n")
    with pytest.raises(DefinitionError, match=MISTAKES[turn]) as told:
        load([file])
    assert str(file) in str(told.value)


PRINTED = """\
version: 1
name: interrupt-and-ask-again
needs: [voice]                      # skipped with a reason when the server lacks it
network: {loss_percent: 1, jitter_ms: 20, seed: 7}
user: {voice: espeak:en-us+f3, rate: 165, noise: {file: office_ambience.mp3, snr_db: 15}, gain_db: -6}
session: {turn_detection: semantic_vad}
turns:
  - say: "Tell me about the history of Paris."
    expect:
      - heard: {wer_max: 0.35, contains: [history, paris]}
      - reply: {starts_within_ms: 900, words_min: 5, not_contains: [error]}
  - when: {reply_started_ms: 1200}   # barge in
    say: "Stop. What is two plus three?"
    expect:
      - stopped: {within_ms: 400, ducked_within_ms: 160}
      - history: {last_assistant: heard_prefix, tolerance_words: 1}
      - reply: {matches: '\\b(five|5)\\b'}
  - play: cough.wav                  # not a turn
    during: reply
    expect: [{not: stopped}, {no_turn: true}]
  - {pause_ms: 700, inside: "My number is five five five ... one two three", expect: [{not: early_reply}]}
score: {latency_p95_ms: 1200, false_cutoffs_max: 0, pass_rate_min: 0.9}
"""


async def test_the_scenario_that_the_documents_print_is_taken_and_can_be_spoken(tmp_path):
    (tmp_path / "one.yaml").write_text(PRINTED)
    (tmp_path / "noises").mkdir()
    write_wav(tmp_path / "noises" / "office_ambience.mp3", np.ones(48_000, np.int16) * 500)
    (one,) = load([tmp_path / "one.yaml"], tmp_path / "noises")
    assert one.scenario.user.voice == "en-us+f3"
    assert one.scenario.user.rate == pytest.approx(165 / 175)
    detection = one.scenario.settings["audio"]["input"]["turn_detection"]
    assert detection == {"type": "semantic_vad"}
    sounds = await sounds_of(one.scenario, one.materials)
    assert all(sound is not None and len(sound) > 10_000 for sound in sounds)
    quiet = np.flatnonzero(np.abs(sounds[3].astype(int)) > 200)
    assert 0.65 < np.diff(quiet).max() / 48_000 < 0.8, "the pause is as long as it is wanted"
    room = room_of(one.scenario, one.materials, sounds)
    assert room is not None
    assert 100 < np.abs(room).mean() < 1500


def test_a_matrix_is_played_in_all_combinations():
    matrix = {"voice": ["en-us", "espeak:en-gb"], "noise": [None, {"file": "hum"}], "loss_percent": [0, 5]}
    scenario = Scenario.model_validate({"version": 1, "name": "one", "turns": [{"say": "hello"}], "matrix": matrix})
    variants = list(scenario.variants())
    assert len(variants) == 8
    assert variants[-1].variant == "voice en-gb, noise hum 15 dB, loss_percent 5.0"
    assert (variants[-1].user.voice, variants[-1].network.loss_percent) == ("en-gb", 5)
    assert variants[0].user.noise is None


def test_made_sounds_and_noises_are_heard():
    materials = Materials(())
    for name in SOUNDS:
        assert 1000 < np.abs(materials.sound(name).astype(int)).max() <= 32767
    for name in NOISES:
        assert (materials.noise(name) ** 2).mean() == pytest.approx(1, rel=0.01)
