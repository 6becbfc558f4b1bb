"""What in-band FEC is worth: words heard wrong when packets are lost, with what the next packet repeats and without.

    python -m tests.benchmarks.repeated [--questions 30] [--loss 5 10 20] [--rounds 2]

The Piper voice Joe asks closed questions; they are encoded as a client would (``expected_loss_percent`` 5, and 20 as of
a browser that was told of losses), a share of the packets is taken out at random, and what is decoded, the rest made up
as in a call, is recognised by Whisper base. All that is compared has lost the same packets.
"""

from __future__ import annotations

import argparse
import asyncio
import random

import numpy as np
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from media.gaps.concealment import Concealer
from media.opus import FRAME, RATE, OpusDecoder, OpusEncoder, OpusSettings
from media.resample import Resampler
from pipelines.engines.stt.whisper import WhisperRecognizer
from pipelines.engines.stt.whisper_model import load_whisper
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from pipelines.models.store import ModelStore
from server.settings import load_settings
from tests.benchmarks.ears import word_errors, words_of
from tests.benchmarks.spoken import joe, questions

EXPECTED = (5, 20)


def packets(sound: Samples, expected: int) -> list[bytes]:
    """Encoded for so much loss."""
    encoder = OpusEncoder(OpusSettings(expected_loss_percent=expected))
    return [bytes(encoder.encode(frame, n)) for n, frame in enumerate(sound.reshape(-1, FRAME))]


def received(sent: list[bytes], lost: set[int], *, repeated: bool) -> tuple[Samples, int]:
    """What is heard of it, and how many of the lost packets came with the next one."""
    decoder, concealer, heard, saved = OpusDecoder(), Concealer(RATE), list[Samples](), 0
    for n, payload in enumerate(sent):
        if n in lost:
            known = np.zeros(0, np.int16)
            if repeated and n + 1 < len(sent) and n + 1 not in lost:
                known = decoder.before(sent[n + 1])
            saved += bool(len(known))
            heard.append(concealer.received(known) if len(known) else concealer.lost(FRAME))
        else:
            heard.append(concealer.received(decoder.decode(payload)))
    decoder.close()
    return np.concatenate(heard), saved


async def understood(ear: WhisperRecognizer, sound: Samples) -> str:
    recognition = await ear.open()
    try:
        await recognition.feed(Resampler(VAD_RATE).push(sound, RATE))
        return (await recognition.transcript()).text
    finally:
        await recognition.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=30)
    parser.add_argument("--loss", type=int, nargs="+", default=[5, 10, 20], help="percent")
    parser.add_argument("--rounds", type=int, default=2, help="times that each question is asked")
    options = parser.parse_args()
    store = ModelStore(load_settings({}).model_cache)
    whisper = store.ensure("whisper-base").path
    ear = WhisperRecognizer(Kept("ear", load_whisper(whisper, "cpu", threads=1)), WhisperSettings(language="en"))
    mouth, chance = joe(store), random.Random(1)
    wrong: dict[tuple[int, int, bool], int] = {}
    shares: dict[tuple[int, int], list[int]] = {}
    words = 0
    try:
        for probe in questions(options.questions) * options.rounds:
            pieces = [piece async for piece in mouth.synthesize(probe.said[0], mouth.voices[0])]
            resampler = Resampler(RATE)
            sound = np.concatenate([*(resampler.push(p.samples, p.rate) for p in pieces), resampler.flush()])
            sound = np.concatenate([sound, np.zeros(-len(sound) % FRAME, np.int16)])
            said = words_of(probe.said[0])
            words += len(said)
            for loss in (0, *options.loss):
                lost = {n for n in range(len(sound) // FRAME) if chance.random() < loss / 100}
                for expected in EXPECTED:
                    for repeated in (False, True) if loss else (False,):
                        heard, saved = received(packets(sound, expected), lost, repeated=repeated)
                        errors = word_errors(said, words_of(await understood(ear, heard)))
                        wrong[loss, expected, repeated] = wrong.get((loss, expected, repeated), 0) + errors
                        if repeated:
                            share = shares.setdefault((loss, expected), [0, 0])
                            share[0] += saved
                            share[1] += len(lost)
    finally:
        await mouth.close()
        await ear.close()
    table = Table("lost", "encoded for", "lost packets that are repeated", "words wrong without", "with")
    for loss in (0, *options.loss):
        for expected in EXPECTED:
            saved, of = shares.get((loss, expected), [0, 0])
            without, with_ = (
                f"{100 * wrong[loss, expected, one] / words:.1f} %" if (loss, expected, one) in wrong else ""
                for one in (False, True)
            )
            repeated_share = f"{100 * saved / of:.0f} %" if of else ""
            table.add_row(f"{loss} %", f"{expected} %", repeated_share, without, with_)
    Console().print(table, f"{words} words")


if __name__ == "__main__":
    asyncio.run(main())
