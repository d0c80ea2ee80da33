"""`redlane demo`: the local stack, a worker and the sample catalogue, live in the terminal."""

import contextlib
import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from models.datasets.goods import read
from models.training.bundle_builder import default_bundle
from schemas import codec
from schemas.records import Alert, Assessment, Condition, Explanation, RiskProfile
from schemas.topics import (
    ALERTS,
    ASSESSMENTS,
    DEAD_LETTERS,
    EXPLANATIONS,
    INSPECTION_OUTCOMES,
    RISK_PROFILES,
    TARIFF_MEASURES,
)
from streams.kafka.publisher import Publisher
from streams.kafka.registry import Registry
from streams.local.process import LOOPBACK, Process, free_port
from streams.local.stack import Stack, local_stack
from streams.operations.deploy import deploy
from streams.settings import Settings
from streams.synthetic.inspector import outcomes
from streams.synthetic.irregularities import DEFAULT_SHARES, Consignment, Irregularities
from streams.synthetic.sample_catalogue import sample
from streams.synthetic.sample_tariff import TARIFF, load_tariff_csv
from streams.synthetic.scoreboard import LANES, Scoreboard
from streams.synthetic.send import new_run, send

COLOURS = {"green": "green", "yellow": "yellow", "red": "red", "dead_letter": "magenta"}
QUIET_S = 60.0
"""Without any fate for this long after the last declaration was sent, what is missing is lost."""
ROWS = 12
CAPACITY = {"yellow": 0.28, "red": 0.12, "random": 0.01}
"""Of the demo's inspectors. Half of what is sent is irregular, so it is far above any real one."""
PROFILE = RiskProfile(
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
INSPECTS_ONE_OF = 3
"""Alerts that the demo's inspector decides on."""
WINDOW_S = 120
"""Of one set of thresholds: a few windows in a demo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the demo does."""

    once: bool
    json_file: Path | None
    count: int
    rate: float
    seed: int


@dataclass(slots=True)
class Fates:
    """Reads assessments, alerts, explanations and dead letters into the tally."""

    settings: Settings
    scoreboard: Scoreboard
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=ROWS))
    newest: list[Alert] = field(default_factory=list)

    def follow(self) -> Iterator[bool]:
        """Yield after each poll whether something came."""
        registry = Registry(self.settings.registry_url)
        writers = {
            topic.name: registry.writers(topic) for topic in (ASSESSMENTS, ALERTS, EXPLANATIONS)
        }
        consumer = Consumer(
            self.settings.confluent()
            | {
                "group.id": "redlane-demo",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.message.max.bytes": DEAD_LETTERS.max_message_mb << 20,
            }
        )
        consumer.subscribe([*writers, DEAD_LETTERS.name])
        try:
            while True:
                messages = consumer.consume(100, timeout=0.2)
                for message in messages:
                    if message.error() is None:
                        self._take(message, writers)
                yield bool(messages)
        finally:
            consumer.close()

    def _take(self, message: Any, writers: dict[str, dict[int, codec.Schema]]) -> None:
        topic, value, at = message.topic(), message.value(), message.timestamp()[1] / 1000
        if topic == DEAD_LETTERS.name:
            self.scoreboard.dead((message.key() or b"").decode(errors="replace"))
        elif topic == ASSESSMENTS.name:
            assessment = codec.decode(value, Assessment, writers[topic])
            self.scoreboard.assessed(assessment.declaration_id, assessment.lane, value)
        elif topic == EXPLANATIONS.name:
            explanation = codec.decode(value, Explanation, writers[topic])
            self.scoreboard.explained(explanation.declaration_id, at)
        else:
            alert = codec.decode(value, Alert, writers[topic])
            self.scoreboard.alerted(alert.declaration_id, at)
            if alert not in self.alerts:
                self.alerts.append(alert)
                self.newest.append(alert)


def alert_row(alert: Alert) -> tuple[str, str, str, str, str, str]:
    """Return an alert as the cells of a row; its riskiest goods item speaks for it."""
    item = alert.items[0]
    reasons = "; ".join(reason.code for reason in item.reasons[:2])
    if alert.selection is not None and alert.selection.basis != "risk":
        reasons = f"selected: {alert.selection.profile_id or alert.selection.basis}"
    if alert.degraded:
        reasons = "; ".join(part for part in (reasons, alert.degraded[0].code) if part)
    return (
        alert.declaration_id,
        alert.lane,
        f"{alert.risk:.0%}",
        item.description[:38],
        f"{item.commodity_code[:6]} → {item.suggested_hs6}",
        reasons or "risk",
    )


