"""One llama.cpp for several workers: it is lent, comes back when it has ended, and ends when nobody has borrowed it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from pipelines.engines.llm import llama_process, llama_shared
from pipelines.engines.llm.llama import LlamaChat
from pipelines.engines.llm.llama_process import Config
from pipelines.engines.llm.llama_shared import BorrowedLlama, LlamaHost
from pipelines.errors import LLMError
from tests.fakes import llama_process as stand_in
from tests.patience import until
from tests.pipelines.engines.llm.test_llama import again, is_running, said

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")


@pytest.fixture
async def host(monkeypatch, tmp_path):
    monkeypatch.setattr(llama_process, "__file__", stand_in.__file__)
    monkeypatch.setattr(llama_shared, "LINGER_SECONDS", 0.01)
    made = LlamaHost(sharers=2, threads=3)
    await made.start(tmp_path / "llama.sock")
    yield tmp_path / "llama.sock"
    await made.close()


def borrower(host: Path, model: str = "model.gguf") -> LlamaChat:
    return LlamaChat("shared", Config(model), spawn=partial(BorrowedLlama.borrow, host))


async def test_two_workers_speak_with_the_same_process(host):
    one, two = borrower(host), borrower(host)
    await asyncio.gather(one.warm(), two.warm())
    assert one.pid == two.pid is not None
    assert await said(one, "hello") == await said(two, "hello") == "You said: hello "
    pid = one.pid
    await one.close()
    assert is_running(pid)
    assert await said(two, "still here") == "You said: still here "
    await two.close()
    await until(lambda: not is_running(pid))


async def test_a_host_that_ends_before_its_borrowers_tells_no_error(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(llama_process, "__file__", stand_in.__file__)
    host = LlamaHost(sharers=1, threads=1)
    await host.start(tmp_path / "llama.sock")
    one = borrower(tmp_path / "llama.sock")
    await one.warm()
    pid = one.pid
    await host.close()
    await until(lambda: not is_running(pid))
    await one.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_process_that_dies_comes_back_for_all(host):
    one, two = borrower(host), borrower(host)
    await asyncio.gather(one.warm(), two.warm())
    before = one.pid
    os.kill(before, signal.SIGKILL)
    await asyncio.gather(again(one, before), again(two, before))
    assert one.pid == two.pid
    assert await said(two, "hello") == "You said: hello "
    await asyncio.gather(one.close(), two.close())


async def test_a_model_that_cannot_be_loaded_is_told_to_whoever_wanted_it(host):
    one = borrower(host, "broken.gguf")
    with pytest.raises(LLMError, match="broken"):
        await one.warm()
    await one.close()


async def test_a_host_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LLMError, match="host does not answer"):
        await borrower(tmp_path / "nobody.sock").warm()
