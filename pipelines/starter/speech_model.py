"""The starter Whisper as a network that trains fast on one core: transformers' weights, a forward pass of its own.

transformers' encoder refuses windows other than 30 s. Two heads of the decoder's attention to the sound are held to
where each word is heard, which word timings are then read from, and a layer on top of the encoder names phonemes.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pipelines.engines.chat_template import import_transformers
from pipelines.starter.speech_examples import Batch
from pipelines.starter.speech_tokens import Tokens, save_tokenizer

MELS = 80
POSITIONS = 1500
MOST_TOKENS = 448
ALIGNED = ((1, 0), (2, 0))
"""Layer and head: they attend to the token that comes next."""
_FOLLOWING = (0, 0)
"""It attends to the token that was said last."""
COPIED = ("tokenizer.json", "preprocessor_config.json")


class Network(nn.Module):
    """``whisper`` is the model itself; ``layers`` are the encoder's and the decoder's, ``sounds`` the phonemes."""

    def __init__(
        self, tokens: Tokens, width: int, layers: tuple[int, int], heads: int, inner: int, sounds: int
    ) -> None:
        super().__init__()
        import_transformers()
        import transformers

        library: Any = transformers
        config = library.WhisperConfig(
            vocab_size=tokens.size,
            num_mel_bins=MELS,
            d_model=width,
            encoder_layers=layers[0],
            decoder_layers=layers[1],
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=inner,
            decoder_ffn_dim=inner,
            max_source_positions=POSITIONS,
            max_target_positions=MOST_TOKENS,
            decoder_start_token_id=tokens.start,
            bos_token_id=tokens.end,
            eos_token_id=tokens.end,
            pad_token_id=tokens.end,
            suppress_tokens=[],
            begin_suppress_tokens=[],
        )
        self.whisper: Any = library.WhisperForConditionalGeneration(config)
        self.heads = heads
        self.sounds = nn.Linear(width, sounds)
        self._tokens = (tokens.start, tokens.end, tokens.no_timestamps)

    def forward(self, mel: Any, inputs: Any) -> tuple[Any, Any, Any, list[Any]]:
        """Logits of tokens and of phonemes, and the aligned heads' attention: of the last token, of the next ones."""
        encoder, decoder = self.whisper.model.encoder, self.whisper.model.decoder
        hidden = functional.gelu(encoder.conv1(mel))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        sound = self._encode(hidden + encoder.embed_positions.weight[: hidden.shape[1]])
        hidden = decoder.embed_tokens(inputs) + decoder.embed_positions.weight[: inputs.shape[1]]
        hidden, attention = self._decode(hidden, sound)
        logits = functional.linear(hidden, decoder.embed_tokens.weight)
        return logits, self.sounds(sound), attention[0], attention[1:]

    def _encode(self, hidden: Any) -> Any:
        encoder = self.whisper.model.encoder
        for layer in encoder.layers:
            normal = layer.self_attn_layer_norm(hidden)
            hidden = hidden + self._attend(layer.self_attn, normal, None, None)[0]
            hidden = hidden + _inner(layer, hidden)
        return encoder.layer_norm(hidden)

    def _decode(self, hidden: Any, sound: Any) -> tuple[Any, list[Any]]:
        decoder = self.whisper.model.decoder
        length = hidden.shape[1]
        causal = torch.full((length, length), float("-inf"), device=hidden.device).triu(1)
        attention: dict[tuple[int, int], Any] = {}
        for n, layer in enumerate(decoder.layers):
            normal = layer.self_attn_layer_norm(hidden)
            hidden = hidden + self._attend(layer.self_attn, normal, None, causal)[0]
            normal = layer.encoder_attn_layer_norm(hidden)
            added, weights = self._attend(layer.encoder_attn, normal, sound, None)
            attention[n, 0] = weights[:, 0]
            hidden = hidden + added
            hidden = hidden + _inner(layer, hidden)
        return decoder.layer_norm(hidden), [attention[place] for place in (_FOLLOWING, *ALIGNED)]

    def _attend(self, attention: Any, queries: Any, values: Any, mask: Any) -> tuple[Any, Any]:
        """The attention's output, and its weights: ``(windows, heads, queries, values)``; to itself without values."""
        size = queries.shape[-1] // self.heads

        def split(x: Any) -> Any:
            return x.reshape(x.shape[0], x.shape[1], self.heads, size).transpose(1, 2)

        ours = [attention.q_proj, attention.k_proj, attention.v_proj]
        if values is None:  # one large product is faster than three
            q, k, v = map(split, _joint(ours, queries).chunk(3, -1))
        else:
            q = split(attention.q_proj(queries))
            k, v = map(split, _joint(ours[1:], values).chunk(2, -1))
        scores = (q * size**-0.5) @ k.transpose(2, 3)
        weights = functional.softmax(scores if mask is None else scores + mask, -1, dtype=torch.float32)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).reshape(queries.shape)
        return attention.out_proj(mixed), weights


