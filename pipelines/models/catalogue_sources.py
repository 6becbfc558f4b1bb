"""The kinds of places that model files come from, as the catalogue writes them.

A new kind is a new class here and its tag in ``_SOURCE_KEYS``; the data of the models that exist does not change.
Another visavis, the kind ``http:``, is not among them: its address is a setting, and it may have any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag


def _stays_inside(value: str) -> str:
    if value.startswith("/") or "\\" in value or ".." in value.split("/"):
        raise ValueError(f"{value!r} leads out of its folder")
    return value


FileName = Annotated[str, AfterValidator(_stays_inside), Field(pattern=r"^[\w][\w.\-]*$")]
"""A plain name: what the catalogue says must not lead out of the store."""
RelativePath = Annotated[str, AfterValidator(_stays_inside)]
"""A path that stays inside the folder, repository or package that it is meant for."""


def _is_https(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.netloc or parts.username is not None:
        raise ValueError(f"{value!r} is not an https address")
    return value


class Frozen(BaseModel):
    """What the catalogue is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DirSource(Frozen):
    """A place in the folder of model files that the user keeps, for machines that reach no network."""

    dir: RelativePath
    """Relative to that folder."""

    def __str__(self) -> str:
        return "the folder of models"


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PackageFile(Frozen):
    """One file inside a wheel."""

    path: RelativePath
    """In the wheel."""
    inside: RelativePath | None = None
    """Path in the zip archive that ``path`` is, for files that are packed twice."""
    sha256: Sha256 | None = None
    """Needed where the model's own list of files does not tell it."""


def _package_file(value: object) -> object:
    """A bare path stands for a file whose checksum the model tells."""
    return {"path": value} if isinstance(value, str) else value


class WheelSource(Frozen):
    """Files inside a package of the configured package index. The package is never installed or imported."""

    wheel: Annotated[str, Field(pattern=r"^[\w.\-]+==[\w.\-]+$")]
    """Name and exact version."""
    python: str = "3.11"
    """The tag to ask for, whatever Python runs the server: only files are taken."""
    platform: str = "any"
    """The tag to ask for where the package has wheels for several platforms."""
    members: dict[FileName, Annotated[PackageFile, BeforeValidator(_package_file)]]
    """Name of a file of the model (or of a part that one is joined from) → where it is."""
    size: int | None = None
    """Bytes to download."""

    def __str__(self) -> str:
        return f"the package {self.wheel}"

    def same_file(self, other: WheelSource) -> bool:
        """Whether both mean the same download."""
        return (self.wheel, self.python, self.platform) == (other.wheel, other.python, other.platform)

    @property
    def packages(self) -> tuple[WheelSource, ...]:
        """What is downloaded."""
        return (self,)

    @property
    def join(self) -> Mapping[FileName, JoinedFile]:
        """What is put together from the members: nothing."""
        return {}


class JoinedFile(Frozen):
    """A file that is published in parts, because package indexes bound the size of a package."""

    parts: Annotated[tuple[FileName, ...], Field(min_length=2)]
    """Names of members, in order."""
    sha256: Sha256
    """Of the whole."""


class WheelsSource(Frozen):
    """Files inside several packages."""

    wheels: Annotated[tuple[WheelSource, ...], Field(min_length=2)]
    join: dict[FileName, JoinedFile] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"the packages {', '.join(package.wheel for package in self.wheels)}"

    @property
    def packages(self) -> tuple[WheelSource, ...]:
        """What is downloaded."""
        return self.wheels


class HubSource(Frozen):
    """A repository of the model hub (Hugging Face, or a mirror that ``HF_ENDPOINT`` names)."""

    hub: Annotated[str, Field(pattern=r"^[\w][\w.\-]*/[\w][\w.\-]*$")]
    """Owner and name."""
    revision: Annotated[str, Field(pattern=r"^(main|[0-9a-f]{40})$")]
    """A commit. ``main`` where none is known: then the commit that it meant on arrival is recorded and kept to."""
    path: RelativePath = ""
    """Folder of the files in the repository."""

    def __str__(self) -> str:
        return f"the hub ({self.hub})"


class HttpsSource(Frozen):
    """Files that their author publishes at addresses of their own, each of one fixed version."""

    https: dict[FileName, Annotated[str, AfterValidator(_is_https)]]
    """Name of a file of the model → its address."""

    def __str__(self) -> str:
        return " and ".join(dict.fromkeys(urlsplit(url).netloc for url in self.https.values()))


_SOURCE_KEYS = ("dir", "hub", "https", "wheel", "wheels")


def _source_key(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((key for key in _SOURCE_KEYS if key in keys), None)


Source = Annotated[
    Annotated[DirSource, Tag("dir")]
    | Annotated[HubSource, Tag("hub")]
    | Annotated[HttpsSource, Tag("https")]
    | Annotated[WheelSource, Tag("wheel")]
    | Annotated[WheelsSource, Tag("wheels")],
    Discriminator(
        _source_key,
        custom_error_type="unknown_source",
        custom_error_message=f"a source has one of the keys {', '.join(_SOURCE_KEYS)}",
    ),
]
