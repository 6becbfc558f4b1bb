"""Sums, what they go on to, and counting. Pure."""

from __future__ import annotations

from training.starter.state import State, Turn
from training.starter.words import number

HELD_OUT_SUMS = frozenset((a, b) for a in range(21) for b in range(21) if (a * 7 + b * 11) % 12 == 5)
"""Operands of sums that training never sees in this order (the other order it may)."""
_SIGNS = {
    "plus": ("plus", "plus", "plus", "and", "added to"),
    "minus": ("minus", "minus", "take away", "less"),
    "times": ("times", "times", "multiplied by"),
}


def _written(s: State, n: int) -> str:
    """A number as it may be recognised: mostly words, with a space or a dash, sometimes digits."""
    return str(n) if s.rng.random() < 0.12 else number(n, s.rng.choice("  -"))


def _operands(s: State, sign: str) -> tuple[int, int]:
    while True:
        a, b, dice = s.rng.randint(0, 20), s.rng.randint(0, 20), s.rng.random()
        if sign == "times":
            a, b = s.rng.randint(0, 12), s.rng.randint(0, 12)
        elif dice < 0.15:
            a, b = s.rng.randint(0, 10), s.rng.randint(0, 10)
        elif dice < 0.4:
            a = s.rng.randint(0, 99)
            b = s.rng.randint(0, 99 - a if sign == "plus" else 99)
        if sign == "minus" and b > a:
            a, b = b, a
        if (a, b) not in HELD_OUT_SUMS:
            return a, b


def value(a: int, sign: str, b: int) -> int:
    """The result."""
    return a + b if sign == "plus" else a - b if sign == "minus" else a * b


def sum_(s: State) -> Turn:
    sign = s.rng.choice(["plus", "plus", "plus", "minus", "minus", "times"])
    a, b = _operands(s, sign)
    said = f"{_written(s, a)} {s.rng.choice(_SIGNS[sign])} {_written(s, b)}"
    user = s.say(
        "(so |and |now |)(what is|what's|how much is|what is|calculate|tell me|do you know|can you add) {x}( please||)",
        "(what does|how much does) {x} (make|give|equal)",
        "{x}( is| equals| makes||||)",
        "(can you tell me|could you tell me|i want to know|do you know) (what|how much) {x} is",
        "(what|how much) (would|will|could|do you get for|do i get for|do i get if i do|do we get from) {x}( be| make| give||)",
        "(what's the answer to|the answer to|work out|let's do|let's try|compute|solve|do|give me|how about|what about) {x}",
        "{x}( what is that| how much is that| how much| what does it make| what do you get| is what)",
        x=said,
    )
    if sign == "plus" and s.rng.random() < 0.15:
        user = s.say(
            "(what is the sum of|add|can you add|add up|if i add|what do i get if i add|sum up) {a} (and|to|with) {b}",
            "if i have {a} (apples|cups|books|) and (get|buy|find) {b} more how many (are there|do i have)( then|)",
            a=_written(s, a), b=_written(s, b),
        )  # fmt: skip
    if sign == "minus" and s.rng.random() < 0.12:
        user = s.say(
            "(take|subtract|if i take) {b} (away |)from {a}", "(what is the difference between) {a} and {b}",
            "if i have {a} and (lose|give away|spend) {b} how many (are left|do i have left|remain)",
            a=_written(s, a), b=_written(s, b),
        )  # fmt: skip
    if sign == "times" and s.rng.random() < 0.08 and a == 2:
        user = s.say("(what is |)(twice|double|two times) {b}", b=_written(s, b))
    return _total(s, user, a, sign, b)


def follow_up(s: State) -> Turn | None:
    if s.total is None or not 0 <= s.total <= 80:
        return None
    sign = s.rng.choice(["plus", "plus", "minus", "minus", "times"])
    b = s.rng.randint(1, 10) if s.rng.random() < 0.7 else s.rng.randint(1, 19)
    if sign == "times" and s.total > 10:
        sign = "plus"
    if sign == "times":
        b = s.rng.randint(0, 10)
    if sign == "minus":
        b = s.rng.randint(0, min(b, s.total))
    if (s.total, b) in HELD_OUT_SUMS:
        return None
    n = _written(s, b)
    user = s.say(
        "(and |now |and now |okay |and what is that |what is that |and then |then |okay and |now what about |what about |"
        "how about |make that |that |and that |and if it is |and the result |the result |now do |so |)"
        + s.rng.choice(_SIGNS[sign]) + " {n}( please| then| now| what is it| makes||||)", n=n
    )  # fmt: skip
    if sign == "plus" and s.rng.random() < 0.3:
        user = s.say(
            "(and |now |then |okay now |)(add|if you add|if i add|what if i add|please add|put|throw in|with) (another |)"
            "{n}( to that| more| to it| on top||)", "(and |)(another|) {n} more", n=n,
        )  # fmt: skip
    if sign == "minus" and s.rng.random() < 0.3:
        user = s.say(
            "(and |now |then |okay now |)(subtract|take away|if you take away|take off|remove|deduct|what if i take away|"
            "without) {n}( from that| from it| again||)", n=n,
        )  # fmt: skip
    if sign == "times" and s.rng.random() < 0.3:
        user = s.say("(and |now |then |)(multiply|multiply it|multiply that|times that) by {n}", n=n)
        if b == 2 and s.rng.random() < 0.5:
            user = s.say("(and |now |then |)(double|twice) (that|it)( please||)")
    return _total(s, user, s.total, sign, b)


