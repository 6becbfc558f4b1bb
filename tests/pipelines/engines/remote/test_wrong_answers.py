"""A replica that answers with what nobody has asked for, or with what cannot be read, fails as one that is away:
by an error of its stage, upon which the next engine is asked."""

from __future__ import annotations

import asyncio
import pickle
import struct
from typing import Any

import numpy as np
import pytest

from pipelines.engines.remote.calls import Deployments
from pipelines.engines.remote.engines import Remote, RemoteModel, RemoteTask, RemoteVoice
from pipelines.engines.remote.recognizer import RemoteRecognizer
from pipelines.engines.remote.wire import About, framed, next_message
from pipelines.errors import LLMError, STTError, TTSError
from pipelines.interfaces.llm import ChatRequest
from pipelines.interfaces.task import TaskError
from server.engines.remote.ray import RayEngines
from tests.pipelines.engines.remote.test_link import ABOUT, Way

WRONG = (None, 7, b"bytes", {"text": "hello"}, [1])


def known(way: Way, stage: str, about: About | None = ABOUT) -> Remote:
    remote = Remote(way.link, stage)
    remote.about = about
    return remote


async def said(stream: Any) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_of_another_kind_is_an_error_of_the_stage(wrong):
    async def pieces(*_: object):
        yield wrong

    async with Way(lambda *_: wrong) as way:
        way.bridges.deployments = Deployments("app", lambda _, name: way.handles, lambda application: wrong)
        with pytest.raises(LLMError, match="nobody has asked for"):
            await known(way, "llm", None).probe()
        recognition = await RemoteRecognizer(known(way, "stt")).open()
        await recognition.feed(np.zeros(400, np.int16))
        with pytest.raises(STTError):
            await recognition.transcript()
        await recognition.close()
        with pytest.raises(TaskError):
            await RemoteTask(known(way, "ocr")).run({})
        await known_engines_are_looked_for_all_the_same(way)
        way.handles.answer = pieces
        with pytest.raises(LLMError):
            await said(RemoteModel(known(way, "llm")).stream(ChatRequest(())))
        with pytest.raises(TTSError):
            await said(RemoteVoice(known(way, "tts")).synthesize("Hello."))


async def known_engines_are_looked_for_all_the_same(way: Way) -> None:
    engines = RayEngines(way.link)
    engines.remote("llm")
    await engines.look()
    assert engines.status()["problem"]


class Vanished:
    """Is of a module that the other side has not."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> Any:
    raise ModuleNotFoundError("no such module here")


@pytest.mark.parametrize("data", [b"this is no pickle", b"", pickle.dumps(Vanished())])
async def test_what_cannot_be_read_is_the_end_of_the_way(data):
    reader = asyncio.StreamReader()
    reader.feed_data(framed(1) + struct.pack("!I", len(data)) + data)
    assert await next_message(reader) == 1
    with pytest.raises(EOFError, match="cannot be read"):
        await next_message(reader)
