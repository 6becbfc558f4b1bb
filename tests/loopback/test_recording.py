"""A session is recorded when its client asks for that, and only where the server allows it."""

from __future__ import annotations

import json
import wave

import aiohttp
import numpy as np
import pytest

from media.opus import RATE
from media.video_files import Reading, read
from server.http.openapi.status_shapes import Recorded, RecordingGone
from server.recordings import files as recorded
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer
from tests.loopback.test_video import Camera


def asked(enabled: bool, **more: bool) -> dict:
    return {"type": "session.update", "session": {"type": "realtime", "recording": {"enabled": enabled, **more}}}


def loud(seconds: float) -> np.ndarray:
    return (8000 * np.sin(np.arange(int(seconds * RATE)) * 0.05)).astype(np.int16)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_both_voices_the_picture_and_the_events_are_recorded_read_and_deleted(serve, http, tmp_path):
    engines = fake_engines(stt=FakeRecognizer("hello"), llm=FakeModel("One two three four."))
    url, _ = await serve(engines, recordings=tmp_path)
    camera = Camera()
    async with Peer(url, kinds=("audio", "video")) as peer:
        await peer.event("session.created")
        here = f"{url}/v1/sessions/{peer.answer['session_id']}/recording"
        assert (await http.get(here)).status == 404
        peer.send(asked(True, video=True))
        on = await peer.event("recording.changed")
        assert (on["state"], on["reason"]) == ("on", None)
        assert (await peer.event("session.updated"))["session"]["recording"] == {"enabled": True, "video": True}
        await peer.show(lambda n: camera.frame(), lambda: len(peer.seen) > 5)
        peer.say(loud(1.0), RATE)
        await peer.show(lambda n: camera.frame(), lambda: peer.named("output_audio_buffer.stopped"))
        told = await (await http.get(here)).json()
        Recorded.model_validate(told)
        assert told["state"] == "recording"
        peer.send(asked(False))
        off = await peer.event("recording.changed", 2)
        assert (off["state"], off["reason"]) == ("off", "asked")
        assert off["seconds"] > 1.0
        told = await (await http.get(here)).json()
        assert told["state"] == "done"
        kinds = {file["type"]: file for file in told["files"]}
        assert set(kinds) == {"audio/wav", "video/webm", "application/jsonl"}

        sound = await http.get(url + kinds["audio/wav"]["url"])
        assert (sound.status, sound.content_type) == (200, "audio/wav")
        (tmp_path / "copy.wav").write_bytes(await sound.read())
        with wave.open(str(tmp_path / "copy.wav")) as file:
            heard = np.frombuffer(file.readframes(10**8), "<i2").reshape(-1, 2).astype(int)
        loud_user, loud_assistant = (np.abs(heard[:, side]) > 2000 for side in (0, 1))
        assert 0.5 < loud_user.sum() / 24_000 < 1.5
        assert loud_assistant.sum() / 24_000 > 0.5
        assert np.flatnonzero(loud_user)[0] < np.flatnonzero(loud_assistant)[0], "in the order in which they spoke"

        part = await http.get(url + kinds["audio/wav"]["url"], headers={"Range": "bytes=0-3"})
        assert (part.status, await part.read()) == (206, b"RIFF")
        beyond = await http.get(url + kinds["audio/wav"]["url"], headers={"Range": "bytes=99999999-"})
        assert beyond.status == 416

        lines = (await (await http.get(url + kinds["application/jsonl"]["url"])).text()).splitlines()
        events = [json.loads(line) for line in lines]
        assert {"conversation.item.input_audio_transcription.completed", "response.done", "turn.words"} <= {
            event["type"] for event in events
        }
        assert [event["at"] for event in events] == sorted(event["at"] for event in events)

        film = await (await http.get(url + kinds["video/webm"]["url"])).read()
        assert len(list(read(film, Reading(60.0, sound=False)))) > 5

        gone = await (await http.delete(here)).json()
        RecordingGone.model_validate(gone)
        assert (await http.get(here)).status == 404
        assert not list(tmp_path.glob("sess_*"))


async def test_where_nothing_may_be_recorded_it_is_refused(serve, http):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send(asked(True))
        error = (await peer.event("error"))["error"]
        assert (error["code"], error["param"]) == ("recording_not_allowed", "session.recording.enabled")
        assert (await http.get(f"{url}/v1/sessions/{peer.answer['session_id']}/recording")).status == 404


async def test_a_recording_ends_at_its_limit_and_with_the_disk_and_the_call_goes_on(serve, tmp_path, monkeypatch):
    url, _ = await serve(recordings=tmp_path, recording_minutes=0.01)
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send(asked(True))
        off = await peer.event("recording.changed", 2)
        assert (off["state"], off["reason"]) == ("off", "time_limit")
        peer.send(asked(True))
        assert (await peer.event("recording.changed", 4))["reason"] == "time_limit", "it is the session's limit"
    monkeypatch.setattr(recorded, "LEAST_FREE_MB", 1 << 40)
    url, _ = await serve(recordings=tmp_path)
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send(asked(True))
        assert (await peer.event("recording.changed", 2))["reason"] == "disk_full"
        assert peer.pc.connectionState == "connected"
        assert not peer.named("error")


async def test_a_recording_is_whole_when_the_peer_has_gone(serve, http, tmp_path):
    url, app = await serve(recordings=tmp_path)
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send(asked(True))
        await peer.event("recording.changed")
        await peer.say(loud(0.5), RATE).ended.wait()
        await peer.event("input_audio_buffer.speech_started")
    from server.http.signaling.offer import REGISTRY

    await app[REGISTRY].close_all(5.0)
    told = await (await http.get(f"{url}/v1/sessions/{peer.answer['session_id']}/recording")).json()
    assert told["state"] == "done"
    assert told["seconds"] > 0.3
