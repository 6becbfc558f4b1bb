"""Speech recognition and language detection as tasks: by both kinds of Whisper, by a CTC head, and on real weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.inference._generated.types import AutomaticSpeechRecognitionOutput
from pydantic import TypeAdapter

from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, TaskError
from pipelines.tasks.audio import audio_language_detection
from pipelines.tasks.audio import automatic_speech_recognition as asr
from pipelines.tasks.audio.models import listeners
from pipelines.tasks.audio.sounds import wav_file
from tests.assets import asset, word_recall
from tests.fakes import tiny_sound_models, tiny_whisper
from tests.fakes.sounds import job, output, tone_file

JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
MARKET = {
    "en-us": "Good morning. The weather is fine today and we are going to the market to buy bread and apples.",
    "de": "Guten Morgen. Das Wetter ist heute schön und wir gehen auf den Markt, um Brot und Äpfel zu kaufen.",
    "fr": "Bonjour. Il fait beau aujourd'hui et nous allons au marché pour acheter du pain et des pommes.",
    "es": "Buenos días. Hoy hace buen tiempo y vamos al mercado a comprar pan y manzanas.",
    "it": "Buongiorno. Oggi il tempo è bello e andiamo al mercato a comprare pane e mele.",
    "pl": "Dzień dobry. Pogoda jest dziś ładna i idziemy na targ kupić chleb i jabłka.",
    "ru": "Доброе утро. Сегодня хорошая погода, и мы идём на рынок купить хлеб и яблоки.",
    "hu": "Jó reggelt. Ma szép idő van, és megyünk a piacra kenyeret és almát venni.",
    "fi": "Hyvää huomenta. Tänään on kaunis sää ja menemme torille ostamaan leipää ja omenoita.",
    "ro": "Bună dimineața. Astăzi vremea este frumoasă și mergem la piață să cumpărăm pâine și mere.",
}
"""What espeak-ng says in ten languages. In Dutch, Turkish, Portuguese, Swedish, Greek and Hindi a Whisper this small
takes its voice for another language."""
RECOGNIZED: TypeAdapter[Any] = TypeAdapter(asr.SPEC.output)


SHORT_HF: dict[str, Any] = {"language": "de", "generation_parameters": {"max_new_tokens": 8}}
SHORT: dict[str, Any] = {**SHORT_HF, "skip_silence": False}


@pytest.fixture
async def spoken() -> Any:
    voice = EspeakVoice()

    async def speak(language: str) -> bytes:
        parts = [part async for part in voice.synthesize(MARKET[language], language)]
        return wav_file(np.concatenate([part.samples for part in parts]), parts[0].rate)

    yield speak
    await voice.close()


# ------------------------------------------------------------------------------------------------- real weights


def test_words_and_segments_come_with_their_times(base_whisper: Any) -> None:
    file = asset("audio/jfk.flac").read_bytes()
    made = RECOGNIZED.validate_python(output(asr.SPEC, base_whisper, {"inputs": file}, return_timestamps="word"))
    assert word_recall(JFK, made["text"]) > 0.9
    assert (made["language"], made["duration"]) == ("en", 11.0)
    country = next(chunk for chunk in made["chunks"] if chunk["text"].startswith("country"))
    assert country["timestamp"] == [pytest.approx(5.8, abs=0.5), pytest.approx(6.2, abs=0.5)]
    told = AutomaticSpeechRecognitionOutput.parse_obj_as_instance(made)
    assert told.chunks is not None and told.chunks[0].text == "And"


@pytest.mark.long
async def test_speech_is_translated_into_english(base_whisper: Any, spoken: Callable[[str], Any]) -> None:
    heard = []
    for code in ("es", "de", "it"):  # espeak-ng says nothing twice alike, and a small Whisper hears it badly
        made = output(asr.SPEC, base_whisper, {"inputs": await spoken(code)}, task="translate", language=code)
        heard.append(made["text"].lower())
        assert made["language"] == "en"
        if "market" in heard[-1]:
            return
    pytest.fail(f"nobody goes to the market: {heard}")


async def test_the_language_is_told_in_eight_of_ten(base_whisper: Any, spoken: Callable[[str], Any]) -> None:
    told = {}
    for code in MARKET:
        (best, *_) = output(audio_language_detection.SPEC, base_whisper, {"inputs": await spoken(code)}, top_k=2)
        told[code] = best["label"]
    assert sum(code[:2] == label for code, label in told.items()) >= 8, told


# ------------------------------------------------------------------------------------------------- tiny models


def test_segments_are_streamed(tiny_ct2_whisper: Any) -> None:
    asked = job(asr.SPEC, {"inputs": tone_file(2.0)}, return_timestamps=True, **SHORT)
    assert asr.SPEC.stream is not None
    *pieces, done = asr.SPEC.stream(tiny_ct2_whisper, asked, lambda: False)
    assert isinstance(done, Done) and pieces and pieces == done.output["chunks"]
    assert done.output["language"] == "de"
    assert list(asr.SPEC.stream(tiny_ct2_whisper, asked, lambda: True)) == []


def test_what_is_no_speech_is_left_out(tiny_ct2_whisper: Any) -> None:
    made = output(asr.SPEC, tiny_ct2_whisper, {"inputs": tone_file(2.0)}, return_timestamps=True, language="en")
    assert (made["text"], made["chunks"]) == ("", [])


@pytest.mark.filterwarnings("ignore:std\\(\\)")  # of torch, where a window holds one token
def test_a_whisper_of_transformers_does_the_same(tiny_hf_whisper_folder: Path) -> None:
    model = asr.SPEC.load(tiny_hf_whisper_folder, "cpu", "float32")
    made = output(asr.SPEC, model, {"inputs": tone_file(1.0)}, return_timestamps="word", task="translate", **SHORT_HF)
    RECOGNIZED.validate_python(made)
    assert made["chunks"] and made["language"] == "en"
    ranking = output(audio_language_detection.SPEC, model, {"inputs": tone_file(1.0)}, top_k=100)
    assert sum(one["score"] for one in ranking) == pytest.approx(1.0, abs=0.3)
    assert [one["score"] for one in ranking] == sorted((one["score"] for one in ranking), reverse=True)
    assert not listeners.NEVER_DETECTED & {one["label"] for one in ranking}
    with pytest.raises(TaskError, match="language: must be one of"):
        output(asr.SPEC, model, {"inputs": tone_file(1.0)}, language="xx")


def test_a_network_that_writes_letters_transcribes_and_does_no_more(tmp_path: Path) -> None:
    model = asr.SPEC.load(tiny_sound_models.ctc(tmp_path), "cpu", "float32")
    made = RECOGNIZED.validate_python(output(asr.SPEC, model, {"inputs": tone_file(1.0)}, return_timestamps="word"))
    assert made["text"] and made["chunks"][0]["timestamp"][1] <= 1.0
    with pytest.raises(TaskError, match="only transcribes"):
        output(asr.SPEC, model, {"inputs": tone_file(1.0)}, task="translate")
    with pytest.raises(TaskError, match="one language"):
        output(audio_language_detection.SPEC, model, {"inputs": tone_file(1.0)})


def test_a_whisper_for_english_says_that_it_cannot(tmp_path: Path) -> None:
    model = asr.SPEC.load(tiny_whisper.build(tmp_path / "en", multilingual=False), "cpu", "auto")
    for asked, words in (({"task": "translate"}, "cannot translate"), ({"language": "de"}, "English alone")):
        with pytest.raises(TaskError, match=words):
            output(asr.SPEC, model, {"inputs": tone_file(1.0)}, **asked)
    with pytest.raises(TaskError, match="one language"):
        output(audio_language_detection.SPEC, model, {"inputs": tone_file(1.0)})


# ------------------------------------------------------------------------------------------------- bad input


def test_a_bad_file_does_not_spoil_the_others(tiny_ct2_whisper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asr, "LONGEST", 1.5)
    files = [b"RIFF nonsense", tone_file(1.0), wav_file(np.zeros(0, np.int16), 16_000), tone_file(2.0)]
    jobs = [job(asr.SPEC, {"inputs": file}, language="en") for file in files]
    broken, good, empty, long = asr.SPEC.run(tiny_ct2_whisper, jobs)
    assert isinstance(broken, TaskError) and broken.code == "invalid_value" and "inputs:" in broken.message
    assert isinstance(good, Done)
    assert isinstance(empty, TaskError) and empty.code == "invalid_value"
    assert isinstance(long, TaskError) and long.code == "input_too_long" and "1.5 seconds" in long.message


@pytest.mark.parametrize(
    ("inputs", "parameters", "words"),
    [
        ({"inputs": "https://example.org/a.wav"}, {}, "not fetched"),
        ({"inputs": 7}, {}, "base64"),
        ({"inputs": "!!!"}, {}, "not base64"),
        ({}, {}, "inputs"),
        ({"inputs": tone_file(), "path": "/etc/passwd"}, {}, "path"),
        ({"inputs": tone_file()}, {"task": "sing"}, "transcribe"),
        ({"inputs": tone_file()}, {"language": "English"}, "language"),
        ({"inputs": tone_file()}, {"generation_parameters": {"top_k": 3}}, "top_k"),
    ],
)
def test_what_is_not_legal_is_named(inputs: dict[str, Any], parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        job(asr.SPEC, inputs, **parameters)


def test_a_language_that_whisper_does_not_know_is_refused(tiny_ct2_whisper: Any) -> None:
    with pytest.raises(TaskError, match="language: must be one of af, am"):
        output(asr.SPEC, tiny_ct2_whisper, {"inputs": tone_file()}, language="xx", skip_silence=False)


def test_a_folder_that_is_no_recogniser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model of transformers"):
        asr.SPEC.load(tmp_path, "cpu", "float32")
    (tmp_path / "config.json").write_text('{"model_type": "my-own", "auto_map": {"AutoConfig": "code.MyConfig"}}')
    with pytest.raises(ModelError) as raised:
        asr.SPEC.load(tmp_path, "cpu", "float32")
    assert raised.value.code == "model_needs_remote_code"
