"""The Helm chart: its examples are valid for Kubernetes, every setting reaches its component, and
a wrong value is refused."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from streams.operations.helm_chart import (
    FILES,
    KAFKA,
    SCHEMA,
    SECRETS,
    SET_BY_CHART,
    generated,
    settings_schema,
)
from streams.settings import Settings
from tests.deploy.conftest import CHART, KUBERNETES, VALUES, ran

CRDS = Path(__file__).parent / "crds"
OLDEST = "1.27.0"
"""That Chart.yaml allows."""
COMPONENTS = ("deploy", "intake", "screen", "explain", "learn", "deliver", "audit", "console")
OTHERS = {
    "kafka_bootstrap_servers": "other:9093,another:9094",
    "registry_url": "https://other/apis/ccompat/v7",
    "s3_endpoint": "https://other:9000",
    "capacity": {"yellow": 0.08, "red": 0.02, "offices": {"BEANR000": {"yellow": 0.1, "red": 0.1}}},
    "capacity_window_s": 1800,
    "console_roles": {"risk-team": "supervisor"},
    "console_time_zone": "UTC",
    "intake_schemas": [__file__],
    "traces_endpoint": "https://other:4318/v1/traces",
    "traces_share": 0.5,
    "deliver_url": "https://other/redlane",
    "deliver_topics": ["explanations"],
}
"""Values of settings that no rule below makes."""


@pytest.fixture(scope="module")
def schemas(rendered, tmp_path_factory):
    """Folder of the schemas of Kubernetes' kinds, with references that kubeconform can follow."""
    shipped = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    folder = tmp_path_factory.mktemp("kubernetes")
    kinds = {item["kind"].lower() for values in VALUES for item in rendered(values)}
    for version in (OLDEST, KUBERNETES):
        (folder / version).mkdir()
        for source in (shipped / f"v{version}-local-strict").glob("*.json"):
            if source.name.partition("-")[0] in {*kinds, "_definitions.json"}:
                schema = json.loads(source.read_text())
                schema.pop("$id", None)
                text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
                (folder / version / source.name).write_text(text)
    return folder


@pytest.fixture
def faults(kubeconform, schemas, tmp_path):
    """Returns what is wrong with manifests, by name of their file, for a version of Kubernetes."""

    def check(manifests, version):
        for name, items in manifests.items():
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(items))
        places = (
            f"{schemas}/{version}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
            f"{CRDS}/{{{{ .ResourceKind }}}}-{{{{ .ResourceAPIVersion }}}}.json",
        )
        words = [f"-schema-location={place}" for place in places]
        return ran(
            kubeconform, "-strict", f"-kubernetes-version={version}", *words, tmp_path
        ).stdout

    return check


@pytest.mark.parametrize("values", VALUES)
def test_the_chart_has_no_lint(helm, values):
    done = helm("lint", values, "--strict")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", [OLDEST, KUBERNETES])
def test_the_manifests_are_valid(rendered, faults, version):
    """For the oldest and the newest Kubernetes; custom resources by what we know of them."""
    assert not faults({values: rendered(values) for values in VALUES}, version)


@pytest.mark.parametrize("kind", ["Deployment", "ScaledObject"])
def test_a_misspelt_field_would_be_found(rendered, faults, kind):
    """In what Kubernetes knows, and in custom resources."""
    item = next(item for item in rendered("gpu") if item["kind"] == kind)
    wrong = item | {"spec": item["spec"] | {"misspelt": 1}}
    assert "misspelt" in faults({kind: [wrong]}, KUBERNETES)


def test_the_generated_files_are_up_to_date():
    """A new setting, topic or right is in the chart, or this fails."""
    for path, text in generated(json.loads(SCHEMA.read_text())).items():
        assert path.read_text() == text, path.name


def other(name, schema):
    """Another value of a setting than its default."""
    if name in OTHERS:
        return OTHERS[name]
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != schema.get("default"))
    if schema["type"] in {"integer", "number"}:
        return schema["default"] + (1 if schema["type"] == "integer" else 0.25)
    if schema["type"] == "boolean":
        return not schema["default"]
    return ["other"] if schema["type"] == "array" else "other"


def environment(pod):
    """The variables of a pod's last container."""
    return {item["name"]: item["value"] for item in pod["containers"][-1]["env"]}


def pods(manifests):
    """The pods of the manifests, by component."""
    workloads = [item for item in manifests if item["kind"] in {"Deployment", "Job"}]
    return {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: item["spec"]["template"]["spec"]
        for item in workloads
    }


