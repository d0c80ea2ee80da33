"""Settings → the running console: its composition root."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from zoneinfo import ZoneInfo

import structlog
import uvicorn
from starlette.types import ASGIApp

from streams.console.feed.outbox import Outbox
from streams.console.feed.reader import Reader
from streams.console.state.actions import CaseActions
from streams.console.state.queries import Store
from streams.console.state.tables import Database, default_url
from streams.console.web.csrf import Tokens
from streams.console.web.event_stream import Stopping
from streams.console.web.identity import Identity, Misconfigured
from streams.console.web.pages import application
from streams.console.web.pictures import Pictures
from streams.console.web.requests import Parts
from streams.exit_deadline import ExitDeadline
from streams.kafka.origin import NoAnswer, Refused
from streams.operations.access import admit
from streams.pseudonym import pseudonym
from streams.settings import Settings

KAFKA_S = 5.0
"""For Kafka to answer at the start."""
CHECK_S = 1.0
"""Between checks whether the threads run."""
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Console:
    """The application with its threads, which run between `start` and `stop`."""

    app: ASGIApp
    database: Database
    reader: Reader
    outbox: Outbox
    stopping: Stopping

    def start(self) -> None:
        """Start to read and to publish."""
        self.reader.start()
        self.outbox.start()

    def stop(self) -> None:
        """End the threads, which finish what they are doing, and close the database."""
        self.reader.stop()
        self.outbox.stop()
        self.database.close()

    def problem(self) -> str:
        """Return what only a restart repairs; empty where nothing is wrong."""
        return _problem(self.reader, self.outbox)


def build(
    settings: Settings,
    *,
    host: str,
    demo_user: str | None,
    database_url: str | None,
    hosts: tuple[str, ...] = (),
) -> Console:
    """Put the console together; arguments and errors as of `streams.console.serve`."""
    identity = Identity(settings, host=host, demo_user=demo_user)
    key = settings.pseudonym_key.get_secret_value().encode()
    try:
        pseudonym(key, "inspector")
    except ValueError as error:
        raise Misconfigured("Set REDLANE_PSEUDONYM_KEY: it must have 1 to 64 bytes.") from error
    url = database_url or settings.console_database_url.get_secret_value() or default_url()
    database = Database(url)
    actions = CaseActions(database, lambda name: pseudonym(key, name))
    reader, outbox, stopping = Reader(settings, database), Outbox(settings, actions), Stopping()
    parts = Parts(
        store=Store(database),
        actions=actions,
        identity=identity,
        tokens=Tokens(database),
        pictures=Pictures(settings),
        zone=ZoneInfo(settings.console_time_zone),
        hosts=(*settings.console_hosts, *hosts),
        on_decision=outbox.notify,
        problem=lambda: _problem(reader, outbox),
        ready=lambda: reader.begun,
        cut_off=lambda: reader.cut_off,
        stopping=stopping,
    )
    return Console(application(parts), database, reader, outbox, stopping)


def _problem(reader: Reader, outbox: Outbox) -> str:
    if not reader.alive:
        return "The topics are not read."
    if not outbox.alive:
        return "Decisions are not sent."
    return ""


class _Server(uvicorn.Server):
    """Ends the live streams first: uvicorn waits for every connection."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping, deadline: ExitDeadline) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._deadline = deadline

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals, but do not raise them again afterwards: there is more to stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._deadline.start()
        self._stopping.event.set()
        super().handle_exit(sig, frame)


def run(
    settings: Settings,
    *,
    host: str,
    port: int,
    demo_user: str | None,
    database_url: str | None,
    hosts: tuple[str, ...],
) -> int:
    """Serve until SIGTERM or SIGINT; arguments, result and errors as of `streams.console.serve`."""
    try:
        admit(settings, "console", within_s=KAFKA_S)
    except Refused:
        raise
    except NoAnswer as error:  # the pages say so until it does
        log.warning("Kafka does not answer", problem=str(error))
    console = build(
        settings, host=host, demo_user=demo_user, database_url=database_url, hosts=hosts
    )
    config = uvicorn.Config(
        console.app,
        host=host,
        port=port,
        access_log=False,  # who looked at which case does not belong in a log
        log_config=None,
        server_header=False,
        proxy_headers=False,  # the proxy is identified by its own address, not by a header
        timeout_graceful_shutdown=10,
    )
    deadline = ExitDeadline(settings.stop_within_s, cut_off=lambda: console.reader.cut_off)
    server = _Server(config, console.stopping, deadline)
    stopped = threading.Event()
    watch = threading.Thread(target=_watch, args=(console, stopped), daemon=True)
    console.start()
    watch.start()
    try:
        server.run()
    finally:
        stopped.set()
        failed = bool(console.problem())
        deadline.start()
        console.stop()
    return 1 if failed or not server.started else 0


def _watch(console: Console, stopped: threading.Event) -> None:
    """Stop the server when a thread ends: a queue that goes stale unnoticed would look calm."""
    while not stopped.wait(CHECK_S):
        if problem := console.problem():
            log.error("console stops", problem=problem)
            signal.raise_signal(signal.SIGTERM)
            return
