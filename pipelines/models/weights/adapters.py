"""LoRA adapters as files, and the ones that a server has (https://arxiv.org/abs/2106.09685). Imports no torch.

An adapter is a folder as PEFT writes it (``adapter_config.json`` and ``adapter_model.safetensors``) for a model on
transformers, or a GGUF file for one on llama.cpp. Only safetensors are read: a pickle could run code. What an adapter
asks for beyond plain LoRA on linear layers is refused, for it would be left out without a word.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from pipelines.errors import ModelError
from pipelines.interfaces.llm import Scaled
from pipelines.text import in_home, unknown

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MOST_ADAPTERS = 64
"""Of one server; each is a few megabytes."""
MOST_AT_ONCE = 8
"""In one mix."""
LARGEST_SCALE = 4.0
"""What is beyond it has always been a mistake."""
MIX = "mix_"
"""How the names of mixes on a model begin."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LARGEST_CONFIG = 1 << 20
_GGUF = b"GGUF"
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "lora_bias": (False, None),
    "alora_invocation_tokens": (None, []),
    "layer_replication": (None, []),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
}
"""Fields of PEFT's configuration → what this module can keep to. Other starts of weights change those below."""

Kind = Literal["peft", "gguf"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter that is here."""

    name: str
    path: Path
    """A folder, or a GGUF file."""
    kind: Kind
    key: str = ""
    """Unlike that of any other, also of one of the same name before it."""
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """PEFT's."""
    base: str = ""
    """The model that it was made for, as its maker calls it."""


def read_adapter(name: str, path: Path) -> Adapter:
    """The adapter in ``path``, by its configuration and the head of its file. Blocking.

    Raises :class:`ModelError`: ``adapter_name``, ``adapter_missing``, ``adapter_broken``, ``adapter_unsupported``.
    """
    if not _NAME.fullmatch(name):
        message = (
            f"an adapter cannot be called {name[:80]!r}; legal values are letters, digits, '.', '_' and '-', at most 64"
        )
        raise ModelError("adapter_name", message)
    try:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(_GGUF)) != _GGUF:
                    raise ModelError("adapter_broken", f"{name}: {path.name} is no GGUF file; legal: one, or a folder")
            return Adapter(name, path, "gguf")
        if not path.is_dir():
            raise ModelError("adapter_missing", f"{name}: there is no folder or GGUF file {path}")
        config = _config(name, path / CONFIG)
    except OSError as error:
        raise ModelError("adapter_broken", f"{name}: {path}: {error.strerror or error}") from error
    if not (path / WEIGHTS).is_file():
        pickled = "; its adapter_model.bin is not read, for it could run code" * (path / "adapter_model.bin").exists()
        raise ModelError("adapter_broken", f"{name}: {path} holds no {WEIGHTS}{pickled}")
    return Adapter(name, path, "peft", config=config, base=str(config.get("base_model_name_or_path") or ""))


