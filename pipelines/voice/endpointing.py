"""Has the speaker finished? What the words and the sound say about it, and how long to wait accordingly. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

BACKCHANNELS = frozenset(
    "mhm mm hmm hm uh huh um ah aha oh yeah yes yep yup right alright okay ok sure i see really wow good nice "
    "true".split()
)
"""What listeners say without wanting the floor (Yngve 1970)."""

_UNFINISHED = frozenset(
    "a an the and or but so because if when while that which who whose where than then as of to in on at by for from "
    "with without about into my your his her its our their is are was were am be been being will would can could "
    "should may might must do does did have has had not very really just um uh er hmm well like also plus minus times "
    "whether although unless until since between i'm you're we're they're i'd i'll there's it's".split()
)
"""Words that a speaker hardly ever ends on."""

_NEVER_LAST = frozenset(
    "a an the and or but because if when whose than my your its our their um uh er whether although unless "
    "until i'm you're we're they're i'd i'll".split()
)
"""Those of them that no sentence ends on, whatever a recogniser puts behind them."""

_GOES_ON = (",", ";", ":", "…", "..", "-", "–", "—")
_CLOSERS = "\"'”’)"
_APART = re.compile(r"[\s—–-]+")

_DIGITS = frozenset("zero oh one two three four five six seven eight nine double triple hundred thousand point".split())

_NUMBER = re.compile(r"(?:\d[\d ,-]*)\d(?=\W*$)")
_YEAR = re.compile(r"1[0-9]\d\d|20\d\d|\d{1,3}(,000)+")
"""What is no number that is dictated: years, and round ones."""
_WHOLE_NUMBER = 7
"""Digits that a telephone number may have without another one."""

_SURE = 0.94
"""Smart Turn says more of nearly every sentence that is over (``tests/benchmarks/cutoffs.py``)."""
_UNDECIDED = 0.7
"""A judgement of this says nothing. Pauses between the clauses of read speech get up to it."""
_UNJUDGED_SECONDS = 0.4
"""The pause that ends a turn by its words alone where nothing can judge the sound in time. At 0.35 s of any pause twice
as many are mistaken for ends (``tests/benchmarks/cutoffs.py``)."""
_FAIRLY_SURE_SECONDS = 0.175
"""Seconds that a judgement of 0.9 adds to the shortest pause."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pause; ``None`` where nothing is."""

    sound: float | None = None
    """A turn detector's probability (0–1) that the turn is complete."""
    text: str | None = None
    """The words of the turn so far."""
    unjudged: bool = False
    """Whether the turn detector has too much to do to judge the sound in time, or has failed."""

    def with_(self, other: Evidence) -> Evidence:
        """This evidence with what ``other`` knows put over it."""
        return Evidence(
            self.sound if other.sound is None else other.sound,
            self.text if other.text is None else other.text,
            (self.unjudged or other.unjudged) and other.sound is None,
        )


def is_backchannel(text: str) -> bool:
    """Whether ``text`` is nothing but listener's noises; an empty text is."""
    said = words(text)
    return len(said) <= 3 and all(word in BACKCHANNELS for word in said)


def trails_off(text: str) -> bool:
    """Whether the words ask to be continued: a conjunction, an article, a filler, a number being dictated, a comma.

    A full stop says little: recognisers that write punctuation end nearly all they hear with one. It is believed where
    the last word may well be one (``I know what that is.``), and not behind an article or a conjunction. Where such a
    recogniser writes none, it heard no end: capitals tell that it is one. Three digits are dictated on, as words are.
    """
    said, end = words(text), text.rstrip().rstrip(_CLOSERS)
    if not said or end.endswith(("!", "?")):
        return False
    if end.endswith(_GOES_ON):
        return True
    if said[-1] in (_NEVER_LAST if end.endswith(".") else _UNFINISHED):
        return True
    if len(said) >= 3 and all(word in _DIGITS for word in said[-3:]):
        return True
    number = _NUMBER.search(text)
    if number is not None and 3 <= sum(map(str.isdigit, number[0])) < _WHOLE_NUMBER and not _YEAR.fullmatch(number[0]):
        return True
    return len(said) > 1 and not end.endswith(".") and any(map(str.isupper, text))


def pause_needed(
    evidence: Evidence, shortest: float, usual: float, longest: float, awaits_words: bool = False
) -> float:
    """Seconds a pause must last to end the turn.

    ``usual`` when the sound has not been judged. A judgement moves it between ``shortest`` (surely complete) and
    ``longest`` (surely not). Many mistaken cuts of read speech get 0.5–0.9, so only what is judged above 0.9 comes
    down to the shortest. Words that trail off get the longest, unless the sound is sure: then the middle of usual and
    longest, for the words may be misheard. ``awaits_words``: they are on their way, and before they are there it is
    ``usual`` at least. That costs no time, for there is no answer without them, and "I think" sounds complete. Where
    the detector has no time, words that do not trail off are enough for a pause of 0.4 s: those who speak while many
    others do are not to wait longer for being judged less.
    """
    needed = usual
    if evidence.unjudged and evidence.text is not None:
        needed = min(usual, max(shortest, _UNJUDGED_SECONDS))
    if evidence.sound is not None:
        needed = _between(evidence.sound, shortest, usual, longest)
    if awaits_words and evidence.text is None:
        return max(needed, usual)
    if evidence.text is not None and trails_off(evidence.text):
        sure = evidence.sound is not None and evidence.sound >= 0.9
        needed = max(needed, (usual + longest) / 2) if sure else longest
    return needed


def _between(sound: float, shortest: float, usual: float, longest: float) -> float:
    fairly = min(usual, _FAIRLY_SURE_SECONDS + shortest)
    if sound >= 0.9:
        return shortest + (fairly - shortest) * max(0.0, (_SURE - sound) / (_SURE - 0.9))
    if sound >= _UNDECIDED:
        return fairly + (usual - fairly) * (0.9 - sound) / (0.9 - _UNDECIDED)
    return usual + (longest - usual) * (_UNDECIDED - sound) / _UNDECIDED


def words(text: str) -> list[str]:
    """The words of ``text`` in lower case, without punctuation; ``mm-hmm`` is two."""
    return [word for part in _APART.split(text.lower().replace("’", "'")) if (word := part.strip(".,!?;:\"'()…"))]
