"""Pictures come as data: whatever address stands in their place, nobody is asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.fakes.peer import Peer


class Seeing(FakeModel):
    takes_images = True


@pytest.fixture
async def watched() -> AsyncIterator[tuple[str, list[str]]]:
    """An address on this machine, and who has asked there."""
    visits: list[str] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(str(writer.get_extra_info("peername")))
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}", visits
    server.close()
    await server.wait_closed()


def addresses(place: str) -> list[str]:
    return [
        f"http://{place}/a.png",
        f"HTTP://{place}/a.png",
        f"https://{place}/a.png",
        f"//{place}/a.png",
        f"ftp://{place}/a.png",
        f" http://{place}/a.png",
        f"data:image/png;base64,http://{place}/a.png",
        f"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><image href='http://{place}/a.png'/></svg>",
        f"data:text/html,<img src='http://{place}/a.png'>",
        f"blob:http://{place}/a",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "",
    ]


async def test_rest(serve, watched):
    place, visits = watched
    model = Seeing()
    url, _ = await serve(fake_engines(llm=model))
    async with aiohttp.ClientSession() as http:
        for address in addresses(place):
            for picture in (address, {"url": address}):
                content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": picture}]
                body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}
                response = await http.post(f"{url}/v1/chat/completions", json=body)
                error = (await response.json())["error"]
                assert (response.status, error["param"]) == (400, "messages.0.content.1.image_url.url"), address
    assert model.requests == []
    assert visits == []


async def test_realtime(serve, watched):
    place, visits = watched
    model = Seeing()
    url, _ = await serve(fake_engines(llm=model))
    async with Peer(url) as peer:
        await peer.event("session.created")
        for count, address in enumerate(addresses(place), 1):
            content = [{"type": "input_image", "image_url": address}]
            peer.send(
                {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
            )
            error = (await peer.event("error", count))["error"]
            assert error["param"] == "item.content.0.image_url", address
        assert peer.named("conversation.item.added") == []
    assert model.requests == []
    assert visits == []


@pytest.mark.parametrize("path", ["/offer", "/v1/realtime/client_secrets"])
async def test_pictures_of_a_session(serve, watched, path):
    place, visits = watched
    url, _ = await serve()
    async with Peer(url) as peer, aiohttp.ClientSession() as http:
        offer = {"sdp": peer.pc.localDescription.sdp, "type": "offer"}
        for address in filter(None, addresses(place)):
            for vision, param in (
                ({"background": {"kind": "image", "image": address}}, "session.vision.background.image"),
                ({"templates": [{"name": "cup", "image": address}]}, "session.vision.templates.0.image"),
            ):
                body = {**(offer if path == "/offer" else {}), "session": {"vision": vision}}
                response = await http.post(url + path, json=body)
                error = (await response.json())["error"]
                assert (response.status, error["param"]) == (400, param), (address, error)
    assert visits == []
