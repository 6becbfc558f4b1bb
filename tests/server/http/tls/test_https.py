"""HTTPS by real clients: trusted, refused, bounded, and what plain HTTP is told on the same port."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl

import aiohttp
import pytest

from server.http.tls.certificates import fingerprint, self_signed
from server.http.tls.listener import elsewhere
from server.http.web_server import WebServer
from server.settings import SettingsError, load_settings
from tests.conftest import fake_engines
from tests.fakes.peer import Peer
from tests.fakes.raw_http import address_of, ask
from tests.patience import PATIENCE


@pytest.fixture
async def secure(serve, tmp_path):
    """``url, client``: a server with a certificate of its own making, and a client that trusts just that one."""
    clients = []

    async def start(**settings):
        url, _ = await serve(tls_self_signed=True, cache=tmp_path, **settings)
        context = ssl.create_default_context(cafile=tmp_path / "tls" / "self-signed.crt")
        client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        clients.append(client)
        return url, client

    yield start
    for client in clients:
        await client.close()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_client_that_trusts_the_certificate_is_served(secure, name):
    url, client = await secure(host=name)
    assert url.startswith("https://")
    _, _, port = url.rpartition(":")
    for _ in range(3):
        response = await client.get(f"https://{name}:{port}/v1/engines", headers={"Origin": f"https://{name}:{port}"})
        assert response.status == 200
        assert response.headers["X-Request-Id"]
    assert (await client.get(f"https://{name}:{port}/")).content_type == "text/html"


async def test_a_client_that_does_not_trust_it_is_not_served_and_harms_nobody(secure):
    url, client = await secure()
    async with aiohttp.ClientSession() as stranger:
        for _ in range(5):
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get(url)
    assert (await client.get(url)).status == 200


async def test_a_whole_conversation_is_signalled_over_https(secure):
    url, client = await secure()

    class Caller(Peer):
        async def _signal(self, offer):
            async with client.post(f"{self.url}/offer", json=offer) as response:
                return await response.json()

    async with Caller(url) as caller:
        await caller.event("session.created")


async def test_a_certificate_of_the_users_own_is_served(serve, tmp_path):
    made = self_signed(tmp_path, ["assistant.example.org"])
    url, _ = await serve(tls_cert=made.public, tls_key=made.path, api_key="secret-key")
    context = ssl.create_default_context(cafile=made.public)
    host, port = address_of(url)
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="assistant.example.org")
    assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: assistant.example.org\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def served(url: str) -> str:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(*address_of(url), ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return hashlib.sha256(shown).hexdigest()


async def test_a_renewed_certificate_is_taken_up_and_a_half_is_not(serve, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("server.http.web_server.RENEW_SECONDS", 0.01)
    made = self_signed(tmp_path / "one", [])
    url, _ = await serve(tls_cert=made.public, tls_key=made.path)
    first = await served(url)
    other = self_signed(tmp_path / "other", [])
    made.public.write_bytes(other.public.read_bytes())  # and not the key, yet
    async with asyncio.timeout(PATIENCE):
        while "the certificate of before is kept: tls_cert, tls_key" not in caplog.text:
            assert await served(url) == first
    assert await served(url) == first
    made.path.write_bytes(other.path.read_bytes())
    async with asyncio.timeout(PATIENCE):
        while (now := await served(url)) == first:
            pass
    assert now == fingerprint(other.public).replace(":", "").lower()


async def test_plain_http_is_sent_to_https(secure):
    url, client = await secure()
    plain = url.replace("https:", "http:")
    async with aiohttp.ClientSession() as http:
        sent = await http.get(f"{plain}/static/css/base.css?v=1", allow_redirects=False)
        assert (sent.status, sent.headers["Location"]) == (307, f"{url}/static/css/base.css?v=1")
        posted = await http.post(f"{plain}/offer", data=b"{}", headers={"Authorization": "Bearer secret-key"})
        assert (posted.status, (await posted.json())["error"]["code"]) == (400, "https_required")
    assert (await client.get(sent.headers["Location"])).status == 200


@pytest.mark.parametrize(
    ("head", "place"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "https://a.example:8080/"),
        (b"HEAD /x?y=z HTTP/1.1\r\nAccept: */*\r\nhost:a.example\r\nX: y\r\n\r\n", "https://a.example/x?y=z"),
        (b"GET //evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "https://a.example//evil.example/"),
        (b"GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n", None),
        (b"GET /\xff HTTP/1.1\r\nHost: a.example\r\n\r\n", None),
        (b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: a.example\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\n\r\n", None),
        (b"\x00\x01", None),
        (b"", None),
    ],
)  # fmt: skip
def test_where_plain_http_is_sent(head, place):
    lines = elsewhere(head).split(b"\r\n\r\n")[0].decode().split("\r\n")
    found = [line.removeprefix("Location: ") for line in lines if line.startswith("Location: ")]
    assert found == ([] if place is None else [place])
    assert lines[0] == ("HTTP/1.1 400 Bad Request" if place is None else "HTTP/1.1 307 Temporary Redirect")


async def test_who_says_nothing_or_nonsense_is_let_go_and_others_are_served(secure):
    url, client = await secure(request_timeout=2.0)
    address = address_of(url)
    silent = [await asyncio.open_connection(*address) for _ in range(5)]
    for raw in (b"\x16", b"\x16\x03\x01\x02\x00nonsense" * 40, b"\x16\x03\x01" + bytes(500)):
        assert await ask(*address, raw) is not None
    async with asyncio.timeout(PATIENCE):
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
    assert (await client.get(url)).status == 200


async def test_the_head_of_a_request_has_a_deadline_in_tls_too(secure, tmp_path):
    url, _ = await secure(request_timeout=2.0)
    context = ssl.create_default_context(cafile=tmp_path / "tls" / "self-signed.crt")
    reader, writer = await asyncio.open_connection(*address_of(url), ssl=context)
    writer.write(b"GET / HTTP/1.1\r\n")
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
    writer.close()


async def test_connections_that_are_being_set_up_are_bounded(secure, monkeypatch):
    monkeypatch.setattr("server.http.web_server._GREETED_PER_ADDRESS", 2)
    url, client = await secure()
    address = address_of(url)
    assert (await client.get(url)).status == 200  # and is no longer being set up
    waiting = [await asyncio.open_connection(*address) for _ in range(2)]
    refused = await ask(*address, b"")
    assert refused is not None
    assert refused.startswith(b"HTTP/1.1 429 ")
    for _, writer in waiting:
        writer.close()


async def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings({"port": taken.getsockname()[1], "tls_self_signed": True, "cache": tmp_path})
        from server.http.app import create_app

        engines = fake_engines()
        server = WebServer(create_app(settings, engines), settings)
        with pytest.raises(SettingsError, match="cannot listen on 127"):
            await server.start()
        await server.close()
        await engines.close()
