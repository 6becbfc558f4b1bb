"""Conversational situations, scripted on a fake clock, each with the exact decisions expected.

A script is words separated by ``|``; see :data:`VERBS` for what can happen. Decisions are written with the letters of
:data:`LETTERS`. Situations that need a recogniser, a model and a voice follow at the end, on fake engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipelines.voice.endpointing import Evidence
from pipelines.voice.events import (
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    ResponseWords,
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    UserTurn,
)
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.turn import (
    DuckResponse,
    RestoreResponse,
    TurnBegan,
    TurnConfirmed,
    TurnContinued,
    TurnDropped,
    TurnEnded,
    TurnMachine,
    TurnMode,
    TurnPaused,
    TurnResumed,
    TurnSettings,
    TurnShelved,
)
from pipelines.voice.vad import Segmenter
from tests.pipelines.voice.test_conversation import Scene, scene, settle

WINDOW = 0.032
LETTERS = {
    TurnBegan: "B",
    TurnPaused: "p",
    TurnResumed: "r",
    TurnEnded: "E",
    TurnShelved: "s",
    TurnContinued: "g",
    TurnDropped: "X",
    DuckResponse: "d",
    RestoreResponse: "u",
}
"""How decisions are written; a confirmation is ``C``, or ``I`` when it interrupts a reply."""


class Stage:
    """Carries out a script on a segmenter and a machine."""

    def __init__(self, words: bool = True, **settings: Any) -> None:
        self.machine = TurnMachine(TurnSettings(**settings), expect_words=words)
        self.segmenter = Segmenter()
        self.now = 0.0
        self.log: list[object] = []
        self.floor = 1.0

    def play(self, script: str) -> Stage:
        for line in script.split("|"):
            verb, *arguments = line.split(maxsplit=1)
            VERBS[verb](self, *arguments)
        return self

    def sound(self, seconds: float, probability: float, level: float) -> None:
        for _ in range(round(seconds / WINDOW)):
            start, self.now = self.now, self.now + WINDOW
            voice = self.segmenter.process(probability, max(level, self.floor), start, self.now)
            self.take([] if voice is None else self.machine.voice(voice))
            self.take(self.machine.tick(self.now))

    def take(self, decisions: list[Any]) -> None:
        self.log += decisions
        if any(isinstance(decision, TurnEnded | TurnDropped) for decision in decisions):
            self.segmenter.forget_tail()

    def replies(self, active: bool) -> None:
        self.machine.responding = active

    @property
    def decisions(self) -> str:
        confirmed = {True: "I", False: "C"}
        return "".join(confirmed[d.interrupts] if isinstance(d, TurnConfirmed) else LETTERS[type(d)] for d in self.log)

    def delay(self) -> float:
        """Seconds from the last voice to the end of the last turn."""
        ended = [d for d in self.log if isinstance(d, TurnEnded)][-1]
        return ended.decided - ended.speech_end


VERBS: dict[str, Callable[..., None]] = {
    "say": lambda s, t: s.sound(float(t), 0.95, 1000),
    "whisper": lambda s, t: s.sound(float(t), 0.6, 45),
    "hush": lambda s, t: s.sound(float(t), 0.02, 1),
    "mute": lambda s, t: s.sound(float(t), 0.0, 0),  # silence made up by the media layer
    "cough": lambda s: s.sound(0.23, 0.8, 4000),
    "laugh": lambda s: [s.sound(0.16, 0.7, 2500) or s.sound(0.13, 0.1, 300) for _ in range(2)] and None,
    "slam": lambda s: s.sound(0.064, 0.6, 9000),
    "key": lambda s: s.sound(0.032, 0.3, 800) or s.sound(0.13, 0.02, 1),
    "echo": lambda s, t: s.sound(float(t), 0.7, 150),
    "noise": lambda s, t: s.sound(float(t), 0.02, 300),
    "fan": lambda s, level: setattr(s, "floor", float(level)),
    "reply": lambda s: s.replies(True),
    "reply-ends": lambda s: s.replies(False),
    "words": lambda s, text: s.take(s.machine.words(text)),
    "text": lambda s, text="": s.machine.judge(Evidence(text=text)),
    "detector": lambda s, p: s.machine.judge(Evidence(sound=float(p))),
    "commit": lambda s: s.take(s.machine.commit(s.now)),
    "clear": lambda s: s.take(s.machine.clear(s.now)),
}


@dataclass(frozen=True)
class Situation:
    name: str
    script: str
    expected: str
    delay: float | None = None
    """Seconds from the last voice to the last decision to end, to within a window."""
    settings: dict[str, Any] = field(default_factory=dict)


S = Situation
FIXED: dict[str, Any] = {"mode": TurnMode.SERVER_VAD, "silence_seconds": 0.5}
MANUAL: dict[str, Any] = {"mode": TurnMode.MANUAL}
DEAF: dict[str, Any] = {"words": False}

SENTENCES = [
    S("plain sentence", "hush 1|say 1.5|hush 1", "BCpE", 0.6),
    S("judged complete", "say 1.5|hush 0.1|detector 0.98|hush 1", "BCpE", 0.125),
    S("judged nearly surely complete", "say 1.5|hush 0.1|detector 0.92|hush 1", "BCpE", 0.21),
    S("judged undecided", "say 1.5|hush 0.1|detector 0.7|hush 1", "BCpE", 0.6),
    S("judged incomplete", "say 1.5|hush 0.1|detector 0.02|hush 1.3", "BCpE", 1.26),
    S(
        "hesitation",
        "say 0.4|hush 0.1|text um|detector 0.1|hush 0.7|say 1|hush 0.1|detector 0.98|hush 1",
        "BCprpE",
        0.125,
    ),
    S("self-correction", "say 1|hush 0.1|text at five no|detector 0.3|hush 0.5|say 0.8|hush 1", "BCprpE", 0.6),
    S("trailing conjunction", "say 1|hush 0.1|text tea and|detector 0.97|hush 0.6|say 0.5|hush 1", "BCprpE", 0.6),
    S("trailing conjunction, left so", "say 1|hush 0.1|text tea and|detector 0.97|hush 1.3", "BCpE", 0.94),
    S("a finished text leaves the judgement", "say 1|hush 0.1|text tea please|detector 0.97|hush 1", "BCpE", 0.125),
    S("number", "say 1|hush 0.1|text one two three|hush 0.6|say 0.8|hush 0.1|text it is ten|hush 1", "BCprpE", 0.6),
    S(
        "phone number",
        "say 1|hush 0.1|text five five five|detector 0.96|hush 0.6|say 1|hush 0.1|text five five five one two"
        "|detector 0.9|hush 0.6|say 1|hush 0.1|text call me there|detector 0.97|hush 1",
        "BCprprpE",
        0.125,
    ),
    S("spelling", "say 0.3|hush 0.4|say 0.3|hush 0.4|say 0.3|hush 0.4|say 0.3|hush 1", "BCprprprpE", 0.6),
    S("list", "say 0.5|hush 0.45|say 0.5|hush 0.45|say 0.5|hush 0.1|detector 0.97|hush 1", "BCprprpE", 0.125),
    S("very short yes", "hush 1|say 0.26|hush 0.1|detector 0.97|hush 1", "BCpE", 0.125),
    S("very short no, not judged", "hush 1|say 0.26|hush 1", "BCpE", 0.6),
    S("whisper", "hush 2|whisper 1.5|hush 1", "BCpE", 0.6),
    S(
        "two quick turns",
        "say 1|hush 0.1|detector 0.98|hush 0.1|say 1|hush 0.1|detector 0.98|hush 1",
        "BCpE" * 2,
        0.125,
    ),
    S("monologue", "say 62|hush 1", "BCEBCpE", 0.6),
    S("silence for a minute", "hush 60", ""),
    S("muted in mid-sentence", "say 1|mute 2", "BCpE", 0.6),
    S("muted briefly", "say 1|mute 0.4|say 1|hush 1", "BCprpE", 0.6),
    S("muted in mid-sentence, judged incomplete", "say 1|mute 0.1|detector 0.05|mute 2", "BCpE", 1.23),
]
PAUSES = [
    S("stop consonant", "say 0.5|hush 0.032|say 0.5|hush 1", "BCpE", 0.6),
    S("resumed just before the end", "say 1|hush 0.544|say 1|hush 1", "BCprpE", 0.6),
    S("resumed as the end falls due", "say 1|hush 0.576|say 0.032|hush 1", "BCprpE", 0.6),
    S("resumed just after the end", "say 1|hush 0.64|say 1|hush 1", "BCpEBCpE", 0.6),
    S("resumed by a short word", "say 1|hush 0.3|say 0.064|hush 1", "BCprpE", 0.6),
    S("detector late", "say 1|hush 0.7|detector 0.02|hush 1", "BCpE", 0.6),
    S("detector late, the next turn is under way", "say 1|hush 0.7|say 1|detector 0.02|hush 1", "BCpEBCpE", 0.6),
    S("detector takes long", "say 1|hush 0.35|detector 0.98|hush 1", "BCpE", 0.36),
    S(
        "detector changes its mind to complete",
        "say 1|hush 0.1|detector 0.1|hush 0.3|detector 0.97|hush 1",
        "BCpE",
        0.41,
    ),
    S(
        "detector changes its mind to incomplete",
        "say 1|hush 0.1|detector 0.75|hush 0.3|detector 0.1|hush 1",
        "BCpE",
        1.18,
    ),
    S("judgement of an earlier pause", "say 1|hush 0.1|detector 0.98|say 1|hush 1", "BCprpE", 0.6),
    S("background begins in the pause", "hush 4|say 1|hush 0.1|noise 2", "BCpE", 0.6),
    S("noisy background", "fan 200|hush 4|say 1.5|hush 1", "BCpE", 0.6),
    S("noisy background, short pause", "fan 200|hush 4|say 1|hush 0.4|say 1|hush 1", "BCprpE", 0.6),
    S("door slam in silence", "hush 2|slam|hush 2", ""),
    S("typing in silence", "hush 2|key|key|key|key|key|hush 1", ""),
    S("typing in a pause", "say 1|hush 0.1|key|key|hush 1", "BCpE", 0.6),
    S("typing after the end", "say 1|hush 0.1|detector 0.98|hush 0.1|key|key|key|hush 1", "BCpE", 0.125),
]
DURING_REPLY = [
    S("mhm", "reply|hush 1|say 0.4|text mhm|hush 1", "BdpuX"),
    S("mhm the recogniser does not know", "reply|hush 1|say 0.4|text|hush 1", "BdpuX"),
    S("yeah", "reply|hush 1|say 0.3|words yeah|hush 0.1|text yeah|hush 1", "BdpuX"),
    S("right, drawn out", "reply|hush 1|say 0.3|words right|say 0.35|hush 0.1|text right|hush 1", "BdpuX"),
    S("uh huh", "reply|hush 1|say 0.2|hush 0.1|say 0.2|hush 0.1|text uh huh|hush 1", "BdprpuX"),
    S("mhm twice", "reply|hush 1|say 0.3|hush 0.1|text mhm|hush 0.3|say 0.3|hush 0.1|text mhm|hush 1", "BdpuXBdpuX"),
    S("mhm, words not known in time", "reply|hush 1|say 0.4|hush 1", "BdpuX"),
    S("yeah but", "reply|hush 1|say 0.3|words yeah|say 0.2|words yeah but|say 0.3|hush 1", "BdIpE", 0.6),
    S("stop", "reply|hush 1|say 0.3|words stop|say 0.1|reply-ends|hush 1", "BdIpE", 0.6),
    S(
        "stop, known only in the pause",
        "reply|hush 1|say 0.35|hush 0.1|text stop|hush 0.032|reply-ends|hush 1",
        "BdpIE",
        0.6,
    ),
    S(
        "question",
        "reply|hush 1|say 0.35|words what is|reply-ends|say 0.8|hush 0.1|detector 0.97|hush 1",
        "BdIpE",
        0.125,
    ),
    S("words nobody understands", "reply|hush 1|say 0.9|reply-ends|hush 1", "BdIpE", 0.6),
    S("cough", "reply|hush 1|cough|hush 0.1|text|hush 1", "BdpuX"),
    S("laughter", "reply|hush 1|laugh|hush 0.2|text|hush 1", "BdpuX"),
    S("slam", "reply|hush 1|slam|hush 1", ""),
    S("typing", "reply|hush 1|key|key|key|key|hush 1", ""),
    S("echo of our own voice", "reply|hush 1|echo 0.5|hush 0.1|text|hush 1", "BdpuX"),
    S("double talk", "reply|hush 1|say 0.5|words i see|say 0.25|reply-ends|hush 0.4|say 1|hush 1", "BdIprpE", 0.6),
    S("in its first 200 ms", "hush 1|reply|hush 0.1|say 0.3|words no|reply-ends|say 0.3|hush 1", "BdIpE", 0.6),
    S("the reply ends meanwhile", "reply|hush 1|say 0.2|reply-ends|say 0.3|hush 1", "BdCpE", 0.6),
    S(
        "the reply ends in the doubt",
        "reply|hush 1|say 0.3|hush 0.1|reply-ends|text yes please now|hush 1",
        "BdpCE",
        0.6,
    ),
    S("talking as the reply begins", "say 0.3|reply|say 0.7|hush 1", "BCpE", 0.6),
    S("may not interrupt", "reply|hush 1|say 1|hush 1", "BCpE", 0.6, {"interrupt_response": False}),
    S("cleared", "reply|hush 1|say 0.2|clear|hush 1", "BduX"),
    S("committed while in doubt", "reply|hush 1|say 0.3|hush 0.1|commit|hush 1", "BdpIE"),
    S("no words expected: lasting voice", "reply|hush 1|say 0.3|reply-ends|hush 1", "BdIpE", 0.6, DEAF),
    S("no words expected: cough", "reply|hush 1|say 0.128|hush 1", "BduX", None, DEAF),
]
MODES = [
    S("fixed silence", "say 1|hush 1", "BCpE", 0.5, FIXED),
    S("fixed silence heeds no judgement", "say 1|hush 0.1|detector 0.99|hush 1", "BCpE", 0.5, FIXED),
    S("fixed silence heeds no words", "say 1|hush 0.1|text tea and|hush 1", "BCpE", 0.5, FIXED),
    S("manual: nothing ends it", "say 1|hush 0.1|detector 0.99|hush 5|say 1|hush 5", "BCpsgps", None, MANUAL),
    S("manual: commit", "say 1|hush 3|commit|hush 1", "BCpsE", None, MANUAL),
    S("manual: commit of nothing", "hush 1|commit|hush 1", "", None, MANUAL),
    S("manual: clear", "say 1|hush 0.9|clear|commit", "BCpX", None, MANUAL),
    S("manual: nothing is interrupted", "reply|hush 1|say 2|hush 0.5|commit", "BCpE", None, MANUAL),
    S("manual: pressed after the first word", "say 1|clear|say 1|hush 0.5|commit", "BCXBCpE", None, MANUAL),
    S("commit in a sentence", "say 1|commit|say 0.5|hush 1", "BCEBCpE", 0.6),
    S("clear in a sentence", "say 1|clear|hush 1|say 1|hush 1", "BCXBCpE", 0.6),
    S("the answer is the client's business", "say 1|hush 1", "BCpE", 0.6, {"create_response": False}),
]


@pytest.mark.parametrize(
    "situation", [*SENTENCES, *PAUSES, *DURING_REPLY, *MODES], ids=lambda situation: situation.name
)
def test_situation(situation: Situation):
    stage = Stage(**situation.settings).play(situation.script)
    assert stage.decisions == situation.expected
    if situation.delay is not None:
        assert situation.delay - 0.001 <= stage.delay() <= situation.delay + 0.033


def test_without_words_voice_interrupts_within_a_quarter_second():
    stage = Stage(words=False).play("reply|hush 1|say 0.192")
    assert stage.decisions == "BdI"


def test_with_words_expected_voice_alone_takes_longer():
    assert Stage().play("reply|hush 1|say 0.64").decisions == "Bd"
    assert Stage().play("reply|hush 1|say 0.736").decisions == "BdI"


# ---------------------------------------------------------------------------------------------------- whole

STORY = "Once upon a time there was a king."


async def answered(s: Scene) -> None:
    """The user asks for a story and has heard 0.8 s of it: "Once upon a"."""
    await s.say(1.0)
    await s.hush(0.8)
    s.out.playouts[0].play(0.8)
    await settle()
    s.events.clear()


async def test_resumed_before_the_reply_was_prepared_leaves_no_trace():
    async with scene("i would like some tea") as s:
        s.stt.gate.clear()
        await s.say(1.0)
        await s.hush(0.3)
        await s.say(0.5)
        assert s.llm.requests == []
        assert s.kinds() == [SpeechStarted]
        s.stt.gate.set()
        await s.hush(0.8)
        assert len(s.llm.requests) == 1
        assert [e.text for e in s.events if isinstance(e, UserTurn)] == ["i would like some tea"]


async def test_resumed_after_the_reply_was_prepared_leaves_no_trace():
    async with scene("i would like some tea", answers=("Nothing of this.", "Here you are.")) as s:
        await s.say(1.0)
        await s.hush(0.4)
        assert len(s.llm.requests) == 1
        assert s.out.prepared == 1
        await s.say(0.5)
        assert s.kinds() == [SpeechStarted]
        assert s.remembered == [] and s.out.playouts == []
        await s.hush(0.8)
        assert len(s.llm.requests) == 2
        told = s.kinds(ResponseWords)
        assert told == [SpeechStarted, SpeechStopped, UserTurn, ResponseStarted, ResponseText, ResponseGenerated]
        assert s.last(ResponseText).text == "Here you are."
        assert len(s.conversation.history.items) == 2
        assert all("Nothing" not in m.content for m in s.llm.requests[1].messages)


async def test_a_pause_asks_the_model_once():
    async with scene("what is the time") as s:
        await s.say(1.0)
        await s.hush(3.0)
        assert len(s.llm.requests) == 1


async def test_mhm_costs_nothing_and_is_not_remembered():
    async with scene("a story please", "mhm", "yeah", answers=(STORY,)) as s:
        await answered(s)
        for _ in range(2):
            await s.say(0.4)
            await s.hush(1.0)
        assert not {SpeechStarted, ResponseInterrupted, UserTurn} & set(s.kinds())
        assert s.out.ducks[-1] == 0
        assert len(s.llm.requests) == 1
        s.out.playouts[0].play(9)
        await settle()
        assert s.remembered == [("user", "a story please"), ("assistant", STORY)]


@pytest.mark.parametrize("seconds", [0.16, 0.4])
async def test_a_single_stop_interrupts(seconds: float):
    async with scene("a story please", "stop", answers=(STORY, "Okay.")) as s:
        await answered(s)
        await s.say(seconds)
        await s.hush(0.2)
        assert s.last(ResponseInterrupted).heard == "Once upon a"
        assert s.remembered[1] == ("assistant", "Once upon a")
        await s.hush(0.8)
        assert s.last(UserTurn).text == "stop"
        assert len(s.llm.requests) == 2


async def test_interrupted_after_generation_but_before_the_voice_has_ended():
    async with scene("a story please", "what king", answers=(STORY, "A good one.")) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert ResponseGenerated in s.kinds()
        s.out.playouts[0].play(1.2)
        await settle()
        await s.say(0.6)
        assert s.last(ResponseInterrupted).heard == "Once upon a time there"
        await s.hush(0.8)
        assert s.llm.requests[-1].messages[-2].content == "Once upon a time there —"


async def test_interrupted_in_the_first_moment_no_word_is_remembered():
    async with scene("a story please", "no wait", answers=(STORY, "Yes?")) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(0.1)
        await settle()
        await s.say(0.6)
        assert s.last(ResponseInterrupted).heard == ""
        assert s.remembered == [("user", "a story please"), ("assistant", "")], "its client knows of it, and may ask"
        await s.hush(0.8)
        assert "assistant" not in [message.role for message in s.llm.requests[-1].messages]


async def test_a_recogniser_without_partials_is_interrupted_by_length():
    async with scene("a story please", "", answers=(STORY,)) as s:
        s.conversation._machine.expect_words = False
        await answered(s)
        await s.say(0.26)
        assert ResponseInterrupted in s.kinds()


async def test_committed_by_hand_nothing_is_prepared_before():
    manual = ConversationSettings(turn=TurnSettings(TurnMode.MANUAL))
    async with scene("what is the time", settings=manual) as s:
        await s.say(1.0)
        await s.hush(2.0)
        assert s.kinds() == []
        assert s.conversation.commit()
        await settle()
        assert s.kinds() == [SpeechStopped, UserTurn]
        assert s.last(SpeechStopped).detected is False
        assert s.llm.requests == []  # asking is the client's business, too
        s.conversation.respond()
        await settle()
        assert len(s.llm.requests) == 1
        assert s.last(ResponseStarted)


async def test_cleared_speech_is_neither_told_nor_answered():
    async with scene("what is the time") as s:
        await s.say(1.0)
        s.conversation.clear()
        await s.hush(2.0)
        assert s.llm.requests == [] and s.remembered == []
        assert s.kinds() == [SpeechStarted, SpeechDropped]
