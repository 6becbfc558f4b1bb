"""A voice that remembers: what has been said before comes back without synthesis, word timings included.

An assistant repeats itself (greetings, "just a moment", the same first clauses), and the first clause is what the user
waits for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from media.frames import Samples
from pipelines.interfaces.tts import Speech, TextToSpeech, WordTiming

MEMORY_BYTES = 32 << 20
"""About twelve minutes of speech at 22 kHz."""
LONGEST_SECONDS = 12.0
"""Longer phrases are hardly ever said twice."""
PIECE_SECONDS = 0.25
_WORD_BYTES = 200
"""About what Python needs for a word with its timing."""

_Key = tuple[str, float, str]
"""Voice, speed and exact text."""


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """A clause as it was spoken. Shared by all who say it: the samples must not be written to."""

    samples: Samples
    rate: int
    """Hertz."""
    words: tuple[WordTiming, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, roughly."""
        return self.samples.nbytes + _WORD_BYTES * len(self.words)


class CachedVoice:
    """Wraps ``engine`` as the same kind of voice; owns it, and closes it.

    A phrase is known by voice, speed and exact text. It is kept once its stream has come to its end, up to
    ``memory_bytes`` in all. Two who ask for the same new phrase at a time both have it synthesised.
    """

    def __init__(self, engine: TextToSpeech, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self.name = engine.name
        self.voices = engine.voices
        self.hits = 0
        """Phrases that were known."""
        self.misses = 0
        """Phrases that had to be synthesised."""
        self._engine = engine
        self._memory = PhraseMemory(memory_bytes)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """As the engine does it, or from memory in pieces of at most :data:`PIECE_SECONDS`."""
        key = (self.voices[0] if voice is None else voice, speed, text)
        phrase = self._memory.get(key)
        if phrase is not None:
            self.hits += 1
            for piece in pieces_of(phrase):
                yield piece
                await asyncio.sleep(0)  # resampling twelve seconds in one go would hold up the loop
            return
        self.misses += 1
        recording = Recording()
        async with aclosing(self._engine.synthesize(text, voice, speed)) as source:
            async for piece in source:
                recording.add(piece)
                yield piece
        phrase = recording.phrase()
        if phrase is not None:
            self._memory.put(key, phrase)

    async def close(self) -> None:
        """End the engine."""
        await self._engine.close()


class PhraseMemory:
    """Phrases up to ``most_bytes``; the longest unused are forgotten. Pure."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.nbytes = 0
        """Bytes held now."""
        self._phrases: OrderedDict[_Key, Phrase] = OrderedDict()

    def __len__(self) -> int:
        return len(self._phrases)

    def get(self, key: _Key) -> Phrase | None:
        """The phrase, if it is remembered; counts as a use."""
        phrase = self._phrases.get(key)
        if phrase is not None:
            self._phrases.move_to_end(key)
        return phrase

    def put(self, key: _Key, phrase: Phrase) -> None:
        """Remember ``phrase``, unless it alone is larger than all may be."""
        if phrase.nbytes > self.most_bytes:
            return
        known = self._phrases.pop(key, None)
        self.nbytes += phrase.nbytes - (known.nbytes if known is not None else 0)
        self._phrases[key] = phrase
        while self.nbytes > self.most_bytes:
            self.nbytes -= self._phrases.popitem(last=False)[1].nbytes


class Recording:
    """Collects the pieces of one phrase as they pass by. Pure."""

    def __init__(self) -> None:
        self._pieces: list[Speech] = []
        self._seconds = 0.0

    def add(self, piece: Speech) -> None:
        """The next piece; nothing is held of a phrase that is too long to be kept."""
        self._seconds += len(piece.samples) / piece.rate
        if self._seconds > LONGEST_SECONDS:
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def phrase(self) -> Phrase | None:
        """All of it; ``None`` when it made no sound, was too long, or changed its rate on the way."""
        rates = {piece.rate for piece in self._pieces}
        if len(rates) != 1 or self._seconds > LONGEST_SECONDS:
            return None
        samples = np.concatenate([piece.samples for piece in self._pieces])
        samples.flags.writeable = False
        words = tuple(word for piece in self._pieces for word in piece.words)
        return Phrase(samples, rates.pop(), words) if len(samples) else None


def pieces_of(phrase: Phrase) -> Iterator[Speech]:
    """``phrase`` in pieces of at most :data:`PIECE_SECONDS`, each with the words that start in it."""
    size = max(1, int(PIECE_SECONDS * phrase.rate))
    count = -(-len(phrase.samples) // size)
    words: list[list[WordTiming]] = [[] for _ in range(count)]
    for word in phrase.words:
        words[min(max(0, round(word.start * phrase.rate)) // size, count - 1)].append(word)
    for n in range(count):
        yield Speech(phrase.samples[n * size : (n + 1) * size], phrase.rate, tuple(words[n]))