def _total(s: State, user: str, a: int, sign: str, b: int) -> Turn:
    s.total = value(a, sign, b)
    words = f"{number(a)} {sign} {number(b)} is {number(s.total)}."
    return Turn("sum", user, words[0].upper() + words[1:])


def last_sum(s: State) -> Turn:
    user = s.say(
        "(what was|what's|what is|tell me|do you remember|do you know|repeat|remind me of|give me|say) (the|that|your|our) "
        "(last |latest |previous |)(sum|result|total|answer|number)( again| once more| please| of that| so far| we had||)",
        "what (did you|did we|did i) (get|calculate|have|come to|come up with) (last|before|just now|in the end|as the result)",
        "what was the (last |)number again",
        "(how much was (it|that)|what did (it|that) (make|come to|give)|where were we with the (sum|numbers))( again|)",
    )
    return Turn("last sum", user, f"It was {number(s.total)}." if s.total is not None else "We did no sum yet.")


def count(s: State) -> Turn:
    if s.rng.random() < 0.25:
        start = s.rng.randint(3, 10)
        user = s.say(
            "(please |can you |could you |)count (down|backwards|back|in reverse|backward)( for me| slowly||) "
            "(from|starting from|starting at|beginning with|from number) {n}( to one| to zero| down to one||)",
            "(a |do a |start a |give me a |)countdown from {n}( to zero||)",
            "(say|tell me) the numbers (backwards|down) from {n}",
            n=_written(s, start),
        )
        end = 0 if user.endswith("zero") else 1
        return Turn("count", user, _counted(range(start, end - 1, -1)), bid=True)
    if s.rng.random() < 0.3:
        start, end = s.rng.randint(2, 15), 0
        end = start + s.rng.randint(2, 8)
        user = s.say(
            "(please |can you |)count (up |)(from|starting at|starting from|from number) {a} (to|up to|until|and stop at) {b}",
            "(say|tell me|give me|list) (all |)the numbers (from|between) {a} (to|up to|and) {b}",
            a=_written(s, start), b=_written(s, end),
        )  # fmt: skip
        return Turn("count", user, _counted(range(start, end + 1)), bid=True)
    end = s.rng.randint(2, 20)
    user = s.say(
        "(please |can you |could you |will you |now |)count( up||)( for me||) (to|to|up to|till|until) {n}( please||)",
        "(i want you to|let me hear you|let's|show me how you|do you know how to|are you able to) count (to|up to) {n}",
        "count (slowly|quickly|loud|aloud|all the way|from one|for us|once more|again) (to|up to) {n}",
        "(say|tell me|give me|list) (all |)the (first {n} numbers|numbers (up |)to {n}|numbers from one to {n})",
        "(how high can you count|let me hear the numbers) to {n}",
        n=_written(s, end),
    )
    return Turn("count", user, _counted(range(1, end + 1)), bid=True)


def _counted(numbers: range) -> str:
    words = ", ".join(number(n) for n in numbers)
    return f"{words[0].upper()}{words[1:]}."


def next_number(s: State) -> Turn:
    n = s.rng.randint(1, 98)
    after = s.rng.random() < 0.6
    user = s.say(
        "(what|which|tell me what|tell me which|and what) (number |)(comes|is|follows|would come|goes|do you say|stands|"
        "do i get) (right |just |directly |)" + ("after" if after else "before") + " {n}",
        (
            "(what follows|the number after|the next number after|what's the next number after|one more than|what is one more "
            "than)"
            if after
            else "(the number before|what's the number before|the one before|one less than|what is one less than)"
        )
        + " {n}",
        n=_written(s, n),
    )
    said = number(n + 1 if after else n - 1)
    return Turn("next number", user, f"{said[0].upper()}{said[1:]}.")
