"""The chat engine of the small model that visavis brings: a Llama computed by NumPy, and its tokenizer.

A few million weights need neither torch nor transformers, whose import takes 260 MB and two seconds. The files are what
transformers writes (``config.json``, ``model.safetensors``, tokenizer, chat template); the architecture is Llama's as
in https://github.com/huggingface/transformers (``modeling_llama.py``): RMS norm, rotary positions, SwiGLU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engines.llm.local import LocalChat
from pipelines.engines.llm.model import ChatModel, Guide, Sampling, choose, recommended, stop_tokens
from pipelines.engines.llm.slots import Slot, Slots
from pipelines.engines.llm.template import ChatTemplate, Prompt
from pipelines.engines.registry import Built, Found, Site
from pipelines.errors import ModelError
from pipelines.interfaces.llm import Scaled
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.routing.known_first import StandIn
from pipelines.routing.refusals import Passes
from pipelines.starter import model_files

_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


class PlainTokenizer:
    """As a tokenizer of transformers is used by :class:`~pipelines.engines.llm.template.ChatTemplate`."""

    def __init__(self, tokenizer: Any, config: dict[str, Any], template: str) -> None:
        self.chat_template = template
        self._tokenizer = tokenizer
        self._template = _environment().from_string(template)
        self._special = {name: str(config[name]) for name in _TOKENS if config.get(name)}
        self.eos_token_id: int | None = tokenizer.token_to_id(self._special.get("eos_token", ""))
        self.all_special_ids = sorted({tokenizer.token_to_id(token) for token in self._special.values()})

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """``{"input_ids": …}`` of ``text``."""
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(
        self, ids: Sequence[int], skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> str:
        """Text of ``ids``; the last argument is there for likeness, nothing is ever cleaned up."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def apply_chat_template(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None = None,
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        return_dict: bool = True,
        **extra: Any,
    ) -> Any:
        """The conversation as the model reads it: ``{"input_ids": …}``, or the text unless ``tokenize``."""
        text = self._template.render(
            messages=messages, tools=tools, add_generation_prompt=add_generation_prompt, **self._special, **extra
        )
        return self(text, add_special_tokens=False) if tokenize else text


def load_plain_tokenizer(folder: Path) -> PlainTokenizer:
    """The tokenizer in ``folder``. Raises :class:`ModelError` (``model_broken``)."""
    from tokenizers import Tokenizer

    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        return PlainTokenizer(Tokenizer.from_str(text), config, template)
    except OSError as error:
        raise ModelError("model_broken", f"{error.filename}: {error.strerror}") from error
    except Exception as error:  # the Rust library raises bare exceptions
        raise ModelError("model_broken", f"no tokenizer could be loaded from {folder}: {error}") from error


def _environment() -> Any:
    """Jinja as transformers sets it up for chat templates."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


Array = NDArray[np.float32]

_ROOM = 256
"""Tokens by which a cache grows."""
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What ``config.json`` says."""

    layers: int
    heads: int
    groups: int
    """Heads of keys and values; each serves ``heads / groups`` heads of queries."""
    size: int
    """Of a head."""
    theta: float
    epsilon: float
    context: int
    """Tokens of prompt and answer together."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Matrices as ``input @ matrix`` wants them; those with the same input are one."""

    attention_norm: Array
    queries_keys_values: Array
    output: Array
    feed_forward_norm: Array
    gate_up: Array
    down: Array


@dataclass(eq=False, slots=True)
class Cache:
    """Keys and values of what has been read; by layer, shape ``(groups, room, size)``."""

    keys: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)
    length: int = 0
    """Tokens."""


