"""Every route, once. A test fails for a route that is missing here, and for one that does not exist.

To add a route: one :class:`~server.http.openapi.rows.Operation` in the list of its family (below; those of calls are in
:mod:`server.http.openapi.signaling`), with the path as the router has it (``{name:.+}`` is written ``{name}``).
Bodies and responses are pydantic models: what a handler validates with, or a new one in
:mod:`server.http.openapi.shapes`; for text and bytes there are ``TEXT`` and ``BYTES``. ``refuses`` names the error
statuses of that route; those that every route can answer with are added by themselves, as are path parameters, ``HEAD``
and who needs the key. A new word in a path goes into ``PARAMETERS``, at the end.
"""

from __future__ import annotations

from media.files import CONTENT_TYPES as SOUNDS
from server.http.openapi import shapes, status_shapes
from server.http.openapi.audio_tasks import AUDIO_TASKS
from server.http.openapi.foresight import FORESIGHT
from server.http.openapi.pipelines import PIPELINES
from server.http.openapi.rows import BYTES, TEXT, Answer, Operation, any_of, event_answer, json_answer
from server.http.openapi.signaling import CALLS, LIVE, REALTIME, SECRETS, SMALL_WEBRTC, WHIP
from server.http.openapi.tasks import TASKS
from server.http.openapi.tracking import TRACKING
from server.http.rest.adapters import LoadAdapter, UnloadAdapter
from server.http.rest.chat_request import ChatBody
from server.http.rest.speech import SpeechBody
from server.http.rest.transcript_formats import CONTENT_TYPES as TRANSCRIPTS
from server.recordings.store import CONTENT_TYPES as RECORDED

ANY_JSON = {"type": "object"}
PAGE = (
    Operation(
        "GET", "/", "page", "The web client", {200: Answer("its HTML", {"text/html": TEXT}), 304: Answer("you have it")}
    ),
    Operation(
        "GET",
        "/static/{name}",
        "page",
        "A file of the web client",
        {
            200: Answer(
                "the file", {"text/javascript": TEXT, "text/css": TEXT, "text/html": TEXT, "image/svg+xml": TEXT}
            ),
            304: Answer("you have it"),
        },
        refuses=(404,),
    ),
    Operation("GET", "/docs", "page", "The documentation", {302: Answer("its first page")}),
    Operation(
        "GET",
        "/docs/{name}",
        "page",
        "A page or a picture of the documentation",
        {200: Answer("the page", {"text/html": TEXT, "text/plain": TEXT, "image/png": BYTES})},
        refuses=(404, 503),
    ),
)

STATE = (
    Operation("GET", "/healthz", "state", "Whether the process is alive", {200: json_answer("it is", shapes.Alive)}),
    Operation(
        "GET",
        "/readyz",
        "state",
        "Whether another session would be accepted",
        {200: json_answer("there is room", shapes.Ready), 503: json_answer("there is none", shapes.Ready)},
    ),
    Operation(
        "GET",
        "/v1/engines",
        "state",
        "What runs where, and why",
        {200: json_answer("a row for each stage", shapes.EngineList)},
    ),
    Operation(
        "GET",
        "/v1/status",
        "state",
        "What a client needs to know before it calls",
        {
            200: json_answer(
                "all of it; without the key what everybody may know", status_shapes.Status, status_shapes.ShortStatus
            )
        },
    ),
    Operation(
        "GET", "/metrics", "state", "Metrics for Prometheus", {200: Answer("the text format", {"text/plain": TEXT})}
    ),
    Operation("GET", "/openapi.json", "state", "This document", {200: json_answer("OpenAPI 3.1", ANY_JSON)}),
)

RECORDED_RANGE = {"Range": ({"type": "string"}, "of bytes")}

RECORDINGS = (
    Operation(
        "GET",
        "/v1/sessions/{session}/recording",
        "recordings",
        "What has been recorded of a session",
        {200: json_answer("its files", status_shapes.Recorded)},
        refuses=(404,),
    ),
    Operation(
        "DELETE",
        "/v1/sessions/{session}/recording",
        "recordings",
        "End a recording and delete it",
        {200: json_answer("it is gone", status_shapes.RecordingGone)},
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/sessions/{session}/recording/{name}",
        "recordings",
        "One of its files, or a range of it",
        {
            200: Answer("the file", dict.fromkeys(RECORDED.values(), BYTES)),
            206: Answer("the range", dict.fromkeys(RECORDED.values(), BYTES)),
        },
        headers=RECORDED_RANGE,
        refuses=(404, 416),
    ),
)

TRANSCRIPT = any_of(shapes.PlainTranscript, shapes.VerboseTranscript)
WRITTEN = {kind: TRANSCRIPT if kind == "application/json" else TEXT for kind in TRANSCRIPTS.values()}

