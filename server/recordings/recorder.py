"""Records one session while its client wants that: takes what passes by, and has it written twice a second.

Nothing waits for the disk: sound, pictures and events lie in bounded queues that lose the oldest, and what fails ends
the recording and not the call.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from media.channel import Channel
from media.clock import Clock
from media.fan_out import FanOut
from media.frames import AudioChunk, Samples
from pipelines.assistant.events import RecordingChanged, RecordingReason
from pipelines.assistant.session import AssistantSession
from pipelines.errors import EngineBusyError, PipelineError
from pipelines.runtime.supervision import end
from server.recordings.files import FPS, Batch, DiskFullError, RecordingFiles
from server.recordings.store import Recordings
from server.transports.interface import Event, VisitingDialect

log = logging.getLogger(__name__)

WRITE_EVERY_SECONDS = 0.5
MOST_EVENTS = 4096
"""That may wait to be written."""
END_SECONDS = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Taps:
    """Where a call can be listened to; ``None`` for what it has not."""

    user: FanOut[AudioChunk] | None = None
    assistant: FanOut[Samples] | None = None
    video: FanOut[Any] | None = None


@dataclass(frozen=True, slots=True)
class RecordingWish:
    """What the client wants."""

    enabled: bool = False
    video: bool = False


class Recorder:
    """``speaks`` makes a dialect, given where its events go; what that says is recorded, too."""

    def __init__(
        self,
        session: AssistantSession,
        recordings: Recordings,
        speaks: Callable[[Callable[[Event], None]], VisitingDialect],
        clock: Clock,
    ) -> None:
        self.wish = RecordingWish()
        """What is wanted now."""
        self.on = False
        self.reason: RecordingReason | None = None
        """Why it ended; ``None`` while it goes on, and before."""
        self._session = session
        self._recordings = recordings
        self._speaks = speaks
        self._clock = clock
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._parts = 0
        self._before = 0.0
        """Seconds of earlier parts."""
        self._size = 0
        """Their bytes."""
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """How long the session has been recorded."""
        return self._before + (self._clock.now() - self._began if self.on else 0.0)

    @property
    def wanted(self) -> tuple[bool, bool]:
        """Whether it is recorded, or is about to be, and whether with the video."""
        return self.wish.enabled, self.wish.video

    def want(self, enabled: bool, video: bool) -> None:
        """The client wants this from now on."""
        wish = RecordingWish(enabled, video and enabled)
        if wish != self.wish:
            self.wish = wish
            self._changed.set()

    async def stop(self) -> None:
        """End it; returns when the files are whole."""
        self.want(False, False)
        await self._idle.wait()

    async def run(self, taps: Taps) -> None:
        """Record what is wanted of ``taps`` until cancelled."""
        gone = self._recordings.begins(self._session.id, self)
        try:
            while True:
                if self.wish.enabled:
                    await self._record(taps, self.wish)
                self._changed.clear()
                if not self.wish.enabled:
                    await self._changed.wait()
        finally:
            gone()

    # ------------------------------------------------------------------------------------------------ one part

    async def _record(self, taps: Taps, wish: RecordingWish) -> None:
        """One part, from where it is switched on to its end, whatever that is."""
        self._idle.clear()
        self._parts += 1
        self._began, self.on, self.reason = self._clock.now(), True, None
        part = _Part(self, taps, wish)
        self._tell()
        reason: RecordingReason = "asked"
        try:
            reason = await part.run(self._recordings.stem(self._session.id, self._parts))
        finally:
            self._before, self.on, self.reason = self.seconds, False, reason
            self._size += part.size
            if reason != "asked":  # else it is the client that wants something else now
                self.wish = RecordingWish()
            self._tell()
            self._idle.set()

    def _tell(self) -> None:
        state: Any = "on" if self.on else "off"
        self._session.events.emit(RecordingChanged(state, self.seconds, self.reason))


class _Part:
    """What is recorded from where it was switched on to where it ends."""

    def __init__(self, recorder: Recorder, taps: Taps, wish: RecordingWish) -> None:
        self.size = 0
        self._recorder = recorder
        self._session = recorder._session
        self._worker = recorder._recordings.worker
        self._limits = recorder._recordings.limits
        self._clock = recorder._clock
        self._taps = taps
        self._wish = wish
        self._events: Channel[tuple[float, Event]] = Channel(MOST_EVENTS)
        self._user = None if taps.user is None else taps.user.follow(self._unless_muted)
        self._assistant = None if taps.assistant is None else taps.assistant.follow()
        self._video = taps.video.follow() if taps.video is not None and wish.video else None
        self._files: RecordingFiles | None = None
        self._unwritten: Batch | None = None
        """What has been taken to be written, until the worker begins with it."""

    async def run(self, stem: Path) -> RecordingReason:
        """Record until it is to end; why it did."""
        if (reached := self._reached()) is not None:
            self._leave()
            return reached
        sound = self._user is not None or self._assistant is not None
        dialect = self._recorder._speaks(self._take)
        tasks = [asyncio.create_task(self._session.optional.keep("recorded events", dialect.run))]
        try:
            made = partial(RecordingFiles, stem, sound=sound, video=self._video is not None)
            self._files = files = await self._worker.run(made)
            if self._video is not None:
                tasks.append(asyncio.create_task(self._film(files, self._video)))
            return await self._write_all(files)
        except (OSError, DiskFullError, PipelineError) as error:
            return self._failed(error)
        finally:
            dialect.leave()
            self._leave()
            await end(tasks, END_SECONDS)
            if self._files is not None:
                await self._close(self._files)

    async def _write_all(self, files: RecordingFiles) -> RecordingReason:
        while True:
            ending = await self._ended_within(WRITE_EVERY_SECONDS)
            try:
                late = self._unwritten is not None
                await self._write(files)
                if late:
                    await self._write(files)
            except EngineBusyError as error:  # others write, too: what waits is written the next time
                if error.code != "engine_busy":
                    raise
            self.size = files.size
            if ending:
                return "asked"
            if (reached := self._reached()) is not None:
                return reached

    async def _write(self, files: RecordingFiles) -> None:
        """Have written what an earlier attempt has left, else what has come since."""
        if self._unwritten is None:
            self._unwritten = self._batch()
        await self._worker.run(self._write_taken, files)

    def _write_taken(self, files: RecordingFiles) -> None:
        """On the worker's thread: a job that was refused, or cancelled before it began, has taken nothing."""
        batch, self._unwritten = self._unwritten, None
        if batch is not None:
            files.write(batch)

    def _reached(self) -> RecordingReason | None:
        """The limit that is reached, if one is."""
        if self._recorder.seconds >= self._limits.seconds:
            return "time_limit"
        return "size_limit" if self._recorder._size + self.size >= self._limits.size else None

    async def _ended_within(self, seconds: float) -> bool:
        """Whether the client wants something else by then."""
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        asking = asyncio.create_task(self._recorder._changed.wait())
        try:
            await asyncio.wait({sleeping, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            asking.cancel()
        if self._recorder.wish == self._wish:
            self._recorder._changed.clear()
            return False
        return True

    async def _film(self, files: RecordingFiles, frames: Channel[Any]) -> None:
        """Have the newest picture encoded, up to :data:`FPS` times a second."""
        due = 0.0
        async for frame in frames:
            at = self._at
            if at < due:
                continue
            due = at + 0.9 / FPS
            try:
                await self._worker.run(files.picture, frame, at)
            except EngineBusyError:
                continue
            except Exception as error:  # noqa: BLE001 - the barrier: sound and events go on
                self._session.optional.failed("the recorded video", error, again=False)
                return

    def _batch(self) -> Batch:
        heard = [] if self._user is None else self._user.take()
        said = [] if self._assistant is None else self._assistant.take()
        rate = heard[0].rate if heard else 16_000
        return Batch(tuple(chunk.samples for chunk in heard), rate, tuple(said), tuple(self._events.take()))

    def _unless_muted(self, chunk: AudioChunk) -> AudioChunk:
        """What comes while the user is muted is not recorded, whether or not they still are when it is written."""
        return chunk.silenced if self._session.conversation.settings.muted else chunk

    @property
    def _at(self) -> float:
        return self._clock.now() - self._recorder._began

    def _take(self, event: Event) -> None:
        self._events.put((self._at, event))

    def _leave(self) -> None:
        for fan_out, channel in (
            (self._taps.user, self._user),
            (self._taps.assistant, self._assistant),
            (self._taps.video, self._video),
        ):
            if fan_out is not None and channel is not None:
                fan_out.leave(channel)  # type: ignore[arg-type]

    async def _close(self, files: RecordingFiles) -> None:
        rest = self._batch()
        try:
            while True:
                try:
                    await self._worker.run(self._finish, files, rest)
                    break
                except EngineBusyError as error:
                    if error.code != "engine_busy":
                        raise
                await self._clock.sleep(WRITE_EVERY_SECONDS)
            self.size = files.size
        except (OSError, DiskFullError, PipelineError) as error:
            log.warning("the recording of %s is not whole: %s", self._session.id, error)

    def _finish(self, files: RecordingFiles, rest: Batch) -> None:
        """On the worker's thread."""
        try:
            self._write_taken(files)
            files.write(rest)
        finally:
            files.close()

    def _failed(self, error: Exception) -> RecordingReason:
        if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL):
            return "disk_full"
        log.warning("recording %s failed: %s", self._session.id, error)
        return "failed"
