"""Servers that language models are asked of: those that are named, and those that are looked for.

Who names a model gets that model: it is asked by this name, whatever the server lists (``llama3.2:latest`` for
``llama3.2``, or nothing at all), and again later when it is away. Who names none gets the first chat model of the
first server that is there, now or once one is started.
"""

from __future__ import annotations

import logging
from typing import Final

from pipelines.engines.llm.openai.client import ChatOptions, OpenAIChat, discover
from pipelines.errors import LLMError, PipelineError, listed
from pipelines.interfaces.llm import LanguageModel
from pipelines.routing.routes.llm import FallbackModel
from server.engines.local import Rung, candidate
from server.engines.parts import Parts

log = logging.getLogger(__name__)

STAGE: Final = "llm"
USUAL_SECONDS = 0.5
"""A server on this machine answers at once or is not there."""
NAMED_SECONDS = 2.0
"""One that is named may be far away."""
LOOK_SECONDS = 5.0
"""How often is looked for servers that were not there."""
UNNAMED = "default"
"""What a model is called on a server that lists none, as llama.cpp and others do: they have only one."""
_AWAY = ("llm_unreachable", "llm_timeout")


class ModelServers:
    """The servers that the settings or the pipeline name, in order."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        settings = parts.settings
        self._key = settings.llm_api_key.get_secret_value() if settings.llm_api_key is not None else None
        self._named_model = parts.wishes.llm().served
        self._servers = _named(parts, self._named_model)
        self.missing: list[tuple[str, str]] = []
        """Name and address of servers to look for, as none was found."""
        self.problem: PipelineError | None = None
        """Why the model that :meth:`find` gave is not to be asked yet."""

    async def find(self) -> tuple[OpenAIChat | None, str]:
        """The model to ask and why it, or ``None`` and what was looked for.

        Raises :class:`LLMError` (``llm_key_refused``) when the server that is named wants another key.
        """
        tried: list[str] = []
        asked: tuple[str, str, str] | None = None
        problem: PipelineError | None = None
        for server, url in self._servers:
            try:
                names = await self._names(server, url)
            except PipelineError as error:
                if error.code == "llm_key_refused" and self._parts.settings.llm_url is not None:
                    raise _wrong_key(error, self._key) from error
                tried.append(f"no {server} at {url}" if error.code in _AWAY else f"{server}: {error.message}")
                if asked is None and (name := self._name_without_list(error)):
                    asked, problem = (server, url, name), error
            else:
                model, reason = self._of(server, url, names)
                if model is not None:
                    return model, reason
                tried.append(reason)
        if asked is not None and problem is not None:
            away = problem.code in _AWAY
            self.problem = problem if away else None
            return self._model(*asked), f"asked for at {asked[1]}{'' if away else ', which does not list its models'}"
        self.missing = list(self._servers)
        return None, "; ".join(tried) or "no model server is named"

    @property
    def wanted(self) -> str:
        """The model that the settings or else the pipeline name; empty: whichever a server lists first."""
        return self._parts.settings.llm_model or self._named_model

    def rung(self, model: OpenAIChat, reason: str) -> Rung[LanguageModel]:
        """The model as the ladder has it; the settings' server goes before those of the escalation path."""
        named = self._parts.settings.llm_url is not None
        return Rung(model, "-", reason, model.name, backend=model.server, named=named)

    async def keep_looking(self, ladder: FallbackModel) -> None:
        """Look for the servers that were not there until one is; then its model answers first."""
        while True:
            await self._parts.clock.sleep(LOOK_SECONDS)
            for server, url in self.missing:
                try:
                    model, reason = self._of(server, url, await self._names(server, url))
                except PipelineError as error:
                    log.debug("still no %s: %s", server, error)
                    continue
                if model is not None:
                    reason = f"{reason}; {ladder.name} stands by"
                    ladder.prefer(candidate(self._parts, self.rung(model, reason)))
                    if ladder.name == model.name:
                        self._parts.choices.replace(STAGE, model.name, reason, device="-")
                    log.info("%s answers from now on: %s", model.name, reason)
                    return

    async def _names(self, server: str, url: str) -> list[str]:
        return await discover(url, self._key, USUAL_SECONDS if server == "ollama" else NAMED_SECONDS)

    def _of(self, server: str, url: str, names: list[str]) -> tuple[OpenAIChat | None, str]:
        """The model of a server that lists ``names``, and why it or why none."""
        wanted = self.wanted
        name = wanted or next(iter(names), None)
        if name is None:
            return None, f"{server} at {url} has no model"
        if wanted and not self._parts.settings.llm_model and not any(_same(wanted, name) for name in names):
            # The settings' word is law; a pipeline's model may be another server's, or not be fetched yet.
            return None, f"{server} at {url} has no {wanted}: it lists {listed(names, 8) or 'no model'}"
        model = self._model(server, url, name)
        reason = f"found at {url}{', looks at pictures' if model.takes_images else ''}"
        if wanted and not any(_same(wanted, name) for name in names):
            reason = f"asked for at {url}, which lists {listed(names, 8) or 'no model'}"
        return model, reason

    def _name_without_list(self, error: PipelineError) -> str | None:
        """What to ask a server for that did not say what it has; ``None``: it must be looked for."""
        if self.wanted:
            return self.wanted
        return UNNAMED if self._parts.settings.llm_url is not None and error.code not in _AWAY else None

    def _model(self, server: str, url: str, name: str) -> OpenAIChat:
        settings = self._parts.settings
        options = ChatOptions(images=None if settings.chat_images == "auto" else settings.chat_images)

        def learned(words: str) -> None:
            self._parts.choices.learned(STAGE, words)

        return OpenAIChat(url, name, api_key=self._key, server=server, options=options, on_learned=learned)


def _wrong_key(error: PipelineError, key: str | None) -> LLMError:
    what = "the server wants a key" if key is None else "the server wants another key"
    return LLMError("llm_key_refused", f"llm_api_key: {what}: {error.message}; legal is one that it knows")


def _named(parts: Parts, model: str) -> list[tuple[str, str]]:
    """The server in the settings, else those on the stage's escalation path that may have ``model``, if it is named."""
    if parts.settings.llm_url is not None:
        return [("openai", parts.settings.llm_url)]
    path = parts.stage("text_generation").forwarding_policy.escalation_path
    backends = [parts.definition.backend(name) for name in path]
    may_have = parts.definition.placed.may_have
    fitting = (b for b in backends if b.kind == "openai" and (not model or may_have(model, b)))
    return [(b.id, b.base_url) for b in fitting if b.base_url]


def _same(wanted: str, name: str) -> bool:
    """Whether a server that lists ``name`` has ``wanted``: Ollama leaves a tag out that is ``latest``."""
    return name in (wanted, f"{wanted}:latest")
