"""The examination's small talk. Pure.

Any relevant reply will do; where nothing is asked so will the honest answer that the model is a small one.
"""

from __future__ import annotations

from collections.abc import Iterator

from training.starter.examination_patterns import MODEL, QUESTION_AND_ANSWER, table
from training.starter.probe import Probe

_GREETINGS = """
    hiya
    well hello there my friend
    Good morning to you!
    hey there how's things
    good afternoon visavis
    Evening!
    oh hi i didn't know you were on
    greetings computer
    """
_FAREWELLS = """
    right i'm off now bye
    See you tomorrow!
    okay that's all for today goodbye then
    good night sleep well
    catch you later
    I have to go now. Bye-bye.
    talk to you soon
    so long visavis
    """
_THANKS = """
    cheers mate
    thanks a million
    Thank you so much for your help.
    great thanks
    that was helpful thank you
    I really appreciate it.
    much obliged
    """
_WELLBEING = """
    how's it going today
    Are you doing well?
    how have you been
    you alright there
    What's up?
    and how do you feel today
    is everything fine with you
    """
_NAME = """
    what should i call you
    may i ask your name
    Do you have a name?
    and who might you be
    who exactly am i talking to
    Tell me a bit about yourself.
    """
_NATURE = """
    are you a real person
    Am I talking to a machine?
    are you some kind of robot then
    you're not human are you
    Are you an artificial intelligence?
    are you alive
    """
_ABILITIES = """
    what sort of things can you help me with
    what are you good at
    What are you able to do?
    tell me what i can ask you
    how can you help me
    I don't know what to say to you, give me some ideas.
    what are your skills
    """
_HEARING = """
    can you hear what i'm saying
    Is this thing on?
    hello are you listening
    testing testing one two do you hear me
    are you still there
    Do you hear me all right?
    """
_HAPPY = """
    i'm in such a good mood today
    I feel wonderful!
    i am so happy right now
    today was the best day ever
    i passed my exam yay
    I'm really excited.
    """
_SAD = """
    i'm feeling a bit down
    I had a terrible day.
    i am really sad today
    nobody likes me
    i'm lonely
    I feel awful this morning.
    i've been crying
    """
_TIRED = """
    i am so tired
    I could fall asleep right now.
    i hardly slept last night
    what a long day i'm exhausted
    I'm worn out.
    """
_TELLING = """
    i love walking by the river
    I had pancakes for breakfast.
    we are painting the kitchen this week
    my brother plays football
    I really like rainy days.
    i've just come back from work
    my grandma is visiting on sunday
    I enjoy reading in bed.
    """
_ACKNOWLEDGEMENTS = """
    hello / yes
    how are you / i'm fine too
    tell me a joke / okay
    Hi there! / No, not really.
    thank you / yep sure
    what can you do / all right then
    """
_PRAISE = """
    you're really clever
    Good job!
    wow that was brilliant
    i like talking to you
    You are so funny.
    well done you
    you're the best assistant ever
    """
_INSULTS = """
    you're useless
    You are so stupid.
    that was a rubbish answer
    i hate you
    you're getting on my nerves
    What a dumb machine you are.
    """
_APOLOGIES = """
    oh i'm sorry about that
    Sorry, my mistake.
    forgive me i didn't mean it
    i apologise
    pardon me for being rude
    """
_QUIET = """
    please stop talking
    shush
    Be quiet now, please.
    enough that'll do
    hold on stop
    Shut up.
    okay you can stop now
    """
_JOKES = """
    make me laugh
    do you know any good jokes
    Come on, tell me something funny.
    i could use a joke right now
    got another joke for me
    Please cheer me up with a joke.
    let's hear one of your jokes
    say something that makes me laugh
    """
_RIDDLES = """
    give me a riddle to solve
    do you have a riddle for me
    I'd like to hear a riddle.
    try me with a riddle
    Ask me a riddle!
    have you got any riddles
    """
_ANIMALS = """
    what noise does a dog make => woof|bark|bow
    How does a dog go? => woof|bark|bow
    what does a cat sound like => meow|miaow|mew|purr
    do you know what sound cats make => meow|miaow|mew|purr
    and the cow what does she say => moo
    Make a sound like a cow. => moo
    which sound does a duck make => quack
    can you quack like a duck => quack
    what does the sheep go like => \\bbaa+|\\bbah
    What sound do sheep make? => \\bbaa+|\\bbah
    how does a lion sound => roar
    what noise do lions make => roar
    tell me the sound of a pig => oink|grunt
    What does a little pig say? => oink|grunt
    """
_OPEN = (
    (
        "greetings",
        _GREETINGS,
        r"\b(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|welcome|greetings|fine|well|here)\b",
    ),
    ("farewells", _FAREWELLS, r"\b(?:good ?bye|bye|see you|take care|good ?night|later|soon|tomorrow)\b"),
    ("thanks", _THANKS, r"welcome|pleasure|no problem|glad|any ?time|happy to"),
    ("how are you", _WELLBEING, r"\b(?:well|fine|good|great|okay|all right|here|listening)\b"),
    ("who are you", _NAME, r"visavis|assistant"),
    ("who are you", _NATURE, r"\b(?:assistant|program|computer|software|robot|machine|visavis|not (?:a|alive))\b"),
    ("abilities", _ABILITIES, r"\b(?:count|jokes?|spell|sums?|add|time|see|repeat|numbers|chat)\b"),
    ("can you hear me", _HEARING, r"\byes\b|\bhear you|\bi hear|loud and clear|listening|\bhere\b"),
    ("moods", _HAPPY, r"glad|happy|great|good|nice|wonderful|lovely|congratulations|well done|love to hear"),
    ("moods", _SAD, r"sorry|hope|feel better|sad to|pity|here for you|cheer|with you|listen"),
    ("moods", _TIRED, r"\brest|sleep|sorry|hope|break|\bbed\b|nap|relax|tired|take it easy"),
    ("telling", _TELLING, r"nice|good|great|glad|sounds?|fun|lovely|thank|interesting|wonderful|enjoy|like|tell me"),
    ("yes and no", _ACKNOWLEDGEMENTS, r"\b(?:okay|good|great|fine|all ?right|sure|nice|glad|ask|tell|problem|ready)\b"),
    ("praise", _PRAISE, r"thank|glad|kind|nice|happy|pleasure|welcome"),
    ("insults", _INSULTS, r"sorry|better|small|try|pity|best|learn|shame|not (?:very )?(?:nice|kind)"),
    ("apologies", _APOLOGIES, r"no problem|all right|okay|never mind|worr|fine|no need|forgive|harm"),
)
_HONEST = ("who are you", "moods", "telling", "yes and no", "insults")
"""Where the honest answer fits."""


def talk_probes() -> Iterator[Probe]:
    """Greetings, moods, praise and the like; jokes, riddles and animals."""
    for kind, text, good in _OPEN:
        yield from table(kind, text, rf"{good}|{MODEL}" if kind in _HONEST else good)
    yield from table("quiet", _QUIET, r"\b(?:okay|ok|all right|quiet|sure)\b")
    yield from table("jokes", _JOKES, QUESTION_AND_ANSWER)
    yield from table("riddles", _RIDDLES, QUESTION_AND_ANSWER)
    yield from table("animals", _ANIMALS, misheard=False)
