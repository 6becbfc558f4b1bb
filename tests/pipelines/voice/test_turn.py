"""Turn-taking on a fake clock: scripted situations with the decision expected for each."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.voice.endpointing import Evidence, is_backchannel, pause_needed, trails_off
from pipelines.voice.turn import (
    DuckResponse,
    Eagerness,
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
    eager,
)
from pipelines.voice.vad import Segmenter, SegmenterSettings, VoicePaused, VoiceStarted

WINDOW = 0.032


class Stage:
    """Plays a script of voice and silence through segmenter and machine, and notes what was decided and when."""

    def __init__(self, **settings: Any) -> None:
        self.machine = TurnMachine(TurnSettings(**settings), expect_words=True)
        self.segmenter = Segmenter()
        self.now = 0.0
        self.log: list[object] = []

    def say(self, seconds: float, probability: float = 0.95) -> Stage:
        for _ in range(round(seconds / WINDOW)):
            start, self.now = self.now, self.now + WINDOW
            voice = self.segmenter.process(probability, 1000.0 if probability > 0.5 else 1.0, start, self.now)
            if voice is not None:
                self.log += self.machine.voice(voice)
            self.log += self.machine.tick(self.now)
        return self

    def hush(self, seconds: float) -> Stage:
        return self.say(seconds, 0.02)

    def responding(self) -> Stage:
        self.machine.responding = True
        return self

    def reply_ends(self) -> Stage:
        self.machine.responding = False
        return self

    def heard(self, text: str) -> Stage:
        self.log += self.machine.words(text)
        return self

    @property
    def kinds(self) -> list[type]:
        """The decisions but for pauses within a turn."""
        return [type(decision) for decision in self.log if not isinstance(decision, TurnPaused | TurnResumed)]


def test_a_sentence_is_a_turn():
    stage = Stage().hush(1).say(1.5).hush(1)
    assert stage.kinds == [TurnBegan, TurnConfirmed, TurnEnded]
    began, confirmed, _, ended = stage.log
    assert began.time == pytest.approx(1.0 - 0.3, abs=WINDOW)
    assert confirmed == TurnConfirmed(False)
    assert ended.speech_end == pytest.approx(2.5, abs=0.05)
    assert ended.decided - ended.speech_end == pytest.approx(0.6, abs=WINDOW)


def test_preroll_does_not_begin_before_the_call():
    stage = Stage().say(0.5)
    assert stage.log[0] == TurnBegan(0.0)


def test_a_click_is_nothing():
    assert Stage().hush(1).say(0.064).hush(2).log == []


def test_a_short_pause_does_not_end_the_turn():
    stage = Stage().say(1).hush(0.5).say(1).hush(1)
    assert stage.kinds == [TurnBegan, TurnConfirmed, TurnEnded]


def test_a_long_pause_makes_two_turns():
    stage = Stage().say(1).hush(1).say(1).hush(1)
    assert stage.kinds == [TurnBegan, TurnConfirmed, TurnEnded] * 2


def test_the_pause_that_ends_a_turn_is_a_setting():
    assert TurnEnded in Stage(silence_seconds=0.3).say(1).hush(0.45).kinds
    assert TurnEnded not in Stage(silence_seconds=1.2).say(1).hush(0.9).kinds


def test_silence_for_a_minute_is_nothing():
    assert Stage().hush(60).log == []


def test_an_endless_talker_is_cut_into_turns_without_losing_any():
    stage = Stage(longest_turn_seconds=5).say(11).hush(1)
    assert stage.kinds == [TurnBegan, TurnConfirmed, TurnEnded] * 3
    ends = [d.decided for d in stage.log if isinstance(d, TurnEnded)]
    begins = [d.time for d in stage.log if isinstance(d, TurnBegan)]
    assert begins[1:] == pytest.approx(ends[:-1])


def test_interruption_ducks_at_once_and_is_confirmed_by_lasting():
    stage = Stage().responding().hush(1).say(0.15)
    assert stage.kinds == [TurnBegan, DuckResponse]
    stage.say(0.6)
    assert stage.log[2] == TurnConfirmed(True)
    assert stage.kinds == [TurnBegan, DuckResponse, TurnConfirmed]


def test_a_cough_brings_the_reply_back():
    stage = Stage().responding().hush(1).say(0.2).hush(1)
    assert stage.kinds == [TurnBegan, DuckResponse, RestoreResponse, TurnDropped]
    assert not stage.machine.hearing


def test_a_word_confirms_an_interruption_early():
    stage = Stage().responding().hush(1).say(0.2).heard("stop")
    assert stage.log[-1] == TurnConfirmed(True)


@pytest.mark.parametrize("text", ["mhm", "yeah", "uh huh", "right", "", "oh okay"])
def test_a_backchannel_does_not(text):
    stage = Stage().responding().hush(1).say(0.2).heard(text)
    assert stage.kinds == [TurnBegan, DuckResponse]


def test_the_reply_ends_while_it_is_unclear():
    stage = Stage().responding().hush(1).say(0.15).reply_ends().say(0.5).hush(1)
    assert stage.kinds == [TurnBegan, DuckResponse, TurnConfirmed, TurnEnded]
    assert stage.log[2] == TurnConfirmed(False)


def test_speech_that_may_not_interrupt_is_a_turn_all_the_same():
    stage = Stage(interrupt_response=False).responding().hush(1).say(1).hush(1)
    assert stage.kinds == [TurnBegan, TurnConfirmed, TurnEnded]
    assert stage.log[1] == TurnConfirmed(False)


def test_commit_ends_the_turn_now():
    stage = Stage().say(1)
    decisions = stage.machine.commit(stage.now)
    assert isinstance(decisions[0], TurnEnded)
    assert decisions[0].speech_end == stage.now


def test_commit_without_speech_is_nothing():
    assert Stage().hush(1).machine.commit(1.0) == []


def test_manual_turns_wait_for_the_commit():
    stage = Stage(mode=TurnMode.MANUAL)
    stage.say(1).hush(3)
    assert stage.kinds == [TurnBegan, TurnConfirmed, TurnShelved]
    assert isinstance(stage.machine.commit(stage.now)[-1], TurnEnded)


def test_a_manual_turn_is_put_aside_in_long_pauses_and_after_a_minute():
    stage = Stage(mode=TurnMode.MANUAL).hush(1).say(1).hush(0.9).say(1).hush(3).say(130).hush(1.5)
    assert stage.kinds == [
        TurnBegan,
        TurnConfirmed,
        TurnShelved,
        *[TurnContinued, TurnShelved] * 3,
    ]
    shelved = [decision.time for decision in stage.log if isinstance(decision, TurnContinued)]
    assert shelved[0] == pytest.approx(6.9 - 0.3, abs=0.1)
    assert [later - shelved[0] for later in shelved[1:]] == pytest.approx([60, 120], abs=0.1)


def test_a_manual_turn_interrupts_nothing():
    stage = Stage(mode=TurnMode.MANUAL).responding().hush(1).heard("stop that").say(2).hush(1)
    assert stage.log[1] == TurnConfirmed(False)
    assert not {DuckResponse, RestoreResponse} & set(stage.kinds)


def test_cleared_while_speaking_a_manual_turn_begins_again():
    stage = Stage(mode=TurnMode.MANUAL).hush(1).say(1)
    cleared = stage.now
    stage.log = stage.machine.clear(cleared)
    stage.say(0.5).hush(0.2)
    assert stage.log[:3] == [TurnDropped(), TurnBegan(cleared), TurnConfirmed(False)]


@pytest.mark.parametrize(
    ("eagerness", "pause"),
    [(Eagerness.HIGH, 0.3), (Eagerness.MEDIUM, 0.6), (Eagerness.AUTO, 0.6), (Eagerness.LOW, 1.2)],
)
def test_eagerness_is_how_long_a_pause_may_last(eagerness, pause):
    stage = Stage().hush(1)
    stage.machine.settings = eager(stage.machine.settings, eagerness)
    ended = stage.say(1).hush(2).log[-1]
    assert ended.decided - ended.speech_end == pytest.approx(pause, abs=WINDOW)
    assert eager(TurnSettings(), Eagerness.AUTO) == TurnSettings()


def test_who_decides_can_change_in_mid_turn():
    stage = Stage().hush(1).say(1)
    stage.machine.settings = TurnSettings(TurnMode.MANUAL)
    stage.hush(5)
    assert TurnEnded not in stage.kinds
    stage.machine.settings = TurnSettings(TurnMode.SERVER_VAD)
    stage.hush(0.1)
    assert stage.kinds[-1] is TurnEnded
    stage.machine.settings = TurnSettings(TurnMode.MANUAL)
    stage.say(1)
    stage.machine.settings = TurnSettings(TurnMode.SERVER_VAD, silence_seconds=2.0)
    stage.hush(1.5)
    assert stage.kinds.count(TurnEnded) == 1
    stage.hush(1)
    assert stage.kinds.count(TurnEnded) == 2


def test_clear_forgets_the_turn():
    stage = Stage().say(1)
    assert stage.machine.clear(stage.now) == [TurnDropped()]
    assert stage.machine.clear(stage.now) == []
    assert stage.hush(2).kinds == [TurnBegan, TurnConfirmed]


def test_clear_of_an_unclear_interruption_brings_the_reply_back():
    stage = Stage().responding().hush(1).say(0.2)
    assert stage.machine.clear(stage.now) == [RestoreResponse(), TurnDropped()]


def test_hysteresis_keeps_quiet_voice_and_needs_loud_voice_to_start():
    segmenter = Segmenter(SegmenterSettings())
    assert all(segmenter.process(0.45, 1.0, n * WINDOW, (n + 1) * WINDOW) is None for n in range(20))
    events = [
        segmenter.process(p, 1.0, n * WINDOW, (n + 1) * WINDOW)
        for n, p in enumerate([0.9] * 4 + [0.4] * 10 + [0.1] * 3)
    ]
    assert [e for e in events if e] == [VoiceStarted(0.0), VoicePaused(pytest.approx(14 * WINDOW))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mhm", True),
        ("Yeah.", True),
        ("yeah right", True),
        ("no", False),
        ("okay stop", False),
        ("yes yes yes yes", False),
        ("Mm-hmm.", True),
        ("Uh-huh, right.", True),
        ("Oh, really?", True),
        ("Stop!", False),
    ],
)
def test_backchannels(text, expected):
    assert is_backchannel(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want to go to the", True),
        ("I want to go to the.", True),
        ("Remind me to buy milk and.", True),
        ("So, I'd like to know if...", True),
        ("And so, my fellow Americans,", True),
        ("Well, because.", True),
        ("My number is five five five.", True),
        ("I know what that is.", False),
        ("I think so.", False),
        ("What are you thinking about?", False),
        ("What time is it?", False),
        ("Where are you from?", False),
        ("“Good night.”", False),
        ("Stop!", False),
        ("", False),
        ("My number is 555.", True),
        ("It's 020 794", True),
        ("My number is 555-1234.", False),
        ("It was in 1969.", False),
        ("It costs 2,000", True),
        ("It costs 2,000.", False),
        ("Room 12.", False),
        ("I would like to book a table for four", True),
        ("what is the weather in paris", False),
        ("Hello", False),
    ],
)
def test_signs_and_last_words_tell_whether_somebody_goes_on(text, expected):
    assert trails_off(text) is expected


def test_what_sounds_complete_waits_for_its_words_where_they_are_on_their_way():
    stage = Stage()
    stage.machine = TurnMachine(TurnSettings(), awaits_words=True)
    stage.say(1.0).hush(0.1)
    stage.machine.judge(Evidence(sound=0.99))
    stage.hush(0.2)
    assert stage.machine.hearing, "it may be: I think"
    stage.machine.judge(Evidence(text="What time is it?"))
    stage.hush(0.04)
    assert not stage.machine.hearing


def test_a_recogniser_that_is_slow_holds_a_turn_no_longer_than_a_pause_of_which_nothing_is_known():
    stage = Stage()
    stage.machine = TurnMachine(TurnSettings(), awaits_words=True)
    stage.say(1.0).hush(0.1)
    stage.machine.judge(Evidence(sound=0.99))
    stage.hush(0.6)
    assert not stage.machine.hearing


def test_an_unjudged_pause_is_decided_by_its_words_and_a_judgement_undoes_that():
    unjudged = Evidence(unjudged=True)
    for text, seconds in (("What time is it?", 0.4), ("What time is", 1.28), (None, 0.6)):
        known = unjudged.with_(Evidence(text=text))
        assert pause_needed(known, 0.125, 0.6, 1.28, awaits_words=True) == pytest.approx(seconds), text
    assert pause_needed(unjudged.with_(Evidence(text="Hello.")), 0.125, 0.3, 1.28) == pytest.approx(0.3), (
        "it only shortens"
    )
    judged = unjudged.with_(Evidence(sound=0.0))
    assert not judged.unjudged
    assert pause_needed(judged, 0.125, 0.6, 1.28) == pytest.approx(1.28)


# ---------------------------------------------------------------------------------------------------- lips


def lips(stage: Stage, moving: bool | None) -> Stage:
    stage.machine.lips = moving
    return stage


def test_a_voice_without_lips_does_not_interrupt_and_is_a_turn_all_the_same():
    stage = lips(Stage().responding(), False).hush(1).say(1.0).heard("the radio says").say(1.0)
    assert stage.kinds == [TurnBegan, DuckResponse, RestoreResponse]
    stage.hush(2)
    assert stage.kinds[3:] == [TurnConfirmed, TurnEnded]
    assert TurnConfirmed(False) in stage.log


def test_lips_that_move_in_the_middle_of_a_voice_make_it_the_users():
    stage = lips(Stage().responding(), False).hush(1).say(0.4).heard("wait a minute")
    assert TurnConfirmed(True) not in stage.log
    lips(stage, True).say(0.1)
    lips(stage, False).say(0.1).heard("wait a minute please")
    assert TurnConfirmed(True) in stage.log


def test_a_short_word_may_be_proved_by_lips_seen_a_little_later():
    stage = lips(Stage().responding(), False).hush(1).say(0.3).hush(0.1)
    stage.machine.judge(Evidence(text="stop"))
    stage.hush(0.1)
    assert not any(isinstance(decision, TurnConfirmed) for decision in stage.log)
    lips(stage, True).hush(0.1)
    assert TurnConfirmed(True) in stage.log


@pytest.mark.parametrize("seen", [None, True])
def test_lips_that_move_or_are_not_known_change_nothing(seen: bool | None):
    with_lips = lips(Stage().responding(), seen).hush(1).say(0.4).heard("wait a minute").say(0.5).hush(1)
    without = Stage().responding().hush(1).say(0.4).heard("wait a minute").say(0.5).hush(1)
    assert with_lips.log == without.log


def test_without_a_reply_lips_do_not_matter():
    assert lips(Stage(), False).hush(1).say(1.5).hush(1).kinds == [TurnBegan, TurnConfirmed, TurnEnded]


def test_lips_that_get_out_of_sight_no_longer_matter():
    stage = lips(Stage().responding(), False).hush(1).say(1.0)
    assert TurnConfirmed(True) not in stage.log
    lips(stage, None).say(0.1)
    assert TurnConfirmed(True) in stage.log


def test_a_recogniser_without_partials_gets_such_a_voice_too():
    stage = lips(Stage().responding(), False)
    stage.machine.expect_words = False
    stage.hush(1).say(1.0).hush(1)
    assert stage.kinds == [TurnBegan, DuckResponse, RestoreResponse, TurnConfirmed, TurnEnded]
    assert TurnConfirmed(False) in stage.log


def test_a_radio_that_never_pauses_is_cut_into_turns():
    stage = lips(Stage(longest_turn_seconds=5.0).responding(), False).hush(1).say(6.0)
    assert stage.kinds == [
        TurnBegan,
        DuckResponse,
        RestoreResponse,
        TurnConfirmed,
        TurnEnded,
        TurnBegan,
        DuckResponse,
        RestoreResponse,
    ]
    assert TurnConfirmed(True) not in stage.log
