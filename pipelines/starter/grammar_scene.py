"""Questions about what the camera shows, in the words of :mod:`pipelines.vision.scene`. Pure."""

from __future__ import annotations

from random import Random

from pipelines.starter.state import State, Turn
from pipelines.starter.words import THINGS

NO_CAMERA = "I get no camera picture, so I see nothing."
_PEOPLE = ("two", "three", "four", "five", "many")


def scene(rng: Random, things: tuple[str, ...] = tuple(THINGS)) -> str:
    """What the camera might show: as ``scene.describe`` says it, sometimes with things."""
    people = rng.random()
    words: list[str]
    if people < 0.15:
        words = [
            rng.choice(["nobody in view", "nobody in view", "nobody in view", "one hand visible", "two hands visible"])
        ]
    elif people < 0.75:
        words = ["one person"]
        words += rng.choice(
            [[], [], [], ["right hand raised"], ["left hand raised"], ["right hand raised"], ["left hand raised"],
             ["both hands raised"], ["one hand raised"], ["one hand visible"], ["both hands visible"]]
        )  # fmt: skip
        words += ["facing the camera"] * (rng.random() < 0.6) + ["close to the camera"] * (rng.random() < 0.3)
    else:
        words = [f"{rng.choice(_PEOPLE)} people"]
        words += [rng.choice(["one hand raised", "two hands raised"])] * (rng.random() < 0.3)
    if rng.random() < 0.2:
        words += [_a(thing) for thing in rng.sample(things, rng.choice([1, 1, 2]))]
    return ", ".join(words)


def _a(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def told(shown: str) -> str:
    """The scene as an object of "I see"."""
    return shown.replace("nobody in view", "nobody").replace(" visible", "")


def _turn(s: State, intent: str, user: str, answer: str) -> Turn:
    return Turn(intent, user, answer if s.scene else NO_CAMERA, seen=True)


def see(s: State) -> Turn:
    user = s.say(
        "(so |and |now |okay |)what (do|can) you (see|see now|see here|see right now|actually see)( please||)",
        "(tell me|can you tell me|describe|say) what (you see|you can see|the camera shows|is in the picture)",
        "(what's|what is|who is|who's) (in|on) the (camera|picture|video|screen)",
        "(can|do) you see (me|anything|something|us)( now||)",
        "(look at me|what are you looking at|who do you see|what does the camera show|describe the picture)",
    )
    if s.scene:
        s.saw = told(s.scene)
    return _turn(s, "see", user, f"I see {told(s.scene)}.")


def people(s: State) -> Turn:
    if s.rng.random() < 0.6:
        user = s.say(
            "how many (people|persons|faces|of us) (are there|do you see|can you see|are here|"
            "are in the picture|are in front of you)"
        )
        return _turn(s, "people", user, f"I see {_who(s.scene)}.")
    user = s.say(
        "(is|do you see|can you see|is there) (anyone|anybody|somebody|someone|a person)( here|"
        " there| in the picture||)",
        "(is there anybody|is anyone|is somebody) (with me|in the room|in front of you)",
    )
    who = _who(s.scene)
    return _turn(s, "people", user, f"{'No' if who == 'nobody' else 'Yes'}, I see {who}.")


def alone(s: State) -> Turn:
    user = s.say("(am i|are we) (alone|the only one|all alone)( here||)", "(who is with me|is someone else here)")
    who = _who(s.scene)
    answer = "Yes, I see only one person." if who == "one person" else f"I see {who}."
    return _turn(s, "people", user, answer)


def hand(s: State) -> Turn:
    asked = s.rng.choice(["", "", "left", "right"])
    noun = s.rng.choice(["hand", "hand", "hand", "arm"])
    user = s.say(
        "(is|do you see|can you see) my " + f"{asked} {noun} (up|raised|in the air)",
        f"(did i|have i|am i) (raise|raised|raising|lifting|lift) (my|a|the) {asked} {noun}",
        "(which|what) (hand|arm) (is up|is raised|am i raising|have i raised|do i raise|did i raise)" if not asked else
        f"is (my|the) {asked} hand (up|raised)",
    )  # fmt: skip
    side = next((side for side in ("left", "right", "both", "one", "two") if f"{side} hand" in s.scene), "")
    if " raised" not in s.scene:
        return _turn(s, "hand", user, "No, I see no raised hand.")
    noun = "hands" if side in ("both", "two") else "hand"
    word = "the " if side in ("left", "right") else ""
    wrong = asked and side in ("left", "right") and side != asked
    start = "" if user.startswith(("which", "what")) else "No, " if wrong else "Yes, "
    return _turn(s, "hand", user, f"{start}I see {word}{side} {noun} raised.")


def facing(s: State) -> Turn:
    kind, words = s.rng.choice([("facing", "facing the camera"), ("close", "close to the camera")])
    user = (
        s.say("am i (facing|looking at|looking into|turned to) (the camera|you|it)", "do i (face|look at) the camera")
        if kind == "facing"
        else s.say("am i (close|too close|near|very close) (to (the camera|you)|)", "how (close|near) am i")
    )
    who = _who(s.scene)
    if who != "one person":
        return _turn(s, "facing", user, f"I see {who}, so I cannot tell.")
    yes = words in s.scene
    return _turn(s, "facing", user, f"{'Yes' if yes else 'No'}, you are {'' if yes else 'not '}{words}.")


def thing(s: State) -> Turn:
    shown = [part for part in s.scene.split(", ") if part.startswith(("a ", "an "))]
    asked = s.rng.choice(shown) if shown and s.rng.random() < 0.7 else _a(s.rng.choice(THINGS))
    user = s.say(
        "(do|can) you see {t}( here| somewhere| in the picture||)",
        "is there {t}( in the picture| here| in front of me||)",
        t=asked,
    )
    plain = asked.split(" ", 1)[1]
    return _turn(s, "thing", user, f"Yes, I see {asked}." if asked in shown else f"No, I see no {plain}.")


def looks(s: State) -> Turn:
    user = s.say(
        "what am i (wearing|holding|doing|eating|reading)( now| right now||)",
        "(what color|what colour) is my (shirt|hair|jacket|hat|sweater)",
        "how (old do i look|do i look|is my hair)( today||)",
        "(am i smiling|am i happy|do i look (tired|good|sad|old)|do you recognize me|"
        "what's behind me|do i wear glasses)",
    )
    return _turn(s, "looks", user, "I cannot tell: I only see people, faces and hands.")


def _who(shown: str) -> str:
    first = shown.split(", ")[0]
    return first if first.endswith(("person", "people")) else "nobody"