class NumpyLlama:
    """The weights, and the pass through them. Any number of caches; one thread at a time for each."""

    def __init__(self, shape: Shape, weights: dict[str, Array]) -> None:
        self.shape = shape
        self._embeddings = weights["model.embed_tokens.weight"]
        self._head = np.ascontiguousarray(weights.get("lm_head.weight", self._embeddings).T)
        self._norm = weights["model.norm.weight"]
        self._layers = [_layer(weights, f"model.layers.{n}.") for n in range(shape.layers)]
        turns = 1.0 / shape.theta ** (np.arange(0, shape.size, 2) / shape.size)
        angles = np.outer(np.arange(shape.context), np.concatenate([turns, turns]))
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def read(self, tokens: list[int], cache: Cache) -> Array:
        """Read ``tokens`` after what ``cache`` holds; the logits of the one that comes next, shape ``(vocabulary,)``.

        Raises :class:`ValueError` when they do not fit into the context.
        """
        begin, end = cache.length, cache.length + len(tokens)
        if end > self.shape.context:
            raise ValueError(f"{end} tokens do not fit into a context of {self.shape.context}")
        hidden = self._embeddings[tokens]
        positions = self._cos[begin:end], self._sin[begin:end]
        future = np.triu(np.full((len(tokens), end), -np.inf, np.float32), begin + 1) if len(tokens) > 1 else None
        self._make_room(cache, end)
        for n, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer.attention_norm)
            hidden = hidden + self._attend(normed, layer, n, cache, positions, future)
            gate, up = np.split(self._normed(hidden, layer.feed_forward_norm) @ layer.gate_up, 2, axis=-1)
            hidden = hidden + (_silu(gate) * up) @ layer.down
        cache.length = end
        logits: Array = self._normed(hidden[-1], self._norm) @ self._head
        return logits

    def _attend(
        self, hidden: Array, layer: _Layer, n: int, cache: Cache, positions: tuple[Array, Array], future: Array | None
    ) -> Array:
        shape, count = self.shape, len(hidden)
        begin, end = cache.length, cache.length + count
        parts = (hidden @ layer.queries_keys_values).reshape(count, -1, shape.size).transpose(1, 0, 2)
        queries, keys, values = np.split(parts, [shape.heads, shape.heads + shape.groups])
        cache.keys[n][:, begin:end] = _turned(keys, *positions)
        cache.values[n][:, begin:end] = values
        # (groups, heads of a group, tokens, size) against (groups, 1, all tokens, size)
        queries = _turned(queries, *positions).reshape(shape.groups, -1, count, shape.size)
        scores = queries @ cache.keys[n][:, None, :end].swapaxes(-1, -2) * np.float32(shape.size**-0.5)
        if future is not None:
            scores += future
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        seen = (scores @ cache.values[n][:, None, :end]).reshape(shape.heads, count, shape.size)
        attended: Array = seen.transpose(1, 0, 2).reshape(count, -1) @ layer.output
        return attended

    def _normed(self, hidden: Array, weight: Array) -> Array:
        mean = np.mean(hidden * hidden, axis=-1, keepdims=True)
        normed: Array = hidden / np.sqrt(mean + np.float32(self.shape.epsilon)) * weight
        return normed

    def _make_room(self, cache: Cache, length: int) -> None:
        shape = self.shape
        if not cache.keys:
            cache.keys = [np.empty((shape.groups, 0, shape.size), np.float32) for _ in self._layers]
            cache.values = list(cache.keys)
        if cache.keys[0].shape[1] < length:
            room = min(shape.context, length + _ROOM)
            cache.keys = [_grown(one, cache.length, room) for one in cache.keys]
            cache.values = [_grown(one, cache.length, room) for one in cache.values]


class NumpyCaches:
    """Makes and changes caches (implements ``slots.Caches``)."""

    def new(self) -> Cache:
        """An empty one."""
        return Cache()

    def crop(self, cache: Cache, length: int) -> bool:
        """Forget all but the first ``length`` tokens."""
        cache.length = length
        return True

    def copy(self, cache: Cache, length: int) -> Cache:
        """A new cache of the first ``length`` tokens."""
        keys = [_grown(one, length, length) for one in cache.keys]
        return Cache(keys, [_grown(one, length, length) for one in cache.values], length)


