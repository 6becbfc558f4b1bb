"""One response, from the question to the last sample: think, speak, and know what was heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from media.clock import Clock
from pipelines.errors import PipelineError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Usage
from pipelines.interfaces.tts import TextToSpeech
from pipelines.voice.events import (
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseText,
    ResponseWords,
    TurnLatency,
    VoiceEvent,
)
from pipelines.voice.history import FunctionCall, new_id
from pipelines.voice.llm import Clauses
from pipelines.voice.tts import Playout, Script, VoiceSettings, speak

log = logging.getLogger(__name__)

answering: ContextVar[str] = ContextVar("answering", default="")
"""The id of the response that is being worked on here; empty outside of one."""
HUNGRY_SECONDS = 0.3
"""With less than this left to hear, what the model has said so far is needed now."""


@dataclass(slots=True)
class TurnTimes:
    """Wall times (seconds) of the steps of one turn, as they happen; ``None`` for a step that has not."""

    speech_end: float | None = None
    prepared_since: float | None = None
    """When work on the answer began, before it was known that the turn was over."""
    endpoint: float | None = None
    transcript: float | None = None
    first_token: float | None = None
    first_clause: float | None = None
    first_audio: float | None = None
    unjudged: bool = False
    """Whether the turn detector had no time for the pause that ended the turn."""

    def latency(self, response_id: str) -> TurnLatency | None:
        """The breakdown, once the first sample has been sent; ``None`` for turns that were not spoken."""
        if self.speech_end is None or self.first_audio is None:
            return None
        parts: dict[str, float] = {}
        before = self.speech_end
        for step in ("endpoint", "transcript", "first_token", "first_clause", "first_audio"):
            at = getattr(self, step)
            if at is not None:
                parts[step] = max(0.0, at - before)
                before = max(before, at)
        return TurnLatency(response_id, self.first_audio - self.speech_end, parts, self._saved(), self.unjudged)

    def _saved(self) -> float:
        """How much of the work was done before the endpoint was decided."""
        if self.prepared_since is None or self.endpoint is None:
            return 0.0
        done = [at for at in (self.transcript, self.first_token, self.first_clause) if at is not None]
        return max(0.0, min(self.endpoint, max(done, default=0.0)) - self.prepared_since)


@dataclass(slots=True)
class Response:
    """Runs one response. The owner cancels :meth:`run` to interrupt it and then calls :meth:`heard`."""

    id: str
    item_id: str
    model: LanguageModel
    voice: TextToSpeech
    settings: VoiceSettings
    playout: Playout | None
    """``None`` for a response that is only text."""
    emit: Callable[[VoiceEvent], None]
    clock: Clock
    times: TurnTimes = field(default_factory=TurnTimes)
    script: Script = field(default_factory=Script, init=False)
    text: str = ""
    """What has been generated (and, with a voice, queued) so far."""
    cut: bool = False
    """Whether the model stopped because of the limit of tokens."""
    calls: tuple[FunctionCall, ...] = ()
    """Functions that the client is asked to call, once all has been generated."""
    usage: Usage | None = None
    """What it has cost, where the engine knows."""
    told: bool = False
    """Whether the outcome has been told: :class:`ResponseGenerated` or :class:`ResponseFailed`, exactly once."""

    async def run(self, request: ChatRequest, generated: Callable[[], None]) -> None:
        """Answer ``request``; returns when the last sample has been sent. Whatever fails, the outcome is told.

        ``generated`` is called right before that: from then on text and calls stay as they are.
        """
        answering.set(self.id)
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch_start())
                self._tell(await self._say(request, group), generated)
                await self._sound_out()
                watcher.cancel()
        except Exception:
            # A defect in one response must not end the session, nor leave the client waiting for its end.
            log.exception("the response %s failed", self.id)
            self._tell(_defect(), generated)
            if self.playout is not None and not self.playout.ended.is_set():
                self.playout.flush()
                self.emit(ResponseAudioStopped(self.id))

    def heard(self) -> tuple[str, float]:
        """Silence the response; the words and the seconds that were heard."""
        if self.playout is None:
            return self.text, 0.0
        seconds = self.playout.flush()
        return self.script.heard(seconds), seconds

    async def _say(self, request: ChatRequest, group: asyncio.TaskGroup) -> PipelineError | None:
        """Think and speak at the same time until all has been generated and synthesised, or something fails."""
        request = replace(request, on_usage=self._cost)
        clauses = Clauses(self.model, request, self.clock, self._first_token, self._hungry)
        tasks = [group.create_task(clauses.read()), group.create_task(clauses.watch())]
        try:
            async with aclosing(self._spoken(self._timed(clauses.take()))) as spoken:
                async for clause in spoken:
                    self.text = f"{self.text} {clause}".strip()
                    self.emit(ResponseText(self.id, clause))
            self.cut = clauses.cut
            self.calls = tuple(FunctionCall(new_id("item"), call) for call in clauses.calls)
        except PipelineError as failure:
            return failure
        except Exception:
            # A barrier: what has been said so far is heard to its end, and told like any other failure.
            log.exception("the response %s failed", self.id)
            return _defect()
        finally:
            for task in tasks:
                task.cancel()
        return None

    async def _sound_out(self) -> None:
        """Wait until all that was synthesised has been sent."""
        if self.playout is not None:
            self.playout.finish()
            await self.playout.ended.wait()
            self.emit(ResponseAudioStopped(self.id))

    def _tell(self, error: PipelineError | None, generated: Callable[[], None]) -> None:
        if self.told:
            return
        self.told = True
        generated()
        if error is None:
            self.emit(ResponseGenerated(self.id, self.text, self.cut, self.calls, self.usage))
        else:
            self.emit(ResponseFailed(self.id, error, self.text))

    def _cost(self, usage: Usage) -> None:
        """Of one round with the model: one that looks, or calls what the server runs itself, has several."""
        before = self.usage or Usage(0, 0, 0)
        rounds = (before.prompt + usage.prompt, before.cached + usage.cached, before.answer + usage.answer)
        self.usage = Usage(*rounds)

    async def _timed(self, source: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        async with aclosing(source):
            async for clause in source:
                if self.times.first_clause is None:
                    self.times.first_clause = self.clock.now()
                yield clause

    def _spoken(self, source: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        if self.playout is None:
            return source
        return speak(source, self.voice, self.settings, self.playout, self.script, self._tell_words)

    def _tell_words(self, script: Script) -> None:
        words, estimated = script.news()
        if words:
            self.emit(ResponseWords(self.id, words, estimated))

    def _hungry(self) -> bool:
        """Whether hardly anything is left to hear of what has been synthesised."""
        return self.playout is None or self.script.seconds - self.playout.heard_seconds < HUNGRY_SECONDS

    async def _watch_start(self) -> None:
        if self.playout is None:
            return
        await self.playout.started.wait()
        self.times.first_audio = self.clock.now()
        self.emit(ResponseAudioStarted(self.id))
        latency = self.times.latency(self.id)
        if latency is not None:
            self.emit(latency)

    def _first_token(self) -> None:
        self.times.first_token = self.clock.now()


def _defect() -> PipelineError:
    return PipelineError("internal_error", "the response failed for an unexpected reason")
