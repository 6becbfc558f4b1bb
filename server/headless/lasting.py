"""A conversation that lasts longer than a call: where one is lost, or its session has to move, another goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from media.frames import Samples
from media.opus import FRAME, RATE
from server.headless.call import Address, Call
from server.headless.watch import watch
from server.settings import SettingsError

RESUME_SECONDS = 60.0
"""For which a server remembers the conversation of a call that was lost, and another is tried."""
RETRY_SECONDS = 1.0
MOST_USELESS = 5
"""Calls in a row in which nothing was said or answered, after which none is tried any more."""
PAUSE_SECONDS = 0.4
"""Of quiet are a pause between two phrases."""
LEAD_SECONDS = 0.2
"""Of it stand before a phrase that is said again."""
_QUIET = 0.02
"""Quiet is what is below this share of the loudest sample."""

Connect = Callable[[str | None], Call]
"""Makes a call that goes on with the conversation of a session, or begins one."""
Work = Callable[[Call], Coroutine[Any, Any, None]]


async def hold(connect: Connect, work: Work, address: Address, told: Callable[[Call], bool]) -> None:
    """Do ``work`` in a call, and once more in another one each time that one is over before the work is done.

    ``told`` is given each call that was over, before the next one, and says whether it was of any use; after one that
    was not, the next one waits. Raises :class:`SettingsError` when no call comes about, when one was lost that cannot
    be gone on with, and when too many were of no use.
    """
    session: str | None = None
    useless = 0
    while True:
        async with await _opened(connect, session) as call:
            if await _is_done(work(call), call, address):
                return
        if call.answered is None or call.answered.session is None:
            raise SettingsError(f"{call.over_because}, and {address.url} names no session to go on with")
        session = call.answered.session
        useless = 0 if told(call) else useless + 1
        if useless >= MOST_USELESS:
            raise SettingsError(f"{call.over_because}, in {useless} calls in a row: {address.url} keeps none")
        if useless:
            await asyncio.sleep(useless * RETRY_SECONDS)


async def _opened(connect: Connect, session: str | None) -> Call:
    """A call that is connected; whoever goes on waits for a server that is just starting again."""
    tries = 1 if session is None else round(RESUME_SECONDS / RETRY_SECONDS)
    while True:
        tries -= 1
        try:
            return await connect(session).connected()
        except SettingsError:
            if tries <= 0:
                raise
            await asyncio.sleep(RETRY_SECONDS)


async def _is_done(work: Coroutine[Any, Any, None], call: Call, address: Address) -> bool:
    """Whether the work was done before the call was over."""
    working = asyncio.create_task(work, name="work")
    over = asyncio.create_task(call.over.wait(), name="over")
    others: list[asyncio.Task[Any]] = [over]
    if call.answered is not None and call.answered.watched and call.answered.session is not None:
        others.append(asyncio.create_task(_watched(call, address, call.answered.session), name="watch"))
    try:
        await asyncio.wait({working, over}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        for task in (working, *others):
            task.cancel()
        await asyncio.gather(working, *others, return_exceptions=True)


async def _watched(call: Call, address: Address, session: str) -> None:
    if (state := await watch(address, session)) != "unknown":
        call.end("its process is being replaced" if state == "leaving" else "its process has ended")


def phrase_start(speech: Samples, position: int) -> int:
    """Where the phrase begins that is said at sample ``position`` of 48 kHz mono, or was the last before it. Pure.

    What was being said when a call was lost is said again from there: nobody has answered it.
    """
    frames = speech[: max(0, min(position, len(speech))) // FRAME * FRAME].reshape(-1, FRAME)
    loudest = int(np.abs(speech.astype(np.int32)).max()) if len(speech) else 0
    peaks = np.abs(frames.astype(np.int32)).max(axis=1, initial=0)
    loud = [int(frame) for frame in np.flatnonzero(peaks > _QUIET * loudest)]
    for before, first in zip(loud[-2::-1], loud[:0:-1], strict=True):
        if (first - before - 1) * FRAME >= PAUSE_SECONDS * RATE:
            return max(0, first * FRAME - round(LEAD_SECONDS * RATE))
    return 0
