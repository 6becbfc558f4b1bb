"""What the starter chat model is examined with: wordings, words and sums that its training never saw. Pure.

Each probe says what a good answer matches. Closed questions have one right answer; for open ones a relevant reply or
the honest "small built-in model" will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from pipelines.ports import Tool
from pipelines.starter.grammar_skills import spelled
from pipelines.starter.grammar_tools import TOOLS
from pipelines.starter.words import number


@dataclass(frozen=True, slots=True)
class Probe:
    """A short conversation whose last answer is judged."""

    kind: str
    said: tuple[str, ...]
    """What the user says, turn by turn; the model's own answers come between."""
    good: str
    """A pattern, found anywhere in a good answer (without regard to case), or ``name {arguments}`` of a tool call."""
    scene: str = ""
    """What the camera shows in the last turn."""
    now: datetime | None = None
    tools: tuple[Tool, ...] = ()
    misheard: bool = True
    """Whether recognition errors leave the question answerable: not where the answer copies the words."""


_NOW = datetime(2026, 11, 21, 14, 7)
_MODEL = "small (built-in )?model"
_NO_CAMERA = "no camera"
_PAIRS = ((7, 9), (3, 5), (12, 5), (9, 9), (2, 6), (15, 3), (11, 7), (6, 12), (8, 1), (10, 14))
_NEW_PAIRS = ((1, 14), (4, 11), (6, 13), (11, 12), (13, 14), (16, 11), (3, 16), (8, 15), (5, 18), (10, 17))
"""Of :data:`~pipelines.starter.grammar_skills.HELD_OUT_SUMS`; a test holds this list to it."""


def probes() -> list[Probe]:
    """All of them, in order."""
    return [*_sums(), *_numbers(), *_calendar(), *_words(), *_memory(), *_scenes(), *_talk(), *_tools(), *_world()]


def _is(n: int) -> str:
    return rf"\bis {number(n)}\.|^{number(n)}\.$"


def _sums() -> Iterator[Probe]:
    wordings = (
        "could you work out {a} plus {b}",
        "i would like to know {a} plus {b}",
        "{a} plus {b} what is that",
        "let's see {a} plus {b}",
        "and what would {a} plus {b} be",
    )
    for kind, pairs in (("sum", _PAIRS), ("sum of new numbers", _NEW_PAIRS)):
        for n, (a, b) in enumerate(pairs):
            yield Probe(kind, (wordings[n % 5].format(a=number(a, " "), b=number(b, " ")),), _is(a + b))
    for a, b in ((9, 4), (14, 6), (20, 7), (8, 8), (17, 3)):
        yield Probe("sum", (f"could you work out {number(a)} minus {number(b)}",), _is(a - b))
    for a, b in ((3, 5), (6, 7), (9, 2), (4, 4), (10, 6)):
        yield Probe("sum", (f"i would like to know {number(a)} times {number(b)}",), _is(a * b))
    for a, b, c in ((2, 3, 4), (6, 5, 1), (10, 4, 6), (7, 2, 3), (12, 3, 5)):
        first = f"what is {number(a)} plus {number(b)}"
        yield Probe("follow-up", (first, f"and then plus {number(c)}"), _is(a + b + c))
        yield Probe("follow-up", (first, f"okay and minus {number(c)} please"), _is(a + b - c))
        yield Probe("follow-up", (first, "thanks", f"what about plus {number(c)}"), _is(a + b + c))


def _numbers() -> Iterator[Probe]:
    for end in (3, 5, 8, 10, 12, 15):
        words = ", ".join(number(n) for n in range(1, end + 1))
        yield Probe("count", (f"would you count slowly to {number(end)}",), f"^{words}\\.$")
    for start in (4, 6, 9):
        words = ", ".join(number(n) for n in range(start, 0, -1))
        yield Probe("count", (f"now count backwards starting from {number(start)}",), f"^{words}")
    for n in (4, 9, 16, 30, 57):
        yield Probe("next number", (f"which number follows after {number(n, ' ')}",), rf"\b{number(n + 1)}\b")


