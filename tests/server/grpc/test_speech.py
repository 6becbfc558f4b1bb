"""Transcribe and Synthesize."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from media.files import decode
from server.grpc.generated import speech_pb2
from server.grpc.incoming import Incoming
from server.http.pipelines.routes import PLACES
from tests.fakes.engines import FakeRecognizer, FakeVoice
from tests.fakes.grpc_client import code_of, details_of
from tests.patience import PATIENCE, until
from tests.server.http.rest.clients import RATE, bursts

Code = grpc.StatusCode


def sound(samples: np.ndarray, rate: int = RATE, channels: int = 1, **config):
    """The requests of a client that streams it in pieces of 0.1 s."""
    yield speech_pb2.TranscribeRequest(
        config=speech_pb2.TranscribeConfig(sample_rate=rate, channels=channels, **config)
    )
    data = np.repeat(samples, channels).astype("<i2").tobytes()
    step = rate // 10 * 2 * channels
    for begin in range(0, len(data), step):
        yield speech_pb2.TranscribeRequest(audio=data[begin : begin + step])


async def and_stays(requests):
    """A client that goes on: what it wrote after its call has ended would fail in itself."""
    for request in requests:
        yield request
    await asyncio.Event().wait()


async def heard(client, requests) -> list[speech_pb2.TranscribeResponse]:
    return [response async for response in client.transcribe(requests, timeout=PATIENCE)]


async def test_speech_becomes_segments_while_it_comes(spoken):
    stt = FakeRecognizer("Turn on the light.", "Please.")
    server = await spoken(stt=stt)
    told = await heard(server.client("SpeechService"), sound(bursts(1.0, 1.0), language="en"))
    segments = [one.segment for one in told if one.WhichOneof("event") == "segment"]
    assert [one.text.strip() for one in segments] == ["Turn on the light.", "Please."]
    assert segments[0].start < segments[0].end <= segments[1].start < segments[1].end
    done = told[-1].done
    assert (done.text, done.seconds) == ("Turn on the light. Please.", pytest.approx(len(bursts(1.0, 1.0)) / RATE))
    assert server.app[PLACES].running == 0


async def test_what_is_being_said_is_told_before_it_ends(spoken):
    stt = FakeRecognizer("Turn on the light.")
    server = await spoken(stt=stt)
    speech, rest = bursts(1.5)[: RATE * 3 // 2], bursts(1.5)[RATE * 3 // 2 :]
    goes_on = asyncio.Event()

    async def requests():
        for request in sound(speech):
            yield request
        await goes_on.wait()  # nothing more comes before a partial has
        yield speech_pb2.TranscribeRequest(audio=rest.astype("<i2").tobytes())

    kinds = []
    async for response in server.client("SpeechService").transcribe(requests(), timeout=PATIENCE):
        kinds.append(response.WhichOneof("event"))
        if kinds == ["partial"]:
            assert "Turn on the light.".startswith(response.partial.text)
            goes_on.set()
    assert kinds[0] == "partial" and kinds[-2:] == ["segment", "done"]


async def test_a_client_that_leaves_in_mid_sentence_frees_all(spoken):
    stt = FakeRecognizer("Turn on the light.")
    server = await spoken(stt=stt)

    async def requests():
        for request in sound(bursts(1.5)[: RATE * 3 // 2]):
            yield request
        await asyncio.Event().wait()

    call = server.client("SpeechService").transcribe(requests())
    assert (await call.read()).WhichOneof("event") == "partial"
    assert server.app[PLACES].running == 1
    call.cancel()
    await until(lambda: stt.closed == stt.opened and server.app[PLACES].running == 0)


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([speech_pb2.TranscribeRequest(audio=b"\0\0")], "missing_parameter"),
        ([*sound(bursts(), rate=100)][:1], "invalid_value"),
        ([*sound(bursts(), pipeline="none-such")][:1], "pipeline_not_found"),
        ([*sound(bursts(), pipeline="read-aloud")][:1], "invalid_value"),
        ([next(sound(bursts())), speech_pb2.TranscribeRequest(audio=b"odd")], "invalid_value"),
    ],
)
async def test_a_sound_that_is_none_is_refused(spoken, requests, code):
    server = await spoken()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heard(server.client("SpeechService"), and_stays(requests))
    assert code_of(caught.value) == code


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"rate": 100}, "config.sample_rate"),
        ({"pipeline": "none-such"}, "config.pipeline"),
        ({"language": "klingon!!"}, "config.language"),
    ],
)
async def test_a_client_that_streams_without_a_pause_is_told_why_it_is_refused(spoken, config, field):
    """While ``grpc.aio`` writes, it takes a status that comes for a failure of its own."""
    server = await spoken(stt=FakeRecognizer("Hello."))

    async def requests():
        first, *rest = sound(bursts(3.0), **{"rate": RATE, **config})
        yield first
        for request in rest:
            yield request

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heard(server.client("SpeechService"), requests())
    assert caught.value.code() in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)
    assert details_of(caught.value)[0].metadata["param"] == field
    assert "options" not in caught.value.details()


async def test_who_gives_up_waiting_leaves_the_message_to_the_next():
    sent: asyncio.Queue[bytes] = asyncio.Queue()

    async def source():
        while message := await sent.get():
            yield message

    incoming = Incoming(source())
    waiting = asyncio.ensure_future(anext(incoming))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    sent.put_nowait(b"kept")
    sent.put_nowait(b"")
    assert [message async for message in incoming] == [b"kept"]


async def test_text_becomes_samples_with_the_times_of_words(spoken):
    server = await spoken(tts=FakeVoice())
    client, pcm, words = server.client("SpeechService"), b"", []
    request = speech_pb2.SynthesizeRequest(text="Hello there. How are you?", voice="other")
    async for response in client.synthesize(request, timeout=PATIENCE):
        if response.WhichOneof("event") == "audio":
            assert response.audio.sample_rate == FakeVoice.rate
            pcm += response.audio.data
            words += [(word.text, word.start) for word in response.audio.words]
    assert response.done.model == "fake-tts" and response.done.seconds == pytest.approx(1.25)
    assert len(pcm) == 1.25 * FakeVoice.rate * 2
    assert words == [("Hello", 0.0), ("there.", 0.25), ("How", 0.5), ("are", 0.75), ("you?", 1.0)]
    data = b""
    request = speech_pb2.SynthesizeRequest(text="Hello there.", format=speech_pb2.AUDIO_FORMAT_MP3, speed=1.5)
    async for response in client.synthesize(request, timeout=PATIENCE):
        data += response.audio.data
    assert sum(map(len, decode(data, RATE, 10.0))) / RATE == pytest.approx(0.5, abs=0.15)
    for wrong, field in (
        ({"text": ""}, "text"),
        ({"text": "x", "voice": "nobody"}, "voice"),
        ({"text": "x", "speed": 9}, "speed"),
        ({"text": "x", "format": 77}, "format"),
        ({"text": "x", "model": "nobody"}, "model"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.synthesize(speech_pb2.SynthesizeRequest(**wrong), timeout=PATIENCE).read()
        assert caught.value.code() in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)
        assert details_of(caught.value)[0].metadata["param"] == field
