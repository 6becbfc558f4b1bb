"""Voice activity with Silero VAD on onnxruntime (https://github.com/snakers4/silero-vad, MIT).

The ``silero_vad`` wheel carries the model file; the package itself is never imported, because its import loads torch
and sets torch to one thread for the whole process.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.engines.onnx_session import open_session
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import STTError
from pipelines.interfaces.vad import VAD_RATE, VAD_WINDOW

_FILES = ("silero_vad_openvino_16k.onnx", "silero_vad.onnx")
"""In the wheel, the best first. That for OpenVINO is the same network without its half for 8 kHz and without the
branch between the two, which ONNX Runtime computes in two thirds of the time, to the same bits."""
_CONTEXT = 64
"""Samples of the window before that the model sees again in front of each window."""


def model_path() -> Path:
    """The best ONNX file inside the installed ``silero_vad`` wheel.

    Raises :class:`~pipelines.errors.STTError` (``vad_missing``) when the wheel or the file is not there.
    """
    spec = find_spec("silero_vad")  # looks the package up without importing it
    if spec is None or not spec.submodule_search_locations:
        raise STTError("vad_missing", "voice activity needs the package silero-vad, which is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    raise STTError("vad_missing", "the installed package silero-vad has no data/silero_vad.onnx")


class SileroVad:
    """The Silero model, loaded once and shared by all sessions (a run keeps nothing in the session).

    ``path`` is an ONNX file to use instead of the wheel's. Raises :class:`~pipelines.errors.STTError` when there is
    no such file (``vad_missing``) or it is no usable model (``vad_broken``).
    """

    name = "silero-vad"

    def __init__(self, path: Path | None = None) -> None:
        file = model_path() if path is None else path
        try:
            self._session = open_session(file)
        except ImportError as error:
            raise STTError("vad_missing", "voice activity needs the package onnxruntime") from error
        except Exception as error:  # onnxruntime's errors have no common base
            raise STTError("vad_broken", f"{file.name} cannot be loaded as a Silero model: {error}") from error

    def open(self) -> SileroActivity:
        """A fresh state for one session."""
        return SileroActivity(self._session)


class SileroActivity:
    """Voice activity of one session: the model's recurrent state and the last 64 samples."""

    def __init__(self, session: Any) -> None:
        self._run = session.run
        self._input = np.zeros((1, _CONTEXT + VAD_WINDOW), np.float32)
        self._silence = np.zeros((2, 1, 128), np.float32)
        self._feed: dict[str, NDArray[Any]] = {"input": self._input, "state": self._silence}
        if "sr" in {one.name for one in session.get_inputs()}:
            self._feed["sr"] = np.array(VAD_RATE, np.int64)

    def probability(self, window: Samples) -> float:
        """Chance in 0–1 that ``window`` (int16, shape ``(512,)``, 16 kHz) holds speech; about 0.1 ms.

        Raises :class:`ValueError` for a window of another length.
        """
        if window.shape != (VAD_WINDOW,):
            raise ValueError(f"a voice-activity window has {VAD_WINDOW} samples, not {window.shape}")
        row = self._input[0]
        row[:_CONTEXT] = row[-_CONTEXT:]
        np.multiply(window, np.float32(1 / 32768), out=row[_CONTEXT:])
        output, self._feed["state"] = self._run(None, self._feed)
        return float(output[0, 0])

    def reset(self) -> None:
        """Forget the past, as after a gap in the audio."""
        self._input.fill(0)
        self._feed["state"] = self._silence


async def build(site: Site, found: Found) -> Built[SileroVad]:
    """The model of the wheel (see :data:`pipelines.engines.registry.Build`)."""
    return Built(await site.aside(SileroVad), reason="Silero's ONNX file, which its package carries")
