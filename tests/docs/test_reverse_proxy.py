"""The files of ``docs/how-to/reverse-proxy.md`` in the real Caddy and nginx, in front of the real application."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.conftest import fake_engines
from tests.patience import PATIENCE
from tools.doc_tables import DOCS

NAME = "assistant.example.org"
KEY = "a-key-of-the-test"
TEXT = (DOCS / "how-to" / "reverse-proxy.md").read_text("utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def caddy(folder: Path, port: int, upstream: str) -> list[str]:
    site = block("caddy").replace(NAME, f"https://{NAME}:{port}").replace("127.0.0.1:8080", upstream)
    site = site.replace("reverse_proxy", "tls internal\n\treverse_proxy")
    options = (
        f"{{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n\tstorage file_system {folder}\n}}\n"
    )
    (folder / "Caddyfile").write_text(options + site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def nginx(folder: Path, port: int, upstream: str) -> list[str]:
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    request += ["-subj", f"/CN={NAME}", "-keyout", str(folder / "a.key"), "-out", str(folder / "a.pem")]
    subprocess.run(request, check=True, capture_output=True)
    site = block("nginx").replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8080", upstream)
    site = site.replace("/etc/ssl/assistant", str(folder / "a"))
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
    )
    around = (
        f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}} http {{ access_log off; {places}\n{site}}}"
    )
    (folder / "nginx.conf").write_text(around)
    return ["nginx", "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]


@asynccontextmanager
async def running(command: list[str], port: int) -> AsyncIterator[None]:
    """The program, from when its port is open."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: ASYNC220
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    assert process.poll() is None, f"{command[0]} has ended"
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(0.05)  # nothing tells when another program listens
                        continue
                    writer.close()
                    break
            yield
        finally:
            process.terminate()


class Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def client(origin: str) -> aiohttp.ClientSession:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {KEY}", "Origin": origin}
    return aiohttp.ClientSession(origin, connector=aiohttp.TCPConnector(ssl=trusting, resolver=Here()), headers=headers)


async def call(http: aiohttp.ClientSession) -> str:
    """The first event on the data channel of a call."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    peer.addTrack(AudioStreamTrack())
    peer.createDataChannel("oai-events").on("message", lambda text: told.done() or told.set_result(text))
    try:
        await peer.setLocalDescription(await peer.createOffer())
        offer = {"sdp": peer.localDescription.sdp, "type": "offer"}
        async with http.post("/offer", json=offer) as answer:
            assert answer.status == 200, await answer.text()
            got = await answer.json()
        await peer.setRemoteDescription(RTCSessionDescription(got["sdp"], "answer"))
        async with asyncio.timeout(PATIENCE):
            return await told
    finally:
        await peer.close()


@pytest.mark.parametrize("configured", [caddy, nginx])
async def test_page_websocket_and_call_come_through(serve: Any, tmp_path: Path, configured: Callable[..., list[str]]):
    if shutil.which(configured.__name__) is None:
        pytest.skip(f"{configured.__name__} is not on this machine")
    port = free_port()
    origin = f"https://{NAME}:{port}"
    url, _ = await serve(fake_engines(), api_key=KEY, public_origins=origin, trusted_proxies="127.0.0.1")
    command = configured(tmp_path, port, url.removeprefix("http://"))
    async with running(command, port), client(origin) as http:
        async with http.get("/") as page:
            assert page.status == 200
        async with http.ws_connect("/v1/realtime") as socket_:
            assert (await socket_.receive_json(timeout=PATIENCE))["type"] == "session.created"
        assert "session.created" in await call(http)
        async with http.get("/v1/engines", headers={"Origin": "https://other.example"}) as foreign:
            assert foreign.status == 403
