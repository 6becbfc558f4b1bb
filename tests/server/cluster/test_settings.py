"""Settings of a node: what is refused says what is legal, and no secret is shown."""

from __future__ import annotations

import sys

import pytest

from server.cluster.build import node_of, shared_of
from server.settings import SettingsError, load_settings
from server.settings_cluster import named_after

URL, SECRET = "redis://:hush-hush@127.0.0.1:6379/0", "a secret of all nodes"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"cluster_url": "http://10.0.0.5"},
            "cluster_url: must be the address of a Redis server; legal values are",
        ),
        ({"cluster_url": URL}, "cluster_secret: is missing beside cluster_url"),
        ({"cluster_url": URL, "cluster_secret": "short"}, "cluster_secret: must have at least 16 characters"),
        ({"node_name": "a"}, "node_name: needs cluster_url"),
        ({"whip_redirect": True}, "whip_redirect: needs cluster_url"),
        ({"cluster_url": URL, "cluster_secret": SECRET, "node_name": "A_b"}, "node_name: 'A_b' is none; legal values"),
        (
            {"cluster_url": URL, "cluster_secret": SECRET, "node_address": "http://a/b"},
            "node_address: must be a",
        ),
        ({"cluster_url": URL, "cluster_secret": SECRET, "node_address": "10.0.0.7"}, "node_address: '10.0.0.7' is no"),
        (
            {"cluster_url": URL, "cluster_secret": SECRET, "host": "0.0.0.0", "api_key": "12345678"},
            "node_address: is missing beside cluster_url: 0.0.0.0 tells other nodes no address",
        ),
    ],
)
def test_what_cannot_be_a_node_is_refused(given, words):
    with pytest.raises(SettingsError) as refused:
        load_settings(given)
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_node_has_a_name_and_its_secrets_are_not_shown():
    settings = load_settings({"cluster_url": URL, "cluster_secret": SECRET})
    assert settings.node
    assert "hush" not in repr(settings) and SECRET not in repr(settings)
    assert load_settings({}).node is None


@pytest.mark.parametrize(
    ("host", "name"),
    [("Berlin.example.org", "berlin"), ("my_host", "my-host"), ("-", "node"), ("x" * 40, "x" * 32), ("é1", "1")],
)
def test_a_node_is_named_after_its_machine(host, name):
    assert named_after(host) == name


def test_without_the_extra_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "server.cluster.redis_store", raising=False)
    settings = load_settings({"cluster_url": URL, "cluster_secret": SECRET})
    with pytest.raises(SettingsError, match=r"cluster_url: needs the extra `cluster` \(pip install"):
        shared_of(settings)
    assert shared_of(load_settings({})) is None
    assert node_of(load_settings({}), "http://127.0.0.1:1", None) is None
