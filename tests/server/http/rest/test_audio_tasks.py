"""``/v1/audio/voices`` and ``/detect-language``, on tasks that answer as told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pipelines.interfaces.task import Done, Job, TaskError
from pipelines.tasks.audio import audio_language_detection, voice_cloning
from pipelines.tasks.audio.text_to_speech import spoken
from server.http.access.load import LOAD
from server.http.errors import errors
from server.http.openapi.audio_tasks import AUDIO_TASKS
from server.http.rest.routes import add_rest
from server.load.state import Load
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock
from tests.fakes.sounds import as_samples, noise_file, tone_file
from tests.server.http.rest.clients import seconds_of

SPECS = {"voice-cloning": voice_cloning.SPEC, "audio-language-detection": audio_language_detection.SPEC}


class Tasks:
    """Both tasks, done by ``answer``; ``why`` there are none."""

    def __init__(self) -> None:
        self.why = ""
        self.jobs: list[Job[Any, Any]] = []
        self.answer: Any = None

    def models(self, task: str) -> list[str]:
        return [] if self.why else ["tiny"]

    def why_not(self, task: str) -> str:
        return self.why

    def runner(self, task: str, model: str = "auto") -> Any:
        if self.why:
            raise TaskError("model_not_here", self.why)
        return Runner(self, SPECS[task])


class Runner:
    def __init__(self, tasks: Tasks, spec: Any) -> None:
        self.tasks, self.spec = tasks, spec

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        self.tasks.jobs.append(
            Job(self.spec.inputs.model_validate(inputs), self.spec.parameters.model_validate(parameters or {}))
        )
        if isinstance(self.tasks.answer, Exception):
            raise self.tasks.answer
        return Done(self.tasks.answer)


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


async def nobody() -> None:
    """No embedding model is here."""


@pytest.fixture
async def client(tasks: Tasks) -> AsyncIterator[TestClient]:
    app = web.Application(middlewares=[errors], client_max_size=32 << 20)
    app[LOAD] = Load(FakeClock())
    engines = fake_engines()
    add_rest(app, engines, nobody, tasks)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client
    await engines.close()


def form(**fields: Any) -> aiohttp.FormData:
    """Bytes are files."""
    made = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        extra = {"filename": "voice.wav"} if isinstance(value, bytes) else {}
        made.add_field(name, value, **extra)
    return made


async def refusal(answer: aiohttp.ClientResponse) -> tuple[int, str, str | None]:
    error = (await answer.json())["error"]
    return answer.status, error["code"], error["param"]


async def given(client: TestClient, field: str = "file") -> str:
    """A voice's id."""
    answer = await client.post("/v1/audio/voices", data=form(name="Anna", consent="true", **{field: noise_file(2.0)}))
    assert answer.status == 200, await answer.text()
    made = await answer.json()
    assert made == {"id": made["id"], "object": "audio.voice", "name": "Anna"}
    return made["id"]


