"""What nodes know of each other, prove to each other and want of each other: the pure parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cluster.credentials import MOST_SEEN, VALID_SECONDS, Credentials, ForgedError, Signed
from server.cluster.roster import (
    LEASE_SECONDS,
    REMEMBERED_SECONDS,
    SPARED_SECONDS,
    TOLD_SECONDS,
    Report,
    Roster,
    read_report,
)
from server.cluster.wanted import Wanted, has_body, wanted
from server.workers.ids import ids_of, node_in, node_of_bare, worker_in

SECRET = "a secret of all nodes"
WHAT = Signed("b", ["a", "POST", "/offer", "Bearer key", "192.0.2.1", "https", "example.org"])


def report(name: str, capacity: int = 4, used: int = 0, **more: object) -> Report:
    return replace(Report(name, f"http://{name}:8080", capacity, used), **more)


def roster(*reports: Report) -> Roster:
    made = Roster("a")
    made.told(reports, 0.0)
    return made


# ---------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("worker", [None, 12])
@pytest.mark.parametrize("kind", ["sess", "start", "ek"])
def test_an_id_tells_its_node_and_worker(kind, worker):
    name = ids_of(worker, "rack-2")(kind)
    assert node_in(f"/whip/{name}?x=1") == "rack-2"
    assert node_of_bare(name.partition("_")[2]) == "rack-2"
    assert worker_in(name, "rack-2") == worker
    assert worker_in(name) is worker_in(name, "other") is None, "that of another node is none of ours"


@pytest.mark.parametrize("text", ["", "/offer", "sess_4f1c00", "sess_3w4f", "item_a.4f", "sess_-a.4f", "sess_A.4f"])
def test_other_texts_name_no_node(text):
    assert node_in(text) is None


# ---------------------------------------------------------------------------------------------------- placing


def test_the_least_loaded_gets_it_and_of_these_the_one_with_the_largest_share_free():
    nodes = roster(report("b", 8, 2), report("c", 8, 1, level=1))
    assert nodes.best(report("a", 4, 2), 0.0).name == "b"
    assert nodes.best(report("a", 4, 1), 0.0).name == "a", "of two alike the one that was asked"
    assert nodes.best(report("a", 4, 4), 0.0, {"b"}).name == "c"
    assert nodes.best(report("a", 4, 4), 0.0, {"b", "c"}) is None


def test_who_drains_is_full_or_cannot_be_reached_gets_none():
    nodes = roster(report("b", 4, 4), report("c", draining=True), report("d", level=4), report("e"))
    full = report("a", 1, 1)
    assert nodes.best(full, 0.0).name == "e"
    nodes.unreachable("e", 0.0)
    assert nodes.best(full, 0.0) is None
    assert nodes.best(full, SPARED_SECONDS).name == "e"


def test_what_was_sent_counts_until_the_node_has_told_of_it():
    nodes = roster(report("b", 2, 0, number=1))
    full = report("a", 1, 1)
    nodes.sent("b")
    nodes.sent("b")
    [b] = nodes.peers
    assert b.used == 2
    assert nodes.best(full, 0.0).name == "b", "it is asked before all is said to be full"
    nodes.told([report("b", 2, 1, number=2, begun=1)], 0.0)
    assert b.used == 2, "one is in the report, and the report may be older than the other"
    nodes.told([report("b", 2, 1, number=3, begun=1)], 0.0)
    assert b.used == 1, "it has not come"
    nodes.sent("b")
    nodes.refused("b")
    assert b.used == 1
    nodes.told([report("b", 2, 2, number=4, begun=2)], 0.0)
    assert nodes.best(full, 0.0) is None


def test_a_node_whose_lease_has_ended_is_still_known_for_a_while():
    nodes = roster(report("b"))
    nodes.told([], 1.0)
    assert (nodes.find("b").state, nodes.best(report("a", 1, 1), 1.0)) == ("gone", None)
    nodes.told([], REMEMBERED_SECONDS)
    assert nodes.find("b") is not None
    nodes.unreachable("b", REMEMBERED_SECONDS)
    nodes.told([report("b", number=1)], REMEMBERED_SECONDS)
    assert nodes.find("b").state == "ready"
    assert nodes.best(report("a", 1, 1), REMEMBERED_SECONDS).name == "b", "it answers again"
    nodes.told([], REMEMBERED_SECONDS)
    nodes.told([], 2 * REMEMBERED_SECONDS + 1)
    assert nodes.find("b") is None


def test_a_report_that_somebody_has_put_back_is_none():
    nodes = roster(report("b", address="http://now", started=7.0, number=3))
    for old in ({"started": 7.0, "number": 2}, {"started": 6.0, "number": 9}):
        nodes.told([report("b", address="http://then", **old)], 1.0)
        assert (nodes.find("b").report.address, nodes.find("b").state) == ("http://now", "gone")
    nodes.told([report("b", address="http://now", started=7.0, number=3)], LEASE_SECONDS)
    assert nodes.find("b").state == "ready", "it may only not have told of itself again"
    nodes.told([report("b", address="http://now", started=7.0, number=3)], LEASE_SECONDS + 0.1)
    assert nodes.find("b").state == "gone", "it would have told of itself again"
    nodes.told([report("b", address="http://new", started=8.0, number=1)], LEASE_SECONDS + 0.2)
    assert (nodes.find("b").report.address, nodes.find("b").state) == ("http://new", "ready"), "it was started anew"


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 12), min_size=1), st.integers(0, 60))
def test_no_node_is_sent_more_than_it_has_room_for(places, offers):
    nodes = Roster("a")
    nodes.told([report(name, count) for name, count in places.items() if name != "a"], 0.0)
    own, begun, tried = report("a", places.get("a", 0)), dict.fromkeys(places, 0), set()
    for _ in range(offers):
        best = nodes.best(own, 0.0, tried)
        if best is None:
            assert begun == places
            return
        if begun[best.name] == places[best.name]:  # it refuses
            tried.add(best.name)
            continue
        begun[best.name] += 1
        if best.name == "a":
            own = replace(own, used=own.used + 1)
        nodes.sent(best.name)
    assert all(begun[name] <= places[name] for name in places)


# ---------------------------------------------------------------------------------------------------- credentials


class Time:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_what_a_node_has_signed_is_taken_once_for_a_while_and_as_it_was():
    time = Time()
    one, other = Credentials(SECRET, time), Credentials(SECRET, time)
    signature = one.signature(WHAT)
    for changed in (replace(WHAT, target="c"), replace(WHAT, parts=[*WHAT.parts[:-1], "evil.test"])):
        with pytest.raises(ForgedError):
            other.check(signature, changed)
    for text in ("", "x", "1:2:3", signature[:-1], "é:é:é", "::"):
        with pytest.raises(ForgedError):
            other.check(text, WHAT)
    with pytest.raises(ForgedError):
        Credentials(SECRET + ".", time).check(signature, WHAT)
    other.check(signature, WHAT)
    with pytest.raises(ForgedError, match="already"):
        other.check(signature, WHAT)
    late = one.signature(WHAT)
    time.now += VALID_SECONDS + 1
    with pytest.raises(ForgedError, match="clock"):
        other.check(late, WHAT)


def test_not_too_many_signatures_are_remembered(monkeypatch):
    monkeypatch.setattr("server.cluster.credentials.MOST_SEEN", 3)
    one = Credentials(SECRET, Time())
    for _ in range(10):
        one.check(one.signature(WHAT), WHAT)
    assert len(one._seen) <= 3 < MOST_SEEN


def test_parts_cannot_be_moved_from_one_to_the_next():
    one = Credentials(SECRET, Time())
    with pytest.raises(ForgedError):
        one.check(one.signature(Signed("b", ["a", "bc"])), Signed("b", ["ab", "c"]))


def test_what_is_kept_is_hidden_and_good_under_its_own_name_alone():
    one = Credentials(SECRET, Time())
    name = one.name("memory", "sess_a.4f")
    sealed = one.seal(name, b"what they said")
    assert b"said" not in sealed and "4f" not in name.partition(":")[2][:3]
    assert Credentials(SECRET, Time()).unseal(name, sealed) == b"what they said"
    for broken in (sealed[:-1], b"", b"short", bytes(40)):
        with pytest.raises(ForgedError):
            one.unseal(name, broken)
    with pytest.raises(ForgedError):
        one.unseal(one.name("memory", "sess_a.5f"), sealed)
    with pytest.raises(ForgedError):
        Credentials(SECRET * 2, Time()).unseal(name, sealed)


def test_whatever_a_client_makes_up_has_a_name_of_its_own():
    one = Credentials(SECRET, Time())
    made_up = ("", "é", "\udcff", "\ud800", "\ud800\udc00", "\U00010000", "\x00")
    assert len({one.name("memory", name) for name in made_up}) == len(made_up)


def test_a_report_that_no_node_has_written_is_none():
    time = Time()
    one, made = Credentials(SECRET, time), report("b", workers=3, told_at=Time.now)
    text = made.to_text(one)
    assert read_report(text, one) == made
    for other in (text.replace("8080", "8081"), "", "x", text.partition(" ")[2], f"é {text}"):
        with pytest.raises(ForgedError, match="signed"):
            read_report(other, one)
    for less in ("{}", "[]", '{"told_at": "now"}'):
        with pytest.raises(ForgedError, match="version"):
            read_report(f"{one.mac('lease', less)} {less}", one)
    for passed in (TOLD_SECONDS, -TOLD_SECONDS):
        time.now = Time.now + passed
        assert read_report(text, one) == made, "the clocks of two nodes differ"
        time.now = Time.now + 1.01 * passed
        with pytest.raises(ForgedError, match=r"node b told of itself .* are the clocks right"):
            read_report(text, one)


# ---------------------------------------------------------------------------------------------------- wanted


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        (("POST", "/offer", {}, {}), Wanted(None, True)),
        (("POST", "/offer", {}, {"resume": "sess_b.4f"}), Wanted("b", True, "sess_b.4f")),
        (("POST", "/offer", {}, {"resume": 7}), Wanted(None, True)),
        (("POST", "/api/offer", {}, {"pc_id": "sess_b.4f"}), Wanted("b", True, "sess_b.4f")),
        (("PATCH", "/api/offer", {}, {"pc_id": "sess_b.4f"}), Wanted("b", False, "sess_b.4f")),
        (("POST", "/sessions/start_b.4f/api/offer", {}, {}), Wanted("b", True)),
        (("POST", "/sessions/start_b.4f/api/offer", {}, {"pc_id": "sess_c.4f"}), Wanted("c", True, "sess_c.4f")),
        (("POST", "/v1/realtime/calls", {}, {}), Wanted(None, True)),
        (("DELETE", "/v1/realtime/calls/rtc_b.4f", {}, {}), Wanted("b")),
        (("POST", "/v1/realtime/calls/rtc_b.3w4f/hangup", {}, {}), Wanted("b")),
        (("POST", "/v1/live/sessions", {}, {}), Wanted(None, True)),
        (("POST", "/whip", {}, {}), Wanted(None, True)),
        (("PATCH", "/whip/sess_b.4f", {}, {}), Wanted("b")),
        (("POST", "/whep/sess_b.4f", {}, {}), Wanted("b")),
        (("POST", "/start", {}, {}), Wanted(None, True)),
        (("GET", "/v1/realtime", {"model": "any"}, {}), Wanted(None, True)),
        (("GET", "/v1/realtime", {"call_id": "rtc_b.4f"}, {}), Wanted("b")),
        (("GET", "/v1/sessions/sess_b.4f/recording", {}, {}), Wanted("b")),
        (("DELETE", "/v1/realtime/client_secrets/b.4f", {}, {}), Wanted("b")),
        (("POST", "/v1/realtime/client_secrets", {}, {}), Wanted()),
        (("POST", "/v1/chat/completions", {}, {"resume": "sess_b.4f"}), Wanted()),
        (("GET", "/v1/status", {}, {}), Wanted()),
    ],
)
def test_what_a_request_wants(asked, want):
    assert wanted(*asked) == want


def test_the_body_is_read_where_it_tells_something_or_may_be_sent_twice():
    assert has_body("POST", "/offer") and has_body("PATCH", "/api/offer") and has_body("POST", "/whip")
    assert not has_body("POST", "/v1/audio/transcriptions") and not has_body("PATCH", "/whip/sess_b.4f")
