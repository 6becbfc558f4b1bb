"""The deployment: what Ray Serve runs for each engine, and how a file of engines becomes its applications.

The only file that needs Ray to be read by a replica; its class is found there by its name, so replicas run the visavis
that is installed on their machine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pkgutil import resolve_name
from typing import Any

from pipelines.engines.remote import library
from pipelines.engines.remote.replica import Replica
from pipelines.engines.remote.rows import Place, Row
from pipelines.engines.remote.wire import About, Asker, Heard
from pipelines.interfaces.llm import ChatRequest


class EngineReplica:
    """One replica of one engine, as Ray Serve calls it. ``build`` names the function that loads it."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, row: Mapping[str, Any], place: Mapping[str, Any], build: str
    ) -> None:
        told = Row.model_validate(row)
        loaded = await resolve_name(build)(told, Place.model_validate(place))
        self._replica = Replica(loaded, node := _node())
        self._transcribe = self._replica.transcribed
        if node:  # where Ray Serve only pretends, it cannot batch
            self._transcribe = library.serve().batch(
                self._replica.transcribe, max_batch_size=told.batch, batch_wait_timeout_s=told.batch_wait_ms / 1000
            )

    async def describe(self) -> About:
        """What there is."""
        return self._replica.about

    async def transcribe(self, heard: Heard) -> Any:
        """The transcript of one utterance, in a batch with those that come at the same time."""
        return await self._transcribe(heard)

    async def chat(self, request: ChatRequest, asker: Asker) -> AsyncGenerator[Any, None]:
        """See :class:`~pipelines.engines.remote.replica.Replica`, as for all that follow."""
        async with aclosing(self._replica.chat(request, asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def speak(self, text: str, voice: str | None, speed: float, asker: Asker) -> AsyncGenerator[Any, None]:
        """A clause."""
        async with aclosing(self._replica.speak(text, voice, speed, asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None, asker: Asker) -> Any:
        """One item of a task."""
        return await self._replica.run(inputs, parameters, asker)

    async def pieces(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None, asker: Asker
    ) -> AsyncGenerator[Any, None]:
        """The same in pieces."""
        async with aclosing(self._replica.pieces(inputs, parameters, asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def film(self, scene: Any, first: Any, plan: Any, asker: Asker) -> AsyncGenerator[Any, None]:
        """A film."""
        async with aclosing(self._replica.film(scene, first, plan, asker)) as pieces:
            async for piece in pieces:
                yield piece

    async def check_health(self) -> None:
        """Asked by Ray Serve now and then: a replica whose engine does not work is replaced."""
        await self._replica.probe()


def _node() -> str:
    """The machine, as Ray calls it; empty where there is no cluster."""
    ray = library.ray()
    if not ray.is_initialized():
        return ""
    return str(ray.get_runtime_context().get_node_id())[:8]


def application(row: Row, place: Place, build: str) -> Any:
    """The application of one engine, which ``build`` loads. Raises :class:`RemoteError`."""
    deployment = library.serve().deployment(EngineReplica)
    return deployment.options(**options(row)).bind(plain(row), plain(place), build)


def plain(told: Row | Place) -> dict[str, Any]:
    """As plain data, and only what was said."""
    return told.model_dump(mode="json", exclude_unset=True)


def options(row: Row) -> dict[str, Any]:
    """What Ray Serve is told of a deployment."""
    config = library.module("serve.config")
    actor: dict[str, Any] = {"num_cpus": row.cpus}
    if row.gpus:
        actor["num_gpus"] = row.gpus
    if row.resources:
        actor["resources"] = dict(row.resources)
    told: dict[str, Any] = {
        "name": row.stage,
        "ray_actor_options": actor,
        "max_ongoing_requests": row.max_ongoing,
        "max_queued_requests": row.max_queued,
        "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
        "health_check_period_s": row.health_seconds,
        "health_check_timeout_s": max(row.health_seconds, 10.0),
        "graceful_shutdown_timeout_s": row.drain_seconds,
        "request_router_config": config.RequestRouterConfig(
            request_router_class=library.ROUTER, request_router_kwargs={"num_fallback_replicas": row.others}
        ),
    }
    if row.per_node is not None:
        told["max_replicas_per_node"] = row.per_node
    least, most = row.least, row.most
    if least == most:
        return {**told, "num_replicas": least}
    return {
        **told,
        "autoscaling_config": config.AutoscalingConfig(
            min_replicas=least,
            max_replicas=most,
            target_ongoing_requests=row.target,
            upscale_delay_s=row.up_seconds,
            downscale_delay_s=row.down_seconds,
            look_back_period_s=max(1.0, min(30.0, row.up_seconds)),
            metrics_interval_s=max(0.5, min(10.0, row.up_seconds / 2)),
        ),
    }
