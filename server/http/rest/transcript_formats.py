"""A transcript as ``json``, ``text``, ``verbose_json``, SubRip (``srt``) or WebVTT (``vtt``). Pure."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipelines.interfaces.tts import WordTiming
from pipelines.voice.recordings.segments import Segment, joined, language_of

TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)
CONTENT_TYPES: dict[TranscriptFormat, str] = {
    "json": "application/json",
    "text": "text/plain",
    "srt": "application/x-subrip",
    "verbose_json": "application/json",
    "vtt": "text/vtt",
}
LONGEST_CUE = 84
"""Characters of a subtitle: two lines …"""
LONGEST_CUE_SECONDS = 7.0
"""… and how long it stays, at most, where the times of words are known."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle."""

    start: float
    end: float
    text: str


def cues(segments: Sequence[Segment]) -> Iterator[Cue]:
    """Subtitles: segments as they are, or cut where the times of words are known."""
    for segment in segments:
        if not segment.words:
            yield Cue(segment.start, segment.end, segment.text)
            continue
        line: list[WordTiming] = []
        for word in segment.words:
            length = sum(len(one.text) + 1 for one in line) + len(word.text)
            if line and (length > LONGEST_CUE or word.end - line[0].start > LONGEST_CUE_SECONDS):
                yield _cue(line)
                line = []
            line.append(word)
            if word.text[-1:] in ".!?…。！？":
                yield _cue(line)
                line = []
        if line:
            yield _cue(line)


def _cue(words: Sequence[WordTiming]) -> Cue:
    return Cue(words[0].start, words[-1].end, " ".join(word.text for word in words))


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered subtitles."""
    rows = (
        f"{n}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n"
        for n, cue in enumerate(cues(segments), 1)
    )
    return "\n".join(rows)


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/)."""
    rows = (f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(cue.text)}\n" for cue in cues(segments))
    return "\n".join(["WEBVTT\n", *rows])


def plain_json(segments: list[Segment], seconds: float) -> dict[str, Any]:
    """The text alone."""
    return {"text": joined(segments), "usage": usage(seconds)}


def verbose_json(
    segments: list[Segment], seconds: float, task: str, language: str | None, granularities: Sequence[str]
) -> dict[str, Any]:
    """The text with the times of segments or words or both; ``language``: what the client said that it is."""
    found: dict[str, Any] = {
        "task": task,
        "language": language or language_of(segments) or "",
        "duration": round(seconds, 3),
        "text": joined(segments),
    }
    if "segment" in granularities:
        found["segments"] = [_segment(n, segment) for n, segment in enumerate(segments)]
    if "word" in granularities:
        found["words"] = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            for segment in segments
            for word in segment.words
        ]
    return {**found, "usage": usage(seconds)}


def usage(seconds: float) -> dict[str, Any]:
    """What the transcript cost: the length of the sound."""
    return {"type": "duration", "seconds": math.ceil(seconds)}


def _segment(n: int, segment: Segment) -> dict[str, Any]:
    """Whisper's own fields; what is known of them here is the confidence and how repetitive the text is."""
    raw = segment.text.encode()
    return {
        "id": n,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(1e-6, 1.0 if segment.confidence is None else segment.confidence)), 4),
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4),
        "no_speech_prob": 0.0,
    }


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
