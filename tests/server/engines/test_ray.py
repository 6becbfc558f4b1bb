"""Engines of a Ray cluster in a server: asked first, told of, and replaced by those of this machine when away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.definitions.mapping import Backend
from pipelines.engines.remote.engines import Patience
from pipelines.engines.remote.link import REST_SECONDS, Link
from pipelines.engines.remote.replica import Loaded, Replica
from pipelines.engines.remote.rows import Place, Row
from pipelines.engines.remote.wire import Asker, Failed, Heard
from pipelines.errors import ModelError, PipelineError
from pipelines.foresight.filming import Filmed, Scene
from pipelines.foresight.quality import Grain
from pipelines.foresight.service import Foresight, Generator
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.task import Done
from pipelines.interfaces.tts import Speech
from pipelines.routing.definition import SHIPPED, load
from server.engines.parts import Parts
from server.engines.remote.engines import Servers
from server.engines.remote.ray import RayEngines
from server.engines.remote.replicas import build, check, flags_of
from server.engines.stages import llm, stt, tts
from server.settings import SettingsError, load_settings
from tests.fakes.clock import FakeClock
from tests.fakes.ray_bridge import Cluster
from tests.fakes.ray_engines import Brain, Doer, Ears, Voice
from tests.patience import PATIENCE

AWAY = Failed("unreachable", "no Ray cluster answers at head:6379")
ALL = {
    "stt": Loaded("stt", Ears("large-ears"), "large-ears", "cuda"),
    "llm": Loaded("llm", Brain("large-brain"), "large-brain", "cuda"),
    "tts": Loaded("tts", Voice("fine-voice"), "fine-voice", "cuda"),
}


class Server:
    """What a server is composed of, with a cluster that is made up."""

    def __init__(self, cache: Path, cluster: Cluster, *stages: str) -> None:
        settings = load_settings({"cache": cache, "profile": "embedded", "download": False})
        self.parts = Parts(settings, load(SHIPPED / "voice-assistant.yaml"), lambda words: None)
        self.clock = self.parts.clock = FakeClock()
        self.link = Link("head:6379", "app", cluster.start, self.clock)
        self.ray = self.parts.ray = RayEngines(self.link, stages, Patience(5, 5, 5))
        self.ray.begin()

    def row(self, stage: str) -> Any:
        return next(row for row in self.parts.choices.status() if row.stage == stage)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Server] = []

    def server(cluster: Cluster, *stages: str) -> Server:
        made.append(Server(tmp_path, cluster, *stages))
        return made[-1]

    yield server
    for one in made:
        await one.ray.close()


async def heard(recogniser: Any) -> str:
    recognition = await recogniser.open()
    try:
        await recognition.feed(np.zeros(1600, np.int16))
        transcript: Transcript = await recognition.transcript()
        return transcript.text
    finally:
        await recognition.close()


async def test_engines_on_ray_serve_the_conversation_first(servers) -> None:
    server = servers(Cluster(**ALL), "stt", "llm", "tts")
    ears, brain, voice = [await stage(server.parts) for stage in (stt, llm, tts)]
    assert (await heard(ears)).startswith("1600 samples")
    request = ChatRequest((Message("user", "2"),))
    assert "".join([str(piece) async for piece in brain.stream(request)]) == "0 1 "
    assert [len(piece.samples) async for piece in voice.synthesize("one two")] == [1600, 1600]
    assert voice.voices[:2] == ("low", "high")
    assert brain.takes_images
    rows = {row.stage: row for row in server.parts.choices.status()}
    assert [rows[stage].engine for stage in ALL] == ["ray large-ears", "ray large-brain", "ray fine-voice"]
    assert all(row.ok and row.device == "-" for row in rows.values())
    assert rows["stt"].reason == "on Ray at head:6379, on cuda; the engines of this machine stand by"
    await asyncio.gather(ears.close(), brain.close(), voice.close())


async def test_a_cluster_that_is_away_is_waited_for_by_nobody_and_serves_once_it_is_there(servers) -> None:
    cluster = Cluster(**ALL)
    cluster.away = AWAY
    server = servers(cluster, "tts")
    voice = await tts(server.parts)
    pieces = [piece async for piece in voice.synthesize("hello")]
    assert isinstance(pieces[0], Speech)
    await asyncio.sleep(0)
    row = server.row("tts")
    assert (row.engine, row.ok, row.wanted) == ("espeak-ng", False, "ray tts")
    assert "no Ray cluster answers" in row.reason
    cluster.away = None
    probing = asyncio.create_task(voice.keep_probing())
    for _ in range(200):
        if voice.serving == "ray fine-voice":
            break
        server.clock.advance(REST_SECONDS)
        for _ in range(50):
            await asyncio.sleep(0)
    probing.cancel()
    assert voice.serving == "ray fine-voice"
    assert [len(piece.samples) async for piece in voice.synthesize("one")] == [1600]
    await voice.close()


async def test_how_the_replicas_are_is_told_and_told_again(servers) -> None:
    server = servers(Cluster(**ALL), "tts")
    voice = await tts(server.parts)
    (keep,) = [work for work in server.parts.upkeep if "keep_looking" in repr(work)]
    looking = asyncio.create_task(keep())
    reason = "on Ray at head:6379, on cuda, 2 of 3 replicas; the engines of this machine stand by"
    told = asyncio.Event()
    stop = server.parts.choices.on_change(told.set)
    async with asyncio.timeout(PATIENCE):
        while server.row("tts").reason != reason:
            await told.wait()
            told.clear()
    stop()
    looking.cancel()
    assert server.ray.status() == {
        "address": "head:6379",
        "application": "app",
        "connected": True,
        "problem": None,
        "engines": {
            "tts": {"engine": "fine-voice", "device": "cuda", "status": "RUNNING", "replicas": 3, "running": 2}
        },
    }
    await voice.close()


async def test_what_is_not_deployed_is_told_by_its_name(servers) -> None:
    server = servers(Cluster(), "llm")
    problem = await server.ray.known("llm")
    assert problem is not None
    assert problem.code == "llm_not_deployed"
    await server.ray.look()
    assert "there is no app-llm" in server.ray.status()["problem"]


async def test_pipelines_name_a_cluster_as_a_backend(servers) -> None:
    doer = Loaded("image-classification", Doer("clip"), "clip")
    server = servers(Cluster(**ALL, **{"image-classification": doer}))
    backend = Backend(id="gpus", kind="ray")
    ray = Servers(lambda name: None, server.ray)
    assert (await heard(ray.engine(backend, "stt", "", ""))).startswith("1600 samples")
    task = ray.engine(backend, None, "", "image-classification")
    assert await task.runner.run({"image": b"x"}) == Done({"inputs": {"image": b"x"}, "parameters": None})
    with pytest.raises(PipelineError, match="ray_address") as caught:
        Servers(lambda name: None).engine(backend, "stt", "", "")
    assert caught.value.code == "no_backend"


@pytest.mark.parametrize("given", [{"base_url": "http://x/v1"}, {"api_key_env": "KEY"}])
def test_the_address_of_a_cluster_is_no_word_of_a_pipeline(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="openai or visavis"):
        Backend(id="gpus", kind="ray", **given)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------- predictions


async def test_a_film_that_another_machine_does_not_make_is_made_here(servers) -> None:
    server = servers(Cluster())
    foresight, events = Foresight(generator=Generator(server.ray.filmer(), elsewhere=True)), []

    async def take(event: object) -> None:
        events.append(event)

    await foresight.foresee(Scene(np.zeros((48, 64, 3), np.uint8)), "low", take)
    foresight.close()
    kinds = [type(event).__name__ for event in events]
    assert "VideoStartedOver" in kinds
    assert "VideoDone" in kinds
    assert "VideoFailed" not in kinds


async def test_a_film_of_another_machine_is_taken(servers) -> None:
    class Filmer:
        method, model = "generated", "ltx"
        grain = Grain()

        async def film(self, scene: Scene, first: Any, plan: Any) -> AsyncIterator[Filmed]:
            for _ in range(plan.frames - 1):
                yield Filmed(first, None)

    server = servers(Cluster(foresight=Loaded("foresight", Filmer(), "ltx")))
    foresight, events = Foresight(generator=Generator(server.ray.filmer(), elsewhere=True)), []

    async def take(event: object) -> None:
        events.append(type(event).__name__)

    await foresight.foresee(Scene(np.zeros((48, 64, 3), np.uint8)), "low", take)
    foresight.close()
    assert "VideoDone" in events
    assert "VideoStartedOver" not in events


# -------------------------------------------------------------------------------------------------- what replicas load


@pytest.mark.parametrize(("stage", "model"), [("tts", "espeak-ng"), ("llm", "starter"), ("tts", "bench")])
async def test_a_replica_loads_the_engines_of_a_server(stage: str, model: str, tmp_path: Path) -> None:
    loaded = await build(Row(stage=stage, model=model), Place(cache=tmp_path, download=False))
    replica = Replica(loaded)
    if stage == "tts":
        pieces = [piece async for piece in replica.speak("hello", None, 1.0, Asker())]
        assert all(isinstance(piece, Speech) for piece in pieces)
    else:
        request = ChatRequest((Message("system", "You are visavis."), Message("user", "hello")))
        pieces = [piece async for piece in replica.chat(request, Asker())]
        assert not [piece for piece in pieces if isinstance(piece, Failed)]
    assert pieces
    await loaded.engine.close()


async def test_a_replica_hears_with_the_stub_of_the_benchmark(tmp_path: Path) -> None:
    loaded = await build(Row(stage="stt", model="bench"), Place(cache=tmp_path, download=False))
    (told,) = await Replica(loaded).transcribe([Heard(np.zeros(160, np.int16))])
    assert isinstance(told, Transcript)
    assert told.text


@pytest.mark.parametrize(("stage", "model"), [("stt", "auto"), ("llm", "openai"), ("ocr", "auto")])
async def test_a_replica_without_its_model_does_not_serve(stage: str, model: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        await build(Row(stage=stage, model=model), Place(cache=tmp_path, download=False))


def test_a_row_becomes_the_settings_of_a_server() -> None:
    row = Row(stage="stt", model="whisper-base", device="cuda", language="de")
    flags = flags_of(row, Place(models=Path("/srv/models")))
    assert load_settings(flags).stt_model == "whisper-base"
    assert flags["device"] == "cuda"
    assert flags["language"] == "de"
    assert flags["models"] == Path("/srv/models")


@pytest.mark.parametrize(
    "variable", ["LLM_URL=http://a/v1", "LLM_API_KEY=k", "WORKER_MEMORY_MB=2048", "CHAT_MODEL=starter", "LANGUAGE=de"]
)
@pytest.mark.parametrize(
    "row", [Row(stage="llm", model="smollm2-360m-instruct"), Row(stage="stt", model="bench", language="de")]
)
def test_a_row_is_loaded_whatever_the_environment_of_a_node_says(row, variable, monkeypatch) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(f"VISAVIS_{name}", value)
    check(row, Place())


# -------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"remote_stages": "stt"}, "needs ray_address"),
        ({"ray_application": "other"}, "needs ray_address"),
        ({"ray_address": "ray://head:10001"}, "auto"),
        ({"ray_address": "head"}, "HOST:PORT"),
        ({"ray_address": "auto", "remote_stages": "stt,ears"}, "legal values are stt, llm, tts, foresight"),
        ({"ray_address": "auto", "remote_stages": "stt,stt"}, "twice"),
        ({"ray_address": "auto", "remote_stages": "stt", "profile": "bench"}, "profile bench"),
        ({"ray_address": "auto", "remote_stages": "foresight", "foresight_generator": "/x"}, "foresight_generator"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(flags)


def test_the_settings_say_who_is_asked() -> None:
    settings = load_settings({"ray_address": "[::1]:6379", "remote_stages": "stt, tts", "remote_seconds": 1.5})
    assert settings.remote_stages == ("stt", "tts")
    ray = RayEngines.of(settings)
    assert ray is not None
    assert ray.stages == ("stt", "tts")
    assert RayEngines.of(load_settings({})) is None
