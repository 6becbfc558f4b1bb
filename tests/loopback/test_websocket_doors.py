"""Who gets a WebSocket and who does not, told with an HTTP status before the handshake."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from server.dialects.openai.fields import SessionPatch
from server.http.signaling.offer import REGISTRY
from tests.fakes.socket_client import SocketClient

KEY = "correct-horse-battery"
OFFER = f"openai-insecure-api-key.{KEY}"


async def refused(url: str, query: str = "model=x", **options: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with SocketClient(url, query, **options):
            pass
    return error.value.status


async def test_a_key_comes_in_the_header_or_among_the_subprotocols(serve, caplog):
    caplog.set_level(logging.DEBUG)
    url, _ = await serve(api_key=KEY)
    bearer = {"Authorization": f"Bearer {KEY}"}
    async with SocketClient(url, headers=bearer) as client:
        await client.event("session.created")
        assert client.socket.protocol is None
    for offered in (["realtime", OFFER], [OFFER, "realtime", "vendor.tag"]):
        async with SocketClient(url, protocols=offered) as client:
            await client.event("session.created")
            assert client.socket.protocol == "realtime"
    assert await refused(url) == 401
    assert await refused(url, headers={"Authorization": "Bearer wrong"}) == 401
    assert await refused(url, protocols=["realtime", "openai-insecure-api-key.wrong"]) == 401
    assert await refused(url, protocols=["realtime", f"openai-insecure-api-key.{KEY}x"]) == 401
    assert await refused(url, protocols=[OFFER]) == 400
    assert await refused(url, protocols=["something", OFFER]) == 400
    assert KEY not in caplog.text


async def test_only_pages_that_belong_here_may_connect(serve):
    url, _ = await serve(allowed_origins="https://app.example.org")
    assert await refused(url, headers={"Origin": "https://evil.example.org"}) == 403
    assert await refused(url, headers={"Host": "evil.example.org"}) == 403
    async with SocketClient(url, headers={"Origin": "https://app.example.org"}) as client:
        await client.event("session.created")


async def test_a_full_server_says_so_before_the_handshake_and_has_room_again(serve):
    url, app = await serve(max_sessions=1)
    async with SocketClient(url) as client:
        await client.event("session.created")
        assert await refused(url) == 503
        async with aiohttp.ClientSession() as http:
            assert (await http.get(f"{url}/readyz")).status == 503
            metrics = await (await http.get(f"{url}/metrics")).text()
            assert "visavis_sessions 1.0" in metrics
    await asyncio.wait(set(app[REGISTRY]._tasks) or [asyncio.create_task(asyncio.sleep(0))])
    async with SocketClient(url) as client:
        await client.event("session.created")
    assert await refused(url, "call_id=rtc_0123456789abcdef") == 404
    assert await refused(url, "intent=world-domination") == 400


async def test_what_is_no_websocket_is_told_what_is(serve):
    url, app = await serve()
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/realtime?model=x") as response:
        assert response.status == 426
        assert response.headers["Upgrade"] == "websocket"
        assert (await response.json())["error"]["param"] == "Upgrade"
    nonce = "AAAAAAAAAAAAAAAAAAAAAA=="
    old = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "99", "Sec-WebSocket-Key": nonce}
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/realtime", headers=old) as response:
        assert response.status == 426
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/realtime") as response:
        assert response.status == 405
    assert not len(app[REGISTRY])


async def test_a_handshake_that_fails_leaves_nothing_behind(serve):
    url, app = await serve()
    registry = app[REGISTRY]

    async def gone() -> Any:
        raise ConnectionResetError("the client has left")

    with pytest.raises(ConnectionResetError):
        await registry.converse(gone, SessionPatch())
    assert not len(registry)
    assert not registry._tasks
    async with SocketClient(url) as client:
        created = await client.event("session.created")
        with pytest.raises(ConnectionResetError):
            await registry.attend(created["session"]["id"], gone)
        assert not any(registry._sidebands.values())


async def test_a_client_that_leaves_frees_its_place_however_it_leaves(serve):
    url, app = await serve()
    async with SocketClient(url) as client:
        await client.event("session.created")
        client.socket._conn.protocol.transport.abort()
        tasks = set(app[REGISTRY]._tasks)
        assert len(tasks) == 1
        await asyncio.wait(tasks)
        assert not len(app[REGISTRY])
