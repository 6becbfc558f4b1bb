"""Puts the file that an engine opens together from the published ones. Same parts in, same bytes out."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipelines.errors import ModelError
from pipelines.models.assemble_mesh import with_one_mesh
from pipelines.models.catalogue import FACE_MESH, Normalisation, Recipe

_ALIGNMENT = 64
"""Bytes. MediaPipe maps a bundle into memory and uses its members where they are; tflite complains about, and copies,
weights that are not aligned."""
_EXTRA_ID = 0xD935
"""Zip extra field for alignment padding, as Android's zipalign writes it."""


def assemble(recipe: Recipe, parts: Mapping[str, Path], target: Path) -> None:
    """Write ``target`` from verified ``parts`` (file name → path).

    Raises :class:`ModelError` (``assemble_failed``) when a part is not what the recipe expects.
    """
    members = {}
    for name, member in recipe.members.items():
        data = parts[member.part].read_bytes()
        if recipe.recipe == "mediapipe-face-task" and name == FACE_MESH:
            data = with_one_mesh(data)
        members[name] = with_normalisation(data, member.normalise) if member.normalise else data
    write_bundle(members, target)


def write_bundle(members: Mapping[str, bytes], target: Path) -> None:
    """A MediaPipe bundle: a stored zip with aligned members and no trace of when or where it was made."""
    with target.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            header_end = file.tell() + 30 + len(name.encode())
            padding = -(header_end + 4) % _ALIGNMENT
            info.extra = _EXTRA_ID.to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(info, data)


def check_bundle(recipe: Recipe, bundle: Path) -> None:
    """See that a ready-made bundle is whole. Raises :class:`ModelError` (``assemble_failed``) when it is not."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            missing = set(recipe.members) - set(archive.namelist())
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        raise ModelError("assemble_failed", f"{bundle.name} is not a MediaPipe bundle: {error}") from error
    if missing or broken:
        what = f"lacks {', '.join(sorted(missing))}" if missing else f"has a broken member {broken}"
        raise ModelError("assemble_failed", f"{bundle.name} {what}")


def with_normalisation(model: bytes, normalisation: Normalisation) -> bytes:
    """The tflite ``model`` with the input metadata that MediaPipe Tasks insists on; it must have none yet."""
    try:
        import flatbuffers
        from mediapipe.tasks.metadata import schema_py_generated as schema
    except ImportError as error:
        raise ModelError("assemble_failed", f"mediapipe cannot be imported: {error}") from error
    if model[4:8] != b"TFL3":
        raise ModelError("assemble_failed", "a part is not a tflite model")
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_normalisation_metadata(normalisation), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(tree.buffers)
    tree.buffers.append(buffer)
    tree.metadata = [*(tree.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _normalisation_metadata(normalisation: Normalisation) -> bytes:
    """The metadata of a model with one RGB input (metadata_schema.fbs)."""
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    options = schema.NormalizationOptionsT()
    options.mean, options.std = [normalisation.mean], [normalisation.std]
    unit = schema.ProcessUnitT()
    unit.optionsType, unit.options = schema.ProcessUnitOptions.NormalizationOptions, options
    image = schema.ImagePropertiesT()
    image.colorSpace = schema.ColorSpaceType.RGB
    content = schema.ContentT()
    content.contentPropertiesType, content.contentProperties = schema.ContentProperties.ImageProperties, image
    tensor = schema.TensorMetadataT()
    tensor.name, tensor.content, tensor.processUnits = "image", content, [unit]
    graph = schema.SubGraphMetadataT()
    graph.inputTensorMetadata = [tensor]
    model = schema.ModelMetadataT()
    model.subgraphMetadata = [graph]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"M001")
    return bytes(builder.Output())
