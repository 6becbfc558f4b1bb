"""A long conversation over a bad network: 10 % of the packets lost and 100 ms of jitter, in both directions.

    python -m tests.benchmarks.networks [--minutes 10] [--loss 10] [--jitter 100] [--delay 20] [--json FILE]

Needs root. The server and the client are in network namespaces of their own, joined by a wire that loses and delays
everything that goes over it: media, RTCP, DTLS, ICE, data channel, and the HTTP of the offer. A first and a last part
(``--calm``, a minute each) go over the same wire when nothing happens on it: against them the bad part is measured, and
in the last it is seen whether everything comes back. The Piper voice Joe asks closed questions and the starter model
answers; the server has its usual engines otherwise (``--serve`` gives it other flags).

*Words wrong* are those of the server's transcripts against what was said. *Voice to voice* as the server measures it,
and as it is heard (end of speech → first sound that arrives). *Late60*: reply packets that a fixed buffer of 60 ms
would have had to make up, those that were lost apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCRtpReceiver

from media.aiortc_internals.receive import take_audio
from media.clock import MonotonicClock
from media.jitter import ReorderBuffer
from server.headless.call import Address, Call
from server.settings import SettingsError, load_settings
from tests.benchmarks.ears import word_errors, words_of
from tests.benchmarks.voice_ear import Ear
from tests.benchmarks.voice_sound import Clip, Microphone, speech_from
from tests.fakes.networks import Host, Networks, missing
from tests.fakes.wire import Wire

CLIENT, SERVER, KEY = "10.77.0.2", "10.77.0.1", "only-for-measuring"
ANSWER_SECONDS = 15.0
"""Without a sound for so long a turn counts as missed."""
REPLY_SECONDS = 20.0
_POLL = 0.05
_METERS = {
    "concealed_s": r"^visavis_audio_concealed_seconds_total(?:\{[^}]*\})? (\S+)",
    "repeated_s": r"^visavis_audio_repeated_seconds_total(?:\{[^}]*\})? (\S+)",
    "packets_lost": r"^visavis_packets_lost_total(?:\{[^}]*\})? (\S+)",
}


@dataclass(slots=True)
class Asked:
    """One question, and what became of it."""

    said: str
    understood: str = ""
    answered: str = ""
    heard_ms: float | None = None
    """End of speech → first sound that arrived; ``None``: nothing was heard."""
    server_ms: float | None = None
    finished: bool = False
    """Whether the response came to its end."""


@dataclass(slots=True)
class Part:
    """A stretch of the call on one kind of network."""

    name: str
    seconds: float = 0.0
    turns: list[Asked] = field(default_factory=list)
    reply_packets: int = 0
    late: int = 0
    lost: int = 0
    concealed_s: float = 0.0
    """Of the client's voice, by the server."""
    repeated_s: float = 0.0
    """Of what was lost, how much came with the next packet (FEC)."""
    server_lost: float = 0.0
    wait_ms: list[float] = field(default_factory=list)
    """How long the client's reorder buffer waits for a gap, after each turn."""
    rss_mb: list[float] = field(default_factory=list)
    round_trips_ms: list[float] = field(default_factory=list)
    """From RTCP, after each turn."""
    wire: dict[str, int] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """What is told of it."""
        answered = [one for one in self.turns if one.heard_ms is not None]
        words = sum(len(words_of(one.said)) for one in self.turns)
        wrong = sum(word_errors(words_of(one.said), words_of(one.understood)) for one in self.turns)
        return {
            "minutes": round(self.seconds / 60, 1),
            "turns": len(self.turns),
            "answered": len(answered),
            "finished": sum(one.finished for one in self.turns),
            "words_wrong_percent": round(100 * wrong / max(1, words), 1),
            "voice_to_voice_server_ms": _spread([one.server_ms for one in self.turns if one.server_ms is not None]),
            "voice_to_voice_heard_ms": _spread([one.heard_ms for one in answered if one.heard_ms is not None]),
            "late60_percent": round(100 * self.late / max(1, self.reply_packets), 2),
            "lost_percent": round(100 * self.lost / max(1, self.lost + self.reply_packets), 2),
            "server_concealed_s": round(self.concealed_s, 1),
            "server_repeated_s": round(self.repeated_s, 1),
            "server_packets_lost": int(self.server_lost),
            "reorder_wait_ms": _spread(self.wait_ms),
            "rtcp_round_trip_ms": _spread(self.round_trips_ms),
            "server_rss_mb": [round(self.rss_mb[0]), round(self.rss_mb[-1])] if self.rss_mb else [],
            "wire": self.wire,
        }


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {"median": round(median(ordered)), "p95": round(ordered[round(0.95 * (len(ordered) - 1))]),
            "worst": round(ordered[-1])}  # fmt: skip


