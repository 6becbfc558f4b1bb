"""What is seen meets what is said: subtitles, looks, gestures and pictures of one session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from media.frames import Picture
from media.video_convert import Converter
from media.video_feed import VideoFeed
from pipelines.assistant.events import Event, SettingsChanged
from pipelines.assistant.vision import ANSWER_SECONDS, NEWEST_SECONDS, SessionVision
from pipelines.interfaces.vision import Detection, Expression
from pipelines.runtime.supervision import Supervisor
from pipelines.vision.settings import OverlaySettings, VisionSettings, VisualCueSettings
from pipelines.voice.events import (
    PartialTranscript,
    ResponseAudioStarted,
    ResponseInterrupted,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    TurnLatency,
)
from pipelines.voice.response import answering
from tests.conftest import fake_engines
from tests.fakes.clock import FakeClock
from tests.fakes.peer import picture_frame

NOTHING = np.zeros((9, 9, 3), np.uint8)


class Stage:
    def __init__(self) -> None:
        self.clock, self.acts, self.told = FakeClock(10.0), list[str](), list[Event]()
        self.engines = fake_engines()
        responses = SimpleNamespace(heard="I am", interrupt=self.acts.append)
        conversation: Any = SimpleNamespace(responses=responses, commit=lambda: self.acts.append("committed"))
        self.vision = SessionVision(
            self.engines,
            Converter,
            self.clock,
            VisionSettings(),
            self.told.append,
            Supervisor(self.acts.append, self.clock),
            lambda: conversation,
        )
        self.camera, self.screen = VideoFeed(), VideoFeed()
        self.vision.see([self.camera, self.screen])
        self.given_way, self.stood_back = list[float](), list[float]()
        self.vision.camera.give_way = self.given_way.append  # type: ignore[method-assign]
        self.vision.camera.stand_back = self.stood_back.append  # type: ignore[method-assign]
        self._time = 0.0

    def see(self, seconds: float, *found: Detection) -> None:
        for _ in range(round(seconds * 20)):
            self._time += 0.05
            self.clock.advance(0.05)
            self.vision.camera._watchers.looked(found, Picture(NOTHING, self._time))

    def show(self, feed: VideoFeed) -> None:
        feed.put(picture_frame(160, 120, level=200), self.clock.now())

    def set(self, **settings: Any) -> None:
        self.vision.configure(replace(self.vision.settings, **settings))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.engines.close()


def face(yaw: float = 0.0) -> Detection:
    return Detection("face", 0, (0.4, 0.3, 0.2, 0.3), 0.9, expression=Expression(0.02, 0, 0, yaw, 0))


async def test_a_voice_goes_before_the_camera_until_it_is_answered(stage: Stage) -> None:
    stage.vision.take(SpeechStarted("u1", 0.0))
    stage.vision.take(PartialTranscript("u1", "what"))
    stage.vision.take(SpeechStopped("u1", 1.0))
    assert stage.given_way == [2.0, 2.0, 2.0]
    stage.vision.take(ResponseAudioStarted("r1"))
    assert stage.given_way[3:] == [0.0]


async def test_vision_stands_back_while_an_answer_is_being_made(stage: Stage) -> None:
    stage.vision.take(SpeechStarted("u1", 0.0))
    stage.vision.take(SpeechStopped("u1", 1.0))
    stage.vision.take(PartialTranscript("u1", "what is the time"))
    assert stage.stood_back == [0.0, ANSWER_SECONDS]
    stage.vision.take(ResponseAudioStarted("r1"))
    assert stage.stood_back[2:] == [0.0]
    stage.vision.take(SpeechStopped("u2", 4.0))
    stage.vision.take(SpeechStarted("u3", 4.2))  # goes on speaking: then looks are rarer, as before
    assert stage.stood_back[3:] == [ANSWER_SECONDS, 0.0]


async def test_words_of_both_sides_become_subtitles(stage: Stage) -> None:
    stage.vision.take(PartialTranscript("i1", "who are"))
    stage.clock.advance(0.1)
    stage.vision.take(ResponseStarted("r1", "i2", True))
    captions = stage.vision._subtitles()
    assert [(caption.speaker, caption.text) for caption in captions] == [("user", "who are"), ("assistant", "I am")]


async def test_subtitles_and_the_last_turn_are_drawn_onto_what_goes_back(stage: Stage) -> None:
    """The frame goes back untouched until there is something to be drawn."""
    stage.set(overlay=OverlaySettings(boxes=False, landmarks=False, labels=False))
    frames = stage.camera.subscribe()
    stage.show(stage.camera)
    stage.vision.camera._take(await frames.get())
    shot = await stage.vision.returns.get()
    assert await stage.vision.render(shot) is shot.frame
    stage.vision.take(PartialTranscript("i1", "who are"))
    spoken = await stage.vision.render(shot)
    assert spoken is not None and spoken is not shot.frame
    assert np.ptp(Converter().picture(spoken).pixels) > 50
    stage.set(overlay=OverlaySettings(False, False, False, captions=False, latency=True))
    before = Converter().picture(await stage.vision.render(shot)).pixels
    stage.vision.take(TurnLatency("r1", 0.31))
    after = Converter().picture(await stage.vision.render(shot)).pixels
    assert (before != after).any()


async def test_looks_are_offered_where_they_are_asked_for(stage: Stage) -> None:
    stage.see(1.0, face(yaw=60))
    offered = stage.vision.offered
    assert (offered.lips(), offered.attentive()) == (None, None)
    stage.set(looks=VisualCueSettings(lips=True, look_to_talk=True))
    assert (offered.lips(), offered.attentive()) == (False, False)
    stage.clock.advance(0.7)
    assert (offered.lips(), offered.attentive()) == (None, None)


async def test_gestures_act_as_the_settings_of_the_moment_say(stage: Stage) -> None:
    palm = Detection("hand", 0, (0.1, 0.1, 0.1, 0.1), 0.9, "left", gesture="open palm")
    stage.see(1.0, palm)
    assert stage.acts == []
    for action, acts in (("stop_speaking", ["client_cancelled"]), ("end_turn", ["committed"]), ("mute_camera", [])):
        stage.see(1.0)
        stage.acts.clear()
        stage.set(looks=VisualCueSettings(gestures=(("open palm", action),)))
        stage.see(1.0, palm)
        assert stage.acts == acts
    assert not stage.vision.settings.enabled
    assert stage.told == [SettingsChanged()]


async def test_pictures_are_offered_as_the_settings_say(stage: Stage) -> None:
    offered = stage.vision.offered
    assert (offered.sources(), offered.always()) == ((), False)
    stage.show(stage.camera)
    assert offered.sources() == ("camera",)
    stage.show(stage.screen)
    stage.set(attach="always")
    assert (offered.sources(), offered.always()) == (("camera", "screen"), True)
    image = await offered.picture("screen")
    assert image is not None
    assert image.data.startswith(b"\xff\xd8")
    stage.clock.advance(NEWEST_SECONDS + 1)
    assert await offered.picture("camera") is None
    assert offered.sources() == ("screen",)  # one that stands still sends nothing
    stage.set(screen=False)
    assert offered.sources() == ()
    stage.set(screen=True)
    assert offered.sources() == ()  # what it showed before is over
    stage.show(stage.screen)
    assert offered.sources() == ("screen",)
    stage.set(attach="never")
    assert offered.sources() == ()


async def test_a_busy_worker_gives_no_picture(stage: Stage) -> None:
    stage.show(stage.camera)
    stage.engines.drawing_worker.close()
    assert await stage.vision.offered.picture("camera") is None


async def test_interrupting_an_answer_ends_its_prediction_and_no_other(stage: Stage) -> None:
    ended: list[bool] = []
    stage.vision._foreseeing.end = lambda: ended.append(True)  # type: ignore[method-assign]
    stage.show(stage.camera)
    answering.set("r1")
    assert stage.vision.offered.foresee is not None
    words = stage.vision.offered.foresee("What happens next?")
    asked = asyncio.ensure_future(anext(words))
    await asyncio.sleep(0)
    for other in ("r2", "r0"):  # one beside it, and one that was called off before it began
        stage.vision.take(ResponseInterrupted(other, "client_cancelled", "", 0.0))
    assert not ended
    stage.vision.take(ResponseInterrupted("r1", "speech", "The ball", 0.4))
    assert ended
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await words.aclose()
