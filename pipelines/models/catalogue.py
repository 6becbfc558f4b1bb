"""Which models exist, what their files are and where they come from: ``catalogue.yaml``, validated."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from pipelines.errors import ModelError
from pipelines.models.catalogue_sources import DirSource, FileName, Frozen, HttpsSource, HubSource, Source, WheelSource
from pipelines.spelling import unknown

__all__ = ["Catalogue", "DirSource", "FileName", "FileSpec", "HttpsSource", "HubSource", "Model", "WheelSource", "load"]


class FileSpec(Frozen):
    """A file as its author publishes it."""

    name: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Without one the store records the checksum on arrival and holds the file to that."""
    size: int | None = None
    """Bytes."""


_Pattern = Annotated[str, Field(pattern=r"^[\w*?][\w*?.\-]*$")]


class FolderSpec(Frozen):
    """A model that its engine opens as a folder. Names are patterns: publishers differ in details."""

    files: Annotated[tuple[_Pattern, ...], Field(min_length=1)]
    """Each of them matches at least one file."""
    optional: tuple[_Pattern, ...] = ()

    def pick(self, names: list[str]) -> list[str]:
        """Those of ``names`` that belong to the model. Raises :class:`ModelError` (``not_found``) when one lacks."""
        for pattern in self.files:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ModelError("not_found", f"holds no {pattern}")
        patterns = (*self.files, *self.optional)
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


class Normalisation(Frozen):
    """How a network wants its picture: ``(value - mean) / std`` of the 8-bit value."""

    mean: float
    std: float


class BundleMember(Frozen):
    """One model inside a bundle."""

    part: str
    """Name of one of the model's files."""
    normalise: Normalisation | None = None
    """Written into a model file that lacks this metadata."""


class Recipe(Frozen):
    """How the file that the engine opens is made from the published ones (see :mod:`pipelines.models.assemble`)."""

    recipe: Literal["mediapipe-task"]
    file: FileName
    """Name of the result."""
    members: dict[FileName, BundleMember]


class Model(Frozen):
    """One model."""

    id: FileName
    task: str
    licence: str
    """SPDX identifier."""
    description: str
    files: tuple[FileSpec, ...] = ()
    folder: FolderSpec | None = None
    """Instead of ``files``."""
    sources: tuple[Source, ...]
    """In the order in which they are tried."""
    assemble: Recipe | None = None
    memory: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """Precision → MiB when loaded, roughly."""
    requires: str | None = None
    """The library that runs it."""
    download: Annotated[int, Field(gt=0)] | None = None
    """Megabytes that are fetched for it, roughly."""

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the files that the engine gets, the one it opens first; none are known of a folder."""
        return (self.assemble.file,) if self.assemble else tuple(file.name for file in self.files)

    @property
    def digest(self) -> str:
        """Changes when the files or the way they are put together change."""
        spec = self.model_dump_json(include={"files", "assemble"})
        if self.folder:
            spec += self.folder.model_dump_json()
        for source in self.sources:
            if isinstance(source, HubSource):
                spec += source.model_dump_json()
        return hashlib.sha256(spec.encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _names_agree(self) -> Model:
        if bool(self.files) == bool(self.folder):
            raise ValueError(f"{self.id} needs either files or folder")
        if self.folder and (self.assemble or any(isinstance(s, WheelSource | HttpsSource) for s in self.sources)):
            raise ValueError(f"{self.id} is a folder: it comes from dir or hub, and is not put together")
        if any(isinstance(s, WheelSource) for s in self.sources) and not all(file.sha256 for file in self.files):
            raise ValueError(f"{self.id} comes from a package and needs the sha256 of its files")
        known = {file.name for file in self.files}
        parts = {member.part for member in self.assemble.members.values()} if self.assemble else set()
        named = parts.union(*(source.members for source in self.sources if isinstance(source, WheelSource)))
        named |= parts.union(*(source.https for source in self.sources if isinstance(source, HttpsSource)))
        if unknown := named - known:
            raise ValueError(f"{', '.join(sorted(unknown))} is not among the files of {self.id}")
        return self


class Catalogue(Frozen):
    """All models."""

    models: tuple[Model, ...]

    def get(self, model_id: str) -> Model:
        """The model called ``model_id``. Raises :class:`ModelError` (``model_unknown``) naming those there are."""
        for model in self.models:
            if model.id == model_id:
                return model
        raise ModelError("model_unknown", unknown("model", model_id, [model.id for model in self.models]))

    def members_of(self, wheel: WheelSource) -> dict[str, str]:
        """All that any model takes from the same wheel: sha256 of the file → its path in the wheel."""
        return {
            file.sha256: source.members[file.name]
            for model in self.models
            for source in model.sources
            if isinstance(source, WheelSource) and source.same_file(wheel)
            for file in model.files
            if file.name in source.members and file.sha256
        }


def load(path: Path | None = None) -> Catalogue:
    """Read and validate a catalogue, by default the one that ships.

    Raises :class:`ModelError` (``catalogue_invalid``) naming file, field and what is wrong with it.
    """
    file = path or resources.files("pipelines.models") / "catalogue.yaml"
    try:
        return Catalogue.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ModelError("catalogue_invalid", f"{file}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError("catalogue_invalid", f"{file}: {where}: {first['msg']}") from error
