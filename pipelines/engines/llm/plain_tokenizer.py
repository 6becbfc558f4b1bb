"""A tokenizer and its chat template without transformers, whose import takes torch's 260 MB and two seconds with it.

Reads what transformers writes (``tokenizer.json``, ``tokenizer_config.json``, ``chat_template.jinja``) and answers as
its tokenizers do, as far as :class:`~pipelines.engines.llm.template.ChatTemplate` asks. For models of our own: what
others put into their files may need the whole library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError

_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


class PlainTokenizer:
    """As a ``PreTrainedTokenizerFast`` of transformers is used here."""

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
