"""A film through a real connection, as camera and microphone at once: what is seen, drawn, heard and answered.

    visavis serve --stt-model pocketsphinx --chat-model starter --tts-model espeak-ng --models FOLDER --no-download
    python -m tests.benchmarks.film FILM [--url http://127.0.0.1:8080] [--runs 3]

The film plays at its own speed, its sound through Opus. Printed are the gestures and people that were told and when
(media time of the camera), how much of the returned pictures is drawn upon, with the overlay and without, and what was
understood. Then the times to answer are compared, with the camera and with sound alone, ``--runs`` times in turn; the
pictures are sent back as before, but not decoded here, for that would be the work of another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np
from rich.console import Console

from media.clock import MonotonicClock
from media.frames import Pixels
from media.opus import RATE
from server.cli.talk import Transcript
from server.headless.sounds import read_sound
from server.transports.webrtc import ice
from tests.benchmarks import video
from tests.benchmarks.video_camera import HEIGHT, STRIP, WIDTH, encode

REST_SECONDS = 4.0
"""Without any event after the film: the conversation is over."""
_DRAWN = 60
"""Levels of grey by which the overlay differs from the film, at least."""
console = Console(width=120)


@dataclass
class Showing:
    """One time that the film was shown; it begins again when it is over, which does not count."""

    seconds: float
    """Of the film."""
    transcript: Transcript = field(default_factory=Transcript)
    told: list[tuple[float, str]] = field(default_factory=list)
    """Media time and what began or ended."""
    drawn: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Second of the film → shares of its pictures that the overlay covers."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: dict[str, Any]) -> None:
        self.transcript.take(event)
        kind = event["type"]
        if kind.startswith(("vision.gesture", "vision.person")) and event["time_ms"] < 1000 * self.seconds:
            self.told.append((event["time_ms"] / 1000, f"{kind[7:]} {event.get('gesture') or event['id']}"))
        if not kind.startswith("vision."):
            self.changed.set()


def small_pictures(film: Path) -> Iterator[Pixels]:
    """The pictures of the film below the strip with the number."""
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            height = HEIGHT - STRIP
            width = round(frame.width * height / frame.height)
            left = (WIDTH - width) // 2
            size = (width, height)
            canvas[STRIP:, left : left + width] = cv2.resize(
                frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA
            )
            yield canvas


async def show(packets: list[bytes], film: Sequence[Pixels], sound: Any, fps: int, vision: dict[str, Any]) -> Showing:
    """Show it once; without packets, only let it be heard; without a film, do not look at what comes back."""
    showing = Showing(len(sound) / RATE)
    greys = [cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[STRIP:] for pixels in film]

    def compare(n: int, frame: av.VideoFrame) -> None:
        if n < len(greys):
            grey = frame.to_ndarray(format="gray")[STRIP:]
            share = float((np.abs(grey.astype(np.int16) - greys[n]) > _DRAWN).mean())
            showing.drawn[int(n / fps)].append(share)

    async with video.Call(packets, fps, vision, audio=True, camera=bool(packets), looks=bool(film)) as call:
        call.take = lambda message: showing.take(json.loads(message))
        call.eye.compare = compare
        assert call.audio is not None
        playout = call.audio.mixer.open()
        await playout.write(sound, RATE)
        playout.finish()
        await playout.ended.wait()
        while True:
            showing.changed.clear()
            try:
                async with asyncio.timeout(REST_SECONDS if showing.transcript.idle else 15):
                    await showing.changed.wait()
            except TimeoutError:
                return showing


def latencies(showings: Sequence[Showing]) -> list[int]:
    """End of speech to first sound, as the server measured it, in ms."""
    return [turn.latency_ms for each in showings for turn in each.transcript.turns if turn.latency_ms is not None]


def report(title: str, showing: Showing) -> None:
    console.print(f"\n{title}", highlight=False, style="bold")
    for at, what in showing.told:
        console.print(f"  {at:5.2f} s  {what}", highlight=False)
    if showing.drawn:
        shares = ", ".join(f"{second} s {100 * median(all_):.2f} %" for second, all_ in sorted(showing.drawn.items()))
        console.print(f"  drawn upon, median by second: {shares}", highlight=False)
    for turn in showing.transcript.turns:
        cut = " (interrupted)" if turn.interrupted else ""
        console.print(
            f"  heard: {turn.user!r}; answered{cut}: {turn.assistant!r} ({turn.latency_ms} ms)", highlight=False
        )
    for error in showing.transcript.errors:
        console.print(f"  error: {error}", highlight=False)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    ice.gather_from(["127.0.0.1"])
    video.URL, video.CLOCK = options.url.rstrip("/"), MonotonicClock()
    with av.open(str(options.film)) as container:
        fps = round(float(container.streams.video[0].average_rate or 30))
    film, sound = list(small_pictures(options.film)), read_sound(options.film)
    packets = encode(film, fps)
    everything = {"detectors": ["faces", "hands", "gestures", "pose"]}
    looked_at = await show(packets, film, sound, fps, everything)
    seen, alone = [], []
    for _ in range(options.runs):
        seen.append(await show(packets, [], sound, fps, everything))
        alone.append(await show([], [], sound, fps, {"enabled": False}))
    nothing = {"enabled": False, "overlay": dict.fromkeys(("boxes", "landmarks", "labels", "captions"), False)}
    plain = await show(packets, film, sound, fps, nothing)
    report("camera and microphone, looked at", looked_at)
    for n, showing in enumerate(seen, 1):
        report(f"camera and microphone, {n}", showing)
    report("the same with vision and overlay switched off", plain)
    report("microphone alone", alone[0])
    for name, showings in (("with the camera", seen), ("without", alone)):
        parts: dict[str, list[int]] = defaultdict(list)
        for turn in (turn for each in showings for turn in each.transcript.turns):
            for part, ms in turn.parts_ms.items():
                parts[part].append(ms)
        console.print(f"{name}: " + ", ".join(f"{part} {median(all_):.0f} ms" for part, all_ in parts.items()))
    both, only = latencies(seen), latencies(alone)
    if both and only:
        more = 100 * (median(both) / median(only) - 1)
        console.print(
            f"\nvoice to voice, median: {median(both):.0f} ms with the camera (n {len(both)}, worst {max(both)}), "
            f"{median(only):.0f} ms without (n {len(only)}, worst {max(only)}): {more:+.0f} %", highlight=False,
        )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
