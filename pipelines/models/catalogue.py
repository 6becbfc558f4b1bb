"""Which models exist, what their files are and where they come from: ``catalogue.yaml``, validated.

A new kind of source (``hub:``, ``https:``, ``http:``) is a new class beside :class:`WheelSource` and its tag in
``_SOURCE_KEYS``; the data of the models that exist does not change.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from pipelines.errors import ModelError

_FileName = Annotated[str, Field(pattern=r"^[\w][\w.\-]*$")]
"""A plain name: what the catalogue says must not lead out of the store."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileSpec(_Frozen):
    """A file as its author publishes it."""

    name: _FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int | None = None
    """Bytes."""


class DirSource(_Frozen):
    """A place in the folder of model files that the user keeps, for machines that reach no network."""

    dir: str
    """Relative to that folder."""

    def __str__(self) -> str:
        return "the folder of models"


class WheelSource(_Frozen):
    """Files inside a package of the configured package index. The package is never installed or imported."""

    wheel: Annotated[str, Field(pattern=r"^[\w.\-]+==[\w.\-]+$")]
    """Name and exact version."""
    python: str
    """The tag to ask for, whatever Python runs the server: only files are taken."""
    platform: str
    members: dict[_FileName, str]
    """Name of a file of the model → its path in the wheel."""
    size: int | None = None
    """Bytes to download."""

    def __str__(self) -> str:
        return f"the package {self.wheel}"

    def same_file(self, other: WheelSource) -> bool:
        """Whether both mean the same download."""
        return (self.wheel, self.python, self.platform) == (other.wheel, other.python, other.platform)


_SOURCE_KEYS = ("dir", "wheel")


def _source_key(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((key for key in _SOURCE_KEYS if key in keys), None)


Source = Annotated[
    Annotated[DirSource, Tag("dir")] | Annotated[WheelSource, Tag("wheel")],
    Discriminator(
        _source_key,
        custom_error_type="unknown_source",
        custom_error_message=f"a source has one of the keys {', '.join(_SOURCE_KEYS)}",
    ),
]


class Normalisation(_Frozen):
    """How a network wants its picture: ``(value - mean) / std`` of the 8-bit value."""

    mean: float
    std: float


class BundleMember(_Frozen):
    """One model inside a bundle."""

    part: str
    """Name of one of the model's files."""
    normalise: Normalisation | None = None
    """Written into a model file that lacks this metadata."""


class Recipe(_Frozen):
    """How the file that the engine opens is made from the published ones (see :mod:`pipelines.models.assemble`)."""

    recipe: Literal["mediapipe-task"]
    file: _FileName
    """Name of the result."""
    members: dict[_FileName, BundleMember]


class Model(_Frozen):
    """One model."""

    id: _FileName
    task: str
    licence: str
    """SPDX identifier."""
    description: str
    files: Annotated[tuple[FileSpec, ...], Field(min_length=1)]
    sources: tuple[Source, ...]
    """In the order in which they are tried."""
    assemble: Recipe | None = None

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the files that the engine gets, the one it opens first."""
        return (self.assemble.file,) if self.assemble else tuple(file.name for file in self.files)

    @property
    def digest(self) -> str:
        """Changes when the files or the way they are put together change."""
        spec = self.model_dump_json(include={"files", "assemble"})
        return hashlib.sha256(spec.encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _names_agree(self) -> Model:
        known = {file.name for file in self.files}
        parts = {member.part for member in self.assemble.members.values()} if self.assemble else set()
        named = parts.union(*(source.members for source in self.sources if isinstance(source, WheelSource)))
        if unknown := named - known:
            raise ValueError(f"{', '.join(sorted(unknown))} is not among the files of {self.id}")
        return self


class Catalogue(_Frozen):
    """All models."""

    models: tuple[Model, ...]

    def get(self, model_id: str) -> Model:
        """The model called ``model_id``. Raises :class:`ModelError` (``model_unknown``) naming those there are."""
        for model in self.models:
            if model.id == model_id:
                return model
        known = ", ".join(model.id for model in self.models)
        raise ModelError("model_unknown", f"there is no model {model_id!r}; known are: {known}")

    def members_of(self, wheel: WheelSource) -> dict[str, str]:
        """All that any model takes from the same wheel: sha256 of the file → its path in the wheel."""
        return {
            file.sha256: source.members[file.name]
            for model in self.models
            for source in model.sources
            if isinstance(source, WheelSource) and source.same_file(wheel)
            for file in model.files
            if file.name in source.members
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
