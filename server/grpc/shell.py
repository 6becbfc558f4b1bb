"""What holds for every call, whatever it asks for: who may, how often, until when, and how it ends.

A servicer has a method for each call of its service, named as that in small letters: ``rpc LoadModel`` is
``load_model(request, call)``, a coroutine where one message is answered and a generator where several are. It raises
what handlers of HTTP raise; here that becomes a status. A call whose client leaves or whose deadline passes is
cancelled by gRPC, which ends the generator before anything else happens.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from multidict import CIMultiDict, CIMultiDictProxy

from pipelines.runtime.worker import client, session
from pipelines.tasks import service as services
from server.admission import neighbourhood
from server.grpc.incoming import Incoming
from server.grpc.status import Refusal, defect, refusal, refusal_of
from server.http.access.admittance import Admittance
from server.http.access.keys import Asking, Denied, key_of
from server.http.access.load import turned_away
from server.http.errors import HttpError
from server.http.proxies import read_address
from server.http.request_ids import new_request_id
from server.http.tasks.door import deadline_of
from server.load.state import Load

log = logging.getLogger(__name__)

WORK = frozenset({"Chat", "Embed", "Transcribe", "Synthesize", "Watch", "ModelInfer", "ModelStreamInfer"})
"""Calls that compute with models: not all are let in while there is too much to do."""
Servicer = Any
"""An object with a method for each call."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as its servicer sees it."""

    path: str
    """Such as ``/visavis.v1.ChatService/Chat``."""
    headers: CIMultiDictProxy[str]
    """Its metadata that are text: they mean what headers of that name mean over HTTP."""
    context: Any
    """gRPC's own; for the servicers of its packages."""


@dataclass(frozen=True, slots=True)
class ShellLimits:
    """What a client may take."""

    per_address: int
    """Calls at a time of one address, or one IPv6 /64."""
    seconds: float
    """For a client to take a message that it is sent."""


class RefusedCallError(Exception):
    """A call that is not served, and how it ends."""

    def __init__(self, ending: Refusal) -> None:
        super().__init__(ending.message)
        self.ending = ending


