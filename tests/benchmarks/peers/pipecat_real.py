"""A Pipecat 1.14 voice bot over SmallWebRTC with real local engines, as its own documentation puts one together.

Silero and the default turn strategies (local Smart Turn v3), faster-whisper, an OpenAI-compatible server, Piper: models
are given, settings are Pipecat's defaults but for the language and ``int8``, which is what visavis uses too. Run by
``tests.benchmarks.same_models`` with a Python that has ``pipecat-ai[webrtc,silero,whisper,piper,openai]==1.14.0``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aioice.ice
import uvicorn
import yaml
from fastapi import FastAPI
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.piper.tts import PiperTTSService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transcriptions.language import Language
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.request_handler import SmallWebRTCRequest, SmallWebRTCRequestHandler
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

PIPELINE = Path(__file__).parents[3] / "pipelines" / "definitions" / "voice-assistant.yaml"
"""Both are given the same instructions."""


def instructions() -> str:
    """Of the language model."""
    stages = yaml.safe_load(PIPELINE.read_text())["pipelines"][0]["stages"]
    return str(next(stage for stage in stages if stage["id"] == "think")["options"]["instructions"])


async def bot(connection: Any, options: argparse.Namespace) -> None:
    """One session, until the client has gone."""
    transport = SmallWebRTCTransport(connection, TransportParams(audio_in_enabled=True, audio_out_enabled=True))
    stt = WhisperSTTService(
        device="cpu",
        compute_type="int8",
        settings=WhisperSTTService.Settings(model=options.whisper, language=Language.EN),
    )
    llm = OpenAILLMService(
        api_key=os.environ["LLM_KEY"], base_url=options.llm,
        settings=OpenAILLMService.Settings(
            model="model", system_instruction=instructions(), max_tokens=options.tokens
        ),
    )  # fmt: skip
    voice = Path(options.voice)
    tts = PiperTTSService(download_dir=voice.parent, settings=PiperTTSService.Settings(voice=voice.stem))
    user, assistant = LLMContextAggregatorPair(
        LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    pipeline = Pipeline([transport.input(), stt, user, llm, tts, transport.output(), assistant])
    worker = PipelineWorker(pipeline, params=PipelineParams(), idle_timeout_secs=None)

    @transport.event_handler("on_client_disconnected")
    async def _(transport: Any, client: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--whisper", required=True, help="folder of the model")
    parser.add_argument("--llm", required=True, help="base URL of an OpenAI-compatible server")
    parser.add_argument("--voice", required=True, help="the voice's .onnx file")
    parser.add_argument("--tokens", type=int, default=256, help="of an answer, at most")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    app, handler, tasks = FastAPI(), SmallWebRTCRequestHandler(), set()

    @app.post("/api/offer")
    async def offer(request: SmallWebRTCRequest) -> Any:
        async def start(connection: Any) -> None:
            task = asyncio.create_task(bot(connection, options))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return await handler.handle_web_request(request, start)

    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
