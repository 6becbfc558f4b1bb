"""Sessions of ONNX Runtime as all engines want them: few threads, which sleep while they wait, and a quiet log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def session_options(threads: int = 1) -> Any:
    """Options of a session that computes each run with ``threads`` threads. Raises :class:`ImportError`.

    Networks in 8 bits say the same on every processor: where x86 lacks AVX-512 VNNI, ONNX Runtime would add up pairs of
    products in 16 bits, and what does not fit is cut off (ONNX Runtime, "Quantize ONNX models", on U8S8).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    return options


def open_session(model: Path | bytes, threads: int = 1, providers: Sequence[Any] = ("CPUExecutionProvider",)) -> Any:
    """A session of ``model``. Raises what ONNX Runtime does (there is no common base), and :class:`ImportError`."""
    import onnxruntime

    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, session_options(threads), providers=list(providers))
