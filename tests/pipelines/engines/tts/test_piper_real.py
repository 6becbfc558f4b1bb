"""A real Piper voice, cut in two: the pieces are the whole, the first one is short, the words' times are right."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from media.resample import Resampler
from pipelines.engines.tts.piper_clause import Manner, Stop, Voice, render
from pipelines.engines.tts.piper_network import FIRST, SplitNetwork, pieces
from pipelines.engines.tts.piper_voices import PiperVoices, load_piper
from pipelines.models.residency import Kept
from tests.assets import word_recall
from tests.real_models import real_model

SENTENCE = "The early morning sun shone on the harbor wall while the fishermen brought in the nets."


@pytest.fixture(scope="module")
def joe() -> Voice:
    onnxruntime.set_seed(7)  # how the voice varies is drawn at random; not every draw is as clear
    files = real_model("piper-en_US-joe-medium").files
    network, config = (next(path for name, path in files.items() if name.endswith(end)) for end in (".onnx", ".json"))
    return load_piper(network, config)


@pytest.mark.parametrize("count", [0, 1, FIRST, FIRST + 1, 2 * FIRST - 1, 2 * FIRST, 100, 1000])
def test_pieces_are_the_whole_and_the_first_is_short(count: int) -> None:
    cut = list(pieces(count))
    assert [n for begin, end in cut for n in range(begin, end)] == list(range(count))
    assert all(begin < end for begin, end in cut)
    if cut:
        assert cut[0][1] < 2 * FIRST


def test_the_joins_are_as_clean_as_the_whole(joe: Voice) -> None:
    network = joe.network
    assert isinstance(network, SplitNetwork)
    _, rendered, _ = render(joe, SENTENCE, Manner(None, 1.0), Stop())
    assert rendered is not None
    taken = rendered.pieces.gi_frame.f_locals["taken"]  # type: ignore[attr-defined]
    (whole,) = network._tail.run(None, taken)
    parts = list(rendered.pieces)
    assert len(parts) > 3
    assert np.abs(np.concatenate(parts) - whole.ravel()).max() < 1e-4


async def test_a_long_clause_begins_before_it_is_finished_and_its_words_are_timed(joe: Voice) -> None:
    engine = PiperVoices({"joe": Kept("joe", joe)})
    given = [piece async for piece in engine.synthesize(SENTENCE)]
    await engine.close()
    assert len(given[0].samples) / given[0].rate < 0.6
    assert len(given) > 4
    words = [word for piece in given for word in piece.words]
    assert " ".join(word.text for word in words) == SENTENCE
    assert all(one.start < other.start for one, other in pairwise(words))
    total = sum(len(piece.samples) for piece in given) / given[0].rate
    assert words[-1].end == pytest.approx(total, abs=0.3)


async def test_the_other_recogniser_understands_it(joe: Voice) -> None:
    from pipelines.engines.stt.moonshine_model import load_moonshine

    moonshine = load_moonshine(Path(real_model("moonshine-tiny-en").path).parent)
    engine = PiperVoices({"joe": Kept("joe", joe)})
    sound = np.concatenate([piece.samples async for piece in engine.synthesize(SENTENCE)])
    await engine.close()
    resampler = Resampler(16_000)
    heard = moonshine.transcribe(np.concatenate([resampler.push(sound, 22_050), resampler.flush()]))
    assert word_recall(SENTENCE.lower(), heard.text.lower()) >= 0.7, heard.text
