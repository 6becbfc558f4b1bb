"""What the user tells about themselves, and what was said and seen before. Pure."""

from __future__ import annotations

from training.starter.state import State, Turn
from training.starter.words import COLOURS, NAMES, PLACES, THINGS, any_word


def _name(s: State) -> str:
    return (s.rng.choice(NAMES) if s.rng.random() < 0.6 else any_word(s.rng)).capitalize()


def tell_name(s: State) -> Turn:
    name = _name(s)
    s.facts["name"] = name
    user = s.say(
        "(hello |hi |well |okay |)(my name is|my name's|i am called|you can call me|please call me|call me) {n}",
        "(hello |hi |hello there |)(i am|i'm|this is|it's|it is) {n}( speaking| here||||)",
        "(hello |and |)my name is {n}( what is yours| and yours| nice to meet you||)",
        "(people|my friends|they|everybody|you may|you should|just) call me {n}",
        "(my first name is|the name is|the name's|i am named|i go by|i'm called|it's me|they named me) {n}",
        "(let me introduce myself|nice to meet you|pleased to meet you|good morning|good evening) (i am|i'm|my name is) {n}",
        "{n} is my name",
        n=name,
    )
    return Turn("tell name", user, f"Nice to meet you, {name}.", keep=True)


def ask_name(s: State) -> Turn:
    user = s.say(
        "(what is|what's|what was|tell me|can you tell me|say) my name( again| please||)",
        "(do you|can you) (know|remember|still know) (my name|what my name is|who i am|what i am called)",
        "(who am i|what am i called|i forgot my name|have you forgotten my name|what did i say my name was)",
        "(what|which) name (do i have|did i tell you|did i give you|did i say|have i told you|do you have for me)",
        "(who is talking|who is speaking|who are you talking to|who do you think i am|how am i called|say who i am)",
        "(remind me what|tell me what|do you recall what|please say what|can you say what) my name is",
        "(my name is what|my name what was it|my name please|do i have a name|what did i tell you my name is)",
        "(do you|can you) still (know|remember|recall) (my name|who i am|what i am called)",
    )
    name = s.facts.get("name")
    return Turn("ask name", user, f"Your name is {name}." if name else "You have not told me your name yet.")


def tell_fact(s: State) -> Turn:
    kind = s.rng.choice(["colour", "place", "pet"])
    if kind == "colour":
        s.facts[kind] = fact = s.rng.choice(COLOURS)
        user = s.say(
            "my (favorite|favourite) (color|colour) is {f}",
            "i (like|love) {f} (best|most of all|the most)",
            "(the color|the colour) (i like|i love|i like best|i prefer) is {f}", "{f} is my (favorite|favourite)( color|)",
            f=fact,
        )  # fmt: skip
        return Turn("tell fact", user, f"{fact.capitalize()} is a nice colour.", keep=True)
    if kind == "place":
        s.facts[kind] = fact = (s.rng.choice(PLACES) if s.rng.random() < 0.6 else any_word(s.rng)).capitalize()
        user = s.say(
            "i (live in|come from|am from|am living in|moved to|grew up in|stay in|have a house in) {f}",
            "(i'm from|my home is in|my home is|home for me is|my city is|my town is|we live in|my house is in) {f}",
            "i (am|was) (at home|born) in {f}", f=fact,
        )  # fmt: skip
        return Turn("tell fact", user, f"{fact} sounds like a nice place.", keep=True)
    s.facts[kind] = fact = _name(s)
    user = s.say(
        "(my|our) (dog|cat) is (called|named) {f}",
        "(i have|i've got|we have|i own) a (dog|cat) (called|named|and it is called|and his name is|and her name is) {f}",
        "(my|our) (dog's|cat's) name is {f}", "the name of (my|our) (dog|cat) is {f}", "{f} is (my|our) (dog|cat)",
        "(my|our) (dog|cat) (goes by|is) {f}", f=fact,
    )  # fmt: skip
    return Turn("tell fact", user, f"{fact} is a nice name.", keep=True)


