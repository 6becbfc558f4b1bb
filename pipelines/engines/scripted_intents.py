"""The answers of the scripted responder: a table of what may be asked, in plain words, and how it is answered. Pure.

The words come from a recogniser that errs in the small ones, so the patterns rest on the words that matter. The first
intent that matches and has an answer wins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.engines import scripted_answers as answers

FALLBACKS = (
    'I heard: "{}". I am only a small scripted stand-in; connect a language model for a real answer.',
    'You said: "{}". My script has no answer to that; a language model would.',
    'I heard: "{}". I know only a few scripted answers. Ask me what I can do.',
    'You said: "{}". That is beyond my script; connect a language model and ask again.',
)
"""What is said when nothing matches; ``{}`` is what was heard."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that may be asked."""

    name: str
    pattern: re.Pattern[str]
    """Searched in plain words."""
    answer: answers.Answer
    """Gives the answer; ``None`` when it was not meant after all."""


def _intent(name: str, answer: answers.Answer, *patterns: str | re.Pattern[str]) -> Intent:
    parts = (pattern if isinstance(pattern, str) else pattern.pattern for pattern in patterns)
    return Intent(name, re.compile("|".join(parts)), answer)


INTENTS = (
    _intent(
        "stop",
        answers.say("Okay."),
        r"^(?:(?:please|okay|oh|no) )*(?:stop|(?:be )?quiet|never ?mind|cancel|shut up|(?:thats )?enough|hush|nothing"
        r"|forget (?:about )?it)(?: (?:it|that|this|talking|counting|now|please|there))*$",
    ),
    _intent(
        "say again",
        answers.what_you_said,
        r"\bwhat did you (?:just )?say\b",
        r"\bsay (?:that|it) (?:again|once more)\b",
        r"^(?:please )?repeat(?: that| it)?(?: please)?$",
        r"^(?:pardon|come again|again|what)(?: me| please)?$",
    ),
    _intent(
        "what I said",
        answers.what_i_said,
        r"\bwhat (?:did|do|have|had) i (?:just |first |last )?(?:say|said|tell|told|ask|asked)\b(?:.* first\b)?",
        r"\brepeat what i (?:just )?said\b",
        r"\bwhat was my (?:first|last) (?:question|sentence)\b",
    ),
    _intent("repeat", answers.repeat, r"\b(?:repeat|say) after me (?P<what>.+)"),
    _intent(
        "asked name",
        answers.asked_name,
        r"\b(?:whats|what is|what was|know|remember|recall|tell me|say|forgot|forgotten) my (?:own )?name\b",
        r"\bwho am i\b",
    ),
    _intent("told name", answers.told_name, answers.NAME),
    _intent("joke", answers.joke, answers.JOKE),
    _intent("say", answers.repeat, r"^(?:(?:please|can you|could you|would you|now) )*(?:say|repeat) (?P<what>.+)"),
    _intent("questions", answers.questions, r"\bhow many (?:questions|times|things)\b.*\b(?:i|ive|asked|me)\b"),
    _intent(
        "raised hand",
        answers.raised_hand,
        r"\b(?:hands?|arms?)\b.*\b(?:up|raised?|rai[sz]ing|rising|risen|lifted)\b",
        r"\brai[sz](?:ed?|ing) my (?:hand|arm)s?\b",
    ),
    _intent(
        "people",
        answers.people,
        r"\bhow many (?:people|persons?|faces?|humans?|of us)\b",
        r"\b(?:am i|are we) alone\b",
        r"\bis (?:anyone|anybody|someone|somebody) (?:here|there|else)\b",
    ),
    _intent(
        "see",
        answers.see,
        r"\b(?:what|who) (?:\w+ ){0,3}?(?:you|u) (?:\w+ )?(?:see|seeing|looking)\b",
        r"\b(?:can|do|could) you (?:\w+ )?see\b",
        r"\bwhat am i (?:doing|holding|wearing)\b",
        r"\bhow do i look\b",
        r"\bwhats? (?:is )?(?:in|on) the (?:camera|picture|video)\b",
    ),
    _intent(
        "arithmetic",
        answers.arithmetic,
        r"\b(?:plus|added to|minus|take away|times|multiplied by|divided by|over)\b",
    ),
    _intent("add", answers.add, r"\b(?:add|sum of|total of) (?P<numbers>.+ and .+)"),
    _intent(
        "count",
        answers.count,
        r"\bcount ?(?P<down>down|backwards?)?(?: up)?(?: for me)?(?: from (?P<begin>.+?))??"
        r"(?: (?:up )?(?:to|too|two|till|until|through) (?P<end>.+))?$",
    ),
    _intent(
        "spell",
        answers.spell,
        r"\bspell (?:(?:the|a|word|out|me|for|name) )*(?P<word>my(?= name\b)|(?!my\b)[^\W\d]+)",
    ),
    _intent("opposite", answers.opposite, r"\bopposite (?:of|off|to|from) (?:the )?(?:word )?(?P<word>[^\W\d]+)"),
    _intent(
        "time",
        answers.time,
        r"\bwhat(?:s| is)?(?: the)? time\b",
        r"\btime is it\b",
        r"\btell me (?:what |the )*time\b",
    ),
    _intent(
        "date",
        answers.date,
        r"\b(?:what|which)(?:s| is)? (?:the |todays? )*(?:day|date|month|year)\b",
        r"\btodays date\b",
    ),
    _intent(
        "hear",
        answers.say("Yes, I hear you.", "I hear you well."),
        r"\b(?:can|do|could) you hear\b",
        r"\bare you (?:still )?(?:there|listening)\b",
        r"^testing\b",
        r"\bmic(?:rophone)? (?:check|test)\b",
    ),
    _intent(
        "skills",
        answers.say("I remember names, repeat, count, spell, add numbers, tell jokes, and say what the camera shows."),
        r"\bwhat (?:can|could|do|else can) you do\b",
        r"\bhelp me\b|^help\b|\bcan you help\b",
        r"\bwhat can i (?:say|ask)\b",
    ),
    _intent(
        "about",
        answers.say(
            "I am a small scripted stand-in, not a language model. Connect one for real answers.",
            "Only a script: a few fixed answers until a language model takes my place.",
        ),
        r"\b(?:who|what) (?:are|r) you\b",
        r"\byour names?\b",
        r"\bintroduce yourself\b",
        r"\bwho made you\b",
        r"\bare you (?:(?:a|an|really|the) )*(?:human|robot|bot|machine|person|real|ai|computer|alive)\b",
    ),
    _intent("unknowable", answers.unknowable, r"\b(?:weather|forecast|news|stock market|traffic)\b"),
    _intent(
        "how are you",
        answers.say("Fine, as far as a script can tell. And you?", "Still running, thank you."),
        r"\bhow (?:are|r) (?:you|ya)\b",
        r"\bhow(?:s| is) it going\b|\bwhats up\b",
        r"\bhow do you do\b",
    ),
    _intent("thanks", answers.short(8, "You are welcome.", "My pleasure."), r"\b(?:thanks|thank)\b"),
    _intent(
        "farewell",
        answers.short(6, "Goodbye!", "See you."),
        r"\b(?:good ?bye|bye|farewell|good ?night)\b",
        r"\b(?:see|talk to) you\b",
    ),
    _intent(
        "hello",
        answers.hello,
        r"^(?:(?:well|oh|um|and) )?(?:hello|hi|hey|howdy|good (?:morning|afternoon|evening|day))\b",
    ),
    _intent("sorry", answers.short(5, "No problem."), r"\bsorry\b"),
    _intent(
        "acknowledgement",
        answers.say("All right.", "Good.", "Okay."),
        r"^(?:yes|yeah|yep|no|nope|okay|ok|sure|alright|all right|right|fine|good|great|cool|nice|i see)(?: \w+)?$",
    ),
)
"""What is understood, most specific first."""