def _joint(projections: list[Any], x: Any) -> Any:
    """The outputs of some projections side by side; those of the keys have no bias."""
    biases = [one.weight.new_zeros(len(one.weight)) if one.bias is None else one.bias for one in projections]
    return functional.linear(x, torch.cat([one.weight for one in projections]), torch.cat(biases))


def _inner(layer: Any, hidden: Any) -> Any:
    return layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(hidden))))


def losses(network: Any, batch: Batch, device: str) -> tuple[Any, dict[str, Any]]:
    """What is to be made small, and its parts: text (nats per token), sounds (per position), places (per token)."""
    mel, inputs, targets, here, after, phonemes = (
        torch.from_numpy(part).to(device)
        for part in (batch.mel, batch.inputs, batch.targets, batch.here, batch.next, batch.phonemes)
    )
    logits, sounds, following, aligned = network(mel, inputs)
    text = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100)
    named = functional.cross_entropy(sounds.flatten(0, 1).float(), phonemes.flatten(), ignore_index=-100)
    placed = sum(_placed(weights, after) for weights in aligned) / len(aligned)
    followed = _placed(following, here)
    parts = {"text": text.detach(), "sounds": named.detach(), "places": placed.detach()}
    return text + 0.5 * named + 0.3 * placed + 0.1 * followed, parts


def _placed(weights: Any, spans: Any) -> Any:
    """Cross-entropy of the attention with even attention to all positions of each span, ``(…, 2)``."""
    at = torch.arange(weights.shape[-1], device=weights.device) + 0.5
    even = ((at >= spans[..., :1]) & (at < spans[..., 1:])).float()
    width = even.sum(-1, keepdim=True)
    entropy = -((even / width.clamp(min=1)) * torch.log(weights + 1e-5)).sum(-1)
    return entropy.sum() / (width > 0).sum().clamp(min=1)


def export(network: Network, tokens_folder: Path, folder: Path) -> None:
    """Write the model into ``folder`` as CTranslate2 reads it: weights as int8."""
    import shutil

    import transformers
    from ctranslate2.converters import TransformersConverter

    library: Any = transformers
    start, end, no_timestamps = network._tokens
    network.whisper.generation_config = library.GenerationConfig(
        is_multilingual=False,
        no_timestamps_token_id=no_timestamps,
        alignment_heads=[list(place) for place in ALIGNED],
        suppress_tokens=[],
        begin_suppress_tokens=[],
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    network.whisper.generation_config._from_model_config = False  # or from_pretrained silently discards it
    with TemporaryDirectory() as original:
        network.whisper.save_pretrained(original)
        for name in (*COPIED, "tokenizer_config.json"):
            shutil.copy(tokens_folder / name, original)
        TransformersConverter(original, copy_files=list(COPIED)).convert(str(folder), quantization="int8", force=True)


def new_tokens(folder: Path) -> Tokens:
    """The tokenizer in ``folder``, made if it is not there."""
    if not (folder / "tokenizer.json").exists():
        save_tokenizer(folder)
    return Tokens(folder)
