"""Spelling, repeating, opposites and colours. Pure."""

from __future__ import annotations

from training.starter.state import State, Turn
from training.starter.words import COLOUR_OF, HELD_OUT, NAMES, OPPOSITE, PLACES, THINGS, any_word


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
    if s.rng.random() < 0.2:
        words = " ".join(s.rng.choice(_EVERYDAY.split()) if s.rng.random() < 0.7 else _word(s)
                         for _ in range(s.rng.choice([2, 3, 4, 5, 6])))  # fmt: skip
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


_EVERYDAY = (
    "the a my your i you we it is was are have like see want and or but not in on at to with for good big old new little red blue "
    "very today tomorrow house day night time friend music water tree street window morning one two three never always"
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
