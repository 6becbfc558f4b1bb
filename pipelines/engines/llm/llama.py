"""Language models in llama.cpp (https://github.com/ggml-org/llama.cpp), a child process of this one.

The package xllamacpp carries llama.cpp and its HTTP server. It runs in a process of its own
(:mod:`pipelines.engines.llm.llama_process`): a crash of native code costs one answer, and none of its threads nor of
its memory is ours. What talks to it is the client for any OpenAI-compatible server.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path

from pipelines.engines.llm.grammar import answer_grammar
from pipelines.engines.llm.llama_child import SERVER, Llama, LlamaProcess
from pipelines.engines.llm.llama_process import Config
from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.openai.client import OpenAIChat, discover
from pipelines.engines.llm.openai.options import ChatOptions
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import LLMError, ModelError, listed
from pipelines.interfaces.llm import ChatRequest, Message, Piece, Usage, insist
from pipelines.models.catalogue import ChatSpec
from pipelines.models.sources_folder import refuse_pointers
from pipelines.runtime.hardware import threads_for

log = logging.getLogger(__name__)

_RESTS = (0.0, 1.0, 5.0, 30.0)
"""Seconds after which a process that has ended is started again: the more often it ended, the later."""
_LONG_LIFE = 60.0
"""Seconds after which the ends before are forgotten."""
_SIGN_SECONDS = 2.0
"""A process that says nothing at all for so long hangs; it answers small requests beside its work."""
_WARM_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is asked in place of the ordinary way, unless a client has instructions of its own."""

    prompt: str | None = None
    """The system message: a model of few weights follows a short one best. ``None``: the ordinary one."""
    ordinary: str = ""
    """The instructions that ``prompt`` replaces; all others are somebody's own, and stand."""
    surroundings: bool = True
    """Whether it is told what the camera shows and what time it is; a small model talks of nothing else then."""
    tools: bool = True
    """Whether it is offered tools that it does not have to call: a small model calls them senselessly."""

    def of(self, request: ChatRequest) -> ChatRequest:
        """The request as this model gets it."""
        if not self.tools and not request.must_call:
            request = replace(request, tools=())
        messages = request.messages
        rules = messages[0].content if messages and messages[0].role == "system" else ""
        if self.prompt is None or not _begins(rules, self.ordinary):
            return request
        added = rules[len(self.ordinary) :]
        rest = messages[1:] if rules else messages
        request = replace(request, messages=(Message("system", self.prompt + added), *rest))
        return request if self.surroundings else replace(request, scene="", time="")


def _begins(rules: str, ordinary: str) -> bool:
    """Whether ``rules`` are the ordinary ones, with lines added at most."""
    added = rules[len(ordinary) :]
    return rules.startswith(ordinary) and (not added or (bool(ordinary) and added.startswith("\n")))


