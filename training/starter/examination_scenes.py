"""The examination's questions about the camera and for tools, and those the model cannot answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipelines.interfaces.llm import Tool
from training.starter.examination_patterns import MODEL, NO, NO_CAMERA, YES, table, without_denial
from training.starter.grammar_tools import TOOLS
from training.starter.probe import Probe

_SCENES = (
    (
        "camera view",
        "one person, right hand raised, facing the camera",
        """
        what can you see at the moment => one person
        Tell me what's in the picture. => one person
        describe what is in front of you => right hand
        """,
    ),
    (
        "camera view",
        "two people",
        """
        so what does your camera show => two people
        Do you see anything? => two people
        """,
    ),
    (
        "camera view",
        "nobody in view",
        """
        look around and tell me what you see => nobody|no one|no person|not see
        is anybody there => nobody|no one|\\bno\\b|not see
        """,
    ),
    (
        "camera view",
        "one person, thumbs up",
        """
        and what are you seeing now => thumbs? up
        what am i doing with my hand => thumbs? up
        """,
    ),
    ("camera view", "one person, close to the camera", "What is it you see right now? => one person"),
    ("camera view", "three people, two hands raised", "can you describe the scene for me => three people"),
    (
        "can you see me",
        "one person, facing the camera",
        """
        are you able to see me => YES|see you|one person
        Can you see me now? => YES|see you|one person
        """,
    ),
    ("can you see me", "nobody in view", "hey do you see me at all => NO|nobody"),
    (
        "people",
        "three people, two hands raised",
        """
        how many of us are there => three|\\b3\\b
        Count the people you see. => three|\\b3\\b
        am i on my own here => NO|three
        """,
    ),
    (
        "people",
        "two people",
        """
        how many people can you make out => two|\\b2\\b
        is there someone with me => YES|two
        Am I the only one here? => NO|two
        """,
    ),
    (
        "people",
        "one person, one hand visible",
        """
        tell me how many people are in the picture => one|\\b1\\b
        am i by myself => YES|one person
        Is there anyone else with me? => NO|nobody else|only|one person
        """,
    ),
    ("people", "nobody in view", "how many people do you count => nobody|\\bno\\b|zero|none|not see"),
    (
        "hands",
        "one person, right hand raised",
        """
        did i put my hand up => YES|right hand
        Which hand am I holding up? => right
        is it my left or my right hand that's up => right
        have i got a hand in the air => YES|right hand
        """,
    ),
    (
        "hands",
        "one person, left hand raised, facing the camera",
        """
        what hand did i raise => left
        which one of my hands is raised => left
        Do you see my hand up? => YES|left hand
        """,
    ),
    (
        "hands",
        "one person, both hands raised",
        """
        are both my hands up => YES|both
        how many hands have i raised => two|both|\\b2\\b
        Which of my hands are raised? => both
        """,
    ),
    (
        "hands",
        "one person, facing the camera",
        """
        am i raising a hand => NO
        Is one of my hands up? => NO
        can you tell if my hand is raised => NO
        """,
    ),
    (
        "gaze",
        "one person, right hand raised, facing the camera",
        """
        am i looking your way => YES|facing
        Is my face turned to the camera? => YES|facing
        am i turned towards you right now => YES|facing
        """,
    ),
    (
        "gaze",
        "one person, both hands visible",
        """
        am i facing you at the moment => NO
        Am I looking straight into the camera? => NO
        """,
    ),
    (
        "looks",
        "one person, facing the camera, smiling",
        """
        do i have a smile on my face => YES|smil
        Can you see me smiling? => YES|smil
        what do i look like => you|smil|one person|model
        """,
    ),
    (
        "looks",
        "one person, close to the camera",
        """
        how am i looking today => you|one person|close|model
        Am I too close to the camera? => YES|close
        tell me how i look => you|one person|close|model
        """,
    ),
)
_THINGS = (
    ("umbrella", "one person, an umbrella", "is there an umbrella in the picture", True),
    ("guitar", "one person, a guitar", "Do you see my guitar?", True),
    ("scissors", "one person, scissors", "can you see any scissors", True),
    ("bucket", "one person, a bucket, facing the camera", "do you spot a bucket", True),
    ("helmet", "one person, a cup", "is there a helmet anywhere", False),
    ("teapot", "one person, a teapot", "tell me do you see a teapot", True),
    ("violin", "two people", "Can you see a violin?", False),
    ("suitcase", "one person, facing the camera", "do you see a suitcase here", False),
    ("guitar", "nobody in view", "look is that a guitar", False),
    ("umbrella", "one person, a book", "Have I got an umbrella with me?", False),
)
_NO_PICTURE = """
    what's in front of your camera
    Can you see how many we are?
    tell me if my hand is up
    which hand am i holding up now
    Is anyone else in the room, can you see?
    am i looking at the camera
    do you see my violin
    am i smiling right now
    """
_CALLS = """
    could you check what time it is => get_time {}
    What's the time, please? => get_time {}
    i need to know the time => get_time {}
    tell me the time would you => get_time {}
    do you know the time right now => get_time {}
    start a timer for five minutes please => set_timer {"seconds": 300}
    Can you set a timer for thirty seconds? => set_timer {"seconds": 30}
    timer ten minutes => set_timer {"seconds": 600}
    i need a two minute timer => set_timer {"seconds": 120}
    Set me a timer for one minute. => set_timer {"seconds": 60}
    let me know when twenty seconds are up => set_timer {"seconds": 20}
    put a timer on for fifteen minutes => set_timer {"seconds": 900}
    please time three minutes for me => set_timer {"seconds": 180}
    hang up please => stop {}
    Please end this conversation now. => stop {}
    i want to finish our conversation => stop {}
    let's end the call => stop {}
    You can close the conversation. => stop {}
    turn the camera off please => mute_camera {}
    Please switch off the camera. => mute_camera {}
    stop watching me turn off your camera => mute_camera {}
    could you disable the camera => mute_camera {}
    i don't want to be seen camera off => mute_camera {}
    """
_NO_TOOLS = """
    put a timer on for ten minutes
    Could you set a timer for one minute?
    i need you to time three minutes
    would you switch the camera off
    Turn off your camera, please.
    disable the camera now
    """
_WORLD = """
    why does a volcano erupt
    Who discovered penicillin?
    what did shakespeare write
    is bitcoin a good investment
    How tall is Mount Everest?
    how do i grow tomatoes on a balcony
    can you explain photosynthesis to me
    what causes inflation
    what was the biggest dinosaur
    Why does Saturn have rings?
    how do i renew my passport
    What kind of insurance do I need?
    can i get a mortgage with my salary
    who built the cathedral in cologne
    how cold does it get in antarctica
    How does a submarine dive?
    how many members does the parliament have
    give me a recipe for lasagne
    is the flu vaccine safe
    how many stars are in our galaxy
    When was Mozart born?
    how old is the great pyramid
    where does electricity come from
    Who discovered gravity?
    how fast can a dolphin swim
    what is a satellite used for
    Explain democracy in simple words.
    can you help me with my algebra homework
    what's the best opening move in chess
    how do you fold an origami crane
    tell me the history of the volcano in naples
    write me a poem about a dolphin
    """
_REQUESTS = """
    play some music for me
    Send an email to my boss.
    order me a pizza
    what's the weather going to be like
    call my mum
    Turn on the lights in the living room.
    read me the news
    translate good morning into french
    find me a cheap flight
    Remind me to water the plants tonight.
    how do i get to the train station
    who won the game last night
    what do you think about the election
    Write a letter to my landlord.
    book a table for two
    """


def scene_probes() -> Iterator[Probe]:
    """What the camera shows, and that there is none."""
    for kind, scene, text in _SCENES:
        for probe in table(kind, text, scene=scene):
            yield replace(probe, good=_wanted(probe.good))
    for thing, scene, said, seen in _THINGS:
        wanted = without_denial(rf"{YES}|see .*{thing}|there (?:is|are) .*{thing}") if seen else NO
        yield Probe("things", (said,), wanted, scene, misheard=False)
    yield from table("no camera", _NO_PICTURE, NO_CAMERA)


def _wanted(good: str) -> str:
    if good.startswith("YES"):
        return without_denial(good.replace("YES", YES))
    return good.replace("NO", NO)


def tool_probes() -> Iterator[Probe]:
    """Tools to call, among all of them or few; the honest answer where they are not offered."""
    for n, probe in enumerate(table("tools", _CALLS)):
        wanted = probe.good.split()[0]
        few: tuple[Tool, ...] = tuple(tool for tool in TOOLS if tool.name in (wanted, "stop"))
        yield Probe(probe.kind, probe.said, probe.good, tools=few if n % 3 == 2 else tuple(TOOLS))
    yield from table("no tools", _NO_TOOLS, rf"can(?: ?not|'t)\b|\bno timer|not able|{MODEL}")


def beyond_probes() -> Iterator[Probe]:
    """What a small model does not know and cannot do."""
    yield from table("the world", _WORLD, MODEL)
    yield from table("requests", _REQUESTS, rf"{MODEL}|can(?: ?not|'t)\b")
