"""Who answers in which language, and what is read out how."""

from __future__ import annotations

import pytest

from pipelines.engines.stt.whisper_settings import LANGUAGES
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.voice.spoken_text.languages import Tongue, is_english, language_of, voice_for
from pipelines.voice.spoken_text.normalize import speakable

VOICES = ("en_US-joe-medium", "fr_FR-siwis-medium", *EspeakVoice.voices)


@pytest.mark.parametrize(
    ("voice", "language"),
    [
        ("en_US-joe-medium", "en"),
        ("en-us+f3", "en"),
        ("de", "de"),
        ("pt-br", "pt"),
        ("cmn", "zh"),
        ("yue", "yue"),
        ("nb", "no"),
        ("alloy", "en"),
    ],
)
def test_a_voice_tells_its_language(voice: str, language: str) -> None:
    assert language_of(voice) == language


def test_the_embedded_voice_speaks_most_of_what_a_whisper_hears() -> None:
    spoken = {language_of(voice) for voice in EspeakVoice.voices}
    assert spoken <= set(LANGUAGES)
    assert len(spoken) >= 70
    assert {"de", "es", "fr", "it", "ja", "ko", "nl", "no", "pl", "pt", "ru", "sv", "tr", "uk", "zh"} <= spoken


@pytest.mark.parametrize(
    ("language", "wanted", "chosen"),
    [
        ("en", None, None),
        ("en", "en-gb", "en-gb"),
        ("de", None, "de"),
        ("de", "en-gb", "de"),
        ("fr", None, "fr_FR-siwis-medium"),
        ("fr", "fr", "fr"),
        ("zh", None, "cmn"),
        ("yo", None, None),
        ("yo", "en-gb", "en-gb"),
    ],
)
def test_a_voice_of_the_language_answers_if_there_is_one(language: str, wanted: str | None, chosen: str | None) -> None:
    assert voice_for(language, wanted, VOICES) == chosen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am the small built-in model and do not know that.", True),
        ("Two plus three is five.", None),
        ("You're welcome!", True),
        ("Sorry, I can only speak English.", True),
        ("Das Wetter wird morgen schön in Berlin.", False),
        ("Es ist in Berlin so warm wie am Mittelmeer.", False),
        ("Mañana hará buen tiempo en Madrid.", False),
        ("Il fait beau à Paris, on a de la chance.", False),
        ("Het is vandaag warm in Amsterdam.", False),
        ("Завтра будет тепло.", False),
        ("早上好", False),
        ("42.", None),
        ("Madrid", None),
    ],
)
def test_english_is_told_from_other_languages(text: str, expected: bool | None) -> None:
    assert is_english(text) is expected or (expected is None and is_english(text) is not True)


def test_a_model_that_answers_in_english_is_spoken_by_an_english_voice() -> None:
    tongue = Tongue("de", None, VOICES)
    assert tongue.voice_of("Guten Morgen!") == ("de", False)
    assert tongue.voice_of("Morgen wird es 20 Grad warm.") == ("de", False)
    assert tongue.voice_of("That is what I know about the weather.") == (None, True)
    assert tongue.voice_of("Berlin.") == (None, True), "it is too little to tell, so nothing changes"


@pytest.mark.parametrize(("language", "voice"), [(None, None), ("en", None), ("en", "de"), (None, "de")])
def test_to_who_speaks_english_the_voice_that_is_wanted_answers(language: str | None, voice: str | None) -> None:
    chosen, _ = Tongue(language, voice, VOICES).voice_of("That is what I know about the weather.")
    assert chosen == voice


def test_numbers_are_left_to_a_voice_of_another_language() -> None:
    assert speakable("Es sind **20 %** am 3.5.2026.", english=False) == "Es sind 20 % am 3.5.2026."
    assert "percent" in speakable("It is **20 %** today.")