class LlamaChat:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel` on a GGUF file.

    The process is started by :meth:`warm` or the first request, and again when it has ended; until it serves again
    requests fail at once, so that another model answers. Each conversation finds its prompt cache by the beginning of
    its prompt (llama.cpp's own choice of a slot, or of a cache that it has put aside).
    """

    takes_images = False
    takes_format = takes_logprobs = True

    def __init__(
        self,
        name: str,
        config: Config,
        *,
        manner: Manner | None = None,
        options: ChatOptions | None = None,
        on_usage: Callable[[Usage], None] | None = None,
        spawn: Callable[[Config], Awaitable[Llama]] = LlamaProcess.spawn,
    ) -> None:
        self._spawn = spawn
        self.name = f"{SERVER} {name}"
        self.restarts = 0
        """How often the process has been started again."""
        self.manner = manner or Manner()
        self._model = name
        self._config = config
        self._options = replace(options or ChatOptions(), grammar=answer_grammar)
        self._on_usage = on_usage
        self._starting = asyncio.Lock()
        self._process: Llama | None = None
        self._chat: OpenAIChat | None = None
        self._last: OpenAIChat | None = None
        """Of the process before."""
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, if it runs."""
        return self._process.pid if self._process is not None and self._process.alive else None

    @property
    def device(self) -> str:
        """Where it computes: ``cpu``, ``cuda``, ``metal`` or ``vulkan``."""
        return self._process.device if self._process is not None else "cpu"

    @property
    def takes_tools(self) -> bool:
        """Whether it can be offered tools."""
        return self.manner.tools

    @property
    def calls_unasked(self) -> bool:
        """As :attr:`takes_tools`."""
        return self.manner.tools

    @property
    def takes_choice(self) -> bool:
        """Whether it can be made to call one: the grammar sees to that."""
        return True

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those that it was started with."""
        return tuple(self._options.adapters)

    async def warm(self) -> None:
        """Start the process, and read the beginning that all prompts share.

        Raises :class:`~pipelines.errors.LLMError` (``llm_unavailable``).
        """
        await self._running()
        hello = self.manner.of(ChatRequest((Message("user", "Hello."),), max_tokens=_WARM_TOKENS))
        try:
            async with aclosing(self.stream(hello)) as pieces:
                async for _ in pieces:
                    pass
        except LLMError as error:  # a model that needs longer for its thoughts works all the same
            log.info("%s: %s", self.name, error.message)

    async def probe(self) -> None:
        """Find out whether the process serves. Raises :class:`~pipelines.errors.LLMError` when it does not."""
        if self.pid is None:
            raise self._away()
        assert self._chat is not None
        await self._chat.probe()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer. Raises :class:`~pipelines.errors.LLMError` as the client of a server does, and
        ``llm_unavailable`` when the process cannot be started or has ended."""
        insist(self, request)
        if self._watch is not None and self.pid is None:
            raise self._away()
        chat = await self._running()
        try:
            async with aclosing(chat.stream(self.manner.of(request))) as pieces:
                async for piece in pieces:
                    yield piece
        except LLMError as error:
            if error.code == "llm_unreachable":
                raise self._away() from error
            if error.code == "llm_timeout":
                await self._end_if_hung()
            raise

    async def close(self) -> None:
        """End the process. Idempotent."""
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        process, self._process = self._process, None
        if process is not None:
            await process.release()
        for chat in filter(None, (self._chat, self._last)):
            await chat.close()

    def _away(self) -> LLMError:
        return LLMError("llm_unavailable", f"{self.name} has ended and is being started again")

    async def _end_if_hung(self) -> None:
        process = self._process
        if process is None or not process.alive:
            return
        try:
            await discover(f"{process.url}/v1", timeout=_SIGN_SECONDS)
        except LLMError as error:
            if error.code in ("llm_timeout", "llm_unreachable"):
                log.warning("%s hangs", self.name)
                await process.end()

    async def _running(self) -> OpenAIChat:
        async with self._starting:
            if self._closed:
                raise LLMError("llm_unavailable", f"{self.name} has been closed")
            if self._chat is None or self._process is None or not self._process.alive:
                await self._start()
            assert self._chat is not None
            return self._chat

    async def _start(self) -> None:
        # Answers that the last process was giving may still be read to their end: their client is closed at the next.
        last, self._last, self._chat = self._last, self._chat, None
        if last is not None:
            await last.close()
        config = replace(self._config, key=secrets.token_hex(16))
        self._process = process = await self._spawn(config)
        self._chat = OpenAIChat(
            f"{process.url}/v1",
            self._model,
            api_key=process.key,
            server=SERVER,
            options=self._options,
            on_usage=self._on_usage,
        )
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_running(), name="llama")

    async def _keep_running(self) -> None:
        """Start it again when it has ended, so that the next turn need not wait for that."""
        time, ends = asyncio.get_running_loop().time, 0
        while True:
            process, since = self._process, time()
            if process is not None and process.alive:
                await process.gone()
                log.warning("%s has ended: %s", self.name, process.last_words)
            ends = 0 if time() - since > _LONG_LIFE else ends
            await asyncio.sleep(_RESTS[min(ends, len(_RESTS) - 1)])
            self.restarts += 1
            ends += 1
            try:
                await self.warm()
            except LLMError as error:
                log.warning("%s", error)


_PROJECTOR = "mmproj"
"""In the names of files that only see for a model that thinks."""


def gguf_in(path: Path) -> Path | None:
    """The model that ``path`` is or holds; ``None`` when it holds none, for other libraries may know it.

    Raises :class:`ModelError` (``model_ambiguous``) when it holds several.
    """
    if path.suffix.lower() == ".gguf":
        return path
    if not path.is_dir():
        return None
    found = sorted(file for file in path.glob("*.gguf") if _PROJECTOR not in file.name)
    if len(found) > 1:
        names = listed(tuple(file.name for file in found), 8)
        raise ModelError("model_ambiguous", f"{path} holds several models: name the file, one of {names}")
    return found[0] if found else None


async def build(site: Site, found: Found) -> Built[LlamaChat] | Built[LocalChat]:
    """The file in ``found``, in a process that has started (see :data:`pipelines.engines.registry.Build`); on a device
    that only OpenVINO knows, that reads it."""
    if site.asked.device in ("igpu", "npu"):
        from pipelines.engines.llm import openvino_chat

        return await openvino_chat.build(site, found)
    file = gguf_in(found.place)
    assert file is not None
    await site.aside(refuse_pointers, [file])
    model = site.model(found.name)
    spec = model.chat if model is not None else ChatSpec()
    adapter = model.adapter if model is not None else None
    own = [(str(resources.files("pipelines") / adapter), 1.0)] if adapter is not None else []
    threads, wanted = threads_for(SERVER, site.cores), site.asked.device
    config = Config(
        str(file),
        threads=threads,
        threads_batch=threads,
        gpu_layers=-1 if wanted in ("auto", "cuda") else 0,
        sampling={str(word): value for word, value in spec.sampling.items()},
        lora=[*own, *((str(one.path), 0.0) for one in site.adapters.known() if one.kind == "gguf")],
    )
    options = ChatOptions(adapters=site.adapters.numbered(len(own)), always=tuple(range(len(own))))
    manner = Manner(spec.prompt, site.asked.instructions, spec.surroundings, spec.tools)
    spawn: Callable[[Config], Awaitable[Llama]] = LlamaProcess.spawn
    if (host := site.asked.llama_host) is not None:
        from pipelines.engines.llm.llama_shared import BorrowedLlama

        spawn = partial(BorrowedLlama.borrow, host)
    engine = LlamaChat(found.name, config, manner=manner, options=options, spawn=spawn)
    try:
        await engine.warm()
        if found.required and wanted == "cuda" and engine.device != wanted:
            message = f"device: llama.cpp finds no {wanted} (the package xllamacpp is built for the processor)"
            raise ModelError("device_unavailable", message)
    except BaseException as error:
        await engine.close()
        if isinstance(error, LLMError):
            raise ModelError(error.code, error.message) from error
        raise
    where = f"{threads} thread{'s' if threads > 1 else ''}" if engine.device == "cpu" else engine.device
    return Built(engine, engine.device, f"{SERVER} in a process of its own, {where}")
