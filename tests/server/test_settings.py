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


@pytest.mark.parametrize("text", ["- a\n- b\n", "port: [\n"])
def test_a_broken_file_is_named(tmp_path, text):
    config = tmp_path / "broken.yaml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        load_settings({}, config)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.yaml"):
        load_settings({}, tmp_path / "gone.yaml")
