"""Tokenizer and chat template of the starter chat model.

A frequent word with the space before it is one token, any other word is read letter by letter: what is copied or
spelled then is just that. Capitals are a mark in front of the small letter, so "anna" and "Anna" share their tokens.
The mark is U+FFFD: a text that ends in it is known everywhere as one whose last character is not complete yet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

from pipelines.engines.llm.messages import as_dict, tool_as_dict, with_surroundings
from training.starter.grammar import Dialogue, dialogue, instructions

CONTEXT = 768
"""Tokens of prompt and answer."""
VOCABULARY = 2_048
"""Tokens at most."""
PAD, SYSTEM, USER, ASSISTANT, TOOL, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"
SPECIALS = (PAD, SYSTEM, USER, ASSISTANT, TOOL, END)
_MARK = "\N{REPLACEMENT CHARACTER}"
_PIECES = r" ?[a-z']+| ?[0-9]| ?[^\sa-z0-9]|\s"
_SAMPLE, _SEED, _RARE = 12_000, 7, 6

TEMPLATE = """\
{%- if messages and messages[0].role == 'system' or tools -%}
<|system|>
{%- if messages and messages[0].role == 'system' %} {{ messages[0].content }}{% endif -%}
{%- if tools %} Tools:{% for tool in tools %} {{ tool.function.name }}{% endfor %}{% endif -%}
<|end|>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role != 'system' or not loop.first -%}
<|{{ message.role }}|>
{%- if message.content %} {{ message.content }}{% endif -%}
{%- for call in message.tool_calls or [] %} <tool_call>{"name": "{{ call.function.name }}", "arguments": \
{{ call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}}</tool_call>\
{% endfor -%}
<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""
"""A message begins with its role and a space and ends with ``<|end|>``; of the tools only the names are told."""


def build_tokenizer() -> Any:
    """The tokenizer (``tokenizers.Tokenizer``), from a fixed sample of conversations."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    marks: list[Any] = []
    shows: list[Any] = []
    for small in ascii_lowercase:
        marks += [
            normalizers.Replace(f" {small.upper()}", f"{_MARK} {small}"),
            normalizers.Replace(small.upper(), _MARK + small),
        ]
        shows += [
            decoders.Replace(f"{_MARK} {small}", f" {small.upper()}"),
            decoders.Replace(_MARK + small, small.upper()),
        ]
    normalizer = normalizers.Sequence(marks)
    counts: Counter[str] = Counter()
    for text in _sample():
        counts.update(piece for piece, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    room = VOCABULARY - len(SPECIALS) - len(letters)
    words = [(word, n) for word, n in counts.most_common() if len(word) > 1 and n >= _RARE][:room]
    total = sum(counts.values())
    vocabulary = [(special, 0.0) for special in SPECIALS]
    vocabulary += [(word, math.log(n / total)) for word, n in words]
    vocabulary += [(letter, -20.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), *shows])
    tokenizer.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in SPECIALS])
    return tokenizer


def _sample() -> Iterable[str]:
    """Texts whose frequent words become tokens. What is spelled or repeated is rarely so frequent."""
    yield from [instructions()] * _RARE
    rng = Random(_SEED)
    for _ in range(_SAMPLE):
        talk = dialogue(rng)
        for message in talk.request.messages:
            if message.content != instructions():
                yield f" {message.content}"
            for call in message.tool_calls:
                yield f' <tool_call>{{"name": "{call.name}", "arguments": {call.arguments}}}</tool_call>'
        yield f"\n[Camera: {talk.request.scene}]"
        yield " Tools: get_time set_timer stop mute_camera"


def save_tokenizer(folder: Path) -> None:
    """Build the tokenizer and write its files for transformers."""
    import transformers

    library: Any = transformers
    fast = library.PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(),
        pad_token=PAD,
        eos_token=END,
        bos_token=END,  # of no use here; CTranslate2 cannot read a model that has none
        unk_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(str(folder))


def encode(tokenizer: Any, talk: Dialogue) -> tuple[list[int], list[bool]]:
    """The tokens of a conversation as the engine writes it, and which of them are learned (answers and their ends).

    ``tokenizer`` is a transformers tokenizer with :data:`TEMPLATE`.
    """
    text: str = tokenizer.apply_chat_template(
        [as_dict(message, parsed=True) for message in with_surroundings(talk.request)],
        tools=[tool_as_dict(tool) for tool in talk.request.tools] or None,
        tokenize=False,
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    assistant, end = tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    answers = [n for n, message in enumerate(talk.request.messages) if message.role == "assistant"]
    return ids, _learned(ids, assistant, end, [n in talk.learned for n in answers])


def _learned(ids: Sequence[int], assistant: int, end: int, wanted: Sequence[bool]) -> list[bool]:
    """Marks the tokens after each ``assistant`` up to its ``end``, where wanted."""
    marks: list[bool] = []
    answer, inside = -1, False
    for token in ids:
        marks.append(inside and wanted[answer])
        if token == assistant:
            answer, inside = answer + 1, True
        elif token == end:
            inside = False
    return marks
