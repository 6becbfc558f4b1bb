"""What is seen meets what is said: subtitles, looks, gestures and pictures of one session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from media.frames import Picture
from pipelines.interfaces.vision import Detection, Expression
from pipelines.runtime.worker import Worker
from pipelines.vision.captions import Caption
from pipelines.vision.settings import LookSettings, VisionSettings
from pipelines.voice.events import (
    PartialTranscript,
    Problem,
    ResponseAudioStarted,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    TurnLatency,
)
from server.supervision import Supervisor
from server.transports.webrtc.session_sight import ANSWER_SECONDS, SessionSight
from tests.fakes.clock import FakeClock

NOTHING = np.zeros((9, 9, 3), np.uint8)


class Video:
    """A camera and a screen that show as much as the test says."""

    def __init__(self) -> None:
        self.settings = VisionSettings()
        self.given_way: list[float] = []
        self.stood_back: list[float] = []
        self.watching = SimpleNamespace(
            on_look=[], captions=tuple, voice_to_voice=None,
            give_way=self.given_way.append, stand_back=self.stood_back.append,
        )  # fmt: skip
        self.showing = {"camera": True, "screen": False}

    def shows(self, source: str) -> bool:
        return self.showing[source]

    async def picture(self, source: str, longest_side: int) -> Picture | None:
        return Picture(np.full((30, 40, 3), 200, np.uint8), 0.0) if self.showing[source] else None


class Stage:
    def __init__(self) -> None:
        self.clock, self.video, self.acts = FakeClock(), Video(), list[str]()
        self.worker = Worker("drawing")
        self.told = list[Problem]()
        optional = Supervisor(self.told.append, self.clock)
        self.sight = SessionSight(self.video, self.worker, self.clock, self.acts.append, optional)  # type: ignore[arg-type]
        self._time = 0.0

    def see(self, seconds: float, *found: Detection) -> None:
        for _ in range(round(seconds * 20)):
            self._time += 0.05
            self.clock.advance(0.05)
            for listener in self.video.watching.on_look:
                listener(found, Picture(NOTHING, self._time))

    def set(self, **settings: Any) -> None:
        self.video.settings = replace(self.video.settings, **settings)


@pytest.fixture
def stage() -> Any:
    stage = Stage()
    yield stage
    stage.worker.close()


def face(yaw: float = 0.0) -> Detection:
    return Detection("face", 0, (0.4, 0.3, 0.2, 0.3), 0.9, expression=Expression(0.02, 0, 0, yaw, 0))


def test_a_voice_goes_before_the_camera_until_it_is_answered(stage: Stage) -> None:
    stage.sight.take(SpeechStarted("u1", 0.0))
    stage.sight.take(PartialTranscript("u1", "what"))
    stage.sight.take(SpeechStopped("u1", 1.0))
    assert stage.video.given_way == [2.0, 2.0, 2.0]
    stage.sight.take(ResponseAudioStarted("r1"))
    assert stage.video.given_way[3:] == [0.0]


def test_vision_stands_back_while_an_answer_is_being_made(stage: Stage) -> None:
    stage.sight.take(SpeechStarted("u1", 0.0))
    stage.sight.take(SpeechStopped("u1", 1.0))
    stage.sight.take(PartialTranscript("u1", "what is the time"))
    assert stage.video.stood_back == [0.0, ANSWER_SECONDS]
    stage.sight.take(ResponseAudioStarted("r1"))
    assert stage.video.stood_back[2:] == [0.0]
    stage.sight.take(SpeechStopped("u2", 4.0))
    stage.sight.take(SpeechStarted("u3", 4.2))  # goes on speaking: then looks are rarer, as before
    assert stage.video.stood_back[3:] == [ANSWER_SECONDS, 0.0]


def test_words_of_both_sides_become_subtitles(stage: Stage) -> None:
    stage.sight.responses = SimpleNamespace(heard="I am")  # type: ignore[assignment]
    stage.sight.take(PartialTranscript("i1", "who are"))
    stage.clock.advance(0.1)
    stage.sight.take(ResponseStarted("r1", "i2", True))
    captions: Callable[[], tuple[Caption, ...]] = stage.video.watching.captions
    assert [(caption.speaker, caption.text) for caption in captions()] == [("user", "who are"), ("assistant", "I am")]


def test_the_read_out_gets_the_last_turn(stage: Stage) -> None:
    stage.sight.take(TurnLatency("r1", 0.31))
    assert stage.video.watching.voice_to_voice == 0.31


def test_looks_are_offered_where_they_are_asked_for(stage: Stage) -> None:
    stage.see(1.0, face(yaw=60))
    offered = stage.sight.offered
    assert (offered.lips(), offered.attentive()) == (None, None)
    stage.set(looks=LookSettings(lips=True, look_to_talk=True))
    assert (offered.lips(), offered.attentive()) == (False, False)
    stage.clock.advance(0.7)
    assert (offered.lips(), offered.attentive()) == (None, None)


def test_gestures_act_as_the_settings_of_the_moment_say(stage: Stage) -> None:
    palm = Detection("hand", 0, (0.1, 0.1, 0.1, 0.1), 0.9, "left", gesture="open palm")
    stage.see(1.0, palm)
    assert stage.acts == []
    stage.see(1.0)
    stage.set(looks=LookSettings(gestures=(("open palm", "stop_speaking"),)))
    stage.see(1.0, palm)
    assert stage.acts == ["stop_speaking"]


async def test_pictures_are_offered_as_the_settings_say(stage: Stage) -> None:
    offered = stage.sight.offered
    assert (offered.sources(), offered.always()) == (("camera",), False)
    stage.video.showing["screen"] = True
    stage.set(attach="always")
    assert (offered.sources(), offered.always()) == (("camera", "screen"), True)
    image = await offered.picture("screen")
    assert image is not None
    assert image.data.startswith(b"\xff\xd8")
    stage.video.showing["camera"] = False
    assert await offered.picture("camera") is None
    stage.set(attach="never")
    assert offered.sources() == ()


async def test_a_busy_worker_gives_no_picture(stage: Stage) -> None:
    stage.worker.close()
    assert await stage.sight.offered.picture("camera") is None
