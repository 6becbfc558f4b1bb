"""The contract of each port holds for an engine whether it is asked here or through Ray Serve."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from pipelines.engines.remote.engines import Patience, RemoteModel, RemoteTask, RemoteVoice
from pipelines.engines.remote.recognizer import PARTIAL_SECONDS, RemoteRecognizer
from pipelines.errors import EngineBusyError, LLMError, PipelineError, STTError, TTSError
from pipelines.interfaces.llm import ChatRequest, Cut, Image, Message, Tool, ToolCall, Usage, takes_images
from pipelines.interfaces.stt import Hearing, languages_of, streams_partials
from pipelines.interfaces.task import Done, TaskError
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.worker import session, spoken_language
from tests.fakes.ray_engines import Brain, Doer, Ears, Voice
from tests.pipelines.engines.remote.conftest import Deploy

KINDS = {"stt": (Ears, RemoteRecognizer), "llm": (Brain, RemoteModel), "tts": (Voice, RemoteVoice)}


@pytest.fixture(params=["here", "on Ray"])
def engine(request: pytest.FixtureRequest, deploy: Deploy) -> Any:
    """Makes an engine of a stage, on either side."""

    async def made(stage: str, model: str = "x") -> Any:
        local, remote = KINDS.get(stage, (Doer, RemoteTask))
        return local(model) if request.param == "here" else remote(await deploy(stage, model))

    return made


def asked(text: str, **more: Any) -> ChatRequest:
    return ChatRequest((Message("user", text, images=(Image(b"jpeg"),)),), **more)


# ---------------------------------------------------------------------------------------- the same here and there


async def test_an_utterance_is_heard_for_its_session_in_its_language(engine) -> None:
    session.set("sess_7")
    spoken_language.set("de")
    ears = await engine("stt")
    recognition = await ears.open()
    await recognition.feed(np.zeros(4000, np.int16))
    told = await recognition.transcript()
    assert told.text.startswith("4000 samples of sess_7 in de by ")
    assert (told.confidence, told.language) == (0.9, "en")
    await recognition.close()
    await recognition.close()


async def test_a_recogniser_that_fails_says_so(engine) -> None:
    ears = await engine("stt", "deaf")
    recognition = await ears.open()
    await recognition.feed(np.zeros(400, np.int16))
    with pytest.raises(STTError) as caught:
        await recognition.transcript()
    assert (caught.value.code, caught.value.message) == ("stt_failed", "it hears nothing")
    await recognition.close()


async def test_an_answer_streams_with_its_calls_cost_and_end(engine) -> None:
    brain, cost = await engine("llm"), []
    request = asked("3", tools=(Tool("look", "looks"),), on_usage=cost.append)
    pieces = [piece async for piece in brain.stream(request)]
    assert pieces == ["0 ", "1 ", "2 ", ToolCall("call_1", "look", "{}"), Cut()]
    assert cost == [Usage(7, 0, 3)]


async def test_a_failure_comes_after_the_words_before_it(engine) -> None:
    brain, said = await engine("llm", "breaks"), []
    with pytest.raises(LLMError, match="out of numbers"):
        async for piece in brain.stream(asked("9")):
            said.append(piece)  # noqa: PERF401 (what came before the error counts)
    assert said == ["0 ", "1 ", "2 "]


async def test_an_engine_that_is_busy_is_busy(engine) -> None:
    brain = await engine("llm")
    with pytest.raises(EngineBusyError, match="too much to do"):
        [piece async for piece in brain.stream(asked("busy"))]


async def test_closing_an_answer_ends_the_work_on_it(engine) -> None:
    brain = await engine("llm", "1")
    async with aclosing(brain.stream(asked("100000"))) as pieces:
        assert await anext(pieces) == "0 "
    for _ in range(1000):  # it takes a few turns of two event loops
        (ended,) = [piece async for piece in brain.stream(asked("how often were you stopped?"))]
        if ended == "1":
            break
        await asyncio.sleep(0.005)
    assert ended == "1"


async def test_a_clause_sounds_word_by_word_with_its_times(engine) -> None:
    voice = await engine("tts")
    pieces = [piece async for piece in voice.synthesize("one two three", None, 1.2)]
    assert [word.text for piece in pieces for word in piece.words] == ["one", "two", "three"]
    assert [(len(piece.samples), piece.samples.dtype, piece.rate) for piece in pieces] == [(1600, np.int16, 16_000)] * 3
    assert pieces[2].words[0].start == pytest.approx(0.2)


@pytest.mark.parametrize(("model", "voice", "code"), [("x", "nobody", "unknown_voice"), ("hoarse", None, "tts_failed")])
async def test_a_voice_that_fails_says_how(engine, model: str, voice: str | None, code: str) -> None:
    speaker, heard = await engine("tts", model), 0
    with pytest.raises(TTSError) as caught:
        async for piece in speaker.synthesize("one two three", voice):
            heard += len(piece.words)
    assert (caught.value.code, heard) == (code, 0 if voice else 2)


async def test_a_task_gives_its_result_and_its_pieces(engine) -> None:
    doer = await engine("image-classification")
    inputs = {"image": b"\x00png", "more": 3}
    assert await doer.run(inputs, {"top_k": 2}) == Done({"inputs": inputs, "parameters": {"top_k": 2}})
    assert [piece async for piece in doer.stream(inputs)][:2] == [b"\x00png", 3]


# ---------------------------------------------------------------------------------------- what there is only remotely


async def test_what_an_engine_can_do_is_known_once_it_has_been_asked(deploy: Deploy) -> None:
    ears, brain, voice = [kind(await deploy(stage)) for stage, (_, kind) in KINDS.items()]
    assert (brain.name, takes_images(brain), languages_of(ears), voice.voices) == ("ray llm", False, ("en",), ())
    for engine in (brain, ears, voice):
        await engine.probe()
    assert (brain.name, takes_images(brain), brain.adapters) == ("ray x", True, ("calm",))
    assert (languages_of(ears), streams_partials(ears), voice.voices) == (("en", "de"), True, ("low", "high"))
    assert ears.can_hear(Hearing())
    assert not ears.can_hear(Hearing(translate=True))


async def test_a_defect_there_is_a_failure_of_the_stage_without_its_text(deploy: Deploy) -> None:
    brain = RemoteModel(await deploy("llm"))
    with pytest.raises(LLMError) as caught:
        [piece async for piece in brain.stream(asked("break"))]
    assert caught.value.code == "llm_failed"
    assert "ValueError" in caught.value.message
    assert "a defect" not in caught.value.message


async def test_what_is_said_is_known_while_it_is_being_said(deploy: Deploy) -> None:
    ears = RemoteRecognizer(await deploy("stt"))
    await ears.probe()
    recognition = await ears.open()
    each = np.zeros(int(PARTIAL_SECONDS * VAD_RATE), np.int16)
    assert await recognition.feed(each) == ""
    asking = recognition._asking
    assert asking is not None, "it is asked now"
    await asyncio.wait([asking])
    assert (await recognition.feed(each)).startswith(f"{len(each)} samples")
    told = await recognition.transcript()
    assert told.text.startswith(f"{2 * len(each)} samples")
    assert await recognition.transcript() is told, "nothing is asked twice"
    await recognition.close()


async def test_a_recogniser_that_takes_too_long_is_given_up(deploy: Deploy) -> None:
    ears = RemoteRecognizer(await deploy("stt", "slow", patience=Patience(begin=0.3)))
    await ears.probe()
    recognition = await ears.open()
    await recognition.feed(np.zeros(400, np.int16))
    with pytest.raises(STTError) as caught:
        await recognition.transcript()
    assert caught.value.code == "stt_timeout"
    await recognition.close()


async def test_an_utterance_that_is_too_long_is_not_sent(deploy: Deploy) -> None:
    ears = RemoteRecognizer(await deploy("stt", "slow", patience=Patience(begin=30)))
    recognition = await ears.open()
    with pytest.raises(STTError, match="600 s"):
        await recognition.feed(np.zeros(601 * VAD_RATE, np.int8))
    await recognition.close()


async def test_a_task_that_nobody_has_deployed_is_told(deploy: Deploy) -> None:
    remote = await deploy("image-classification")
    remote.stage = "ocr"
    with pytest.raises(PipelineError) as caught:
        await RemoteTask(remote).run({"image": b""})
    assert isinstance(caught.value, TaskError)
