"""The chart, rendered by helm for each way of reaching UDP; skipped where there is no helm. Nothing is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import load_settings

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "visavis"
BASE = {"apiKey": "0123456789"}
CLUSTER = {"enabled": True, "redisUrl": "redis://:p@redis:6379/0", "secret": "0123456789abcdef"}
TURN = {"enabled": True, "secret": "north", "urls": ["turn:turn.example.org:3478?transport=udp"]}

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")


def helm(values: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump({**BASE, **values}))
    command = ["helm", "template", "assistant", str(CHART), "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(values: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Kind → the document; of several of a kind the last."""
    done = helm(values, folder)
    assert done.returncode == 0, done.stderr
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout) if document}


def pod(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def environment(document: dict[str, Any]) -> dict[str, Any]:
    listed = pod(document)["containers"][0]["env"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in listed}


def test_as_it_comes_a_pod_has_the_network_of_its_node(tmp_path: Path):
    made = rendered({"ingress": {"enabled": True}}, tmp_path)
    assert made.keys() == {"Deployment", "Service", "Ingress", "Secret", "PersistentVolumeClaim"}
    spec = pod(made["Deployment"])
    assert spec["hostNetwork"] is True
    assert "sysctls" not in spec["securityContext"]
    assert "VISAVIS_EXTERNAL_ADDRESS" not in environment(made["Deployment"])


def test_lists_and_maps_among_the_settings_are_written_as_the_server_reads_them(tmp_path: Path, monkeypatch: Any):
    settings = {
        "trusted_proxies": ["10.0.0.0/8", "fd00::/8"],
        "ice_servers": [{"urls": ["turn:turn.example.org"], "username": "u", "credential": "<c>"}],
        "tool_secrets": {"TOKEN": "t"},
        "assistant_tools": [],
        "max_sessions": 2_000_000,
        "vision": False,
        "greeting": " Hello, you.",
    }
    given = environment(rendered({"settings": settings}, tmp_path)["Deployment"])
    for name in settings:
        monkeypatch.setenv(f"VISAVIS_{name.upper()}", given[f"VISAVIS_{name.upper()}"])
    loaded = load_settings({})
    assert [str(one) for one in loaded.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
    assert loaded.ice_servers[0].urls == ("turn:turn.example.org",)
    assert loaded.tool_secrets["TOKEN"].get_secret_value() == "t"
    assert (loaded.assistant_tools, loaded.max_sessions, loaded.vision) == ((), 2_000_000, False)
    assert loaded.greeting == " Hello, you."


def test_by_its_own_network_each_port_is_one_of_the_node(tmp_path: Path):
    values = {"media": {"reach": "pod"}, "settings": {"ice_port_range": "50000-50003", "max_sessions": 4}}
    deployment = rendered(values, tmp_path)["Deployment"]
    spec = pod(deployment)
    assert spec["hostNetwork"] is False
    assert spec["securityContext"]["sysctls"] == [{"name": "net.ipv4.ip_local_port_range", "value": "50000 50003"}]
    ports = [one["hostPort"] for one in spec["containers"][0]["ports"] if one.get("protocol") == "UDP"]
    assert ports == [50000, 50001, 50002, 50003]
    given = environment(deployment)
    assert given["VISAVIS_EXTERNAL_ADDRESS"] == {"fieldRef": {"fieldPath": "status.hostIP"}}
    assert given["VISAVIS_ICE_PORT_RANGE"] == "50000-50003"
    named = rendered({**values, "media": {"reach": "pod", "externalAddress": "203.0.113.7"}}, tmp_path)
    assert environment(named["Deployment"])["VISAVIS_EXTERNAL_ADDRESS"] == "203.0.113.7"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_a_coturn_beside_shares_the_secret_with_the_server(tmp_path: Path, kind: str):
    coturn = {"enabled": True, "tlsSecret": "turn-tls", "denied": ["10.0.0.0-10.255.255.255"]}
    made = helm({"kind": kind, "turn": {**TURN, "coturn": coturn}}, tmp_path)
    documents = [one for one in yaml.safe_load_all(made.stdout) if one]
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    relay, server = by_name["DaemonSet", "assistant-coturn"], by_name[kind, "assistant"]
    words = pod(relay)["containers"][0]["args"][0].split()
    assert '--static-auth-secret="$SECRET"' in words
    assert {"--use-auth-secret", "--cert=/tls/tls.crt", "--denied-peer-ip=10.0.0.0-10.255.255.255"} <= set(words)
    assert "--no-tls" not in words
    named = {volume["name"]: volume for volume in pod(server)["volumes"]}
    assert named["turn"]["secret"]["secretName"] == "assistant-turn"
    assert by_name["Secret", "assistant-turn"]["stringData"]["secret"] == "north"
    file = tmp_path / "secret"
    file.write_text("north")
    servers = json.loads(environment(server)["VISAVIS_ICE_SERVERS"].replace("/secrets/turn/secret", str(file)))
    (one,) = load_settings({"ice_servers": servers}).ice_servers
    assert (one.urls, one.used_by, one.ttl) == (tuple(TURN["urls"]), "clients", 600)  # type: ignore[arg-type]
    if kind == "StatefulSet":
        assert server["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
    else:
        assert named["data"] == {"name": "data", "emptyDir": {}}


def test_stunner_leads_to_the_pods_of_the_service(tmp_path: Path):
    made = rendered({"media": {"reach": "relay"}, "turn": {**TURN, "stunner": {"enabled": True}}}, tmp_path)
    assert {"GatewayClass", "GatewayConfig", "Gateway", "UDPRoute"} <= made.keys()
    assert pod(made["Deployment"])["hostNetwork"] is False
    gateway, route = made["Gateway"], made["UDPRoute"]
    assert gateway["spec"]["gatewayClassName"] == made["GatewayClass"]["metadata"]["name"]
    assert made["GatewayClass"]["spec"]["parametersRef"]["name"] == made["GatewayConfig"]["metadata"]["name"]
    assert route["spec"]["parentRefs"][0]["name"] == gateway["metadata"]["name"]
    assert route["spec"]["rules"][0]["backendRefs"][0]["name"] == made["Service"]["metadata"]["name"]
    assert gateway["spec"]["listeners"] == [{"name": "udp", "port": 3478, "protocol": "TURN-UDP"}]


def test_it_grows_by_calls_and_drains_before_a_pod_goes(tmp_path: Path):
    made = rendered({"kind": "StatefulSet", "autoscaling": {"enabled": True}, "drainSeconds": 60}, tmp_path)
    scaler, server = made["HorizontalPodAutoscaler"], made["StatefulSet"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "visavis_sessions"
    assert scaler["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    assert "replicas" not in server["spec"], "it is the autoscaler's"
    assert pod(server)["terminationGracePeriodSeconds"] == 75
    hook = pod(server)["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook == ["python", "/usr/local/lib/visavis/drain.py", "60"]


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_the_pods_of_a_cluster_are_nodes_with_names_and_addresses_of_their_own(tmp_path: Path, kind: str):
    made = helm({"kind": kind, "cluster": CLUSTER}, tmp_path)
    documents = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(made.stdout) if one}
    given = environment(documents[kind, "assistant"])
    assert given["VISAVIS_NODE_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    names = list(given)
    assert names.index("POD_IP") < names.index("VISAVIS_NODE_ADDRESS"), "what it names must have been told before"
    assert (given["POD_IP"], given["VISAVIS_NODE_ADDRESS"]) == (
        {"fieldRef": {"fieldPath": "status.podIP"}},
        "http://$(POD_IP):8080",
    )
    kept = documents["Secret", "assistant-cluster"]["stringData"]
    for name in ("VISAVIS_CLUSTER_URL", "VISAVIS_CLUSTER_SECRET"):
        reference = given[name]["secretKeyRef"]
        assert reference["name"] == "assistant-cluster"
        given[name] = kept[reference["key"]]
    filled = {name: given[name] for name in ("VISAVIS_CLUSTER_URL", "VISAVIS_CLUSTER_SECRET", "VISAVIS_NODE_ADDRESS")}
    settings = {name.removeprefix("VISAVIS_").lower(): value for name, value in filled.items()}
    address = settings["node_address"].replace("$(POD_IP)", "10.0.0.7")
    loaded = load_settings({**settings, "node_address": address, "node_name": "assistant-0"})
    assert (loaded.node, loaded.node_address) == ("assistant-0", "http://10.0.0.7:8080")


def test_a_cluster_may_have_its_secret_and_its_addresses_from_elsewhere(tmp_path: Path):
    there = {"enabled": True, "existingSecret": "mine"}
    settings = {"node_address": "https://[$(POD_IP)]:8080"}
    made = rendered({"kind": "StatefulSet", "cluster": there, "settings": settings, "existingSecret": "key"}, tmp_path)
    assert "Secret" not in made
    given = environment(made["StatefulSet"])
    assert given["VISAVIS_CLUSTER_URL"] == {"secretKeyRef": {"name": "mine", "key": "redis-url"}}
    assert given["VISAVIS_NODE_ADDRESS"] == "https://[$(POD_IP)]:8080"
    assert not {"POD_IP", "VISAVIS_NODE_NAME"} & environment(rendered({}, tmp_path)["Deployment"]).keys()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cluster": CLUSTER}, "legal kinds are StatefulSet and DaemonSet"),
        ({"kind": "StatefulSet", "cluster": {**CLUSTER, "secret": ""}}, "give cluster.secret"),
        ({"kind": "StatefulSet", "cluster": {**CLUSTER, "redisUrl": ""}}, "give cluster.redisUrl"),
        (
            {"kind": "DaemonSet", "cluster": CLUSTER, "settings": {"node_name": "a"}},
            "settings.node_name: cluster.enabled",
        ),
        ({"kind": "DaemonSet", "autoscaling": {"enabled": True}}, "legal kinds are Deployment and StatefulSet"),
        ({"turn": {**TURN, "urls": []}}, "turn.urls: name the addresses"),
        ({"turn": {**TURN, "secret": ""}}, "give turn.secret"),
        ({"turn": TURN, "settings": {"ice_servers": "[]"}}, "settings.ice_servers names servers, too"),
        ({"media": {"reach": "pod"}, "settings": {"ice_port_range": ""}}, "needs a range of ports"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, values: dict[str, Any], said: str):
    done = helm(values, tmp_path)
    assert done.returncode
    assert said in done.stderr
