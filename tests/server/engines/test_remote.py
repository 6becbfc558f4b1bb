"""Engines of servers: what is sent to them, what is made of their answers, and what is said of those that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pipelines.definitions.mapping import Backend
from pipelines.errors import STTError, TTSError
from pipelines.interfaces.stt import Hearing, hearing
from pipelines.interfaces.task import TaskError
from server.engines.remote.engines import Servers
from server.engines.remote.rest import Rest
from server.engines.remote.speech import RemoteRecognizer, RemoteVoice, WavStream, transcript_of, wav
from server.engines.remote.tasks import RemoteEmbedding, RemoteTask
from tests.patience import PATIENCE

TONE = np.arange(4800, dtype=np.int16)


class Server:
    """Answers with what the test says; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Any = {}
        self.status = 200
        self.url = ""
        self.gone = asyncio.Event()
        self.holds = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.content_type == "multipart/form-data":
            form = {
                name: value if isinstance(value, str) else value.file.read()
                for name, value in (await request.post()).items()
            }
            self.asked.append((request.path, form))
        else:
            self.asked.append((request.path, await request.json()))
        if self.holds:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(self.answer)
            try:
                await asyncio.Event().wait()
            finally:
                self.gone.set()
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.handle)
    async with TestServer(app, handler_cancellation=True) as running:
        made.url = str(running.make_url("/v1"))
        yield made


@pytest.fixture
async def rest(server: Server) -> AsyncIterator[Rest]:
    made = Rest("other", server.url, "secret")
    yield made
    await made.close()


async def test_an_utterance_is_sent_as_a_wave_file(server: Server, rest: Rest) -> None:
    server.answer = {"text": " Hello. ", "language": "en", "segments": [{"avg_logprob": -0.1}, {"avg_logprob": -0.3}]}
    recognition = await RemoteRecognizer(rest, "whisper-base").open()
    assert await recognition.feed(TONE) == ""
    transcript = await recognition.transcript()
    assert (transcript.text, transcript.language) == ("Hello.", "en")
    assert transcript.confidence == pytest.approx(0.8187, abs=1e-3)
    path, form = server.asked[0]
    assert (path, form["model"], form["response_format"]) == (
        "/v1/audio/transcriptions",
        "whisper-base",
        "verbose_json",
    )
    assert form["file"] == wav(TONE)
    token = hearing.set(Hearing(translate=True))
    try:
        recognition = await RemoteRecognizer(rest, "").open()
    finally:
        hearing.reset(token)
    assert (await recognition.transcript()).text == "", "nothing was said"
    await recognition.feed(TONE)
    await recognition.transcript()
    assert server.asked[1][0] == "/v1/audio/translations"


@pytest.mark.parametrize(
    ("found", "confidence", "words"),
    [
        ({"text": "a"}, None, 0),
        (
            {"text": "a", "segments": "none", "words": [{"word": "a"}, {"word": " a ", "start": 0, "end": 1}, 7]},
            None,
            1,
        ),
        ({"text": "a", "segments": [{"avg_logprob": 0.5}], "language": 3}, 1.0, 0),
        (
            {"text": "a", "words": [{"word": "a", "start": None, "end": "x"}, {"word": "b", "start": 0, "end": 1}]},
            None,
            1,
        ),
    ],
)
def test_servers_leave_out_what_they_do_not_know(found: Any, confidence: float | None, words: int) -> None:
    transcript = transcript_of(found)
    assert (transcript.confidence, len(transcript.words), transcript.language) == (confidence, words, None)


