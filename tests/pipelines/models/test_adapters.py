"""Adapters as files: what is read, what is refused and why, and from where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.errors import ModelError
from pipelines.models.weights.adapters import (
    MOST_ADAPTERS,
    Adapter,
    Adapters,
    check_scales,
    inside,
    of_settings,
    read_adapter,
)

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}


def folder(place: Path, **config: object) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "adapter_config.json").write_text(json.dumps({**PLAIN, **config}), "utf-8")
    (place / "adapter_model.safetensors").write_bytes(b"")
    return place


def test_a_folder_and_a_file(tmp_path: Path) -> None:
    found = read_adapter("calm", folder(tmp_path / "calm", base_model_name_or_path="org/base"))
    assert (found.kind, found.base) == ("peft", "org/base")
    (tmp_path / "a.gguf").write_bytes(b"GGUF\0")
    assert read_adapter("a", tmp_path / "a.gguf").kind == "gguf"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "LOHA"}, "peft_type"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"r": 0}, "r (1 to 1024)"),
        ({"r": "4"}, "r (1 to 1024)"),
        ({"lora_alpha": None}, "lora_alpha"),
    ],
)
def test_what_would_be_left_out_is_refused_by_name(tmp_path: Path, config: dict[str, object], field: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_adapter("x", folder(tmp_path / "x", **config))
    assert field in caught.value.message
    assert caught.value.code in ("adapter_unsupported", "adapter_broken")


def test_what_is_no_adapter(tmp_path: Path) -> None:
    for name in ("", "a/b", "../x", "a" * 65, "ä"):
        with pytest.raises(ModelError, match="cannot be called"):
            read_adapter(name, tmp_path)
    with pytest.raises(ModelError, match="no folder or GGUF file"):
        read_adapter("x", tmp_path / "nothing")
    with pytest.raises(ModelError, match="adapter_config"):
        read_adapter("x", tmp_path)
    pickled = folder(tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(ModelError, match="could run code"):
        read_adapter("x", pickled)
    (tmp_path / "x.gguf").write_bytes(b"PK\3\4")
    with pytest.raises(ModelError, match="no GGUF file"):
        read_adapter("x", tmp_path / "x.gguf")
    (folder(tmp_path / "list") / "adapter_config.json").write_text("[" * 100_000, "utf-8")
    with pytest.raises(ModelError, match="no JSON object"):
        read_adapter("x", tmp_path / "list")


def test_only_what_lies_in_the_folders_links_followed(tmp_path: Path) -> None:
    models, secret = tmp_path / "models", tmp_path / "secret"
    folder(models / "calm")
    folder(secret)
    (models / "out").symlink_to(secret)
    (models / "in").symlink_to(models / "calm")
    assert inside("calm", [tmp_path / "none", models]) == models / "calm"
    assert inside(str(models / "calm"), [models]) == models / "calm"
    assert inside("in", [models]) == models / "calm"
    for outside in ("../secret", str(secret), "calm/../../secret", "/etc"):
        with pytest.raises(ModelError) as caught:
            inside(outside, [models])
        assert caught.value.code == "adapter_outside"
    for missing in ("out", "nothing", "a\0b"):
        with pytest.raises(ModelError) as caught:
            inside(missing, [models])
        assert caught.value.code == "adapter_missing"


def test_names_mixes_and_their_parts(tmp_path: Path) -> None:
    known = Adapters()
    known.add(Adapter("a", tmp_path, "peft"))
    known.add(Adapter("b", tmp_path, "peft"))
    known.add(Adapter("g", tmp_path / "g", "gguf"))
    known.add(Adapter("h", tmp_path / "h", "gguf"))
    known.mix("ab", {"a": 0.5, "b": 2.0})
    known.mix("gh", {"h": 0.25, "g": 1.0})
    assert known.names("peft") == ("a", "b", "ab")
    assert known.numbered(1) == {"g": ((1, 1.0),), "h": ((2, 1.0),), "gh": ((2, 0.25), (1, 1.0))}
    parts = known.parts((("ab", 2.0), ("a", 1.0), ("b", -4.0)))
    assert [(adapter.name, scale) for adapter, scale in parts] == [("a", 2.0)]  # those that cancel out are left out
    for name, shares in (("mixed", {"a": 1.0, "g": 1.0}), ("x", {"nobody": 1.0}), ("x", {}), ("x", {"a": 99.0})):
        with pytest.raises(ModelError):
            known.mix(name, shares)
    for taken in ("a", "ab"):
        with pytest.raises(ModelError, match="already"):
            known.add(Adapter(taken, tmp_path, "peft"))
    with pytest.raises(ModelError, match="when it starts"):
        known.remove("h") if known.remove("gh") is None else None
    with pytest.raises(ModelError, match="adapter"):
        known.remove("nobody")
    keys = {adapter.key for adapter in known.known()}
    assert len(keys) == 4
    for n in range(MOST_ADAPTERS - 5):
        known.add(Adapter(f"n{n}", tmp_path, "peft"))
    with pytest.raises(ModelError, match="unload one"):
        known.add(Adapter("last", tmp_path, "peft"))


def test_scales_are_small_numbers() -> None:
    check_scales((("a", -1.0),), "x")
    for bad in (float("nan"), float("inf"), 5.0):
        with pytest.raises(ModelError, match="legal: -4 to 4"):
            check_scales((("a", bad),), "x")


def test_the_setting_reads_adapters_before_mixes(tmp_path: Path) -> None:
    known = of_settings({"both": {"a": 0.5, "b": 0.5}, "a": folder(tmp_path / "a"), "b": folder(tmp_path / "b")})
    assert known.names("peft") == ("a", "b", "both")
