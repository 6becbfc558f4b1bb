"""Requests that never finish, answers that nobody takes, connections that nobody uses: on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from itertools import repeat

import pytest
from aiohttp import web

from tests.fakes.raw_http import address_of, error_in

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
Connect = Callable[..., object]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``reader, writer = await connect(url)``"""
    async with AsyncExitStack() as stack:

        async def opened(url: str, limit: int = 65536) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(*address_of(url), limit=limit)
            stack.callback(writer.close)
            return reader, writer

        yield opened


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pieces: object = repeat(b"a")) -> bytes:
    """Send a byte now and then until the server answers."""
    answer = asyncio.ensure_future(answer_to(reader))
    for piece in pieces:
        await asyncio.wait({answer}, timeout=0.02)
        if answer.done():
            break
        writer.write(piece)
    return await answer


async def answer_to(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def test_a_head_that_never_ends(serve, connect):
    url, _ = await serve(request_timeout=1.5)
    reader, writer = await connect(url)
    writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
    answer = await trickle(reader, writer)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert error_in(answer)["code"] == "request_timeout"


async def test_the_head_of_a_later_request(serve, connect):
    url, _ = await serve(request_timeout=1.5)
    reader, writer = await connect(url)
    for _ in range(3):
        writer.write(GET)
        assert (await answer_to(reader)).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
    assert (await trickle(reader, writer)).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_without_a_word(serve, connect):
    url, _ = await serve(request_timeout=1.5)
    reader, _ = await connect(url)
    assert await reader.read() == b""


@pytest.mark.parametrize("key", [None, "secret-key"])
async def test_a_body_that_never_ends(serve, connect, key):
    url, _ = await serve(request_timeout=1.5, api_key=key)
    reader, writer = await connect(url)
    writer.write(b"POST /offer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n{")
    answer = await trickle(reader, writer)
    assert answer.startswith(b"HTTP/1.1 408 " if key is None else b"HTTP/1.1 401 ")  # without the key none is read
    assert error_in(answer)["code"] == ("request_timeout" if key is None else "missing_api_key")


async def test_chunks_that_never_end(serve, connect):
    url, _ = await serve(request_timeout=1.5)
    reader, writer = await connect(url)
    writer.write(b"POST /offer HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (await trickle(reader, writer, repeat(b"1\r\n \r\n"))).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed(serve, connect):
    url, _ = await serve(idle_timeout=1.0)
    reader, writer = await connect(url)
    writer.write(GET)
    assert (await answer_to(reader)).startswith(b"HTTP/1.1 200 ")
    assert await reader.read() == b""


async def test_answers_that_nobody_takes(serve, connect):
    """The client asks again and again and reads nothing; it sees that the server has hung up when it goes on asking."""
    url, _ = await serve(request_timeout=1.5)
    _, writer = await connect(url, limit=1024)
    with pytest.raises(ConnectionError):
        while True:
            writer.write(b"GET /static/css/base.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
            await writer.drain()


async def test_places_are_given_back(serve, connect):
    url, _ = await serve(max_connections_per_address=3)
    inside = [await connect(url) for _ in range(3)]
    for reader, writer in inside:
        writer.write(GET)
        assert (await answer_to(reader)).startswith(b"HTTP/1.1 200 ")
    reader, _ = await connect(url)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert error_in(answer)["code"] == "too_many_connections"
    inside[0][1].close()
    while not answer.startswith(b"HTTP/1.1 200 "):
        reader, writer = await connect(url)
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        try:
            answer = await reader.read()
        except ConnectionError:  # refused before it could ask
            continue


async def test_more_than_all_places(serve, connect):
    url, _ = await serve(max_connections=2)
    inside = [await connect(url) for _ in range(2)]
    for reader, writer in inside:
        writer.write(GET)
        assert (await answer_to(reader)).startswith(b"HTTP/1.1 200 ")
    reader, _ = await connect(url)
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")


def test_what_is_used_of_aiohttp_is_there():
    assert version("aiohttp").startswith("3.14.")
    used = {"_request_count", "_messages", "_waiter"}
    assert used <= set(web.RequestHandler.__slots__)
    methods = ("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing", "handle_error")
    assert all(callable(getattr(web.RequestHandler, name)) for name in (*methods, "force_close", "log_exception"))
