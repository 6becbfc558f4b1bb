"""HTTP: the page, health, errors in one shape, keys and origins."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest
from yarl import URL

from server.http.signaling.offer import REGISTRY
from server.transports.webrtc.peer import PeerConnection
from tests.server.transports.test_offers_and_ice import AUDIO


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
        (b"\xff\xfe{", 400, "invalid_json", None),
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


async def test_an_offer_that_cannot_be_answered_takes_no_place(serve, http):
    url, app = await serve()
    body = {"sdp": AUDIO.replace("a=setup:actpass", "a=setup:x"), "type": "offer"}
    response = await http.post(f"{url}/offer", json=body)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (400, "invalid_sdp", "sdp")
    assert "a=setup must be actpass, active, passive" in error["message"]
    assert len(app[REGISTRY]) == 0


async def test_our_own_defect_while_answering_is_no_fault_of_the_offer(serve, http, monkeypatch, caplog):
    async def broken(session, offer):
        raise ValueError("a defect of ours")

    monkeypatch.setattr(PeerConnection, "answer", broken)
    url, app = await serve()
    response = await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})
    assert (response.status, (await response.json())["error"]["code"]) == (500, "internal_error")
    assert "a defect of ours" in caplog.text
    assert "Traceback" in caplog.text
    await asyncio.gather(*app[REGISTRY]._tasks)
    assert len(app[REGISTRY]) == 0


async def test_unknown_paths_and_methods(serve, http):
    url, _ = await serve()
    missing = await http.get(f"{url}/nothing")
    assert (missing.status, (await missing.json())["error"]["code"]) == (404, "not_found")
    wrong = await http.get(f"{url}/offer")
    assert (wrong.status, (await wrong.json())["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "POST"


async def test_the_key_guards_all_but_page_and_probes(serve, http):
    url, _ = await serve(api_key="secret-key")
    for path in ("/", "/static/css/base.css", "/healthz", "/readyz"):
        assert (await http.get(url + path)).status == 200, path
    for path in ("/v1/engines", "/metrics", "/nothing", "/static", "//v1/engines"):
        assert (await http.get(url + path)).status == 401, path
    for path in ("/static/../v1/engines", "/static/%2e%2e/metrics", "/static/..%2fmetrics"):
        assert (await http.get(URL(url + path, encoded=True))).status == 404, path
    assert await (await http.get(f"{url}/readyz")).json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("Bearer secret-key", None),
        ("bearer secret-key", None),
        ("BEARER  secret-key", None),
        ("secret-key", "missing_api_key"),
        ("Basic secret-key", "missing_api_key"),
        ("Bearersecret-key", "missing_api_key"),
        ("Bearer", "invalid_api_key"),
        ("Bearer secret-keys", "invalid_api_key"),
        ("Bearer sécret-key", "invalid_api_key"),
        ("", "missing_api_key"),
    ],
)
async def test_keys(serve, http, given, code):
    url, _ = await serve(api_key="secret-key")
    response = await http.get(f"{url}/v1/engines", headers={"Authorization": given})
    assert response.status == (200 if code is None else 401)
    assert (await response.json()).get("error", {}).get("code") == code


async def test_pages_of_other_origins_are_refused_unless_allowed(serve, http):
    url, _ = await serve()
    evil = {"Origin": "https://evil.example"}
    assert (await http.post(f"{url}/offer", data=b"{}", headers=evil)).status == 403
    assert (await http.options(f"{url}/offer", headers=evil)).status == 403
    scheme = {"Origin": url.replace("http:", "x:")}
    assert (await http.post(f"{url}/offer", data=b"{}", headers=scheme)).status == 403
    assert (await http.post(f"{url}/offer", data=b"{}", headers={"Origin": url})).status == 400
    url, _ = await serve(allowed_origins="https://app.example")
    friend = {"Origin": "https://app.example"}
    preflight = await http.options(f"{url}/offer", headers=friend)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
    answer = await http.post(f"{url}/offer", data=b"{}", headers=friend)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Origin" not in (await http.get(f"{url}/healthz", headers=evil)).headers


async def test_a_foreign_name_gets_the_page_and_the_advice(serve, http):
    url, app = await serve()
    foreign = {"Host": "assistant.example.org", "Origin": "https://assistant.example.org"}
    for path in ("/", "/static/js/app.js", "/static/css/base.css", "/healthz", "/readyz"):
        assert (await http.get(url + path, headers=foreign)).status == 200, path
    response = await http.post(f"{url}/offer", json={"type": "offer", "sdp": AUDIO}, headers=foreign)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (403, "host_not_allowed", "Host")
    assert "VISAVIS_PUBLIC_ORIGINS=https://assistant.example.org" in error["message"]
    rewritten = {"Origin": "https://assistant.example.org"}  # by a proxy that writes its own Host
    error = (await (await http.get(f"{url}/v1/engines", headers=rewritten)).json())["error"]
    assert error["code"] == "origin_not_allowed"
    assert "VISAVIS_PUBLIC_ORIGINS=https://assistant.example.org" in error["message"]
    assert len(app[REGISTRY]) == 0
    url, _ = await serve(public_origins="https://assistant.example.org")
    for headers in (foreign, rewritten):
        assert (await http.get(f"{url}/v1/engines", headers=headers)).status == 200


async def test_the_host_that_a_trusted_proxy_reports_counts(serve, http):
    told = {"X-Forwarded-Host": "assistant.example.org", "Origin": "https://assistant.example.org"}
    for trusted, status in ((), 403), ("127.0.0.1", 200):
        url, _ = await serve(api_key="secret-key", trusted_proxies=trusted)
        headers = {**told, "Authorization": "Bearer secret-key"}
        assert (await http.get(f"{url}/v1/engines", headers=headers)).status == status


async def test_the_page_says_what_it_may_do(serve, http):
    url, _ = await serve()
    policy = (await http.get(url)).headers["Content-Security-Policy"]
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))


@pytest.mark.parametrize(
    ("allowed", "framed_by"),
    [("", "'none'"), ("*", "'none'"), ("https://a.test,https://b.test", "https://a.test https://b.test")],
)
async def test_only_sites_that_are_named_may_frame_the_page(serve, http, allowed, framed_by):
    url, _ = await serve(allowed_origins=allowed)
    policy = (await http.get(url)).headers["Content-Security-Policy"]
    assert f"frame-ancestors {framed_by}" in policy.split("; ")


async def test_files_of_the_page_are_cached_by_their_content(serve, http):
    url, _ = await serve()
    first = await http.get(f"{url}/static/js/app.js")
    assert first.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for given in (tag, f'"x", W/{tag}', "*"):
        again = await http.get(f"{url}/static/js/app.js", headers={"If-None-Match": given})
        assert (again.status, await again.read()) == (304, b"")
    assert (await http.get(f"{url}/static/js/app.js", headers={"If-None-Match": '"x"'})).status == 200
    head = await http.head(f"{url}/static/js/app.js")
    assert (head.headers["Content-Length"], await head.read()) == (str(len(await first.read())), b"")
