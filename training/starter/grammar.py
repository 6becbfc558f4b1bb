"""Synthetic conversations for the starter chat model. Pure: a seed gives the same conversations everywhere.

A conversation has instructions (those of the built-in pipeline, others, or none), a camera or not, tools or not, and
up to a dozen turns of the intents in :data:`INTENTS`. As in a real request, only the newest message of the user
carries the camera line, so the camera is asked about in the last turn; earlier answers about it are there to be
remembered, not to be learned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from random import Random

import yaml

from pipelines.engines.llm.messages import time_words
from pipelines.interfaces.llm import ChatRequest, Message, ToolCall
from training.starter import grammar_beyond as beyond
from training.starter import grammar_calendar as calendar
from training.starter import grammar_memory as memory
from training.starter import grammar_numbers as numbers
from training.starter import grammar_scene as scenes
from training.starter import grammar_talk as talk
from training.starter import grammar_tools as tools
from training.starter import grammar_words as wordplay
from training.starter.state import Speak, State, Turn

INTENTS: dict[Speak, float] = {
    talk.greeting: 2, talk.farewell: 1.5, talk.thanks: 1.5, talk.how_are_you: 1.5, talk.about: 2, talk.skills: 2,
    talk.hear: 1, talk.mood: 1.5, talk.likes: 1.5, talk.acknowledgement: 1, talk.praise: 1, talk.insult: 1,
    talk.sorry: 0.5, talk.stop: 0.9, talk.joke: 2, talk.riddle: 1, talk.sounds: 0.7, beyond.fallback: 9, beyond.noise: 0.7,
    numbers.sum_: 8, numbers.follow_up: 7, numbers.last_sum: 2.5, numbers.count: 3, numbers.next_number: 2,
    calendar.time: 2, calendar.date: 4, calendar.calendar: 3, wordplay.spell: 4, wordplay.repeat: 3, wordplay.opposite: 2.5,
    wordplay.colour: 2, memory.tell_name: 4, memory.ask_name: 6, memory.tell_fact: 3, memory.ask_fact: 4,
    memory.say_again: 2, memory.what_i_said: 1, memory.what_you_saw: 2, memory.lost: 0.3, scenes.see: 2.5,
    scenes.people: 2, scenes.alone: 0.7, scenes.hand: 2, scenes.facing: 1.5, scenes.thing: 1.5, scenes.looks: 1.2,
    scenes.holding: 0.7, scenes.smiling: 0.7, scenes.gesture: 0.7,
    tools.get_time: 1.5, tools.set_timer: 2, tools.stop: 0.7, tools.mute_camera: 1.2,
}  # fmt: skip
"""What may be said, and how often."""
_SCENE_INTENTS: dict[Speak, float] = {scenes.see: 4.0, scenes.people: 3.0, scenes.alone: 1.0, scenes.hand: 4.0,
                                     scenes.facing: 2.0, scenes.thing: 2.0, scenes.looks: 1.0, scenes.holding: 1.0,
                                     scenes.smiling: 1.5, scenes.gesture: 1.5}  # fmt: skip
_TIME_INTENTS: dict[Speak, float] = {calendar.time: 1.0, calendar.date: 2.0}
_INSTRUCTIONS = (
    "You are visavis, a friendly assistant.",
    "You are a helpful assistant.",
    "Answer in one or two short sentences.",
    "You are visavis, a friendly assistant in a spoken conversation. Answer in one short sentence.",
)
_BEFORE = (
    "so", "so", "okay", "okay so", "now", "and now", "well", "um", "oh", "hey", "please", "please", "i want you to",
    "would you please", "let me ask you", "listen", "i have a question", "all right", "tell me please", "visavis",
    "right", "then", "uh", "er", "yes", "no", "great", "thanks", "hello", "hi", "alright then", "quick question",
    "one more thing", "next question", "just", "actually",
)  # fmt: skip
_ASKS = (
    "i would like to know", "i'd like to know", "could you work out", "can you work out", "could you tell me",
    "would you tell me", "i wonder", "i was wondering", "let me know", "remind me", "please say", "do you happen to know",
    "can you say", "would you say", "just tell me", "my question is", "i'd like you to tell me", "i want you to tell me",
    "be so kind and tell me", "do me a favor and tell me", "any idea", "let's see", "can i ask you", "may i ask",
    "help me out", "would you kindly tell me", "i need to know", "do you know", "figure out", "say", "tell us",
    "can you remember", "could you please tell me", "i forgot", "let's try", "see if you know",
)  # fmt: skip
"""What people put before a question; the recogniser's text does not tell whether its grammar then fits."""
_BIDS = (
    "could you", "would you", "can you", "will you", "i want you to", "i would like you to", "i'd like you to", "please",
    "would you kindly", "could you please", "can you please", "would you mind", "do me a favor and", "try to", "now",
    "let's", "i need you to", "go on and", "go ahead and", "you should", "be so kind and", "may i ask you to",
)  # fmt: skip
_ASKABLE = frozenset(
    ("sum", "last sum", "next number", "time", "date", "calendar", "opposite", "colour", "ask name", "ask fact",
     "what I said", "what you saw", "see", "people", "hand", "facing", "thing", "looks", "sounds", "get_time")
)  # fmt: skip
_FILLERS = (
    "uh",
    "um",
    "like",
    "you know",
    "just",
    "really",
    "actually",
    "exactly",
    "maybe",
    "well",
    "so",
    "the",
    "then",
)
_AFTER = (
    "then",
    "then",
    "please",
    "now",
    "again",
    "for me",
    "my friend",
    "if you can",
    "do you think",
    "today",
    "right now",
)
"""What people put around anything they say."""

