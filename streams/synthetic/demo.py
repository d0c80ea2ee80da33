"""`redlane demo`: the local stack, every worker and the sample catalogue, live in the terminal."""

import contextlib
import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.live import Live

from models.datasets.goods import Goods, read
from models.training.bundle_builder import default_bundle
from schemas.records import Condition, RiskProfile
from schemas.topics import INSPECTION_OUTCOMES, RISK_PROFILES, TARIFF_MEASURES
from streams.kafka.publisher import Publisher
from streams.local.process import LOOPBACK, Process, free_port
from streams.local.stack import Stack, local_stack
from streams.operations.deploy import deploy
from streams.settings import Settings
from streams.synthetic.display import Display, alert_row, summary_table
from streams.synthetic.exit_rule import ExitRule, is_faultless
from streams.synthetic.fates import Fates
from streams.synthetic.inspector import is_inspected, outcomes
from streams.synthetic.irregularities import (
    DEFAULT_SHARES,
    UNSEEN_SHARES,
    Consignment,
    Irregularities,
)
from streams.synthetic.sample_catalogue import sample, unseen
from streams.synthetic.sample_tariff import sample_tariff
from streams.synthetic.scoreboard import Scoreboard
from streams.synthetic.send import new_run, send

CAPACITY: Final = {"yellow": 0.28, "red": 0.12, "random": 0.01}
"""Of the demo's inspectors. Half of what is sent is irregular, so it is far above any real one."""
PROFILE: Final = RiskProfile(
    profile_id="statues-at-zaventem",
    version=1,
    title="Stone statues through Zaventem, whatever their risk",
    conditions=(
        Condition(field="commodity_code", operator="starts_with", values=("6815",)),
        Condition(field="declaration_office", operator="equals", values=("BEZAV000",)),
    ),
    lane="yellow",
    valid_until=datetime(9999, 1, 1, tzinfo=UTC),
    author="demo-analyst",
    approver="demo-supervisor",
)
"""By two people: one person's profile would be ignored."""
UNSEEN_ONE_OF: Final = 5
"""One in so many declarations is of goods that the model never saw."""
WINDOW_S: Final = 120
"""Of one set of thresholds: a few windows in a demo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the demo does."""

    once: bool
    """Exit when every declaration has its fate and every alert its explanation."""
    json_file: Path | None
    count: int
    rate: float
    """Declarations per second."""
    seed: int


def run(options: Options) -> int:
    """Run the demo; returns the exit status.

    Returns:
        0 if every declaration sent got exactly one fate and every alert an explanation, else 1.
    """
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bundle = default_bundle(console.print)
    goods = read(sample(console.print))
    scoreboard = Scoreboard()
    with local_stack(say=console.print) as stack:
        settings = stack.settings()
        deploy(settings, say=lambda _: None)
        publisher = Publisher(settings, source="redlane/demo")
        publisher.put(TARIFF_MEASURES, sample_tariff())
        publisher.put(RISK_PROFILES, [PROFILE])
        try:
            with _all_running(stack, bundle) as (processes, console_url):
                console.print(f"The inspectors' console: {console_url}", style="bold")
                consignments = _consignments(options, goods, settings.s3_buckets[0])
                with _Sending(settings, consignments, options.rate, scoreboard) as sending:
                    _watch(console, options, sending, processes)
        except KeyboardInterrupt:
            console.print("Interrupted; stopping …")
    return _summarise(console, scoreboard, options.json_file)


