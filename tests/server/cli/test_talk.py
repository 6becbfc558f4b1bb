"""The headless client: against the real server, and what it says when things go wrong."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import RTCSessionDescription
from rich.console import Console

from media.audio_out import AudioOut
from media.clock import MonotonicClock
from media.opus import RATE
from server.cli import talk as talking
from server.cli.talk import TalkOptions, Transcript, Turn, talk
from server.headless import call, lasting
from server.headless.call import Address, Answered, Call
from server.headless.lasting import phrase_start
from server.headless.sounds import read_sound, write_wav
from server.http.signaling.offer import REGISTRY
from server.settings import SettingsError
from tests.conftest import fake_engines
from tests.fakes.coturn import SECRET, coturn, missing
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.file_server import FileServer
from tests.fakes.peer import loud
from tests.fakes.silence import silence


@pytest.mark.parametrize("path", ["/v1/realtime/calls", "/proxy/v1/realtime/calls/"])
def test_a_pipeline_that_the_address_cannot_be_asked_for_is_refused(path):
    with pytest.raises(SettingsError, match="--pipeline: has no effect where calls are made as OpenAI's clients do"):
        Address(f"http://127.0.0.1:8080{path}", pipeline="nonsense").check()
    Address("http://127.0.0.1:8080", pipeline="dictation").check()


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


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.truncated", "item_id": "i", "content_index": 0, "audio_end_ms": 1500},
        {"type": "input_audio_buffer.speech_started"},
        {"type": "conversation.item.input_audio_transcription.completed"},
        {"type": "response.output_text.delta"},
        {"type": "response.done"},
        {"type": "response.done", "response": {"status": "failed", "status_details": None}},
        {"type": "turn.latency"},
        {},
    ],
)
def test_other_servers_may_put_less_into_an_event(event):
    transcript = Transcript()
    transcript.turns.append(Turn(user="hi", assistant="Hello you"))
    transcript.take(event)
    assert transcript.turns[0].assistant == "Hello you"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"type": "server_error", "code": "x"}, "x"),
        ({"type": "server_error"}, "server_error"),
        (None, "the server failed, and does not say why"),
    ],
)
def test_failures_without_a_message_are_told(error, told):
    transcript = Transcript()
    failed = {"status": "failed", "status_details": {"type": "failed", "error": error}}
    transcript.take({"type": "response.done", "response": failed})
    transcript.take({"type": "error", "error": error})
    transcript.take({"type": "conversation.item.input_audio_transcription.failed", "error": error})
    assert transcript.errors == [told] * 3


async def test_an_event_that_cannot_be_read_costs_no_other(caplog):
    def take(text: str) -> None:
        raise KeyError("transcript")

    one = Call(Address("http://127.0.0.1:9"), AudioOut(MonotonicClock()), take, lambda receiver: ())
    try:
        one._channel.emit("message", '{"type": "session.moved"}')
        assert one.over.is_set()
        assert "could not be read" in caplog.text
    finally:
        await one.close()


class Phrases(FakeRecognizer):
    """Something happens to the call at the moment when it begins to be spoken in."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.happens: Callable[[], object] | None = None

    async def open(self) -> Any:
        if (happens := self.happens) is not None:
            self.happens = None
            self.texts.insert(0, "what is lost")
            asyncio.get_running_loop().call_soon(happens)
        return await super().open()


