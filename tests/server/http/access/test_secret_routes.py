"""``/v1/realtime/client_secrets`` over HTTP, and what a secret opens there."""

from __future__ import annotations

import aiohttp
import pytest
from openai import AsyncOpenAI

from server.http.access import client_secrets
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.loopback.test_calls import Caller

OWN = {"Authorization": "Bearer secret-key"}
SECRETS = "/v1/realtime/client_secrets"
CALLS = "/v1/realtime/calls"


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def made(http, url: str, body: object = None, headers: dict[str, str] = OWN) -> dict:
    response = await http.post(url + SECRETS, json=body or {}, headers=headers)
    assert response.status == 200, await response.text()
    assert response.headers["Cache-Control"] == "no-store"
    return await response.json()


async def test_the_session_is_told_whole_and_as_it_will_be(serve, http):
    url, _ = await serve(api_key="secret-key")
    wish = {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "Be brief.",
        "audio": {"input": {"turn_detection": {"type": "server_vad"}}},
        "vision": {"overlay": {"boxes": False}},
    }
    secret = await made(http, url, {"session": wish, "expires_after": {"anchor": "created_at", "seconds": 30}})
    session = secret["session"]
    assert secret["value"].startswith("ek_")
    assert (session["type"], session["object"]) == ("realtime", "realtime.session")
    assert session["id"].startswith("sess_")
    assert session["instructions"] == "Be brief."
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert session["audio"]["output"]["voice"]
    assert session["vision"]["overlay"]["boxes"] is False
    listed = (await (await http.get(url + SECRETS, headers=OWN)).json())["data"]
    assert [(one["id"], one["status"], one["calls"]) for one in listed] == [(secret["id"], "active", 0)]
    assert listed[0]["expires_at"] - listed[0]["created_at"] == 30
    assert secret["value"] not in str(listed)


async def test_the_stock_client_makes_one(serve):
    url, _ = await serve(api_key="secret-key")
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="secret-key") as client:
        secret = await client.realtime.client_secrets.create(
            session={"type": "realtime", "instructions": "Be brief."},
            expires_after={"anchor": "created_at", "seconds": 60},
        )
        usual = await client.realtime.client_secrets.create()
    assert secret.value.startswith("ek_")
    assert secret.session.type == "realtime"
    assert secret.session.instructions == "Be brief."
    assert usual.expires_at - secret.expires_at in range(535, 545)


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds", "greater than or equal to 10"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds", "less than or equal to 7200"),
        ({"expires_after": {"anchor": "now"}}, "expires_after.anchor", "created_at"),
        ({"expires_in": 5}, "expires_in", "expires_after, session"),
        ({"session": {"output_modalities": ["smoke"]}}, "session.output_modalities", '["audio"]'),
        (
            {"session": {"audio": {"input": {"transcription": {"language": "xx"}}}}},
            "session.audio.input.transcription.language",
            "does not know 'xx'",
        ),
        ({"session": "loud"}, "session", "must be an object"),
        ([], "", "must be a JSON object"),
        ({"session": {"instructions": "é" * 70_000}}, None, "131,072 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_wrong_is_named(serve, http, body, param, said):
    url, _ = await serve()
    response = await http.post(url + SECRETS, json=body)
    error = (await response.json())["error"]
    assert response.status == (413 if param is None else 400), error
    assert error["param"] == param
    assert said in error["message"]
    assert (await (await http.get(url + SECRETS)).json())["data"] == []


async def test_too_many_are_refused(serve, http, monkeypatch):
    monkeypatch.setattr(client_secrets, "MOST_SECRETS", 1)
    url, _ = await serve()
    await made(http, url)
    response = await http.post(url + SECRETS)
    assert (response.status, (await response.json())["error"]["code"]) == (429, "too_many_client_secrets")
    assert response.headers["Retry-After"]


async def test_a_secret_makes_no_secrets_and_reads_nothing(serve, http):
    url, _ = await serve(api_key="secret-key")
    value = (await made(http, url))["value"]
    for method, path in (
        ("POST", SECRETS),
        ("GET", SECRETS),
        ("DELETE", f"{SECRETS}/x"),
        ("GET", "/metrics"),
        ("GET", "/v1/engines"),
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/nothing"),
    ):
        response = await http.request(method, url + path, headers=bearer(value))
        assert (response.status, (await response.json())["error"]["code"]) == (403, "client_secret_not_allowed"), path
    assert (await http.get(f"{url}/v1/realtime/ice_servers", headers=bearer(value))).status == 200


async def test_a_revoked_secret_opens_nothing(serve, http):
    url, _ = await serve(api_key="secret-key")
    secret = await made(http, url)
    gone = await http.delete(f"{url}{SECRETS}/{secret['id']}", headers=OWN)
    assert (await gone.json()) == {"object": "realtime.client_secret", "id": secret["id"], "deleted": True}
    response = await http.post(url + CALLS, headers=bearer(secret["value"]))
    assert (response.status, (await response.json())["error"]["code"]) == (401, "client_secret_revoked")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    missing = await http.delete(f"{url}{SECRETS}/nobody", headers=OWN)
    assert (missing.status, (await missing.json())["error"]["param"]) == (404, "id")


async def test_a_websocket_may_bring_its_key_as_a_subprotocol(serve, http):
    url, _ = await serve(api_key="secret-key")

    async def asked(*protocols: str, path: str = "/v1/engines") -> int:
        """The guard comes before the route: any route shows what it lets in."""
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": ", ".join(protocols)}
        return (await http.get(url + path, headers=upgrade)).status

    assert await asked("realtime", "openai-insecure-api-key.secret-key") == 200
    assert await asked("realtime", "openai-insecure-api-key.secret-keys") == 401
    assert await asked("realtime") == 401
    value = (await made(http, url))["value"]
    assert await asked("realtime", f"openai-insecure-api-key.{value}", path="/v1/realtime/ice_servers") == 200
    assert await asked("realtime", f"openai-insecure-api-key.{value}") == 403


async def test_a_key_in_the_query_is_none(serve, http):
    url, _ = await serve(api_key="secret-key")
    for name in ("api_key", "key", "access_token", "token"):
        assert (await http.get(f"{url}/v1/engines?{name}=secret-key")).status == 401


@pytest.mark.parametrize("key", ["secret-key", None])
async def test_a_call_begins_with_the_session_of_its_secret_and_only_its_holder_ends_it(serve, http, key):
    model = FakeModel("Ahoy.")
    url, _ = await serve(fake_engines(llm=model), api_key=key)
    bound = {"instructions": "Speak like a sailor.", "output_modalities": ["text"], "max_output_tokens": 50}
    mine, other = await made(http, url, {"session": bound}), await made(http, url)
    async with Caller(url, form={"max_output_tokens": 20}, headers=bearer(mine["value"])) as caller:
        session = (await caller.event("session.created"))["session"]
        assert session["instructions"] == "Speak like a sailor."
        assert session["output_modalities"] == ["text"]
        assert session["max_output_tokens"] == 20
        hang_up = f"{url}{caller.location}/hangup"
        foreign = await http.post(hang_up, headers=bearer(other["value"]))
        assert (foreign.status, (await foreign.json())["error"]["code"]) == (403, "call_not_allowed")
        assert caller.channel.readyState == "open"
        assert (await http.post(hang_up, headers=bearer(mine["value"]))).status == 200
        await caller.until(lambda: caller.channel.readyState == "closed")
    listed = (await (await http.get(url + SECRETS, headers=OWN)).json())["data"]
    assert {one["id"]: one["calls"] for one in listed} == {mine["id"]: 1, other["id"]: 0}
