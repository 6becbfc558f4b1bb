"""What is said of files that are wrong: the file, the line, the field and the legal values."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.definitions import loading
from pipelines.definitions.loading import parse
from pipelines.errors import DefinitionError
from pipelines.routing.definition import Definition, load, load_part

HEAD = """\
pipelines:
  - id: p
    stages:
"""
"""Three lines: the stages that follow begin in the fourth."""
LISTEN = "      - {id: listen, type: audio_to_text}\n"
FIELDS = "description, forwarding_policy, id, inputs, model, name, options, preferred_hardware, type"
POLICY = (
    "enable_confidence_check, enable_latency_check, enable_thermal_check, escalation_path, max_latency_ms, "
    "max_retries, max_temperature, min_confidence"
)
TYPES = (
    "'audio_to_text', 'text_to_audio', 'audio_enhance', 'audio_translate', 'text_generation', 'embedding', "
    "'image_to_text', 'text_to_image', 'image_edit', 'image_enhance', 'video_to_text', 'text_to_video', "
    "'video_analysis' or 'video_summary'"
)


def stage(words: str) -> str:
    """A file with one stage that has these words too; it stands in line 4."""
    return f"{HEAD}      - {{id: listen, type: audio_to_text, {words}}}\n"


def policy(words: str) -> str:
    return stage(f"forwarding_policy: {{{words}}}")


def backend(words: str) -> str:
    """A file with one backend, in line 6."""
    return f"{HEAD}{LISTEN}backends:\n  - {{{words}}}\n"


def said(text: str, tmp_path: Path) -> str:
    """What is said of a file with this text, without its path."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DefinitionError) as raised:
        load(path)
    assert raised.value.message.startswith(f"{path}: ")
    return raised.value.message.removeprefix(f"{path}: ")


S0 = "line 4: pipelines.0.stages.0"
POLICY0 = f"{S0}.forwarding_policy"
B0 = "line 6: backends.0"

