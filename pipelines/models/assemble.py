"""Puts the file that an engine opens together from the published ones. Same parts in, same bytes out."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelError
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
    schema, tree = _unpacked(model)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_normalisation_metadata(normalisation), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(tree.buffers)
    tree.buffers.append(buffer)
    tree.metadata = [*(tree.metadata or []), entry]
    return _packed(tree, b"TFL3")


def _unpacked(model: bytes) -> tuple[Any, Any]:
    """The schema of tflite models, and ``model`` by it. Raises :class:`ModelError` (``assemble_failed``)."""
    try:
        from mediapipe.tasks.metadata import schema_py_generated as schema
    except ImportError as error:
        raise ModelError("assemble_failed", f"mediapipe cannot be imported: {error}") from error
    if model[4:8] != b"TFL3":
        raise ModelError("assemble_failed", "a part is not a tflite model")
    return schema, schema.ModelT.InitFromPackedBuf(model, 0)


def _packed(tree: Any, identifier: bytes) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), identifier)
    return bytes(builder.Output())


def _normalisation_metadata(normalisation: Normalisation) -> bytes:
    """The metadata of a model with one RGB input (metadata_schema.fbs)."""
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
    return _packed(model, b"M001")


# ---------------------------------------------------------------------------------------------------- the face mesh
#
# ``face_landmark_with_attention.tflite`` ends in six tensors of points and the chance of a face; MediaPipe's
# FaceLandmarker takes a network that ends in one tensor of 478 points and the chance. Two operators at its end make it
# one: all values behind each other (``CONCATENATION``), and of them those that belong into the table (``GATHER``),
# where the parts take the place of the coarser points of the mesh. Which part's point is which of the mesh is told by
# MediaPipe's graph ``tensors_to_face_landmarks_with_attention.pbtxt`` (Apache-2.0).

POINTS = 478
_MESH_POINTS = 468
_PARTS = (
    # lips: outer, inner, half outer and half inner ring, of each the lower arc and the upper one without its ends
    "61 146 91 181 84 17 314 405 321 375 291 185 40 39 37 0 267 269 270 409 "
    "78 95 88 178 87 14 317 402 318 324 308 191 80 81 82 13 312 311 310 415 "
    "76 77 90 180 85 16 315 404 320 307 306 184 74 73 72 11 302 303 304 408 "
    "62 96 89 179 86 15 316 403 319 325 292 183 42 41 38 12 268 271 272 407",
    # the right eye and what is around it, ring by ring
    "33 7 163 144 145 153 154 155 133 246 161 160 159 158 157 173 "
    "130 25 110 24 23 22 26 112 243 247 30 29 27 28 56 190 "
    "226 31 228 229 230 231 232 233 244 113 225 224 223 222 221 189 35 124 46 53 52 65 "
    "143 111 117 118 119 120 121 128 245 156 70 63 105 66 107 55 193",
    # the left eye likewise
    "263 249 390 373 374 380 381 382 362 466 388 387 386 385 384 398 "
    "359 255 339 254 253 252 256 341 463 467 260 259 257 258 286 414 "
    "446 261 448 449 450 451 452 453 464 342 445 444 443 442 441 413 265 353 276 283 282 295 "
    "372 340 346 347 348 349 350 357 465 383 300 293 334 296 336 285 417",
    "468 469 470 471 472",  # the right iris
    "473 474 475 476 477",
)
"""Of each of the five tensors of parts, in the network's order: which points they are."""
_IRIS_DEPTH = {468: 159, 473: 386}
"""An iris has no depth of its own: first of its points → point of the lid above it whose depth it takes."""
_SIZES = (3 * _MESH_POINTS, *(2 * len(part.split()) for part in _PARTS), 1)
"""Values in each of the network's outputs."""


def gathered() -> NDArray[np.int32]:
    """For each of the 478 x 3 values of the table, where it lies in the values of the six tensors of points."""
    places = np.zeros((POINTS, 3), np.int32)
    places[:_MESH_POINTS] = np.arange(3 * _MESH_POINTS).reshape(-1, 3)
    for first, lid in _IRIS_DEPTH.items():
        places[first : first + 5, 2] = places[lid, 2]
    start = 3 * _MESH_POINTS
    for part in _PARTS:
        for point in part.split():
            places[int(point), :2] = start, start + 1
            start += 2
    return places.ravel()


def with_one_mesh(model: bytes) -> bytes:
    """The network with its outputs put together. Raises :class:`ModelError` (``assemble_failed``) for any other."""
    schema, tree = _unpacked(model)
    graph = tree.subgraphs[0]
    if tuple(int(np.prod(graph.tensors[output].shape)) for output in graph.outputs) != _SIZES:
        raise ModelError("assemble_failed", "a part is not the face mesh network with lips, eyes and irises")
    *parts, chance = graph.outputs
    together = _tensor(schema, tree, "points_of_all_parts", (1, 1, 1, sum(_SIZES[:-1])), schema.TensorType.FLOAT32)
    indices = gathered()
    places = _tensor(schema, tree, "places_of_points", indices.shape, schema.TensorType.INT32, indices)
    mesh = _tensor(schema, tree, "mesh", (1, 1, 1, indices.size), schema.TensorType.FLOAT32)
    joining = schema.ConcatenationOptionsT()
    joining.axis = 3
    picking = schema.GatherOptionsT()
    picking.axis = 3
    options = schema.BuiltinOptions
    code = schema.BuiltinOperator
    _operator(schema, tree, code.CONCATENATION, (parts, together), (options.ConcatenationOptions, joining))
    _operator(schema, tree, code.GATHER, ([together, places], mesh), (options.GatherOptions, picking))
    graph.outputs = [mesh, chance]
    return _packed(tree, b"TFL3")


def _tensor(
    schema: Any, tree: Any, name: str, shape: tuple[int, ...], kind: int, values: NDArray[np.int32] | None = None
) -> int:
    """Add a tensor, with its values where it is a constant. Its number."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.astype("<i4").tobytes(), np.uint8)
        tensor.buffer = len(tree.buffers)
        tree.buffers.append(buffer)
    tree.subgraphs[0].tensors.append(tensor)
    return len(tree.subgraphs[0].tensors) - 1


def _operator(schema: Any, tree: Any, builtin: int, ends: tuple[list[int], int], options: tuple[int, Any]) -> None:
    """Add an operator at the end: ``ends`` are the tensors that it takes and the one that it gives."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    operator = schema.OperatorT()
    operator.opcodeIndex = len(tree.operatorCodes)
    tree.operatorCodes.append(code)
    operator.inputs, operator.outputs = list(ends[0]), [ends[1]]
    operator.builtinOptionsType, operator.builtinOptions = options
    tree.subgraphs[0].operators.append(operator)
