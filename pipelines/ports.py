"""The contracts between the stages and the engines that serve them. Read this file to know the architecture.

Every engine is one object shared by all sessions; what belongs to one session or one utterance lives in the small
handle that the engine opens for it. Engines keep the event loop free: their methods are ``async`` where they may
wait, and do their work on an own worker (see :mod:`pipelines.worker`) or process.
"""

from __future__ import annotations

from asyncio import Task
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from media.frames import Picture, Samples
from pipelines.vision.settings import DetectorName

VAD_RATE = 16_000
"""Hertz: what voice activity detection and speech-to-text are fed with."""
VAD_WINDOW = 512
"""Samples per voice-activity window: 32 ms."""


@dataclass(frozen=True, slots=True)
class WordTiming:
    """One word of speech and when it sounds."""

    text: str
    start: float
    """Seconds from the start of the audio it belongs to."""
    end: float


# ---------------------------------------------------------------------------------------------------- listen


class VoiceActivity(Protocol):
    """Voice activity of one session (it has memory: windows must be given in order)."""

    def probability(self, window: Samples) -> float:
        """Chance in 0–1 that ``window`` (exactly 512 samples at 16 kHz) holds speech. Fast enough for the loop."""
        ...

    def reset(self) -> None:
        """Forget the past, as after a gap in the audio."""
        ...


class SpeechProbability(Protocol):
    """A voice-activity model."""

    name: str

    def open(self) -> VoiceActivity:
        """A fresh state for one session."""
        ...


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, as far as the recogniser can tell."""

    text: str
    """Plain words; empty when nothing was recognised."""
    confidence: float | None = None
    """0–1, or ``None`` when the engine has none."""
    language: str | None = None
    """Code such as ``en`` of what was spoken; ``None`` when the engine does not tell."""
    words: tuple[WordTiming, ...] = ()
    """When each word was said, counted from the start of the utterance; empty unless the engine was asked for it."""
    better: Task[Transcript | None] | None = field(default=None, compare=False, repr=False)
    """Where the engine doubts: somebody else hears the same, and this tells what to believe instead, or ``None``. It
    belongs to the recognition, which cancels it when more is fed or it is closed."""
    lost: bool = False
    """Whether it is of no use without ``better``: whoever has no time to lose waits for that all the same."""


class Recognition(Protocol):
    """One utterance being recognised. One caller at a time; calls are made in order."""

    async def feed(self, samples: Samples) -> str:
        """Take the next samples (16 kHz, any length); return the best text so far (a partial, may be revised).

        Raises :class:`~pipelines.errors.ListenError` when the engine failed.
        """
        ...

    async def transcript(self) -> Transcript:
        """The best transcript of all that was fed. More may be fed afterwards: the utterance then goes on."""
        ...

    async def close(self) -> None:
        """Give the decoder back. Idempotent; safe in the middle of an utterance and after cancellation."""
        ...


class SpeechToText(Protocol):
    """A speech recogniser."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    async def open(self) -> Recognition:
        """Start an utterance; waits its turn when all decoders are in use."""
        ...

    async def close(self) -> None:
        """End workers and processes."""
        ...


def streams_partials(engine: SpeechToText) -> bool:
    """Whether ``engine`` knows words while they are being spoken, which tells interruptions from a listener's "mhm".

    It does unless its attribute ``streams_partials`` is false, as for a recogniser of whole utterances.
    """
    return bool(getattr(engine, "streams_partials", True))


def languages_of(engine: SpeechToText) -> tuple[str, ...]:
    """Codes of the languages that a session may choose to speak: attribute ``languages`` of ``engine``, or English."""
    return tuple(getattr(engine, "languages", ("en",)))


# ---------------------------------------------------------------------------------------------------- turn