def ask_fact(s: State) -> Turn:
    kind = s.rng.choice([kind for kind in ("colour", "place", "pet") if kind in s.facts] or ["colour", "place", "pet"])
    fact = s.facts.get(kind)
    user, answer = {
        "colour": (
            s.say(
                "(what is|what's|what was|do you remember|tell me|do you know|and|say|which is) my (favorite|favourite) "
                "(color|colour)( again| please||)",
                "(which|what) (color|colour) (do i like|is my favorite|is my favourite|did i say i like|do i prefer|"
                "do i love)( best| most| the most||)",
                "do you (know|remember|recall) (which|what) (color|colour) (i like|i like best|i love|is my favorite)",
            ),
            f"Your favourite colour is {fact}.",
        ),
        "place": (
            s.say(
                "where (do i live|do i come from|am i from|is my home|do i stay|did i say i live|did i say i am from)( again||)",
                "(do you |can you |)(know|remember|tell me|say|recall) where i (live|come from|am from|am at home)",
                "(what|which) (city|town|place|country) (do i live in|do i come from|am i from|did i tell you|is my home)",
            ),
            f"You told me {fact}.",
        ),
        "pet": (
            s.say(
                "(what is|what's|what was|do you remember|tell me|do you know|say) "
                "(my (dog|cat)'s name|the name of my (dog|cat))( again| please||)",
                "(how is|what is|what's) my (dog|cat) (called|named)( again||)",
                "(what|which) name (does|has) my (dog|cat) (have|got|)",
                "who is my (dog|cat)",
                "what do i call my (dog|cat)",
                "do you (know|remember) (what|how) my (dog|cat) is called",
            ),
            f"The name is {fact}.",
        ),
    }[kind]
    return Turn("ask fact", user, answer if fact else "You have not told me that yet.")


def say_again(s: State) -> Turn | None:
    user = s.say(
        "(what did you|what have you) (just |)(say|said)",
        "(can you |could you |please |would you |now |)(say|repeat|tell me) (that|it|this|the last thing|your answer|what you said) "
        "(again|once more|please|one more time|another time)",
        "(pardon me|come again|say again|once more|again please|repeat that|i did not hear you|i didn't get that|"
        "one more time|what was that|i missed that|i couldn't hear you|what was your answer|sorry what did you say|huh|"
        "say what|excuse me what did you say)( please||)",
        "(sorry |oh |)(i (didn't|did not) (catch|hear|get|understand) (that|it|you|what you said|the last part|your answer)|i missed "
        "(that|it|what you said)|that was too (fast|quiet))( can you repeat it| say it again| please||)",
        "(can|could|would|will) you (say|repeat|tell me) (that|it|yourself|what you just said|your last answer|your last sentence)"
        "( again| once more| louder| slowly| more slowly| a bit louder||)",
        "(let me hear|give me|i want to hear|i would like to hear) (that|it|your answer|your last answer) (again|once more|one more time)",
        "(tell me again|once again please|run that by me again|what were you saying|what did you tell me|what did you answer|"
        "what was it you said|repeat yourself|repeat your answer|repeat what you said|say it once more|again)( please||)",
    )
    last = s.turns[-1] if s.turns else None
    if last is not None and last.intent in ("noise", "count", "stop"):
        return None
    return Turn("say again", user, last.answer if last else "I have not said anything yet.")


def what_i_said(s: State) -> Turn | None:
    user = s.say(
        "what (did i|have i) (just |)(say|said|ask|tell you|ask you)( before| last| just now||)",
        "(what were my (last |)words|what did you (hear|understand)|what have you (heard|understood)|what was it that i said|"
        "repeat my (last |)(words|sentence|question))( just now||)",
        "(can you |)(repeat|tell me) what i (just |)(said|asked)( last||)",
        "what was my (last question|last sentence)",
    )
    if not s.turns:
        return Turn("what I said", user, "This is the first thing you said.")
    said = s.turns[-1].user.rstrip(".?!")
    if len(said.split()) > 12 or '"' in said:
        return None
    return Turn("what I said", user, f'You said: "{said}".')


def what_you_saw(s: State) -> Turn:
    user = s.say(
        "what (did you see|have you seen|did the camera show|was in the picture|was it you saw|did you say you saw|"
        "was on the camera|was in view)( before| earlier| last time| just now| a moment ago| a while ago| again| then)",
        "(do you remember|tell me again|say again|remind me|tell me|do you know|repeat) (what|who) you (saw|have seen|said you saw)"
        "( before| earlier| a moment ago||)",
        "(who|what) (did you see|was there) (in the picture|before the camera|in front of you|on the camera) (before|earlier|then)",
    )
    answer = f"I saw {s.saw}." if s.saw else "I have not told you anything about the picture yet."
    return Turn("what you saw", user, answer)


def lost(s: State) -> Turn | None:
    """A thing the user looks for: only the camera could tell."""
    if s.scene:
        return None
    user = s.say("(where is|where are|can you find|have you seen) my " + s.rng.choice(THINGS))
    return Turn("lost", user, "I get no camera picture, so I cannot see it.")
