"""All settings, and the only reader of the environment.

Sources, strongest first: flags, environment (``VISAVIS_*``), the YAML file given by ``--config``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableError

from pipelines.models.weights.adapters import Given
from pipelines.models.weights.placement import problem_with
from pipelines.models.weights.quantization import Quantization
from pipelines.routing.definition import SHIPPED
from pipelines.text import base_url, header_value, unknown
from pipelines.tools.assistant import ASSISTANT_TOOLS, AssistantToolName
from server.http.origins import parse_origin
from server.load.settings import LoadSettings
from server.settings_assistant import AssistantSettings
from server.settings_cluster import ClusterSettings
from server.settings_grpc import GrpcSettings
from server.settings_litert import LiteRtSettings
from server.settings_network import NetworkSettings
from server.settings_remote import RemoteSettings
from server.settings_sources import (
    PREFIX,
    Clash,
    Clashing,
    Explainer,
    NamedModel,
    NamedPath,
    Origins,
    SettingsError,
    check_environment,
    given,
    read_file,
    reading,
    settled,
)
from server.settings_tracking import TrackingSettings
from server.transports.webrtc.ice_servers import IceServer

log = logging.getLogger(__name__)

__all__ = ["IceServer", "Settings", "SettingsError", "load_settings"]

LEAST_KEY = 8
"""Characters of an API key."""

REQUESTS_OFF_LOOPBACK = 600.0
"""A minute for one address, where the server can be reached by others and nothing else is set."""

LEAST_MODELS_MB = 64
_OF_MODEL_SERVERS = ("llm_url", "llm_model", "llm_api_key")
_NOT_FOR_STUBS = (
    *("stt_model", "chat_model", "tts_model", "remote_stages", "voice", "language", "stt_task"),
    *_OF_MODEL_SERVERS,
)
"""What profile ``bench`` does not read."""

Profile = Literal["auto", "embedded", "bench"]


class Settings(
    AssistantSettings,
    ClusterSettings,
    RemoteSettings,
    GrpcSettings,
    LiteRtSettings,
    TrackingSettings,
    LoadSettings,
    NetworkSettings,
    Clashing,
    BaseSettings,
):
    """Validated settings of ``visavis serve``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on; ``0.0.0.0`` is every one of IPv4, ``::`` every one of both families. Anything but loopback
    needs an API key."""
    port: int = Field(8080, ge=0, le=65535)
    """TCP port; 0 takes a free one."""
    profile: Profile = "auto"
    """``auto``: the best engines present. ``embedded``: only those that need no server and no large model, unless
    another setting asks for one. ``bench``: instant stubs and a tone, to measure the media path."""
    api_key: SecretStr | None = None
    """When set, every endpoint but the page, ``/healthz`` and ``/readyz`` needs it as a bearer token."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Web pages from other origins that may use the API, such as ``https://app.example.org``; ``*`` for all. Those that
    are named may also show the server's own page in a frame."""
    public_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins under which the server's own page is reached, such as ``https://assistant.example.org``, when a reverse
    proxy stands in front. Without an API key only requests for these and for loopback names are served."""
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    """Addresses or networks of reverse proxies whose X-Forwarded-For, -Proto and -Host, or Forwarded, are believed."""
    request_timeout: float = Field(20.0, gt=0)
    """Seconds that the head of a request may take to arrive, as many its body, and a client to take of its answer."""
    idle_timeout: float = Field(60.0, gt=0)
    """Seconds after which a connection without a request is closed."""
    max_connections: int = Field(1024, ge=1)
    """HTTP connections at a time; one more is answered 503. Calls need none once they are connected."""
    max_connections_per_address: int = Field(256, ge=1)
    """The same for one IPv4 address or one IPv6 /64, which may be a whole house or office; one more is answered 429."""
    rate_limit_per_address: float | None = Field(None, ge=0)
    """Requests a minute of one IPv4 address or one IPv6 /64; 0: any number. Default: 600, and any on loopback."""
    rate_limit_per_key: float = Field(0.0, ge=0)
    """The same for the server's key and for each client secret; 0: any number."""
    rate_limit_burst: int = Field(120, ge=1)
    """How many of these may come at once."""
    tls_cert: NamedPath | None = None
    """File with the certificate (PEM, and those that vouch for it) that HTTPS is served with; needs ``tls_key``."""
    tls_key: NamedPath | None = None
    """File with its private key (PEM, not encrypted)."""
    tls_self_signed: bool = False
    """Serve HTTPS with a certificate made here, which browsers warn of; it is kept in ``cache``."""
    pipeline: NamedPath = SHIPPED / "voice-assistant.yaml"
    """The definition the live conversation runs."""
    pipelines: NamedPath | None = None
    """A folder with further definitions (``*.yaml``), which are read again when they change."""
    tools: NamedPath | None = None
    """A YAML file with tools that the server runs itself, beside those of the definition."""
    assistant_tools: Annotated[tuple[AssistantToolName, ...], NoDecode] = ASSISTANT_TOOLS
    """What the assistant may do by itself, where a model for it is here; empty: nothing."""
    tool_secrets: dict[str, SecretStr] = {}
    """What stands for ``${NAME}`` in the headers and variables of tools."""
    wyoming_port: int | None = Field(None, ge=0, le=65535)
    """TCP port on which the engines speak Wyoming, for Home Assistant; 0 takes a free one. Default: none."""
    wyoming_host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on for it. The protocol knows no key: whoever reaches the port may use the engines."""

    workers: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = 1
    """Processes that share the sessions, each with an event loop and engines of its own; ``auto``: as many as the
    processors and the memory of this machine allow."""
    drain_seconds: float = Field(30.0, gt=0)
    """Seconds that sessions get to go on in another worker before theirs is restarted, or in another node."""
    worker_memory_mb: int | None = Field(None, ge=256)
    """Megabytes that one of several workers may take for itself; one that takes more is replaced as by a restart, so
    that nobody loses a conversation. Measured on Linux. Default: no limit."""
    max_sessions: int = Field(64, ge=1)
    """Of all workers together; one more is answered 503."""
    max_viewers: int = Field(4, ge=1)
    """Of one session (WHEP); one more is answered 503. Each costs the encoding of the video once more."""
    pipeline_runs: int = Field(2 * (os.cpu_count() or 2), ge=1)
    """Runs of pipelines over HTTP that go on at a time."""
    pipeline_queue: int = Field(128, ge=0)
    """Requests for runs that may wait for that, the urgent ones first; one more is answered 503."""
    pipeline_body_mb: int = Field(256, ge=1)
    """Megabytes of the body of such a request; what is streamed is never held whole."""
    connect_timeout: float = Field(30.0, gt=0)
    """Seconds after which an offer that never connects is dropped."""
    peer_timeout: float = Field(6.0, gt=0)
    """Seconds without a packet after which a peer counts as gone."""
    shutdown_timeout: float = Field(4.0, gt=0)
    """Seconds that sessions get to end when the server is told to stop."""

    bench_tone_seconds: float = Field(3.0, gt=0, le=60)
    """Length of the tone of ``--profile bench``."""
    bench_echo: bool = False
    """Send every peer's audio straight back instead of conversing; only with ``--profile bench``."""
    llm_url: str | None = None
    """Base URL of an OpenAI-compatible server, such as ``http://127.0.0.1:8000/v1``. Default: Ollama's usual port."""
    llm_model: str | None = Field(None, min_length=1)
    """Model to ask for; default: the first the server lists."""
    llm_api_key: SecretStr | None = None
    """Key for that server."""
    tell_time: bool = True
    """Whether the language model is told the time and the date of the server with each turn."""
    chat_images: bool | Literal["auto"] = "auto"
    """Whether that server's model takes pictures; ``auto``: as its name tells, until the server refuses one."""
    vision: bool = True
    """Whether camera pictures are looked at."""
    vision_threads: int = Field(max(1, (os.cpu_count() or 2) // 2), ge=1)
    """Threads that look at pictures, shared by all sessions."""
    vision_device: Literal["cpu", "gpu"] = "cpu"
    """Where vision runs; ``gpu``: MediaPipe's OpenGL ES delegate."""
    stt_processes: int = Field(max(1, min(4, os.cpu_count() or 1)), ge=1)
    """Embedded recognisers that may run at a time (about one session speaking each)."""
    phrase_cache_mb: int = Field(32, ge=0)
    """Megabytes of memory, of all workers together, for phrases that were spoken and so need no synthesis; 0: none."""
    device: Literal["auto", "cpu", "cuda", "igpu", "npu"] = "auto"
    """Where models run; ``auto``: on the best device that each library can use here."""
    stt_model: NamedModel = Field("auto", min_length=1)
    """Who listens: ``auto``, an engine that needs no model, a speech-to-text model of the catalogue, or a folder."""
    language: str = ""
    """Code of the language that is spoken, such as ``en``; empty: what the model knows, or detects."""
    stt_task: Literal["transcribe", "translate"] = "transcribe"
    """``translate``: into English, whatever is spoken; needs a Whisper that has learned it."""
    chat_model: NamedModel = Field("auto", min_length=1)
    """Who thinks: ``auto``, an engine of its own name, a model of the catalogue, a folder with one, a GGUF file, or
    ``OWNER/NAME-GGUF[:QUANTISATION]`` on the hub."""
    chat_quantization: Quantization | None = None
    """How a chat model on transformers is quantised when it is loaded; needs torchao or bitsandbytes."""
    chat_adapters: Given = {}
    """LoRA adapters of the chat model: name → folder, GGUF file, or a mix of others (name → share)."""
    chat_adapter: str | None = None
    """The one of them with which conversations are answered; none: the model as it is."""
    chat_adapter_loading: bool = False
    """Whether clients may load and unload adapters that lie in the folder of models or in the store."""
    chat_device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    """How a chat model on transformers that is larger than one GPU is dealt out to several."""
    chat_max_memory: dict[str, str] = {}
    """The most that it takes of each: number of the GPU, or cpu → such as 20GiB."""
    tts_model: NamedModel = Field("auto", min_length=1)
    """Who speaks: ``auto``, an engine that needs no model, or a text-to-speech model of the catalogue."""
    ensembles: NamedPath | None = None
    """A YAML file with models of tasks that are made of others."""
    task_models: Annotated[tuple[str, ...], NoDecode] = ("*",)
    """Models that requests for tasks may choose among those that are here, as ids or patterns such as ``owner/*``;
    empty: none."""
    voice: str | None = Field(None, min_length=1)
    """Voice of new sessions; default: the pipeline's, or the engine's first."""
    memory_mb: int | None = Field(None, ge=LEAST_MODELS_MB)
    """Megabytes for models, of all workers together; the least recently used are unloaded. Default: what there is."""
    unload_minutes: float = Field(0.0, ge=0)
    """Minutes without use after which a model is unloaded (the next turn waits for it); 0 keeps all."""
    download: bool = True
    """Fetch what is missing: models that are asked for before the start; in the background those for turns and vision,
    and with profile ``auto`` better ears, a better voice and a better brain when none is here."""
    model_server: str | None = None
    """Base URL of another visavis to fetch models from before the world outside is asked."""
    model_server_key: SecretStr | None = None
    """Its API key, if it has one."""
    models: NamedPath | None = None
    """A folder with model files, tried before anything is downloaded."""
    cache: NamedPath = Field(Path("~/.cache/visavis"), validate_default=True)
    """Where downloaded models are kept."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator(
        "allowed_origins",
        "public_origins",
        "trusted_proxies",
        "task_models",
        "assistant_tools",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        """In the environment a list is written with commas."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("host", mode="before")
    @classmethod
    def _without_brackets(cls, value: object) -> object:
        """As in a URL, an IPv6 address may stand in brackets."""
        return value[1:-1] if isinstance(value, str) and re.fullmatch(r"\[.*\]", value) else value

    @field_validator("api_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        """An empty variable is not the wish to have no key: whoever sets it believes that the server is closed."""
        if value is None:
            return None
        key = value.get_secret_value()
        if len(key) < LEAST_KEY:
            how = "is empty" if not key else f"has {len(key)} characters"
            raise ValueError(f"{how}; a key has at least {LEAST_KEY} (try `openssl rand -hex 16`), or leave it unset")
        header_value(key)
        return value

    @field_validator("llm_api_key", "model_server_key")
    @classmethod
    def _travels_in_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            header_value(value.get_secret_value())
        return value

    @field_validator("chat_max_memory")
    @classmethod
    def _are_sizes(cls, value: dict[str, str]) -> dict[str, str]:
        if problem := problem_with(value):
            raise ValueError(problem)
        return value

    @field_validator("language")
    @classmethod
    def _is_small(cls, value: str) -> str:
        return value.strip().lower()

    @field_validator("llm_url", "model_server")
    @classmethod
    def _is_base_url(cls, value: str | None) -> str | None:
        return value if value is None else base_url(value)

    @field_validator("public_origins")
    @classmethod
    def _are_pages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if parse_origin(text) is None:
                raise ValueError(f"{text!r} must be a scheme and a host, such as https://assistant.example.org")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if text not in ("*", "null") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", text, re.IGNORECASE):
                raise ValueError(f"{text!r} must be `*`, or a scheme and a host, such as https://app.example.org")
        return value

    @model_validator(mode="after")
    def _have_an_effect(self) -> Settings:
        """Settings that only mean something beside others."""
        if self.bench_echo and self.profile != "bench":
            raise ValueError(f"bench_echo: is for measuring only and needs profile bench, not {self.profile}")
        if "bench_tone_seconds" in self.model_fields_set and self.profile != "bench":
            raise ValueError(f"bench_tone_seconds: needs profile bench, not {self.profile}")
        if "rate_limit_burst" in self.model_fields_set and not (self.requests_per_address or self.rate_limit_per_key):
            raise ValueError("rate_limit_burst: needs rate_limit_per_address or rate_limit_per_key")
        if self.chat_adapters and self.chat_model == "auto":
            raise ValueError("chat_adapters: needs chat_model, the model that they were made for")
        if self.chat_adapter is not None and self.chat_adapter not in self.chat_adapters:
            raise ValueError(f"chat_adapter: {unknown('adapter', self.chat_adapter, tuple(self.chat_adapters))}")
        if self.chat_max_memory and self.chat_device_map is None:
            raise ValueError("chat_max_memory: needs chat_device_map, such as auto")
        if self.reserved_sessions >= self.max_sessions:
            raise ValueError(f"reserved_sessions: legal values are 0 to {self.max_sessions - 1}, below max_sessions")
        if "wyoming_host" in self.model_fields_set and self.wyoming_port is None:
            raise ValueError("wyoming_host: needs wyoming_port, such as 10300")
        if self.model_server_key is not None and self.model_server is None:
            raise ValueError("model_server_key: needs model_server, the server that it is for")
        return self

    @model_validator(mode="after")
    def _one_key(self) -> Settings:
        if self.llm_api_key is not None and "@" in urlsplit(self.llm_url or "").netloc:
            raise ValueError("llm_url: holds a user and a password, and llm_api_key is set too: only one can be sent")
        return self

    @model_validator(mode="after")
    def _one_certificate(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            has, lacks = ("tls_cert", "tls_key") if self.tls_key is None else ("tls_key", "tls_cert")
            raise ValueError(f"{lacks}: is missing beside {has}: HTTPS needs the certificate and its key")
        if self.tls_self_signed and self.tls_cert is not None:
            raise ValueError("tls_self_signed: there is a certificate already (tls_cert); set one of the two")
        return self

    def clashes(self) -> Iterator[Clash]:
        """Settings that are given and have no effect, as another has switched off what they are for."""
        if self.profile == "bench":
            yield from given(self, _NOT_FOR_STUBS, "profile", "profile bench answers with stubs")
        if self.chat_model not in ("auto", "openai"):
            yield from given(self, _OF_MODEL_SERVERS, "chat_model", f"{self.chat_model} thinks (chat_model)")
        if not self.vision:
            yield from given(self, ("vision_device",), "vision", "nothing is looked at (vision is false)")
        if self.workers == 1:
            yield from given(self, ("worker_memory_mb",), "workers", "there is one worker; set workers, such as 2")

    @property
    def serves_tls(self) -> bool:
        """Whether HTTPS is spoken, and nothing else."""
        return self.tls_self_signed or self.tls_cert is not None

    @property
    def requests_per_address(self) -> float:
        """Requests a minute that an address may send; 0: any number."""
        if self.rate_limit_per_address is not None:
            return self.rate_limit_per_address
        return 0.0 if self.on_loopback else REQUESTS_OFF_LOOPBACK

    @property
    def model_cache(self) -> Path:
        """Folder of the model store."""
        return self.cache.expanduser() / "models"


def load_settings(flags: dict[str, Any], config: Path | None = None, *, serves: bool = True) -> Settings:
    """Merge the sources. ``flags`` holds only what was given; ``serves``: whether a server is started with them, which
    then must be :attr:`~Settings.unsafe` in no way and have no :meth:`~Settings.clashes`. Those of two sources are
    settled. Raises :class:`SettingsError`."""
    from_file = read_file(config) if config is not None else {}
    names = Settings.model_fields
    check_environment(os.environ, names)
    sourced = reading(Settings, from_file)
    explainer = Explainer(names, flags, os.environ, config)
    try:
        settings: Settings = sourced(**flags)
    except ValidationError as error:
        raise SettingsError(explainer.problems(error.errors(include_url=False))) from error
    except UnreadableError as error:
        raise SettingsError(explainer.unreadable(error)) from error
    settings, passed_over = settled(settings, Origins(flags, os.environ, from_file))
    if serves:
        for words in passed_over:
            log.warning("%s", words)
        if problem := settings.unsafe or next(map(str, settings.clashes()), None):
            raise SettingsError(problem)
    return settings
