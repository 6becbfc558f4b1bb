"""Sums and counting, days and times, spelling, repeating, opposites and colours. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipelines.starter.state import State, Turn
from pipelines.starter.words import (
    COLOUR_OF,
    DAYS,
    HELD_OUT,
    MONTHS,
    NAMES,
    OPPOSITE,
    PLACES,
    THINGS,
    any_word,
    number,
)

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
        a, b = s.rng.randint(0, 20), s.rng.randint(0, 20)
        if s.rng.random() < 0.4:
            a, b = s.rng.randint(0, 10), s.rng.randint(0, 10)
        if sign == "times":
            a, b = s.rng.randint(0, 10), s.rng.randint(0, 10)
        elif sign == "plus" and s.rng.random() < 0.15:
            a, b = s.rng.randint(2, 9) * 10, s.rng.randint(1, 20)
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
        x=said,
    )
    if sign == "plus" and s.rng.random() < 0.15:
        user = s.say("(what is the sum of|add|can you add|add up) {a} and {b}", a=_written(s, a), b=_written(s, b))
    return _total(s, user, a, sign, b)


def follow_up(s: State) -> Turn | None:
    if s.total is None or not 0 <= s.total <= 40:
        return None
    sign = s.rng.choice(["plus", "plus", "minus", "times"])
    b = s.rng.randint(1, 10)
    if sign == "times" and s.total > 10:
        sign = "plus"
    if sign == "minus":
        b = s.rng.randint(0, min(10, s.total))
    if (s.total, b) in HELD_OUT_SUMS:
        return None
    n = _written(s, b)
    user = s.say(
        "(and |now |and now |okay |and what is that |what is that |)" + s.rng.choice(_SIGNS[sign]) + " {n}", n=n
    )
    if sign == "plus" and s.rng.random() < 0.3:
        user = s.say("(and |now |)(add|if you add|if i add|what if i add|please add) {n}( to that| more||)", n=n)
    if sign == "minus" and s.rng.random() < 0.3:
        user = s.say("(and |now |)(subtract|take away|if you take away) {n}( from that||)", n=n)
    return _total(s, user, s.total, sign, b)


def _total(s: State, user: str, a: int, sign: str, b: int) -> Turn:
    s.total = value(a, sign, b)
    words = f"{number(a)} {sign} {number(b)} is {number(s.total)}."
    return Turn("sum", user, words[0].upper() + words[1:])


def last_sum(s: State) -> Turn:
    user = s.say(
        "(what was|tell me|do you remember|do you know) (the|that|your) (last |)(sum|result|total)( again||)",
        "what (did you|did we|did i) (get|calculate) (last|before|just now)",
        "what was the (last |)number again",
    )
    return Turn("last sum", user, f"It was {number(s.total)}." if s.total is not None else "We did no sum yet.")


def count(s: State) -> Turn:
    if s.rng.random() < 0.2:
        start = s.rng.randint(3, 10)
        user = s.say(
            "(please |can you |could you |)count (down|backwards|back)( for me||) from {n}( to one| to zero||)",
            n=_written(s, start),
        )
        end = 0 if user.endswith("zero") else 1
        return Turn("count", user, _counted(range(start, end - 1, -1)))
    if s.rng.random() < 0.3:
        start, end = s.rng.randint(2, 15), 0
        end = start + s.rng.randint(2, 8)
        user = s.say(
            "(please |can you |)count (up |)from {a} (to|up to|until) {b}", a=_written(s, start), b=_written(s, end)
        )
        return Turn("count", user, _counted(range(start, end + 1)))
    end = s.rng.randint(2, 20)
    user = s.say(
        "(please |can you |could you |will you |now |)count( up||)( for me||) (to|to|up to|till|until) {n}( please||)",
        "(i want you to|let me hear you|let's) count (to|up to) {n}",
        n=_written(s, end),
    )
    return Turn("count", user, _counted(range(1, end + 1)))


def _counted(numbers: range) -> str:
    words = ", ".join(number(n) for n in numbers)
    return f"{words[0].upper()}{words[1:]}."


def next_number(s: State) -> Turn:
    n = s.rng.randint(1, 98)
    after = s.rng.random() < 0.6
    user = s.say(
        "(what|which) (number |)(comes|is) " + ("(after|right after)" if after else "(before|right before)") + " {n}",
        n=_written(s, n),
    )
    said = number(n + 1 if after else n - 1)
    return Turn("next number", user, f"{said[0].upper()}{said[1:]}.")


# ------------------------------------------------------------------------------------------------- days and times


def clock(now: datetime) -> str:
    """``2:07 p.m.``"""
    return f"{now.hour % 12 or 12}:{now.minute:02} {'a.m.' if now.hour < 12 else 'p.m.'}"


def now_line(now: datetime) -> str:
    """How the instructions tell day and time: ``Now it is 2:07 p.m. on Saturday, November 21, 2026.``"""
    return f"Now it is {clock(now)} on {DAYS[now.weekday()]}, {MONTHS[now.month - 1]} {now.day}, {now.year}."


def time(s: State) -> Turn | None:
    if "get_time" in s.tools:
        return None
    user = s.say(
        "(hey |please |okay |)(what time is it|what's the time|what is the time|what time do we have)( now| please||)",
        "(tell me|can you tell me|could you tell me|do you know|do you have) (the time|"
        "what time it is)( please| now||)",
        "(how late is it|is it late|time please|the time please)",
    )
    return Turn("time", user, f"It is {clock(s.now)}" if s.now else "I have no clock here, so I do not know.")


def date(s: State) -> Turn:
    shift, day = s.rng.choice([(0, "today"), (0, "today"), (1, "tomorrow"), (-1, "yesterday")])
    kind = s.rng.choice(["day", "date", "year", "month"]) if not shift else "day"
    verb = "was" if shift < 0 else "is"
    user = {
        "day": s.say(
            "(what|which) (day|day of the week|weekday) {v} (it |){d}",
            "(tell me|can you tell me|do you know) (what|which) day (it |){v} {d}",
            v=verb,
            d=day,
        ),
        "date": s.say("(what is|what's|tell me|do you know) (the|today's) date( today||)", "what date is (it|today)"),
        "year": s.say("(what|which) year (is it|is this|do we have|are we in)( now||)"),
        "month": s.say("(what|which) month (is it|is this|do we have|are we in)( now||)"),
    }[kind]
    if s.now is None:
        return Turn("date", user, "I have no calendar here, so I do not know.")
    then = s.now + timedelta(days=shift)
    answer = {
        "day": f"{day.capitalize()} {verb} {DAYS[then.weekday()]}.",
        "date": f"Today is {MONTHS[then.month - 1]} {then.day}.",
        "year": f"It is {then.year}.",
        "month": f"It is {MONTHS[then.month - 1]}.",
    }[kind]
    return Turn("date", user, answer)


def calendar(s: State) -> Turn:
    if s.rng.random() < 0.15:
        question, answer = s.rng.choice(
            [
                ("how many days (are there |are |does |)(in|has) a week( have|)", "A week has seven days."),
                ("how many months (are there |are |)(in|has) a year", "A year has twelve months."),
                ("how many hours (are there |are |)(in|has) a day", "A day has twenty-four hours."),
                ("how many minutes (are there |are |)(in|has) an hour", "An hour has sixty minutes."),
                ("how many seconds (are there |are |)(in|has) a minute", "A minute has sixty seconds."),
            ]
        )
        return Turn("calendar", s.say(question), answer)
    names, kind = s.rng.choice([(DAYS, "day"), (DAYS, "day"), (MONTHS, "month")])
    at, after = s.rng.randrange(len(names)), s.rng.random() < 0.6
    side = "after" if after else "before"
    user = s.say(
        "(what|which) {k} (is|comes|is it) (right |the day |) {s} {n}"
        if kind == "day"
        else "(what|which) {k} (is|comes) {s} {n}",
        "what (comes|is) {s} {n}",
        "(tell me|do you know) (the|which|what) {k} (that comes |comes |){s} {n}",
        k=kind, s=side, n=names[at].lower() if s.rng.random() < 0.7 else names[at],
    )  # fmt: skip
    found = names[(at + (1 if after else -1)) % len(names)]
    return Turn("calendar", user, f"{found} comes {side} {names[at]}.")


# --------------------------------------------------------------------------------------------------------- words


def _word(s: State) -> str:
    words = [word for word in (*NAMES, *THINGS, *PLACES) if word not in HELD_OUT]
    return s.rng.choice(words) if s.rng.random() < 0.15 else any_word(s.rng)


def spelled(word: str) -> str:
    """``C, A, T.``"""
    return f"{', '.join(word.upper())}."


def spell(s: State) -> Turn:
    name = s.facts.get("name")
    if s.rng.random() < 0.15:
        user = s.say("(please |can you |could you |now |)spell my name( please| for me||)")
        return Turn("spell", user, spelled(name) if name else "You have not told me your name yet.")
    word = _word(s)
    user = s.say(
        "(please |can you |could you |will you |now |)spell (the word |me |the name ||||){w}( please| for me|||)",
        "how (do you|do i|do we|is|would you) (spell|write) (the word |){w}",
        "(what is|tell me) the spelling of {w}",
        w=word,
    )
    return Turn("spell", user, spelled(word), keep=True)


def repeat(s: State) -> Turn:
    words = " ".join(_word(s) for _ in range(s.rng.choice([1, 1, 2, 2, 3, 4])))
    if s.rng.random() < 0.3:
        words = s.say(
            "(the|my|your|a) {t} is (on|under|in|near) the {u}", "i (like|have|see) (the|a|my) {t} and the {u}",
            t=_word(s), u=_word(s),
        )  # fmt: skip
    user = s.say(
        "(please |can you |could you |now |)(repeat after me|say after me|repeat|say|say the words|say this) {w}",
        w=words,
    )
    return Turn("repeat", user, f"{words[0].upper()}{words[1:]}.", keep=True)


def opposite(s: State) -> Turn:
    word = s.rng.choice(list(OPPOSITE))
    user = s.say(
        "(what is|what's|tell me|do you know|give me|name) the opposite of (the word |){w}( please||)",
        "(and |)the opposite of {w}",
        w=word,
    )
    return Turn("opposite", user, f"The opposite of {word} is {OPPOSITE[word]}.")


def colour(s: State) -> Turn:
    thing, its = s.rng.choice(list(COLOUR_OF.items()))
    user = s.say(
        "(what|which) (color|colour) (is|has|does) {t}( have||)",
        "(tell me|do you know|what is) (the|what) (color|colour) (of|is) {t}",
        t=thing,
    )
    return Turn("colour", user, f"{thing[0].upper()}{thing[1:]} is {its}.")
