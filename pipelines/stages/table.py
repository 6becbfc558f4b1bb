"""THE table of stage runs: the function of each type, and the items that it computes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from media.frames import Picture
from pipelines.execution.work import StageRun
from pipelines.routing.items import Data, Sound, Text
from pipelines.routing.stage_types import StageType
from pipelines.stages import drawing
from pipelines.stages.embedding import embed
from pipelines.stages.enhancing import enhance
from pipelines.stages.generating import generate
from pipelines.stages.listening import listen
from pipelines.stages.reading import read
from pipelines.stages.scanning import scan
from pipelines.stages.speaking import speak
from pipelines.stages.summing_up import sum_up
from pipelines.stages.translating import translate
from pipelines.stages.watching import watch

RUNS: Mapping[StageType, StageRun] = {
    "audio_to_text": listen,
    "text_to_audio": speak,
    "audio_enhance": enhance,
    "audio_translate": translate,
    "text_generation": generate,
    "embedding": embed,
    "image_to_text": read,
    "text_to_image": drawing.draw,
    "image_edit": drawing.edit,
    "image_enhance": drawing.enhance,
    "video_to_text": scan,
    "text_to_video": drawing.film,
    "video_analysis": watch,
    "video_summary": sum_up,
}
ACCEPTS: Mapping[StageType, tuple[type, ...]] = {
    "audio_to_text": (Sound,),
    "text_to_audio": (Text,),
    "audio_enhance": (Sound,),
    "audio_translate": (Sound,),
    "text_generation": (Text, Picture, Data),
    "embedding": (Text,),
    "image_to_text": (Picture, Text),
    "text_to_image": (Text,),
    "image_edit": (Picture, Text),
    "image_enhance": (Picture,),
    "video_to_text": (Sound, Picture),
    "text_to_video": (Text, Picture),
    "video_analysis": (Picture,),
    "video_summary": (Sound, Picture),
}
"""What else comes, such as the pictures of a video whose sound is listened to, is dropped before the stage."""
assert set(RUNS) == set(ACCEPTS) == set(get_args(StageType))
