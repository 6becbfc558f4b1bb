"""``audio_enhance``: speech without noise, in parts while it still comes (task ``audio-to-audio``)."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from media.frames import Samples
from pipelines.errors import PipelineError
from pipelines.execution.work import Work
from pipelines.routing.items import Flow, Sound
from pipelines.routing.stage_types import Enhancing

TASK = "audio-to-audio"
RATE = 48_000
"""Hertz of what is enhanced."""
FIRST_SECONDS = 1.0
PART_SECONDS = 3.0
"""Of sound are enhanced at once; the first part is short, because somebody waits for it."""
CONTEXT_SECONDS = 1.0
"""Of the part before are heard again, so that nothing changes at the joins."""
LONGEST_SECONDS = 300.0
"""Of sound that is brought to a loudness: all of it must be there for that."""


async def enhance(work: Work) -> Flow:
    """Run the stage."""
    options = work.options(Enhancing)
    runner = work.engines.task(work.pipeline, work.stage, TASK)
    parameters = {name: value for name, value in options.model_dump().items() if value is not None}
    whole = options.loudness_lufs is not None
    seconds = 0.0
    async with aclosing(_parts(work, whole=whole)) as parts:
        async for part, context in parts:
            more = {"context_seconds": context / RATE} if context else {}
            done = await runner.run({"inputs": wav(part, RATE)}, {**parameters, **more})
            samples, rate = sound_of_file(done.output[0]["blob"])
            yield Sound(samples, rate, seconds)
            seconds += len(samples) / rate


async def _parts(work: Work, *, whole: bool) -> AsyncGenerator[tuple[Samples, int]]:
    """Parts of the sound at :data:`RATE`, and how many samples of each are only heard again."""
    resampler = work.facilities.resampler(RATE)
    held: Samples = np.zeros(0, np.int16)
    context = 0
    wanted = FIRST_SECONDS
    async for sound in work.inbox.sounds():
        held = np.concatenate([held, resampler.push(sound.samples, sound.rate)])
        if whole and len(held) > LONGEST_SECONDS * RATE:
            raise PipelineError(
                "input_too_long",
                f"stage {work.stage.id}: at most {LONGEST_SECONDS:g} s are brought to a loudness; "
                "longer sound is enhanced without the option loudness_lufs",
            )
        while not whole and len(held) - context >= wanted * RATE:
            end = context + round(wanted * RATE)
            yield held[:end], context
            kept = min(end, round(CONTEXT_SECONDS * RATE))
            held, context, wanted = held[end - kept :], kept, PART_SECONDS
    held = np.concatenate([held, resampler.flush()])
    if len(held) > context:
        yield held, context


def wav(samples: Samples, rate: int) -> bytes:
    """A WAV file, 16-bit mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def sound_of_file(blob: str | bytes) -> tuple[Samples, int]:
    """The samples of such a file, in base64 where it is text, and their rate."""
    data = base64.b64decode(blob) if isinstance(blob, str) else blob
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16), file.getframerate()
