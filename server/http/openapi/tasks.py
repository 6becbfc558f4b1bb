"""The routes of tasks."""

from __future__ import annotations

from typing import Any

from server.http.openapi import shapes, task_shapes
from server.http.openapi.rows import BYTES, Answer, Operation, Schema, any_of, event_answer, json_answer
from server.http.tasks.completions import CompletionBody, InfillBody
from server.http.tasks.embeddings import EmbeddingBody
from server.http.tasks.envelope import TaskBody
from server.http.tasks.images import DrawingBody
from server.http.tasks.libretranslate import DetectBody, TranslateBody
from server.http.tasks.reranking import RerankBody
from server.http.tasks.text_embeddings_inference import EmbedBody, PredictBody, RerankTextsBody
from server.http.tasks.tokens import DetokenizeBody, TokenizeBody

WHO = {
    "X-Model": "who did it",
    "X-Model-Revision": "in which version",
    "X-Compute-Time": "seconds",
    "X-Prompt-Tokens": "tokens that were read",
    "X-Generated-Tokens": "tokens that were written",
}
NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
REFUSES = (403, 404, 415, 422, 501)


FILES: dict[str, Any] = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": BYTES}, "parameters": {"type": "string"}},
    "required": ["file"],
}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def _asked(path: str, summary: str, answer: Answer, body: Schema, *beside: str) -> Operation:
    """``beside``: content types of the body, beside JSON."""
    answer = Answer(answer.words, answer.content, WHO, answer.events)
    kinds = dict.fromkeys((JSON, *beside), body)
    return Operation("POST", path, "tasks", summary, {200: answer}, kinds, refuses=REFUSES)


def _rows(shape: Schema) -> dict[str, Any]:
    return {"type": "array", "items": shape}


TASKS = (
    Operation(
        "GET", "/v1/tasks", "tasks", "What models can do here", {200: json_answer("all tasks", task_shapes.TaskList)}
    ),
    Operation(
        "GET",
        "/v1/tasks/{task}",
        "tasks",
        "One task, with the schemas of its data",
        {200: json_answer("the task", task_shapes.TaskDetails)},
        query={"model": ({"type": "string"}, "A model to tell of, of tasks whose models tell something: `tflite`.")},
        refuses=(400, 403, 404, 501),
    ),
    Operation(
        "POST",
        "/v1/tasks/{task}",
        "tasks",
        "Do one task, as the Hugging Face API is asked",
        {
            200: Answer(
                "the result, of a list of inputs a list; or with `stream` as events",
                {
                    "application/json": {},
                    "text/event-stream": {"type": "string"},
                    "image/png": BYTES,
                    "image/jpeg": BYTES,
                },
                {**WHO, "X-Failed-Items": "of several files: how many have an error in their place"},
                (task_shapes.TaskEvent, shapes.Error),
            )
        },
        {"application/json": TaskBody, "application/octet-stream": BYTES, "multipart/form-data": FILES},
        refuses=REFUSES,
        words="For a task that takes a file the body may be that file, with its own content type, or a form with "
        "several files and `parameters` in JSON; of several files each has its result or its error in its place.",
    ),
    _asked("/v1/embeddings", "Texts as vectors", json_answer("a vector for each", shapes.EmbeddingList), EmbeddingBody),
    _asked(
        "/v1/completions",
        "A text continued, or filled in",
        event_answer(
            "whole, or with `stream` as events, the last of which is `[DONE]`",
            {"application/json": task_shapes.Completion},
            task_shapes.Completion,
        ),
        CompletionBody,
    ),
    _asked(
        "/v1/images/generations",
        "Pictures of what is described",
        json_answer("the pictures", task_shapes.DrawnPictures),
        DrawingBody,
    ),
    _asked(
        "/infill",
        "What stands between two texts (llama.cpp)",
        event_answer(
            "whole, or with `stream` as events", {"application/json": task_shapes.Infilled}, task_shapes.Infilled
        ),
        InfillBody,
    ),
    _asked(
        "/embed", "Texts as vectors (text-embeddings-inference)", json_answer("the vectors", _rows(NUMBERS)), EmbedBody
    ),
    _asked(
        "/rerank",
        "Texts in the order in which they answer a query (text-embeddings-inference)",
        json_answer("the best first", _rows(task_shapes.RankedText)),
        RerankTextsBody,
    ),
    _asked(
        "/predict",
        "The labels of texts (text-embeddings-inference)",
        json_answer("the likeliest first", _rows(any_of(task_shapes.LabelScore, _rows(task_shapes.LabelScore)))),
        PredictBody,
    ),
    _asked(
        "/v1/rerank",
        "Documents in the order in which they answer a query (Jina, Cohere, vLLM)",
        json_answer("the best first", task_shapes.Reranked),
        RerankBody,
    ),
    _asked(
        "/v2/rerank",
        "The same (Cohere's second version)",
        json_answer("the best first", task_shapes.RerankedSecond),
        RerankBody,
    ),
    _asked(
        "/tokenize",
        "Texts as tokens (vLLM, text-embeddings-inference)",
        json_answer("the tokens", any_of(task_shapes.TextTokens, _rows(_rows(task_shapes.OneToken)))),
        TokenizeBody,
    ),
    _asked(
        "/detokenize",
        "Tokens as texts (vLLM, text-embeddings-inference)",
        json_answer("the text", any_of(task_shapes.TokensText, _rows({"type": "string"}))),
        DetokenizeBody,
    ),
    _asked(
        "/translate",
        "A text in another language (LibreTranslate)",
        json_answer("the text", task_shapes.TranslatedText),
        TranslateBody,
        FORM,
    ),
    _asked(
        "/detect",
        "In which language a text is written (LibreTranslate)",
        json_answer("the likeliest first", _rows(task_shapes.DetectedLanguage)),
        DetectBody,
        FORM,
    ),
    Operation(
        "GET",
        "/languages",
        "tasks",
        "What can be translated into what (LibreTranslate)",
        {200: json_answer("languages", _rows(task_shapes.LanguageRow))},
    ),
)
