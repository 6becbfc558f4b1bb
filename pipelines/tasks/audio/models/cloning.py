"""Pocket TTS (Kyutai, 2025) by transformers: a text in the voice of a short recording.

A language model of continuous audio latents: the recording's latents stand before the text, and it goes on in that
voice.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import ModelError
from pipelines.tasks.audio.models import transformers_models
from pipelines.tasks.audio.sounds import Wave

CODEC = "audio_tokenizer"
"""The folder of its codec, in its own."""
_KEPT = 8
"""Recordings whose latents are remembered."""


class PocketSpeaker:
    """The loaded model. Blocking; one caller at a time."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        if transformers_models.config_of(folder).get("model_type") != "pocket_tts":
            raise ModelError("model_broken", f"{folder.name} is no Pocket TTS of transformers")
        if not (folder / CODEC / "config.json").is_file():
            raise ModelError("model_broken", f"{folder.name} has no {CODEC}/ with its codec: it cannot hear a voice")
        self._model = transformers_models.load(folder, "PocketTTSForConditionalGeneration", device, dtype)
        self._processor = _processor(folder, device, dtype)
        self.rate = int(self._processor.feature_extractor.sampling_rate)
        self._voices: OrderedDict[bytes, Any] = OrderedDict()

    def speak(self, text: str, voice: Wave) -> Iterator[Wave]:
        """The sound of a text in the voice of a recording at :attr:`rate`, a few sentences at a time."""
        import torch

        latents = self._latents(voice)
        for part in self._processor.split_text(text):
            content = [{"type": "audio"}, {"type": "text", "text": part}]
            prompt = self._processor.apply_chat_template([{"role": "user", "content": content}])
            given = self._processor(text=[prompt], audio_prompt_latents=[latents], return_tensors="pt")
            placed = {
                name: value.to(self._model.device, self._model.dtype if value.is_floating_point() else value.dtype)
                for name, value in given.items()
            }
            with torch.inference_mode():
                made = self._model.generate(**placed, return_dict_in_generate=True)
                whole = self._processor.decode(made.audio_latents, made.audio_latents_mask)[0]
            yield np.asarray(whole.float().cpu().numpy(), np.float32)

    def _latents(self, voice: Wave) -> Any:
        import torch

        key = hashlib.sha256(voice.tobytes()).digest()
        if key not in self._voices:
            codec = self._processor.audio_tokenizer
            heard = self._processor.feature_extractor([voice], sampling_rate=self.rate)
            with torch.inference_mode():
                values = heard["input_values"].to(codec.device, codec.dtype)
                encoded = codec.encode(values, heard["padding_mask"].to(codec.device))
            self._voices[key] = encoded.latents[0][encoded.latents_mask[0].bool()].float().cpu()
        self._voices.move_to_end(key)
        while len(self._voices) > _KEPT:
            self._voices.popitem(last=False)
        return self._voices[key]


def _processor(folder: Path, device: str, dtype: str) -> Any:
    """Text and voices → what the model reads, and its latents → sound. Its parts are loaded one by one: the processor's
    own file names its codec by an address or a path, which is not followed."""
    import transformers

    codec = transformers_models.load(folder / CODEC, "PocketTTSAudioTokenizerModel", device, dtype)
    if codec.config.encoder_config is None or codec.config.decoder_config is None:
        raise ModelError("model_broken", f"the codec of {folder.name} lacks one of its halves: it cannot clone a voice")
    tokenizer = transformers_models.part(folder, "AutoTokenizer")
    features = transformers_models.part(folder, "PocketTTSFeatureExtractor")
    template = folder / "chat_template.jinja"
    try:
        written = template.read_text("utf-8") if template.is_file() else tokenizer.chat_template
        return transformers.PocketTTSProcessor(features, tokenizer, audio_tokenizer=codec, chat_template=written)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError("model_broken", f"{folder.name} cannot be loaded as a Pocket TTS: {error}") from error


def load_pocket(folder: Path, device: str, dtype: str) -> PocketSpeaker:
    """The model in ``folder``. Raises :class:`ModelError`."""
    return PocketSpeaker(folder, device, dtype)
