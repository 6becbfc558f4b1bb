"""How the scripted responder answers: one function for each thing that may be asked. Pure.

A function gets the talk and what its intent's pattern matched in the plain words of the utterance; it returns the
answer, or ``None`` when the intent was not meant after all.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pipelines.engines.scripted_talk import Talk, capitalised, first_number, in_words, pick, plain, quoted, sum_of

Answer = Callable[[Talk, re.Match[str]], str | None]

NAME = re.compile(r"\b(?:my (?:name is|names|name was)|call me|(?:i am|im) called) (?P<name>[^\W\d]{2,20})\b")
"""Somebody tells their name."""
JOKE = re.compile(r"\bjokes?\b|\bmake me laugh\b|\bsomething funny\b|^(?:another|one more)(?: one)?$")
"""Somebody asks for a joke."""

_JOKES = (
    "Why did the microphone blush? It heard everything.",
    "I would tell you a joke about UDP, but you might not get it.",
    "What do you call a fake noodle? An impasta.",
    "Why was the computer cold? It left its windows open.",
)
_NO_CAMERA = "I get no camera picture, so I see nothing."
_OPPOSITES = (
    "hot cold big small up down left right in out open closed day night good bad happy sad fast slow old new "
    "young old high low long short light dark early late full empty hard soft black white yes no on off true false "
    "rich poor strong weak wet dry clean dirty near far first last loud quiet start stop love hate"
).split()
_OPPOSITE = {
    **dict(zip(_OPPOSITES[1::2], _OPPOSITES[::2], strict=True)),
    **dict(zip(_OPPOSITES[::2], _OPPOSITES[1::2], strict=True)),
}
_NO_NAME = frozenset("not what the is in on so very please back later when if and or again it an my now".split())
_QUESTION = re.compile(
    r"(?:what|whats|who|whos|where|when|why|how|which|is|are|am|do|does|did|can|could|will|would|have|has|should)\b"
)
_COUNTED = 30
"""How far is counted in one breath."""
_LONGEST_ECHO = 40
"""Words that are repeated at most."""


def say(*choices: str) -> Answer:
    """One of ``choices``, another one each turn."""
    return lambda talk, _: pick(choices, talk.turn)


def short(words: int, *choices: str) -> Answer:
    """An answer to an utterance of at most so many words: in a longer one it was only a way to begin."""
    return lambda talk, _: pick(choices, talk.turn) if len(talk.words.split()) <= words else None


# ---------------------------------------------------------------------------------------------------- memory


def _name(talk: Talk) -> str | None:
    for said in reversed(talk.said):
        match = NAME.search(plain(said))
        if match and match["name"] not in _NO_NAME:
            return capitalised(match["name"])
    return None


def told_name(talk: Talk, match: re.Match[str]) -> str | None:
    """The user told their name."""
    return None if match["name"] in _NO_NAME else f"Nice to meet you, {capitalised(match['name'])}."


def asked_name(talk: Talk, _: re.Match[str]) -> str:
    """The user asks for their name."""
    name = _name(talk)
    return f"Your name is {name}." if name else "You have not told me your name yet."


def what_i_said(talk: Talk, match: re.Match[str]) -> str:
    """The user asks what they said, last or first."""
    if not talk.earlier:
        return "This is the first thing you said."
    return f'You said: "{quoted(talk.earlier[0 if "first" in match.group() else -1])}".'


def what_you_said(talk: Talk, _: re.Match[str]) -> str:
    """The last answer once more."""
    if not talk.replies:
        return "I have not said anything yet."
    return _echo(talk.replies[-1].rstrip("— "))


def questions(talk: Talk, _: re.Match[str]) -> str:
    """How many questions there were."""
    asked = sum("?" in said or _QUESTION.match(plain(said)) is not None for said in talk.earlier) + 1
    return f"{capitalised(in_words(asked))} {'question' if asked == 1 else 'questions'} so far, this one included."


def repeat(talk: Talk, match: re.Match[str]) -> str:
    """Say after the user."""
    count = len(match["what"].split())
    original = " ".join(talk.utterance.split()[-count:])
    return _echo(original if plain(original) == match["what"] else match["what"])


def _echo(text: str) -> str:
    text = capitalised(" ".join(text.split()[:_LONGEST_ECHO]))
    return text if text[-1:] in ".!?" else f"{text}."


# ---------------------------------------------------------------------------------------------------- the camera


def see(talk: Talk, match: re.Match[str]) -> str:
    """What the camera shows."""
    if not talk.scene:
        return _NO_CAMERA
    if not match.group().startswith(("can", "could", "do")):
        return _seen(talk)
    return f"{'No' if _nobody(talk) else 'Yes'}, {_seen(talk)}"


def _seen(talk: Talk) -> str:
    return f"I see {' '.join(talk.scene.rstrip('. ').split()[:20])}."


def people(talk: Talk, _: re.Match[str]) -> str:
    """How many people the camera shows."""
    if not talk.scene:
        return _NO_CAMERA
    if _nobody(talk):
        return "I see nobody."
    count = re.search(r"\b(?:\w+ )(?:person|people|faces?)\b", talk.scene, re.IGNORECASE)
    return f"I see {count.group()}." if count else _seen(talk)


def raised_hand(talk: Talk, _: re.Match[str]) -> str:
    """Whether a hand, or the one that was asked for, is raised."""
    if not talk.scene:
        return _NO_CAMERA
    seen = re.search(r"\b(\w+) (hands?|arms?) (?:is |are )?(?:raised|up)\b", talk.scene.lower())
    if not seen:
        return "No, I see no raised hand."
    which, asked = seen[1], re.search(r"\b(?:left|right)\b", talk.words)
    other_side = asked is not None and which in ("left", "right") and which != asked.group()
    article = "the " if which in ("left", "right") else ""
    return f"{'No' if other_side else 'Yes'}, I see {article}{which} {seen[2]} raised."


def _nobody(talk: Talk) -> bool:
    return re.match(r"(?:nobody|no one|no people|no person|nothing)\b", talk.scene.lower()) is not None


# ---------------------------------------------------------------------------------------------------- small skills


def arithmetic(talk: Talk, _: re.Match[str]) -> str | None:
    """Two plus three."""
    return sum_of(talk.words)


def add(talk: Talk, match: re.Match[str]) -> str | None:
    """``add two and three``."""
    return sum_of(" plus ".join(match["numbers"].rsplit(" and ", 1)))


def count(talk: Talk, match: re.Match[str]) -> str | None:
    """Count up or down."""
    down = match["down"] is not None
    begin = first_number((match["begin"] or ("ten" if down else "one")).split())
    end = first_number((match["end"] or "one").split())
    if begin is None or end is None or not (match["end"] or down):
        return None
    first, last = int(begin), int(end)
    step = 1 if last >= first else -1
    numbers = [in_words(n) for n in range(first, last + step, step)[:_COUNTED]]
    more = ", and so on" if abs(last - first) >= _COUNTED else ""
    return f"{capitalised(', '.join(numbers))}{more}."


def spell(talk: Talk, match: re.Match[str]) -> str | None:
    """A word, or the name of the user, letter by letter."""
    word = _name(talk) if match["word"] == "my" else match["word"]
    return f"{', '.join(word[:20].upper())}." if word else "You have not told me your name yet."


def opposite(_: Talk, match: re.Match[str]) -> str:
    """The opposite of a word."""
    word = match["word"]
    if word in _OPPOSITE:
        return f"The opposite of {word} is {_OPPOSITE[word]}."
    return f'I do not know the opposite of "{word[:30]}".'


def time(talk: Talk, _: re.Match[str]) -> str:
    """The time of day."""
    if talk.now is None:
        return "I have no clock, so I cannot say."
    now = talk.now()
    minutes = f":{now.minute:02}" if now.minute else ""
    return f"It is {now.hour % 12 or 12}{minutes} {'a.m.' if now.hour < 12 else 'p.m.'}"


def date(talk: Talk, _: re.Match[str]) -> str:
    """The day."""
    if talk.now is None:
        return "I have no calendar, so I cannot say."
    now = talk.now()
    return f"Today is {now:%A}, {now.day} {now:%B} {now.year}."


def joke(talk: Talk, _: re.Match[str]) -> str:
    """The next joke."""
    told = sum(JOKE.search(plain(said)) is not None for said in talk.earlier)
    return pick(_JOKES, told)


def unknowable(_: Talk, match: re.Match[str]) -> str:
    """What one would have to look up."""
    return f"I cannot look up the {match.group()}: I am scripted and know nothing of the world outside."


def hello(talk: Talk, match: re.Match[str]) -> str | None:
    """A greeting."""
    if len(talk.words.split()) > 5:
        return None
    name = _name(talk)
    return f"Hello, {name}." if name else pick(("Hello! What is your name?", "Hello again."), min(talk.turn, 1))
