"""``/translate``, ``/detect`` and ``/languages`` of LibreTranslate."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import Field

from pipelines.tasks.text.translation import language_name, pairs_of
from server.http.bodies import json_body, text_body
from server.http.errors import HttpError
from server.http.rest.requests import Body, refuse, validated
from server.http.tasks.door import TaskDoor, heed_deadline, told

Texts = Annotated[tuple[str, ...], Field(min_length=1, max_length=256)]
Code = Annotated[str, Field(min_length=2, max_length=20)]


class TranslateBody(Body):
    """The body of ``/translate``."""

    q: str | Texts
    source: Code
    """A code, or ``auto``."""
    target: Code
    format: Literal["text"] = "text"
    alternatives: Literal[0] = 0
    api_key: str = ""
    """Is not looked at: the key of this server travels in a header."""
    model: str = "auto"


class DetectBody(Body):
    """The body of ``/detect``."""

    q: str
    api_key: str = ""


async def _body(request: web.Request) -> Any:
    """JSON, or a form, which that server's own clients send."""
    if request.content_type != "application/x-www-form-urlencoded":
        return await json_body(request)
    try:
        fields = parse_qsl(await text_body(request), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise HttpError(400, "invalid_body", "the form has more than 20 fields") from error
    return {name: _number(value) if name == "alternatives" else value for name, value in fields}


def _number(value: str) -> Any:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else value


class LibreTranslate:
    """The handlers."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def translate(self, request: web.Request) -> web.Response:
        """A text, or several, in another language."""
        heed_deadline(request)
        body = validated(TranslateBody, await _body(request))
        single = isinstance(body.q, str)
        texts = [body.q] if isinstance(body.q, str) else list(body.q)
        source, detected = body.source, None
        if source == "auto":
            detected = await self._detected("\n".join(texts), "q", 200)
            source = await self._likeliest(detected, body)
        runner = await self._door.runner("translation", await self._model(body, source))
        parameters = {"src_lang": source, "tgt_lang": body.target}
        names = {"text": "q", "parameters.src_lang": "source", "parameters.tgt_lang": "target"}
        items = [{"text": text} for text in texts]
        answer = await self._door.run(runner, items, parameters, names, numbered=not single)
        found = [done.output["translation_text"] for done in answer.done]
        whole: dict[str, Any] = {"translatedText": found[0] if single else found}
        if detected is not None:
            whole["detectedLanguage"] = detected[0] if single else [detected[0]] * len(texts)
        return await self._door.answered(whole, headers=answer.headers)

    async def detect(self, request: web.Request) -> web.Response:
        """Languages, the likeliest first; confidence in percent."""
        heed_deadline(request)
        body = validated(DetectBody, await _body(request))
        return await self._door.answered(await self._detected(body.q, "q"))

    async def languages(self, request: web.Request) -> web.Response:
        """What can be translated into what by the models that are here."""
        targets: dict[str, set[str]] = {}
        for _, pairs in await self._known():
            for source, target in pairs:
                targets.setdefault(source, set()).add(target)
        rows = [
            {"code": code, "name": language_name(code), "targets": sorted(found)} for code, found in targets.items()
        ]
        return await self._door.answered(sorted(rows, key=lambda row: str(row["code"])))

    # ------------------------------------------------------------------------------------------------ inside

    async def _detected(self, text: str, field: str, most: int = 3) -> list[dict[str, Any]]:
        runner = await self._door.runner("language-detection")
        answer = await self._door.run(runner, [{"text": text}], {"top_k": most}, {"text": field})
        return [
            {"language": row["language"], "confidence": round(row["confidence"] * 100, 1)}
            for row in answer.done[0].output
        ]

    async def _likeliest(self, detected: list[dict[str, Any]], body: TranslateBody) -> str:
        """The likeliest language of ``detected`` that can be translated into the target, which it then begins with: a
        short text is often taken for one that no model here knows."""
        known = [pairs for name, pairs in await self._known() if body.model in ("auto", name)]
        can = {source for pairs in known for source, target in pairs if target == body.target}
        detected.sort(key=lambda row: row["language"] not in can)
        return str(detected[0]["language"])

    async def _known(self) -> list[tuple[str, frozenset[tuple[str, str]]]]:
        with told({}):
            await self._door.tasks.look("translation")
            if not self._door.tasks.models("translation"):
                return []
            return [(model.id, pairs_of(model.folder)) for model in self._door.tasks.runner("translation").models]

    async def _model(self, body: TranslateBody, source: str) -> str:
        """The first model that knows the pair. Raises :class:`HttpError` naming what there is."""
        if body.model != "auto":
            return body.model
        known = await self._known()
        for name, pairs in known:
            if (source, body.target) in pairs:
                return name
        sources = sorted({pair[0] for _, pairs in known for pair in pairs})
        targets = sorted({pair[1] for _, pairs in known for pair in pairs if pair[0] == source})
        if sources and not targets:
            raise refuse("source", f"must be one of auto, {', '.join(sources)}, not {source!r}", "invalid_value")
        if targets:
            raise refuse("target", f"must be one of {', '.join(targets)}, not {body.target!r}", "invalid_value")
        return "auto"
