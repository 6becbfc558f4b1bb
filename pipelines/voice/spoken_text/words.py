"""Words as they are said: abbreviations, titles, initials, capitals, slashes, formulas of chemistry. Pure."""

from __future__ import annotations

import re

from pipelines.voice.spoken_text.rewriting import Rule, any_of, rule, words_of

_TITLES = words_of(
    "Mr=Mr Mrs=Mrs Ms=Ms Dr=Dr Prof=Professor Gen=General Sen=Senator Rep=Representative Gov=Governor "
    "Capt=Captain Lt=Lieutenant Col=Colonel Sgt=Sergeant Rev=Reverend Hon=Honorable Mt=Mount Ft=Fort Pres=President"
)
"""Before a name. A voice takes the full stop for the end of a sentence."""
_BEFORE_NUMBERS = words_of(
    "No=number Nos=numbers Fig=figure Figs=figures p=page pp=pages Vol=volume Ch=chapter "
    "Sec=section Art=article Eq=equation ext=extension Ext=extension fig=figure vol=volume no=number"
)
_ANYWHERE = words_of(
    "vs=versus approx=approximately dept=department Dept=Department Inc=Incorporated Ltd=Limited "
    "Corp=Corporation Jr=Junior Sr=Senior ca=circa Ave=Avenue Blvd=Boulevard Rd=Road govt=government "
    "incl=including excl=excluding"
)
_NAMES_END = ("Inc", "Ltd", "Corp", "Jr", "Sr", "Ave", "Blvd", "Rd")
"""Behind these a capital begins a sentence."""
_LATIN = {"e.g.": "for example", "i.e.": "that is", "et al.": "and others", "cf.": "compare", "viz.": "namely"}
_LETTERED = any_of(
    "Plan Vitamin Hepatitis Type Class Grade Section Option Group Team Part Exhibit Appendix Point Model Route Gate "
    "Terminal Hall Room Level Category Step Line Building Block And But Or The".split()
)
"""Before these a letter is no initial."""
_SHORTHAND = {"w/o": "without", "b/c": "because", "N/A": "not applicable", "n/a": "not applicable", "and/or": "and or"}
_LOUD = frozenset(
    "ALL AM AND ANY ARE AS AT BE BUT BY CAN CAN'T DO DON'T FOR FROM GO GOT HAS HAVE HE HER HERE HIS HOW I'M IF IN "
    "IS IT IT'S JUST LET ME MUST MY NEVER NO NOT NOW OF ON ONE OR OUR OUT PLEASE READ SHE SO SOME STOP THAT THAT'S THE "
    "THEM THEN THERE THEY THIS TO TOO UP US VERY WAS WE WHAT WHEN WHO WHY WILL WITH WON'T YES YOU YOUR".split()
)
"""Words that show that a run of capitals is shouting and not a row of abbreviations."""


def _quiet(match: re.Match[str]) -> str:
    """A run of words in capitals: in lower case where it is a sentence, of which a voice would spell ``IT`` and ``US``.

    What may be an abbreviation stays.
    """
    words = [word.replace("’", "'") for word in re.findall(r"[A-Z'’]+", match[0])]
    if not any(word in _LOUD for word in words):
        return match[0]
    return re.sub(r"[A-Z][A-Z'’]*", _quiet_word, match[0])


def _quiet_word(match: re.Match[str]) -> str:
    word = match[0].replace("’", "'")
    if word.startswith("I'"):
        return word.capitalize()
    return match[0].lower() if word in _LOUD or len(word) >= 5 else match[0]


def _spaced(match: re.Match[str]) -> str:
    return " ".join(match[0])


def _expanded(match: re.Match[str]) -> str:
    """An abbreviation in full; its full stop stays where it also ends the sentence."""
    following = match["next"]
    ends = match.end() == len(match.string) if following is None else following.isupper() and match[1] in _NAMES_END
    return _ANYWHERE[match[1]] + ("." if ends else "")


WORD_RULES: tuple[Rule, ...] = (
    rule(
        rf"(?<![\w.])(?:{any_of(_LATIN)})(?:,(?=\s))?",
        lambda match: _LATIN[match[0].rstrip(",").lower()],
        re.IGNORECASE,
    ),
    rule(rf"\b({any_of(_TITLES)})\.(?=\s+[\w“\"'])", lambda match: _TITLES[match[1]]),
    rule(r"\bSt\.(?=\s+[A-Z])", "Saint"),
    rule(r"(?<=[a-z] )St\.(?P<end>$)?", lambda match: "Street" if match["end"] is None else "Street."),
    rule(rf"\b({any_of(_BEFORE_NUMBERS)})\.\s?(?=[0-9])", lambda match: f"{_BEFORE_NUMBERS[match[1]]} "),
    rule(rf"\b({any_of(_ANYWHERE)})\.(?=\s+(?P<next>\S)|[,;:)]|$)", _expanded),
    rule(r"\b(?:[A-Z]\.[ \t]){2,}(?=[A-Z])", lambda match: match[0].replace(".", "")),
    rule(r"(?<![\w.] )(?<![\w.])([A-Z])\.(?=\s[A-Z][a-z])", r"\1"),
    rule(rf"\b(?!(?:{_LETTERED})\b)([A-Z][a-z]+ [A-Z])\.(?=\s[A-Z][a-z])", r"\1"),
    rule(rf"(?<![\w/])(?:{any_of(_SHORTHAND)})(?![\w/])", lambda match: _SHORTHAND[match[0]]),
    rule(r"(?<![\w/])w/\s?(?=\w)", "with "),
    rule(r"(?<=[0-9€£¥¢])/(?=[a-z]{2,}\b)", " per "),
    rule(r"(?<![\w/.:@-])([a-z]{2,})/([a-z]{2,})(?![\w/.@-])", r"\1 or \2"),
    rule(r"(?<![\w/.])([A-Z]{1,5})/([A-Z]{1,5})(?![\w/.])", r"\1 \2"),
    rule(r"\b(?:CO|NO|SO|CH|NH|O|N|H)[2-6]\b", _spaced),
    rule(r"\b[A-Z][A-Z'’]*(?:[ ,]+[A-Z][A-Z'’]*\b)+", _quiet),
)
"""In this order."""