@pytest.mark.parametrize(
    ("status", "answer", "code", "message"),
    [
        (401, {"error": {"message": "no such key"}}, "stt_http_error", "other: no such key (HTTP 401)"),
        (500, b"<html>", "stt_http_error", "other: Internal Server Error (HTTP 500)"),
        (302, b"", "stt_http_error", "other: Found (HTTP 302)"),
        (200, b"nothing", "stt_bad_answer", "other answered /audio/transcriptions with no JSON"),
        (200, [1], "stt_bad_answer", "other answered /audio/transcriptions with no JSON object"),
        (200, {}, "stt_bad_answer", "the server's transcript has no text"),
    ],
)
async def test_what_a_server_refuses_is_an_error_of_the_stage(
    server: Server, rest: Rest, status: int, answer: Any, code: str, message: str
) -> None:
    server.status, server.answer = status, answer
    recognition = await RemoteRecognizer(rest, "").open()
    await recognition.feed(TONE)
    with pytest.raises(STTError) as error:
        await recognition.transcript()
    assert (error.value.code, error.value.message) == (code, message)


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    rest = Rest("other", "http://user:word@127.0.0.1:9/v1", None)
    with pytest.raises(TTSError) as error:
        _ = [piece async for piece in RemoteVoice(rest, "").synthesize("hello")]
    assert error.value.code == "tts_unreachable"
    assert "http://127.0.0.1:9/v1" in error.value.message
    await rest.close()


async def test_speech_comes_in_pieces(server: Server, rest: Rest) -> None:
    server.answer = wav(TONE, 24_000)
    pieces = [piece async for piece in RemoteVoice(rest, "piper").synthesize("hello", speed=1.5)]
    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), TONE)
    assert {piece.rate for piece in pieces} == {24_000}
    asked = {"model": "piper", "input": "hello", "voice": "alloy", "response_format": "wav", "speed": 1.5}
    assert server.asked == [("/v1/audio/speech", asked)]


async def test_who_stops_listening_ends_the_servers_work(server: Server, rest: Rest) -> None:
    server.answer, server.holds = wav(TONE, 24_000), True
    stream = RemoteVoice(rest, "").synthesize("hello")
    assert len((await anext(stream)).samples)
    await stream.aclose()
    await asyncio.wait_for(server.gone.wait(), PATIENCE)


@pytest.mark.parametrize("size", [1, 3, 44, 50_000])
def test_a_wave_file_may_be_cut_anywhere(size: int) -> None:
    data, stream = wav(TONE, 8000), WavStream()
    heard = [stream.push(data[begin : begin + size]) for begin in range(0, len(data), size)]
    heard.append(stream.push(b"", end=True))
    samples = [speech.samples for speech in heard if speech is not None]
    assert np.array_equal(np.concatenate(samples), TONE)


def test_both_channels_become_one() -> None:
    data = bytearray(wav(np.array([[100, 300]] * 2000, np.int16).ravel(), 8000))
    data[22] = 2
    speech = WavStream().push(bytes(data), end=True)
    assert speech is not None
    assert set(speech.samples) == {200}


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"x" * 5000, wav(TONE).replace(b"\x10\x00data", b"\x08\x00data")], ids=len
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(TTSError, match="no WAV file"):
        WavStream().push(data, end=True)


async def test_embeddings_of_a_server(server: Server, rest: Rest) -> None:
    server.answer = {
        "data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
        "usage": {"prompt_tokens": 3},
    }
    done = await RemoteEmbedding(rest, "minilm").run({"inputs": ["a", "b"]}, {"dimensions": 1})
    assert (done.output, done.tokens) == ([[1.0], [2.0]], 3)
    assert server.asked == [("/v1/embeddings", {"model": "minilm", "input": ["a", "b"], "dimensions": 1})]
    server.answer = {"data": [{}]}
    with pytest.raises(TaskError, match="gave no embeddings"):
        await RemoteEmbedding(rest, "").run({"inputs": "a"})


async def test_a_task_of_another_visavis(server: Server, rest: Rest) -> None:
    server.answer = {"output": [1]}
    assert [one.output async for one in RemoteTask(rest, "ocr", "pp").stream({"image": b"ab"}, {"n": (1,)})] == [[1]]
    body = {"inputs": {"image": "YWI="}, "parameters": {"n": [1]}, "model": "pp"}
    assert json.loads(json.dumps(server.asked)) == [["/v1/tasks/ocr", body]]


async def test_one_engine_for_one_server_stage_and_model() -> None:
    servers = Servers(lambda name: None)
    one = Backend(id="one", kind="visavis", base_url="http://127.0.0.1:9/v1")
    assert servers.engine(one, "stt", "a", "") is servers.engine(one, "stt", "a", "")
    assert servers.engine(one, "stt", "a", "") is not servers.engine(one, "stt", "b", "")
    assert servers.engine(one, None, "", "ocr").name == "one"
    await servers.close()
