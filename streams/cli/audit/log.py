"""`redlane audit`: keep the decision log, anchor it, and find what was altered in it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.exits import exit_on
from streams.progress import Bar
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.audit.anchors import Anchor
    from streams.audit.verify import ChainReport

audit = typer.Typer(
    help="Log decisions in hash chains, and find what was altered in them.", no_args_is_help=True
)


@audit.command("run")
def run_log() -> None:
    """Log every decision: assessments, outcomes, risk profiles, model releases → decision-log.

    Each partition of these topics has a chain of its own: an entry has the hash of its event and of
    the entry before. Several processes share the partitions; a chain has one writer at a time.

    Every REDLANE_AUDIT_ANCHOR_S seconds, and when it stops, it logs where each chain ends, and
    writes that to REDLANE_AUDIT_ANCHORS_BUCKET: choose a bucket with object lock, or copy its
    contents to where nobody who can write to Kafka can change them.

    Runs like `redlane screen`: until SIGTERM or SIGINT, with /livez, /readyz and /metrics. Exits
    with 1 on what only a restart can repair.

    **Example**

    `. ./redlane.env; REDLANE_HEALTH_PORT=6069 redlane audit run`
    """
    from streams import logs
    from streams.audit.log import LogDamaged
    from streams.audit.sources import TooFewPartitions
    from streams.audit.worker import run
    from streams.audit.writer import SourceRecreated
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.health import check_free
    from streams.kafka.origin import NoAnswer
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.operations.access import admit

    settings = Settings()
    with exit_on(
        NotDeployed,
        RegistryFailed,
        NoAnswer,
        NotDelivered,
        LogDamaged,
        TooFewPartitions,
        SourceRecreated,
    ):
        check_free(
            settings.health_host, settings.health_port, "REDLANE_HEALTH_HOST, REDLANE_HEALTH_PORT"
        )
        logs.configure(settings.log_level)
        admit(settings, "audit")
        run(settings)


@audit.command("anchor")
def print_anchors() -> None:
    """Print where each chain ends now, a line of JSON each: keep it where the log cannot reach.

    `redlane audit verify --anchors FILE` compares the log with it later. It is worth something only
    once that found nothing wrong.

    **Example**

    `redlane audit anchor > 2026-11-26.jsonl`
    """
    from datetime import UTC, datetime

    from schemas.topics import DECISION_LOG
    from streams.audit.anchors import Anchor
    from streams.audit.log import KafkaLog, LogDamaged
    from streams.audit.sources import chain_of, log_partition
    from streams.audit.verify import KafkaEvents
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import Decoder, NotDeployed, Registry, RegistryFailed

    settings, now = Settings(), datetime.now(UTC)
    with exit_on(NotDeployed, RegistryFailed, NotDelivered, LogDamaged):
        log = KafkaLog(settings, Decoder(Registry(settings.registry_url).writers, [DECISION_LOG]))
        events = KafkaEvents(settings)
        for topic, partition in events.sources():
            head = log.head(log_partition(topic.name, partition))
            if head.length:
                typer.echo(Anchor.of(chain_of(topic.name, partition), head, now).line())


@audit.command("verify")
def verify_log(
    anchors: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of anchors, a line each; may be given repeatedly. Without it those in "
            "REDLANE_AUDIT_ANCHORS_BUCKET.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Find the first altered, missing or reordered entry of each chain of the decision log.

    Reads the whole log, and beside it the events that it logs, as far as retention still has them.
    Exits with 1 where something is wrong, and names the entry. That the end of a chain was cut off,
    or all of it written anew, only anchors show.

    **Examples**

    `redlane audit verify`

    `redlane audit verify --anchors 2026-11-26.jsonl --json`
    """
    from functools import partial

    from schemas.topics import DECISION_LOG
    from streams.audit.anchors import BadAnchors, by_chain
    from streams.audit.log import KafkaLog
    from streams.audit.sources import SOURCES, chain_of, logged
    from streams.audit.verify import KafkaEvents, verify
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import Decoder, NotDeployed, Registry, RegistryFailed

    settings = Settings()
    with exit_on(NotDeployed, RegistryFailed, NotDelivered, BadAnchors), Bar() as bar:
        decode = Decoder(Registry(settings.registry_url).writers, (*SOURCES, DECISION_LOG))
        events = KafkaEvents(settings)
        known = _anchors(
            settings,
            anchors or [],
            [chain_of(topic.name, number) for topic, number in events.sources()],
        )
        reports = verify(
            KafkaLog(settings, decode), events, partial(logged, decode=decode), by_chain(known), bar
        )
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        _print(reports, len(known))
    if any(report.problem for report in reports):
        raise typer.Exit(1)


def _anchors(settings: Settings, files: list[Path], chains: list[str]) -> "list[Anchor]":
    from streams.audit.anchors import read_anchors, stored

    if files:
        texts = (file.read_text(errors="replace") for file in files)
        return [anchor for text in texts for anchor in read_anchors(text)]
    return stored(settings, chains) if settings.audit_anchors_bucket else []


def _print(reports: "list[ChainReport]", anchors: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("chain", "entries", "compared", "repeated", "not logged yet", "anchors", "")
    for report in reports:
        entries = f"{report.begins}–{report.length}" if report.begins > 1 else f"{report.length}"
        table.add_row(
            report.chain,
            entries,
            str(report.compared),
            str(report.repeated),
            str(report.waiting),
            str(report.anchors),
            report.problem.kind if report.problem else "ok",
        )
    Console().print(table)
    for report in reports:
        if report.problem:
            typer.echo(str(report.problem))
    for report in reports:
        if report.begins > 1:
            typer.echo(f"{report.chain} begins with entry {report.begins}: is that its retention?")
    if not anchors:
        typer.echo("No anchors: an end that was cut off would not be found. See --anchors.")
    if not any(report.problem for report in reports):
        typer.echo("Nothing is altered, missing or out of order.")
