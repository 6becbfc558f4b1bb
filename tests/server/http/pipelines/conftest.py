"""The pipelines on loopback, with engines that do as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import yaml

from pipelines.routing.library import Library
from pipelines.routing.run import Attempt
from server.http.pipelines.routes import PLACES
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.stage_engines import VOICE, FakeStageEngines, FakeTask

EMBED = {"id": "embed", "type": "embedding"}
PIPELINES: list[dict[str, Any]] = [
    {"id": "voice", "name": "Voice", "description": "Speak and be answered.", "stages": list(VOICE)},
    {"id": "whole", "stages": list(VOICE), "options": {"enable_streaming": False}},
    {"id": "write", "stages": [VOICE[0]]},
    {"id": "talk", "stages": [VOICE[1]]},
    {"id": "read", "stages": [VOICE[2]]},
    {"id": "embed", "stages": [EMBED]},
    {"id": "watch", "stages": [{"id": "watch", "type": "video_analysis"}]},
    {"id": "paint", "stages": [{"id": "paint", "type": "text_to_image"}]},
    {
        "id": "both",
        "stages": [VOICE[1], {**VOICE[2], "inputs": ["think"]}, {**EMBED, "inputs": ["think"]}],
    },
]
BACKENDS = [{"id": "cpu", "hardware": "cpu"}, {"id": "far", "kind": "openai", "base_url": "http://127.0.0.1:1/v1"}]


class PlannedEngines(FakeStageEngines):
    """Of two backends the first would do it."""

    backends = ("cpu", "far")

    async def close(self) -> None:
        pass

    def plan(self, pipeline: Any, stage: Any, wishes: Any) -> Any:
        if stage.type == "text_to_image":
            return [Attempt("far", "remote", "-", "asked for", "unable", message="it cannot paint")]
        return [
            Attempt("cpu", "cpu", "fake", f"preferred in {wishes.efficiency_mode} mode"),
            Attempt("far", "remote", "-", "next on the path", "resting", message="it failed a moment ago"),
        ]


@pytest.fixture
def engines() -> PlannedEngines:
    """They hear "Hello there.", answer, and beep."""
    return PlannedEngines(
        stt=FakeRecognizer(*["Hello there."] * 200),
        llm=FakeModel(*["Good day to you. How are you?"] * 200),
        tts=FakeVoice(),
        tasks={"feature-extraction": FakeTask(lambda inputs, parameters: [[0.5, 0.25]])},
    )


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Library:
    folder = tmp_path_factory.mktemp("definitions")
    (folder / "test.yaml").write_text(yaml.safe_dump({"pipelines": PIPELINES, "backends": BACKENDS}))
    return Library(shipped=folder)


@pytest.fixture
async def house(serve, engines, library, tmp_path) -> AsyncIterator[Callable[..., Any]]:
    """``http = await house(**settings)``: a client of a server with :data:`PIPELINES`."""
    opened: list[aiohttp.ClientSession] = []

    async def start(**settings: Any) -> aiohttp.ClientSession:
        served = fake_engines()
        served.routes, served.library = engines, library
        url, app = await serve(served, cache=tmp_path, **settings)
        http = aiohttp.ClientSession(url)
        opened.append(http)
        start.url, start.places = url, lambda: app[PLACES]  # type: ignore[attr-defined]
        start.app, start.pipeline = lambda: app, library.get  # type: ignore[attr-defined]
        return http

    yield start
    for http in opened:
        await http.close()