@pytest.mark.parametrize("how", ["ended", pytest.param("moved", marks=pytest.mark.long)])
async def test_another_call_goes_on_with_the_conversation(serve, tmp_path, monkeypatch, how):
    monkeypatch.setattr(talking, "QUIET_SECONDS", 0.5)
    question = tmp_path / "question.wav"
    write_wav(question, np.concatenate([np.zeros(RATE // 2, np.int16), loud(0.8)]))
    ears = Phrases("hello there")
    url, app = await serve(fake_engines(stt=ears, llm=FakeModel("Hello to you.")))
    registry = app[REGISTRY]

    def happens() -> None:
        (peer,) = registry.all
        peer.session.moves(9.0) if how == "moved" else peer.close("a test")

    ears.happens = happens
    said = io.StringIO()
    transcript = await talk(TalkOptions(question, None, url), Console(file=said, width=200))
    assert [(turn.user, turn.assistant) for turn in transcript.turns] == [("hello there", "Hello to you.")]
    assert transcript.calls == 2 and registry.begun == 2
    assert "goes on in another call" in said.getvalue()
    assert not transcript.problem


class LostCall:
    """Connects, and is over at once; ``resumed`` is what the server said to the offer."""

    over_because = "the call was lost"
    silent_seconds = 0.0

    def __init__(self, *, resumed: bool = False) -> None:
        self.answered = Answered(RTCSessionDescription("", "answer"), "sess", resumed=resumed)
        self.over = asyncio.Event()
        self.over.set()

    async def connected(self) -> LostCall:
        return self

    async def __aenter__(self) -> LostCall:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize(("useful", "calls"), [([False] * 9, 5), ([False, True, *[False] * 9], 7)])
async def test_calls_that_are_lost_at_once_have_an_end(monkeypatch, useful, calls):
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def work(call: Any) -> None:
        await asyncio.Event().wait()

    made: list[LostCall] = []

    def connect(session: str | None) -> Any:
        made.append(LostCall())
        return made[-1]

    monkeypatch.setattr(lasting, "asyncio", WithSleep(sleep))
    with pytest.raises(SettingsError, match="the call was lost, in 5 calls in a row"):
        await lasting.hold(connect, work, Address("http://x"), lambda call: useful[len(made) - 1])
    assert len(made) == calls
    assert waits == ([1, 2, 3, 4] if calls == 5 else [1, 1, 2, 3, 4])


class WithSleep:
    """``asyncio`` with another ``sleep``."""

    def __init__(self, sleep: Callable[[float], Any]) -> None:
        self.sleep = sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def test_a_call_is_of_use_when_more_is_said_or_answered():
    client = talking._Client(loud(1.0), Address("http://x"), 1.0)
    lost: Any = LostCall()
    assert not client.goes_on(lost)
    client._said = RATE // 2
    assert client.goes_on(lost)
    client._said = RATE // 2  # the phrase was said again, and no further
    assert not client.goes_on(lost)
    client.transcript.turns.append(Turn("hi", "Hello."))
    assert client.goes_on(lost)


@pytest.mark.parametrize(("resumed", "told"), [(True, "goes on in another call"), (False, "a new one began")])
async def test_whether_the_conversation_goes_on_is_the_servers_word(resumed, told):
    client = talking._Client(loud(0.1), Address("http://x"), 1.0)
    client.goes_on(LostCall())
    talks = asyncio.ensure_future(client.talk(LostCall(resumed=resumed)))
    await asyncio.sleep(0)
    talks.cancel()
    await asyncio.wait([talks])
    (error,) = client.transcript.errors
    assert error.startswith("the call was lost: ") and told in error


async def test_a_server_that_is_silent_for_good_has_lost_the_call(serve, monkeypatch):
    monkeypatch.setattr(call, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(call, "SILENT_LOOKS", 10)
    url, app = await serve(fake_engines())
    async with Call(Address(url), AudioOut(MonotonicClock()), lambda text: None, lambda receiver: ()) as one:
        monkeypatch.setattr(one.voice, "getStats", unchanged(await one.voice.getStats()))
        await one.over.wait()
        assert one.over_because == "the call was lost"
        assert one.silent_seconds == pytest.approx(0.2)
    assert len(app[REGISTRY]) <= 1


def unchanged(stats: Any) -> Any:
    async def told() -> Any:
        return stats

    return told


async def test_who_hangs_up_has_lost_nothing(serve):
    url, _ = await serve(fake_engines())
    async with Call(Address(url), AudioOut(MonotonicClock()), lambda text: None, lambda receiver: ()) as one:
        pass
    assert not one.over.is_set()


def test_a_phrase_is_said_again_from_where_it_begins():
    speech = np.concatenate([np.zeros(RATE), loud(1.0), np.zeros(RATE // 5), loud(1.0), np.zeros(RATE), loud(1.0)])
    speech = speech.astype(np.int16)
    at = [phrase_start(speech, round(seconds * RATE)) / RATE for seconds in (0, 0.5, 1.5, 3.1, 3.9, 4.5, 9)]
    assert at == pytest.approx([0, 0, 0, 0, 0, 4.0, 4.0], abs=0.021)
    assert phrase_start(np.zeros(RATE, np.int16), RATE) == 0
    assert phrase_start(np.zeros(0, np.int16), 0) == 0


async def test_a_server_without_relays_is_told(serve, tmp_path):
    question = tmp_path / "question.wav"
    write_wav(question, loud(0.2))
    url, _ = await serve(fake_engines(), ice_servers=[{"urls": "stun:127.0.0.1:1"}])
    with pytest.raises(SettingsError, match=r"--relay: .* names no TURN server"):
        await talk(TalkOptions(question, None, url, relay=True), Console(quiet=True))


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_a_call_through_a_relay_alone(serve, tmp_path):
    question = tmp_path / "question.wav"
    write_wav(question, np.concatenate([np.zeros(RATE // 2, np.int16), loud(0.8)]))
    async with coturn(tmp_path) as relay:
        server = {"urls": relay.url("udp"), "secret": SECRET, "used_by": "clients"}
        engines = fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you."))
        url, _ = await serve(engines, ice_servers=[server])
        transcript = await talk(TalkOptions(question, None, url, relay=True), Console(quiet=True))
        assert [turn.assistant for turn in transcript.turns] == ["Hello to you."]
        assert "ALLOCATE processed, success" in relay.said()
