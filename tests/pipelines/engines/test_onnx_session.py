"""Sessions of ONNX Runtime: networks in 8 bits say what their weights say, whatever the processor can do."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipelines.engines.onnx_session import open_session

_WIDTH = 64


def _largest_in_8_bits() -> bytes:
    """``x @ 1`` for ``x`` in 0–1, both quantised to 8 bits: where all is 1, every product is the largest there is."""
    constants = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "weights": np.full((_WIDTH, 4), 127, np.int8),
        "weights_scale": np.float32(1 / 127),
        "weights_zero": np.int8(0),
        "sum_scale": np.float32(_WIDTH / 255),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["x_8"]),
        node("DequantizeLinear", ["x_8", "scale", "zero"], ["x_again"]),
        node("DequantizeLinear", ["weights", "weights_scale", "weights_zero"], ["ones"]),
        node("MatMul", ["x_again", "ones"], ["sum"]),
        node("QuantizeLinear", ["sum", "sum_scale", "zero"], ["sum_8"]),
        node("DequantizeLinear", ["sum_8", "sum_scale", "zero"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", _WIDTH])
    told = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "largest", [given], [told], kept)
    opset = helper.make_opsetid("", 18)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString())


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_sum_of_large_products_is_not_cut_off(batch: int, share: float) -> None:
    (told,) = open_session(_largest_in_8_bits()).run(None, {"x": np.full((batch, _WIDTH), share, np.float32)})
    np.testing.assert_allclose(told, share * _WIDTH, rtol=0.01)
