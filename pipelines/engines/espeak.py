"""The voice that needs no download: espeak-ng through ctypes, from the wheel ``espeakng_loader``.

espeak-ng (https://github.com/espeak-ng/espeak-ng, ``speak_lib.h``) is one set of globals per process and tells at which
sample each word begins. It makes five seconds of speech in some ten milliseconds and never opens an audio device.
"""

from __future__ import annotations

import ctypes
import re
import threading
from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple
from unicodedata import category

import numpy as np

from media.frames import Samples, silence
from pipelines.errors import SpeakError
from pipelines.ports import Speech, WordTiming
from pipelines.worker import Worker

_WORDS_PER_MINUTE = 175
"""espeak's normal pace; it scales nearly linearly from 80 to 700."""
_SLOWEST = 80
_SPEEDS = (0.25, 4.0)
_PIECE = 0.5
"""Seconds of one piece: large enough to resample cheaply, small enough not to hold up the loop."""
_AHEAD = 512
"""Pieces that may wait for a slow listener, four minutes: the worker is shared, so it should not wait for anyone."""
_PART = 300
"""Characters spoken in one go (some 20 ms of work); longer text is cut where a reader would breathe."""
_AUDIBLE = 100
"""Amplitude, -50 dBFS: what is below at the end of a clause is taken for silence."""


class _Voice(NamedTuple):
    espeak_name: str
    volume: int
    """Percent: brings the peaks of this voice to -6 … -3 dBFS."""


_VOICES = {
    "en-us": _Voice("en-us", 80),
    "en-us+f3": _Voice("en-us+f3", 90),
    "en-us+Annie": _Voice("en-us+Annie", 95),
    "en-us+Alex": _Voice("en-us+Alex", 90),
    "en-us+max": _Voice("en-us+max", 90),
    "en-gb": _Voice("en", 65),
    "en-gb-x-rp": _Voice("en-gb-x-rp", 70),
    "en-gb-scotland": _Voice("en-gb-scotland", 60),
}