def _calendar() -> Iterator[Probe]:
    for day, after in (("monday", "tuesday"), ("thursday", "friday"), ("saturday", "sunday"), ("sunday", "monday")):
        yield Probe("calendar", (f"please say what day comes after {day}",), rf"^{after}\b")
        yield Probe("calendar", (f"and which day would be before {after}",), rf"^{day}\b")
    for month, after in (("march", "april"), ("july", "august"), ("december", "january"), ("may", "june")):
        yield Probe("calendar", (f"please say which month comes after {month}",), rf"^{after}\b")
    for text in ("so what time is it right now", "visavis what time do you have", "i need to know what time it is"):
        yield Probe("time", (text,), r"\b2:07 p\.m\.", now=_NOW)
        yield Probe("time", (text,), "no clock")
    for text, good in (
        ("so what day of the week do we have today", "saturday"),
        ("i wonder what day it is today", "saturday"),
        ("and tomorrow what day is that", "sunday"),
        ("and what day of the week was it yesterday", "friday"),
        ("remind me of the date today", "november (21|twenty)"),
        ("so which year do we live in", "2026"),
        ("which month would this be", "november"),
    ):
        yield Probe("date", (text,), good, now=_NOW)
    for text in ("i wonder what day it is today", "remind me of the date today", "so which year do we live in"):
        yield Probe("date", (text,), "no (calendar|clock)")


def _words() -> Iterator[Probe]:
    held = (
        "lantern pocket walnut magnet ribbon saddle velvet cricket pebble harvest kettle meadow puzzle thunder".split()
    )
    for n, word in enumerate(held):
        text = ("would you kindly spell {}", "i want you to spell {}", "spell out {} for us")[n % 3].format(word)
        yield Probe("spell", (text,), f"^{spelled(word)[:-1]}\\.?$", misheard=False)
    for n, (one, two) in enumerate(pairwise(held)):
        words = f"{one} {two}" if n % 2 else one
        text = ("now please repeat {}", "visavis say {}", "i want you to say {}")[n % 3].format(words)
        yield Probe("repeat", (text,), f"^{words}[.!]?$", misheard=False)
    for word, good in (
        ("hot", "cold"), ("small", "big"), ("left", "right"), ("open", "closed"), ("happy", "sad"), ("fast", "slow"),
        ("new", "old"), ("night", "day"), ("rich", "poor"), ("dry", "wet"), ("early", "late"), ("quiet", "loud"),
    ):  # fmt: skip
        yield Probe("opposite", (f"which word is the opposite of {word}",), rf"\b{good}\b")
    for thing, good in (
        ("the sky", "blue"), ("grass", "green"), ("snow", "white"), ("a banana", "yellow"), ("coal", "black"),
        ("a carrot", "orange"), ("chocolate", "brown"), ("a frog", "green"),
    ):  # fmt: skip
        yield Probe("colour", (f"and which color would {thing} have",), rf"\b{good}\b")


def _memory() -> Iterator[Probe]:
    names = "zelda bruno ingrid marlon yvette tobias freya dexter selma rufus".split()
    for n, name in enumerate(names):
        tells = ("good morning my name is {}", "well you may call me {}", "hello visavis i am {}")[n % 3].format(name)
        yield Probe("name", (tells,), rf"\b{name}\b", misheard=False)
        asks = ("so what is my name then", "please tell me what my name is", "do you still remember my name")[n % 3]
        yield Probe("memory", (f"my name is {name}", asks), rf"your name is {name}", misheard=False)
    for name in names[:4]:
        longer = (f"my name is {name}", "how are you", "tell me a joke", "so what is my name then")
        yield Probe("memory", longer, rf"your name is {name}", misheard=False)
    for text in ("so what is my name then", "please tell me what my name is"):
        yield Probe("memory", (text,), "not told me")
    for colour in ("blue", "green", "red"):
        talk = (f"my favorite color is {colour}", "okay", "and what was my favorite color again")
        yield Probe("memory", talk, rf"\b{colour}\b", misheard=False)
    for place in ("toronto", "nairobi", "oslo"):
        yield Probe("memory", (f"i live in {place}", "so tell me where i live"), rf"\b{place}\b", misheard=False)
    yield Probe("memory", ("what is two plus three", "now please say that once more"), "two plus three is five")


