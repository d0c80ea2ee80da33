"""Wiring: what is not configured is said in one line, before a service is asked."""

import pytest
from fakeredis import FakeAsyncRedis
from structlog.testing import capture_logs

from models.encoding import backends
from models.encoding.backends import InferenceFailed
from models.scoring.bundle import BadBundle
from models.selection.policy import Budget, Thresholds
from streams import app, metrics
from streams.kafka import registry
from streams.settings import NotConfigured, Settings
from tests.fakes import FakeScorer

KEYS = {"pseudonym_key": "pseudonyms", "selection_key": "selections"}


@pytest.fixture(autouse=True)
def no_service(monkeypatch):
    """Fails a test that asks the registry."""

    def asked(*_):
        pytest.fail("a service was asked")

    monkeypatch.setattr(registry, "SchemaRegistryClient", asked)


@pytest.fixture(autouse=True)
def nobody_observes():
    """Nor afterwards, what a test loads."""
    yield
    backends.observe_faults(backends._log_fault)


@pytest.mark.parametrize("wire", [app.screening, app.explaining])
def test_a_worker_without_a_bundle_says_so(wire):
    """In one line that names the setting and the command that builds a bundle."""
    with pytest.raises(NotConfigured) as caught:
        wire(Settings(**KEYS, bundle=None))
    assert "\n" not in str(caught.value)
    assert "REDLANE_BUNDLE" in str(caught.value)
    assert "redlane bundle" in str(caught.value)


@pytest.mark.parametrize("wire", [app.screening, app.explaining, app.learning])
@pytest.mark.parametrize("missing", KEYS)
@pytest.mark.parametrize("value", ["", "x" * 65])
def test_a_worker_without_a_shared_key_says_so(wire, missing, value):
    """Neither an empty nor a too long one."""
    with pytest.raises(NotConfigured, match=f"^Set REDLANE_{missing.upper()}: ") as caught:
        wire(Settings(**KEYS | {missing: value}))
    assert "\n" not in str(caught.value)


def test_networks_that_do_not_run_are_said_in_one_line(monkeypatch, tmp_path):
    """Before an event is taken: a worker that starts again and again drains no topic."""

    def fails(*_):
        raise InferenceFailed("NotFinite")

    monkeypatch.setattr(app, "verify", lambda _: None)
    monkeypatch.setattr(app, "check_released", lambda _: None)
    monkeypatch.setattr(app.Scorer, "load", lambda *_, **__: FakeScorer())
    monkeypatch.setattr(app, "_warm_up_evidence", fails)
    with pytest.raises(BadBundle, match=f"^The networks of {tmp_path} do not run .*: NotFinite.$"):
        app.load_scorer(Settings(**KEYS, bundle=tmp_path))


def test_faults_of_networks_are_counted_and_logged():
    """By remedy and kind; what an error says may quote data."""
    before = metrics.INFERENCE_FAULTS.labels("halved")._value.get()
    with capture_logs() as logged:
        app.tell_fault("halved", ValueError("Ann Peeters"))
    assert metrics.INFERENCE_FAULTS.labels("halved")._value.get() == before + 1
    assert logged == [
        {
            "event": "inference failed",
            "log_level": "warning",
            "remedy": "halved",
            "error": "ValueError",
        }
    ]


def test_lanes_are_decided_within_a_capacity_where_one_is_set():
    """Else by the thresholds of the bundle."""
    budget = Budget(yellow=0.08, red=0.02)
    without = app.lanes(Settings(**KEYS), FakeScorer(), FakeAsyncRedis())
    within = app.lanes(Settings(**KEYS, capacity=budget), FakeScorer(), FakeAsyncRedis())
    assert without._capacity is None
    assert without._fallback == Thresholds(yellow=0.5, red=0.8)
    assert within._capacity._budget == budget
    assert within._key == b"selections"