class Client:
    """Asks, listens, and keeps what happened."""

    def __init__(self, pid: int) -> None:
        self.clock = MonotonicClock()
        self.ear = Ear(self.clock)
        self.order = ReorderBuffer()
        self.microphone = Microphone(self.clock)
        self.events: list[dict[str, Any]] = []
        self._pid = pid
        self.call = Call(
            Address(f"http://{SERVER}:8080", KEY), self.microphone, lambda text: self.events.append(json.loads(text)),
            self._listen,
        )  # fmt: skip

    async def part(self, part: Part, seconds: float, questions: Iterator[tuple[str, Clip]], wire: Wire) -> None:
        """Ask one question after the other for so long."""
        began, before = self.clock.now(), await self._meters()
        counted = (wire.there.sent, wire.there.lost, wire.back.sent, wire.back.lost)
        replies, packets = len(self.ear.replies), len(self.ear.packets)
        while self.clock.now() - began < seconds:
            part.turns.append(await self._ask(*next(questions)))
            part.wait_ms.append(1000 * self.order.wait)
            part.rss_mb.append(resident_mb(self._pid))
            part.round_trips_ms += await self._round_trip()
            sys.stderr.write(f"{part.name} {self.clock.now() - began:.0f} s: {part.turns[-1]}\n")
        part.seconds = self.clock.now() - began
        self._count(part, replies, packets)
        after = await self._meters()
        part.concealed_s = after["concealed_s"] - before["concealed_s"]
        part.repeated_s = after["repeated_s"] - before["repeated_s"]
        part.server_lost = after["packets_lost"] - before["packets_lost"]
        now = (wire.there.sent, wire.there.lost, wire.back.sent, wire.back.lost)
        names = ("to_client", "to_client_lost", "to_server", "to_server_lost")
        part.wire = {name: b - a for name, a, b in zip(names, counted, now, strict=True)}

    async def _ask(self, text: str, clip: Clip) -> Asked:
        asked, seen = Asked(text), len(self.events)
        said = self.microphone.say(clip)

        def new(kind: str) -> list[dict[str, Any]]:
            return [event for event in self.events[seen:] if event["type"] == kind]

        if await self._until(lambda: self.ear.reply_after(said.last) is not None, clip.seconds + ANSWER_SECONDS):
            reply = self.ear.reply_after(said.last)
            assert reply is not None
            asked.heard_ms = 1000 * (reply.start - said.last)
        asked.finished = await self._until(
            lambda: bool(new("output_audio_buffer.stopped")), REPLY_SECONDS if asked.heard_ms is not None else 0.0
        )
        await self.clock.sleep(0.7)
        kind = "conversation.item.input_audio_transcription.completed"
        asked.understood = " ".join(event["transcript"] for event in new(kind))
        asked.answered = "".join(event["delta"] for event in new("response.output_audio_transcript.delta"))
        if timed := new("turn.latency"):
            asked.server_ms = timed[-1]["voice_to_voice_ms"]
        return asked

    def _count(self, part: Part, replies: int, packets: int) -> None:
        """Reply packets: how many came, how many of these late, how many were lost."""
        for reply in self.ear.replies[replies:]:
            stretch = self.ear.packets[max(packets, reply.first) : reply.last + 1]
            if not stretch:
                continue
            first = min(stretch, key=lambda packet: packet.arrival - packet.timestamp / 48_000)
            part.reply_packets += len(stretch)
            part.late += sum(
                p.arrival > first.arrival + 0.06 + (p.timestamp - first.timestamp) / 48_000 for p in stretch
            )
            numbers = {packet.sequence for packet in stretch}
            part.lost += max(numbers) - min(numbers) + 1 - len(numbers)

    async def _round_trip(self) -> list[float]:
        stats = (await self.call.voice.getStats()).values()
        return [1000 * one.roundTripTime for one in stats if one.type == "remote-inbound-rtp" and one.roundTripTime]

    async def _meters(self) -> dict[str, float]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
            text = await (await http.get(f"http://{SERVER}:8080/metrics")).text()
        return {
            name: sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))
            for name, pattern in _METERS.items()
        }

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = self.clock.now() + seconds
        while not condition() and self.clock.now() < end:
            await self.clock.sleep(_POLL)
        return condition()

    def _listen(self, receiver: RTCRtpReceiver) -> list[Coroutine[Any, Any, None]]:
        def packet(ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
            self.ear.packet(ssrc, sequence, timestamp, payload)
            self.order.add(sequence, timestamp, payload, self.clock.now())

        return [self._wait(take_audio(receiver, packet))]

    async def _wait(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            self.order.expire(self.clock.now())
            await self.clock.sleep(0.02)


async def questions() -> list[tuple[str, Clip]]:
    """Joe's, with the words he says."""
    from media.resample import Resampler
    from pipelines.models.store import ModelStore
    from tests.benchmarks.spoken import RATE, joe
    from tests.benchmarks.spoken import questions as examination

    mouth, made = joe(ModelStore(load_settings({}).model_cache)), []
    try:
        for probe in examination(30):
            pieces = [piece async for piece in mouth.synthesize(probe.said[0], mouth.voices[0])]
            resampler = Resampler(RATE)
            sound = [resampler.push(piece.samples, piece.rate) for piece in pieces]
            made.append((probe.said[0], speech_from(np.concatenate([*sound, resampler.flush()]))))
    finally:
        await mouth.close()
    return made


def resident_mb(pid: int) -> float:
    """Of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def server_in(host: Host, flags: list[str], log: Path) -> Iterator[int]:
    """A server on that host; its process."""
    command = [sys.executable, "-m", "server", "serve", "--host", SERVER, "--no-download", *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            host.command(*command), stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "VISAVIS_API_KEY": KEY}
        )
        try:
            yield process.pid  # `ip netns exec` becomes what it starts
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


async def ready() -> None:
    """Wait until the server answers."""
    async with aiohttp.ClientSession() as http:
        while True:
            try:
                if (await http.get(f"http://{SERVER}:8080/readyz")).status == 200:
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole call."""
    clips = await questions()
    with Networks() as networks:
        server, client = networks.host("s"), networks.host("c")
        wire = networks.wire(server, client, {f"{SERVER}/24": f"{CLIENT}/24"}, mtu=options.mtu)
        with server_in(server, options.serve.split(), folder / "server.log") as pid:
            await asyncio.wait_for(client.do(ready()), 120)
            before = Part("calm"), options.calm * 60, {}
            bad = {"loss": options.loss / 100, "jitter": options.jitter / 1000, "delay": options.delay / 1000}
            parts = [before, (Part("bad"), options.minutes * 60, bad)]
            parts.append((Part("calm again"), options.calm * 60, dict.fromkeys(bad, 0.0)))
            connected = await client.do(converse(pid, wire, parts, clips))
            text = (folder / "server.log").read_text()
    return {
        "conditions": {key: getattr(options, key) for key in ("loss", "jitter", "delay", "mtu", "minutes")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "still_connected": connected,
        "parts": {part.name: part.figures() for part, _, _ in parts},
        "missed": [asdict(one) for part, _, _ in parts for one in part.turns if one.heard_ms is None],
        "tracebacks_of_the_server": text.count("Traceback"),
    }


async def converse(
    pid: int, wire: Wire, parts: list[tuple[Part, float, dict[str, float]]], clips: list[tuple[str, Clip]]
) -> bool:
    """One call through all parts; whether it lived to the end."""
    asked = (clips[n % len(clips)] for n in range(10**9))
    client = Client(pid)
    async with client.call:
        await client._until(lambda: client.microphone.started, 10.0)
        await client.clock.sleep(2.0)
        for part, seconds, conditions in parts:
            wire.change(**conditions)
            await client.part(part, seconds, asked, wire)
        arrived = len(client.ear.packets)
        await client.clock.sleep(1.0)
        return len(client.ear.packets) > arrived + 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--calm", type=float, default=1.0, help="minutes before and after")
    parser.add_argument("--loss", type=float, default=10.0, help="percent")
    parser.add_argument("--jitter", type=float, default=100.0, help="milliseconds")
    parser.add_argument("--delay", type=float, default=20.0, help="milliseconds each way, beside the jitter")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--serve", default="--chat-model starter", help="flags of the server")
    parser.add_argument("--json", type=Path, help="where the figures go; else they are printed alone")
    options = parser.parse_args()
    if why := missing():
        sys.exit(why)
    with TemporaryDirectory() as folder:
        began = time.monotonic()
        try:
            found = asyncio.run(measure(options, Path(folder)))
        except SettingsError as error:
            sys.exit(f"{error}\n{(Path(folder) / 'server.log').read_text()[-2000:]}")
        found["seconds"] = round(time.monotonic() - began)
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