@pytest.mark.parametrize("component", ["", *COMPONENTS])
def test_every_setting_reaches_the_components(rendered, monkeypatch, tmp_path, component):
    """One of all, and one of a component alone, as the component itself reads it."""
    plain = settings_schema()["settings"]["properties"]
    values = {name: other(name, schema) for name, schema in plain.items()}
    place = f"{component}.settings" if component else "settings"
    words = [f"--set-json={place}.{name}={json.dumps(value)}" for name, value in values.items()]
    monkeypatch.delenv("REDLANE_SECRETS_DIR", raising=False)
    defaults = Settings()
    delivering = ("--set=deliver.enabled=true", "--set=deliver.settings.deliver_url=https://x/")
    words = [*delivering, *words]
    for name, pod in pods(rendered("default", *words)).items():
        given = environment(pod) | {"REDLANE_SECRETS_DIR": str(tmp_path)}
        with monkeypatch.context() as patch:
            for variable, value in given.items():
                patch.setenv(variable, value)
            settings = Settings()
        for setting in values:
            if component not in {"", name}:
                continue
            default = getattr(defaults, setting)
            reaches = name == "console" or not setting.startswith("console_")
            assert (getattr(settings, setting) != default) is reaches, setting


def test_every_secret_setting_reaches_a_component(rendered):
    """As a file, never as a variable; and what the chart sets itself is set."""
    mounted = json.dumps({name: {"secret": "authorities", "key": "ca.crt"} for name in FILES})
    words = ("--set=kafka.clientCertificates=true", f"--set-json=files={mounted}")
    files, variables = set(), set()
    for pod in pods(rendered("external-kafka", *words)).values():
        variables |= environment(pod).keys()
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
        for source in volume["projected"]["sources"]:
            files |= {item["path"] for item in source["secret"]["items"]}
    assert {f"REDLANE_{name.upper()}" for name in SECRETS} <= files
    assert not {f"REDLANE_{name.upper()}" for name in SECRETS} & variables
    assert {f"REDLANE_{name.upper()}" for name in SET_BY_CHART | FILES} <= variables
    assert files >= FILES


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("settings.kafka_bootstrp_servers=x", "additional properties 'kafka_bootstrp_servers'"),
        ("screen.settings.batch_size=0", "at '/screen/settings/batch_size': minimum: got 0"),
        ("settings.kafka_security_protocol=TLS", "'PLAINTEXT', 'SSL', 'SASL_SSL'"),
        ("settings.pseudonym_key=x", "additional properties 'pseudonym_key'"),
        ("image.worker.tag=latest", "at '/image/worker/tag'"),
        ("image.worker.digest=sha256:1", "at '/image/worker/digest'"),
        ("screen.autoscaling.minReplicas=0", "at '/screen/autoscaling/minReplicas'"),
        ("screen.replicass=2", "additional properties 'replicass'"),
        ("screen.resources.limits=null", "at '/screen/resources': missing property 'limits'"),
        ("console.replicas=2", "at '/console/replicas': value must be 1"),
        ("files.kafka_ca.secret=x", "at '/files': additional properties 'kafka_ca'"),
        ("externalSecrets.secrets.redlane.REDLANE_KEY.key=x", "properties 'REDLANE_KEY'"),
        ("bundle.id=abc", "at '/bundle/id'"),
        ("bundle.uri=https://models", "at '/bundle/uri'"),
        ("strimzi.enabled=true", "at '/strimzi/cluster'"),
        ("externalSecrets.enabled=true", "at '/externalSecrets/"),
        ("console.ingress.enabled=true", "at '/console/ingress/host'"),
        ("deliver.enabled=true", "deliver.settings.deliver_url must be the address"),
        ("deliver.enabled=true,deliver.settings.deliver_url=cases.example", "https://…"),
        ("screen.terminationGracePeriodSeconds=60", "above settings.stop_within_s (60)"),
    ],
)
def test_a_wrong_value_is_refused(helm, value, told):
    """With its place."""
    done = helm("template", "default", "--set", value)
    assert done.returncode != 0
    assert told in done.stderr


def test_a_chart_without_a_bundle_is_refused(helm):
    """Both of its values are named."""
    done = helm("template", "default", "--set", "bundle.uri=,bundle.id=")
    assert "at '/bundle/uri'" in done.stderr
    assert "at '/bundle/id'" in done.stderr


def test_the_values_that_the_chart_repeats_are_the_defaults():
    """But for the services' addresses, and replication as a cluster has it."""
    settings = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    elsewhere = {"kafka_bootstrap_servers", "registry_url", "s3_endpoint", "kafka_replication"}
    for name in settings.keys() - elsewhere:
        assert settings[name] == Settings.model_fields[name].default, name


def test_the_rights_are_those_that_deployment_gives(rendered):
    """Of the users that the chart makes, with the names of groups and users as the values have them."""
    named = json.loads(KAFKA.read_text())["users"]
    users = {
        item["metadata"]["name"]: item["spec"]["authorization"]["acls"]
        for item in rendered("strimzi")
        if item["kind"] == "KafkaUser"
    }
    assert len(users) == len(named)
    screen = {(acl["resource"]["name"], *acl["operations"]) for acl in users["customs-screen"]}
    assert ("customs-screen", "Read") in screen
    assert ("declarations", "Read") in screen
    assert ("alerts", "Write") in screen
    assert not any("$" in json.dumps(acls) for acls in users.values())
