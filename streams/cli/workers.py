"""`redlane intake`, `screen`, `learn`, `explain` and `deliver`: the workers."""

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.exits import exit_on
from streams.settings import Settings


def intake(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Send the files of a folder to customs-messages instead, until Ctrl-C.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="With --folder: send what is there, then exit.")
    ] = False,
) -> None:
    """Take customs messages in: customs-messages → declarations, dead-letters.

    Runs like `redlane screen`, and needs neither a model nor Redis. Reads declarations, amendments
    and cancellations of the WCO Data Model 3 in XML, each under its LRN as key, and declarations in
    JSON, alone or as CloudEvents. An amendment before its original waits in the bucket
    REDLANE_S3_INTAKE_BUCKET (intake), at most for REDLANE_INTAKE_WAIT_HOURS. `redlane convert`
    shows what becomes of files without any service; which field comes from where:
    docs/customs-messages.md.

    With --folder it sends files (*.xml, *.json) that appear there to the topic, where a worker
    takes them, and moves each into done/, or failed/ where it cannot be understood. It needs the
    rights of customs IT.

    **Examples**

    `. ./redlane.env; REDLANE_HEALTH_PORT=6069 redlane intake`

    `. ./redlane.env; redlane intake --folder ./messages`
    """
    if folder is not None:
        _send_files(folder, once=once)
        return
    if once:
        raise typer.BadParameter("--once goes with --folder")
    from streams.app import taking_in

    _run(taking_in, needs_keys=False)


def _send_files(path: Path, *, once: bool) -> None:
    from streams import logs
    from streams.intake.folder import Folder
    from streams.kafka.contact import reach
    from streams.kafka.delivery import NotDelivered
    from streams.kafka.origin import NoAnswer

    settings = Settings()
    logs.configure(settings.log_level)
    with exit_on(NoAnswer, NotDelivered), suppress(KeyboardInterrupt):
        # SIGTERM as Ctrl-C: what was sent and not moved is sent again, under the same id.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        reach(settings, within_s=10)
        if left := Folder(settings, path).run(once=once):
            typer.echo(
                f"{left} files are left in {path}: they cannot be read, or are still written. Run "
                "it again once they can.",
                err=True,
            )
            raise typer.Exit(1)


def screen() -> None:
    """Screen declarations: declarations → assessments, alerts, dead-letters.

    Runs until SIGTERM or SIGINT, then finishes the events it has taken and exits 0. Exits 2 if a
    setting is missing, and 1 on what only a restart can repair, so run it under a supervisor. Logs
    are JSON on standard error; /livez, /readyz and /metrics are on
    REDLANE_HEALTH_HOST:REDLANE_HEALTH_PORT (127.0.0.1:6066).

    **Examples**

    `redlane up --env-file redlane.env` in one terminal, then in another:

    `. ./redlane.env; redlane screen`

    `REDLANE_CONSUMER_GROUP=shadow REDLANE_BUNDLE=/srv/bundles/next redlane screen`
    """
    from streams.app import screening

    _run(screening)


def worker() -> None:
    """Run `redlane screen` under its old name; the next version removes this command.

    **Example**

    `. ./redlane.env; redlane worker`
    """
    typer.echo("`redlane worker` is deprecated: use `redlane screen`.", err=True)
    screen()


def learn() -> None:
    """Learn from inspections: inspection-outcomes → past hit rates, dead-letters.

    Runs like `redlane screen`, in a consumer group of its own, and needs no model. The screening
    workers use what it learns about importers, sellers, codes and routes, so REDLANE_PSEUDONYM_KEY
    must be the same as theirs.

    **Example**

    `. ./redlane.env; REDLANE_HEALTH_PORT=6067 redlane learn`
    """
    from streams.app import learning

    _run(learning)


def explain() -> None:
    """Explain alerts: alerts → explanations, heat maps in object storage, dead-letters.

    Runs like `redlane screen`, in a consumer group of its own, so that it never delays an alert.
    REDLANE_PSEUDONYM_KEY and REDLANE_BUNDLE must be the same as the screening workers'; heat maps
    go to the bucket REDLANE_S3_EXPLANATIONS_BUCKET (explanations).

    **Example**

    `. ./redlane.env; REDLANE_HEALTH_PORT=6068 redlane explain`
    """
    from streams.app import explaining

    _run(explaining)


def deliver() -> None:
    """Deliver alerts to case management: alerts → webhooks, dead-letters.

    Runs like `redlane screen`, in a consumer group of its own, and needs neither a model nor Redis.
    Posts every event of REDLANE_DELIVER_TOPICS (alerts) to REDLANE_DELIVER_URL, at least once and
    signed with REDLANE_DELIVER_SECRET. While the receiver fails it tries again, for
    REDLANE_DELIVER_RETRY_S, and then ends with 1. What a receiver has to do:
    docs/case-management.md.

    **Example**

    `. ./redlane.env; REDLANE_HEALTH_PORT=6071 REDLANE_DELIVER_URL=https://cases.example/redlane
    REDLANE_DELIVER_SECRET=whsec_$(openssl rand -base64 32) redlane deliver`
    """
    from streams.app import delivering

    _run(delivering, needs_keys=False)


def _run(wire: Callable[[Settings], Any], *, needs_keys: bool = True) -> None:
    """Run the worker that `wire` builds until a signal stops it."""
    from models.scoring.bundle import BadBundle, NotReleased
    from streams import logs
    from streams.kafka.health import check_free
    from streams.kafka.origin import NoAnswer
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.kafka.worker import run
    from streams.reference.follower import ReferenceLost

    settings = Settings()
    with exit_on(BadBundle, NotReleased, NotDeployed, RegistryFailed, ReferenceLost, NoAnswer):
        if needs_keys:
            settings.secret_keys()  # before it contacts a service or loads a model
        check_free(
            settings.health_host, settings.health_port, "REDLANE_HEALTH_HOST, REDLANE_HEALTH_PORT"
        )
        logs.configure(settings.log_level)
        wired = wire(settings)
    run(wired)