class TurnDetector(Protocol):
    """A model that judges from the sound whether the speaker has finished."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    async def completeness(self, samples: Samples) -> float | None:
        """Chance in 0–1 that the turn held by ``samples`` (16 kHz, up to 8 s) is finished; ``None``: no opinion."""
        ...

    async def close(self) -> None:
        """End workers."""
        ...


# ---------------------------------------------------------------------------------------------------- think

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something the language model may ask to have done."""

    name: str
    description: str
    """What it does and when to use it, for the model to read."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON schema of the arguments, an object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool."""

    id: str
    """Names this call in the message that brings its result."""
    name: str
    """As the model wrote it: there may be no such tool."""
    arguments: str
    """A JSON object, as text."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture for a language model that takes them."""

    data: bytes
    """JPEG or PNG."""
    kind: Literal["image/jpeg", "image/png"] = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation as the language model gets it."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant asked for in this message."""
    tool_call_id: str = ""
    """Of a ``tool`` message: the call whose result ``content`` is."""
    images: tuple[Image, ...] = ()
    """What a user shows with these words. Models that take none are told that there was something."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a language model is asked."""

    messages: tuple[Message, ...]
    """System message first, then the turns; what was interrupted is cut to the words that were heard."""
    scene: str = ""
    """What the camera shows, in words; empty without a camera. Engines place it where their prompt cache survives."""
    max_tokens: int = 256
    tools: tuple[Tool, ...] = ()
    """What the model may call. Without tools an answer is text alone."""
    time: str = ""
    """Time and date in words (:func:`~pipelines.engines.chat_messages.time_words`); empty where nobody tells."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer cost, in tokens."""

    prompt: int
    cached: int
    """How many of the prompt's tokens were known from before and not read again."""
    answer: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of an answer that stops because it has ``max_tokens``, and not because all was said.

    As text it is nothing.
    """

    def __str__(self) -> str:
        return ""


Piece = str | ToolCall | Cut
"""What a language model streams: words, a call once it is complete, and that the answer was cut, which comes last."""


class LanguageModel(Protocol):
    """A language model that streams text."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer, and each tool call once it is complete (only when ``request`` has tools).

        An answer that reached the limit of tokens ends with :class:`Cut`, where the engine can tell.

        Closing the generator stops generation. Raises :class:`~pipelines.errors.ThinkError` when the engine failed.
        """
        ...

    async def close(self) -> None:
        """Close connections and workers."""
        ...


def takes_images(model: LanguageModel) -> bool:
    """Whether ``model`` looks at the pictures of a message: its attribute of that name."""
    return bool(getattr(model, "takes_images", False))


def takes_tools(model: LanguageModel) -> bool:
    """Whether ``model`` can be offered tools, unless its attribute of that name is false."""
    return bool(getattr(model, "takes_tools", True))


# ---------------------------------------------------------------------------------------------------- speak


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of synthesised speech."""

    samples: Samples
    rate: int
    """Hertz."""
    words: tuple[WordTiming, ...] = ()
    """Words that *start* in this piece; times count from the start of the clause, across its pieces."""


class TextToSpeech(Protocol):
    """A voice."""

    @property
    def name(self) -> str:
        """How people call it."""
        ...

    @property
    def voices(self) -> tuple[str, ...]:
        """Legal values of ``voice``, the default first."""
        ...

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause, in pieces as they are ready. Closing the generator stops synthesis.

        Raises :class:`~pipelines.errors.SpeakError` for an unknown voice or when the engine failed.
        """
        ...

    async def close(self) -> None:
        """End workers."""
        ...


# ---------------------------------------------------------------------------------------------------- watch

DetectionKind = Literal["face", "hand", "pose", "object", "person"]


@dataclass(frozen=True, slots=True)
class Expression:
    """How a face looks at one moment, from blendshapes and the pose of the head."""

    mouth_open: float
    """0–1."""
    smile: float
    """0–1."""
    eyes_closed: float
    """0–1."""
    yaw: float
    """Degrees the head is turned away from the camera to the side, positive to the person's left."""
    pitch: float
    """Degrees it is lifted (positive) or bowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One thing found in a picture. Coordinates are fractions of the picture, origin top left."""

    kind: DetectionKind
    id: int
    """Small number, unique within its kind; the same for as long as the same thing is followed."""
    box: tuple[float, float, float, float]
    """x, y, width, height in 0–1."""
    score: float
    """0–1."""
    label: str = ""
    """For hands ``left`` or ``right``, as the person calls it; for objects what they are (``cup``)."""
    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """Landmarks, shape ``(n, 2)`` in 0–1: 6 (BlazeFace) or 478 (face mesh) for a face, 21 for a hand, 33 for a pose;
    empty if none."""
    gesture: str = ""
    """For hands, in words: ``thumbs up``; empty where none is recognised."""
    expression: Expression | None = None
    """For faces, where face landmarks are looked for."""
    mask: NDArray[np.uint8] | None = None
    """For kind ``person``, shape ``(rows, columns)``, smaller than the picture: 255 where somebody is, 0 background."""
    trail: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """Where its centre has been in the last second or so, shape ``(n, 2)`` in 0–1, the newest last; empty where nothing
    is followed."""


class VisionTracker(Protocol):
    """The detectors of one session. Blocking: call it on a worker, one call at a time."""

    def select(self, detectors: Collection[DetectorName]) -> None:
        """Look with ``detectors`` from now on, as far as they are available; opens and closes only what changes."""
        ...

    def detect(self, picture: Picture) -> tuple[Detection, ...]:
        """All that is found in ``picture``. Pictures come in time order.

        Raises :class:`~pipelines.errors.VisionError` when a detector failed.
        """
        ...

    def close(self) -> None:
        """Free the detectors. Idempotent."""
        ...


class VisionDetector(Protocol):
    """A family of detectors with their models loaded once."""

    name: str

    @property
    def detectors(self) -> tuple[DetectorName, ...]:
        """Which of them can be had; more may come while the server runs."""
        ...

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why the others cannot: their model or library is missing."""
        ...

    @property
    def kinds(self) -> tuple[DetectionKind, ...]:
        """What can be found."""
        ...

    def open(self, detectors: Collection[DetectorName] | None = None) -> VisionTracker:
        """Detectors for one session: ``detectors``, or those that new sessions have.

        Blocking (tens of milliseconds each): call it on a worker.
        """
        ...
