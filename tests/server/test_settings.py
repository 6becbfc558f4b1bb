"""Settings: sources, their order, and errors that name the setting."""

from __future__ import annotations

import pytest

from server.settings import SettingsError, load_settings


def test_defaults_are_private():
    settings = load_settings({})
    assert settings.on_loopback
    assert settings.ice_address == ()
    assert settings.ice_servers == ()


def test_flags_win_over_environment_over_file(tmp_path, monkeypatch):
    config = tmp_path / "visavis.yaml"
    config.write_text("port: 1\nmax_sessions: 1\npeer_timeout: 1\n")
    monkeypatch.setenv("VISAVIS_PORT", "2")
    monkeypatch.setenv("VISAVIS_MAX_SESSIONS", "2")
    settings = load_settings({"port": 3}, config)
    assert (settings.port, settings.max_sessions, settings.peer_timeout) == (3, 2, 1)


def test_lists_are_written_with_commas_in_the_environment(monkeypatch):
    monkeypatch.setenv("VISAVIS_ICE_ADDRESS", "127.0.0.1, 192.0.2.1")
    assert load_settings({}).ice_address == ("127.0.0.1", "192.0.2.1")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"port": 70_000}, "port"),
        ({"profile": "fast"}, "'auto', 'embedded' or 'bench'"),
        ({"host": "0.0.0.0"}, "API key"),
        ({"host": "0.0.0.0", "api_key": ""}, "api_key: is empty; a key has at least 8"),
        ({"api_key": ""}, "api_key: is empty"),
        ({"api_key": "1234567"}, "api_key: has 7 characters; a key has at least 8"),
        ({"api_key": "with spaces"}, "api_key: .* without spaces"),
        ({"api_key": "sécret-key"}, "api_key: .* ASCII"),
        ({"api_key": "secret-key\n"}, "api_key: "),
        ({"public_origins": "assistant.example.org"}, "public_origins: .* such as https://assistant"),
        ({"public_origins": "https://a.example/page"}, "public_origins"),
        ({"allowed_origins": "https://app.example/"}, "allowed_origins"),
        ({"trusted_proxies": "proxy"}, "trusted_proxies"),
        ({"ice_address": ["nowhere"]}, "ice_address"),
        ({"prot": 1}, "there is no such setting"),
        ({"ice_servers": [{"urls": "http://example.org"}]}, "stun:"),
        ({"bench_tone_seconds": 0}, "bench_tone_seconds"),
        ({"bench_echo": True}, "bench_echo: .* needs profile bench, not auto"),
    ],
)
def test_errors_name_the_setting_and_what_is_legal(flags, named):
    with pytest.raises(SettingsError, match=named):
        load_settings(flags)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_variable_that_is_set_but_empty_is_no_key(monkeypatch, host):
    monkeypatch.setenv("VISAVIS_API_KEY", "")
    with pytest.raises(SettingsError, match="api_key: is empty"):
        load_settings({"host": host})


def test_origins_and_proxies_are_lists(monkeypatch):
    monkeypatch.setenv("VISAVIS_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8, fd00::/8")
    monkeypatch.setenv("VISAVIS_ALLOWED_ORIGINS", "*, null, capacitor://localhost")
    settings = load_settings({"public_origins": ["https://a.example", "http://b.example:81"]})
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    assert settings.allowed_origins == ("*", "null", "capacitor://localhost")
    assert settings.public_origins == ("https://a.example", "http://b.example:81")


@pytest.mark.parametrize("text", ["- a\n- b\n", "port: [\n"])
def test_a_broken_file_is_named(tmp_path, text):
    config = tmp_path / "broken.yaml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        load_settings({}, config)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.yaml"):
        load_settings({}, tmp_path / "gone.yaml")