def load_llama(folder: Path) -> NumpyLlama:
    """The Llama in ``folder``. Raises :class:`ModelError` (``model_broken``) when there is none, or another model."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return NumpyLlama(_shape(config), _weights(folder / "model.safetensors"))
    except OSError as error:
        raise ModelError("model_broken", f"{error.filename}: {error.strerror}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError("model_broken", f"{folder} holds no Llama that can be read: {error!r}") from error


def _shape(config: dict[str, Any]) -> Shape:
    rope = config["rope_parameters"]
    odd = [config["model_type"] != "llama", rope["rope_type"] != "default", config["hidden_act"] != "silu"]
    if any(odd) or config.get("attention_bias") or config.get("mlp_bias"):
        raise ValueError("a Llama with default rotary positions, silu and no biases is wanted")
    heads = int(config["num_attention_heads"])
    return Shape(
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        groups=int(config.get("num_key_value_heads") or heads),
        size=int(config.get("head_dim") or config["hidden_size"] // heads),
        theta=float(rope["rope_theta"]),
        epsilon=float(config["rms_norm_eps"]),
        context=int(config["max_position_embeddings"]),
    )


def _weights(path: Path) -> dict[str, Array]:
    """All tensors of a file as float32 (https://github.com/huggingface/safetensors, "Format")."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        numbers = np.frombuffer(data[begin + first : begin + last], np.dtype(_TYPES[entry["dtype"]]))
        if entry["dtype"] == "BF16":  # the upper half of a float32
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        found[name] = numbers.astype(np.float32).reshape(entry["shape"])
    return found


def _layer(weights: dict[str, Array], prefix: str) -> _Layer:
    def joined(*names: str) -> Array:
        return np.ascontiguousarray(np.concatenate([weights[f"{prefix}{name}.weight"] for name in names]).T)

    return _Layer(
        weights[f"{prefix}input_layernorm.weight"],
        joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        joined("self_attn.o_proj"),
        weights[f"{prefix}post_attention_layernorm.weight"],
        joined("mlp.gate_proj", "mlp.up_proj"),
        joined("mlp.down_proj"),
    )


def _silu(values: Array) -> Array:
    bounded: Array = values.clip(-80.0)  # beyond it the exponential overflows, and the result is 0 anyway
    result: Array = np.divide(values, 1.0 + np.exp(-bounded))
    return result


def _turned(heads: Array, cos: Array, sin: Array) -> Array:
    """Rotary positions; the halves of a head are the two coordinates."""
    first, second = np.split(heads, 2, axis=-1)
    rotated: Array = np.concatenate([-second, first], axis=-1)
    return heads * cos + rotated * sin


def _grown(old: Array, length: int, room: int) -> Array:
    new = np.empty((old.shape[0], room, old.shape[2]), np.float32)
    new[:, :length] = old[:, :length]
    return new


CHUNK = 64
"""Tokens of a prompt read in one step: how long others wait for their turn, and a cancelled request for its end."""


@dataclass(eq=False, slots=True)
class _Answer:
    """One answer in the making."""

    ids: list[int]
    """The prompt and the answer so far; what the slot's cache does not hold is still to be read."""
    slot: Slot[Cache]
    sampling: Sampling
    random: np.random.Generator
    cached: int
    """Tokens of the prompt that were known already."""
    guide: Guide


class NumpyChat:
    """A model in memory with the conversations it remembers (implements ``model.ChatModel``)."""

    max_batch = 1

    def __init__(self, model: NumpyLlama, template: ChatTemplate, config: SimpleNamespace) -> None:
        self.model, self.template = model, template
        self.context = model.shape.context
        self.stops = stop_tokens(config, template)
        self.sampling = recommended(config)
        self.slots: Slots[Cache] = Slots(NumpyCaches())

    def begin(self, prompt: Prompt, sampling: Sampling, limit: int, owner: str, adapters: Scaled = ()) -> _Answer:
        """Start an answer; its caller counts to ``limit``."""
        slot, random = self.slots.take(prompt.ids, owner), np.random.default_rng(sampling.seed)
        return _Answer(list(prompt.ids), slot, sampling, random, len(slot.tokens), Guide(prompt.starts))

    def step(self, batch: Sequence[_Answer]) -> list[int | Exception | None]:
        """Take each answer one step further; whatever is wrong with one fails it alone."""
        made: list[int | Exception | None] = []
        for answer in batch:
            try:
                made.append(self._step(answer))
            except Exception as error:  # noqa: BLE001 - told to whoever asked for it
                self.slots.drop(answer.slot)
                made.append(error)
        return made

    def end(self, answer: _Answer) -> None:
        """No more of ``answer`` is wanted; what was read is kept for the next turn."""
        self.slots.give_back(answer.slot)

    def _step(self, answer: _Answer) -> int | None:
        slot = answer.slot
        tokens = answer.ids[len(slot.tokens) : len(slot.tokens) + CHUNK]
        logits = self.model.read(tokens, slot.cache)
        slot.tokens += tokens
        if len(slot.tokens) < len(answer.ids):
            return None
        answer.ids.append(answer.guide.choose(logits, lambda some: choose(some, answer.sampling, answer.random)))
        return answer.ids[-1]


def load_numpy_chat(folder: Path) -> NumpyChat:
    """Load the model in ``folder``, a tenth of a second. Raises :class:`~pipelines.errors.ModelError`."""
    template = ChatTemplate(load_plain_tokenizer(folder), folder.name)
    model = load_llama(folder)
    file = folder / "generation_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return NumpyChat(model, template, SimpleNamespace(**{"eos_token_id": None, **config}))


async def build(site: Site, found: Found) -> Built[StandIn]:
    """The model in the package (see :data:`pipelines.engines.registry.Build`)."""
    load = partial(load_numpy_chat, model_files.FOLDER)
    plan: Loadable[ChatModel] = Loadable(found.name, load, precision="float32")
    resident = site.residency.add(plan)
    if found.now:
        await site.aside(_load, resident)
    passes = Passes(model_files.PASSES, model_files.KEEPS)
    return Built(StandIn(LocalChat(resident), passes, away=model_files.AWAY, never=model_files.NEVER))


def _load(resident: Resident[ChatModel]) -> None:
    with resident.lease():
        pass
