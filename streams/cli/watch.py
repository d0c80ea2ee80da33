"""`redlane watch`: verdicts in the terminal, as they come."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.cli.exits import exit_on
from streams.cli.terminal import printable
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.operations.watch import Verdict

COLOURS: Final = {"green": "green", "yellow": "yellow", "red": "red", "dead_letter": "magenta"}


def watch(
    since_minutes: Annotated[
        float | None, typer.Option("--since", min=0, help="Begin so many minutes ago; now else.")
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", help="Only this declaration; may be given repeatedly."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Exit after so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Show what becomes of declarations as it is published: lane, risk, reasons, or why not.

    One line for each event, until Ctrl-C. It joins no consumer group and changes nothing.

    **Examples**

    `redlane watch`

    `redlane watch --since 60 --id 26BEH7000000000A01 --json`
    """
    from itertools import islice

    from streams.kafka.delivery import NotDelivered
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.operations.watch import Watch

    since = None
    if since_minutes is not None:
        since = datetime.now(UTC) - timedelta(minutes=since_minutes)
    with (
        exit_on(NotDelivered, NotDeployed, RegistryFailed),
        Watch(Settings(), since=since) as watching,
    ):
        chosen = (
            verdict
            for verdict in watching.verdicts()
            if verdict and (not ids or verdict.declaration_id in ids)
        )
        try:
            show(islice(chosen, count), as_json=as_json)
        except KeyboardInterrupt:
            raise typer.Exit from None


def show(verdicts: "Iterable[Verdict]", *, as_json: bool = False) -> None:
    """Print verdicts as they come."""
    for verdict in verdicts:
        if as_json:
            typer.echo(json.dumps(asdict(verdict), ensure_ascii=False, default=datetime.isoformat))
        else:
            lane = typer.style(f"{verdict.outcome:11}", fg=COLOURS.get(verdict.outcome))
            typer.echo(f"{verdict.at.astimezone():%H:%M:%S} {lane} {_line(verdict)}")


def _line(verdict: "Verdict") -> str:
    risk = "      " if verdict.risk is None else f"{verdict.risk:6.1%}"
    codes = f"{verdict.declared or 'no code'} → {verdict.likely}" if verdict.likely else ""
    why = ", ".join(verdict.reasons) + (f": {verdict.detail}" if verdict.detail else "")
    missing = f"missing {', '.join(verdict.degraded)}" if verdict.degraded else ""
    text = "  ".join(part for part in (verdict.declaration_id, risk, codes, why, missing) if part)
    return printable(text)
