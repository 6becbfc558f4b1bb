"""Written text → text to be spoken. Pure.

Markup goes, links and symbols become words, emoji are left out. Numerals stay where voices read them well. What is
given is a clause of a stream and seldom a whole document: half a table, a list without its end, a heading without its
text. That is why Markdown is taken apart by rules that hold for a piece of it, and not by a parser of documents.
"""

from __future__ import annotations

import html
import re

from pipelines.voice.spoken_text.dates import DATE_RULES
from pipelines.voice.spoken_text.formulas import FORMULA_RULES
from pipelines.voice.spoken_text.numbers import NUMBER_RULES, SIGNS
from pipelines.voice.spoken_text.rewriting import Rule, any_of, applied, rule
from pipelines.voice.spoken_text.words import WORD_RULES

_SYMBOLS = {
    "<->": " to and from ",
    "->": " to ",
    "<-": " from ",
    "=>": " to ",
    "<=": " at most ",
    ">=": " at least ",
    "!=": " is not ",
    "==": " equals ",
    "+/-": " plus or minus ",
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
    "∞": " infinity ",
    "√": " the square root of ",
    "→": " to ",
    "⇒": " to ",
    "←": " from ",
    "=": " equals ",
    "<": " less than ",
    ">": " greater than ",
    "^": " to the power of ",
    "²": " squared ",
    "³": " cubed ",
    "|": ", ",
    "•": ", ",
    "·": ", ",
    **{sign: f" {plural} " for sign, (_, plural, _) in SIGNS.items()},
}
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_EMOJI = (
    "\U0001f000-\U0001faff\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    "\ufe00-\ufe0f\u200b\u200d-\u200f\u2060-\u2064\u20e3\ufeff\u00ad\U000e0020-\U000e007f"
)
_MOST_PASSES = 50
"""Two or three do for what people and models write; text made to need more of them is read as it is by then."""


def speakable(text: str, *, english: bool = True) -> str:
    """``text`` as it should be spoken, on one line; empty when it holds nothing to say. Idempotent.

    Unless it is ``english``, numbers, dates and signs stay as they are written: the voice reads them in its language.
    """
    groups = None if english else _PLAIN
    for _ in range(_MOST_PASSES):  # taking markup away may uncover more of it
        plain = _once(text, groups)
        if plain == text:
            break
        text = plain
    return text


def _once(text: str, groups: tuple[_Group, ...] | None = None) -> str:
    for needed, rules in _GROUPS if groups is None else groups:
        if needed.search(text) is not None:
            text = applied(rules, text)
    return text if any(character.isalnum() for character in text) else ""


def _host(match: re.Match[str]) -> str:
    """A web address as its host, and the punctuation that only stood beside it."""
    rest = match["rest"]
    path = rest.rstrip(".,;:!?)'\"")
    host = match["host"].rstrip(".")
    end = "." if host != match["host"] and not path else ""
    return host + end + rest[len(path) :].replace(")", "", path.count("("))


def _mail(match: re.Match[str]) -> str:
    """``j.doe@x.org`` → ``j dot doe at x dot org``"""
    return f"{_dotted(match['who'])} at {_dotted(match['host'])}"


def _dotted(name: str) -> str:
    for sign, word in ((".", "dot"), ("_", "underscore"), ("-", "dash"), ("+", "plus")):
        name = name.replace(sign, f" {word} ")
    return name


def _row(match: re.Match[str]) -> str:
    """A row of a table as a list of its cells."""
    cells = (cell.strip() for cell in match.group().strip().strip("|").split("|"))
    return ", ".join(cell for cell in cells if cell)


def _line_end(match: re.Match[str]) -> str:
    """Lines become sentences, unless they are punctuated already."""
    before = match["before"]
    return before if not before or before in ".!?…,;:。！？" else f"{before}."


