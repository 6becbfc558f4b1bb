"""One table of points out of the face mesh network that gives lips, eyes and irises apart.

``face_landmark_with_attention.tflite`` ends in six tensors of points and the chance of a face; MediaPipe's
FaceLandmarker takes a network that ends in one tensor of 478 points and the chance. Two operators at its end make it
one: all values behind each other (``CONCATENATION``), and of them those that belong into the table (``GATHER``), where
the parts take the place of the coarser points of the mesh. Which part's point is which of the mesh is told by
MediaPipe's graph ``tensors_to_face_landmarks_with_attention.pbtxt`` (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ModelError

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
    try:
        import flatbuffers
        from mediapipe.tasks.metadata import schema_py_generated as schema
    except ImportError as error:
        raise ModelError("assemble_failed", f"mediapipe cannot be imported: {error}") from error
    if model[4:8] != b"TFL3":
        raise ModelError("assemble_failed", "a part is not a tflite model")
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
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
    builder = flatbuffers.Builder(len(model) + 16384)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


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
