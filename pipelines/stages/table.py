"""THE table of stage runs: the function of each type, and the items that it computes on."""

from __future__ import annotations

from collections.abc import Mapping

from media.frames import Picture
from pipelines.execution.work import StageRun
from pipelines.routing.items import Data, Sound, Text
from pipelines.routing.stage_types import StageType
from pipelines.stages.generating import generate
from pipelines.stages.listening import listen
from pipelines.stages.speaking import speak
from pipelines.stages.translating import translate

RUNS: Mapping[StageType, StageRun] = {
    "audio_to_text": listen,
    "text_to_audio": speak,
    "audio_translate": translate,
    "text_generation": generate,
}
ACCEPTS: Mapping[StageType, tuple[type, ...]] = {
    "audio_to_text": (Sound,),
    "text_to_audio": (Text,),
    "audio_translate": (Sound,),
    "text_generation": (Text, Picture, Data),
}
"""What else comes, such as the pictures of a video whose sound is listened to, is dropped before the stage."""
