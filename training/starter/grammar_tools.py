"""Calls of the tools that the model knows, and what is said where they are not offered. Pure."""

from __future__ import annotations

from datetime import datetime

from pipelines.engines.llm.messages import clock
from pipelines.interfaces.llm import Tool
from training.starter.grammar_calendar import asked_time
from training.starter.state import Call, State, Turn
from training.starter.words import number

TOOLS = (
    Tool("get_time", "The time of day."),
    Tool(
        "set_timer",
        "Start a timer.",
        {"type": "object", "properties": {"seconds": {"type": "integer"}}, "required": ["seconds"]},
    ),
    Tool("stop", "End the conversation."),
    Tool("mute_camera", "Turn the camera off."),
)
"""Tools in the form in which a request offers them; ``get_time`` answers with a time, the others with ``ok``."""
_TIMERS = (*((n, "minute") for n in range(1, 61)), *((n, "minute") for n in (1, 2, 3, 4, 5, 10, 15, 20, 30)),
           *((n, "second") for n in range(5, 61, 5)), (90, "second"), *((n, "hour") for n in (1, 1, 1, 2, 3)))  # fmt: skip
_LENGTHS = (
    ("half a minute", 30), ("half an hour", 1800), ("a minute", 60), ("an hour", 3600), ("a quarter of an hour", 900),
    ("one and a half minutes", 90), ("two and a half minutes", 150), ("an hour and a half", 5400), ("a couple of minutes", 120),
)  # fmt: skip
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


def get_time(s: State) -> Turn | None:
    if "get_time" not in s.tools:
        return None
    then = clock(s.now or datetime(2026, 1, 1, s.rng.randrange(24), s.rng.randrange(60)))
    return Turn("get_time", asked_time(s), f"It is {then}", Call("get_time", {}, then))


def set_timer(s: State) -> Turn:
    n, unit = s.rng.choice(_TIMERS)
    length, seconds = f"{number(n)} {unit}{'s' if n > 1 else ''}", n * _SECONDS[unit]
    if s.rng.random() < 0.12:
        length, seconds = s.rng.choice(_LENGTHS)
    user = s.say(
        "(please |can you |could you |)(set|start|make) (a|the|me a) timer (for|of|to) {t}( please||)",
        "(set|start) a {u} timer",
        "(wake me|remind me|tell me|call me) in {t}",
        "timer (for |){t}",
        "(i need|i want|i'd like|give me|let's have|create|run|put on|begin|i would like|set up|add) (a|another|a new) timer "
        "(for|of|with) {t}( please||)",
        "(set|start|make|run) (the timer|my timer|a countdown timer|one timer) (to|for|at) {t}",
        "(let me know|tell me|beep|ring|alert me|notify me|wake me up|remind me|warn me) (in|after|when) {t}( are over| pass||)",
        "{t} (timer|on the timer|on the clock)( please||)",
        "(can you |could you |please |)time {t}( for me||)",
        "(put|start|set|get) (a |the |)timer (on |going |)(for|to) {t}( will you| please| thanks||)",
        "(count down|count|measure|start the clock for|start counting|start a countdown of|do a countdown of|give me|stop the time for) {t}"
        "( please| for me| from now||)",
        "(i want|i'd like|i would like|i need) to be (reminded|told|called|woken|warned) (in|after) {t}",
        "(in|after) {t} (remind me|tell me|wake me|let me know|give me a signal|ring|beep)( please||)",
        t=length.replace("-", s.rng.choice("- ")),
        u=length if seconds != n * _SECONDS[unit] else f"{number(n)} {unit}",
    )
    if "set_timer" not in s.tools:
        return Turn("no tool", user, "I cannot set a timer here.")
    return Turn("set_timer", user, f"Your timer runs for {length}.", Call("set_timer", {"seconds": seconds}, "ok"))


def stop(s: State) -> Turn | None:
    if "stop" not in s.tools:
        return None
    user = s.say(
        "(please |)(end|stop|finish) (the|this|our) (conversation|call|session|talk)( now| please||)",
        "(hang up|end it here|close the session|disconnect|log me out|leave the call)( now| please||)",
        "(let's|i want to|we can|you may|i would like to) (end|stop|finish|close) (the|this|our) (conversation|call|session|talk|chat)"
        "( here| now||)",
        "(that's the end of|quit|terminate|shut down|cut) (the|this|our) (conversation|call|session|chat)",
        "(you can|you may|let's|please|i'm done|i am finished) (hang up|disconnect|end it|close the call|drop the call|end the call)"
        "( now| then||)",
        "(drop|leave|exit|abort|break off|close) (the|this|our) (conversation|call|session|line|connection|meeting)( now| please||)",
        "(exit|log off|log out|sign off|end call|end session|stop the program|goodbye and hang up|bye hang up)( now| please||)",
    )
    return Turn("stop tool", user, "Goodbye!", Call("stop", {}, "ok"))


def mute_camera(s: State) -> Turn:
    user = s.say(
        "(please |can you |could you |)(turn off|switch off|mute|disable|stop|close) (the|"
        "my) (camera|video)( please| now||)",
        "(turn|switch) (the|my) (camera|video) off( please| now||)",
        "(i want no camera|don't look at me|stop watching me|camera off)( please||)",
        "(i want you to|i'd like you to|could you|would you|you should|can you) (turn|switch|shut) (off (the|my) (camera|video)|"
        "(the|my) (camera|video) off)( please||)",
        "(stop|cut|kill|block|cover|pause) (the|my) (camera|video|picture|webcam)( now||)",
        "(no more|no) (camera|video)( please||)",
        "(turn off|switch off|mute|disable) (the|my) (webcam|picture|video camera)",
        "(cover|close|shut) your (eyes|eye|camera)( now| please||)",
        "i (don't|do not) want (to be (seen|watched|filmed|on camera|on video)|you to (see|watch|look at|film) me)( now| anymore||)",
        "stop (filming|watching|recording|looking at|seeing) (me|us|my room)( now| please||)",
        "(deactivate|shut off|shut down|hide|stop using|end) (the|my|your) (camera|video|webcam|picture|video feed)( now| please||)",
        "(i'd like|i need|i want|give me) (some |a little |)privacy( now| please||)",
    )
    if "mute_camera" not in s.tools:
        return Turn("no tool", user, "I cannot turn the camera off here.")
    return Turn("mute_camera", user, "The camera is off.", Call("mute_camera", {}, "ok"))
