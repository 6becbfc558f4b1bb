"""Recognisers that decode a growing window of sound again and again, shared by all sessions.

What the networks differ in is a :class:`WindowDecoder`; how an utterance grows is
:class:`~pipelines.engines.stt.whisper_utterance.WhisperRecognition`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipelines.engines.registry import Built
from pipelines.engines.stt.whisper_decode import Decoded, DecodeJob, Request
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY, LANGUAGES, WhisperSettings
from pipelines.engines.stt.whisper_utterance import WhisperRecognition
from pipelines.engines.stt.whisper_windows import window_frames
from pipelines.errors import EngineBusyError, PipelineError, STTError
from pipelines.interfaces.stt import hearing
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.batching import BatchWorker
from pipelines.runtime.crew import LOAD_SECONDS
from pipelines.runtime.worker import session, spoken_language

_SESSIONS_REMEMBERED = 256


class WindowDecoder(Protocol):
    """Decodes windows on the worker's thread."""

    finals_waiting: set[Request]
    """Final requests that have not begun: partial ones make way for them. Filled by the event loop."""

    def run(self, jobs: Sequence[DecodeJob]) -> Sequence[Decoded | Exception | None]:
        """One result for each job: ``None`` for those dropped."""
        ...


class WindowRecognizer:
    """A :class:`~pipelines.interfaces.stt.SpeechToText` for any number of utterances at a time, on one thread.

    ``max_batch`` windows are decoded together; ``max_wait`` is how many seconds one may wait for company (0 on a CPU).
    """

    def __init__(
        self,
        name: str,
        decoder: WindowDecoder,
        settings: WhisperSettings,
        *,
        max_batch: int = 8,
        max_wait: float = 0.0,
    ) -> None:
        self.name = name
        self.settings = settings
        self.streams_partials = settings.partial_seconds > 0
        self.decoder = decoder
        self._spoken: OrderedDict[str, str] = OrderedDict()  # session → language
        self.worker: BatchWorker[Request, Decoded | None] = BatchWorker(
            name, decoder.run, max_batch=max_batch, max_wait=max_wait, limit=LOAD_SECONDS
        )

    async def warm(self) -> None:
        """Load the model and decode a second of silence. Raises :class:`~pipelines.errors.STTError`."""
        silence = np.zeros(VAD_RATE, np.int16)
        await self.decode(Request(silence, window_frames(len(silence)), self.settings.language or "en", final=True))

    async def open(self) -> WhisperRecognition:
        """Start an utterance."""
        return WhisperRecognition(self, session.get(), spoken_language.get(), hearing.get())

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of those that may be spoken to it."""
        if self.settings.language is not None:
            return (self.settings.language,)
        return ("en",) if self.name.endswith(ENGLISH_ONLY) else LANGUAGES

    async def close(self) -> None:
        """End the thread; utterances in progress fail. Idempotent."""
        self.worker.close()

    # ---- for the utterances

    async def decode(self, request: Request) -> Decoded | None:
        """Decode a window; ``None`` if it was a partial one that had to make way.

        Raises :class:`~pipelines.errors.STTError`: ``stt_busy``, ``stt_closed``, ``stt_failed``, ``engine_stuck``,
        and what the model refuses.
        """
        if request.final:
            self.decoder.finals_waiting.add(request)
        try:
            return await self.worker.submit(request, group=request.group)
        except EngineBusyError as error:
            if error.code == "engine_busy" and not request.final:
                return None
            code = "stt_closed" if error.code == "engine_closed" else "stt_busy"
            raise STTError(code, error.message) from error
        except STTError:
            raise
        except PipelineError as error:
            raise STTError(error.code, error.message) from error
        except Exception as error:
            raise STTError("stt_failed", f"{self.name} failed: {error}") from error
        finally:
            self.decoder.finals_waiting.discard(request)

    async def decode_well(self, request: Request, decoded: Decoded | None = None) -> Decoded:
        """Decode a final window, and once more if the result is not to be believed; returns the better one.

        ``decoded`` is the result of the first attempt if there is one already. Errors as for :meth:`decode`.
        """
        guard = self.settings.guard
        first = decoded or await self.decode(request)
        if first is None:
            raise STTError("stt_failed", f"{self.name} gave no transcript")
        if not guard.suspects(first.said) or (again := self.second_attempt(request, first)) is None:
            return first
        second = await self.decode(again)
        return second if second is not None and not guard.prefers(first.said, second.said) else first

    def second_attempt(self, request: Request, first: Decoded) -> Request | None:
        """How to ask again where ``first`` is not to be believed; ``None`` where that would change nothing."""
        raise NotImplementedError

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


async def warmed(engine: WindowRecognizer, device: str, reason: str) -> Built[WindowRecognizer]:
    """``engine`` once it works; closed if it does not. Raises as :meth:`WindowRecognizer.warm` does."""
    try:
        await engine.warm()
    except BaseException:  # it leaves no thread behind
        await engine.close()
        raise
    return Built(engine, device, reason, (engine.worker,))
