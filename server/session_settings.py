"""The settings that a session begins with: the engines' and the pipeline's, and over them what is wished for."""

from __future__ import annotations

from media.clock import local_time
from pipelines.assistant.session import FirstSettings
from pipelines.engines.llm.messages import time_words
from pipelines.interfaces.stt import languages_of
from pipelines.voice.responses import new_id
from server.dialects.openai.models import SessionPatch
from server.dialects.openai.settings import Served, merge
from server.dialects.openai.shapes import Json, session_event
from server.dialects.openai.vision import VisionPatch, merge_vision, vision_json
from server.engines.build import Engines
from server.settings import Settings


def served_by(engines: Engines, settings: Settings, *, sounds: bool) -> Served:
    """What can be chosen from; ``sounds``: whether the peer has a way to hear us."""
    return Served(
        lambda: engines.voice.tts.voices,
        lambda: languages_of(engines.voice.stt),
        sounds,
        engines.status,
        settings.language,
    )


def first_settings(engines: Engines, settings: Settings, wishes: SessionPatch, served: Served) -> FirstSettings:
    """Raises :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled."""
    usual = engines.conversation_settings()
    return FirstSettings(
        merge(usual, usual, wishes, served),
        merge_vision(engines.vision_settings(), wishes.vision or VisionPatch()),
        (lambda: time_words(local_time())) if settings.tell_time else str,
    )


def effective_session(engines: Engines, settings: Settings, wishes: SessionPatch) -> Json:
    """The session object of a peer with sound that begins with these wishes. Raises as :func:`first_settings`."""
    served, voice = served_by(engines, settings, sounds=True), engines.voice
    first = first_settings(engines, settings, wishes, served)
    models: Json = {"stt": voice.stt.name, "llm": voice.llm.name, "tts": voice.tts.name}
    models["language"] = first.conversation.language or settings.language
    event = session_event("session.created", new_id("sess"), first.conversation, voice.tts.voices[0], models)
    session: Json = event["session"]
    session["vision"] = vision_json(first.vision, None if wishes.vision is None else wishes.vision.codec, {})
    return session
