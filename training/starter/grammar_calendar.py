"""Time, dates, and what comes after what in the calendar. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipelines.engines.llm.messages import clock, time_words
from training.starter.state import State, Turn
from training.starter.words import DAYS, MONTHS


def now_line(now: datetime) -> str:
    """How the instructions tell day and time: ``Now it is 2:07 p.m. on Saturday, November 21, 2026.``"""
    return f"Now it is {time_words(now)}."


def time(s: State) -> Turn | None:
    if "get_time" in s.tools:
        return None
    answer = f"It is {clock(s.now)}" if s.now else "I have no clock here, so I do not know."
    return Turn("time", asked_time(s), answer, timed=True)


def asked_time(s: State) -> str:
    """The question for the time."""
    return s.say(
        "(hey |please |okay |)(what time is it|what's the time|what is the time|what time do we have)( now| please||)",
        "(tell me|can you tell me|could you tell me|do you know|do you have) (the time|"
        "what time it is)( please| now||)",
        "(how late is it|is it late|time please|the time please|do you have a clock|what does the clock say|"
        "give me the time|check the time|read me the clock|what's the hour|what is the exact time|got the time)( now||)",
        "(what|which) (time|hour) (have you got|do you have|is it there|is it where you are|would it be|might it be|does it say)( now||)",
        "(tell me|say|let me know|can you see|can you check|i wonder|any idea) (how late it is|what the time is|the hour|what time we have)"
        "( now| please||)",
        "(how late have we|how late do we have it|what's the time of day|what time of day is it|do you know how late it is)( now||)",
    )


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
