"""The user asks what happens next: words are spoken, and the film is in the video that comes back."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import count

import av
import cv2
import numpy as np

from media.opus import RATE
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.fakes.peer import Peer, loud
from tests.fakes.vision import FakeVision

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])
_clock = count()
BORDER = np.array([255, 176, 32])


@cache
def _wall() -> np.ndarray:
    """A picture that goes on at its other side, so that it can slide for ever."""
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(np.tile(noise, (1, 3, 1)), (0, 0), 6)[:, 320:640]
    return np.asarray(((soft - soft.mean()) * 12 + 128).clip(0, 255), np.uint8)


def filmed(_: int) -> av.VideoFrame:
    """A wall that slides past. One camera for the whole test: its clock never goes back."""
    n = next(_clock)
    frame = av.VideoFrame.from_ndarray(np.roll(_wall(), -3 * n, axis=1), format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = n * 3000, Fraction(1, 90_000)
    return frame


def bordered(frame: av.VideoFrame) -> bool:
    """Whether this is a frame of a film: it has a border that no camera has."""
    pixels = frame.to_ndarray(format="rgb24")
    return bool(np.abs(pixels[1, 40:-40].mean(axis=0) - BORDER).max() < 60)


async def test_what_happens_next_is_said_and_shown(serve):
    model, voice = FakeModel("I do not know."), FakeVoice()
    engines = fake_engines(stt=FakeRecognizer("show me what happens next"), llm=model, tts=voice, vision=FakeVision())
    url, _ = await serve(engines)
    async with Peer(url, kinds=("audio", "video")) as peer:
        await peer.show(filmed, lambda: len(peer.seen) >= 2)
        assert not any(map(bordered, peer.seen))
        peer.say(TURN, RATE)
        films: list[bool] = []

        def has_shown_it() -> bool:
            films.append(bordered(peer.seen[-1]))
            return any(films) and bool(peer.named("response.done"))

        await peer.show(filmed, has_shown_it)
        response = peer.named("response.done")[0]["response"]
        assert response["status"] == "completed", response
        await peer.show(filmed, lambda: not bordered(peer.seen[-1]))
    said = response["output"][0]["content"][0]["transcript"]
    assert "moves left" in said
    assert model.requests == []
