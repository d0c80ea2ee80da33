"""What has to hold of every manifest that the chart can make, whatever the schema of Kubernetes allows."""

import json

import pytest
import yaml

from schemas.topics import TOPICS
from streams.settings import Settings
from tests.deploy.conftest import CHART, VALUES

WORKLOADS = {"Deployment", "Job"}


def labels(item):
    return item["metadata"]["labels"]


def named(manifests, kind):
    """Those of a kind, by name."""
    return {item["metadata"]["name"]: item for item in manifests if item["kind"] == kind}


def selects(selector, pod_labels):
    """Whether a selector of labels alone selects a pod."""
    return selector["matchLabels"].items() <= pod_labels.items()


@pytest.fixture(params=VALUES)
def manifests(request, rendered):
    """Those of one example."""
    return rendered(request.param)


@pytest.fixture
def workloads(manifests):
    """Deployments and Jobs."""
    return [item for item in manifests if item["kind"] in WORKLOADS]


@pytest.fixture
def pods(workloads):
    """The pods' specifications, by the workload's name."""
    return {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in workloads}


@pytest.fixture
def containers(pods):
    """All, init containers too, by name."""
    return [
        container
        for pod in pods.values()
        for container in (*pod.get("initContainers", ()), *pod["containers"])
    ]


def test_pods_run_without_rights(pods):
    """Not as root, with the runtime's filter of system calls, without a token for Kubernetes."""
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10_001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not any("hostPath" in volume for volume in pod["volumes"])


def test_containers_run_without_rights(containers):
    """No privilege, no capability, nothing to write but volumes."""
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_containers_are_bounded(containers):
    """In processor and memory."""
    for container in containers:
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys(), container["name"]


def test_images_are_pinned(containers):
    """By digest, or by a tag that is not `latest`."""
    for container in containers:
        _, at, digest = container["image"].partition("@sha256:")
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        assert len(digest) == 64 if at else tag not in {"", "latest"}


def test_only_temporary_files_and_data_can_be_written(pods):
    """A worker reads its bundle; the init container alone writes it."""
    for pod in pods.values():
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert mounts.keys() <= volumes
            writable = {name for name, mount in mounts.items() if not mount.get("readOnly")}
            assert writable <= {"tmp", "data"}


def test_what_serves_has_all_probes(workloads):
    """Startup until the model is warm, liveness by progress, readiness."""
    for item in workloads:
        (container,) = item["spec"]["template"]["spec"]["containers"]
        probes = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
        serving = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        assert probes == (serving if item["kind"] == "Deployment" else {})


