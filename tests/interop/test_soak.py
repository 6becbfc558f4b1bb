"""Many calls, one after another, whose callers are killed in mid-sentence: nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCPeerConnection

from pipelines.assistant.session import AssistantSession
from pipelines.interfaces.llm import ChatRequest
from server.http.signaling.offer import REGISTRY
from server.transports.webrtc.peer import PeerConnection
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.fakes.peer import Peer
from tests.patience import PATIENCE

AT_A_TIME = 5
"""Calls that are there together: what a process has taken depends on the most that it ever held."""
ROUNDS = 8
LARGEST_GROWTH = 12 * 2**20
"""Bytes that the second half of the rounds may make the process larger: an allocator never gives all back."""
KINDS = (PeerConnection, AssistantSession, RTCPeerConnection)
HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Count, please."}]}


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def alive() -> list[Any]:
    """Calls, and what they are made of, that somebody still refers to."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), KINDS)]  # asks no object for its class


def forget_records() -> None:
    """pytest keeps records for its report, too; the traceback of what failed in a killed peer holds all of the peer."""
    for handler in logging.getLogger().handlers:
        if isinstance(records := getattr(handler, "records", None), list):
            records.clear()


async def until_empty(app: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*app[REGISTRY]._tasks)


async def killed_in_mid_sentence(url: str, app: Any) -> None:
    await asyncio.gather(*(one_killed_in_mid_sentence(url) for _ in range(AT_A_TIME)))
    await until_empty(app)
    gc.collect()  # aiortc's objects refer to each other in circles


async def one_killed_in_mid_sentence(url: str) -> None:
    peer = Peer(url)
    await peer.connect()
    await peer.event("session.created")
    peer.send({"type": "conversation.item.create", "item": HELLO})
    peer.send({"type": "response.create"})
    await peer.event("output_audio_buffer.started")
    peer.vanish()
    await peer.close()


class ForgetfulModel(FakeModel):
    """Keeps no request: they refer to the sessions that they come from."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        async for word in super().stream(request):
            self.requests.clear()
            yield word


@pytest.mark.long
async def test_nothing_is_left_of_callers_that_are_killed_in_mid_sentence(serve):
    model = ForgetfulModel(*["One two three four five six. " * 4] * AT_A_TIME * (ROUNDS + 1))
    others = alive()  # of tests before
    url, app = await serve(fake_engines(llm=model), peer_timeout=1.5)
    await killed_in_mid_sentence(url, app)
    tasks = asyncio.all_tasks()
    before = 0
    for n in range(ROUNDS):
        if n == ROUNDS // 2:
            before = resident()
        await killed_in_mid_sentence(url, app)
    growth = resident() - before  # now: looking at every object there is costs memory, too
    assert not len(app[REGISTRY])
    assert not model.answers
    for _ in range(40):  # aiortc's last tasks end some moments after the session's
        forget_records()
        left = [thing for thing in alive() if not any(thing is other for other in others)]
        late = asyncio.all_tasks() - tasks
        if not left and not late:
            break
        await asyncio.sleep(0.5)
    assert (left, late) == ([], set())
    assert growth < LARGEST_GROWTH
