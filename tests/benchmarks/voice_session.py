"""One measuring client of ``tests.benchmarks.voice``: a connection, and turn after turn over it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from media.aiortc_internals.receive import receiver_of, take_audio
from media.aiortc_internals.send import ntp_time  # noqa: F401 - importing it lets aiortc tell the time cheaply
from media.aiortc_internals.shape import shape_outgoing
from media.clock import Clock
from server.headless.call import CONNECT_SECONDS, Address, offer_to
from server.headless.network import Network
from server.settings import SettingsError
from server.transports.webrtc import ice
from tests.benchmarks.voice_ear import Ear, Reply
from tests.benchmarks.voice_sound import Clip, Microphone

ANSWER_SECONDS = 8.0
"""After this long without a sound a turn counts as missed."""
INTERRUPT_AFTER = 1.2
"""Seconds into a reply at which it is interrupted."""
STOPPED_SECONDS = 0.4
"""Of silence, after which a reply is over; longer than a reply's own pauses."""
QUIET_SECONDS = {"voice": 0.5, "barge": 0.5, "echo": 0.3}
"""Of silence before the next turn."""
LONGEST_REPLY = 60.0
"""Seconds to wait for a reply to end."""
_POLL = 0.02


@dataclass(slots=True)
class Turn:
    """One turn; milliseconds, ``None`` when not measured in this mode or not heard."""

    voice_to_voice_ms: float | None = None
    """End of speech → first sound of the reply; negative when it began before."""
    stop_ms: float | None = None
    """Onset of the interruption → old reply silent."""
    duck_ms: float | None = None
    """Onset of the interruption → old reply 6 dB softer."""
    echo_ms: float | None = None
    missed: str = ""
    """What did not happen; empty when all went well."""


class BenchSession:
    """Connect, run, close; results are in ``turns``, ``ear``, ``microphone`` and ``connect_ms``."""

    def __init__(
        self, url: str, api_key: str | None, clock: Clock, seed: int = 0, network: Network | None = None
    ) -> None:
        self.turns: list[Turn] = []
        self.connect_ms = 0.0
        self.microphone = Microphone(clock)
        self.ear = Ear(clock)
        self._url = url
        self._api_key = api_key
        self.network = network
        self._clock = clock
        self._random = random.Random(seed)
        self._pc = RTCPeerConnection(ice.configuration(()))

    async def connect(self) -> None:
        """From the offer to media that can flow, timed. Raises :class:`SettingsError`."""
        began, connected = self._clock.now(), asyncio.Event()
        sender = self._pc.addTrack(self.microphone)
        self._pc.on("track", self._listen)

        def note() -> None:
            if self._pc.connectionState == "connected":
                connected.set()

        self._pc.on("connectionstatechange", note)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        await self._pc.setRemoteDescription(await self.answer_to(self._pc.localDescription))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connected.wait()
        except TimeoutError:
            raise SettingsError(f"{self._url} answered, but no media connection came about") from None
        self.connect_ms = 1000.0 * (self._clock.now() - began)
        if self.network is not None:
            shape_outgoing(sender, self.network.delay, self._clock)

    async def answer_to(self, offer: RTCSessionDescription) -> RTCSessionDescription:
        """The server's answer to an offer. Raises :class:`SettingsError` when there is none."""
        return (await offer_to(offer, Address(self._url, self._api_key))).description

    async def run(self, mode: str, clip: Clip, turns: int) -> None:
        """Take ``turns`` turns, at odd times so that they meet the server's 20 and 32 ms windows everywhere."""
        self.ear.closely = mode == "barge"
        take = {"voice": self._voice, "barge": self._barge, "echo": self._echo}[mode]
        await self._until(lambda: self.microphone.started, CONNECT_SECONDS)
        for _ in range(turns):
            await self._until(lambda: self.ear.quiet_for() >= QUIET_SECONDS[mode], LONGEST_REPLY)
            await self._clock.sleep(self._random.uniform(0.1, 0.75))
            self.turns.append(await take(clip))
        await self._until(lambda: self.ear.quiet_for() >= STOPPED_SECONDS, LONGEST_REPLY)

    async def close(self) -> None:
        """Hang up."""
        await self._pc.close()

    async def _voice(self, clip: Clip) -> Turn:
        said = self.microphone.say(clip)
        reply = await self._reply_after(said.first, clip.seconds)
        if reply is None:
            return Turn(missed="no reply was heard")
        await self._until(lambda: self._clock.now() >= said.last, clip.seconds)
        return Turn(voice_to_voice_ms=1000.0 * (reply.start - said.last))

    async def _barge(self, clip: Clip) -> Turn:
        turn = await self._voice(clip)
        if turn.missed:
            return turn
        reply = self.ear.replies[-1]
        await self._clock.sleep(INTERRUPT_AFTER)
        said = self.microphone.say(clip)
        stopped = await self._until(
            lambda: self.ear.replies[-1] is not reply or self.ear.quiet_for() >= STOPPED_SECONDS,
            clip.seconds + ANSWER_SECONDS,
        )
        if reply.end <= said.first:
            turn.missed = "the reply was over before it was interrupted"
        elif not stopped:
            turn.missed = "the reply was not stopped"
        else:
            ducked = self.ear.ducked_at(reply, said.first)
            turn.stop_ms = 1000.0 * (reply.end - said.first)
            turn.duck_ms = None if ducked is None else 1000.0 * (ducked - said.first)
        await self._reply_after(said.last, clip.seconds)
        return turn

    async def _echo(self, clip: Clip) -> Turn:
        said = self.microphone.say(clip)
        reply = await self._reply_after(said.first, clip.seconds)
        if reply is None:
            return Turn(missed="no echo was heard (is the server run with --profile bench --bench-echo?)")
        return Turn(echo_ms=1000.0 * (reply.start - said.first))

    async def _reply_after(self, time: float, speaking: float) -> Reply | None:
        await self._until(lambda: self.ear.reply_after(time) is not None, speaking + ANSWER_SECONDS)
        return self.ear.reply_after(time)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for the condition, but no longer than this; returns whether it holds."""
        end = self._clock.now() + seconds
        while not condition() and self._clock.now() < end:
            await self._clock.sleep(_POLL)
        return condition()

    def _listen(self, track: MediaStreamTrack) -> None:
        take_audio(receiver_of(self._pc, track), self.ear.packet)
