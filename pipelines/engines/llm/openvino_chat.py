"""Language models on OpenVINO GenAI: Intel's NPUs and integrated GPUs, and any processor.

A folder that optimum-intel has exported (``visavis models convert --to openvino``), or a GGUF file of a Llama or a
Qwen, which OpenVINO reads as it is. :class:`~pipelines.engines.llm.local.LocalChat` serves it a token at a time: on CPU
and GPU several answers side by side with a common prefix cache (``ContinuousBatchingPipeline``), on an NPU, whose
shapes are static, one after another (``LLMPipeline``). See https://openvinotoolkit.github.io/openvino.genai.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pipelines.engines.llm.llama import gguf_in
from pipelines.engines.llm.local import ChatLimits, LocalChat
from pipelines.engines.llm.model import ChatModel, Sampling, recommended
from pipelines.engines.llm.template import ChatTemplate, Prompt, import_transformers, load_tokenizer
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import ModelError
from pipelines.interfaces.llm import Scaled
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.runtime.hardware import openvino_name, threads_for

NETWORK = "openvino_model.xml"
_CONTEXT = 4096
"""Tokens of prompt and answer, at most: the cache of a batch is allocated for as many."""
_ANSWERS = 4
"""Side by side."""
_BLOCKS = {"cpu": 32, "igpu": 16}
"""Tokens in a block of the paged cache, by device."""
_NPU_PROMPT, _NPU_ANSWER = 1024, 256
"""Tokens that the network is compiled for on an NPU (``MAX_PROMPT_LEN``, ``MIN_RESPONSE_LEN``)."""
_SEEDS = 1 << 31


def is_openvino(path: Path) -> bool:
    """Whether the folder ``path`` holds a language model in OpenVINO's format."""
    return (path / NETWORK).is_file()


@dataclass(eq=False, slots=True)
class Answer:
    """One answer in the making."""

    handle: Any
    """OpenVINO's."""
    tokens: list[int] = field(default_factory=list)
    """That have been written and not been given yet."""
    cached: int = 0
    """OpenVINO does not tell how much of a prompt it knew."""
    over: bool = False


class Pipeline(Protocol):
    """How OpenVINO generates: side by side, or one after another."""

    def begin(self, ids: list[int], config: Any) -> Answer:
        """Start an answer to the prompt ``ids``."""
        ...

    def advance(self, batch: Sequence[Answer]) -> None:
        """Compute the next tokens of ``batch``, and perhaps of others. Raises what OpenVINO raises."""
        ...

    def end(self, answer: Answer) -> None:
        """No more of it is wanted."""
        ...


class SideBySide:
    """``ContinuousBatchingPipeline``."""

    def __init__(self, model: Path, device: str, threads: int, context: int) -> None:
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = _ANSWERS * -(-context // _BLOCKS[device]) + _ANSWERS
        scheduler.enable_prefix_caching = True
        properties = {"INFERENCE_NUM_THREADS": threads} if device == "cpu" else {}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(model), scheduler, openvino_name(device), properties
        )
        self._made = 0

    def begin(self, ids: list[int], config: Any) -> Answer:
        import numpy as np
        import openvino

        self._made += 1
        prompt = openvino.Tensor(np.array([ids], np.int64))
        return Answer(self._pipeline.add_request(self._made, prompt, config))

    def advance(self, batch: Sequence[Answer]) -> None:
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        for answer in batch:
            while answer.handle.can_read():
                for output in answer.handle.read().values():
                    answer.tokens += output.generated_ids
            answer.over = not answer.tokens and answer.handle.get_status().name not in ("RUNNING", "PAUSED")

    def end(self, answer: Answer) -> None:
        answer.handle.cancel()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()  # which frees what it had


class OneAfterAnother:
    """``LLMPipeline``: generates on a thread of its own, which waits until its tokens are taken."""

    def __init__(self, model: Path, device: str, threads: int, context: int) -> None:
        import openvino_genai

        properties: dict[str, Any] = {}
        if device == "npu":
            properties = {"MAX_PROMPT_LEN": context - _NPU_ANSWER, "MIN_RESPONSE_LEN": _NPU_ANSWER}
        elif device == "cpu":
            properties = {"INFERENCE_NUM_THREADS": threads}
        self._pipeline = openvino_genai.LLMPipeline(str(model), openvino_name(device), **properties)

    def begin(self, ids: list[int], config: Any) -> Answer:
        return Answer(_Running(self._pipeline, ids, config))

    def advance(self, batch: Sequence[Answer]) -> None:
        for answer in batch:
            taken = answer.handle.take()
            answer.tokens += taken
            answer.over = not taken

    def end(self, answer: Answer) -> None:
        answer.handle.end()


