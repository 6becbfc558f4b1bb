"""``translation``: a text in another language, by Marian, M2M100 or T5."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from pipelines.errors import listed
from pipelines.interfaces.task import TaskError, TaskSpec
from pipelines.routing.stage_types import Strict
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
