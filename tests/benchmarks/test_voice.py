"""The measuring client: what it measures against the real server, and how its ear and mouth reckon."""

from __future__ import annotations

import io
import json
import math

import aiohttp
import numpy as np
import pytest
from rich.console import Console

from media.audio_out import AudioOut
from media.channel import Channel
from media.frames import AudioChunk
from media.opus import FRAME, FRAME_SECONDS, RATE, OpusEncoder
from pipelines.engines.stubs import TONES, BenchModel, BenchRecognizer, BenchVoice
from server.headless.network import Network, NetworkOptions
from server.headless.sounds import write_wav
from server.settings import SettingsError
from server.transports.webrtc.tracks import echo
from tests.benchmarks.voice import BenchOptions, bench, main, problem, summary
from tests.benchmarks.voice_ear import Ear
from tests.benchmarks.voice_sound import Microphone, burst, speech, speech_from
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock
from tests.fakes.peer import loud


def bench_engines(seconds: float):
    return fake_engines(stt=BenchRecognizer(), llm=BenchModel(), tts=BenchVoice(seconds))


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "speech.wav"
    write_wav(path, np.concatenate([np.zeros(RATE // 10, np.int16), loud(0.8), np.zeros(RATE // 10, np.int16)]))
    return path


def is_figure(figure, n) -> bool:
    in_order = 0 < figure["median"] <= figure["p95"] <= figure["worst"] < math.inf
    return in_order and figure["n"] == n


# ---------------------------------------------------------------------------------------- a bad network


def test_loss_is_random_at_its_rate_and_the_same_with_the_same_seed():
    delays = [Network(NetworkOptions(loss_percent=3.0), seed=1) for _ in range(2)]
    first, second = ([network.delay(n * FRAME_SECONDS) for n in range(3000)] for network in delays)
    assert first == second
    assert 50 < first.count(None) == delays[0].lost < 130
    assert set(first) == {None, 0.0}


def test_jitter_spreads_evenly_and_loses_nothing():
    network = Network(NetworkOptions(jitter_ms=20.0), seed=2)
    delays = [network.delay(0.0) for _ in range(1000)]
    assert 0.0 <= min(delays) < 0.001 < 0.019 < max(delays) < 0.02
    assert network.lost == 0


def test_a_burst_is_lost_once_at_its_time():
    network = Network(NetworkOptions(burst=5, burst_at=1.0), seed=3)
    lost = [n for n in range(200) if network.delay(7.0 + n * FRAME_SECONDS) is None]
    assert lost == [50, 51, 52, 53, 54]


async def test_a_bad_network_is_met_by_the_server_and_told(serve, wav):
    url, _ = await serve(bench_engines(0.4))
    options = BenchOptions(url, turns=1, wav=wav, network=NetworkOptions(loss_percent=10.0, jitter_ms=20.0))
    report = await bench(options, Console(file=io.StringIO()))
    assert not report["missed"]
    assert report["packets_lost_on_the_way"] > 0
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        text = await response.text()
    concealed = [line for line in text.splitlines() if line.startswith("visavis_audio_concealed")]
    assert any(float(line.split()[-1]) > 0 for line in concealed if "_created" not in line), concealed


# ---------------------------------------------------------------------------------------- against the server


async def test_voice_of_two_sessions_is_measured(serve, wav):
    url, _ = await serve(bench_engines(0.6))
    out = io.StringIO()
    options = BenchOptions(url, turns=2, sessions=2, wav=wav)
    report = await bench(options, Console(file=out, width=120))
    assert not report["missed"]
    assert is_figure(report["figures"]["voice_to_voice_ms"], 4)
    assert is_figure(report["figures"]["connect_ms"], 2)
    assert set(report["figures"]) == {"connect_ms", "voice_to_voice_ms"}
    for stream in report["streams"]:
        assert (stream["lost"], stream["breaks"]) == (0, 0)
        assert 2 * 0.5 < stream["reply_packets"] * FRAME_SECONDS < 2 * 1.0
        assert stream["max_gap_ms"] >= 20 * 0.5
    assert "end of speech → first sound of the reply" in out.getvalue()


@pytest.mark.long
async def test_an_interruption_is_seen_to_duck_and_to_stop_the_reply(serve, wav):
    url, _ = await serve(bench_engines(12.0))
    report = await bench(BenchOptions(url, "barge", turns=1, wav=wav, as_json=True), Console(file=io.StringIO()))
    assert not report["missed"]
    figures = report["figures"]
    assert is_figure(figures["stop_ms"], 1)
    assert is_figure(figures["duck_ms"], 1)
    assert figures["duck_ms"]["median"] <= figures["stop_ms"]["median"]
    assert report["figures"]["stop_ms"]["median"] < 4000  # the tone would have gone on until then


async def test_the_echo_brings_the_burst_back(serve):
    url, _ = await serve(bench_engines(1.0), profile="bench", bench_echo=True)
    out = io.StringIO()
    report = await bench(BenchOptions(url, "echo", turns=3, as_json=True), Console(file=out))
    assert not report["missed"]
    assert is_figure(report["figures"]["echo_ms"], 3)
    (stream,) = report["streams"]
    assert (stream["lost"], stream["breaks"]) == (0, 0)
    assert 3 * 4 <= stream["reply_packets"] <= 3 * 9
    assert json.loads(out.getvalue()) == report
    assert set(report) == {
        "each_turn",
        "packets_lost_on_the_way",
        "url",
        "mode",
        "sessions",
        "turns",
        "missed",
        "early",
        "figures",
        "streams",
        "microphone_late_ms",
    }


async def test_a_server_that_does_not_echo_is_told(serve, monkeypatch):
    monkeypatch.setattr("tests.benchmarks.voice_session.ANSWER_SECONDS", 0.3)
    url, _ = await serve()
    out = io.StringIO()
    report = await bench(BenchOptions(url, "echo", turns=1), Console(file=out, width=200))
    assert sum(report["missed"].values()) == 1
    assert "--bench-echo" in out.getvalue()
    assert (
        problem(report)
        == "nothing was understood: no echo was heard (is the server run with --profile bench --bench-echo?)"
    )
    assert "nothing was understood" in out.getvalue()


async def test_the_echo_keeps_no_delay():
    """Of frames that come all at once, sound may wait and quiet may not."""
    for amplitude, kept in ((9000.0, 3), (0.0, 1)):
        chunks, out = Channel[AudioChunk](10), AudioOut(FakeClock())
        for n in range(5):
            chunks.put(AudioChunk(tone(1000.0, 0.02, amplitude), RATE, n * 0.02))
        chunks.close()
        await echo(chunks, out)
        assert out.mixer._playout is not None
        out.mixer._playout.take(10 * FRAME)
        assert out.mixer._playout.heard_seconds == pytest.approx(kept * FRAME_SECONDS)


@pytest.mark.parametrize("arguments", [("--mode", "echo", "--url", "http://127.0.0.1:9"), ("--turns", "0")])
def test_no_server_and_no_turns_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


# ---------------------------------------------------------------------------------------- mouth and ear alone


def test_where_speech_ends_is_known():
    sound = np.concatenate([np.zeros(RATE // 2, np.int16), loud(0.5), np.zeros(RATE // 2, np.int16)])
    clip = speech_from(sound)
    assert clip.seconds == pytest.approx(0.5, abs=0.01)
    assert clip.first == pytest.approx(RATE // 2 + 2 * FRAME, abs=RATE // 100)
    assert len(clip.packets) * FRAME >= len(sound)


async def test_without_a_file_a_question_is_synthesised():
    assert 1.0 < (await speech(None)).seconds < 5.0


def test_silence_is_nothing_to_say():
    with pytest.raises(SettingsError, match="nothing to be heard"):
        speech_from(np.zeros(RATE, np.int16))


async def test_a_frame_leaves_at_the_end_of_its_capture():
    class SelfAdvancingClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            self.advance(max(0.0, seconds))

    clock = SelfAdvancingClock(100.0)
    microphone = Microphone(clock)
    await microphone.recv()
    clip = burst()
    said = microphone.say(clip)
    packet = await microphone.recv()
    assert bytes(packet) == clip.packets[0]
    assert said.first == pytest.approx(clock.now() - FRAME_SECONDS + clip.first / RATE)
    assert said.last == pytest.approx(said.first + 0.1)


class Stream:
    """Packets for an ear, 20 ms apart."""

    def __init__(self) -> None:
        self.clock = FakeClock(10.0)
        self.ear = Ear(self.clock)
        self.encoder = OpusEncoder()
        self.number = 65_530

    def send(self, samples: np.ndarray, *, lose: bool = False) -> None:
        for frame in samples.reshape(-1, FRAME):
            payload = bytes(self.encoder.encode(frame, 0))
            if not lose:
                self.ear.packet(1, self.number % 65_536, self.number * FRAME % 2**32, payload)
            self.number += 1
            self.clock.advance(FRAME_SECONDS)


def tone(hertz: float, seconds: float, amplitude: float = 9000.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


SILENCE = np.zeros(20 * FRAME, np.int16)


def test_replies_are_told_apart_by_silence_and_by_tone():
    stream = Stream()
    for piece in (tone(TONES[0], 0.4), tone(TONES[1], 0.4), SILENCE, tone(TONES[1], 0.2), SILENCE):
        stream.send(piece)
    replies = stream.ear.replies
    assert [reply.tone for reply in replies] == [0, 1, 1]
    assert [reply.start for reply in replies] == pytest.approx([10.0, 10.4, 11.2], abs=0.025)
    assert stream.ear.quiet_for() == pytest.approx(0.4, abs=0.03)


def test_what_is_lost_late_and_broken_is_counted():
    stream = Stream()
    stream.send(tone(TONES[0], 0.2))
    stream.send(tone(TONES[0], 0.04), lose=True)
    stream.clock.advance(0.1)
    stream.send(tone(TONES[0], 0.2))
    whole = stream.ear.quality()
    assert (whole.packets, whole.lost, whole.breaks) == (20, 2, 0)
    assert whole.late60_percent == pytest.approx(50.0)
    assert whole.max_gap_ms == pytest.approx(160.0)
    stream.ear.packet(1, stream.number % 65_536, (stream.number + 7) * FRAME % 2**32, b"")
    assert stream.ear.quality().breaks == 1


def test_ducking_is_found_where_it_stays_soft():
    stream = Stream()
    for amplitude in (9000.0, 3000.0, 9000.0, 2000.0):
        stream.send(tone(TONES[0], 0.4, amplitude))
    stream.send(SILENCE)
    (reply,) = stream.ear.replies
    assert stream.ear.ducked_at(reply, 10.3) == pytest.approx(11.2, abs=0.025)
    assert stream.ear.ducked_at(reply, 9.0) is None


def test_some_turns_missed_are_a_measurement_and_all_of_them_are_none():
    assert problem({"turns": 3, "missed": {"no reply was heard": 2}}) == ""
    assert problem({"turns": 2, "missed": {"no reply was heard": 2}}) == "nothing was understood: no reply was heard"


def test_summary():
    assert summary([]) is None
    assert summary(range(1, 102)) == {"median": 51, "p95": 96, "worst": 101, "n": 101}
