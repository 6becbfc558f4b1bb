"""The process that llama.cpp runs in: its own HTTP server on a loopback port, for as long as the parent lives.

This file runs as a script and imports nothing of visavis. It reads one line of JSON (:class:`Config`) from its standard
input, writes one line of JSON with the server's address to its standard output, and ends when its input does: a parent
that is killed leaves no process behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

SAMPLING = {
    "temperature": "temp",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "penalty_repeat",
    "repeat_last_n": "penalty_last_n",
    "dry_multiplier": "dry_multiplier",
}
"""Names of llama.cpp's API → of its library."""
_MAGIC = b"GGUF"
"""What every model file begins with."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the process serves."""

    model: str
    """Path of a GGUF file."""
    key: str = ""
    """What requests must show: other programs of this machine could reach the port."""
    context: int = 8192
    """Tokens of all slots together."""
    slots: int = 4
    """Answers at the same time, each with a prompt cache of its own."""
    cache_mib: int = 256
    """Memory for the prompt caches of conversations that have no slot at the moment."""
    threads: int = 1
    threads_batch: int = 1
    """Threads that read a prompt."""
    gpu_layers: int = 0
    """Layers that a graphics card computes; -1: as many as it has room for."""
    sampling: dict[str, float] = field(default_factory=dict)
    """What holds for requests that do not say otherwise, in the words of llama.cpp's API (:data:`SAMPLING`); without
    it what the file itself recommends."""
    lora: list[tuple[str, float]] = field(default_factory=list)
    """Paths of GGUF adapters, and how strongly each is applied where a request does not say."""

    def to_json(self) -> str:
        """On one line."""
        return json.dumps(asdict(self))


def main() -> None:
    """Serve until the input ends."""
    for number in ("SIGINT", "SIGHUP"):  # whoever ends the terminal's whole group means the parent, which ends this
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    config = Config(**json.loads(sys.stdin.readline()))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between the lines
    with open(config.model, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            sys.exit("this is no GGUF file")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin are 8 times slower beside a busy process
    import xllamacpp

    try:
        server = xllamacpp.Server(_params(config, xllamacpp))
    except RuntimeError:  # which never says why
        sys.exit("llama.cpp cannot load this file: it is damaged, or of a kind that this version does not know")
    device = "cpu" if not config.gpu_layers else _device(xllamacpp.get_device_info())
    answers.write(json.dumps({"url": server.listening_address, "device": device}) + "\n")
    answers.flush()
    sys.stdin.read()
    os._exit(0)  # nothing here needs an orderly end, and threads of the library might wait for one


def _params(config: Config, library: Any) -> Any:
    params = library.CommonParams()
    params.model.path = config.model
    params.n_ctx, params.n_parallel = config.context, config.slots
    params.cache_ram_mib = config.cache_mib
    params.n_gpu_layers = config.gpu_layers
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads_batch
    for name, value in config.sampling.items():
        own = SAMPLING[name]
        setattr(params.sampling, own, type(getattr(params.sampling, own))(value))
        bit = getattr(library.common_params_sampling_config, f"COMMON_PARAMS_SAMPLING_CONFIG_{own.upper()}", 0)
        params.sampling.user_sampling_config |= int(bit)  # or the file's own recommendation would win
    params.lora_adapters = [library.CommonAdapterLoraInfo(path, scale) for path, scale in config.lora]
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [config.key]
    params.ui = False
    params.verbosity = -1
    return params


def _device(devices: list[dict[str, Any]]) -> str:
    """Where llama.cpp computes, by the name that people know: ``cuda``, ``metal``, ``vulkan`` or ``cpu``."""
    kinds = {"CUDA": "cuda", "Metal": "metal", "MTL": "metal", "Vulkan": "vulkan"}
    names = [str(device.get("name", "")) for device in devices]
    return next((word for name in names for kind, word in kinds.items() if name.startswith(kind)), "cpu")


if __name__ == "__main__":
    main()