def _consignments(options: Options, goods: Sequence[Goods], bucket: str) -> Iterator[Consignment]:
    """Yield consignments: some of goods that the model never saw, the others of the sample."""
    start = datetime.fromtimestamp(time.time() // WINDOW_S * WINDOW_S, UTC)
    kinds = (goods, DEFAULT_SHARES), (unseen(), UNSEEN_SHARES)
    sample_goods, others = (
        Irregularities(
            of_kind,
            bucket=bucket,
            run=new_run(),
            seed=options.seed,
            shares=shares,
            start=start,
            unseen=shares is UNSEEN_SHARES,
        )
        for of_kind, shares in kinds
    )
    count = options.count // UNSEEN_ONE_OF
    rest = sample_goods.consignments(options.count - count)
    for consignment in others.consignments(count):
        yield from islice(rest, UNSEEN_ONE_OF - 1)
        yield consignment
    yield from rest


def _summarise(console: Console, scoreboard: Scoreboard, json_file: Path | None) -> int:
    """Print the summary, and write it where a file is given; return the exit status."""
    console.print(summary_table(scoreboard))
    summary = scoreboard.summary()
    if json_file:
        json_file.write_text(json.dumps(summary, indent=2) + "\n")
    console.print(f"Explained after, in s: {summary['explained_after_s']}")
    faultless = is_faultless(scoreboard)
    console.print(
        "Every declaration got exactly one fate, every alert one explanation."
        if faultless
        else f"Not so: {summary}"
    )
    return 0 if faultless else 1


@contextlib.contextmanager
def _running(
    stack: Stack,
    name: str,
    settings: Mapping[str, str],
    *options: str,
    port: int | None = None,
) -> Iterator[Process]:
    """Run `redlane NAME` until it is ready, and stop it at the end.

    Args:
        stack: the services that it uses.
        name: of the command.
        settings: besides the stack's.
        options: of the command.
        port: that it answers on; any free one where None.
    """
    health = port or free_port()
    environment = stack.environment() | {"REDLANE_HEALTH_PORT": str(health)} | dict(settings)
    command = [sys.executable, "-m", "streams.cli", name, *options]
    process = Process(name, command, directory=stack.directory / name, environment=environment)
    process.start()
    try:
        process.wait_until(lambda: _answers(f"http://{LOOPBACK}:{health}/readyz"), within_s=90)
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def _all_running(stack: Stack, bundle: Path) -> Iterator[tuple[list[Process], str]]:
    """Run every part of Redlane; yields the processes and the console's address."""
    port = free_port()
    options = ("--demo-user", "Demo", "--port", str(port))
    database = ("--database", f"sqlite:///{stack.directory / 'console.db'}")
    model = {"REDLANE_BUNDLE": str(bundle)}
    capacity = {
        "REDLANE_CAPACITY": json.dumps(CAPACITY),
        "REDLANE_CAPACITY_WINDOW_S": str(WINDOW_S),
    }
    with contextlib.ExitStack() as parts:
        processes = [
            parts.enter_context(_running(stack, "console", {}, *options, *database, port=port)),
            parts.enter_context(_running(stack, "learn", {})),
            parts.enter_context(_running(stack, "explain", model)),
            parts.enter_context(_running(stack, "screen", model | capacity)),
        ]
        yield processes, f"http://{LOOPBACK}:{port}/"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own
            return True
    except (OSError, urllib.error.URLError):
        return False


@dataclass(slots=True)
class _Sending:
    """Sends in a thread, so that the main thread can show what comes back."""

    settings: Settings
    consignments: Iterator[Consignment]
    rate: float
    """Declarations per second."""
    scoreboard: Scoreboard
    failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="sender")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    @property
    def done(self) -> bool:
        """Whether every declaration was sent."""
        return self._thread is not None and not self._thread.is_alive()

    def _run(self) -> None:
        try:
            send(
                self.settings,
                self.consignments,
                rate=self.rate,
                truth=None,
                sent=lambda consignment: self.scoreboard.sent(consignment.truth),
                stopped=self._stop.is_set,
            )
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self.failure = error


def _watch(
    console: Console, options: Options, sending: _Sending, workers: Sequence[Process]
) -> None:
    """Show fates as they come: with --once until the exit rule ends it, else until Ctrl-C.

    Also ends when a worker has exited; its log is then printed.
    """
    scoreboard = sending.scoreboard
    display = Display(options.count)
    fates = Fates(sending.settings, scoreboard)
    publisher = Publisher(sending.settings, source="redlane/demo")
    rule = ExitRule(scoreboard)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        for received in fates.follow():
            live.update(display.render(scoreboard, fates.alerts))
            if not console.is_terminal:
                for alert in fates.newest:
                    console.print(" | ".join(alert_row(alert)), markup=False, highlight=False)
            inspected = [alert for alert in fates.newest if is_inspected(alert)]
            publisher.put(INSPECTION_OUTCOMES, outcomes(inspected, scoreboard.truths))
            fates.newest.clear()
            if sending.failure is not None:
                raise sending.failure
            for worker in workers:
                if worker.returncode is not None:
                    console.print(worker.tail(), markup=False)
                    return
            if rule.is_over(received=received, all_sent=sending.done) and options.once:
                return
