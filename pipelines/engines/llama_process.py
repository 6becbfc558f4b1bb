"""The process that llama.cpp runs in: its own HTTP server on a loopback port, for as long as the parent lives.

Started as ``python -m pipelines.engines.llama_process``. Reads one line of JSON (:class:`Config`) from its standard
input, writes one line of JSON with the server's address to its standard output, and ends when its input does: a parent
that is killed leaves no process behind.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Config:
    """What the process serves."""

    model: str
    """Path of a GGUF file."""
    key: str = ""
    """What requests must show: other programs of this machine could reach the port."""
    context: int = 4096
    """Tokens of all slots together."""
    slots: int = 4
    """Answers at the same time, each with a prompt cache of its own."""
    threads: int = 1
    threads_batch: int = 1
    """Threads that read a prompt."""
    gpu_layers: int = 0
    lora: list[str] = field(default_factory=list)
    """Paths of GGUF adapters, each applied whole."""

    def to_json(self) -> str:
        """On one line."""
        return json.dumps(asdict(self))


def main() -> None:
    """Serve until the input ends."""
    config = Config(**json.loads(sys.stdin.readline()))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between the lines
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config.model
    params.n_ctx, params.n_parallel = config.context, config.slots
    params.n_gpu_layers = config.gpu_layers
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads_batch
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in config.lora]
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [config.key]
    params.verbosity = -1
    server = xllamacpp.Server(params)
    answers.write(json.dumps({"url": server.listening_address}) + "\n")
    answers.flush()
    sys.stdin.read()
    os._exit(0)  # nothing here needs an orderly end, and threads of the library might wait for one


if __name__ == "__main__":
    main()
