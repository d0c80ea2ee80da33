"""The schema registry: one that does not answer is waited for, within bounds, and named."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError
from httpx2 import ConnectError

from schemas import codec
from schemas.topics import DECLARATIONS
from streams.kafka import registry
from streams.kafka.registry import MOST_ASKED, AllowList, NotDeployed, Registry, RegistryFailed
from streams.local.process import LOOPBACK, free_port
from tests.fakes import inbound


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


SCHEMA = codec.schema("declaration")


class Served:
    """A registry's answers, counted; `fails` and `waits_for` make it a bad one."""

    def __init__(self):
        self.schemas = {1: SCHEMA}
        self.asked = 0
        self.fails = False
        self.waits_for = threading.Event()
        self.waits_for.set()

    def __call__(self, _topic):
        self.asked += 1
        self.waits_for.wait(5)
        if self.fails:
            raise RegistryFailed("away")
        return dict(self.schemas)


async def batch_of(*ids):
    return [inbound(value=codec.PREFIX.pack(0, id_) + b"x") for id_ in ids]


async def stage(_batch):
    return []


@pytest.fixture
def served():
    return Served()


@pytest.fixture
def allowed(served):
    """An allow-list whose clock stands still until a test moves it."""
    clock = SimpleNamespace(now=0.0)
    allowed = AllowList(served, DECLARATIONS, clock=lambda: clock.now)
    allowed.clock = clock
    return allowed


async def test_an_unknown_schema_is_asked_for_before_its_events_are_decoded(served, allowed):
    """Once for a micro-batch; a known id, and a value without one, ask nothing."""
    begin = allowed.before(stage)
    await begin([*await batch_of(1, 1), inbound(value=None), inbound(value=b"\x01junk")])
    assert served.asked == 1
    served.schemas[2] = SCHEMA
    await begin(await batch_of(2, 3, 2))
    assert set(allowed.writers) == {1, 2}
    assert served.asked == 2


async def test_ids_that_a_sender_makes_up_are_asked_for_within_bounds(served, allowed):
    """Each again after a while, and not many at all; the registry's list is not lost."""
    begin = allowed.before(stage)
    for _ in range(100):
        await begin(await batch_of(7))
    assert served.asked == 2
    for id_ in range(1000, 1300):
        await begin(await batch_of(id_))
    assert served.asked <= MOST_ASKED + 2
    assert len(allowed._asked) <= MOST_ASKED
    allowed.clock.now += 31
    served.schemas[7] = SCHEMA
    await begin(await batch_of(7))
    assert 7 in allowed.writers


async def test_a_registry_that_is_away_holds_up_nothing(served, allowed):
    """The micro-batch goes on without, and the id is asked for again later."""
    served.schemas[2] = SCHEMA
    served.fails = True
    begin = allowed.before(stage)
    for _ in range(3):
        assert await begin(await batch_of(2)) == []
    assert served.asked == 2
    served.fails = False
    allowed.clock.now += 31
    await begin(await batch_of(2))
    assert 2 in allowed.writers


async def test_a_slow_answer_is_used_once_it_is_there(served, allowed):
    """Micro-batches wait for it together, but not for long."""
    served.waits_for.clear()
    served.schemas[2] = SCHEMA
    begin = allowed.before(stage, within_s=0.05)
    await asyncio.gather(begin(await batch_of(2)), begin(await batch_of(2)))
    assert (served.asked, 2 in allowed.writers) == (2, False)
    served.waits_for.set()
    patient = allowed.before(stage)
    await patient(await batch_of(2))
    assert 2 in allowed.writers
    assert served.asked == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "record", "name": "A", "fields": [{"name": "a", "type": ["null", "A"], "default": null}]}',
        '{"type": "array", "items": "null"}',
        '{"type": "nonsense"}',
        "[1, 2]",
        "no JSON",
        "",
    ],
)
def test_a_registered_schema_that_is_none_of_ours_stops_nobody(monkeypatch, text):
    """Its events are refused, those of the other versions are read."""
    texts = [text, codec.schema_text("declaration")]

    class Client:
        def get_versions(self, _subject):
            return [1, 2]

        def get_version(self, _subject, version):
            return SimpleNamespace(
                schema_id=version, schema=SimpleNamespace(schema_str=texts[version - 1])
            )

    monkeypatch.setattr(registry, "SchemaRegistryClient", lambda _: Client())
    writers = Registry("http://registry").writers(DECLARATIONS)
    assert list(writers) == [2]
    assert json.dumps(writers[2]["name"]) == '"redlane.Declaration"'


VERSION = {"subject": "s", "version": 1, "id": 7, "schemaType": "AVRO", "schema": "{}"}


@pytest.mark.parametrize(
    ("versions", "version"),
    [
        ({"error": "x"}, VERSION),
        (5, VERSION),
        (["one"], VERSION),
        ([1], [1, 2]),
        ([1], VERSION | {"id": None}),
        ([1], "text"),
        ([1], None),
    ],
    ids=str,
)
def test_an_answer_that_nobody_asked_for_is_a_registry_that_fails(versions, version):
    """In JSON, but of another form: it is no fault of ours."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(versions if self.path.rpartition("/")[2].startswith("versions") else version).encode()  # fmt: skip
            self.send_response(404 if body == b"null" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer((LOOPBACK, 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(RegistryFailed, match="Check REDLANE_REGISTRY_URL"):
                Registry(f"http://{LOOPBACK}:{server.server_port}").writers(DECLARATIONS)
        finally:
            server.shutdown()