_BLOCKS: tuple[Rule, ...] = (
    rule(r"(?P<fence>```+).*?(?:(?P=fence)|\Z)", "\n", re.DOTALL),
    rule(r"^[ \t]*(?P<fence>~~~+)(?![^\n]*~).*?(?:^[ \t]*(?P=fence)~*[ \t]*$|\Z)", "\n", re.DOTALL | re.MULTILINE),
    rule(r"<!--.*?(?:-->|\Z)", " ", re.DOTALL),
    rule(r"<(?P<tag>script|style)\b[^>]*>.*?(?:</(?P=tag)>|\Z)", " ", re.DOTALL | re.IGNORECASE),
    rule(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+[ \t]*(?::?-{2,}:?)?[ \t]*$", "", re.MULTILINE),
    rule(r"^[ \t]*\|.*\|[ \t]*$", _row, re.MULTILINE),
    rule(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", "", re.MULTILINE),
    rule(r"^[ \t]*(?:(?:#{1,6}|>+|[-*+•‣◦])(?:[ \t]+|$))+", "", re.MULTILINE),
    rule(r"^[ \t]*\[[ xX]\][ \t]+", "", re.MULTILINE),
    rule(r"(?<=[ \t])#{1,6}[ \t]*$", "", re.MULTILINE),
    rule(r"^[ \t]*\(?([0-9]{1,3})\)[ \t]+(?=[^\W\d])", r"\1. ", re.MULTILINE),
    rule(r"^[ \t]*\[[^\[\]\n]+\]:[ \t]*\S+.*$", "", re.MULTILINE),
)
_LINKS: tuple[Rule, ...] = (
    rule(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});", lambda match: html.unescape(match[0])),
    rule(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:[ \t]+(?:\"[^\"]*\"|'[^']*'))?\)", r"\1"),
    rule(r"!?\[([^\[\]]*)\]\([^()\s]*$", r"\1"),
    rule(r"\[\^?[0-9]+\]|\[\^[\w-]+\]", ""),
    rule(r"\[([^\[\]]+)\][ \t]?\[[^\[\]]*\]", r"\1"),
    rule(r"<(https?://[^\s<>]+|[^\s<>@]+@[^\s<>]+)>", r"\1"),
    rule(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s+[\w:-]+(?:=(?:\"[^\"]*\"|'[^']*'))?)*\s*/?>", " "),
    rule(
        r"(?:\b(?:https?|ftp|wss?)://(?:[^\s/@]*@)?|\b(?=www\.))(?:www\.)?(?P<host>[^\s/:?#<>\[\]()\"',;]+)"
        r"(?P<rest>[^\s<>\[\]]*)",
        _host,
        re.IGNORECASE,
    ),
    rule(r"\b(?:mailto|tel):(?=[\w+])", "", re.IGNORECASE),
    rule(r"(?<![\w.+-])(?P<who>\w[\w.+-]*)@(?P<host>\w[\w-]*(?:\.\w[\w-]*)+)", _mail),
)
_PICTURES: tuple[Rule, ...] = (
    rule(r"(?<![\w:]):(?:[a-z][a-z0-9_+-]{1,30}|[+-]1):(?![\w:])", ""),
    rule(r"(?:(?<=[A-Za-z] )(?<!\b[a-z] )|^)<3(?=\s|[.,!?]|$)", ""),
    rule(rf"[{_EMOJI}]", ""),
    rule(r"(?<!\S)(?:[:;=8]-?[()DPpO/|]|[xX]D|\^_*\^|¯\\?_\(ツ\)_/¯)(?!\S)", ""),
    rule(r"[©®™\x00-\x08\x0e-\x1f\x7f]", ""),
    rule("[₀-₉]+", lambda match: match[0].translate(_SUBSCRIPTS)),
)
_EMPHASIS: tuple[Rule, ...] = (
    rule(r"\\(?=[^\w\s])", ""),
    rule(r"`+|~~", ""),
    rule(r"(?<![^\W_])_+(?=\S)|(?<=\S)_+(?![^\W_])", ""),
    rule(r"(?<![0-9*])\*{2,3}|\*{2,3}(?![0-9*])", ""),
    rule(r"(?<![\w)*\s])\*(?=[^\s*])|(?<=\s)\*(?=[^\s*])|(?<=[^\s*])\*(?=[\s.,;:!?)\"'”]|$)", ""),
)
"""Before numbers are looked at: emphasis may stand right beside them."""
_SIGNS: tuple[Rule, ...] = (
    rule(r"(?<=[0-9])[ \t]*\*\*[ \t]*(?=[0-9])", " to the power of "),
    rule(r"(?<=[0-9])[ \t]*\*[ \t]*(?=[0-9])", " times "),
    rule(r"(?<=[0-9])[ \t]+/[ \t]+(?=[0-9])", " divided by "),
    rule(r"(?<=[0-9])[ \t]+[-–][ \t]+(?=[0-9])", " minus "),
    rule(r"(?<=\w)\^2(?![0-9])", " squared "),
    rule(r"(?<=\w)\^3(?![0-9])", " cubed "),
    rule(r"\^\{([^{}]*)\}", r" to the power of \1 "),
    rule(r"(?<=\w)[ \t]+\+[ \t]+(?=\w)|(?<=[0-9])\+(?=[0-9])|(?<![\w+])\+(?=[0-9])", " plus "),
    rule(r"~(?=[0-9])", "about "),
    rule(r"#(?=[0-9])", "number "),
    rule(r"\b([CF])#(?!\w)", r"\1 sharp"),
    rule(r"\$(?=[A-Za-z_{(])", ""),
    rule(r"(?<!\w)@+(?=\s?\w)|(?<=\s)@(?=\s)", "at "),
    rule(any_of(_SYMBOLS), lambda match: _SYMBOLS[match[0]]),
)
_REST: tuple[Rule, ...] = (
    rule(r"(?<=\w)_(?=\w)", " "),
    rule(r"[*_`~#\\\[\]{}]+", ""),
    rule(r"([!?])[!?]{2,}", r"\1"),
    rule(r"\(\s*\)", " "),
    rule(r"(?P<before>\S?)[^\S\r\n]*[\r\n]\s*(?=\S)", lambda match: _line_end(match) + " "),
    rule(r"\s+", " "),
    rule(r" (?=[,.;:!?](?:\s|$))|^ | $", ""),
    rule(r"(?:, ?){2,}", ", "),
)
_Group = tuple[re.Pattern[str], tuple[Rule, ...]]
_GROUPS: tuple[_Group, ...] = (
    (re.compile(r"```|~~~|<[!a-zA-Z]|^[ \t]*[|\-*_=#>+•‣◦\[(:0-9]|#", re.MULTILINE), _BLOCKS),
    (re.compile(r"[$\\]"), FORMULA_RULES),
    (re.compile(r"[\[<&:@]|www", re.IGNORECASE), _LINKS),
    (re.compile(r"[^ -9A-Za-z]|8[-()DPpO/|]|[xX]D"), _PICTURES),
    (re.compile(r"[*_`~\\]"), _EMPHASIS),
    (re.compile(r"[./]|[A-Z][A-Z2-6]|[A-Z] [A-Z]"), WORD_RULES),
    (re.compile(r"[0-9]|[a-z]\s?[-–]\s?[A-Z]"), DATE_RULES),
    (re.compile(r"[0-9¼-¾⅐-⅞]|[IVX]{2}|[a-z] [IVXLCDM]"), NUMBER_RULES),
    (re.compile(r"[^ ,.;:!?'\"A-Za-z-]"), _SIGNS),
    (re.compile(""), _REST),
)
"""In this order, and what a text must hold for any of the rules to match: most clauses hold nothing of most."""
_PLAIN = tuple(group for group in _GROUPS if group[1] in (_BLOCKS, _LINKS, _PICTURES, _EMPHASIS, _REST))
"""Those of them that are the same in every language."""
