"""``GET /metrics``: a conversation leaves the right figures behind, each counted once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from media.opus import RATE
from pipelines.engines.tts.phrases import CachedVoice
from pipelines.errors import LLMError, PipelineError
from pipelines.routing.definition import SHIPPED, ForwardingPolicy, load
from pipelines.routing.policy import Need
from pipelines.routing.routes.breaker import RestPolicy
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.speech import FallbackRecognizer
from pipelines.routing.run import Attempt, StageRecord
from pipelines.voice.events import (
    Problem,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    TranscriptFailed,
    TurnLatency,
)
from server.http.app import METRICS
from server.http.signaling.offer import REGISTRY
from server.observability.metrics import Metrics
from server.transports.interface import SessionCounts
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.peer import Peer, loud, picture_frame

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])
FAILURE = LLMError("llm_failed", "it is out of words")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


class Scrape:
    def __init__(self, text: str) -> None:
        self._values = samples(text)

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[name, tuple(sorted(labels.items()))]


async def scrape(url: str) -> Scrape:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return Scrape(await response.text())


def outcomes(get: Scrape) -> list[float]:
    return [get("visavis_turns_total", outcome=outcome) for outcome in ("completed", "interrupted", "failed")]


@pytest.fixture
async def metrics():
    engines = fake_engines()
    yield Metrics(engines)
    await engines.close()


def scraped(metrics: Metrics) -> Scrape:
    return Scrape(metrics.render().decode())


async def test_a_spoken_turn(serve):
    engines = fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you too."))
    url, app = await serve(engines)
    before = await scrape(url)
    assert outcomes(before) == [0, 0, 0]
    assert before("visavis_sessions") == 0
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        latency = await peer.event("turn.latency")
        await peer.event("output_audio_buffer.stopped")
        get = await scrape(url)
        assert get("visavis_sessions") == 1
    assert outcomes(get) == [1, 0, 0]
    assert get("visavis_barge_in_total") == 0
    backends = {"endpoint": "rules", "transcript": "fake-stt", "first_token": "fake-llm", "first_audio": "fake-tts"}
    for stage, backend in backends.items():
        assert get("pipeline_stage_duration_ms_count", stage=stage, backend=backend) == 1
    endpoint = get("pipeline_stage_duration_ms_sum", stage="endpoint", backend="rules")
    assert endpoint == pytest.approx(latency["parts"]["endpoint"], abs=1)
    total = get("pipeline_total_latency_ms_sum", pipeline="voice-assistant")
    assert total == pytest.approx(latency["voice_to_voice_ms"], abs=1)
    assert get("visavis_speculation_saved_ms_sum") == pytest.approx(latency["saved_ms"], abs=1)
    assert get("visavis_packets_lost_total") == 0
    assert get("process_resident_memory_bytes") > 1e6
    assert get("process_cpu_seconds_total") > 0
    await asyncio.gather(*app[REGISTRY]._tasks)
    assert (await scrape(url))("visavis_sessions") == 0


async def test_an_interrupted_turn(serve):
    llm = FakeModel("one two three four five six seven eight nine ten eleven twelve.", "Okay.")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("count please", "stop it"), llm=llm))
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        await peer.event("output_audio_buffer.started")
        peer.say(TURN, RATE)
        await peer.event("conversation.item.truncated")
        await peer.event("output_audio_buffer.stopped")
        get = await scrape(url)
    assert outcomes(get) == [1, 1, 0]
    assert get("visavis_barge_in_total") == 1


async def test_failure_forwarding_and_phrases(serve):
    models = [FakeModel(FAILURE, "Hi.", FAILURE, FAILURE), FakeModel("Hello.", FAILURE, "Hello.")]
    models[0].name, models[1].name = "served", "scripted"
    llm = FallbackModel(models, lambda *_: None, policy=RestPolicy(rest_seconds=0.0))
    url, _ = await serve(fake_engines(llm=llm, tts=CachedVoice(FakeVoice())))
    async with Peer(url) as peer:
        await peer.event("session.created")
        for n in range(4):
            peer.send({"type": "response.create"})
            await peer.event("response.done", n + 1)
            if n != 2:
                await peer.event("output_audio_buffer.stopped", min(n, 2) + 1)
        get = await scrape(url)
    assert outcomes(get) == [3, 0, 1]
    assert get("pipeline_forward_count", **{"from": "served", "to": "scripted"}) == 3
    assert get("visavis_phrase_cache_total", result="miss") == 2
    assert get("visavis_phrase_cache_total", result="hit") == 1


async def test_video_frames(serve):
    url, app = await serve()
    async with Peer(url, kinds=("video",)) as peer:
        await peer.show(lambda n: picture_frame(pts=n * 3000), lambda: peer.seen)
    await asyncio.gather(*app[REGISTRY]._tasks)
    get = await scrape(url)
    assert get("visavis_video_frames_total", direction="in") >= 1, "what an ended session counted stays"
    assert get("visavis_video_frames_total", direction="out") >= 1


async def test_the_scrape_needs_the_key(serve):
    url, _ = await serve(api_key="secret-key")
    async with aiohttp.ClientSession() as http:
        for header, status in (({}, 401), ({"Authorization": "Bearer secret-key"}, 200)):
            async with http.get(f"{url}/metrics", headers=header) as response:
                assert response.status == status


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([ResponseStarted("r", "i", True), ResponseGenerated("r", "")], [0, 0, 0]),
        ([ResponseStarted("r", "i", True), ResponseGenerated("r", ""), ResponseAudioStopped("r")], [1, 0, 0]),
        ([ResponseStarted("r", "i", False), ResponseGenerated("r", "")], [1, 0, 0]),
        ([ResponseStarted("r", "i", True), ResponseFailed("r", FAILURE, ""), ResponseAudioStopped("r")], [0, 0, 1]),
        (
            [
                ResponseStarted("r", "i", True),
                ResponseGenerated("r", ""),
                ResponseInterrupted("r", "turn_detected", "", 0.0),
            ],
            [0, 1, 0],
        ),
        ([ResponseStarted("r", "i", True), Problem(FAILURE), ResponseAudioStopped("r")], [1, 0, 0]),
        ([ResponseStarted("r", "i", True), Problem(PipelineError("vision_failed", "blind"))], [0, 0, 0]),
        ([TranscriptFailed("i", FAILURE)], [0, 0, 1]),
    ],
)
async def test_every_turn_has_one_outcome(metrics, events, expected):
    observe = metrics.observer()
    for event in events:
        observe(event)
    assert outcomes(scraped(metrics)) == expected


async def test_cutting_a_reply_off_by_a_button_is_no_barge_in(metrics):
    observe = metrics.observer()
    observe(ResponseStarted("r", "i", True))
    observe(ResponseInterrupted("r", "client_cancelled", "", 0.0))
    get = scraped(metrics)
    assert outcomes(get) == [0, 1, 0]
    assert get("visavis_barge_in_total") == 0


async def test_milliseconds_are_milliseconds(metrics):
    metrics.observer()(TurnLatency("r", 0.42, {"endpoint": 0.2, "first_audio": 0.22}, 0.1))
    get = scraped(metrics)
    assert get("pipeline_total_latency_ms_sum", pipeline="voice-assistant") == pytest.approx(420)
    assert get("pipeline_total_latency_ms_bucket", pipeline="voice-assistant", le="400.0") == 0
    assert get("pipeline_total_latency_ms_bucket", pipeline="voice-assistant", le="500.0") == 1
    assert get("visavis_speculation_saved_ms_sum") == pytest.approx(100)


class Counting:
    is_behind = True

    def __init__(self, *numbers: int) -> None:
        self._counts = SessionCounts(*numbers)

    def counts(self) -> SessionCounts:
        return self._counts


async def test_what_sessions_counted_is_summed_and_stays(metrics):
    first, second = Counting(1, RATE, 3, 4, 5, 6, 70, 8, 900, 1), Counting(10, RATE // 2, 30, 40, 50, 60, 30, 80, 100)
    metrics.join(first)
    metrics.join(second)
    for sessions in (2, 1, 1):
        get = scraped(metrics)
        assert get("visavis_sessions") == sessions
        assert get("visavis_events_dropped_total") == 11
        assert get("visavis_audio_concealed_seconds_total") == 1.5
        assert get("visavis_packets_lost_total") == 33
        assert get("visavis_video_frames_total", direction="in") == 44
        assert get("visavis_video_frames_total", direction="out") == 55
        assert get("visavis_vision_look_seconds_count") == 66
        assert get("visavis_vision_look_seconds_sum") == pytest.approx(0.1)
        assert get("visavis_vision_lag_seconds_count") == 88
        assert get("visavis_vision_lag_seconds_sum") == pytest.approx(1.0)
        assert get("visavis_vision_behind") == sessions
        assert get("visavis_video_timestamps_repaired_total") == 1
        metrics.leave(first)


async def test_two_applications_do_not_share_their_figures(serve):
    _, one = await serve()
    _, two = await serve()
    one[METRICS].turns.labels("completed").inc()
    assert outcomes(scraped(two[METRICS])) == [0, 0, 0]


def run_record(*attempts: Attempt) -> StageRecord:
    return StageRecord("think", "text_generation", list(attempts), started=0.1, first_output=0.2, ended=0.4)


async def test_a_single_run_is_counted_by_the_same_names(metrics):
    pipeline = load(SHIPPED / "voice-assistant.yaml").pipelines[0]
    records = [
        run_record(
            Attempt("hot", "cpu", "m", "", "hot"),
            Attempt("dead", "cpu", "m", "", "failed", seconds=0.1),
            Attempt("wrong", "cpu", "m", "", "unsure", seconds=0.1, confidence=0.0),
            Attempt("good", "cpu", "m", "", "served", seconds=0.1, confidence=0.9),
        ),
        run_record(
            Attempt("cpu", "cpu", "small", "", "unsure", seconds=0.1), Attempt("cpu", "cpu", "big", "", "served")
        ),
    ]
    metrics.observe_run(pipeline, records, 0.5)
    get = scraped(metrics)
    assert get("pipeline_stage_duration_ms_sum", stage="think", backend="good") == pytest.approx(300)
    assert get("pipeline_stage_confidence_count", stage="think") == 2
    assert get("pipeline_stage_confidence_bucket", stage="think", le="0.5") == 1
    assert get("pipeline_total_latency_ms_sum", pipeline="voice-assistant") == pytest.approx(500)
    for origin, target in (("hot", "dead"), ("dead", "wrong"), ("wrong", "good"), ("small", "big")):
        assert get("pipeline_forward_count", **{"from": origin, "to": target}) == 1


async def test_a_pipeline_may_not_want_to_be_measured(metrics):
    pipeline = load(SHIPPED / "voice-assistant.yaml").pipelines[0]
    quiet = pipeline.model_copy(update={"options": pipeline.options.model_copy(update={"collect_metrics": False})})
    metrics.observe_run(quiet, [run_record(Attempt("good", "cpu", "m", "", "served", confidence=0.9))], 0.5)
    assert "pipeline_total_latency_ms_count{" not in metrics.render().decode()
    engines = replace(fake_engines(), pipeline=quiet)
    try:
        silent = Metrics(engines)
        silent.observer()(TurnLatency("r", 0.42, {"endpoint": 0.2}, 0.1))
        assert "pipeline_total_latency_ms_count{" not in silent.render().decode()
    finally:
        await engines.close()


async def test_how_sure_a_conversation_is_shows():
    recogniser = FakeRecognizer("hello")
    engines = fake_engines(stt=FallbackRecognizer([recogniser], lambda *_: None))
    try:
        metrics = Metrics(engines)
        engines.voice.stt.tell(0.7)
        assert scraped(metrics)("pipeline_stage_confidence_sum", stage="listen") == pytest.approx(0.7)
    finally:
        await engines.close()


async def test_a_call_does_not_wait_for_a_model_that_is_late(serve):
    late, quick = FakeModel("Never heard."), FakeModel("In time.")
    late.name, quick.name = "late", "quick"
    late.gate.clear()
    need = Need(policy=ForwardingPolicy(enable_latency_check=True, max_latency_ms=20.0))
    llm = FallbackModel([late, quick], lambda *_: None, need=need)
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=llm))
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        done = await peer.event("response.done")
        get = await scrape(url)
    assert "In time." in str(done)
    assert get("pipeline_forward_count", **{"from": "late", "to": "quick"}) == len(late.requests) == late.cancelled
