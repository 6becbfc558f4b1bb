"""Moonshine and Whisper base together, on their real weights: who hears what, and who answers in which language.

espeak-ng says the sentences; a small Whisper hears its voice far worse than people's, and some languages not at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from media.frames import Samples
from media.resample import Resampler
from pipelines.engines.stt.moonshine import MoonshineRecognizer
from pipelines.engines.stt.moonshine_model import Moonshine, load_moonshine
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import Whisper, load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.interfaces.stt import SpeechToText, Transcript
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from pipelines.routing.second_opinion import Doubt, SecondOpinion
from pipelines.runtime.worker import session
from pipelines.voice.spoken_text.languages import Tongue
from tests.assets import speech_16k, words
from tests.real_models import real_folder

SAID = {
    "es": "Me gustaría saber qué hora es. ¿Puede usted ayudarme, por favor?",
    "fr": "Je voudrais savoir quelle heure il est. Pouvez-vous m'aider, s'il vous plaît?",
    "zh": "我叫安娜，我在北京的一个小房子里住了十年。",
    "it": "Buongiorno, come sta? Grazie mille, arrivederci.",
    "ja": "いま なんじ ですか。すみませんが、 おしえて ください。",
    "pl": "Chciałbym wiedzieć, która jest godzina. Czy może mi pan pomóc?",
    "pt": "Eu gostaria de saber que horas são. Você pode me ajudar, por favor?",
    "ro": "Aș vrea să știu cât este ceasul. Mă puteți ajuta, vă rog?",
    "en": "I would like to know what time it is. Can you help me, please?",
}
ATTEMPTS = 6
"""espeak-ng says nothing twice alike, and some of it is at the edge of what is understood."""
VOICES = ("en_US-joe-medium", *EspeakVoice.voices)


@pytest.fixture(scope="module")
def models() -> tuple[Moonshine, Whisper]:
    moonshine = load_moonshine(real_folder("moonshine-tiny-en"))
    return moonshine, load_whisper(real_folder("whisper-base"), "cpu", threads=1)


@pytest.fixture
async def ears(models: tuple[Moonshine, Whisper]) -> AsyncIterator[SecondOpinion]:
    quick = MoonshineRecognizer(Kept("moonshine", models[0]), partial_seconds=0)
    slow = WhisperRecognizer(Kept("whisper", models[1]), WhisperSettings(partial_seconds=0))
    patient = Doubt(patience=60.0, patience_lost=60.0)  # the machine may be busy
    both = SecondOpinion(quick, slow, doubt=patient)
    yield both
    await both.close()


async def spoken(text: str, voice: str) -> Samples:
    """``text`` as espeak-ng says it a little slowly, with silence around; 16 kHz."""
    engine = EspeakVoice()
    pieces = [piece async for piece in engine.synthesize(text, voice, 150 / 175)]
    await engine.close()
    sound = Resampler(VAD_RATE).push(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate)
    return np.pad(sound, (5000, 4000))


async def heard(engine: SpeechToText, samples: Samples, who: str) -> Transcript:
    """What is believed in the end of the first utterance of a session."""
    token = session.set(who)
    try:
        recognition = await engine.open()
        await recognition.feed(samples)
        transcript = await recognition.transcript()
        better = None if transcript.better is None else await transcript.better
        await recognition.close()
    finally:
        session.reset(token)
    return better or transcript


@pytest.mark.parametrize("language", [pytest.param(code, marks=[pytest.mark.long] * (code != "es")) for code in SAID])
async def test_a_language_is_heard_and_answered_by_a_voice_of_it(ears: SecondOpinion, language: str) -> None:
    voice = {"en": "en-us", "zh": "cmn"}.get(language, language)
    for attempt in range(ATTEMPTS):
        transcript = await heard(ears, await spoken(SAID[language], voice), who=f"{language} {attempt}")
        if transcript.language == language:
            break
    assert transcript.language == language, transcript.text
    chosen, english = Tongue(transcript.language, None, VOICES).voice_of(SAID[language])
    assert (chosen, english) == ((None, True) if language == "en" else (voice, False))


async def test_clear_english_needs_no_second_opinion(ears: SecondOpinion, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked() -> None:
        raise AssertionError("the second one was asked")

    monkeypatch.setattr(ears.second, "open", asked)
    transcript = await heard(ears, speech_16k("audio/LJ001-0002.wav"), who="a reader")
    assert words(transcript.text) == words("in being comparatively modern")


async def test_noise_is_nothing_to_either(ears: SecondOpinion) -> None:
    noise = (np.random.default_rng(3).standard_normal(2 * VAD_RATE) * 300).astype(np.int16)
    assert (await heard(ears, noise, who="nobody")).text == ""
