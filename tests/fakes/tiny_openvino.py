"""A Whisper in OpenVINO's format, made on the spot from the tiny one of :mod:`tests.fakes.tiny_whisper`.

What ``optimum-cli export openvino`` writes, but for the speed: the decoder looks at the encoder's output anew for every
token. Its states are the keys and values of what was said, as OpenVINO GenAI expects it.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.fakes import tiny_whisper

FEATURES = {"feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
SIZES = {"nb_max_frames": 3000, "n_samples": 480000, "feature_extractor_type": "WhisperFeatureExtractor"}


def transformers_whisper(folder: Path, *, multilingual: bool = True) -> Path:
    """The tiny Whisper as transformers has it."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = tiny_whisper._save_tokenizer(folder, multilingual)
    tiny_whisper._save_model(folder, tiny_whisper.TINIEST, ids, multilingual, 7)
    (folder / "preprocessor_config.json").write_text(json.dumps(FEATURES | SIZES))
    return folder


def build(folder: Path) -> Path:
    """Write the model to ``folder`` and return it; some seconds."""
    import openvino
    import openvino_tokenizers
    import torch
    from transformers import AutoTokenizer, WhisperForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as original, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        source = transformers_whisper(Path(original))
        model = WhisperForConditionalGeneration.from_pretrained(source, attn_implementation="eager").eval()
        openvino.save_model(_encoder(model), folder / "openvino_encoder_model.xml")
        openvino.save_model(_decoder(model), folder / "openvino_decoder_model.xml")
        tokenizer = AutoTokenizer.from_pretrained(source)
        there, back = openvino_tokenizers.convert_tokenizer(tokenizer, with_detokenizer=True)
        openvino.save_model(there, folder / "openvino_tokenizer.xml")
        openvino.save_model(back, folder / "openvino_detokenizer.xml")
        for name in ("config.json", "generation_config.json", "preprocessor_config.json"):
            shutil.copy(source / name, folder / name)
    return folder


def _encoder(model: Any) -> Any:
    import openvino
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = model.model.encoder

        def forward(self, features: Any) -> Any:
            return self.encoder(features).last_hidden_state

    network = openvino.convert_model(Encoder(), example_input=torch.zeros(1, model.config.num_mel_bins, 3000))
    network.inputs[0].get_tensor().set_names({"input_features"})
    network.outputs[0].get_tensor().set_names({"last_hidden_state"})
    return network


def _decoder(model: Any) -> Any:
    import openvino
    import torch
    from openvino._offline_transformations import apply_make_stateful_transformation

    config = model.config
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    size = config.d_model // heads
    past = [torch.randn(1, heads, 3, size) for _ in range(2 * layers)]
    example = (torch.tensor([[1, 2]]), torch.zeros(1, 1500, config.d_model), torch.zeros(1, dtype=torch.int32), *past)
    network = openvino.convert_model(_traced(model, layers), example_input=example)
    kept = [f"past.{n}" for n in range(2 * layers)]
    names = ["input_ids", "encoder_hidden_states", "beam_idx", *kept]
    shapes = [[-1, -1], [-1, -1, config.d_model], [-1], *([[-1, heads, -1, size]] * len(kept))]
    types = [openvino.Type.i64, openvino.Type.f32, openvino.Type.i32, *([openvino.Type.f32] * len(kept))]
    for given, name, shape, kind in zip(network.inputs, names, shapes, types, strict=True):
        given.get_tensor().set_names({name})
        given.get_node().set_partial_shape(openvino.PartialShape(shape))
        given.get_node().set_element_type(kind)
    now = [name.replace("past", "present") for name in kept]
    for output, name in zip(network.outputs, ["logits", *now], strict=True):
        output.get_tensor().set_names({name})
    network.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(network, dict(zip(kept, now, strict=True)))
    _start_empty(network, heads, size)
    return network


def _traced(model: Any, layers: int) -> Any:
    """The decoder as a function of its past, in tensors alone."""
    import torch
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.cache_utils import DynamicLayer

    class Anew(DynamicLayer):
        def update(self, keys: Any, values: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            self.keys, self.values, self.is_initialized = keys, values, True
            return keys, values

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Any, encoded: Any, beams: Any, *past: Any) -> Any:
            said, seen = DynamicCache(), DynamicCache()
            said.layers, seen.layers = [DynamicLayer() for _ in range(layers)], [Anew() for _ in range(layers)]
            for n, layer in enumerate(said.layers):
                layer.keys, layer.values = (past[2 * n + k].index_select(0, beams) for k in (0, 1))
                layer.is_initialized, layer.dtype, layer.device = True, torch.float32, torch.device("cpu")
            out = self.model(
                decoder_input_ids=tokens,
                encoder_outputs=(encoded,),
                past_key_values=EncoderDecoderCache(said, seen),
                use_cache=True,
            )
            return (out.logits, *(part for layer in said.layers for part in (layer.keys, layer.values)))

    return Decoder()


def _start_empty(network: Any, heads: int, size: int) -> None:
    """Let the states begin without a token, for as many beams as there are."""
    import numpy as np
    import openvino.opset14 as ops

    def number(value: int) -> Any:
        return ops.constant(np.array([value], np.int64))

    shape = ops.shape_of(network.input("input_ids"), output_type="i64")
    rows = ops.gather(shape, np.array([0], np.int64), np.array(0, np.int64))
    for node in network.get_ops():
        if node.get_type_name() == "ReadValue":
            empty = ops.concat([rows, number(heads), number(0), number(size)], axis=0)
            node.set_arguments([ops.broadcast(ops.constant(np.array(0, np.float32)), empty)])
    network.validate_nodes_and_infer_types()
