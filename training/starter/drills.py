"""Conversations about one kind of thing: from these a model learns soonest what must be right to the letter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal

from pipelines.interfaces.llm import ChatRequest, Message
from training.starter import grammar_beyond as beyond
from training.starter import grammar_calendar as calendar
from training.starter import grammar_memory as memory
from training.starter import grammar_numbers as numbers
from training.starter import grammar_scene as scenes
from training.starter import grammar_talk as talk
from training.starter import grammar_tools as tools
from training.starter import grammar_words as wordplay
from training.starter.grammar import Dialogue, Mishear, as_messages, next_turn, styled
from training.starter.state import Speak, State
from training.starter.words import any_word


@dataclass(frozen=True, slots=True)
class Drill:
    """What is talked about and how often, in the first part of the training and in the rest."""

    intents: dict[Speak, float]
    early: float
    late: float
    setting: Literal["", "clock", "told", "tools", "camera"] = ""


_DRILLS = (
    Drill({numbers.sum_: 5.0, numbers.follow_up: 5.0, numbers.last_sum: 0.4}, 8.0, 7.0),
    Drill({wordplay.spell: 3.0, wordplay.repeat: 2.0}, 4.0, 4.0),
    Drill({numbers.count: 4.0, numbers.next_number: 2.0, calendar.calendar: 1.0}, 2.5, 2.5),
    Drill({calendar.time: 1.5, calendar.date: 2.5, tools.set_timer: 2.0}, 2.0, 2.0, "clock"),
    Drill(
        {memory.tell_name: 2.0, memory.ask_name: 3.0, memory.tell_fact: 3.0, memory.ask_fact: 4.0,
         memory.say_again: 1.0, numbers.sum_: 1.0, numbers.last_sum: 1.0, scenes.see: 0.5, memory.what_you_saw: 0.5,
         wordplay.spell: 0.5}, 2.5, 3.0,
    ),
    Drill(
        {memory.say_again: 2.0, memory.what_i_said: 1.0, numbers.sum_: 2.0, numbers.follow_up: 1.0,
         numbers.last_sum: 2.0, talk.joke: 1.0, wordplay.colour: 1.0, talk.praise: 1.0, talk.sorry: 0.5,
         talk.mood: 1.0, talk.farewell: 0.5}, 0.0, 2.5,
    ),
    Drill(
        {wordplay.opposite: 3.0, wordplay.colour: 1.0, talk.sounds: 1.0, calendar.calendar: 2.0,
         numbers.next_number: 2.0}, 0.0, 2.5,
    ),
    Drill({calendar.time: 1.0, calendar.date: 2.5}, 0.0, 2.5, "told"),
    Drill(
        {tools.get_time: 2.0, tools.set_timer: 4.0, tools.stop: 1.5, tools.mute_camera: 1.5, calendar.time: 0.5,
         talk.joke: 0.3, numbers.sum_: 0.5, beyond.fallback: 0.5, talk.stop: 0.3}, 0.0, 4.0, "tools",
    ),
    Drill(
        {scenes.see: 1.5, scenes.people: 1.0, scenes.alone: 0.5, scenes.hand: 2.0, scenes.facing: 2.0,
         scenes.thing: 4.0, scenes.holding: 1.5, scenes.smiling: 1.0, scenes.gesture: 1.0, scenes.looks: 0.5,
         memory.what_you_saw: 1.0}, 0.0, 9.0, "camera",
    ),
)  # fmt: skip


def drill(rng: Random, mishear: Mishear | None = None, *, late: bool = False) -> Dialogue:
    """The next drill of ``rng``, of the first part of the training or of the ``late`` one."""
    if rng.random() < 0.15:
        return _copying(rng)
    chosen = rng.choices(_DRILLS, [each.late if late else each.early for each in _DRILLS])[0]
    state = State(rng)
    if chosen.setting:
        _prepare(state, chosen.setting, late)
    turns = rng.randint(3, 10) if chosen.setting in ("", "clock") else rng.choice([1, 1, 2, 3])
    camera = chosen.setting == "camera"
    if camera and rng.random() < 0.6:
        turns = 1  # of the camera only the last answer is learned: short talks teach more of it
    for _ in range(turns):
        state.scene = scenes.scene(rng) if camera else ""
        state.turns.append(styled(rng, next_turn(state, chosen.intents)))
    return as_messages(state, camera, mishear, rng.random() < (0.4 if camera else 1.0 if chosen.setting else 0.2))


def _prepare(state: State, setting: str, late: bool) -> None:
    rng = state.rng
    if setting in ("clock", "told") or rng.random() < 0.5:
        state.now = datetime(2024, 1, 1) + timedelta(minutes=rng.randrange(6 * 365 * 24 * 60))
        state.told_time = setting != "clock"
    if setting == "clock":
        state.tools = rng.choice([(), ("set_timer",), ("set_timer", "stop")])
    elif setting == "tools":
        names = [tool.name for tool in tools.TOOLS]
        state.tools = tuple(name for name in names if rng.random() < 0.8) or ("stop",)


def _copying(rng: Random) -> Dialogue:
    words = " ".join(any_word(rng) for _ in range(rng.randint(2, 7)))
    asked = f"{rng.choice(['say', 'repeat', 'repeat after me'])} {words}"
    messages = (Message("user", asked), Message("assistant", f"{words.capitalize()}."))
    return Dialogue(ChatRequest(messages), frozenset({1}), ("repeat",))
