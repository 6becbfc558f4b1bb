"""Smart Turn's network, changed so that several turns can be judged at once and alike positions are merged.

Between the convolutions and the first layer comes a multiplication by the weights of :mod:`.merging`, in place of the
table of places its mean for each row, and before every softmax the logarithm of how many positions a row stands for.
With weights that merge nothing it computes what the file does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from media.frames import Samples
from pipelines.engines.onnx_session import open_session
from pipelines.engines.turn.log_mel import BANDS, Floats, log_mel
from pipelines.engines.turn.merging import POSITIONS, merging, sounding, stacked


class SmartTurnNetwork:
    """Judges batches of turns with ``threads`` threads.

    Raises what onnx and onnxruntime do, and :class:`ValueError` for another network.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        network, self._table = _merging(path)
        self._session = open_session(network, threads)

    def judge(self, turns: Sequence[Samples], glance: bool = False) -> list[float]:
        """The chance in 0–1 that each turn (int16, 16 kHz; the last 8 s count) is finished. Blocking.

        A glance merges what lies further back than three seconds: less exact and sooner done.
        """
        plans = [merging(sounding(samples), glance) for samples in turns]
        frames = 2 * max(plan.computed for plan in plans)
        features = np.stack([log_mel(samples, frames) for samples in turns])
        given = {"input_features": features, **stacked(plans, self._table)}
        (chances,) = self._session.run(None, given)
        return [float(chance) for chance in np.ravel(chances)]


def _merging(path: Path) -> tuple[bytes, Floats]:
    """The changed network, and what it knows of each place."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = onnx.load(str(path))
    graph = network.graph
    constants = {entry.name: entry for entry in graph.initializer}
    nodes, table = [], None
    for node in graph.node:
        if node.op_type == "Add" and table is None:
            table = next((name for name in node.input if _is_table(constants.get(name))), None)
            if table is not None:
                (convolved,) = (name for name in node.input if name != table)
                nodes.append(helper.make_node("MatMul", ["merging_weights", convolved], ["merging_merged"]))
                node.input[:] = ["merging_merged", "merging_places"]
        if node.op_type == "Softmax":
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), -1)
            bias = "merging_keys" if axis in (-1, 3) else "merging_rows"
            nodes.append(helper.make_node("Add", [node.input[0], bias], [f"{node.name}_counted"]))
            node.input[0] = f"{node.name}_counted"
        nodes.append(node)
    if table is None:
        raise ValueError(f"it has no table of {POSITIONS} places")
    for entry in graph.initializer:  # shapes that are told as numbers
        if entry.data_type == TensorProto.INT64 and numpy_helper.to_array(entry).tolist() == [POSITIONS]:
            entry.CopyFrom(numpy_helper.from_array(np.array([-1], np.int64), entry.name))
    del graph.node[:], graph.value_info[:], graph.input[:]
    graph.node.extend(nodes)
    shapes: dict[str, list[str | int]] = {
        "input_features": ["batch", BANDS, "frames"],
        "merging_weights": ["batch", "row", "computed"],
        "merging_places": ["batch", "row", constants[table].dims[1]],
        "merging_keys": ["batch", 1, 1, "row"],
        "merging_rows": ["batch", "row", 1],
    }
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    places = np.array(numpy_helper.to_array(constants[table]), np.float32)
    return network.SerializeToString(), places


def _is_table(entry: Any) -> bool:
    return entry is not None and len(entry.dims) == 2 and entry.dims[0] == POSITIONS
