"""A network built like Smart Turn's, in miniature: convolutions, a table of places, one layer of attention, pooling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BANDS, POSITIONS, WIDTH = 80, 400, 8


def write(path: Path, places: int = POSITIONS) -> Path:
    """The network as a file; its weights are always the same."""
    random = np.random.default_rng(5)

    def weight(name: str, *shape: int, scale: float = 0.3) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, scale, shape).astype(np.float32), name)

    constants = [
        weight("first", WIDTH, BANDS, 3, scale=0.1),
        weight("second", WIDTH, WIDTH, 3),
        weight("table", places, WIDTH),
        *(weight(name, WIDTH, WIDTH) for name in ("query", "key", "value")),
        weight("pool", WIDTH, 1, scale=2.0),
        weight("head", WIDTH, 1, scale=1.0),
        numpy_helper.from_array(np.array([POSITIONS], np.int64), "told"),
        numpy_helper.from_array(np.array([WIDTH], np.int64), "width"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    node = helper.make_node
    nodes = [
        node("Conv", ["input_features", "first"], ["low"], pads=[1, 1]),
        node("Tanh", ["low"], ["bent"]),
        node("Conv", ["bent", "second"], ["high"], pads=[1, 1], strides=[2]),
        node("Transpose", ["high"], ["rows_first"], perm=[0, 2, 1]),
        node("Add", ["rows_first", "table"], ["placed"]),
        *(node("MatMul", ["placed", name], [f"{name}s"]) for name in ("query", "key", "value")),
        node("Shape", ["input_features"], ["batch"], start=0, end=1),
        node("Concat", ["batch", "told", "one", "width"], ["heads"], axis=0),
        node("Concat", ["batch", "told", "width"], ["whole"], axis=0),
        *(node("Reshape", [f"{name}s", "heads"], [f"{name}_heads"]) for name in ("query", "key", "value")),
        node("Transpose", ["query_heads"], ["q"], perm=[0, 2, 1, 3]),
        node("Transpose", ["key_heads"], ["k"], perm=[0, 2, 3, 1]),
        node("Transpose", ["value_heads"], ["v"], perm=[0, 2, 1, 3]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Softmax", ["scores"], ["shares"], name="attend", axis=-1),
        node("MatMul", ["shares", "v"], ["mixed"]),
        node("Transpose", ["mixed"], ["together"], perm=[0, 2, 1, 3]),
        node("Reshape", ["together", "whole"], ["layer"]),
        node("MatMul", ["layer", "pool"], ["weighed"]),
        node("Softmax", ["weighed"], ["pooled_shares"], name="pooling", axis=1),
        node("Mul", ["layer", "pooled_shares"], ["spread"]),
        node("ReduceSum", ["spread", "one"], ["pooled"], keepdims=0),
        node("MatMul", ["pooled", "head"], ["judged"]),
        node("Sigmoid", ["judged"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("input_features", TensorProto.FLOAT, ["batch", BANDS, 2 * places])
    told = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(nodes, "tiny", [given], [told], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path
