"""HTTP: the page, health, errors in one shape, keys and origins."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest

from server.signaling import REGISTRY
from tests.server.test_offers_and_ice import AUDIO


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_health_and_page(serve, http):
    url, _ = await serve()
    assert (await http.get(f"{url}/healthz")).status == 200
    assert (await (await http.get(f"{url}/readyz")).json())["status"] == "ready"
    page = await http.get(url)
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<title>" in await page.text()
    assert (await (await http.get(f"{url}/v1/engines")).json())["object"] == "list"


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, "invalid_json", None),
        (b"hello", 400, "invalid_json", None),
        (b"[" * 6_000, 400, "invalid_json", None),
        (b'{"type": "offer", "sdp": ' + b"[" * 990 + b"]" * 990 + b"}", 400, "invalid_json", None),
        (b'{"type": "offer", "sdp": "\\ud83d"}', 400, "invalid_json", None),
        (b'{"type": "offer", "sdp": NaN}', 400, "invalid_json", None),
        (b"[]", 400, "invalid_body", None),
        (b"\xff\xfe{", 400, "invalid_body", None),
        (b'{"type": "answer", "sdp": "v=0"}', 400, "invalid_type", "type"),
        (b'{"type": "offer", "sdp": "garbage"}', 400, "no_media", "sdp"),
        (b'{"type": "offer", "sdp": "m=audio 9 X 111 a b c"}', 400, "invalid_sdp", "sdp"),
        (b'{"type": "offer", "sdp": "' + b"x" * 2_000_000 + b'"}', 413, "body_too_large", None),
        (b'{"type": "offer", "sdp": "' + b"x" * 300_000 + b'"}', 413, "sdp_too_large", "sdp"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_bad_offers_are_told_what_is_wrong(serve, http, body, status, code, param):
    url, _ = await serve()
    response = await http.post(f"{url}/offer", data=io.BytesIO(body))
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert "Traceback" not in error["message"]


async def test_an_offer_that_parses_but_cannot_be_answered(serve, http):
    """aiortc trips over what it does not expect; the client is told, the place is freed."""
    url, app = await serve()
    twice = AUDIO + AUDIO[AUDIO.index("m=audio") :]  # two sections of one name
    response = await http.post(
        f"{url}/offer", json={"sdp": twice.replace("a=setup:actpass", "a=setup:x"), "type": "offer"}
    )
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (400, "invalid_sdp", "sdp")
    await asyncio.gather(*app[REGISTRY]._tasks)
    assert len(app[REGISTRY]) == 0


async def test_unknown_paths_and_methods(serve, http):
    url, _ = await serve()
    missing = await http.get(f"{url}/nothing")
    assert (missing.status, (await missing.json())["error"]["code"]) == (404, "not_found")
    wrong = await http.get(f"{url}/offer")
    assert (wrong.status, (await wrong.json())["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "POST"


async def test_the_key_guards_all_but_page_and_health(serve, http):
    url, _ = await serve(api_key="secret")
    for path, status in (
        ("/", 200),
        ("/static/style.css", 200),
        ("/healthz", 200),
        ("/v1/engines", 401),
        ("/readyz", 401),
    ):
        assert (await http.get(url + path)).status == status, path
    for header, status in (("Bearer wrong", 401), ("Bearer secret", 200), ("Bearer sécret", 401)):
        assert (await http.get(f"{url}/v1/engines", headers={"Authorization": header})).status == status


async def test_pages_of_other_origins_are_refused_unless_allowed(serve, http):
    url, _ = await serve()
    evil = {"Origin": "https://evil.example"}
    assert (await http.post(f"{url}/offer", data=b"{}", headers=evil)).status == 403
    assert (await http.post(f"{url}/offer", data=b"{}", headers={"Origin": url})).status == 400
    url, _ = await serve(allowed_origins="https://app.example")
    friend = {"Origin": "https://app.example"}
    preflight = await http.options(f"{url}/offer", headers=friend)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
    answer = await http.post(f"{url}/offer", data=b"{}", headers=friend)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
