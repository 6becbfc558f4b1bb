"""The port: keys and limits as over HTTP, health, reflection, TLS, loading and draining."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from media.clock import MonotonicClock
from server.grpc.extra import GRPC_PORT, grpc_listener
from server.grpc.generated import chat_pb2, grpc_service_pb2, models_pb2, vision_pb2
from server.grpc.listener import SERVICES, GrpcListener
from server.http.access.admittance import Admittance
from server.http.access.client_secrets import ClientSecrets
from server.http.tls.context import made_here
from server.settings import SettingsError, load_settings
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.fakes.grpc_client import Client, code_of, details_of
from tests.patience import PATIENCE, until

Code = grpc.StatusCode
KEY = "a-key-of-ours"
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
OIP = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
HELLO = chat_pb2.ChatRequest(messages=[chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content="Hello?")])
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def refusal_of(client: Any, **more: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.chat(HELLO, timeout=PATIENCE, **more).read()
    return caught.value


async def test_keys_are_those_of_http(spoken):
    server = await spoken(settings={"api_key": KEY})
    error = await refusal_of(server.client("ChatService"))
    assert (error.code(), code_of(error)) == (Code.UNAUTHENTICATED, "missing_api_key")
    error = await refusal_of(server.client("ChatService", "another-key"))
    assert (error.code(), code_of(error)) == (Code.UNAUTHENTICATED, "invalid_api_key")
    assert (await server.client("ChatService", KEY).chat(HELLO, timeout=PATIENCE).read()).text
    oip = server.client("GRPCInferenceService")
    assert (await oip.server_live(grpc_service_pb2.ServerLiveRequest(), timeout=PATIENCE)).live
    assert (await oip.server_ready(grpc_service_pb2.ServerReadyRequest(), timeout=PATIENCE)).ready
    with pytest.raises(grpc.aio.AioRpcError):
        await oip.server_metadata(grpc_service_pb2.ServerMetadataRequest(), timeout=PATIENCE)
    health = Client(server.channel, HEALTH)
    assert (await health.check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)).status == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # what there is, is told to those who may use it
        await Client(server.channel, REFLECTION).server_reflection_info(iter([]), timeout=PATIENCE).read()
    assert caught.value.code() is Code.UNAUTHENTICATED


async def test_rates_and_connections_are_limited_as_over_http(spoken):
    server = await spoken(settings={"rate_limit_per_address": 60, "rate_limit_burst": 1})
    client = server.client("ChatService")
    assert (await client.chat(HELLO, timeout=PATIENCE).read()).text
    error = await refusal_of(client)
    assert (error.code(), code_of(error), details_of(error)[1]) == (Code.RESOURCE_EXHAUSTED, "rate_limit_exceeded", 1.0)
    model = FakeModel("one two")
    model.gate.clear()
    server = await spoken(llm=model, settings={"max_connections_per_address": 1, "grpc_message_mb": 1})
    client = server.client("ChatService")
    held = client.chat(HELLO)
    reading = asyncio.ensure_future(held.read())
    await until(lambda: bool(model.requests))
    assert code_of(await refusal_of(client)) == "too_many_connections"
    held.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await until(lambda: model.cancelled == 1)
    frame = vision_pb2.Frame(data=bytes(2 << 20))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in server.client("VisionService").watch(
            iter([vision_pb2.WatchRequest(frame=frame)]), timeout=PATIENCE
        ):
            pass
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED


async def test_wishes_are_headers_of_the_same_name(spoken):
    server = await spoken()
    client = server.client("SpeechService")
    config = {"x-priority": "urgently"}
    from server.grpc.generated import speech_pb2

    request = speech_pb2.TranscribeRequest(config=speech_pb2.TranscribeConfig())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.transcribe(iter([request]), metadata=tuple(config.items()), timeout=PATIENCE).read()
    assert "X-Priority: legal values are low, normal, high, critical" in str(caught.value.details())


async def test_reflection_tells_all_services_and_their_messages(spoken):
    server = await spoken()

    async def asked(service: str, request: reflection_pb2.ServerReflectionRequest) -> Any:
        call = server.channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        return await call(iter([request]), timeout=PATIENCE).read()

    for service in (REFLECTION.full_name, "grpc.reflection.v1.ServerReflection"):
        told = await asked(service, reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {one.name for one in told.list_services_response.service}
        assert names >= {*SERVICES, "grpc.health.v1.Health"}
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="visavis.v1.VisionService")
    (file,) = (await asked(REFLECTION.full_name, request)).file_descriptor_response.file_descriptor_proto
    assert b"visavis/v1/vision.proto" in file


async def test_while_models_load_and_while_calls_end_it_is_not_serving(loopback, tmp_path):
    settings = load_settings({"grpc_port": 0, "cache": tmp_path})
    listener = grpc_listener(settings)
    assert isinstance(listener, GrpcListener)
    await listener.start()
    begun, ends = asyncio.Event(), asyncio.Event()

    class Slow:
        async def chat(self, request: Any, call: Any) -> Any:
            begun.set()
            await ends.wait()
            yield chat_pb2.ChatResponse(text="late")

    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        health, oip, chat = (
            Client(channel, HEALTH),
            Client(channel, OIP),
            Client(channel, SERVICES["visavis.v1.ChatService"]),
        )

        async def status(service: str = "") -> int:
            return (await health.check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)).status

        assert await status() == await status("visavis.v1.ChatService") == NOT_SERVING
        assert (await oip.server_live(grpc_service_pb2.ServerLiveRequest(), timeout=PATIENCE)).live
        assert not (await oip.server_ready(grpc_service_pb2.ServerReadyRequest(), timeout=PATIENCE)).ready
        error = await refusal_of(chat)
        assert (error.code(), code_of(error)) == (Code.UNAVAILABLE, "warming_up")
        assert details_of(error)[1] is not None
        admittance = Admittance(settings, ClientSecrets(time.time), MonotonicClock())
        await listener.open({name: Slow() for name in SERVICES}, admittance)
        assert await status() == await status("inference.GRPCInferenceService") == SERVING
        watching = health.watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watching.read()).status == SERVING
        running = asyncio.ensure_future(chat.chat(HELLO, timeout=PATIENCE).read())
        await begun.wait()
        listener.drain(PATIENCE)
        assert (await watching.read()).status == NOT_SERVING
        watching.cancel()
        ends.set()
        assert (await running).text == "late"  # it may end
        await listener.close()


async def test_the_server_that_stops_ends_what_goes_on(serve, tmp_path):
    model = FakeModel("one two")
    model.gate.clear()
    _, app = await serve(fake_engines(llm=model), cache=tmp_path, grpc_port=0, shutdown_timeout=0.1)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{app[GRPC_PORT]}") as channel:
        reading = asyncio.ensure_future(Client(channel, SERVICES["visavis.v1.ChatService"]).chat(HELLO).read())
        await until(lambda: bool(model.requests))
        await app.shutdown()
        with pytest.raises(grpc.aio.AioRpcError):
            await reading
        await until(lambda: model.cancelled == 1)


async def test_tls_is_that_of_https_also_after_it_was_renewed(serve, tmp_path):
    _, app = await serve(fake_engines(), cache=tmp_path, grpc_port=0, tls_self_signed=True)
    certificate = made_here(load_settings({"cache": tmp_path, "tls_self_signed": True}))
    place = f"localhost:{app[GRPC_PORT]}"

    async def asked() -> None:
        trusted = grpc.ssl_channel_credentials(certificate.public.read_bytes())
        async with grpc.aio.secure_channel(place, trusted) as channel:
            client = Client(channel, SERVICES["visavis.v1.ModelService"])
            await client.list_models(models_pb2.ListModelsRequest(task="ocr"), timeout=PATIENCE)

    await asked()
    certificate.path.touch()
    await asked()
    with contextlib.suppress(asyncio.CancelledError):
        async with grpc.aio.insecure_channel(place) as channel:
            client = Client(channel, SERVICES["visavis.v1.ModelService"])
            with pytest.raises(grpc.aio.AioRpcError):
                await client.list_models(models_pb2.ListModelsRequest(), timeout=2)


async def test_a_port_that_is_taken_and_settings_that_mean_nothing_are_told(spoken):
    server = await spoken()
    listener = GrpcListener(load_settings({"grpc_port": server.port}))
    with pytest.raises(SettingsError, match="grpc_port: cannot listen on"):
        await listener.start()
    with pytest.raises(SettingsError, match="grpc_host: needs grpc_port"):
        load_settings({"grpc_host": "127.0.0.1"})
    with pytest.raises(SettingsError, match=r"grpc_host 0\.0\.0\.0 can be reached by others: set an API key"):
        load_settings({"grpc_port": 0, "grpc_host": "0.0.0.0"})
    assert grpc_listener(load_settings({})) is None


def test_without_the_extra_the_setting_says_so(monkeypatch):
    monkeypatch.setattr("server.grpc.extra._is_there", lambda name: name != "grpc_health")
    with pytest.raises(SettingsError, match="grpc_port: needs the extra grpc"):
        grpc_listener(load_settings({"grpc_port": 0}))
