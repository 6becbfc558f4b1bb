"""Whisper on CTranslate2: partials while the user speaks, one run of the encoder for the final transcript.

Windows are as short as the audio (:mod:`pipelines.engines.whisper_windows`). All sessions share one model on one
thread; windows of equal size are decoded as one batch (:mod:`pipelines.engines.whisper_decode`), and partials make way
for finals.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from pipelines.batching import BatchWorker
from pipelines.crew import LOAD_SECONDS
from pipelines.engines.whisper_decode import Decoded, Request, WhisperDecoder
from pipelines.engines.whisper_model import Whisper
from pipelines.engines.whisper_settings import WhisperSettings, check
from pipelines.engines.whisper_utterance import WhisperRecognition
from pipelines.engines.whisper_windows import LONGEST_FRAMES, window_frames
from pipelines.errors import EngineBusyError, ListenError, PipelineError
from pipelines.models.residency import Resident
from pipelines.ports import VAD_RATE
from pipelines.worker import session

_SESSIONS_REMEMBERED = 256


@dataclass(slots=True)
class WhisperCounts:
    """What the engine has done since it was made."""

    finals: int = 0
    """Windows decoded for good."""
    partials: int = 0
    dropped: int = 0
    """Partials given up for somebody's final transcript."""
    padded: int = 0
    """Finals decoded again in 30 s."""
    reused: int = 0
    """Finals for which a partial of the same audio served."""


class WhisperRecognizer:
    """Whisper as a :class:`~pipelines.ports.SpeechToText`, for any number of utterances at a time.

    ``max_batch`` windows are decoded together; ``max_wait`` is how many seconds one may wait for company (0 on a CPU).
    Raises :class:`~pipelines.errors.ListenError` for settings that no such model can serve: ``stt_language``,
    ``stt_task``, ``stt_cannot_translate``.
    """

    def __init__(
        self,
        model: Resident[Whisper],
        settings: WhisperSettings | None = None,
        *,
        max_batch: int = 8,
        max_wait: float = 0.0,
        inbox: int = 64,
    ) -> None:
        self.name = model.name
        self.settings = settings or WhisperSettings()
        check(self.name, self.settings)
        self.counts = WhisperCounts()
        self.streams_partials = self.settings.partial_seconds > 0
        self._spoken: OrderedDict[str, str] = OrderedDict()  # session → language
        self.decoder = WhisperDecoder(model, self.settings.task, self.settings.word_timestamps)
        self.worker: BatchWorker[Request, Decoded | None] = BatchWorker(
            "whisper", self.decoder.run, max_batch=max_batch, max_wait=max_wait, inbox=inbox, limit=LOAD_SECONDS
        )

    async def warm(self) -> None:
        """Load the model and decode a second of silence. Raises :class:`~pipelines.errors.ListenError`."""
        silence = np.zeros(VAD_RATE, np.int16)
        await self.decode(Request(silence, window_frames(len(silence)), self.settings.language or "en", final=True))

    async def open(self) -> WhisperRecognition:
        """Start an utterance."""
        return WhisperRecognition(self, session.get())

    async def close(self) -> None:
        """End the thread; utterances in progress fail. Idempotent."""
        self.worker.close()

    # ---- for the utterances

    async def decode(self, request: Request) -> Decoded | None:
        """Decode a window; ``None`` if it was a partial one that had to make way.

        Raises :class:`~pipelines.errors.ListenError`: ``stt_busy``, ``stt_closed``, ``stt_failed``, ``engine_stuck``,
        and what the model refuses.
        """
        if request.final:
            self.decoder.finals_waiting.add(request)
        try:
            decoded = await self.worker.submit(request, group=request.group)
        except EngineBusyError as error:
            if error.code == "engine_busy" and not request.final:
                return self._count(request, None)
            code = "stt_closed" if error.code == "engine_closed" else "stt_busy"
            raise ListenError(code, error.message) from error
        except ListenError:
            raise
        except PipelineError as error:
            raise ListenError(error.code, error.message) from error
        except Exception as error:
            raise ListenError("stt_failed", f"{self.name} failed: {error}") from error
        finally:
            self.decoder.finals_waiting.discard(request)
        return self._count(request, decoded)

    async def decode_well(self, request: Request, decoded: Decoded | None = None) -> Decoded:
        """Decode a final window, and again in 30 s if the result is not to be believed; returns the better one.

        ``decoded`` is the result of the first attempt if there is one already. Errors as for :meth:`decode`.
        """
        guard = self.settings.guard
        self.counts.reused += decoded is not None
        short = decoded or await self.decode(request)
        if short is None:
            raise ListenError("stt_failed", f"{self.name} gave no transcript")
        if short.frames == LONGEST_FRAMES or not guard.suspects(short.said):
            return short
        may_repeat = not guard.repeats(short.said)
        again = Request(request.samples, LONGEST_FRAMES, short.language, request.previous, may_repeat, final=True)
        padded = await self.decode(again)
        self.counts.padded += 1
        return padded if padded is not None and not guard.prefers(short.said, padded.said) else short

    def make_final(self, request: Request) -> None:
        """A request that is being decoded turns out to be all that was said: it makes way no more."""
        request.final = True
        self.decoder.finals_waiting.add(request)

    def spoken_in(self, session_id: str) -> str | None:
        """The language last heard in a session."""
        return self._spoken.get(session_id)

    def heard_in(self, session_id: str, language: str) -> None:
        """Remember the language of a session; the longest silent sessions are forgotten."""
        if session_id:
            self._spoken[session_id] = language
            self._spoken.move_to_end(session_id)
            if len(self._spoken) > _SESSIONS_REMEMBERED:
                self._spoken.popitem(last=False)

    def _count(self, request: Request, decoded: Decoded | None) -> Decoded | None:
        if decoded is None:
            self.counts.dropped += 1
        elif request.final:
            self.counts.finals += 1
        else:
            self.counts.partials += 1
        return decoded
