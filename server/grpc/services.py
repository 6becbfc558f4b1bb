"""The servicers of :data:`~server.grpc.listener.SERVICES` over what serves HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from media.clock import Clock
from pipelines.models.store import ModelStore
from pipelines.runtime.worker import Worker
from server.engines.build import Engines
from server.grpc.chat import ChatServicer
from server.grpc.embeddings import EmbeddingServicer
from server.grpc.inventory import Inventory
from server.grpc.listener import OIP
from server.grpc.models import ModelServicer
from server.grpc.oip.engines import (
    ChatModel,
    EmbeddingModel,
    EngineModels,
    SpeechToTextModel,
    TextToSpeechModel,
    VisionModel,
)
from server.grpc.oip.pipelines import PipelineModels
from server.grpc.oip.service import OipServicer
from server.grpc.oip.tasks import TaskModels
from server.grpc.runs import PipelineRuns
from server.grpc.shell import Servicer
from server.grpc.speech import SpeechServicer
from server.grpc.vision import VisionServicer, Watching
from server.http.rest.chat import Chat
from server.http.rest.speech import SpeechOut
from server.http.tasks.door import TaskDoor
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class Served:
    """What serves HTTP, and serves gRPC as well."""

    settings: Settings
    engines: Engines
    store: ModelStore
    door: TaskDoor
    runs: PipelineRuns
    chat: Chat
    speech: SpeechOut
    ready: Callable[[], bool]
    """Whether a session would be served."""
    clock: Clock


class Services:
    """The servicers, and the threads that are theirs until :meth:`close`."""

    def __init__(self, served: Served) -> None:
        settings, runs = served.settings, served.runs
        self._codecs = Worker("grpc-frames", threads=settings.vision_threads, inbox=256)
        self._inventory = Inventory(
            served.door.tasks, served.engines.residency, served.store, fetches=settings.download
        )
        watching = Watching(served.engines, self._codecs, runs.places, served.clock)
        engines = EngineModels(
            (
                ChatModel(served.chat),
                SpeechToTextModel(runs),
                TextToSpeechModel(served.speech),
                EmbeddingModel(served.door),
                VisionModel(watching),
            )
        )
        families = (engines, TaskModels(served.door), PipelineModels(runs))
        self.all: Mapping[str, Servicer] = {
            "visavis.v1.ChatService": ChatServicer(served.chat),
            "visavis.v1.EmbeddingService": EmbeddingServicer(served.door),
            "visavis.v1.SpeechService": SpeechServicer(runs, served.speech, settings.request_timeout),
            "visavis.v1.VisionService": VisionServicer(watching, settings.request_timeout),
            "visavis.v1.ModelService": ModelServicer(self._inventory),
            OIP: OipServicer(families, self._inventory, served.ready, settings.request_timeout),
        }

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._codecs.close()
        self._inventory.close()
