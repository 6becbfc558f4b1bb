"""``translation``: a text in another language, by Marian, M2M100 or T5."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipelines.errors import listed
from pipelines.interfaces.task import TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
from pipelines.tasks.loading import json_file
from pipelines.tasks.text.seq2seq import Seq2SeqInputs, Seq2SeqModel, Seq2SeqParameters, cost, group, load, run

T5_LANGUAGES = {"en": "English", "de": "German", "fr": "French", "ro": "Romanian"}
"""Those that T5 has learned."""


class TranslationParameters(Seq2SeqParameters):
    """From where to where, and how."""

    ANSWER: ClassVar[str] = "translation_text"

    src_lang: str | None = Field(None, min_length=2, max_length=20)
    """The language of the text; needed by models of several."""
    tgt_lang: str | None = Field(None, min_length=2, max_length=20)
    """The language to translate into; needed by models of several."""

    def prompt(self, model: Seq2SeqModel, text: str) -> tuple[str, str | None, int | None]:
        if model.kind in ("t5", "mt5"):
            source, target = (
                _one_of(name, asked, T5_LANGUAGES)
                for name, asked in (("src_lang", self.src_lang), ("tgt_lang", self.tgt_lang))
            )
            return f"translate {T5_LANGUAGES[source]} to {T5_LANGUAGES[target]}: {text}", None, None
        if (ids := getattr(model.tokenizer, "lang_code_to_id", None)) is not None:
            source, target = _one_of("src_lang", self.src_lang, ids), _one_of("tgt_lang", self.tgt_lang, ids)
            return text, source, int(ids[target])
        targets = marian_targets(model)
        if targets:
            target = _one_of("tgt_lang", self.tgt_lang, targets)
            return f">>{target}<< {text}", None, None
        for name, asked in (("src_lang", self.src_lang), ("tgt_lang", self.tgt_lang)):
            self._is_its_own(model, name, asked)
        return text, None, None

    def together(self) -> tuple[object, ...]:
        return (*super().together(), self.tgt_lang)

    def _is_its_own(self, model: Seq2SeqModel, name: str, asked: str | None) -> None:
        """A model of one pair need not be told which; if it is, that has to be its pair."""
        own = getattr(model.tokenizer, {"src_lang": "source_lang", "tgt_lang": "target_lang"}[name], None)
        if asked is not None and own and asked != own:
            raise TaskError("unsupported_value", f"parameters.{name}: the model knows {own} alone, not {asked}")


def marian_targets(model: Seq2SeqModel) -> list[str]:
    """Languages that a Marian model of several is told by a token; empty for one of a pair."""
    codes = getattr(model.tokenizer, "supported_language_codes", None) or []
    return [str(code).removeprefix(">>").removesuffix("<<") for code in codes]


def _one_of(name: str, asked: str | None, known: object) -> str:
    legal = sorted(map(str, known))  # type: ignore[call-overload]
    if asked is None:
        raise TaskError("invalid_value", f"parameters.{name}: is needed by this model; it knows {listed(legal)}")
    if asked not in legal:
        raise TaskError("unsupported_value", f"parameters.{name}: must be one of {listed(legal)}, not {asked!r}")
    return asked


class Translated(Strict):
    """The text."""

    translation_text: str


SPEC = TaskSpec(
    name="translation",
    about="A text in another language",
    inputs=Seq2SeqInputs,
    parameters=TranslationParameters,
    output=Translated,
    load=load,
    run=run,
    cost=cost,
    group=group,
    cached=lambda job: True,
)


_NAMES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
_PAIR = re.compile(r"(?:^|-)([a-z]{2,3})-([a-z]{2,3})$")


def language_name(code: str) -> str:
    """In English; the code itself for one that is not in the table."""
    return _NAMES.get(code, code)


def pairs_of(folder: Path) -> frozenset[tuple[str, str]]:
    """From where to where the model in ``folder`` translates, as far as its files tell without loading it."""
    config = json_file(folder / "config.json")
    told = json_file(folder / "tokenizer_config.json")
    kind = config.get("model_type")
    codes: list[str] = []
    if kind in ("t5", "mt5"):
        codes = list(T5_LANGUAGES)
    elif kind == "m2m_100" and told.get("language_codes", "m2m100") == "m2m100":
        from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

        codes = list(FAIRSEQ_LANGUAGE_CODES["m2m100"])
    elif kind == "marian":
        source, target = told.get("source_lang"), told.get("target_lang")
        if not (source and target) and (named := _PAIR.search(folder.name)) is not None:
            source, target = named[1], named[2]
        return frozenset({(str(source), str(target))}) if source and target else frozenset()
    return frozenset((one, other) for one in codes for other in codes if one != other)
