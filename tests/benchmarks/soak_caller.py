"""One caller of ``soak.py``: connects, speaks, interrupts, writes, mutes, has a function called, leaves and comes back.

What it does next is drawn from a seed, so that two runs differ in timing alone.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from media.aiortc_internals.consent import guard_consent
from media.aiortc_internals.receive import receiver_of, take_audio
from media.clock import MonotonicClock
from server.headless.call import Address
from server.headless.watch import watch
from server.transports.webrtc import ice
from tests.benchmarks.video_camera import NumberedCamera
from tests.benchmarks.voice_ear import Ear, Reply
from tests.benchmarks.voice_sound import Clip, Microphone

ANSWER_SECONDS = 20.0
"""After so long a turn counts as unanswered."""
CONNECT_SECONDS = 30.0
LONGEST_REPLY = 45.0
LONGEST_TURN = 180.0
REPLY_OVER = 1.2
"""Seconds of silence after which a response has ended; longer than its pauses."""
INTERRUPT_AFTER = 0.7
CAMERA_FPS = 8
SILENCE = b"\xf8\xff\xfe"
"""An Opus frame of digital silence: a microphone that is muted."""
WEIGHTS = {"speak": 70, "interrupt": 12, "write": 8, "mute": 5, "function": 5}
"""How often a caller does what, in percent of its turns."""
TOOL = {
    "type": "function",
    "name": "set_lamp",
    "description": "Switches the lamp on or off.",
    "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
}
Tell = Callable[..., None]
"""``tell(kind, **fields)``: a line of the record."""


class MutableMicrophone(Microphone):
    """A microphone with a switch: muted, it sends digital silence, as a browser's does."""

    muted = False

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due."""
        packet = await super().recv()
        if not self.muted:
            return packet
        silent = av.Packet(SILENCE)
        silent.pts, silent.time_base = packet.pts, packet.time_base
        return silent


class Call:
    """One connection with sound, events and perhaps a camera."""

    def __init__(self, url: str, clock: MonotonicClock, film: list[bytes] | None) -> None:
        self.url = url
        self.events: list[dict[str, Any]] = []
        self.session_id = ""
        self.resumed = False
        self.microphone = MutableMicrophone(clock)
        self.ear = Ear(clock)
        self._pc = RTCPeerConnection(ice.configuration(()))
        self._pc.addTrack(self.microphone)
        if film is not None:
            self._pc.addTransceiver(NumberedCamera(film, CAMERA_FPS, clock), direction="sendrecv")
        self._channel = self._pc.createDataChannel("oai-events")
        self._channel.on("message", self._take)
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = False
        """Whether the server has told that the process of the session is no more."""
        self._changed = asyncio.Event()
        self._pc.on("track", self._track)
        self._pc.on("connectionstatechange", self._changed.set)

    @property
    def lost(self) -> bool:
        """Whether it is over, though nobody here hung up."""
        return self._gone or self._pc.connectionState in ("failed", "closed") or self._channel.readyState == "closed"

    @property
    def state(self) -> str:
        """Of the connection, of ICE, and of the data channel."""
        return f"{self._pc.connectionState}, {self._pc.iceConnectionState}, {self._channel.readyState}"

    async def connect(self, resume: str | None = None) -> None:
        """Offer, answer, wait until media and events can flow. Raises ``OSError`` or ``TimeoutError``."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        for transport in {self._pc.sctp.transport, *(t.receiver.transport for t in self._pc.getTransceivers())}:
            guard_consent(transport)  # a browser takes late answers, too
        offer = {"sdp": self._pc.localDescription.sdp, "type": "offer", "resume": resume}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CONNECT_SECONDS)) as http,
            http.post(f"{self.url}/offer", json=offer) as response,
        ):
            answer = await response.json()
            if response.status != 200:
                raise ConnectionRefusedError(f"{response.status} {answer['error']['code']}")
        self.session_id, self.resumed = answer["session_id"], answer["resumed"]
        if answer.get("watched"):
            self._tasks.add(asyncio.create_task(self._watch()))
        await self._pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        if not await self.until(lambda: bool(self.named("session.created")), CONNECT_SECONDS):
            raise TimeoutError("no session.created")
        await self.until(lambda: self.microphone.started, CONNECT_SECONDS)

    async def _watch(self) -> None:
        """As the page does, where the session's process may end without the server ending."""
        self._gone = await watch(Address(self.url), self.session_id) == "gone"
        self._changed.set()

    def send(self, *events: dict[str, Any]) -> None:
        """Client events."""
        for event in events:
            self._channel.send(json.dumps(event))

    def named(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these types so far."""
        return [event for event in self.events if event["type"] in kinds]

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for the condition, no longer than this or than the call lasts; whether it holds."""
        end = time.monotonic() + seconds
        while not condition() and not self.lost and (left := end - time.monotonic()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(left, 0.05)):  # what is heard wakes nobody
                    await self._changed.wait()
            except TimeoutError:
                continue
        return condition()

    def vanish(self) -> None:
        """Be gone as a killed process is: the sockets close, nothing is sent any more."""
        for transceiver in self._pc.getTransceivers():
            transport: Any = transceiver.sender.transport
            for protocol in transport.transport.iceGatherer._connection._protocols:
                protocol.transport.abort()

    async def close(self) -> None:
        """Hang up."""
        await self._pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, message: str) -> None:
        event = json.loads(message)
        if event["type"] in KEPT:
            self.events.append(event)
            self._changed.set()

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            take_audio(receiver_of(self._pc, track), self.ear.packet)
        else:
            self._tasks.add(asyncio.create_task(_discard(track)))


