"""The console put together: what it refuses, what it reports, and when its server stops."""

import signal
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi.testclient import TestClient
from pydantic import SecretStr

from streams.console import server
from streams.console.server import Console, _Server, _watch, build
from streams.console.state.tables import Unusable
from streams.console.web.event_stream import Stopping
from streams.console.web.identity import Misconfigured
from streams.local.process import LOOPBACK, free_port
from streams.settings import Settings

SETTINGS = Settings(pseudonym_key="of this test alone")


@dataclass
class Thread:
    """A part of the console that runs in a thread."""

    alive: bool = False
    begun: bool = True
    cut_off: bool = False
    calls: list = field(default_factory=list)

    def start(self):
        self.calls.append("start")
        self.alive = True

    def stop(self):
        self.calls.append("stop")

    def notify(self):
        self.calls.append("notify")


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch):
    """After a stop the process of these tests goes on."""
    monkeypatch.setattr(
        server, "ExitDeadline", lambda *_, **__: SimpleNamespace(start=lambda: None)
    )


@pytest.fixture
def threads(monkeypatch):
    """Reader and outbox without Kafka."""
    reader, outbox = Thread(), Thread()
    monkeypatch.setattr(server, "Reader", lambda *_: reader)
    monkeypatch.setattr(server, "Outbox", lambda *_: outbox)
    return reader, outbox


@pytest.fixture
def arguments(tmp_path):
    """What the command line gives."""
    return {
        "host": LOOPBACK,
        "demo_user": "Ann",
        "database_url": f"sqlite:///{tmp_path / 'console.db'}",
        "hosts": ("testserver",),
    }


async def _empty(scope, receive, send):
    """An application without pages."""


def test_a_console_is_put_together(threads, arguments):
    """Its threads start and stop with it, and the probes report on them."""
    reader, outbox = threads
    console = build(SETTINGS, **arguments)
    assert (console.reader, console.outbox) == threads
    with TestClient(console.app) as client:
        assert client.get("/livez").status_code == 503
        console.start()
        assert client.get("/livez").text == "live\n"
        assert client.get("/readyz").status_code == 200
        reader.begun = False
        assert client.get("/readyz").status_code == 503
        assert "Ann" in client.get("/").text
        assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    console.stop()
    assert reader.calls == outbox.calls == ["start", "stop"]


@pytest.mark.parametrize(
    ("reader", "outbox", "problem"),
    [
        (True, True, ""),
        (False, True, "The topics are not read."),
        (True, False, "Decisions are not sent."),
        (False, False, "The topics are not read."),
    ],
)
def test_a_thread_that_ended_is_a_problem(threads, arguments, reader, outbox, problem):
    """The probe reports the same as the watch sees."""
    console = build(SETTINGS, **arguments)
    threads[0].alive, threads[1].alive = reader, outbox
    assert console.problem() == problem
    with TestClient(console.app) as client:
        answer = client.get("/livez")
    assert (answer.status_code, answer.text) == (
        (503, f"{problem}\n") if problem else (200, "live\n")
    )
    console.database.close()


@pytest.mark.parametrize(
    ("settings", "changes", "error"),
    [
        ({}, {"demo_user": None}, Misconfigured),
        ({}, {"host": "0.0.0.0"}, Misconfigured),  # noqa: S104 - refused
        ({"pseudonym_key": SecretStr("")}, {}, Misconfigured),
        ({"pseudonym_key": SecretStr("x" * 65)}, {}, Misconfigured),
        ({}, {"database_url": "sqlite:////nowhere/console.db"}, Unusable),
    ],
)
def test_a_console_that_would_not_be_safe_is_not_built(
    threads, arguments, settings, changes, error
):
    """Nobody to trust, everybody trusted, no pseudonyms, no database."""
    with pytest.raises(error):
        build(SETTINGS.model_copy(update=settings), **arguments | changes)


def _console(reader, outbox):
    database = SimpleNamespace(close=lambda: None)
    return Console(_empty, database, reader, outbox, Stopping())


def test_the_watch_stops_the_server_when_a_thread_ends(monkeypatch):
    """By the same signal as an orchestrator, so that everything ends in order."""
    signals = []
    monkeypatch.setattr(server, "CHECK_S", 0.01)
    monkeypatch.setattr(server.signal, "raise_signal", signals.append)
    reader, outbox = Thread(alive=True), Thread(alive=True)
    stopped = threading.Event()
    watch = threading.Thread(target=_watch, args=(_console(reader, outbox), stopped))
    watch.start()
    watch.join(0.2)
    assert watch.is_alive()
    assert signals == []
    outbox.alive = False
    watch.join(10)
    assert signals == [signal.SIGTERM]
    stopped.set()
    _watch(_console(reader, outbox), stopped)
    assert signals == [signal.SIGTERM]


def test_a_signal_ends_the_live_streams_first():
    """Or the server would wait for them; and the time for the whole stop begins."""
    stopping, begun = Stopping(), []
    deadline = SimpleNamespace(start=lambda: begun.append(True))
    running = _Server(uvicorn.Config(_empty), stopping, deadline)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with running.capture_signals():
            for number in handlers:
                assert signal.getsignal(number) == running.handle_exit
            signal.raise_signal(signal.SIGTERM)
        assert stopping.event.is_set()
        assert running.should_exit
        assert begun == [True]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("ends", "status"), [(False, 0), (True, 1)])
def test_the_exit_status_says_whether_all_was_well(threads, arguments, monkeypatch, ends, status):
    """1 where a thread ended by itself; the parts are stopped either way."""
    reader, outbox = threads
    served = []

    def serve(self):
        self.started = True
        served.append(self.config.port)
        outbox.alive = not ends

    monkeypatch.setattr(_Server, "run", serve)
    port = free_port()
    assert server.run(SETTINGS, port=port, **arguments) == status
    assert served == [port]
    assert reader.calls == outbox.calls == ["start", "stop"]


def test_a_port_in_use_is_a_failure(threads, arguments, monkeypatch):
    """The server never started."""
    monkeypatch.setattr(_Server, "run", lambda _: None)
    assert server.run(SETTINGS, port=1, **arguments) == 1
    assert threads[0].calls == ["start", "stop"]
