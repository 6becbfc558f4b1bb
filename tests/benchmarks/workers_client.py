"""The callers of :mod:`tests.benchmarks.workers`: a process for each worker, so that none waits for another.

Prints ``ready`` with the sessions that it has in its worker, hears until a line comes, and prints what was heard. When
the worker of a session ends, the session goes on in another one, as any client would do it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine, Iterable
from itertools import pairwise
from typing import Any

from aiortc import RTCRtpReceiver

from media.aiortc_internals.receive import take_audio
from media.clock import MonotonicClock
from server.headless.call import Address, Call
from server.headless.watch import watch
from tests.benchmarks.voice_sound import Microphone

LINE = "We have met before. My number is {}."
TICK = 0.005
HEARD_AGAIN_SECONDS = 20.0


class Caller:
    """One conversation, in one session after another."""

    def __init__(self, url: str, number: int) -> None:
        self.number = number
        self.item = f"item_{number}"
        self.arrivals: list[float] = []
        """Of RTP packets of the session that it has now."""
        self.events: list[dict[str, Any]] = []
        self.times: dict[str, float] = {}
        """What happened when, after its worker had ended; seconds of CLOCK_MONOTONIC."""
        self.history = False
        self.session = ""
        self.why = ""
        """What it was told when it had to go on."""
        self._address = Address(url)
        self._call: Call | None = None

    @property
    def worker(self) -> int:
        """Whose session it is."""
        return int(self.session.removeprefix("sess_").partition("w")[0])

    async def connect(self, resume: str | None = None) -> None:
        """In a new session."""
        self.events, self.arrivals = [], []
        self._call = Call(self._address, Microphone(MonotonicClock()), self._take, self._listen, resume=resume)
        await self._call.__aenter__()
        assert self._call.answered is not None
        self.session = self._call.answered.session or ""
        await self.event("session.created")

    async def say_number(self) -> None:
        """Something to remember."""
        text = {"type": "input_text", "text": LINE.format(self.number)}
        item = {"id": self.item, "type": "message", "role": "user", "content": [text]}
        self._send({"type": "conversation.item.create", "item": item})
        await self.event("conversation.item.added", "conversation.item.done")

    async def listen_to_answer(self) -> None:
        """Let something sound."""
        self._send({"type": "response.create"})
        await self.event("response.created")

    async def go_on(self) -> None:
        """Wait until its worker ends, and go on in another: timed."""
        before = self.session
        self.why = await watch(self._address, before)
        self.times["told"] = time.monotonic()
        old, self._call = self._call, None
        assert old is not None
        closing = asyncio.create_task(old.close())
        try:
            await self.connect(resume=before)
            self.times["ready"] = time.monotonic()
            self._send({"type": "conversation.item.retrieve", "item_id": self.item})
            told = await self.event("conversation.item.retrieved", "error")
            self.history = LINE.format(self.number) in json.dumps(told)
            self.times["history"] = time.monotonic()
            async with asyncio.timeout(HEARD_AGAIN_SECONDS):
                while not self.arrivals:  # noqa: ASYNC110
                    await asyncio.sleep(TICK)
            self.times["heard"] = self.arrivals[0]
            await self.listen_to_answer()
            self.times["answered"] = time.monotonic()
        finally:
            await closing

    async def event(self, *names: str) -> dict[str, Any]:
        """The first event of one of these types, since the session began."""
        async with asyncio.timeout(HEARD_AGAIN_SECONDS):
            while True:
                for event in self.events:
                    if event["type"] in names:
                        return event
                await asyncio.sleep(TICK)

    async def close(self) -> None:
        """Hang up."""
        if self._call is not None:
            await self._call.close()

    def _send(self, event: dict[str, Any]) -> None:
        assert self._call is not None
        self._call.send(event)

    def _take(self, text: str) -> None:
        self.events.append(json.loads(text))

    def _listen(self, receiver: RTCRtpReceiver) -> Iterable[Coroutine[Any, Any, None]]:
        take_audio(receiver, lambda *_: self.arrivals.append(time.monotonic()))
        return ()


async def callers_of(url: str, worker: int, count: int, first: int) -> list[Caller]:
    """So many sessions in this worker. Those that began elsewhere are kept until then: they would come there again."""
    mine: list[Caller] = []
    others: list[Caller] = []
    while len(mine) < count:
        caller = Caller(url, first + len(mine))
        await caller.connect()
        if caller.worker != worker:
            others.append(caller)
            continue
        await caller.say_number()
        mine.append(caller)
    for caller in others:
        await caller.close()
    return mine


async def _late(lates: list[tuple[float, float]]) -> None:
    """How late this client itself is: gaps of its own making are no server's."""
    while True:
        due = time.monotonic() + TICK
        await asyncio.sleep(TICK)
        lates.append((due, time.monotonic() - due))


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def _line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def _gaps(caller: Caller, since: float) -> dict[str, Any]:
    heard = [arrival for arrival in caller.arrivals if arrival >= since]
    gaps = sorted(((round((b - a) * 1000.0, 1), round(a - since, 2)) for a, b in pairwise(heard)), reverse=True)
    return {"session": caller.session, "packets": len(heard), "largest_gaps": gaps[:3]}


async def main() -> None:
    """``URL WORKER COUNT FIRST``: hear, and tell."""
    url, worker, count, first = sys.argv[1], *map(int, sys.argv[2:5])
    callers = await callers_of(url, worker, count, first)
    lates: list[tuple[float, float]] = []
    for caller in callers:
        await caller.listen_to_answer()
    going_on = [asyncio.create_task(caller.go_on()) for caller in callers]
    watching = asyncio.create_task(_late(lates))
    _say({"ready": [caller.session for caller in callers]})
    since = float(await _line())
    await _line()
    watching.cancel()
    own = 1000.0 * max((late for due, late in lates if due >= since), default=0.0)
    report = [
        {**_gaps(caller, since), "times": caller.times, "history": caller.history, "why": caller.why}
        for caller in callers
    ]
    _say({"callers": report, "own_delay_ms": round(own, 1)})
    for task in going_on:
        task.cancel()
    results = await asyncio.gather(*going_on, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            sys.stderr.write(f"a caller failed: {result!r}\n")
    for caller in callers:
        await caller.close()


if __name__ == "__main__":
    asyncio.run(main())
