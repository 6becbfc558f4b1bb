"""Whatever an engine raises becomes its stage's error, with the traceback in the log once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from pipelines.errors import STTError, TTSError, foreign_errors, guarded, only_logged


async def test_a_foreign_exception_becomes_the_stages_error_and_is_logged(caplog):
    with pytest.raises(STTError) as wrapped, foreign_errors(STTError, "stt_failed", "parrot"):
        raise RuntimeError("unable to perform operation; the handler is closed")
    assert wrapped.value.message.startswith("parrot failed unexpectedly (RuntimeError)")
    assert wrapped.value.code == "stt_failed"
    assert isinstance(wrapped.value.__cause__, RuntimeError)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "handler" not in wrapped.value.message  # what a library says is for the log


async def test_our_own_errors_pass_unchanged_and_unlogged(caplog):
    error = STTError("stt_stuck", "no answer")
    with pytest.raises(STTError) as passed, foreign_errors(TTSError, "tts_failed", "parrot"):
        raise error
    assert passed.value is error
    assert not caplog.records


async def test_a_cancellation_of_the_engines_own_is_its_failure(caplog):
    async def work() -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        with foreign_errors(STTError, "stt_failed", "parrot"):
            await inner

    with pytest.raises(STTError, match="gave up"):
        await work()


async def test_a_cancellation_of_the_caller_is_none(caplog):
    begun = asyncio.Event()

    async def work() -> None:
        with foreign_errors(STTError, "stt_failed", "parrot"):
            begun.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not caplog.records


async def test_a_guarded_generator_tells_the_engines_errors_from_its_readers(caplog):
    closed = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
            raise KeyError("phoneme")
        finally:
            closed.append(True)

    items = []
    with pytest.raises(TTSError, match="KeyError"):
        async for item in guarded(source, TTSError, "tts_failed", "parrot"):
            items.append(item)  # noqa: PERF401 - the error must come after the items
    assert items == [1, 2]
    assert len(caplog.records) == 1
    with pytest.raises(ZeroDivisionError):
        async with aclosing(guarded(source, TTSError, "tts_failed", "parrot")) as pieces:
            async for item in pieces:
                item // 0
    assert len(closed) == 2
    assert len(caplog.records) == 1


async def test_an_engine_that_raises_before_it_generates_is_guarded_too():
    def source() -> AsyncGenerator[int, None]:
        raise TypeError("no such voice")

    with pytest.raises(TTSError, match="TypeError"):
        await anext(guarded(source, TTSError, "tts_failed", "parrot"))


async def test_errors_of_closing_are_logged_and_do_no_harm(caplog):
    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise RuntimeError("already closed")

    async with aclosing(guarded(source, TTSError, "tts_failed", "parrot")) as pieces:
        assert await anext(pieces) == 1
    with only_logged("closing parrot"):
        raise STTError("stt_closed", "closed")
    assert ["closing parrot" in record.message for record in caplog.records] == [True, True]
