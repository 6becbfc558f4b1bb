"""The child process of :mod:`pipelines.engines.pocketsphinx`: one decoder, driven over stdin and stdout.

PocketSphinx holds Python's global lock while it decodes; in the server's process it would stop the audio. A request is
one byte of kind and four bytes of length (big endian), then that many bytes; every request is answered by a length and
a JSON object. The child ends when its stdin does, so it cannot outlive the server.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

FEED, FINISH, RESET = b"F", b"E", b"R"
HEADER = struct.Struct(">cI")
LENGTH = struct.Struct(">I")
CHUNK_BYTES = 6400
"""200 ms: PocketSphinx normalises the features of one call together, so calls should not be long."""


RATE = 16_000
WARM_UP_BYTES = round(1.5 * RATE) * 2
"""After this much speech its own mean is known well enough to begin anew with it."""
LONGEST_REJOINED_BYTES = 8 * RATE * 2
"""When a turn goes on after a pause, up to this much of it is decoded again together with what follows: words know
their neighbours across the pause. A longer turn is continued with a new utterance instead."""
_FRAME_SAMPLES, _WINDOW_SAMPLES = 160, 410
_PRIOR_FRAMES = 50
"""Weight of what earlier speech has taught against what this utterance says."""
_LIVE_FRAMES = 500
"""PocketSphinx's own prior weight in live normalisation: far too slow for a sentence."""
_USUAL_MEAN = (47, 4, -2, 8, -12, 0, -10, -2, 0, -2, 0, -2, 3)
"""Cepstral mean of speech through Opus at a usual level; the package's own (40, 3, -1, …) loses first words."""


class CepstralMean:
    """Channel and level of the speaker, learnt within the first seconds and kept from one utterance to the next.

    Live cepstral mean normalisation gives its start value the weight of 5 s, and with a wrong one the first sentence
    is lost. Here the mean of the speech itself soon outweighs it.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._prior = np.array(_USUAL_MEAN, float)
        self.begin()

    def begin(self) -> None:
        """A new utterance."""
        self._sum = np.zeros(len(_USUAL_MEAN))
        self._count = 0
        self.install()

    def install(self) -> None:
        """Let the decoder use the best estimate from here on."""
        self._installed = self.estimate
        self._decoder.set_cmn(",".join(f"{value:.2f}" for value in self._installed))

    def learn(self, samples: int) -> None:
        """Take up what the decoder saw in the ``samples`` since the last :meth:`install`."""
        frames = 0 if samples < _WINDOW_SAMPLES else 1 + (samples - _WINDOW_SAMPLES) // _FRAME_SAMPLES
        if frames <= 0:
            return
        seen = np.array([float(value) for value in self._decoder.get_cmn(True).split(",")])
        self._sum += seen * (_LIVE_FRAMES + frames) - self._installed * _LIVE_FRAMES
        self._count += frames

    @property
    def estimate(self) -> Any:
        """The mean by what is known."""
        return (self._prior * _PRIOR_FRAMES + self._sum) / (_PRIOR_FRAMES + self._count)

    def remember(self) -> None:
        """The utterance is over: what it taught is where the next one begins."""
        if self._count > _PRIOR_FRAMES:
            self._prior = self.estimate


class Decoder:
    """Texts of one utterance; PocketSphinx's own utterances end at each transcript and their texts are joined."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder as PocketSphinx

        self._decoder: Any = PocketSphinx(samprate=RATE, loglevel="FATAL")
        self._mean = CepstralMean(self._decoder)
        self._heard = b""
        """Audio of the running utterance."""
        self._fed = 0
        """Samples fed since the mean was last installed."""
        self._open = self._warm = False
        self._done: list[str] = []

    def feed(self, samples: bytes) -> dict[str, Any]:
        """16-bit samples at 16 kHz; answers with the text so far."""
        if not self._open:
            self._start()
        self._heard += samples
        for start in range(0, len(samples), CHUNK_BYTES):
            self._take(samples[start : start + CHUNK_BYTES])
        return {"text": self._joined(self._words())}

    def finish(self) -> dict[str, Any]:
        """The transcript of all that was fed."""
        if self._open:
            if not self._warm:
                self._begin_anew()
            self._mean.learn(self._fed)
            self._mean.remember()
            self._decoder.end_utt()
            self._open = False
            self._done.append(self._words())
        return {"text": self._joined("")}

    def reset(self) -> dict[str, Any]:
        """Forget the utterance."""
        self.finish()
        self._done.clear()
        self._heard = b""
        return {}

    def _start(self) -> None:
        self._mean.begin()
        self._decoder.start_utt()
        self._open, self._warm, self._fed = True, False, 0
        if self._done and len(self._heard) <= LONGEST_REJOINED_BYTES:
            self._done.pop()
            for start in range(0, len(self._heard), CHUNK_BYTES):
                self._process(self._heard[start : start + CHUNK_BYTES])
            self._warm = True  # the mean was learnt before the pause
        else:
            self._heard = b""

    def _take(self, piece: bytes) -> None:
        self._process(piece)
        if not self._warm and self._fed * 2 >= WARM_UP_BYTES:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Decode what has been heard so far once more, with its own mean."""
        self._mean.learn(self._fed)
        self._decoder.end_utt()
        self._mean.install()
        self._decoder.start_utt()
        again, self._fed, self._warm = self._heard[: self._fed * 2], 0, True
        for start in range(0, len(again), CHUNK_BYTES):
            self._process(again[start : start + CHUNK_BYTES])

    def _process(self, piece: bytes) -> None:
        self._decoder.process_raw(piece, False, False)
        self._fed += len(piece) // 2

    def _words(self) -> str:
        found = self._decoder.hyp()
        text = found.hypstr if found is not None else ""
        words = (word.partition("(")[0] for word in text.split())
        return " ".join(word for word in words if word and word[0] not in "<[+")

    def _joined(self, last: str) -> str:
        return " ".join(text for text in [*self._done, last] if text)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    decoder = Decoder()
    handlers = {FINISH: decoder.finish, RESET: decoder.reset}
    _answer(answers, {"ready": True})
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        kind, length = HEADER.unpack(header)
        body = requests.read(length)
        _answer(answers, decoder.feed(body) if kind == FEED else handlers[kind]())


def _answer(answers: BinaryIO, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    answers.write(LENGTH.pack(len(data)) + data)
    answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C goes to the whole group; the server decides
    serve(sys.stdin.buffer, sys.stdout.buffer)
