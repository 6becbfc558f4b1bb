"""Live conversations by another pipeline of the library, however they are signalled."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from pipelines.routing.library import Library
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines

OFFER = sorted((Path(__file__).parents[2] / "offers").glob("*.sdp"))[0].read_text("utf-8")
FILE = """
pipelines:
  - id: pirate
    stages:
      - {id: listen, type: audio_to_text}
      - {id: think, type: text_generation, options: {instructions: "You are a pirate.", max_tokens: 33}}
      - {id: speak, type: text_to_audio, options: {speed: 1.5}}
    options: {preserve_context: false}
  - id: write
    stages: [{id: listen, type: audio_to_text}]
"""


@pytest.fixture
async def live(serve, tmp_path):
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "own.yaml").write_text(FILE)
    engines = fake_engines()
    engines.library = Library(shipped=folder)
    url, app = await serve(engines, cache=tmp_path)
    async with aiohttp.ClientSession(url) as http:
        yield http, app[REGISTRY]


def bodies(name: object):
    """Path, body, content type and query of each way to begin."""
    offer = {"sdp": OFFER, "type": "offer"}
    sdp = {"Content-Type": "application/sdp"}
    json_type = {"Content-Type": "application/json"}
    query = {"pipeline": str(name)}
    yield "/offer", json.dumps({**offer, "pipeline": name}), json_type, {}
    yield "/api/offer", json.dumps({**offer, "pipeline": name}), json_type, {}
    yield "/api/offer", json.dumps({**offer, "requestData": {"pipeline": name}}), json_type, {}
    yield "/v1/realtime/calls", OFFER, sdp, query
    yield "/whip", OFFER, sdp, query


async def test_a_session_runs_the_pipeline_that_is_asked_for(live):
    http, registry = live
    for path, body, headers, query in bodies("pirate"):
        before = {peer.id for peer in registry.all}
        async with http.post(path, data=body, headers=headers, params=query) as response:
            assert response.status in (200, 201), (path, await response.text())
        [peer] = [one for one in registry.all if one.id not in before]
        settings = peer.session.conversation.settings
        assert settings.instructions == "You are a pirate.", path
        assert (settings.max_tokens, settings.voice.speed) == (33, 1.5)
        assert not settings.preserve_context
        assert peer.session.engines.pipeline.id == "pirate"
    async with http.post("/offer", json={"sdp": OFFER, "type": "offer"}) as response:
        assert response.status == 200
    assert registry.all[-1].session.conversation.settings.max_tokens == 256
    async with http.post("/start", json={"body": {"pipeline": "pirate"}}) as response:
        start = (await response.json())["sessionId"]
    async with http.post(f"/sessions/{start}/api/offer", json={"sdp": OFFER, "type": "offer"}) as response:
        assert response.status == 200
    assert registry.all[-1].session.engines.pipeline.id == "pirate"


async def test_an_offer_brings_the_settings_that_its_session_begins_with(live):
    http, registry = live
    wish = {"instructions": "Answer in rhymes.", "max_output_tokens": 7, "vision": {"max_fps": 2}}
    offer = {"sdp": OFFER, "type": "offer", "pipeline": "pirate"}
    async with http.post("/offer", json=offer | {"session": wish}) as answer:
        assert answer.status == 200, await answer.text()
    settings = registry.all[-1].session.conversation.settings
    assert (settings.instructions, settings.max_tokens) == ("Answer in rhymes.", 7)
    assert settings.voice.speed == 1.5, "what is not given stays the pipeline's"
    for wrong, field in (({"instruction": "?"}, "session.instruction"), (7, "session")):
        async with http.post("/offer", json=offer | {"session": wrong}) as answer:
            assert (answer.status, (await answer.json())["error"]["param"]) == (400, field)
    assert len(registry.all) == 1


async def test_pipelines_that_are_not_there_or_no_conversation(live):
    http, registry = live
    for name, status, words in (
        ("pirat", 404, "did you mean pirate?"),
        ("write", 400, "that needs audio_to_text, text_generation and text_to_audio"),
    ):
        for path, body, headers, query in bodies(name):
            async with http.post(path, data=body, headers=headers, params=query) as response:
                error = (await response.json())["error"]
            assert response.status == status, (path, error)
            assert words in error["message"]
    async with http.post("/offer", json={"sdp": OFFER, "type": "offer", "pipeline": 3}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, "pipeline")
    assert not registry.all
