"""The headless client: against the real server, and what it says when things go wrong."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from media.opus import RATE
from server.cli.talk import TalkOptions, Transcript, Turn, talk
from server.headless.sounds import read_sound, write_wav
from server.settings import SettingsError
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.file_server import FileServer
from tests.fakes.peer import loud
from tests.fakes.silence import silence


async def test_says_a_file_and_saves_the_answer(serve, tmp_path):
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    write_wav(question, np.concatenate([np.zeros(RATE // 2, np.int16), loud(0.8)]))
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you.")))
    said = io.StringIO()
    transcript = await talk(TalkOptions(question, answer, url), Console(file=said))
    (turn,) = transcript.turns
    assert (turn.user, turn.assistant) == ("hello there", "Hello to you.")
    assert turn.latency_ms is not None
    assert "Hello to you." in said.getvalue()
    assert not turn.interrupted
    with wave.open(str(answer)) as file:
        assert file.getframerate() == RATE
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert (np.abs(samples.astype(int)) > 3000).sum() > RATE // 4


async def test_talks_to_the_pipeline_that_is_named(serve, tmp_path):
    question = tmp_path / "question.wav"
    write_wav(question, loud(0.2))
    url, _ = await serve(fake_engines())
    with pytest.raises(SettingsError, match=r"refused: .*no-such-pipeline"):
        await talk(TalkOptions(question, None, url, pipeline="no-such-pipeline"), Console(quiet=True))


async def test_nothing_understood_is_a_failure(serve, tmp_path):
    url, _ = await serve(fake_engines())
    said = io.StringIO()
    wav = silence(tmp_path / "silence.wav", seconds=1)
    transcript = await talk(TalkOptions(wav, None, url, wait=1.0), Console(file=said))
    assert transcript.problem == "nothing was understood"
    assert said.getvalue() == "nothing was understood\n"


def test_what_is_a_conversation():
    transcript = Transcript()
    assert transcript.problem == "nothing was understood"
    transcript.turns.append(Turn(user=""))
    assert transcript.problem == "nothing was understood"
    transcript.turns.append(Turn(user="hello"))
    assert transcript.problem == "there was no answer"
    transcript.turns[-1].assistant = "Hello."
    assert not transcript.problem


async def test_what_is_no_visavis_is_told(tmp_path):
    wav, said = silence(tmp_path / "a.wav", seconds=1), r"no visavis at .*: what answers there says 501 and no JSON"
    with FileServer({"/offer": b""}) as server, pytest.raises(SettingsError, match=said):
        await talk(TalkOptions(wav, None, server.url), Console(quiet=True))


async def test_no_server_is_told(tmp_path):
    question = tmp_path / "question.wav"
    write_wav(question, loud(0.2))
    with pytest.raises(SettingsError, match="no visavis at"):
        await talk(TalkOptions(question, None, "http://127.0.0.1:9"), Console(quiet=True))


async def test_a_refusal_is_told(serve, tmp_path):
    question = tmp_path / "question.wav"
    write_wav(question, loud(0.2))
    url, _ = await serve(api_key="secret-key")
    with pytest.raises(SettingsError, match=r"refused: give the server's key.* \(--api-key KEY\)"):
        await talk(TalkOptions(question, None, url), Console(quiet=True))


async def test_who_is_refused_for_now_is_told_for_how_long(tmp_path):
    async def full(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "all is taken", "retry_after": 2.5}}, status=503)

    question = tmp_path / "question.wav"
    write_wav(question, loud(0.2))
    app = web.Application()
    app.router.add_post("/offer", full)
    async with TestServer(app) as server:
        with pytest.raises(SettingsError, match=r"refused: all is taken; try again in 2\.5 s"):
            await talk(TalkOptions(question, None, str(server.make_url(""))), Console(quiet=True))


@pytest.mark.parametrize("content", [None, b"this is no sound"])
def test_a_file_that_is_no_sound_is_told(tmp_path, content):
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"x\.wav cannot be read"):
        read_sound(path)


def test_interruptions_and_failures_are_in_the_transcript():
    transcript = Transcript()
    for event in (
        {"type": "input_audio_buffer.speech_started", "item_id": "u"},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "u", "transcript": "hi"},
        {"type": "response.created"},
        {"type": "response.output_audio_transcript.delta", "delta": "Hello you"},
        {"type": "output_audio_buffer.started"},
        {"type": "output_audio_buffer.cleared"},
        {"type": "response.done", "response": {"status": "cancelled"}},
        {"type": "conversation.item.truncated", "transcript": "Hello"},
    ):
        transcript.take(event)
    assert transcript.idle
    assert (transcript.turns[0].assistant, transcript.turns[0].interrupted) == ("Hello", True)
    failed = {"status": "failed", "status_details": {"error": {"message": "no answer in 15 s"}}}
    transcript.take({"type": "response.done", "response": failed})
    assert transcript.errors == ["no answer in 15 s"]
