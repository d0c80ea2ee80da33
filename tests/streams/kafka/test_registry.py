"""The schema registry: one that does not answer is waited for, within bounds, and named."""

import time

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError
from httpx2 import ConnectError

from schemas.topics import DECLARATIONS
from streams.kafka import registry
from streams.kafka.registry import NotDeployed, Registry, RegistryFailed
from streams.local.process import LOOPBACK, free_port


class FailingClient:
    """Raises some errors, one for each request; then the topic has no versions."""

    def __init__(self, errors):
        self.errors = errors
        self.requests = 0

    def get_versions(self, _subject):
        self.requests += 1
        if self.errors:
            raise self.errors.pop(0)
        return []


def connected(monkeypatch, *errors):
    """A registry whose client fails with these errors, and the client."""
    client = FailingClient(list(errors))
    monkeypatch.setattr(registry, "SchemaRegistryClient", lambda _: client)
    return Registry("http://user:secret@registry:8081/v7"), client


def test_a_registry_that_is_down_is_named_in_one_line(monkeypatch):
    """With the setting to check; the client and the wait try a few times, and then end."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    address = f"{LOOPBACK}:{free_port()}"
    with pytest.raises(RegistryFailed) as caught:
        Registry(f"http://{address}").wait(DECLARATIONS)
    assert str(caught.value).startswith(f"The schema registry at {address} does not answer: ")
    assert "REDLANE_REGISTRY_URL" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert 3 <= len(waits) < 20
    assert sum(waits) < 60


def test_a_registry_that_starts_late_is_waited_for(monkeypatch):
    """As often as the caller allows."""
    late, client = connected(monkeypatch, *[ConnectError("refused")] * 2)
    late.wait(DECLARATIONS, attempts=3, delay_s=0.001)
    assert client.requests == 3


def test_a_schema_that_is_missing_is_not_waited_for(monkeypatch):
    """The registry answers: only a deployment helps."""
    empty, client = connected(monkeypatch, SchemaRegistryError(404, 40401, "no subject"))
    with pytest.raises(NotDeployed, match="redlane deploy"):
        empty.wait(DECLARATIONS, attempts=3, delay_s=0.001)
    assert client.requests == 1


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_registry_that_refuses_is_not_taken_for_an_empty_one(monkeypatch, status):
    """Its answer is shown, the password in its address is not."""
    closed, _ = connected(monkeypatch, SchemaRegistryError(status, -1, "go away"))
    with pytest.raises(RegistryFailed, match="registry:8081 refuses: go away") as caught:
        closed.writers(DECLARATIONS)
    assert "secret" not in str(caught.value)
