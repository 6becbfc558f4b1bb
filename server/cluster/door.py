"""A node's door: a request is served here, or passed on to the node that it names or that has more room.

A request that another node has passed on is never passed on again, so there are no loops. It is signed: what it tells
of its client is believed for that reason alone, and nobody else can pretend it. Media does not come this way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlencode

import aiohttp
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from media.clock import Clock
from server.cluster.credentials import Credentials, ForgedError, Signed
from server.cluster.membership import Local, Membership
from server.cluster.wanted import BEGIN, Wanted, has_body, wanted
from server.cluster.ways import Ways
from server.http.access.keys import key_of
from server.http.bodies import read_body
from server.http.errors import HttpError, full_response
from server.http.proxies import NEIGHBOUR, Proxies
from server.http.signaling.watching import told, watched_in
from server.http.signaling.whip import WHIP
from server.settings import Settings
from server.workers.ids import node_in
from server.workers.passing import AwayError, Passing, StoppedError, json_of

log = logging.getLogger(__name__)

PASSED_ON = "X-Visavis-Node"
"""Of a request that a node passes on: who has signed it, and the signature."""
PLACED = "placed"
"""In the query of a request whose client was sent to this node: it stays here."""
REPLACED = "/v1/node/replaced"
"""What a node tells another: a conversation of its goes on elsewhere. For nodes alone."""
BEGIN_SECONDS = 5.0
"""For another node to take a session; then the next one is asked."""
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")
_FROM = web.RequestKey("passed_on_by", str)


class Door:
    """``raw``: whether bodies come as they were packed. The membership stays with the caller."""

    def __init__(
        self,
        membership: Membership,
        local: Local,
        settings: Settings,
        credentials: Credentials,
        clock: Clock,
        *,
        raw: bool,
    ) -> None:
        self._membership = membership
        self._local = local
        self._settings = settings
        self._credentials = credentials
        self._raw = raw
        self._proxies = Proxies(settings.trusted_proxies)
        self._ways = Ways(membership, self._connect, clock)
        self._telling: set[asyncio.Task[None]] = set()
        self.passed: Counter[str] = Counter()
        """How many requests were passed on, by what became of them."""

    # ------------------------------------------------------------------------------------------------ received

    def received(self, request: web.Request) -> web.Request:
        """The request as its client has sent it, if another node has passed it on."""
        given = request.headers.get(PASSED_ON)
        if given is None:
            return request
        name, _, signature = given.partition(" ")
        own, is_own_word = self._membership.name, request.path == REPLACED
        what = _own_word(own, name) if is_own_word else self._signed(own, name, request, request.headers)
        try:
            self._credentials.check(signature, what)
        except ForgedError as error:
            log.warning("refused a request that claims to come from a node: %s", error)
            raise HttpError(403, "node_not_trusted", f"{PASSED_ON}: {error}", PASSED_ON) from error
        seen = request.clone(remote=NEIGHBOUR)
        seen[_FROM] = name
        return seen

    def _signed(self, target: str, name: str, request: web.Request, headers: Mapping[str, str]) -> Signed:
        shown = [headers.get(header, "") for header in (hdrs.AUTHORIZATION, *_FORWARDED)]
        return Signed(target, [name, request.method, request.raw_path, *shown])

    # ------------------------------------------------------------------------------------------------ served

    async def served(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Its answer, of whichever node."""
        if _FROM in request and request.path == REPLACED:
            return await self._was_replaced(request)
        body: bytes | None = None
        if has_body(request.method, request.path) and request.body_exists:
            await read_body(request, self._settings.request_timeout)
            body = await request.read()
        said = json_of(body) if body is not None and BEGIN.fullmatch(request.path) is None else None
        want = wanted(request.method, request.path, request.query, said if isinstance(said, dict) else {})
        if _FROM in request or request.method == hdrs.METH_OPTIONS or self._was_sent_here(request):
            return await self._here(request, handler, want)
        if want.node is not None and want.node != self._membership.name:
            if (session := watched_in(request.path)) is not None:
                return await self._watched(session, want, request)
            answer = await self._of(want, request, body)
            if answer is not None:
                return answer
        elif want.node is not None and not (self._membership.draining and want.begins):
            return await self._here(request, handler, want)
        if not want.begins:
            return await self._elsewhere_by_key(request, body) or await self._here(request, handler, want)
        return await self._placed(request, body, handler, want)

    async def _of(self, want: Wanted, request: web.Request, body: bytes | None) -> web.StreamResponse | None:
        """The answer of the node that is named; ``None``: it is not there, and whoever has its memory may go on."""
        peer = self._membership.roster.find(want.node or "")
        if peer is None or (want.begins and (peer.report.draining or peer.gone_since is not None)):
            return None
        try:
            answer = await self._passed(request, body, peer.report.name, peer.report.address, want)
        except StoppedError:
            if want.begins:
                return None
            raise  # it may go on, and then it still has what this is about
        except AwayError:
            if want.begins or peer.gone_since is not None:
                return None
            raise
        return None if want.begins and answer.status == 503 and not answer.prepared else answer

    async def _watched(self, session: str, want: Wanted, request: web.Request) -> web.StreamResponse:
        """What becomes of a session's node, whose end is noticed here."""
        try:
            answer = await self._of(want, request, None)
        except (AwayError, ConnectionResetError):
            answer = None
        return answer if answer is not None else told(session, "gone")

    async def _elsewhere_by_key(self, request: web.Request, body: bytes | None) -> web.StreamResponse | None:
        """Without a store only its own node knows a client secret."""
        node = node_in(key_of(request.headers) or "")
        peer = self._membership.roster.find(node) if node is not None and not self._membership.connected else None
        if peer is None or peer.gone_since is not None:
            return None
        return await self._passed(request, body, peer.report.name, peer.report.address, Wanted())

    async def _placed(
        self, request: web.Request, body: bytes | None, handler: Handler, want: Wanted
    ) -> web.StreamResponse:
        """A session begins: where there is room, and else at the next node; at last here, where places may be kept for
        it, or the load keep only others out: none of that is in a report."""
        membership, tried, refusals = self._membership, set[str](), list[web.StreamResponse]()
        if not membership.connected and (answer := await self._elsewhere_by_key(request, body)) is not None:
            return answer
        while (node := membership.best(tried)) is not None:
            tried.add(node.name)
            if node.name == membership.name:
                answer = await self._here(request, handler, want)
            elif request.path == WHIP and self._settings.whip_redirect:
                membership.roster.sent(node.name)
                return self._sent_to(request, node.name, node.address)
            else:
                membership.roster.sent(node.name)
                try:
                    answer = await self._passed(request, body, node.name, node.address, want)
                except AwayError as error:
                    log.info("node %s is not there for a session; another is asked: %s", node.name, error)
                    continue
                if answer.status >= 300:
                    membership.roster.refused(node.name)
            if answer.prepared or answer.status != 503:
                return answer
            refusals.append(answer)
        if membership.name not in tried and not membership.draining:
            answer = await self._here(request, handler, want)
            if answer.prepared or answer.status != 503:
                return answer
            refusals.append(answer)
        return self._refused(refusals)

    def _refused(self, refusals: Sequence[web.StreamResponse]) -> web.StreamResponse:
        """What is answered where no node takes a session; who has only too much to do will take some sooner."""
        busy = next((answer for answer in reversed(refusals) if _code_of(answer) == "server_busy"), None)
        if busy is not None:
            return busy
        return refusals[-1] if refusals and not self._membership.roster.peers else self._full()

    async def _here(self, request: web.Request, handler: Handler, want: Wanted) -> web.StreamResponse:
        answer = await handler(request)
        before = node_in(want.previous or "") if want.begins and answer.status == 200 else None
        if before is not None and before != self._membership.name and want.previous is not None:
            self._tell_replaced(before, want.previous)
        return answer

    def _full(self) -> web.Response:
        membership = self._membership
        reports = [membership.report(), *(one.report for one in membership.roster.peers if one.state == "ready")]
        places = sum(report.capacity for report in reports if not report.draining)
        if not places:
            return full_response("this node is being stopped, and no other is there", 0)
        return full_response(f"all {places} places of all nodes are taken", places)

    # ------------------------------------------------------------------------------------------------ passed on

    async def _passed(
        self, request: web.Request, body: bytes | None, name: str, address: str, want: Wanted
    ) -> web.StreamResponse:
        """The answer of another node. Raises :class:`~server.workers.passing.AwayError` where it gives none."""
        way, is_socket = self._ways.to(name, address), request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        seconds, held = BEGIN_SECONDS if want.begins and not is_socket else None, (503,) if want.begins else ()
        try:
            with way.pulse.felt() as stopped:
                async with asyncio.timeout(seconds):
                    answer = await way.passing.answer(request, body, held, stopped)
        except (AwayError, TimeoutError) as error:
            self._membership.unreachable(name)
            self.passed["unreachable"] += 1
            if isinstance(error, StoppedError):
                raise StoppedError(503, "node_unreachable", f"node {name} does not answer any more") from error
            raise AwayError(503, "node_unreachable", f"node {name} cannot be reached at this moment") from error
        self.passed["refused" if answer.status == 503 else "answered"] += 1
        return answer

    def _connect(self, name: str, address: str) -> Passing:
        scheme = "https" if self._settings.serves_tls else "http"

        def mark(request: web.Request, headers: CIMultiDict[str]) -> None:
            if hdrs.CONTENT_ENCODING in headers and not self._raw:  # it was unpacked here
                del headers[hdrs.CONTENT_ENCODING]
                headers.popall(hdrs.CONTENT_LENGTH, None)
            signature = self._credentials.signature(self._signed(name, self._membership.name, request, headers))
            headers[PASSED_ON] = f"{self._membership.name} {signature}"

        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15.0)
        return Passing(connector, self._proxies, scheme, address, mark)

    # ------------------------------------------------------------------------------------------------ sent there

    def _sent_to(self, request: web.Request, name: str, address: str) -> web.Response:
        """307 (RFC 9725, 4.5): the client offers there once more, and stays."""
        proof = self._credentials.signature(Signed(name, [PLACED]))
        query = urlencode([*((key, value) for key, value in request.query.items() if key != PLACED), (PLACED, proof)])
        self.passed["redirected"] += 1
        return web.Response(status=307, headers={hdrs.LOCATION: f"{address}{WHIP}?{query}"})

    def _was_sent_here(self, request: web.Request) -> bool:
        proof = request.query.get(PLACED)
        if proof is None or request.path != WHIP:
            return False
        try:
            self._credentials.check(proof, Signed(self._membership.name, [PLACED]))
        except ForgedError:
            return False
        return True

    # ------------------------------------------------------------------------------------------------ told

    def _tell_replaced(self, name: str, session: str) -> None:
        """The node that still has the session can end it."""
        peer = self._membership.roster.find(name)
        if peer is None or peer.gone_since is not None:
            return
        task = asyncio.create_task(self._told(name, peer.report.address, session), name="replaced")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, name: str, address: str, session: str) -> None:
        own = self._membership.name
        headers = {PASSED_ON: f"{own} {self._credentials.signature(_own_word(name, own))}"}
        body = json.dumps({"session": session}).encode()
        with suppress(aiohttp.ClientError, TimeoutError):  # it ends by itself a little later
            async with asyncio.timeout(BEGIN_SECONDS):
                await self._ways.to(name, address).passing.post(REPLACED, headers, body)

    async def _was_replaced(self, request: web.Request) -> web.Response:
        await read_body(request, self._settings.request_timeout)
        said = json_of(await request.read())
        if isinstance(said, dict) and isinstance(said.get("session"), str):
            self._local.replaced(said["session"])
        return web.Response(status=204)

    async def close(self) -> None:
        """End what is passed on. Idempotent."""
        for task in list(self._telling):
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self._ways.close()


def _code_of(answer: web.StreamResponse) -> str | None:
    """Of the error that it tells of."""
    body = answer.body if isinstance(answer, web.Response) else None
    said = json_of(body) if isinstance(body, bytes) else None
    error = said.get("error") if isinstance(said, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def _own_word(target: str, name: str) -> Signed:
    """What a node says by itself: no request that it passes on for a client is signed like this."""
    return Signed(target, ["", name, REPLACED])