def alerts_table(alerts: deque[Alert]) -> Table:
    """Draw the newest alerts."""
    table = Table("declaration", "lane", "risk", "goods", "declared → likely", "why", expand=True)
    table.title = "Alerts, newest last"
    for alert in alerts:
        cells = alert_row(alert)
        # Goods text comes from outside: shown as text, never read as markup.
        table.add_row(*(Text(cell) for cell in cells), style=COLOURS[alert.lane])
    return table


def summary_table(scoreboard: Scoreboard) -> Table:
    """Draw what became of each kind of declaration."""
    table = Table("injected truth", "sent", *LANES, "dead letter", "lost", "yellow or red")
    table.title = "Against the injected truth"
    shares = scoreboard.summary()["flagged"]
    counts = scoreboard.by_kind()
    for kind in (*DEFAULT_SHARES, *sorted(counts.keys() - DEFAULT_SHARES.keys())):
        if kind in counts:
            row = counts[kind]
            cells = [row[name] for name in (*LANES, "dead_letter", "lost")]
            share = f"{shares[kind]:.0%}" if kind in shares else "–"
            table.add_row(kind, str(sum(cells)), *map(str, cells), share)
    return table


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
        stack: that it uses.
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
        publisher.put(TARIFF_MEASURES, load_tariff_csv(TARIFF))
        publisher.put(RISK_PROFILES, [PROFILE])
        source = Irregularities(
            goods,
            bucket=settings.s3_buckets[0],
            run=new_run(),
            seed=options.seed,
            start=datetime.fromtimestamp(time.time() // WINDOW_S * WINDOW_S, UTC),
        )
        try:
            with _all_running(stack, bundle) as (processes, console_url):
                console.print(f"The inspectors' console: {console_url}", style="bold")
                consignments = source.consignments(options.count)
                with _Sending(settings, consignments, options.rate, scoreboard) as sending:
                    _watch(console, options, sending, processes)
        except KeyboardInterrupt:
            console.print("Interrupted; stopping …")
    console.print(summary_table(scoreboard))
    summary = scoreboard.summary()
    if options.json_file:
        options.json_file.write_text(json.dumps(summary, indent=2) + "\n")
    faults = summary["lost"] or summary["conflicting"] or summary["unexplained"]
    faultless = summary["sent"] and not faults
    console.print(f"Explained after, in s: {summary['explained_after_s']}")
    console.print(
        "Every declaration got exactly one fate, every alert one explanation."
        if faultless
        else f"Not so: {summary}"
    )
    return 0 if faultless else 1


@dataclass(slots=True)
class _Sending:
    """Sends in a thread, so that the main thread can show what comes back."""

    settings: Settings
    consignments: Iterator[Consignment]
    rate: float
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
    """Show fates as they come, until all have theirs, or for ever if not once."""
    scoreboard = sending.scoreboard
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )
    sent = bar.add_task("sent", total=options.count)
    settled = bar.add_task("fate known", total=options.count)
    fates = Fates(sending.settings, scoreboard)
    publisher = Publisher(sending.settings, source="redlane/demo")
    last = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        for came in fates.follow():
            last = time.monotonic() if came or not sending.done else last
            bar.update(sent, completed=len(scoreboard.truths))
            bar.update(settled, completed=scoreboard.settled)
            live.update(Group(bar, _lanes(scoreboard), alerts_table(fates.alerts)))
            if not console.is_terminal:
                for alert in fates.newest:
                    console.print(" | ".join(alert_row(alert)), markup=False, highlight=False)
            inspected = [alert for alert in fates.newest if _is_inspected(alert)]
            publisher.put(INSPECTION_OUTCOMES, outcomes(inspected, scoreboard.truths))
            fates.newest.clear()
            if sending.failure is not None:
                raise sending.failure
            for worker in workers:
                if worker.returncode is not None:
                    console.print(worker.tail(), markup=False)
                    return
            complete = (
                sending.done
                and scoreboard.settled == len(scoreboard.truths)
                and not scoreboard.unexplained
            )
            if options.once and (complete or time.monotonic() - last > QUIET_S):
                return


def _is_inspected(alert: Alert) -> bool:
    """Whether the demo's inspector decides on it; the others are left for you, in the console."""
    return zlib.crc32(alert.declaration_id.encode()) % INSPECTS_ONE_OF == 0


def _lanes(scoreboard: Scoreboard) -> Text:
    counts = {lane: list(scoreboard.lanes.values()).count(lane) for lane in LANES}
    counts["dead_letter"] = len(scoreboard.letters)
    parts = [Text(f" {name} {count} ", style=COLOURS[name]) for name, count in counts.items()]
    return Text("  ").join(parts)
