"""Settings of how ``.tflite`` models run on LiteRT: a part of :mod:`server.settings`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class LiteRtSettings(BaseSettings):
    """Where they run, on how many threads, and how many copies of a model."""

    litert_device: Literal["auto", "cpu", "cuda", "igpu", "npu"] = "auto"
    """Where ``.tflite`` models run; ``cuda`` and ``igpu``: GPUs of NVIDIA and others, both through WebGPU."""
    litert_threads: int = Field(0, ge=0, le=64)
    """Threads of one computation; 0: by the processor's cores (one on two cores)."""
    litert_modules: int = Field(1, ge=1, le=64)
    """Copies of one model that may compute at the same time, each in a process of about 60 MB."""
    litert_weight_cache: bool = False
    """Whether weights, ready for this processor, are kept in ``cache``: copies then share them in memory."""
