"""Bytes that no client should send: each is answered 4xx in the common shape, or hung up on; the server lives."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest

from tests.fakes.hostile_requests import JSON_VALUES, corpus, mutations, request
from tests.fakes.raw_http import address_of, ask, attack, error_in, judge
from tests.server.transports.test_offers_and_ice import AUDIO

OFFER = b"/offer"
JSON = b"application/json"


def post(body: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    return request(b"POST", OFFER, headers, body)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", 400, "invalid_request"),
        (b"G\xc9T / HTTP/1.1\r\n\r\n", 400, "invalid_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400, "invalid_request"),
        (request(version=b"HTTP/2.0"), 400, "invalid_request"),
        (request(headers=((b"A", b"b"),) * 500), 400, "invalid_request"),
        (request(headers=((b"A", b"b" * 9000),)), 431, "request_head_too_large"),
        (request(path=b"/" + b"a" * 9000), 431, "request_head_too_large"),
        (request(path=b"/static/" + b"a" * 300), 404, "not_found"),
        (request(path=b"/static/%00"), 404, "not_found"),
        (request(path=b"/static/../server/http/app.py"), 404, "not_found"),
        (request(b"TRACE"), 405, "method_not_allowed"),
        (request(path=b"/v1/engines", headers=((b"Expect", b"\xe9"),)), 417, "expectation_failed"),
        (request(path=b"/v1/engines", headers=((b"Host", b"a\xff"),)), 400, "invalid_host"),
        (request(path=b"/v1/engines", headers=((b"Host", b"127.0.0.1"), (b"Host", b"127.0.0.1"))), 400, None),
        (request(path=b"/v1/engines", headers=((b"Authorization", b"Bearer \xff\xfe"),)), 200, None),
        (request(path=b"http://evil.test/v1/engines"), 403, "host_not_allowed"),
        (request(path=b"/v1/engines", headers=((b"Origin", b"x://127.0.0.1"),)), 403, "origin_not_allowed"),
        (request(path=b"/v1/engines", headers=((b"Origin", b"\xff\xfe"),)), 403, "origin_not_allowed"),
        (post(b"{}", (b"Content-Type", JSON + b"; charset=nonsense")), 415, "unsupported_charset"),
        (post(b"{}", (b"Content-Type", JSON + b"; charset=hex")), 415, "unsupported_charset"),
        (post(b"{}", (b"Content-Type", JSON + b"; charset=\xff")), 415, "unsupported_charset"),
        (post(gzip.compress(b"{}")[:12] + bytes(20), (b"Content-Encoding", b"gzip")), 400, "invalid_body"),
        (post(b"{}", (b"Content-Encoding", b"gzip")), 400, "invalid_body"),
        (post(gzip.compress(bytes(20 << 20)), (b"Content-Encoding", b"gzip")), 413, "body_too_large"),
        (post(b"zz\r\n", (b"Transfer-Encoding", b"chunked")), 400, None),
        (post(b"[" * 6000), 400, "invalid_json"),
        (post(b'{"sdp": ' + b"[" * 990 + b"]" * 990 + b"}"), 400, "invalid_json"),
        (post(b'{"type": ' + b"9" * 5000 + b"}"), 400, None),
    ],
)  # fmt: skip
async def test_each_is_told_what_is_wrong(serve, raw, status, code):
    url, _ = await serve()
    answer = await ask(*address_of(url), raw)
    assert judge(answer) == (str(status), True)
    if code is not None:
        assert error_in(answer)["code"] == code


async def test_bytes_outside_ascii_are_no_key(serve):
    url, _ = await serve(api_key="secret-key")
    raw = request(path=b"/v1/engines", headers=((b"Authorization", b"Bearer \xff\xfe\xfd"),))
    assert judge(await ask(*address_of(url), raw)) == ("401", True)


async def test_every_type_for_every_field_beside_a_good_offer(serve):
    """Accepted or refused by name; never our failure."""
    url, _ = await serve(max_sessions=500)
    paths = (("session",), ("pipeline",), ("session_id",), ("session", "vision"), ("session", "vision", "enabled"))
    seen = set()
    for path in paths:
        for value in JSON_VALUES:
            body: Any = value
            for name in reversed(path):
                body = {name: body}
            raw = post(json.dumps({"type": "offer", "sdp": AUDIO, **body}).encode(), (b"Content-Type", JSON))
            status, right = judge(await ask(*address_of(url), raw, complete=True))
            assert right, (path, value, status)
            seen.add(status)
    assert seen == {"200", "400", "404"}  # there is no pipeline of that name


@pytest.mark.parametrize("key", [None, "secret-key"])
async def test_the_corpus(serve, key, caplog):
    """Every oddity by itself, every seventh value of every header, and some random mixtures."""
    url, _ = await serve(api_key=key)
    cases = list(corpus())
    single = [case for case in cases if case[0] != "header"]
    headers = [case for case in cases if case[0] == "header"]
    counts, wrong = await attack(*address_of(url), [*single, *headers[::7], *mutations(7, 200)])
    assert not wrong
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert sum(counts.values()) > 1000
    assert judge(await ask(*address_of(url), b"GET /healthz HTTP/1.0\r\n\r\n")) == ("200", True)
