"""Scripted conversations of ten turns, for the examination. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from training.starter.examination_patterns import MODEL, equals, value
from training.starter.words import number

_NUMBERS = frozenset(word for n in range(1000) for word in (str(n), *number(n, " ").split())) - {"and"}


class Turn(NamedTuple):
    """One turn of a conversation."""

    said: str
    good: str
    """What the answer must match; empty where any will do."""
    scene: str = ""
    """What the camera shows in this turn; empty: there is no picture."""
    earlier: bool = False
    """Whether the answer rests on an earlier turn: a name or a sight told before, a result, a sum that goes on."""


_THREADS = """
hey there
my name is zelda => zelda
how much is three plus four => =7
and add five to that => =12
tell me something funny
what can you see right now => right hand @ one person, right hand raised
do you remember my name => zelda
what was the result of the sum => #12
what did you see before => right hand
who invented the vaccine => MODEL

Hello!
I'm Bruno. => bruno
Are you doing all right?
What's nine minus two? => =7
And plus ten? => =17
Do you see me? => one person|yes @ one person, facing the camera
Tell me a joke, please.
What's my name? => bruno
What was the last result? => #17
How deep can a submarine go? => MODEL

good morning
what's your name
call me ingrid => ingrid
i'm pretty happy today
what do you see now => two people @ two people
can you add six and six for me => =12
now minus four => =8
what did you see earlier => two people
and what am i called => ingrid
what was that result again => #8

hi
i am marlon by the way => marlon
what is the opposite of wet => dry
five times two please => =10
plus three => =13
what is gravity => MODEL
okay then tell me a joke
do you know who i am => marlon
please say the last result again => #13
thanks bye

Hi, can you hear me?
You can call me Yvette. => yvette
Tell me what you see. => three people @ three people, two hands raised
Count to four. => one,? two,? three,? (?:and )?four
What's eleven plus six? => =17
Take away seven. => =10
How many people did you see? => three|3
What's my name again? => yvette
What was the last result? => #10
Can you recommend a chess book? => MODEL

hello visavis
how are you doing
my name's tobias => tobias
my favourite colour is green => green
seven plus eight => =15
and take away five => =10
tell me a riddle
which colour is my favourite => green
so what's my name => tobias
what number did we end up with => #10

good evening
they call me freya => freya
i live in helsinki => helsinki
what's four times four => =16
and minus six => =10
do you know a good joke
where do i live => helsinki
who am i => freya
what was the result we had => #10
what's a democracy => MODEL

Hey, how's it going?
My name is Dexter. => dexter
I have a dog called Rufus. => rufus
What does a dog say? => woof|bark|bow
How much is twelve plus three? => =15
And plus four? => =19
What is my dog called? => rufus
And what's my name? => dexter
What did the sum come to? => #19
Please book a flight to Bangkok. => MODEL|can(?: ?not|'t)

hi there
i'm selma nice to meet you => selma
i feel a bit tired
what do you see in the picture => left hand @ one person, left hand raised
what hand did i have up => left
ten minus three => =7
times two => =14
tell me my name => selma
what was the last result please => #14
thank you so much

hello hello
what can you do
then remember my name it's rufus => rufus
what's two plus nine => =11
plus six => =17
how do you spell meadow => m[,. -]+e[,. -]+a[,. -]+d[,. -]+o[,. -]+w
make me laugh
what did i say my name was => rufus
can you tell me the last result => #17
explain photosynthesis => MODEL

Good afternoon.
I'm called Agnes. => agnes
What's in front of the camera? => both hands @ one person, both hands raised
Say walnut. => walnut
Add thirteen and two. => =15
Now subtract one. => =14
What did the camera show you? => both hands
Do you still know my name? => agnes
And the result? => #14
How old is Saturn? => MODEL

hey
you're quite clever
my name is boris => boris
tell me the opposite of high => low
what's six plus seven => =13
and two more => =15
what do you see => no camera
what did i tell you my name is => boris
the last result again please => #15
one more joke please
"""


def read_threads(text: str = _THREADS) -> list[list[Turn]]:
    """Conversations from text, an empty line between them; each line is ``said => pattern @ scene``.

    The pattern ``=12`` stands for the result of a sum, ``#12`` for that number, ``MODEL`` for the honest answer.
    """
    return [_talk(talk.splitlines()) for talk in text.strip().split("\n\n")]


def _talk(lines: Sequence[str]) -> list[Turn]:
    turns, before = list[Turn](), set[str]()
    for line in lines:
        said, _, rest = line.partition(" => ")
        good, _, scene = rest.partition(" @ ")
        goes_on = good.startswith("=") and sum(word in _NUMBERS for word in re.findall(r"[a-z]+|\d+", said.lower())) < 2
        known = good in before and good != "MODEL" and not good.startswith("=")
        turns.append(Turn(said, _pattern(good), scene, known or goes_on or good.startswith("#")))
        before.add(good)
    return turns


def _pattern(good: str) -> str:
    if good.startswith("="):
        good = equals(int(good[1:]))
    elif good.startswith("#"):
        good = value(int(good[1:]))
    return good.replace("MODEL", MODEL)
