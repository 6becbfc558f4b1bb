"""What the assistant does by tasks: which of its tools are there, and the model that reads, fetched if need be."""

from __future__ import annotations

import logging

from pipelines.interfaces.task import Tasks
from pipelines.models.store import ModelFiles
from pipelines.tools.assistant import AssistantTools
from server.engines.parts import Parts

log = logging.getLogger(__name__)

READER = "pp-ocrv6-small"
"""Fetched by itself where nothing reads: 30 MB, and people ask what something says."""


async def assistant_tools(parts: Parts, tasks: Tasks) -> AssistantTools:
    """The tools of all sessions. Those whose model comes later are there from then on."""
    if parts.bench:
        return AssistantTools()
    tools = AssistantTools(tasks, parts.settings.assistant_tools)
    reasons = await parts.aside(lambda: {name: tools.why_not(name) for name in tools.names})
    for name, reason in reasons.items():
        log.info("assistant tool %s: %s", name, reason or "ready")
    if reasons.get("read_text") and parts.may_download:
        parts.later.append(lambda: parts.first([READER], _found_by_tasks))
    return tools


async def _found_by_tasks(files: ModelFiles) -> None:
    """Tasks look for their models by themselves."""
