"""One user's session with the assistant: audio, video and text in and out, settings, and a bus that tells of it.

It knows no transport, no wire format and no library of media. Whoever carries bytes docks onto it: audio comes in
through the channel given to :meth:`AssistantSession.run` and goes out through ``out``, video comes in through
``session.vision.see`` and goes back through ``session.vision.returns`` and ``render``, text and settings go through
``session.conversation``, and what happens is told on ``session.events``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from media.channel import Channel
from media.clock import Clock
from media.frames import AudioChunk, FrameConverter
from pipelines.assistant.events import EnginesChanged, EventBus, SessionDegraded, SessionMoved, SettingsChanged
from pipelines.assistant.manners import Host, Manners
from pipelines.assistant.vision import SeeingEngines, SessionVision
from pipelines.routing.run import Priority
from pipelines.runtime import worker
from pipelines.runtime.relief import Cause, Easing, Part, Relief, easing
from pipelines.runtime.supervision import Supervisor, end
from pipelines.vision.settings import VisionSettings
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import Problem
from pipelines.voice.history import new_id
from pipelines.voice.responses import Surroundings
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from pipelines.voice.tts import VoiceOut

END_SECONDS = 1.0
"""What the parts of a session may take to end before they are let go."""


class AssistantEngines(SeeingEngines, Protocol):
    """What all sessions share."""

    @property
    def voice(self) -> VoiceEngines:
        """Who listens, thinks and speaks."""
        ...


@dataclass(frozen=True, slots=True)
class FirstSettings:
    """What a session begins with."""

    conversation: ConversationSettings = field(default_factory=ConversationSettings)
    vision: VisionSettings = field(default_factory=VisionSettings)
    manners: Manners = field(default_factory=Manners)
    """What the assistant does by itself."""
    time: Callable[[], str] = str
    """Time and date in words, for the model; empty where it is not to know."""
    id: str = field(default_factory=lambda: new_id("sess"))
    """The session's."""
    priority: Priority = "normal"
    """Who gives something up later than others, or sooner, while the machine has too much to do."""


class AssistantSession:
    """Lives from its making to the end of :meth:`run`, which owns every task in between.

    ``out`` is where the voice sounds, ``None`` for answers in text; ``converter`` makes a converter of the frames that
    the transport brings.
    """

    def __init__(
        self,
        engines: AssistantEngines,
        clock: Clock,
        out: VoiceOut[Any] | None,
        converter: Callable[[], FrameConverter],
        settings: FirstSettings,
    ) -> None:
        self.id = settings.id
        self.priority = settings.priority
        self.sounds = out is not None
        """Whether answers can have a voice."""
        self.engines = engines
        self.events = EventBus(lambda name, error: self.optional.failed(name, error, again=False))
        """Tells what happens, to any number of subscribers."""
        self.optional = Supervisor(lambda error: self.events.emit(Problem(error)), clock)
        """Runs what may fail without ending the voice."""
        self.easing = Easing()
        """What it gives up now: see :meth:`relieve`."""
        self._told: tuple[Part, ...] = ()
        self.vision = SessionVision(
            engines,
            converter,
            clock,
            settings.vision,
            self.events.emit,
            self.optional,
            lambda: self.conversation,
        )
        around = Surroundings(
            engines.voice,
            out,
            self.events.emit,
            clock,
            scene=lambda: self.vision.camera.scene,
            time=settings.time,
            sight=self.vision.offered,
            easing=self.easing,
        )
        self.conversation = Conversation(
            around, replace(settings.conversation, spoken=out is not None and settings.conversation.spoken)
        )
        self.events.attach("captions", self.vision.take)
        self._host = Host(settings.manners, self.conversation, clock, self.events.emit)
        self.events.attach("manners", self._host.take)

    @property
    def running(self) -> asyncio.Event:
        """Set once the conversation has begun: from then on the client may be heard."""
        return self.conversation.running

    async def run(self, audio: Channel[AudioChunk] | None = None) -> None:
        """Converse until cancelled. ``audio`` is the microphone, mono at 16 kHz; ``None``: there is none.

        Raises what a defect in the conversation raises; nothing else can end it.
        """
        worker.session.set(self.id)  # the tasks of this session inherit it: engines serve sessions in turn
        easing.set(self.easing)
        telling = asyncio.create_task(self.events.run(), name=f"{self.id}-events")
        conversation = asyncio.create_task(self.conversation.run(audio), name=f"{self.id}-conversation")
        parts = [conversation]
        for name, run in {"manners": self._host.run, **self.vision.work()}.items():
            parts.append(asyncio.create_task(self.optional.keep(name, run), name=f"{self.id}-{name}"))
        try:
            await asyncio.wait([conversation])
            conversation.result()
        finally:
            await end(parts, END_SECONDS)
            self.events.close()
            await asyncio.wait([telling])

    def relieve(self, relief: Relief, cause: Cause | None) -> None:
        """Give up so much from now on, for ``cause``; clients are told when what is given up is something else."""
        self.easing.relief = relief
        self.vision.ease(relief.vision)
        parts = tuple(part for part in relief.parts if part != "vision" or self.vision.sees)
        if parts != self._told:
            self._told = parts
            self.events.emit(SessionDegraded(parts, cause if parts else None))

    @property
    def left_out(self) -> dict[Part, int]:
        """How much has been given up so far, by part; never goes back."""
        return {**self.easing.left_out, "vision": int(self.vision.camera.left_out)}

    def moves(self, seconds: float) -> None:
        """Whoever serves the session ends in ``seconds``: tell its clients to go on elsewhere."""
        self.events.emit(SessionMoved(seconds))

    def settings_changed(self) -> None:
        """Tell everybody that settings of the conversation, or of its vision, are others now."""
        self.events.emit(SettingsChanged())

    def engines_changed(self) -> None:
        """Other engines serve; detectors that have come are put to use."""
        self.vision.reselect()
        self.events.emit(EnginesChanged())
