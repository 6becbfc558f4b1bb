"""A Moonshine in memory: an encoder and a decoder on onnxruntime, and its tokens.

Moonshine (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands", 2024) takes the
raw waveform of any length, so a short window costs as little as it should: tiny needs 0.03 times the audio's length on
one core. English only. The files are ONNX Runtime's own format (``.ort``), as its authors publish them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.onnx_session import open_session
from pipelines.engines.stt.whisper_windows import Said, compression
from pipelines.errors import ModelError
from pipelines.interfaces.vad import VAD_RATE

ENCODER, DECODER, TOKENS = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
LONGEST_SECONDS = 12.0
"""Longer windows make the decoder go round in circles; it was trained on utterances of up to 30 s, most far shorter."""
_TOKENS_PER_SECOND = 6.5
_SPARE_TOKENS = 6
"""Nobody says more: the authors' own bound is 6.5 tokens a second."""
_SHORTEST = 1600
"""Samples: the three convolutions of the encoder need some of them; 0.1 s is no word anyway."""
_BEGIN, _END = 1, 2
_WORD_START = "▁"
_NO_REPEAT = 3
"""Tokens in a row that may not come twice, where a text went round in circles before."""


class Moonshine:
    """A loaded model. Blocking; one call at a time."""

    def __init__(self, encoder: Any, decoder: Any, tokens: Sequence[bytes]) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._tokens = tokens
        shapes = {entry.name: entry.shape for entry in decoder.get_inputs() if entry.name.startswith("past_")}
        self._past = {name: (shape[1], shape[3]) for name, shape in shapes.items()}  # heads, size of a head
        self._outputs = [entry.name for entry in decoder.get_outputs()]

    def transcribe(
        self,
        samples: Samples,
        known: Sequence[int] = (),
        *,
        may_repeat: bool = True,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Said:
        """The likeliest text of int16 ``samples`` (16 kHz), by greedy decoding: what comes after the ``known`` tokens.

        Unless it ``may_repeat``, no three tokens in a row come twice. Nothing is said of less than 0.1 s. Asked before
        every token, ``wanted`` may end it.
        """
        if len(samples) < _SHORTEST:
            return Said("", (), 0.0, 0.0, 0.0)
        audio = (samples.astype(np.float32) / 32768.0)[None]
        mask = np.ones(audio.shape, np.int64)
        (hidden,) = self._encoder.run(["last_hidden_state"], {"input_values": audio, "attention_mask": mask})
        most = int(len(samples) / VAD_RATE * _TOKENS_PER_SECOND) + _SPARE_TOKENS
        tokens, logprob = self._decode(hidden, mask, known, max(_SPARE_TOKENS, most - len(known)), may_repeat, wanted)
        text = b"".join(self._tokens[token] for token in tokens).decode("utf-8", "replace")
        text = text.replace(_WORD_START, " ").strip()
        return Said(text, tuple(tokens), logprob, 0.0, compression(text))

    def _decode(
        self,
        hidden: NDArray[np.float32],
        mask: NDArray[np.int64],
        known: Sequence[int],
        most: int,
        may_repeat: bool,
        wanted: Callable[[], bool],
    ) -> tuple[list[int], float]:
        """At most so many tokens, and the mean logarithm of their probabilities (that of the end is one, too)."""
        past = {name: np.zeros((1, heads, 0, size), np.float32) for name, (heads, size) in self._past.items()}
        tokens: list[int] = []
        total, shown = 0.0, [_BEGIN, *known]
        for step in range(most + 1):
            if not wanted():
                break
            feed = {
                "input_ids": np.array([shown], np.int64),
                "encoder_hidden_states": hidden,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([step > 0]),
                **past,
            }
            found = dict(zip(self._outputs, self._decoder.run(self._outputs, feed), strict=True))
            for name in past:
                if step == 0 or ".decoder." in name:  # what the encoder gave does not change
                    past[name] = found[name.replace("past_key_values", "present")]
            scores = found["logits"][0, -1].astype(np.float64)
            if not may_repeat:
                scores[_repeating([*known, *tokens])] = -np.inf
            # What goes on for longer than anybody speaks is made up: it ends here, however unlikely that is.
            token = int(scores.argmax()) if step < most else _END
            total += float(scores[token] - np.logaddexp.reduce(scores))
            if token == _END:
                break
            tokens.append(token)
            shown = [token]
        return tokens, total / (len(tokens) + 1)


def _repeating(tokens: Sequence[int]) -> list[int]:
    """The tokens that would make a sequence of three come twice."""
    last = tuple(tokens[1 - _NO_REPEAT :])
    if len(last) < _NO_REPEAT - 1:
        return []
    places = range(len(tokens) - _NO_REPEAT + 1)
    return [tokens[n + _NO_REPEAT - 1] for n in places if tuple(tokens[n : n + _NO_REPEAT - 1]) == last]


def is_moonshine(path: Path) -> bool:
    """Whether ``path`` is the folder of a Moonshine, or a file in it."""
    return ((path if path.is_dir() else path.parent) / ENCODER).is_file()


def load_moonshine(folder: Path, threads: int = 1) -> Moonshine:
    """Load ``folder`` with ``threads`` threads for one run, which do not spin while they wait. Blocking: 0.2 s.

    Raises :class:`~pipelines.errors.ModelError`: ``moonshine_incomplete``, ``moonshine_broken``.
    """
    if missing := [name for name in (ENCODER, DECODER, TOKENS) if not (folder / name).is_file()]:
        raise ModelError("moonshine_incomplete", f"{folder} is no Moonshine: {', '.join(missing)} not found")
    try:
        tokens = read_tokens((folder / TOKENS).read_bytes())
        return Moonshine(open_session(folder / ENCODER, threads), open_session(folder / DECODER, threads), tokens)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError("moonshine_broken", f"{folder} cannot be loaded as a Moonshine: {error}") from error


def read_tokens(data: bytes) -> list[bytes]:
    """The tokens of ``tokenizer.bin``: each its length (one byte, or two from 128 on: low seven bits first) and UTF-8.

    Raises :class:`~pipelines.errors.ModelError` (``moonshine_broken``) when the file ends within a token.
    """
    tokens: list[bytes] = []
    place = 0
    while place < len(data):
        length, place = data[place], place + 1
        if length >= 128:
            high = data[place] if place < len(data) else 0
            length, place = length - 128 + 128 * high, place + 1
        if place + length > len(data):
            raise ModelError("moonshine_broken", f"{TOKENS} ends within a token")
        tokens.append(data[place : place + length])
        place += length
    return tokens