def test_each_component_has_an_account_and_a_user_of_its_own(manifests, pods):
    """In Kubernetes, and in Kafka."""
    accounts = [pod["serviceAccountName"] for pod in pods.values()]
    assert sorted(accounts) == sorted(named(manifests, "ServiceAccount"))
    environments = [
        {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
        for pod in pods.values()
    ]
    if environments[0]["REDLANE_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL":
        users = [environment["REDLANE_KAFKA_USERNAME"] for environment in environments]
        assert len(set(users)) == len(users)


def test_a_pod_has_time_to_stop(workloads):
    """More than the worker's own limit."""
    for item in workloads:
        if item["kind"] == "Deployment":
            pod = item["spec"]["template"]["spec"]
            assert pod["terminationGracePeriodSeconds"] > Settings().stop_within_s


def test_a_roll_out_never_needs_a_surplus_partition(workloads):
    """A surplus worker of a full group would never be ready, and the roll-out would hang."""
    for item in workloads:
        if "rollingUpdate" in item["spec"].get("strategy", {}):
            assert item["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


@pytest.mark.parametrize("values", sorted({*VALUES} - {"minimal"}))
def test_nothing_passes_that_no_policy_names(rendered, values):
    """One policy denies all of every pod; each has another that names what it needs."""
    policies = [item["spec"] for item in named(rendered(values), "NetworkPolicy").values()]
    for item in rendered(values):
        if item["kind"] not in WORKLOADS:
            continue
        pod_labels = labels(item["spec"]["template"])
        applying = [policy for policy in policies if selects(policy["podSelector"], pod_labels)]
        assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in applying)
        denying, naming = sorted(applying, key=len)
        assert not {"ingress", "egress"} & denying.keys()
        assert all(rule["ports"] for rule in naming["egress"])
        assert all(rule["from"] for rule in naming.get("ingress", ()))


def test_ways_out_are_those_of_what_is_switched_on(rendered):
    """To the collector of traces, and from `deliver` alone to the receiver."""
    ports = {
        values: {
            name.removeprefix("redlane-"): [
                port["port"]
                for rule in item["spec"].get("egress", ())
                for port in rule["ports"]
                if rule.get("to")
            ]
            for name, item in named(rendered(values), "NetworkPolicy").items()
        }
        for values in ("default", "external-kafka")
    }
    assert not any(4318 in of_component for of_component in ports["default"].values())
    assert all(
        4318 in of_component
        for component, of_component in ports["external-kafka"].items()
        if component != "deny"
    )
    with_receiver = {name for name, some in ports["external-kafka"].items() if 443 in some}
    assert with_receiver == {"deliver"}


def test_what_selects_pods_selects_some(manifests, workloads):
    """Services, budgets and policies."""
    pod_labels = [labels(item["spec"]["template"]) for item in workloads]
    for item in manifests:
        spec = item.get("spec", {})
        selector = {
            "Service": lambda spec: {"matchLabels": spec["selector"]},
            "PodDisruptionBudget": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"],
            "PodMonitor": lambda spec: spec["selector"],
        }.get(item["kind"])
        if selector:
            assert any(selects(selector(spec), given) for given in pod_labels), item["metadata"]


def test_scaling_is_slow_and_never_to_nothing(manifests):
    """On the lag of the group that the worker is in, with as many workers as there are partitions."""
    deployments = named(manifests, "Deployment")
    for name, item in named(manifests, "ScaledObject").items():
        spec, (trigger,) = item["spec"], item["spec"]["triggers"]
        assert "replicas" not in deployments[name]["spec"]
        pod = deployments[name]["spec"]["template"]["spec"]
        environment = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
        assert trigger["metadata"]["consumerGroup"] in environment.values()
        assert trigger["metadata"]["limitToPartitionsWithLag"] == "true"
        assert trigger["metadata"]["excludePersistentLag"] == "true"
        partitions = TOPICS[trigger["metadata"]["topic"]].partitions
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= partitions
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        assert down["policies"][0]["value"] == 1
        assert down["stabilizationWindowSeconds"] >= 900


def test_deliver_scales_on_every_topic_that_it_posts(rendered):
    """Not on alerts alone."""
    settings = {"deliver_url": "https://cases/", "deliver_topics": ["alerts", "explanations"]}
    deliver = {"enabled": True, "autoscaling": {"enabled": True}, "settings": settings}
    words = [f"--set-json=deliver.{name}={json.dumps(value)}" for name, value in deliver.items()]
    (item,) = named(rendered("default", *words), "ScaledObject").values()
    scaled_on = [trigger["metadata"]["topic"] for trigger in item["spec"]["triggers"]]
    assert scaled_on == settings["deliver_topics"]


def test_topics_and_schemas_come_first(rendered):
    """As a hook, after what the hook itself needs."""
    weights = []
    for kind in ("NetworkPolicy", "ServiceAccount", "Job"):
        annotations = named(rendered("default"), kind)["redlane-deploy"]["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        weights.append(int(annotations["helm.sh/hook-weight"]))
    assert max(weights[:2]) < weights[2]


@pytest.mark.parametrize("values", ["external-kafka", "strimzi"])
def test_deployment_waits_for_its_secrets_where_the_chart_makes_them(rendered, values):
    """As a hook it would run before they are made, and wait for ever."""
    for item in rendered(values):
        assert "helm.sh/hook" not in item["metadata"].get("annotations", {})


def test_a_gpu_is_asked_for_and_tolerated(rendered):
    pod = named(rendered("gpu"), "Deployment")["redlane-screen"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["containers"][0]["image"].endswith("-gpu")
    assert [item["key"] for item in pod["tolerations"]] == ["nvidia.com/gpu"]
    assert pod["nodeSelector"]


def test_no_default_asks_for_more_workers_than_partitions():
    """They would be idle."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for component, topic in {"screen": "declarations", "explain": "alerts"}.items():
        assert values[component]["autoscaling"]["maxReplicas"] <= TOPICS[topic].partitions
        assert values[component]["replicas"] <= TOPICS[topic].partitions
