"""Texts read aloud by tiny voices of each kind, and in the voice of a recording."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.inference._generated.types import TextToSpeechOutput

from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, TaskError
from pipelines.tasks.audio import text_to_speech, voice_cloning
from pipelines.tasks.audio.models.cloning import CODEC
from pipelines.tasks.audio.models.speakers import VOICES, clauses
from pipelines.tasks.audio.sounds import samples_of
from tests.fakes import piper_voice, tiny_sound_models
from tests.fakes.sounds import job, noise_file, output, tone_file

TEXT = "a dog barks. it rains."


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return text_to_speech.SPEC.load(tiny_sound_models.vits(tmp_path_factory.mktemp("vits")), "cpu", "float32")


@pytest.fixture(scope="module")
def pocket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sound_models.pocket(tmp_path_factory.mktemp("pocket"))


@pytest.fixture(scope="module")
def pocket(pocket_folder: Path) -> Any:
    return voice_cloning.SPEC.load(pocket_folder, "cpu", "float32")


def seconds(made: dict[str, Any]) -> float:
    """Of the sound in an output, which is of the rate that it tells."""
    rate = made["sampling_rate"]
    return len(samples_of(base64.b64decode(made["audio"]), rate, 60.0)) / rate


def test_a_vits_speaks_with_its_speakers_at_a_pace(vits: Any) -> None:
    spec = text_to_speech.SPEC
    slow = output(spec, vits, {"inputs": TEXT * 3}, voice="1", speed=0.5)
    fast = output(spec, vits, {"inputs": TEXT * 3}, voice="1", speed=2.0)
    assert slow["sampling_rate"] == 16_000 and seconds(slow) > 1.5 * seconds(fast)
    told = TextToSpeechOutput.parse_obj_as_instance(slow)
    assert told.sampling_rate == 16_000
    with pytest.raises(TaskError, match="voice: must be one of 0, 1"):
        output(spec, vits, {"inputs": TEXT}, voice="anna")
    with pytest.raises(TaskError, match="nothing in it makes a sound"):
        output(spec, vits, {"inputs": " \n "})


def test_clauses_are_streamed(vits: Any) -> None:
    spec = text_to_speech.SPEC
    assert spec.stream is not None
    *pieces, done = spec.stream(vits, job(spec, {"inputs": TEXT}), lambda: False)
    assert isinstance(done, Done) and len(pieces) == 2
    assert seconds(done.output) == pytest.approx(sum(map(seconds, pieces)))
    assert list(spec.stream(vits, job(spec, {"inputs": TEXT}), lambda: True)) == []


def test_a_speecht5_speaks_with_the_voices_beside_it(tmp_path: Path) -> None:
    spec = text_to_speech.SPEC
    model = spec.load(tiny_sound_models.speecht5(tmp_path), "cpu", "float32")
    assert seconds(output(spec, model, {"inputs": TEXT}, voice="anna")) > 0
    for asked, words in (({"voice": "bert"}, "voice: must be one of anna"), ({"speed": 2.0}, "speed")):
        with pytest.raises(TaskError, match=words):
            output(spec, model, {"inputs": TEXT}, **asked)
    (tmp_path / VOICES).unlink()
    with pytest.raises(ModelError, match=VOICES):
        spec.load(tmp_path, "cpu", "float32")


def test_a_piper_voice_speaks(tmp_path: Path) -> None:
    spec = text_to_speech.SPEC
    piper_voice.write_voice(tmp_path, speakers=("anna", "bert"))
    model = spec.load(tmp_path, "cpu", "float32")
    made = output(spec, model, {"inputs": "Good morning. It rains."}, voice="bert")
    assert made["sampling_rate"] == piper_voice.RATE and seconds(made) > 0.5
    with pytest.raises(TaskError, match="voice: must be one of anna, bert"):
        output(spec, model, {"inputs": "Good morning."}, voice="carl")


@pytest.mark.parametrize("text", ["😀", "!", "… — ...", "\u0301"])
def test_what_nobody_can_say_is_left_out_and_refused_where_there_is_nothing_else(tmp_path: Path, text: str) -> None:
    assert list(clauses(text)) == []
    piper_voice.write_voice(tmp_path)
    model = text_to_speech.SPEC.load(tmp_path, "cpu", "float32")
    with pytest.raises(TaskError, match="inputs: nothing in it makes a sound"):
        output(text_to_speech.SPEC, model, {"inputs": text})
    assert seconds(output(text_to_speech.SPEC, model, {"inputs": f"Hello. {text}"})) > 0


@pytest.mark.parametrize(
    ("inputs", "parameters", "words"),
    [
        ({"inputs": ""}, {}, "inputs"),
        ({"inputs": "a" * 5_001}, {}, "5000"),
        ({"inputs": ["a"]}, {}, "inputs"),
        ({"inputs": "a"}, {"speed": 9}, "4"),
        ({"inputs": "a"}, {"emotion": "joy"}, "emotion"),
    ],
)
def test_what_is_not_legal_is_named(inputs: dict[str, Any], parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        job(text_to_speech.SPEC, inputs, **parameters)


def test_a_folder_that_is_no_voice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="neither a Piper voice"):
        text_to_speech.SPEC.load(tmp_path, "cpu", "float32")


# ------------------------------------------------------------------------------------------------- cloning


def test_a_text_is_spoken_in_the_voice_of_a_recording(pocket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = voice_cloning.SPEC
    reference = noise_file(2.0)
    made = output(spec, pocket, {"inputs": TEXT, "reference": reference}, consent=True)
    assert made["sampling_rate"] == 24_000 and seconds(made) > 0
    monkeypatch.setattr(pocket._processor.audio_tokenizer, "encode", lambda *_: pytest.fail("it has heard that voice"))
    asked = job(spec, {"inputs": TEXT, "reference": reference}, consent=True)
    assert spec.stream is not None
    *pieces, done = spec.stream(pocket, asked, lambda: False)
    assert pieces and isinstance(done, Done)
    assert list(spec.stream(pocket, asked, lambda: True)) == []


def test_nobody_is_spoken_as_without_having_agreed() -> None:
    given = {"inputs": TEXT, "reference": noise_file(2.0)}
    for parameters in ({}, {"consent": False}):
        with pytest.raises(ValueError, match="consent"):
            job(voice_cloning.SPEC, given, **parameters)


@pytest.mark.parametrize(
    ("reference", "code"),
    [(tone_file(31.0, 8_000), "input_too_long"), (tone_file(0.4), "invalid_value"), (b"no sound", "invalid_value")],
)
def test_recordings_that_will_not_do_are_refused(pocket: Any, reference: bytes, code: str) -> None:
    with pytest.raises(TaskError, match="reference: ") as raised:
        output(voice_cloning.SPEC, pocket, {"inputs": TEXT, "reference": reference}, consent=True)
    assert raised.value.code == code


def test_a_recording_is_in_no_log() -> None:
    asked = job(voice_cloning.SPEC, {"inputs": TEXT, "reference": b"RIFFsecret voice"}, consent=True)
    assert "secret" not in repr(asked)


def test_a_model_without_its_codec_cannot_clone(pocket_folder: Path, tmp_path: Path) -> None:
    for file in pocket_folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ModelError, match=CODEC):
        voice_cloning.SPEC.load(tmp_path, "cpu", "float32")
