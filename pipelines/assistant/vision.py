"""The camera and the screen of one session, and what they have to do with its conversation.

Words of both sides become subtitles, looks and gestures take part in turn-taking, a voice goes before the camera, and
the model gets pictures.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from media.channel import Channel
from media.clock import Clock
from media.frames import FrameConverter, Picture, VideoFrame
from media.video_feed import VideoFeed
from pipelines.assistant.events import Event, SettingsChanged
from pipelines.assistant.foreseeing import Foreseeing
from pipelines.errors import EngineBusyError, PipelineError
from pipelines.foresight.service import Foresight
from pipelines.interfaces.llm import Image
from pipelines.interfaces.vision import Detection
from pipelines.runtime.supervision import Supervisor
from pipelines.vision.camera import Camera, Shot, VisionEngines, Watchers
from pipelines.vision.captions import Caption, Captions
from pipelines.vision.compositor import Compositor, Painter
from pipelines.vision.images import FINE_QUALITY, LARGEST_SIDE, LONGEST_SIDE, snapshot
from pipelines.vision.settings import Action, DetectorName, VisionSettings
from pipelines.vision.visual_cues import Looks
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import (
    PartialTranscript,
    Problem,
    ResponseAudioStarted,
    ResponseInterrupted,
    SpeechStarted,
    SpeechStopped,
    TurnLatency,
)
from pipelines.voice.response import answering
from pipelines.voice.visual_context import SOURCES, Sight, Source

NEWEST_SECONDS = 3.0
"""A camera's frame older than this no longer shows what there is to see; a screen that stands still sends nothing."""
VOICE_SECONDS = 2.0
"""After a sign of a voice in which another one, or the answer, is to be expected."""
FILMED_SIDE = 768
"""Pixels of the longer side of frames that predictions are made of."""
ANSWER_SECONDS = 0.8
"""From the end of a turn on, at most, vision leaves the processor to the answer, which mostly begins sooner."""


class SeeingEngines(VisionEngines, Protocol):
    """What the vision of a session needs of what all sessions share."""

    @property
    def foresight(self) -> Foresight:
        """Says and shows what comes next."""
        ...


