"""Which models exist, what their files are and where they come from: ``catalogue.yaml``, validated."""

from __future__ import annotations

import hashlib
import re
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from pipelines.errors import ModelError
from pipelines.models.catalogue_sources import (
    DirSource,
    FileName,
    Frozen,
    HttpsSource,
    HubSource,
    PackageFile,
    RelativePath,
    Sha256,
    Source,
    WheelSource,
    WheelsSource,
)
from pipelines.text import unknown


class FileSpec(Frozen):
    """A file as its author publishes it."""

    name: FileName
    sha256: Sha256 | None = None
    """Without one the store records the checksum on arrival and holds the file to that."""
    size: int | None = None
    """Bytes."""


_Pattern = Annotated[str, Field(pattern=r"^[\w*?][\w*?.\-]*$")]


class FolderSpec(Frozen):
    """A model that its engine opens as a folder. Names are patterns, in which small letters and capitals are the same:
    publishers differ in details."""

    files: Annotated[tuple[_Pattern, ...], Field(min_length=1)]
    """Each of them matches at least one file."""
    optional: tuple[_Pattern, ...] = ()

    def pick(self, names: list[str]) -> list[str]:
        """Those of ``names`` that belong to the model. Raises :class:`ModelError` (``not_found``) when one lacks."""
        for pattern in self.files:
            if not any(_matches(name, pattern) for name in names):
                raise ModelError("not_found", f"holds no {pattern}")
        patterns = (*self.files, *self.optional)
        return [name for name in names if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())


class Normalisation(Frozen):
    """How a network wants its picture: ``(value - mean) / std`` of the 8-bit value."""

    mean: float
    std: float


FACE_MESH = "face_landmarks_detector.tflite"
"""The member of a face bundle that finds the points."""


class BundleMember(Frozen):
    """One model inside a bundle."""

    part: str
    """Name of one of the model's files."""
    normalise: Normalisation | None = None
    """Written into a model file that lacks this metadata."""


class Recipe(Frozen):
    """How the file that the engine opens is made from the published ones (see :mod:`pipelines.models.assemble`)."""

    recipe: Literal["mediapipe-task", "mediapipe-face-task"]
    """The second also puts together the points of a face, of which the network in ``FACE_MESH`` gives lips, eyes and
    irises apart."""
    file: FileName
    """Name of the result."""
    members: dict[FileName, BundleMember]


