"""Bodies of HTTP answers that are read as a whole, whatever pieces they come in."""

from __future__ import annotations

from typing import Protocol


class Pieces(Protocol):
    """The content of an answer of aiohttp."""

    async def read(self, n: int = -1, /) -> bytes:
        """Some of the next ``n`` bytes, as they have come; empty at the end."""
        ...


async def read_body(content: Pieces, most: int) -> bytes:
    """The body up to ``most`` bytes: one ``read`` returns what has come, which may be a part of it."""
    body = bytearray()
    while len(body) < most and (piece := await content.read(most - len(body))):
        body += piece
    return bytes(body)
