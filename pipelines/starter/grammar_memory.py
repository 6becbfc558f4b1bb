"""What the user tells about themselves, and what was said and seen before. Pure."""

from __future__ import annotations

from pipelines.starter.state import State, Turn
from pipelines.starter.words import COLOURS, NAMES, PLACES, THINGS, any_word


def _name(s: State) -> str:
    return (s.rng.choice(NAMES) if s.rng.random() < 0.6 else any_word(s.rng)).capitalize()


def tell_name(s: State) -> Turn:
    name = _name(s)
    s.facts["name"] = name
    user = s.say(
        "(hello |hi |well |okay |)(my name is|my name's|i am called|you can call me|please call me|call me) {n}",
        "(hello |hi |hello there |)(i am|i'm|this is|it's|it is) {n}( speaking| here||||)",
        "(hello |and |)my name is {n}( what is yours| and yours| nice to meet you||)",
        "(people|my friends|they) call me {n}",
        n=name,
    )
    return Turn("tell name", user, f"Nice to meet you, {name}.", keep=True)


def ask_name(s: State) -> Turn:
    user = s.say(
        "(what is|what's|what was|tell me|can you tell me|say) my name( again| please||)",
        "(do you|can you) (know|remember|still know) (my name|what my name is|who i am|what i am called)",
        "(who am i|what am i called|i forgot my name|have you forgotten my name|what did i say my name was)",
    )
    name = s.facts.get("name")
    return Turn("ask name", user, f"Your name is {name}." if name else "You have not told me your name yet.")


def tell_fact(s: State) -> Turn:
    kind = s.rng.choice(["colour", "place", "pet"])
    if kind == "colour":
        s.facts[kind] = fact = s.rng.choice(COLOURS)
        user = s.say("my (favorite|favourite) (color|colour) is {f}", "i like {f} (best|most of all)", f=fact)
        return Turn("tell fact", user, f"{fact.capitalize()} is a nice colour.", keep=True)
    if kind == "place":
        s.facts[kind] = fact = (s.rng.choice(PLACES) if s.rng.random() < 0.6 else any_word(s.rng)).capitalize()
        user = s.say("i (live in|come from|am from|am living in) {f}", "(i'm from|my home is in) {f}", f=fact)
        return Turn("tell fact", user, f"{fact} sounds like a nice place.", keep=True)
    s.facts[kind] = fact = _name(s)
    user = s.say("(my|our) (dog|cat) is (called|named) {f}", "i have a (dog|cat) (called|named) {f}", f=fact)
    return Turn("tell fact", user, f"{fact} is a nice name.", keep=True)


def ask_fact(s: State) -> Turn:
    kind = s.rng.choice(list({"colour", "place", "pet"} & set(s.facts)) or ["colour", "place", "pet"])
    fact = s.facts.get(kind)
    user, answer = {
        "colour": (
            s.say("(what is|what's|do you remember|tell me) my (favorite|favourite) (color|colour)( again||)"),
            f"Your favourite colour is {fact}.",
        ),
        "place": (
            s.say("where (do i live|do i come from|am i from)", "do you (know|remember) where i (live|come from)"),
            f"You told me {fact}.",
        ),
        "pet": (
            s.say("(what is|what's|do you remember) (my (dog|cat)'s name|the name of my (dog|cat))( again||)"),
            f"The name is {fact}.",
        ),
    }[kind]
    return Turn("ask fact", user, answer if fact else "You have not told me that yet.")


def say_again(s: State) -> Turn | None:
    user = s.say(
        "(what did you|what have you) (just |)(say|said)",
        "(can you |could you |please |)(say|repeat) (that|it) (again|once more|please)",
        "(pardon me|come again|say again|once more|again please|repeat that|i did not hear you|i didn't get that)",
    )
    last = s.turns[-1] if s.turns else None
    if last is not None and last.intent in ("noise", "count", "stop"):
        return None
    return Turn("say again", user, last.answer if last else "I have not said anything yet.")


def what_i_said(s: State) -> Turn | None:
    user = s.say(
        "what (did i|have i) (just |)(say|said|ask|tell you|ask you)( before| last| just now||)",
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
        "what (did you see|have you seen|did the camera show|was in the picture)( before| earlier|"
        " last time| just now)",
        "(do you remember|tell me again) what you (saw|have seen)( before||)",
    )
    answer = f"I saw {s.saw}." if s.saw else "I have not told you anything about the picture yet."
    return Turn("what you saw", user, answer)


def lost(s: State) -> Turn | None:
    """A thing the user looks for: only the camera could tell."""
    if s.scene:
        return None
    user = s.say("(where is|where are|can you find|have you seen) my " + s.rng.choice(THINGS))
    return Turn("lost", user, "I get no camera picture, so I cannot see it.")
