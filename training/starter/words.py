"""The words of the synthetic conversations, those that training never sees, and numbers in words. Pure but for a file.

Words that are only copied (to spell or to repeat) come from the dictionary in the wheel of PocketSphinx.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

HELD_OUT = frozenset(
    (
        # names
        "zelda bruno ingrid marlon yvette tobias freya dexter selma rufus agnes boris celia dmitri edgar gloria harold "
        "ivy jasper lydia "
        # to spell and to repeat
        "lantern pocket walnut magnet ribbon saddle velvet cricket pebble harvest kettle meadow puzzle thunder biscuit "
        "candle dragon engine feather garden hammer island jungle ladder "
        # things before the camera, and places
        "umbrella guitar scissors bucket helmet teapot violin suitcase toronto nairobi oslo dublin lima madrid lisbon "
        "helsinki bangkok jakarta "
        # what is asked about the world
        "volcano penicillin shakespeare bitcoin everest tomatoes photosynthesis inflation dinosaur saturn "
        "passport insurance mortgage cathedral antarctica submarine parliament recipe vaccine galaxy mozart pyramid "
        "electricity gravity dolphin satellite democracy algebra chess origami"
    ).split()
)
"""Words of the held-out prompts. No training text holds any of them."""

NAMES = (
    "anna ben clara david emma frank grace henry ida jack kate leo mia noah olga paul quinn rosa sam tina uma victor "
    "wendy xavier yusuf zoe alex maria peter laura john mary james linda robert susan michael karen tom lisa mark "
    "nina oscar julia felix sarah george helen ivan jane kevin lucy martin nora oliver rachel simon tara walter amy "
    "carlos diana eric fatima gina hugo irene jonas kim louis mona nick omar priya ralph sofia theo ursula vera will "
    "ahmed bella chris dora elias fiona greg hanna igor joan karl lena max nadia otto petra rita stefan tanja ulrich"
).split()
COLOURS = "red blue green yellow orange purple pink brown black white grey".split()
PLACES = (
    "london paris berlin rome vienna boston chicago tokyo sydney cairo munich hamburg geneva prague warsaw athens "
    "denver dallas seattle miami texas france spain italy germany canada india china brazil sweden norway"
).split()
THINGS = (
    "cup book phone bottle chair table lamp dog cat ball pen hat bag plant laptop keyboard clock box spoon plate "
    "glass window door shoe coat jacket banana apple flower bike picture pillow sofa"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
OPPOSITES = (
    "hot cold big small up down left right in out open closed day night good bad happy sad fast slow old new "
    "high low long short light dark early late full empty hard soft black white yes no on off true false "
    "rich poor strong weak wet dry clean dirty near far first last loud quiet start stop love hate"
).split()
OPPOSITE = {
    **dict(zip(OPPOSITES[1::2], OPPOSITES[::2], strict=True)),
    **dict(zip(OPPOSITES[::2], OPPOSITES[1::2], strict=True)),
}
COLOUR_OF = {
    "the sky": "blue", "grass": "green", "snow": "white", "blood": "red", "a banana": "yellow", "a lemon": "yellow",
    "a tomato": "red", "coal": "black", "a carrot": "orange", "milk": "white", "chocolate": "brown",
    "the sun": "yellow", "a frog": "green", "a crow": "black", "a strawberry": "red", "an elephant": "grey",
    "the sea": "blue",
    "a leaf": "green", "a pig": "pink", "an orange": "orange", "a plum": "purple", "the night": "black",
}  # fmt: skip
ANIMAL_SAYS = {
    "dog": "woof",
    "cat": "meow",
    "cow": "moo",
    "duck": "quack",
    "sheep": "baa",
    "lion": "roar",
    "pig": "oink",
}

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def number(n: int, dash: str = "-") -> str:
    """-999–999 in words; ``dash`` is between tens and ones (recognisers write a space)."""
    if n < 0:
        return f"minus {number(-n, dash)}"
    if n < 20:
        return _SMALL[n]
    if n < 100:
        return _TENS[n // 10 - 2] + (f"{dash}{_SMALL[n % 10]}" if n % 10 else "")
    rest = f" {number(n % 100, dash)}" if n % 100 else ""
    return f"{_SMALL[n // 100]} hundred{rest}"


@cache
def pronunciations() -> dict[str, str]:
    """Words of the dictionary of PocketSphinx → their phonemes."""
    from pocketsphinx import get_model_path

    found: dict[str, str] = {}
    for line in Path(get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines():
        word, _, sounds = line.partition(" ")
        if re.fullmatch("[a-z']+", word):
            found[word] = sounds
    return found


@cache
def pool() -> tuple[str, ...]:
    """Words of three to nine letters that may be spelled, repeated or asked about, without :data:`HELD_OUT`."""
    words = (word for word in pronunciations() if re.fullmatch("[a-z]{3,9}", word))
    return tuple(word for word in words if word not in HELD_OUT)


def any_word(rng: Random) -> str:
    """One word of :func:`pool`."""
    return rng.choice(pool())


def expand(pattern: str, rng: Random) -> str:
    """``pattern`` with one of each ``(a|b|)`` chosen, innermost first, and single spaces.

    >>> expand("tell me (the|) time", Random(1))
    'tell me the time'
    """
    while (match := re.search(r"\(([^()]*)\)", pattern)) is not None:
        pattern = pattern[: match.start()] + rng.choice(match[1].split("|")) + pattern[match.end() :]
    return " ".join(pattern.split())
