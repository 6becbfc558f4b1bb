"""Scenarios made of recordings and of Pipecat's files, and recordings as Full-Duplex-Bench shapes them."""

from __future__ import annotations

import io
import json
import re
import wave
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from media.clock import MonotonicClock
from media.opus import RATE
from pipelines.errors import DefinitionError
from server.evaluation.duplex import judge, play, table
from server.evaluation.pipecat_scenarios import import_pipecat
from server.evaluation.recorded import record, turns_of
from server.evaluation.scenario import load
from server.headless.call import Address
from server.headless.sounds import read_sound, write_wav
from server.settings import SettingsError
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer

COMPLETED = "conversation.item.input_audio_transcription.completed"
EVENTS = [
    {"at": 0.5, "type": "conversation.item.added", "item": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me a joke."}]}},
    {"at": 0.6, "type": "response.created", "response": {"id": "r"}},
    {"at": 0.7, "type": "response.output_audio_transcript.delta", "response_id": "r", "delta": "A joke of ten words."},
    {"at": 1.0, "type": "output_audio_buffer.started", "response_id": "r"},
    {"at": 2.2, "type": "input_audio_buffer.speech_started", "item_id": "b"},
    {"at": 2.5, "type": "output_audio_buffer.cleared", "response_id": "r"},
    {"at": 3.1, "type": "input_audio_buffer.speech_stopped", "item_id": "b"},
    {"at": 3.4, "type": COMPLETED, "item_id": "b", "transcript": "Stop it please."},
    {"at": 4.0, "type": "input_audio_buffer.speech_started", "item_id": "c"},
    {"at": 4.3, "type": COMPLETED, "item_id": "c", "transcript": ""},
]  # fmt: skip


def test_the_turns_of_a_recording_are_what_was_understood():
    typed, spoken = turns_of(EVENTS)
    assert (typed.typed, typed.text, typed.answer) == (True, "Tell me a joke.", "A joke of ten words.")
    assert (spoken.text, spoken.stopped, spoken.into) == ("Stop it please.", True, pytest.approx(1.2))


async def test_a_recorded_session_becomes_a_scenario_that_can_be_played(tmp_path):
    (tmp_path / "sess.jsonl").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    sides = np.zeros((24_000 * 5, 2), "<i2")
    sides[int(2.0 * 24_000) : int(3.1 * 24_000), 0] = (9000 * np.sin(np.arange(26_400) * 0.1)).astype(np.int16)
    with wave.open(str(tmp_path / "sess.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(sides.tobytes())
    out = tmp_path / "made"
    options = Namespace(session=str(tmp_path / "sess.jsonl"), url="", api_key=None, name="bug-17", out=out)
    assert await record(options, Console(file=io.StringIO())) == 0
    (one,) = load([out])
    first, second = one.scenario.turns
    assert first.type == "Tell me a joke."
    assert second.moment == ("reply_started_ms", 1200)
    assert [word for word, _ in second.expect] == ["heard", "not", "stopped"]
    assert one.materials.words_of(second.audio) == "Stop it please."
    assert 1.1 <= len(read_sound(out / second.audio)) / RATE <= 1.7, "the speech and a little around it"
    with pytest.raises(SettingsError, match="are no recording"):
        await record(Namespace(session="nowhere", url="", api_key=None, name="x", out=out), Console())


PIPECAT = """\
user: {modality: audio, speech: {service: kokoro, voice: af_heart}}
judge: !include judge.yaml
scenarios:
  - name: Weather in Paris
    turns:
      - expect: [{event: response, eval: greets}]
      - user: "What's the weather in Paris?"
        expect:
          - event: user_transcription
            text_contains: weather
          - event: function_call
            calls: [{name: get_weather, args: {city: Paris}}]
          - {event: response, text_contains: sunny, within_ms: 2000, eval: it is about the weather}
          - {event: response, absent: true}
          - {event: llm_marker, marker: complete}
      - user: ["Stop", {pause_ms: 800}, "now"]
        send_after: {event: bot_started_speaking, delay_ms: 900}
      - dtmf: "1#"
  - name: somebody
    persona: {goal: to buy}
"""


def test_scenarios_of_pipecat_are_carried_over_and_the_rest_is_counted(tmp_path):
    (tmp_path / "suite.yaml").write_text(PIPECAT)
    (tmp_path / "judge.yaml").write_text("modality: audio\n")
    said = io.StringIO()
    out = tmp_path / "ours"
    assert import_pipecat(Namespace(file=tmp_path / "suite.yaml", out=out), Console(file=said, width=200)) == 0
    (one,) = load([out])
    assert one.scenario.name == "weather-in-paris"
    first, second = one.scenario.turns
    assert [word for word, _ in first.expect] == ["heard", "tool", "reply", "judge", "not"]
    assert dict(first.expect)["reply"].starts_within_ms == 2000
    assert (second.inside, second.pause_ms, second.moment) == ("Stop ... now", 800, ("reply_started_ms", 900.0))
    left_out = Counter(re.findall(r"left out (.*): 1 times", said.getvalue()))
    assert set(left_out) == {"a turn without user", "dtmf", "a scenario with a persona", "event: llm_marker"}
    (tmp_path / "suite.yaml").write_text("turns: []\n")
    with pytest.raises(DefinitionError, match="scenarios: must be a list"):
        import_pipecat(Namespace(file=tmp_path / "suite.yaml", out=out), Console())


def sounding(*spans, seconds=5.0):
    sound = np.zeros(int(seconds * RATE), np.int16)
    for start, end in spans:
        part = sound[int(start * RATE) : int(end * RATE)]
        part[:] = 9000 * np.sin(np.arange(len(part)) * 0.05)
    return sound


def test_a_turn_is_taken_by_more_than_a_backchannel():
    user = sounding((0.5, 2.0))
    took = judge("smooth_turn_taking", "1", user, sounding((2.4, 4.0)))
    assert (took.took_turn, took.latency_ms) == (True, pytest.approx(400, abs=15))
    assert not judge("backchannel", "1", user, sounding((1.0, 1.3), (3.0, 3.4))).took_turn
    silent = judge("pause_handling", "1", user, sounding())
    assert (silent.took_turn, silent.latency_ms) == (False, None)
    assert table([took, silent]).row_count == 2


async def test_a_recording_is_played_and_what_came_back_is_as_long(serve, tmp_path):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello"), llm=FakeModel("One two three four five six.")))
    path = tmp_path / "smooth_turn_taking" / "1" / "input.wav"
    path.parent.mkdir(parents=True)
    write_wav(path, sounding((0.3, 0.9), seconds=8.0))
    played = await play(path, Address(url), MonotonicClock())
    assert played.took_turn
    assert 0 < played.latency_ms < 6000
    back = read_sound(path.with_name("output.wav"))
    assert len(back) == pytest.approx(8.0 * RATE, abs=RATE // 50)
    assert np.flatnonzero(np.abs(back.astype(int)) > 200)[0] > 0.9 * RATE


def test_the_scenario_of_the_documents_is_taken(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "how-to" / "evaluate-a-configuration.md"
    (block,) = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (tmp_path / "one.yaml").write_text(block)
    assert len(load([tmp_path / "one.yaml"])[0].scenario.turns) == 4
