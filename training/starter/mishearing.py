"""What the embedded recogniser makes of words: measured confusions, and their use on training text.

:func:`measure` speaks sentences with espeak-ng and has PocketSphinx hear them; what came out differently is kept with
its count in ``confusions.json``. :func:`mishear` applies that to other text, and words that sound nearly the same
where the table knows none.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from training.starter.words import HELD_OUT, pronunciations

VOICES = ("en-us", "en-us+f3", "en-gb", "en-us+max")
"""Voices of the measurement; evaluation uses another one."""
_LONGEST = 3
"""Words of a confusion."""
_NUMBERS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety".split()
)
_SMALL = ("the", "a", "and", "uh", "to", "of", "in", "that")

Table = dict[str, list[tuple[str, int]]]


@cache
def confusions() -> Table:
    """Words → what was heard instead and how often; the words themselves count where they were heard right."""
    text = Path(__file__).with_name("confusions.json").read_text(encoding="utf-8")
    found: Table = {said: [(heard, n) for heard, n in other.items()] for said, other in json.loads(text).items()}
    return found


def mishear(text: str, rng: Random, rate: float = 0.5) -> str:
    """``text`` as the recogniser might have heard it; ``rate`` scales how often it errs (1 is as measured).

    Numbers keep their value: which number was meant could not be known any more.
    """
    words = re.findall(r"[\w']+", text.lower())
    if not words or any(word.isdigit() for word in words):
        return text
    out: list[str] = []
    at = 0
    while at < len(words):
        at += _hear(words, at, out, rng, rate)
    return " ".join(out) or text


def _hear(words: Sequence[str], at: int, out: list[str], rng: Random, rate: float) -> int:
    """Append what is heard of the words from ``at`` on; return how many were used."""
    table = confusions()
    for length in range(_LONGEST, 0, -1):
        said = words[at : at + length]
        other = table.get(" ".join(said)) if len(said) == length and not _NUMBERS & set(said) else None
        if other and (length == 1 or rng.random() < 0.25 * rate):
            wrong = [(heard, n) for heard, n in other if heard != " ".join(said)]
            share = sum(n for _, n in wrong) / sum(n for _, n in other)
            if wrong and rng.random() < (share * rate if length == 1 else 1.0):
                heard = rng.choices([heard for heard, _ in wrong], [n for _, n in wrong])[0]
                out += heard.split()
                return length
    word = words[at]
    chance = rng.random() / max(rate, 1e-9)
    if word in _NUMBERS:
        out.append(word)
    elif chance < 0.04:
        out.append(rng.choice(neighbours(word) or (word,)))
    elif chance < 0.06 and len(word) < 4:
        pass
    elif chance < 0.08:
        out += [word, rng.choice(_SMALL)]
    else:
        out.append(word)
    return 1


@cache
def _by_sound() -> dict[str, list[str]]:
    """Phonemes with one left out → the words that have the others."""
    found: dict[str, list[str]] = defaultdict(list)
    for word, sounds in pronunciations().items():
        if len(word) < 7 and word not in HELD_OUT:
            for key in _keys(sounds):
                found[key].append(word)
    return found


def _keys(sounds: str) -> set[str]:
    parts = sounds.split()
    return {" ".join([*parts[:n], "_", *parts[n + 1 :]]) for n in range(len(parts))} if len(parts) > 1 else set()


@cache
def neighbours(word: str) -> tuple[str, ...]:
    """Words that differ from ``word`` in one phoneme."""
    sounds = pronunciations().get(word, "")
    return tuple(sorted({other for key in _keys(sounds) for other in _by_sound().get(key, ()) if other != word}))


# --------------------------------------------------------------------------------------------------- measuring


async def hear(sentences: Sequence[str], voices: Sequence[str]) -> list[str]:
    """What PocketSphinx hears when espeak-ng says ``sentences``, the voices in turn."""
    from pipelines.engines.stt.pocketsphinx_recognizer import PocketSphinxRecognizer
    from pipelines.engines.tts.espeak import EspeakVoice

    voice, recogniser = EspeakVoice(), PocketSphinxRecognizer(1)
    heard: list[str] = []
    try:
        for n, sentence in enumerate(sentences):
            pieces = [piece async for piece in voice.synthesize(sentence, voices[n % len(voices)])]
            samples = np.concatenate([piece.samples for piece in pieces])
            rate = pieces[0].rate
            times = np.arange(0, len(samples), rate / 16_000)
            samples = np.interp(times, np.arange(len(samples)), samples).astype(np.int16)
            silence = np.zeros(4_800, np.int16)
            recognition = await recogniser.open()
            try:
                await recognition.feed(np.concatenate([silence, samples, silence]))
                heard.append((await recognition.transcript()).text)
            finally:
                await recognition.close()
    finally:
        await recogniser.close()
        await voice.close()
    return heard


def measure(sentences: Sequence[str], voices: Sequence[str] = VOICES) -> dict[str, dict[str, int]]:
    """Confusions of ``sentences`` (plain words): what was said → what was heard → how often. Blocking."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for said, heard in zip(sentences, asyncio.run(hear(sentences, voices)), strict=True):
        for a, b in aligned(said.split(), heard.split()):
            table[a][b] += 1
    return {
        said: dict(other.most_common())
        for said, other in sorted(table.items())
        if set(other) != {said} and not HELD_OUT & set(" ".join([said, *other]).split())
    }


def aligned(said: Sequence[str], heard: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of what was said and what was heard instead, up to three words each; words heard right are pairs too."""
    pairs: list[tuple[str, str]] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, said, heard, autojunk=False).get_opcodes():
        if kind == "equal":
            pairs += [(word, word) for word in said[a:b]]
        elif kind == "delete" and b - a == 1:
            pairs.append((said[a], ""))
        elif kind == "replace" and b - a <= _LONGEST and d - c <= _LONGEST:
            pairs.append((" ".join(said[a:b]), " ".join(heard[c:d])))
            if b - a == d - c > 1:
                pairs += zip(said[a:b], heard[c:d], strict=True)
    return pairs
