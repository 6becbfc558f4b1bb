"""A trained fusion and adapter as a folder: ``foresight.json`` tells for whom, ``foresight.safetensors`` holds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError
from pipelines.foresight.generator.adapter import Adapter
from pipelines.foresight.generator.fusion import Fusion, FusionShape

CONFIG, WEIGHTS = "foresight.json", "foresight.safetensors"


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """What an adapter was trained with."""

    encoder: str
    """Name of the image encoder's folder."""
    describer: str
    """Name of the vision-language model's; empty: patches alone were seen."""
    shape: FusionShape
    strength: float = 1.0


def read_card(folder: Path) -> AdapterCard:
    """Raises :class:`ModelError` (``model_broken``)."""
    try:
        told = json.loads((folder / CONFIG).read_text("utf-8"))
        told["shape"] = FusionShape(**told["shape"])
        return AdapterCard(**told)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError("model_broken", f"{folder.name}: {CONFIG} cannot be read: {error}") from error


def load_adapter(folder: Path, transformer: Any) -> tuple[Fusion, Adapter]:
    """Both, for this generator. Raises :class:`ModelError` (``model_broken``)."""
    from safetensors.torch import load_file

    card = read_card(folder)
    fusion, adapter = Fusion(card.shape), Adapter(transformer, card.shape.context_width)
    try:
        weights = load_file(folder / WEIGHTS)
        for name, part in (("fusion.", fusion), ("adapter.", adapter)):
            own = {key.removeprefix(name): value for key, value in weights.items() if key.startswith(name)}
            part.load_state_dict(own)
    except (OSError, RuntimeError, ValueError) as error:
        what = str(error).splitlines()[0][:200]
        raise ModelError("model_broken", f"{folder.name} does not fit this generator: {what}") from error
    adapter.strength = card.strength
    device, dtype = transformer.device, transformer.dtype
    return fusion.to(device, dtype).eval(), adapter.to(device, dtype).eval()


def save_adapter(folder: Path, card: AdapterCard, fusion: Fusion, adapter: Adapter) -> None:
    """Write the folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"fusion.{name}": value.contiguous() for name, value in fusion.state_dict().items()}
    weights |= {f"adapter.{name}": value.contiguous() for name, value in adapter.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(asdict(card), indent=1) + "\n", "utf-8")