class EspeakVoice:
    """espeak-ng as a :class:`~pipelines.ports.TextToSpeech`. English; pieces of mono int16 at ``rate`` hertz.

    Any number may be made in a process: they take turns at the one library. Raises
    :class:`~pipelines.errors.SpeakError` (``tts_missing``, ``tts_broken``) when the library cannot be loaded.
    """

    name = "espeak-ng"
    voices = tuple(_VOICES)

    def __init__(self) -> None:
        with _TURN:
            self._library = _load()
        self.rate = self._library.rate
        self._worker = Worker(self.name)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak ``text``; nothing comes when it has no letter or digit. Closing the generator stops synthesis.

        The words are those between the white space of ``text``. ``speed`` is 0.25–4 times normal; below 0.46 espeak
        gets no slower. Raises :class:`~pipelines.errors.SpeakError` (``unknown_voice``, ``invalid_speed``).
        """
        name = self.voices[0] if voice is None else voice
        if name not in _VOICES:
            raise SpeakError("unknown_voice", f"voice: '{name}' is not one of {', '.join(self.voices)}")
        low, high = _SPEEDS
        if not low <= speed <= high:
            raise SpeakError("invalid_speed", f"speed: {speed:g} is not within {low:g}–{high:g}")
        pace = max(_SLOWEST, round(_WORDS_PER_MINUTE * speed))
        clean = _clean(text)
        pieces = self._worker.stream(lambda stop: self._speak(clean, _VOICES[name], pace, stop), ahead=_AHEAD)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    def _speak(self, text: str, voice: _Voice, pace: int, stop: threading.Event) -> Iterator[Speech]:
        offset = 0.0
        for part in _parts(text):
            with _TURN:
                samples, marks = self._library.synthesize(part, voice, pace, stop)
            if stop.is_set():
                return
            samples = _with_tail(samples, self.rate, _pause_after(part))
            seconds = len(samples) / self.rate
            yield from _pieces(samples, self.rate, offset, word_timings(part, marks, seconds))
            offset += seconds

    async def close(self) -> None:
        """End the worker. Idempotent."""
        self._worker.close()


# ------------------------------------------------------------------------------------------------- the library

_TURN = threading.Lock()
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


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all was handed to the callback
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: missing data must not end the server
_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _VOLUME = 1, 2
_LIST_TERMINATED, _WORD = 0, 1

_Mark = tuple[int, float]
"""A word begins: index into the text, seconds from the start of the audio."""


class _Library:
    """The C functions. Not thread safe."""

    def __init__(self, library: Any, data_path: str) -> None:
        self._library = library
        library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
        self.rate: int = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DONT_EXIT)
        """Hertz."""
        if self.rate <= 0:
            raise SpeakError("tts_broken", f"espeak-ng found no usable data in {data_path}")

    def synthesize(self, text: str, voice: _Voice, pace: int, stop: threading.Event) -> tuple[Samples, list[_Mark]]:
        """The samples of ``text`` and where its words begin; what is there so far when ``stop`` is set."""
        blocks: list[bytes] = []
        marks: list[_Mark] = []

        def take(samples: int | None, count: int, events: Any) -> int:
            if samples and count:
                blocks.append(ctypes.string_at(samples, 2 * count))
            n = 0
            while (event := events[n]).type != _LIST_TERMINATED:
                if event.type == _WORD:
                    marks.append((event.text_position - 1, event.audio_position / 1000))
                n += 1
            return int(stop.is_set())

        callback = _CALLBACK(take)
        espeak = self._library
        espeak.espeak_SetSynthCallback(callback)
        if espeak.espeak_SetVoiceByName(voice.espeak_name.encode()) != 0:
            raise SpeakError("tts_broken", f"espeak-ng has no voice {voice.espeak_name}")
        espeak.espeak_SetParameter(_RATE, pace, 0)
        espeak.espeak_SetParameter(_VOLUME, voice.volume, 0)
        utf8 = text.encode("utf-8", "replace")
        if espeak.espeak_Synth(utf8, len(utf8) + 1, 0, _POS_CHARACTER, 0, _UTF8, None, None) != 0:
            raise SpeakError("tts_failed", "espeak-ng could not speak this text")
        return np.frombuffer(b"".join(blocks), np.int16), marks


@cache
def _load() -> _Library:
    """The library, initialised once per process."""
    if find_spec("espeakng_loader") is None:
        raise SpeakError("tts_missing", "the embedded voice needs the package espeakng-loader, which is not installed")
    import espeakng_loader

    try:
        return _Library(ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path())
    except (OSError, RuntimeError) as error:
        raise SpeakError("tts_broken", f"espeak-ng cannot be loaded: {error}") from error


# ------------------------------------------------------------------------------------------------- text and time


def _clean(text: str) -> str:
    """``text`` without invisible marks (soft hyphens, direction), and blanks for what else cannot be printed (NUL)."""
    visible = (character for character in text if category(character) != "Cf")
    return "".join(character if character.isprintable() else " " for character in visible)


def _parts(text: str) -> Iterator[str]:
    """``text`` in parts of at most ``_PART`` characters, cut after a sentence, else a clause, else a word.

    Parts without a letter or digit are left out.
    """
    while text:
        cut = len(text)
        if cut > _PART:
            head = text[:_PART]
            ends = (max((m.end() for m in re.finditer(p, head)), default=0) for p in (r"[.!?]\s", r"[,;:–—]\s", r"\s"))
            cut = next((end for end in ends if end), _PART)
        part, text = text[:cut], text[cut:]
        if any(character.isalnum() for character in part):
            yield part


def _pause_after(text: str) -> float:
    """Seconds of silence that let the next clause join naturally."""
    return 0.15 if re.search(r"[.!?…][\"'”’)\]\s]*$", text) else 0.06


def _with_tail(samples: Samples, rate: int, seconds: float) -> Samples:
    """``samples`` ending in exactly ``seconds`` of silence."""
    audible = np.flatnonzero(np.abs(samples.astype(np.int32)) > _AUDIBLE)
    end = (int(audible[-1]) + 1 if len(audible) else 0) + round(seconds * rate)
    return np.concatenate((samples[:end], silence(max(0, end - len(samples)) / rate, rate)))


def word_timings(text: str, marks: list[_Mark], seconds: float) -> list[WordTiming]:
    """When each word of ``text`` sounds; joined with blanks they are ``text`` again.

    ``marks`` are espeak's words, which are not the reader's: ``$3.50`` has four, ``of the`` may have one. A word starts
    at its first mark; one without a mark shares the time of the word before by its length, and bare punctuation
    belongs to the word before. The last word ends at ``seconds``.
    """
    tokens = [(match.start(), match.group()) for match in re.finditer(r"\S+", text)]
    begins = [begin for begin, _ in tokens]
    starts: list[float | None] = [None] * len(tokens)
    between: list[tuple[int, float]] = []
    for position, time in marks:
        n = bisect_right(begins, position) - 1
        if n >= 0 and position < begins[n] + len(tokens[n][1]):
            starts[n] = time if starts[n] is None else starts[n]
        elif n + 1 < len(tokens):
            between.append((n + 1, time))  # espeak points at the blank in front, though not only then
    for n, time in between:
        starts[n] = time if starts[n] is None else starts[n]
    spoken = _joined([word for _, word in tokens], starts)
    return _filled(spoken, seconds)


def _joined(words: list[str], starts: list[float | None]) -> list[tuple[str, float | None]]:
    """Words with their starts; silent punctuation joined to the word before (or after, at the very start)."""
    joined: list[tuple[str, float | None]] = []
    lead = ""
    for word, start in zip(words, starts, strict=True):
        if start is not None or any(character.isalnum() for character in word):
            joined.append((lead + word, start))
            lead = ""
        elif joined:
            joined[-1] = (f"{joined[-1][0]} {word}", joined[-1][1])
        else:
            lead += word + " "
    return joined


def _filled(words: list[tuple[str, float | None]], seconds: float) -> list[WordTiming]:
    """Words with start and end: unknown starts are laid out between the known ones by length of word."""
    starts: list[float] = []
    n = 0
    while n < len(words):
        begin = max(words[n][1] or 0.0, starts[-1] if starts else 0.0)
        stop = next((k for k in range(n + 1, len(words)) if words[k][1] is not None), len(words))
        end = max(begin, seconds if stop == len(words) else words[stop][1] or 0.0)
        sizes = [len(word) for word, _ in words[n:stop]]
        starts += [begin + (end - begin) * sum(sizes[:k]) / sum(sizes) for k in range(len(sizes))]
        n = stop
    ends = [*starts[1:], seconds]
    return [WordTiming(word, start, end) for (word, _), start, end in zip(words, starts, ends, strict=True)]


def _pieces(samples: Samples, rate: int, offset: float, words: list[WordTiming]) -> Iterator[Speech]:
    """``samples`` in pieces, each with the words that start in it, moved by ``offset`` seconds."""
    size = round(_PIECE * rate)
    for begin in range(0, len(samples), size):
        end = begin + size
        last = end >= len(samples)
        inside = [w for w in words if begin <= round(w.start * rate) and (last or round(w.start * rate) < end)]
        moved = tuple(WordTiming(w.text, w.start + offset, w.end + offset) for w in inside)
        yield Speech(samples[begin:end], rate, moved)
