"""The voice that needs no download: espeak-ng through ctypes, from the wheel ``espeakng_loader``.

espeak-ng (https://github.com/espeak-ng/espeak-ng, ``speak_lib.h``) is one set of globals per process and tells at which
sample each word begins. It makes five seconds of speech in some ten milliseconds and never opens an audio device.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from media.frames import Samples
from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.tts.spoken import SPEEDS, Mark, cleaned, parts, pause_after, pieces_of, with_tail, word_timings
from pipelines.errors import TTSError
from pipelines.interfaces.tts import Speech
from pipelines.runtime.worker import Worker


class EspeakSettings(NamedTuple):
    """How a voice is chosen."""

    espeak_name: str
    volume: int
    """Percent: brings the peaks of this voice to -6 … -3 dBFS."""


_VOLUMES = {
    45: "uk",
    50: "cmn es",
    55: "ca cs cy el fi it ka lt ro tr vi",
    60: "as bs et fa he hr pl ru sr tk",
    65: "af bn da eu hu is lv mt nl no pa pt sv uz yue",
    70: "ba bg de hi hy ja ko kk lb mk mr my sl ta th ur",
    75: "am ar id kn ms sd si sk sq sw te",
    80: "az ml ne",
    85: "gu tt",
    90: "be fr ht",
}
_NAMES = {"no": "nb"}
"""What espeak-ng calls a voice by another name."""

_OTHERS = {name: volume for volume, names in _VOLUMES.items() for name in names.split()}

ESPEAK_VOICES = {
    "en-us": EspeakSettings("en-us", 80),
    "en-us+f3": EspeakSettings("en-us+f3", 90),
    "en-us+Annie": EspeakSettings("en-us+Annie", 95),
    "en-us+Alex": EspeakSettings("en-us+Alex", 90),
    "en-us+max": EspeakSettings("en-us+max", 90),
    "en-gb": EspeakSettings("en", 65),
    "en-gb-x-rp": EspeakSettings("en-gb-x-rp", 70),
    "en-gb-scotland": EspeakSettings("en-gb-scotland", 60),
    **{name: EspeakSettings(_NAMES.get(name, name), volume) for name, volume in sorted(_OTHERS.items())},
}
"""By the name that is asked for, the default first; the others are codes of languages."""


_WORDS_PER_MINUTE = 175
"""espeak's normal pace; it scales nearly linearly from 80 to 700."""
_SLOWEST = 80
_LIMIT = 5.0
"""Seconds that a part of a clause may take: a hundred times of what it does."""
_AHEAD = 512
"""Pieces that may wait for a slow listener, four minutes: the worker is shared, so it should not wait for anyone."""