SamplingName = Literal["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "repeat_last_n", "dry_multiplier"]


class ChatSpec(Frozen):
    """How a language model on llama.cpp is asked, where that is not the ordinary way."""

    prompt: str | None = None
    """Its system message, in place of the shipped pipeline's; instructions of a client or of a pipeline of one's own
    stand."""
    surroundings: bool = True
    """Whether it is told what the camera shows and what time it is when ``prompt`` is used."""
    tools: bool = True
    """Whether it can be offered tools."""
    starter_first: bool = False
    """Whether, when nobody has asked for this model, the starter says what it knows and passes on the rest."""
    sampling: dict[SamplingName, float] = Field(default_factory=dict)
    """In the words of llama.cpp's API; what is not named is as the file recommends, or else llama.cpp."""


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
    chat: ChatSpec = ChatSpec()
    """For language models on llama.cpp."""
    adapter: RelativePath | None = None
    """A LoRA adapter (GGUF) that is put on it: a file of this package, relative to ``pipelines``."""

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the files that the engine gets, the one it opens first; none are known of a folder."""
        return (self.assemble.file,) if self.assemble else tuple(file.name for file in self.files)

    @property
    def shared_download(self) -> str:
        """The packages that the model comes from: what is fetched once for all models in them; empty if from none."""
        sources = (source for source in self.sources if isinstance(source, WheelSource | WheelsSource))
        return " ".join(package.wheel for source in sources for package in source.packages)

    @property
    def in_package(self) -> bool:
        """Whether a package index has it."""
        return any(isinstance(source, WheelSource | WheelsSource) for source in self.sources)

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
        if self.folder and (self.assemble or any(isinstance(s, HttpsSource) for s in self.sources)):
            raise ValueError(f"{self.id} is a folder: it comes from dir, hub or packages, and is not put together")
        for source in self.sources:
            if isinstance(source, WheelSource | WheelsSource):
                self._check_packages(source)
        known = {file.name for file in self.files}
        parts = {member.part for member in self.assemble.members.values()} if self.assemble else set()
        named = parts.union(*(source.https for source in self.sources if isinstance(source, HttpsSource)))
        if unknown := named - known:
            raise ValueError(f"{', '.join(sorted(unknown))} is not among the files of {self.id}")
        return self

    def _check_packages(self, source: WheelSource | WheelsSource) -> None:
        """Every member is a file of the model or a part of one, and its checksum is known."""
        members = {name for package in source.packages for name in package.members}
        parts = {part for joined in source.join.values() for part in joined.parts}
        if missing := parts - members:
            raise ValueError(f"{', '.join(sorted(missing))} is joined into a file of {self.id}, but in no package")
        given = (members - parts) | set(source.join)
        if self.folder:
            try:
                self.folder.pick(sorted(given))
            except ModelError as error:
                raise ValueError(f"{self.id}: {source} {error.message}") from error
        elif unknown := given ^ {file.name for file in self.files}:
            raise ValueError(f"{', '.join(sorted(unknown))} is not among the files of {self.id}, or not in {source}")
        for package in source.packages:
            for name in package.members:
                if self.checksum_of(package, name) is None:
                    raise ValueError(f"{self.id} comes from a package and needs the sha256 of {name}")

    def checksum_of(self, package: WheelSource, name: str) -> str | None:
        """The sha256 of a member of ``package``: its own, or that of the model's file of that name."""
        own = package.members[name].sha256
        return own or next((file.sha256 for file in self.files if file.name == name), None)


class Catalogue(Frozen):
    """All models."""

    models: tuple[Model, ...]

    def get(self, model_id: str) -> Model:
        """The model called ``model_id``, or the GGUF of the hub that is meant by it (:func:`hub_gguf`).

        Raises :class:`ModelError` (``model_unknown``) naming those there are.
        """
        for model in self.models:
            if model.id == model_id:
                return model
        if (found := hub_gguf(model_id)) is not None:
            return found
        raise ModelError("model_unknown", unknown("model", model_id, [model.id for model in self.models]))

    def members_of(self, wheel: WheelSource) -> dict[str, PackageFile]:
        """All that any model takes from the same wheel: sha256 of the file → where it is."""
        return {
            sha256: member
            for model in self.models
            for source in model.sources
            if isinstance(source, WheelSource | WheelsSource)
            for package in source.packages
            if package.same_file(wheel)
            for name, member in package.members.items()
            if (sha256 := model.checksum_of(package, name)) is not None
        }

    def checksums_of_others(self, model: Model) -> set[str | None]:
        """Of all files in packages that models other than ``model`` are made of."""
        return {
            other.checksum_of(package, name)
            for other in self.models
            if other.id != model.id
            for source in other.sources
            if isinstance(source, WheelSource | WheelsSource)
            for package in source.packages
            for name in package.members
        }


_HUB_GGUF = re.compile(r"(?P<owner>\w[\w.\-]*)/(?P<name>\w[\w.\-]*)(?::(?P<bits>\w[\w.\-]*))?")
_USUAL_BITS = "Q4_K_M"


def hub_gguf(word: str) -> Model | None:
    """The model that ``OWNER/NAME-GGUF[:QUANTISATION]`` means, as llama.cpp itself understands it; ``None``: none.

    Without a quantisation it is ``Q4_K_M``. The file is the only one in the repository whose name ends in that.
    """
    match = _HUB_GGUF.fullmatch(word)
    if match is None or not (match["bits"] or "gguf" in match["name"].lower()):
        return None
    bits = match["bits"] or _USUAL_BITS
    hub = f"{match['owner']}/{match['name']}"
    return Model(
        id=f"{match['owner']}--{match['name']}--{bits}",
        task="chat",
        licence="LicenseRef-see-model-card",
        description=f"{hub}, {bits}, of the hub",
        requires="xllamacpp",
        folder=FolderSpec(files=(f"*{bits}.gguf",)),
        sources=(DirSource(dir="."), HubSource(hub=hub, revision="main")),
    )


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
