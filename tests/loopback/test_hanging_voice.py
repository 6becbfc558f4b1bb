"""A voice that hangs in one call is heard in none for a moment only: another engine takes over, in every call."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator

import numpy as np

from media.opus import RATE
from pipelines.interfaces.tts import Speech
from pipelines.routing.routes.speech import FallbackVoice
from pipelines.runtime.worker import Worker
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.peer import Peer, loud

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])


class HangingVoice(FakeVoice):
    """Speaks on one thread, as real voices do, which never comes back from its first clause."""

    name = "hanging"

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.begun = threading.Event(), threading.Event()
        self.worker = Worker("hanging", limit=0.5)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        await self.worker.run(self.speak)
        async for piece in super().synthesize(text):
            yield piece

    def speak(self) -> None:
        if not self.begun.is_set():
            self.begun.set()
            self.gate.wait()

    async def close(self) -> None:
        self.gate.set()
        self.worker.close()


async def test_another_call_is_answered_while_the_voice_hangs_in_one(serve):
    hanging, other = HangingVoice(), FakeVoice()
    tts = FallbackVoice([hanging, other], lambda name, error: None)
    stt, llm = FakeRecognizer(*["hello there"] * 2), FakeModel(*["Hello to you."] * 2)
    url, _ = await serve(fake_engines(stt=stt, llm=llm, tts=tts))
    async with Peer(url) as first, Peer(url) as second:
        first.say(TURN, RATE)
        await first.until(hanging.begun.is_set)
        second.say(TURN, RATE)
        for peer in (first, second):
            await peer.event("output_audio_buffer.stopped")
            assert (await peer.event("response.done"))["response"]["status"] == "completed"
    assert not hanging.gate.is_set()
    assert other.said
