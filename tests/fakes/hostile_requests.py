"""Raw HTTP/1 requests of attackers, broken clients and scanners: a fixed corpus, and as many more as wanted."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from typing import Any

METHODS = (
    b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"get",
    b"M-SEARCH", b"PRI", b"G\x00T", b"G\xc9T", b"", b"A" * 300,
)  # fmt: skip
PATHS = (
    b"/", b"/offer", b"/healthz", b"/readyz", b"/metrics", b"/v1/engines", b"/static/css/base.css", b"/static/js/app.js",
    b"/v1/models/files/eye", b"/v1/models/files/eye/current/eye.onnx", b"/nothing", b"/favicon.ico", b"/v1/models",
    b"/v1/models/x", b"/v1/chat/completions", b"/v1/audio/transcriptions", b"/v1/audio/speech", b"/v1/embeddings",
)  # fmt: skip
ODD_PATHS = (
    b"*", b"", b"offer", b"//", b"//offer", b"/offer/", b"/offer?", b"/offer?a=%00&b=%ff", b"/offer#there", b"/;", b"/%",
    b"/%zz", b"/%00", b"/static/%00", b"/static/js%00.js", b"/static/../server/http/app.py", b"/static/%2e%2e/server/http/app.py",
    b"/static/..%2fserver%2fapp.py", b"/static/..%5c..%5cx", b"/static/%252e%252e/x", b"/static//etc/passwd",
    b"/static/", b"/static", b"/static/js", b"/static/js/", b"/static/" + b"a" * 300, b"/static/" + b"a/" * 3000,
    b"/static/" + b"%c3%a9" * 1200, b"/" + b"a" * 4096, b"/" + b"a" * 8100, b"/" + b"a" * 9000, b"/" + b"a" * 70_000,
    b"/\xff\xfe", b"/%ff%fe", b"/%ed%a0%80", b"/\xc3\xa9", b"/static/%ff", b"/v1/models/files/%ff/%00/..",
    b"/v1/models/files/%2e%2e/current/x", b"/v1/models/files/" + b"a" * 5000, b"/v1/models/files/..%2f..%2fetc",
    b"/v1/models/files/eye/%2e%2e/eye.onnx", b"/v1/models/files/eye/current/..%2f..%2fsecret", b"/\x1b[31mred",
    b"http://evil.test/", b"http://evil.test:1/offer", b"https://127.0.0.1/", b"http://[::1", b"http://[::1]:99999/",
    b"http://a@b@c/", b"evil.test:80", b"x://", b"http:///offer", b"/?" + b"&" * 5000, b"/?" + b"a=1&" * 1500,
    b"/a\tb", b"/a b", b"/" + b"../" * 500,
)  # fmt: skip
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3", b"HTTP/9.99", b"http/1.1", b"", b"FTP/1.1")
NAMES = (
    b"Authorization", b"Origin", b"Host", b"Expect", b"Content-Type", b"Content-Encoding", b"Content-Length", b"Upgrade",
    b"Transfer-Encoding", b"Range", b"If-Range", b"If-None-Match", b"If-Match", b"If-Modified-Since", b"Connection",
    b"If-Unmodified-Since", b"Accept-Encoding", b"Accept", b"Cookie", b"Forwarded", b"X-Forwarded-For", b"Referer",
    b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Trailer", b"TE", b"User-Agent", b"Sec-WebSocket-Key", b"X-\xe9",
    b"Access-Control-Request-Method", b"Access-Control-Request-Headers", b"Content-Range", b"Proxy-Authorization",
)  # fmt: skip
VALUES = (
    b"", b" ", b"\xff\xfe", b"\xc3\xa9", b"\x00", b"a\x00b", b"\x1b[31mred\x1b[0m", b"a\rb", b"a\tb", b"\x7f", b"*", b",", b";",
    b'"', b'"a', b"=", b"a=", b"-", b"-1", b"0", b"1", b"+5", b"0x10", b"1e9", b"99999999999999999999999999", b"1, 2",
    b"bytes=-", b"bytes=5-", b"bytes=-5", b"bytes=9-1", b"bytes=0-99999999999999999999999", b"bytes=0-0,2-3", b"lines=1-2",
    b"bytes=" + b"9" * 5000 + b"-", b"100-continue", b"100-Continue, x", b"200-ok", b"\xe9xpect",
    b"Bearer", b"Bearer ", b"Bearer \xff\xfe\xfd", b"bearer x", b"BEARER " + b"x" * 7000, b"Basic dXNlcjpwYXNz",
    b"Bearer \xc3\xa9", b"secretsecret", b"null", b"x://127.0.0.1", b"http://127.0.0.1", b"https://evil.test", b"://",
    b"http://[::1", b"http://\xff", b"file://", b"http://127.0.0.1:99999999", b"evil.test", b"evil.test:80:80", b"[::1",
    b"[::1]:x", b"127.0.0.1:-5", b"local host", b"a@127.0.0.1", b"127.0.0.1/x", b"localhost\x00",
    b"application/json; charset=nonsense", b"application/json; charset=hex", b"application/json; charset=undefined",
    b"application/json; charset=utf-7", b"application/json; charset=\"\xff\"", b"application/json; charset=" + b"x" * 5000,
    b"application/json; charset=idna", b"application/json; charset=utf-16", b"multipart/form-data", b"text/html; ; ;=",
    b"application/json; charset*=utf-8''x%ff", b"application/json; =utf-8", b"multipart/form-data; boundary=",
    b"gzip", b"deflate", b"br", b"zstd", b"identity", b"gzip, gzip, gzip", b"compress", b"chunked", b"chunked, chunked",
    b"gzip, chunked", b"xchunked", b"chunked;a=b", b"h2c", b"websocket", b"close", b"keep-alive", b"upgrade", b"keep-alive, close",
    b'for="[::1', b"for=;proto=;host=", b'for="\\";;;,,,', b"for=127.0.0.1;host=\xff;proto=x://", b"127.0.0.1, , x",
    b"Thu, 32 Foo 9999 99:99:99 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT", b"Sun, 06 Nov 0000 08:49:37 GMT", b'W/"', b'"\xff"',
    b"a" * 7000, b"a" * 9000, b"a" * 70_000, b"=" * 3000, b";" * 3000, b'"' * 3001, b"\t" * 3000, b"%00%ff",
)  # fmt: skip
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 10**400, "", " ", "x", "offer", "\x00", "\ud800", "é" * 1000, "\u202e", [], {}, [[]],
    [None], ["offer"], {"": None}, {"sdp": "x"}, "v=0\r\n", "m=audio", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 50,
)  # fmt: skip
BODIES = (
    b"", b" ", b"{", b"}", b"null", b"[]", b'"x"', b"0", b"-", b"1e999", b"NaN", b"-Infinity", b'{"type": NaN}', b"\xff\xfe{",
    b"\xef\xbb\xbf{}", b'{"type": "offer", "sdp": "\xff"}', b"[" * 6000, b"[" * 100_000, b'{"a":' * 6000, b"[" * 990 + b"]" * 990,
    b'{"type": "offer", "sdp": ' + b"[" * 990 + b"]" * 990 + b"}", b"9" * 5000, b'{"type": ' + b"9" * 5000 + b"}",
    b'{"type":"offer","type":"x"}', b'{"type": "offer", "sdp": "' + b"x" * 300_000 + b'"}', b"x" * 1_100_000, b"\x00" * 100,
    json.dumps({"type": "offer", "sdp": "v=0"}).encode("utf-16"), json.dumps({"type": "offer"}).encode("utf-32"),
    b'{"type": "offer", "sdp": "\\ud800"}', b'{"type": "\\u0000"}', b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--",
    b"type=offer&sdp=x", b'{"type": "offer", "sdp": "v=0", "session": {"vision": ' + b'{"a":' * 500 + b"1" + b"}" * 502,
)  # fmt: skip
CHUNKED = (
    b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n", b"2\r\n{", b"ffffffffffffffff\r\n{}", b"fffffffff\r\n{}", b"-2\r\n{}\r\n",
    b"0x2\r\n{}\r\n0\r\n\r\n", b"2;a=b\r\n{}\r\n0\r\n\r\n", b"2;" + b"a" * 9000 + b"\r\n{}\r\n0\r\n\r\n", b"zz\r\n", b"\r\n\r\n",
    b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", b"2\r\n{}\r\n0\r\n" + b"T: x\r\n" * 500 + b"\r\n", b"2\n{}\n0\n\n", b"1\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}0\r\n\r\n", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", b"00000000000000000000002\r\n{}\r\n0\r\n\r\n",
)  # fmt: skip
WHOLE = (
    b"", b"\r\n", b"\r\n\r\n", b"\n\n", b"\x00" * 64, b"\xff" * 64, b"GET", b"GET /", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\n\n", b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + b"A" * 20_000 + b": b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /offer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /offer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /offer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n{}",
    b"POST /offer HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, b"SSH-2.0-OpenSSH_9.6\r\n", b"EHLO x\r\n", b"*1\r\n$4\r\nPING\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x85aaaaa",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + b"x" * 100_000,
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nSSH-2.0-x\r\n",
)  # fmt: skip


def request(
    method: bytes = b"GET",
    path: bytes = b"/",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes | None = None,
    version: bytes = b"HTTP/1.1",
) -> bytes:
    """One request that asks for the connection to be closed, with a fitting Host and length unless it gives its own."""
    given = {name.lower() for name, _ in headers}
    lines = [b" ".join((method, path, version))]
    if b"host" not in given:
        lines.append(b"Host: 127.0.0.1")
    if b"connection" not in given:
        lines.append(b"Connection: close")
    if body is not None and not given & {b"content-length", b"transfer-encoding"}:
        lines.append(b"Content-Length: %d" % len(body))
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def corpus() -> Iterator[tuple[str, bytes]]:
    """Every single oddity by itself: (its kind, the bytes)."""
    for raw in WHOLE:
        yield "whole", raw
    for method in METHODS:
        for path in (b"/", b"/offer", b"/static/css/base.css", b"/nothing"):
            yield "method", request(method, path)
    for path in ODD_PATHS:
        yield "path", request(b"GET", path)
    for version in VERSIONS:
        yield "version", request(version=version)
    for body in _bodies():
        yield "body", request(b"POST", b"/offer", ((b"Content-Type", b"application/json"),), body)
    for chunks in CHUNKED:
        yield "chunked", request(b"POST", b"/offer", ((b"Transfer-Encoding", b"chunked"),), chunks)
    for encoding in (b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip"):
        for body in (b"", b"{}", gzip.compress(b"{}"), gzip.compress(b"{}")[:-6], gzip.compress(bytes(20 << 20))):
            yield "encoding", request(b"POST", b"/offer", ((b"Content-Encoding", encoding),), body)
    for name in NAMES:
        for value in VALUES:
            yield "header", request(b"GET", b"/v1/engines", ((name, value),))


def header_cases_with_body() -> Iterator[tuple[str, bytes]]:
    """Every header oddity on a request with a body."""
    for name in NAMES:
        for value in VALUES:
            yield "header+body", request(b"POST", b"/offer", ((name, value),), b'{"type": "x"}')


def mutations(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """``count`` random combinations of the same oddities, and requests with damaged bytes."""
    chance = random.Random(seed)
    paths = PATHS + ODD_PATHS
    bodies = (None, None, *_bodies(), *CHUNKED)
    for number in range(count):
        headers = tuple((chance.choice(NAMES), chance.choice(VALUES)) for _ in range(chance.randrange(4)))
        method, version = chance.choice(METHODS[:8]), chance.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"))
        raw = request(method, chance.choice(paths), headers, chance.choice(bodies), version)
        if number % 3 == 0:
            damaged = bytearray(raw)
            for _ in range(chance.randrange(1, 6)):
                damaged[chance.randrange(min(len(damaged), 400))] = chance.randrange(256)
            yield "damaged", bytes(damaged)
        else:
            yield "combined", raw


def _bodies() -> list[bytes]:
    fields: list[dict[str, Any]] = [
        {"type": "offer", "sdp": "v=0", name: value} for name in ("type", "sdp") for value in JSON_VALUES
    ]
    fields += [
        {"type": "offer", "sdp": "m=audio 9 x 111", name: value}
        for name in ("session", "pipeline")
        for value in JSON_VALUES
    ]
    vision = ("enabled", "detectors", "overlay", "fps", "every", "language")
    fields += [
        {"type": "offer", "sdp": "x", "session": {"vision": {name: value}}} for name in vision for value in JSON_VALUES
    ]
    fields += [{"type": "offer", "sdp": "x", "session": {"vision": value}} for value in JSON_VALUES]
    return [
        *BODIES,
        *(json.dumps(value).encode() for value in JSON_VALUES),
        *(json.dumps(field).encode() for field in fields),
    ]
