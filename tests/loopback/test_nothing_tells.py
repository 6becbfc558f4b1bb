"""Neither the log at its most talkative nor ``/metrics`` holds a key, a secret, or a word that was said or typed."""

from __future__ import annotations

import logging
import re

import aiohttp
import numpy as np
import pytest

from media.opus import RATE
from pipelines.errors import LLMError
from server.observability.logs import _QUIET
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.loopback.test_calls import CALLS, Caller

OWN, WRONG, TURN = "own-key-aardvark", "wrong-key-platypus", "turn-secret-wombat"
WORDS = ("pomegranate", "quince", "medlar", "rambutan", "persimmon", "sapodilla")
SECRETS = "/v1/realtime/client_secrets"
SAID = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def upgrade(key: str) -> dict[str, str]:
    offered = f"realtime, openai-insecure-api-key.{key}"
    return {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": offered}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What a server with ``log_level: debug`` has in its log."""
    for name, level in _QUIET.items():
        caplog.set_level(level, name)
    caplog.set_level(logging.DEBUG)
    return caplog


async def try_keys(http: aiohttp.ClientSession, url: str, keys: list[str]) -> set[int]:
    """Every place that a key can stand in, on routes that are open to it and on others."""
    statuses = set()
    for key in keys:
        for path in (
            "/v1/engines",
            "/v1/realtime/ice_servers",
            "/nothing",
            f"{SECRETS}/{key}",
            f"{CALLS}/{key}/hangup",
        ):
            for headers in (
                bearer(key),
                {"Authorization": key},
                upgrade(key),
                {"X-API-Key": key},
                {"Origin": f"x://{key}"},
            ):
                statuses.add((await http.get(f"{url}{path}?api_key={key}", headers=headers)).status)
    return statuses


async def test_nothing_tells(serve, log):
    model = FakeModel(f"Have a {WORDS[1]}.", f"Or a {WORDS[1]}.", LLMError("llm_failed", "broken"))
    engines = fake_engines(stt=FakeRecognizer(f"{WORDS[0]} please"), llm=model)
    turn = {"urls": "turn:127.0.0.1:9", "secret": TURN}
    url, _ = await serve(engines, api_key=OWN, allowed_origins="https://app.example")
    relayed, _ = await serve(api_key=OWN, ice_servers=[turn])
    secrets = []
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            made = await http.post(url + SECRETS, json={"session": {"instructions": WORDS[2]}}, headers=bearer(OWN))
            secrets.append(await made.json())
        await http.delete(f"{url}{SECRETS}/{secrets[1]['id']}", headers=bearer(OWN))
        values = [secret["value"] for secret in secrets]
        assert await try_keys(http, url, [OWN, WRONG, *values, values[0][:-1]]) >= {200, 401, 403, 404}
        servers = await http.get(f"{relayed}/v1/realtime/ice_servers", headers=bearer(OWN))
        credential = (await servers.json())["ice_servers"][0]["credential"]

        async with Caller(url, headers=bearer(values[0]), form={"instructions": WORDS[3]}) as caller:
            caller.say(SAID, RATE)
            heard = await caller.event("conversation.item.input_audio_transcription.completed")
            assert WORDS[0] in heard["transcript"]
            await caller.event("output_audio_buffer.stopped")
            typed = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"a {WORDS[4]}?"}]}
            for count in (2, 3):
                caller.send({"type": "conversation.item.create", "item": typed})
                caller.send({"type": "response.create"})
                await caller.event("response.done", count)
            caller.send({"type": WORDS[4], "key": OWN})
            await caller.event("error")
        chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": WORDS[5]}]}
        assert (await http.post(f"{url}/v1/chat/completions", json=chat, headers=bearer(OWN))).status == 200
        metrics = await (await http.get(f"{url}/metrics", headers=bearer(OWN))).text()
    assert "visavis_" in metrics
    told = log.text + metrics
    assert "origin_not_allowed" in told
    assert "RTCSctpTransport" in told  # it tells a lot
    for hidden in (OWN, WRONG, TURN, credential, *values, *(value.rpartition("_")[2] for value in values), *WORDS):
        assert not re.search(re.escape(hidden), told, re.IGNORECASE), hidden