MISTAKES = {
    "unknown word": (
        stage("modle: x"),
        f"{S0}.modle: there is no field 'modle'; did you mean model? Legal values are {FIELDS}",
    ),
    "unknown word, like none": (stage("q: x"), f"{S0}.q: there is no field 'q'; legal values are {FIELDS}"),
    "unknown word of the policy": (
        policy("min_confidense: 1"),
        f"{POLICY0}.min_confidense: there is no field 'min_confidense'; did you mean min_confidence? "
        f"Legal values are {POLICY}",
    ),
    "unknown word of the file": (
        HEAD + LISTEN + "pipeline: x\n",
        "line 5: pipeline: there is no field 'pipeline'; did you mean pipelines? Legal values are backend_map, "
        "backends, model_map, pipelines, tools",
    ),
    "unknown option": (
        HEAD + "      - {id: a, type: text_to_audio, options: {sped: 1}}\n",
        f"{S0}.options.sped: there is no field 'sped'; did you mean speed? Legal values are language, speed, voice",
    ),
    "unknown stage type": (
        HEAD + "      - {id: a, type: audio_to_tex}\n",
        f"{S0}.type: must be {TYPES}, not 'audio_to_tex'; did you mean audio_to_text?",
    ),
    "unknown hardware": (
        stage("preferred_hardware: tpu"),
        f"{S0}.preferred_hardware: must be 'auto', 'cpu', 'gpu', 'cuda', 'igpu', 'npu' or 'remote', not 'tpu'",
    ),
    "hardware of a backend": (
        backend("id: b, hardware: gpu"),
        f"{B0}.hardware: must be 'cpu', 'cuda', 'igpu', 'npu' or 'remote', not 'gpu'; did you mean igpu?",
    ),
    "unknown kind": (
        backend("id: b, kind: olama"),
        f"{B0}.kind: must be 'local', 'openai', 'visavis' or 'ray', not 'olama'",
    ),
    "unknown capability": (
        backend("id: b, capabilities: {text_generaton: true}"),
        f"{B0}.capabilities.text_generaton: must be {TYPES}, not 'text_generaton'; did you mean text_generation?",
    ),
    "missing id": (HEAD + "      - {type: embedding}\n", f"{S0}.id: is missing"),
    "missing stages": ("pipelines:\n  - id: p\n", "line 2: pipelines.0.stages: is missing"),
    "no stages": (
        "pipelines:\n  - id: p\n    stages: []\n",
        "line 3: pipelines.0.stages: must have at least 1 item, not 0",
    ),
    "no pipelines": ("pipelines: []\n", "line 1: pipelines: must name at least one pipeline"),
    "text for a number": (policy("max_retries: many"), f"{POLICY0}.max_retries: must be a whole number, not 'many'"),
    "a number in quotes": (policy('max_retries: "3"'), f"{POLICY0}.max_retries: must be a whole number, not '3'"),
    "true for a number": (policy("max_latency_ms: true"), f"{POLICY0}.max_latency_ms: must be a number, not true"),
    "text for a switch": (
        policy('enable_thermal_check: "on"'),
        f"{POLICY0}.enable_thermal_check: must be true or false, not 'on'",
    ),
    "a number for a switch": (
        HEAD + LISTEN + "    options: {parallel_stages: 1}\n",
        "line 5: pipelines.0.options.parallel_stages: must be true or false, not 1",
    ),
    "a number for a text": (stage("model: 3.5"), f"{S0}.model: must be a valid string, not 3.5"),
    "a list for a mapping": (stage("options: [1]"), f"{S0}.options: must be a mapping"),
    "a text for a list": (
        policy("escalation_path: cpu"),
        f"{POLICY0}.escalation_path: must be a list, not 'cpu'",
    ),
    "a stage that is a word": (HEAD + "      - listen\n", f"{S0}: must be a mapping, not 'listen'"),
    "too small": (policy("max_retries: -1"), f"{POLICY0}.max_retries: must be greater than or equal to 0, not -1"),
    "too large": (
        policy("enable_confidence_check: true, min_confidence: 80"),
        f"{POLICY0}.min_confidence: must be less than or equal to 1, not 80",
    ),
    "not a number": (
        policy("enable_latency_check: true, max_latency_ms: .nan"),
        f"{POLICY0}.max_latency_ms: must be a finite number, not nan",
    ),
    "hotter than anything": (
        policy("enable_thermal_check: true, max_temperature: 300"),
        f"{POLICY0}.max_temperature: must be less than or equal to 150, not 300",
    ),
    "confidence check without a limit": (
        policy("enable_confidence_check: true"),
        f"{POLICY0}.enable_confidence_check: needs min_confidence above 0, such as 0.6",
    ),
    "latency check without a limit": (
        policy("enable_latency_check: true"),
        f"{POLICY0}.enable_latency_check: needs max_latency_ms above 0, such as 300",
    ),
    "thermal check without a limit": (
        policy("enable_thermal_check: true"),
        f"{POLICY0}.enable_thermal_check: needs max_temperature above 0, such as 85",
    ),
    "a limit without its check": (
        policy("max_latency_ms: 300"),
        f"{POLICY0}.max_latency_ms: has no effect without enable_latency_check: true",
    ),
    "a confidence that nobody tells": (
        HEAD + "      - id: a\n        type: text_to_audio\n        forwarding_policy:\n"
        "          min_confidence: 0.5\n          enable_confidence_check: true\n",
        "line 8: pipelines.0.stages.0.forwarding_policy.enable_confidence_check: has no effect: nobody tells how sure "
        "a result of text_to_audio is; legal with audio_to_text, audio_translate, text_generation, video_to_text, "
        "video_summary",
    ),
    "a path that comes back": (
        policy("escalation_path: [cpu, npu, cpu]"),
        f"{POLICY0}.escalation_path.2: cpu is named twice",
    ),
    "a path to nowhere": (
        policy("escalation_path: [cpuu]"),
        f"{POLICY0}.escalation_path.0: there is no backend 'cpuu'; did you mean cpu? Legal values are cpu, cuda, gpu, "
        "igpu, npu, ollama",
    ),
    "a path to who cannot": (
        policy("escalation_path: [ollama]"),
        f"{POLICY0}.escalation_path.0: ollama cannot do audio_to_text: its capabilities are text_generation, "
        "video_summary",
    ),
    "a stage twice": (
        HEAD + LISTEN + LISTEN,
        "line 5: pipelines.0.stages.1.id: stage ids must be unique; listen is there already",
    ),
    "a pipeline twice": (
        HEAD + LISTEN + (HEAD + LISTEN).removeprefix("pipelines:\n"),
        "line 5: pipelines.1.id: ids of pipelines must be unique; p is there already",
    ),
    "a backend twice": (
        backend("id: b") + "  - {id: b}\n",
        "line 7: backends.1.id: ids of backends must be unique; b is there already",
    ),
    "a key twice": (stage("model: a, model: b"), "line 4: the key 'model' is there already"),
    "an id with a space": (
        HEAD + "      - {id: my ears, type: audio_to_text}\n",
        f"{S0}.id: must be up to 64 letters, digits and . _ -, the first a letter or digit, not 'my ears'",
    ),
    "a stage called input": (
        HEAD + "      - {id: input, type: audio_to_text}\n",
        f"{S0}.id: input is what the pipeline is given; call the stage something else",
    ),
    "a backend called absent": (
        backend("id: absent"),
        f"{B0}.id: absent has a meaning of its own; call the backend something else",
    ),
    "inputs that are not there": (
        stage("inputs: [inptu]"),
        f"{S0}.inputs.0: there is no stage 'inptu'; did you mean input? Legal values are input",
    ),
    "inputs that are oneself": (stage("inputs: [listen]"), f"{S0}.inputs.0: stage listen cannot take its own output"),
    "a cycle": (
        HEAD + "      - {id: a, type: audio_enhance, inputs: [b]}\n      - {id: b, type: audio_enhance}\n",
        "line 4: pipelines.0.stages.0.inputs: stages wait for each other: b → a → b",
    ),
    "what does not fit": (
        HEAD + "      - {id: watch, type: video_analysis}\n      - {id: speak, type: text_to_audio, inputs: [watch]}\n",
        "line 5: pipelines.0.stages.1.inputs: stage speak: text_to_audio takes text; stage watch gives data",
    ),
    "an address without a scheme": (
        backend("id: b, kind: openai, base_url: 'localhost:1234'"),
        f"{B0}.base_url: 'localhost:1234' is no address: it must be http://HOST[:PORT][/PATH] or the same with https",
    ),
    "no address": (backend("id: b, kind: openai"), f"{B0}.kind: base_url is required for a backend of kind openai"),
    "an address without a kind": (
        backend("id: b, base_url: 'http://a/v1'"),
        f"{B0}.base_url: is for kind openai or visavis; name one of them",
    ),
    "a key in place of its name": (
        backend("id: b, kind: openai, base_url: 'http://a/v1', api_key_env: sk-123"),
        f"{B0}.api_key_env: must be the name of an environment variable (not the key itself)",
    ),
    "the processor elsewhere": (
        backend("id: cpu, kind: openai, base_url: 'http://a/v1'"),
        f"{B0}.kind: cpu is this machine's own; call the server something else",
    ),
    "the processor as something else": (
        backend("id: cpu, hardware: npu"),
        f"{B0}.hardware: cpu is the backend on cpu, not npu",
    ),
    "remote without an address": (
        backend("id: b, hardware: remote"),
        f"{B0}.hardware: remote is for kind openai or visavis, with a base_url",
    ),
    "a map of what is no name": (
        HEAD + LISTEN + "backend_map: {cpu: absent}\n",
        "line 5: backend_map.cpu: is no name that can be mapped: it means what it says",
    ),
    "a map to nowhere": (
        HEAD + LISTEN + "backend_map: {mine: cpuu}\n",
        "line 5: backend_map.mine: there is no backend 'cpuu'; did you mean cpu? Legal values are absent, cpu, cuda, "
        "gpu, "
        "igpu, npu, ollama",
    ),
    "a map that comes back": (
        HEAD + LISTEN + "backend_map:\n  a: b\n  b: a\n",
        "line 6: backend_map.a: leads from a back to itself; line 7: backend_map.b: leads from b back to itself",
    ),
    "a map to a list": (
        HEAD + LISTEN + "backend_map: {a: [cpu]}\n",
        "line 5: backend_map.a: must be the id of a backend, absent, or what it is, such as {kind: openai, base_url: "
        "http://HOST/v1}",
    ),
    "a map to half an address": (
        HEAD + LISTEN + "backend_map:\n  a:\n    kind: openai\n    base_ulr: x\n",
        "line 8: backend_map.a.base_ulr: there is no field 'base_ulr'; did you mean base_url? Legal values are "
        "api_key_env, base_url, capabilities, energy, hardware, kind, models, priority",
    ),
    "models that are no text": (
        HEAD + LISTEN + "model_map: {a: 1}\n",
        "line 5: model_map.a: must be a valid string, not 1",
    ),
    "five of many": (
        HEAD + "".join(f"      - {{id: s{n}, type: audio_to_text, x: 1}}\n" for n in range(9)),
        "; ".join(
            f"line {n + 4}: pipelines.0.stages.{n}.x: there is no field 'x'; legal values are {FIELDS}"
            for n in range(5)
        ),
    ),
    "of one stage, all": (
        HEAD
        + "      - id: a\n        type: text_to_audio\n        q: 1\n        model: 3\n        options: {speed: 9}\n",
        f"line 6: pipelines.0.stages.0.q: there is no field 'q'; legal values are {FIELDS}; "
        "line 7: pipelines.0.stages.0.model: must be a valid string, not 3; "
        "line 8: pipelines.0.stages.0.options.speed: must be less than or equal to 4, not 9",
    ),
    "broken YAML": ("pipelines: [\n", "line 2: expected the node content, but found '<stream end>'"),
    "a tab": ("pipelines:\n\t- id: p\n", "line 2: found character '\\t' that cannot start any token"),
    "two documents": ("a: 1\n---\nb: 1\n", "line 2: but found another document"),
    "an alias of nothing": ("pipelines: *there\n", "line 1: found undefined alias 'there'"),
    "a foreign tag": (
        HEAD + LISTEN + "tools: !!python/object:os.system []\n",
        "line 5: the tag tag:yaml.org,2002:python/object:os.system is not taken",
    ),
    "a foreign tag of a word": (
        stage("model: !!python/name:os.system x"),
        "line 4: the tag python/name:os.system is not taken",
    ),
    "no number": (stage("model: !!int x"), "line 4: 'x' is no int"),
    "a key that is a list": (HEAD + LISTEN + "? [a]\n: 1\n", "line 5: a key must be a word"),
    "a merge of no mapping": (stage("<<: 1"), "line 4: << takes a mapping, or a list of mappings"),
    "a list": ("- pipelines\n", "line 1: must be a mapping"),
    "a word": ("pipelines\n", "line 1: must be a mapping, not 'pipelines'"),
    "empty": (
        "# nothing\n",
        "is empty; legal values are the fields backend_map, backends, model_map, pipelines, tools",
    ),
    "itself": ("pipelines: &a [*a]\n", "line 1: refers to itself"),
    "billion laughs": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
        "line 5: holds more than 20000 words, each as often as aliases name it",
    ),
    "too deep": ("pipelines: " + "[" * 60 + "]" * 60 + "\n", "line 1: lists and mappings are more than 40 deep"),
    "much too deep": ("[" * 300, "line 1: lists and mappings are more than 40 deep"),
    "deep by aliases": (
        "a0: &a0 x\n" + "".join(f"a{n}: &a{n} {'[' * 30}*a{n - 1}{']' * 30}\n" for n in range(1, 60)),
        "line 3: lists and mappings are more than 40 deep",
    ),
    "a control character": ("pipelines: \x07\n", "line 1: special characters are not allowed"),
    "beyond Unicode": ('pipelines: "\\UFFFFFFFF"\n', "an escape in it is beyond Unicode"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    text, message = MISTAKES[name]
    assert said(text, tmp_path) == message


def test_what_is_a_text_in_no_encoding_or_too_large_or_no_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    for data, message in (
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"a" * (loading.LARGEST + 1), "is larger than 256 KiB"),
    ):
        path.write_bytes(data)
        with pytest.raises(DefinitionError) as raised:
            load(path)
        assert raised.value.message == f"{path}: {message}"
    with pytest.raises(DefinitionError, match="is no file"):
        load(tmp_path)
    with pytest.raises(DefinitionError, match="No such file"):
        load(tmp_path / "gone.yaml")


