"""Questions about what the camera shows, in the words of :mod:`pipelines.vision.scene`. Pure."""

from __future__ import annotations

from random import Random

from training.starter.state import State, Turn
from training.starter.words import THINGS, any_word

NO_CAMERA = "I get no camera picture, so I see nothing."
GESTURES = ("thumbs up", "thumbs down", "open palm", "closed fist", "pointing up", "victory sign", "love sign")
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
        words += rng.choices([["facing the camera"], ["looking away"], []], [0.5, 0.15, 0.35])[0]
        words += ["close to the camera"] * (rng.random() < 0.2) + ["smiling"] * (rng.random() < 0.3)
        words += [rng.choice(GESTURES)] * (rng.random() < 0.25)
    else:
        words = [f"{rng.choice(_PEOPLE)} people"]
        words += [rng.choice(["one hand raised", "two hands raised"])] * (rng.random() < 0.3)
    if rng.random() < 0.25:
        words += [_a(thing_of(rng, things)) for _ in range(rng.choice([1, 1, 2]))]
    return ", ".join(words)


def thing_of(rng: Random, things: tuple[str, ...] = tuple(THINGS)) -> str:
    """One of ``things``, or any word: what is named is copied, not known."""
    return rng.choice(things) if rng.random() < 0.6 else any_word(rng)


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
        "(what|who) (is|can be seen|is there|do we have|is visible) (in front of you|before the camera|in front of the camera|"
        "in the picture|in the frame|there)( now||)",
        "(describe|tell me about|say something about) (what you see|the scene|the view|everything you see|the picture|the room|"
        "what is in front of you|the image|what you are seeing)( please| for me||)",
        "(use|check|look through) (the|your) (camera|eyes)( and tell me what you see| and describe it||)",
        "(take a look|have a look|look around|what is it you see|what is it that you can see|what's there to see|"
        "what do you notice|what does it look like|is there anything to see)( now| please||)",
    )
    if s.scene:
        s.saw = told(s.scene)
    return _turn(s, "see", user, f"I see {told(s.scene)}.")


