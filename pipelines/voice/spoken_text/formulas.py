"""Formulas in the notation of TeX → words. Pure.

Models write mathematics as ``$x^2 + 1$`` or ``\\(x^2 + 1\\)`` (https://docs.mathjax.org/en/latest/basic/mathematics.html).
"""

from __future__ import annotations

import re

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
_SIGNS = {
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


_ARGUMENTS: tuple[Rule, ...] = (
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
_LAYOUT: tuple[Rule, ...] = (
    rule(r"\\(?:begin|end)\{[^{}]*\}|\\(?:left|right|big|Big|displaystyle|limits|quad|qquad)(?![A-Za-z])", " "),
    rule(r"\\[,;:! ]", " "),
    rule(r"\\\\", ", "),
    rule(r"(?<![A-Za-z\\])(?!in|to|of|or|at|is|if|by|pi)([a-z])([a-z])(?![A-Za-z])", r"\1 \2"),
    rule(r"\\([{}%$&#_])", r" \1 "),
)
_SYMBOLS: tuple[Rule, ...] = (
    rule(r"\\([A-Za-z]+)", lambda match: f" {_COMMANDS.get(match[1], match[1])} "),
    rule(r"(?<=[0-9])(?=[A-Za-z])|(?<=\))(?=[A-Za-z(])", " "),
    rule(any_of(_SIGNS), lambda match: f" {_SIGNS[match[0]]} "),
    rule(r"[\\{}$]", " "),
    rule(r"\s+", " "),
)


def formula_words(tex: str) -> str:
    """``x^2 + 1`` → ``x squared plus 1``."""
    tex = applied(_LAYOUT, tex)
    while (simpler := applied(_ARGUMENTS, tex)) != tex:
        tex = simpler
    return applied(_SYMBOLS, tex).strip()


def _inline(match: re.Match[str]) -> str:
    """``$x^2$``, but not the amounts in ``$5 or $10``."""
    tex = match[1]
    if re.match(r"[0-9][0-9.,]*(?![0-9.,]|\s?[-+*/=^<>\\]|[A-Za-z](?![A-Za-z]))", tex):
        return match[0]
    return f" {formula_words(tex)} "


FORMULA_RULES: tuple[Rule, ...] = (
    rule(r"\$\$(.+?)\$\$", lambda match: f" {formula_words(match[1])} ", re.DOTALL),
    rule(r"\\\[(.+?)\\\]", lambda match: f" {formula_words(match[1])} ", re.DOTALL),
    rule(r"\\\((.+?)\\\)", lambda match: f" {formula_words(match[1])} ", re.DOTALL),
    rule(r"(?<![\\$\w])\$(?=[^\s$])([^$\n]*[^\s$\\])\$(?![\w$])", _inline),
)
"""Formulas in a text, by what is around them."""