class EspeakVoice:
    """espeak-ng as a :class:`~pipelines.interfaces.tts.TextToSpeech`: English first, and many other languages.

    It gives pieces of mono int16 at ``rate`` hertz.
    Any number may be made in a process: they take turns at the one library. Raises
    :class:`~pipelines.errors.TTSError` (``tts_missing``, ``tts_broken``) when the library cannot be loaded.
    """

    name = "espeak-ng"
    voices = tuple(ESPEAK_VOICES)

    def __init__(self) -> None:
        with TURN:
            self._library = load_library()
        self.rate = self._library.rate
        self._worker = Worker(self.name, limit=_LIMIT)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak ``text``; nothing comes when it has no letter or digit. Closing the generator stops synthesis.

        The words are those between the white space of ``text``. ``speed`` is 0.25–4 times normal; below 0.46 espeak
        gets no slower. Raises :class:`~pipelines.errors.TTSError` (``unknown_voice``, ``invalid_speed``) or
        :class:`~pipelines.errors.EngineStuckError`.
        """
        name = self.voices[0] if voice is None else voice
        if name not in ESPEAK_VOICES:
            raise TTSError("unknown_voice", f"voice: '{name}' is not one of {', '.join(self.voices)}")
        low, high = SPEEDS
        if not low <= speed <= high:
            raise TTSError("invalid_speed", f"speed: {speed:g} is not within {low:g}–{high:g}")
        pace = max(_SLOWEST, round(_WORDS_PER_MINUTE * speed))
        clean = cleaned(text)
        pieces = self._worker.stream(lambda stop: self._speak(clean, ESPEAK_VOICES[name], pace, stop), ahead=_AHEAD)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    def _speak(self, text: str, voice: EspeakSettings, pace: int, stop: threading.Event) -> Iterator[Speech]:
        offset = 0.0
        for part in parts(text):
            with TURN:
                samples, marks = self._library.synthesize(part, voice, pace, stop)
            if stop.is_set():
                return
            samples = with_tail(samples, self.rate, pause_after(part))
            seconds = len(samples) / self.rate
            yield from pieces_of(samples, self.rate, offset, word_timings(part, marks, seconds))
            offset += seconds

    async def close(self) -> None:
        """End the worker. Idempotent."""
        self._worker.close()


# ------------------------------------------------------------------------------------------------- the library

TURN = threading.Lock()
"""Held by whoever uses the library."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all was handed to the callback
_PHONEME_EVENTS = 1  # espeakINITIALIZE_PHONEME_EVENTS: for those who ask the library itself
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: missing data must not end the server
_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _VOLUME = 1, 2
_LIST_TERMINATED, _WORD = 0, 1


class _Library:
    """The C functions. Not thread safe."""

    def __init__(self, library: Any, data_path: str) -> None:
        self.functions = library
        library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
        self.rate: int = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DONT_EXIT | _PHONEME_EVENTS)
        """Hertz."""
        if self.rate <= 0:
            raise TTSError("tts_broken", f"espeak-ng found no usable data in {data_path}")

    def synthesize(
        self, text: str, voice: EspeakSettings, pace: int, stop: threading.Event
    ) -> tuple[Samples, list[Mark]]:
        """The samples of ``text`` and where its words begin; what is there so far when ``stop`` is set."""
        blocks: list[bytes] = []
        marks: list[Mark] = []

        def take(samples: int | None, count: int, events: Any) -> int:
            if samples and count:
                blocks.append(ctypes.string_at(samples, 2 * count))
            n = 0
            while (event := events[n]).type != _LIST_TERMINATED:
                if event.type == _WORD:
                    marks.append((event.text_position - 1, event.audio_position / 1000))
                n += 1
            return int(stop.is_set())

        callback = CALLBACK(take)
        espeak = self.functions
        espeak.espeak_SetSynthCallback(callback)
        if espeak.espeak_SetVoiceByName(voice.espeak_name.encode()) != 0:
            raise TTSError("tts_broken", f"espeak-ng has no voice {voice.espeak_name}")
        espeak.espeak_SetParameter(_RATE, pace, 0)
        espeak.espeak_SetParameter(_VOLUME, voice.volume, 0)
        utf8 = text.encode("utf-8", "replace")
        if espeak.espeak_Synth(utf8, len(utf8) + 1, 0, _POS_CHARACTER, 0, _UTF8, None, None) != 0:
            raise TTSError("tts_failed", "espeak-ng could not speak this text")
        return np.frombuffer(b"".join(blocks), np.int16), marks


@cache
def load_library() -> _Library:
    """The library, initialised once per process."""
    if find_spec("espeakng_loader") is None:
        raise TTSError("tts_missing", "the embedded voice needs the package espeakng-loader, which is not installed")
    import espeakng_loader

    try:
        return _Library(ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path())
    except (OSError, RuntimeError) as error:
        raise TTSError("tts_broken", f"espeak-ng cannot be loaded: {error}") from error


async def build(site: Site, found: Found) -> Built[EspeakVoice]:
    """The library of the wheel (see :data:`pipelines.engines.registry.Build`)."""
    return Built(await site.aside(EspeakVoice))
