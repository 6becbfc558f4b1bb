"""One PocketSphinx decoder in a process of its own (https://github.com/cmusphinx/pocketsphinx, BSD).

PocketSphinx keeps the interpreter locked while it decodes, which would stop the server's event loop. This file runs as
a script beside the server and imports nothing of it. It reads requests from stdin and answers each, in order, with one
line of JSON on stdout:

======== ===================================== ==================================================
request  payload                               answer
======== ===================================== ==================================================
``F``    samples: 16 kHz mono int16, at will   ``{"text"}``: the best text so far
``T``    none                                  ``{"text", "confidence"}``: the final text
``R``    none                                  ``{"text": ""}``: a new recognition begins
======== ===================================== ==================================================

A request is one letter, the length of the payload (4 bytes, little endian) and the payload. The first line, before any
request, is ``{"text": ""}`` when the model is loaded; ``{"error"}`` in place of an answer says what failed, and the
process ends. It also ends when stdin does, so it cannot outlive the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import struct
import sys
from array import array
from collections.abc import Callable
from operator import add, mul
from typing import Any, BinaryIO

FEED, TRANSCRIPT, RESET = b"F", b"T", b"R"
HEADER = struct.Struct("<cI")

RATE = 16_000
_STEP = 2 * RATE // 10
"""Bytes decoded at a time: 100 ms."""
_RENORMALISE = 0.3
"""Seconds of speech after which the cepstral mean follows it."""
_SECOND_LOOK = 1.5
"""Seconds after which an utterance is decoded anew if the mean it began with was wrong (costs some 0.2 s, once)."""
_WRONG = 2.0
"""Root mean square difference of two cepstral means that makes a difference to the words."""
_REJOINED = 3.0
"""Where processes cannot be forked: seconds of a turn that are decoded again when it goes on after a transcript, for
words know their neighbours across a pause. A longer turn goes on with a new utterance."""
_LONG = 8.0
"""Seconds after which an utterance is closed at the next pause and another begun: the second pass over it, for which an
answer waits, takes some 8 % of its length."""
_PAUSE = 0.3
"""Seconds of quiet that are a pause between two phrases."""
_QUIET = 0.06
"""Quiet is what is below this share of the loudest of the utterance (root mean square)."""
_LONGEST = 12.0
"""Seconds after which an utterance is closed without a pause."""


class CepstralMean:
    """Cepstral mean normalisation that follows the speaker.

    PocketSphinx subtracts a fixed mean for the first eight seconds of a live utterance, and its built-in one belongs to
    no microphone: the first words go wrong. Here the mean is that of the utterance so far, with what was learnt from
    those before as half a second of prior. The decoder's own sums serve as the measuring instrument.
    """

    _WINDOW = 500
    """Frames that a mean weighs once it has been set (``CMN_WIN`` in PocketSphinx's ``cmn.h``)."""
    _PRIORS = (50, 150)
    """Frames that the prior weighs: at first, when it is a guess, and when it has been measured."""
    _TYPICAL = (47.0, 4.0, -2.0, 8.0, -12.0, 0.0, -10.0, -2.0, 0.0, -2.0, 0.0, -2.0, 3.0)
    """The usual mean of close speech at ordinary level."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._sum = [0.0] * len(self._TYPICAL)
        self._frames = 0
        self._prior = list(self._TYPICAL)
        self._weight = self._PRIORS[0]
        self.value = self._prior

    def begin(self) -> None:
        """Before an utterance: what is known now becomes its prior."""
        self._prior = self._estimate()
        self._weight = min(self._weight + self._frames, self._PRIORS[1])
        self._sum = [0.0] * len(self._prior)
        self._frames = 0
        self._install()

    def follow(self, frames: int) -> None:
        """Take in the ``frames`` decoded since the last call and use the new mean from here on."""
        weight = self._WINDOW + frames
        mixed = [float(number) for number in self._decoder.get_cmn(True).split(",")]
        pairs = zip(self._sum, mixed, self.value, strict=True)
        self._sum = [total + mix * weight - old * self._WINDOW for total, mix, old in pairs]
        self._frames += frames
        self._install()

    def _estimate(self) -> list[float]:
        weight = self._weight + self._frames
        return [(total + prior * self._weight) / weight for total, prior in zip(self._sum, self._prior, strict=True)]

    def _install(self) -> None:
        self.value = self._estimate()
        self._decoder.set_cmn(",".join(f"{number:g}" for number in self.value))


class NoiseFloor:
    """Adds the faint noise that the acoustic model was trained with.

    In the silence between the sounds of clean speech (denoised by the browser, coded by Opus, synthesised) the
    logarithm of next to nothing looks like no recording that the model knows, and words are lost.
    """

    _SHARE = 0.001
    """Standard deviation of the noise against the loudest 100 ms (root mean square): -60 dB."""

    def __init__(self) -> None:
        chance = random.Random(1)  # the same noise each time: the same speech gives the same words
        self._shape = [chance.gauss(0.0, 1.0) for _ in range(_STEP)]  # twice as long as a step
        self.loudest = 3000.0
        """Root mean square of the loudest 100 ms that the noise goes by."""
        self._noise = array("h")
        self.set(self.loudest)

    def set(self, loudest: float) -> None:
        """Go by ``loudest`` from here on."""
        self.loudest = loudest
        self._noise = array("h", [round(value * loudest * self._SHARE) for value in self._shape])

    def add(self, pcm: bytes, offset: int) -> bytes:
        """``pcm`` (at most a step) with noise; ``offset`` varies the noise."""
        samples = array("h", pcm)
        begin = offset % (_STEP // 2)
        try:
            return array("h", map(add, samples, self._noise[begin : begin + len(samples)])).tobytes()
        except OverflowError:  # a sample at full scale: what is that loud needs no noise
            return pcm


def loudness(pcm: bytes) -> float:
    """Root mean square."""
    samples = array("h", pcm)
    return float((sum(map(mul, samples, samples)) / max(1, len(samples))) ** 0.5)


class Listener:
    """What was said since the last :meth:`reset`: texts of ended utterances, and one that may be open."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        # The second pass (fwdflat) costs 5 % of the utterance at its end, which falls into the pause that decides the
        # turn. The search of the word lattice (bestpath) costs a few milliseconds and judges every word.
        self._decoder = Decoder(fwdflat=True, bestpath=True, loglevel="FATAL")
        self._mean = CepstralMean(self._decoder)
        self._floor = NoiseFloor()
        self._loudest = 0.0
        self._words: list[tuple[str, float]] = []
        self._open = False
        self._audio = bytearray()  # of the last utterance
        self._words_before = 0  # how many words are older than that
        self._quiet = 0  # bytes at its end
        self._bytes = 0
        self._measured = 0

    def reset(self) -> None:
        """Forget all and begin anew; the mean is kept, for the next speaker likely has the same microphone."""
        self._end()
        self._words.clear()
        self._audio.clear()

    def feed(self, pcm: bytes) -> str:
        """Decode ``pcm``; the best text so far."""
        for begin in range(0, len(pcm), _STEP):
            if not self._open:
                self._go_on()
            self._take(pcm[begin : begin + _STEP])
            pauses = self._quiet >= 2 * RATE * _PAUSE
            if self._bytes >= 2 * RATE * (_LONG if pauses else _LONGEST):
                self._end()
                self._audio.clear()
        return self.text()

    def text(self) -> str:
        """The best text so far."""
        hypothesis = self._decoder.hyp() if self._open else None
        words = [word for word, _ in self._words]
        return " ".join(words + (_plain(hypothesis.hypstr) if hypothesis else []))

    def confidence(self) -> float | None:
        """Mean posterior of the words of ended utterances: about the share of them that is right."""
        if not self._words:
            return None
        return min(1.0, sum(probability for _, probability in self._words) / len(self._words))

    def transcript(self) -> dict[str, str | float | None]:
        """The final text of all that was fed, and its confidence.

        An utterance that has been ended cannot go on, and to decode it anew would take longer than the pause. So a copy
        of this process ends it, where the system makes copies (fork(2)): this one goes on as if nothing had been asked.
        """
        told = _in_a_copy(self._final) if self._open and hasattr(os, "fork") else None
        return told or self._final()  # a copy that was killed, for want of memory mostly, has told nothing

    def _final(self) -> dict[str, str | float | None]:
        self._end()
        return {"text": self.text(), "confidence": self.confidence()}

    def _begin(self) -> None:
        self._mean.begin()
        self._began_with = self._mean.value
        self._bytes = self._measured = self._quiet = 0
        self._decoder.start_utt()
        self._open = True

    def _go_on(self) -> None:
        """Begin an utterance, with the audio of the one before it if that was short."""
        if 0 < len(self._audio) <= 2 * RATE * _REJOINED:
            del self._words[self._words_before :]
            self._begin()
            self._decode_again(bytes(self._audio))
        else:
            self._audio.clear()
            self._words_before = len(self._words)
            self._begin()

    def _decode_again(self, audio: bytes) -> None:
        for begin in range(0, len(audio), _STEP):
            self._decoder.process_raw(audio[begin : begin + _STEP])
        self._bytes = len(audio)

    def _take(self, pcm: bytes) -> None:
        before = self._bytes
        self._decode(pcm)
        level = loudness(pcm)
        self._loudest = max(self._loudest, level)
        self._quiet = self._quiet + len(pcm) if level <= _QUIET * self._loudest else 0
        if self._bytes - self._measured >= 2 * RATE * _RENORMALISE:
            self._follow()
        self._audio += pcm
        if before < 2 * RATE * _SECOND_LOOK <= self._bytes:
            self._look_again()

    def _decode(self, pcm: bytes) -> None:
        self._decoder.process_raw(self._floor.add(pcm, self._bytes))
        self._bytes += len(pcm)

    def _follow(self) -> None:
        self._mean.follow(_frames(self._bytes) - _frames(self._measured))
        self._measured = self._bytes

    def _look_again(self) -> None:
        self._follow()
        if _distance(self._mean.value, self._began_with) < _WRONG:
            return
        self._decoder.end_utt()
        self._begin()
        self._decode_again(bytes(self._audio))

    def _end(self) -> None:
        if not self._open:
            return
        if self._bytes < 2 * RATE * _SECOND_LOOK:
            self._look_again()
        self._follow()
        self._decoder.end_utt()
        self._floor.set(self._loudest)
        self._loudest = 0.0
        self._open = False
        for segment in self._decoder.seg() or ():
            self._words += [(word, segment.prob) for word in _plain(segment.word)]


def _in_a_copy(work: Callable[[], dict[str, str | float | None]]) -> dict[str, str | float | None] | None:
    """What ``work`` returns in a copy of this process, which ends with it; ``None`` when it ended before, or there can
    be none."""
    here, there = os.pipe()
    try:
        copy = os.fork()
    except OSError:
        os.close(here)
        os.close(there)
        return None
    if not copy:
        try:
            os.write(there, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(there)
    with open(here, "rb") as answer:
        found = answer.read()
    with contextlib.suppress(ChildProcessError):  # whoever started this process had it ignore the ends of its children
        os.waitpid(copy, 0)
    return dict(json.loads(found)) if found else None


def _frames(size: int) -> int:
    """Frames that PocketSphinx makes of ``size`` bytes: 25.625 ms long, 10 ms apart."""
    return max(0, (size // 2 - 410) // 160 + 1)


def _distance(one: list[float], other: list[float]) -> float:
    return float((sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / len(one)) ** 0.5)


def _plain(text: str) -> list[str]:
    """The words of ``text`` without noises (``<sil>``, ``[NOISE]``, ``++UH++``) and pronunciations (``the(2)``)."""
    return [re.sub(r"\(\d+\)$", "", word) for word in text.split() if word[0] not in "<[+"]


def _answer(listener: Listener, kind: bytes, payload: bytes) -> dict[str, str | float | None]:
    if kind == FEED:
        return {"text": listener.feed(payload)}
    if kind == TRANSCRIPT:
        return listener.transcript()
    listener.reset()
    return {"text": ""}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until ``requests`` end."""

    def say(answer: dict[str, str | float | None]) -> None:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()

    try:
        listener = Listener()
        say({"text": ""})
        while len(header := requests.read(HEADER.size)) == HEADER.size:
            kind, size = HEADER.unpack(header)
            say(_answer(listener, kind, requests.read(size)))
    except BrokenPipeError:  # the server is gone
        return
    except Exception as error:  # noqa: BLE001  whatever it is, the server tells it better than a traceback
        say({"error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Serve on stdin and stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C reaches the whole group; the server decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not garble the answers
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