def test_a_byte_order_mark_a_date_and_merged_mappings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "\ufeffpipelines:\n  - id: p\n    name: 2026-01-02\n    stages:\n"
        "      - &first {id: a, type: audio_enhance, model: one}\n"
        "      - {<<: *first, id: b}\n",
        "utf-8",
    )
    (pipeline,) = load(path).pipelines
    assert pipeline.name == "2026-01-02"
    assert [(stage.id, stage.model) for stage in pipeline.stages] == [("a", "one"), ("b", "one")]


def test_what_is_merged_is_found_where_it_is_written(tmp_path: Path) -> None:
    text = (
        "pipelines:\n  - id: p\n    stages:\n      - &first\n        id: a\n        type: audio_enhance\n"
        "        modle: one\n      - {<<: *first, id: b}\n"
    )
    assert said(text, tmp_path).count("line 7: ") == 2


def test_what_is_long_is_told_in_short(tmp_path: Path) -> None:
    long = "x" * 100_000
    message = said(stage(f"{long}: 1, model: [{long}]") + f"{long}: {long}\n", tmp_path)
    assert len(message) < 2000 + 3 * 100_000  # the field's name stands before what is said of it


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, Path("mine.yaml")).validated(Definition)
    except DefinitionError as error:
        assert error.message.startswith("mine.yaml: ")
        assert error.message.isprintable()


