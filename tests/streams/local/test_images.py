"""docker-compose.yml and the Dockerfile, as far as a test can check them without an engine."""

from pathlib import Path

import yaml

from streams.settings import Settings

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
ONE_SHOT = {"deploy"}


def test_every_service_has_a_pinned_image_and_a_health_check():
    """No `latest`, and every service can report its health."""
    for name, service in COMPOSE["services"].items():
        assert service["image"].rpartition(":")[2] not in {"", "latest"}, name
        assert ("healthcheck" in service) != (name in ONE_SHOT), name


def test_ports_are_published_on_the_loopback_address_only():
    """A laptop on a foreign network exposes nothing."""
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_dependencies_exist_and_wait_for_health():
    """A service waits until what it needs answers."""
    for service in COMPOSE["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if name in ONE_SHOT else "service_healthy"
            assert condition["condition"] == expected
            assert name in COMPOSE["services"]


def test_no_secret_is_in_the_file():
    """Keys come from the environment, and their absence is an error."""
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "KEY" in name:
                assert value.startswith("${REDLANE_"), name
                assert ":?" in value, name


def test_the_settings_in_the_file_are_ones_that_redlane_reads():
    """A misspelt setting would be ignored without a warning."""
    settings = {f"REDLANE_{name.upper()}" for name in Settings.model_fields}
    assert COMPOSE["services"]["screen"]["environment"].keys() <= settings


def test_the_image_runs_as_nobody_special_and_as_pid_1():
    """No root; exec form, so that SIGTERM reaches the worker."""
    assert "USER 10001" in DOCKERFILE
    assert 'CMD ["redlane", "screen"]' in DOCKERFILE
    assert any(line.startswith("HEALTHCHECK") for line in DOCKERFILE)
    assert any("requirements-serve.lock" in line for line in DOCKERFILE)
