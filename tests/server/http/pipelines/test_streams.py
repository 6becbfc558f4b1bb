"""Runs over raw sockets: answers begin before the request has ended, and end when the client has gone."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np

from tests.fakes.raw_http import address_of
from tests.patience import PATIENCE, until
from tests.server.http.rest.clients import HangingModel, bursts, sound_file

HEAD = (
    "POST /v1/pipelines/{pipeline} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    "Accept: {accept}\r\n{more}Transfer-Encoding: chunked\r\n\r\n"
)


class Raw:
    """A client that sends and reads as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, url: str, pipeline: str, kind: str, accept: str = "*/*", more: str = "") -> Raw:
        raw = cls(*await asyncio.open_connection(*address_of(url)))
        raw.writer.write(HEAD.format(pipeline=pipeline, kind=kind, accept=accept, more=more).encode())
        return raw

    async def send(self, data: bytes) -> None:
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")

    async def head(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def piece(self) -> bytes:
        """The next chunk of the answer; empty at its end."""
        async with asyncio.timeout(PATIENCE):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size)
            await self.reader.readline()
            return data

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while data := await self.piece():
            yield data

    async def close(self) -> None:
        self.writer.close()


def events(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in data.split(b"\n\n") if line]


async def test_the_answer_begins_before_the_body_has_ended(house):
    http = await house()
    assert http
    speech = bursts(1.0, 1.0, pause=2.0).astype("<i2").tobytes()
    raw = await Raw.open(house.url, "write", "audio/pcm", "text/plain")
    await raw.send(speech)
    assert "200 OK" in await raw.head()
    assert (await raw.piece()).startswith(b"Hello")  # nothing says yet that this is all
    raw.end()
    rest = b"".join([piece async for piece in raw.pieces()])
    assert rest.endswith(b"\n")
    await raw.close()


async def test_files_are_decoded_as_they_arrive(house):
    http = await house()
    assert http
    file = sound_file(bursts(1.0, 1.0, 1.0, pause=2.0), "ogg", "libopus", 48_000)
    raw = await Raw.open(house.url, "write", "audio/ogg", "text/event-stream")
    half = len(file) * 2 // 3
    await raw.send(file[:half])
    told: list[dict[str, Any]] = []
    async for piece in raw.pieces() if "200" in await raw.head() else ():
        told += events(piece)
        if told[-1]["type"] == "stage.output":
            break
    await raw.send(file[half:])
    raw.end()
    async for piece in raw.pieces():
        told += events(piece)
    assert told[-1]["outcome"] == "completed"
    await raw.close()


async def test_a_client_that_leaves_ends_the_run(house, engines):
    engines.llm = model = HangingModel()
    http = await house()
    assert http
    raw = await Raw.open(house.url, "talk", "text/plain")
    await raw.send(b"Hello?")
    raw.end()
    await model.asked.wait()
    began = asyncio.get_running_loop().time()
    raw.writer.close()
    async with asyncio.timeout(PATIENCE):
        await model.stopped.wait()
    assert asyncio.get_running_loop().time() - began < PATIENCE


async def test_a_client_that_leaves_while_its_body_waits_ends_the_run(house, engines):
    """Nothing is read of it then, so nothing tells that it has left but the connection itself. (One that closes it
    politely behind data for which there is no room cannot be noticed: TCP keeps its goodbye in line.)"""
    engines.stt.gate.clear()
    http = await house()
    assert http
    raw = await Raw.open(house.url, "write", "audio/pcm")
    silence = np.zeros(160_000, "<i2").tobytes()
    speech = bursts(1.0, pause=2.0).astype("<i2").tobytes()
    await raw.send(speech)

    async def flood() -> None:
        while True:
            await raw.send(silence)

    flooding = asyncio.create_task(flood())
    await until(lambda: engines.stt.opened > 0)
    flooding.cancel()
    await asyncio.wait([flooding])
    opened = engines.stt.opened
    connected = raw.writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.writer.transport.abort()
    await until(lambda: engines.stt.closed == opened)


async def test_a_body_that_stops_is_given_up(house):
    http = await house(request_timeout=0.2)
    assert http
    raw = await Raw.open(house.url, "write", "audio/pcm")
    await raw.send(bytes(3200))
    assert "408 Request Timeout" in await raw.head()
    await raw.close()


async def test_a_body_has_a_limit_even_if_it_does_not_tell_its_size(house):
    http = await house(pipeline_body_mb=1)
    assert http
    raw = await Raw.open(house.url, "talk", "application/json")
    await raw.send(bytes(1 << 20))
    await raw.send(b"more")
    assert "413 Request Entity Too Large" in await raw.head()
    await raw.close()


async def test_a_body_that_breaks_off_is_no_whole_file(house, engines):
    engines.stt.gate.clear()
    http = await house()
    assert http
    raw = await Raw.open(house.url, "write", "audio/wav")
    await raw.send(sound_file(bursts(1.0)))
    raw.writer.write(b"zz\r\n")  # no size of a chunk
    assert "400 Bad Request" in await raw.head()
    await raw.close()
