"""What the starter Whisper learns to hear: sentences of the starter conversation, words, numbers, letters. Pure.

A sentence is written twice: as it is spoken (letters to be spelled are capitals) and as it is to be recognised: bare
lower-case words, which is what the chat model reads from the other recogniser, too.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from random import Random

from pipelines.starter.examination import probes
from pipelines.starter.grammar import dialogue
from pipelines.starter.words import (
    COLOURS,
    DAYS,
    HELD_OUT,
    MONTHS,
    NAMES,
    PLACES,
    THINGS,
    any_word,
    number,
    pronunciations,
)

COMMON = 5000
"""So many of the commonest words of English are spoken in any order."""
_TALKS, _FAMILIAR = 8000, 8
"""A word is familiar that comes so often in so many conversations."""
_RARE = 0.05
"""Share of the words said in any order that come from the whole dictionary."""

EVERYDAY = (
    "please open the window in the kitchen", "my brother works in a hospital near the river",
    "we are going to the market this afternoon", "i forgot to call my mother yesterday",
    "the train to the city leaves at seven thirty", "can you remember where i put the keys",
    "it might rain later so take your jacket", "she said that the meeting was cancelled",
    "i would rather stay at home tonight", "they have lived here for twenty two years",
    "the children are playing in the garden", "he drinks two cups of coffee every morning",
    "i think the answer is probably no", "the price of bread went up again",
    "do you want to watch a film with us", "the doctor told me to sleep more",
    "there were almost fifty people at the party", "could you speak a little more slowly",
    "my computer does not start anymore", "what should we cook for dinner on friday",
    "turn left after the second bridge", "the book on the table belongs to anna",
    "i need new shoes before the winter", "our team won the game last night",
    "everybody laughed when the dog jumped in", "this is the best song i have heard",
    "the shop closes in fifteen minutes", "nobody knows why the lights went out",
    "she speaks english and a little german", "we should leave before it gets dark",
)  # fmt: skip
"""Sentences of no grammar, to examine it with; training never says them."""


def bare(text: str) -> str:
    """``text`` as it is to be recognised: lower-case words with apostrophes, numbers and times in words.

    >>> bare("It is 2:07 p.m., in 2026!")
    'it is two oh seven p m in twenty twenty six'
    """
    text = text.lower().replace("’", "'").replace("p.m.", "p m").replace("a.m.", "a m")
    text = re.sub(r"(\d{1,2}):(\d\d)", lambda m: f"{m[1]} {_minutes(int(m[2]))}", text)
    text = re.sub(r"\d+", lambda m: _digits(m[0]), text)
    words = (word.strip("'") for word in re.sub(r"[^a-z']+", " ", text).split())
    return " ".join(word for word in words if word)


def _minutes(n: int) -> str:
    return "o'clock" if n == 0 else f"oh {number(n, ' ')}" if n < 10 else number(n, " ")


def _digits(text: str) -> str:
    n = int(text)
    if len(text) == 4 and 1100 <= n <= 2099 and not 2000 <= n < 2010:
        return f"{number(n // 100, ' ')} {_minutes(n % 100) if n % 100 else 'hundred'}"
    return number(n, " ") if n < 1000 else " ".join(number(int(digit)) for digit in text)


@cache
def held_out() -> frozenset[str]:
    """Sentences that training never says."""
    said = {bare(text) for probe in probes() for text in probe.said}
    return frozenset(text for text in said | set(EVERYDAY) if len(text.split()) > 2)


@cache
def familiar() -> frozenset[str]:
    """The words of the starter conversation: those that turn up again and again in it, whoever says them."""
    rng, counts = Random(0), Counter[str]()
    for _ in range(_TALKS):
        for message in dialogue(rng).request.messages:
            counts.update(bare(message.content).split())
    return frozenset(word for word, count in counts.items() if count >= _FAMILIAR)


@cache
def common() -> tuple[str, ...]:
    """The commonest words of English, commonest first, by the language model in the wheel of PocketSphinx."""
    from pocketsphinx import NGramModel, get_model_path

    model = NGramModel.readfile(get_model_path("en-us/en-us.lm.bin"))
    words = [word for word in pronunciations() if re.fullmatch("[a-z]+('[a-z]+)?", word)]
    return tuple(sorted(words, key=lambda word: -model.prob([word]))[:COMMON])


@cache
def special() -> tuple[str, ...]:
    """Names, places, things and the like, those that the chat model never saw included."""
    names = (*NAMES, *PLACES, *THINGS, *COLOURS, *DAYS, *MONTHS, "visavis")
    return (*(word.lower() for word in names), *sorted(HELD_OUT))


def sentence(rng: Random) -> str:
    """What may be said next, as it is spoken; no more than some twenty words."""
    while True:
        text = rng.choices(_KINDS, _SHARES)[0](rng)
        if 0 < len(text.split()) <= 22 and bare(text) not in held_out():
            return text


def _talk(rng: Random) -> str:
    messages = dialogue(rng).request.messages
    wanted = rng.choices(["user", "assistant"], [0.72, 0.28])[0]
    texts = [message.content for message in messages if message.role == wanted and message.content]
    text = rng.choice(texts) if texts else ""
    spelt = re.fullmatch(r"(?:[A-Z], )*[A-Z]\.", text) is not None
    return text if spelt else _bare_but_commas(text)


def _bare_but_commas(text: str) -> str:
    """Words as they are recognised, with the signs at their ends: they make pauses and melodies."""
    parts = re.findall(r"[^,.?!;:—\n]+(?:[.:](?=\S)[^,.?!;:—\n]+)*[,.?!;:—\n]*", text)
    said = ((bare(part), part.rstrip()[-1:]) for part in parts)
    return " ".join(f"{words}{sign if sign in ',.?!' else ''}" for words, sign in said if words)


def _random_word(rng: Random) -> str:
    dice = rng.random()
    if dice < _RARE:
        return any_word(rng)
    if dice < 0.3:
        return rng.choice(special())
    words = common()
    return words[int(len(words) * rng.random() ** 2.5)]


def _random_words(rng: Random) -> str:
    return " ".join(_random_word(rng) for _ in range(rng.choice([1, 1, 2, 3, 3, 4, 5, 6, 8])))


def _around(rng: Random) -> str:
    """A sentence of the grammar in which words were replaced, inserted or left out."""
    words = bare(_talk(rng)).split()[:12]
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(words))
        words[place : place + rng.choice([0, 1, 1, 2])] = [_random_word(rng)] * rng.choice([0, 1, 1, 1])
    return " ".join(words)


def _numbers(rng: Random) -> str:
    some = [number(int(10 ** rng.uniform(0, 2.3)), " ") for _ in range(rng.randint(1, 4))]
    joins = ["plus", "minus", "times", "and", "is", "to", "from", "", "", "equals", "or"]
    return " ".join(" ".join(f"{one} {rng.choice(joins)}" for one in some).split()[: rng.randint(1, 9)])


def _letters(rng: Random) -> str:
    return ", ".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(2, 6)))


_KINDS = (_talk, _random_words, _around, _numbers, _letters)
_SHARES = (0.49, 0.19, 0.2, 0.09, 0.03)
