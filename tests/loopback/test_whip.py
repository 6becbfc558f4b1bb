"""Published by WHIP, watched by WHEP: real aiortc peers on both sides of the real server."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCPeerConnection

from media.fan_out import Relay
from media.opus import RATE
from media.video_tracks import OwnFrames
from server.http.signaling.offer import REGISTRY
from server.http.signaling.whip import VIEWERS
from server.transports.webrtc import ice
from server.transports.webrtc.viewer import Viewer
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer
from tests.fakes.vision import FakeVision
from tests.fakes.whip import FRAGMENT, SDP, Publisher, Watcher, request
from tests.loopback.test_session import TURN, energy, until_empty
from tests.loopback.test_video import Camera, is_drawn_upon
from tests.patience import PATIENCE


async def nobody_watches(app) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*app[VIEWERS]._tasks)
    assert len(app[VIEWERS]) == 0


@asynccontextmanager
async def published(serve, *, kinds=("audio", "video"), **settings):
    """``publisher, session, app, url``; afterwards nothing is left."""
    engines = fake_engines(
        stt=FakeRecognizer("hello there", "and again"),
        llm=FakeModel("Hello to you too.", "Yes, again."),
        vision=FakeVision(),
    )
    url, app = await serve(engines, **settings)
    async with Publisher(url, kinds=kinds) as publisher:
        session = app[REGISTRY].find(publisher.session_id)
        yield publisher, session, app, url
    await until_empty(app)
    await nobody_watches(app)
    assert len(app[REGISTRY]) == 0
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith(("view_", "sess_"))]


async def shows(publisher: Publisher, camera: Camera, condition) -> None:
    await publisher.show(lambda n: camera.frame(level=90), condition)


def sees(watcher: Watcher, frames: int = 3):
    start = len(watcher.seen)
    return lambda: len(watcher.seen) >= start + frames and is_drawn_upon(watcher.seen[-1])


async def hears(publisher: Publisher, watcher: Watcher) -> None:
    """The publisher speaks, and the watcher hears the answer."""
    publisher.say(TURN, RATE)
    start = len(watcher.heard)
    await watcher.until(lambda: energy(watcher.heard[start:][-RATE // 2 :]) > 500, what="the voice")


async def test_what_is_published_is_heard_and_seen_and_answered_to_whoever_watches(serve):
    async with published(serve) as (publisher, session, app, url):
        assert publisher.location == f"/whip/{session.id}"
        camera = Camera()
        async with Watcher(url) as watcher, Watcher(url, f"/whep/{session.id}") as other:
            assert watcher.location.startswith(f"/whep/{session.id}/view_")
            assert watcher.location != other.location
            for one in (watcher, other):
                await shows(publisher, camera, sees(one))
                assert one.seen[-1].width == 320
            await hears(publisher, watcher)
            await other.until(lambda: energy(other.heard[-RATE * 2 :]) > 500)
            assert "\nvisavis_viewers 2.0\n" in (await request("GET", f"{url}/metrics"))[2]
        await nobody_watches(app)
        assert not len(session.tracks.shown.followers)
        assert not len(session.watched.voice.followers)
        async with Watcher(url) as late:  # begins with a key frame, or would see nothing
            await shows(publisher, camera, sees(late))


async def test_without_a_watcher_nothing_is_made_for_one(serve):
    async with published(serve) as (publisher, session, _, url):
        spoken = asyncio.Event()
        kinds = []

        def note(event) -> None:
            if type(event).__name__ == "ResponseStarted":
                kinds.append(event.spoken)
            if type(event).__name__ == "ResponseGenerated":
                spoken.set()

        session.session.events.attach("test", note)
        await shows(publisher, Camera(), lambda: session.counts().pictures_looked_at > 2)
        publisher.say(TURN, RATE)
        async with asyncio.timeout(PATIENCE):
            await spoken.wait()
        assert kinds == [False]
        assert session.tracks.shown.sent == 0
        assert session.watched.voice._number == 0
        async with Watcher(url, kinds=("audio",)) as watcher:
            await hears(publisher, watcher)
        assert kinds[:2] == [False, True]
        assert session.tracks.shown.sent == 0


@pytest.mark.parametrize("path", ["/whip", "/whep"])
async def test_candidates_may_come_after_the_offer(serve, path):
    async with published(serve) as (publisher, _, _, url):
        camera = Camera()
        if path == "/whep":
            async with Watcher(url, trickle=True) as watcher:
                await shows(publisher, camera, sees(watcher))
        else:
            async with Publisher(url, trickle=True) as other:
                assert other.pc.connectionState == "connected"


async def test_the_end_of_the_session_ends_its_watchers(serve):
    async with published(serve) as (publisher, _, app, url):
        async with Watcher(url) as watcher, Watcher(url) as other:
            assert await other.delete() == 200
            await other.until(lambda: other.pc.connectionState == "closed")
            assert await other.delete() == 404
            assert watcher.pc.connectionState == "connected"
            assert await publisher.delete() == 200
            await watcher.until(lambda: watcher.pc.connectionState == "closed")
            await publisher.until(lambda: publisher.pc.connectionState == "closed")
        await until_empty(app)
        assert await publisher.delete() == 404
        assert await publisher.patch("a=ice-ufrag:x\r\n") == 404


async def test_what_has_ended_is_not_found_though_its_end_takes_a_moment(serve):
    async with published(serve) as (publisher, _, app, url), Watcher(url) as watcher:
        app[VIEWERS].find(publisher.session_id, watcher.headers["ETag"].strip('"')).close("over")
        assert await watcher.patch("a=ice-ufrag:x\r\n") == 404
        assert await watcher.delete() == 404
        app[REGISTRY].find(publisher.session_id).close("over")
        assert await publisher.patch("a=ice-ufrag:x\r\n") == 404
        status, _, _ = await request("POST", f"{url}/whep/{publisher.session_id}", "v=0", Content_Type=SDP)
        assert status == 404


async def test_watchers_end_with_the_server(serve):
    async with published(serve) as (_, session, app, url), Watcher(url) as watcher:
        await app[VIEWERS].close_all(5.0)
        await watcher.until(lambda: watcher.pc.connectionState == "closed")
        assert session.id in {one.id for one in app[REGISTRY].all}
        status, headers, _ = await request("POST", f"{url}/whep", watcher.pc.localDescription.sdp, Content_Type=SDP)
        assert (status, "Retry-After" in headers) == (503, True)


async def test_a_call_can_be_watched_too_and_goes_on(serve):
    engines = fake_engines(stt=FakeRecognizer("hello"), llm=FakeModel("Hello to you."), vision=FakeVision())
    url, app = await serve(engines)
    async with Peer(url, kinds=("audio", "video")) as peer:
        camera = Camera()
        async with Watcher(url) as watcher:
            await peer.show(lambda n: camera.frame(level=90), sees(watcher))
            peer.say(TURN, RATE)
            await watcher.until(lambda: energy(watcher.heard[-RATE:]) > 500)
            await peer.until(lambda: energy(peer.heard[-RATE:]) > 500)
        await nobody_watches(app)
        start = len(peer.seen)
        await peer.show(lambda n: camera.frame(level=90), lambda: len(peer.seen) > start + 3)


async def test_a_watcher_that_vanishes_is_noticed(serve):
    async with published(serve, peer_timeout=3.0) as (publisher, session, app, url):
        async with Watcher(url) as watcher:
            await shows(publisher, Camera(), sees(watcher))
            watcher.vanish()
            await nobody_watches(app)
        assert session.ended_because == ""


@pytest.mark.long
async def test_nothing_is_left_of_watchers(serve):
    kinds = (RTCPeerConnection, Viewer, Relay, OwnFrames)
    others = alive(*kinds)  # of tests before, which a page of a browser may still hold
    async with published(serve) as (publisher, session, app, url):
        camera = Camera()
        await shows(publisher, camera, lambda: session.counts().pictures_looked_at > 0)  # it is at work
        tasks = len(asyncio.all_tasks())
        for _ in range(4):
            async with Watcher(url) as watcher:
                await shows(publisher, camera, sees(watcher))
            await nobody_watches(app)
        assert not len(session.tracks.shown.followers)
        del watcher
        async with asyncio.timeout(PATIENCE):  # aiortc's last tasks end some moments after the viewer's
            while len(asyncio.all_tasks()) > tasks or len(left(others, *kinds)) > 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [type(thing) for thing in left(others, *kinds)] == [RTCPeerConnection] * 2  # the publisher's two ends


def left(others: list[object], *kinds: type) -> list[object]:
    """Those that have come since ``others`` were found."""
    known = {id(thing) for thing in others}
    return [thing for thing in alive(*kinds) if id(thing) not in known]


def alive(*kinds: type) -> list[object]:
    """Objects of these kinds that somebody still refers to."""
    gc.collect()
    # by their type: some of torch's answer isinstance with a warning
    return [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]


async def test_a_session_without_a_camera_has_no_video_to_watch(serve):
    async with published(serve, kinds=("audio",)) as (publisher, _, _, url):
        async with Watcher(url) as watcher:
            assert "a=inactive" in watcher.answer["sdp"].partition("m=video")[2]
            await hears(publisher, watcher)
        lone = Watcher(url, kinds=("video",))
        with pytest.raises(AssertionError, match="it has a voice"):
            await lone.connect()
        await lone.close()


# ---------------------------------------------------------------------------------------------------- the exchange


async def offer(direction: str, *kinds: str) -> str:
    """The text of an offer whose sender never connects."""
    peer = Watcher("", kinds=kinds or ("audio", "video"))
    for kind in peer.order:
        peer.pc.addTransceiver(kind, direction)
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    sdp = peer.pc.localDescription.sdp
    await peer.close()
    return sdp


@pytest.fixture
def asks_no_ice_server(monkeypatch):
    """The settings name servers that do not answer, for which gathering would wait."""
    configuration = ice.configuration
    monkeypatch.setattr(ice, "configuration", lambda servers, **options: configuration((), **options))


async def test_what_the_answer_says_beside_the_sdp(serve, asks_no_ice_server):
    servers = [
        {"urls": "stun:stun.example.org:3478"},
        {"urls": "turn:turn.example.org:3478?transport=udp", "username": 'a"b', "credential": "s\\c"},
    ]
    url, app = await serve(ice_servers=servers)
    status, headers, answer = await request("POST", f"{url}/whip", await offer("sendonly"), Content_Type=SDP)
    assert (status, headers["Content-Type"].partition(";")[0]) == (201, SDP)
    assert "a=candidate" in answer
    session = headers["Location"].rpartition("/")[2]
    assert headers["ETag"] == f'"{session}"'
    assert headers["Accept-Patch"] == FRAGMENT
    assert headers.getall("Link") == [
        '<stun:stun.example.org:3478>; rel="ice-server"',
        '<turn:turn.example.org:3478?transport=udp>; rel="ice-server"; username="a\\"b"; credential="s\\\\c"; '
        'credential-type="password"',
    ]
    await request("DELETE", url + headers["Location"])
    await until_empty(app)


@pytest.mark.parametrize("path", ["/whip", "/whep"])
async def test_what_is_patched(serve, path):
    url, app = await serve()
    _, headers, _ = await request("POST", f"{url}/whip", await offer("sendonly"), Content_Type=SDP)
    sdp = await offer("recvonly" if path == "/whep" else "sendonly")
    status, headers, _ = await request("POST", url + path, sdp, Content_Type=SDP)
    where, tag = url + headers["Location"], headers["ETag"]
    ufrag = sdp.partition("a=ice-ufrag:")[2].split()[0]
    good = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n"
    other = good.replace(ufrag, "other")
    for body, given, expected, param in (
        (good, {}, 204, None),
        (good, {"If_Match": tag}, 204, None),
        (good, {"If_Match": f"W/{tag}"}, 204, None),
        (good, {"If_Match": f'"else", {tag}'}, 204, None),
        (good, {"ETag": '"else"'}, 204, None),
        (good, {"If_Match": "*"}, 204, None),
        (good, {"If_Match": '"else"'}, 412, "If-Match"),
        (other, {}, 422, "ice-ufrag"),
        (other, {"If_Match": "*"}, 422, "ice-ufrag"),
        ("a=end-of-candidates\r\n", {"If_Match": '"*"'}, 422, "If-Match"),
        ("", {}, 400, "body"),
        ("hello", {}, 400, "body"),
        (good.replace("a=mid:0", "a=mid:nobody"), {}, 400, "mid"),
        (good + "a=candidate:x\r\n", {}, 400, "candidate"),
        (good, {"Content_Type": SDP}, 415, "Content-Type"),
    ):
        status, answered, text = await request("PATCH", where, body, **{"Content_Type": FRAGMENT, **given})
        assert status == expected, (body, given, text)
        if expected == 204:
            assert not text
        else:
            assert f'"param": "{param}"' in text
        if expected == 415:
            assert answered["Accept-Patch"] == FRAGMENT
    assert (await request("PATCH", f"{where}x", good, Content_Type=FRAGMENT))[0] == 404
    assert (await request("DELETE", where))[0] == 200
    await app[REGISTRY].close_all(2.0)
    await nobody_watches(app)


@pytest.mark.parametrize(
    ("path", "direction", "change", "status", "code"),
    [
        ("/whip", "recvonly", None, 406, "nothing_sent"),
        ("/whip", "sendonly", ("opus/48000/2", "PCMU/8000"), 406, "not_acceptable"),
        ("/whip", "sendonly", ("VP8/90000", "AV1/90000"), 406, "not_acceptable"),
        ("/whip", "sendonly", ("a=fingerprint", "a=fingerprinx"), 400, "invalid_sdp"),
        ("/whep", "sendonly", None, 406, "nothing_to_watch"),
        ("/whep", "recvonly", ("VP8/90000", "AV1/90000"), 406, "not_acceptable"),
    ],
)
async def test_offers_that_cannot_be_served_are_refused_as_a_whole(serve, path, direction, change, status, code):
    url, app = await serve()
    await request("POST", f"{url}/whip", await offer("sendonly"), Content_Type=SDP)
    sdp = await offer(direction)
    if change is not None:
        sdp = sdp.replace(*change).replace("H264", "H265")
    answered, _, text = await request("POST", url + path, sdp, Content_Type=SDP)
    assert (answered, f'"code": "{code}"' in text) == (status, True), text
    assert (len(app[REGISTRY]), len(app[VIEWERS])) == (1, 0)


async def test_an_offer_with_no_codec_of_ours_is_not_acceptable(serve):
    url, _ = await serve()
    sdp = (await offer("sendonly", "audio")).replace("opus/48000/2", "PCMU/8000")
    status, _, text = await request("POST", f"{url}/whip", sdp, Content_Type=SDP)
    assert (status, '"code": "no_opus"' in text) == (406, True)


async def test_a_full_server_asks_to_come_again(serve):
    url, _ = await serve(max_sessions=1, max_viewers=2)
    sdp = await offer("sendonly")
    statuses = [(await request("POST", f"{url}/whip", sdp, Content_Type=SDP))[0] for _ in range(2)]
    assert statuses == [201, 503]
    sdp = await offer("recvonly")
    answers = [await request("POST", f"{url}/whep", sdp, Content_Type=SDP) for _ in range(3)]
    assert [status for status, _, _ in answers] == [201, 201, 503]
    assert int(answers[-1][1]["Retry-After"]) > 0
    assert "2 viewers" in answers[-1][2]


async def test_methods_and_addresses(serve):
    url, _ = await serve()
    for path in ("/whip", "/whep", "/whep/x"):
        status, headers, _ = await request("OPTIONS", url + path)
        assert (status, headers["Accept-Post"]) == (204, SDP)
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            status, headers, _ = await request(method, url + path)
            assert (status, headers["Allow"]) == (405, "OPTIONS,POST"), (method, path)
    for path in ("/whip/x", "/whep/x/y"):
        for method in ("GET", "PUT", "POST"):
            status, headers, _ = await request(method, url + path)
            assert (status, headers["Allow"]) == (405, "DELETE,PATCH"), (method, path)
        assert (await request("DELETE", url + path))[0] == 404
        assert (await request("PATCH", url + path, "x", Content_Type=FRAGMENT))[0] == 404
    sdp = await offer("recvonly")
    for path in ("/whep", "/whep/x"):
        assert (await request("POST", url + path, sdp, Content_Type=SDP))[0] == 404
    for path in ("/whip", "/whep"):
        if path == "/whep":
            await request("POST", f"{url}/whip", await offer("sendonly"), Content_Type=SDP)
        status, headers, _ = await request("POST", url + path, sdp, Content_Type="text/plain")
        assert (status, headers["Accept-Post"]) == (415, SDP)
    await request("POST", f"{url}/whip", await offer("sendonly"), Content_Type=SDP)
    status, _, text = await request("POST", f"{url}/whep", sdp, Content_Type=SDP)
    assert (status, "several_sessions" in text) == (409, True)


async def test_a_key_is_needed_as_everywhere(serve):
    url, _ = await serve(api_key="secret-key", allowed_origins="https://app.example")
    for path in ("/whip", "/whep"):
        assert (await request("POST", url + path, "x", Content_Type=SDP))[0] == 401
        given = {"Content_Type": SDP, "Authorization": "Bearer secret-key"}
        assert (await request("POST", url + path, "x", **given))[0] in (400, 404)
        asked = {"Origin": "https://app.example", "Access_Control_Request_Headers": "authorization,if-match"}
        status, headers, _ = await request("OPTIONS", url + path, **asked)
        assert status == 204
        assert "PATCH" in headers["Access-Control-Allow-Methods"]
        assert {"Location", "ETag", "Link", "Accept-Patch"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    assert (await request("DELETE", f"{url}/whip/x"))[0] == 401
