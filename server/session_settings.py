"""The session object that wishes lead to, before there is a session: the engines' and the pipeline's settings, and over
them what is wished for."""

from __future__ import annotations

from pipelines.interfaces.stt import languages_of
from pipelines.voice.history import new_id
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import Served, merge
from server.dialects.openai.shapes import Json, session_event
from server.dialects.openai.vision import VisionPatch, merge_vision, vision_json
from server.engines.build import Engines
from server.settings import Settings


def effective_session(engines: Engines, settings: Settings, wishes: SessionPatch) -> Json:
    """That of a peer with sound.

    Raises :class:`~server.dialects.openai.settings.RefusedError` for wishes that cannot be fulfilled.
    """
    voice, usual = engines.voice, engines.conversation_settings()
    served = Served(lambda: voice.tts.voices, lambda: languages_of(voice.stt), language=settings.language)
    conversation = merge(usual, usual, wishes, served)
    vision = merge_vision(engines.vision_settings(), wishes.vision or VisionPatch())
    models: Json = {"stt": voice.stt.name, "llm": voice.llm.name, "tts": voice.tts.name}
    models["language"] = conversation.language or settings.language
    event = session_event("session.created", new_id("sess"), conversation, voice.tts.voices[0], models)
    session: Json = event["session"]
    session["vision"] = vision_json(vision, None if wishes.vision is None else wishes.vision.codec, {})
    return session
