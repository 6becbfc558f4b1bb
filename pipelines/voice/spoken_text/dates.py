"""Dates, years and times as they are said. Pure.

Years are said in pairs (``nineteen ninety-five``); that needs the names of the numbers below a hundred and no library.
"""

from __future__ import annotations

import re

from pipelines.voice.spoken_text.rewriting import Rule, any_of, rule

_MONTHS = "January February March April May June July August September October November December".split()
_SHORT_MONTHS = {name[:3]: name for name in _MONTHS} | {"Sept": "September"}
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_SHORT_DAYS = {name[:3]: name for name in _DAYS} | {"Tues": "Tuesday", "Thur": "Thursday", "Thurs": "Thursday"}
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_YEAR = r"(?:1[1-9]|20)[0-9]{2}"
_BEFORE_YEARS = (
    r"(?:in|since|year|circa|around|by|until|before|after|born|spring of|summer of|autumn of|fall of|winter of)"
)
_MONTH = any_of(_MONTHS)
_SHORT = any_of(_SHORT_MONTHS)
_DASH = r"\s?[-–—−]\s?"


def two_digits(number: int) -> str:
    """Words for 0–99."""
    if number < 20:
        return _SMALL[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_SMALL[ones]}" if ones else _TENS[tens]


def year_words(year: int) -> str:
    """``nineteen ninety-five``, ``nineteen oh five``, ``eighteen hundred``; a numeral where that is how it is said."""
    century, rest = divmod(year, 100)
    if not 1100 <= year <= 1999:
        return str(year)
    if not rest:
        return f"{two_digits(century)} hundred"
    return f"{two_digits(century)} {'oh ' if rest < 10 else ''}{two_digits(rest)}"


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _date(year: str, month: str, day: str) -> str:
    return f"{_MONTHS[int(month) - 1]} {ordinal(int(day))}, {year_words(int(year))}"


def _iso_date(match: re.Match[str]) -> str:
    return _date(match["year"], match["month"], match["day"]) + (" at " if match["at"] else "")


def _iso_month(match: re.Match[str]) -> str:
    return f"{_MONTHS[int(match['month']) - 1]} {year_words(int(match['year']))}"


def _slashed(match: re.Match[str]) -> str:
    """A date whose order shows, as one of its numbers is no month; where it does not, its numerals are said."""
    first, second, year = int(match[1]), int(match[2]), match[3]
    if first <= 12 < second <= 31:
        return _date(year, match[1], match[2])
    if second <= 12 < first <= 31:
        return _date(year, match[2], match[1])
    return f"{first}, {second}, {year_words(int(year))}"


def _decade(match: re.Match[str]) -> str:
    century, tens = match["century"], int(match["tens"])
    if tens == 0:
        return f"{two_digits(int(century))} hundreds" if century and century != "20" else match[0]
    name = "tens" if tens == 1 else f"{_TENS[tens].removesuffix('y')}ies"
    return f"{two_digits(int(century))} {name}" if century else name


def _day(name: str) -> str:
    return _SHORT_DAYS.get(name, name)


def _years(match: re.Match[str]) -> str:
    return f"{year_words(int(match[1]))} to {year_words(int(match[2]))}"


def _seconds(match: re.Match[str]) -> str:
    seconds = int(match["seconds"])
    return f"{match['clock']} and {seconds} second{'s' if seconds != 1 else ''}" if seconds else match["clock"]


def _half_day(match: re.Match[str]) -> str:
    """``5:05PM`` → ``5 oh 5 p.m.``"""
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    past = "" if not minute else f" oh {minute}" if minute < 10 else f":{minute}"
    return f"{hour}{past} {match['half'].lower()}.m."


def _clock(match: re.Match[str]) -> str:
    """``14:00`` → ``14 o'clock``, ``9:05`` → ``9 oh 5``; voices say other times as they are written."""
    hour, minute = int(match["hour"]), int(match["minute"])
    if hour == 0:
        return "midnight" if not minute else f"12 oh {minute} a.m." if minute < 10 else f"12:{minute} a.m."
    if minute == 0:
        return f"{hour} o'clock"
    return f"{hour} oh {minute}" if minute < 10 else f"{hour}:{minute}"


