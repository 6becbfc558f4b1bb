"""Written text → text to be spoken. Pure.

Markup goes, links and symbols become words, emoji are left out. Numbers stay as they are: voices read those well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_MONEY = {
    "$": ("dollar", "dollars", "cents"),
    "€": ("euro", "euros", "cents"),
    "£": ("pound", "pounds", "pence"),
    "¥": ("yen", "yen", "sen"),
    "₹": ("rupee", "rupees", "paise"),
}
_SYMBOLS = {
    "->": " to ",
    "=>": " to ",
    "<=": " at most ",
    ">=": " at least ",
    "!=": " is not ",
    "==": " equals ",
    "&": " and ",
    "%": " percent ",
    "‰": " per mille ",
    "°C": " degrees Celsius ",
    "℃": " degrees Celsius ",
    "°F": " degrees Fahrenheit ",
    "℉": " degrees Fahrenheit ",
    "°": " degrees ",
    "§": " section ",
    "№": " number ",
    "×": " times ",
    "÷": " divided by ",
    "±": " plus or minus ",
    "≈": " about ",
    "≠": " is not ",
    "≤": " at most ",
    "≥": " at least ",
    "→": " to ",
    "=": " equals ",
    "<": " less than ",
    ">": " greater than ",
    "^": " to the power of ",
    "²": " squared ",
    "³": " cubed ",
    "½": " one half ",
    "¼": " one quarter ",
    "¾": " three quarters ",
    "|": ", ",
    **{sign: f" {plural} " for sign, (_, plural, _) in _MONEY.items()},
}
_EMOJI = (
    "\U0001f000-\U0001faff\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    "\ufe00-\ufe0f\u200b\u200d-\u200f\u2060-\u2064\u20e3\ufeff\u00ad\U000e0020-\U000e007f"
)


def speakable(text: str) -> str:
    """``text`` as it should be spoken, on one line; empty when it holds nothing to say. Idempotent."""
    while (plain := _once(text)) != text:  # taking markup away may uncover more of it
        text = plain
    return text


def _once(text: str) -> str:
    for pattern, spoken in _RULES:
        text = pattern.sub(spoken, text)
    return text if any(character.isalnum() for character in text) else ""


def _host(match: re.Match[str]) -> str:
    """A web address as its host, and the punctuation that only stood beside it."""
    rest = match["rest"]
    path = rest.rstrip(".,;:!?)'\"")
    return match["host"].rstrip(".") + rest[len(path) :].replace(")", "", path.count("("))


def _amount(match: re.Match[str]) -> str:
    """``$3.50`` → ``3 dollars and 50 cents``; ``$5 million`` → ``5 million dollars``."""
    one, many, small = _MONEY[match["sign"]]
    whole, part, scale = match["whole"], match["part"], match["scale"]
    if scale or (part and len(part) != 2):
        return f"{whole}{'.' + part if part else ''}{scale or ''} {many}"
    units = f"{whole} {one if whole == '1' else many}"
    if not part or part == "00":
        return units
    return f"{units} and {part.lstrip('0')} {small}" if whole.strip("0") else f"{part.lstrip('0')} {small}"


def _row(match: re.Match[str]) -> str:
    """A row of a table as a list of its cells."""
    cells = (cell.strip() for cell in match.group().strip().strip("|").split("|"))
    return ", ".join(cell for cell in cells if cell)


def _line_end(match: re.Match[str]) -> str:
    """Lines become sentences, unless they are punctuated already."""
    before = match["before"]
    return before if not before or before in ".!?…,;:。！？" else f"{before}."


def _rule(pattern: str, spoken: str | Callable[[re.Match[str]], str], flags: int = 0) -> _Rule:
    return re.compile(pattern, flags), spoken


_RULES: tuple[_Rule, ...] = (
    # blocks
    _rule(r"```.*?(?:```|\Z)", "\n", re.DOTALL),
    _rule(r"<!--.*?-->", " ", re.DOTALL),
    _rule(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+[ \t]*(?::?-{2,}:?)?[ \t]*$", "", re.MULTILINE),
    _rule(r"^[ \t]*\|.*\|[ \t]*$", _row, re.MULTILINE),
    _rule(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", "", re.MULTILINE),
    _rule(r"^[ \t]*(?:(?:#{1,6}|>+|[-*+•‣◦])(?:[ \t]+|$))+", "", re.MULTILINE),
    _rule(r"^[ \t]*\[[ xX]\][ \t]+", "", re.MULTILINE),
    # links
    _rule(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:[ \t]+\"[^\"]*\")?\)", r"\1"),
    _rule(r"\[[0-9]+\]", ""),
    _rule(r"<(https?://[^\s<>]+|[^\s<>@]+@[^\s<>]+)>", r"\1"),
    _rule(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s+[\w-]+=(?:\"[^\"]*\"|'[^']*'))*\s*/?>", " "),
    _rule(
        r"(?:\b(?:https?|ftp|wss?)://(?:[^\s/@]*@)?|\b(?=www\.))(?:www\.)?(?P<host>[^\s/:?#<>\[\]()\"',;]+)"
        r"(?P<rest>[^\s<>\[\]]*)",
        _host,
        re.IGNORECASE,
    ),
    # emoji and what is like them
    _rule(rf"[{_EMOJI}]", ""),
    _rule(r"(?<!\S)[:;]-?[()DP](?!\S)", ""),
    _rule(r"[©®™\x00-\x08\x0e-\x1f\x7f]", ""),
    # symbols that are words
    _rule(
        r"(?P<sign>[$€£¥₹])\s?(?P<whole>[0-9]+(?:,[0-9]{3})*)(?:\.(?P<part>[0-9]+))?"
        r"(?P<scale>\s(?:thousand|million|billion|trillion)\b)?",
        _amount,
    ),
    _rule(r"\be\.g\.(?:,(?=\s))?", "for example", re.IGNORECASE),
    _rule(r"\bi\.e\.(?:,(?=\s))?", "that is", re.IGNORECASE),
    _rule(r"(?<=[0-9])\s?–\s?(?=[0-9])", " to "),
    _rule(r"[−](?=[0-9])", "minus "),
    _rule(r"~(?=[0-9])", "about "),
    _rule(r"#(?=[0-9])", "number "),
    _rule(r"\b([CF])#(?!\w)", r"\1 sharp"),
    _rule(r"(?<=[0-9])[ \t]*\*[ \t]*(?=[0-9])", " times "),
    _rule("|".join(re.escape(sign) for sign in _SYMBOLS), lambda match: _SYMBOLS[match.group()]),
    # markup inside a line
    _rule(r"(?<=\w)_(?=\w)", " "),
    _rule(r"[*_`~#\\\[\]{}]+", ""),
    # white space
    _rule(r"\(\s*\)", " "),
    _rule(r"(?P<before>\S?)[^\S\r\n]*[\r\n]\s*(?=\S)", lambda match: _line_end(match) + " "),
    _rule(r"\s+", " "),
    _rule(r" (?=[,.;:!?](?:\s|$))|^ | $", ""),
    _rule(r"(?:, ?){2,}", ", "),
)
