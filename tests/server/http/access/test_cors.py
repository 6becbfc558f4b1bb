"""What browsers are told, and the number that every response carries."""

from __future__ import annotations

import re

import aiohttp
import pytest

from server.http.access.cors import HEADERS, allowed_headers
from server.transports.webrtc.peer import PeerConnection
from tests.fakes.raw_http import address_of, ask
from tests.server.transports.test_offers_and_ice import AUDIO

FRIEND = "https://app.example"
REQUEST_ID = re.compile(r"req_[0-9a-f]{24}")


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def test_headers_that_clients_send_are_named_and_what_the_browser_asks_for_added():
    usual = ", ".join(HEADERS)
    assert allowed_headers("") == usual
    assert allowed_headers("authorization,content-type,x-openai-agents-sdk") == usual
    assert allowed_headers("x-mine, if-match") == f"{usual}, x-mine"
    for odd in ("*", "a: b", "a\r\nb", "x" * 61, "é"):
        assert allowed_headers(odd) == usual


async def test_a_preflight_of_a_stock_browser_client_passes(serve, http):
    url, _ = await serve(api_key="secret-key", allowed_origins=FRIEND)
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-openai-agents-sdk",
    }
    answer = await http.options(f"{url}/v1/realtime/calls", headers=asked)
    assert answer.status == 204
    told = {name.removeprefix("Access-Control-"): value for name, value in answer.headers.items()}
    assert told["Allow-Origin"] == FRIEND
    assert told["Allow-Headers"] == "Authorization, Content-Type, X-OpenAI-Agents-SDK, If-Match, ETag"
    assert told["Allow-Methods"] == "GET, POST, PATCH, DELETE, OPTIONS"
    assert (
        told["Expose-Headers"]
        == "Location, ETag, Link, Accept-Patch, Accept-Post, X-Request-Id, Retry-After, X-Run-Id, X-Pipeline, X-Partial"
    )
    assert answer.headers["Vary"] == "Origin"
    refused = await http.post(f"{url}/v1/realtime/calls", headers={"Origin": FRIEND})
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, FRIEND)  # the page can read why
    evil = await http.options(f"{url}/v1/realtime/calls", headers={**asked, "Origin": "https://evil.example"})
    assert evil.status == 403
    assert not [name for name in evil.headers if name.startswith("Access-Control-")]


async def test_every_response_has_a_number_of_its_own_made_here(serve, http):
    url, _ = await serve(api_key="secret-key")
    own = {"Authorization": "Bearer secret-key", "X-Request-Id": "req_of_somebody_else"}
    numbers = []
    for method, path, status in (
        ("GET", "/", 200),
        ("GET", "/static/css/base.css", 200),
        ("GET", "/healthz", 200),
        ("GET", "/v1/engines", 200),
        ("GET", "/nothing", 404),
        ("GET", "/offer", 405),
        ("POST", "/offer", 400),
        ("POST", "/v1/chat/completions", 400),
        ("HEAD", "/", 200),
    ):
        response = await http.request(method, url + path, headers=own)
        assert response.status == status, path
        numbers.append(response.headers["X-Request-Id"])
    numbers.append((await http.get(f"{url}/v1/engines")).headers["X-Request-Id"])
    for raw in (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000):
        answer = await ask(*address_of(url), raw + b"\r\n\r\n")
        numbers += [line.split(b": ")[1].decode() for line in (answer or b"").split(b"\r\n") if b"X-Request-Id" in line]
    assert len(numbers) == 13
    assert all(map(REQUEST_ID.fullmatch, numbers))
    assert len(set(numbers)) == len(numbers)


async def test_a_failure_is_logged_with_the_number_of_its_response(serve, http, monkeypatch, caplog):
    async def broken(session, offer):
        raise ValueError("a defect of ours")

    monkeypatch.setattr(PeerConnection, "answer", broken)
    url, _ = await serve()
    response = await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})
    assert response.status == 500
    assert f"POST /offer failed ({response.headers['X-Request-Id']})" in caplog.text
