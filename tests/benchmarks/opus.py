"""What Opus costs each session, and what it keeps of a voice: encoding by complexity, and decoding to either rate.

    python -m tests.benchmarks.opus --wav FILE [--seconds 10]

Told are microseconds of processor time for each packet of 20 ms (the least of some runs), the log-spectral distance of
what is heard from what was said (decibels, up to 20 kHz; smaller is nearer) and kilobits a second, for the voice in the
file and for a tone, with in-band FEC as it is sent; then decoding to 48 kHz and resampling, against decoding to 16 kHz.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from media.opus import FRAME, FRAME_SECONDS, RATE, OpusDecoder, OpusEncoder, OpusSettings
from media.resample import Resampler
from pipelines.interfaces.vad import VAD_RATE
from server.headless.sounds import read_sound

COMPLEXITIES = (0, 3, 5, 7, 8, 10)
RUNS = 7
LOOKAHEAD = 312
"""Samples by which libopus delays a voice (6.5 ms)."""
_BINS = 400
"""Of 50 Hz."""


def cheapest(work: Callable[[], object]) -> float:
    """Seconds of processor time, the least of some runs."""
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def encoded(frames: Samples, complexity: int) -> list[bytes]:
    """Packets of frames, shape ``(n, 960)``."""
    encoder = OpusEncoder(OpusSettings(complexity=complexity))
    return [bytes(encoder.encode(frame, number)) for number, frame in enumerate(frames)]


def decoded(packets: list[bytes], rate: int) -> list[Samples]:
    """What is heard of them."""
    decoder = OpusDecoder(rate)
    return [decoder.decode(packet) for packet in packets]


def distance(said: Samples, heard: Samples) -> float:
    """Root mean square over frequencies of the difference of the spectra in decibels, mean over frames."""
    length = min(len(said), len(heard)) // FRAME * FRAME

    def spectra(samples: Samples) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        frames = samples[:length].reshape(-1, FRAME) * np.hanning(FRAME)
        return np.asarray(20 * np.log10(np.abs(np.fft.rfft(frames, axis=1))[:, :_BINS] + 30))

    return float(np.sqrt(((spectra(said) - spectra(heard)) ** 2).mean(1)).mean())


def encoding(name: str, sound: Samples) -> Table:
    """By complexity."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    said = np.concatenate([np.zeros(LOOKAHEAD, np.int16), sound])
    table = Table("complexity", "µs a packet", "distance, dB", "kbit/s", title=name, title_justify="left")
    for complexity in COMPLEXITIES:
        packets = encoded(frames, complexity)
        cost = cheapest(lambda complexity=complexity: encoded(frames, complexity)) / len(frames)  # type: ignore[misc]
        rate = 8 * sum(map(len, packets)) / (len(frames) * FRAME_SECONDS) / 1000
        apart = distance(said, np.concatenate(decoded(packets, RATE)))
        table.add_row(f"{complexity}", f"{1e6 * cost:.0f}", f"{apart:.2f}", f"{rate:.1f}")
    return table


def decoding(sound: Samples) -> Table:
    """By the way to 16 kHz."""
    packets = encoded(sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME), OpusSettings().complexity)
    pieces, resampler = decoded(packets, RATE), Resampler(VAD_RATE)
    costs = {
        "to 48 kHz": cheapest(lambda: decoded(packets, RATE)),
        "… and resampled to 16": cheapest(lambda: [resampler.push(piece, RATE) for piece in pieces]),
        "to 16 kHz": cheapest(lambda: decoded(packets, VAD_RATE)),
    }
    table = Table("decoding", "µs a packet")
    for name, cost in costs.items():
        table.add_row(name, f"{1e6 * cost / len(packets):.0f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wav", type=Path, required=True, help="recorded speech")
    parser.add_argument("--seconds", type=float, default=10.0, help="of it (default %(default)s)")
    options = parser.parse_args()
    voice = read_sound(options.wav)[: round(options.seconds * RATE)]
    tone = (8000 * np.sin(2 * np.pi * 660 * np.arange(2 * RATE) / RATE)).astype(np.int16)
    console = Console()
    for table in (encoding("voice", voice), encoding("tone", tone), decoding(voice)):
        console.print(table)


if __name__ == "__main__":
    main()
