"""The tools that the server runs itself: those of the definition and those of the setting ``tools``."""

from __future__ import annotations

from pipelines.routing.definition import load_tools
from pipelines.tools.definition import ToolSpec
from pipelines.tools.toolbox import Named, Toolbox, build_toolbox
from server.engines.parts import Parts
from server.settings import Settings

STAGE = "tools"


def named_tools(settings: Settings, of_definition: tuple[ToolSpec, ...]) -> list[Named]:
    """What is written down, and where. Raises :class:`~pipelines.errors.DefinitionError`."""
    more = load_tools(settings.tools) if settings.tools is not None else ()
    here = [Named(spec, settings.pipeline, f"tools.{n}") for n, spec in enumerate(of_definition)]
    return here + [Named(spec, settings.tools or settings.pipeline, f"tools.{n}") for n, spec in enumerate(more)]


async def tools(parts: Parts) -> Toolbox | None:
    """The tools of all sessions; ``None`` where none are written down. Started, and the caller's to close.

    Raises :class:`~pipelines.errors.DefinitionError` for one that cannot be used as it is written.
    """
    named = named_tools(parts.settings, parts.definition.tools)
    if not named:
        return None
    secrets = {name: value.get_secret_value() for name, value in parts.settings.tool_secrets.items()}

    def changed() -> None:
        parts.choices.replace(STAGE, *_told(box), device="-")

    box = await parts.aside(build_toolbox, named, secrets, changed)
    parts.choices.note(STAGE, *_told(box), device="-")
    await box.start()
    return box


def _told(box: Toolbox) -> tuple[str, str]:
    """How many there are, and what they are."""
    count = len(box())
    return f"{count} tool{'' if count == 1 else 's'}", "; ".join(box.about())
