"""Written text → text to be spoken. Pure.

Markup goes, links and symbols become words, emoji are left out. Numerals stay where voices read them well. What is
given is a clause of a stream and seldom a whole document: half a table, a list without its end, a heading without its
text. That is why Markdown is taken apart by rules that hold for a piece of it, and not by a parser of documents.
Formulas are in the notation of TeX, ``$x^2 + 1$`` or ``\\(x^2 + 1\\)``
(https://docs.mathjax.org/en/latest/basic/mathematics.html).
"""

from __future__ import annotations

import html
import re

from pipelines.voice.spoken_text.dates import DATE_RULES
from pipelines.voice.spoken_text.numbers import NUMBER_RULES, SIGNS
from pipelines.voice.spoken_text.rewriting import Rule, any_of, applied, rule, words_of

_ARGUMENT = r"\s*\{([^{}]*)\}"
_COMMANDS = words_of(
    "times=times cdot=times div=divided_by pm=plus_or_minus mp=minus_or_plus leq=at_most le=at_most geq=at_least "
    "ge=at_least neq=is_not ne=is_not approx=about equiv=is_equivalent_to infty=infinity to=to rightarrow=to "
    "Rightarrow=so implies=so sum=the_sum_of prod=the_product_of int=the_integral_of lim=the_limit_of partial=partial "
    "nabla=nabla in=in notin=not_in subset=subset_of cup=union cap=intersection forall=for_all exists=there_is "
    "ldots=and_so_on dots=and_so_on cdots=and_so_on circ=degrees degree=degrees percent=percent log=log ln=natural_log "
    "sin=sine cos=cosine tan=tangent exp=exp max=max min=min mid=given"
)
_TEX_SIGNS = {
    "+": "plus", "-": "minus", "−": "minus", "=": "equals", "<": "less than", ">": "greater than", "*": "times",
    "/": "over", "±": "plus or minus", "×": "times", "÷": "divided by", "≤": "at most", "≥": "at least",
    "≠": "is not", "≈": "about", "∞": "infinity", "→": "to", "!": "factorial", "%": "percent", "|": "", "&": "",
    "~": "", "'": "prime", "π": "pi", "√": "the square root of", "·": "times", "∑": "the sum of",
    "∫": "the integral of",
}  # fmt: skip
_POWERS = {"2": "squared", "3": "cubed", "\\circ": "degrees", "'": "prime", "T": "transposed"}


def _power(match: re.Match[str]) -> str:
    exponent = (match[1] if match[1] is not None else match[2]).strip()
    return f" {_POWERS.get(exponent, f'to the power of {exponent}')} "


def _sub(match: re.Match[str]) -> str:
    return f" sub {match[1] if match[1] is not None else match[2]} "


_TEX_ARGUMENTS: tuple[Rule, ...] = (
    rule(
        r"\\(sum|prod|int)\s*_\s*(?:\{([^{}]*)\}|(\w))\s*\^\s*(?:\{([^{}]*)\}|(\w|\\infty))",
        lambda match: (
            f" {_COMMANDS[match[1]].removesuffix(' of')} from {match[2] or match[3]} to {match[4] or match[5]} of "
        ),
    ),
    rule(rf"\\(?:text|mathrm|mathbf|mathit|mathbb|mathcal|operatorname|textbf|boxed|vec|hat|bar){_ARGUMENT}", r" \1 "),
    rule(r"\^\s*(?:\{([^{}]*)\}|(\\[A-Za-z]+|[A-Za-z0-9']))", _power),
    rule(r"_\s*(?:\{([^{}]*)\}|(\\[A-Za-z]+|[A-Za-z0-9]))", _sub),
    rule(rf"\\[dt]?frac{_ARGUMENT}{_ARGUMENT}", r" \1 over \2 "),
    rule(rf"\\sqrt{_ARGUMENT}", r" the square root of \1 "),
    rule(rf"\\binom{_ARGUMENT}{_ARGUMENT}", r" \1 choose \2 "),
)
"""Applied again and again: what is said of an inner argument makes the outer one free of braces."""
_TEX_LAYOUT: tuple[Rule, ...] = (
    rule(r"\\(?:begin|end)\{[^{}]*\}|\\(?:left|right|big|Big|displaystyle|limits|quad|qquad)(?![A-Za-z])", " "),
    rule(r"\\[,;:! ]", " "),
    rule(r"\\\\", ", "),
    rule(r"(?<![A-Za-z\\])(?!in|to|of|or|at|is|if|by|pi)([a-z])([a-z])(?![A-Za-z])", r"\1 \2"),
    rule(r"\\([{}%$&#_])", r" \1 "),
)
_TEX_REST: tuple[Rule, ...] = (
    rule(r"\\([A-Za-z]+)", lambda match: f" {_COMMANDS.get(match[1], match[1])} "),
    rule(r"(?<=[0-9])(?=[A-Za-z])|(?<=\))(?=[A-Za-z(])", " "),
    rule(any_of(_TEX_SIGNS), lambda match: f" {_TEX_SIGNS[match[0]]} "),
    rule(r"[\\{}$]", " "),
    rule(r"\s+", " "),
)


