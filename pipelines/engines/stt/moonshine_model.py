"""A Moonshine in memory: an encoder and a decoder on onnxruntime, and its tokens.

Moonshine (Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands", 2024) takes the
raw waveform of any length, so a short window costs as little as it should: tiny needs 0.03 times the audio's length on
one core. English only. The files are ONNX Runtime's own format (``.ort``), as its authors publish them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_STRIDE = 384
"""Samples to a row that the encoder gives."""
_NO_REPEAT = 3
"""Tokens in a row that may not come twice, where a text went round in circles before."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is to be transcribed."""

    samples: Samples
    """int16, 16 kHz."""
    known: Sequence[int] = ()
    """Tokens of its beginning: what comes after them is asked for."""
    wanted: Callable[[], bool] = lambda: True
    """Asked before every token; may end it."""


class Moonshine:
    """A loaded model. Blocking; one call at a time."""

    def __init__(self, encoder: Any, decoder: Any, tokens: Sequence[bytes]) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._tokens = tokens
        shapes = {entry.name: entry.shape for entry in decoder.get_inputs() if entry.name.startswith("past_")}
        self._past = {name: (shape[1], shape[3]) for name, shape in shapes.items()}  # heads, size of a head
        self._outputs = [entry.name for entry in decoder.get_outputs()]

    def transcribe(self, samples: Samples, known: Sequence[int] = (), *, may_repeat: bool = True) -> Said:
        """The likeliest text of one window; see :meth:`transcribe_together`."""
        (said,) = self.transcribe_together([Window(samples, known)], may_repeat)
        return said

    def transcribe_together(self, windows: Sequence[Window], may_repeat: bool = True) -> list[Said]:
        """The likeliest text of each window, by greedy decoding; all have equally many known tokens.

        Unless it ``may_repeat``, no three tokens in a row come twice. Nothing is said of less than 0.1 s. A token of
        four windows takes hardly longer than one of a single window; the encoder gains nothing and takes each alone.
        """
        said = [Said("", (), 0.0, 0.0, 0.0)] * len(windows)
        places = [place for place, window in enumerate(windows) if len(window.samples) >= _SHORTEST]
        if not places:
            return said
        heard = [self._encoded(windows[place].samples) for place in places]
        decoded = self._decode(heard, [windows[place] for place in places], may_repeat)
        for place, (tokens, logprob) in zip(places, decoded, strict=True):
            text = b"".join(self._tokens[token] for token in tokens).decode("utf-8", "replace")
            text = text.replace(_WORD_START, " ").strip()
            said[place] = Said(text, tuple(tokens), logprob, 0.0, compression(text))
        return said

    def _encoded(self, samples: Samples) -> NDArray[np.float32]:
        """Shape ``(length, width)``."""
        audio = (samples.astype(np.float32) / 32768.0)[None]
        mask = np.ones(audio.shape, np.int64)
        (hidden,) = self._encoder.run(["last_hidden_state"], {"input_values": audio, "attention_mask": mask})
        return np.asarray(hidden[0], np.float32)

    def _decode(
        self, heard: Sequence[NDArray[np.float32]], windows: Sequence[Window], may_repeat: bool
    ) -> list[tuple[list[int], float]]:
        """For each the tokens and the mean logarithm of their probabilities (that of the end is one, too)."""
        hidden, mask = _stacked(heard)
        count = len(windows)
        past = {name: np.zeros((count, heads, 0, size), np.float32) for name, (heads, size) in self._past.items()}
        lines = [_Line(window, may_repeat) for window in windows]
        shown = np.array([[_BEGIN, *window.known] for window in windows], np.int64)
        step = 0
        while sum(line.goes_on for line in lines):  # all are asked
            feed = {
                "input_ids": shown,
                "encoder_hidden_states": hidden,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([step > 0]),
                **past,
            }
            found = dict(zip(self._outputs, self._decoder.run(self._outputs, feed), strict=True))
            for name in past:
                if step == 0 or ".decoder." in name:  # what the encoder gave does not change
                    past[name] = found[name.replace("past_key_values", "present")]
            for line, scores in zip(lines, found["logits"][:, -1], strict=True):
                line.add(scores.astype(np.float64))
            shown = np.array([[line.newest] for line in lines], np.int64)
            step += 1
        return [(line.tokens, line.total / (len(line.tokens) + 1)) for line in lines]


class _Line:
    """What is being written down of one window."""

    def __init__(self, window: Window, may_repeat: bool) -> None:
        self._window = window
        self._may_repeat = may_repeat
        seconds = len(window.samples) / VAD_RATE
        self._left = max(_SPARE_TOKENS, int(seconds * _TOKENS_PER_SECOND) + _SPARE_TOKENS - len(window.known))
        self.tokens: list[int] = []
        self.total = 0.0
        self.newest = _END
        self._ended = False

    @property
    def goes_on(self) -> bool:
        """Whether another token is wanted."""
        self._ended = self._ended or not self._window.wanted()
        return not self._ended

    def add(self, scores: NDArray[np.float64]) -> None:
        """The likeliest token; nothing once the end has come."""
        if self._ended:
            return
        if not self._may_repeat:
            scores[_repeating([*self._window.known, *self.tokens])] = -np.inf
        # What goes on for longer than anybody speaks is made up: it ends here, however unlikely that is.
        token = int(scores.argmax()) if self._left else _END
        self._left -= 1
        self.total += float(scores[token] - np.logaddexp.reduce(scores))
        self._ended = token == _END
        self.newest = token
        if not self._ended:
            self.tokens.append(token)


def _stacked(heard: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What the encoder gave, filled up to equal length, and which of the samples it stands for are none."""
    longest = max(len(one) for one in heard)
    hidden = np.zeros((len(heard), longest, heard[0].shape[1]), np.float32)
    mask = np.zeros((len(heard), longest * _STRIDE), np.int64)
    for row, one in enumerate(heard):
        hidden[row, : len(one)] = one
        mask[row, : len(one) * _STRIDE] = 1
    return hidden, mask


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
