"""One utterance on a Whisper that all share: what has been said is decoded again and again while it grows."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from media.frames import Samples
from pipelines.engines.stt.whisper_decode import Decoded, Request
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.stt.whisper_windows import fades, pauses, quietest, window_frames
from pipelines.errors import STTError
from pipelines.interfaces.stt import PLAIN, Hearing, Transcript
from pipelines.interfaces.tts import WordTiming
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.relief import Easing, easing

_LARGEST_SHIFT = 3
"""Words by which a new hypothesis may be longer or shorter over what has been committed ("I am", "I'm")."""
_ANCHOR_WORDS = 2


class LocalAgreement:
    """Takes the transcript of a growing utterance again and again; what has been committed never changes."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        """Words that stay."""
        self._tail: list[str] = []
        self._glue = " "

    @property
    def text(self) -> str:
        """What is committed, and the newest guess at what comes after."""
        return self._glue.join([*self.committed, *self._tail])

    def hear(self, text: str, *, spaced: bool = True) -> str:
        """The newest transcript of everything so far; returns :attr:`text`. Not ``spaced``: words are characters."""
        words = text.split() if spaced else [c for c in text if not c.isspace()]
        self._glue = " " if spaced else ""
        tail = words[self._place_in(words) :]
        agreed = _common(self._tail, tail)
        self.committed += tail[:agreed]
        self._tail = tail[agreed:]
        return self.text

    def _place_in(self, words: Sequence[str]) -> int:
        """Where in ``words`` that begins which has not been committed."""
        end = len(self.committed)
        anchor = [_plain(word) for word in self.committed[-_ANCHOR_WORDS:]]
        for shift in sorted(range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1), key=abs):
            place = end + shift
            before = [_plain(word) for word in words[max(0, place - len(anchor)) : max(0, place)]]
            if before == anchor:
                return place
        return end


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with, whatever their case and punctuation."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if _plain(a) != _plain(b)), min(len(one), len(other)))


def _plain(word: str) -> str:
    return re.sub(r"\W", "", word).casefold() or word


SHORTEST_SECONDS = 0.1
"""Less is no word."""
DETECT_SECONDS = 2.0
"""Audio from which the language can be told for the rest of the utterance."""
_PROMPT_TOKENS = 64
"""Of what was said before the window, so much is shown to the decoder."""
LOOK_SECONDS = 0.2
"""New audio after which a long window is searched for a pause again."""
_SHORTEST_PART = 1.5
"""Seconds: a shorter part is understood worse alone than with what follows."""
_SHARE = 2.0
"""A partial that took a second is followed by two of listening: the machine has more to do, and other sessions."""
_LONGEST_FADE = 0.3
"""Seconds of quiet for which a partial is put off, for a pause may have begun that asks for a transcript."""
_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue"}
"""Languages written without spaces between words."""


class Heard(NamedTuple):
    """A decoding of the beginning of the window."""

    length: int
    """Samples."""
    decoded: Decoded
    final: bool
    """Whether it has been checked."""


class Engine(Protocol):
    """What an utterance needs of :class:`~pipelines.engines.stt.whisper.WhisperRecognizer`."""

    @property
    def settings(self) -> WhisperSettings: ...
    async def decode(self, request: Request) -> Decoded | None: ...
    async def decode_well(self, request: Request, decoded: Decoded | None = None) -> Decoded: ...
    def make_final(self, request: Request) -> None: ...
    def spoken_in(self, session_id: str) -> str | None: ...
    def heard_in(self, session_id: str, language: str) -> None: ...


class WhisperRecognition:
    """Implements :class:`~pipelines.interfaces.stt.Recognition`.

    The audio is decoded in windows: those before the last are settled, the last one grows until it can be cut in a
    pause, so that a transcript of a long utterance costs no more than one of a short utterance. One decoding is under
    way at a time; whoever needs another one waits for it or ends it.
    """

    def __init__(self, engine: Engine, session_id: str, language: str | None = None, hearing: Hearing = PLAIN) -> None:
        self._engine = engine
        self._settings = engine.settings
        self._session = session_id
        self._hearing = hearing
        self._easing = easing.get() or Easing()
        self._window: Samples = np.zeros(0, np.int16)
        self._context: Samples = self._window  # what was settled last
        self._begun = 0  # samples of the window that the newest decoding has seen
        self._searched = 0  # samples of the window that have been searched for pauses
        self._settled: list[tuple[float, Decoded]] = []  # windows with the seconds at which they begin
        self._offset = 0
        self._newest: Heard | None = None
        self._language = self._settings.language or language
        self._agreement = LocalAgreement()
        self._running: asyncio.Task[None] | None = None
        self._request: Request | None = None  # of a running partial
        self._cost = 0.0  # seconds that the last partial took
        self._asked = 0  # samples of the window that it was asked for
        self._error: STTError | None = None
        self._closed = False

    async def feed(self, samples: Samples) -> str:
        """Take int16 samples at 16 kHz, shape ``(n,)``; return the newest partial that is known, without waiting.

        Raises :class:`~pipelines.errors.STTError` when a decoding has failed, and ``stt_closed``.
        """
        self._check()
        self._window = np.concatenate([self._window, samples])
        if self._running is None:
            if self._is_to_be_searched() and (place := self._place()) is not None:
                self._start(partial(self._settle, place))
            elif self._is_due:
                self._asked = len(self._window)
                self._easing.leave_out("partials", self._easing.relief.partials - 1.0)
                self._request = self._ask(self._window, final=False)
                self._start(self._guess)
        return self._agreement.text

    async def transcript(self) -> Transcript:
        """The transcript of all that was fed, each window of which is decoded once; errors as for :meth:`feed`."""
        self._check()
        while self._is_long or (self._running is not None and self._request is None):
            if self._running is None:
                place = self._place()
                assert place is not None
                self._start(partial(self._settle, place))
            await self._finished()
        if len(self._window) >= SHORTEST_SECONDS * VAD_RATE:
            last = await self._final()
            return self._joined([*self._settled, (self._offset / VAD_RATE, last)])
        return self._joined(self._settled)

    async def close(self) -> None:
        """End what is being decoded, at its next step. Idempotent."""
        self._closed = True
        await self._stop()

    # ---- decodings

    @property
    def _is_long(self) -> bool:
        return len(self._window) > self._settings.window_seconds * VAD_RATE

    @property
    def _is_due(self) -> bool:
        """Whether a partial is to be begun: not one that would be under way when the transcript is asked for."""
        new, rarer = (len(self._window) - self._begun) / VAD_RATE, self._easing.relief.partials
        usual = self._settings.partial_seconds
        if not 0 < usual * rarer <= new or new < _SHARE * self._cost * rarer:
            return False
        return new >= usual * rarer + _LONGEST_FADE or not fades(self._window)

    def _start(self, decoding: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._running = asyncio.get_running_loop().create_task(self._watched(decoding), name="whisper")
        self._running.add_done_callback(self._ended)

    async def _watched(self, decoding: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await decoding()
        except STTError as error:
            self._error = error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = self._request = None

    async def _guess(self) -> None:
        """Decode the window as it was asked for, for a partial transcript."""
        assert self._request is not None
        request = self._request
        self._begun = length = self._asked
        clock = asyncio.get_running_loop().time
        since = clock()
        decoded = await self._engine.decode(request)
        self._cost = clock() - since
        if decoded is None:  # it had to make way
            self._begun = 0
        else:
            self._hear(Heard(length, decoded, final=False))

    def _is_to_be_searched(self) -> bool:
        length = len(self._window)
        if length < self._settings.settle_seconds * VAD_RATE or length - self._searched < LOOK_SECONDS * VAD_RATE:
            return False
        self._searched = length
        return True

    def _place(self) -> int | None:
        """Where the window is to be cut: in the longest pause within it, or, when it gets too long, anywhere."""
        settings, shortest = self._settings, int(_SHORTEST_PART * VAD_RATE)
        longest = int(settings.window_seconds * VAD_RATE)
        latest = min(longest, len(self._window) - int(settings.keep_seconds * VAD_RATE))
        found = [(end - begin, (begin + end) // 2) for begin, end in pauses(self._window[: longest + VAD_RATE])]
        within = [(long, place) for long, place in found if shortest <= place <= latest]
        if within:
            return max(within)[1]
        return quietest(self._window, longest // 2, latest) if self._is_long else None

    async def _settle(self, place: int) -> None:
        """Decode what is before a place in the window for good."""
        decoded = await self._engine.decode_well(self._ask(self._window[:place], final=True))
        self._keep(place, decoded)

    def _keep(self, place: int, decoded: Decoded) -> None:
        self._settled.append((self._offset / VAD_RATE, decoded))
        self._context = self._window[:place]
        self._window = self._window[place:]
        self._offset += place
        self._begun = self._searched = 0
        self._newest = None
        self._keep_language(place, decoded)

    async def _final(self) -> Decoded:
        """Decode the window for good, or take a decoding of the very same audio that is done or under way."""
        length = len(self._window)
        request = self._request
        if request is not None and self._asked == length:
            self._engine.make_final(request)
            await self._finished()
        else:
            await self._stop()
        known = self._newest if self._newest is not None and self._newest.length == length else None
        if known is not None and known.final:
            return known.decoded
        timed = self._settings.word_timestamps or self._hearing.word_times
        if known is not None and timed and known.decoded.words is None:
            known = None
        self._begun = length
        request = self._ask(self._window, final=True)
        decoded = await self._engine.decode_well(request, known.decoded if known is not None else None)
        self._hear(Heard(length, decoded, final=True))
        return decoded

    def _ask(self, samples: Samples, *, final: bool) -> Request:
        language = self._language
        if language is None and len(samples) < DETECT_SECONDS * VAD_RATE:
            language = self._engine.spoken_in(self._session)
        before, most = self._before(), self._settings.context_seconds * VAD_RATE
        if not most:
            frames = window_frames(len(samples))
            return Request(samples, frames, language, before, final=final, hearing=self._hearing)
        if len(self._context) + len(samples) > most:
            before = ()
        if before:
            samples = np.concatenate([self._context, samples])
        return Request(samples, window_frames(len(samples)), language, known=before, final=final)

    def _before(self) -> tuple[int, ...]:
        """Tokens of what was said before the window, unless they are not to be believed."""
        guard = self._settings.guard
        if not self._settled or guard.suspects(said := self._settled[-1][1].said):
            return ()
        if self._settings.context_seconds:
            return () if guard.is_silence(said) else said.tokens
        return said.tokens[-_PROMPT_TOKENS:]

    def _hear(self, heard: Heard) -> None:
        """Take note of what the window sounds like so far."""
        self._newest = heard
        self._keep_language(heard.length, heard.decoded)
        if not heard.final and self._settings.guard.repeats(heard.decoded.said):
            return
        parts = [*(one for _, one in self._settled), heard.decoded]
        self._agreement.hear(self._text(parts), spaced=self._is_spaced(heard.decoded.language))

    def _keep_language(self, length: int, decoded: Decoded) -> None:
        if self._language is None and length >= DETECT_SECONDS * VAD_RATE:
            self._language = decoded.language
            self._engine.heard_in(self._session, decoded.language)

    async def _finished(self) -> None:
        """Wait for the decoding under way."""
        if self._running is not None:
            await asyncio.wait([self._running])
        self._check()

    async def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _check(self) -> None:
        if self._closed:
            raise STTError("stt_closed", "this recognition has been closed")
        if self._error is not None:
            raise self._error

    # ---- results

    def _is_spaced(self, language: str) -> bool:
        return language not in _UNSPACED or self._settings.task == "translate" or self._hearing.translate

    def _text(self, parts: list[Decoded]) -> str:
        texts = ["" if self._settings.guard.is_silence(one.said) else one.said.text for one in parts]
        return " ".join(text for text in texts if text)

    def _joined(self, windows: list[tuple[float, Decoded]]) -> Transcript:
        """One transcript of all windows; its confidence is the mean probability of a token, where that is known."""
        heard = [(at, one) for at, one in windows if not self._settings.guard.is_silence(one.said) and one.said.text]
        language = self._language or (windows[-1][1].language if windows else None)
        if not heard:
            return Transcript("", None, language)
        tokens = [len(one.said.tokens) + 1 for _, one in heard]
        total = sum(n * one.said.logprob for n, (_, one) in zip(tokens, heard, strict=True))
        known = self._settings.guard.knows_probability
        confidence = min(1.0, math.exp(total / sum(tokens))) if known else None
        words = tuple(
            WordTiming(word.text, at + word.start, at + word.end) for at, one in heard for word in one.words or ()
        )
        return Transcript(self._text([one for _, one in heard]), confidence, language, words)
