"""The parts of a recording → segments of its transcript, one after another."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.errors import STTError, foreign_errors, only_logged
from pipelines.interfaces.stt import Recognition, SpeechToText, Transcript
from pipelines.interfaces.tts import WordTiming
from pipelines.voice.recordings.spoken_parts import SpokenPart

_UNSPACED = frozenset(("zh", "ja", "th", "lo", "my", "yue"))
"""Languages written without spaces between sentences."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two pauses; all times in seconds from the beginning of the recording."""

    start: float
    end: float
    text: str
    confidence: float | None = None
    """0–1, or ``None`` when the engine has none."""
    language: str | None = None
    words: tuple[WordTiming, ...] = ()
    """Empty where the engine tells no times."""


async def recognised(part: SpokenPart, engine: SpeechToText) -> Segment:
    """What is said in a part. The engine's error is a :class:`~pipelines.errors.STTError`.

    Nobody waits for an end of turn here, so where the engine doubts, the better opinion is waited for.
    """
    with foreign_errors(STTError, "stt_failed", engine.name):
        recognition = await engine.open()
        try:
            await recognition.feed(part.samples)
            transcript = await settled(recognition)
        finally:
            with only_logged(f"closing {engine.name}"):
                await recognition.close()
    return segment_of(part, transcript)


async def settled(recognition: Recognition) -> Transcript:
    """The transcript, or the better opinion of it."""
    transcript = await recognition.transcript()
    return transcript if transcript.better is None else await transcript.better or transcript


def segment_of(part: SpokenPart, transcript: Transcript) -> Segment:
    """What a recogniser understood of a part."""
    words = tuple(WordTiming(word.text, part.start + word.start, part.start + word.end) for word in transcript.words)
    text = " ".join(transcript.text.split())
    return Segment(part.start, part.end, text, transcript.confidence, transcript.language, words)


def moved(segment: Segment, seconds: float) -> Segment:
    """The same, said so much later."""
    words = tuple(WordTiming(word.text, word.start + seconds, word.end + seconds) for word in segment.words)
    return replace(segment, start=segment.start + seconds, end=segment.end + seconds, words=words)


def joined(segments: list[Segment]) -> str:
    """The whole text."""
    return "".join(f"{glue(segment)}{segment.text}" if n else segment.text for n, segment in enumerate(segments))


def glue(segment: Segment) -> str:
    """What stands between a segment and the one before."""
    return "" if segment.language in _UNSPACED else " "


def language_of(segments: list[Segment]) -> str | None:
    """The language that is spoken for longest; ``None`` where the engine does not tell."""
    seconds: dict[str, float] = {}
    for segment in segments:
        if segment.language is not None:
            seconds[segment.language] = seconds.get(segment.language, 0.0) + segment.end - segment.start
    return max(seconds, key=lambda code: seconds[code], default=None)
