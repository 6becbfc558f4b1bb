"""Video through a real server and real peer connections: delay, rate, memory.

    python -m tests.benchmarks.video delay|slow|two|memory|cycles [options]

The server runs in a process of its own (:mod:`tests.benchmarks.video_server`), this process is the camera and the eye.

* ``delay``: one camera of 640x480@30 with faces and hands looked for, beside the same with vision switched off.
* ``slow``: a detector that takes 200 ms. The delay must not grow, and what was sent must come back.
* ``two``: two sessions with microphone and camera at 15 frames per second.
* ``memory``: one session for ``--minutes``; resident memory of the server over time.
* ``cycles``: ``--cycles`` sessions, one after another; resident memory after each.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from rich.console import Console
from rich.table import Table

from media.aiortc_internals.receive import receiver_of
from media.audio_in import AudioIn
from media.audio_out import AudioOut
from media.clock import MonotonicClock
from media.opus import RATE
from media.video_tracks import VideoIn
from server.transports.webrtc import ice
from tests.benchmarks.video_camera import Eye, NumberedCamera, Sight, encoded

ROOT = Path(__file__).parents[2]
CLOCK = MonotonicClock()
WARM_SECONDS = 3.0
"""Of a session that do not count: detectors open, the encoder finds its rate."""
console = Console(width=120)


@dataclass
class Server:
    """The process under test."""

    url: str
    pid: int
    cores_before: float = field(default=0.0)

    def memory(self) -> float:
        """Resident, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    async def metric(self, name: str) -> float:
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/metrics") as response:
            found = re.search(rf"^{name} (\S+)$", await response.text(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@asynccontextmanager
async def server(vision: str, port: int) -> AsyncIterator[Server]:
    command = [sys.executable, "-m", "tests.benchmarks.video_server", "--port", str(port), "--vision", vision]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            while b"ready" not in (line := await process.stdout.readline()):
                if not line:
                    raise SystemExit("the server did not start")
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Call:
    """One session: a numbered camera and, if wanted, a microphone, silent until it is given something to say."""

    def __init__(
        self, packets: list[bytes], fps: int, vision: dict[str, Any], *, audio: bool = False, camera: bool = True,
        looks: bool = True,
    ) -> None:  # fmt: skip
        self.camera = NumberedCamera(packets, fps, CLOCK)
        self.eye = Eye(self.camera, CLOCK)
        self.audio = AudioOut(CLOCK) if audio else None
        self.heard = 0
        """Audio samples that came back."""
        self.events: list[str] = []
        self.take: Callable[[str], object] = self.events.append
        """What is done with an event."""
        self._films = camera
        self._looks = looks
        """Whether what comes back is decoded, or only received: on another machine that would cost nothing here."""
        self._vision = vision
        self._pc = RTCPeerConnection(ice.configuration(()))
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Call:
        pc = self._pc
        pc.on("track", self._listen)
        if self.audio is not None:
            pc.addTrack(self.audio)
        if self._films:
            pc.addTrack(self.camera)
        pc.createDataChannel("events").on("message", lambda message: self.take(message))
        connected = asyncio.Event()
        pc.on("connectionstatechange", lambda: connected.set() if pc.connectionState == "connected" else None)
        await pc.setLocalDescription(await pc.createOffer())
        body = {"sdp": pc.localDescription.sdp, "type": "offer", "session": {"vision": self._vision}}
        async with aiohttp.ClientSession() as http, http.post(f"{URL}/offer", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        async with asyncio.timeout(10):
            await connected.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listen(self, track: MediaStreamTrack) -> None:
        receiver = receiver_of(self._pc, track)
        if track.kind == "audio":
            audio = AudioIn(receiver, RATE, CLOCK)
            self._spawn(audio.run())
            self._spawn(self._hear(audio))
        elif not self._looks:
            receiver._handle_rtp_packet = _ignored
        else:
            video = VideoIn(receiver, CLOCK)
            self._spawn(self.eye.watch(video.feed.subscribe()))
            self._spawn(video.run())

    async def _hear(self, audio: AudioIn) -> None:
        async for chunk in audio.chunks:
            self.heard += len(chunk.samples)

    def _spawn(self, work: Any) -> None:
        self._tasks.add(asyncio.create_task(work))


async def _ignored(packet: Any, arrival_time_ms: int) -> None:
    """Instead of aiortc's decoding."""


URL = ""


def delays(seen: Sequence[Sight]) -> str:
    """``median / p95 / worst`` in ms."""
    values = [1000 * sight.delay for sight in seen]
    if not values:
        return "nothing came back"
    return f"{np.median(values):.0f} / {np.percentile(values, 95):.0f} / {max(values):.0f}"


def share(call: Call, begin: float, seconds: float) -> tuple[float, float]:
    """Frames per second that came back, and their share of those sent, within ``seconds`` from ``begin``."""
    seen = [sight for sight in call.eye.seen if begin <= sight.at < begin + seconds]
    return len(seen) / seconds, len(seen) / (seconds * call.camera._fps)


async def measure(calls: list[Call], at: Server, seconds: float, title: str) -> None:
    """Let the calls run and print what came back."""
    await asyncio.sleep(WARM_SECONDS)
    begin, used = CLOCK.now(), at.processor_seconds()
    looked, lag_sum, lag_count = [await at.metric(name) for name in _COUNTERS]
    heard = [call.heard for call in calls]
    await asyncio.sleep(seconds)
    cores = (at.processor_seconds() - used) / (CLOCK.now() - begin)
    table = Table(title=title, title_justify="left")
    for column in ("session", "delay ms (median / p95 / worst)", "first third", "last third", "fps back", "of sent"):
        table.add_column(column)
    for n, call in enumerate(calls):
        seen = [sight for sight in call.eye.seen if sight.at >= begin]
        first = [sight for sight in seen if sight.at < begin + seconds / 3]
        last = [sight for sight in seen if sight.at > begin + seconds * 2 / 3]
        rate, part = share(call, begin, seconds)
        table.add_row(str(n + 1), delays(seen), delays(first), delays(last), f"{rate:.1f}", f"{100 * part:.0f} %")
    console.print(table)
    looked_now, sum_now, count_now = [await at.metric(name) for name in _COUNTERS]
    lag = 1000 * (sum_now - lag_sum) / max(1.0, count_now - lag_count)
    audio = [(call.heard - before) / RATE / seconds for call, before in zip(calls, heard, strict=True) if call.audio]
    console.print(
        f"looked at {(looked_now - looked) / seconds:.1f} pictures/s, overlay lag {lag:.0f} ms on average, "
        f"{cores:.2f} cores, {at.memory():.0f} MiB, unreadable {sum(call.eye.unreadable for call in calls)}"
        + (f", audio back {', '.join(f'{100 * part:.0f} %' for part in audio)}" if audio else "")
    )
    told = [event for call in calls for event in call.events if '"vision.lag"' in event]
    if told:
        console.print(f"vision.lag events: {len(told)}")


_COUNTERS = ("visavis_vision_look_seconds_count", "visavis_vision_lag_seconds_sum", "visavis_vision_lag_seconds_count")


async def delay(options: argparse.Namespace) -> None:
    packets = encoded(options.video, 30)
    async with running("mediapipe", options) as at:
        cases: dict[str, dict[str, Any]] = {
            "vision off": {"enabled": False},
            "faces and hands, live": {"detectors": ["faces", "hands"]},
            "faces, hands and pose, live": {},
            "faces and hands, exact, 30 looks/s": {"detectors": ["faces", "hands"], "mode": "exact", "max_fps": 30},
        }
        for title, vision in cases.items():
            async with Call(packets, 30, vision) as call:
                await measure([call], at, options.seconds or 20, f"640x480@30, {title}")


async def slow(options: argparse.Namespace) -> None:
    packets = encoded(options.video, 30)
    async with running("slow", options) as at:
        for mode in ("live", "exact"):
            async with Call(packets, 30, {"mode": mode}) as call:
                seconds = options.seconds or (60 if mode == "live" else 20)
                await measure([call], at, seconds, f"640x480@30, detector of 200 ms, {mode}, {seconds:.0f} s")


async def two(options: argparse.Namespace) -> None:
    packets = encoded(options.video, 15)
    vision = {"detectors": ["faces", "hands"]}
    async with (
        running("mediapipe", options) as at,
        Call(packets, 15, vision, audio=True) as one,
        Call(packets, 15, vision, audio=True) as other,
    ):
        await measure([one, other], at, options.seconds or 30, "two sessions, audio and 640x480@15")


async def memory(options: argparse.Namespace) -> None:
    packets = encoded(options.video, 15)
    async with running("mediapipe", options) as at:
        console.print(f"idle {at.memory():.0f} MiB")
        async with Call(packets, 15, {"detectors": ["faces", "hands"]}):
            await asyncio.sleep(20)
            values, until = [at.memory()], CLOCK.now() + 60 * options.minutes
            while CLOCK.now() < until:
                await asyncio.sleep(min(10.0, until - CLOCK.now()))
                values.append(at.memory())
        console.print("every 10 s:", " ".join(f"{value:.0f}" for value in values))
        console.print(
            f"one camera for {options.minutes:g} min: {values[0]:.0f} MiB after 20 s, {values[-1]:.0f} at the end, "
            f"range {min(values):.0f}–{max(values):.0f}"
        )
        await asyncio.sleep(3)
        console.print(f"after hanging up {at.memory():.0f} MiB")


async def cycles(options: argparse.Namespace) -> None:
    packets = encoded(options.video, 15)
    async with running("mediapipe", options) as at:
        values = [at.memory()]
        for _ in range(options.cycles):
            async with Call(packets, 15, {"detectors": ["faces", "hands"]}) as call:
                async with asyncio.timeout(20):
                    await call.eye.saw(15)
            await asyncio.sleep(0.3)
            values.append(at.memory())
        console.print("MiB before and after each:", " ".join(f"{value:.0f}" for value in values))
        warm = values[min(5, len(values) - 1) :]
        console.print(
            f"{options.cycles} sessions, one after another: idle {values[0]:.0f} MiB, after the 5th {warm[0]:.0f}, "
            f"after the last {warm[-1]:.0f}, range since the 5th {min(warm):.0f}–{max(warm):.0f}"
        )


@asynccontextmanager
async def running(vision: str, options: argparse.Namespace) -> AsyncIterator[Server]:
    global URL
    async with server(vision, options.port) as at:
        URL = at.url
        yield at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = {"delay": delay, "slow": slow, "two": two, "memory": memory, "cycles": cycles}
    parser.add_argument("mode", choices=list(modes))
    parser.add_argument("--seconds", type=float, help="how long a measurement lasts")
    parser.add_argument("--minutes", type=float, default=10.0, help="of memory")
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--video", type=Path, help="what the camera shows, from its 4th second on; else a texture")
    options = parser.parse_args()
    ice.gather_from(["127.0.0.1"])
    asyncio.run(modes[options.mode](options))


if __name__ == "__main__":
    main()
