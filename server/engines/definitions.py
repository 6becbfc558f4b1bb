"""What is read of the definitions of pipelines, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pipelines.routing.definition import Backend, Definition, Pipeline


class Definitions(Protocol):
    """The definitions as they are now."""

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """By id."""
        ...

    @property
    def backends(self) -> Mapping[str, Backend]:
        """By id."""
        ...

    @property
    def problems(self) -> Sequence[tuple[str, str]]:
        """File and what is wrong with it."""
        ...

    def origin(self, pipeline_id: str) -> str:
        """The file of a pipeline."""
        ...


class FixedDefinitions:
    """:class:`Definitions` that stay as they are: those of some files."""

    def __init__(self, files: Mapping[str, Definition]) -> None:
        self.pipelines = {one.id: one for definition in files.values() for one in definition.pipelines}
        self.backends = {one.id: one for definition in files.values() for one in definition.backends}
        self.problems: Sequence[tuple[str, str]] = ()
        self._files = {one.id: file for file, definition in files.items() for one in definition.pipelines}

    def origin(self, pipeline_id: str) -> str:
        """The file of a pipeline."""
        return self._files[pipeline_id]