class SessionVision:
    """What comes in is given to :meth:`see`; what goes back is :meth:`render` of what comes through :attr:`returns`.

    ``converter`` makes a converter of the transport's frames. ``conversation`` is asked for when something happens: it
    is built with what is offered here.
    """

    def __init__(
        self,
        engines: SeeingEngines,
        converter: Callable[[], FrameConverter],
        clock: Clock,
        settings: VisionSettings,
        emit: Callable[[Event], None],
        optional: Supervisor,
        conversation: Callable[[], Conversation],
    ) -> None:
        self.settings = settings
        self.offered = Sight(
            lambda: optional.call("reading lips", self._lips),
            lambda: optional.call("watching the gaze", self._attentive),
            lambda: optional.call("the camera", self._sources) or (),
            lambda: self.settings.attach == "always",
            self.image,
            self.whole_image,
            self._foresee,
        )
        """What the conversation may ask; what fails is as if it were not there."""
        self._engines = engines
        self._unavailable = dict(engines.unavailable_detectors)
        self._converter = converter
        self._clock = clock
        self._emit = emit
        self._conversation = conversation
        self._feeds: Sequence[VideoFeed] = ()
        self.asked_at = float("-inf")
        """When a picture was last asked for, for a model to see; clock seconds."""
        self._screen_since = clock.now()
        self._filmed_for = ""
        """What the screen showed before is over."""
        self._captions = Captions()
        self._looks = Looks(settings.looks)

        def failed(error: PipelineError) -> None:
            emit(Problem(error))

        self.camera = Camera(engines, converter(), clock, settings, Watchers(emit, failed, self._look), optional)
        painter = Painter(engines.drawing_worker, converter(), settings)
        self._compositor = Compositor(
            self.camera,
            painter,
            clock,
            lambda: optional.call("captions", self._subtitles) or (),
            failed,
            lambda: self._foreseeing.shown(),
        )
        self._foreseeing = Foreseeing(engines.foresight, clock, partial(self._newest, "camera"), self._reduced)

    # ------------------------------------------------------------------------------------------------ in and out

    def see(self, feeds: Sequence[VideoFeed]) -> None:
        """What comes in: the first is the camera, the second the screen. Before :meth:`work`."""
        self._feeds = feeds

    @property
    def returns(self) -> Channel[Shot]:
        """The newest camera frame on its way back; closed when the camera ends."""
        return self.camera.returns

    async def render(self, shot: Shot) -> VideoFrame | None:
        """What is sent back for ``shot``; ``None`` to skip it."""
        return await self._compositor.render(shot)

    def work(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for as long as the session, and may be run again."""
        if not self._feeds:
            return {}
        camera = self._feeds[0].subscribe()  # once: whoever watches is run again on the same pictures
        return {"vision": lambda: self.camera.run(camera), "foresight": self._foreseeing.run}

    # ------------------------------------------------------------------------------------------------ settings

    def configure(self, settings: VisionSettings) -> None:
        """Change how the session is seen, at once."""
        if settings.screen and not self.settings.screen:
            self._screen_since = self._clock.now()
        self.settings = settings
        self.camera.apply(settings)
        self._compositor.apply(settings)

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why detectors cannot be used now; those not named here can."""
        return self._engines.unavailable_detectors

    def ease(self, rarer: float) -> None:
        """The machine has too much to do: so many times fewer detections, and pictures that go back (1: as usual)."""
        self.camera.ease(rarer)

    @property
    def sees(self) -> bool:
        """Whether there is a camera that is looked at."""
        return bool(self._feeds) and self.settings.enabled

    def reselect(self) -> None:
        """Put detectors to use that were asked for and have come since."""
        if (unavailable := self.unavailable) != self._unavailable:
            self._unavailable = dict(unavailable)
            self.camera.reselect()

    # ------------------------------------------------------------------------------------------------ conversation

    def take(self, event: Event) -> None:
        """An event of the session: its words become subtitles, a voice goes before the camera, and a film of what comes
        next ends with the answer that it belongs to, if that is interrupted."""
        if isinstance(event, SpeechStarted | PartialTranscript | SpeechStopped):
            self.camera.give_way(VOICE_SECONDS)
        if isinstance(event, SpeechStopped):
            self.camera.stand_back(ANSWER_SECONDS)
        elif isinstance(event, SpeechStarted | ResponseAudioStarted):
            self.camera.stand_back(0.0)
        if isinstance(event, ResponseAudioStarted):
            self.camera.give_way(0.0)
        if isinstance(event, ResponseInterrupted) and event.response_id == self._filmed_for:
            self._foreseeing.end()
        if isinstance(event, TurnLatency):
            self._compositor.answered(event.voice_to_voice)
        self._captions.take(event, self._clock.now())

    def _look(self, found: tuple[Detection, ...], picture: Picture) -> None:
        self._looks.settings = self.settings.looks
        for action in self._looks.update(found, picture.time, self._clock.now()):
            self._act(action)

    def _act(self, action: Action) -> None:
        """What a gesture does."""
        match action:
            case "stop_speaking":
                self._conversation().responses.interrupt("client_cancelled")
            case "end_turn":
                self._conversation().commit()
            case "mute_camera":
                self.configure(replace(self.settings, enabled=False))
                self._emit(SettingsChanged())
            case "none":
                pass

    def _subtitles(self) -> tuple[Caption, ...]:
        now = self._clock.now()
        self._captions.heard(self._conversation().responses.heard, now)
        return self._captions.at(now)

    def _lips(self) -> bool | None:
        return self._looks.lips(self._clock.now()) if self.settings.looks.lips else None

    def _attentive(self) -> bool | None:
        return self._looks.attentive(self._clock.now()) if self.settings.looks.look_to_talk else None

    # ------------------------------------------------------------------------------------------------ pictures

    async def image(self, source: Source) -> Image | None:
        """What the camera or the screen shows now, as a model takes it; ``None`` when it shows nothing."""
        frame, self.asked_at = self._newest(source), self._clock.now()
        try:
            return await self._engines.drawing_worker.run(self._snapshot, frame) if frame is not None else None
        except EngineBusyError:
            return None

    async def whole_image(self, source: Source) -> Image | None:
        """The same at its full size, as far as tasks take it."""
        frame, self.asked_at = self._newest(source), self._clock.now()
        try:
            return await self._engines.drawing_worker.run(self._whole, frame) if frame is not None else None
        except EngineBusyError:
            return None

    async def _foresee(self, prompt: str) -> AsyncGenerator[str, None]:
        self.asked_at, self._filmed_for = self._clock.now(), answering.get()
        async with aclosing(self._foreseeing.foresee(prompt)) as words:
            async for text in words:
                yield text

    async def _reduced(self, frame: VideoFrame) -> Picture:
        return await self._engines.drawing_worker.run(self._converter().picture, frame, FILMED_SIDE)

    def _whole(self, frame: VideoFrame) -> Image:
        return snapshot(self._converter().picture(frame, LARGEST_SIDE).pixels, LARGEST_SIDE, FINE_QUALITY)

    def _snapshot(self, frame: VideoFrame) -> Image:
        return snapshot(self._converter().picture(frame, LONGEST_SIDE).pixels)

    def _sources(self) -> tuple[Source, ...]:
        if self.settings.attach == "never":
            return ()
        return tuple(source for source in SOURCES if self._newest(source) is not None)

    def _newest(self, source: Source) -> VideoFrame | None:
        place = SOURCES.index(source)
        if len(self._feeds) <= place or (source == "camera" and not self.settings.enabled):
            return None
        feed = self._feeds[place]
        if source == "screen":
            return feed.newest if self.settings.screen and feed.arrived >= self._screen_since else None
        return feed.newest if self._clock.now() - feed.arrived <= NEWEST_SECONDS else None