def _config(name: str, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError("adapter_broken", f"{name}: {path.parent} holds no {CONFIG}")
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("too large")
        config = json.loads(path.read_text("utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise ModelError("adapter_broken", f"{name}: {CONFIG} is no JSON object: {error}") from error
    for word, legal in _PLAIN.items():
        if (value := config.get(word, legal[0])) not in legal:
            told = (
                f"{name}: {word} is {str(value)[:80]}; only plain LoRA on linear layers is applied ({word}: {legal[0]})"
            )
            raise ModelError("adapter_unsupported", told)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not 0 < rank <= 1024 or not isinstance(alpha, int | float):
        raise ModelError("adapter_broken", f"{name}: {CONFIG} must have r (1 to 1024) and lora_alpha (a number)")
    return config


class Adapters:
    """The adapters of a server by name, and mixes of them under a name of their own. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._adapters: dict[str, Adapter] = {}
        self._mixes: dict[str, Scaled] = {}
        self._count = count(1)

    def add(self, adapter: Adapter) -> Adapter:
        """Make it known. Raises :class:`ModelError` (``adapter_exists``, ``adapters_full``)."""
        with self._lock:
            self._insist_free(adapter.name)
            keyed = Adapter(
                adapter.name, adapter.path, adapter.kind, f"lora{next(self._count)}", adapter.config, adapter.base
            )
            self._adapters[adapter.name] = keyed
        return keyed

    def mix(self, name: str, parts: Mapping[str, float]) -> None:
        """Let ``name`` stand for several at once. Raises :class:`ModelError`, also ``adapter_unknown``."""
        if not _NAME.fullmatch(name):
            raise ModelError("adapter_name", f"a mix cannot be called {name[:80]!r}")
        check_scales(tuple(parts.items()), f"the mix {name}")
        with self._lock:
            self._insist_free(name)
            kinds = {self._get(part).kind for part in parts}
            if len(kinds) > 1:
                message = f"the mix {name}: adapters in GGUF and for transformers cannot be mixed"
                raise ModelError("adapter_unsupported", message)
            self._mixes[name] = tuple(parts.items())

    def remove(self, name: str) -> None:
        """Forget it; answers that use it go on. Raises :class:`ModelError` (``adapter_unknown``, ``…_in_use``)."""
        with self._lock:
            if self._mixes.pop(name, None) is not None:
                return
            adapter = self._get(name)
            using = [mix for mix, parts in self._mixes.items() if name in dict(parts)]
            if using:
                raise ModelError("adapter_in_use", f"{name} is a part of the mix {using[0]}: unload that first")
            if adapter.kind == "gguf":
                raise ModelError("adapter_unsupported", f"{name}: {AT_START}")
            del self._adapters[name]

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Those of one kind, mixes last."""
        with self._lock:
            mixes = [name for name, parts in self._mixes.items() if self._adapters[parts[0][0]].kind == kind]
            return (*(name for name, one in self._adapters.items() if one.kind == kind), *mixes)

    def numbered(self, first: int = 0) -> dict[str, tuple[tuple[int, float], ...]]:
        """Those in GGUF and their mixes, by the numbers of the files counted from ``first``, each with its share."""
        names = self.names("gguf")
        with self._lock:
            numbers = {name: n for n, name in enumerate((n for n in names if n in self._adapters), first)}
            mixed = {name: self._mixes.get(name, ((name, 1.0),)) for name in names}
            return {name: tuple((numbers[part], share) for part, share in parts) for name, parts in mixed.items()}

    def known(self) -> tuple[Adapter, ...]:
        """All adapters, in the order in which they came."""
        with self._lock:
            return tuple(self._adapters.values())

    def parts(self, wanted: Scaled) -> tuple[tuple[Adapter, float], ...]:
        """What ``wanted`` comes to, mixes taken apart. Raises :class:`ModelError` (``adapter_unknown``)."""
        scales: dict[str, float] = {}
        with self._lock:
            for name, scale in wanted:
                for part, share in self._mixes.get(name, ((name, 1.0),)):
                    self._get(part)
                    scales[part] = scales.get(part, 0.0) + scale * share
            return tuple((self._adapters[name], scale) for name, scale in scales.items() if scale)

    def _get(self, name: str) -> Adapter:
        if name not in self._adapters:
            raise ModelError("adapter_unknown", unknown("adapter", name[:80], tuple(self._adapters)))
        return self._adapters[name]

    def _insist_free(self, name: str) -> None:
        if name in self._adapters or name in self._mixes:
            raise ModelError("adapter_exists", f"there is an adapter {name} already: unload it first")
        if len(self._adapters) + len(self._mixes) >= MOST_ADAPTERS:
            raise ModelError("adapters_full", f"there are {MOST_ADAPTERS} adapters already: unload one first")


AT_START = "llama.cpp takes adapters when it starts, and keeps them: name them in chat_adapters"


def check_scales(parts: Sequence[tuple[str, float]], what: str) -> None:
    """Raises :class:`ModelError` (``adapter_scale``) unless they are some, and small numbers."""
    if not 0 < len(parts) <= MOST_AT_ONCE:
        raise ModelError("adapter_scale", f"{what} needs one to {MOST_AT_ONCE} adapters, not {len(parts)}")
    for name, scale in parts:
        if not math.isfinite(scale) or abs(scale) > LARGEST_SCALE:
            legal = f"legal: -{LARGEST_SCALE:g} to {LARGEST_SCALE:g}"
            raise ModelError("adapter_scale", f"{what}: the scale of {name} is {scale:g}; {legal}")


def _named(value: object) -> object:
    """``NAME=PATH`` of flags as a mapping."""
    if not isinstance(value, list | tuple):
        return value
    pairs = [str(text).partition("=") for text in value]
    if wrong := next((name for name, sign, path in pairs if not (name and sign and path)), None):
        raise ValueError(f"{wrong!r} must be NAME=PATH")
    return {name: path for name, _, path in pairs}


def _expanded(value: object) -> object:
    """A mapping is a mix, all else a path; no shell expands ``~`` in the environment or in a file."""
    if isinstance(value, Mapping):
        return value
    if value in ("", None):
        raise ValueError("is empty: it must be the path of an adapter, or the shares of others")
    return in_home(Path(str(value)))


Given = Annotated[dict[str, Annotated[Path | dict[str, float], BeforeValidator(_expanded)]], BeforeValidator(_named)]
"""Name → the folder or GGUF file of an adapter, or the shares of others that it mixes."""


def of_settings(given: Mapping[str, Path | Mapping[str, float]], read: Any = read_adapter) -> Adapters:
    """The adapters and mixes of the setting ``chat_adapters``. Blocking. Raises :class:`ModelError`."""
    adapters = Adapters()
    for name, what in given.items():
        if isinstance(what, Path):
            adapters.add(read(name, what))
    for name, what in given.items():
        if not isinstance(what, Path):
            adapters.mix(name, what)
    return adapters


def adapters_in(folder: Path) -> Adapters:
    """Those in ``adapters/NAME`` of a model's ``folder``; what is none is left out. Blocking."""
    found = Adapters()
    with suppress(OSError):
        for path in sorted((folder / "adapters").iterdir())[:MOST_ADAPTERS]:
            with suppress(ModelError):
                found.add(read_adapter(path.name, path))
    return found


def inside(path: str, folders: Sequence[Path]) -> Path:
    """``path`` (relative: to the first of ``folders`` that has it), if it lies in one of them, links followed.

    Raises :class:`ModelError` (``adapter_missing``, ``adapter_outside``) without telling what is elsewhere.
    """
    for folder in folders:
        root = folder.expanduser().resolve()
        try:
            found = (root / path).resolve()
            if found.is_relative_to(root) and found.exists():
                return found
        except (OSError, ValueError, RuntimeError):
            continue
    if Path(path).is_absolute() or ".." in Path(path).parts:
        message = "lora_path: must lie in the folder of models (--models) or in the model store"
        raise ModelError("adapter_outside", message)
    raise ModelError("adapter_missing", f"lora_path: the folder of models and the store hold no {path[:200]}")
