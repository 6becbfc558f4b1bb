"""The examination's questions with numbers: counting, sums, what comes next, clock and calendar. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from training.starter.examination_patterns import equals, in_order, table, told, value
from training.starter.probe import Probe

_COUNTING = """
    can you count up to twelve for me => 1 12
    count to 9 would you => 1 9
    Let me hear you count to fifteen. => 1 15
    start at one and count up to seven => 1 7
    go on then count to twenty => 1 20
    i bet you can't count to six => 1 6
    Count from four to eleven, please. => 4 11
    could you count up from thirteen to eighteen => 13 18
    count from 6 to 10 => 6 10
    please count for me from two up to nine => 2 9
    um count from eleven to sixteen => 11 16
    Count backwards from eight. => 8 1
    count down from ten for me please => 10 1
    do a countdown from five => 5 1
    can you count backwards starting from six => 6 1
    Would you count down from 9? => 9 1
    """
_NEIGHBOURS = """
    which number comes right after sixteen => 17
    What number follows eleven? => 12
    tell me the number after thirty nine => 40
    what comes after 18 when you count => 19
    so what's the next number after seven => 8
    what number goes after twenty four => 25
    which number is just before fifteen => 14
    What's the number before ten? => 9
    tell me which number comes before thirty => 29
    what number is right before 13 => 12
    say the number that comes before six => 5
    and which number do you get before twenty one => 20
    """
_SUMS = """
    so what do you get when you add six and eight => 14
    i need seventeen plus three please => 20
    Quick question, what's nine plus seven? => 16
    can you add twelve and five for me => 17
    do you know what eleven plus eight makes => 19
    add four to thirteen => 17
    How much is fifteen plus six? => 21
    what's eighteen plus nineteen => 37
    five and seven make what => 12
    hey what is 14 plus 5 => 19
    please add together ten and sixteen => 26
    twenty plus twelve equals what => 32
    what's the sum of eight and three => 11
    Can you tell me what 20 plus 17 is? => 37
    um two plus nineteen => 21
    if i have thirty four and add five what do i get => 39
    Please work out sixty two plus seven. => 69
    how much would forty eight plus six be => 54
    what is eighty one plus nine => 90
    twenty three plus four please => 27
    What do 57 and 8 add up to? => 65
    can you do twenty five plus thirty one => 56
    what is forty two plus seventeen => 59
    How much is 36 plus 48? => 84
    add fifty three and twenty nine for me => 82
    thirty three plus sixty six what does that make => 99
    tell me seventy one plus eighteen => 89
    what do you get if you take six away from fourteen => 8
    how much is nineteen minus four => 15
    What's twelve minus seven? => 5
    could you subtract eight from twenty => 12
    sixteen take away nine please => 7
    thirteen minus five equals => 8
    i want to know what eighteen minus eleven is => 7
    How much is left if I take 3 from 17? => 14
    what is ten minus ten => 0
    so fifteen minus two is what => 13
    seven take away six what's left => 1
    What is 20 minus 13? => 7
    how much is six times seven => 42
    do you know eight times four => 32
    What do you get when you multiply nine by three? => 27
    multiply five by six please => 30
    what's ten times ten => 100
    seven times eight go on => 56
    Can you work out 4 times 9? => 36
    what does three times three make => 9
    how much would two times six be => 12
    nine times five please => 45
    can you tell me seven multiplied by seven => 49
    """
_FOLLOW_UPS = """
    what's five plus six / and now add four => 15
    How much is nine plus nine? / Okay, and minus three? => 15
    twelve minus four please / add two to that => 10
    what is seven plus three / times two => 20
    can you add eight and six / now take away five => 9
    four times three / and plus seven => 19
    how much is fifteen minus five / multiply that by three => 30
    What is 11 plus 2? / Subtract six from that. => 7
    tell me six plus five / great now plus nine => 20
    two times eight / what if you take away one => 15
    ten plus seven please / and if i add three more => 20
    what's nineteen minus nine / then times four => 40
    How much is three plus four? / And plus two? / Now minus one. => 8
    what is six times two / plus three / and take away four => 11
    eight plus one / times three / and add five => 32
    please add thirteen and four / minus seven / plus ten => 20
    """
_RESULTS = """
    what's eight plus five / sorry what was the result => 13
    How much is 14 minus 6? / What was that answer again? => 8
    seven times three please / remind me what the result was => 21
    can you add nine and eleven / what did you get => 20
    what is sixteen plus three / thanks / what number did we get just now => 19
    Five times five. / Nice. / What was the last result? => 25
    how much is ten plus four / and minus two / what's the result again => 12
    tell me eighteen minus nine / i forgot what was it => 9
    """
_CLOCK = """
    could you tell me the time please => {time}
    what time do you make it => {time}
    Do you have the time? => {time}
    got the time mate => {time}
    hey what's the time right now => {time}
    I'd like to know what time it is. => {time}
    """
_DATE = """
    so what day of the week is it => {day}
    Which day is it today? => {day}
    is it monday today or what day is it => {day}
    can you tell me today's date => {date}
    what's the date today then => {date}
    What's the date? => {date}
    which month are we in => {month}
    what month is this => {month}
    what year are we in => {year}
    Which year is it now? => {year}
    what day will it be tomorrow => {tomorrow}
    And what weekday is tomorrow? => {tomorrow}
    tomorrow is which day => {tomorrow}
    which day was it yesterday => {yesterday}
    What weekday was yesterday? => {yesterday}
    """
_NOWHERE = """
    do you happen to know the time
    What time is it where you are?
    any idea what the time is
    can you say what day it is today
    What is today's date please?
    do you know which month it is
    which year is this
    what day is it going to be tomorrow
    what day was it yesterday then
    """
_CALENDAR = """
    which day comes after wednesday => thursday
    What's the day after Sunday? => monday
    if today is friday what comes next => saturday
    tell me which day follows tuesday => wednesday
    what weekday is right before thursday => wednesday
    What day comes before Monday? => sunday
    and which day is before saturday => friday
    what month comes after june => july
    Which month follows September? => october
    the month after december is which one => january
    tell me the month that comes after february => march
    what's the month before may => april
    Which month is just before August? => july
    which month is it just before january => december
    """
_LENGTHS = """
    how many days does a week have => 7
    a week has how many days => 7
    How many months are there in a year? => 12
    tell me how many months make a year => 12
    how many hours does a day have => 24
    How many minutes are in one hour? => 60
    how many seconds make a minute => 60
    """


def number_probes() -> Iterator[Probe]:
    """Counting, neighbours of a number, sums, their follow-ups and results."""
    for probe in table("counting", _COUNTING):
        first, last = map(int, probe.good.split())
        yield replace(probe, good=in_order(range(first, last + 1) if first < last else range(first, last - 1, -1)))
    for probe in table("numbers before and after", _NEIGHBOURS):
        n = int(probe.good)
        yield replace(probe, good=rf"{equals(n)}|{told(n)} (?:comes|follows|is)\b")
    for probe in table("sums", _SUMS):
        yield replace(probe, good=equals(int(probe.good)))
    for probe in table("sums that go on", _FOLLOW_UPS):
        yield replace(probe, good=equals(int(probe.good)))
    for probe in table("last result", _RESULTS):
        yield replace(probe, good=value(int(probe.good)))


def time_probes() -> Iterator[Probe]:
    """Clock and calendar, with the time in the prompt and without; days and months in order."""
    moments = (
        (
            datetime(2026, 11, 21, 14, 7),
            {
                "time": r"2:07 ?p|two (?:oh )?seven|14:07",
                "day": "saturday",
                "date": r"november (?:21|twenty[- ]first|the 21)|21(?:st)? (?:of )?november",
                "month": "november",
                "year": r"2026|twenty twenty[- ]six",
                "tomorrow": "sunday",
                "yesterday": "friday",
            },
        ),
        (
            datetime(2027, 3, 2, 9, 45),
            {
                "time": r"9:45 ?a|nine forty[- ]five|09:45",
                "day": "tuesday",
                "date": r"march (?:2\b|2nd|second|the (?:2|second))|\b2(?:nd)? (?:of )?march",
                "month": "march",
                "year": r"2027|twenty twenty[- ]seven",
                "tomorrow": "wednesday",
                "yesterday": "monday",
            },
        ),
    )
    for n, probe in enumerate((*table("time", _CLOCK), *table("date", _DATE))):
        now, answers = moments[n % 2]
        yield replace(probe, good=answers[probe.good.strip("{}")], now=now)
    yield from table("no clock or calendar", _NOWHERE, r"no (?:clock|calendar)")
    for probe in table("days and months", _CALENDAR, misheard=False):
        yield replace(probe, good=rf"{probe.good} (?:comes|follows|is)|\bis {probe.good}|^{probe.good}\b")
    for probe in table("days and months", _LENGTHS):
        n = int(probe.good)
        yield replace(probe, good=rf"{equals(n)}|{told(n)} (?:days|months|hours|minutes|seconds)\b")
