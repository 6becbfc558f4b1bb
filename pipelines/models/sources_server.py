"""Model files from another visavis, so that a fleet downloads a model once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, Field, ValidationError

from pipelines.errors import ModelError
from pipelines.models.catalogue import Model
from pipelines.models.catalogue_sources import FileName
from pipelines.models.sources_http import Downloader, Remote
from pipelines.models.sources_hub import Offer
from pipelines.models.store_sums import Checksum

PATH = "/v1/models/files"


class ServedFile(BaseModel):
    """A file that a server offers."""

    name: FileName
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ServedModel(BaseModel):
    """A model that a server offers."""

    id: FileName
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    digest: str
    """Of the catalogue's entry; another catalogue means another model."""
    revision: str | None = None
    files: tuple[ServedFile, ...]


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Another visavis to fetch models from."""

    url: str
    """Base, such as ``http://10.0.0.5:8080``."""
    key: str | None = field(default=None, repr=False)
    """Its API key, if it has one."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError("server_invalid", f"{self.url!r} is not an address; legal is http(s)://HOST:PORT")

    def __str__(self) -> str:
        return f"the model server {urlsplit(self.url).netloc.rpartition('@')[2]}"

    def offer(self, model: Model, downloader: Downloader) -> Offer:
        """The files of ``model`` there. Raises :class:`ModelError`."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        base = f"{self.url.rstrip('/')}{PATH}/{quote(model.id)}"
        data, _ = downloader.read_json(base, headers)
        try:
            served = ServedModel.model_validate(data)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ModelError("download_failed", f"its answer makes no sense: {problem}") from error
        _check(model, served)
        files = (
            Remote(
                file.name,
                f"{base}/{served.version}/{quote(file.name)}",
                file.size,
                Checksum("sha256", file.sha256),
                headers,
            )
            for file in served.files
        )
        return Offer(tuple(files), served.revision)


def _check(model: Model, served: ServedModel) -> None:
    """That what is offered is what this catalogue means."""
    sums = {file.name: file.sha256 for file in served.files}
    if served.id != model.id or served.digest != model.digest:
        raise ModelError("not_found", "it has another version of the model")
    if model.folder:
        model.folder.pick(list(sums))
    if missing := [name for name in model.results if name not in sums]:
        raise ModelError("not_found", f"it offers no {', '.join(missing)}")
    for file in model.files:
        if file.sha256 and sums.get(file.name, file.sha256) != file.sha256:
            raise ModelError("checksum", f"its {file.name} is not the published file")
