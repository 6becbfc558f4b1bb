"""Joins what is seen and what is said in one session: subtitles, looks in turn-taking, pictures for the model."""

from __future__ import annotations

from collections.abc import Callable

from media.clock import Clock
from media.frames import Picture
from pipelines.errors import EngineBusyError
from pipelines.interfaces.llm import Image
from pipelines.interfaces.vision import Detection
from pipelines.runtime.worker import Worker
from pipelines.vision.captions import Caption, Captions
from pipelines.vision.images import LONGEST_SIDE, snapshot
from pipelines.vision.settings import Action
from pipelines.vision.visual_cues import Looks
from pipelines.voice.events import PartialTranscript, ResponseAudioStarted, SpeechStarted, SpeechStopped, TurnLatency
from pipelines.voice.responses import Responses
from pipelines.voice.visual_context import SOURCES, Sight, Source
from server.observability.metrics import Event
from server.supervision import Supervisor
from server.transports.webrtc.session_video import SessionVideo

VOICE_SECONDS = 2.0
"""After a sign of a voice in which another one, or the answer, is to be expected."""
ANSWER_SECONDS = 0.8
"""From the end of a turn on, at most, vision leaves the processor to the answer, which mostly begins sooner."""


class SessionSight:
    """``act`` is called with what a gesture shall do; ``worker`` makes pictures small."""

    def __init__(
        self,
        video: SessionVideo,
        worker: Worker,
        clock: Clock,
        act: Callable[[Action], None],
        optional: Supervisor,
    ) -> None:
        self.offered = Sight(
            lambda: optional.call("reading lips", self._lips),
            lambda: optional.call("watching the gaze", self._attentive),
            lambda: optional.call("the camera", self._sources) or (),
            self._always,
            self._picture,
        )
        """What the conversation may ask; what fails is as if it were not there."""
        self.responses: Responses | None = None
        """Whose words are shown while they are heard; the owner sets it."""
        self._video = video
        self._worker = worker
        self._clock = clock
        self._act = act
        self._captions = Captions()
        self._looks = Looks(video.settings.looks)
        video.watching.on_look.append(self._look)
        video.watching.captions = self._subtitles

    def take(self, event: Event) -> None:
        """An event of the session: its words become subtitles, and a voice goes before the camera."""
        if isinstance(event, SpeechStarted | PartialTranscript | SpeechStopped):
            self._video.watching.give_way(VOICE_SECONDS)
        if isinstance(event, SpeechStopped):
            self._video.watching.stand_back(ANSWER_SECONDS)
        elif isinstance(event, SpeechStarted | ResponseAudioStarted):
            self._video.watching.stand_back(0.0)
        if isinstance(event, ResponseAudioStarted):
            self._video.watching.give_way(0.0)
        if isinstance(event, TurnLatency):
            self._video.watching.voice_to_voice = event.voice_to_voice
        self._captions.take(event, self._clock.now())

    def _look(self, found: tuple[Detection, ...], picture: Picture) -> None:
        self._looks.settings = self._video.settings.looks
        for action in self._looks.update(found, picture.time, self._clock.now()):
            self._act(action)

    def _subtitles(self) -> tuple[Caption, ...]:
        now = self._clock.now()
        if self.responses is not None:
            self._captions.heard(self.responses.heard, now)
        return self._captions.at(now)

    def _lips(self) -> bool | None:
        return self._looks.lips(self._clock.now()) if self._video.settings.looks.lips else None

    def _attentive(self) -> bool | None:
        return self._looks.attentive(self._clock.now()) if self._video.settings.looks.look_to_talk else None

    def _sources(self) -> tuple[Source, ...]:
        if self._video.settings.attach == "never":
            return ()
        return tuple(source for source in SOURCES if self._video.shows(source))

    def _always(self) -> bool:
        return self._video.settings.attach == "always"

    async def _picture(self, source: Source) -> Image | None:
        picture = await self._video.picture(source, LONGEST_SIDE)
        try:
            return await self._worker.run(snapshot, picture.pixels) if picture is not None else None
        except EngineBusyError:
            return None