WORDS = st.sampled_from(
    "pipelines backends tools backend_map model_map id type stages inputs model options forwarding_policy capabilities "
    "escalation_path min_confidence enable_confidence_check audio_to_text text_to_audio embedding cpu absent auto "
    "kind openai base_url http://a/v1 function".split()
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=50)
@given(st.dictionaries(WORDS, JUNK, max_size=5) | JUNK)
def test_any_data_is_read_or_refused(data: object) -> None:
    try:
        parse(yaml.safe_dump(data, allow_unicode=True), Path("mine.yaml")).validated(Definition)
    except DefinitionError as error:
        assert error.message.startswith("mine.yaml: ")
        assert error.message.isprintable()


@settings(max_examples=50)
@given(st.data())
def test_a_sound_file_with_one_line_changed_is_read_or_refused(data: st.DataObject) -> None:
    lines = (Path(__file__).parents[3] / "pipelines/definitions/voice-assistant.yaml").read_text("utf-8").splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    cut = data.draw(st.integers(0, len(lines[place])))
    lines[place] = lines[place][:cut] + data.draw(st.text(alphabet="{}[]:,-&*!|>'\"%#@` \tab1", max_size=6))
    try:
        parse("\n".join(lines), Path("mine.yaml")).validated(Definition)
    except DefinitionError as error:
        assert error.message.startswith("mine.yaml: ")


def test_a_part_may_hold_backends_or_maps_alone(tmp_path: Path) -> None:
    path = tmp_path / "backends.yaml"
    path.write_text("backend_map: {mine: cpu}\n")
    definition, _ = load_part(path)
    assert definition.backend_map == {"mine": "cpu"}
    path.write_text("{}\n")
    with pytest.raises(DefinitionError, match="line 1: holds nothing"):
        load_part(path)