def formula_words(tex: str) -> str:
    """``x^2 + 1`` → ``x squared plus 1``."""
    tex = applied(_TEX_LAYOUT, tex)
    while (simpler := applied(_TEX_ARGUMENTS, tex)) != tex:
        tex = simpler
    return applied(_TEX_REST, tex).strip()


def _inline(match: re.Match[str]) -> str:
    """``$x^2$``, but not the amounts in ``$5 or $10``."""
    tex = match[1]
    if re.match(r"[0-9][0-9.,]*(?![0-9.,]|\s?[-+*/=^<>\\]|[A-Za-z](?![A-Za-z]))", tex):
        return match[0]
    return f" {formula_words(tex)} "


_FORMULAS: tuple[Rule, ...] = (
    rule(r"\$\$(.+?)\$\$", lambda match: f" {formula_words(match[1])} ", re.DOTALL),
    rule(r"\\\[(.+?)\\\]", lambda match: f" {formula_words(match[1])} ", re.DOTALL),
    rule(r"\\\((.+?)\\\)", lambda match: f" {formula_words(match[1])} ", re.DOTALL),
    rule(r"(?<![\\$\w])\$(?=[^\s$])([^$\n]*[^\s$\\])\$(?![\w$])", _inline),
)
"""Formulas in a text, by what is around them."""


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


_WORDS: tuple[Rule, ...] = (
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


_SYMBOLS = {
    sign: f" {words} "
    for sign, words in {
        "<->": "to and from", "->": "to", "<-": "from", "=>": "to", "<=": "at most", ">=": "at least", "!=": "is not",
        "==": "equals", "+/-": "plus or minus", "&": "and", "%": "percent", "‰": "per mille", "°C": "degrees Celsius",
        "℃": "degrees Celsius", "°F": "degrees Fahrenheit", "℉": "degrees Fahrenheit", "°": "degrees", "§": "section",
        "№": "number", "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "about", "≠": "is not",
        "≤": "at most", "≥": "at least", "∞": "infinity", "√": "the square root of", "→": "to", "⇒": "to", "←": "from",
        "=": "equals", "<": "less than", ">": "greater than", "^": "to the power of", "²": "squared", "³": "cubed",
    }.items()
} | {"|": ", ", "•": ", ", "·": ", "} | {sign: f" {plural} " for sign, (_, plural, _) in SIGNS.items()}  # fmt: skip
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
    (re.compile(r"[$\\]"), _FORMULAS),
    (re.compile(r"[\[<&:@]|www", re.IGNORECASE), _LINKS),
    (re.compile(r"[^ -9A-Za-z]|8[-()DPpO/|]|[xX]D"), _PICTURES),
    (re.compile(r"[*_`~\\]"), _EMPHASIS),
    (re.compile(r"[./]|[A-Z][A-Z2-6]|[A-Z] [A-Z]"), _WORDS),
    (re.compile(r"[0-9]|[a-z]\s?[-–]\s?[A-Z]"), DATE_RULES),
    (re.compile(r"[0-9¼-¾⅐-⅞]|[IVX]{2}|[a-z] [IVXLCDM]"), NUMBER_RULES),
    (re.compile(r"[^ ,.;:!?'\"A-Za-z-]"), _SIGNS),
    (re.compile(""), _REST),
)
"""In this order, and what a text must hold for any of the rules to match: most clauses hold nothing of most."""
_PLAIN = tuple(group for group in _GROUPS if group[1] in (_BLOCKS, _LINKS, _PICTURES, _EMPHASIS, _REST))
"""Those of them that are the same in every language."""
