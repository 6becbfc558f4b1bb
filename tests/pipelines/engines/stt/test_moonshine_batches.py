"""Moonshine decodes windows of several sessions together: each gets what is its own, finals before partials."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.engines.stt.moonshine import MoonshineDecoder
from pipelines.engines.stt.moonshine_model import Moonshine, Window, load_moonshine
from pipelines.engines.stt.whisper_decode import Request
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from tests.assets import speech_16k
from tests.real_models import real_folder

END = 2
WORDS = [b"", b"", b"", b"la", b"lo", b"li"]


class Encoder:
    """Gives a row for every 384 samples, of the first sample's value."""

    def run(self, outputs: object, feed: dict[str, Any]) -> list[np.ndarray]:
        audio = feed["input_values"]
        return [np.full((1, audio.shape[1] // 384, 1), audio[0, 0], np.float32)]


class Decoder:
    """Says token 3, 4 or 5 as often as the value that it hears, and then the end."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.heard: list[list[int]] = []

    def get_inputs(self) -> list[object]:
        return []

    def get_outputs(self) -> list[object]:
        return [SimpleNamespace(name="logits")]

    def run(self, outputs: object, feed: dict[str, Any]) -> list[np.ndarray]:
        hidden, mask = feed["encoder_hidden_states"], feed["encoder_attention_mask"]
        self.sizes.append(len(hidden))
        self.heard.append(mask.sum(axis=1).tolist())
        begun = feed["use_cache_branch"][0]
        step = self.step = self.step + 1 if begun else 0
        logits = np.zeros((len(hidden), 1, len(WORDS)), np.float32)
        for row, value in enumerate(np.round(hidden[:, 0, 0] * 32768).astype(int)):
            logits[row, 0, 2 + value if step < value else END] = 9.0
        return [logits]


def tiny() -> tuple[Moonshine, Decoder]:
    decoder = Decoder()
    return Moonshine(Encoder(), decoder, WORDS), decoder


def sound(value: int, seconds: float = 1.0) -> np.ndarray:
    return np.full(round(seconds * VAD_RATE), value, np.int16)


def test_each_gets_its_own_text_however_long_the_others_go_on() -> None:
    moonshine, decoder = tiny()
    windows = [Window(sound(2)), Window(sound(1, 0.5)), Window(sound(3, 0.05)), Window(sound(3))]
    assert [said.text for said in moonshine.transcribe_together(windows)] == ["lolo", "la", "", "lilili"]
    assert decoder.sizes == [3, 3, 3, 3], "one batch, to the end of the longest; what is no sound is not in it"
    assert decoder.heard[0] == [41 * 384, 20 * 384, 41 * 384]
    alone = moonshine.transcribe(sound(2))
    assert moonshine.transcribe_together(windows)[0].logprob == pytest.approx(alone.logprob, abs=1e-6)


def test_one_that_is_wanted_no_more_ends_and_the_others_go_on() -> None:
    moonshine, decoder = tiny()
    asked: list[int] = []

    def wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    windows = [Window(sound(3), wanted=wanted), Window(sound(2))]
    left, stays = moonshine.transcribe_together(windows)
    assert (left.text, stays.text) == ("li", "lolo")
    assert len(decoder.sizes) == 3


@dataclass(eq=False)
class Asked:
    request: Request
    cancelled: bool = field(default=False)


def request(value: int, final: bool) -> Asked:
    return Asked(Request(sound(value), 100, final=final))


def test_partials_make_way_for_finals_of_their_batch() -> None:
    moonshine, decoder = tiny()
    listener = MoonshineDecoder(Kept("moonshine", moonshine))
    jobs = [request(1, False), request(2, True), request(3, True)]
    found = [decoded and decoded.said.text for decoded in listener.run(jobs)]
    assert found == [None, "lolo", "lilili"]
    assert decoder.sizes[0] == 2
    assert [decoded and decoded.said.text for decoded in listener.run(jobs[:1])] == ["la"]


def test_who_has_left_is_not_decoded_and_one_that_becomes_final_stays() -> None:
    moonshine, _ = tiny()
    listener = MoonshineDecoder(Kept("moonshine", moonshine))
    gone, stays = request(1, True), request(2, False)
    gone.cancelled = True
    other = request(3, True)
    listener.finals_waiting = {other.request}
    assert listener.run([gone, stays]) == [None, None], "a final of another session waits"
    stays.request.final = True
    assert [decoded and decoded.said.text for decoded in listener.run([gone, stays])] == [None, "lolo"]


def test_real_speech_is_understood_in_company() -> None:
    """The decoder's numbers are scaled by the largest of the batch, so that they move a little with the company."""
    moonshine = load_moonshine(real_folder("moonshine-tiny-en"))
    clips = [speech_16k(f"audio/{name}")[: 3 * VAD_RATE] for name in ("LJ001-0002.wav", "jfk48.wav")]
    alone = [moonshine.transcribe(clip) for clip in clips]
    together = moonshine.transcribe_together([Window(clip) for clip in clips])
    assert [said.text.lower() for said in together] == [said.text.lower() for said in alone]
    for one, other in zip(alone, together, strict=True):
        assert other.logprob == pytest.approx(one.logprob, abs=0.1)
