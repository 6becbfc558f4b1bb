"""Clients of WHIP and WHEP made of aiortc: one that publishes, one that watches."""

from __future__ import annotations

import re
from typing import Any

import aiohttp

from tests.fakes.peer import Peer

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
CANDIDATES = re.compile(r"(?m)^a=(candidate:.*|end-of-candidates)\r\n")


async def request(method: str, url: str, body: str | None = None, **headers: str) -> tuple[int, Any, str]:
    """Status, headers and body of the answer."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body.encode() if body is not None else None
    async with aiohttp.ClientSession() as http, http.request(method, url, data=data, headers=given) as response:
        return response.status, response.headers, await response.text()


class Exchange(Peer):
    """Offers to ``path`` by HTTP; :attr:`location` is what it got.

    ``trickle``: its candidates follow after the offer, and those of the server are not used: only they can connect.
    """

    def __init__(self, url: str, path: str, *, trickle: bool = False, **options: Any) -> None:
        super().__init__(url, channel=None, **options)
        self.path = path
        self.location = ""
        self.headers: Any = {}
        self._trickle = trickle

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        sdp = offer["sdp"]
        own = CANDIDATES.findall(sdp)
        sdp = CANDIDATES.sub("", sdp) if self._trickle else sdp
        status, self.headers, answer = await request("POST", self.url + self.path, sdp, Content_Type=SDP)
        assert status == 201, answer
        self.location = self.headers["Location"]
        if self._trickle:
            assert await self.patch(self.fragment(sdp, own)) == 204
            answer = CANDIDATES.sub("", answer)
        return {"sdp": answer, "type": "answer"}

    def fragment(self, sdp: str, lines: list[str]) -> str:
        """As RFC 9725 shows it."""
        ufrag, password = (re.search(rf"a=ice-{name}:.*", sdp) for name in ("ufrag", "pwd"))
        assert ufrag is not None and password is not None
        head = [ufrag[0].strip(), password[0].strip(), "m=audio 9 RTP/AVP 0", "a=mid:0"]
        return "\r\n".join([*head, *dict.fromkeys(f"a={line}" for line in lines)]) + "\r\n"

    async def patch(self, fragment: str, **headers: str) -> int:
        headers.setdefault("Content_Type", FRAGMENT)
        return (await request("PATCH", self.url + self.location, fragment, **headers))[0]

    async def delete(self) -> int:
        return (await request("DELETE", self.url + self.location))[0]


class Publisher(Exchange):
    """Sends a microphone and a camera, and takes nothing."""

    def __init__(self, url: str, path: str = "/whip", *, kinds: tuple[str, ...] = ("audio", "video"), **options: Any):
        one_way = lambda sdp: sdp.replace("a=sendrecv", "a=sendonly")  # noqa: E731
        super().__init__(url, path, kinds=kinds, rewrite=one_way, **options)

    @property
    def session_id(self) -> str:
        return self.location.rpartition("/")[2]


class Watcher(Exchange):
    """Takes a voice and a video, and sends nothing."""

    def __init__(self, url: str, path: str = "/whep", *, kinds: tuple[str, ...] = ("audio", "video"), **options: Any):
        super().__init__(url, path, kinds=kinds, **options)

    def _add(self, kind: str) -> None:
        self.pc.addTransceiver(kind, "recvonly")