async def test_a_voice_that_was_given_speaks(
    client: TestClient, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    voice = await given(client, "audio_sample")
    tasks.answer = spoken([as_samples(noise_wave(1.0)) / 32768.0], 24_000)
    body = {"input": "Good morning. It rains.", "voice": voice, "response_format": "wav"}
    answer = await client.post("/v1/audio/speech", json=body)
    assert answer.status == 200
    assert seconds_of(await answer.read()) == pytest.approx(len(tasks.jobs))
    assert " ".join(job.inputs.inputs for job in tasks.jobs) == "Good morning. It rains."
    assert all(job.parameters.consent for job in tasks.jobs)
    assert len(tasks.jobs[0].inputs.reference) == 44 + 2 * 2 * 24_000, "two seconds at 24 kHz"
    assert await refusal(await client.post("/v1/audio/speech", json={**body, "speed": 2})) == (
        400,
        "unsupported_value",
        "speed",
    )
    deleted = await client.delete(f"/v1/audio/voices/{voice}")
    assert await deleted.json() == {"id": voice, "object": "audio.voice.deleted", "deleted": True}
    assert (await refusal(await client.post("/v1/audio/speech", json=body)))[2] == "voice"
    assert (await refusal(await client.delete(f"/v1/audio/voices/{voice}")))[0] == 404
    assert "RIFF" not in caplog.text and "Anna" not in caplog.text


def noise_wave(seconds: float) -> Any:
    import numpy as np

    return 0.1 * np.random.default_rng(2).standard_normal(round(seconds * 24_000))


async def test_a_task_that_fails_is_told(client: TestClient, tasks: Tasks) -> None:
    voice = await given(client)
    tasks.answer = TaskError("task_failed", "the model is broken")
    answer = await client.post("/v1/audio/speech", json={"input": "Hello.", "voice": voice})
    assert answer.status >= 500 and "broken" in await answer.text()


async def test_without_a_model_nobody_is_cloned(client: TestClient, tasks: Tasks) -> None:
    tasks.why = "put one into the folder of --models"
    answer = await client.post("/v1/audio/voices", data=form(name="Anna", consent="true", file=noise_file(2.0)))
    assert answer.status == 501 and "--models" in await answer.text()
    assert await refusal(answer) == (501, "model_not_here", None)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"name": "Anna", "file": noise_file(2.0)}, "missing_parameter", "consent"),
        ({"name": "Anna", "consent": "false", "file": noise_file(2.0)}, "invalid_value", "consent"),
        ({"consent": "true", "file": noise_file(2.0)}, "missing_parameter", "name"),
        ({"name": "Anna", "consent": "true"}, "missing_parameter", "file"),
        ({"name": "Anna", "consent": "true", "file": b"no sound"}, "invalid_value", "file"),
        ({"name": "Anna", "consent": "true", "file": tone_file(0.5)}, "invalid_value", "file"),
        ({"name": "Anna", "consent": "true", "file": tone_file(31.0, 8_000)}, "input_too_long", "file"),
        ({"name": "Anna", "consent": "true", "file": tone_file(2.0), "url": "x"}, "unknown_parameter", "url"),
    ],
)
async def test_a_voice_that_will_not_do_is_refused(
    client: TestClient, fields: dict[str, Any], code: str, param: str
) -> None:
    answer = await client.post("/v1/audio/voices", data=form(**fields))
    assert await refusal(answer) == (400, code, param)


async def test_there_are_so_many_voices_at_most(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.rest.voices.MOST_VOICES", 1)
    voice = await given(client)
    answer = await client.post("/v1/audio/voices", data=form(name="Anna", consent="true", file=noise_file(2.0)))
    assert await refusal(answer) == (409, "too_many_voices", None)
    await client.delete(f"/v1/audio/voices/{voice}")
    fields = {"name": "Anna", "consent": "true"}
    posts = [client.post("/v1/audio/voices", data=form(**fields, file=noise_file(2.0))) for _ in range(3)]
    assert sorted(answer.status for answer in await asyncio.gather(*posts)) == [200, 409, 409]


async def test_a_language_is_told_as_by_whisper_asr_webservice(client: TestClient, tasks: Tasks) -> None:
    tasks.answer = [{"label": "de", "score": 0.75}]
    answer = await client.post("/detect-language?encode=true", data=form(audio_file=tone_file()))
    assert await answer.json() == {"detected_language": "german", "language_code": "de", "confidence": 0.75}
    assert tasks.jobs[0].inputs.inputs == tone_file()


async def test_a_language_that_cannot_be_told_is_refused(client: TestClient, tasks: Tasks) -> None:
    wrong = {
        "/detect-language": form(file=tone_file()),
        "/detect-language?encode=false": form(audio_file=tone_file()),
        "/detect-language?speed=2": form(audio_file=tone_file()),
    }
    params = [(await refusal(await client.post(path, data=data)))[2] for path, data in wrong.items()]
    assert params == ["file", "encode", "speed"]
    assert (await refusal(await client.post("/detect-language", data=b"x")))[1] == "invalid_body"
    tasks.answer = TaskError("invalid_value", "inputs: it is no sound file")
    answer = await client.post("/detect-language", data=form(audio_file=b"x"))
    assert await refusal(answer) == (400, "invalid_value", "audio_file")
    tasks.why = "visavis models pull whisper-base"
    answer = await client.post("/detect-language", data=form(audio_file=tone_file()))
    assert await refusal(answer) == (501, "model_not_here", None)


async def test_the_routes_are_those_of_the_document(client: TestClient) -> None:
    told = {(row.method, row.path) for row in AUDIO_TASKS}
    assert client.server is not None
    routes = {(route.method, route.resource.canonical) for route in client.server.app.router.routes() if route.resource}
    assert told <= routes
    assert {path for _, path in routes if "voices" in path or "detect" in path} == {path for _, path in told}
