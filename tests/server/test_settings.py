"""Settings: sources, their order, and errors that name the setting."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from server.cli.commands import run
from server.settings import Settings, SettingsError, load_settings
from server.settings_sources import EMPTY_MEANS


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
        ({"prot": 1}, r"there is no setting 'prot'; did you mean port\? Legal values are allowed_origins, api_key"),
        ({"port": "x"}, "^port: must be a valid integer, not 'x'$"),
        ({"workers": "many"}, "^workers: must be a valid integer, or 'auto', not 'many'$"),
        ({"workers": 0, "port": "x"}, "^port: .*; workers: must be greater than or equal to 1, or 'auto', not 0$"),
        ({"chat_images": "some"}, "^chat_images: must be a valid boolean, or 'auto', not 'some'$"),
        ({"port": -1}, "^port: must be greater than or equal to 0, not -1$"),
        ({"host": ""}, "^host: String should have at least 1 character"),
        ({"llm_url": "localhost:8000"}, "^llm_url: 'localhost:8000' is no address: it must be http://HOST"),
        ({"llm_url": ""}, "llm_url: '' is no address"),
        ({"stt_model": ""}, "stt_model: String should have at least 1 character"),
        ({"chat_model": ""}, "chat_model: String should have at least 1 character"),
        ({"tts_model": ""}, "tts_model: String should have at least 1 character"),
        ({"llm_url": "http://"}, "llm_url: 'http://' is no address"),
        ({"llm_url": "http://a:99999/v1"}, "llm_url: 'http://a:99999/v1' is no address .Port out of range"),
        ({"llm_url": "http://a b/v1"}, "llm_url: 'http://a b/v1' is no address"),
        ({"llm_url": "ftp://a/v1"}, "llm_url: 'ftp://a/v1' is no address"),
        ({"llm_url": "http://a/v1?b=c"}, "llm_url: .* goes on behind its path"),
        ({"llm_url": "http://a:b@c/v1", "llm_api_key": "k"}, "llm_url: .* llm_api_key is set too"),
        ({"llm_api_key": "a\nb"}, "llm_api_key: must be letters"),
        ({"llm_api_key": ""}, "llm_api_key: is empty; leave it unset"),
        ({"model_server_key": "schlüssel", "model_server": "http://a"}, "model_server_key: must be letters"),
        ({"model_server": "10.0.0.5"}, "model_server: '10.0.0.5' is no address"),
        ({"ice_servers": [{"urls": "http://example.org"}]}, "stun:"),
        ({"bench_tone_seconds": 0}, "bench_tone_seconds"),
        ({"bench_echo": True}, "bench_echo: .* needs profile bench, not auto"),
        ({"bench_tone_seconds": 3.0}, "bench_tone_seconds: needs profile bench, not auto"),
        (
            {"profile": "bench", "chat_model": "starter"},
            "chat_model: has no effect, as profile bench answers with stubs",
        ),
        ({"chat_adapters": {"calm": "calm"}}, "chat_adapters: needs chat_model"),
        ({"chat_adapter": "calm"}, "chat_adapter: there is no adapter 'calm'"),
        ({"chat_adapters": {"calm": ""}, "chat_model": "x"}, "chat_adapters.*: is empty: it must be the path"),
        ({"chat_adapters": ["calm"], "chat_model": "x"}, "'calm' must be NAME=PATH"),
        ({"chat_quantization": "3bit"}, "chat_quantization.* 'bnb-nf4'"),
        ({"chat_device_map": "everywhere"}, "chat_device_map.* 'balanced_low_0'"),
        ({"chat_max_memory": {"0": "20GiB"}}, "chat_max_memory: needs chat_device_map"),
        (
            {"chat_max_memory": {"gpu": "20GiB"}, "chat_device_map": "auto"},
            "'gpu' is no device; legal values are the numbers",
        ),
        (
            {"chat_max_memory": {"0": "20"}, "chat_device_map": "auto"},
            "'20' is no size for 0; a size is such as 20GiB",
        ),
        ({"model_server_key": "secret"}, "model_server_key: needs model_server"),
        ({"worker_memory_mb": 512}, "worker_memory_mb: has no effect, as there is one worker; set workers, such as 2"),
        (
            {"llm_url": "http://a/v1", "chat_model": "starter"},
            r"llm_url: has no effect, as starter thinks \(chat_model",
        ),
        ({"llm_model": "a", "chat_model": "/a.gguf"}, r"llm_model: has no effect, as /a\.gguf thinks"),
        ({"vision": False, "vision_device": "gpu"}, "vision_device: has no effect, as nothing is looked at"),
        ({"profile": "bench", "llm_url": "http://a/v1"}, "llm_url: has no effect, as profile bench answers with stubs"),
        ({"profile": "bench", "voice": "xx"}, "voice: has no effect, as profile bench"),
        ({"profile": "bench", "language": "zz"}, "language: has no effect, as profile bench"),
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


def test_what_goes_together_is_taken():
    load_settings({"worker_memory_mb": 512, "workers": 2})
    load_settings({"worker_memory_mb": 512, "workers": "auto"})
    load_settings({"llm_url": "http://a/v1", "llm_model": "a", "chat_model": "openai"})
    load_settings({"vision": False, "vision_device": "cpu"})
    load_settings({"vision": False, "vision_threads": 7})  # which also draw: subtitles, and pictures for the model
    load_settings({"profile": "bench", "voice": None, "language": ""})


@pytest.mark.parametrize(
    ("file", "variables", "flags", "taken", "told"),
    [
        ("", {"LLM_URL": "http://a/v1"}, {"chat_model": "starter"}, {"llm_url": None}, "llm_url of the environment"),
        ("", {"LLM_API_KEY": "k"}, {"profile": "bench"}, {"llm_api_key": None}, "llm_api_key of the environment"),
        ("chat_model: starter", {}, {"profile": "bench"}, {"chat_model": "auto"}, "chat_model of the file"),
        ("chat_model: starter", {"llm_url": "http://a/v1"}, {}, {"chat_model": "auto"}, "chat_model of the file"),
        ("chat_model: starter", {"LLM_API_KEY": "k"}, {}, {"chat_model": "starter"}, "llm_api_key of the environment"),
        ("vision: false", {"VISION_DEVICE": "gpu"}, {}, {"vision": False}, "vision_device of the environment"),
        ("workers: 1", {"WORKER_MEMORY_MB": "512"}, {}, {"worker_memory_mb": None}, "worker_memory_mb of the env"),
        (
            "chat_model: /a.gguf\nchat_adapters: {a: /b.gguf}",
            {},
            {"llm_url": "http://a/v1"},
            {"chat_model": "/a.gguf", "llm_url": None},
            "llm_url of the flags",
        ),
    ],
)
def test_of_two_sources_the_stronger_is_taken(tmp_path, monkeypatch, caplog, file, variables, flags, taken, told):
    config = tmp_path / "visavis.yaml"
    config.write_text(file)
    for name, value in variables.items():
        monkeypatch.setenv(f"VISAVIS_{name}", value)
    settings = load_settings(flags, config)
    assert {name: getattr(settings, name) for name in taken} == taken
    assert f"{told}" in caplog.text
    assert "is passed over, as" in caplog.text


def test_what_has_no_effect_is_refused_within_one_source(tmp_path, monkeypatch):
    config = tmp_path / "visavis.yaml"
    config.write_text("chat_model: starter\nllm_url: http://a/v1\n")
    with pytest.raises(SettingsError, match="llm_url: has no effect, as starter thinks"):
        load_settings({}, config)
    monkeypatch.setenv("VISAVIS_CHAT_MODEL", "starter")
    monkeypatch.setenv("VISAVIS_LLM_MODEL", "a")
    with pytest.raises(SettingsError, match="llm_model: has no effect"):
        load_settings({})


def test_only_a_server_needs_settings_with_an_effect(monkeypatch):
    monkeypatch.setenv("VISAVIS_WORKER_MEMORY_MB", "2048")
    assert load_settings({}, serves=False).worker_memory_mb == 2048
    with pytest.raises(SettingsError, match="worker_memory_mb: has no effect"):
        load_settings({})
    assert run(["pipelines", "list", "--json"]) == 0


PATHS = sorted(
    name
    for name, field in Settings.model_fields.items()
    if field.annotation is Path or Path in get_args(field.annotation) or "Path" in str(get_args(field.annotation)[:1])
)


@pytest.mark.parametrize("name", [*PATHS, "chat_model", "chat_adapters", "ice_servers"])
def test_a_home_that_nobody_has_is_named(name):
    path = "~nobody-has-this-name/x"
    shapes = {"chat_adapters": {"a": path}, "ice_servers": [{"urls": "turn:a", "secret_file": path}]}
    with pytest.raises(SettingsError, match=rf"^{name}.*~nobody-has-this-name is no known home folder; give the whole"):
        load_settings({name: shapes.get(name, path)}, serves=False)


def test_where_the_user_has_no_home_the_cache_is_asked_for(monkeypatch):
    def homeless(path):
        if path.parts[:1] == ("~",):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(SettingsError, match=r"^cache: .*~ is no known home folder"):
        load_settings({})


@pytest.mark.parametrize("name", PATHS)
def test_an_empty_path_is_refused_and_not_read_as_the_folder_of_the_start(name):
    assert {"recordings", "models", "cache", "tools", "history_folder", "error_reports", "tls_key"} <= {*PATHS}
    with pytest.raises(SettingsError, match=f"^{name}: is empty: it must be a path; leave it unset to have none$"):
        load_settings({name: ""})


@pytest.mark.parametrize("name", sorted({*Settings.model_fields} - {*EMPTY_MEANS}))
def test_a_variable_that_is_set_but_empty_counts_as_not_set(monkeypatch, tmp_path, name):
    monkeypatch.delenv(f"VISAVIS_{name.upper()}", raising=False)
    without = getattr(load_settings({}), name)
    monkeypatch.setenv(f"VISAVIS_{name.upper()}", "")
    assert getattr(load_settings({}), name) == without
    config = tmp_path / "visavis.yaml"
    config.write_text("port: 9000\n")
    assert load_settings({}, config).port == 9000


def test_an_empty_variable_says_something_where_the_setting_says_what(monkeypatch):
    for name in EMPTY_MEANS:
        if name != "api_key":
            monkeypatch.setenv(f"VISAVIS_{name.upper()}", "")
    settings = load_settings({})
    assert (settings.assistant_tools, settings.task_models, settings.ice_peer_ranges) == ((), (), ())
    assert (settings.greeting, settings.idle_prompt) == ("", "")


def test_an_empty_flag_is_no_folder(capsys):
    for command in (["serve", "--recordings", ""], ["models", "list", "--models", ""]):
        assert run(command) == 2
        assert "is empty: it must be a path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("shedding: off", "shedding", "off"),
        ("error_reports: off", "error_reports", "off"),
        ("language: no", "language", "no"),
        ("download: no", "download", False),
        ("download: false", "download", False),
        ("chat_images: on", "chat_images", True),
        ("chat_model: m\nchat_device_map: auto\nchat_max_memory: {0: 20GiB}", "chat_max_memory", {"0": "20GiB"}),
        ("pipeline_runs: &n 3\npipeline_queue: *n", "pipeline_queue", 3),
    ],
)
def test_a_file_says_what_the_reference_says(tmp_path, text, name, value):
    config = tmp_path / "visavis.yaml"
    config.write_text(text)
    assert getattr(load_settings({}, config), name) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port: 80\nport: 90\n", "line 2: the key 'port' is there already"),
        ("ice_servers:\n- {urls: 'stun:a', urls: 'stun:b'}\n", "line 2: the key 'urls' is there already"),
        ("api_key: hush-hush-hush\napi_key: [hush\n", "line 3: "),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path, text, said):
    config = tmp_path / "visavis.yaml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=rf"visavis\.yaml: {said}") as caught:
        load_settings({}, config)
    assert "hush" not in str(caught.value)


def test_only_a_server_needs_a_key(monkeypatch):
    monkeypatch.setenv("VISAVIS_HOST", "0.0.0.0")
    monkeypatch.setenv("VISAVIS_URL", "http://192.0.2.1:8080")
    assert load_settings({}, serves=False).unsafe == (
        "host 0.0.0.0 can be reached by others: set an API key (--api-key or VISAVIS_API_KEY), or listen on 127.0.0.1"
    )
    with pytest.raises(SettingsError, match=r"host 0\.0\.0\.0 can be reached by others"):
        load_settings({})
    for command in (["models", "list", "--json"], ["pipelines", "list", "--json"]):
        assert run(command) == 0


def test_origins_and_proxies_are_lists(monkeypatch):
    monkeypatch.setenv("VISAVIS_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8, fd00::/8")
    monkeypatch.setenv("VISAVIS_ALLOWED_ORIGINS", "*, null, capacitor://localhost")
    settings = load_settings({"public_origins": ["https://a.example", "http://b.example:81"]})
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    assert settings.allowed_origins == ("*", "null", "capacitor://localhost")
    assert settings.public_origins == ("https://a.example", "http://b.example:81")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"VISAVIS_PROT": "1"}, r"^VISAVIS_PROT in the environment is no setting; did you mean VISAVIS_PORT\?$"),
        ({"visavis_stt_modell": "1"}, "visavis_stt_modell in the environment .* did you mean VISAVIS_STT_MODEL"),
        (
            {"VISAVIS_XYZZY": "1"},
            "VISAVIS_XYZZY in the environment is no setting; legal values are VISAVIS_ALLOWED_ORIGINS, ",
        ),
        ({"VISAVIS_PORT": "x"}, r"^port: must be a valid integer, not 'x' \(VISAVIS_PORT\)$"),
        ({"VISAVIS_DOWNLOAD": "maybe"}, r"^download: must be a valid boolean, not 'maybe' \(VISAVIS_DOWNLOAD\)$"),
        ({"VISAVIS_ICE_SERVERS": "stun:a"}, r"^ice_servers: must be JSON \(VISAVIS_ICE_SERVERS\)$"),
        ({"VISAVIS_PORT": "tcp://10.0.0.1:8080"}, "Kubernetes .* enableServiceLinks: false, or give --port"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch, variables, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=named):
        load_settings({})


def test_variables_that_others_set_are_left_alone(monkeypatch):
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8080_TCP", "PORT_8080_TCP_ADDR", "TEST_X"):
        monkeypatch.setenv(f"VISAVIS_{name}", "tcp://10.0.0.1:8080")
    assert load_settings({}).port == 8080


def test_what_is_secret_is_not_repeated(tmp_path):
    config = tmp_path / "visavis.yaml"
    config.write_text("api_key: 1234567890\nice_servers: [{urls: 'turn:a', credential: 42424242}]\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({"llm_api_key": "hush hush"}, config)
    assert "api_key: must be a valid string" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("1234567890", "42424242", "hush"))


def test_a_value_in_a_file_is_named_with_it(tmp_path):
    config = tmp_path / "visavis.yaml"
    config.write_text("prot: 1\nmax_sessions: many\n")
    with pytest.raises(SettingsError, match=r"max_sessions: must be a valid integer, not 'many' \(.*visavis\.yaml\)"):
        load_settings({}, config)
    with pytest.raises(SettingsError, match=r"no setting 'prot'; did you mean port\? .*visavis\.yaml\)"):
        load_settings({}, config)


def test_an_empty_file_holds_no_settings(tmp_path):
    config = tmp_path / "empty.yaml"
    config.write_text("# nothing yet\n")
    assert load_settings({}, config).port == 8080


def test_a_file_that_is_no_text_is_named(tmp_path):
    config = tmp_path / "binary.yaml"
    config.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"binary\.yaml: is no text in UTF-8"):
        load_settings({}, config)


@pytest.mark.parametrize("text", ["- a\n- b\n", "port: [\n"])
def test_a_broken_file_is_named(tmp_path, text):
    config = tmp_path / "broken.yaml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        load_settings({}, config)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.yaml"):
        load_settings({}, tmp_path / "gone.yaml")


def test_adapters_from_flags_and_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    flags = {"chat_model": "m", "chat_adapters": ["calm=~/calm", "loud=/a=b"]}
    assert load_settings(flags).chat_adapters == {"calm": Path("/home/me/calm"), "loud": Path("/a=b")}
    given = {"calm": "/calm", "loud": "/loud", "both": {"calm": 0.5, "loud": 0.5}}
    found = load_settings({"chat_model": "m", "chat_adapters": given}).chat_adapters
    assert found == {"calm": Path("/calm"), "loud": Path("/loud"), "both": {"calm": 0.5, "loud": 0.5}}
