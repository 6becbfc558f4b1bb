"""Wyoming with the stock client of its package: what Home Assistant does, and what nobody should."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import LLMError, STTError
from server.http.app import WYOMING_PORT
from server.settings import SettingsError, load_settings
from server.wyoming import listener
from server.wyoming.listener import MOST_CONNECTIONS
from server.wyoming.requests import LONGEST_TEXT
from server.wyoming.wire import LARGEST_LINE
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.patience import PATIENCE, until
from tests.server.http.rest.clients import RATE, bursts

pytest.importorskip("wyoming", reason="the test extra is not installed")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports audioop, which Python 3.13 has not
    from wyoming.asr import Transcribe, Transcript, TranscriptChunk
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.error import Error
    from wyoming.event import Event
    from wyoming.handle import Handled, HandledChunk, NotHandled
    from wyoming.info import Describe, Info
    from wyoming.ping import Ping, Pong
    from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice


@pytest.fixture
def wyoming(serve):
    """``client = await wyoming(stt=…, llm=…, tts=…)``: the stock client of a server whose engines do as told."""

    async def start(**engines) -> AsyncTcpClient:
        _, app = await serve(fake_engines(**engines), wyoming_port=0)
        return AsyncTcpClient("127.0.0.1", app[WYOMING_PORT], read_timeout=PATIENCE)

    return start


async def ask(client: AsyncTcpClient, *events, until: str) -> list[Event]:
    """Send events; what is answered, up to the first of a type."""
    for event in events:
        await client.write_event(event if isinstance(event, Event) else event.event())
    told: list[Event] = []
    while not told or told[-1].type != until:
        event = await client.read_event()
        assert event is not None, f"the server has left after {[event.type for event in told]}"
        told.append(event)
    return told


def recording(samples: np.ndarray, rate: int = RATE, channels: int = 1):
    """Events that carry samples, in pieces of 64 ms."""
    yield AudioStart(rate, 2, channels)
    data = np.repeat(samples, channels).astype("<i2").tobytes()
    step = rate * 2 * channels * 64 // 1000
    for begin in range(0, len(data), step):
        yield AudioChunk(rate, 2, channels, data[begin : begin + step])
    yield AudioStop()


async def test_what_is_here_is_told_in_the_words_of_the_package(wyoming):
    async with await wyoming() as client:
        (event,) = await ask(client, Describe(), until="info")
        info = Info.from_event(event)
        assert [model.name for model in info.asr[0].models] == ["fake-stt"]
        assert info.asr[0].models[0].languages == ["en"]
        assert info.asr[0].supports_transcript_streaming
        assert [voice.name for voice in info.tts[0].voices] == ["square", "other"]
        assert info.tts[0].supports_synthesize_streaming
        assert [model.name for model in info.handle[0].models] == ["fake-llm"]
        assert info.handle[0].supports_handled_streaming
        (event,) = await ask(client, Ping("there?"), until="pong")
        assert Pong.from_event(event).text == "there?"


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 1), (16_000, 2)])
async def test_speech_becomes_text_sentence_by_sentence(wyoming, rate, channels):
    stt = FakeRecognizer("Turn on the light.", "Please.")
    samples = bursts(1.0, 1.0) if rate == RATE else np.repeat(bursts(1.0, 1.0), rate // RATE)
    async with await wyoming(stt=stt) as client:
        asked = Transcribe(name="fake-stt", language="en-GB")
        told = await ask(client, asked, *recording(samples, rate, channels), until="transcript-stop")
        kinds = [event.type for event in told]
        assert kinds == ["transcript-start", "transcript-chunk", "transcript-chunk", "transcript", "transcript-stop"]
        assert [TranscriptChunk.from_event(event).text for event in told[1:3]] == ["Turn on the light.", " Please."]
        assert Transcript.from_event(told[3]).text == "Turn on the light. Please."
        assert 1.0 <= len(stt.heard[0]) / RATE < 2.0
        silence = await ask(client, *recording(np.zeros(RATE, np.int16)), until="transcript-stop")
        assert Transcript.from_event(silence[-2]).text == ""


@pytest.mark.parametrize("streamed", [False, True])
async def test_text_becomes_speech(wyoming, streamed):
    tts = FakeVoice()
    voice = SynthesizeVoice(name="other")
    whole = Synthesize("Hello there. How are you?", voice)
    pieces = (
        SynthesizeStart(voice),
        SynthesizeChunk("Hello the"),
        SynthesizeChunk("re. How are you?"),
        whole,
        SynthesizeStop(),
    )
    async with await wyoming(tts=tts) as client:
        end = "synthesize-stopped" if streamed else "audio-stop"
        told = await ask(client, *(pieces if streamed else (whole,)), until=end)
        start = AudioStart.from_event(told[0])
        assert (start.rate, start.width, start.channels) == (16_000, 2, 1)
        chunks = [AudioChunk.from_event(event) for event in told if event.type == "audio-chunk"]
        assert sum(len(chunk.audio) for chunk in chunks) == 5 * 4_000 * 2, "a quarter of a second for each word"
        assert {event.type for event in told[1:-1]} - {"audio-stop"} == {"audio-chunk"}
        assert " ".join(tts.said) == whole.text
        assert set(tts.asked) == {"other"}


async def test_what_is_said_is_answered_by_the_language_model(wyoming):
    llm = FakeModel("It is noon.", LLMError("llm_unreachable", "nobody is at home"))
    async with await wyoming(llm=llm) as client:
        told = await ask(client, Transcript("What time is it?", language="en"), until="handled-stop")
        assert [event.type for event in told] == ["handled-start", *["handled-chunk"] * 3, "handled", "handled-stop"]
        assert "".join(HandledChunk.from_event(event).text for event in told[1:4]).strip() == "It is noon."
        assert Handled.from_event(told[4]).text == "It is noon."
        assert [message.role for message in llm.requests[0].messages] == ["system", "user"]
        told = await ask(client, Transcript("And now?"), until="not-handled")
        assert NotHandled.from_event(told[-1]).text == "nobody is at home"
        (empty,) = await ask(client, Transcript("  "), until="not-handled")
        assert NotHandled.from_event(empty).text == ""


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (Transcribe(language="xx"), "language"),
        (Transcribe(name="nobody"), "name"),
        (AudioStart(16_000, 4, 1), "width"),
        (AudioStart(10, 2, 1), "rate"),
        (Event("audio-start", {"rate": 16_000}), "width"),
        (Synthesize("Hi.", SynthesizeVoice(name="nobody")), "voice.name"),
        (Event("synthesize", {"text": "<speak/>", "text_format": "ssml"}), "text_format"),
        (Event("synthesize", {}), "text"),
        (Synthesize("a" * (LONGEST_TEXT + 1)), "text"),
        (Event("transcript", {"text": 5}), "text"),
        (Event("ping", {"text": []}), "text"),
    ],
)
async def test_what_is_wrong_is_told_and_ends_the_connection(wyoming, event, what):
    """Home Assistant knows no ``error``: it waits for the end of an answer, or of the connection."""
    client = await wyoming()
    async with client:
        told = await ask(client, Event("something-new", {"a": 1}), Ping("there?"), event, until="error")
        error = Error.from_event(told[-1])
        assert what in error.text
        assert error.code == "invalid_value"
        assert await client.read_event() is None
    async with client:
        await ask(client, Ping("still"), until="pong")


GONE = SynthesizeVoice(name="gone")


@pytest.mark.parametrize(
    ("engines", "events", "code"),
    [
        ({}, [Transcribe(language="de"), *recording(bursts(1.0))], "invalid_value"),
        (
            {"stt": FakeRecognizer(STTError("stt_failed", "broken"))},
            [Transcribe(), *recording(bursts(1.0))],
            "stt_failed",
        ),
        (
            {},
            [SynthesizeStart(GONE), SynthesizeChunk("Hi."), Synthesize("Hi.", GONE), SynthesizeStop()],
            "invalid_value",
        ),
        ({"tts": FakeVoice(fails=True)}, [Synthesize("Hi.")], "tts_failed"),
        ({"tts": FakeVoice(fails=True)}, [SynthesizeStart(), SynthesizeChunk("Hi."), SynthesizeStop()], "tts_failed"),
    ],
)
async def test_a_request_that_fails_has_one_error_and_an_end(wyoming, engines, events, code):
    stt = engines.get("stt") or FakeRecognizer("Hello.")
    async with await wyoming(**{"stt": stt, **engines}) as client:
        *before, error = await ask(client, Transcribe(language="en"), *events, until="error")
        assert before == []
        assert Error.from_event(error).code == code
        assert await client.read_event() is None
        assert stt.heard == [], "what follows a refused request is not heard in another language"


async def test_an_error_reaches_a_client_that_still_sends(wyoming):
    """Its socket is not reset under it, which would take the error back."""
    async with await wyoming() as client:
        sound = AudioChunk(16_000, 2, 1, bytes(32_000))
        for event in (Transcribe(language="de"), AudioStart(16_000, 2, 1), *[sound] * 100, AudioStop()):
            await client.write_event(event.event())
        (told,) = await ask(client, until="error")
        assert "language" in Error.from_event(told).text
        assert await client.read_event() is None


async def test_half_a_sample_and_too_much_text_are_refused(wyoming):
    client = await wyoming()
    async with client:
        chunk = AudioChunk(16_000, 2, 1, b"\0\0\0")
        (told,) = await ask(client, AudioStart(16_000, 2, 1), chunk, until="error")
        assert "payload" in Error.from_event(told).text
    async with client:
        many = [SynthesizeChunk("." * 30_000)] * 2
        told = await ask(client, SynthesizeStart(), *many, until="error")
        assert Error.from_event(told[-1]).code == "too_long"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\n",
        b"[]\n",
        b'{"type": 5}\n',
        b'{"type": "ping", "data": 5}\n',
        b'{"type": "ping", "data_length": -1}\n',
        b'{"type": "ping", "data_length": 1e9}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "ping", "data_length": 2}\n[]',
        b'{"type": "' + b"x" * LARGEST_LINE + b'"}\n',
    ],
)
async def test_what_is_no_event_ends_the_connection_with_a_reason(wyoming, raw):
    async with await wyoming() as client:
        client._writer.write(raw)
        (told,) = await ask(client, until="error")
        assert Error.from_event(told).code == "invalid_event"
        assert await client.read_event() is None


async def test_one_connection_too_many_is_told_so(serve):
    _, app = await serve(wyoming_port=0)
    clients = [
        AsyncTcpClient("127.0.0.1", app[WYOMING_PORT], read_timeout=PATIENCE) for _ in range(MOST_CONNECTIONS + 1)
    ]
    try:
        for client in clients[:-1]:
            await client.connect()
            await ask(client, Ping(), until="pong")
        await clients[-1].connect()
        (told,) = await ask(clients[-1], until="error")
        assert Error.from_event(told).code == "server_busy"
        assert await clients[-1].read_event() is None
        await clients[0].disconnect()
    finally:
        for client in clients:
            await client.disconnect()


async def test_a_client_that_says_nothing_or_stops_in_the_middle_is_let_go(serve):
    for begin, limit in ((b"", "idle_timeout"), (b'{"type": "pi', "request_timeout")):
        _, app = await serve(wyoming_port=0, **{limit: 0.05})
        reader, writer = await asyncio.open_connection("127.0.0.1", app[WYOMING_PORT])
        writer.write(begin)
        async with asyncio.timeout(PATIENCE):
            rest = await reader.read()
        assert (b"did not arrive" in rest) == bool(begin)
        writer.close()


async def test_a_client_that_leaves_in_the_middle_stops_the_model(wyoming):
    llm = FakeModel("One two three.")
    llm.gate.clear()
    client = await wyoming(llm=llm)
    async with client:
        await ask(client, Transcript("Count!"), until="handled-start")
    await until(lambda: llm.cancelled == 1)
    async with client:  # served all the same
        await ask(client, Ping(), until="pong")


async def test_a_wyoming_client_needs_a_port_of_its_own(serve):
    _, app = await serve(wyoming_port=0)
    with pytest.raises(SettingsError, match="wyoming_port"):
        await serve(wyoming_port=app[WYOMING_PORT])
    with pytest.raises(SettingsError, match="wyoming_host: needs wyoming_port"):
        load_settings({"wyoming_host": "127.0.0.1"})


def test_events_are_written_as_the_package_reads_them():
    from server.wyoming.wire import Event as Ours
    from server.wyoming.wire import written

    head, _, rest = written(Ours("audio-chunk", {"rate": 5}, b"\0\1")).partition(b"\n")
    read = json.loads(head)
    assert (read["type"], read["payload_length"]) == ("audio-chunk", 2)
    assert json.loads(rest[: read["data_length"]]) == {"rate": 5}
    assert rest[read["data_length"] :] == b"\0\1"


async def test_the_example_of_the_documentation_works(serve, capsys):
    _, app = await serve(wyoming_port=0)
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "clients" / "home-assistant.md").read_text("utf-8")
    example = text.partition("```python\n")[2].partition("```")[0].replace("10300", str(app[WYOMING_PORT]))
    await asyncio.to_thread(exec, example, {})
    assert [line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()][-1] == "audio-stop"


async def test_a_client_that_takes_nothing_leaves_no_connection_behind(serve, monkeypatch):
    """What was closed with something left to send would stay open for as long as the client likes."""
    monkeypatch.setattr(listener, "_PARTING_SECONDS", 0.05)
    _, app = await serve(fake_engines(), wyoming_port=0, request_timeout=2.0)
    with socket.create_connection(("127.0.0.1", app[WYOMING_PORT])) as client:
        port = client.getsockname()[1]
        said = Synthesize("one two three four five. " * 1000).event()
        head = {"type": said.type, "data": said.data}
        client.sendall(json.dumps(head).encode() + b"\n")
        await until(lambda: _server_ends(port) == [True])
        await until(lambda: _server_ends(port) == [])


def _server_ends(port: int) -> list[bool]:
    """Connections of this process whose other end has this port."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):  # of others, the copy would stay open
                with socket.socket(fileno=os.dup(int(name))) as end:
                    found += [True] if end.getpeername()[1:2] == (port,) else []
    return found
