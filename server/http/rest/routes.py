"""The routes of the REST API, and what its handlers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web

from pipelines.interfaces.task import Tasks
from pipelines.runtime.worker import Worker
from server.engines.build import Engines
from server.http.rest.adapters import AdapterLoading
from server.http.rest.chat import Chat
from server.http.rest.detect_language import DetectLanguage
from server.http.rest.engine_names import EngineNames
from server.http.rest.serving import served
from server.http.rest.speech import SpeechOut
from server.http.rest.transcriptions import LARGEST_FILE, Transcriptions
from server.http.rest.voices import LARGEST_RECORDING, ClonedVoices

CHATS, SPEAKING = web.AppKey("chats", Chat), web.AppKey("speaking", SpeechOut)
"""Who serves the same to other doors of the server."""
CHAT, TRANSCRIPTIONS, TRANSLATIONS = "/v1/chat/completions", "/v1/audio/transcriptions", "/v1/audio/translations"
VOICES, DETECT_LANGUAGE = "/v1/audio/voices", "/detect-language"
_FORM = 1 << 16
"""Bytes of a form beside its file."""
LARGER_BODIES = {
    CHAT: 8 << 20,
    TRANSCRIPTIONS: LARGEST_FILE + _FORM,
    TRANSLATIONS: LARGEST_FILE + _FORM,
    VOICES: LARGEST_RECORDING + _FORM,
    DETECT_LANGUAGE: LARGEST_FILE + _FORM,
}
"""Routes → bytes of their bodies, where these may be larger than usual: pictures and sound files."""


def add_rest(
    app: web.Application,
    engines: Engines,
    embedding: Callable[[], Awaitable[str | None]],
    tasks: Tasks | None = None,
    adapters: Sequence[Path] = (),
) -> None:
    """Serve ``engines``, and ``tasks`` on sound; ``embedding`` finds the id of the embedding model, if one is here, and
    ``adapters`` are the folders from which clients may load adapters.

    What the handlers own ends with ``app``, the engines and tasks stay with their owners.
    """
    voice = engines.voice
    files = Worker("sound-files", threads=2, inbox=32)  # each is kept for as long as a file is heard
    codecs, reader = Worker("speech-codecs", inbox=64), Worker("requests", inbox=64)
    names = EngineNames(voice, embedding)
    hearing = Transcriptions(voice.stt, voice.vad, files, reader)
    cloned = ClonedVoices(tasks, reader) if tasks is not None else None
    speech = SpeechOut(voice.tts, engines.conversation_settings().voice.voice, codecs, cloned)
    app[SPEAKING], app[CHATS] = speech, Chat(voice.llm, reader, voice.tools)
    loading = AdapterLoading(voice.llm, engines.adapters, adapters, reader)
    if tasks is not None and cloned is not None:
        app.router.add_post(VOICES, served(cloned.post))
        app.router.add_delete(f"{VOICES}/{{id}}", served(cloned.delete))
        app.router.add_post(DETECT_LANGUAGE, served(DetectLanguage(tasks, reader).post))
    app.router.add_get("/v1/models", served(names.list))
    app.router.add_get("/v1/models/{id:.+}", served(names.get))
    for path, handler in (
        (CHAT, app[CHATS].post),
        (TRANSCRIPTIONS, hearing.transcribe),
        (TRANSLATIONS, hearing.translate),
        ("/v1/audio/speech", speech.post),
        ("/v1/load_lora_adapter", loading.load),
        ("/v1/unload_lora_adapter", loading.unload),
    ):
        app.router.add_post(path, served(handler))

    async def close(app: web.Application) -> None:
        for worker in (files, codecs, reader):
            worker.close()

    app.on_cleanup.append(close)
