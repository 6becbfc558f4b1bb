"""One root error for everything that can go wrong in a pipeline, one subclass per stage.

Foreign exceptions are wrapped where a stage calls its engine (:func:`foreign_errors`, :func:`guarded`) and turned into
an event or an HTTP status in one place, so that no traceback text ever reaches a client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class PipelineError(Exception):
    """``code`` is for programs, ``message`` for whoever asked, ``stage`` says where.

    ``summary`` is what everybody may read, in the log and in the status of the server. It is the message but where
    that repeats what another server has answered: such an answer may quote the request.
    """

    stage = "pipeline"

    def __init__(self, code: str, message: str, summary: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.summary = message if summary is None else summary

    def __str__(self) -> str:
        return f"{self.stage}: {self.summary} ({self.code})"


class STTError(PipelineError):
    """Voice activity or speech-to-text failed."""

    stage = "stt"


class LLMError(PipelineError):
    """The language model failed."""

    stage = "llm"


class TTSError(PipelineError):
    """Text-to-speech failed."""

    stage = "tts"


class VisionError(PipelineError):
    """A vision detector failed."""

    stage = "vision"


class ModelError(PipelineError):
    """A model file could not be had, or is not what it should be."""

    stage = "models"


class DefinitionError(PipelineError):
    """A pipeline definition is not valid; the message names file, field and legal values."""

    stage = "definition"


class EngineBusyError(PipelineError):
    """An engine's inbox is full: the caller may try again or give up, nothing was queued."""

    stage = "engine"


class EngineStuckError(PipelineError):
    """An engine hung in this job, or in so many before that it takes no more."""

    stage = "engine"


@contextmanager
def foreign_errors(kind: type[PipelineError], code: str, engine: str) -> Iterator[None]:
    """Whatever the engine in this block raises that is no :class:`PipelineError` becomes ``kind(code, …)``.

    The traceback is logged here, once. A cancellation that nobody asked this task for is the engine's failure: some
    future of its own was cancelled. Only for code that runs in a task.
    """
    try:
        yield
    except PipelineError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        log.exception("%s gave up its work", engine)
        raise kind(code, f"{engine} gave up its work") from error
    except Exception as error:
        log.exception("%s failed", engine)
        raise kind(code, f"{engine} failed unexpectedly ({type(error).__name__}); the log tells more") from error


async def guarded(
    source: Callable[[], AsyncGenerator[T, None]], kind: type[PipelineError], code: str, engine: str
) -> AsyncGenerator[T, None]:
    """What the engine's generator ``source()`` yields; its errors as by :func:`foreign_errors`, not its reader's."""
    with foreign_errors(kind, code, engine):
        generator = source()
    try:
        while True:
            with foreign_errors(kind, code, engine):
                try:
                    item = await anext(generator)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        with only_logged(f"closing {engine}"):
            await generator.aclose()


@contextmanager
def only_logged(what: str) -> Iterator[None]:
    """An error in this block is logged with its traceback and does no other harm: for closing what has served."""
    try:
        yield
    except Exception:
        log.exception("%s failed", what)


def listed(names: Sequence[str], most: int = 40) -> str:
    """``names`` for a message, at most ``most`` of them: some voices have hundreds of speakers."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
