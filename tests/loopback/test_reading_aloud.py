"""A paper is held to the camera and the user asks what it says: it is read aloud, over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from media.opus import RATE
from media.resample import Resampler
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.tts.piper_voices import PiperVoices, load_piper
from pipelines.models.residency import Kept, Residency
from pipelines.models.store import ModelStore
from pipelines.tasks.service import TaskService
from pipelines.tools.assistant import AssistantTools
from pipelines.vision.images import still
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.peer import Peer, loud
from tests.fakes.printed import on_table, page, photographed
from tests.fakes.tasks import FakeTasks
from tests.fakes.vision import FakeVision
from tests.real_models import real_folder, real_model

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])
LINES = ("The meeting is at", "nine on Monday.")


def filmed(pixels: np.ndarray) -> Callable[[int], av.VideoFrame]:
    """The picture as what a camera sends, frame by frame."""

    def nth(n: int) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = n * 3000, Fraction(1, 90_000)
        return frame

    return nth


@pytest.fixture(scope="module")
def paper() -> np.ndarray:
    return photographed(on_table(page(LINES, 60), 640, 480, turn=3), noise=3)


class Capable(FakeModel):
    calls_unasked = True


async def asked(url: str, paper: np.ndarray, question: np.ndarray = TURN) -> str:
    """What the assistant says to the spoken ``question`` before ``paper``."""
    async with Peer(url, kinds=("audio", "video")) as peer:
        film = filmed(paper)
        await peer.show(film, lambda: len(peer.seen) >= 2)
        peer.say(question, RATE)
        await peer.show(film, lambda: peer.named("output_audio_buffer.stopped"))
        response = (await peer.event("response.done"))["response"]
        assert response["status"] == "completed", response
        assert np.abs(peer.heard[-RATE:].astype(int)).mean() > 100
        return str(response["output"][0]["content"][0]["transcript"])


async def test_it_is_read_out_though_the_model_calls_nothing(serve, paper):
    tasks, model, voice = FakeTasks(ocr={"text": "\n".join(LINES)}), FakeModel(), FakeVoice()
    engines = fake_engines(
        stt=FakeRecognizer("what does it say"),
        llm=model,
        tts=voice,
        vision=FakeVision(),
        assistant=AssistantTools(tasks),
    )
    url, _ = await serve(engines)
    assert await asked(url, paper) == "It says: The meeting is at nine on Monday."
    assert model.requests == []
    assert " ".join(voice.said) == "It says: The meeting is at nine on Monday."
    (picture,) = {inputs["image"] for inputs, _ in tasks.runners["ocr"].asked[-1:]}
    assert still(picture, "picture").shape == (480, 640, 3)


async def test_a_model_that_can_make_something_of_it_is_told_what_it_says(serve, paper):
    tasks, model = FakeTasks(ocr={"text": "\n".join(LINES)}), Capable("It is about a meeting.")
    engines = fake_engines(
        stt=FakeRecognizer("what does it say"), llm=model, vision=FakeVision(), assistant=AssistantTools(tasks)
    )
    url, _ = await serve(engines)
    assert await asked(url, paper) == "It is about a meeting."
    assert "The meeting is at nine on Monday." in model.requests[-1].scene


async def test_another_question_is_the_models(serve, paper):
    tasks, model = FakeTasks(ocr={"text": "EXIT"}), FakeModel("I am well.")
    engines = fake_engines(
        stt=FakeRecognizer("how are you"), llm=model, vision=FakeVision(), assistant=AssistantTools(tasks)
    )
    url, _ = await serve(engines)
    assert await asked(url, paper) == "I am well."
    assert tasks.runners["ocr"].asked == []


async def test_a_session_that_shows_the_model_nothing_has_nothing_read(serve, paper):
    tasks, model = FakeTasks(ocr={"text": "EXIT"}), FakeModel("I cannot see it.")
    engines = fake_engines(
        stt=FakeRecognizer("what does it say"), llm=model, vision=FakeVision(), assistant=AssistantTools(tasks)
    )
    url, _ = await serve(engines)
    async with Peer(url, kinds=("audio", "video"), session={"vision": {"attach": "never"}}) as peer:
        await peer.show(filmed(paper), lambda: len(peer.seen) >= 2)
        peer.say(TURN, RATE)
        await peer.show(filmed(paper), lambda: peer.named("response.done"))
    assert tasks.runners["ocr"].asked == []
    assert len(model.requests) == 1


# ------------------------------------------------------------------------------------------------ real engines


@pytest.fixture(scope="module")
def joe() -> Any:
    files = real_model("piper-en_US-joe-medium").files
    network, config = (next(path for name, path in files.items() if name.endswith(end)) for end in (".onnx", ".json"))
    return load_piper(network, config)


@pytest.fixture(scope="module")
def whisper() -> Any:
    return load_whisper(real_folder("whisper-base"), "cpu", threads=1)


@pytest.fixture
async def tasks() -> AsyncIterator[TaskService]:
    real_folder("pp-ocrv6-small")
    service = TaskService(ModelStore(load_settings({}).model_cache), Residency())
    yield service
    service.close()


async def said_by(voice: PiperVoices, text: str) -> np.ndarray:
    """At 48 kHz, with a pause behind it."""
    resampler = Resampler(RATE)
    parts = [resampler.push(speech.samples, speech.rate) async for speech in voice.synthesize(text)]
    return np.concatenate([np.zeros(RATE // 4, np.int16), *parts, resampler.flush(), np.zeros(RATE, np.int16)])


async def test_a_paper_is_read_out_by_real_ears_eyes_and_voice(serve, paper, joe, whisper, tasks):
    """Whisper base hears the question, PP-OCR reads, Piper speaks; the language model is never needed."""
    voice = PiperVoices({"joe": Kept("joe", joe)})
    ears = WhisperRecognizer(Kept("whisper", whisper), WhisperSettings(language="en"))
    model = FakeModel("I do not know.", "I do not know.", "I do not know.")
    engines = fake_engines(stt=ears, llm=model, tts=voice, vision=FakeVision(), assistant=AssistantTools(tasks))
    url, _ = await serve(engines)
    question = await said_by(PiperVoices({"joe": Kept("joe", joe)}), "What does it say?")
    answer = await asked(url, paper, question)
    assert answer.startswith("It says:")
    assert "meeting is at nine on Monday" in " ".join(answer.split())
