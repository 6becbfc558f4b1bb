"""One engine as a replica of Ray Serve offers it: the calls that a stage makes, with values in and out. No Ray here.

A call is one utterance, one answer, one clause, one item of a task or one film; pieces come as they are made, and
closing the generator ends the engine's work as it does in one process.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipelines.engines.remote.wire import About, Asker, Failed, Heard, Told
from pipelines.errors import PipelineError
from pipelines.interfaces import llm, stt
from pipelines.interfaces.llm import ChatRequest
from pipelines.interfaces.stt import Transcript

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a replica has loaded."""

    stage: str
    engine: Any
    """By its stage: a recogniser, a language model, a voice, a :class:`~pipelines.interfaces.task.TaskRunner`, or a
    :class:`~pipelines.foresight.filming.Filmer`."""
    name: str
    device: str = "cpu"


class Replica:
    """Answers for one engine. ``node`` is where it runs."""

    def __init__(self, loaded: Loaded, node: str = "") -> None:
        self._engine = loaded.engine
        self.about = About(
            loaded.stage,
            loaded.name,
            loaded.device,
            node,
            platform.python_version(),
            _version(),
            abilities=abilities(loaded.stage, loaded.engine),
        )

    async def probe(self) -> None:
        """Return when the engine works, as far as it can tell; raise what it raises when not."""
        if (probe := getattr(self._engine, "probe", None)) is not None:
            await probe()

    async def transcribe(self, many: Sequence[Heard]) -> list[Transcript | Failed]:
        """The transcripts of several utterances, which the engine computes as one batch if it can."""
        return list(await asyncio.gather(*map(self.transcribed, many)))

    async def transcribed(self, heard: Heard) -> Transcript | Failed:
        """The transcript of one."""
        with heard.asker.there():
            told: Transcript | Failed = await _told(self._heard(heard))
        return told

    async def chat(self, request: ChatRequest, asker: Asker) -> AsyncGenerator[Any, None]:
        """Pieces of an answer, :class:`Told` among them; the last one may be :class:`Failed`."""
        told: list[Told] = []
        heeding = replace(
            request,
            on_usage=lambda usage: told.append(Told("usage", usage)),
            on_logprobs=None if request.top_logprobs is None else lambda rows: told.append(Told("logprobs", rows)),
        )
        async with aclosing(_pieces(lambda: self._engine.stream(heeding), asker)) as pieces:
            async for piece in pieces:
                while told:
                    yield told.pop(0)
                yield piece
        for one in told:
            yield one

    async def speak(self, text: str, voice: str | None, speed: float, asker: Asker) -> AsyncGenerator[Any, None]:
        """Pieces of speech; the last one may be :class:`Failed`."""
        async with aclosing(_pieces(lambda: self._engine.synthesize(text, voice, speed), asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None, asker: Asker) -> Any:
        """The result of one item of a task, or :class:`Failed`."""
        with asker.there():
            return await _told(self._engine.run(inputs, parameters))

    async def pieces(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None, asker: Asker
    ) -> AsyncGenerator[Any, None]:
        """Pieces of the result of a task; the last one may be :class:`Failed`."""
        async with aclosing(_pieces(lambda: self._engine.stream(inputs, parameters), asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def film(self, scene: Any, first: Any, plan: Any, asker: Asker) -> AsyncGenerator[Any, None]:
        """Frames of a film; the last one may be :class:`Failed`."""
        async with aclosing(_pieces(lambda: self._engine.film(scene, first, plan), asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def _heard(self, heard: Heard) -> Transcript:
        recognition = await self._engine.open()
        try:
            await recognition.feed(heard.samples)
            transcript: Transcript = await recognition.transcript()
            if transcript.better is not None:  # somebody else's opinion: what it belongs to ends with this call
                better = await transcript.better
                transcript = better or transcript
            return replace(transcript, better=None)
        finally:
            await recognition.close()


async def _told(work: Any) -> Any:
    """What ``work`` gives, or :class:`Failed`."""
    try:
        return await work
    except PipelineError as error:
        return Failed.of(error)
    except Exception as error:
        log.exception("an engine of a replica failed")
        return _defect(error)


async def _pieces(make: Any, asker: Asker) -> AsyncGenerator[Any, None]:
    """What the generator yields; an error is the last piece. The engine begins in the context of ``asker``."""
    with asker.there():
        try:
            source = make()
            first = await anext(source, _END)
        except PipelineError as error:
            first, source = Failed.of(error), None
        except Exception as error:
            log.exception("an engine of a replica failed")
            first, source = _defect(error), None
    if source is None:
        yield first
        return
    try:
        piece = first
        while piece is not _END:
            yield piece
            try:
                piece = await anext(source, _END)
            except PipelineError as error:
                yield Failed.of(error)
                return
            except Exception as error:
                log.exception("an engine of a replica failed")
                yield _defect(error)
                return
    finally:
        await source.aclose()


_END = object()


def _defect(error: Exception) -> Failed:
    return Failed("failed", f"it failed unexpectedly ({type(error).__name__}); the log of its replica tells more")


def abilities(stage: str, engine: Any) -> dict[str, Any]:
    """What an engine says of itself that stages ask for."""
    if stage == "stt":
        return {
            "languages": stt.languages_of(engine),
            "streams_partials": stt.streams_partials(engine),
            "translates": stt.can_hear(engine, stt.Hearing(translate=True)),
            "word_times": stt.can_hear(engine, stt.Hearing(word_times=True)),
        }
    if stage == "llm":
        return {
            "takes_images": llm.takes_images(engine),
            "takes_tools": llm.takes_tools(engine),
            "takes_choice": llm.takes_choice(engine),
            "calls_unasked": llm.calls_unasked(engine),
            "takes_format": llm.takes_format(engine),
            "takes_logprobs": llm.takes_logprobs(engine),
            "adapters": llm.adapters_of(engine),
        }
    if stage == "tts":
        return {"voices": tuple(engine.voices)}
    if stage == "foresight":
        return {"method": engine.method, "grain": engine.grain}
    return {}


def _version() -> str:
    try:
        return version("visavis")
    except PackageNotFoundError:
        return "unknown"