REST = (
    Operation("GET", "/v1/models", "REST", "The engines that serve", {200: json_answer("the list", shapes.ModelList)}),
    Operation(
        "GET",
        "/v1/models/{id}",
        "REST",
        "One of them, by its name or an alias",
        {200: json_answer("the engine", shapes.ModelRow)},
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/chat/completions",
        "REST",
        "The language model's answer",
        {
            200: event_answer(
                "whole, or with `stream` as events, the last of which is `[DONE]`",
                {"application/json": shapes.ChatCompletion},
                shapes.ChatChunk,
            )
        },
        {"application/json": ChatBody},
        refuses=(404, 415),
    ),
    Operation(
        "POST",
        "/v1/audio/transcriptions",
        "REST",
        "What is said in a sound file",
        {
            200: event_answer(
                "in the `response_format`, or with `stream` as events",
                WRITTEN,
                shapes.TranscriptDelta,
                shapes.TranscriptDone,
            )
        },
        {"multipart/form-data": shapes.TranscriptionUpload},
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/audio/translations",
        "REST",
        "What is said in a sound file, in English",
        {200: Answer("in the `response_format`", WRITTEN)},
        {"multipart/form-data": shapes.TranslationUpload},
        refuses=(404, 501),
    ),
    Operation(
        "POST",
        "/v1/audio/speech",
        "REST",
        "A text as it is spoken",
        {
            200: event_answer(
                "the file as it is made, or with `stream_format` `sse` as events",
                dict.fromkeys(SOUNDS.values(), BYTES),
                shapes.SpeechDelta,
                shapes.SpeechDone,
            )
        },
        {"application/json": SpeechBody},
        refuses=(404, 415),
    ),
    Operation(
        "POST",
        "/v1/load_lora_adapter",
        "REST",
        "Load an adapter of the language model, as vLLM does",
        {200: Answer("that it is there", {"text/plain": TEXT})},
        {"application/json": LoadAdapter},
        refuses=(403, 404, 415),
    ),
    Operation(
        "POST",
        "/v1/unload_lora_adapter",
        "REST",
        "Unload one",
        {200: Answer("that it is gone", {"text/plain": TEXT})},
        {"application/json": UnloadAdapter},
        refuses=(403, 404, 415),
    ),
)

RECURSIVE = {
    "recursive": ({"type": "string", "enum": ["true", "false"]}, "`true`: with the files of folders inside it")
}
HUB_FILE = {"ETag": "its checksum", "X-Repo-Commit": "the version of the repository"}

HUB = (
    Operation(
        "GET",
        "/api/models/{repo}",
        "hub",
        "What a repository is, and its files",
        {200: json_answer("the repository", shapes.HubModel)},
        refuses=(404, 502),
    ),
    Operation(
        "GET",
        "/api/models/{repo}/revision/{revision}",
        "hub",
        "The same of one version",
        {200: json_answer("the repository", shapes.HubModel)},
        refuses=(404, 502),
    ),
    Operation(
        "GET",
        "/api/models/{repo}/tree/{revision}",
        "hub",
        "The files of a repository",
        {200: json_answer("files and folders", {"type": "array", "items": shapes.HubEntry})},
        query=RECURSIVE,
        refuses=(404, 502),
    ),
    Operation(
        "GET",
        "/api/models/{repo}/tree/{revision}/{folder}",
        "hub",
        "The files in a folder",
        {200: json_answer("files and folders", {"type": "array", "items": shapes.HubEntry})},
        query=RECURSIVE,
        refuses=(404, 502),
    ),
    Operation(
        "GET",
        "/{repo}/resolve/{revision}/{path}",
        "hub",
        "A file, or a range of it",
        {
            200: Answer("the file", {"application/octet-stream": BYTES}, HUB_FILE),
            206: Answer("the range", {"application/octet-stream": BYTES}, HUB_FILE),
            304: Answer("you have it"),
        },
        refuses=(404, 416, 502),
    ),
)

OPERATIONS = (
    *PAGE,
    *STATE,
    *TRACKING,
    *RECORDINGS,
    *CALLS,
    *REALTIME,
    *LIVE,
    *SECRETS,
    *WHIP,
    *SMALL_WEBRTC,
    *REST,
    *AUDIO_TASKS,
    *TASKS,
    *PIPELINES,
    *FORESIGHT,
    *HUB,
)
PARAMETERS = {
    "id": "Its name or id.",
    "name": "Its path, which may have slashes.",
    "repo": "`OWNER/NAME`, with a plain slash, or `NAME`.",
    "revision": "A branch, a tag or a commit.",
    "folder": "Its path, which may have slashes.",
    "session": "The id of a session.",
    "viewer": "The id of a viewer.",
    "start": "The `sessionId` of a start.",
    "pipeline": "The id of a pipeline.",
    "run": "The id of a run (`X-Run-Id`).",
    "path": "Its path, which may have slashes.",
    "task": "Its name, such as `text-classification`.",
}
"""What stands in a path."""
