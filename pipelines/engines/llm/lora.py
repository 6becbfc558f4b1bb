"""LoRA adapters on a transformers model in memory, chosen for each row of a batch.

PEFT puts a small pair of matrices beside linear layers. Which pair a row goes through is told to each layer by a hook
of ours, so that conversations with different adapters are read and answered in one batch, and those without are
computed as if there were none: bit for bit. Imports torch and peft: import this inside functions.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, LoraModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipelines.errors import ModelError
from pipelines.models.weights.adapters import MIX, WEIGHTS, Adapter

BASE = "__base__"
"""PEFT's name for a row without an adapter."""
_FIELDS = (
    "r", "lora_alpha", "target_modules", "exclude_modules", "fan_in_fan_out", "use_rslora",
    "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
)  # fmt: skip
"""What is taken of an adapter's configuration; what else it may say is for training."""
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")

Parts = tuple[tuple[Adapter, float], ...]


class LoraRows:
    """The adapters on ``model``. One thread at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tuner: Any = None
        self._rows: list[str] | None = None
        self._hooked: set[int] = set()
        self.loaded: dict[str, Parts] = {}
        """Names that PEFT knows → what each is made of."""

    def name(self, parts: Parts) -> str:
        """What a row with ``parts`` is called; loads what is not there yet. Blocking. Raises :class:`ModelError`."""
        if not parts:
            return BASE
        for adapter, _ in parts:
            if adapter.key not in self.loaded:
                self._load(adapter)
        if len(parts) == 1 and parts[0][1] == 1.0:
            return parts[0][0].key
        name = MIX + "_".join(f"{adapter.key}x{scale!r}" for adapter, scale in parts).replace(".", "p")
        if name not in self.loaded:
            self._mix(name, parts)
        return name

    def forget(self, names: Sequence[str]) -> None:
        """Take those off the model."""
        for name in names:
            if self.loaded.pop(name, None) is not None:
                self._take_off(name)

    def choose(self, rows: Sequence[str]) -> None:
        """Which adapter each row of the next calls of the model goes through; empty for none."""
        self._rows = list(rows)

    def _load(self, adapter: Adapter) -> None:
        config = LoraConfig(**{name: adapter.config[name] for name in _FIELDS if adapter.config.get(name) is not None})
        config.inference_mode = True
        try:
            weights = load_file(str(adapter.path / WEIGHTS))
            self._put_on(adapter.key, config)
            try:
                self._fill(adapter, weights)
            except ModelError:
                self._take_off(adapter.key)
                raise
        except (ValueError, TypeError, KeyError, OSError, RuntimeError, SafetensorError) as error:
            told = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            message = f"the adapter {adapter.name} does not fit this model, or is damaged: {told}"
            raise ModelError("adapter_broken", message) from error
        self.loaded[adapter.key] = ((adapter, 1.0),)

    def _put_on(self, name: str, config: LoraConfig) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that training would miss
            if self._tuner is None:
                self._tuner = LoraModel(self._model, config, name)
            else:
                self._tuner.peft_config[name] = config
                try:
                    self._tuner.inject_adapter(self._model, name)
                except Exception:
                    self._tuner.peft_config.pop(name, None)
                    raise
        self._settle()

    def _take_off(self, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which of the others would be trained now
            self._tuner.delete_adapter(name)

    def _mix(self, name: str, parts: Parts) -> None:
        """The weighted sum of what the parts add, exactly: their ranks are joined."""
        keys, scales = [adapter.key for adapter, _ in parts], [scale for _, scale in parts]
        self._tuner.add_weighted_adapter(keys, scales, name, combination_type="cat")
        self._settle()
        self.loaded[name] = parts

    def _settle(self) -> None:
        """New layers are for answering, and are told their rows."""
        self._model.eval()
        self._model.requires_grad_(False)
        for module in self._model.modules():
            if isinstance(module, LoraLayer) and id(module) not in self._hooked:
                self._hooked.add(id(module))
                layer: Any = module
                layer.register_forward_pre_hook(self._told, with_kwargs=True)

    def _told(self, _: Any, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        rows = [row or BASE for row in self._rows] if self._rows else [BASE] * len(inputs[0])
        return inputs, {**kwargs, "adapter_names": rows}

    def _fill(self, adapter: Adapter, weights: dict[str, Any]) -> None:
        """Every matrix of the file into its place, and every place filled."""
        places: dict[str, Any] = {}
        for path, module in self._model.named_modules():
            if isinstance(module, LoraLayer) and adapter.key in module.lora_A:
                places[f"{path}.A"] = module.lora_A[adapter.key].weight
                places[f"{path}.B"] = module.lora_B[adapter.key].weight
        if not places:
            raise ModelError("adapter_broken", f"the adapter {adapter.name} is for no linear layer of this model")
        for key, given in weights.items():
            found = _KEY.fullmatch(key)
            place = places.pop(f"{found['module']}.{found['side']}", None) if found else None
            if place is None:
                raise ModelError("adapter_broken", f"the adapter {adapter.name} is not for this model: it has no {key}")
            if place.shape != given.shape:
                told = f"{key} is {tuple(given.shape)}, and here {tuple(place.shape)}"
                raise ModelError("adapter_broken", f"the adapter {adapter.name} is not for this model: {told}")
            with torch.no_grad():
                place.copy_(given)
        if places:
            told = f"{len(places)} matrices are missing, such as of {next(iter(places))}"
            raise ModelError("adapter_broken", f"the adapter {adapter.name} is not complete: {told}")


def merged(model: Any, parts: Parts) -> Any:
    """``model`` with the weighted sum of ``parts`` added to its own weights, as a plain model again.

    Blocking; changes the model. Raises :class:`ModelError`.
    """
    rows = LoraRows(model)
    name = rows.name(parts)
    if name == BASE:
        return model
    tuner: Any = rows._tuner
    plain = tuner.merge_and_unload(adapter_names=[name])
    for module in plain.modules():
        if isinstance(module, LoraLayer):  # what merging leaves is not what was asked for
            raise ModelError("adapter_unsupported", "adapters cannot be merged into weights of this kind")
    return plain.eval()