def people(s: State) -> Turn:
    if s.rng.random() < 0.6:
        user = s.say(
            "how many (people|persons|faces|of us|men|humans|folks) (are there|do you see|can you see|are here|"
            "are in the picture|are in front of you|would you count|do you count|are in view|are in the room|are with me|"
            "are we|are in the frame|are on the camera)( now| right now||)",
            "count the (people|faces)( you see| here||)",
            "(what is|tell me) the number of (people|persons|faces)( you see||)",
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
    user = s.say(
        "(am i|are we) (alone|the only one|all alone|by myself|all by myself|here alone|the only person)( here| in the picture||)",
        "(who is with me|is someone else here|is there someone behind me|is anyone else there|do you see anybody else|"
        "is it just me|is it only me)( here| in the picture||)",
    )
    who = _who(s.scene)
    answer = "Yes, I see only one person." if who == "one person" else f"I see {who}."
    return _turn(s, "people", user, answer)


def hand(s: State) -> Turn:
    asked = s.rng.choice(["", "", "left", "right"])
    noun = s.rng.choice(["hand", "hand", "hand", "arm"])
    user = s.say(
        "(is|do you see|can you see) my " + f"{asked} {noun} (up|raised|in the air)",
        f"(did i|have i|am i) (raise|raised|raising|lifting|lift|holding up|put up) (my|a|the) {asked} {noun}",
        f"(do i have|have i got|do i hold|am i putting) (my|a|the) {asked} {noun} (up|raised|in the air)( now||)",
        f"(tell me|can you tell me|say|can you tell) (if|whether) (my|the|a) {asked} {noun} is (up|raised|in the air|lifted)",
        "(which|what|tell me which|and which) (hand|arm|one) (is up|is raised|am i raising|have i raised|do i raise|did i raise|"
        "of mine is up|am i holding up|is in the air|did i put up|do i have up)" if not asked else
        f"is (my|the) {asked} hand (up|raised)",
    )  # fmt: skip
    side = next((side for side in ("left", "right", "both", "one", "two") if f"{side} hand" in s.scene), "")
    if " raised" not in s.scene:
        return _turn(s, "hand", user, "No, I see no raised hand.")
    noun = "hands" if side in ("both", "two") else "hand"
    word = "the " if side in ("left", "right") else ""
    wrong = asked and side in ("left", "right") and side != asked
    start = "" if "which " in user or user.startswith("what") else "No, " if wrong else "Yes, "
    return _turn(s, "hand", user, f"{start}I see {word}{side} {noun} raised.")


def facing(s: State) -> Turn:
    kind, words = s.rng.choice([("facing", "facing the camera"), ("close", "close to the camera")])
    user = (
        s.say(
            "(am i|tell me am i|can you tell if i am|tell me if i am|say whether i am) (facing|looking at|looking into|turned to|"
            "turned towards|looking straight at) (the camera|you|it)( now| right now||)",
            "do i (face|look at|look into|look straight at) (the camera|you)( now||)",
            "(where am i looking|am i looking away|am i turned away|which way am i looking|do i look away|am i facing you)",
            "(are my eyes on|is my face turned to|is my face turned towards|is my head turned to|are my eyes on|is my face to) "
            "(you|the camera|the screen)( now||)",
            "(tell me|can you tell|can you see|do you know|say) (where|which way|in which direction) (i am|i'm) (looking|facing|turned)"
            "( now||)",
            "(have i|did i) (turned away|turn away|looked away|look away|turn to you|turned to you|look at you)( now||)",
            "am i looking (elsewhere|to the side|somewhere else|right at you|in your direction|at you or away)( now||)",
            "(is|does) (the person|he|she|somebody) (looking at you|facing you|facing the camera|looking away|look at you)( now||)",
        )
        if kind == "facing"
        else s.say(
            "am i (close|too close|near|very close|near enough|close enough) (to (the camera|you)|)",
            "how (close|near|far away|far) am i( from you| to the camera| from the camera||)",
            "(do i sit|am i sitting|am i standing|do i stand) (close|near|too close) (to (the camera|you)|)",
            "is my face (close|near|very close) (to (the camera|you)|)",
        )
    )
    who = _who(s.scene)
    if who != "one person":
        return _turn(s, "facing", user, f"I see {who}, so I cannot tell.")
    yes = words in s.scene
    if any(
        word in user
        for word in ("looking away", "turned away", "turn away", "look away", "looked away", "else", "side")
    ):
        return _turn(s, "facing", user, f"{'No' if yes else 'Yes'}, you are {'' if yes else 'not '}{words}.")
    return _turn(s, "facing", user, f"{'Yes' if yes else 'No'}, you are {'' if yes else 'not '}{words}.")


def thing(s: State) -> Turn:
    shown = [part for part in s.scene.split(", ") if part.startswith(("a ", "an "))]
    asked = s.rng.choice(shown) if shown and s.rng.random() < 0.6 else _a(thing_of(s.rng))
    plain = asked.split(" ", 1)[1]
    user = s.say(
        "(do|can|could|did) you (see|spot|find|notice|recognize|make out) {t}( here| somewhere| in the picture| now| anywhere||)",
        "is there {t}( in the picture| here| in front of me| on the camera| somewhere| in the room| next to me||)",
        "(tell me if|can you tell if|say if) (there is|you see|you can see) {t}",
        "(and {t}|and do you see {t}|what about {t})",
        "(can|do|did) you (see|spot|find|notice) (my|the|any|that|some) {p}( here| anywhere| in the picture| now||)",
        "is (my|the) {p} (there|here|visible|in view|in the picture|on the camera|in front of you|on the table)( now||)",
        "(do i|did i) (have|hold|hold up|show you|carry|bring) {t}( with me| in my hand| here| now| in front of me||)",
        "(am i|are we) (holding|holding up|showing you|carrying|sitting next to|standing by) {t}( now| here| in my hand||)",
        "is (that|this|it) {t}( in my hand| behind me| on the desk| you see| i'm holding||)",
        "(look for|find|search for|have you seen|have you spotted|is there anything like|can you find) {t}( for me| here||)",
        "(are there|is there|do you see) any {p}( here| in the room| around| in view||)",
        "{t} (is there one|do you see it|can you see one|is it there)",
        t=asked,
        p=plain,
    )
    return _turn(s, "thing", user, f"Yes, I see {asked}." if asked in shown else f"No, I see no {plain}.")


def looks(s: State) -> Turn:
    user = s.say(
        "what am i (wearing|doing|eating|reading|thinking)( now| right now||)",
        "(what color|what colour) is my (shirt|hair|jacket|hat|sweater)",
        "how (old do i look|do i look|is my hair)( today||)",
        "(do i look (tired|good|sad|old|nice|pretty)|do you recognize me|what do i look like|am i (tall|beautiful|old)|"
        "what's behind me|do i wear glasses|what clothes do i wear|is it dark here|how do i look)( today||)",
        "(what color|what colour) (are my (eyes|shoes|glasses)|is my (hair|dress|coat|skin|wall|t-shirt)|is the wall)( now||)",
        "(do i|did i) (have|wear|put on) (a beard|blue eyes|brown eyes|long hair|short hair|glasses|a hat|a tie|a red shirt|new clothes|"
        "earrings|makeup|a mustache)( today| now||)",
        "(am i|is it true that i am) (wearing (a hat|glasses|red|blue|a tie|a jacket|a sweater)|young|old|pretty|handsome|thin|fat|short|"
        "bald|blond|well dressed|a man|a woman|sitting|standing|indoors)( today| now||)",
        "(do you like|how is|how does|what do you think of|describe|tell me about) my (shirt|hair|hat|face|dress|outfit|clothes|beard|"
        "glasses|room|look|haircut)( today| look||)",
        "(how old am i|guess my age|guess how old i am|what is my age|what room am i in|what is on the wall|is my room tidy|"
        "is it bright in here|is the light on|what am i dressed in|which clothes do you see)( do you think||)",
    )
    return _turn(s, "looks", user, "I cannot tell: I only see people, faces and hands.")


def holding(s: State) -> Turn:
    user = s.say(
        "what (am i|is it i am) (holding|showing you|holding up|holding in my hand)( now| here| right now||)",
        "what (do i have|have i got|is|is this) in my (hand|hands|left hand|right hand)( now||)",
        "(what is this|what's this|do you know what this is|what thing is this|which objects do you see|what objects are there)",
        "(what|which) (things|objects|items|stuff) (do you see|can you see|are here|are there|are in the picture|can you find|"
        "do you recognize|are in view|are around me|do i have)( now| here||)",
        "what (is|do you see|can you see) (on|next to|near|beside|lying on) (my desk|the table|me|my table|the desk)( now||)",
        "what else (do you see|can you see|is there|is in the picture|is in view)( besides me| apart from me| here||)",
        "(guess|tell me|can you tell|do you see|can you see|look) what (i am holding|i have here|i have in my hand|i'm showing you|this is|i brought)",
        "what (am i carrying|did i bring|did i pick up|am i pointing at|is that thing|is the object)( here| now||)",
    )
    shown = [part for part in s.scene.split(", ") if part.startswith(("a ", "an "))]
    answer = f"I see {' and '.join(shown)}." if shown else "I cannot tell: I see no object."
    return _turn(s, "thing", user, answer)


def smiling(s: State) -> Turn:
    user = s.say(
        "(am i|do you see me|can you see me|is it true that i am) (smiling|laughing|smiling now)( at you| right now||)",
        "(do i|did i) (smile|laugh|have a smile|look happy)( now||)",
        "(is there a smile on my face|can you see my smile|am i happy|do i seem happy|what about my smile)( now||)",
        "(is the person|is he|is she|is somebody) smiling",
        "(tell me|can you tell) (if|whether) i (am smiling|smile|look happy)",
    )
    who = _who(s.scene)
    if who != "one person":
        return _turn(s, "looks", user, f"I see {who}, so I cannot tell.")
    return _turn(s, "looks", user, "Yes, you are smiling." if "smiling" in s.scene else "No, I see no smile.")


def gesture(s: State) -> Turn:
    asked = s.rng.choice(GESTURES)
    shown = next((name for name in GESTURES if name in s.scene), "")
    if shown and s.rng.random() < 0.5:
        asked = shown
    if s.rng.random() < 0.5:
        user = s.say(
            "(what|which) (gesture|sign|hand sign) (am i making|do i make|do you see|is this|am i showing|is that|do i show)"
            "( now| here| you| with my hand||)",
            "what (am i doing with|do i do with|is going on with|do you see of) my (hand|hands|fingers)( now||)",
            "(do you|can you) (recognize|see|read|understand) my (gesture|sign|hand sign)",
            "what (does my hand say|is my hand doing|are my fingers doing|do my fingers show)( now||)",
        )
        answer = f"I see {shown}." if shown else "I see no gesture."
    else:
        user = s.say(
            "(am i|are we) (showing|giving|making|doing) (you |)(a |the |) {g}( now||)",
            "(do|can|did) you see (a|my|the|) {g}( here||)", "is (this|that) (a|my|the|) {g}",
            "(did i|do i) (give|show|make) (you |)(a|the|) {g}", g=asked,
        )  # fmt: skip
        answer = f"Yes, I see {asked}." if asked == shown else f"No, I see {shown or 'no gesture'}."
    return _turn(s, "hand", user, answer)


def _who(shown: str) -> str:
    first = shown.split(", ")[0]
    return first if first.endswith(("person", "people")) else "nobody"
