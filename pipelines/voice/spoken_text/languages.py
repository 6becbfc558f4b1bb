"""Which voice answers in which language. Pure: codes and text in, names of voices out.

Who is spoken to in a language is answered in it, if the model can: then a voice of that language must say it. A model
that knows English alone answers in English all the same, and is to sound English. So each clause is looked at, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ENGLISH = "en"
_OF_VOICES = {"cmn": "zh", "nb": "no", "fil": "tl", "jv": "jw"}
"""Codes in the names of voices that recognisers know by another one."""
_LATIN = re.compile(r"[A-Za-z]")
_OTHER_LETTERS = re.compile(r"[^\W\d_A-Za-z]")
_ENGLISH_WORDS = frozenset(
    "the and you of that are this with for not have what my your it's i'm don't they we would about know how can could "
    "there which who where when why please yes sorry thanks thank hello good but from because should will i isn't "
    "that's you're let's here's been were does did their our some any very if".split()
)
"""Words that texts in other languages hardly have, and English ones are full of."""
_SHARE = 0.2
"""Of the words of a text that are such words, from which on it is English."""


def language_of(voice: str) -> str:
    """The code of the language of a voice, by its name: ``en_US-joe-medium``, ``en-us+f3``, ``cmn``, ``pt-br``.

    What is called otherwise, like ``alloy``, is taken to be English.
    """
    code = re.split(r"[-_+]", voice, maxsplit=1)[0].lower()
    return _OF_VOICES.get(code, code) if 2 <= len(code) <= 3 else ENGLISH


def voice_for(language: str, wanted: str | None, voices: Sequence[str]) -> str | None:
    """The voice that speaks ``language``: the one ``wanted`` (``None``: the first) if it does, or the first that does.

    Where none does it is the one that is wanted.
    """
    usual = wanted if wanted is not None else next(iter(voices), None)
    if usual is None or language_of(usual) == language:
        return wanted
    return next((voice for voice in voices if language_of(voice) == language), wanted)


def is_english(text: str) -> bool | None:
    """Whether ``text`` is English rather than another language; ``None`` where it is too little to tell."""
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.lower().replace("’", "'"))
    if not words:
        return None
    if len(_OTHER_LETTERS.findall(text)) > len(_LATIN.findall(text)):
        return False
    english = sum(word in _ENGLISH_WORDS for word in words)
    if english >= max(1, _SHARE * len(words)):
        return True
    return False if len(words) >= 4 else None


class Tongue:
    """Who speaks the clauses of one answer to somebody who speaks ``language`` (``None``: it is not known)."""

    def __init__(self, language: str | None, voice: str | None, voices: Sequence[str]) -> None:
        self._language = language
        self._voice = voice
        self._voices = voices
        self._english = False

    def voice_of(self, clause: str) -> tuple[str | None, bool]:
        """The voice for the next clause (``None``: the engine's first), and whether it reads English.

        To who speaks English, or nobody knows what, it is the voice that is wanted, whatever that speaks.
        """
        chosen = self._voice
        if self._language is not None and self._language != ENGLISH:
            english = is_english(clause)
            self._english = self._english if english is None else english
            chosen = voice_for(ENGLISH if self._english else self._language, self._voice, self._voices)
        name = chosen if chosen is not None else next(iter(self._voices), ENGLISH)
        return chosen, language_of(name) == ENGLISH
