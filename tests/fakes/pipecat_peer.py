"""A client that signals and speaks as Pipecat's SmallWebRTC transport does, made of aiortc."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from tests.fakes.peer import Peer


class PipecatPeer(Peer):
    """A peer that signals as Pipecat's transport does; ``path`` is where it offers."""

    def __init__(
        self,
        url: str,
        *,
        path: str = "/api/offer",
        pc_id: str | None = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, **{"channel": "chat", **options})
        self.path = path
        self.pc_id = pc_id
        self.headers = headers or {}
        self.restart = pc_id is not None
        self.extra: dict[str, Any] = {}

    async def connect(self) -> None:
        await super().connect()
        self.channel.on("open", self._changed.set)
        await self.until(lambda: self.channel.readyState == "open")  # the server says nothing before the client does

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        body = {"sdp": offer["sdp"], "type": "offer", "pc_id": self.pc_id, "restart_pc": self.restart, **self.extra}
        status, answer = await self.request("POST", body)
        assert status == 200, answer
        self.pc_id = answer["pc_id"]
        return answer

    async def request(self, method: str, body: Any) -> tuple[int, dict[str, Any]]:
        return await asked(self.url, method, self.path, body, **self.headers)

    def say_message(self, kind: str, message_id: str = "m1", **data: Any) -> None:
        self.send({"label": "rtvi-ai", "type": kind, "id": message_id, "data": data})

    async def ready(self) -> dict[str, Any]:
        self.send("ping: 1")
        self.say_message("client-ready", "ready", version="2.1.0", about={"library": "a test"})
        return await self.event("bot-ready")

    async def response(self, data: str, count: int = 1) -> dict[str, Any]:
        """Send text; the ``count``-th response in all has been heard when this returns its last words."""
        self.say_message("send-text", content=data)
        await self.event("bot-stopped-speaking", count)
        return self.named("bot-output")[-1]["data"]


async def asked(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json", **headers}
    async with aiohttp.ClientSession() as http, http.request(method, url + path, data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def started(url: str, body: Any = None) -> str:
    status, answer = await asked(url, "POST", "/start", body)
    assert status == 200, answer
    assert set(answer) == {"sessionId"}
    return f"/sessions/{answer['sessionId']}/api/offer"