DATE_RULES: tuple[Rule, ...] = (
    rule(
        rf"\b(?P<year>{_YEAR})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12][0-9]|3[01])(?:(?P<at>T)(?=[0-9])|(?![0-9-]))",
        _iso_date,
    ),
    rule(rf"\b(?P<year>{_YEAR})-(?P<month>0[1-9]|1[0-2])(?![0-9-])", _iso_month),
    rule(
        rf"\b(0?[1-9]|[12][0-9]|3[01])\.\s?(0?[1-9]|1[0-2])\.\s?({_YEAR})\b",
        lambda match: _date(match[3], match[2], match[1]),
    ),
    rule(rf"\b([0-9]{{1,2}})/([0-9]{{1,2}})/({_YEAR})\b", _slashed),
    rule(rf"\b({_SHORT})\b\.?(?=\s[0-9])", lambda match: _SHORT_MONTHS[match[1]]),
    rule(rf"(?<=[0-9]\s)({_SHORT})\b\.?(?=\s[0-9])", lambda match: _SHORT_MONTHS[match[1]]),
    rule(
        rf"\b({_MONTH})\s([12][0-9]|3[01]|0?[1-9])\b(?![:./%-][0-9]|,[0-9]|\s?[%°$€£])",
        lambda match: f"{match[1]} {ordinal(int(match[2]))}",
    ),
    rule(
        rf"\b({_MONTH})((?:\s[0-9]{{1,2}}(?:st|nd|rd|th)?)?,?\s)(1[1-9][0-9]{{2}})\b",
        lambda match: f"{match[1]}{match[2]}{year_words(int(match[3]))}",
    ),
    rule(r"(?<![\w.,])['’]?(?P<century>1[1-9]|20)?(?P<tens>[1-9]|(?<=[0-9]{2})0)0['’]?s\b", _decade),
    rule(rf"\b(1[1-9][0-9]{{2}}){_DASH}({_YEAR})\b", _years),
    rule(
        rf"\b({_BEFORE_YEARS}\s)(1[1-9][0-9]{{2}})\b(?![.,:][0-9]|\s?[%°€£$])",
        lambda match: match[1] + year_words(int(match[2])),
        re.IGNORECASE,
    ),
    rule(
        rf"\b({any_of([*_DAYS, *_SHORT_DAYS])})\s?[-–]\s?({any_of([*_DAYS, *_SHORT_DAYS])})\b",
        lambda match: f"{_day(match[1])} to {_day(match[2])}",
    ),
    # times
    rule(r"(?<![\w:])(?P<clock>[0-9]{1,2}:[0-9]{2}):(?P<seconds>[0-9]{2})(?:\.[0-9]+)?(?![:\w]|Z\w)", _seconds),
    rule(r"(?<=:[0-9]{2})Z\b", " UTC"),
    rule(
        rf"(?P<from>\b[0-9]{{1,2}}(?::[0-9]{{2}})?(?:\s?[ap]\.?m\.?)?){_DASH}(?=[0-9]{{1,2}}(?::[0-9]{{2}}|\s?[ap]\.?m\b))",
        r"\g<from> to ",
        re.IGNORECASE,
    ),
    rule(
        r"(?<![\w:.,])(?P<hour>1[0-2]|0?[1-9])(?::(?P<minute>[0-5][0-9]))?\s?(?P<half>[ap])\.?m\b\.?(?!\w)",
        _half_day,
        re.IGNORECASE,
    ),
    rule(r"(?<![\w:.,])(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])(?![\w:]|\s[ap]\.m)", _clock),
    rule(r"(?<![\w:.,])([0-9]{1,3}):([0-9])(?![\w:])", r"\1 to \2"),
)
"""In this order: what later ones say looks like nothing to earlier ones."""