KEPT = frozenset(
    (
        "session.created", "session.moved", "response.created", "response.done", "turn.latency", "error",
        "input_audio_buffer.speech_started", "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
    )
)  # fmt: skip
"""Events that a caller looks at; the others are forgotten."""


async def _discard(track: MediaStreamTrack) -> None:
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        return


@dataclass(frozen=True, slots=True)
class Habits:
    """How a caller passes its time; seconds on the mean."""

    pause: float
    """Between two turns; drawn from 2/3 to 4/3 of it."""
    life: float
    """Of a conversation; exponentially distributed."""
    connection: float
    """Of a connection, after which it offers a new one with ``resume``."""
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    """How often it does what."""
    settings: Mapping[str, Any] | None = None
    """Of each session, in a ``session.update``."""

    @classmethod
    def usual(cls, accelerate: float) -> Habits:
        """A turn every 20–40 s, a conversation of six minutes, a new connection every three."""
        return cls(30 / accelerate, 360 / accelerate, 180 / accelerate)


class Caller:
    """Calls again and again until it is told to stop."""

    def __init__(
        self, number: int, url: str, clips: list[Clip], habits: Habits, tell: Tell, film: list[bytes] | None = None
    ) -> None:
        self.number = number
        self._url = url
        self._clips = clips
        self._habits = habits
        self._tell = tell
        self._film = film
        self._random = random.Random(number)
        self._stop = False
        self._previous: str | None = None

    def stop(self) -> None:
        """End with the turn that is being taken."""
        self._stop = True

    async def run(self) -> None:
        """Converse until told to stop; what goes wrong is told, and the next conversation begins."""
        while not self._stop:
            ends = time.monotonic() + self._random.expovariate(1 / self._habits.life)
            self._previous = None
            while not self._stop and time.monotonic() < ends:
                try:
                    await self._connection(ends)
                except Exception as error:  # noqa: BLE001 - whatever it was, a caller calls again, and it is told
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    what = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"
                    self._tell("trouble", caller=self.number, what=what)
                    await asyncio.sleep(2)

    async def _connection(self, ends: float) -> None:
        """One connection of a conversation: a new one, or one that goes on with what was said before."""
        call, began = Call(self._url, MonotonicClock(), self._film), time.monotonic()
        leaves = min(ends, began + self._random.expovariate(1 / self._habits.connection))
        try:
            await call.connect(self._previous)
            self._tell(
                "connected", caller=self.number, ms=round(1000 * (time.monotonic() - began)),
                resume=self._previous is not None, resumed=call.resumed,
            )  # fmt: skip
            self._previous = call.session_id
            if self._habits.settings is not None:
                session = {"type": "realtime", **self._habits.settings}
                call.send({"type": "session.update", "session": session})
            while not self._stop and time.monotonic() < leaves and not call.lost:
                await asyncio.sleep(self._habits.pause * self._random.uniform(2 / 3, 4 / 3))
                await self._turn(call)
            if call.lost:
                self._tell("trouble", caller=self.number, what="the call was lost", state=call.state)
            if self._random.random() < 0.5:
                call.vanish()
        finally:
            async with asyncio.timeout(10):
                await call.close()

    async def _turn(self, call: Call) -> None:
        weights = self._habits.weights
        kind = self._random.choices(list(weights), list(weights.values()))[0]
        await call.until(lambda: call.ear.quiet_for() > REPLY_OVER, LONGEST_REPLY)
        began, errors = time.monotonic(), len(call.named("error"))
        async with asyncio.timeout(LONGEST_TURN):
            told = await getattr(self, f"_{kind}")(call)
        told["errors"] = [event["error"]["message"] for event in call.named("error")[errors:]]
        told["unanswered"] = told["unanswered"] and not call.lost
        self._tell("turn", caller=self.number, did=kind, took=round(time.monotonic() - began, 1), **told)

    async def _speak(self, call: Call) -> dict[str, Any]:
        told, reply = await self._say(call)
        if reply is not None:
            await call.until(lambda: call.ear.quiet_for() > REPLY_OVER, LONGEST_REPLY)
        return told

    async def _say(self, call: Call) -> tuple[dict[str, Any], Reply | None]:
        """One spoken turn: what became of it, and the response when one was heard."""
        before = {kind: len(call.named(kind)) for kind in KEPT}
        said = call.microphone.say(self._random.choice(self._clips))
        await call.until(lambda: call.ear.reply_after(said.first) is not None, said.last - said.first + ANSWER_SECONDS)
        reply = call.ear.reply_after(said.first)
        told: dict[str, Any] = {"unanswered": reply is None}
        if reply is not None:
            told["voice_ms"] = round(1000 * (reply.start - said.last), 1)
        else:
            told["events"] = [kind for kind in sorted(KEPT) if len(call.named(kind)) > before[kind]]
        await call.until(lambda: time.monotonic() >= said.last, 15)
        return told, reply

    async def _interrupt(self, call: Call) -> dict[str, Any]:
        told, reply = await self._say(call)
        if reply is None:
            return told
        await asyncio.sleep(INTERRUPT_AFTER)
        said = call.microphone.say(self._random.choice(self._clips))
        if call.ear.quiet_for() < REPLY_OVER / 2 and call.ear.replies[-1] is reply:
            await call.until(
                lambda: call.ear.replies[-1] is not reply or call.ear.quiet_for() > REPLY_OVER, LONGEST_REPLY
            )
            if reply.end > said.first:  # else it was over already
                told["stopped_ms"] = round(1000 * (reply.end - said.first), 1)
        await call.until(lambda: time.monotonic() >= said.last, 15)
        await call.until(lambda: call.ear.replies[-1] is not reply, ANSWER_SECONDS)
        told["unanswered"] = call.ear.replies[-1] is reply
        await call.until(lambda: call.ear.quiet_for() > REPLY_OVER, LONGEST_REPLY)
        return told

    async def _write(self, call: Call) -> dict[str, Any]:
        done = len(call.named("response.done"))
        content = [{"type": "input_text", "text": self._random.choice(("How are you?", "Count to five.", "Hello!"))}]
        message = {"type": "message", "role": "user", "content": content}
        call.send({"type": "conversation.item.create", "item": message}, {"type": "response.create"})
        return await self._response(call, done)

    async def _response(self, call: Call, done: int) -> dict[str, Any]:
        answered = await call.until(lambda: len(call.named("response.done")) > done, LONGEST_REPLY)
        status = call.named("response.done")[-1]["response"]["status"] if answered else None
        return {"unanswered": not answered, "status": status}

    async def _mute(self, call: Call) -> dict[str, Any]:
        """Muted in mid-sentence: nothing of what is said then is heard, and the call stays."""
        call.microphone.muted = True
        started = len(call.named("input_audio_buffer.speech_started"))
        call.microphone.say(self._random.choice(self._clips))
        await asyncio.sleep(9)
        call.microphone.muted = False
        await asyncio.sleep(1)
        heard = len(call.named("input_audio_buffer.speech_started")) - started
        return {"unanswered": False, "heard_muted": heard}

    async def _function(self, call: Call) -> dict[str, Any]:
        """A response that has to call a function of the client, and one about its result."""
        done = len(call.named("response.done"))
        call.send(
            {"type": "conversation.item.create", "item": {
                "type": "message", "role": "user",
                "content": [{"type": "input_text", "text": "Switch the lamp on."}]}},
            {"type": "response.create",
             "response": {"tools": [TOOL], "tool_choice": "required", "output_modalities": ["text"]}},
        )  # fmt: skip
        told = await self._response(call, done)
        output = call.named("response.done")[-1]["response"]["output"] if told["status"] else []
        calls = [item for item in output if item["type"] == "function_call"]
        told["calls"] = len(calls)
        for item in calls:
            result = {"type": "function_call_output", "call_id": item["call_id"], "output": "The lamp is on."}
            call.send({"type": "conversation.item.create", "item": result})
        if calls:
            call.send({"type": "response.create"})
            told |= await self._response(call, done + 1)
        return told
