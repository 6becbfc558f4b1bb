"""The engines and the settings of one conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pipelines.interfaces.llm import LanguageModel, Scaled, Tool, ToolChoice
from pipelines.interfaces.stt import SpeechToText
from pipelines.interfaces.tts import TextToSpeech
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vad import SpeechProbability
from pipelines.tools.assistant import AssistantTools
from pipelines.tools.server_tool import ServerTool
from pipelines.voice.tts import VoiceSettings
from pipelines.voice.turn import TurnMode, TurnSettings
from pipelines.voice.vad import SegmenterSettings

LONGEST_RESPONSE_TOKENS = 4096
"""Half an hour of speech, and as much as can be asked for."""


@dataclass(frozen=True, slots=True)
class VoiceEngines:
    """The engines a conversation uses; shared by all sessions."""

    vad: SpeechProbability
    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech
    turn: TurnDetector | None = None
    """Judges from the sound whether a turn is finished; without one the words and the pause decide."""
    tools: Callable[[], Sequence[ServerTool]] = tuple
    """What the server does itself when the language model calls it, as it is now."""
    assistant: AssistantTools = field(default_factory=AssistantTools)
    """What it does for a session by tasks: reading what the camera shows, and the like."""


@dataclass(slots=True)
class ConversationSettings:
    """What a session may change while it runs."""

    instructions: str = ""
    voice: VoiceSettings = field(default_factory=VoiceSettings)
    turn: TurnSettings = field(default_factory=TurnSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    spoken: bool = True
    """Whether answers have a voice, where there is a way for it; else they are text only."""
    listens_only: bool = False
    """Whether what is said is only written down, and nothing is answered."""
    muted: bool = False
    """Whether silence is heard instead of the user."""
    transcripts: bool = True
    """Whether the client is told in words what the user says."""
    language: str | None = None
    """Code of what the user speaks; ``None``: it is detected, or is the server's."""
    max_tokens: int | None = 256
    """Of an answer; ``None``: as many as it takes, up to ``LONGEST_RESPONSE_TOKENS``."""
    tools: tuple[Tool, ...] = ()
    """Functions of the client's that the assistant may ask it to call."""
    tool_choice: ToolChoice | Literal["none"] = "auto"
    """Whether it may, or must."""
    parallel_tool_calls: bool = True
    """Whether one answer may call several."""
    adapters: Scaled = ()
    """Of the language model, where it has them."""
    preserve_context: bool = True
    """Whether earlier turns are shown to the language model."""
    speculate: bool = True
    """Whether the answer is prepared while the end of the turn is still being decided."""

    @property
    def answers_unasked(self) -> bool:
        """Whether what the user says is answered without the client's asking for it."""
        return self.turn.create_response and self.turn.mode is not TurnMode.MANUAL and not self.listens_only

    def answers_like(self, other: ConversationSettings) -> bool:
        """Whether the same would be answered with ``other``: how the user is heard may differ."""
        return replace(self, turn=other.turn, segmenter=other.segmenter, muted=other.muted) == other
