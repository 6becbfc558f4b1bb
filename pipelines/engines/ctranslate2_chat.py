"""Language models on CTranslate2: quantised to int8 they are about twice as fast on a CPU as transformers.

The folder holds the converted model and, of the original, ``tokenizer.json tokenizer_config.json chat_template.jinja
generation_config.json`` (``--copy_files`` of ``ct2-transformers-converter``). CTranslate2 runs an answer from
beginning to end on a thread of its own and calls back for every token; here that call waits until the answer has its
next turn, so answers advance one token at a time as with other engines. What is remembered from turn to turn is the
system message, not the conversation, and a prompt is read in one step.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipelines.engines.chat_model import Sampling, recommended, stop_tokens
from pipelines.engines.chat_template import ChatTemplate, Prompt, load_tokenizer
from pipelines.errors import ModelError, ThinkError

STATIC_PROMPTS = 16
"""Different system messages that are remembered. CTranslate2 never forgets one, so there is a bound."""
_CONTEXT = 4096
"""Tokens, for a model that does not say."""
_ENDLESS = 10_000_000
"""Tokens; transformers gives more than this for a tokenizer that does not say."""


class _Answer:
    """An answer that CTranslate2 is making, held after each token until it is told to go on."""

    def __init__(self, generate: Callable[[Callable[[Any], bool]], object], cached: int) -> None:
        self.cached = cached
        self._generate: Callable[[Callable[[Any], bool]], object] | None = generate
        self._go = threading.Semaphore(0)
        self._tokens: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def go(self) -> None:
        """Begin, or go on to the next token."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ctranslate2-answer", daemon=True)
            self._thread.start()
        else:
            self._go.release()

    def token(self) -> int | Exception:
        """Wait for what :meth:`go` was for."""
        return self._tokens.get()

    def stop(self) -> None:
        """End it; returns when the model is free."""
        self._stopped = True
        if self._thread is not None:
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        # CTranslate2's thread drops its callback when it likes, and must not drop the model itself with it
        generate, self._generate = self._generate, None
        assert generate is not None, "once"
        try:
            generate(self._on_token)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the token
            self._tokens.put(error)
        else:
            self._tokens.put(ThinkError("llm_failed", "CTranslate2 ended the answer without an end"))

    def _on_token(self, step: Any) -> bool:
        """On CTranslate2's thread; true ends the answer."""
        self._tokens.put(int(step.token_id))
        self._go.acquire()
        return self._stopped


class LoadedGenerator:
    """A converted model in memory (implements ``chat_model.ChatModel``)."""

    def __init__(self, generator: Any, template: ChatTemplate, config: dict[str, Any], context: int) -> None:
        self.generator = generator
        self.template = template
        self.context = context
        settings = SimpleNamespace(**{"eos_token_id": None, **config})
        self.stops = stop_tokens(settings, template)
        self.sampling = recommended(settings)
        self.max_batch = 1 if generator.device == "cpu" else generator.num_generators
        self._static: set[tuple[int, ...]] = set()
        self._running: list[_Answer] = []

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str) -> _Answer:
        """Start an answer. ``sampling.seed`` is not followed: CTranslate2 has one seed for all."""
        tokens = self.template.tokens(prompt.ids)
        shared = self.template.system_tokens(prompt)
        static = tuple(prompt.ids[:shared])
        known = static in self._static
        options: dict[str, Any] = {
            "max_length": limit,
            "end_token": sorted(self.stops),
            "include_prompt_in_result": False,
            **_sampled(sampling),
        }
        if static and self._may_keep(static):
            options |= {"static_prompt": tokens[:shared], "cache_static_prompt": True}
            tokens = tokens[shared:]
        answer = _Answer(
            lambda on_token: self.generator.generate_batch([tokens], callback=on_token, **options),
            shared if known else 0,
        )
        self._running.append(answer)
        return answer

    def step(self, batch: Sequence[_Answer]) -> list[int | Exception | None]:
        """Take each answer one token further; the first token takes as long as reading the prompt."""
        for answer in batch:
            answer.go()
        return [answer.token() for answer in batch]

    def end(self, answer: _Answer) -> None:
        """No more of ``answer`` is wanted."""
        answer.stop()
        self._running.remove(answer)

    def _may_keep(self, static: tuple[int, ...]) -> bool:
        """Whether this beginning is or may be remembered; all are forgotten when there are too many."""
        if static not in self._static and len(self._static) >= STATIC_PROMPTS:
            if self._running:
                return False
            self.generator.unload_model()
            self.generator.load_model()
            self._static.clear()
        self._static.add(static)
        return True


def load_generator(
    folder: Path,
    device: str = "cpu",
    compute_type: str = "default",
    threads: int = 1,
    answers: int = 4,
) -> LoadedGenerator:
    """Load the converted model in ``folder``.

    ``compute_type`` is CTranslate2's (``default`` is that of the file); ``threads`` are for one token; ``answers`` may
    be in the making at a time (as :class:`~pipelines.engines.chat_local.ChatLimits` has it): they share the weights.
    Raises :class:`~pipelines.errors.ModelError` (``model_broken``, ``model_not_chat``).
    """
    import ctranslate2

    tokenizer = load_tokenizer(folder)
    template = ChatTemplate(tokenizer, folder.name)
    try:
        generator = ctranslate2.Generator(
            str(folder), device=device, compute_type=compute_type, inter_threads=answers, intra_threads=threads
        )
    except (RuntimeError, ValueError) as error:
        raise ModelError("model_broken", f"{folder} could not be loaded by CTranslate2: {error}") from error
    file = folder / "generation_config.json"
    config = json.loads(file.read_text()) if file.exists() else {}
    context = getattr(tokenizer, "model_max_length", None) or _CONTEXT
    return LoadedGenerator(generator, template, config, int(context) if context < _ENDLESS else _CONTEXT)


def _sampled(sampling: Sampling) -> dict[str, Any]:
    if not sampling.temperature:
        return {"sampling_topk": 1}
    return {
        "sampling_topk": sampling.top_k,
        "sampling_topp": sampling.top_p,
        "sampling_temperature": sampling.temperature,
    }
