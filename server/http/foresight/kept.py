"""The predictions of a server: at work, and for a while after that. All of it is bounded.

A prediction that nobody watches is ended; one that is over is forgotten after some minutes, and its video with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.foresight.events import Completed, Event, Frame, Preview, TextChunk, VideoDone, VideoFailed
from pipelines.foresight.filming import Scene
from pipelines.foresight.quality import Quality
from pipelines.foresight.service import Foresight
from pipelines.runtime import worker as workers
from pipelines.runtime.worker import Worker
from pipelines.vision.images import snapshot
from server.http.errors import HttpError
from server.http.foresight.film import Film, Waiters
from server.http.foresight.messages import Message, message_of

log = logging.getLogger(__name__)

MOST_RUNNING = 8
MOST_KEPT = 32
UNWATCHED_SECONDS = 15.0
"""For so long one goes on that nobody watches: its client may still be connecting, or connecting again."""
KEPT_SECONDS = 600.0
"""For so long one is kept that is over."""
MOST_PREVIEWS = 256
"""Of one prediction, that are told."""
JPEG_QUALITY, PREVIEW_QUALITY = 80, 60


class Prediction:
    """One prediction: what was told so far, for any number of readers, and its video."""

    def __init__(self, session_id: str, film: Film, files: Worker) -> None:
        self.id = session_id
        self.film = film
        self.readers = 0
        self._files = files
        self._told: list[str | None] = []
        self._changed = Waiters()
        self._previews: list[int] = []
        self._begun = self._now()
        self._times: dict[str, float] = {}
        self._pushed: asyncio.Task[None] | None = None
        self.over = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def take(self, event: Event) -> None:
        """The next event."""
        jpeg = b""
        match event:
            case Frame(pixels=pixels):
                jpeg = (await self._files.run(snapshot, pixels, max(pixels.shape), JPEG_QUALITY)).data
            case Preview(pixels=pixels):
                if len(self._previews) >= MOST_PREVIEWS:
                    return
                jpeg = (await self._files.run(snapshot, pixels, max(pixels.shape), PREVIEW_QUALITY)).data
                self._previews.append(len(self._told))
            case VideoDone() | VideoFailed():
                await self._ended(event)
        message = message_of(event, self.id, jpeg)
        if message is not None:
            self._tell(self._timed(event, message))
        if isinstance(event, Frame):
            await self._written()
            self._pushed = asyncio.create_task(self.film.push(event.pixels, event.pts), name=f"{self.id}-film")

    def fail(self, message: Message) -> None:
        """The last message, where the prediction could not come to its end."""
        self._tell(message)
        self.end()

    def end(self) -> None:
        """Nothing more is told. Idempotent."""
        self.over = True
        if not self.film.over:
            self.film.end()
        self._changed.wake()

    async def messages(self) -> AsyncGenerator[str, None]:
        """All messages from the first one on, as JSON; those to come, too."""
        place = 0
        while True:
            changed = self._changed.next
            while place < len(self._told):
                text, place = self._told[place], place + 1
                if text is not None:
                    yield text
            if self.over and place == len(self._told):
                return
            if place == len(self._told):
                await changed.wait()

    async def settle(self) -> None:
        """Wait for what is being written."""
        with suppress(Exception):  # told when the next frame came, or of no interest any more
            await self._written()

    # ------------------------------------------------------------------------------------------------ inside

    async def _written(self) -> None:
        """Wait until the frame before is in the file."""
        if (pushed := self._pushed) is not None:
            self._pushed = None
            await pushed

    async def _ended(self, event: Event) -> None:
        await self._written()
        if isinstance(event, VideoDone):
            await self.film.finish()
        else:
            self.film.end()
        for place in self._previews:  # those who come later see the video itself
            self._told[place] = None

    def _timed(self, event: Event, message: Message) -> Message:
        """Notes when what came first, and tells it in the end."""
        now = self._now() - self._begun
        if isinstance(event, TextChunk):
            self._times.setdefault("first_text_ms", now)
        elif isinstance(event, Frame):
            self._times.setdefault("first_frame_ms" if event.index == 0 else "first_new_frame_ms", now)
        elif isinstance(event, Completed):
            message["seconds"] = round(now, 3)
            message |= {name: round(1000 * seconds) for name, seconds in self._times.items()}
        return message

    def _tell(self, message: Message) -> None:
        self._told.append(json.dumps(message, ensure_ascii=False, separators=(",", ":")))
        self._changed.wake()


class Predictions:
    """All of them. Ends with :meth:`close`."""

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight
        self.files = Worker("foresight-files", inbox=256)
        """Unpacks, packs and writes pictures."""
        self.reader = Worker("foresight-reader", inbox=256)
        """Reads videos for those who ask for them."""
        self._kept: dict[str, Prediction] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._removing: set[asyncio.Task[None]] = set()
        self._folder: Path | None = None

    def begin(self, scene: Scene, quality: Quality, client: str = "") -> Prediction:
        """Start one. Raises :class:`HttpError` (503) when too many are at work."""
        if len(self._running) >= MOST_RUNNING:
            raise HttpError(503, "server_busy", f"{MOST_RUNNING} predictions are being made already")
        while len(self._kept) >= MOST_KEPT:
            self._forget(next(one for one in self._kept if one not in self._running))
        session_id = f"pred_{secrets.token_hex(12)}"
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="visavis-foresight-"))
        prediction = Prediction(session_id, Film(self._folder / f"{session_id}.mp4", self.files), self.files)
        self._kept[session_id] = prediction
        task = asyncio.create_task(self._run(prediction, scene, quality, client), name=session_id)
        self._running[session_id] = task
        self._set_timer(session_id, UNWATCHED_SECONDS, self._cancel)
        return prediction

    def get(self, session_id: str) -> Prediction | None:
        """The prediction, if it is kept."""
        return self._kept.get(session_id)

    @contextmanager
    def watching(self, prediction: Prediction) -> Iterator[None]:
        """As long as the context lasts, somebody watches."""
        prediction.readers += 1
        if prediction.id in self._running:
            self._drop_timer(prediction.id)
        try:
            yield
        finally:
            prediction.readers -= 1
            if not prediction.readers and prediction.id in self._running:
                self._set_timer(prediction.id, UNWATCHED_SECONDS, self._cancel)

    def cancel(self, prediction: Prediction) -> None:
        """End it. Idempotent."""
        self._cancel(prediction.id)

    async def close(self) -> None:
        """End all of them and delete their files. Idempotent."""
        for session_id in self._running:
            self._cancel(session_id)
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._foresight.settle()
        for session_id in list(self._kept):
            self._forget(session_id)
        await asyncio.gather(*self._removing, return_exceptions=True)
        if (folder := self._folder) is not None:
            self._folder = None
            await self.files.run(shutil.rmtree, folder, ignore_errors=True)
        self.files.close()
        self.reader.close()

    # ------------------------------------------------------------------------------------------------ inside

    async def _run(self, prediction: Prediction, scene: Scene, quality: Quality, client: str) -> None:
        workers.session.set(prediction.id)
        workers.client.set(client)
        try:
            await self._foresight.foresee(scene, quality, prediction.take)
        except asyncio.CancelledError:
            prediction.fail({"type": "cancelled", "session_id": prediction.id})
            raise
        except Exception:  # its clients must be told that nothing more comes
            log.exception("a prediction failed")
            what = "the server failed; its log has the details"
            failed = message_of(VideoFailed("internal_error", what), prediction.id)
            assert failed is not None
            prediction.fail(failed)
        finally:
            prediction.end()
            try:
                await prediction.settle()
            finally:
                del self._running[prediction.id]
                self._set_timer(prediction.id, KEPT_SECONDS, self._forget)

    def _cancel(self, session_id: str) -> None:
        if (task := self._running.get(session_id)) is not None and not task.cancelling():
            task.cancel()  # once: it still has a frame to put away

    def _forget(self, session_id: str) -> None:
        self._drop_timer(session_id)
        if (prediction := self._kept.pop(session_id, None)) is not None:
            removing = asyncio.create_task(prediction.film.remove(), name=f"{session_id}-removal")
            self._removing.add(removing)
            removing.add_done_callback(self._removing.discard)

    def _set_timer(self, session_id: str, seconds: float, action: object) -> None:
        self._drop_timer(session_id)
        assert callable(action)
        self._timers[session_id] = asyncio.get_running_loop().call_later(seconds, action, session_id)

    def _drop_timer(self, session_id: str) -> None:
        if (timer := self._timers.pop(session_id, None)) is not None:
            timer.cancel()
