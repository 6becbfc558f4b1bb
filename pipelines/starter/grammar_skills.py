"""Sums and counting, days and times, spelling, repeating, opposites and colours. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipelines.engines.chat_messages import clock, time_words
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


# ------------------------------------------------------------------------------------------------- days and times


def now_line(now: datetime) -> str:
    """How the instructions tell day and time: ``Now it is 2:07 p.m. on Saturday, November 21, 2026.``"""
    return f"Now it is {time_words(now)}."


def time(s: State) -> Turn | None:
    if "get_time" in s.tools:
        return None
    user = s.say(
        "(hey |please |okay |)(what time is it|what's the time|what is the time|what time do we have)( now| please||)",
        "(tell me|can you tell me|could you tell me|do you know|do you have) (the time|"
        "what time it is)( please| now||)",
        "(how late is it|is it late|time please|the time please|do you have a clock|what does the clock say|"
        "give me the time|check the time|read me the clock|what's the hour|what is the exact time|got the time)( now||)",
        "(what|which) (time|hour) (have you got|do you have|is it there|is it where you are|would it be)( now||)",
    )
    answer = f"It is {clock(s.now)}" if s.now else "I have no clock here, so I do not know."
    return Turn("time", user, answer, timed=True)


def date(s: State) -> Turn:
    shift, day = s.rng.choice([(0, "today"), (0, "today"), (1, "tomorrow"), (-1, "yesterday")])
    kind = s.rng.choice(["day", "date", "year", "month"]) if not shift else "day"
    verb = "was" if shift < 0 else "is"
    user = {
        "day": s.say(
            "(what|which) (day|day of the week|weekday) {v} (it |){d}",
            "(tell me|can you tell me|do you know) (what|which) day (it |){v} {d}",
            "{d} {v} (what|which) day( of the week|)",
            "(and |)(what about|how about|what day do we have|which day do we have|what weekday do we have) {d}",
            "(is it|do we have) (monday|tuesday|wednesday|thursday|friday|saturday|sunday) {d}"
            if not shift
            else "(what|which) day (of the week |)(do we have|did we have|will we have|will it be|was it|would it be) {d}",
            v=verb,
            d=day,
        ),
        "date": s.say(
            "(what is|what's|tell me|do you know|give me) (the|today's|the current) date( today| of today| now||)",
            "what date (is it|is today|do we have|have we got)( today||)",
            "(the date please|what day of the month is (it|today)|today's date|what's the date of today)",
        ),
        "year": s.say(
            "(what|which) year (is it|is this|do we have|are we in|do we live in|have we got|would this be)( now||)",
            "(the year please|tell me the year|what's the year|what is the current year)",
        ),
        "month": s.say(
            "(what|which) month (is it|is this|do we have|are we in|have we got|would this be)( now||)",
            "(the month please|tell me the month|what's the month|what is the current month|what month of the year is it)",
        ),
    }[kind]
    if s.now is None:
        return Turn("date", user, "I have no calendar here, so I do not know.", timed=True)
    then = s.now + timedelta(days=shift)
    answer = {
        "day": f"{day.capitalize()} {verb} {DAYS[then.weekday()]}.",
        "date": f"Today is {MONTHS[then.month - 1]} {then.day}.",
        "year": f"It is {then.year}.",
        "month": f"It is {MONTHS[then.month - 1]}.",
    }[kind]
    return Turn("date", user, answer, timed=True)


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
        "(tell me|do you know|name|say|give me) (the|which|what) {k} (that comes |comes |that is |is |){s} {n}",
        "(what|which) {k} (follows|do we have|would be|would come|will be|is the one|was|do you get) (right |just |){s} {n}",
        "(the {k} {s} {n}|{s} {n} comes (what|which {k})|{s} {n} which {k} is it|and {s} {n})",
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
        answer = spelled(name) if name else "You have not told me your name yet."
        return Turn("spell", user, answer, keep=True, bid=True)
    word = _word(s)
    user = s.say(
        "(please |can you |could you |will you |now |)spell (the word |me |the name ||||){w}( please| for me|||)",
        "how (do you|do i|do we|is|would you) (spell|write) (the word |){w}",
        "(what is|tell me|give me|say) the (spelling|letters) (of|in) (the word |){w}",
        "(spell out|spell) (the word |){w}( for us| letter by letter| slowly| out loud| one letter at a time||)",
        "(which|what) letters (are in|make|make up) (the word |){w}",
        "(i want you to|let's|let me hear you|let me see if you can|i don't know how to|how does one|how would i) spell {w}",
        "(how is|how's) {w} (spelled|written|spelt)",
        w=word,
    )
    return Turn("spell", user, spelled(word), keep=True, bid=user.startswith("spell"))


def repeat(s: State) -> Turn:
    words = " ".join(_word(s) for _ in range(s.rng.choice([1, 1, 2, 2, 3, 4])))
    if s.rng.random() < 0.3:
        words = s.say(
            "(the|my|your|a) {t} is (on|under|in|near) the {u}", "i (like|have|see) (the|a|my) {t} and the {u}",
            t=_word(s), u=_word(s),
        )  # fmt: skip
    user = s.say(
        "(please |can you |could you |now |)(repeat after me|say after me|repeat|say|say the words|say this|echo|repeat the words|"
        "repeat this|say the following|repeat what i say) {w}",
        "(please |can you |could you |)(say|repeat) {w}( for me| after me||)"
        if s.rng.random() < 0.3
        else "(i want you to|i would like you to|let me hear you|can i hear you|you have to|just|visavis|try to|try and) (say|repeat) {w}",
        w=words,
    )
    return Turn(
        "repeat", user, f"{words[0].upper()}{words[1:]}.", keep=True, bid=user.startswith(("repeat", "say", "echo"))
    )


def opposite(s: State) -> Turn:
    word = s.rng.choice(list(OPPOSITE))
    user = s.say(
        "(what is|what's|tell me|do you know|give me|name) the opposite of (the word |){w}( please||)",
        "(and |)(the opposite of|the opposite to|what about the opposite of) {w}",
        "(what|which word|which) is (the |)opposite (of|to) {w}",
        "(what word|which word|what) (means|says|is) the opposite of {w}",
        "(what is|what's) (the |)(contrary of|reverse of|antonym of|antonym for|opposite word of|opposite word for) {w}",
        "{w} (has|is) what opposite",
        "if (it is|something is|it's) not {w} (it is|it's) what",
        w=word,
    )
    return Turn("opposite", user, f"The opposite of {word} is {OPPOSITE[word]}.")


def colour(s: State) -> Turn:
    thing, its = s.rng.choice(list(COLOUR_OF.items()))
    user = s.say(
        "(what|which) (color|colour) (is|has|does) {t}( have||)",
        "(tell me|do you know|what is|what's|name|say|give me) (the|what|which) (color|colour) (of|is|has) {t}",
        "(what|which|of what|of which) (color|colour) (is|are|has|would you say is|does one see in|would|do you give) {t}( have| be||)",
        "{t} (is|has) (what|which) (color|colour)",
        "how (is|would you describe) the (color|colour) of {t}",
        t=thing,
    )
    return Turn("colour", user, f"{thing[0].upper()}{thing[1:]} is {its}.")