class Shell:
    """Makes handlers for gRPC. Until :meth:`open` only what is open at all times is served."""

    def __init__(self, admittance: Admittance, limits: ShellLimits) -> None:
        self._admittance = admittance
        self._limits = limits
        self._servicers: Mapping[str, Servicer] = {}
        self._always: dict[str, Servicer] = {}
        self._keyless: set[str] = set()
        self._inside: Counter[str] = Counter()
        self._load: Load | None = None

    @property
    def calls(self) -> int:
        """That go on now."""
        return self._inside.total()

    def open(self, servicers: Mapping[str, Servicer], admittance: Admittance, load: Load | None = None) -> None:
        """From now on these serve: full name of a service → its servicer. ``load`` tells how much there is to do."""
        self._load = load
        self._servicers = servicers
        self._admittance = admittance

    def always(self, name: str, servicer: Servicer, *, keyless: bool = False) -> None:
        """``servicer`` serves from the beginning; ``keyless``: everybody."""
        self._always[name] = servicer
        if keyless:
            self._keyless.add(name)

    def keyless(self, path: str) -> None:
        """A call that everybody may make."""
        self._keyless.add(path)

    def handler(self, service: Any, name: str | None = None) -> grpc.GenericRpcHandler:
        """For all calls of a service, from its descriptor; ``name``: under which it is served, if not its own."""
        served = name or service.full_name
        methods = {method.name: self._method(served, method) for method in service.methods}
        return grpc.method_handlers_generic_handler(served, methods)

    # ------------------------------------------------------------------------------------------------ inside

    def _method(self, service: str, method: Any) -> grpc.RpcMethodHandler:
        path, name = f"/{service}/{method.name}", _snake(method.name)
        read, write = GetMessageClass(method.input_type).FromString, GetMessageClass(method.output_type)
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        behave = self._many(service, path, name) if method.server_streaming else self._one(service, path, name)
        if method.client_streaming:
            behave = _streamed(behave)
        make = kinds[method.client_streaming, method.server_streaming]
        return make(behave, request_deserializer=read, response_serializer=write.SerializeToString)

    def _one(self, service: str, path: str, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: Any) -> Any:
            try:
                with self._entered(service, path, context) as (servicer, call):
                    return await getattr(servicer, name)(request, call)
            except Exception as error:  # noqa: BLE001 - told to the client, whatever it is
                ending = _ending(path, error)
            return await _end(context, ending, request)

        return answer

    def _many(self, service: str, path: str, name: str) -> Callable[[Any, Any], Awaitable[None]]:
        async def answer(request: Any, context: Any) -> None:
            try:
                with self._entered(service, path, context) as (servicer, call):
                    pieces: AsyncGenerator[Any, None] = getattr(servicer, name)(request, call)
                    async with aclosing(pieces):
                        async for piece in pieces:
                            await self._send(context, piece)
                return
            except Exception as error:  # noqa: BLE001 - told to the client, whatever it is
                ending = _ending(path, error)
            await _end(context, ending, request)

        return answer

    async def _send(self, context: Any, piece: Any) -> None:
        try:
            async with asyncio.timeout(self._limits.seconds):
                await context.write(piece)
        except TimeoutError:
            message = f"nothing of the answer was taken for {self._limits.seconds:g} s"
            raise RefusedCallError(refusal("request_timeout", message)) from None

    @contextmanager
    def _entered(self, service: str, path: str, context: Any) -> Iterator[tuple[Servicer, Call]]:
        """The call is let in, counted, and a session of its own for the engines. Raises :class:`RefusedCallError`."""
        headers = _headers(context)
        address = self._admittance.proxies.asked(headers, "", _address(context.peer())).client
        who = neighbourhood(address)
        if service not in self._keyless and path not in self._keyless:
            who = self._let_in(path, headers, address)
        house = neighbourhood(address)
        if self._inside[house] >= self._limits.per_address and not self._admittance.proxies.trusts(address):
            message = f"{self._limits.per_address} calls from {house} go on already"
            raise RefusedCallError(refusal("too_many_connections", message))
        servicer = self._servicers.get(service) or self._always.get(service)
        if servicer is None or not hasattr(servicer, _snake(path.rpartition("/")[2])):
            raise RefusedCallError(refusal("warming_up", "the server is loading its models"))
        load = self._load if path.rpartition("/")[2] in WORK else None
        if load is not None and (busy := turned_away(load, headers)) is not None:
            raise RefusedCallError(refusal("server_busy", busy.message, retry_after=busy.retry_after))
        session.set(f"grpc-{uuid.uuid4().hex}")
        client.set(who)
        remaining = context.time_remaining()
        services.deadline.set(None if remaining is None else time.monotonic() + remaining)
        self._inside[house] += 1
        try:
            yield servicer, Call(path, headers, context)
        finally:
            self._inside -= Counter((house,))

    def _let_in(self, path: str, headers: CIMultiDictProxy[str], address: str) -> str:
        """Who asks: the part of the network that the address is in, and the client secret."""
        house = neighbourhood(address)
        if wait := self._admittance.wait_of(address):
            raise RefusedCallError(_too_often(f"requests from {house}", wait))
        granted = self._admittance.judge(key_of(headers), Asking(path))
        if isinstance(granted, Denied):
            raise RefusedCallError(refusal(granted.code, granted.message))
        if wait := self._admittance.wait_with(granted):
            raise RefusedCallError(_too_often("requests with this key", wait))
        return f"{house} {granted.secret.id}" if granted.secret is not None else house


def _ending(path: str, error: Exception) -> Refusal:
    if isinstance(error, RefusedCallError):
        return error.ending
    if (told := refusal_of(error)) is not None:
        return told
    log.exception("%s failed", path)
    return defect()


def _streamed(behave: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(requests: Any, context: Any) -> Any:
        incoming = Incoming(requests)
        try:
            return await behave(incoming, context)
        finally:
            incoming.close()

    return answer


async def _end(context: Any, ending: Refusal, request: Any) -> None:
    trailers = (*ending.trailers, ("x-request-id", request_id := new_request_id()))
    log.debug("refused with %s (%s)", ending.code, request_id)
    if isinstance(request, Incoming):
        await request.let_go()
    await context.abort(ending.status, ending.message, trailers)


def _headers(context: Any) -> CIMultiDictProxy[str]:
    pairs = ((key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str))
    return CIMultiDictProxy(CIMultiDict(pairs))


def _address(peer: str) -> str:
    """Of ``ipv4:127.0.0.1:5555`` or ``ipv6:%5B::1%5D:5555``."""
    _, _, place = peer.partition(":")
    ip = read_address(place.replace("%5B", "[").replace("%5D", "]"))
    return str(ip) if ip is not None else peer


def heed_latency(call: Call) -> None:
    """Let ``x-max-latency-ms`` bound how long items may wait for their turn, as the call's deadline does.

    Raises :class:`HttpError`.
    """
    by, ends = deadline_of(call.headers), services.deadline.get()
    if by is not None:
        services.deadline.set(by if ends is None else min(by, ends))


def _too_often(what: str, seconds: int) -> Refusal:
    return refusal("rate_limit_exceeded", f"too many {what}: come again in {seconds} s", retry_after=float(seconds))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def bad(field: str, message: str, code: str = "invalid_value") -> HttpError:
    """The answer to a field that is wrong."""
    return HttpError(400, code, f"{field}: {message}", field)
