"""Pauses as the server notices them, with what it would know of each and when: real models, virtual time.

Voice activity (Silero), the segmenter, Smart Turn and Whisper listen as in a conversation. Every pause of 100 ms or
more is a decision of its own, as in LiveKit's eot-bench: what was decided in the pause before does not matter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from media.frames import AudioChunk, AudioRing, Rechunker, Samples, rms
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW, SpeechProbability
from pipelines.voice.conversation import RING_SECONDS, SECOND_JUDGEMENT_SECONDS
from pipelines.voice.endpointing import Evidence
from pipelines.voice.turn import TurnSettings
from pipelines.voice.vad import Segmenter, VoiceStarted
from server.evaluation.endpointing.clips import Clip

SOUND_SECONDS, TEXT_SECONDS = 0.06, 0.2
"""After which Smart Turn and the recogniser have answered."""
WINDOW_SECONDS = VAD_WINDOW / VAD_RATE


class Judge(Protocol):
    """What is asked in a pause."""

    async def completeness(self, samples: Samples) -> float:
        """The turn detector's probability that the turn is complete."""
        ...

    async def text(self, samples: Samples) -> str:
        """The words so far."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """A pause that was noticed."""

    clip: str
    start: float
    """Where the voice ended, by the segmenter."""
    noticed: float
    resumed: float | None
    """When voice was noticed again; ``None``: it is the end of the utterance."""
    true_end: float
    """Where the speech ends, measured on the recording, if this is its end; else where the pause begins."""
    known: tuple[tuple[float, Evidence], ...]
    """What is known from which moment on."""
    source: str

    def line(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Heard:
    """One clip and its pauses."""

    clip: Clip
    spans: tuple[Span, ...]

    @property
    def pauses(self) -> int:
        """How many there are within the utterance, noticed or not."""
        return len(self.clip.pauses)


async def listen(clip: Clip, vad: SpeechProbability, judge: Judge) -> Heard:
    """Hear a clip."""
    padding = TurnSettings().prefix_padding_seconds
    activity, segmenter, ring = vad.open(), Segmenter(), AudioRing(RING_SECONDS)
    spans: list[Span] = []
    began: float | None = None
    pause: tuple[float, float] | None = None
    known: list[tuple[float, Evidence]] = []
    for window in Rechunker(VAD_WINDOW).push(AudioChunk(clip.samples, VAD_RATE, 0.0)):
        ring.push(window)
        voice = segmenter.process(activity.probability(window.samples), rms(window.samples), window.time, window.end)
        if isinstance(voice, VoiceStarted):
            began = max(0.0, voice.time - padding) if began is None else began
            if pause is not None:
                spans.append(_span(clip, pause, window.end, known))
                pause = None
        elif voice is not None and began is not None:
            pause, known = (voice.time, window.end), []
            sound = ring.since(began)
            known.append((window.end + SOUND_SECONDS, Evidence(sound=await judge.completeness(sound))))
            known.append((window.end + TEXT_SECONDS, Evidence(text=await judge.text(sound))))
        elif pause is not None and len(known) == 2 and window.end - pause[0] >= SECOND_JUDGEMENT_SECONDS:
            assert began is not None
            again = Evidence(sound=await judge.completeness(ring.since(began)))
            known.append((window.end + SOUND_SECONDS, again))
    if pause is not None:
        spans.append(_span(clip, pause, None, known))
    return Heard(clip, tuple(spans))


def _span(clip: Clip, pause: tuple[float, float], resumed: float | None, known: list[tuple[float, Evidence]]) -> Span:
    start, noticed = pause
    after_the_end = start >= clip.end - 0.1
    true_end = clip.end if after_the_end else start
    later = None if after_the_end else resumed
    return Span(clip.name, start, noticed, later, true_end, tuple(sorted(known, key=lambda one: one[0])), clip.source)