Mishear = Callable[[str, Random, float], str]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation as messages. ``learned`` are the indexes of the messages that are learned from."""

    request: ChatRequest
    learned: frozenset[int]
    intents: tuple[str, ...]


@cache
def instructions() -> str:
    """The instructions of the built-in pipeline."""
    text = files("pipelines.definitions").joinpath("voice-assistant.yaml").read_text(encoding="utf-8")
    stages = yaml.safe_load(text)["pipelines"][0]["stages"]
    return str(next(stage for stage in stages if stage["id"] == "think")["options"]["instructions"])


def dialogue(rng: Random, mishear: Mishear | None = None, *, late: bool = False) -> Dialogue:
    """The next conversation of ``rng``; ``mishear`` corrupts some of what the user says.

    In the ``late`` part of the training most are told the time, as requests of this server are.
    """
    state = State(rng)
    if rng.random() < 0.5:
        state.now = datetime(2024, 1, 1) + timedelta(minutes=rng.randrange(6 * 365 * 24 * 60))
    if rng.random() < 0.25:
        names = [tool.name for tool in tools.TOOLS]
        state.tools = tuple(name for name in names if rng.random() < 0.8)
    camera = rng.random() < 0.5
    state.told_time = state.now is not None and rng.random() < 0.6
    if late and state.now is None and rng.random() < 0.6:
        state.now, state.told_time = datetime(2024, 1, 1) + timedelta(minutes=rng.randrange(6 * 365 * 24 * 60)), True
    wanted = rng.choice([1, 2, 3, 4, 6, 8, 10, 12, 12, 14])
    for n in range(wanted):
        last = n == wanted - 1
        state.scene = scenes.scene(rng) if camera else ""
        table = INTENTS
        if last and rng.random() < (0.35 if late and not camera else 0.6):
            table = _SCENE_INTENTS if camera else _TIME_INTENTS if state.told_time and not state.tools else INTENTS
        turn = styled(rng, next_turn(state, table))
        state.turns.append(turn)
    return as_messages(state, camera, mishear)


def next_turn(state: State, table: Mapping[Speak, float]) -> Turn:
    """A turn of one of the intents of ``table`` that makes sense now."""
    while True:
        speak = state.rng.choices(list(table), list(table.values()))[0]
        turn = speak(state)
        if turn is not None:
            return turn


def styled(rng: Random, turn: Turn) -> Turn:
    """What the user said in the hand of a recogniser: bare words, or a sentence with its signs."""
    user, dice = turn.user, rng.random()
    if dice < 0.2:
        user = f"{rng.choice(_BEFORE)} {user}"
    elif dice < 0.35 and turn.intent in _ASKABLE:
        user = f"{rng.choice(_ASKS)} {user}"
    elif dice < 0.35 and turn.bid:
        user = f"{rng.choice(_BIDS)} {user}"
    if rng.random() < 0.2 and not turn.keep:
        user = f"{user} {rng.choice(_AFTER)}"
    if rng.random() < 0.12 and not turn.keep:
        words = user.split()
        words.insert(rng.randint(0, len(words)), rng.choice(_FILLERS))
        user = " ".join(words)
    if rng.random() < 0.6:
        return replace(turn, user=user.lower())
    user = user[0].upper() + user[1:]
    user = " ".join("I" + word[1:] if word.split("'")[0] == "i" else word for word in user.split())
    asks = user.split()[0].lower() in (
        "what", "what's", "who", "who's", "how", "which", "where", "when", "why", "is", "are", "am", "do", "does",
        "did", "can", "could", "have", "has", "will", "should", "was",
    )  # fmt: skip
    return replace(turn, user=user + ("?" if asks else rng.choice([".", ".", "!", ""])))


def as_messages(state: State, camera: bool, mishear: Mishear | None, instructed: bool = True) -> Dialogue:
    """The turns of ``state`` as a request with its answers."""
    rng = state.rng
    messages: list[Message] = []
    learned: set[int] = set()
    system = rng.choices([instructions(), rng.choice(_INSTRUCTIONS), ""], [0.5, 0.2, 0.3])[0] if instructed else ""
    if state.now is not None and not state.told_time:
        system = f"{system} {calendar.now_line(state.now)}".strip()
    if system:
        messages.append(Message("system", system))
    for n, turn in enumerate(state.turns):
        last = n == len(state.turns) - 1
        user = turn.user
        following = state.turns[n + 1].intent if not last else ""
        keep = turn.keep or following == "what I said"
        if mishear is not None and not keep and rng.random() < 0.5:
            user = mishear(user, rng, rng.choice([0.5, 1.0]))
        if rng.random() < 0.03 and not keep:
            user = f"{rng.choice(['hello', 'um', 'hey', 'visavis', 'well', 'so'])}\n{user}"
        messages.append(Message("user", user))
        learns = last or not ((turn.seen and camera) or (turn.timed and state.told_time))
        if turn.call is not None:
            call = ToolCall(f"call_{n}", turn.call.name, _json(turn.call.arguments))
            learned.add(len(messages))
            messages.append(Message("assistant", "", tool_calls=(call,)))
            messages.append(Message("tool", turn.call.result, tool_call_id=call.id))
        answer = turn.answer
        if not last and rng.random() < 0.06 and following not in ("say again", "what you saw", "last sum", "sum"):
            words = answer.split()
            answer, learns = f"{' '.join(words[: rng.randint(1, len(words))])} —", False
        if learns:
            learned.add(len(messages))
        messages.append(Message("assistant", answer))
    offered = tuple(tool for tool in tools.TOOLS if tool.name in state.tools)
    scene = state.scene if camera else ""
    now = time_words(state.now) if state.now is not None and state.told_time else ""
    request = ChatRequest(tuple(messages), tools=offered, scene=scene, time=now)
    return Dialogue(request, frozenset(learned), tuple(turn.intent for turn in state.turns))


def _json(arguments: object) -> str:
    return json.dumps(arguments)