class _Running:
    """A call of ``generate`` on its thread."""

    def __init__(self, pipeline: Any, ids: list[int], config: Any) -> None:
        self._queue: queue.Queue[list[int] | Exception] = queue.Queue(maxsize=1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(pipeline, ids, config), name="openvino", daemon=True)
        self._thread.start()

    def take(self) -> list[int]:
        """The next tokens; none at the end. Raises what OpenVINO raised."""
        taken = self._queue.get()
        if isinstance(taken, Exception):
            raise taken
        return taken

    def end(self) -> None:
        """Stop after the token in hand, and wait for that."""
        self._ended.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _run(self, pipeline: Any, ids: list[int], config: Any) -> None:
        import numpy as np
        import openvino
        import openvino_genai

        put, ended = self._queue.put, self._ended

        class Streamer(openvino_genai.StreamerBase):  # type: ignore[misc]
            def write(self, token: Any) -> Any:
                put([token] if isinstance(token, int) else list(token))
                status = openvino_genai.StreamingStatus
                return status.CANCEL if ended.is_set() else status.RUNNING

            def end(self) -> None:
                """The end is told below."""

        try:
            prompt = openvino_genai.TokenizedInputs(
                openvino.Tensor(np.array([ids], np.int64)), openvino.Tensor(np.ones((1, len(ids)), np.int64))
            )
            pipeline.generate(prompt, config, Streamer())
            put([])
        except Exception as error:  # noqa: BLE001 - raised where the tokens are taken
            put(error)


class OpenVinoChat:
    """Implements :class:`~pipelines.engines.llm.model.ChatModel`."""

    def __init__(self, pipeline: Pipeline, template: ChatTemplate, context: int, sampling: Sampling) -> None:
        self.template = template
        self.context = context
        self.stops = frozenset(template.stops())
        self.sampling = sampling
        self.max_batch = 1 if isinstance(pipeline, OneAfterAnother) else _ANSWERS
        self._pipeline = pipeline

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> Answer:
        """Start an answer of at most ``limit`` tokens. There are no ``adapters`` to ask for."""
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = limit
        config.stop_token_ids = set(self.stops)
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, sampling.top_p
            config.top_k = sampling.top_k or (1 << 31) - 1
            config.rng_seed = secrets.randbelow(_SEEDS) if sampling.seed is None else sampling.seed % _SEEDS
        return self._pipeline.begin(prompt.ids, config)

    def step(self, batch: Sequence[Answer]) -> Sequence[int | Exception | None]:
        """The next token of each; those that have one in store are not computed again."""
        if hungry := [answer for answer in batch if not answer.tokens]:
            try:
                self._pipeline.advance(hungry)
            except RuntimeError as error:
                return [error] * len(batch)
        return [self._next(answer) for answer in batch]

    def end(self, answer: Answer) -> None:
        """See :class:`~pipelines.engines.llm.model.ChatModel`."""
        self._pipeline.end(answer)

    def _next(self, answer: Answer) -> int | Exception | None:
        if answer.tokens:
            return answer.tokens.pop(0)
        if not answer.over:
            return None
        return min(self.stops) if self.stops else RuntimeError("OpenVINO ended the answer without a reason")


class OpenVinoModel(LocalChat):
    """A language model on OpenVINO. It cannot be made to call a tool: nothing holds its first tokens to anything."""

    takes_choice = False
    calls_unasked = True


def load_openvino(source: Path, device: str, threads: int) -> OpenVinoChat:
    """The model in the folder or the GGUF file ``source``. Blocking: seconds, on a GPU or NPU a minute at first.

    Raises :class:`~pipelines.errors.ModelError`: ``model_broken``, ``model_not_chat``.
    """
    import_transformers()
    import transformers

    library: Any = transformers
    file = gguf_in(source)
    tokenizer = load_tokenizer(file.parent if file is not None else source, file.name if file is not None else None)
    template = ChatTemplate(tokenizer, source.name)
    context = min(_CONTEXT, _trained_on(source if file is None else file))
    if device == "npu":
        context = min(context, _NPU_PROMPT + _NPU_ANSWER)
    kind = OneAfterAnother if device == "npu" else SideBySide
    try:
        pipeline = kind(file or source, device, threads, context)
        generation = source / "generation_config.json"
        config = library.GenerationConfig.from_pretrained(str(source)) if generation.is_file() else None
    except (RuntimeError, OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or ["no message"]
        raise ModelError("model_broken", f"{source.name} cannot be loaded by OpenVINO: {lines[-1]}") from error
    return OpenVinoChat(pipeline, template, context, recommended(config))


def _trained_on(model: Path) -> int:
    """Tokens that the model in a folder or a GGUF file can see, as far as that is told."""
    if model.is_dir():
        told = json.loads((model / "config.json").read_text("utf-8")).get("max_position_embeddings")
        return told if isinstance(told, int) and told > 0 else _CONTEXT
    from gguf import GGUFReader

    for name, field_of in GGUFReader(model).fields.items():
        if name.endswith(".context_length"):
            return int(field_of.contents())
    return _CONTEXT


async def build(site: Site, found: Found) -> Built[LocalChat]:
    """The folder or GGUF file in ``found`` (see :data:`pipelines.engines.registry.Build`)."""
    return await site.aside(_built, site, found)


def _built(site: Site, found: Found) -> Built[LocalChat]:
    device, reason = site.device_for("openvino")
    plan: Loadable[ChatModel] = Loadable(
        found.name,
        partial(load_openvino, found.place, device, threads_for("llm", site.cores)),
        precision="openvino",
        device=device,
        estimate=site.estimate(found.name, ""),
    )
    resident: Resident[ChatModel] = site.residency.add(plan)
    with resident.lease():
        pass
    answers = 1 if device == "npu" else _ANSWERS
    return Built(OpenVinoModel(resident, limits=ChatLimits(answers=answers)), device, reason)