def _scenes() -> Iterator[Probe]:
    one = "one person, right hand raised, facing the camera"
    for text in (
        "so what is it that you see",
        "would you describe all you can see",
        "now tell me what the camera shows you",
    ):
        yield Probe("see", (text,), "one person.*right hand", scene=one)
        yield Probe("see", (text,), "nobody", scene="nobody in view")
        yield Probe("see", (text,), "three people", scene="three people, two hands raised")
        yield Probe("see", (text,), _NO_CAMERA)
    for thing in ("umbrella", "guitar", "bucket"):
        shown = f"one person, a{'n' if thing[0] == 'u' else ''} {thing}"
        yield Probe("see", ("so what is it that you see",), thing, scene=shown, misheard=False)
        yield Probe("see", (f"do you by chance see a {thing}",), f"^yes.*{thing}", scene=shown, misheard=False)
        yield Probe("see", (f"do you by chance see a {thing}",), "^no", scene="one person", misheard=False)
    for shown, good in (
        ("two people", "two"),
        ("one person, close to the camera", "one"),
        ("nobody in view", "nobody|no one"),
    ):
        yield Probe("people", ("tell me how many people you would see",), good, scene=shown)
        yield Probe("people", ("how many of us would you see there",), good, scene=shown)
    for shown, good in (
        (one, "^yes"),
        ("one person, facing the camera", "^no"),
        ("one person, both hands raised", "^yes"),
    ):
        yield Probe("hand", ("can you tell if my hand is raised",), good, scene=shown)
        yield Probe("hand", ("is my hand up right now",), good, scene=shown)
    yield Probe("hand", ("tell me which hand is raised",), "right", scene=one)
    yield Probe("hand", ("tell me which hand is raised",), "left", scene="one person, left hand raised")
    yield Probe("facing", ("tell me am i looking at the camera",), "^yes", scene=one)
    yield Probe("facing", ("tell me am i looking at the camera",), "^no", scene="one person, one hand visible")
    yield Probe("greeting", ("good morning visavis how are you",), "hello|hi|fine|well", scene=one)
    yield Probe("sum", ("could you work out two plus two",), _is(4), scene=one)


def _talk() -> Iterator[Probe]:
    for kind, good, texts in (
        ("greeting", "hello|hi\\b", ("hello hello", "hi hi visavis", "good day to you", "hey you",
                                     "well good evening to you")),
        ("farewell", "goodbye|bye|see you", ("bye my friend", "okay i must go now goodbye", "goodbye my dear",
                                           "so see you soon")),
        ("thanks", "welcome|pleasure", ("thank you dear friend", "thanks for everything", "oh thank you that helps",
                                        "i thank you")),
        ("how are you", "fine|well",
         ("and how are you today visavis", "how are you feeling right this minute", "tell me how you are")),
        ("about", "visavis|model", ("so who exactly are you", "would you tell me your name",
                                     "are you a human being", "what may your name be",
                                     "tell me who you are")),
        ("skills", "sums|count", ("what things can you do", "i could use some help",
                                   "tell me all that you can do",
                                   "what are all the things you can do")),
        ("hear", "hear", ("hello can you hear me", "are you still listening to me", "can you hear my voice")),
        ("mood", "sorry|better", ("i feel really sad today", "i am quite tired now", "i am really rather sick")),
        ("mood", "good|glad|nice", ("i feel very happy today", "today i am really happy", "i am doing great")),
        ("joke", r"\?.*\.", ("i would love to hear a joke", "please tell us a joke", "got any jokes",
                               "how about one of your jokes")),
        ("riddle", r"\?.*\.", ("i would love to hear a riddle", "please tell us a riddle")),
        ("praise", "thank", ("you are really very clever", "that was good you are nice", "you are so very smart")),
        ("stop", "okay|all right", ("please just stop now", "stop it please", "that is enough now")),
    ):  # fmt: skip
        for text in texts:
            yield Probe(kind, (text,), good)


def _tools() -> Iterator[Probe]:
    for text, good in (
        ("would you set a timer for five minutes", 'set_timer {"seconds": 300}'),
        ("i need a timer for ten minutes", 'set_timer {"seconds": 600}'),
        ("now set a timer for thirty seconds", 'set_timer {"seconds": 30}'),
        ("so what time is it right now", "get_time {}"),
        ("would you turn off the camera", "mute_camera {}"),
        ("i want you to turn the camera off", "mute_camera {}"),
        ("now end this conversation please", "stop {}"),
    ):
        yield Probe("tool", (text,), good, tools=TOOLS)
    yield Probe("tool", ("would you set a timer for five minutes",), "cannot")
    yield Probe("tool", ("would you turn off the camera",), "cannot")


def _world() -> Iterator[Probe]:
    honest = f"{_MODEL}|did not understand"
    for text in (
        "who discovered penicillin", "what happens inside a volcano", "how do i grow tomatoes at home",
        "why did the dinosaur die out", "how does photosynthesis work", "what causes inflation",
        "how high is everest in feet", "is bitcoin a good investment", "how many moons does saturn have",
        "who was shakespeare married to", "how do i renew my passport", "do i need insurance for my car",
        "what is a mortgage exactly", "who built the cathedral in the city", "is it cold in antarctica",
        "how deep can a submarine go", "what does parliament do all day", "find me a recipe for soup",
        "how was the vaccine made", "how big is our galaxy", "please recommend a book about saturn",
        "sing me a song about a volcano", "translate submarine into french", "what is the best recipe",
        "compare bitcoin and inflation", "who is the tallest dinosaur", "teach me about shakespeare",
        "order some tomatoes for dinner", "what would a mortgage cost me", "where can i see a submarine",
    ):  # fmt: skip
        yield Probe("world", (text,), honest)
